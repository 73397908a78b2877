/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile driver of the network card, at a cable that leads back to itself: register accesses of any kind, rings and
 * descriptors made of the fuzzer's bytes, in memory that the card overwrites. A byte stream of operations; queues are
 * usually running first, so that the fuzzer need not find out how.
 */
#include <string.h>
#include <linux/pci_regs.h>

#include "../tests/igb/host.h"
#include "base/log.h"
#include "devices/igb/igb.h"
#include "input.h"
#include "pci/inject.h"
#include "pci/migrate.h"

#define QUEUES 3
#define DESCS  64
#define TURNS  8

#define RING(tx, q) (PLAIN + ((tx)*QUEUES + (q)) * MACHINE_PAGE)

/* Mostly an address in memory, sometimes a ring's, or the end of something, sometimes anything. */
static uint64_t take_addr(struct input *in)
{
	unsigned int how = take(in, 1);

	if (how < 120)
		return PLAIN + 0x10000 + how * 2048;
	if (how < 150)
		return PLAIN + take(in, 2);
	if (how < 200)
		return SCATTERED + take(in, 2);
	if (how < 220)
		return READONLY + take(in, 2);
	if (how < 240)
		return PLAIN + PLAIN_LEN - take(in, 2);
	return take(in, 8);
}

static uint32_t any_register(struct input *in)
{
	static const uint16_t regs[] = {
	    IGB_CTRL,	    IGB_CTRL_EXT,   IGB_MDIC,	 IGB_EECD,	IGB_EERD,    IGB_ICR,	 IGB_ICS,
	    IGB_IMS,	    IGB_IMC,	    IGB_GPIE,	 IGB_EICR,	IGB_EICS,    IGB_EIMS,	 IGB_EIMC,
	    IGB_EIAC,	    IGB_EIAM,	    IGB_IVAR,	 IGB_IVAR_MISC, IGB_RCTL,    IGB_TCTL,	 IGB_VET,
	    IGB_MRQC,	    IGB_RXCSUM,	    IGB_RLPML,	 IGB_QDE,	IGB_VT_CTL,  IGB_RFCTL,	 IGB_RAL,
	    IGB_VFTA,	    IGB_SWSM,	    IGB_EITR,	 IGB_RETA,	IGB_PSRTYPE, IGB_ETQF,	 IGB_FTQF,
	    IGB_SAQF,	    IGB_SPQF,	    IGB_IMIR,	 IGB_IMIREXT,	IGB_IMIRVP,  IGB_SYNQF,	 IGB_TSYNCRXCTL,
	    IGB_TSYNCRXCFG, IGB_TSYNCTXCTL, IGB_TIMINCA, IGB_TIMADJ,	IGB_SYSTIM,  IGB_RXSTMP, IGB_TXSTMP,
	};

	return regs[take(in, 1) % ARRAY_SIZE(regs)];
}

static uint32_t any_ring_register(struct input *in)
{
	static const uint8_t fields[] = {IGB_RDBAL, IGB_RDBAH, IGB_RDLEN,  IGB_SRRCTL, IGB_RDH,	   IGB_RDT,
					 IGB_RDT,   IGB_RDT,   IGB_RXDCTL, IGB_RQDPC,  IGB_TDWBAL, IGB_TDWBAH};
	unsigned int q = take(in, 1);

	return (q & 1 ? IGB_TXQ_OLD : IGB_RXQ_OLD) + 0x100 * (q / 2 % QUEUES) + fields[take(in, 1) % sizeof(fields)];
}

static void put_tx(struct host *h, struct input *in)
{
	unsigned int q = take(in, 1) % QUEUES, n = take(in, 1) % DESCS, how = take(in, 1);
	union igb_desc d = {.q = {take_addr(in)}};

	d.d[2] = CMD_ONE | (how & 1 ? take(in, 1) : take(in, 2) & 0x7ff);
	if (how & 2)
		d.d[2] &= ~IGB_TXD_EOP;
	if (how & 4)
		d.d[2] ^= (uint32_t)take(in, 2) << 16;
	if (how & 8)
		d.d[2] |= IGB_TXD_VLE | IGB_TXD_TSE;
	if (how & 16)
		d.d[2] = take(in, 4);
	d.d[3] = how & 32 ? take(in, 4) : (d.d[2] & 0xffff) << 14 | IGB_TXD_IXSM | IGB_TXD_TXSM;
	memcpy(host_ptr(h, RING(1, q) + n * sizeof(d)), &d, sizeof(d));
}

