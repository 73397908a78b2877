/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that touches files which clients name: programs, their debug information, reports. A file system may keep
 * it waiting for as long as it likes; the broker waits for it a moment at most (rule C1).
 */
#ifndef PINFOLD_CHECK_WORKER_H
#define PINFOLD_CHECK_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct worker;

/* One thing to do. run is called on the thread, once; it may free the job. */
struct job {
	struct list node;
	void (*run)(struct job *j);
};

struct worker *worker_new(void); /* NULL: out of memory, or no thread is to be had */
/* False if it hangs: then nothing that its jobs use may be freed. */
bool worker_free(struct worker *w, unsigned int patience_ms);
void worker_submit(struct worker *w, struct job *j); /* in the order of the calls */
/* Until everything submitted so far has been done. False: the time is over. */
bool worker_wait(struct worker *w, unsigned int patience_ms);
uint64_t worker_cpu_ns(const struct worker *w); /* what it has taken of a processor */

#endif
