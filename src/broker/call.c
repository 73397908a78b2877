/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ioctl in progress: what the client has supplied so far, what the handler still needs, what it wants written back.
 * The parts are private copies, and stay as they are while the handler is run again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/itree.h"
#include "broker/private.h"

/* Bounds on what one call, and all calls of one session, may make us keep. */
#define CALL_BYTES_MAX	  (4u << 20)
#define CALL_PARTS_MAX	  16384u
#define CALL_OUTS_MAX	  (64u << 20)
#define CALL_ANSWER_MAX	  512u /* for which there is always room */
#define CALL_NEEDS_MAX	  16u  /* asked for in one round: for every slot at once the descriptors find room */
#define SESSION_BYTES_MAX (128u << 20)

#define CLIENT_END (1ull << 56) /* no process has memory from here on */

_Static_assert(CALL_NEEDS_MAX *CHANNEL_SLOTS <= SESSION_FDS_MAX, "descriptors that wait to be asked for");
#define PART_KINDS (PART_WRITE + 1) /* that a client sends */

struct part {
	struct list node;
	struct itree_node key;
	struct ucall_part h;
	int fd;
	uint64_t data[];
};

struct call {
	struct ucall u;
	struct session *s;
	unsigned int slot;
	struct list parts, outs;
	struct itree index[PART_KINDS]; /* of parts, by key_of(): a client sends as many as it likes, in any order */
	struct ucall_part needs[CALL_NEEDS_MAX];
	unsigned int nneeds;
	size_t in_bytes, out_bytes;
	unsigned int nparts;
	bool retried_pages, finished;
	uint64_t pages_how; /* PAGES_*: what is asked for with PART_PAGES */
	long result;
	uint64_t arg, fail_nth;
	int install_fd; /* the client's end, to be sent with the reply */
	uint64_t install_at;
	bool install_asks;
	/* Of the structure behind arg: who has done what was asked for cannot fail to say so. */
	bool answered;
	_Alignas(struct part) uint8_t answer[sizeof(struct part) + CALL_ANSWER_MAX];
};

/* A handler that can use several things asks for all of them before it gives up: each round costs a round trip. */
static int need(struct call *c, uint32_t kind, uint64_t addr, uint64_t len, uint64_t flag)
{
	const struct ucall_part want = {.kind = kind, .addr = addr, .len = len, .got = flag};

	for (unsigned int i = 0; i < c->nneeds; i++)
		if (!memcmp(&c->needs[i], &want, sizeof(want)))
			return UCALL_AGAIN;
	/* What does not fit is asked for in the next round. */
	if (c->nneeds < CALL_NEEDS_MAX)
		c->needs[c->nneeds++] = want;
	return UCALL_AGAIN;
}

static struct call *call_of(struct ucall *u)
{
	return container_of(u, struct call, u);
}

static uint64_t backing_point(const struct call *c, uint64_t dev, uint64_t ino)
{
	return seeded_hash(c->s->b->seed, dev, ino);
}

/* Where the part is to be found: bytes by every address they hold (and the first one that could not be read), anything
 * else by one point. False: nowhere. */
static bool key_of(const struct call *c, struct part *p)
{
	uint64_t n = 1;

	p->key.start = p->h.addr;
	if (p->h.kind == PART_BACKING)
		p->key.start = backing_point(c, p->h.addr, p->h.len);
	else if (p->h.kind == PART_BYTES)
		n = p->h.got + !!p->h.error;
	return n && !add_overflows(p->key.start, n - 1, &p->key.last);
}

static struct part *find_part(const struct call *c, enum part_kind kind, uint64_t point)
{
	struct itree_node *n = itree_first(&c->index[kind], point, point);

	return n ? container_of(n, struct part, key) : NULL;
}

/* True if the session may keep so many bytes more; they are counted then. */
static bool keep_bytes(struct call *c, size_t *count, size_t n, size_t max)
{
	if (n > max || *count > max - n || n > SESSION_BYTES_MAX || c->s->call_bytes > SESSION_BYTES_MAX - n)
		return false;
	*count += n;
	c->s->call_bytes += n;
	return true;
}

static void drop_bytes(struct call *c, size_t *count, size_t n)
{
	*count -= n;
	c->s->call_bytes -= n;
}

