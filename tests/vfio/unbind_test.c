/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions that are unbound, pulled out, reset from outside, lose their link; buses that somebody else has a part of.
 */
#include "fake.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONFIG ((uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)

static unsigned int gone;
static struct pci_func *gone_last;

static void on_unbound(void *arg, struct pci_func *f)
{
	gone++;
	gone_last = f;
}

static int setup(void **state)
{
	struct fake *k;
	int ret = fake_setup(state);

	k = *state;
	gone = 0;
	vfio_on_unbound(k->v, on_unbound, NULL);
	return ret;
}

static int listen_to(struct fake *k, struct ufile *device, unsigned int index)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd;
	} set = {{.argsz = sizeof(set),
		  .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		  .index = index,
		  .count = 1}};
	int fd = eventfd(0, EFD_NONBLOCK);

	assert_true(fd >= 0);
	set.fd = fd;
	assert_int_equal(DO(device, VFIO_DEVICE_SET_IRQS, &set), 0);
	return fd;
}

/* The ringer is asynchronous: what it rang is there sooner or later. */
static void rung(int fd)
{
	uint64_t n = 0;

	while (read(fd, &n, sizeof(n)) != sizeof(n))
		usleep(100);
	assert_int_equal(n, 1);
}

static void silent(int fd)
{
	uint64_t n = 0;

	assert_int_equal(read(fd, &n, sizeof(n)), -1);
}

static long group_flags(struct fake *k, struct ufile *group)
{
	struct vfio_group_status st = {.argsz = sizeof(st)};
	long ret = DO(group, VFIO_GROUP_GET_STATUS, &st);

	return ret ? ret : (long)st.flags;
}

static void a_free_function_goes_at_once(void **state)
{
	struct fake *k = *state;
	struct ufile *f;

	assert_int_equal(vfio_unbind(k->v, &k->toy[2]->f), 0);
	assert_int_equal(gone, 1);
	assert_ptr_equal(gone_last, &k->toy[2]->f);
	assert_int_equal(vfio_binding(k->v, &k->toy[2]->f), VFIO_UNBOUND);
	assert_int_equal(vfio_unbind(k->v, &k->toy[2]->f), -ENODEV);
	assert_int_equal(vfio_open_group(k->v, 9, &f), -ENOENT);
	assert_int_equal(vfio_open_cdev(k->v, 2, &f), -ENOENT);
	assert_int_equal(vfio_bind(k->v, &k->toy[2]->f), 0);
	assert_int_equal(vfio_bind(k->v, &k->toy[2]->f), -EBUSY);
	f = fake_group(k, 9);
	fake_close(k, &f);
	f = fake_cdev(k, 2);
	fake_close(k, &f);
}

