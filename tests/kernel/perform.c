/* SPDX-License-Identifier: BSD-3-Clause */
#include "perform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"

#define PAGE		  0x1000UL
#define LEAST(type, last) (offsetof(struct type, last) + sizeof(((struct type *)0)->last))

struct answer {
	bool ok;
	uint64_t out[3];
};

struct run {
	const struct plan *plan;
	unsigned int at;
	int fd;
	struct answer answer[PLAN_CALLS];
	/* Descriptors among the answers, by call; -1 where there is none or it was closed. */
	int fds[PLAN_CALLS];
	bool gone[2][VA_PAGES]; /* pages of VA_PRIVATE and VA_SHARED that were unmapped */
	char line[1024];
	size_t used;
};

static int arg_memory = -1; /* VA_ARG and VA_ARG_RO */

__attribute__((format(printf, 2, 3))) static void say(struct run *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (r->used < sizeof(r->line))
		r->used += vsnprintf(r->line + r->used, sizeof(r->line) - r->used, format, ap);
	va_end(ap);
}

static uint32_t hash_bytes(const void *data, size_t length)
{
	const uint8_t *p = data;
	uint32_t h = 0x811c9dc5;

	while (length--)
		h = (h ^ *p++) * 0x01000193;
	return h;
}

static const char *errno_name(int e)
{
	static const struct {
		int value;
		const char *name;
	} names[] = {
#define E(name) {name, #name}
	    E(EPERM),  E(ENOENT),     E(EIO),	     E(EBADF),	   E(ENOMEM), E(EACCES),   E(EFAULT),
	    E(EBUSY),  E(EEXIST),     E(ENODEV),     E(EINVAL),	   E(EMFILE), E(ENOTTY),   E(ENOSPC),
	    E(ESPIPE), E(EDEADLK),    E(EBADE),	     E(EOVERFLOW), E(EBADFD), E(EMSGSIZE), E(E2BIG),
	    E(EDOM),   E(EOPNOTSUPP), E(EADDRINUSE), E(ETIMEDOUT), E(ENOSYS), E(EREMOTEIO)
#undef E
	};
	static char number[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].value == e)
			return names[i].name;
	snprintf(number, sizeof(number), "%d", e);
	return number;
}

/* What a reference comes to: where the call it points at failed or was left out, something that does not exist. */
static uint64_t value_of(const struct run *r, const struct arg *a)
{
	bool ok = a->kind != ARG_NUMBER && a->from < r->at && r->answer[a->from].ok;

	switch (a->kind) {
	case ARG_ID:
		return ok ? r->answer[a->from].out[a->out] : 0x40000000 + a->from;
	case ARG_IOVA:
		return (ok ? r->answer[a->from].out[a->out] : APERTURE_START + 0x4000 * (a->from % 32)) + a->value;
	case ARG_FD:
		if (a->from == NO_FD)
			return a->out ? r->fd : -1;
		return ok ? r->fds[a->from] : -1;
	default:
		return a->value;
	}
}

static void say_arg(struct run *r, const struct arg *a)
{
	uint64_t v = value_of(r, a);

	if (a->kind == ARG_FD && a->from != NO_FD)
		say(r, (int)v < 0 ? "no fd" : "fd#%u", a->from);
	else if (a->kind == ARG_FD)
		say(r, a->out ? "fd" : "-1");
	else
		say(r, v < 10 ? "%lu" : "%#lx", v);
}

static void result(struct run *r, long rc)
{
	r->answer[r->at].ok = rc >= 0;
	if (rc < 0)
		say(r, " = %s", errno_name(errno));
	else
		say(r, " = %ld", rc);
}

static void out(struct run *r, unsigned int which, uint64_t value)
{
	r->answer[r->at].out[which] = value;
}

/* Words of the struct that differ from what was passed in. `hide` is the offset of a descriptor, or 0. */
static void say_changes(struct run *r, const void *was, const void *is, size_t size, size_t hide)
{
	for (size_t i = 0; i + 4 <= size; i += 4) {
		uint32_t a, b;

		memcpy(&a, (const char *)was + i, 4);
		memcpy(&b, (const char *)is + i, 4);
		if (a != b && i == hide && hide)
			say(r, " [%zu]=fd", i);
		else if (a != b)
			say(r, " [%zu]=%#x", i, b);
	}
}

