/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration states of a device: each pair of them, the descriptor that goes with some, and what the function does
 * meanwhile. What is expected comes from the arcs and the rules for their combination that <linux/vfio.h> lists; the
 * code has a table.
 */
#include "../vfio/fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/barmem.h"
#include "pci/migrate.h"
#include "vfio/internal.h"

#define NR VFIO_DEVICE_STATE_NR

enum {
	ERROR = VFIO_DEVICE_STATE_ERROR,
	STOP = VFIO_DEVICE_STATE_STOP,
	RUNNING = VFIO_DEVICE_STATE_RUNNING,
	STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY,
	RESUMING = VFIO_DEVICE_STATE_RESUMING,
	RUNNING_P2P = VFIO_DEVICE_STATE_RUNNING_P2P,
	PRE_COPY = VFIO_DEVICE_STATE_PRE_COPY,
	PRE_COPY_P2P = VFIO_DEVICE_STATE_PRE_COPY_P2P,
};

/* "The driver implements the following behavior for the FSM arcs" */
static const uint32_t arcs[][2] = {
    {RUNNING_P2P, STOP},      {STOP_COPY, STOP},   {RESUMING, STOP},	      {PRE_COPY, RUNNING},
    {RUNNING_P2P, RUNNING},   {STOP, RUNNING_P2P}, {RUNNING, RUNNING_P2P},    {PRE_COPY_P2P, RUNNING_P2P},
    {RUNNING, PRE_COPY},      {STOP, STOP_COPY},   {PRE_COPY, PRE_COPY_P2P},  {RUNNING_P2P, PRE_COPY_P2P},
    {PRE_COPY_P2P, PRE_COPY}, {STOP, RESUMING},	   {PRE_COPY_P2P, STOP_COPY},
};

static bool saves(uint32_t s)
{
	return s == PRE_COPY || s == PRE_COPY_P2P || s == STOP_COPY;
}

static bool is_arc(uint32_t from, uint32_t to)
{
	for (size_t i = 0; i < ARRAY_SIZE(arcs); i++)
		if (arcs[i][0] == from && arcs[i][1] == to)
			return true;
	return false;
}

/*
 * The length of the shortest way whose inner states are not of the saving group, unless it stays within the group; -1:
 * there is none. STOP_COPY to the PRE_COPY states is not permitted.
 */
static int distance(uint32_t from, uint32_t to, unsigned int left)
{
	int best = -1;

	if (from == to)
		return 0;
	if (from == STOP_COPY && saves(to))
		return -1;
	for (uint32_t s = 1; left && s < NR; s++) {
		int d;

		if (!is_arc(from, s) || (s != to && saves(s) && !(saves(from) && saves(to))))
			continue;
		d = distance(s, to, left - 1);
		if (d >= 0 && (best < 0 || d + 1 < best))
			best = d + 1;
	}
	return best;
}

static void each_step_is_the_first_of_the_shortest_way(void **state)
{
	for (uint32_t from = 0; from < NR + 2; from++) {
		for (uint32_t to = 0; to < NR + 2; to++) {
			bool known = from && to && from < NR && to < NR;
			int d = known ? distance(from, to, 6) : -1;
			uint32_t next = 99;

			if (d < 0) {
				assert_int_equal(migration_next(from, to, &next), -EINVAL);
				assert_int_equal(next, 99);
				continue;
			}
			assert_int_equal(migration_next(from, to, &next), 0);
			if (from == to) {
				assert_int_equal(next, to);
				continue;
			}
			assert_true(is_arc(from, next));
			assert_int_equal(distance(next, to, 6), d - 1);
			assert_true(next == to || !saves(next) || (saves(from) && saves(to)));
		}
	}
	/* The header's own example of what is not there. */
	assert_int_equal(distance(STOP_COPY, PRE_COPY, 6), -1);
}

/* ---- a device ---- */

struct mig {
	struct vfio_device_feature h;
	struct vfio_device_feature_mig_state m;
};

struct dev {
	struct session s;
	struct toy *t;
	struct ufile *data; /* that the last call gave out */
};

static struct dev dev_open(struct fake *k)
{
	struct dev d = {.s = {.container = fake_container(k), .group = fake_group(k, 9)}, .t = k->toy[2]};
	int32_t fd = fake_fd_of(k, d.s.container);

