/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual IOMMUs: their devices, events, caches and queues. */
#include <unistd.h>

#include "fd.h"
#include <sys/mman.h>

struct nest {
	uint32_t ioas, parent, viommu;
	struct mock m;
};

static long viommu_alloc(struct fake *k, uint32_t type, uint32_t dev, uint32_t hwpt, uint32_t *id)
{
	struct iommu_viommu_alloc a = {.size = sizeof(a), .type = type, .dev_id = dev, .hwpt_id = hwpt};
	long ret = DO(FD, IOMMU_VIOMMU_ALLOC, &a);

	*id = a.out_viommu_id;
	return ret;
}

static struct nest nest_new(struct fake *k)
{
	struct nest n = {.ioas = fd_ioas(k)};

	n.m = fd_mock(k, n.ioas, 0);
	n.parent = fd_hwpt(k, n.m.dev, n.ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	assert_int_equal(viommu_alloc(k, MOCK_VIOMMU_TYPE, n.m.dev, n.parent, &n.viommu), 0);
	return n;
}

static long vdevice_alloc(struct fake *k, uint32_t viommu, uint32_t dev, uint64_t virt_id, uint32_t *id)
{
	struct iommu_vdevice_alloc a = {.size = sizeof(a), .viommu_id = viommu, .dev_id = dev, .virt_id = virt_id};
	long ret = DO(FD, IOMMU_VDEVICE_ALLOC, &a);

	if (id)
		*id = a.out_vdevice_id;
	return ret;
}

static void alloc(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	uint32_t id;

	assert_int_equal(viommu_alloc(k, IOMMU_VIOMMU_TYPE_DEFAULT, n.m.dev, n.parent, &id), -EOPNOTSUPP);
	assert_int_equal(viommu_alloc(k, IOMMU_VIOMMU_TYPE_ARM_SMMUV3, n.m.dev, n.parent, &id), -EOPNOTSUPP);
	assert_int_equal(viommu_alloc(k, MOCK_VIOMMU_TYPE, n.ioas, n.parent, &id), -ENOENT);
	assert_int_equal(viommu_alloc(k, MOCK_VIOMMU_TYPE, n.m.dev, n.ioas, &id), -ENOENT);
	assert_int_equal(viommu_alloc(k, MOCK_VIOMMU_TYPE, n.m.dev, n.m.hwpt, &id), -EINVAL);
	/* It holds its parent. */
	assert_int_equal(fd_destroy(k, n.parent), -EBUSY);
	fd_destroyed(k, n.viommu);
	fd_destroyed(k, n.parent);
}

/* The user's number comes back twice, and the page can be mapped at the very place that was said. */
static void alloc_with_data(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	struct mock_viommu_data d = {.in_data = 0xcafe};
	struct iommu_viommu_alloc a = {.size = sizeof(a),
				       .type = MOCK_VIOMMU_TYPE,
				       .dev_id = n.m.dev,
				       .hwpt_id = n.parent,
				       .data_len = sizeof(d),
				       .data_uptr = (uintptr_t)&d};
	struct umap map;
	uint32_t *page;

	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), 0);
	assert_int_equal(d.out_data, 0xcafe);
	assert_int_equal(d.out_mmap_length, 2 * PAGE);
	assert_int_not_equal(d.out_mmap_offset, 0);
	assert_int_equal(FD->ops->mmap(FD, d.out_mmap_offset, PAGE, PROT_READ, true, &map), -ENXIO);
	assert_int_equal(FD->ops->mmap(FD, d.out_mmap_offset + PAGE, PAGE, PROT_READ, true, &map), -ENXIO);
	assert_int_equal(FD->ops->mmap(FD, 0, 2 * PAGE, PROT_READ, true, &map), -ENXIO);
	assert_int_equal(FD->ops->mmap(FD, d.out_mmap_offset, 2 * PAGE, PROT_READ, false, &map), -EINVAL);
	assert_int_equal(FD->ops->mmap(FD, d.out_mmap_offset, 2 * PAGE, PROT_EXEC, true, &map), -EPERM);
	assert_int_equal(FD->ops->mmap(FD, d.out_mmap_offset, 2 * PAGE, PROT_READ, true, &map), 0);
	page = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, map.fd, map.fd_off);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(*page, 0xcafe);
	assert_int_not_equal(ftruncate(map.fd, 0), 0);
	fd_destroyed(k, a.out_viommu_id);
	assert_int_equal(FD->ops->mmap(FD, d.out_mmap_offset, 2 * PAGE, PROT_READ, true, &map), -ENXIO);
	assert_int_equal(*page, 0xcafe);
	munmap(page, 2 * PAGE);
	a.data_len = 7;
	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), -EINVAL);
	a.data_len = sizeof(d) + 1;
	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), -EINVAL);
	a.data_len = sizeof(d);
	a.data_uptr = (uintptr_t)k->hole;
	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), -EFAULT);
	/* As programs for 6.16 have it. */
	a.data_uptr = (uintptr_t)&d;
	a.data_len = 8;
	d = (struct mock_viommu_data){.in_data = 5, .out_mmap_offset = 77};
	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), 0);
	assert_int_equal(d.out_data, 5);
	assert_int_equal(d.out_mmap_offset, 77);
}

