/* SPDX-License-Identifier: BSD-3-Clause */
/* STEs and CDs: IHI 0070, 3.3 "Data structures and translation procedure", 5.2 "Stream table entry", 5.3 "Level 1
 * context descriptor", 5.4 "Context descriptor". */
#include "iommu/smmu.h"

#include <stdlib.h>
#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommu/private.h"

#define CD_BYTES      64u
#define CD_T0SZ(w)    ((w)&63)
#define CD_TG0(w)     ((w) >> 6 & 3)
#define CD_EPD0	      BIT64(14)
#define CD_ENDI	      BIT64(15)
#define CD_T1SZ(w)    ((w) >> 16 & 63)
#define CD_TG1(w)     ((w) >> 22 & 3)
#define CD_EPD1	      BIT64(30)
#define CD_V	      BIT64(31)
#define CD_IPS(w)     ((w) >> 32 & 7)
#define CD_AFFD	      BIT64(35)
#define CD_TBI0	      BIT64(38)
#define CD_TBI1	      BIT64(39)
#define CD_AA64	      BIT64(41)
#define CD_HD	      BIT64(42)
#define CD_HA	      BIT64(43)
#define CD_S	      BIT64(44)
#define CD_R	      BIT64(45)
#define CD_A	      BIT64(46)
#define CD_ASID(w)    ((uint16_t)((w) >> 48))
#define CD_HAD	      BIT64(1)		    /* of TTB0's and of TTB1's word */
#define CD_TTB	      0x000ffffffffffff0ull /* likewise */
#define L1CD_V	      BIT64(0)
#define L1CD_L2PTR    0x000ffffffffff000ull
#define LEAF_64K_BITS 10 /* of SubstreamID, in one table of the second level; */
#define LEAF_4K_BITS  6	 /* and that of 4 KiB */
#define TSZ_MIN	      (64 - SMMU_VA_BITS)
#define TSZ_MAX	      39 /* without IDR3.STT */
#define SSID_NONE     UINT32_MAX

#define CD_SLOTS 16u
#define ASIDS	 8u

/* What one of the two ranges of addresses is translated with. */
struct half {
	bool off;	   /* EPD */
	bool ignores_byte; /* TBI: the top byte of an address means nothing */
	struct walk_config walk;
};

struct cd {
	uint32_t ssid; /* SSID_NONE: there is none */
	uint16_t asid;
	bool records; /* R */
	struct half half[2];
};

struct smmu_stream {
	uint64_t ste[2];
	bool wrong; /* ILLEGAL */
	struct domain *d;
	smmu_report_fn *report;
	void *ctx;
	struct cd cd[CD_SLOTS]; /* by ssid */
	/* Of the CDs that translations may have been made with since the last flush; more than ASIDS: any. */
	uint16_t asid[ASIDS];
	unsigned int nasids;
};

/* ---- the STE ---- */

static unsigned int ste_cdmax(const struct smmu_stream *s)
{
	return s->ste[0] >> SMMU_STE_S1CDMAX_SHIFT;
}

static enum smmu_s1fmt ste_fmt(const struct smmu_stream *s)
{
	return (s->ste[0] & SMMU_STE_S1FMT) >> SMMU_STE_S1FMT_SHIFT;
}

static enum smmu_s1dss ste_dss(const struct smmu_stream *s)
{
	return s->ste[1] & SMMU_STE1_S1DSS;
}

enum smmu_config smmu_stream_config(const struct smmu_stream *s)
{
	return s->ste[0] & SMMU_STE_V ? (s->ste[0] & SMMU_STE_CONFIG) >> SMMU_STE_CONFIG_SHIFT : SMMU_ABORT;
}

/* 5.2: S1Fmt and S1DSS mean something only where there are substreams. S1STALLD needs a choice of stall models. */
static bool ste_wrong(const struct smmu_stream *s)
{
	if (smmu_stream_config(s) != SMMU_S1)
		return false;
	if (s->ste[1] & SMMU_STE1_S1STALLD || ste_cdmax(s) > SMMU_SSID_BITS)
		return true;
	return ste_cdmax(s) && (ste_fmt(s) > SMMU_2LEVEL_64K || ste_dss(s) > SMMU_DSS_SSID0);
}

/* ---- CDs ---- */

static int word_load(const struct walk_mem *mem, uint64_t addr, uint64_t *w)
{
	uint64_t stored;

	if (mem->load(mem->ctx, addr, &stored, sizeof(stored)))
		return -EFAULT;
	*w = le64toh(stored);
	return 0;
}

/*
 * Where the CD is; ssid is one that the table has. 0, an event, or -EFAULT: the second stage does not let the table be
 * read. A table's address is aligned to its size: what is below counts as zero.
 */