/* Puts cmd where the tweak says, makes the call, takes the answer back into cmd. */
static long submit(struct run *r, unsigned int nr, void *cmd, uint32_t size, uint32_t least, size_t hide)
{
	char *at = (char *)VA_ARG, *seen;
	uint8_t was[128];
	uint32_t claim = size;
	long rc;

	memset(at, 0xcc, PAGE);
	switch (r->plan->call[r->at].tweak) {
	case TWEAK_SHORT:
		claim = least - 1;
		break;
	case TWEAK_MIN:
		claim = least;
		break;
	case TWEAK_ZERO_TAIL:
	case TWEAK_TAIL:
		claim = size + 8;
		memset(at + size, 0, 8);
		at[size + 7] = r->plan->call[r->at].tweak == TWEAK_TAIL;
		break;
	case TWEAK_EDGE:
		at += PAGE - size;
		break;
	case TWEAK_OVER:
		at += PAGE - size;
		claim = size + 8;
		break;
	default:
		break;
	}
	memcpy(cmd, &claim, 4);
	memcpy(was, cmd, size);
	memcpy(at, cmd, size);
	seen = at;
	if (r->plan->call[r->at].tweak == TWEAK_READONLY)
		seen = at + (VA_ARG_RO - VA_ARG);
	else if (r->plan->call[r->at].tweak == TWEAK_BAD)
		seen = (char *)VA_NONE;
	rc = ioctl(r->fd, CALL(nr), seen);
	result(r, rc);
	memcpy(cmd, at, size);
	say_changes(r, was, cmd, size, hide);
	return rc;
}

/* A reserved field of the struct, if the plan wants it used. */
static uint32_t reserved(const struct run *r)
{
	return r->plan->call[r->at].tweak == TWEAK_RESERVED;
}

static uint8_t *aux_fresh(void)
{
	uint8_t *aux = (uint8_t *)VA_AUX;

	memset(aux, 0xcc, AUX_PAGES * PAGE);
	return aux;
}

static void say_aux(struct run *r)
{
	say(r, " mem=%08x", hash_bytes((void *)VA_AUX, 2 * PAGE));
}

static void run_ioas_alloc(struct run *r, const uint64_t *v)
{
	struct abi_ioas_alloc c = {.flags = v[0]};

	submit(r, NR_IOAS_ALLOC, &c, sizeof(c), sizeof(c), 0);
	out(r, 0, c.out_id);
}

static void run_destroy(struct run *r, const uint64_t *v)
{
	struct abi_destroy c = {.id = v[0]};

	submit(r, NR_DESTROY, &c, sizeof(c), sizeof(c), 0);
}

static void run_iova_ranges(struct run *r, const uint64_t *v)
{
	struct abi_iova_ranges c = {.ioas = v[0], .num = v[1], .ranges = v[2], .reserved = reserved(r)};

	aux_fresh();
	submit(r, NR_IOVA_RANGES, &c, sizeof(c), sizeof(c), 0);
	say_aux(r);
}

static void run_allow_iovas(struct run *r, const uint64_t *v)
{
	struct abi_allow c = {.ioas = v[0], .num = v[1], .ranges = VA_AUX, .reserved = reserved(r)};
	struct abi_range *range = (struct abi_range *)aux_fresh();

	for (unsigned int i = 0; i < 3; i++)
		range[i] = (struct abi_range){v[2 + 2 * i], v[3 + 2 * i]};
	if (v[1] > 3)
		c.ranges = VA_NONE;
	submit(r, NR_ALLOW_IOVAS, &c, sizeof(c), sizeof(c), 0);
}

static void run_map(struct run *r, const uint64_t *v)
{
	struct abi_map c = {
	    .ioas = v[0], .flags = v[1], .va = v[2], .length = v[3], .iova = v[4], .reserved = reserved(r)};

	submit(r, NR_MAP, &c, sizeof(c), sizeof(c), 0);
	out(r, 0, c.iova);
}

static void run_unmap(struct run *r, const uint64_t *v)
{
	struct abi_unmap c = {.ioas = v[0], .iova = v[1], .length = v[2]};

	submit(r, NR_UNMAP, &c, sizeof(c), sizeof(c), 0);
}

static void run_copy(struct run *r, const uint64_t *v)
{
	struct abi_copy c = {
	    .dst = v[0], .src = v[1], .flags = v[2], .length = v[3], .dst_iova = v[4], .src_iova = v[5]};

	submit(r, NR_COPY, &c, sizeof(c), sizeof(c), 0);
	out(r, 0, c.dst_iova);
}

