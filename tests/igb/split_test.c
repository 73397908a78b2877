/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers that go to a buffer of their own: which, and what the descriptor says of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "host.h"

#define TCP    6
#define UDP    17
#define HEADER 128 /* bytes of a header's buffer */
#define FILL   0xee

static struct host h;
static struct ring r;
static uint64_t headers;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	rx_open(&r, &h, 0, 16, 1);
	headers = host_alloc(&h, 16 * HEADER, 64);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void use(unsigned int type, unsigned int header)
{
	wr(&h, ring_reg(&r, IGB_SRRCTL), 1 | header / 64 << 8 | type << 25);
	wr(&h, ring_reg(&r, IGB_RXDCTL), 0);
	memset(host_ptr(&h, headers), FILL, 16 * HEADER);
	memset(host_ptr(&h, r.buffers), FILL, 16 * r.buffer_size);
	for (unsigned int i = 0; i < r.size; i++)
		r.desc[i] = (union igb_desc){.q = {r.buffers + i * r.buffer_size, headers + i * HEADER}};
	wr(&h, ring_reg(&r, IGB_RDH), 0);
	wr(&h, ring_reg(&r, IGB_RXDCTL), IGB_DCTL_ENABLE);
	wr(&h, ring_reg(&r, IGB_RDT), r.size - 1);
	r.seen = 0;
}

static uint8_t frame[2048];

/* Of Ethernet, IPv4 with so many bytes of options, and a transport. */
static void make(uint8_t proto, size_t options, size_t len)
{
	uint8_t *ip = frame + 14, *l4 = ip + 20 + options;

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, 14);
	memset(ip, 0, 20 + options);
	ip[0] = (uint8_t)(0x45 + options / 4);
	ip[2] = (uint8_t)((len - 14) >> 8);
	ip[3] = (uint8_t)(len - 14);
	ip[9] = proto;
	if (proto == TCP)
		l4[12] = 0x50;
	if (proto == UDP)
		memcpy(l4 + 4, (uint8_t[]){(uint8_t)((len - 34 - options) >> 8), (uint8_t)(len - 34 - options)}, 2);
}

static const union igb_desc *get(size_t len)
{
	struct iovec iov = {frame, len};
	const union igb_desc *t;

	assert_int_equal(net_send(h.far.net, &iov, 1, len), NET_TAKEN);
	net_sent(h.far.net);
	t = ring_seen(&r);
	assert_non_null(t);
	return t;
}

static uint32_t hdr_len(const union igb_desc *t)
{
	return t->d[0] >> 21 & 0x3ff;
}

/* So many bytes of the frame, from off, and nothing behind them. */
static void holds(const uint8_t *buf, size_t size, size_t off, size_t len)
{
	assert_memory_equal(buf, frame + off, len);
	for (size_t i = len; i < size; i++)
		assert_int_equal(buf[i], FILL);
}

static void in_header(unsigned int n, size_t len)
{
	holds(host_ptr(&h, headers + n * HEADER), HEADER, 0, len);
}

static void in_packet(unsigned int n, size_t off, size_t len)
{
	holds(rx_data(&r, n), r.buffer_size, off, len);
}

/* The n-th frame: SPH, HDR_LEN, HBO, PKT_LEN. */
static void says(const union igb_desc *t, bool sph, uint32_t hdr, bool hbo, uint32_t pkt)
{
	assert_int_equal(!!(t->d[0] & IGB_RXD_SPH), sph);
	assert_int_equal(hdr_len(t), hdr);
	assert_int_equal(!!(t->d[2] & IGB_RXD_HBO), hbo);
	assert_int_equal(t->d[3] & 0xffff, pkt);
}

static void split(void **state)
{
	use(IGB_RX_SPLIT, HEADER);
	make(TCP, 0, 400);
	says(get(400), true, 54, false, 346);
	in_header(0, 54);
	in_packet(0, 54, 346);
	make(UDP, 4, 400);
	says(get(400), true, 46, false, 354);
	in_header(1, 46);
	in_packet(1, 46, 354);
	/* Of other transports, what is before them. */
	make(50, 0, 400);
	says(get(400), true, 34, false, 366);
	in_header(2, 34);
	/* Nothing that is known. */
	frame_make(frame, 400, 1);
	says(get(400), false, 0, false, 400);
	in_header(3, 0);
	in_packet(3, 0, 400);
}

static void types(void **state)
{
	use(IGB_RX_SPLIT, HEADER);
	wr(&h, IGB_PSRTYPE, IGB_PSRTYPE_IPV4 | IGB_PSRTYPE_IPV4 << 2);
	make(TCP, 0, 400);
	says(get(400), true, 34, false, 366);
	make(UDP, 0, 400);
	says(get(400), true, 42, false, 358);
	wr(&h, IGB_PSRTYPE, IGB_PSRTYPE_IPV4 << 1);
	says(get(400), false, 0, false, 400);
	make(TCP, 0, 400);
	says(get(400), true, 54, false, 346);
	wr(&h, IGB_PSRTYPE, 0);
	says(get(400), false, 0, false, 400);
}

