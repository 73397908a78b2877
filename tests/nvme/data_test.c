/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random transfers in random shapes of data pointer against an array that models the disk: PRPs with every offset,
 * lists that begin anywhere in their page and chain, SGLs of one to many segments, bit buckets; in bursts, on several
 * queues.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "host.h"

#define ROUNDS	 250
#define POOL	 1024 /* pages for data */
#define PIECES	 2048
#define MAX_DATA (256 * 1024)

struct piece {
	uint64_t iova;
	uint32_t len;
	bool bucket;
};

static struct host h;
static uint8_t model[DISK_SIZE];
static unsigned int block, page;
static uint64_t pool, lists; /* data pages; pages for lists and segments */
static unsigned int lists_used;
static struct piece pieces[PIECES];
static unsigned int npieces;
static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

static void piece_add(uint64_t iova, uint32_t len, bool bucket)
{
	assert_true(npieces < PIECES);
	pieces[npieces++] = (struct piece){iova, len, bucket};
}

/* Distinct pages in random order, sometimes neighbours. */
static uint64_t data_page(unsigned int i, unsigned int start, unsigned int step)
{
	return pool + (uint64_t)((start + i * step) % (POOL * MACHINE_PAGE / page)) * page;
}

static uint64_t list_page(void)
{
	return lists + (uint64_t)lists_used++ * page;
}

static void make_prp(struct nvme_cmd *cmd, uint32_t len)
{
	unsigned int start = rnd(POOL), step = rnd(2) ? 1 : 1 + 2 * rnd(POOL / 2), n = 0;
	uint32_t off = rnd(2) ? 0 : 4 * rnd(page / 4), k = len < page - off ? len : page - off;
	uint64_t *list;

	cmd->dptr[0] = data_page(n++, start, step) + off;
	piece_add(cmd->dptr[0], k, false);
	len -= k;
	cmd->dptr[1] = 0;
	if (!len)
		return;
	if (len <= page) {
		cmd->dptr[1] = data_page(n, start, step);
		piece_add(cmd->dptr[1], len, false);
		return;
	}
	off = rnd(2) ? 0 : page - 8 * (1 + rnd(20));
	cmd->dptr[1] = list_page() + off;
	list = host_ptr(&h, cmd->dptr[1]);
	while (len) {
		uint64_t at = data_page(n++, start, step);

		k = len < page ? len : page;
		/* The last slot of a page is an entry only when it is the last entry. */
		if (off + 8 == page && len > page) {
			uint64_t next = list_page();

			*list = next;
			list = host_ptr(&h, next);
			off = 0;
		}
		*list++ = at;
		off += 8;
		piece_add(at, k, false);
		len -= k;
	}
}

static struct nvme_sgl sgl(uint64_t addr, uint32_t len, unsigned int type)
{
	return (struct nvme_sgl){.addr = addr, .len = len, .id = (uint8_t)(type << 4)};
}

/* Pieces of random size one after the other through the pool, with gaps. */
static void make_sgl(struct nvme_cmd *cmd, uint32_t len, bool read)
{
	uint32_t most = 1 + rnd(rnd(2) ? 6000 : 100000), fill = 1 + rnd(40), slot = 0;
	uint64_t at = pool + rnd(MACHINE_PAGE);
	struct nvme_sgl *d, *seg = (struct nvme_sgl *)cmd->dptr;

	cmd->flags = 1 << 6;
	if (len <= most && rnd(2)) {
		*seg = sgl(at, len, NVME_SGL_DATA);
		piece_add(at, len, false);
		return;
	}
	d = host_ptr(&h, seg->addr = list_page());
	while (len) {
		uint32_t k = 1 + rnd(most);
		bool bucket = rnd(8) == 0;

		k = k > len ? len : k;
		if (slot == fill) {
			/* What is last of the list so far moves to a new segment; its place points there. */
			uint64_t next = list_page();

			*seg = sgl(seg->addr, (slot + 1) * 16, NVME_SGL_SEGMENT);
			seg = &d[slot];
			*seg = sgl(next, 0, 0);
			d = host_ptr(&h, next);
			slot = 0;
			fill = 1 + rnd(40);
		}
		d[slot++] = sgl(at, k, bucket ? NVME_SGL_BIT_BUCKET : NVME_SGL_DATA);
		if (bucket && !read)
			continue;
		piece_add(at, k, bucket);
		at += bucket ? 0 : k + rnd(2) * rnd(300);
		len -= k;
	}
	*seg = sgl(seg->addr, slot * 16, NVME_SGL_LAST_SEGMENT);
}