/* Rule B4: no unbind under an open fd; the owner is asked, newcomers are turned away, the others notice nothing. */
static void the_owner_is_asked(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct ufile *again = fake_device(k, s.group, "0000:01:00.0"), *other;
	int req = listen_to(k, s.device, VFIO_PCI_REQ_IRQ_INDEX);
	uint64_t v;

	assert_int_equal(vfio_unbind(k->v, &k->toy[0]->f), 0);
	rung(req);
	assert_int_equal(vfio_unbind(k->v, &k->toy[0]->f), -EALREADY);
	assert_int_equal(vfio_bind(k->v, &k->toy[0]->f), -EBUSY);
	assert_int_equal(vfio_binding(k->v, &k->toy[0]->f), VFIO_LEAVING);
	assert_int_equal(gone, 0);
	/* Nobody gets it any more, through the group or its own node; what is open works. */
	assert_int_equal(DO(s.group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -ENODEV);
	assert_int_equal(vfio_open_cdev(k->v, 0, &other), -ENOENT);
	assert_int_equal(s.device->ops->pread(s.device, &v, 4, CONFIG), 4);
	other = fake_device(k, s.group, "0000:02:00.0");
	fake_close(k, &s.device);
	assert_int_equal(gone, 0);
	fake_close(k, &again);
	assert_int_equal(gone, 1);
	assert_int_equal(DO(s.group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0"), -ENODEV);
	/* Its group lives on in the other function. */
	assert_int_equal(group_flags(k, s.group), VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	fake_close(k, &other);
	fake_close(k, &s.group);
	fake_close(k, &s.container);
	close(req);
}

static void a_group_dies_with_its_last_function(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int32_t fd = fake_fd_of(k, s.container);

	assert_int_equal(vfio_unbind(k->v, &k->toy[1]->f), 0);
	assert_int_equal(vfio_unbind(k->v, &k->toy[0]->f), 0);
	assert_int_equal(gone, 1);
	fake_close(k, &s.device);
	assert_int_equal(gone, 2);
	assert_int_equal(group_flags(k, s.group), -ENODEV);
	assert_int_equal(DO(s.group, VFIO_GROUP_SET_CONTAINER, &fd), -ENODEV);
	assert_int_equal(DO(s.group, VFIO_GROUP_UNSET_CONTAINER, 0), -EINVAL);
	fake_close(k, &s.group);
	fake_close(k, &s.container);
}

static void an_open_node_keeps_it(void **state)
{
	struct fake *k = *state;
	struct ufile *cdev = fake_cdev(k, 2), *iommufd = fake_iommufd(k);
	struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = fake_fd_of(k, iommufd)};

	assert_int_equal(vfio_unbind(k->v, &k->toy[2]->f), 0);
	assert_int_equal(gone, 0);
	assert_int_equal(DO(cdev, VFIO_DEVICE_BIND_IOMMUFD, &bind), 0);
	fake_close(k, &cdev);
	assert_int_equal(gone, 1);
	fake_close(k, &iommufd);
}

static void away_reads_ones(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_func *f = &k->toy[0]->f;
	int err = listen_to(k, s.device, VFIO_PCI_ERR_IRQ_INDEX), req = listen_to(k, s.device, VFIO_PCI_REQ_IRQ_INDEX);
	uint64_t v = 0;
	uint8_t cfg[4];

	k->toy[0]->reg[8] = 0x42;
	vfio_set_link(k->v, f, true);
	assert_int_equal(s.device->ops->pread(s.device, &v, 8, 8), 8);
	assert_int_equal(v, 0x42);
	vfio_set_link(k->v, f, false);
	rung(err);
	silent(req);
	assert_int_equal(s.device->ops->pread(s.device, &v, 8, 8), 8);
	assert_true(v == ~0ull);
	assert_int_equal(s.device->ops->mmio_read(s.device, 8, 4, &v), 0);
	assert_int_equal(v, 0xffffffff);
	assert_int_equal(s.device->ops->mmio_test(s.device, 0, 0), 0);
	/* Plain memory cannot be shown as ones. */
	assert_int_equal(s.device->ops->mmio_test(s.device, 2ull << 40, 0), -EIO);
	/* The identity is the host's copy, as in Linux; the capability's registers are the device's. */
	assert_int_equal(s.device->ops->pread(s.device, cfg, 4, CONFIG), 4);
	assert_memory_equal(cfg, "\x34\x12\x78\x56", 4);
	assert_int_equal(s.device->ops->pread(s.device, cfg, 4, CONFIG + f->exp_cap + PCI_EXP_LNKCTL), 4);
	assert_memory_equal(cfg, "\xff\xff\xff\xff", 4);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), -ENOTTY);
	/* What is written to the command register is what it holds when it is back. */
	cfg[0] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	cfg[1] = 0;
	assert_int_equal(s.device->ops->pwrite(s.device, cfg, 2, CONFIG + PCI_COMMAND), 2);
	assert_false(pci_bus_master(f));
	vfio_set_link(k->v, f, true);
	assert_true(pci_bus_master(f));
	assert_int_equal(f->cfg[PCI_COMMAND], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	silent(err);
	fake_session_close(k, &s);
	close(err);
	close(req);
}

static void a_reset_from_outside_is_not_announced(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int err = listen_to(k, s.device, VFIO_PCI_ERR_IRQ_INDEX), req = listen_to(k, s.device, VFIO_PCI_REQ_IRQ_INDEX);
	unsigned int before = k->toy[0]->resets;
	uint8_t command = 0;

	vfio_reset_func(k->v, &k->toy[0]->f);
	assert_int_equal(k->toy[0]->resets, before + 1);
	assert_int_equal(s.device->ops->pread(s.device, &command, 1, CONFIG + PCI_COMMAND), 1);
	assert_true(command & PCI_COMMAND_MEMORY);
	silent(err);
	silent(req);
	fake_session_close(k, &s);
	close(err);
	close(req);
}

/* ---- hot reset ---- */

static long hot_reset(struct fake *k, struct ufile *device, const int32_t *groups, unsigned int n)
{
	struct {
		struct vfio_pci_hot_reset h;
		int32_t fd[4];
	} r = {{.argsz = sizeof(r), .count = n}};

	for (unsigned int i = 0; i < n; i++)
		r.fd[i] = groups[i];
	return DO(device, VFIO_DEVICE_PCI_HOT_RESET, &r);
}

static void all_functions_of_a_bus(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct ufile *other = fake_group(k, 9);
	int32_t both[] = {fake_fd_of(k, s.group), fake_fd_of(k, other)};
	struct {
		struct vfio_pci_hot_reset_info h;
		struct vfio_pci_dependent_device dep[4];
	} info = {{.argsz = sizeof(info)}};
	unsigned int before[TOYS];

	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.h.count, 2);
	assert_int_equal(info.dep[0].devfn, 0);
	assert_int_equal(info.dep[0].group_id, 7);
	assert_int_equal(info.dep[1].devfn, 1);
	assert_int_equal(info.dep[1].group_id, 9);
	info.h.argsz = sizeof(info.h) + sizeof(info.dep[0]);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), -ENOSPC);
	assert_int_equal(info.h.count, 2);
	for (unsigned int i = 0; i < TOYS; i++)
		before[i] = k->toy[i]->resets;
	assert_int_equal(hot_reset(k, s.device, both, 1), -EINVAL);
	assert_int_equal(hot_reset(k, s.device, both, 2), 0);
	assert_int_equal(k->toy[0]->resets, before[0] + 1);
	assert_int_equal(k->toy[1]->resets, before[1]);
	assert_int_equal(k->toy[2]->resets, before[2] + 1);
	/* With a function that has no driver, or one of the host's, nobody can allow it. */
	fake_close(k, &other);
	assert_int_equal(vfio_unbind(k->v, &k->toy[2]->f), 0);
	info.h.argsz = sizeof(info);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.h.count, 2);
	assert_int_equal(hot_reset(k, s.device, both, 1), -EINVAL);
	/* Pulled out, it is in nobody's way. */
	k->toy[2]->f.pulled = true;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.h.count, 1);
	assert_int_equal(hot_reset(k, s.device, both, 1), 0);
	vfio_set_link(k->v, &k->toy[0]->f, false);
	assert_int_equal(hot_reset(k, s.device, both, 1), -ENOTTY);
	fake_session_close(k, &s);
}

