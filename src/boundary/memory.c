/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program's memory, as pages that the broker can hold.
 *
 * Shared mappings of tmpfs and hugetlbfs files are named to the broker as they are; shared anonymous memory is made a
 * memfd when it is mapped. Private memory is *adopted*: moved in place into a memfd, so that program and broker see the
 * same pages, which outlive whatever the program does to its mapping (rule A2). What changes for the program is undone
 * here: fork gives the child private copies, discarded pages come back as zeros, mremap works over the seams.
 */
#include "boundary/boundary.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "boundary/maps.h"

#define ADOPTED_NAME "pinfold-adopted"
#define ADOPTED_VMA  "/memfd:" ADOPTED_NAME  /* ":" and what it was */
#define SHARED_VMA   "/memfd:pinfold-shared" /* shared.c */

/* Every address ever adopted lies in [low, high): most calls can be told to be none of ours by that. */
static _Atomic uint64_t hull_low = UINT64_MAX, hull_high;

/* The range being moved right now; writers that fault on it wait. One at a time. */
static _Atomic uint32_t adopt_lock;
static _Atomic uint64_t moving_start, moving_end;

/* Describing takes several scratch areas: one thread at a time, so that they cannot run out half way. */
static _Atomic uint32_t describe_lock;

/*
 * Files that the broker asked for and we could not show: what of them is adopted may be moved anew. Nothing else may,
 * because a device may hold it. The broker looks at one part of a description at a time; the oldest are forgotten.
 */
static struct {
	uint64_t dev, ino;
} lost[256];
static uint32_t nlost;

static bool in_hull(uint64_t start, uint64_t len)
{
	return start < atomic_load(&hull_high) && start + len > atomic_load(&hull_low);
}

/* With adopt_lock held. */
static void hull_add(uint64_t start, uint64_t end)
{
	if (start < atomic_load(&hull_low))
		atomic_store(&hull_low, start);
	if (end > atomic_load(&hull_high))
		atomic_store(&hull_high, end);
}

bool memory_has_adopted(void)
{
	return atomic_load(&hull_high) != 0;
}

bool memory_is_adopted(const struct vma *v)
{
	return v->flags & VMA_SHARED && !strncmp(v->name, ADOPTED_VMA, sizeof(ADOPTED_VMA) - 1);
}

static int vma_prot(const struct vma *v)
{
	return (v->flags & VMA_READ ? PROT_READ : 0) | (v->flags & VMA_WRITE ? PROT_WRITE : 0) |
	       (v->flags & VMA_EXEC ? PROT_EXEC : 0);
}

/* ---- what a person calls it ---- */
static void where_set(char where[PAGE_WHERE], const char *prefix, const char *name)
{
	static const char deleted[] = " (deleted)";
	size_t n = strlen(prefix), len = strlen(name), tail = sizeof(deleted) - 1;

	if (len > tail && !strcmp(name + len - tail, deleted))
		len -= tail;
	memcpy(where, prefix, n);
	len = MIN(len, PAGE_WHERE - 1 - n);
	memcpy(where + n, name, len);
	where[n + len] = 0;
}

static const char *last_part(const char *path)
{
	const char *last = path;

	for (; *path; path++)
		if (*path == '/')
			last = path + 1;
	return last;
}

/* By the name that the kernel has for it. What we moved has a name that says what it was. */
static void where_of(const struct vma *v, char where[PAGE_WHERE])
{
	static const char memfd[] = "/memfd:";

	if (!strncmp(v->name, ADOPTED_VMA ":", sizeof(ADOPTED_VMA)))
		where_set(where, "", v->name + sizeof(ADOPTED_VMA));
	else if (!strcmp(v->name, "[heap]"))
		where_set(where, "heap", "");
	else if (!strncmp(v->name, "[stack", 6))
		where_set(where, "stack", "");
	else if (!strncmp(v->name, "/anon_hugepage", 14))
		where_set(where, "hugetlb", "");
	else if (v->name[0] != '/' || !strncmp(v->name, "/dev/zero", 9) || !strncmp(v->name, SHARED_VMA, 21))
		where_set(where, "anonymous", "");
	else if (!strncmp(v->name, memfd, sizeof(memfd) - 1))
		where_set(where, "memfd:", v->name + sizeof(memfd) - 1);
	else
		where_set(where, "file ", last_part(v->name));
}