static void run_option(struct run *r, const uint64_t *v)
{
	struct abi_option c = {.option = v[0], .op = v[1], .object = v[2], .val = v[3], .reserved = reserved(r)};

	submit(r, NR_OPTION, &c, sizeof(c), sizeof(c), 0);
}

static void run_vfio_ioas(struct run *r, const uint64_t *v)
{
	struct abi_vfio_ioas c = {.op = v[0], .ioas = v[1], .reserved = reserved(r)};

	submit(r, NR_VFIO_IOAS, &c, sizeof(c), sizeof(c), 0);
}

static void run_hwpt_alloc(struct run *r, const uint64_t *v)
{
	struct abi_hwpt_alloc c = {.dev = v[0],
				   .pt = v[1],
				   .flags = v[2],
				   .data_type = v[3],
				   .data_len = v[4],
				   .data = v[5],
				   .fault = v[6],
				   .reserved = reserved(r)};
	uint32_t *data = (uint32_t *)aux_fresh();

	memset(data, 0, 64);
	*data = IOTLB_DEFAULT;
	submit(r, NR_HWPT_ALLOC, &c, sizeof(c), LEAST(abi_hwpt_alloc, reserved), 0);
	out(r, 0, c.out_id);
}

static void run_hw_info(struct run *r, const uint64_t *v)
{
	struct abi_hw_info c = {.dev = v[0], .flags = v[1], .data_len = v[2], .data = v[3]};

	c.reserved[1] = reserved(r);
	aux_fresh();
	submit(r, NR_HW_INFO, &c, sizeof(c), LEAST(abi_hw_info, reserved), 0);
	say_aux(r);
}

static void run_set_dirty(struct run *r, const uint64_t *v)
{
	struct abi_set_dirty c = {.hwpt = v[0], .flags = v[1], .reserved = reserved(r)};

	submit(r, NR_SET_DIRTY, &c, sizeof(c), sizeof(c), 0);
}

static void run_get_dirty(struct run *r, const uint64_t *v)
{
	struct abi_get_dirty c = {.hwpt = v[0],
				  .flags = v[1],
				  .iova = v[2],
				  .length = v[3],
				  .page_size = v[4],
				  .data = v[5],
				  .reserved = reserved(r)};

	memset((void *)VA_AUX, 0, AUX_PAGES * PAGE);
	submit(r, NR_GET_DIRTY, &c, sizeof(c), sizeof(c), 0);
	say_aux(r);
}

static void run_invalidate(struct run *r, const uint64_t *v)
{
	struct abi_invalidate c = {
	    .hwpt = v[0], .type = v[1], .entry_len = v[2], .entry_num = v[3], .data = v[4], .reserved = reserved(r)};
	uint8_t *data = aux_fresh();

	memset(data, 0, PAGE);
	for (unsigned int i = 0; i < 3; i++) {
		struct abi_invalidate_entry e = {.flags = v[5 + i] >> 8, .iotlb = v[5 + i] & 0xff};

		memcpy(data + i * (v[2] < 0x100 ? v[2] : 8), &e, sizeof(e));
	}
	submit(r, NR_INVALIDATE, &c, sizeof(c), sizeof(c), 0);
}

static void run_fault_alloc(struct run *r, const uint64_t *v)
{
	struct abi_fault_alloc c = {.flags = v[0], .out_fd = -1U};

	if (!submit(r, NR_FAULT_ALLOC, &c, sizeof(c), sizeof(c), offsetof(struct abi_fault_alloc, out_fd)))
		r->fds[r->at] = c.out_fd;
	out(r, 0, c.out_id);
}

static long submit_test(struct run *r, struct abi_test *c, uint32_t op, uint32_t id, size_t hide)
{
	c->op = op;
	c->id = id;
	c->reserved = reserved(r);
	return submit(r, NR_TEST, c, sizeof(*c), LEAST(abi_test, last), hide);
}

static void run_add_reserved(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.q = {v[1], v[2]}};

	submit_test(r, &c, TEST_ADD_RESERVED, v[0], 0);
}

static void mock_domain(struct run *r, uint32_t op, uint32_t pt, uint32_t flags)
{
	struct abi_test c = {.w = {0, 0, 0, flags}};

	submit_test(r, &c, op, pt, 0);
	for (unsigned int i = 0; i < 3; i++)
		out(r, i, c.w[i]);
}

