/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile client of the VFIO interface, with groups, devices' own nodes and iommufds: any ioctl on any file of ours,
 * whatever the structs hold, with memory that cannot be read, inputs that have to be asked for, descriptors of every
 * kind, reads, writes and mappings at any offset, while the functions raise interrupts and issue DMA. At the end
 * everything is closed and nothing may be left: the next input finds the same machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/event.h"
#include "base/loop.h"
#include "iommu/iommu.h"
#include "iommufd/iommufd.h"
#include "mm/mm.h"
#include "pci/p2p.h"
#include "pci/pci.h"
#include "proto/channel.h"
#include "uapi/ucall.h"
#include "vfio/vfio.h"

#define FILES	   8
#define MEM_BYTES  (32 * PF_PAGE_SIZE)
#define INPUTS	   512
#define BAR_BYTES  0x4000
#define CMD_BASE   100
#define BAR_MAPPED 0x10000ull /* in an address: no memory */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what the fuzzer decides ---- */

struct bytes {
	const uint8_t *p;
	size_t left;
};

static uint8_t take8(struct bytes *b)
{
	if (!b->left)
		return 0;
	b->left--;
	return *b->p++;
}

static uint64_t take(struct bytes *b, unsigned int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | take8(b);
	return v;
}

/* ---- the client ---- */

struct input {
	uint64_t addr;
	size_t len;
	int error;
	uint8_t *data;
};

struct client {
	struct ucall c;
	struct bytes in;
	struct events evs;
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct vfio *v;
	struct iommufd *iommufd;
	struct pci_func *func[2];
	struct p2p_policy p2p; /* the first may reach the second */
	struct ufile *file[FILES];
	struct loop *loop;
	int memfd, efd, null;
	int spare_fd; /* the first number that is free between inputs */
	struct input input[INPUTS];
	unsigned int ninput;
};

static struct client *to_client(struct ucall *c)
{
	return container_of(c, struct client, c);
}

/* Memory holds what the fuzzer says when it is first read during a call; the first word is often a plausible argsz. */
static int fuzz_copy_in(struct ucall *c, uint64_t addr, void *dst, size_t len)
{
	struct client *k = to_client(c);
	struct input *in;
	unsigned int i;
	uint8_t how;

	for (i = 0; i < k->ninput; i++) {
		in = &k->input[i];
		if (in->addr != addr || in->len != len)
			continue;
		if (!in->error)
			memcpy(dst, in->data, len);
		return in->error;
	}
	if (k->ninput == INPUTS)
		return -EFAULT;
	in = &k->input[k->ninput++];
	how = take8(&k->in);
	*in = (struct input){addr, len, how < 8 ? -EFAULT : 0, calloc(1, len ? len : 1)};
	for (i = 0; i < len && k->in.left; i++)
		in->data[i] = take8(&k->in);
	if (how & 0x80 && len >= 4) {
		uint32_t argsz = len + (how & 0x40 ? 256 : 0);

		memcpy(in->data, &argsz, 4);
	}
	if (how & 1)
		return UCALL_AGAIN;
	if (!in->error)
		memcpy(dst, in->data, len);
	return in->error;
}

static int fuzz_copy_out(struct ucall *c, uint64_t addr, const void *src, size_t len)
{
	void *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, src, len); /* a sanitizer looks at every byte */
	free(copy);
	return 0;
}

