/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * execve: the next image must load this library again, whatever the program did to its environment. The new environment
 * is built on the program's stack, below the red zone, and the call then runs as it is: in a vfork child the memory is
 * the parent's, and only that stack is the child's own to change.
 */
#include "boundary/boundary.h"

#include <elf.h>
#include <fcntl.h>

#define ENV_MAX (128 * 1024) /* entries; more is E2BIG for any kernel with default limits */

struct env_plan {
	uint64_t n;	      /* entries of the old environment */
	uint64_t preload_len; /* of the old LD_PRELOAD's value; 0 = none */
	uint64_t preload;     /* address of that value */
	bool preload_ours, socket_there, shadow_there;
};

static bool read_word(uint64_t addr, uint64_t *v)
{
	return guard_copy(v, (void *)addr, sizeof(*v)) == 0;
}

/* Reads the start of a string of the program's; out is always terminated. */
static bool read_string(uint64_t addr, char *out, size_t size)
{
	size_t n = size - 1, left;
	char *p;

	/* Never past a page that may be the last. */
	size_t first = PF_PAGE_SIZE - (addr & ~PF_PAGE_MASK);

	left = guard_copy(out, (void *)addr, MIN(n, first));
	if (left)
		return false;
	out[MIN(n, first)] = 0;
	for (p = out; *p; p++)
		;
	if (p == out + first && first < n) {
		if (guard_copy(out + first, (void *)(addr + first), n - first))
			return false;
		out[n] = 0;
	}
	return true;
}

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool plan(uint64_t envp, struct env_plan *p, char *buf, size_t size)
{
	uint64_t s;

	memset(p, 0, sizeof(*p));
	for (; envp; p->n++) {
		if (p->n >= ENV_MAX || !read_word(envp + 8 * p->n, &s))
			return false;
		if (!s)
			break;
		if (!read_string(s, buf, size))
			return false;
		if (starts_with(buf, "LD_PRELOAD=")) {
			p->preload = s + 11;
			p->preload_len = strlen(buf + 11);
			p->preload_ours = starts_with(buf + 11, image.preload);
		} else if (starts_with(buf, ENV_SOCKET "=")) {
			p->socket_there = true;
		} else if (starts_with(buf, ENV_SHADOW "=")) {
			p->shadow_there = true;
		}
	}
	return true;
}

static char *put(char *at, const char *s)
{
	size_t n = strlen(s);

	memcpy(at, s, n);
	return at + n;
}

/* Lays the new environment out at room: pointers first, then the strings they need. */
static bool build(uint64_t envp, const struct env_plan *p, uint64_t *room, char *buf, size_t size)
{
	char *text = (char *)(room + p->n + 4);
	uint64_t n = 0, s;

	for (uint64_t i = 0; i < p->n; i++) {
		if (!read_word(envp + 8 * i, &s) || !read_string(s, buf, size))
			return false;
		if (!p->preload_ours && starts_with(buf, "LD_PRELOAD="))
			continue;
		room[n++] = s;
	}
	if (!p->preload_ours) {
		room[n++] = (uint64_t)text;
		text = put(put(text, "LD_PRELOAD="), image.preload);
		if (p->preload_len) {
			*text++ = ':';
			if (guard_copy(text, (void *)p->preload, p->preload_len))
				return false;
			text += p->preload_len;
		}
		*text++ = 0;
	}
	if (!p->socket_there) {
		room[n++] = (uint64_t)text;
		text = put(put(text, ENV_SOCKET "="), image.socket);
		*text++ = 0;
	}
	if (!p->shadow_there && image.shadow[0]) {
		room[n++] = (uint64_t)text;
		text = put(put(text, ENV_SHADOW "="), image.shadow);
		*text++ = 0;
	}
	room[n] = 0;
	return true;
}

