/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules E1 and E2 behind a virtual SMMUv3, with real devices: a stream table entry, context descriptors and AArch64
 * tables of the client's own, over a parent that maps some of the client's memory; commands that invalidate, and event
 * records. Layouts: Arm SMMU architecture version 3 (IHI 0070), chapters 4, 5 and 7.
 *
 * "gpa" is an address that the parent translates, "iova" one that the tables do.
 */
#include "ats.h"

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- layouts ---- */

#define STE_V	   1UL
#define STE_ABORT  (0UL << 1)
#define STE_BYPASS (4UL << 1)
#define STE_S1	   (5UL << 1)
#define STE_2LEVEL (1UL << 4)
#define CDMAX(n)   ((uint64_t)(n) << 59)
enum { DSS_TERMINATE = 0, DSS_BYPASS = 1, DSS_SSID0 = 2 };

#define CD_V	(1UL << 31)
#define CD_EPD0 (1UL << 14)
#define CD_EPD1 (1UL << 30)
#define CD_IPS	(5UL << 32) /* 48 bits */
#define CD_AA64 (1UL << 41)
#define CD_HD	(1UL << 42)
#define CD_HA	(1UL << 43)
#define CD_S	(1UL << 44)
#define CD_R	(1UL << 45)
#define CD_A	(1UL << 46)
#define CD_TG1	(2UL << 22)		    /* 4 KiB */
#define CD_T(n) ((uint64_t)(n) | (n) << 16) /* T0SZ, T1SZ */
#define CD_GOOD (CD_T(16UL) | CD_TG1 | CD_EPD1 | CD_V | CD_IPS | CD_AA64 | CD_R | CD_A)
#define ASID(n) ((uint64_t)(n) << 48)

enum { VALID = 1, TABLE = 2, USER = 1 << 6, RO = 1 << 7, AF = 1 << 10 };
#define LEAF (VALID | TABLE | USER | AF)
#define DBM  (1UL << 51)

enum command {
	CFGI_CD = 5,
	CFGI_CD_ALL = 6,
	TLBI_ALL = 0x10,
	TLBI_ASID,
	TLBI_VA,
	TLBI_VAA,
	NSNH_ALL = 0x30,
	ATC = 0x40
};
enum event {
	BAD_STE = 4,
	STREAM_DISABLED = 6,
	BAD_SUBSTREAMID = 8,
	BAD_CD = 10,
	F_TRANSLATION = 16,
	F_ADDR_SIZE,
	F_ACCESS,
	F_PERMISSION
};

/* ---- memory ---- */

#define TABLES	 48u
#define TAB_GPA	 0x40000000UL
#define DATA_GPA 0x50000000UL
#define HOLE_GPA 0x60000000UL
#define G_IOVA	 (5UL << 39 | 3UL << 30) /* shares nothing but the root with where the controller's queues are */
#define DATA	 6u
#define VSID	 0x1234u

/* The first pages of the tables: CDs, an L1 table of them, another page of CDs. */
enum { CDS, L1CDS, MORE_CDS, FIRST_TABLE };

static uint64_t *tab; /* TABLES pages; the parent has the i-th at TAB_GPA + i pages, each an area of its own */
static unsigned int ntab;
static uint8_t *data, *outside; /* DATA pages that the parent maps, and as many that it does not */
static uint32_t parent, viommu, vdev, nested;
static int events = -1;

static uint64_t tab_gpa(unsigned int i)
{
	return TAB_GPA + i * PAGE;
}

static uint64_t *tab_at(uint64_t gpa)
{
	return tab + (gpa - TAB_GPA) / 8;
}

static uint64_t table_new(void)
{
	expect(ntab < TABLES);
	return tab_gpa(ntab++);
}

static void set(uint64_t *e, uint64_t v)
{
	__atomic_store_n(e, v, __ATOMIC_SEQ_CST);
}

/* The entry for iova in a table of this level, 3 being the root's (which Arm calls 0). */
static uint64_t *entry(uint64_t root, uint64_t iova, unsigned int level)
{
	uint64_t *t = tab_at(root);

	for (unsigned int l = 3; l > level; l--) {
		uint64_t *e = &t[iova >> (12 + 9 * l) & 511];

		if (!(*e & VALID))
			*e = table_new() | VALID | TABLE;
		t = tab_at(*e & 0xfffffffff000UL);
	}
	return &t[iova >> (12 + 9 * level) & 511];
}

