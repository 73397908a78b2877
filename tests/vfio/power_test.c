/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory that is switched off: by COMMAND, by the power state, by the low-power features (rules A4 and C3). */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/loop.h"
#include "pci/barmem.h"
#include "proto/channel.h"

#define AT(index, off) (REGION_OFFSET_MAGIC | (uint64_t)(index) << 40 | (off))
#define CONFIG(off)    AT(VFIO_PCI_CONFIG_REGION_INDEX, off)

static struct session s;
static struct vfio *v;
static struct toy *toy;
static uint8_t *ram; /* BAR 2, as a client maps it */
static uint64_t generation;

static void start(struct fake *k)
{
	struct umap m;

	guard_install(); /* cmocka takes the handlers for each test */
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	v = k->v;
	toy = k->toy[0];
	assert_int_equal(s.device->ops->mmap(s.device, AT(2, 0), PF_PAGE_SIZE, PROT_READ | PROT_WRITE, true, &m), 0);
	assert_int_equal(m.kind, UMAP_FILE);
	generation = m.generation;
	ram = mmap(NULL, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, m.fd_off);
	assert_ptr_not_equal(ram, MAP_FAILED);
}

static void finish(struct fake *k)
{
	munmap(ram, PF_PAGE_SIZE);
	fake_session_close(k, &s);
}

static uint16_t config_get(unsigned int off)
{
	uint16_t val = 0;

	assert_int_equal(s.device->ops->pread(s.device, &val, 2, CONFIG(off)), 2);
	return val;
}

static void config_set(unsigned int off, uint16_t val)
{
	assert_int_equal(s.device->ops->pwrite(s.device, &val, 2, CONFIG(off)), 2);
}

static bool ram_there(void)
{
	uint8_t b;

	return !guard_copy(&b, ram, 1);
}

/* What a client may do to a BAR that is switched on or off. */
static void expect_mem(bool on)
{
	const struct ufile_ops *ops = s.device->ops;
	unsigned int n = toy->nlog;
	uint64_t val;

	assert_int_equal(ram_there(), on);
	assert_int_equal(ops->mmio_test(s.device, AT(0, 0), 0), on ? 0 : -EIO);
	assert_int_equal(ops->mmio_test(s.device, AT(2, 0), generation), on ? 0 : -EIO);
	assert_int_equal(ops->mmio_test(s.device, AT(2, 0), generation + 1), -EIO);
	assert_int_equal(ops->mmio_read(s.device, AT(0, 0), 4, &val), on ? 0 : -EIO);
	assert_int_equal(ops->mmio_write(s.device, AT(0, 0), 4, 1), on ? 0 : -EIO);
	assert_int_equal(vfio_memory_off(v), !on);
	assert_int_equal(toy->nlog, on ? n + 2 : n);
}

static void feature(struct fake *k, unsigned int index, const void *data, size_t len, long want)
{
	struct {
		struct vfio_device_feature h;
		uint8_t data[8];
	} f = {{.argsz = sizeof(f.h) + len, .flags = VFIO_DEVICE_FEATURE_SET | index}, {0}};

	if (len)
		memcpy(f.data, data, len);
	assert_int_equal(DO(s.device, VFIO_DEVICE_FEATURE, &f), want);
}

static void rule_revoke_before_return_command(void **state)
{
	struct fake *k = *state;
	uint8_t b[4];

	start(k);
	expect_mem(true);
	ram[5] = 42;
	config_set(PCI_COMMAND, 0);
	expect_mem(false);
	assert_int_equal(s.device->ops->pread(s.device, b, 4, AT(2, 4)), -EIO);
	assert_int_equal(s.device->ops->pwrite(s.device, b, 4, AT(2, 4)), -EIO);
	config_set(PCI_COMMAND, PCI_COMMAND_MEMORY);
	expect_mem(true);
	assert_int_equal(ram[5], 42);
	assert_int_equal(s.device->ops->pread(s.device, b, 4, AT(2, 4)), 4);
	assert_int_equal(b[1], 42);
	finish(k);
}

