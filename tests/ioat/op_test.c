/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors: what they move, what is refused, and what is said of each failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/ioat/ioat.h"
#include "host.h"

#define LEN (1UL << 20)

static struct host h;
static struct ring r;
static uint64_t src, dst;

static int setup(void **state)
{
	host_open(&h, "");
	ring_open(&r, &h, 0, 8);
	host_write(&h, chan_reg(0, IOAT_CHANCTRL), 2, IOAT_CHANCTRL_ERR_COMP);
	src = host_alloc(&h, LEN, MACHINE_PAGE);
	dst = host_alloc(&h, LEN, MACHINE_PAGE);
	for (unsigned int i = 0; i < LEN; i++)
		host_ptr(&h, src)[i] = (uint8_t)(1 + i % 251);
	for (unsigned int i = 0; i < SCATTERED_LEN; i++)
		*host_ptr(&h, SCATTERED + i) = (uint8_t)(3 + i % 241);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

/* Between memory in one piece and memory in scattered pages, byte by byte. */
static void assert_same(uint64_t a, uint64_t b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (*host_ptr(&h, a + i) != *host_ptr(&h, b + i))
			fail_msg("byte %u of %u", i, n);
}

static void sizes_and_alignments(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 8, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537, 200001};
	static const uint32_t offs[] = {0, 1, 7, 63, 4095};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t s = 0; s < ARRAY_SIZE(offs); s++) {
			uint64_t d = dst + offs[(s + i) % ARRAY_SIZE(offs)];

			memset(host_ptr(&h, dst), 0, sizes[i] + 2 * MACHINE_PAGE);
			assert_int_equal(ring_run(&r, CTL_COPY, src + offs[s], d, sizes[i]), IOAT_IDLE);
			assert_memory_equal(host_ptr(&h, d), host_ptr(&h, src + offs[s]), sizes[i]);
			assert_int_equal(*host_ptr(&h, d + sizes[i]), 0);
			assert_true(d == dst || !*host_ptr(&h, d - 1));
		}
}

/* No two pages are neighbours in the file: more pieces than fit in one go. */
static void scattered(void **state)
{
	assert_int_equal(ring_run(&r, CTL_COPY, SCATTERED + 5, dst + 3, 300000), IOAT_IDLE);
	assert_same(SCATTERED + 5, dst + 3, 300000);
	assert_int_equal(ring_run(&r, CTL_COPY, src + 9, SCATTERED + 4093, 300001), IOAT_IDLE);
	assert_same(src + 9, SCATTERED + 4093, 300001);
	assert_int_equal(ring_run(&r, CTL_COPY, SCATTERED + 1, SCATTERED + 262144 + 2, 200000), IOAT_IDLE);
	assert_same(SCATTERED + 1, SCATTERED + 262144 + 2, 200000);
	assert_int_equal(ring_run(&r, CTL_COPY, READONLY + 77, dst, 60000), IOAT_IDLE);
	assert_same(READONLY + 77, dst, 60000);
}

static void fills(void **state)
{
	static const uint32_t sizes[] = {1, 5, 8, 50, 4096, 4097, 70001, LEN - 8192};
	uint64_t pattern = 0xfedcba9876543210ULL;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++, pattern = pattern << 8 | pattern >> 56) {
		uint64_t d = dst + i;

		memset(host_ptr(&h, dst), 0, LEN);
		assert_int_equal(ring_run(&r, CTL_FILL, pattern, d, sizes[i]), IOAT_IDLE);
		for (uint32_t k = 0; k < sizes[i]; k++)
			if (*host_ptr(&h, d + k) != (uint8_t)(pattern >> 8 * (k % 8)))
				fail_msg("byte %u of %u", k, sizes[i]);
		assert_int_equal(*host_ptr(&h, d + sizes[i]), 0);
	}
}

