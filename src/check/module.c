/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/module.h"

#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/util.h"
#include "check/worker.h"

#define MODULES_MAX	4096
#define RANGES_MAX	4096
#define FILE_MAX	(512ul << 20)
#define PATIENCE_MS	2000	  /* for one reading of a process */
#define PATIENCE_ALL_MS 10000	  /* for all that hang */
#define READ_AGAIN_NS	100000000 /* between two readings of a process that has code nobody knows */
#define SPACE_BUCKETS	64

struct module {
	char *path;
	uint64_t dev, ino, size;
	char *image; /* a private copy: the file may be cut while it is read */
	Elf *elf;
	Dwarf_CFI *cfi;
};

struct range {
	uint64_t start, end, bias; /* pc - bias is the address in the file */
	uint32_t module;
};

/* The code of one process. ranges change under the lock, and are read by the caller's thread. */
struct space {
	struct list node;
	uint64_t session;
	uint64_t read_ns;
	bool reading;
	size_t n;
	struct range *ranges;
};

struct modules {
	struct worker *worker;
	pthread_mutex_t lock;
	struct module *module[MODULES_MAX]; /* [0] unused; published by n */
	uint32_t n;
	struct list space[SPACE_BUCKETS];
	unsigned int waited_ms; /* in vain */
};

struct reading {
	struct job job;
	struct modules *m;
	uint64_t session;
	uint32_t pid;
};

/* ---- on the worker: reading a process's map and its files ---- */

static char *file_read(int fd, size_t size)
{
	char *image = malloc(size ? size : 1);
	size_t at = 0;

	while (image && at < size) {
		ssize_t n = pread(fd, image + at, size - at, at);

		if (n <= 0) {
			free(image);
			return NULL;
		}
		at += n;
	}
	return image;
}

static void module_load(struct module *mod, uint32_t pid)
{
	char path[64 + 4096];
	struct stat st;
	int fd;

	/* As the process sees it, which may have a root of its own. */
	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/root%s", pid, mod->path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		fd = open(mod->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= FILE_MAX) {
		mod->size = st.st_size;
		mod->image = file_read(fd, st.st_size);
	}
	close(fd);
	if (!mod->image)
		return;
	mod->elf = elf_memory(mod->image, mod->size);
	mod->cfi = mod->elf ? dwarf_getcfi_elf(mod->elf) : NULL;
}

static void module_free(struct module *mod)
{
	if (mod->cfi)
		dwarf_cfi_end(mod->cfi);
	if (mod->elf)
		elf_end(mod->elf);
	free(mod->image);
	free(mod->path);
	free(mod);
}

static uint32_t module_get(struct modules *m, const char *path, uint64_t dev, uint64_t ino, uint32_t pid)
{
	struct module *mod;

	for (uint32_t i = 1; i <= m->n; i++)
		if (m->module[i]->ino == ino && m->module[i]->dev == dev && !strcmp(m->module[i]->path, path))
			return i;
	if (m->n + 1 >= MODULES_MAX)
		return 0;
	mod = calloc(1, sizeof(*mod));
	if (!mod || !(mod->path = strdup(path))) {
		free(mod);
		return 0;
	}
	mod->dev = dev;
	mod->ino = ino;
	module_load(mod, pid);
	pthread_mutex_lock(&m->lock);
	m->module[m->n + 1] = mod;
	m->n++;
	pthread_mutex_unlock(&m->lock);
	return m->n;
}

/* What is mapped from off on at start: which address is that in the file's program headers? */
static bool module_bias(const struct module *mod, uint64_t start, uint64_t off, uint64_t *bias)
{
	size_t n;

	if (!mod->elf || elf_getphdrnum(mod->elf, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(mod->elf, i, &ph) || ph.p_type != PT_LOAD ||
		    off < ALIGN_DOWN(ph.p_offset, PF_PAGE_SIZE) || off >= ph.p_offset + ph.p_filesz)
			continue;
		*bias = start - off - (ph.p_vaddr - ph.p_offset);
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
	r->module = line[at] == '/' ? module_get(m, line + at, (uint64_t)major << 32 | minor, ino, pid) : 0;
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
	size_t n = ranges_read(r->m, r->pid, &ranges);
	struct space *s;

	pthread_mutex_lock(&r->m->lock);
	s = space_find(r->m, r->session);
	if (s) {
		s->reading = false;
		s->read_ns = loop_now();
		if (n) { /* a process that is ending has none */
			old = s->ranges;
			s->ranges = ranges;
			s->n = n;
			ranges = NULL;
		}
	}
	pthread_mutex_unlock(&r->m->lock);
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
	elf_version(EV_CURRENT);
	m->worker = w;
	pthread_mutex_init(&m->lock, NULL);
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
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void modules_forget(struct modules *m, uint64_t session)
{
	struct space *s;

	pthread_mutex_lock(&m->lock);
	s = space_find(m, session);
	if (s)
		space_free(s);
	pthread_mutex_unlock(&m->lock);
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

	if (s && (s->reading || (s->read_ns && loop_now() - s->read_ns < READ_AGAIN_NS)))
		return s->reading;
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

struct place modules_find(struct modules *m, uint64_t session, uint32_t pid, uint64_t pc)
{
	struct place p = {.pid = pid, .addr = pc};
	struct space *s;
	bool wait;

	pthread_mutex_lock(&m->lock);
	s = space_find(m, session);
	wait = !space_lookup(s, pc, &p) && space_read(m, s, session, pid);
	pthread_mutex_unlock(&m->lock);
	if (!wait || m->waited_ms >= PATIENCE_ALL_MS)
		return p;
	if (!worker_wait(m->worker, PATIENCE_MS))
		m->waited_ms += PATIENCE_MS;
	pthread_mutex_lock(&m->lock);
	space_lookup(space_find(m, session), pc, &p);
	pthread_mutex_unlock(&m->lock);
	return p;
}

Dwarf_CFI *module_cfi(const struct modules *m, uint32_t module)
{
	return module ? m->module[module]->cfi : NULL;
}

const char *module_path(struct modules *m, uint32_t module)
{
	const char *path;

	pthread_mutex_lock(&m->lock);
	path = module && module <= m->n ? m->module[module]->path : "";
	pthread_mutex_unlock(&m->lock);
	return path;
}
