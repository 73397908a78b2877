/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of the memory behind mappings: against a model, page by page. */
#include "check/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/channel.h"

#define PAGES	 48
#define SESSIONS 2
#define STEPS	 60000
#define IOAS	 7

/* Of each page of the IOVA space. */
static struct page {
	uint64_t session, va; /* session 0: not mapped */
	unsigned int lost;    /* kind + 1; 0: not */
} model[PAGES];

static void model_gone(void *ctx, const struct mapping_note *n)
{
	for (uint64_t p = n->node.start; p <= n->node.last; p += PF_PAGE_SIZE) {
		struct page *m = &model[p / PF_PAGE_SIZE];

		assert_true(m->session == n->session && m->va == n->va + (p - n->node.start));
		*m = (struct page){0};
	}
	++*(unsigned int *)ctx;
}

static void unmap(struct history *h, unsigned int first, unsigned int n)
{
	struct mapping_note by = {.gone_ns = 1};
	unsigned int gone = 0, there = 0;

	for (unsigned int i = first; i < first + n; i++)
		there += !!model[i].session;
	history_unmap(h, IOAS, first * PF_PAGE_SIZE, n * PF_PAGE_SIZE, &by, model_gone, &gone);
	assert_int_equal(!gone, !there);
	for (unsigned int i = first; i < first + n; i++)
		assert_int_equal(model[i].session, 0);
}

static void map(struct history *h, unsigned int first, unsigned int n, uint64_t session, uint64_t va)
{
	struct mapping_note note = {.session = session, .va = va * PF_PAGE_SIZE};

	for (unsigned int i = first; i < first + n; i++)
		if (model[i].session)
			return;
	history_map(h, IOAS, first * PF_PAGE_SIZE, n * PF_PAGE_SIZE, &note);
	for (unsigned int i = 0; i < n; i++)
		model[first + i] = (struct page){session, (va + i) * PF_PAGE_SIZE, 0};
}

static bool within(const struct page *m, uint64_t session, uint64_t va, uint64_t n)
{
	return m->session == session && m->va / PF_PAGE_SIZE - va < n;
}

static void lose(struct history *h, uint64_t session, uint64_t va, uint64_t n, unsigned int kind)
{
	struct lost_note note = {.kind = kind};

	history_lose(h, session, va * PF_PAGE_SIZE, (va + n) * PF_PAGE_SIZE - 1, &note);
	for (unsigned int i = 0; i < PAGES; i++)
		if (within(&model[i], session, va, n) && !model[i].lost)
			model[i].lost = kind + 1;
}

static void regain(struct history *h, uint64_t session, uint64_t va, uint64_t n, unsigned int kind)
{
	history_regain(h, session, va * PF_PAGE_SIZE, (va + n) * PF_PAGE_SIZE - 1, kind);
	for (unsigned int i = 0; i < PAGES; i++)
		if (within(&model[i], session, va, n) && model[i].lost == kind + 1)
			model[i].lost = 0;
}

static void move(struct history *h, uint64_t session, uint64_t va, uint64_t n, uint64_t to)
{
	if (to < va + n && va < to + n)
		return;
	history_move(h, session, va * PF_PAGE_SIZE, (va + n) * PF_PAGE_SIZE - 1, to * PF_PAGE_SIZE);
	for (unsigned int i = 0; i < PAGES; i++)
		if (within(&model[i], session, va, n))
			model[i].va += (to - va) * PF_PAGE_SIZE;
}

static void compare(struct history *h)
{
	unsigned int lost = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t at = i * PF_PAGE_SIZE;
		const struct lost_note *l = history_lost(h, IOAS, at, at + PF_PAGE_SIZE - 1);
		const struct mapping_note *n = history_live(h, IOAS, at);

		assert_int_equal(!!n, !!model[i].session);
		assert_int_equal(l ? l->kind + 1 : 0, model[i].lost);
		if (n)
			assert_true(n->session == model[i].session && n->va + (at - n->node.start) == model[i].va);
		if (n)
			assert_true(history_has_va(h, n->session, model[i].va, model[i].va));
		lost += !!l;
	}
	assert_int_equal(history_has_lost(h), !!lost);
}

static void random_changes(void **state)
{
	struct history *h = history_new();

	(void)state;
	srand(1);
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int first = rand() % PAGES, n = 1 + rand() % MIN(8u, PAGES - first);
		uint64_t session = 1 + rand() % SESSIONS, va = 16 + rand() % 40, to = 16 + rand() % 40;
		unsigned int len = 1 + rand() % 8, kind = rand() % (CHANGE_CUT + 1);

		switch (rand() % 6) {
		case 0:
		case 1:
			map(h, first, n, session, va);
			break;
		case 2:
			unmap(h, first, n);
			break;
		case 3:
			lose(h, session, va, len, kind);
			break;
		case 4:
			regain(h, session, va, len, kind);
			break;
		case 5:
			move(h, session, va, len, to);
			break;
		}
		compare(h);
	}
	unmap(h, 0, PAGES);
	compare(h);
	history_free(h);
}

/* However often it happens, what is kept has an end; and what is kept is the last. */
static void bounded(void **state)
{
	struct history *h = history_new();
	struct mapping_note note = {.session = 1};
	struct lost_note lost = {.kind = CHANGE_UNMAPPED};
	const uint64_t n = 200000;

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		note.va = 2 * i * PF_PAGE_SIZE;
		history_map(h, IOAS, 2 * i * PF_PAGE_SIZE, PF_PAGE_SIZE, &note);
		history_lose(h, 1, note.va, note.va, &lost);
	}
	assert_null(history_lost(h, IOAS, 0, 0));
	assert_non_null(history_lost(h, IOAS, note.va, note.va));
	history_free(h);
}

/* What lies at the ends of the addresses, and what would lie beyond. */
static void edges(void **state)
{
	struct history *h = history_new();
	struct mapping_note top = {.session = 1, .va = UINT64_MAX - PF_PAGE_SIZE + 1}, beyond = top;
	struct lost_note lost = {.kind = CHANGE_FREED};

	(void)state;
	history_map(h, IOAS, 0, PF_PAGE_SIZE, &top);
	history_map(h, IOAS, PF_PAGE_SIZE, 2 * PF_PAGE_SIZE, &beyond);
	history_lose(h, 1, 0, UINT64_MAX, &lost);
	assert_non_null(history_lost(h, IOAS, 0, 0));
	assert_null(history_lost(h, IOAS, PF_PAGE_SIZE, UINT64_MAX));
	history_move(h, 1, UINT64_MAX - 10, UINT64_MAX, 0);
	assert_true(history_has_va(h, 1, 10, 10) && !history_has_va(h, 1, 11, 11));
	history_regain(h, 1, 0, UINT64_MAX, CHANGE_FREED);
	assert_false(history_has_lost(h));
	history_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_changes), cmocka_unit_test(bounded),
					   cmocka_unit_test(edges)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
