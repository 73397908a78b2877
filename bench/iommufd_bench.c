/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What /dev/iommu's ioctls cost a program, measured from inside it: run as
 *	pinfold run --memlock unlimited -d nvme,path=... -- iommufd_bench /dev/vfio/devices/vfio0 [PART]
 * IOAS_MAP and IOAS_UNMAP per size, with and without a domain; the same with 1 to 1000000 areas beside it; and the
 * dirty bitmap of 1 TiB. PART is map, areas or dirty; without it, all three. One figure a line: what it is, and the
 * median of several rounds in ns. The broker's CPU time (its process is not ours to ask) is in no figure: it is wall
 * time, of calls that wait.
 */
#define _GNU_SOURCE
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

enum { ROUNDS = 9, CALLS = 500, AREAS_MAX = 1000000 };

#define K4   (1ull << 12)
#define M2   (1ull << 21)
#define G1   (1ull << 30)
#define TIB  (1ull << 40)
#define BASE (1ull << 32) /* IOVA */

static int iommufd, device;
static uint32_t devid;

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

static uint32_t hwpt_alloc(uint32_t ioas)
{
	struct iommu_hwpt_alloc h = {
	    .size = sizeof(h), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING, .dev_id = devid, .pt_id = ioas};

	must(!ioctl(iommufd, IOMMU_HWPT_ALLOC, &h), "HWPT_ALLOC");
	return h.out_hwpt_id;
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

/* Areas of one page, every second page of the IOVA space, all of the same 64 MiB. */
static uint64_t area_iova(uint64_t i)
{
	return BASE + i * 2 * K4;
}

static void bench_areas_in(const char *where, bool domain)
{
	uint32_t ioas = ioas_alloc(), copy = ioas_alloc(), have = 0;
	const uint64_t file = 64ull << 20;
	uint64_t seed = 1;
	struct memory m;

	must(memory_open(&m, "memfd", 0), "memfd");
	if (domain)
		attach(ioas);
	for (uint32_t n = 1; n <= AREAS_MAX; n *= 10) {
		double in[ROUNDS], out[ROUNDS];

		for (; have < n; have++)
			map(ioas, m.va + have * K4 % file, K4, area_iova(have));
		for (unsigned int r = 0; r < ROUNDS; r++) {
			uint64_t spent_in = 0, spent_out = 0;

			for (unsigned int i = 0; i < CALLS; i++) {
				uint64_t t0, t1, at;

				seed = seed * 6364136223846793005ull + 1442695040888963407ull;
				at = area_iova((seed >> 33) % n) + K4;
				t0 = now();
				map(ioas, m.va + i * K4, K4, at);
				t1 = now();
				unmap(ioas, at, K4);
				spent_in += t1 - t0;
				spent_out += now() - t1;
			}
			in[r] = (double)spent_in / CALLS;
			out[r] = (double)spent_out / CALLS;
		}
		printf("areas, %s, %u: map %.0f unmap %.0f\n", where, n, median(in, ROUNDS), median(out, ROUNDS));
	}
	if (domain)
		detach();
	destroy(copy);
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
		fprintf(stderr, "usage: iommufd_bench /dev/vfio/devices/vfioN [map|areas|dirty]\n");
		return 2;
	}
	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	device = open(argv[1], O_RDWR | O_CLOEXEC);
	must(iommufd >= 0 && device >= 0, "open");
	b.iommufd = iommufd;
	must(!ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &b), "BIND_IOMMUFD");
	devid = b.out_devid;
	if (!*part || !strcmp(part, "map"))
		bench_map();
	if (!*part || !strcmp(part, "areas"))
		bench_areas();
	return 0;
}
