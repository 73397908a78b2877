/* SPDX-License-Identifier: BSD-3-Clause */
/* The other end of socket: is played by plain descriptors, which keep to the format or do not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/log.h"
#include "base/util.h"
#include "card.h"

static struct loop *loop;
static struct card a, b;
static char dir[] = "/tmp/net-socket.XXXXXX", path[64], spec[128];

static int setup(void **state)
{
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(loop);
	unlink(path);
	return 0;
}

static int group_setup(void **state)
{
	log_set_level(LOG_ERROR);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(spec, sizeof(spec), "socket:%s", path);
	return 0;
}

static int group_teardown(void **state)
{
	return rmdir(dir);
}

/* ---- the peer ---- */

static struct sockaddr_un address(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(addr.sun_path, path);
	return addr;
}

static int peer_connect(void)
{
	struct sockaddr_un addr = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int peer_listen(void)
{
	struct sockaddr_un addr = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* A listening card, and us. */
static int open_and_connect(unsigned int room)
{
	int fd;

	card_open(&a, loop, spec, room, true);
	fd = peer_connect();
	card_await_link(&a, true);
	return fd;
}

static void put_bytes(int fd, const void *p, size_t len)
{
	assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), len);
}

static void put_length(int fd, uint32_t len)
{
	unsigned char b4[4] = {len >> 24, len >> 16, len >> 8, len};

	put_bytes(fd, b4, 4);
}

static void put_frame(int fd, size_t len, unsigned int seed)
{
	unsigned char buf[NET_FRAME_MAX];

	card_fill(buf, len, seed);
	put_length(fd, (uint32_t)len);
	put_bytes(fd, buf, len);
}

static void get_bytes(int fd, void *p, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = recv(fd, (char *)p + got, len - got, MSG_DONTWAIT);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			loop_step(loop, false);
			continue;
		}
		assert_int_not_equal(n, 0);
		got += (size_t)n;
	}
}

static void get_frame(int fd, size_t len, unsigned int seed)
{
	unsigned char b4[4], buf[NET_FRAME_MAX], want[NET_FRAME_MAX];

	get_bytes(fd, b4, 4);
	assert_int_equal((size_t)b4[0] << 24 | b4[1] << 16 | b4[2] << 8 | b4[3], len);
	get_bytes(fd, buf, len);
	card_fill(want, len, seed);
	assert_memory_equal(buf, want, len);
}

static void done(int fd)
{
	close(fd);
	card_await_link(&a, false);
	card_close(&a);
}

/* ---- what is agreed upon ---- */

static void frames_go_both_ways(void **state)
{
	static const size_t lens[] = {60, 61, 1514, 9018, NET_FRAME_MAX};
	int fd = open_and_connect(100);

	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(card_send(&a, lens[i], i), NET_TAKEN);
		get_frame(fd, lens[i], i);
		put_frame(fd, lens[i], i + 1);
		card_await(loop, &a.frames, i + 1);
		assert_int_equal(a.len[i], lens[i]);
		assert_int_equal(a.sum[i], card_sum(lens[i], i + 1));
	}
	card_await(loop, &a.bursts, 1);
	done(fd);
}

/* QEMU does not pad. */
static void short_frames_are_padded(void **state)
{
	int fd = open_and_connect(100);
	unsigned char want[NET_FRAME_MIN] = {};

	put_frame(fd, 42, 7);
	card_await(loop, &a.frames, 1);
	assert_int_equal(a.len[0], NET_FRAME_MIN);
	card_fill(want, 42, 7);
	assert_memory_equal(a.last, want, NET_FRAME_MIN);
	put_frame(fd, 13, 7);
	put_length(fd, 0);
	put_frame(fd, 14, 8);
	card_await(loop, &a.frames, 2);
	assert_int_equal(a.len[1], NET_FRAME_MIN);
	done(fd);
}

