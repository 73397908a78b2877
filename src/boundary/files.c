/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls that name files. A path that cannot be ours is recognised early and its call let through; one that is
 * ours is made here, on its place in the shadow tree, and its result is dressed as what the program asked about.
 */
#include "boundary/boundary.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Where a call keeps its path. Argument numbers count from 1; dirfd 0: relative to the working directory. */
struct path_call {
	uint16_t nr;
	uint8_t dirfd, path;
	enum { FOLLOW, NOFOLLOW, FLAGS_AT } last;
	uint8_t flags; /* FLAGS_AT: the argument with AT_* flags */
};

static const struct path_call calls[] = {
    {__NR_open, 0, 1, FOLLOW, 0},	  {__NR_openat, 1, 2, FOLLOW, 0},	{__NR_openat2, 1, 2, FOLLOW, 0},
    {__NR_creat, 0, 1, FOLLOW, 0},	  {__NR_stat, 0, 1, FOLLOW, 0},		{__NR_lstat, 0, 1, NOFOLLOW, 0},
    {__NR_newfstatat, 1, 2, FLAGS_AT, 4}, {__NR_statx, 1, 2, FLAGS_AT, 3},	{__NR_access, 0, 1, FOLLOW, 0},
    {__NR_faccessat, 1, 2, FOLLOW, 0},	  {__NR_faccessat2, 1, 2, FLAGS_AT, 4}, {__NR_readlink, 0, 1, NOFOLLOW, 0},
    {__NR_readlinkat, 1, 2, NOFOLLOW, 0}, {__NR_chdir, 0, 1, FOLLOW, 0},	{__NR_getxattr, 0, 1, FOLLOW, 0},
    {__NR_lgetxattr, 0, 1, NOFOLLOW, 0},  {__NR_listxattr, 0, 1, FOLLOW, 0},	{__NR_llistxattr, 0, 1, NOFOLLOW, 0},
    {__NR_statfs, 0, 1, FOLLOW, 0},
};

/*
 * Calls that change what a path names. Nothing of ours changes so: neither the broker's tree may, nor what the machine
 * has in its place. Of two paths the new one counts.
 */
static const struct path_call changes[] = {
    {__NR_mkdir, 0, 1, NOFOLLOW, 0},	    {__NR_mkdirat, 1, 2, NOFOLLOW, 0},	 {__NR_rmdir, 0, 1, NOFOLLOW, 0},
    {__NR_unlink, 0, 1, NOFOLLOW, 0},	    {__NR_unlinkat, 1, 2, NOFOLLOW, 0},	 {__NR_rename, 0, 2, NOFOLLOW, 0},
    {__NR_renameat, 3, 4, NOFOLLOW, 0},	    {__NR_renameat2, 3, 4, NOFOLLOW, 0}, {__NR_link, 0, 2, NOFOLLOW, 0},
    {__NR_linkat, 3, 4, NOFOLLOW, 0},	    {__NR_symlink, 0, 2, NOFOLLOW, 0},	 {__NR_symlinkat, 2, 3, NOFOLLOW, 0},
    {__NR_mknod, 0, 1, NOFOLLOW, 0},	    {__NR_mknodat, 1, 2, NOFOLLOW, 0},	 {__NR_truncate, 0, 1, FOLLOW, 0},
    {__NR_chmod, 0, 1, FOLLOW, 0},	    {__NR_fchmodat, 1, 2, FOLLOW, 0},	 {__NR_chown, 0, 1, FOLLOW, 0},
    {__NR_lchown, 0, 1, NOFOLLOW, 0},	    {__NR_fchownat, 1, 2, FLAGS_AT, 5},	 {__NR_utime, 0, 1, FOLLOW, 0},
    {__NR_utimes, 0, 1, FOLLOW, 0},	    {__NR_futimesat, 1, 2, FOLLOW, 0},	 {__NR_utimensat, 1, 2, FLAGS_AT, 4},
    {__NR_setxattr, 0, 1, FOLLOW, 0},	    {__NR_lsetxattr, 0, 1, NOFOLLOW, 0}, {__NR_removexattr, 0, 1, FOLLOW, 0},
    {__NR_lremovexattr, 0, 1, NOFOLLOW, 0},
};

static bool is_change(const struct path_call *c)
{
	return c >= changes && c < changes + ARRAY_SIZE(changes);
}

