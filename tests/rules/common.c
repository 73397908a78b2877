/* SPDX-License-Identifier: BSD-3-Clause */
#include "rules.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>
#include "uapi/vfio_abi.h"

const struct client_case *const client_tables[] = {memory_cases,  account_cases, trust_cases,	   wait_cases,
						   nested_cases,  process_cases, follow_cases,	   peer_cases,
						   revoked_cases, smmu_cases,	 smmu_event_cases, NULL};

uint32_t devid;
static uint8_t *mirror;

/* ---- the device ---- */

void device_bound(void)
{
	if (container < 0)
		container = iommufd_open();
	expect(container >= 0);
	device = cdev_open();
	expect(device >= 0);
	expect_eq(cdev_bind(device, container, &devid), 0);
}

int bind_errno(void)
{
	int fd = iommufd_open(), cdev = cdev_open(), err;

	expect(fd >= 0 && cdev >= 0);
	err = cdev_bind(cdev, fd, NULL);
	close(cdev);
	close(fd);
	return err;
}

void device_wait_free(void)
{
	while (bind_errno())
		usleep(1000);
}

void device_gone(void)
{
	close(device);
	close(container);
	device = container = -1;
}

void controller_start(void)
{
	device_ready();
	mirror = pages_alloc(PAGE);
	expect_eq(dma_map(mirror, MIRROR_IOVA, PAGE, RW), 0);
	nvme_start(false);
}

void device_started(void)
{
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	controller_start();
}

/* ---- calls ---- */

void process_mode(void)
{
	struct iommu_option o = {
	    .size = sizeof(o), .option_id = IOMMU_OPTION_RLIMIT_MODE, .op = IOMMU_OPTION_OP_SET, .val64 = 1};
	int err;

	container = iommufd_open();
	expect(container >= 0);
	err = ioctl_errno(container, IOMMU_OPTION, &o);
	if (err == EPERM)
		skip_case("RLIMIT_MODE needs CAP_SYS_RESOURCE");
	expect_eq(err, 0);
}

static uint32_t map_flags(uint32_t prot)
{
	return IOMMU_IOAS_MAP_FIXED_IOVA | (prot & RD ? IOMMU_IOAS_MAP_READABLE : 0) |
	       (prot & WR ? IOMMU_IOAS_MAP_WRITEABLE : 0);
}

int space_map(uint32_t ioas, void *va, uint64_t iova, uint64_t len, uint32_t prot)
{
	struct iommu_ioas_map m = {.size = sizeof(m),
				   .flags = map_flags(prot),
				   .ioas_id = ioas,
				   .user_va = (uintptr_t)va,
				   .length = len,
				   .iova = iova};

	return ioctl_errno(container, IOMMU_IOAS_MAP, &m);
}

int space_map_file(uint32_t ioas, int fd, uint64_t off, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_map_file m = {.size = sizeof(m),
					.flags = map_flags(RW),
					.ioas_id = ioas,
					.fd = fd,
					.start = off,
					.length = len,
					.iova = iova};

	return ioctl_errno(container, IOMMU_IOAS_MAP_FILE, &m);
}

int space_copy(uint32_t dst, uint64_t dst_iova, uint32_t src, uint64_t src_iova, uint64_t len)
{
	struct iommu_ioas_copy c = {.size = sizeof(c),
				    .flags = map_flags(RW),
				    .dst_ioas_id = dst,
				    .src_ioas_id = src,
				    .length = len,
				    .dst_iova = dst_iova,
				    .src_iova = src_iova};

	return ioctl_errno(container, IOMMU_IOAS_COPY, &c);
}

int space_unmap(uint32_t ioas, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap u = {.size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = len};

	return ioctl_errno(container, IOMMU_IOAS_UNMAP, &u);
}

int object_destroy(uint32_t id)
{
	struct iommu_destroy d = {.size = sizeof(d), .id = id};

	return ioctl_errno(container, IOMMU_DESTROY, &d);
}

