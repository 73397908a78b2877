/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/util.h"

#define END_NAME "end"
#define CAP_MIN	 4096

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are stored as they are in memory");

/* ---- CRC-32C, polynomial 0x1edc6f41, reflected (RFC 3720, appendix B.4) ---- */

static uint32_t crc_plain(uint32_t crc, const uint8_t *p, size_t len)
{
	static const uint32_t nibble[16] = {
	    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	while (len--) {
		crc ^= *p++;
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t c = crc, v;

	for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		c = __builtin_ia32_crc32di(c, v);
	}
	while (len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
	return (uint32_t)c;
}

uint32_t state_crc(uint32_t crc, const void *buf, size_t len)
{
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_fast(~crc, buf, len);
	return ~crc_plain(~crc, buf, len);
}

/* ---- writing ---- */

void state_out_init(struct state_out *o, bool count)
{
	*o = (struct state_out){.count = count};
}

void state_out_fini(struct state_out *o)
{
	free(o->buf);
	o->buf = NULL;
}

static bool reserve(struct state_out *o, size_t len)
{
	size_t cap = MAX(o->cap, (size_t)CAP_MIN);
	uint8_t *buf;

	if (o->count || o->failed)
		return false;
	if (len <= o->cap - o->len)
		return true;
	while (cap - o->len < len)
		cap *= 2;
	buf = mem_realloc(o->buf, cap);
	if (!buf) {
		o->failed = true;
		return false;
	}
	o->buf = buf;
	o->cap = cap;
	return true;
}

bool state_reserve(struct state_out *o, size_t len)
{
	bool failed = o->failed, done = reserve(o, len);

	o->failed = failed;
	return done;
}

void state_put(struct state_out *o, const void *src, size_t len)
{
	if (len && reserve(o, len))
		memcpy(o->buf + o->len, src, len);
	if (!o->failed)
		o->len += len;
}

void state_start(struct state_out *o, const char *type)
{
	struct state_header h = {.magic = STATE_MAGIC, .version = STATE_VERSION};

	memcpy(h.type, type, MIN(strlen(type), sizeof(h.type)));
	state_put(o, &h, sizeof(h));
}

void state_begin(struct state_out *o, const char *name, unsigned int version, unsigned int flags)
{
	struct state_record r = {.version = (uint16_t)version, .flags = (uint16_t)flags};

	memcpy(r.name, name, MIN(strlen(name), sizeof(r.name)));
	o->record = o->len;
	state_put(o, &r, sizeof(r));
}

void state_end(struct state_out *o)
{
	uint32_t len = (uint32_t)(o->len - o->record - sizeof(struct state_record));
	static const uint8_t zeros[8];

	if (!o->count && !o->failed)
		memcpy(o->buf + o->record + offsetof(struct state_record, len), &len, sizeof(len));
	state_put(o, zeros, ALIGN_UP(o->len, (size_t)8) - o->len);
}

int state_finish(struct state_out *o)
{
	uint32_t crc = 0;

	state_begin(o, END_NAME, STATE_VERSION, 0);
	if (!o->count && !o->failed)
		crc = state_crc(0, o->buf, o->record);
	state_put_u32(o, crc);
	state_end(o);
	return o->failed ? -ENOMEM : 0;
}

/* ---- reading ---- */

static bool name_is(const char field[16], const char *name)
{
	return !strncmp(field, name, 16);
}

static struct state_record record_at(const struct state *s, unsigned int i)
{
	struct state_record r;

	memcpy(&r, s->buf + s->rec[i].off, sizeof(r));
	return r;
}

static bool name_taken(const struct state *s, const struct state_record *r)
{
	for (unsigned int i = 0; i < s->n; i++) {
		struct state_record other = record_at(s, i);

		if (!memcmp(other.name, r->name, sizeof(r->name)) && !(other.flags & r->flags & STATE_REPEATED))
			return true;
	}
	return false;
}

/* The record "end", which ends the buffer too. */
static int check_end(const struct state *s, const struct state_record *r, size_t off, size_t len)
{
	uint32_t crc;

	if (r->version != STATE_VERSION || r->len != sizeof(crc) || len - off != sizeof(*r) + ALIGN_UP(r->len, 8U))
		return -EINVAL;
	memcpy(&crc, s->buf + off + sizeof(*r), sizeof(crc));
	return crc == state_crc(0, s->buf, off) ? 0 : -EINVAL;
}

int state_open(struct state *s, const void *buf, size_t len, const char *type)
{
	size_t off = sizeof(struct state_header);
	struct state_header h;
	struct state_record r;

	*s = (struct state){.buf = buf};
	if (len < sizeof(h) || len > UINT32_MAX)
		return -EINVAL;
	memcpy(&h, buf, sizeof(h));
	if (h.magic != STATE_MAGIC || h.version != STATE_VERSION || h.reserved || !name_is(h.type, type))
		return -EINVAL;
	for (; len - off >= sizeof(r); off += sizeof(r) + ALIGN_UP((size_t)r.len, 8)) {
		memcpy(&r, s->buf + off, sizeof(r));
		if (ALIGN_UP((size_t)r.len, 8) > len - off - sizeof(r))
			return -EINVAL;
		if (name_is(r.name, END_NAME))
			return check_end(s, &r, off, len);
		if (s->n == STATE_RECORDS || name_taken(s, &r))
			return -EINVAL;
		s->rec[s->n++].off = (uint32_t)off;
	}
	return -EINVAL;
}

bool state_take_next(struct state *s, const char *name, unsigned int version, unsigned int *at, struct state_in *in)
{
	for (unsigned int i = *at; i < s->n; i++) {
		struct state_record r = record_at(s, i);

		if (!name_is(r.name, name))
			continue;
		if (r.version != version)
			return false;
		s->rec[i].taken = true;
		*in = (struct state_in){.at = s->buf + s->rec[i].off + sizeof(r), .left = r.len};
		*at = i + 1;
		return true;
	}
	return false;
}

int state_take(struct state *s, const char *name, unsigned int version, struct state_in *in)
{
	unsigned int at = 0;

	return state_take_next(s, name, version, &at, in) ? 0 : -EINVAL;
}

int state_all_taken(const struct state *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (!s->rec[i].taken && !(record_at(s, i).flags & STATE_OPTIONAL))
			return -EINVAL;
	return 0;
}

void state_get(struct state_in *in, void *dst, size_t len)
{
	if (in->bad || in->left < len) {
		in->bad = true;
		memset(dst, 0, len);
		return;
	}
	memcpy(dst, in->at, len);
	in->at += len;
	in->left -= len;
}