static greg_t *arg(ucontext_t *uc, unsigned int n)
{
	static const int reg[] = {0, REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};

	return &uc->uc_mcontext.gregs[reg[n]];
}

static long real_readlink(const char *path, char *buf, size_t size)
{
	return sys4(__NR_readlinkat, AT_FDCWD, path, buf, size);
}

static struct path_env env(void)
{
	return (struct path_env){image.shadow, image.host_devices, real_readlink};
}

static long copy_path(char *out, uint64_t addr)
{
	/* In two steps: the string may end just before memory that is not there. */
	size_t first = PF_PAGE_SIZE - (addr & ~PF_PAGE_MASK), n;

	if (guard_copy(out, (void *)addr, first))
		return -EFAULT;
	for (n = 0; n < first; n++)
		if (!out[n])
			return n;
	if (first == PF_PAGE_SIZE)
		return -ENAMETOOLONG;
	if (guard_copy(out + first, (void *)(addr + first), PF_PAGE_SIZE - first))
		return -EFAULT;
	for (; n < PF_PAGE_SIZE; n++)
		if (!out[n])
			return n;
	return -ENAMETOOLONG;
}

/* The real path of the directory that a relative path starts from. */
static bool base_path(int dirfd, char *out, size_t size)
{
	char link[40] = "/proc/self/fd/";
	long n;

	if (dirfd == AT_FDCWD) {
		n = sys2(__NR_getcwd, out, size);
		return n > 0;
	}
	if (dirfd < 0)
		return false;
	format_number(link + 14, dirfd, 10, 1);
	n = sys4(__NR_readlinkat, AT_FDCWD, link, out, size - 1);
	if (n <= 0 || out[0] != '/')
		return false;
	out[n] = 0;
	return true;
}

static uint64_t open_flags(ucontext_t *uc, long nr)
{
	uint64_t flags = 0;

	if (nr == __NR_open)
		return UC_ARG2(uc);
	if (nr == __NR_openat)
		return UC_ARG3(uc);
	if (nr == __NR_creat)
		return O_CREAT | O_WRONLY | O_TRUNC;
	guard_copy(&flags, (void *)UC_ARG3(uc), sizeof(flags));
	return flags;
}

static bool follows(ucontext_t *uc, const struct path_call *c)
{
	uint64_t flags;

	switch (c->nr) {
	case __NR_open:
	case __NR_openat:
	case __NR_openat2:
		flags = open_flags(uc, c->nr);
		return !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
	}
	return c->last == FOLLOW || (c->last == FLAGS_AT && !(*arg(uc, c->flags) & AT_SYMLINK_NOFOLLOW));
}

