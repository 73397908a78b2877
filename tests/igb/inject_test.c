/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults on purpose: what the card makes of them, and that it goes on afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "devices/igb/igb.h"
#include "host.h"
#include "pci/inject.h"

#define TX(q) (IGB_QUEUES + (q))

static struct host h;
static struct ring tx, rx;
static struct inject_host nobody;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	tx_open(&tx, &h, 1, 16);
	rx_open(&rx, &h, 0, 16, 2);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static struct inject_spec spec(enum inject_kind kind, int queue)
{
	return (struct inject_spec){
	    .kind = kind, .bdf = INJECT_ANY, .chance = INJECT_ALWAYS, .times = 1, .queue = queue, .vector = INJECT_ANY};
}

static void add(struct inject_spec s, unsigned int id)
{
	assert_int_equal(inject_add(h.m.f, &s, id, h.m.loop, &nobody), 0);
}

static void send(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		tx_put(&tx, frame_put(&h, 60 + i, i), 60 + i, CMD_ONE);
	ring_ring(&tx);
	host_settle(&h);
}

static void stuck_sending(void **state)
{
	struct inject_spec s = spec(INJECT_STUCK_QUEUE, TX(1));

	s.after = 2;
	add(s, 1);
	send(5);
	assert_int_equal(h.far.frames, 2);
	assert_non_null(ring_seen(&tx));
	assert_non_null(ring_seen(&tx));
	assert_null(ring_seen(&tx));
	/* Another tail does not help; taking the fault back does. */
	send(1);
	assert_int_equal(h.far.frames, 2);
	assert_true(inject_drop(h.m.f, 1));
	host_settle(&h);
	assert_int_equal(h.far.frames, 6);
	for (unsigned int i = 0; i < 4; i++)
		assert_non_null(ring_seen(&tx));
}

static void stuck_until_enabled_anew(void **state)
{
	add(spec(INJECT_STUCK_QUEUE, TX(1)), 1);
	send(1);
	assert_int_equal(h.far.frames, 0);
	wr(&h, ring_reg(&tx, IGB_TXDCTL), 0);
	tx_open(&tx, &h, 1, 16);
	send(1);
	assert_int_equal(h.far.frames, 1);
}

static void stuck_receiving(void **state)
{
	add(spec(INJECT_STUCK_QUEUE, 0), 1);
	/* A frame waits, as it does for descriptors, and another queue does not. */
	assert_int_equal(far_send(&h, 100, 1), NET_FULL);
	assert_null(ring_seen(&rx));
	send(1);
	assert_int_equal(h.far.frames, 1);
	assert_true(inject_drop(h.m.f, 1));
	host_settle(&h);
	assert_true(h.far.writables);
	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	assert_non_null(ring_seen(&rx));
}

static void stuck_drops_where_frames_are_dropped(void **state)
{
	wr(&h, ring_reg(&rx, IGB_SRRCTL), 2 | IGB_RX_ADVANCED << 25 | IGB_SRRCTL_DROP);
	add(spec(INJECT_STUCK_QUEUE, 0), 1);
	assert_int_equal(far_send(&h, 100, 1), NET_DROPPED);
	assert_int_equal(rd(&h, ring_reg(&rx, IGB_RQDPC)), 1);
}

static void wait_for(struct ring *r)
{
	for (unsigned int i = 0; i < 10000 && !ring_seen(r); i++)
		loop_step(h.m.loop, true);
}

static void late_sending(void **state)
{
	struct inject_spec s = spec(INJECT_DELAY, TX(1));

	s.after = 1;
	s.lasting = 200000000;
	add(s, 1);
	send(3);
	/* What came before is reported, the second one has gone but nobody is told, and the third has to wait. */
	assert_int_equal(h.far.frames, 2);
	assert_non_null(ring_seen(&tx));
	assert_null(ring_seen(&tx));
	assert_int_equal(rd(&h, ring_reg(&tx, IGB_TDH)), 1);
	wait_for(&tx);
	assert_int_equal(tx.seen, 2);
	host_settle(&h);
	assert_int_equal(h.far.frames, 3);
	assert_non_null(ring_seen(&tx));
	assert_int_equal(h.misuses, 0);
}

