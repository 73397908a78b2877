/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/word.h"
#include "devices/option.h"

#define SECOND	 1000000000ull
#define TIME_MAX (1000000 * SECOND)
#define DELAY_NS (SECOND / 10)
#define COMMANDS                                                                                                       \
	(BIT(INJECT_STUCK_QUEUE) | BIT(INJECT_DELAY) | BIT(INJECT_WRONG_DMA) | BIT(INJECT_CORRUPT) |                   \
	 BIT(INJECT_LOST_FRAME))
#define ACTS	   (BIT(INJECT_REMOVE) | BIT(INJECT_RESET) | BIT(INJECT_LINK_DOWN) | BIT(INJECT_LINK_UP))
#define EVERY_KIND (BIT(INJECT_KINDS) - 1)

static const char *const kind_help[INJECT_KINDS] = {
    [INJECT_REMOVE] = "pulls the function out of its slot",
    [INJECT_RESET] = "resets the function behind its owner's back",
    [INJECT_LINK_DOWN] = "takes the link down, for good or for a time",
    [INJECT_LINK_UP] = "brings it up again",
    [INJECT_LOST_IRQ] = "drops an interrupt",
    [INJECT_STUCK_QUEUE] = "takes no more commands from a queue, for good or for a time",
    [INJECT_DELAY] = "holds a completion back",
    [INJECT_WRONG_DMA] = "moves a command's data to or from a wrong address",
    [INJECT_CORRUPT] = "reports a completion with wrong contents",
    [INJECT_LOST_FRAME] = "loses a frame that a network card sends or receives",
};

struct draft {
	struct inject_spec s;
	uint32_t given; /* BIT of each key */
	char *err;
	size_t errlen;
};

static int fail(struct draft *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct draft *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->err, d->errlen, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- values ---- */

/* "2s", "100ms", "50us", "7ns", "1.5": seconds. */
static bool time_parse(const char *s, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}};
	char *end;
	double v;

	if (!strchr("0123456789.", *s) || strlen(s) != strspn(s, "0123456789.nums"))
		return false;
	v = strtod(s, &end);
	if (end == s)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].unit))
			continue;
		if (!(v * units[i].ns <= (double)TIME_MAX))
			return false;
		*ns = (uint64_t)(v * units[i].ns + 0.5);
		return true;
	}
	return false;
}

static bool count_parse(const char *s, uint64_t max, uint64_t *n)
{
	unsigned long long v;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoull(s, &end, 0);
	if (*end || errno || v > max)
		return false;
	*n = v;
	return true;
}

static int set_dev(struct draft *d, const char *v)
{
	return option_parse_addr(v, &d->s.domain, &d->s.bdf) ? 0 : fail(d, "'%s' is not a PCI address", v);
}

static int set_at(struct draft *d, const char *v)
{
	return time_parse(v, &d->s.at) ? 0 : fail(d, "'%s' is not a time (as in 2s, 100ms)", v);
}

static int set_after(struct draft *d, const char *v)
{
	return count_parse(v, UINT64_MAX, &d->s.after) ? 0 : fail(d, "'%s' is not a number", v);
}

static int set_p(struct draft *d, const char *v)
{
	char *end;
	double p = strchr("0123456789.", *v) ? strtod(v, &end) : -1;

	if (!(p >= 0 && p <= 1) || end == v || *end)
		return fail(d, "'%s' is not a probability (0 to 1)", v);
	d->s.chance = p == 1 ? INJECT_ALWAYS : (uint64_t)(p * 0x1p64);
	return 0;
}

static int set_seed(struct draft *d, const char *v)
{
	return count_parse(v, UINT64_MAX, &d->s.seed) ? 0 : fail(d, "'%s' is not a number", v);
}

static int set_times(struct draft *d, const char *v)
{
	if (!strcmp(v, "always"))
		d->s.times = INJECT_ALWAYS;
	else if (!count_parse(v, UINT64_MAX - 1, &d->s.times) || !d->s.times)
		return fail(d, "'%s' is not a number of times (1 or more, or always)", v);
	return 0;
}

static int set_for(struct draft *d, const char *v)
{
	return time_parse(v, &d->s.lasting) && d->s.lasting ? 0 : fail(d, "'%s' is not a time (as in 2s, 100ms)", v);
}

static int set_small(struct draft *d, const char *v, int *to)
{
	uint64_t n;

	if (!count_parse(v, 65535, &n))
		return fail(d, "'%s' is not a number (0 to 65535)", v);
	*to = (int)n;
	return 0;
}

static int set_queue(struct draft *d, const char *v)
{
	return set_small(d, v, &d->s.queue);
}