static void vdevices(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	struct mock other = fd_mock(k, n.ioas, 0);
	uint32_t id, id2, gone;

	assert_int_equal(vdevice_alloc(k, n.viommu, n.ioas, 1, &id), -ENOENT);
	assert_int_equal(vdevice_alloc(k, n.ioas, n.m.dev, 1, &id), -ENOENT);
	assert_int_equal(vdevice_alloc(k, n.viommu, n.m.dev, 0x99, &id), 0);
	assert_int_equal(vdevice_alloc(k, n.viommu, n.m.dev, 0x98, &id2), -EEXIST);
	assert_int_equal(vdevice_alloc(k, n.viommu, other.dev, 0x99, &id2), -EEXIST);
	assert_int_equal(vdevice_alloc(k, n.viommu, other.dev, UINT64_MAX, &id2), 0);
	assert_int_equal(fd_destroy(k, n.viommu), -EBUSY);
	fd_destroyed(k, id);
	assert_int_equal(vdevice_alloc(k, n.viommu, n.m.dev, 0x99, &gone), 0);
	assert_int_equal(gone, id);
	/* A device takes it along, and the id is used up. */
	fd_destroyed(k, n.m.stdev);
	assert_int_equal(fd_destroy(k, gone), -ENOENT);
	for (int i = 0; i < 32; i++)
		assert_int_not_equal(fd_ioas(k), gone);
	fd_destroyed(k, id2);
	fd_destroyed(k, n.viommu);
}

/* ---- nested page tables and caches ---- */

static void nested(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	uint32_t hwpt = fd_nested(k, n.m.dev, n.viommu, 0);

	/* It holds the virtual IOMMU, and needs the device's place in that. */
	assert_int_equal(fd_destroy(k, n.viommu), -EBUSY);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = n.m.stdev, .replace.pt_id = hwpt), -ENOENT);
	assert_int_equal(vdevice_alloc(k, n.viommu, n.m.dev, 1, NULL), 0);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = n.m.stdev, .replace.pt_id = hwpt), 0);
	assert_int_equal(TEST(MOCK_OP_MD_CHECK_IOTLB, .id = hwpt, .check_iotlb = {3, 0xbadbeef}), 0);
	assert_int_equal(fd_destroy(k, hwpt), -EBUSY);
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, CMD(iommu_hwpt_alloc, .dev_id = n.m.dev, .pt_id = n.viommu)),
			 -EOPNOTSUPP);
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC,
			    CMD(iommu_hwpt_alloc, .dev_id = n.m.dev, .pt_id = n.viommu, .data_type = 1, .data_len = 4,
				.data_uptr = (uintptr_t)k->mem)),
			 -EOPNOTSUPP);
	assert_int_equal(
	    DO(FD, IOMMU_HWPT_ALLOC,
	       CMD(iommu_hwpt_alloc, .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING, .dev_id = n.m.dev, .pt_id = n.viommu,
		   .data_type = MOCK_HWPT_DATA, .data_len = 4, .data_uptr = (uintptr_t)k->mem)),
	    -EOPNOTSUPP);
}

