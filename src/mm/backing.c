/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/list.h"
#include "base/util.h"
#include "mm/backing.h"
#include "mm/mm.h"

enum {
	CACHE_BUCKETS = 1024, /* a power of two */
	MAPS_MAX = 64,	      /* live maps of one backing: doubling needs fewer, a client that plays games meets it */
};
#define MAP_MIN	   (2UL << 20)
#define MAP_MAX	   (16UL << 40) /* of the broker's 128 TiB of addresses, for one file */
#define HUGE_PAGE  (2UL << 20)
#define GIANT_PAGE (1UL << 30)

/*
 * Invariants. (dev, ino, writable) is unique in the cache. A backing with refs == 0 is on the idle list and has no map
 * in use; one of huge pages is never idle. maps is in order of age, newest first, and the newest is the longest.
 *
 * A file that was shown read-only has a backing of its own beside the writable one: a client that was only ever given a
 * read-only descriptor must not reach a mapping that can be written to.
 */
struct backing {
	struct list bucket;
	struct list idle;
	struct backing_cache *cache;
	unsigned int refs;
	int fd;
	uint64_t id; /* of the file: a read-only and a writable backing of the same file share it */
	dev_t dev;
	ino_t ino;
	bool writable;
	bool huge;
	uint64_t idle_bytes; /* what it counted for when it became idle */
	unsigned int nmaps;
	struct list maps;
};

struct backing_cache {
	size_t idle_bytes_max;
	unsigned int idle_max;
	size_t idle_bytes;
	unsigned int idle_count;
	unsigned int busy; /* backings with references */
	uint64_t last_id;
	struct list pages; /* every struct pages that has a slice of a backing */
	struct list idle;  /* least recently used first */
	struct list bucket[CACHE_BUCKETS];
};

/* ---- maps ---- */

static void map_free(struct backing_map *m)
{
	list_del(&m->node);
	m->backing->nmaps--;
	munmap(m->base, m->len);
	free(m);
}

/*
 * How much to map. Addresses past the end of a tmpfs file are harmless and become valid when it grows, so a map is made
 * long enough that a growing file needs few of them. Mapping past the end of a hugetlbfs file would make it longer.
 */
static uint64_t map_len_wanted(const struct backing *b, uint64_t end)
{
	uint64_t len = MAP_MIN;

	if (b->huge)
		return MAX(end, backing_size(b));
	while (len < end)
		len *= 2;
	return len;
}

/*
 * Maps the file where its offsets and our addresses agree modulo a huge page, so that the host can use huge pages, too.
 * A mapping's length is rounded up to huge pages by hugetlbfs alone, and there it is a multiple of them already.
 */
static void *map_file(const struct backing *b, uint64_t len)
{
	int prot = PROT_READ | (b->writable ? PROT_WRITE : 0);
	uint64_t size = backing_size(b), align = size >= GIANT_PAGE ? GIANT_PAGE : HUGE_PAGE, room, at, end;
	char *space, *base;

	if (size < HUGE_PAGE)
		return mem_mmap(NULL, len, prot, MAP_SHARED | MAP_NORESERVE, b->fd, 0);
	room = ALIGN_UP(len, HUGE_PAGE) + align;
	space = mem_mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		return MAP_FAILED;
	at = ALIGN_UP((uintptr_t)space, align) - (uintptr_t)space;
	base = mem_mmap(space + at, len, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, b->fd, 0);
	if (base == MAP_FAILED) {
		int err = errno;

		munmap(space, room);
		errno = err;
		return MAP_FAILED;
	}
	end = at + ALIGN_UP(len, HUGE_PAGE);
	if (at)
		munmap(space, at);
	if (end < room)
		munmap(space + end, room - end);
	return base;
}

static int map_new(struct backing *b, uint64_t end, struct backing_map **out)
{
	uint64_t len = map_len_wanted(b, end);
	struct backing_map *m;
	void *base;

	if (len > MAP_MAX || b->nmaps >= MAPS_MAX)
		return -ENOMEM;
	m = mem_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	base = map_file(b, len);
	if (base == MAP_FAILED) {
		int err = errno == ENOMEM ? -ENOMEM : -EFAULT;

		free(m);
		return err;
	}
	/* The broker may fork; a child has no business with client memory. */
	madvise(base, len, MADV_DONTFORK);
	m->backing = b;
	m->base = base;
	m->len = len;
	b->nmaps++;
	list_add(&b->maps, &m->node);
	*out = m;
	return 0;
}