/* ---- adoption ---- */
struct adoption {
	uint64_t start, end;
	const struct vma *vma;
	int fd;
	long ret;
};

/* Large anonymous ranges are mostly untouched: copy what is there and leave holes elsewhere. */
static long copy_present(int fd, uint64_t start, uint64_t end)
{
	long pm = sys4(__NR_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0), ret = 0;
	uint64_t entry[64];

	if (pm < 0)
		return pm;
	for (uint64_t a = start; a < end && ret >= 0;) {
		long n = sys4(__NR_pread64, pm, entry, MIN(sizeof(entry), (end - a) / PF_PAGE_SIZE * 8),
			      a / PF_PAGE_SIZE * 8);

		if (n <= 0) {
			ret = -EIO;
			break;
		}
		for (long i = 0; i < n / 8 && ret >= 0; i++, a += PF_PAGE_SIZE) {
			/* bits 63 and 62: present, swapped */
			if (entry[i] >> 62)
				ret = sys4(__NR_pwrite64, fd, a, PF_PAGE_SIZE, a - start);
		}
	}
	sys1(__NR_close, pm);
	return ret < 0 ? ret : 0;
}

static long copy_all(int fd, uint64_t start, uint64_t end)
{
	for (uint64_t a = start; a < end;) {
		long n = sys4(__NR_pwrite64, fd, a, end - a, a - start);

		if (n <= 0)
			return n ? n : -EIO;
		a += n;
	}
	return 0;
}

/* Runs on a stack of the boundary's: the range may hold the program's stack, which must not change between copy and
 * replacement. */
static long adopt_on_stack(void *arg)
{
	struct adoption *a = arg;
	uint64_t len = a->end - a->start;
	int prot = vma_prot(a->vma);
	bool writable = prot & PROT_WRITE, sparse = !a->vma->ino && len > 64 * 1024;

	atomic_store(&moving_end, a->end);
	atomic_store(&moving_start, a->start);
	a->ret = writable ? sys3(__NR_mprotect, a->start, len, prot & ~PROT_WRITE) : 0;
	if (!a->ret) {
		a->ret = sparse ? copy_present(a->fd, a->start, a->end) : -EIO;
		if (a->ret)
			a->ret = copy_all(a->fd, a->start, a->end);
		if (!a->ret) {
			a->ret = sys6(__NR_mmap, a->start, len, prot, MAP_SHARED | MAP_FIXED, a->fd, 0);
			a->ret = MIN(a->ret, 0);
		}
		if (a->ret && writable)
			sys3(__NR_mprotect, a->start, len, prot);
	}
	atomic_store(&moving_start, 0);
	atomic_store(&moving_end, 0);
	return 0;
}

