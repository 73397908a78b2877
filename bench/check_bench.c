/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the checker does with an event, in nanoseconds of processor time: the best of several rounds. This process is
 * its own client; the stacks are its own, DEPTH calls deep.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "base/util.h"
#include "check/check.h"
#include "check/class.h"

#define ROUNDS 15
#define EVENTS 4000
#define DEPTH  12
#define STACK  16384

static struct events evs;
static uint8_t stack[STACK];
static struct event_origin origin = {.session = 1};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void map_unmap(uint64_t n)
{
	uint64_t iova = n % 512 * 8192;

	evs.origin = &origin;
	event_emit(&evs, EVENT_MAP, .who = origin.pid, .ioas = 1, .addr = iova, .len = 4096, .value = 0x10000,
		   .flags = EVENT_WRITE);
	event_emit(&evs, EVENT_PIN, .who = origin.pid, .value = 1);
	event_emit(&evs, EVENT_UNMAP, .who = origin.pid, .ioas = 1, .addr = iova, .len = 4096);
	event_emit(&evs, EVENT_UNPIN, .who = origin.pid, .value = 1);
	event_emit(&evs, EVENT_UNMAP_ASKED, .who = origin.pid, .ioas = 1, .addr = iova, .len = 4096, .value = 4096);
	evs.origin = NULL;
}

static void irq(uint64_t n)
{
	event_emit(&evs, EVENT_IRQ, .who = 0x100, .value = 1);
}

static void dma(uint64_t n)
{
	event_emit(&evs, EVENT_DMA, .who = 0x100, .ioas = 1, .addr = n % 512 * 8192, .len = 4096, .flags = EVENT_WRITE);
}

static void mmio(uint64_t n)
{
	event_emit(&evs, EVENT_MMIO, .who = 0x100, .addr = 0x1000, .len = 4, .value = n, .flags = EVENT_WRITE);
}

static void measure(const char *name, const char *set, void (*fn)(uint64_t n))
{
	uint64_t best = UINT64_MAX;

	for (unsigned int r = 0; r < ROUNDS; r++) {
		uint64_t t = now();

		for (uint64_t i = 0; i < EVENTS; i++)
			fn(i);
		best = MIN(best, now() - t);
	}
	printf("%s, %s: %.1f\n", name, set, (double)best / EVENTS);
}

static void with(const char *set)
{
	struct check_options o = {0};
	struct check *c = NULL;
	char err[256];

	events_init(&evs);
	if (class_set_parse(set, &o.classes, err, sizeof(err)))
		exit(1);
	if (o.classes)
		c = check_new(&o, &evs, err, sizeof(err));
	if (o.classes && !c) {
		fprintf(stderr, "check_bench: %s\n", err);
		exit(1);
	}
	measure("map + unmap", set, map_unmap);
	measure("interrupt", set, irq);
	measure("DMA", set, dma);
	measure("register access", set, mmio);
	check_free(c);
}

/* The stack as it is here is what a client would hand in. */
static __attribute__((noinline)) void measure_all(void)
{
	uint64_t bp, sp, ip;

	__asm__ volatile("movq %%rbp, %0; movq %%rsp, %1; leaq 0(%%rip), %2" : "=r"(bp), "=r"(sp), "=r"(ip));
	origin.pid = origin.tid = getpid();
	origin.ip = ip;
	origin.sp = sp;
	origin.bp = bp;
	origin.stack = stack;
	origin.stack_len = STACK;
	/* Above the calls lie the environment and the like; what is beyond is not read. */
	memcpy(stack, (void *)sp, MIN((size_t)STACK, (size_t)((uint64_t)environ - sp)));
	with("none");
	with("default");
	with("all");
}

static __attribute__((noinline, optimize("no-optimize-sibling-calls"))) void descend(unsigned int depth)
{
	if (depth)
		descend(depth - 1);
	else
		measure_all();
	__asm__ volatile("");
}

int main(void)
{
	descend(DEPTH);
	return 0;
}
