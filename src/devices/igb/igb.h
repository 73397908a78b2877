/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An Ethernet controller, register compatible with Intel's 82576. One noun per file:
 *
 *   regs.c	BAR 0: the table of registers, and accesses to it
 *   ctrl.c	reset, device control and status, semaphores
 *   nvm.c	the EEPROM
 *   spi.c	its lines
 *   phy.c	the PHY, and the link
 *   intr.c	causes, vectors, throttling
 *   ring.c	what the queues of both directions have in common: registers, descriptors in and out
 *   tx.c	sending
 *   rx.c	receiving
 *   filter.c	which frames are for this card
 *   offload.c	what is done to a frame on its way out, and found out about one on its way in
 *   flow.c	which frames have a queue of their own
 *   clock.c	the clock, and time stamps
 *   stats.c	statistics
 *   live.c	tail registers as plain memory
 *   state.c	migration
 *   type.c	the device type
 *   vf.c	virtual functions
 *   mbx.c	their mailboxes
 *   govern.c	what the card's driver has of them, when it is their host
 *   switch.c	the switch between them, the card and the cable
 *   pool.c	which of them a frame is for, as the card's driver has set it up
 *   trouble.c	faults on purpose
 *
 * Invariants. A descriptor is read once into its ring's cache and acted upon from there. Of the ring, [head, head +
 * cached - pos) is in the cache from pos on, and [0, pos) of the cache is done, of which [0, flushed) has been written
 * back. No host address outlives a call. A frame that has been begun has been sent or given up when a turn ends, but
 * for segments, which go on where they were.
 */
#ifndef PINFOLD_DEVICES_IGB_IGB_H
#define PINFOLD_DEVICES_IGB_IGB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/event.h"
#include "base/guard.h"
#include "base/list.h"
#include "base/loop.h"
#include "devices/igb/spec.h"
#include "iommu/iommu.h"
#include "net/frame.h"
#include "net/net.h"
#include "net/packet.h"
#include "pci/live.h"
#include "net/rss.h"
#include "pci/inject.h"
#include "pci/pci.h"
#include "pci/sriov.h"

#define IGB_TURN      512	 /* descriptors in one turn of sending */
#define IGB_SHARE     64	 /* of one queue before the next one's turn */
#define IGB_FETCH     64	 /* descriptors read at once */
#define IGB_CHAIN     256	 /* descriptors of one frame at most */
#define IGB_PACKET    (1u << 19) /* bytes of a packet to be cut, at most */
#define IGB_PHY_PAGES 4

struct igb;

/* ---- rings ---- */
struct igb_ring {
	struct igb *d;
	uint8_t index;
	bool tx;
	/* registers */
	uint64_t base;
	bool old; /* base is from before the last reset, which it survives */
	uint32_t len, head, tail, dctl, dca;

	uint32_t size;	 /* descriptors; 0 unless the queue is enabled */
	bool broken;	 /* its descriptors could not be reached: stands still until it is enabled anew */
	uint32_t unread; /* the first descriptor that the driver cannot know to be done */
	/* The cache. */
	uint32_t first; /* cache[0] is this one of the ring */
	uint16_t cached, pos, flushed;
	bool rs; /* among [flushed, pos) some are to be written back */
	union igb_desc *cache;
	struct dma_tag tag;
	uint32_t given; /* dma_dev_moves() when base was */

	/* trouble.c */
	bool taken;    /* the packet at pos: what becomes of it has been asked for */
	bool astray;   /* descriptor astray_at's data are at wrong_addr */
	bool held;     /* no more is taken and nothing is written back until a completion is due */
	bool spoiling; /* the next completion that is written back, by fate */
	uint32_t astray_at;
	uint64_t wrong_addr;
	uint64_t head_noise; /* for a head that is written back; 0: none */
	struct inject_fate fate;
	struct loop_timer late;
};

static inline uint32_t igb_ring_used(uint32_t head, uint32_t tail, uint32_t size)
{
	return tail >= head ? tail - head : tail + size - head;
}

