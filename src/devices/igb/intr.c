/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts (7.3). Causes of queues are mapped to bits of EICR by IVAR; all others are in ICR, and those that IMS lets
 * through are one more cause for EICR.
 *
 * With GPIE.Multiple_MSIX each bit of EICR is an MSI-X vector, sent when the bit is set in EICR and in EIMS and was not
 * so before. Without it one interrupt (vector 0, MSI, or the pin) stands for EICR and ICR alike, and queues set RXDW
 * and TXDW in ICR.
 */
#include "devices/igb/igb.h"

#define SINGLE BIT(0) /* the only bit of asserted, without vectors */

static bool multiple(const struct igb *d)
{
	return igb_reg(d, IGB_GPIE) & IGB_GPIE_MULTIPLE;
}

static uint32_t eicr_mask(const struct igb *d)
{
	return multiple(d) ? IGB_EICR_MSIX : 0xffffu | IGB_EICR_TIMER | IGB_EICR_OTHER;
}

/* 8.8.12: a vector is sent once in an interval. */
static bool vector_due(struct igb *d, unsigned int v)
{
	uint32_t us = IGB_EITR_US(igb_reg(d, IGB_EITR + 4 * v));
	struct igb_vector *vec = &d->vector[v];
	uint64_t now;

	if (!us)
		return true;
	now = loop_now();
	if (now < vec->next) {
		d->throttled |= BIT(v);
		loop_timer_arm(d->loop, &vec->timer, vec->next - now);
		return false;
	}
	vec->next = now + us * 1000ull;
	return true;
}

static void vector_expired(struct loop_timer *t)
{
	struct igb_vector *vec = container_of(t, struct igb_vector, timer);

	vec->d->throttled &= ~BIT(vec->index);
	igb_intr_update(vec->d);
}

/* 7.3.4: what is cleared and what is masked by itself when the message goes. */
static void vector_send(struct igb *d, unsigned int v)
{
	if (igb_reg(d, IGB_EIAC) & BIT(v))
		d->eicr &= ~BIT(v);
	if (igb_reg(d, IGB_GPIE) & IGB_GPIE_EIAME)
		d->eims &= ~(igb_reg(d, IGB_EIAM) & BIT(v));
	igb_count(d, IGB_STAT_IAC, 1);
	pci_msix_raise(&d->f, v);
}

static void update_multiple(struct igb *d)
{
	uint32_t due;

	pci_intx_set(&d->f, false);
	d->asserted &= d->eicr & d->eims;
	due = d->eicr & d->eims & IGB_EICR_MSIX & ~d->asserted & ~d->throttled;
	for (; due; due &= due - 1) {
		unsigned int v = (unsigned int)__builtin_ctz(due);

		if (!vector_due(d, v))
			continue;
		d->asserted |= BIT(v);
		vector_send(d, v);
		d->asserted &= d->eicr & d->eims;
	}
}

static void update_single(struct igb *d)
{
	bool wanted = d->icr & d->ims || d->eicr & d->eims;

	if (!wanted) {
		d->asserted = 0;
		d->icr &= ~IGB_ICR_INTA;
		pci_intx_set(&d->f, false);
		return;
	}
	if (d->asserted || d->throttled & SINGLE || !vector_due(d, 0))
		return;
	d->asserted = SINGLE;
	d->icr |= IGB_ICR_INTA;
	igb_count(d, IGB_STAT_IAC, 1);
	pci_intx_set(&d->f, true);
	if (pci_msix_enabled(&d->f))
		pci_msix_raise(&d->f, 0);
	else if (pci_msi_enabled(&d->f))
		pci_msi_raise(&d->f, 0);
}

void igb_intr_update(struct igb *d)
{
	if (d->in_turn)
		return;
	if (multiple(d))
		update_multiple(d);
	else
		update_single(d);
}

/* ---- causes ---- */
static void eicr_set(struct igb *d, uint32_t entry, uint32_t otherwise)
{
	if (entry & IGB_IVAR_VALID)
		d->eicr |= BIT(entry & IGB_IVAR_VECTOR) & eicr_mask(d);
	else
		d->eicr |= otherwise;
}

static void other_cause(struct igb *d)
{
	if (multiple(d))
		eicr_set(d, igb_reg(d, IGB_IVAR_MISC) >> 8, 0);
	else
		d->eicr |= IGB_EICR_OTHER;
}

void igb_intr_cause(struct igb *d, uint32_t icr)
{
	d->icr |= icr;
	/* Whoever has not taken the last one yet gets one more: a message is an edge. */
	if (icr & d->ims & ~IGB_ICR_INTA)
		other_cause(d);
}

