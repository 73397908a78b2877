/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration states of a device, version 2 of the interface: <linux/vfio.h>, "The device migration Finite State
 * Machine", and Linux 6.12 drivers/vfio/vfio_main.c, vfio_mig_get_next_state. All optional states are there.
 *
 * What a function does in a state: it runs in RUNNING and PRE_COPY, is quiet in the two P2P states, and stopped in
 * STOP, STOP_COPY and RESUMING (enum pci_run). ERROR leaves it as it was.
 *
 * Becoming quiet takes as long as the disk does. The caller's thread waits for that, not the broker: the call runs
 * again and again until it is so. If it does not come back the function runs again.
 */
#include <errno.h>
#include <string.h>

#include "pci/migrate.h"
#include "vfio/internal.h"

#define ERROR	     VFIO_DEVICE_STATE_ERROR
#define STOP	     VFIO_DEVICE_STATE_STOP
#define RUNNING	     VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY    VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING     VFIO_DEVICE_STATE_RESUMING
#define RUNNING_P2P  VFIO_DEVICE_STATE_RUNNING_P2P
#define PRE_COPY     VFIO_DEVICE_STATE_PRE_COPY
#define PRE_COPY_P2P VFIO_DEVICE_STATE_PRE_COPY_P2P
#define NR	     VFIO_DEVICE_STATE_NR

#define PATIENCE_NS 2000000000 /* between two visits of a caller that waits */

#define ARC(from, to) ((from)*NR + (to))

/* ---- the way from one state to another ---- */

/*
 * Row: the state it is in; column: the one that is asked for. 0, which is ERROR, where there is no way. The shortest
 * way, on which no state in which data is transferred is passed through; except from PRE_COPY to STOP_COPY, which is
 * one transfer.
 */
static const uint8_t next_state[NR][NR] = {
    [STOP] = {[STOP] = STOP,
	      [RUNNING] = RUNNING_P2P,
	      [STOP_COPY] = STOP_COPY,
	      [RESUMING] = RESUMING,
	      [RUNNING_P2P] = RUNNING_P2P,
	      [PRE_COPY] = RUNNING_P2P,
	      [PRE_COPY_P2P] = RUNNING_P2P},
    [RUNNING] = {[STOP] = RUNNING_P2P,
		 [RUNNING] = RUNNING,
		 [STOP_COPY] = RUNNING_P2P,
		 [RESUMING] = RUNNING_P2P,
		 [RUNNING_P2P] = RUNNING_P2P,
		 [PRE_COPY] = PRE_COPY,
		 [PRE_COPY_P2P] = RUNNING_P2P},
    [STOP_COPY] = {[STOP] = STOP, [RUNNING] = STOP, [STOP_COPY] = STOP_COPY, [RESUMING] = STOP, [RUNNING_P2P] = STOP},
    [RESUMING] = {[STOP] = STOP,
		  [RUNNING] = STOP,
		  [STOP_COPY] = STOP,
		  [RESUMING] = RESUMING,
		  [RUNNING_P2P] = STOP,
		  [PRE_COPY] = STOP,
		  [PRE_COPY_P2P] = STOP},
    [RUNNING_P2P] = {[STOP] = STOP,
		     [RUNNING] = RUNNING,
		     [STOP_COPY] = STOP,
		     [RESUMING] = STOP,
		     [RUNNING_P2P] = RUNNING_P2P,
		     [PRE_COPY] = RUNNING,
		     [PRE_COPY_P2P] = PRE_COPY_P2P},
    [PRE_COPY] = {[STOP] = RUNNING,
		  [RUNNING] = RUNNING,
		  [STOP_COPY] = PRE_COPY_P2P,
		  [RESUMING] = RUNNING,
		  [RUNNING_P2P] = RUNNING,
		  [PRE_COPY] = PRE_COPY,
		  [PRE_COPY_P2P] = PRE_COPY_P2P},
    [PRE_COPY_P2P] = {[STOP] = RUNNING_P2P,
		      [RUNNING] = RUNNING_P2P,
		      [STOP_COPY] = STOP_COPY,
		      [RESUMING] = RUNNING_P2P,
		      [RUNNING_P2P] = RUNNING_P2P,
		      [PRE_COPY] = PRE_COPY,
		      [PRE_COPY_P2P] = PRE_COPY_P2P},
};