/* Descriptors that the card may use, from pos on. */
static inline uint32_t igb_ring_avail(const struct igb_ring *r)
{
	return igb_ring_used(r->head, r->tail, r->size);
}

/* Which of the ring cache[i] is. */
static inline uint32_t igb_ring_at(const struct igb_ring *r, unsigned int i)
{
	uint32_t at = r->first + i;

	while (unlikely(at >= r->size))
		at -= r->size;
	return at;
}

struct igb_context {
	uint32_t d[4];
};

struct igb_txq {
	struct igb_ring r;
	struct list node; /* in active */
	uint64_t head_wb; /* TDWBAL and TDWBAH */
	struct igb_context context[IGB_CONTEXTS];
	uint32_t segment; /* frames of the packet at pos that have gone */
	bool more;	  /* segments that could go at once, when others have had their turn */
	bool skip;	  /* until the end of a packet that cannot be sent */
	bool asked;	  /* whether the frame is to be lost */
	union igb_desc cache[IGB_CHAIN];
};

struct igb_rxq {
	struct igb_ring r;
	struct list node; /* in dirty */
	uint32_t srrctl, dropped;
	uint32_t packet_size, header_size; /* of a buffer */
	bool starved;			   /* a frame waits for descriptors */
	union igb_desc cache[IGB_FETCH];
	uint64_t addr[IGB_FETCH]; /* of [flushed, pos): the buffers, where the cache says what is in them */
};

/* ---- frames ---- */
/* One to be sent, as the descriptors have it. */
struct igb_tx_frame {
	struct iovec iov[NET_IOV_MAX];
	unsigned int n;
	size_t len;
	uint32_t first[4];     /* its first descriptor: options count there (7.2.2.3) */
	uint32_t cmd, special; /* d[2] and d[3] of the last one */
	uint8_t head[16];      /* its first bytes */
};

/* One that arrives. */
struct igb_rx_frame {
	const struct iovec *iov;
	unsigned int n;
	size_t len;
	uint8_t head[PACKET_HEADERS]; /* its first head_len bytes */
	unsigned int head_len;
	unsigned int queue;
	/* What the advanced descriptor says of it. */
	uint32_t info, hash; /* d[0]: types; d[1]: the RSS hash, or IP ID and checksum */
	uint32_t status;     /* d[2] without DD and EOP */
	uint16_t vlan;
	struct igb *by; /* whose registers say what is done to it: the receiver's, or those of its card */
	bool pooled;	/* it has been given to a pool: */
	uint8_t pool;
	uint32_t offload;		       /* VMOLR, or RPLOLR if others have got it, too */
	uint16_t ptp;			       /* where an IEEE 1588 message begins that a filter has found; 0: none */
	uint16_t header;		       /* bytes that are to be split off (7.1.10); 0: none */
	bool urgent;			       /* the interrupt is not throttled */
	struct iovec changed[NET_IOV_MAX + 2]; /* iov, if bytes of it were taken out or added */
};

struct igb_vector {
	struct igb *d;
	uint8_t index;
	uint64_t next; /* not before */
	struct loop_timer timer;
};

/* What the EEPROM knows of the transfer that is under way over its lines. */
#define IGB_SPI_PAGE 32u
struct igb_spi {
	uint8_t state, op, bits;
	bool enabled; /* to be written to */
	uint16_t shift, addr;
	uint32_t filled; /* bytes of page that have come */
	uint8_t page[IGB_SPI_PAGE];
};

struct igb_clock {
	uint64_t time, since; /* SYSTIM, at that time in ns */
	uint32_t high;	      /* of what was read last, */
	bool latched;	      /* unless that has been read too */
};

/* live.c */
#define IGB_LIVE       IGB_RXQ_OLD_PAGE
#define IGB_LIVE_PAGES 2
#define IGB_LIVE_WORDS (IGB_LIVE_PAGES * LIVE_PAGE_SIZE / 4)

