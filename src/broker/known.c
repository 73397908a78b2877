/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that a client has shown us, which is its right to name them. Every file of memory that a client maps comes
 * by here and a client can map many, so they are found by a hash, whose seed the client does not know.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/private.h"
#include "pci/pci.h"
#include "vfio/vfio.h"

struct known {
	struct list bucket, age; /* age: in known_files.holds while held */
	struct backing_key key;
	struct backing *held; /* not NULL: HOLD */
};

/* Some of those files, as they were known at one moment. */
struct known_list {
	size_t n;
	struct {
		struct backing_key key;
		struct backing *held;
	} file[];
};

static struct list *bucket_of(struct known_files *k, uint64_t dev, uint64_t ino)
{
	return &k->bucket[seeded_hash(k->seed, dev, ino) % KNOWN_BUCKETS];
}

static struct known *known_find(struct known_files *k, uint64_t dev, uint64_t ino)
{
	struct known *n;

	list_for_each (n, bucket_of(k, dev, ino), bucket)
		if (n->key.ino == ino && n->key.dev == dev)
			return n;
	return NULL;
}

static void known_free(struct known_files *k, struct known *n)
{
	list_del(&n->bucket);
	list_del(&n->age);
	k->count--;
	if (n->held) {
		k->held--;
		backing_put(n->held);
	}
	free(n);
}

void known_init(struct known_files *k, struct vfio *v, uint64_t seed)
{
	k->vfio = v;
	k->seed = seed;
	k->count = k->held = 0;
	list_init(&k->age);
	list_init(&k->holds);
	for (unsigned int i = 0; i < KNOWN_BUCKETS; i++)
		list_init(&k->bucket[i]);
}

void known_fini(struct known_files *k)
{
	while (!list_empty(&k->age))
		known_free(k, list_first(&k->age, struct known, age));
	while (!list_empty(&k->holds))
		known_free(k, list_first(&k->holds, struct known, age));
}

static struct known *known_add(struct known_files *k, struct backing_key key)
{
	struct known *n = known_find(k, key.dev, key.ino);

	if (n) {
		n->key.writable |= key.writable;
		return n;
	}
	n = mem_alloc(sizeof(*n));
	if (!n)
		return NULL;
	if (k->count == KNOWN_MAX)
		known_free(k, list_first(&k->age, struct known, age));
	*n = (struct known){.key = key};
	list_add(bucket_of(k, key.dev, key.ino), &n->bucket);
	list_add_tail(&k->age, &n->age);
	k->count++;
	return n;
}

struct backing *known_backing(struct known_files *k, struct backing_cache *c, uint64_t dev, uint64_t ino)
{
	struct known *n = known_find(k, dev, ino);

	if (!n)
		return NULL;
	if (!n->held) {
		list_del(&n->age);
		list_add_tail(&k->age, &n->age);
	}
	return backing_find_key(c, n->key);
}

/* A BAR's memory is no client's, whatever descriptors of it he has: it would outlast its revocation (rules A4, B3). */
static bool is_device_memory(const struct known_files *k, struct backing_key key)
{
	const struct pci_func *f;

	for (size_t i = 0; k->vfio && (f = vfio_func(k->vfio, i)); i++)
		if (pci_owns_file(f, key.dev, key.ino))
			return true;
	return false;
}

int known_show(struct known_files *k, struct backing_cache *c, int fd, struct backing **out)
{
	struct backing *b;
	int err = backing_get_fd(c, fd, &b);

	if (err)
		return err;
	if (is_device_memory(k, backing_key(b))) {
		backing_put(b);
		return -EFAULT;
	}
	if (!known_add(k, backing_key(b))) {
		backing_put(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

/* Takes the reference to b over, which n is about. */
static int known_keep(struct known_files *k, struct known *n, struct backing *b)
{
	if (n->held || k->held == HELD_MAX) {
		backing_put(b);
		return n->held ? 0 : -EMFILE;
	}
	n->held = b;
	k->held++;
	list_del(&n->age);
	list_add_tail(&k->holds, &n->age);
	return 0;
}

int known_hold(struct known_files *k, struct backing_cache *c, int fd)
{
	struct backing *b;
	int err = known_show(k, c, fd, &b);

	return err ? err : known_keep(k, known_find(k, backing_key(b).dev, backing_key(b).ino), b);
}

void known_drop(struct known_files *k, uint64_t dev, uint64_t ino)
{
	struct known *n = known_find(k, dev, ino);

	if (n && n->held)
		known_free(k, n);
}

struct known_list *known_copy(const struct known_files *k, struct backing_cache *c)
{
	size_t max = MIN(k->count, KNOWN_COPY_MAX);
	struct known_list *l = mem_alloc(sizeof(*l) + max * sizeof(l->file[0]));
	const struct known *n;

	if (!l)
		return NULL;
	l->n = 0;
	list_for_each (n, &k->holds, age) {
		struct backing_key key = backing_key(n->held);

		l->file[l->n].key = n->key;
		l->file[l->n++].held = backing_find_key(c, key);
	}
	for (const struct list *at = k->age.prev; at != &k->age && l->n < max; at = at->prev) {
		l->file[l->n].key = list_entry(at, struct known, age)->key;
		l->file[l->n++].held = NULL;
	}
	return l;
}

void known_list_free(struct known_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		backing_put(l->file[i].held);
	free(l);
}

int known_inherit(struct known_files *k, struct known_list *l)
{
	int err = 0;

	/* The most recent came first. */
	while (l->n && !err) {
		__typeof__(l->file[0]) *f = &l->file[--l->n];
		struct known *n = known_add(k, f->key);

		err = n ? 0 : -ENOMEM;
		if (f->held && n)
			err = known_keep(k, n, f->held);
		else
			backing_put(f->held);
	}
	known_list_free(l);
	return err;
}
