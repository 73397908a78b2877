/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tails as memory: what is stored to the pages is done once and in order, whatever opens and closes them, and nothing
 * that is stored after they were taken away has an effect.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/igb/igb.h"
#include "host.h"
#include "lib/file_lock.h"

#define SIZE 64

static struct host h;
static struct igb *d;
static struct ring t, r;
static uint32_t *live;
static uint64_t data;

static void map_pages(void)
{
	assert_non_null(h.m.f->bar[0].live);
	assert_int_equal(h.m.f->bar[0].live_off, 0x2000);
	live = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, h.m.f->bar[0].live->fd, 0);
	assert_ptr_not_equal(live, MAP_FAILED);
}

static void start(void)
{
	guard_install(); /* cmocka puts its own handlers around each test */
	link_up(&h);
	tx_open(&t, &h, 1, SIZE);
	rx_open(&r, &h, 2, SIZE, 2);
	wr(&h, IGB_MRQC, 2 << 3);
	data = host_alloc(&h, 4096, 64);
	frame_make(host_ptr(&h, data), 64, 1);
}

static int setup(void **state)
{
	host_open(&h, "");
	d = container_of(h.m.f, struct igb, f);
	map_pages();
	return 0;
}

static int teardown(void **state)
{
	munmap(live, 8192);
	host_close(&h);
	return 0;
}

/* The register of a queue's, as memory. */
static volatile uint32_t *word(const struct ring *q, unsigned int field)
{
	return &live[((q->tx ? IGB_TXQ_OLD : IGB_RXQ_OLD) - 0x2000 + 0x100 * q->q + field) / 4];
}

static bool reachable(void)
{
	uint8_t byte;

	return guard_copy(&byte, live, 1) == 0;
}

static void turns(unsigned int n)
{
	for (; n; n--)
		loop_step(h.m.loop, false);
}

static void send(bool stored)
{
	tx_put(&t, data, 64, CMD_ONE);
	if (stored)
		*word(&t, IGB_TDT) = t.tail;
	else
		ring_ring(&t);
}

/* A driver that writes tails in a row, be it always the same. */
static void open_pages(void)
{
	d->live.backoff = 0;
	for (unsigned int i = 0; !d->live.page.open; i++) {
		assert_true(i < 100000);
		ring_ring(&r);
		turns(i % 16 == 0);
	}
	while (!live_page_ready(&d->live.page))
		turns(1);
	turns(1);
	assert_true(reachable());
}

static void close_kept(void)
{
	do
		igb_live_close(d, true);
	while (d->live.page.open);
}

static void opens_with_traffic(void **state)
{
	unsigned int was;

	start();
	assert_false(reachable());
	open_pages();
	was = h.far.frames;
	send(true);
	assert_int_equal(h.far.frames, was);
	turns(3);
	assert_int_equal(h.far.frames, was + 1);
	for (unsigned int i = 0; i < 3 * SIZE; i++) {
		send(true);
		turns(2);
	}
	assert_int_equal(h.far.frames, was + 1 + 3 * SIZE);
	assert_int_equal(h.misuses, 0);
}

static void registers_read(void **state)
{
	start();
	open_pages();
	turns(40);
	assert_int_equal(*word(&t, IGB_TDBAL), (uint32_t)t.base);
	assert_int_equal(*word(&t, IGB_TDLEN), SIZE * 16);
	assert_int_equal(*word(&t, IGB_TDT), t.tail);
	assert_int_equal(*word(&t, IGB_TDH), t.tail);
	assert_int_equal(*word(&r, IGB_RDT), SIZE - 1);
	assert_int_equal(*word(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
	send(true);
	turns(40);
	assert_int_equal(*word(&t, IGB_TDH), t.tail);
}

static void receives(void **state)
{
	start();
	open_pages();
	for (unsigned int i = 0; i < 3 * SIZE; i++) {
		assert_int_equal(far_send(&h, 64, i), NET_TAKEN);
		assert_non_null(ring_seen(&r));
		r.desc[r.tail] = (union igb_desc){.q = {r.buffers + r.tail * r.buffer_size}};
		r.tail = (r.tail + 1) % SIZE;
		*word(&r, IGB_RDT) = r.tail;
		turns(2);
	}
	assert_int_equal(h.misuses, 0);
}

/* What is stored at the last moment is not lost. */
static void closing_keeps(void **state)
{
	unsigned int was;

	start();
	for (unsigned int i = 0; i < 20; i++) {
		open_pages();
		turns(i % 5);
		was = h.far.frames;
		send(true);
		close_kept();
		assert_false(reachable());
		turns(3);
		assert_int_equal(h.far.frames, was + 1);
	}
}

/* After an opening that was worth it one tail that is trapped is enough for the next, which has to prove itself anew.
 */
static void opens_again(void **state)
{
	start();
	open_pages();
	for (unsigned int i = 0; i < 2000; i++) {
		send(true);
		turns(2);
	}
	close_kept();
	turns(2);
	assert_false(d->live.page.open);
	ring_ring(&r);
	turns(1);
	assert_true(d->live.page.open);
	close_kept();
	turns(2);
	ring_ring(&r);
	turns(2);
	assert_false(d->live.page.open);
}

static void wake(struct loop_timer *timer)
{
}

static void sleeping_closes(void **state)
{
	struct loop_timer timer;

	start();
	open_pages();
	send(true);
	loop_timer_init(&timer, wake);
	do {
		loop_timer_arm(h.m.loop, &timer, 3000000);
		while (timer.deadline)
			loop_step(h.m.loop, true);
	} while (d->live.page.open);
	assert_false(reachable());
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), t.tail);
}