	assert_int_equal(DO(d.s.group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(d.s.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	d.s.device = fake_device(k, d.s.group, "0000:01:00.1");
	return d;
}

static long mig_call(struct fake *k, struct dev *d, uint32_t flags, uint32_t state, struct mig *g)
{
	*g = (struct mig){.h = {.argsz = sizeof(*g), .flags = flags | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE},
			  .m = {.device_state = state, .data_fd = 77}};
	return DO(d->s.device, VFIO_DEVICE_FEATURE, g);
}

static long set_state(struct fake *k, struct dev *d, uint32_t to)
{
	struct mig g;
	long ret = mig_call(k, d, VFIO_DEVICE_FEATURE_SET, to, &g);

	assert_int_equal(g.m.device_state, to);
	assert_true(g.m.data_fd == -1 || !ret);
	d->data = g.m.data_fd == -1 ? NULL : fake_file(k, g.m.data_fd);
	return ret;
}

static uint32_t get_state(struct fake *k, struct dev *d)
{
	struct mig g;

	assert_int_equal(mig_call(k, d, VFIO_DEVICE_FEATURE_GET, 0, &g), 0);
	assert_int_equal(g.m.data_fd, -1);
	return g.m.device_state;
}

static size_t read_all(struct fake *k, struct ufile *f, uint8_t *buf, size_t max)
{
	size_t len = 0, n;

	while ((n = fake_read(k, f, buf + len, max - len)))
		len += n;
	return len;
}

/* A state of the toy's, saved with its registers as they are. */
static size_t save(struct fake *k, struct dev *d, uint8_t *buf, size_t max)
{
	size_t len;

	assert_int_equal(set_state(k, d, STOP_COPY), 0);
	assert_non_null(d->data);
	len = read_all(k, d->data, buf, max);
	assert_true(fake_at_end(k, d->data));
	fake_close(k, &d->data);
	assert_int_equal(set_state(k, d, RUNNING), 0);
	return len;
}

static uint8_t blob[65536];

/* A way that ends in the state, with whatever descriptor it gives closed. */
static void bring(struct fake *k, struct dev *d, uint32_t to)
{
	assert_int_equal(DO(d->s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(get_state(k, d), RUNNING);
	if (to == ERROR) {
		assert_int_equal(set_state(k, d, RESUMING), 0);
		fake_close(k, &d->data);
		assert_int_equal(set_state(k, d, STOP), -EINVAL);
		return;
	}
	assert_int_equal(set_state(k, d, to), 0);
	if (d->data)
		fake_close(k, &d->data);
}

static enum pci_run run_in(uint32_t state)
{
	switch (state) {
	case RUNNING:
	case PRE_COPY:
		return PCI_RUNNING;
	case RUNNING_P2P:
	case PRE_COPY_P2P:
		return PCI_QUIET;
	default:
		return PCI_STOPPED;
	}
}

/* From each state to each: the result, where it ends, what the function does there, and whether there is a descriptor.
 */
static void every_pair(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	size_t len = save(k, &d, blob, sizeof(blob));

	for (uint32_t from = 0; from < NR; from++) {
		for (uint32_t to = 0; to < NR + 1; to++) {
			bool ok = from == to || (from && to && to < NR && distance(from, to, 6) >= 0);

			bring(k, &d, from);
			assert_int_equal(get_state(k, &d), from);
			assert_true(from == ERROR || d.t->f.run == run_in(from));
			/* What leaves RESUMING must have something to leave it with. */
			if (from == RESUMING) {
				bring(k, &d, STOP);
				assert_int_equal(set_state(k, &d, RESUMING), 0);
				fake_write(k, d.data, blob, len);
				fake_close(k, &d.data);
			}
			k->again = (from + to) % 2;
			d.t->busy = (from + to) % 3;
			assert_int_equal(set_state(k, &d, to), ok ? 0 : -EINVAL);
			k->again = false;
			assert_int_equal(get_state(k, &d), ok ? to : from);
			if (ok && to)
				assert_int_equal(d.t->f.run, run_in(to));
			assert_int_equal(d.data != NULL,
					 ok && from != to && (to == RESUMING || (saves(to) && !saves(from))));
			if (d.data)
				fake_close(k, &d.data);
			d.t->busy = 0;
		}
	}
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_RESET, 0), 0);
	fake_session_close(k, &d.s);
}

static void what_is_offered(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	struct {
		struct vfio_device_feature h;
		struct vfio_device_feature_migration m;
	} f = {.h = {.argsz = sizeof(f), .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION}};
	struct {
		struct vfio_device_feature h;
		struct vfio_device_feature_mig_data_size m;
	} z = {.h = {.argsz = sizeof(z), .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE}};

	assert_int_equal(DO(d.s.device, VFIO_DEVICE_FEATURE, &f), 0);
	assert_int_equal(f.m.flags, VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY);
	f.h.argsz--;
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_FEATURE, &f), -EINVAL);
	f.h.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIGRATION;
	f.h.argsz++;
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_FEATURE, &f), -EINVAL);
	f.h.flags = VFIO_DEVICE_FEATURE_MIGRATION;
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_FEATURE, &f), -EINVAL);
	f.h.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_GET |
		    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_FEATURE, &f), 0);
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_FEATURE, &z), 0);
	assert_in_range(z.m.stop_copy_length, save(k, &d, blob, sizeof(blob)), 16384);
	fake_session_close(k, &d.s);
}