struct igb_live {
	struct live_page page;
	struct loop_poll poll;
	struct loop_timer retry;
	bool have_found; /* now differs from seen, */
	bool ripe;	 /* and has for a round */
	bool closing;
	unsigned int rounds;  /* with the page at hand */
	unsigned int trapped; /* tails, since */
	uint64_t since;
	unsigned int stored; /* tails in the page, since it was opened */
	unsigned int backoff;
	/* What the page held when it was opened, or what has been found in it and acted upon; and what it holds. */
	uint32_t seen[IGB_LIVE_WORDS], now[IGB_LIVE_WORDS];
};

/* Frames that are not in the registers of statistics yet. */
#define IGB_SIZES 6
enum { IGB_TALLY_RX, IGB_TALLY_TX };

struct igb_tally {
	uint64_t frames[IGB_QUEUES], octets[IGB_QUEUES], sizes[IGB_SIZES];
};

struct igb {
	struct pci_func f; /* first */
	struct loop *loop;
	struct net_card card;
	struct net *net;
	uint8_t mac[6];

	/* Registers that are nothing but what was written, and those that have no better place. By offset / 4. */
	uint32_t reg[IGB_BAR_SIZE / 4];
	uint16_t map[IGB_BAR_SIZE / 4]; /* the register's place in the table, + 1; 0: none */
	uint64_t stat[(IGB_STATS_END - IGB_STATS) / 4];
	struct igb_tally tally[2];
	unsigned int half_read; /* the upper half of the counter whose lower one, of half_val, was read last; or 0 */
	uint64_t half_val;

	/* nvm.c, phy.c */
	uint16_t nvm[IGB_NVM_WORDS];
	struct igb_spi spi;
	uint16_t phy[32], phy_page;
	bool phy_link_lost; /* since BMSR was read last */
	bool link;	    /* STATUS.LU */
	bool loopback;	    /* in the PHY */
	bool unplugged;	    /* by a fault on purpose */

	/* filter.c: what RAL and RAH say */
	uint64_t rar[IGB_RARS];
	uint8_t rar_pools[IGB_RARS];
	unsigned int nrar;

	/* flow.c: filters that do something */
	bool flows;
	uint8_t etqfs, ftqfs;

	struct igb_clock clock;

	/* intr.c */
	uint32_t icr, ims, eicr, eims;
	uint32_t asserted;  /* bits of eicr & eims, or of icr & ims without vectors, that have been signalled */
	uint32_t throttled; /* vectors whose time has not come */
	struct igb_vector vector[IGB_VECTORS];

	/* tx.c */
	struct list active; /* queues with something to send */
	struct loop_work work;
	bool in_turn;
	bool tx_full; /* the cable takes nothing: writable follows */
	struct igb_txq txq[IGB_QUEUES];
	uint8_t bounce[IGB_PACKET];
	uint8_t tx_bounce[NET_FRAME_MAX];

	struct igb_live live;

	/* vf.c: of a card, those of its virtual functions that are there still; of one of those, its card, likewise */
	unsigned int nvf;
	struct igb *vf[IGB_VFS], *pf;
	struct pci_sriov sriov;
	bool governs;		   /* its driver is the host of its virtual functions */
	uint32_t mailbox[16], v2p; /* mbx.c */
	bool cts;		   /* it has introduced itself */
	unsigned int refusals;	   /* mbx.c: how often it does not get its mailbox yet */

	/* rx.c */
	struct list dirty; /* queues with descriptors to write back */
	bool rx_full;	   /* the cable waits for net_readable */
	bool rss_stale;	   /* RSSRK has been written since rss was made from it */
	struct rss rss;
	struct igb_rxq rxq[IGB_QUEUES];
	uint8_t rx_bounce[NET_FRAME_MAX + IGB_FCS], fcs_bounce[NET_FRAME_MAX + IGB_FCS];
};

static inline uint32_t igb_reg(const struct igb *d, uint32_t off)
{
	return d->reg[off / 4];
}

