/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that a client has shown us, which is its right to name them. Every file of memory that a client maps comes
 * by here and a client can map many, so they are found by a hash, whose seed the client does not know.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/private.h"

struct known {
	struct list bucket, age;
	struct backing_key key;
	struct backing *held; /* not NULL: HOLD */
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

void known_init(struct known_files *k, uint64_t seed)
{
	k->seed = seed;
	k->count = k->held = 0;
	list_init(&k->age);
	for (unsigned int i = 0; i < KNOWN_BUCKETS; i++)
		list_init(&k->bucket[i]);
}

void known_fini(struct known_files *k)
{
	while (!list_empty(&k->age))
		known_free(k, list_first(&k->age, struct known, age));
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
	list_del(&n->age);
	list_add_tail(&k->age, &n->age);
	return backing_find_key(c, n->key);
}

int known_show(struct known_files *k, struct backing_cache *c, int fd, struct backing **out)
{
	struct backing *b;
	int err = backing_get_fd(c, fd, &b);

	if (err)
		return err;
	if (!known_add(k, backing_key(b))) {
		backing_put(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

int known_hold(struct known_files *k, struct backing_cache *c, int fd)
{
	struct backing *b;
	struct known *n;
	int err = known_show(k, c, fd, &b);

	if (err)
		return err;
	n = known_find(k, backing_key(b).dev, backing_key(b).ino);
	if (n->held || k->held == HELD_MAX) {
		err = n->held ? 0 : -EMFILE;
		backing_put(b);
		return err;
	}
	n->held = b;
	k->held++;
	return 0;
}

void known_drop(struct known_files *k, uint64_t dev, uint64_t ino)
{
	struct known *n = known_find(k, dev, ino);

	if (n && n->held)
		known_free(k, n);
}
