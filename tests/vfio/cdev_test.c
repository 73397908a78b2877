/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices by their own node, groups whose container is an iommufd, and that the two never share one (rule B4). */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BUF_IOVA 0x10000

static uint32_t ioas_alloc(struct fake *k, struct ufile *f)
{
	struct iommu_ioas_alloc a = {.size = sizeof(a)};

	assert_int_equal(DO(f, IOMMU_IOAS_ALLOC, &a), 0);
	return a.out_ioas_id;
}

static long ioas_map(struct fake *k, struct ufile *f, uint32_t ioas, unsigned int page)
{
	struct iommu_ioas_map m = {
	    .size = sizeof(m),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
	    .ioas_id = ioas,
	    .user_va = (uintptr_t)k->mem + page * PF_PAGE_SIZE,
	    .length = PF_PAGE_SIZE,
	    .iova = BUF_IOVA,
	};

	return DO(f, IOMMU_IOAS_MAP, &m);
}

static long destroy(struct fake *k, struct ufile *f, uint32_t id)
{
	struct iommu_destroy d = {.size = sizeof(d), .id = id};

	return DO(f, IOMMU_DESTROY, &d);
}

static long bind_fd(struct fake *k, struct ufile *dev, int fd, uint32_t *id)
{
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b), .iommufd = fd, .out_devid = 0xeeee};
	long ret = DO(dev, VFIO_DEVICE_BIND_IOMMUFD, &b);

	if (ret)
		assert_int_equal(b.out_devid, 0xeeee);
	if (id)
		*id = b.out_devid;
	return ret;
}

static long bind_to(struct fake *k, struct ufile *dev, struct ufile *f)
{
	return bind_fd(k, dev, fake_fd_of(k, f), NULL);
}

static long attach(struct fake *k, struct ufile *dev, uint32_t pt)
{
	struct vfio_device_attach_iommufd_pt a = {.argsz = 12, .pt_id = pt};

	return DO(dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a);
}

static long detach(struct fake *k, struct ufile *dev)
{
	struct vfio_device_detach_iommufd_pt d = {.argsz = 8};

	return DO(dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d);
}

/* What a function reads at BUF_IOVA, or -EFAULT. */
static long seen(struct fake *k, unsigned int toy)
{
	struct dma_dev *dma = k->toy[toy]->f.dma;
	uint8_t byte = 0;
	int ret;

	dma_dev_set_master(dma, true);
	ret = dma_read(dma, IOVA(BUF_IOVA), &byte, 1, NULL);
	dma_dev_set_master(dma, false);
	return ret ? ret : byte;
}

/* 01:00.0 bound and attached, with one page of the client's mapped that holds byte 7. */
struct bound {
	struct ufile *fd, *dev;
	uint32_t ioas;
};

static struct bound bound(struct fake *k)
{
	struct bound b = {.fd = fake_iommufd(k), .dev = fake_cdev(k, 0)};

	assert_int_equal(bind_to(k, b.dev, b.fd), 0);
	b.ioas = ioas_alloc(k, b.fd);
	assert_int_equal(attach(k, b.dev, b.ioas), 0);
	assert_int_equal(ioas_map(k, b.fd, b.ioas, 0), 0);
	k->mem[0] = 7;
	assert_int_equal(seen(k, 0), 7);
	return b;
}