static int set_vector(struct draft *d, const char *v)
{
	return set_small(d, v, &d->s.vector);
}

static int set_field(struct draft *d, const char *v)
{
	for (unsigned int i = 0; i < INJECT_FIELDS; i++) {
		if (strcmp(v, inject_field_names[i]))
			continue;
		d->s.field = i;
		return 0;
	}
	return fail(d, "'%s' is not status, id or result", v);
}

static int set_addr(struct draft *d, const char *v)
{
	d->s.has_addr = true;
	return count_parse(v, UINT64_MAX, &d->s.addr) ? 0 : fail(d, "'%s' is not an address", v);
}

enum {
	KEY_DEV,
	KEY_AT,
	KEY_AFTER,
	KEY_P,
	KEY_SEED,
	KEY_TIMES,
	KEY_FOR,
	KEY_QUEUE,
	KEY_VECTOR,
	KEY_FIELD,
	KEY_ADDR,
	KEYS
};

static const struct key {
	const char *name;
	uint32_t kinds; /* that have it */
	int (*set)(struct draft *d, const char *v);
	const char *help;
} keys[KEYS] = {
    [KEY_DEV] = {"dev", EVERY_KIND, set_dev, "PCI address of the function; default: each function"},
    [KEY_AT] = {"at", EVERY_KIND, set_at, "time from which it counts: 2s, 100ms, 50us; default: at once"},
    [KEY_AFTER] = {"after", EVERY_KIND, set_after, "occasions of its kind that it lets pass"},
    [KEY_P] = {"p", EVERY_KIND, set_p, "probability of each occasion after that; default: 1"},
    [KEY_SEED] = {"seed", EVERY_KIND, set_seed, "which occasions these are, and what goes wrong; default: 0"},
    [KEY_TIMES] = {"times", EVERY_KIND, set_times, "how often, or always; default: once, always with p"},
    [KEY_FOR] = {"for", BIT(INJECT_LINK_DOWN) | BIT(INJECT_STUCK_QUEUE) | BIT(INJECT_DELAY), set_for,
		 "how long: link-down, stuck-queue (default: for good), delay (default: 100ms)"},
    [KEY_QUEUE] = {"queue", COMMANDS | ACTS, set_queue, "its queue or channel; default: each but an admin queue"},
    [KEY_VECTOR] = {"vector", BIT(INJECT_LOST_IRQ), set_vector, "lost-irq: its vector; default: each"},
    [KEY_FIELD] = {"field", BIT(INJECT_CORRUPT), set_field, "corrupt: status (default), id or result"},
    [KEY_ADDR] = {"addr", BIT(INJECT_WRONG_DMA), set_addr, "wrong-dma: the address; default: one bit of it is flipped"},
};

/* ---- words ---- */

static int kind_parse(struct draft *d, const char *word)
{
	struct word_search near;
	size_t n;

	word_search(&near, word);
	for (unsigned int i = 0; i < INJECT_KINDS; i++) {
		if (!strcmp(word, inject_kind_names[i])) {
			d->s.kind = i;
			return 0;
		}
		word_consider(&near, inject_kind_names[i]);
	}
	if (word_found(&near))
		return fail(d, "unknown fault '%s'; did you mean '%s'?", word, near.best);
	fail(d, "unknown fault '%s'; there are", word);
	for (unsigned int i = 0; i < INJECT_KINDS; i++) {
		n = strlen(d->err);
		snprintf(d->err + n, d->errlen - n, "%s %s", i ? "," : "", inject_kind_names[i]);
	}
	return -EINVAL;
}

static int key_unknown(struct draft *d, const char *word)
{
	struct word_search near;
	size_t n;

	word_search(&near, word);
	for (unsigned int i = 0; i < KEYS; i++)
		if (keys[i].kinds & BIT(d->s.kind))
			word_consider(&near, keys[i].name);
	if (word_found(&near))
		return fail(d, "unknown key '%s' of fault '%s'; did you mean '%s'?", word, inject_kind_names[d->s.kind],
			    near.best);
	fail(d, "unknown key '%s' of fault '%s'; there are", word, inject_kind_names[d->s.kind]);
	for (unsigned int i = 0; i < KEYS; i++) {
		n = strlen(d->err);
		if (keys[i].kinds & BIT(d->s.kind))
			snprintf(d->err + n, d->errlen - n, "%s %s", i ? "," : "", keys[i].name);
	}
	return -EINVAL;
}