/*
 * Where the tag is that filters and stripping go by, in the first bytes of a frame; 0: it has none. 7.4.5: with
 * EXT_VLAN, behind one that only VET's upper half is for.
 */
static inline unsigned int igb_tag_at(const struct igb *d, const uint8_t *head)
{
	uint32_t vet = igb_reg(d, IGB_VET);
	unsigned int at = 12;

	if (unlikely(igb_reg(d, IGB_CTRL_EXT) & IGB_CTRL_EXT_EXT_VLAN)) {
		if (((uint32_t)head[12] << 8 | head[13]) != vet >> 16)
			return 0;
		at += VLAN_LEN;
	}
	return ((uint32_t)head[at] << 8 | head[at + 1]) == (vet & 0xffff) ? at : 0;
}

/* The first bytes of a frame, which mostly lie in one piece. */
static inline bool igb_frame_head(const struct iovec *iov, unsigned int n, void *dst, size_t len)
{
	if (likely(n && iov->iov_len >= len))
		return !guard_copy(dst, iov->iov_base, len);
	return !frame_copy(iov, n, 0, dst, len);
}

/* What a DMA is for, in the fault line: "TX queue 0 descriptor 5 data". Until the next one of the ring. */
static inline const struct dma_tag *igb_tag(struct igb_ring *r, uint32_t desc, const char *part)
{
	r->tag.id = desc;
	r->tag.part = part;
	r->tag.old = r->old;
	r->tag.given = 0;
	return &r->tag;
}

/* The same for the ring's own memory. */
static inline const struct dma_tag *igb_ring_tag(struct igb_ring *r, uint32_t desc, const char *part)
{
	igb_tag(r, desc, part);
	r->tag.given = r->given;
	return &r->tag;
}

/* ---- regs.c ---- */
void igb_regs_init(struct igb *d);
void igb_regs_reset(struct igb *d); /* what the table says; nothing else */
uint64_t igb_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size);
void igb_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);
uint32_t igb_reg_read(struct igb *d, uint32_t off);
void igb_reg_write(struct igb *d, uint32_t off, uint32_t val);

/* ---- ctrl.c ---- */
void igb_power_on(struct igb *d); /* FLR and the like: everything */
uint32_t igb_ctrl_read(struct igb *d, unsigned int i);
void igb_ctrl_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_status_read(struct igb *d, unsigned int i);
void igb_ctrl_ext_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_swsm_read(struct igb *d, unsigned int i);
uint32_t igb_frtimer_read(struct igb *d, unsigned int i);

/* ---- nvm.c ---- */
void igb_nvm_init(struct igb *d);
uint32_t igb_eerd_read(struct igb *d, unsigned int i);
void igb_eerd_write(struct igb *d, unsigned int i, uint32_t val);
void igb_nvm_load(struct igb *d); /* the address, into RAL and RAH */

/* ---- spi.c ---- */
uint32_t igb_eecd_read(struct igb *d, unsigned int i);
void igb_eecd_write(struct igb *d, unsigned int i, uint32_t val);
bool igb_spi_sound(const struct igb_spi *s); /* it could have come to this */

/* ---- phy.c ---- */
void igb_phy_reset(struct igb *d);
void igb_mdic_write(struct igb *d, unsigned int i, uint32_t val);
void igb_link_update(struct igb *d); /* after whatever may have changed it */
void igb_link_changed(struct net_card *c);

/* ---- intr.c ---- */
void igb_intr_init(struct igb *d);
void igb_intr_reset(struct igb *d);
void igb_intr_cause(struct igb *d, uint32_t icr);
void igb_intr_queue(struct igb *d, bool tx, unsigned int queue);
void igb_intr_hurry(struct igb *d, unsigned int queue); /* its next interrupt is not throttled */
void igb_intr_update(struct igb *d);			/* signals what is due */
uint32_t igb_icr_read(struct igb *d, unsigned int i);
void igb_icr_write(struct igb *d, unsigned int i, uint32_t val);
void igb_ics_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_ims_read(struct igb *d, unsigned int i);
void igb_ims_write(struct igb *d, unsigned int i, uint32_t val);
void igb_imc_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_eicr_read(struct igb *d, unsigned int i);
void igb_eicr_write(struct igb *d, unsigned int i, uint32_t val);
void igb_eics_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_eims_read(struct igb *d, unsigned int i);
void igb_eims_write(struct igb *d, unsigned int i, uint32_t val);
void igb_eimc_write(struct igb *d, unsigned int i, uint32_t val);
void igb_eitr_write(struct igb *d, unsigned int i, uint32_t val);
void igb_gpie_write(struct igb *d, unsigned int i, uint32_t val);