int backing_map_get(struct backing *b, uint64_t end, struct backing_map **out)
{
	struct backing_map *m = list_first(&b->maps, struct backing_map, node);
	struct backing_map *old = list_empty(&b->maps) ? NULL : m;
	int err;

	if (!old || old->len < end) {
		err = map_new(b, end, &m);
		if (err)
			return err;
		if (old && !old->refs)
			map_free(old);
	}
	m->refs++;
	b->refs++; /* not 0 before: the caller holds one */
	*out = m;
	return 0;
}

void backing_map_put(struct backing_map *m)
{
	struct backing *b = m->backing;

	if (!--m->refs && &m->node != b->maps.next)
		map_free(m);
	backing_put(b);
}

uint64_t backing_id(const struct backing *b)
{
	return b->id;
}

struct list *backing_pages(struct backing *b)
{
	return &b->cache->pages;
}

struct list *backing_cache_pages(struct backing_cache *c)
{
	return &c->pages;
}

bool backing_writable(const struct backing *b)
{
	return b->writable;
}

uint64_t backing_size(const struct backing *b)
{
	struct stat st;

	if (fstat(b->fd, &st) < 0 || st.st_size <= 0)
		return 0;
	return ALIGN_UP((uint64_t)st.st_size, PF_PAGE_SIZE);
}

/* ---- cache ---- */

static void backing_free(struct backing *b)
{
	struct backing_map *m, *tmp;

	list_for_each_safe (m, tmp, &b->maps, node) {
		assert(m->refs == 0);
		map_free(m);
	}
	list_del(&b->bucket);
	close(b->fd);
	free(b);
}

static void idle_remove(struct backing *b)
{
	b->cache->idle_bytes -= b->idle_bytes;
	b->cache->idle_count--;
	list_del(&b->idle);
}

static void idle_shrink(struct backing_cache *c, size_t bytes_max, unsigned int max)
{
	while (c->idle_count && (c->idle_count > max || c->idle_bytes > bytes_max)) {
		struct backing *b = list_first(&c->idle, struct backing, idle);

		idle_remove(b);
		backing_free(b);
	}
}

struct backing_cache *backing_cache_new(size_t idle_bytes_max, unsigned int idle_max)
{
	struct backing_cache *c = mem_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->idle_bytes_max = idle_bytes_max;
	c->idle_max = idle_max;
	list_init(&c->idle);
	list_init(&c->pages);
	for (int i = 0; i < CACHE_BUCKETS; i++)
		list_init(&c->bucket[i]);
	return c;
}

void backing_cache_trim(struct backing_cache *c)
{
	idle_shrink(c, 0, 0);
}

void backing_cache_free(struct backing_cache *c)
{
	if (!c)
		return;
	assert(c->busy == 0);
	idle_shrink(c, 0, 0);
	free(c);
}

static struct list *cache_bucket(struct backing_cache *c, dev_t dev, ino_t ino)
{
	uint64_t h = ((uint64_t)ino ^ (uint64_t)dev << 32) * 0x9e3779b97f4a7c15ULL;

	return &c->bucket[h >> 32 & (CACHE_BUCKETS - 1)];
}

static struct backing *cache_lookup(struct backing_cache *c, dev_t dev, ino_t ino, bool writable)
{
	struct backing *b;

	list_for_each (b, cache_bucket(c, dev, ino), bucket)
		if (b->ino == ino && b->dev == dev && b->writable == writable)
			return b;
	return NULL;
}

static struct backing *backing_ref(struct backing *b)
{
	if (b->refs++ == 0) {
		idle_remove(b);
		b->cache->busy++;
	}
	return b;
}

struct backing *backing_find(struct backing_cache *c, dev_t dev, ino_t ino)
{
	struct backing *b = cache_lookup(c, dev, ino, true);

	if (!b)
		b = cache_lookup(c, dev, ino, false);
	return b ? backing_ref(b) : NULL;
}

