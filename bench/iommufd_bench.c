/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What /dev/iommu's ioctls cost a program, measured from inside it: run as
 *	pinfold run --memlock unlimited -d nvme,path=... -- iommufd_bench /dev/vfio/devices/vfio0 [PART]
 * IOAS_MAP and IOAS_UNMAP per size, with and without a domain; and the same with 1 to 1000000 areas beside it. PART is
 * map or areas; without it, both. One figure a line: what it is, and the median of several rounds, in ns of wall time,
 * as these calls wait for another process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "uapi/iommufd_abi.h"
#include "uapi/vfio_abi.h"

enum { ROUNDS = 9, CALLS = 300, AREAS_MAX = 1000000, BLOCK = 1000 };

#define K4   (1ull << 12)
#define M2   (1ull << 21)
#define G1   (1ull << 30)
#define BASE (1ull << 32) /* IOVA */

static int iommufd, device;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "iommufd_bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(v[0]), compare);
	return v[n / 2];
}

/* ---- the calls ---- */

static uint32_t ioas_alloc(void)
{
	struct iommu_ioas_alloc a = {.size = sizeof(a)};

	must(!ioctl(iommufd, IOMMU_IOAS_ALLOC, &a), "IOAS_ALLOC");
	return a.out_ioas_id;
}

static void destroy(uint32_t id)
{
	struct iommu_destroy d = {.size = sizeof(d), .id = id};

	must(!ioctl(iommufd, IOMMU_DESTROY, &d), "DESTROY");
}

static void attach(uint32_t id)
{
	struct vfio_device_attach_iommufd_pt a = {.argsz = 12, .pt_id = id};

	must(!ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a), "ATTACH");
}

static void detach(void)
{
	struct vfio_device_detach_iommufd_pt d = {.argsz = 8};

	must(!ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), "DETACH");
}

static void map(uint32_t ioas, void *va, uint64_t len, uint64_t iova)
{
	struct iommu_ioas_map m = {
	    .size = sizeof(m),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
	    .ioas_id = ioas,
	    .user_va = (uintptr_t)va,
	    .length = len,
	    .iova = iova,
	};

	must(!ioctl(iommufd, IOMMU_IOAS_MAP, &m), "IOAS_MAP");
}

static void map_file(uint32_t ioas, int fd, uint64_t start, uint64_t len, uint64_t iova)
{
	struct iommu_ioas_map_file m = {
	    .size = sizeof(m),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
	    .ioas_id = ioas,
	    .fd = fd,
	    .start = start,
	    .length = len,
	    .iova = iova,
	};

	must(!ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &m), "IOAS_MAP_FILE");
}

static void unmap(uint32_t ioas, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap u = {.size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = len};

	must(!ioctl(iommufd, IOMMU_IOAS_UNMAP, &u), "IOAS_UNMAP");
}

/* ---- one area, per size ---- */

struct memory {
	const char *name;
	int fd;
	char *va;
};

static void figure(const char *what, const char *memory, const char *size, const char *where, double ns)
{
	printf("%s, %s, %s, %s: %.0f\n", what, memory, size, where, ns);
}

/* The most that so many calls of either kind take together is half a second: a slow machine gets fewer. */
static void time_size(uint32_t ioas, const struct memory *m, uint64_t len, bool file, double *mapped, double *unmapped)
{
	double in[ROUNDS], out[ROUNDS];

	for (unsigned int r = 0; r < ROUNDS; r++) {
		uint64_t spent_in = 0, spent_out = 0, n = 0;

		while (n < CALLS && (n < 5 || spent_in + spent_out < 50000000)) {
			uint64_t t0 = now(), t1;

			if (file)
				map_file(ioas, m->fd, 0, len, BASE);
			else
				map(ioas, m->va, len, BASE);
			t1 = now();
			unmap(ioas, BASE, len);
			spent_in += t1 - t0;
			spent_out += now() - t1;
			n++;
		}
		in[r] = (double)spent_in / n;
		out[r] = (double)spent_out / n;
	}
	*mapped = median(in, ROUNDS);
	*unmapped = median(out, ROUNDS);
}

static void bench_memory(const struct memory *m)
{
	static const struct {
		const char *name;
		uint64_t len;
	} sizes[] = {{"4 KiB", K4}, {"2 MiB", M2}, {"1 GiB", G1}, {"8 GiB", 8 * G1}};

	for (unsigned int domain = 0; domain < 2; domain++) {
		const char *where = domain ? "a domain" : "no domain";
		uint32_t ioas = ioas_alloc();

		if (domain)
			attach(ioas);
		for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			double in, out;

			time_size(ioas, m, sizes[i].len, false, &in, &out);
			figure("IOAS_MAP", m->name, sizes[i].name, where, in);
			figure("IOAS_UNMAP", m->name, sizes[i].name, where, out);
			time_size(ioas, m, sizes[i].len, true, &in, &out);
			figure("IOAS_MAP_FILE", m->name, sizes[i].name, where, in);
		}
		if (domain)
			detach();
		destroy(ioas);
	}
}

