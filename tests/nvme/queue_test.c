/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues: phase and wrap, full completion queues, depth, number, memory that is not there, ends in the middle of I/O.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "devices/nvme/nvme.h"
#include "host.h"
#include "iommu/ioas.h"
#include "mm/mm.h"

static struct host h;
static uint64_t buf;

static void start(const char *options)
{
	host_open(&h, options);
	host_enable(&h, 16, 0);
	buf = host_alloc(&h, 2 * MACHINE_PAGE, MACHINE_PAGE);
}

static int setup(void **state)
{
	start("");
	return 0;
}

static int setup_threads(void **state)
{
	start("aio=threads");
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void put_read(unsigned int qid, uint64_t slba)
{
	struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, slba, 1, buf, 0);

	host_put(&h, qid, &cmd);
}

static void phase_wraps_at_every_size(void **state)
{
	for (unsigned int size = 2; size <= 9; size++) {
		host_io_queue(&h, size, size);
		for (unsigned int i = 0; i < 5 * size; i++)
			assert_int_equal(host_rw(&h, size, NVME_IO_READ, i, 1, buf), NVME_OK);
	}
}

static void batch_wraps(void **state)
{
	struct nvme_cqe cqe;

	host_io_queue(&h, 1, 7);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 5; i++)
			put_read(1, i);
		host_ring(&h, 1);
		/* One batch, one interrupt. */
		assert_int_equal(h.m.irqs[1], round + 1);
		for (unsigned int i = 0; i < 5; i++) {
			assert_true(host_poll(&h, 1, &cqe));
			assert_int_equal(cqe.status >> 1, 0);
		}
		assert_false(host_poll(&h, 1, &cqe));
	}
}

/* The submission queue is larger than the completion queue; then several share one. Nothing is lost or overwritten. */
static void full_completion_queue_holds_back(void **state)
{
	struct nvme_cqe cqe;
	unsigned int seen = 0;

	assert_int_equal(host_create_cq(&h, 1, 4, -1), NVME_OK);
	assert_int_equal(host_create_sq(&h, 1, 64, 1), NVME_OK);
	assert_int_equal(host_create_sq(&h, 2, 64, 1), NVME_OK);
	for (unsigned int i = 0; i < 60; i++) {
		struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = 1};

		put_read(1, i);
		if (i % 2)
			host_put(&h, 2, &cmd); /* through the disk: completes when there may be no room */
		else
			put_read(2, i);
	}
	host_ring(&h, 1);
	host_ring(&h, 2);
	host_run(&h, 100);
	while (seen < 120) {
		host_wait(&h, 1, &cqe);
		assert_int_equal(cqe.status >> 1, 0);
		seen++;
		if (seen % 7 == 0)
			host_run(&h, 3);
	}
	host_run(&h, 100);
	assert_false(host_poll(&h, 1, &cqe));
	assert_int_equal(h.m.irqs[1], 0);
}

static void deepest_queue_in_one_ring(void **state)
{
	struct nvme_cqe cqe;
	unsigned int at_once = 0;

	host_io_queue(&h, 1, 4096);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 4095; i++)
			put_read(1, i);
		host_ring(&h, 1);
		/* The doorbell's turn is bounded; the rest comes from the loop (rule C1). */
		for (at_once = 0; host_poll(&h, 1, &cqe); at_once++)
			;
		assert_in_range(at_once, 1, 256);
		for (unsigned int i = at_once; i < 4095; i++)
			host_wait(&h, 1, &cqe);
		assert_false(host_poll(&h, 1, &cqe));
	}
}

static void large_commands_bound_the_turn_too(void **state)
{
	struct nvme_cqe cqe;
	uint64_t list = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	unsigned int at_once = 0;

	for (unsigned int i = 0; i < 127; i++)
		((uint64_t *)host_ptr(&h, list))[i] = buf;
	host_io_queue(&h, 1, 256);
	for (unsigned int i = 0; i < 100; i++) {
		struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 1024, buf, list);

		host_put(&h, 1, &cmd);
	}
	host_ring(&h, 1);
	for (; host_poll(&h, 1, &cqe); at_once++)
		;
	assert_in_range(at_once, 1, 9);
	for (unsigned int i = at_once; i < 100; i++)
		host_wait(&h, 1, &cqe);
}