static long invalidate(struct fake *k, uint32_t id, uint32_t type, const void *e, uint32_t len, uint32_t *n)
{
	struct iommu_hwpt_invalidate i = {.size = sizeof(i),
					  .hwpt_id = id,
					  .data_uptr = (uintptr_t)e,
					  .data_type = type,
					  .entry_len = len,
					  .entry_num = *n};
	long ret = DO(FD, IOMMU_HWPT_INVALIDATE, &i);

	*n = i.entry_num;
	return ret;
}

static bool cached(struct fake *k, struct nest *n, uint32_t i)
{
	long ret = TEST(MOCK_OP_DEV_CHECK_CACHE, .id = n->m.dev, .check_dev_cache = {i, MOCK_CACHE_DEFAULT});

	if (ret)
		assert_int_equal(TEST(MOCK_OP_DEV_CHECK_CACHE, .id = n->m.dev, .check_dev_cache = {i, 0}), 0);
	return !ret;
}

static void invalidation(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	struct mock_viommu_invalidate e[3] = {
	    {.vdev_id = 9, .cache_id = 1}, {.vdev_id = 9, .cache_id = 4}, {.vdev_id = 9}};
	struct {
		struct mock_viommu_invalidate e;
		uint32_t tail;
	} l = {.e = {.vdev_id = 9, .cache_id = 2}, .tail = 1};
	const uint32_t type = MOCK_VIOMMU_INVALIDATE_DATA;
	uint32_t num = 0;

	assert_int_equal(vdevice_alloc(k, n.viommu, n.m.dev, 9, NULL), 0);
	assert_int_equal(invalidate(k, n.viommu, type, NULL, 0, &num), 0);
	assert_int_equal(invalidate(k, n.viommu, 1, NULL, 0, &num), -EINVAL);
	/* Carried out up to what is wrong. */
	num = 3;
	assert_int_equal(invalidate(k, n.viommu, type, e, sizeof(*e), &num), -EINVAL);
	assert_int_equal(num, 1);
	assert_false(cached(k, &n, 1));
	assert_true(cached(k, &n, 0));
	e[0].flags = 2;
	num = 1;
	assert_int_equal(invalidate(k, n.viommu, type, e, sizeof(*e), &num), -EOPNOTSUPP);
	assert_int_equal(num, 0);
	e[0] = (struct mock_viommu_invalidate){.vdev_id = 8};
	num = 1;
	assert_int_equal(invalidate(k, n.viommu, type, e, sizeof(*e), &num), -EINVAL);
	num = 1;
	assert_int_equal(invalidate(k, n.viommu, type, &l, sizeof(l), &num), -E2BIG);
	assert_int_equal(num, 0);
	l.tail = 0;
	num = 1;
	assert_int_equal(invalidate(k, n.viommu, type, &l, sizeof(l), &num), 0);
	assert_false(cached(k, &n, 2));
	/* A shorter one ends in zeros. */
	num = 1;
	assert_int_equal(invalidate(k, n.viommu, type, &e[2], 8, &num), 0);
	assert_false(cached(k, &n, 0));
	assert_true(cached(k, &n, 3));
	e[0] = (struct mock_viommu_invalidate){.flags = MOCK_INVALIDATE_ALL, .vdev_id = 9};
	num = 1;
	assert_int_equal(invalidate(k, n.viommu, type, e, sizeof(*e), &num), 0);
	assert_false(cached(k, &n, 3));
	assert_int_equal(TEST(MOCK_OP_DEV_CHECK_CACHE, .id = n.m.dev, .check_dev_cache = {4, 0}), -EINVAL);
	assert_int_equal(TEST(MOCK_OP_DEV_CHECK_CACHE, .id = n.ioas), -ENOENT);
}

