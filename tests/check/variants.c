/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * variants NAME: mistakes of the classes that a golden program shows one of, each on the line that has its name in a
 * comment: variants_test.py knows what is to be found there.
 */
#include "golden/golden.h"
#include "uapi/iommufd_abi.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/pci_regs.h>

enum { CC = 0x14, AQA = 0x24, DOORBELLS = 0x1000 };
enum { CHAN = 0x80, CHANCMD = CHAN + 0x04, DMACOUNT = CHAN + 0x06, CHANSTS = CHAN + 0x08, CHAINADDR = CHAN + 0x10 };
enum { CHANCMP = CHAN + 0x18, CHANCMD_RESET = 0x20, CHANCMD_SUSPEND = 0x04 };
#define CC_ON (4u << 20 | 6u << 16 | 1)

static volatile uint8_t *bar;

static volatile uint32_t *reg32(unsigned int off)
{
	return (volatile uint32_t *)(bar + off);
}

static void config_put(unsigned int off, uint32_t val, unsigned int size)
{
	pwrite(device, &val, size, region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset + off);
}

static unsigned int capability_find(unsigned int id)
{
	unsigned int at = config_read(PCI_CAPABILITY_LIST, 1);

	while (config_read(at, 1) != id)
		at = config_read(at + PCI_CAP_LIST_NEXT, 1);
	return at;
}

/* ---- configuration space ---- */

static void config_identity(void)
{
	config_put(PCI_VENDOR_ID, 0xdead, 2); /* config-identity */
}

static void memory_off(void)
{
	config_put(PCI_COMMAND, config_read(PCI_COMMAND, 2) & ~PCI_COMMAND_MEMORY, 2);
}

static void config_sizing(void)
{
	uint32_t before = config_read(PCI_BASE_ADDRESS_0, 4), high = config_read(PCI_BASE_ADDRESS_0 + 4, 4);

	memory_off();
	config_put(PCI_BASE_ADDRESS_0, ~0u, 4);
	config_put(PCI_BASE_ADDRESS_0 + 4, ~0u, 4);
	config_put(PCI_COMMAND, 7, 2); /* config-sizing */
	config_put(PCI_BASE_ADDRESS_0, before, 4);
	config_put(PCI_BASE_ADDRESS_0 + 4, high, 4);
}

static void config_overlap(void)
{
	memory_off();
	config_put(PCI_BASE_ADDRESS_0 + 8, config_read(PCI_BASE_ADDRESS_0, 4), 4);
	config_put(PCI_BASE_ADDRESS_0 + 12, config_read(PCI_BASE_ADDRESS_0 + 4, 4), 4);
	config_put(PCI_COMMAND, 7, 2); /* config-overlap */
}

static void config_power(void)
{
	config_put(capability_find(PCI_CAP_ID_PM) + PCI_PM_CTRL, 1, 2); /* config-power */
}

static void config_range(void)
{
	config_put(0x1000, 0, 4); /* config-range */
}

/* Not a mistake: what was read is written back, and a BAR is sized as it is done. */
static void config_right(void)
{
	uint32_t before = config_read(PCI_BASE_ADDRESS_0, 4);

	config_put(PCI_VENDOR_ID, config_read(PCI_VENDOR_ID, 4), 4);
	memory_off();
	config_put(PCI_BASE_ADDRESS_0, ~0u, 4);
	config_put(PCI_BASE_ADDRESS_0, before, 4);
	config_put(PCI_COMMAND, config_read(PCI_COMMAND, 2) | PCI_COMMAND_MEMORY, 2);
}

/* ---- registers ---- */

static void mmio_reserved(void)
{
	*reg32(0x200) = 1; /* mmio-reserved */
}

static void mmio_narrow_read(void)
{
	(void)*(volatile uint16_t *)(bar + CC); /* mmio-narrow-read */
}

