/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules A4, A5, B2: memory of a device is reached by those who may, until it is taken back; then nobody gets through,
 * at no moment, and unmapping says what it always said.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"
#include "iommu/access.h"
#include "iommu/walk.h"
#include "base/util.h"
#include "mm/peer.h"

#define FIRST 0x40000UL
#define RW    (IOMMU_READ | IOMMU_WRITE)

enum { PEER_PAGES = 16, MEM_PAGES = 8 };

/* The lower half is memory, the upper half registers. */
struct exporter {
	struct peer peer;
	char *mem;
	uint8_t reg[(PEER_PAGES - MEM_PAGES) * PG];
	unsigned int reads, writes, asked;
	const void *friend; /* NULL: everybody is one */
	bool dead, grudge;
	struct dma_dev *initiator; /* whose DMA is under way when registers are met */
};

static struct exporter *to_exporter(struct peer *p)
{
	return container_of(p, struct exporter, peer);
}

static char *ex_view(struct peer *p, uint64_t off, uint64_t *contig)
{
	bool mem = off < MEM_PAGES * PG;

	*contig = (mem ? MEM_PAGES : PEER_PAGES) * PG - off;
	return mem ? to_exporter(p)->mem + off : NULL;
}

static int ex_read(struct peer *p, uint64_t off, void *buf, uint64_t len)
{
	struct exporter *x = to_exporter(p);

	assert_true(off >= MEM_PAGES * PG && off + len <= PEER_PAGES * PG && len);
	if (x->initiator)
		assert_true(dma_dev_in_peer(x->initiator));
	x->reads++;
	memcpy(buf, x->reg + off - MEM_PAGES * PG, len);
	return x->dead ? -EIO : 0;
}

static int ex_write(struct peer *p, uint64_t off, const void *buf, uint64_t len)
{
	struct exporter *x = to_exporter(p);

	assert_true(off >= MEM_PAGES * PG && off + len <= PEER_PAGES * PG && len);
	x->writes++;
	memcpy(x->reg + off - MEM_PAGES * PG, buf, len);
	return x->dead ? -EIO : 0;
}

static bool ex_admits(struct peer *p, const void *initiator)
{
	struct exporter *x = to_exporter(p);

	x->asked++;
	return !x->grudge && (!x->friend || x->friend == initiator);
}

static const struct peer_ops ex_ops = {.view = ex_view, .read = ex_read, .write = ex_write, .admits = ex_admits};

static struct exporter *exporter_new(void)
{
	struct exporter *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->mem = mmap(NULL, MEM_PAGES * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(x->mem, MAP_FAILED);
	peer_init(&x->peer, &ex_ops, PEER_PAGES * PG, 0x0200);
	return x;
}

static void exporter_free(struct exporter *x)
{
	peer_fini(&x->peer);
	munmap(x->mem, MEM_PAGES * PG);
	free(x);
}

static struct pages *ex_pages(struct fixture *f, struct exporter *x, unsigned int first, unsigned int n)
{
	struct pages *p;