static int call_copy_in(struct ucall *u, uint64_t addr, void *dst, size_t len)
{
	struct call *c = call_of(u);
	uint8_t *to = dst;

	if (mem_fails())
		return -EFAULT;
	while (len) {
		struct part *p = find_part(c, PART_BYTES, addr);
		uint64_t at, n;

		if (!p)
			return need(c, PART_BYTES, addr, len, 0);
		at = addr - p->h.addr;
		if (at >= p->h.got)
			return -EFAULT;
		n = MIN(p->h.got - at, len);
		memcpy(to, (uint8_t *)p->data + at, n);
		to += n;
		addr += n;
		len -= n;
	}
	return 0;
}

static int call_expect_write(struct ucall *u, uint64_t addr, size_t len)
{
	struct call *c = call_of(u);

	return find_part(c, PART_WRITE, addr) ? 0 : need(c, PART_WRITE, addr, len, 0);
}

/* Counts the part's bytes in *count. NULL: too many, or out of memory. */
static struct part *part_new(struct call *c, const struct ucall_part *h, const void *data, size_t *count, size_t max)
{
	size_t n = sizeof(struct part) + h->got;
	struct part *p;

	if (!keep_bytes(c, count, n, max))
		return NULL;
	p = mem_alloc(n);
	if (!p) {
		drop_bytes(c, count, n);
		return NULL;
	}
	p->h = *h;
	p->fd = -1;
	if (h->got)
		memcpy(p->data, data, h->got);
	return p;
}

static void part_free(struct call *c, struct part *p, size_t *count)
{
	list_del(&p->node);
	if ((uint8_t *)p == c->answer) {
		c->answered = false;
		return;
	}
	drop_bytes(c, count, sizeof(*p) + p->h.got);
	if (p->fd >= 0)
		session_close_fd(c->s, p->fd);
	free(p);
}

static struct part *answer_part(struct call *c, const struct ucall_part *h, const void *data)
{
	struct part *p = (struct part *)c->answer;

	if (c->answered || h->addr != c->arg || h->got > CALL_ANSWER_MAX)
		return NULL;
	c->answered = true;
	p->h = *h;
	p->fd = -1;
	memcpy(p->data, data, h->got);
	return p;
}

static int call_copy_out(struct ucall *u, uint64_t addr, const void *src, size_t len)
{
	struct call *c = call_of(u);
	const uint8_t *from = src;
	/* Pieces that fit a payload with their header. */
	const size_t piece = SLOT_PAYLOAD / 2;
	const struct part *expected = find_part(c, PART_WRITE, addr);

	/* Who has asked undoes what it did. */
	if (expected && (expected->h.error || mem_fails()))
		return -EFAULT;
	while (len) {
		size_t n = MIN(len, piece);
		struct ucall_part h = {.kind = PART_COPY_OUT, .addr = addr, .len = n, .got = n};
		struct part *p = answer_part(c, &h, from);

		if (!p)
			p = part_new(c, &h, from, &c->out_bytes, CALL_OUTS_MAX);
		if (!p)
			return -ENOMEM;
		list_add_tail(&c->outs, &p->node);
		addr += n;
		from += n;
		len -= n;
	}
	return 0;
}

static int call_get_fd(struct ucall *u, int client_fd, int *fd)
{
	struct call *c = call_of(u);
	struct part *p = find_part(c, PART_FD, (uint32_t)client_fd);
	int dup;

	if (client_fd < 0)
		return -EBADF;
	if (!p)
		return need(c, PART_FD, (uint32_t)client_fd, 0, 0);
	if (p->fd < 0)
		return -EBADF;
	/* Nothing that a handler takes has to be waited for when it is closed. */
	if (!client_fd_closes_at_once(c->s->b, p->fd))
		return -EINVAL;
	dup = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
	if (dup < 0)
		return -errno;
	*fd = dup;
	return 0;
}

