/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probe WHAT [ARG]: a VFIO program that lives as programs do: it blocks signals, handles its own faults, closes every
 * descriptor, hands them to other processes and images. Built in several ways; it says what it did, or fails.
 */
#include "../client/client.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>

const char *bdf = "0000:01:00.0";

static char **self; /* argv */

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%s:%d: ", file, line);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void skip_case(const char *why)
{
	fail("%s", why);
}

/* ---- the work itself: registers, interrupts, DMA both ways ---- */
static void device_start(void)
{
	device_open(VFIO_TYPE1v2_IOMMU);
	nvme_start(true);
}

static void device_stop(void)
{
	nvme_stop();
	device_close();
}

static void blocks_move(unsigned int page, unsigned int pattern)
{
	const uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	uint8_t *buf = pages_alloc(2 * PAGE);

	memset(buf, pattern, PAGE);
	expect_eq(dma_map(buf, DATA_IOVA, 2 * PAGE, flags), 0);
	expect_eq(nvme_rw(true, page, PAGE, DATA_IOVA), 0);
	expect_eq(nvme_rw(false, page, PAGE, DATA_IOVA + PAGE), 0);
	expect_eq(memcmp(buf, buf + PAGE, PAGE), 0);
	expect_eq(dma_unmap(DATA_IOVA, 2 * PAGE, 0, NULL), 0);
	munmap(buf, 2 * PAGE);
}

static void work(void)
{
	device_start();
	for (unsigned int i = 0; i < 4; i++)
		blocks_move(i, 0x10 + i);
	expect(nvme_cap() & 0xffff);
	device_stop();
}

/* ---- signals ---- */
static void *work_in_thread(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	expect_eq(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	work();
	expect_eq(pthread_sigmask(SIG_SETMASK, NULL, &all), 0);
	expect_eq(sigismember(&all, SIGUSR1), 1);
	return arg;
}

static void blocked(void)
{
	pthread_t t;

	expect_eq(pthread_create(&t, NULL, work_in_thread, NULL), 0);
	pthread_join(t, NULL);
	work_in_thread(NULL);
}

static sigjmp_buf out;
static volatile sig_atomic_t faults;
static uint8_t *volatile expected, *volatile mended;

static void jump(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	faults++;
	if (si->si_addr != (void *)expected)
		fail("signal %d at %p, not %p", sig, si->si_addr, (void *)expected);
	siglongjmp(out, sig);
}

static void mend(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	faults++;
	expect_eq(sig, SIGSEGV);
	expect_eq((uintptr_t)si->si_addr & ~(PAGE - 1), (uintptr_t)mended);
	expect_eq(mprotect(mended, PAGE, PROT_READ | PROT_WRITE), 0);
}

static void handler_set(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags}, was;

	sigfillset(&sa.sa_mask);
	expect_eq(sigaction(sig, &sa, NULL), 0);
	expect_eq(sigaction(sig, NULL, &was), 0);
	expect(was.sa_sigaction == fn);
}

static void fault_at(void *addr, int sig)
{
	int got = sigsetjmp(out, 1);

	if (got) {
		expect_eq(got, sig);
		return;
	}
	expected = addr;
	*(volatile uint8_t *)addr = 1;
	fail("no fault at %p", addr);
}

static void own_faults(int flags)
{
	uint8_t *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *beyond;
	int fd = memfd_create("beyond", MFD_CLOEXEC);

	beyond = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(none != MAP_FAILED && beyond != MAP_FAILED);
	handler_set(SIGSEGV, jump, flags);
	handler_set(SIGBUS, jump, flags);
	for (unsigned int i = 0; i < 20; i++) {
		fault_at(none + 8 * i, SIGSEGV);
		fault_at(beyond + 8 * i, SIGBUS);
		blocks_move(i, i);
	}
	expect_eq(faults, 40);
	handler_set(SIGSEGV, mend, flags);
	mended = none;
	((volatile uint8_t *)none)[99] = 1;
	((volatile uint8_t *)none)[98] = 2;
	expect_eq(faults, 41);
	blocks_move(0, 1);
	faults = 0;
	munmap(none, PAGE);
	munmap(beyond, PAGE);
	close(fd);
}

static void handlers(void)
{
	stack_t ss = {.ss_sp = pages_alloc(16 * PAGE), .ss_size = 16 * PAGE}, was;

	device_start();
	own_faults(0);
	expect_eq(sigaltstack(&ss, NULL), 0);
	own_faults(SA_ONSTACK);
	own_faults(SA_ONSTACK | SA_NODEFER);
	expect_eq(sigaltstack(NULL, &was), 0);
	expect(was.ss_sp == ss.ss_sp && !(was.ss_flags & SS_ONSTACK));
	device_stop();
}