static uint64_t *cd_at(unsigned int page, unsigned int i)
{
	return tab_at(tab_gpa(page)) + 8 * i;
}

static void cd_set(uint64_t *cd, uint64_t word0, uint64_t root)
{
	set(&cd[0], 0);
	set(&cd[1], root);
	set(&cd[0], word0);
}

static uint64_t data_gpa(unsigned int i)
{
	return DATA_GPA + i * PAGE;
}

static uint64_t g_iova(unsigned int i)
{
	return G_IOVA + i * PAGE;
}

static uint8_t *data_page(unsigned int i)
{
	return data + i * PAGE;
}

static void expect_untouched(void)
{
	for (unsigned int i = 0; i < DATA; i++) {
		expect_page(data_page(i), 'a' + i, "what the parent maps elsewhere");
		expect_page(outside + i * PAGE, 'A' + i, "what the parent does not map");
	}
}

/* ---- calls ---- */

static int command_errno(uint64_t w0, uint64_t w1)
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

static void tlbi(enum command op, unsigned int asid, uint64_t iova)
{
	expect_eq(command_errno(op | ASID(asid), iova & ~0xfffUL), 0);
}

static void cfgi(enum command op, unsigned int ssid)
{
	expect_eq(command_errno(op | (uint64_t)VSID << 32 | 1 << 11 | (uint64_t)ssid << 12, 0), 0);
}

static void forget_all(void)
{
	cfgi(CFGI_CD_ALL, 0);
	tlbi(TLBI_ALL, 0, 0);
}

static int nested_alloc(uint64_t ste0, uint64_t ste1, uint32_t *id)
{
	struct iommu_hwpt_arm_smmuv3 ste = {.ste = {ste0, ste1}};

	return hwpt_alloc(viommu, 0, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, sizeof(ste), id);
}

static int viommu_alloc(uint32_t type, uint32_t hwpt, uint32_t *id)
{
	struct iommu_viommu_alloc a = {.size = sizeof(a), .type = type, .dev_id = devid, .hwpt_id = hwpt};
	int err = ioctl_errno(container, IOMMU_VIOMMU_ALLOC, &a);

	*id = a.out_viommu_id;
	return err;
}

static int vdevice_alloc(uint64_t virt_id, uint32_t *id)
{
	struct iommu_vdevice_alloc a = {.size = sizeof(a), .viommu_id = viommu, .dev_id = devid, .virt_id = virt_id};
	int err = ioctl_errno(container, IOMMU_VDEVICE_ALLOC, &a);

	*id = a.out_vdevice_id;
	return err;
}

/* The device works behind another stream table entry from now on. */
static void stream(uint64_t ste0, uint64_t ste1)
{
	uint32_t old = nested;

	expect_eq(nested_alloc(ste0, ste1, &nested), 0);
	expect_eq(attach_to(nested), 0);
	if (old)
		expect_eq(object_destroy(old), 0);
}

/* ---- events ---- */

struct record {
	struct iommufd_vevent_header header;
	uint64_t evt[4];
};

static bool event_take(struct record *r)
{
	struct pollfd p = {.fd = events, .events = POLLIN};

	if (poll(&p, 1, 0) <= 0)
		return false;
	expect_eq(read(events, r, sizeof(*r)), sizeof(*r));
	expect_eq(r->header.flags, 0);
	return true;
}

static void events_drain(void)
{
	struct record r;

	while (event_take(&r))
		;
}

/* One or more of these, and nothing else; then nothing more. address: for those that have one. */
static void expect_event(enum event what, uint64_t address, bool write, unsigned int ssid)
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

static void expect_no_event(void)
{
	struct record r;

	if (event_take(&r))
		fail("an event %#llx", (unsigned long long)r.evt[0]);
}

/* ---- setup ---- */

