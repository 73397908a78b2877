/* SPDX-License-Identifier: BSD-3-Clause */
/* What NVM Express 1.4 lays down: registers, queue entries, data structures, codes. Sections are of that document. */
#ifndef PINFOLD_DEVICES_NVME_SPEC_H
#define PINFOLD_DEVICES_NVME_SPEC_H

#include <stdint.h>

/* 3.1: controller registers */
enum {
	NVME_REG_CAP = 0x00,
	NVME_REG_VS = 0x08,
	NVME_REG_INTMS = 0x0c,
	NVME_REG_INTMC = 0x10,
	NVME_REG_CC = 0x14,
	NVME_REG_CSTS = 0x1c,
	NVME_REG_NSSR = 0x20,
	NVME_REG_AQA = 0x24,
	NVME_REG_ASQ = 0x28,
	NVME_REG_ACQ = 0x30,
	NVME_REG_CMBLOC = 0x38,
	NVME_REG_CMBSZ = 0x3c,
	NVME_REG_CMBMSC = 0x50,
	NVME_REG_CMBSTS = 0x58,
	NVME_REG_PMRCAP = 0xe00,
	NVME_REG_PMRCTL = 0xe04,
	NVME_REG_PMRSTS = 0xe08,
	NVME_REG_PMREBS = 0xe0c,
	NVME_REG_PMRSWTP = 0xe10,
	NVME_REG_PMRMSCL = 0xe14,
	NVME_REG_PMRMSCU = 0xe18,
	NVME_REG_DOORBELLS = 0x1000,
};

/* 3.1.11 to 3.1.13: the Controller Memory Buffer */
#define NVME_CMBLOC_CQMMS   0x08U /* queues may lie in it and outside */
#define NVME_CMBLOC_CDPMLS  0x20U /* and so may the parts of a data pointer, */
#define NVME_CMBLOC_CDPCILS 0x40U /* whatever the command does, */
#define NVME_CMBLOC_CDMMMS  0x80U /* and data and metadata */
#define NVME_CMBSZ_ALL	    0x1fU /* SQS, CQS, LISTS, RDS, WDS */
#define NVME_CMBMSC_CRE	    0x1U
#define NVME_CMBMSC_CMSE    0x2U

/* 3.1.25 to 3.1.31: the Persistent Memory Region */
#define NVME_PMRCAP_RDS	    0x8U
#define NVME_PMRCAP_WDS	    0x10U
#define NVME_PMRCAP_WBM_STS (2U << 10) /* reading PMRSTS makes what was written before persistent */
#define NVME_PMRCAP_CMSS    (1U << 24)
#define NVME_PMRSTS_NRDY    (1U << 8)
#define NVME_PMRSTS_CBAI    (1U << 12)
#define NVME_PMRMSC_CMSE    0x2U

#define NVME_VERSION 0x00010400U

/* 3.1.1 */
#define NVME_CAP_MQES(n)   ((uint64_t)(n))
#define NVME_CAP_CQR	   (1ULL << 16)
#define NVME_CAP_TO(n)	   ((uint64_t)(n) << 24)
#define NVME_CAP_NSSRS	   (1ULL << 36)
#define NVME_CAP_CSS_NVM   (1ULL << 37)
#define NVME_CAP_PMRS	   (1ULL << 56)
#define NVME_CAP_CMBS	   (1ULL << 57)
#define NVME_CAP_MPSMAX(n) ((uint64_t)(n) << 52)

/* 3.1.5 */
#define NVME_CC_EN	   0x1U
#define NVME_CC_CSS(cc)	   (((cc) >> 4) & 7)
#define NVME_CC_MPS(cc)	   (((cc) >> 7) & 15)
#define NVME_CC_AMS(cc)	   (((cc) >> 11) & 7)
#define NVME_CC_SHN(cc)	   (((cc) >> 14) & 3)
#define NVME_CC_IOSQES(cc) (((cc) >> 16) & 15)
#define NVME_CC_IOCQES(cc) (((cc) >> 20) & 15)
#define NVME_CC_MASK	   0x00fffff1U

