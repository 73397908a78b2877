/* SPDX-License-Identifier: BSD-3-Clause */
/* Which ioctl is known, the rules for sizes, and the life of objects. */
#include <stdlib.h>
#include <sys/mman.h>

#include "fd.h"

#define OFFSETOFEND(t, m) (offsetof(t, m) + sizeof(((t *)0)->m))
#define ENTRY(nr, type, last)                                                                                          \
	{                                                                                                              \
		nr, OFFSETOFEND(struct type, last), sizeof(struct type)                                                \
	}

static const struct {
	unsigned int nr, min, size;
} known[] = {
    ENTRY(0x80, iommu_destroy, id),
    ENTRY(0x81, iommu_ioas_alloc, out_ioas_id),
    ENTRY(0x82, iommu_ioas_allow_iovas, allowed_iovas),
    ENTRY(0x83, iommu_ioas_copy, src_iova),
    ENTRY(0x84, iommu_ioas_iova_ranges, out_iova_alignment),
    ENTRY(0x85, iommu_ioas_map, iova),
    ENTRY(0x86, iommu_ioas_unmap, length),
    ENTRY(0x87, iommu_option, val64),
    ENTRY(0x88, iommu_vfio_ioas, __reserved),
    ENTRY(0x89, iommu_hwpt_alloc, __reserved),
    ENTRY(0x8a, iommu_hw_info, __reserved),
    ENTRY(0x8b, iommu_hwpt_set_dirty_tracking, __reserved),
    ENTRY(0x8c, iommu_hwpt_get_dirty_bitmap, data),
    ENTRY(0x8d, iommu_hwpt_invalidate, __reserved),
    ENTRY(0x8e, iommu_fault_alloc, out_fault_fd),
    ENTRY(0x8f, iommu_ioas_map_file, iova),
    ENTRY(0x90, iommu_viommu_alloc, out_viommu_id),
    ENTRY(0x91, iommu_vdevice_alloc, virt_id),
    ENTRY(0x92, iommu_ioas_change_process, __reserved),
    ENTRY(0x93, iommu_veventq_alloc, __reserved),
    ENTRY(0x94, iommu_hw_queue_alloc, length),
    ENTRY(0xa0, mock_cmd, last),
};

/* One byte short, one byte long: zero or not. What is passed says more than what is there. */
static void sizes(void **state)
{
	struct fake *k = *state;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		unsigned int cmd = IOMMUFD_NR(known[i].nr);
		union {
			uint32_t size;
			uint8_t bytes[256];
		} s = {.size = known[i].min - 1};
		long exact;

		assert_int_equal(DO(FD, cmd, &s), -EINVAL);
		s.size = 0;
		assert_int_equal(DO(FD, cmd, &s), -EINVAL);
		assert_int_equal(DO(FD, cmd, k->hole), -EFAULT);
		assert_int_equal(DO(FD, cmd, NULL), -EFAULT);
		memset(&s, 0xff, sizeof(s));
		s.size = known[i].size + 1;
		assert_int_equal(DO(FD, cmd, &s), -E2BIG);
		memset(&s, 0, sizeof(s));
		s.size = known[i].size;
		exact = DO(FD, cmd, &s);
		/* Descriptors of queues stay open to the end of the test. */
		for (size_t len = known[i].min; len < sizeof(s); len += len < known[i].size ? 1 : 40) {
			memset(&s, 0, sizeof(s));
			s.size = len;
			assert_int_equal(DO(FD, cmd, &s), exact);
		}
		for (int f = 1; f < CLIENT_FDS; f++)
			if (k->file[f])
				fake_close(k, &(struct ufile *){k->file[f]});
	}
}

/* A structure at the end of what is mapped, of which the size says that there is more. */
static void tail_unreadable(void **state)
{
	struct fake *k = *state;
	uint8_t *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iommu_ioas_alloc *a;

	assert_int_equal(mprotect(two + PAGE, PAGE, PROT_NONE), 0);
	a = (void *)(two + PAGE - sizeof(*a));
	a->size = sizeof(*a) + 8;
	assert_int_equal(DO(FD, IOMMU_IOAS_ALLOC, a), -EFAULT);
	a->size = sizeof(*a);
	assert_int_equal(DO(FD, IOMMU_IOAS_ALLOC, a), 0);
	assert_int_equal(a->out_ioas_id, 1);
	a = (void *)(two + PAGE - 8);
	a->size = sizeof(*a);
	assert_int_equal(DO(FD, IOMMU_IOAS_ALLOC, a), -EFAULT);
	munmap(two, 2 * PAGE);
}

/* What cannot be written back has not happened. */
static void answer_unwritable(void **state)
{
	struct fake *k = *state;

	k->no_room = true;
	assert_int_equal(DO(FD, IOMMU_IOAS_ALLOC, CMD(iommu_ioas_alloc)), -ENOMEM);
	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, CMD(iommu_fault_alloc)), -ENOMEM);
	k->no_room = false;
	assert_int_equal(fd_ioas(k), 1);
}

