/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules A4, A5, C1 and C3 from the program's side. Threads and processes hammer mapped BARs of both kinds, pread,
 * pwrite and eventfds while memory is switched off and on and the device is reset. Each looks at the phase before and
 * after its access: in one that stayed ON nothing may fail, in one that stayed OFF nothing may succeed, and SIGBUS
 * looks as in Linux. Arguments: none, or `program NAME` (by itself). REVOKE_ROUNDS: how often memory is switched.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define ROUNDS	   400 /* of a run in CI; the long form is 100000 */
#define PATIENCE_S 150

static struct ledger *l;
static int container, group, device;
static uint64_t regs_at, ram_at, config_at;
static volatile uint32_t *regs;
static volatile uint64_t *ram;
static uint16_t command;
static unsigned int pm_cap;

static _Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (errno %d)\n", errno);
	_exit(1);
}

#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			die("%s:%d: %s", __FILE__, __LINE__, #cond);                                                   \
	} while (0)

static void violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void violation(const char *fmt, ...)
{
	va_list ap;

	if (atomic_fetch_add(&l->violations, 1))
		return;
	va_start(ap, fmt);
	vsnprintf(l->what, sizeof(l->what), fmt, ap);
	va_end(ap);
}

/* ---- the device ---- */

static uint64_t region(unsigned int index)
{
	struct vfio_region_info r = {.argsz = sizeof(r), .index = index};

	MUST(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &r));
	return r.offset;
}

static uint16_t config_get(unsigned int off)
{
	uint16_t v;

	MUST(pread(device, &v, 2, config_at + off) == 2);
	return v;
}

static void config_set(unsigned int off, uint16_t v)
{
	MUST(pwrite(device, &v, 2, config_at + off) == 2);
}

static unsigned int find_cap(uint8_t id)
{
	unsigned int at = config_get(PCI_CAPABILITY_LIST) & 0xfc;

	while (at && (config_get(at) & 0xff) != id)
		at = config_get(at) >> 8 & 0xfc;
	return at;
}

static void map_bars(void)
{
	regs = mmap(NULL, REGS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, device, regs_at);
	ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, device, ram_at);
	MUST(regs != MAP_FAILED && ram != MAP_FAILED);
}