static void nothing_before_bind(void **state)
{
	struct fake *k = *state;
	struct ufile *d = fake_cdev(k, 0), *f;
	struct umap m;
	uint32_t v = 0;

	assert_int_equal(vfio_open_cdev(k->v, TOYS, &f), -ENOENT);
	assert_string_equal(d->ops->name, "/dev/vfio/devices/vfio0");
	for (unsigned int nr = 0; nr < 64; nr++)
		if (nr != 18)
			assert_int_equal(DO(d, _IO(VFIO_TYPE, VFIO_BASE + nr), k->hole), -EINVAL);
	assert_int_equal(d->ops->pread(d, &v, 4, (uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40), -EINVAL);
	assert_int_equal(d->ops->pwrite(d, &v, 4, (uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40), -EINVAL);
	assert_int_equal(d->ops->mmap(d, 0, PF_PAGE_SIZE, 1, true, &m), -EINVAL);
	assert_int_equal(k->toy[0]->resets, 0);
	fake_close(k, &d);
	assert_int_equal(k->toy[0]->resets, 0);
}

static void bind_errors(void **state)
{
	struct fake *k = *state;
	struct ufile *f = fake_iommufd(k), *c = fake_container(k), *d = fake_cdev(k, 0), *second = fake_cdev(k, 0);
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b), .iommufd = fake_fd_of(k, f)};
	int null = open("/dev/null", O_RDONLY);
	uint32_t id;

	assert_int_equal(DO(d, VFIO_DEVICE_BIND_IOMMUFD, k->hole), -EFAULT);
	b.argsz--;
	assert_int_equal(DO(d, VFIO_DEVICE_BIND_IOMMUFD, &b), -EINVAL);
	b.argsz++;
	for (unsigned int i = 0; i < 32; i++) {
		b.flags = 1u << i;
		assert_int_equal(DO(d, VFIO_DEVICE_BIND_IOMMUFD, &b), -EINVAL);
	}
	assert_int_equal(bind_fd(k, d, -1, NULL), -EINVAL);
	assert_int_equal(bind_fd(k, d, 999, NULL), -EBADF);
	assert_int_equal(bind_fd(k, d, null, NULL), -EBADFD);
	assert_int_equal(bind_to(k, d, c), -EBADFD);
	assert_int_equal(bind_to(k, d, d), -EBADFD);
	assert_int_equal(k->toy[0]->resets, 0);
	k->no_room = true;
	assert_int_equal(bind_to(k, d, f), -ENOMEM);
	k->no_room = false;
	assert_null(k->toy[0]->f.sink);
	assert_int_equal(destroy(k, f, 1), -ENOENT);
	assert_int_equal(bind_fd(k, d, fake_fd_of(k, f), &id), 0);
	assert_int_equal(destroy(k, f, id), -EBUSY);
	assert_int_equal(bind_to(k, d, f), -EINVAL);
	assert_int_equal(bind_fd(k, d, 999, NULL), -EINVAL);
	assert_int_equal(bind_fd(k, second, 999, NULL), -EBADF);
	assert_int_equal(bind_to(k, second, f), -EINVAL);
	assert_int_equal(DO(second, VFIO_DEVICE_RESET, 0), -EINVAL);
	fake_close(k, &d);
	assert_null(k->toy[0]->f.sink);
	assert_int_equal(destroy(k, f, id), -ENOENT);
	assert_int_equal(bind_to(k, second, f), 0);
	assert_int_equal(DO(second, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(DO(second, _IO(VFIO_TYPE, 99), 0), -ENOTTY);
	fake_close(k, &second);
	fake_close(k, &c);
	fake_close(k, &f);
	close(null);
}

static void attach_errors(void **state)
{
	struct fake *k = *state;
	struct bound b = bound(k);
	struct vfio_device_attach_iommufd_pt a = {.argsz = 11};
	struct vfio_device_detach_iommufd_pt d = {.argsz = 7};

	assert_int_equal(DO(b.dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, k->hole), -EFAULT);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, k->hole), -EFAULT);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a), -EINVAL);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), -EINVAL);
	a = (struct vfio_device_attach_iommufd_pt){.argsz = 15, .flags = VFIO_DEVICE_ATTACH_PASID, .pt_id = b.ioas};
	d = (struct vfio_device_detach_iommufd_pt){.argsz = 11, .flags = VFIO_DEVICE_DETACH_PASID};
	assert_int_equal(DO(b.dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a), -EINVAL);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), -EINVAL);
	a.argsz = 16;
	d.argsz = 12;
	assert_int_equal(DO(b.dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a),
			 -EBUSY); /* PASID 0 is the device, which is attached */
	assert_int_equal(DO(b.dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), 0);
	a.flags = d.flags = 2;
	assert_int_equal(DO(b.dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a), -EINVAL);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), -EINVAL);
	assert_int_equal(attach(k, b.dev, 999), -ENOENT);
	assert_int_equal(attach(k, b.dev, 1), -EINVAL); /* the device itself */
	assert_int_equal(seen(k, 0), 7);
	fake_close(k, &b.dev);
	fake_close(k, &b.fd);
}

