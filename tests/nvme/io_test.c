/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "host.h"
#include "iommu/iommu.h"

static struct host h;
static uint64_t buf;

static void start(const char *options)
{
	host_open(&h, options);
	host_enable(&h, 32, 0);
	host_io_queue(&h, 1, 64);
	buf = host_alloc(&h, 2 * MACHINE_PAGE, MACHINE_PAGE);
}

static int setup(void **state)
{
	start("");
	return 0;
}

static int setup_threads(void **state)
{
	start("aio=threads");
	return 0;
}

static int setup_direct(void **state)
{
	start("cache=none");
	return 0;
}

static int setup_readonly(void **state)
{
	start("readonly=on");
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void read_gives_disk(void **state)
{
	const uint8_t *p = host_ptr(&h, buf);

	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 3, 16, buf), NVME_OK);
	for (unsigned int i = 0; i < 16 * 512; i++)
		assert_int_equal(p[i], disk_byte(3 * 512 + i));
	assert_int_equal(h.m.irqs[1], 1);
}

static void write_reaches_file(void **state)
{
	uint8_t seen[8192];

	memset(host_ptr(&h, buf), 0xa5, sizeof(seen));
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 7, 16, buf), NVME_OK);
	assert_int_equal(pread(h.disk, seen, sizeof(seen), 7 * 512), sizeof(seen));
	assert_memory_equal(seen, host_ptr(&h, buf), sizeof(seen));
	assert_int_equal(host_rw(&h, 1, NVME_IO_FLUSH, 0, 1, 0), NVME_OK);
}

static uint16_t io(struct nvme_cmd cmd)
{
	return host_cmd(&h, 1, &cmd, NULL);
}

static void assert_disk_zero(uint64_t slba, unsigned int blocks, bool zero)
{
	uint8_t *seen = calloc(blocks, 512);

	assert_int_equal(pread(h.disk, seen, blocks * 512, slba * 512), blocks * 512);
	for (unsigned int i = 0; i < blocks * 512; i++)
		assert_int_equal(seen[i], zero ? 0 : disk_byte(slba * 512 + i));
	free(seen);
}

/* ---- what is refused ---- */
static void ranges_are_checked(void **state)
{
	uint64_t n = DISK_SIZE / 512;

	for (unsigned int op = 0; op < 256; op++) {
		if (op != NVME_IO_READ && op != NVME_IO_WRITE && op != NVME_IO_COMPARE && op != NVME_IO_VERIFY &&
		    op != NVME_IO_WRITE_ZEROES)
			continue;
		assert_int_equal(host_rw(&h, 1, op, n, 1, buf), NVME_LBA_RANGE);
		assert_int_equal(host_rw(&h, 1, op, n - 1, 2, buf), NVME_LBA_RANGE);
		assert_int_equal(host_rw(&h, 1, op, UINT64_MAX, 2, buf), NVME_LBA_RANGE);
		assert_int_equal(host_rw(&h, 1, op, 1ULL << 55, 1, buf), NVME_LBA_RANGE);
		assert_int_equal(host_rw(&h, 1, op, n, 65536, buf), NVME_LBA_RANGE);
	}
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, n - 1, 1, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1025, buf), NVME_INVALID_FIELD); /* MDTS */
}

static void fields_are_checked(void **state)
{
	struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 1, buf, 0);

	cmd.opcode = 0x7f;
	assert_int_equal(io(cmd), NVME_INVALID_OPCODE);
	cmd.opcode = NVME_IO_READ;
	cmd.flags = 1;
	assert_int_equal(io(cmd), NVME_INVALID_FIELD);
	cmd.flags = 3 << 6;
	assert_int_equal(io(cmd), NVME_INVALID_FIELD);
	cmd.flags = 0;
	for (uint32_t i = 0; i < 3; i++) {
		cmd.nsid = (uint32_t[]){0, 2, NVME_NSID_ALL}[i];
		assert_int_equal(io(cmd), NVME_INVALID_NAMESPACE);
	}
}