/* The call, with the path replaced. */
static long make(ucontext_t *uc, const struct path_call *c, const char *path)
{
	long a[6];

	for (unsigned int i = 0; i < 6; i++)
		a[i] = *arg(uc, i + 1);
	if (c->dirfd)
		a[c->dirfd - 1] = AT_FDCWD;
	a[c->path - 1] = (long)path;
	return sys6(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The broker decides about every open below our places, and gives out descriptors for devices. */
static long open_ours(ucontext_t *uc, const struct path_call *c, const struct path_result *p)
{
	uint64_t flags = open_flags(uc, c->nr);
	size_t n = strlen(p->logical);
	struct rpc r;
	long ret;

	if (flags & (O_DIRECTORY | O_PATH))
		return make(uc, c, p->out);
	if (rpc_begin(&r, RPC_OPEN, 0))
		return -EIO;
	r.slot->a[0] = flags;
	memcpy(r.payload, p->logical, n + 1);
	r.slot->payload_len = n;
	ret = rpc_call(&r);
	if (ret >= 0 && r.slot->flags & SLOT_HAS_FD) {
		bool writes = r.slot->flags & SLOT_FD_WRITES;

		ret = rpc_recv_fd(&r);
		rpc_end(&r);
		if (writes)
			object_watch_writes();
		if (ret >= 0 && !(flags & O_CLOEXEC))
			sys3(__NR_fcntl, ret, F_SETFD, 0);
		return ret;
	}
	rpc_end(&r);
	return ret < 0 ? ret : make(uc, c, p->out);
}

/* Programs tell sysfs from a directory that merely looks like it. */
static long dress_statfs(uint64_t out)
{
	struct statfs st;

	if (guard_copy(&st, (void *)out, sizeof(st)))
		return -EFAULT;
	st.f_type = SYSFS_MAGIC;
	st.f_blocks = st.f_bfree = st.f_bavail = st.f_files = st.f_ffree = 0;
	return guard_copy((void *)out, &st, sizeof(st)) ? -EFAULT : 0;
}

static bool is_readlink(const struct path_call *c)
{
	return c->nr == __NR_readlink || c->nr == __NR_readlinkat;
}

/* The answer n bytes at s->buf, cut to what the program has room for. */
static void answer_link(ucontext_t *uc, const struct path_call *c, const struct scratch *s, long n)
{
	uint64_t out = c->nr == __NR_readlink ? UC_ARG2(uc) : UC_ARG3(uc);
	int size = c->nr == __NR_readlink ? UC_ARG3(uc) : UC_ARG4(uc);

	if (size <= 0)
		n = -EINVAL;
	else if (n > 0) {
		n = MIN(n, (long)size);
		if (guard_copy((void *)out, s->buf, n))
			n = -EFAULT;
	}
	UC_RET(uc) = n;
}

/* Reads the link at path, or the one that the call names. What it says must not lead into the tree where the program
 * can see it; the whole text is needed to tell. */
static long read_link(ucontext_t *uc, const struct path_call *c, const char *path, struct scratch *s)
{
	struct path_env e = env();
	size_t size = sizeof(s->buf) - 1;
	long n, m;

	if (path)
		n = real_readlink(path, s->buf, size);
	else if (c->nr == __NR_readlink)
		n = sys3(__NR_readlink, UC_ARG1(uc), s->buf, size);
	else
		n = sys4(__NR_readlinkat, UC_ARG1(uc), UC_ARG2(uc), s->buf, size);
	if (n <= 0)
		return n;
	s->buf[n] = 0;
	m = path_unshadow(&e, s->buf, n);
	return m < 0 ? n : m;
}

/* Where a stat puts its answer; 0: it is none. */
static uint64_t stat_out(ucontext_t *uc, long nr)
{
	switch (nr) {
	case __NR_stat:
	case __NR_lstat:
		return UC_ARG2(uc);
	case __NR_newfstatat:
		return UC_ARG3(uc);
	case __NR_statx:
		return UC_ARG5(uc);
	default:
		return 0;
	}
}

static void serve(ucontext_t *uc, const struct path_call *c, struct scratch *s)
{
	const struct path_result *p = &s->path;
	long ret;

	if (is_change(c) && p->route != PATH_REAL) {
		UC_RET(uc) = -EPERM; /* sysfs's answer */
		return;
	}
	switch (c->nr) {
	case __NR_open:
	case __NR_openat:
	case __NR_openat2:
	case __NR_creat:
		ret = p->route == PATH_REAL ? make(uc, c, p->out) : open_ours(uc, c, p);
		break;
	case __NR_readlink:
	case __NR_readlinkat:
		answer_link(uc, c, s, read_link(uc, c, p->out, s));
		return;
	case __NR_statfs:
		ret = make(uc, c, p->out);
		if (!ret && !strncmp(p->logical, "/sys/", 5))
			ret = dress_statfs(UC_ARG2(uc));
		break;
	default:
		ret = make(uc, c, p->out);
		if (ret == 0 && p->route == PATH_DEVICE && stat_out(uc, c->nr))
			ret = node_dress(c->nr, stat_out(uc, c->nr));
	}
	UC_RET(uc) = ret;
}

static void do_getcwd(ucontext_t *uc)
{
	struct scratch *s = scratch_get();
	struct path_env e = env();
	long n = sys2(__NR_getcwd, s->buf, sizeof(s->buf));

	if (n > 0) {
		long m = image.shadow[0] ? path_unshadow(&e, s->buf, n - 1) : -1;

		if (m >= 0) {
			s->buf[m] = 0;
			n = m + 1;
		}
		if ((uint64_t)n > (uint64_t)UC_ARG2(uc))
			n = -ERANGE;
		else if (guard_copy((void *)UC_ARG1(uc), s->buf, n))
			n = -EFAULT;
	}
	UC_RET(uc) = n;
	scratch_put(s);
}

/* fstatat(fd, "", AT_EMPTY_PATH): libc's fstat. */
static bool empty_path_stat(ucontext_t *uc, const struct path_call *c, struct scratch *s)
{
	if (c->last != FLAGS_AT || !(*arg(uc, c->flags) & AT_EMPTY_PATH))
		return false;
	if (c->nr == __NR_statx)
		return node_statx(uc, UC_ARG1(uc), UC_ARG3(uc), UC_ARG4(uc), UC_ARG5(uc), s);
	return c->nr == __NR_newfstatat && node_fstat(uc, UC_ARG1(uc), UC_ARG3(uc), s);
}

/* openat2 that must not leave its directory cannot reach a place of ours from outside; inside the tree the kernel keeps
 * it there. */
static bool confined(ucontext_t *uc, uint64_t resolve)
{
	struct open_how how;

	return !guard_copy(&how, (void *)UC_ARG3(uc), sizeof(how)) && how.resolve & resolve;
}

/* What the kernel says to the call as it is, where that has been asked for already. */
struct native {
	bool known;
	long ret;
};

static void native_resume(ucontext_t *uc, const struct native *n)
{
	if (n->known)
		UC_RET(uc) = n->ret;
	else
		trap_resume(uc);
}

/* A call that only looks is made to find out, and has then been made. */
static enum look look_by_call(ucontext_t *uc, const struct path_call *c, int dirfd, const char *path, struct native *n)
{
	bool at = c->nr == __NR_newfstatat;
	struct stat st;

	if ((!at || *arg(uc, 4) & ~AT_SYMLINK_NOFOLLOW) && c->nr != __NR_stat && c->nr != __NR_lstat)
		return look(dirfd, path, follows(uc, c));
	n->known = true;
	n->ret = sys4(c->nr, *arg(uc, 1), *arg(uc, 2), *arg(uc, 3), *arg(uc, 4));
	if (n->ret || guard_copy(&st, (void *)*arg(uc, at ? 3 : 2), sizeof(st)))
		return LOOK_MISSING;
	return look_found(&st);
}

/* The system's own directories, which hold no links of the program's. */
static bool is_systems(const char *path)
{
	static const char *const dirs[] = {"/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/etc/", "/proc/", "/sys/"};

	for (unsigned int i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!strncmp(path, dirs[i], strlen(dirs[i])))
			return !path_has_up(path);
	return false;
}

/* An open that finds nothing, and would not make it: the answer is known. */
static bool opens_what_is(ucontext_t *uc, const struct path_call *c)
{
	return (c->nr == __NR_open || c->nr == __NR_openat) &&
	       !(open_flags(uc, c->nr) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)));
}

