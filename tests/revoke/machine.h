/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A broker with one function that counts what reaches it, for programs that run under the boundary beside it: 01:00.0,
 * group 1. BAR 0 has registers, BARs 2 and 4 are memory.
 */
#ifndef PINFOLD_TESTS_REVOKE_MACHINE_H
#define PINFOLD_TESTS_REVOKE_MACHINE_H

#include <stdatomic.h>
#include <stdint.h>

#define REGS_BYTES  0x4000UL
#define RAM_BYTES   0x10000UL
#define LARGE_BYTES (32UL << 20) /* BAR 4 */

/* Offsets in BAR 0. What is stored to the last two may come from an eventfd alone. */
enum { REG_PLAIN = 0x100, REG_PWRITE = 0x200, REG_EVENT = 0x300, REG_EVENT_OFF = 0x400 };

/*
 * The phase, as the program that switches memory sees it: the calls that change it are made in CHANGING phases alone.
 * Every change of phase adds 1.
 */
enum { PHASE_ON, PHASE_GOING_OFF, PHASE_OFF, PHASE_GOING_ON, PHASES };

/* Shared by the device, the programs and the test. */
struct ledger {
	_Atomic uint64_t phase;
	/* the device's */
	_Atomic uint64_t reads, writes, resets;
	_Atomic uint64_t while_off; /* accesses in a phase that was OFF before and after */
	_Atomic uint64_t events, events_off;
	/* the programs' */
	_Atomic uint64_t accesses, bus_errors, io_errors, ambiguous_events;
	_Atomic uint64_t bystander; /* calls of who has nothing to do with it */
	_Atomic uint64_t violations;
	char what[256]; /* the first of them */
	_Atomic uint32_t stop, running;
};

/* Starts the broker, and this program again with the boundary and the arguments "program NAME": its exit status. */
int machine_run(const char *self, const char *name);
struct ledger *machine_ledger(void); /* in that program and its children */

#endif
