/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two programs that name the same unix socket: who comes second connects to who came first, whoever of them that is. A
 * listener goes on listening after somebody came, and hangs up on others. What a killed listener left behind is
 * replaced. Nothing waits.
 */
#ifndef PINFOLD_NET_MEET_H
#define PINFOLD_NET_MEET_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include "base/loop.h"

enum meet_role { MEET_EITHER, MEET_LISTEN, MEET_CONNECT };

struct meet {
	struct loop *loop;
	enum meet_role role;
	struct sockaddr_un addr;
	struct loop_fd listener; /* fd -1: not listening */
	dev_t dev;		 /* of the listener's name */
	ino_t ino;
	bool open, taken; /* taken: somebody came; the others are not for us */
	int error;	  /* the last one that was reported */
	struct loop_timer again;
	void (*met)(struct meet *m, int fd); /* a connection, non-blocking; from the loop. It belongs to the callee */
};

/* 0; -EINVAL (path is too long); nothing begins yet. */
int meet_init(struct meet *m, struct loop *loop, const char *path, enum meet_role role,
	      void (*met)(struct meet *m, int fd));
/*
 * Begins. 0, although nobody may be there yet; otherwise what will not get better by itself, -errno. Without check,
 * that is logged instead, once, and tried again.
 */
int meet_open(struct meet *m, bool check);
void meet_lost(struct meet *m); /* the connection that met got is over */
void meet_close(struct meet *m);

#endif
