/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/guard.h"
#include "base/util.h"
#include "fixture.h"

static void fixture_notify(struct event_listener *l, const struct event *ev)
{
	struct fixture *f = container_of(l, struct fixture, listener);

	f->last[ev->type] = *ev;
	f->seen[ev->type]++;
	if (f->hook)
		f->hook(f, ev);
}

static uint64_t fixture_limit(void *ctx)
{
	struct fixture *f = ctx;

	f->limit_asked++;
	return f->limit;
}

void fixture_open(struct fixture *f)
{
	static const struct mm_owner_ops ops = {.limit = fixture_limit};

	memset(f, 0, sizeof(*f));
	assert_int_equal(guard_install(), 0);
	events_init(&f->evs);
	f->listener.mask = UINT32_MAX;
	f->listener.notify = fixture_notify;
	events_listen(&f->evs, &f->listener);
	f->limit = UINT64_MAX;
	f->cache = backing_cache_new(0, 0);
	f->owner = mm_owner_new(&ops, f, NULL, 4711, &f->evs);
	f->ioas = ioas_new(&f->evs);
	f->domain = domain_plain(f);
	f->dev = dma_dev_new(0x100, &f->evs);
	assert_non_null(f->cache);
	assert_non_null(f->owner);
	assert_non_null(f->ioas);
	assert_non_null(f->dev);
	assert_int_equal(ioas_add_domain(f->ioas, f->domain), 0);
	dma_dev_attach(f->dev, f->domain);
	dma_dev_set_master(f->dev, true);
}

void fixture_close(struct fixture *f)
{
	dma_dev_free(f->dev);
	ioas_remove_domain(f->ioas, f->domain);
	domain_free(f->domain);
	ioas_free(f->ioas);
	assert_int_equal(mm_charged(f->owner), 0);
	mm_owner_put(f->owner);
	backing_cache_free(f->cache);
	assert_int_equal(maps_of("memfd:engine"), 0);
}

struct domain *domain_plain(struct fixture *f)
{
	const struct domain_config config = {.last = UINT64_MAX, .pgsizes = PG | 2UL << 20 | 1UL << 30, .dirty = true};
	struct domain *d = domain_new(&config, &f->evs);

	assert_non_null(d);
	return d;
}

uint64_t unmap_all(struct ioas *io)
{
	uint64_t bytes = 0;

	assert_int_equal(ioas_unmap(io, 0, UINT64_MAX, &bytes), 0);
	return bytes;
}

int memfd_pages(unsigned int n)
{
	int fd = memfd_create("engine", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char page[PG];

	assert_true(fd >= 0);
	for (unsigned int i = 0; i < n; i++) {
		memset(page, 'a' + i, PG);
		assert_int_equal(pwrite(fd, page, PG, i * PG), PG);
	}
	return fd;
}

unsigned int fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

unsigned int maps_of(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, name) != NULL;
	fclose(f);
	return n;
}

struct pages *pages_memfd(struct fixture *f, int fd, unsigned int n, bool writable)
{
	struct page_slice s = {.len = n * PG, .writable = writable};
	struct pages *p = NULL;

	assert_int_equal(backing_get_fd(f->cache, fd, &s.backing), 0);
	assert_int_equal(pages_new(0x7f0000000000, &s, 1, f->owner, &p), 0);
	pages_configure(p, writable, MM_ACCOUNT_USER, false);
	backing_put(s.backing);
	return p;
}
