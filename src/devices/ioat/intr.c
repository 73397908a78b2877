/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts. With MSI-X: the channel's own vector if INTRCTRL.MSIX says so, else vector 0, gated by INTRCTRL.MASTER.
 * Without: the INTx line, asserted while a channel wants attention and MASTER is set.
 */
#include <linux/pci_regs.h>

#include "devices/ioat/ioat.h"

static bool msix_enabled(const struct ioat *d)
{
	return d->f.cfg[d->f.msix_cap + PCI_MSIX_FLAGS + 1] & (PCI_MSIX_FLAGS_ENABLE >> 8);
}

void ioat_line_update(struct ioat *d)
{
	bool line = d->attn && d->intrctrl & IOAT_INTRCTRL_MASTER && !msix_enabled(d);

	if (line == d->line)
		return;
	d->line = line;
	if (d->f.sink && d->f.sink->intx)
		d->f.sink->intx(d->f.sink, line);
}

void ioat_interrupt(struct ioat_chan *c)
{
	struct ioat *d = c->dev;

	/* [E7] 14.5.12: each time the bit is cleared there may be one interrupt. */
	if (c->ctrl & IOAT_CHANCTRL_INT_DIS)
		return;
	c->ctrl |= IOAT_CHANCTRL_INT_DIS;
	d->attn |= BIT(c->index);
	if (!msix_enabled(d))
		ioat_line_update(d);
	else if (d->intrctrl & IOAT_INTRCTRL_MSIX)
		pci_msix_raise(&d->f, c->index);
	else if (d->intrctrl & IOAT_INTRCTRL_MASTER)
		pci_msix_raise(&d->f, 0);
}
