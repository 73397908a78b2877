/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine monitor as small as can be, whose guest is a driver of an NVMe disk that never stops working.
 *
 *   vmm save DIR      starts the guest, copies its memory while it runs, stops it with commands outstanding, and leaves
 *		       DIR/memory and DIR/state
 *   vmm resume DIR    takes it from there: the outstanding commands complete, and the guest works on
 *
 * All that the guest knows is in its memory, at the same IOVA on both sides. Page p of the disk holds a pattern of p
 * and of how often it has been written; each read is held against it.
 */
#include "tests/client/client.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "uapi/vfio_abi.h"

#define MEM_IOVA    0x40000000ull
#define DISK_PAGES  256u
#define SLOTS	    32u
#define ENTRIES	    64u
#define WARM	    3000u /* commands before, while and after it moves */
#define OUTSTANDING 20u	  /* that nobody has fetched when it stops */
#define STATE_MAX   (1u << 20)

const char *bdf = "0000:01:00.0";

struct sqe {
	uint8_t opcode, flags;
	uint16_t cid;
	uint32_t nsid;
	uint64_t reserved, metadata, prp1, prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
struct cqe {
	uint32_t dw0, dw1;
	uint16_t sq_head, sq_id, cid, status;
};

struct ring {
	uint32_t tail, head, phase;
};

/* The guest's memory. */
struct guest {
	struct sqe admin_sq[ENTRIES];
	struct sqe io_sq[ENTRIES];
	struct cqe admin_cq[PAGE / sizeof(struct cqe)];
	struct cqe io_cq[PAGE / sizeof(struct cqe)];
	uint8_t buffer[SLOTS][PAGE];
	struct state {
		struct ring ring[2];
		uint32_t version[DISK_PAGES];
		struct slot {
			uint8_t busy, write;
			uint16_t page;
		} slot[SLOTS];
		uint32_t busy, rnd;
		uint64_t done, interrupts;
	} s __attribute__((aligned(4096)));
	uint8_t end[] __attribute__((aligned(4096)));
};
#define MEM_SIZE       sizeof(struct guest)
#define IOVA_OF(field) (MEM_IOVA + offsetof(struct guest, field))
_Static_assert(sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16, "sections 4.2 and 4.6");
_Static_assert(offsetof(struct guest, buffer) == 4 * PAGE && MEM_SIZE % PAGE == 0, "whole pages");

static struct guest *g;
static volatile uint8_t *bar;
static int irq = -1;

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

static void ring(unsigned int q)
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
static bool submit(unsigned int limit)
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

static bool complete_one(void)
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

static void work(unsigned int commands)
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

static void drain(void)
{
	while (g->s.busy)
		if (!complete_one())
			sleep_until_interrupt();
}

static void verify_disk(void)
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

static void boot(void)
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

/* ---- the monitor ---- */

static void irq_set_up(void)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd[2];
	} s = {.h = {.argsz = sizeof(s),
		     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		     .index = VFIO_PCI_MSIX_IRQ_INDEX,
		     .count = 2}};

	irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.fd[0] = -1;
	s.fd[1] = irq;
	expect_eq(ioctl(device, VFIO_DEVICE_SET_IRQS, &s), 0);
}

static void machine_make(void)
{
	struct vfio_region_info r;
	int fd = memfd_create("guest", MFD_CLOEXEC);

	expect(fd >= 0 && !ftruncate(fd, MEM_SIZE));
	g = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(g != MAP_FAILED);
	device_open(VFIO_TYPE1v2_IOMMU);
	expect_eq(dma_map(g, MEM_IOVA, MEM_SIZE, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE), 0);
	r = region_info(VFIO_PCI_BAR0_REGION_INDEX);
	bar = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
}

struct feature {
	struct vfio_device_feature h;
	union {
		struct vfio_device_feature_mig_state state;
		struct vfio_device_feature_migration migration;
		struct vfio_device_feature_mig_data_size size;
		struct vfio_device_feature_dma_logging_control control;
		struct vfio_device_feature_dma_logging_report report;
	};
};