/* ld.so has no PT_INTERP either; unlike a static-pie program it names itself. */
static bool elf_is_linker(const char *buf, size_t n)
{
	const Elf64_Ehdr *eh = (const void *)buf;

	/* A static-pie program's entry is far into its text; both have PT_DYNAMIC. The name tells: DT_SONAME is only in
	 * ld.so, but it lies beyond what has been read. PT_TLS is in every static glibc or musl program and not in
	 * ld.so. */
	for (unsigned int i = 0; i < eh->e_phnum; i++)
		if (((const Elf64_Phdr *)(buf + eh->e_phoff))[i].p_type == PT_TLS)
			return false;
	(void)n;
	return true;
}

/*
 * A static program has no dynamic linker to load us: our loader runs it instead. What is found here decides the new
 * argument list.
 */
struct target {
	bool is_static;
	bool script;	/* path is a script whose interpreter is static: interp [interp_arg] path ARG... */
	char path[512]; /* the static program */
	char interp_arg[256];
};

static bool elf_is_static(const char *buf, size_t n)
{
	const Elf64_Ehdr *eh = (const void *)buf;

	if (n < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_machine != EM_X86_64 || eh->e_phentsize != sizeof(Elf64_Phdr) ||
	    eh->e_phoff + eh->e_phnum * sizeof(Elf64_Phdr) > n)
		return false;
	for (unsigned int i = 0; i < eh->e_phnum; i++)
		if (((const Elf64_Phdr *)(buf + eh->e_phoff))[i].p_type == PT_INTERP)
			return false;
	/* The dynamic linker itself, run as a program, loads us on its own. */
	for (unsigned int i = 0; i < eh->e_phnum; i++)
		if (((const Elf64_Phdr *)(buf + eh->e_phoff))[i].p_type == PT_DYNAMIC && eh->e_type == ET_DYN &&
		    elf_is_linker(buf, n))
			return false;
	return true;
}

static long read_head(int dirfd, const char *path, char *buf, size_t size)
{
	long fd = sys4(__NR_openat, dirfd, path, O_RDONLY | O_CLOEXEC, 0), n;

	if (fd < 0)
		return fd;
	n = sys4(__NR_pread64, fd, buf, size, 0);
	sys1(__NR_close, fd);
	return n;
}

static bool may_execute(int dirfd, const char *path)
{
	return sys4(__NR_faccessat2, dirfd, path, 1 /* X_OK */, 0x200 /* AT_EACCESS */) == 0;
}

static size_t take_word(const char *from, size_t n, char *to, size_t size)
{
	size_t i = 0, k = 0;

	while (i < n && (from[i] == ' ' || from[i] == '\t'))
		i++;
	while (i < n && from[i] != '\n' && from[i] != ' ' && from[i] != '\t' && k + 1 < size)
		to[k++] = from[i++];
	to[k] = 0;
	return i;
}

static void find_target(int dirfd, const char *path, char *buf, size_t size, struct target *t)
{
	long n = read_head(dirfd, path, buf, size);

	t->is_static = t->script = false;
	if (n < 2 || !may_execute(dirfd, path))
		return; /* the kernel will say why */
	if (buf[0] == '#' && buf[1] == '!') {
		size_t at = 2 + take_word(buf + 2, n - 2, t->path, sizeof(t->path));

		take_word(buf + at, n - at, t->interp_arg, sizeof(t->interp_arg));
		n = read_head(AT_FDCWD, t->path, buf, size);
		t->script = true;
		t->is_static = n > 0 && elf_is_static(buf, n) && may_execute(AT_FDCWD, t->path);
		return;
	}
	t->is_static = elf_is_static(buf, n);
	if (t->is_static && strlen(path) < sizeof(t->path))
		memcpy(t->path, path, strlen(path) + 1);
}

/* Installed, pinfold-loader lies beside this library; in a build tree, in ../loader. */
static char *put_loader_path(char *at)
{
	const char *slash = image.preload;
	char *start = at;

	for (const char *c = image.preload; *c; c++)
		if (*c == '/')
			slash = c + 1;
	memcpy(at, image.preload, slash - image.preload);
	at += slash - image.preload;
	*put(at, "pinfold-loader") = 0;
	if (!may_execute(AT_FDCWD, start))
		*put(at, "../loader/pinfold-loader") = 0;
	return at + strlen(at);
}