/* 3.1.6 */
#define NVME_CSTS_RDY	    0x1U
#define NVME_CSTS_CFS	    0x2U
#define NVME_CSTS_SHST	    0xcU
#define NVME_CSTS_SHST_BUSY 0x4U
#define NVME_CSTS_SHST_DONE 0x8U
#define NVME_CSTS_NSSRO	    0x10U
#define NVME_NSSR_MAGIC	    0x4e564d65U /* 3.1.7: "NVMe" */

/* 4.2: submission queue entry */
struct nvme_cmd {
	uint8_t opcode;
	uint8_t flags; /* FUSE 1:0, PSDT 7:6 */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2, cdw3;
	uint64_t mptr;
	uint64_t dptr[2]; /* PRP1 and PRP2, or SGL1 */
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_cmd) == 64, "4.2: a submission queue entry is 64 bytes");

#define NVME_FUSE(flags) ((flags)&3)
#define NVME_PSDT(flags) ((flags) >> 6)

/* 4.6: completion queue entry */
struct nvme_cqe {
	uint32_t dw0, dw1;
	uint16_t sqhd, sqid, cid;
	uint16_t status; /* bit 0: phase */
};
_Static_assert(sizeof(struct nvme_cqe) == 16, "4.6: a completion queue entry is 16 bytes");

/* 4.4: SGL descriptor */
struct nvme_sgl {
	uint64_t addr;
	uint32_t len;
	uint8_t rsvd[3];
	uint8_t id; /* type 7:4, subtype 3:0 */
};
_Static_assert(sizeof(struct nvme_sgl) == 16, "4.4: an SGL descriptor is 16 bytes");

enum { NVME_SGL_DATA = 0, NVME_SGL_BIT_BUCKET = 1, NVME_SGL_SEGMENT = 2, NVME_SGL_LAST_SEGMENT = 3 };

/*
 * 4.6.1: status as this code passes it around: code in 7:0, type in 10:8, and More and Do Not Retry where the
 * completion entry has them, all without the phase bit. 0 is success.
 */
#define NVME_SC(sct, sc) ((uint16_t)((sct) << 8 | (sc)))
#define NVME_SC_MORE	 0x2000
#define NVME_SC_DNR	 0x4000
#define NVME_SC_CODE	 0x07ff
enum {
	NVME_OK = 0,
	NVME_INVALID_OPCODE = NVME_SC(0, 0x01),
	NVME_INVALID_FIELD = NVME_SC(0, 0x02),
	NVME_DATA_TRANSFER_ERROR = NVME_SC(0, 0x04),
	NVME_INTERNAL_ERROR = NVME_SC(0, 0x06),
	NVME_ABORT_REQUESTED = NVME_SC(0, 0x07),
	NVME_INVALID_NAMESPACE = NVME_SC(0, 0x0b),
	NVME_SEQUENCE_ERROR = NVME_SC(0, 0x0c),
	NVME_INVALID_SGL_SEGMENT = NVME_SC(0, 0x0d),
	NVME_INVALID_SGL_COUNT = NVME_SC(0, 0x0e),
	NVME_SGL_DATA_LENGTH = NVME_SC(0, 0x0f),
	NVME_SGL_TYPE = NVME_SC(0, 0x11),
	NVME_PRP_OFFSET = NVME_SC(0, 0x13),
	NVME_WRITE_PROTECTED = NVME_SC(0, 0x20),
	NVME_LBA_RANGE = NVME_SC(0, 0x80),
	NVME_CAPACITY_EXCEEDED = NVME_SC(0, 0x81),
	NVME_CQ_INVALID = NVME_SC(1, 0x00),
	NVME_QID_INVALID = NVME_SC(1, 0x01),
	NVME_QSIZE_INVALID = NVME_SC(1, 0x02),
	NVME_ABORT_LIMIT = NVME_SC(1, 0x03),
	NVME_AER_LIMIT = NVME_SC(1, 0x05),
	NVME_INVALID_VECTOR = NVME_SC(1, 0x08),
	NVME_INVALID_LOG = NVME_SC(1, 0x09),
	NVME_INVALID_QUEUE_DELETION = NVME_SC(1, 0x0c),
	NVME_NOT_SAVEABLE = NVME_SC(1, 0x0d),
	NVME_NOT_CHANGEABLE = NVME_SC(1, 0x0e),
	NVME_NOT_NS_SPECIFIC = NVME_SC(1, 0x0f),
	NVME_CONFLICTING_ATTRIBUTES = NVME_SC(1, 0x80),
	NVME_WRITE_FAULT = NVME_SC(2, 0x80),
	NVME_READ_ERROR = NVME_SC(2, 0x81),
	NVME_COMPARE_FAILURE = NVME_SC(2, 0x85),
};

