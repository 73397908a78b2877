/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a network card's cable leads to, as `net=KIND[:NAME][,...]` of a card names it. A card holds one struct
 * net_card, which the backend calls, and one struct net, which it calls. Frames are Ethernet without the frame check
 * sequence.
 *
 * Nothing is queued on the way where that can be helped: net_send hands the sender's own memory (what dma_iov gave, for
 * that moment) to the receiver, who has copied it when he returns. A receiver without room says so, and the sender
 * keeps the frame, as a card does that has been sent a PAUSE (IEEE 802.3 clause 31B); a receiver that never gets room
 * again, because its program is stopped, costs a sender NET_PATIENCE_NS and then frames, never more time (rule C1).
 */
#ifndef PINFOLD_NET_NET_H
#define PINFOLD_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;
struct net;

#define NET_FRAME_MIN	60    /* without FCS; shorter ones are padded by who sends */
#define NET_FRAME_MAX	16384 /* longer ones are refused */
#define NET_IOV_MAX	64
#define NET_PATIENCE_NS 100000000ull

enum net_verdict {
	NET_TAKEN,
	NET_DROPPED, /* not for the receiver, or it is not listening: gone */
	NET_FULL,    /* no room now: keep it. card->writable follows */
};

/*
 * The card's end; embedded in the card. None of these is called after net_close, which may be called from any of them.
 * receive and received are called while the card is up (net_set_up) alone; writable and link from the loop, on top of
 * no other call of the card's.
 */
struct net_card {
	/*
	 * A frame arrives; len bytes in iov[0..n), memory of a client perhaps: touch it with guard_copy alone. After
	 * NET_FULL the card calls net_readable() when it has room. May be called from within net_send of the same card.
	 */
	enum net_verdict (*receive)(struct net_card *c, const struct iovec *iov, unsigned int n, size_t len);
	/* End of a burst of receive: time to write back and to interrupt. */
	void (*received)(struct net_card *c);
	/* net_send, which had said NET_FULL, is worth another try. */
	void (*writable)(struct net_card *c);
	/* The cable's state, which is net_link(n), has changed. */
	void (*link)(struct net_card *c);
	/* A frame was lost because receive said NET_FULL for too long. NULL: it counts none. */
	void (*missed)(struct net_card *c);
};

struct net_env {
	struct loop *loop;
};

/*
 * spec: "null", "loopback", "pair:NAME", "pcap:in=FILE,out=FILE", "tap:NAME", "socket:PATH". 0; -EINVAL (the user's
 * mistake, with the nearest kind or key) or another -errno, with one line in err.
 */
int net_open(const struct net_env *env, const char *spec, struct net_card *card, struct net **out, char *err,
	     size_t errlen);
void net_close(struct net *n);
/*
 * One frame, of NET_FRAME_MIN to NET_FRAME_MAX bytes. The memory is the caller's again on return. NET_TAKEN: it went,
 * as far as the card can know.
 */
enum net_verdict net_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len);
void net_sent(struct net *n);	  /* end of a burst of net_send */
void net_readable(struct net *n); /* the card, which had said NET_FULL, has room */
bool net_link(const struct net *n);
/* The card's own switch (its link is set up, and it may receive): seen at the other end of a pair as its link. */
void net_set_up(struct net *n, bool up);
/* Text for a person: kinds and their keys. Returns the length, as snprintf does. */
size_t net_help(char *buf, size_t len);

#endif
