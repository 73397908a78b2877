/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Becoming quiet, the engine's state as records (pci/state.h), and going on. No transfer is under way between two
 * calls, so there is nothing to wait for but a completion that a fault on purpose holds back. What a channel would
 * write to memory while the engine is quiet is kept, and written when it goes on.
 */
#include <errno.h>
#include <string.h>

#include "devices/ioat/ioat.h"
#include "pci/state.h"

#define VERSION	 1
#define R_ENGINE "ioat.engine"
#define R_CHANS	 "ioat.channels"

int ioat_quiesce(struct pci_func *f)
{
	struct ioat *d = container_of(f, struct ioat, f);

	for (unsigned int i = 0; i < d->nchans; i++)
		if (d->chan[i].late)
			return -EAGAIN;
	return 0;
}

void ioat_run(struct pci_func *f)
{
	struct ioat *d = container_of(f, struct ioat, f);

	for (unsigned int i = 0; i < d->nchans; i++)
		ioat_chan_report(&d->chan[i]);
	ioat_line_update(d);
	ioat_resume(f);
}

/* ---- saving ---- */
static void put_channel(struct state_out *o, const struct ioat_chan *c)
{
	state_put_u32(o, c->state);
	state_put_u16(o, c->ctrl);
	state_put_u16(o, c->count);
	state_put_u16(o, c->done);
	state_put_u8(o, c->first);
	state_put_u8(o, c->busy);
	state_put_u8(o, c->unreported);
	state_put_u8(o, c->failed);
	state_put_u32(o, c->err);
	state_put_u32(o, c->errmask);
	state_put_u32(o, c->moved);
	state_put_u64(o, c->chain);
	state_put_u64(o, c->cmp);
	state_put_u64(o, c->completed);
	state_put_u64(o, c->cur);
	state_put_u64(o, c->next);
	state_put_u64(o, c->report);
	state_put(o, &c->desc, sizeof(c->desc));
}

void ioat_save(struct pci_func *f, struct state_out *o)
{
	const struct ioat *d = container_of(f, struct ioat, f);

	state_begin(o, R_ENGINE, VERSION, 0);
	state_put_u32(o, d->version);
	state_put_u32(o, d->xfercap);
	state_put_u32(o, d->nchans);
	state_put_u8(o, d->genctrl);
	state_put_u8(o, d->intrctrl);
	state_put_u16(o, d->intrdelay);
	state_put_u32(o, d->attn);
	state_end(o);
	state_begin(o, R_CHANS, VERSION, 0);
	for (unsigned int i = 0; i < d->nchans; i++)
		put_channel(o, &d->chan[i]);
	state_end(o);
}

/* ---- loading: what this engine itself could have come to ---- */
struct staged {
	uint8_t genctrl, intrctrl;
	uint16_t intrdelay;
	uint32_t attn;
	struct ioat_chan chan[IOAT_CHANS_MAX];
};

static bool get_bool(struct state_in *in, bool *v)
{
	uint8_t b = state_get_u8(in);

	*v = b;
	return b <= 1;
}

static bool channel_sound(const struct ioat *d, const struct ioat_chan *c)
{
	bool done = c->done == c->count;

	if (c->state > IOAT_ARMED || c->ctrl & ~(IOAT_CHANCTRL_WRITABLE | IOAT_CHANCTRL_INT_DIS | IOAT_CHANCTRL_IN_USE))
		return false;
	if (c->busy && (ioat_op_error(&c->desc, d->xfercap) || c->cur & (IOAT_DESC_ALIGN - 1)))
		return false;
	/* A slice that is not the last one keeps a fill's phase. */
	if (c->busy && c->moved != c->desc.size && (c->moved > c->desc.size || c->moved % IOAT_SLICE))
		return false;
	switch (c->state) {
	case IOAT_ACTIVE:
		return c->busy || !done;
	case IOAT_IDLE:
	case IOAT_ARMED:
		return !c->busy && done;
	case IOAT_HALTED:
		return !c->busy;
	default:
		return true;
	}
}

static bool get_channel(const struct ioat *d, struct state_in *in, struct ioat_chan *c)
{
	bool flags;

	c->state = state_get_u32(in);
	c->ctrl = state_get_u16(in);
	c->count = state_get_u16(in);
	c->done = state_get_u16(in);
	flags =
	    get_bool(in, &c->first) & get_bool(in, &c->busy) & get_bool(in, &c->unreported) & get_bool(in, &c->failed);
	c->err = state_get_u32(in);
	c->errmask = state_get_u32(in);
	c->moved = state_get_u32(in);
	c->chain = state_get_u64(in);
	c->cmp = state_get_u64(in);
	c->completed = state_get_u64(in);
	c->cur = state_get_u64(in);
	c->next = state_get_u64(in);
	c->report = state_get_u64(in);
	state_get(in, &c->desc, sizeof(c->desc));
	return flags && channel_sound(d, c);
}

static int stage(const struct ioat *d, struct state *s, struct staged *st)
{
	struct state_in in;
	bool sound;

	if (state_take(s, R_ENGINE, VERSION, &in))
		return -EINVAL;
	sound = state_get_u32(&in) == d->version;
	sound &= state_get_u32(&in) == d->xfercap;
	sound &= state_get_u32(&in) == d->nchans;
	st->genctrl = state_get_u8(&in);
	st->intrctrl = state_get_u8(&in);
	st->intrdelay = state_get_u16(&in);
	st->attn = state_get_u32(&in);
	sound &= !(st->genctrl & ~IOAT_GENCTRL_DEBUG) && !(st->intrdelay & ~IOAT_INTRDELAY_MASK);
	sound &= !(st->intrctrl & ~(IOAT_INTRCTRL_MASTER | IOAT_INTRCTRL_MSIX)) && !(st->attn >> d->nchans);
	if (!sound || !state_good(&in) || state_take(s, R_CHANS, VERSION, &in))
		return -EINVAL;
	for (unsigned int i = 0; i < d->nchans; i++)
		if (!get_channel(d, &in, &st->chan[i]))
			return -EINVAL;
	return state_good(&in) ? state_all_taken(s) : -EINVAL;
}

int ioat_load(struct pci_func *f, struct state *s)
{
	struct ioat *d = container_of(f, struct ioat, f);
	struct staged st = {0};
	int err = stage(d, s, &st);

	if (err)
		return err;
	d->genctrl = st.genctrl;
	d->intrctrl = st.intrctrl;
	d->intrdelay = st.intrdelay;
	d->attn = st.attn;
	for (unsigned int i = 0; i < d->nchans; i++)
		ioat_chan_load(&d->chan[i], &st.chan[i]);
	return 0;
}
