/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a child of fork inherits of its parent's session, asked for by clients that mean harm: the number that is the
 * right to it is good for one, once, while the parent lasts, and for what that parent has shown alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raw.h"

/* Of broker/private.h. */
#define HELD_MAX    1024
#define TICKETS_MAX 64

static struct server sv;

struct number {
	uint64_t n[2];
};

static long ticket(struct raw *r, struct number *t)
{
	long ret = raw_call(r, 0, RPC_TICKET, 0, 0, 0, NULL, 0);

	t->n[0] = r->ch->slot[0].a[0];
	t->n[1] = r->ch->slot[0].a[1];
	return ret;
}

static long inherit(struct raw *r, struct number t)
{
	return raw_call(r, 0, RPC_INHERIT, 0, t.n[0], t.n[1], NULL, 0);
}

static long hold(struct raw *r, int fd)
{
	raw_note_fds(r, 1, &fd, 1);
	r->ch->slot[1].nfds = 1;
	r->ch->slot[1].op = RPC_HOLD;
	raw_post(r, 1);
	return raw_wait(r, 1);
}

/* May it map the other's memory, having nothing to show but its own? */
static bool can_name(struct raw *r, const struct raw *other)
{
	uint64_t dev = r->dev, ino = r->ino;
	struct raw_device d;
	long ret;

	raw_device_open(r, &d);
	r->dev = other->dev;
	r->ino = other->ino;
	ret = raw_map(r, d.container, 0, 0, RAW_MEM);
	r->dev = dev;
	r->ino = ino;
	CHECK(!ret || ret == -EFAULT);
	close(d.device);
	close(d.group);
	close(d.container);
	return !ret;
}

static void test_rights(void)
{
	struct raw parent, child, thief, stranger;
	struct number t, second, none = {0};

	raw_connect(&parent, &sv);
	raw_connect(&child, &sv);
	raw_connect(&thief, &sv);
	raw_connect(&stranger, &sv);
	CHECK(ticket(&parent, &t) == -ENOENT && inherit(&child, t) == -ENOENT);
	CHECK(!hold(&parent, parent.memfd) && !hold(&stranger, stranger.memfd));
	CHECK(!ticket(&parent, &t) && !ticket(&parent, &second));
	CHECK(t.n[0] != second.n[0] && t.n[1] != second.n[1]);

	/* Guesses. */
	CHECK(inherit(&thief, none) == -ENOENT);
	for (unsigned int bit = 0; bit < 128; bit++) {
		struct number guess = t;

		guess.n[bit / 64] ^= 1ull << bit % 64;
		CHECK(inherit(&thief, guess) == -ENOENT);
	}
	CHECK(inherit(&thief, (struct number){{t.n[0], second.n[1]}}) == -ENOENT);
	CHECK(!can_name(&thief, &parent) && !can_name(&child, &parent));

	/* What was shown later is not inherited, nor what others have shown. */
	CHECK(!inherit(&child, t));
	CHECK(can_name(&child, &parent) && !can_name(&child, &stranger));

	/* Replays. */
	CHECK(inherit(&thief, t) == -ENOENT && inherit(&child, t) == -ENOENT && inherit(&parent, t) == -ENOENT);
	CHECK(!can_name(&thief, &parent));

	/* Both outlive the parent: what has been inherited, and nothing else. */
	close(parent.sock);
	EVENTUALLY(atomic_load(&parent.ch->dead));
	CHECK(inherit(&thief, second) == -ENOENT);
	parent.sock = -1;
	raw_close(&parent);
	CHECK(can_name(&child, &parent));
	CHECK(!can_name(&thief, &parent));
	CHECK(!raw_call(&child, 0, RPC_DROP, 0, parent.dev, parent.ino, NULL, 0));
	CHECK(!can_name(&child, &parent));
	raw_close(&child);
	raw_close(&thief);
	raw_close(&stranger);
}

/* A right to read stays one. */
static void test_read_only(void)
{
	struct raw parent, child;
	struct number t;
	char path[32];
	int fd;

	raw_connect(&parent, &sv);
	raw_connect(&child, &sv);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", parent.memfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && !hold(&parent, fd) && !ticket(&parent, &t) && !inherit(&child, t));
	CHECK(!can_name(&child, &parent));
	child.read_only = true;
	CHECK(!can_name(&child, &parent));
	close(fd);
	raw_close(&parent);
	raw_close(&child);
}

/* Numbers that are asked for and never used. */
static void test_hoard(void)
{
	struct number first, t[TICKETS_MAX], own;
	struct raw parent, child;
	unsigned int fds;

	raw_connect(&parent, &sv);
	raw_connect(&child, &sv);
	CHECK(!hold(&parent, parent.memfd) && !ticket(&parent, &first));
	fds = server_fds(&sv);
	for (unsigned int i = 0; i < 100 * TICKETS_MAX; i++)
		CHECK(!ticket(&parent, &t[i % TICKETS_MAX]));
	CHECK(server_fds(&sv) == fds);
	CHECK(inherit(&child, first) == -ENOENT);
	for (unsigned int i = 0; i < TICKETS_MAX; i++)
		CHECK(!inherit(&child, t[i]));
	CHECK(server_fds(&sv) == fds && can_name(&child, &parent));
	/* From oneself, and in a circle. */
	CHECK(!ticket(&child, &own) && !inherit(&child, own));
	CHECK(!ticket(&child, &own) && !inherit(&parent, own));
	CHECK(!ticket(&parent, &own));
	raw_close(&parent);
	raw_close(&child);
}

/* More than a session may hold: nobody comes to more by inheriting. */
static void test_too_much(void)
{
	struct raw parent, child;
	struct number t;
	unsigned int fds;

	raw_connect(&parent, &sv);
	raw_connect(&child, &sv);
	for (unsigned int i = 0; i < HELD_MAX; i++) {
		int fd = memfd_create("held", MFD_CLOEXEC);

		CHECK(!ftruncate(fd, PF_PAGE_SIZE) && !hold(&parent, fd));
		close(fd);
	}
	CHECK(hold(&parent, parent.memfd) == -EMFILE);
	CHECK(!hold(&child, child.memfd));
	fds = server_fds(&sv);
	CHECK(!ticket(&parent, &t) && inherit(&child, t) == -EMFILE);
	CHECK(inherit(&child, t) == -ENOENT);
	CHECK(server_fds(&sv) == fds);
	CHECK(hold(&child, parent.memfd) == -EMFILE);
	raw_close(&parent);
	CHECK(can_name(&child, &child));
	raw_close(&child);
}

static const struct {
	const char *name;
	void (*fn)(void);
} tests[] = {
    {"rights", test_rights}, {"read_only", test_read_only}, {"hoard", test_hoard}, {"too_much", test_too_much}};

int main(int argc, char **argv)
{
	const struct server_options o = {0};
	struct raw first;

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		unsigned int fds;

		if (argc < 2 || strcmp(argv[1], tests[i].name))
			continue;
		server_start(&sv, &o);
		/* What the broker opens once and keeps is open after the first client. */
		raw_connect(&first, &sv);
		CHECK(can_name(&first, &first));
		raw_close(&first);
		usleep(100000);
		fds = server_fds(&sv);
		tests[i].fn();
		EVENTUALLY(server_fds(&sv) <= fds);
		server_stop(&sv);
		return 0;
	}
	fprintf(stderr, "usage: %s TEST\n", argv[0]);
	return 2;
}
