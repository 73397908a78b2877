/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stream of an SMMUv3 against a plain model of IHI 0070 and of VMSAv8-64, over memory that says anything: each
 * aligned word of the guest's memory is a descriptor that may be a table, a block or a page, some are context
 * descriptors and pointers to them. What the model keeps is a copy of the guest's memory, which must stay equal to it.
 */
#include "fixture.h"

#include <endian.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "iommu/smmu.h"

#define GUEST  0x100000ULL /* where the parent has it; nothing else is mapped */
#define PAGES  128u
#define BYTES  (PAGES * PG)
#define ROUNDS 60000u

static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool once_in(unsigned int n)
{
	return rnd() % n == 0;
}

static uint64_t pick(const uint64_t *v, size_t n)
{
	return v[rnd() % n];
}
#define PICK(...) pick((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

/* ---- the model ---- */

struct outcome {
	int event;	/* 0: none is recorded */
	bool reached;	/* the guest's memory, at: */
	uint64_t at;	/* from GUEST */
	bool addressed; /* the event has the address */
};

static uint8_t shadow[BYTES];

static bool m_load(uint64_t addr, uint64_t *v)
{
	if (addr < GUEST || addr - GUEST > BYTES - 8)
		return false;
	memcpy(v, shadow + (addr - GUEST), 8);
	return true;
}

static uint64_t field(uint64_t v, unsigned int hi, unsigned int lo)
{
	return v >> lo & (~0ULL >> (63 - hi + lo));
}

static struct outcome event(int what)
{
	return (struct outcome){.event = what, .addressed = what >= 0x10};
}

static struct outcome silent(void)
{
	return (struct outcome){0};
}

static struct outcome m_output(uint64_t ipa)
{
	if (ipa < GUEST || ipa - GUEST >= BYTES)
		return silent();
	return (struct outcome){.reached = true, .at = ipa - GUEST};
}

static struct outcome m_walk(const uint64_t cd[3], bool high, uint64_t iova, bool write)
{
	static const unsigned int tg0[] = {12, 16, 14}, tg1[] = {0, 14, 12, 16}, ips_bits[] = {32, 36, 40, 42, 44};
	unsigned int tsz = high ? field(cd[0], 21, 16) : field(cd[0], 5, 0), bits = 64 - tsz;
	unsigned int g = high ? tg1[field(cd[0], 23, 22)] : tg0[field(cd[0], 7, 6)], stride = g - 3;
	unsigned int ips = field(cd[0], 34, 32), out = ips < 5 ? ips_bits[ips] : 48;
	bool big = field(cd[0], 15, 15), affd = field(cd[0], 35, 35), ha = field(cd[0], 43, 43);
	bool hd = ha && field(cd[0], 42, 42), flat = field(cd[1 + high], 1, 1), record = field(cd[0], 45, 45);
	unsigned int levels = (bits - g + stride - 1) / stride;
	uint64_t base = field(cd[1 + high], 51, 4) << 4, va = iova & (~0ULL >> tsz);
	bool no_user = false, no_write = false;
#define FAULT(e) return record ? event(e) : silent()

	base &= ~((8ULL << (bits - g - (levels - 1) * stride)) - 1);
	for (unsigned int l = levels; l--;) {
		unsigned int shift = g + l * stride;
		uint64_t i = l == levels - 1 ? va >> shift : va >> shift & ((1ULL << stride) - 1);
		uint64_t where = base + 8 * i, raw, d, to;

		if (where >> out)
			FAULT(0x11);
		if (!m_load(where, &raw))
			return silent();
		d = big ? be64toh(raw) : raw;
		if (!(d & 1))
			FAULT(0x10);
		if (l && d & 2) {
			to = field(d, 47, g) << g;
			if (to >> out)
				FAULT(0x11);
			no_user |= !flat && field(d, 61, 61);
			no_write |= !flat && field(d, 62, 62);
			base = to;
			continue;
		}
		if (l ? !(l == 1 || (g == 12 && l == 2)) : !(d & 2))
			FAULT(0x10);
		to = field(d, 47, shift) << shift | (va & ((1ULL << shift) - 1));
		if (to >> out)
			FAULT(0x11);
		if (!field(d, 10, 10) && !affd && !ha)
			FAULT(0x12);
		bool ro = field(d, 7, 7), clean = ro && hd && field(d, 51, 51);

		if (!field(d, 6, 6) || no_user || (write && ((ro && !clean) || no_write)))
			FAULT(0x13);
		if (ha)
			d |= 1 << 10;
		if (clean && write)
			d &= ~(1ULL << 7);
		raw = big ? htobe64(d) : d;
		memcpy(shadow + (where - GUEST), &raw, 8);
		return m_output(to);
	}
	return silent();
}

