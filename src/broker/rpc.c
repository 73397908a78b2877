/* SPDX-License-Identifier: BSD-3-Clause */
/* One function for each call of proto/channel.h's table. The slot is the client's memory: what is needed of it is
 * copied once, before anything looks at it, and answers are only written there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/private.h"
#include "broker/shadow.h"
#include "check/check.h"
#include "decode/decode.h"
#include "proto/insn.h"
#include "iommufd/iommufd.h"
#include "vfio/vfio.h"

struct request {
	struct session *s;
	unsigned int slot;
	uint32_t op, nfds, payload_len;
	uint64_t object, a[4];
	const uint8_t *in; /* payload_len bytes of our own */
	uint8_t *out_data; /* the client's payload */
	/* reply */
	uint64_t out[3];
	uint32_t out_len;
	bool has_fd, fd_asks, fd_writes;
};

/* A mapping of a ufile by this client, counted in bytes; it keeps the ufile as a VMA keeps a file. */
struct mapping {
	struct list node;
	struct ufile *file;
	uint64_t object;
	uint64_t bytes;
};

static struct ufile *file_of(struct request *r)
{
	struct object *o = object_find(&r->s->b->objects, r->object);

	return o ? o->file : NULL;
}

static struct mapping *mapping_of(struct session *s, uint64_t object)
{
	struct mapping *m;

	list_for_each (m, &s->mappings, node)
		if (m->object == object)
			return m;
	return NULL;
}

struct ufile *rpc_mapped_file(struct session *s, uint64_t object)
{
	struct mapping *m = mapping_of(s, object);

	return m ? m->file : NULL;
}

/* Registers stay reachable through a mapping after the last descriptor is closed. */
static struct ufile *mapped_file_of(struct request *r)
{
	struct ufile *f = file_of(r);
	struct mapping *m = f ? NULL : mapping_of(r->s, r->object);

	return m ? m->file : f;
}

static long rpc_NOP(struct request *r)
{
	return 0;
}

static long give_file(struct request *r, struct ufile *f)
{
	struct broker *b = r->s->b;
	int fd, err;

	event_emit(&b->events, EVENT_OPEN, .who = r->s->pid, .name = f->ops->name);
	err = object_new(&b->objects, f, r->s->quota, &fd);
	if (err) {
		ufile_put(f);
		return err;
	}
	/* From here on the descriptor holds the file: if it cannot be sent, closing it releases. */
	err = session_send_fd(r->s, r->slot, fd);
	close(fd);
	if (err)
		return err;
	r->s->opened++;
	r->has_fd = true;
	return 0;
}

/* Nothing outside the tree is looked up: it could be a file system that keeps us waiting. */
static bool path_confined(const char *path)
{
	const char *p = path;

	if (strncmp(path, "/sys/", 5) && strncmp(path, "/dev/", 5))
		return false;
	while ((p = strstr(p, "/.."))) {
		p += 3;
		if (!*p || *p == '/')
			return false;
	}
	return true;
}

/* The number that the rest of a path is, as the kernel would write it. */
static bool path_number(const char *digits, unsigned long long *n)
{
	char *end;

	if (*digits < '0' || *digits > '9' || (*digits == '0' && digits[1]))
		return false;
	errno = 0;
	*n = strtoull(digits, &end, 10);
	return !*end && !errno;
}

/* True if path is a device node's place; then *err and *f are what its open answers. */
static bool open_node(struct broker *b, const char *path, struct ufile **f, int *err)
{
	static const char cdev[] = "/dev/vfio/devices/vfio", group[] = "/dev/vfio/";
	unsigned long long n;

	if (!strcmp(path, "/dev/vfio/vfio"))
		*err = vfio_open_container(b->vfio, f);
	else if (!strcmp(path, "/dev/iommu"))
		*err = iommufd_open(b->iommufd, f);
	else if (!strncmp(path, cdev, strlen(cdev)))
		*err = path_number(path + strlen(cdev), &n) ? vfio_open_cdev(b->vfio, n, f) : -ENOENT;
	else if (!strncmp(path, group, strlen(group)) && path_number(path + strlen(group), &n))
		*err = n > UINT32_MAX ? -ENOENT : vfio_open_group(b->vfio, n, f);
	else
		return false;
	return true;
}

