/* SPDX-License-Identifier: BSD-3-Clause */
/* The device "ats", which moves a page and asks for pages, behind page tables that follow an address space. */
#include "ats.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>
#include "uapi/vfio_abi.h"

#define ATS_BDF "0000:02:00.0"

enum { REG_ADDR = 0, REG_CMD = 2, REG_STATUS = 4, REG_PASID = 5 }; /* in words */

uint32_t follow_hwpt;
int fault_fd = -1;
static volatile uint32_t *bar;
static uint32_t fault_id;
static uint8_t *back; /* where the device puts what it has seen */

void ats_bound(void)
{
	struct iommu_fault_alloc f = {.size = sizeof(f)};

	bdf = ATS_BDF;
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(ioctl(container, IOMMU_FAULT_QUEUE_ALLOC, &f), 0);
	fault_id = f.out_fault_id;
	fault_fd = f.out_fault_fd;
	device_ready();
	bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, region_info(0).offset);
	expect(bar != MAP_FAILED);
}

void ats_gone(void)
{
	munmap((void *)bar, PAGE);
	close(fault_fd);
	fault_fd = -1;
	device_gone();
}

int follow_alloc(uint32_t ioas, uint32_t flags, uint32_t *id)
{
	struct iommu_hwpt_pinfold_follow data = {0};
	struct iommu_hwpt_alloc a = {.size = sizeof(a),
				     .flags = flags,
				     .dev_id = devid,
				     .pt_id = ioas,
				     .data_type = IOMMU_HWPT_DATA_PINFOLD_FOLLOW,
				     .data_len = sizeof(data),
				     .data_uptr = (uintptr_t)&data,
				     .fault_id = fault_id};
	int err = ioctl_errno(container, IOMMU_HWPT_ALLOC, &a);

	if (!err)
		*id = a.out_hwpt_id;
	return err;
}

void ats_followed(void)
{
	ats_bound();
	expect_eq(follow_alloc(dma_ioas, IOMMU_HWPT_FAULT_ID_VALID, &follow_hwpt), 0);
	expect_eq(attach_to(follow_hwpt), 0);
	back = pages_alloc(PAGE);
	expect_eq(promise(back, PAGE, RW), 0);
}

int promise(void *va, uint64_t len, uint32_t prot)
{
	return space_map(dma_ioas, va, (uintptr_t)va, len, prot);
}

int pasid_attach(uint32_t pasid, uint32_t pt)
{
	struct vfio_device_attach_iommufd_pt a = {
	    .argsz = sizeof(a), .flags = VFIO_DEVICE_ATTACH_PASID, .pt_id = pt, .pasid = pasid};

	return ioctl_errno(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a);
}

int pasid_detach(uint32_t pasid)
{
	struct vfio_device_detach_iommufd_pt d = {
	    .argsz = sizeof(d), .flags = VFIO_DEVICE_DETACH_PASID, .pasid = pasid};

	return ioctl_errno(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d);
}

/* ---- the device ---- */

void ats_pasid(uint32_t pasid)
{
	bar[REG_PASID] = pasid ? 1u << 31 | pasid : 0;
}

void ats_start(const void *va, enum ats_command cmd)
{
	uint64_t at = (uintptr_t)va;

	bar[REG_ADDR] = at;
	bar[REG_ADDR + 1] = at >> 32;
	bar[REG_CMD] = cmd;
}

bool ats_busy(void)
{
	return bar[REG_CMD] & 1;
}

void ats_abort(void)
{
	bar[REG_CMD] = 0;
}

enum ats_status ats_status(void)
{
	return bar[REG_STATUS];
}

enum ats_status ats_finish(void)
{
	while (ats_busy())
		usleep(100);
	return ats_status();
}

/* ---- faults ---- */

bool fault_take(struct iommu_hwpt_pgfault *f, int wait_ms)
{
	struct pollfd p = {.fd = fault_fd, .events = POLLIN};

	if (poll(&p, 1, wait_ms) <= 0)
		return false;
	expect_eq(read(fault_fd, f, sizeof(*f)), sizeof(*f));
	return true;
}

void fault_expect(struct iommu_hwpt_pgfault *f, const void *va, uint32_t perm)
{
	if (!fault_take(f, 60000))
		fail("no page request");
	expect_eq(f->addr, (uintptr_t)va);
	expect_eq(f->perm, perm);
	expect_eq(f->dev_id, devid);
}

void fault_answer(const struct iommu_hwpt_pgfault *f, uint32_t code)
{
	struct iommu_hwpt_page_response r = {.cookie = f->cookie, .code = code};

	expect_eq(write(fault_fd, &r, sizeof(r)), sizeof(r));
}

/* Refuses every page that is asked for meanwhile. */
enum ats_status ats_refused(void)
{
	struct iommu_hwpt_pgfault f;

	while (ats_busy())
		if (fault_take(&f, 1))
			fault_answer(&f, IOMMUFD_PAGE_RESP_INVALID);
	return ats_status();
}

int ats_sees(const void *va)
{
	ats_start(va, ATS_READ);
	if (ats_refused() != ATS_DONE)
		return -1;
	fill_page(back, 0xee);
	ats_start(back, ATS_WRITE);
	expect_eq(ats_finish(), ATS_DONE);
	expect_page(back, back[0], "what the device saw");
	return back[0];
}

bool ats_writes(void *va, uint8_t c)
{
	fill_page(back, c);
	ats_start(back, ATS_READ);
	expect_eq(ats_finish(), ATS_DONE);
	ats_start(va, ATS_WRITE);
	return ats_refused() == ATS_DONE;
}