/* Moves [start, end) of one mapping into a new memfd: its descriptor, or -errno and nothing has changed. */
static int adopt(uint64_t start, uint64_t end, const struct vma *v)
{
	struct scratch *s = scratch_get_nested();
	struct adoption *a = (struct adoption *)s->buf;
	char name[sizeof(ADOPTED_NAME) + PAGE_WHERE] = ADOPTED_NAME ":";
	int fd;

	where_of(v, name + sizeof(ADOPTED_NAME));
	fd = sys2(__NR_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	*a = (struct adoption){start, end, NULL, fd, -EFAULT};
	if (fd >= 0 && !sys2(__NR_ftruncate, fd, end - start)) {
		struct vma *copy = (struct vma *)(a + 1);
		uint8_t probe;

		/* A stack that grows must keep a piece that does, below what is taken; nothing else has a mapping that
		 * appears by being touched. */
		if (start == v->start && !v->ino)
			guard_copy(&probe, (void *)(start - 1), 1);
		a->vma = copy;
		sys3(__NR_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
		spin_lock(&adopt_lock, LOCK_ADOPT);
		/* From here on nobody unmaps it. Since it was looked at it may have gone, and become somebody else's.
		 */
		if (!maps_find(start, copy) && copy->start <= start && copy->end >= end && copy->flags == v->flags &&
		    copy->dev == v->dev && copy->ino == v->ino)
			stack_call(adopt_on_stack, a, s->stack + sizeof(s->stack));
		if (!a->ret)
			hull_add(start, end);
		spin_unlock(&adopt_lock, LOCK_ADOPT);
	}
	if (a->ret && fd >= 0) {
		sys1(__NR_close, fd);
		fd = a->ret;
	}
	scratch_put(s);
	return fd;
}

/*
 * The same for [*va, end), or for more before and behind it: of a mapping of huge pages only whole ones can be
 * replaced. *va becomes where the file begins.
 */
static int adopt_at_least(uint64_t *va, uint64_t end, const struct vma *v)
{
	static const uint64_t sizes[] = {2UL << 20, 1UL << 30};
	int fd = adopt(*va, end, v);

	for (unsigned int i = 0; fd == -EINVAL && v->ino && i < ARRAY_SIZE(sizes); i++) {
		uint64_t start = ALIGN_DOWN(*va, sizes[i]);

		if (!IS_ALIGNED(v->start | v->end, sizes[i]))
			break;
		fd = adopt(start, ALIGN_UP(end, sizes[i]), v);
		if (fd >= 0)
			*va = start;
	}
	return fd;
}

bool memory_fault(uint64_t addr)
{
	unsigned int turns = 0;
	struct vma v;

	if (!in_hull(addr, 1) && !atomic_load(&moving_end))
		return false;
	while (addr >= atomic_load(&moving_start) && addr < atomic_load(&moving_end))
		wait_turn(&turns);
	/* The move may have ended between the fault and here. */
	return !maps_find(addr, &v) && v.start <= addr && v.flags & VMA_WRITE;
}

/* ---- describing ---- */
static int send_backing_part(struct rpc *r, uint64_t dev, uint64_t ino, int fd)
{
	struct ucall_part *p = part_append(r, PART_BACKING, dev, ino, 0);

	if (!p)
		return -ENOSPC;
	if (fd < 0 || rpc_send_fd(r, fd))
		p->error = EBADF;
	return 0;
}

extern const char __ehdr_start[] __attribute__((visibility("hidden"))), _end[] __attribute__((visibility("hidden")));

/* Is a part of this library, which must not move under its own feet? *stop is cut to where that changes. */
static bool is_ours(uint64_t a, uint64_t *stop)
{
	const uint64_t first[] = {ALIGN_DOWN((uint64_t)__ehdr_start, PF_PAGE_SIZE), STUB_ADDR};
	const uint64_t end[] = {ALIGN_UP((uint64_t)_end, PF_PAGE_SIZE), STUB_ADDR + PF_PAGE_SIZE};

	for (unsigned int i = 0; i < ARRAY_SIZE(first); i++) {
		if (a >= first[i] && a < end[i]) {
			*stop = MIN(*stop, end[i]);
			return true;
		}
		if (a < first[i])
			*stop = MIN(*stop, first[i]);
	}
	return false;
}

static bool is_lost(uint64_t dev, uint64_t ino)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(lost); i++)
		if (lost[i].ino == ino && lost[i].dev == dev)
			return true;
	return false;
}

static void lost_add(uint64_t dev, uint64_t ino)
{
	spin_lock(&describe_lock, LOCK_DESCRIBE);
	if (!is_lost(dev, ino)) {
		lost[nlost % ARRAY_SIZE(lost)].dev = dev;
		lost[nlost++ % ARRAY_SIZE(lost)].ino = ino;
	}
	spin_unlock(&describe_lock, LOCK_DESCRIBE);
}