/* LOADER PROGRAM ARGV0 ARG..., or for a script LOADER INTERPRETER INTERPRETER [OPTION] SCRIPT ARG... */
static void build_static(ucontext_t *uc, long nr, const struct target *t, struct scratch *s, uint64_t *room,
			 uint64_t argc)
{
	bool at = nr == __NR_execveat;
	greg_t *pathp = at ? &UC_ARG2(uc) : &UC_ARG1(uc), *argvp = at ? &UC_ARG3(uc) : &UC_ARG2(uc);
	char *text = (char *)(room + argc + 8), *loader = text;
	uint64_t n = 0, w;

	text = put_loader_path(text);
	*text++ = 0;
	room[n++] = (uint64_t)loader;
	room[n++] = (uint64_t)text;
	text = put(text, t->path);
	*text++ = 0;
	if (t->script) {
		room[n] = room[n - 1];
		n++;
		if (t->interp_arg[0]) {
			room[n++] = (uint64_t)text;
			text = put(text, t->interp_arg);
			*text++ = 0;
		}
		room[n++] = (uint64_t)text;
		text = put(text, s->path.logical);
		*text++ = 0;
	}
	for (uint64_t i = t->script ? 1 : 0; i < argc; i++)
		if (read_word(*argvp + 8 * i, &w))
			room[n++] = w;
	if (!t->script && !argc)
		room[n++] = room[1];
	room[n] = 0;
	*pathp = (greg_t)loader;
	*argvp = (greg_t)room;
	if (at) {
		UC_ARG1(uc) = AT_FDCWD;
		UC_ARG5(uc) = 0;
	}
}

/* The new environment and, for a static program, the new path and arguments, all below the program's stack. */
void exec_syscall(ucontext_t *uc, long nr)
{
	bool at = nr == __NR_execveat;
	greg_t *pathp = at ? &UC_ARG2(uc) : &UC_ARG1(uc), *argvp, *envp;
	struct scratch *s = scratch_get();
	struct target *t = (struct target *)s->stack;
	struct env_plan p;
	uint64_t *room, argc = 0, w;
	size_t env_bytes, arg_bytes = 0;

	argvp = at ? &UC_ARG3(uc) : &UC_ARG2(uc);
	envp = at ? &UC_ARG4(uc) : &UC_ARG3(uc);
	t->is_static = false;
	if (!read_string(*pathp, s->path.logical, sizeof(s->path.logical)))
		s->path.logical[0] = 0;
	/* busybox runs its applets so; the kernel's idea of the executable is our loader. */
	if (image.exe && !strcmp(s->path.logical, "/proc/self/exe"))
		memcpy(s->path.logical, image.exe, strlen(image.exe) + 1);
	if (s->path.logical[0])
		find_target(at ? UC_ARG1(uc) : AT_FDCWD, s->path.logical, s->buf, sizeof(s->buf), t);
	/* A descriptor of the caller's would be needed to open it again. */
	if (t->is_static && at && s->path.logical[0] != '/' && (int)UC_ARG1(uc) != AT_FDCWD)
		t->is_static = false;

	if (!image.preload || !plan(*envp, &p, s->buf, sizeof(s->buf))) {
		trap_resume(uc);
		goto out;
	}
	if (t->is_static && *argvp)
		while (argc < ENV_MAX && read_word(*argvp + 8 * argc, &w) && w)
			argc++;
	env_bytes =
	    (p.n + 4) * 8 + p.preload_len + strlen(image.preload) + strlen(image.socket) + strlen(image.shadow) + 64;
	env_bytes = ALIGN_UP(env_bytes, 16UL);
	if (t->is_static)
		arg_bytes = (argc + 8) * 8 + sizeof(*t) + PF_PAGE_SIZE + sizeof(s->path.logical);
	room = trap_resume_with(uc, env_bytes + arg_bytes);
	if (!room)
		goto out;
	if (build(*envp, &p, room, s->buf, sizeof(s->buf)))
		*envp = (greg_t)room;
	if (t->is_static)
		build_static(uc, nr, t, s, (uint64_t *)((char *)room + env_bytes), argc);
out:
	scratch_put(s);
}