/* Is a path that is foreign by its text native? */
static bool is_native(ucontext_t *uc, const struct path_call *c, int dirfd, const char *path, bool looked, enum look l,
		      struct native *n)
{
	long ret;

	if (is_systems(path) || (c->nr == __NR_openat2 && confined(uc, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)))
		return true;
	if (!looked)
		l = look_by_call(uc, c, dirfd, path, n);
	if (l != LOOK_MISSING)
		return l == LOOK_ELSEWHERE;
	ret = look_missing(dirfd, path, follows(uc, c));
	if (ret == -ENOENT && opens_what_is(uc, c))
		*n = (struct native){true, ret};
	return ret >= 0 || ret == -ENOENT || ret == -ENOTDIR || ret == -EACCES;
}

/* Walks the path as the kernel would. */
static void path_walk(ucontext_t *uc, const struct path_call *c, struct scratch *s, bool foreign,
		      const struct native *n)
{
	char *path = s->buf, *base = s->buf + PF_PAGE_SIZE;
	bool follow = follows(uc, c);
	struct path_env e = env();
	int ret, lost = 0;

	/* Without the tree it cannot be told what lies there, but whether it may be asked. */
	if (!image.shadow[0]) {
		ret = foreign ? path_resolve_deep(&e, base, path, follow, &s->path) : 0;
		if (ret < 0 || (foreign && s->path.route == PATH_NATIVE)) {
			native_resume(uc, n);
			return;
		}
		lost = rpc_connect();
		e = env();
	}
	ret = path_resolve_deep(&e, base, path, follow, &s->path);
	if (ret < 0 && !foreign)
		UC_RET(uc) = ret;
	else if (ret < 0 || s->path.route == PATH_NATIVE)
		native_resume(uc, n);
	else if (lost)
		UC_RET(uc) = lost; /* and not what the machine has in that place */
	else
		serve(uc, c, s);
}

/*
 * Nearly every call ends with a look at the path's text, at where it starts if it is relative, or at where the kernel
 * comes out. For a relative path without ".." that is cheaper than where it starts.
 */