static void unknown(void **state)
{
	struct fake *k = *state;
	struct iommu_destroy d = {.size = sizeof(d)};

	assert_int_equal(DO(FD, IOMMUFD_NR(0x7f), &d), -ENOTTY);
	assert_int_equal(DO(FD, IOMMUFD_NR(0x95), &d), -ENOTTY);
	assert_int_equal(DO(FD, IOMMUFD_NR(0x9f), &d), -ENOTTY);
	assert_int_equal(DO(FD, IOMMUFD_NR(0xa1), &d), -ENOTTY);
	assert_int_equal(DO(FD, IOMMUFD_NR(0xff), &d), -ENOTTY);
	assert_int_equal(DO(FD, _IO('!', 0x80), &d), -ENOTTY);
	assert_int_equal(DO(FD, _IOW(IOMMUFD_TYPE, 0x80, struct iommu_destroy), &d), -ENOTTY);
}

static void test_interface_off(void **state)
{
	struct fake *k = *state;
	struct iommufd *m = iommufd_new(&k->evs, k->cache, false);
	struct ufile *f;

	assert_int_equal(iommufd_open(m, &f), 0);
	assert_int_equal(DO(f, IOMMUFD_NR(IOMMUFD_CMD_TEST), CMD(mock_cmd, .op = MOCK_OP_ADD_RESERVED)), -ENOTTY);
	/* Nor is its client privileged now. */
	k->capable = false;
	assert_int_equal(DO(f, IOMMU_OPTION, CMD(iommu_option, .op = IOMMU_OPTION_OP_SET, .val64 = 1)), -EPERM);
	ufile_put(f);
	iommufd_free(m);
}

static void unknown_flags(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct mock m = fd_mock(k, ioas, 0);

	for (unsigned int bit = 0; bit < 32; bit++) {
		uint32_t flag = 1u << bit;

		assert_int_equal(DO(FD, IOMMU_IOAS_ALLOC, CMD(iommu_ioas_alloc, .flags = flag)), -EOPNOTSUPP);
		assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, CMD(iommu_fault_alloc, .flags = flag)), -EOPNOTSUPP);
		assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, CMD(iommu_viommu_alloc, .flags = flag, .type = 1)),
				 -EOPNOTSUPP);
		assert_int_equal(
		    DO(FD, IOMMU_VEVENTQ_ALLOC, CMD(iommu_veventq_alloc, .flags = flag, .type = 1, .veventq_depth = 1)),
		    -EOPNOTSUPP);
		assert_int_equal(DO(FD, IOMMU_HW_QUEUE_ALLOC, CMD(iommu_hw_queue_alloc, .flags = flag, .type = 1)),
				 -EOPNOTSUPP);
		if (flag > IOMMU_IOAS_MAP_READABLE) {
			assert_int_equal(DO(FD, IOMMU_IOAS_MAP, CMD(iommu_ioas_map, .flags = flag)), -EOPNOTSUPP);
			assert_int_equal(DO(FD, IOMMU_IOAS_MAP_FILE, CMD(iommu_ioas_map_file, .flags = flag)),
					 -EOPNOTSUPP);
			assert_int_equal(DO(FD, IOMMU_IOAS_COPY, CMD(iommu_ioas_copy, .flags = flag)), -EOPNOTSUPP);
		}
		if (flag > IOMMU_HWPT_ALLOC_PASID)
			assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC,
					    CMD(iommu_hwpt_alloc, .flags = flag, .dev_id = m.dev, .pt_id = ioas)),
					 -EOPNOTSUPP);
		if (bit) {
			assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, CMD(iommu_hw_info, .flags = flag, .dev_id = m.dev)),
					 -EOPNOTSUPP);
			assert_int_equal(DO(FD, IOMMU_HWPT_SET_DIRTY_TRACKING,
					    CMD(iommu_hwpt_set_dirty_tracking, .flags = flag, .hwpt_id = m.hwpt)),
					 -EOPNOTSUPP);
			assert_int_equal(DO(FD, IOMMU_HWPT_GET_DIRTY_BITMAP,
					    CMD(iommu_hwpt_get_dirty_bitmap, .flags = flag, .hwpt_id = m.hwpt)),
					 -EOPNOTSUPP);
		}
	}
	assert_int_equal(DO(FD, IOMMU_IOAS_CHANGE_PROCESS, CMD(iommu_ioas_change_process, .__reserved = 1)),
			 -EOPNOTSUPP);
}

/* ---- objects ---- */

static void ids(void **state)
{
	struct fake *k = *state;
	uint32_t a = fd_ioas(k), b = fd_ioas(k), c = fd_ioas(k);

	assert_int_equal(a, 1);
	assert_int_equal(b, 2);
	assert_int_equal(c, 3);
	fd_destroyed(k, b);
	assert_int_equal(fd_destroy(k, b), -ENOENT);
	assert_int_equal(fd_ioas(k), b);
	assert_int_equal(fd_destroy(k, 0), -ENOENT);
	assert_int_equal(fd_destroy(k, 4), -ENOENT);
	assert_int_equal(fd_destroy(k, UINT32_MAX), -ENOENT);
}

