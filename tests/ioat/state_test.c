/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine's state goes to another one, with memory copied beside it: chains, half-done descriptors, what pends and
 * what is owed go on there, once; and no state whatever makes the other one do more than fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "devices/ioat/ioat.h"
#include "host.h"
#include "pci/migrate.h"

#define BLOB_MAX (64u << 10)

static struct host a, b;
static struct ring r; /* of a; after move(), of b */
static uint64_t src, dst;
static uint8_t blob[BLOB_MAX];

static int setup(void **state)
{
	host_open(&a, "channels=2");
	host_open(&b, "channels=2");
	ring_open(&r, &a, 1, 16);
	src = host_alloc(&a, 1 << 20, MACHINE_PAGE);
	dst = host_alloc(&a, 1 << 20, MACHINE_PAGE);
	for (unsigned int i = 0; i < 1 << 20; i++)
		host_ptr(&a, src)[i] = (uint8_t)(i * 13 + (i >> 8));
	return 0;
}

static int teardown(void **state)
{
	host_close(&b);
	host_close(&a);
	return 0;
}

/* From a to b, as a VMM does it. */
static void move(void)
{
	size_t len;

	machine_stop(&a.m);
	len = machine_save(&a.m, blob, BLOB_MAX);
	memcpy(b.m.mem, a.m.mem, HOST_MEM);
	b.next = a.next;
	machine_stop(&b.m);
	assert_int_equal(pci_load(b.m.f, blob, len), 0);
	r.h = &b;
	/* Loaded, it does nothing before it is told to. */
	a.m.written = b.m.written = 0;
	for (unsigned int i = 0; i < 5; i++)
		loop_step(b.m.loop, false);
	assert_int_equal(b.m.written, 0);
	pci_run(b.m.f);
}

/* Every byte is moved by one of the two, and none by both. */
static void half_done(void **state)
{
	uint64_t moved;

	for (unsigned int i = 0; i < 4; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_put(&r, CTL_FILL, 0x1122334455667788, dst + 5, 200001);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	moved = a.m.written;
	move();
	assert_int_equal(a.m.written, 0);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_in_range(moved + b.m.written, (4 << 20) + 200001, (4 << 20) + 200001 + 5 * 8);
	for (unsigned int i = 0; i < 200001; i++)
		assert_int_equal(host_ptr(&b, dst + 5)[i], 0x88 - i % 8 * 0x11);
	assert_memory_equal(host_ptr(&b, dst) + 200006, host_ptr(&b, src) + 200006, (1 << 20) - 200006);
	assert_int_equal(ring_written(&r), ring_iova(&r, 4) | IOAT_IDLE);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
}

/* A doorbell that was rung while the engine was quiet. */
static void rung_while_quiet(void **state)
{
	assert_int_equal(pci_quiesce(a.m.f), 0);
	a.m.written = 0;
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	for (unsigned int i = 0; i < 5; i++)
		loop_step(a.m.loop, false);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	assert_int_equal(a.m.written, 0);
	pci_run(a.m.f);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_memory_equal(host_ptr(&a, dst), host_ptr(&a, src), 64);
	assert_int_equal(pci_quiesce(a.m.f), 0);
	memset(host_ptr(&a, dst), 0, 64);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	move();
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_memory_equal(host_ptr(&b, dst), host_ptr(&b, src), 64);
}

/* An error that software causes while the engine is quiet is written when it goes on. */
static void owed_while_quiet(void **state)
{
	host_write(&a, chan_reg(1, IOAT_CHANCTRL), 2, IOAT_CHANCTRL_ERR_COMP | IOAT_CHANCTRL_ERR_INT);
	host_write(&a, IOAT_INTRCTRL, 1, IOAT_INTRCTRL_MSIX);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
	assert_int_equal(pci_quiesce(a.m.f), 0);
	host_write(&a, chan_reg(1, IOAT_CHANCMD), 1, 0xff);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	assert_int_equal(ring_written(&r), r.base | IOAT_IDLE);
	move();
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_CHANCMD);
	assert_int_equal(ring_written(&r), r.base | IOAT_HALTED);
}

static void registers_go_along(void **state)
{
	uint64_t regs[2][16];

	host_write(&a, IOAT_INTRCTRL, 1, IOAT_INTRCTRL_MSIX);
	host_write(&a, IOAT_INTRDELAY, 2, 0x123);
	host_write(&a, chan_reg(0, IOAT_CHANCMP), 8, 0x1234567890abcdef);
	host_write(&a, chan_reg(0, IOAT_ERRMASK), 4, 0x30000);
	ring_put(&r, CTL_COPY | IOAT_CTL_INT, src, dst, 64);
	ring_put(&r, 0xff000000, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_HALTED);
	move();
	/* Attention is cleared by reading: by the one, then the other. */
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int k = 0; k < 16; k++)
			regs[i][k] = host_read(i ? &b : &a, chan_reg(k / 8, k % 8 * 8), 8);
	assert_memory_equal(regs[0], regs[1], sizeof(regs[0]));
	assert_int_equal(host_read(&b, IOAT_INTRDELAY, 2), 0x123);
	assert_int_equal(host_read(&b, IOAT_ATTNSTATUS, 4), 2);
	assert_int_equal(host_read(&b, IOAT_INTRCTRL, 1), IOAT_INTRCTRL_MSIX);
	assert_int_equal(pci_cfg_read(b.m.f, IOAT_CFG_CHANERR_INT, 4), IOAT_ERR_CONTROL);
}

