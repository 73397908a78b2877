/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/module.h"

#include <dwarf.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/loop.h"
#include "base/util.h"
#include "check/cfi.h"
#include "check/text.h"
#include "check/worker.h"

#define MODULES_MAX	4096
#define FILES_MAX	512 /* that are kept open */
#define SEGMENTS_MAX	16
#define RANGES_MAX	4096
#define FILE_MAX	(1ull << 40)
#define IMAGE_MAX	(256ul << 20) /* of one file's unwind tables */
#define IMAGES_MAX	(1ul << 30)   /* of all files' */
#define PATIENCE_MS	2000	      /* for one reading of a process */
#define PATIENCE_ALL_MS 10000	      /* for all that hang */
#define READ_AGAIN_NS	100000000     /* between two readings of a process that has code nobody knows */
#define READ_FREELY	1000	      /* of the other readings, that nobody waits between */
#define READ_SHARE	20	      /* after them, between two passes this many times what the first took */
#define SPACE_BUCKETS	64

static const char deleted[] = " (deleted)";

/* A file that was unlinked, or replaced by another, goes by its old name: which it was is known by dev and ino. */
struct module {
	char *path, *shown; /* in a report */
	uint64_t dev, ino, size;
	struct timespec mtime;
	int fd; /* -1: there is none */
	size_t nsegments;
	Elf64_Phdr segment[SEGMENTS_MAX]; /* PT_LOAD */
	Elf64_Phdr frames;		  /* PT_GNU_EH_FRAME; p_filesz 0: none */
	/* Only when its code is first unwound. */
	bool loaded;
	char *image; /* a private copy, of what is needed: the file may be cut while it is read */
	struct cfi cfi;
};

struct range {
	uint64_t start, end, bias; /* pc - bias is the address in the file */
	uint32_t module;
};

/* The code of one process. ranges change under the lock, and are read by the caller's thread. */
struct space {
	struct list node;
	uint64_t session;
	uint64_t read_ns, cost_ns;
	unsigned int refreshed;
	bool reading;
	size_t n;
	struct range *ranges;
};

struct modules {
	struct worker *worker;
	struct lock lock;
	struct module *module[MODULES_MAX]; /* [0] unused; published by n */
	uint32_t n;
	struct list space[SPACE_BUCKETS];
	unsigned int waited_ms; /* in vain */
	unsigned int nfiles;	/* the worker's */
	_Atomic uint64_t bytes;
	_Atomic uint32_t generation;
};

struct reading {
	struct job job;
	struct modules *m;
	uint64_t session;
	uint32_t pid;
};

/* ---- on the worker: reading a process's map and its files ---- */

static bool file_read(int fd, void *buf, size_t size, uint64_t at)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(fd, (char *)buf + done, size - done, at + done);

		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

/* A regular file alone: to open anything else may do something. */
static int path_open(const char *path)
{
	int at = open(path, O_PATH | O_CLOEXEC), fd = -1;
	struct stat st;
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	if (at >= 0 && !fstat(at, &st) && S_ISREG(st.st_mode))
		fd = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (at >= 0)
		close(at);
	return fd;
}

/* As the process sees it, which may have a root of its own, or the file as its own in spite of its being unlinked. */
static int file_open(const char *path, uint32_t pid, bool gone, uint64_t start, uint64_t end)
{
	char at[64 + 4096], exe[4096];
	ssize_t n;
	int fd;

	if (!gone) {
		snprintf(at, sizeof(at), "/proc/%" PRIu32 "/root%s", pid, path);
		fd = path_open(at);
		return fd >= 0 ? fd : path_open(path);
	}
	snprintf(at, sizeof(at), "/proc/%" PRIu32 "/map_files/%" PRIx64 "-%" PRIx64, pid, start, end);
	fd = path_open(at);
	if (fd >= 0)
		return fd;
	snprintf(at, sizeof(at), "/proc/%" PRIu32 "/exe", pid);
	n = readlink(at, exe, sizeof(exe));
	if (n != (ssize_t)(strlen(path) + strlen(deleted)) || strncmp(exe, path, strlen(path)))
		return -1;
	return path_open(at);
}

/* The program headers, of which this is as much as is needed. */
static void headers_read(struct module *mod)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (!file_read(mod->fd, &eh, sizeof(eh), 0) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof(ph))
		return;
	for (unsigned int i = 0; i < eh.e_phnum; i++) {
		if (!file_read(mod->fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)))
			return;
		if (ph.p_type == PT_LOAD && mod->nsegments < SEGMENTS_MAX)
			mod->segment[mod->nsegments++] = ph;
		else if (ph.p_type == PT_GNU_EH_FRAME)
			mod->frames = ph;
	}
}

