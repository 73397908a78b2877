/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads beside the loop's. They see no signals, which are the loop's business. */
#ifndef PINFOLD_BASE_THREAD_H
#define PINFOLD_BASE_THREAD_H

#include <pthread.h>

/* t NULL: nobody will join it. 0 or -errno. */
int thread_start(pthread_t *t, void *(*run)(void *), void *arg);

#endif
