/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host for the network card under test: memory behind an IOVA space, the other end of its cable, and as much of a
 * driver as the tests need. A failed CHECK aborts: the fuzz target uses this file too.
 *
 * Memory is one file, seen at IOVAs in three ways:
 *
 *   PLAIN	in one piece, its file offsets from 0
 *   READONLY	what follows in the file
 *   SCATTERED	the rest of the file's pages, the last one first
 */
#ifndef PINFOLD_TESTS_IGB_HOST_H
#define PINFOLD_TESTS_IGB_HOST_H

#include "devices/igb/spec.h"
#include "lib/machine.h"
#include "net/net.h"

#define PLAIN	      0x10000000ULL
#define PLAIN_LEN     (4UL << 20)
#define READONLY      0x20000000ULL
#define READONLY_LEN  (64UL << 10)
#define SCATTERED     0x30000000ULL
#define SCATTERED_LEN (512UL << 10)
#define HOST_MEM      (PLAIN_LEN + READONLY_LEN + SCATTERED_LEN)
#define NOWHERE	      0x40000000ULL

/* The other end of the cable: it keeps the last frame. */
struct far {
	struct net_card card;
	struct net *net;
	unsigned int frames, bursts, writables, links;
	unsigned int room;
	size_t len;
	uint8_t frame[NET_FRAME_MAX];
};

struct host {
	struct machine m;
	struct far far;
	uint64_t next; /* IOVA of the first free byte of PLAIN */
	struct event_listener misuse_listener;
	unsigned int misuses, resets;
	char misuse[160]; /* the last one */
};

/* "igb,OPTIONS", at a cable whose other end is h->far, up, with room for any number of frames. */
void host_open(struct host *h, const char *options);
void host_open_net(struct host *h, const char *net, const char *options); /* at net; far is nowhere */
void host_close(struct host *h);
uint64_t host_alloc(struct host *h, uint64_t len, uint64_t align); /* IOVAs in PLAIN that are not given back */
int64_t host_offset(uint64_t iova);				   /* in the file; -1: there is nothing */
uint8_t *host_ptr(struct host *h, uint64_t iova);
uint32_t rd(struct host *h, uint32_t off);
void wr(struct host *h, uint32_t off, uint32_t val);
void host_settle(struct host *h); /* turns of the loop that are due */

/* ---- as a driver ---- */
#define HOST_MAC "02:00:00:00:00:01"

void link_up(struct host *h); /* and waits for it */

struct ring {
	struct host *h;
	bool tx;
	unsigned int q, size, tail, seen;
	uint64_t base;
	union igb_desc *desc;
	uint64_t buffers, buffer_size; /* of a receive ring, one for each descriptor */
};

uint32_t ring_reg(const struct ring *r,
		  unsigned int field); /* IGB_RDT and so on: the register's offset, as drivers have it */
/* Enables queue q, and the direction. */
void tx_open(struct ring *r, struct host *h, unsigned int q, unsigned int size);
/* With buffers of so many KiB, all but one of which are the card's. RCTL: unless it has been set, all that comes. */
void rx_open(struct ring *r, struct host *h, unsigned int q, unsigned int size, unsigned int kib);
/* A descriptor is put at the tail; tx_ring hands it over. */
union igb_desc *tx_put(struct ring *r, uint64_t addr, uint32_t len, uint32_t cmd);
void ring_ring(struct ring *r);
/* The next descriptor to be written back, or NULL while it has not been. */
const union igb_desc *ring_seen(struct ring *r);
const uint8_t *rx_data(struct ring *r, unsigned int n); /* of the n-th descriptor of the ring */
void rx_give(struct ring *r, unsigned int n);		/* n more descriptors, with their buffers */

#define CMD_ONE (IGB_TXD_EOP | IGB_TXD_IFCS | IGB_TXD_RS | IGB_TXD_DEXT | IGB_TXD_DATA << 20)

/* A frame's bytes, told by its number; it goes to HOST_MAC. */
void frame_make(uint8_t *p, size_t len, unsigned int seed);
uint64_t frame_put(struct host *h, size_t len, unsigned int seed); /* in PLAIN */
/* From the far end, as a burst of its own. */
enum net_verdict far_send(struct host *h, size_t len, unsigned int seed);
enum net_verdict far_send_to(struct host *h, const char *dst, int vlan, size_t len); /* vlan -1: no tag */

#endif
