/* SPDX-License-Identifier: BSD-3-Clause */
/* The expansion ROM: PCI Local Bus 3.0, sections 6.2.5.2 and 6.3.1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "pci/internal.h"

#define ROM_SIZE_MIN  2048UL /* of its BAR: the enable bit and the reserved ones are below the address */
#define ROM_SIGNATURE 0xaa55
#define PCIR_AT	      0x18	  /* in the header: where the data structure is */
#define PCIR_MAGIC    0x52494350U /* "PCIR" */
#define PCIR_LENGTH   0x10	  /* in units of 512 bytes */
#define PCIR_LAST     0x15	  /* bit 7: the last image */
#define PCIR_BYTES    0x18

uint64_t pci_rom_length(const uint8_t *rom, uint64_t len)
{
	uint64_t at = 0, data, image;

	do {
		if (at + PCIR_AT + 2 > len || cfg_get(rom + at, 2) != ROM_SIGNATURE)
			break;
		data = at + cfg_get(rom + at + PCIR_AT, 2);
		if (data + PCIR_BYTES > len || cfg_get(rom + data, 4) != PCIR_MAGIC)
			break;
		image = 512UL * cfg_get(rom + data + PCIR_LENGTH, 2);
		at += image;
		if (rom[data + PCIR_LAST] & 0x80)
			break;
	} while (image);
	return MIN(at, len);
}

int pci_add_rom(struct pci_func *f, const void *data, uint64_t len)
{
	uint64_t size = ROM_SIZE_MIN;
	uint8_t *rom;

	if (f->rom || f->cfg[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK || len > PCI_ROM_MAX || !pci_rom_length(data, len))
		return -EINVAL;
	while (size < len)
		size *= 2;
	rom = malloc(len);
	if (!rom)
		return -ENOMEM;
	memcpy(rom, data, len);
	f->rom = rom;
	f->rom_len = pci_rom_length(data, len);
	f->rom_size = size;
	pci_cfg_define(f, PCI_ROM_ADDRESS, 4, 0, (uint32_t)-size | PCI_ROM_ADDRESS_ENABLE, 0);
	return 0;
}

int pci_rom_read(struct pci_func *f, uint64_t off, void *buf, uint64_t len)
{
	uint64_t n = off < f->rom_len ? MIN(len, f->rom_len - off) : 0;

	if (n && !f->decode)
		return -EIO;
	memset(buf, 0xff, len);
	if (n && !f->away)
		memcpy(buf, f->rom + off, n);
	return 0;
}
