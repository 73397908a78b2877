/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * docker_sandbox [--uid N] [--] COMMAND [ARG]...
 *
 * Runs COMMAND as `docker run` would as far as system calls and capabilities go, where there is no Docker: Docker's
 * default seccomp profile, its default bounding set, and with --uid that user and group without any capability. Files,
 * namespaces and mounts stay the caller's. As root the filter goes in before the capabilities go, as runc does it, so
 * that no_new_privs stays off; anyone else has to set it.
 *
 * Exit status: COMMAND's own; 125 the sandbox failed, 126 COMMAND cannot be run, 127 there is none.
 */
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "docker_profile.h"

#define EXIT_SANDBOX 125

static void __attribute__((noreturn, format(printf, 2, 3))) die(int err, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "docker_sandbox: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(EXIT_SANDBOX);
}

/* ---- capabilities ---- */

static uint64_t default_set(void)
{
	uint64_t set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(default_capabilities); i++)
		set |= BIT64(default_capabilities[i]);
	return set;
}

/* Bounding, effective, permitted; nothing inheritable or ambient, as Docker since 20.10.14. */
static void capabilities_drop(uint64_t keep)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(keep & BIT64(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && geteuid() == 0)
			die(errno, "cannot drop capability %d", cap);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		die(errno, "cannot clear the ambient capabilities");
	if (syscall(SYS_capget, &hdr, data))
		die(errno, "capget");
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= keep >> 32 * i;
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &hdr, data))
		die(errno, "capset");
}

static void become(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		die(errno, "cannot become user %u", uid);
}

/* ---- the filter ---- */

static int highest_nr; /* of the native architecture, that any rule names */

static void rule_add(scmp_filter_ctx ctx, uint32_t action, const char *name, const struct scmp_arg_cmp *cmp)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR)
		return;
	highest_nr = MAX(highest_nr, nr);
	rc = seccomp_rule_add_array(ctx, action, nr, cmp ? 1 : 0, cmp);
	if (rc)
		die(-rc, "no rule for %s", name);
}

static void rules_add_conditional(scmp_filter_ctx ctx)
{
	static const uint64_t personalities[] = {0, 0x0008, 0x20000, 0x20008, 0xffffffff};
	const uint64_t namespaces =
	    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		rule_add(ctx, SCMP_ACT_ALLOW, "personality", &SCMP_A0(SCMP_CMP_EQ, personalities[i]));
	/* Every family but AF_ALG (38) and AF_VSOCK (40). */
	rule_add(ctx, SCMP_ACT_ALLOW, "socket", &SCMP_A0(SCMP_CMP_LT, AF_ALG));
	rule_add(ctx, SCMP_ACT_ALLOW, "socket", &SCMP_A0(SCMP_CMP_EQ, AF_ALG + 1));
	rule_add(ctx, SCMP_ACT_ALLOW, "socket", &SCMP_A0(SCMP_CMP_GT, AF_VSOCK));
	rule_add(ctx, SCMP_ACT_ALLOW, "clone", &SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
	/* Its flags lie in memory: ENOSYS makes programs fall back to clone. */
	rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", NULL);
}

static scmp_filter_ctx filter_build(uint64_t caps)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!ctx)
		die(ENOMEM, "no filter");
	if (seccomp_arch_add(ctx, SCMP_ARCH_X86) || seccomp_arch_add(ctx, SCMP_ARCH_X32))
		die(EINVAL, "cannot add the 32-bit architectures");
	for (size_t i = 0; i < ARRAY_SIZE(allowed_always); i++)
		rule_add(ctx, SCMP_ACT_ALLOW, allowed_always[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(allowed_with_capability); i++) {
		const struct capability_calls *c = &allowed_with_capability[i];

		for (size_t j = 0; (caps & BIT64(c->cap)) && c->names[j]; j++)
			rule_add(ctx, SCMP_ACT_ALLOW, c->names[j], NULL);
	}
	rules_add_conditional(ctx);
	return ctx;
}

/*
 * runc answers ENOSYS, not EPERM, to calls newer than any that the profile knows, so that programs fall back. A second
 * filter does that: where two filters return an errno, the one added last decides it.
 */
static void filter_add_enosys(bool privileged)
{
	const struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, highest_nr, 0, 2),
	    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 1, 0), /* x32 numbers */
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = (struct sock_filter *)code};

	if (!privileged && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die(errno, "no_new_privs");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		die(errno, "cannot load the ENOSYS filter");
}

static void filter_load(uint64_t caps, bool privileged)
{
	scmp_filter_ctx ctx = filter_build(caps);
	int rc;

	rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, !privileged);
	if (!rc)
		rc = seccomp_load(ctx);
	if (rc)
		die(-rc, "cannot load the filter");
	seccomp_release(ctx);
	filter_add_enosys(privileged);
}

static bool may_load_without_nnp(void)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	return !syscall(SYS_capget, &hdr, data) && (data[0].effective & BIT(CAP_SYS_ADMIN));
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr, "usage: docker_sandbox [--uid N] [--] COMMAND [ARG]...\n");
	exit(EXIT_SANDBOX);
}

int main(int argc, char **argv)
{
	long uid = -1;
	char *end;
	int i = 1;

	if (i + 1 < argc && !strcmp(argv[i], "--uid")) {
		uid = strtol(argv[i + 1], &end, 10);
		if (*end || uid <= 0 || uid > INT32_MAX)
			usage();
		i += 2;
	}
	if (i < argc && !strcmp(argv[i], "--"))
		i++;
	if (i >= argc || argv[i][0] == '-')
		usage();

	filter_load(default_set(), may_load_without_nnp());
	capabilities_drop(default_set());
	if (uid > 0 && ((uid_t)uid != getuid() || getuid() != geteuid()))
		become(uid);
	execvp(argv[i], argv + i);
	fprintf(stderr, "docker_sandbox: %s: %s\n", argv[i], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}
