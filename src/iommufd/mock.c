/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's test interface: mock devices behind a mock IOMMU with pages half as large as the CPU's, and a look
 * behind the page tables. Served under --iommufd-test alone. Answers follow Linux 6.12
 * drivers/iommu/iommufd/selftest.c.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommufd/mock.h"
#include "iommufd/unit.h"

/* ---- the unit ---- */

struct mock_dev *mock_of(const struct iommufd_device *dev)
{
	return (struct mock_dev *)dev->group->key;
}

static size_t mock_hw_info(const struct iommufd_device *dev, void *buf, size_t size)
{
	struct mock_hw_info info = {.test_reg = MOCK_HW_INFO_REGVAL};

	memcpy(buf, &info, MIN(size, sizeof(info)));
	return sizeof(info);
}

static int mock_paging(const struct iommufd_device *dev, uint32_t flags, struct domain_config *cfg)
{
	bool dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING;

	if ((dirty && mock_of(dev)->flags & MOCK_DEVICE_NO_DIRTY) ||
	    (flags & IOMMU_HWPT_ALLOC_PASID && !(mock_of(dev)->flags & MOCK_DEVICE_PASID)))
		return -EOPNOTSUPP;
	*cfg = (struct domain_config){
	    .first = MOCK_APERTURE_FIRST,
	    .last = MOCK_APERTURE_LAST,
	    .pgsizes =
		BIT64(MOCK_PAGE_SHIFT) | (mock_of(dev)->flags & MOCK_DEVICE_HUGE_IOVA ? BIT64(MOCK_HUGE_SHIFT) : 0),
	    .dirty = dirty,
	};
	return 0;
}

static int mock_attach(const struct iommufd_device *dev, const struct hwpt *h)
{
	bool dirty = !domain_nested(h->d) && domain_config(h->d)->dirty;

	if (dirty && mock_of(dev)->flags & MOCK_DEVICE_NO_DIRTY)
		return -EINVAL;
	/* A virtual IOMMU must know what the guest calls the device. */
	return h->viommu && !viommu_knows(dev, h) ? -ENOENT : 0;
}

/* The IOTLB of a nested page table: words that invalidation clears. */
struct mock_iotlb {
	uint32_t word[MOCK_IOTLB_NUM];
};

int mock_nested_size(uint32_t type, uint32_t flags)
{
	return type == MOCK_HWPT_DATA ? (int)sizeof(struct mock_hwpt_data) : -EOPNOTSUPP;
}

int mock_nested_new(struct domain *parent, const void *data, struct domain **d, void **state)
{
	const struct mock_hwpt_data *cfg = data;
	struct mock_iotlb *t = mem_alloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	*d = domain_new_nested(parent, NULL);
	if (!*d) {
		free(t);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < MOCK_IOTLB_NUM; i++)
		t->word[i] = cfg->iotlb;
	*state = t;
	return 0;
}

static int mock_nested(const struct iommufd_device *dev, struct domain *parent, uint32_t type, const void *data,
		       struct domain **d, void **state)
{
	return mock_nested_new(parent, data, d, state);
}

static int mock_invalidate_size(uint32_t type)
{
	return type == MOCK_INVALIDATE_DATA ? (int)sizeof(struct mock_invalidate) : -EINVAL;
}

static int mock_invalidate(struct domain *d, void *state, uint32_t type, const void *entry)
{
	const struct mock_invalidate *inv = entry;
	struct mock_iotlb *t = state;

	if (inv->flags & ~(uint32_t)MOCK_INVALIDATE_ALL)
		return -EOPNOTSUPP;
	if (inv->iotlb_id >= MOCK_IOTLB_NUM)
		return -EINVAL;
	if (inv->flags & MOCK_INVALIDATE_ALL)
		memset(t, 0, sizeof(*t));
	else
		t->word[inv->iotlb_id] = 0;
	return 0;
}

static int mock_pri(const struct iommufd_device *dev)
{
	return 0;
}

