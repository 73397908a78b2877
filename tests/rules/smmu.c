/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules E1 and E2 behind a virtual SMMUv3: what it answers, and a controller's DMA. */
#include "smmu.h"

static void answers(void)
{
	struct iommu_hw_info_arm_smmuv3 info = {0};
	struct iommu_hw_info h = {
	    .size = sizeof(h), .data_len = sizeof(info), .data_uptr = (uintptr_t)&info, .out_data_type = 99};
	struct iommu_hwpt_arm_smmuv3 ste = {.ste = {STE_V | STE_BYPASS}};
	uint32_t id, ioas, other;

	device_bound();
	h.dev_id = devid;
	expect_eq(ioctl(container, IOMMU_GET_HW_INFO, &h), 0);
	expect_eq(h.out_data_type, IOMMU_HW_INFO_TYPE_ARM_SMMUV3);
	expect_eq(h.data_len, sizeof(info));
	expect_eq(info.idr[0] & 3, 3);		 /* both stages */
	expect_eq(info.idr[0] >> 2 & 3, 2);	 /* AArch64 */
	expect_eq(info.idr[1] >> 6 & 31, 20);	 /* SSIDSIZE */
	expect_eq(info.idr[5] & 0x77, 5 | 0x70); /* 48 bits, all granules */
	dma_ioas = ioas = ioas_alloc(container);
	expect_eq(hwpt_alloc(ioas, IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING, 0, NULL, 0, &id),
		  EOPNOTSUPP);
	expect_eq(hwpt_alloc(ioas, IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID, 0, NULL, 0, &id), EOPNOTSUPP);
	expect_eq(hwpt_alloc(ioas, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, 0, NULL, 0, &other), 0);
	smmu_started();
	/* A virtual IOMMU of another kind, and below what is no parent. */
	expect_eq(viommu_alloc(IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV, parent, &id), EOPNOTSUPP);
	expect_eq(viommu_alloc(IOMMU_VIOMMU_TYPE_ARM_SMMUV3, other, &id), EINVAL);
	expect_eq(vdevice_alloc(VSID + 1, &id), EEXIST);
	/* Nested without one, or with anything but a stream table entry. */
	expect_eq(hwpt_alloc(parent, 0, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, sizeof(ste), &id), EOPNOTSUPP);
	expect_eq(hwpt_alloc(viommu, 0, IOMMU_HWPT_DATA_VTD_S1, &ste, sizeof(ste), &id), EINVAL);
	expect_eq(hwpt_alloc(viommu, 0, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, 8, &id), EINVAL);
	expect_eq(hwpt_alloc(viommu, IOMMU_HWPT_ALLOC_PASID, IOMMU_HWPT_DATA_VTD_S1, &ste, sizeof(ste), &id),
		  EOPNOTSUPP);
	expect_eq(
	    hwpt_alloc(viommu, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, sizeof(ste), &id),
	    EOPNOTSUPP);
	/* Fields that are none of the guest's, other configurations, split-stage ATS. */
	for (unsigned int bit = 52; bit < 59; bit++)
		expect_eq(nested_alloc(STE_V | STE_S1 | 1UL << bit, 0, &id), EIO);
	expect_eq(nested_alloc(STE_V | STE_S1, 1UL << 8, &id), EIO);
	for (unsigned int config = 0; config < 8; config++)
		expect_eq(nested_alloc(STE_V | config << 1, 0, &id),
			  config == 0 || config == 4 || config == 5 ? 0 : EIO);
	for (unsigned int eats = 0; eats < 4; eats++)
		expect_eq(nested_alloc(STE_V | STE_S1, (uint64_t)eats << 28, &id), eats > 1 ? EIO : 0);
	expect_eq(nested_alloc(~STE_V, ~0UL, &id), 0);
	/* What translates by a guest's tables must have a name there; what does not may do without. */
	nested = 0;
	expect_eq(object_destroy(vdev), 0);
	expect_eq(nested_alloc(STE_V | STE_S1 | tab_gpa(CDS), 0, &other), 0);
	expect_eq(attach_to(other), ENOENT);
	stream(STE_V | STE_BYPASS, 0);
	stream(STE_V | STE_ABORT, 0);
	stream(0, 0);
	expect_eq(vdevice_alloc(VSID, &vdev), 0);
	expect_eq(attach_to(other), 0);
	expect_eq(attach_to(nested), 0);
	smmu_ended();
}