static void replacing(void **state)
{
	struct fake *k = *state;
	struct bound b = bound(k);
	uint32_t other = ioas_alloc(k, b.fd);

	assert_int_equal(ioas_map(k, b.fd, other, 1), 0);
	assert_int_equal(mm_charged(k->owner), 1); /* nobody translates through the other yet */
	k->mem[PF_PAGE_SIZE] = 9;
	assert_int_equal(attach(k, b.dev, other), 0);
	assert_int_equal(seen(k, 0), 9);
	assert_int_equal(mm_charged(k->owner), 1);
	/* A page that cannot be pinned: what was attached stays. */
	k->limit = PF_PAGE_SIZE;
	assert_int_equal(attach(k, b.dev, b.ioas), -ENOMEM);
	assert_int_equal(seen(k, 0), 9);
	k->limit = UINT64_MAX;
	assert_int_equal(destroy(k, b.fd, other), -EBUSY);
	assert_int_equal(detach(k, b.dev), 0);
	assert_int_equal(seen(k, 0), -EFAULT);
	assert_int_equal(mm_charged(k->owner), 0);
	assert_int_equal(destroy(k, b.fd, other), 0);
	assert_int_equal(detach(k, b.dev), 0);
	assert_int_equal(attach(k, b.dev, b.ioas), 0);
	assert_int_equal(seen(k, 0), 7);
	fake_close(k, &b.dev);
	fake_close(k, &b.fd);
}

static void closing_in_any_order(void **state)
{
	struct fake *k = *state;
	struct bound b = bound(k);

	fake_close(k, &b.fd);
	assert_int_equal(seen(k, 0), 7);
	fake_close(k, &b.dev);
	assert_int_equal(seen(k, 0), -EFAULT);
	assert_int_equal(mm_charged(k->owner), 0);
	b = bound(k);
	fake_close(k, &b.dev);
	assert_int_equal(seen(k, 0), -EFAULT);
	assert_int_equal(mm_charged(k->owner), 0);
	fake_close(k, &b.fd);
}

/* The device is quiet before any of what it could reach is let go. */
static void rule_unmap_before_unpin(void **state)
{
	struct fake *k = *state;
	struct bound b = bound(k);
	unsigned int resets = k->toy[0]->resets;

	fake_close(k, &b.fd);
	k->toy[0]->charged_at_reset = k->owner;
	fake_close(k, &b.dev);
	assert_int_equal(k->toy[0]->resets, resets + 1);
	assert_int_equal(k->toy[0]->charged, 1);
	assert_int_equal(mm_charged(k->owner), 0);
}