static void mmio_across(void)
{
	(void)*(volatile uint32_t *)(bar + CC + 2); /* mmio-across */
}

static void mmio_table(void)
{
	uint32_t table = config_read(capability_find(PCI_CAP_ID_MSIX) + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_OFFSET,
		 one = 1;

	pwrite(device, &one, sizeof(one), region_info(0).offset + table); /* mmio-table */
}

/* ---- NVMe ---- */

static void nvme_move_queues(void)
{
	*reg32(AQA) = 0; /* nvme-move-queues */
}

static void nvme_page_size(void)
{
	*reg32(CC) = CC_ON | 1 << 7; /* nvme-page-size */
}

static void nvme_bad_enable(void)
{
	*reg32(CC) = 0;
	*reg32(CC) = CC_ON | 9 << 7; /* nvme-bad-enable */
}

static void nvme_off(void)
{
	*reg32(CC) = 0;
	*reg32(DOORBELLS) = 1; /* nvme-off */
}

static void nvme_tail_past(void)
{
	*nvme_doorbell_at() = 99; /* nvme-tail-past */
}

static void nvme_head_past(void)
{
	nvme_doorbell_at()[1] = 3; /* nvme-head-past */
}

static void nvme_same_cid(void)
{
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_put_again();
	*nvme_doorbell_at() = nvme_tail(); /* nvme-same-cid */
	nvme_collect();
	nvme_collect();
}

static void nvme_no_room(void)
{
	for (int i = 0; i < 15; i++)
		nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	while (!nvme_has_completion())
		;
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	*reg32(CC) = 0; /* nvme-no-room */
}

/* At least as long as what counts as forgotten. */
static void leave_alone(void)
{
	while (!nvme_has_completion())
		;
	nanosleep(&(struct timespec){1, 200000000}, NULL);
}

static void nvme_unheard(void)
{
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	leave_alone();
}

static void nvme_unheard_closed(void)
{
	nvme_unheard();
	exit(0);
}

/* It looks, and does not need to be told. */
static void nvme_looked(void)
{
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	while (!nvme_has_completion())
		;
	*reg32(DOORBELLS + 3 * 4) = 1;
	nanosleep(&(struct timespec){1, 200000000}, NULL);
	exit(0);
}

static void nvme_full_closed(void)
{
	for (int i = 0; i < 15; i++)
		nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	while (!nvme_has_completion())
		;
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	leave_alone();
	exit(0);
}

/* ---- the pin ---- */

static void irqs_set(unsigned int index, uint32_t flags, unsigned int count, int fd)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd;
	} s = {.h = {.argsz = sizeof(s), .flags = flags, .index = index, .count = count}, .fd = fd};

	ioctl(device, VFIO_DEVICE_SET_IRQS, &s); /* pin-storm */
}

static void pin_storm(void)
{
	irqs_set(VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, -1);
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	irqs_set(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 1,
		 eventfd(0, EFD_CLOEXEC));
	for (int i = 0; i < 5100; i++)
		irqs_set(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 1, -1);
}

/* ---- the copy engine ---- */

struct descriptor {
	uint32_t size, ctl;
	uint64_t src, dst, next, rest[4];
};

static struct descriptor *ioat_start(uint64_t chain)
{
	struct descriptor *d = pages_alloc(PAGE);

	expect_eq(dma_map(d, DATA_IOVA, PAGE, MAP_RW), 0);
	*d = (struct descriptor){.size = 64, .src = DATA_IOVA + 1024, .dst = DATA_IOVA + 2048, .next = DATA_IOVA};
	*(volatile uint64_t *)(bar + CHAINADDR) = chain;
	return d;
}

static void ioat_go(void)
{
	*(volatile uint16_t *)(bar + DMACOUNT) = 1; /* ioat-go */
	(void)*reg32(CHANSTS);
}

static void ioat_control(void)
{
	ioat_start(DATA_IOVA)->ctl = 0xff000000;
	ioat_go();
}