static void prp_errors(void **state)
{
	uint64_t list = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE), *e = host_ptr(&h, list);
	uint64_t hole = HOST_IOVA + HOST_MEM;

	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 1, buf + 2, 0)), NVME_PRP_OFFSET);
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 16, buf, buf + 8)), NVME_PRP_OFFSET);
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 32, buf, list + 4)), NVME_PRP_OFFSET);
	for (unsigned int i = 0; i < 512; i++)
		e[i] = buf;
	e[1] = buf + 4;
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 32, buf, list)), NVME_PRP_OFFSET);
	/* A list in its page's last slot is a pointer, and has no offset either. */
	e[511] = list + 8;
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 32, buf, list + 511 * 8)), NVME_PRP_OFFSET);
	assert_int_equal(h.m.faults, 0);
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 32, buf, hole)), NVME_DATA_TRANSFER_ERROR);
	assert_non_null(strstr(h.m.fault_line, "PRP list"));
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 1, hole, 0)), NVME_DATA_TRANSFER_ERROR);
	assert_non_null(strstr(h.m.fault_line, "Write"));
	assert_non_null(strstr(h.m.fault_line, "SQ1 CID"));
	assert_non_null(strstr(h.m.fault_line, "PRP1"));
	assert_int_equal(io(rw_cmd(NVME_IO_WRITE, 0, 16, buf, hole)), NVME_DATA_TRANSFER_ERROR);
	assert_non_null(strstr(h.m.fault_line, "Read"));
	assert_non_null(strstr(h.m.fault_line, "PRP2"));
	assert_int_equal(h.m.faults, 3);
	assert_int_equal(io(rw_cmd(NVME_IO_READ, 0, 1, ~0xfffULL, 0)), NVME_DATA_TRANSFER_ERROR);
	assert_disk_zero(0, 16, false);
}

static uint16_t read_sgl(struct nvme_sgl d)
{
	struct nvme_cmd cmd = rw_cmd(NVME_IO_READ, 0, 1, 0, 0);

	memcpy(cmd.dptr, &d, 16);
	cmd.flags = 1 << 6;
	return io(cmd);
}

static void sgl_errors(void **state)
{
	uint64_t at = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	struct nvme_sgl *d = host_ptr(&h, at);
	const uint8_t data = 0, bucket = 1 << 4, segment = 2 << 4, last = 3 << 4;

	assert_int_equal(read_sgl((struct nvme_sgl){buf, 512, {0}, data}), NVME_OK);
	assert_int_equal(read_sgl((struct nvme_sgl){buf, 511, {0}, data}), NVME_SGL_DATA_LENGTH);
	assert_int_equal(read_sgl((struct nvme_sgl){buf, 513, {0}, data}), NVME_SGL_DATA_LENGTH);
	assert_int_equal(read_sgl((struct nvme_sgl){buf, 512, {0}, 1}), NVME_SGL_TYPE);
	assert_int_equal(read_sgl((struct nvme_sgl){buf, 512, {0}, 0xf0}), NVME_SGL_TYPE);
	assert_int_equal(read_sgl((struct nvme_sgl){buf, 512, {0}, bucket}), NVME_OK);
	assert_int_equal(read_sgl((struct nvme_sgl){at, 0, {0}, last}), NVME_INVALID_SGL_SEGMENT);
	assert_int_equal(read_sgl((struct nvme_sgl){at, 24, {0}, last}), NVME_INVALID_SGL_SEGMENT);
	d[0] = (struct nvme_sgl){buf, 512, {0}, data};
	d[1] = (struct nvme_sgl){buf, 0, {0}, data};
	assert_int_equal(read_sgl((struct nvme_sgl){at, 32, {0}, last}), NVME_OK);
	/* A segment must end with a pointer, a last segment must hold none, and no pointer stands in the middle. */
	assert_int_equal(read_sgl((struct nvme_sgl){at, 32, {0}, segment}), NVME_INVALID_SGL_SEGMENT);
	d[1].id = last;
	assert_int_equal(read_sgl((struct nvme_sgl){at, 32, {0}, last}), NVME_INVALID_SGL_SEGMENT);
	assert_int_equal(read_sgl((struct nvme_sgl){at, 48, {0}, last}), NVME_INVALID_SGL_COUNT);
	/* Segments in a circle. */
	d[0] = (struct nvme_sgl){at, 16, {0}, segment};
	assert_int_equal(read_sgl((struct nvme_sgl){at, 16, {0}, segment}), NVME_INVALID_SGL_COUNT);
	assert_int_equal(h.m.faults, 0);
	assert_int_equal(read_sgl((struct nvme_sgl){HOST_IOVA - 16, 16, {0}, last}), NVME_DATA_TRANSFER_ERROR);
	assert_non_null(strstr(h.m.fault_line, "SGL segment"));
	assert_int_equal(read_sgl((struct nvme_sgl){UINT64_MAX - 5, 512, {0}, data}), NVME_DATA_TRANSFER_ERROR);
	assert_non_null(strstr(h.m.fault_line, "SGL data block"));
}

