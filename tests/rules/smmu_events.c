/* SPDX-License-Identifier: BSD-3-Clause */
/* Event records, PASIDs, and what changes under DMA, with the device that does nothing but what it was told. */
#include "ats.h"
#include "smmu.h"

#include <pthread.h>
#include <unistd.h>

#define BACK_IOVA 0x7000000UL
static uint8_t *back;

static void ats_nested(void)
{
	ats_bound();
	smmu_started();
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
	smmu_ended();
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
	smmu_ended();
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
	/* On a busy machine the changer may not get on for a while. */
	for (unsigned int i = 0; i < 4000 || !seen || !refused; i++) {
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
	expect_untouched();
	smmu_ended();
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
	smmu_ended();
	ats_gone();
}

const struct client_case smmu_event_cases[] = {
    {"smmu-records", "an event record for each way to fail in the first stage, and none for the second", records},
    {"smmu-pasids", "a context descriptor for each PASID", pasids},
    {"smmu-racing", "E1: descriptors and tables that change under DMA", racing},
    {"smmu-events-lost", "C1: nobody reads the events", events_lost},
    {NULL, NULL, NULL},
};
