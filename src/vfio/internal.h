/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of vfio/ share.
 *
 *   container   /dev/vfio/vfio; groups attach to it; with at least one group it may have a type1 (an IOVA space).
 *   group       /dev/vfio/N; open at most once (rule B4). In a container from SET_CONTAINER to UNSET_CONTAINER or
 *               release.
 *   device      one PCI function, opened through its group, any number of times, or bound to an iommufd through
 *		 /dev/vfio/devices/vfioN, once (rule B4: never both).
 *   binding     a device's tie to an iommufd: of a device that came through its node, and of one that came from a group
 *		 whose container is an iommufd.
 *
 * References. A group in a container holds the container's ufile, one with an iommufd for its container the iommufd's.
 *A device's ufile holds its group's ufile if the group is in a container; a binding holds the iommufd's. So the
 * descriptors may be closed in any order, and what a device needs outlives it.
 *
 * Invariants. group->container and group->iommufd are not both set. group->users counts open files of devices that are
 * not bound, and is 0 unless group->container && container->iommu. group->cdevs counts devices that are bound through
 * their node, and is 0 while the group is open. All bound devices of a group are bound to one iommufd; meanwhile the
 * group is in no container. A function's dma_dev is attached to the container's IOMMU exactly while its group is in a
 * container that has one, and to a page table of the iommufd exactly while it is bound and attached there.
 */
#ifndef PINFOLD_VFIO_INTERNAL_H
#define PINFOLD_VFIO_INTERNAL_H

#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/util.h"
#include "pci/pci.h"
#include "uapi/ucall.h"
#include "uapi/vfio_abi.h"
#include "vfio/eventfd.h"
#include "vfio/vfio.h"

#define OFFSETOFEND(t, m) (offsetof(t, m) + sizeof(((t *)0)->m))

#define IRQ_TYPE_NONE VFIO_PCI_NUM_IRQS
#define TOKEN_LEN     16 /* a UUID */

struct iommufd_device;
struct type1;

struct vfio {
	struct events *evs;
	const struct iommufd_unit *unit; /* before the functions */
	struct loop *loop;		 /* NULL: client eventfds cannot be listened to */
	struct eventfd_ringer ringer;
	struct list groups;
	struct vfio_dev **dev;
	size_t ndev;
	const struct pci_func **others; /* functions that VFIO does not have, and may meet on a bus */
	size_t nothers;
	bool strict;					/* what Linux only warns about is refused */
	bool tainted;					/* and has been done (rule B3). For good */
	void (*unbound)(void *arg, struct pci_func *f); /* NULL: nobody asks */
	void *unbound_arg;
	void (*flush)(void *arg); /* carries out what clients have posted; NULL: nothing is posted */
	void *flush_arg;
	bool waits;  /* a call on a file that is busy waits, and so does the answer of one that made it so */
	bool moving; /* a device's memory may be on its way (pci_mem_moving) */
};

struct container {
	struct ufile file;
	struct vfio *v;
	struct list groups;
	struct type1 *iommu; /* NULL until SET_IOMMU and again when the last group leaves */
};

struct vfio_group {
	struct list node; /* vfio.groups */
	struct vfio *v;
	unsigned int number;
	char name[24];
	struct ufile_ops ops; /* of its own for the name's sake */
	bool opened;
	struct ufile file; /* meaningful while opened */
	struct container *container;
	struct list container_node;
	struct ufile *iommufd; /* in the container's place */
	unsigned int users;
	unsigned int cdevs;
	bool host_use; /* a driver of the host's own has a function of it */
};

/*
 * The configuration space that a client sees. A bit that is set in virt is read from and written to shadow, any other
 * one is the function's own; bits that are clear in write ignore writes.
 */
struct vconfig {
	uint8_t shadow[PCI_CFG_SIZE];
	uint8_t virt[PCI_CFG_SIZE];
	uint8_t write[PCI_CFG_SIZE];
};

struct intx {
	int trigger;	   /* eventfd or -1 */
	bool level;	   /* the function asserts its pin */
	uint32_t again;	   /* how often it was signalled since the level last changed or a register was touched */
	uint64_t accesses; /* the function's, then */
	bool masked;
	struct eventfd_listener *unmask;
};

/* Low power (power.c). engaged from entry to exit; asleep in between, but for the time of a call. */
struct low_power {
	bool engaged, asleep;
	bool masked_intx;
	int wake; /* eventfd or -1 */
	uint8_t saved[PCI_CFG_SIZE];
};

/*
 * A device that is bound to an iommufd is attached as itself or as its PASID 0, which is the same, and in Linux each of
 * the two ways knows only what was attached by it.
 */
enum binding_name { BINDING_DEVICE, BINDING_PASID_0, BINDING_NAMES };

