/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A card's state goes to another one, with memory copied beside it: rings, what is counted and what pends go on there;
 * and no state whatever makes the other one do more than fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "devices/igb/igb.h"
#include "host.h"
#include "pci/migrate.h"
#include "pci/sriov.h"

#define BLOB_MAX (64u << 10)

static struct host a, b;
static struct ring t, r; /* of a; after move(), of b */
static uint8_t blob[BLOB_MAX];

static int setup(void **state)
{
	host_open(&a, "");
	host_open_net(&b, "loopback", "");
	link_up(&a);
	rd(&a, IGB_ICR);
	tx_open(&t, &a, 1, 64);
	rx_open(&r, &a, 2, 64, 2);
	wr(&a, IGB_MRQC, 2 << 3);
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
	t.h = r.h = &b;
	t.desc = (union igb_desc *)host_ptr(&b, t.base);
	r.desc = (union igb_desc *)host_ptr(&b, r.base);
	/* Loaded, it does nothing before it is told to. */
	b.m.written = 0;
	host_settle(&b);
	assert_int_equal(b.m.written, 0);
	pci_run(b.m.f);
	host_settle(&b);
}

static void registers_go_along(void **state)
{
	wr(&a, IGB_VFTA + 40, 0x12345678);
	wr(&a, IGB_IVAR + 8, 0x81828384);
	wr(&a, IGB_RAL + 8, 0xaabbccdd);
	wr(&a, IGB_EIMS, 0xffff);
	move();
	assert_int_equal(rd(&b, IGB_VFTA + 40), 0x12345678);
	assert_int_equal(rd(&b, IGB_IVAR + 8), 0x81828384);
	assert_int_equal(rd(&b, IGB_RAL + 8), 0xaabbccdd);
	assert_int_equal(rd(&b, IGB_RAL), rd(&a, IGB_RAL));
	assert_int_equal(rd(&b, IGB_RCTL), rd(&a, IGB_RCTL));
	assert_int_equal(rd(&b, ring_reg(&t, IGB_TDBAL)), (uint32_t)t.base);
	assert_int_equal(rd(&b, ring_reg(&r, IGB_RDT)), 63);
	assert_true(rd(&b, IGB_STATUS) & IGB_STATUS_LU);
}

/* What waited for room at one cable goes through the other one. */
static void frames_go_on(void **state)
{
	a.far.room = 3;
	for (unsigned int i = 0; i < 10; i++)
		tx_put(&t, frame_put(&a, 100 + i, i), 100 + i, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(a.far.frames, 3);
	assert_int_equal(far_send(&a, 200, 9), NET_TAKEN);
	move();
	for (unsigned int i = 0; i < 10; i++)
		assert_non_null(ring_seen(&t));
	assert_int_equal(a.far.frames, 3);
	assert_int_equal(ring_seen(&r)->d[3], 200);
	for (unsigned int i = 3; i < 10; i++) {
		uint8_t want[200];

		frame_make(want, 100 + i, i);
		assert_int_equal(ring_seen(&r)->d[3], 100 + i);
		assert_memory_equal(rx_data(&r, i - 2), want, 100 + i);
	}
	assert_int_equal(rd(&b, IGB_STAT_GPTC), 10);
	assert_int_equal(rd(&b, IGB_STAT_GPRC), 8);
	assert_int_equal(b.misuses, 0);
}

static void rung_while_quiet(void **state)
{
	assert_int_equal(pci_quiesce(a.m.f), 0);
	tx_put(&t, frame_put(&a, 100, 1), 100, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(far_send(&a, 200, 9), NET_FULL);
	host_settle(&a);
	assert_int_equal(a.far.frames, 0);
	pci_run(a.m.f);
	host_settle(&a);
	assert_int_equal(a.far.frames, 1);
	assert_int_equal(a.far.writables, 1);
	assert_int_equal(far_send(&a, 200, 9), NET_TAKEN);
}

static void virtual_functions_stay(void **state)
{
	host_close(&b);
	host_open_net(&b, "loopback", "vfs=1");
	assert_int_equal(pci_quiesce(b.m.f), -EOPNOTSUPP);
	b.m.f->sriov->vf[0]->ops->destroy(b.m.f->sriov->vf[0]);
}

/* Whatever byte is wrong: it is refused, or it is a state that the card can be in. */
static void any_byte(void **state)
{
	size_t len;

	tx_put(&t, frame_put(&a, 100, 1), 100, CMD_ONE);
	machine_stop(&a.m);
	len = machine_save(&a.m, blob, BLOB_MAX);
	machine_stop(&b.m);
	for (size_t i = 0; i < len; i += 3) {
		uint8_t was = blob[i];

		blob[i] ^= (uint8_t)(1 + i % 255);
		pci_load(b.m.f, blob, len);
		blob[i] = was;
	}
	for (size_t n = 0; n < len; n += 7)
		assert_int_equal(pci_load(b.m.f, blob, n), -EINVAL);
	assert_int_equal(pci_load(b.m.f, blob, len), 0);
}

/* Past the checksum. */
static void records(void **state)
{
	struct igb *d = container_of(a.m.f, struct igb, f);
	struct state_out o;
	struct state s;

	machine_stop(&a.m);
	machine_stop(&b.m);
	for (unsigned int i = 0; i < 6; i++) {
		struct igb_ring was = d->txq[1].r;

		switch (i) {
		case 0:
			d->txq[1].r.head = 64;
			break;
		case 1:
			d->txq[1].r.tail = 70000;
			break;
		case 2:
			d->txq[1].r.base++;
			break;
		case 3:
			d->txq[1].r.len = 2 * IGB_RING_BYTES;
			break;
		case 4:
			d->txq[1].r.unread = 64;
			break;
		default:
			break;
		}
		state_out_init(&o, false);
		state_start(&o, "igb");
		igb_save(a.m.f, &o);
		assert_int_equal(state_finish(&o), 0);
		assert_int_equal(state_open(&s, o.buf, o.len, "igb"), 0);
		assert_int_equal(igb_load(b.m.f, &s), i == 5 ? 0 : -EINVAL);
		state_out_fini(&o);
		d->txq[1].r = was;
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(registers_go_along),	  TEST(frames_go_on), TEST(rung_while_quiet),
	    TEST(virtual_functions_stay), TEST(any_byte),     TEST(records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
