/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/symbol.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define MODULES_MAX 4096

struct symbols {
	struct modules *modules;
	struct {
		bool tried;
		Dwfl *dwfl;
		Dwfl_Module *mod;
		Dwarf_Addr bias; /* of the ELF file's addresses in dwfl's */
	} of[MODULES_MAX];
};

static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
};

struct symbols *symbols_new(struct modules *m)
{
	struct symbols *s = calloc(1, sizeof(*s));

	if (s)
		s->modules = m;
	return s;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < MODULES_MAX; i++)
		if (s->of[i].dwfl)
			dwfl_end(s->of[i].dwfl);
	free(s);
}

static Dwfl_Module *module_open(struct symbols *s, uint32_t n)
{
	const char *path = module_path(s->modules, n);

	if (s->of[n].tried)
		return s->of[n].mod;
	s->of[n].tried = true;
	s->of[n].dwfl = dwfl_begin(&callbacks);
	if (!s->of[n].dwfl)
		return NULL;
	dwfl_report_begin(s->of[n].dwfl);
	s->of[n].mod = dwfl_report_offline(s->of[n].dwfl, path, path, -1);
	dwfl_report_end(s->of[n].dwfl, NULL, NULL);
	if (s->of[n].mod && !dwfl_module_getelf(s->of[n].mod, &s->of[n].bias))
		s->of[n].mod = NULL;
	return s->of[n].mod;
}

/* /tmp/perf-PID.map: what a compiler at run time says of its code ("START SIZE NAME", in hexadecimal). */
static bool perf_map_name(const struct place *p, char *name, size_t size, uint64_t *offset)
{
	char path[64], *line = NULL;
	uint64_t start, len;
	size_t cap = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/perf-%" PRIu32 ".map", p->pid);
	f = fopen(path, "re");
	while (f && !found && getline(&line, &cap, f) > 0) {
		int at = 0;

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %n", &start, &len, &at) < 2 || p->addr - start >= len)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(name, size, "%s", line + at);
		*offset = p->addr - start;
		found = true;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
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

static const char *die_function(Dwarf_Die *die)
{
	Dwarf_Attribute a;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_name, &a))
		name = dwarf_formstring(&a);
	return name ?: "";
}

/* The inlined calls at addr, each of which says where it was called from. True if the function itself was told too. */
static bool each_inlined(struct symbol *sym, Dwfl_Module *mod, Dwarf_Addr addr,
			 void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	Dwarf_Addr bias;
	Dwarf_Die *cu = dwfl_module_addrdie(mod, addr, &bias), *scopes = NULL;
	int n = cu ? dwarf_getscopes(cu, addr - bias, &scopes) : 0;
	bool told = false;

	for (int i = 0; i < n && !told; i++) {
		int tag = dwarf_tag(&scopes[i]);

		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
			continue;
		sym->function = die_function(&scopes[i]);
		sym->inlined = tag == DW_TAG_inlined_subroutine;
		each(ctx, sym);
		told = !sym->inlined;
		if (sym->inlined)
			set_line(sym, cu, attribute(&scopes[i], DW_AT_call_file),
				 attribute(&scopes[i], DW_AT_call_line));
	}
	free(scopes);
	return told;
}

void symbols_each(struct symbols *s, const struct place *p, void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	Dwfl_Module *mod = p->module ? module_open(s, p->module) : NULL;
	struct symbol sym = {
	    .function = "", .file = "", .module = module_path(s->modules, p->module), .offset = p->addr};
	char name[256];
	const char *found;
	Dwfl_Line *line;
	GElf_Off off;
	GElf_Sym gelf;
	Dwarf_Addr addr;

	if (!mod) {
		if (!p->module && perf_map_name(p, name, sizeof(name), &sym.offset))
			sym.function = name;
		each(ctx, &sym);
		return;
	}
	addr = p->addr + s->of[p->module].bias;
	line = dwfl_module_getsrc(mod, addr);
	if (line)
		sym.file = dwfl_lineinfo(line, NULL, &sym.line, NULL, NULL, NULL) ?: "";
	found = dwfl_module_addrinfo(mod, addr, &off, &gelf, NULL, NULL, NULL);
	if (found)
		sym.offset = off;
	if (each_inlined(&sym, mod, addr, each, ctx))
		return;
	sym.function = found ?: "";
	sym.inlined = false;
	each(ctx, &sym);
}
