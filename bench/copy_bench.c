/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copy engine, driven from a program, beside memcpy in the same program: run as
 *	pinfold run -d ioat -- copy_bench /dev/vfio/1 0000:01:00.0
 * "latency SIZE NS NS": from the doorbell to the completion that the program sees, and a memcpy. "rate SIZE NS NS": per
 * copy, in chains of 256, and per memcpy. Medians, in nanoseconds of the clock.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "devices/ioat/spec.h"

#define ROUNDS	 9
#define ROUND_NS 50000000 /* how long a round may take */
#define CHAIN	 256
#define LARGEST	 (1u << 20)
#define CTL	 ((uint32_t)IOAT_OP_COPY << 24 | IOAT_CTL_COMPLETE)

static volatile uint8_t *bar;
static struct ioat_desc *ring;
static volatile uint64_t *status;
static uint8_t *src, *dst;
static uint16_t head;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void open_device(const char *group_path, const char *bdf)
{
	struct vfio_region_info cfg = {.argsz = sizeof(cfg), .index = VFIO_PCI_CONFIG_REGION_INDEX};
	struct vfio_region_info reg = {.argsz = sizeof(reg), .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map), .flags = 3, .size = 4 * LARGEST};
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(group_path, O_RDWR), device;
	uint16_t cmd = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	uint8_t *mem;

	must(container >= 0 && group >= 0, group_path);
	must(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "container");
	must(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "iommu");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	must(device >= 0, bdf);
	must(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &cfg) && !ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &reg),
	     "regions");
	must(pwrite(device, &cmd, sizeof(cmd), cfg.offset + PCI_COMMAND) == sizeof(cmd), "command");
	bar = mmap(NULL, reg.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, reg.offset);
	mem = mmap(NULL, map.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(bar != MAP_FAILED && mem != MAP_FAILED, "mmap");
	map.vaddr = map.iova = (uintptr_t)mem;
	must(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "map");
	src = mem;
	dst = mem + LARGEST;
	ring = (struct ioat_desc *)(mem + 2 * LARGEST);
	status = (uint64_t *)(mem + 3 * LARGEST);
	memset(src, 0x5a, LARGEST);
	memset(dst, 0, LARGEST);
}

static void arm(uint32_t size)
{
	volatile uint8_t *chan = bar + IOAT_CHAN_SIZE;

	for (unsigned int i = 0; i < CHAIN; i++) {
		ring[i] = (struct ioat_desc){.size = size, .ctl = CTL, .src = (uintptr_t)src, .dst = (uintptr_t)dst};
		ring[i].next = (uintptr_t)&ring[(i + 1) % CHAIN];
	}
	chan[IOAT_CHANCMD] = IOAT_CHANCMD_RESET;
	*(volatile uint64_t *)(chan + IOAT_CHANCMP) = (uintptr_t)status;
	*(volatile uint64_t *)(chan + IOAT_CHAINADDR) = (uintptr_t)ring;
	head = 0;
}

static void engine(unsigned int n)
{
	head += n;
	*status = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*(volatile uint16_t *)(bar + IOAT_CHAN_SIZE + IOAT_DMACOUNT) = head;
	while (*status != ((uintptr_t)&ring[(head - 1) % CHAIN] | IOAT_IDLE))
		__builtin_ia32_pause();
}

static uint32_t size;

static void by_hand(unsigned int n)
{
	while (n--) {
		memcpy(dst, src, size);
		__asm__ volatile("" ::: "memory");
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(void (*fn)(unsigned int n), unsigned int n)
{
	double rounds[ROUNDS];

	fn(n);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		uint64_t begin = now(), t;
		unsigned int calls = 0;

		do {
			fn(n);
			calls++;
			t = now() - begin;
		} while (t < ROUND_NS);
		rounds[r] = (double)t / calls / n;
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
	return rounds[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {64, 4096, 65536, LARGEST};

	if (argc != 3) {
		fprintf(stderr, "usage: copy_bench GROUP BDF\n");
		return 2;
	}
	open_device(argv[1], argv[2]);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double latency, rate, hand;

		size = sizes[i];
		arm(size);
		latency = measure(engine, 1);
		rate = measure(engine, CHAIN);
		hand = measure(by_hand, CHAIN);
		if (memcmp(src, dst, size))
			return 1;
		printf("latency %u %.1f %.1f\nrate %u %.1f %.1f\n", size, latency, hand, size, rate, hand);
	}
	return 0;
}