static void run_mock_domain(struct run *r, const uint64_t *v)
{
	mock_domain(r, TEST_MOCK_DOMAIN, v[0], 0);
}

static void run_mock_flags(struct run *r, const uint64_t *v)
{
	mock_domain(r, TEST_MOCK_FLAGS, v[0], v[1]);
}

static void run_check_map(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.q = {v[1], v[2], v[3]}};

	submit_test(r, &c, TEST_CHECK_MAP, v[0], 0);
}

static void run_check_refs(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.q = {v[1], v[0], v[2]}};

	submit_test(r, &c, TEST_CHECK_REFS, 0, 0);
}

static void run_create_access(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {-1U, v[1]}};

	if (!submit_test(r, &c, TEST_CREATE_ACCESS, v[0], offsetof(struct abi_test, w)))
		r->fds[r->at] = c.w[0];
}

static void run_access_pages(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.q = {v[4], v[1], v[2], v[3]}};

	submit_test(r, &c, TEST_ACCESS_PAGES, v[0], 0);
	out(r, 0, c.w[1]);
}

static void run_destroy_pages(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {v[1]}};

	submit_test(r, &c, TEST_DESTROY_PAGES, v[0], 0);
}

static void run_access_rw(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.q = {v[1], v[2], v[3], v[4]}};
	uint8_t *aux = aux_fresh();

	if (v[4] & RW_WRITE)
		for (unsigned int i = 0; i < 2 * PAGE; i++)
			aux[i] = r->at * 31 + i * 7;
	submit_test(r, &c, TEST_ACCESS_RW, v[0], 0);
	say_aux(r);
}

static void run_memory_limit(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {v[0]}};

	submit_test(r, &c, TEST_MEMORY_LIMIT, 0, 0);
}

static void run_replace(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {v[1]}};

	submit_test(r, &c, TEST_REPLACE, v[0], 0);
}

static void run_access_replace(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {v[1]}};

	submit_test(r, &c, TEST_ACCESS_REPLACE, v[0], 0);
}

static void run_dirty(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.q = {0, v[1], v[2], v[3], v[4]}};

	memset(aux_fresh(), 0x35 + r->at, 2 * PAGE);
	submit_test(r, &c, TEST_DIRTY, v[0], 0);
}

static void run_check_iotlb(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {v[1], v[2]}};

	submit_test(r, &c, TEST_CHECK_IOTLB, v[0], 0);
}

static void run_iopf(struct run *r, const uint64_t *v)
{
	struct abi_test c = {.w = {v[0], v[1], v[2], v[3]}};

	c.q[2] = v[4];
	submit_test(r, &c, TEST_IOPF, 0, 0);
}

static void run_test_other(struct run *r, const uint64_t *v)
{
	struct abi_test c = {};

	submit_test(r, &c, v[0], 0, 0);
}

static void run_close(struct run *r, const uint64_t *v)
{
	const struct arg *a = &r->plan->call[r->at].arg[0];

	/* Never a descriptor that is not of these calls' making. */
	result(r, a->from == NO_FD || (int)v[0] < 0 ? (errno = EBADF, -1) : close(v[0]));
	if (a->from != NO_FD)
		r->fds[a->from] = -1;
}

static void run_fault_read(struct run *r, const uint64_t *v)
{
	struct pollfd p = {.fd = v[0], .events = POLLIN | POLLOUT};
	struct abi_fault *f = (struct abi_fault *)VA_AUX;
	long got;

	if ((int)v[0] < 0) {
		errno = EBADF;
		result(r, -1);
		return;
	}
	aux_fresh();
	/* Newer kernels may wait for a fault; none comes while we ask. */
	if (poll(&p, 1, 0) < 0)
		p.revents = 0;
	if (!(p.revents & POLLIN)) {
		say(r, " poll=%#x", p.revents);
		return;
	}
	got = read(v[0], f, v[1]);
	result(r, got);
	say(r, " poll=%#x", p.revents);
	for (long i = 0; i < got / (long)sizeof(*f); i++)
		say(r, " {%#x dev %u pasid %u grp %u perm %#x addr %#lx len %u cookie %u}", f[i].flags, f[i].dev,
		    f[i].pasid, f[i].grpid, f[i].perm, f[i].addr, f[i].length, f[i].cookie);
}

