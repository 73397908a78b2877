/* SPDX-License-Identifier: BSD-3-Clause */
/* "null": a cable into nothing, whose link is up nevertheless. */
#include <errno.h>
#include <stdlib.h>

#include "net/internal.h"

static int null_open(const struct net_env *env, const struct net_args *a, struct net **out, char *err, size_t errlen)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	net_init(n, &net_null, env);
	n->link = true;
	*out = n;
	return 0;
}

static enum net_verdict null_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	return NET_TAKEN;
}

const struct net_kind net_null = {
    .name = "null",
    .help = "swallows what is sent",
    .open = null_open,
    .send = null_send,
};
