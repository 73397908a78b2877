/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cable to another program: a stream of frames with whoever is met at a unix socket, again and again. Its card's link
 * is up while there is a connection. With greetings, as among ourselves, who listens greets who is welcome: whoever
 * connected has a link from then on, and knows that he was one too many if he is hung up on before.
 */
#ifndef PINFOLD_NET_WIRE_H
#define PINFOLD_NET_WIRE_H

#include "net/meet.h"
#include "net/stream.h"

struct wire {
	struct stream stream;
	struct meet meet;
	bool greets;
	bool refused; /* and it was said */
};

void wire_init(struct wire *w, struct net *n, bool greets);
int wire_place(struct wire *w, const char *path, enum meet_role role); /* once, before wire_open; as meet_init */
int wire_open(struct wire *w, bool check);			       /* as meet_open */
void wire_close(struct wire *w);
void wire_free(struct wire *w);

#endif