int migration_next(uint32_t from, uint32_t to, uint32_t *next)
{
	if (from >= NR || to >= NR || next_state[from][to] == ERROR)
		return -EINVAL;
	*next = next_state[from][to];
	return 0;
}

/* ---- single arcs: 0, -errno, UCALL_AGAIN. Nothing has changed unless it is 0. ---- */

static int arc_quiesce(struct vfio_dev *d)
{
	int err = pci_quiesce(d->f);

	if (err == -EAGAIN) {
		if (d->v->loop)
			loop_timer_arm(d->v->loop, &d->mig_patience, PATIENCE_NS);
		return UCALL_LATER;
	}
	if (d->v->loop)
		loop_timer_cancel(d->v->loop, &d->mig_patience);
	return err;
}

static void begun_drop(struct vfio_dev *d)
{
	if (d->mig_begun)
		mig_session_drop(d->mig_begun);
	d->mig_begun = NULL;
}

/* One for whose first look at large memory the caller comes back. 0: it is done. */
static int begin_early(struct vfio_dev *d)
{
	int err = d->mig_begun ? 0 : mig_session_new(d, true, false, &d->mig_begun);

	if (err)
		return err;
	if (d->v->loop)
		loop_timer_cancel(d->v->loop, &d->mig_patience);
	if (mig_session_look(d->mig_begun) != -EAGAIN)
		return 0;
	if (d->v->loop)
		loop_timer_arm(d->v->loop, &d->mig_patience, PATIENCE_NS);
	return UCALL_LATER;
}

/* Opens a transfer. at: where the caller wants its descriptor's number. */
static int arc_open(struct vfio_dev *d, struct ucall *c, uint64_t at, bool saving, bool whole)
{
	struct mig_session *s;
	int err;

	if (saving && !whole) {
		err = begin_early(d);
		s = d->mig_begun;
		if (!err)
			d->mig_begun = NULL;
	} else {
		err = mig_session_new(d, saving, whole, &s);
	}
	if (err)
		return err;
	err = whole ? mig_session_save(s) : 0;
	if (!err)
		err = ucall_install_at(c, mig_session_file(s), at);
	if (err) {
		mig_session_drop(s);
		return err;
	}
	mig_session_start(s);
	d->mig_session = s;
	return 0;
}

static void session_end(struct vfio_dev *d)
{
	if (d->mig_session)
		mig_session_end(d->mig_session);
	d->mig_session = NULL;
}

static int arc_stop_copy(struct vfio_dev *d)
{
	int err;

	pci_stop(d->f);
	err = mig_session_save(d->mig_session);
	if (err)
		pci_unstop(d->f);
	return err;
}

static int arc_load(struct vfio_dev *d)
{
	int err = mig_session_load(d->mig_session);

	/* What was there before it went for nothing. */
	if (err == -EINVAL) {
		session_end(d);
		d->mig_state = ERROR;
	}
	if (err)
		return err;
	if (!d->f->d0)
		memcpy(d->before_d3, d->f->cfg, sizeof(d->before_d3));
	session_end(d);
	return 0;
}