static void ignore_signal(int sig)
{
	faults += sig == SIGALRM;
}

/* The work goes on while a timer interrupts it everywhere. */
static void interrupted(void)
{
	struct sigaction sa = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
	timer_t t;
	struct itimerspec every = {.it_interval.tv_nsec = 200000, .it_value.tv_nsec = 200000};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

	expect_eq(sigaction(SIGALRM, &sa, NULL), 0);
	device_start();
	expect_eq(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
	expect_eq(timer_settime(t, 0, &every, NULL), 0);
	for (unsigned int i = 0; i < 300 || !faults; i++) {
		expect(nvme_cap() & 0xffff);
		config_read(PCI_VENDOR_ID, 2);
		(void)region_info(i % VFIO_PCI_VGA_REGION_INDEX);
	}
	timer_delete(t);
	device_stop();
}

static void die(void)
{
	device_start();
	expected = (uint8_t *)16;
	*(volatile uint8_t *)expected = 0;
}

/* ---- threads ---- */
static void *many_accesses(void *arg)
{
	volatile uint32_t *regs = nvme_bar();
	uint64_t cap = *(uint64_t *)arg;
	struct vfio_region_info r = region_info(VFIO_PCI_BAR0_REGION_INDEX);

	for (unsigned int i = 0; i < 500; i++) {
		expect(*(volatile uint64_t *)regs == cap);
		expect_eq(regs[2] >> 16, 1); /* VS: version 1.something */
		expect_eq(config_read(PCI_CLASS_DEVICE, 2), 0x0108);
		expect_eq(region_info(VFIO_PCI_BAR0_REGION_INDEX).size, r.size);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[40]; /* more than a channel has slots */
	uint64_t cap;

	device_start();
	cap = nvme_cap();
	for (size_t i = 0; i < COUNT(t); i++)
		expect_eq(pthread_create(&t[i], NULL, many_accesses, &cap), 0);
	for (size_t i = 0; i < COUNT(t); i++)
		pthread_join(t[i], NULL);
	blocks_move(0, 7);
	device_stop();
}

/* ---- descriptors ---- */
static void close_all(void)
{
	work();
	expect_eq(syscall(SYS_close_range, 3, ~0U, 0), 0);
	work();
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	work();
}

static void descriptor_works(int fd)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};
	uint32_t cap;

	expect_eq(ioctl(fd, VFIO_DEVICE_GET_INFO, &info), 0);
	expect_eq(info.num_regions, VFIO_PCI_NUM_REGIONS);
	device = fd;
	struct vfio_region_info r = region_info(VFIO_PCI_BAR0_REGION_INDEX),
				c = region_info(VFIO_PCI_CONFIG_REGION_INDEX);
	uint16_t class;

	expect_eq(pread(fd, &class, 2, c.offset + PCI_CLASS_DEVICE), 2);
	expect_eq(class, 0x0108);
	expect_eq(pread(fd, &cap, 4, r.offset), 4);
	volatile uint32_t *regs = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, r.offset);

	expect(regs != MAP_FAILED);
	expect_eq(*regs, cap);
	munmap((void *)regs, r.size);
}

static void child_wait(pid_t pid)
{
	int status;

	expect(pid > 0);
	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
}

static void duplicates(void)
{
	int copy, high;

	device_open(VFIO_TYPE1v2_IOMMU);
	copy = dup(device);
	high = fcntl(device, F_DUPFD_CLOEXEC, 900);
	expect(copy >= 0 && high >= 900);
	close(device);
	close(group);
	close(container);
	descriptor_works(copy);
	close(copy);
	descriptor_works(high);
	expect_eq(dup2(high, 7), 7);
	close(high);
	descriptor_works(7);
	close(7);
	/* The last copy is closed: the group is free again. */
	work();
}

static void descriptor_send(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = {0}, byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	expect_eq(sendmsg(sock, &m, 0), 1);
}

