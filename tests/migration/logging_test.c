/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA_LOGGING_START, STOP, REPORT: what they refuse, and that a write is in the log exactly once. */
#include "../vfio/fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/internal.h"

#define IOVA0 0x100000ull

typedef struct vfio_device_feature_dma_logging_range range;

static struct session session_open(struct fake *k, struct toy **t)
{
	struct session s = {.container = fake_container(k), .group = fake_group(k, 9)};
	int32_t fd = fake_fd_of(k, s.container);

	assert_int_equal(DO(s.group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(s.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	s.device = fake_device(k, s.group, "0000:01:00.1");
	*t = k->toy[2];
	assert_int_equal(fake_map(k, s.container, IOVA0, (uintptr_t)k->mem, 16 * PF_PAGE_SIZE,
				  VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE),
			 0);
	pci_cfg_write(&(*t)->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return s;
}

static uint64_t page_size_out;

static long start(struct fake *k, struct ufile *dev, uint64_t page_size, const range *r, uint32_t n)
{
	struct {
		struct vfio_device_feature h;
		struct vfio_device_feature_dma_logging_control c;
	} f = {.h = {.argsz = sizeof(f), .flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START},
	       .c = {.page_size = page_size, .num_ranges = n, .ranges = (uintptr_t)r}};
	long ret = DO(dev, VFIO_DEVICE_FEATURE, &f);

	page_size_out = f.c.page_size;
	return ret;
}

static long stop(struct fake *k, struct ufile *dev)
{
	struct vfio_device_feature f = {.argsz = sizeof(f),
					.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP};

	return DO(dev, VFIO_DEVICE_FEATURE, &f);
}

static long report(struct fake *k, struct ufile *dev, uint64_t iova, uint64_t len, uint64_t page_size, void *bitmap)
{
	struct {
		struct vfio_device_feature h;
		struct vfio_device_feature_dma_logging_report r;
	} f = {.h = {.argsz = sizeof(f), .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT},
	       .r = {.iova = iova, .length = len, .page_size = page_size, .bitmap = (uintptr_t)bitmap}};

	return DO(dev, VFIO_DEVICE_FEATURE, &f);
}

static void what_is_refused(void **state)
{
	struct fake *k = *state;
	const range ok = {IOVA0, 0x10000}, odd = {IOVA0 + 1, 0x10000}, short_ = {IOVA0, 0x10001};
	const range wrap = {~0ull - 0xfff, 0x2000}, top = {~0ull - 0xfff, 0x1000}, empty = {IOVA0, 0};
	const range twice[] = {{0x1000, 0x3000}, {0x8000, 0x1000}, {0x3000, 0x1000}};
	uint64_t word = 0;
	struct toy *t;
	struct session s = session_open(k, &t);

	assert_int_equal(start(k, s.device, 4096, &ok, 0), -EINVAL);
	assert_int_equal(start(k, s.device, 4096, &ok, 257), -E2BIG);
	assert_int_equal(start(k, s.device, 4096, (void *)k->hole, 1), -EFAULT);
	assert_int_equal(start(k, s.device, 4096, &odd, 1), -EINVAL);
	assert_int_equal(start(k, s.device, 4096, &short_, 1), -EINVAL);
	assert_int_equal(start(k, s.device, 4096, &empty, 1), -EINVAL);
	assert_int_equal(start(k, s.device, 4096, &wrap, 1), -EOVERFLOW);
	assert_int_equal(start(k, s.device, 4096, &top, 1), -EOVERFLOW);
	assert_int_equal(start(k, s.device, 4096, twice, 3), -EINVAL);
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, &word), -EINVAL); /* not started */
	assert_int_equal(stop(k, s.device), 0);
	k->again = true;
	assert_int_equal(start(k, s.device, 4096, twice, 2), 0);
	assert_int_equal(page_size_out, 4096);
	assert_int_equal(start(k, s.device, 4096, &ok, 1), -EINVAL); /* twice */
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 2048, &word), -EINVAL);
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 0x3000, &word), -EINVAL);
	assert_int_equal(report(k, s.device, ~0ull - 0xfff, 0x1000, 4096, &word), -EOVERFLOW);
	assert_int_equal(report(k, s.device, 0, 1ull << 63, 4096, &word), 0); /* nothing: nothing is looked at */
	assert_int_equal(stop(k, s.device), 0);
	assert_int_equal(start(k, s.device, 1, &ok, 1), 0);
	assert_int_equal(page_size_out, 4096);
	fake_session_close(k, &s);
}

