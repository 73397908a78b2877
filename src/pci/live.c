/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/live.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"

int live_page_init(struct live_page *p)
{
	void *view;
	int err;

	*p = (struct live_page){.fd = -1, .pipe = {-1, -1}};
	p->fd = memfd_create("pinfold-live", MFD_CLOEXEC);
	if (p->fd < 0)
		return -errno;
	if (pipe2(p->pipe, O_CLOEXEC | O_NONBLOCK)) {
		err = -errno;
		live_page_fini(p);
		return err;
	}
	view = mmap(NULL, LIVE_PAGE_SIZE, PROT_READ, MAP_SHARED, p->fd, 0);
	if (view == MAP_FAILED) {
		err = -errno;
		live_page_fini(p);
		return err;
	}
	p->view = view;
	return 0;
}

void live_page_fini(struct live_page *p)
{
	if (p->fd < 0)
		return;
	live_page_drop(p);
	if (p->view)
		munmap((void *)p->view, LIVE_PAGE_SIZE);
	close(p->fd);
	for (int i = 0; i < 2; i++)
		if (p->pipe[i] >= 0)
			close(p->pipe[i]);
	*p = (struct live_page){.fd = -1, .pipe = {-1, -1}};
}

int live_page_open(struct live_page *p, const void *content)
{
	ssize_t n;

	if (p->fd < 0)
		return -ENODEV;
	/* The file grows when its page is filled in, not before. */
	n = pwrite(p->fd, content, LIVE_PAGE_SIZE, 0);
	if (n != LIVE_PAGE_SIZE) {
		live_page_drop(p);
		return n < 0 ? -errno : -ENOSPC;
	}
	p->open = true;
	return 0;
}

/* A client that cut the file leaves less than a page to save, and what it stored is its own loss. */
int live_page_close(struct live_page *p, void *content)
{
	off_t off = 0;

	if (splice(p->fd, &off, p->pipe[1], NULL, LIVE_PAGE_SIZE, SPLICE_F_NONBLOCK) != LIVE_PAGE_SIZE)
		return -EIO;
	live_page_drop(p);
	return read(p->pipe[0], content, LIVE_PAGE_SIZE) == LIVE_PAGE_SIZE ? 0 : -EIO;
}

void live_page_drop(struct live_page *p)
{
	/* Of a memfd without seals this cannot fail. */
	if (ftruncate(p->fd, 0))
		return;
	p->open = false;
}

bool live_page_read(const struct live_page *p, void *dst, size_t n)
{
	return guard_copy(dst, p->view, n) == 0;
}
