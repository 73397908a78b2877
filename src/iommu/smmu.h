/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stream of an SMMUv3 whose first stage a guest configures: Arm System Memory Management Unit Architecture
 * Specification, SMMU architecture version 3 (IHI 0070). A stream table entry (STE, 5.2) says where the table of
 * context descriptors is, a context descriptor (CD, 5.4), one for each substream (a PASID), where the translation
 * tables are.
 *
 * The STE comes in private; the rest lies in the guest's memory, whose addresses are the parent's. What has been read
 * of it is used until it is invalidated (4.3: CMD_CFGI_CD), as the walks that were made with it are (4.4: CMD_TLBI_*);
 * descriptors that are wrong are read anew.
 *
 * What this SMMU can do is said by the numbers below and in the registers that iommufd/smmuv3.c tells of: 48 bits of
 * output address, 20 of substream, two-level CD tables, all granules, both endiannesses, hardware updates of access
 * flag and dirty state; AArch64 tables alone, faults end the transaction (no stall) and abort it.
 */
#ifndef PINFOLD_IOMMU_SMMU_H
#define PINFOLD_IOMMU_SMMU_H

#include <stdbool.h>
#include <stdint.h>

struct dma_dev;
struct domain;
struct smmu_stream;

#define SMMU_OAS_BITS  48 /* SMMU_IDR5.OAS */
#define SMMU_VA_BITS   48 /* SMMU_IDR5.VAX */
#define SMMU_SSID_BITS 20 /* SMMU_IDR1.SSIDSIZE */

/* The two doublewords of an STE that are about the first stage (5.2). */
#define SMMU_STE_V	       BIT64(0)
#define SMMU_STE_CONFIG_SHIFT  1
#define SMMU_STE_CONFIG	       (7ull << SMMU_STE_CONFIG_SHIFT)
#define SMMU_STE_S1FMT_SHIFT   4
#define SMMU_STE_S1FMT	       (3ull << SMMU_STE_S1FMT_SHIFT)
#define SMMU_STE_S1CONTEXTPTR  0x000fffffffffffc0ull
#define SMMU_STE_S1CDMAX_SHIFT 59
#define SMMU_STE_S1CDMAX       (31ull << SMMU_STE_S1CDMAX_SHIFT)
#define SMMU_STE1_S1DSS	       3ull
#define SMMU_STE1_S1CIR	       (3ull << 2)
#define SMMU_STE1_S1COR	       (3ull << 4)
#define SMMU_STE1_S1CSH	       (3ull << 6)
#define SMMU_STE1_S1STALLD     BIT64(27)
#define SMMU_STE1_EATS_SHIFT   28
#define SMMU_STE1_EATS	       (3ull << SMMU_STE1_EATS_SHIFT)
enum smmu_config { SMMU_ABORT = 0, SMMU_BYPASS = 4, SMMU_S1 = 5 };
enum smmu_s1fmt { SMMU_LINEAR = 0, SMMU_2LEVEL_4K = 1, SMMU_2LEVEL_64K = 2 };
enum smmu_s1dss { SMMU_DSS_TERMINATE = 0, SMMU_DSS_BYPASS = 1, SMMU_DSS_SSID0 = 2 };

/* Events (7.3) that a first stage has. */
enum smmu_event {
	SMMU_C_BAD_STE = 0x04,
	SMMU_F_STREAM_DISABLED = 0x06,
	SMMU_C_BAD_SUBSTREAMID = 0x08,
	SMMU_C_BAD_CD = 0x0a,
	SMMU_F_TRANSLATION = 0x10,
	SMMU_F_ADDR_SIZE = 0x11,
	SMMU_F_ACCESS = 0x12,
	SMMU_F_PERMISSION = 0x13,
};
struct smmu_record {
	uint64_t dw[4]; /* StreamID is 0: it is for who knows it */
};

/*
 * Told of each event of who's, in the midst of its DMA: changes nothing of what is attached to what. Faults of the
 * second stage are none: they are not the guest's business.
 */
typedef void smmu_report_fn(void *ctx, const struct dma_dev *who, const struct smmu_record *r);

/* Words 0 and 1 of an STE: V may be 0, and what is wrong is found when the stream is used. NULL: out of memory. */
struct smmu_stream *smmu_stream_new(uint64_t ste0, uint64_t ste1, smmu_report_fn *report, void *ctx);
void smmu_stream_free(struct smmu_stream *s);
/* d, a nested domain, translates as the stream says; the stream must outlive it. */
void smmu_stream_serve(struct smmu_stream *s, struct domain *d);
enum smmu_config smmu_stream_config(const struct smmu_stream *s);

/* CMD_CFGI_CD, CMD_CFGI_CD_ALL: what is known of one CD, or of all, is forgotten. Translations stay. */
void smmu_stream_forget_cd(struct smmu_stream *s, uint32_t ssid);
void smmu_stream_forget_cds(struct smmu_stream *s);
/* CMD_TLBI_*: translations made with a CD of this ASID are forgotten, or all. */
void smmu_stream_flush_asid(struct smmu_stream *s, uint16_t asid);
void smmu_stream_flush(struct smmu_stream *s);

/* For smmu_event.c and tests. */
struct stage1_fault;
/* False: it is nothing that is recorded. recorded: CD.R, of the CD that was used. */
bool smmu_record_of(const struct stage1_fault *f, uint32_t ssid, struct smmu_record *r);

#endif
