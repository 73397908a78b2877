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
struct iommufd_unit;
struct loop;
struct pci_func;
struct ufile;
struct vfio;

/* All functions and groups of one broker. */
struct vfio *vfio_new(struct events *evs);
/* The loop that watches clients' eventfds (IOEVENTFD, unmasking of INTx). Without one those are refused with -ENODEV.
 */
void vfio_set_loop(struct vfio *v, struct loop *loop);
/* The kind of IOMMU before the functions, where it is not the default one (iommufd/iommufd.h). */
void vfio_set_unit(struct vfio *v, const struct iommufd_unit *u);
/* What Linux merely warns about is refused: with EINVAL (rule B3). */
void vfio_set_strict(struct vfio *v, bool strict);
/* It has been done: the policy of who reaches whose memory has been gone around. For good. */
bool vfio_tainted(const struct vfio *v);
void vfio_free(struct vfio *v);			  /* every ufile must be gone; frees the functions */
int vfio_add(struct vfio *v, struct pci_func *f); /* takes ownership on success; 0, -EEXIST (address taken), -ENOMEM */
struct pci_func *vfio_func(struct vfio *v, size_t i); /* i-th, NULL past the end */

/*
 * Around a run of posted register writes: an interrupt vector that is raised several times meanwhile reaches its
 * eventfd once, at the end, as it may when a device's messages overtake the reader.
 */
void vfio_batch_begin(struct vfio *v);
void vfio_batch_end(struct vfio *v);

/*
 * flush carries out the register writes that clients have posted by the time of the call. It is called before memory
 * decoding changes, so that each of them takes place on its own side of the change.
 */
void vfio_set_flush(struct vfio *v, void (*flush)(void *arg), void *arg);

/*
 * Whoever carries out calls waits, with a call and with the answer to one, while ufile_ops.busy says so. Then large
 * memory can be taken away and given back without holding up anybody else. Otherwise the calls take that long.
 */
void vfio_set_waits(struct vfio *v);
bool vfio_moving(const struct vfio *v); /* false: nothing of it is busy */

/*
 * Before a client's call is carried out: what it stored to devices' registers earlier, where those are memory, takes
 * place. A driver that stops a queue and unmaps what it used relies on that order.
 */
void vfio_settle(struct vfio *v);

/* Whether a device that somebody has open does not answer to memory accesses: COMMAND.MEM is clear, or it sleeps. */
bool vfio_memory_off(const struct vfio *v);

/* How many interrupts have been sent to clients so far. */
uint64_t vfio_interrupts(const struct vfio *v);

/*
 * The function's driver is taken away: nobody can open it from now on, and whoever has it open is asked to let go. When
 * nobody has, perhaps at once, unbound is called. 0, -EALREADY (under way), -ENODEV (not bound).
 */
int vfio_unbind(struct vfio *v, struct pci_func *f);
void vfio_on_unbound(struct vfio *v, void (*unbound)(void *arg, struct pci_func *f), void *arg);
int vfio_bind(struct vfio *v, struct pci_func *f); /* again. 0, -EBUSY (bound, or leaving), -ENODEV (unknown) */
enum vfio_binding { VFIO_UNBOUND, VFIO_LEAVING, VFIO_BOUND, VFIO_IN_USE };
enum vfio_binding vfio_binding(struct vfio *v, const struct pci_func *f);

/* A function that VFIO does not have: it is hit by the reset of a bus, too. It outlives v. 0 or -ENOMEM. */
int vfio_add_other(struct vfio *v, const struct pci_func *f);
/* A driver of the host's own uses a function of the group: nobody else can (it is not viable). */
void vfio_group_in_host_use(struct vfio *v, unsigned int group);

/* The host resets the function, whoever has it open. */
void vfio_reset_func(struct vfio *v, struct pci_func *f);
/* Its link goes down, which the owner learns through VFIO_PCI_ERR_IRQ_INDEX, or comes up again. */
void vfio_set_link(struct vfio *v, struct pci_func *f, bool up);

/* open("/dev/vfio/vfio"): a container. 0 or -ENOMEM. */
int vfio_open_container(struct vfio *v, struct ufile **f);
/* open("/dev/vfio/N"): 0, -ENOENT, -EBUSY (rule B4), -ENOMEM. */
int vfio_open_group(struct vfio *v, unsigned int group, struct ufile **f);
/* open("/dev/vfio/devices/vfioN"): the function vfio_func(v, N). 0, -ENOENT, -ENOMEM. */
int vfio_open_cdev(struct vfio *v, uint64_t index, struct ufile **f);

#endif
