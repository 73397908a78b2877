/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seccomp filter. It traps a call only when the instruction pointer lies in this image's text ranges: filters
 * outlive exec, and the next image's dynamic linker runs before its boundary is there to catch anything. The number is
 * tested first, so that the kernel can cache "always allowed" for every call that is not listed.
 *
 * Built by hand: libseccomp cannot test the instruction pointer.
 */
#include "boundary/boundary.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif

#define DATA(field) offsetof(struct seccomp_data, field)
#define ARG_LO(n)   (DATA(args) + 8 * (n))
#define ARG_HI(n)   (DATA(args) + 8 * (n) + 4)
#define FILTER_MAX  400

struct builder {
	struct sock_filter insn[FILTER_MAX];
	unsigned int n;
};

static void emit(struct builder *b, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (b->n < FILTER_MAX)
		b->insn[b->n] = (struct sock_filter){code, jt, jf, k};
	b->n++;
}

#define LOAD(off)	emit(b, BPF_LD | BPF_W | BPF_ABS, 0, 0, off)
#define JEQ(k, jt, jf)	emit(b, BPF_JMP | BPF_JEQ | BPF_K, jt, jf, k)
#define JGE(k, jt, jf)	emit(b, BPF_JMP | BPF_JGE | BPF_K, jt, jf, k)
#define JSET(k, jt, jf) emit(b, BPF_JMP | BPF_JSET | BPF_K, jt, jf, k)
#define AND(k)		emit(b, BPF_ALU | BPF_AND | BPF_K, 0, 0, k)
#define RET(k)		emit(b, BPF_RET | BPF_K, 0, 0, k)

/* Where a conditional block may end: allowed here, or on to the test of the instruction pointer. */
#define ALLOW RET(SECCOMP_RET_ALLOW)

static const uint16_t always[] = {
    __NR_open,	    __NR_openat,      __NR_openat2,	 __NR_creat,	     __NR_stat,		__NR_lstat,
    __NR_fstat,	    __NR_newfstatat,  __NR_statx,	 __NR_access,	     __NR_faccessat,	__NR_faccessat2,
    __NR_readlink,  __NR_readlinkat,  __NR_chdir,	 __NR_getcwd,	     __NR_getxattr,	__NR_lgetxattr,
    __NR_listxattr, __NR_llistxattr,  __NR_statfs,	 __NR_fstatfs,	     __NR_execve,	__NR_execveat,
    __NR_munmap,    __NR_mremap,      __NR_fork,	 __NR_rt_sigsuspend, __NR_rt_sigaction, __NR_mkdir,
    __NR_mkdirat,   __NR_rmdir,	      __NR_unlink,	 __NR_unlinkat,	     __NR_rename,	__NR_renameat,
    __NR_renameat2, __NR_link,	      __NR_linkat,	 __NR_symlink,	     __NR_symlinkat,	__NR_mknod,
    __NR_mknodat,   __NR_truncate,    __NR_chmod,	 __NR_fchmodat,	     __NR_chown,	__NR_lchown,
    __NR_fchownat,  __NR_utime,	      __NR_utimes,	 __NR_futimesat,     __NR_utimensat,	__NR_setxattr,
    __NR_lsetxattr, __NR_removexattr, __NR_lremovexattr,
};

static const uint16_t followed[] = {
    __NR_mprotect, __NR_pkey_mprotect, __NR_brk, __NR_shmdt, __NR_shmat, __NR_remap_file_pages, __NR_exit_group,
};

static const uint16_t written[] = {__NR_write};

static const uint16_t watched[] = {__NR_brk, __NR_ftruncate, __NR_fallocate};

/* jump over the n following instructions unless the number (in A) is nr */
#define CASE(nr, n) JEQ(nr, 0, n)