static int call_get_file(struct ucall *u, int client_fd, struct ufile **f)
{
	struct call *c = call_of(u);
	struct part *p = find_part(c, PART_FD, (uint32_t)client_fd);
	struct object *o;

	if (client_fd < 0)
		return -EBADF;
	if (!p)
		return need(c, PART_FD, (uint32_t)client_fd, 0, 0);
	if (p->fd < 0)
		return -EBADF;
	o = object_of_fd(&c->s->b->objects, p->fd);
	if (!o)
		return -EINVAL;
	*f = o->file;
	return 0;
}

static void drop_pages_parts(struct call *c)
{
	struct part *p, *tmp;

	list_for_each_safe (p, tmp, &c->parts, node)
		if (p->h.kind == PART_PAGES || p->h.kind == PART_BACKING)
			part_free(c, p, &c->in_bytes);
	itree_init(&c->index[PART_PAGES]);
	itree_init(&c->index[PART_BACKING]);
}

static struct part *find_backing_part(struct call *c, uint64_t dev, uint64_t ino)
{
	uint64_t at = backing_point(c, dev, ino);
	struct itree_node *n;

	for (n = itree_first(&c->index[PART_BACKING], at, at); n; n = itree_next(n, at, at)) {
		struct part *p = container_of(n, struct part, key);

		if (p->h.addr == dev && p->h.len == ino)
			return p;
	}
	return NULL;
}

/* The backing for a description, or what keeps us from it. */
static int resolve_backing(struct call *c, const struct page_desc *d, struct backing **out)
{
	struct backing_cache *cache = c->s->b->backings;
	struct backing_key key;
	struct part *p;
	int err;

	*out = known_backing(&c->s->known, cache, d->dev, d->ino);
	if (*out)
		return 0;
	p = find_backing_part(c, d->dev, d->ino);
	if (!p)
		return need(c, PART_BACKING, d->dev, d->ino, 0);
	if (p->fd < 0)
		return -ESTALE;
	err = known_show(&c->s->known, cache, p->fd, out);
	if (err)
		return err;
	c->fail_nth = mem_fail_left(); /* not to be done again */
	key = backing_key(*out);
	if (key.dev == d->dev && key.ino == d->ino)
		return 0;
	backing_put(*out);
	return -EFAULT;
}

struct slice_list {
	struct page_slice *s;
	size_t n, cap;
};

static int slice_add(struct slice_list *l, const struct page_desc *d, struct backing *b)
{
	struct page_slice *last = l->n ? &l->s[l->n - 1] : NULL;

	if (last && last->backing == b && (!b || last->offset + last->len == d->offset) &&
	    last->writable == !!d->writable) {
		last->len += d->len;
		backing_put(b);
		return 0;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		void *s = mem_realloc(l->s, cap * sizeof(*l->s));

		if (!s)
			return -ENOMEM;
		l->s = s;
		l->cap = cap;
	}
	l->s[l->n++] = (struct page_slice){b, d->offset, d->len, !!d->writable};
	return 0;
}

/* Appends what is described, and takes over the reference to b. clip: what lies past the file's end is a hole. */
static int slice_file(struct slice_list *l, const struct page_desc *d, struct backing *b, bool clip)
{
	uint64_t size = b && clip ? backing_size(b) : UINT64_MAX, left = size > d->offset ? size - d->offset : 0;
	struct page_desc within = *d, hole = {0};
	int err = 0;

	within.len = MIN(d->len, left);
	hole.len = d->len - within.len;
	if (within.len)
		err = slice_add(l, &within, b);
	if (err || !within.len)
		backing_put(b);
	if (!err && hole.len)
		err = slice_add(l, &hole, NULL);
	return err;
}

/* Appends a hole in place of what the part says is not to be had, which begins at va; *done gets its length. */
static int slice_hole(const struct part *p, uint64_t va, uint64_t left, struct slice_list *l, uint64_t *done)
{
	struct page_desc hole = {0};
	uint64_t end;

	if (add_overflows(p->h.addr, p->h.len, &end) || end <= va)
		end = va + 1;
	hole.len = MIN(ALIGN_UP(end - va, PF_PAGE_SIZE), left);
	*done = hole.len;
	return slice_add(l, &hole, NULL);
}

/* Appends one PART_PAGES, as much of it as there is memory for; *done gets the bytes it covers. holes: what is no
 * memory that can be pinned becomes one. */
