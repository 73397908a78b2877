/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

uint64_t *tab;
uint8_t *data, *outside;
uint32_t parent, nested;
static unsigned int ntab;

uint64_t tab_gpa(unsigned int i)
{
	return TAB_GPA + i * PAGE;
}

uint64_t *tab_at(uint64_t gpa)
{
	return tab + (gpa - TAB_GPA) / 8;
}

uint64_t table_new(void)
{
	expect(ntab < TABLES);
	return tab_gpa(ntab++);
}

void set(uint64_t *e, uint64_t v)
{
	__atomic_store_n(e, v, __ATOMIC_SEQ_CST);
}

uint64_t *table_entry(uint64_t root, uint64_t iova, unsigned int level, uint64_t table_bits)
{
	uint64_t *t = tab_at(root);

	for (unsigned int l = 3; l > level; l--) {
		uint64_t *e = &t[iova >> (12 + 9 * l) & 511];

		if (!(*e & 1))
			*e = table_new() | table_bits;
		t = tab_at(*e & 0xfffffffff000UL);
	}
	return &t[iova >> (12 + 9 * level) & 511];
}

uint64_t data_gpa(unsigned int i)
{
	return DATA_GPA + i * PAGE;
}

uint64_t g_iova(unsigned int i)
{
	return G_IOVA + i * PAGE;
}

uint8_t *data_page(unsigned int i)
{
	return data + i * PAGE;
}

void guest_fill(void)
{
	for (unsigned int i = 0; i < DATA; i++) {
		fill_page(data_page(i), 'a' + i);
		fill_page(outside + i * PAGE, 'A' + i);
	}
}

void guest_started(unsigned int tables_used)
{
	expect_eq(hwpt_alloc(dma_ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, 0, NULL, 0, &parent), 0);
	tab = pages_alloc(TABLES * PAGE);
	data = pages_alloc(DATA * PAGE);
	outside = pages_alloc(DATA * PAGE);
	ntab = tables_used;
	nested = 0;
	for (unsigned int i = 0; i < TABLES; i++)
		expect_eq(dma_map(tab_at(tab_gpa(i)), tab_gpa(i), PAGE, RW), 0);
	for (unsigned int i = 0; i < DATA; i++)
		expect_eq(dma_map(data_page(i), data_gpa(i), PAGE, RW), 0);
	guest_fill();
}

void expect_untouched(void)
{
	for (unsigned int i = 0; i < DATA; i++) {
		expect_page(data_page(i), 'a' + i, "what the parent maps elsewhere");
		expect_page(outside + i * PAGE, 'A' + i, "what the parent does not map");
	}
}

void expect_sees_one_of(uint64_t iova, int a, int b)
{
	int c = device_sees(iova);

	if (c != a && c != b)
		fail("a device sees %d at %#llx, neither %d nor %d", c, (unsigned long long)iova, a, b);
}
