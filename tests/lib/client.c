/* SPDX-License-Identifier: BSD-3-Clause */
#include "client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

bool fake_inside;

static bool step_out(void)
{
	bool was = fake_inside;

	fake_inside = false;
	return was;
}

static void step_in(bool *was)
{
	fake_inside = *was;
}

/* For the rest of the block the client runs. */
#define CLIENT_RUNS() bool was_inside __attribute__((cleanup(step_in), unused)) = step_out()

enum input_kind { IN_BYTES, IN_FD, IN_FILE, IN_PAGES };

struct input {
	enum input_kind kind;
	uint64_t addr, len;
	int error;
	void *data;
};
struct output {
	uint64_t addr;
	size_t len;
	void *data;
};

static struct fake *to_fake(struct ucall *c)
{
	return container_of(c, struct fake, c);
}

/* The input's record; NULL and UCALL_AGAIN in *err if the handler has to come again for it. */
static struct input *input_get(struct fake *k, enum input_kind kind, uint64_t addr, uint64_t len, int *err)
{
	struct input *in;
	size_t i;

	*err = 0;
	for (i = 0; i < k->ninputs; i++)
		if (k->inputs[i].kind == kind && k->inputs[i].addr == addr && k->inputs[i].len == len)
			return &k->inputs[i];
	k->inputs = realloc(k->inputs, (k->ninputs + 1) * sizeof(*k->inputs));
	in = &k->inputs[k->ninputs++];
	*in = (struct input){.kind = kind, .addr = addr, .len = len};
	if (kind == IN_BYTES) {
		struct iovec remote = {(void *)(uintptr_t)addr, len}, local;

		/* malloc exactly: an address sanitizer then sees a handler that reads on. */
		in->data = malloc(len ? len : 1);
		local = (struct iovec){in->data, len};
		in->error = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
	}
	if (k->again) {
		*err = UCALL_AGAIN;
		return NULL;
	}
	return in;
}

static int fake_copy_in(struct ucall *c, uint64_t addr, void *dst, size_t len)
{
	CLIENT_RUNS();
	struct input *in;
	int err;

	in = input_get(to_fake(c), IN_BYTES, addr, len, &err);
	if (!in)
		return err;
	if (!in->error)
		memcpy(dst, in->data, len);
	return in->error;
}

static int fake_copy_out(struct ucall *c, uint64_t addr, const void *src, size_t len)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	struct output *o;

	if (k->no_room)
		return -ENOMEM;
	k->outputs = realloc(k->outputs, (k->noutputs + 1) * sizeof(*o));
	o = &k->outputs[k->noutputs++];
	*o = (struct output){addr, len, malloc(len ? len : 1)};
	memcpy(o->data, src, len);
	return 0;
}

static int fake_get_fd(struct ucall *c, int client_fd, int *fd)
{
	CLIENT_RUNS();
	int err;

	if (!input_get(to_fake(c), IN_FD, client_fd, 0, &err))
		return err;
	*fd = fcntl(client_fd, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? -EBADF : 0;
}

static int fake_get_file(struct ucall *c, int client_fd, struct ufile **f)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	unsigned int i = client_fd - CLIENT_FD(0);
	int err;

	if (!input_get(k, IN_FILE, client_fd, 0, &err))
		return err;
	if (i < CLIENT_FDS && k->file[i]) {
		*f = k->file[i];
		return 0;
	}
	return fcntl(client_fd, F_GETFD) < 0 ? -EBADF : -EINVAL;
}

static int fake_get_pages(struct ucall *c, uint64_t va, uint64_t len, enum ucall_pages how, struct pages **p)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	uint64_t off = va - (uintptr_t)k->mem, ro = MEM_BYTES - MEM_RO_PAGES * PF_PAGE_SIZE, head;
	struct page_slice s[2];
	size_t n = 0;
	int err;

	if (!input_get(k, IN_PAGES, va, len, &err))
		return err;
	if (off >= MEM_BYTES || len > MEM_BYTES - off) {
		s[0] = (struct page_slice){.len = len};
		return how == UCALL_PAGES_LAZY ? pages_new(va, s, 1, c->owner, p) : -EFAULT;
	}
	head = off < ro ? MIN(len, ro - off) : 0;
	if (head)
		s[n++] = (struct page_slice){NULL, MEM_FILE_OFF + off, head, true};
	if (head < len)
		s[n++] = (struct page_slice){NULL, MEM_FILE_OFF + off + head, len - head, false};
	err = backing_get_fd(k->cache, k->memfd, &s[0].backing);
	if (err)
		return err;
	s[1].backing = s[0].backing;
	err = pages_new(va, s, n, c->owner, p);
	backing_put(s[0].backing);
	return err;
}