static void rule_one_owner(void **state)
{
	struct fake *k = *state;
	struct ufile *f = fake_iommufd(k), *other = fake_iommufd(k), *d = fake_cdev(k, 0), *sibling = fake_cdev(k, 1);
	struct ufile *g = fake_group(k, 7), *no;
	struct session s;

	assert_int_equal(bind_to(k, d, f), -EBUSY);
	assert_int_equal(bind_fd(k, d, 999, NULL), -EBUSY);
	fake_close(k, &g);
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	fake_close(k, &s.group);
	assert_int_equal(bind_to(k, d, f), -EBUSY);
	assert_int_equal(bind_to(k, sibling, f), -EBUSY);
	assert_int_equal(bind_to(k, s.device, f), -EINVAL);
	fake_close(k, &s.device);
	fake_close(k, &s.container);
	assert_int_equal(bind_to(k, d, f), 0);
	assert_int_equal(vfio_open_group(k->v, 7, &no), -EBUSY);
	/* Whom the IOMMU cannot tell apart one owner has. */
	assert_int_equal(bind_to(k, sibling, other), -EPERM);
	assert_int_equal(DO(sibling, VFIO_DEVICE_RESET, 0), -EINVAL);
	assert_int_equal(bind_to(k, sibling, f), 0);
	fake_close(k, &d);
	assert_int_equal(vfio_open_group(k->v, 7, &no), -EBUSY);
	g = fake_group(k, 9);
	fake_close(k, &g);
	fake_close(k, &sibling);
	g = fake_group(k, 7);
	fake_close(k, &g);
	fake_close(k, &other);
	fake_close(k, &f);
}

/* ---- a group with an iommufd for its container ---- */

struct compat {
	struct ufile *fd, *group, *dev;
};

static struct compat compat(struct fake *k)
{
	struct compat c = {.fd = fake_iommufd(k), .group = fake_group(k, 7)};
	int32_t fd = fake_fd_of(k, c.fd);

