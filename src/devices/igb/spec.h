/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intel 82576: registers and descriptors, from the 82576EB Gigabit Ethernet Controller Datasheet, revision 2.61 (its
 * sections are what comments in this folder cite).
 */
#ifndef PINFOLD_DEVICES_IGB_SPEC_H
#define PINFOLD_DEVICES_IGB_SPEC_H

#include <stdint.h>

#include "base/util.h"

#define IGB_VENDOR	  0x8086
#define IGB_DEVICE	  0x10c9
#define IGB_CLASS	  0x020000
#define IGB_REVISION	  1
#define IGB_BAR_SIZE	  0x20000 /* BAR 0: registers */
#define IGB_MSIX_BAR	  3
#define IGB_MSIX_BAR_SIZE 0x4000
#define IGB_MSIX_TABLE	  0
#define IGB_MSIX_PBA	  0x2000

#define IGB_QUEUES  16
#define IGB_VECTORS 25 /* bits of EICR, as MSI-X has them */
#define IGB_RARS    24

/* ---- 8.2: general ---- */
#define IGB_CTRL	     0x0000
#define IGB_CTRL_DUP	     0x0004 /* the same register */
#define IGB_CTRL_FD	     BIT(0)
#define IGB_CTRL_GIO_DISABLE BIT(2)
#define IGB_CTRL_SLU	     BIT(6)
#define IGB_CTRL_SPEED_1000  BIT(9)
#define IGB_CTRL_RST	     BIT(26)
#define IGB_CTRL_VME	     BIT(30)
#define IGB_CTRL_PHY_RST     BIT(31)

#define IGB_STATUS	      0x0008
#define IGB_STATUS_FD	      BIT(0)
#define IGB_STATUS_LU	      BIT(1)
#define IGB_STATUS_SPEED_1000 BIT(7)
#define IGB_STATUS_PHYRA      BIT(10)
#define IGB_STATUS_VFS(n)     ((uint32_t)(n) << 14)
#define IGB_STATUS_IOV	      BIT(18)
#define IGB_STATUS_GIO_MASTER BIT(19)

#define IGB_CTRL_EXT	      0x0018
#define IGB_CTRL_EXT_EE_RST   BIT(13)
#define IGB_CTRL_EXT_PFRSTD   BIT(14)
#define IGB_CTRL_EXT_EXT_VLAN BIT(26)
#define IGB_CTRL_EXT_IAME     BIT(27)
#define IGB_CTRL_EXT_DRV_LOAD BIT(28)
#define IGB_CTRL_EXT_PBA_CLR  BIT(31)

#define IGB_MDIC	  0x0020
#define IGB_MDIC_REG(v)	  ((v) >> 16 & 0x1f)
#define IGB_MDIC_PHY(v)	  ((v) >> 21 & 0x1f)
#define IGB_MDIC_WRITE	  BIT(26)
#define IGB_MDIC_READ	  BIT(27)
#define IGB_MDIC_READY	  BIT(28)
#define IGB_MDIC_IRQ	  BIT(29)
#define IGB_MDIC_ERROR	  BIT(30)
#define IGB_MDIC_PHY_ADDR 1

#define IGB_VET	      0x0038
#define IGB_EEMNGCTL  0x1010
#define IGB_CFG_DONE0 BIT(18)
#define IGB_FRTIMER   0x1048

/* ---- 8.4: EEPROM ---- */
#define IGB_EECD	 0x0010
#define IGB_EECD_FWE	 0x0030
#define IGB_EECD_REQ	 BIT(6)
#define IGB_EECD_GNT	 BIT(7)
#define IGB_EECD_PRES	 BIT(8)
#define IGB_EECD_AUTO_RD BIT(9)
#define IGB_EECD_ADDR_16 BIT(10)
#define IGB_EECD_SIZE(n) ((uint32_t)(n) << 11) /* 2^(n + 6) words */

#define IGB_EERD	 0x0014
#define IGB_EERD_START	 BIT(0)
#define IGB_EERD_DONE	 BIT(1)
#define IGB_EERD_ADDR(v) ((v) >> 2 & 0x3fff)

#define IGB_NVM_SIZE	 4 /* 1024 words */
#define IGB_NVM_WORDS	 (64u << IGB_NVM_SIZE)
#define IGB_NVM_CHECKSUM 0x3f
#define IGB_NVM_SUM	 0xbaba

/* ---- 8.6, 8.7: PCIe, semaphores ---- */
#define IGB_GCR		 0x5b00
#define IGB_FACTPS	 0x5b30
#define IGB_SWSM	 0x5b50
#define IGB_SWSM_SMBI	 BIT(0)
#define IGB_SWSM_SWESMBI BIT(1)
#define IGB_FWSM	 0x5b54
#define IGB_SW_FW_SYNC	 0x5b5c
#define IGB_PBACL	 0x5b68

