/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dpdk_memory EAL-ARGUMENT... -- WHAT...: a program on DPDK's libraries that lets the copy engine reach every kind of
 * memory which DPDK maps for DMA, and checks each byte that was copied.
 *
 *   grow       its heap grows by whole pages, which are mapped as they come and unmapped as they go
 *   external   memory of the program's own: private, private in huge pages, shared; mapped by itself
 *   heap       the same, as the memory of a heap of its own, mapped by DPDK
 *   stale      copies from memory that the heap has given back
 *   wait       does nothing until its standard input ends, as a primary process with which others share
 */
#include <rte_dmadev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_vfio.h>

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEV	0
#define MIB	(1UL << 20)
#define PIECE	(512UL << 10) /* of one copy; contiguous in IOVA in every mode, if it does not cross a huge page */
#define PATTERN 0x9e3779b9u

static char *scratch; /* PIECE bytes */
static int answer = 1;

static void engine_open(void)
{
	struct rte_dma_conf conf = {.nb_vchans = 1};
	struct rte_dma_vchan_conf vchan = {.direction = RTE_DMA_DIR_MEM_TO_MEM, .nb_desc = 64};

	if (!rte_dma_is_valid(DEV))
		errx(1, "no copy engine");
	if (rte_dma_configure(DEV, &conf) || rte_dma_vchan_setup(DEV, 0, &vchan) || rte_dma_start(DEV))
		errx(1, "the copy engine does not start");
	scratch = rte_malloc(NULL, PIECE, PIECE);
	if (!scratch)
		errx(1, "no memory");
}

/* Memory that DPDK was not told of has the IOVA that we give it. */
static rte_iova_t iova_of(const void *at)
{
	const struct rte_memseg *ms = rte_mem_virt2memseg(at, NULL);

	return ms ? ms->iova + ((uintptr_t)at - (uintptr_t)ms->addr) : (uintptr_t)at;
}

/* 0, or -1 if the engine says that it failed. */
static int copy(void *to, const void *from, size_t len)
{
	bool failed = false;
	uint16_t last;

	if (rte_dma_copy(DEV, 0, iova_of(from), iova_of(to), len, RTE_DMA_OP_FLAG_SUBMIT) < 0)
		errx(1, "no room for a copy");
	while (!rte_dma_completed(DEV, 0, 1, &last, &failed) && !failed)
		;
	return failed ? -1 : 0;
}

static void fill(void *at, size_t len, uint32_t seed)
{
	uint32_t *p = at;
	size_t i;

	for (i = 0; i < len / 4; i++)
		p[i] = (seed + i) * PATTERN;
}

static void check(const void *at, size_t len, uint32_t seed, const char *what)
{
	const uint32_t *p = at;
	size_t i;

	for (i = 0; i < len / 4; i++)
		if (p[i] != (uint32_t)(seed + i) * PATTERN)
			errx(1, "%s: byte %zu is wrong", what, i * 4);
}

/* Every piece of it goes to the scratch buffer and comes back. */
static void exercise(char *at, size_t len, const char *what)
{
	static uint32_t seed;
	size_t off, n;

	for (off = 0; off < len; off += n) {
		/* Not across what may be two huge pages. */
		n = RTE_MIN(PIECE - ((uintptr_t)(at + off) & (PIECE - 1)), len - off);
		seed += 7919;
		fill(at + off, n, seed);
		memset(scratch, 0, n);
		if (copy(scratch, at + off, n))
			errx(1, "%s: cannot be read at %zu", what, off);
		check(scratch, n, seed, what);
		memset(at + off, 0, n);
		if (copy(at + off, scratch, n))
			errx(1, "%s: cannot be written at %zu", what, off);
		check(at + off, n, seed, what);
	}
}

static size_t heap_size(void)
{
	struct rte_malloc_socket_stats stats;

	if (rte_malloc_get_socket_stats(rte_socket_id(), &stats))
		errx(1, "no heap");
	return stats.heap_totalsz_bytes;
}

static void grow(void)
{
	size_t before = heap_size(), most = before, sizes[] = {3 * MIB, 9 * MIB, 17 * MIB, MIB};
	unsigned int round, i;

	for (round = 0; round < 4; round++) {
		char *at[RTE_DIM(sizes)];

		for (i = 0; i < RTE_DIM(sizes); i++) {
			at[i] = rte_malloc(NULL, sizes[i], 64);
			if (!at[i])
				errx(1, "no memory");
			exercise(at[i], sizes[i], "heap");
		}
		most = RTE_MAX(most, heap_size());
		/* In another order than they came, so that pages in the middle go first. */
		for (i = 0; i < RTE_DIM(sizes); i++)
			rte_free(at[(i + round) % RTE_DIM(sizes)]);
	}
	printf("grow: from %zu MiB to %zu MiB and back to %zu MiB\n", before / MIB, most / MIB, heap_size() / MIB);
}

struct kind {
	const char *name;
	int flags;
	size_t page;
};

static const struct kind kinds[] = {
    {"private", MAP_PRIVATE | MAP_ANONYMOUS, 4096},
    {"private, huge pages", MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, 2 * MIB},
    {"shared, anonymous", MAP_SHARED | MAP_ANONYMOUS, 4096},
    {"shared, huge pages", MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, 2 * MIB},
};