static void path_syscall(ucontext_t *uc, const struct path_call *c, struct scratch *s)
{
	char *path = s->buf, *base = s->buf + PF_PAGE_SIZE;
	int dirfd = c->dirfd ? (int)*arg(uc, c->dirfd) : AT_FDCWD;
	struct native native = {false, 0};
	struct path_env e = env();
	long n = copy_path(path, *arg(uc, c->path));
	enum look l = LOOK_MISSING;
	bool looked, foreign;

	base[0] = 0;
	if (n <= 0) {
		if (!(n == 0 || !*arg(uc, c->path)) || !empty_path_stat(uc, c, s))
			trap_resume(uc); /* the kernel's error, or a call on the descriptor alone */
		return;
	}
	if (c->nr == __NR_openat2 && confined(uc, RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
		trap_resume(uc);
		return;
	}
	looked = path[0] != '/' && !path_has_up(path);
	if (looked)
		l = look_by_call(uc, c, dirfd, path, &native);
	if ((looked && l == LOOK_ELSEWHERE) || (path[0] != '/' && !base_path(dirfd, base, PF_PAGE_SIZE))) {
		native_resume(uc, &native);
		return;
	}
	foreign = path_is_foreign(&e, base, path);
	if (foreign && is_native(uc, c, dirfd, path, looked, l, &native)) {
		native_resume(uc, &native);
		return;
	}
	path_walk(uc, c, s, foreign, &native);
}

/* The number in "/proc/self/fd/N", or in the same with our own process number; -1: something else. */
static int proc_fd(const char *path)
{
	const char *p = path + 6;
	int fd;

	if (!strncmp(p, "self/", 5))
		p += 4;
	else if (!strncmp(p, "thread-self/", 12))
		p += 11;
	else if (parse_number(&p, 10) != (uint64_t)sys0(__NR_getpid))
		return -1;
	if (strncmp(p, "/fd/", 4))
		return -1;
	p += 4;
	if (*p < '0' || *p > '9')
		return -1;
	fd = parse_number(&p, 10);
	return *p ? -1 : fd;
}

/* Links in /proc that say where a process is, or what it holds: native, but their text may name the tree. */
static bool proc_link(ucontext_t *uc, const struct path_call *c, struct scratch *s)
{
	long n, m = -1;
	int fd;

	if (!is_readlink(c))
		return false;
	n = copy_path(s->buf, *arg(uc, c->path));
	if (n <= 6 || strncmp(s->buf, "/proc/", 6))
		return false;
	if (image.exe && !strcmp(s->buf, "/proc/self/exe")) {
		n = strlen(image.exe);
		memcpy(s->buf, image.exe, n);
		answer_link(uc, c, s, n);
		return true;
	}
	if (!image.shadow[0])
		return false;
	fd = proc_fd(s->buf);
	n = read_link(uc, c, NULL, s);
	if (n > 8 && fd >= 0 && !strncmp(s->buf, "socket:[", 8))
		m = object_name(fd, s->buf, sizeof(s->buf)); /* Linux says what it is for */
	answer_link(uc, c, s, m >= 0 ? m : n);
	return true;
}

/* fstatfs */
static void do_fstatfs(ucontext_t *uc)
{
	struct scratch *s = scratch_get();
	long ret = sys2(__NR_fstatfs, UC_ARG1(uc), UC_ARG2(uc)), n;
	struct path_env e = env();

	if (!ret && image.shadow[0] && base_path(UC_ARG1(uc), s->buf, sizeof(s->buf))) {
		n = path_unshadow(&e, s->buf, strlen(s->buf));
		if (n > 5 && !strncmp(s->buf, "/sys/", 5))
			ret = dress_statfs(UC_ARG2(uc));
	}
	UC_RET(uc) = ret;
	scratch_put(s);
}

static const struct path_call *call_find(long nr)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == nr)
			return &calls[i];
	for (unsigned int i = 0; i < ARRAY_SIZE(changes); i++)
		if (changes[i].nr == nr)
			return &changes[i];
	return NULL;
}

void file_syscall(ucontext_t *uc, long nr)
{
	const struct path_call *c = call_find(nr);
	struct scratch *s;

	if (nr == __NR_getcwd) {
		do_getcwd(uc);
		return;
	}
	if (nr == __NR_fstatfs) {
		do_fstatfs(uc);
		return;
	}
	if (!c) {
		trap_resume(uc);
		return;
	}
	s = scratch_get();
	if (!proc_link(uc, c, s))
		path_syscall(uc, c, s);
	scratch_put(s);
}
