/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO_DEVICE_FEATURE: one table of what there is, and the rules that all features share. Answers follow Linux 6.12
 * drivers/vfio/vfio_main.c (vfio_ioctl_device_feature) and vfio_check_feature in include/linux/vfio.h.
 */
#include <errno.h>

#include "vfio/internal.h"

#define GET   VFIO_DEVICE_FEATURE_GET
#define SET   VFIO_DEVICE_FEATURE_SET
#define PROBE VFIO_DEVICE_FEATURE_PROBE

struct feature {
	uint32_t index;
	uint32_t ops;				   /* GET, SET */
	size_t size;				   /* of its data, at least */
	bool (*offered)(const struct vfio_dev *d); /* NULL: always */
	long (*run)(struct vfio_dev *d, struct feature_call *fc);
};

static const struct feature features[] = {
    {VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, SET, TOKEN_LEN, token_offered, token_set},
    {VFIO_DEVICE_FEATURE_MIGRATION, GET, sizeof(struct vfio_device_feature_migration), migration_offered,
     migration_flags},
    {VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, GET | SET, sizeof(struct vfio_device_feature_mig_state), migration_offered,
     migration_state},
    {VFIO_DEVICE_FEATURE_DMA_LOGGING_START, SET, sizeof(struct vfio_device_feature_dma_logging_control),
     logging_offered, logging_start},
    {VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, SET, 0, logging_offered, logging_stop},
    {VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, GET, sizeof(struct vfio_device_feature_dma_logging_report),
     logging_offered, logging_report},
    {VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, GET, sizeof(struct vfio_device_feature_mig_data_size), migration_offered,
     migration_data_size},
    {VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, SET, 0, NULL, power_enter},
    {VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, SET, sizeof(struct vfio_device_low_power_entry_with_wakeup), NULL,
     power_enter_with_wakeup},
    {VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, SET, 0, NULL, power_exit},
    {.index = VFIO_DEVICE_FEATURE_DMA_BUF,
     .ops = GET,
     .size = sizeof(struct vfio_device_feature_dma_buf),
     .run = dmabuf_feature},
};

static const struct feature *feature_find(const struct vfio_dev *d, uint32_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i].index == index && (!features[i].offered || features[i].offered(d)))
			return &features[i];
	return NULL;
}

long feature_ioctl(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct feature_call fc = {.c = c, .data = arg + sizeof(struct vfio_device_feature)};
	struct vfio_dev *d = container_of(f, struct device_file, file)->dev;
	struct vfio_device_feature h;
	const struct feature *feature;
	uint32_t op;
	int ret;

	ret = ucall_copy_in(c, arg, &h, sizeof(h));
	if (ret)
		return ret;
	if (h.argsz < sizeof(h) || h.flags & ~(VFIO_DEVICE_FEATURE_MASK | GET | SET | PROBE))
		return -EINVAL;
	op = h.flags & (GET | SET);
	if (!(h.flags & PROBE) && op == (GET | SET))
		return -EINVAL;
	feature = feature_find(d, h.flags & VFIO_DEVICE_FEATURE_MASK);
	if (!feature)
		return -ENOTTY;
	if (op & ~feature->ops)
		return -EINVAL;
	if (h.flags & PROBE)
		return 0;
	if (!op || h.argsz - sizeof(h) < feature->size)
		return -EINVAL;
	fc.get = op == GET;
	fc.argsz = h.argsz - sizeof(h);
	return feature->run(d, &fc);
}
