/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor that migration data goes through, from the arc that opens it to the one that ends the transfer.
 *
 * It is a socket, because that is the one kind of file at which nobody can keep the broker waiting: a reader of a pipe
 * holds its lock while he copies to memory that need not come, and a writer of a file in memory holds the file's. What
 * does not fit stays here until the reader has made room. What a read() says that finds nothing, session_empty says;
 * at a descriptor that the boundary does not know (a copy under another number, or one sent elsewhere) the system says
 * EAGAIN, and 0 at the end. A write() that is too much, or after the session, is swallowed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pci/migrate.h"
#include "vfio/internal.h"

#define CAP_MIN	     65536
#define RECEIVE_ONCE 65536
#define PIECE	     16384

struct mig_session {
	struct ufile file;
	struct vfio_dev *d; /* NULL: it is over */
	bool complete;	    /* of a state that is saved: all of it is in out */
	/* saving */
	struct state_out out;
	size_t sent;
	size_t initial; /* how much of it there was at first */
	struct precopy *early;
	/* loading: what has come */
	uint8_t *buf;
	size_t len, cap, max;
	bool no_memory;
};

static struct mig_session *session_of(struct ufile *f)
{
	return container_of(f, struct mig_session, file);
}

/* ---- saving ---- */

/* In pieces, which are counted as the reader takes them. */
static void session_send(struct mig_session *s)
{
	size_t n, want;

	if (!s->d)
		return;
	do {
		want = MIN(s->out.len - s->sent, (size_t)PIECE);
		n = want ? ufile_send(&s->file, s->out.buf + s->sent, want) : 0;
		s->sent += n;
	} while (n && n == want);
	if (s->complete && s->sent == s->out.len)
		ufile_finish(&s->file);
}

/* How much has been sent and not been read, as well as can be told. */
static size_t session_unread(struct mig_session *s)
{
	return MIN(ufile_unread(&s->file) * PIECE, s->sent);
}

static void session_drained(struct ufile *f)
{
	session_send(session_of(f));
}

static void session_no_write(struct ufile *f, const void *buf, size_t len)
{
}

int mig_session_save(struct mig_session *s)
{
	size_t before = s->out.len;
	int err;

	err = s->early ? pci_save_after(s->d->f, &s->out, s->early) : pci_save(s->d->f, &s->out);
	if (err) {
		s->out.len = before;
		s->out.failed = false;
		return -ENOMEM;
	}
	s->complete = true;
	session_send(s);
	return 0;
}

static bool is_precopy(const struct vfio_dev *d)
{
	return d && (d->mig_state == VFIO_DEVICE_STATE_PRE_COPY || d->mig_state == VFIO_DEVICE_STATE_PRE_COPY_P2P);
}

/* Bytes that nobody has seen yet, of the first ones and of others. */
static long get_precopy_info(struct mig_session *s, struct ucall *c, uint64_t arg)
{
	struct vfio_precopy_info info;
	int ret = ucall_copy_in(c, arg, &info, sizeof(info));
	size_t seen;

	if (ret)
		return ret;
	if (info.argsz < sizeof(info) || !is_precopy(s->d))
		return -EINVAL;
	seen = s->sent - session_unread(s);
	info.initial_bytes = s->initial - MIN(seen, s->initial);
	info.dirty_bytes = s->out.len - MAX(seen, s->initial) + precopy_dirty(s->early);
	return ucall_copy_out(c, arg, &info, sizeof(info));
}

/* A read() found nothing: its answer, or -EAGAIN if there may be something by now. */
static long session_empty(struct ufile *f)
{
	struct mig_session *s = session_of(f);

	if (!s->d)
		return -ENODEV;
	session_send(s);
	if (ufile_unread(f) || s->sent < s->out.len)
		return -EAGAIN;
	if (!is_precopy(s->d))
		return 0;
	if (!precopy_step(s->early))
		return -ENOMSG;
	session_send(s);
	return -EAGAIN;
}