static int fuzz_get_fd(struct ucall *c, int client_fd, int *fd)
{
	struct client *k = to_client(c);
	const int kind = client_fd & 3;

	if (kind == 3)
		return -EBADF;
	*fd = fcntl(kind == 2 ? k->null : k->efd, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? -EBADF : 0;
}

static int fuzz_get_file(struct ucall *c, int client_fd, struct ufile **f)
{
	struct client *k = to_client(c);
	unsigned int i = client_fd & 15;

	if (i >= FILES)
		return -EINVAL;
	*f = k->file[i];
	return *f ? 0 : -EBADF;
}

static int fuzz_get_pages(struct ucall *c, uint64_t va, uint64_t len, enum ucall_pages how, struct pages **p)
{
	struct client *k = to_client(c);
	struct page_slice s = {.len = len, .writable = !(va & PF_PAGE_SIZE)};
	int ret;

	if (len > MEM_BYTES || va & BAR_MAPPED)
		return -EFAULT;
	ret = backing_get_fd(k->cache, k->memfd, &s.backing);
	if (ret)
		return ret;
	ret = pages_new(va, &s, 1, c->owner, p);
	backing_put(s.backing);
	return ret;
}

/* The address says of which of our files, and which region of it: whether it has any is for others to find out. */
static int fuzz_get_mapped(struct ucall *c, uint64_t va, uint64_t len, struct ufile **f, uint64_t *off)
{
	struct client *k = to_client(c);

	*f = k->file[va >> 20 & (FILES - 1)];
	*off = REGION_OFFSET_MAGIC | (va >> 24 & 15) << REGION_INDEX_SHIFT | (va & 0x7000);
	return va & BAR_MAPPED && *f ? 0 : -EFAULT;
}

static int install_at(struct client *k, struct ufile *f)
{
	unsigned int i;

	for (i = 0; i < FILES; i++)
		if (!k->file[i]) {
			k->file[i] = f;
			return 0;
		}
	return -EMFILE;
}

static int fuzz_install(struct ucall *c, struct ufile *f, uint64_t addr)
{
	return install_at(to_client(c), f);
}

static int fuzz_get_file_pages(struct ucall *c, int client_fd, uint64_t off, uint64_t len, struct pages **p)
{
	return -EBADF;
}

static const struct ucall_ops fuzz_ops = {
    .copy_in = fuzz_copy_in,
    .copy_out = fuzz_copy_out,
    .get_fd = fuzz_get_fd,
    .get_file = fuzz_get_file,
    .get_pages = fuzz_get_pages,
    .get_mapped = fuzz_get_mapped,
    .get_file_pages = fuzz_get_file_pages,
    .install = fuzz_install,
};

/* ---- a function ---- */

static uint64_t func_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	if (off + size > BAR_BYTES)
		abort();
	return off;
}

static void func_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	if (off + size > BAR_BYTES)
		abort();
	pci_msix_raise(f, val & 7);
}

static void func_region(struct pci_func *f, uint64_t off, void *buf, size_t len)
{
	if (!len || off >= 100 || len > 100 - off)
		abort();
	memset(buf, 1, len);
}

static void func_reset(struct pci_func *f)
{
}

static void func_destroy(struct pci_func *f)
{
	pci_func_fini(f);
	free(f);
}

static const struct pci_func_ops func_ops = {
    .bar_read = func_read,
    .bar_write = func_write,
    .reset = func_reset,
    .destroy = func_destroy,
};

static struct pci_func *func_new(struct events *evs, uint16_t bdf, unsigned int group)
{
	const struct pci_ids ids = {.vendor = 0x1234, .device = 0x5678};
	struct pci_func *f = calloc(1, sizeof(*f));

	if (!f || pci_func_init(f, &func_ops, "fuzz", &ids, evs) || pci_add_bar(f, 0, BAR_BYTES, true, false) ||
	    pci_add_mem_bar(f, 2, BAR_BYTES, true, true) || pci_add_pm(f) || pci_add_express(f) ||
	    pci_add_msix(f, 8, 0, 0x2000, 0x3000))
		abort();
	f->cfg[PCI_INTERRUPT_PIN] = 1;
	if (group == 2) {
		f->msix_apart = true;
		f->region[f->nregions++] = (struct pci_region){0x80001234, 1, 100, func_region};
	}
	pci_func_place(f, 0, bdf, group);
	return f;
}

/* ---- one run ---- */

static void do_open(struct client *k, uint8_t what)
{
	struct ufile *f;
	int ret;

	switch (what & 7) {
	case 0:
	case 2:
		ret = vfio_open_container(k->v, &f);
		break;
	case 4:
		ret = iommufd_open(k->iommufd, &f);
		if (!ret && what & 8) /* with a space, so that there is something to attach to */
			iommufd_compat_make(iommufd_ctx(f));
		break;
	case 6:
		ret = vfio_open_cdev(k->v, what >> 3 & 3, &f);
		break;
	default:
		ret = vfio_open_group(k->v, what >> 1 & 3, &f);
		break;
	}
	if (!ret && install_at(k, f))
		ufile_put(f);
}

static void do_close(struct client *k, unsigned int i)
{
	struct ufile *f = k->file[i % FILES];

	k->file[i % FILES] = NULL;
	if (f)
		ufile_put(f);
}

static void do_ioctl(struct client *k, struct ufile *f, uint8_t nr, uint64_t arg)
{
	unsigned int rounds = 0;
	long ret;

	k->c.at = 0;
	do {
		ret = f->ops->ioctl ? f->ops->ioctl(f, &k->c, _IO(VFIO_TYPE, CMD_BASE + nr % 64), arg) : -ENOTTY;
		if (++rounds > INPUTS + 8)
			abort();
		if (ret == UCALL_MORE)
			rounds = 0;
	} while (ret == UCALL_AGAIN || ret == UCALL_MORE);
	if (ret < -4095)
		abort();
	while (k->ninput)
		free(k->input[--k->ninput].data);
}