static void module_open(struct modules *m, struct module *mod, uint32_t pid, bool gone, uint64_t start, uint64_t end)
{
	struct stat st;

	mod->fd = m->nfiles < FILES_MAX ? file_open(mod->path, pid, gone, start, end) : -1;
	if (mod->fd < 0)
		return;
	if (fstat(mod->fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_MAX) {
		close(mod->fd);
		mod->fd = -1;
		return;
	}
	m->nfiles++;
	mod->size = st.st_size;
	mod->mtime = st.st_mtim;
	headers_read(mod);
}

/* What it was opened as? A file that is written anew says other things now. */
static bool module_unchanged(const struct module *mod)
{
	struct stat st;

	return mod->fd >= 0 && !fstat(mod->fd, &st) && (uint64_t)st.st_size == mod->size &&
	       st.st_mtim.tv_sec == mod->mtime.tv_sec && st.st_mtim.tv_nsec == mod->mtime.tv_nsec;
}

/*
 * Where the unwind tables begin. The header (Linux Standard Base, "Exception Frames") points at them; linkers put it
 * before them or behind, and both into one segment.
 */
static uint64_t tables_start(const struct module *mod, const Elf64_Phdr *in)
{
	uint64_t at = mod->frames.p_offset, frames;
	struct {
		uint8_t version, pointer_enc, count_enc, table_enc;
		int32_t pointer;
	} head;

	if (!file_read(mod->fd, &head, sizeof(head), at) || head.pointer_enc != (DW_EH_PE_pcrel | DW_EH_PE_sdata4))
		return in->p_offset;
	frames = at + 4 + (int64_t)head.pointer;
	return MAX(MIN(at, frames), in->p_offset);
}

/* A private copy of the tables: programs with debug information are big, and files change. */
static void module_load(struct modules *m, struct module *mod)
{
	const Elf64_Phdr *in = NULL;
	uint64_t start, end, vaddr, last;

	for (size_t i = 0; i < mod->nsegments; i++)
		if (mod->frames.p_offset - mod->segment[i].p_offset < mod->segment[i].p_filesz)
			in = &mod->segment[i];
	if (!in || !mod->frames.p_filesz || !module_unchanged(mod))
		return;
	start = tables_start(mod, in);
	end = MIN(in->p_offset + in->p_filesz, mod->size);
	if (end <= start || end - start > IMAGE_MAX || end - start > IMAGES_MAX - MIN(m->bytes, IMAGES_MAX))
		return;
	vaddr = in->p_vaddr + (start - in->p_offset);
	if (add_overflows(vaddr, end - start, &last))
		return;
	mod->image = malloc(end - start);
	if (!mod->image || !file_read(mod->fd, mod->image, end - start, start))
		return;
	mod->cfi = (struct cfi){
	    .image = (const uint8_t *)mod->image, .len = end - start, .vaddr = vaddr, .header = mod->frames.p_vaddr};
}

static void module_free(struct module *mod)
{
	free(mod->image);
	if (mod->fd >= 0)
		close(mod->fd);
	free(mod->path);
	free(mod->shown);
	free(mod);
}

static uint32_t module_get(struct modules *m, char *path, uint64_t dev, uint64_t ino, uint32_t pid,
			   const struct range *at)
{
	size_t len = strlen(path), tail = sizeof(deleted) - 1;
	bool gone = len > tail && !strcmp(path + len - tail, deleted);
	struct module *mod;

	if (gone)
		path[len - tail] = 0;
	for (uint32_t i = 1; i <= m->n; i++)
		if (m->module[i]->ino == ino && m->module[i]->dev == dev && !strcmp(m->module[i]->path, path))
			return i;
	if (m->n + 1 >= MODULES_MAX)
		return 0;
	mod = calloc(1, sizeof(*mod));
	if (!mod || !(mod->path = strdup(path)) || !(mod->shown = strdup(path))) {
		free(mod ? mod->path : NULL);
		free(mod);
		return 0;
	}
	text_make_readable(mod->shown);
	mod->dev = dev;
	mod->ino = ino;
	module_open(m, mod, pid, gone, at->start, at->end);
	lock_take(&m->lock);
	m->module[m->n + 1] = mod;
	m->n++;
	lock_drop(&m->lock);
	m->bytes += sizeof(*mod);
	return m->n;
}

/* What is mapped from off on at start: which address is that in the file's program headers? */
static bool module_bias(const struct module *mod, uint64_t start, uint64_t off, uint64_t *bias)
{
	for (size_t i = 0; i < mod->nsegments; i++) {
		const Elf64_Phdr *ph = &mod->segment[i];

		if (off < ALIGN_DOWN(ph->p_offset, PF_PAGE_SIZE) || off >= ph->p_offset + ph->p_filesz)
			continue;
		*bias = start - off - (ph->p_vaddr - ph->p_offset);
		return true;
	}
	return false;
}

/* One line of /proc/PID/maps; true if it is code. */
static bool range_parse(struct modules *m, char *line, uint32_t pid, struct range *r)
{
	uint64_t off, ino;
	unsigned int major, minor;
	char prot[5];
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &r->start, &r->end, prot, &off,
		   &major, &minor, &ino, &at) < 7 ||
	    prot[2] != 'x')
		return false;
	line[strcspn(line, "\n")] = 0;
	r->module = line[at] == '/' ? module_get(m, line + at, (uint64_t)major << 32 | minor, ino, pid, r) : 0;
	r->bias = 0;
	if (r->module && !module_bias(m->module[r->module], r->start, off, &r->bias))
		r->bias = r->start - off; /* at least where in the file */
	return true;
}