/* ---- 8.8: interrupts ---- */
#define IGB_ICR	       0x1500
#define IGB_ICS	       0x1504
#define IGB_IMS	       0x1508
#define IGB_IMC	       0x150c
#define IGB_IAM	       0x1510
#define IGB_ICR_OLD    0x00c0 /* where earlier controllers have them */
#define IGB_ICS_OLD    0x00c8
#define IGB_IMS_OLD    0x00d0
#define IGB_IMC_OLD    0x00d8
#define IGB_IAM_OLD    0x00e0
#define IGB_ICR_TXDW   BIT(0)
#define IGB_ICR_LSC    BIT(2)
#define IGB_ICR_RXDMT0 BIT(4)
#define IGB_ICR_RXMISS BIT(6)
#define IGB_ICR_RXDW   BIT(7)
#define IGB_ICR_VMMB   BIT(8)
#define IGB_ICR_INTA   BIT(31)

#define IGB_GPIE	  0x1514
#define IGB_GPIE_NSICR	  BIT(0)
#define IGB_GPIE_MULTIPLE BIT(4)
#define IGB_GPIE_EIAME	  BIT(30)

#define IGB_EICS       0x1520
#define IGB_EIMS       0x1524
#define IGB_EIMC       0x1528
#define IGB_EIAC       0x152c
#define IGB_EIAM       0x1530
#define IGB_EICR       0x1580
#define IGB_EICR_OTHER BIT(31)
#define IGB_EICR_TIMER BIT(30)
#define IGB_EICR_MSIX  (BIT(IGB_VECTORS) - 1)

#define IGB_EITR	0x1680
#define IGB_EITR_US(v)	((v) >> 2 & 0x1fff)
#define IGB_IVAR	0x1700
#define IGB_IVAR_MISC	0x1740
#define IGB_IVAR_VALID	0x80
#define IGB_IVAR_VECTOR 0x1f

/* ---- 8.10: receiving ---- */
#define IGB_RCTL	  0x0100
#define IGB_RCTL_EN	  BIT(1)
#define IGB_RCTL_UPE	  BIT(3)
#define IGB_RCTL_MPE	  BIT(4)
#define IGB_RCTL_LPE	  BIT(5)
#define IGB_RCTL_MO(v)	  ((v) >> 12 & 3)
#define IGB_RCTL_BAM	  BIT(15)
#define IGB_RCTL_BSIZE(v) (2048u >> ((v) >> 16 & 3))
#define IGB_RCTL_VFE	  BIT(18)
#define IGB_RCTL_CFIEN	  BIT(19)
#define IGB_RCTL_CFI	  BIT(20)
#define IGB_RCTL_DPF	  BIT(22)
#define IGB_RCTL_PMCF	  BIT(23)
#define IGB_RCTL_SECRC	  BIT(26)

/* Of queue n: at 0xc000 + 0x40 n, and of the first four at 0x2800 + 0x100 n too. */
#define IGB_RXQ		 0xc000
#define IGB_RXQ_OLD	 0x2800
#define IGB_RXQ_OLD_PAGE 0x2000 /* and those for sending are in the page behind it */
#define IGB_RDBAL	 0x00
#define IGB_RDBAH	 0x04
#define IGB_RDLEN	 0x08
#define IGB_SRRCTL	 0x0c
#define IGB_RDH		 0x10
#define IGB_RXCTL	 0x14
#define IGB_RDT		 0x18
#define IGB_RXDCTL	 0x28
#define IGB_RQDPC	 0x30
#define IGB_RING_ALIGN	 128u	  /* of its address and its length */
#define IGB_RING_BYTES	 0x80000u /* the most, 8.10.7 */

#define IGB_SRRCTL_PACKET(v) (((v)&0x7f) << 10)
#define IGB_SRRCTL_HEADER(v) (((v) >> 8 & 0xf) * 64)
#define IGB_SRRCTL_TYPE(v)   ((v) >> 25 & 7)
#define IGB_SRRCTL_TYPES     (7u << 25)
#define IGB_SRRCTL_DROP	     BIT(31)
enum { IGB_RX_LEGACY, IGB_RX_ADVANCED, IGB_RX_SPLIT, IGB_RX_SPLIT_ALWAYS = 5 };

#define IGB_DCTL_WTHRESH(v) ((v) >> 16 & 0x1f)
#define IGB_DCTL_ENABLE	    BIT(25)
#define IGB_DCTL_FLUSH	    BIT(26)

