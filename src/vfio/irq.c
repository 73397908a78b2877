/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts: from the function to clients' eventfds, and SET_IRQS. Answers follow Linux 6.12
 * drivers/vfio/pci/vfio_pci_intrs.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "vfio/internal.h"

static inline struct vfio_dev *to_dev(struct ufile *f)
{
	return container_of(f, struct device_file, file)->dev;
}

static void close_trigger(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void ring(struct vfio_dev *d, int fd)
{
	if (fd >= 0)
		eventfd_ring(&d->v->ringer, fd);
}

/* How often it is looked whether anybody reads an eventfd, and how much unread is too much. */
#define STORM_LOOK 509
#define STORM	   5000

static void storm_emit(struct vfio_dev *d, unsigned int v, uint64_t n, const char *what)
{
	event_emit(d->f->evs, EVENT_STORM, .who = (uint32_t)d->f->domain << 16 | d->f->bdf, .value = v, .len = n,
		   .name = what);
}

static void ring_vector(struct vfio_dev *d, unsigned int v)
{
	int fd = d->msix[v];
	uint64_t n;

	ring(d, fd);
	if (likely(!event_wanted(d->f->evs, EVENT_STORM)) || ++d->rung % STORM_LOOK || fd < 0)
		return;
	n = eventfd_unread(fd);
	if (n >= STORM)
		storm_emit(d, v, n, "and nobody has read the eventfd");
}

/* ---- MSI-X and MSI: one of them at a time, and one array of eventfds for both ---- */

static unsigned int vector_count(const struct vfio_dev *d, unsigned int index)
{
	return index == VFIO_PCI_MSIX_IRQ_INDEX ? d->f->msix_n : d->f->msi_n;
}

/* Takes over fd (or -1). An MSI-X vector without an eventfd is masked, so that what it raises stays pending. */
static void vector_set_trigger(struct vfio_dev *d, unsigned int v, int fd)
{
	bool msix = d->irq_type == VFIO_PCI_MSIX_IRQ_INDEX;

	if (msix && d->msix[v] >= 0)
		pci_msix_set_entry_masked(d->f, v, true);
	close_trigger(&d->msix[v]);
	d->msix[v] = fd;
	if (msix && fd >= 0)
		pci_msix_set_entry_masked(d->f, v, false);
}

/* n: how many vectors of MSI are wanted. Those of MSI-X can be added one by one. */
static void vectors_enable(struct vfio_dev *d, unsigned int index, unsigned int n)
{
	d->irq_type = index;
	if (index == VFIO_PCI_MSIX_IRQ_INDEX) {
		pci_msix_enable(d->f, true); /* with every vector masked */
		return;
	}
	for (d->msi_used = 1; d->msi_used < n; d->msi_used *= 2)
		;
	pci_msi_enable(d->f, d->msi_used);
}

static void vectors_disable(struct vfio_dev *d)
{
	unsigned int v, n = vector_count(d, d->irq_type);

	for (v = 0; v < n; v++)
		vector_set_trigger(d, v, -1);
	if (d->irq_type == VFIO_PCI_MSIX_IRQ_INDEX)
		pci_msix_enable(d->f, false);
	else
		pci_msi_enable(d->f, 0);
	d->irq_type = IRQ_TYPE_NONE;
}

static void msix_fired(struct pci_irq_sink *s, unsigned int v)
{
	struct vfio_dev *d = container_of(s, struct vfio_dev, sink);

	if (d->irq_type == VFIO_PCI_MSIX_IRQ_INDEX && v < d->f->msix_n)
		ring_vector(d, v);
}

static void msi_fired(struct pci_irq_sink *s, unsigned int v)
{
	struct vfio_dev *d = container_of(s, struct vfio_dev, sink);

	if (d->irq_type == VFIO_PCI_MSI_IRQ_INDEX && v < d->f->msi_n)
		ring_vector(d, v);
}

static uint64_t vector_unread(struct pci_irq_sink *s, unsigned int v)
{
	struct vfio_dev *d = container_of(s, struct vfio_dev, sink);
	bool used = d->irq_type == VFIO_PCI_MSIX_IRQ_INDEX || d->irq_type == VFIO_PCI_MSI_IRQ_INDEX;

	return used && v < vector_count(d, d->irq_type) && d->msix[v] >= 0 ? eventfd_unread(d->msix[v]) : 0;
}

/* ---- INTx: level triggered, masked by the host until the client has served it ---- */

static void intx_signal(struct vfio_dev *d)
{
	if (d->irq_type == VFIO_PCI_INTX_IRQ_INDEX && !d->intx_disabled)
		ring(d, d->intx.trigger);
}

/* A level that stays, however often it is unmasked, and meanwhile nobody touches a register: it is not being served. */
static void intx_again(struct vfio_dev *d)
{
	if (d->intx.accesses != d->f->accesses)
		d->intx.again = 0;
	d->intx.accesses = d->f->accesses;
	if (++d->intx.again == STORM)
		storm_emit(d, 0, STORM, "unmasked each time without looking at the device");
}

static void intx_deliver(struct vfio_dev *d)
{
	if (d->irq_type != VFIO_PCI_INTX_IRQ_INDEX || d->intx.masked || !d->intx.level)
		return;
	d->intx.masked = true;
	intx_again(d);
	intx_signal(d);
}

static void intx_unmask(struct vfio_dev *d)
{
	if (d->intx_disabled)
		return;
	d->intx.masked = false;
	intx_deliver(d);
}

static void intx_changed(struct pci_irq_sink *s, bool level)
{
	struct vfio_dev *d = container_of(s, struct vfio_dev, sink);

	d->intx.level = level;
	d->intx.again = 0;
	intx_deliver(d);
}

bool irq_intx_mask(struct vfio_dev *d)
{
	bool was = d->irq_type == VFIO_PCI_INTX_IRQ_INDEX && !d->intx.masked;

	if (was)
		d->intx.masked = true;
	return was;
}

void irq_intx_unmask(struct vfio_dev *d)
{
	intx_unmask(d);
}

void irq_intx_disable_changed(struct vfio_dev *d, bool disabled)
{
	d->intx_disabled = disabled;
	if (disabled)
		d->intx.masked = true;
	else
		intx_unmask(d);
}

struct intx_unmasker {
	struct eventfd_listener l;
	struct vfio_dev *d;
};

static void unmask_fired(struct eventfd_listener *l)
{
	intx_unmask(container_of(l, struct intx_unmasker, l)->d);
}

static void intx_forget_unmasker(struct vfio_dev *d)
{
	if (!d->intx.unmask)
		return;
	eventfd_unlisten(d->intx.unmask);
	free(container_of(d->intx.unmask, struct intx_unmasker, l));
	d->intx.unmask = NULL;
}

/* Takes over fd. */
static int intx_listen(struct vfio_dev *d, int fd)
{
	struct intx_unmasker *u;
	int ret = eventfd_check(fd);

	if (!ret && d->intx.unmask)
		ret = -EBUSY;
	if (!ret && !d->v->loop)
		ret = -ENODEV;
	u = ret ? NULL : mem_alloc(sizeof(*u));
	if (!ret && !u)
		ret = -ENOMEM;
	if (!ret) {
		u->d = d;
		ret = eventfd_listen(&u->l, d->v->loop, fd, unmask_fired);
	}
	if (ret) {
		free(u);
		close(fd);
		return ret;
	}
	d->intx.unmask = &u->l;
	return 0;
}

static void intx_enable(struct vfio_dev *d, int fd)
{
	d->intx.trigger = fd;
	d->intx.masked = d->intx_disabled;
	d->irq_type = VFIO_PCI_INTX_IRQ_INDEX;
	intx_deliver(d);
}

static void intx_disable(struct vfio_dev *d)
{
	intx_forget_unmasker(d);
	close_trigger(&d->intx.trigger);
	d->irq_type = IRQ_TYPE_NONE;
}

/* ---- life ---- */

void irq_init(struct vfio_dev *d)
{
	unsigned int v;

	d->sink =
	    (struct pci_irq_sink){.msix = msix_fired, .intx = intx_changed, .msi = msi_fired, .unread = vector_unread};
	d->irq_type = IRQ_TYPE_NONE;
	for (v = 0; v < MAX(d->f->msix_n, d->f->msi_n); v++)
		d->msix[v] = -1;
	d->msi_used = 0;
	d->intx = (struct intx){.trigger = -1, .level = d->f->intx_level};
	d->intx_disabled = false;
	d->err_trigger = d->req_trigger = -1;
}

void irq_shutdown(struct vfio_dev *d)
{
	if (d->irq_type == VFIO_PCI_MSIX_IRQ_INDEX || d->irq_type == VFIO_PCI_MSI_IRQ_INDEX)
		vectors_disable(d);
	else if (d->irq_type == VFIO_PCI_INTX_IRQ_INDEX)
		intx_disable(d);
	close_trigger(&d->err_trigger);
	close_trigger(&d->req_trigger);
	d->intx_disabled = false;
	event_emit(d->f->evs, EVENT_IRQS, .who = d->f->bdf, .flags = EVENT_END);
}

void irq_request(struct vfio_dev *d)
{
	ring(d, d->req_trigger);
}

void irq_error(struct vfio_dev *d)
{
	ring(d, d->err_trigger);
}

void irq_restore(struct vfio_dev *d)
{
	unsigned int v;

	if (d->irq_type == VFIO_PCI_MSI_IRQ_INDEX)
		pci_msi_enable(d->f, d->msi_used);
	if (d->irq_type != VFIO_PCI_MSIX_IRQ_INDEX)
		return;
	vectors_enable(d, d->irq_type, d->msi_used);
	for (v = 0; v < d->f->msix_n; v++)
		if (d->msix[v] >= 0)
			pci_msix_set_entry_masked(d->f, v, false);
}

/* ---- GET_IRQ_INFO ---- */

unsigned int irq_count(const struct vfio_dev *d, unsigned int index)
{
	switch (index) {
	case VFIO_PCI_INTX_IRQ_INDEX:
		return d->cfg.shadow[PCI_INTERRUPT_PIN] ? 1 : 0;
	case VFIO_PCI_MSI_IRQ_INDEX:
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return vector_count(d, index);
	case VFIO_PCI_ERR_IRQ_INDEX:
		return d->f->exp_cap ? 1 : 0;
	case VFIO_PCI_REQ_IRQ_INDEX:
		return 1;
	default:
		return 0;
	}
}

long irq_get_info(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_dev *d = to_dev(f);
	struct vfio_irq_info info;
	int ret;

	ret = ucall_copy_in(c, arg, &info, sizeof(info));
	if (ret)
		return ret;
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	if (info.index == VFIO_PCI_ERR_IRQ_INDEX && !d->f->exp_cap)
		return -EINVAL;
	info.count = irq_count(d, info.index);
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	if (info.index == VFIO_PCI_INTX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else if (info.index != VFIO_PCI_MSIX_IRQ_INDEX) /* MSI-X vectors may be added one by one */
		info.flags |= VFIO_IRQ_INFO_NORESIZE;
	return ucall_copy_out(c, arg, &info, sizeof(info));
}

/* ---- SET_IRQS ---- */

/* A request, complete: nothing more is asked of the client while it is carried out. */
struct request {
	uint32_t index, start, count, data, action; /* data, action: one flag each, action possibly none or several */
	union {
		uint8_t bools[PCI_MSIX_MAX];
		int32_t fds[PCI_MSIX_MAX]; /* the client's numbers */
	};
	int fd[PCI_MSIX_MAX]; /* DATA_EVENTFD: ours, -1 where the client's is negative */
	unsigned int nfd;     /* how many of fd are good; less than count: the next one failed */
	int error;	      /* why */
};

static bool wants(const struct request *r, unsigned int i)
{
	return r->data == VFIO_IRQ_SET_DATA_NONE || (r->data == VFIO_IRQ_SET_DATA_BOOL && r->bools[i]);
}

/* The one descriptor of a request whose count is 1; the caller owns it. */
static int take_fd(struct request *r, int *fd)
{
	if (r->nfd < 1)
		return r->error;
	*fd = r->fd[0];
	r->fd[0] = -1;
	return 0;
}

static long intx_trigger(struct vfio_dev *d, struct request *r)
{
	bool mine = d->irq_type == VFIO_PCI_INTX_IRQ_INDEX;
	int fd = -1, ret;

	if (mine && !r->count && r->data == VFIO_IRQ_SET_DATA_NONE) {
		intx_disable(d);
		return 0;
	}
	if ((!mine && d->irq_type != IRQ_TYPE_NONE) || r->start || r->count != 1)
		return -EINVAL;
	if (r->data == VFIO_IRQ_SET_DATA_EVENTFD) {
		ret = take_fd(r, &fd);
		if (ret)
			return ret;
		if (mine) {
			close_trigger(&d->intx.trigger);
			d->intx.trigger = fd;
		} else {
			intx_enable(d, fd);
		}
		return 0;
	}
	if (!mine)
		return -EINVAL;
	if (wants(r, 0))
		intx_signal(d);
	return 0;
}

static long intx_set_mask(struct vfio_dev *d, struct request *r)
{
	if (d->irq_type != VFIO_PCI_INTX_IRQ_INDEX || r->start || r->count != 1)
		return -EINVAL;
	if (r->data == VFIO_IRQ_SET_DATA_EVENTFD)
		return -ENOTTY;
	if (wants(r, 0))
		d->intx.masked = true;
	return 0;
}

static long intx_set_unmask(struct vfio_dev *d, struct request *r)
{
	int fd = -1, ret;

	if (d->irq_type != VFIO_PCI_INTX_IRQ_INDEX || r->start || r->count != 1)
		return -EINVAL;
	if (r->data != VFIO_IRQ_SET_DATA_EVENTFD) {
		if (wants(r, 0))
			intx_unmask(d);
		return 0;
	}
	ret = take_fd(r, &fd);
	if (ret)
		return ret;
	if (fd >= 0)
		return intx_listen(d, fd);
	intx_forget_unmasker(d);
	return 0;
}

/* On a bad descriptor the vectors up to and including its own end up without one, and MSI-X off if this turned it on.
 */
static long vectors_set_eventfds(struct vfio_dev *d, struct request *r)
{
	bool fresh = d->irq_type == IRQ_TYPE_NONE;
	unsigned int i;

	if (fresh && r->start + r->count == 0)
		return -ERANGE; /* with no vector at all */
	if (fresh && r->nfd < r->count)
		return r->error;
	if (fresh)
		vectors_enable(d, r->index, r->start + r->count);
	if (r->nfd < r->count) {
		for (i = 0; i <= r->nfd; i++)
			vector_set_trigger(d, r->start + i, -1);
		return r->error;
	}
	for (i = 0; i < r->count; i++) {
		vector_set_trigger(d, r->start + i, r->fd[i]);
		r->fd[i] = -1;
	}
	return 0;
}

static long vectors_trigger(struct vfio_dev *d, struct request *r)
{
	bool mine = d->irq_type == r->index;
	unsigned int i;

	if (mine && !r->count && r->data == VFIO_IRQ_SET_DATA_NONE) {
		vectors_disable(d);
		return 0;
	}
	if (!mine && d->irq_type != IRQ_TYPE_NONE)
		return -EINVAL;
	if (r->data == VFIO_IRQ_SET_DATA_EVENTFD)
		return vectors_set_eventfds(d, r);
	if (!mine)
		return -EINVAL;
	for (i = 0; i < r->count; i++)
		if (wants(r, i))
			ring(d, d->msix[r->start + i]);
	return 0;
}

/* ERR and REQ: events of the function as a whole. Loopback works for them too. */
static long single_trigger(struct vfio_dev *d, struct request *r, int *trigger)
{
	int fd = -1, ret;

	if (r->start || r->count > 1)
		return -EINVAL;
	if (r->data == VFIO_IRQ_SET_DATA_NONE) {
		if (*trigger < 0)
			return -EINVAL;
		if (r->count)
			ring(d, *trigger);
		else
			close_trigger(trigger);
		return 0;
	}
	if (!r->count)
		return -EINVAL;
	if (r->data == VFIO_IRQ_SET_DATA_BOOL) {
		if (wants(r, 0))
			ring(d, *trigger);
		return 0;
	}
	if (r->fds[0] < -1)
		return -EINVAL;
	ret = take_fd(r, &fd);
	if (ret)
		return ret;
	close_trigger(trigger);
	*trigger = fd;
	return 0;
}

static long err_trigger(struct vfio_dev *d, struct request *r)
{
	return single_trigger(d, r, &d->err_trigger);
}

static long req_trigger(struct vfio_dev *d, struct request *r)
{
	return single_trigger(d, r, &d->req_trigger);
}

static const struct {
	uint32_t index, action;
	long (*fn)(struct vfio_dev *d, struct request *r);
} irq_actions[] = {
    {VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, intx_trigger},
    {VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_MASK, intx_set_mask},
    {VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, intx_set_unmask},
    {VFIO_PCI_MSI_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, vectors_trigger},
    {VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, vectors_trigger},
    {VFIO_PCI_ERR_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, err_trigger},
    {VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, req_trigger},
};

static int check_header(const struct vfio_dev *d, const struct vfio_irq_set *h, size_t *data_size)
{
	const uint32_t known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
	uint32_t data = h->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	unsigned int max = irq_count(d, h->index);
	size_t each = 0;

	if (h->argsz < sizeof(*h) || h->index >= VFIO_PCI_NUM_IRQS || h->flags & ~known)
		return -EINVAL;
	if (h->start >= max || h->count > max - h->start)
		return -EINVAL;
	if (data == VFIO_IRQ_SET_DATA_BOOL)
		each = sizeof(uint8_t);
	else if (data == VFIO_IRQ_SET_DATA_EVENTFD)
		each = sizeof(int32_t);
	else if (data != VFIO_IRQ_SET_DATA_NONE)
		return -EINVAL;
	*data_size = each * h->count;
	return h->argsz - sizeof(*h) < *data_size ? -EINVAL : 0;
}

static void drop_fds(struct request *r, unsigned int n)
{
	while (n--)
		close_trigger(&r->fd[n]);
}

/* Asks for all of them even when the first is not at hand yet, so that one more round is enough. 0 or UCALL_AGAIN. */
static int gather_fds(struct ucall *c, struct request *r)
{
	bool again = false;
	unsigned int i;
	int ret;

	r->nfd = 0;
	for (i = 0; i < r->count; i++) {
		r->fd[i] = -1;
		if (r->fds[i] < 0)
			continue;
		ret = ucall_get_fd(c, r->fds[i], &r->fd[i]);
		if (ret == UCALL_AGAIN) {
			again = true;
			continue;
		}
		if (!ret)
			ret = eventfd_check(r->fd[i]);
		if (ret) {
			r->error = ret;
			break;
		}
	}
	r->nfd = i;
	if (!again)
		return 0;
	drop_fds(r, MIN(i + 1, r->count));
	return UCALL_AGAIN;
}

static long run(struct vfio_dev *d, struct request *r)
{
	bool sets = r->data == VFIO_IRQ_SET_DATA_EVENTFD;
	long ret;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(irq_actions); i++) {
		if (irq_actions[i].index != r->index || irq_actions[i].action != r->action)
			continue;
		ret = irq_actions[i].fn(d, r);
		if (!ret && (sets || !r->count))
			event_emit(d->f->evs, EVENT_IRQS, .who = d->f->bdf, .value = r->index,
				   .flags = sets ? EVENT_START : 0);
		return ret;
	}
	return -ENOTTY;
}

long irq_set(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_dev *d = to_dev(f);
	struct vfio_irq_set h;
	struct request r;
	size_t data_size;
	long ret;

	ret = ucall_copy_in(c, arg, &h, sizeof(h));
	if (!ret)
		ret = check_header(d, &h, &data_size);
	if (!ret && data_size)
		ret = ucall_copy_in(c, arg + sizeof(h), &r.fds, data_size);
	if (ret)
		return ret;
	r.index = h.index;
	r.start = h.start;
	r.count = h.count;
	r.data = h.flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	r.action = h.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	r.nfd = 0;
	r.error = 0;
	if (r.data != VFIO_IRQ_SET_DATA_EVENTFD)
		return run(d, &r);
	ret = gather_fds(c, &r);
	if (ret)
		return ret;
	ret = run(d, &r);
	drop_fds(&r, MIN(r.nfd + 1, r.count));
	return ret;
}
