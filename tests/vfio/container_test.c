/* SPDX-License-Identifier: BSD-3-Clause */
/* Containers, groups, and who keeps whom alive. */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNKNOWN _IO(VFIO_TYPE, 99)

static void extensions(void **state)
{
	static const uint8_t want[14] = {[1] = 1, [3] = 1, [6] = 1, [9] = 1};
	struct fake *k = *state;
	struct ufile *c = fake_container(k);
	unsigned int i;

	assert_int_equal(DO(c, VFIO_GET_API_VERSION, 0), 0);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(DO(c, VFIO_CHECK_EXTENSION, i), want[i]);
	assert_int_equal(DO(c, VFIO_CHECK_EXTENSION, UINT64_MAX), 0);
	fake_close(k, &c);
}

static void container_alone(void **state)
{
	struct fake *k = *state;
	struct ufile *c = fake_container(k);

	assert_int_equal(DO(c, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL);
	assert_int_equal(DO(c, VFIO_IOMMU_GET_INFO, k->hole), -EINVAL);
	assert_int_equal(DO(c, UNKNOWN, 0), -EINVAL);
	fake_close(k, &c);
}

static void set_iommu(void **state)
{
	struct fake *k = *state;
	struct ufile *c = fake_container(k), *g = fake_group(k, 7);
	int32_t fd = fake_fd_of(k, c);
	unsigned int i;

	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	for (i = 0; i < 12; i++)
		if (i != 1 && i != 3)
			assert_int_equal(DO(c, VFIO_SET_IOMMU, i),
					 i == VFIO_UNMAP_ALL || i == VFIO_TYPE1_NESTING_IOMMU ? -EINVAL : -ENODEV);
	assert_int_equal(DO(c, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	assert_int_equal(DO(c, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -EINVAL);
	assert_int_equal(DO(c, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), 1);
	assert_int_equal(DO(c, UNKNOWN, 0), -ENOTTY);
	fake_close(k, &g);
	/* The last group has left: the container is as new. */
	assert_int_equal(DO(c, VFIO_IOMMU_GET_INFO, k->hole), -EINVAL);
	fake_close(k, &c);
}

static void group_status(void **state)
{
	struct fake *k = *state;
	struct ufile *c = fake_container(k), *g = fake_group(k, 7);
	struct vfio_group_status st = {.argsz = sizeof(st)};
	int32_t fd = fake_fd_of(k, c);

	assert_int_equal(DO(g, VFIO_GROUP_GET_STATUS, &st), 0);
	assert_int_equal(st.flags, VFIO_GROUP_FLAGS_VIABLE);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(g, VFIO_GROUP_GET_STATUS, &st), 0);
	assert_int_equal(st.flags, VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	st.argsz--;
	assert_int_equal(DO(g, VFIO_GROUP_GET_STATUS, &st), -EINVAL);
	assert_int_equal(DO(g, VFIO_GROUP_GET_STATUS, k->hole), -EFAULT);
	assert_int_equal(DO(g, UNKNOWN, 0), -ENOTTY);
	fake_close(k, &g);
	fake_close(k, &c);
}

static void set_container(void **state)
{
	struct fake *k = *state;
	struct ufile *c = fake_container(k), *g = fake_group(k, 7);
	int null = open("/dev/null", O_RDONLY);
	int32_t good = fake_fd_of(k, c), self = fake_fd_of(k, g), closed = 999, minus = -1;

	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), -EINVAL);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, k->hole), -EFAULT);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &closed), -EBADF);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &minus), -EBADF);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &null), -EBADFD);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &self), -EBADFD);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &good), 0);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &good), -EINVAL);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &null), -EINVAL);
	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	fake_close(k, &g);
	fake_close(k, &c);
	close(null);
}

static void get_device_fd(void **state)
{
	struct fake *k = *state;
	struct ufile *c = fake_container(k), *g = fake_group(k, 7), *d, *d2;
	int32_t fd = fake_fd_of(k, c);
	static const struct {
		const char *name;
		long want;
	} bad[] = {
	    {"0000:03:00.0", -ENODEV},
	    {"0000:01:00.1", -ENODEV}, /* another group's */
	    {"", -ENODEV},
	    {"0000:01:00.0x", -ENODEV},
	    {"0000:01:00.0 foo", -EINVAL},
	    {"0000:01:00.0 vf_token=xx", -EINVAL},
	    {"0000:01:00.0 vf_token=2ab74924-c335-45f4-9b16-8569e5b08258", -EINVAL},
	};
	unsigned int i;

	assert_int_equal(DO(g, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -EINVAL);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(g, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -EINVAL);
	assert_int_equal(DO(c, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(DO(g, VFIO_GROUP_GET_DEVICE_FD, bad[i].name), bad[i].want);
	assert_int_equal(DO(g, VFIO_GROUP_GET_DEVICE_FD, k->hole), -EFAULT);
	d = fake_device(k, g, "0000:01:00.0  ");
	d2 = fake_device(k, g, "0000:01:00.0");
	assert_ptr_not_equal(d, d2);
	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), -EBUSY);
	assert_int_equal(k->toy[0]->resets, 1);
	fake_close(k, &d);
	assert_int_equal(k->toy[0]->resets, 1);
	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), -EBUSY);
	fake_close(k, &d2);
	assert_int_equal(k->toy[0]->resets, 2);
	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	fake_close(k, &g);
	fake_close(k, &c);
}

