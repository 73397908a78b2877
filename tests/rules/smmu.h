/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest behind a virtual SMMUv3, with real devices: a stream table entry, context descriptors and AArch64 tables of
 * the client's own; commands that invalidate, and event records. Layouts: Arm SMMU architecture version 3 (IHI 0070),
 * chapters 4, 5 and 7.
 */
#ifndef PINFOLD_TESTS_SMMU_H
#define PINFOLD_TESTS_SMMU_H

#include "guest.h"

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

#define VSID 0x1234u

/* The first pages of the tables: CDs, an L1 table of them, another page of CDs. */
enum { CDS, L1CDS, MORE_CDS, FIRST_TABLE };

extern uint32_t viommu, vdev;
extern int events; /* the queue's descriptor */

/* Everything but what is attached: bound is the device already. */
void smmu_started(void);
/* The controller behind one context descriptor, of ASID 7. Returns the root of its tables. */
uint64_t controller_nested(void);
void smmu_ended(void); /* detached; what has a name of its own, and the queue, are gone */

/* The entry for iova in a table of this level, 3 being the root's (which Arm calls 0). */
uint64_t *entry(uint64_t root, uint64_t iova, unsigned int level);
/* A table that has the data at G_IOVA, and the controller's queues. */
uint64_t root_new(void);
uint64_t *cd_at(unsigned int page, unsigned int i);
void cd_set(uint64_t *cd, uint64_t word0, uint64_t root);
/* The device works behind another stream table entry from now on. */
void stream(uint64_t ste0, uint64_t ste1);

/* errno, 0 for none. */
int command_errno(uint64_t w0, uint64_t w1);
int nested_alloc(uint64_t ste0, uint64_t ste1, uint32_t *id);
int viommu_alloc(uint32_t type, uint32_t hwpt, uint32_t *id);
int vdevice_alloc(uint64_t virt_id, uint32_t *id);

void tlbi(enum command op, unsigned int asid, uint64_t iova);
void cfgi(enum command op, unsigned int ssid);
void forget_all(void);

struct record {
	struct iommufd_vevent_header header;
	uint64_t evt[4];
};
bool event_take(struct record *r);
void events_drain(void);
/* One or more of these, and nothing else; then nothing more. address: for those that have one. */
void expect_event(enum event what, uint64_t address, bool write, unsigned int ssid);
void expect_no_event(void);

#endif
