/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that builds page tables, and the model of what it built: an array of nodes (an entry each: which addresses it
 * covers, and what it means). The model finds an address by looking at every node, knows no indices and no bits of
 * entries; those are in encode.c, which only writes them.
 */
#ifndef PINFOLD_TESTS_WALK_GUEST_H
#define PINFOLD_TESTS_WALK_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iommu/walk.h"

/* Where the guest's table memory is, to the parent. */
#ifndef GUEST_BASE
#define GUEST_BASE 0x60000000ULL
#endif
#define GUEST_SIZE	(8UL << 20)
#define GUEST_NODES	600
#define GUEST_GROUP_MAX 128

enum {
	RIGHT_READ = 1,
	RIGHT_WRITE = 2,
	RIGHT_USER = 4,
	RIGHT_EXEC = 8,	  /* by users; where a format has one kind, by all */
	RIGHT_PEXEC = 16, /* by the privileged, where a format tells them apart */
	RIGHT_ALL = 31,
	STATE_ACCESSED = 32,
	STATE_DIRTY = 64, /* Arm: may be made writable by a write (DBM) */
	STATE_ALL = 127,
};

enum node_kind { NODE_TABLE, NODE_LEAF, NODE_BAD };

struct node {
	enum node_kind kind;
	uint64_t base;	    /* without the sign extension */
	unsigned int shift; /* log2 of what the node covers */
	unsigned int level;
	bool grouped;			 /* a leaf of many entries: contiguous, NAPOT */
	uint64_t entry_addr;		 /* of its first entry */
	uint64_t out;			 /* table or frame */
	unsigned int bits;		 /* RIGHT_*, STATE_*; of a table: what it lets through */
	unsigned int first, last;	 /* s390: the quarters of the table that exist */
	uint64_t junk;			 /* what its ignored bits hold */
	uint8_t marked[GUEST_GROUP_MAX]; /* per entry: bits that walks have set */
	enum walk_fault fault;		 /* NODE_BAD */
};

struct guest {
	struct walk_config cfg;
	struct walk_mem mem;
	unsigned int levels;
	uint8_t *bytes, *expected; /* what the memory holds, and what it should */
	size_t used;
	struct node nodes[GUEST_NODES];
	unsigned int count;
	uint64_t seed;
	unsigned int loads, updates;
	/* Called before each load and update that will be served. A hook may change bytes; not 0 is what they return.
	 */
	int (*on_load)(struct guest *g, uint64_t addr);
	int (*on_update)(struct guest *g, uint64_t addr);
	unsigned int hook_arg;
};

/* cfg.root is chosen here. The configuration is checked. */
struct guest *guest_new(const struct walk_config *cfg, uint64_t seed);
void guest_free(struct guest *g);
uint64_t guest_random(struct guest *g, uint64_t below);		  /* 0: all 64 bits */
uint64_t *guest_entry(struct guest *g, uint64_t addr);		  /* NULL: not in its memory */
void guest_store(struct guest *g, uint64_t addr, uint64_t entry); /* in the format's byte order; expected too */
uint64_t guest_fetch(struct guest *g, uint64_t addr);

/* Log2 of what one entry of the level covers. */
unsigned int guest_level_shift(const struct guest *g, unsigned int level);
/*
 * Puts something at the address: a leaf or (bad) a faulty entry at the level, with the tables on the way. NULL if
 * something else is there already, or the format has no such leaf or fault. bits: -1 is random, also for the tables.
 */
struct node *guest_put(struct guest *g, uint64_t iova, unsigned int level, bool bad, int bits);
struct node *guest_find(struct guest *g, uint64_t iova, unsigned int level);

/* What a walk should give, and it marks accessed and dirty bits in g->expected. As walk() otherwise. */
int guest_expect(struct guest *g, uint64_t iova, int access, struct walk_result *res, struct walk_fault_info *fault);
/* Walks and compares everything; aborts with a message where they differ. Returns what walk() did. */
int guest_walk(struct guest *g, uint64_t iova, int access, struct walk_result *res, struct walk_fault_info *fault);

/* ---- encode.c ---- */
bool encode_has_leaf(const struct guest *g, unsigned int level);
unsigned int encode_group_bits(const struct guest *g, unsigned int level); /* 0: none there */
uint64_t encode_table(const struct guest *g, const struct node *n);
uint64_t encode_leaf(const struct guest *g, const struct node *n, unsigned int nth);
/* A faulty entry of the level: picks one of those the format has. out: an address that would be good. */
uint64_t encode_bad(struct guest *g, unsigned int level, uint64_t out, enum walk_fault *fault);
/* Bits that this node may have: a format does not tell some apart, or cannot say some. */
unsigned int encode_legal_bits(const struct guest *g, enum node_kind kind, unsigned int bits);

/* Configurations worth trying: the nth for seed, false when there are no more. */
bool guest_config(unsigned int nth, uint64_t seed, struct walk_config *cfg);

#endif
