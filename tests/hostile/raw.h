/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client without the boundary: it speaks the protocol of proto/channel.h itself, and may say what it likes. And a
 * broker in a process of its own to say it to, with one NVMe disk.
 */
#ifndef PINFOLD_TESTS_HOSTILE_RAW_H
#define PINFOLD_TESTS_HOSTILE_RAW_H

#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "base/util.h"
#include "proto/channel.h"

#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

/* Waits for what has to come soon, and never comes if something is broken. */
#define EVENTUALLY(cond)                                                                                               \
	do {                                                                                                           \
		unsigned int tries_ = 0;                                                                               \
		while (!(cond)) {                                                                                      \
			CHECK(tries_++ < 20000 && #cond);                                                              \
			usleep(1000);                                                                                  \
		}                                                                                                      \
	} while (0)

struct server {
	pid_t pid;
	int stop;
	char dir[64], socket[96], disk[96];
};

struct server_options {
	uint64_t memlock;
	unsigned int nofile; /* 0: as it is */
};

void server_start(struct server *sv, const struct server_options *o);
/* The broker ends by itself, having freed everything: its assertions and a sanitizer's leak check are in its status. */
void server_stop(struct server *sv);
unsigned int server_fds(const struct server *sv);
uint64_t server_cpu_ms(const struct server *sv);

/* Memory that can be mapped for DMA: one memfd. */
#define RAW_MEM (64 * PF_PAGE_SIZE)

struct raw {
	int sock;
	struct channel *ch;
	struct hello hello;
	uint8_t *mem;
	int memfd;
	uint64_t dev, ino;
	bool read_only;	      /* what it says of its memory */
	unsigned int served;  /* NEEDs that have been answered */
	unsigned int stop_at; /* give up at this NEED; 0: never */
};

void raw_connect(struct raw *r, const struct server *sv);
bool raw_try_connect(struct raw *r, const struct server *sv);
void raw_close(struct raw *r); /* as death would */
void raw_send_fds(struct raw *r, const void *data, size_t len, const int *fds, unsigned int n);
void raw_note_fds(struct raw *r, unsigned int slot, const int *fds, unsigned int n);
int raw_recv_fd(struct raw *r); /* -1: none */

/* Puts the request up and rings; raw_wait gives its answer. */
void raw_post(struct raw *r, unsigned int slot);
long raw_wait(struct raw *r, unsigned int slot);
long raw_call(struct raw *r, unsigned int slot, uint32_t op, uint64_t object, uint64_t a0, uint64_t a1,
	      const void *payload, size_t len);
uint64_t raw_object(int fd);
/* A descriptor, or -errno. */
int raw_open(struct raw *r, const char *path);
/* An ioctl on a descriptor of ours; memory, descriptors and pages are this process's. */
long raw_ioctl(struct raw *r, int fd, unsigned int cmd, uint64_t arg);
void raw_append(struct raw *r, unsigned int slot, const struct ucall_part *h, const void *data);

/* The usual way to a device. */
struct raw_device {
	int container, group, device;
};
void raw_device_open(struct raw *r, struct raw_device *d);
long raw_map(struct raw *r, int container, uint64_t iova, uint64_t off, uint64_t len);

#endif