static void late_receiving(void **state)
{
	struct inject_spec s = spec(INJECT_DELAY, 0);

	s.lasting = 200000000;
	add(s, 1);
	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	assert_null(ring_seen(&rx));
	assert_int_equal(far_send(&h, 100, 2), NET_FULL);
	wait_for(&rx);
	assert_int_equal(rx.seen, 1);
	assert_int_equal(far_send(&h, 100, 2), NET_TAKEN);
}

static void late_and_disabled(void **state)
{
	struct inject_spec s = spec(INJECT_DELAY, TX(1));

	s.lasting = 1000000000000;
	add(s, 1);
	send(1);
	assert_null(ring_seen(&tx));
	wr(&h, ring_reg(&tx, IGB_TXDCTL), 0);
	assert_non_null(ring_seen(&tx));
	tx_open(&tx, &h, 1, 16);
	send(1);
	assert_non_null(ring_seen(&tx));
}

static void late_and_reset(void **state)
{
	struct inject_spec s = spec(INJECT_DELAY, TX(1));

	s.lasting = 1000000000000;
	add(s, 1);
	send(1);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	host_settle(&h);
	assert_null(ring_seen(&tx));
	link_up(&h);
	tx_open(&tx, &h, 1, 16);
	send(1);
	assert_non_null(ring_seen(&tx));
}

static void wrong_address_sending(void **state)
{
	struct inject_spec s = spec(INJECT_WRONG_DMA, TX(1));

	s.has_addr = true;
	s.addr = NOWHERE;
	s.after = 1;
	add(s, 1);
	send(3);
	/* The frame is as good as gone, the descriptor is as it was. */
	assert_int_equal(h.far.frames, 2);
	assert_non_null(strstr(h.m.fault_line, "fault addr 0x40000000 (61 bytes), TX queue 1 descriptor 1 data"));
	assert_int_not_equal(tx.desc[1].q[0], NOWHERE);
	assert_int_equal(h.misuses, 0);
	assert_non_null(ring_seen(&tx));
	assert_non_null(ring_seen(&tx));
	assert_non_null(ring_seen(&tx));
}

static void wrong_address_receiving(void **state)
{
	struct inject_spec s = spec(INJECT_WRONG_DMA, 0);

	s.has_addr = true;
	s.addr = rx.buffers + 3 * rx.buffer_size;
	add(s, 1);
	assert_int_equal(far_send(&h, 100, 3), NET_TAKEN);
	assert_non_null(ring_seen(&rx));
	assert_int_equal(rx_data(&rx, 0)[0], 0);
	assert_int_equal(rx_data(&rx, 3)[0], 2);
	assert_int_equal(far_send(&h, 100, 3), NET_TAKEN);
	assert_int_equal(rx_data(&rx, 1)[0], 2);
}

static const union igb_desc *receive_spoiled(enum inject_field field, unsigned int id)
{
	struct inject_spec s = spec(INJECT_CORRUPT, 0);

	s.field = field;
	s.seed = 4;
	add(s, id);
	assert_int_equal(far_send(&h, 100, 3), NET_TAKEN);
	return &rx.desc[rx.seen];
}

static void corrupt_receiving(void **state)
{
	const union igb_desc *t = receive_spoiled(INJECT_FIELD_STATUS, 1);

	assert_int_equal(t->d[2] & (IGB_RXD_DD | IGB_RXD_EOP), IGB_RXD_DD | IGB_RXD_EOP);
	assert_true(t->d[2] & (IGB_RXD_L4E | IGB_RXD_IPE));
	assert_int_equal(t->d[3] & 0xffff, 100);
	assert_non_null(ring_seen(&rx));
	t = receive_spoiled(INJECT_FIELD_RESULT, 2);
	assert_int_equal(t->d[2], IGB_RXD_DD | IGB_RXD_EOP);
	assert_int_not_equal(t->d[3] & 0xffff, 100);
	assert_non_null(ring_seen(&rx));
	/* Said of another descriptor. */
	t = receive_spoiled(INJECT_FIELD_ID, 3);
	assert_false(t->d[2] & IGB_RXD_DD);
	for (t = rx.desc; t < rx.desc + 16; t++)
		if (t - rx.desc > 2 && t->d[2] & IGB_RXD_DD)
			break;
	assert_true(t < rx.desc + 16);
	/* And then all is well again. */
	assert_int_equal(far_send(&h, 100, 3), NET_TAKEN);
	assert_int_equal(rx.desc[3].d[3] & 0xffff, 100);
}

