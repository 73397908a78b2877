/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO: /dev/vfio/vfio (a container), /dev/vfio/GROUP, the device descriptors that a group gives out, and
 * /dev/vfio/devices/vfioN. Source for every answer: Linux 6.12 drivers/vfio, as cited where each ioctl is answered.
 */
#ifndef PINFOLD_VFIO_VFIO_H
#define PINFOLD_VFIO_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events;
struct loop;
struct pci_func;
struct ufile;
struct vfio;

/* All functions and groups of one broker. */
struct vfio *vfio_new(struct events *evs);
/* The loop that watches clients' eventfds (IOEVENTFD, unmasking of INTx). Without one those are refused with -ENODEV.
 */
void vfio_set_loop(struct vfio *v, struct loop *loop);
void vfio_free(struct vfio *v);			  /* every ufile must be gone; frees the functions */
int vfio_add(struct vfio *v, struct pci_func *f); /* takes ownership on success; 0, -EEXIST (address taken), -ENOMEM */
struct pci_func *vfio_func(struct vfio *v, size_t i); /* i-th, NULL past the end */

/*
 * Around a run of posted register writes: an interrupt vector that is raised several times meanwhile reaches its
 * eventfd once, at the end, as it may when a device's messages overtake the reader.
 */
void vfio_batch_begin(struct vfio *v);
void vfio_batch_end(struct vfio *v);

/* Whether a device that somebody has open does not answer to memory accesses: COMMAND.MEM is clear, or it sleeps. */
bool vfio_memory_off(const struct vfio *v);

/* How many interrupts have been sent to clients so far. */
uint64_t vfio_interrupts(const struct vfio *v);

/* open("/dev/vfio/vfio"): a container. 0 or -ENOMEM. */
int vfio_open_container(struct vfio *v, struct ufile **f);
/* open("/dev/vfio/N"): 0, -ENOENT, -EBUSY (rule B4), -ENOMEM. */
int vfio_open_group(struct vfio *v, unsigned int group, struct ufile **f);
/* open("/dev/vfio/devices/vfioN"): the function vfio_func(v, N). 0, -ENOENT, -ENOMEM. */
int vfio_open_cdev(struct vfio *v, uint64_t index, struct ufile **f);

#endif
