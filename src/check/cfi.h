/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call frame information (DWARF 5, section 6.4; the Linux Standard Base, "Exception Frames"; the x86-64 psABI, section
 * 3.7): how to leave a function's frame. It comes from files that clients run, so it may say anything: each look-up
 * reads within what was copied of the file, and takes a bounded number of steps.
 */
#ifndef PINFOLD_CHECK_CFI_H
#define PINFOLD_CHECK_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DWARF register numbers (x86-64 psABI, figure 3.36). */
#define DW_RBP 6
#define DW_RSP 7
#define DW_RIP 16

struct cfi {
	const uint8_t *image; /* a part of the file, as it is loaded */
	size_t len;
	uint64_t vaddr;	 /* of its first byte, as the program headers have it */
	uint64_t header; /* PT_GNU_EH_FRAME's p_vaddr */
};

/* How to leave the frame at one place. */
struct cfi_rule {
	uint8_t cfa_reg; /* DW_RBP or DW_RSP; 0: there is no way known */
	bool cfa_deref;	 /* it is what lies at cfa_reg + cfa_off: frames with an alignment of their own */
	bool saves_rbp;
	bool signal;			  /* the C library's way back from a signal handler */
	int32_t cfa_off, ra_off, rbp_off; /* the latter two from the CFA */
};

/* Of the code at addr. False, and a rule that knows no way: nothing is said of it. */
bool cfi_find(const struct cfi *c, uint64_t addr, struct cfi_rule *r);

#endif
