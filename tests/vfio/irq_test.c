/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts. The table of answers was taken from a real Linux 6.12. */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "proto/channel.h"
#include "vfio/eventfd.h"

#define NONE	VFIO_IRQ_SET_DATA_NONE
#define BOOL	VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD
#define MASK	VFIO_IRQ_SET_ACTION_MASK
#define UNMASK	VFIO_IRQ_SET_ACTION_UNMASK
#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER

enum { INTX, MSI, MSIX, ERR, REQ };

static long set(struct fake *k, struct ufile *dev, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
		const void *data, size_t len)
{
	struct vfio_irq_set *h = malloc(sizeof(*h) + len);
	long ret;

	*h = (struct vfio_irq_set){
	    .argsz = sizeof(*h) + len, .flags = flags, .index = index, .start = start, .count = count};
	if (len)
		memcpy(h->data, data, len);
	ret = DO(dev, VFIO_DEVICE_SET_IRQS, h);
	free(h);
	return ret;
}

/* What an eventfd has counted since it was last asked. */
static uint64_t count(int efd)
{
	eventfd_t v;

	return eventfd_read(efd, &v) ? 0 : v;
}

static int new_efd(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void master_on(struct fake *k)
{
	pci_cfg_write(&k->toy[0]->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void get_info(void **state)
{
	static const struct {
		uint32_t flags, count;
	} want[5] = {{7, 1}, {9, 0}, {1, TOY_VECTORS}, {9, 1}, {9, 1}};
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct vfio_irq_info i;
	unsigned int n;

	for (n = 0; n < 7; n++) {
		i = (struct vfio_irq_info){.argsz = sizeof(i), .index = n};
		assert_int_equal(DO(s.device, VFIO_DEVICE_GET_IRQ_INFO, &i), n < 5 ? 0 : -EINVAL);
		if (n < 5) {
			assert_int_equal(i.flags, want[n].flags);
			assert_int_equal(i.count, want[n].count);
		}
	}
	i = (struct vfio_irq_info){.argsz = sizeof(i) - 1};
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_IRQ_INFO, &i), -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_IRQ_INFO, k->hole), -EFAULT);
	fake_session_close(k, &s);
}

