/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's state goes to another one on the same disk, with memory copied beside it: what was queued, full,
 * waiting or pending goes on there, once; and no state whatever makes the other one do more than fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "nvme/host.h"
#include "devices/nvme/nvme.h"
#include "iommu/iommu.h"
#include "pci/barmem.h"
#include "pci/migrate.h"

#define BLOB_MAX (256u << 10)

static struct host a, b;
static uint64_t buf;
static uint8_t blob[BLOB_MAX];

static struct nvme *ctrl(struct host *h)
{
	return container_of(h->m.f, struct nvme, f);
}

static int setup(void **state)
{
	const char *options = *state ? *state : "";

	host_open(&a, options);
	host_open_path(&b, a.path, options);
	host_enable(&a, 16, 0);
	buf = host_alloc(&a, 64 * MACHINE_PAGE, MACHINE_PAGE);
	return 0;
}

static int teardown(void **state)
{
	host_close(&b);
	host_close(&a);
	return 0;
}

static void quiesce(struct host *h)
{
	int err;

	while ((err = pci_quiesce(h->m.f)) == -EAGAIN)
		loop_step(h->m.loop, false);
	assert_int_equal(err, 0);
}

/* What a VMM does beside: memory, and its own idea of the queues. */
static void move_host(void)
{
	memcpy(b.m.mem, a.m.mem, HOST_MEM);
	memcpy(b.q, a.q, sizeof(b.q));
	b.next = a.next;
	b.cid = a.cid;
}

static size_t move(void)
{
	size_t len;

	machine_stop(&a.m);
	len = machine_save(&a.m, blob, BLOB_MAX);
	move_host();
	machine_stop(&b.m);
	assert_int_equal(pci_load(b.m.f, blob, len), 0);
	pci_run(b.m.f);
	return len;
}

static struct nvme_cqe wait_cqe(struct host *h, unsigned int cq)
{
	struct nvme_cqe e;

	host_wait(h, cq, &e);
	return e;
}

/* ---- what goes on ---- */

/* Entries that were rung for while it was quiet, on a queue that has wrapped; nobody fetches them but the new one. */
static void queued_commands_go_on(void **state)
{
	bool seen[8] = {false};
	struct nvme_cmd cmd;
	uint64_t reads;
	uint16_t first;

	host_io_queue(&a, 1, 9);
	for (unsigned int i = 0; i < 13; i++)
		assert_int_equal(host_rw(&a, 1, NVME_IO_READ, i, 1, buf), NVME_OK);
	quiesce(&a);
	reads = dma_dev_stats(a.m.f->dma)->reads;
	first = a.cid;
	for (unsigned int i = 0; i < 8; i++) {
		cmd = rw_cmd(NVME_IO_READ, 100 + i, 1, buf + i * MACHINE_PAGE, 0);
		host_put(&a, 1, &cmd);
	}
	host_ring(&a, 1);
	host_run(&a, 100);
	assert_int_equal(dma_dev_stats(a.m.f->dma)->reads, reads);
	move();
	for (unsigned int i = 0; i < 8; i++) {
		struct nvme_cqe e = wait_cqe(&b, 1);

		assert_int_equal(e.status >> 1, NVME_OK);
		assert_in_range(e.cid, first, first + 7);
		assert_false(seen[e.cid - first]);
		seen[e.cid - first] = true;
	}
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(((uint8_t *)host_ptr(&b, buf))[i * MACHINE_PAGE + 3], disk_byte((100 + i) * 512 + 3));
	/* Twice around, with the phase as it should be. */
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(host_rw(&b, 1, NVME_IO_READ, i, 1, buf), NVME_OK);
	assert_int_equal(host_rw(&b, 1, NVME_IO_WRITE, 7, 1, buf), NVME_OK);
}

/* Two submission queues on a completion queue of two entries: completions wait for room, here and there. */
static void waiting_completions_go_on(void **state)
{
	unsigned int done = 0;
	bool seen[6] = {false};
	struct nvme_cqe e;
	uint16_t first;

	assert_int_equal(host_create_cq(&a, 1, 2, 1), NVME_OK);
	assert_int_equal(host_create_sq(&a, 1, 8, 1), NVME_OK);
	first = a.cid;
	for (unsigned int i = 0; i < 6; i++) {
		struct nvme_cmd cmd = rw_cmd(NVME_IO_WRITE, i, 1, buf, 0);

		cmd.cdw12 |= 1u << 30; /* FUA: through the disk */
		host_put(&a, 1, &cmd);
	}
	host_ring(&a, 1);
	host_run(&a, 50);
	move();
	while (done < 6) {
		host_wait(&b, 1, &e);
		assert_in_range(e.cid, first, first + 5);
		assert_false(seen[e.cid - first]);
		seen[e.cid - first] = true;
		done++;
	}
	host_run(&b, 50);
	assert_false(host_poll(&b, 1, &e));
}