struct backing *backing_find_key(struct backing_cache *c, struct backing_key key)
{
	struct backing *b = cache_lookup(c, key.dev, key.ino, key.writable);

	return b ? backing_ref(b) : NULL;
}

struct backing_key backing_key(const struct backing *b)
{
	return (struct backing_key){b->dev, b->ino, b->writable};
}

void backing_put(struct backing *b)
{
	struct backing_cache *c;
	struct stat st;

	if (!b || --b->refs)
		return;
	c = b->cache;
	c->busy--;
	/* The system has a fixed number of huge pages: what one client has given back, the next allocation may need. */
	if (b->huge) {
		backing_free(b);
		return;
	}
	/* Even a file without a page to its name costs a descriptor and a mapping. */
	b->idle_bytes = PF_PAGE_SIZE;
	if (fstat(b->fd, &st) == 0)
		b->idle_bytes += (uint64_t)st.st_blocks * 512;
	c->idle_bytes += b->idle_bytes;
	c->idle_count++;
	list_add_tail(&c->idle, &b->idle);
	idle_shrink(c, c->idle_bytes_max, c->idle_max);
}

/* ---- admission ---- */

/*
 * What the descriptor allows: 1 reading and writing, 0 reading, -EFAULT neither or not memory. Asking for seals is the
 * one question that only shmem and hugetlbfs answer and that no file system is called for: fstatfs() and fstat() of a
 * FUSE file would wait for its server.
 */
static int fd_access(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS), flags = fcntl(fd, F_GETFL);

	if (seals < 0 || flags < 0 || (flags & O_ACCMODE) == O_WRONLY)
		return -EFAULT;
	return (flags & O_ACCMODE) == O_RDWR && !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
}

/*
 * A descriptor of the broker's own. Opened anew where that is possible, because a duplicate would keep the client's
 * flock() alive after the client has closed its last copy. O_NONBLOCK: a lease on the file must not make us wait (C1).
 */
static int fd_own(int fd, bool writable)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return errno == EMFILE || errno == ENFILE ? -EMFILE : -EFAULT;
	return own;
}

/* hugetlbfs numbers its inodes with 32 bits, which a patient client can make wrap; what it cannot forge is the time. */
static bool same_file(const struct backing *b, const struct stat *st)
{
	struct stat own;

	return !b->huge || (fstat(b->fd, &own) == 0 && own.st_ctim.tv_sec == st->st_ctim.tv_sec &&
			    own.st_ctim.tv_nsec == st->st_ctim.tv_nsec && own.st_size == st->st_size);
}

/* The number that page_refs know the file by. */
static uint64_t file_id(struct backing_cache *c, const struct stat *st, bool writable)
{
	const struct backing *sibling = cache_lookup(c, st->st_dev, st->st_ino, !writable);

	return sibling && same_file(sibling, st) ? sibling->id : ++c->last_id;
}

static int backing_new(struct backing_cache *c, int fd, const struct stat *st, bool writable, bool huge,
		       struct backing **out)
{
	struct backing *b = mem_calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->fd = fd_own(fd, writable);
	if (b->fd < 0) {
		int err = b->fd;

		free(b);
		return err;
	}
	b->cache = c;
	b->id = file_id(c, st, writable);
	b->refs = 1;
	b->dev = st->st_dev;
	b->ino = st->st_ino;
	b->writable = writable;
	b->huge = huge;
	list_init(&b->maps);
	list_init(&b->idle);
	list_add(cache_bucket(c, b->dev, b->ino), &b->bucket);
	c->busy++;
	*out = b;
	return 0;
}

int backing_get_fd(struct backing_cache *c, int fd, struct backing **out)
{
	int writable = fd_access(fd);
	struct backing *b;
	struct statfs fs;
	struct stat st;

	if (writable < 0)
		return writable;
	if (fstatfs(fd, &fs) < 0 || (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC))
		return -EFAULT;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EFAULT;
	b = cache_lookup(c, st.st_dev, st.st_ino, writable);
	if (b) {
		if (!same_file(b, &st))
			return -EFAULT;
		*out = backing_ref(b);
		return 0;
	}
	return backing_new(c, fd, &st, writable, fs.f_type == HUGETLBFS_MAGIC, out);
}