/* 8.11: filters by content; 8.8.15 to 8.8.17: which of them interrupt at once. */
#define IGB_FILTERS		 8 /* of a kind */
#define IGB_ETQF		 0x5cb0
#define IGB_ETQF_ENABLE		 BIT(26)
#define IGB_ETQF_IMMEDIATE	 BIT(29)
#define IGB_ETQF_1588		 BIT(30)
#define IGB_ETQF_QUEUE_ENABLE	 BIT(31)
#define IGB_SAQF		 0x5980
#define IGB_DAQF		 0x59a0
#define IGB_SPQF		 0x59c0
#define IGB_FTQF		 0x59e0
#define IGB_FTQF_QUEUE_ENABLE	 BIT(8)
#define IGB_FTQF_VF(v)		 ((v) >> 12 & 7)
#define IGB_FTQF_VF_BYPASS	 BIT(15)
#define IGB_FTQF_1588		 BIT(27)
#define IGB_FTQF_PROTOCOL_BYPASS BIT(28)
#define IGB_FTQF_SRC_BYPASS	 BIT(29)
#define IGB_FTQF_DST_BYPASS	 BIT(30)
#define IGB_FTQF_SPORT_BYPASS	 BIT(31)
#define IGB_SYNQF		 0x55fc
#define IGB_SYNQF_ENABLE	 BIT(0)
#define IGB_IMIR		 0x5a80 /* the other end's port, and the priority */
#define IGB_IMIR_ENABLE		 BIT(16)
#define IGB_IMIR_PORT_BYPASS	 BIT(17)
#define IGB_IMIR_PRIORITY(v)	 ((v) >> 29)
#define IGB_IMIREXT		 0x5aa0
#define IGB_IMIREXT_SIZE_BYPASS	 BIT(12)
#define IGB_IMIREXT_FLAGS_BYPASS BIT(19)
#define IGB_IMIRVP		 0x5ac0
#define IGB_IMIRVP_ENABLE	 BIT(3)
#define IGB_RFCTL_SYNQFP	 BIT(19)

/* ---- 8.16: time ---- */
#define IGB_SYSTIM	    0xb600 /* its lower half; the upper one follows each */
#define IGB_TIMINCA	    0xb608
#define IGB_TIMADJ	    0xb60c
#define IGB_TSYNCTXCTL	    0xb614
#define IGB_TXSTMP	    0xb618
#define IGB_TSYNCRXCTL	    0xb620
#define IGB_RXSTMP	    0xb624
#define IGB_RXSATR	    0xb62c
#define IGB_TSAUXC	    0xb640
#define IGB_TSYNCRXCFG	    0x5f50
#define IGB_TSYNC_VALID	    BIT(0)
#define IGB_TSYNC_ENABLE    BIT(4)
#define IGB_TSYNCRX_TYPE(v) ((v) >> 1 & 7)

#define IGB_RXCSUM	     0x5000
#define IGB_RXCSUM_PCSS	     0x000000ff
#define IGB_RXCSUM_IP	     BIT(8)
#define IGB_RXCSUM_L4	     BIT(9)
#define IGB_RXCSUM_CRC	     BIT(11)
#define IGB_RXCSUM_IPID	     BIT(12)
#define IGB_RXCSUM_PCSD	     BIT(13)
#define IGB_RLPML	     0x5004
#define IGB_RFCTL	     0x5008
#define IGB_MTA		     0x5200
#define IGB_RAL		     0x5400 /* of the first 16; RAH follows each */
#define IGB_RAL_MORE	     0x54e0
#define IGB_RAH_AV	     BIT(31)
#define IGB_RAH_POOLS(v)     ((v) >> 18 & 0xff)
#define IGB_PSRTYPE_IPV4     BIT(1) /* the header ends with this one; the next two: with TCP, with UDP */
#define IGB_PSRTYPE_IPV6     BIT(7)
#define IGB_PSRTYPE_ALL	     0x6dbfe
#define IGB_PSRTYPE	     0x5480
#define IGB_VFTA	     0x5600
#define IGB_MRQC	     0x5818
#define IGB_MRQC_MODE(v)     ((v)&7)
#define IGB_MRQC_VMDQ	     3
#define IGB_MRQC_VMDQ_RSS    5
#define IGB_VT_CTL_DEF_PL(v) ((v) >> 7 & 7)
#define IGB_MRQC_RSS	     2
#define IGB_MRQC_DEF_Q(v)    ((v) >> 3 & 7)
#define IGB_RETA	     0x5c00
#define IGB_RSSRK	     0x5c80
#define IGB_UTA		     0xa000
#define IGB_QDE		     0x2408

