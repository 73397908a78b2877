/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts. With MSI-X: the channel's own vector if INTRCTRL.MSIX says so, else vector 0, gated by INTRCTRL.MASTER.
 * With MSI: its one vector, likewise. Without either: the pin, asserted while a channel wants attention and MASTER is
 * set.
 */
#include "devices/ioat/ioat.h"

void ioat_line_update(struct ioat *d)
{
	pci_intx_set(&d->f, d->attn && d->intrctrl & IOAT_INTRCTRL_MASTER);
}

void ioat_interrupt(struct ioat_chan *c)
{
	struct ioat *d = c->dev;

	/* [E7] 14.5.12: each time the bit is cleared there may be one interrupt. */
	if (c->ctrl & IOAT_CHANCTRL_INT_DIS)
		return;
	c->ctrl |= IOAT_CHANCTRL_INT_DIS;
	d->attn |= BIT(c->index);
	ioat_line_update(d);
	if (pci_msi_enabled(&d->f) && d->intrctrl & IOAT_INTRCTRL_MASTER)
		pci_msi_raise(&d->f, 0);
	if (!pci_msix_enabled(&d->f))
		return;
	if (d->intrctrl & IOAT_INTRCTRL_MSIX)
		pci_msix_raise(&d->f, c->index);
	else if (d->intrctrl & IOAT_INTRCTRL_MASTER)
		pci_msix_raise(&d->f, 0);
}
