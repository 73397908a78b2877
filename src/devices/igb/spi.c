/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The EEPROM as software reaches it by itself: a serial one with addresses of two bytes and pages of 32, whose lines
 * are in EECD (3.3.1, 8.4.1). While the chip is selected, each rising edge of the clock takes a bit in, or gives one
 * out, the upper ones first; a page is written when it is no longer selected. Nothing takes it any time.
 */
#include "devices/igb/igb.h"

#define SK BIT(0)
#define CS BIT(1) /* low: selected */
#define DI BIT(2) /* into the EEPROM */
#define DO BIT(3) /* out of it */

#define BYTES (2 * IGB_NVM_WORDS)
_Static_assert(!(BYTES & (BYTES - 1)), "addresses wrap");

enum { OP_WRITE = 2, OP_READ = 3, OP_DISABLE = 4, OP_STATUS = 5, OP_ENABLE = 6 };
#define STATUS_ENABLED 2

enum { TAKES_OP, TAKES_ADDRESS, TAKES_DATA, GIVES, IDLE };

static void page_write(struct igb *d)
{
	struct igb_spi *s = &d->spi;

	for (unsigned int i = 0; i < IGB_SPI_PAGE; i++) {
		unsigned int at = (s->addr & (BYTES - IGB_SPI_PAGE)) + i, shift = 8 * (at & 1);

		if (s->filled >> i & 1)
			d->nvm[at / 2] = (uint16_t)((d->nvm[at / 2] & ~(0xff << shift)) | s->page[i] << shift);
	}
	/* Each write is enabled anew. */
	if (s->filled)
		s->enabled = false;
	s->filled = 0;
}

static void begin(struct igb_spi *s)
{
	s->state = TAKES_OP;
	s->bits = s->shift = 0;
	s->filled = 0;
}

static uint8_t next_byte(struct igb *d)
{
	struct igb_spi *s = &d->spi;
	uint8_t byte;

	if (s->op == OP_STATUS)
		return s->enabled ? STATUS_ENABLED : 0;
	byte = (uint8_t)(d->nvm[s->addr / 2 % IGB_NVM_WORDS] >> 8 * (s->addr & 1));
	s->addr = (s->addr + 1) & (BYTES - 1);
	return byte;
}

static void take_op(struct igb_spi *s)
{
	s->op = (uint8_t)s->shift;
	s->state = IDLE;
	if (s->op == OP_READ || (s->op == OP_WRITE && s->enabled))
		s->state = TAKES_ADDRESS;
	else if (s->op == OP_STATUS)
		s->state = GIVES;
	else if (s->op == OP_ENABLE || s->op == OP_DISABLE)
		s->enabled = s->op == OP_ENABLE;
}

static void take_byte(struct igb_spi *s)
{
	unsigned int i = s->addr % IGB_SPI_PAGE;

	s->page[i] = (uint8_t)s->shift;
	s->filled |= BIT(i);
	s->addr = (uint16_t)((s->addr & ~(IGB_SPI_PAGE - 1)) | (i + 1) % IGB_SPI_PAGE);
}

static void bit_in(struct igb_spi *s, bool bit)
{
	s->shift = (uint16_t)(s->shift << 1 | bit);
	s->bits++;
	if (s->bits != (s->state == TAKES_ADDRESS ? 16 : 8))
		return;
	s->bits = 0;
	if (s->state == TAKES_OP) {
		take_op(s);
	} else if (s->state == TAKES_ADDRESS) {
		s->addr = s->shift & (BYTES - 1);
		s->state = s->op == OP_READ ? GIVES : TAKES_DATA;
	} else {
		take_byte(s);
	}
	s->shift = 0;
}

static bool bit_out(struct igb *d)
{
	struct igb_spi *s = &d->spi;

	if (!s->bits)
		s->shift = next_byte(d);
	s->bits = (s->bits + 1) % 8;
	s->shift = (uint16_t)(s->shift << 1);
	return s->shift & 0x100;
}

static void clock_rises(struct igb *d, bool bit)
{
	struct igb_spi *s = &d->spi;

	if (s->state == GIVES)
		d->reg[IGB_EECD / 4] = (d->reg[IGB_EECD / 4] & ~DO) | (bit_out(d) ? DO : 0);
	else if (s->state != IDLE)
		bit_in(s, bit);
}

bool igb_spi_sound(const struct igb_spi *s)
{
	return s->state <= IDLE && s->bits < (s->state == TAKES_ADDRESS ? 16 : 8);
}

void igb_eecd_write(struct igb *d, unsigned int i, uint32_t val)
{
	uint32_t was = igb_reg(d, IGB_EECD), now;

	now = (val & (SK | CS | DI | IGB_EECD_FWE | IGB_EECD_REQ)) | (was & DO);
	d->reg[IGB_EECD / 4] = now;
	/* Who has not asked for it does not reach it. */
	if (!(now & IGB_EECD_REQ) || now & CS) {
		if (d->spi.state == TAKES_DATA)
			page_write(d);
		begin(&d->spi);
		return;
	}
	if (now & ~was & SK)
		clock_rises(d, now & DI);
}

/* 8.4.1: no other agent wants it, so it is granted at once. */
uint32_t igb_eecd_read(struct igb *d, unsigned int i)
{
	uint32_t val = igb_reg(d, IGB_EECD);

	val |= IGB_EECD_PRES | IGB_EECD_AUTO_RD | IGB_EECD_ADDR_16 | IGB_EECD_SIZE(IGB_NVM_SIZE);
	return val & IGB_EECD_REQ ? val | IGB_EECD_GNT : val;
}