/* Its pages are not there: nothing in a map looks at them, and what the first touch costs is the kernel's. */
static bool memory_open(struct memory *m, const char *name, unsigned int flags)
{
	m->name = name;
	m->fd = memfd_create("iommufd_bench", MFD_CLOEXEC | flags);
	if (m->fd < 0 || ftruncate(m->fd, 8 * G1))
		return false;
	m->va = mmap(NULL, 8 * G1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	return m->va != MAP_FAILED;
}

static void bench_map(void)
{
	struct memory m;

	must(memory_open(&m, "memfd", 0), "8 GiB of memfd");
	bench_memory(&m);
	/* Reserves none: there may be none to be had, and a map needs none. */
	if (memory_open(&m, "hugetlb", MFD_HUGETLB))
		bench_memory(&m);
	else
		printf("# hugetlb: skipped: %s\n", strerror(errno));
}

/* ---- many areas ---- */

/*
 * Areas of one page come in blocks, each a copy of one that was mapped page by page, so that a million of them do not
 * take a million calls. After each block a page is free.
 */
static uint64_t block_iova(uint64_t i)
{
	return BASE + i * (BLOCK + 1) * K4;
}

static void copy_block(uint32_t dst, uint32_t src, unsigned int areas, uint64_t iova)
{
	struct iommu_ioas_copy c = {
	    .size = sizeof(c),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
	    .dst_ioas_id = dst,
	    .src_ioas_id = src,
	    .length = areas * K4,
	    .dst_iova = iova,
	    .src_iova = BASE,
	};

	must(!ioctl(iommufd, IOMMU_IOAS_COPY, &c), "IOAS_COPY");
}

/* One page in a free place among the blocks. */
static void time_among(uint32_t ioas, const struct memory *m, unsigned int areas, double *mapped, double *unmapped)
{
	unsigned int blocks = areas < BLOCK ? 1 : areas / BLOCK;
	double in[ROUNDS], out[ROUNDS];
	uint64_t seed = 1;

	for (unsigned int r = 0; r < ROUNDS; r++) {
		uint64_t spent_in = 0, spent_out = 0;

		for (unsigned int i = 0; i < CALLS; i++) {
			uint64_t t0, t1, at;

			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			at = block_iova((seed >> 33) % blocks) + BLOCK * K4;
			t0 = now();
			map(ioas, m->va + i * K4, K4, at);
			t1 = now();
			unmap(ioas, at, K4);
			spent_in += t1 - t0;
			spent_out += now() - t1;
		}
		in[r] = (double)spent_in / CALLS;
		out[r] = (double)spent_out / CALLS;
	}
	*mapped = median(in, ROUNDS);
	*unmapped = median(out, ROUNDS);
}

static void bench_areas_in(const char *where, bool domain)
{
	uint32_t ioas = ioas_alloc(), block = ioas_alloc();
	struct memory m;

	must(memory_open(&m, "memfd", 0), "memfd");
	for (unsigned int i = 0; i < BLOCK; i++)
		map(block, m.va + i * K4, K4, BASE + i * K4);
	if (domain)
		attach(ioas);
	for (unsigned int n = 1; n <= AREAS_MAX; n *= 10) {
		double in, out;

		for (unsigned int i = 0; i < (n < BLOCK ? 1 : n / BLOCK); i++)
			copy_block(ioas, block, n < BLOCK ? n : BLOCK, block_iova(i));
		time_among(ioas, &m, n, &in, &out);
		printf("areas, %s, %u: map %.0f unmap %.0f\n", where, n, in, out);
		unmap(ioas, 0, UINT64_MAX);
	}
	if (domain)
		detach();
	destroy(block);
	destroy(ioas);
	munmap(m.va, 8 * G1);
	close(m.fd);
}

static void bench_areas(void)
{
	bench_areas_in("no domain", false);
	bench_areas_in("a domain", true);
}

int main(int argc, char **argv)
{
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b)};
	const char *part = argc > 2 ? argv[2] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2) {
		fprintf(stderr, "usage: iommufd_bench /dev/vfio/devices/vfioN [map|areas]\n");
		return 2;
	}
	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	device = open(argv[1], O_RDWR | O_CLOEXEC);
	must(iommufd >= 0 && device >= 0, "open");
	b.iommufd = iommufd;
	must(!ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &b), "BIND_IOMMUFD");
	if (!*part || !strcmp(part, "map"))
		bench_map();
	if (!*part || !strcmp(part, "areas"))
		bench_areas();
	return 0;
}
