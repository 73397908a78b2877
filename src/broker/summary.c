/* SPDX-License-Identifier: BSD-3-Clause */
/* Listens to the event stream: one line for each DMA fault as it happens, and a few lines when all is over. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "broker/private.h"
#include "check/check.h"
#include "iommu/iommu.h"
#include "pci/pci.h"
#include "vfio/vfio.h"

/* A device that runs wild says the same thing a million times. */
#define FAULTS_PRINTED_MAX   32
#define REFUSALS_PRINTED_MAX 8

static void on_fault(struct summary *sum, const struct event *ev)
{
	char line[256];

	sum->faults++;
	if (sum->faults_printed > FAULTS_PRINTED_MAX)
		return;
	if (sum->faults_printed++ == FAULTS_PRINTED_MAX) {
		log_warn("more DMA faults follow and are only counted");
		return;
	}
	dma_fault_format(ev, line, sizeof(line));
	log_warn("%s", line);
}

#define BDF_FORMAT  "%04x:%02x:%02x.%x"
#define BDF_ARGS(b) (b) >> 16, (b) >> 8 & 0xff, (b) >> 3 & 0x1f, (b)&7

/* A program that tries again and again has been told. */
static void on_refuse(struct summary *sum, const struct event *ev)
{
	uint32_t from = ev->who, to = ev->value;

	if (sum->refused++ < REFUSALS_PRINTED_MAX)
		log_warn("refused: " BDF_FORMAT " may not reach the memory of " BDF_FORMAT "; --p2p " BDF_FORMAT
			 ":" BDF_FORMAT " allows it",
			 BDF_ARGS(from), BDF_ARGS(to), BDF_ARGS(from), BDF_ARGS(to));
}

static void on_event(struct event_listener *l, const struct event *ev)
{
	struct summary *sum = container_of(l, struct summary, listener);

	switch (ev->type) {
	case EVENT_MAP:
		sum->maps++;
		sum->mapped_now += ev->len;
		sum->mapped_peak = MAX(sum->mapped_peak, sum->mapped_now);
		break;
	case EVENT_UNMAP:
		sum->unmaps++;
		sum->mapped_now -= MIN(sum->mapped_now, ev->len);
		break;
	case EVENT_PIN:
		/* The tightest limit is what somebody may run into. */
		if (ev->len && ev->len != UINT64_MAX)
			sum->limit = MIN(sum->limit, ev->len);
		sum->pinned_now += ev->value;
		sum->pinned_peak = MAX(sum->pinned_peak, sum->pinned_now);
		break;
	case EVENT_UNPIN:
		sum->pinned_now -= MIN(sum->pinned_now, ev->value);
		break;
	case EVENT_IRQ:
		sum->interrupts += !ev->error;
		break;
	case EVENT_CLIENT:
		/* Not who merely looked: shells, `pinfold run --connect` itself. */
		sum->clients += ev->flags & EVENT_END && ev->value;
		break;
	case EVENT_FAULT:
		on_fault(sum, ev);
		break;
	case EVENT_REVOKE:
		sum->revoked++;
		break;
	case EVENT_REFUSE:
		on_refuse(sum, ev);
		break;
	case EVENT_TAINT:
		/* Once: the mark stays (rule B3). */
		if (!sum->taints++)
			log_warn("TAINTED: %s (" BDF_FORMAT "); refuse it with --strict", ev->name, BDF_ARGS(ev->who));
		break;
	default:
		break;
	}
}

void summary_init(struct summary *sum, struct events *evs, bool count, bool faults)
{
	*sum = (struct summary){.listener = {.notify = on_event}, .limit = UINT64_MAX};
	sum->listener.mask = (faults ? BIT(EVENT_FAULT) : 0) | BIT(EVENT_REFUSE) | BIT(EVENT_TAINT);
	if (count)
		sum->listener.mask |= BIT(EVENT_MAP) | BIT(EVENT_UNMAP) | BIT(EVENT_PIN) | BIT(EVENT_UNPIN) |
				      BIT(EVENT_IRQ) | BIT(EVENT_CLIENT) | BIT(EVENT_REVOKE);
	events_listen(evs, &sum->listener);
}

static const char *human(uint64_t bytes, char buf[32])
{
	static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double v = bytes;
	unsigned int u = 0;

	for (; v >= 1024 && u + 1 < ARRAY_SIZE(unit); u++)
		v /= 1024;
	snprintf(buf, 32, u && v < 10 ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return buf;
}

void summary_print(const struct summary *sum, struct vfio *v, struct check *c)
{
	struct pci_func *f;
	char a[32], b[32], bdf[16];
	uint64_t accesses = 0;

	fprintf(stderr, "pinfold: summary\n");
	fprintf(stderr, "  programs that used a device: %" PRIu64 "\n", sum->clients);
	fprintf(stderr, "  DMA mappings made: %" PRIu64 ", at most %s at once; pinned at most %s", sum->maps,
		human(sum->mapped_peak, a), human(sum->pinned_peak * PF_PAGE_SIZE, b));
	if (sum->limit != UINT64_MAX)
		fprintf(stderr, " of %s allowed", human(sum->limit, a));
	fprintf(stderr, "\n");
	for (size_t i = 0; (f = vfio_func(v, i)); i++) {
		const struct dma_stats *st = dma_dev_stats(f->dma);

		accesses += f->accesses;
		pci_bdf_format(f, bdf);
		fprintf(stderr,
			"  %s %s: %" PRIu64 " DMA reads (%s), %" PRIu64 " DMA writes (%s), %" PRIu64 " faults\n", bdf,
			f->name, st->reads, human(st->read_bytes, a), st->writes, human(st->write_bytes, b),
			st->faults);
	}
	if (sum->revoked || sum->refused)
		fprintf(stderr, "  device memory: %" PRIu64 " mappings revoked, %" PRIu64 " refused\n", sum->revoked,
			sum->refused);
	if (sum->taints)
		fprintf(stderr, "  TAINTED: %" PRIu64 " mappings of device memory that no policy was asked about\n",
			sum->taints);
	fprintf(stderr, "  register accesses: %" PRIu64 "; interrupts delivered: %" PRIu64 "\n", accesses,
		sum->interrupts);
	if (sum->mapped_now || sum->pinned_now)
		fprintf(stderr, "  STILL mapped: %s; STILL pinned: %s\n", human(sum->mapped_now, a),
			human(sum->pinned_now * PF_PAGE_SIZE, b));
	else
		fprintf(stderr, "  still mapped: nothing; still pinned: nothing\n");
	if (c)
		check_summary(c);
}
