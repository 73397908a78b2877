/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const char *bdf = "0000:01:00.0";

struct guest *g;
int mem_fd = -1, irq = -1;

static volatile uint8_t *bar;

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("not ok - %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void skip_case(const char *why)
{
	fail("%s", why);
}

static void reg_write(unsigned int off, uint32_t v)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*(volatile uint32_t *)(bar + off) = v;
}

static uint32_t reg_read(unsigned int off)
{
	return *(volatile uint32_t *)(bar + off);
}

/* ---- the guest ---- */

static uint32_t rnd(void)
{
	g->s.rnd = g->s.rnd * 1664525 + 1013904223;
	return g->s.rnd >> 8;
}

static uint64_t word_of(unsigned int page, uint32_t version, unsigned int i)
{
	return version ? (page * 0x9e3779b97f4a7c15ull ^ version * 0xd1342543de82ef95ull) + i * 0x2545f4914f6cdd1dull
		       : 0;
}

static void fill(void *p, unsigned int page, uint32_t version)
{
	for (unsigned int i = 0; i < PAGE / 8; i++)
		((uint64_t *)p)[i] = word_of(page, version, i);
}

static void check(const void *p, unsigned int page, uint32_t version)
{
	for (unsigned int i = 0; i < PAGE / 8; i++)
		if (((const uint64_t *)p)[i] != word_of(page, version, i))
			fail("disk page %u, version %u: word %u is %#llx", page, version, i,
			     (unsigned long long)((const uint64_t *)p)[i]);
}

static bool page_busy(unsigned int page)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (g->s.slot[i].busy && g->s.slot[i].page == page)
			return true;
	return false;
}

static struct sqe *next_entry(unsigned int q)
{
	struct sqe *e = &(q ? g->io_sq : g->admin_sq)[g->s.ring[q].tail];

	g->s.ring[q].tail = (g->s.ring[q].tail + 1) % ENTRIES;
	memset(e, 0, sizeof(*e));
	return e;
}

void ring(unsigned int q)
{
	reg_write(0x1000 + 8 * q, g->s.ring[q].tail);
}

static void put_rw(unsigned int slot, unsigned int page, bool write)
{
	struct sqe *e = next_entry(1);

	g->s.slot[slot] = (struct slot){.busy = 1, .write = write, .page = (uint16_t)page};
	g->s.busy++;
	if (write)
		fill(g->buffer[slot], page, ++g->s.version[page]);
	else
		memset(g->buffer[slot], 0xee, PAGE);
	e->opcode = write ? 1 : 2;
	e->cid = (uint16_t)slot;
	e->nsid = 1;
	e->prp1 = IOVA_OF(buffer) + slot * PAGE;
	e->cdw10 = page * 8;
	/* Every other write has to reach the disk before it completes: some are always under way. */
	e->cdw12 = 7 | (write && page % 2 ? 1u << 30 : 0);
}

/* One more command, if there is room. */
bool submit(unsigned int limit)
{
	unsigned int page = rnd() % DISK_PAGES, slot;

	if (g->s.busy >= limit || page_busy(page))
		return false;
	for (slot = 0; g->s.slot[slot].busy; slot++)
		;
	put_rw(slot, page, rnd() % 2);
	return true;
}

static bool take(unsigned int q, struct cqe *out)
{
	struct ring *r = &g->s.ring[q];
	volatile struct cqe *e = &(q ? g->io_cq : g->admin_cq)[r->head];

	if ((e->status & 1) != r->phase)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(out, (const void *)e, sizeof(*out));
	r->head = (r->head + 1) % ENTRIES;
	if (!r->head)
		r->phase ^= 1;
	reg_write(0x1000 + 8 * q + 4, r->head);
	return true;
}

bool complete_one(void)
{
	struct slot *s;
	struct cqe e;

	if (!take(1, &e))
		return false;
	expect_eq(e.status >> 1, 0);
	expect(e.cid < SLOTS);
	s = &g->s.slot[e.cid];
	expect(s->busy);
	if (!s->write)
		check(g->buffer[e.cid], s->page, g->s.version[s->page]);
	s->busy = 0;
	g->s.busy--;
	g->s.done++;
	return true;
}

/* The guest sleeps until its interrupt comes; what completes without one would never be seen. */
static void sleep_until_interrupt(void)
{
	struct pollfd p = {.fd = irq, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, 60000) != 1)
		fail("no interrupt, %u commands outstanding", g->s.busy);
	expect_eq(read(irq, &n, sizeof(n)), sizeof(n));
	g->s.interrupts += n;
}

void work(unsigned int commands)
{
	uint64_t end = g->s.done + commands;

	while (g->s.done < end) {
		unsigned int n = 0;

		while (submit(16) && ++n < 4)
			;
		if (n)
			ring(1);
		if (!complete_one() && g->s.busy >= 8)
			sleep_until_interrupt();
	}
}

void drain(void)
{
	while (g->s.busy)
		if (!complete_one())
			sleep_until_interrupt();
}

void verify_disk(void)
{
	for (unsigned int page = 0; page < DISK_PAGES; page++) {
		put_rw(0, page, false);
		ring(1);
		drain();
	}
}

static void admin(uint8_t opcode, uint64_t prp, uint32_t cdw10, uint32_t cdw11)
{
	time_t end = time(NULL) + 30;
	struct sqe *e = next_entry(0);
	struct cqe c;

	e->opcode = opcode;
	e->prp1 = prp;
	e->cdw10 = cdw10;
	e->cdw11 = cdw11;
	ring(0);
	while (!take(0, &c))
		expect(time(NULL) < end);
	expect_eq(c.status >> 1, 0);
}

void boot(void)
{
	time_t end = time(NULL) + 30;

	g->s.rnd = 4711;
	g->s.ring[0].phase = g->s.ring[1].phase = 1;
	reg_write(0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	*(volatile uint64_t *)(bar + 0x28) = IOVA_OF(admin_sq);
	*(volatile uint64_t *)(bar + 0x30) = IOVA_OF(admin_cq);
	reg_write(0x14, 4 << 20 | 6 << 16 | 1);
	while (!(reg_read(0x1c) & 1))
		expect(time(NULL) < end);
	admin(5, IOVA_OF(io_cq), (ENTRIES - 1) << 16 | 1, 1u << 16 | 3);
	admin(1, IOVA_OF(io_sq), (ENTRIES - 1) << 16 | 1, 1u << 16 | 1);
}

/* ---- the machine ---- */

void irq_set_up(void)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd[2];
	} s = {.h = {.argsz = sizeof(s),
		     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		     .index = VFIO_PCI_MSIX_IRQ_INDEX,
		     .count = 2}};

	irq = eventfd(0, EFD_NONBLOCK);
	s.fd[0] = -1;
	s.fd[1] = irq;
	expect_eq(ioctl(device, VFIO_DEVICE_SET_IRQS, &s), 0);
}

void machine_map(void)
{
	g = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	expect(g != MAP_FAILED);
}

void registers_map(void)
{
	struct vfio_region_info r = region_info(VFIO_PCI_BAR0_REGION_INDEX);

	bar = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
}

void machine_make(void)
{
	mem_fd = memfd_create("guest", 0);
	expect(mem_fd >= 0 && !ftruncate(mem_fd, MEM_SIZE));
	machine_map();
	device_open(VFIO_TYPE1v2_IOMMU);
	expect_eq(dma_map(g, MEM_IOVA, MEM_SIZE, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE), 0);
	registers_map();
}
