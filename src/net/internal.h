/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What kinds of backends are made of. net.c reads the specification, keeps a sender's patience, and sees to it that a
 * card may close its cable from within any callback: what calls a card holds the struct net meanwhile.
 */
#ifndef PINFOLD_NET_INTERNAL_H
#define PINFOLD_NET_INTERNAL_H

#include "base/loop.h"
#include "net/net.h"

#define NET_HEADER   14 /* destination, source, type: less is no frame */
#define NET_KEYS_MAX 8

struct net_key {
	const char *name;
	bool required;
	const char *help;
};

struct net_args {
	const char *operand;		 /* what stands before the first key; NULL if the kind takes none */
	const char *value[NET_KEYS_MAX]; /* in the order of the kind's keys; NULL: not given */
};

struct net_kind {
	const char *name;
	const char *operand; /* its name for a person, "PATH"; NULL: there is none */
	const char *help;
	const struct net_key *keys; /* ends with name NULL; NULL: none */
	/* Makes a struct around a struct net, for which it calls net_init. The arguments are valid during the call. */
	int (*open)(const struct net_env *env, const struct net_args *a, struct net **out, char *err, size_t errlen);
	/* Ends all activity; the memory stays until destroy. NULL: nothing to do. */
	void (*close)(struct net *n);
	void (*destroy)(struct net *n); /* NULL: free(n) */
	enum net_verdict (*send)(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len);
	/* Each may be NULL. */
	void (*sent)(struct net *n);
	void (*readable)(struct net *n);
	void (*missed)(struct net *n); /* the last frame, which send answered NET_FULL, is lost */
	void (*set_up)(struct net *n, bool up);
};

extern const struct net_kind net_null, net_loopback, net_pair, net_pcap, net_socket, net_tap;

/* First member of each backend's struct. */
struct net {
	const struct net_kind *kind;
	struct loop *loop;
	struct net_card *card;
	bool up;	/* the card's switch */
	bool link;	/* the cable's state */
	bool full;	/* the last frame was answered NET_FULL */
	bool impatient; /* for too long: no frame is answered so until one went */
	bool closed;
	bool tell_link, tell_writable; /* what notice has to call */
	unsigned int holds;
	struct loop_work notice;
	struct loop_timer patience;
};

/* Of zeroed memory. The link is down, the card not up. */
void net_init(struct net *n, const struct net_kind *kind, const struct net_env *env);
void net_hold(struct net *n);
void net_release(struct net *n); /* the last one frees */

/* For the card; each may close n, which the caller therefore holds if he goes on using it. */
enum net_verdict net_deliver(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len);
void net_delivered(struct net *n); /* end of a burst of net_deliver */
/* As net_deliver, of one piece of our own memory and any length: short ones are padded, others than frames dropped. */
enum net_verdict net_deliver_raw(struct net *n, void *data, size_t len);

void net_missed(struct net *n); /* a frame that was not delivered is lost */

/* From the loop, soon, the card hears of it. */
void net_link_set(struct net *n, bool link);
void net_wake(struct net *n); /* there may be room for what was answered NET_FULL */

/* Values. -EINVAL with the reason in err. NULL leaves *v as it is. */
int net_arg_bool(const char *key, const char *s, bool *v, char *err, size_t errlen);
int net_arg_uint(const char *key, const char *s, uint64_t max, uint64_t *v, char *err, size_t errlen);

#endif
