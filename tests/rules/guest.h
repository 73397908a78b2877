/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest has that brings tables of its own: pages for them and for data, behind a parent that maps them, and
 * memory beside it that the parent does not map.
 *
 * "gpa" is an address that the parent translates, "iova" one that the tables do.
 */
#ifndef PINFOLD_TESTS_GUEST_H
#define PINFOLD_TESTS_GUEST_H

#include "rules.h"

#define TABLES	 48u
#define TAB_GPA	 0x40000000UL
#define DATA_GPA 0x50000000UL
#define HOLE_GPA 0x60000000UL
#define G_IOVA	 (5UL << 39 | 3UL << 30) /* shares nothing but the root with where the controller's queues are */
#define DATA	 6u

extern uint64_t *tab; /* TABLES pages; the parent has the i-th at TAB_GPA + i pages, each an area of its own */
extern uint8_t *data, *outside; /* DATA pages that the parent maps, and as many that it does not */
extern uint32_t parent, nested;

/* The parent over dma_ioas, and all of the memory; the first so many pages of tables are not table_new()'s to give. */
void guest_started(unsigned int tables_used);
/* The i-th page of data holds 'a' + i, that outside 'A' + i. */
void guest_fill(void);
void expect_untouched(void);

uint64_t tab_gpa(unsigned int i);
uint64_t *tab_at(uint64_t gpa);
uint64_t table_new(void);
/* The entry for iova in a table of this level, 3 being the root's; tables on the way that are not there are made. */
uint64_t *table_entry(uint64_t root, uint64_t iova, unsigned int level, uint64_t table_bits);
void set(uint64_t *e, uint64_t v); /* at once, as a table is changed that somebody walks */

uint64_t data_gpa(unsigned int i);
uint64_t g_iova(unsigned int i);
uint8_t *data_page(unsigned int i);
void expect_sees_one_of(uint64_t iova, int a, int b);

#endif
