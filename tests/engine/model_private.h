/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of the model. An IOVA space is an array of cells, one for each page of three small windows; all
 * else is reserved. A struct pages is an array of page numbers with a count of claims beside each, from which what is
 * charged follows.
 */
#ifndef PINFOLD_TESTS_ENGINE_MODEL_PRIVATE_H
#define PINFOLD_TESTS_ENGINE_MODEL_PRIVATE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/event.h"
#include "base/util.h"
#include "iommu/access.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "iommu/iommu.h"
#include "mm/mm.h"

#define PG PF_PAGE_SIZE

enum {
	FILES = 3,	 /* the last one is only ever shown read-only */
	FILE_PAGES = 12, /* at most */
	OBJECTS = 40,	 /* struct pages at a time */
	LIVE = 5,	 /* that the client's side holds at a time */
	OBJECT_PAGES = 12,
	SPACES = 2,
	DOMAINS = 4, /* the last one has a small aperture */
	DEVICES = 2,
	OWNERS = 2,
	HOLDS = 6,   /* pins of one space's access */
	WINDOW = 24, /* pages; three windows: at 0, in the middle, at the very top */
	CELLS = 3 * WINDOW,
	COPY_MAX = 4 * 4096,
	HOLE = 0xff, /* object.file */
};

#define check(x)                                                                                                       \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "model: %s:%d: %s\n", __FILE__, __LINE__, #x);                                 \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct file {
	int fd;
	unsigned int pages; /* its size */
	struct backing *backing;
	uint8_t bytes[FILE_PAGES * 4096];
};

struct object {
	struct pages *pages;
	bool held; /* by the client's side; if not, areas may have it still */
	unsigned int n;
	uint8_t file[OBJECT_PAGES], page[OBJECT_PAGES];
	bool writable[OBJECT_PAGES];
	unsigned int claims[OBJECT_PAGES]; /* of each page */
	unsigned int owner;
	bool write, is_file; /* as configured */
	enum mm_account mode;
};

/* Who reserves: a bit each. */
enum { RESERVED_A = 1, RESERVED_B = 2, RESERVED_DOMAIN = 4 };

/* One IOVA page. */
struct cell {
	unsigned int area; /* 0: not mapped */
	int prot;
	uint8_t object, page; /* page in the object */
	unsigned int reserved;
	bool allowed;
};

struct model;

struct hold {
	unsigned int cell, n; /* n 0: none */
};

struct space {
	struct model *m;
	struct ioas *ioas;
	struct access *access;
	struct hold hold[HOLDS];
	unsigned int domains; /* in it */
	bool any_allowed;
	bool small; /* large pages are off */
	struct cell cell[CELLS];
};

struct dom {
	struct domain *d;
	int space; /* -1: in none */
	bool tracking;
	bool dirty[CELLS];
};

struct device {
	struct dma_dev *dev;
	int dom; /* -1: detached */
	bool master;
};

struct model {
	const uint8_t *in;
	size_t left;
	struct events evs;
	struct event_listener listener;
	struct event fault;
	unsigned int faults;
	uint64_t pin_events;
	struct backing_cache *cache;
	struct mm_user *user;
	struct file file[FILES];
	struct object object[OBJECTS];
	unsigned int objects; /* that are or have been in use */
	struct space space[SPACES];
	struct dom dom[DOMAINS];
	struct device device[DEVICES];
	struct mm_owner *owner[OWNERS];
	uint64_t limit[OWNERS]; /* bytes */
	bool alive[OWNERS];
	unsigned int last_area;
	unsigned char fill;
};

unsigned int take(struct model *m, unsigned int below);
uint64_t cell_iova(unsigned int cell);
int iova_cell(uint64_t iova); /* -1: outside every window */
uint64_t cell_last(unsigned int cell);

/* The pages that are claimed, by owner; in one mode, or (mode < 0) in both. */
unsigned int claimed(const struct model *m, int owner, int mode);
/* As pages_pin and pages_unpin. */
int object_pin(struct model *m, unsigned int object, unsigned int page, unsigned int n);
void object_unpin(struct model *m, unsigned int object, unsigned int page, unsigned int n);
/* A page of an object, as far as it can be reached: its bytes, or NULL. */
uint8_t *object_bytes(struct model *m, unsigned int object, unsigned int page);

/* ---- model_space.c ---- */
void op_pages_new(struct model *m);
void op_pages_put(struct model *m);
void op_map(struct model *m);
void op_map_auto(struct model *m);
void op_copy(struct model *m);
void op_cut(struct model *m);
void op_unmap(struct model *m);
void op_reserve(struct model *m);
void op_allow(struct model *m);
void op_domain(struct model *m);
void op_move(struct model *m);
void op_ask(struct model *m);
void check_areas(struct space *s);
/* Unmaps all that lies in [first, last] in the model, as ioas_unmap does. */
int unmap_model(struct model *m, struct space *s, uint64_t first, uint64_t last, uint64_t *bytes);

/* ---- model_access.c ---- */
void op_access_pin(struct model *m);
void op_access_unpin(struct model *m);
void op_access_rw(struct model *m);
extern const struct access_ops model_access_ops;

#endif