/* One mapping's share of [va, end) as a page_desc; adopts it if need be. 0 or -errno for the part. */
static int describe_vma(struct rpc *r, const struct vma *v, uint64_t va, uint64_t end, bool fresh, struct page_desc *d)
{
	bool readable = v->flags & VMA_READ;

	*d = (struct page_desc){.len = end - va, .writable = !!(v->flags & VMA_WRITE)};
	if (image.stacks)
		where_of(v, d->where);
	if (!readable || !strncmp(v->name, "[v", 2))
		return -EFAULT;
	if (v->flags & VMA_SHARED && !(fresh && memory_is_adopted(v) && is_lost(v->dev, v->ino))) {
		d->dev = v->dev;
		d->ino = v->ino;
		d->offset = v->offset + (va - v->start);
		return 0;
	}
	struct stat st;
	uint64_t start = va;
	int fd = adopt_at_least(&start, end, v);

	if (fd < 0)
		return -EFAULT;
	sys2(__NR_fstat, fd, &st);
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	d->offset = va - start;
	send_backing_part(r, d->dev, d->ino, fd);
	sys1(__NR_close, fd);
	return 0;
}

/* Descriptors of one part; the broker asks again for what did not fit. */
#define DESCS_PER_PART 64

static int describe_locked(struct rpc *r, uint64_t va, uint64_t len, bool fresh)
{
	struct scratch *s = scratch_get_nested();
	struct page_desc *d = (struct page_desc *)s->buf;
	struct vma *v = (struct vma *)(s->buf + DESCS_PER_PART * sizeof(*d));
	uint64_t a = va, end = va + len;
	struct ucall_part *p;
	unsigned int n = 0;
	int err = 0;

	_Static_assert(DESCS_PER_PART * sizeof(*d) + sizeof(*v) <= sizeof(s->buf), "descriptions fit in scratch space");
	while (a < end && n < DESCS_PER_PART && !err) {
		uint64_t stop, object, offset, left;
		bool ours;

		/* The part reaches to the end of what is not there, so that one part says it all. */
		if (maps_find(a, v)) {
			err = EFAULT;
			a = end;
			break;
		}
		if (v->start > a) {
			err = EFAULT;
			a = MIN(v->start, end);
			break;
		}
		stop = MIN(v->end, end);
		ours = is_ours(a, &stop);
		if (SLOT_PAYLOAD - r->slot->payload_len < (n + 4) * sizeof(*d) + 4 * sizeof(*p))
			break;
		if (window_locate(a, &object, &offset, &left)) {
			stop = MIN(stop, a + left);
			d[n++] =
			    (struct page_desc){.kind = PAGE_WINDOW, .ino = object, .offset = offset, .len = stop - a};
			a = stop;
			continue;
		}
		err = ours ? EFAULT : -describe_vma(r, v, a, stop, fresh, &d[n]);
		n += !err;
		a = stop;
	}
	p = part_append(r, PART_PAGES, va, a - va, n * sizeof(*d));
	if (p) {
		p->error = err;
		memcpy(p + 1, d, n * sizeof(*d));
		watch_add(va, a - va);
	}
	scratch_put(s);
	return p ? 0 : -ENOSPC;
}

int memory_describe(struct rpc *r, uint64_t va, uint64_t len, bool fresh)
{
	int ret;

	spin_lock(&describe_lock, LOCK_DESCRIBE);
	ret = describe_locked(r, va, len, fresh);
	spin_unlock(&describe_lock, LOCK_DESCRIBE);
	return ret;
}

/* A descriptor of this process for the file (dev, ino), preferably a writable one. -1: none. */
static int find_fd(uint64_t dev, uint64_t ino)
{
	struct scratch *s = scratch_get_nested();
	long dir = sys4(__NR_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), n;
	int found = -1;

	while (dir >= 0 && (n = sys3(__NR_getdents64, dir, s->buf, sizeof(s->buf))) > 0) {
		for (long at = 0; at < n;) {
			struct dirent64 *e = (void *)(s->buf + at);
			const char *p = e->d_name;
			struct stat st;

			at += e->d_reclen;
			if (*p < '0' || *p > '9')
				continue;
			int fd = parse_number(&p, 10);

			if (sys2(__NR_fstat, fd, &st) || st.st_dev != dev || st.st_ino != ino)
				continue;
			long fl = sys3(__NR_fcntl, fd, F_GETFL, 0);
			if (found < 0 || (fl & O_ACCMODE) == O_RDWR)
				found = fd;
		}
	}
	if (dir >= 0)
		sys1(__NR_close, dir);
	scratch_put(s);
	return found;
}

