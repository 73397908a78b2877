/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ground that the two uAPIs (vfio/, iommufd/) stand on, and all they see of a client.
 *
 *   ufile   what stands behind a descriptor that a client holds: the counterpart of the kernel's struct file.
 *   ucall   one ioctl in progress: how its handler reads and writes the caller's memory, resolves the caller's
 * descriptors, asks for the caller's pages, and hands out new descriptors.
 *
 * Client memory is never read behind the client's back. What a handler needs and does not have yet makes the ucall_*
 * function return UCALL_AGAIN; the handler returns that value at once, the boundary supplies what was asked for, and
 * the handler runs again from the start. So: a handler gathers everything it needs first, and changes state only after
 * its last ucall_* input. What it gathers is a private copy that does not change between runs (copy once, rule B5).
 */
#ifndef PINFOLD_UAPI_UCALL_H
#define PINFOLD_UAPI_UCALL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mm_owner;
struct pages;
struct ucall;
struct ufile;

#define UCALL_AGAIN (-4090) /* outside the range of errnos that a kernel returns */
/*
 * A part of a long answer: what has been copied out is delivered, all that was gathered is forgotten, and the handler
 * runs again from the start. What it has done stays done; ucall.at is its own to remember how far it came. 0 at first.
 */
#define UCALL_MORE (-4092)

/* How a client's mmap of a ufile is served. */
enum umap_kind {
	UMAP_TRAP, /* inaccessible memory; each access becomes a read or write of the ufile at the mapping's offset */
	UMAP_FILE, /* plain shared memory: map fd at fd_off */
};
struct umap {
	enum umap_kind kind;
	int fd;		 /* UMAP_FILE: to be mapped; UMAP_TRAP: for some pages, or -1. Owned by the ufile */
	uint64_t fd_off; /* UMAP_FILE: where in fd; UMAP_TRAP: which page of the mapping is the first of fd instead: it
			    is a trap as well while fd is empty */
	uint64_t fd_len; /* UMAP_TRAP: so many bytes of the mapping are fd's */
	uint64_t generation; /* UMAP_FILE: mmio_test knows by it whether that file is still good */
};

struct ufile_ops {
	const char *name; /* as /proc/PID/fd would show it: "/dev/vfio/vfio", "[vfio-device]" */
	/* The ioctl's return value (>= 0), -errno, or UCALL_AGAIN. arg is the third argument as passed. */
	long (*ioctl)(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg);
	/* off is the file offset. NULL: EINVAL. Bytes done, or -errno. */
	ssize_t (*pread)(struct ufile *f, void *buf, size_t len, uint64_t off);
	ssize_t (*pwrite)(struct ufile *f, const void *buf, size_t len, uint64_t off);
	/* prot: PROT_READ | PROT_WRITE; len page aligned. 0 or -errno. NULL: ENODEV. */
	int (*mmap)(struct ufile *f, uint64_t off, uint64_t len, int prot, bool shared, struct umap *m);
	/*
	 * One register access through a mapping: size 1, 2, 4 or 8, naturally aligned. 0 or -errno (what a bus master
	 * abort is to the client is the boundary's to show). Needed where mmap answers UMAP_TRAP.
	 */
	int (*mmio_read)(struct ufile *f, uint64_t off, unsigned int size, uint64_t *val);
	int (*mmio_write)(struct ufile *f, uint64_t off, unsigned int size, uint64_t val);
	/*
	 * A descriptor that bytes go through (a queue of events): the client's read(), write() and poll() are the
	 * system's own. written: the client wrote; buf is a private copy of what has come, which may begin or end
	 * anywhere. drained: there is room again after ufile_send said less than all. Both NULL: the client's read()
	 * and write() are EINVAL.
	 */
	void (*written)(struct ufile *f, const void *buf, size_t len);
	void (*drained)(struct ufile *f);
	/*
	 * Optional: the answer to a read() that found nothing, as long as the boundary sees it: 0, -errno, or -EAGAIN:
	 * it may look again.
	 */
	long (*empty)(struct ufile *f);
	/*
	 * A file of sysfs whose content acts: a write() to it, all at once. Bytes taken, -errno, or -EAGAIN: the writer
	 * waits, and the same is asked again. NULL: a write is the system's own.
	 */
	long (*write)(struct ufile *f, const void *buf, size_t len);
	/*
	 * Optional: what stands behind the file is under change, which a call made now would have to wait for, and the
	 * answer of the one that is the cause.
	 */
	bool (*busy)(struct ufile *f);
	bool waits; /* the client's read() and write() wait for bytes and room, unless it wishes otherwise */
	/*
	 * 0, or -EIO while nothing answers at off through a mapping of that generation (0: trapped): an access is
	 * SIGBUS then. NULL: always 0.
	 */
	int (*mmio_test)(struct ufile *f, uint64_t off, uint64_t generation);
	/* The last descriptor, mapping and reference are gone. Never fails (C5). */
	void (*release)(struct ufile *f);
};