static void corrupt_receiving_legacy(void **state)
{
	const union igb_desc *t;

	wr(&h, ring_reg(&rx, IGB_SRRCTL), 2);
	t = receive_spoiled(INJECT_FIELD_STATUS, 1);
	assert_int_equal(t->d[3] & 3, 3);
	assert_true(t->d[3] & 0x6000);
	assert_non_null(memchr(&t->d[3], 0x63, 1));
	t = receive_spoiled(INJECT_FIELD_ID, 2) + 1;
	assert_false(t->d[3] & 1);
}

static void corrupt_sending(void **state)
{
	struct inject_spec s = spec(INJECT_CORRUPT, TX(1));

	add(s, 1);
	/* The first one that asks for a report has one that does not come. */
	tx_put(&tx, frame_put(&h, 60, 1), 60, CMD_ONE & ~IGB_TXD_RS);
	tx_put(&tx, frame_put(&h, 60, 1), 60, CMD_ONE);
	tx_put(&tx, frame_put(&h, 60, 1), 60, CMD_ONE);
	ring_ring(&tx);
	assert_int_equal(h.far.frames, 3);
	assert_false(tx.desc[1].d[3] & IGB_TXD_DD);
	assert_true(tx.desc[2].d[3] & IGB_TXD_DD);
	s.field = INJECT_FIELD_ID;
	add(s, 2);
	memset(tx.desc + 4, 0, 12 * sizeof(*tx.desc));
	tx_put(&tx, frame_put(&h, 60, 1), 60, CMD_ONE);
	ring_ring(&tx);
	assert_int_equal(h.far.frames, 4);
	assert_false(tx.desc[3].d[3] & IGB_TXD_DD);
}

static void corrupt_head(void **state)
{
	uint64_t at = host_alloc(&h, 64, 64);

	wr(&h, ring_reg(&tx, IGB_TDWBAL), (uint32_t)at | IGB_TDWBAL_HEAD);
	wr(&h, ring_reg(&tx, IGB_TDWBAH), at >> 32);
	add(spec(INJECT_CORRUPT, TX(1)), 1);
	send(1);
	assert_int_not_equal(*(uint32_t *)host_ptr(&h, at), 1);
	assert_true(*(uint32_t *)host_ptr(&h, at) < 16);
	send(1);
	assert_int_equal(*(uint32_t *)host_ptr(&h, at), 2);
}

static void lost_frames(void **state)
{
	struct inject_spec s = spec(INJECT_LOST_FRAME, TX(1));

	s.after = 1;
	add(s, 1);
	send(3);
	assert_int_equal(h.far.frames, 2);
	assert_int_equal(rd(&h, IGB_STAT_GPTC), 3);
	assert_non_null(ring_seen(&tx));
	assert_non_null(ring_seen(&tx));
	add(spec(INJECT_LOST_FRAME, 0), 2);
	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	assert_null(ring_seen(&rx));
	assert_int_equal(rd(&h, IGB_STAT_GPRC), 0);
	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	assert_non_null(ring_seen(&rx));
}

static void lost_frame_at_a_full_cable(void **state)
{
	struct inject_spec s = spec(INJECT_LOST_FRAME, TX(1));

	/* A frame that has to wait is one occasion, however often it is tried. */
	s.after = 2;
	add(s, 1);
	h.far.room = 1;
	send(3);
	assert_int_equal(h.far.frames, 1);
	h.far.room = ~0u;
	net_readable(h.far.net);
	host_settle(&h);
	assert_int_equal(h.far.frames, 2);
	assert_int_equal(h.far.len, 61);
}

