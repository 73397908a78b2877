/* SPDX-License-Identifier: BSD-3-Clause */
/* What a person reads about a fault, and the counters. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fixture.h"

static const struct dma_tag full_tag = {.queue_kind = "SQ", .queue = 1, .id_kind = "CID", .id = 7, .part = "PRP1"};

static char line[256];

static void line_hook(struct fixture *f, const struct event *ev)
{
	int n;

	if (ev->type != EVENT_FAULT)
		return;
	n = dma_fault_format(ev, line, sizeof(line));
	assert_int_equal(n, strlen(line));
}

static void test_lines(void **state)
{
	const struct dma_tag no_id = {.queue_kind = "CQ", .queue = 12}, part_only = {.part = "MSI-X"}, none = {0};
	struct fixture f;
	struct pages *p;
	int fd = memfd_pages(1);
	char buf[2 * PG] = {0};

	fixture_open(&f);
	f.hook = line_hook;
	p = pages_memfd(&f, fd, 1, true);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x10000), PG, p, 0, IOMMU_READ), 0);
	pages_put(p);

	assert_int_equal(dma_read(f.dev, IOVA(0x1000), buf, PG, &full_tag), -EFAULT);
	assert_string_equal(line, "[DMA Read] 0000:01:00.0 fault addr 0x1000 (4096 bytes), SQ1 CID 7 PRP1: not mapped");
	/* The first address that fails, and what is left from there. */
	assert_int_equal(dma_read(f.dev, IOVA(0x10800), buf, PG, &no_id), -EFAULT);
	assert_string_equal(line, "[DMA Read] 0000:01:00.0 fault addr 0x11000 (2048 bytes), CQ12: not mapped");
	assert_int_equal(dma_write(f.dev, IOVA(0x10004), buf, 4, &part_only), -EFAULT);
	assert_string_equal(line, "[DMA Write] 0000:01:00.0 fault addr 0x10004 (4 bytes), MSI-X: "
				  "mapped without this permission");
	assert_int_equal(dma_write(f.dev, IOVA(-1UL), buf, 2, &none), -EFAULT);
	assert_string_equal(line, "[DMA Write] 0000:01:00.0 fault addr 0xffffffffffffffff (2 bytes): "
				  "range runs past the end of the address space");
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(dma_read(f.dev, IOVA(0x10000), buf, 8, NULL), -EFAULT);
	assert_string_equal(line, "[DMA Read] 0000:01:00.0 fault addr 0x10000 (8 bytes): "
				  "mapped page is gone (its file was truncated)");
	dma_dev_set_master(f.dev, false);
	assert_int_equal(dma_read(f.dev, IOVA(0x10000), buf, 8, NULL), -EFAULT);
	assert_string_equal(line, "[DMA Read] 0000:01:00.0 fault addr 0x10000 (8 bytes): bus mastering is off");
	dma_dev_set_master(f.dev, true);
	dma_dev_detach(f.dev);
	assert_int_equal(dma_read(f.dev, IOVA(0x10000), buf, 8, NULL), -EFAULT);
	assert_string_equal(line, "[DMA Read] 0000:01:00.0 fault addr 0x10000 (8 bytes): device has no IOVA space");
	close(fd);
	fixture_close(&f);
}

/* Any buffer, any event: never past the end, always terminated. */
static void test_truncation(void **state)
{
	struct event ev = {.type = EVENT_FAULT,
			   .who = 0xffffffff,
			   .addr = UINT64_MAX,
			   .len = UINT64_MAX,
			   .error = 12345,
			   .tag = &full_tag};
	char buf[256];
	int need = dma_fault_format(&ev, NULL, 0);

	assert_in_range(need, 40, 200);
	for (int size = 1; size <= need + 1; size++) {
		memset(buf, 'x', sizeof(buf));
		assert_int_equal(dma_fault_format(&ev, buf, size), need);
		assert_int_equal(strlen(buf), size - 1);
		assert_int_equal(buf[size], 'x');
	}
}

static void test_counters(void **state)
{
	const struct dma_stats *st;
	struct fixture f;
	struct pages *p;
	int fd = memfd_pages(4);
	struct iovec iov[4];
	unsigned int n = 4;
	char buf[3 * PG];

	fixture_open(&f);
	events_unlisten(&f.evs, &f.listener); /* counted whether or not anyone listens */
	p = pages_memfd(&f, fd, 4, true);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 4 * PG, p, 0, 3), 0);
	pages_put(p);
	st = dma_dev_stats(f.dev);
	assert_int_equal(dma_read(f.dev, IOVA(100), buf, 3 * PG, NULL), 0);
	assert_int_equal(dma_read(f.dev, IOVA(100), buf, 10, NULL), 0);
	assert_int_equal(dma_write(f.dev, IOVA(200), buf, 20, NULL), 0);
	assert_int_equal(dma_iov(f.dev, IOVA(0), 64, true, iov, &n, NULL), 0);
	assert_int_equal(st->writes, 1); /* the entries may yet go unused */
	dma_iov_done(f.dev, IOVA(0), 64, true, NULL);
	assert_int_equal(dma_write(f.dev, IOVA(4 * PG), buf, 20, NULL), -EFAULT);
	assert_int_equal(st->reads, 2);
	assert_int_equal(st->read_bytes, 3 * PG + 10);
	assert_int_equal(st->writes, 2);
	assert_int_equal(st->write_bytes, 84);
	assert_int_equal(st->faults, 1);
	assert_int_equal(st->iotlb_misses, 2);
	assert_int_equal(st->iotlb_hits, 3);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_truncation),
	    cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