/* Commands at the disk when it is told to be quiet end before it is, with their data and interrupts. */
static void commands_at_the_disk_end_first(void **state)
{
	unsigned int n = 0;
	struct nvme_cqe e;

	host_io_queue(&a, 1, 64);
	for (unsigned int i = 0; i < 40; i++) {
		struct nvme_cmd cmd = rw_cmd(i % 2 ? NVME_IO_WRITE : NVME_IO_READ, 8 * i, 8, buf + i * MACHINE_PAGE, 0);

		cmd.cdw12 |= 1u << 30;
		host_put(&a, 1, &cmd);
	}
	host_ring(&a, 1);
	assert_false(list_empty(&ctrl(&a)->inflight));
	quiesce(&a);
	assert_true(list_empty(&ctrl(&a)->inflight));
	while (host_poll(&a, 1, &e))
		n++;
	assert_int_equal(n, 40);
	assert_true(a.m.irqs[1] > 0);
	assert_int_equal(((uint8_t *)host_ptr(&a, buf))[2 * MACHINE_PAGE + 5], disk_byte(16 * 512 + 5));
	assert_int_equal(block_inflight(ctrl(&a)->ns[0].blk), 0);
	pci_run(a.m.f);
	assert_int_equal(host_rw(&a, 1, NVME_IO_READ, 0, 1, buf), NVME_OK);
}

/* A write that a reset has left at the disk must not land after the state has gone. */
static void orphans_end_first(void **state)
{
	host_io_queue(&a, 1, 64);
	for (unsigned int i = 0; i < 40; i++) {
		struct nvme_cmd cmd = rw_cmd(NVME_IO_WRITE, 8 * i, 8, buf, 0);

		cmd.cdw12 |= 1u << 30;
		host_put(&a, 1, &cmd);
	}
	host_ring(&a, 1);
	host_disable(&a);
	assert_true(block_inflight(ctrl(&a)->ns[0].blk) > 0);
	quiesce(&a);
	assert_int_equal(block_inflight(ctrl(&a)->ns[0].blk), 0);
	pci_run(a.m.f);
}

static uint32_t get_feature(struct host *h, unsigned int fid)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_GET_FEATURES, .cdw10 = fid};
	uint32_t dw0;

	assert_int_equal(host_cmd(h, 0, &cmd, &dw0), NVME_OK);
	return dw0;
}

static void features_and_events_go_on(void **state)
{
	struct nvme_cmd coalescing = {.opcode = NVME_ADM_SET_FEATURES, .cdw10 = 8, .cdw11 = 0x1234};
	struct nvme_cmd config = {.opcode = NVME_ADM_SET_FEATURES, .cdw10 = 11, .cdw11 = 2};
	struct nvme_cmd cold = {.opcode = NVME_ADM_SET_FEATURES, .cdw10 = 4, .cdw11 = 100};
	struct nvme_cmd event = {.opcode = NVME_ADM_AER};
	struct nvme_cqe e;
	uint16_t cid[2];

	assert_int_equal(host_cmd(&a, 0, &coalescing, NULL), NVME_OK);
	assert_int_equal(host_cmd(&a, 0, &config, NULL), NVME_OK);
	cid[0] = host_put(&a, 0, &event);
	cid[1] = host_put(&a, 0, &event);
	host_ring(&a, 0);
	host_run(&a, 10);
	host_trap_doorbell(&a, 40, false, 1); /* an error of its own: to the first event request, and the log */
	e = wait_cqe(&a, 0);
	assert_int_equal(e.cid, cid[0]);
	move();
	assert_int_equal(get_feature(&b, 8), 0x1234);
	assert_int_equal(get_feature(&b, 11), 2);
	assert_int_equal(ctrl(&b)->error_count, ctrl(&a)->error_count);
	assert_memory_equal(ctrl(&b)->errors, ctrl(&a)->errors, sizeof(ctrl(&a)->errors));
	assert_string_equal(ctrl(&b)->serial, ctrl(&a)->serial);
	host_trap_doorbell(&b, 40, false, 1); /* still masked: its log page has not been read */
	host_run(&b, 10);
	assert_false(host_poll(&b, 0, &e));
	/* Warmer than 100 K: the event of another type goes to the second request. */
	host_put(&b, 0, &cold);
	host_ring(&b, 0);
	for (unsigned int i = 0, events = 0; i < 2; i++) {
		e = wait_cqe(&b, 0);
		events += e.cid == cid[1];
		assert_true(i == 0 || events == 1);
	}
}

