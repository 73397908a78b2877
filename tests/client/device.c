/* SPDX-License-Identifier: BSD-3-Clause */
/* The device descriptor: configuration space, BARs, interrupts, reset. Linux 6.12: drivers/vfio/pci. */
#include "client.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>

/* Not (void *)1 in the call, which the compiler would warn of. */
static void *volatile bad_pointer = (void *)1;

static void info(void)
{
	struct vfio_device_info d = {.argsz = sizeof(d)}, small = {.argsz = 8};
	struct vfio_region_info r = {.argsz = sizeof(r), .index = 99};
	struct vfio_irq_info i = {.argsz = sizeof(i), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	struct stat st;

	device_open(VFIO_TYPE1v2_IOMMU);
	expect(!fstat(device, &st));
	expect_eq(ioctl(device, VFIO_DEVICE_GET_INFO, &d), 0);
	expect(d.flags & VFIO_DEVICE_FLAGS_PCI && d.flags & VFIO_DEVICE_FLAGS_RESET);
	expect(d.num_regions >= VFIO_PCI_NUM_REGIONS);
	expect_eq(d.num_irqs, VFIO_PCI_NUM_IRQS);
	expect_errno(ioctl(device, VFIO_DEVICE_GET_INFO, &small), EINVAL);
	expect_errno(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &r), EINVAL);
	r = region_info(VFIO_PCI_BAR0_REGION_INDEX);
	expect(r.size >= 8192 && !(r.size & (r.size - 1)));
	expect(r.flags & VFIO_REGION_INFO_FLAG_READ && r.flags & VFIO_REGION_INFO_FLAG_WRITE);
	r = region_info(VFIO_PCI_CONFIG_REGION_INDEX);
	expect(r.size == 256 || r.size == 4096);
	expect_eq(ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &i), 0);
	expect(i.count >= 2 && i.flags & VFIO_IRQ_INFO_EVENTFD);
	i.index = 99;
	expect_errno(ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &i), EINVAL);
}

