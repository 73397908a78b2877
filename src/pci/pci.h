/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI Express function: configuration space with its write rules, BARs, MSI-X, reset. Devices fill one in and
 * implement pci_func_ops; the VFIO layer drives it from the other side.
 */
#ifndef PINFOLD_PCI_PCI_H
#define PINFOLD_PCI_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/event.h"
#include "iommu/iommu.h"
#include "mm/peer.h"
#include "pci/peer.h"

#define PCI_CFG_SIZE 4096
#define PCI_BARS     6
#define PCI_MSIX_MAX 2048
#define PCI_MSI_MAX  32
#define PCI_ROM_MAX  (16UL << 20)

struct pci_func;
struct pci_inject;
struct events;
struct barmem;
struct live_page;
struct loop;
struct p2p_policy;
struct pci_posted;
struct pci_sriov;
struct state;
struct state_out;

/* How much of its work a function does (pci/migrate.h). A reset does not change it. */
enum pci_run {
	PCI_RUNNING,
	PCI_QUIET,   /* begins no DMA; registers work */
	PCI_STOPPED, /* and raises no interrupt: what is raised pends */
};

struct pci_func_ops {
	/*
	 * Register access inside BAR bar. size is 1, 2, 4 or 8 and [off, off + size) lies inside the BAR; nothing is
	 * promised about alignment. Called only while COMMAND.MEM is set. Never for the MSI-X table and PBA, which the
	 * core serves.
	 */
	uint64_t (*bar_read)(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size);
	void (*bar_write)(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);
	/* Function-level reset: back to power-on state, nothing in flight when it returns. */
	void (*reset)(struct pci_func *f);
	/* COMMAND.BUS_MASTER or MEM changed, or the power state did. Optional. Not called for a reset, which clears
	 * all. */
	void (*command_changed)(struct pci_func *f);
	/*
	 * What has been stored to registers that are memory at times (pci_bar.live) takes place, before a call that
	 * came after it in the program. Optional.
	 */
	void (*settle)(struct pci_func *f);
	/* Queues that a fault on purpose had stopped go on (pci/inject.h). Optional. */
	void (*resume)(struct pci_func *f);
	/* The device has a link of its own, a cable: this is what a fault on purpose takes away. Optional. */
	void (*set_link)(struct pci_func *f, bool up);
	/* The owner goes, and all is as he leaves it: for what is to be said of that. Optional. */
	void (*closing)(struct pci_func *f);
	/* The last reference is gone. Frees the device. Nothing of it runs afterwards. */
	void (*destroy)(struct pci_func *f);

	/*
	 * Migration (pci/migrate.h). All four, or none: then the function cannot be migrated.
	 *
	 * quiesce: f->run is PCI_QUIET now. Begin nothing, end what is under way, and make stable what was written. 0:
	 * all done; -EAGAIN: not yet, ask again; another error: it cannot be, and run follows.
	 */
	int (*quiesce)(struct pci_func *f);
	/* f->run is PCI_RUNNING again: go on, also with what came in meanwhile. */
	void (*run)(struct pci_func *f);
	/* Appends the device's own records. It is quiet, unless o only counts. */
	void (*save)(struct pci_func *f, struct state_out *o);
	/*
	 * Takes the device's own records, from a sender that is not trusted: all are checked, and state_all_taken
	 * asked, before anything changes. 0, -EINVAL or -ENOMEM; on error nothing has changed. The function is stopped.
	 */
	int (*load)(struct pci_func *f, struct state *s);
};

struct pci_bar {
	uint64_t size; /* bytes, a power of two; 0 = not there (or the upper half of a 64-bit BAR) */
	bool mem64;
	bool prefetch;
	/* The BAR is plain memory (pci/barmem.h), the core's to revoke and restore. NULL: every access goes to ops. */
	struct barmem *mem;
	/*
	 * Memory of the device's own instead, at that address of ours, all of it: touched with guard_copy. A client's
	 * access to it is served here and cannot be anything but a trap. NULL: registers.
	 */
	char *view;
	bool mem_kept; /* its content outlives its owner: the device is made that way (a persistent memory region) */
	/* Accesses that start in [msix_first, msix_first + msix_len) may touch the MSI-X table or PBA. Core only. */
	uint64_t msix_first, msix_len;
	/* Pages that are plain memory at times (pci/live.h): their offset in the BAR. live NULL: there are none. */
	struct live_page *live;
	uint64_t live_off;
};

/*
 * Somebody who reaches BARs other than by pci_bar_read and pci_bar_write: a peer's DMA. revoke is called when decode
 * ends, before the call that ends it returns: then nothing of his reaches the BARs any more, and what was under way is
 * over (rule A4). He may come back by himself when decode is on again. Must not block; may remove any user.
 */
