/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors of ours: recognised by their socket's name, served by calls that carry its number. */
#include "boundary/boundary.h"

#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

/* Every ioctl starts with the first bytes behind its argument, because most need no more. */
#define IOCTL_HEAD 64

bool object_of_fd(int fd, uint64_t *object)
{
	struct sockaddr_un sa;
	uint32_t len = sizeof(sa);
	const char *p;

	if (sys3(__NR_getsockname, fd, &sa, &len) || sa.sun_family != AF_UNIX ||
	    len != offsetof(struct sockaddr_un, sun_path) + OBJECT_NAME_LEN || sa.sun_path[0] ||
	    memcmp(sa.sun_path + 1, OBJECT_NAME_PREFIX, sizeof(OBJECT_NAME_PREFIX) - 1))
		return false;
	sa.sun_path[OBJECT_NAME_LEN] = 0; /* the kernel does not end it, and what the stack held may look like digits */
	p = sa.sun_path + 1 + sizeof(OBJECT_NAME_PREFIX) - 1;
	parse_number(&p, 16);
	if (*p++ != '/')
		return false;
	*object = parse_number(&p, 16);
	return true;
}

struct ucall_part *part_append(struct rpc *r, uint32_t kind, uint64_t addr, uint64_t len, size_t data)
{
	size_t at = r->slot->payload_len, need = sizeof(struct ucall_part) + ALIGN_UP(data, 8UL);
	struct ucall_part *p = (struct ucall_part *)(r->payload + at);

	if (need > SLOT_PAYLOAD - at)
		return NULL;
	*p = (struct ucall_part){.kind = kind, .addr = addr, .len = len, .got = data};
	r->slot->payload_len = at + need;
	return p;
}

static void append_bytes(struct rpc *r, uint64_t addr, uint64_t len)
{
	size_t room = SLOT_PAYLOAD - r->slot->payload_len, left;
	struct ucall_part *p;

	if (room < sizeof(*p))
		return;
	len = MIN(len, (room - sizeof(*p)) & ~7ul);
	p = part_append(r, PART_BYTES, addr, len, len);
	left = guard_copy(p + 1, (const void *)addr, len);
	p->got = len - left;
	r->slot->payload_len -= ALIGN_UP(len, 8UL) - ALIGN_UP(p->got, 8UL);
	if (left)
		p->error = EFAULT;
}

static void append_fd(struct rpc *r, int fd)
{
	struct ucall_part *p = part_append(r, PART_FD, (uint32_t)fd, 0, 0);

	if (p && rpc_send_fd(r, fd))
		p->error = EBADF;
}

/* Can [addr, addr + len) be written? A word of each page is, with what it holds. */
static void append_write(struct rpc *r, uint64_t addr, uint64_t len)
{
	struct ucall_part *p = part_append(r, PART_WRITE, addr, len, 0);
	uint64_t old;

	for (uint64_t at = addr & ~7ul; p && at < addr + len; at = ALIGN_DOWN(at, PF_PAGE_SIZE) + PF_PAGE_SIZE)
		if (guard_copy(&old, (void *)at, sizeof(old)) ||
		    guard_cas((uint64_t *)at, old, old) == GUARD_CAS_FAULT) {
			p->error = EFAULT;
			return;
		}
}

/* Outside of the range of errnos: the ioctl has to be started again, within follow_begin(). */
#define FOLLOW_FIRST (-4092)

static bool wants_followed(const struct ucall_part *need, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (need[i].kind == PART_PAGES && need[i].got & PAGES_FOLLOWED)
			return true;
	return false;
}