/* ---- ring.c ---- */
void igb_ring_init(struct igb_ring *r, struct igb *d, unsigned int index, bool tx, union igb_desc *cache);
/* As by software: RDBAL and TDBAL are undefined then (8.10.5, 8.12.10), and here still say what they said. */
void igb_ring_reset(struct igb_ring *r);
/* For a reset of the function, after the other one: of no ring of its owner's is anything left. */
void igb_rings_forget(struct igb *d);
/* Forgets what is in the cache; what is done in it has been written back, or is lost. */
void igb_ring_drop(struct igb_ring *r);
uint32_t igb_ring_read(struct igb_ring *r, unsigned int field); /* IGB_RDBAL and so on, of either direction */
void igb_ring_write(struct igb_ring *r, unsigned int field, uint32_t val);
/*
 * Reads up to max more descriptors behind those in the cache, as far as there are any and the cache, of cap, has room.
 * False: none.
 */
bool igb_ring_fetch(struct igb_ring *r, unsigned int cap, unsigned int max);
/* Writes back [flushed, pos), or nothing while completions are held back; or the part before upto in any case. */
void igb_ring_flush(struct igb_ring *r);
void igb_ring_flush_upto(struct igb_ring *r, unsigned int upto);
/* A driver erred with the ring's descriptor desc, as was seen when it wrote field. */
void igb_ring_misuse(const struct igb_ring *r, unsigned int field, uint32_t desc, const char *text);

/* ---- tx.c ---- */
void igb_tx_init(struct igb *d);
void igb_tx_reset(struct igb *d);
void igb_tx_forget(struct igb_txq *q); /* the packet that has been begun */
void igb_tx_start(struct igb_txq *q);  /* there may be something to send */
void igb_tx_start_all(struct igb *d);  /* likewise, in any queue */
void igb_tx_turn_now(struct igb *d);   /* unless one is under way, or due from the loop */
void igb_tx_writable(struct net_card *c);
/* A frame as the cable gets it: counted, and round the corner if the PHY is in loopback. */
enum net_verdict igb_tx_send(struct igb_txq *q, const struct iovec *iov, unsigned int n, size_t len,
			     const uint8_t *head);

/* ---- rx.c ---- */
void igb_rx_init(struct igb *d);
void igb_rx_reset(struct igb *d);
enum net_verdict igb_rx_receive(struct net_card *c, const struct iovec *iov, unsigned int n, size_t len);
/*
 * For pool of the card whose function d is, or which d is: past all filters. copy: other pools get it, too.
 */
enum net_verdict igb_rx_pool(struct igb *d, unsigned int pool, bool copy, const struct iovec *iov, unsigned int n,
			     size_t len);
void igb_rx_received(struct net_card *c);
void igb_rx_missed(struct net_card *c);
void igb_rx_sizes(struct igb *d);		    /* of buffers, after a change of RCTL or SRRCTL */
void igb_rx_room(struct igb *d, struct igb_rxq *q); /* there may be descriptors again */

/* ---- filter.c ---- */
void igb_filter_update(struct igb *d);				       /* after a change of RAL or RAH */
bool igb_filter_has_address(const struct igb *d, const uint8_t *head); /* a station's */
bool igb_filter_accepts(const struct igb *d, const struct igb_rx_frame *fr);
uint8_t igb_filter_pools(const struct igb *d, const uint8_t *addr);		    /* that have it, by RAL and RAH */
bool igb_filter_table_has(const struct igb *d, uint32_t table, const uint8_t *dst); /* MTA or UTA */