/* What an SMMU cannot do, or nobody could mean. */
static bool m_cd_illegal(const uint64_t cd[3])
{
	static const unsigned int ips_bits[] = {32, 36, 40, 42, 44};
	unsigned int ips = field(cd[0], 34, 32), out = ips < 5 ? ips_bits[ips] : 48;

	if (!field(cd[0], 31, 31) || !field(cd[0], 41, 41) || field(cd[0], 44, 44) || !field(cd[0], 46, 46))
		return true;
	for (unsigned int i = 0; i < 2; i++) {
		unsigned int tsz = i ? field(cd[0], 21, 16) : field(cd[0], 5, 0);

		if (field(cd[0], i ? 30 : 14, i ? 30 : 14))
			continue;
		if (tsz < 16 || tsz > 39 || (i ? !field(cd[0], 23, 22) : field(cd[0], 7, 6) == 3))
			return true;
		if ((field(cd[1 + i], 51, 4) << 4) >> out)
			return true;
	}
	return false;
}

static struct outcome model(uint64_t ste0, uint64_t ste1, uint32_t ssid, uint64_t iova, bool write)
{
	unsigned int config = field(ste0, 3, 1), fmt = field(ste0, 5, 4), max = field(ste0, 63, 59), dss = ste1 & 3;
	uint64_t at = field(ste0, 51, 6) << 6, cd[3], l1;
	unsigned int leaf = fmt == 2 ? 10 : 6;
	bool high = field(iova, 55, 55);
	uint64_t top = iova;

	if (!(ste0 & 1) || config == 0)
		return silent();
	if (config == 4)
		return ssid ? event(0x08) : m_output(iova);
	if (field(ste1, 27, 27) || max > 20 || (max && (fmt == 3 || dss == 3)))
		return event(0x04);
	if (ssid && ssid >= (max ? 1u << max : 0))
		return event(0x08);
	if (!ssid && max && dss == 0)
		return event(0x06);
	if (!ssid && max && dss == 1)
		return m_output(iova);
	if (!max || fmt == 0) {
		at = at / (64ULL << max) * (64ULL << max) + 64ULL * ssid;
	} else {
		if (max > leaf)
			at = at / (8ULL << (max - leaf)) * (8ULL << (max - leaf));
		if (!m_load(at + 8ULL * (ssid >> leaf), &l1))
			return silent();
		if (!(l1 & 1))
			return event(0x08);
		at = (field(l1, 51, 12) << 12) / (64ULL << leaf) * (64ULL << leaf) + 64ULL * (ssid % (1u << leaf));
	}
	for (unsigned int i = 0; i < 3; i++)
		if (!m_load(at + 8 * i, &cd[i]))
			return silent();
	if (m_cd_illegal(cd))
		return event(0x0a);
	if (field(cd[0], 38 + high, 38 + high))
		top = high ? iova | 0xffULL << 56 : iova & ~(0xffULL << 56);
	unsigned int bits = 64 - (high ? field(cd[0], 21, 16) : field(cd[0], 5, 0));

	if (field(cd[0], high ? 30 : 14, high ? 30 : 14) ||
	    (high ? top < -(1ULL << (bits - 1)) - (1ULL << (bits - 1)) : top >> bits))
		return field(cd[0], 45, 45) ? event(0x10) : silent();
	return m_walk(cd, high, iova, write);
}

/* ---- what is random ---- */

static uint64_t random_ipa(unsigned int shift)
{
	if (once_in(24))
		return PICK(0, GUEST - PG, GUEST + BYTES, 1ULL << 33, 1ULL << 47, 0xffffffff0000) >> shift << shift;
	return (GUEST + rnd() % BYTES) >> shift << shift;
}

