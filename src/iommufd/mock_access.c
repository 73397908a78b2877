/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses of the test interface: a descriptor each, with what it has pinned. */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommu/access.h"
#include "iommufd/mock.h"

#define LENGTH_MAX (16u << 20)
#define NOWHERE	   (1ull << 62) /* an address that no process has */

struct item {
	struct list node;
	uint64_t iova, len;
	uint32_t id;
};

struct mock_access {
	struct iommufd_object obj; /* the context's access object */
	struct iommufd_ctx *ctx;   /* held */
	struct ufile file;
	struct access *access;
	struct ioas_object *ioas; /* held */
	struct list items;
	uint32_t next_id;
};

static struct mock_access *access_of(struct ufile *f)
{
	return container_of(f, struct mock_access, file);
}

static void item_drop(struct mock_access *m, struct item *i)
{
	list_del(&i->node);
	access_unpin(m->access, IOVA(i->iova), i->len);
	free(i);
}

static void on_unmap(void *ctx, uint64_t iova, uint64_t len)
{
	struct mock_access *m = ctx;
	uint64_t last = iova + (len - 1);
	struct item *i, *next;

	for (i = list_first(&m->items, struct item, node); &i->node != &m->items; i = next) {
		next = container_of(i->node.next, struct item, node);
		if (iova <= i->iova + (i->len - 1) && last >= i->iova)
			item_drop(m, i);
	}
}

static const struct access_ops rw_ops = {.unmap = on_unmap};
static const struct access_ops pin_ops = {.pins = true, .unmap = on_unmap};

/* ---- life ---- */

static int change_ioas(struct mock_access *m, struct ioas_object *o)
{
	int err = access_attach(m->access, o ? o->io : NULL);

	if (err)
		return err;
	if (o)
		o->obj.users++;
	if (m->ioas)
		m->ioas->obj.users--;
	m->ioas = o;
	return 0;
}

void access_object_destroy(struct iommufd_object *o)
{
	struct mock_access *m = container_of(o, struct mock_access, obj);
	struct iommufd_ctx *ctx = m->ctx;

	if (m->ioas)
		change_ioas(m, NULL);
	assert(list_empty(&m->items));
	access_free(m->access);
	free(m);
	ufile_put(&ctx->file);
}

static void access_release(struct ufile *f)
{
	struct mock_access *m = access_of(f);

	m->obj.users = 0;
	iommufd_object_remove_own(m->ctx, &m->obj);
}

static const struct ufile_ops access_file_ops = {
    .name = "anon_inode:[iommufd_test_staccess]",
    .release = access_release,
};

long mock_create_access(struct ioctl_call *k)
{
	struct mock_cmd *cmd = k->cmd;
	struct ioas_object *o = ioas_object_find(k->ctx, cmd->id);
	struct mock_access *m;
	int err;

	if (cmd->create_access.flags & ~(uint32_t)MOCK_ACCESS_NEEDS_PIN_PAGES)
		return -EOPNOTSUPP;
	err = ioctl_expect_response(k, sizeof(*cmd));
	if (err)
		return err;
	err = -ENOMEM;
	m = mem_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	list_init(&m->items);
	ufile_init(&m->file, &access_file_ops);
	m->access = access_new(cmd->create_access.flags ? &pin_ops : &rw_ops, m);
	if (m->access)
		err = iommufd_object_add(k->ctx, &m->obj, OBJECT_ACCESS);
	if (err) {
		access_free(m->access);
		free(m);
		return err;
	}
	m->ctx = k->ctx;
	ufile_get(&k->ctx->file);
	m->obj.users = 1; /* its descriptor */
	err = o ? change_ioas(m, o) : -ENOENT;
	if (!err)
		err = ioctl_respond(k, sizeof(*cmd));
	if (!err)
		err = ucall_install_at(k->c, &m->file, k->arg + offsetof(struct mock_cmd, create_access.out_access_fd));
	if (err) {
		iommufd_object_abort(k->ctx, &m->obj);
		access_object_destroy(&m->obj);
		return err;
	}
	iommufd_object_ready(&m->obj);
	return 0;
}

/* ---- operations: cmd->id is a descriptor ---- */

static int find(struct ioctl_call *k, struct mock_access **m)
{
	const struct mock_cmd *cmd = k->cmd;
	struct ufile *f;
	int err;

	err = ucall_get_file(k->c, cmd->id, &f);
	if (err == -EBADF || err == -EINVAL || (!err && f->ops != &access_file_ops))
		return -EBADFD;
	if (!err)
		*m = access_of(f);
	return err;
}

long mock_access_replace_ioas(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct mock_access *m;
	struct ioas_object *o;
	int err;

	err = find(k, &m);
	if (err)
		return err;
	o = ioas_object_find(m->ctx, cmd->access_replace.ioas_id);
	if (!o)
		return -ENOENT;
	return o == m->ioas ? 0 : change_ioas(m, o);
}

