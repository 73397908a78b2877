/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory CASE: ways to lose memory that is mapped for DMA, and ways that only look like it. What is to be found, and
 * where, is in memory_test.py: each mistake is made in a function that has its case's name.
 */
#include "golden/golden.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static uint8_t *buffer;
static int file;
static int done; /* calls that are looked for in stacks are not the last thing that a function does */

static void map_at(void *va, uint64_t iova, uint64_t size)
{
	expect_eq(dma_map(va, iova, size, MAP_RW), 0);
}

static void device_reads(void)
{
	expect_eq(nvme_rw(true, 0, PAGE, DATA_IOVA), 0);
}

/* Pages of the middle: what lies beside them stays. */
static void private_buffer(void)
{
	buffer = pages_alloc(4 * PAGE);
	memset(buffer, 1, 4 * PAGE);
	map_at(buffer + PAGE, DATA_IOVA, 2 * PAGE);
}

static void file_buffer(void)
{
	file = memfd_create("buffer", 0);
	expect_eq(ftruncate(file, 4 * PAGE), 0);
	buffer = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	map_at(buffer + PAGE, DATA_IOVA, 2 * PAGE);
}

static void shared_buffer(void)
{
	buffer = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map_at(buffer, DATA_IOVA, 2 * PAGE);
}

/* ---- freed ---- */

static void unmapped_beside(void)
{
	private_buffer();
	done += munmap(buffer, PAGE);
	done += munmap(buffer + 3 * PAGE, PAGE);
	device_reads();
}

static void unmapped_half(void)
{
	private_buffer();
	done += munmap(buffer + 2 * PAGE, 2 * PAGE);
	device_reads();
	expect_eq(nvme_rw(true, 0, PAGE, DATA_IOVA + PAGE), 0);
}