/* ---- 8.14: virtualization, as the card's driver has it ---- */
#define IGB_POOLS	       8
#define IGB_P2V		       0x0c00 /* PFMAILBOX, one for each function */
#define IGB_MBVFICR	       0x0c80
#define IGB_MBVFICR_REQ(n)     BIT(n)
#define IGB_MBVFICR_ACK(n)     BIT(16 + (n))
#define IGB_MBVFIMR	       0x0c84
#define IGB_VFLRE	       0x0c88
#define IGB_VFRE	       0x0c8c
#define IGB_VFTE	       0x0c90
#define IGB_DTXSWC	       0x3500
#define IGB_DTXSWC_MAC(v, n)   ((v) >> (n)&1) /* spoofing is looked for, of pool n */
#define IGB_DTXSWC_VLAN(v, n)  ((v) >> (8 + (n)) & 1)
#define IGB_DTXSWC_LLE(v, n)   ((v) >> (16 + (n)) & 1) /* it gets its own */
#define IGB_DTXSWC_LOOPBACK    BIT(31)
#define IGB_WVBR	       0x3554
#define IGB_VMVIR	       0x3700
#define IGB_VMVIR_ALWAYS       BIT(30)
#define IGB_VMVIR_NEVER	       BIT(31)
#define IGB_VT_CTL	       0x581c
#define IGB_VT_CTL_IGNORE_MAC  BIT(28)
#define IGB_VT_CTL_NO_DEFAULT  BIT(29)
#define IGB_VT_CTL_REPLICATION BIT(30)
#define IGB_VMOLR	       0x5ad0
#define IGB_VMOLR_LENGTH(v)    ((v)&0x3fff)
#define IGB_VMOLR_LPE	       BIT(16)
#define IGB_VMOLR_RSSE	       BIT(17)
#define IGB_VMOLR_AUPE	       BIT(24)
#define IGB_VMOLR_ROMPE	       BIT(25)
#define IGB_VMOLR_ROPE	       BIT(26)
#define IGB_VMOLR_BAM	       BIT(27)
#define IGB_VMOLR_MPME	       BIT(28)
#define IGB_VMOLR_STRVLAN      BIT(30)
#define IGB_VMOLR_STRCRC       BIT(31)
#define IGB_RPLOLR	       0x5af0 /* with bits 30 and 31 of VMOLR */
#define IGB_VLVF	       0x5d00
#define IGB_VLVFS	       32
#define IGB_VLVF_ID(v)	       ((v)&0xfff)
#define IGB_VLVF_POOLS(v)      ((v) >> 12 & 0xff)
#define IGB_VLVF_LOCAL	       BIT(20)
#define IGB_VLVF_ENABLE	       BIT(31)

/* ---- 8.12: sending ---- */
#define IGB_TCTL      0x0400
#define IGB_TCTL_EN   BIT(1)
#define IGB_TCTL_PSP  BIT(3)
#define IGB_DTXTCPFLL 0x359c
#define IGB_DTXTCPFLH 0x35a0

#define IGB_TXQ		0xe000
#define IGB_TXQ_OLD	0x3800
#define IGB_TDBAL	0x00
#define IGB_TDBAH	0x04
#define IGB_TDLEN	0x08
#define IGB_TDH		0x10
#define IGB_TXCTL	0x14
#define IGB_TDT		0x18
#define IGB_TXDCTL	0x28
#define IGB_TDWBAL	0x38
#define IGB_TDWBAH	0x3c
#define IGB_TDWBAL_HEAD BIT(0)

/* ---- 9: virtual functions; the registers that they have in places of their own ---- */
#define IGB_VFS		 8
#define IGB_VF_DEVICE	 0x10ca
#define IGB_VF_BAR_SIZE	 0x4000
#define IGB_VF_VECTORS	 3
#define IGB_VF_MEM	 0x0800 /* VMBMEM */
#define IGB_V2P		 0x0c40 /* V2PMAILBOX */
#define IGB_VF_IVAR_MISC 0x1740