static void sixty_four_queues(void **state)
{
	uint8_t *p = host_ptr(&h, buf);

	for (unsigned int q = 1; q <= 64; q++)
		host_io_queue(&h, q, 8);
	for (unsigned int q = 1; q <= 64; q++) {
		memset(p, 0, 512);
		assert_int_equal(host_rw(&h, q, NVME_IO_READ, q, 1, buf), NVME_OK);
		assert_int_equal(p[5], disk_byte(q * 512 + 5));
		assert_int_equal(h.m.irqs[q], 1);
	}
}

/* ---- memory that is not there ---- */
static void unreachable_queues_are_fatal(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_CREATE_CQ, .dptr = {HOST_IOVA + HOST_MEM}, .cdw10 = 7 << 16 | 1};

	cmd.cdw11 = 1;
	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_OK);
	assert_int_equal(host_create_sq(&h, 1, 8, 1), NVME_OK);
	put_read(1, 0);
	host_ring(&h, 1);
	assert_true(host_reg(&h, NVME_REG_CSTS) & NVME_CSTS_CFS);
	assert_non_null(strstr(h.m.fault_line, "CQ1"));
	/* A fatal controller does nothing until it is reset. */
	host_doorbell(&h, 0, false, 1);
	host_run(&h, 3);
	host_disable(&h);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), 0);
	host_enable(&h, 16, 0);
	cmd = (struct nvme_cmd){.opcode = NVME_ADM_CREATE_SQ, .dptr = {1ULL << 60}, .cdw10 = 7 << 16 | 1};
	assert_int_equal(host_create_cq(&h, 1, 8, -1), NVME_OK);
	cmd.cdw11 = 1 << 16 | 1;
	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_OK);
	host_doorbell(&h, 1, false, 1);
	assert_true(host_reg(&h, NVME_REG_CSTS) & NVME_CSTS_CFS);
	assert_non_null(strstr(h.m.fault_line, "SQ1"));
	assert_non_null(strstr(h.m.fault_line, "SQE"));
}

static void no_bus_master_no_dma(void **state)
{
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	put_read(0, 0);
	host_ring(&h, 0);
	assert_true(host_reg(&h, NVME_REG_CSTS) & NVME_CSTS_CFS);
	assert_int_equal(h.m.faults, 1);
}

/* ---- ends in the middle of I/O ---- */
static void put_slow(unsigned int qid, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct nvme_cmd cmd = rw_cmd(i % 2 ? NVME_IO_WRITE : NVME_IO_READ, i * 8, 8, buf, 0);

		cmd.cdw12 |= BIT(30); /* FUA: always through the disk */
		host_put(&h, qid, &cmd);
	}
	host_ring(&h, qid);
}

static void all_memory_as_before(const uint8_t *before)
{
	host_run(&h, 50);
	for (unsigned int i = 0; i < 300; i++) {
		loop_step(h.m.loop, false);
		usleep(100);
	}
	assert_memory_equal(h.m.mem, before, HOST_MEM);
}

static void nothing_reaches_memory_after(void (*end)(void))
{
	uint8_t *before = malloc(HOST_MEM);
	unsigned int irqs;

	host_io_queue(&h, 1, 64);
	put_slow(1, 60);
	/* What had completed by now may have been shown; from here on, nothing. */
	end();
	irqs = h.m.irqs[1];
	memcpy(before, h.m.mem, HOST_MEM);
	all_memory_as_before(before);
	assert_int_equal(h.m.irqs[1], irqs);
	assert_int_equal(h.m.faults, 0);
	free(before);
}