static int open_if(const char *path, uint64_t dev, uint64_t ino)
{
	static const int modes[] = {O_RDWR, O_RDONLY};

	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++) {
		long fd = sys4(__NR_openat, AT_FDCWD, path, modes[i] | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
		struct stat st;

		if (fd < 0)
			continue;
		if (!sys2(__NR_fstat, fd, &st) && st.st_dev == dev && st.st_ino == ino)
			return fd;
		sys1(__NR_close, fd);
	}
	return -1;
}

/* A mapped file whose descriptors are all closed may still have a name; and root may open it by its mapping. */
static int open_mapped(uint64_t dev, uint64_t ino)
{
	struct vma v;

	for (uint64_t a = 0; !maps_find(a, &v); a = v.end) {
		char link[64] = "/proc/self/map_files/", *p;
		int fd;

		if (v.dev != dev || v.ino != ino || v.name[0] != '/')
			continue;
		fd = open_if(v.name, dev, ino);
		if (fd >= 0)
			return fd;
		p = format_number(link + strlen(link), v.start, 16, 1);
		*p++ = '-';
		format_number(p, v.end, 16, 1);
		return open_if(link, dev, ino);
	}
	return -1;
}

int memory_send_backing(struct rpc *r, uint64_t dev, uint64_t ino)
{
	int fd = find_fd(dev, ino), opened = fd < 0 ? open_mapped(dev, ino) : -1;
	int ret = send_backing_part(r, dev, ino, fd < 0 ? opened : fd);

	if (fd < 0 && opened < 0)
		lost_add(dev, ino);
	shared_sent();
	if (opened >= 0)
		sys1(__NR_close, opened);
	return ret;
}

/* ---- mappings that come and go ---- */
static bool something_of_ours(uint64_t start, uint64_t len)
{
	return window_overlaps(start, len) || shared_overlaps(start, len);
}

void memory_forget(uint64_t start, uint64_t len)
{
	if (!something_of_ours(start, len) || process_is_vfork_child())
		return;
	window_forget(start, len);
	shared_forget(start, len);
}

static bool holds(uint64_t start, uint64_t len, uint64_t addr)
{
	return addr - start < len;
}

/*
 * Between a look at a range and its replacement no thread may unmap it: another one could map something of its own
 * there, and lose it. So what unmaps is done here, and waits for a move that is under way; except where it takes away
 * the stack that this runs on or returns to.
 */
static bool run_between_moves(ucontext_t *uc, long nr, uint64_t start, uint64_t len)
{
	if (process_is_vfork_child() || holds(start, len, UC_SP(uc)) ||
	    holds(start, len, (uint64_t)__builtin_frame_address(0)))
		return false;
	spin_lock(&adopt_lock, LOCK_ADOPT);
	UC_RET(uc) = sys6(nr, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), UC_ARG4(uc), UC_ARG5(uc), UC_ARG6(uc));
	spin_unlock(&adopt_lock, LOCK_ADOPT);
	return true;
}

static bool failed(long p)
{
	return p < 0 && p >= -4095;
}

static void map_memory(ucontext_t *uc, bool followed)
{
	uint64_t len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE), flags = UC_ARG4(uc), off = UC_ARG6(uc);
	long p;

	if (!(flags & MAP_ANONYMOUS) &&
	    ((off & REGION_OFFSET_MAGIC_MASK) == REGION_OFFSET_MAGIC || off >> REGION_INDEX_SHIFT) && window_mmap(uc))
		return;
	if ((flags & (MAP_TYPE | MAP_ANONYMOUS)) == (MAP_SHARED | MAP_ANONYMOUS) && len) {
		UC_RET(uc) = shared_map(uc);
		return;
	}
	if (!(flags & MAP_FIXED) || !something_of_ours(UC_ARG1(uc), len)) {
		/* What has to be read in may take its time. */
		if (!(flags & MAP_FIXED) || (flags & (MAP_POPULATE | MAP_LOCKED) && !followed) ||
		    !run_between_moves(uc, __NR_mmap, UC_ARG1(uc), len))
			trap_resume(uc);
		return;
	}
	p = sys6(__NR_mmap, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), flags, UC_ARG5(uc), off);
	if (p == UC_ARG1(uc))
		memory_forget(p, len);
	UC_RET(uc) = p;
}

