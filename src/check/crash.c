/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/crash.h"

#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "base/loop.h"
#include "check/private.h"
#include "check/text.h"
#include "check/threads.h"

static void crash_add(struct check *c, const struct crash *crash)
{
	if (c->crashes.n < CRASHES_MAX)
		c->crashes.crash[c->crashes.n++] = *crash;
}

void check_crash(struct check *c, const struct event *ev)
{
	uint32_t tid = c->evs->origin ? c->evs->origin->tid : 0;

	crash_add(c, &(struct crash){ev->who, tid, check_stack(c), (int)ev->value, ev->addr, loop_now()});
}

/* What has said so itself before it died is known better. */
void check_program_ended(struct check *c, uint32_t pid, int status)
{
	c->program = pid;
	c->status = status;
	if (!WIFSIGNALED(status))
		return;
	for (unsigned int i = 0; i < c->crashes.n; i++)
		if (c->crashes.crash[i].pid == pid && c->crashes.crash[i].signal == WTERMSIG(status))
			return;
	crash_add(c, &(struct crash){.pid = pid, .signal = WTERMSIG(status), .ns = loop_now()});
}

void crash_signal(int sig, char buf[24])
{
	const char *name = sigabbrev_np(sig);

	if (name)
		snprintf(buf, 24, "SIG%s", name);
	else
		snprintf(buf, 24, "signal %d", sig);
}

void crashes_text(const struct check *c, FILE *out)
{
	char sig[24], line[96], labelled[128];

	for (unsigned int i = 0; i < c->crashes.n; i++) {
		const struct crash *k = &c->crashes.crash[i];

		crash_signal(k->signal, sig);
		if (!k->stack) {
			fprintf(out, "pinfold: process %" PRIu32 " died of %s\n", k->pid, sig);
			continue;
		}
		snprintf(line, sizeof(line), "at address 0x%" PRIx64 ", in thread %" PRIu32 " here:", k->addr, k->tid);
		threads_label(c->threads, k->tid, line, labelled, sizeof(labelled));
		fprintf(out, "pinfold: process %" PRIu32 " died of %s %s\n", k->pid, sig, labelled);
		text_stack(out, k->stack, c->stacks, c->symbols);
	}
}