/* One transfer from PRE_COPY to its end, byte for byte what STOP_COPY alone gives. */
static void one_stream(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	static uint8_t whole[16384], parts[16384];
	struct vfio_precopy_info info = {.argsz = sizeof(info)};
	struct ufile *data;
	size_t len, n;

	memset(d.t->reg, 0x5a, TOY_STATE);
	len = save(k, &d, whole, sizeof(whole));
	k->stream_room = 100; /* the reader is slow */
	assert_int_equal(set_state(k, &d, PRE_COPY), 0);
	data = d.data;
	assert_int_equal(DO(data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	assert_true(info.initial_bytes > 0);
	assert_int_equal(info.dirty_bytes, 0);
	n = read_all(k, data, parts, sizeof(parts));
	assert_int_equal(n, info.initial_bytes);
	assert_false(fake_at_end(k, data));
	assert_int_equal(DO(data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	assert_int_equal(info.initial_bytes, 0);
	info.argsz--;
	assert_int_equal(DO(data, VFIO_MIG_GET_PRECOPY_INFO, &info), -EINVAL);
	info.argsz++;
	assert_int_equal(DO(data, VFIO_MIG_GET_PRECOPY_INFO, k->hole), -EFAULT);
	assert_int_equal(DO(data, VFIO_DEVICE_GET_INFO, &info), -ENOTTY);
	assert_int_equal(set_state(k, &d, PRE_COPY_P2P), 0);
	assert_null(d.data);
	assert_int_equal(DO(data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	d.t->busy = 5;
	assert_int_equal(set_state(k, &d, PRE_COPY), 0);
	assert_int_equal(set_state(k, &d, STOP_COPY), 0);
	assert_int_equal(k->rounds, 6);
	assert_null(d.data);
	assert_int_equal(DO(data, VFIO_MIG_GET_PRECOPY_INFO, &info), -EINVAL);
	n += read_all(k, data, parts + n, sizeof(parts) - n);
	assert_true(fake_at_end(k, data));
	assert_int_equal(n, len);
	assert_memory_equal(whole, parts, len);
	fake_close(k, &data);
	fake_session_close(k, &d.s);
}

/* The first look at large memory takes several turns of the broker's; what has changed since is counted in as many. */
static void large_memory(void **state)
{
	const uint64_t size = 64 << 20;
	struct fake *k = *state;
	struct vfio_precopy_info info = {.argsz = sizeof(info)};
	uint64_t pages = 0, page = sizeof(struct state_page);
	struct dev d = dev_open(k);
	struct barmem *m;
	uint8_t b = 1;

	assert_int_equal(pci_add_mem_bar(&d.t->f, 4, size, true, true), 0);
	m = d.t->f.bar[4].mem;
	assert_int_equal(barmem_write(m, size - 1, &b, 1), 0);
	assert_int_equal(set_state(k, &d, PRE_COPY), 0);
	assert_in_range(k->moments, 3, 8);
	assert_int_equal(DO(d.data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	assert_in_range(info.initial_bytes, page, 2 * page); /* all of it has been looked at */
	assert_int_equal(info.dirty_bytes, 0);
	for (uint64_t off = 0; off < size; off += 8 << 20, pages++)
		assert_int_equal(barmem_write(m, off, &b, 1), 0);
	assert_int_equal(DO(d.data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	assert_in_range(info.dirty_bytes, 1, (pages - 1) * page);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(DO(d.data, VFIO_MIG_GET_PRECOPY_INFO, &info), 0);
	assert_int_equal(info.dirty_bytes, pages * page);
	fake_close(k, &d.data);
	assert_int_equal(set_state(k, &d, RUNNING), 0);
	fake_session_close(k, &d.s);
}

static void state_arrives(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	char mem[9];
	size_t len;

	memset(d.t->reg, 0x77, TOY_STATE);
	assert_int_equal(barmem_write(d.t->f.bar[2].mem, 8, "memory", 6), 0);
	len = save(k, &d, blob, sizeof(blob));
	assert_int_equal(barmem_write(d.t->f.bar[2].mem, 8, "xxxxxxyyy", 9), 0);
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(d.t->reg[0], 0);
	assert_int_equal(set_state(k, &d, RESUMING), 0);
	for (size_t i = 0; i < len; i++)
		fake_write(k, d.data, blob + i, 1);
	assert_int_equal(d.t->reg[0], 0);
	assert_int_equal(set_state(k, &d, RUNNING), 0);
	assert_int_equal(d.t->reg[TOY_STATE - 1], 0x77);
	assert_int_equal(barmem_read(d.t->f.bar[2].mem, 8, mem, sizeof(mem)), 0);
	assert_memory_equal(mem, "memory\0\0\0", 9);
	/* The session is over: what is written now goes nowhere. */
	d.data = fake_file(k, CLIENT_FD(3));
	fake_write(k, d.data, blob, len);
	fake_close(k, &d.data);
	fake_session_close(k, &d.s);
}

/* What pends when it stops is delivered where it goes on, whenever its vectors are set up. */
static void interrupts_pend(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	size_t len;

	pci_msix_enable(&d.t->f, true);
	pci_msix_raise(&d.t->f, 3); /* masked */
	assert_int_equal(d.t->f.msix_pba[0], 1 << 3);
	assert_int_equal(set_state(k, &d, STOP), 0);
	pci_msix_set_entry_masked(&d.t->f, 5, false);
	pci_msix_raise(&d.t->f, 5); /* stopped */
	assert_int_equal(d.t->f.msix_pba[0], 1 << 3 | 1 << 5);
	assert_int_equal(set_state(k, &d, STOP_COPY), 0);
	len = read_all(k, d.data, blob, sizeof(blob));
	fake_close(k, &d.data);

	assert_int_equal(DO(d.s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(d.t->f.msix_pba[0], 0);
	assert_int_equal(set_state(k, &d, RESUMING), 0);
	fake_write(k, d.data, blob, len);
	assert_int_equal(set_state(k, &d, STOP), 0);
	assert_int_equal(d.t->f.msix_pba[0], 1 << 3 | 1 << 5);
	pci_msix_enable(&d.t->f, true);
	pci_cfg_write(&d.t->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_msix_set_entry_masked(&d.t->f, 3, false);
	assert_int_equal(d.t->f.msix_pba[0], 1 << 3 | 1 << 5);
	assert_int_equal(set_state(k, &d, RUNNING), 0);
	assert_int_equal(d.t->f.msix_pba[0], 1 << 5);
	d.data = fake_file(k, CLIENT_FD(3));
	fake_close(k, &d.data);
	fake_session_close(k, &d.s);
}

/* ---- hostile ---- */

static long try_load(struct fake *k, struct dev *d, const void *buf, size_t len)
{
	struct ufile *data;
	long ret;

	assert_int_equal(DO(d->s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(set_state(k, d, RESUMING), 0);
	data = d->data;
	fake_write(k, data, buf, len);
	ret = set_state(k, d, STOP);
	assert_int_equal(get_state(k, d), ret ? ERROR : STOP);
	fake_close(k, &data);
	return ret;
}

static void reseal(uint8_t *b, size_t len)
{
	uint32_t crc = state_crc(0, b, len - 32);

	memcpy(b + len - 8, &crc, 4);
}

static void bad_states_are_refused(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	struct state_record *r;
	static uint8_t bad[16384];
	size_t len;

	memset(d.t->reg, 0x11, TOY_STATE);
	len = save(k, &d, blob, sizeof(bad));
	/* Cut off anywhere. */
	for (size_t n = 0; n < len; n += 1 + n / 64)
		assert_int_equal(try_load(k, &d, blob, n), -EINVAL);
	assert_int_equal(try_load(k, &d, blob, len), 0);
	/* A byte too many. */
	memcpy(bad, blob, len);
	bad[len] = 0;
	assert_int_equal(try_load(k, &d, bad, len + 1), -EINVAL);
	/* Any bit turned over, padding and the checksum included. */
	for (size_t i = 0; i < len; i += 1 + i / 100) {
		memcpy(bad, blob, len);
		bad[i] ^= 1u << i % 8;
		assert_int_equal(try_load(k, &d, bad, len), i >= len - 4 ? 0 : -EINVAL);
	}
	/* Another type, another version, another vendor: with a checksum that is right. */
	memcpy(bad, blob, len);
	memcpy(bad + 16, "top", 3);
	reseal(bad, len);
	assert_int_equal(try_load(k, &d, bad, len), -EINVAL);
	memcpy(bad, blob, len);
	bad[8]++;
	reseal(bad, len);
	assert_int_equal(try_load(k, &d, bad, len), -EINVAL);
	memcpy(bad, blob, len);
	bad[sizeof(struct state_header) + sizeof(*r)]++;
	reseal(bad, len);
	assert_int_equal(try_load(k, &d, bad, len), -EINVAL);
	/* A record that says it is enormous. */
	memcpy(bad, blob, len);
	r = (struct state_record *)(bad + sizeof(struct state_header));
	r->len = UINT32_MAX;
	reseal(bad, len);
	assert_int_equal(try_load(k, &d, bad, len), -EINVAL);
	r->len = UINT32_MAX - 7;
	reseal(bad, len);
	assert_int_equal(try_load(k, &d, bad, len), -EINVAL);
	/* The device is as it was after its reset. */
	assert_int_equal(d.t->reg[0], 0);
	assert_int_equal(DO(d.s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(get_state(k, &d), RUNNING);
	fake_session_close(k, &d.s);
}

/* Someone who writes for ever makes us keep no more than a state can have. */
static void endless_state(void **state)
{
	static uint8_t mib[1 << 20];
	struct fake *k = *state;
	struct dev d = dev_open(k);
	struct ufile *data;

	assert_int_equal(set_state(k, &d, RESUMING), 0);
	data = d.data;
	for (unsigned int i = 0; i < 64; i++)
		fake_write(k, data, mib, sizeof(mib));
	assert_int_equal(set_state(k, &d, STOP), -EINVAL);
	fake_close(k, &data);
	fake_session_close(k, &d.s);
}

/* Readers who stop, close early, or outlive the device. */
static void readers_who_stop(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);
	struct ufile *data;
	uint8_t byte;

	k->stream_room = 10;
	assert_int_equal(set_state(k, &d, STOP_COPY), 0);
	data = d.data;
	assert_int_equal(fake_read(k, data, &byte, 1), 1);
	assert_int_equal(set_state(k, &d, RUNNING), 0); /* ends the transfer in the middle */
	read_all(k, data, blob, sizeof(blob));
	assert_true(fake_at_end(k, data));
	fake_close(k, &data);

	assert_int_equal(set_state(k, &d, PRE_COPY), 0);
	fake_close(k, &d.data);
	assert_int_equal(set_state(k, &d, STOP_COPY), 0); /* into nowhere */
	assert_int_equal(set_state(k, &d, STOP), 0);
	assert_int_equal(set_state(k, &d, RESUMING), 0);
	data = d.data;
	fake_session_close(k, &d.s);
	fake_write(k, data, blob, 100);
	fake_close(k, &data);
}

static void disk_trouble(void **state)
{
	struct fake *k = *state;
	struct dev d = dev_open(k);

	d.t->quiesce_error = -EIO;
	assert_int_equal(set_state(k, &d, STOP), -EIO);
	assert_int_equal(get_state(k, &d), RUNNING);
	assert_int_equal(d.t->f.run, PCI_RUNNING);
	d.t->quiesce_error = 0;
	assert_int_equal(set_state(k, &d, STOP), 0);
	fake_session_close(k, &d.s);
	assert_int_equal(d.t->f.run, PCI_RUNNING);
}

/* The checksum is CRC-32C, however it is computed. */
static void checksum(void **state)
{
	assert_int_equal(state_crc(0, "123456789", 9), 0xe3069283); /* RFC 3720's catalogue value */
	assert_int_equal(state_crc(state_crc(0, "1234", 4), "56789", 5), 0xe3069283);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_step_is_the_first_of_the_shortest_way),
	    cmocka_unit_test(checksum),
	    T(every_pair),
	    T(what_is_offered),
	    T(one_stream),
	    T(large_memory),
	    T(state_arrives),
	    T(interrupts_pend),
	    T(bad_states_are_refused),
	    T(endless_state),
	    T(readers_who_stop),
	    T(disk_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
