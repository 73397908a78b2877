/* SPDX-License-Identifier: BSD-3-Clause */
/* Two devices: one of the other cases' kind, and a controller whose memory buffer it reaches. */
#ifndef PINFOLD_TESTS_PEER_H
#define PINFOLD_TESTS_PEER_H

#include "rules.h"

#define TARGET	  "0000:02:00.0"
#define CMB_BAR	  2
#define PEER_IOVA 0x4000000UL
#define PEER_LEN  (16 * PAGE)

/* The exporter. */
struct target {
	int iommufd, fd;
	uint64_t offset[VFIO_PCI_NUM_REGIONS];
	uint64_t size[VFIO_PCI_NUM_REGIONS];
	uint8_t *cmb;
};

struct target target_open(void); /* by its own node, which may be in use still by somebody who is going */
void target_close(struct target *t);
int target_legacy(struct target *t); /* in a container with the other device, which is open afterwards; a group */
uint8_t *target_map(const struct target *t, unsigned int bar, uint64_t len);
uint16_t target_config(const struct target *t, unsigned int off);
void target_config_write(const struct target *t, unsigned int off, uint16_t v);
void target_memory(const struct target *t, bool on);
unsigned int target_capability(const struct target *t, uint8_t id);
int target_export(const struct target *t, unsigned int bar, uint64_t off, uint64_t len); /* a descriptor, or -errno */
void target_mapped(const struct target *t); /* its memory, whole, at PEER_IOVA of dma_ioas */

/* Who reaches it. */
struct initiator {
	void (*start)(void); /* the device is open, and what it is attached to has nothing yet */
	/* Writes at iova, and reads. False: it did not all get through. */
	bool (*transfer)(uint64_t iova);
};
extern const struct initiator copy_engine;

#endif