	assert_int_equal(pages_new_peer(&x->peer, first * PG, n * PG, 0, false, f->owner, &p), 0);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	return p;
}

static int ex_map(struct fixture *f, struct exporter *x, uint64_t iova, unsigned int first, unsigned int n)
{
	struct pages *p = ex_pages(f, x, first, n);
	int err = ioas_map(f->ioas, IOVA(iova), n * PG, p, 0, RW);

	pages_put(p);
	return err;
}

/* ---- what it is while it is there ---- */

static void test_memory_and_registers(void **state)
{
	struct exporter *x = exporter_new();
	char in[3 * PG], out[3 * PG];
	struct iovec iov[4];
	struct fixture f;
	unsigned int n = 4;

	fixture_open(&f);
	f.limit = 0; /* nobody pays for it (B1 is about client memory) */
	x->initiator = f.dev;
	assert_int_equal(ex_map(&f, x, FIRST, 0, PEER_PAGES), 0);
	assert_int_equal(mm_charged(f.owner), 0);
	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / PG);
	/* Wholly in memory: nobody is asked. */
	assert_int_equal(dma_write(f.dev, IOVA(FIRST + 100), out, sizeof(out), NULL), 0);
	assert_memory_equal(x->mem + 100, out, sizeof(out));
	assert_int_equal(x->writes, 0);
	assert_int_equal(dma_iov(f.dev, IOVA(FIRST), PG, true, iov, &n, NULL), 0);
	assert_ptr_equal(iov[0].iov_base, x->mem);
	/* Across the seam: the rest goes to the registers, and comes back from there. */
	assert_int_equal(dma_write(f.dev, IOVA(FIRST + MEM_PAGES * PG - 50), out, sizeof(out), NULL), 0);
	assert_memory_equal(x->mem + MEM_PAGES * PG - 50, out, 50);
	assert_memory_equal(x->reg, out + 50, sizeof(out) - 50);
	assert_true(x->writes);
	assert_int_equal(dma_read(f.dev, IOVA(FIRST + MEM_PAGES * PG - 50), in, sizeof(in), NULL), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_false(dma_dev_in_peer(f.dev));
	assert_int_equal(dma_dev_stats(f.dev)->faults, 0);
	/* An iovec of registers is one that a system call declines. */
	n = 4;
	assert_int_equal(dma_iov(f.dev, IOVA(FIRST + 12 * PG), 64, true, iov, &n, NULL), 0);
	assert_int_equal(write(STDERR_FILENO, iov[0].iov_base, 1), -1);
	assert_int_equal(errno, EFAULT);
	/* Nobody answers: a fault. */
	x->dead = true;
	assert_int_equal(dma_read(f.dev, IOVA(FIRST + 12 * PG), in, 4, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_GONE);
	assert_int_equal(unmap_all(f.ioas), PEER_PAGES * PG);
	exporter_free(x);
	fixture_close(&f);
}

/* ---- A4 ---- */

static struct {
	struct fixture *f;
	uint64_t first, last;
	unsigned int n, leaks;
} spy;

/* At the moment that the revocation of an area is told, no requester of any domain gets through to it. */
static void spy_hook(struct fixture *f, const struct event *ev)
{
	char c;

	if (ev->type != EVENT_REVOKE)
		return;
	spy.n++;
	for (uint64_t at = ev->addr; at < ev->addr + ev->len; at += PG)
		spy.leaks += !dma_read(f->dev, IOVA(at), &c, 1, NULL) || !dma_write(f->dev, IOVA(at), &c, 1, NULL);
}

static void test_revoke(void **state)
{
	struct exporter *x = exporter_new();
	struct fixture f;
	uint64_t bytes;
	char c = 'x';

	fixture_open(&f);
	spy.n = spy.leaks = 0;
	assert_int_equal(ex_map(&f, x, FIRST, 0, PEER_PAGES), 0);
	assert_int_equal(ex_map(&f, x, FIRST + 0x100000, 2, 10), 0);
	/* Every IOTLB is warm. */
	for (unsigned int i = 0; i < PEER_PAGES; i++)
		assert_int_equal(dma_write(f.dev, IOVA(FIRST + i * PG), &c, 1, NULL), 0);
	memset(x->mem, 'm', MEM_PAGES * PG);
	memset(x->reg, 'r', sizeof(x->reg));
	x->reads = x->writes = 0;
	f.hook = spy_hook;
	peer_revoke(&x->peer);
	assert_int_equal(spy.n, 2);
	assert_int_equal(spy.leaks, 0);
	for (unsigned int i = 0; i < PEER_PAGES; i++) {
		assert_int_equal(dma_write(f.dev, IOVA(FIRST + i * PG), &c, 1, NULL), -EFAULT);
		assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_REVOKED);
	}
	assert_int_equal(x->reads + x->writes, 0);
	for (unsigned int i = 0; i < MEM_PAGES * PG; i++)
		assert_int_equal(x->mem[i], 'm');
	/* New memory of the same device is not what was mapped before. */
	assert_int_equal(ex_map(&f, x, FIRST + 0x200000, 0, 1), 0);
	assert_int_equal(dma_write(f.dev, IOVA(FIRST + 0x200000), &c, 1, NULL), 0);
	assert_int_equal(dma_write(f.dev, IOVA(FIRST), &c, 1, NULL), -EFAULT);
	peer_revoke(&x->peer);
	/* The full length, of each. */
	assert_int_equal(ioas_unmap(f.ioas, FIRST, FIRST + PEER_PAGES * PG - 1, &bytes), 0);
	assert_int_equal(bytes, PEER_PAGES * PG);
	assert_int_equal(unmap_all(f.ioas), 11 * PG);
	exporter_free(x);
	fixture_close(&f);
}

/* Domains that come later are given nothing of it; those that go take nothing that is not there. */
static void test_revoke_domains(void **state)
{
	struct exporter *x = exporter_new();
	struct domain *second, *third;
	struct dma_dev *dev;
	struct fixture f;
	char c;

	fixture_open(&f);
	second = domain_plain(&f);
	dev = dma_dev_new(0x300, &f.evs);
	dma_dev_attach(dev, second);
	dma_dev_set_master(dev, true);
	assert_int_equal(ex_map(&f, x, FIRST, 0, 4), 0);
	assert_int_equal(ioas_add_domain(f.ioas, second), 0);
	assert_int_equal(dma_read(dev, IOVA(FIRST), &c, 1, NULL), 0);
	peer_revoke(&x->peer);
	assert_int_equal(dma_read(dev, IOVA(FIRST), &c, 1, NULL), -EFAULT);
	third = domain_plain(&f);
	assert_int_equal(ioas_add_domain(f.ioas, third), 0);
	dma_dev_attach(dev, third);
	assert_int_equal(dma_read(dev, IOVA(FIRST), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_REVOKED);
	dma_dev_free(dev);
	ioas_remove_domain(f.ioas, second);
	ioas_remove_domain(f.ioas, third);
	domain_free(second);
	domain_free(third);
	assert_int_equal(unmap_all(f.ioas), 4 * PG);
	exporter_free(x);
	fixture_close(&f);
}

/* A copy is of the same memory: it goes with it. So is what is cut out of it. */
static void test_revoke_copies(void **state)
{
	const uint64_t at[] = {FIRST + 2 * PG};
	struct exporter *x = exporter_new();
	struct fixture f;
	struct ioas *other;
	iova_t to = IOVA(0x900000);
	uint64_t bytes;
	char c;

	fixture_open(&f);
	other = ioas_new(&f.evs);
	assert_int_equal(ioas_set_large_pages(f.ioas, false), 0);
	assert_int_equal(ex_map(&f, x, FIRST, 0, 4), 0);
	assert_int_equal(ioas_copy(f.ioas, &to, false, f.ioas, IOVA(FIRST), 4 * PG, RW), 0);
	assert_int_equal(ioas_copy(other, &to, false, f.ioas, IOVA(FIRST + PG), 2 * PG, RW), 0);
	assert_int_equal(ioas_cut(f.ioas, at, 1), 0);
	assert_int_equal(dma_read(f.dev, IOVA(0x900000), &c, 1, NULL), 0);
	assert_int_equal(dma_read(f.dev, IOVA(FIRST + 3 * PG), &c, 1, NULL), 0);
	peer_revoke(&x->peer);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(dma_read(f.dev, IOVA(FIRST + i * PG), &c, 1, NULL), -EFAULT);
		assert_int_equal(dma_read(f.dev, IOVA(0x900000 + i * PG), &c, 1, NULL), -EFAULT);
	}
	/* Copying what is gone makes more of what is gone. */
	to = IOVA(0xa00000);
	assert_int_equal(ioas_copy(f.ioas, &to, false, f.ioas, IOVA(FIRST), 4 * PG, RW), 0);
	assert_int_equal(dma_read(f.dev, to, &c, 1, NULL), -EFAULT);
	assert_int_equal(ioas_unmap(f.ioas, FIRST, FIRST + 2 * PG - 1, &bytes), 0);
	assert_int_equal(bytes, 2 * PG);
	assert_int_equal(unmap_all(f.ioas), 10 * PG);
	ioas_free(other);
	exporter_free(x);
	fixture_close(&f);
}

/* Through a table of the client's, with IOTLBs that hold what no one can find by its address. */
static void test_revoke_nested(void **state)
{
	const struct walk_config cfg = {.format = WALK_X86,
					.input_bits = 48,
					.output_bits = 48,
					.granule = 12,
					.flags = WALK_HUGE,
					.root = 0x10000};
	struct exporter *x = exporter_new();
	int fd = memfd_pages(4);
	struct domain *nested;
	struct dma_dev *dev;
	struct fixture f;
	struct pages *p;
	uint64_t e[4];
	char c = 'w';

	fixture_open(&f);
	p = pages_memfd(&f, fd, 4, true);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x10000), 4 * PG, p, 0, RW), 0);
	pages_put(p);
	assert_int_equal(ex_map(&f, x, FIRST, 0, PEER_PAGES), 0);
	for (unsigned int level = 0; level < 4; level++) {
		static const char zero[PG];

		assert_int_equal(dma_write(f.dev, IOVA(0x10000 + level * PG), zero, PG, NULL), 0);
		e[level] = (0x11000 + level * PG) | 7;
	}
	e[3] = (FIRST + (MEM_PAGES - 1) * PG) | 7;
	for (unsigned int level = 0; level < 4; level++)
		assert_int_equal(dma_write(f.dev, IOVA(0x10000 + level * PG), &e[level], 8, NULL), 0);
	e[3] += PG; /* the first page of registers behind the last one of memory */
	assert_int_equal(dma_write(f.dev, IOVA(0x13008), &e[3], 8, NULL), 0);
	nested = domain_new_nested(f.domain, &cfg);
	dev = dma_dev_new(0x300, &f.evs);
	dma_dev_attach(dev, nested);
	dma_dev_set_master(dev, true);
	assert_int_equal(dma_write(dev, IOVA(5), &c, 1, NULL), 0);
	assert_int_equal(x->mem[(MEM_PAGES - 1) * PG + 5], 'w');
	assert_int_equal(dma_write(dev, IOVA(PG + 5), &c, 1, NULL), 0);
	assert_int_equal(x->reg[5], 'w');
	x->mem[(MEM_PAGES - 1) * PG + 5] = x->reg[5] = 0;
	peer_revoke(&x->peer);
	assert_int_equal(dma_write(dev, IOVA(5), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_REVOKED);
	assert_int_equal(dma_write(dev, IOVA(PG + 5), &c, 1, NULL), -EFAULT);
	assert_int_equal(x->mem[(MEM_PAGES - 1) * PG + 5] + x->reg[5], 0);
	dma_dev_free(dev);
	domain_free(nested);
	unmap_all(f.ioas);
	exporter_free(x);
	fixture_close(&f);
}