/* Supplies what the broker asked for. The list is copied out of the payload first: the answer takes its place. */
static int supply(struct rpc *r, struct scratch *s, bool following)
{
	size_t n = MIN(r->slot->payload_len / sizeof(struct ucall_part), sizeof(s->buf) / sizeof(struct ucall_part));
	struct ucall_part *need = (struct ucall_part *)s->buf;
	int ret = 0;

	memcpy(need, r->payload, n * sizeof(*need));
	r->slot->payload_len = 0;
	r->slot->nfds = 0;
	r->slot->flags = 0;
	if (!following && wants_followed(need, n))
		return FOLLOW_FIRST;
	for (size_t i = 0; i < n && !ret; i++) {
		switch (need[i].kind) {
		case PART_BYTES:
			append_bytes(r, need[i].addr, need[i].len);
			break;
		case PART_FD:
			append_fd(r, need[i].addr);
			break;
		case PART_PAGES:
			if (need[i].got & PAGES_FOLLOWED)
				follow_add(need[i].addr, need[i].len);
			ret = memory_describe(r, need[i].addr, need[i].len, need[i].got & PAGES_FRESH);
			break;
		case PART_BACKING:
			ret = memory_send_backing(r, need[i].addr, need[i].len);
			break;
		case PART_WRITE:
			append_write(r, need[i].addr, need[i].len);
			break;
		default:
			ret = -EIO;
		}
	}
	return ret;
}

/* What comes after something that cannot be written is not written either, as nowhere in the kernel. */
static long apply_copy_out(struct rpc *r, long ret)
{
	size_t at = 0, end = r->slot->payload_len;

	while (at + sizeof(struct ucall_part) <= end) {
		struct ucall_part *p = (struct ucall_part *)(r->payload + at);

		if (p->kind != PART_COPY_OUT || p->got > end - at - sizeof(*p))
			break;
		if (guard_copy((void *)p->addr, p + 1, p->got))
			return -EFAULT;
		at += sizeof(*p) + ALIGN_UP(p->got, 8UL);
	}
	return ret;
}

/* A long answer comes in several messages: what asks for more then is no need, but what there is so far. */
static bool is_answer(const struct rpc *r)
{
	return r->slot->payload_len >= sizeof(struct ucall_part) &&
	       ((struct ucall_part *)r->payload)->kind == PART_COPY_OUT;
}

static long take_answer(struct rpc *r, long fault)
{
	long ret = fault ? fault : apply_copy_out(r, 0);

	r->slot->payload_len = 0;
	r->slot->nfds = 0;
	return ret;
}

/* Nothing is asked for, but time. */
static bool is_later(const struct rpc *r)
{
	return !r->slot->payload_len;
}

/* At first the answer is likely to be there soon: a disk's, usually. */
static void later(struct rpc *r, unsigned int times)
{
	const struct {
		long sec, nsec;
	} t = {0, 50000L << MIN(times, 7U)};

	sys2(__NR_nanosleep, &t, NULL);
	r->slot->nfds = 0;
	r->slot->flags = 0;
}

static long ioctl_rounds(struct rpc *r, uint64_t object, uint32_t cmd, uint64_t arg, struct scratch *s, bool following)
{
	unsigned int round = 0, waits = 0;
	long ret, fault = 0;

	r->slot->a[0] = cmd;
	r->slot->a[1] = arg;
	if (arg >= PF_PAGE_SIZE)
		append_bytes(r, arg, IOCTL_HEAD);
	ret = rpc_call(r);
	while (ret == RPC_NEED) {
		ret = 0;
		if (is_answer(r)) {
			fault = take_answer(r, fault);
			round = 0;
		} else if (is_later(r)) {
			later(r, waits++);
		} else {
			ret = supply(r, s, following);
		}
		if (ret || round++ > 4096 + waits) {
			ret = ret ? ret : -EIO;
			r->slot->payload_len = 0; /* it was not an answer */
			break;
		}
		r->slot->op = RPC_IOCTL;
		r->slot->object = object;
		r->slot->a[0] = cmd;
		r->slot->a[1] = arg;
		r->slot->a[2] = 1;
		ret = rpc_call(r);
	}
	if (fault && ret != -EIO) {
		r->slot->payload_len = 0;
		return -EFAULT;
	}
	return ret;
}

