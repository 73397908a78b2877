/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest behind a stream of an SMMUv3 (iommu/smmu.h): stream table entries, context descriptors and translation tables
 * say whatever the input has them say, commands and parent's unmaps come at any time, and a device issues DMA under any
 * PASID. To begin with there is something that works. What a transfer moves is guest memory that the parent maps, and
 * events name the device's own request.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/event.h"
#include "base/guard.h"
#include "base/util.h"
#include "input.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "iommu/smmu.h"
#include "mm/mm.h"

#define GUEST 0x100000ULL
#define PAGES 16u
#define BYTES (PAGES * PF_PAGE_SIZE)
#define LEAF  0x443ULL

struct guest {
	struct events evs;
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct ioas *io;
	struct domain *parent, *d;
	struct dma_dev *dev;
	struct smmu_stream *s;
	struct pages *pages;
	uint8_t *mem;
	uint32_t pasid;
	unsigned int told;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t limit(void *ctx)
{
	return UINT64_MAX;
}

static bool capable(void *ctx, int cap)
{
	return true;
}

static void tell(void *ctx, const struct dma_dev *who, const struct smmu_record *r)
{
	struct guest *g = ctx;

	g->told++;
	must(dma_dev_pasid_number(who) == g->pasid);
	must(g->pasid ? (r->dw[0] >> 12 & 0xfffff) == g->pasid && r->dw[0] & BIT64(11) : !(r->dw[0] & 0xfffff800));
	must(!(r->dw[0] >> 32) && !r->dw[3]);
}

static void map_parent(struct guest *g)
{
	must(!ioas_map(g->io, IOVA(GUEST), BYTES, g->pages, 0, 3));
}

static struct guest *guest_new(void)
{
	static const struct mm_owner_ops ops = {.limit = limit, .capable = capable};
	static const struct domain_config cfg = {
	    .last = BIT64(48) - 1, .pgsizes = BIT64(12) | BIT64(21) | BIT64(30), .dirty = true};
	struct guest *g = calloc(1, sizeof(*g));
	struct page_slice slice = {.len = BYTES, .writable = true};
	int fd = memfd_create("guest", MFD_CLOEXEC);

	must(g && fd >= 0 && !ftruncate(fd, BYTES) && !guard_install());
	events_init(&g->evs);
	g->cache = backing_cache_new(0, 0);
	g->owner = mm_owner_new(&ops, NULL, NULL, 1, &g->evs);
	g->mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(g->mem != MAP_FAILED && !backing_get_fd(g->cache, fd, &slice.backing));
	must(!pages_new(0, &slice, 1, g->owner, &g->pages));
	pages_configure(g->pages, true, MM_ACCOUNT_USER, false);
	backing_put(slice.backing);
	g->io = ioas_new(&g->evs);
	g->parent = domain_new(&cfg, &g->evs);
	must(!ioas_add_domain(g->io, g->parent));
	g->dev = dma_dev_new(0x100, &g->evs);
	must(!dma_dev_set_pasid_bits(g->dev, 20));
	dma_dev_set_master(g->dev, true);
	map_parent(g);
	return g;
}

static void stream_end(struct guest *g)
{
	dma_dev_detach(g->dev);
	domain_free(g->d);
	smmu_stream_free(g->s);
	g->d = NULL;
	g->s = NULL;
}

static void stream_begin(struct guest *g, uint64_t ste0, uint64_t ste1)
{
	stream_end(g);
	g->s = smmu_stream_new(ste0, ste1, tell, g);
	g->d = domain_new_nested(g->parent, NULL);
	must(g->s && g->d);
	smmu_stream_serve(g->s, g->d);
	dma_dev_attach(g->dev, g->d);
}

static uint64_t *word(struct guest *g, uint64_t i)
{
	return (uint64_t *)g->mem + i % (BYTES / 8);
}

/* Descriptors on page 0, pointers to them on page 1, from page 2 on tables of which each entry leads to some page. */
static void guest_begin(struct guest *g, struct input *in)
{
	for (uint64_t i = 0; i < BYTES / 8; i++)
		*word(g, i) = (GUEST + (i % PAGES) * PF_PAGE_SIZE) | LEAF;
	for (unsigned int i = 0; i < 64; i++) {
		*word(g, i * 8) = 25 | 25 << 16 | 2 << 22 | BIT64(31) | 5ULL << 32 | BIT64(41) | 3ULL << 45 |
				  (i & 1 ? 3ULL << 42 : 0) | (uint64_t)i << 48;
		*word(g, i * 8 + 1) = GUEST + 2 * PF_PAGE_SIZE;
		*word(g, i * 8 + 2) = GUEST + 3 * PF_PAGE_SIZE;
		*word(g, 512 + i) = GUEST | 1;
	}
	stream_begin(g,
		     1 | 5 << 1 | (GUEST + (take(in, 1) & 1) * PF_PAGE_SIZE) | (take(in, 1) & 3) << 4 |
			 (take(in, 1) & 31) << 59,
		     2);
}

static void transfer(struct guest *g, uint64_t iova, bool write)
{
	struct dma_dev *d = dma_dev_pasid(g->dev, g->pasid);
	uint8_t buf[64] = {0};
	iova_t at;

	g->told = 0;
	dma_probe(d, IOVA(iova), sizeof(buf), write, &at);
	must(!g->told);
	if (write ? dma_write(d, IOVA(iova), buf, sizeof(buf), NULL) : dma_read(d, IOVA(iova), buf, sizeof(buf), NULL))
		must(g->told <= 1);
	else
		must(!g->told);
}

static void command(struct guest *g, uint8_t what, uint16_t arg)
{
	uint64_t bytes;

	switch (what & 7) {
	case 0:
		smmu_stream_forget_cd(g->s, arg);
		break;
	case 1:
		smmu_stream_forget_cds(g->s);
		break;
	case 2:
		smmu_stream_flush_asid(g->s, arg);
		break;
	case 3:
		smmu_stream_flush(g->s);
		break;
	case 4:
		must(!ioas_unmap(g->io, GUEST, GUEST + BYTES - 1, &bytes));
		transfer(g, GUEST, false);
		map_parent(g);
		break;
	case 5:
		domain_set_dirty_tracking(g->parent, arg & 1);
		break;
	default:
		smmu_stream_forget_cds(g->s);
		smmu_stream_flush(g->s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest *g;
	struct input in = {data, size};

	if (!g)
		g = guest_new();
	guest_begin(g, &in);
	while (in.n) {
		uint8_t what = take(&in, 1);

		switch (what & 7) {
		case 0:
			*word(g, take(&in, 2)) = take(&in, 8);
			break;
		case 1:
			*word(g, take(&in, 2)) ^= BIT64(take(&in, 1) & 63);
			break;
		case 2:
			*word(g, (take(&in, 1) & 63) * 8 + (what >> 3 & 3)) ^= BIT64(take(&in, 1) & 63);
			break;
		case 3:
			command(g, what >> 3, take(&in, 2));
			break;
		case 4:
			g->pasid = take(&in, what & 8 ? 3 : 1) & 0xfffff;
			break;
		case 5:
			stream_begin(g, take(&in, 8), take(&in, what & 8 ? 8 : 1));
			break;
		default:
			transfer(g, what & 16 ? take(&in, 8) : take(&in, what & 32 ? 5 : 3), what & 8);
		}
	}
	g->pasid = 0;
	stream_end(g);
	must(domain_set_dirty_tracking(g->parent, false) == 0);
	return 0;
}
