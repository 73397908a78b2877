/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of every kind under the device, and what the program may do with it meanwhile: rule A2, a pin holds the page
 * and not the address.
 */
#include "client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>

#define RD VFIO_DMA_MAP_FLAG_READ
#define WR VFIO_DMA_MAP_FLAG_WRITE
#define RW (RD | WR)

#define IOVA_A DATA_IOVA
#define IOVA_B (DATA_IOVA + 0x100000)

static uint8_t data_page[2 * PAGE] __attribute__((aligned(4096))) = {1};
static uint8_t bss_page[2 * PAGE] __attribute__((aligned(4096)));
static const uint8_t rodata_page[PAGE] __attribute__((aligned(4096))) = "read-only data";

static void fill(void *p, unsigned int seed, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)p)[i] = seed * 37 + i * 7 + i / 256;
}

static void expect_filled(const void *p, unsigned int seed, size_t len, const char *what)
{
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)p)[i] != (uint8_t)(seed * 37 + i * 7 + i / 256))
			fail("%s: byte %zu is %#x", what, i, ((const uint8_t *)p)[i]);
}

static void expect_zero(const void *p, size_t len, const char *what)
{
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)p)[i])
			fail("%s: byte %zu is not 0", what, i);
}

/* A second buffer through which the disk is filled and looked at. */
static uint8_t *mirror;

static void start(void)
{
	device_open(VFIO_TYPE1v2_IOMMU);
	nvme_start(false);
	mirror = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(mirror != MAP_FAILED);
	expect_eq(dma_map(mirror, IOVA_B, PAGE, RW), 0);
}

/* What does the device see at iova? */
static void expect_device_sees(uint64_t iova, unsigned int seed, const char *what)
{
	expect_eq(nvme_rw(true, 1, PAGE, iova), 0);
	memset(mirror, 0xee, PAGE);
	expect_eq(nvme_rw(false, 1, PAGE, IOVA_B), 0);
	expect_filled(mirror, seed, PAGE, what);
}

/* Lets the device write a pattern to iova. */
static void device_writes(uint64_t iova, unsigned int seed)
{
	fill(mirror, seed, PAGE);
	expect_eq(nvme_rw(true, 2, PAGE, IOVA_B), 0);
	expect_eq(nvme_rw(false, 2, PAGE, iova), 0);
}

/* Both ways through one page of memory, then again after unmapping and mapping it elsewhere. */
static void page_round_trip(uint8_t *p, const char *what)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t iova = IOVA_A + i * 0x10000, n;

		expect_eq(dma_map(p, iova, PAGE, RW), 0);
		fill(p, 10 + i, PAGE);
		expect_device_sees(iova, 10 + i, what);
		device_writes(iova, 20 + i);
		expect_filled(p, 20 + i, PAGE, what);
		expect_eq(dma_unmap(iova, PAGE, 0, &n), 0);
		expect_eq(n, PAGE);
	}
}

static void kinds(void)
{
	uint8_t stack[2 * PAGE], *p;
	int fd;

	start();
	page_round_trip(pages_alloc(PAGE), "private anonymous memory");
	p = malloc(3 * PAGE);
	page_round_trip((uint8_t *)(((uintptr_t)p + PAGE) & -PAGE), "the heap");
	p = malloc(1 << 20);
	page_round_trip((uint8_t *)(((uintptr_t)p + PAGE) & -PAGE), "a large malloc");
	page_round_trip((uint8_t *)(((uintptr_t)stack + PAGE - 1) & -PAGE), "the stack");
	page_round_trip(data_page, ".data");
	page_round_trip(bss_page, ".bss");
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(p != MAP_FAILED);
	page_round_trip(p, "shared anonymous memory");
	fd = memfd_create("dma", MFD_CLOEXEC);
	expect(!ftruncate(fd, 4 * PAGE));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 * PAGE);
	expect(p != MAP_FAILED);
	page_round_trip(p, "a memfd");
	expect_eq(pread(fd, stack, PAGE, 2 * PAGE), PAGE);
	expect_filled(stack, 21, PAGE, "the memfd read as a file");
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE, -1, 0);
	expect(p != MAP_FAILED);
	page_round_trip(p, "populated memory");
}