/* The descriptor that came with a reply: its number is the result, or goes where the reply says. It is taken from the
 * socket in any case: the next one must not be mistaken for it. */
static long take_fd(struct rpc *r, long ret)
{
	uint64_t at = r->slot->a[0];
	int32_t number;
	long fd;

	fd = rpc_recv_fd(r);
	if (fd < 0)
		return fd;
	if (ret < 0) {
		sys1(__NR_close, fd);
		return ret;
	}
	if (r->slot->flags & SLOT_FD_ASKS)
		fd = keep_move_asking(fd);
	if (!at)
		return fd;
	number = fd;
	if (!guard_copy((void *)at, &number, sizeof(number)))
		return ret;
	sys1(__NR_close, fd);
	return -EFAULT;
}

static long ioctl_run(ucontext_t *uc, uint64_t object, bool following)
{
	struct scratch *s = scratch_get(); /* before the slot, as everywhere */
	struct rpc r;
	long ret;

	if (rpc_begin(&r, RPC_IOCTL, object)) {
		scratch_put(s);
		return -EIO;
	}
	rpc_origin(&r, uc);
	ret = ioctl_rounds(&r, object, UC_ARG2(uc), UC_ARG3(uc), s, following);
	/* An answer of EIO is one, too; only without a broker there is none. */
	if (atomic_load_explicit(&r.slot->state, memory_order_relaxed) == SLOT_REPLY && ret != FOLLOW_FIRST)
		ret = apply_copy_out(&r, ret);
	if (r.slot->flags & SLOT_HAS_FD)
		ret = take_fd(&r, ret);
	rpc_end(&r);
	scratch_put(s);
	return ret;
}

void object_ioctl(ucontext_t *uc)
{
	uint64_t object;
	long ret;

	if (!object_of_fd(UC_ARG1(uc), &object)) {
		trap_resume(uc);
		return;
	}
	watch_arm();
	ret = ioctl_run(uc, object, false);
	if (ret == FOLLOW_FIRST) {
		ret = follow_begin();
		if (!ret) {
			ret = ioctl_run(uc, object, true);
			follow_end();
		}
	}
	UC_RET(uc) = ret;
}

/* Reads and writes of regions, in pieces of a slot's payload. */
static int64_t region_io(const ucontext_t *uc, uint64_t object, uint64_t buf, uint64_t len, uint64_t off, bool write)
{
	int64_t done = 0, ret = 0;

	len = MIN(len, 0x7ffff000UL);
	do {
		uint64_t n = MIN(len - done, (uint64_t)SLOT_PAYLOAD);
		struct rpc r;

		if (rpc_begin(&r, write ? RPC_PWRITE : RPC_PREAD, object)) {
			ret = -EIO;
			break;
		}
		r.slot->a[0] = off + done;
		r.slot->a[1] = n;
		rpc_origin(&r, uc);
		if (write) {
			n -= guard_copy(r.payload, (void *)(buf + done), n);
			if (!n && len)
				ret = -EFAULT;
			r.slot->a[1] = n;
			r.slot->payload_len = n;
		}
		if (!ret)
			ret = rpc_call(&r);
		if (!write && ret > 0 && guard_copy((void *)(buf + done), r.payload, MIN((uint64_t)ret, n)))
			ret = -EFAULT;
		rpc_end(&r);
		if (ret <= 0)
			break;
		done += ret;
		if ((uint64_t)ret < n)
			break;
	} while ((uint64_t)done < len);
	return done ? done : ret;
}

static void region_call(ucontext_t *uc, bool write)
{
	uint64_t object;

	if (object_of_fd(UC_ARG1(uc), &object))
		UC_RET(uc) = region_io(uc, object, UC_ARG2(uc), UC_ARG3(uc), UC_ARG4(uc), write);
	else
		trap_resume(uc);
}

#define IOV_MAX 1024 /* UIO_MAXIOV */