/* ---- offload.c ---- */
/*
 * A packet whose descriptors are complete: sends what becomes of it. NET_FULL: it will be called again with the same
 * packet, and q->segment says how many of its frames have gone.
 */
enum net_verdict igb_tx_emit(struct igb_txq *q, struct igb_tx_frame *fr);
/* Chooses the queue, and says what the descriptor says. May take a tag out. */
void igb_rx_classify(struct igb *d, struct igb_rx_frame *fr);

/* ---- flow.c ---- */
void igb_flow_update(struct igb *d); /* after a change of the filters */
void igb_flow_classify_slow(struct igb *d, struct igb_rx_frame *fr, const struct packet *p);
static inline void igb_flow_classify(struct igb *d, struct igb_rx_frame *fr, const struct packet *p)
{
	if (unlikely(d->flows))
		igb_flow_classify_slow(d, fr, p);
}

/* ---- clock.c ---- */
uint64_t igb_clock_now(const struct igb *d);
void igb_clock_set(struct igb *d, uint64_t time);
uint32_t igb_systim_read(struct igb *d, unsigned int i);
void igb_systim_write(struct igb *d, unsigned int i, uint32_t val);
void igb_timinca_write(struct igb *d, unsigned int i, uint32_t val);
void igb_timadj_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_rxstmp_read(struct igb *d, unsigned int i);
uint32_t igb_txstmp_read(struct igb *d, unsigned int i);
bool igb_stamp_tx_wanted(const struct igb *d);
void igb_stamp_tx(struct igb *d, uint64_t time);
void igb_stamp_rx_slow(struct igb *d, struct igb_rx_frame *fr, bool l4);
static inline void igb_stamp_rx(struct igb *d, struct igb_rx_frame *fr, const struct packet *p)
{
	if (unlikely(igb_reg(d, IGB_TSYNCRXCTL) & IGB_TSYNC_ENABLE))
		igb_stamp_rx_slow(d, fr, p->l4);
}

/* ---- live.c ---- */
void igb_live_init(struct igb *d); /* after the BAR is there; without it every access is a trap */
void igb_live_fini(struct igb *d);
void igb_live_renew(struct igb *d); /* for a new owner: what the last one still has mapped leads nowhere */
/*
 * keep: what the pages hold is acted upon; they may be open on return, and are closed as soon as that is possible.
 * Otherwise nobody reaches them any more when this returns, and what they held is forgotten.
 */
void igb_live_close(struct igb *d, bool keep);
/* Before a register outside the pages is accessed: what was stored to registers that are not tails comes first. */
void igb_live_before(struct igb *d);
/* A register of the pages was written the long way. False: the pages hold something later already. */
bool igb_live_trapped(struct igb *d, uint32_t off, uint32_t val);
static inline bool igb_live_has(uint32_t off)
{
	return off - IGB_LIVE < IGB_LIVE_PAGES * LIVE_PAGE_SIZE;
}

/* ---- state.c ---- */
int igb_quiesce(struct pci_func *f);
void igb_run(struct pci_func *f);
void igb_save(struct pci_func *f, struct state_out *o);
int igb_load(struct pci_func *f, struct state *s);

