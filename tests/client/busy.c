/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller that has much to do, so that its doorbells may be served in another way than when it has little: nothing
 * of what a program sees changes.
 */
#include "client.h"

#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#define PAGES 64u

static uint8_t *data;
static pthread_t asker;
static bool ask;

/* Whoever serves the doorbells does not come to rest meanwhile. */
static void *ask_on(void *arg)
{
	uint64_t offset = *(uint64_t *)arg;
	uint16_t id;

	while (__atomic_load_n(&ask, __ATOMIC_RELAXED))
		if (pread(device, &id, sizeof(id), offset) != sizeof(id))
			break;
	return NULL;
}

static void asker_start(void)
{
	static uint64_t offset;

	offset = region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset;
	ask = true;
	expect_eq(pthread_create(&asker, NULL, ask_on, &offset), 0);
}

static void asker_stop(void)
{
	__atomic_store_n(&ask, false, __ATOMIC_RELAXED);
	pthread_join(asker, NULL);
}

static void busy_start(void)
{
	device_open(VFIO_TYPE1_IOMMU);
	nvme_start(false);
	data = pages_alloc(16 * PAGE);
	expect_eq(dma_map(data, DATA_IOVA, 16 * PAGE, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE), 0);
	asker_start();
}

static void busy_stop(void)
{
	asker_stop();
	nvme_stop();
	expect_eq(dma_unmap(DATA_IOVA, 16 * PAGE, 0, NULL), 0);
	device_close();
}

/* Plain memory, which another process could read too, or registers. */
static bool doorbells_are_memory(void)
{
	uint32_t v;
	struct iovec to = {&v, sizeof(v)}, from = {(void *)nvme_doorbell_at(), sizeof(v)};

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == sizeof(v);
}

static void read_page(unsigned int page)
{
	expect_eq(nvme_rw(false, page, PAGE, DATA_IOVA), 0);
}

/* Where they never are, this is merely busy. */
static void busy_until_memory(void)
{
	for (unsigned int i = 0; i < 5000 && !doorbells_are_memory(); i++)
		read_page(i % PAGES);
}

static void fill_disk(void)
{
	for (unsigned int p = 0; p < PAGES; p++) {
		memset(data, (int)(p + 1), PAGE);
		expect_eq(nvme_rw(true, p, PAGE, DATA_IOVA), 0);
	}
}

static void busy_data(void)
{
	busy_start();
	fill_disk();
	asker_stop(); /* here it shall rest now and then */
	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int n = 1 + (round / 100 + round) % 15;

		memset(data, 0, 16 * PAGE);
		for (unsigned int i = 0; i < n; i++) {
			nvme_put_read((round + i) % PAGES, DATA_IOVA + i * PAGE);
			if (round % 3 == 0)
				nvme_ring();
		}
		if (round % 3)
			nvme_ring();
		for (unsigned int i = 0; i < n; i++)
			expect_eq(nvme_collect(), 0);
		for (unsigned int i = 0; i < n; i++)
			expect_eq(data[i * PAGE + 99], (round + i) % PAGES + 1);
		if (round % 500 == 499)
			usleep(3000);
	}
	asker_start();
	busy_stop();
}

static void nothing_comes(void)
{
	usleep(30000);
	expect(!nvme_has_completion());
}

/* Put, and not rung for. */
static void put_reads(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		nvme_put_read(i, DATA_IOVA + i * PAGE);
}