static void run_fault_write(struct run *r, const uint64_t *v)
{
	struct abi_response a[2] = {{v[1], v[2]}, {v[1] + 1, v[2]}};

	if ((int)v[0] < 0)
		errno = EBADF;
	result(r, (int)v[0] < 0 ? -1 : write(v[0], a, v[3]));
}

/* VFIO's calls have no struct that grows in the middle: argsz says how much is there. */
static void vfio_submit(struct run *r, unsigned long request, void *cmd, size_t size)
{
	char *at = (char *)VA_ARG, *seen = at;
	uint8_t was[64];

	memset(at, 0xcc, PAGE);
	memcpy(was, cmd, size);
	if (r->plan->call[r->at].tweak == TWEAK_EDGE)
		seen = at += PAGE - size;
	memcpy(at, cmd, size);
	if (r->plan->call[r->at].tweak == TWEAK_READONLY)
		seen = at + (VA_ARG_RO - VA_ARG);
	else if (r->plan->call[r->at].tweak == TWEAK_BAD)
		seen = (char *)VA_NONE;
	result(r, ioctl(r->fd, request, seen));
	say_changes(r, was, at, size, 0);
}

static void run_vfio_version(struct run *r, const uint64_t *v)
{
	result(r, ioctl(r->fd, VFIO_GET_API_VERSION));
}

static void run_vfio_extension(struct run *r, const uint64_t *v)
{
	result(r, ioctl(r->fd, VFIO_CHECK_EXTENSION, v[0]));
}

static void run_vfio_set_iommu(struct run *r, const uint64_t *v)
{
	result(r, ioctl(r->fd, VFIO_SET_IOMMU, v[0]));
}

static void run_vfio_get_info(struct run *r, const uint64_t *v)
{
	struct vfio_iommu_type1_info c = {.argsz = v[0]};

	memset((void *)VA_ARG, 0xcc, PAGE);
	vfio_submit(r, VFIO_IOMMU_GET_INFO, &c, sizeof(c));
	say(r, " mem=%08x", hash_bytes((void *)VA_ARG, 512));
}

static void run_vfio_map(struct run *r, const uint64_t *v)
{
	struct vfio_iommu_type1_dma_map c = {.argsz = v[0], .flags = v[1], .vaddr = v[2], .iova = v[3], .size = v[4]};

	vfio_submit(r, VFIO_IOMMU_MAP_DMA, &c, sizeof(c));
}

static void run_vfio_unmap(struct run *r, const uint64_t *v)
{
	struct vfio_iommu_type1_dma_unmap c = {.argsz = v[0], .flags = v[1], .iova = v[2], .size = v[3]};

	vfio_submit(r, VFIO_IOMMU_UNMAP_DMA, &c, sizeof(c));
}

static void run_vfio_dirty(struct run *r, const uint64_t *v)
{
	struct vfio_iommu_type1_dirty_bitmap c = {.argsz = sizeof(c), .flags = v[0]};

	vfio_submit(r, VFIO_IOMMU_DIRTY_PAGES, &c, sizeof(c));
}

static void run_other(struct run *r, const uint64_t *v)
{
	struct abi_destroy c = {.size = sizeof(c)};

	memcpy((void *)VA_ARG, &c, sizeof(c));
	result(r, ioctl(r->fd, CALL(v[0]), VA_ARG));
}

/* The page's place in gone[], NULL if it is none of VA_PRIVATE's and VA_SHARED's. */
static bool *page_gone(struct run *r, uint64_t va)
{
	if (va >= VA_PRIVATE && va < VA_PRIVATE + VA_PAGES * PAGE)
		return &r->gone[0][(va - VA_PRIVATE) / PAGE];
	if (va >= VA_SHARED && va < VA_SHARED + VA_PAGES * PAGE)
		return &r->gone[1][(va - VA_SHARED) / PAGE];
	return NULL;
}

static void run_memory_write(struct run *r, const uint64_t *v)
{
	for (uint64_t at = v[0]; at < v[0] + v[1]; at += PAGE)
		if (page_gone(r, at) && !*page_gone(r, at))
			memset((void *)(at + 16), v[2], PAGE / 2);
	result(r, 0);
}

