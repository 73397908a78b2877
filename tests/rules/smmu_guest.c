/* SPDX-License-Identifier: BSD-3-Clause */
#include "smmu.h"

#include <poll.h>
#include <unistd.h>

uint32_t viommu, vdev;
int events = -1;

/* ---- tables ---- */

uint64_t *entry(uint64_t root, uint64_t iova, unsigned int level)
{
	return table_entry(root, iova, level, VALID | TABLE);
}

uint64_t *cd_at(unsigned int page, unsigned int i)
{
	return tab_at(tab_gpa(page)) + 8 * i;
}

void cd_set(uint64_t *cd, uint64_t word0, uint64_t root)
{
	set(&cd[0], 0);
	set(&cd[1], root);
	set(&cd[0], word0);
}

/* ---- calls ---- */

int command_errno(uint64_t w0, uint64_t w1)
{
	struct iommu_viommu_arm_smmuv3_invalidate cmd = {.cmd = {w0, w1}};
	struct iommu_hwpt_invalidate c = {.size = sizeof(c),
					  .hwpt_id = viommu,
					  .data_uptr = (uintptr_t)&cmd,
					  .data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
					  .entry_len = sizeof(cmd),
					  .entry_num = 1};
	int err = ioctl_errno(container, IOMMU_HWPT_INVALIDATE, &c);

	expect_eq(c.entry_num, err ? 0 : 1);
	return err;
}

void tlbi(enum command op, unsigned int asid, uint64_t iova)
{
	expect_eq(command_errno(op | ASID(asid), iova & ~0xfffUL), 0);
}

void cfgi(enum command op, unsigned int ssid)
{
	expect_eq(command_errno(op | (uint64_t)VSID << 32 | 1 << 11 | (uint64_t)ssid << 12, 0), 0);
}

void forget_all(void)
{
	cfgi(CFGI_CD_ALL, 0);
	tlbi(TLBI_ALL, 0, 0);
}

int nested_alloc(uint64_t ste0, uint64_t ste1, uint32_t *id)
{
	struct iommu_hwpt_arm_smmuv3 ste = {.ste = {ste0, ste1}};

	return hwpt_alloc(viommu, 0, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, sizeof(ste), id);
}

int viommu_alloc(uint32_t type, uint32_t hwpt, uint32_t *id)
{
	struct iommu_viommu_alloc a = {.size = sizeof(a), .type = type, .dev_id = devid, .hwpt_id = hwpt};
	int err = ioctl_errno(container, IOMMU_VIOMMU_ALLOC, &a);

	*id = a.out_viommu_id;
	return err;
}

int vdevice_alloc(uint64_t virt_id, uint32_t *id)
{
	struct iommu_vdevice_alloc a = {.size = sizeof(a), .viommu_id = viommu, .dev_id = devid, .virt_id = virt_id};
	int err = ioctl_errno(container, IOMMU_VDEVICE_ALLOC, &a);

	*id = a.out_vdevice_id;
	return err;
}

void stream(uint64_t ste0, uint64_t ste1)
{
	uint32_t old = nested;

	expect_eq(nested_alloc(ste0, ste1, &nested), 0);
	expect_eq(attach_to(nested), 0);
	if (old)
		expect_eq(object_destroy(old), 0);
}

/* ---- events ---- */

bool event_take(struct record *r)
{
	struct pollfd p = {.fd = events, .events = POLLIN};

	if (poll(&p, 1, 0) <= 0)
		return false;
	expect_eq(read(events, r, sizeof(*r)), sizeof(*r));
	expect_eq(r->header.flags, 0);
	return true;
}

void events_drain(void)
{
	struct record r;

	while (event_take(&r))
		;
}

void expect_event(enum event what, uint64_t address, bool write, unsigned int ssid)
{
	struct record r;
	bool has_address = what >= F_TRANSLATION;

	if (!event_take(&r))
		fail("no event %#x", what);
	do {
		expect_eq(r.evt[0], what | (uint64_t)VSID << 32 | (ssid ? 1 << 11 | (uint64_t)ssid << 12 : 0));
		expect_eq(r.evt[1], has_address ? 2UL << 40 | (write ? 0 : 1UL << 35) : 0);
		expect_eq(r.evt[2], has_address ? address : 0);
		expect_eq(r.evt[3], 0);
	} while (event_take(&r));
}

void expect_no_event(void)
{
	struct record r;

	if (event_take(&r))
		fail("an event %#llx", (unsigned long long)r.evt[0]);
}

/* ---- setup ---- */

void smmu_started(void)
{
	struct iommu_veventq_alloc q = {.size = sizeof(q), .type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, .veventq_depth = 64};

	guest_started(FIRST_TABLE);
	expect_eq(viommu_alloc(IOMMU_VIOMMU_TYPE_ARM_SMMUV3, parent, &viommu), 0);
	expect_eq(vdevice_alloc(VSID, &vdev), 0);
	q.viommu_id = viommu;
	expect_eq(ioctl(container, IOMMU_VEVENTQ_ALLOC, &q), 0);
	events = q.out_veventq_fd;
}

uint64_t root_new(void)
{
	uint64_t root = table_new();

	for (unsigned int i = 0; i < 5; i++)
		set(entry(root, NVME_IOVA + i * PAGE, 0), (NVME_IOVA + i * PAGE) | LEAF);
	set(entry(root, MIRROR_IOVA, 0), MIRROR_IOVA | LEAF);
	for (unsigned int i = 0; i < DATA; i++)
		set(entry(root, g_iova(i), 0), data_gpa(i) | LEAF);
	return root;
}

uint64_t controller_nested(void)
{
	uint64_t root;

	device_bound();
	dma_ioas = ioas_alloc(container);
	smmu_started();
	root = root_new();
	cd_set(cd_at(CDS, 0), CD_GOOD | ASID(7), root);
	stream(STE_V | STE_S1 | tab_gpa(CDS), 0);
	controller_start();
	return root;
}

void smmu_ended(void)
{
	expect_eq(cdev_detach(device), 0);
	expect_eq(object_destroy(nested), 0);
	expect_eq(object_destroy(vdev), 0);
	close(events);
	events = -1;
}
