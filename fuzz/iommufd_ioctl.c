/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile client of /dev/iommu: any ioctl, the test interface's too, whatever the structures hold; descriptors of
 * queues that are read late and written to; devices that are bound, attached and issue DMA. At the end everything is
 * closed, in some order, and nothing may be left.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/event.h"
#include "base/util.h"
#include "iommu/iommu.h"
#include "iommufd/iommufd.h"
#include "iommufd/mock_abi.h"
#include "mm/mm.h"
#include "proto/channel.h"
#include "uapi/iommufd_abi.h"
#include "uapi/ucall.h"

#define FILES	  12
#define DEVICES	  3
#define MEM_PAGES 16 /* from address 0 on */
#define MEM_BYTES (MEM_PAGES * PF_PAGE_SIZE)
#define CMD_WORDS 20
#define ASKED	  64
#define BASE	  MOCK_APERTURE_FIRST

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
	const uint8_t *p;
	size_t left;
};

struct client {
	struct ucall c;
	struct bytes in;
	struct events evs;
	struct backing_cache *cache;
	struct mm_owner *owner[2];
	struct iommufd *m;
	struct ufile *file[FILES];
	size_t unread[FILES]; /* sends of queues that nobody has read */
	struct dma_dev *dma[DEVICES];
	struct iommufd_device *dev[DEVICES];
	struct iommufd_ctx *ctx[DEVICES];
	uint32_t devid[DEVICES];
	struct dma_request request[DEVICES];
	bool attached[DEVICES];
	uint8_t *mem;
	int memfd, null;
	int spare_fd; /* the first number that is free between inputs */
	uint64_t asked[ASKED];
	unsigned int nasked;
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

/* A word that means something more often than not. */
static uint32_t take_word(struct bytes *b)
{
	static const uint32_t known[] = {
	    MOCK_HWPT_DATA,
	    MOCK_VIOMMU_TYPE,
	    MOCK_VEVENTQ_TYPE,
	    MOCK_HW_INFO_TYPE,
	    BASE,
	    BASE + 2048,
	    BASE + 8192,
	    2048,
	    4096,
	    8192,
	    UINT32_MAX,
	    1u << 31,
	    0x55aa,
	    1024,
	    24,
	    12,
	};
	uint8_t how = take8(b);

	if (how < 0x50)
		return 0;
	if (how < 0xb0)
		return how & 15;
	if (how < 0xc0)
		return (how & 15) << 12;
	if (how < 0xe0)
		return known[how & 15];
	return how < 0xf0 ? BASE + ((how & 15) << 11) : take(b, 4);
}

/* ---- the client ---- */

static struct client *to_client(struct ucall *c)
{
	return container_of(c, struct client, c);
}

/* Some inputs have to be asked for, each of them once. */
static bool must_ask(struct client *k, uint64_t what)
{
	for (unsigned int i = 0; i < k->nasked; i++)
		if (k->asked[i] == what)
			return false;
	if (k->nasked == ASKED || take8(&k->in) < 0xc0)
		return false;
	k->asked[k->nasked++] = what;
	return true;
}

static bool in_mem(uint64_t addr, uint64_t len)
{
	return addr < MEM_BYTES && len <= MEM_BYTES - addr;
}

static int fuzz_copy_in(struct ucall *c, uint64_t addr, void *dst, size_t len)
{
	struct client *k = to_client(c);

	if (must_ask(k, addr ^ len << 32))
		return UCALL_AGAIN;
	if (!in_mem(addr, len))
		return -EFAULT;
	memcpy(dst, k->mem + addr, len);
	return 0;
}

static int fuzz_copy_out(struct ucall *c, uint64_t addr, const void *src, size_t len)
{
	struct client *k = to_client(c);
	void *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, src, len); /* a sanitizer looks at every byte */
	if (in_mem(addr, len))
		memcpy(k->mem + addr, copy, len);
	free(copy);
	return addr == 0xfff0 ? -ENOMEM : 0;
}