static long session_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	return cmd == VFIO_MIG_GET_PRECOPY_INFO ? get_precopy_info(session_of(f), c, arg) : -ENOTTY;
}

/* ---- loading ---- */

/* More than any state of the function has is not kept: that there was more is all that matters then. */
static bool session_reserve(struct mig_session *s, size_t len)
{
	size_t cap = MAX(s->cap, (size_t)CAP_MIN);
	uint8_t *buf;

	if (len <= s->cap - s->len)
		return true;
	while (cap - s->len < len)
		cap *= 2;
	buf = mem_realloc(s->buf, cap);
	if (!buf)
		return false;
	s->buf = buf;
	s->cap = cap;
	return true;
}

static void session_written(struct ufile *f, const void *buf, size_t len)
{
	struct mig_session *s = session_of(f);
	size_t n = MIN(len, s->max + 1 - s->len);

	if (!s->d || s->no_memory || !n)
		return;
	if (!session_reserve(s, n)) {
		s->no_memory = true;
		return;
	}
	memcpy(s->buf + s->len, buf, n);
	s->len += n;
}

/* What is still on its way was written before the call that needs it. */
static void session_receive(struct mig_session *s)
{
	uint8_t piece[RECEIVE_ONCE / 16];
	size_t n;

	while (s->len <= s->max && !s->no_memory && (n = ufile_receive(&s->file, piece, sizeof(piece))))
		session_written(&s->file, piece, n);
}

int mig_session_load(struct mig_session *s)
{
	session_receive(s);
	if (s->no_memory)
		return -ENOMEM;
	if (s->len > s->max)
		return -EINVAL;
	return pci_load(s->d->f, s->buf, s->len);
}

/* ---- life ---- */

static void session_free_buffers(struct mig_session *s)
{
	precopy_free(s->early);
	s->early = NULL;
	state_out_fini(&s->out);
	free(s->buf);
	s->buf = NULL;
}

static void session_release(struct ufile *f)
{
	struct mig_session *s = session_of(f);

	session_free_buffers(s);
	free(s);
}

static const struct ufile_ops saving_ops = {
    .name = "anon_inode:[vfio-saving]",
    .ioctl = session_ioctl,
    .written = session_no_write,
    .drained = session_drained,
    .empty = session_empty,
    .release = session_release,
};

static const struct ufile_ops loading_ops = {
    .name = "anon_inode:[vfio-resuming]",
    .written = session_written,
    .drained = session_drained,
    .waits = true,
    .release = session_release,
};

/* What can be said before the function stops. */
static void save_early(struct mig_session *s)
{
	s->early = precopy_new(s->d->f, &s->out);
	if (!s->early)
		s->out.failed = true;
}

int mig_session_look(struct mig_session *s)
{
	if (!precopy_begin(s->early))
		return -EAGAIN;
	s->initial = s->out.len;
	return 0;
}

int mig_session_new(struct vfio_dev *d, bool saving, bool whole, struct mig_session **out)
{
	struct mig_session *s = mem_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	ufile_init(&s->file, saving ? &saving_ops : &loading_ops); /* this reference goes to its descriptor */
	s->d = d;
	s->max = pci_save_max(d->f);
	state_out_init(&s->out, false);
	if (saving)
		pci_save_identity(d->f, &s->out);
	if (saving && !whole && !s->out.failed)
		save_early(s);
	if (s->out.failed) {
		session_release(&s->file);
		return -ENOMEM;
	}
	s->initial = s->out.len;
	*out = s;
	return 0;
}

struct ufile *mig_session_file(struct mig_session *s)
{
	return &s->file;
}

void mig_session_start(struct mig_session *s)
{
	ufile_get(&s->file);
	if (s->file.ops == &saving_ops)
		session_send(s);
	else
		ufile_finish(&s->file); /* nothing to read here */
}

void mig_session_drop(struct mig_session *s)
{
	session_release(&s->file);
}

void mig_session_end(struct mig_session *s)
{
	ufile_finish(&s->file);
	s->d = NULL;
	session_free_buffers(s);
	ufile_put(&s->file);
}
