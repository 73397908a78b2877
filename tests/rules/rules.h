/* SPDX-License-Identifier: BSD-3-Clause */
/* What the cases of the rules share: the calls of an iommufd, and what a real device sees of memory. */
#ifndef PINFOLD_TESTS_RULES_H
#define PINFOLD_TESTS_RULES_H

#include "tests/client/client.h"
#include "iommufd/mock_abi.h"
#include "uapi/iommufd_abi.h"

#define RD VFIO_DMA_MAP_FLAG_READ
#define WR VFIO_DMA_MAP_FLAG_WRITE
#define RW (RD | WR)

/* Of the page through which a case looks at the disk: in no direct-mapped cache in the place of DATA_IOVA. */
#define MIRROR_IOVA 0x209000UL

extern const struct client_case memory_cases[], account_cases[], trust_cases[], wait_cases[], nested_cases[],
    process_cases[], follow_cases[], peer_cases[], revoked_cases[], smmu_cases[], smmu_event_cases[];

extern uint32_t devid; /* of device in container */

/* An iommufd, unless container is one, with the device bound; nothing is attached. */
void device_bound(void);
void device_gone(void);	     /* both closed */
int bind_errno(void);	     /* of another iommufd and the device */
void device_wait_free(void); /* nobody has the device any more; what its owner had is gone */
void process_mode(void);     /* container: a fresh iommufd that charges processes, not users */
/* The same, attached to a fresh IOAS (dma_ioas), with the controller started and the mirror mapped. */
void device_started(void);
/* nvme_start(), and the mirror; what is attached translates NVME_IOVA and MIRROR_IOVA as they are. */
void controller_start(void);

/* errno, 0 for none. */
int space_map(uint32_t ioas, void *va, uint64_t iova, uint64_t len, uint32_t prot);
int space_map_file(uint32_t ioas, int fd, uint64_t off, uint64_t iova, uint64_t len);
int space_copy(uint32_t dst, uint64_t dst_iova, uint32_t src, uint64_t src_iova, uint64_t len);
int space_unmap(uint32_t ioas, uint64_t iova, uint64_t len);
int object_destroy(uint32_t id);
int hwpt_alloc(uint32_t pt, uint32_t flags, uint32_t data_type, void *data, uint32_t len, uint32_t *id);
int attach_to(uint32_t pt);
/* What the controller's own queues and the mirror need, into another space. */
uint32_t space_with_rings(void);
/* False: this is not the test interface's iommufd. */
bool mock_cmd(int fd, struct mock_cmd *c);

/* ---- one page, all of whose bytes are the same ---- */
void fill_page(void *p, uint8_t c);
void expect_page(const void *p, uint8_t c, const char *what);
/* What a device reads at iova; -1: it is refused. */
int device_sees(uint64_t iova);
/* False: it is refused. */
bool device_writes(uint64_t iova, uint8_t c);
/* Neither. The disk holds what c says meanwhile. */
void expect_unreachable_at(const char *file, int line, uint64_t iova);
#define expect_unreachable(iova) expect_unreachable_at(__FILE__, __LINE__, iova)
#define expect_sees(iova, c)	 expect_eq(device_sees(iova), c)

/* ---- other processes ---- */
pid_t child_start(void (*run)(void)); /* its failure is an exit status */
void child_kill(pid_t pid);
void child_wait(pid_t pid);
void child_stop(pid_t pid); /* SIGSTOP has taken effect when it returns */
/* RLIMIT_MEMLOCK counts for this process from now on, and is so many pages. */
void limit_set(unsigned int pages);

#endif