/* ---- statistics: cleared when they are read ---- */
#define IGB_STATS	 0x4000
#define IGB_STATS_END	 0x4140
#define IGB_STAT_MPC	 0x4010
#define IGB_STAT_XONRXC	 0x4048
#define IGB_STAT_XOFFRXC 0x4050
#define IGB_STAT_FCRUC	 0x4058
#define IGB_STAT_PRC64	 0x405c /* and five more, to 1522 bytes */
#define IGB_STAT_GPRC	 0x4074
#define IGB_STAT_BPRC	 0x4078
#define IGB_STAT_MPRC	 0x407c
#define IGB_STAT_GPTC	 0x4080
#define IGB_STAT_GORC	 0x4088 /* of 64 bits, as all that count octets */
#define IGB_STAT_GOTC	 0x4090
#define IGB_STAT_RNBC	 0x40a0
#define IGB_STAT_RUC	 0x40a4
#define IGB_STAT_ROC	 0x40ac
#define IGB_STAT_TOR	 0x40c0
#define IGB_STAT_TOT	 0x40c8
#define IGB_STAT_TPR	 0x40d0
#define IGB_STAT_TPT	 0x40d4
#define IGB_STAT_PTC64	 0x40d8
#define IGB_STAT_MPTC	 0x40f0
#define IGB_STAT_BPTC	 0x40f4
#define IGB_STAT_TSCTC	 0x40f8
#define IGB_STAT_IAC	 0x4100
#define IGB_STAT_RPTHC	 0x4104
#define IGB_STAT_HGPTC	 0x4118
#define IGB_STAT_HGORC	 0x4128
#define IGB_STAT_HGOTC	 0x4130
/* Of each queue, at 0x100 n; these wrap, and reading leaves them. */
#define IGB_QSTATS 0x10000
#define IGB_PQGPRC 0x10
#define IGB_PQGPTC 0x14
#define IGB_PQGORC 0x18
#define IGB_PQGOTC 0x34
#define IGB_PQMPRC 0x38

#define IGB_FCS 4 /* bytes: frames and their lengths have none of it here, and in the registers they do */

/* ---- 7.1.4, 7.1.5, 7.2.2: descriptors ---- */
union igb_desc {
	uint64_t q[2];
	uint32_t d[4];
};
_Static_assert(sizeof(union igb_desc) == 16, "a descriptor");

/* Receiving, read: q[0] the packet's buffer, q[1] the header's. Written back: */
#define IGB_RXD_DD	 BIT(0) /* in d[2] */
#define IGB_RXD_EOP	 BIT(1)
#define IGB_RXD_VP	 BIT(3)
#define IGB_RXD_UDPCS	 BIT(4)
#define IGB_RXD_L4CS	 BIT(5)
#define IGB_RXD_IPCS	 BIT(6)
#define IGB_RXD_PIF	 BIT(7)
#define IGB_RXD_STRIPCRC BIT(12)
#define IGB_RXD_TS	 BIT(16)
#define IGB_RXD_HBO	 BIT(23)
#define IGB_RXD_L4E	 BIT(29)
#define IGB_RXD_IPE	 BIT(30)
#define IGB_RXD_L2	 BIT(15) /* in d[0]: an EtherType that ETQF knows */
#define IGB_RXD_SPH	 BIT(31) /* in d[0] */
#define IGB_RXD_HDR(n)	 ((uint32_t)(n) << 21)

/* Sending: q[0] the buffer. */
#define IGB_TXD_LEN(t)	((t)->d[2] & 0xffff)
#define IGB_TXD_DTYP(t) ((t)->d[2] >> 20 & 0xf)
enum { IGB_TXD_CONTEXT = 2, IGB_TXD_DATA = 3 };
#define IGB_TXD_STAMP	  BIT(19) /* in d[2] of advanced ones: MAC */
#define IGB_TXD_EOP	  BIT(24) /* in d[2], in legacy and advanced ones */
#define IGB_TXD_IFCS	  BIT(25)
#define IGB_TXD_IC	  BIT(26) /* legacy: insert a checksum */
#define IGB_TXD_RS	  BIT(27)
#define IGB_TXD_DEXT	  BIT(29)
#define IGB_TXD_VLE	  BIT(30)
#define IGB_TXD_TSE	  BIT(31)
#define IGB_TXD_DD	  BIT(0) /* in d[3] */
#define IGB_TXD_IXSM	  BIT(8) /* advanced, in d[3]: POPTS */
#define IGB_TXD_TXSM	  BIT(9)
#define IGB_TXD_IDX(t)	  ((t)->d[3] >> 4 & 7)
#define IGB_TXD_PAYLEN(t) ((t)->d[3] >> 14)
#define IGB_TXD_CSO(t)	  ((t)->d[2] >> 16 & 0xff) /* legacy */
#define IGB_TXD_CSS(t)	  ((t)->d[3] >> 8 & 0xff)
#define IGB_TXD_VLAN(t)	  ((t)->d[3] >> 16)
#define IGB_CONTEXTS	  2	  /* of a queue */
#define IGB_CTX_IPV4	  BIT(10) /* context descriptors, in d[2]: TUCMD */
#define IGB_CTX_L4T_SHIFT 11

#endif
