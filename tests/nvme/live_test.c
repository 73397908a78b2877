/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The doorbell page as memory: what is stored to it is done once and in order, whatever opens and closes it, and
 * nothing that is stored after it was taken away has an effect.
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
#include "devices/nvme/nvme.h"
#include "host.h"

#define QID	  1
#define TURNS_MAX 10000000 /* of the loop, for what comes in the end */

static struct host h;
static struct nvme *c;
static uint64_t buf;

static void map_page(void)
{
	assert_non_null(h.m.f->bar[0].live);
	h.live = mmap(NULL, MACHINE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, h.m.f->bar[0].live->fd, 0);
	assert_ptr_not_equal(h.live, MAP_FAILED);
}

static void start(uint32_t qsize)
{
	guard_install(); /* cmocka puts its own handlers around each test */
	host_enable(&h, 16, 0);
	buf = host_alloc(&h, 2 * MACHINE_PAGE, MACHINE_PAGE);
	host_io_queue(&h, QID, qsize);
}

static int setup(void **state)
{
	host_open(&h, "");
	c = container_of(h.m.f, struct nvme, f);
	map_page();
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static bool reachable(void)
{
	uint8_t byte;

	return guard_copy(&byte, h.live, 1) == 0;
}

static void read_one(void)
{
	assert_int_equal(host_rw(&h, QID, NVME_IO_READ, 3, 1, buf), NVME_OK);
	assert_memory_equal(host_ptr(&h, buf), ((uint8_t[]){disk_byte(3 * 512), disk_byte(3 * 512 + 1)}), 2);
}

/* As if it had been measured that this client is better off with it. */
static void open_page(void)
{
	c->live.prefers_open = true;
	c->live.closed_ns = 1ULL << 40;
	for (unsigned int i = 0; !c->live.page.open; i++) {
		assert_true(i < 10000);
		read_one();
		host_run(&h, 1);
	}
	while (!live_page_ready(&c->live.page))
		host_run(&h, 1);
	assert_true(reachable());
	host_run(&h, 1);
}

static void wake(struct loop_timer *t)
{
}

/* Long enough that the loop sleeps, and that the page is closed on a busy machine too. */
static void idle(void)
{
	struct loop_timer t;

	loop_timer_init(&t, wake);
	do {
		loop_timer_arm(h.m.loop, &t, 3000000);
		while (t.deadline)
			loop_step(h.m.loop, true);
	} while (c->live.page.open);
}

static void close_kept(void)
{
	do
		nvme_live_close(c, true);
	while (c->live.page.open);
}

static void store(unsigned int index, uint32_t val)
{
	((volatile uint32_t *)h.live)[index] = val;
}

static unsigned int completions(void)
{
	struct nvme_cqe cqe;
	unsigned int n = 0;

	while (host_poll(&h, QID, &cqe)) {
		assert_int_equal(cqe.status >> 1, NVME_OK);
		n++;
	}
	return n;
}

/* So many, however long the disk takes; and no more. */
static void expect_completions(unsigned int n)
{
	unsigned int got = 0;

	for (unsigned int turns = 0; got < n; turns++) {
		assert_true(turns < TURNS_MAX);
		host_run(&h, 1);
		got += completions();
	}
	host_run(&h, 4);
	assert_int_equal(got + completions(), n);
}

static void put_reads(unsigned int n)
{
	while (n--) {
		struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 1, buf, 0);

		host_put(&h, QID, &cmd);
	}
}

static void put_aer(void)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_AER};

	host_put(&h, 0, &cmd);
	host_ring(&h, 0);
	host_run(&h, 3);
}

/* False: none has come after so many turns. */
static bool take_event(uint32_t *dw0, unsigned int turns)
{
	struct nvme_cmd log = {.opcode = NVME_ADM_GET_LOG, .nsid = 0xffffffff, .dptr = {buf}, .cdw10 = 15 << 16 | 1};
	struct nvme_cqe cqe;

	do {
		if (!turns--)
			return false;
		host_run(&h, 1);
	} while (!host_poll(&h, 0, &cqe));
	*dw0 = cqe.dw0;
	host_run(&h, 3);
	/* Unmasks. */
	assert_int_equal(host_cmd(&h, 0, &log, NULL), NVME_OK);
	put_aer();
	return true;
}