/* ---- B2 ---- */

static void test_refused(void **state)
{
	static const char me, you;
	struct exporter *x = exporter_new();
	struct domain *plain, *nested;
	struct dma_dev *dev;
	struct fixture f;
	char c;

	fixture_open(&f);
	x->friend = &me;
	/* Nobody has said whose requester it is. */
	assert_int_equal(ex_map(&f, x, FIRST, 0, 2), -EREMOTEIO);
	assert_int_equal(f.seen[EVENT_REFUSE], 1);
	assert_int_equal(f.last[EVENT_REFUSE].value, 0x0200);
	dma_dev_set_owner(f.dev, &you);
	assert_int_equal(ex_map(&f, x, FIRST, 0, 2), -EREMOTEIO);
	assert_int_equal(ioas_area_count(f.ioas), 0);
	assert_int_equal(dma_read(f.dev, IOVA(FIRST), &c, 1, NULL), -EFAULT);
	dma_dev_set_owner(f.dev, &me);
	assert_int_equal(ex_map(&f, x, FIRST, 0, 2), 0);
	assert_int_equal(dma_read(f.dev, IOVA(FIRST), &c, 1, NULL), 0);
	/* Who comes later is asked about before he is attached, to it or to what is nested in it. */
	dev = dma_dev_new(0x300, &f.evs);
	dma_dev_set_owner(dev, &you);
	nested = domain_new_nested(f.domain, NULL);
	assert_int_equal(domain_admits(f.domain, dev), -EREMOTEIO);
	assert_int_equal(domain_admits(nested, dev), -EREMOTEIO);
	assert_int_equal(domain_admits(f.domain, f.dev), 0);
	/* Nested in it, and the memory comes later. */
	assert_int_equal(unmap_all(f.ioas), 2 * PG);
	dma_dev_attach(dev, nested);
	assert_int_equal(ex_map(&f, x, FIRST, 0, 2), -EREMOTEIO);
	dma_dev_detach(dev);
	domain_free(nested);
	/* A page table that comes with its devices: all or nothing. */
	assert_int_equal(ex_map(&f, x, FIRST, 0, 2), 0);
	plain = domain_plain(&f);
	dma_dev_attach(dev, plain);
	assert_int_equal(ioas_add_domain(f.ioas, plain), -EREMOTEIO);
	dma_dev_set_owner(dev, &me);
	assert_int_equal(ioas_add_domain(f.ioas, plain), 0);
	dma_dev_free(dev);
	ioas_remove_domain(f.ioas, plain);
	domain_free(plain);
	/* What is gone nobody needs leave for. */
	peer_revoke(&x->peer);
	x->grudge = true;
	assert_int_equal(domain_admits(f.domain, f.dev), 0);
	unmap_all(f.ioas);
	exporter_free(x);
	fixture_close(&f);
}

