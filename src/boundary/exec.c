/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * execve: the next image must load this library again, whatever the program did to its environment. The new environment
 * is built in memory of the boundary's, never on the program's stack: a vfork child may run on a few hundred bytes of
 * its parent's. The call is made here; in a vfork child the kernel gives the memory back (room_lend).
 */
#include "boundary/boundary.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ENV_MAX	  (128 * 1024) /* entries; more is E2BIG for any kernel with default limits */
#define ENV_ADDED 4	       /* entries that may be put in */

struct env_plan {
	uint64_t n;	      /* entries of the old environment */
	uint64_t preload_len; /* of the old LD_PRELOAD's value; 0 = none */
	uint64_t preload;     /* address of that value */
	uint64_t asan_len;    /* of ASAN_OPTIONS' value; 0 = none */
	uint64_t asan;
	bool preload_ours, socket_there, shadow_there, asan_ready;
};

static bool read_word(uint64_t addr, uint64_t *v)
{
	return guard_copy(v, (void *)addr, sizeof(*v)) == 0;
}

/* Reads a string of the program's, or its first size - 1 bytes; never a page that it does not reach into. */
static bool read_string(uint64_t addr, char *out, size_t size)
{
	size_t n = 0;

	while (n < size - 1) {
		size_t step = MIN(size - 1 - n, PF_PAGE_SIZE - ((addr + n) & ~PF_PAGE_MASK));

		if (guard_copy(out + n, (void *)(addr + n), step))
			return false;
		for (; step; step--)
			if (!out[n++])
				return true;
	}
	out[n] = 0;
	return true;
}

static bool string_length(uint64_t addr, uint64_t *len, char *buf, size_t size)
{
	size_t n;

	*len = 0;
	do {
		if (!read_string(addr + *len, buf, size))
			return false;
		n = strlen(buf);
		*len += n;
	} while (n == size - 1);
	return true;
}

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool preload_is_ours(const char *value)
{
	char end = value[starts_with(value, image.preload) ? strlen(image.preload) : 0];

	return starts_with(value, image.preload) && (!end || end == ':' || end == ' ');
}

/* AddressSanitizer's runtime refuses to start behind a preloaded library unless this is 0. */
#define ASAN_OPTION "verify_asan_link_order"

static bool contains(const char *s, const char *part)
{
	for (; *s; s++)
		if (starts_with(s, part))
			return true;
	return false;
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
		if (!read_string(s, buf, 64))
			return false;
		if (starts_with(buf, "LD_PRELOAD=")) {
			p->preload = s + 11;
			if (!read_string(p->preload, buf, size))
				return false;
			p->preload_ours = preload_is_ours(buf);
			if (!string_length(p->preload, &p->preload_len, buf, size))
				return false;
		} else if (starts_with(buf, ENV_SOCKET "=")) {
			p->socket_there = true;
		} else if (starts_with(buf, ENV_SHADOW "=")) {
			p->shadow_there = true;
		} else if (starts_with(buf, "ASAN_OPTIONS=")) {
			p->asan = s + 13;
			if (!read_string(p->asan, buf, size))
				return false;
			p->asan_ready = contains(buf, ASAN_OPTION);
			if (!string_length(p->asan, &p->asan_len, buf, size))
				return false;
		}
	}
	return true;
}

static bool plan_changes(const struct env_plan *p)
{
	return !p->preload_ours || !p->asan_ready || !p->socket_there || (!p->shadow_there && image.shadow[0]);
}

static char *put(char *at, const char *s)
{
	size_t n = strlen(s);

	memcpy(at, s, n);
	return at + n;
}

/* NAME=FIRST[:REST]; NULL: the rest cannot be read. */
static char *put_joined(char *at, const char *start, const char *first, uint64_t rest, uint64_t rest_len)
{
	at = put(put(at, start), first);
	if (rest_len) {
		*at++ = ':';
		if (guard_copy(at, (void *)rest, rest_len))
			return NULL;
		at += rest_len;
	}
	*at++ = 0;
	return at;
}

