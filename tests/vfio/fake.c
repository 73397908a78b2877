/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "pci/state.h"

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
	uint8_t byte;

	memset(to_toy(f)->reg, 0, TOY_BAR_SIZE);
	to_toy(f)->resets++;
	if (to_toy(f)->watch) {
		to_toy(f)->watched = true;
		to_toy(f)->watch_there = !guard_copy(&byte, to_toy(f)->watch, 1);
	}
	if (to_toy(f)->charged_at_reset)
		to_toy(f)->charged = mm_charged(to_toy(f)->charged_at_reset);
}

static void toy_destroy(struct pci_func *f)
{
	pci_func_fini(f);
	free(to_toy(f));
}

static const struct pci_func_ops toy_ops = {
    .bar_read = toy_read,
    .bar_write = toy_write,
    .reset = toy_reset,
    .destroy = toy_destroy,
};

static int toy_quiesce(struct pci_func *f)
{
	struct toy *t = to_toy(f);

	if (t->busy) {
		t->busy--;
		return -EAGAIN;
	}
	t->quiesced++;
	return t->quiesce_error;
}

static void toy_run(struct pci_func *f)
{
	to_toy(f)->runs++;
}

static void toy_save(struct pci_func *f, struct state_out *o)
{
	state_begin(o, "toy", 1, 0);
	state_put(o, to_toy(f)->reg, TOY_STATE);
	state_end(o);
}

static int toy_load(struct pci_func *f, struct state *s)
{
	uint8_t reg[TOY_STATE];
	struct state_in in;

	if (state_take(s, "toy", 1, &in))
		return -EINVAL;
	state_get(&in, reg, sizeof(reg));
	if (!state_good(&in) || state_all_taken(s))
		return -EINVAL;
	memcpy(to_toy(f)->reg, reg, sizeof(reg));
	return 0;
}

static const struct pci_func_ops toy_that_moves_ops = {
    .bar_read = toy_read,
    .bar_write = toy_write,
    .reset = toy_reset,
    .destroy = toy_destroy,
    .quiesce = toy_quiesce,
    .run = toy_run,
    .save = toy_save,
    .load = toy_load,
};

static struct toy *toy_new(struct events *evs, uint16_t bdf, unsigned int group)
{
	const struct pci_ids ids = {.vendor = 0x1234, .device = 0x5678, .class = 0x010802, .revision = 1};
	struct toy *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_int_equal(pci_func_init(&t->f, group == 9 ? &toy_that_moves_ops : &toy_ops, "toy", &ids, evs), 0);
	assert_int_equal(pci_add_bar(&t->f, 0, TOY_BAR_SIZE, true, false), 0);
	assert_int_equal(pci_add_mem_bar(&t->f, 2, PF_PAGE_SIZE, false, true), 0);
	assert_int_equal(pci_add_pm(&t->f), 0);
	assert_int_equal(pci_add_express(&t->f), 0);
	assert_int_equal(pci_add_msix(&t->f, TOY_VECTORS, 0, TOY_TABLE, TOY_PBA), 0);
	t->f.cfg[PCI_INTERRUPT_PIN] = 1;
	pci_func_place(&t->f, 0, bdf, group);
	return t;
}

struct ufile *fake_container(struct fake *k)
{
	struct ufile *f;

	assert_int_equal(vfio_open_container(k->v, &f), 0);
	return fake_keep(k, f);
}

struct ufile *fake_iommufd(struct fake *k)
{
	struct ufile *f;

	assert_int_equal(iommufd_open(k->iommufd, &f), 0);
	return fake_keep(k, f);
}

struct ufile *fake_cdev(struct fake *k, unsigned int n)
{
	struct ufile *f;

	assert_int_equal(vfio_open_cdev(k->v, n, &f), 0);
	return fake_keep(k, f);
}

struct ufile *fake_group(struct fake *k, unsigned int n)
{
	struct ufile *f;

	assert_int_equal(vfio_open_group(k->v, n, &f), 0);
	return fake_keep(k, f);
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

int fake_setup(void **state)
{
	static const struct {
		uint16_t bdf;
		unsigned int group;
	} place[TOYS] = {{0x100, 7}, {0x200, 7}, {0x101, 9}};
	struct fake *k = fake_client_new();
	int i;

	k->v = vfio_new(&k->evs);
	k->iommufd = iommufd_new(&k->evs, k->cache, false);
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

	fake_client_check(k);
	vfio_free(k->v);
	iommufd_free(k->iommufd);
	fake_client_free(k);
	return 0;
}