static int word_parse(struct draft *d, char *word)
{
	char *eq = strchr(word, '=');
	unsigned int i;

	if (eq)
		*eq++ = 0;
	for (i = 0; i < KEYS && strcmp(word, keys[i].name); i++)
		;
	if (i == KEYS || !(keys[i].kinds & BIT(d->s.kind)))
		return key_unknown(d, word);
	if (!eq || !*eq)
		return fail(d, "key '%s' of fault '%s' needs a value, as %s=VALUE", word, inject_kind_names[d->s.kind],
			    word);
	if (d->given & BIT(i))
		return fail(d, "key '%s' of fault '%s' is given twice", word, inject_kind_names[d->s.kind]);
	d->given |= BIT(i);
	if (!keys[i].set(d, eq))
		return 0;
	memmove(d->err + strlen(word) + 2, d->err, MIN(strlen(d->err) + 1, d->errlen - strlen(word) - 2));
	memcpy(d->err, word, strlen(word));
	memcpy(d->err + strlen(word), ": ", 2);
	d->err[d->errlen - 1] = 0;
	return -EINVAL;
}

int fault_parse(const char *text, struct inject_spec *s, char *err, size_t errlen)
{
	struct draft d = {.err = err, .errlen = errlen};
	char *copy = strdup(text), *rest = copy;
	int ret;

	if (!copy) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	d.s = (struct inject_spec){
	    .bdf = INJECT_ANY, .chance = INJECT_ALWAYS, .times = 1, .queue = INJECT_ANY, .vector = INJECT_ANY};
	ret = kind_parse(&d, word_next(&rest));
	while (!ret && rest)
		ret = word_parse(&d, word_next(&rest));
	free(copy);
	if (ret)
		return ret;
	if (d.given & BIT(KEY_P) && !(d.given & BIT(KEY_TIMES)))
		d.s.times = INJECT_ALWAYS;
	if (d.s.kind == INJECT_DELAY && !d.s.lasting)
		d.s.lasting = DELAY_NS;
	d.s.on_occasion = d.given & (BIT(KEY_AFTER) | BIT(KEY_P) | BIT(KEY_QUEUE));
	*s = d.s;
	return 0;
}

/* ---- for people ---- */

struct text {
	char *buf;
	size_t len, n;
};

static void append(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void append(struct text *t, const char *fmt, ...)
{
	size_t at = MIN(t->n, t->len);
	va_list ap;

	va_start(ap, fmt);
	t->n += vsnprintf(t->buf + at, t->len - at, fmt, ap);
	va_end(ap);
}

static void append_time(struct text *t, const char *key, uint64_t ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {{"s", SECOND}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};
	size_t i = 0;

	if (!ns)
		return;
	while (ns % units[i].ns)
		i++;
	append(t, ",%s=%" PRIu64 "%s", key, ns / units[i].ns, units[i].unit);
}

void fault_format(const struct inject_spec *s, char *buf, size_t len)
{
	struct text t = {buf, len, 0};

	append(&t, "%s", inject_kind_names[s->kind]);
	append_time(&t, "at", s->at);
	if (s->after)
		append(&t, ",after=%" PRIu64, s->after);
	if (s->chance != INJECT_ALWAYS)
		append(&t, ",p=%.10g", (double)s->chance / 0x1p64);
	if (s->seed)
		append(&t, ",seed=%" PRIu64, s->seed);
	if (s->times == INJECT_ALWAYS)
		append(&t, ",times=always");
	else if (s->times != 1)
		append(&t, ",times=%" PRIu64, s->times);
	append_time(&t, "for", s->lasting);
	if (s->queue != INJECT_ANY)
		append(&t, ",queue=%d", s->queue);
	if (s->vector != INJECT_ANY)
		append(&t, ",vector=%d", s->vector);
	if (s->field)
		append(&t, ",field=%s", inject_field_names[s->field]);
	if (s->has_addr)
		append(&t, ",addr=0x%" PRIx64, s->addr);
}

size_t fault_help(char *buf, size_t len)
{
	struct text t = {buf, len, 0};

	append(&t, "Faults:\n");
	for (unsigned int i = 0; i < INJECT_KINDS; i++)
		append(&t, "  %-11s  %s\n", inject_kind_names[i], kind_help[i]);
	append(&t, "\nKeys:\n");
	for (unsigned int i = 0; i < KEYS; i++)
		append(&t, "  %-6s  %s\n", keys[i].name, keys[i].help);
	append(&t, "\nOccasions are interrupts for lost-irq, transfers of data for wrong-dma, frames for lost-frame,\n"
		   "commands for the others.\n"
		   "Use: --fault KIND,KEY=VALUE,...\n");
	return t.n;
}