static void do_io(struct client *k, struct ufile *f, uint8_t op)
{
	uint64_t off = take(&k->in, 2) | take(&k->in, 1) << 40 | (op & 0x80 ? REGION_OFFSET_MAGIC : 0);
	size_t len = take(&k->in, 1) + (op & 0x40 ? 4096 : 0);
	uint8_t *buf = calloc(1, len ? len : 1);
	struct umap m;
	size_t i;

	if (!f->ops->pread)
		len = 0;
	if (len && op & 1) {
		for (i = 0; i < len && k->in.left; i++)
			buf[i] = take8(&k->in);
		if (f->ops->pwrite(f, buf, len, off) > (ssize_t)len)
			abort();
	} else if (len && op & 2) {
		if (f->ops->pread(f, buf, len, off) > (ssize_t)len)
			abort();
	} else if (f->ops->mmio_write && op & 8) {
		uint64_t v = take(&k->in, 4);

		f->ops->mmio_write(f, off & ~7ull, 1 << (v & 3), v);
		f->ops->mmio_read(f, off & ~7ull, 1 << (v & 3), &v);
	} else if (f->ops->mmap) {
		f->ops->mmap(f, off, take(&k->in, 3) << 8, PROT_READ, op & 4, &m);
	}
	free(buf);
}

static void do_device(struct client *k, uint8_t op)
{
	struct pci_func *f = k->func[op & 1];
	uint64_t val = take(&k->in, 2);

	if (op & 2)
		pci_msix_raise(f, val & 15);
	else if (op & 4)
		pci_dma_write(f, val << 8, &val, sizeof(val), NULL);
	else if (f->sink)
		f->sink->intx(f->sink, op & 8);
}

static void do_listen(struct client *k)
{
	eventfd_write(k->efd, 1);
	while (loop_step(k->loop, false))
		;
}

static void run(struct client *k)
{
	while (k->in.left) {
		uint8_t op = take8(&k->in), what = take8(&k->in);
		struct ufile *f = k->file[what % FILES];

		switch (op % 8) {
		case 0:
			do_open(k, what);
			break;
		case 1:
			do_close(k, what);
			break;
		case 2:
			do_device(k, what);
			break;
		case 3:
			do_listen(k);
			break;
		case 4:
			if (f)
				do_io(k, f, take8(&k->in));
			break;
		default:
			if (f)
				do_ioctl(k, f, op >> 3 | (what & 8) << 2, take(&k->in, 1 + (what >> 5)));
			break;
		}
	}
}

static uint64_t no_limit(void *ctx)
{
	return 24 * PF_PAGE_SIZE;
}

static const struct mm_owner_ops owner_ops = {.limit = no_limit};

static struct client *client_new(void)
{
	struct client *k = calloc(1, sizeof(*k));
	unsigned int i;

	if (!k)
		abort();
	events_init(&k->evs);
	k->cache = backing_cache_new(0, 0);
	k->owner = mm_owner_new(&owner_ops, NULL, NULL, 1, &k->evs);
	k->c = (struct ucall){&fuzz_ops, k->owner};
	k->memfd = memfd_create("fuzz", MFD_CLOEXEC);
	k->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	k->loop = loop_new();
	k->v = vfio_new(&k->evs);
	k->iommufd = iommufd_new(&k->evs, k->cache, false);
	if (k->memfd < 0 || k->efd < 0 || k->null < 0 || !k->v || !k->iommufd || !k->loop ||
	    ftruncate(k->memfd, MEM_BYTES))
		abort();
	vfio_set_loop(k->v, k->loop);
	if (p2p_allow(&k->p2p, "01:00.0:all"))
		abort();
	for (i = 0; i < 2; i++) {
		k->func[i] = func_new(&k->evs, 0x100 + i, 1 + i);
		k->func[i]->p2p = &k->p2p;
		if (vfio_add(k->v, k->func[i]))
			abort();
	}
	return k;
}

static void check_nothing_left(struct client *k)
{
	unsigned int i;
	int probe;

	if (mm_charged(k->owner))
		abort();
	for (i = 0; i < 2; i++)
		if (k->func[i]->sink || k->func[i]->decode || k->func[i]->master || k->func[i]->msix_live)
			abort();
	probe = dup(k->null);
	if (!k->spare_fd)
		k->spare_fd = probe;
	if (probe > k->spare_fd + 4) /* some are opened once, when first needed */
		abort();
	close(probe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct client *k;
	unsigned int i;

	if (!k)
		k = client_new();
	k->in = (struct bytes){data, size};
	run(k);
	for (i = 0; i < FILES; i++)
		do_close(k, i);
	check_nothing_left(k);
	return 0;
}