static size_t ranges_read(struct modules *m, uint32_t pid, struct range **out)
{
	struct range *ranges = NULL;
	size_t n = 0, room = 0, cap = 0;
	char path[64], *line = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/maps", pid);
	f = fopen(path, "re");
	while (f && n < RANGES_MAX && getline(&line, &cap, f) > 0) {
		if (n == room) {
			struct range *more = reallocarray(ranges, room + 64, sizeof(*ranges));

			if (!more)
				break;
			ranges = more;
			room += 64;
		}
		n += range_parse(m, line, pid, &ranges[n]);
	}
	free(line);
	if (f)
		fclose(f);
	*out = ranges;
	return n;
}

static struct space *space_find(struct modules *m, uint64_t session)
{
	struct space *s;

	list_for_each (s, &m->space[session % SPACE_BUCKETS], node)
		if (s->session == session)
			return s;
	return NULL;
}

static void reading_run(struct job *j)
{
	struct reading *r = container_of(j, struct reading, job);
	struct range *ranges, *old = NULL;
	uint64_t began = loop_now();
	size_t n = ranges_read(r->m, r->pid, &ranges);
	struct space *s;

	lock_take(&r->m->lock);
	s = space_find(r->m, r->session);
	if (s) {
		s->reading = false;
		s->read_ns = loop_now();
		s->cost_ns = s->read_ns - began;
		if (n) { /* a process that is ending has none */
			old = s->ranges;
			s->ranges = ranges;
			s->n = n;
			r->m->generation++;
			ranges = NULL;
		}
	}
	lock_drop(&r->m->lock);
	free(old);
	free(ranges);
	free(r);
}

/* ---- on the caller's thread ---- */

struct modules *modules_new(struct worker *w)
{
	struct modules *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->worker = w;
	lock_init(&m->lock, LOCK_MODULES);
	for (size_t i = 0; i < SPACE_BUCKETS; i++)
		list_init(&m->space[i]);
	return m;
}

static void space_free(struct space *s)
{
	list_del(&s->node);
	free(s->ranges);
	free(s);
}

void modules_free(struct modules *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < SPACE_BUCKETS; i++)
		while (!list_empty(&m->space[i]))
			space_free(list_first(&m->space[i], struct space, node));
	for (uint32_t i = 1; i <= m->n; i++)
		module_free(m->module[i]);
	lock_fini(&m->lock);
	free(m);
}

void modules_forget(struct modules *m, uint64_t session)
{
	struct space *s;

	lock_take(&m->lock);
	s = space_find(m, session);
	if (s)
		space_free(s);
	lock_drop(&m->lock);
}

static bool space_lookup(const struct space *s, uint64_t pc, struct place *out)
{
	size_t lo = 0, hi = s ? s->n : 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct range *r = &s->ranges[mid];

		if (pc < r->start) {
			hi = mid;
		} else if (pc >= r->end) {
			lo = mid + 1;
		} else {
			if (r->module) {
				out->module = r->module;
				out->addr = pc - r->bias;
				out->pid = 0;
			}
			return true;
		}
	}
	return false;
}

