/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/lookup.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "check/demangle.h"

#define MODULES_MAX 4096
#define PERF_MAX    (256l << 20) /* bytes of a perf map */
#define PERF_LINE   4096

struct lookup {
	Dwfl_Callbacks callbacks;
	char *debug_path;
	struct {
		bool tried;
		Dwfl *dwfl;
		Dwfl_Module *mod;
		Dwarf_Addr bias; /* of the ELF file's addresses in dwfl's */
	} of[MODULES_MAX];
};

/* Where debug information of its own is looked for, as elfutils have it: relative directories are beside the file. */
#define DEBUG_PATH "PINFOLD_DEBUG_PATH"

struct lookup *lookup_new(void)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->debug_path = getenv(DEBUG_PATH);
	l->callbacks = (Dwfl_Callbacks){.find_elf = dwfl_build_id_find_elf,
					.find_debuginfo = dwfl_standard_find_debuginfo,
					.section_address = dwfl_offline_section_address,
					.debuginfo_path = l->debug_path ? &l->debug_path : NULL};
	/* A report does not wait for a server somewhere. */
	unsetenv("DEBUGINFOD_URLS");
	return l;
}

static Dwfl_Module *module_open(struct lookup *l, uint32_t n, const char *path, int fd)
{
	if (n >= MODULES_MAX || l->of[n].tried) {
		if (fd >= 0)
			close(fd);
		return n < MODULES_MAX ? l->of[n].mod : NULL;
	}
	l->of[n].tried = true;
	l->of[n].dwfl = fd >= 0 ? dwfl_begin(&l->callbacks) : NULL;
	if (!l->of[n].dwfl) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	dwfl_report_begin(l->of[n].dwfl);
	l->of[n].mod = dwfl_report_offline(l->of[n].dwfl, path, path, fd); /* which takes fd */
	if (!l->of[n].mod)
		close(fd);
	dwfl_report_end(l->of[n].dwfl, NULL, NULL);
	if (l->of[n].mod && !dwfl_module_getelf(l->of[n].mod, &l->of[n].bias))
		l->of[n].mod = NULL;
	return l->of[n].mod;
}

/* What a compiler at run time says of its code: lines "START SIZE NAME", in hexadecimal. The last one counts. */
static bool perf_map_read(const char *path, uint64_t addr, char *name, size_t size, uint64_t *offset)
{
	char line[PERF_LINE];
	uint64_t start, len;
	bool found = false, whole = true;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	FILE *f = NULL;

	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= PERF_MAX)
		f = fdopen(fd, "r");
	while (f && fgets(line, sizeof(line), f)) {
		bool begins = whole;
		int at = 0;

		whole = strchr(line, '\n');
		if (!begins || sscanf(line, "%" SCNx64 " %" SCNx64 " %n", &start, &len, &at) < 2 || addr - start >= len)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(name, size, "%s", line + at);
		*offset = addr - start;
		found = true;
	}
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	return found;
}

static bool perf_map_name(uint32_t pid, uint64_t addr, char *name, size_t size, uint64_t *offset)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/root/tmp/perf-%" PRIu32 ".map", pid, pid);
	if (perf_map_read(path, addr, name, size, offset))
		return true;
	snprintf(path, sizeof(path), "/tmp/perf-%" PRIu32 ".map", pid);
	return perf_map_read(path, addr, name, size, offset);
}

static void set_line(struct symbol *sym, Dwarf_Die *cu, Dwarf_Word file, Dwarf_Word line)
{
	Dwarf_Files *files;
	size_t n;

	sym->line = (int)line;
	sym->file = "";
	if (!dwarf_getsrcfiles(cu, &files, &n) && file < n)
		sym->file = dwarf_filesrc(files, file, NULL, NULL) ?: "";
}

static Dwarf_Word attribute(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute a;
	Dwarf_Word v = 0;

	if (dwarf_attr(die, name, &a))
		dwarf_formudata(&a, &v);
	return v;
}

/* A name with its class and its parameters if the language has them. */
static const char *die_function(Dwarf_Die *die)
{
	Dwarf_Attribute a;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &a))
		name = dwarf_formstring(&a);
	if (!name && dwarf_attr_integrate(die, DW_AT_name, &a))
		name = dwarf_formstring(&a);
	return name ?: "";
}

static void tell(struct symbol *sym, const char *function, void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	char *plain = demangle(function);

	sym->function = plain ?: function;
	each(ctx, sym);
	free(plain);
}

/* The unit that addr is of. Not every compiler leaves a table of them (.debug_aranges): then each is asked. */
static Dwarf_Die *unit_of(Dwfl_Module *mod, Dwarf_Addr addr, Dwarf_Addr *bias)
{
	Dwarf_Die *cu = dwfl_module_addrdie(mod, addr, bias);

	if (cu)
		return cu;
	while ((cu = dwfl_module_nextcu(mod, cu, bias)))
		if (dwarf_haspc(cu, addr - *bias) > 0)
			return cu;
	return NULL;
}

/* The inlined calls at addr, each of which says where it was called from. True if the function itself was told too. */
static bool each_inlined(struct symbol *sym, Dwarf_Die *cu, Dwarf_Addr addr,
			 void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	Dwarf_Die *scopes = NULL;
	int n = cu ? dwarf_getscopes(cu, addr, &scopes) : 0;
	bool told = false;

	for (int i = 0; i < n && !told; i++) {
		int tag = dwarf_tag(&scopes[i]);

		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
			continue;
		sym->inlined = tag == DW_TAG_inlined_subroutine;
		tell(sym, die_function(&scopes[i]), each, ctx);
		told = !sym->inlined;
		if (sym->inlined)
			set_line(sym, cu, attribute(&scopes[i], DW_AT_call_file),
				 attribute(&scopes[i], DW_AT_call_line));
	}
	free(scopes);
	return told;
}

void lookup_generated(uint32_t pid, uint64_t addr, void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	struct symbol sym = {.function = "", .file = "", .module = "", .offset = addr};
	char name[256];

	if (perf_map_name(pid, addr, name, sizeof(name), &sym.offset))
		sym.function = name;
	each(ctx, &sym);
}

void lookup_each(struct lookup *l, uint32_t module, const char *path, int fd, uint64_t at,
		 void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	struct symbol sym = {.function = "", .file = "", .module = path, .offset = at};
	Dwfl_Module *mod = module_open(l, module, path, fd);
	const char *found;
	Dwarf_Addr addr, bias = 0;
	Dwarf_Line *line;
	Dwarf_Die *cu;
	GElf_Off off;
	GElf_Sym gelf;

	if (!mod) {
		each(ctx, &sym);
		return;
	}
	addr = at + l->of[module].bias;
	cu = unit_of(mod, addr, &bias);
	line = cu ? dwarf_getsrc_die(cu, addr - bias) : NULL;
	if (line && !dwarf_lineno(line, &sym.line))
		sym.file = dwarf_linesrc(line, NULL, NULL) ?: "";
	found = dwfl_module_addrinfo(mod, addr, &off, &gelf, NULL, NULL, NULL);
	if (each_inlined(&sym, cu, addr - bias, each, ctx))
		return;
	sym.inlined = false;
	tell(&sym, found ?: "", each, ctx);
}