/* A private mapping of a file: the device writes to the program's copy, the file stays. */
static void private_file(void)
{
	char path[] = "/tmp/vfio-client-XXXXXX";
	int fd = mkstemp(path);
	uint8_t *p, buf[PAGE];

	expect(fd >= 0);
	unlink(path);
	fill(buf, 5, PAGE);
	expect_eq(write(fd, buf, PAGE), PAGE);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	expect(p != MAP_FAILED);
	start();
	expect_eq(dma_map(p, IOVA_A, PAGE, RW), 0);
	expect_device_sees(IOVA_A, 5, "a private file mapping");
	device_writes(IOVA_A, 6);
	expect_filled(p, 6, PAGE, "the program's copy");
	expect_eq(pread(fd, buf, PAGE, 0), PAGE);
	expect_filled(buf, 5, PAGE, "the file");
}

/* Memory that the program cannot write: the device may read it, and may not be allowed to write. */
static void read_only(void)
{
	uint8_t *p = pages_alloc(PAGE);

	fill(p, 3, PAGE);
	expect(!mprotect(p, PAGE, PROT_READ));
	start();
	expect_eq(dma_map(p, IOVA_A, PAGE, RW), EFAULT);
	expect_eq(dma_map(p, IOVA_A, PAGE, WR), EFAULT);
	expect_eq(dma_map(p, IOVA_A, PAGE, RD), 0);
	expect_device_sees(IOVA_A, 3, "read-only memory");
	expect_eq(dma_map((void *)rodata_page, IOVA_A + PAGE, PAGE, RD), 0);
	expect_eq(nvme_rw(true, 1, PAGE, IOVA_A + PAGE), 0);
	expect_eq(nvme_rw(false, 1, PAGE, IOVA_B), 0);
	expect(!memcmp(mirror, rodata_page, PAGE));
	expect(!mprotect(p, PAGE, PROT_READ | PROT_WRITE));
	expect(nvme_rw(false, 1, PAGE, IOVA_A) || true); /* a status or silence, but not a write */
	expect_filled(p, 3, PAGE, "memory mapped for reading alone");
}

/* The program lets go of pinned memory in every way; the device keeps the page, the program gets what Linux gives. */
static void unmap_while_mapped(void)
{
	uint8_t *p = pages_alloc(PAGE), *q;

	start();
	fill(p, 1, PAGE);
	expect_eq(dma_map(p, IOVA_A, PAGE, RW), 0);
	munmap(p, PAGE);
	q = mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect(q == p);
	expect_zero(q, PAGE, "new memory at the old address");
	fill(q, 2, PAGE);
	expect_device_sees(IOVA_A, 1, "the page after munmap");
	device_writes(IOVA_A, 9);
	expect_filled(q, 2, PAGE, "new memory after the device wrote to the old");
	expect_device_sees(IOVA_A, 9, "the page after the device wrote to it");
	expect_eq(dma_map(q, IOVA_A + PAGE, PAGE, RW), 0); /* the new page is another one */
	expect_device_sees(IOVA_A + PAGE, 2, "the new page");
	expect_eq(dma_unmap(IOVA_A, PAGE, 0, NULL), 0);
	expect_filled(q, 2, PAGE, "new memory after the unmap");
	expect_eq(dma_map(q, IOVA_A, PAGE, RW), 0);
	expect_device_sees(IOVA_A, 2, "the same IOVA, mapped anew");
}

