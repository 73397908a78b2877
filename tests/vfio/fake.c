/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- the toy function ---- */

static struct toy *to_toy(struct pci_func *f)
{
	return container_of(f, struct toy, f);
}

static void toy_note(struct toy *t, uint64_t off, unsigned int size, uint64_t val, bool write)
{
	if (t->nlog == ARRAY_SIZE(t->log))
		return;
	t->log[t->nlog].off = off;
	t->log[t->nlog].size = size;
	t->log[t->nlog].val = val;
	t->log[t->nlog++].write = write;
}

static uint64_t toy_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	struct toy *t = to_toy(f);
	uint64_t v = 0;

	memcpy(&v, t->reg + off, size);
	toy_note(t, off, size, v, false);
	return v;
}

static void toy_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct toy *t = to_toy(f);

	memcpy(t->reg + off, &val, size);
	toy_note(t, off, size, val, true);
}

static void toy_reset(struct pci_func *f)
{
	memset(to_toy(f)->reg, 0, TOY_BAR_SIZE);
	to_toy(f)->resets++;
	if (to_toy(f)->charged_at_reset)
		to_toy(f)->charged = mm_charged(to_toy(f)->charged_at_reset);
}

static void toy_destroy(struct pci_func *f)
{
	if (f->bar[2].memfd >= 0)
		close(f->bar[2].memfd);
	pci_func_fini(f);
	free(to_toy(f));
}

static const struct pci_func_ops toy_ops = {
    .bar_read = toy_read,
    .bar_write = toy_write,
    .reset = toy_reset,
    .destroy = toy_destroy,
};

static struct toy *toy_new(struct events *evs, uint16_t bdf, unsigned int group)
{
	const struct pci_ids ids = {.vendor = 0x1234, .device = 0x5678, .class = 0x010802, .revision = 1};
	struct toy *t = calloc(1, sizeof(*t));
	int memfd = memfd_create("bar2", MFD_CLOEXEC);

	assert_non_null(t);
	assert_return_code(ftruncate(memfd, PF_PAGE_SIZE), errno);
	assert_int_equal(pci_func_init(&t->f, &toy_ops, "toy", &ids, evs), 0);
	assert_int_equal(pci_add_bar(&t->f, 0, TOY_BAR_SIZE, true, false, -1), 0);
	assert_int_equal(pci_add_bar(&t->f, 2, PF_PAGE_SIZE, false, true, memfd), 0);
	assert_int_equal(pci_add_pm(&t->f), 0);
	assert_int_equal(pci_add_express(&t->f), 0);
	assert_int_equal(pci_add_msix(&t->f, TOY_VECTORS, 0, TOY_TABLE, TOY_PBA), 0);
	t->f.cfg[PCI_INTERRUPT_PIN] = 1;
	pci_func_place(&t->f, 0, bdf, group);
	return t;
}

/* ---- the client ---- */

bool fake_inside;

static bool step_out(void)
{
	bool was = fake_inside;

	fake_inside = false;
	return was;
}

static void step_in(bool *was)
{
	fake_inside = *was;
}

/* For the rest of the block the client runs. */
#define CLIENT_RUNS() bool was_inside __attribute__((cleanup(step_in), unused)) = step_out()

enum input_kind { IN_BYTES, IN_FD, IN_FILE, IN_PAGES };

struct input {
	enum input_kind kind;
	uint64_t addr, len;
	int error;
	void *data;
};
struct output {
	uint64_t addr;
	size_t len;
	void *data;
};

static struct fake *to_fake(struct ucall *c)
{
	return container_of(c, struct fake, c);
}

/* The input's record; NULL and UCALL_AGAIN in *err if the handler has to come again for it. */
static struct input *input_get(struct fake *k, enum input_kind kind, uint64_t addr, uint64_t len, int *err)
{
	struct input *in;
	size_t i;

	*err = 0;
	for (i = 0; i < k->ninputs; i++)
		if (k->inputs[i].kind == kind && k->inputs[i].addr == addr && k->inputs[i].len == len)
			return &k->inputs[i];
	k->inputs = realloc(k->inputs, (k->ninputs + 1) * sizeof(*k->inputs));
	in = &k->inputs[k->ninputs++];
	*in = (struct input){.kind = kind, .addr = addr, .len = len};
	if (kind == IN_BYTES) {
		struct iovec remote = {(void *)(uintptr_t)addr, len}, local;

		/* malloc exactly: an address sanitizer then sees a handler that reads on. */
		in->data = malloc(len ? len : 1);
		local = (struct iovec){in->data, len};
		in->error = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
	}
	if (k->again) {
		*err = UCALL_AGAIN;
		return NULL;
	}
	return in;
}

