/* SPDX-License-Identifier: BSD-3-Clause */
/* The device "ats", which moves a page between an address and a buffer of its own, and asks for pages. */
#ifndef PINFOLD_TESTS_ATS_H
#define PINFOLD_TESTS_ATS_H

#include "rules.h"

enum ats_command { ATS_WRITE = 1, ATS_READ = 3 }; /* by the device, of memory */
enum ats_status { ATS_DONE, ATS_FAULT, ATS_WAITING };

extern uint32_t follow_hwpt;
extern int fault_fd;

/* Bound to a fresh iommufd, or to container, with an empty IOAS (dma_ioas) and a fault queue; nothing is attached. */
void ats_bound(void);
/* The same, attached to a page table (follow_hwpt) that follows, for which faults are reported. One page is mapped. */
void ats_followed(void);
void ats_gone(void);
int follow_alloc(uint32_t ioas, uint32_t flags, uint32_t *id); /* errno, as what follows */
int promise(void *va, uint64_t len, uint32_t prot);	       /* maps it into dma_ioas at its own address */
int pasid_attach(uint32_t pasid, uint32_t pt);
int pasid_detach(uint32_t pasid);

void ats_pasid(uint32_t pasid); /* from now on it uses this one; 0: none */
void ats_start(const void *va, enum ats_command cmd);
void ats_abort(void);
bool ats_busy(void);
enum ats_status ats_status(void);
enum ats_status ats_finish(void);  /* without looking at page requests */
enum ats_status ats_refused(void); /* every one is answered with INVALID */
/* What the device reads there; -1: it would have to ask. */
int ats_sees(const void *va);
bool ats_writes(void *va, uint8_t c);

bool fault_take(struct iommu_hwpt_pgfault *f, int wait_ms);
void fault_expect(struct iommu_hwpt_pgfault *f, const void *va, uint32_t perm);
void fault_answer(const struct iommu_hwpt_pgfault *f, uint32_t code);

#endif