/* A sequence of calls and what the kernel answers to each. */
static void answers(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int e = new_efd(), null = open("/dev/null", O_RDWR), m1 = -1, m2 = -2;
	int fds[8] = {e, e, -1, e, e, e, e, e}, bad[3] = {e, 9999, e};
	const struct {
		uint32_t flags, index, start, count;
		const void *data;
		size_t len;
		long want;
	} t[] = {
	    {EVENTFD | TRIGGER, MSIX, 0, 0, NULL, 0, -ERANGE},
	    {EVENTFD | TRIGGER, MSIX, 1, 0, NULL, 0, 0},
	    {EVENTFD | TRIGGER, MSIX, 0, 3, bad, 12, -EBADF},
	    {EVENTFD | TRIGGER, MSIX, 0, 1, &null, 4, -EINVAL},
	    {NONE | TRIGGER, MSIX, 0, 0, NULL, 0, 0},
	    {NONE | TRIGGER, MSIX, 0, 1, NULL, 0, -EINVAL},
	    {BOOL | TRIGGER, MSIX, 0, 1, "\1", 1, -EINVAL},
	    {EVENTFD | TRIGGER, MSIX, 0, 3, bad, 12, -EBADF},
	    {NONE | TRIGGER, MSIX, 0, 1, NULL, 0, -EINVAL}, /* still off */
	    {EVENTFD | TRIGGER, MSIX, 0, 3, fds, 12, 0},
	    {EVENTFD | TRIGGER, MSIX, 5, 2, fds, 8, 0},
	    {NONE | TRIGGER, MSIX, 0, 1, NULL, 0, 0},
	    {EVENTFD | TRIGGER, INTX, 0, 1, fds, 4, -EINVAL},
	    {EVENTFD | TRIGGER, MSI, 0, 1, fds, 4, -EINVAL},
	    {NONE | MASK, MSIX, 0, 1, NULL, 0, -ENOTTY},
	    {NONE | UNMASK, MSIX, 0, 1, NULL, 0, -ENOTTY},
	    {NONE | MASK | TRIGGER, MSIX, 0, 1, NULL, 0, -ENOTTY},
	    {EVENTFD | TRIGGER | 0x40, MSIX, 0, 1, fds, 4, -EINVAL},
	    {EVENTFD, MSIX, 0, 1, fds, 4, -ENOTTY},
	    {EVENTFD | NONE | TRIGGER, MSIX, 0, 1, fds, 4, -EINVAL},
	    {TRIGGER, MSIX, 0, 1, fds, 4, -EINVAL},
	    {EVENTFD | TRIGGER, MSIX, 0, 3, fds, 11, -EINVAL},
	    {EVENTFD | TRIGGER, MSIX, TOY_VECTORS - 1, 2, fds, 8, -EINVAL},
	    {EVENTFD | TRIGGER, MSIX, TOY_VECTORS, 0, NULL, 0, -EINVAL},
	    {EVENTFD | TRIGGER, MSIX, 1, UINT32_MAX, fds, 8, -EINVAL},
	    {NONE | TRIGGER, MSIX, 0, 0, NULL, 0, 0},
	    {NONE | TRIGGER, MSIX, 0, 0, NULL, 0, -EINVAL},
	    {EVENTFD | TRIGGER, ERR, 0, 1, fds, 4, 0},
	    {NONE | TRIGGER, ERR, 0, 0, NULL, 0, 0},
	    {NONE | TRIGGER, ERR, 0, 0, NULL, 0, -EINVAL},
	    {EVENTFD | TRIGGER, REQ, 0, 1, fds, 4, 0},
	    {EVENTFD | TRIGGER, REQ, 0, 1, fds, 4, 0},
	    {EVENTFD | TRIGGER, REQ, 0, 1, &m2, 4, -EINVAL},
	    {EVENTFD | TRIGGER, REQ, 0, 1, &m1, 4, 0},
	    {NONE | TRIGGER, REQ, 0, 1, NULL, 0, -EINVAL},
	    {EVENTFD | TRIGGER, REQ, 0, 1, &null, 4, -EINVAL},
	    {EVENTFD | TRIGGER, REQ, 0, 0, NULL, 0, -EINVAL},
	    {BOOL | TRIGGER, REQ, 0, 1, "\1", 1, 0},
	    {BOOL | TRIGGER, REQ, 0, 0, NULL, 0, -EINVAL},
	    {NONE | UNMASK, REQ, 0, 1, NULL, 0, -ENOTTY},
	    {EVENTFD | TRIGGER, REQ, 1, 0, NULL, 0, -EINVAL},
	    {NONE | TRIGGER, 5, 0, 1, NULL, 0, -EINVAL},
	    {NONE | UNMASK, INTX, 0, 1, NULL, 0, -EINVAL},
	    {NONE | TRIGGER, INTX, 0, 1, NULL, 0, -EINVAL},
	    {EVENTFD | TRIGGER, INTX, 0, 1, &null, 4, -EINVAL},
	    {EVENTFD | TRIGGER, INTX, 0, 1, fds, 4, 0},
	    {NONE | TRIGGER, INTX, 0, 1, NULL, 0, 0},
	    {NONE | MASK, INTX, 0, 1, NULL, 0, 0},
	    {BOOL | UNMASK, INTX, 0, 1, "\1", 1, 0},
	    {EVENTFD | MASK, INTX, 0, 1, fds, 4, -ENOTTY},
	    {EVENTFD | TRIGGER, MSIX, 0, 1, fds, 4, -EINVAL},
	    {NONE | TRIGGER, INTX, 0, 0, NULL, 0, 0},
	    {EVENTFD | TRIGGER, MSIX, 0, 1, fds, 4, 0},
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		long got = set(k, s.device, t[i].flags, t[i].index, t[i].start, t[i].count, t[i].data, t[i].len);

		if (got != t[i].want)
			print_error("step %u\n", i);
		assert_int_equal(got, t[i].want);
	}
	assert_int_equal(DO(s.device, VFIO_DEVICE_SET_IRQS, k->hole), -EFAULT);
	fake_session_close(k, &s);
	close(e);
	close(null);
}

static void short_struct(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct vfio_irq_set h = {.argsz = sizeof(h) - 1, .flags = NONE | TRIGGER, .index = MSIX};

	assert_int_equal(DO(s.device, VFIO_DEVICE_SET_IRQS, &h), -EINVAL);
	fake_session_close(k, &s);
}