static int cd_locate(const struct smmu_stream *s, const struct walk_mem *mem, uint32_t ssid, uint64_t *addr)
{
	unsigned int bits = ste_fmt(s) == SMMU_2LEVEL_64K ? LEAF_64K_BITS : LEAF_4K_BITS, max = ste_cdmax(s);
	uint64_t base = s->ste[0] & SMMU_STE_S1CONTEXTPTR, l1;

	if (!max || ste_fmt(s) == SMMU_LINEAR) {
		*addr = (base & ~((uint64_t)CD_BYTES * BIT64(max) - 1)) + (uint64_t)ssid * CD_BYTES;
		return 0;
	}
	if (max > bits)
		base &= ~(sizeof(l1) * BIT64(max - bits) - 1);
	if (word_load(mem, base + (ssid >> bits) * sizeof(l1), &l1))
		return -EFAULT;
	if (!(l1 & L1CD_V))
		return SMMU_C_BAD_SUBSTREAMID;
	*addr = (l1 & L1CD_L2PTR & ~(CD_BYTES * BIT64(bits) - 1)) + (ssid & (BIT64(bits) - 1)) * CD_BYTES;
	return 0;
}

/* 5.4, IPS: what this SMMU cannot put out counts as what it can. */
static unsigned int ips_bits(unsigned int ips)
{
	static const uint8_t bits[] = {32, 36, 40, 42, 44};

	return ips < ARRAY_SIZE(bits) ? bits[ips] : SMMU_OAS_BITS;
}

/* 5.4, TG0 and TG1: each has its own encoding. 0: reserved. */
static unsigned int granule(unsigned int half, unsigned int tg)
{
	static const uint8_t shift[2][4] = {{12, 16, 14, 0}, {0, 14, 12, 16}};

	return shift[half][tg];
}

/* False: it is ILLEGAL. What a range that is off says of its tables means nothing. */
static bool half_decode(unsigned int i, const uint64_t w[3], struct half *h)
{
	unsigned int tsz = i ? CD_T1SZ(w[0]) : CD_T0SZ(w[0]);
	uint64_t ttb = w[1 + i];

	h->ignores_byte = w[0] & (i ? CD_TBI1 : CD_TBI0);
	h->off = w[0] & (i ? CD_EPD1 : CD_EPD0);
	if (h->off)
		return true;
	if (tsz < TSZ_MIN || tsz > TSZ_MAX)
		return false;
	h->walk = (struct walk_config){
	    .format = WALK_ARM,
	    .input_bits = 64 - tsz,
	    .output_bits = ips_bits(CD_IPS(w[0])),
	    .granule = granule(i, i ? CD_TG1(w[0]) : CD_TG0(w[0])),
	    .flags = (w[0] & CD_HA ? WALK_UPDATE_ACCESSED | (w[0] & CD_HD ? WALK_UPDATE_DIRTY : 0) : 0) |
		     (w[0] & CD_ENDI ? WALK_BIG_ENDIAN : 0) | (w[0] & CD_AFFD ? WALK_NO_ACCESS_FAULT : 0) |
		     (ttb & CD_HAD ? WALK_NO_HIERARCHY : 0),
	    .root = ttb & CD_TTB,
	};
	return !walk_config_check(&h->walk);
}

/* 5.4.1: AArch32 tables, stalls, and faults that the device does not hear of are not to be had. */
static bool cd_decode(const uint64_t w[3], struct cd *cd)
{
	if (!(w[0] & CD_V) || !(w[0] & CD_AA64) || w[0] & CD_S || !(w[0] & CD_A))
		return false;
	cd->asid = CD_ASID(w[0]);
	cd->records = w[0] & CD_R;
	return half_decode(0, w, &cd->half[0]) && half_decode(1, w, &cd->half[1]);
}

/* 0 and *out; an event; or -EFAULT. */
static int cd_get(struct smmu_stream *s, const struct walk_mem *mem, uint32_t ssid, struct cd **out)
{
	struct cd *cd = &s->cd[ssid % CD_SLOTS], new = {.ssid = ssid};
	uint64_t addr, w[3];
	int err;

	*out = cd;
	if (cd->ssid == ssid)
		return 0;
	err = cd_locate(s, mem, ssid, &addr);
	if (err)
		return err;
	for (unsigned int i = 0; i < ARRAY_SIZE(w); i++)
		if (word_load(mem, addr + i * sizeof(w[0]), &w[i]))
			return -EFAULT;
	if (!cd_decode(w, &new))
		return SMMU_C_BAD_CD;
	*cd = new;
	return 0;
}

void smmu_stream_forget_cd(struct smmu_stream *s, uint32_t ssid)
{
	struct cd *cd = &s->cd[ssid % CD_SLOTS];

	if (cd->ssid == ssid)
		cd->ssid = SSID_NONE;
}

void smmu_stream_forget_cds(struct smmu_stream *s)
{
	for (unsigned int i = 0; i < CD_SLOTS; i++)
		s->cd[i].ssid = SSID_NONE;
}

/* ---- a request ---- */