struct ufile {
	const struct ufile_ops *ops;
	unsigned int refs; /* one for "has descriptors", one per mapping, one per holder inside */
	void *host;	   /* the broker's */
	/* The broker's, of one that bytes go through. NULL: nobody can read or write. */
	size_t (*send)(struct ufile *f, const void *buf, size_t len);
	size_t (*unread)(struct ufile *f); /* NULL: not known */
	void (*finish)(struct ufile *f);
	size_t (*receive)(struct ufile *f, void *buf, size_t len);
};

static inline void ufile_init(struct ufile *f, const struct ufile_ops *ops)
{
	f->ops = ops;
	f->refs = 1;
	f->host = NULL;
	f->send = NULL;
	f->unread = NULL;
	f->finish = NULL;
	f->receive = NULL;
}
/* Bytes for the client to read from a descriptor that has `written`: how many there was room for, perhaps none. */
static inline size_t ufile_send(struct ufile *f, const void *buf, size_t len)
{
	return f->send ? f->send(f, buf, len) : 0;
}
/* How many sends of one size the client has not read to their end. 0 where that is not known. */
static inline size_t ufile_unread(struct ufile *f)
{
	return f->unread ? f->unread(f) : 0;
}
/* There is nothing more to read than has been sent: read() is 0 behind it. */
static inline void ufile_finish(struct ufile *f)
{
	if (f->finish)
		f->finish(f);
}
/* Up to len bytes that the client wrote and `written` has not been given yet; how many. */
static inline size_t ufile_receive(struct ufile *f, void *buf, size_t len)
{
	return f->receive ? f->receive(f, buf, len) : 0;
}
static inline struct ufile *ufile_get(struct ufile *f)
{
	f->refs++;
	return f;
}
static inline void ufile_put(struct ufile *f)
{
	if (--f->refs == 0)
		f->ops->release(f);
}

enum ucall_pages {
	UCALL_PAGES,
	UCALL_PAGES_LAZY,
	UCALL_PAGES_FOLLOWED,
};

struct ucall_ops {
	int (*copy_in)(struct ucall *c, uint64_t addr, void *dst, size_t len);
	int (*copy_out)(struct ucall *c, uint64_t addr, const void *src, size_t len);
	int (*expect_write)(struct ucall *c, uint64_t addr, size_t len); /* NULL: all can be written */
	int (*get_fd)(struct ucall *c, int client_fd, int *fd);
	int (*get_file)(struct ucall *c, int client_fd, struct ufile **f);
	int (*get_pages)(struct ucall *c, uint64_t va, uint64_t len, enum ucall_pages how, struct pages **p);
	int (*get_mapped)(struct ucall *c, uint64_t va, uint64_t len, struct ufile **f,
			  uint64_t *off); /* may be NULL */
	int (*get_file_pages)(struct ucall *c, int client_fd, uint64_t off, uint64_t len, struct pages **p);
	int (*install)(struct ucall *c, struct ufile *f, uint64_t addr);
};

struct ucall {
	const struct ucall_ops *ops;
	struct mm_owner *owner; /* who pays for what this call pins */
	uint64_t at;		/* see UCALL_MORE */
};

/*
 * What the handler waits for has not happened yet: to be returned at once, and the handler runs again in a moment. The
 * caller's thread may be killed meanwhile, and then it does not.
 */
#define UCALL_LATER UCALL_AGAIN

