/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of iommufd/ share.
 *
 *   ctx      one open of /dev/iommu: a table of objects by id.
 *   object   what an id stands for: an IOAS, a page table (HWPT), a device, an access, a fault queue, a
 *	      virtual IOMMU and what belongs to one.
 *   call     one ioctl: its structure as a private copy.
 *
 * users counts who holds an object, beside the table: a HWPT holds its IOAS, a device its HWPT, an open fault queue
 * its object. What is held cannot be destroyed (EBUSY); so the objects form a graph without cycles, and a context that
 * goes away destroys what nobody holds until nothing is left.
 */
#ifndef PINFOLD_IOMMUFD_INTERNAL_H
#define PINFOLD_IOMMUFD_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/itree.h"
#include "base/list.h"
#include "base/util.h"
#include "iommu/ioas.h"
#include "iommufd/iommufd.h"
#include "mm/mm.h"
#include "uapi/iommufd_abi.h"
#include "uapi/ucall.h"

#define OFFSETOFEND(t, m) (offsetof(t, m) + sizeof(((t *)0)->m))

struct iommufd {
	struct events *evs;
	struct backing_cache *cache;
	struct list mock_dmabufs;
	struct list followers; /* ioas_object.follower */
	const struct iommufd_unit *pci_unit;
	bool test;
};

/* ---- object.c ---- */
enum object_type {
	OBJECT_ANY,
	OBJECT_IOAS,
	OBJECT_HWPT_PAGING,
	OBJECT_HWPT_NESTED,
	OBJECT_DEVICE,
	OBJECT_ACCESS,
	OBJECT_FAULT,
	OBJECT_SELFTEST,
	OBJECT_VIOMMU,
	OBJECT_VDEVICE,
	OBJECT_VEVENTQ,
	OBJECT_HW_QUEUE,
	OBJECT_TYPES
};

struct iommufd_object {
	uint32_t id;
	uint8_t type;	    /* enum object_type */
	bool ready;	    /* found by its id */
	unsigned int users; /* beside the table */
};

/* Frees the object, too. Runs when nobody holds it; it is not in the table any more. */
typedef void iommufd_object_destroy_fn(struct iommufd_object *o);
extern iommufd_object_destroy_fn *const iommufd_object_destroy[OBJECT_TYPES];

struct iommufd_ctx {
	struct ufile file;
	struct iommufd *m;
	struct iommufd_object **object; /* by id - 1 */
	uint32_t nslots;
	uint32_t nobjects, first_free; /* no slot below first_free is free */
	uint32_t ntombstones;
	enum mm_account account;
	struct ioas_object *compat;
	bool no_iommu;
	struct list groups; /* device.c: of devices that are bound here */
	struct list mmaps;  /* mmap.c */
	uint64_t mmap_next; /* offset */
};

/*
 * Gives o the lowest free id, from 1, of which nobody hears until iommufd_object_ready: a new object can be taken back.
 * 0 or -ENOMEM.
 */
int iommufd_object_add(struct iommufd_ctx *ctx, struct iommufd_object *o, enum object_type type);
void iommufd_object_ready(struct iommufd_object *o);
void iommufd_object_abort(struct iommufd_ctx *ctx, struct iommufd_object *o); /* takes the id back; o is the caller's */
/* NULL: there is none of that type, or this is the attempt that is to fail (base/alloc.h): for an id that came from the
 * user; peek never fails. Not held. */
struct iommufd_object *iommufd_object_find(struct iommufd_ctx *ctx, uint32_t id, enum object_type type);
struct iommufd_object *iommufd_object_peek(struct iommufd_ctx *ctx, uint32_t id, enum object_type type);
/* 0, -ENOENT, -EBUSY. */
int iommufd_object_remove(struct iommufd_ctx *ctx, uint32_t id);
/* For an object whose only holder, which is not counted in users, gives it up: out of the table and destroyed. */
void iommufd_object_remove_own(struct iommufd_ctx *ctx, struct iommufd_object *o);
/* The same for one that goes before the user has destroyed it: its id is never given out again, and finds nothing. */
void iommufd_object_remove_tombstone(struct iommufd_ctx *ctx, struct iommufd_object *o);
void iommufd_object_remove_all(struct iommufd_ctx *ctx);
uint32_t iommufd_object_count(const struct iommufd_ctx *ctx);