/* ---- trouble.c ---- */
unsigned int igb_ring_number(const struct igb_ring *r); /* as faults name it */
void igb_ring_calm(struct igb_ring *r);			/* nothing is taken, astray or held any more */
bool igb_ring_take_slow(struct igb_ring *r);
void igb_ring_taken_slow(struct igb_ring *r, unsigned int first);
bool igb_frame_lost_slow(struct igb_ring *r);
void igb_resume(struct pci_func *f);
void igb_set_link(struct pci_func *f, bool up);
void igb_trouble_init(struct igb_ring *r);
/* The card is about to act upon the packet at pos. False: not now. May be asked again about the same one. */
static inline bool igb_ring_take(struct igb_ring *r)
{
	return likely(!r->d->f.inject) || igb_ring_take_slow(r);
}
/* It is done: [first, pos) of the cache. */
static inline void igb_ring_taken(struct igb_ring *r, unsigned int first)
{
	if (unlikely(r->taken))
		igb_ring_taken_slow(r, first);
}
/* A frame goes, or comes: it gets lost on the way. Once for each. */
static inline bool igb_frame_lost(struct igb_ring *r)
{
	return unlikely(r->d->f.inject) && igb_frame_lost_slow(r);
}
/* Where the data of cache[i] are. */
static inline uint64_t igb_ring_data(const struct igb_ring *r, unsigned int i)
{
	if (unlikely(r->astray) && igb_ring_at(r, i) == r->astray_at)
		return r->wrong_addr;
	return r->cache[i].q[0];
}

/* ---- vf.c ---- */
int igb_vfs_add(struct igb *pf, unsigned int n); /* when the card is made, n at first. 0, -ENOSPC, -ENOMEM */
void igb_vfs_forget(struct igb *pf);		 /* the card goes before they do */
void igb_vfs_link_update(struct igb *pf);	 /* the card's link, or its driver, has changed */
void igb_vf_reset(struct igb *d);		 /* of its own accord, or the host's: the card's driver hears of it */
void igb_vf_clear(struct igb *d);		 /* back to what the host gives to one that it knows nothing of */
void igb_vf_link_update(struct igb *d);
void igb_vf_load(struct igb *d, const struct igb *st); /* what is its own; registers have been taken over */
/* Virtual functions are there, and the card has no driver that has said so: the host is taken for it. */
static inline bool igb_vfs_by_host(const struct igb *pf)
{
	return pf->nvf && !(igb_reg(pf, IGB_CTRL_EXT) & IGB_CTRL_EXT_DRV_LOAD);
}

/* ---- govern.c ---- */
/*
 * Sixteen queues in pools of two, which the card's driver has set up (7.10.3). Of its pools, the first are its
 * functions', as many as there are.
 */
static inline bool igb_pooled(const struct igb *pf)
{
	uint32_t mode = IGB_MRQC_MODE(igb_reg(pf, IGB_MRQC));

	return unlikely(pf->governs) && (mode == IGB_MRQC_VMDQ || mode == IGB_MRQC_VMDQ_RSS);
}
static inline bool igb_governed(const struct igb *vf) /* by its card's driver */
{
	return vf->pf && vf->pf->governs;
}
void igb_govern_begin(struct igb *pf);		      /* if there are functions */
void igb_govern_reset(struct igb *pf);		      /* the driver resets the card */
void igb_govern_reset_done(struct igb *pf);	      /* and says that this is over */
void igb_govern_end(struct igb *pf);		      /* the functions are without it again */
void igb_govern_tell(struct igb *vf, uint32_t cause); /* its driver: MBVFICR; 0: VFLRE */
uint32_t igb_vmbmem_read(struct igb *d, unsigned int i);
void igb_vmbmem_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_p2v_read(struct igb *d, unsigned int i);
void igb_p2v_write(struct igb *d, unsigned int i, uint32_t val);
void igb_mbvficr_write(struct igb *d, unsigned int i, uint32_t val);
void igb_vflre_write(struct igb *d, unsigned int i, uint32_t val);
void igb_vfre_write(struct igb *d, unsigned int i, uint32_t val);
void igb_vfte_write(struct igb *d, unsigned int i, uint32_t val);
uint32_t igb_wvbr_read(struct igb *d, unsigned int i);

