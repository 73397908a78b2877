/* SPDX-License-Identifier: BSD-3-Clause */
#include "host.h"

#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "net/frame.h"

/* ---- the far end ---- */
static enum net_verdict far_receive(struct net_card *c, const struct iovec *iov, unsigned int n, size_t len)
{
	struct far *f = container_of(c, struct far, card);

	if (!f->room)
		return NET_FULL;
	CHECK(len >= NET_FRAME_MIN && len <= NET_FRAME_MAX);
	if (frame_copy(iov, n, 0, f->frame, len))
		return NET_DROPPED;
	f->room--;
	f->len = len;
	f->frames++;
	return NET_TAKEN;
}

static void far_received(struct net_card *c)
{
	container_of(c, struct far, card)->bursts++;
}

static void far_writable(struct net_card *c)
{
	container_of(c, struct far, card)->writables++;
}

static void far_link(struct net_card *c)
{
	container_of(c, struct far, card)->links++;
}

static void far_open(struct far *f, struct loop *loop, const char *spec)
{
	struct net_env env = {.loop = loop};
	char err[256];

	f->card = (struct net_card){far_receive, far_received, far_writable, far_link};
	f->room = ~0u;
	CHECK(net_open(&env, spec, &f->card, &f->net, err, sizeof(err)) == 0);
	net_set_up(f->net, true);
}

enum net_verdict far_send(struct host *h, size_t len, unsigned int seed)
{
	static uint8_t buf[NET_FRAME_MAX];
	size_t part = seed % 2 ? len / 3 : len;
	struct iovec iov[2] = {{buf, part}, {buf + part, len - part}};
	enum net_verdict v;

	frame_make(buf, len, seed);
	v = net_send(h->far.net, iov, part == len ? 1 : 2, len);
	net_sent(h->far.net);
	return v;
}

enum net_verdict far_send_to(struct host *h, const char *dst, int vlan, size_t len)
{
	uint8_t buf[NET_FRAME_MAX];
	struct iovec iov = {buf, len};
	enum net_verdict v;