static uint8_t mock_pasid_bits(const struct iommufd_device *dev)
{
	return mock_of(dev)->flags & MOCK_DEVICE_PASID ? MOCK_PASID_WIDTH : 0;
}

/* One PASID fails every second time, so that a test can see what a failed replace leaves. */
static int mock_attach_pasid(const struct iommufd_device *dev, const struct domain *d, uint32_t pasid)
{
	struct mock_dev *m = mock_of(dev);
	bool fails = m->pasid_fails;

	if (pasid != MOCK_PASID_FAILING)
		return 0;
	m->pasid_fails = d && !fails;
	return d && fails ? -ENOMEM : 0;
}

static const struct iommufd_viommu_ops *mock_viommu(const struct iommufd_device *dev, uint32_t type)
{
	return type == MOCK_VIOMMU_TYPE ? &mock_viommu_ops : NULL;
}

const struct iommufd_unit mock_unit = {
    .name = "iommufd_selftest_iommu",
    .hw_info_type = MOCK_HW_INFO_TYPE,
    .pri = mock_pri,
    .user_pasids = true,
    .hw_info = mock_hw_info,
    .paging = mock_paging,
    .nested_size = mock_nested_size,
    .nested = mock_nested,
    .nested_free = free,
    .invalidate_size = mock_invalidate_size,
    .invalidate = mock_invalidate,
    .attach = mock_attach,
    .pasid_bits = mock_pasid_bits,
    .attach_pasid = mock_attach_pasid,
    .viommu = mock_viommu,
};

/* ---- mock devices ---- */

void selftest_destroy(struct iommufd_object *o)
{
	struct mock_dev *m = container_of(o, struct mock_dev, obj);

	if (m->dev) {
		device_pasid_detach_all(m->dev);
		if (m->dev->attached)
			iommufd_device_detach(m->dev);
		iommufd_device_unbind(m->dev);
	}
	dma_dev_free(m->dma);
	free(m);
}

static void mock_abort(struct mock_dev *m)
{
	iommufd_object_abort(m->ctx, &m->obj);
	selftest_destroy(&m->obj);
}

static int mock_new(struct iommufd_ctx *ctx, uint32_t flags, struct mock_dev **out)
{
	struct mock_dev *m = mem_calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	err = iommufd_object_add(ctx, &m->obj, OBJECT_SELFTEST);
	if (err) {
		free(m);
		return err;
	}
	m->ctx = ctx;
	m->flags = flags;
	for (unsigned int i = 0; i < MOCK_CACHE_NUM; i++)
		m->cache[i] = MOCK_CACHE_DEFAULT;
	if (flags & ~(uint32_t)(MOCK_DEVICE_NO_DIRTY | MOCK_DEVICE_HUGE_IOVA | MOCK_DEVICE_PASID))
		err = -EINVAL;
	if (!err) {
		m->dma = dma_dev_new(MOCK_BDF, ctx->m->evs);
		err = m->dma ? device_bind(ctx, m->dma, m, &mock_unit, false, &m->dev) : -ENOMEM;
	}
	if (err) {
		mock_abort(m);
		return err;
	}
	dma_dev_set_master(m->dma, true);
	*out = m;
	return 0;
}

static long mock_domain(struct ioctl_call *k)
{
	struct mock_cmd *cmd = k->cmd;
	uint32_t pt_id = cmd->id;
	struct mock_dev *m;
	int err;

	err = ioctl_expect_response(k, sizeof(*cmd));
	if (err)
		return err;
	err = mock_new(k->ctx, cmd->op == MOCK_OP_MOCK_DOMAIN_FLAGS ? cmd->domain.dev_flags : 0, &m);
	if (err)
		return err;
	err = iommufd_device_attach(m->dev, &pt_id);
	cmd->domain.out_stdev_id = m->obj.id;
	cmd->domain.out_idev_id = m->dev->obj.id;
	cmd->domain.out_hwpt_id = pt_id;
	if (!err)
		err = ioctl_respond(k, sizeof(*cmd));
	if (err)
		mock_abort(m);
	else
		iommufd_object_ready(&m->obj);
	return err;
}