static int slices_of_part(struct call *c, const struct part *p, bool holes, struct slice_list *l, uint64_t *done)
{
	const struct page_desc *d = (const struct page_desc *)p->data;
	bool again = false, stale = false;

	*done = 0;
	for (size_t i = 0; i < p->h.got / sizeof(*d); i++) {
		struct backing *b = NULL;
		/* Memory of a device is nothing that can be pinned. */
		int err = d[i].kind == PAGE_FILE ? resolve_backing(c, &d[i], &b) : -EFAULT;

		if (err == UCALL_AGAIN && c->nneeds < CALL_NEEDS_MAX) {
			again = true;
			continue;
		}
		if (err == -ESTALE && !c->retried_pages)
			stale = true;
		else if (err && !(holes && (err == -EFAULT || err == -ESTALE)))
			return err;
		else if ((err = slice_file(l, &d[i], b, holes)))
			return err;
		if (add_overflows(*done, d[i].len, done))
			return -EFAULT;
	}
	return again ? UCALL_AGAIN : stale ? -ESTALE : 0;
}

static int collect_slices(struct call *c, uint64_t va, uint64_t len, bool holes, struct slice_list *l)
{
	uint64_t end = va + len;
	bool stale = false;

	while (va < end) {
		struct part *p = find_part(c, PART_PAGES, va);
		uint64_t n;
		int err;

		if (!p)
			return need(c, PART_PAGES, va, end - va, c->pages_how);
		err = slices_of_part(c, p, holes, l, &n);
		/* The client moves anew what it has been asked for in vain: so it is asked for all. */
		if (err == -ESTALE && !c->retried_pages)
			stale = true;
		else if (err)
			return err;
		if (n > end - va || (!n && !p->h.error))
			return -EFAULT;
		va += n;
		if (!p->h.error || va == end)
			continue;
		if (!holes)
			return -EFAULT;
		err = slice_hole(p, va, end - va, l, &n);
		if (err)
			return err;
		va += n;
	}
	return stale ? -ESTALE : 0;
}

/* A client's own words; as many as anybody will want to read. */
#define TOLD_MAX 32

static void tell_where(struct call *c, uint64_t va, uint64_t len, const char *where)
{
	char name[PAGE_WHERE] = "";

	for (size_t i = 0; i < sizeof(name) - 1 && where[i]; i++)
		name[i] = where[i] < ' ' || where[i] > '~' ? '?' : where[i];
	event_emit(&c->s->b->events, EVENT_DESCRIBED, .addr = va, .len = len, .name = name);
}

static void tell_pages(struct call *c, uint64_t va, uint64_t len)
{
	uint64_t at = va, end = va + len;
	unsigned int told = 0;
	const struct part *p;

	while (at < end && told < TOLD_MAX && (p = find_part(c, PART_PAGES, at))) {
		const struct page_desc *d = (const struct page_desc *)p->data;
		size_t n = p->h.got / sizeof(*d);

		if (!n)
			return;
		for (size_t i = 0; i < n && at < end && told < TOLD_MAX; at += d[i++].len, told++)
			tell_where(c, at, d[i].len, d[i].kind == PAGE_WINDOW ? "BAR" : d[i].where);
	}
}

static int call_get_pages(struct ucall *u, uint64_t va, uint64_t len, enum ucall_pages how, struct pages **out)
{
	struct call *c = call_of(u);
	bool holes = how == UCALL_PAGES_LAZY;
	uint64_t low = va < CLIENT_END ? MIN(len, CLIENT_END - va) : 0;
	struct page_desc high = {.len = len - low};
	struct slice_list l = {0};
	int err;

	if (!len || va + (len - 1) < va || (va | len) & ~PF_PAGE_MASK || (high.len && !holes))
		return -EFAULT;
	c->pages_how = (c->retried_pages ? PAGES_FRESH : 0) | (how == UCALL_PAGES_FOLLOWED ? PAGES_FOLLOWED : 0);
	err = collect_slices(c, va, low, holes, &l);
	if (!err && high.len)
		err = slice_add(&l, &high, NULL);
	if (err == -ESTALE) {
		c->nneeds = 0;
		/* We have let go of a file that the client cannot show again: memory it once moved for us. It moves it
		 * anew. */
		err = -EFAULT;
		if (!c->retried_pages) {
			c->retried_pages = true;
			drop_pages_parts(c);
			err = need(c, PART_PAGES, va, low, c->pages_how | PAGES_FRESH);
		}
	}
	if (!err)
		err = pages_new(va, l.s, l.n, u->owner, out);
	if (!err && event_wanted(&c->s->b->events, EVENT_DESCRIBED))
		tell_pages(c, va, low);
	for (size_t i = 0; i < l.n; i++)
		backing_put(l.s[i].backing);
	free(l.s);
	return err == -EINVAL ? -EFAULT : err;
}

