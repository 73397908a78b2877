/* SPDX-License-Identifier: BSD-3-Clause */
/* The start of every process image: what is mapped where, the stub, the handlers, the filter. */
#include "boundary/boundary.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>

struct image image;

extern const uint8_t stub_code[], stub_code_end[];
extern struct r_debug _r_debug __attribute__((weak, visibility("default")));

/* Before the stub is there. */
static long early_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static int map_stub(void)
{
	long p = early_syscall(__NR_mmap, STUB_ADDR, STUB_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (long)STUB_ADDR)
		return p < 0 ? p : -EEXIST;
	memcpy((void *)STUB_ADDR, stub_code, stub_code_end - stub_code);
	return early_syscall(__NR_mprotect, STUB_ADDR, STUB_SIZE, PROT_READ | PROT_EXEC, 0, 0, 0);
}

static const char *env_get(char **envp, const char *name)
{
	size_t n = strlen(name);

	for (; *envp; envp++)
		if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
			return *envp + n + 1;
	return NULL;
}

static bool name_has_prefix(const char *path, const char *prefix)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/')
			base = p + 1;
	return !strncmp(base, prefix, strlen(prefix));
}

static void add_text(uint64_t base, const ElfW(Phdr) * ph, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_X) || image.ntext == ARRAY_SIZE(image.text))
			continue;
		image.text[image.ntext].start = base + ph[i].p_vaddr;
		image.text[image.ntext++].end = base + ph[i].p_vaddr + ph[i].p_memsz;
	}
}

/* The code that makes system calls of its own: the program, libc, and the sanitizers' runtimes. */
static void find_text(const struct link_map *m, const ElfW(Phdr) * main_ph, unsigned int main_n)
{
	static const char *const prefix[] = {"libc.so",	   "libc-",	  "libasan.so",	 "libtsan.so",
					     "liblsan.so", "libubsan.so", "libclang_rt."};

	for (unsigned int i = 0; i < main_n; i++)
		if (main_ph[i].p_type == PT_PHDR) {
			add_text((uint64_t)main_ph - main_ph[i].p_vaddr, main_ph, main_n);
			break;
		}
	for (; m; m = m->l_next) {
		if (m->l_ld && image.preload == NULL && name_has_prefix(m->l_name, "libpinfold-boundary.so"))
			image.preload = m->l_name;
		for (unsigned int i = 0; i < ARRAY_SIZE(prefix); i++) {
			if (!name_has_prefix(m->l_name, prefix[i]))
				continue;
			const ElfW(Ehdr) *eh = (const void *)m->l_addr;

			add_text(m->l_addr, (const void *)(m->l_addr + eh->e_phoff), eh->e_phnum);
			break;
		}
	}
}

static void complain(const char *what)
{
	sys3(__NR_write, 2, "pinfold: ", 9);
	sys3(__NR_write, 2, what, strlen(what));
	sys3(__NR_write, 2, "\n", 1);
}

__attribute__((constructor)) static void boundary_init(int argc, char **argv, char **envp)
{
	const ElfW(Phdr) *ph = NULL;
	const ElfW(auxv_t) * av;
	unsigned int nph = 0;
	const char *shadow, *socket;
	char **e = envp;

	(void)argc;
	(void)argv;
	socket = env_get(envp, ENV_SOCKET);
	if (!socket || strlen(socket) >= sizeof(image.socket) || !&_r_debug)
		return;
	memcpy(image.socket, socket, strlen(socket) + 1);
	shadow = env_get(envp, ENV_SHADOW);
	if (shadow && strlen(shadow) < sizeof(image.shadow))
		memcpy(image.shadow, shadow, strlen(shadow) + 1);
	while (*e)
		e++;
	for (av = (const void *)(e + 1); av->a_type != AT_NULL; av++) {
		if (av->a_type == AT_PHDR)
			ph = (const void *)av->a_un.a_val;
		else if (av->a_type == AT_PHNUM)
			nph = av->a_un.a_val;
		else if (av->a_type == AT_HWCAP2)
			image.fsgsbase = av->a_un.a_val & 2;
	}
	if (map_stub())
		return; /* somebody else lives there; nothing can be said safely */
	find_text(_r_debug.r_map, ph, nph);
	keep_init();
	if (process_init() || signals_init())
		complain("this process cannot be prepared; its system calls are not seen");
	else if (filter_install(FILTER_ALL))
		complain("seccomp is refused here; system calls of this process are not seen");
	else if (object_is(1))
		object_watch_writes();
}