/* The count says how far it went; what is wrong changes nothing. */
static void commands(void)
{
	struct iommu_viommu_arm_smmuv3_invalidate cmd[3] = {{{TLBI_ALL}}, {{0x04}}, {{TLBI_ALL}}};
	struct iommu_hwpt_invalidate c = {.size = sizeof(c),
					  .data_uptr = (uintptr_t)cmd,
					  .data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
					  .entry_len = sizeof(cmd[0]),
					  .entry_num = 3};
	const enum command good[] = {CFGI_CD, CFGI_CD_ALL, TLBI_ALL, TLBI_ASID, TLBI_VA, TLBI_VAA, NSNH_ALL, ATC};

	device_bound();
	dma_ioas = ioas_alloc(container);
	smmu_started();
	stream(STE_V | STE_BYPASS, 0);
	for (unsigned int op = 0; op < 256; op++) {
		int want = EIO;

		for (unsigned int i = 0; i < COUNT(good); i++)
			if (op == good[i])
				want = 0;
		expect_eq(command_errno(op | (uint64_t)VSID << 32, 0), want);
	}
	/* A StreamID that no device has. */
	for (unsigned int i = 0; i < COUNT(good); i++) {
		bool names = good[i] == CFGI_CD || good[i] == CFGI_CD_ALL || good[i] == ATC;

		expect_eq(command_errno(good[i] | (uint64_t)(VSID + 1) << 32, 0), names ? EIO : 0);
	}
	c.hwpt_id = viommu;
	expect_eq(ioctl_errno(container, IOMMU_HWPT_INVALIDATE, &c), EIO);
	expect_eq(c.entry_num, 1);
	cmd[1].cmd[0] = CFGI_CD_ALL | (uint64_t)VSID << 32;
	c.entry_num = 3;
	expect_eq(ioctl_errno(container, IOMMU_HWPT_INVALIDATE, &c), 0);
	expect_eq(c.entry_num, 3);
	/* No entries, entries of another kind, and of a page table that has no cache of its own. */
	c.entry_num = 0;
	expect_eq(ioctl_errno(container, IOMMU_HWPT_INVALIDATE, &c), EINVAL);
	c.entry_num = 1;
	c.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1;
	expect_eq(ioctl_errno(container, IOMMU_HWPT_INVALIDATE, &c), EINVAL);
	expect_eq(c.entry_num, 0);
	c.entry_num = 1;
	c.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
	c.hwpt_id = nested;
	expect_eq(ioctl_errno(container, IOMMU_HWPT_INVALIDATE, &c), EOPNOTSUPP);
	smmu_ended();
}

static void both_stages(void)
{
	uint64_t root = controller_nested();

	for (unsigned int i = 0; i < DATA; i++)
		expect_sees(g_iova(i), 'a' + i);
	expect(device_writes(g_iova(1), 'x'));
	expect_page(data_page(1), 'x', "what the device wrote");
	fill_page(data_page(1), 'b');
	expect_no_event();
	/* Without HA nothing is written into the tables. */
	expect_eq(*entry(root, g_iova(1), 0), data_gpa(1) | LEAF);
	expect_unreachable(g_iova(DATA));
	events_drain();
	/* Its own addresses are none of the table's. */
	expect_unreachable(DATA_GPA);
	events_drain();
	expect_untouched();
	expect_eq(object_destroy(viommu), EBUSY);
	expect_eq(object_destroy(nested), EBUSY);
	/* The second stage alone: what the guest calls bypass. */
	expect_eq(dma_map(outside, G_IOVA, PAGE, RW), 0);
	stream(STE_V | STE_BYPASS, 0);
	expect_sees(G_IOVA, 'A');
	expect_sees(data_gpa(2), 'c');
	expect_unreachable(g_iova(1));
	/* Faults of the second stage are not the guest's. */
	expect_no_event();
	expect_eq(attach_to(parent), 0);
	expect_sees(data_gpa(2), 'c');
	expect_untouched();
	nvme_stop();
	smmu_ended();
	expect_eq(object_destroy(viommu), EBUSY); /* the queue of events */
}