/* 5, 6: opcodes */
enum {
	NVME_ADM_DELETE_SQ = 0x00,
	NVME_ADM_CREATE_SQ = 0x01,
	NVME_ADM_GET_LOG = 0x02,
	NVME_ADM_DELETE_CQ = 0x04,
	NVME_ADM_CREATE_CQ = 0x05,
	NVME_ADM_IDENTIFY = 0x06,
	NVME_ADM_ABORT = 0x08,
	NVME_ADM_SET_FEATURES = 0x09,
	NVME_ADM_GET_FEATURES = 0x0a,
	NVME_ADM_AER = 0x0c,
	NVME_ADM_KEEP_ALIVE = 0x18,

	NVME_IO_FLUSH = 0x00,
	NVME_IO_WRITE = 0x01,
	NVME_IO_READ = 0x02,
	NVME_IO_COMPARE = 0x05,
	NVME_IO_WRITE_ZEROES = 0x08,
	NVME_IO_DSM = 0x09,
	NVME_IO_VERIFY = 0x0c,
};

#define NVME_NSID_ALL 0xffffffffU

/* 5.15.2.2, figure 247: Identify Controller */
struct nvme_id_ctrl {
	uint16_t vid, ssvid;
	char sn[20], mn[40], fr[8];
	uint8_t rab, ieee[3], cmic, mdts;
	uint16_t cntlid;
	uint32_t ver, rtd3r, rtd3e, oaes, ctratt;
	uint16_t rrls;
	uint8_t rsvd102[9], cntrltype, fguid[16];
	uint8_t rsvd128[128];
	uint16_t oacs;
	uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
	uint16_t wctemp, cctemp, mtfa;
	uint32_t hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	uint32_t rpmbs;
	uint16_t edstt;
	uint8_t dsto, fwug;
	uint16_t kas, hctma, mntmt, mxtmt;
	uint32_t sanicap, hmminds;
	uint16_t hmmaxd, nsetidmax, endgidmax;
	uint8_t anatt, anacap;
	uint32_t anagrpmax, nanagrpid, pels;
	uint8_t rsvd356[156];
	uint8_t sqes, cqes;
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs, fuses;
	uint8_t fna, vwc;
	uint16_t awun, awupf;
	uint8_t nvscc, nwpc;
	uint16_t acwu, rsvd534;
	uint32_t sgls, mnan;
	uint8_t rsvd544[224];
	char subnqn[256];
	uint8_t rsvd1024[1024];
	struct {
		uint16_t mp; /* centiwatts */
		uint8_t rsvd2[30];
	} psd[32];
	uint8_t vs[1024];
};
_Static_assert(sizeof(struct nvme_id_ctrl) == 4096, "5.15.2.2");
_Static_assert(__builtin_offsetof(struct nvme_id_ctrl, oacs) == 256, "5.15.2.2");
_Static_assert(__builtin_offsetof(struct nvme_id_ctrl, sanicap) == 328, "5.15.2.2");
_Static_assert(__builtin_offsetof(struct nvme_id_ctrl, sqes) == 512, "5.15.2.2");
_Static_assert(__builtin_offsetof(struct nvme_id_ctrl, sgls) == 536, "5.15.2.2");
_Static_assert(__builtin_offsetof(struct nvme_id_ctrl, subnqn) == 768, "5.15.2.2");
_Static_assert(__builtin_offsetof(struct nvme_id_ctrl, psd) == 2048, "5.15.2.2");