static uint64_t random_descriptor(void)
{
	uint64_t d = random_ipa(12) | 1 | 1 << 6 | 1 << 10;

	if (!once_in(6))
		d |= 2;
	if (once_in(24))
		d &= ~PICK(1, 1 << 6, 1 << 10);
	if (once_in(4))
		d |= PICK(1 << 7, 1 << 7 | 1ULL << 51, 1ULL << 51, 1ULL << 52, 1ULL << 53, 1ULL << 54, 1ULL << 63);
	if (once_in(24))
		d |= PICK(1ULL << 61, 1ULL << 62);
	return once_in(40) ? rnd() : d;
}

static void random_cd(uint64_t cd[3])
{
	uint64_t sizes[] = {rnd() % 24 + 16, rnd() % 24 + 16};

	cd[0] = (once_in(20) ? rnd() & 63 : sizes[0]) | (once_in(20) ? rnd() & 63 : sizes[1]) << 16;
	cd[0] |= (once_in(30) ? 3 : rnd() % 3) << 6 | (once_in(30) ? 0 : 1 + rnd() % 3) << 22;
	cd[0] |= 1ULL << 31 | (once_in(6) ? rnd() & 7 : 5) << 32 | 1ULL << 41 | 1ULL << 45 | 1ULL << 46 |
		 (rnd() & 0xffff) << 48;
	if (once_in(3))
		cd[0] ^= PICK(1 << 14, 1 << 15, 1 << 30, 1ULL << 35, 1ULL << 38, 1ULL << 39, 1ULL << 45);
	if (once_in(3))
		cd[0] |= PICK(1ULL << 43, 3ULL << 42, 1ULL << 42);
	if (once_in(20))
		cd[0] ^= PICK(1ULL << 31, 1ULL << 41, 1ULL << 44, 1ULL << 46);
	for (unsigned int i = 1; i < 3; i++)
		cd[i] =
		    random_ipa(12) | (once_in(6) ? 2 : 0) | (once_in(30) ? 1ULL << 50 : 0) | (once_in(10) ? 0x7f0 : 0);
}

static void random_ste(uint64_t ste[2])
{
	uint64_t max = once_in(3) ? 0 : once_in(16) ? rnd() & 31 : rnd() % 21;

	ste[0] = 1 | PICK(5, 5, 5, 5, 5, 5, 4, 0) << 1 | (once_in(16) ? 3 : rnd() % 3) << 4 | random_ipa(6) | max << 59;
	if (once_in(30))
		ste[0] &= ~1ULL;
	ste[1] = (once_in(16) ? 3 : PICK(0, 1, 2, 2, 2)) | (once_in(40) ? 1 << 27 : 0);
}

/* Mostly where a table has something. */
static uint64_t random_iova(void)
{
	uint64_t v = rnd() & ~7ULL;

	switch (rnd() % 8) {
	case 0:
		return v;
	case 1:
		return GUEST + v % BYTES;
	case 2:
		return v | 0xffffULL << 48;
	case 3:
		return (v & 0xffffffffff) | 0xffffffULL << 40;
	case 4:
		return (v & 0xffffffff) | 0xabULL << 56;
	case 5:
		return v & 0xffffffffffff;
	default:
		return v & 0xffffffff;
	}
}

/* ---- the test ---- */

struct told {
	unsigned int n;
	struct smmu_record r;
};

static void tell(void *ctx, const struct dma_dev *who, const struct smmu_record *r)
{
	struct told *t = ctx;

	t->n++;
	t->r = *r;
}

struct guest {
	struct fixture f;
	struct pages *p;
	uint8_t *mem;
	int fd;
	struct dma_dev *dev;
	struct domain *d;
	struct smmu_stream *s;
	struct told told;
};

static void guest_open(struct guest *n)
{
	fixture_open(&n->f);
	n->fd = memfd_pages(PAGES);
	n->mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, n->fd, 0);
	assert_ptr_not_equal(n->mem, MAP_FAILED);
	n->p = pages_memfd(&n->f, n->fd, PAGES, true);
	assert_int_equal(ioas_map(n->f.ioas, IOVA(GUEST), BYTES, n->p, 0, 3), 0);
	n->dev = dma_dev_new(0x100, &n->f.evs);
	assert_int_equal(dma_dev_set_pasid_bits(n->dev, 20), 0);
	dma_dev_set_master(n->dev, true);
	n->d = NULL;
	n->s = NULL;
}

static void stream_end(struct guest *n)
{
	dma_dev_detach(n->dev);
	domain_free(n->d);
	smmu_stream_free(n->s);
}