static int arc_walk(struct vfio_dev *d, struct ucall *c, uint64_t at, uint32_t to)
{
	switch (ARC(d->mig_state, to)) {
	case ARC(RUNNING, RUNNING_P2P):
	case ARC(PRE_COPY, PRE_COPY_P2P):
		return arc_quiesce(d);
	case ARC(RUNNING_P2P, RUNNING):
	case ARC(PRE_COPY_P2P, PRE_COPY):
		pci_run(d->f);
		return 0;
	case ARC(RUNNING_P2P, STOP):
		pci_stop(d->f);
		return 0;
	case ARC(STOP, RUNNING_P2P):
		pci_unstop(d->f);
		return 0;
	case ARC(RUNNING, PRE_COPY):
	case ARC(RUNNING_P2P, PRE_COPY_P2P):
		return arc_open(d, c, at, true, false);
	case ARC(STOP, STOP_COPY):
		return arc_open(d, c, at, true, true);
	case ARC(STOP, RESUMING):
		return arc_open(d, c, at, false, false);
	case ARC(PRE_COPY_P2P, STOP_COPY):
		return arc_stop_copy(d);
	case ARC(RESUMING, STOP):
		return arc_load(d);
	case ARC(PRE_COPY, RUNNING):
	case ARC(PRE_COPY_P2P, RUNNING_P2P):
	case ARC(STOP_COPY, STOP):
		session_end(d);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- life ---- */

/* Whoever asked for it has not been back. */
static void patience_over(struct loop_timer *t)
{
	struct vfio_dev *d = container_of(t, struct vfio_dev, mig_patience);

	begun_drop(d);
	if (d->mig_state == RUNNING || d->mig_state == PRE_COPY)
		pci_run(d->f);
}

void migration_init(struct vfio_dev *d)
{
	d->mig_state = RUNNING;
	loop_timer_init(&d->mig_patience, patience_over);
}

void migration_reset(struct vfio_dev *d)
{
	if (d->v->loop)
		loop_timer_cancel(d->v->loop, &d->mig_patience);
	begun_drop(d);
	session_end(d);
	d->mig_state = RUNNING;
	pci_run(d->f);
}

/* ---- the features ---- */

bool migration_offered(const struct vfio_dev *d)
{
	return pci_can_migrate(d->f);
}

long migration_flags(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_feature_migration m = {.flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |
							   VFIO_MIGRATION_PRE_COPY};

	return ucall_copy_out(fc->c, fc->data, &m, sizeof(m));
}

static int set_state(struct vfio_dev *d, struct feature_call *fc, uint32_t to)
{
	uint64_t at = fc->data + offsetof(struct vfio_device_feature_mig_state, data_fd);
	uint32_t next;
	int err = 0;

	while (!err && d->mig_state != to) {
		err = migration_next(d->mig_state, to, &next);
		if (!err)
			err = arc_walk(d, fc->c, at, next);
		if (!err)
			d->mig_state = next;
	}
	return err;
}

/* The one arc of a way that gives out a descriptor is its last. */
static bool gives_descriptor(uint32_t before, uint32_t to)
{
	bool saving = to == PRE_COPY || to == PRE_COPY_P2P || to == STOP_COPY;
	bool was_saving = before == PRE_COPY || before == PRE_COPY_P2P || before == STOP_COPY;

	return to != before && (to == RESUMING || (saving && !was_saving));
}

long migration_state(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_feature_mig_state m;
	uint32_t before = d->mig_state;
	int err, ret;

	ret = ucall_copy_in(fc->c, fc->data, &m, sizeof(m));
	if (ret)
		return ret;
	err = fc->get ? 0 : set_state(d, fc, m.device_state);
	if (err == UCALL_AGAIN)
		return err;
	if (!fc->get)
		begun_drop(d);
	if (fc->get)
		m.device_state = d->mig_state;
	else if (!err && gives_descriptor(before, m.device_state))
		return 0;
	/* Also of a call that failed. */
	m.data_fd = -1;
	ret = ucall_copy_out(fc->c, fc->data, &m, sizeof(m));
	return err ? err : ret;
}

long migration_data_size(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_feature_mig_data_size s = {.stop_copy_length = pci_save_size(d->f)};

	return ucall_copy_out(fc->c, fc->data, &s, sizeof(s));
}
