/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a domain's radix table costs (src/iommu/table.h): map and unmap per size, in ns and in cycles, beside what Linux
 * says of its own on an i7-12700 (the generic_pt series; 4.9 GHz); walks, each of which waits for the one before, with
 * 1 to 1000000 areas; the dirty bits of 1 TiB of 4 KiB leaves. Medians of several runs; all but map and unmap in CPU
 * time.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/util.h"
#include "iommu/iommu.h"
#include "iommu/table.h"

enum { RUNS = 9, LOOPS = 400, WALKS = 200000, BITS = 48 };

#define K4	  (1ULL << 12)
#define M2	  (1ULL << 21)
#define G1	  (1ULL << 30)
#define TIB	  (1ULL << 40)
#define LINUX_GHZ 4.9 /* i7-12700 */

static double clock_ns, ghz;

static double clock_read(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static double now(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

/* For what takes long enough: not disturbed so much by what else runs. */
static double cpu_now(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

static void must(bool ok)
{
	if (ok)
		return;
	fprintf(stderr, "table_bench: out of memory\n");
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(v[0]), by_value);
	return v[n / 2];
}

/* What it costs to ask for the time, and the clock: a chain of multiplications takes 3 cycles for each. */
static void calibrate(void)
{
	enum { CHAIN = 1000000 };
	double cost[101], rate[101];

	for (unsigned int i = 0; i < ARRAY_SIZE(cost); i++) {
		double start = now();

		cost[i] = now() - start;
	}
	clock_ns = median(cost, ARRAY_SIZE(cost));
	for (unsigned int i = 0; i < ARRAY_SIZE(rate); i++) {
		uint64_t x = i | 1;
		double start = cpu_now();

		for (unsigned int k = 0; k < CHAIN; k++) {
			x *= x;
			__asm__ volatile("" : "+r"(x));
		}
		rate[i] = 3.0 * CHAIN / (cpu_now() - start);
	}
	ghz = median(rate, ARRAY_SIZE(rate));
}

static struct table *new_table(void)
{
	struct table *t = table_new(&(struct table_config){.leaf_shift = 12, .bits = BITS, .pgsizes = K4 | M2 | G1});

	must(t);
	return t;
}

static void map(struct table *t, uint64_t iova, uint64_t host, uint64_t len, bool large)
{
	must(!table_map(t, iova, (char *)host, len, IOMMU_READ | IOMMU_WRITE, large));
}

/* ---- map and unmap ---- */

struct op {
	const char *name;
	uint64_t len, stride;
	unsigned int batch;
	unsigned int linux_map[2], linux_unmap[2]; /* ns, least and most; 0: not known */
};

static void print_op(const char *verb, const char *name, bool keep, double ns, const unsigned int *theirs)
{
	printf("%s %s%s: %.1f ns %.0f cycles", verb, name, keep ? "" : " and tables", ns, ns * ghz);
	if (keep && theirs[0])
		printf(", linux %u-%u ns %.0f-%.0f cycles", theirs[0], theirs[1], theirs[0] * LINUX_GHZ,
		       theirs[1] * LINUX_GHZ);
	putchar('\n');
}

/*
 * keep: one leaf beside each operation's keeps its tables, as Linux keeps them; else each operation makes tables and
 * frees them, two for 4 KiB, one for 2 MiB.
 */
static void bench_op(const struct op *op, bool keep)
{
	uint64_t stride = keep ? op->stride : op->len < M2 ? G1 : 512 * G1;
	static double mapped[LOOPS], unmapped[LOOPS];
	struct table *t = new_table();

	for (unsigned int i = 0; keep && i < op->batch; i++)
		map(t, i * stride + op->len, K4, op->len < M2 ? K4 : op->len < G1 ? M2 : G1, true);
	for (unsigned int run = 0; run < LOOPS; run++) {
		double start = now(), middle;

		for (unsigned int i = 0; i < op->batch; i++)
			map(t, i * stride, (i + 1ULL) << 40, op->len, true);
		middle = now();
		for (unsigned int i = 0; i < op->batch; i++)
			table_unmap(t, i * stride, op->len);
		unmapped[run] = (now() - middle - clock_ns) / op->batch;
		mapped[run] = (middle - start - clock_ns) / op->batch;
	}
	print_op("map", op->name, keep, median(mapped, LOOPS), op->linux_map);
	print_op("unmap", op->name, keep, median(unmapped, LOOPS), op->linux_unmap);
	table_free(t);
}

static void bench_ops(void)
{
	static const struct op ops[] = {
	    {"4K", K4, 16 * K4, 128, {53, 71}, {69, 72}},
	    {"2M", M2, 4 * M2, 128},
	    {"1G", G1, 2 * G1, 128},
	    {"256x4K", 256 * K4, 512 * K4, 16, {380, 405}, {210, 521}},
	    {"256x2M", 256 * M2, 512 * M2, 16},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++)
		bench_op(&ops[i], true);
	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i].len < G1 && ops[i].len != 256 * M2)
			bench_op(&ops[i], false);
}

/* ---- walks ---- */

enum walk { HIT, MISS, RUN };

