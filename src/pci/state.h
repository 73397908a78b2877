/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved state of a function, as bytes that may go to another broker.
 *
 *   header   struct state_header: magic, version of this encoding, the device type's name
 *   records  struct state_record, then len bytes, then zeros up to a multiple of 8. Each has a name of its own, unless
 *            all that have it are marked as repeated: then their order counts.
 *   the end  a record "end": a CRC-32C of every byte before it
 *
 * All numbers are little-endian. A record says its version; one that a reader does not know is refused, unless it is
 * marked as optional. Nothing of it is believed: state_open checks the frame, and who takes a record's fields out
 * checks those, all of them, before anything is changed.
 */
#ifndef PINFOLD_PCI_STATE_H
#define PINFOLD_PCI_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_MAGIC   0x0a65746174534650ull /* "PFState\n" */
#define STATE_VERSION 1
#define STATE_RECORDS 256

/* Flags: who does not know the record may pass it over; there may be more of that name. */
enum { STATE_OPTIONAL = 1, STATE_REPEATED = 2 };

struct state_header {
	uint64_t magic;
	uint32_t version, reserved;
	char type[16]; /* zero padded */
};
_Static_assert(sizeof(struct state_header) == 32, "the header's layout is the format");

struct state_record {
	char name[16]; /* zero padded */
	uint16_t version, flags;
	uint32_t len;
};
_Static_assert(sizeof(struct state_record) == 24, "a record's layout is the format");

/* ---- writing ---- */
struct state_out {
	uint8_t *buf; /* owned; NULL with count */
	size_t len, cap;
	size_t record; /* where the open record begins */
	bool count;    /* only how long it would be */
	bool failed;   /* out of memory: all that follows is dropped */
};

void state_out_init(struct state_out *o, bool count);
void state_out_fini(struct state_out *o);
void state_start(struct state_out *o, const char *type);
void state_begin(struct state_out *o, const char *name, unsigned int version, unsigned int flags);
void state_put(struct state_out *o, const void *src, size_t len);
void state_end(struct state_out *o);
int state_finish(struct state_out *o); /* the end. 0 or -ENOMEM */
/* True: the next len bytes cannot fail. False leaves everything as it was. */
bool state_reserve(struct state_out *o, size_t len);

static inline void state_put_u8(struct state_out *o, uint8_t v)
{
	state_put(o, &v, sizeof(v));
}
static inline void state_put_u16(struct state_out *o, uint16_t v)
{
	state_put(o, &v, sizeof(v));
}
static inline void state_put_u32(struct state_out *o, uint32_t v)
{
	state_put(o, &v, sizeof(v));
}
static inline void state_put_u64(struct state_out *o, uint64_t v)
{
	state_put(o, &v, sizeof(v));
}

/* ---- reading ---- */
/* What is left of one record. A field that is not there reads as 0 and makes it bad. */
struct state_in {
	const uint8_t *at;
	size_t left;
	bool bad;
};

/* A whole state whose frame has been checked; it points into the caller's buffer. */
struct state {
	const uint8_t *buf;
	unsigned int n;
	struct {
		uint32_t off; /* of its struct state_record */
		bool taken;
	} rec[STATE_RECORDS];
};

/* -EINVAL: not a state of that type, cut off, corrupted, too long, of another version. */
int state_open(struct state *s, const void *buf, size_t len, const char *type);
/* The record of that name and version. -EINVAL: there is none. */
int state_take(struct state *s, const char *name, unsigned int version, struct state_in *in);
/* The next one of that name from *at on, which starts as 0. False: there is none, or one of another version. */
bool state_take_next(struct state *s, const char *name, unsigned int version, unsigned int *at, struct state_in *in);
/* 0, or -EINVAL: a record that is not optional has not been taken. */
int state_all_taken(const struct state *s);

void state_get(struct state_in *in, void *dst, size_t len);
/* Everything was there, and nothing is left over. */
static inline bool state_good(const struct state_in *in)
{
	return !in->bad && !in->left;
}
static inline uint8_t state_get_u8(struct state_in *in)
{
	uint8_t v;

	state_get(in, &v, sizeof(v));
	return v;
}
static inline uint16_t state_get_u16(struct state_in *in)
{
	uint16_t v;

	state_get(in, &v, sizeof(v));
	return v;
}
static inline uint32_t state_get_u32(struct state_in *in)
{
	uint32_t v;

	state_get(in, &v, sizeof(v));
	return v;
}
static inline uint64_t state_get_u64(struct state_in *in)
{
	uint64_t v;

	state_get(in, &v, sizeof(v));
	return v;
}

uint32_t state_crc(uint32_t crc, const void *buf, size_t len); /* CRC-32C (Castagnoli), start with 0 */

#endif