/* ---- events ---- */

struct vevent {
	struct iommufd_vevent_header h;
	struct mock_vevent e;
};

static struct ufile *eventq(struct fake *k, struct nest *n, uint32_t depth, uint32_t *id)
{
	struct iommu_veventq_alloc a = {
	    .size = sizeof(a), .viommu_id = n->viommu, .type = MOCK_VEVENTQ_TYPE, .veventq_depth = depth};

	assert_int_equal(DO(FD, IOMMU_VEVENTQ_ALLOC, &a), 0);
	if (id)
		*id = a.out_veventq_id;
	return fake_file(k, a.out_veventq_fd);
}

static struct nest nest_with_device(struct fake *k, uint64_t virt_id)
{
	struct nest n = nest_new(k);
	uint32_t hwpt = fd_nested(k, n.m.dev, n.viommu, 0);

	assert_int_equal(vdevice_alloc(k, n.viommu, n.m.dev, virt_id, NULL), 0);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = n.m.stdev, .replace.pt_id = hwpt), 0);
	return n;
}

static void trigger(struct fake *k, struct nest *n, unsigned int times)
{
	while (times--)
		assert_int_equal(TEST(MOCK_OP_TRIGGER_VEVENT, .vevent.dev_id = n->m.dev), 0);
}

static void expect_event(struct fake *k, struct ufile *q, uint32_t sequence)
{
	struct vevent e;

	assert_int_equal(fake_read(k, q, &e, sizeof(e)), sizeof(e));
	assert_int_equal(e.h.flags, 0);
	assert_int_equal(e.h.sequence, sequence);
	assert_int_equal(e.e.virt_id, 0x99);
}

static void expect_lost(struct fake *k, struct ufile *q, uint32_t sequence)
{
	struct iommufd_vevent_header h;

	assert_int_equal(fake_read(k, q, &h, sizeof(h)), sizeof(h));
	assert_int_equal(h.flags, IOMMU_VEVENTQ_FLAG_LOST_EVENTS);
	assert_int_equal(h.sequence, sequence);
}

static void expect_nothing(struct fake *k, struct ufile *q)
{
	struct vevent e;

	assert_int_equal(fake_read(k, q, &e, sizeof(e)), 0);
}

static void eventq_alloc(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	struct iommu_veventq_alloc a = {.size = sizeof(a), .viommu_id = n.viommu, .type = MOCK_VEVENTQ_TYPE};
	struct ufile *q;
	uint32_t id;

	assert_int_equal(DO(FD, IOMMU_VEVENTQ_ALLOC, &a), -EINVAL);
	a.veventq_depth = 2;
	a.type = 0;
	assert_int_equal(DO(FD, IOMMU_VEVENTQ_ALLOC, &a), -EOPNOTSUPP);
	a.type = MOCK_VEVENTQ_TYPE;
	a.__reserved = 1;
	assert_int_equal(DO(FD, IOMMU_VEVENTQ_ALLOC, &a), -EOPNOTSUPP);
	a.__reserved = 0;
	a.viommu_id = n.parent;
	assert_int_equal(DO(FD, IOMMU_VEVENTQ_ALLOC, &a), -ENOENT);
	q = eventq(k, &n, 2, &id);
	a.viommu_id = n.viommu;
	assert_int_equal(DO(FD, IOMMU_VEVENTQ_ALLOC, &a), -EEXIST);
	assert_int_equal(fd_destroy(k, id), -EBUSY);
	assert_int_equal(fd_destroy(k, n.viommu), -EBUSY);
	fake_close(k, &q);
	fd_destroyed(k, id);
	fd_destroyed(k, n.viommu);
}