	assert_int_equal(DO(c.group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(fake_map(k, c.fd, BUF_IOVA, (uintptr_t)k->mem, PF_PAGE_SIZE, 3), 0);
	assert_int_equal(mm_charged(k->owner), 0);
	k->mem[0] = 7;
	c.dev = fake_device(k, c.group, "0000:01:00.0");
	assert_int_equal(seen(k, 0), 7);
	assert_int_equal(seen(k, 1), -EFAULT); /* the sibling is not open */
	return c;
}

static uint32_t status(struct fake *k, struct ufile *g)
{
	struct vfio_group_status st = {.argsz = sizeof(st)};

	assert_int_equal(DO(g, VFIO_GROUP_GET_STATUS, &st), 0);
	return st.flags;
}

static void group_with_iommufd(void **state)
{
	struct fake *k = *state;
	struct compat c = compat(k);
	int32_t fd = fake_fd_of(k, c.fd);
	struct ufile *second, *sibling;

	assert_int_equal(status(k, c.group), 3);
	assert_int_equal(DO(c.group, VFIO_GROUP_SET_CONTAINER, &fd), -EINVAL);
	second = fake_device(k, c.group, "0000:01:00.0");
	sibling = fake_device(k, c.group, "0000:02:00.0");
	assert_int_equal(seen(k, 1), 7);
	assert_int_equal(bind_to(k, c.dev, c.fd), -EINVAL);
	assert_int_equal(attach(k, c.dev, 1), -ENOTTY);
	fake_close(k, &c.dev);
	assert_int_equal(seen(k, 0), 7);
	fake_close(k, &second);
	assert_int_equal(seen(k, 0), -EFAULT);
	fake_close(k, &c.group);
	fake_close(k, &c.fd);
	assert_int_equal(seen(k, 1), 7);
	fake_close(k, &sibling);
	assert_int_equal(mm_charged(k->owner), 0);
}

/* Without a space of VFIO's there is nothing to attach a device to. */
static void iommufd_without_compat_ioas(void **state)
{
	struct fake *k = *state;
	struct ufile *f = fake_iommufd(k), *group = fake_group(k, 7);
	struct iommu_vfio_ioas clear = {.size = sizeof(clear), .op = IOMMU_VFIO_IOAS_CLEAR};
	int32_t fd = fake_fd_of(k, f);

	assert_int_equal(DO(group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(f, IOMMU_VFIO_IOAS, &clear), 0);
	assert_int_equal(DO(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -ENODEV);
	assert_int_equal(DO(group, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	fake_close(k, &group);
	fake_close(k, &f);
}

static void group_leaves_iommufd(void **state)
{
	struct fake *k = *state;
	struct compat c = compat(k);
	struct ufile *type1 = fake_container(k), *other = fake_iommufd(k), *cdev = fake_cdev(k, 0);
	int32_t fd = fake_fd_of(k, type1), fd2 = fake_fd_of(k, other);

	assert_int_equal(DO(c.group, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	assert_int_equal(DO(c.group, VFIO_GROUP_UNSET_CONTAINER, 0), -EINVAL);
	assert_int_equal(status(k, c.group), 0);
	assert_int_equal(DO(c.group, VFIO_GROUP_SET_CONTAINER, &fd), -EPERM);
	assert_int_equal(DO(c.group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -EINVAL);
	assert_int_equal(seen(k, 0), 7);
	/* Whoever opens the group next is not given what reaches the first one's memory. */
	fake_close(k, &c.group);
	assert_int_equal(bind_to(k, cdev, other), -EINVAL);
	c.group = fake_group(k, 7);
	assert_int_equal(DO(c.group, VFIO_GROUP_SET_CONTAINER, &fd2), 0);
	assert_int_equal(DO(c.group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -EPERM);
	assert_int_equal(DO(c.group, VFIO_GROUP_GET_DEVICE_FD, "0000:02:00.0"), -EPERM);
	fake_close(k, &c.dev);
	assert_int_equal(mm_charged(k->owner), 0);
	c.dev = fake_device(k, c.group, "0000:01:00.0");
	assert_int_equal(seen(k, 0), -EFAULT);
	fake_close(k, &c.dev);
	assert_int_equal(DO(c.group, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	assert_int_equal(DO(c.group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	fake_close(k, &c.group);
	fake_close(k, &c.fd);
	fake_close(k, &type1);
	fake_close(k, &other);
	fake_close(k, &cdev);
}

static void group_device_refused(void **state)
{
	struct fake *k = *state;
	struct ufile *f = fake_iommufd(k), *g = fake_group(k, 7);
	int32_t fd = fake_fd_of(k, f);

	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(fake_map(k, f, BUF_IOVA, (uintptr_t)k->mem, PF_PAGE_SIZE, 3), 0);
	k->limit = 0;
	assert_int_equal(DO(g, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -ENOMEM);
	assert_null(k->toy[0]->f.sink);
	assert_int_equal(status(k, g), 3);
	assert_int_equal(DO(g, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	assert_int_equal(status(k, g), 1); /* nothing is bound */
	fake_close(k, &g);
	fake_close(k, &f);
}

/* ---- reset of a bus ---- */

struct hot_info {
	struct vfio_pci_hot_reset_info h;
	struct vfio_pci_dependent_device dep[2];
};

static void hot_reset(void **state)
{
	struct fake *k = *state;
	struct bound b = bound(k);
	struct ufile *neighbour = fake_cdev(k, 2), *other = fake_iommufd(k);
	struct hot_info i = {.h = {.argsz = sizeof(i)}};
	struct {
		struct vfio_pci_hot_reset h;
		int32_t fd;
	} r = {.h = {.argsz = sizeof(r)}, .fd = fake_fd_of(k, b.fd)};
	unsigned int before = k->toy[0]->resets;

	assert_int_equal(DO(b.dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), 0);
	assert_int_equal(i.h.count, 2);
	assert_int_equal(i.h.flags, VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
	assert_int_equal(i.dep[0].group_id, 1);
	assert_int_equal((int)i.dep[1].group_id, VFIO_PCI_DEVID_NOT_OWNED);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	assert_int_equal(bind_to(k, neighbour, other), 0);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	fake_close(k, &neighbour);
	neighbour = fake_cdev(k, 2);
	assert_int_equal(bind_to(k, neighbour, b.fd), 0);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), 0);
	assert_int_equal(i.h.flags, VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
	assert_true(i.dep[1].group_id > 1);
	r.h.count = 1; /* lists are for groups */
	assert_int_equal(DO(b.dev, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	assert_int_equal(k->toy[0]->resets, before);
	r.h.count = 0;
	assert_int_equal(DO(b.dev, VFIO_DEVICE_PCI_HOT_RESET, &r), 0);
	assert_int_equal(k->toy[0]->resets, before + 1);
	assert_int_equal(k->toy[1]->resets, 0);
	i.h.argsz = sizeof(i.h);
	assert_int_equal(DO(b.dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), -ENOSPC);
	assert_int_equal(i.h.flags, 0);
	fake_close(k, &neighbour);
	fake_close(k, &other);
	fake_close(k, &b.dev);
	fake_close(k, &b.fd);
}

/* A sibling that nobody has opened is owned with its group. */
static void hot_reset_sibling(void **state)
{
	struct fake *k = *state;
	struct ufile *f = fake_iommufd(k), *sibling = fake_cdev(k, 1), *neighbour = fake_cdev(k, 2);
	struct hot_info i = {.h = {.argsz = sizeof(i)}};
	struct vfio_pci_hot_reset r = {.argsz = sizeof(r)};

	assert_int_equal(bind_to(k, sibling, f), 0);
	assert_int_equal(bind_to(k, neighbour, f), 0);
	assert_int_equal(DO(neighbour, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), 0);
	assert_int_equal(i.h.flags, VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
	assert_int_equal(i.dep[0].group_id, VFIO_PCI_DEVID_OWNED);
	assert_int_equal(DO(neighbour, VFIO_DEVICE_PCI_HOT_RESET, &r), 0);
	fake_close(k, &sibling);
	assert_int_equal(DO(neighbour, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	fake_close(k, &neighbour);
	fake_close(k, &f);
}

/* Pages of the bitmap as large as the address space: no sum may overflow, or the call never ends. */
static void vast_dirty_pages(void **state)
{
	struct fake *k = *state;
	struct ufile *f = fake_iommufd(k), *d = fake_cdev(k, 0);
	struct iommu_hwpt_alloc h = {.size = sizeof(h), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING};
	struct iommu_ioas_map m = {.size = sizeof(m),
				   .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
				   .user_va = (uintptr_t)k->mem,
				   .length = PF_PAGE_SIZE};
	struct iommu_hwpt_set_dirty_tracking t = {.size = sizeof(t), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE};
	uint64_t bit[2] = {0};

	assert_int_equal(bind_fd(k, d, fake_fd_of(k, f), &h.dev_id), 0);
	h.pt_id = m.ioas_id = ioas_alloc(k, f);
	assert_int_equal(DO(f, IOMMU_IOAS_MAP, &m), 0);
	assert_int_equal(DO(f, IOMMU_HWPT_ALLOC, &h), 0);
	t.hwpt_id = h.out_hwpt_id;
	assert_int_equal(DO(f, IOMMU_HWPT_SET_DIRTY_TRACKING, &t), 0);
	for (unsigned int shift = 12; shift < 64; shift++) {
		struct iommu_hwpt_get_dirty_bitmap g = {.size = sizeof(g),
							.hwpt_id = h.out_hwpt_id,
							.length = 1ull << shift,
							.page_size = 1ull << shift,
							.data = (uintptr_t)bit};

		assert_int_equal(DO(f, IOMMU_HWPT_GET_DIRTY_BITMAP, &g), 0);
	}
	fake_close(k, &d);
	fake_close(k, &f);
}

static void restartable(void **state)
{
	struct fake *k = *state;

	k->again = true;
	bind_errors(state);
	attach_errors(state);
	rule_one_owner(state);
	group_with_iommufd(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(nothing_before_bind),
	    T(bind_errors),
	    T(attach_errors),
	    T(replacing),
	    T(closing_in_any_order),
	    T(rule_unmap_before_unpin),
	    T(rule_one_owner),
	    T(group_with_iommufd),
	    T(iommufd_without_compat_ioas),
	    T(group_leaves_iommufd),
	    T(group_device_refused),
	    T(hot_reset),
	    T(hot_reset_sibling),
	    T(vast_dirty_pages),
	    T(restartable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
