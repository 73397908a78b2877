/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arm VMSAv8-64, stage 1 of a translation regime with two privileges, the range that TTB0 serves: Arm Architecture
 * Reference Manual (DDI 0487), D8.2 "Translation process", D8.3 "Translation table descriptor formats", D8.4 "Memory
 * access control", D8.5 "Hardware updates to the translation tables"; SMMUv3 (IHI 0070), 5.4 "Context Descriptor",
 * for how an SMMU picks among them. 52-bit addresses exist with the 64K granule (FEAT_LVA, FEAT_LPA); FEAT_LPA2,
 * privileged access never and write-execute never do not.
 */
#include "iommu/walk_format.h"

#define ARM_VALID	    BIT64(0)
#define ARM_TABLE	    BIT64(1) /* in the last table: page */
#define ARM_AP_USER	    BIT64(6) /* AP[1] */
#define ARM_AP_RO	    BIT64(7) /* AP[2] */
#define ARM_AF		    BIT64(10)
#define ARM_DBM		    BIT64(51)
#define ARM_CONTIGUOUS	    BIT64(52)
#define ARM_PXN		    BIT64(53)
#define ARM_UXN		    BIT64(54)
#define ARM_PXNTABLE	    BIT64(59)
#define ARM_UXNTABLE	    BIT64(60)
#define ARM_APTABLE_NO_USER BIT64(61)
#define ARM_APTABLE_RO	    BIT64(62)

enum { NO_WRITE = 1, NO_USER = 2, NO_USER_EXEC = 4, NO_PRIV_EXEC = 8 };

/* Each entry is 8 bytes and a table is a page. */
static unsigned int arm_bits(const struct walk_config *cfg)
{
	return cfg->granule - 3;
}

static unsigned int arm_levels(const struct walk_config *cfg)
{
	return (cfg->input_bits - cfg->granule + arm_bits(cfg) - 1) / arm_bits(cfg);
}

/*
 * The first table has as many entries as the input needs and is aligned to its size, and to 64 bytes if addresses have
 * 52 bits (D8.2.4). What CD.TTB0 has below that counts as zero.
 */
static uint64_t arm_root(const struct walk_config *cfg)
{
	unsigned int below = cfg->granule + (arm_levels(cfg) - 1) * arm_bits(cfg);
	unsigned int shift = cfg->input_bits - below + 3;

	return cfg->root & ~(BIT64(shift) - 1) & ~(cfg->output_bits == 52 ? 63ULL : 15ULL);
}

static int arm_check(const struct walk_config *cfg)
{
	unsigned int widest = cfg->granule == 16 ? 52 : 48;

	if (cfg->flags &
	    ~(WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY | WALK_BIG_ENDIAN | WALK_NO_HIERARCHY | WALK_NO_ACCESS_FAULT))
		return -EINVAL;
	if (cfg->flags & WALK_UPDATE_DIRTY && !(cfg->flags & WALK_UPDATE_ACCESSED))
		return -EINVAL;
	if (cfg->granule != 12 && cfg->granule != 14 && cfg->granule != 16)
		return -EINVAL;
	/* D8.2: T0SZ is 12 or 16 to 39; with FEAT_TTST to 48, or 47 for the 64K granule. */
	if (cfg->input_bits > widest || cfg->input_bits < (cfg->granule == 16 ? 17 : 16))
		return -EINVAL;
	if (cfg->output_bits > widest || (cfg->output_bits > 48 && cfg->output_bits != 52))
		return -EINVAL;
	return 0;
}

static void arm_geometry(const struct walk_config *cfg, struct walk_geometry *g)
{
	*g = (struct walk_geometry){.root = arm_root(cfg),
				    .page_shift = cfg->granule,
				    .last_bits = arm_bits(cfg),
				    .bits = arm_bits(cfg),
				    .levels = arm_levels(cfg)};
}

static bool arm_input_fits(const struct walk_config *cfg, uint64_t iova)
{
	return !walk_too_wide(iova, cfg->input_bits);
}

/* D8.3.1: blocks are 2 MiB and 1 GiB; 32 MiB; 512 MiB, and 4 TiB where addresses have 52 bits. */
static bool arm_may_be_block(const struct walk_state *w)
{
	if (w->cfg->granule == 12)
		return w->level <= 2;
	return w->level == 1 || (w->cfg->granule == 16 && w->cfg->output_bits == 52 && w->level == 2);
}

/* D8.3.1: with 52-bit addresses, bits [51:48] lie in [15:12] of the entry, which the 64K granule leaves free. */
static uint64_t arm_address(const struct walk_state *w, uint64_t raw, unsigned int shift)
{
	uint64_t addr = raw & WALK_BITS(47, shift);

	if (w->cfg->output_bits == 52)
		addr |= (raw & WALK_BITS(15, 12)) << 36;
	return addr;
}

