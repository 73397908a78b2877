/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the registers (ctrl.c) and the device type (type.c). */
#ifndef PINFOLD_DEVICES_NVME_CTRL_H
#define PINFOLD_DEVICES_NVME_CTRL_H

#include "devices/nvme/nvme.h"

#define NVME_BAR_SIZE	0x4000
#define NVME_MSIX_TABLE 0x2000
#define NVME_MSIX_PBA	0x3000

uint64_t nvme_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size);
void nvme_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);

/* ---- cmb.c ---- */
int nvme_cmb_init(struct nvme *c, uint64_t size, char *err, size_t errlen);		      /* size 0: none */
int nvme_pmr_init(struct nvme *c, const char *path, uint64_t size, char *err, size_t errlen); /* path NULL: none */
void nvme_cmb_fini(struct nvme *c);
uint64_t nvme_cmb_cap(const struct nvme *c);			/* its bits of CAP */
uint32_t nvme_cmb_reg_read(const struct nvme *c, uint64_t off); /* of a register that is nobody else's */
void nvme_cmb_reg_write(struct nvme *c, uint64_t off, uint32_t val);
void nvme_cmb_reset(struct nvme *c);
void nvme_cmb_forget(struct nvme *c); /* the buffer's content */
void nvme_cmb_restore(struct nvme *c, uint64_t cmbmsc, uint64_t pmrmsc, bool pmr_on);

void nvme_power_on(struct nvme *c); /* everything to what it is after power on */
void nvme_stop(struct nvme *c);
int nvme_shutdown_new(struct nvme *c);
void nvme_shutdown_detach(struct nvme *c);
/* CSTS.SHST is to say that a shutdown is done, and does not yet. */
bool nvme_shutdown_pending(const struct nvme *c);
void nvme_shutdown_go_on(struct nvme *c);
/* Begins to make stable all that has been written; the disks are busy until it is. How it went. */
void nvme_flush_all(struct nvme *c);
int nvme_flush_error(const struct nvme *c);

#endif