static void rule_revoke_before_return_power_state(void **state)
{
	struct fake *k = *state;
	unsigned int at;

	start(k);
	at = toy->f.pm_cap + PCI_PM_CTRL;
	ram[5] = 42;
	config_set(at, 3);
	expect_mem(false);
	config_set(at, 0);
	expect_mem(true);
	assert_int_equal(ram[5], 42);
	finish(k);
}

/* The mapping is gone during the reset, and there again behind it because COMMAND is as it was. */
static void rule_revoke_before_return_reset(void **state)
{
	struct fake *k = *state;

	start(k);
	ram[5] = 42;
	toy->watch = ram;
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_true(toy->watched);
	assert_false(toy->watch_there);
	expect_mem(true);
	toy->watched = false;
	config_set(toy->f.exp_cap + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
	assert_true(toy->watched);
	assert_false(toy->watch_there);
	expect_mem(true);
	config_set(PCI_COMMAND, 0);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	expect_mem(false);
	toy->watch = NULL;
	finish(k);
}

/* Rules A4 and A5: what the last owner left mapped. */
static void rule_owner_generations(void **state)
{
	struct fake *k = *state;
	struct umap m;
	uint8_t *old;
	int fd;

	start(k);
	old = ram;
	fd = fcntl(barmem_file(toy->f.bar[2].mem), F_DUPFD_CLOEXEC, 0);
	ram[5] = 42;
	fake_session_close(k, &s);
	assert_false(ram_there());
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	assert_false(ram_there());
	assert_int_equal(s.device->ops->mmap(s.device, AT(2, 0), PF_PAGE_SIZE, PROT_READ | PROT_WRITE, true, &m), 0);
	assert_int_not_equal(m.generation, generation);
	assert_int_equal(s.device->ops->mmio_test(s.device, AT(2, 0), generation), -EIO);
	ram = mmap(NULL, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	assert_int_equal(ram[5], 0); /* nor is anything left for the new one to read */
	assert_int_equal(ftruncate(fd, PF_PAGE_SIZE), 0);
	memset(old, 0xee, PF_PAGE_SIZE);
	assert_int_equal(ram[5], 0);
	munmap(old, PF_PAGE_SIZE);
	close(fd);
	finish(k);
}

static void turn(struct loop *l)
{
	while (loop_step(l, false))
		;
}

/* Signals take place on the side of the change on which they were made. */
static void ioeventfd_drops(void **state)
{
	struct fake *k = *state;
	struct loop *l = loop_new();
	int efd = eventfd(0, 0);
	struct vfio_device_ioeventfd r = {.argsz = sizeof(r), .flags = 8, .offset = AT(0, 0x100), .data = 5, .fd = efd};

	start(k);
	vfio_set_loop(k->v, l);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), 0);
	eventfd_write(efd, 1);
	config_set(PCI_COMMAND, 0);
	assert_int_equal(toy->nlog, 1);
	assert_int_equal(toy->log[0].size, 8);
	eventfd_write(efd, 1);
	config_set(PCI_COMMAND, PCI_COMMAND_MEMORY);
	turn(l);
	assert_int_equal(toy->nlog, 1);
	eventfd_write(efd, 1);
	turn(l);
	assert_int_equal(toy->nlog, 2);
	eventfd_write(efd, 1);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	turn(l);
	assert_int_equal(toy->nlog, 3);
	r.fd = -1;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), 0);
	finish(k);
	vfio_set_loop(k->v, NULL);
	loop_free(l);
	close(efd);
}

static void count_flush(void *arg)
{
	++*(unsigned int *)arg;
}

/* Posted writes, too: the broker is asked for them before each change, and only then. */
static void posted_writes_come_first(void **state)
{
	struct fake *k = *state;
	unsigned int n = 0;

	start(k);
	vfio_set_flush(k->v, count_flush, &n);
	config_get(PCI_COMMAND);
	config_set(PCI_CACHE_LINE_SIZE, 1);
	assert_int_equal(n, 0);
	config_set(PCI_COMMAND, 0);
	assert_int_equal(n, 1);
	config_set(PCI_COMMAND, PCI_COMMAND_MEMORY);
	assert_int_equal(n, 2);
	DO(s.device, VFIO_DEVICE_RESET, 0);
	assert_true(n >= 3);
	n = 0;
	finish(k);
	assert_int_equal(n, 1);
	vfio_set_flush(k->v, NULL, NULL);
}