static void assert_event(unsigned int info)
{
	uint32_t dw0;

	assert_true(take_event(&dw0, TURNS_MAX));
	assert_int_equal(dw0, info << 8 | 1 << 16); /* figure 147: error status; the error log */
}

static void assert_quiet(void)
{
	uint32_t dw0;

	assert_false(take_event(&dw0, 4));
}

/* ---- at work ---- */
static void opens_when_busy_closes_when_idle(void **state)
{
	start(64);
	for (unsigned int round = 0; round < 20; round++) {
		open_page();
		for (unsigned int i = 0; i < 50; i++) {
			unsigned int n = 1 + i % 40;

			put_reads(n);
			host_ring(&h, QID);
			expect_completions(n);
		}
		assert_true(reachable());
		idle();
		assert_false(reachable());
	}
}

static void is_tried_without_being_asked_for(void **state)
{
	unsigned int opened = 0;

	start(8);
	for (unsigned int i = 0; i < 4000; i++) {
		read_one();
		host_run(&h, 1);
		opened += c->live.page.open;
	}
	assert_true(opened > 0);
	assert_true(c->live.closed_ns > 0);
}

/* Wraps with every command or two; the page is closed and opened in between. */
static void tiny_queues(void **state)
{
	for (uint32_t size = 2; size <= 4; size++) {
		if (size == 2) {
			start(size);
		} else {
			assert_int_equal(host_create_cq(&h, size, size, -1), NVME_OK);
			assert_int_equal(host_create_sq(&h, size, size, size), NVME_OK);
		}
		for (unsigned int i = 0; i < 700; i++) {
			unsigned int qid = size == 2 ? QID : size;

			if (i % 100 == 10)
				open_page();
			if (i % 100 == 60)
				idle();
			assert_int_equal(host_rw(&h, qid, NVME_IO_READ, i, 1, buf), NVME_OK);
		}
	}
}

static void last_stores_are_kept(void **state)
{
	start(16);
	for (unsigned int i = 0; i < 20; i++) {
		open_page();
		put_reads(3);
		host_ring(&h, QID);
		close_kept();
		expect_completions(3);
	}
}

/* ---- order ---- */
static void trapped_after_newer_in_page(void **state)
{
	start(16);
	put_aer();
	for (unsigned int i = 0; i < 30; i++) {
		uint32_t mid, end;

		open_page();
		mid = (h.q[QID].sq_tail + 2) % 16;
		end = (h.q[QID].sq_tail + 5) % 16;
		put_reads(5);
		store(2 * QID, end);
		if (i % 3 == 1)
			host_run(&h, 1); /* it has been looked at */
		if (i % 3 == 2)
			close_kept();
		host_trap_doorbell(&h, QID, false, mid);
		expect_completions(5);
		assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_RDY);
	}
	assert_quiet();
}

static void trapped_after_older_in_page(void **state)
{
	start(16);
	put_aer();
	for (unsigned int i = 0; i < 30; i++) {
		uint32_t mid, end;

		open_page();
		mid = (h.q[QID].sq_tail + 2) % 16;
		end = (h.q[QID].sq_tail + 5) % 16;
		put_reads(5);
		store(2 * QID, mid);
		if (i % 3 == 1)
			host_run(&h, 1);
		if (i % 3 == 2)
			close_kept();
		host_trap_doorbell(&h, QID, false, end);
		expect_completions(5);
	}
	assert_quiet();
}

/* pwrite() and the mapping by turns, in a queue where each value comes back soon. */
static void both_ways_by_turns(void **state)
{
	start(2);
	put_aer();
	open_page();
	for (unsigned int i = 0; i < 100; i++) {
		put_reads(1);
		if (i % 2)
			host_trap_doorbell(&h, QID, false, h.q[QID].sq_tail);
		else
			host_ring(&h, QID);
		expect_completions(1);
		if (i % 10 == 9)
			open_page();
	}
	assert_quiet();
}