static int fake_copy_in(struct ucall *c, uint64_t addr, void *dst, size_t len)
{
	CLIENT_RUNS();
	struct input *in;
	int err;

	in = input_get(to_fake(c), IN_BYTES, addr, len, &err);
	if (!in)
		return err;
	if (!in->error)
		memcpy(dst, in->data, len);
	return in->error;
}

static int fake_copy_out(struct ucall *c, uint64_t addr, const void *src, size_t len)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	struct output *o;

	if (k->no_room)
		return -ENOMEM;
	k->outputs = realloc(k->outputs, (k->noutputs + 1) * sizeof(*o));
	o = &k->outputs[k->noutputs++];
	*o = (struct output){addr, len, malloc(len ? len : 1)};
	memcpy(o->data, src, len);
	return 0;
}

static int fake_get_fd(struct ucall *c, int client_fd, int *fd)
{
	CLIENT_RUNS();
	int err;

	if (!input_get(to_fake(c), IN_FD, client_fd, 0, &err))
		return err;
	*fd = fcntl(client_fd, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? -EBADF : 0;
}

static int fake_get_file(struct ucall *c, int client_fd, struct ufile **f)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	unsigned int i = client_fd - CLIENT_FD(0);
	int err;

	if (!input_get(k, IN_FILE, client_fd, 0, &err))
		return err;
	if (i < CLIENT_FDS && k->file[i]) {
		*f = k->file[i];
		return 0;
	}
	return fcntl(client_fd, F_GETFD) < 0 ? -EBADF : -EINVAL;
}

static int fake_get_pages(struct ucall *c, uint64_t va, uint64_t len, bool holes, struct pages **p)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	uint64_t off = va - (uintptr_t)k->mem, ro = MEM_BYTES - MEM_RO_PAGES * PF_PAGE_SIZE, head;
	struct page_slice s[2];
	size_t n = 0;
	int err;

	if (!input_get(k, IN_PAGES, va, len, &err))
		return err;
	if (off >= MEM_BYTES || len > MEM_BYTES - off)
		return -EFAULT;
	head = off < ro ? MIN(len, ro - off) : 0;
	if (head)
		s[n++] = (struct page_slice){NULL, MEM_FILE_OFF + off, head, true};
	if (head < len)
		s[n++] = (struct page_slice){NULL, MEM_FILE_OFF + off + head, len - head, false};
	err = backing_get_fd(k->cache, k->memfd, &s[0].backing);
	if (err)
		return err;
	s[1].backing = s[0].backing;
	err = pages_new(va, s, n, c->owner, p);
	backing_put(s[0].backing);
	return err;
}

static int fake_install(struct ucall *c, struct ufile *f, uint64_t addr)
{
	struct fake *k = to_fake(c);
	int i;

	for (i = 0; i < CLIENT_FDS; i++)
		if (!k->file[i]) {
			k->file[i] = f;
			k->installed = CLIENT_FD(i);
			return 0;
		}
	return -EMFILE;
}

static const struct ucall_ops fake_ops = {
    .copy_in = fake_copy_in,
    .copy_out = fake_copy_out,
    .get_fd = fake_get_fd,
    .get_file = fake_get_file,
    .get_pages = fake_get_pages,
    .install = fake_install,
};

static void drop_outputs(struct fake *k)
{
	while (k->noutputs)
		free(k->outputs[--k->noutputs].data);
	free(k->outputs);
	k->outputs = NULL;
}

static long write_outputs(struct fake *k, long ret)
{
	size_t i;

	for (i = 0; i < k->noutputs; i++) {
		struct iovec local = {k->outputs[i].data, k->outputs[i].len};
		struct iovec remote = {(void *)(uintptr_t)k->outputs[i].addr, k->outputs[i].len};

		if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)local.iov_len)
			ret = -EFAULT;
	}
	return ret;
}

long fake_ioctl(struct fake *k, struct ufile *f, unsigned int cmd, uintptr_t arg)
{
	long ret;

	k->installed = -1;
	k->rounds = 0;
	do {
		drop_outputs(k);
		fake_inside = true;
		ret = f->ops->ioctl(f, &k->c, cmd, arg);
		fake_inside = false;
		/* Each round must have asked for something new. */
		assert_true(++k->rounds <= k->ninputs + 1);
	} while (ret == UCALL_AGAIN);
	assert_true(ret > -4096);
	ret = write_outputs(k, ret);
	if (!ret && k->installed >= 0)
		ret = k->installed;
	drop_outputs(k);
	while (k->ninputs)
		free(k->inputs[--k->ninputs].data);
	free(k->inputs);
	k->inputs = NULL;
	return ret;
}

void fake_close(struct fake *k, struct ufile **f)
{
	int i;

	for (i = 0; i < CLIENT_FDS; i++)
		if (k->file[i] == *f)
			k->file[i] = NULL;
	ufile_put(*f);
	*f = NULL;
}

