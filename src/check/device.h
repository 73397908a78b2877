/* SPDX-License-Identifier: BSD-3-Clause */
/* What was done to a device as a whole, last: attached, reset, kept from the bus, given interrupts; and who did it. */
#ifndef PINFOLD_CHECK_DEVICE_H
#define PINFOLD_CHECK_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct check;
struct event;
struct finding;

struct deed {
	uint64_t ns; /* 0: it was never done, or by an owner who has gone */
	uint32_t pid, tid, stack;
};

struct device_note {
	struct list node;
	uint32_t bdf, pasid;
	uint64_t ioas, before; /* whose translations it uses, and used before; 0: nobody's */
	bool moved;	       /* from one space to another, by the owner that it has */
	struct deed attached, master_off, reset, irqs;
	char reset_what[48];
	bool msix_set; /* by SET_IRQS */
	struct finding
	    *msix_write; /* MSI-X enabled where that is lost: a finding, if SET_IRQS does not do it as well */
};

struct devices;

struct deed deed_now(struct check *c); /* whatever is being told, and whose call it is */
struct devices *devices_new(void);
void devices_free(struct devices *d);
/* NULL: nothing has been noted, or there is no room. */
const struct device_note *devices_find(const struct devices *d, uint32_t who, uint32_t pasid);
/* Of a deed, a part of a finding: "TEXT 2.5 ms earlier by thread 812 here:" and the stack, which is to blame. */
void deed_say(struct finding *f, const struct deed *d, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void check_attach(struct check *c, const struct event *ev);
void check_master(struct check *c, const struct event *ev);
void check_reset(struct check *c, const struct event *ev);
void check_irqs(struct check *c, const struct event *ev);
/* Takes a copy of the finding, which counts if the device's owner goes without having used SET_IRQS. */
void check_msix_write(struct check *c, const struct event *ev, const struct finding *f);

#endif