/* ---- the other commands ---- */
static void compare_tells(void **state)
{
	uint8_t *p = host_ptr(&h, buf);

	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 16, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_COMPARE, 0, 16, buf), NVME_OK);
	p[8191] ^= 1;
	assert_int_equal(host_rw(&h, 1, NVME_IO_COMPARE, 0, 16, buf), NVME_COMPARE_FAILURE);
	assert_int_equal(host_rw(&h, 1, NVME_IO_COMPARE, 0, 1, HOST_IOVA + HOST_MEM), NVME_DATA_TRANSFER_ERROR);
}

static void verify_reads(void **state)
{
	assert_int_equal(host_rw(&h, 1, NVME_IO_VERIFY, 0, DISK_SIZE / 512, 0), NVME_OK);
	assert_int_equal(ftruncate(h.disk, DISK_SIZE - 1), 0);
	assert_int_equal(host_rw(&h, 1, NVME_IO_VERIFY, 0, DISK_SIZE / 512, 0), NVME_READ_ERROR);
	assert_int_equal(host_rw(&h, 1, NVME_IO_VERIFY, 0, DISK_SIZE / 512 - 1, 0), NVME_OK);
}

static void write_zeroes_writes_zeros(void **state)
{
	struct nvme_cmd cmd = rw_cmd(NVME_IO_WRITE_ZEROES, 3, 9, 0, 0);

	assert_int_equal(io(cmd), NVME_OK);
	assert_disk_zero(0, 3, false);
	assert_disk_zero(3, 9, true);
	assert_disk_zero(12, 8, false);
	cmd = rw_cmd(NVME_IO_WRITE_ZEROES, 1000, 6000, 0, 0);
	cmd.cdw12 |= BIT(25) | BIT(30);
	assert_int_equal(io(cmd), NVME_OK);
	assert_disk_zero(999, 1, false);
	assert_disk_zero(1000, 6000, true);
	assert_disk_zero(7000, 1, false);
}

static void deallocate_punches_holes(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_IO_DSM, .nsid = 1, .dptr = {buf}, .cdw10 = 3, .cdw11 = 4};
	struct nvme_dsm_range *r = host_ptr(&h, buf);
	struct stat before, after;

	r[0] = (struct nvme_dsm_range){.nlb = 800, .slba = 80};
	r[1] = (struct nvme_dsm_range){.nlb = 0, .slba = 5};
	r[2] = (struct nvme_dsm_range){.nlb = 1600, .slba = 8000};
	r[3] = (struct nvme_dsm_range){.nlb = 0, .slba = DISK_SIZE / 512};
	assert_int_equal(fsync(h.disk), 0);
	assert_int_equal(fstat(h.disk, &before), 0);
	assert_int_equal(io(cmd), NVME_OK);
	assert_int_equal(fstat(h.disk, &after), 0);
	assert_true(after.st_blocks + 2000 < before.st_blocks);
	assert_int_equal(after.st_size, DISK_SIZE);
	assert_disk_zero(0, 80, false);
	assert_disk_zero(80, 800, true);
	assert_disk_zero(880, 7120, false);
	assert_disk_zero(8000, 1600, true);
	r[2].slba = DISK_SIZE / 512 - 1599;
	assert_int_equal(io(cmd), NVME_LBA_RANGE);
	r[2].slba = UINT64_MAX;
	assert_int_equal(io(cmd), NVME_LBA_RANGE);
	/* Hints alone do nothing. */
	r[2] = (struct nvme_dsm_range){.nlb = 1, .slba = 0};
	cmd.cdw11 = 3;
	assert_int_equal(io(cmd), NVME_OK);
	assert_disk_zero(0, 1, false);
	cmd.dptr[0] = HOST_IOVA - MACHINE_PAGE;
	assert_int_equal(io(cmd), NVME_DATA_TRANSFER_ERROR);
}