/* ns for one walk; order holds n indices of areas. */
static double walks(struct table *t, const uint32_t *order, unsigned int n, uint64_t stride, enum walk how)
{
	struct table_leaf leaf = {};
	double v[RUNS];

	for (unsigned int run = 0; run < RUNS; run++) {
		double start = cpu_now();
		unsigned int k = 0;
		uint64_t chain = 0;

		for (unsigned int i = 0; i < WALKS; i++) {
			uint64_t iova = order[k] * stride + (how == MISS ? stride / 2 : 0) + chain;

			chain = how == RUN ? table_walk_run(t, iova, 16 * K4, &leaf) : table_walk(t, iova, &leaf);
			chain = (chain + (uint64_t)leaf.prot) >> 8; /* 0, but, if it hits, not before it is over */
			k = k + 1 == n ? 0 : k + 1;
		}
		v[run] = (cpu_now() - start) / WALKS;
	}
	return median(v, RUNS);
}

static void bench_walks(const char *what, unsigned int most, uint64_t stride, uint64_t len)
{
	uint32_t *random = malloc(most * sizeof(*random)), *sequence = malloc(most * sizeof(*sequence));
	uint64_t seed = 1;

	must(random && sequence);
	for (unsigned int n = 1; n <= most; n *= 10) {
		struct table *t = new_table();
		double seq, hit, miss, run;

		for (unsigned int i = 0; i < n; i++) {
			unsigned int k;

			map(t, i * stride, (1ULL << 46) - i * M2, len, true);
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			k = (seed >> 33) % (i + 1);
			sequence[i] = i;
			random[i] = random[k];
			random[k] = i;
		}
		seq = walks(t, sequence, n, stride, HIT);
		hit = walks(t, random, n, stride, HIT);
		miss = walks(t, random, n, stride, MISS);
		run = walks(t, random, n, stride, RUN);
		printf("walk, %-22s %8u areas: %5.1f sequential %5.1f random %5.1f unmapped %5.1f run  ns\n", what, n,
		       seq, hit, miss, run);
		table_free(t);
	}
	free(random);
	free(sequence);
}

/* ---- dirty bits ---- */

static void count_ranges(void *ctx, uint64_t iova, uint64_t len)
{
	++*(uint64_t *)ctx;
}

static void dirty_row(struct table *t, const char *name, uint64_t *bits, uint64_t step, uint64_t len)
{
	double set, keep[3], clear[3], ranges[3];
	uint64_t n = 0, start;

	start = cpu_now();
	for (uint64_t at = 0; step && at < TIB; at += step)
		table_set_dirty(t, at, len);
	set = cpu_now() - start;
	for (unsigned int i = 0; i < 3; i++) {
		n = 0;
		start = cpu_now();
		table_read_dirty(t, 0, TIB, false, count_ranges, &n);
		ranges[i] = cpu_now() - start;
		start = cpu_now();
		table_read_dirty_bitmap(t, 0, TIB, false, 12, bits);
		keep[i] = cpu_now() - start;
		start = cpu_now();
		table_read_dirty_bitmap(t, 0, TIB, true, 12, bits);
		clear[i] = cpu_now() - start;
		for (uint64_t at = 0; step && at < TIB; at += step)
			table_set_dirty(t, at, len);
	}
	printf("dirty 1 TiB, %-10s set %8.2f  bitmap %6.2f  bitmap and clear %6.2f  %8zu ranges %7.2f  ms\n", name,
	       set / 1e6, median(keep, 3) / 1e6, median(clear, 3) / 1e6, (size_t)n, median(ranges, 3) / 1e6);
	table_clear_dirty(t);
}

static void bench_dirty(void)
{
	size_t bytes = TIB / K4 / 8;
	uint64_t *bits = malloc(bytes), *copy = malloc(bytes);
	struct table *t = new_table();
	double start, v[RUNS];

	must(bits && copy);
	memset(bits, 0, bytes);
	memset(copy, 1, bytes);
	for (unsigned int i = 0; i < RUNS; i++) {
		start = cpu_now();
		for (size_t w = 0; w < bytes / 8; w++) {
			bits[w] |= copy[w];
			__asm__ volatile("" ::: "memory");
		}
		v[i] = cpu_now() - start;
	}
	printf("dirty 1 TiB, OR of one bitmap of %zu MiB into another: %.2f ms\n", bytes >> 20, median(v, RUNS) / 1e6);
	start = cpu_now();
	map(t, 0, TIB, TIB, false);
	printf("map 1 TiB in 4K leaves: %.1f ms, %.1f bytes each\n", (cpu_now() - start) / 1e6,
	       (double)table_memory(t).used / (TIB / K4));
	dirty_row(t, "clean", bits, 0, 0);
	dirty_row(t, "one", bits, TIB, 1);
	dirty_row(t, "1/64", bits, 64 * K4, 1);
	dirty_row(t, "full", bits, TIB, TIB);
	start = cpu_now();
	table_unmap(t, 0, TIB);
	printf("unmap 1 TiB of 4K leaves: %.1f ms\n", (cpu_now() - start) / 1e6);
	table_free(t);
	free(bits);
	free(copy);
}

int main(void)
{
	calibrate();
	printf("clock: %.2f GHz\n", ghz);
	bench_ops();
	bench_walks("4K, every other page", 1000000, 2 * K4, K4);
	bench_walks("4K, one in 2M", 100000, M2, K4);
	bench_walks("2M", 100000, 2 * M2, M2);
	bench_walks("64K seamless", 100000, 32 * K4, 16 * K4);
	if (sysconf(_SC_AVPHYS_PAGES) > (long)(4 * G1 / K4))
		bench_dirty();
	else
		printf("dirty 1 TiB: skipped, needs 4 GiB of memory\n");
	return 0;
}
