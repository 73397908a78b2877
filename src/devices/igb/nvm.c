/* SPDX-License-Identifier: BSD-3-Clause */
/* The EEPROM (3.3, 6, 8.4): an image with a checksum, read a word at a time through EERD, or as spi.c has it. */
#include "devices/igb/igb.h"

/* Words, as section 6.1 numbers them. Those that are not here are unprogrammed. */
static const struct {
	uint8_t at;
	uint16_t val;
} image[] = {
    {0x03, 0x0000},			    /* compatibility: no alternative address */
    {0x04, 0xffff},			    /* LEDs: the defaults */
    {0x05, 0x1620},			    /* image version */
    {0x08, 0xffff},	{0x09, 0xffff},	    /* PBA number: none */
    {0x0a, 0x4408},			    /* initialization control 1: valid, subsystem IDs are loaded */
    {0x0b, IGB_DEVICE}, {0x0c, IGB_VENDOR}, /* subsystem */
    {0x0d, IGB_DEVICE}, {0x0e, IGB_VENDOR}, {0x0f, 0x7040}, /* initialization control 2 */
    {0x24, 0x0000},					    /* initialization control 3: no wake up */
    {0x37, 0xffff},					    /* no alternative addresses */
};

void igb_nvm_init(struct igb *d)
{
	uint16_t sum = 0;

	memset(d->nvm, 0xff, sizeof(d->nvm));
	for (size_t i = 0; i < ARRAY_SIZE(image); i++)
		d->nvm[image[i].at] = image[i].val;
	for (unsigned int i = 0; i < 3; i++)
		d->nvm[i] = (uint16_t)(d->mac[2 * i] | d->mac[2 * i + 1] << 8);
	for (unsigned int i = 0; i < IGB_NVM_CHECKSUM; i++)
		sum += d->nvm[i];
	d->nvm[IGB_NVM_CHECKSUM] = IGB_NVM_SUM - sum;
}

void igb_nvm_load(struct igb *d)
{
	d->reg[IGB_RAL / 4] = d->nvm[0] | (uint32_t)d->nvm[1] << 16;
	d->reg[IGB_RAL / 4 + 1] = d->nvm[2] | IGB_RAH_AV;
	igb_filter_update(d);
}

uint32_t igb_eerd_read(struct igb *d, unsigned int i)
{
	return igb_reg(d, IGB_EERD);
}

void igb_eerd_write(struct igb *d, unsigned int i, uint32_t val)
{
	uint32_t at = IGB_EERD_ADDR(val);

	d->reg[IGB_EERD / 4] = val & 0xfffc;
	if (val & IGB_EERD_START)
		d->reg[IGB_EERD / 4] |= IGB_EERD_DONE | (uint32_t)(at < IGB_NVM_WORDS ? d->nvm[at] : 0xffff) << 16;
}