static long mock_domain_replace(struct ioctl_call *k)
{
	struct iommufd_object *o = iommufd_object_find(k->ctx, ((struct mock_cmd *)k->cmd)->id, OBJECT_SELFTEST);
	struct mock_cmd *cmd = k->cmd;
	uint32_t pt_id = cmd->replace.pt_id;
	int err;

	if (!o)
		return -ENOENT;
	err = iommufd_device_replace(container_of(o, struct mock_dev, obj)->dev, &pt_id);
	if (err)
		return err;
	cmd->replace.pt_id = pt_id;
	return ioctl_respond(k, sizeof(*cmd));
}

static long mock_trigger_iopf(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct iommufd_device *dev = device_find(k->ctx, cmd->iopf.dev_id);
	struct iommu_hwpt_pgfault record = {
	    .flags = IOMMU_PGFAULT_FLAGS_LAST_PAGE,
	    .pasid = cmd->iopf.pasid,
	    .grpid = cmd->iopf.grpid,
	    .perm = cmd->iopf.perm,
	    .addr = cmd->iopf.addr,
	};
	uint32_t way = record.pasid;
	struct hwpt *h;

	if (!dev)
		return -ENOENT;
	if (dev->unit != &mock_unit)
		return -EINVAL;
	record.dev_id = dev->obj.id;
	if (record.pasid)
		record.flags |= IOMMU_PGFAULT_FLAGS_PASID_VALID;
	h = way ? device_pasid_hwpt(dev, way) : dev->group->hwpt;
	if (!h && dev->unit->user_pasids && dev->group->hwpt && dev->group->hwpt->parent) {
		h = dev->group->hwpt;
		way = 0;
	}
	/* A request that nobody takes is answered by the unit itself. */
	if (h && h->fault)
		fault_queue_report(h->fault, dev, way, &record, NULL);
	return 0;
}

/* ---- spaces ---- */

static long mock_add_reserved(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct ioas_object *o;
	uint64_t last;

	if (!cmd->add_reserved.length)
		return -EINVAL;
	if (add_overflows(cmd->add_reserved.start, cmd->add_reserved.length - 1, &last))
		return -EOVERFLOW;
	o = ioas_object_find(k->ctx, cmd->id);
	if (!o)
		return -ENOENT;
	return ioas_reserve(o->io, cmd->add_reserved.start, last, NULL);
}

/* ---- page tables ---- */

/* A paging one of the mock unit. */
static struct hwpt *mock_hwpt(struct iommufd_ctx *ctx, uint32_t id, enum object_type type, int *err)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, type);
	struct hwpt *h = o ? container_of(o, struct hwpt, obj) : NULL;

	*err = !h ? -ENOENT : h->unit != &mock_unit ? -EINVAL : 0;
	return *err ? NULL : h;
}

/* Does the table lead from iova to the very page that is at off in p? Both the table and what it was made from say so.
 */
static bool leads_to(struct hwpt *h, uint64_t iova, const struct pages *p, uint64_t off)
{
	struct ioas_area_info a;
	struct domain_leaf leaf;
	struct page_ref r, want = pages_ref(p, off);
	uint64_t at, contig;

	if (!domain_walk(h->d, iova, &leaf) || !ioas_next(h->ioas->io, iova, &a) || a.iova > iova)
		return false;
	at = a.off + (iova - a.iova);
	if (leaf.host + (iova - leaf.iova) != (char *)pages_ptr(a.pages, at, &contig))
		return false;
	r = pages_ref(a.pages, at);
	return r.backing && r.backing == want.backing && r.index == want.index &&
	       at % PF_PAGE_SIZE == off % PF_PAGE_SIZE;
}

/*
 * Calls check for each [at, at + n) of the caller's memory [uptr, uptr + len), with pages that hold it and more, until
 * one is not 0. Like the kernel's it looks at no more memory than it must.
 */