static void ioat_length(void)
{
	ioat_start(DATA_IOVA)->size = 0;
	ioat_go();
}

static void ioat_chain(void)
{
	ioat_start(DATA_IOVA + 8);
	ioat_go();
}

static void ioat_no_chain(void)
{
	ioat_go();
}

static void ioat_completion(void)
{
	ioat_start(DATA_IOVA)->ctl = 8;
	*(volatile uint64_t *)(bar + CHANCMP) = DATA_IOVA + 4;
	ioat_go();
}

static void ioat_command(void)
{
	bar[CHANCMD] = CHANCMD_RESET | CHANCMD_SUSPEND; /* ioat-command */
}

static void ioat_status(void)
{
	*reg32(CHANSTS) = 0; /* ioat-status */
}

static void ioat_channel(void)
{
	*(volatile uint16_t *)(bar + 20 * CHAN) = 1; /* ioat-channel */
}

static void ioat_old(void)
{
	expect_eq(dma_map(pages_alloc(PAGE), 2 * DATA_IOVA, PAGE, MAP_RW), 0);
	*(volatile uint64_t *)(bar + CHANCMP) = 2 * DATA_IOVA;
	bar[CHANCMD] = CHANCMD_RESET; /* ioat-old */
	expect_eq(dma_unmap(2 * DATA_IOVA, PAGE, 0, NULL), 0);
	ioat_start(DATA_IOVA)->ctl = 8;
	ioat_go();
}

/* ---- the network card (82576 datasheet, 7.1.5, 7.2.2.3, 8.10 and 8.12), whose cable leads back to it ---- */
enum { RDBAL = 0xc000, TDBAL = 0xe000, LEN = 8, SRRCTL = 0xc, TAIL = 0x18, DCTL = 0x28, DCTL_ENABLE = 1 << 25 };
enum { CTRL_SLU = 1 << 6, CTRL_RST = 1 << 26, RCTL = 0x100, RCTL_EN = 2, RCTL_UPE = 8, TCTL = 0x400, TCTL_EN = 2 };
enum { RING = 8, TX_DATA = 3 << 20 | 1 << 29, TX_EOP = 1 << 24, TX_IFCS = 1 << 25, TX_RS = 1 << 27, FRAME = 60 };
#define TX_RING	  DATA_IOVA
#define RX_RING	  (DATA_IOVA + 512)
#define BUFFERS	  (2 * DATA_IOVA)
#define NOT_ASKED (TX_DATA | TX_EOP | TX_IFCS)

struct frame_descriptor {
	uint64_t addr;
	uint32_t d[2];
};

static struct frame_descriptor *igb_tx, *igb_rx;

static void igb_set(unsigned int ring, uint64_t iova, unsigned int tail)
{
	*reg32(ring) = (uint32_t)iova;
	*reg32(ring + LEN) = RING * sizeof(struct frame_descriptor);
	*reg32(ring + DCTL) = DCTL_ENABLE;
	*reg32(ring + TAIL) = tail;
}

static void igb_put(unsigned int i, uint32_t cmd, uint32_t len)
{
	igb_tx[i] = (struct frame_descriptor){BUFFERS, {cmd | len, FRAME << 14}};
}

