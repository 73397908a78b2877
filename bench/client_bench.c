/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the boundary and the broker cost a program, measured from inside it: run as
 *	pinfold run -d nvme,path=... -- client_bench /dev/vfio/1 0000:01:00.0
 * Each figure is the median of several rounds, in nanoseconds. Without arguments (and without Pinfold) it measures the
 * bare system calls that the others are compared with; its ioctl is then one that the kernel answers.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	 9
#define ROUND_NS 20000000 /* how long a round may take; no more calls than that are made */
#define BURST	 64
#define RESTS	 101   /* odd: it has a middle */
#define REST_US	 10000 /* longer than anybody spins */
#define FIRSTS	 3
#define GIB	 (1ull << 30)

static int container, device;
static volatile uint32_t *bar;
static void *map_addr;
static uint64_t map_len;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* between, which is not timed, runs after each call of fn; fn counts for per. */
static double time_calls(void (*fn)(void), void (*between)(void), unsigned int n, unsigned int per)
{
	uint64_t spent = 0, t = now();

	for (unsigned int i = 0; i < n; i++) {
		fn();
		if (!between)
			continue;
		spent += now() - t;
		between();
		t = now();
	}
	return (double)(spent + (now() - t)) / n / per;
}

static void measure(const char *name, void (*fn)(void), void (*between)(void), unsigned int per)
{
	double ns[ROUNDS], first;
	unsigned int n;

	time_calls(fn, between, 10, per);
	first = time_calls(fn, between, 10, per) * per;
	n = first * 100000 < ROUND_NS ? 100000 : (unsigned int)(ROUND_NS / first) + 1;
	for (unsigned int r = 0; r < ROUNDS; r++)
		ns[r] = time_calls(fn, between, n, per);
	qsort(ns, ROUNDS, sizeof(ns[0]), compare);
	printf("%s %.0f\n", name, ns[ROUNDS / 2]);
}

static void getppid_call(void)
{
	syscall(SYS_getppid);
}

static void stat_call(void)
{
	struct stat st;

	stat("/usr/bin/env", &st);
}

static void fstat_call(void)
{
	struct stat st;

	fstat(0, &st);
}

static void ioctl_call(void)
{
	ioctl(container, VFIO_GET_API_VERSION);
}

/* What any descriptor answers that knows no such call. */
static void ioctl_native(void)
{
	ioctl(container, FIONREAD, NULL);
}

static void mmio_read(void)
{
	(void)bar[2]; /* VS, which never changes */
}

/* Each burst is drained before the next: the cost of a posted write, not of a full ring. */
static void mmio_write_burst(void)
{
	for (int i = 0; i < BURST; i++)
		bar[3] = 0; /* INTMS: writing zeros does nothing */
}

static void map_unmap(void)
{
	struct vfio_iommu_type1_dma_map m = {.argsz = sizeof(m),
					     .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					     .vaddr = (uint64_t)map_addr,
					     .iova = 0x100000000,
					     .size = map_len};
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = 0x100000000, .size = map_len};

	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &m) || ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u)) {
		perror("client_bench: map");
		exit(1);
	}
}

/* The first access after everybody has gone to sleep. */
static void measure_rested(void)
{
	double ns[RESTS];

	for (unsigned int i = 0; i < RESTS; i++) {
		usleep(REST_US);
		ns[i] = time_calls(mmio_read, NULL, 1, 1);
	}
	qsort(ns, RESTS, sizeof(ns[0]), compare);
	printf("mmio_read_rested %.0f\n", ns[RESTS / 2]);
}

/* Memory that was never mapped before has to be moved into a file first. */
static void measure_first_map(uint64_t len)
{
	double ns[FIRSTS];

	map_len = len;
	for (unsigned int i = 0; i < FIRSTS; i++) {
		map_addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map_addr == MAP_FAILED) {
			perror("client_bench: mmap");
			exit(1);
		}
		memset(map_addr, 1, len);
		ns[i] = time_calls(map_unmap, NULL, 1, 1);
		munmap(map_addr, len);
	}
	qsort(ns, FIRSTS, sizeof(ns[0]), compare);
	printf("first_map_unmap_private_%s %.0f\n", len == GIB ? "1g" : "4k", ns[FIRSTS / 2]);
}

static void open_device(const char *group_path, const char *bdf)
{
	struct vfio_region_info ri = {.argsz = sizeof(ri), .index = 0};
	uint16_t command = 6;
	int group;

	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(group_path, O_RDWR);
	if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) ||
	    (device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf)) < 0 ||
	    ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &ri)) {
		perror("client_bench: open");
		exit(1);
	}
	bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, ri.offset);
	ri.index = VFIO_PCI_CONFIG_REGION_INDEX;
	if (bar == MAP_FAILED || ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &ri) ||
	    pwrite(device, &command, 2, ri.offset + 4) != 2) {
		perror("client_bench: device");
		exit(1);
	}
}

static void map_cases(void)
{
	int fd = memfd_create("bench", 0);

	map_len = 4096;
	map_addr = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(map_addr, 1, map_len);
	measure("map_unmap_private_4k", map_unmap, NULL, 1);
	map_len = GIB;
	if (ftruncate(fd, map_len))
		exit(1);
	map_addr = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	measure("map_unmap_memfd_1g", map_unmap, NULL, 1);
	measure_first_map(4096);
	measure_first_map(GIB);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	measure("untrapped_getppid", getppid_call, NULL, 1);
	measure("stat", stat_call, NULL, 1);
	measure("fstat", fstat_call, NULL, 1);
	if (argc < 3) {
		container = open("/dev/null", O_RDWR);
		measure("ioctl", ioctl_native, NULL, 1);
		return 0;
	}
	open_device(argv[1], argv[2]);
	measure("ioctl", ioctl_call, NULL, 1);
	measure("mmio_read", mmio_read, NULL, 1);
	measure("mmio_write", mmio_write_burst, mmio_read, BURST);
	measure_rested();
	map_cases();
	return 0;
}