int fake_fd_of(struct fake *k, struct ufile *f)
{
	int i;

	for (i = 0; i < CLIENT_FDS; i++)
		if (k->file[i] == f)
			return CLIENT_FD(i);
	return -1;
}

static struct ufile *keep(struct fake *k, struct ufile *f)
{
	assert_int_equal(fake_install(&k->c, f, 0), 0);
	return f;
}

struct ufile *fake_container(struct fake *k)
{
	struct ufile *f;

	assert_int_equal(vfio_open_container(k->v, &f), 0);
	return keep(k, f);
}

struct ufile *fake_iommufd(struct fake *k)
{
	struct ufile *f;

	assert_int_equal(iommufd_open(k->iommufd, &f), 0);
	return keep(k, f);
}

struct ufile *fake_cdev(struct fake *k, unsigned int n)
{
	struct ufile *f;

	assert_int_equal(vfio_open_cdev(k->v, n, &f), 0);
	return keep(k, f);
}

struct ufile *fake_group(struct fake *k, unsigned int n)
{
	struct ufile *f;

	assert_int_equal(vfio_open_group(k->v, n, &f), 0);
	return keep(k, f);
}

struct ufile *fake_device(struct fake *k, struct ufile *group, const char *name)
{
	long fd = DO(group, VFIO_GROUP_GET_DEVICE_FD, name);

	assert_in_range(fd, CLIENT_FD(0), CLIENT_FD(CLIENT_FDS - 1));
	return k->file[fd - CLIENT_FD(0)];
}

struct session fake_session(struct fake *k, unsigned long kind)
{
	struct session s = {.container = fake_container(k), .group = fake_group(k, 7)};
	int32_t fd = fake_fd_of(k, s.container);

	assert_int_equal(DO(s.group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(s.container, VFIO_SET_IOMMU, kind), 0);
	s.device = fake_device(k, s.group, "0000:01:00.0");
	return s;
}

void fake_session_close(struct fake *k, struct session *s)
{
	fake_close(k, &s->device);
	fake_close(k, &s->group);
	fake_close(k, &s->container);
}

long fake_map(struct fake *k, struct ufile *container, uint64_t iova, uint64_t va, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = flags, .vaddr = va, .iova = iova, .size = size};

	return DO(container, VFIO_IOMMU_MAP_DMA, &m);
}

long fake_unmap(struct fake *k, struct ufile *container, uint64_t iova, uint64_t *size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .flags = flags, .iova = iova, .size = *size};
	long ret = DO(container, VFIO_IOMMU_UNMAP_DMA, &u);

	*size = u.size;
	return ret;
}

int fake_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static uint64_t fake_limit(void *ctx)
{
	return ((struct fake *)ctx)->limit;
}

static const struct mm_owner_ops owner_ops = {.limit = fake_limit};

int fake_setup(void **state)
{
	static const struct {
		uint16_t bdf;
		unsigned int group;
	} place[TOYS] = {{0x100, 7}, {0x200, 7}, {0x101, 9}};
	struct fake *k = calloc(1, sizeof(*k));
	int i;

	k->fds_before = fake_open_fds();
	events_init(&k->evs);
	k->limit = UINT64_MAX;
	k->cache = backing_cache_new(0, 0);
	k->owner = mm_owner_new(&owner_ops, k, NULL, getpid(), &k->evs);
	k->c = (struct ucall){&fake_ops, k->owner};
	k->memfd = memfd_create("client", MFD_CLOEXEC);
	assert_return_code(ftruncate(k->memfd, MEM_FILE_OFF + MEM_BYTES), errno);
	k->mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, k->memfd, MEM_FILE_OFF);
	k->hole = mmap(NULL, PF_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(k->mem != MAP_FAILED && k->hole != MAP_FAILED);
	k->v = vfio_new(&k->evs);
	k->iommufd = iommufd_new(&k->evs, k->cache, false, false);
	for (i = 0; i < TOYS; i++) {
		k->toy[i] = toy_new(&k->evs, place[i].bdf, place[i].group);
		assert_int_equal(vfio_add(k->v, &k->toy[i]->f), 0);
	}
	*state = k;
	return 0;
}

int fake_teardown(void **state)
{
	struct fake *k = *state;
	int i, after;

	for (i = 0; i < CLIENT_FDS; i++)
		assert_null(k->file[i]);
	assert_int_equal(mm_charged(k->owner), 0);
	vfio_free(k->v);
	iommufd_free(k->iommufd);
	mm_owner_put(k->owner);
	backing_cache_free(k->cache);
	munmap(k->mem, MEM_BYTES);
	munmap(k->hole, PF_PAGE_SIZE);
	close(k->memfd);
	after = fake_open_fds();
	assert_int_equal(after, k->fds_before);
	free(k);
	return 0;
}