void memory_mmap(ucontext_t *uc)
{
	uint64_t start = UC_ARG1(uc), len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE);
	bool fixed = UC_ARG4(uc) & MAP_FIXED && UC_ARG2(uc), frozen;
	/* What cannot be touched is how allocators keep an address that they have given back. */
	enum memory_change kind = UC_ARG3(uc) == PROT_NONE ? CHANGE_UNMAPPED : CHANGE_REPLACED;

	if (fixed)
		watch_gone(uc, kind, start, len);
	frozen = fixed && follow_change(false, start, len);
	map_memory(uc, frozen);
	follow_changed(frozen);
	if (fixed && failed(UC_RET(uc)))
		watch_failed(uc, kind, start, len);
}

void memory_munmap(ucontext_t *uc)
{
	uint64_t start = UC_ARG1(uc), len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE);
	bool valid = len && !(start & ~PF_PAGE_MASK) && start + len > start, frozen;

	if (valid)
		watch_gone(uc, CHANGE_UNMAPPED, start, len);
	frozen = len && follow_change(false, start, len);
	/* First, because from then on the range may be anybody's. What the kernel refuses is left as it is. */
	if (valid)
		memory_forget(start, len);
	if (!run_between_moves(uc, __NR_munmap, start, len))
		trap_resume(uc);
	follow_changed(frozen);
}

static bool has_adopted(uint64_t start, uint64_t len)
{
	uint64_t end = start + len;
	struct vma v;

	if (end < start || !in_hull(start, len))
		return false;
	for (uint64_t a = start; a < end && !maps_find(a, &v) && v.start < end; a = v.end)
		if (memory_is_adopted(&v))
			return true;
	return false;
}

/*
 * Discarded private memory reads as zeros; the device keeps the old page. MADV_FREE lets the kernel choose when to
 * discard, and it never chooses a pinned page: adopted memory stays.
 */
static long discard_adopted(uint64_t start, uint64_t end, int advice)
{
	long ret = 0, hole = 0;
	struct vma v;

	for (uint64_t a = start; a < end && !ret; a = v.end) {
		uint64_t from, to;

		if (maps_find(a, &v) || v.start >= end)
			return -ENOMEM;
		if (v.start > a)
			hole = -ENOMEM; /* said at the end: what is mapped is discarded all the same */
		from = MAX(a, v.start);
		to = MIN(v.end, end);
		if (!memory_is_adopted(&v)) {
			ret = sys3(__NR_madvise, from, to - from, advice);
		} else if (advice != MADV_FREE) {
			long p = sys6(__NR_mmap, from, to - from, vma_prot(&v), MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				      -1, 0);

			ret = p < 0 && p >= -4095 ? p : 0;
		}
	}
	return ret ? ret : hole;
}

void memory_madvise(ucontext_t *uc)
{
	uint64_t start = UC_ARG1(uc), len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE);
	int advice = UC_ARG3(uc);
	bool frozen;

	if (!(start & ~PF_PAGE_MASK) && len && window_overlaps(start, len)) {
		UC_RET(uc) = advice == MADV_REMOVE ? -ENODEV : -EINVAL; /* a device's memory: VM_PFNMAP */
		return;
	}
	if (advice == MADV_REMOVE && !(start & ~PF_PAGE_MASK))
		watch_removed(uc, start, len);
	/* What is not adopted is shared: discarding it in one mapping leaves the pages as they are. */
	if (start & ~PF_PAGE_MASK || !len || !has_adopted(start, len)) {
		trap_resume(uc);
		return;
	}
	if (advice != MADV_REMOVE && advice != MADV_FREE)
		watch_gone(uc, CHANGE_DISCARDED, start, len);
	frozen = follow_change(false, start, len);
	UC_RET(uc) = advice == MADV_REMOVE ? -EINVAL : discard_adopted(start, start + len, advice);
	follow_changed(frozen);
}