/* ---- low power ---- */

#define ENTER  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
#define WAKEUP VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
#define EXIT   VFIO_DEVICE_FEATURE_LOW_POWER_EXIT

static void low_power(void **state)
{
	struct fake *k = *state;
	uint8_t b[4];

	start(k);
	ram[5] = 42;
	config_set(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	feature(k, ENTER, NULL, 0, 0);
	assert_false(toy->f.d0);
	expect_mem(false);
	/* Each call wakes it, sees it as it was, and puts it back to sleep; mappings stay away. */
	assert_int_equal(config_get(PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(config_get(toy->f.pm_cap + PCI_PM_CTRL) & 3, 0);
	assert_int_equal(s.device->ops->pread(s.device, b, 4, AT(2, 4)), 4);
	assert_int_equal(b[1], 42);
	assert_false(toy->f.d0);
	expect_mem(false);
	feature(k, ENTER, NULL, 0, -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	expect_mem(false);
	feature(k, EXIT, NULL, 0, 0);
	expect_mem(true);
	assert_int_equal(ram[5], 42);
	assert_true(pci_bus_master(&toy->f));
	feature(k, EXIT, NULL, 0, 0);
	/* Asleep when its owner goes. */
	feature(k, ENTER, NULL, 0, 0);
	finish(k);
	start(k);
	expect_mem(true);
	finish(k);
}

static uint64_t count_of(int efd)
{
	uint64_t n = 0;

	return read(efd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void low_power_with_wakeup(void **state)
{
	struct fake *k = *state;
	int efd = eventfd(0, EFD_NONBLOCK), pipefd[2];
	struct vfio_device_low_power_entry_with_wakeup e = {.wakeup_eventfd = efd};

	assert_int_equal(pipe(pipefd), 0);
	start(k);
	feature(k, WAKEUP, &e, sizeof(e), 0);
	expect_mem(false);
	assert_int_equal(count_of(efd), 0);
	/* The first call ends it, and says so. */
	config_get(PCI_COMMAND);
	assert_int_equal(count_of(efd), 1);
	expect_mem(true);
	config_get(PCI_COMMAND);
	assert_int_equal(count_of(efd), 0);
	/* The exit is a call, too; and so is a second entry, which therefore succeeds. */
	feature(k, WAKEUP, &e, sizeof(e), 0);
	feature(k, WAKEUP, &e, sizeof(e), 0);
	assert_int_equal(count_of(efd), 1);
	feature(k, EXIT, NULL, 0, 0);
	assert_int_equal(count_of(efd), 1);
	expect_mem(true);

	feature(k, WAKEUP, &e, sizeof(e) - 1, -EINVAL);
	e.wakeup_eventfd = -1;
	feature(k, WAKEUP, &e, sizeof(e), -EINVAL);
	e.wakeup_eventfd = 999;
	feature(k, WAKEUP, &e, sizeof(e), -EBADF);
	e.wakeup_eventfd = pipefd[0];
	feature(k, WAKEUP, &e, sizeof(e), -EINVAL);
	expect_mem(true);
	e.wakeup_eventfd = efd;
	feature(k, WAKEUP, &e, sizeof(e), 0);
	finish(k);
	assert_int_equal(count_of(efd), 0);
	close(efd);
	close(pipefd[0]);
	close(pipefd[1]);
}

/* A client may have put it into D3hot first. */
static void low_power_from_d3(void **state)
{
	struct fake *k = *state;

	start(k);
	config_set(toy->f.pm_cap + PCI_PM_CTRL, 3);
	feature(k, ENTER, NULL, 0, 0);
	feature(k, EXIT, NULL, 0, 0);
	assert_int_equal(config_get(toy->f.pm_cap + PCI_PM_CTRL) & 3, 0);
	expect_mem(true);
	finish(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(rule_revoke_before_return_command),
	    T(rule_revoke_before_return_power_state),
	    T(rule_revoke_before_return_reset),
	    T(rule_owner_generations),
	    T(ioeventfd_drops),
	    T(posted_writes_come_first),
	    T(low_power),
	    T(low_power_with_wakeup),
	    T(low_power_from_d3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