static void build_conditions(struct builder *b, unsigned int *trap_jumps, unsigned int *ntrap)
{
/* "A jump to the instruction-pointer test", patched when its place is known. */
#define TRAP()                                                                                                         \
	do {                                                                                                           \
		trap_jumps[(*ntrap)++] = b->n;                                                                         \
		emit(b, BPF_JMP | BPF_JA, 0, 0, 0);                                                                    \
	} while (0)

	/* ioctl: type byte ';' is VFIO's and iommufd's. */
	CASE(__NR_ioctl, 5);
	LOAD(ARG_LO(1));
	AND(0xff00);
	JEQ(VFIO_TYPE << 8, 1, 0);
	ALLOW;
	TRAP();

	/* pread, pwrite and their kin: our offsets, or the kernel's form index << 40 for 1 <= index <= 9. */
	static const uint16_t at_offset[] = {__NR_pread64, __NR_pwrite64, __NR_preadv,
					     __NR_pwritev, __NR_preadv2,  __NR_pwritev2};

	for (unsigned int i = 0; i < ARRAY_SIZE(at_offset); i++) {
		CASE(at_offset[i], 8);
		LOAD(ARG_HI(3));
		JGE(REGION_OFFSET_MAGIC >> 32, 1, 0);
		JGE(0xa00, 1, 2);
		JGE((REGION_OFFSET_MAGIC >> 32) + 0x10000, 0, 3);
		ALLOW;
		JGE(0x100, 1, 0);
		ALLOW;
		TRAP();
	}

	/* mmap: our offsets, MAP_FIXED (it may replace something of ours), shared anonymous memory. */
	CASE(__NR_mmap, 10);
	LOAD(ARG_HI(5));
	AND(REGION_OFFSET_MAGIC_MASK >> 32);
	JEQ(REGION_OFFSET_MAGIC >> 32, 6, 0);
	LOAD(ARG_LO(3));
	JSET(MAP_FIXED, 4, 0);
	AND(MAP_TYPE | MAP_ANONYMOUS);
	JEQ(MAP_SHARED | MAP_ANONYMOUS, 2, 0);
	LOAD(ARG_HI(5));
	JGE(0x100, 0, 1);
	TRAP();
	/* falls through to the next case with A changed: reload the number */
	LOAD(DATA(nr));
	JEQ(__NR_mmap, 0, 1);
	ALLOW;

	CASE(__NR_madvise, 7);
	LOAD(ARG_LO(2));
	JEQ(MADV_DONTNEED, 4, 0);
	JEQ(24 /* MADV_DONTNEED_LOCKED */, 3, 0);
	JEQ(MADV_FREE, 2, 0);
	JEQ(MADV_REMOVE, 1, 0);
	ALLOW;
	TRAP();

	/* Descriptors: what reaches into the range where ours lives. */
	static const struct {
		uint16_t nr;
		uint8_t arg;
	} closing[] = {{__NR_close, 0}, {__NR_dup2, 1}, {__NR_dup3, 1}};

	for (unsigned int i = 0; i < ARRAY_SIZE(closing); i++) {
		CASE(closing[i].nr, 5);
		LOAD(ARG_LO(closing[i].arg));
		JGE(image.keep_first, 0, 1);
		JGE(image.keep_first + KEEP_FD_COUNT, 0, 1);
		ALLOW;
		TRAP();
	}
	/* What EMPTY answers for. */
	CASE(__NR_read, 5);
	LOAD(ARG_LO(0));
	JGE(image.keep_first + KEEP_FD_COUNT, 0, 1);
	JGE(image.keep_first + KEEP_FD_COUNT + ASK_FD_COUNT, 0, 1);
	ALLOW;
	TRAP();
	CASE(__NR_close_range, 4);
	LOAD(ARG_LO(1));
	JGE(image.keep_first, 1, 0);
	ALLOW;
	TRAP();

	/* clone that makes a process with memory of its own; threads and vfork are left alone. */
	CASE(__NR_clone, 4);
	LOAD(ARG_LO(0));
	JSET(0x100 /* CLONE_VM */, 0, 1);
	ALLOW;
	TRAP();

	CASE(__NR_ptrace, 4);
	LOAD(ARG_LO(0));
	JEQ(0 /* PTRACE_TRACEME */, 1, 0);
	ALLOW;
	TRAP();

	/* Calls that matter only with a signal mask in a certain argument. */
	static const struct {
		uint16_t nr;
		uint8_t arg;
	} masks[] = {{__NR_ppoll, 3},	    {__NR_pselect6, 5},	    {__NR_io_pgetevents, 5},
		     {__NR_epoll_pwait, 4}, {__NR_epoll_pwait2, 4}, {__NR_rt_sigprocmask, 1}};

	for (unsigned int i = 0; i < ARRAY_SIZE(masks); i++) {
		CASE(masks[i].nr, 6);
		LOAD(ARG_LO(masks[i].arg));
		JEQ(0, 0, 3);
		LOAD(ARG_HI(masks[i].arg));
		JEQ(0, 0, 1);
		ALLOW;
		TRAP();
	}
#undef TRAP
}

