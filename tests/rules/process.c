/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules D1 and D2: a mapping of a file needs no process, and another process can take it over. */
#include "rules.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static int go[2], mem;

static uint8_t *file_mapped(void)
{
	uint8_t *p;

	mem = memfd_create("rules", MFD_CLOEXEC);
	expect(mem >= 0 && !ftruncate(mem, 8 * PAGE));
	p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	expect(p != MAP_FAILED);
	for (unsigned int i = 0; i < 8; i++)
		fill_page(p + i * PAGE, 'a' + i);
	return p;
}

static int change_process(void)
{
	struct iommu_ioas_change_process c = {.size = sizeof(c)};

	return ioctl_errno(container, IOMMU_IOAS_CHANGE_PROCESS, &c);
}

static void map_and_exit(void)
{
	expect_eq(space_map_file(dma_ioas, mem, PAGE, DATA_IOVA, 4 * PAGE), 0);
	close(mem);
}

static void file_needs_no_process(void)
{
	uint8_t *p = file_mapped();
	uint32_t second;

	device_started();
	child_wait(child_start(map_and_exit));
	munmap(p + 2 * PAGE, PAGE); /* nor an address of this one */
	close(mem);
	for (unsigned int i = 0; i < 4; i++)
		expect_sees(DATA_IOVA + i * PAGE, 'b' + i);
	expect(device_writes(DATA_IOVA, 'x'));
	expect_page(p + PAGE, 'x', "the file, as the device wrote it");
	/* Pinned anew by nobody that is still there. */
	second = space_with_rings();
	expect_eq(space_copy(second, DATA_IOVA, dma_ioas, DATA_IOVA, 4 * PAGE), 0);
	expect_eq(cdev_detach(device), 0);
	expect_eq(attach_to(second), 0);
	expect_sees(DATA_IOVA + PAGE, 'c');
	expect_eq(space_unmap(second, DATA_IOVA, 4 * PAGE), 0);
	expect_unreachable(DATA_IOVA);
	expect_eq(attach_to(dma_ioas), 0);
	expect_sees(DATA_IOVA + PAGE, 'c');
}

static void not_only_files(void)
{
	uint8_t *p = pages_alloc(PAGE);

	container = iommufd_open();
	dma_ioas = ioas_alloc(container);
	file_mapped();
	expect_eq(change_process(), 0);
	expect_eq(space_map_file(dma_ioas, mem, 0, DATA_IOVA, 4 * PAGE), 0);
	expect_eq(change_process(), 0);
	expect_eq(space_map(ioas_alloc(container), p, DATA_IOVA, PAGE, RW), 0);
	expect_eq(change_process(), EINVAL);
	expect_eq(change_process(), EINVAL);
}

/* The child takes over with too low a limit, and fails; then with one that is just enough. */
static void take_over(void)
{
	struct rlimit lim;

	limit_set(7);
	expect_eq(change_process(), ENOMEM);
	expect_eq(write(go[1], "x", 1), 1);
	expect(!getrlimit(RLIMIT_MEMLOCK, &lim));
	lim.rlim_cur = 8 * PAGE;
	expect(!setrlimit(RLIMIT_MEMLOCK, &lim));
	expect_eq(change_process(), 0);
	expect_eq(write(go[1], "y", 1), 1);
}

static void all_or_nothing(void)
{
	uint8_t *p = pages_alloc(8 * PAGE);
	uint32_t hwpt, other;
	pid_t pid;
	char c;

	limit_set(8);
	process_mode();
	device_bound();
	file_mapped();
	dma_ioas = ioas_alloc(container);
	other = ioas_alloc(container);
	expect_eq(hwpt_alloc(dma_ioas, 0, 0, NULL, 0, &hwpt), 0);
	expect_eq(hwpt_alloc(other, 0, 0, NULL, 0, &hwpt), 0);
	expect_eq(space_map_file(dma_ioas, mem, 0, DATA_IOVA, 4 * PAGE), 0);
	expect_eq(space_map_file(other, mem, 4 * PAGE, DATA_IOVA, 4 * PAGE), 0);
	expect_eq(space_copy(other, 2 * DATA_IOVA, dma_ioas, DATA_IOVA, 4 * PAGE), 0);
	expect_eq(space_map(dma_ioas, p, 3 * DATA_IOVA, PAGE, RW), ENOMEM);
	expect_eq(pipe(go), 0);
	pid = child_start(take_over);
	expect_eq(read(go[0], &c, 1), 1);
	expect_eq(read(go[0], &c, 1), 1);
	child_wait(pid);
	/* Nothing of it is this process's any more. */
	expect_eq(space_map(dma_ioas, p, 3 * DATA_IOVA, 8 * PAGE, RW), 0);
	expect_eq(space_unmap(dma_ioas, DATA_IOVA, 4 * PAGE), 0);
	expect_eq(space_unmap(other, 0, UINT64_MAX), 0);
}

/* A change that failed has charged nobody else. */
static void fail_to_take_over(void)
{
	limit_set(7);
	expect_eq(change_process(), ENOMEM);
	expect_eq(change_process(), ENOMEM);
}

static void nothing(void)
{
	uint8_t *p = pages_alloc(8 * PAGE);

	limit_set(8);
	process_mode();
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	file_mapped();
	expect_eq(space_map_file(dma_ioas, mem, 0, DATA_IOVA, 8 * PAGE), 0);
	child_wait(child_start(fail_to_take_over));
	expect_eq(space_map(dma_ioas, p, 3 * DATA_IOVA, PAGE, RW), ENOMEM);
	expect_eq(space_unmap(dma_ioas, DATA_IOVA, 8 * PAGE), 0);
	expect_eq(space_map(dma_ioas, p, 3 * DATA_IOVA, 8 * PAGE, RW), 0);
}

const struct client_case process_cases[] = {
    {"rule-file-needs-no-process", "D1: DMA to a file whose mapper has exited", file_needs_no_process},
    {"rule-change-process-files", "D2: EINVAL with a mapping that is no file's", not_only_files},
    {"rule-change-process", "D2: the whole charge moves, or none of it", all_or_nothing},
    {"rule-change-process-nothing", "D2: what failed has changed nothing", nothing},
    {NULL, NULL, NULL},
};
