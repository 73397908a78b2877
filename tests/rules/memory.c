/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules A1, A2, A3 and A6 with a real device behind an iommufd: what it can reach, for how long, and no longer. */
#include "rules.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER_IOVA (DATA_IOVA + 0x100000)

/* ---- A2: a pin holds the page, until the last IOVA of the last IOAS is gone ---- */

static uint8_t *replaced_at;

static void game_munmap(uint8_t *p)
{
	munmap(p, PAGE);
}

static void game_fixed(uint8_t *p)
{
	expect(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	fill_page(p, 'n');
}

static void game_fixed_shared(uint8_t *p)
{
	expect(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	fill_page(p, 'n');
}

static void game_discard(uint8_t *p)
{
	expect(!madvise(p, PAGE, MADV_DONTNEED));
}

static void game_move(uint8_t *p)
{
	replaced_at = mremap(p, PAGE, 4 * PAGE, MREMAP_MAYMOVE);
	expect(replaced_at != MAP_FAILED);
}

static void game_move_over(uint8_t *p)
{
	uint8_t *q = pages_alloc(PAGE);

	fill_page(q, 'n');
	expect(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
}

static void write_and_die(void)
{
	fill_page(replaced_at, 'c');
}

static void game_fork(uint8_t *p)
{
	replaced_at = p;
	child_wait(child_start(write_and_die));
}

static void game_protect(uint8_t *p)
{
	expect(!mprotect(p, PAGE, PROT_NONE));
}

static void page_faithful(void)
{
	static void (*const games[])(uint8_t * p) = {game_munmap, game_fixed,	  game_fixed_shared, game_discard,
						     game_move,	  game_move_over, game_fork,	     game_protect};
	uint32_t second;

	device_started();
	second = space_with_rings();
	for (unsigned int i = 0; i < COUNT(games); i++) {
		uint8_t *p = pages_alloc(PAGE);

		fill_page(p, 'o');
		expect_eq(space_map(dma_ioas, p, DATA_IOVA, PAGE, RW), 0);
		expect_eq(space_copy(dma_ioas, OTHER_IOVA, dma_ioas, DATA_IOVA, PAGE), 0);
		expect_eq(space_copy(second, DATA_IOVA, dma_ioas, DATA_IOVA, PAGE), 0);
		games[i](p);
		expect_sees(DATA_IOVA, 'o');
		/* One place after the other goes; the page stays for those that are left, what the device writes too.
		 */
		expect(device_writes(OTHER_IOVA, '1'));
		expect_eq(space_unmap(dma_ioas, DATA_IOVA, PAGE), 0);
		expect_unreachable(DATA_IOVA);
		expect_sees(OTHER_IOVA, '1');
		expect_eq(space_unmap(dma_ioas, OTHER_IOVA, PAGE), 0);
		expect_unreachable(OTHER_IOVA);
		expect_eq(attach_to(second), 0);
		expect_sees(DATA_IOVA, '1');
		expect(device_writes(DATA_IOVA, '2'));
		expect_sees(DATA_IOVA, '2');
		expect_eq(space_unmap(second, DATA_IOVA, PAGE), 0);
		expect_unreachable(DATA_IOVA);
		expect_eq(attach_to(dma_ioas), 0);
	}
}

/* The same when the first IOAS is destroyed, and when one area of the pages is not all of them. */
static void source_destroyed(void)
{
	uint8_t *p = pages_alloc(4 * PAGE);
	uint32_t second;

	device_started();
	for (unsigned int i = 0; i < 4; i++)
		fill_page(p + i * PAGE, 'a' + i);
	expect_eq(space_map(dma_ioas, p, DATA_IOVA, 4 * PAGE, RW), 0);
	second = space_with_rings();
	expect_eq(space_copy(second, DATA_IOVA, dma_ioas, DATA_IOVA + 2 * PAGE, PAGE), 0);
	expect_eq(attach_to(second), 0);
	expect_eq(object_destroy(dma_ioas), 0);
	dma_ioas = second;
	munmap(p, 4 * PAGE);
	expect_sees(DATA_IOVA, 'c');
	expect_unreachable(DATA_IOVA + PAGE);
	expect_unreachable(DATA_IOVA - PAGE);
	expect_eq(space_unmap(second, DATA_IOVA, PAGE), 0);
	expect_unreachable(DATA_IOVA);
}

/* A1: the address counts when the pin is made, which is when the first page table is: not before, not after. */
static void pin_never_peek(void)
{
	uint8_t *p = pages_alloc(2 * PAGE);
	uint32_t second;

	device_started();
	fill_page(p, 'a');
	fill_page(p + PAGE, 'b');
	second = space_with_rings();
	expect_eq(space_map(second, p, DATA_IOVA, 2 * PAGE, RW), 0);
	expect_unreachable(DATA_IOVA); /* of another space */
	expect_eq(attach_to(second), 0);
	munmap(p, 2 * PAGE);
	expect(mmap(p, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	fill_page(p, 'x');
	fill_page(p + PAGE, 'y');
	expect_sees(DATA_IOVA, 'a');
	expect_sees(DATA_IOVA + PAGE, 'b');
	/* What was never mapped cannot be reached by any neighbour's mapping. */
	expect_unreachable(DATA_IOVA + 2 * PAGE);
	expect_unreachable((uintptr_t)p);
}

/* What lies past the end of its file is found out when it is to be pinned, as any other bad address. */
static void pin_past_the_end(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	uint32_t second;
	uint8_t *p;

	expect(fd >= 0 && !ftruncate(fd, PAGE));
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(p != MAP_FAILED);
	device_started();
	fill_page(p, 'a');
	second = space_with_rings();
	expect_eq(space_map(second, p, DATA_IOVA, 2 * PAGE, RW), 0);
	expect_eq(space_map(second, p + 2 * PAGE, OTHER_IOVA, 2 * PAGE, RW), 0);
	expect_eq(attach_to(second), EFAULT);
	expect_eq(space_unmap(second, DATA_IOVA, 2 * PAGE), 0);
	expect_eq(attach_to(second), EFAULT);
	expect_eq(space_unmap(second, OTHER_IOVA, 2 * PAGE), 0);
	expect_eq(space_map(second, p, DATA_IOVA, PAGE, RW), 0);
	expect_eq(attach_to(second), 0);
	expect_sees(DATA_IOVA, 'a');
	expect_eq(space_map(second, p, OTHER_IOVA, 2 * PAGE, RW), EFAULT);
	expect_unreachable(OTHER_IOVA);
	close(fd);
}

/* ---- A3: when the call returns, no DMA arrives any more ---- */

static uint8_t *page;
static uint32_t spare; /* an IOAS with the rings alone */

static void end_unmap(void)
{
	expect_eq(space_unmap(dma_ioas, DATA_IOVA, PAGE), 0);
}

static void end_unmap_all(void)
{
	expect_eq(space_unmap(dma_ioas, 0, UINT64_MAX), 0);
}

static void end_detach(void)
{
	expect_eq(cdev_detach(device), 0);
}

static void end_replace(void)
{
	expect_eq(attach_to(spare), 0);
}

static void end_master(void)
{
	config_write(4, 2, config_read(4, 2) & ~4u);
}

static void end_reset(void)
{
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
}

/* The mapping of the registers keeps the device; what it is attached to is kept, too. */
static void end_close(void)
{
	nvme_forget();
	close(device);
	device = -1;
	/* Nobody is told when the last descriptor's close is through; a call of the same process is behind it. */
	usleep(20000);
	ioas_alloc(container);
}

static void unmap_before_unpin(void)
{
	static void (*const ends[])(void) = {end_unmap,	 end_unmap_all, end_detach, end_replace,
					     end_master, end_reset,	end_close};
	uint8_t seen[PAGE];

	for (unsigned int i = 0; i < 7 * COUNT(ends); i++) {
		void (*end)(void) = ends[i % COUNT(ends)];

		device_started();
		spare = space_with_rings();
		page = pages_alloc(PAGE);
		expect_eq(space_map(dma_ioas, page, DATA_IOVA, PAGE, RW), 0);
		expect(device_writes(DATA_IOVA, 'z'));
		fill_page(page, 'a');
		for (unsigned int k = 0; k < 14; k++)
			nvme_put_read(2, DATA_IOVA);
		nvme_ring();
		for (unsigned int k = 0; k < i / COUNT(ends); k++)
			usleep(1);
		end();
		memcpy(seen, page, PAGE);
		fill_page(page, 'k');
		usleep(20000);
		expect_page(page, 'k', "memory after the call that took it from the device");
		for (unsigned int k = 0; k < PAGE; k++)
			expect(seen[k] == 'a' || seen[k] == 'z');
		if (end == end_unmap || end == end_replace) {
			for (unsigned int k = 0; k < 14; k++)
				nvme_collect();
			expect_unreachable(DATA_IOVA);
			expect_page(page, 'k', "memory that the device does not have");
		}
		if (end != end_close)
			nvme_forget();
		device_gone();
		munmap(page, PAGE);
	}
}

/* What fails leaves nothing that could be reached, and all as it was. */
static void unwind(void)
{
	uint8_t *p = pages_alloc(8 * PAGE), *ro = pages_alloc(PAGE);
	uint32_t second;

	device_started();
	fill_page(p, 'a');
	fill_page(p + 7 * PAGE, 'h');
	expect_eq(space_map(dma_ioas, p, DATA_IOVA, PAGE, RW), 0);
	munmap(p + 4 * PAGE, PAGE);
	expect_eq(space_map(dma_ioas, p + PAGE, OTHER_IOVA, 7 * PAGE, RW), EFAULT);
	for (unsigned int i = 0; i < 7; i++)
		expect_unreachable(OTHER_IOVA + i * PAGE);
	expect_eq(space_unmap(dma_ioas, OTHER_IOVA, 7 * PAGE), ENOENT);
	/* A space of which one area cannot be pinned: the device stays where it is. */
	second = space_with_rings();
	expect_eq(space_map(second, p + 7 * PAGE, DATA_IOVA, PAGE, RW), 0);
	expect(!mprotect(ro, PAGE, PROT_READ));
	expect_eq(space_map(second, p + 3 * PAGE, OTHER_IOVA, 2 * PAGE, RW), 0);
	for (unsigned int i = 0; i < 3; i++) {
		expect_eq(attach_to(second), EFAULT);
		expect_sees(DATA_IOVA, 'a');
		expect(device_writes(DATA_IOVA, 'a'));
		expect_unreachable(OTHER_IOVA);
	}
	expect_eq(space_unmap(second, OTHER_IOVA, 2 * PAGE), 0);
	expect_eq(space_map(second, ro, OTHER_IOVA, PAGE, RW), 0);
	expect_eq(attach_to(second), EFAULT);
	expect_sees(DATA_IOVA, 'a');
	expect_eq(space_unmap(second, OTHER_IOVA, PAGE), 0);
	/* An unmap that ends at an area it would have to split has not touched that. */
	expect_eq(space_map(second, p, OTHER_IOVA, 2 * PAGE, RW), 0);
	expect_eq(space_unmap(second, OTHER_IOVA, PAGE), ENOENT);
	expect_eq(attach_to(second), 0);
	expect_sees(DATA_IOVA, 'h');
	expect_sees(OTHER_IOVA, 'a');
	expect_sees(OTHER_IOVA + PAGE, 0);
	expect_page(p, 'a', "what the device no longer has");
}

/* ---- A6: copy-on-write is broken when the pin is made, for reading too ---- */

static int go[2];

static void hold_copy(void)
{
	char c;

	close(go[1]);
	expect_eq(read(go[0], &c, 1), 0);
	expect_page(page, 'o', "the child's copy");
}

static void expect_agreed(uint64_t iova, uint8_t *p, const char *what)
{
	expect_eq(space_map(dma_ioas, p, iova, PAGE, RD), 0);
	fill_page(p, 'w');
	if (device_sees(iova) != 'w')
		fail("%s: client and device do not agree on the page", what);
	fill_page(p, 'v');
	if (device_sees(iova) != 'v')
		fail("%s: client and device do not agree on the page any more", what);
	expect(!device_writes(iova, 'd'));
	expect_page(p, 'v', what);
	expect_eq(space_unmap(dma_ioas, iova, PAGE), 0);
}

static void copy_on_write(void)
{
	char path[] = "/tmp/pinfold-rules-XXXXXX";
	uint8_t *p, buf[PAGE];
	pid_t pid;
	int fd;

	device_started();
	/* Shared with a child, which has it as it was. */
	page = pages_alloc(PAGE);
	fill_page(page, 'o');
	expect_eq(pipe(go), 0);
	pid = child_start(hold_copy);
	close(go[0]);
	expect_agreed(DATA_IOVA, page, "memory shared with a child");
	close(go[1]);
	child_wait(pid);
	/* The zero page: only read so far. */
	p = pages_alloc(PAGE);
	expect_eq(*(volatile uint8_t *)p, 0);
	expect_agreed(DATA_IOVA, p, "the zero page");
	expect_agreed(DATA_IOVA, pages_alloc(PAGE), "memory never touched");
	/* A file's page, in a private mapping. */
	fd = mkstemp(path);
	unlink(path);
	fill_page(buf, 'f');
	expect(fd >= 0 && write(fd, buf, PAGE) == PAGE);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	expect(p != MAP_FAILED && *(volatile uint8_t *)p == 'f');
	expect_agreed(DATA_IOVA, p, "a private mapping of a file");
	expect_eq(pread(fd, buf, PAGE, 0), PAGE);
	expect_page(buf, 'f', "the file");
	/* Not writable when it was pinned, and so made later. */
	p = pages_alloc(PAGE);
	fill_page(p, 'o');
	expect(!mprotect(p, PAGE, PROT_READ));
	expect_eq(space_map(dma_ioas, p, DATA_IOVA, PAGE, RD), 0);
	expect(!mprotect(p, PAGE, PROT_READ | PROT_WRITE));
	fill_page(p, 'w');
	expect_sees(DATA_IOVA, 'w');
}

const struct client_case memory_cases[] = {
    {"rule-pin-never-peek", "A1: an address counts when the pin is made", pin_never_peek},
    {"rule-pin-past-the-end", "A1: memory that is not there is not pinned", pin_past_the_end},
    {"rule-page-faithful", "A2: munmap, MAP_FIXED, MADV_DONTNEED, mremap, fork; copies in another IOAS", page_faithful},
    {"rule-page-faithful-copy", "A2: a copy outlives its source", source_destroyed},
    {"rule-unmap-before-unpin", "A3: no DMA after unmap, detach, replace, close", unmap_before_unpin},
    {"rule-unmap-before-unpin-unwind", "A3: what fails leaves nothing behind", unwind},
    {"rule-break-copy-on-write", "A6: client and device agree on the page", copy_on_write},
    {NULL, NULL, NULL},
};