static void put_rx(struct host *h, struct input *in)
{
	unsigned int q = take(in, 1) % QUEUES, n = take(in, 1) % DESCS;
	union igb_desc d = {.q = {take_addr(in), take_addr(in)}};

	memcpy(host_ptr(h, RING(0, q) + n * sizeof(d)), &d, sizeof(d));
}

static void any_access(struct host *h, struct input *in)
{
	unsigned int len = 1 << take(in, 1) % 4;
	uint64_t off = take(in, 3) % (IGB_BAR_SIZE - len + 1), v;

	pci_bar_write(h->m.f, 0, off, len, take(in, 8));
	pci_bar_read(h->m.f, 0, off, len, &v);
}

/* The live pages, opened if they are not yet, are a client's to store to. */
static void store(struct host *h, struct input *in)
{
	struct igb *d = container_of(h->m.f, struct igb, f);
	uint32_t off = any_ring_register(in) - IGB_LIVE, val = (uint32_t)take(in, 1);

	d->live.backoff = 0;
	d->live.since = loop_now();
	d->live.trapped = 1000;
	loop_step(h->m.loop, false);
	if (d->live.page.open)
		guard_copy(d->live.page.view + off, &val, sizeof(val));
}

static void write_reg(struct host *h, uint32_t off, uint32_t val)
{
	pci_bar_write(h->m.f, 0, off, 4, val);
}

/* Edges of its clock. */
static void eeprom(struct host *h, struct input *in)
{
	for (unsigned int n = take(in, 1) % 32; n; n--) {
		uint8_t bits = (uint8_t)take(in, 1);

		for (unsigned int i = 0; i < 4; i++, bits >>= 2) {
			write_reg(h, IGB_EECD, IGB_EECD_REQ | (bits & 3) << 1);
			write_reg(h, IGB_EECD, IGB_EECD_REQ | (bits & 3) << 1 | 1);
		}
	}
}

static void fault(struct host *h, struct input *in)
{
	static struct inject_host nobody;
	struct inject_spec s = {.kind = INJECT_LOST_IRQ + take(in, 1) % (INJECT_KINDS - INJECT_LOST_IRQ),
				.bdf = INJECT_ANY,
				.chance = INJECT_ALWAYS,
				.times = 1 + take(in, 1) % 4,
				.after = take(in, 1) % 4,
				.vector = INJECT_ANY,
				.lasting = take(in, 1)};

	s.queue = (int)take(in, 1) % (2 * IGB_QUEUES);
	s.field = take(in, 1) % INJECT_FIELDS;
	s.seed = s.after;
	if (take(in, 1) & 1)
		inject_drop(h->m.f, 0);
	inject_add(h->m.f, &s, 1, h->m.loop, &nobody);
	h->m.f->ops->set_link(h->m.f, take(in, 1) & 7);
}

