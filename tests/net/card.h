/* SPDX-License-Identifier: BSD-3-Clause */
/* A network card without a bus: it has room for so many frames, and keeps what came. */
#ifndef PINFOLD_TESTS_NET_CARD_H
#define PINFOLD_TESTS_NET_CARD_H

#include "base/loop.h"
#include "net/net.h"

#define CARD_FRAMES 4096

struct card {
	struct net_card card;
	struct net *net;
	struct loop *loop;
	unsigned int room; /* frames that it takes, and then no more */
	unsigned int frames, bursts, writables, links, dropped, missed;
	bool picky; /* takes what card_fill made, and nothing else */
	bool close_in_receive, close_in_received, close_in_writable, close_in_link, send_in_receive;
	size_t len[CARD_FRAMES]; /* of the frames that came, round and round */
	unsigned char last[NET_FRAME_MAX];
	uint32_t sum[CARD_FRAMES];
};

/* Opens spec, which must succeed, with room for n frames; up if up. */
void card_open(struct card *c, struct loop *loop, const char *spec, unsigned int room, bool up);
void card_close(struct card *c);
/* Opens spec, which must fail with rc and a reason that contains text. */
void card_refused(struct loop *loop, const char *spec, int rc, const char *text);
/* One frame of len bytes that all tell of seed; as a burst of its own. */
enum net_verdict card_send(struct card *c, size_t len, unsigned int seed);
/* What sum of the frame with that length and seed has to be. */
uint32_t card_sum(size_t len, unsigned int seed);
void card_fill(unsigned char *p, size_t len, unsigned int seed);
/* Those of other brokers, up to a NULL: they turn, too, while one waits or settles. */
extern struct loop *card_loops[4];
/* Turns of the loop until *what >= n; fails after a long time. */
void card_await(struct loop *loop, const unsigned int *what, unsigned int n);
/* Until the link is as said. */
void card_await_link(struct card *c, bool link);
/* Turns of the loop that are due. */
void card_settle(struct loop *loop);
/* Some milliseconds of turns, for what must not happen. */
void card_idle(struct loop *loop, unsigned int ms);

#endif