/* So is a packet, whatever becomes of it. */
static void taken_once(void **state)
{
	struct inject_spec s = spec(INJECT_STUCK_QUEUE, TX(1));

	s.after = 3;
	add(s, 1);
	h.far.room = 1;
	send(3);
	ring_ring(&tx);
	ring_ring(&tx);
	assert_int_equal(h.far.frames, 1);
	h.far.room = ~0u;
	net_readable(h.far.net);
	host_settle(&h);
	assert_int_equal(h.far.frames, 3);
	send(1);
	assert_int_equal(h.far.frames, 3);
}

static void cable_to_nowhere(void **state)
{
	host_close(&h);
	host_open_net(&h, "null", "");
	link_up(&h);
	h.m.f->ops->set_link(h.m.f, false);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	h.m.f->ops->set_link(h.m.f, true);
	assert_true(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
}

static void lost_interrupt(void **state)
{
	struct inject_spec s = spec(INJECT_LOST_IRQ, INJECT_ANY);

	wr(&h, IGB_GPIE, IGB_GPIE_MULTIPLE | IGB_GPIE_NSICR);
	wr(&h, IGB_IVAR + 4, 0x8382);
	wr(&h, IGB_EIMS, 0xff);
	wr(&h, IGB_EIAC, 0xff);
	s.vector = 3;
	add(s, 1);
	send(1);
	assert_int_equal(h.m.irqs[3], 0);
	send(1);
	assert_int_equal(h.m.irqs[3], 1);
}

static void cable(void **state)
{
	unsigned int links = h.far.links;

	rd(&h, IGB_ICR);
	wr(&h, IGB_IMS, IGB_ICR_LSC);
	h.m.f->ops->set_link(h.m.f, false);
	host_settle(&h);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	assert_true(rd(&h, IGB_ICR) & IGB_ICR_LSC);
	assert_int_equal(h.far.links, links + 1);
	assert_false(net_link(h.far.net));
	/* A reset and the driver do not bring it back. */
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	wr(&h, IGB_CTRL, IGB_CTRL_SLU);
	host_settle(&h);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	rd(&h, IGB_ICR);
	h.m.f->ops->set_link(h.m.f, true);
	host_settle(&h);
	assert_true(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	assert_true(rd(&h, IGB_ICR) & IGB_ICR_LSC);
	assert_true(net_link(h.far.net));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(stuck_sending, setup, teardown),
	    cmocka_unit_test_setup_teardown(stuck_until_enabled_anew, setup, teardown),
	    cmocka_unit_test_setup_teardown(stuck_receiving, setup, teardown),
	    cmocka_unit_test_setup_teardown(stuck_drops_where_frames_are_dropped, setup, teardown),
	    cmocka_unit_test_setup_teardown(late_sending, setup, teardown),
	    cmocka_unit_test_setup_teardown(late_receiving, setup, teardown),
	    cmocka_unit_test_setup_teardown(late_and_disabled, setup, teardown),
	    cmocka_unit_test_setup_teardown(late_and_reset, setup, teardown),
	    cmocka_unit_test_setup_teardown(wrong_address_sending, setup, teardown),
	    cmocka_unit_test_setup_teardown(wrong_address_receiving, setup, teardown),
	    cmocka_unit_test_setup_teardown(corrupt_receiving, setup, teardown),
	    cmocka_unit_test_setup_teardown(corrupt_receiving_legacy, setup, teardown),
	    cmocka_unit_test_setup_teardown(corrupt_sending, setup, teardown),
	    cmocka_unit_test_setup_teardown(corrupt_head, setup, teardown),
	    cmocka_unit_test_setup_teardown(lost_frames, setup, teardown),
	    cmocka_unit_test_setup_teardown(lost_frame_at_a_full_cable, setup, teardown),
	    cmocka_unit_test_setup_teardown(lost_interrupt, setup, teardown),
	    cmocka_unit_test_setup_teardown(taken_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(cable, setup, teardown),
	    cmocka_unit_test_setup_teardown(cable_to_nowhere, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
