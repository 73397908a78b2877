/* SPDX-License-Identifier: BSD-3-Clause */
#include "card.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "net/frame.h"

#define PATIENCE_NS 60000000000ULL

static const unsigned char type[] = {0x88, 0xb5}; /* IEEE 802's for local experiments */

static uint32_t sum(const unsigned char *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = s * 31 + p[i];
	return s;
}

static void close_if(struct card *c, bool yes)
{
	if (yes)
		card_close(c);
}

static enum net_verdict receive(struct net_card *nc, const struct iovec *iov, unsigned int n, size_t len)
{
	struct card *c = container_of(nc, struct card, card);
	unsigned int at = c->frames % CARD_FRAMES;

	assert_non_null(c->net);
	assert_in_range(len, NET_FRAME_MIN, NET_FRAME_MAX);
	if (c->picky && (frame_copy(iov, n, 12, c->last, 2) || memcmp(c->last, type, sizeof(type))))
		return NET_DROPPED;
	if (c->close_in_receive) {
		card_close(c);
		return NET_DROPPED;
	}
	if (!c->room)
		return NET_FULL;
	if (frame_copy(iov, n, 0, c->last, len))
		return NET_DROPPED;
	c->room--;
	c->len[at] = len;
	c->sum[at] = sum(c->last, len);
	c->frames++;
	if (c->send_in_receive) {
		c->send_in_receive = false;
		net_send(c->net, iov, n, len);
	}
	return NET_TAKEN;
}

static void received(struct net_card *nc)
{
	struct card *c = container_of(nc, struct card, card);

	assert_non_null(c->net);
	c->bursts++;
	close_if(c, c->close_in_received);
}

static void writable(struct net_card *nc)
{
	struct card *c = container_of(nc, struct card, card);

	assert_non_null(c->net);
	c->writables++;
	close_if(c, c->close_in_writable);
}

static void link_changed(struct net_card *nc)
{
	struct card *c = container_of(nc, struct card, card);

	assert_non_null(c->net);
	c->links++;
	close_if(c, c->close_in_link);
}

static void missed(struct net_card *nc)
{
	container_of(nc, struct card, card)->missed++;
}

void card_open(struct card *c, struct loop *loop, const char *spec, unsigned int room, bool up)
{
	struct net_env env = {.loop = loop};
	char err[256] = "";
	int rc;

	memset(c, 0, sizeof(*c));
	c->card = (struct net_card){receive, received, writable, link_changed, missed};
	c->loop = loop;
	c->room = room;
	rc = net_open(&env, spec, &c->card, &c->net, err, sizeof(err));
	if (rc)
		fail_msg("%s: %s", spec, err);
	net_set_up(c->net, up);
}

void card_close(struct card *c)
{
	struct net *n = c->net;

	c->net = NULL;
	net_close(n);
}

void card_refused(struct loop *loop, const char *spec, int rc, const char *text)
{
	struct net_env env = {.loop = loop};
	struct net_card nc = {receive, received, writable, link_changed, missed};
	struct net *n = (struct net *)&env;
	char err[256] = "";

	assert_int_equal(net_open(&env, spec, &nc, &n, err, sizeof(err)), rc);
	assert_ptr_equal(n, &env);
	if (!strstr(err, text))
		fail_msg("%s: \"%s\" does not say \"%s\"", spec, err, text);
}

void card_fill(unsigned char *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(seed * 7 + i * (1 + seed % 5));
	if (len >= 14)
		memcpy(p + 12, type, sizeof(type));
}

enum net_verdict card_send(struct card *c, size_t len, unsigned int seed)
{
	static unsigned char buf[NET_FRAME_MAX + 1];
	size_t part = seed % 2 ? len / 3 : len;
	struct iovec iov[2] = {{buf, part}, {buf + part, len - part}};
	enum net_verdict v;

	card_fill(buf, len, seed);
	v = net_send(c->net, iov, part == len ? 1 : 2, len);
	if (v == NET_DROPPED)
		c->dropped++;
	if (c->net)
		net_sent(c->net);
	memset(buf, 0xee, len);
	return v;
}

uint32_t card_sum(size_t len, unsigned int seed)
{
	unsigned char *p = malloc(len);
	uint32_t s;

	assert_non_null(p);
	card_fill(p, len, seed);
	s = sum(p, len);
	free(p);
	return s;
}

struct loop *card_loops[4];

static bool turn(struct loop *loop)
{
	bool did = loop_step(loop, false);

	for (int i = 0; card_loops[i]; i++)
		did |= loop_step(card_loops[i], false);
	return did;
}

void card_await(struct loop *loop, const unsigned int *what, unsigned int n)
{
	uint64_t until = loop_now() + PATIENCE_NS;

	while (*what < n) {
		if (loop_now() > until)
			fail_msg("waited in vain for the %uth; there are %u", n, *what);
		turn(loop);
	}
}

void card_await_link(struct card *c, bool link)
{
	uint64_t until = loop_now() + PATIENCE_NS;

	while (net_link(c->net) != link) {
		if (loop_now() > until)
			fail_msg("the link did not change");
		turn(c->loop);
	}
	card_settle(c->loop);
}

void card_settle(struct loop *loop)
{
	for (int i = 0; i < 100; i++)
		if (!turn(loop))
			return;
}

void card_idle(struct loop *loop, unsigned int ms)
{
	uint64_t until = loop_now() + ms * 1000000ULL;

	while (loop_now() < until)
		turn(loop);
}