static void step(struct host *h, struct input *in)
{
	unsigned int q;
	uint64_t v;

	switch (take(in, 1) % 20) {
	case 18:
		eeprom(h, in);
		break;
	case 19:
		fault(h, in);
		break;
	case 16:
		store(h, in);
		break;
	case 17:
		if (!pci_quiesce(h->m.f))
			pci_run(h->m.f);
		break;
	case 0:
		any_access(h, in);
		break;
	case 1:
		write_reg(h, any_register(in), take(in, 4));
		break;
	case 2:
		pci_bar_read(h->m.f, 0, any_register(in), 4, &v);
		break;
	case 3:
		if (take(in, 1) < 8)
			pci_func_reset(h->m.f);
		/* Decode stays on, or the rest of the input would find nobody. */
		pci_cfg_write(h->m.f, PCI_COMMAND, 2, take(in, 2) | PCI_COMMAND_MEMORY);
		break;
	case 4:
		write_reg(h, any_ring_register(in), take(in, 4));
		break;
	case 5:
	case 6:
		write_reg(h, any_ring_register(in), take(in, 1));
		break;
	case 7:
	case 8:
		q = take(in, 1) % QUEUES;
		write_reg(h, IGB_TXQ_OLD + 0x100 * q + IGB_TDT, take(in, 1) % DESCS);
		break;
	case 9:
		q = take(in, 1) % QUEUES;
		write_reg(h, IGB_RXQ_OLD + 0x100 * q + IGB_RDT, take(in, 1) % DESCS);
		break;
	case 10:
	case 11:
		put_rx(h, in);
		break;
	case 12:
		for (q = take(in, 1) % TURNS; q; q--)
			loop_step(h->m.loop, false);
		break;
	default:
		put_tx(h, in);
	}
}

static void start(struct host *h)
{
	write_reg(h, IGB_CTRL, IGB_CTRL_SLU);
	for (unsigned int q = 0; q < QUEUES; q++) {
		for (unsigned int tx = 0; tx < 2; tx++) {
			uint32_t base = (tx ? IGB_TXQ : IGB_RXQ) + 0x40 * q;

			write_reg(h, base + IGB_RDBAL, (uint32_t)RING(tx, q));
			write_reg(h, base + IGB_RDLEN, DESCS * sizeof(union igb_desc));
			write_reg(h, base + IGB_RXDCTL, IGB_DCTL_ENABLE);
		}
		write_reg(h, IGB_RXQ + 0x40 * q + IGB_SRRCTL, 1 | (q + IGB_RX_ADVANCED) << 25);
		for (unsigned int i = 0; i < DESCS; i++) {
			union igb_desc d = {.q = {PLAIN + 0x100000 + 1024 * i, PLAIN + 0x200000 + 256 * i}};

			memcpy(host_ptr(h, RING(0, q) + i * sizeof(d)), &d, sizeof(d));
		}
		write_reg(h, IGB_RXQ + 0x40 * q + IGB_RDT, DESCS - 1);
	}
	write_reg(h, IGB_RCTL,
		  IGB_RCTL_EN | IGB_RCTL_UPE | IGB_RCTL_MPE | IGB_RCTL_BAM | IGB_RCTL_LPE | IGB_RCTL_SECRC);
	write_reg(h, IGB_TCTL, IGB_TCTL_EN | IGB_TCTL_PSP);
}

/* Making memory and files for every input would take most of the time. */
static struct host *host_get(void)
{
	static struct host h;

	log_set_level(LOG_ERROR);
	if (!h.m.loop)
		host_open_net(&h, "loopback", "");
	inject_drop(h.m.f, 0);
	h.m.f->ops->set_link(h.m.f, true);
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	memset(h.m.mem, 0, 0x10000);
	start(&h);
	return &h;
}

static void check_ring(const struct igb_ring *r, unsigned int cap)
{
	CHECK(r->flushed <= r->pos && r->pos <= r->cached && r->cached <= cap);
	CHECK(!r->size || (r->head < r->size && r->tail < r->size && r->unread < r->size));
	CHECK(!r->size || r->dctl & IGB_DCTL_ENABLE);
	CHECK(!r->size || r->cached - r->pos <= igb_ring_avail(r));
	CHECK(!r->size || igb_ring_at(r, r->pos) == r->head);
}

static void check(struct host *h)
{
	struct igb *d = container_of(h->m.f, struct igb, f);

	for (unsigned int q = 0; q < IGB_QUEUES; q++) {
		check_ring(&d->txq[q].r, IGB_CHAIN);
		check_ring(&d->rxq[q].r, IGB_FETCH);
	}
	CHECK(!d->in_turn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct host *h = host_get();

	for (unsigned int i = 0; in.n && i < 300; i++) {
		step(h, &in);
		check(h);
	}
	inject_drop(h->m.f, 0);
	pci_func_reset(h->m.f);
	check(h);
	return 0;
}