static void without_write_cache_every_write_is_stable(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_SET_FEATURES, .cdw10 = 6, .cdw11 = 0};

	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_OK);
	memset(host_ptr(&h, buf), 0, 512);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 9, 1, buf), NVME_OK);
	assert_disk_zero(9, 1, true);
}

static void flush_of_all_namespaces(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_IO_FLUSH, .nsid = NVME_NSID_ALL};

	assert_int_equal(io(cmd), NVME_OK);
	cmd.nsid = 0;
	assert_int_equal(io(cmd), NVME_INVALID_NAMESPACE);
}

static void several_namespaces(void **state)
{
	const uint32_t *list;
	char path[200], other[80];
	struct nvme_cmd cmd;
	struct host two;

	snprintf(other, sizeof(other), "%s.two", h.path);
	snprintf(path, sizeof(path), "%s:%s", h.path, other);
	host_open_path(&two, path, "size=16M");
	host_enable(&two, 8, 0);
	host_io_queue(&two, 1, 8);
	buf = host_alloc(&two, 2 * MACHINE_PAGE, MACHINE_PAGE);
	list = host_ptr(&two, buf);
	assert_int_equal(host_identify(&two, 2, 0, buf), NVME_OK);
	assert_int_equal(list[0], 1);
	assert_int_equal(list[1], 2);
	assert_int_equal(list[2], 0);
	memset(host_ptr(&two, buf), 0x77, 4096);
	cmd = rw_cmd(NVME_IO_WRITE, (16 << 20) / 512 - 8, 8, buf, 0);
	cmd.nsid = 2;
	assert_int_equal(host_cmd(&two, 1, &cmd, NULL), NVME_OK);
	cmd = (struct nvme_cmd){.opcode = NVME_IO_FLUSH, .nsid = NVME_NSID_ALL};
	assert_int_equal(host_cmd(&two, 1, &cmd, NULL), NVME_OK);
	assert_disk_zero(0, DISK_SIZE / 512, false);
	host_close(&two);
	assert_int_equal(unlink(other), 0);
}

static void readonly_is_write_protected(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_IO_DSM, .nsid = 1, .dptr = {buf}, .cdw11 = 4};

	*(struct nvme_dsm_range *)host_ptr(&h, buf) = (struct nvme_dsm_range){.nlb = 8};
	assert_int_equal(io(cmd), NVME_WRITE_PROTECTED);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 0, 1, buf), NVME_WRITE_PROTECTED);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE_ZEROES, 0, 1, buf), NVME_WRITE_PROTECTED);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_FLUSH, 0, 1, 0), NVME_OK);
}

/* ---- a file that fails ---- */
static void truncated_file(void **state)
{
	struct nvme_cmd fua = rw_cmd(NVME_IO_READ, 2048, 8, buf, 0);

	assert_int_equal(ftruncate(h.disk, 1 << 20), 0);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 2040, 8, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 2044, 8, buf), NVME_READ_ERROR);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 2048, 8, buf), NVME_READ_ERROR);
	assert_int_equal(host_rw(&h, 1, NVME_IO_COMPARE, 2048, 8, buf), NVME_READ_ERROR);
	fua.cdw12 |= BIT(30);
	assert_int_equal(io(fua), NVME_READ_ERROR);
	/* A write brings the file back up to there. */
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 2048, 8, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 2048, 8, buf), NVME_OK);
}