/* Everything but what is attached: bound is the device already. */
static void guest_started(void)
{
	struct iommu_veventq_alloc q = {.size = sizeof(q), .type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, .veventq_depth = 64};

	expect_eq(hwpt_alloc(dma_ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, 0, NULL, 0, &parent), 0);
	tab = pages_alloc(TABLES * PAGE);
	data = pages_alloc(DATA * PAGE);
	outside = pages_alloc(DATA * PAGE);
	ntab = FIRST_TABLE;
	nested = 0;
	for (unsigned int i = 0; i < TABLES; i++)
		expect_eq(dma_map(tab_at(tab_gpa(i)), tab_gpa(i), PAGE, RW), 0);
	for (unsigned int i = 0; i < DATA; i++) {
		expect_eq(dma_map(data_page(i), data_gpa(i), PAGE, RW), 0);
		fill_page(data_page(i), 'a' + i);
		fill_page(outside + i * PAGE, 'A' + i);
	}
	expect_eq(viommu_alloc(IOMMU_VIOMMU_TYPE_ARM_SMMUV3, parent, &viommu), 0);
	expect_eq(vdevice_alloc(VSID, &vdev), 0);
	q.viommu_id = viommu;
	expect_eq(ioctl(container, IOMMU_VEVENTQ_ALLOC, &q), 0);
	events = q.out_veventq_fd;
}

/* A table that has the data at G_IOVA, and the controller's queues. */
static uint64_t root_new(void)
{
	uint64_t root = table_new();

	for (unsigned int i = 0; i < 5; i++)
		set(entry(root, NVME_IOVA + i * PAGE, 0), (NVME_IOVA + i * PAGE) | LEAF);
	set(entry(root, MIRROR_IOVA, 0), MIRROR_IOVA | LEAF);
	for (unsigned int i = 0; i < DATA; i++)
		set(entry(root, g_iova(i), 0), data_gpa(i) | LEAF);
	return root;
}

/* The controller behind one context descriptor. */
static uint64_t controller_nested(void)
{
	uint64_t root;

	device_bound();
	dma_ioas = ioas_alloc(container);
	guest_started();
	root = root_new();
	cd_set(cd_at(CDS, 0), CD_GOOD | ASID(7), root);
	stream(STE_V | STE_S1 | tab_gpa(CDS), 0);
	controller_start();
	return root;
}

static void guest_ended(void)
{
	expect_eq(cdev_detach(device), 0);
	expect_eq(object_destroy(nested), 0);
	expect_eq(object_destroy(vdev), 0);
	close(events);
	events = -1;
}

/* ---- cases ---- */

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
	guest_started();
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
	guest_ended();
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
	guest_started();
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
	guest_ended();
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
	guest_ended();
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
	guest_ended();
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

static void expect_sees_one_of(uint64_t iova, int a, int b)
{
	int c = device_sees(iova);

	if (c != a && c != b)
		fail("a device sees %d", c);
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
	guest_ended();
}

/* ---- events, with the device that says nothing but what it was told ---- */

#define BACK_IOVA 0x7000000UL
static uint8_t *back;

static void ats_nested(void)
{
	ats_bound();
	guest_started();
	back = pages_alloc(PAGE);
	expect_eq(dma_map(back, BACK_IOVA, PAGE, RW), 0);
}

/* Pasid's tables have the n-th page of data at G_IOVA. */
static uint64_t pasid_root(unsigned int n)
{
	uint64_t root = table_new();

	set(entry(root, G_IOVA, 0), data_gpa(n) | LEAF);
	set(entry(root, BACK_IOVA, 0), BACK_IOVA | LEAF);
	return root;
}

static int sees(uint64_t iova)
{
	ats_start((void *)iova, ATS_READ);
	if (ats_finish() != ATS_DONE)
		return -1;
	fill_page(back, 0xee);
	ats_start((void *)BACK_IOVA, ATS_WRITE);
	expect_eq(ats_finish(), ATS_DONE);
	return back[0];
}

static bool writes(uint64_t iova)
{
	ats_start((void *)iova, ATS_WRITE);
	return ats_finish() == ATS_DONE;
}