/* A ring of frames, and one of buffers for them: all but one are the card's. */
static void igb_start(uint32_t cmd)
{
	void *p = pages_alloc(PAGE);

	igb_tx = p;
	igb_rx = (struct frame_descriptor *)((char *)p + (RX_RING - TX_RING));
	expect_eq(dma_map(p, DATA_IOVA, PAGE, MAP_RW), 0);
	expect_eq(dma_map(pages_alloc(PAGE), BUFFERS, PAGE, MAP_RW), 0);
	for (unsigned int i = 0; i < RING; i++) {
		igb_put(i, cmd, FRAME);
		igb_rx[i].addr = BUFFERS + PAGE / 2;
	}
	config_put(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	*reg32(0) = CTRL_SLU;
	*reg32(RDBAL + SRRCTL) = 2 | 1 << 25;
	*reg32(RCTL) = RCTL_EN | RCTL_UPE;
	*reg32(TCTL) = TCTL_EN;
	igb_set(RDBAL, RX_RING, RING - 1);
	igb_set(TDBAL, TX_RING, 0);
}

static void igb_reuse(void)
{
	igb_start(NOT_ASKED);
	*reg32(TDBAL + TAIL) = 5;
	(void)*reg32(0);
	*reg32(TDBAL + TAIL) = 1; /* igb-reuse */
	(void)*reg32(0);
}

/* The frames that it wants to receive have not come. */
static void igb_reuse_rx(void)
{
	igb_start(NOT_ASKED);
	*reg32(RDBAL + TAIL) = 1; /* igb-reuse-rx */
	(void)*reg32(0);
}

static void igb_tail(void)
{
	igb_start(NOT_ASKED);
	*reg32(TDBAL + TAIL) = RING; /* igb-tail */
	(void)*reg32(0);
}

/* The first half of a frame is the card's, and it has seen it. */
static void igb_change(void)
{
	igb_start(NOT_ASKED | TX_RS);
	igb_put(0, TX_DATA, FRAME / 2);
	*reg32(TDBAL + TAIL) = 1;
	(void)*reg32(0);
	igb_put(0, TX_DATA, FRAME / 4);
	igb_put(1, NOT_ASKED | TX_RS, FRAME / 2);
	*reg32(TDBAL + TAIL) = 2; /* igb-change */
	(void)*reg32(0);
}

/* Buffers are the card's until a frame is in them; it has read of more than one. */
static void igb_change_rx(void)
{
	igb_start(NOT_ASKED | TX_RS);
	*reg32(TDBAL + TAIL) = 1;
	(void)*reg32(0);
	igb_rx[1].addr = BUFFERS;
	*reg32(TDBAL + TAIL) = 2; /* igb-change-rx */
	(void)*reg32(0);
}

static void igb_unmap(void)
{
	expect_eq(dma_unmap(BUFFERS, PAGE, 0, NULL), 0); /* igb-unmap */
}

static void igb_unmapped(void)
{
	igb_start(NOT_ASKED);
	igb_unmap();
	*reg32(TDBAL + TAIL) = 1;
	(void)*reg32(0);
}

static void igb_unmapped_rx(void)
{
	igb_start(NOT_ASKED);
	igb_put(0, NOT_ASKED, FRAME);
	igb_tx[0].addr = DATA_IOVA + 1024;
	igb_unmap();
	*reg32(TDBAL + TAIL) = 1;
	(void)*reg32(0);
}

/* The ring is elsewhere, and nobody says so. */
static void igb_old(void)
{
	igb_start(NOT_ASKED);
	*reg32(0) = CTRL_RST; /* igb-old */
	expect_eq(dma_unmap(DATA_IOVA, PAGE, 0, NULL), 0);
	*reg32(0) = CTRL_SLU;
	*reg32(TCTL) = TCTL_EN;
	*reg32(TDBAL + LEN) = RING * sizeof(struct frame_descriptor);
	*reg32(TDBAL + DCTL) = DCTL_ENABLE;
	*reg32(TDBAL + TAIL) = 1;
	(void)*reg32(0);
}

/* Not a mistake: it is set up again, where it is now. */
static void igb_right(void)
{
	igb_start(NOT_ASKED | TX_RS);
	*reg32(TDBAL + TAIL) = 3;
	(void)*reg32(0);
	*reg32(0) = CTRL_RST;
	expect_eq(dma_unmap(DATA_IOVA, PAGE, 0, NULL), 0);
	expect_eq(dma_unmap(BUFFERS, PAGE, 0, NULL), 0);
	igb_start(NOT_ASKED | TX_RS);
	for (unsigned int i = 0; i < 3 * RING; i++) {
		unsigned int at = i % RING;

		igb_put(at, NOT_ASKED | TX_RS, FRAME);
		*reg32(TDBAL + TAIL) = (at + 1) % RING;
		while (!(((volatile struct frame_descriptor *)igb_tx)[at].d[1] & 1))
			;
		while (!(((volatile struct frame_descriptor *)igb_rx)[at].d[0] & 1)) /* its own time */
			;
		igb_rx[(at + RING - 1) % RING] = (struct frame_descriptor){.addr = BUFFERS + PAGE / 2};
		*reg32(RDBAL + TAIL) = at;
	}
}

/* ---- what memory is called ---- */

/* Mapped twice: what is said of it lasts, whatever became of the memory behind it meanwhile. */
static void where_is(void *at)
{
	expect_eq(dma_map(at, 2 * DATA_IOVA, PAGE, MAP_RW), 0);
	expect_eq(dma_map(at, 3 * DATA_IOVA, PAGE, MAP_RW), 0);
	expect_eq(dma_unmap(2 * DATA_IOVA, PAGE, 0, NULL), 0);
	dma_unmap(2 * DATA_IOVA, PAGE, 0, NULL); /* where */
}

static void *shared(int fd)
{
	expect(fd >= 0);
	expect_eq(ftruncate(fd, PAGE), 0);
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void where_heap(void)
{
	void *at = sbrk(2 * PAGE);

	where_is((void *)(((uintptr_t)at + PAGE - 1) & -PAGE));
}

static void where_stack(void)
{
	_Alignas(PAGE) char page[PAGE] = "";

	where_is(page);
}

static void where_anonymous(void)
{
	where_is(pages_alloc(PAGE));
}

static void where_shared(void)
{
	where_is(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

static void where_memfd(void)
{
	where_is(shared(memfd_create("ring", MFD_CLOEXEC)));
}

static void where_file(void)
{
	char name[] = "/dev/shm/pinfold-where-XXXXXX";
	int fd = mkstemp(name);

	where_is(shared(fd));
	unlink(name);
}

/* A terminal's own words are none of ours. */
static void where_odd(void)
{
	where_is(shared(memfd_create("\033[2Jring", MFD_CLOEXEC)));
}

/* ---- another address space under a device at work ---- */

static void space_move(bool same)
{
	uint32_t to = ioas_alloc(container);

	for (unsigned int i = 0; i < 5; i++) {
		struct iommu_ioas_copy copy = {.size = sizeof(copy),
					       .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
							IOMMU_IOAS_MAP_READABLE,
					       .dst_ioas_id = to,
					       .src_ioas_id = dma_ioas,
					       .length = PAGE,
					       .dst_iova = NVME_IOVA + i * PAGE,
					       .src_iova = NVME_IOVA + i * PAGE};
		struct iommu_ioas_map map = {
		    .size = sizeof(map), .flags = copy.flags, .ioas_id = to, .length = PAGE, .iova = copy.dst_iova};

		if (!same)
			map.user_va = (uintptr_t)pages_alloc(PAGE);
		expect_eq(same ? ioctl(container, IOMMU_IOAS_COPY, &copy) : ioctl(container, IOMMU_IOAS_MAP, &map), 0);
	}
	expect_eq(cdev_attach(device, &to), 0); /* space-other */
}

static void space_other(void)
{
	space_move(false);
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	(void)*reg32(CC);
}

static void space_same(void)
{
	space_move(true);
	for (unsigned int i = 0; i < 40; i++)
		expect_eq(nvme_identify(1, 0, NVME_IOVA + 4 * PAGE), 0);
}

/* What it knew from before is forgotten. */
static void space_reset(void)
{
	space_move(false);
	*reg32(CC) = 0;
	while (*reg32(0x1c) & 1)
		;
}

static const struct variant {
	const char *name;
	void (*run)(void);
	enum { NVME, NVME_MSIX, NVME_IOMMUFD, IOAT, IGB } kind;
} table[] = {
    {"where-heap", where_heap, NVME},
    {"where-stack", where_stack, NVME},
    {"where-anonymous", where_anonymous, NVME},
    {"where-shared", where_shared, NVME},
    {"where-memfd", where_memfd, NVME},
    {"where-file", where_file, NVME},
    {"where-odd", where_odd, NVME},
    {"space-other", space_other, NVME_IOMMUFD},
    {"space-same", space_same, NVME_IOMMUFD},
    {"space-reset", space_reset, NVME_IOMMUFD},
    {"config-identity", config_identity, NVME},
    {"config-sizing", config_sizing, NVME},
    {"config-overlap", config_overlap, NVME},
    {"config-power", config_power, NVME},
    {"config-range", config_range, NVME},
    {"config-right", config_right, NVME},
    {"mmio-reserved", mmio_reserved, NVME},
    {"mmio-narrow-read", mmio_narrow_read, NVME},
    {"mmio-across", mmio_across, NVME},
    {"mmio-table", mmio_table, NVME},
    {"nvme-move-queues", nvme_move_queues, NVME},
    {"nvme-page-size", nvme_page_size, NVME},
    {"nvme-bad-enable", nvme_bad_enable, NVME},
    {"nvme-off", nvme_off, NVME},
    {"nvme-tail-past", nvme_tail_past, NVME},
    {"nvme-head-past", nvme_head_past, NVME},
    {"nvme-same-cid", nvme_same_cid, NVME},
    {"nvme-no-room", nvme_no_room, NVME},
    {"nvme-unheard", nvme_unheard, NVME_MSIX},
    {"nvme-unheard-closed", nvme_unheard_closed, NVME_MSIX},
    {"nvme-looked", nvme_looked, NVME_MSIX},
    {"nvme-full-closed", nvme_full_closed, NVME},
    {"pin-storm", pin_storm, NVME_MSIX},
    {"ioat-control", ioat_control, IOAT},
    {"ioat-length", ioat_length, IOAT},
    {"ioat-chain", ioat_chain, IOAT},
    {"ioat-no-chain", ioat_no_chain, IOAT},
    {"ioat-completion", ioat_completion, IOAT},
    {"ioat-command", ioat_command, IOAT},
    {"ioat-status", ioat_status, IOAT},
    {"ioat-channel", ioat_channel, IOAT},
    {"ioat-old", ioat_old, IOAT},
    {"igb-reuse", igb_reuse, IGB},
    {"igb-reuse-rx", igb_reuse_rx, IGB},
    {"igb-tail", igb_tail, IGB},
    {"igb-change", igb_change, IGB},
    {"igb-change-rx", igb_change_rx, IGB},
    {"igb-unmapped", igb_unmapped, IGB},
    {"igb-unmapped-rx", igb_unmapped_rx, IGB},
    {"igb-old", igb_old, IGB},
    {"igb-right", igb_right, IGB},
};

static void variant_run(const struct variant *v)
{
	if (v->kind == IOAT || v->kind == IGB) {
		device_open(VFIO_TYPE1v2_IOMMU);
		bar =
		    mmap(NULL, region_info(0).size, PROT_READ | PROT_WRITE, MAP_SHARED, device, region_info(0).offset);
		expect(bar != MAP_FAILED);
		v->run();
		device_close();
		return;
	}
	if (v->kind == NVME_MSIX)
		driver_start_msix();
	else if (v->kind == NVME_IOMMUFD)
		driver_start_iommufd();
	else
		driver_start();
	bar = nvme_bar();
	v->run();
	driver_stop();
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		if (argc > 1 && !strcmp(argv[1], table[i].name)) {
			variant_run(&table[i]);
			return 0;
		}
	}
	return 2;
}