/* A saved state, loaded, is saved as it was. */
static void save_load_save(void **state)
{
	static uint8_t again[BLOB_MAX];
	struct state first, second;
	struct state_in x, y;
	const char *same[] = {"pci.identity", "pci.config", "pci.pending",  "nvme.shape",  "nvme.registers",
			      "nvme.sq",      "nvme.cq",    "nvme.waiting", "nvme.events", "nvme.errors"};
	size_t len;

	host_io_queue(&a, 3, 17);
	host_io_queue(&a, 64, 4096);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(host_rw(&a, 3, NVME_IO_READ, i, 1, buf), NVME_OK);
	len = move();
	machine_stop(&b.m);
	assert_int_equal(machine_save(&b.m, again, BLOB_MAX), len);
	assert_int_equal(state_open(&first, blob, len, "nvme"), 0);
	assert_int_equal(state_open(&second, again, len, "nvme"), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(state_take(&first, same[i], 1, &x), 0);
		assert_int_equal(state_take(&second, same[i], 1, &y), 0);
		assert_int_equal(x.left, y.left);
		/* The destination's MSI-X is its own. */
		if (i != 1)
			assert_memory_equal(x.at, y.at, x.left);
	}
	assert_int_equal(pci_save_size(b.m.f), len);
}

/* Stopped: whatever is written to its registers, it reaches no memory and raises nothing. */
static void nothing_while_stopped(void **state)
{
	struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 1, buf, 0);
	struct dma_stats before;
	unsigned int irqs;

	host_io_queue(&a, 1, 8);
	machine_stop(&a.m);
	before = *dma_dev_stats(a.m.f->dma);
	irqs = a.m.irqs[0] + a.m.irqs[1];
	for (unsigned int i = 0; i < 3; i++)
		host_put(&a, 1, &cmd);
	host_ring(&a, 1);
	host_trap_doorbell(&a, 40, false, 1);
	host_trap_doorbell(&a, 1, true, 5);
	pci_msix_raise(a.m.f, 1);
	host_run(&a, 200);
	assert_memory_equal(dma_dev_stats(a.m.f->dma), &before, sizeof(before));
	assert_int_equal(a.m.irqs[0] + a.m.irqs[1], irqs);
	pci_run(a.m.f);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(wait_cqe(&a, 1).status >> 1, NVME_OK);
	assert_true(a.m.irqs[1] > irqs - a.m.irqs[0]);
}

/* ---- hostile ---- */

static uint32_t seed = 12345;