struct pci_mem_user {
	struct list node;
	void (*revoke)(struct pci_mem_user *u);
};

/* Where interrupts go. The VFIO layer fills it in while the function is open. */
struct pci_irq_sink {
	void (*msix)(struct pci_irq_sink *s, unsigned int vector);
	void (*intx)(struct pci_irq_sink *s, bool level);	  /* optional */
	void (*msi)(struct pci_irq_sink *s, unsigned int vector); /* optional */
	/* How often a vector of MSI or MSI-X has fired since somebody took notice; optional. */
	uint64_t (*unread)(struct pci_irq_sink *s, unsigned int vector);
};

struct msix_entry {
	uint64_t addr;
	uint32_t data;
	uint32_t ctrl; /* bit 0: masked */
};

#define PCI_REGIONS_MAX 4

/*
 * What a device shows its owner beside its BARs, as a region of VFIO's behind those that every PCI function has: type
 * and subtype say what it is. Read-only, and not on the bus: decode does not matter.
 */
struct pci_region {
	uint32_t type, subtype;
	uint64_t size;
	void (*read)(struct pci_func *f, uint64_t off, void *buf, size_t len); /* [off, off + len) lies inside */
};

/* A BAR as other devices have it. f NULL: none has had it yet. */
struct pci_peer {
	struct pci_func *f;
	struct peer peer;
};

struct pci_func {
	const struct pci_func_ops *ops;
	const char *name; /* device type: "nvme" */
	uint16_t domain;
	uint16_t bdf;	    /* bus << 8 | dev << 3 | fn */
	unsigned int group; /* IOMMU group number */
	struct events *evs;
	struct dma_dev *dma;

	uint8_t cfg[PCI_CFG_SIZE];   /* what a read returns */
	uint8_t wmask[PCI_CFG_SIZE]; /* bits that software may write */
	uint8_t w1c[PCI_CFG_SIZE];   /* bits that software clears by writing 1 */
	uint8_t rst[PCI_CFG_SIZE];   /* what the bits of wmask and w1c return to at a reset */
	struct pci_bar bar[PCI_BARS];

	struct pci_inject *inject; /* faults on purpose; NULL: none */
	unsigned int admin_queues; /* queues below this number meet only faults that name them */
	/*
	 * Nothing answers: it has been pulled out, or its link is down. Reads are all ones, writes are lost, nothing
	 * comes from it. cfg goes on as what the host wants it to hold.
	 */
	bool away;
	bool behind; /* reset without the owner's doing, who may go on as if nothing had been; the device clears it */
	bool pulled; /* away for good: out of its slot, and the host knows */

	/* Derived from cfg by the core whenever one of its sources changes. */
	bool d0;	/* PMCSR.PowerState */
	bool decode;	/* COMMAND.MEM and D0 */
	bool master;	/* COMMAND.BUS_MASTER and D0 */
	bool msix_live; /* MSI-X enabled, not masked or stopped, master: an unmasked vector goes out at once */
	enum pci_run run;
	bool intx_wanted; /* the device asks for service */
	bool intx_level;  /* and its pin says so: neither switched off nor replaced by MSI-X */

	unsigned int cap_tail; /* offset of the last capability's next pointer; 0 = none */
	unsigned int cap_free; /* next free byte for a capability */
	unsigned int pm_cap, exp_cap, msix_cap, acs_cap;
	unsigned int ext_tail; /* offset of the last extended capability; 0 = none */
	unsigned int ext_free; /* next free byte for one */
	unsigned int pasid_bits;
	bool pri;

	unsigned int msi_cap, msi_n; /* n: vectors */
	unsigned int msix_n;	     /* vectors */
	unsigned int msix_table_bar, msix_pba_bar;
	uint32_t msix_table_off, msix_pba_off;
	struct msix_entry *msix_table;
	uint64_t *msix_pba;

	struct pci_sriov *sriov; /* its virtual functions (pci/sriov.h); NULL: it has none */
	struct pci_func *physfn; /* whose virtual function it is; NULL: nobody's */
	unsigned int virtfn;	 /* which of them */

	struct list mem_users;
	bool mem_held; /* pci_mem_hold */
	bool mem_lazy; /* who changes decode asks pci_mem_moving afterwards, instead of waiting */

	struct pci_region region[PCI_REGIONS_MAX];
	unsigned int nregions;
	bool msix_apart; /* clients cannot map the pages of a BAR that the MSI-X table touches */

	uint8_t *rom;		    /* expansion ROM; NULL: there is none */
	uint64_t rom_len, rom_size; /* of its images; of its BAR */

	uint64_t accesses; /* of software to registers; not those to what is memory at the moment */

	struct pci_irq_sink *sink; /* NULL while nobody has opened the function */