static int call_get_mapped(struct ucall *u, uint64_t va, uint64_t len, struct ufile **f, uint64_t *off)
{
	struct call *c = call_of(u);
	const struct part *p = find_part(c, PART_PAGES, va);
	const struct page_desc *d = p ? (const struct page_desc *)p->data : NULL;
	uint64_t done = 0;

	/* A BAR may consist of several mappings (the page of doorbells is one of its own). */
	for (size_t i = 0; d && done < len && i < p->h.got / sizeof(*d); i++) {
		if (d[i].kind != PAGE_WINDOW || d[i].ino != d->ino || d[i].offset != d->offset + done ||
		    add_overflows(done, d[i].len, &done))
			return -EFAULT;
	}
	if (!done || done < len)
		return -EFAULT;
	*f = rpc_mapped_file(c->s, d->ino);
	*off = d->offset;
	if (*f && event_wanted(&c->s->b->events, EVENT_DESCRIBED))
		tell_pages(c, va, len);
	return *f ? 0 : -EFAULT;
}

/* By its path, which the kernel knows without asking anybody. */
static void tell_file(struct call *c, uint64_t off, uint64_t len, int fd)
{
	char link[40], path[256], where[PAGE_WHERE];
	ssize_t n;
	char *name;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return;
	path[n] = 0;
	if (n > 10 && !strcmp(path + n - 10, " (deleted)"))
		path[n - 10] = 0;
	name = strrchr(path, '/');
	name = name ? name + 1 : path;
	snprintf(where, sizeof(where), "%s%.*s", strncmp(name, "memfd:", 6) ? "file " : "", PAGE_WHERE - 8, name);
	tell_where(c, off, len, where);
}

static int call_get_file_pages(struct ucall *u, int client_fd, uint64_t off, uint64_t len, struct pages **out)
{
	struct call *c = call_of(u);
	struct part *p = find_part(c, PART_FD, (uint32_t)client_fd);
	struct page_slice s = {.offset = off, .len = len};
	int err;

	if (client_fd < 0)
		return -EBADF;
	if (!p)
		return need(c, PART_FD, (uint32_t)client_fd, 0, 0);
	if (p->fd < 0)
		return -EBADF;
	err = known_show(&c->s->known, c->s->b->backings, p->fd, &s.backing);
	if (!err) {
		s.writable = backing_key(s.backing).writable;
		err = pages_new(off, &s, 1, u->owner, out);
		backing_put(s.backing);
	}
	if (!err && event_wanted(&c->s->b->events, EVENT_DESCRIBED))
		tell_file(c, off, len, p->fd);
	return err == -EFAULT ? -EINVAL : err;
}

static int call_install(struct ucall *u, struct ufile *f, uint64_t addr)
{
	struct call *c = call_of(u);

	c->install_at = addr;
	c->install_asks = f->ops->empty;
	return object_new(&c->s->b->objects, f, c->s->quota, &c->install_fd);
}

static const struct ucall_ops call_ops = {
    .copy_in = call_copy_in,
    .copy_out = call_copy_out,
    .expect_write = call_expect_write,
    .get_fd = call_get_fd,
    .get_file = call_get_file,
    .get_pages = call_get_pages,
    .get_mapped = call_get_mapped,
    .get_file_pages = call_get_file_pages,
    .install = call_install,
};

struct call *call_new(struct session *s, unsigned int slot)
{
	struct call *c = mem_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->u.ops = &call_ops;
	c->u.owner = s->owner;
	c->s = s;
	c->slot = slot;
	c->install_fd = -1;
	list_init(&c->parts);
	list_init(&c->outs);
	return c;
}

