/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules A4 and A5: a device whose DMA loops into a controller's memory buffer, while that is taken away from it in
 * every way there is. The device is a controller or a copy engine.
 */
#include "peer.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include "uapi/vfio_abi.h"

#define ROUNDS	     100 /* of DMA that must not get through */
#define CLASS_ENGINE 0x0880

/* ---- a controller as the initiator ---- */

static void disk_start(void)
{
	uint8_t *page = pages_alloc(PAGE);

	controller_start();
	expect_eq(dma_map(page, DATA_IOVA, PAGE, RW), 0);
	fill_page(page, 'w');
	expect_eq(nvme_rw(true, 4, PAGE, DATA_IOVA), 0);
}

static bool disk_transfer(uint64_t iova)
{
	bool ok = !nvme_rw(false, 4, PAGE, iova);

	return !nvme_rw(true, 5, PAGE, iova) && ok;
}

static const struct initiator disk = {disk_start, disk_transfer};

/* ---- DMA that does not stop ---- */

static const struct initiator *initiator;

static void pick(void)
{
	device_ready();
	initiator = config_read(PCI_CLASS_DEVICE, 2) == CLASS_ENGINE ? &copy_engine : &disk;
}

static void started(void)
{
	device_bound();
	pick();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	initiator->start();
}

static struct {
	pthread_t thread;
	_Atomic bool stop;
	_Atomic unsigned int good, bad; /* transfers */
} loop;

/* All of the peer's memory, again and again. */
static void *loop_run(void *arg)
{
	while (!loop.stop) {
		unsigned int page = (loop.good + loop.bad) % (PEER_LEN / PAGE);

		if (initiator->transfer(PEER_IOVA + page * PAGE))
			loop.good++;
		else
			loop.bad++;
	}
	return NULL;
}

static void loop_start(void)
{
	loop.good = loop.bad = 0;
	expect_eq(pthread_create(&loop.thread, NULL, loop_run, NULL), 0);
	while (loop.good < 20)
		usleep(100);
}

/* ROUNDS transfers from now on, none of which gets through; the first may be one that was under way. */
static void loop_fails(void)
{
	unsigned int bad = loop.bad, good = loop.good;

	while (loop.bad < bad + ROUNDS) {
		expect(loop.good <= good + 1);
		usleep(100);
	}
}

static void loop_stop(void)
{
	loop.stop = true;
	pthread_join(loop.thread, NULL);
}

static void expect_cmb(const uint8_t *cmb, uint8_t c)
{
	for (unsigned int i = 0; i < PEER_LEN; i += PAGE)
		expect_page(cmb + i, c, "memory that was taken back");
}

static void unmap_whole(void)
{
	uint64_t len;

	expect_eq(dma_unmap(PEER_IOVA, PEER_LEN, 0, &len), 0);
	expect_eq(len, PEER_LEN);
}

/* takes returns when nobody has the memory any more; gives makes it the owner's again. */
static void revoked(void (*takes)(const struct target *t), void (*gives)(const struct target *t))
{
	struct target t = target_open();

	started();
	target_mapped(&t);
	loop_start();
	for (unsigned int i = 0; i < 3; i++) {
		takes(&t);
		gives(&t);
		/* On again at once, which does not bring it back. */
		memset(t.cmb, 'k', PEER_LEN);
		loop_fails();
		expect_cmb(t.cmb, 'k');
		unmap_whole();
		target_mapped(&t);
		while (loop.good % 7)
			usleep(10);
		for (unsigned int good = loop.good; loop.good < good + 20;)
			usleep(100);
	}
	loop_stop();
	unmap_whole();
}

static void target_power(const struct target *t, unsigned int state)
{
	target_config_write(t, target_capability(t, PCI_CAP_ID_PM) + PCI_PM_CTRL, state);
}

static void memory_off(const struct target *t)
{
	target_memory(t, false);
}

static void memory_on(const struct target *t)
{
	target_memory(t, true);
}

static void reset(const struct target *t)
{
	expect_eq(ioctl(t->fd, VFIO_DEVICE_RESET), 0);
}

