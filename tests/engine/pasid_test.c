/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA under PASIDs: each has its own domain, its own IOTLB and its own faults, and masters the bus as its function. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fixture.h"

#define AT 0x10000UL

static const struct domain_config config = {.last = UINT64_MAX, .pgsizes = PG};

/* A second space, whose first page reads as c. */
struct space {
	struct ioas *io;
	struct domain *d;
};

static struct space space_new(struct fixture *f, int page)
{
	struct space s = {ioas_new(&f->evs), domain_new(&config, &f->evs)};
	int fd = memfd_pages(page + 1);
	struct pages *p = pages_memfd(f, fd, page + 1, true);

	close(fd);
	assert_int_equal(ioas_add_domain(s.io, s.d), 0);
	assert_int_equal(ioas_map(s.io, IOVA(AT), PG, p, page * PG, IOMMU_READ | IOMMU_WRITE), 0);
	pages_put(p);
	return s;
}

static void space_free(struct space *s)
{
	ioas_remove_domain(s->io, s->d);
	domain_free(s->d);
	ioas_free(s->io);
}

/* What the PASID reads at AT; -1: a fault. */
static int sees(struct fixture *f, uint32_t pasid)
{
	unsigned char c;

	return dma_read(dma_dev_pasid(f->dev, pasid), IOVA(AT), &c, 1, NULL) ? -1 : c;
}

static void own_domains(void **state)
{
	struct fixture f;
	struct space a, b;

	fixture_open(&f);
	a = space_new(&f, 0);
	b = space_new(&f, 1);
	assert_int_equal(dma_dev_pasid_bits(f.dev), 0);
	assert_int_equal(dma_dev_set_pasid_bits(f.dev, 20), 0);
	assert_int_equal(dma_dev_pasid_bits(f.dev), 20);
	assert_int_equal(dma_pasid_attach(f.dev, 7, a.d), 0);
	assert_int_equal(dma_pasid_attach(f.dev, (1 << 20) - 1, b.d), 0);
	/* Twice: from the IOTLB, too. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sees(&f, 7), 'a');
		assert_int_equal(sees(&f, (1 << 20) - 1), 'b');
		assert_int_equal(sees(&f, 0), -1);
		assert_int_equal(sees(&f, 8), -1);
	}
	assert_ptr_equal(dma_dev_pasid(f.dev, 0), f.dev);
	/* Replacing forgets what the IOTLB held. */
	assert_int_equal(dma_pasid_attach(f.dev, 7, b.d), 0);
	assert_int_equal(sees(&f, 7), 'b');
	/* What is unmapped is flushed from PASIDs' IOTLBs before it is unpinned. */
	unmap_all(b.io);
	assert_int_equal(sees(&f, 7), -1);
	assert_int_equal(sees(&f, (1 << 20) - 1), -1);
	dma_pasid_detach(f.dev, 7);
	dma_pasid_detach(f.dev, 7);
	assert_int_equal(sees(&f, 7), -1);
	dma_dev_detach(f.dev);
	dma_dev_attach(f.dev, f.domain);
	dma_pasid_detach(f.dev, (1 << 20) - 1);
	space_free(&a);
	space_free(&b);
	fixture_close(&f);
}

static void faults(void **state)
{
	struct fixture f;
	struct space a;
	char line[256];

	fixture_open(&f);
	a = space_new(&f, 0);
	assert_int_equal(dma_dev_set_pasid_bits(f.dev, 8), 0);
	assert_int_equal(sees(&f, 0x1f), -1);
	assert_int_equal(f.last[EVENT_FAULT].pasid, 0x1f);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_DETACHED);
	assert_int_equal(dma_pasid_attach(f.dev, 5, a.d), 0);
	unmap_all(a.io);
	assert_int_equal(sees(&f, 5), -1);
	assert_int_equal(f.last[EVENT_FAULT].pasid, 5);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_UNMAPPED);
	assert_int_equal(f.last[EVENT_FAULT].ioas, ioas_id(a.io));
	dma_fault_format(&f.last[EVENT_FAULT], line, sizeof(line));
	assert_string_equal(line, "[DMA Read] 0000:01:00.0 PASID 0x5 fault addr 0x10000 (1 bytes): not mapped");
	assert_int_equal(sees(&f, 0), -1);
	assert_int_equal(f.last[EVENT_FAULT].pasid, 0);
	dma_pasid_detach(f.dev, 5);
	space_free(&a);
	fixture_close(&f);
}

/* PCI_COMMAND.BUS_MASTER is one for all of a function's PASIDs; one that comes later has it as it is. */
static void bus_master(void **state)
{
	struct fixture f;
	struct space a;

	fixture_open(&f);
	a = space_new(&f, 0);
	assert_int_equal(dma_dev_set_pasid_bits(f.dev, 8), 0);
	assert_int_equal(dma_pasid_attach(f.dev, 1, a.d), 0);
	assert_int_equal(sees(&f, 1), 'a');
	dma_dev_set_master(f.dev, false);
	assert_int_equal(dma_pasid_attach(f.dev, 2, a.d), 0);
	for (uint32_t pasid = 1; pasid <= 3; pasid++) {
		assert_int_equal(sees(&f, pasid), -1);
		assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_MASTER);
	}
	dma_dev_set_master(f.dev, true);
	assert_int_equal(sees(&f, 1), 'a');
	assert_int_equal(sees(&f, 2), 'a');
	dma_pasid_detach(f.dev, 1);
	dma_pasid_detach(f.dev, 2);
	space_free(&a);
	fixture_close(&f);
}

/* What PASIDs did counts for their function, also after they have gone; freeing a function frees them. */
static void counting(void **state)
{
	struct fixture f;
	struct space a;

	fixture_open(&f);
	a = space_new(&f, 0);
	assert_int_equal(dma_dev_set_pasid_bits(f.dev, 8), 0);
	assert_int_equal(dma_pasid_attach(f.dev, 1, a.d), 0);
	sees(&f, 1);
	sees(&f, 1);
	sees(&f, 9);
	assert_int_equal(dma_dev_stats(f.dev)->reads, 2);
	assert_int_equal(dma_dev_stats(f.dev)->faults, 1);
	assert_int_equal(dma_dev_stats(f.dev)->iotlb_hits, 1);
	dma_pasid_detach(f.dev, 1);
	assert_int_equal(dma_dev_stats(f.dev)->reads, 2);
	assert_int_equal(dma_pasid_attach(f.dev, 1, a.d), 0);
	assert_int_equal(dma_pasid_attach(f.dev, 3, a.d), 0);
	dma_dev_free(f.dev);
	f.dev = dma_dev_new(0x100, &f.evs);
	space_free(&a);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(own_domains),
	    cmocka_unit_test(faults),
	    cmocka_unit_test(bus_master),
	    cmocka_unit_test(counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