static void discard_while_mapped(void)
{
	uint8_t *p = pages_alloc(2 * PAGE), *q;

	start();
	fill(p, 1, PAGE);
	fill(p + PAGE, 2, PAGE);
	expect_eq(dma_map(p, IOVA_A, 2 * PAGE, RW), 0);
	expect(!madvise(p, PAGE, MADV_DONTNEED));
	expect_zero(p, PAGE, "memory after MADV_DONTNEED");
	expect_device_sees(IOVA_A, 1, "the page after MADV_DONTNEED");
	expect_device_sees(IOVA_A + PAGE, 2, "its neighbour");
	fill(p, 3, PAGE);
	expect_device_sees(IOVA_A, 1, "the page after new writes to the address");
	expect_filled(p + PAGE, 2, PAGE, "the neighbour in the program");
	/* MAP_FIXED over the second. */
	q = mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect(q == p + PAGE);
	expect_zero(q, PAGE, "memory mapped over");
	expect_device_sees(IOVA_A + PAGE, 2, "the page that was mapped over");
}

static void move_while_mapped(void)
{
	uint8_t *p = pages_alloc(2 * PAGE), *q;

	start();
	fill(p, 1, PAGE);
	fill(p + PAGE, 2, PAGE);
	expect_eq(dma_map(p, IOVA_A, 2 * PAGE, RW), 0);
	q = mremap(p, 2 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	expect(q != MAP_FAILED);
	expect_filled(q, 1, PAGE, "memory after mremap");
	expect_zero(q + 2 * PAGE, PAGE, "what mremap added");
	fill(q + PAGE, 5, PAGE);
	expect_device_sees(IOVA_A + PAGE, 5, "the page that moved");
	device_writes(IOVA_A, 6);
	expect_filled(q, 6, PAGE, "what the device wrote, at the new address");
	expect(!mprotect(q, 2 * PAGE, PROT_NONE)); /* the device does not care */
	expect_device_sees(IOVA_A, 6, "memory that the program may not touch");
}

/* The pages stay the parent's; the child has copies (copy_present_page, mm/memory.c). */
static void fork_while_mapped(void)
{
	uint8_t *p = pages_alloc(PAGE);
	int go[2], back[2], status;
	pid_t pid;
	char c = 0;

	expect(!pipe(go) && !pipe(back));
	start();
	fill(p, 1, PAGE);
	expect_eq(dma_map(p, IOVA_A, PAGE, RW), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		expect_eq(read(go[0], &c, 1), 1);
		expect_filled(p, 1, PAGE, "the child's copy");
		fill(p, 8, PAGE);
		expect_eq(write(back[1], "x", 1), 1);
		expect_eq(read(go[0], &c, 1), 1);
		expect_filled(p, 8, PAGE, "the child's own writes");
		_exit(0);
	}
	fill(p, 2, PAGE);
	expect_device_sees(IOVA_A, 2, "the parent's writes after fork");
	expect_eq(write(go[1], "x", 1), 1);
	expect_eq(read(back[0], &c, 1), 1);
	expect_device_sees(IOVA_A, 2, "the page after the child's writes");
	device_writes(IOVA_A, 3);
	expect_filled(p, 3, PAGE, "what the device wrote after fork");
	expect_eq(write(go[1], "x", 1), 1);
	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
	expect_device_sees(IOVA_A, 3, "the page after the child's end");
}

/* RLIMIT_MEMLOCK counts pages for who lacks CAP_IPC_LOCK: up to the limit, and all of it back (rule B1). */
static void memlock(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};
	struct rlimit lim = {16 * PAGE, 16 * PAGE};
	uint8_t *p = pages_alloc(64 * PAGE);

	expect(!syscall(SYS_capget, &h, d));
	d[0].effective &= ~(1u << CAP_IPC_LOCK);
	d[0].permitted &= ~(1u << CAP_IPC_LOCK);
	expect(!syscall(SYS_capset, &h, d));
	expect(!setrlimit(RLIMIT_MEMLOCK, &lim));
	memset(p, 1, 64 * PAGE);
	container_set(VFIO_TYPE1v2_IOMMU);
	for (int round = 0; round < 3; round++) {
		expect_eq(dma_map(p, 0x100000, 17 * PAGE, RW), ENOMEM);
		expect_eq(dma_map(p, 0x100000, 10 * PAGE, RW), 0);
		expect_eq(dma_map(p + 10 * PAGE, 0x200000, 7 * PAGE, RW), ENOMEM);
		expect_eq(dma_map(p + 10 * PAGE, 0x200000, 6 * PAGE, RW), 0);
		expect_eq(dma_map(p + 20 * PAGE, 0x300000, PAGE, RW), ENOMEM);
		expect_eq(dma_unmap(0x200000, 6 * PAGE, 0, NULL), 0);
		expect_eq(dma_map(p + 20 * PAGE, 0x300000, PAGE, RW), 0);
		expect_eq(dma_unmap(0, 0, VFIO_DMA_UNMAP_FLAG_ALL, NULL), 0);
	}
	expect_eq(dma_map(p, 0x100000, 16 * PAGE, RW), 0);
}

