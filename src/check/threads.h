/* SPDX-License-Identifier: BSD-3-Clause */
/* What threads are called: read when a thread is first heard of, because it may be gone when somebody wants to know. */
#ifndef PINFOLD_CHECK_THREADS_H
#define PINFOLD_CHECK_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_LEN 20

struct event_origin;
struct threads;

struct threads *threads_new(void);
void threads_free(struct threads *t);
void threads_note(struct threads *t, const struct event_origin *from); /* while its call is being served */
/* False, and "", if that is not known. Any thread. */
bool threads_name(struct threads *t, uint32_t tid, char name[NAME_LEN]);
/* text with the name behind "thread TID": "thread 812 (main)". Any thread. */
void threads_label(struct threads *t, uint32_t tid, const char *text, char *buf, size_t size);

#endif