static void save_load_save(void **state)
{
	static uint8_t again[BLOB_MAX];
	size_t len;

	for (unsigned int i = 0; i < 4; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_ring(&r);
	machine_stop(&a.m);
	machine_stop(&b.m);
	len = machine_save(&a.m, blob, BLOB_MAX);
	assert_int_equal(pci_load(b.m.f, blob, len), 0);
	assert_int_equal(machine_save(&b.m, again, BLOB_MAX), len);
	assert_memory_equal(blob, again, len);
}

static void other_shapes(void **state)
{
	static const char *const others[] = {"", "channels=3", "channels=2,xfercap=21", "channels=2,model=icx"};
	size_t len;

	machine_stop(&a.m);
	len = machine_save(&a.m, blob, BLOB_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		host_close(&b);
		host_open(&b, others[i]);
		machine_stop(&b.m);
		assert_int_equal(pci_load(b.m.f, blob, len), -EINVAL);
	}
}

/* ---- hostile ones ---- */
static uint32_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* What an engine's own channel never is. */
static void assert_sound(const struct ioat *d)
{
	for (unsigned int i = 0; i < d->nchans; i++) {
		const struct ioat_chan *c = &d->chan[i];

		assert_true(c->state <= IOAT_ARMED);
		assert_true(c->state == IOAT_ACTIVE || list_empty(&c->node));
		assert_true(c->state != IOAT_ACTIVE || c->busy || c->done != c->count);
		assert_true(c->state != IOAT_IDLE || c->done == c->count);
		assert_true(!c->busy || (c->moved <= c->desc.size && !ioat_op_error(&c->desc, d->xfercap)));
	}
}

/* Bytes changed at random under a right checksum: refused with nothing changed, or an engine that works. */
static void changed_states(void **state)
{
	static uint8_t bad[BLOB_MAX], before[BLOB_MAX], after[BLOB_MAX];
	unsigned int refused = 0, accepted = 0;
	size_t len;
	uint32_t crc;

	for (unsigned int i = 0; i < 4; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_ring(&r);
	machine_stop(&a.m);
	len = machine_save(&a.m, blob, BLOB_MAX);
	for (unsigned int i = 0; i < 20000; i++) {
		int err;

		memcpy(bad, blob, len);
		for (unsigned int n = 1 + rnd() % 3; n; n--)
			bad[rnd() % len] = rnd() % 4 ? 1 << rnd() % 8 : rnd();
		crc = state_crc(0, bad, len - 32);
		memcpy(bad + len - 8, &crc, sizeof(crc));
		if (b.m.f->run == PCI_RUNNING)
			machine_stop(&b.m);
		if (i % 64 == 0)
			machine_save(&b.m, before, BLOB_MAX);
		err = pci_load(b.m.f, bad, len);
		if (err) {
			assert_int_equal(err, -EINVAL);
			if (i % 64 == 0) {
				machine_save(&b.m, after, BLOB_MAX);
				assert_memory_equal(before, after, len);
			}
			refused++;
			continue;
		}
		accepted++;
		assert_sound(container_of(b.m.f, struct ioat, f));
		pci_run(b.m.f);
		loop_step(b.m.loop, false);
		pci_cfg_write(b.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		for (unsigned int chan = 0; chan < 2; chan++) {
			host_write(&b, chan_reg(chan, IOAT_DMACOUNT), 2, rnd() % 8);
			host_write(&b, chan_reg(chan, IOAT_CHANCMD), 1, IOAT_CHANCMD_RESET);
			assert_int_equal(host_read(&b, chan_reg(chan, IOAT_CHANSTS), 8), IOAT_HALTED);
		}
	}
	assert_true(refused > 100 && accepted > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(half_done, setup, teardown),
	    cmocka_unit_test_setup_teardown(rung_while_quiet, setup, teardown),
	    cmocka_unit_test_setup_teardown(owed_while_quiet, setup, teardown),
	    cmocka_unit_test_setup_teardown(registers_go_along, setup, teardown),
	    cmocka_unit_test_setup_teardown(save_load_save, setup, teardown),
	    cmocka_unit_test_setup_teardown(other_shapes, setup, teardown),
	    cmocka_unit_test_setup_teardown(changed_states, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