static void end_disable(void)
{
	host_disable(&h);
}

static void end_reset(void)
{
	pci_func_reset(h.m.f);
}

static void disable_with_io_in_flight(void **state)
{
	nothing_reaches_memory_after(end_disable);
	host_enable(&h, 16, 0);
	host_io_queue(&h, 1, 8);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1, buf), NVME_OK);
}

static void reset_with_io_in_flight(void **state)
{
	nothing_reaches_memory_after(end_reset);
}

static void destroy_with_io_in_flight(void **state)
{
	host_io_queue(&h, 1, 64);
	put_slow(1, 60);
}

static void delete_queue_with_io_in_flight(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_DELETE_SQ, .cdw10 = 1};
	struct nvme_cqe cqe;
	unsigned int n = 0;
	uint8_t *before;

	host_io_queue(&h, 1, 64);
	put_slow(1, 20);
	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_OK);
	while (host_poll(&h, 1, &cqe))
		n++;
	assert_in_range(n, 0, 20);
	before = malloc(HOST_MEM);
	memcpy(before, h.m.mem, HOST_MEM);
	all_memory_as_before(before);
	free(before);
	assert_int_equal(host_create_sq(&h, 1, 64, 1), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1, buf), NVME_OK);
}

/* Completions that found no room in their queue are not posted once their submission queue is gone. */
static void delete_queue_with_completions_waiting(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_DELETE_SQ, .cdw10 = 1};
	struct nvme_cqe cqe;

	assert_int_equal(host_create_cq(&h, 1, 2, -1), NVME_OK);
	assert_int_equal(host_create_cq(&h, 2, 8, -1), NVME_OK);
	assert_int_equal(host_create_sq(&h, 1, 8, 1), NVME_OK);
	for (unsigned int i = 0; i < 5; i++) {
		struct nvme_cmd flush = {.opcode = NVME_IO_FLUSH, .nsid = 1};

		/* One at a time: a command is fetched while there is room, which another one then takes. */
		host_put(&h, 1, &flush);
		host_ring(&h, 1);
	}
	while (block_inflight(container_of(h.m.f, struct nvme, f)->ns[0].blk))
		loop_step(h.m.loop, true);
	assert_false(list_empty(&container_of(h.m.f, struct nvme, f)->cq[1].waiting));
	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_OK);
	assert_true(host_poll(&h, 1, &cqe));
	host_run(&h, 5);
	assert_false(host_poll(&h, 1, &cqe));
}

/* A pool full of requests at the disk holds I/O back, not the admin queue; and nothing of it is lost. */
static void full_pool_holds_back_io_alone(void **state)
{
	struct nvme *c = container_of(h.m.f, struct nvme, f);
	uint64_t list = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	struct nvme_cqe cqe;

	for (unsigned int i = 0; i < 127; i++)
		((uint64_t *)host_ptr(&h, list))[i] = buf;
	host_io_queue(&h, 1, 512);
	for (unsigned int i = 0; i < 400; i++) {
		struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 1024, buf, list);

		cmd.cdw12 |= BIT(30);
		host_put(&h, 1, &cmd);
	}
	host_ring(&h, 1);
	/* Turns alone, so that nothing completes. */
	for (unsigned int i = 0; i < 100 && !nvme_pool_full(c->pool); i++)
		c->work.run(&c->work);
	assert_true(nvme_pool_full(c->pool));
	assert_in_range(c->pool->bytes, NVME_POOL_BYTES, NVME_POOL_BYTES + (1 << 20));
	loop_work_cancel(h.m.loop, &c->work);
	{
		struct nvme_cmd id = {.opcode = NVME_ADM_IDENTIFY, .dptr = {buf}, .cdw10 = 1};

		host_put(&h, 0, &id);
		host_ring(&h, 0);
		assert_true(host_poll(&h, 0, &cqe));
	}
	for (unsigned int i = 0; i < 400; i++) {
		host_wait(&h, 1, &cqe);
		assert_int_equal(cqe.status >> 1, 0);
	}
	assert_int_equal(c->pool->bytes, 0);
}