/* Copies do not go around it; what type1 takes does (B3), and is revoked like the rest. */
static void test_refused_copy_and_legacy(void **state)
{
	struct exporter *x = exporter_new();
	struct fixture f;
	struct ioas *other;
	struct pages *p;
	iova_t to = IOVA(FIRST);
	char c;

	fixture_open(&f);
	x->grudge = true;
	other = ioas_new(&f.evs);
	p = ex_pages(&f, x, 0, 2);
	assert_int_equal(ioas_map(other, IOVA(0), 2 * PG, p, 0, RW), 0); /* nobody is there */
	pages_put(p);
	assert_int_equal(ioas_copy(f.ioas, &to, false, other, IOVA(0), 2 * PG, RW), -EREMOTEIO);
	assert_int_equal(ioas_copy(f.ioas, &to, true, other, IOVA(PG), PG, IOMMU_READ), -EREMOTEIO);
	assert_int_equal(unmap_all(other), 2 * PG);
	ioas_free(other);
	assert_int_equal(pages_new_peer(&x->peer, 0, 2 * PG, 0, true, f.owner, &p), 0);
	pages_configure(p, true, MM_ACCOUNT_PROCESS, false);
	assert_int_equal(ioas_map(f.ioas, IOVA(FIRST), 2 * PG, p, 0, RW), 0);
	pages_put(p);
	assert_int_equal(dma_read(f.dev, IOVA(FIRST), &c, 1, NULL), 0);
	peer_revoke(&x->peer);
	assert_int_equal(dma_read(f.dev, IOVA(FIRST), &c, 1, NULL), -EFAULT);
	assert_int_equal(unmap_all(f.ioas), 2 * PG);
	exporter_free(x);
	fixture_close(&f);
}

