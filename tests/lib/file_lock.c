/* SPDX-License-Identifier: BSD-3-Clause */
#include "file_lock.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "check.h"

static struct {
	int uffd, fd;
	void *source;
	pthread_t thread;
} holder;

static void *hold(void *arg)
{
	CHECK(pwrite(holder.fd, holder.source, 16, 0) == 16);
	close(holder.fd);
	return NULL;
}

bool file_lock_hold(int fd)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	struct uffd_msg msg;

	holder.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (holder.uffd < 0 || ioctl(holder.uffd, UFFDIO_API, &api)) {
		fprintf(stderr, "userfaultfd is not to be had here\n");
		return false;
	}
	holder.source = mmap(NULL, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(holder.source != MAP_FAILED);
	range.range.start = (uintptr_t)holder.source;
	range.range.len = PF_PAGE_SIZE;
	CHECK(!ioctl(holder.uffd, UFFDIO_REGISTER, &range));
	holder.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	CHECK(holder.fd >= 0 && !pthread_create(&holder.thread, NULL, hold, NULL));
	/* It has come to the page that is missing. */
	CHECK(read(holder.uffd, &msg, sizeof(msg)) == sizeof(msg));
	return true;
}

void file_lock_release(void)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)holder.source, PF_PAGE_SIZE}};

	CHECK(!ioctl(holder.uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(holder.thread, NULL);
	close(holder.uffd);
	munmap(holder.source, PF_PAGE_SIZE);
}
