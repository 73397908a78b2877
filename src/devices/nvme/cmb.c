/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 3.1.11 to 3.1.14, 3.1.25 to 3.1.31: the controller's own memory. A Controller Memory Buffer is memory that is as lost
 * with power; a Persistent Memory Region is a file, and keeps what was written to it.
 *
 * Both have two addresses. On the bus they are a BAR, which is memory for whoever has the function. To the controller
 * they are the range of addresses that the host chose for them (CMBMSC, PMRMSC): what a command or a queue names in it
 * never leaves the controller, so no IOMMU and no bus master bit is asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/nvme/ctrl.h"
#include "pci/barmem.h"

#define CMB_BAR 2
#define PMR_BAR 4
#define UNIT	4096ULL /* CMBSZ.SZU 0 */

/* ---- addresses ---- */

static const struct nvme_own *own_of(const struct nvme *c, uint64_t addr, uint64_t len)
{
	const struct nvme_own *const all[] = {&c->cmb, &c->pmr};

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		const struct nvme_own *m = all[i];

		/* Any byte of it. */
		if (m->on && addr < m->base + m->size && (addr >= m->base || len > m->base - addr))
			return m;
	}
	return NULL;
}

/* Where it is. NULL: it runs over an end, which no host means to do. */
static char *own_at(struct nvme *c, const struct nvme_own *m, uint64_t addr, uint64_t len)
{
	if (addr < m->base || len > m->size - (addr - m->base))
		return NULL;
	if (m == &c->cmb)
		barmem_settle(c->f.bar[CMB_BAR].mem);
	return m->view + (addr - m->base);
}

int nvme_mem_read(struct nvme *c, uint64_t addr, void *dst, size_t len, const struct dma_tag *tag)
{
	const struct nvme_own *m = likely(!c->owns) ? NULL : own_of(c, addr, len);
	const char *at;

	if (likely(!m))
		return pci_dma_read(&c->f, addr, dst, len, tag);
	at = own_at(c, m, addr, len);
	return at && !guard_copy(dst, at, len) ? 0 : -EFAULT;
}

int nvme_mem_write(struct nvme *c, uint64_t addr, const void *src, size_t len, const struct dma_tag *tag)
{
	const struct nvme_own *m = likely(!c->owns) ? NULL : own_of(c, addr, len);
	char *at;

	if (likely(!m))
		return pci_dma_write(&c->f, addr, src, len, tag);
	at = own_at(c, m, addr, len);
	return at && !guard_copy(at, src, len) ? 0 : -EFAULT;
}

int nvme_mem_iov(struct nvme *c, uint64_t addr, size_t len, bool write, struct iovec *iov, unsigned int *n,
		 const struct dma_tag *tag)
{
	const struct nvme_own *m = likely(!c->owns) ? NULL : own_of(c, addr, len);
	char *at;

	if (likely(!m))
		return dma_iov(c->f.dma, IOVA(addr), len, write, iov, n, tag);
	at = own_at(c, m, addr, len);
	if (!at || !*n)
		return at ? -E2BIG : -EFAULT;
	iov[0] = (struct iovec){.iov_base = at, .iov_len = len};
	*n = 1;
	return 0;
}

void nvme_mem_iov_done(struct nvme *c, uint64_t addr, size_t len, bool write, const struct dma_tag *tag)
{
	if (likely(!c->owns) || !own_of(c, addr, len))
		dma_iov_done(c->f.dma, IOVA(addr), len, write, tag);
}

/* A range that would wrap is invalid (CBAI): the controller goes on without. */
static void own_place(struct nvme *c, struct nvme_own *m, uint64_t msc, bool on)
{
	uint64_t last;

	m->base = ALIGN_DOWN(msc, UNIT);
	m->invalid = on && add_overflows(m->base, m->size - 1, &last);
	m->on = on && !m->invalid;
	c->owns = c->cmb.on || c->pmr.on;
}

/* ---- registers ---- */

uint64_t nvme_cmb_cap(const struct nvme *c)
{
	return (c->cmb.size ? NVME_CAP_CMBS : 0) | (c->pmr.size ? NVME_CAP_PMRS : 0);
}

static void update(struct nvme *c)
{
	own_place(c, &c->cmb, c->cmb.msc,
		  c->cmb.size && (c->cmb.msc & NVME_CMBMSC_CRE) && (c->cmb.msc & NVME_CMBMSC_CMSE));
	own_place(c, &c->pmr, c->pmr.msc, c->pmr.size && c->pmr_on && (c->pmr.msc & NVME_PMRMSC_CMSE));
}

/* 3.1.11, 3.1.12: both are 0 until the host asks for them. */
static uint32_t cmb_read(const struct nvme *c, uint64_t off)
{
	bool shown = c->cmb.size && (c->cmb.msc & NVME_CMBMSC_CRE);

	switch (off) {
	case NVME_REG_CMBLOC:
		return shown
			   ? NVME_CMBLOC_CQMMS | NVME_CMBLOC_CDPMLS | NVME_CMBLOC_CDPCILS | NVME_CMBLOC_CDMMMS | CMB_BAR
			   : 0;
	case NVME_REG_CMBSZ:
		return shown ? (uint32_t)(c->cmb.size / UNIT) << 12 | NVME_CMBSZ_ALL : 0;
	case NVME_REG_CMBMSC:
		return (uint32_t)c->cmb.msc;
	case NVME_REG_CMBMSC + 4:
		return (uint32_t)(c->cmb.msc >> 32);
	case NVME_REG_CMBSTS:
		return c->cmb.invalid;
	default:
		return 0;
	}
}