static void records(void)
{
	uint64_t root, *cd = NULL, good;
	const uint64_t wrong[] = {CD_V, CD_AA64, CD_A};

	ats_nested();
	cd = cd_at(CDS, 0);
	root = pasid_root(0);
	good = CD_GOOD | ASID(1);
	cd_set(cd, good, root);
	stream(STE_V | STE_S1 | tab_gpa(CDS), 0);
	expect_eq(sees(G_IOVA), 'a');
	expect_no_event();
	/* Walks. */
	expect_eq(sees(G_IOVA + PAGE), -1);
	expect_event(F_TRANSLATION, G_IOVA + PAGE, false, 0);
	expect(!writes(-PAGE));
	expect_event(F_TRANSLATION, -PAGE, true, 0);
	set(entry(root, G_IOVA, 0), (data_gpa(0) | LEAF) & ~(uint64_t)AF);
	tlbi(TLBI_ALL, 0, 0);
	expect_eq(sees(G_IOVA), -1);
	expect_event(F_ACCESS, G_IOVA, false, 0);
	set(entry(root, G_IOVA, 0), data_gpa(0) | LEAF | RO);
	expect(!writes(G_IOVA));
	expect_event(F_PERMISSION, G_IOVA, true, 0);
	cd_set(cd, (good & ~(7UL << 32)), root); /* IPS: 32 bits */
	set(entry(root, G_IOVA, 0), 1UL << 40 | LEAF);
	forget_all();
	expect_eq(sees(G_IOVA), -1);
	expect_event(F_ADDR_SIZE, G_IOVA, false, 0);
	set(entry(root, G_IOVA, 0), 0);
	/* Unless it says that they are not to be recorded. */
	cd_set(cd, good & ~CD_R, root);
	forget_all();
	expect_eq(sees(G_IOVA), -1);
	expect_eq(sees(-PAGE), -1);
	expect_no_event();
	set(entry(root, G_IOVA, 0), data_gpa(0) | LEAF);
	/* Descriptors. */
	for (unsigned int i = 0; i < COUNT(wrong); i++) {
		cd_set(cd, good & ~wrong[i], root);
		forget_all();
		expect_eq(sees(G_IOVA), -1);
		expect_event(BAD_CD, 0, false, 0);
	}
	const uint64_t bad[] = {good | CD_S, (good & ~63UL) | 15, (good & ~63UL) | 40, good | 3 << 6,
				good & ~CD_EPD1 & ~(3UL << 22)};

	for (unsigned int i = 0; i < COUNT(bad); i++) {
		cd_set(cd, bad[i], root);
		forget_all();
		expect_eq(sees(G_IOVA), -1);
		expect_event(BAD_CD, 0, false, 0);
	}
	/* TTB0 beyond what it says it can put out; of a range that is off nothing counts. */
	cd_set(cd, good & ~(7UL << 32), 1UL << 40);
	forget_all();
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_CD, 0, false, 0);
	cd_set(cd, good | CD_EPD0, root);
	forget_all();
	expect_eq(sees(G_IOVA), -1);
	expect_event(F_TRANSLATION, G_IOVA, false, 0);
	cd_set(cd, good, root);
	/* A descriptor, and a table, that the parent does not map: the second stage's. */
	stream(STE_V | STE_S1 | HOLE_GPA, 0);
	expect_eq(sees(G_IOVA), -1);
	cd_set(cd, good, HOLE_GPA);
	stream(STE_V | STE_S1 | tab_gpa(CDS), 0);
	expect_eq(sees(G_IOVA), -1);
	/* An abort is silent, and so is an entry that is not valid. */
	stream(STE_V | STE_ABORT, 0);
	expect_eq(sees(G_IOVA), -1);
	stream(0, 0);
	expect_eq(sees(G_IOVA), -1);
	expect_no_event();
	/* An entry that the kernel lets through and the SMMU does not. */
	stream(STE_V | STE_S1 | tab_gpa(CDS), 1UL << 27);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_STE, 0, false, 0);
	stream(STE_V | STE_S1 | CDMAX(21) | tab_gpa(CDS), 0);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_STE, 0, false, 0);
	/* A device whose name is gone has nobody to tell. */
	expect_eq(object_destroy(vdev), 0);
	expect_eq(sees(G_IOVA), -1);
	expect_no_event();
	expect_eq(vdevice_alloc(VSID, &vdev), 0);
	expect_untouched();
	guest_ended();
	ats_gone();
}