static void msix_delivery(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_func *f = &k->toy[0]->f;
	int e[3] = {new_efd(), new_efd(), -1}, one;

	pci_msix_raise(f, 0);
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 3, e, 12), 0);
	assert_true(pci_cfg_read(f, f->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE);
	master_on(k);
	pci_msix_raise(f, 0);
	pci_msix_raise(f, 0);
	pci_msix_raise(f, 1);
	assert_int_equal(count(e[0]), 2);
	assert_int_equal(count(e[1]), 1);
	/* A vector without an eventfd keeps what it raised until it has one. */
	pci_msix_raise(f, 2);
	one = new_efd();
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 2, 1, &one, 4), 0);
	assert_int_equal(count(one), 1);
	/* Another eventfd for the same vector. */
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 1, &one, 4), 0);
	pci_msix_raise(f, 0);
	assert_int_equal(count(one), 1);
	assert_int_equal(count(e[0]), 0);
	/* Taken away and given back: what came in between is not lost. */
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 1, 1, &e[2], 4), 0);
	pci_msix_raise(f, 1);
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 1, 1, &e[1], 4), 0);
	assert_int_equal(count(e[1]), 1);
	/* Loopback. */
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSIX, 0, 3, NULL, 0), 0);
	assert_int_equal(count(one), 2);
	assert_int_equal(count(e[1]), 1);
	assert_int_equal(set(k, s.device, BOOL | TRIGGER, MSIX, 0, 3, "\0\1\0", 3), 0);
	assert_int_equal(count(one), 0);
	assert_int_equal(count(e[1]), 1);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSIX, 0, 0, NULL, 0), 0);
	assert_false(pci_cfg_read(f, f->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE);
	pci_msix_raise(f, 1);
	assert_int_equal(count(e[1]), 0);
	fake_session_close(k, &s);
	close(e[0]);
	close(e[1]);
	close(one);
}

/* The vectors up to the bad descriptor end up without an eventfd, those behind it keep theirs. */
static void bad_descriptor_in_a_block(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int e[3] = {new_efd(), new_efd(), new_efd()}, bad[3] = {e[0], 9999, e[2]};
	unsigned int v;

	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 3, e, 12), 0);
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 3, bad, 12), -EBADF);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSIX, 0, 3, NULL, 0), 0);
	for (v = 0; v < 3; v++) {
		assert_int_equal(count(e[v]), v == 2);
		close(e[v]);
	}
	fake_session_close(k, &s);
}

static void msix_survives_reset(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int e[2] = {new_efd(), -1};

	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 2, e, 8), 0);
	master_on(k);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	pci_msix_raise(&k->toy[0]->f, 0);
	assert_int_equal(count(e[0]), 1);
	fake_session_close(k, &s);
	pci_msix_raise(&k->toy[0]->f, 0);
	assert_int_equal(count(e[0]), 0);
	close(e[0]);
}

/* An eventfd that blocks and is full to the brim: a write(2) to it would wait for its owner. */
static void rule_full_eventfd_delays_nobody(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int e = eventfd(0, EFD_CLOEXEC), i;

	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 1, &e, 4), 0);
	master_on(k);
	assert_int_equal(eventfd_write(e, UINT64_MAX - 1), 0);
	for (i = 0; i < 1000; i++)
		pci_msix_raise(&k->toy[0]->f, 0);
	assert_true(count(e) >= UINT64_MAX - 1);
	pci_msix_raise(&k->toy[0]->f, 0);
	assert_int_equal(count(e), 1);
	fake_session_close(k, &s);
	close(e);
}

/* Where the kernel has no AIO for us: the same, as long as nobody fills the counter between a look and a write. */
static void ringing_without_aio(void **state)
{
	struct eventfd_ringer r;
	int e = eventfd(0, EFD_CLOEXEC), pipefd[2];

	eventfd_ringer_init(&r);
	r.tried = true;
	eventfd_ring(&r, e);
	eventfd_ring(&r, e);
	assert_int_equal(count(e), 2);
	assert_int_equal(eventfd_write(e, UINT64_MAX - 1), 0);
	eventfd_ring(&r, e);
	assert_int_equal(count(e), UINT64_MAX - 1);
	eventfd_ringer_fini(&r);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(eventfd_check(e), 0);
	assert_int_equal(eventfd_check(pipefd[1]), -EINVAL);
	close(pipefd[0]);
	close(pipefd[1]);
	close(e);
}