static void identify(bool msix)
{
	uint8_t *p = pages_alloc(PAGE);
	unsigned int before;

	device_open(VFIO_TYPE1v2_IOMMU);
	nvme_start(msix);
	expect_eq(dma_map(p, IOVA_A, PAGE, RW), 0);
	before = nvme_interrupts();
	expect_eq(nvme_identify(1, 0, IOVA_A), 0);
	expect_eq(p[0] | p[1] << 8, config_read(0, 2)); /* VID, section 5.15.2.2 */
	expect_eq(p[512], 0x66);			/* SQES: 64 bytes */
	for (int i = 0; i < 40; i++)			/* more than twice around the queue */
		expect_eq(nvme_identify(1, 0, IOVA_A), 0);
	if (msix)
		expect_eq(nvme_interrupts() - before, 41);
	nvme_stop();
	device_close();
	device_open(VFIO_TYPE1_IOMMU); /* and once more from the start, with the older type */
	nvme_start(msix);
	nvme_stop();
}

/* A transfer to or from what is not mapped, or not for writing, is an error of the command and of nothing else. */
static void unmapped(void)
{
	uint8_t *p = pages_alloc(2 * PAGE);

	start();
	expect_eq(dma_map(p, IOVA_A, PAGE, RW), 0);
	expect_eq(nvme_identify(1, 0, IOVA_A), 0);
	if (!memcmp(p + 24, "QEMU", 4)) /* MN */
		skip_case("QEMU's controller does not report failed transfers");
	expect_eq(dma_map(p + PAGE, IOVA_A + PAGE, PAGE, RD), 0);
	expect(nvme_identify(1, 0, IOVA_A + 0x10000) != 0);
	expect(nvme_rw(false, 0, PAGE, IOVA_A + 0x10000) != 0);
	expect(nvme_rw(true, 0, PAGE, IOVA_A + 0x10000) != 0);
	expect(nvme_rw(false, 0, PAGE, IOVA_A + PAGE) != 0);
	expect_zero(p + PAGE, PAGE, "a page mapped for reading alone");
	expect_eq(dma_unmap(IOVA_A, PAGE, 0, NULL), 0);
	memset(p, 0, PAGE);
	expect(nvme_identify(1, 0, IOVA_A) != 0);
	expect_zero(p, PAGE, "a page that was unmapped");
	page_round_trip(p, "afterwards");
}

static void identify_polled(void)
{
	identify(false);
}

static void identify_msix(void)
{
	identify(true);
}

const struct client_case dma_cases[] = {
    {"identify", "an NVMe controller driven by polling", identify_polled},
    {"identify-msix", "the same with MSI-X and eventfds", identify_msix},
    {"unmapped", "transfers that the IOMMU refuses", unmapped},
    {"kinds", "memory of every kind, both ways", kinds},
    {"private-file", "a private file mapping is copied first", private_file},
    {"read-only", "memory that only the device may read", read_only},
    {"unmap-while-mapped", "rule A2: munmap and new memory in its place", unmap_while_mapped},
    {"discard-while-mapped", "rule A2: MADV_DONTNEED and MAP_FIXED", discard_while_mapped},
    {"move-while-mapped", "rule A2: mremap and mprotect", move_while_mapped},
    {"fork-while-mapped", "rule A2: fork", fork_while_mapped},
    {"memlock", "rule B1: RLIMIT_MEMLOCK", memlock},
    {NULL},
};
