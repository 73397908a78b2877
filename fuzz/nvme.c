/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile driver: register writes of any kind, and queues, lists and segments made of the fuzzer's bytes. A byte
 * stream of operations; the controller is usually brought to life first, so that the fuzzer need not find out how.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "nvme/host.h"
#include "input.h"
#include "devices/nvme/nvme.h"

/* Mostly an address in memory, sometimes its end, sometimes anything. */
static uint64_t take_addr(struct input *in)
{
	unsigned int how = take(in, 1);

	if (how < 160)
		return HOST_IOVA + (how % 16) * MACHINE_PAGE;
	if (how < 220)
		return HOST_IOVA + take(in, 2);
	if (how < 240)
		return HOST_IOVA + HOST_MEM - take(in, 2);
	return take(in, 8);
}

static void put_command(struct host *h, struct input *in)
{
	static const uint8_t ops[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x18};
	unsigned int qid = take(in, 1) % 3, how = take(in, 1);
	struct nvme_cmd cmd = {.opcode = how < 250 ? ops[how % sizeof(ops)] : take(in, 1)};

	cmd.flags = take(in, 1) & (how & 1 ? 0x40 : 0xc3);
	cmd.nsid = how & 2 ? 1 : take(in, 4);
	cmd.dptr[0] = take_addr(in);
	cmd.dptr[1] = cmd.flags & 0x40 ? (uint64_t)take(in, 1) << 60 | take(in, 3) : take_addr(in);
	cmd.cdw10 = take(in, 4);
	cmd.cdw11 = how & 4 ? 0 : take(in, 4);
	cmd.cdw12 = take(in, 4);
	cmd.cdw13 = how & 8 ? 0 : take(in, 4);
	if (!h->q[qid].sq_size)
		return;
	host_put(h, qid, &cmd);
	host_ring(h, qid);
}

static void step(struct host *h, struct input *in)
{
	unsigned int op = take(in, 1) % 16, len;
	uint64_t off, v;

	switch (op) {
	case 0: /* any access anywhere in the BAR */
		len = 1 << take(in, 1) % 4;
		off = take(in, 2) % (0x4000 - len + 1);
		pci_bar_write(h->m.f, 0, off, len, take(in, 8));
		pci_bar_read(h->m.f, 0, off, len, &v);
		break;
	case 1:
		pci_bar_write(h->m.f, 0, NVME_REG_CC, 4, take(in, 4));
		break;
	case 2:
	case 3:
		pci_bar_write(h->m.f, 0, NVME_REG_DOORBELLS + take(in, 1) % 12 * 4, 4, take(in, 2));
		break;
	case 4: /* bytes of lists and segments */
		off = take(in, 2);
		for (len = take(in, 1); len; len--)
			h->m.mem[off++ % HOST_MEM] = take(in, 1);
		break;
	case 5: /* an address, as lists hold them */
		off = take(in, 2) & ~7UL;
		v = take_addr(in);
		memcpy(h->m.mem + off, &v, 8);
		break;
	case 6:
		if (take(in, 1) < 16)
			pci_func_reset(h->m.f);
		/* Decode stays on, or the rest of the input would find nobody. */
		pci_cfg_write(h->m.f, PCI_COMMAND, 2, take(in, 2) | PCI_COMMAND_MEMORY);
		break;
	case 7:
		host_run(h, take(in, 1) % 8);
		break;
	default:
		put_command(h, in);
	}
}

/* Hosts are kept: making memory, files and rings for every input would take most of the time. */
static struct host *host_get(unsigned int i)
{
	static const char *const options[] = {"size=64K", "size=64K,aio=threads,queues=3,mdts=2",
					      "size=64K,readonly=on"};
	static struct host hosts[ARRAY_SIZE(options)];
	struct host *h = &hosts[i];
	char path[64];
	int fd;

	if (!h->m.loop) {
		fd = memfd_create("fuzz", 0);
		CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
		/* Named by its descriptor, so that nothing is left behind. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		host_open_path(h, path, options[i]);
	}
	pci_func_reset(h->m.f);
	pci_cfg_write(h->m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	memset(h->m.mem, 0, 32 * MACHINE_PAGE);
	memset(h->q, 0, sizeof(h->q));
	h->next = HOST_IOVA + 16 * MACHINE_PAGE;
	h->cid = 0;
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned int how = take(&in, 1);
	struct host *h = host_get(how % 3);

	if (how < 250) {
		host_enable(h, 8, 0);
		host_io_queue(h, 1, 8);
		host_io_queue(h, 2, 4);
	}
	for (unsigned int i = 0; in.n && i < 200; i++) {
		uint64_t v;

		step(h, &in);
		/* Consume as a driver would, now and then. */
		if (i % 4 == 3 && pci_bar_read(h->m.f, 0, NVME_REG_CSTS, 4, &v) == 0 && v == NVME_CSTS_RDY)
			for (unsigned int q = 0; q < 3; q++)
				for (struct nvme_cqe cqe; h->q[q].cq_size && host_poll(h, q, &cqe);)
					;
	}
	/* What the kernel alone points to would pass for a leak. */
	pci_func_reset(h->m.f);
	while (block_inflight(container_of(h->m.f, struct nvme, f)->ns[0].blk))
		loop_step(h->m.loop, true);
	return 0;
}