/* ---- iommufd.c: calls ---- */
struct ioctl_call {
	struct iommufd_ctx *ctx;
	struct ucall *c;
	uint64_t arg;
	uint32_t user_size; /* of the caller's structure */
	void *cmd;	    /* the structure, zero where the caller's is shorter */
};
/* Writes the first size bytes of the structure back. Last input-like step is behind. 0, -ENOMEM, -EFAULT. */
int ioctl_respond(struct ioctl_call *k, size_t size);
/* For what must be undone if that answer cannot be written: early, and ioctl_respond is then -EFAULT. 0, -ENOMEM,
 * UCALL_AGAIN. */
int ioctl_expect_response(struct ioctl_call *k, size_t size);

typedef long ioctl_fn(struct ioctl_call *k);
ioctl_fn ioctl_destroy, ioctl_ioas_alloc, ioctl_ioas_allow_iovas, ioctl_ioas_copy, ioctl_ioas_iova_ranges,
    ioctl_ioas_map, ioctl_ioas_unmap, ioctl_option, ioctl_vfio_ioas, ioctl_ioas_map_file, ioctl_ioas_change_process,
    ioctl_hwpt_alloc, ioctl_hw_info, ioctl_hwpt_set_dirty_tracking, ioctl_hwpt_get_dirty_bitmap, ioctl_hwpt_invalidate,
    ioctl_fault_queue_alloc, ioctl_viommu_alloc, ioctl_vdevice_alloc, ioctl_veventq_alloc, ioctl_hw_queue_alloc,
    ioctl_mock;
/*
 * The user's data for a unit: at least min bytes of the size that are known here, the rest becomes zero. -EINVAL
 * (fewer, or more than are known), -EFAULT, -ENOMEM, UCALL_AGAIN.
 */
int ioctl_user_data(struct ioctl_call *k, uint64_t addr, uint32_t len, void *buf, size_t min, size_t size);

/* ---- ioas.c ---- */
struct ioas_object {
	struct iommufd_object obj;
	struct iommufd_ctx *ctx;
	struct ioas *io;
	struct list hwpts;    /* hwpt.c: those in this IOAS, in order of making */
	struct list follower; /* in iommufd->followers, if it follows an address space */
};
static inline struct ioas_object *ioas_object_find(struct iommufd_ctx *ctx, uint32_t id)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, OBJECT_IOAS);

	return o ? container_of(o, struct ioas_object, obj) : NULL;
}
/* The pages around [start, start + len): *first is where they start. They may reach to the end of all
 * addresses. -EINVAL (len 0 or all there is), -EOVERFLOW. */
int ioas_page_span(uint64_t start, uint64_t len, uint64_t *first, uint64_t *span);
/* A new one, not ready yet. 0 or -ENOMEM. */
int ioas_object_new(struct iommufd_ctx *ctx, struct ioas_object **out);
iommufd_object_destroy_fn ioas_object_destroy;

/* ---- compat.c ---- */
/* VFIO's container ioctls on an iommufd. -ENOTTY: not one of them. */
long compat_ioctl(struct iommufd_ctx *ctx, struct ucall *c, unsigned int cmd, uint64_t arg);

/* ---- hwpt.c: page tables ---- */
struct fault_queue;