/* An id of another kind is no id at all. */
static void wrong_kind(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct mock m = fd_mock(k, ioas, 0);

	assert_int_equal(fd_map(k, m.dev, k->mem, PAGE, 0), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_IOAS_UNMAP, CMD(iommu_ioas_unmap, .ioas_id = m.hwpt, .length = PAGE)), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, CMD(iommu_hw_info, .dev_id = ioas)), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, CMD(iommu_hwpt_alloc, .dev_id = m.hwpt, .pt_id = ioas)), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_HWPT_SET_DIRTY_TRACKING, CMD(iommu_hwpt_set_dirty_tracking, .hwpt_id = ioas)),
			 -ENOENT);
	assert_int_equal(DO(FD, IOMMU_HWPT_INVALIDATE, CMD(iommu_hwpt_invalidate, .hwpt_id = m.hwpt)), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_VDEVICE_ALLOC, CMD(iommu_vdevice_alloc, .viommu_id = ioas, .dev_id = m.dev)),
			 -ENOENT);
}

static void busy(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), parent, nested, id;
	struct mock m = fd_mock(k, ioas, 0);
	struct iommu_fault_alloc fa = {.size = sizeof(fa)};
	struct ufile *q;

	assert_int_equal(fd_destroy(k, ioas), -EBUSY);
	assert_int_equal(fd_destroy(k, m.hwpt), -EBUSY);
	assert_int_equal(fd_destroy(k, m.dev), -EBUSY);
	parent = fd_hwpt(k, m.dev, ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	nested = fd_nested(k, m.dev, parent, 0);
	assert_int_equal(fd_destroy(k, parent), -EBUSY);
	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa), 0);
	q = fake_file(k, fa.out_fault_fd);
	assert_int_equal(fd_destroy(k, fa.out_fault_id), -EBUSY);
	fake_close(k, &q);
	fd_destroyed(k, fa.out_fault_id);
	fd_destroyed(k, nested);
	fd_destroyed(k, parent);
	/* The automatic page table goes with its last device. */
	id = m.hwpt;
	fd_destroyed(k, m.stdev);
	assert_int_equal(fd_destroy(k, m.dev), -ENOENT);
	assert_int_equal(fd_destroy(k, id), -ENOENT);
	fd_destroyed(k, ioas);
}

/* Everything in use when the last descriptor is closed. */
static void close_all(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct mock m = fd_mock(k, ioas, 0);
	uint32_t parent = fd_hwpt(k, m.dev, ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	struct ufile *f = FD;

	fd_nested(k, m.dev, parent, 0);
	assert_int_equal(fd_map(k, ioas, k->mem, 4 * PAGE, 1 << 24), 0);
	assert_int_equal(mm_charged(k->owner), 4);
	fake_close(k, &f);
	assert_int_equal(mm_charged(k->owner), 0);
}

/* A fault queue's descriptor keeps what it belongs to. */
static void queue_outlives(void **state)
{
	struct fake *k = *state;
	struct iommu_fault_alloc fa = {.size = sizeof(fa)};
	struct ufile *f = FD;

	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa), 0);
	fake_close(k, &f);
	assert_non_null(fake_file(k, fa.out_fault_fd));
}

static void no_descriptor_left(void **state)
{
	struct fake *k = *state;
	struct iommu_fault_alloc fa = {.size = sizeof(fa)};

	for (int i = 1; i < CLIENT_FDS; i++)
		assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa), 0);
	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa), -EMFILE);
	assert_int_equal(fd_ioas(k), CLIENT_FDS);
}

static void option_busy(void **state)
{
	struct fake *k = *state;
	struct iommu_option o = {.size = sizeof(o), .op = IOMMU_OPTION_OP_SET, .val64 = 1};
	uint32_t ioas;

	assert_int_equal(DO(FD, IOMMU_OPTION, &o), 0);
	o.val64 = 2;
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EINVAL);
	ioas = fd_ioas(k);
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EBUSY);
	o.op = IOMMU_OPTION_OP_GET;
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), 0);
	assert_int_equal(o.val64, 1);
	o.option_id = 77;
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EOPNOTSUPP);
	o = (struct iommu_option){.size = sizeof(o), .option_id = IOMMU_OPTION_HUGE_PAGES, .object_id = ioas};
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), 0);
	o.object_id = 99;
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(sizes),	    T(tail_unreadable),	   T(answer_unwritable),
	    T(unknown),	    T(test_interface_off), T(unknown_flags),
	    T(ids),	    T(wrong_kind),	   T(busy),
	    T(close_all),   T(queue_outlives),	   T(no_descriptor_left),
	    T(option_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