static long rpc_OPEN(struct request *r)
{
	char path[PATH_MAX];
	size_t n = r->payload_len;
	struct ufile *f = NULL;
	bool writes = (r->a[0] & O_ACCMODE) != O_RDONLY;
	int err;

	if (n >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, r->in, n);
	path[n] = 0;
	if (r->s->b->failnth && !strncmp(path, "/proc/", 6))
		return failnth_open(r->s->b->failnth, path);
	if (!path_confined(path))
		return -EXDEV;
	if (!open_node(r->s->b, path, &f, &err)) {
		err = shadow_open(r->s->b->shadow, path, r->a[0]);
		r->fd_writes = !err && writes && sriov_open(r->s->b, path, &f, &err);
		if (!r->fd_writes)
			return err;
	}
	return err ? err : give_file(r, f);
}

static long rpc_IOCTL(struct request *r)
{
	struct session *s = r->s;
	struct ufile *f = file_of(r);
	struct call **slot = &s->call[r->slot];
	long ret;

	if (!r->a[2] || !*slot) {
		call_free(*slot);
		*slot = f ? call_new(s, r->slot) : NULL;
	}
	if (!f)
		return -EBADF;
	if (!*slot)
		return -ENOMEM;
	ret = call_receive(*slot, r->in, r->payload_len);
	if (!ret) {
		/* The handler may release f, through a descriptor it was given last. */
		ufile_get(f);
		vfio_settle(s->b->vfio);
		ret =
		    call_run(*slot, f, r->a[0], r->a[1], r->out_data, &r->out_len, &r->has_fd, &r->fd_asks, &r->out[0]);
		ufile_put(f);
	}
	if (ret != RPC_NEED) {
		call_free(*slot);
		*slot = NULL;
		session_discard_fds(s, r->slot);
	}
	return ret;
}

static long rpc_PREAD(struct request *r)
{
	static uint8_t buf[SLOT_PAYLOAD];
	struct ufile *f = file_of(r);
	uint64_t n = MIN(r->a[1], (uint64_t)SLOT_PAYLOAD);
	ssize_t ret;

	if (!f)
		return -EBADF;
	ret = f->ops->pread ? f->ops->pread(f, buf, n, r->a[0]) : -EINVAL;
	if (ret > 0) {
		memcpy(r->out_data, buf, ret);
		r->out_len = ret;
	}
	return ret;
}

static long rpc_PWRITE(struct request *r)
{
	struct ufile *f = file_of(r);

	if (!f)
		return -EBADF;
	return f->ops->pwrite ? f->ops->pwrite(f, r->in, r->payload_len, r->a[0]) : -EINVAL;
}

static bool mmio_valid(uint64_t off, uint64_t size)
{
	return size && size <= 8 && !(size & (size - 1)) && !(off & (size - 1));
}

void rpc_mmio_write(struct session *s, const struct ring_entry *e)
{
	struct object *o = s->last;
	struct mapping *m;
	struct ufile *f;

	if (!o || o->id != e->object)
		o = s->last = object_find(&s->b->objects, e->object);
	m = o ? NULL : mapping_of(s, e->object);
	f = o ? o->file : m ? m->file : NULL;
	if (f && f->ops->mmio_write && mmio_valid(e->offset, e->size)) {
		struct event_origin from = {.pid = s->pid, .tid = e->task, .session = s->id, .ip = e->ip};

		s->b->events.origin = &from;
		f->ops->mmio_write(f, e->offset, e->size, e->value);
		s->b->events.origin = NULL;
	}
}

static void mapping_free(struct session *s, struct mapping *m)
{
	list_del(&m->node);
	s->nmappings--;
	ufile_put(m->file);
	free(m);
}

static long rpc_MMAP(struct request *r)
{
	struct ufile *f = file_of(r);
	struct mapping *m;
	struct umap map;
	int err;

	if (!f)
		return -EBADF;
	if (!f->ops->mmap)
		return -ENODEV;
	err = f->ops->mmap(f, r->a[0], r->a[1], r->a[2] & 0xffffffff, r->a[2] >> 32, &map);
	if (err)
		return err;
	m = mapping_of(r->s, r->object);
	if (!m) {
		m = r->s->nmappings < MAPPINGS_MAX ? mem_alloc(sizeof(*m)) : NULL;
		if (!m)
			return -ENOMEM;
		r->s->nmappings++;
		*m = (struct mapping){.file = ufile_get(f), .object = r->object};
		list_add_tail(&r->s->mappings, &m->node);
	}
	if (map.fd >= 0) {
		err = session_send_fd(r->s, r->slot, map.fd);
		if (err) {
			if (!m->bytes)
				mapping_free(r->s, m);
			return err;
		}
		r->has_fd = true;
	}
	if (add_overflows(m->bytes, r->a[1], &m->bytes))
		m->bytes = UINT64_MAX;
	r->out[0] = map.kind == UMAP_FILE ? RPC_MMAP_FILE : RPC_MMAP_TRAP;
	r->out[1] = map.fd >= 0 ? map.fd_off : 0;
	r->out[2] = map.kind == UMAP_FILE ? map.generation : map.fd_len;
	return 0;
}

