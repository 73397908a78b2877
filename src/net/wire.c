/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/wire.h"

#include "base/log.h"
#include "base/util.h"

static void met(struct meet *m, int fd)
{
	struct wire *w = container_of(m, struct wire, meet);
	bool listened = m->listener.fd >= 0;

	if (stream_open(&w->stream, fd)) {
		meet_lost(m);
		return;
	}
	if (w->greets && listened)
		stream_greet(&w->stream);
	if (!w->greets || listened)
		net_link_set(w->stream.n, true);
}

static void heard(struct stream *s)
{
	struct wire *w = container_of(s, struct wire, stream);

	w->refused = false;
	net_link_set(s->n, true);
}

static void ended(struct stream *s)
{
	struct wire *w = container_of(s, struct wire, stream);

	if (!s->n->link && !w->refused) {
		w->refused = true;
		log_warn("net: %s: there are two already", w->meet.addr.sun_path);
	}
	net_link_set(s->n, false);
	meet_lost(&w->meet);
}

void wire_init(struct wire *w, struct net *n, bool greets)
{
	stream_init(&w->stream, n, heard, ended);
	w->greets = greets;
	w->refused = false;
}

int wire_place(struct wire *w, const char *path, enum meet_role role)
{
	return meet_init(&w->meet, w->stream.n->loop, path, role, met);
}

int wire_open(struct wire *w, bool check)
{
	return meet_open(&w->meet, check);
}

void wire_close(struct wire *w)
{
	meet_close(&w->meet);
	stream_close(&w->stream);
	net_link_set(w->stream.n, false);
}

void wire_free(struct wire *w)
{
	stream_free(&w->stream);
}