static void stream_begin(struct guest *n, const uint64_t ste[2])
{
	stream_end(n);
	n->s = smmu_stream_new(ste[0], ste[1], tell, &n->told);
	n->d = domain_new_nested(n->f.domain, NULL);
	assert_non_null(n->s);
	assert_non_null(n->d);
	smmu_stream_serve(n->s, n->d);
	dma_dev_attach(n->dev, n->d);
}

static void guest_close(struct guest *n)
{
	stream_end(n);
	dma_dev_free(n->dev);
	munmap(n->mem, BYTES);
	pages_put(n->p);
	close(n->fd);
	fixture_close(&n->f);
}

static void put(struct guest *n, uint64_t at, const void *from, size_t len)
{
	memcpy(n->mem + at, from, len);
	memcpy(shadow + at, from, len);
}

static void soup(struct guest *n, bool big)
{
	for (uint64_t at = 0; at < BYTES; at += 8) {
		uint64_t d = random_descriptor();

		d = big ? htobe64(d) : d;
		put(n, at, &d, 8);
	}
}

/* Where the stream's descriptor for ssid would be, a good one is; the way there is paved. */
static void pave(struct guest *n, const uint64_t ste[2], uint32_t ssid)
{
	unsigned int fmt = field(ste[0], 5, 4), max = field(ste[0], 63, 59), leaf = fmt == 2 ? 10 : 6;
	uint64_t at = field(ste[0], 51, 6) << 6, cd[3], l1;

	if (max > 20)
		return;
	if (!max || fmt == 0) {
		at = at / (64ULL << max) * (64ULL << max) + 64ULL * ssid;
	} else {
		if (max > leaf)
			at = at / (8ULL << (max - leaf)) * (8ULL << (max - leaf));
		at += 8ULL * (ssid >> leaf);
		if (at < GUEST || at - GUEST > BYTES - 8)
			return;
		l1 = random_ipa(12) | !once_in(20);
		put(n, at - GUEST, &l1, 8);
		at = (field(l1, 51, 12) << 12) / (64ULL << leaf) * (64ULL << leaf) + 64ULL * (ssid % (1u << leaf));
	}
	if (at < GUEST || at - GUEST > BYTES - 24)
		return;
	random_cd(cd);
	put(n, at - GUEST, cd, sizeof(cd));
}

static unsigned int counted[256], reached;

static void compare(struct guest *n, const uint64_t ste[2], uint32_t ssid, uint64_t iova, bool write)
{
	struct dma_dev *d = dma_dev_pasid(n->dev, ssid);
	uint64_t value = random_descriptor(), want;
	struct outcome o = model(ste[0], ste[1], ssid, iova, write);
	int err;

	n->told.n = 0;
	err = write ? dma_write(d, IOVA(iova), &value, 8, NULL) : dma_read(d, IOVA(iova), &value, 8, NULL);
	assert_int_equal(err, o.reached ? 0 : -EFAULT);
	assert_int_equal(n->told.n, o.event != 0);
	counted[o.event]++;
	reached += o.reached;
	if (o.event) {
		assert_int_equal(n->told.r.dw[0], o.event | (ssid ? 1 << 11 | (uint64_t)ssid << 12 : 0));
		assert_int_equal(n->told.r.dw[1], o.addressed ? 2ULL << 40 | (write ? 0 : 1ULL << 35) : 0);
		assert_int_equal(n->told.r.dw[2], o.addressed ? iova : 0);
		assert_int_equal(n->told.r.dw[3], 0);
	}
	if (!o.reached)
		return;
	if (write) {
		memcpy(shadow + o.at, &value, 8);
	} else {
		memcpy(&want, shadow + o.at, 8);
		assert_int_equal(value, want);
	}
}

static void test_random(void **state)
{
	struct guest n;
	uint64_t ste[2];

	guest_open(&n);
	soup(&n, false);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint32_t ssid;
		bool write = once_in(3);

		if (i % 8 == 0) {
			random_ste(ste);
			stream_begin(&n, ste);
		}
		if (i % 2000 == 0)
			soup(&n, once_in(4));
		ssid = once_in(3) ? 0 : rnd() % BIT64(1 + rnd() % 12) & 0xfffff;
		if (field(ste[0], 63, 59) < 20 && !once_in(16))
			ssid &= BIT64(field(ste[0], 63, 59)) - 1;
		pave(&n, ste, ssid);
		smmu_stream_forget_cds(n.s);
		smmu_stream_flush(n.s);
		compare(&n, ste, ssid, random_iova(), write);
		if (i % 512 == 0)
			assert_memory_equal(n.mem, shadow, BYTES);
	}
	assert_memory_equal(n.mem, shadow, BYTES);
	/* All of it was met, and often. */
	assert_true(reached > ROUNDS / 100);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(counted[0x10 + i] > 20);
		assert_true(counted[0x04 + 2 * i] > 20);
	}
	guest_close(&n);
}

