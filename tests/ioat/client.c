/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that drives the copy engine through VFIO: ioat_client [-b BDF] [CASE]... It programs channels as the
 * drivers do whose shapes differ: a ring that is appended to (Linux, DPDK, SPDK), and one descriptor that is its own
 * successor (the kernel's VFIO selftests).
 */
#include "tests/client/client.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "devices/ioat/spec.h"

#define ENTRIES	   64u
#define DEADLINE_S 60
#define MIB	   (1UL << 20)
#define COPY	   ((uint32_t)IOAT_OP_COPY << 24 | IOAT_CTL_COMPLETE)
#define FILL	   ((uint32_t)IOAT_OP_FILL << 24 | IOAT_CTL_COMPLETE)

static volatile uint8_t *bar;
static struct ioat_desc *ring;	  /* a page; IOVA = address, as everything here */
static volatile uint64_t *status; /* in a page of its own */
static unsigned int chan, head;

static volatile void *reg(unsigned int off)
{
	return bar + IOAT_CHAN_SIZE * (chan + 1) + off;
}

static void write8(unsigned int off, uint8_t v)
{
	*(volatile uint8_t *)reg(off) = v;
}

static void write16(unsigned int off, uint16_t v)
{
	*(volatile uint16_t *)reg(off) = v;
}

static void write64(unsigned int off, uint64_t v)
{
	*(volatile uint64_t *)reg(off) = v;
}

static uint32_t error(void)
{
	return *(volatile uint32_t *)reg(IOAT_CHANERR);
}

static enum ioat_state state(void)
{
	return *(volatile uint64_t *)reg(IOAT_CHANSTS) & IOAT_CHANSTS_STATE;
}

static enum ioat_state wait_done(void)
{
	time_t end = time(NULL) + DEADLINE_S;

	while (state() == IOAT_ACTIVE)
		if (time(NULL) > end)
			fail("the channel does not end");
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return state();
}

static uint8_t *memory(size_t len)
{
	uint8_t *p = pages_alloc(len);

	expect_eq(dma_map(p, (uintptr_t)p, len, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE), 0);
	return p;
}

static void channel_start(void)
{
	*(volatile uint32_t *)reg(IOAT_CHANERR) = error();
	write8(IOAT_CHANCMD, IOAT_CHANCMD_RESET);
	expect_eq(*(volatile uint8_t *)reg(IOAT_CHANCMD), 0);
	expect_eq(state(), IOAT_HALTED);
	memset(ring, 0, PAGE);
	for (unsigned int i = 0; i < ENTRIES; i++)
		ring[i].next = (uintptr_t)&ring[(i + 1) % ENTRIES];
	head = 0;
	*status = 0;
	write16(IOAT_CHANCTRL, IOAT_CHANCTRL_INT_DIS | IOAT_CHANCTRL_ERR_COMP | 8);
	write64(IOAT_CHANCMP, (uintptr_t)status);
	write64(IOAT_CHAINADDR, (uintptr_t)ring);
	expect_eq(state(), IOAT_ARMED);
}

static void engine_map(unsigned int channel)
{
	struct vfio_region_info r = region_info(VFIO_PCI_BAR0_REGION_INDEX);

	expect_eq(r.size, IOAT_BAR_SIZE);
	bar = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
	ring = (struct ioat_desc *)memory(PAGE);
	status = (uint64_t *)memory(PAGE);
	chan = channel;
	channel_start();
}

static void engine_start(unsigned int channel)
{
	device_open(VFIO_TYPE1v2_IOMMU);
	engine_map(channel);
}

static void put(uint32_t ctl, uint64_t src, uint64_t dst, uint32_t size)
{
	struct ioat_desc *d = &ring[head++ % ENTRIES];

	d->size = size;
	d->ctl = ctl;
	d->src = src;
	d->dst = dst;
}

static void doorbell(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	write16(IOAT_DMACOUNT, head);
}

static enum ioat_state one(uint32_t ctl, const void *src, void *dst, uint32_t size)
{
	put(ctl, (uintptr_t)src, (uintptr_t)dst, size);
	doorbell();
	return wait_done();
}

/* One descriptor that follows itself: as long as a chain can be. */
static void endless(uint8_t *src, uint8_t *dst)
{
	put(COPY, (uintptr_t)src, (uintptr_t)dst, MIB);
	ring[0].next = (uintptr_t)ring;
	head = 65535;
	doorbell();
	expect_eq(state(), IOAT_ACTIVE);
}

static void pattern(uint8_t *p, size_t n, unsigned int k)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 7 + (i >> 8) * k + k);
}