void igb_intr_queue(struct igb *d, bool tx, unsigned int queue)
{
	uint32_t entry = igb_reg(d, IGB_IVAR + 4 * (queue & 7)) >> (16 * (queue >> 3) + 8 * tx);

	eicr_set(d, entry, 0);
	if (!multiple(d))
		igb_intr_cause(d, tx ? IGB_ICR_TXDW : IGB_ICR_RXDW);
}

/* 8.8.15: what interrupts at once does so whatever EITR says. */
void igb_intr_hurry(struct igb *d, unsigned int queue)
{
	uint32_t entry = igb_reg(d, IGB_IVAR + 4 * (queue & 7)) >> 16 * (queue >> 3);
	unsigned int v = multiple(d) && entry & IGB_IVAR_VALID ? entry & IGB_IVAR_VECTOR : 0;

	if (v >= IGB_VECTORS)
		return;
	d->vector[v].next = 0;
	d->throttled &= ~BIT(v);
	loop_timer_cancel(d->loop, &d->vector[v].timer);
}

void igb_intr_init(struct igb *d)
{
	for (unsigned int v = 0; v < IGB_VECTORS; v++) {
		d->vector[v].d = d;
		d->vector[v].index = (uint8_t)v;
		loop_timer_init(&d->vector[v].timer, vector_expired);
	}
}

void igb_intr_reset(struct igb *d)
{
	d->icr = d->ims = d->eicr = d->eims = 0;
	d->asserted = d->throttled = 0;
	for (unsigned int v = 0; v < IGB_VECTORS; v++) {
		d->vector[v].next = 0;
		loop_timer_cancel(d->loop, &d->vector[v].timer);
	}
	pci_intx_set(&d->f, false);
}

/* ---- registers ---- */
static void auto_mask(struct igb *d)
{
	d->ims &= ~(igb_reg(d, IGB_IAM) | igb_reg(d, IGB_IAM_OLD));
}

/* 8.8.7: reading clears, if there was an interrupt or could have been none, or GPIE says always. */
uint32_t igb_icr_read(struct igb *d, unsigned int i)
{
	uint32_t val = d->icr;

	if (!d->ims || d->icr & d->ims || igb_reg(d, IGB_GPIE) & IGB_GPIE_NSICR) {
		d->icr = 0;
		auto_mask(d);
		d->eicr &= multiple(d) ? ~0u : ~IGB_EICR_OTHER;
		igb_intr_update(d);
	}
	return val;
}

void igb_icr_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->icr &= ~val;
	auto_mask(d);
	igb_intr_update(d);
}

void igb_ics_write(struct igb *d, unsigned int i, uint32_t val)
{
	igb_intr_cause(d, val & ~IGB_ICR_INTA);
	igb_intr_update(d);
}

uint32_t igb_ims_read(struct igb *d, unsigned int i)
{
	return d->ims;
}

void igb_ims_write(struct igb *d, unsigned int i, uint32_t val)
{
	uint32_t opened;

	if (val & IGB_ICR_VMMB)
		igb_govern_begin(d);
	opened = val & ~d->ims & d->icr & ~IGB_ICR_INTA;
	d->ims |= val & ~IGB_ICR_INTA;
	if (opened)
		other_cause(d);
	igb_intr_update(d);
}

void igb_imc_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->ims &= ~val;
	igb_intr_update(d);
}

static void eiam_apply(struct igb *d, uint32_t bits)
{
	d->eims &= ~(igb_reg(d, IGB_EIAM) & bits);
}

uint32_t igb_eicr_read(struct igb *d, unsigned int i)
{
	uint32_t val = d->eicr;

	d->eicr = 0;
	eiam_apply(d, val);
	igb_intr_update(d);
	return val;
}

void igb_eicr_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->eicr &= ~val;
	eiam_apply(d, val);
	igb_intr_update(d);
}

void igb_eics_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->eicr |= val & eicr_mask(d);
	igb_intr_update(d);
}

uint32_t igb_eims_read(struct igb *d, unsigned int i)
{
	return d->eims;
}

void igb_eims_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->eims |= val & eicr_mask(d);
	igb_intr_update(d);
}

void igb_eimc_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->eims &= ~val;
	igb_intr_update(d);
}

void igb_eitr_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_EITR / 4 + i] = val & 0x7ffc;
}

void igb_gpie_write(struct igb *d, unsigned int i, uint32_t val)
{
	bool was = multiple(d);

	d->reg[IGB_GPIE / 4] = val;
	if (multiple(d) != was)
		d->asserted = 0;
	d->eicr &= eicr_mask(d);
	d->eims &= eicr_mask(d);
	igb_intr_update(d);
}
