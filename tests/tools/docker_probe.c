/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What works inside a Docker container with the default profile and what does not, as TAP. Arguments are chosen so that
 * a kernel without the filter answers with another errno than EPERM, whoever asks.
 *
 * docker_probe [CAPEFF NNP]: also wants that set of effective capabilities (hexadecimal) and that no_new_privs.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

static unsigned int tests, failures;

static void __attribute__((format(printf, 2, 3))) ok(bool pass, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u - ", pass ? "" : "not ", ++tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	failures += !pass;
}

static void denied(void)
{
	static const struct {
		const char *name;
		long nr, a, b, c;
	} calls[] = {
	    {"unshare(CLONE_NEWUSER)", SYS_unshare, CLONE_NEWUSER},
	    {"unshare(no such flag)", SYS_unshare, 1},
	    {"mount", SYS_mount, -1, -1, -1},
	    {"umount2", SYS_umount2, -1, -1},
	    {"setns", SYS_setns, -1},
	    {"io_uring_setup", SYS_io_uring_setup, 0},
	    {"io_uring_enter", SYS_io_uring_enter, -1},
	    {"io_uring_register", SYS_io_uring_register, -1, -1},
	    {"userfaultfd", SYS_userfaultfd, -1},
	    {"pidfd_getfd", SYS_pidfd_getfd, -1},
	    {"process_madvise", SYS_process_madvise, -1},
	    {"kcmp", SYS_kcmp, -1, -1, -1},
	    {"bpf", SYS_bpf, -1},
	    {"perf_event_open", SYS_perf_event_open, -1},
	    {"keyctl", SYS_keyctl, -1},
	    {"add_key", SYS_add_key, -1, -1, -1},
	    {"mbind", SYS_mbind, 1},
	    {"get_mempolicy", SYS_get_mempolicy, 0, 0, 0},
	    {"open_by_handle_at", SYS_open_by_handle_at, -1, -1},
	    {"init_module", SYS_init_module, -1, -1, -1},
	    {"socket(AF_VSOCK)", SYS_socket, AF_VSOCK, -1, -1},
	    {"socket(AF_ALG)", SYS_socket, AF_ALG, -1, -1},
	    {"personality(ADDR_NO_RANDOMIZE)", SYS_personality, ADDR_NO_RANDOMIZE},
	    {"clone(CLONE_NEWUSER | CLONE_FS)", SYS_clone, CLONE_NEWUSER | CLONE_FS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		long rc;

		errno = 0;
		rc = syscall(calls[i].nr, calls[i].a, calls[i].b, calls[i].c, 0, 0, 0);
		ok(rc == -1 && errno == EPERM, "%s is EPERM (%ld, %s)", calls[i].name, rc, strerrorname_np(errno));
	}
}

static bool ptrace_works(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? 1 : 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void allowed(void)
{
	uint32_t action = SECCOMP_RET_TRAP;
	char from[8] = "pinfold", to[8] = "";
	struct iovec local = {to, sizeof(to)}, remote = {from, sizeof(from)};

	ok(!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action), "seccomp works");
	ok(memfd_create("probe", 0) >= 0, "memfd_create works");
	ok(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof(from) && !strcmp(from, to),
	   "process_vm_readv works");
	ok(process_vm_writev(getpid(), &remote, 1, &local, 1, 0) == sizeof(to), "process_vm_writev works");
	ok(syscall(SYS_pidfd_open, getpid(), 0) >= 0, "pidfd_open works");
	ok(socket(AF_UNIX, SOCK_SEQPACKET, 0) >= 0, "socket(AF_UNIX) works");
	ok(personality(0xffffffff) != -1, "personality(query) works");
	ok(ptrace_works(), "fork and ptrace work");
	ok(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS, "clone3 is ENOSYS");
	ok(syscall(999) == -1 && errno == ENOSYS, "an unknown call is ENOSYS");
}

static uint64_t status_field(const char *name, int base)
{
	char line[256];
	uint64_t v = ~0ULL;
	FILE *fp = fopen("/proc/self/status", "r");

	while (fp && fgets(line, sizeof(line), fp))
		if (!strncmp(line, name, strlen(name)))
			v = strtoull(line + strlen(name), NULL, base);
	if (fp)
		fclose(fp);
	return v;
}

int main(int argc, char **argv)
{
	denied();
	allowed();
	ok(status_field("Seccomp:", 10) == SECCOMP_MODE_FILTER, "a filter is loaded");
	if (argc > 2) {
		uint64_t want = strtoull(argv[1], NULL, 16), outside = ~0xa80425fbULL;

		ok(status_field("CapEff:", 16) == want, "effective capabilities are %s", argv[1]);
		ok(status_field("CapPrm:", 16) == want, "permitted capabilities are the same");
		ok(status_field("CapInh:", 16) == 0, "none is inheritable");
		ok(!(status_field("CapBnd:", 16) & outside), "the bounding set is within Docker's");
		ok(status_field("NoNewPrivs:", 10) == strtoull(argv[2], NULL, 10), "no_new_privs is %s", argv[2]);
		ok((chroot("/") == 0) == (want >> CAP_SYS_CHROOT & 1), "chroot follows the capability");
	}
	printf("1..%u\n", tests);
	return failures ? 1 : 0;
}
