/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random chains beside a model that is too simple to be wrong: an array of bytes, and one descriptor after the other.
 * Chains wander through memory in any order, sizes and addresses reach every kind of memory and none, and some
 * descriptors are malformed. After each chain every byte of memory, the channel's status and its errors are compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "host.h"

#define XFERCAP 17
#define DESCS	256 /* places for descriptors: the first bytes of PLAIN */
#define ROUNDS	600

static struct host h;
static uint8_t model[HOST_MEM];
static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((seed >> 33) % n);
}

struct result {
	unsigned int done;
	uint64_t last;
	uint32_t err;
	uint64_t status; /* what is written to CHANCMP */
};

/* ---- the model ---- */
static uint8_t *at(uint64_t iova, bool write)
{
	int64_t off = host_offset(iova, write);

	return off < 0 ? NULL : model + off;
}

static bool reachable(uint64_t iova, uint32_t n, bool write)
{
	for (uint64_t i = 0; i < n; i += MIN(n - i, MACHINE_PAGE))
		if (!at(iova + i, write))
			return false;
	return at(iova + n - 1, write);
}

/* How much of a transfer that fails arrives is not promised. */
static void forget(uint64_t iova, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (at(iova + i, true))
			*at(iova + i, true) = h.m.mem[host_offset(iova + i, true)];
}

static uint32_t model_step(const struct ioat_desc *d)
{
	uint32_t op = d->ctl >> 24;

	if (op > 1 || d->ctl & 0xffffff & ~(op ? 0x11dU : 0x73fU))
		return IOAT_ERR_CONTROL;
	if (!d->size || d->size > 1U << XFERCAP)
		return IOAT_ERR_LENGTH;
	if (d->ctl & IOAT_CTL_NULL)
		return 0;
	if (!op && d->src + d->size - 1 < d->src)
		return IOAT_ERR_SRC_ADDR;
	if (d->dst + d->size - 1 < d->dst)
		return IOAT_ERR_DST_ADDR;
	if (!op && !reachable(d->src, d->size, false)) {
		forget(d->dst, d->size);
		return IOAT_ERR_READ_DATA;
	}
	if (!reachable(d->dst, d->size, true)) {
		forget(d->dst, d->size);
		return IOAT_ERR_WRITE_DATA;
	}
	for (uint32_t i = 0; i < d->size; i++)
		*at(d->dst + i, true) = op ? (uint8_t)(d->src >> 8 * (i % 8)) : *at(d->src + i, false);
	return 0;
}

static void model_run(uint64_t chain, unsigned int count, bool err_comp, struct result *res)
{
	struct ioat_desc d;

	*res = (struct result){.status = ~0ULL};
	while (res->done < count && !res->err) {
		if (chain % 64) {
			res->err = res->done ? IOAT_ERR_NEXT_ADDR : IOAT_ERR_CHAINADDR;
			break;
		}
		if (!reachable(chain, 64, false)) {
			res->err = IOAT_ERR_DESC;
			break;
		}
		for (unsigned int i = 0; i < 64; i++)
			((uint8_t *)&d)[i] = *at(chain + i, false);
		res->err = model_step(&d);
		if (res->err)
			break;
		res->done++;
		res->last = chain;
		chain = d.next;
		if (d.ctl & IOAT_CTL_COMPLETE)
			res->status = res->last;
	}
	if (res->err && err_comp)
		res->status = res->last;
}

/* ---- chains ---- */
static uint64_t random_addr(void)
{
	switch (rnd(40)) {
	case 0:
		return READONLY + rnd(READONLY_LEN);
	case 1:
		return rnd(2) ? UINT64_MAX - rnd(100000) : (uint64_t)rnd(UINT32_MAX) << 20;
	case 2:
		return PLAIN + PLAIN_LEN - 1 - rnd(70000);
	case 3:
		return SCATTERED + SCATTERED_LEN - 1 - rnd(20000);
	default:
		return rnd(2) ? SCATTERED + rnd(SCATTERED_LEN - (1 << 16)) : PLAIN + (1 << 20) + rnd(2 << 20);
	}
}

static uint32_t random_size(void)
{
	switch (rnd(20)) {
	case 0:
		return (1U << XFERCAP) + 1 - rnd(3);
	case 1:
		return rnd(30) ? 65536 + rnd(20) - 10 : 0;
	case 2:
	case 3:
		return 1 + rnd(60000);
	default:
		return 1 + rnd(rnd(2) ? 64 : 9000);
	}
}