static void each_write_once(void **state)
{
	struct fake *k = *state;
	const range r[] = {{IOVA0, 0x4000}, {IOVA0 + 0x8000, 0x8000}};
	uint64_t bits[2] = {0, 1ull << 63};
	uint8_t data[0x3000] = {0};
	struct toy *t;
	struct session s = session_open(k, &t);
	struct iovec iov;
	unsigned int n = 1;

	assert_int_equal(pci_dma_write(&t->f, IOVA0, data, 1, NULL), 0); /* before */
	assert_int_equal(start(k, s.device, 0x2000, r, 2), 0);
	assert_int_equal(page_size_out, 0x2000);
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x1fff, data, 2, NULL), 0);      /* pages 1, 2 */
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x5000, data, 1, NULL), 0);      /* in no range */
	assert_int_equal(pci_dma_read(&t->f, IOVA0 + 0x3000, data, 64, NULL), 0);      /* no write */
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x7800, data, 0x1000, NULL), 0); /* 7 is in none, 8 is */
	assert_int_equal(dma_iov(t->f.dma, IOVA(IOVA0 + 0xb000), 16, true, &iov, &n, NULL), 0);
	/* The last page, and beyond what is mapped: what came before the fault counts. */
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0xf800, data, 0x1000, NULL), -EFAULT);
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, bits), 0);
	assert_int_equal(bits[0], 1 << 1 | 1 << 2 | 1 << 8 | 1 << 11 | 1 << 15);
	assert_int_equal(bits[1], 1ull << 63);
	/* Read and cleared; what is in the bitmap stays. */
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x9000, data, 1, NULL), 0);
	k->again = true;
	bits[0] = 1;
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, bits), 0);
	assert_int_equal(bits[0], 1 | 1 << 9);
	/* Part of it, in larger pages, unaligned: bit 0 is the page that iova is on. */
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x3000, data, 1, NULL), 0);
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0xc000, data, 0x2000, NULL), 0);
	bits[0] = 0;
	assert_int_equal(report(k, s.device, IOVA0 + 0x4000, 0x9000, 0x4000, bits), 0);
	assert_int_equal(bits[0], 1 << 2);
	bits[0] = 0;
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, bits), 0);
	assert_int_equal(bits[0], 1 << 3 | 1 << 13);
	fake_session_close(k, &s);
}

/* A bitmap that is not there is passed over, and what it would have said is not forgotten. */
static void bitmap_in_a_hole(void **state)
{
	struct fake *k = *state;
	const range r = {IOVA0, 0x10000};
	uint64_t bits = 0;
	struct toy *t;
	struct session s = session_open(k, &t);

	assert_int_equal(start(k, s.device, 4096, &r, 1), 0);
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x2000, &bits, 1, NULL), 0);
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, k->hole), 0);
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, &bits), 0);
	assert_int_equal(bits, 1 << 2);
	assert_int_equal(stop(k, s.device), 0);
	/* It starts clean. */
	assert_int_equal(pci_dma_write(&t->f, IOVA0 + 0x2000, &bits, 1, NULL), 0);
	assert_int_equal(start(k, s.device, 4096, &r, 1), 0);
	bits = 0;
	assert_int_equal(report(k, s.device, IOVA0, 0x10000, 4096, &bits), 0);
	assert_int_equal(bits, 0);
	fake_session_close(k, &s);
}

/* One page in each stretch that a page of the bitmap stands for, more of them than one part of an answer has. */
#define STRETCH	  (4096ull * 8 << PF_PAGE_SHIFT)
#define STRETCHES 1100ull

static void long_answer(void **state)
{
	struct fake *k = *state;
	const range r = {0, STRETCHES * STRETCH};
	uint8_t *bits = aligned_alloc(PF_PAGE_SIZE, STRETCHES * PF_PAGE_SIZE), byte = 1;
	struct toy *t;
	struct session s = session_open(k, &t);

	assert_non_null(bits);
	memset(bits, 0, STRETCHES * PF_PAGE_SIZE);
	assert_int_equal(start(k, s.device, 4096, &r, 1), 0);
	for (uint64_t i = 0; i < STRETCHES; i++) {
		uint64_t iova = i * STRETCH + i * PF_PAGE_SIZE;

		if (i == 0)
			iova = IOVA0;
		else if (fake_map(k, s.container, iova, (uintptr_t)k->mem, PF_PAGE_SIZE, VFIO_DMA_MAP_FLAG_WRITE))
			continue; /* reserved */
		assert_int_equal(pci_dma_write(&t->f, iova, &byte, 1, NULL), 0);
		bits[i * PF_PAGE_SIZE] = 0x80; /* stays */
	}
	assert_int_equal(report(k, s.device, 0, r.length, 4096, bits), 0);
	assert_true(k->parts > 4); /* of half a MiB */
	for (uint64_t i = 0; i < STRETCHES; i++) {
		uint64_t page = i ? i : IOVA0 / PF_PAGE_SIZE;

		if (!bits[i * PF_PAGE_SIZE])
			continue;
		assert_true(bits[i * PF_PAGE_SIZE + page / 8] >> page % 8 & 1);
	}
	/* All of it has been handed over. */
	memset(bits, 0, STRETCHES * PF_PAGE_SIZE);
	assert_int_equal(report(k, s.device, 0, r.length, 4096, bits), 0);
	assert_int_equal(k->parts, 0);
	for (uint64_t i = 0; i < STRETCHES * PF_PAGE_SIZE; i++)
		assert_int_equal(bits[i], 0);
	free(bits);
	fake_session_close(k, &s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {T(what_is_refused), T(each_write_once), T(bitmap_in_a_hole), T(long_answer)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