struct vfio_dev {
	struct vfio *v;
	struct vfio_group *group;
	struct pci_func *f;
	char name[16];
	struct ufile_ops cdev_ops; /* of its own for the name's sake */
	char cdev_name[48];
	enum { DEVICE_BOUND, DEVICE_LEAVING, DEVICE_UNBOUND } state; /* unbind.c */
	unsigned int files; /* that keep it from leaving: of the device, and of its own node bound or not */
	struct loop_timer leave_timer;
	unsigned int open_count;
	bool by_cdev; /* open_count is of one that came through the device's own node */

	struct iommufd_device *bound; /* NULL: to no iommufd */
	struct ufile *iommufd;	      /* that it is bound to; held by bound */
	uint32_t devid;		      /* there */
	bool attached[BINDING_NAMES]; /* to a page table there, by that name; never by both */

	struct vconfig cfg;
	uint8_t before_d3[PCI_CFG_SIZE]; /* the function's cfg when it last went to D3hot */

	struct pci_irq_sink sink;
	unsigned int irq_type; /* VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX or IRQ_TYPE_NONE */
	int *msix;	       /* an eventfd or -1 per vector, of MSI-X or MSI */
	uint32_t rung;	       /* how often any of them */
	unsigned int msi_used; /* MSI vectors that were enabled last; a power of two, 0 before */
	struct intx intx;
	bool intx_disabled; /* COMMAND.INTX_DISABLE as the client wrote it */
	int err_trigger, req_trigger;

	struct list dmabufs; /* of the present owner's */
	struct list ioeventfds;
	unsigned int nioeventfds;

	uint32_t mig_state;		 /* enum vfio_device_mig_state */
	struct mig_session *mig_session; /* the transfer under way, or NULL */
	struct mig_session *mig_begun;	 /* one that is about to be; NULL: none */
	struct loop_timer mig_patience;	 /* armed while a caller waits for the function to become quiet */
	struct low_power power;

	struct vfio_dev *pf;	  /* token.c: of a virtual function, whose physical one is VFIO's; or NULL */
	uint8_t token[TOKEN_LEN]; /* of a physical function */
	unsigned int token_users; /* virtual functions of it that are in use */
};

struct device_file {
	struct ufile file;
	struct vfio_dev *dev;
	bool bound; /* cdev.c: this one may use the device */
};

struct vfio_ioctl {
	unsigned int cmd;
	long (*handler)(struct ufile *f, struct ucall *c, uint64_t arg);
};

/* The handler's answer, or otherwise for a command that is not in the table. */
static inline long vfio_dispatch(const struct vfio_ioctl *table, size_t n, struct ufile *f, struct ucall *c,
				 unsigned int cmd, uint64_t arg, long otherwise)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (table[i].cmd == cmd)
			return table[i].handler(f, c, arg);
	return otherwise;
}

/* ---- container.c ---- */
bool container_is(const struct ufile *f);
int container_attach(struct container *ct, struct vfio_group *g); /* 0 or -EPERM */
void container_detach(struct vfio_group *g);

/* ---- type1.c, dirty.c ---- */
struct type1 {
	struct vfio *v;
	struct ioas *io;
	struct domain *domain; /* in io from the start: everything is pinned when it is mapped */
	bool v2;
	bool dirty_tracking;
};

int type1_check_extension(const struct type1 *t, uint64_t ext); /* t may be NULL */
int type1_new(struct vfio *v, uint64_t kind, struct type1 **t); /* 0, -EINVAL, -ENOMEM */
void type1_free(struct type1 *t);				/* no function may be attached */
void type1_attach(struct type1 *t, struct pci_func *f);
long type1_ioctl(struct type1 *t, struct ucall *c, unsigned int cmd, uint64_t arg);

long dirty_pages(struct type1 *t, struct ucall *c, uint64_t arg);
/* Is bm big enough for npages pages and in the client's reach? 0 or -EINVAL. */
int dirty_check_bitmap(const struct vfio_bitmap *bm, uint64_t size);
/* Queues the dirty bits of the areas in [first, last] for bm; bit 0 stands for first. */
int dirty_report(struct type1 *t, struct ucall *c, const struct vfio_bitmap *bm, uint64_t first, uint64_t last);
/* -EINVAL if an area straddles first or last. */
int type1_check_borders(struct type1 *t, uint64_t first, uint64_t last);

/* ---- group.c ---- */
struct vfio_group *group_new(struct vfio *v, unsigned int number); /* NULL: out of memory */
bool group_is(const struct ufile *f);

void group_lose_iommu(struct vfio_group *g); /* leaves its container, or its iommufd; no device may be open */

/* ---- unbind.c ---- */
void unbind_file_opened(struct vfio_dev *d);
void unbind_file_closed(struct vfio_dev *d);
void unbind_ask_again(struct loop_timer *t);
bool unbind_group_gone(const struct vfio_group *g); /* no device of it is bound: it does not exist for clients */

