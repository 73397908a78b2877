/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one packet costs the card, there and back: net=loopback, a driver that does as little as a driver can, and no
 * traps. Lines:
 *
 *   SIZE BURST: NS	the driver in this very thread; CPU time
 *   SIZE threads: NS	the driver in a thread of its own, which forwards what comes, as testpmd does, its tails in the
 *			live pages; time of its clock
 *
 * Each is the least of several runs; those of the second kind are so short that some are not interrupted.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/loop.h"
#include "pci/live.h"
#include "tests/igb/host.h"

#define RING	512
#define RUNS	5
#define PACKETS 200000

static double clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* As testpmd makes them: IPv4, UDP. */
static uint64_t udp_put(struct host *h, uint64_t at, uint32_t len)
{
	static const uint8_t headers[] = {0x45, 0,  0, 0, 0,   0,  0, 0, 64, 17, 0, 0,
					  198,	18, 0, 1, 198, 18, 0, 2, 0,  9,	 0, 9};
	uint8_t *p = host_ptr(h, at);
	uint16_t ip = htons((uint16_t)(len - 14)), udp = htons((uint16_t)(len - 34));

	frame_make(p, len, 1);
	memcpy(p + 12, (uint8_t[]){8, 0}, 2);
	memcpy(p + 14, headers, sizeof(headers));
	memcpy(p + 16, &ip, 2);
	memcpy(p + 38, &udp, 2);
	return at;
}

/* ---- one thread ---- */
static void burst(struct host *h, struct ring *tx, struct ring *rx, uint64_t data, uint32_t len, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		tx_put(tx, data, len, CMD_ONE);
	ring_ring(tx);
	for (unsigned int i = 0; i < n; i++) {
		while (!ring_seen(tx))
			loop_step(h->m.loop, false);
		if (!ring_seen(rx))
			abort();
	}
	rx_give(rx, n);
}