static int feature(struct feature *f, uint32_t flags)
{
	f->h = (struct vfio_device_feature){.argsz = sizeof(*f), .flags = flags};
	return ioctl(device, VFIO_DEVICE_FEATURE, f);
}

static int set_state(uint32_t state)
{
	struct feature f = {.state = {.device_state = state, .data_fd = 99}};

	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), 0);
	return f.state.data_fd;
}

static uint32_t get_state(void)
{
	struct feature f = {0};

	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), 0);
	expect_eq(f.state.data_fd, -1);
	return f.state.device_state;
}

static void write_file(const char *name, const void *p, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	expect(fd >= 0);
	expect_eq(write(fd, p, len), len);
	close(fd);
}

static size_t read_file(const char *name, void *p, size_t max)
{
	int fd = open(name, O_RDONLY);
	ssize_t n;

	expect(fd >= 0);
	n = read(fd, p, max);
	expect(n > 0);
	close(fd);
	return n;
}

/* ---- save ---- */

static uint8_t state[STATE_MAX];
static size_t state_len;

/* What there is by now. */
static void read_state(int data)
{
	ssize_t n;

	while ((n = read(data, state + state_len, STATE_MAX - state_len)) > 0)
		state_len += n;
	expect(n < 0 && (errno == ENOMSG || errno == EAGAIN));
}

static void read_state_to_end(int data)
{
	struct pollfd p = {.fd = data, .events = POLLIN};
	ssize_t n;

	for (;;) {
		expect_eq(poll(&p, 1, 60000), 1);
		n = read(data, state + state_len, STATE_MAX - state_len);
		expect(n >= 0);
		if (!n)
			return;
		state_len += n;
	}
}

static uint64_t precopy_left(int data)
{
	struct vfio_precopy_info info = {.argsz = sizeof(info)};

	expect_eq(ioctl(data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	return info.initial_bytes + info.dirty_bytes;
}

static void logging_start(void)
{
	struct vfio_device_feature_dma_logging_range r = {.iova = MEM_IOVA, .length = MEM_SIZE};
	struct feature f = {.control = {.page_size = PAGE, .num_ranges = 1, .ranges = (uintptr_t)&r}};

	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START), 0);
}

static unsigned int copy_dirty(uint8_t *copy)
{
	uint64_t bits[(MEM_SIZE / PAGE + 63) / 64] = {0};
	struct feature f = {
	    .report = {.iova = MEM_IOVA, .length = MEM_SIZE, .page_size = PAGE, .bitmap = (uintptr_t)bits}};
	unsigned int n = 0;

	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT), 0);
	for (unsigned int i = 0; i < MEM_SIZE / PAGE; i++) {
		if (!(bits[i / 64] >> i % 64 & 1))
			continue;
		memcpy(copy + i * PAGE, (uint8_t *)g + i * PAGE, PAGE);
		n++;
	}
	return n;
}

/* What the guest's processor writes, a real monitor sees by other means: its entries, its variables, its buffers. */
static void copy_what_the_cpu_wrote(uint8_t *copy)
{
	struct guest *c = (struct guest *)copy;

	memcpy(c->admin_sq, g->admin_sq, sizeof(c->admin_sq));
	memcpy(c->io_sq, g->io_sq, sizeof(c->io_sq));
	c->s = g->s;
	for (unsigned int i = 0; i < SLOTS; i++)
		if (g->s.slot[i].busy || g->s.slot[i].write) /* what reads have filled the log must say */
			memcpy(c->buffer[i], g->buffer[i], PAGE);
}