static void fill_pieces(void)
{
	for (unsigned int i = 0; i < npieces; i++)
		for (uint32_t j = 0; j < pieces[i].len; j++)
			*((uint8_t *)host_ptr(&h, pieces[i].iova) + j) = (uint8_t)rnd(256);
}

static void one_transfer(unsigned int qid)
{
	uint32_t blocks = 1 + rnd(rnd(2) ? 16 : MAX_DATA / block), len = blocks * block;
	uint64_t slba = rnd(DISK_SIZE / block - blocks + 1);
	uint8_t *disk = model + slba * block;
	bool read = rnd(2);
	struct nvme_cmd cmd = rw_cmd(read ? NVME_IO_READ : NVME_IO_WRITE, slba, blocks, 0, 0);

	npieces = 0;
	lists_used = 0;
	if (rnd(2))
		make_prp(&cmd, len);
	else
		make_sgl(&cmd, len, read);
	if (rnd(8) == 0)
		cmd.cdw12 |= BIT(30);
	fill_pieces();
	assert_int_equal(host_cmd(&h, qid, &cmd, NULL), NVME_OK);
	for (unsigned int i = 0; i < npieces; disk += pieces[i++].len) {
		if (pieces[i].bucket)
			continue;
		if (read)
			assert_memory_equal(host_ptr(&h, pieces[i].iova), disk, pieces[i].len);
		else
			memcpy(disk, host_ptr(&h, pieces[i].iova), pieces[i].len);
	}
}

static void run(const char *options, unsigned int mps)
{
	static uint8_t file[DISK_SIZE];

	seed = 0x1234567;
	host_open(&h, options);
	page = MACHINE_PAGE << mps;
	block = strstr(options, "blocksize=4096") ? 4096 : 512;
	host_enable(&h, 16, mps);
	/* Queues are aligned to the memory page. */
	host_alloc(&h, 1, page);
	h.next = ALIGN_UP(h.next, page);
	host_io_queue(&h, 1, 8 * page / 64);
	h.next = ALIGN_UP(h.next, page);
	pool = host_alloc(&h, POOL * MACHINE_PAGE, page);
	lists = host_alloc(&h, 512 * MACHINE_PAGE, page);
	for (uint64_t i = 0; i < DISK_SIZE; i++)
		model[i] = disk_byte(i);
	for (unsigned int i = 0; i < ROUNDS; i++)
		one_transfer(1);
	assert_int_equal(h.m.faults, 0);
	assert_int_equal(pread(h.disk, file, DISK_SIZE, 0), DISK_SIZE);
	assert_memory_equal(file, model, DISK_SIZE);
	host_close(&h);
}

static void page_cache(void **state)
{
	run("", 0);
}

static void large_pages(void **state)
{
	run("", 1);
}

static void threads(void **state)
{
	run("aio=threads,blocksize=4096", 0);
}

static void direct(void **state)
{
	run("cache=none,blocksize=4096", 0);
}

static void direct_threads(void **state)
{
	run("cache=none,aio=threads,blocksize=4096", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(page_cache), cmocka_unit_test(large_pages),    cmocka_unit_test(threads),
	    cmocka_unit_test(direct),	  cmocka_unit_test(direct_threads),
	};

	return cmocka_run_group_tests_name("nvme-data", tests, NULL, NULL);
}
