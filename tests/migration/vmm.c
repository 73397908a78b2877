/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine monitor as small as can be.
 *
 *   vmm save DIR      starts a guest, copies its memory while it runs, stops it with commands outstanding, and leaves
 *		       DIR/memory and DIR/state
 *   vmm resume DIR    takes it from there: the outstanding commands complete, and the guest works on
 */
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>
#include "uapi/vfio_abi.h"

#define WARM	    3000u /* commands before, while and after it moves */
#define OUTSTANDING 8u	  /* that nobody has fetched when it stops */
#define STATE_MAX   (4u << 20)
#define CMB_BAR	    2
#define CMB_SIZE    (512 * 1024u)

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

/* ---- the controller's own memory, which the guest writes behind everybody's back ---- */

static uint8_t *cmb_map(void)
{
	struct vfio_region_info r = region_info(CMB_BAR);
	void *p;

	expect(r.size >= CMB_SIZE);
	p = mmap(NULL, CMB_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(p != MAP_FAILED);
	return p;
}

enum { BEFORE, DURING, AFTER }; /* when something was written */

/* Each page by its number and the moment; the last quarter stays zero, and a page becomes so. */
static uint8_t cmb_byte(unsigned int page, unsigned int moment)
{
	if (page >= CMB_SIZE / PAGE * 3 / 4 || (page == 7 && moment == DURING) || (page == 9 && moment == AFTER))
		return 0;
	if (moment == AFTER && page % 16 != 1)
		moment = DURING;
	if (moment == DURING && page % 8 != 1)
		moment = BEFORE;
	return page * 3 + 17 + moment;
}

static void cmb_write(uint8_t *cmb, unsigned int moment)
{
	for (unsigned int i = 0; i < CMB_SIZE / PAGE; i++)
		if (cmb[i * PAGE] != cmb_byte(i, moment))
			memset(cmb + i * PAGE, cmb_byte(i, moment), PAGE);
}

static void cmb_verify(const uint8_t *cmb)
{
	for (unsigned int i = 0; i < CMB_SIZE; i++)
		if (cmb[i] != cmb_byte(i / PAGE, AFTER))
			fail("byte %#x of the controller's memory is %#x, not %#x", i, cmb[i],
			     cmb_byte(i / PAGE, AFTER));
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
	expect(n < 0 && errno == ENOMSG);
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

static void expect_left(int data, uint64_t initial_min, uint64_t initial_max, uint64_t dirty)
{
	struct vfio_precopy_info info = {.argsz = sizeof(info)};

	expect_eq(ioctl(data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	if (info.initial_bytes < initial_min || info.initial_bytes > initial_max || info.dirty_bytes / PAGE != dirty)
		fail("%llu bytes at first and %llu dirty ones are left", (unsigned long long)info.initial_bytes,
		     (unsigned long long)info.dirty_bytes);
}

/* A copy under a number of the program's own choice is a socket; the number that it was given is not. */
static void expect_nothing_there(int data)
{
	int copy = dup2(data, 77);
	uint8_t byte;

	expect_eq(copy, 77);
	expect_errno(read(copy, &byte, 1), EAGAIN);
	close(copy);
	expect_errno(read(data, &byte, 1), ENOMSG);
	expect_eq(read(data, &byte, 0), 0);
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
	uint8_t *copy = pages_alloc(MEM_SIZE), *cmb;
	struct feature f = {0};
	size_t early;
	uint64_t done;
	int data;

	machine_make();
	irq_set_up();
	cmb = cmb_map();
	cmb_write(cmb, BEFORE);
	boot();
	work(WARM);
	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION), 0);
	expect_eq(f.migration.flags, VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY);
	expect_eq(get_state(), VFIO_DEVICE_STATE_RUNNING);

	/* It works on while its memory is copied, and what the device wrote meanwhile copied again. */
	logging_start();
	data = set_state(VFIO_DEVICE_STATE_PRE_COPY);
	expect(data >= 0);
	expect_left(data, CMB_SIZE * 3 / 4, CMB_SIZE, 0);
	memcpy(copy, g, MEM_SIZE);
	work(WARM);
	read_state(data);
	expect_left(data, 0, 0, 0);
	expect_nothing_there(data);
	early = state_len;
	expect(early > CMB_SIZE * 3 / 4);
	cmb_write(cmb, DURING);
	expect_left(data, 0, 0, CMB_SIZE / PAGE * 3 / 4 / 8 + 1);
	work(WARM);
	read_state(data);
	expect(state_len - early > PAGE * CMB_SIZE / PAGE * 3 / 4 / 8 && state_len - early < CMB_SIZE / 4);
	expect_left(data, 0, 0, 0);
	expect(copy_dirty(copy) > 0);
	work(WARM);
	copy_dirty(copy);
	work(100);

	/* Quiet: what it has fetched is done. What was rung for and not fetched stays, and what is put now as well. */
	expect_eq(set_state(VFIO_DEVICE_STATE_PRE_COPY_P2P), -1);
	while (complete_one())
		;
	expect(g->s.busy < OUTSTANDING);
	done = g->s.done;
	while (g->s.busy < OUTSTANDING)
		submit(OUTSTANDING);
	ring(1);
	usleep(20000);
	expect(!complete_one());
	cmb_write(cmb, AFTER);
	early = state_len;
	expect_eq(set_state(VFIO_DEVICE_STATE_STOP_COPY), -1);
	read_state_to_end(data);
	expect(state_len - early < CMB_SIZE / 4); /* the rest, and no more */
	cmb_verify(cmb);
	expect_eq(set_state(VFIO_DEVICE_STATE_STOP), -1);
	expect_errno(read(data, copy, 1), ENODEV);
	close(data);
	expect_eq(feature(&f, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE), 0);
	expect(f.size.stop_copy_length >= state_len / 4 && f.size.stop_copy_length <= STATE_MAX);

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
	while (len) {
		size_t n = len < 999 ? len : 999;

		expect_eq(write(fd, p, n), n);
		p += n;
		len -= n;
	}
}

/* What is no state leads to ERROR, and a reset out of it. */
static void try_garbage(const uint8_t *p, size_t len)
{
	struct feature f = {.state = {.device_state = VFIO_DEVICE_STATE_RUNNING}};
	int data = set_state(VFIO_DEVICE_STATE_RESUMING);
	uint8_t byte;

	expect(data >= 0);
	expect_eq(read(data, &byte, 1), 0);
	while (len) {
		ssize_t n = write(data, p, len);

		expect(n > 0);
		p += n;
		len -= n;
	}
	expect_errno(feature(&f, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), EINVAL);
	expect_eq(f.state.data_fd, -1);
	close(data);
	expect_eq(get_state(), VFIO_DEVICE_STATE_ERROR);
	f.state.device_state = VFIO_DEVICE_STATE_STOP;
	expect_errno(feature(&f, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), EINVAL);
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
	expect_eq(get_state(), VFIO_DEVICE_STATE_RUNNING);
}

static void resume(void)
{
	uint64_t before, n;
	int data;

	machine_make();
	expect_eq(read_file("memory", g, MEM_SIZE), MEM_SIZE);
	state_len = read_file("state", state, STATE_MAX);

	try_garbage(state, state_len / 2);
	try_garbage(pages_alloc(16 << 20), 16 << 20);

	data = set_state(VFIO_DEVICE_STATE_RESUMING);
	write_all(data, state, state_len);
	expect_eq(set_state(VFIO_DEVICE_STATE_STOP), -1);
	close(data);
	cmb_verify(cmb_map());
	irq_set_up();
	expect_eq(g->s.busy, OUTSTANDING);
	before = g->s.interrupts;
	expect_eq(set_state(VFIO_DEVICE_STATE_RUNNING), -1);
	drain();
	if (read(irq, &n, sizeof(n)) > 0) /* it may never have had to sleep */
		g->s.interrupts += n;
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
