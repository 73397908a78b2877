/* SPDX-License-Identifier: BSD-3-Clause */
#include "say.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <linux/vfio.h>

void say(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, n) != n)
		abort();
}

long say_ret(const char *what, long ret)
{
	if (ret == -1)
		say("%s: %s", what, strerrorname_np(errno));
	else
		say("%s: %ld", what, ret);
	return ret;
}

void say_status(const char *what, int st)
{
	if (WIFEXITED(st))
		say("%s: exit %d", what, WEXITSTATUS(st));
	else if (WIFSIGNALED(st))
		say("%s: killed by SIG%s", what, sigabbrev_np(WTERMSIG(st)));
	else
		say("%s: status %#x", what, st);
}

bool pinning(void)
{
	return getenv("SAY_PINNED") != NULL;
}

static int container = -1, group = -1;

static void container_open(void)
{
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	group = open("/dev/vfio/1", O_RDWR | O_CLOEXEC);

	if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) {
		say("no container: %s", strerror(errno));
		exit(99);
	}
}

void unpin_all(void)
{
	close(container);
	close(group);
	container = group = -1;
}

bool try_pin(void *p, size_t len)
{
	static uint64_t iova = 0x100000;
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = VFIO_DMA_MAP_FLAG_READ, .vaddr = (uint64_t)p, .iova = iova, .size = len};

	if (!pinning())
		return true;
	if (container < 0)
		container_open();
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &m))
		return false;
	iova += len;
	return true;
}

void pin(void *p, size_t len)
{
	if (!try_pin(p, len)) {
		say("cannot pin: %s", strerror(errno));
		exit(99);
	}
}

void pin_and_unpin(void *p, size_t place)
{
	struct vfio_iommu_type1_dma_map m = {.argsz = sizeof(m),
					     .flags = VFIO_DMA_MAP_FLAG_READ,
					     .vaddr = (uint64_t)p,
					     .iova = (1ull << 32) + place * PAGE,
					     .size = PAGE};
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = m.iova, .size = PAGE};

	if (pinning() && (ioctl(container, VFIO_IOMMU_MAP_DMA, &m) || ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u)))
		say("pinning: %s", strerror(errno));
}

static void run_case(const struct say_case *c)
{
	int st;
	pid_t pid;

	say("== %s", c->name);
	pid = fork();
	if (!pid) {
		alarm(300);
		c->run();
		exit(0);
	}
	waitpid(pid, &st, 0);
	say_status("case", st);
}

int say_main(int argc, char **argv, const struct say_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool wanted = argc < 2;

		for (int k = 1; k < argc; k++)
			wanted |= !strcmp(argv[k], cases[i].name);
		if (wanted)
			run_case(&cases[i]);
	}
	return 0;
}
