/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual functions of the card under test, and as much of their driver as the tests need. */
#ifndef PINFOLD_TESTS_IGB_VFS_H
#define PINFOLD_TESTS_IGB_VFS_H

#include "host.h"

#define DESCS  16
#define BUFFER 2048
#define VF_RXQ 0x2800 /* VTRDBAL */
#define VF_TXQ 0x3800
#define REQ    0x01u /* of V2PMAILBOX */
#define ACKED  0x02u
#define VFU    0x04u
#define PFSTS  0x10u
#define PFACK  0x20u
#define RSTD   0x80u
#define ACK    BIT(31)
#define NACK   BIT(30)
#define CTS    BIT(29)

struct vf {
	struct host *h;
	struct pci_func *f;
	struct pci_irq_sink sink;
	unsigned int irqs[IGB_VF_VECTORS];
	struct vf_rings {
		uint64_t rx, tx, data; /* IOVAs of rings and of the receive ring's buffers */
		unsigned int rx_seen, tx_tail;
		union igb_desc last; /* of the frame that came last */
	} queue[2];
};

uint32_t vrd(struct vf *v, uint32_t off);
void vwr(struct vf *v, uint32_t off, uint32_t val);
void vf_plug(struct vf *v, struct host *h, unsigned int i); /* function i, as the host gives it to its owner */
/* Queue pair q, with all but one of the receive ring's descriptors. */
void vf_queue(struct vf *v, unsigned int q);
void vf_rings(struct vf *v);			    /* the first */
void tx(struct vf *v, const char *dst, size_t len); /* a frame, told by its length */
void tx_bytes(struct vf *v, unsigned int q, const uint8_t *bytes, size_t len);
unsigned int arrived_on(struct vf *v, unsigned int q);
unsigned int arrived(struct vf *v); /* frames, since the last time */
unsigned int card_arrived(struct ring *rx);

#endif