static int fake_get_file_pages(struct ucall *c, int client_fd, uint64_t off, uint64_t len, struct pages **p)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	struct page_slice s = {NULL, off, len, true};
	int err;

	if (!input_get(k, IN_FD, client_fd, 0, &err))
		return err;
	if (fcntl(client_fd, F_GETFD) < 0)
		return -EBADF;
	err = backing_get_fd(k->cache, client_fd, &s.backing);
	if (err)
		return -EINVAL;
	err = pages_new(off, &s, 1, c->owner, p);
	backing_put(s.backing);
	return err == -EFAULT ? -EINVAL : err;
}

/* ---- descriptors that bytes go through ---- */

struct stream {
	struct fake *client;
	uint8_t *bytes;
	size_t len;
	size_t *send; /* the length of each that is not read to its end */
	size_t nsends;
	bool starved; /* a send did not fit */
	bool finished;
};

static size_t stream_send(struct ufile *f, const void *buf, size_t len)
{
	CLIENT_RUNS();
	struct stream *s = f->host;
	size_t n = s ? MIN(len, s->client->stream_room - s->len) : 0;

	if (!s)
		return 0;
	assert_false(s->finished);

	s->starved |= n < len;
	if (!n)
		return 0;
	s->bytes = realloc(s->bytes, s->len + n);
	memcpy(s->bytes + s->len, buf, n);
	s->len += n;
	s->send = realloc(s->send, (s->nsends + 1) * sizeof(*s->send));
	s->send[s->nsends++] = n;
	return n;
}

static size_t stream_unread(struct ufile *f)
{
	return f->host ? ((struct stream *)f->host)->nsends : 0;
}

static void stream_finish(struct ufile *f)
{
	if (f->host)
		((struct stream *)f->host)->finished = true;
}

bool fake_at_end(struct fake *k, struct ufile *f)
{
	struct stream *s = f->host;

	return !s->len && s->finished;
}

size_t fake_read(struct fake *k, struct ufile *f, void *buf, size_t len)
{
	struct stream *s = f->host;
	size_t n = MIN(len, s->len);

	memcpy(buf, s->bytes, n);
	s->len -= n;
	memmove(s->bytes, s->bytes + n, s->len);
	for (size_t left = n; left;) {
		size_t take = MIN(left, s->send[0]);

		left -= take;
		s->send[0] -= take;
		if (!s->send[0])
			memmove(s->send, s->send + 1, --s->nsends * sizeof(*s->send));
	}
	if (s->starved) {
		s->starved = false;
		f->ops->drained(f);
	}
	return n;
}

void fake_write(struct fake *k, struct ufile *f, const void *buf, size_t len)
{
	f->ops->written(f, buf, len);
}

static void stream_open(struct fake *k, int i, struct ufile *f)
{
	k->stream[i] = calloc(1, sizeof(*k->stream[i]));
	k->stream[i]->client = k;
	f->host = k->stream[i];
	f->send = stream_send;
	f->unread = stream_unread;
	f->finish = stream_finish;
}

static void stream_close(struct fake *k, int i)
{
	if (!k->stream[i])
		return;
	k->file[i]->host = NULL; /* it may be held by others still */
	free(k->stream[i]->bytes);
	free(k->stream[i]->send);
	free(k->stream[i]);
	k->stream[i] = NULL;
}

static int fake_install(struct ucall *c, struct ufile *f, uint64_t addr)
{
	CLIENT_RUNS();
	struct fake *k = to_fake(c);
	int32_t fd;
	int i;

	for (i = 0; i < CLIENT_FDS && k->file[i]; i++)
		;
	if (i == CLIENT_FDS)
		return -EMFILE;
	fd = CLIENT_FD(i);
	if (!addr)
		k->installed = fd;
	else if (fake_copy_out(c, addr, &fd, sizeof(fd)))
		return -ENOMEM;
	k->file[i] = f;
	if (f->ops->written)
		stream_open(k, i, f);
	return 0;
}

static const struct ucall_ops fake_ops = {
    .copy_in = fake_copy_in,
    .copy_out = fake_copy_out,
    .get_fd = fake_get_fd,
    .get_file = fake_get_file,
    .get_pages = fake_get_pages,
    .get_file_pages = fake_get_file_pages,
    .install = fake_install,
};

static void drop_outputs(struct fake *k)
{
	while (k->noutputs)
		free(k->outputs[--k->noutputs].data);
	free(k->outputs);
	k->outputs = NULL;
}

