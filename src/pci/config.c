/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space: three masks decide what a write does; few registers do more than hold bits. */
#include <linux/pci_regs.h>

#include "base/util.h"
#include "pci/internal.h"

void pci_cfg_define(struct pci_func *f, unsigned int off, unsigned int size, uint32_t val, uint32_t wmask, uint32_t w1c)
{
	cfg_put(f->cfg + off, size, val);
	cfg_put(f->rst + off, size, val);
	cfg_put(f->wmask + off, size, wmask);
	cfg_put(f->w1c + off, size, w1c);
}

void pci_cfg_reset(struct pci_func *f)
{
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++) {
		uint8_t m = f->wmask[i] | f->w1c[i];

		f->cfg[i] = (f->cfg[i] & ~m) | (f->rst[i] & m);
	}
}

static bool access_valid(unsigned int off, unsigned int size)
{
	return (size == 1 || size == 2 || size == 4) && off < PCI_CFG_SIZE && !(off & (size - 1));
}

uint32_t pci_cfg_read(struct pci_func *f, unsigned int off, unsigned int size)
{
	if (!access_valid(off, size))
		return ~0U;
	if (unlikely(f->away))
		return ~0U >> (32 - 8 * size);
	return cfg_get(f->cfg + off, size);
}

/* The byte at reg, if the write covers it; else what is there. */
static uint8_t written_byte(const struct pci_func *f, unsigned int reg, unsigned int off, unsigned int size,
			    uint32_t val)
{
	unsigned int i = reg - off;

	return i < size ? val >> (8 * i) : f->cfg[reg];
}

static unsigned int pm_state(const struct pci_func *f)
{
	return f->pm_cap ? f->cfg[f->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK : 0;
}

/* DEVCTL bit 15 of an endpoint, Initiate Function Level Reset: reads as 0 (PCI Express Base 3.0 section 7.8.4). */
static bool write_starts_flr(const struct pci_func *f, unsigned int off, unsigned int size, uint32_t val)
{
	unsigned int reg = f->exp_cap + PCI_EXP_DEVCTL + 1;

	if (!f->exp_cap || !(cfg_get(f->cfg + f->exp_cap + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR))
		return false;
	return reg - off < size && (written_byte(f, reg, off, size, val) & (PCI_EXP_DEVCTL_BCR_FLR >> 8));
}

static void bytes_write(struct pci_func *f, unsigned int off, unsigned int size, uint32_t val)
{
	for (unsigned int i = off; i < off + size; i++, val >>= 8) {
		f->cfg[i] = (f->cfg[i] & ~f->wmask[i]) | (val & f->wmask[i]);
		f->cfg[i] &= ~(val & f->w1c[i]);
	}
}

/*
 * PCI Power Management 1.2 section 3.2.4: a state that the function does not have is discarded, the rest of the write
 * takes place.
 */
static void pm_state_settle(struct pci_func *f, unsigned int old)
{
	static const uint32_t needs[4] = {[1] = PCI_PM_CAP_D1, [2] = PCI_PM_CAP_D2};
	uint8_t *ctrl = &f->cfg[f->pm_cap + PCI_PM_CTRL];
	uint32_t need = needs[pm_state(f)];

	if (need && !(cfg_get16(f, f->pm_cap + PCI_PM_PMC) & need))
		*ctrl = (*ctrl & ~PCI_PM_CTRL_STATE_MASK) | old;
}

void pci_cfg_write(struct pci_func *f, unsigned int off, unsigned int size, uint32_t val)
{
	unsigned int pm_old = pm_state(f);
	uint32_t msix_old;

	if (!access_valid(off, size))
		return;
	if (write_starts_flr(f, off, size, val)) {
		pci_func_reset(f);
		return;
	}
	msix_old = f->msix_cap ? cfg_get16(f, f->msix_cap + PCI_MSIX_FLAGS) : 0;
	bytes_write(f, off, size, val);

	if (pm_state(f) != pm_old)
		pm_state_settle(f, pm_old);
	/* D3hot to D0 is a soft reset unless No_Soft_Reset says otherwise (PCI Power Management 1.2, section 5.4). */
	if (pm_old == 3 && pm_state(f) == 0 && !(f->cfg[f->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_NO_SOFT_RESET)) {
		pci_func_reset(f);
		/* The device learns of the reset by reset() and of the power state by this. */
		if (f->ops->command_changed)
			f->ops->command_changed(f);
		return;
	}
	if (pci_state_update(f) && f->ops->command_changed)
		f->ops->command_changed(f);
	if (f->msix_cap)
		pci_msix_control_changed(f, msix_old);
	else if (f->msi_cap)
		pci_msix_update(f);
}
