/* SPDX-License-Identifier: BSD-3-Clause */
/* Captures are made and read with libpcap's own functions, or byte by byte where they are to be bad. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/log.h"
#include "base/util.h"
#include "card.h"

#define HEADER 24 /* of a pcap file */
#define RECORD 16

static struct loop *loop;
static struct card a;
static char dir[] = "/tmp/net-pcap.XXXXXX", in[64], out[64], spec[256];

static int setup(void **state)
{
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(loop);
	unlink(in);
	unlink(out);
	return 0;
}

static int group_setup(void **state)
{
	log_set_level(LOG_ERROR);
	if (!mkdtemp(dir))
		return -1;
	snprintf(in, sizeof(in), "%s/in", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	return 0;
}

static int group_teardown(void **state)
{
	return rmdir(dir);
}

static const char *pcap_spec(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(spec, sizeof(spec), fmt, ap);
	va_end(ap);
	return spec;
}

static size_t length(unsigned int i)
{
	return 60 + i * 37 % 1455;
}

/* n frames, gap ns apart. */
static void make_capture(unsigned int n, uint64_t gap, int link, int precision)
{
	pcap_t *p = pcap_open_dead_with_tstamp_precision(link, 65535, (u_int)precision);
	pcap_dumper_t *d = pcap_dump_open(p, in);
	unsigned char buf[2000];

	assert_non_null(d);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t ns = 1000000000000ULL + i * gap;
		struct pcap_pkthdr h = {.caplen = (bpf_u_int32)length(i), .len = (bpf_u_int32)length(i)};

		h.ts.tv_sec = (time_t)(ns / 1000000000);
		h.ts.tv_usec = (suseconds_t)(ns % 1000000000 / (precision == PCAP_TSTAMP_PRECISION_NANO ? 1 : 1000));
		card_fill(buf, h.caplen, i);
		pcap_dump((u_char *)d, &h, buf);
	}
	pcap_dump_close(d);
	pcap_close(p);
}

static void make_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

/* How many frames path has, each as it was sent, from seed 0 on; the file is whole. */
static unsigned int read_capture(const char *path)
{
	char err[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, err);
	struct pcap_pkthdr *h;
	unsigned char want[2000];
	const u_char *data;
	uint64_t last = 0;
	unsigned int n;
	int rc;

	if (!p)
		fail_msg("%s", err);
	assert_int_equal(pcap_datalink(p), DLT_EN10MB);
	for (n = 0; (rc = pcap_next_ex(p, &h, &data)) == 1; n++) {
		uint64_t ns = (uint64_t)h->ts.tv_sec * 1000000000 + (uint64_t)h->ts.tv_usec;

		assert_int_equal(h->len, length(n));
		assert_int_equal(h->caplen, length(n));
		card_fill(want, h->len, n);
		assert_memory_equal(data, want, h->len);
		assert_true(ns >= last && ns > 1600000000000000000ULL);
		last = ns;
	}
	if (rc != PCAP_ERROR_BREAK)
		fail_msg("%s", pcap_geterr(p));
	pcap_close(p);
	return n;
}

static void expect_frames(unsigned int n, unsigned int per_pass)
{
	card_await(loop, &a.frames, n);
	n = a.frames;
	for (unsigned int i = n < CARD_FRAMES ? 0 : n - CARD_FRAMES; i < n; i++) {
		assert_int_equal(a.len[i % CARD_FRAMES], length(i % per_pass));
		assert_int_equal(a.sum[i % CARD_FRAMES], card_sum(length(i % per_pass), i % per_pass));
	}
}

/* ---- in ---- */

static void a_capture_is_played(void **state)
{
	make_capture(3000, 1000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_MICRO);
	card_open(&a, loop, pcap_spec("pcap:in=%s", in), 1000000, false);
	assert_true(net_link(a.net));
	card_idle(loop, 20);
	assert_int_equal(a.frames, 0); /* not before the card is up */
	net_set_up(a.net, true);
	expect_frames(3000, 3000);
	card_idle(loop, 20);
	assert_int_equal(a.frames, 3000);
	assert_in_range(a.bursts, 1, 3000);
	/* What is sent goes nowhere. */
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	card_close(&a);
}