static void drop_inputs(struct fake *k)
{
	while (k->ninputs)
		free(k->inputs[--k->ninputs].data);
	free(k->inputs);
	k->inputs = NULL;
}

static long write_outputs(struct fake *k, long ret)
{
	size_t i;

	for (i = 0; i < k->noutputs; i++) {
		struct iovec local = {k->outputs[i].data, k->outputs[i].len};
		struct iovec remote = {(void *)(uintptr_t)k->outputs[i].addr, k->outputs[i].len};

		if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)local.iov_len)
			ret = -EFAULT;
	}
	return ret;
}

long fake_ioctl(struct fake *k, struct ufile *f, unsigned int cmd, uintptr_t arg)
{
	size_t asked;
	long ret;

	k->c.at = 0;
	k->parts = 0;
	k->installed = -1;
	k->rounds = k->moments = 0;
	do {
		asked = k->ninputs;
		drop_outputs(k);
		fake_inside = true;
		ret = f->ops->ioctl(f, &k->c, cmd, arg);
		fake_inside = false;
		/* Each round must have asked for something new, or for time. */
		k->moments += ret == UCALL_AGAIN && k->ninputs == asked;
		assert_true(k->moments < 1000 && ++k->rounds <= k->ninputs + k->moments + 1);
		if (ret == UCALL_MORE) {
			assert_true(++k->parts < 1000);
			assert_int_equal(write_outputs(k, 0), 0);
			drop_inputs(k);
			k->rounds = k->moments = 0;
		}
	} while (ret == UCALL_AGAIN || ret == UCALL_MORE);
	assert_true(ret > -4096);
	ret = write_outputs(k, ret);
	if (!ret && k->installed >= 0)
		ret = k->installed;
	drop_outputs(k);
	drop_inputs(k);
	return ret;
}

void fake_close(struct fake *k, struct ufile **f)
{
	int i;

	for (i = 0; i < CLIENT_FDS; i++)
		if (k->file[i] == *f) {
			stream_close(k, i);
			k->file[i] = NULL;
		}
	ufile_put(*f);
	*f = NULL;
}

struct ufile *fake_file(struct fake *k, int fd)
{
	assert_in_range(fd, CLIENT_FD(0), CLIENT_FD(CLIENT_FDS - 1));
	assert_non_null(k->file[fd - CLIENT_FD(0)]);
	return k->file[fd - CLIENT_FD(0)];
}

int fake_fd_of(struct fake *k, struct ufile *f)
{
	int i;

	for (i = 0; i < CLIENT_FDS; i++)
		if (k->file[i] == f)
			return CLIENT_FD(i);
	return -1;
}

struct ufile *fake_keep(struct fake *k, struct ufile *f)
{
	assert_int_equal(fake_install(&k->c, f, 0), 0);
	return f;
}

int fake_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static uint64_t fake_limit(void *ctx)
{
	return ((struct fake *)ctx)->limit;
}

static bool fake_capable(void *ctx, int cap)
{
	return ((struct fake *)ctx)->capable;
}

static const struct mm_owner_ops owner_ops = {.limit = fake_limit, .capable = fake_capable};

struct fake *fake_client_new(void)
{
	struct fake *k = calloc(1, sizeof(*k));

	k->fds_before = fake_open_fds();
	events_init(&k->evs);
	k->limit = UINT64_MAX;
	k->stream_room = 1 << 16;
	k->cache = backing_cache_new(0, 0);
	k->owner = mm_owner_new(&owner_ops, k, NULL, getpid(), &k->evs);
	k->c = (struct ucall){&fake_ops, k->owner};
	k->memfd = memfd_create("client", MFD_CLOEXEC);
	assert_return_code(ftruncate(k->memfd, MEM_FILE_OFF + MEM_BYTES), errno);
	k->mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, k->memfd, MEM_FILE_OFF);
	k->hole = mmap(NULL, PF_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(k->mem != MAP_FAILED && k->hole != MAP_FAILED);
	return k;
}

void fake_client_check(struct fake *k)
{
	for (int i = 0; i < CLIENT_FDS; i++)
		assert_null(k->file[i]);
	assert_int_equal(mm_charged(k->owner), 0);
}

void fake_client_free(struct fake *k)
{
	mm_owner_put(k->owner);
	backing_cache_free(k->cache);
	munmap(k->mem, MEM_BYTES);
	munmap(k->hole, PF_PAGE_SIZE);
	close(k->memfd);
	/* A thread of a BAR's memory closes its file when it gets to it. */
	for (unsigned int i = 0; i < 10000 && fake_open_fds() > k->fds_before; i++)
		usleep(1000);
	assert_int_equal(fake_open_fds(), k->fds_before);
	free(k);
}