/* 0, -EFAULT, -ENOMEM, or UCALL_AGAIN. */
static inline int ucall_copy_in(struct ucall *c, uint64_t addr, void *dst, size_t len)
{
	return c->ops->copy_in(c, addr, dst, len);
}
/* Queues bytes for the caller's memory; they are written when the handler has returned a value other than UCALL_AGAIN
 * (an unwritable address then turns the result into -EFAULT, as a failed copy_to_user would). 0 or -ENOMEM; -EFAULT if
 * ucall_expect_write has found out that addr cannot be written. */
static inline int ucall_copy_out(struct ucall *c, uint64_t addr, const void *src, size_t len)
{
	return c->ops->copy_out(c, addr, src, len);
}
/*
 * For a handler that must undo what it did if its answer cannot be written: it asks before, and ucall_copy_out to that
 * addr knows. 0 (also if it cannot be written), -ENOMEM, UCALL_AGAIN.
 */
static inline int ucall_expect_write(struct ucall *c, uint64_t addr, size_t len)
{
	return c->ops->expect_write ? c->ops->expect_write(c, addr, len) : 0;
}
/* The file behind the caller's descriptor number, as a descriptor of ours that the caller of this function closes (an
 * eventfd). 0, -EBADF, UCALL_AGAIN. */
static inline int ucall_get_fd(struct ucall *c, int client_fd, int *fd)
{
	return c->ops->get_fd(c, client_fd, fd);
}
/* The ufile behind the caller's descriptor number, borrowed until the handler returns. 0, -EBADF (closed), -EINVAL
 * (open, but not one of ours), UCALL_AGAIN. */
static inline int ucall_get_file(struct ucall *c, int client_fd, struct ufile **f)
{
	return c->ops->get_file(c, client_fd, f);
}
/* The caller's memory [va, va + len), page aligned, as pages (a new reference; not pinned) that c->owner pays for. 0,
 * -EFAULT (a hole, or memory that cannot be pinned), -ENOMEM, UCALL_AGAIN. */
static inline int ucall_get_pages(struct ucall *c, uint64_t va, uint64_t len, struct pages **p)
{
	return c->ops->get_pages(c, va, len, UCALL_PAGES, p);
}
/* The same, but what is not there or cannot be pinned becomes a hole in the pages: it is found out by who pins. */
static inline int ucall_get_pages_lazy(struct ucall *c, uint64_t va, uint64_t len, struct pages **p)
{
	return c->ops->get_pages(c, va, len, UCALL_PAGES_LAZY, p);
}
/* As ucall_get_pages, and from before it was looked at until the call has returned, the caller's process changes
 * nothing there; and whenever it does later, iommufd_forget() is called. */
static inline int ucall_get_pages_followed(struct ucall *c, uint64_t va, uint64_t len, struct pages **p)
{
	return c->ops->get_pages(c, va, len, UCALL_PAGES_FOLLOWED, p);
}
/* What ucall_get_pages had to refuse (-EFAULT): is it a mapping of one of our ufiles, all of it, as one stretch? 0: of
 * *f (borrowed until the handler returns), from file offset *off on. -EFAULT. */
static inline int ucall_get_mapped(struct ucall *c, uint64_t va, uint64_t len, struct ufile **f, uint64_t *off)
{
	return c->ops->get_mapped ? c->ops->get_mapped(c, va, len, f, off) : -EFAULT;
}
/* Bytes [off, off + len), page aligned, of the file behind the caller's descriptor, as pages whose client address is
 * off. 0, -EBADF, -EINVAL (not memory, or not that much of it), -ENOMEM, -EMFILE, UCALL_AGAIN. */
static inline int ucall_get_file_pages(struct ucall *c, int client_fd, uint64_t off, uint64_t len, struct pages **p)
{
	return c->ops->get_file_pages(c, client_fd, off, len, p);
}
/* Hands f (its initial reference) to the caller as a new descriptor, whose number becomes the ioctl's result if the
 * handler returns 0. Last input-like step: cannot be followed by UCALL_AGAIN. 0, -EMFILE, -ENOMEM (f is then still the
 * handler's). */
static inline int ucall_install(struct ucall *c, struct ufile *f)
{
	return c->ops->install(c, f, 0);
}
/* The same, but the number goes to the 32 bits at addr in the caller's memory; the ioctl's result stays the handler's.
 */
static inline int ucall_install_at(struct ucall *c, struct ufile *f, uint64_t addr)
{
	return c->ops->install(c, f, addr);
}

#endif