/* Memory unmapped while a request waits for the disk: that command fails, and nothing else does (rule A3). */
static void unmap_with_io_in_flight(void **state)
{
	struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 8, HOST_IOVA + HOST_MEM, 0);
	struct page_slice slice = {.len = MACHINE_PAGE, .writable = true};
	struct nvme_cqe cqe;
	struct pages *p;
	uint64_t unmapped;

	assert_int_equal(backing_get_fd(h.m.cache, h.m.memfd, &slice.backing), 0);
	assert_int_equal(pages_new(0x1000, &slice, 1, h.m.owner, &p), 0);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	backing_put(slice.backing);
	assert_int_equal(ioas_map(h.m.ioas, IOVA(HOST_IOVA + HOST_MEM), MACHINE_PAGE, p, 0, IOMMU_READ | IOMMU_WRITE),
			 0);
	pages_put(p);
	host_io_queue(&h, 1, 8);
	cmd.cdw12 |= BIT(30);
	host_put(&h, 1, &cmd);
	host_ring(&h, 1);
	assert_int_equal(ioas_unmap(h.m.ioas, HOST_IOVA + HOST_MEM, HOST_IOVA + HOST_MEM + MACHINE_PAGE - 1, &unmapped),
			 0);
	assert_int_equal(unmapped, MACHINE_PAGE);
	host_wait(&h, 1, &cqe);
	assert_int_equal((cqe.status >> 1) & 0x7ff, NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "PRP1"));
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1, buf), NVME_OK);
}

static bool line;

static void line_changed(struct pci_irq_sink *s, bool level)
{
	line = level;
}

/* 7.5.1: the pin says whether there is a completion that the host has not taken. */
static void pin_without_msix(void **state)
{
	struct nvme_cqe cqe;

	line = false;
	h.m.sink.intx = line_changed;
	pci_msix_enable(h.m.f, false);
	host_io_queue(&h, 1, 8);
	assert_false(line);
	put_read(1, 0);
	put_read(1, 1);
	host_ring(&h, 1);
	for (unsigned int n = 0; n < 2; n++) {
		while (!line)
			host_run(&h, 1);
		assert_true(h.m.f->cfg[PCI_STATUS] & PCI_STATUS_INTERRUPT);
		host_wait(&h, 1, &cqe);
	}
	assert_false(line);
	host_set_reg(&h, NVME_REG_INTMS, 1 << 1 | 1 << 0);
	put_read(1, 0);
	host_ring(&h, 1);
	host_run(&h, 100);
	while (!(((struct nvme_cqe *)host_ptr(&h, h.q[1].cq))[2].status & 1))
		host_run(&h, 1);
	assert_false(line);
	host_set_reg(&h, NVME_REG_INTMC, 1 << 1 | 1 << 0);
	assert_true(line);
	host_disable(&h);
	assert_false(line);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TT(f)                                                                                                          \
	T(f),                                                                                                          \
	{                                                                                                              \
#f "(threads)", f, setup_threads, teardown, NULL                                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(phase_wraps_at_every_size),
	    T(batch_wraps),
	    TT(full_completion_queue_holds_back),
	    T(deepest_queue_in_one_ring),
	    T(large_commands_bound_the_turn_too),
	    T(sixty_four_queues),
	    T(unreachable_queues_are_fatal),
	    T(no_bus_master_no_dma),
	    TT(disable_with_io_in_flight),
	    TT(reset_with_io_in_flight),
	    TT(destroy_with_io_in_flight),
	    TT(delete_queue_with_io_in_flight),
	    TT(delete_queue_with_completions_waiting),
	    TT(full_pool_holds_back_io_alone),
	    TT(unmap_with_io_in_flight),
	    TT(pin_without_msix),
	};

	return cmocka_run_group_tests_name("nvme-queue", tests, NULL, NULL);
}
