/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/event.h"

void events_init(struct events *evs)
{
	evs->mask = 0;
	evs->origin = NULL;
	list_init(&evs->listeners);
}

void events_changed(struct events *evs)
{
	struct event_listener *l;

	evs->mask = 0;
	list_for_each (l, &evs->listeners, node)
		evs->mask |= l->mask;
}

void events_listen(struct events *evs, struct event_listener *l)
{
	list_add_tail(&evs->listeners, &l->node);
	events_changed(evs);
}

void events_unlisten(struct events *evs, struct event_listener *l)
{
	list_del(&l->node);
	events_changed(evs);
}

void events_deliver(struct events *evs, const struct event *ev)
{
	struct event_listener *l, *tmp;

	list_for_each_safe (l, tmp, &evs->listeners, node)
		if (l->mask & BIT(ev->type))
			l->notify(l, ev);
}