static void null_moves_nothing(void **state)
{
	assert_int_equal(ring_run(&r, CTL_COPY | IOAT_CTL_NULL, 0, 0, 8), IOAT_IDLE);
	assert_int_equal(ring_written(&r), r.base | IOAT_IDLE);
	assert_int_equal(h.m.written, 8);
	assert_int_equal(h.m.faults, 0);
	/* A driver that leaves the size out hears of it. */
	assert_int_equal(ring_run(&r, CTL_COPY | IOAT_CTL_NULL, 0, 0, 0), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_LENGTH);
}

/* Halts with err before it moves anything; the first of two is done. */
static void refuse(uint32_t ctl, uint64_t s, uint64_t d, uint32_t size, uint32_t err)
{
	ring_arm(&r);
	ring_hurry(&r);
	memset(host_ptr(&h, dst), 0, MACHINE_PAGE);
	ring_put(&r, CTL_COPY, src, dst + MACHINE_PAGE, 64);
	ring_put(&r, ctl, s, d, size);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_HALTED);
	assert_int_equal(ring_error(&r), err);
	assert_int_equal(ring_written(&r), r.base | IOAT_HALTED);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CDAR), 8), ring_iova(&r, 1));
	for (unsigned int i = 0; i < MACHINE_PAGE; i++)
		assert_int_equal(host_ptr(&h, dst)[i], 0);
}

static void refused(void **state)
{
	for (unsigned int op = 2; op < 256; op++)
		refuse(op << 24 | IOAT_CTL_COMPLETE, src, dst, 64, IOAT_ERR_CONTROL);
	for (unsigned int bit = 0; bit < 24; bit++) {
		if (!(IOAT_CTL_COPY_MASK & 1U << bit))
			refuse(CTL_COPY | 1U << bit, src, dst, 64, IOAT_ERR_CONTROL);
		if (!(IOAT_CTL_FILL_MASK & 1U << bit))
			refuse(CTL_FILL | 1U << bit, src, dst, 64, IOAT_ERR_CONTROL);
	}
	refuse(CTL_COPY, src, dst, 0, IOAT_ERR_LENGTH);
	refuse(CTL_FILL, src, dst, 0, IOAT_ERR_LENGTH);
	refuse(CTL_COPY, src, dst, (1 << 20) + 1, IOAT_ERR_LENGTH);
	refuse(CTL_COPY, src, dst, UINT32_MAX, IOAT_ERR_LENGTH);
	assert_int_equal(h.m.faults, 0);
	refuse(CTL_COPY, UINT64_MAX - 62, dst, 64, IOAT_ERR_SRC_ADDR);
	refuse(CTL_COPY, src, UINT64_MAX - 62, 64, IOAT_ERR_DST_ADDR);
	refuse(CTL_FILL, src, UINT64_MAX, 2, IOAT_ERR_DST_ADDR);
	assert_int_equal(h.m.faults, 3);
}

static void assert_line(const char *what)
{
	if (!strstr(h.m.fault_line, what))
		fail_msg("'%s' is not in '%s'", what, h.m.fault_line);
}

static void faults(void **state)
{
	char at[64];

	refuse(CTL_COPY, 0x1000, dst, 64, IOAT_ERR_READ_DATA);
	snprintf(at, sizeof(at), "CH0 DESC 1 at 0x%llx source: not mapped", (unsigned long long)ring_iova(&r, 1));
	assert_line("[DMA Read] 0000:01:00.0 fault addr 0x1000 (64 bytes), ");
	assert_line(at);
	refuse(CTL_COPY, src, 0x2000, 64, IOAT_ERR_WRITE_DATA);
	assert_line("[DMA Write] 0000:01:00.0 fault addr 0x2000 (64 bytes), ");
	assert_line("destination: not mapped");
	refuse(CTL_COPY, src, READONLY, 64, IOAT_ERR_WRITE_DATA);
	assert_line("destination: mapped without this permission");
	refuse(CTL_FILL, src, READONLY, 64, IOAT_ERR_WRITE_DATA);
	assert_line("destination: mapped without this permission");
	refuse(CTL_COPY, UINT64_MAX - 63, dst, 64, IOAT_ERR_READ_DATA);
	assert_line("fault addr 0xffffffffffffffc0 (64 bytes)");
	/* The last bytes of what is mapped, and the first beyond. */
	refuse(CTL_COPY, PLAIN + PLAIN_LEN - 32, dst, 64, IOAT_ERR_READ_DATA);
	assert_line("fault addr 0x10400000 (32 bytes)");
	assert_int_equal(h.m.faults, 6);
}