static void events(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_with_device(k, 0x99);
	struct ufile *q;

	assert_int_equal(TEST(MOCK_OP_TRIGGER_VEVENT, .vevent.dev_id = n.m.dev), -EOPNOTSUPP);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_VEVENT, .vevent.dev_id = n.ioas), -ENOENT);
	q = eventq(k, &n, 2, NULL);
	trigger(k, &n, 1);
	expect_event(k, q, 0);
	expect_nothing(k, q);
	/* More than it is deep: what came first stays, and the header says that there was more. */
	trigger(k, &n, 4);
	expect_event(k, q, 1);
	expect_event(k, q, 2);
	expect_lost(k, q, 3);
	expect_nothing(k, q);
	trigger(k, &n, 2);
	expect_event(k, q, 5);
	/* One has been read: there is room for one, not for two. */
	trigger(k, &n, 2);
	expect_event(k, q, 6);
	expect_event(k, q, 7);
	expect_lost(k, q, 8);
	fake_write(k, q, "hello", 5);
	expect_nothing(k, q);
}

/* A device that the guest has no name for, or that works behind another page table, is silent. */
static void no_event(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_with_device(k, 0);

	eventq(k, &n, 2, NULL);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_VEVENT, .vevent.dev_id = n.m.dev), -ENOENT);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = n.m.stdev, .replace.pt_id = n.ioas), 0);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_VEVENT, .vevent.dev_id = n.m.dev), -ENOENT);
}

/* The descriptor has less room than the queue is deep: events wait, and come whole. */
static void events_wait(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_with_device(k, 0x99);
	struct ufile *q;

	k->stream_room = 30;
	q = eventq(k, &n, 10, NULL);
	trigger(k, &n, 12);
	for (uint32_t i = 0; i < 10; i++)
		expect_event(k, q, i);
	expect_lost(k, q, 10);
	expect_nothing(k, q);
}

/* Nobody listens any more; the descriptor outlives everything else. */
static void events_unheard(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_with_device(k, 0x99);
	struct ufile *q = eventq(k, &n, 1, NULL), *f = FD;

	trigger(k, &n, 3);
	fake_close(k, &q);
	trigger(k, &n, 3);
	fake_close(k, &f);
}

/* ---- queues ---- */

static long queue(struct fake *k, struct nest *n, uint32_t index, uint64_t iova, uint64_t len, uint32_t *id)
{
	struct iommu_hw_queue_alloc a = {.size = sizeof(a),
					 .viommu_id = n->viommu,
					 .type = MOCK_HW_QUEUE_TYPE,
					 .index = index,
					 .nesting_parent_iova = iova,
					 .length = len};
	long ret = DO(FD, IOMMU_HW_QUEUE_ALLOC, &a);

	*id = a.out_hw_queue_id;
	return ret;
}

#define BASE (1ull << 24)