int hwpt_alloc(uint32_t pt, uint32_t flags, uint32_t data_type, void *data, uint32_t len, uint32_t *id)
{
	struct iommu_hwpt_alloc a = {.size = sizeof(a),
				     .flags = flags,
				     .dev_id = devid,
				     .pt_id = pt,
				     .data_type = data_type,
				     .data_len = len,
				     .data_uptr = (uintptr_t)data};
	int err = ioctl_errno(container, IOMMU_HWPT_ALLOC, &a);

	if (!err)
		*id = a.out_hwpt_id;
	return err;
}

int attach_to(uint32_t pt)
{
	return cdev_attach(device, &pt);
}

uint32_t space_with_rings(void)
{
	uint32_t ioas = ioas_alloc(container);

	expect_eq(space_copy(ioas, NVME_IOVA, dma_ioas, NVME_IOVA, 5 * PAGE), 0);
	expect_eq(space_copy(ioas, MIRROR_IOVA, dma_ioas, MIRROR_IOVA, PAGE), 0);
	return ioas;
}

bool mock_cmd(int fd, struct mock_cmd *c)
{
	int err;

	c->size = sizeof(*c);
	err = ioctl_errno(fd, IOMMUFD_NR(IOMMUFD_CMD_TEST), c);
	if (err == ENOTTY)
		return false;
	expect_eq(err, 0);
	return true;
}

/* ---- pages ---- */

void fill_page(void *p, uint8_t c)
{
	memset(p, c, PAGE);
}

void expect_page(const void *p, uint8_t c, const char *what)
{
	for (unsigned int i = 0; i < PAGE; i++)
		if (((const uint8_t *)p)[i] != c)
			fail("%s: byte %u is %#x, not %#x", what, i, ((const uint8_t *)p)[i], c);
}

int device_sees(uint64_t iova)
{
	if (nvme_rw(true, 1, PAGE, iova))
		return -1;
	fill_page(mirror, 0xee);
	expect_eq(nvme_rw(false, 1, PAGE, MIRROR_IOVA), 0);
	expect_page(mirror, mirror[0], "what the device saw");
	return mirror[0];
}

bool device_writes(uint64_t iova, uint8_t c)
{
	fill_page(mirror, c);
	expect_eq(nvme_rw(true, 2, PAGE, MIRROR_IOVA), 0);
	return !nvme_rw(false, 2, PAGE, iova);
}

void expect_unreachable_at(const char *file, int line, uint64_t iova)
{
	if (device_sees(iova) != -1)
		fail_at(file, line, "a device reads at %#llx", (unsigned long long)iova);
	if (device_writes(iova, 0xbd))
		fail_at(file, line, "a device writes at %#llx", (unsigned long long)iova);
}

/* ---- processes ---- */

pid_t child_start(void (*run)(void))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	expect(pid >= 0);
	if (!pid) {
		alarm(300);
		run();
		fflush(stdout);
		_exit(0);
	}
	return pid;
}

void child_kill(pid_t pid)
{
	int status;

	expect_eq(kill(pid, SIGKILL), 0);
	expect_eq(waitpid(pid, &status, 0), pid);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void child_wait(pid_t pid)
{
	int status;

	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
}

void child_stop(pid_t pid)
{
	int status;

	expect_eq(kill(pid, SIGSTOP), 0);
	expect_eq(waitpid(pid, &status, WUNTRACED), pid);
	expect(WIFSTOPPED(status));
}

void limit_set(unsigned int pages)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};
	struct rlimit lim = {pages * PAGE, RLIM_INFINITY};

	expect(!getrlimit(RLIMIT_MEMLOCK, &lim));
	lim.rlim_cur = pages * PAGE;
	expect(!syscall(SYS_capget, &h, d));
	d[0].effective &= ~(1u << CAP_IPC_LOCK);
	d[0].permitted &= ~(1u << CAP_IPC_LOCK);
	expect(!syscall(SYS_capset, &h, d));
	if (setrlimit(RLIMIT_MEMLOCK, &lim))
		skip_case("RLIMIT_MEMLOCK is lower than the case needs");
}
