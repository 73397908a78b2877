/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel's states.
 *
 *   HALTED	after power-on, a reset or an error. CHAINADDR arms it, once CHANERR is clear.
 *   ARMED	has a chain and nothing to do.
 *   ACTIVE	executes descriptors until as many as DMACOUNT says are done.
 *   IDLE	has done them.
 *   SUSPENDED	stands still, in the middle of a descriptor if need be. CHAINADDR arms it for another chain; DMACOUNT
 *		lets it go on with this one, for there is no command that would.
 *
 * A new chain counts from 0: writing CHAINADDR clears DMACOUNT and the completed address.
 */
#include "base/log.h"
#include "devices/ioat/ioat.h"

static void set_state(struct ioat_chan *c, enum ioat_state state)
{
	c->state = state;
	c->late = false;
	loop_timer_cancel(c->dev->loop, &c->timer);
	list_del(&c->node);
	if (state == IOAT_ACTIVE)
		list_add_tail(&c->dev->running, &c->node);
}

/* Active, but not before the timer has expired. */
static void set_waiting(struct ioat_chan *c, uint64_t ns)
{
	list_del(&c->node);
	loop_timer_arm(c->dev->loop, &c->timer, ns);
}

uint64_t ioat_chan_status(const struct ioat_chan *c)
{
	return (c->completed & IOAT_CHANSTS_ADDR) | c->state;
}

static void chain_forget(struct ioat_chan *c)
{
	inject_reset(&c->dev->f, c->index);
	c->busy = c->unreported = false;
	c->count = c->done = 0;
	c->completed = c->cur = c->next = 0;
	c->first = true;
}

void ioat_chan_power_on(struct ioat_chan *c)
{
	set_state(c, IOAT_HALTED);
	chain_forget(c);
	c->failed = false;
	c->ctrl = 0;
	c->err = c->errmask = 0;
	c->chain = c->cmp = 0;
	c->cmp_old = false;
}

void ioat_chan_misuse(struct ioat_chan *c, enum event_misuse kind, unsigned int reg, const char *text)
{
	pci_misuse(&c->dev->f, kind, 0, IOAT_CHAN_SIZE * (c->index + 1) + reg, 1, true, text);
}

/* ---- completion ---- */
static int write_status(struct ioat_chan *c, uint64_t status)
{
	struct dma_tag tag = ioat_tag(c, "completion");

	tag.old = c->cmp_old;
	tag.given = c->cmp_given;
	c->unreported = c->dev->f.run != PCI_RUNNING;
	c->report = status;
	if (c->unreported)
		return 0;
	if (c->cmp & (IOAT_CHANCMP_ALIGN - 1)) {
		ioat_chan_misuse(c, MISUSE_PROTOCOL, IOAT_CHANCMP, "CHANCMP is not a multiple of 8");
		return -EINVAL;
	}
	return pci_dma_write(&c->dev->f, c->cmp, &status, sizeof(status), &tag);
}

static int write_unreported(struct ioat_chan *c)
{
	return c->unreported ? write_status(c, c->report) : 0;
}