/* Each ASID's translations go with its own command; more of them than are remembered, with any. */
static void test_asids(void **state)
{
	uint64_t ste[2] = {1 | 5 << 1 | GUEST | 6ULL << 59, 2}, leaf, cd[3], v;
	const uint64_t iova = 0x3000;
	struct guest n;

	guest_open(&n);
	memset(n.mem, 0, BYTES);
	memset(shadow, 0, BYTES);
	/* 25 bits of input: two levels. One table for all. */
	leaf = (GUEST + PG * 3) | 3;
	put(&n, PG * 2, &leaf, 8);
	leaf = (GUEST + PG * 8) | 3 | 1 << 6 | 1 << 10;
	put(&n, PG * 3 + 8 * 3, &leaf, 8);
	for (uint64_t i = 0; i < 20; i++) {
		cd[0] = 39 | 1 << 30 | 1ULL << 31 | 5ULL << 32 | 1ULL << 41 | 1ULL << 45 | 1ULL << 46 | (100 + i) << 48;
		cd[1] = GUEST + PG * 2;
		cd[2] = 0;
		put(&n, 64 * i, cd, sizeof(cd));
	}
	stream_begin(&n, ste);
	for (unsigned int used = 1; used < 20; used += 6) {
		for (unsigned int i = 1; i <= used; i++)
			assert_int_equal(dma_read(dma_dev_pasid(n.dev, i), IOVA(iova), &v, 8, NULL), 0);
		/* The last one's are still there. */
		put(&n, PG * 3 + 8 * 3, &(uint64_t){0}, 8);
		smmu_stream_flush_asid(n.s, 100);
		if (used <= 8)
			assert_int_equal(dma_read(dma_dev_pasid(n.dev, used), IOVA(iova), &v, 8, NULL), 0);
		smmu_stream_forget_cds(n.s);
		smmu_stream_flush_asid(n.s, 100 + used);
		assert_int_equal(dma_read(dma_dev_pasid(n.dev, used), IOVA(iova), &v, 8, NULL), -EFAULT);
		put(&n, PG * 3 + 8 * 3, &leaf, 8);
		smmu_stream_flush(n.s);
	}
	guest_close(&n);
}

/* A probe tells nobody; the transfer that comes after it, of what was refused, does, once. */
static void test_probe(void **state)
{
	const uint64_t ste[2] = {1 | 5 << 1 | GUEST, 0};
	struct guest n;
	iova_t at;
	char c;

	guest_open(&n);
	memset(n.mem, 0, BYTES);
	stream_begin(&n, ste);
	n.told.n = 0;
	assert_int_equal(dma_probe(n.dev, IOVA(PG), 1, false, &at), DMA_FAULT_CONFIG);
	assert_int_equal(n.told.n, 0);
	dma_fault_emit(n.dev, at, 1, false, DMA_FAULT_CONFIG, NULL);
	assert_int_equal(n.told.n, 1);
	dma_fault_emit(n.dev, at, 1, false, DMA_FAULT_CONFIG, NULL);
	assert_int_equal(n.told.n, 1);
	assert_int_equal(dma_read(n.dev, IOVA(PG), &c, 1, NULL), -EFAULT);
	assert_int_equal(n.told.n, 2);
	assert_int_equal(n.told.r.dw[0], SMMU_C_BAD_CD);
	assert_int_equal(n.f.last[EVENT_FAULT].error, DMA_FAULT_CONFIG);
	/* What comes of another address, or of a lost page, is another matter. */
	assert_int_equal(dma_probe(n.dev, IOVA(PG), 1, false, &at), DMA_FAULT_CONFIG);
	dma_fault_emit(n.dev, IOVA(2 * PG), 1, false, DMA_FAULT_UNMAPPED, NULL);
	assert_int_equal(n.told.n, 2);
	guest_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_asids),
	    cmocka_unit_test(test_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
