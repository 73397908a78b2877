/* SPDX-License-Identifier: BSD-3-Clause */
/* IOMMU_OPTION. Answers follow Linux 6.12 drivers/iommu/iommufd/ioas.c. */
#include <linux/capability.h>

#include "iommufd/internal.h"

static long rlimit_mode(struct ioctl_call *k, struct iommu_option *cmd)
{
	if (cmd->object_id)
		return -EOPNOTSUPP;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = k->ctx->account == MM_ACCOUNT_PROCESS;
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (!mm_owner_capable(k->c->owner, CAP_SYS_RESOURCE))
		return -EPERM;
	if (iommufd_object_count(k->ctx))
		return -EBUSY;
	if (cmd->val64 > 1)
		return -EINVAL;
	k->ctx->account = cmd->val64 ? MM_ACCOUNT_PROCESS : MM_ACCOUNT_USER;
	return 0;
}

static long huge_pages(struct ioctl_call *k, struct iommu_option *cmd)
{
	struct ioas_object *o = ioas_object_find(k->ctx, cmd->object_id);

	if (!o)
		return -ENOENT;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = ioas_large_pages(o->io);
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (cmd->val64 > 1)
		return -EINVAL;
	return ioas_set_large_pages(o->io, cmd->val64);
}

long ioctl_option(struct ioctl_call *k)
{
	struct iommu_option *cmd = k->cmd;
	long ret;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->option_id) {
	case IOMMU_OPTION_RLIMIT_MODE:
		ret = rlimit_mode(k, cmd);
		break;
	case IOMMU_OPTION_HUGE_PAGES:
		ret = huge_pages(k, cmd);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (ret)
		return ret;
	return ucall_copy_out(k->c, k->arg + offsetof(struct iommu_option, val64), &cmd->val64, sizeof(cmd->val64));
}