	/* peer.c */
	struct pci_peer peer[PCI_BARS];
	struct pci_mem_user peers;    /* what other devices have of peer[], while decode is on */
	struct loop *loop;	      /* that carries out what other devices have written; set by whoever runs it */
	struct pci_posted *posted;    /* NULL: nothing can be posted yet */
	const struct p2p_policy *p2p; /* who may be reached (rule B2); NULL: functions of the same group */
};

struct pci_ids {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class; /* 24 bits: base, sub, programming interface */
	uint8_t revision;
};

/* ---- building (devices) ---- */
/* Zeroed function with a type 0 header, dma_dev and the rules for the header's fields. 0 or -ENOMEM. */
int pci_func_init(struct pci_func *f, const struct pci_func_ops *ops, const char *name, const struct pci_ids *ids,
		  struct events *evs);
void pci_func_fini(struct pci_func *f);
/*
 * Where the function sits; before anyone can open it. Gives the BARs added so far bus addresses of their own, as
 * firmware would; they survive resets, because the host restores them after each.
 */
void pci_func_place(struct pci_func *f, uint16_t domain, uint16_t bdf, unsigned int group);
/* A BAR of registers; 64-bit ones take index and index + 1. size is a power of two, at least 4096. 0 or -EINVAL. */
int pci_add_bar(struct pci_func *f, unsigned int index, uint64_t size, bool mem64, bool prefetch);
/*
 * The same of plain memory, which the core makes (bar[index].mem) and frees. The device's view is barmem_base(). A
 * reset leaves the content to ops->reset (barmem_clear); a new owner finds zeros, unless the device sets mem_kept. Also
 * -ENOMEM.
 */
int pci_add_mem_bar(struct pci_func *f, unsigned int index, uint64_t size, bool mem64, bool prefetch);
/*
 * An expansion ROM with a copy of data, before the function is placed. -EINVAL: more than PCI_ROM_MAX bytes, or they do
 * not begin with a ROM image. -ENOMEM.
 */
int pci_add_rom(struct pci_func *f, const void *data, uint64_t len);
int pci_add_pm(struct pci_func *f);
int pci_add_express(struct pci_func *f); /* endpoint, FLR capable */
/* After the BAR it lies in. -EINVAL (misaligned, overlap, outside the BAR, BAR is memory), -ENOSPC, -ENOMEM. */
int pci_add_msix(struct pci_func *f, unsigned int n, unsigned int bar, uint32_t table_off, uint32_t pba_off);
/* MSI with n vectors, a power of two up to PCI_MSI_MAX, maskable one by one. -EINVAL, -ENOSPC. */
int pci_add_msi(struct pci_func *f, unsigned int n);
void pci_add_intx(struct pci_func *f); /* an interrupt pin, INTA# */
/* len bytes of a capability, first two filled in by the core; returns its offset or -ENOSPC. */
int pci_add_cap(struct pci_func *f, uint8_t id, unsigned int len);
/* The same for an extended capability, whose header is filled in. */
int pci_add_ext_cap(struct pci_func *f, uint16_t id, uint8_t version, unsigned int len);
/*
 * Address translation services, page requests and PASIDs (bits of them): on, as a host's kernel switches them on when
 * it finds the function behind an IOMMU that knows them, and again after each reset. 0, -ENOSPC, -ENOMEM.
 */
int pci_add_ats(struct pci_func *f);
int pci_add_pri(struct pci_func *f, uint32_t outstanding);
int pci_add_pasid(struct pci_func *f, unsigned int bits);
/* Access Control Services, enabled as Linux does with an IOMMU: peers are not reached directly. 0 or -ENOSPC. */
int pci_add_acs(struct pci_func *f);
/*
 * Declares a register of 1, 2 or 4 bytes: its value now and after a reset, the bits that software may write, and those
 * that it clears by writing 1. Bits in neither mask are read-only.
 */
void pci_cfg_define(struct pci_func *f, unsigned int off, unsigned int size, uint32_t val, uint32_t wmask,
		    uint32_t w1c);

/* ---- for devices, running ---- */
static inline bool pci_mem_enabled(const struct pci_func *f) /* COMMAND.MEM and D0 */
{
	return f->decode;
}
static inline bool pci_bus_master(const struct pci_func *f) /* COMMAND.BUS_MASTER and D0 */
{
	return f->master;
}
/*
 * Raises vector v: delivered (EVENT_IRQ), pending in the PBA while masked or not bus master, or dropped (EVENT_IRQ with
 * error ENOTCONN) while MSI-X is off or nobody has the function open.
 */
