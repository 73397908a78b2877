/* SPDX-License-Identifier: BSD-3-Clause */
/* What is mapped where in this process, asked of the kernel each time: an answer is good for the one transaction that
 * got it (rule A1). */
#ifndef PINFOLD_BOUNDARY_MAPS_H
#define PINFOLD_BOUNDARY_MAPS_H

#include <stdbool.h>
#include <stdint.h>

enum { VMA_READ = 1, VMA_WRITE = 2, VMA_EXEC = 4, VMA_SHARED = 8 };

struct vma {
	uint64_t start, end, offset, dev, ino;
	uint32_t flags;
	char name[256]; /* as /proc/PID/maps has it, cut off */
};

/* The mapping that covers addr, or the next one above it. 0, -ENOENT, or what open and read say. */
int maps_find(uint64_t addr, struct vma *v);

#endif
