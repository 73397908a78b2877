/* SPDX-License-Identifier: BSD-3-Clause */
/* The kinds of findings. Their names are stable: suppressions, reports and other people's scripts use them. */
#ifndef PINFOLD_CHECK_CLASS_H
#define PINFOLD_CHECK_CLASS_H

#include <stdbool.h>
#include <stdint.h>

/* CLASS(name, whether it is checked without being asked for, what it means). */
#define CLASS_TABLE(CLASS)                                                                                             \
	CLASS(DMA_UNMAPPED, "dma-unmapped", true, "a device reached for an address that was never mapped")             \
	CLASS(DMA_USE_AFTER_UNMAP, "dma-use-after-unmap", true, "a device reached for a mapping that is gone")         \
	CLASS(DMA_OUT_OF_BOUNDS, "dma-out-of-bounds", true, "a device went past the end of a mapping, or before it")   \
	CLASS(DMA_PERMISSION, "dma-permission", true,                                                                  \
	      "a device wrote to a mapping for reading, or read one for writing")                                      \
	CLASS(DMA_BUS_MASTER_OFF, "dma-bus-master-off", true, "a device had work while it may not master the bus")     \
	CLASS(DMA_AFTER_RESET, "dma-after-reset", true,                                                                \
	      "a device reached for an address that it was given before a reset")                                      \
	CLASS(DMA_AFTER_OWNER_CHANGE, "dma-after-owner-change", true,                                                  \
	      "a device reached for a mapping of the address space that it was attached to before")                    \
	CLASS(DMA_TO_FREED_MEMORY, "dma-to-freed-memory", true, "a device touched memory that the program has freed")  \
	CLASS(DMA_STALE_PAGE, "dma-stale-page", true,                                                                  \
	      "a device touched a page that the program does not see at its address any more")                         \
	CLASS(FORK_HAZARD, "fork-hazard", true,                                                                        \
	      "a child of fork used a device with memory that stayed with its parent, or took it away")                \
	CLASS(MAP_OVERLAP_IGNORED, "map-overlap-ignored", true, "DMA went where a mapping had been refused")           \
	CLASS(UNMAP_MISMATCH, "unmap-mismatch", true, "an unmap did not match what is mapped")                         \
	CLASS(MAP_LEAK, "map-leak", false, "a mapping was left, of a place whose others are unmapped")                 \
	CLASS(PIN_NEAR_LIMIT, "pin-near-limit", true, "a program pinned nearly all that it may, or was refused more")  \
	CLASS(MMIO_DISABLED, "mmio-disabled", true, "a BAR was touched that does not decode")                          \
	CLASS(MMIO_WIDTH, "mmio-width", true, "a register was accessed in a size or alignment that it does not have")  \
	CLASS(MMIO_OUT_OF_RANGE, "mmio-out-of-range", true,                                                            \
	      "a register was written that there is not, or an access went past a region's end")                       \
	CLASS(MMIO_READ_ONLY_WRITE, "mmio-read-only-write", true, "a register was written that cannot be")             \
	CLASS(CONFIG_INVALID, "config-invalid", true, "a write to configuration space that no driver makes")           \
	CLASS(IRQ_LOST, "irq-lost", true, "an interrupt was raised that nobody had asked for, or that nobody heard")   \
	CLASS(IRQ_STORM, "irq-storm", true, "a device interrupts over and over, and nobody takes notice")              \
	CLASS(DEVICE_PROTOCOL, "device-protocol", true, "a device was told what its specification forbids")            \
	CLASS(UNSAFE_MAP, "unsafe-map", true,                                                                          \
	      "a device went to a BAR that is mapped by its address, which no policy is asked about")

enum check_class {
#define CLASS(id, name, on, text) CLASS_##id,
	CLASS_TABLE(CLASS)
#undef CLASS
	    CLASS_COUNT
};
_Static_assert(CLASS_COUNT <= 64, "sets of classes are words");

const char *class_name(enum check_class c);
const char *class_text(enum check_class c); /* what it means, without a full stop */
/* CLASS_COUNT: there is none of that name. */
enum check_class class_find(const char *name);
extern const char *const class_manual[CLASS_COUNT]; /* each class's page in the manual, as text; from doc/check */
/*
 * Changes *set as a list of names says: "dma-unmapped,irq-lost"; "all", "default", "none"; a name after a minus sign is
 * taken out. 0, or -EINVAL with one line in err, which has the nearest known name.
 */
int class_set_parse(const char *list, uint64_t *set, char *err, unsigned int errlen);
uint64_t class_set_default(void);
/* Whether a set has a class for what devices reach for in vain: then a finding says it, and nobody else need. */
bool class_set_has_dma(uint64_t set);

#endif