static void bad_chain(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t first, next;
		const char *line;
	} cases[] = {
	    {PLAIN + 32, IOAT_ERR_CHAINADDR, IOAT_ERR_NEXT_ADDR, NULL},
	    {0x5000, IOAT_ERR_DESC, IOAT_ERR_DESC, "fetch: not mapped"},
	    {UINT64_MAX - 63, IOAT_ERR_DESC, IOAT_ERR_DESC, "fetch: not mapped"},
	    {UINT64_MAX, IOAT_ERR_CHAINADDR, IOAT_ERR_NEXT_ADDR, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int before = h.m.faults;

		ring_arm(&r);
		host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, cases[i].addr);
		assert_int_equal(ring_state(&r), IOAT_ARMED);
		r.head = 1;
		ring_ring(&r);
		assert_int_equal(ring_wait(&r), IOAT_HALTED);
		assert_int_equal(ring_error(&r), cases[i].first);
		assert_int_equal(ring_written(&r), IOAT_HALTED);
		ring_arm(&r);
		ring_put(&r, CTL_COPY, src, dst, 64);
		ring_desc(&r, 0)->next = cases[i].addr;
		r.head = 2;
		ring_ring(&r);
		assert_int_equal(ring_wait(&r), IOAT_HALTED);
		assert_int_equal(ring_error(&r), cases[i].next);
		assert_int_equal(ring_written(&r), r.base | IOAT_HALTED);
		assert_int_equal(h.m.faults - before, cases[i].line ? 2 : 0);
		if (cases[i].line)
			assert_line(cases[i].line);
	}
	/* A next descriptor that nobody goes to is nobody's concern. */
	ring_arm(&r);
	ring_desc(&r, 0)->next = 3;
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
}

static void bad_completion(void **state)
{
	static const uint64_t addrs[] = {PLAIN + 4, 0x3000, READONLY, UINT64_MAX - 7};

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		ring_arm(&r);
		host_write(&h, chan_reg(0, IOAT_CHANCMP), 8, addrs[i]);
		ring_put(&r, CTL_COPY, src, dst, 64);
		ring_put(&r, IOAT_OP_COPY << 24 | IOAT_CTL_INT, src, dst, 64);
		ring_ring(&r);
		assert_int_equal(ring_wait(&r), IOAT_HALTED);
		assert_int_equal(ring_error(&r), IOAT_ERR_CHANCMP);
		if (i)
			assert_line("completion: ");
	}
	assert_int_equal(h.m.faults, 3);
	/* Nor is there a way to report an error, then. */
	ring_arm(&r);
	host_write(&h, chan_reg(0, IOAT_CHANCMP), 8, 0x3000);
	assert_int_equal(ring_run(&r, IOAT_OP_COPY << 24, src, dst, 0), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_LENGTH | IOAT_ERR_CHANCMP);
}

static void errors_are_reported_when_asked(void **state)
{
	ring_arm(&r);
	host_write(&h, chan_reg(0, IOAT_CHANCTRL), 2, 0);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 0), IOAT_HALTED);
	assert_int_equal(ring_written(&r), ~0ULL);
	/* What was complete before is reported all the same. */
	ring_arm(&r);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_put(&r, CTL_COPY, src, dst, 0);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_HALTED);
	assert_int_equal(ring_written(&r), r.base | IOAT_ACTIVE);
}

static void without_bus_mastering(void **state)
{
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_DESC | IOAT_ERR_CHANCMP);
	assert_line("bus mastering is off");
	assert_int_equal(host_ptr(&h, dst)[0], 0);
}