/* A page table: a domain with an id. Held by each device that is attached, and a parent by its nested ones. */
struct hwpt {
	struct iommufd_object obj;
	struct iommufd_ctx *ctx;
	struct domain *d;
	const struct iommufd_unit *unit; /* that it was made for */
	struct fault_queue *fault;	 /* NULL: page requests go nowhere */
	bool pasid;			 /* may be attached to a PASID, or beside PASIDs */
	/* paging */
	struct ioas_object *ioas; /* NULL: nested */
	struct list node;	  /* ioas->hwpts */
	bool automatic;		  /* made by an attach; goes with its last device */
	bool nest_parent;
	/* nested */
	struct hwpt *parent;
	struct viommu *viommu; /* it was made for, held; NULL: the parent is held */
	void *state;	       /* the unit's */
};
/* A page table of either kind; NULL: the id, or the object, is something else. */
struct hwpt *hwpt_find(struct iommufd_ctx *ctx, uint32_t id);
struct hwpt *hwpt_of(struct iommufd_object *o);
/*
 * A paging one for devices like dev in o, not ready yet and not in the space: hwpt_fill does that. flags:
 * IOMMU_HWPT_ALLOC_*. -EOPNOTSUPP, -ENOMEM.
 */
int hwpt_new_paging(struct ioas_object *o, struct iommufd_device *dev, uint32_t flags, struct hwpt **out);
int hwpt_fill(struct hwpt *h); /* as ioas_add_domain */
void hwpt_abort(struct hwpt *h);
/* A device has let go: an automatic one that nobody holds any more is destroyed. */
void hwpt_released(struct hwpt *h);
iommufd_object_destroy_fn hwpt_destroy;

/* ---- device.c ---- */
/* Requesters that cannot be told apart translate alike: one page table for all of them. */
struct device_group {
	struct list node; /* ctx->groups */
	const void *key;
	unsigned int refs;    /* devices that are bound */
	struct hwpt *hwpt;    /* NULL: none is attached */
	struct list attached; /* iommufd_device.node */
	struct list pasids;   /* pasid.c */
};
struct iommufd_device {
	struct iommufd_object obj;
	struct iommufd_ctx *ctx;
	struct dma_dev *dma;
	const struct iommufd_unit *unit;
	struct device_group *group;
	struct list node; /* group->attached */
	bool attached, holds_ctx;
	struct vdevice *vdev; /* NULL: it is part of no virtual IOMMU */
};
struct iommufd_device *device_find(struct iommufd_ctx *ctx, uint32_t id);
/* Bound for as long as the context's own object lives, which must not be kept alive by it. */
int device_bind(struct iommufd_ctx *ctx, struct dma_dev *dma, const void *group, const struct iommufd_unit *u,
		bool hold_ctx, struct iommufd_device **dev);
iommufd_object_destroy_fn device_destroy;
/* Can dev be attached to h (-EINVAL, -ENODEV or -EINVAL: faults that it cannot report, -EREMOTEIO: memory of a device
 * that it may not reach, or what the unit says)? */
int device_compatible(const struct iommufd_device *dev, const struct hwpt *h);

/* ---- pasid.c: page tables for PASIDs of a device ---- */
/*
 * As iommufd_device_attach and _replace, for a PASID other than 0. Only page tables that were made with
 * IOMMU_HWPT_ALLOC_PASID. -EBUSY: attached to this very one.
 */
int device_pasid_attach(struct iommufd_device *dev, uint32_t pasid, uint32_t pt_id);
int device_pasid_replace(struct iommufd_device *dev, uint32_t pasid, uint32_t pt_id);
void device_pasid_detach(struct iommufd_device *dev, uint32_t pasid); /* nothing happens if it is not attached */
void device_pasid_detach_all(struct iommufd_device *dev);
struct hwpt *device_pasid_hwpt(const struct iommufd_device *dev, uint32_t pasid); /* NULL: none */

/* ---- fault.c ---- */
/* Holds and lets go of the queue with this id. NULL: there is none. */
struct fault_queue *fault_queue_get(struct iommufd_ctx *ctx, uint32_t id);
void fault_queue_put(struct fault_queue *q);
/*
 * A page request of dev, by way of what is attached to that PASID of it (0: to none), for the user to answer. The
 * record's cookie is the queue's to choose. asker, if not NULL, is told the answer. -ENOMEM: nobody will hear of it.
 */