static void open_device(void)
{
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open("/dev/vfio/1", O_RDWR);
	MUST(container >= 0 && group >= 0);
	MUST(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	MUST(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
	MUST(device >= 0);
	config_at = region(VFIO_PCI_CONFIG_REGION_INDEX);
	regs_at = region(0);
	ram_at = region(2);
	command = config_get(PCI_COMMAND) | PCI_COMMAND_MEMORY;
	pm_cap = find_cap(PCI_CAP_ID_PM);
	MUST(pm_cap);
	map_bars();
}

/* ---- accesses that may fail ---- */

static __thread sigjmp_buf *escape;
static __thread void *expected;

static void on_bus_error(int sig, siginfo_t *si, void *uc)
{
	if (!escape)
		_exit(3);
	if (sig != SIGBUS || si->si_code != BUS_ADRERR || si->si_addr != expected)
		violation("signal %d, si_code %d at %p, not %p", sig, si->si_code, si->si_addr, expected);
	siglongjmp(*escape, 1);
}

enum verdict { DONE, REFUSED };

static void judge(const char *what, enum verdict v, uint64_t before)
{
	uint64_t after = atomic_load(&l->phase);

	atomic_fetch_add(&l->accesses, 1);
	if (before != after)
		return;
	if (before % PHASES == PHASE_ON && v != DONE)
		violation("%s fails while memory is on, round %lu", what, before / PHASES);
	if (before % PHASES == PHASE_OFF && v == DONE)
		violation("%s succeeds while memory is off, round %lu", what, before / PHASES);
}

static bool touch(const char *what, volatile void *at, void (*fn)(volatile void *at, void *arg), void *arg)
{
	uint64_t before = atomic_load(&l->phase);
	volatile enum verdict v = REFUSED;
	sigjmp_buf here;

	if (!sigsetjmp(here, 1)) {
		escape = &here;
		expected = (void *)at;
		fn(at, arg);
		v = DONE;
	} else {
		atomic_fetch_add(&l->bus_errors, 1);
	}
	escape = NULL;
	judge(what, v, before);
	return v == DONE;
}

static void load32(volatile void *at, void *arg)
{
	*(uint32_t *)arg = __atomic_load_n((volatile uint32_t *)at, __ATOMIC_RELAXED);
}

static void store32(volatile void *at, void *arg)
{
	__atomic_store_n((volatile uint32_t *)at, *(uint32_t *)arg, __ATOMIC_RELAXED);
}

static void load64(volatile void *at, void *arg)
{
	*(uint64_t *)arg = __atomic_load_n((volatile uint64_t *)at, __ATOMIC_RELAXED);
}

static void store64(volatile void *at, void *arg)
{
	__atomic_store_n((volatile uint64_t *)at, *(uint64_t *)arg, __ATOMIC_RELAXED);
}

/* ---- who hammers ---- */

static void register_load(unsigned int id)
{
	uint32_t v = 0;

	if (touch("a load of a register", &regs[REG_PLAIN / 4], load32, &v) && v != 0x01010101)
		violation("a register reads as %#x", v);
}

static void register_store(unsigned int id)
{
	uint32_t v = id;

	touch("a store to a register", &regs[REG_PLAIN / 4], store32, &v);
}

/* Each has a line of its own, in which nobody else stores: the last store that did not fail is what is there. */
static void memory(unsigned int id)
{
	static __thread uint64_t last;
	volatile uint64_t *at = &ram[id * 4096 / 8 % (RAM_BYTES / 8) + id];
	uint64_t v = last + 1;

	if (touch("a store to memory", at, store64, &v))
		last = v;
	if (touch("a load of memory", at, load64, &v) && v != last)
		violation("memory holds %lu, not %lu", v, last);
}

static void by_pread(unsigned int id)
{
	uint64_t before = atomic_load(&l->phase);
	uint32_t v;
	ssize_t n = pread(device, &v, 4, (id & 1 ? regs_at + REG_PLAIN : ram_at));

	if (n != 4 && (n != -1 || errno != EIO))
		violation("pread says %zd, errno %d", n, errno);
	if (n != 4)
		atomic_fetch_add(&l->io_errors, 1);
	judge("pread", n == 4 ? DONE : REFUSED, before);
}

static void by_pwrite(unsigned int id)
{
	uint64_t before = atomic_load(&l->phase);
	uint32_t v = id;
	ssize_t n = pwrite(device, &v, 4, regs_at + REG_PWRITE);

	if (n != 4 && (n != -1 || errno != EIO))
		violation("pwrite says %zd, errno %d", n, errno);
	judge("pwrite", n == 4 ? DONE : REFUSED, before);
}

static int event_on, event_off;

/* One eventfd is signalled at any time; the other one only while memory is off, and must have no effect then. */
static void by_eventfd(unsigned int id)
{
	uint64_t before = atomic_load(&l->phase);

	eventfd_write(event_on, 1);
	if (before % PHASES == PHASE_OFF) {
		eventfd_write(event_off, 1);
		if (atomic_load(&l->phase) != before)
			atomic_fetch_add(&l->ambiguous_events, 1);
	}
	sched_yield();
}

static void (*const roles[])(unsigned int id) = {
    register_load, register_store, memory, memory, by_pread, by_pread, by_pwrite, by_eventfd,
};
#define THREADS (sizeof(roles) / sizeof(roles[0]))

static void *thread_run(void *arg)
{
	unsigned int id = (uintptr_t)arg;

	atomic_fetch_add(&l->running, 1);
	while (!atomic_load(&l->stop))
		roles[id % THREADS](id);
	return NULL;
}

/* ---- other processes ---- */

static void send_device(int sock)
{
	char b = 0;
	struct iovec iov = {&b, 1};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &device, sizeof(int));
	MUST(sendmsg(sock, &m, 0) == 1);
}

static void receive_device(int sock)
{
	char b;
	struct iovec iov = {&b, 1};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};

	MUST(recvmsg(sock, &m, 0) == 1 && CMSG_FIRSTHDR(&m));
	memcpy(&device, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
}

/* One that was given the descriptor over a socket, and maps it by itself. */
static pid_t start_receiver(void)
{
	pthread_t t;
	int pair[2];
	pid_t pid;

	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	MUST(pid >= 0);
	if (pid) {
		send_device(pair[0]);
		close(pair[0]);
		close(pair[1]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(device);
	munmap((void *)regs, REGS_BYTES);
	munmap((void *)ram, RAM_BYTES);
	receive_device(pair[1]);
	map_bars();
	MUST(!pthread_create(&t, NULL, thread_run, (void *)(THREADS + 2))); /* memory */
	thread_run((void *)THREADS);
	pthread_join(t, NULL);
	_exit(0);
}

/* One that has touched everything and is stopped: it delays nobody, and is revoked like everybody. */
static pid_t start_sleeper(void)
{
	uint64_t v;
	pid_t pid = fork();
	int status;

	MUST(pid >= 0);
	if (pid) {
		MUST(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	v = ram[RAM_BYTES / 8 - 1] + regs[REG_PLAIN / 4];
	raise(SIGSTOP);
	/* Memory is off when it goes on. */
	touch("a load after a long sleep", &ram[RAM_BYTES / 8 - 1], load64, &v);
	touch("a store after a long sleep", &regs[REG_PLAIN / 4], store32, &v);
	_exit(atomic_load(&l->bus_errors) ? 0 : 1);
}

/* ---- who switches ---- */

static void phase_next(void)
{
	atomic_fetch_add(&l->phase, 1);
}

static void switch_off(unsigned int round)
{
	phase_next();
	if (round % 5 == 4)
		config_set(pm_cap + PCI_PM_CTRL, 3);
	else
		config_set(PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
	phase_next();
}

static void switch_on(unsigned int round)
{
	phase_next();
	if (round % 5 == 4)
		config_set(pm_cap + PCI_PM_CTRL, 0);
	else
		config_set(PCI_COMMAND, command);
	phase_next();
}

/* It is gone during the call, and whoever touches it then may find that. */
static void reset_on(void)
{
	phase_next();
	MUST(!ioctl(device, VFIO_DEVICE_RESET));
	atomic_fetch_add(&l->phase, PHASES - 1);
}

static unsigned int rounds(void)
{
	const char *s = getenv("REVOKE_ROUNDS");

	return s ? strtoul(s, NULL, 10) : ROUNDS;
}

static void wait_child(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0) == pid);
	MUST(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void events_register(void)
{
	struct vfio_device_ioeventfd r = {.argsz = sizeof(r), .flags = 4, .data = 1};

	event_on = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event_off = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r.offset = regs_at + REG_EVENT;
	r.fd = event_on;
	MUST(!ioctl(device, VFIO_DEVICE_IOEVENTFD, &r));
	r.offset = regs_at + REG_EVENT_OFF;
	r.fd = event_off;
	MUST(!ioctl(device, VFIO_DEVICE_IOEVENTFD, &r));
}

static void hammer(void)
{
	pthread_t t[THREADS];
	pid_t receiver, sleeper;
	unsigned int n = rounds();

	receiver = start_receiver();
	sleeper = start_sleeper();
	events_register();
	for (unsigned int i = 0; i < THREADS; i++)
		MUST(!pthread_create(&t[i], NULL, thread_run, (void *)(uintptr_t)i));
	while (atomic_load(&l->running) < THREADS + 2)
		sched_yield();
	for (unsigned int i = 0; i < n && !atomic_load(&l->violations); i++) {
		uint64_t then = atomic_load(&l->accesses);

		switch_off(i);
		/* Now and then somebody shall have met it, however busy the machine is. */
		while (i % 16 == 0 && atomic_load(&l->accesses) < then + 2 * THREADS)
			sched_yield();
		switch_on(i);
		if (i % 7 == 0)
			reset_on();
	}
	atomic_store(&l->stop, 1);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	wait_child(receiver);
	switch_off(0);
	kill(sleeper, SIGCONT);
	wait_child(sleeper);
	switch_on(0);
	MUST(regs[REG_PLAIN / 4] == 0x01010101);
}

/* What the last owner left mapped is nothing to the next one, who is another process. */
static void next_owner(void)
{
	uint64_t v;
	int status;
	pid_t pid;

	ram[8] = 0x5ec7e7;
	close(device);
	close(group);
	close(container);
	munmap((void *)regs, REGS_BYTES);
	/* A mapping keeps the device, as in Linux: without it the group would be free. */
	MUST(open("/dev/vfio/1", O_RDWR) < 0 && errno == EBUSY);
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		/* The mapping that it has inherited is the old owner's. */
		MUST(ram[8] == 0x5ec7e7);
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0) == pid && !status);
	munmap((void *)ram, RAM_BYTES);
	open_device();
	MUST(ram[8] == 0);
	touch("a load", &ram[8], load64, &v);
}

/* The default action is death by SIGBUS, and the siginfo is for a debugger to see. */
static void default_action(void)
{
	int status;
	pid_t pid;

	config_set(PCI_COMMAND, 0);
	for (unsigned int i = 0; i < 2; i++) {
		pid = fork();
		MUST(pid >= 0);
		if (!pid) {
			signal(SIGBUS, SIG_DFL);
			if (i)
				ram[0] = 1;
			else
				regs[0] = 1;
			_exit(0);
		}
		MUST(waitpid(pid, &status, 0) == pid);
		MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	}
	config_set(PCI_COMMAND, command);
	MUST(regs[REG_PLAIN / 4] == 0x01010101 && ram[0] == 0);
}

/* The kernel's own accesses (read() into the BAR) fail and work likewise, without a signal. */
static void by_the_kernel(void)
{
	int fd = open("/dev/zero", O_RDONLY);

	ram[0] = 7;
	config_set(PCI_COMMAND, 0);
	MUST(read(fd, (void *)ram, 8) == -1 && errno == EFAULT);
	config_set(PCI_COMMAND, command);
	MUST(ram[0] == 7);
	config_set(PCI_COMMAND, 0);
	config_set(PCI_COMMAND, command);
	MUST(read(fd, (void *)ram, 8) == 8);
	MUST(ram[0] == 0);
	close(fd);
}

/* ---- large memory ---- */

static volatile uint64_t *large;

static void large_map(void)
{
	void *p = mmap(NULL, LARGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, device, region(4));

	MUST(p != MAP_FAILED);
	large = p;
}

static void large_fill(uint64_t with)
{
	for (uint64_t i = 0; i < LARGE_BYTES / 8; i += 512)
		__atomic_store_n(&large[i], with + i, __ATOMIC_RELAXED);
}

static void *large_toucher(void *arg)
{
	uint64_t v;

	while (!atomic_load(&l->stop)) {
		touch("a load of large memory", &large[LARGE_BYTES / 8 - 1], load64, &v);
		touch("a load of large memory", &large[0], load64, &v);
	}
	return NULL;
}

/* The file is cut from its end, and filled from its beginning. */
static bool half_way(void)
{
	uint8_t first = 0, last = 0;

	MUST(!mincore((void *)large, 4096, &first) && !mincore((char *)large + LARGE_BYTES - 4096, 4096, &last));
	return first & 1 && !(last & 1);
}

/* Another program, which has to do with other things. It counts its calls that begin and end on the way. */
static pid_t start_bystander(void)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&l->stop)) {
		uint64_t before = atomic_load(&l->phase);
		bool between = half_way();

		MUST(ioctl(container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
		if (between && half_way() && atomic_load(&l->phase) == before)
			atomic_fetch_add(&l->bystander, 1);
	}
	_exit(0);
}

/* While large memory is taken away, or comes back, others are served. */
static void others_go_on(void)
{
	enum { SWITCHES = 8 };
	pid_t bystander;
	pthread_t t;

	large_map();
	bystander = start_bystander();
	MUST(!pthread_create(&t, NULL, large_toucher, NULL));
	for (unsigned int i = 0; i < SWITCHES; i++) {
		uint64_t v = 0;

		large_fill(i);
		switch_off(i);
		for (uint64_t k = 0; k < LARGE_BYTES / 8; k += LARGE_BYTES / 64)
			touch("large memory that is off", &large[k], load64, &v);
		switch_on(i);
		for (uint64_t k = 0; k < LARGE_BYTES / 8; k += 512)
			if (large[k] != i + k)
				violation("large memory holds %lu at %lu, not %lu", large[k], k, i + k);
		if (i % 3 == 0)
			reset_on();
		MUST(large[512] == i + 512);
	}
	atomic_store(&l->stop, 1);
	pthread_join(t, NULL);
	wait_child(bystander);
	if (!l->bystander)
		violation("nobody else is served");
}

/* Who is killed with such a call under way leaves nothing behind; and the call is carried out, or not begun. */
static void killed_in_the_midst(void)
{
	uint64_t v = 0;

	large_map();
	for (unsigned int i = 0; i < 12; i++) {
		pid_t pid;

		config_set(PCI_COMMAND, command);
		large_fill(i);
		pid = fork();
		MUST(pid >= 0);
		if (!pid) {
			for (;;) {
				config_set(PCI_COMMAND, 0);
				config_set(PCI_COMMAND, command);
			}
		}
		usleep(1000 + 7000 * i);
		kill(pid, SIGKILL);
		MUST(waitpid(pid, NULL, 0) == pid);
		config_set(PCI_COMMAND, command);
		for (uint64_t k = 0; k < LARGE_BYTES / 8; k += 512)
			MUST(large[k] == i + k);
	}
	config_set(PCI_COMMAND, 0);
	atomic_fetch_add(&l->phase, PHASE_OFF);
	MUST(!touch("a load", &large[0], load64, &v));
}

static const struct {
	const char *name;
	void (*run)(void);
} programs[] = {
    {"hammer", hammer},
    {"next_owner", next_owner},
    {"default_action", default_action},
    {"by_the_kernel", by_the_kernel},
    {"others_go_on", others_go_on},
    {"killed_in_the_midst", killed_in_the_midst},
};

static int program(const char *name)
{
	struct sigaction sa = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};

	if (!getenv("REVOKE_ROUNDS"))
		alarm(PATIENCE_S);
	l = machine_ledger();
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	open_device();
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (!strcmp(programs[i].name, name))
			programs[i].run();
	return 0;
}

int main(int argc, char **argv)
{
	int ret;

	if (argc == 3)
		return program(argv[2]);
	ret = machine_run(argv[0], argv[1]);
	l = machine_ledger();
	printf("%lu accesses, %lu SIGBUS, %lu EIO, %lu resets; the device saw %lu reads, %lu writes, %lu and %lu by "
	       "eventfd (%lu doubtful); %lu calls beside it\n",
	       l->accesses, l->bus_errors, l->io_errors, l->resets, l->reads, l->writes, l->events, l->events_off,
	       l->ambiguous_events, l->bystander);
	if (l->violations)
		printf("%lu violations, the first: %s\n", l->violations, l->what);
	if (l->while_off)
		printf("%lu accesses reached the device while memory was off\n", l->while_off);
	if (l->events_off > l->ambiguous_events)
		printf("signals had an effect that were given while memory was off\n");
	return ret || l->violations || l->while_off || l->events_off > l->ambiguous_events;
}