/* ---- pool.c ---- */
/* Pools that a frame with these first 16 bytes is for, without the default one. exact: a station that is here. */
uint8_t igb_pools_for(const struct igb *pf, const uint8_t *head, bool *exact);
uint8_t igb_pools_received(const struct igb *pf, const uint8_t *head); /* from the cable */
bool igb_pool_sends(const struct igb_txq *q);			       /* false: its pool may not (VFTE) */
uint32_t igb_pool_tag(const struct igb_txq *q);			       /* VMVIR; 0: as the descriptor says */
/* May pool send it? */
bool igb_pool_owns(const struct igb *pf, unsigned int pool, const uint8_t *head);
bool igb_pool_local(const struct igb *pf, const uint8_t *head); /* it is of a VLAN that does not leave the card */
unsigned int igb_pool_of(const struct igb_txq *q);

/* ---- mbx.c ---- */
/* Bits of V2PMAILBOX that PFMAILBOX shares or causes. */
enum {
	IGB_MBX_VFU = 1 << 2,
	IGB_MBX_PFU = 1 << 3,
	IGB_MBX_PFSTS = 1 << 4,
	IGB_MBX_PFACK = 1 << 5,
	IGB_MBX_RSTI = 1 << 6,
	IGB_MBX_RSTD = 1 << 7
};
/* Of requests for the memory: while an acknowledgement has not been looked at, and for what may follow. */
enum { IGB_MBX_UNSEEN = 9, IGB_MBX_SEEN = 3 };
void igb_mbx_reset(struct igb *d);
void igb_mbx_news(struct igb *d, uint32_t bits); /* for the function's driver, with an interrupt */
void igb_mbx_ping(struct igb *d);		 /* the host tells it that all has changed */
uint32_t igb_mbx_read(struct igb *d);		 /* V2PMAILBOX */
void igb_mbx_write(struct igb *d, uint32_t val);

/* ---- switch.c ---- */
enum net_verdict igb_switch_send(struct igb_txq *q, const struct iovec *iov, unsigned int n, size_t len,
				 const uint8_t *head);
void igb_switch_flush(struct igb *d); /* after a burst of those */
/* As the cable calls them: */
enum net_verdict igb_switch_receive(struct net_card *c, const struct iovec *iov, unsigned int n, size_t len);
void igb_switch_received(struct net_card *c);
void igb_switch_writable(struct net_card *c);

/* ---- stats.c ---- */
static inline void igb_count(struct igb *d, uint32_t stat, uint64_t n)
{
	d->stat[(stat - IGB_STATS) / 4] += n;
}
uint32_t igb_stat_read(struct igb *d, unsigned int i);
uint32_t igb_queue_stat_read(struct igb *d, unsigned int i);
void igb_stats_fold(struct igb *d); /* before d->stat, or a queue's counter, is looked at */
void igb_stats_reset(struct igb *d);
void igb_stat_tx_multicast(struct igb *d, const uint8_t *head);
void igb_stat_rx_multicast(struct igb *d, unsigned int queue, const uint8_t *head);
/* A frame of len bytes without FCS; sizes are up to 64, 127, 255, 511, 1023 bytes, and more, with it. */
static inline void igb_tally(struct igb *d, unsigned int way, unsigned int queue, size_t len)
{
	struct igb_tally *t = &d->tally[way];
	uint32_t size;

	len += IGB_FCS;
	size = len <= 64 ? 0 : 26 - (uint32_t)__builtin_clz((uint32_t)len);
	t->sizes[MIN(size, IGB_SIZES - 1u)]++;
	t->frames[queue]++;
	t->octets[queue] += len;
}
static inline void igb_stat_tx(struct igb *d, unsigned int queue, size_t len, const uint8_t *head)
{
	igb_tally(d, IGB_TALLY_TX, queue, len);
	if (unlikely(head[0] & 1))
		igb_stat_tx_multicast(d, head);
}
static inline void igb_stat_rx(struct igb *d, unsigned int queue, size_t len, const uint8_t *head)
{
	igb_tally(d, IGB_TALLY_RX, queue, len);
	if (unlikely(head[0] & 1))
		igb_stat_rx_multicast(d, queue, head);
}
/* A frame that has come and is not wanted. */
void igb_stat_unwanted(struct igb *d, size_t len);
void igb_stat_control(struct igb *d, const uint8_t *head); /* one of MAC control, wanted or not */

#endif