static uint32_t pmr_read(const struct nvme *c, uint64_t off)
{
	switch (off) {
	case NVME_REG_PMRCAP:
		return NVME_PMRCAP_CMSS | NVME_PMRCAP_WBM_STS | PMR_BAR << 5 | NVME_PMRCAP_WDS | NVME_PMRCAP_RDS;
	case NVME_REG_PMRCTL:
		return c->pmr_on;
	case NVME_REG_PMRSTS:
		return (c->pmr.invalid ? NVME_PMRSTS_CBAI : 0) | (c->pmr_on ? 0 : NVME_PMRSTS_NRDY);
	case NVME_REG_PMRMSCL:
		return (uint32_t)c->pmr.msc;
	case NVME_REG_PMRMSCU:
		return (uint32_t)(c->pmr.msc >> 32);
	default:
		return 0; /* no elasticity buffer, no promise of throughput */
	}
}

uint32_t nvme_cmb_reg_read(const struct nvme *c, uint64_t off)
{
	if (off >= NVME_REG_PMRCAP)
		return c->pmr.size ? pmr_read(c, off) : 0;
	return cmb_read(c, off);
}

static void set_half(uint64_t *reg, bool high, uint32_t val)
{
	*reg = high ? (*reg & 0xffffffffULL) | (uint64_t)val << 32 : (*reg & ~0xffffffffULL) | val;
}

void nvme_cmb_reg_write(struct nvme *c, uint64_t off, uint32_t val)
{
	switch (off) {
	case NVME_REG_CMBMSC:
		if (c->cmb.size)
			set_half(&c->cmb.msc, false, val & (~0xfffU | NVME_CMBMSC_CRE | NVME_CMBMSC_CMSE));
		break;
	case NVME_REG_CMBMSC + 4:
		if (c->cmb.size)
			set_half(&c->cmb.msc, true, val);
		break;
	case NVME_REG_PMRCTL:
		c->pmr_on = c->pmr.size && (val & 1);
		break;
	case NVME_REG_PMRMSCL:
		if (c->pmr.size)
			set_half(&c->pmr.msc, false, val & (~0xfffU | NVME_PMRMSC_CMSE));
		break;
	case NVME_REG_PMRMSCU:
		if (c->pmr.size)
			set_half(&c->pmr.msc, true, val);
		break;
	default:
		return;
	}
	update(c);
}

void nvme_cmb_restore(struct nvme *c, uint64_t cmbmsc, uint64_t pmrmsc, bool pmr_on)
{
	c->cmb.msc = cmbmsc;
	c->pmr.msc = pmrmsc;
	c->pmr_on = pmr_on;
	update(c);
}

/* Of all resets but that through CC.EN, which leaves these registers alone (3.1.13, 3.1.30). */
void nvme_cmb_reset(struct nvme *c)
{
	nvme_cmb_restore(c, 0, 0, false);
}

/* What it held is gone with power, and a function-level reset is as good. Away, the BAR may be decoded still. */
void nvme_cmb_forget(struct nvme *c)
{
	struct barmem *m = c->f.bar[CMB_BAR].mem;

	if (m && !barmem_open(m))
		barmem_clear(m);
}

/* ---- life ---- */

int nvme_cmb_init(struct nvme *c, uint64_t size, char *err, size_t errlen)
{
	int rc;

	if (!size)
		return 0;
	if (size & (size - 1)) {
		snprintf(err, errlen, "nvme: cmb-size is a power of two");
		return -EINVAL;
	}
	rc = pci_add_mem_bar(&c->f, CMB_BAR, size, true, true);
	if (rc) {
		snprintf(err, errlen, "nvme: no memory for a buffer of that size: %s", strerror(-rc));
		return rc;
	}
	c->cmb.size = size;
	c->cmb.view = (char *)barmem_base(c->f.bar[CMB_BAR].mem);
	return 0;
}

static int pmr_map(struct nvme *c, const char *path, uint64_t size, char *err, size_t errlen)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600), rc = 0;
	struct stat st;
	void *p = MAP_FAILED;

	if (fd < 0 || fstat(fd, &st)) {
		rc = -errno;
	} else if (!S_ISREG(st.st_mode)) {
		rc = -EINVAL;
	} else if ((uint64_t)st.st_size < size && ftruncate(fd, size)) {
		rc = -errno;
	} else {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rc = p == MAP_FAILED ? -errno : 0;
	}
	if (fd >= 0)
		close(fd);
	if (rc) {
		snprintf(err, errlen, "nvme: pmr-path '%s': %s", path,
			 rc == -EINVAL ? "not a regular file" : strerror(-rc));
		return rc;
	}
	c->pmr.view = p;
	return 0;
}

int nvme_pmr_init(struct nvme *c, const char *path, uint64_t size, char *err, size_t errlen)
{
	struct stat st;
	int rc;

	if (!path && !size)
		return 0;
	if (!path) {
		snprintf(err, errlen, "nvme: pmr-size without pmr-path: where is it to be kept?");
		return -EINVAL;
	}
	if (!size && !stat(path, &st))
		size = st.st_size;
	if (size < UNIT || size & (size - 1)) {
		snprintf(err, errlen, "nvme: pmr-size is a power of two, and so is the length of the file without it");
		return -EINVAL;
	}
	rc = pmr_map(c, path, size, err, errlen);
	if (rc)
		return rc;
	c->pmr.size = size;
	rc = pci_add_bar(&c->f, PMR_BAR, size, true, true);
	c->f.bar[PMR_BAR].view = c->pmr.view;
	return rc;
}

void nvme_cmb_fini(struct nvme *c)
{
	if (!c->pmr.size)
		return;
	msync(c->pmr.view, c->pmr.size, MS_SYNC);
	munmap(c->pmr.view, c->pmr.size);
}