static void ipv6(void **state)
{
	use(IGB_RX_SPLIT, HEADER);
	make(TCP, 0, 400);
	memcpy(frame + 12, (uint8_t[]){0x86, 0xdd, 0x60, 0, 0, 0, (400 - 54) >> 8, (400 - 54) & 255, UDP}, 9);
	memcpy(frame + 58, (uint8_t[]){(400 - 54) >> 8, (400 - 54) & 255}, 2);
	says(get(400), true, 62, false, 338);
	wr(&h, IGB_PSRTYPE, IGB_PSRTYPE_IPV6);
	says(get(400), true, 54, false, 346);
	wr(&h, IGB_PSRTYPE, IGB_PSRTYPE_IPV4);
	says(get(400), false, 0, false, 400);
}

static void too_long_a_header(void **state)
{
	use(IGB_RX_SPLIT, 64);
	make(TCP, 40, 400);
	says(get(400), true, 94, true, 400);
	in_header(0, 0);
	in_packet(0, 0, 400);
	/* It is filled where it is always used, and the length is the header's still. */
	use(IGB_RX_SPLIT_ALWAYS, 64);
	says(get(400), true, 94, true, 336);
	in_header(0, 64);
	in_packet(0, 64, 336);
}

static void always(void **state)
{
	use(IGB_RX_SPLIT_ALWAYS, HEADER);
	make(TCP, 0, 400);
	says(get(400), true, 54, false, 346);
	in_header(0, 54);
	in_packet(0, 54, 346);
	make(TCP, 0, HEADER);
	says(get(HEADER), false, HEADER, false, 0);
	assert_int_equal(r.desc[1].d[2] & 3, IGB_RXD_DD | IGB_RXD_EOP);
	in_header(1, HEADER);
	in_packet(1, 0, 0);
	frame_make(frame, 400, 1);
	says(get(400), false, HEADER, false, 400 - HEADER);
	in_header(2, HEADER);
	in_packet(2, HEADER, 400 - HEADER);
}

/* Only the first descriptor has the header. */
static void several_descriptors(void **state)
{
	const union igb_desc *t;

	use(IGB_RX_SPLIT_ALWAYS, HEADER);
	make(UDP, 0, 1500);
	t = get(1500);
	says(t, true, 42, false, 1024);
	assert_false(t->d[2] & IGB_RXD_EOP);
	t = ring_seen(&r);
	says(t, false, 0, false, 1500 - 42 - 1024);
	assert_true(t->d[2] & IGB_RXD_EOP);
	in_header(0, 42);
	in_packet(0, 42, 1024);
	in_header(1, 0);
	in_packet(1, 42 + 1024, 1500 - 42 - 1024);
	/* What fits without its header takes one alone. */
	make(UDP, 0, 1024 + 42);
	t = get(1024 + 42);
	assert_true(t->d[2] & IGB_RXD_EOP);
	says(t, true, 42, false, 1024);
}

static void tagged(void **state)
{
	use(IGB_RX_SPLIT, HEADER);
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_VME);
	make(UDP, 0, 396);
	memmove(frame + 16, frame + 12, 384);
	memcpy(frame + 12, (uint8_t[]){0x81, 0, 0, 5}, 4);
	says(get(400), true, 42, false, 354);
	assert_int_equal(r.desc[0].d[3] >> 16, 5);
	assert_memory_equal(host_ptr(&h, headers) + 12, frame + 16, 30);
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) & ~IGB_CTRL_VME);
	says(get(400), true, 46, false, 354);
	in_header(1, 46);
}

static void header_nowhere(void **state)
{
	use(IGB_RX_SPLIT, HEADER);
	r.desc[0].q[1] = NOWHERE;
	make(UDP, 0, 400);
	says(get(400), true, 42, false, 358);
	assert_non_null(strstr(h.m.fault_line, "fault addr 0x40000000 (42 bytes), RX queue 0 descriptor 0 header"));
	in_packet(0, 42, 358);
}

static void plain_is_not_split(void **state)
{
	use(IGB_RX_ADVANCED, HEADER);
	make(UDP, 0, 400);
	says(get(400), false, 0, false, 400);
	in_header(0, 0);
	/* Nor is anything without room for a header. */
	use(IGB_RX_SPLIT_ALWAYS, 0);
	says(get(400), false, 0, false, 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(split, setup, teardown),
	    cmocka_unit_test_setup_teardown(types, setup, teardown),
	    cmocka_unit_test_setup_teardown(ipv6, setup, teardown),
	    cmocka_unit_test_setup_teardown(too_long_a_header, setup, teardown),
	    cmocka_unit_test_setup_teardown(always, setup, teardown),
	    cmocka_unit_test_setup_teardown(several_descriptors, setup, teardown),
	    cmocka_unit_test_setup_teardown(tagged, setup, teardown),
	    cmocka_unit_test_setup_teardown(header_nowhere, setup, teardown),
	    cmocka_unit_test_setup_teardown(plain_is_not_split, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
