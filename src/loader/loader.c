/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pinfold-loader PATH ARGV0 [ARG]...: runs a statically linked program with the boundary in place. Such a program has
 * no dynamic linker that would preload anything; so this one, which has, maps the program's segments itself, lays out
 * the stack that the kernel would have made (System V ABI, AMD64 supplement, 3.4.1), and jumps to its entry point. The
 * boundary's execve starts it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

/* Of the boundary: system calls from this range are the program's; /proc/self/exe is to be exe. */
int pinfold_boundary_add_text(uint64_t start, uint64_t end, const char *exe) __attribute__((weak));

struct program {
	int fd;
	Elf64_Ehdr eh;
	Elf64_Phdr *ph;
	uint64_t base; /* what is added to its addresses: 0 unless position independent */
	uint64_t phdr; /* where its program headers are in memory; 0 = nowhere */
};

static void fail(const char *path, const char *why)
{
	dprintf(STDERR_FILENO, "pinfold: %s: statically linked, and %s\n", path, why);
	_exit(126);
}

static int prot_of(const Elf64_Phdr *ph)
{
	return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
	       (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

static void read_headers(struct program *p, const char *path)
{
	size_t bytes;

	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0)
		fail(path, "it cannot be read");
	if (pread(p->fd, &p->eh, sizeof(p->eh), 0) != sizeof(p->eh) || memcmp(p->eh.e_ident, ELFMAG, SELFMAG) ||
	    p->eh.e_machine != EM_X86_64 || p->eh.e_phentsize != sizeof(Elf64_Phdr) || !p->eh.e_phnum)
		fail(path, "not an x86-64 program");
	bytes = p->eh.e_phnum * sizeof(Elf64_Phdr);
	p->ph = malloc(bytes);
	if (!p->ph || pread(p->fd, p->ph, bytes, p->eh.e_phoff) != (ssize_t)bytes)
		fail(path, "its program headers cannot be read");
}

/* The span of its segments, in pages. */
static void span(const struct program *p, uint64_t *first, uint64_t *end)
{
	*first = UINT64_MAX;
	*end = 0;
	for (unsigned int i = 0; i < p->eh.e_phnum; i++) {
		if (p->ph[i].p_type != PT_LOAD)
			continue;
		*first = MIN(*first, (uint64_t)ALIGN_DOWN(p->ph[i].p_vaddr, PF_PAGE_SIZE));
		*end = MAX(*end, (uint64_t)ALIGN_UP(p->ph[i].p_vaddr + p->ph[i].p_memsz, PF_PAGE_SIZE));
	}
}

static void map_segment(struct program *p, const Elf64_Phdr *ph, const char *path)
{
	uint64_t start = ALIGN_DOWN(p->base + ph->p_vaddr, PF_PAGE_SIZE), skew = ph->p_vaddr % PF_PAGE_SIZE;
	uint64_t file_end = p->base + ph->p_vaddr + ph->p_filesz, mem_end = p->base + ph->p_vaddr + ph->p_memsz;
	uint64_t file_pages = ALIGN_UP(file_end, PF_PAGE_SIZE), mem_pages = ALIGN_UP(mem_end, PF_PAGE_SIZE);
	int prot = prot_of(ph);

	if (ph->p_filesz && mmap((void *)start, file_end - start, prot, MAP_PRIVATE | MAP_FIXED, p->fd,
				 ph->p_offset - skew) == MAP_FAILED)
		fail(path, "its segments cannot be mapped");
	if (!ph->p_filesz)
		file_pages = start;
	if (mem_pages > file_pages && mmap((void *)file_pages, mem_pages - file_pages, prot,
					   MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		fail(path, "its segments cannot be mapped");
	if (ph->p_memsz > ph->p_filesz && prot & PROT_WRITE && file_end < file_pages)
		memset((void *)file_end, 0, MIN(file_pages, mem_end) - file_end);
	if (p->eh.e_phoff >= ph->p_offset && p->eh.e_phoff < ph->p_offset + ph->p_filesz)
		p->phdr = p->base + ph->p_vaddr + (p->eh.e_phoff - ph->p_offset);
}

static void map_program(struct program *p, const char *path)
{
	bool pie = p->eh.e_type == ET_DYN;
	uint64_t first, end;
	void *area;

	span(p, &first, &end);
	if (end <= first)
		fail(path, "it has nothing to load");
	area = mmap(pie ? NULL : (void *)first, end - first, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (pie ? 0 : MAP_FIXED_NOREPLACE), -1, 0);
	if (area == MAP_FAILED || (!pie && area != (void *)first))
		fail(path, "its addresses are taken");
	p->base = pie ? (uint64_t)area - first : 0;
	for (unsigned int i = 0; i < p->eh.e_phnum; i++)
		if (p->ph[i].p_type == PT_LOAD)
			map_segment(p, &p->ph[i], path);
	for (unsigned int i = 0; i < p->eh.e_phnum; i++)
		if (p->ph[i].p_type == PT_LOAD && p->ph[i].p_flags & PF_X &&
		    pinfold_boundary_add_text(p->base + p->ph[i].p_vaddr, p->base + p->ph[i].p_vaddr + p->ph[i].p_memsz,
					      path))
			fail(path, "its system calls cannot be seen");
}

/* argc, argv, NULL, envp, NULL, auxv: strings stay where they are. */
static uint64_t *build_stack(const struct program *p, char **argv, char **envp)
{
	Elf64_auxv_t *av;
	size_t argc = 0, envc = 0, auxc = 0, words;
	uint64_t *stack, *at;

	while (argv[argc])
		argc++;
	while (envp[envc])
		envc++;
	for (av = (Elf64_auxv_t *)(envp + envc + 1); av[auxc].a_type != AT_NULL; auxc++)
		;
	words = 1 + argc + 1 + envc + 1 + 2 * (auxc + 1);
	/* As large as the limit lets the main stack be, at least: programs size their recursion by it. */
	size_t size = 8 << 20;
	uint8_t *area =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (area == MAP_FAILED)
		return NULL;
	stack = (uint64_t *)ALIGN_DOWN((uint64_t)(area + size - words * 8), 16UL);
	at = stack;
	*at++ = argc;
	memcpy(at, argv, (argc + 1) * 8);
	at += argc + 1;
	memcpy(at, envp, (envc + 1) * 8);
	at += envc + 1;
	memcpy(at, av, (auxc + 1) * sizeof(*av));
	for (av = (Elf64_auxv_t *)at; av->a_type != AT_NULL; av++) {
		if (av->a_type == AT_PHDR)
			av->a_un.a_val = p->phdr;
		else if (av->a_type == AT_PHNUM)
			av->a_un.a_val = p->eh.e_phnum;
		else if (av->a_type == AT_ENTRY)
			av->a_un.a_val = p->base + p->eh.e_entry;
		else if (av->a_type == AT_BASE)
			av->a_un.a_val = 0;
		else if (av->a_type == AT_EXECFN)
			av->a_un.a_val = (uint64_t)argv[0];
	}
	return stack;
}

static _Noreturn void jump(uint64_t entry, uint64_t *stack)
{
	/* rdx = 0: nothing to register with atexit. */
	__asm__ volatile("mov %0, %%rsp\n\txor %%edx, %%edx\n\txor %%ebp, %%ebp\n\tjmp *%1"
			 :
			 : "r"(stack), "r"(entry)
			 : "memory");
	__builtin_unreachable();
}

int main(int argc, char **argv, char **envp)
{
	static char exe[PATH_MAX];
	struct program p = {0};
	const char *base;
	uint64_t *stack;

	if (argc < 3) {
		dprintf(STDERR_FILENO, "usage: pinfold-loader PATH ARGV0 [ARG]...\n");
		return 2;
	}
	if (!pinfold_boundary_add_text)
		fail(argv[1], "the boundary library is not there");
	if (!realpath(argv[1], exe))
		fail(argv[1], "it cannot be found");
	read_headers(&p, argv[1]);
	map_program(&p, exe);
	close(p.fd);
	base = strrchr(exe, '/');
	prctl(PR_SET_NAME, base ? base + 1 : exe);
	stack = build_stack(&p, argv + 2, envp);
	if (!stack)
		fail(argv[1], "there is no memory for its stack");
	jump(p.base + p.eh.e_entry, stack);
}