/* 5.15.2.1, figure 245: Identify Namespace */
struct nvme_id_ns {
	uint64_t nsze, ncap, nuse;
	uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat;
	uint16_t nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob;
	uint8_t nvmcap[16];
	uint16_t npwg, npwa, npdg, npda, nows;
	uint8_t rsvd74[18];
	uint32_t anagrpid;
	uint8_t rsvd96[3], nsattr;
	uint16_t nvmsetid, endgid;
	uint8_t nguid[16], eui64[8];
	struct {
		uint16_t ms;
		uint8_t lbads, rp;
	} lbaf[16];
	uint8_t rsvd192[192], vs[3712];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_id_ns) == 4096, "5.15.2.1");
_Static_assert(__builtin_offsetof(struct nvme_id_ns, nvmcap) == 48, "5.15.2.1");
_Static_assert(__builtin_offsetof(struct nvme_id_ns, nguid) == 104, "5.15.2.1");
_Static_assert(__builtin_offsetof(struct nvme_id_ns, lbaf) == 128, "5.15.2.1");

#define NVME_DSM_RANGES 256
/* 6.7, figure 349 */
struct nvme_dsm_range {
	uint32_t attr, nlb;
	uint64_t slba;
};
_Static_assert(sizeof(struct nvme_dsm_range) == 16, "6.7");

/* 5.14.1.1, figure 193: an entry of the error log */
struct nvme_error_entry {
	uint64_t count;
	uint16_t sqid, cid, status, location;
	uint64_t lba;
	uint32_t nsid;
	uint8_t vendor, trtype, rsvd30[2];
	uint64_t specific;
	uint16_t transport;
	uint8_t rsvd42[22];
};
_Static_assert(sizeof(struct nvme_error_entry) == 64, "5.14.1.1");

/* 5.14.1.2, figure 194: SMART / Health. The 16-byte counters are kept in their lower half. */
struct nvme_smart {
	uint8_t critical;
	uint8_t temperature[2]; /* Kelvin */
	uint8_t spare, spare_threshold, used, endgrp_critical, rsvd7[25];
	uint64_t units_read[2], units_written[2]; /* 1000 units of 512 bytes */
	uint64_t host_reads[2], host_writes[2];
	uint64_t busy[2]; /* minutes */
	uint64_t power_cycles[2], power_on_hours[2], unsafe_shutdowns[2], media_errors[2], error_entries[2];
	uint32_t warning_minutes, critical_minutes;
	uint16_t sensor[8];
	uint32_t tm_transitions[2], tm_seconds[2];
	uint8_t rsvd232[280];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_smart) == 512, "5.14.1.2");
_Static_assert(__builtin_offsetof(struct nvme_smart, units_read) == 32, "5.14.1.2");
_Static_assert(__builtin_offsetof(struct nvme_smart, sensor) == 200, "5.14.1.2");

/* 5.14.1.3, figure 195 */
struct nvme_fw_slot {
	uint8_t afi, rsvd1[7];
	char frs[7][8];
	uint8_t rsvd64[448];
};
_Static_assert(sizeof(struct nvme_fw_slot) == 512, "5.14.1.3");

/* 5.14.1.5, figure 197 */
struct nvme_effects {
	uint32_t admin[256], io[256];
	uint8_t rsvd2048[2048];
};
_Static_assert(sizeof(struct nvme_effects) == 4096, "5.14.1.5");

#endif