	frame_make(buf, len, 1);
	CHECK(sscanf(dst, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", buf, buf + 1, buf + 2, buf + 3, buf + 4, buf + 5) == 6);
	if (vlan >= 0)
		memcpy(buf + 12, (uint8_t[]){0x81, 0, (uint8_t)(vlan >> 8), (uint8_t)vlan}, 4);
	v = net_send(h->far.net, &iov, 1, len);
	net_sent(h->far.net);
	return v;
}

/* ---- the machine ---- */
static void note_misuse(struct event_listener *l, const struct event *ev)
{
	struct host *h = container_of(l, struct host, misuse_listener);

	char of[64] = "";

	if (ev->type == EVENT_RESET) {
		h->resets++;
		return;
	}
	h->misuses++;
	if (ev->tag)
		dma_tag_format(ev->tag, of, sizeof(of));
	snprintf(h->misuse, sizeof(h->misuse), "%s%s%s", of, of[0] ? ": " : "", ev->name);
}

static void memory_map(struct machine *m)
{
	machine_map(m, PLAIN, 0, PLAIN_LEN, IOMMU_READ | IOMMU_WRITE);
	machine_map(m, READONLY, PLAIN_LEN, READONLY_LEN, IOMMU_READ);
	for (uint64_t at = 0; at < SCATTERED_LEN; at += MACHINE_PAGE)
		machine_map(m, SCATTERED + at, (uint64_t)host_offset(SCATTERED + at), MACHINE_PAGE,
			    IOMMU_READ | IOMMU_WRITE);
}

void host_open_net(struct host *h, const char *net, const char *options)
{
	char spec[256];

	memset(h, 0, sizeof(*h));
	machine_open(&h->m, HOST_MEM, UINT64_MAX);
	memory_map(&h->m);
	h->misuse_listener =
	    (struct event_listener){.mask = BIT(EVENT_MISUSE) | BIT(EVENT_RESET), .notify = note_misuse};
	events_listen(&h->m.evs, &h->misuse_listener);
	h->next = PLAIN;
	snprintf(spec, sizeof(spec), "igb,net=%s%s%s%s", net, strstr(options, "mac=") ? "" : ",mac=" HOST_MAC,
		 *options ? "," : "", options);
	machine_plug(&h->m, spec);
}

void host_open(struct host *h, const char *options)
{
	char net[64];

	snprintf(net, sizeof(net), "pair:igb-%d", getpid());
	host_open_net(h, net, options);
	far_open(&h->far, h->m.loop, net);
	host_settle(h);
}

void host_close(struct host *h)
{
	net_close(h->far.net);
	machine_unplug(&h->m);
	machine_close(&h->m);
}

void host_settle(struct host *h)
{
	for (unsigned int i = 0; i < 1000 && loop_step(h->m.loop, false); i++)
		;
}

uint64_t host_alloc(struct host *h, uint64_t len, uint64_t align)
{
	uint64_t at = ALIGN_UP(h->next, align);

	CHECK(at + len <= PLAIN + PLAIN_LEN);
	h->next = at + len;
	return at;
}

int64_t host_offset(uint64_t iova)
{
	if (iova - PLAIN < PLAIN_LEN)
		return (int64_t)(iova - PLAIN);
	if (iova - READONLY < READONLY_LEN)
		return (int64_t)(PLAIN_LEN + iova - READONLY);
	if (iova - SCATTERED >= SCATTERED_LEN)
		return -1;
	return (int64_t)(HOST_MEM - MACHINE_PAGE - ALIGN_DOWN(iova - SCATTERED, MACHINE_PAGE) + iova % MACHINE_PAGE);
}

uint8_t *host_ptr(struct host *h, uint64_t iova)
{
	int64_t off = host_offset(iova);

	CHECK(off >= 0);
	return h->m.mem + off;
}

uint32_t rd(struct host *h, uint32_t off)
{
	uint64_t v;

	CHECK(pci_bar_read(h->m.f, 0, off, 4, &v) == 0);
	return (uint32_t)v;
}

void wr(struct host *h, uint32_t off, uint32_t val)
{
	CHECK(pci_bar_write(h->m.f, 0, off, 4, val) == 0);
}

/* ---- a driver ---- */
void link_up(struct host *h)
{
	wr(h, IGB_CTRL, rd(h, IGB_CTRL) | IGB_CTRL_SLU);
	host_settle(h);
	CHECK(rd(h, IGB_STATUS) & IGB_STATUS_LU);
}

uint32_t ring_reg(const struct ring *r, unsigned int field)
{
	if (r->q < 4)
		return (r->tx ? IGB_TXQ_OLD : IGB_RXQ_OLD) + 0x100 * r->q + field;
	return (r->tx ? IGB_TXQ : IGB_RXQ) + 0x40 * r->q + field;
}

static void ring_open(struct ring *r, struct host *h, bool tx, unsigned int q, unsigned int size)
{
	*r = (struct ring){.h = h, .tx = tx, .q = q, .size = size};
	r->base = host_alloc(h, size * sizeof(union igb_desc), IGB_RING_ALIGN);
	r->desc = (union igb_desc *)host_ptr(h, r->base);
	memset(r->desc, 0, size * sizeof(union igb_desc));
	wr(h, ring_reg(r, IGB_RDBAL), (uint32_t)r->base);
	wr(h, ring_reg(r, IGB_RDBAH), (uint32_t)(r->base >> 32));
	wr(h, ring_reg(r, IGB_RDLEN), (uint32_t)(size * sizeof(union igb_desc)));
	wr(h, ring_reg(r, IGB_RDH), 0);
	wr(h, ring_reg(r, IGB_RDT), 0);
}

void tx_open(struct ring *r, struct host *h, unsigned int q, unsigned int size)
{
	ring_open(r, h, true, q, size);
	wr(h, ring_reg(r, IGB_TXDCTL), IGB_DCTL_ENABLE);
	wr(h, IGB_TCTL, rd(h, IGB_TCTL) | IGB_TCTL_EN | IGB_TCTL_PSP);
}

void rx_open(struct ring *r, struct host *h, unsigned int q, unsigned int size, unsigned int kib)
{
	ring_open(r, h, false, q, size);
	r->buffer_size = kib * 1024ull;
	r->buffers = host_alloc(h, size * r->buffer_size, 64);
	wr(h, ring_reg(r, IGB_SRRCTL), kib | IGB_RX_ADVANCED << 25);
	wr(h, ring_reg(r, IGB_RXDCTL), IGB_DCTL_ENABLE);
	if (!(rd(h, IGB_RCTL) & IGB_RCTL_EN))
		wr(h, IGB_RCTL,
		   IGB_RCTL_EN | IGB_RCTL_UPE | IGB_RCTL_MPE | IGB_RCTL_BAM | IGB_RCTL_LPE | IGB_RCTL_SECRC);
	rx_give(r, size - 1);
}

void rx_give(struct ring *r, unsigned int n)
{
	for (; n; n--, r->tail = (r->tail + 1) % r->size)
		r->desc[r->tail] = (union igb_desc){.q = {r->buffers + r->tail * r->buffer_size}};
	ring_ring(r);
}

union igb_desc *tx_put(struct ring *r, uint64_t addr, uint32_t len, uint32_t cmd)
{
	union igb_desc *t = &r->desc[r->tail];

	t->q[0] = addr;
	t->d[2] = cmd | len;
	t->d[3] = len << 14;
	r->tail = (r->tail + 1) % r->size;
	return t;
}

void ring_ring(struct ring *r)
{
	wr(r->h, ring_reg(r, IGB_RDT), r->tail);
}

const union igb_desc *ring_seen(struct ring *r)
{
	const union igb_desc *t = &r->desc[r->seen];

	/* DD is in the same bit, of different words. */
	if (!((r->tx ? t->d[3] : t->d[2]) & 1))
		return NULL;
	r->seen = (r->seen + 1) % r->size;
	return t;
}

const uint8_t *rx_data(struct ring *r, unsigned int n)
{
	return host_ptr(r->h, r->buffers + n % r->size * r->buffer_size);
}

void frame_make(uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 7 + i * (1 + seed % 5));
	if (len >= 14) {
		memcpy(p, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
		p[6] = 2;
		memcpy(p + 12, (uint8_t[]){0x88, 0xb5}, 2); /* IEEE 802 local experimental */
	}
}

uint64_t frame_put(struct host *h, size_t len, unsigned int seed)
{
	uint64_t at = host_alloc(h, len, 8);

	frame_make(host_ptr(h, at), len, seed);
	return at;
}