/* What was not done when the controller stopped never is, whatever is stored to its doorbell. */
static void stopped(void (*stop)(void))
{
	for (unsigned int i = 0; i < 4; i++) {
		busy_start();
		busy_until_memory();
		put_reads(5);
		if (i % 2)
			nvme_ring();
		stop();
		memset(data, 0x77, 16 * PAGE);
		for (unsigned int v = 0; v < 16; v++)
			*nvme_doorbell_at() = v;
		usleep(10000);
		for (unsigned int k = 0; k < 16 * PAGE; k++)
			expect_eq(data[k], 0x77);
		/* nvme_stop() looks at registers. */
		config_write(PCI_COMMAND, 2, config_read(PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		busy_stop();
	}
}

static void reset(void)
{
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
}

static void disable(void)
{
	*(volatile uint32_t *)((volatile uint8_t *)nvme_bar() + 0x14) = 0;
	while (*(volatile uint32_t *)((volatile uint8_t *)nvme_bar() + 0x1c) & 1)
		;
}

static void busy_reset(void)
{
	stopped(reset);
}

static void busy_disable(void)
{
	stopped(disable);
}

/* Runs f in a child, whose end, by a signal or not, is its own matter. */
static void in_child(void (*f)(void))
{
	pid_t pid = fork();

	if (!pid) {
		f();
		_exit(0);
	}
	expect(pid > 0);
	expect_eq(waitpid(pid, NULL, 0), pid);
}

static void ring_only(void)
{
	*nvme_doorbell_at() = nvme_tail();
}

static void busy_memory_off(void)
{
	busy_start();
	for (unsigned int i = 0; i < 5; i++) {
		uint32_t command = config_read(PCI_COMMAND, 2);

		busy_until_memory();
		config_write(PCI_COMMAND, 2, command & ~PCI_COMMAND_MEMORY);
		put_reads(3);
		in_child(ring_only);
		config_write(PCI_COMMAND, 2, command);
		nothing_comes();
		nvme_ring();
		for (unsigned int k = 0; k < 3; k++)
			expect_eq(nvme_collect(), 0);
	}
	busy_stop();
}

/* A child has its parent's registers. */
static void busy_fork(void)
{
	busy_start();
	for (unsigned int i = 0; i < 5; i++) {
		busy_until_memory();
		put_reads(4);
		in_child(ring_only);
		for (unsigned int k = 0; k < 4; k++)
			expect_eq(nvme_collect(), 0);
	}
	busy_stop();
}

static void die_at_work(void)
{
	busy_start();
	busy_until_memory();
	put_reads(9);
	nvme_ring();
	raise(SIGKILL);
}

static void busy_killed(void)
{
	for (unsigned int i = 0; i < 5; i++)
		in_child(die_at_work);
	busy_start();
	nothing_comes();
	read_page(1);
	busy_stop();
}

static int go[2];

static void old_owner(void)
{
	pid_t pid;
	char c;

	busy_start();
	busy_until_memory();
	pid = fork();
	expect(pid >= 0);
	if (pid)
		_exit(0);
	device_close();
	close(go[1]);
	if (read(go[0], &c, 1) == 1)
		for (unsigned int v = 0; v < 16; v++)
			*nvme_doorbell_at() = v;
	_exit(0);
}

/* What is left of an owner's mapping in some other process is not the next owner's device. */
static void busy_old_mapping(void)
{
	int g = -1;

	expect_eq(pipe(go), 0);
	in_child(old_owner);
	for (unsigned int i = 0; g < 0 && i < 100; i++) {
		g = group_open();
		if (g < 0)
			usleep(10000);
	}
	if (g < 0)
		skip_case("the mapping keeps the group");
	close(g);
	busy_start();
	busy_until_memory();
	put_reads(4);
	expect_eq(write(go[1], "", 1), 1);
	nothing_comes();
	nvme_ring();
	for (unsigned int i = 0; i < 4; i++)
		expect_eq(nvme_collect(), 0);
	busy_stop();
}

const struct client_case busy_cases[] = {
    {"busy-data", "many commands, at all depths, move what they should", busy_data},
    {"busy-reset", "nothing is done after a reset that came in between", busy_reset},
    {"busy-disable", "nothing is done after CC.EN was cleared in between", busy_disable},
    {"busy-memory-off", "a doorbell rung while COMMAND.MEM is clear is not rung later", busy_memory_off},
    {"busy-fork", "a child rings its parent's doorbell", busy_fork},
    {"busy-killed", "the next owner finds nothing of one that was killed at work", busy_killed},
    {"busy-old-mapping", "a mapping of an earlier owner's leads nowhere", busy_old_mapping},
    {NULL, NULL, NULL},
};