static long rpc_MUNMAP(struct request *r)
{
	struct mapping *m = mapping_of(r->s, r->object);

	if (!m)
		return 0; /* a forked child unmaps what it inherited */
	m->bytes -= MIN(m->bytes, r->a[1]);
	if (!m->bytes)
		mapping_free(r->s, m);
	return 0;
}

void rpc_drop_mappings(struct session *s)
{
	while (!list_empty(&s->mappings))
		mapping_free(s, list_first(&s->mappings, struct mapping, node));
}

static long rpc_MMIO_READ(struct request *r)
{
	struct ufile *f = mapped_file_of(r);

	if (!f || !f->ops->mmio_read || !mmio_valid(r->a[0], r->a[1]))
		return -EBADF;
	return f->ops->mmio_read(f, r->a[0], r->a[1], &r->out[0]);
}

static long rpc_MMIO_TEST(struct request *r)
{
	struct ufile *f = mapped_file_of(r);

	uint64_t nothing;
	long ret;

	if (!f)
		return -EBADF;
	ret = f->ops->mmio_test ? f->ops->mmio_test(f, r->a[0], r->a[1]) : 0;
	if (ret == -EIO && f->ops->mmio_read)
		f->ops->mmio_read(f, r->a[0], 1, &nothing); /* refused too, and said so to the event stream */
	return ret;
}

static long rpc_DECODE(struct request *r)
{
	struct insn in = {0};

	insn_decode(r->in, MIN((size_t)r->payload_len, (size_t)INSN_MAX_BYTES), &in);
	memcpy(r->out_data, &in, sizeof(in));
	r->out_len = sizeof(in);
	return 0;
}

static long rpc_NAME(struct request *r)
{
	struct ufile *f = file_of(r);

	if (!f)
		return -EBADF;
	r->out_len = strlen(f->ops->name);
	memcpy(r->out_data, f->ops->name, r->out_len);
	return 0;
}

static long rpc_HOLD(struct request *r)
{
	int fd = session_take_fd(r->s, r->slot);
	long ret;

	if (fd < 0)
		return -EBADF;
	ret = known_hold(&r->s->known, r->s->b->backings, fd);
	session_close_fd(r->s, fd);
	return ret;
}

static long rpc_DROP(struct request *r)
{
	known_drop(&r->s->known, r->a[0], r->a[1]);
	return 0;
}

static long rpc_FORGET(struct request *r)
{
	iommufd_forget(r->s->b->iommufd, r->s->owner, r->a[0], r->a[1]);
	return 0;
}

static long rpc_CHANGED(struct request *r)
{
	struct event_memory m = {.kind = r->a[0], .arg = r->a[2], .range = (const struct memory_range *)r->in};
	size_t ranges = r->a[1] * sizeof(*m.range);

	if (r->a[0] >= CHANGE_KINDS || r->a[1] > CHANGE_RANGES || ranges > r->payload_len)
		return -EINVAL;
	m.nranges = r->a[1];
	for (unsigned int i = 0; i < m.nranges; i++)
		if (m.range[i].first > m.range[i].last)
			return -EINVAL;
	m.trace = (const uint64_t *)(r->in + ranges);
	m.ntrace = MIN((r->payload_len - ranges) / sizeof(*m.trace), (size_t)CHANGE_TRACE);
	event_emit(&r->s->b->events, EVENT_MEMORY, .who = r->s->pid, .memory = &m);
	r->out[0] = r->s->id;
	return 0;
}

static long rpc_CRASH(struct request *r)
{
	event_emit(&r->s->b->events, EVENT_CRASH, .who = r->s->pid, .value = r->a[0], .addr = r->a[1]);
	return 0;
}