static int descriptor_receive(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd;

	expect_eq(recvmsg(sock, &m, MSG_CMSG_CLOEXEC), 1);
	expect(CMSG_FIRSTHDR(&m) != NULL);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* The receiver has never opened anything, and goes on when the sender is gone. */
static void send_away(void)
{
	int pair[2], go[2];
	char byte = 0;
	pid_t pid, sender;

	expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	expect_eq(pipe(go), 0);
	pid = fork();
	if (!pid) {
		int fd = descriptor_receive(pair[1]);

		expect_eq(read(go[0], &byte, 1), 1);
		descriptor_works(fd);
		_exit(0);
	}
	sender = fork();
	if (!sender) {
		device_open(VFIO_TYPE1v2_IOMMU);
		descriptor_send(pair[0], device);
		_exit(0);
	}
	child_wait(sender);
	expect_eq(write(go[1], &byte, 1), 1);
	child_wait(pid);
	work();
}

static void exec_self(const char *what, int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	execl("/proc/self/exe", self[0], what, number, NULL);
	fail("exec: %s", strerror(errno));
}

static void keep_through_exec(void)
{
	device_open(VFIO_TYPE1v2_IOMMU);
	exec_self("adopt", dup(device));
}

static void adopt(void)
{
	descriptor_works(atoi(self[2]));
}

/* ---- processes ---- */
static void fork_and_go_on(void)
{
	device_start();
	blocks_move(0, 1);
	for (unsigned int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid) {
			descriptor_works(device);
			_exit(0);
		}
		blocks_move(i, i);
		child_wait(pid);
		blocks_move(i, i);
	}
	device_stop();
}

static void vfork_exec(void)
{
	for (unsigned int i = 0; i < 3; i++) {
		pid_t pid = vfork();

		if (!pid) {
			execl("/proc/self/exe", self[0], "work", NULL);
			_exit(99);
		}
		child_wait(pid);
		work();
	}
}

static void spawn(void)
{
	extern char **environ;
	char *none[] = {NULL}, *argv[] = {self[0], (char *)"work", NULL};
	posix_spawnattr_t attr;
	sigset_t set;
	pid_t pid;

	posix_spawnattr_init(&attr);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setsigmask(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	for (unsigned int i = 0; i < 3; i++) {
		expect_eq(posix_spawn(&pid, "/proc/self/exe", NULL, i == 2 ? &attr : NULL, argv, i ? none : environ),
			  0);
		child_wait(pid);
		work();
	}
}

static void shells(void)
{
	char command[512];

	snprintf(command, sizeof(command), "'%s' work", self[0]);
	for (unsigned int i = 0; i < 3; i++) {
		FILE *p;

		expect_eq(system(command), 0);
		p = popen(command, "r");
		expect(p && fgets(command + 256, 200, p));
		expect_eq(strcmp(command + 256, "work: done\n"), 0);
		expect_eq(pclose(p), 0);
		work();
	}
}

/* ---- for tests that need one in the middle of something ---- */
static void hold(void)
{
	device_start();
	blocks_move(0, 1);
	printf("holding\n");
	fflush(stdout);
	(void)!getchar();
	blocks_move(0, 2);
	device_stop();
}

static void storm(void)
{
	const uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	const size_t len = 64 * PAGE;

	device_start();
	printf("storm\n");
	fflush(stdout);
	for (unsigned int i = 0;; i++) {
		uint8_t *p =
		    mmap(NULL, len, PROT_READ | PROT_WRITE, (i & 1 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);

		expect(p != MAP_FAILED);
		memset(p, i, len);
		expect_eq(dma_map(p, 2 * DATA_IOVA, len, flags), 0);
		expect_eq(nvme_rw(i & 2, i % 16, PAGE, 2 * DATA_IOVA + PAGE * (i % 64)), 0);
		if (i % 8 == 7) {
			pid_t pid = fork();

			if (!pid) {
				p[0]++;
				_exit(0);
			}
			child_wait(pid);
		}
		if (i % 3)
			expect_eq(dma_unmap(2 * DATA_IOVA, len, 0, NULL), 0);
		munmap(p, len);
		if (i % 3 == 0)
			expect_eq(dma_unmap(2 * DATA_IOVA, len, 0, NULL), 0);
		if (i % 16 == 15) {
			device_stop();
			device_start();
		}
	}
}

static void open_group(void)
{
	int fd = group_open();

	printf("%s\n", fd < 0 ? strerror(errno) : "opened");
}

static const struct {
	const char *name;
	void (*run)(void);
} table[] = {
    {"work", work},
    {"blocked", blocked},
    {"handlers", handlers},
    {"interrupted", interrupted},
    {"die", die},
    {"threads", threads},
    {"close-all", close_all},
    {"duplicates", duplicates},
    {"send-away", send_away},
    {"keep-through-exec", keep_through_exec},
    {"adopt", adopt},
    {"fork-and-go-on", fork_and_go_on},
    {"vfork-exec", vfork_exec},
    {"spawn", spawn},
    {"shells", shells},
    {"hold", hold},
    {"storm", storm},
    {"open-group", open_group},
};

int main(int argc, char **argv)
{
	self = argv;
	alarm(240); /* what hangs ends with a failure */
	for (size_t i = 0; i < COUNT(table); i++) {
		if (argc > 1 && !strcmp(argv[1], table[i].name)) {
			table[i].run();
			printf("%s: done\n", argv[1]);
			return 0;
		}
	}
	return 2;
}
