/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/guard.h"
#include "broker/private.h"
#include "pci/pci.h"
#include "vfio/vfio.h"

#define LEDGER_ENV "PINFOLD_TEST_LEDGER"

#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                     \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

static struct ledger *ledger;
static struct pci_func func;

/* An access in the middle of a phase in which no memory can be had. */
static void note(void)
{
	if (atomic_load(&ledger->phase) % PHASES == PHASE_OFF || !pci_mem_enabled(&func))
		atomic_fetch_add(&ledger->while_off, 1);
}

static uint64_t reg_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	note();
	atomic_fetch_add(&ledger->reads, 1);
	return 0x0101010101010101ull;
}

static void reg_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	note();
	atomic_fetch_add(&ledger->writes, 1);
	if (off == REG_EVENT)
		atomic_fetch_add(&ledger->events, 1);
	if (off == REG_EVENT_OFF)
		atomic_fetch_add(&ledger->events_off, 1);
}

static void func_reset(struct pci_func *f)
{
	atomic_fetch_add(&ledger->resets, 1);
}

static void func_destroy(struct pci_func *f)
{
	pci_func_fini(f);
}

static void func_add(struct broker *b)
{
	static const struct pci_func_ops ops = {
	    .bar_read = reg_read, .bar_write = reg_write, .reset = func_reset, .destroy = func_destroy};
	static const struct pci_ids ids = {.vendor = 0x1b36, .device = 0x10, .class = 0x058000};

	MUST(!pci_func_init(&func, &ops, "counter", &ids, &b->events));
	MUST(!pci_add_bar(&func, 0, REGS_BYTES, true, false));
	MUST(!pci_add_mem_bar(&func, 2, RAM_BYTES, true, true));
	MUST(!pci_add_mem_bar(&func, 4, LARGE_BYTES, true, true));
	MUST(!pci_add_pm(&func) && !pci_add_express(&func) && !pci_add_msix(&func, 4, 0, 0x2000, 0x3000));
	pci_func_place(&func, 0, 0x100, 1);
	MUST(!vfio_add(b->vfio, &func));
}

static void broker_process(int stop, int ready)
{
	struct broker_options o = {0};
	char err[256];
	struct broker *b;
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	MUST(!guard_install());
	b = broker_new(&o, err, sizeof(err));
	if (!b)
		fprintf(stderr, "broker: %s\n", err);
	MUST(b);
	func_add(b);
	MUST(write(ready, broker_address(b), strlen(broker_address(b)) + 1) > 0);
	close(ready);
	ret = broker_serve(b, stop);
	broker_free(b);
	_exit(ret ? 1 : 0);
}

struct ledger *machine_ledger(void)
{
	if (!ledger) {
		ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(getenv(LEDGER_ENV)), 0);
		MUST(ledger != MAP_FAILED);
	}
	return ledger;
}

static pid_t start_broker(int *stop)
{
	int control[2], ready[2];
	char address[128] = "";
	pid_t pid;

	MUST(!pipe2(control, O_CLOEXEC) && !pipe2(ready, O_CLOEXEC));
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		close(control[1]);
		broker_process(control[0], ready[1]);
	}
	close(ready[1]);
	MUST(read(ready[0], address, sizeof(address) - 1) > 0);
	close(ready[0]);
	close(control[0]);
	setenv(ENV_SOCKET, address, 1);
	*stop = control[1];
	return pid;
}

static pid_t start_program(const char *self, const char *name)
{
	const char *boundary = getenv("PINFOLD_BOUNDARY");
	char asan[512];
	pid_t pid;

	MUST(boundary);
	pid = fork();
	MUST(pid >= 0);
	if (pid)
		return pid;
	setenv("LD_PRELOAD", boundary, 1);
	snprintf(asan, sizeof(asan), "%s:verify_asan_link_order=0", getenv("ASAN_OPTIONS") ?: "");
	setenv("ASAN_OPTIONS", asan, 1);
	execl(self, self, "program", name, NULL);
	_exit(127);
}

int machine_run(const char *self, const char *name)
{
	int fd = memfd_create("ledger", 0), stop, status, broker_status;
	pid_t broker, program;
	char number[16];

	MUST(fd >= 0 && !ftruncate(fd, sizeof(*ledger)));
	snprintf(number, sizeof(number), "%d", fd);
	setenv(LEDGER_ENV, number, 1);
	machine_ledger();
	broker = start_broker(&stop);
	program = start_program(self, name);
	MUST(waitpid(program, &status, 0) == program);
	close(stop);
	MUST(waitpid(broker, &broker_status, 0) == broker);
	if (WIFSIGNALED(status))
		fprintf(stderr, "program: signal %d\n", WTERMSIG(status));
	if (broker_status)
		fprintf(stderr, "broker: status %#x\n", broker_status);
	return broker_status || !WIFEXITED(status) ? 1 : WEXITSTATUS(status);
}
