/* SPDX-License-Identifier: BSD-3-Clause */
/* What a kernel with fault injection has in debugfs and procfs (Linux lib/fault-inject.c, mm/fail_page_alloc.c,
 * mm/failslab.c, fs/proc/base.c). */
#include "broker/shadow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define DEBUG "sys/kernel/debug"

struct attribute {
	const char *name, *data;
};

/* Every fault's. */
static const struct attribute common[] = {
    {"probability", "0\n"}, {"interval", "1\n"},
    {"times", "1\n"},	    {"space", "0\n"},
    {"verbose", "2\n"},	    {"verbose_ratelimit_interval_ms", "0\n"},
    {"task-filter", "N\n"}, {"verbose_ratelimit_burst", "10\n"},
};

/* One fault's own. */
static const struct {
	const char *fault;
	struct attribute a;
} own[] = {
    {"failslab", {"ignore-gfp-wait", "Y\n"}},	     {"failslab", {"cache-filter", "N\n"}},
    {"fail_page_alloc", {"ignore-gfp-wait", "Y\n"}}, {"fail_page_alloc", {"ignore-gfp-highmem", "Y\n"}},
    {"fail_page_alloc", {"min-order", "1\n"}},
};

/* What can fail here: memory of either kind, what is read of the caller, and what iommufd itself looks for. */
static const char *const faults[] = {"failslab", "fail_page_alloc", "fail_usercopy", "fail_iommufd"};

static int attribute_add(int root_fd, const char *fault, const struct attribute *a)
{
	char path[96];

	snprintf(path, sizeof(path), DEBUG "/%s/%s", fault, a->name);
	return tree_file(root_fd, path, 0600, a->data, strlen(a->data));
}

int shadow_add_faults(struct shadow *s)
{
	int ret = tree_dir(s->root_fd, "proc");

	for (size_t i = 0; !ret && i < ARRAY_SIZE(faults); i++)
		for (size_t j = 0; !ret && j < ARRAY_SIZE(common); j++)
			ret = attribute_add(s->root_fd, faults[i], &common[j]);
	for (size_t i = 0; !ret && i < ARRAY_SIZE(own); i++)
		ret = attribute_add(s->root_fd, own[i].fault, &own[i].a);
	return ret;
}

/* ---- tasks ---- */

#define TASK_FILE "proc/%u/fail-nth"

/* A client may have put anything in its place. */
int shadow_add_task(struct shadow *s, unsigned int tid)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), TASK_FILE, tid);
	unlinkat(s->root_fd, path, 0);
	ret = tree_file(s->root_fd, path, 0644, "0\n", 2);
	if (ret)
		return ret;
	fd = openat(s->root_fd, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int shadow_link_task(struct shadow *s, unsigned int pid, unsigned int tid)
{
	char from[64], dir[64], to[96];
	int ret;

	snprintf(from, sizeof(from), TASK_FILE, tid);
	snprintf(dir, sizeof(dir), "proc/%u/task/%u", pid, tid);
	snprintf(to, sizeof(to), "%s/fail-nth", dir);
	ret = tree_dir(s->root_fd, dir);
	if (ret)
		return ret;
	unlinkat(s->root_fd, to, 0); /* of a thread that had this number before */
	return linkat(s->root_fd, from, s->root_fd, to, 0) ? -errno : 0;
}

void shadow_remove_task(struct shadow *s, unsigned int tid)
{
	char path[64];

	snprintf(path, sizeof(path), TASK_FILE, tid);
	unlinkat(s->root_fd, path, 0);
	*strrchr(path, '/') = 0;
	unlinkat(s->root_fd, path, AT_REMOVEDIR); /* stays while other threads of it are known */
}