static void random_desc(struct ioat_desc *d)
{
	uint32_t ctl = rnd(3) ? CTL_COPY : CTL_FILL;

	if (!rnd(4))
		ctl &= ~IOAT_CTL_COMPLETE;
	if (!rnd(6))
		ctl |= IOAT_CTL_FENCE;
	if (!rnd(10) && ctl >> 24 == IOAT_OP_COPY)
		ctl |= IOAT_CTL_NULL;
	if (!rnd(100))
		ctl ^= 1U << rnd(32);
	*d = (struct ioat_desc){.size = random_size(), .ctl = ctl, .src = random_addr(), .dst = random_addr()};
	/* In one descriptor source and destination lie apart, or what arrives depends on how it was copied. */
	if (d->dst - d->src + (1 << XFERCAP) < 2 << XFERCAP)
		d->ctl = IOAT_OP_FILL << 24 | (d->ctl & IOAT_CTL_FILL_MASK);
	/* Now and then over a descriptor that may be still to come. */
	if (!rnd(60)) {
		d->src = PLAIN + 64 * rnd(DESCS);
		d->dst = PLAIN + 64 * (DESCS + rnd(DESCS));
		d->size = 64;
	}
}

static uint64_t random_chain(unsigned int n)
{
	uint64_t first = PLAIN + 64 * rnd(DESCS), here = first;

	for (unsigned int i = 0; i < n; i++) {
		struct ioat_desc *d = (struct ioat_desc *)host_ptr(&h, here);

		random_desc(d);
		here = d->next = rnd(300) ? PLAIN + 64 * rnd(DESCS) : random_addr();
		if (here < PLAIN || here >= PLAIN + 64 * DESCS || here % 64)
			break;
	}
	return first;
}

static void compare_memory(unsigned int round)
{
	for (size_t i = 0; memcmp(h.m.mem, model, HOST_MEM) && i < HOST_MEM; i++)
		if (h.m.mem[i] != model[i])
			fail_msg("round %u, seed %llu: byte 0x%zx is %02x, not %02x", round, (unsigned long long)seed,
				 i, h.m.mem[i], model[i]);
}

static void chains(void **state)
{
	bool failures[32] = {false};
	unsigned int whole = 0;
	struct result res;
	struct ring r;
	uint64_t st;

	seed = 1;
	for (size_t i = 0; i < HOST_MEM; i++)
		h.m.mem[i] = (uint8_t)(i * 131 + (i >> 9));
	for (unsigned int round = 0; round < ROUNDS; round++) {
		bool err_comp = rnd(2);
		unsigned int count = 1 + rnd(60), sent = 0;
		uint64_t chain = random_chain(count), status = host_read(&h, chan_reg(0, IOAT_CHANCMP), 8);

		r = (struct ring){.h = &h, .chan = 0, .size = 1, .base = chain, .status = status};
		memset(host_ptr(&h, status), 0xff, 8);
		if (rnd(8))
			ring_hurry(&r);
		memcpy(model, h.m.mem, HOST_MEM);
		host_write(&h, chan_reg(0, IOAT_CHANCTRL), 2, err_comp ? IOAT_CHANCTRL_ERR_COMP : 0);
		host_write(&h, chan_reg(0, IOAT_CHANCMD), 1, IOAT_CHANCMD_RESET);
		host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, chain);
		/* All at once or bit by bit, with suspensions anywhere. */
		while (sent < count) {
			sent += 1 + rnd(count - sent);
			host_write(&h, chan_reg(0, IOAT_DMACOUNT), 2, sent);
			if (rnd(2))
				loop_step(h.m.loop, false);
			if (!rnd(4))
				host_write(&h, chan_reg(0, IOAT_CHANCMD), 1, IOAT_CHANCMD_SUSPEND);
		}
		host_write(&h, chan_reg(0, IOAT_DMACOUNT), 2, count);
		ring_wait(&r);
		model_run(chain, count, err_comp, &res);
		memcpy(model + host_offset(status, true), h.m.mem + host_offset(status, true), 8);
		compare_memory(round);
		assert_int_equal(ring_error(&r), res.err);
		st = host_read(&h, chan_reg(0, IOAT_CHANSTS), 8);
		/* Suspended with nothing left to do, it has nothing to go on with. */
		if (st % 64 == IOAT_SUSPENDED)
			st ^= IOAT_SUSPENDED ^ IOAT_IDLE;
		assert_int_equal(st, res.last | (res.err ? IOAT_HALTED : IOAT_IDLE));
		assert_int_equal(ring_written(&r) & IOAT_CHANSTS_ADDR, res.status & IOAT_CHANSTS_ADDR);
		host_write(&h, chan_reg(0, IOAT_CHANERR), 4, res.err);
		whole += !res.err;
		if (res.err)
			failures[__builtin_ctz(res.err)] = true;
	}
	/* Or the generator is at fault. */
	assert_true(whole > ROUNDS / 10);
	for (unsigned int i = 0; i < 32; i++)
		if ((IOAT_ERR_SRC_ADDR | IOAT_ERR_DST_ADDR | IOAT_ERR_READ_DATA | IOAT_ERR_WRITE_DATA |
		     IOAT_ERR_CONTROL | IOAT_ERR_LENGTH | IOAT_ERR_NEXT_ADDR) &
		    1U << i)
			assert_true(failures[i]);
}

static int setup(void **state)
{
	host_open(&h, "xfercap=17");
	/* Beyond the descriptors and all that they address. */
	host_write(&h, chan_reg(0, IOAT_CHANCMP), 8, PLAIN + (512 << 10));
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(chains, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