/* Moves each mapping of [from, from + len) to the same place in [to, to + len), which is ours to replace. */
static long move_pieces(uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t end = from + len;
	struct vma v;

	for (uint64_t a = from; a < end; a = v.end) {
		uint64_t n;
		long p;

		if (maps_find(a, &v) || v.start > a)
			return -EFAULT;
		n = MIN(v.end, end) - a;
		p = sys5(__NR_mremap, a, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, to + (a - from));
		if (p < 0 && p >= -4095)
			return p;
	}
	return 0;
}

static long map_private(uint64_t addr, uint64_t len, int prot, int flags)
{
	return sys6(__NR_mmap, addr, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* The arguments are ones that the kernel would not refuse. */
static long remap_adopted(uint64_t old, uint64_t old_len, uint64_t new_len, int flags, uint64_t fixed)
{
	uint64_t keep = MIN(old_len, new_len);
	struct vma v;
	long p, ret;

	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
		if (new_len <= old_len) {
			ret = new_len < old_len ? sys2(__NR_munmap, old + new_len, old_len - new_len) : 0;
			return ret ? ret : (long)old;
		}
		fixed = 0;
	}
	for (uint64_t a = old + keep; a > old; a = v.start)
		if (maps_find(a - 1, &v) || v.start >= a)
			return -EFAULT;
	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
		p = map_private(old + old_len, new_len - old_len, vma_prot(&v), MAP_FIXED_NOREPLACE);
		if (p == (long)(old + old_len))
			return old;
		if (!failed(p))
			sys2(__NR_munmap, p, new_len - old_len);
		if (!(flags & MREMAP_MAYMOVE))
			return -ENOMEM;
	}
	p = map_private(fixed, new_len, vma_prot(&v), flags & MREMAP_FIXED ? MAP_FIXED : 0);
	if (failed(p))
		return p;
	ret = move_pieces(old, p, keep);
	if (ret)
		return ret;
	if (old_len > keep)
		sys2(__NR_munmap, old + keep, old_len - keep);
	if (flags & MREMAP_DONTUNMAP)
		map_private(old, old_len, vma_prot(&v), MAP_FIXED_NOREPLACE);
	/* Its pages are somewhere new. */
	spin_lock(&adopt_lock, LOCK_ADOPT);
	hull_add(p, p + keep);
	spin_unlock(&adopt_lock, LOCK_ADOPT);
	return p;
}

static bool remap_is_valid(uint64_t old, uint64_t old_len, uint64_t new_len, uint64_t flags, uint64_t fixed)
{
	if (old & ~PF_PAGE_MASK || !new_len || old + old_len < old ||
	    flags & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return false;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))
		return false;
	if (flags & MREMAP_DONTUNMAP && old_len != new_len)
		return false;
	return !(flags & MREMAP_FIXED) ||
	       (!(fixed & ~PF_PAGE_MASK) && (old + old_len <= fixed || fixed + new_len <= old) &&
		fixed + new_len > fixed);
}

