/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics. Sizes of frames are with FCS, as the registers have them. */
#include "devices/igb/igb.h"

static bool octets(uint32_t stat)
{
	switch (stat) {
	case IGB_STAT_GORC:
	case IGB_STAT_GOTC:
	case IGB_STAT_TOR:
	case IGB_STAT_TOT:
	case IGB_STAT_HGORC:
	case IGB_STAT_HGOTC:
		return true;
	default:
		return false;
	}
}

/*
 * A counter that has reached the end stays there. One of 64 bits is read from its lower half on, and cleared by reading
 * its upper half: what is counted in between is for the next time, or a driver would miss it.
 */
uint32_t igb_stat_read(struct igb *d, unsigned int i)
{
	uint64_t val = d->stat[i];

	if (octets(IGB_STATS + 4 * i)) {
		d->half_read = i + 1;
		d->half_val = val;
		return (uint32_t)val;
	}
	if (i && octets(IGB_STATS + 4 * (i - 1))) {
		val = d->half_read == i ? MIN(d->half_val, d->stat[i - 1]) : d->stat[i - 1];
		d->half_read = 0;
		d->stat[i - 1] -= val;
		return (uint32_t)(val >> 32);
	}
	d->stat[i] = 0;
	return val > UINT32_MAX ? UINT32_MAX : (uint32_t)val;
}

/* PRC64 and PTC64, and the five that follow each: up to 127, 255, 511, 1023 bytes, and longer. */
static uint32_t size_class(size_t len)
{
	uint32_t class = len <= 64 ? 0 : 26 - (uint32_t)__builtin_clz((uint32_t)len);

	return MIN(class, 5u);
}

static inline uint32_t *queue_stat(struct igb *d, unsigned int queue, uint32_t stat)
{
	return &d->reg[(IGB_QSTATS + 0x100 * queue + stat) / 4];
}

static bool broadcast(const uint8_t *head)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	return !memcmp(head, all, sizeof(all));
}

void igb_stat_tx(struct igb *d, unsigned int queue, size_t len, const uint8_t *head)
{
	len += IGB_FCS;
	igb_count(d, IGB_STAT_GPTC, 1);
	igb_count(d, IGB_STAT_TPT, 1);
	igb_count(d, IGB_STAT_HGPTC, 1);
	igb_count(d, IGB_STAT_GOTC, len);
	igb_count(d, IGB_STAT_TOT, len);
	igb_count(d, IGB_STAT_HGOTC, len);
	igb_count(d, IGB_STAT_PTC64 + 4 * size_class(len), 1);
	if (unlikely(head[0] & 1))
		igb_count(d, broadcast(head) ? IGB_STAT_BPTC : IGB_STAT_MPTC, 1);
	++*queue_stat(d, queue, IGB_PQGPTC);
	*queue_stat(d, queue, IGB_PQGOTC) += (uint32_t)len;
}

void igb_stat_rx(struct igb *d, unsigned int queue, size_t len, const uint8_t *head)
{
	len += IGB_FCS;
	igb_count(d, IGB_STAT_GPRC, 1);
	igb_count(d, IGB_STAT_TPR, 1);
	igb_count(d, IGB_STAT_RPTHC, 1);
	igb_count(d, IGB_STAT_GORC, len);
	igb_count(d, IGB_STAT_TOR, len);
	igb_count(d, IGB_STAT_HGORC, len);
	igb_count(d, IGB_STAT_PRC64 + 4 * size_class(len), 1);
	++*queue_stat(d, queue, IGB_PQGPRC);
	*queue_stat(d, queue, IGB_PQGORC) += (uint32_t)len;
	if (likely(!(head[0] & 1)))
		return;
	if (broadcast(head)) {
		igb_count(d, IGB_STAT_BPRC, 1);
	} else {
		igb_count(d, IGB_STAT_MPRC, 1);
		++*queue_stat(d, queue, IGB_PQMPRC);
	}
}