/* 3.9: a request without a SubstreamID, of a stream that has substreams, is S1DSS's. */
static int substream(const struct smmu_stream *s, uint32_t ssid, bool *bypass)
{
	*bypass = false;
	if (ssid)
		return !ste_cdmax(s) || ssid >> ste_cdmax(s) ? SMMU_C_BAD_SUBSTREAMID : 0;
	if (!ste_cdmax(s))
		return 0;
	*bypass = ste_dss(s) == SMMU_DSS_BYPASS;
	return ste_dss(s) == SMMU_DSS_TERMINATE ? SMMU_F_STREAM_DISABLED : 0;
}

/* 3.4.1: bit 55 picks the range. False: the address is in neither. */
static bool cd_range(const struct cd *cd, uint64_t iova, struct stage1_way *way)
{
	const struct half *h = &cd->half[iova >> 55 & 1];
	bool high = iova >> 55 & 1;
	uint64_t above;

	if (h->off)
		return false;
	above = h->ignores_byte ? (uint64_t)((int64_t)(iova << 8) >> 8) : iova;
	above >>= h->walk.input_bits;
	if (above != (high ? UINT64_MAX >> h->walk.input_bits : 0))
		return false;
	way->walk = h->walk;
	way->iova = iova & (BIT64(h->walk.input_bits) - 1);
	return true;
}

static void asid_used(struct smmu_stream *s, uint16_t asid)
{
	for (unsigned int i = 0; i < MIN(s->nasids, ASIDS); i++)
		if (s->asid[i] == asid)
			return;
	if (s->nasids < ASIDS)
		s->asid[s->nasids] = asid;
	s->nasids = MIN(s->nasids + 1, ASIDS + 1);
}

/* 0 and *cd, NULL: the first stage is bypassed; an event; or below 0, one that is not the guest's. */
static int stream_cd(struct smmu_stream *s, const struct walk_mem *mem, uint32_t ssid, struct cd **cd)
{
	bool bypass;
	int err;

	*cd = NULL;
	if (smmu_stream_config(s) == SMMU_BYPASS)
		return ssid ? SMMU_C_BAD_SUBSTREAMID : 0;
	/* 3.3.2: an abort is not recorded. */
	if (smmu_stream_config(s) != SMMU_S1)
		return -EPERM;
	if (s->wrong)
		return SMMU_C_BAD_STE;
	err = substream(s, ssid, &bypass);
	return err || bypass ? err : cd_get(s, mem, ssid, cd);
}

static int stream_find(void *ctx, const struct walk_mem *mem, const struct dma_dev *who, uint64_t iova,
		       struct stage1_way *way, int *code)
{
	struct smmu_stream *s = ctx;
	struct cd *cd;

	*code = stream_cd(s, mem, dma_dev_pasid_number(who), &cd);
	if (*code)
		return DMA_FAULT_CONFIG;
	way->bypass = !cd;
	if (!cd)
		return 0;
	if (!cd_range(cd, iova, way)) {
		*code = cd->records ? SMMU_F_TRANSLATION : -EPERM;
		return DMA_FAULT_UNMAPPED;
	}
	asid_used(s, cd->asid);
	return 0;
}

static void stream_failed(void *ctx, const struct dma_dev *who, const struct stage1_fault *f)
{
	uint32_t ssid = dma_dev_pasid_number(who);
	const struct smmu_stream *s = ctx;
	const struct cd *cd = &s->cd[ssid % CD_SLOTS];
	struct smmu_record r;

	/* A walk's CD is still here: the request was refused just now. */
	if (!f->code && cd->ssid == ssid && !cd->records)
		return;
	if (smmu_record_of(f, ssid, &r))
		s->report(s->ctx, who, &r);
}

static const struct stage1_ops stream_ops = {.find = stream_find, .failed = stream_failed, .pasids = true};

/* ---- life ---- */

struct smmu_stream *smmu_stream_new(uint64_t ste0, uint64_t ste1, smmu_report_fn *report, void *ctx)
{
	struct smmu_stream *s = mem_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ste[0] = ste0;
	s->ste[1] = ste1;
	s->report = report;
	s->ctx = ctx;
	s->wrong = ste_wrong(s);
	smmu_stream_forget_cds(s);
	return s;
}

void smmu_stream_free(struct smmu_stream *s)
{
	free(s);
}

void smmu_stream_serve(struct smmu_stream *s, struct domain *d)
{
	s->d = d;
	domain_set_stage1(d, &stream_ops, s);
}

void smmu_stream_flush(struct smmu_stream *s)
{
	s->nasids = 0;
	domain_invalidate(s->d, 0, UINT64_MAX);
}

void smmu_stream_flush_asid(struct smmu_stream *s, uint16_t asid)
{
	for (unsigned int i = 0; i < MIN(s->nasids, ASIDS); i++)
		if (s->nasids > ASIDS || s->asid[i] == asid) {
			smmu_stream_flush(s);
			return;
		}
}
