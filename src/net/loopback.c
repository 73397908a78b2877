/* SPDX-License-Identifier: BSD-3-Clause */
/* "loopback": a plug whose transmit pair is wired to its receive pair. */
#include <errno.h>
#include <stdlib.h>

#include "net/internal.h"

static int loopback_open(const struct net_env *env, const struct net_args *a, struct net **out, char *err,
			 size_t errlen)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	net_init(n, &net_loopback, env);
	n->link = true;
	*out = n;
	return 0;
}

const struct net_kind net_loopback = {
    .name = "loopback",
    .help = "what is sent comes back",
    .open = loopback_open,
    .send = net_deliver,
    .sent = net_delivered,
    .readable = net_wake,
    .missed = net_missed,
};
