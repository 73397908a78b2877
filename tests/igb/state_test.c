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
#include "pci/inject.h"
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

static void eecd(struct host *h, uint32_t lines)
{
	wr(h, IGB_EECD, IGB_EECD_REQ | lines);
}

/* Bits into the EEPROM, or out of it. */
static uint32_t shift(struct host *h, uint32_t val, unsigned int bits)
{
	uint32_t out = 0;

	while (bits--) {
		uint32_t di = (val >> bits & 1) << 2;

		eecd(h, di);
		eecd(h, di | 1);
		out = out << 1 | (rd(h, IGB_EECD) >> 3 & 1);
		eecd(h, di);
	}
	return out;
}

static uint16_t nvm_word(struct host *h, uint32_t at)
{
	wr(h, IGB_EERD, at << 2 | IGB_EERD_START);
	return rd(h, IGB_EERD) >> 16;
}

/* What has been written to the EEPROM, and what is being read of it. */
static void eeprom_goes_along(void **state)
{
	eecd(&a, 2);
	shift(&a, 6, 8);
	eecd(&a, 2);
	shift(&a, 2, 8);
	shift(&a, 0x200, 16);
	shift(&a, 0x5634, 16);
	eecd(&a, 2);
	assert_int_equal(nvm_word(&a, 0x100), 0x3456);
	shift(&a, 3, 8);
	shift(&a, 0x200, 16);
	assert_int_equal(shift(&a, 0, 4), 5);
	move();
	assert_int_equal(shift(&b, 0, 12), 0x634);
	assert_int_equal(nvm_word(&b, 0x100), 0x3456);
	assert_int_equal(nvm_word(&b, 0), nvm_word(&a, 0));
}

static void clock_and_filters_go_along(void **state)
{
	uint64_t time;

	wr(&a, IGB_SYSTIM, 0x9abcdef0);
	wr(&a, IGB_SYSTIM + 4, 0x12345678);
	wr(&a, IGB_TSYNCTXCTL, IGB_TSYNC_ENABLE);
	tx_put(&t, frame_put(&a, 60, 1), 60, CMD_ONE | IGB_TXD_STAMP);
	ring_ring(&t);
	wr(&a, IGB_ETQF, IGB_ETQF_ENABLE | IGB_ETQF_QUEUE_ENABLE | 2 << 16 | 0x88b5);
	wr(&a, IGB_MRQC, 0);
	move();
	time = rd(&b, IGB_SYSTIM);
	assert_true((time | (uint64_t)rd(&b, IGB_SYSTIM + 4) << 32) == 0x123456789abcdef0);
	assert_true(rd(&b, IGB_TSYNCTXCTL) & IGB_TSYNC_VALID);
	assert_int_equal(rd(&b, IGB_TXSTMP), 0x9abcdef0);
	assert_int_equal(rd(&b, IGB_TXSTMP + 4), 0x12345678);
	/* What is sent comes back, to the queue that its type has. */
	tx_put(&t, frame_put(&b, 60, 1), 60, CMD_ONE);
	ring_ring(&t);
	host_settle(&b);
	assert_non_null(ring_seen(&r));
}

/* A completion that is held back comes before the card stops. */
static void nothing_is_held_back(void **state)
{
	static struct inject_host nobody;
	struct inject_spec s = {.kind = INJECT_DELAY,
				.bdf = INJECT_ANY,
				.chance = INJECT_ALWAYS,
				.times = 1,
				.queue = IGB_QUEUES + 1,
				.vector = INJECT_ANY,
				.lasting = 1000000000000};

	assert_int_equal(inject_add(a.m.f, &s, 1, a.m.loop, &nobody), 0);
	tx_put(&t, frame_put(&a, 60, 1), 60, CMD_ONE);
	ring_ring(&t);
	assert_null(ring_seen(&t));
	move();
	assert_non_null(ring_seen(&t));
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
	    TEST(registers_go_along),	  TEST(eeprom_goes_along), TEST(clock_and_filters_go_along),
	    TEST(nothing_is_held_back),	  TEST(frames_go_on),	   TEST(rung_while_quiet),
	    TEST(virtual_functions_stay), TEST(any_byte),	   TEST(records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