static long rpc_TICKET(struct request *r)
{
	return ticket_new(r->s, r->out);
}

static long rpc_EMPTY(struct request *r)
{
	struct ufile *f = file_of(r);

	if (!f)
		return -EBADF;
	return f->ops->empty ? f->ops->empty(f) : -EINVAL;
}

static long rpc_WRITE(struct request *r)
{
	struct ufile *f = file_of(r);

	r->out[0] = !f || !f->ops->write;
	return r->out[0] ? 0 : f->ops->write(f, r->in, MIN(r->payload_len, (uint32_t)WRITE_MAX));
}

static long rpc_INHERIT(struct request *r)
{
	return ticket_use(r->s, r->a);
}

static long (*const table[RPC_COUNT])(struct request *) = {
#define RPC(name, doc) [RPC_##name] = rpc_##name,
    RPC_TABLE(RPC)
#undef RPC
};

/* What may depend on a descriptor that was closed just before. */
static bool depends_on_closes(uint32_t op)
{
	return op == RPC_OPEN || op == RPC_IOCTL || op == RPC_MMAP;
}

/* What allocates because the client asked for it, and can say that it could not. */
static bool may_fail(uint32_t op)
{
	return op == RPC_OPEN || op == RPC_IOCTL || op == RPC_MMAP;
}

/*
 * Copying a stack costs a client more than all else in a call, and mostly a tenth of it is enough. What has been needed
 * is known after some walks; twice that is copied from then on. If it once falls short, that one stack lacks its
 * outermost frames, and all is copied for ever.
 */
#define WALKS_LEARN 32u /* with fewer, nothing is known */
#define WALK_EVERY  64u /* calls, of a client that gives no other reason to */
#define STACK_SPARE 1024u

static void stack_learn(struct session *s, const struct event_origin *from)
{
	uint32_t copy = SLOT_STACK, need;

	if (!*from->stack_need && s->walks <= WALKS_LEARN && ++s->calls % WALK_EVERY == 0)
		check_walk(s->b->check);
	need = *from->stack_need;
	if (!need)
		return;
	s->walks = MIN(s->walks, WALKS_LEARN) + 1;
	s->deepest = need > from->stack_len ? SLOT_STACK : MAX(s->deepest, need);
	if (s->walks > WALKS_LEARN)
		copy = MIN(SLOT_STACK, ALIGN_UP(2 * s->deepest + STACK_SPARE, STACK_SPARE));
	atomic_store_explicit(&s->ch->stack_copy, copy, memory_order_relaxed);
}

static struct event_origin origin_of(struct session *s, unsigned int slot)
{
	struct slot *sl = &s->ch->slot[slot];

	return (struct event_origin){
	    .pid = s->pid,
	    .tid = __atomic_load_n(&sl->task, __ATOMIC_RELAXED),
	    .session = s->id,
	    .ip = __atomic_load_n(&sl->ip, __ATOMIC_RELAXED),
	    .sp = __atomic_load_n(&sl->sp, __ATOMIC_RELAXED),
	    .bp = __atomic_load_n(&sl->bp, __ATOMIC_RELAXED),
	    .stack = channel_stack(s->ch, slot),
	    .stack_len = MIN(__atomic_load_n(&sl->stack_len, __ATOMIC_RELAXED), SLOT_STACK),
	    .stack_max = SLOT_STACK,
	};
}

static long serve(struct request *r)
{
	struct broker *b = r->s->b;
	struct event_origin from = origin_of(r->s, r->slot);
	uint32_t need = 0;
	struct failnth *f = may_fail(r->op) && from.tid ? b->failnth : NULL;
	long ret;

	from.stack_need = &need;
	b->events.origin = &from;
	if (f)
		failnth_begin(f, from.tid);
	ret = table[r->op](r);
	if (f)
		failnth_end(f);
	if (b->check && from.stack_len)
		stack_learn(r->s, &from);
	b->events.origin = NULL;
	return ret;
}

/*
 * Posted writes have no answer that could say that they went nowhere. So before the call returns that switches memory
 * off, every client knows to ask before it touches a mapping (rule A4). All are told: what a child has inherited is in
 * no list here.
 */
