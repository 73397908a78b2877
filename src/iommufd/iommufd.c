/* SPDX-License-Identifier: BSD-3-Clause */
/* /dev/iommu: which ioctl is answered where. The rules for sizes follow Linux 6.12 drivers/iommu/iommufd/main.c. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

union any_cmd {
	uint8_t bytes[256]; /* more than the largest structure: the test interface's */
	uint64_t align;
};

struct ioctl_entry {
	ioctl_fn *fn;
	uint32_t size; /* of the structure that is known here */
	uint32_t min;  /* the least that any program passes */
	bool test;     /* under --iommufd-test only */
	bool creates;  /* an object whose id must reach the caller */
};

#define CALL(function, type, last)                                                                                     \
	{                                                                                                              \
		.fn = function, .size = sizeof(struct type), .min = OFFSETOFEND(struct type, last)                     \
	}
#define CREATE(function, type, last)                                                                                   \
	{                                                                                                              \
		.fn = function, .size = sizeof(struct type), .min = OFFSETOFEND(struct type, last), .creates = true    \
	}

static const struct ioctl_entry ioctls[] = {
    [IOMMUFD_CMD_DESTROY - IOMMUFD_CMD_BASE] = CALL(ioctl_destroy, iommu_destroy, id),
    [IOMMUFD_CMD_IOAS_ALLOC - IOMMUFD_CMD_BASE] = CREATE(ioctl_ioas_alloc, iommu_ioas_alloc, out_ioas_id),
    [IOMMUFD_CMD_IOAS_ALLOW_IOVAS - IOMMUFD_CMD_BASE] =
	CALL(ioctl_ioas_allow_iovas, iommu_ioas_allow_iovas, allowed_iovas),
    [IOMMUFD_CMD_IOAS_COPY - IOMMUFD_CMD_BASE] = CALL(ioctl_ioas_copy, iommu_ioas_copy, src_iova),
    [IOMMUFD_CMD_IOAS_IOVA_RANGES - IOMMUFD_CMD_BASE] =
	CALL(ioctl_ioas_iova_ranges, iommu_ioas_iova_ranges, out_iova_alignment),
    [IOMMUFD_CMD_IOAS_MAP - IOMMUFD_CMD_BASE] = CALL(ioctl_ioas_map, iommu_ioas_map, iova),
    [IOMMUFD_CMD_IOAS_UNMAP - IOMMUFD_CMD_BASE] = CALL(ioctl_ioas_unmap, iommu_ioas_unmap, length),
    [IOMMUFD_CMD_OPTION - IOMMUFD_CMD_BASE] = CALL(ioctl_option, iommu_option, val64),
    [IOMMUFD_CMD_VFIO_IOAS - IOMMUFD_CMD_BASE] = CALL(ioctl_vfio_ioas, iommu_vfio_ioas, __reserved),
    [IOMMUFD_CMD_HWPT_ALLOC - IOMMUFD_CMD_BASE] = CREATE(ioctl_hwpt_alloc, iommu_hwpt_alloc, __reserved),
    [IOMMUFD_CMD_GET_HW_INFO - IOMMUFD_CMD_BASE] = CALL(ioctl_hw_info, iommu_hw_info, __reserved),
    [IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING - IOMMUFD_CMD_BASE] =
	CALL(ioctl_hwpt_set_dirty_tracking, iommu_hwpt_set_dirty_tracking, __reserved),
    [IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP - IOMMUFD_CMD_BASE] =
	CALL(ioctl_hwpt_get_dirty_bitmap, iommu_hwpt_get_dirty_bitmap, data),
    [IOMMUFD_CMD_HWPT_INVALIDATE - IOMMUFD_CMD_BASE] = CALL(ioctl_hwpt_invalidate, iommu_hwpt_invalidate, __reserved),
    [IOMMUFD_CMD_FAULT_QUEUE_ALLOC - IOMMUFD_CMD_BASE] =
	CREATE(ioctl_fault_queue_alloc, iommu_fault_alloc, out_fault_fd),
    [IOMMUFD_CMD_IOAS_MAP_FILE - IOMMUFD_CMD_BASE] = CALL(ioctl_ioas_map_file, iommu_ioas_map_file, iova),
    [IOMMUFD_CMD_IOAS_CHANGE_PROCESS - IOMMUFD_CMD_BASE] =
	CALL(ioctl_ioas_change_process, iommu_ioas_change_process, __reserved),
    [IOMMUFD_CMD_VIOMMU_ALLOC - IOMMUFD_CMD_BASE] = CREATE(ioctl_viommu_alloc, iommu_viommu_alloc, out_viommu_id),
    [IOMMUFD_CMD_VDEVICE_ALLOC - IOMMUFD_CMD_BASE] = CREATE(ioctl_vdevice_alloc, iommu_vdevice_alloc, virt_id),
    [IOMMUFD_CMD_VEVENTQ_ALLOC - IOMMUFD_CMD_BASE] = CREATE(ioctl_veventq_alloc, iommu_veventq_alloc, __reserved),
    [IOMMUFD_CMD_HW_QUEUE_ALLOC - IOMMUFD_CMD_BASE] = CREATE(ioctl_hw_queue_alloc, iommu_hw_queue_alloc, length),
    [IOMMUFD_CMD_TEST - IOMMUFD_CMD_BASE] = {ioctl_mock, MOCK_CMD_SIZE, MOCK_CMD_MIN, .test = true},
};