static void free_parts(struct call *c, struct list *l, size_t *count)
{
	while (!list_empty(l))
		part_free(c, list_first(l, struct part, node), count);
}

void call_free(struct call *c)
{
	if (!c)
		return;
	free_parts(c, &c->parts, &c->in_bytes);
	free_parts(c, &c->outs, &c->out_bytes);
	if (c->install_fd >= 0)
		close(c->install_fd);
	free(c);
}

static void call_forget(struct call *c)
{
	free_parts(c, &c->parts, &c->in_bytes);
	for (unsigned int i = 0; i < PART_KINDS; i++)
		itree_init(&c->index[i]);
	c->nparts = 0;
	c->retried_pages = false;
}

static bool part_valid(const struct ucall_part *h, size_t left)
{
	return h->kind < PART_KINDS && h->got <= left && (h->kind != PART_BYTES || h->got <= h->len) &&
	       (h->kind != PART_PAGES || h->got % sizeof(struct page_desc) == 0);
}

int call_receive(struct call *c, const uint8_t *payload, size_t len)
{
	size_t at = 0;

	while (at + sizeof(struct ucall_part) <= len) {
		struct ucall_part h;
		struct part *p;

		memcpy(&h, payload + at, sizeof(h));
		at += sizeof(h);
		if (!part_valid(&h, len - at))
			return -EINVAL;
		p = c->nparts < CALL_PARTS_MAX ? part_new(c, &h, payload + at, &c->in_bytes, CALL_BYTES_MAX) : NULL;
		if (!p)
			return -ENOMEM;
		if ((h.kind == PART_FD || h.kind == PART_BACKING) && !h.error)
			p->fd = session_take_fd(c->s, c->slot);
		c->nparts++;
		list_add_tail(&c->parts, &p->node);
		if (key_of(c, p))
			itree_insert(&c->index[h.kind], &p->key);
		at = MIN(at + ALIGN_UP(h.got, 8UL), len);
	}
	return 0;
}

/* Moves as many of the queued bytes as fit into the payload. */
static void flush_outs(struct call *c, uint8_t *payload, uint32_t *len)
{
	while (!list_empty(&c->outs)) {
		struct part *p = list_first(&c->outs, struct part, node);
		size_t n = sizeof(p->h) + ALIGN_UP(p->h.got, 8UL);

		if (n > SLOT_PAYLOAD - *len)
			return;
		memcpy(payload + *len, &p->h, sizeof(p->h));
		memcpy(payload + *len + sizeof(p->h), p->data, p->h.got);
		*len += n;
		part_free(c, p, &c->out_bytes);
	}
}

long call_run(struct call *c, struct ufile *f, unsigned int cmd, uint64_t arg, uint8_t *payload, uint32_t *len,
	      bool *has_fd, bool *fd_asks, uint64_t *fd_at)
{
	*len = 0;
	*has_fd = *fd_asks = false;
	*fd_at = c->install_at;
	/* Of an answer in parts, the next one is begun when the last has gone. */
	if (!c->finished && list_empty(&c->outs)) {
		c->nneeds = 0;
		c->arg = arg;
		c->fail_nth = mem_fail_left();
		c->result = f->ops->ioctl ? f->ops->ioctl(f, &c->u, cmd, arg) : -ENOTTY;
		if (c->result == UCALL_AGAIN) {
			/* What was tried will be tried again, and each attempt counts once. */
			mem_fail_nth(c->fail_nth);
			free_parts(c, &c->outs, &c->out_bytes);
			*len = c->nneeds * sizeof(c->needs[0]);
			memcpy(payload, c->needs, *len);
			return RPC_NEED;
		}
		if (c->result == UCALL_MORE)
			call_forget(c);
		else
			c->finished = true;
		*fd_at = c->install_at;
	}
	flush_outs(c, payload, len);
	if (!c->finished || !list_empty(&c->outs))
		return RPC_NEED;
	if (c->install_fd >= 0 && c->result >= 0) {
		int err = session_send_fd(c->s, c->slot, c->install_fd);

		close(c->install_fd);
		c->install_fd = -1;
		if (err)
			c->result = err;
		else
			*has_fd = true;
		*fd_asks = c->install_asks;
	}
	return c->result;
}