/* Lays the new environment out at room: pointers first, then the strings they need. */
static bool build(uint64_t envp, const struct env_plan *p, uint64_t *room)
{
	char *text = (char *)(room + p->n + ENV_ADDED + 1), buf[16];
	uint64_t n = 0, s;

	for (uint64_t i = 0; i < p->n; i++) {
		if (!read_word(envp + 8 * i, &s) || !read_string(s, buf, sizeof(buf)))
			return false;
		if ((!p->preload_ours && starts_with(buf, "LD_PRELOAD=")) ||
		    (!p->asan_ready && starts_with(buf, "ASAN_OPTIONS=")))
			continue;
		room[n++] = s;
	}
	if (!p->preload_ours) {
		room[n++] = (uint64_t)text;
		text = put_joined(text, "LD_PRELOAD=", image.preload, p->preload, p->preload_len);
		if (!text)
			return false;
	}
	if (!p->asan_ready) {
		room[n++] = (uint64_t)text;
		text = put_joined(text, "ASAN_OPTIONS=", ASAN_OPTION "=0", p->asan, p->asan_len);
		if (!text)
			return false;
	}
	if (!p->socket_there) {
		room[n++] = (uint64_t)text;
		text = put_joined(text, ENV_SOCKET "=", image.socket, 0, 0);
	}
	if (!p->shadow_there && image.shadow[0]) {
		room[n++] = (uint64_t)text;
		text = put_joined(text, ENV_SHADOW "=", image.shadow, 0, 0);
	}
	room[n] = 0;
	return true;
}

/*
 * A static program has no dynamic linker to load us: our loader runs it instead. What is found here decides the new
 * argument list.
 */
struct target {
	bool is_static;
	bool script;	 /* path is a script whose interpreter is static: interp [interp_arg] path ARG... */
	char path[4096]; /* the static program */
	char interp_arg[256];
};

/* ld.so, run as a program, has no PT_INTERP either, but loads us on its own. Of a static-pie program only its name
 * tells it: both have PT_DYNAMIC, and what differs there lies beyond what has been read. */
static bool is_linker(const char *path, const Elf64_Ehdr *eh)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/')
			base = p + 1;
	return eh->e_type == ET_DYN && (starts_with(base, "ld-") || starts_with(base, "ld.so"));
}

static bool elf_is_static(const char *path, const char *buf, size_t n)
{
	const Elf64_Ehdr *eh = (const void *)buf;

	if (n < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_machine != EM_X86_64 || (eh->e_type != ET_EXEC && eh->e_type != ET_DYN) ||
	    eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phoff > n ||
	    eh->e_phnum * sizeof(Elf64_Phdr) > n - eh->e_phoff)
		return false;
	for (unsigned int i = 0; i < eh->e_phnum; i++)
		if (((const Elf64_Phdr *)(buf + eh->e_phoff))[i].p_type == PT_INTERP)
			return false;
	return !is_linker(path, eh);
}

static long read_head(const char *path, char *buf, size_t size)
{
	/* What would block the open is nothing that can be executed. */
	long fd = sys4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0), n;

	if (fd < 0)
		return fd;
	n = sys4(__NR_pread64, fd, buf, size, 0);
	sys1(__NR_close, fd);
	return n;
}

static bool may_execute(const char *path)
{
	return sys4(__NR_faccessat2, AT_FDCWD, path, 1 /* X_OK */, 0x200 /* AT_EACCESS */) == 0;
}

/* "#!" [blanks] INTERPRETER [blanks ARGUMENT], the argument being all the rest of the line without blanks at its end.
 */