/* The other doorbells' rings are emptied between the look and the act: a poller sees it in between. */
static unsigned int polled;

static bool count_poll(struct loop_poll *p)
{
	polled++;
	return false;
}

static void others_have_their_turn_first(void **state)
{
	struct loop_poll p = {.poll = count_poll};
	unsigned int before;

	start(16);
	loop_poll_add(h.m.loop, &p);
	for (unsigned int i = 0; i < 2; i++) {
		open_page();
		put_reads(1);
		host_ring(&h, QID);
		if (i)
			close_kept();
		before = polled;
		while (c->sq[QID].tail != h.q[QID].sq_tail) {
			host_run(&h, 1);
			assert_true(polled < before + TURNS_MAX);
		}
		/* The poller comes after the page's: acting in the n-th round, n - 1 of its turns lie before. */
		assert_true(polled - before >= 2);
		expect_completions(1);
	}
	loop_poll_del(h.m.loop, &p);
}

/* The new queue's first doorbell is what the old one's last was. */
static void queues_made_anew(void **state)
{
	start(8);
	put_aer();
	for (unsigned int i = 0; i < 10; i++) {
		struct nvme_cmd del_sq = {.opcode = NVME_ADM_DELETE_SQ, .cdw10 = QID};
		struct nvme_cmd del_cq = {.opcode = NVME_ADM_DELETE_CQ, .cdw10 = QID};

		open_page();
		do
			read_one();
		while (h.q[QID].sq_tail != 1);
		host_run(&h, 2);
		assert_int_equal(host_cmd(&h, 0, &del_sq, NULL), NVME_OK);
		assert_int_equal(host_cmd(&h, 0, &del_cq, NULL), NVME_OK);
		assert_true(c->live.page.open);
		host_io_queue(&h, QID, 8);
		host_run(&h, 2);
		read_one();
		assert_int_equal(h.q[QID].sq_tail, 1);
		host_run(&h, 2);
	}
	assert_quiet();
}

/* ---- values that are none ---- */
static void invalid_values_are_events(void **state)
{
	start(16);
	put_aer();
	open_page();
	store(2 * QID, 16);
	assert_event(1);
	idle();
	open_page();
	store(2 * QID, 0xffffffff);
	assert_quiet(); /* the fill: not seen the first time */
	store(2 * QID, 0xfffe);
	assert_event(1);
	store(2 * QID, 0xffffffff);
	assert_event(1);
	store(2 * QID + 1, (h.q[QID].cq_head + 1) % 16); /* frees an entry that holds nothing */
	assert_event(1);
	store(2 * 7, 1);
	assert_event(0);
	store(2 * 7 + 1, 1);
	assert_event(0);
	store(2 * (NVME_QUEUES_MAX + 1), 1); /* behind the last one */
	store(MACHINE_PAGE / 4 - 1, 1);
	assert_quiet();
	read_one();
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_RDY);
}

static void narrow_stores_do_no_harm(void **state)
{
	uint32_t tail, dw0;

	start(16);
	put_aer();
	for (unsigned int i = 0; i < 8; i++) {
		open_page();
		for (unsigned int at = 0; at < 4; at++)
			((volatile uint8_t *)h.live)[8 * QID + at] = (uint8_t)(0xa0 + i);
		((volatile uint16_t *)h.live)[4 * QID + 3] = 0x4000;
		*(volatile uint64_t *)(h.live + 8 * 9) = 0x1122334455667788;
		host_run(&h, 3);
		assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_RDY);
		take_event(&dw0, 4);
		read_one();
	}
	/* A whole one of both of a queue's doorbells is two. */
	open_page();
	put_reads(1);
	tail = h.q[QID].sq_tail;
	*(volatile uint64_t *)(h.live + 8 * QID) = (uint64_t)h.q[QID].cq_head << 32 | tail;
	expect_completions(1);
}