static void single_events(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int e = new_efd();

	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, REQ, 0, 1, &e, 4), 0);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, REQ, 0, 1, NULL, 0), 0);
	assert_int_equal(set(k, s.device, BOOL | TRIGGER, REQ, 0, 1, "\1", 1), 0);
	assert_int_equal(set(k, s.device, BOOL | TRIGGER, REQ, 0, 1, "\0", 1), 0);
	assert_int_equal(count(e), 2);
	/* Closing with one set, and with one for errors, must close them. */
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, ERR, 0, 1, &e, 4), 0);
	fake_session_close(k, &s);
	close(e);
}

static void turn(struct loop *l)
{
	while (loop_step(l, false))
		;
}

static void intx(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_irq_sink *sink = k->toy[0]->f.sink;
	int e = new_efd(), um = new_efd(), m1 = -1;
	uint16_t off = PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY, on = PCI_COMMAND_MEMORY;
	struct loop *l = loop_new();

	vfio_set_loop(k->v, l);
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, INTX, 0, 1, &e, 4), 0);
	sink->intx(sink, true);
	assert_int_equal(count(e), 1);
	sink->intx(sink, true); /* masked until the client has served it */
	assert_int_equal(count(e), 0);
	assert_int_equal(set(k, s.device, NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(count(e), 1); /* still asserted */
	sink->intx(sink, false);
	assert_int_equal(set(k, s.device, NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(count(e), 0);
	/* By an eventfd. */
	sink->intx(sink, true);
	assert_int_equal(count(e), 1);
	assert_int_equal(set(k, s.device, EVENTFD | UNMASK, INTX, 0, 1, &um, 4), 0);
	assert_int_equal(set(k, s.device, EVENTFD | UNMASK, INTX, 0, 1, &um, 4), -EBUSY);
	eventfd_write(um, 1);
	turn(l);
	assert_int_equal(count(e), 1);
	assert_int_equal(count(um), 0); /* the signal was consumed */
	assert_int_equal(set(k, s.device, EVENTFD | UNMASK, INTX, 0, 1, &m1, 4), 0);
	eventfd_write(um, 1);
	turn(l);
	assert_int_equal(count(e), 0);
	/* COMMAND.INTX_DISABLE. */
	assert_int_equal(s.device->ops->pwrite(s.device, &off, 2, 7ull << 40 | PCI_COMMAND), 2);
	assert_int_equal(set(k, s.device, NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(count(e), 0);
	assert_int_equal(s.device->ops->pwrite(s.device, &on, 2, 7ull << 40 | PCI_COMMAND), 2);
	assert_int_equal(count(e), 1);
	/* Closed with an unmask eventfd registered. */
	assert_int_equal(set(k, s.device, EVENTFD | UNMASK, INTX, 0, 1, &um, 4), 0);
	fake_session_close(k, &s);
	vfio_set_loop(k->v, NULL);
	loop_free(l);
	close(e);
	close(um);
}

/* All inputs of a block are asked for at once: three rounds (header, data, descriptors), not one per vector. */
static void restartable(void **state)
{
	struct fake *k = *state;
	int e[TOY_VECTORS], i;
	struct session s;

	k->again = true;
	for (i = 0; i < TOY_VECTORS; i++)
		e[i] = new_efd();
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, TOY_VECTORS, e, sizeof(e)), 0);
	assert_int_equal(k->rounds, 4);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSIX, 0, TOY_VECTORS, NULL, 0), 0);
	for (i = 0; i < TOY_VECTORS; i++) {
		assert_int_equal(count(e[i]), 1);
		close(e[i]);
	}
	fake_session_close(k, &s);
	get_info(state);
	answers(state);
	msix_delivery(state);
	bad_descriptor_in_a_block(state);
	intx(state);
}

/* MSI: the same calls, fewer promises. The function has it beside MSI-X. */
static void msi(void **state)
{
	struct fake *k = *state;
	struct pci_func *f = &k->toy[0]->f;
	uint64_t config = REGION_OFFSET_MAGIC | (uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40;
	int efd[4], minus[4] = {-1, -1, -1, -1}, bad[2];
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = MSI};
	struct session s;
	uint16_t flags;
	uint32_t mask;

	assert_int_equal(pci_add_msi(f, 3), -EINVAL);
	assert_int_equal(pci_add_msi(f, 64), -EINVAL);
	assert_int_equal(pci_add_msi(f, 4), 0);
	assert_int_equal(pci_add_msi(f, 4), -EINVAL);
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	master_on(k);
	for (int i = 0; i < 4; i++)
		efd[i] = new_efd();
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_IRQ_INFO, &info), 0);
	assert_int_equal(info.flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
	assert_int_equal(info.count, 4);

	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSI, 0, 5, efd, 16), -EINVAL);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSI, 0, 1, NULL, 0), -EINVAL);
	assert_int_equal(set(k, s.device, NONE | MASK, MSI, 0, 1, NULL, 0), -ENOTTY);
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSI, 0, 0, NULL, 0), -ERANGE);
	bad[0] = efd[0];
	bad[1] = 999;
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSI, 0, 2, bad, 8), -EBADF);
	assert_false(pci_msi_enabled(f));
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSI, 0, 3, efd, 12), 0);
	assert_true(pci_msi_enabled(f));
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 1, efd, 4), -EINVAL); /* one kind at a time */
	for (unsigned int i = 0; i < 4; i++)
		pci_msi_raise(f, i);
	assert_int_equal(count(efd[0]), 1);
	assert_int_equal(count(efd[1]), 1);
	assert_int_equal(count(efd[2]), 1);
	assert_int_equal(count(efd[3]), 0); /* three are four, one of them heard by nobody */
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSI, 1, 2, NULL, 0), 0);
	assert_int_equal(count(efd[1]) + count(efd[2]), 2);

	/* The client's own mask holds it back; what pends is seen, and comes when it may. */
	mask = 1;
	assert_int_equal(s.device->ops->pwrite(s.device, &mask, 4, config + f->msi_cap + PCI_MSI_MASK_64), 4);
	pci_msi_raise(f, 0);
	assert_int_equal(count(efd[0]), 0);
	assert_int_equal(s.device->ops->pread(s.device, &mask, 4, config + f->msi_cap + PCI_MSI_PENDING_64), 4);
	assert_int_equal(mask, 1);
	mask = 0;
	assert_int_equal(s.device->ops->pwrite(s.device, &mask, 4, config + f->msi_cap + PCI_MSI_MASK_64), 4);
	assert_int_equal(count(efd[0]), 1);

	/* It may switch MSI off and on, and ask for no more vectors than there are. */
	flags = PCI_MSI_FLAGS_ENABLE | 5 << 4;
	assert_int_equal(s.device->ops->pwrite(s.device, &flags, 2, config + f->msi_cap + PCI_MSI_FLAGS), 2);
	assert_int_equal(s.device->ops->pread(s.device, &flags, 2, config + f->msi_cap + PCI_MSI_FLAGS), 2);
	assert_int_equal(flags & (PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE), PCI_MSI_FLAGS_ENABLE | 2 << 4);
	flags = 0;
	assert_int_equal(s.device->ops->pwrite(s.device, &flags, 2, config + f->msi_cap + PCI_MSI_FLAGS), 2);
	pci_msi_raise(f, 0);
	assert_int_equal(count(efd[0]), 0);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	pci_msi_raise(f, 0);
	assert_int_equal(count(efd[0]), 1); /* a reset restores what SET_IRQS has set up */

	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSI, 0, 4, minus, 16), 0);
	pci_msi_raise(f, 1);
	assert_int_equal(count(efd[1]), 0);
	assert_int_equal(set(k, s.device, NONE | TRIGGER, MSI, 0, 0, NULL, 0), 0);
	assert_false(pci_msi_enabled(f));
	flags = PCI_MSI_FLAGS_ENABLE;
	assert_int_equal(s.device->ops->pwrite(s.device, &flags, 2, config + f->msi_cap + PCI_MSI_FLAGS), 2);
	assert_false(pci_msi_enabled(f)); /* not without SET_IRQS */
	assert_int_equal(set(k, s.device, EVENTFD | TRIGGER, MSIX, 0, 1, efd, 4), 0);
	fake_session_close(k, &s);
	for (int i = 0; i < 4; i++)
		close(efd[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(msi),
	    T(get_info),
	    T(answers),
	    T(short_struct),
	    T(msix_delivery),
	    T(bad_descriptor_in_a_block),
	    T(msix_survives_reset),
	    T(rule_full_eventfd_delays_nobody),
	    T(ringing_without_aio),
	    T(single_events),
	    T(intx),
	    T(restartable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