static void flr(const struct target *t)
{
	unsigned int at = target_capability(t, PCI_CAP_ID_EXP);

	target_config_write(t, at + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
}

static void sleep_deep(const struct target *t)
{
	target_power(t, 3);
}

static void wake(const struct target *t)
{
	target_power(t, 0);
	target_memory(t, true);
}

static void revoked_memory(void)
{
	revoked(memory_off, memory_on);
}

static void revoked_reset(void)
{
	revoked(reset, memory_on);
}

static void revoked_flr(void)
{
	revoked(flr, memory_on);
}

static void revoked_sleep(void)
{
	revoked(sleep_deep, wake);
}

static int told[2], asked[2];

/* The next owner: finds nothing of what was there, and keeps what he writes. */
static void next_owner(void)
{
	struct target t;
	char c;

	expect_eq(read(asked[0], &c, 1), 1);
	t = target_open(); /* which waits until the device is free */
	expect_cmb(t.cmb, 0);
	memset(t.cmb, 'n', PEER_LEN);
	expect_eq(write(told[1], "x", 1), 1);
	expect_eq(read(asked[0], &c, 1), 1);
	expect_cmb(t.cmb, 'n');
}

/* The device goes to another program, while DMA loops into what the first one exported. */
static void revoked_close(void)
{
	struct target t;
	pid_t pid;
	char c;
	int fd;

	expect(!pipe(told) && !pipe(asked));
	pid = child_start(next_owner); /* now, so that it inherits nothing */
	t = target_open();
	started();
	fd = target_export(&t, CMB_BAR, 0, PEER_LEN);
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA, PEER_LEN), 0);
	loop_start();
	memset(t.cmb, 'o', PEER_LEN);
	expect_eq(write(asked[1], "x", 1), 1);
	target_close(&t);
	expect_eq(read(told[0], &c, 1), 1);
	loop_fails();
	/* What the first one still holds leads nowhere. */
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA + 0x1000000, PAGE), ENODEV);
	expect_eq(write(asked[1], "x", 1), 1);
	child_wait(pid);
	loop_stop();
	unmap_whole();
}

static void exporter(void)
{
	struct target t = target_open();
	char c;
	int fd = target_export(&t, CMB_BAR, 0, PEER_LEN);

	expect(fd >= 0);
	started();
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA, PEER_LEN), 0);
	loop_start();
	expect_eq(write(told[1], "x", 1), 1);
	expect_eq(read(asked[0], &c, 1), 1);
}

/* Both devices' owner is killed: whoever has the target next sees no byte of it. */
static void revoked_killed(void)
{
	struct target t;
	pid_t pid;
	char c;

	expect(!pipe(told) && !pipe(asked));
	for (unsigned int i = 0; i < 5; i++) {
		pid = child_start(exporter);
		expect_eq(read(told[0], &c, 1), 1);
		child_kill(pid);
		t = target_open();
		expect_cmb(t.cmb, 0);
		memset(t.cmb, 'n', PEER_LEN);
		device_wait_free();
		expect_cmb(t.cmb, 'n');
		target_close(&t);
	}
}

static void legacy(void)
{
	struct target t;
	uint8_t *bar0;

	target_legacy(&t);
	pick();
	initiator->start();
	bar0 = target_map(&t, 0, t.size[0]);
	/* More than once: it is said once. */
	expect_eq(dma_map(t.cmb, PEER_IOVA, PEER_LEN, RW), 0);
	expect_eq(dma_map(t.cmb + PAGE, PEER_IOVA + 0x1000000, PAGE, RW), 0);
	expect_eq(dma_map(bar0, PEER_IOVA + 0x2000000, t.size[0], RW), 0);
	expect_eq(dma_unmap(PEER_IOVA + 0x1000000, PAGE, 0, NULL), 0);
	expect_eq(dma_unmap(PEER_IOVA + 0x2000000, t.size[0], 0, NULL), 0);
	/* Part of it only; what runs over its end is none. */
	expect_eq(dma_map(bar0 + t.size[0] - PAGE, PEER_IOVA + 0x2000000, 2 * PAGE, RW), EFAULT);
	loop_start();
	memory_off(&t);
	expect_eq(dma_map(t.cmb + PAGE, PEER_IOVA + 0x1000000, PAGE, RW), EFAULT);
	memory_on(&t);
	memset(t.cmb, 'k', PEER_LEN);
	loop_fails();
	expect_cmb(t.cmb, 'k');
	loop_stop();
	unmap_whole();
}

const struct client_case revoked_cases[] = {
    {"rule-peer-revoked-memory", "A4: COMMAND.MEM is cleared", revoked_memory},
    {"rule-peer-revoked-reset", "A4: VFIO_DEVICE_RESET", revoked_reset},
    {"rule-peer-revoked-flr", "A4: a function-level reset", revoked_flr},
    {"rule-peer-revoked-sleep", "A4: D3hot", revoked_sleep},
    {"rule-peer-revoked-close", "A5: given to another program", revoked_close},
    {"rule-peer-revoked-killed", "A5: killed, and given to another program", revoked_killed},
    {"rule-peer-legacy", "B3: the address of a BAR in a container", legacy},
    {NULL, NULL, NULL},
};
