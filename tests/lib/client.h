/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client whose memory is this process's own: what the tests of the uAPIs make their ioctls from, and checks that a
 * test ends with nothing left over. What they are made on, the test's folder adds.
 */
#ifndef PINFOLD_TESTS_LIB_CLIENT_H
#define PINFOLD_TESTS_LIB_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/event.h"
#include "base/util.h"
#include "mm/mm.h"
#include "uapi/ucall.h"

#define CLIENT_FDS   16
#define CLIENT_FD(i) (1000 + (i)) /* numbers of the client's that are files of ours */
#define MEM_BYTES    (64 * PF_PAGE_SIZE)
#define MEM_FILE_OFF (4 * PF_PAGE_SIZE)
#define MEM_RO_PAGES 4 /* the last pages of the client's memory are read-only to it */

struct input;
struct iommufd;
struct stream;
struct toy;
struct vfio;

enum { TOYS = 3 };

struct fake {
	struct ucall c;
	struct events evs;
	struct ufile *file[CLIENT_FDS];
	struct stream *stream[CLIENT_FDS]; /* of those that bytes go through */
	struct backing_cache *cache;
	struct mm_owner *owner;
	uint64_t limit; /* bytes the client may pin */
	bool capable;	/* of everything */
	int memfd;
	uint8_t *mem;  /* the client's memory that can be pinned, MEM_BYTES */
	uint8_t *hole; /* unmapped */
	int fds_before;

	bool no_room;	      /* nothing can be queued for the client's memory */
	bool again;	      /* each input is refused with UCALL_AGAIN the first time */
	unsigned int rounds;  /* how often the last ioctl's handler ran */
	size_t stream_room;   /* bytes that fit between writer and reader */
	unsigned int parts;   /* in which the last ioctl's answer came, but for the last of them */
	unsigned int moments; /* for which the last ioctl waited without asking for anything */
	struct input *inputs; /* of the ioctl in progress */
	size_t ninputs;
	struct output *outputs;
	size_t noutputs;
	int installed;

	/* The folder's own. */
	struct vfio *v;
	struct iommufd *iommufd;
	struct toy *toy[TOYS];
};

/* True while the code under test runs, and not the client: what may fail on purpose. */
extern bool fake_inside;

struct fake *fake_client_new(void);
void fake_client_check(struct fake *k); /* fails if a file or a charge is left */
void fake_client_free(struct fake *k);	/* fails if a descriptor is left */

/* ioctl(2) as the client would see it: result, or -errno. arg: a pointer or a number. */
long fake_ioctl(struct fake *k, struct ufile *f, unsigned int cmd, uintptr_t arg);
#define DO(f, cmd, arg) fake_ioctl(k, f, cmd, (uintptr_t)(arg))
struct ufile *fake_keep(struct fake *k, struct ufile *f); /* gives it a number */
void fake_close(struct fake *k, struct ufile **f);
int fake_fd_of(struct fake *k, struct ufile *f); /* the client's number for f */
struct ufile *fake_file(struct fake *k, int fd); /* the file behind it; fails if there is none */
/* read(2) that does not wait, and write(2), on one that bytes go through. */
size_t fake_read(struct fake *k, struct ufile *f, void *buf, size_t len);
void fake_write(struct fake *k, struct ufile *f, const void *buf, size_t len);
bool fake_at_end(struct fake *k, struct ufile *f); /* nothing is there to read, and nothing more will be */
int fake_open_fds(void);

#endif