/* ---- device.c ---- */
struct vfio_dev *device_new(struct vfio *v, struct vfio_group *g, struct pci_func *f);
void device_free(struct vfio_dev *d);  /* not the function */
bool device_is(const struct ufile *f); /* one by which a device is in use, through its group or its node */
/* Through its group. 0, -ENOMEM, -EPERM (bound to another iommufd), and as binding_bind and binding_attach. */
int device_open(struct vfio_dev *d, struct ufile **f);
long device_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg);
/* Around whatever a client does to it: it is awake, and large memory may go on to move when the call has ended. */
void device_call_begin(struct vfio_dev *d);
void device_call_end(struct vfio_dev *d);
bool device_busy(struct ufile *f);
/* One more user. The first binds the device to the iommufd, if that is not NULL, and enables it. */
int device_enter(struct vfio_dev *d, struct ufile *iommufd);
void device_leave(struct vfio_dev *d);
/* Resets the function and gives it back the configuration it had, as the host kernel does for its own reset. */
void device_reset(struct vfio_dev *d);
/* After a reset: saved is a copy of the function's cfg from before. */
void device_restore(struct vfio_dev *d, const uint8_t *saved);

/* ---- feature.c ---- */
/* One GET or SET of a feature, its header checked. */
struct feature_call {
	struct ucall *c;
	uint64_t data;	/* address of the feature's own data */
	uint32_t argsz; /* how much of it there is: no less than the feature's size */
	bool get;
};
long feature_ioctl(struct ufile *f, struct ucall *c, uint64_t arg);

/* ---- token.c ---- */
void token_init(struct vfio_dev *d); /* when those that were added before it are known */
/* What follows a device's name: 0, -EINVAL, -EACCES. May set the token of a physical function. */
int token_match(struct vfio_dev *d, const char *options);
void token_entered(struct vfio_dev *d); /* its first user */
void token_left(struct vfio_dev *d);	/* its last one */
bool token_offered(const struct vfio_dev *d);
long token_set(struct vfio_dev *d, struct feature_call *fc);

/* ---- migration.c ---- */
/* The state behind the next arc on the way from one to another. -EINVAL: there is no way. */
int migration_next(uint32_t from, uint32_t to, uint32_t *next);
void migration_init(struct vfio_dev *d);
/* Back to RUNNING, as after a reset. */
void migration_reset(struct vfio_dev *d);
bool migration_offered(const struct vfio_dev *d);
long migration_flags(struct vfio_dev *d, struct feature_call *fc);
long migration_state(struct vfio_dev *d, struct feature_call *fc);
long migration_data_size(struct vfio_dev *d, struct feature_call *fc);

/* ---- logging.c ---- */
bool logging_offered(const struct vfio_dev *d);
long logging_start(struct vfio_dev *d, struct feature_call *fc);
long logging_stop(struct vfio_dev *d, struct feature_call *fc);
long logging_report(struct vfio_dev *d, struct feature_call *fc);

/* ---- session.c: the descriptor that a saved state goes through ---- */
struct mig_session;
/*
 * Of a function that is to be saved or loaded, and saved as a whole when it has stopped or some of it before. Not open
 * yet: start or drop it. 0 or -ENOMEM.
 */
int mig_session_new(struct vfio_dev *d, bool saving, bool whole, struct mig_session **s);
void mig_session_drop(struct mig_session *s);
/* Of one that is not whole, a part of the first look at memory. 0: it is done; -EAGAIN. */
int mig_session_look(struct mig_session *s);
struct ufile *mig_session_file(struct mig_session *s);
/* Its descriptor has been handed out. What the function is can be read at once. */
void mig_session_start(struct mig_session *s);
/* The rest of the state, and the end, can be read. The function is stopped. 0 or -ENOMEM. */
int mig_session_save(struct mig_session *s);
/* What has been written becomes the function's state. pci_load's errors. */
int mig_session_load(struct mig_session *s);
/* The descriptor stays, and what has been sent can be read; it has nothing to do with the function any more. */
void mig_session_end(struct mig_session *s);
/* ---- power.c ---- */
void device_settle(struct vfio_dev *d);		 /* before decode changes either way */
bool device_memory_on(const struct vfio_dev *d); /* as mappings see it */
void power_init(struct vfio_dev *d);
/* Around each call of a client: awake for it, and asleep again afterwards if the owner wants that. */
void power_wake(struct vfio_dev *d);
void power_rest(struct vfio_dev *d);
void power_shutdown(struct vfio_dev *d);
long power_enter(struct vfio_dev *d, struct feature_call *fc);
long power_enter_with_wakeup(struct vfio_dev *d, struct feature_call *fc);
long power_exit(struct vfio_dev *d, struct feature_call *fc);