static int fuzz_get_fd(struct ucall *c, int client_fd, int *fd)
{
	*fd = fcntl(to_client(c)->null, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? -EBADF : 0;
}

static int fuzz_get_file(struct ucall *c, int client_fd, struct ufile **f)
{
	unsigned int i = client_fd & 15;

	if (i >= FILES)
		return -EINVAL;
	*f = to_client(c)->file[i];
	return *f ? 0 : -EBADF;
}

static int fuzz_get_pages(struct ucall *c, uint64_t va, uint64_t len, enum ucall_pages how, struct pages **p)
{
	struct client *k = to_client(c);
	struct page_slice s = {.offset = va, .len = len, .writable = !(va & (4 * PF_PAGE_SIZE))};
	int ret;

	if (must_ask(k, va ^ len))
		return UCALL_AGAIN;
	if (!in_mem(va, len)) {
		s = (struct page_slice){.len = len};
		return how == UCALL_PAGES_LAZY ? pages_new(va, &s, 1, c->owner, p) : -EFAULT;
	}
	ret = backing_get_fd(k->cache, k->memfd, &s.backing);
	if (ret)
		return ret;
	ret = pages_new(va, &s, 1, c->owner, p);
	backing_put(s.backing);
	return ret;
}

static int fuzz_get_file_pages(struct ucall *c, int client_fd, uint64_t off, uint64_t len, struct pages **p)
{
	struct client *k = to_client(c);
	struct page_slice s = {.offset = off, .len = len, .writable = true};
	int ret;

	if (!in_mem(off, len) || client_fd & 8)
		return -EINVAL;
	ret = backing_get_fd(k->cache, k->memfd, &s.backing);
	if (ret)
		return ret;
	ret = pages_new(off, &s, 1, c->owner, p);
	backing_put(s.backing);
	return ret;
}

static size_t fuzz_send(struct ufile *f, const void *buf, size_t len)
{
	size_t *unread = f->host, n = *unread < 3 ? len : *unread == 3 ? len / 2 : 0;
	uint8_t copy[64];

	if (len > sizeof(copy))
		abort();
	memcpy(copy, buf, n);
	*unread += n > 0;
	return n;
}

static size_t fuzz_unread(struct ufile *f)
{
	return *(size_t *)f->host;
}

static int install_at(struct client *k, struct ufile *f)
{
	for (unsigned int i = 0; i < FILES; i++)
		if (!k->file[i]) {
			k->file[i] = f;
			k->unread[i] = 0;
			if (f->ops->written) {
				f->host = &k->unread[i];
				f->send = fuzz_send;
				f->unread = fuzz_unread;
			}
			return i;
		}
	return -EMFILE;
}

static int fuzz_install(struct ucall *c, struct ufile *f, uint64_t addr)
{
	struct client *k = to_client(c);
	int32_t fd = install_at(k, f);

	if (fd < 0)
		return fd;
	if (in_mem(addr, sizeof(fd)))
		memcpy(k->mem + addr, &fd, sizeof(fd));
	return 0;
}

static const struct ucall_ops fuzz_ops = {
    .copy_in = fuzz_copy_in,
    .copy_out = fuzz_copy_out,
    .get_fd = fuzz_get_fd,
    .get_file = fuzz_get_file,
    .get_pages = fuzz_get_pages,
    .get_file_pages = fuzz_get_file_pages,
    .install = fuzz_install,
};

/* ---- one run ---- */

static void do_open(struct client *k)
{
	struct ufile *f;

	if (!iommufd_open(k->m, &f) && install_at(k, f) < 0)
		ufile_put(f);
}

static void do_close(struct client *k, unsigned int i)
{
	struct ufile *f = k->file[i % FILES];

	k->file[i % FILES] = NULL;
	if (f) {
		f->send = NULL;
		f->unread = NULL;
		ufile_put(f);
	}
}

static void call(struct client *k, struct ufile *f, unsigned int cmd, uint64_t arg)
{
	unsigned int rounds = 0;
	long ret;

	k->nasked = 0;
	do {
		ret = f->ops->ioctl(f, &k->c, cmd, arg);
		if (++rounds > ASKED + 8)
			abort();
	} while (ret == UCALL_AGAIN);
	if (ret < -4095)
		abort();
}

static void do_ioctl(struct client *k, struct ufile *f, uint8_t what)
{
	uint32_t words[CMD_WORDS];
	unsigned int nr = what % 32, cmd = IOMMUFD_NR(IOMMUFD_CMD_BASE + nr), first = 1;
	uint64_t arg = 0;

	/* Structures stand on page 0, and what they point to mostly as well. */
	if (nr >= 22 && nr < 30) {
		cmd = IOMMUFD_NR(IOMMUFD_CMD_TEST);
	} else if (nr >= 30) {
		nr = take8(&k->in) % 24;
		cmd = _IO(VFIO_TYPE, VFIO_BASE + nr);
		arg = what & 32 ? take8(&k->in) : 0;
	}
	words[0] = what & 64 ? 40 + (take8(&k->in) & 63) : sizeof(words) - 8;
	if (cmd == IOMMUFD_NR(IOMMUFD_CMD_TEST)) {
		words[1] = take8(&k->in) % 24;
		first = 2;
	}
	for (unsigned int i = first; i < CMD_WORDS; i++)
		words[i] = i < 2 || k->in.left ? take_word(&k->in) : 0;
	/* Structures are of different sizes: a tail must be zero. */
	for (unsigned int i = 4 + take8(&k->in) % CMD_WORDS; i < CMD_WORDS; i++)
		words[i] = 0;
	memcpy(k->mem, words, sizeof(words));
	k->c.owner = k->owner[what >> 7];
	call(k, f, cmd, arg);
}

/* One structure as it is meant to be; the word of it that is wanted. */
static uint32_t ask(struct client *k, struct ufile *f, unsigned int nr, const uint32_t *words, unsigned int n,
		    unsigned int out)
{
	uint32_t s[CMD_WORDS] = {nr == IOMMUFD_CMD_TEST ? 72 : n * 4};

	memcpy(s + 1, words, (n - 1) * sizeof(*s));
	memcpy(k->mem, s, sizeof(s));
	call(k, f, IOMMUFD_NR(nr), 0);
	memcpy(s, k->mem, sizeof(s));
	return s[out];
}
#define ASK(nr, out, ...)                                                                                              \
	ask(k, f, nr, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4 + 1, out)

/* What takes more luck than a fuzzer has: a device behind a nested page table of a virtual IOMMU, and all around it. */
static void do_scene(struct client *k, struct ufile *f, uint8_t what)
{
	uint32_t flags = what & 7, ioas, stdev, dev, parent, viommu, nested, fault;

	ioas = ASK(IOMMUFD_CMD_IOAS_ALLOC, 2, 0, 0);
	stdev = ASK(IOMMUFD_CMD_TEST, 4, MOCK_OP_MOCK_DOMAIN_FLAGS, ioas, 0, 0, 0, 0, flags);
	memcpy(&dev, k->mem + 24, sizeof(dev));
	ASK(IOMMUFD_CMD_IOAS_MAP, 0, 7, ioas, 0, 0, 0, 4 << 12, 0, BASE, 0);
	parent = ASK(IOMMUFD_CMD_HWPT_ALLOC, 4, 1 | (flags & 1 ? 0 : 2), dev, ioas, 0, 0, 0, 0, 0, 0);
	viommu = ASK(IOMMUFD_CMD_VIOMMU_ALLOC, 5, 0, MOCK_VIOMMU_TYPE, dev, parent, 0, what & 8 ? 24 : 0, 0, 0x1000, 0);
	if (!(what & 16))
		ASK(IOMMUFD_CMD_VDEVICE_ALLOC, 0, viommu, dev, 0, 9, 0);
	fault = ASK(IOMMUFD_CMD_FAULT_QUEUE_ALLOC, 2, 0, 0, 0);
	nested = ASK(IOMMUFD_CMD_HWPT_ALLOC, 4, 4 | (flags & 4 ? 8 : 0), dev, what & 32 ? parent : viommu, 0, 0,
		     MOCK_HWPT_DATA, 4, 0x1000, 0, fault, 0);
	ASK(IOMMUFD_CMD_TEST, 0, MOCK_OP_MOCK_DOMAIN_REPLACE, stdev, 0, nested);
	ASK(IOMMUFD_CMD_VEVENTQ_ALLOC, 0, 0, viommu, MOCK_VEVENTQ_TYPE, 1 + (what >> 6), 0, 0, 0);
	ASK(IOMMUFD_CMD_HW_QUEUE_ALLOC, 0, 0, viommu, MOCK_HW_QUEUE_TYPE, 0, 0, BASE, 0, 4096, 0);
	for (unsigned int i = 0; i < 3; i++) {
		ASK(IOMMUFD_CMD_TEST, 0, MOCK_OP_TRIGGER_VEVENT, 0, 0, dev);
		ASK(IOMMUFD_CMD_TEST, 0, MOCK_OP_TRIGGER_IOPF, 0, 0, dev, i);
		ASK(IOMMUFD_CMD_TEST, 0, MOCK_OP_PASID_ATTACH, stdev, 0, 1022 + i, nested);
	}
}

/* A device behind a guest's stream table entry, descriptors and tables, all of which lie on a page of the client's. */
static void do_smmu(struct client *k, struct ufile *f, uint8_t what)
{
	unsigned int i = what % DEVICES;
	uint32_t dev, ioas, parent, viommu, nested;
	uint64_t *words = (uint64_t *)(k->mem + 0x2000);

	if (!k->dev[i] || k->ctx[i] != iommufd_ctx(f))
		return;
	dev = k->devid[i];
	ioas = ASK(IOMMUFD_CMD_IOAS_ALLOC, 2, 0, 0);
	ASK(IOMMUFD_CMD_IOAS_MAP, 0, 7, ioas, 0, 0, 0, 8 << 12, 0, 0, 0);
	parent = ASK(IOMMUFD_CMD_HWPT_ALLOC, 4, 1, dev, ioas, 0, 0, 0, 0, 0, 0);
	viommu = ASK(IOMMUFD_CMD_VIOMMU_ALLOC, 5, 0, IOMMU_VIOMMU_TYPE_ARM_SMMUV3, dev, parent, 0, 0, 0, 0, 0);
	if (!(what & 8))
		ASK(IOMMUFD_CMD_VDEVICE_ALLOC, 0, viommu, dev, 0, 9, 0);
	ASK(IOMMUFD_CMD_VEVENTQ_ALLOC, 0, 0, viommu, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, 1 + (what >> 6), 0, 0, 0);
	words[0] = 1 | 5 << 1 | (take8(&k->in) & 3) << 4 | 0x2100 | (uint64_t)(take8(&k->in) & 31) << 59;
	words[1] = take8(&k->in) & 3;
	if (what & 16)
		words[take8(&k->in) & 1] ^= BIT64(take8(&k->in) & 63);
	nested = ASK(IOMMUFD_CMD_HWPT_ALLOC, 4, 0, dev, viommu, 0, 0, IOMMU_HWPT_DATA_ARM_SMMUV3, 16, 0x2000, 0, 0, 0);
	/* Descriptors of all kinds in a row, of which many lead to this page. */
	for (unsigned int n = 32; n < 512; n++)
		words[n] = 0x2000 | 0x443;
	for (unsigned int n = 32; n < 64; n += 8) {
		words[n] = 25 | 1 << 30 | 1ull << 31 | 5ull << 32 | 1ull << 41 | 7ull << 43 | 3ull << 45;
		words[n] ^= BIT64(44) ^ BIT64(take8(&k->in) & 63);
	}
	for (unsigned int n = take8(&k->in) & 15; n; n--)
		words[32 + (take8(&k->in) << 1)] = take(&k->in, 4) | (uint64_t)take8(&k->in) << 48;
	if (!k->attached[i])
		k->attached[i] = !iommufd_device_attach(k->dev[i], &nested);
	else
		iommufd_device_replace(k->dev[i], &nested);
	for (unsigned int n = 0; n < 4; n++) {
		dma_write(dma_dev_pasid(k->dma[i], take8(&k->in) & 7), IOVA((uint64_t)take8(&k->in) << 5), k->mem, 16,
			  NULL);
		words[0] = take8(&k->in) | (uint64_t)take8(&k->in) << 12 | 9ull << 32;
		ASK(IOMMUFD_CMD_HWPT_INVALIDATE, 0, viommu, 0x2000, 0, IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3, 16, 1,
		    0);
	}
}

/* A device with PASIDs behind page tables that follow the client, which has one page or more there. */
static void do_follow(struct client *k, struct ufile *f, uint8_t what)
{
	uint32_t dev, id, ioas, fault, hwpt;
	unsigned int i = what % DEVICES;

	if (!k->dev[i] || k->ctx[i] != iommufd_ctx(f))
		return;
	dev = k->devid[i];
	ioas = ASK(IOMMUFD_CMD_IOAS_ALLOC, 2, 0, 0);
	fault = ASK(IOMMUFD_CMD_FAULT_QUEUE_ALLOC, 2, 0, 0, 0);
	memset(k->mem + 0x1000, 0, 8);
	hwpt = id = ASK(IOMMUFD_CMD_HWPT_ALLOC, 4, what & 4 ? 12 : 4, dev, ioas, 0, 0, IOMMU_HWPT_DATA_PINFOLD_FOLLOW,
			8, 0x1000, 0, fault, 0);
	ASK(IOMMUFD_CMD_IOAS_MAP, 0, 7, ioas, 0, 0x1000, 0, (1 + (what >> 5)) << 12, 0, 0x1000, 0);
	if (what & 8)
		iommufd_device_pasid_attach(k->dev[i], what >> 4, hwpt);
	else if (!k->attached[i])
		k->attached[i] = !iommufd_device_attach(k->dev[i], &id);
	else
		iommufd_device_replace(k->dev[i], &id);
}

/* Of one device: DMA under a PASID, page requests, PASIDs that come and go; and the client's memory changes. */
static void do_pasid(struct client *k, uint8_t op, uint8_t what)
{
	unsigned int i = op % DEVICES;
	struct dma_dev *d = dma_dev_pasid(k->dma[i], what & 7);
	iova_t at = IOVA((uint64_t)(what >> 3) << 10);
	uint8_t buf[4096];

	switch (op >> 4 & 7) {
	case 0:
		if (k->dev[i])
			iommufd_device_pasid_attach(k->dev[i], 1 + (what & 3), what >> 3);
		break;
	case 1:
		if (k->dev[i])
			iommufd_device_pasid_detach(k->dev[i], 1 + (what & 3));
		break;
	case 2:
		dma_request_cancel(&k->request[i]);
		if (dma_probe(d, at, sizeof(buf), what & 1, &at))
			dma_request_page(d, at, 1 + (what & 1), &k->request[i]);
		break;
	case 3:
		dma_request_cancel(&k->request[i]);
		break;
	case 4:
		iommufd_forget(k->m, k->owner[what & 1], (uint64_t)(what >> 4) << 12, (uint64_t)(what & 15) << 12);
		break;
	case 5:
		dma_dev_set_master(k->dma[i], what & 1);
		break;
	case 6:
		dma_write(d, at, k->mem, 16, NULL);
		break;
	default:
		dma_read(d, at, buf, sizeof(buf), NULL);
	}
}

static void answered(struct dma_request *r, bool ok)
{
}

static void do_stream(struct client *k, unsigned int i, uint8_t op)
{
	struct ufile *f = k->file[i % FILES];
	uint32_t answer[2] = {1 + (op & 3), op >> 4 & 3};

	if (!f || !f->ops->written)
		return;
	if (op & 4) {
		f->ops->written(f, answer, op & 8 ? sizeof(answer) : 3);
	} else {
		k->unread[i % FILES] -= MIN(k->unread[i % FILES], (size_t)(op & 3));
		f->ops->drained(f);
	}
}

static void unbind(struct client *k, unsigned int i)
{
	if (!k->dev[i])
		return;
	iommufd_device_pasid_detach_all(k->dev[i]);
	if (k->attached[i])
		iommufd_device_detach(k->dev[i]);
	iommufd_device_unbind(k->dev[i]);
	k->dev[i] = NULL;
	k->attached[i] = false;
}

static void do_device(struct client *k, struct ufile *f, uint8_t op)
{
	struct iommufd_ctx *ctx = f ? iommufd_ctx(f) : NULL;
	unsigned int i = op & 15;
	uint32_t id = take8(&k->in) & 31;
	uint64_t v = 0;

	i %= DEVICES;
	if (!k->dev[i]) {
		/* The last two are of one group: of one context at a time, as vfio/ sees to. */
		if (ctx && (!i || !k->dev[3 - i] || ctx == k->ctx[3 - i])) {
			if (!iommufd_device_bind(ctx, k->dma[i], k->dma[!!i], iommufd_unit(op >> 7), &k->dev[i], &id)) {
				k->ctx[i] = ctx;
				k->devid[i] = id;
			}
		}
		return;
	}
	switch (op >> 4 & 7) {
	case 0:
		unbind(k, i);
		break;
	case 1:
	case 2:
	case 3:
		if (k->attached[i])
			iommufd_device_replace(k->dev[i], &id);
		else
			k->attached[i] = !iommufd_device_attach(k->dev[i], &id);
		break;
	case 4:
		if (k->attached[i])
			iommufd_device_detach(k->dev[i]);
		k->attached[i] = false;
		break;
	case 5:
		dma_write(k->dma[i], IOVA(BASE + (id << 9)), &v, sizeof(v), NULL);
		break;
	default:
		dma_read(k->dma[i], IOVA(id << 9), &v, sizeof(v), NULL);
		break;
	}
}

static void do_mmap(struct client *k, struct ufile *f)
{
	struct umap m;

	if (f->ops->mmap)
		f->ops->mmap(f, REGION_OFFSET_MAGIC + (take8(&k->in) << 12), take8(&k->in) << 12, PROT_READ, true, &m);
}

static void run(struct client *k)
{
	do_open(k);
	while (k->in.left) {
		uint8_t op = take8(&k->in), what = take8(&k->in);
		struct ufile *f = k->file[(op >> 4) % FILES];

		if (op & 8 || !f)
			f = k->file[0];
		switch (op & 7) {
		case 0:
			if (op < 0x20)
				do_open(k);
			else
				do_close(k, what);
			break;
		case 1:
			do_stream(k, op >> 3, what);
			break;
		case 2:
			do_device(k, f, what);
			break;
		case 3:
			if (f && what < 8)
				do_mmap(k, f);
			else if (what < 0x60)
				do_pasid(k, what + (op >> 3), take8(&k->in));
			else if (f && iommufd_ctx(f) && what < 0x90)
				do_follow(k, f, take8(&k->in));
			else if (f && iommufd_ctx(f) && what < 0xc0)
				do_smmu(k, f, take8(&k->in));
			else if (f && iommufd_ctx(f))
				do_scene(k, f, take8(&k->in));
			break;
		default:
			if (f && f->ops->ioctl)
				do_ioctl(k, f, what);
			break;
		}
	}
}

static uint64_t limit(void *ctx)
{
	return MEM_BYTES + 8 * PF_PAGE_SIZE;
}

static bool capable(void *ctx, int cap)
{
	return true;
}

static const struct mm_owner_ops owner_ops = {.limit = limit, .capable = capable};

static struct client *client_new(void)
{
	struct client *k = calloc(1, sizeof(*k));

	if (!k)
		abort();
	events_init(&k->evs);
	k->cache = backing_cache_new(0, 0);
	k->memfd = memfd_create("fuzz", MFD_CLOEXEC);
	k->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (k->memfd < 0 || k->null < 0 || ftruncate(k->memfd, MEM_BYTES))
		abort();
	k->mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, k->memfd, 0);
	k->m = iommufd_new(&k->evs, k->cache, true);
	if (k->mem == MAP_FAILED || !k->m)
		abort();
	for (unsigned int i = 0; i < 2; i++)
		k->owner[i] = mm_owner_new(&owner_ops, NULL, NULL, 1 + i, &k->evs);
	for (unsigned int i = 0; i < DEVICES; i++) {
		k->dma[i] = dma_dev_new(0x100 + i, &k->evs);
		dma_dev_set_master(k->dma[i], true);
		dma_dev_set_pri(k->dma[i], true);
		if (dma_dev_set_pasid_bits(k->dma[i], 4))
			abort();
		k->request[i].done = answered;
	}
	k->c = (struct ucall){&fuzz_ops, k->owner[0]};
	return k;
}

static void check_nothing_left(struct client *k)
{
	int probe;

	if (mm_charged(k->owner[0]) || mm_charged(k->owner[1]))
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
	memset(k->mem, 0, MEM_BYTES);
	for (i = 0; i < DEVICES; i++)
		dma_dev_set_master(k->dma[i], true);
	run(k);
	for (i = 0; i < DEVICES && size & 1; i++)
		unbind(k, i);
	for (i = 0; i < FILES; i++)
		do_close(k, size & 2 ? i : FILES - 1 - i);
	for (i = 0; i < DEVICES; i++)
		unbind(k, i);
	check_nothing_left(k);
	return 0;
}