static void made_inaccessible(void)
{
	private_buffer();
	done +=
	    mmap(buffer, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != NULL;
	device_reads();
}

static void shrunk(void)
{
	private_buffer();
	done += mremap(buffer, 4 * PAGE, PAGE, 0) == buffer;
	device_reads();
}

static void heap_shrunk(void)
{
	char *top = sbrk(0);
	intptr_t grow = ((uintptr_t)top | (PAGE - 1)) + 1 - (uintptr_t)top + 2 * PAGE;

	expect(sbrk(grow) == top);
	buffer = (uint8_t *)top + grow - 2 * PAGE;
	memset(buffer, 1, 2 * PAGE);
	map_at(buffer, DATA_IOVA, 2 * PAGE);
	done += sbrk(-grow) != NULL;
	device_reads();
}

static void shared_unmapped(void)
{
	shared_buffer();
	done += munmap(buffer, 2 * PAGE);
	device_reads();
}

static void freed_before(void)
{
	private_buffer();
	done += munmap(buffer, 4 * PAGE);
	expect_eq(dma_unmap(DATA_IOVA, 2 * PAGE, 0, NULL), 0);
	private_buffer();
	device_reads();
}

static void file_unmapped(void)
{
	file_buffer();
	done += munmap(buffer, 4 * PAGE);
	device_reads();
}

static void shared_twice(void)
{
	uint8_t *second;

	shared_buffer();
	second = mremap(buffer, 0, 2 * PAGE, MREMAP_MAYMOVE);
	done += munmap(buffer, 2 * PAGE);
	device_reads();
	done += munmap(second, 2 * PAGE);
}

static void shared_with_child(void)
{
	pid_t pid;

	shared_buffer();
	pid = fork();
	if (!pid)
		_exit(0);
	done += munmap(buffer, 2 * PAGE);
	device_reads();
	expect_eq(waitpid(pid, NULL, 0), pid);
}

/* ---- stale ---- */

static void replaced(void)
{
	private_buffer();
	done += mmap(buffer, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == buffer;
	device_reads();
}

static void moved_over(void)
{
	uint8_t *other = pages_alloc(2 * PAGE);

	private_buffer();
	done += mremap(other, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, buffer + PAGE) != NULL;
	device_reads();
}

static void cut_and_grown(void)
{
	file_buffer();
	done += ftruncate(file, 0);
	done += ftruncate(file, 4 * PAGE);
	device_reads();
}

static void cut(void)
{
	file_buffer();
	done += ftruncate(file, PAGE);
	expect(nvme_rw(true, 0, PAGE, DATA_IOVA) != 0);
}

static void punched(void)
{
	file_buffer();
	done += fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE);
	device_reads();
}

static void removed(void)
{
	file_buffer();
	done += madvise(buffer, 4 * PAGE, MADV_REMOVE);
	device_reads();
}

static void replaced_in_vain(void)
{
	private_buffer();
	/* No such descriptor. */
	done += mmap(buffer, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, 12345, 0) == MAP_FAILED;
	device_reads();
}

static void moved(void)
{
	uint8_t *to = pages_alloc(64 * PAGE);

	private_buffer();
	expect(mremap(buffer, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	done += munmap(to + 4 * PAGE, 60 * PAGE);
	device_reads();
}

static void moved_and_unmapped(void)
{
	uint8_t *to = pages_alloc(64 * PAGE);

	private_buffer();
	expect(mremap(buffer, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	done += munmap(to, 64 * PAGE);
	device_reads();
}

static void advised(void)
{
	private_buffer();
	expect_eq(madvise(buffer, 4 * PAGE, MADV_FREE), 0);
	expect_eq(madvise(buffer, 4 * PAGE, MADV_WILLNEED), 0);
	expect_eq(mprotect(buffer, 4 * PAGE, PROT_READ), 0);
	device_reads();
}

/* ---- fork ---- */

static void child_waits(void)
{
	pid_t pid;
	int go[2];
	char c;

	private_buffer();
	expect_eq(pipe(go), 0);
	pid = fork();
	if (!pid) {
		munmap(buffer, 4 * PAGE);
		_exit(read(go[0], &c, 1) != 1);
	}
	for (int i = 0; i < 100; i++)
		device_reads();
	expect_eq(write(go[1], "", 1), 1);
	expect_eq(waitpid(pid, NULL, 0), pid);
	device_reads();
}

static int status_of(pid_t pid)
{
	int status = -1;

	expect_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* The child rings for what its parent has put into the queue: its own copy of the queue is of no use. */
static void child_drives(void)
{
	pid_t pid;

	private_buffer();
	for (int i = 0; i < 3; i++)
		nvme_put_read(0, DATA_IOVA);
	pid = fork();
	done += pid != 0;
	if (!pid) {
		nvme_ring();
		/* A read: what was posted has been done when it returns. */
		_exit(nvme_cap() == 0);
	}
	expect_eq(status_of(pid), 0);
	for (int i = 0; i < 3; i++)
		expect_eq(nvme_collect(), 0);
}

/* The parent leaves; the child rings with its copies of everything. */
static void daemonized(void)
{
	int gone[2];
	pid_t pid;
	char c;

	private_buffer();
	for (int i = 0; i < 3; i++)
		nvme_put_read(0, DATA_IOVA);
	expect_eq(pipe(gone), 0);
	pid = fork();
	done += pid != 0;
	if (pid)
		_exit(0);
	close(gone[1]);
	expect_eq(read(gone[0], &c, 1), 0);
	/* The pipe is closed in the midst of its end. */
	for (int i = 0; i < 200; i++) {
		nvme_cap();
		usleep(10000);
	}
	nvme_ring();
	nvme_cap();
	usleep(100000);
	_exit(0);
}

/* ---- heap: built with AddressSanitizer ---- */

static void heap_freed(void)
{
	uint8_t *small;

	buffer = aligned_alloc(PAGE, 16 * PAGE);
	map_at(buffer, DATA_IOVA, 16 * PAGE);
	small = buffer;
	device_reads();
	free(small);
	device_reads();
	done++;
}

static void heap_resized(void)
{
	uint8_t *old = aligned_alloc(PAGE, PAGE);

	map_at(old, DATA_IOVA, PAGE);
	buffer = realloc(old, 2 * PAGE);
	device_reads();
	free(buffer);
}

static void heap_kept(void)
{
	void *volatile small[64];

	buffer = aligned_alloc(PAGE, 16 * PAGE);
	map_at(buffer, DATA_IOVA, 16 * PAGE);
	for (int k = 0; k < 100; k++) {
		for (size_t i = 0; i < COUNT(small); i++)
			small[i] = malloc(16 + 100 * i);
		for (size_t i = 0; i < COUNT(small); i++)
			free(small[i]);
	}
	device_reads();
	expect_eq(dma_unmap(DATA_IOVA, 16 * PAGE, 0, NULL), 0);
	free(buffer);
}

/* An arena, mapped once: what is in use in it changes. */
static void heap_recycled(void)
{
	/* As numbers: compilers know that no pointer is what has been freed. */
	volatile uintptr_t first, again = 0;

	buffer = aligned_alloc(PAGE, 4 * PAGE);
	first = (uintptr_t)buffer;
	map_at(buffer, DATA_IOVA, 4 * PAGE);
	free(buffer);
	for (int i = 0; i < 100000 && again != first; i++) {
		buffer = aligned_alloc(PAGE, 4 * PAGE);
		again = (uintptr_t)buffer;
		if (again != first)
			free(buffer);
	}
	expect(again == first);
	device_reads();
}

/* ---- limits ---- */

static void limit(uint64_t bytes)
{
	struct rlimit r = {bytes, bytes};

	expect_eq(setrlimit(RLIMIT_MEMLOCK, &r), 0);
}

static void refused(void)
{
	buffer = pages_alloc(256 * PAGE);
	done += dma_map(buffer, DATA_IOVA, 256 * PAGE, MAP_RW) == ENOMEM;
	map_at(buffer + 128 * PAGE, DATA_IOVA, PAGE);
	map_at(buffer, DATA_IOVA + PAGE, PAGE);
}

static void refused_and_gave_up(void)
{
	buffer = pages_alloc(256 * PAGE);
	done += dma_map(buffer, DATA_IOVA, 256 * PAGE, MAP_RW) == ENOMEM;
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
#define CASE(name)                                                                                                     \
	{                                                                                                              \
#name, name                                                                                            \
	}
    CASE(unmapped_beside),
    CASE(unmapped_half),
    CASE(made_inaccessible),
    CASE(shrunk),
    CASE(heap_shrunk),
    CASE(shared_unmapped),
    CASE(freed_before),
    CASE(file_unmapped),
    CASE(shared_twice),
    CASE(shared_with_child),
    CASE(replaced),
    CASE(moved_over),
    CASE(cut_and_grown),
    CASE(cut),
    CASE(punched),
    CASE(removed),
    CASE(replaced_in_vain),
    CASE(moved),
    CASE(moved_and_unmapped),
    CASE(advised),
    CASE(child_waits),
    CASE(child_drives),
    CASE(daemonized),
    CASE(heap_freed),
    CASE(heap_resized),
    CASE(heap_kept),
    CASE(heap_recycled),
    CASE(refused),
    CASE(refused_and_gave_up),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < COUNT(cases); i++) {
		if (strcmp(argv[1], cases[i].name))
			continue;
		if (argc > 2)
			limit(strtoul(argv[2], NULL, 0));
		driver_start();
		cases[i].run();
		driver_stop();
		return 0;
	}
	return 2;
}