/* ---- what it is not ---- */

/* No CPU user of a space gets it: he could not be cut off. */
static void test_no_access(void **state)
{
	static const struct access_ops ops = {.pins = true};
	struct exporter *x = exporter_new();
	struct access *a;
	struct fixture f;
	char buf[8];

	fixture_open(&f);
	a = access_new(&ops, NULL);
	assert_int_equal(ex_map(&f, x, FIRST, 0, 4), 0);
	assert_int_equal(access_attach(a, f.ioas), 0);
	assert_int_equal(access_pin(a, IOVA(FIRST), PG, NULL, 0), -EINVAL);
	assert_int_equal(access_rw(a, IOVA(FIRST), buf, 8, 0), -EINVAL);
	assert_int_equal(access_rw(a, IOVA(FIRST), buf, 8, ACCESS_WRITE), -EINVAL);
	access_free(a);
	assert_int_equal(unmap_all(f.ioas), 4 * PG);
	exporter_free(x);
	fixture_close(&f);
}

static void test_ranges(void **state)
{
	static const struct {
		uint64_t off, len, va;
	} bad[] = {
	    {0, 0, 0},
	    {0, 17 * PG, 0},
	    {16 * PG, PG, 0},
	    {1, PG, 0},
	    {0, PG + 1, 0},
	    {UINT64_MAX - PG + 1, PG, 0},
	    {PG, UINT64_MAX - PG + 1, 0},
	    {0, 2 * PG, -PG & ~(PG - 1)},
	    {0, PG, 7},
	};
	struct exporter *x = exporter_new();
	struct fixture f;
	struct pages *p = NULL;

	fixture_open(&f);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pages_new_peer(&x->peer, bad[i].off, bad[i].len, bad[i].va, false, f.owner, &p),
				 -EINVAL);
	assert_null(p);
	/* Pages that nobody has mapped know, too. */
	p = ex_pages(&f, x, 0, 1);
	assert_false(pages_revoked(p));
	exporter_free(x);
	assert_true(pages_revoked(p) && pages_is_peer(p));
	assert_int_equal(ioas_map(f.ioas, IOVA(FIRST), PG, p, 0, RW), 0);
	pages_put(p);
	assert_int_equal(unmap_all(f.ioas), PG);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_memory_and_registers),
	    {"rule_peer_revoke", test_revoke, NULL, NULL, NULL},
	    {"rule_peer_revoke_domains", test_revoke_domains, NULL, NULL, NULL},
	    {"rule_peer_revoke_copies", test_revoke_copies, NULL, NULL, NULL},
	    {"rule_peer_revoke_nested", test_revoke_nested, NULL, NULL, NULL},
	    {"rule_peer_refused", test_refused, NULL, NULL, NULL},
	    {"rule_peer_refused_copy_and_legacy", test_refused_copy_and_legacy, NULL, NULL, NULL},
	    {"rule_peer_no_access", test_no_access, NULL, NULL, NULL},
	    cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
