/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one packet costs the card, there and back: net=loopback, a driver in this very thread that does as little as a
 * driver can, and no traps. CPU time of this thread, the least of several runs. Lines: SIZE BURST: NS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/loop.h"
#include "tests/igb/host.h"

#define RING	512
#define RUNS	5
#define PACKETS 200000

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

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
		begin = now();
		for (unsigned int i = 0; i < PACKETS; i += n)
			burst(h, tx, rx, data, len, n);
		best = MIN(best, (now() - begin) / PACKETS);
	}
	return best;
}

int main(void)
{
	static const uint32_t sizes[] = {64, 1500};
	static const unsigned int bursts[] = {1, 32, 256};
	static struct host h;
	struct ring tx, rx;

	host_open_net(&h, "loopback", "");
	link_up(&h);
	rx_open(&rx, &h, 0, RING, 2);
	tx_open(&tx, &h, 0, RING);
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint64_t data = frame_put(&h, sizes[s] - 4, 1);

		for (unsigned int b = 0; b < ARRAY_SIZE(bursts); b++)
			printf("%u %u: %.1f\n", sizes[s], bursts[b], run(&h, &tx, &rx, data, sizes[s] - 4, bursts[b]));
	}
	host_close(&h);
	return 0;
}