static double run(struct host *h, struct ring *tx, struct ring *rx, uint64_t data, uint32_t len, unsigned int n)
{
	double best = 1e18, begin;

	for (int r = 0; r < RUNS; r++) {
		begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		for (unsigned int i = 0; i < PACKETS; i += n)
			burst(h, tx, rx, data, len, n);
		best = MIN(best, (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / PACKETS);
	}
	return best;
}

/* ---- two threads ---- */
#define BUFFERS	 1024 /* beside those of the ring */
#define BUF_SIZE 2304 /* with what a driver keeps beside the data; no power of two */
#define BURST	 32
#define SHORT	 8192 /* packets in a run, */
#define SHORTS	 500  /* runs, */
#define LONG_NS	 1e9  /* or no more than this */

struct forwarder {
	struct host *h;
	struct ring tx, rx;
	uint32_t len;
	unsigned int in_flight;
	volatile uint32_t *live; /* the pages */
	uint64_t rx_buf[RING], tx_buf[RING], stack[RING + BUFFERS];
	unsigned int nstack, unposted;
	double best;
	atomic_bool done;
};

static void ring_live(struct forwarder *w, const struct ring *r)
{
	atomic_thread_fence(memory_order_release);
	w->live[(ring_reg(r, IGB_RDT) - IGB_RXQ_OLD_PAGE) / 4] = r->tail;
}

static void rx_post(struct forwarder *w)
{
	uint64_t buf = w->stack[--w->nstack];

	w->rx_buf[w->rx.tail] = buf;
	w->rx.desc[w->rx.tail] = (union igb_desc){.q = {buf}};
	w->rx.tail = (w->rx.tail + 1) % RING;
}

static bool tx_post(struct forwarder *w, uint64_t buf)
{
	unsigned int at = w->tx.tail;

	if (w->tx_buf[at] && !(((volatile union igb_desc *)w->tx.desc)[at].d[3] & IGB_TXD_DD))
		return false;
	if (w->tx_buf[at])
		w->stack[w->nstack++] = w->tx_buf[at];
	w->tx_buf[at] = buf;
	tx_put(&w->tx, buf, w->len, CMD_ONE);
	return true;
}

/* What has come goes out again. Returns how many. */
static unsigned int forward(struct forwarder *w)
{
	volatile union igb_desc *desc = w->rx.desc;
	unsigned int n = 0;

	while (n < BURST && desc[w->rx.seen].d[2] & IGB_RXD_DD) {
		if (!tx_post(w, w->rx_buf[w->rx.seen]))
			break;
		w->rx.seen = (w->rx.seen + 1) % RING;
		rx_post(w);
		n++;
	}
	if (!n)
		return 0;
	ring_live(w, &w->tx);
	w->unposted += n;
	if (w->unposted >= BURST) {
		ring_live(w, &w->rx);
		w->unposted = 0;
	}
	return n;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *forward_thread(void *arg)
{
	struct forwarder *w = arg;
	double begin, end;

	pin(1);
	for (unsigned int i = 0; i < w->in_flight; i++)
		tx_post(w, w->stack[--w->nstack]);
	ring_live(w, &w->tx);
	end = clock_ns(CLOCK_MONOTONIC) + LONG_NS;
	for (unsigned int r = 0; r < SHORTS && clock_ns(CLOCK_MONOTONIC) < end; r++) {
		begin = clock_ns(CLOCK_MONOTONIC);
		for (unsigned int i = 0; i < SHORT;)
			i += forward(w);
		w->best = MIN(w->best, (clock_ns(CLOCK_MONOTONIC) - begin) / SHORT);
	}
	atomic_store(&w->done, true);
	return NULL;
}

/* The card opens its pages when tails have come the long way for a while. */
static void live_open(struct forwarder *w)
{
	struct live_page *p = w->h->m.f->bar[0].live;

	w->live = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	CHECK(w->live != MAP_FAILED);
	while (!live_page_ready(p)) {
		ring_ring(&w->tx);
		loop_step(w->h->m.loop, false);
	}
}

/* As drivers of today have it: no sum over the packet in the place of the hash. */
static void card_open(struct host *h)
{
	host_open_net(h, "loopback", "");
	link_up(h);
	wr(h, IGB_RXCSUM, IGB_RXCSUM_PCSD);
	/* Nobody counts transfers but who draws a timeline of them. */
	h->m.listener.mask = BIT(EVENT_FAULT);
	events_changed(&h->m.evs);
}

static double run_threads(uint32_t len, unsigned int in_flight)
{
	static struct forwarder w;
	static struct host h;
	pthread_t t;

	w = (struct forwarder){.h = &h, .len = len, .in_flight = in_flight, .best = 1e18};
	card_open(&h);
	rx_open(&w.rx, &h, 0, RING, 2);
	tx_open(&w.tx, &h, 0, RING);
	for (unsigned int i = 0; i < RING - 1; i++)
		w.rx_buf[i] = w.rx.buffers + i * w.rx.buffer_size;
	for (unsigned int i = 0; i < BUFFERS; i++)
		w.stack[w.nstack++] = udp_put(&h, host_alloc(&h, BUF_SIZE, 64) + 128, len);
	live_open(&w);
	CHECK(!pthread_create(&t, NULL, forward_thread, &w));
	pin(0);
	while (!atomic_load(&w.done))
		loop_step(h.m.loop, false);
	pthread_join(t, NULL);
	host_close(&h);
	return w.best;
}

int main(void)
{
	static const uint32_t sizes[] = {64, 1500};
	static const unsigned int bursts[] = {1, 32, 256};
	static struct host h;
	struct ring tx, rx;

	card_open(&h);
	rx_open(&rx, &h, 0, RING, 2);
	tx_open(&tx, &h, 0, RING);
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint64_t data = udp_put(&h, host_alloc(&h, sizes[s], 64), sizes[s] - 4);

		for (unsigned int b = 0; b < ARRAY_SIZE(bursts); b++)
			printf("%u %u: %.1f\n", sizes[s], bursts[b], run(&h, &tx, &rx, data, sizes[s] - 4, bursts[b]));
	}
	host_close(&h);
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++)
		printf("%u threads: %.1f\n", sizes[s], run_threads(sizes[s] - 4, 256));
	return 0;
}