static void remap_memory(ucontext_t *uc)
{
	uint64_t old = UC_ARG1(uc), old_len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE);
	uint64_t new_len = ALIGN_UP((uint64_t)UC_ARG3(uc), PF_PAGE_SIZE), flags = UC_ARG4(uc), fixed = UC_ARG5(uc);
	bool ours = something_of_ours(old, old_len ? old_len : 1) ||
		    (flags & MREMAP_FIXED && something_of_ours(fixed, new_len));
	bool adopted = has_adopted(old, old_len ? old_len : 1), whole;
	long p;

	if (!remap_is_valid(old, old_len, new_len, flags, fixed) || (!ours && !adopted)) {
		if (!run_between_moves(uc, __NR_mremap, old, MAX(old_len, 1UL)))
			trap_resume(uc);
		return;
	}
	whole = !adopted && window_overlaps(old, MAX(old_len, 1UL));
	if (whole && (new_len > old_len || flags & MREMAP_DONTUNMAP)) {
		UC_RET(uc) = new_len > old_len ? -EFAULT : -EINVAL; /* a device's memory: VM_DONTEXPAND, VM_PFNMAP */
		return;
	}
	if (!adopted)
		p = sys5(__NR_mremap, old, old_len, new_len, flags, fixed);
	else
		p = old_len ? remap_adopted(old, old_len, new_len, flags, fixed) : -EINVAL;
	UC_RET(uc) = p;
	if (failed(p) || !ours || process_is_vfork_child())
		return;
	if ((uint64_t)p != old)
		memory_forget(p, new_len);
	if (new_len < old_len)
		memory_forget(old + new_len, old_len - new_len);
	if (!old_len)
		shared_copied(old, p, new_len);
	else if (!(flags & MREMAP_DONTUNMAP)) {
		shared_move(old, MIN(old_len, new_len), p, new_len);
		window_move(old, MIN(old_len, new_len), p);
	}
}

void memory_mremap(ucontext_t *uc)
{
	uint64_t fixed = UC_ARG4(uc) & MREMAP_FIXED ? UC_ARG5(uc) : 0;
	uint64_t old = UC_ARG1(uc), old_len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE);
	uint64_t new_len = ALIGN_UP((uint64_t)UC_ARG3(uc), PF_PAGE_SIZE), keep = MIN(old_len, new_len);
	bool valid = remap_is_valid(old, old_len, new_len, UC_ARG4(uc), fixed), frozen;

	if (valid && new_len < old_len)
		watch_gone(uc, CHANGE_UNMAPPED, old + new_len, old_len - new_len);
	if (valid && fixed)
		watch_gone(uc, CHANGE_REPLACED, fixed, new_len);
	frozen = follow_change(false, old, MAX(old_len, PF_PAGE_SIZE));
	if (fixed && new_len)
		follow_change(frozen, fixed, new_len);
	remap_memory(uc);
	follow_changed(frozen);
	if (valid && failed(UC_RET(uc))) {
		if (new_len < old_len)
			watch_failed(uc, CHANGE_UNMAPPED, old + new_len, old_len - new_len);
		if (fixed)
			watch_failed(uc, CHANGE_REPLACED, fixed, new_len);
	} else if (valid && keep && (uint64_t)UC_RET(uc) != old && UC_RET(uc) != __NR_mremap) {
		watch_moved(uc, old, keep, UC_RET(uc));
	}
}

/* ---- fork ---- */
void memory_lock(void)
{
	spin_lock(&describe_lock, LOCK_DESCRIBE);
	spin_lock(&adopt_lock, LOCK_ADOPT);
	shared_lock();
}

void memory_unlock(void)
{
	shared_unlock();
	spin_unlock(&adopt_lock, LOCK_ADOPT);
	spin_unlock(&describe_lock, LOCK_DESCRIBE);
}

static long unshare_on_stack(void *arg)
{
	struct vma *v = arg;

	for (uint64_t a = 0; !maps_find(a, v); a = v->end) {
		uint64_t len = v->end - v->start;
		long p;

		if (!memory_is_adopted(v))
			continue;
		p = sys6(__NR_mmap, 0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p < 0 && p >= -4095)
			continue; /* no memory for a copy: the child keeps sharing, and is told by nobody; Linux would
				     have failed the fork */
		/* What may not be read now may be allowed again. */
		if (!(v->flags & VMA_READ))
			sys3(__NR_mprotect, v->start, len, PROT_READ);
		guard_copy((void *)p, (void *)v->start, len);
		sys3(__NR_mprotect, p, len, vma_prot(v));
		sys5(__NR_mremap, p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, v->start);
	}
	return 0;
}

void memory_unshare_in_child(void)
{
	struct scratch *s = scratch_get();

	stack_call(unshare_on_stack, s->buf, s->stack + sizeof(s->stack));
	scratch_put(s);
	atomic_store(&hull_low, UINT64_MAX);
	atomic_store(&hull_high, 0);
}
