/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random sequences of calls on /dev/iommu. A plan depends on its seed alone, never on an answer: what one call takes
 * from another's answer (an id, an IOVA, a descriptor) stands in it as a reference. So two kernels are asked the same
 * even after they have disagreed, and a call can be left out without changing the others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* name, number of arguments. */
#define CALLS(X)                                                                                                       \
	X(IOAS_ALLOC, 1)                                                                                               \
	X(DESTROY, 1)                                                                                                  \
	X(IOVA_RANGES, 4)                                                                                              \
	X(ALLOW_IOVAS, 8)                                                                                              \
	X(MAP, 5)                                                                                                      \
	X(UNMAP, 3)                                                                                                    \
	X(COPY, 6)                                                                                                     \
	X(OPTION, 4)                                                                                                   \
	X(VFIO_IOAS, 2)                                                                                                \
	X(HWPT_ALLOC, 7)                                                                                               \
	X(HW_INFO, 4)                                                                                                  \
	X(SET_DIRTY, 2)                                                                                                \
	X(GET_DIRTY, 6)                                                                                                \
	X(INVALIDATE, 8)                                                                                               \
	X(FAULT_ALLOC, 1)                                                                                              \
	X(ADD_RESERVED, 3)                                                                                             \
	X(MOCK_DOMAIN, 1)                                                                                              \
	X(MOCK_FLAGS, 2)                                                                                               \
	X(CHECK_MAP, 4)                                                                                                \
	X(CHECK_REFS, 3)                                                                                               \
	X(CREATE_ACCESS, 2)                                                                                            \
	X(ACCESS_PAGES, 5)                                                                                             \
	X(DESTROY_PAGES, 2)                                                                                            \
	X(ACCESS_RW, 5)                                                                                                \
	X(MEMORY_LIMIT, 1)                                                                                             \
	X(REPLACE, 2)                                                                                                  \
	X(ACCESS_REPLACE, 2)                                                                                           \
	X(DIRTY, 5)                                                                                                    \
	X(CHECK_IOTLB, 3)                                                                                              \
	X(IOPF, 5)                                                                                                     \
	X(TEST_OTHER, 1)                                                                                               \
	X(CLOSE, 1)                                                                                                    \
	X(FAULT_READ, 2)                                                                                               \
	X(FAULT_WRITE, 4)                                                                                              \
	X(VFIO_VERSION, 0)                                                                                             \
	X(VFIO_EXTENSION, 1)                                                                                           \
	X(VFIO_SET_IOMMU, 1)                                                                                           \
	X(VFIO_GET_INFO, 1)                                                                                            \
	X(VFIO_MAP, 5)                                                                                                 \
	X(VFIO_UNMAP, 4)                                                                                               \
	X(VFIO_DIRTY, 1)                                                                                               \
	X(OTHER, 1)                                                                                                    \
	X(MEMORY_WRITE, 3)                                                                                             \
	X(MEMORY_READ, 2)                                                                                              \
	X(MEMORY_RENEW, 2)                                                                                             \
	X(MEMORY_REMOVE, 2)

enum op {
#define X(name, nargs) OP_##name,
	CALLS(X)
#undef X
	    OP_COUNT
};

/* How the struct is handed over. */
enum tweak {
	TWEAK_NONE,
	TWEAK_SHORT,	 /* a byte less than the least */
	TWEAK_MIN,	 /* the least */
	TWEAK_ZERO_TAIL, /* longer than the kernel knows it, with zeros */
	TWEAK_TAIL,	 /* the same, with a byte that is not zero */
	TWEAK_RESERVED,	 /* a reserved field is not zero */
	TWEAK_EDGE,	 /* the struct ends where the mapped memory ends */
	TWEAK_OVER,	 /* the struct claims to be longer than the memory mapped */
	TWEAK_READONLY,	 /* answers cannot be written */
	TWEAK_BAD,	 /* not mapped */
	TWEAK_COUNT
};

enum arg_kind { ARG_NUMBER, ARG_ID, ARG_IOVA, ARG_FD };

/* ARG_NUMBER: value. Others: output `out` of the plan's call number `from`, plus value. */
struct arg {
	uint8_t kind, out;
	uint16_t from;
	uint64_t value;
};

struct call {
	enum op op;
	enum tweak tweak;
	struct arg arg[8];
};

#define PLAN_CALLS 200
#define NO_FD	   0xffff

struct plan {
	unsigned int calls;
	unsigned int memlock_pages; /* RLIMIT_MEMLOCK */
	bool sys_resource;	    /* CAP_SYS_RESOURCE, which an option needs */
	struct call call[PLAN_CALLS];
};

/* Client memory: every address is fixed, so that no answer depends on the machine. */
#define VA_BASE	    0x100000000000UL
#define VA_PRIVATE  VA_BASE
#define VA_SHARED   (VA_BASE + 0x100000)
#define VA_FILE_RO  (VA_BASE + 0x200000)
#define VA_ZERO_RO  (VA_BASE + 0x300000)
#define VA_NONE	    (VA_BASE + 0x400000)
#define VA_ARG	    (VA_BASE + 0x500000)
#define VA_ARG_RO   (VA_BASE + 0x600000)
#define VA_AUX	    (VA_BASE + 0x700000)
#define VA_PAGES    32
#define VA_RO_PAGES 8
#define AUX_PAGES   16

extern const char *const op_names[OP_COUNT];
extern const uint8_t op_args[OP_COUNT];
extern const char *const tweak_names[TWEAK_COUNT];

/* calls <= PLAN_CALLS. */
void plan_make(struct plan *p, uint64_t seed, unsigned int calls);
