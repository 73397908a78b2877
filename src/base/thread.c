/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

int thread_start(pthread_t *t, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	pthread_t own;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&own, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	if (t)
		*t = own;
	else
		pthread_detach(own);
	return 0;
}