static void frames_may_come_in_any_pieces(void **state)
{
	unsigned char stream[3000], *p = stream;
	int fd = open_and_connect(1000);

	for (unsigned int i = 0; i < 3; i++, p += 4 + 900) {
		memcpy(p, "\0\0\x03\x84", 4);
		card_fill(p + 4, 900, i);
	}
	for (size_t piece = 1; piece < 60; piece += 7) {
		unsigned int before = a.frames;

		for (size_t at = 0; at < (size_t)(p - stream); at += piece) {
			put_bytes(fd, stream + at, MIN(piece, (size_t)(p - stream) - at));
			loop_step(loop, false);
		}
		card_await(loop, &a.frames, before + 3);
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(a.sum[before + i], card_sum(900, i));
	}
	done(fd);
}

static void a_full_card_holds_the_peer_up(void **state)
{
	int fd = open_and_connect(2);

	for (unsigned int i = 0; i < 5; i++)
		put_frame(fd, 100, i);
	card_await(loop, &a.frames, 2);
	card_settle(loop);
	assert_int_equal(a.frames, 2);
	/* All that is left is here already: no descriptor tells of it. */
	for (unsigned int i = 3; i <= 5; i++) {
		a.room = 1;
		net_readable(a.net);
		assert_int_equal(a.frames, i - 1);
		card_await(loop, &a.frames, i);
		assert_int_equal(a.sum[i - 1], card_sum(100, i - 1));
	}
	done(fd);
}

/* A peer that has said all and left is heard out, and a card that is full meanwhile burns no time. */
static void what_was_sent_before_the_end_counts(void **state)
{
	int fd = open_and_connect(1), rounds = 0;

	for (unsigned int i = 0; i < 4; i++)
		put_frame(fd, 9000, i);
	card_await(loop, &a.frames, 1);
	close(fd);
	card_settle(loop);
	while (loop_step(loop, false))
		assert_true(++rounds < 10);
	assert_true(net_link(a.net));
	a.room = 100;
	net_readable(a.net);
	card_await(loop, &a.frames, 4);
	assert_int_equal(a.sum[3], card_sum(9000, 3));
	card_await_link(&a, false);
	card_close(&a);
}

/* ---- who listens ---- */

static void connects_to_a_listener(void **state)
{
	int l = peer_listen(), fd;

	card_open(&a, loop, spec, 10, true);
	card_await_link(&a, true);
	fd = accept(l, NULL, NULL);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	get_frame(fd, 60, 1);
	/* The connection goes, and comes again. */
	close(fd);
	card_await_link(&a, false);
	assert_int_equal(card_send(&a, 60, 1), NET_DROPPED);
	card_await_link(&a, true);
	fd = accept(l, NULL, NULL);
	assert_int_equal(card_send(&a, 60, 2), NET_TAKEN);
	get_frame(fd, 60, 2);
	/* The listener goes: now the card listens. */
	close(fd);
	close(l);
	unlink(path);
	card_await_link(&a, false);
	while (access(path, F_OK))
		loop_step(loop, false);
	card_settle(loop);
	fd = peer_connect();
	card_await_link(&a, true);
	done(fd);
	assert_int_equal(access(path, F_OK), -1);
}

static void two_cards_meet(void **state)
{
	card_open(&a, loop, spec, 10, true);
	card_open(&b, loop, spec, 10, true);
	card_await_link(&a, true);
	card_await_link(&b, true);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	card_await(loop, &b.frames, 1);
	card_close(&a);
	card_await_link(&b, false);
	card_close(&b);
}

static void server_on_and_off(void **state)
{
	char on[160], off[160];

	snprintf(on, sizeof(on), "%s,server=on", spec);
	snprintf(off, sizeof(off), "%s,server=off", spec);
	card_open(&a, loop, off, 10, true);
	card_idle(loop, 20);
	assert_int_equal(access(path, F_OK), -1);
	card_open(&b, loop, on, 10, true);
	card_await_link(&a, true);
	card_await_link(&b, true);
	card_refused(loop, on, -EADDRINUSE, "somebody listens there already");
	card_close(&b);
	card_await_link(&a, false);
	card_close(&a);
}

