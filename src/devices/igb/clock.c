/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock for IEEE 1588, and the stamps that it puts on frames (7.11, 8.16). SYSTIM grows by TIMINCA.INCVALUE every
 * TIMINCA.INCPERIOD times 16 nanoseconds; it is not counted but computed. One frame of each direction has a stamp until
 * its upper half has been read.
 */
#include "devices/igb/igb.h"

#define TICK_NS 16

/* Of messages: IEEE 1588-2002 table 13 and 1588-2008 table 18, the same fields in the same places. */
#define PTP_TYPE     0
#define PTP_VERSION  1
#define PTP_UUID     22
#define PTP_SEQUENCE 30
#define PTP_CONTROL  32
#define PTP_MIN	     34 /* bytes that both have */

enum { STAMP_L2_V2, STAMP_L4_V1, STAMP_V2, STAMP_ALL = 4, STAMP_EVENT_V2 = 5 };

/* ---- time ---- */
static uint64_t time_at(const struct igb *d, uint64_t ns, uint64_t *rest)
{
	uint32_t inca = igb_reg(d, IGB_TIMINCA);
	uint64_t step = (inca >> 24) * (uint64_t)TICK_NS, passed = ns - d->clock.since;

	*rest = step ? passed % step : 0;
	return d->clock.time + (step ? passed / step * (inca & 0xffffff) : 0);
}

uint64_t igb_clock_now(const struct igb *d)
{
	uint64_t rest;

	return time_at(d, loop_now(), &rest);
}

/* What follows counts from now on. */
static void settle(struct igb *d)
{
	uint64_t now = loop_now(), rest;

	d->clock.time = time_at(d, now, &rest);
	d->clock.since = now - rest;
}

void igb_clock_set(struct igb *d, uint64_t time)
{
	d->clock = (struct igb_clock){.time = time, .since = loop_now()};
}

uint32_t igb_systim_read(struct igb *d, unsigned int i)
{
	uint64_t now = igb_clock_now(d);
	uint32_t high = d->clock.latched ? d->clock.high : (uint32_t)(now >> 32);

	/* The lower half is read first. */
	d->clock.latched = !i;
	d->clock.high = now >> 32;
	return i ? high : (uint32_t)now;
}

void igb_systim_write(struct igb *d, unsigned int i, uint32_t val)
{
	settle(d);
	d->clock.time = i ? (uint32_t)d->clock.time | (uint64_t)val << 32 : (d->clock.time & ~0xffffffffull) | val;
	d->clock.latched = false;
}

void igb_timinca_write(struct igb *d, unsigned int i, uint32_t val)
{
	settle(d);
	d->reg[IGB_TIMINCA / 4] = val;
}

/* The upper half's upper bit is a sign, and to write that half is the order. */
void igb_timadj_write(struct igb *d, unsigned int i, uint32_t val)
{
	uint64_t by;

	d->reg[IGB_TIMADJ / 4 + i] = val;
	if (!i)
		return;
	by = (uint64_t)(val & ~BIT(31)) << 32 | igb_reg(d, IGB_TIMADJ);
	settle(d);
	d->clock.time += val & BIT(31) ? -by : by;
}

/* ---- stamps ---- */
static void stamp(struct igb *d, uint32_t at, uint64_t time)
{
	d->reg[at / 4] = (uint32_t)time;
	d->reg[at / 4 + 1] = time >> 32;
}

bool igb_stamp_tx_wanted(const struct igb *d)
{
	return (igb_reg(d, IGB_TSYNCTXCTL) & (IGB_TSYNC_ENABLE | IGB_TSYNC_VALID)) == IGB_TSYNC_ENABLE;
}

void igb_stamp_tx(struct igb *d, uint64_t time)
{
	stamp(d, IGB_TXSTMP, time);
	d->reg[IGB_TSYNCTXCTL / 4] |= IGB_TSYNC_VALID;
}

static bool message_wanted(const struct igb *d, const uint8_t *ptp, bool l4)
{
	uint32_t cfg = igb_reg(d, IGB_TSYNCRXCFG);
	uint8_t type = ptp[PTP_TYPE] & 0xf, version = ptp[PTP_VERSION] & 0xf;

	switch (IGB_TSYNCRX_TYPE(igb_reg(d, IGB_TSYNCRXCTL))) {
	case STAMP_L2_V2:
		return !l4 && version == 2 && type == (cfg >> 8 & 0xf);
	case STAMP_L4_V1:
		return l4 && version == 1 && ptp[PTP_CONTROL] == (cfg & 0xff);
	case STAMP_V2:
		return version == 2 && type == (cfg >> 8 & 0xf);
	case STAMP_EVENT_V2:
		return version == 2 && !(type & 8);
	default:
		return false;
	}
}

void igb_stamp_rx_slow(struct igb *d, struct igb_rx_frame *fr, bool l4)
{
	uint32_t ctl = igb_reg(d, IGB_TSYNCRXCTL);
	const uint8_t *ptp = fr->head + fr->ptp;

	/* Each frame takes the last one's place, and no descriptor tells. */
	if (IGB_TSYNCRX_TYPE(ctl) == STAMP_ALL) {
		stamp(d, IGB_RXSTMP, igb_clock_now(d));
		d->reg[IGB_TSYNCRXCTL / 4] |= IGB_TSYNC_VALID;
		return;
	}
	if (ctl & IGB_TSYNC_VALID || !fr->ptp || fr->ptp + PTP_MIN > fr->head_len || !message_wanted(d, ptp, l4))
		return;
	stamp(d, IGB_RXSTMP, igb_clock_now(d));
	d->reg[IGB_RXSATR / 4] = (uint32_t)ptp[PTP_UUID] << 24 | (uint32_t)ptp[PTP_UUID + 1] << 16 |
				 (uint32_t)ptp[PTP_UUID + 2] << 8 | ptp[PTP_UUID + 3];
	d->reg[IGB_RXSATR / 4 + 1] = (uint32_t)ptp[PTP_SEQUENCE] << 24 | (uint32_t)ptp[PTP_SEQUENCE + 1] << 16 |
				     (uint32_t)ptp[PTP_UUID + 4] << 8 | ptp[PTP_UUID + 5];
	d->reg[IGB_TSYNCRXCTL / 4] |= IGB_TSYNC_VALID;
	fr->status |= IGB_RXD_TS;
}

static uint32_t stamp_read(struct igb *d, uint32_t at, uint32_t ctl, unsigned int i)
{
	if (i)
		d->reg[ctl / 4] &= ~IGB_TSYNC_VALID;
	return igb_reg(d, at + 4 * i);
}

uint32_t igb_rxstmp_read(struct igb *d, unsigned int i)
{
	return stamp_read(d, IGB_RXSTMP, IGB_TSYNCRXCTL, i);
}

uint32_t igb_txstmp_read(struct igb *d, unsigned int i)
{
	return stamp_read(d, IGB_TXSTMP, IGB_TSYNCTXCTL, i);
}
