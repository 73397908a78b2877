/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ioctl in progress: what the client has supplied so far, what the handler still needs, what it wants written back.
 * The parts are private copies, and stay as they are while the handler is run again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/private.h"

/* Bounds on what one call may make us keep. */
#define CALL_BYTES_MAX (4u << 20)
#define CALL_PARTS_MAX 65536u

struct part {
	struct list node;
	struct ucall_part h;
	int fd;
	uint64_t data[];
};

struct call {
	struct ucall u;
	struct session *s;
	unsigned int slot;
	struct list parts, outs;
	struct ucall_part need; /* one request a round is enough: handlers ask one thing at a time */
	size_t bytes;
	unsigned int nparts;
	bool retried_pages, finished;
	long result;
	int install_fd; /* the client's end, to be sent with the reply */
};

static int need(struct call *c, uint32_t kind, uint64_t addr, uint64_t len, uint64_t flag)
{
	c->need = (struct ucall_part){.kind = kind, .addr = addr, .len = len, .got = flag};
	return UCALL_AGAIN;
}

static struct call *call_of(struct ucall *u)
{
	return container_of(u, struct call, u);
}

/* The part of this kind that holds addr, or that says addr cannot be had. */
static struct part *find_covering(struct call *c, uint32_t kind, uint64_t addr)
{
	struct part *p;

	list_for_each (p, &c->parts, node) {
		uint64_t have = kind == PART_BYTES ? p->h.got : p->h.len;

		if (p->h.kind == kind && (addr - p->h.addr < have || (p->h.error && addr == p->h.addr + have)))
			return p;
	}
	return NULL;
}