static void save(void)
{
	uint8_t *copy = pages_alloc(MEM_SIZE);
	struct feature f = {0};
	uint64_t done;
	int data;

	machine_make();
	irq_set_up();
	boot();
	work(WARM);
	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION), 0);
	expect_eq(f.migration.flags, VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY);
	expect_eq(get_state(), VFIO_DEVICE_STATE_RUNNING);

	/* It works on while its memory is copied, and what the device wrote meanwhile copied again. */
	logging_start();
	data = set_state(VFIO_DEVICE_STATE_PRE_COPY);
	expect(data >= 0);
	expect(precopy_left(data) > 0);
	memcpy(copy, g, MEM_SIZE);
	work(WARM);
	read_state(data);
	expect_eq(precopy_left(data), 0);
	expect(copy_dirty(copy) > 0);
	work(WARM);
	copy_dirty(copy);
	work(100);

	/* Quiet: what it has fetched is done. What is put now nobody fetches. */
	expect_eq(set_state(VFIO_DEVICE_STATE_PRE_COPY_P2P), -1);
	while (complete_one())
		;
	expect_eq(g->s.busy, 0);
	done = g->s.done;
	while (g->s.busy < OUTSTANDING)
		submit(OUTSTANDING);
	ring(1);
	usleep(20000);
	expect(!complete_one());
	expect_eq(set_state(VFIO_DEVICE_STATE_STOP_COPY), -1);
	read_state_to_end(data);
	close(data);
	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE), 0);
	expect(f.size.stop_copy_length >= state_len / 2 && f.size.stop_copy_length <= STATE_MAX);

	copy_dirty(copy);
	copy_what_the_cpu_wrote(copy);
	if (memcmp(copy, g, MEM_SIZE))
		fail("the device wrote where its log does not say");
	write_file("memory", copy, MEM_SIZE);
	write_file("state", state, state_len);
	printf("ok - saved after %llu commands, %u outstanding, %zu bytes of state\n", (unsigned long long)done,
	       g->s.busy, state_len);
}

/* ---- resume ---- */

static void write_all(int fd, const uint8_t *p, size_t len)
{
	struct pollfd w = {.fd = fd, .events = POLLOUT};

	while (len) {
		ssize_t n = write(fd, p, len < 999 ? len : 999);

		expect(n > 0 || errno == EAGAIN);
		if (n < 0)
			expect_eq(poll(&w, 1, 60000), 1);
		p += n > 0 ? n : 0;
		len -= n > 0 ? n : 0;
	}
}

static void resume(void)
{
	uint64_t before;
	int data;

	machine_make();
	expect_eq(read_file("memory", g, MEM_SIZE), MEM_SIZE);
	state_len = read_file("state", state, STATE_MAX);

	/* What is cut off is no state; a reset is the way out. */
	data = set_state(VFIO_DEVICE_STATE_RESUMING);
	expect(data >= 0);
	write_all(data, state, state_len / 2);
	{
		struct feature f = {.state = {.device_state = VFIO_DEVICE_STATE_RUNNING}};

		expect_errno(feature(&f, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), EINVAL);
	}
	close(data);
	expect_eq(get_state(), VFIO_DEVICE_STATE_ERROR);
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
	expect_eq(get_state(), VFIO_DEVICE_STATE_RUNNING);

	data = set_state(VFIO_DEVICE_STATE_RESUMING);
	write_all(data, state, state_len);
	expect_eq(set_state(VFIO_DEVICE_STATE_STOP), -1);
	close(data);
	irq_set_up();
	expect_eq(g->s.busy, OUTSTANDING);
	before = g->s.interrupts;
	expect_eq(set_state(VFIO_DEVICE_STATE_RUNNING), -1);
	drain();
	expect(g->s.interrupts > before);
	work(WARM);
	drain();
	verify_disk();
	printf("ok - resumed, %llu commands in all\n", (unsigned long long)g->s.done);
}

int main(int argc, char **argv)
{
	if (argc != 3 || chdir(argv[2]))
		return 2;
	alarm(300);
	if (!strcmp(argv[1], "save"))
		save();
	else
		resume();
	return 0;
}
