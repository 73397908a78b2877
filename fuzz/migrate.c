/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A state from somebody who is not trusted, loaded into an NVMe controller that is then used. The input edits a good
 * state, whose checksum is made right again; or it is the state, as it is.
 */
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nvme/host.h"
#include "devices/nvme/nvme.h"
#include "pci/barmem.h"
#include "pci/migrate.h"

#define STATE_MAX (64u << 10)

static struct host h;
static uint8_t good[STATE_MAX];
static size_t good_len;

static void quiesce(void)
{
	while (pci_quiesce(h.m.f) == -EAGAIN)
		loop_step(h.m.loop, false);
	pci_stop(h.m.f);
}

static void reset(void)
{
	pci_run(h.m.f);
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void prepare(void)
{
	int fd = memfd_create("fuzz", 0);
	struct precopy *p;
	struct state_out o;
	char path[64];

	CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	host_open_path(&h, path, "queues=4,cmb-size=16K");
	host_enable(&h, 8, 0);
	host_io_queue(&h, 1, 8);
	host_io_queue(&h, 2, 4);
	quiesce();
	state_out_init(&o, false);
	pci_save_identity(h.m.f, &o);
	p = precopy_new(h.m.f, &o);
	CHECK(p);
	for (unsigned int i = 1; i <= 2; i++) {
		memset(barmem_base(h.m.f->bar[2].mem), i, PF_PAGE_SIZE);
		if (i == 1)
			precopy_begin(p);
		else
			precopy_step(p);
	}
	CHECK(!pci_save_after(h.m.f, &o, p) && o.len <= sizeof(good));
	precopy_free(p);
	memcpy(good, o.buf, o.len);
	good_len = o.len;
	state_out_fini(&o);
	reset();
}

/* Edits: where (2 bytes), what (1 byte). */
static int load_edited(const uint8_t *data, size_t size)
{
	static uint8_t state[STATE_MAX];
	uint32_t crc;

	memcpy(state, good, good_len);
	for (; size >= 3; data += 3, size -= 3)
		state[(data[0] | data[1] << 8) % good_len] = data[2];
	crc = state_crc(0, state, good_len - 32);
	memcpy(state + good_len - 8, &crc, sizeof(crc));
	return pci_load(h.m.f, state, good_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nvme_cqe cqe;
	int err;

	if (!h.m.loop)
		prepare();
	if (!size)
		return 0;
	/* As after a quiesce, whose flush would be most of the time. */
	h.m.f->run = PCI_QUIET;
	pci_stop(h.m.f);
	err = data[0] % 8 ? load_edited(data + 1, size - 1) : pci_load(h.m.f, data + 1, size - 1);
	pci_run(h.m.f);
	for (unsigned int q = 0; !err && q < 3 && pci_mem_enabled(h.m.f); q++) {
		host_trap_doorbell(&h, q, false, data[0] % 8);
		host_run(&h, 4);
		h.q[q] = (struct host_queue){.cq = HOST_IOVA, .cq_size = 8};
		host_poll(&h, q, &cqe);
	}
	reset();
	while (block_inflight(container_of(h.m.f, struct nvme, f)->ns[0].blk))
		loop_step(h.m.loop, true);
	return 0;
}