#define EXTERNAL (4 * MIB)

static void *external_new(const struct kind *k)
{
	void *at = mmap(NULL, EXTERNAL, PROT_READ | PROT_WRITE, k->flags, -1, 0);

	if (at == MAP_FAILED) {
		printf("%s: there is none\n", k->name);
		return NULL;
	}
	return at;
}

static void external(void)
{
	const struct kind *k;

	for (k = kinds; k < kinds + RTE_DIM(kinds); k++) {
		char *at = external_new(k);
		uint64_t iova = (uintptr_t)at;
		unsigned int round;

		if (!at)
			continue;
		for (round = 0; round < 3; round++) {
			if (rte_vfio_container_dma_map(RTE_VFIO_DEFAULT_CONTAINER_FD, iova, iova, EXTERNAL))
				errx(1, "%s: not mapped: %s", k->name, rte_strerror(rte_errno));
			exercise(at, EXTERNAL, k->name);
			if (rte_vfio_container_dma_unmap(RTE_VFIO_DEFAULT_CONTAINER_FD, iova, iova, EXTERNAL))
				errx(1, "%s: not unmapped: %s", k->name, rte_strerror(rte_errno));
		}
		/* One page alone, of a piece that is new. */
		munmap(at, EXTERNAL);
		at = external_new(k);
		if (!at)
			continue;
		iova = (uintptr_t)at + MIB;
		if (rte_vfio_container_dma_map(RTE_VFIO_DEFAULT_CONTAINER_FD, iova, iova, 4096))
			errx(1, "%s: a page is not mapped: %s", k->name, rte_strerror(rte_errno));
		exercise(at + MIB, 4096, k->name);
		if (rte_vfio_container_dma_unmap(RTE_VFIO_DEFAULT_CONTAINER_FD, iova, iova, 4096))
			errx(1, "%s: a page is not unmapped: %s", k->name, rte_strerror(rte_errno));
		munmap(at, EXTERNAL);
		printf("external: %s\n", k->name);
	}
}

static void heap(void)
{
	static rte_iova_t iova[EXTERNAL / 4096]; /* of each page, whatever its size */
	const struct kind *k;

	for (k = kinds; k < kinds + RTE_DIM(kinds); k++) {
		char *at = external_new(k), *p;
		size_t i;

		if (!at)
			continue;
		for (i = 0; i < EXTERNAL / k->page; i++)
			iova[i] = (uintptr_t)at + i * k->page;
		if (rte_malloc_heap_create("external") ||
		    rte_malloc_heap_memory_add("external", at, EXTERNAL, iova, EXTERNAL / k->page, k->page))
			errx(1, "%s: no heap: %s", k->name, rte_strerror(rte_errno));
		p = rte_malloc_socket(NULL, EXTERNAL / 2, 64, rte_malloc_heap_get_socket("external"));
		if (!p)
			errx(1, "%s: nothing in the heap", k->name);
		exercise(p, EXTERNAL / 2, k->name);
		rte_free(p);
		if (rte_malloc_heap_memory_remove("external", at, EXTERNAL) || rte_malloc_heap_destroy("external"))
			errx(1, "%s: the heap stays: %s", k->name, rte_strerror(rte_errno));
		munmap(at, EXTERNAL);
		printf("heap: %s\n", k->name);
	}
}

static void stale(void)
{
	char *p = rte_malloc(NULL, 8 * MIB, 2 * MIB);
	rte_iova_t iova;
	bool failed = false;
	uint16_t last;
	unsigned int i;

	if (!p)
		errx(1, "no memory");
	exercise(p, 8 * MIB, "heap");
	iova = iova_of(p + 4 * MIB);
	rte_free(p);
	if (rte_dma_copy(DEV, 0, iova, iova_of(scratch), 4096, RTE_DMA_OP_FLAG_SUBMIT) < 0)
		errx(1, "no room for a copy");
	/* The driver does not tell of errors with this model: it never completes. */
	for (i = 0; i < 100000 && !failed; i++)
		if (rte_dma_completed(DEV, 0, 1, &last, &failed))
			errx(1, "copied from memory that is gone");
	printf("stale: refused\n");
}

static void wait_for_end(void)
{
	char byte;

	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static const struct verb {
	const char *name;
	void (*run)(void);
} verbs[] = {{"grow", grow}, {"external", external}, {"heap", heap}, {"stale", stale}, {"wait", wait_for_end}};

static void run(const char *name)
{
	const struct verb *v;

	for (v = verbs; v < verbs + RTE_DIM(verbs); v++)
		if (!strcmp(v->name, name)) {
			if (v->run != wait_for_end && !scratch)
				engine_open();
			v->run();
			return;
		}
	errx(2, "no verb %s", name);
}

int main(int argc, char **argv)
{
	int n = rte_eal_init(argc, argv), i;

	if (n < 0)
		errx(1, "EAL: %s", rte_strerror(rte_errno));
	for (i = n + 1; i < argc; i++)
		run(argv[i]);
	if (scratch) {
		rte_dma_stop(DEV);
		rte_free(scratch);
	}
	answer = rte_eal_cleanup();
	return answer ? 1 : 0;
}