/*
 * D8.7.1: how many more bits a set of contiguous entries has, 0 where there is none. A set that does not fit its own
 * alignment, or the input, is a mistake of the tables; single entries are then what they say, which is allowed.
 */
static unsigned int arm_contiguous_bits(const struct walk_state *w, const struct walk_entry *e)
{
	unsigned int bits = w->cfg->granule == 12 ? 4 : 5;

	if (!(e->raw & ARM_CONTIGUOUS) || (w->cfg->granule == 16 && w->level == 2))
		return 0;
	if (w->cfg->granule == 14 && w->level == 0)
		bits = 7;
	if (w->shift + bits > w->cfg->input_bits)
		return 0;
	return ((e->addr ^ w->iova) >> w->shift) & (BIT64(bits) - 1) ? 0 : bits;
}

static unsigned int arm_hierarchical_rights(uint64_t raw)
{
	unsigned int no = 0;

	if (raw & ARM_APTABLE_NO_USER)
		no |= NO_USER;
	if (raw & ARM_APTABLE_RO)
		no |= NO_WRITE;
	if (raw & ARM_UXNTABLE)
		no |= NO_USER_EXEC;
	if (raw & ARM_PXNTABLE)
		no |= NO_PRIV_EXEC;
	return no;
}

/* An encoding that a level does not have is invalid to the architecture, not a fault of its own. */
static enum walk_fault arm_parse(const struct walk_state *w, struct walk_entry *e)
{
	bool table = e->raw & ARM_TABLE;

	if (!(e->raw & ARM_VALID))
		return WALK_NOT_PRESENT;
	if (w->level && table) {
		e->addr = arm_address(w, e->raw, w->cfg->granule);
		if (!(w->cfg->flags & WALK_NO_HIERARCHY))
			e->inherited |= arm_hierarchical_rights(e->raw);
		return WALK_OK;
	}
	if (w->level ? !arm_may_be_block(w) : !table)
		return WALK_NOT_PRESENT;
	e->leaf = true;
	e->addr = arm_address(w, e->raw, w->shift);
	e->shift += arm_contiguous_bits(w, e);
	return WALK_OK;
}

/* D8.4.1, D8.4.3: what a leaf allows; writable: whatever a dirty bit says. */
static int arm_rights(const struct walk_state *w, const struct walk_entry *e, bool writable)
{
	bool user = e->raw & ARM_AP_USER && !(e->inherited & NO_USER);
	int prot = user ? 0 : WALK_PRIV;

	if (w->access & WALK_PRIV) {
		prot |= IOMMU_READ | (writable ? IOMMU_WRITE : 0);
		/* What user code can write, privileged code never executes. */
		if (!(e->raw & ARM_PXN) && !(e->inherited & NO_PRIV_EXEC) && !(user && writable))
			prot |= WALK_EXEC;
		return prot;
	}
	if (user)
		prot |= IOMMU_READ | (writable ? IOMMU_WRITE : 0);
	if (!(e->raw & ARM_UXN) && !(e->inherited & NO_USER_EXEC))
		prot |= WALK_EXEC;
	return prot;
}

/*
 * The access flag comes before permission (D8.2, priority of MMU faults). D8.5.2: with dirty state, a read-only leaf
 * with DBM is a writable one that is clean; the first write clears AP[2].
 */
static enum walk_fault arm_admit(const struct walk_state *w, struct walk_entry *e)
{
	bool clean = e->raw & ARM_AP_RO && e->raw & ARM_DBM && w->cfg->flags & WALK_UPDATE_DIRTY;
	bool writable = (!(e->raw & ARM_AP_RO) || clean) && !(e->inherited & NO_WRITE);

	if (!(e->raw & ARM_AF) && !(w->cfg->flags & (WALK_UPDATE_ACCESSED | WALK_NO_ACCESS_FAULT)))
		return WALK_ACCESS_FLAG;
	e->prot = arm_rights(w, e, writable);
	if (walk_denied(w, e->prot))
		return WALK_PERMISSION;
	if (w->cfg->flags & WALK_UPDATE_ACCESSED)
		e->want |= ARM_AF;
	if (clean && w->access & IOMMU_WRITE)
		e->want &= ~ARM_AP_RO;
	else if (clean)
		e->prot &= ~IOMMU_WRITE;
	return WALK_OK;
}

const struct walk_format walk_arm = {
    .check = arm_check,
    .geometry = arm_geometry,
    .input_fits = arm_input_fits,
    .parse = arm_parse,
    .admit = arm_admit,
};