static void announce_memory(struct broker *b)
{
	bool off = vfio_memory_off(b->vfio);
	struct session *s;

	if (off == b->memory_off)
		return;
	b->memory_off = off;
	list_for_each (s, &b->sessions, node)
		atomic_store_explicit(&s->ch->memory_off, off, memory_order_relaxed);
}

static bool may_switch_memory(uint32_t op)
{
	return op == RPC_PWRITE || op == RPC_IOCTL || op == RPC_PREAD;
}

static bool may_wait(uint32_t op)
{
	return op == RPC_IOCTL || op == RPC_PREAD || op == RPC_PWRITE || op == RPC_MMAP || op == RPC_MMIO_READ ||
	       op == RPC_MMIO_TEST;
}

/* Only who has to do with it waits, and not for a client, but for a thread of ours. */
static bool must_wait(struct request *r)
{
	struct ufile *f;

	if (likely(!vfio_moving(r->s->b->vfio)) || !may_wait(r->op))
		return false;
	f = mapped_file_of(r);
	return f && f->ops->busy && f->ops->busy(f);
}

static void answer(struct session *s, unsigned int slot)
{
	struct slot *sl = &s->ch->slot[slot];

	if (atomic_exchange_explicit(&sl->state, SLOT_REPLY, memory_order_acq_rel) & SLOT_WAITING)
		syscall(SYS_futex, &sl->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void rpc_serve_held(struct session *s)
{
	uint32_t calls = s->held_calls, answers = s->held_answers;

	s->held_calls = s->held_answers = 0;
	for (; answers; answers &= answers - 1) {
		unsigned int slot = __builtin_ctz(answers);
		struct request r = {.s = s, .op = RPC_IOCTL, .object = s->held_object[slot]};

		if (must_wait(&r))
			s->held_answers |= 1u << slot;
		else
			answer(s, slot);
	}
	for (; calls; calls &= calls - 1)
		rpc_serve(s, __builtin_ctz(calls));
	if (s->held_calls | s->held_answers)
		session_hold(s);
}

bool rpc_serve(struct session *s, unsigned int slot)
{
	/* As aligned as ucall_parts want it. One call is served at a time. */
	static uint64_t in[SLOT_PAYLOAD / sizeof(uint64_t)];
	struct slot *sl = &s->ch->slot[slot];
	struct request r = {.s = s, .slot = slot, .in = (uint8_t *)in, .out_data = channel_payload(s->ch, slot)};
	long ret = -ENOSYS;

	if ((atomic_load_explicit(&sl->state, memory_order_acquire) & SLOT_STATE_MASK) != SLOT_REQUEST ||
	    s->held_answers >> slot & 1)
		return false;
	r.op = __atomic_load_n(&sl->op, __ATOMIC_RELAXED);
	r.nfds = __atomic_load_n(&sl->nfds, __ATOMIC_RELAXED);
	r.object = __atomic_load_n(&sl->object, __ATOMIC_RELAXED);
	if (unlikely(must_wait(&r))) {
		s->held_calls |= 1u << slot;
		session_hold(s);
		return false;
	}
	r.payload_len = MIN(__atomic_load_n(&sl->payload_len, __ATOMIC_RELAXED), SLOT_PAYLOAD);
	for (unsigned int i = 0; i < 4; i++)
		r.a[i] = __atomic_load_n(&sl->a[i], __ATOMIC_RELAXED);
	copy_shared(in, r.out_data, r.payload_len);

	s->b->serving = s;
	if (depends_on_closes(r.op))
		sessions_reap(s->b);
	if (r.nfds)
		session_receive(s);
	if (r.op < RPC_COUNT)
		ret = serve(&r);
	if (may_switch_memory(r.op))
		announce_memory(s->b);
	if (r.nfds && r.op != RPC_IOCTL)
		session_discard_fds(s, slot);

	s->b->serving = NULL;
	sl->a[0] = r.out[0];
	sl->a[1] = r.out[1];
	sl->a[2] = r.out[2];
	sl->ret = ret;
	sl->flags = (r.has_fd ? SLOT_HAS_FD : 0) | (r.fd_asks ? SLOT_FD_ASKS : 0) | (r.fd_writes ? SLOT_FD_WRITES : 0);
	sl->payload_len = r.out_len;
	if (unlikely(must_wait(&r))) {
		s->held_answers |= 1u << slot;
		s->held_object[slot] = r.object;
		session_hold(s);
	} else {
		answer(s, slot);
	}
	return true;
}