/* One range that does not cross a 4 GiB border: falls through when the pointer is elsewhere. */
static void build_range(struct builder *b, uint64_t start, uint64_t last)
{
	LOAD(DATA(instruction_pointer) + 4);
	JEQ((uint32_t)(start >> 32), 0, 4);
	LOAD(DATA(instruction_pointer));
	JGE((uint32_t)start, 0, 2);
	emit(b, BPF_JMP | BPF_JGT | BPF_K, 1, 0, (uint32_t)last);
	RET(SECCOMP_RET_TRAP | FILTER_TRAP_DATA);
}

/*
 * A program that was loaded later (loader.c): one more filter, for its text alone. exe is what /proc/self/exe shall
 * say. 0 or -errno.
 */
__attribute__((visibility("default"))) int pinfold_boundary_add_text(uint64_t start, uint64_t end, const char *exe);

int pinfold_boundary_add_text(uint64_t start, uint64_t end, const char *exe)
{
	image.ntext = 0;
	image.text[image.ntext++] = (struct text_range){start, end};
	image.exe = exe;
	return filter_install(FILTER_ALL);
}

/* The rest: a list, and whose calls they are. */
static void build_list(struct builder *b, const uint16_t *nr, unsigned int n, const unsigned int *trap_jumps,
		       unsigned int ntrap)
{
	unsigned int ip_test;

	for (unsigned int i = 0; i < n; i++)
		JEQ(nr[i], n - i, 0);
	ALLOW;
	ip_test = b->n;
	for (unsigned int i = 0; i < ntrap; i++)
		b->insn[trap_jumps[i]].k = ip_test - trap_jumps[i] - 1;
	for (unsigned int i = 0; i < image.ntext; i++) {
		uint64_t start = image.text[i].start, last = image.text[i].end;

		if (start >> 32 != last >> 32) {
			build_range(b, start, (start | 0xffffffff));
			start = (start | 0xffffffff) + 1;
		}
		build_range(b, start, last);
	}
	ALLOW;
}

int filter_install(enum filter_kind kind)
{
	/* That kind is installed while a path is being served. */
	struct scratch *s = kind == FILTER_WRITE ? scratch_get_nested() : scratch_get();
	struct builder *b = (struct builder *)s->buf;
	unsigned int trap_jumps[32], ntrap = 0, flags = 0;
	struct sock_fprog prog;
	long ret;

	_Static_assert(sizeof(*b) <= sizeof(s->buf), "the filter is built in scratch space");
	b->n = 0;
	LOAD(DATA(arch));
	JEQ(AUDIT_ARCH_X86_64, 1, 0);
	ALLOW;
	LOAD(DATA(nr));
	if (kind == FILTER_FOLLOW) {
		flags = SECCOMP_FILTER_FLAG_TSYNC;
		build_list(b, followed, ARRAY_SIZE(followed), NULL, 0);
	} else if (kind == FILTER_WRITE) {
		flags = SECCOMP_FILTER_FLAG_TSYNC;
		build_list(b, written, ARRAY_SIZE(written), NULL, 0);
	} else if (kind == FILTER_WATCH) {
		flags = SECCOMP_FILTER_FLAG_TSYNC;
		build_list(b, watched, ARRAY_SIZE(watched), NULL, 0);
	} else {
		/* clone3 hides its flags in memory; without it libc uses clone. */
		JEQ(__NR_clone3, 0, 1);
		RET(SECCOMP_RET_ERRNO | ENOSYS);
		build_conditions(b, trap_jumps, &ntrap);
		build_list(b, always, ARRAY_SIZE(always), trap_jumps, ntrap);
	}

	if (b->n > FILTER_MAX) {
		scratch_put(s);
		return -E2BIG;
	}
	prog.len = b->n;
	prog.filter = b->insn;
	ret = sys5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!ret)
		ret = sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	scratch_put(s);
	return ret > 0 ? -EPERM : ret; /* a thread that has a filter of its own */
}
