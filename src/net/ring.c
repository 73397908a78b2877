/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"

#define SKIP UINT32_MAX /* for a len: the rest of the buffer holds nothing */

_Static_assert(sizeof(struct ring_frame) == 16, "frames are aligned to that");

int ring_init(struct ring *r, uint64_t size, bool put_blocks, bool take_blocks)
{
	memset(r, 0, sizeof(*r));
	r->size = size;
	r->buf = malloc(size);
	r->put.bell = eventfd(0, EFD_CLOEXEC | (put_blocks ? 0 : EFD_NONBLOCK));
	r->take.bell = eventfd(0, EFD_CLOEXEC | (take_blocks ? 0 : EFD_NONBLOCK));
	if (r->buf && r->put.bell >= 0 && r->take.bell >= 0)
		return 0;
	ring_fini(r);
	return -ENOMEM;
}

void ring_fini(struct ring *r)
{
	free(r->buf);
	if (r->put.bell >= 0)
		close(r->put.bell);
	if (r->take.bell >= 0)
		close(r->take.bell);
	r->buf = NULL;
	r->put.bell = r->take.bell = -1;
}

static uint64_t frame_size(uint32_t len)
{
	return ALIGN_UP(sizeof(struct ring_frame) + len, sizeof(struct ring_frame));
}

static struct ring_frame *frame_at(struct ring *r, uint64_t at)
{
	return (struct ring_frame *)(r->buf + (at & (r->size - 1)));
}

/* What a frame takes from at on, with what is skipped of the buffer's end so that it lies in one piece. */
static uint64_t frame_span(const struct ring *r, uint64_t at, uint32_t len)
{
	uint64_t left = r->size - (at & (r->size - 1)), size = frame_size(len);

	return size <= left ? size : left + size;
}

struct ring_frame *ring_reserve(struct ring *r, uint32_t len)
{
	uint64_t at = atomic_load_explicit(&r->put.at, memory_order_relaxed);
	uint64_t span = frame_span(r, at, len);
	struct ring_frame *f;

	if (at + span - atomic_load(&r->take.at) > r->size)
		return NULL;
	if (span > frame_size(len)) {
		frame_at(r, at)->len = SKIP;
		f = frame_at(r, 0);
	} else {
		f = frame_at(r, at);
	}
	f->len = len;
	r->reserved = span;
	return f;
}

/* Each side moves its end and then looks who sleeps, or goes to sleep and then looks at the other end: one sees the
 * other. */
void ring_commit(struct ring *r)
{
	atomic_fetch_add(&r->put.at, r->reserved);
	if (unlikely(atomic_load(&r->take.sleeps)))
		ring_bell(&r->take);
}

struct ring_frame *ring_front(struct ring *r)
{
	uint64_t at = atomic_load_explicit(&r->take.at, memory_order_relaxed);
	struct ring_frame *f = frame_at(r, at);

	if (at == atomic_load(&r->put.at))
		return NULL;
	return f->len == SKIP ? frame_at(r, 0) : f;
}

void ring_pop(struct ring *r)
{
	uint64_t at = atomic_load_explicit(&r->take.at, memory_order_relaxed);

	at += frame_span(r, at, ring_front(r)->len);
	atomic_store(&r->take.at, at);
	/* Room for one frame is not worth waking anybody; whoever sleeps has filled more than half. */
	if (unlikely(atomic_load(&r->put.sleeps)) && atomic_load(&r->put.at) - at <= r->size / 2)
		ring_bell(&r->put);
}

bool ring_put_sleep(struct ring *r, uint32_t len)
{
	uint64_t at = atomic_load_explicit(&r->put.at, memory_order_relaxed);

	atomic_store(&r->put.sleeps, true);
	if (at + frame_span(r, at, len) - atomic_load(&r->take.at) > r->size)
		return true;
	atomic_store(&r->put.sleeps, false);
	return false;
}

bool ring_take_sleep(struct ring *r)
{
	atomic_store(&r->take.sleeps, true);
	if (atomic_load(&r->take.at) == atomic_load(&r->put.at))
		return true;
	atomic_store(&r->take.sleeps, false);
	return false;
}

void ring_bell(struct ring_side *s)
{
	if (atomic_exchange(&s->sleeps, false))
		eventfd_write(s->bell, 1);
}

void ring_bell_clear(struct ring_side *s)
{
	eventfd_t v;

	eventfd_read(s->bell, &v);
}
