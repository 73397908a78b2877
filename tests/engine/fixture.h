/* SPDX-License-Identifier: BSD-3-Clause */
/* One client with one IOVA space and one device, for the engine's tests. */
#ifndef PINFOLD_TESTS_ENGINE_FIXTURE_H
#define PINFOLD_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/event.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "iommu/iommu.h"
#include "mm/mm.h"

#define PG 4096UL

struct fixture {
	struct events evs;
	struct event_listener listener;
	struct event last[EVENT_TYPES]; /* the last event of each type */
	unsigned int seen[EVENT_TYPES];
	void (*hook)(struct fixture *f, const struct event *ev); /* called for each event; NULL: none */
	uint64_t limit;						 /* what the owner's limit() answers */
	unsigned int limit_asked;
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct ioas *ioas;
	struct domain *domain; /* in ioas: all 64 bits, pages of 4 KiB, 2 MiB, 1 GiB */
	struct dma_dev *dev;   /* attached to it, bus master on */
};

void fixture_open(struct fixture *f);
/* Checks that nothing is charged, mapped or open any more. */
void fixture_close(struct fixture *f);

int memfd_pages(unsigned int n);	/* a memfd of n pages; page i is filled with 'a' + i */
unsigned int fds_open(void);		/* descriptors of this process */
unsigned int maps_of(const char *name); /* mappings of this process whose name contains name */
/* A domain as the fixture's, but in no space. */
struct domain *domain_plain(struct fixture *f);
/* Unmaps everything; returns the bytes. */
uint64_t unmap_all(struct ioas *io);
/* Pages of a whole memfd of n pages, which devices may write to if the client may; only the pages hold it. */
struct pages *pages_memfd(struct fixture *f, int fd, unsigned int n, bool writable);

#endif
