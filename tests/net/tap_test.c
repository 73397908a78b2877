/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's end of a tap interface is a packet socket. Where no interface can be made, only that the user is told so
 * is tested, and the rest skipped.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "card.h"

#define TYPE 0x88b5 /* what card_fill writes */

static struct loop *loop;
static struct card a;
static char name[IFNAMSIZ], spec[32];
static int host;
static bool refused;

/* The interface up, and a socket that sees all frames of our type. */
static int host_open(void)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(TYPE)};
	struct ifreq ifr = {};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(TYPE));

	if (fd < 0)
		return -1;
	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -1;
	ifr.ifr_flags |= IFF_UP | IFF_PROMISC;
	addr.sll_ifindex = (int)if_nametoindex(name);
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -1;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static bool permitted(void)
{
	struct net_env env = {.loop = loop};
	struct net_card none = {};
	struct net *n;
	char err[256];
	int rc = net_open(&env, spec, &none, &n, err, sizeof(err));

	if (!rc) {
		net_close(n);
		return true;
	}
	if (rc != -EPERM && rc != -ENOENT && rc != -EACCES)
		fail_msg("%s", err);
	assert_int_equal(strncmp(err, "net=tap: ", 9), 0);
	refused = true;
	return false;
}

static void open_both(unsigned int room)
{
	if (!permitted())
		skip();
	card_open(&a, loop, spec, room, true);
	a.picky = true; /* the host has things of its own to say on a new interface */
	assert_true(net_link(a.net));
	host = host_open();
	if (host < 0) {
		card_close(&a);
		refused = true;
		skip();
	}
}

static void close_both(void)
{
	card_close(&a);
	close(host);
}

static int setup(void **state)
{
	loop = loop_new();
	snprintf(name, sizeof(name), "pft%d", getpid() % 1000000);
	snprintf(spec, sizeof(spec), "tap:%s", name);
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(loop);
	return 0;
}

static void host_send(size_t len, unsigned int seed)
{
	unsigned char buf[2000];

	card_fill(buf, len, seed);
	assert_int_equal(send(host, buf, len, 0), len);
}

static void frames_go_both_ways(void **state)
{
	unsigned char buf[2000], want[2000];
	ssize_t n;

	open_both(100);
	for (unsigned int i = 0; i < 50; i++) {
		size_t len = 60 + i * 29;

		host_send(len, i);
		card_await(loop, &a.frames, i + 1);
		assert_int_equal(a.len[i], len);
		assert_int_equal(a.sum[i], card_sum(len, i));
		assert_int_equal(card_send(&a, len, i + 1), NET_TAKEN);
		while ((n = recv(host, buf, sizeof(buf), 0)) < 0)
			assert_int_equal(errno, EAGAIN);
		card_fill(want, len, i + 1);
		assert_int_equal(n, len);
		assert_memory_equal(buf, want, len);
	}
	host_send(20, 3);
	card_await(loop, &a.frames, 51);
	assert_int_equal(a.len[50], NET_FRAME_MIN);
	close_both();
}

static void a_full_card_holds_the_host_up(void **state)
{
	open_both(1);
	for (unsigned int i = 0; i < 5; i++)
		host_send(100, i);
	card_await(loop, &a.frames, 1);
	for (unsigned int i = 2; i <= 5; i++) {
		card_settle(loop);
		assert_int_equal(a.frames, i - 1);
		a.room = 1;
		net_readable(a.net);
		card_await(loop, &a.frames, i);
		assert_int_equal(a.sum[i - 1], card_sum(100, i - 1));
	}
	close_both();
}

static void down_is_deaf(void **state)
{
	open_both(100);
	net_set_up(a.net, false);
	host_send(100, 1);
	card_settle(loop);
	assert_int_equal(a.frames, 0);
	net_set_up(a.net, true);
	card_await(loop, &a.frames, 1);
	close_both();
}

static void a_card_may_close_from_within(void **state)
{
	open_both(100);
	a.close_in_receive = true;
	host_send(100, 1);
	while (a.net)
		loop_step(loop, false);
	close(host);
}

static void one_interface_one_card(void **state)
{
	open_both(100);
	card_refused(loop, spec, -EBUSY, "busy");
	close_both();
	assert_int_equal(if_nametoindex(name), 0);
}

static void bad_names_are_refused(void **state)
{
	card_refused(loop, "tap", -EINVAL, "net=tap needs a NAME");
	card_refused(loop, "tap:1234567890123456", -EINVAL, "is longer than the 15 letters of an interface's name");
	if (!permitted())
		skip();
	card_refused(loop, "tap:lo", -EINVAL, "is another kind of interface");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(frames_go_both_ways, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_card_holds_the_host_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(down_is_deaf, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_card_may_close_from_within, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_interface_one_card, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_names_are_refused, setup, teardown),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (failed || !refused)
		return failed;
	puts("no permission for a tap interface and a packet socket");
	return 77;
}