static void hw_queues(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	uint32_t q0, q1, id;

	assert_int_equal(queue(k, &n, 0, BASE, 0, &id), -EINVAL);
	assert_int_equal(queue(k, &n, 0, UINT64_MAX, 2, &id), -EOVERFLOW);
	assert_int_equal(queue(k, &n, 0, PAGE - 1, UINT64_MAX - PAGE + 2, &id), -ERANGE);
	assert_int_equal(queue(k, &n, 0, 0, UINT64_MAX, &id), -ERANGE);
	assert_int_equal(queue(k, &n, 0, 0, 1ull << 40, &id), -ENOMEM);
	assert_int_equal(queue(k, &n, 0, BASE, PAGE, &id), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_HW_QUEUE_ALLOC, CMD(iommu_hw_queue_alloc, .viommu_id = n.viommu, .length = 1)),
			 -EOPNOTSUPP);
	assert_int_equal(
	    DO(FD, IOMMU_HW_QUEUE_ALLOC, CMD(iommu_hw_queue_alloc, .viommu_id = n.viommu, .type = 1, .length = 1)),
	    -EOPNOTSUPP);
	/* Two pages in order, then two whose memory lies the other way round. */
	assert_int_equal(fd_map(k, n.ioas, k->mem, 2 * PAGE, BASE), 0);
	assert_int_equal(fd_map(k, n.ioas, k->mem + PAGE, PAGE, BASE + 2 * PAGE), 0);
	assert_int_equal(queue(k, &n, 0, BASE, 3 * PAGE, &id), -EFAULT);
	assert_int_equal(queue(k, &n, 0, BASE + PAGE - 1, PAGE + 2, &id), -EFAULT);
	assert_int_equal(queue(k, &n, 2, BASE, PAGE, &id), -EINVAL);
	assert_int_equal(queue(k, &n, 1, BASE, PAGE, &id), -EIO);
	assert_int_equal(queue(k, &n, 0, BASE + 1, 2 * PAGE - 1, &q0), 0);
	assert_int_equal(queue(k, &n, 0, BASE, PAGE, &id), -EEXIST);
	assert_int_equal(queue(k, &n, 1, BASE + PAGE, PAGE, &q1), 0);
	/* The second stands on the first. */
	assert_int_equal(fd_destroy(k, q0), -EBUSY);
	assert_int_equal(fd_destroy(k, n.viommu), -EBUSY);
	fd_destroyed(k, q1);
	fd_destroyed(k, q0);
	fd_destroyed(k, n.viommu);
}

static void hw_queue_memory_stays(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_new(k);
	struct iommu_ioas_unmap u = {.size = sizeof(u), .ioas_id = n.ioas, .iova = BASE, .length = 3 * PAGE};
	uint32_t q0;

	for (int i = 0; i < 3; i++)
		assert_int_equal(fd_map(k, n.ioas, k->mem + i * PAGE, PAGE, BASE + i * PAGE), 0);
	assert_int_equal(queue(k, &n, 0, BASE + PAGE + 16, 64, &q0), 0);
	/* What lies below it goes. */
	assert_int_equal(DO(FD, IOMMU_IOAS_UNMAP, &u), -EBUSY);
	assert_int_equal(mm_charged(k->owner), 2);
	u.iova += PAGE;
	u.length = 2048;
	assert_int_equal(DO(FD, IOMMU_IOAS_UNMAP, &u), -EBUSY);
	fd_destroyed(k, q0);
	u.length = 2 * PAGE;
	assert_int_equal(DO(FD, IOMMU_IOAS_UNMAP, &u), 0);
	assert_int_equal(mm_charged(k->owner), 0);
}

/* With everything in use. */
static void close_all(void **state)
{
	struct fake *k = *state;
	struct nest n = nest_with_device(k, 0x99);
	struct ufile *q = eventq(k, &n, 1, NULL), *f = FD;
	uint32_t id;

	assert_int_equal(fd_map(k, n.ioas, k->mem, PAGE, BASE), 0);
	assert_int_equal(queue(k, &n, 0, BASE, PAGE, &id), 0);
	assert_int_equal(queue(k, &n, 1, BASE, PAGE, &id), 0);
	trigger(k, &n, 2);
	fake_close(k, &f);
	expect_event(k, q, 0);
}

/* Asked for again and again, an input is asked for once each time; nothing happens twice. */
static void again(void **state)
{
	struct fake *k = *state;

	k->again = true;
	alloc_with_data(state);
	invalidation(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(alloc),	     T(alloc_with_data), T(vdevices),  T(nested),
	    T(invalidation), T(eventq_alloc),	 T(events),    T(no_event),
	    T(events_wait),  T(events_unheard),	 T(hw_queues), T(hw_queue_memory_stays),
	    T(close_all),    T(again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