#define WALK_STEP (64u << 10)
typedef int walk_fn(const void *arg, uint64_t at, uint64_t n, const struct pages *p);
static int walk_memory(struct ioctl_call *k, uint64_t uptr, uint64_t len, walk_fn *check, const void *arg)
{
	uint64_t first, span, n;
	struct pages *p;
	int err = 0;

	for (uint64_t at = 0; !err && at < len; at += n) {
		n = MIN(len - at, WALK_STEP);
		err = ioas_page_span(uptr + at, n, &first, &span);
		if (!err)
			err = ucall_get_pages_lazy(k->c, first, span, &p);
		if (err)
			return err == -EOVERFLOW ? -EFAULT : err;
		err = check(arg, at, n, p);
		pages_put(p);
	}
	return err;
}

struct map_check {
	struct hwpt *h;
	uint64_t iova, uptr;
};

static int check_map(const void *arg, uint64_t at, uint64_t n, const struct pages *p)
{
	const struct map_check *c = arg;

	for (uint64_t end = at + n; at < end; at += BIT64(MOCK_PAGE_SHIFT)) {
		uint64_t off = c->uptr + at - pages_va(p);

		if (!pages_ref(p, off).backing)
			return -EFAULT;
		if (!leads_to(c->h, c->iova + at, p, off))
			return -EINVAL;
	}
	return 0;
}

/* Is each mock page from iova on what the caller has at uptr? */
static long mock_check_map(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	uint64_t len = cmd->check_map.length, end;
	struct map_check c = {.iova = cmd->check_map.iova, .uptr = cmd->check_map.uptr};
	int err;

	if (!IS_ALIGNED(c.iova | len | c.uptr, BIT64(MOCK_PAGE_SHIFT)) || add_overflows(c.uptr, len, &end))
		return -EINVAL;
	c.h = mock_hwpt(k->ctx, cmd->id, OBJECT_HWPT_PAGING, &err);
	return err ? err : walk_memory(k, c.uptr, len, check_map, &c);
}

struct refs_check {
	struct backing_cache *cache;
	unsigned int refs;
};

static int check_refs(const void *arg, uint64_t at, uint64_t n, const struct pages *p)
{
	const struct refs_check *c = arg;

	for (uint64_t off = 0; off < n; off += PF_PAGE_SIZE) {
		struct page_ref ref = pages_ref(p, off);

		if (!ref.backing)
			return -EFAULT;
		if (page_ref_pins(c->cache, ref) != c->refs)
			return -EIO;
	}
	return 0;
}

static long mock_check_refs(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct refs_check c = {k->ctx->m->cache, cmd->check_refs.refs};
	uint64_t len = cmd->check_refs.length, uptr = cmd->check_refs.uptr, end;

	if (!IS_ALIGNED(len | uptr, PF_PAGE_SIZE) || add_overflows(uptr, len, &end))
		return -EINVAL;
	return walk_memory(k, uptr, len, check_refs, &c);
}

static long mock_check_iotlb(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	const struct mock_iotlb *t;
	struct hwpt *h;
	int err;

	h = mock_hwpt(k->ctx, cmd->id, OBJECT_HWPT_NESTED, &err);
	if (err)
		return err;
	t = h->state;
	return cmd->check_iotlb.id < MOCK_IOTLB_NUM && t->word[cmd->check_iotlb.id] == cmd->check_iotlb.iotlb ? 0
													      : -EINVAL;
}

#define DIRTY_BITS_MAX (16u << 20 << 3)