static int call_copy_in(struct ucall *u, uint64_t addr, void *dst, size_t len)
{
	struct call *c = call_of(u);
	uint8_t *to = dst;

	while (len) {
		struct part *p = find_covering(c, PART_BYTES, addr);
		uint64_t at, n;

		if (!p) {
			if (c->bytes + len > CALL_BYTES_MAX)
				return -ENOMEM;
			return need(c, PART_BYTES, addr, len, 0);
		}
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

static struct part *part_new(const struct ucall_part *h, const void *data)
{
	struct part *p = malloc(sizeof(*p) + h->got);

	if (!p)
		return NULL;
	p->h = *h;
	p->fd = -1;
	if (h->got)
		memcpy(p->data, data, h->got);
	return p;
}

static int call_copy_out(struct ucall *u, uint64_t addr, const void *src, size_t len)
{
	struct call *c = call_of(u);
	const uint8_t *from = src;
	/* Pieces that fit a payload with their header. */
	const size_t piece = SLOT_PAYLOAD / 2;

	if (c->bytes + len > CALL_BYTES_MAX * 16)
		return -ENOMEM;
	while (len) {
		size_t n = MIN(len, piece);
		struct ucall_part h = {.kind = PART_COPY_OUT, .addr = addr, .len = n, .got = n};
		struct part *p = part_new(&h, from);

		if (!p)
			return -ENOMEM;
		list_add_tail(&c->outs, &p->node);
		c->bytes += n;
		addr += n;
		from += n;
		len -= n;
	}
	return 0;
}

static struct part *find_fd(struct call *c, int client_fd)
{
	struct part *p;

	list_for_each (p, &c->parts, node)
		if (p->h.kind == PART_FD && p->h.addr == (uint32_t)client_fd)
			return p;
	return NULL;
}

static int call_get_fd(struct ucall *u, int client_fd, int *fd)
{
	struct call *c = call_of(u);
	struct part *p = find_fd(c, client_fd);
	int dup;

	if (client_fd < 0)
		return -EBADF;
	if (!p)
		return need(c, PART_FD, (uint32_t)client_fd, 0, 0);
	if (p->fd < 0)
		return -EBADF;
	dup = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
	if (dup < 0)
		return -errno;
	*fd = dup;
	return 0;
}

static int call_get_file(struct ucall *u, int client_fd, struct ufile **f)
{
	struct call *c = call_of(u);
	struct part *p = find_fd(c, client_fd);
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

	list_for_each_safe (p, tmp, &c->parts, node) {
		if (p->h.kind != PART_PAGES && p->h.kind != PART_BACKING)
			continue;
		if (p->fd >= 0)
			close(p->fd);
		list_del(&p->node);
		free(p);
	}
}

/* The backing for a description, or what keeps us from it. */
static int resolve_backing(struct call *c, const struct page_desc *d, struct backing **out)
{
	struct part *p;

	if (session_knows(c->s, d->dev, d->ino)) {
		*out = backing_find(c->s->b->backings, d->dev, d->ino);
		if (*out)
			return 0;
	}
	list_for_each (p, &c->parts, node) {
		uint64_t dev, ino;

		if (p->h.kind != PART_BACKING || p->h.addr != d->dev || p->h.len != d->ino)
			continue;
		if (p->fd < 0)
			return -ESTALE;
		if (session_learn(c->s, p->fd, &dev, &ino) || dev != d->dev || ino != d->ino)
			return -EFAULT;
		return backing_get_fd(c->s->b->backings, p->fd, out);
	}
	return need(c, PART_BACKING, d->dev, d->ino, 0);
}

struct slice_list {
	struct page_slice *s;
	size_t n, cap;
};

static int slice_add(struct slice_list *l, const struct page_desc *d, struct backing *b)
{
	struct page_slice *last = l->n ? &l->s[l->n - 1] : NULL;

	if (last && last->backing == b && last->offset + last->len == d->offset && last->writable == !!d->writable) {
		last->len += d->len;
		backing_put(b);
		return 0;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		void *s = realloc(l->s, cap * sizeof(*l->s));

		if (!s)
			return -ENOMEM;
		l->s = s;
		l->cap = cap;
	}
	l->s[l->n++] = (struct page_slice){b, d->offset, d->len, !!d->writable};
	return 0;
}

/* Appends one PART_PAGES; *done gets the bytes it covers. */
static int slices_of_part(struct call *c, const struct part *p, struct slice_list *l, uint64_t *done)
{
	const struct page_desc *d = (const struct page_desc *)p->data;

	*done = 0;
	for (size_t i = 0; i < p->h.got / sizeof(*d); i++) {
		struct backing *b;
		int err = resolve_backing(c, &d[i], &b);

		if (err)
			return err;
		err = slice_add(l, &d[i], b);
		if (err) {
			backing_put(b);
			return err;
		}
		if (add_overflows(*done, d[i].len, done))
			return -EFAULT;
	}
	return p->h.error ? -EFAULT : 0;
}

static int collect_slices(struct call *c, uint64_t va, uint64_t len, struct slice_list *l)
{
	uint64_t end = va + len;

	while (va < end) {
		struct part *p, *found = NULL;
		uint64_t n;
		int err;

		list_for_each (p, &c->parts, node)
			if (p->h.kind == PART_PAGES && p->h.addr == va)
				found = p;
		if (!found)
			return need(c, PART_PAGES, va, end - va, c->retried_pages);
		err = slices_of_part(c, found, l, &n);
		if (err)
			return err;
		if (!n || n > end - va)
			return -EFAULT;
		va += n;
	}
	return 0;
}

static int call_get_pages(struct ucall *u, uint64_t va, uint64_t len, struct pages **out)
{
	struct call *c = call_of(u);
	struct slice_list l = {0};
	int err;

	if (!len || va + len < va || (va | len) & ~PF_PAGE_MASK)
		return -EFAULT;
	err = collect_slices(c, va, len, &l);
	if (err == -ESTALE) {
		/* We have let go of a file that the client cannot show again: memory it once moved for us. It moves it
		 * anew. */
		err = -EFAULT;
		if (!c->retried_pages) {
			c->retried_pages = true;
			drop_pages_parts(c);
			err = need(c, PART_PAGES, va, len, 1);
		}
	}
	if (!err)
		err = pages_new(va, l.s, l.n, out);
	for (size_t i = 0; i < l.n; i++)
		backing_put(l.s[i].backing);
	free(l.s);
	return err == -EINVAL ? -EFAULT : err;
}

static int call_install(struct ucall *u, struct ufile *f)
{
	struct call *c = call_of(u);

	return object_new(&c->s->b->objects, f, &c->install_fd);
}

static const struct ucall_ops call_ops = {
    .copy_in = call_copy_in,
    .copy_out = call_copy_out,
    .get_fd = call_get_fd,
    .get_file = call_get_file,
    .get_pages = call_get_pages,
    .install = call_install,
};

struct call *call_new(struct session *s, unsigned int slot)
{
	struct call *c = calloc(1, sizeof(*c));

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

static void free_parts(struct list *l)
{
	while (!list_empty(l)) {
		struct part *p = list_first(l, struct part, node);

		if (p->fd >= 0)
			close(p->fd);
		list_del(&p->node);
		free(p);
	}
}

void call_free(struct call *c)
{
	if (!c)
		return;
	free_parts(&c->parts);
	free_parts(&c->outs);
	if (c->install_fd >= 0)
		close(c->install_fd);
	free(c);
}

int call_receive(struct call *c, const uint8_t *payload, size_t len)
{
	size_t at = 0;

	while (at + sizeof(struct ucall_part) <= len) {
		struct ucall_part h;
		struct part *p;

		memcpy(&h, payload + at, sizeof(h));
		at += sizeof(h);
		if (h.kind > PART_BACKING || h.got > len - at || (h.kind == PART_BYTES && h.got > h.len) ||
		    (h.kind == PART_PAGES && h.got % sizeof(struct page_desc)))
			return -EINVAL;
		if (c->bytes + h.got > CALL_BYTES_MAX || c->nparts >= CALL_PARTS_MAX)
			return -ENOMEM;
		p = part_new(&h, payload + at);
		if (!p)
			return -ENOMEM;
		if ((h.kind == PART_FD || h.kind == PART_BACKING) && !h.error)
			p->fd = session_take_fd(c->s, c->slot);
		c->bytes += h.got;
		c->nparts++;
		list_add_tail(&c->parts, &p->node);
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
		list_del(&p->node);
		free(p);
	}
}

long call_run(struct call *c, struct ufile *f, unsigned int cmd, uint64_t arg, uint8_t *payload, uint32_t *len,
	      bool *has_fd)
{
	*len = 0;
	*has_fd = false;
	if (!c->finished) {
		c->result = f->ops->ioctl ? f->ops->ioctl(f, &c->u, cmd, arg) : -ENOTTY;
		if (c->result == UCALL_AGAIN) {
			free_parts(&c->outs);
			memcpy(payload, &c->need, sizeof(c->need));
			*len = sizeof(c->need);
			return RPC_NEED;
		}
		c->finished = true;
	}
	flush_outs(c, payload, len);
	if (!list_empty(&c->outs))
		return RPC_NEED;
	if (c->install_fd >= 0 && c->result >= 0) {
		int err = session_send_fd(c->s, c->slot, c->install_fd);

		close(c->install_fd);
		c->install_fd = -1;
		if (err)
			c->result = err;
		else
			*has_fd = true;
	}
	return c->result;
}