/* A trapped tail that had been under way, and one of who rings both ways. */
static void trapped_too(void **state)
{
	unsigned int was;

	start();
	open_pages();
	was = h.far.frames;
	tx_put(&t, data, 64, CMD_ONE);
	tx_put(&t, data, 64, CMD_ONE);
	*word(&t, IGB_TDT) = t.tail;
	wr(&h, ring_reg(&t, IGB_TDT), (t.tail + SIZE - 1) % SIZE);
	turns(3);
	assert_int_equal(h.far.frames, was + 2);
	tx_put(&t, data, 64, CMD_ONE);
	wr(&h, ring_reg(&t, IGB_TDT), t.tail);
	assert_int_equal(h.far.frames, was + 3);
	turns(40);
	assert_int_equal(*word(&t, IGB_TDT), t.tail);
	send(true);
	turns(3);
	assert_int_equal(h.far.frames, was + 4);
	assert_int_equal(h.misuses, 0);
}

/* The pages are cut, which is not known yet, and a tail comes the long way: the one before it is in them. */
static void trapped_while_closing(void **state)
{
	unsigned int frames;

	start();
	/* What is in the ring would be sent again. */
	for (unsigned int i = 0; i < 2 * SIZE; i++)
		send(false);
	for (unsigned int i = 0; i < 20; i++) {
		open_pages();
		frames = h.far.frames;
		if (!file_lock_hold(d->live.page.fd))
			return;
		igb_live_close(d, true);
		assert_true(d->live.page.open);
		send(true);
		file_lock_release();
		while (reachable())
			usleep(10);
		send(false);
		if (i % 4 == 3) {
			wr(&h, ring_reg(&t, IGB_TXDCTL), 0);
			wr(&h, ring_reg(&t, IGB_TDT), 0);
			wr(&h, ring_reg(&t, IGB_TDH), 0);
			wr(&h, ring_reg(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
			t.tail = 0;
		}
		close_kept();
		turns(5);
		assert_int_equal(h.far.frames, frames + 2);
		assert_int_equal(rd(&h, ring_reg(&t, IGB_TDT)), t.tail);
	}
	assert_int_equal(h.misuses, 0);
}

/* A queue is stopped, and set up elsewhere. */
static void set_up_anew(void **state)
{
	unsigned int was;
	struct ring n;

	start();
	open_pages();
	was = h.far.frames;
	*word(&t, IGB_TXDCTL) = 0;
	turns(4);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TXDCTL)), 0);
	n = t;
	n.base = host_alloc(&h, 128 * 16, 128);
	n.desc = (union igb_desc *)host_ptr(&h, n.base);
	n.size = 128;
	n.tail = 0;
	open_pages();
	tx_put(&n, data, 64, CMD_ONE);
	*word(&n, IGB_TDT) = n.tail;
	*word(&n, IGB_TXDCTL) = IGB_DCTL_ENABLE;
	*word(&n, IGB_TDH) = 0;
	*word(&n, IGB_TDLEN) = 128 * 16;
	*word(&n, IGB_TDBAL) = (uint32_t)n.base;
	turns(10);
	assert_int_equal(h.far.frames, was + 1);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDLEN)), 128 * 16);
	assert_int_equal(h.misuses, 0);
}

/* Who reads or writes elsewhere has what he stored before seen. */
static void reads_push(void **state)
{
	start();
	open_pages();
	*word(&t, IGB_TXDCTL) = 0;
	rd(&h, IGB_STATUS);
	assert_int_equal(d->txq[1].r.size, 0);
}

/* A queue that was stopped by a store does nothing more once a call that came later is carried out. */
static void calls_come_after(void **state)
{
	start();
	open_pages();
	*word(&r, IGB_RXDCTL) = 0;
	assert_int_not_equal(d->rxq[r.q].r.size, 0);
	h.m.f->ops->settle(h.m.f);
	assert_int_equal(d->rxq[r.q].r.size, 0);
	assert_false(reachable());
}

/* Rules A4 and A5. */
static void memory_off(void **state)
{
	unsigned int was;

	start();
	open_pages();
	was = h.far.frames;
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_false(reachable());
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	turns(5);
	assert_int_equal(h.far.frames, was);
	send(false);
	assert_int_equal(h.far.frames, was + 1);
}

static void new_owner(void **state)
{
	uint32_t *old;

	start();
	open_pages();
	old = live;
	h.m.f->sink = NULL;
	pci_func_reset(h.m.f);
	h.m.f->sink = &h.m.sink;
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	map_pages();
	start();
	open_pages();
	assert_int_not_equal(guard_copy(&(uint32_t){0}, old, 4), 0);
	munmap(old, 8192);
}

static void reset_forgets(void **state)
{
	start();
	open_pages();
	send(true);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_false(reachable());
	turns(5);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDT)), 0);
}

/* A client cuts the file, fills it with nonsense, makes it longer. */
static void hostile(void **state)
{
	unsigned int was;

	start();
	open_pages();
	for (unsigned int i = 0; i < 2048; i++)
		live[i] = 0xdeadbeef * i;
	turns(20);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	start();
	open_pages();
	assert_int_equal(ftruncate(h.m.f->bar[0].live->fd, 0), 0);
	turns(10);
	close_kept();
	was = h.far.frames;
	send(false);
	turns(2);
	assert_int_equal(h.far.frames, was + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(opens_with_traffic), TEST(registers_read),  TEST(receives),	     TEST(closing_keeps),
	    TEST(opens_again),	      TEST(sleeping_closes), TEST(trapped_too),	     TEST(trapped_while_closing),
	    TEST(set_up_anew),	      TEST(reads_push),	     TEST(calls_come_after), TEST(memory_off),
	    TEST(new_owner),	      TEST(reset_forgets),   TEST(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