static void a_full_card_holds_it_up(void **state)
{
	make_capture(3000, 1000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_open(&a, loop, pcap_spec("pcap:in=%s", in), 10, true);
	for (unsigned int n = 10; n <= 3000; n += 10) {
		card_await(loop, &a.frames, n);
		if (n % 100 == 0)
			card_settle(loop);
		assert_int_equal(a.frames, n);
		a.room = 10;
		net_readable(a.net);
	}
	expect_frames(3000, 3000);
	card_close(&a);
}

static void down_is_a_pause(void **state)
{
	make_capture(500, 1000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_open(&a, loop, pcap_spec("pcap:in=%s", in), 1000000, true);
	for (unsigned int n = 100; n <= 400; n += 100) {
		card_await(loop, &a.frames, n);
		net_set_up(a.net, false);
		n = a.frames;
		card_idle(loop, 5);
		assert_int_equal(a.frames, n);
		net_set_up(a.net, true);
	}
	expect_frames(500, 500);
	card_close(&a);
}

static void it_is_played_as_often_as_asked(void **state)
{
	make_capture(700, 1000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_open(&a, loop, pcap_spec("pcap:in=%s,loop=7", in), 1000000, true);
	expect_frames(4900, 700);
	card_idle(loop, 20);
	assert_int_equal(a.frames, 4900);
	card_close(&a);
	/* For ever: more than ever fits. */
	card_open(&a, loop, pcap_spec("pcap:in=%s,loop=0", in), 1000000, true);
	expect_frames(20000, 700);
	card_close(&a);
	/* Nothing, for ever. */
	make_capture(0, 0, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_open(&a, loop, pcap_spec("pcap:in=%s,loop=0", in), 1000000, true);
	card_idle(loop, 20);
	assert_int_equal(a.frames, 0);
	card_close(&a);
}

static void it_can_be_played_in_its_own_time(void **state)
{
	uint64_t begin;

	make_capture(11, 10000000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_open(&a, loop, pcap_spec("pcap:in=%s,pace=on,loop=2", in), 1000000, true);
	begin = loop_now();
	expect_frames(22, 11);
	/* Later is possible on a busy machine, earlier is not. */
	assert_true(loop_now() - begin >= 2 * 10 * 10000000ULL);
	card_close(&a);
	/* A gap of years does not keep anybody from closing it. */
	make_capture(2, 1000000000000000000ULL, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_open(&a, loop, pcap_spec("pcap:in=%s,pace=on", in), 1000000, true);
	expect_frames(1, 2);
	card_idle(loop, 5);
	assert_int_equal(a.frames, 1);
	card_close(&a);
}

static void put32(unsigned char *p, size_t *at, uint32_t v)
{
	memcpy(p + *at, &v, 4);
	*at += 4;
}

/* A section header, an interface description and an enhanced packet (draft-ietf-opsawg-pcapng, section 4). */
static void pcapng_is_read(void **state)
{
	unsigned char file[256] = {};
	size_t n = 0;

	put32(file, &n, 0x0a0d0d0a);
	put32(file, &n, 28);
	put32(file, &n, 0x1a2b3c4d);
	put32(file, &n, 1);
	put32(file, &n, ~0U);
	put32(file, &n, ~0U);
	put32(file, &n, 28);
	put32(file, &n, 1);
	put32(file, &n, 20);
	put32(file, &n, DLT_EN10MB);
	put32(file, &n, 65535);
	put32(file, &n, 20);
	put32(file, &n, 6);
	put32(file, &n, 32 + 60);
	put32(file, &n, 0);
	put32(file, &n, 0);
	put32(file, &n, 1);
	put32(file, &n, 60);
	put32(file, &n, 60);
	card_fill(file + n, 60, 0);
	n += 60;
	put32(file, &n, 32 + 60);
	make_file(in, file, n);
	card_open(&a, loop, pcap_spec("pcap:in=%s", in), 10, true);
	expect_frames(1, 1);
	card_close(&a);
}

/* Lengths that no card has ever sent. */
static void what_is_no_frame_is_left_out(void **state)
{
	static const uint32_t lens[] = {0, 13, 14, 60, NET_FRAME_MAX, NET_FRAME_MAX + 1, 60000};
	pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);
	pcap_dumper_t *d = pcap_dump_open(p, in);
	static unsigned char buf[65536];

	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		struct pcap_pkthdr h = {.caplen = lens[i], .len = lens[i]};

		pcap_dump((u_char *)d, &h, buf);
	}
	pcap_dump_close(d);
	pcap_close(p);
	card_open(&a, loop, pcap_spec("pcap:in=%s,loop=2", in), 100, true);
	card_await(loop, &a.frames, 6);
	card_idle(loop, 20);
	assert_int_equal(a.frames, 6);
	assert_int_equal(a.len[0], NET_FRAME_MIN);
	assert_int_equal(a.len[1], 60);
	assert_int_equal(a.len[2], NET_FRAME_MAX);
	card_close(&a);
}

static void a_file_that_is_cut_short_plays_to_there(void **state)
{
	struct stat st;

	make_capture(50, 1000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	assert_int_equal(stat(in, &st), 0);
	for (off_t cut = 1; cut < 400; cut += 57) {
		assert_int_equal(truncate(in, st.st_size - cut), 0);
		card_open(&a, loop, pcap_spec("pcap:in=%s", in), 100, true);
		expect_frames(49, 50);
		card_idle(loop, 2);
		assert_int_equal(a.frames, 49);
		card_close(&a);
		if (cut + 57 >= (off_t)(RECORD + length(49)))
			break;
	}
}

/* ---- out ---- */

static void send_all(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		while (card_send(&a, length(i), i) == NET_FULL) {
			unsigned int before = a.writables;

			card_await(loop, &a.writables, before + 1);
		}
		/* As a test would be that is slower than the disk. */
		assert_int_equal(a.dropped, 0);
	}
}

static void what_is_sent_is_recorded(void **state)
{
	static const unsigned int counts[] = {0, 1, 7, 5000};

	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		card_open(&a, loop, pcap_spec("pcap:out=%s", out), 10, true);
		send_all(counts[i]);
		card_close(&a);
		assert_int_equal(read_capture(out), counts[i]);
	}
}

static void out_becomes_in(void **state)
{
	card_open(&a, loop, pcap_spec("pcap:out=%s", in), 10, true);
	send_all(500);
	card_close(&a);
	card_open(&a, loop, pcap_spec("pcap:in=%s,out=%s", in, out), 1000, true);
	expect_frames(500, 500);
	send_all(100);
	card_close(&a);
	assert_int_equal(read_capture(out), 100);
}

/* Nobody closes anything when a program, and the broker with it, is killed. */
static void a_killed_broker_leaves_a_whole_file(void **state)
{
	off_t size = HEADER;
	struct stat st = {};
	pid_t pid;
	int i, status;

	for (unsigned int k = 0; k < 1000; k++)
		size += RECORD + (off_t)length(k);
	pid = fork();
	if (!pid) {
		card_open(&a, loop, pcap_spec("pcap:out=%s", out), 10, true);
		send_all(1000);
		for (;;)
			pause();
	}
	for (i = 0; i < 60000 && st.st_size < size; i++) {
		usleep(1000);
		stat(out, &st);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(st.st_size, size);
	assert_int_equal(read_capture(out), 1000);
}

/* A disk that is full costs what is sent from then on, and not what is there. */
static void a_full_disk_leaves_a_whole_file(void **state)
{
	struct rlimit old, lim;
	unsigned int n;

	getrlimit(RLIMIT_FSIZE, &old);
	lim = old;
	lim.rlim_cur = 300000;
	card_open(&a, loop, pcap_spec("pcap:out=%s", out), 10, true);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
	send_all(5000);
	card_close(&a);
	setrlimit(RLIMIT_FSIZE, &old);
	n = read_capture(out);
	assert_in_range(n, 1, 1000);
}

/* Rule C1: whoever reads the FIFO, or does not. */
static void rule_a_fifo_that_nobody_reads_costs_frames(void **state)
{
	unsigned int n = 0;
	int fd;

	assert_int_equal(mkfifo(out, 0600), 0);
	card_refused(loop, pcap_spec("pcap:out=%s", out), -ENXIO, "nobody reads this FIFO");
	fd = open(out, O_RDONLY | O_NONBLOCK);
	card_open(&a, loop, pcap_spec("pcap:out=%s", out), 10, true);
	while (!a.dropped) {
		unsigned int before = a.writables;

		assert_true(++n < 10000);
		if (card_send(&a, 1514, n) == NET_FULL)
			card_await(loop, &a.writables, before + 1);
	}
	close(fd); /* what the thread is writing fails, so that closing need not wait for its patience */
	card_close(&a);
}

/* ---- what is refused ---- */

static void bad_files_are_refused(void **state)
{
	char text[64];

	card_refused(loop, pcap_spec("pcap:in=%s", in), -ENOENT, "No such file or directory");
	card_refused(loop, pcap_spec("pcap:in=%s", dir), -EINVAL, "is no regular file");
	card_refused(loop, pcap_spec("pcap:out=%s", dir), -EISDIR, "Is a directory");
	card_refused(loop, "pcap:out=/dev/null", -EINVAL, "neither a regular file nor a FIFO");
	make_file(in, "", 0);
	card_refused(loop, pcap_spec("pcap:in=%s", in), -EINVAL, "net=pcap: /tmp/");
	make_file(in, "This is not a capture, is it?", 29);
	card_refused(loop, pcap_spec("pcap:in=%s", in), -EINVAL, "unknown file format");
	make_capture(3, 1, DLT_IEEE802_11, PCAP_TSTAMP_PRECISION_NANO);
	card_refused(loop, pcap_spec("pcap:in=%s", in), -EINVAL, "a capture of IEEE802_11, not of Ethernet");
	make_capture(3, 1, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	card_refused(loop, pcap_spec("pcap:in=%s,out=%s", in, in), -EINVAL, "cannot be read and written at once");
	card_open(&a, loop, pcap_spec("pcap:in=%s", in), 10, true);
	expect_frames(3, 3); /* it is still there */
	card_close(&a);
	unlink(in);
	assert_int_equal(mkfifo(in, 0600), 0);
	card_refused(loop, pcap_spec("pcap:in=%s", in), -EINVAL, "is no regular file");
	snprintf(text, sizeof(text), "%s/no/out", dir);
	card_refused(loop, pcap_spec("pcap:out=%s", text), -ENOENT, "No such file or directory");
}

static void bad_options_are_refused(void **state)
{
	card_refused(loop, "pcap", -EINVAL, "net=pcap needs in=FILE, out=FILE, or both");
	card_refused(loop, "pcap:", -EINVAL, "unknown option of net=pcap ''");
	card_refused(loop, "pcap:in", -EINVAL, "'in' needs a value");
	card_refused(loop, "pcap:in=", -EINVAL, "'in' needs a value");
	card_refused(loop, "pcap:in=x,in=y", -EINVAL, "'in' is given twice");
	card_refused(loop, "pcap:out=x,pace=on", -EINVAL, "net=pcap needs in=FILE");
	card_refused(loop, "pcap:in=x,pace=yes", -EINVAL, "pace: 'yes' is neither on nor off");
	card_refused(loop, "pcap:in=x,loop=-1", -EINVAL, "loop: '-1' is not a number from 0 to");
	card_refused(loop, "pcap:in=x,loop=9999999999", -EINVAL, "is not a number from 0 to");
	card_refused(loop, "pcap:in=x,lop=1", -EINVAL, "did you mean 'loop'?");
}

static void a_card_may_close_from_within(void **state)
{
	make_capture(1000, 1000, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO);
	for (int i = 0; i < 2; i++) {
		card_open(&a, loop, pcap_spec("pcap:in=%s,out=%s", in, out), 1000, true);
		a.close_in_receive = i == 0;
		a.close_in_received = i == 1;
		while (a.net)
			loop_step(loop, false);
	}
}

static void memory_may_be_gone(void **state)
{
	struct iovec iov = {(void *)64, 100};

	assert_int_equal(guard_install(), 0);
	card_open(&a, loop, pcap_spec("pcap:out=%s", out), 10, true);
	assert_int_equal(net_send(a.net, &iov, 1, 100), NET_DROPPED);
	send_all(3);
	card_close(&a);
	assert_int_equal(read_capture(out), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_capture_is_played, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_card_holds_it_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(down_is_a_pause, setup, teardown),
	    cmocka_unit_test_setup_teardown(it_is_played_as_often_as_asked, setup, teardown),
	    cmocka_unit_test_setup_teardown(it_can_be_played_in_its_own_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(pcapng_is_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_frame_is_left_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_file_that_is_cut_short_plays_to_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_sent_is_recorded, setup, teardown),
	    cmocka_unit_test_setup_teardown(out_becomes_in, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_killed_broker_leaves_a_whole_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_disk_leaves_a_whole_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_a_fifo_that_nobody_reads_costs_frames, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_files_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_options_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_card_may_close_from_within, setup, teardown),
	    cmocka_unit_test_setup_teardown(memory_may_be_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