static void functions_that_vfio_does_not_have(void **state)
{
	struct fake *k = *state;
	struct ufile *cdev = fake_cdev(k, 1), *iommufd = fake_iommufd(k);
	struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = fake_fd_of(k, iommufd)};
	struct pci_func foreign = {.bdf = 0x0201, .group = 7};
	struct {
		struct vfio_pci_hot_reset_info h;
		struct vfio_pci_dependent_device dep[4];
	} info = {{.argsz = sizeof(info)}};

	assert_int_equal(DO(cdev, VFIO_DEVICE_BIND_IOMMUFD, &bind), 0);
	assert_int_equal(hot_reset(k, cdev, NULL, 0), 0);
	assert_int_equal(vfio_add_other(k->v, &foreign), 0);
	assert_int_equal(DO(cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.h.count, 2);
	assert_int_equal(info.h.flags, VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
	assert_int_equal(info.dep[0].group_id, bind.out_devid);
	assert_int_equal((int)info.dep[1].group_id, VFIO_PCI_DEVID_NOT_OWNED);
	assert_int_equal(hot_reset(k, cdev, NULL, 0), -EINVAL);
	fake_close(k, &cdev);
	fake_close(k, &iommufd);
}

/* A group in which the host drives a function of its own is nobody's to use. */
static void viability(void **state)
{
	struct fake *k = *state;
	struct ufile *container = fake_container(k), *group = fake_group(k, 9), *cdev, *iommufd;
	struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind)};
	int32_t fd = fake_fd_of(k, container);

	assert_int_equal(group_flags(k, group), VFIO_GROUP_FLAGS_VIABLE);
	vfio_group_in_host_use(k->v, 9);
	assert_int_equal(group_flags(k, group), 0);
	assert_int_equal(DO(group, VFIO_GROUP_SET_CONTAINER, &fd), -EBUSY);
	fake_close(k, &group);
	fake_close(k, &container);
	cdev = fake_cdev(k, 2);
	iommufd = fake_iommufd(k);
	bind.iommufd = fake_fd_of(k, iommufd);
	assert_int_equal(DO(cdev, VFIO_DEVICE_BIND_IOMMUFD, &bind), -EBUSY);
	fake_close(k, &cdev);
	fake_close(k, &iommufd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_free_function_goes_at_once),
	    TEST(the_owner_is_asked),
	    TEST(a_group_dies_with_its_last_function),
	    TEST(an_open_node_keeps_it),
	    TEST(away_reads_ones),
	    TEST(a_reset_from_outside_is_not_announced),
	    TEST(all_functions_of_a_bus),
	    TEST(functions_that_vfio_does_not_have),
	    TEST(viability),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