/* A name that ends at the last byte before unreadable memory, and one that never ends. */
static void device_name_at_the_edge(void **state)
{
	static const char name[] = "0000:01:00.0";
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	char *two = mmap(NULL, 3 * PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ufile *d;

	assert_int_equal(mprotect(two + PF_PAGE_SIZE, PF_PAGE_SIZE, PROT_NONE), 0);
	memcpy(two + PF_PAGE_SIZE - sizeof(name), name, sizeof(name));
	d = fake_device(k, s.group, two + PF_PAGE_SIZE - sizeof(name));
	fake_close(k, &d);
	memcpy(two + PF_PAGE_SIZE - 5, name, 5);
	assert_int_equal(DO(s.group, VFIO_GROUP_GET_DEVICE_FD, two + PF_PAGE_SIZE - 5), -EFAULT);
	assert_int_equal(mprotect(two, 3 * PF_PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	memset(two, ' ', 2 * PF_PAGE_SIZE);
	memcpy(two, name, sizeof(name) - 1);
	assert_int_equal(DO(s.group, VFIO_GROUP_GET_DEVICE_FD, two), -EINVAL);
	munmap(two, 3 * PF_PAGE_SIZE);
	fake_session_close(k, &s);
}

static void no_descriptor_left(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct ufile *more[CLIENT_FDS];
	unsigned int n = 0, i;
	long ret;

	while ((ret = DO(s.group, VFIO_GROUP_GET_DEVICE_FD, "0000:02:00.0")) >= 0)
		more[n++] = k->file[ret - CLIENT_FD(0)];
	assert_int_equal(ret, -EMFILE);
	for (i = 0; i < n; i++)
		fake_close(k, &more[i]);
	fake_session_close(k, &s);
	assert_null(k->toy[1]->f.sink);
}

static void rule_one_owner(void **state)
{
	struct fake *k = *state;
	struct session s;
	struct ufile *f;

	assert_int_equal(vfio_open_group(k->v, 8, &f), -ENOENT);
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	assert_int_equal(vfio_open_group(k->v, 7, &f), -EBUSY);
	/* The group's own descriptor is closed; the device still speaks for it. */
	fake_close(k, &s.group);
	assert_int_equal(vfio_open_group(k->v, 7, &f), -EBUSY);
	fake_close(k, &s.device);
	assert_int_equal(vfio_open_group(k->v, 7, &f), 0);
	ufile_put(f);
	fake_close(k, &s.container);
}

/* Descriptors are closed in every order; DMA works until the last that vouches for it is gone. */
static void closing_in_any_order(void **state)
{
	static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct fake *k = *state;
	unsigned int i, j;
	uint32_t v;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
		struct ufile **f[3] = {&s.container, &s.group, &s.device};
		struct dma_dev *dma = k->toy[0]->f.dma;

		assert_int_equal(fake_map(k, s.container, 0x10000, (uintptr_t)k->mem, PF_PAGE_SIZE, 3), 0);
		pci_cfg_write(&k->toy[0]->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		for (j = 0; j < 3; j++) {
			assert_int_equal(dma_read(dma, IOVA(0x10000), &v, 4, NULL), s.device ? 0 : -EFAULT);
			fake_close(k, f[order[i][j]]);
		}
		/* Not for want of bus mastering alone. */
		dma_dev_set_master(dma, true);
		assert_int_equal(dma_read(dma, IOVA(0x10000), &v, 4, NULL), -EFAULT);
		dma_dev_set_master(dma, false);
		assert_int_equal(mm_charged(k->owner), 0);
	}
}

/* Two groups in one container see the same memory, also the one that joins late; the first to leave takes nothing. */
static void two_groups(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct ufile *g = fake_group(k, 9);
	int32_t fd = fake_fd_of(k, s.container);
	struct dma_dev *dma = k->toy[2]->f.dma;
	uint32_t v;

	assert_int_equal(fake_map(k, s.container, 0x10000, (uintptr_t)k->mem, PF_PAGE_SIZE, 3), 0);
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	dma_dev_set_master(dma, true);
	assert_int_equal(dma_read(dma, IOVA(0x10000), &v, 4, NULL), 0);
	fake_close(k, &s.device);
	fake_close(k, &s.group);
	assert_int_equal(dma_read(dma, IOVA(0x10000), &v, 4, NULL), 0);
	assert_int_equal(mm_charged(k->owner), 1);
	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	assert_int_equal(dma_read(dma, IOVA(0x10000), &v, 4, NULL), -EFAULT);
	assert_int_equal(mm_charged(k->owner), 0);
	dma_dev_set_master(dma, false);
	fake_close(k, &g);
	fake_close(k, &s.container);
}

static void address_taken(void **state)
{
	struct fake *k = *state;

	assert_int_equal(vfio_add(k->v, &k->toy[0]->f), -EEXIST);
	assert_ptr_equal(vfio_func(k->v, 0), &k->toy[0]->f);
	assert_ptr_equal(vfio_func(k->v, 2), &k->toy[2]->f);
	assert_null(vfio_func(k->v, 3));
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(extensions),
	    T(container_alone),
	    T(set_iommu),
	    T(group_status),
	    T(set_container),
	    T(get_device_fd),
	    T(device_name_at_the_edge),
	    T(no_descriptor_left),
	    T(rule_one_owner),
	    T(closing_in_any_order),
	    T(two_groups),
	    T(address_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