/* Hardware's updates, the upper range, and a top byte that means nothing. */
static void features(void)
{
	uint64_t root = controller_nested(), high;

	cd_set(cd_at(CDS, 0), CD_GOOD | CD_HA | CD_HD | ASID(7), root);
	set(entry(root, g_iova(0), 0), (data_gpa(0) | LEAF) & ~(uint64_t)AF);
	set(entry(root, g_iova(1), 0), data_gpa(1) | LEAF | RO | DBM);
	forget_all();
	expect_sees(g_iova(0), 'a');
	expect_eq(*entry(root, g_iova(0), 0), data_gpa(0) | LEAF);
	expect_sees(g_iova(1), 'b');
	expect_eq(*entry(root, g_iova(1), 0), data_gpa(1) | LEAF | RO | DBM);
	expect(device_writes(g_iova(1), 'b'));
	expect_eq(*entry(root, g_iova(1), 0), data_gpa(1) | LEAF | DBM);
	/* TTB1: 2^48 addresses up to the last. */
	high = table_new();
	set(entry(high, -PAGE & 0xffffffffffffUL, 0), data_gpa(3) | LEAF);
	set(entry(high, 0, 0), data_gpa(4) | LEAF);
	set(&cd_at(CDS, 0)[2], high);
	cd_set(cd_at(CDS, 0), (CD_GOOD & ~CD_EPD1) | 1UL << 38 /* TBI0 */ | ASID(7), root);
	forget_all();
	expect_sees(-PAGE, 'd');
	expect_sees(-1UL << 48, 'e');
	expect_sees(g_iova(2), 'c');
	expect_sees(g_iova(2) | 0xabUL << 56, 'c');
	events_drain();
	expect_unreachable(g_iova(2) | 1UL << 50);
	events_drain();
	expect_unreachable((-1UL << 48) - PAGE);
	events_drain();
	expect_unreachable((-PAGE) & ~(0xffUL << 56)); /* no TBI1 */
	events_drain();
	expect_untouched();
}

/* Whatever an entry, a context descriptor or a pointer to one says, the parent has the last word. */
static void confined(void)
{
	uint64_t root = controller_nested(), good;
	const uint64_t bad[] = {HOLE_GPA,	 0,	    DATA_GPA - PAGE,	data_gpa(DATA),
				(uintptr_t)data, 0x8000000, (1UL << 48) - PAGE, (uintptr_t)outside & 0xfffffffff000UL,
				0xfffffff000};

	for (unsigned int level = 0; level < 4; level++) {
		uint64_t *e = entry(root, G_IOVA, level), was = *e;

		for (unsigned int i = 0; i < COUNT(bad); i++) {
			/* Not a table that is none of the controller's, or it could not say so. */
			set(e, bad[i] | LEAF);
			tlbi(TLBI_VA, 7, G_IOVA);
			expect_unreachable(G_IOVA);
			if (level == 1 || level == 2) {
				uint64_t to = bad[i] & ~((1UL << (12 + 9 * level)) - 1);

				if (to == (DATA_GPA & ~((1UL << (12 + 9 * level)) - 1)))
					continue; /* that one leads to the data, and may */
				set(e, to | (LEAF & ~TABLE));
				tlbi(TLBI_ASID, 7, 0);
				/* A gigabyte from 0 has the queues. */
				if (to <= NVME_IOVA)
					expect_eq(device_sees(G_IOVA + (16UL << 20)), -1);
				else
					expect_unreachable(G_IOVA);
			}
			events_drain();
			expect_untouched();
		}
		set(e, was);
		tlbi(TLBI_ALL, 0, 0);
		expect_sees(G_IOVA, 'a');
	}
	/* The controller has to do without its queues from here on, so it is reached through a probe of what it reads.
	 */
	good = cd_at(CDS, 0)[0];
	nvme_stop();
	for (unsigned int i = 0; i < COUNT(bad); i++) {
		cd_set(cd_at(CDS, 0), good, bad[i]);
		forget_all();
		stream(STE_V | STE_S1 | bad[i], 0);
		stream(STE_V | STE_S1 | CDMAX(20) | STE_2LEVEL | bad[i], DSS_SSID0);
		stream(STE_V | STE_S1 | tab_gpa(CDS), 0);
		expect_untouched();
	}
	smmu_ended();
}

