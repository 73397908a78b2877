/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

#define LOADER "pinfold-loader"

/* As deep as the kernel follows interpreters of interpreters. */
#define SCRIPTS_MAX 5

enum file_kind { FILE_PLAIN, FILE_SCRIPT, FILE_STATIC, FILE_FOREIGN };

/* The interpreter line of a script. */
struct script {
	char interpreter[PATH_MAX];
	char argument[256]; /* "" = none */
};

struct program {
	char *const *given;
	char **argv; /* in list, which grows downwards */
	bool loaded; /* argv counts, not given */
	char path[PATH_MAX], loader[PATH_MAX];
	struct script script[SCRIPTS_MAX];
	char *list[];
};

/* The file that execvp will take. False: let exec say what is wrong. */
static bool program_find(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH") ?: "/bin:/usr/bin";
	struct stat st;

	if (strchr(name, '/'))
		return (size_t)snprintf(path, size, "%s", name) < size && !access(path, X_OK);
	for (;;) {
		size_t n = strcspn(dirs, ":");

		if ((size_t)snprintf(path, size, "%.*s%s%s", (int)n, dirs, n ? "/" : "", name) < size &&
		    !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode))
			return true;
		if (!dirs[n])
			return false;
		dirs += n + 1;
	}
}

static bool elf_has_interpreter(int fd, const Elf64_Ehdr *eh)
{
	Elf64_Phdr ph;

	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		if (pread(fd, &ph, sizeof(ph), eh->e_phoff + (uint64_t)i * sizeof(ph)) != sizeof(ph))
			return true; /* damaged: exec knows better what to say */
		if (ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* "#! INTERPRETER [ARGUMENT]": one argument, with the blanks in it. */
static void script_parse(const char *line, struct script *s)
{
	const char *word = line + strspn(line, " \t"), *arg;
	size_t n = strcspn(word, " \t\n"), end;

	snprintf(s->interpreter, sizeof(s->interpreter), "%.*s", (int)n, word);
	arg = word + n + strspn(word + n, " \t");
	for (end = strcspn(arg, "\n"); end && strchr(" \t", arg[end - 1]); end--)
		;
	snprintf(s->argument, sizeof(s->argument), "%.*s", (int)end, arg);
}

static enum file_kind file_classify(const char *path, struct script *s)
{
	const char *base = strrchr(path, '/') ?: path;
	enum file_kind kind = FILE_PLAIN;
	union {
		Elf64_Ehdr eh;
		char text[257];
	} head = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return FILE_PLAIN;
	n = pread(fd, &head, sizeof(head) - 1, 0);
	if (n > 2 && !memcmp(head.text, "#!", 2)) {
		script_parse(head.text + 2, s);
		kind = *s->interpreter ? FILE_SCRIPT : FILE_PLAIN;
	} else if (n >= (ssize_t)sizeof(head.eh) && !memcmp(head.eh.e_ident, ELFMAG, SELFMAG)) {
		if (head.eh.e_ident[EI_CLASS] != ELFCLASS64 || head.eh.e_machine != EM_X86_64)
			kind = FILE_FOREIGN;
		/* The dynamic linker itself has none either, and does what LD_PRELOAD says. */
		else if (!elf_has_interpreter(fd, &head.eh) && strncmp(base, "/ld-", 4))
			kind = FILE_STATIC;
	}
	close(fd);
	return kind;
}

static int loader_find(struct program *p, const char *boundary, const char *name, const char *path, char *err,
		       size_t errlen)
{
	/* Beside the boundary library; in a build tree each folder has its own. */
	static const char *const places[] = {"", "../loader/"};
	int dir = strrchr(boundary, '/') + 1 - boundary;

	for (size_t i = ARRAY_SIZE(places); i-- > 0;)
		if ((size_t)snprintf(p->loader, sizeof(p->loader), "%.*s%s" LOADER, dir, boundary, places[i]) <
			sizeof(p->loader) &&
		    !access(p->loader, X_OK))
			return 0;
	snprintf(err, errlen, "cannot run %s: %s is linked statically, and %s, which could load it, is not there", name,
		 path, p->loader);
	return -ENOEXEC;
}

/*
 * Follows interpreter lines as the kernel would, rewriting the list on the way: INTERPRETER [ARGUMENT] SCRIPT takes the
 * place of argv[0].
 */
static int program_resolve(struct program *p, const char *boundary, const char *name, char *err, size_t errlen)
{
	struct script *s = p->script;
	const char *path = p->path;
	int ret;

	if (!program_find(name, p->path, sizeof(p->path)))
		return 0;
	for (;;) {
		switch (file_classify(path, s)) {
		case FILE_PLAIN:
			return 0;
		case FILE_FOREIGN:
			snprintf(err, errlen,
				 "cannot run %s: %s is not a 64-bit x86 program, so the boundary library does not fit",
				 name, path);
			return -ENOEXEC;
		case FILE_STATIC:
			ret = loader_find(p, boundary, name, path, err, errlen);
			if (ret)
				return ret;
			*--p->argv = (char *)path;
			*--p->argv = p->loader;
			p->loaded = true;
			return 0;
		case FILE_SCRIPT:
			p->argv[0] = (char *)path;
			if (*s->argument)
				*--p->argv = s->argument;
			*--p->argv = s->interpreter;
			path = s->interpreter;
			if (++s == p->script + SCRIPTS_MAX)
				return 0;
		}
	}
}

int program_new(char *const argv[], const char *boundary, struct program **out, char *err, size_t errlen)
{
	size_t argc = 0, room = 2 + 2 * SCRIPTS_MAX;
	struct program *p;
	int ret;

	while (argv[argc])
		argc++;
	p = calloc(1, sizeof(*p) + (room + argc + 1) * sizeof(char *));
	if (!p) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	p->given = argv;
	p->argv = p->list + room;
	memcpy(p->argv, argv, (argc + 1) * sizeof(char *));
	ret = program_resolve(p, boundary, argv[0], err, errlen);
	if (ret)
		free(p);
	else
		*out = p;
	return ret;
}

char *const *program_argv(const struct program *p)
{
	return p->loaded ? p->argv : p->given;
}

void program_free(struct program *p)
{
	free(p);
}
