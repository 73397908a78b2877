/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/precopy.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/util.h"
#include "pci/barmem.h"
#include "pci/migrate.h"
#include "pci/pci.h"

#define STEP_PAGES 4096 /* that a step looks at: it must not take long */
#define RECORDS	   (STATE_RECORDS / 2)
#define GROUP	   512 /* pages that are counted together */

struct precopy {
	struct pci_func *f;
	struct state_out *o;
	uint32_t *saved[PCI_BARS]; /* for each page where in o it stands, in units of 8 bytes; 0: it was zero */
	unsigned int records;
	uint64_t room; /* bytes that may be appended before the function stops */
	/* Of each group, how many pages had changed when it was looked at last; and which group is the next. */
	uint16_t *dirty[PCI_BARS];
	unsigned int dirty_bar;
	uint64_t dirty_group;
	/* Where the next step looks, and how many pages in a row have been found as they were. */
	unsigned int bar;
	uint64_t page, quiet, pages;
};

struct precopy *precopy_new(struct pci_func *f, struct state_out *o)
{
	struct precopy *p = mem_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->f = f;
	p->o = o;
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		uint64_t n = f->bar[i].mem ? f->bar[i].size / PF_PAGE_SIZE : 0;

		if (!n)
			continue;
		p->pages += n;
		p->saved[i] = mem_calloc(n, sizeof(*p->saved[i]));
		p->dirty[i] = mem_calloc(DIV_ROUND_UP(n, GROUP), sizeof(*p->dirty[i]));
		if (!p->saved[i] || !p->dirty[i]) {
			precopy_free(p);
			return NULL;
		}
	}
	/* Three times all of it is what a reader expects at most (pci_save_max): the last for when it has stopped. */
	p->room = 2 * p->pages * sizeof(struct state_page);
	return p;
}

void precopy_free(struct precopy *p)
{
	if (!p)
		return;
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		free(p->saved[i]);
		free(p->dirty[i]);
	}
	free(p);
}

/* The page as it is now, if it is not as it was saved last. A page that a client has taken away is not there for the
 * device either: it stays as it was. */
static bool changed(const struct precopy *p, unsigned int bar, uint64_t page, struct state_page *now)
{
	static const uint8_t zeros[PF_PAGE_SIZE];
	uint32_t at = p->saved[bar][page];
	const uint8_t *before = at ? p->o->buf + at * 8ull : zeros;

	now->off = page * PF_PAGE_SIZE;
	return !barmem_read(p->f->bar[bar].mem, now->off, now->data, sizeof(now->data)) &&
	       memcmp(now->data, before, sizeof(now->data));
}

/* [first, end) of a BAR, as one record if there is anything; without memory for it, it is left for later. */
static bool append_changed(struct precopy *p, unsigned int bar, uint64_t first, uint64_t end)
{
	struct state_page now;
	bool any = false;

	for (uint64_t i = first; i < end && p->room >= sizeof(now); i++) {
		if (!changed(p, bar, i, &now))
			continue;
		if (!state_reserve(p->o, sizeof(struct state_record) + sizeof(uint64_t) + sizeof(now)))
			break;
		if (!any) {
			state_begin(p->o, STATE_EARLY, 1, STATE_REPEATED);
			state_put_u64(p->o, bar);
			p->records++;
		}
		any = true;
		state_put(p->o, &now, sizeof(now));
		p->saved[bar][i] = (p->o->len - sizeof(now.data)) / 8;
		p->room -= sizeof(now);
	}
	if (any)
		state_end(p->o);
	return any;
}

bool precopy_begin(struct precopy *p)
{
	uint64_t left = STEP_PAGES;

	for (; p->bar < PCI_BARS; p->bar++, p->page = 0) {
		uint64_t size = p->saved[p->bar] ? p->f->bar[p->bar].size / PF_PAGE_SIZE : 0;
		uint64_t n = MIN(left, size - p->page);

		if (n)
			append_changed(p, p->bar, p->page, p->page + n);
		left -= n;
		p->page += n;
		if (p->page < size)
			return false;
	}
	p->bar = 0;
	return true;
}

bool precopy_step(struct precopy *p)
{
	uint64_t left = STEP_PAGES;
	bool any = false;

	while (left && p->quiet < p->pages && p->records < RECORDS && p->room >= sizeof(struct state_page)) {
		uint64_t size = p->saved[p->bar] ? p->f->bar[p->bar].size / PF_PAGE_SIZE : 0;
		uint64_t n = MIN(left, size - p->page);

		p->quiet += n;
		if (n && append_changed(p, p->bar, p->page, p->page + n)) {
			p->quiet = 0;
			any = true;
		}
		left -= n;
		p->page += n;
		if (p->page == size) {
			p->page = 0;
			p->bar = (p->bar + 1) % PCI_BARS;
		}
	}
	if (left)
		p->quiet = 0;
	return any || !left;
}

static void count_group(struct precopy *p, unsigned int bar, uint64_t group)
{
	uint64_t first = group * GROUP, end = MIN(first + GROUP, p->f->bar[bar].size / PF_PAGE_SIZE);
	struct state_page now;

	p->dirty[bar][group] = 0;
	for (uint64_t i = first; i < end; i++)
		p->dirty[bar][group] += changed(p, bar, i, &now);
}

static uint64_t groups_of(const struct precopy *p, unsigned int bar)
{
	return p->dirty[bar] ? DIV_ROUND_UP(p->f->bar[bar].size / PF_PAGE_SIZE, GROUP) : 0;
}

uint64_t precopy_dirty(struct precopy *p)
{
	uint64_t total = 0, n = 0;

	if (p->records == RECORDS)
		return 0;
	for (unsigned int i = 0; i < PCI_BARS; i++)
		total += groups_of(p, i);
	for (uint64_t left = MIN(total, (uint64_t)STEP_PAGES / GROUP); left;) {
		if (p->dirty_group >= groups_of(p, p->dirty_bar)) {
			p->dirty_bar = (p->dirty_bar + 1) % PCI_BARS;
			p->dirty_group = 0;
			continue;
		}
		count_group(p, p->dirty_bar, p->dirty_group++);
		left--;
	}
	for (unsigned int i = 0; i < PCI_BARS; i++)
		for (uint64_t g = 0; g < groups_of(p, i); g++)
			n += p->dirty[i][g];
	return MIN(n * sizeof(struct state_page), p->room);
}

void precopy_rest(struct precopy *p, unsigned int bar)
{
	struct state_page now;

	for (uint64_t i = 0; i < p->f->bar[bar].size / PF_PAGE_SIZE && !p->o->failed; i++)
		if (changed(p, bar, i, &now))
			state_put(p->o, &now, sizeof(now));
}