/* One buffer after another, as of every file that knows read() alone: do_loop_readv_writev() in fs/read_write.c. */
void object_iov(ucontext_t *uc, bool write, bool has_flags)
{
	uint64_t object, at = UC_ARG2(uc), n = UC_ARG3(uc);
	int64_t done = 0, ret = 0;

	if (!object_of_fd(UC_ARG1(uc), &object)) {
		trap_resume(uc);
		return;
	}
	if (n > IOV_MAX)
		ret = -EINVAL;
	else if (has_flags && UC_ARG6(uc) & ~(uint64_t)RWF_HIPRI)
		ret = -EOPNOTSUPP;
	for (; n && !ret; n--, at += sizeof(struct iovec)) {
		struct iovec v;

		if (guard_copy(&v, (void *)at, sizeof(v))) {
			ret = -EFAULT;
			break;
		}
		ret = region_io(uc, object, (uintptr_t)v.iov_base, v.iov_len, UC_ARG4(uc) + done, write);
		if (ret < 0)
			break;
		done += ret;
		ret = (size_t)ret != v.iov_len;
	}
	UC_RET(uc) = done || ret > 0 ? done : ret;
}

/* What there is; and if there is nothing, the broker says what that means. */
void object_read(ucontext_t *uc)
{
	uint64_t object;
	long ret;

	if (!object_of_fd(UC_ARG1(uc), &object)) {
		trap_resume(uc);
		return;
	}
	do {
		struct rpc r;

		ret = UC_ARG3(uc) ? sys6(__NR_recvfrom, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), MSG_DONTWAIT, 0, 0) : 0;
		if ((ret && ret != -EAGAIN) || !UC_ARG3(uc))
			break;
		if (rpc_begin(&r, RPC_EMPTY, object)) {
			ret = -EIO;
			break;
		}
		ret = rpc_call(&r);
		rpc_end(&r);
	} while (ret == -EAGAIN);
	UC_RET(uc) = ret;
}

bool object_is(int fd)
{
	uint64_t object;

	return object_of_fd(fd, &object);
}

/* Where a thread has a filter of its own, nothing comes of what is written. */
void object_watch_writes(void)
{
	static _Atomic uint32_t armed;
	uint32_t no = 0;

	if (process_is_vfork_child() || atomic_compare_exchange_strong(&armed, &no, 1))
		filter_install(FILTER_WRITE);
}

/* As long as the broker says that the writer waits, it asks again: the kernel would not be interrupted either. */
void object_write(ucontext_t *uc)
{
	uint64_t n = MIN((uint64_t)UC_ARG3(uc), (uint64_t)WRITE_MAX), object;
	bool own = true;
	struct rpc r;
	long ret;

	if (!object_of_fd(UC_ARG1(uc), &object)) {
		trap_resume(uc);
		return;
	}
	for (unsigned int times = 0;; times++) {
		if (rpc_begin(&r, RPC_WRITE, object)) {
			ret = -EIO;
			break;
		}
		ret = -EFAULT;
		if (!guard_copy(r.payload, (const void *)UC_ARG2(uc), n)) {
			r.slot->payload_len = n;
			ret = rpc_call(&r);
			own = ret < 0 || !r.slot->a[0];
		}
		if (ret == -EAGAIN)
			later(&r, times);
		rpc_end(&r);
		if (ret != -EAGAIN)
			break;
	}
	if (own)
		UC_RET(uc) = ret;
	else
		trap_resume(uc);
}

void object_pread(ucontext_t *uc)
{
	region_call(uc, false);
}

void object_pwrite(ucontext_t *uc)
{
	region_call(uc, true);
}

long object_name(int fd, char *out, size_t size)
{
	uint64_t object;
	struct rpc r;
	long n;

	if (!object_of_fd(fd, &object) || rpc_begin(&r, RPC_NAME, object))
		return -1;
	n = rpc_call(&r);
	if (n >= 0) {
		n = MIN((size_t)r.slot->payload_len, size);
		memcpy(out, r.payload, n);
	}
	rpc_end(&r);
	return n;
}
