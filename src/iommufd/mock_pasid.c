/* SPDX-License-Identifier: BSD-3-Clause */
/* PASIDs in the test interface. Answers follow Linux 6.15 drivers/iommu/iommufd/selftest.c. PASID 0 is none. */
#include "iommufd/mock.h"

static struct mock_dev *find(struct ioctl_call *k)
{
	struct iommufd_object *o = iommufd_object_find(k->ctx, ((struct mock_cmd *)k->cmd)->id, OBJECT_SELFTEST);

	return o ? container_of(o, struct mock_dev, obj) : NULL;
}

static void detach(struct mock_dev *m, uint32_t pasid)
{
	if (pasid)
		device_pasid_detach(m->dev, pasid);
	else if (m->dev->attached)
		iommufd_device_detach(m->dev);
}

long mock_pasid_attach(struct ioctl_call *k)
{
	struct mock_cmd *cmd = k->cmd;
	struct mock_dev *m = find(k);
	uint32_t pt_id = cmd->pasid.pt_id;
	int err;

	if (!m)
		return -ENOENT;
	err = cmd->pasid.pasid ? device_pasid_attach(m->dev, cmd->pasid.pasid, pt_id)
			       : iommufd_device_attach(m->dev, &pt_id);
	if (err)
		return err;
	cmd->pasid.pt_id = pt_id;
	err = ioctl_respond(k, sizeof(*cmd));
	if (err)
		detach(m, cmd->pasid.pasid);
	return err;
}

long mock_pasid_replace(struct ioctl_call *k)
{
	struct mock_cmd *cmd = k->cmd;
	struct mock_dev *m = find(k);
	uint32_t pt_id = cmd->pasid.pt_id;
	int err;

	if (!m)
		return -ENOENT;
	err = cmd->pasid.pasid ? device_pasid_replace(m->dev, cmd->pasid.pasid, pt_id)
			       : iommufd_device_replace(m->dev, &pt_id);
	if (err)
		return err;
	cmd->pasid.pt_id = pt_id;
	return ioctl_respond(k, sizeof(*cmd));
}

long mock_pasid_detach(struct ioctl_call *k)
{
	struct mock_dev *m = find(k);

	if (!m)
		return -ENOENT;
	detach(m, ((struct mock_cmd *)k->cmd)->pasid.pasid);
	return 0;
}

/* Is that page table what the PASID is attached to (0: is it attached to nothing)? */
long mock_pasid_check_hwpt(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct mock_dev *m = find(k);
	const struct hwpt *h, *want;

	if (!m)
		return -ENOENT;
	h = cmd->pasid.pasid ? device_pasid_hwpt(m->dev, cmd->pasid.pasid) : m->dev->group->hwpt;
	if (!cmd->pasid.pt_id)
		return h ? -EINVAL : 0;
	want = hwpt_find(k->ctx, cmd->pasid.pt_id);
	if (!want)
		return -ENOENT;
	return h == want ? 0 : -EINVAL;
}
