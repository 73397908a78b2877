/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walkers of page tables that a client or a guest builds in its own memory (rules E1, E2).
 *
 * A walker holds no pointer to a table. A table's address is an input address of the parent (stage 2), and each access
 * goes through struct walk_mem, which translates and checks it: what the parent does not map cannot be read, let alone
 * reached. Each entry is loaded once and its private copy is used, so a table that changes meanwhile gives an answer
 * that some table gave, never a mixture within one entry. A walk ends after at most WALK_LOADS_MAX loads whatever the
 * tables say.
 *
 * Levels count up from 0, the table whose entries map single pages. (Arm counts down: its level is 3 minus ours.)
 */
#ifndef PINFOLD_IOMMU_WALK_H
#define PINFOLD_IOMMU_WALK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iommu/iommu.h"

/* Beside IOMMU_READ and IOMMU_WRITE, in an access and in walk_result.prot. */
enum {
	WALK_EXEC = 4,
	WALK_PRIV = 8, /* access: by a privileged requester. prot: only a privileged requester gets anything here */
};

enum walk_format_id {
	WALK_X86,   /* VT-d first stage: 4-level (input_bits 48), 5-level (57) */
	WALK_ARM,   /* VMSAv8-64 stage 1, the TTB0 range, as SMMUv3 walks it: input_bits is 64 - T0SZ */
	WALK_RISCV, /* Sv39, Sv48, Sv57 */
	WALK_S390,  /* zPCI: root is a segment (31), region-third (42), -second (53), -first table (64) */
	WALK_FORMATS,
};

/* walk_config.flags. Those that a format does not have are refused. */
enum {
	WALK_UPDATE_ACCESSED = 1 << 0,	/* x86, Arm CD.HA, RISC-V Svadu: else x86 ignores, Arm and RISC-V fault */
	WALK_UPDATE_DIRTY = 1 << 1,	/* the same; Arm CD.HD. x86 and RISC-V: both or neither */
	WALK_BIG_ENDIAN = 1 << 2,	/* Arm CD.ENDI, RISC-V. s390 always is */
	WALK_HUGE = 1 << 3,		/* x86: 1 GiB leaves (CAP_REG.FS1GP); s390: 1 MiB segment frames */
	WALK_WRITE_PROTECT = 1 << 4,	/* x86 WPE: read-only holds for privileged requesters too */
	WALK_NO_EXECUTE = 1 << 5,	/* x86: XD means something; else it is ignored */
	WALK_NO_HIERARCHY = 1 << 6,	/* Arm CD.HPD0: the rights in table entries are ignored */
	WALK_NO_ACCESS_FAULT = 1 << 7,	/* Arm CD.AFFD: a clear access flag is no fault */
	WALK_SUPERVISOR_USER = 1 << 8,	/* RISC-V SUM: privileged requesters may use user pages */
	WALK_NAPOT = 1 << 9,		/* RISC-V Svnapot: 64 KiB leaves; else bit 63 is reserved */
	WALK_MEMORY_TYPE = 1 << 10,	/* RISC-V Svpbmt; else bits 62:61 are reserved */
	WALK_FLAGS_ALL = (1 << 11) - 1, /* every flag above */
};

struct walk_config {
	enum walk_format_id format;
	unsigned int input_bits;  /* see enum walk_format_id */
	unsigned int output_bits; /* addresses of tables and frames are below 2^output_bits */
	unsigned int granule;	  /* log2 of the smallest page: 12; Arm 12, 14, 16 */
	unsigned int flags;
	uint64_t
	    root; /* of the first table, page-aligned; Arm aligns it to the table's size, as an SMMU does CD.TTB0 */
};

/*
 * How a walker reaches the tables. Both translate addr through the parent, whatever addr is; it is 8-byte aligned.
 *   load    copies len bytes (8, in one piece: no torn entry) to dst. 0, or anything else: WALK_TABLE.
 *   update  compare-and-swap of the 64 bits at addr, values as little-endian memory holds them. 0; -EAGAIN: it was
 *           not old; anything else: WALK_TABLE.
 */
struct walk_mem {
	void *ctx;
	int (*load)(void *ctx, uint64_t addr, void *dst, size_t len);
	int (*update)(void *ctx, uint64_t addr, uint64_t old, uint64_t new);
};

/*
 * prot is what requests of the same privilege may do without another walk: IOMMU_WRITE is missing where the first write
 * has yet to set a dirty bit. So a cached result stays right until it is invalidated, and what it does not allow is to
 * be walked again before it is called a fault.
 */
struct walk_result {
	uint64_t addr;	    /* what iova translates to */
	uint64_t size;	    /* of the leaf: a power of two. iova and addr lie at the same offset in theirs */
	int prot;	    /* IOMMU_READ | IOMMU_WRITE | WALK_EXEC | WALK_PRIV */
	unsigned int level; /* of the leaf */
};

enum walk_fault {
	WALK_OK,
	WALK_NOT_PRESENT,
	WALK_RESERVED,	   /* a reserved bit or encoding; a misaligned superpage */
	WALK_PERMISSION,   /* the leaf, with what lies above it, does not allow the access */
	WALK_ADDRESS_SIZE, /* iova, or an address in an entry, is too wide */
	WALK_ACCESS_FLAG,  /* accessed or dirty bit to be set by software */
	WALK_TABLE,	   /* the table could not be read or updated */
	WALK_BUSY,	   /* the entry changed each time that a bit was to be set in it */
};

struct walk_fault_info {
	enum walk_fault kind;
	unsigned int level;
	uint64_t entry_addr; /* 0: iova itself was refused, before any table */
};

/* No walk loads more entries than this: one per level, and again for each update that lost its race. */
#define WALK_LEVELS_MAX 5
#define WALK_TRIES	4
#define WALK_LOADS_MAX	(WALK_LEVELS_MAX * WALK_TRIES)

/* 0, or -EINVAL: no such format, or sizes, flags or a root that it does not have. Walk only what passed. */
int walk_config_check(const struct walk_config *cfg);

/*
 * Translates iova for access (IOMMU_READ | IOMMU_WRITE | WALK_EXEC, and WALK_PRIV; nothing asked means read), and sets
 * accessed and dirty bits if cfg says so. 0, or -EFAULT and *fault; the other of res and fault is untouched.
 */
int walk(const struct walk_config *cfg, const struct walk_mem *mem, uint64_t iova, int access, struct walk_result *res,
	 struct walk_fault_info *fault);

#endif