static void pasids(void)
{
	uint64_t root[3], two_level = STE_V | STE_S1 | CDMAX(8) | STE_2LEVEL | tab_gpa(L1CDS);

	ats_nested();
	for (unsigned int i = 0; i < 3; i++)
		root[i] = pasid_root(i);
	cd_set(cd_at(CDS, 0), CD_GOOD | ASID(1), root[0]);
	cd_set(cd_at(CDS, 5), CD_GOOD | ASID(2), root[1]);
	cd_set(cd_at(MORE_CDS, 6), CD_GOOD | ASID(3), root[2]); /* 70 */
	set(cd_at(L1CDS, 0), tab_gpa(CDS) | 1);
	set(cd_at(L1CDS, 0) + 1, tab_gpa(MORE_CDS) | 1);
	stream(two_level, DSS_SSID0);
	for (unsigned int round = 0; round < 3; round++) {
		ats_pasid(0);
		expect_eq(sees(G_IOVA), 'a');
		ats_pasid(5);
		expect_eq(sees(G_IOVA), 'b');
		ats_pasid(70);
		expect_eq(sees(G_IOVA), 'c');
	}
	expect_no_event();
	expect_eq(sees(G_IOVA + PAGE), -1);
	expect_event(F_TRANSLATION, G_IOVA + PAGE, false, 70);
	/* A descriptor that is not valid, a second-level table that is not, and a number beyond them. */
	ats_pasid(6);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_CD, 0, false, 6);
	ats_pasid(128);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_SUBSTREAMID, 0, false, 128);
	ats_pasid(256);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_SUBSTREAMID, 0, false, 256);
	/* A command for one leaves the others. */
	ats_pasid(5);
	expect_eq(sees(G_IOVA), 'b');
	cd_set(cd_at(CDS, 5), CD_GOOD | ASID(4), root[2]);
	cfgi(CFGI_CD, 5);
	tlbi(TLBI_ASID, 2, 0);
	expect_eq(sees(G_IOVA), 'c');
	/* The parent's unmap holds for all of them. */
	expect_eq(space_unmap(dma_ioas, data_gpa(2), PAGE), 0);
	expect_eq(sees(G_IOVA), -1);
	expect_no_event();
	expect_eq(space_map(dma_ioas, data_page(2), data_gpa(2), PAGE, RW), 0);
	expect_eq(sees(G_IOVA), 'c');
	/* What is without one: ended, or not translated; and a linear table. */
	stream((two_level & ~(STE_2LEVEL | 0xfffffffff000UL)) | tab_gpa(CDS) | CDMAX(0), DSS_TERMINATE);
	ats_pasid(0);
	expect_eq(sees(G_IOVA), -1);
	expect_event(STREAM_DISABLED, 0, false, 0);
	ats_pasid(5);
	expect_eq(sees(G_IOVA), 'c');
	stream(two_level, DSS_BYPASS);
	ats_pasid(0);
	expect_eq(sees(data_gpa(3)), 'd');
	expect_eq(sees(G_IOVA), -1);
	expect_no_event();
	stream(two_level, 3);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_STE, 0, false, 0);
	/* Without substreams, and without a first stage, there are no PASIDs. */
	stream(STE_V | STE_S1 | tab_gpa(CDS), 3);
	expect_eq(sees(G_IOVA), 'a');
	ats_pasid(5);
	expect_eq(sees(G_IOVA), -1);
	expect_event(BAD_SUBSTREAMID, 0, false, 5);
	stream(STE_V | STE_BYPASS, 0);
	expect_eq(sees(data_gpa(3)), -1);
	expect_event(BAD_SUBSTREAMID, 0, false, 5);
	/* The kernel's own page table has none either. */
	expect_eq(attach_to(parent), 0);
	expect_eq(sees(data_gpa(3)), -1);
	expect_no_event();
	expect_eq(attach_to(nested), 0);
	expect_eq(pasid_attach(9, parent), EINVAL);
	expect_untouched();
	guest_ended();
	ats_gone();
}

/* ---- what changes under DMA ---- */

static bool stop;

