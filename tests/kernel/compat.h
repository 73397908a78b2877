/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Placed before the kernel's iommufd selftest programs when they are built (-include): Linux 6.12.117 carries a newer
 * test than its own headers describe. The names are those of the newer uAPI; their values are facts of the ABI.
 *
 * Also counts the faults that were injected: iommufd_fail_nth asks after each try, with pread() on its fail-nth file,
 * how many more allocations are to succeed, and "0" says that the fault was delivered.
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef COMPAT_NEWER
/* 6.17: a request names the type of hardware information in the word that answers with it. */
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE 1
/* 6.15: mock devices with PASIDs. */
#define MOCK_FLAGS_DEVICE_PASID 4
#define MOCK_PASID_WIDTH	20
#else
/*
 * 6.12 has neither and refuses unknown flags, so the type that it answers with is asked for without the flag, and any
 * other with it. The macro is used where the wanted type stands in a variable of this name.
 */
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE (data_type != IOMMU_HW_INFO_TYPE_SELFTEST)
#define MOCK_FLAGS_DEVICE_PASID	      0
#define MOCK_PASID_WIDTH	      0
#endif
#define IOMMU_HW_INFO_TYPE_DEFAULT 0
#define in_data_type		   out_data_type

/* Tests run in forked children, so the count is shared memory. */
static int *compat_faults;
static pid_t compat_parent;

__attribute__((constructor(101), unused)) static void compat_begin(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	compat_faults = p == MAP_FAILED ? NULL : p;
	compat_parent = getpid();
}

__attribute__((destructor, unused)) static void compat_end(void)
{
	if (compat_faults && *compat_faults && getpid() == compat_parent) {
		printf("# faults injected: %d\n", *compat_faults);
		fflush(stdout);
	}
}

static inline ssize_t compat_pread(int fd, void *buf, size_t len, off_t at)
{
	ssize_t got = pread(fd, buf, len, at);

	if (compat_faults && got == 2 && ((char *)buf)[0] == '0' && ((char *)buf)[1] == '\n')
		(*compat_faults)++;
	return got;
}
#define pread compat_pread