static uint32_t rnd(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void reseal(uint8_t *p, size_t len)
{
	uint32_t crc = state_crc(0, p, len - 32);

	memcpy(p + len - 8, &crc, 4);
}

/* A controller that works, whatever it has been given before. */
static void use(struct host *h)
{
	pci_run(h->m.f);
	for (unsigned int q = 0; q < 4; q++) {
		host_trap_doorbell(h, q, false, rnd() % 8);
		host_trap_doorbell(h, q, true, rnd() % 8);
	}
	host_run(h, 20);
	pci_func_reset(h->m.f);
	pci_cfg_write(h->m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void changed_states(void **state)
{
	static uint8_t bad[BLOB_MAX], before[BLOB_MAX], after[BLOB_MAX];
	unsigned int taken = 0, refused = 0;
	size_t len;

	host_io_queue(&a, 1, 9);
	host_io_queue(&a, 2, 64);
	len = move();
	pci_func_reset(b.m.f);
	for (unsigned int i = 0; i < 1500; i++) {
		memcpy(bad, blob, len);
		for (unsigned int n = 1 + rnd() % 3; n; n--) {
			size_t at = 32 + rnd() % (len - 32);

			/* Half of the changes to the first records of the controller, which hold most that matters. */
			if (rnd() % 2)
				at = 4400 + rnd() % 1200;
			bad[at % len] = rnd() % 3 ? (uint8_t)rnd() : (uint8_t)(rnd() % 2 ? 0xff : 0);
		}
		reseal(bad, len);
		machine_stop(&b.m);
		memset(before, 0, sizeof(before));
		memset(after, 0, sizeof(after));
		if (i % 50 == 0)
			machine_save(&b.m, before, BLOB_MAX);
		if (!pci_load(b.m.f, bad, len)) {
			taken++;
		} else {
			refused++;
			/* Nothing has changed but its age. */
			if (i % 50 == 0) {
				machine_save(&b.m, after, BLOB_MAX);
				assert_memory_equal(before + 32, after + 32, 4200);
			}
		}
		use(&b);
	}
	assert_true(taken > 100 && refused > 100);
	/* It still takes what is good. */
	move_host();
	machine_stop(&b.m);
	assert_int_equal(pci_load(b.m.f, blob, len), 0);
	pci_run(b.m.f);
	assert_int_equal(host_rw(&b, 1, NVME_IO_READ, 3, 1, buf), NVME_OK);
}

static void other_shapes(void **state)
{
	static const char *const options[] = {"queues=3", "mdts=3", "blocksize=4096", "readonly=on"};
	size_t len = move();

	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++) {
		struct host c;

		host_open_path(&c, a.path, options[i]);
		machine_stop(&c.m);
		assert_int_equal(pci_load(c.m.f, blob, len), -EINVAL);
		host_close(&c);
	}
}

/* ---- memory that is saved while the controller runs ---- */

#define CMB_PAGES 64

static void cmb_page(struct host *h, unsigned int page, uint8_t c)
{
	uint8_t data[PF_PAGE_SIZE];

	memset(data, c, sizeof(data));
	assert_int_equal(barmem_write(h->m.f->bar[2].mem, page * PF_PAGE_SIZE, data, sizeof(data)), 0);
}

static void assert_cmb(struct host *h, unsigned int page, uint8_t c)
{
	uint8_t data[PF_PAGE_SIZE], want[PF_PAGE_SIZE];

	memset(want, c, sizeof(want));
	assert_int_equal(barmem_read(h->m.f->bar[2].mem, page * PF_PAGE_SIZE, data, sizeof(data)), 0);
	assert_memory_equal(data, want, sizeof(data));
}

/* Steps until nothing is left; returns how many pages they appended. */
static unsigned int steps(struct precopy *p, const struct state_out *o)
{
	size_t before = o->len;

	while (precopy_step(p))
		;
	return (o->len - before) / sizeof(struct state_page);
}

static void early_memory(void **state)
{
	struct state_out o;
	struct precopy *p;

	for (unsigned int i = 0; i < CMB_PAGES; i++)
		cmb_page(&b, i, 0xee); /* what was there before */
	for (unsigned int i = 0; i < CMB_PAGES / 2; i++)
		cmb_page(&a, i, i + 1);
	state_out_init(&o, false);
	pci_save_identity(a.m.f, &o);
	p = precopy_new(a.m.f, &o);
	assert_non_null(p);
	precopy_begin(p);
	assert_in_range(o.len, CMB_PAGES / 2 * sizeof(struct state_page), CMB_PAGES * sizeof(struct state_page));
	assert_int_equal(precopy_dirty(p), 0);
	assert_int_equal(steps(p, &o), 0);
	/* Changed, made zero, new; and changed back to what it was in the beginning. */
	cmb_page(&a, 3, 77);
	cmb_page(&a, 4, 0);
	cmb_page(&a, 50, 50);
	cmb_page(&a, 5, 99);
	assert_int_equal(precopy_dirty(p), 4 * sizeof(struct state_page));
	assert_int_equal(steps(p, &o), 4);
	cmb_page(&a, 5, 6);
	assert_int_equal(steps(p, &o), 1);
	assert_int_equal(steps(p, &o), 0);
	/* Not to be seen before it has stopped. */
	cmb_page(&a, 4, 44);
	cmb_page(&a, 50, 0);
	machine_stop(&a.m);
	assert_int_equal(pci_save_after(a.m.f, &o, p), 0);
	precopy_free(p);
	move_host();
	machine_stop(&b.m);
	assert_int_equal(pci_load(b.m.f, o.buf, o.len), 0);
	pci_run(b.m.f);
	for (unsigned int i = 0; i < CMB_PAGES; i++)
		assert_cmb(&b, i, i == 3 ? 77 : i == 4 ? 44 : i < CMB_PAGES / 2 ? i + 1 : 0);
	state_out_fini(&o);
}

/* A client that changes everything all the time gets to an end, and the reader takes what it has got. */
static void endless_changes(void **state)
{
	struct state_out o;
	struct precopy *p;
	unsigned int n = 0;

	state_out_init(&o, false);
	pci_save_identity(a.m.f, &o);
	p = precopy_new(a.m.f, &o);
	assert_non_null(p);
	precopy_begin(p);
	do
		for (unsigned int i = 0; i < CMB_PAGES; i++)
			cmb_page(&a, i, 1 + n % 200 + i % 3);
	while (precopy_step(p) && n++ < 10000);
	assert_true(n > 1 && n < 1000);
	assert_int_equal(precopy_dirty(p), 0);
	machine_stop(&a.m);
	assert_int_equal(pci_save_after(a.m.f, &o, p), 0);
	precopy_free(p);
	assert_true(o.len <= pci_save_max(a.m.f));
	machine_stop(&b.m);
	assert_int_equal(pci_load(b.m.f, o.buf, o.len), 0);
	for (unsigned int i = 0; i < CMB_PAGES; i++)
		assert_cmb(&b, i, 1 + n % 200 + i % 3);
	state_out_fini(&o);
}

/* What no saver writes. */
static int load_early(uint64_t bar, uint64_t off, size_t len, unsigned int version, unsigned int flags, unsigned int n)
{
	static const uint8_t page[PF_PAGE_SIZE + 8];
	struct state_out o;
	int err;

	state_out_init(&o, false);
	pci_save_identity(a.m.f, &o);
	while (n--) {
		state_begin(&o, STATE_EARLY, version, flags);
		state_put_u64(&o, bar);
		state_put_u64(&o, off);
		state_put(&o, page, len);
		state_end(&o);
	}
	assert_int_equal(pci_save(a.m.f, &o), 0);
	err = pci_load(b.m.f, o.buf, o.len);
	state_out_fini(&o);
	return err;
}

static void hostile_early_memory(void **state)
{
	uint64_t size = a.m.f->bar[2].size;

	machine_stop(&a.m);
	machine_stop(&b.m);
	cmb_page(&b, 1, 0x42);
	assert_int_equal(load_early(0, 0, PF_PAGE_SIZE, 1, STATE_REPEATED, 1), -EINVAL); /* registers */
	assert_int_equal(load_early(5, 0, PF_PAGE_SIZE, 1, STATE_REPEATED, 1), -EINVAL); /* none */
	assert_int_equal(load_early(6, 0, PF_PAGE_SIZE, 1, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(UINT64_MAX, 0, PF_PAGE_SIZE, 1, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(2, size, PF_PAGE_SIZE, 1, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(2, 8, PF_PAGE_SIZE, 1, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(2, 0, PF_PAGE_SIZE - 8, 1, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(2, 0, PF_PAGE_SIZE + 8, 1, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(2, 0, PF_PAGE_SIZE, 2, STATE_REPEATED, 1), -EINVAL);
	assert_int_equal(load_early(2, 0, PF_PAGE_SIZE, 1, 0, 2), -EINVAL); /* twice, and does not say so */
	assert_int_equal(load_early(2, 0, PF_PAGE_SIZE, 1, STATE_REPEATED, STATE_RECORDS), -EINVAL);
	assert_cmb(&b, 1, 0x42);
	assert_int_equal(load_early(2, 0, PF_PAGE_SIZE, 1, STATE_REPEATED, 3), 0);
	assert_cmb(&b, 1, 0);
}

int main(void)
{
#define T(f, options) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)(options))
	const struct CMUnitTest tests[] = {
	    T(queued_commands_go_on, ""),
	    T(waiting_completions_go_on, ""),
	    T(waiting_completions_go_on, "aio=threads"),
	    T(commands_at_the_disk_end_first, ""),
	    T(commands_at_the_disk_end_first, "aio=threads"),
	    T(orphans_end_first, "aio=threads"),
	    T(features_and_events_go_on, ""),
	    T(save_load_save, ""),
	    T(nothing_while_stopped, ""),
	    T(changed_states, ""),
	    T(other_shapes, ""),
	    T(early_memory, "cmb-size=256K"),
	    T(endless_changes, "cmb-size=256K"),
	    T(hostile_early_memory, "cmb-size=256K"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
