/* SPDX-License-Identifier: BSD-3-Clause */
/* A function's attributes, in the words of Linux 6.12 (drivers/pci/pci-sysfs.c,
 * Documentation/ABI/testing/sysfs-bus-pci) for a device that nobody has open. */
#include "broker/shadow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "base/util.h"
#include "pci/pci.h"
#include "pci/sriov.h"

/* enum resource flags of include/linux/ioport.h, as the file `resource` shows them */
#define RES_MEM	      0x00000200
#define RES_PREFETCH  0x00002000
#define RES_READONLY  0x00004000
#define RES_SIZEALIGN 0x00040000
#define RES_MEM_64    0x00100000
#define RES_LINES     13 /* BARs, ROM, SR-IOV BARs */

struct ids {
	unsigned int vendor, device, subvendor, subdevice, class, revision;
};

static bool is_bridge(struct pci_func *f)
{
	return (f->cfg[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) == PCI_HEADER_TYPE_BRIDGE;
}

/* Where its subsystem is written: a bridge has a capability for it. */
static unsigned int subsystem_at(struct pci_func *f)
{
	unsigned int pos = f->cfg[PCI_CAPABILITY_LIST];

	if (!is_bridge(f))
		return PCI_SUBSYSTEM_VENDOR_ID;
	for (unsigned int i = 0; pos && i < 48; i++, pos = f->cfg[pos + PCI_CAP_LIST_NEXT])
		if (f->cfg[pos] == PCI_CAP_ID_SSVID)
			return pos + PCI_SSVID_VENDOR_ID;
	return PCI_CFG_SIZE; /* nowhere: reads as all ones */
}

static struct ids ids_read(struct pci_func *f)
{
	unsigned int sub = subsystem_at(f);

	return (struct ids){
	    .vendor = pci_func_vendor(f),
	    .device = pci_func_device(f),
	    .subvendor = pci_cfg_read(f, sub, 2),
	    .subdevice = pci_cfg_read(f, sub + 2, 2),
	    .class = pci_cfg_read(f, PCI_CLASS_REVISION, 4) >> 8,
	    .revision = pci_cfg_read(f, PCI_REVISION_ID, 1),
	};
}

static void modalias_format(const struct ids *id, char *buf, size_t len)
{
	snprintf(buf, len, "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", id->vendor, id->device, id->subvendor,
		 id->subdevice, id->class >> 16 & 0xff, id->class >> 8 & 0xff, id->class & 0xff);
}

/* ---- contents that change ---- */

static void power_state_format(struct pci_func *f, char *buf, size_t len)
{
	static const char *const name[] = {"D0", "D1", "D2", "D3hot"};
	unsigned int d = 0;

	if (f->pm_cap)
		d = f->cfg[f->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK; /* as the host set it */
	snprintf(buf, len, "%s\n", name[d]);
}

static const char *link_speed(unsigned int reg)
{
	static const char *const speed[] = {
	    [1] = "2.5 GT/s PCIe",  [2] = "5.0 GT/s PCIe",  [3] = "8.0 GT/s PCIe",
	    [4] = "16.0 GT/s PCIe", [5] = "32.0 GT/s PCIe", [6] = "64.0 GT/s PCIe",
	};
	unsigned int i = reg & PCI_EXP_LNKCAP_SLS;

	return i < ARRAY_SIZE(speed) && speed[i] ? speed[i] : "Unknown";
}

static unsigned int link_width(unsigned int reg)
{
	return (reg & PCI_EXP_LNKCAP_MLW) >> 4;
}

static void link_format(struct pci_func *f, unsigned int reg, bool speed, char *buf, size_t len)
{
	unsigned int v = pci_cfg_read(f, f->exp_cap + reg, 2);

	if (speed)
		snprintf(buf, len, "%s\n", link_speed(v));
	else
		snprintf(buf, len, "%u\n", link_width(v));
}

/* Text of a changing attribute. False if name is not one. */
static bool dynamic_format(struct pci_func *f, const char *name, char *buf, size_t len)
{
	if (!strcmp(name, "power_state"))
		power_state_format(f, buf, len);
	else if (f->sriov && !strcmp(name, "sriov_numvfs"))
		snprintf(buf, len, "%u\n", f->sriov->n);
	else if (f->sriov && !strcmp(name, "sriov_drivers_autoprobe"))
		snprintf(buf, len, "%u\n", !f->sriov->no_autoprobe);
	else if (!strcmp(name, "enable")) /* what the kernel counts is, here, whether the function decodes */
		snprintf(buf, len, "%u\n", pci_mem_enabled(f));
	else if (f->exp_cap && !strcmp(name, "current_link_speed"))
		link_format(f, PCI_EXP_LNKSTA, true, buf, len);
	else if (f->exp_cap && !strcmp(name, "current_link_width"))
		link_format(f, PCI_EXP_LNKSTA, false, buf, len);
	else
		return false;
	return true;
}

static void config_read(struct pci_func *f, uint8_t cfg[PCI_CFG_SIZE])
{
	for (unsigned int off = 0; off < PCI_CFG_SIZE; off += 4) {
		uint32_t v = pci_cfg_read(f, off, 4);

		for (unsigned int i = 0; i < 4; i++)
			cfg[off + i] = v >> 8 * i;
	}
}

int attr_refresh(struct shadow *s, const struct shadow_func *sf, const char *name)
{
	uint8_t cfg[PCI_CFG_SIZE];
	char path[SHADOW_PATH_MAX], text[64];

	snprintf(path, sizeof(path), "%s/%s", sf->dir, name);
	if (!strcmp(name, "config")) {
		config_read(sf->f, cfg);
		return tree_update(s->root_fd, path, cfg, sizeof(cfg));
	}
	if (!dynamic_format(sf->f, name, text, sizeof(text)))
		return 0;
	return tree_update(s->root_fd, path, text, strlen(text));
}

/* ---- building ---- */

/* Adds files to one directory and remembers the first failure, so that its callers need not look each time. */
struct adder {
	int root_fd;
	const char *dir;
	int error;
};

static void add(struct adder *a, const char *name, mode_t mode, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void add(struct adder *a, const char *name, mode_t mode, const char *fmt, ...)
{
	char path[SHADOW_PATH_MAX], text[1024];
	va_list ap;
	int n;

	if (a->error)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s", a->dir, name);
	a->error = tree_file(a->root_fd, path, mode, text, n);
}

static void add_dir(struct adder *a, const char *name)
{
	char path[SHADOW_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", a->dir, name);
	if (!a->error)
		a->error = tree_dir(a->root_fd, path);
}

static void add_link(struct adder *a, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void add_link(struct adder *a, const char *name, const char *fmt, ...)
{
	char path[SHADOW_PATH_MAX], target[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(target, sizeof(target), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s", a->dir, name);
	if (!a->error)
		a->error = tree_link(a->root_fd, path, target);
}

static void uevent_format(struct pci_func *f, const char *driver, const char *bdf, char *buf, size_t len)
{
	struct ids id = ids_read(f);
	char modalias[80];

	modalias_format(&id, modalias, sizeof(modalias));
	snprintf(buf, len,
		 "%s%s%sPCI_CLASS=%04X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\nPCI_SLOT_NAME=%s\nMODALIAS=%s\n",
		 *driver ? "DRIVER=" : "", driver, *driver ? "\n" : "", id.class, id.vendor, id.device, id.subvendor,
		 id.subdevice, bdf, modalias);
}

static void add_identity(struct adder *a, struct pci_func *f, const struct shadow_func *sf)
{
	struct ids id = ids_read(f);
	char modalias[80], uevent[512];

	modalias_format(&id, modalias, sizeof(modalias));
	add(a, "vendor", 0444, "0x%04x\n", id.vendor);
	add(a, "device", 0444, "0x%04x\n", id.device);
	add(a, "subsystem_vendor", 0444, "0x%04x\n", id.subvendor);
	add(a, "subsystem_device", 0444, "0x%04x\n", id.subdevice);
	add(a, "class", 0444, "0x%06x\n", id.class);
	add(a, "revision", 0444, "0x%02x\n", id.revision);
	add(a, "modalias", 0444, "%s\n", modalias);
	uevent_format(f, sf->driver, sf->bdf, uevent, sizeof(uevent));
	add(a, "uevent", 0644, "%s", uevent);
}

static void add_links(struct adder *a, const struct shadow_func *sf)
{
	const char *devices = sf->up + 3; /* one level less */

	add_link(a, "subsystem", "%sbus/pci", sf->up);
	add_link(a, "iommu", "%svirtual/iommu/" SHADOW_IOMMU, devices);
	add_link(a, "iommu_group", "%skernel/iommu_groups/%u", sf->up, sf->f->group);
	if (*sf->driver)
		add_link(a, "driver", "%sbus/pci/drivers/%s", sf->up, sf->driver);
}

/* Start, last byte and flags of each BAR (resource_show); where the function is in bus addresses does not change. */
static void add_resources(struct adder *a, struct pci_func *f)
{
	char text[RES_LINES * 57 + 1], name[16], path[SHADOW_PATH_MAX];
	size_t n = 0;

	for (unsigned int i = 0; i < RES_LINES; i++) {
		const struct pci_bar *b = i < PCI_BARS ? &f->bar[i] : NULL;
		unsigned long long start = 0, last = 0, flags = 0;

		if (b && b->size) {
			start = pci_bar_address(f, i);
			last = start + b->size - 1;
			flags = RES_MEM | RES_SIZEALIGN | (b->mem64 ? RES_MEM_64 | PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
				(b->prefetch ? RES_PREFETCH | PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
		}
		if (i == PCI_BARS && f->rom) {
			start = f->cfg[PCI_ROM_ADDRESS + 1] << 8 | f->cfg[PCI_ROM_ADDRESS + 2] << 16 |
				(unsigned long long)f->cfg[PCI_ROM_ADDRESS + 3] << 24;
			last = start + f->rom_size - 1;
			flags = RES_MEM | RES_SIZEALIGN | RES_READONLY;
		}
		if (i > PCI_BARS && f->sriov && f->sriov->vf[0] && f->sriov->vf[0]->bar[i - PCI_BARS - 1].size) {
			b = &f->sriov->vf[0]->bar[i - PCI_BARS - 1];
			start = pci_bar_address(f->sriov->vf[0], i - PCI_BARS - 1);
			last = start + f->sriov->total * b->size - 1;
			flags = RES_MEM | RES_SIZEALIGN | RES_MEM_64 | PCI_BASE_ADDRESS_MEM_TYPE_64;
		}
		n += snprintf(text + n, sizeof(text) - n, "0x%016llx 0x%016llx 0x%016llx\n", start, last, flags);
	}
	add(a, "resource", 0444, "%s", text);
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		if (!f->bar[i].size)
			continue;
		snprintf(name, sizeof(name), "resource%u", i);
		add(a, name, 0600, "%s", "");
		snprintf(path, sizeof(path), "%s/%s", a->dir, name);
		if (!a->error)
			a->error = tree_resize(a->root_fd, path, f->bar[i].size);
	}
}

static void add_link_state(struct adder *a, struct pci_func *f)
{
	char text[64];

	if (!f->exp_cap)
		return;
	dynamic_format(f, "current_link_speed", text, sizeof(text));
	add(a, "current_link_speed", 0444, "%s", text);
	dynamic_format(f, "current_link_width", text, sizeof(text));
	add(a, "current_link_width", 0444, "%s", text);
	link_format(f, PCI_EXP_LNKCAP, true, text, sizeof(text));
	add(a, "max_link_speed", 0444, "%s", text);
	link_format(f, PCI_EXP_LNKCAP, false, text, sizeof(text));
	add(a, "max_link_width", 0444, "%s", text);
	if (pci_cfg_read(f, f->exp_cap + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR) {
		add(a, "reset", 0200, "%s", "");
		add(a, "reset_method", 0644, "flr\n");
	}
}

/* First line of a file of the host's, without its newline. */
static bool host_line(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return true;
}

/* A device near no node in particular is local to every processor that is online: the list as the kernel writes it,
 * and the mask in groups of 32 bits, most significant first, as wide as the machine may ever need. */
static void add_locality(struct adder *a)
{
	char online[512], possible[512], mask[512];
	uint32_t word[64] = {0};
	unsigned int bits, n = 0;
	char *p, *end;

	if (!host_line("/sys/devices/system/cpu/online", online, sizeof(online)))
		strcpy(online, "0");
	if (!host_line("/sys/devices/system/cpu/possible", possible, sizeof(possible)))
		strcpy(possible, online);
	p = strrchr(possible, '-');
	if (!p)
		p = strrchr(possible, ',');
	bits = MIN(strtoul(p ? p + 1 : possible, NULL, 10) + 1, 32 * ARRAY_SIZE(word));
	for (p = online; *p; p = *end ? end + 1 : end) {
		unsigned long first = strtoul(p, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		for (unsigned long c = first; c <= last && c < bits; c++)
			word[c / 32] |= BIT(c % 32);
		if (end == p)
			break;
	}
	for (unsigned int i = (bits + 31) / 32; i-- > 0;) {
		bool top = i == (bits - 1) / 32;
		unsigned int digits = top ? ((bits - 1) % 32) / 4 + 1 : 8;

		n += snprintf(mask + n, sizeof(mask) - n, "%s%0*x", top ? "" : ",", digits, word[i]);
		if (n >= sizeof(mask))
			break;
	}
	add(a, "local_cpus", 0444, "%s\n", mask);
	add(a, "local_cpulist", 0444, "%s\n", online);
	add(a, "numa_node", 0644, "-1\n");
}

static void add_state(struct adder *a, struct pci_func *f, const struct shadow_func *sf)
{
	char text[64];

	power_state_format(f, text, sizeof(text));
	add(a, "power_state", 0444, "%s", text);
	dynamic_format(f, "enable", text, sizeof(text));
	add(a, "enable", 0644, "%s", text);
	add(a, "irq", 0444, "%u\n", pci_cfg_read(f, PCI_INTERRUPT_LINE, 1));
	add(a, "ari_enabled", 0444, "%d\n", f->sriov || f->physfn);
	add(a, "broken_parity_status", 0644, "0\n");
	add(a, "consistent_dma_mask_bits", 0444, "64\n");
	add(a, "dma_mask_bits", 0444, "64\n");
	add(a, "d3cold_allowed", 0644, "1\n");
	add(a, "driver_override", 0644, "%s\n", sf->vfio >= 0 ? "vfio-pci" : "(null)");
	add(a, "msi_bus", 0644, "1\n");
	add(a, "remove", 0220, "%s", "");
	add(a, "rescan", 0200, "%s", "");
	add_dir(a, "link");
	add_dir(a, "msi_irqs");
	add(a, "power/control", 0644, "on\n");
	add(a, "power/runtime_status", 0444, "active\n");
	add(a, "power/runtime_active_time", 0444, "0\n");
	add(a, "power/runtime_suspended_time", 0444, "0\n");
}

static void add_bridge(struct adder *a, struct pci_func *f)
{
	add(a, "secondary_bus_number", 0444, "%u\n", f->cfg[PCI_SECONDARY_BUS]);
	add(a, "subordinate_bus_number", 0444, "%u\n", f->cfg[PCI_SUBORDINATE_BUS]);
}

/* drivers/pci/iov.c: of a physical function. */
static void add_sriov(struct adder *a, struct pci_func *f)
{
	const struct pci_sriov *s = f->sriov;
	char name[24], bdf[16];

	add(a, "sriov_totalvfs", 0444, "%u\n", s->total);
	add(a, "sriov_numvfs", 0644, "%u\n", s->n);
	add(a, "sriov_offset", 0444, "%u\n", s->offset);
	add(a, "sriov_stride", 0444, "%u\n", s->stride);
	add(a, "sriov_vf_device", 0444, "%x\n", s->device);
	add(a, "sriov_drivers_autoprobe", 0644, "1\n");
	add(a, "sriov_vf_total_msix", 0444, "0\n");
	for (unsigned int i = 0; i < s->n; i++) {
		snprintf(name, sizeof(name), "virtfn%u", i);
		pci_bdf_format(s->vf[i], bdf);
		add_link(a, name, "../%s", bdf);
	}
}

int attr_set_vf(struct shadow *s, const struct shadow_func *sf, unsigned int i, bool there)
{
	char path[SHADOW_PATH_MAX], target[24] = "../";

	snprintf(path, sizeof(path), "%s/virtfn%u", sf->dir, i);
	root_remove_path(s->root_fd, path);
	if (!there)
		return 0;
	pci_bdf_format(sf->f->sriov->vf[i], target + 3);
	return tree_link(s->root_fd, path, target);
}

/* And of a virtual one. */
static void add_physfn(struct adder *a, struct pci_func *f)
{
	char bdf[16];

	pci_bdf_format(f->physfn, bdf);
	add_link(a, "physfn", "../%s", bdf);
	add(a, "sriov_vf_msix_count", 0200, "%s", "");
}

int attr_set_driver(struct shadow *s, const struct shadow_func *sf)
{
	char path[SHADOW_PATH_MAX], target[96], uevent[512];
	int ret = 0;

	snprintf(path, sizeof(path), "%s/driver", sf->dir);
	root_remove_path(s->root_fd, path);
	if (*sf->driver) {
		snprintf(target, sizeof(target), "%sbus/pci/drivers/%s", sf->up, sf->driver);
		ret = tree_link(s->root_fd, path, target);
	}
	uevent_format(sf->f, sf->driver, sf->bdf, uevent, sizeof(uevent));
	snprintf(path, sizeof(path), "%s/uevent", sf->dir);
	return ret ? ret : tree_update(s->root_fd, path, uevent, strlen(uevent));
}

int attr_add_func(struct shadow *s, const struct shadow_func *sf)
{
	struct adder a = {.root_fd = s->root_fd, .dir = sf->dir};
	uint8_t cfg[PCI_CFG_SIZE];
	char path[SHADOW_PATH_MAX];

	add_identity(&a, sf->f, sf);
	add_links(&a, sf);
	add_resources(&a, sf->f);
	add_link_state(&a, sf->f);
	add_locality(&a);
	add_state(&a, sf->f, sf);
	if (is_bridge(sf->f))
		add_bridge(&a, sf->f);
	if (sf->f->sriov)
		add_sriov(&a, sf->f);
	if (sf->f->physfn)
		add_physfn(&a, sf->f);
	if (a.error)
		return a.error;
	config_read(sf->f, cfg);
	snprintf(path, sizeof(path), "%s/config", sf->dir);
	return tree_file(s->root_fd, path, 0644, cfg, sizeof(cfg));
}