/* With the lock. True if there is something to wait for. */
static bool space_read(struct modules *m, struct space *s, uint64_t session, uint32_t pid)
{
	struct reading *r;

	if (s && s->reading)
		return true;
	r = calloc(1, sizeof(*r));
	if (!s && r) {
		s = calloc(1, sizeof(*s));
		if (s) {
			s->session = session;
			list_add_tail(&m->space[session % SPACE_BUCKETS], &s->node);
		}
	}
	if (!s || !r) {
		free(r);
		return false;
	}
	*r = (struct reading){.job.run = reading_run, .m = m, .session = session, .pid = pid};
	s->reading = true;
	worker_submit(m->worker, &r->job);
	return true;
}

/* False if it has not answered, or has not in general. */
static bool wait_a_moment(struct modules *m)
{
	if (m->waited_ms >= PATIENCE_ALL_MS)
		return false;
	if (worker_wait(m->worker, PATIENCE_MS))
		return true;
	m->waited_ms += PATIENCE_MS;
	return false;
}

bool modules_find(struct modules *m, uint64_t session, uint32_t pid, uint64_t pc, struct place *out)
{
	struct place p = {.pid = pid, .addr = pc};
	struct space *s;
	bool wait = false, found;

	lock_take(&m->lock);
	s = space_find(m, session);
	found = space_lookup(s, pc, &p);
	if (!found && !(s && s->read_ns && loop_now() - s->read_ns < READ_AGAIN_NS))
		wait = space_read(m, s, session, pid);
	lock_drop(&m->lock);
	if (wait) {
		wait_a_moment(m);
		lock_take(&m->lock);
		found = space_lookup(space_find(m, session), pc, &p);
		lock_drop(&m->lock);
	}
	*out = p;
	return found;
}

bool modules_refresh(struct modules *m, uint64_t session, uint32_t pid)
{
	struct space *s;
	bool wait = false;

	lock_take(&m->lock);
	s = space_find(m, session);
	if (s && (s->refreshed < READ_FREELY || loop_now() - s->read_ns > READ_SHARE * s->cost_ns)) {
		s->refreshed++;
		wait = space_read(m, s, session, pid);
	}
	lock_drop(&m->lock);
	return wait && wait_a_moment(m);
}

struct loading {
	struct job job;
	struct modules *m;
	struct module *mod;
};

static void loading_run(struct job *j)
{
	struct loading *l = container_of(j, struct loading, job);

	if (!l->mod->loaded) {
		module_load(l->m, l->mod);
		l->m->bytes += l->mod->cfi.len;
	}
	lock_take(&l->m->lock);
	l->mod->loaded = true;
	lock_drop(&l->m->lock);
	free(l);
}

static bool module_loaded(struct modules *m, const struct module *mod)
{
	bool loaded;

	lock_take(&m->lock);
	loaded = mod->loaded;
	lock_drop(&m->lock);
	return loaded;
}

const struct cfi *module_cfi(struct modules *m, uint32_t module)
{
	struct module *mod = module ? m->module[module] : NULL;
	struct loading *l;

	if (!mod)
		return NULL;
	if (!module_loaded(m, mod)) {
		/* Whose loading hangs is not asked for again: the worker hangs, and patience ends. */
		l = m->waited_ms < PATIENCE_ALL_MS ? calloc(1, sizeof(*l)) : NULL;
		if (!l)
			return NULL;
		*l = (struct loading){.job.run = loading_run, .m = m, .mod = mod};
		worker_submit(m->worker, &l->job);
		wait_a_moment(m);
		if (!module_loaded(m, mod))
			return NULL;
	}
	return mod->cfi.len ? &mod->cfi : NULL;
}

const char *module_path(struct modules *m, uint32_t module)
{
	const char *path;

	lock_take(&m->lock);
	path = module && module <= m->n ? m->module[module]->shown : "";
	lock_drop(&m->lock);
	return path;
}

int module_fd(struct modules *m, uint32_t module)
{
	const struct module *mod;

	lock_take(&m->lock);
	mod = module && module <= m->n ? m->module[module] : NULL;
	lock_drop(&m->lock);
	return mod && module_unchanged(mod) ? fcntl(mod->fd, F_DUPFD_CLOEXEC, 3) : -1;
}

uint64_t modules_bytes(const struct modules *m)
{
	return m->bytes;
}

uint32_t modules_generation(const struct modules *m)
{
	return m->generation;
}
