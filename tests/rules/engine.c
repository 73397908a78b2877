/* SPDX-License-Identifier: BSD-3-Clause */
/* A copy engine that reaches a peer: a chain that goes round and round, so that much of it is always under way. */
#include "peer.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "devices/ioat/spec.h"

#define TURNS	   16 /* of the chain in one transfer: 1 MiB each way */
#define DEADLINE_S 60

static volatile uint8_t *bar;
static struct ioat_desc *ring; /* at NVME_IOVA, and the completion in the page behind it */

static volatile void *reg(unsigned int off)
{
	return bar + IOAT_CHAN_SIZE + off;
}

static void engine_start(void)
{
	struct vfio_region_info r = region_info(VFIO_PCI_BAR0_REGION_INDEX);
	uint8_t *data = pages_alloc(PEER_LEN);

	device_ready();
	ring = pages_alloc(2 * PAGE);
	memset(data, 'w', PEER_LEN);
	expect_eq(dma_map(ring, NVME_IOVA, 2 * PAGE, RW), 0);
	expect_eq(dma_map(data, DATA_IOVA, PEER_LEN, RW), 0);
	bar = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
}

static enum ioat_state state(void)
{
	return *(volatile uint64_t *)reg(IOAT_CHANSTS) & IOAT_CHANSTS_STATE;
}

/* After an error, too: the channel starts from nothing each time. */
static void channel_start(void)
{
	*(volatile uint32_t *)reg(IOAT_CHANERR) = *(volatile uint32_t *)reg(IOAT_CHANERR);
	*(volatile uint8_t *)reg(IOAT_CHANCMD) = IOAT_CHANCMD_RESET;
	while (*(volatile uint8_t *)reg(IOAT_CHANCMD) & IOAT_CHANCMD_RESET)
		;
	*(volatile uint16_t *)reg(IOAT_CHANCTRL) = IOAT_CHANCTRL_INT_DIS | IOAT_CHANCTRL_ERR_COMP;
	*(volatile uint64_t *)reg(IOAT_CHANCMP) = NVME_IOVA + PAGE;
	*(volatile uint64_t *)reg(IOAT_CHAINADDR) = NVME_IOVA;
}

/* The page at iova is where it begins; the whole target is gone over, to the end and then from its start. */
static bool engine_transfer(uint64_t iova)
{
	uint64_t skip = iova - PEER_IOVA, len = PEER_LEN - skip;
	time_t end = time(NULL) + DEADLINE_S;
	enum ioat_state s;

	ring[0] = (struct ioat_desc){.size = len, .ctl = 0, .next = NVME_IOVA + sizeof(*ring)};
	ring[0].src = DATA_IOVA;
	ring[0].dst = iova;
	ring[1] = (struct ioat_desc){.size = PEER_LEN, .ctl = 0, .next = NVME_IOVA};
	ring[1].src = PEER_IOVA;
	ring[1].dst = DATA_IOVA;
	channel_start();
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*(volatile uint16_t *)reg(IOAT_DMACOUNT) = 2 * TURNS;
	while ((s = state()) == IOAT_ACTIVE || s == IOAT_ARMED)
		if (time(NULL) > end)
			fail("the channel does not end");
	return s == IOAT_IDLE;
}

const struct initiator copy_engine = {engine_start, engine_transfer};