static void parse_script(const char *line, size_t n, struct target *t)
{
	size_t i = 2, end = 2, k = 0;

	while (end < n && end < 256 && line[end] != '\n' && line[end])
		end++;
	while (end > i && (line[end - 1] == ' ' || line[end - 1] == '\t'))
		end--;
	while (i < end && (line[i] == ' ' || line[i] == '\t'))
		i++;
	while (i < end && line[i] != ' ' && line[i] != '\t')
		t->path[k++] = line[i++];
	t->path[k] = 0;
	while (i < end && (line[i] == ' ' || line[i] == '\t'))
		i++;
	memcpy(t->interp_arg, line + i, end - i);
	t->interp_arg[end - i] = 0;
}

static void find_target(const char *path, char *buf, size_t size, struct target *t)
{
	long n = read_head(path, buf, size);

	t->is_static = t->script = false;
	if (n < 2 || !may_execute(path))
		return; /* the kernel will say why */
	if (buf[0] == '#' && buf[1] == '!') {
		parse_script(buf, n, t);
		n = t->path[0] ? read_head(t->path, buf, size) : 0;
		t->script = true;
		t->is_static = n > 0 && elf_is_static(t->path, buf, n) && may_execute(t->path);
		return;
	}
	t->is_static = elf_is_static(path, buf, n);
	memcpy(t->path, path, strlen(path) + 1);
}