static void copy_some(void)
{
	static const uint32_t sizes[] = {1, 7, 64, 4095, 4096, 70001, MIB};
	uint8_t *src = memory(2 * MIB), *dst = memory(2 * MIB);

	pattern(src, 2 * MIB, 3);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		memset(dst, 0, 2 * MIB);
		expect_eq(one(COPY, src + i, dst + 2 * i, sizes[i]), IOAT_IDLE);
		expect(!memcmp(src + i, dst + 2 * i, sizes[i]));
		expect_eq(dst[2 * i + sizes[i]], 0);
		expect_eq(*status, (uintptr_t)&ring[i] | IOAT_IDLE);
	}
	memset(dst, 0, 4096);
	put(FILL, 0x8877665544332211, (uintptr_t)dst + 3, 100);
	doorbell();
	expect_eq(wait_done(), IOAT_IDLE);
	for (unsigned int i = 0; i < 100; i++)
		expect_eq(dst[3 + i], 0x11 * (i % 8 + 1));
	expect_eq(dst[2] | dst[103], 0);
}

static void copies(void)
{
	engine_start(0);
	expect_eq(bar[IOAT_CHANCNT], 2);
	copy_some();
}

static void copies_cdev(void)
{
	uint32_t devid, pt;

	container = iommufd_open();
	device = cdev_open();
	expect_eq(cdev_bind(device, container, &devid), 0);
	dma_ioas = pt = ioas_alloc(container);
	expect_eq(cdev_attach(device, &pt), 0);
	device_ready();
	engine_map(1);
	copy_some();
}

/* As DPDK maps: one large private area, IOVA = VA, and 10000 descriptors over it. */
static void ring_goes_round(void)
{
	uint8_t *mem;

	engine_start(1);
	mem = memory(64 * MIB);
	pattern(mem, MIB, 5);
	for (unsigned int n = 0; n < 10000; n += 40) {
		uint8_t *to = mem + 2 * MIB + n % 50 * MIB;

		for (unsigned int i = 0; i < 40; i++)
			put(COPY, (uintptr_t)mem + i * 1000, (uintptr_t)to + i * 1000, 1000);
		doorbell();
		/* By the completion that is written, not the register. */
		for (time_t end = time(NULL) + DEADLINE_S;
		     *status != ((uintptr_t)&ring[(head - 1) % ENTRIES] | IOAT_IDLE);)
			if (time(NULL) > end)
				fail("the completion says %#llx", (unsigned long long)*status);
		expect(!memcmp(mem, to, 40000));
	}
}

/* memcpy_start, memcpy_wait and send_msi of the kernel's driver for its tests. */
static void one_descriptor(void)
{
	uint8_t *src, *dst;

	engine_start(0);
	src = memory(MIB);
	dst = memory(MIB);
	for (unsigned int round = 1; round < 20; round++) {
		pattern(src, MIB, round);
		ring[0] = (struct ioat_desc){.size = MIB, .ctl = 0, .next = (uintptr_t)ring};
		ring[0].src = (uintptr_t)src;
		ring[0].dst = (uintptr_t)dst;
		write64(IOAT_CHAINADDR, (uintptr_t)ring);
		write16(IOAT_CHANCTRL, IOAT_CHANCTRL_INT_DIS | 8);
		write16(IOAT_DMACOUNT, round * 3);
		expect_eq(wait_done(), IOAT_IDLE);
		write8(IOAT_CHANCMD, IOAT_CHANCMD_SUSPEND);
		expect_eq(state(), IOAT_SUSPENDED);
		expect(!memcmp(src, dst, MIB));
	}
}

static int vector_open(unsigned int v)
{
	struct {
		struct vfio_irq_set set;
		int fd[2];
	} s = {.set = {.argsz = sizeof(s), .index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 2}};

	s.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	s.fd[0] = s.fd[1] = -1;
	s.fd[v] = eventfd(0, EFD_NONBLOCK);
	expect(s.fd[v] >= 0);
	expect_eq(ioctl(device, VFIO_DEVICE_SET_IRQS, &s), 0);
	return s.fd[v];
}

static void interrupts(void)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	struct pollfd p = {.events = POLLIN};
	uint8_t *mem;
	uint64_t n;

	engine_start(1);
	mem = memory(PAGE);
	expect_eq(ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info), 0);
	expect_eq(info.count, 2);
	p.fd = vector_open(1);
	bar[IOAT_INTRCTRL] = IOAT_INTRCTRL_MSIX;
	for (unsigned int i = 0; i < 100; i++) {
		put(COPY, (uintptr_t)mem, (uintptr_t)mem + 64, 8);
		put(COPY | IOAT_CTL_INT, (uintptr_t)mem, (uintptr_t)mem + 64, 8);
		doorbell();
		expect_eq(poll(&p, 1, DEADLINE_S * 1000), 1);
		expect_eq(read(p.fd, &n, sizeof(n)), sizeof(n));
		expect_eq(n, 1);
		expect_eq(*status, (uintptr_t)&ring[(head - 1) % ENTRIES] | IOAT_IDLE);
		write16(IOAT_CHANCTRL, IOAT_CHANCTRL_INT_DIS);
	}
	expect_eq(*(volatile uint32_t *)(bar + IOAT_ATTNSTATUS), 2);
	expect_eq(read(p.fd, &n, sizeof(n)), -1);
}