static void *changer(void *arg)
{
	uint64_t *root = arg, *e = entry(*root, G_IOVA, 0), *up = entry(*root, G_IOVA, 2), *cd = cd_at(CDS, 1);
	uint64_t *l1 = cd_at(L1CDS, 0), branch = *up;
	const uint64_t leaf[] = {data_gpa(0) | LEAF, data_gpa(1) | LEAF, 0, HOLE_GPA | LEAF,
				 ((uintptr_t)outside & 0xfffffffff000UL) | LEAF};
	const uint64_t branches[] = {branch, branch, 0, *root | VALID | TABLE, HOLE_GPA | (LEAF & ~TABLE)};
	const uint64_t words[] = {CD_GOOD | ASID(2), CD_GOOD | ASID(3), 0, CD_GOOD | CD_S, ~0UL, CD_GOOD | 3 << 6};
	const uint64_t ttbs[] = {*root, *root, tab_gpa(CDS), tab_gpa(L1CDS), HOLE_GPA, ~0UL};
	const uint64_t l1s[] = {tab_gpa(CDS) | 1, tab_gpa(CDS) | 1, 0, tab_gpa(L1CDS) | 1, HOLE_GPA | 1, ~0UL};

	for (unsigned int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		set(e, leaf[i * 7 % COUNT(leaf)]);
		if (i % 3 == 0)
			set(up, branches[i / 3 % COUNT(branches)]);
		if (i % 5 == 0)
			set(&cd[0], words[i / 5 % COUNT(words)]);
		if (i % 7 == 0)
			set(&cd[1], ttbs[i / 7 % COUNT(ttbs)]);
		if (i % 11 == 0)
			set(l1, l1s[i / 11 % COUNT(l1s)]);
	}
	return NULL;
}

/* Loops, pointers out of range, everything in motion: the device reads what some version of all this leads to. */
static void racing(void)
{
	unsigned int seen = 0, refused = 0;
	uint64_t root;
	pthread_t t;

	ats_nested();
	root = pasid_root(0);
	cd_set(cd_at(CDS, 0), CD_GOOD | ASID(1), root);
	cd_set(cd_at(CDS, 1), CD_GOOD | ASID(2), root);
	set(cd_at(L1CDS, 0), tab_gpa(CDS) | 1);
	stream(STE_V | STE_S1 | CDMAX(10) | STE_2LEVEL | tab_gpa(L1CDS), DSS_SSID0);
	ats_pasid(1);
	stop = false;
	expect_eq(pthread_create(&t, NULL, changer, &root), 0);
	for (unsigned int i = 0; i < 4000; i++) {
		if (i % 3)
			forget_all();
		ats_start((void *)G_IOVA, ATS_READ); /* may read a table, which is the client's own */
		if (ats_finish() == ATS_DONE)
			seen++;
		else
			refused++;
		if (i % 64 == 0)
			events_drain();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	expect(refused);
	expect(seen);
	expect_untouched();
	guest_ended();
	ats_gone();
}

/* More events than fit are lost, and it says so; the device's DMA goes on. */
static void events_lost(void)
{
	struct record r;
	unsigned int n = 0;

	ats_nested();
	cd_set(cd_at(CDS, 0), CD_GOOD | ASID(1), pasid_root(0));
	stream(STE_V | STE_S1 | tab_gpa(CDS), 0);
	for (unsigned int i = 0; i < 100; i++)
		expect_eq(sees(G_IOVA + PAGE), -1);
	expect_eq(sees(G_IOVA), 'a');
	for (; n < 64; n++) {
		expect(event_take(&r));
		expect_eq(r.header.sequence, n);
		expect_eq(r.evt[0], F_TRANSLATION | (uint64_t)VSID << 32);
	}
	expect_eq(read(events, &r, sizeof(r.header)), sizeof(r.header));
	expect_eq(r.header.flags, IOMMU_VEVENTQ_FLAG_LOST_EVENTS);
	expect_eq(r.header.sequence, 64);
	expect_no_event();
	guest_ended();
	ats_gone();
}

const struct client_case smmu_cases[] = {
    {"smmu-answers", "what is said of the SMMU, and what of a guest's is refused", answers},
    {"smmu-commands", "commands, one by one and in a row", commands},
    {"smmu-both-stages", "E1: DMA through a guest's descriptor and tables, and the parent", both_stages},
    {"smmu-features", "hardware updates, the upper range, top byte ignored", features},
    {"smmu-confined", "E1: entries and pointers that lead where the parent maps nothing", confined},
    {"smmu-rights", "E1: what either stage forbids is forbidden", rights},
    {"smmu-stale", "E2: stale until the command, and never after", stale},
    {"smmu-records", "an event record for each way to fail in the first stage, and none for the second", records},
    {"smmu-pasids", "a context descriptor for each PASID", pasids},
    {"smmu-racing", "E1: descriptors and tables that change under DMA", racing},
    {"smmu-events-lost", "C1: nobody reads the events", events_lost},
    {NULL, NULL, NULL},
};
