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

enum image_kind { IMAGE_DYNAMIC, IMAGE_STATIC };

/* A static program has no dynamic linker to load us: it would run without seeing any device. */
static enum image_kind classify(int dirfd, const char *path, char *buf, size_t size)
{
	long fd = sys4(__NR_openat, dirfd, path, O_RDONLY | O_CLOEXEC, 0), n;
	const Elf64_Ehdr *eh = (const void *)buf;
	enum image_kind kind = IMAGE_DYNAMIC;

	if (fd < 0)
		return kind; /* the kernel will say why */
	n = sys4(__NR_pread64, fd, buf, size, 0);
	sys1(__NR_close, fd);
	if (n < (long)sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phoff + eh->e_phnum * sizeof(Elf64_Phdr) > (uint64_t)n)
		return kind;
	kind = IMAGE_STATIC;
	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		const Elf64_Phdr *ph = (const Elf64_Phdr *)(buf + eh->e_phoff) + i;

		if (ph->p_type == PT_INTERP)
			kind = IMAGE_DYNAMIC;
	}
	return kind;
}

static void warn_static(const char *path)
{
	static const char a[] = "pinfold: ", b[] = ": statically linked: it runs, but sees no Pinfold device\n";

	sys3(__NR_write, 2, a, sizeof(a) - 1);
	sys3(__NR_write, 2, path, strlen(path));
	sys3(__NR_write, 2, b, sizeof(b) - 1);
}

void exec_syscall(ucontext_t *uc, long nr)
{
	bool at = nr == __NR_execveat;
	greg_t *envp = at ? &UC_ARG4(uc) : &UC_ARG3(uc);
	struct scratch *s = scratch_get();
	struct env_plan p;
	uint64_t *room;
	size_t bytes;

	if (read_string(at ? UC_ARG2(uc) : UC_ARG1(uc), s->path.logical, sizeof(s->path.logical)) &&
	    classify(at ? UC_ARG1(uc) : AT_FDCWD, s->path.logical, s->buf, sizeof(s->buf)) == IMAGE_STATIC)
		warn_static(s->path.logical);

	if (!image.preload || !plan(*envp, &p, s->buf, sizeof(s->buf))) {
		trap_resume(uc);
		goto out;
	}
	bytes =
	    (p.n + 4) * 8 + p.preload_len + strlen(image.preload) + strlen(image.socket) + strlen(image.shadow) + 64;
	room = trap_resume_with(uc, bytes);
	if (!room)
		goto out;
	if (build(*envp, &p, room, s->buf, sizeof(s->buf)))
		*envp = (greg_t)room;
out:
	scratch_put(s);
}