static void errors(void)
{
	uint8_t *mem;

	engine_start(0);
	mem = memory(4 * PAGE);
	for (unsigned int i = 0; i < 3; i++) {
		put(COPY, (uintptr_t)mem, (uintptr_t)mem + PAGE, 64);
		put(COPY, i == 1 ? 0x1000 : (uintptr_t)mem, i == 0 ? 0x1000 : (uintptr_t)mem + PAGE, i == 2 ? 0 : 64);
		put(FILL, ~0ULL, (uintptr_t)mem + 2 * PAGE, 64);
		doorbell();
		expect_eq(wait_done(), IOAT_HALTED);
		expect_eq(error(), i == 0 ? IOAT_ERR_WRITE_DATA : i == 1 ? IOAT_ERR_READ_DATA : IOAT_ERR_LENGTH);
		expect_eq(*status, (uintptr_t)ring | IOAT_HALTED);
		expect_eq(mem[2 * PAGE], 0);
		expect_eq(config_read(IOAT_CFG_CHANERR_INT, 4) & error(), error());
		config_write(IOAT_CFG_CHANERR_INT, 4, error());
		expect_eq(config_read(IOAT_CFG_CHANERR_INT, 4), 0);
		channel_start();
		expect_eq(one(COPY, mem, mem + PAGE, 64), IOAT_IDLE);
		channel_start();
	}
}

/* What was copied to is changed by hand, and stays so: nothing is under way any more when the call returns. */
static void expect_still(uint8_t *dst)
{
	memset(dst, 0xee, MIB);
	for (unsigned int i = 0; i < 20; i++) {
		usleep(1000);
		for (unsigned int k = 0; k < MIB; k += 64)
			expect_eq(dst[k], 0xee);
	}
}

static void reset_in_flight(void)
{
	uint8_t *src, *dst;

	engine_start(0);
	src = memory(MIB);
	dst = memory(MIB);
	endless(src, dst);
	write8(IOAT_CHANCMD, IOAT_CHANCMD_RESET);
	expect_eq(state(), IOAT_HALTED);
	expect_still(dst);
	channel_start();
	endless(src, dst);
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
	expect_still(dst);
	device_ready();
	channel_start();
	pattern(src, MIB, 9);
	expect_eq(one(COPY, src, dst, MIB), IOAT_IDLE);
	expect(!memcmp(src, dst, MIB));
}

static void unmap_in_flight(void)
{
	uint8_t *src, *dst;
	uint64_t n;

	engine_start(0);
	src = memory(MIB);
	dst = memory(MIB);
	endless(src, dst);
	expect_eq(dma_unmap((uintptr_t)dst, MIB, 0, &n), 0);
	expect_eq(n, MIB);
	expect_still(dst);
	expect_eq(wait_done(), IOAT_HALTED);
	expect_eq(error(), IOAT_ERR_WRITE_DATA);
	expect_eq(dma_map(dst, (uintptr_t)dst, MIB, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE), 0);
	channel_start();
	endless(src, dst);
	expect_eq(dma_unmap((uintptr_t)ring, PAGE, 0, &n), 0);
	expect_eq(wait_done(), IOAT_HALTED);
	expect_eq(error(), IOAT_ERR_DESC);
}

static void close_in_flight(void)
{
	uint8_t *src, *dst;

	engine_start(0);
	src = memory(MIB);
	dst = memory(MIB);
	endless(src, dst);
	munmap((void *)bar, IOAT_BAR_SIZE);
	device_close();
	/* As new for the next owner, who finds nothing under way. */
	engine_start(0);
	expect_still(dst);
	src = memory(PAGE);
	pattern(src, 64, 2);
	expect_eq(one(COPY, src, src + 64, 64), IOAT_IDLE);
	expect(!memcmp(src, src + 64, 64));
}

static const struct client_case ioat_cases[] = {
    {"copies", "copies and fills of many sizes and alignments", copies},
    {"copies-cdev", "the same through /dev/iommu", copies_cdev},
    {"ring", "a ring walked many times over a large private area", ring_goes_round},
    {"one-descriptor", "a descriptor that is its own successor, and suspensions", one_descriptor},
    {"interrupts", "one MSI-X interrupt for each that was asked for", interrupts},
    {"errors", "a fault halts the channel, which can be started again", errors},
    {"reset-in-flight", "nothing moves after a channel's or the function's reset", reset_in_flight},
    {"unmap-in-flight", "nothing moves after the memory is unmapped", unmap_in_flight},
    {"close-in-flight", "nothing moves any more for the next owner", close_in_flight},
    {},
};

const struct client_case *const client_tables[] = {ioat_cases, NULL};
