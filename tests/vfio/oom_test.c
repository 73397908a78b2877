/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory runs out: the Nth allocation fails, for every N, in a session that uses each ioctl that allocates. The only
 * answer to the client is ENOMEM, what was there before still works, and nothing is left over at the end.
 */
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"

#define EVENTFD_TRIGGER (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define EVENTFD_UNMASK	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK)
#define NONE_TRIGGER	(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)

static unsigned long fail_at, seen;

static bool fails(void)
{
	return fake_inside && ++seen == fail_at;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

/* 0 or -ENOMEM: the first failure ends the session. */
static long irqs(struct fake *k, struct ufile *dev, uint32_t flags, uint32_t index, uint32_t count, int fd)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd;
	} s = {.h = {.argsz = sizeof(s), .flags = flags, .index = index, .count = count}, .fd = fd};

	return DO(dev, VFIO_DEVICE_SET_IRQS, &s);
}

static long use_device(struct fake *k, struct session *s, int efd)
{
	struct vfio_device_ioeventfd io = {.argsz = sizeof(io), .flags = 4, .data = 1, .fd = efd};
	struct vfio_iommu_type1_dirty_bitmap d = {.argsz = sizeof(d), .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START};
	uint64_t size = 4 * PF_PAGE_SIZE;
	long ret;

	ret = fake_map(k, s->container, 0, (uintptr_t)k->mem, size, 3);
	if (!ret)
		ret = irqs(k, s->device, EVENTFD_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 1, efd);
	if (!ret)
		ret = irqs(k, s->device, NONE_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, -1);
	if (!ret)
		ret = irqs(k, s->device, EVENTFD_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 1, efd);
	if (!ret)
		ret = irqs(k, s->device, EVENTFD_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 1, efd);
	if (!ret)
		ret = DO(s->device, VFIO_DEVICE_IOEVENTFD, &io);
	if (!ret)
		ret = DO(s->container, VFIO_IOMMU_DIRTY_PAGES, &d);
	if (!ret)
		ret = fake_unmap(k, s->container, 0, &size, 0);
	return ret;
}

static long open_and_use(struct fake *k, struct session *s, int efd)
{
	int32_t fd;
	long ret;

	fake_inside = true;
	ret = vfio_open_container(k->v, &s->container);
	fake_inside = false;
	if (ret)
		return ret;
	k->file[0] = s->container;
	s->group = fake_group(k, 7);
	fd = fake_fd_of(k, s->container);
	ret = DO(s->group, VFIO_GROUP_SET_CONTAINER, &fd);
	if (!ret)
		ret = DO(s->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
	if (ret)
		return ret;
	ret = DO(s->group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
	if (ret < 0)
		return ret;
	s->device = k->file[ret - CLIENT_FD(0)];
	return use_device(k, s, efd);
}

static void every_allocation_fails_once(void **state)
{
	struct fake *k = *state;
	struct loop *l = loop_new();
	int efd = eventfd(0, EFD_NONBLOCK);
	long ret;

	vfio_set_loop(k->v, l);
	for (fail_at = 1;; fail_at++) {
		struct session s = {0};

		seen = 0;
		ret = open_and_use(k, &s, efd);
		if (s.device)
			fake_close(k, &s.device);
		if (s.group)
			fake_close(k, &s.group);
		if (s.container)
			fake_close(k, &s.container);
		assert_int_equal(mm_charged(k->owner), 0);
		if (seen < fail_at)
			break;
		assert_int_equal(ret, -ENOMEM);
	}
	assert_int_equal(ret, 0);
	assert_in_range(fail_at, 8, 1000); /* as many did fail */
	vfio_set_loop(k->v, NULL);
	loop_free(l);
	close(efd);
}

/* The same with the device's own node, and with a group whose container is the iommufd. */
struct way {
	struct ufile *iommufd, *dev, *group;
};

static long attach_and_map(struct fake *k, struct way *w)
{
	struct iommu_ioas_alloc a = {.size = sizeof(a)};
	struct iommu_ioas_map m = {
	    .size = sizeof(m),
	    .flags = IOMMU_IOAS_MAP_READABLE,
	    .user_va = (uintptr_t)k->mem,
	    .length = 2 * PF_PAGE_SIZE,
	};
	struct vfio_device_attach_iommufd_pt at = {.argsz = 12};
	long ret;

	ret = DO(w->iommufd, IOMMU_IOAS_ALLOC, &a);
	m.ioas_id = at.pt_id = a.out_ioas_id;
	if (!ret)
		ret = DO(w->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &at);
	if (!ret)
		ret = DO(w->iommufd, IOMMU_IOAS_MAP, &m);
	if (!ret)
		ret = DO(w->iommufd, IOMMU_IOAS_ALLOC, &a);
	at.pt_id = m.ioas_id = a.out_ioas_id;
	if (!ret)
		ret = DO(w->iommufd, IOMMU_IOAS_MAP, &m);
	return ret ? ret : DO(w->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &at);
}

static long use_cdev(struct fake *k, struct way *w)
{
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b), .iommufd = fake_fd_of(k, w->iommufd)};
	long ret;

	fake_inside = true;
	ret = vfio_open_cdev(k->v, 0, &w->dev);
	fake_inside = false;
	if (ret)
		return ret;
	k->file[1] = w->dev;
	ret = DO(w->dev, VFIO_DEVICE_BIND_IOMMUFD, &b);
	return ret ? ret : attach_and_map(k, w);
}

static long use_group(struct fake *k, struct way *w)
{
	int32_t fd = fake_fd_of(k, w->iommufd);
	long ret;

	w->group = fake_group(k, 7);
	ret = DO(w->group, VFIO_GROUP_SET_CONTAINER, &fd);
	if (!ret)
		ret = fake_map(k, w->iommufd, 0, (uintptr_t)k->mem, PF_PAGE_SIZE, 3);
	if (ret)
		return ret;
	ret = DO(w->group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
	if (ret < 0)
		return ret;
	w->dev = k->file[ret - CLIENT_FD(0)];
	return 0;
}

static long open_iommufd_and_use(struct fake *k, struct way *w, long (*use)(struct fake *k, struct way *w))
{
	long ret;

	fake_inside = true;
	ret = iommufd_open(k->iommufd, &w->iommufd);
	fake_inside = false;
	if (ret)
		return ret;
	k->file[0] = w->iommufd;
	return use(k, w);
}

static void every_allocation_fails_once_in(struct fake *k, long (*use)(struct fake *k, struct way *w))
{
	long ret;

	for (fail_at = 1;; fail_at++) {
		struct way w = {0};

		seen = 0;
		ret = open_iommufd_and_use(k, &w, use);
		if (w.dev)
			fake_close(k, &w.dev);
		if (w.group)
			fake_close(k, &w.group);
		if (w.iommufd)
			fake_close(k, &w.iommufd);
		assert_int_equal(mm_charged(k->owner), 0);
		assert_null(k->toy[0]->f.sink);
		if (seen < fail_at)
			break;
		assert_int_equal(ret, -ENOMEM);
	}
	assert_int_equal(ret, 0);
	assert_in_range(fail_at, 8, 1000);
}

static void every_allocation_of_a_cdev(void **state)
{
	every_allocation_fails_once_in(*state, use_cdev);
}

static void every_allocation_of_a_group(void **state)
{
	every_allocation_fails_once_in(*state, use_group);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_allocation_fails_once, fake_setup, fake_teardown),
	    cmocka_unit_test_setup_teardown(every_allocation_of_a_cdev, fake_setup, fake_teardown),
	    cmocka_unit_test_setup_teardown(every_allocation_of_a_group, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
