/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Modules: the files that clients run code of, and where each process has them. A place in code is a module and an
 * address within it, so that it means the same in every process and after each of them has ended.
 */
#ifndef PINFOLD_CHECK_MODULE_H
#define PINFOLD_CHECK_MODULE_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

struct modules;
struct worker;

struct place {
	uint32_t module; /* 0: no file; addr is then the process's own address */
	uint32_t pid;	 /* of module 0: whose address it is */
	uint64_t addr;	 /* as in the file's program headers */
};

struct modules *modules_new(struct worker *w);
void modules_free(struct modules *m);

/*
 * Where pc lies in the process pid, whose life is called session. What is not known is read from /proc, by the worker;
 * the caller waits a moment for it, and not for ever new moments.
 */
struct place modules_find(struct modules *m, uint64_t session, uint32_t pid, uint64_t pc);
void modules_forget(struct modules *m, uint64_t session); /* it has ended */

/* For unwinding, on the caller's thread alone: NULL if there is none. */
Dwarf_CFI *module_cfi(const struct modules *m, uint32_t module);
/* "" for module 0. Any thread; stays until modules_free. */
const char *module_path(struct modules *m, uint32_t module);

#endif
