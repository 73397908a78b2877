/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Modules: the files that clients run code of, and where each process has them. A place in code is a module and an
 * address within it, so that it means the same in every process and after each of them has ended.
 */
#ifndef PINFOLD_CHECK_MODULE_H
#define PINFOLD_CHECK_MODULE_H

#include <stdbool.h>
#include <stdint.h>

struct cfi;
struct modules;
struct worker;

struct place {
	uint32_t module; /* 0: no file; addr is then the process's own address, or PLACE_SIGNAL */
	uint32_t pid;	 /* of module 0: whose address it is */
	uint64_t addr;	 /* as in the file's program headers */
};

#define PLACE_SIGNAL 1 /* no code: between a signal handler and what it interrupted */

struct modules *modules_new(struct worker *w);
void modules_free(struct modules *m);

/*
 * Where pc lies in the process pid, whose life is called session. What is not known is read from /proc, by the worker;
 * the caller waits a moment for it, and not for ever new moments. False: there is no code that anybody knows of.
 */
bool modules_find(struct modules *m, uint64_t session, uint32_t pid, uint64_t pc, struct place *out);
/*
 * Reads anew where the process has its code, which may have changed under addresses that are known: one library was
 * unloaded, another loaded in its place. True if that has been done; false if it was only just done, or costs too much.
 */
bool modules_refresh(struct modules *m, uint64_t session, uint32_t pid);
uint32_t modules_generation(const struct modules *m);	  /* changes when an answer of modules_find may */
void modules_forget(struct modules *m, uint64_t session); /* it has ended */

/* For unwinding, on the caller's thread alone: NULL if there is none. May wait like modules_find. */
const struct cfi *module_cfi(struct modules *m, uint32_t module);
/* "" for module 0. Any thread; stays until modules_free. */
const char *module_path(struct modules *m, uint32_t module);
/* The file, as it was when its code was first seen: a descriptor that is the caller's, or -1. Belongs on the worker. */
int module_fd(struct modules *m, uint32_t module);
uint64_t modules_bytes(const struct modules *m); /* what they keep in memory */

#endif