/* Sets the dirty bit of every mock page in the caller's bitmap. */
static long mock_dirty(struct ioctl_call *k)
{
	struct mock_cmd *cmd = k->cmd;
	uint64_t page = cmd->dirty.page_size, bits, count = 0;
	struct domain_leaf leaf;
	uint8_t *bitmap;
	struct hwpt *h;
	int err;

	if (!page || !cmd->dirty.length || cmd->dirty.iova % page || cmd->dirty.length % page || !cmd->dirty.uptr)
		return -EINVAL;
	bits = cmd->dirty.length / page;
	if (bits > DIRTY_BITS_MAX)
		return -EOVERFLOW;
	h = mock_hwpt(k->ctx, cmd->id, OBJECT_HWPT_PAGING, &err);
	if (err)
		return err;
	if (!domain_dirty_tracking(h->d))
		return -EINVAL;
	bitmap = mem_alloc(DIV_ROUND_UP(bits, 8));
	if (!bitmap)
		return -ENOMEM;
	err = ucall_copy_in(k->c, cmd->dirty.uptr, bitmap, DIV_ROUND_UP(bits, 8));
	for (uint64_t i = 0; !err && i < bits; i++)
		/* The kernel's mock counts its table in the caller's pages, and so does this. */
		if (bitmap[i / 8] & 1u << i % 8) {
			uint64_t at = (cmd->dirty.iova / page + i) << MOCK_PAGE_SHIFT;

			if (domain_walk(h->d, at, &leaf)) {
				domain_mark_dirty(h->d, at, 1);
				count++;
			}
		}
	free(bitmap);
	if (err)
		return err;
	cmd->dirty.out_nr_dirty = count;
	return ioctl_respond(k, sizeof(*cmd));
}

/* ---- the table ---- */

/* Smaller than one element of the kernel's batches is refused; there are no batches here, so nothing depends on it. */
static long mock_memory_limit(struct ioctl_call *k)
{
	return ((struct mock_cmd *)k->cmd)->memory_limit.limit < 12 ? -EINVAL : 0;
}

static ioctl_fn *const mock_ops[MOCK_OPS] = {
    [MOCK_OP_ADD_RESERVED] = mock_add_reserved,
    [MOCK_OP_MOCK_DOMAIN] = mock_domain,
    [MOCK_OP_MD_CHECK_MAP] = mock_check_map,
    [MOCK_OP_MD_CHECK_REFS] = mock_check_refs,
    [MOCK_OP_CREATE_ACCESS] = mock_create_access,
    [MOCK_OP_DESTROY_ACCESS_PAGES] = mock_destroy_access_pages,
    [MOCK_OP_ACCESS_PAGES] = mock_access_pages,
    [MOCK_OP_ACCESS_RW] = mock_access_rw,
    [MOCK_OP_SET_TEMP_MEMORY_LIMIT] = mock_memory_limit,
    [MOCK_OP_MOCK_DOMAIN_REPLACE] = mock_domain_replace,
    [MOCK_OP_ACCESS_REPLACE_IOAS] = mock_access_replace_ioas,
    [MOCK_OP_MOCK_DOMAIN_FLAGS] = mock_domain,
    [MOCK_OP_DIRTY] = mock_dirty,
    [MOCK_OP_MD_CHECK_IOTLB] = mock_check_iotlb,
    [MOCK_OP_TRIGGER_IOPF] = mock_trigger_iopf,
    [MOCK_OP_DEV_CHECK_CACHE] = mock_dev_check_cache,
    [MOCK_OP_TRIGGER_VEVENT] = mock_trigger_vevent,
    [MOCK_OP_PASID_ATTACH] = mock_pasid_attach,
    [MOCK_OP_PASID_REPLACE] = mock_pasid_replace,
    [MOCK_OP_PASID_DETACH] = mock_pasid_detach,
    [MOCK_OP_PASID_CHECK_HWPT] = mock_pasid_check_hwpt,
    [MOCK_OP_DMABUF_GET] = mock_dmabuf_get,
    [MOCK_OP_DMABUF_REVOKE] = mock_dmabuf_revoke,
};

long ioctl_mock(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;

	_Static_assert(sizeof(struct mock_cmd) == MOCK_CMD_SIZE, "struct iommu_test_cmd");
	_Static_assert(OFFSETOFEND(struct mock_cmd, last) == MOCK_CMD_MIN, "struct iommu_test_cmd");
	if (cmd->op >= MOCK_OPS || !mock_ops[cmd->op])
		return -EOPNOTSUPP;
	return mock_ops[cmd->op](k);
}