static void vanished_file(void **state)
{
	assert_int_equal(unlink(h.path), 0);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 8, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 0, 8, buf), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_FLUSH, 0, 1, 0), NVME_OK);
}

/* A disk with no room left, played by the limit on file size. */
static void full_disk(void **state)
{
	struct rlimit old, small = {1 << 20, 1 << 20};
	struct nvme_cmd fua = rw_cmd(NVME_IO_WRITE, 4096, 8, buf, 0);
	uint16_t inl, async, ok;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	inl = host_rw(&h, 1, NVME_IO_WRITE, 4096, 8, buf);
	fua.cdw12 |= BIT(30);
	async = io(fua);
	ok = host_rw(&h, 1, NVME_IO_WRITE, 8, 8, buf);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(inl, NVME_CAPACITY_EXCEEDED);
	assert_int_equal(async, NVME_CAPACITY_EXCEEDED);
	assert_int_equal(ok, NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 4096, 8, buf), NVME_OK);
}

/* What the command of code op made the device read and write, beyond what one without data does. */
static struct dma_stats data_traffic(unsigned int op)
{
	const struct dma_stats *st = dma_dev_stats(h.m.f->dma);
	struct dma_stats a = *st, b, c;

	assert_int_equal(host_rw(&h, 1, NVME_IO_FLUSH, 0, 1, 0), NVME_OK);
	b = *st;
	assert_int_equal(host_rw(&h, 1, op, 0, 16, buf), NVME_OK);
	c = *st;
	return (struct dma_stats){.reads = c.reads - b.reads - (b.reads - a.reads),
				  .writes = c.writes - b.writes - (b.writes - a.writes),
				  .read_bytes = c.read_bytes - b.read_bytes - (b.read_bytes - a.read_bytes),
				  .write_bytes = c.write_bytes - b.write_bytes - (b.write_bytes - a.write_bytes)};
}

/* Whichever way the data went, and however many were tried. */
static void data_is_counted_once(void **state)
{
	struct dma_stats st = data_traffic(NVME_IO_WRITE);

	assert_int_equal(st.reads, 1);
	assert_int_equal(st.read_bytes, 8192);
	assert_int_equal(st.writes, 0);
	assert_int_equal(st.write_bytes, 0);
	st = data_traffic(NVME_IO_READ);
	assert_int_equal(st.reads, 0);
	assert_int_equal(st.read_bytes, 0);
	assert_int_equal(st.writes, 1);
	assert_int_equal(st.write_bytes, 8192);
}

/* The client shrinks its own memory file under a mapped buffer. */
static void buffer_without_pages(void **state)
{
	/* cmocka has put its own handlers in place. */
	assert_int_equal(guard_install(), 0);
	assert_int_equal(ftruncate(h.m.memfd, HOST_MEM - MACHINE_PAGE), 0);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1, HOST_IOVA + HOST_MEM - MACHINE_PAGE),
			 NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(h.m.faults, 1);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 0, 1, HOST_IOVA + HOST_MEM - MACHINE_PAGE),
			 NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(h.m.faults, 2);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 1, buf), NVME_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TT(f)                                                                                                          \
	T(f),                                                                                                          \
	{                                                                                                              \
#f "(threads)", f, setup_threads, teardown, NULL                                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(read_gives_disk),
	    T(write_reaches_file),
	    T(ranges_are_checked),
	    T(fields_are_checked),
	    T(prp_errors),
	    T(sgl_errors),
	    TT(compare_tells),
	    TT(verify_reads),
	    T(write_zeroes_writes_zeros),
	    T(deallocate_punches_holes),
	    TT(without_write_cache_every_write_is_stable),
	    TT(flush_of_all_namespaces),
	    T(several_namespaces),
	    cmocka_unit_test_setup_teardown(readonly_is_write_protected, setup_readonly, teardown),
	    TT(truncated_file),
	    TT(vanished_file),
	    TT(full_disk),
	    TT(data_is_counted_once),
	    {"data_is_counted_once(direct)", data_is_counted_once, setup_direct, teardown, NULL},
	    T(buffer_without_pages),
	};

	return cmocka_run_group_tests_name("nvme-io", tests, NULL, NULL);
}