static void a_second_peer_is_hung_up_on(void **state)
{
	int fd = open_and_connect(10), second = peer_connect();
	char c;

	while (recv(second, &c, 1, MSG_DONTWAIT) < 0)
		loop_step(loop, false);
	close(second);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	get_frame(fd, 60, 1);
	/* The first one has the place until it goes. */
	close(fd);
	card_await_link(&a, false);
	fd = peer_connect();
	card_await_link(&a, true);
	done(fd);
}

static void what_a_killed_listener_left_is_replaced(void **state)
{
	close(peer_listen());
	assert_int_equal(access(path, F_OK), 0);
	done(open_and_connect(10));
}

/* Two replaced it at once: whoever has lost the name to the other notices. */
static void a_lost_name_is_noticed(void **state)
{
	int l, fd;

	card_open(&a, loop, spec, 10, true);
	unlink(path);
	l = peer_listen();
	card_await_link(&a, true);
	fd = accept(l, NULL, NULL);
	put_frame(fd, 60, 3);
	card_await(loop, &a.frames, 1);
	close(l);
	done(fd);
	assert_int_equal(access(path, F_OK), 0); /* not the card's to remove */
}

static void bad_places_are_refused(void **state)
{
	char text[512], nodir[128], file[64];
	int fd;

	memset(text, 'x', sizeof(text));
	memcpy(text, "socket:", 7);
	text[300] = '\0';
	card_refused(loop, text, -EINVAL, "is longer than 107 bytes");
	snprintf(nodir, sizeof(nodir), "socket:%s/no/s", dir);
	/* The directory may come, but hardly will. */
	card_refused(loop, nodir, -ENOENT, "No such file or directory");
	snprintf(file, sizeof(file), "%s/file", dir);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	close(fd);
	snprintf(text, sizeof(text), "socket:%s", file);
	card_refused(loop, text, -EEXIST, "is no socket");
	assert_int_equal(unlink(file), 0);
	snprintf(text, sizeof(text), "%s,server=maybe", spec);
	card_refused(loop, text, -EINVAL, "neither on nor off");
	snprintf(text, sizeof(text), "%s,sever=on", spec);
	card_refused(loop, text, -EINVAL, "did you mean 'server'?");
	card_refused(loop, "socket", -EINVAL, "needs a PATH");
}

/* ---- peers that do not keep to it ---- */

static void too_long_frames_are_skipped(void **state)
{
	static const char zeros[NET_FRAME_MAX + 1000];
	int fd = open_and_connect(10);

	for (int i = 0; i < 20; i++) {
		put_length(fd, sizeof(zeros));
		for (size_t at = 0; at < sizeof(zeros); at += 1000) {
			put_bytes(fd, zeros + at, MIN(1000UL, sizeof(zeros) - at));
			loop_step(loop, false);
		}
	}
	put_frame(fd, 100, 4);
	card_await(loop, &a.frames, 1);
	assert_int_equal(a.sum[0], card_sum(100, 4));
	done(fd);
}

static void nonsense_ends_the_connection(void **state)
{
	static const uint32_t lens[] = {0x11001, 0x80000000, 0xffffffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		int fd = open_and_connect(10);
		char c;

		put_frame(fd, 60, 1);
		put_length(fd, lens[i]);
		card_await_link(&a, false);
		assert_int_equal(a.frames, 1);
		assert_true(recv(fd, &c, 1, 0) <= 0);
		close(fd);
		/* The next one may do better, and begins anew. */
		fd = peer_connect();
		card_await_link(&a, true);
		put_frame(fd, 60, 2);
		card_await(loop, &a.frames, 2);
		done(fd);
	}
}

static void half_a_frame_is_none(void **state)
{
	for (size_t cut = 0; cut < 70; cut += 3) {
		unsigned char buf[4 + 100] = {0, 0, 0, 100};
		int fd = open_and_connect(10);

		if (cut)
			put_bytes(fd, buf, cut);
		close(fd);
		card_await_link(&a, false);
		assert_int_equal(a.frames, 0);
		fd = peer_connect();
		card_await_link(&a, true);
		put_frame(fd, 100, 1);
		card_await(loop, &a.frames, 1);
		assert_int_equal(a.sum[0], card_sum(100, 1));
		done(fd);
	}
}

