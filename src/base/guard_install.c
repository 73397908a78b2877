/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "base/guard.h"
#include "base/util.h"

static const int guard_signals[] = {SIGSEGV, SIGBUS};
static struct sigaction guard_old[ARRAY_SIZE(guard_signals)];

static void guard_handler(int sig, siginfo_t *si, void *uc)
{
	int saved = errno;

	if (guard_fixup(uc))
		return;
	/* Not ours: whoever was there before (the default, or a sanitizer's report) has it. A fault comes again by
	 * itself when this returns; a signal that somebody sent does not. */
	for (size_t i = 0; i < ARRAY_SIZE(guard_signals); i++)
		if (guard_signals[i] == sig)
			sigaction(sig, &guard_old[i], NULL);
	if (si->si_code <= 0)
		raise(sig);
	errno = saved;
}

int guard_install(void)
{
	struct sigaction sa, now;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = guard_handler;
	sa.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(guard_signals); i++) {
		if (sigaction(guard_signals[i], NULL, &now) < 0)
			return -errno;
		if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == guard_handler)
			continue;
		if (sigaction(guard_signals[i], &sa, &guard_old[i]) < 0)
			return -errno;
	}
	return 0;
}
