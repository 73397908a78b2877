/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics. Sizes of frames are with FCS, as the registers have them. */
#include "devices/igb/igb.h"

/* ---- frames ---- */
/*
 * Most registers count the same frames in different ways. For each frame the least is noted that tells all of them, in
 * the tally of its direction, and who looks at a register has that added up first.
 */
static const struct {
	uint32_t frames[3], octets[3], sizes;
	uint32_t queue_frames, queue_octets;
} counters[] = {
    [IGB_TALLY_RX] = {{IGB_STAT_GPRC, IGB_STAT_TPR, IGB_STAT_RPTHC},
		      {IGB_STAT_GORC, IGB_STAT_TOR, IGB_STAT_HGORC},
		      IGB_STAT_PRC64,
		      IGB_PQGPRC,
		      IGB_PQGORC},
    [IGB_TALLY_TX] = {{IGB_STAT_GPTC, IGB_STAT_TPT, IGB_STAT_HGPTC},
		      {IGB_STAT_GOTC, IGB_STAT_TOT, IGB_STAT_HGOTC},
		      IGB_STAT_PTC64,
		      IGB_PQGPTC,
		      IGB_PQGOTC},
};

static inline uint32_t *queue_stat(struct igb *d, unsigned int queue, uint32_t stat)
{
	return &d->reg[(IGB_QSTATS + 0x100 * queue + stat) / 4];
}

static void fold(struct igb *d, unsigned int way)
{
	uint64_t frames = 0, octets = 0;
	struct igb_tally *t = &d->tally[way];

	for (unsigned int q = 0; q < IGB_QUEUES; q++) {
		frames += t->frames[q];
		octets += t->octets[q];
		*queue_stat(d, q, counters[way].queue_frames) += (uint32_t)t->frames[q];
		*queue_stat(d, q, counters[way].queue_octets) += (uint32_t)t->octets[q];
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(counters[way].frames); i++) {
		igb_count(d, counters[way].frames[i], frames);
		igb_count(d, counters[way].octets[i], octets);
	}
	for (unsigned int i = 0; i < IGB_SIZES; i++)
		igb_count(d, counters[way].sizes + 4 * i, t->sizes[i]);
	memset(t, 0, sizeof(*t));
}

void igb_stats_fold(struct igb *d)
{
	fold(d, IGB_TALLY_RX);
	fold(d, IGB_TALLY_TX);
}

void igb_stats_reset(struct igb *d)
{
	memset(d->stat, 0, sizeof(d->stat));
	memset(d->tally, 0, sizeof(d->tally));
}

static bool broadcast(const uint8_t *head)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	return !memcmp(head, all, sizeof(all));
}

void igb_stat_tx_multicast(struct igb *d, const uint8_t *head)
{
	igb_count(d, broadcast(head) ? IGB_STAT_BPTC : IGB_STAT_MPTC, 1);
}

void igb_stat_rx_multicast(struct igb *d, unsigned int queue, const uint8_t *head)
{
	if (broadcast(head)) {
		igb_count(d, IGB_STAT_BPRC, 1);
	} else {
		igb_count(d, IGB_STAT_MPRC, 1);
		++*queue_stat(d, queue, IGB_PQMPRC);
	}
}

/* ---- registers ---- */
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
	uint64_t val;

	igb_stats_fold(d);
	val = d->stat[i];
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

uint32_t igb_queue_stat_read(struct igb *d, unsigned int i)
{
	igb_stats_fold(d);
	return d->reg[IGB_QSTATS / 4 + i];
}

/* IEEE 802.3 annex 31B: a PAUSE frame, to all stations or to this one, or another that controls. */
void igb_stat_control(struct igb *d, const uint8_t *head)
{
	static const uint8_t pause[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x01};

	if (head[14] || head[15] != 1 || (memcmp(head, pause, sizeof(pause)) != 0 && !igb_filter_has_address(d, head)))
		igb_count(d, IGB_STAT_FCRUC, 1);
	else
		igb_count(d, head[16] | head[17] ? IGB_STAT_XOFFRXC : IGB_STAT_XONRXC, 1);
}

void igb_stat_unwanted(struct igb *d, size_t len)
{
	igb_count(d, IGB_STAT_TPR, 1);
	igb_count(d, IGB_STAT_TOR, len + IGB_FCS);
}