static void rights(void)
{
	uint64_t root = controller_nested();

	set(entry(root, g_iova(1), 0), data_gpa(1) | LEAF | RO);
	set(entry(root, g_iova(2), 0), data_gpa(2) | (LEAF & ~USER));
	tlbi(TLBI_ALL, 0, 0);
	expect_sees(g_iova(1), 'b');
	expect(!device_writes(g_iova(1), 'x'));
	expect_event(F_PERMISSION, g_iova(1), true, 0);
	expect_unreachable(g_iova(2));
	events_drain();
	expect_eq(space_unmap(dma_ioas, data_gpa(0), PAGE), 0);
	expect_unreachable(g_iova(0));
	expect_no_event();
	expect_eq(space_map(dma_ioas, data_page(0), data_gpa(0), PAGE, RD), 0);
	expect_sees(g_iova(0), 'a');
	expect(!device_writes(g_iova(0), 'x'));
	expect_no_event();
	expect_untouched();
}

/* E2: stale until the command for it, and never after. */
static void stale(void)
{
	uint64_t root = controller_nested(), other = root_new();

	set(entry(other, g_iova(0), 0), data_gpa(5) | LEAF);
	for (unsigned int round = 0; round < 5; round++) {
		enum command op[] = {TLBI_VA, TLBI_VAA, TLBI_ASID, TLBI_ALL, NSNH_ALL};
		unsigned int asid = 7;

		expect_sees(g_iova(0), 'a');
		set(entry(root, g_iova(0), 0), data_gpa(4) | LEAF);
		expect_sees_one_of(g_iova(0), 'a', 'e');
		tlbi(op[round], asid, g_iova(0));
		expect_sees(g_iova(0), 'e');
		set(entry(root, g_iova(0), 0), 0);
		tlbi(op[round], asid, g_iova(0));
		expect_unreachable(g_iova(0));
		events_drain();
		set(entry(root, g_iova(0), 0), data_gpa(0) | LEAF);
		tlbi(op[round], asid, g_iova(0));
		expect_sees(g_iova(0), 'a');
	}
	/* Another table, of another ASID: until CFGI_CD the old descriptor may count, until a TLBI the old walks. */
	for (unsigned int round = 0; round < 10; round++) {
		bool to_other = !(round % 2);

		cd_set(cd_at(CDS, 0), CD_GOOD | ASID(7 + to_other), to_other ? other : root);
		expect_sees_one_of(g_iova(0), to_other ? 'a' : 'f', to_other ? 'f' : 'a');
		cfgi(round % 3 ? CFGI_CD : CFGI_CD_ALL, 0);
		tlbi(TLBI_ASID, 8 - to_other, 0);
		expect_sees(g_iova(0), to_other ? 'f' : 'a');
	}
	/* One that is wrong is not remembered. */
	cd_set(cd_at(CDS, 0), 0, 0);
	forget_all();
	nvme_stop();
	expect_untouched();
	smmu_ended();
}

const struct client_case smmu_cases[] = {
    {"smmu-answers", "what is said of the SMMU, and what of a guest's is refused", answers},
    {"smmu-commands", "commands, one by one and in a row", commands},
    {"smmu-both-stages", "E1: DMA through a guest's descriptor and tables, and the parent", both_stages},
    {"smmu-features", "hardware updates, the upper range, top byte ignored", features},
    {"smmu-confined", "E1: entries and pointers that lead where the parent maps nothing", confined},
    {"smmu-rights", "E1: what either stage forbids is forbidden", rights},
    {"smmu-stale", "E2: stale until the command, and never after", stale},
    {NULL, NULL, NULL},
};