/* What is malformed, and not merely out of reach. */
static void malformed(struct ioat_chan *c, uint32_t err)
{
	static const struct {
		uint32_t err;
		const char *text;
	} table[] = {
	    {IOAT_ERR_CHAINADDR, "CHAINADDR is not a multiple of 64"},
	    {IOAT_ERR_NEXT_ADDR, "a descriptor's next address is not a multiple of 64"},
	    {IOAT_ERR_CONTROL, "a descriptor has control bits that there are not"},
	    {IOAT_ERR_LENGTH, "a descriptor's length is 0, or more than XFERCAP allows"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (err & table[i].err)
			ioat_chan_misuse(c, MISUSE_PROTOCOL, IOAT_DMACOUNT, table[i].text);
}

/* Errors stop the channel whatever ERRMASK says: there is nothing that it could go on with. */
void ioat_chan_halt(struct ioat_chan *c, uint32_t err)
{
	struct pci_func *f = &c->dev->f;
	char bdf[16];

	pci_bdf_format(f, bdf);
	log_info("ioat %s: channel %u halted: CHANERR 0x%x, descriptor %u at 0x%llx", bdf, c->index, err, c->done,
		 (unsigned long long)c->cur);
	c->busy = false;
	c->failed = true;
	if (write_unreported(c))
		err |= IOAT_ERR_CHANCMP;
	set_state(c, IOAT_HALTED);
	if (c->ctrl & IOAT_CHANCTRL_ERR_COMP && !(err & IOAT_ERR_CHANCMP) && write_status(c, ioat_chan_status(c)))
		err |= IOAT_ERR_CHANCMP;
	c->err |= err;
	for (unsigned int i = 0; i < 4; i++)
		f->cfg[IOAT_CFG_CHANERR_INT + i] |= c->err >> (8 * i);
	if (c->ctrl & IOAT_CHANCTRL_ERR_INT)
		ioat_interrupt(c);
}

void ioat_chan_fail(struct ioat_chan *c, uint32_t err)
{
	malformed(c, err);
	ioat_chan_halt(c, err);
}

/* What a fault on purpose makes of a status: another state, another descriptor's address, or no status at all. */
static uint64_t corrupted(uint64_t status, const struct inject_fate *fate)
{
	switch (fate->field) {
	case INJECT_FIELD_STATUS:
		return status ^ (1 + fate->noise % IOAT_CHANSTS_STATE);
	case INJECT_FIELD_ID:
		return status ^ (1 + fate->noise % 63) * IOAT_DESC_ALIGN;
	default:
		return status ^ fate->noise;
	}
}

static void complete(struct ioat_chan *c, const struct inject_fate *fate)
{
	uint32_t ctl = c->desc.ctl;

	c->busy = false;
	c->done++;
	c->completed = c->cur;
	if (c->done == c->count)
		set_state(c, IOAT_IDLE);
	if (ctl & IOAT_CTL_COMPLETE) {
		c->unreported = true;
		c->report = ioat_chan_status(c);
		if (fate->corrupt)
			c->report = corrupted(c->report, fate);
	}
	if (ctl & IOAT_CTL_INT) {
		ioat_chan_report(c);
		ioat_interrupt(c);
	}
}

void ioat_chan_complete(struct ioat_chan *c)
{
	c->fate = (struct inject_fate){0};
	if (inject_completion(&c->dev->f, c->index, c->done, &c->fate) && c->fate.delay) {
		c->late = true;
		set_waiting(c, c->fate.delay);
		return;
	}
	complete(c, &c->fate);
}

void ioat_chan_report(struct ioat_chan *c)
{
	if (write_unreported(c))
		ioat_chan_halt(c, IOAT_ERR_CHANCMP);
}

/* ---- running ---- */
static void timer_expired(struct loop_timer *t)
{
	struct ioat_chan *c = container_of(t, struct ioat_chan, timer);

	list_add_tail(&c->dev->running, &c->node);
	if (c->late) {
		c->late = false;
		complete(c, &c->fate);
		ioat_chan_report(c);
	}
	ioat_turn_now(c->dev);
}

/*
 * After an error the first descriptors take their time, as an engine's do that has to fill its pipes again. DPDK's
 * driver depends on it: it starts the rest of the chain before it looks at how far the chain got, and what is complete
 * by then it takes for reported.
 */
static void start(struct ioat_chan *c)
{
	set_state(c, IOAT_ACTIVE);
	if (!c->failed) {
		ioat_turn_now(c->dev);
		return;
	}
	c->failed = false;
	set_waiting(c, IOAT_RECOVERY_NS);
}

void ioat_chan_init(struct ioat_chan *c, struct ioat *d, unsigned int index)
{
	*c = (struct ioat_chan){.dev = d, .index = index};
	list_init(&c->node);
	loop_timer_init(&c->timer, timer_expired);
	ioat_chan_power_on(c);
}

void ioat_chan_load(struct ioat_chan *c, const struct ioat_chan *from)
{
	c->ctrl = from->ctrl;
	c->count = from->count;
	c->done = from->done;
	c->err = from->err;
	c->errmask = from->errmask;
	c->chain = from->chain;
	c->cmp = from->cmp;
	c->completed = from->completed;
	c->unreported = from->unreported;
	c->report = from->report;
	c->cur = from->cur;
	c->next = from->next;
	c->first = from->first;
	c->failed = from->failed;
	c->busy = from->busy;
	c->moved = from->moved;
	c->desc = from->desc;
	set_state(c, from->state);
}

/* ---- what software does ---- */
void ioat_chan_set_chain(struct ioat_chan *c, uint64_t addr)
{
	if (c->state == IOAT_ACTIVE) {
		ioat_chan_misuse(c, MISUSE_PROTOCOL, IOAT_CHAINADDR, "another chain for a channel at work");
		ioat_chan_halt(c, IOAT_ERR_CHAINADDR);
		return;
	}
	c->chain = addr;
	c->dev->f.behind = false;
	chain_forget(c);
	c->next = addr;
	set_state(c, c->err ? IOAT_HALTED : IOAT_ARMED);
}

/* [E7] 14.5, CHANCMD: a reset may be the only way out of whatever happened; two commands at a time are an error. */
void ioat_chan_command(struct ioat_chan *c, uint8_t cmd)
{
	switch (cmd) {
	case 0:
		break;
	case IOAT_CHANCMD_RESET:
		event_emit(c->dev->f.evs, EVENT_RESET, .who = c->dev->f.bdf, .name = "a channel, through CHANCMD,");
		c->cmp_old = true;
		set_state(c, IOAT_HALTED);
		chain_forget(c);
		break;
	case IOAT_CHANCMD_SUSPEND:
		if (c->state != IOAT_HALTED)
			set_state(c, IOAT_SUSPENDED);
		break;
	default:
		ioat_chan_misuse(c, MISUSE_PROTOCOL, IOAT_CHANCMD, "a command that there is not");
		ioat_chan_halt(c, IOAT_ERR_CHANCMD);
	}
}

void ioat_chan_append(struct ioat_chan *c, uint16_t count)
{
	bool nothing = !c->busy && count == c->done;

	if (c->state == IOAT_HALTED && !c->err && !c->dev->f.behind)
		ioat_chan_misuse(c, MISUSE_PROTOCOL, IOAT_DMACOUNT, "descriptors for a channel that has no chain");
	c->count = count;
	if (c->state == IOAT_ACTIVE && nothing)
		set_state(c, IOAT_IDLE);
	if (c->state == IOAT_HALTED || c->state == IOAT_ACTIVE || nothing)
		return;
	start(c);
}