void pci_msix_raise(struct pci_func *f, unsigned int v);
static inline bool pci_msix_enabled(const struct pci_func *f) /* bit 15 of Message Control */
{
	return f->msix_cap && f->cfg[f->msix_cap + 3] & 0x80;
}
/* The same for MSI; what is pending is in the capability. With fewer messages than vectors, several share one. */
void pci_msi_raise(struct pci_func *f, unsigned int v);
bool pci_msi_enabled(const struct pci_func *f);
/*
 * Whether the device wants service, for its pin: EVENT_IRQ when the line rises. A device keeps saying so while MSI-X
 * is on, or stops to. A reset takes it back.
 */
void pci_intx_set(struct pci_func *f, bool on);
static inline int pci_dma_read(struct pci_func *f, uint64_t iova, void *dst, size_t len, const struct dma_tag *tag)
{
	return dma_read(f->dma, IOVA(iova), dst, len, tag);
}
static inline int pci_dma_write(struct pci_func *f, uint64_t iova, const void *src, size_t len,
				const struct dma_tag *tag)
{
	return dma_write(f->dma, IOVA(iova), src, len, tag);
}

/* ---- for the side that drives (VFIO) ---- */
/*
 * Physical (bus-side) configuration access. [off, off + size) within 4096, size 1, 2, 4; naturally aligned. Anything
 * else reads as all ones and writes nothing. A write may reset the function (FLR, D3hot to D0).
 */
uint32_t pci_cfg_read(struct pci_func *f, unsigned int off, unsigned int size);
void pci_cfg_write(struct pci_func *f, unsigned int off, unsigned int size, uint32_t val);
/*
 * BAR access as the bus sees it: [off, off + size) inside the BAR. -EIO while COMMAND.MEM is clear or the function is
 * not in D0, -EINVAL for a range or size that is none. The MSI-X table and PBA are served here: aligned dwords and
 * qwords, as PCI Local Bus 3.0 section 6.8.2 demands; whatever else touches them reads as all ones (aligned narrower
 * reads work) and writes nothing. Emits EVENT_MMIO.
 */
int pci_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t *val);
int pci_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);
/* Away: the device loses its state at once. Back: as it comes from a reset; what cfg holds is as the host wants it. */
void pci_func_set_away(struct pci_func *f, bool away);
/* As FLR does: COMMAND 0, D0, MSI-X off, every register at its reset value (BARs: as placed), the device at power-on.
 */
void pci_func_reset(struct pci_func *f);
/*
 * As the host reads it, with the ROM's own enable bit set for the moment: [off, off + len) lies inside rom_size. Behind
 * the images are ones, which takes no access. -EIO while decode is off.
 */
int pci_rom_read(struct pci_func *f, uint64_t off, void *buf, uint64_t len);
uint64_t pci_rom_length(const uint8_t *rom, uint64_t len); /* of the images that it begins with; 0: none */
/* While decode is on. */
void pci_mem_user_add(struct pci_func *f, struct pci_mem_user *u);
void pci_mem_user_del(struct pci_mem_user *u);
/* Held, clients' mappings and peers stay away though decode is on. */
void pci_mem_hold(struct pci_func *f, bool hold);
/*
 * Large memory takes a while to be taken away, and to come back (pci/barmem.h). Whatever is done to the function while
 * this is true may have to wait for it.
 */
bool pci_mem_moving(struct pci_func *f);
/* The last owner leaves: what decode's end takes away need not be kept, unless it is the next one's too. */
void pci_mem_forget(struct pci_func *f);
/* Between two owners, decode off: what the last one holds of the BARs leads nowhere from now on (rule A5). */
void pci_mem_renew(struct pci_func *f);
/*
 * The capability's enable bit, as the host kernel sets it. On: the function mask is clear, all vectors start masked and
 * nothing pends, unless the function is stopped: then what pends goes on to pend. Off: what was pending is forgotten.
 */
void pci_msix_enable(struct pci_func *f, bool on);
void pci_msi_enable(struct pci_func *f, unsigned int n); /* likewise MSI with n vectors, unmasked; 0: off */
uint64_t pci_bar_address(const struct pci_func *f, unsigned int bar); /* as the BAR says; 0 if there is none */
void pci_msix_set_entry_masked(struct pci_func *f, unsigned int v, bool masked); /* unmask delivers what pends */
/* Tells the event stream that the program did what no driver does. text: of static lifetime, one clause. */
void pci_misuse(struct pci_func *f, enum event_misuse kind, unsigned int bar, uint64_t off, unsigned int size,
		bool write, const char *text);
/* MISUSE_PROTOCOL of something that a dword register starts; tag: of what. */
void pci_misuse_of(struct pci_func *f, unsigned int bar, uint64_t off, const struct dma_tag *tag, const char *text);
void pci_bdf_format(const struct pci_func *f, char buf[16]); /* "0000:01:00.0" */

#endif