long mock_destroy_access_pages(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct mock_access *m;
	struct item *i;
	int err;

	err = find(k, &m);
	if (err)
		return err;
	list_for_each (i, &m->items, node)
		if (i->id == cmd->destroy_pages.id) {
			item_drop(m, i);
			return 0;
		}
	return -ENOENT;
}

/* Are the pages that were pinned those that the caller has at uptr? */
static int check_pages(struct pages *theirs, const struct page_ref *refs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct page_ref r = pages_ref(theirs, i * PF_PAGE_SIZE);

		if (!r.backing)
			return -EFAULT;
		if (r.backing != refs[i].backing || r.index != refs[i].index)
			return -EBADE;
	}
	return 0;
}

static int pin_item(struct mock_access *m, const struct mock_cmd *cmd, struct pages *theirs, struct item *item)
{
	uint64_t iova = cmd->access_pages.iova, len = cmd->access_pages.length;
	uint64_t n = (ALIGN_UP(iova + len, PF_PAGE_SIZE) - ALIGN_DOWN(iova, PF_PAGE_SIZE)) / PF_PAGE_SIZE;
	struct page_ref *refs = mem_calloc(n ? n : 1, sizeof(*refs));
	int err;

	if (!refs)
		return -ENOMEM;
	err = access_pin(m->access, IOVA(iova), len, refs,
			 cmd->access_pages.flags & MOCK_ACCESS_PAGES_WRITE ? ACCESS_WRITE : 0);
	if (!err && theirs) {
		err = check_pages(theirs, refs, n);
		if (err)
			access_unpin(m->access, IOVA(iova), len);
	}
	free(refs);
	if (!err) {
		item->iova = iova;
		item->len = len;
		item->id = m->next_id++;
		list_add_tail(&m->items, &item->node);
	}
	return err;
}

long mock_access_pages(struct ioctl_call *k)
{
	struct mock_cmd *cmd = k->cmd;
	uint64_t iova = cmd->access_pages.iova, len = cmd->access_pages.length, uptr = cmd->access_pages.uptr;
	struct pages *theirs = NULL;
	uint64_t first, span;
	struct mock_access *m;
	struct item *item;
	int err;

	if (len > LENGTH_MAX)
		return -ENOMEM;
	if (cmd->access_pages.flags & ~(uint32_t)(MOCK_ACCESS_PAGES_WRITE | MOCK_ACCESS_SYZ))
		return -EOPNOTSUPP;
	err = find(k, &m);
	if (!err)
		err = ioctl_expect_response(k, sizeof(*cmd));
	if (err)
		return err;
	if (!access_ops(m->access)->pins)
		return -EOPNOTSUPP;
	if (uptr && len) {
		/* The caller's pages that should lie behind the pages around iova; where none can be, there is none. */
		if (ioas_page_span(ALIGN_DOWN(uptr - iova % PF_PAGE_SIZE, PF_PAGE_SIZE), iova % PF_PAGE_SIZE + len,
				   &first, &span))
			ioas_page_span(NOWHERE, iova % PF_PAGE_SIZE + len, &first, &span);
		err = ucall_get_pages_lazy(k->c, first, span, &theirs);
		if (err)
			return err;
	}
	item = mem_calloc(1, sizeof(*item));
	err = item ? pin_item(m, cmd, theirs, item) : -ENOMEM;
	pages_put(theirs);
	if (err) {
		free(item);
		return err;
	}
	cmd->access_pages.out_id = item->id;
	err = ioctl_respond(k, sizeof(*cmd));
	if (err)
		item_drop(m, item);
	return err;
}

long mock_access_rw(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	uint64_t len = cmd->access_rw.length;
	bool write = cmd->access_rw.flags & MOCK_ACCESS_RW_WRITE;
	struct mock_access *m;
	void *buf;
	int err;

	if (len > LENGTH_MAX)
		return -ENOMEM;
	if (cmd->access_rw.flags & ~(uint32_t)(MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH | MOCK_ACCESS_SYZ))
		return -EOPNOTSUPP;
	err = find(k, &m);
	if (err)
		return err;
	buf = mem_calloc(1, len ? len : 1);
	if (!buf)
		return -ENOMEM;
	if (write && len)
		err = ucall_copy_in(k->c, cmd->access_rw.uptr, buf, len);
	if (!err)
		err = access_rw(m->access, IOVA(cmd->access_rw.iova), buf, len,
				cmd->access_rw.flags & (ACCESS_WRITE | ACCESS_SLOW_PATH));
	if (!err && !write && len)
		err = ucall_copy_out(k->c, cmd->access_rw.uptr, buf, len);
	free(buf);
	return err;
}
