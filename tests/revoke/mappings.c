/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program can do with a mapped BAR beside touching it: it fails, works and signals as at memory of a device in
 * Linux (VM_IO, VM_PFNMAP, VM_DONTEXPAND). Arguments: none, or `program NAME` (by itself).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define PAGE	   4096UL
#define REG_VALUE  0x01010101u
#define READ_WRITE (PROT_READ | PROT_WRITE)

static int container, group, device;

#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);                   \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)
#define FAILS(call, err) MUST((long)(call) == -1 && errno == (err))

static uint64_t region(unsigned int index)
{
	struct vfio_region_info r = {.argsz = sizeof(r), .index = index};

	MUST(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &r));
	return r.offset;
}

static void memory(bool on)
{
	uint16_t v = on ? PCI_COMMAND_MEMORY : 0;

	MUST(pwrite(device, &v, 2, region(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND) == 2);
}

static void open_device(void)
{
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open("/dev/vfio/1", O_RDWR);
	MUST(container >= 0 && group >= 0 && !ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	MUST(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
	MUST(device >= 0);
	memory(true);
}

static volatile uint32_t *map(unsigned int bar, int prot)
{
	void *p = mmap(NULL, bar ? RAM_BYTES : REGS_BYTES, prot, MAP_SHARED, device, region(bar));

	MUST(p != MAP_FAILED);
	return p;
}

/* ---- signals ---- */

static sigjmp_buf escape;
static siginfo_t caught;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	caught = *si;
	siglongjmp(escape, 1);
}

/* 0: it was done. Otherwise the signal, which says its address. */
static int try(volatile uint32_t *at, bool write)
{
	if (sigsetjmp(escape, 1)) {
		MUST(caught.si_addr == (void *)at);
		return caught.si_signo;
	}
	if (write)
		*at = 1;
	else
		(void)*at;
	return 0;
}

static int load(volatile uint32_t *at)
{
	return try(at, false);
}

static int store(volatile uint32_t *at)
{
	return try(at, true);
}

/* ---- programs ---- */

static void protection(void)
{
	for (unsigned int bar = 0; bar <= 2; bar += 2) {
		volatile uint32_t *ro = map(bar, PROT_READ), *none = map(bar, PROT_NONE);

		MUST(load(ro) == 0);
		MUST(store(ro) == SIGSEGV && caught.si_code == SEGV_ACCERR);
		MUST(load(none) == SIGSEGV && caught.si_code == SEGV_ACCERR && store(none) == SIGSEGV);
		memory(false);
		MUST(load(ro) == SIGBUS && caught.si_code == BUS_ADRERR && load(none) == SIGSEGV);
		memory(true);
		MUST(!mprotect((void *)ro, PAGE, READ_WRITE) && store(ro) == 0 && load(ro) == 0);
		MUST(!mprotect((void *)none, PAGE, PROT_READ) && load(none) == 0 && store(none) == SIGSEGV);
	}
	MUST(machine_ledger()->writes == 1);
}

static void moved(void)
{
	for (unsigned int bar = 0; bar <= 2; bar += 2) {
		size_t size = bar ? RAM_BYTES : REGS_BYTES;
		volatile uint32_t *at = map(bar, READ_WRITE), *now;
		void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		FAILS(mremap((void *)at, size, 2 * size, MREMAP_MAYMOVE), EFAULT);
		FAILS(mremap((void *)at, 0, size, MREMAP_MAYMOVE), EFAULT); /* a second mapping of it */
		FAILS(mremap((void *)at, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP), EINVAL);
		now = mremap((void *)at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
		MUST(now == place && load(now) == 0 && load(at) == SIGSEGV);
		memory(false);
		MUST(load(now) == SIGBUS && load(now + PAGE / 4) == SIGBUS);
		memory(true);
		MUST(mremap((void *)now, size, PAGE, 0) == now && load(now) == 0);
		MUST(load(now + PAGE / 4) == SIGSEGV && caught.si_code == SEGV_MAPERR);
	}
}

/* What lies over it is the program's, and so are its faults there. */
static void covered(void)
{
	for (unsigned int bar = 0; bar <= 2; bar += 2) {
		volatile uint32_t *at = map(bar, READ_WRITE), *over = at + PAGE / 4;
		int fd = memfd_create("over", 0);

		MUST(!ftruncate(fd, PAGE));
		MUST(mmap((void *)over, PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == over);
		*over = 77;
		memory(false);
		MUST(*over == 77 && load(at) == SIGBUS && load(over + PAGE / 4) == SIGBUS);
		MUST(!ftruncate(fd, 0) && load(over) == SIGBUS);
		memory(true);
		MUST(load(over) == SIGBUS && load(at) == 0 && load(over + PAGE / 4) == 0);
		close(fd);
	}
}

static void advised(void)
{
	static const int advice[] = {MADV_DONTNEED, MADV_FREE};
	volatile uint32_t *ram = map(2, READ_WRITE), *regs = map(0, READ_WRITE);

	ram[0] = 5;
	for (unsigned int i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
		FAILS(madvise((void *)ram, PAGE, advice[i]), EINVAL);
		FAILS(madvise((void *)regs, PAGE, advice[i]), EINVAL);
	}
	FAILS(madvise((void *)ram, PAGE, MADV_REMOVE), ENODEV);
	MUST(ram[0] == 5 && regs[0] == REG_VALUE);
}

static void vectors(void)
{
	uint8_t b[12] = {0};
	struct iovec v[] = {{b, 4}, {NULL, 0}, {b + 4, 2}, {b + 6, 2}}, bad[] = {{b, 4}, {(void *)8, 4}};
	struct iovec *volatile nowhere = (struct iovec *)8;
	volatile uint32_t *ram = map(2, READ_WRITE);
	static struct iovec many[1025];
	uint64_t at = region(2);

	ram[0] = 0x44332211;
	ram[1] = 0x88776655;
	MUST(preadv(device, v, 4, at) == 8 && !memcmp(b, "\x11\x22\x33\x44\x55\x66\x77\x88", 8));
	MUST(preadv2(device, v, 4, at, 0) == 8);
	b[4] = 9;
	MUST(pwritev(device, v, 4, at + 8) == 8 && ram[2] == 0x44332211 && ram[3] == 0x88776609);
	MUST(pwritev2(device, v, 1, at + 16, 0) == 4 && ram[4] == 0x44332211);
	MUST(preadv(device, v, 0, at) == 0);
	MUST(preadv(device, bad, 2, at) == 4); /* as far as it came */
	FAILS(preadv(device, bad + 1, 1, at), EFAULT);
	FAILS(preadv(device, nowhere, 1, at), EFAULT);
	FAILS(preadv(device, many, 1025, at), EINVAL);
	FAILS(preadv2(device, v, 1, at, RWF_NOWAIT), EOPNOTSUPP);
	memory(false);
	FAILS(preadv(device, v, 4, at), EIO);
	memory(true);
}

static volatile uint32_t *child_regs;

/* It never returns: what it leaves on a stack that others use after it, AddressSanitizer must not see. */
__attribute__((no_sanitize("address"))) static int child(void *arg)
{
	uint32_t v = 0;

	child_regs[REG_PLAIN / 4] = 1;
	_exit(child_regs[0] == REG_VALUE && pread(device, &v, 4, region(0)) == 4 && v == REG_VALUE ? 7 : 8);
}

/* Whoever has the memory has the mapping, with descriptors of his own or without. */
static void children(void)
{
	static const int flags[] = {CLONE_VM, CLONE_VM | CLONE_VFORK, CLONE_VM | CLONE_FILES, CLONE_FILES, 0};
	static char stack[1 << 16] __attribute__((aligned(16)));
	int status;
	pid_t pid;

	child_regs = map(0, READ_WRITE);
	for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		pid = clone(child, stack + sizeof(stack), flags[i] | SIGCHLD, NULL);
		MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
		MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
		MUST(child_regs[0] == REG_VALUE);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} programs[] = {
    {"protection", protection}, {"moved", moved},     {"covered", covered},
    {"advised", advised},	{"vectors", vectors}, {"children", children},
};

static int program(const char *name)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};

	alarm(120);
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
	return argc == 3 ? program(argv[2]) : machine_run(argv[0], argv[1]);
}