static void run_memory_read(struct run *r, const uint64_t *v)
{
	result(r, 0);
	for (uint64_t at = v[0]; at < v[0] + v[1]; at += PAGE)
		if (page_gone(r, at) && !*page_gone(r, at))
			say(r, " mem=%08x", hash_bytes((void *)at, PAGE));
}

static void page_fill(uint64_t va, uint64_t seed)
{
	uint64_t *w = (uint64_t *)va;

	for (unsigned int i = 0; i < PAGE / sizeof(*w); i++)
		w[i] = (va + i) * 0x9e3779b97f4a7c15 + seed;
}

static void pages_map(uint64_t va, uint64_t pages, int flags, uint64_t seed)
{
	if (mmap((void *)va, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	/* Transparent huge pages would make what is pinned with a page depend on the machine. */
	madvise((void *)va, pages * PAGE, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < pages; i++)
		page_fill(va + i * PAGE, seed);
}

static void run_memory_renew(struct run *r, const uint64_t *v)
{
	for (uint64_t at = v[0]; at < v[0] + v[1]; at += PAGE) {
		bool *gone = page_gone(r, at);

		if (!gone)
			continue;
		pages_map(at, 1, at < VA_SHARED ? MAP_PRIVATE : MAP_SHARED, r->at + 1);
		*gone = false;
	}
	result(r, 0);
}

static void run_memory_remove(struct run *r, const uint64_t *v)
{
	for (uint64_t at = v[0]; at < v[0] + v[1]; at += PAGE) {
		bool *gone = page_gone(r, at);

		if (!gone)
			continue;
		munmap((void *)at, PAGE);
		*gone = true;
	}
	result(r, 0);
}

typedef void run_fn(struct run *r, const uint64_t *v);

static run_fn *const runs[OP_COUNT] = {
    [OP_IOAS_ALLOC] = run_ioas_alloc,
    [OP_DESTROY] = run_destroy,
    [OP_IOVA_RANGES] = run_iova_ranges,
    [OP_ALLOW_IOVAS] = run_allow_iovas,
    [OP_MAP] = run_map,
    [OP_UNMAP] = run_unmap,
    [OP_COPY] = run_copy,
    [OP_OPTION] = run_option,
    [OP_VFIO_IOAS] = run_vfio_ioas,
    [OP_HWPT_ALLOC] = run_hwpt_alloc,
    [OP_HW_INFO] = run_hw_info,
    [OP_SET_DIRTY] = run_set_dirty,
    [OP_GET_DIRTY] = run_get_dirty,
    [OP_INVALIDATE] = run_invalidate,
    [OP_FAULT_ALLOC] = run_fault_alloc,
    [OP_ADD_RESERVED] = run_add_reserved,
    [OP_MOCK_DOMAIN] = run_mock_domain,
    [OP_MOCK_FLAGS] = run_mock_flags,
    [OP_CHECK_MAP] = run_check_map,
    [OP_CHECK_REFS] = run_check_refs,
    [OP_CREATE_ACCESS] = run_create_access,
    [OP_ACCESS_PAGES] = run_access_pages,
    [OP_DESTROY_PAGES] = run_destroy_pages,
    [OP_ACCESS_RW] = run_access_rw,
    [OP_MEMORY_LIMIT] = run_memory_limit,
    [OP_REPLACE] = run_replace,
    [OP_ACCESS_REPLACE] = run_access_replace,
    [OP_DIRTY] = run_dirty,
    [OP_CHECK_IOTLB] = run_check_iotlb,
    [OP_IOPF] = run_iopf,
    [OP_TEST_OTHER] = run_test_other,
    [OP_CLOSE] = run_close,
    [OP_FAULT_READ] = run_fault_read,
    [OP_FAULT_WRITE] = run_fault_write,
    [OP_VFIO_VERSION] = run_vfio_version,
    [OP_VFIO_EXTENSION] = run_vfio_extension,
    [OP_VFIO_SET_IOMMU] = run_vfio_set_iommu,
    [OP_VFIO_GET_INFO] = run_vfio_get_info,
    [OP_VFIO_MAP] = run_vfio_map,
    [OP_VFIO_UNMAP] = run_vfio_unmap,
    [OP_VFIO_DIRTY] = run_vfio_dirty,
    [OP_OTHER] = run_other,
    [OP_MEMORY_WRITE] = run_memory_write,
    [OP_MEMORY_READ] = run_memory_read,
    [OP_MEMORY_RENEW] = run_memory_renew,
    [OP_MEMORY_REMOVE] = run_memory_remove,
};

static void map_or_die(uint64_t va, uint64_t length, int prot, int flags, int fd)
{
	if (mmap((void *)va, length, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
}

/*
 * A client with CAP_IPC_LOCK is not charged for what it pins, so it is given up. Returns false if the plan asks for
 * what this process may not have.
 */
static bool privileges_set(const struct plan *p)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	struct rlimit l;

	if (syscall(SYS_capget, &h, d) || getrlimit(RLIMIT_MEMLOCK, &l))
		return false;
	d[0].effective &= ~(1U << CAP_IPC_LOCK | 1U << CAP_SYS_RESOURCE);
	if (p->sys_resource)
		d[0].effective |= 1U << CAP_SYS_RESOURCE;
	l.rlim_cur = p->memlock_pages * PAGE;
	return !syscall(SYS_capset, &h, d) && !setrlimit(RLIMIT_MEMLOCK, &l);
}

void perform_setup(void)
{
	int file = memfd_create("perform", 0);
	uint64_t word;

	arg_memory = memfd_create("perform-arg", 0);
	if (file < 0 || arg_memory < 0 || ftruncate(file, VA_RO_PAGES * PAGE) || ftruncate(arg_memory, PAGE)) {
		perror("memfd");
		exit(2);
	}
	for (unsigned int i = 0; i < VA_RO_PAGES * PAGE / sizeof(word); i++) {
		word = i * 0x9e3779b97f4a7c15;
		if (pwrite(file, &word, sizeof(word), i * sizeof(word)) != sizeof(word))
			exit(2);
	}
	map_or_die(VA_FILE_RO, VA_RO_PAGES * PAGE, PROT_READ, MAP_SHARED, file);
	map_or_die(VA_ZERO_RO, VA_RO_PAGES * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	map_or_die(VA_ARG, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, arg_memory);
	map_or_die(VA_ARG_RO, PAGE, PROT_READ, MAP_SHARED, arg_memory);
	map_or_die(VA_AUX, AUX_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	/* file stays open: where a program may not open its own mappings, its memory could not be shown to anybody. */
}

static void call_run(struct run *r)
{
	const struct call *c = &r->plan->call[r->at];
	uint64_t v[8];

	say(r, "%u %s(", r->at, op_names[c->op]);
	for (unsigned int i = 0; i < op_args[c->op]; i++) {
		say(r, "%s", i ? ", " : "");
		say_arg(r, &c->arg[i]);
		v[i] = value_of(r, &c->arg[i]);
	}
	say(r, c->tweak ? ") %s" : ")", tweak_names[c->tweak]);
	runs[c->op](r, v);
}

void perform(const struct plan *p, const bool *skip, say_fn *sayer, void *arg)
{
	struct run r = {.plan = p, .fd = -1};
	struct abi_test limit = {.size = sizeof(limit), .op = TEST_MEMORY_LIMIT, .w = {65536}};
	uint32_t h = 0;

	if (!privileges_set(p)) {
		sayer(arg, "needs more privileges");
		return;
	}
	r.fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (r.fd < 0) {
		perror("/dev/iommu");
		exit(2);
	}
	for (unsigned int i = 0; i < PLAN_CALLS; i++)
		r.fds[i] = -1;
	pages_map(VA_PRIVATE, VA_PAGES, MAP_PRIVATE, 0);
	pages_map(VA_SHARED, VA_PAGES, MAP_SHARED, 0);
	for (r.at = 0; r.at < p->calls; r.at++) {
		if (skip && skip[r.at])
			continue;
		r.used = 0;
		call_run(&r);
		sayer(arg, r.line);
	}
	ioctl(r.fd, CALL(NR_TEST), &limit);
	for (unsigned int i = 0; i < PLAN_CALLS; i++)
		if (r.fds[i] >= 0)
			close(r.fds[i]);
	close(r.fd);
	for (unsigned int i = 0; i < VA_PAGES; i++) {
		if (!r.gone[0][i])
			h = h * 31 + hash_bytes((void *)(VA_PRIVATE + i * PAGE), PAGE);
		if (!r.gone[1][i])
			h = h * 31 + hash_bytes((void *)(VA_SHARED + i * PAGE), PAGE);
	}
	r.used = 0;
	say(&r, "end mem=%08x", h);
	sayer(arg, r.line);
}