/* Copies the caller's structure; what this program does not know of it must be zero. */
static int copy_cmd(struct ioctl_call *k, uint32_t size)
{
	uint8_t tail[256];
	int err;

	err = ucall_copy_in(k->c, k->arg, k->cmd, MIN(k->user_size, size));
	for (uint32_t at = size; !err && at < k->user_size; at += sizeof(tail)) {
		size_t n = MIN(sizeof(tail), (size_t)k->user_size - at);

		err = ucall_copy_in(k->c, k->arg + at, tail, n);
		for (size_t i = 0; !err && i < n; i++)
			err = tail[i] ? -E2BIG : 0;
	}
	return err;
}

int ioctl_respond(struct ioctl_call *k, size_t size)
{
	return ucall_copy_out(k->c, k->arg, k->cmd, MIN(size, (size_t)k->user_size));
}

int ioctl_expect_response(struct ioctl_call *k, size_t size)
{
	return ucall_expect_write(k->c, k->arg, MIN(size, (size_t)k->user_size));
}

static long iommufd_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	struct iommufd_ctx *ctx = iommufd_ctx(f);
	unsigned int nr = _IOC_NR(cmd) - IOMMUFD_CMD_BASE;
	union any_cmd any = {0};
	struct ioctl_call k = {.ctx = ctx, .c = c, .arg = arg, .cmd = &any};
	const struct ioctl_entry *i = nr < ARRAY_SIZE(ioctls) ? &ioctls[nr] : NULL;
	int err;

	if (!i || !i->fn || (i->test && !ctx->m->test) || _IOC_TYPE(cmd) != IOMMUFD_TYPE)
		return compat_ioctl(ctx, c, cmd, arg);
	if (cmd != (unsigned int)IOMMUFD_NR(nr + IOMMUFD_CMD_BASE))
		return -ENOTTY;
	err = ucall_copy_in(c, arg, &k.user_size, sizeof(k.user_size));
	if (err)
		return err;
	if (k.user_size < i->min)
		return -EINVAL;
	err = copy_cmd(&k, i->size);
	if (!err && i->creates)
		err = ioctl_expect_response(&k, i->size);
	return err ? err : i->fn(&k);
}

int ioctl_user_data(struct ioctl_call *k, uint64_t addr, uint32_t len, void *buf, size_t min, size_t size)
{
	if (len < min || len > size)
		return -EINVAL;
	memset(buf, 0, size);
	return ucall_copy_in(k->c, addr, buf, len);
}

static int iommufd_mmap(struct ufile *f, uint64_t off, uint64_t len, int prot, bool shared, struct umap *map)
{
	return iommufd_mmap_map(iommufd_ctx(f), off, len, prot, shared, map);
}

static void iommufd_release(struct ufile *f)
{
	struct iommufd_ctx *ctx = iommufd_ctx(f);

	iommufd_object_remove_all(ctx);
	free(ctx);
}

static const struct ufile_ops iommufd_ops = {
    .name = "/dev/iommu",
    .ioctl = iommufd_ioctl,
    .mmap = iommufd_mmap,
    .release = iommufd_release,
};

struct iommufd_ctx *iommufd_ctx(struct ufile *f)
{
	return f->ops == &iommufd_ops ? container_of(f, struct iommufd_ctx, file) : NULL;
}

struct iommufd *iommufd_new(struct events *evs, struct backing_cache *cache, bool test)
{
	struct iommufd *m = mem_calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	*m = (struct iommufd){.evs = evs, .cache = cache, .test = test, .pci_unit = iommufd_unit(0)};
	list_init(&m->followers);
	list_init(&m->mock_dmabufs);
	return m;
}

void iommufd_free(struct iommufd *m)
{
	if (m)
		mock_dmabufs_fini(m);
	free(m);
}

void iommufd_forget(struct iommufd *m, const struct mm_owner *who, uint64_t first, uint64_t last)
{
	struct ioas_object *o;

	list_for_each (o, &m->followers, follower)
		ioas_forget(o->io, who, first, last);
}

int iommufd_open(struct iommufd *m, struct ufile **f)
{
	struct iommufd_ctx *ctx = mem_calloc(1, sizeof(*ctx));

	if (!ctx)
		return -ENOMEM;
	ufile_init(&ctx->file, &iommufd_ops);
	ctx->m = m;
	ctx->account = MM_ACCOUNT_USER;
	list_init(&ctx->groups);
	list_init(&ctx->mmaps);
	*f = &ctx->file;
	return 0;
}

long ioctl_destroy(struct ioctl_call *k)
{
	const struct iommu_destroy *cmd = k->cmd;

	return iommufd_object_remove(k->ctx, cmd->id);
}