/* ---- cdev.c ---- */
void cdev_init(struct vfio_dev *d, size_t index);
bool cdev_is_bound(const struct ufile *f); /* a device's own node, by which it is in use */

/* ---- binding.c ---- */
/* -EPERM (a device of the group is bound to another iommufd), -ENOMEM. */
int binding_bind(struct vfio_dev *d, struct ufile *iommufd);
/* As iommufd_device_attach, or iommufd_device_replace if it is attached. */
int binding_attach(struct vfio_dev *d, enum binding_name name, uint32_t *pt_id);
void binding_detach(struct vfio_dev *d, enum binding_name name); /* if it is attached by it */
void binding_unbind(struct vfio_dev *d);			 /* detaches; if it is bound */
/* Is a device of the group bound to that iommufd, or, for NULL, to any? */
bool binding_in_group(const struct vfio_group *g, const struct ufile *iommufd);

/* ---- hotreset.c ---- */
long hotreset_get_info(struct ufile *f, struct ucall *c, uint64_t arg);
bool hotreset_together(const struct vfio_dev *a, const struct vfio_dev *b);
long hotreset_do(struct ufile *f, struct ucall *c, uint64_t arg);

/* ---- dmabuf.c ---- */
long dmabuf_feature(struct vfio_dev *d, struct feature_call *fc);
void dmabuf_cleanup(struct vfio_dev *d); /* the owner goes: what he exported is nobody's */
/*
 * What a mapping of ours at client address va leads to: [file_off, file_off + len) of file, as pages. 0, -EFAULT (no
 * BAR there, or its memory is off), -EINVAL (strict), -ENOMEM.
 */
int dmabuf_legacy_pages(struct vfio *v, struct ufile *file, uint64_t file_off, uint64_t len, uint64_t va,
			struct mm_owner *who, struct pages **p);

/* ---- ioeventfd.c ---- */
long ioeventfd_set(struct ufile *f, struct ucall *c, uint64_t arg);
void ioeventfd_clear(struct vfio_dev *d);
void ioeventfd_settle(struct vfio_dev *d); /* carries out what has been signalled */

/* ---- irq.c ---- */
void irq_init(struct vfio_dev *d);
void irq_shutdown(struct vfio_dev *d); /* closes and disables everything */
unsigned int irq_count(const struct vfio_dev *d, unsigned int index);
long irq_get_info(struct ufile *f, struct ucall *c, uint64_t arg);
long irq_set(struct ufile *f, struct ucall *c, uint64_t arg);
void irq_request(struct vfio_dev *d);	/* rings REQ: let go of the device */
void irq_error(struct vfio_dev *d);	/* rings ERR: the device has a fatal error */
void irq_restore(struct vfio_dev *d);	/* after a reset: what is set up is set up again */
bool irq_intx_mask(struct vfio_dev *d); /* true if INTx is set up and was not masked */
void irq_intx_unmask(struct vfio_dev *d);
void irq_intx_disable_changed(struct vfio_dev *d, bool disabled);

/* ---- config.c ---- */
void config_open(struct vfio_dev *d);
void config_set_d0(struct vfio_dev *d); /* as if the client had written it */
ssize_t config_read(struct vfio_dev *d, void *buf, size_t len, uint64_t off);
ssize_t config_write(struct vfio_dev *d, const void *buf, size_t len, uint64_t off);

/* ---- regioninfo.c ---- */
long region_get_info(struct ufile *f, struct ucall *c, uint64_t arg);
/* The pages of the BAR that the MSI-X table touches. False: it is in another BAR. */
bool region_msix_pages(const struct pci_func *f, unsigned int bar, uint64_t *first, uint64_t *last);

/* ---- region.c ---- */
uint64_t region_offset(unsigned int index);
/* Splits a file offset; false if it is not one of a region's. */
bool region_locate(uint64_t file_off, unsigned int *index, uint64_t *off);
/* True if [off, off + len) of BAR bar touches the MSI-X table. */
bool region_hits_msix_table(const struct pci_func *f, unsigned int bar, uint64_t off, uint64_t len);
bool region_bar_mappable(const struct pci_func *f, unsigned int bar);
bool region_has_msix_table(const struct pci_func *f, unsigned int bar);
ssize_t region_pread(struct ufile *f, void *buf, size_t len, uint64_t off);
ssize_t region_pwrite(struct ufile *f, const void *buf, size_t len, uint64_t off);
int region_mmio_read(struct ufile *f, uint64_t off, unsigned int size, uint64_t *val);
int region_mmio_write(struct ufile *f, uint64_t off, unsigned int size, uint64_t val);
int region_mmio_test(struct ufile *f, uint64_t off, uint64_t generation);
int region_mmap(struct ufile *f, uint64_t off, uint64_t len, int prot, bool shared, struct umap *m);

#endif
