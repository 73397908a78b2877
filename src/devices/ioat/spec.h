/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers and descriptors of Intel QuickData Technology (I/OAT, CBDMA), as its public documents and drivers have
 * them:
 *
 *   [E7]	Intel Xeon Processor E7-2800/4800/8800 v2 Product Family Datasheet, volume 2, section 14.4
 *(configuration) and 14.5 (memory mapped registers) [linux]	Linux drivers/dma/ioat: registers.h, hw.h and how dma.c
 *uses them [dpdk]	DPDK drivers/dma/ioat: ioat_hw_defs.h
 */
#ifndef PINFOLD_DEVICES_IOAT_SPEC_H
#define PINFOLD_DEVICES_IOAT_SPEC_H

#include <stdint.h>

#include "base/util.h"

/* ---- BAR 0 ([E7] 14.4.19 and 14.4.20: where MSI-X is) ---- */
#define IOAT_BAR_SIZE	0x4000
#define IOAT_MSIX_TABLE 0x2000
#define IOAT_MSIX_PBA	0x3000
#define IOAT_CHAN_SIZE	0x80 /* channel n is at IOAT_CHAN_SIZE * (n + 1) */
#define IOAT_CHANS_MAX	31   /* CHANCNT has five bits, and page 0 has room for so many */

/* ---- general registers ([linux] registers.h, "MMIO Device Registers") ---- */
#define IOAT_CHANCNT	0x00 /* 8 */
#define IOAT_XFERCAP	0x01 /* 8; largest transfer: 2^n bytes */
#define IOAT_GENCTRL	0x02 /* 8 */
#define IOAT_INTRCTRL	0x03 /* 8 */
#define IOAT_ATTNSTATUS 0x04 /* 32; bit n: channel n has interrupted; cleared by a read */
#define IOAT_CBVER	0x08 /* 8 */
#define IOAT_INTRDELAY	0x0c /* 16 */
#define IOAT_CS_STATUS	0x0e /* 16 */
#define IOAT_DMACAP	0x10 /* 32 */

#define IOAT_GENCTRL_DEBUG   0x01
#define IOAT_INTRCTRL_MASTER 0x01 /* cleared by a read */
#define IOAT_INTRCTRL_STATUS 0x02 /* ATTNSTATUS is not 0 */
#define IOAT_INTRCTRL_INT    0x04 /* that, and MASTER */
#define IOAT_INTRCTRL_MSIX   0x08 /* each channel has a vector of its own */
#define IOAT_INTRDELAY_MASK  0x3fff
#define IOAT_DMACAP_FILL     0x40

/* ---- channel registers ([linux] registers.h, "DMA Channel Registers"; [E7] 14.5.12 on) ---- */
#define IOAT_CHANCTRL  0x00 /* 16 */
#define IOAT_DMA_COMP  0x02 /* 16 */
#define IOAT_CHANCMD   0x04 /* 8 */
#define IOAT_DMACOUNT  0x06 /* 16; descriptors appended since CHAINADDR was written */
#define IOAT_CHANSTS   0x08 /* 64 */
#define IOAT_CHAINADDR 0x10 /* 64 */
#define IOAT_CHANCMP   0x18 /* 64; where CHANSTS is written to */
#define IOAT_CDAR      0x20 /* 64; current descriptor */
#define IOAT_CHANERR   0x28 /* 32; cleared by writing 1 */
#define IOAT_ERRMASK   0x2c /* 32 */

#define IOAT_CHANCTRL_INT_DIS  0x0001 /* set by an interrupt, cleared by writing 1: then there may be another */
#define IOAT_CHANCTRL_ERR_COMP 0x0004 /* CHANSTS is written on an error too */
#define IOAT_CHANCTRL_ERR_INT  0x0010
#define IOAT_CHANCTRL_IN_USE   0x0100 /* set by a read, cleared by writing 0 */
#define IOAT_CHANCTRL_WRITABLE 0xf23c
#define IOAT_DMA_COMP_V2       0x0002
#define IOAT_CHANCMD_SUSPEND   0x04
#define IOAT_CHANCMD_RESET     0x20
#define IOAT_CHANCMP_ALIGN     8
#define IOAT_CHANSTS_STATE     0x7ULL
#define IOAT_CHANSTS_ADDR      (~0x3fULL) /* the descriptor completed last */

enum ioat_state { IOAT_ACTIVE, IOAT_IDLE, IOAT_SUSPENDED, IOAT_HALTED, IOAT_ARMED };

#define IOAT_ERR_SRC_ADDR   0x00001
#define IOAT_ERR_DST_ADDR   0x00002
#define IOAT_ERR_NEXT_ADDR  0x00004
#define IOAT_ERR_DESC	    0x00008 /* reading a descriptor failed */
#define IOAT_ERR_CHAINADDR  0x00010
#define IOAT_ERR_CHANCMD    0x00020
#define IOAT_ERR_READ_DATA  0x00100
#define IOAT_ERR_WRITE_DATA 0x00200
#define IOAT_ERR_CONTROL    0x00400
#define IOAT_ERR_LENGTH	    0x00800
#define IOAT_ERR_CHANCMP    0x01000

/* ---- configuration space ([linux] registers.h, first lines) ---- */
#define IOAT_CFG_DMAUNCERRSTS 0x148
#define IOAT_CFG_CHANERR_INT  0x180 /* what the channels' CHANERR got; cleared by writing 1 */
#define IOAT_CFG_ERRMASK_INT  0x184

/* ---- descriptors ([linux] hw.h) ---- */
#define IOAT_DESC_ALIGN 64

struct ioat_desc {
	uint32_t size;
	uint32_t ctl;
	uint64_t src; /* or the pattern of a fill */
	uint64_t dst;
	uint64_t next;
	uint64_t unused[4]; /* page breaks' second pages, and the driver's own */
};
_Static_assert(sizeof(struct ioat_desc) == 64, "a descriptor is 64 bytes");

#define IOAT_CTL_INT	  BIT(0)
#define IOAT_CTL_COMPLETE BIT(3)
#define IOAT_CTL_FENCE	  BIT(4)
#define IOAT_CTL_NULL	  BIT(5) /* copies alone: nothing is moved */
#define IOAT_CTL_OP(ctl)  ((ctl) >> 24)
#define IOAT_OP_COPY	  0x00
#define IOAT_OP_FILL	  0x01
/* What may be set: snooping, bundles and cache hints mean nothing here; page breaks are not in DMACAP. */
#define IOAT_CTL_COPY_MASK 0x73fU
#define IOAT_CTL_FILL_MASK 0x11dU

#endif
