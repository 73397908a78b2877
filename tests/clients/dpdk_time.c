/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dpdk_time EAL-ARGUMENT...: asks the first port for its time, and for the time stamp of each frame that it receives,
 * one line each, until a frame's last byte is 0xff.
 */
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <err.h>
#include <stdint.h>
#include <stdio.h>

#define PORT 0

static uint64_t ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

static void port_open(void)
{
	struct rte_mempool *pool =
	    rte_pktmbuf_pool_create("pool", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	struct rte_eth_conf conf = {0};

	if (!pool)
		errx(1, "no memory");
	if (rte_eth_dev_configure(PORT, 1, 1, &conf) ||
	    rte_eth_rx_queue_setup(PORT, 0, 128, SOCKET_ID_ANY, NULL, pool) ||
	    rte_eth_tx_queue_setup(PORT, 0, 128, SOCKET_ID_ANY, NULL) || rte_eth_dev_start(PORT))
		errx(1, "the port does not start");
}

static uint64_t time_now(void)
{
	struct timespec t;

	if (rte_eth_timesync_read_time(PORT, &t))
		errx(1, "the port has no time");
	return ns(&t);
}

/* True: it was the last one. */
static bool received(struct rte_mbuf *m)
{
	bool last = *rte_pktmbuf_mtod_offset(m, uint8_t *, rte_pktmbuf_data_len(m) - 1) == 0xff;
	struct timespec t;

	if (rte_eth_timesync_read_rx_timestamp(PORT, &t, 0))
		printf("no stamp\n");
	else
		printf("stamp %ju\n", (uintmax_t)ns(&t));
	printf("time %ju\n", (uintmax_t)time_now());
	fflush(stdout);
	rte_pktmbuf_free(m);
	return last;
}

int main(int argc, char **argv)
{
	struct timespec set = {.tv_sec = 1000};
	struct rte_mbuf *m;
	uint64_t from, to;

	if (rte_eal_init(argc, argv) < 0)
		errx(1, "DPDK does not start");
	port_open();
	if (rte_eth_timesync_enable(PORT))
		errx(1, "the port keeps no time");
	from = time_now();
	rte_delay_us_block(20000);
	to = time_now();
	printf("passed %ju\n", (uintmax_t)(to - from));
	rte_eth_timesync_write_time(PORT, &set);
	printf("time %ju\n", (uintmax_t)time_now());
	fflush(stdout);
	do
		while (!rte_eth_rx_burst(PORT, 0, &m, 1))
			;
	while (!received(m));
	rte_eth_timesync_disable(PORT);
	rte_eth_dev_stop(PORT);
	rte_eth_dev_close(PORT);
	return 0;
}