/* The absolute path of what a descriptor stands for, if that is still its name. */
static bool fd_path(int fd, char *out, size_t size)
{
	char link[40] = "/proc/self/fd/";
	struct stat a, b;
	long n;

	format_number(link + strlen(link), (uint32_t)fd, 10, 1);
	n = sys4(__NR_readlinkat, AT_FDCWD, link, out, size - 1);
	if (n <= 0 || out[0] != '/')
		return false;
	out[n] = 0;
	return !sys2(__NR_fstat, fd, &a) && !sys2(__NR_stat, out, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* What the call names, as a path that the loader could open too. False: leave it to the kernel. */
static bool target_path(ucontext_t *uc, bool at, char *out, size_t size)
{
	uint64_t addr = at ? UC_ARG2(uc) : UC_ARG1(uc), n = 0;

	if (!read_string(addr, out, size))
		return false;
	/* busybox runs its applets so; the kernel's idea of the executable is our loader. */
	if (image.exe && !strcmp(out, "/proc/self/exe"))
		memcpy(out, image.exe, strlen(image.exe) + 1);
	if (!at || out[0] == '/')
		return out[0] && !(at && UC_ARG5(uc) & ~(uint64_t)AT_EMPTY_PATH);
	if (UC_ARG5(uc) & ~(uint64_t)AT_EMPTY_PATH || (!out[0] && !(UC_ARG5(uc) & AT_EMPTY_PATH)))
		return false;
	if ((int)UC_ARG1(uc) == AT_FDCWD)
		return out[0];
	if (!fd_path(UC_ARG1(uc), out, size))
		return false;
	n = strlen(out);
	if (n + 1 < size && read_string(addr, out + n + 1, size - n - 1) && out[n + 1])
		out[n] = '/';
	return true;
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
	if (!may_execute(start))
		*put(at, "../loader/pinfold-loader") = 0;
	return at + strlen(at);
}

/* LOADER PROGRAM ARGV0 ARG..., or for a script LOADER INTERPRETER INTERPRETER [OPTION] SCRIPT ARG... */
static void build_static(ucontext_t *uc, bool at, const struct target *t, const char *path, uint64_t *room,
			 uint64_t argc)
{
	greg_t *pathp = at ? &UC_ARG2(uc) : &UC_ARG1(uc), *argvp = at ? &UC_ARG3(uc) : &UC_ARG2(uc);
	char *text = (char *)(room + argc + 8), *loader = text;
	uint64_t n = 0, w;

	text = put_loader_path(text) + 1;
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
		text = put(text, path);
		*text++ = 0;
	}
	for (uint64_t i = t->script ? 1 : 0; i < argc; i++)
		if (read_word(*argvp + 8 * i, &w))
			room[n++] = w;
	if (!t->script && !argc) {
		room[n++] = (uint64_t)text; /* as Linux does: never no argument at all */
		*text++ = 0;
	}
	room[n] = 0;
	*pathp = (greg_t)loader;
	*argvp = (greg_t)room;
	if (at) {
		UC_ARG1(uc) = AT_FDCWD;
		UC_ARG5(uc) = 0;
	}
}

static uint64_t *room_get(struct scratch *s, size_t n)
{
	long p;

	if (n <= sizeof(s->stack))
		return (uint64_t *)s->stack;
	p = sys6(__NR_mmap, 0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p < 0)
		return NULL;
	s->room = p;
	s->room_len = n;
	return (uint64_t *)p;
}

/*
 * A vfork child that succeeds never comes back to release what it took of its parent's memory. The kernel does: it
 * clears the child's "tid address" at the moment when the child has left that memory.
 */
static void room_lend(struct scratch *s)
{
	if (process_is_vfork_child())
		sys1(__NR_set_tid_address, &s->taken);
}

static void room_lend_no_more(void)
{
	if (process_is_vfork_child())
		sys1(__NR_set_tid_address, NULL);
}

/* Puts the new environment and, for a static program, the new path and arguments into the frame. */
static bool prepare(ucontext_t *uc, bool at, struct scratch *s)
{
	greg_t *argvp = at ? &UC_ARG3(uc) : &UC_ARG2(uc), *envp = at ? &UC_ARG4(uc) : &UC_ARG3(uc);
	struct target *t = (struct target *)s->path.scratch;
	char *path = s->path.logical;
	uint64_t *room, argc = 0, w;
	size_t env_bytes, arg_bytes = 0;
	struct env_plan p;

	_Static_assert(sizeof(*t) <= sizeof(s->path.scratch), "a target fits in scratch space");
	t->is_static = false;
	if (target_path(uc, at, path, sizeof(s->path.logical)))
		find_target(path, s->buf, sizeof(s->buf), t);
	else
		path[0] = 0;
	if (!image.preload || !plan(*envp, &p, s->buf, sizeof(s->buf)))
		return true;
	if (!t->is_static && !plan_changes(&p))
		return true;
	if (t->is_static && *argvp)
		while (argc < ENV_MAX && read_word(*argvp + 8 * argc, &w) && w)
			argc++;
	/* 128: the names, separators and terminators. */
	env_bytes = (p.n + ENV_ADDED + 1) * 8 + p.preload_len + p.asan_len + strlen(image.preload) +
		    strlen(image.socket) + strlen(image.shadow) + 128;
	env_bytes = ALIGN_UP(env_bytes, 16UL);
	if (t->is_static)
		arg_bytes = (argc + 8) * 8 + strlen(t->path) + strlen(t->interp_arg) + strlen(path) +
			    strlen(image.preload) + 64;
	room = room_get(s, env_bytes + arg_bytes);
	if (!room)
		return false;
	if (build(*envp, &p, room))
		*envp = (greg_t)room;
	if (t->is_static)
		build_static(uc, at, t, path, (uint64_t *)((char *)room + env_bytes), argc);
	return true;
}

void exec_syscall(ucontext_t *uc, long nr)
{
	struct scratch *s;
	greg_t given[] = {UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), UC_ARG4(uc), UC_ARG5(uc)};
	long ret = -ENOMEM;

	/* Not held: a call that fails may let a handler of the program run. */
	follow_changed(follow_change_all());
	s = scratch_get();
	if (prepare(uc, nr == __NR_execveat, s)) {
		room_lend(s);
		/* A call that fails, as those along PATH do, must leave the child as it is. */
		if (!s->path.logical[0] || may_execute(s->path.logical))
			process_traceme_now();
		ret = signals_execve(uc, nr);
		room_lend_no_more();
	}
	UC_ARG1(uc) = given[0];
	UC_ARG2(uc) = given[1];
	UC_ARG3(uc) = given[2];
	UC_ARG4(uc) = given[3];
	UC_ARG5(uc) = given[4];
	UC_RET(uc) = ret;
	scratch_put(s);
}
