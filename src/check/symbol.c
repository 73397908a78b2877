/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/symbol.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/util.h"
#include "check/demangle.h"

#define MODULES_MAX 4096

struct symbols {
	struct modules *modules;
	Dwfl_Callbacks callbacks;
	char *debug_path;
	bool broken; /* a file was cut while it was read: what libdw was about is not known */
	struct {
		bool tried;
		Dwfl *dwfl;
		Dwfl_Module *mod;
		Dwarf_Addr bias; /* of the ELF file's addresses in dwfl's */
	} of[MODULES_MAX];
};

/* Where debug information of its own is looked for, as elfutils have it: relative directories are beside the file. */
#define DEBUG_PATH "PINFOLD_DEBUG_PATH"

struct symbols *symbols_new(struct modules *m)
{
	struct symbols *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->modules = m;
	s->debug_path = getenv(DEBUG_PATH);
	s->callbacks = (Dwfl_Callbacks){.find_elf = dwfl_build_id_find_elf,
					.find_debuginfo = dwfl_standard_find_debuginfo,
					.section_address = dwfl_offline_section_address,
					.debuginfo_path = s->debug_path ? &s->debug_path : NULL};
	/* A report does not wait for a server somewhere. */
	unsetenv("DEBUGINFOD_URLS");
	return s;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < MODULES_MAX && !s->broken; i++)
		if (s->of[i].dwfl)
			dwfl_end(s->of[i].dwfl);
	free(s);
}

static Dwfl_Module *module_open(struct symbols *s, uint32_t n)
{
	const char *path = module_path(s->modules, n);
	int fd;

	if (s->of[n].tried)
		return s->of[n].mod;
	s->of[n].tried = true;
	fd = module_fd(s->modules, n);
	s->of[n].dwfl = fd >= 0 ? dwfl_begin(&s->callbacks) : NULL;
	if (!s->of[n].dwfl) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	dwfl_report_begin(s->of[n].dwfl);
	s->of[n].mod = dwfl_report_offline(s->of[n].dwfl, path, path, fd); /* which takes fd */
	if (!s->of[n].mod)
		close(fd);
	dwfl_report_end(s->of[n].dwfl, NULL, NULL);
	if (s->of[n].mod && !dwfl_module_getelf(s->of[n].mod, &s->of[n].bias))
		s->of[n].mod = NULL;
	return s->of[n].mod;
}

/* What a compiler at run time says of its code: lines "START SIZE NAME", in hexadecimal. The last one counts. */
static bool perf_map_read(const char *path, const struct place *p, char *name, size_t size, uint64_t *offset)
{
	char *line = NULL;
	uint64_t start, len;
	size_t cap = 0;
	bool found = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;

	while (f && getline(&line, &cap, f) > 0) {
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
	else if (fd >= 0)
		close(fd);
	return found;
}

static bool perf_map_name(const struct place *p, char *name, size_t size, uint64_t *offset)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/root/tmp/perf-%" PRIu32 ".map", p->pid, p->pid);
	if (perf_map_read(path, p, name, size, offset))
		return true;
	snprintf(path, sizeof(path), "/tmp/perf-%" PRIu32 ".map", p->pid);
	return perf_map_read(path, p, name, size, offset);
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

struct search {
	struct symbols *s;
	const struct place *p;
	struct symbol sym;
	void (*each)(void *ctx, const struct symbol *s);
	void *ctx;
};

static void search_module(void *arg)
{
	struct search *q = arg;
	Dwfl_Module *mod = module_open(q->s, q->p->module);
	const char *found;
	Dwarf_Addr addr, bias = 0;
	Dwarf_Line *line;
	Dwarf_Die *cu;
	GElf_Off off;
	GElf_Sym gelf;

	if (!mod) {
		q->each(q->ctx, &q->sym);
		return;
	}
	addr = q->p->addr + q->s->of[q->p->module].bias;
	cu = unit_of(mod, addr, &bias);
	line = cu ? dwarf_getsrc_die(cu, addr - bias) : NULL;
	if (line && !dwarf_lineno(line, &q->sym.line))
		q->sym.file = dwarf_linesrc(line, NULL, NULL) ?: "";
	found = dwfl_module_addrinfo(mod, addr, &off, &gelf, NULL, NULL, NULL);
	if (each_inlined(&q->sym, cu, addr - bias, q->each, q->ctx))
		return;
	q->sym.inlined = false;
	tell(&q->sym, found ?: "", q->each, q->ctx);
}

void symbols_each(struct symbols *s, const struct place *p, void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	struct search q = {
	    .s = s,
	    .p = p,
	    .sym = {.function = "", .file = "", .module = module_path(s->modules, p->module), .offset = p->addr},
	    .each = each,
	    .ctx = ctx,
	};
	char name[256];

	if (p->module && !s->broken) {
		if (guard_attempt(search_module, &q))
			return;
		s->broken = true;
		q.sym = (struct symbol){.function = "", .file = "", .module = q.sym.module, .offset = p->addr};
	} else if (!p->module && p->addr == PLACE_SIGNAL) {
		q.sym =
		    (struct symbol){.function = "<signal handler called>", .file = "", .module = "", .marker = true};
	} else if (!p->module && perf_map_name(p, name, sizeof(name), &q.sym.offset)) {
		q.sym.function = name;
	}
	each(ctx, &q.sym);
}

const char *symbols_module(struct symbols *s, const struct place *p)
{
	return module_path(s->modules, p->module);
}