int fault_queue_report(struct fault_queue *q, struct iommufd_device *dev, uint32_t pasid,
		       const struct iommu_hwpt_pgfault *record, struct dma_request *asker);
/* A page request of a requester that is attached to h; of type domain_take_fn. */
int hwpt_take_request(void *h, struct dma_request *r);
/* Answers every page request that came that way with INVALID: the page table changes. */
void fault_queue_flush(struct fault_queue *q, struct iommufd_device *dev, uint32_t pasid);
iommufd_object_destroy_fn fault_destroy;

/* ---- viommu.c: virtual IOMMUs ---- */
struct iommufd_viommu_ops;

/* A virtual IOMMU: a slice of a unit that a guest drives. Holds its parent page table. */
struct viommu {
	struct iommufd_object obj;
	struct iommufd_ctx *ctx;
	const struct iommufd_unit *unit;
	const struct iommufd_viommu_ops *ops;
	struct hwpt *hwpt;     /* the nesting parent */
	struct itree vdevices; /* by virt_id */
	struct list veventqs;  /* veventq.c; of different types */
	struct list hw_queues; /* hw_queue.node */
	void *state;	       /* the unit's */
};
/* A device's place in a virtual IOMMU. Holds that, but not the device, which takes it with it. */
struct vdevice {
	struct iommufd_object obj;
	struct viommu *viommu;
	struct iommufd_device *dev;
	struct itree_node node; /* virt_id, alone */
};
struct viommu *viommu_find(struct iommufd_ctx *ctx, uint32_t id);
struct vdevice *viommu_vdevice(const struct viommu *v, uint64_t virt_id);
/* Does the guest that h was made for have a name for dev? */
bool viommu_knows(const struct iommufd_device *dev, const struct hwpt *h);
iommufd_object_destroy_fn viommu_destroy, vdevice_destroy;

/* ---- veventq.c: events of a virtual IOMMU ---- */
/* 0, -EOPNOTSUPP (nobody listens for that type), -ENOMEM (the queue knows that it has lost one). */
int viommu_report_event(struct viommu *v, uint32_t type, const void *data, size_t len);
iommufd_object_destroy_fn veventq_destroy;

/* ---- hwqueue.c: queues in guest memory that hardware reads by itself ---- */
/* Its memory stays mapped in the parent's space, and pinned, for as long as it lives. Holds its virtual IOMMU. */
struct hw_queue {
	struct iommufd_object obj;
	struct viommu *viommu;
	struct list node; /* viommu->hw_queues */
	struct access *access;
	uint32_t type, index;
	uint64_t iova, len;
	struct hw_queue *needs; /* another of the same virtual IOMMU that must outlive it, held; NULL: none */
};
struct hw_queue *viommu_hw_queue(const struct viommu *v, uint32_t type, uint32_t index);
iommufd_object_destroy_fn hw_queue_destroy;

/* ---- mmap.c: pages that the user maps from the context's descriptor ---- */
struct iommufd_mmap;
struct umap;
/* len bytes, page aligned, zero: *host is where they are here, *off what the user passes to mmap. 0, -ENOMEM, -EMFILE.
 */
int iommufd_mmap_new(struct iommufd_ctx *ctx, uint64_t len, struct iommufd_mmap **m, void **host, uint64_t *off);
/* What the user has mapped stays mapped, and leads to nothing any more. */
void iommufd_mmap_free(struct iommufd_mmap *m);
int iommufd_mmap_map(struct iommufd_ctx *ctx, uint64_t off, uint64_t len, int prot, bool shared, struct umap *map);

/* ---- mock.c, access.c ---- */
#define MOCK_CMD_MIN  68
#define MOCK_CMD_SIZE 72
iommufd_object_destroy_fn access_object_destroy, selftest_destroy;
void mock_dmabufs_fini(struct iommufd *m);

#endif