/* The device as /sys and as VFIO tell it. */
static void sysfs_agrees(void)
{
	static const struct {
		const char *name;
		unsigned int off, size;
	} t[] = {{"vendor", PCI_VENDOR_ID, 2},
		 {"device", PCI_DEVICE_ID, 2},
		 {"subsystem_vendor", PCI_SUBSYSTEM_VENDOR_ID, 2},
		 {"revision", PCI_REVISION_ID, 1}};
	char path[256], text[64];
	unsigned long long first, last;
	ssize_t n;
	int fd;

	device_open(VFIO_TYPE1v2_IOMMU);
	for (size_t i = 0; i < COUNT(t); i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, t[i].name);
		fd = open(path, O_RDONLY);
		expect(fd >= 0);
		n = read(fd, text, sizeof(text) - 1);
		expect(n > 0);
		text[n] = 0;
		expect_eq(strtoul(text, NULL, 16), config_read(t[i].off, t[i].size));
		close(fd);
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", bdf);
	fd = open(path, O_RDONLY);
	expect(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	expect(n > 0);
	text[n] = 0;
	expect_eq(sscanf(text, "%llx %llx", &first, &last), 2);
	expect_eq(last - first + 1, region_info(VFIO_PCI_BAR0_REGION_INDEX).size);
}

static void config_widths(void)
{
	struct vfio_region_info r;
	uint8_t all[256], b;
	uint32_t v;

	device_open(VFIO_TYPE1v2_IOMMU);
	r = region_info(VFIO_PCI_CONFIG_REGION_INDEX);
	expect_eq(pread(device, all, sizeof(all), r.offset), sizeof(all));
	for (unsigned int off = 0; off < 64; off++) {
		expect_eq(pread(device, &b, 1, r.offset + off), 1);
		expect_eq(b, all[off]);
		if (!(off & 1))
			expect_eq(config_read(off, 2), all[off] | all[off + 1] << 8);
	}
	v = 0;
	expect_eq(pread(device, &v, 3, r.offset + 1), 3); /* across: split by the other side */
	expect_eq(v, all[1] | all[2] << 8 | all[3] << 16);
	expect_errno(pread(device, &v, 4, r.offset + r.size), EFAULT);
	expect_errno(pread(device, &v, 4, r.offset + r.size - 2), EFAULT);
	expect_errno(pread(device, bad_pointer, 4, r.offset), EFAULT);
	expect_eq(pread(device, &v, 0, r.offset), 0);
	/* Read-only stays; the BAR tells its size. */
	v = config_read(PCI_VENDOR_ID, 4);
	config_write(PCI_VENDOR_ID, 4, ~v);
	expect_eq(config_read(PCI_VENDOR_ID, 4), v);
	v = config_read(PCI_BASE_ADDRESS_0, 4);
	config_write(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	expect_eq(-(config_read(PCI_BASE_ADDRESS_0, 4) & ~0xfu), (uint32_t)region_info(0).size);
	config_write(PCI_BASE_ADDRESS_0, 4, v);
	expect_eq(config_read(PCI_BASE_ADDRESS_0, 4), v);
	config_write(PCI_INTERRUPT_LINE, 1, 0x5a);
	expect_eq(config_read(PCI_INTERRUPT_LINE, 1), 0x5a);
}

static void bar_access(void)
{
	struct vfio_region_info r;
	volatile uint8_t *bar;
	uint64_t cap, v;
	uint32_t w;

	device_open(VFIO_TYPE1v2_IOMMU);
	r = region_info(VFIO_PCI_BAR0_REGION_INDEX);
	expect_eq(pread(device, &v, 4, r.offset + 8), 4); /* VS */
	expect_eq(pread(device, &cap, 8, r.offset), 8);
	expect_errno(pread(device, &v, 4, r.offset + r.size), EINVAL);
	expect_errno(pread(device, bad_pointer, 4, r.offset), EFAULT);
	if (!(r.flags & VFIO_REGION_INFO_FLAG_MMAP))
		skip_case("BAR0 cannot be mapped");
	expect(mmap(NULL, r.size, PROT_READ, MAP_PRIVATE, device, r.offset) == MAP_FAILED && errno == EINVAL);
	expect(mmap(NULL, 2 * r.size, PROT_READ, MAP_SHARED, device, r.offset) == MAP_FAILED && errno == EINVAL);
	bar = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
	expect_eq(*(volatile uint32_t *)(bar + 8), (uint32_t)v);
	expect_eq(*(volatile uint32_t *)bar, (uint32_t)cap);
	expect_eq(*(volatile uint32_t *)(bar + 4), cap >> 32);
	/* A second mapping and both ways of access show one device. */
	*(volatile uint32_t *)(bar + 0x24) = 0x000f000f; /* AQA */
	expect_eq(pread(device, &w, 4, r.offset + 0x24), 4);
	expect_eq(w, 0x000f000f);
	w = 0x00070007;
	expect_eq(pwrite(device, &w, 4, r.offset + 0x24), 4);
	expect_eq(*(volatile uint32_t *)(bar + 0x24), w);
	*(volatile uint32_t *)(bar + 0x24) = 0;
	close(device); /* the mapping keeps the device */
	expect_eq(*(volatile uint32_t *)bar, (uint32_t)cap);
	munmap((void *)bar, r.size);
}

static sigjmp_buf jump;
static volatile sig_atomic_t jump_signal;
static siginfo_t jump_info;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	jump_signal = sig;
	jump_info = *si;
	siglongjmp(jump, 1);
}

static void expect_bus_error(volatile uint32_t *reg, bool write)
{
	jump_signal = 0;
	if (!sigsetjmp(jump, 1)) {
		if (write)
			*reg = 1;
		else
			fail("a read of the disabled BAR gave %#x", *reg);
		fail("a write to the disabled BAR went somewhere");
	}
	expect_eq(jump_signal, SIGBUS);
	expect_eq(jump_info.si_code, BUS_ADRERR);
	expect(jump_info.si_addr == (void *)reg);
}

/* Nobody handles it: the process dies of it. */
static void expect_bus_death(volatile uint32_t *reg)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		*reg = 1;
		_exit(0);
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* COMMAND.MEM off: EIO and SIGBUS; on again, the same mapping works again (rule A4). */
static void memory_disabled(void)
{
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	struct vfio_region_info r;
	volatile uint32_t *bar, *doorbell;
	uint16_t cmd;
	uint32_t v;

	device_open(VFIO_TYPE1v2_IOMMU);
	r = region_info(VFIO_PCI_BAR0_REGION_INDEX);
	if (!(r.flags & VFIO_REGION_INFO_FLAG_MMAP))
		skip_case("BAR0 cannot be mapped");
	bar = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
	v = bar[2];
	doorbell = bar + 0x1000 / 4;
	cmd = config_read(PCI_COMMAND, 2);
	config_write(PCI_COMMAND, 2, cmd & ~PCI_COMMAND_MEMORY);
	expect_eq(config_read(PCI_COMMAND, 2), cmd & ~PCI_COMMAND_MEMORY);
	expect_errno(pread(device, &v, 4, r.offset), EIO);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	expect_bus_error(&bar[2], false);
	expect_bus_error(&bar[5], true);
	expect_bus_error(doorbell, false);
	expect_bus_error(doorbell, true);
	expect_bus_death(&bar[5]);
	config_write(PCI_COMMAND, 2, cmd);
	expect_eq(bar[2], v);
}

static int irq_set(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, const int32_t *fds)
{
	char buf[sizeof(struct vfio_irq_set) + 64];
	struct vfio_irq_set *s = (void *)buf;

	*s = (struct vfio_irq_set){.argsz = sizeof(*s) + (fds ? 4 * count : 0),
				   .flags = flags,
				   .index = index,
				   .start = start,
				   .count = count};
	if (fds)
		memcpy(s->data, fds, 4 * count);
	return ioctl(device, VFIO_DEVICE_SET_IRQS, s) ? errno : 0;
}

static void irq_calls(void)
{
	const uint32_t efd = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	const uint32_t none = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
	struct vfio_irq_info i = {.argsz = sizeof(i), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	int32_t fd[2], bad[1] = {999}, file[1];
	uint64_t n;

	device_open(VFIO_TYPE1v2_IOMMU);
	fd[0] = eventfd(0, EFD_NONBLOCK);
	fd[1] = eventfd(0, EFD_NONBLOCK);
	file[0] = open("/dev/null", O_RDWR);
	expect_eq(ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &i), 0);
	expect_eq(irq_set(efd, 99, 0, 1, fd), EINVAL);
	expect_eq(irq_set(efd, VFIO_PCI_MSIX_IRQ_INDEX, i.count, 1, fd), EINVAL);
	expect_eq(irq_set(efd, VFIO_PCI_MSIX_IRQ_INDEX, 0, i.count + 1, NULL), EINVAL);
	expect_eq(irq_set(efd | VFIO_IRQ_SET_DATA_BOOL, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, fd), EINVAL);
	expect_eq(irq_set(efd, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, bad), EBADF);
	expect_eq(irq_set(efd, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, file), EINVAL);
	expect_eq(irq_set(efd, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, fd), 0);
	/* DATA_NONE raises it as the device would. */
	expect_eq(irq_set(none, VFIO_PCI_MSIX_IRQ_INDEX, 1, 1, NULL), 0);
	expect_eq(read(fd[1], &n, 8), 8);
	expect_eq(n, 1);
	expect_errno(read(fd[0], &n, 8), EAGAIN);
	expect_eq(irq_set(none, VFIO_PCI_MSIX_IRQ_INDEX, 0, 0, NULL), 0);      /* off */
	expect_eq(irq_set(none, VFIO_PCI_MSIX_IRQ_INDEX, 0, 0, NULL), EINVAL); /* it is off */
}

static void reset(void)
{
	uint32_t vendor;

	device_open(VFIO_TYPE1v2_IOMMU);
	vendor = config_read(PCI_VENDOR_ID, 4);
	nvme_start(false);
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
	config_write(PCI_COMMAND, 2, config_read(PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	expect_eq(config_read(PCI_VENDOR_ID, 4), vendor);
	expect_eq(((volatile uint32_t *)nvme_bar())[0x1c / 4] & 1, 0); /* CSTS.RDY */
	expect_eq(((volatile uint32_t *)nvme_bar())[0x14 / 4] & 1, 0); /* CC.EN */
}

const struct client_case device_cases[] = {
    {"device-info", "what the device, its regions and interrupts are", info},
    {"sysfs", "/sys and the device agree", sysfs_agrees},
    {"config", "configuration space in all widths", config_widths},
    {"bar", "BAR0 by pread, pwrite and mmap", bar_access},
    {"memory-disabled", "no access while COMMAND.MEM is clear", memory_disabled},
    {"irqs", "SET_IRQS right and wrong", irq_calls},
    {"reset", "DEVICE_RESET stops a running controller", reset},
    {NULL},
};
