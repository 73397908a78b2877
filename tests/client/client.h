/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small VFIO program that drives an NVMe controller and uses what larger programs do not. It knows nothing of
 * Pinfold: every case also holds on a real Linux with a real or emulated controller behind vfio-pci.
 */
#ifndef PINFOLD_TESTS_CLIENT_H
#define PINFOLD_TESTS_CLIENT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/vfio.h>

#define PAGE	 4096UL
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct client_case {
	const char *name, *what;
	void (*run)(void);
};
extern const struct client_case uapi_cases[], device_cases[], dma_cases[], busy_cases[], cdev_cases[],
    compat_cases[];					/* end with name NULL */
extern const struct client_case *const client_tables[]; /* of the program at hand; ends with NULL */

extern const char *bdf;

/* Ends the case as failed, with its place. */
void fail_at(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
void skip_case(const char *why) __attribute__((noreturn));
#define fail(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define expect(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			fail("%s (errno %d, %s)", #cond, errno, strerror(errno));                                      \
	} while (0)
#define expect_eq(a, b)                                                                                                \
	do {                                                                                                           \
		long long a_ = (long long)(a), b_ = (long long)(b);                                                    \
		if (a_ != b_)                                                                                          \
			fail("%s is %lld (%#llx), not %lld (%#llx)", #a, a_, a_, b_, b_);                              \
	} while (0)
/* The call fails with this errno. */
#define expect_errno(call, want)                                                                                       \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		long ret_ = (long)(call);                                                                              \
		int err_ = errno;                                                                                      \
		if (ret_ != -1 || err_ != (want))                                                                      \
			fail("%s returned %ld, errno %d (%s), not %s", #call, ret_, err_, strerror(err_), #want);      \
	} while (0)

/* ---- VFIO (vfio.c) ---- */
extern int container, group, device;

int group_open(void);		    /* /dev/vfio/N of bdf */
void container_set(int iommu_type); /* container and group open, attached */
void device_open(int iommu_type);   /* the above, and the device with memory and bus mastering on */
void device_ready(void);	    /* the device descriptor is there: memory and bus mastering on */
void device_close(void);
extern uint32_t dma_ioas; /* not 0: container is an iommufd, and this is where dma_map() and dma_unmap() map */
/* 0 or errno. */
int dma_map(void *va, uint64_t iova, uint64_t len, uint32_t flags);
int dma_unmap(uint64_t iova, uint64_t len, uint32_t flags, uint64_t *unmapped);
void *pages_alloc(size_t len); /* private anonymous memory, zero */
uint32_t config_read(unsigned int off, unsigned int size);
void config_write(unsigned int off, unsigned int size, uint32_t val);
struct vfio_region_info region_info(unsigned int index);

/* ---- iommufd (cdev.c) ---- */
const char *cdev_name(void); /* bdf's, as in /dev/vfio/devices: "vfio0" */
int cdev_open(void);
int iommufd_open(void);
uint32_t ioas_alloc(int iommufd);
/* errno, 0 for none. */
int cdev_bind(int cdev, int iommufd, uint32_t *devid);
int cdev_attach(int cdev, uint32_t *pt_id);
int cdev_detach(int cdev);
int ioctl_errno(int fd, unsigned long cmd, void *arg);

/* ---- NVMe (nvme.c) ---- */
#define NVME_IOVA 0x100000UL /* its queues; buffers of the cases go above DATA_IOVA */
#define DATA_IOVA 0x1000000UL

void nvme_start(bool msix); /* device_open() came before; queues mapped, controller ready, one I/O queue pair */
void nvme_stop(void);
void nvme_forget(void); /* the device went without nvme_stop() */
uint64_t nvme_cap(void);
/* One command; returns the status field (0 = success). */
unsigned int nvme_identify(unsigned int cns, uint32_t nsid, uint64_t iova);
unsigned int nvme_rw(bool write, unsigned int page, unsigned int bytes, uint64_t iova);
unsigned int nvme_interrupts(void); /* eventfd counts collected so far, with msix */
volatile void *nvme_bar(void);
/* The I/O queue in steps: up to 15 reads of a page each are put, rung for, and collected. */
void nvme_put_read(unsigned int page, uint64_t iova);
void nvme_put_again(void); /* the last one put, with the same identifier */
unsigned int nvme_tail(void);
volatile uint32_t *nvme_doorbell_at(void); /* where nvme_ring() stores nvme_tail() */
void nvme_ring(void);
unsigned int nvme_collect(void);
bool nvme_has_completion(void);

#endif