/* Rule C1, and bounded memory. */
static void rule_a_peer_that_never_reads_costs_frames(void **state)
{
	int fd = open_and_connect(10);
	unsigned int n = 0;

	while (card_send(&a, 9000, n) == NET_TAKEN)
		assert_true(++n < 1000);
	card_await(loop, &a.writables, 1);
	for (int i = 0; i < 100; i++)
		assert_int_equal(card_send(&a, 9000, n), NET_DROPPED);
	/* It wakes up: whole frames, in order, and those from then on. */
	for (unsigned int i = 0; i < n; i++)
		get_frame(fd, 9000, i);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	get_frame(fd, 60, 1);
	/* And does it again, for less than patience lasts. */
	for (n = 0; card_send(&a, 9000, n) == NET_TAKEN; n++)
		;
	a.writables = 0;
	for (unsigned int i = 0; i < n; i++)
		get_frame(fd, 9000, i);
	card_await(loop, &a.writables, 1);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	done(fd);
}

static void a_peer_may_go_at_any_time(void **state)
{
	for (int i = 0; i < 20; i++) {
		int fd = open_and_connect(i % 3);

		for (int k = 0; k < i; k++) {
			card_send(&a, 9000, (unsigned int)k);
			if (k % 2)
				put_frame(fd, 5000, (unsigned int)k);
			if (k % 5 == 4)
				card_settle(loop);
		}
		if (i % 4 == 1)
			shutdown(fd, SHUT_RD);
		if (i % 4 == 2)
			shutdown(fd, SHUT_WR);
		card_settle(loop);
		close(fd);
		a.room = 1000;
		net_readable(a.net);
		card_await_link(&a, false);
		card_close(&a);
	}
}

static void a_card_may_close_from_within(void **state)
{
	int fd = open_and_connect(10);

	a.close_in_receive = true;
	put_frame(fd, 60, 1);
	put_frame(fd, 60, 1);
	while (a.net)
		loop_step(loop, false);
	card_settle(loop);
	close(fd);

	fd = open_and_connect(10);
	a.close_in_received = true;
	put_frame(fd, 60, 1);
	while (a.net)
		loop_step(loop, false);
	close(fd);

	fd = open_and_connect(10);
	a.close_in_link = true;
	close(fd);
	while (a.net)
		loop_step(loop, false);
	assert_int_equal(access(path, F_OK), -1);
}

/* A frame whose memory is gone leaves no half of itself behind. */
static void memory_may_be_gone(void **state)
{
	int fd = open_and_connect(10);
	char good[50] = "half";
	struct iovec iov[2] = {{good, 50}, {(void *)64, 50}};

	assert_int_equal(guard_install(), 0);
	assert_int_equal(net_send(a.net, iov, 2, 100), NET_DROPPED);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	get_frame(fd, 60, 1);
	done(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(frames_go_both_ways, setup, teardown),
	    cmocka_unit_test_setup_teardown(short_frames_are_padded, setup, teardown),
	    cmocka_unit_test_setup_teardown(frames_may_come_in_any_pieces, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_card_holds_the_peer_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_sent_before_the_end_counts, setup, teardown),
	    cmocka_unit_test_setup_teardown(connects_to_a_listener, setup, teardown),
	    cmocka_unit_test_setup_teardown(two_cards_meet, setup, teardown),
	    cmocka_unit_test_setup_teardown(server_on_and_off, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_second_peer_is_hung_up_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_a_killed_listener_left_is_replaced, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_lost_name_is_noticed, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_places_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(too_long_frames_are_skipped, setup, teardown),
	    cmocka_unit_test_setup_teardown(nonsense_ends_the_connection, setup, teardown),
	    cmocka_unit_test_setup_teardown(half_a_frame_is_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_a_peer_that_never_reads_costs_frames, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_peer_may_go_at_any_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_card_may_close_from_within, setup, teardown),
	    cmocka_unit_test_setup_teardown(memory_may_be_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