static void reads_do_no_harm(void **state)
{
	uint32_t word[MACHINE_PAGE / 4];

	start(16);
	assert_int_equal(host_reg(&h, NVME_REG_DOORBELLS + 8), 0);
	open_page();
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(guard_copy(word, h.live, sizeof(word)), 0);
		read_one();
	}
}

/* ---- rule A4, revoke before return ---- */
static void command_write(uint16_t set)
{
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, set);
}

static void revoke_mem(void)
{
	command_write(PCI_COMMAND_MASTER);
}

static void revoke_d3(void)
{
	pci_cfg_write(h.m.f, h.m.f->pm_cap + PCI_PM_CTRL, 2, 3);
}

static void revoke_reset(void)
{
	pci_func_reset(h.m.f);
}

static void revoke_disable(void)
{
	host_set_reg(&h, NVME_REG_CC, 0);
}

static void revoke_nssr(void)
{
	host_set_reg(&h, NVME_REG_NSSR, NVME_NSSR_MAGIC);
}

static void power_on_again(void)
{
	pci_cfg_write(h.m.f, h.m.f->pm_cap + PCI_PM_CTRL, 2, 0);
	command_write(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	if (!h.m.f->msix_live)
		pci_msix_enable(h.m.f, true);
	host_set_reg(&h, NVME_REG_CSTS, NVME_CSTS_NSSRO);
}

static void rule_revoke_before_return(void **state)
{
	void (*const revoke[])(void) = {revoke_mem, revoke_d3, revoke_reset, revoke_disable, revoke_nssr};

	guard_install();
	for (unsigned int i = 0; i < 3 * ARRAY_SIZE(revoke); i++) {
		unsigned int way = i % ARRAY_SIZE(revoke), reads;
		struct nvme_cqe cqe;
		int fd = c->live.page.fd;

		start(16);
		open_page();
		/* Stored and not looked at; or looked at, and not acted upon. */
		put_reads(4);
		host_ring(&h, QID);
		if (i / ARRAY_SIZE(revoke) == 1)
			host_run(&h, 1);
		reads = (unsigned int)c->count.reads;
		revoke[way]();
		assert_false(reachable());
		if (way == 0 || way == 1)
			assert_false(c->live.have_found);
		/* A client that goes to its own file for the page gets memory that nobody looks at. */
		if (i / ARRAY_SIZE(revoke) == 2) {
			assert_int_equal(ftruncate(fd, MACHINE_PAGE), 0);
			store(2 * QID, 5);
			store(0, 1);
		}
		host_run(&h, 5);
		assert_int_equal(c->count.reads, reads);
		power_on_again();
		host_run(&h, 5);
		assert_int_equal(c->count.reads, reads);
		assert_int_equal(ftruncate(fd, 0), 0);
		host_disable(&h);
		memset(h.q, 0, sizeof(h.q));
		start(16);
		host_run(&h, 5);
		assert_int_equal(c->sq[QID].tail, 0);
		assert_false(host_poll(&h, QID, &cqe));
		read_one();
		host_disable(&h);
		memset(h.q, 0, sizeof(h.q));
		h.next = HOST_IOVA;
	}
}

/* As a trapped doorbell does: the controller may not fetch, and says so. */
static void no_fetch_without_bus_master(void **state)
{
	struct nvme_cqe cqe;

	start(16);
	open_page();
	command_write(PCI_COMMAND_MEMORY);
	put_reads(1);
	host_ring(&h, QID);
	host_run(&h, 5);
	assert_true(host_reg(&h, NVME_REG_CSTS) & NVME_CSTS_CFS);
	assert_false(host_poll(&h, QID, &cqe));
	assert_true(h.m.faults > 0);
}

/* ---- rule A5 ---- */
static void rule_owner_generations(void **state)
{
	uint8_t *old = h.live;
	int old_fd;

	start(16);
	open_page();
	old_fd = dup(c->live.page.fd);
	put_reads(2);
	host_ring(&h, QID);

	/* As between two owners. */
	command_write(0);
	pci_func_reset(h.m.f);
	h.m.f->sink = NULL;
	pci_func_reset(h.m.f);
	h.m.f->sink = &h.m.sink;
	power_on_again();
	assert_false(reachable());
	map_page();
	memset(h.q, 0, sizeof(h.q));
	start(16);
	assert_int_equal(c->live.closed_ns, 0);
	open_page();
	put_reads(3);
	/* The old one makes its own file longer, and writes where the new one's commands wait. */
	assert_int_equal(guard_copy((uint8_t[1]){0}, old, 1), 1);
	assert_int_equal(ftruncate(old_fd, MACHINE_PAGE), 0);
	((volatile uint32_t *)old)[2 * QID] = h.q[QID].sq_tail;
	assert_int_equal(pwrite(old_fd, &h.q[QID].sq_tail, 4, 8 * QID), 4);
	host_run(&h, 10);
	assert_int_equal(completions(), 0);
	host_ring(&h, QID);
	expect_completions(3);
	close(old_fd);
	munmap(old, MACHINE_PAGE);
}

/* ---- clients that mean harm, listeners ---- */
static void page_cut_by_the_client(void **state)
{
	start(16);
	for (unsigned int i = 0; i < 12; i++) {
		open_page();
		assert_int_equal(ftruncate(c->live.page.fd, i * 100), 0);
		if (i % 2)
			idle();
		else
			host_run(&h, 3);
		/* What it does to its page is its own loss. */
		idle();
		read_one();
	}
}

/* Every store another doorbell, most of them invalid: bounded work, and quiet when it stops. */
static void page_full_of_anything(void **state)
{
	unsigned int seed = 1;

	start(16);
	for (unsigned int i = 0; i < 2000; i++) {
		if (!c->live.page.open) {
			host_disable(&h);
			memset(h.q, 0, sizeof(h.q));
			h.next = HOST_IOVA;
			start(16);
			open_page();
		}
		for (unsigned int k = 0; k < 20 && reachable(); k++)
			store((unsigned int)rand_r(&seed) % 140, (uint32_t)rand_r(&seed) % 20);
		host_run(&h, 1);
		if (i % 100 == 0)
			idle();
		if (!nvme_running(c))
			nvme_live_close(c, false);
	}
	idle();
	assert_false(loop_step(h.m.loop, false));
}

static void ignore_event(struct event_listener *l, const struct event *ev)
{
	++*(unsigned int *)(l + 1);
}

static void listeners_see_every_access(void **state)
{
	struct {
		struct event_listener l;
		unsigned int n;
	} listener = {.l = {.mask = BIT(EVENT_MMIO), .notify = ignore_event}};

	start(16);
	open_page();
	events_listen(&h.m.evs, &listener.l);
	host_run(&h, 2);
	while (c->live.page.open)
		host_run(&h, 1);
	listener.n = 0;
	for (unsigned int i = 0; i < 100; i++) {
		read_one();
		host_run(&h, 1);
		assert_false(c->live.page.open);
	}
	assert_int_equal(listener.n, 200);
	events_unlisten(&h.m.evs, &listener.l);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(opens_when_busy_closes_when_idle),
	    T(is_tried_without_being_asked_for),
	    T(tiny_queues),
	    T(last_stores_are_kept),
	    T(trapped_after_newer_in_page),
	    T(trapped_after_older_in_page),
	    T(both_ways_by_turns),
	    T(others_have_their_turn_first),
	    T(queues_made_anew),
	    T(invalid_values_are_events),
	    T(narrow_stores_do_no_harm),
	    T(reads_do_no_harm),
	    T(rule_revoke_before_return),
	    T(no_fetch_without_bus_master),
	    T(rule_owner_generations),
	    T(page_cut_by_the_client),
	    T(page_full_of_anything),
	    T(listeners_see_every_access),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