/* Pages that are gone, found out in the middle of a copy: which side is at fault is said. */
static void pages_gone(void **state)
{
	uint64_t gone = SCATTERED + MACHINE_PAGE;

	guard_install(); /* cmocka puts its own handlers around each test */
	assert_true(ftruncate(h.m.memfd, host_offset(gone, false)) == 0);
	refuse(CTL_COPY, gone - 64, dst, 128, IOAT_ERR_READ_DATA);
	assert_line("source: mapped page is gone");
	refuse(CTL_COPY, src, gone - 64, 128, IOAT_ERR_WRITE_DATA);
	assert_line("destination: mapped page is gone");
	refuse(CTL_FILL, src, gone - 64, 128, IOAT_ERR_WRITE_DATA);
	assert_line("destination: mapped page is gone");
	assert_true(ftruncate(h.m.memfd, HOST_MEM) == 0);
}

/* Within one turn or across turns, memory that is unmapped meanwhile is not reached. */
static void unmapped_in_flight(void **state)
{
	uint64_t was, n;

	for (unsigned int i = 0; i < 8; i++)
		ring_put(&r, CTL_COPY, src, dst, LEN);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	dma_dev_detach(h.m.f->dma);
	was = h.m.written;
	assert_int_equal(ring_wait(&r), IOAT_HALTED);
	n = h.m.written - was;
	assert_int_equal(n, 0);
	assert_line("device has no IOVA space");
	dma_dev_attach(h.m.f->dma, h.m.domain);
}

/* A chain may overwrite itself; what is read is what is there when its turn comes. */
static void chain_changes_itself(void **state)
{
	struct ioat_desc *other = (struct ioat_desc *)host_ptr(&h, src);

	*other = (struct ioat_desc){.size = 32, .ctl = CTL_FILL, .src = 0x5555555555555555, .dst = dst + 128};
	other->next = ring_iova(&r, 2);
	ring_put(&r, CTL_COPY, src, ring_iova(&r, 1), sizeof(*other));
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_int_equal(*host_ptr(&h, dst), 0);
	assert_int_equal(*host_ptr(&h, dst + 128), 0x55);
	/* Its own completion over the next descriptor: then that one is malformed, and nothing else. */
	ring_arm(&r);
	host_write(&h, chan_reg(0, IOAT_CHANCMP), 8, ring_iova(&r, 1));
	ring_put(&r, CTL_COPY | IOAT_CTL_INT, src, dst, 64);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_HALTED);
	assert_int_equal(ring_error(&r) & ~(IOAT_ERR_CONTROL | IOAT_ERR_LENGTH), 0);
}

/* Source and destination overlap: what arrives is not promised, what lies around it is. */
static void overlap(void **state)
{
	static const int shifts[] = {-4097, -64, -1, 0, 1, 8, 63, 4095, 100000};

	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		uint64_t s = dst + 200000, d = s + shifts[i];

		memset(host_ptr(&h, dst), 0x11, LEN);
		assert_int_equal(ring_run(&r, CTL_COPY, s, d, 300000), IOAT_IDLE);
		assert_int_equal(*host_ptr(&h, d - 1), 0x11);
		assert_int_equal(*host_ptr(&h, d + 300000), 0x11);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sizes_and_alignments, setup, teardown),
	    cmocka_unit_test_setup_teardown(scattered, setup, teardown),
	    cmocka_unit_test_setup_teardown(fills, setup, teardown),
	    cmocka_unit_test_setup_teardown(null_moves_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(faults, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_chain, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_completion, setup, teardown),
	    cmocka_unit_test_setup_teardown(errors_are_reported_when_asked, setup, teardown),
	    cmocka_unit_test_setup_teardown(without_bus_mastering, setup, teardown),
	    cmocka_unit_test_setup_teardown(pages_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(unmapped_in_flight, setup, teardown),
	    cmocka_unit_test_setup_teardown(chain_changes_itself, setup, teardown),
	    cmocka_unit_test_setup_teardown(overlap, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
