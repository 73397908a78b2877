/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "net/net.h"

#define RING_SIZE  (1024 * 1024)
#define FILE_SIZE  (256 * 1024) /* of stdio's buffer */
#define RECORD	   16		/* bytes of a record's header in a file */
#define SECOND	   1000000000ULL
#define PATIENCE_S 5 /* for a disk, at the end */

_Static_assert(NET_FRAME_MAX < RING_SIZE / 4, "as a ring demands");

struct capture {
	struct ring ring;
	char *path;
	struct stat st;
	int fd; /* of reading: where each pass comes from */
	uint64_t times;
	pcap_t *pcap;
	FILE *file;
	pcap_dumper_t *dumper;
	char *buf;	/* stdio's, of FILE_SIZE */
	size_t pending; /* whole records in stdio's buffer */
	off_t good;	/* bytes of the file up to there are whole records */
	bool failed;
	atomic_bool stop;
	pthread_t thread;
};

__attribute__((format(printf, 4, 5))) static int fail(int rc, char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return rc;
}

/* Whether to go on; waits for the bell of a side that has gone to sleep. */
static bool wait_bell(struct capture *c, struct ring_side *s, bool sleeps)
{
	if (atomic_load(&c->stop))
		return false;
	if (sleeps)
		ring_bell_clear(s);
	return true;
}

/* ---- reading ---- */

static int pass_open(struct capture *c, char *err, size_t errlen)
{
	char why[PCAP_ERRBUF_SIZE];
	int fd = dup(c->fd);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f || fseek(f, 0, SEEK_SET) < 0) {
		if (f)
			fclose(f);
		else if (fd >= 0)
			close(fd);
		return fail(-EIO, err, errlen, "%s: %s", c->path, strerror(errno));
	}
	c->pcap = pcap_fopen_offline_with_tstamp_precision(f, PCAP_TSTAMP_PRECISION_NANO, why);
	if (c->pcap)
		return 0;
	fclose(f);
	return fail(-EINVAL, err, errlen, "%s: %s", c->path, why);
}

static void pass_close(struct capture *c)
{
	if (c->pcap)
		pcap_close(c->pcap);
	c->pcap = NULL;
}

/* False: not to go on. */
static bool frame_put(struct capture *c, const struct pcap_pkthdr *h, const uint8_t *data)
{
	struct ring_frame *f;

	while (!(f = ring_reserve(&c->ring, h->caplen)))
		if (!wait_bell(c, &c->ring.put, ring_put_sleep(&c->ring, h->caplen)))
			return false;
	f->wire_len = h->len;
	f->ns = (uint64_t)h->ts.tv_sec * SECOND + (uint64_t)h->ts.tv_usec;
	memcpy(f->data, data, h->caplen);
	ring_commit(&c->ring);
	return !atomic_load(&c->stop);
}

/* Frames that no card could have sent are left out. Returns whether there was one at all. */
static bool pass_run(struct capture *c)
{
	struct pcap_pkthdr *h;
	const uint8_t *data;
	bool any = false;
	int rc;

	while ((rc = pcap_next_ex(c->pcap, &h, &data)) == 1) {
		if (h->caplen > NET_FRAME_MAX)
			continue;
		any = true;
		if (!frame_put(c, h, data))
			return false;
	}
	if (rc == PCAP_ERROR && !c->failed) {
		log_warn("net=pcap: %s: %s", c->path, pcap_geterr(c->pcap));
		c->failed = true;
	}
	return any;
}

static void *read_run(void *arg)
{
	struct capture *c = arg;
	char why[512];

	for (uint64_t n = 1; pass_run(c) && n != c->times; n++) {
		pass_close(c);
		if (pass_open(c, why, sizeof(why))) {
			log_warn("net=pcap: %s", why);
			break;
		}
	}
	return NULL;
}

static int read_open(struct capture *c, char *err, size_t errlen)
{
	const char *name;
	int rc, type;

	/* Not waiting for whoever would write a FIFO. */
	c->fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (c->fd < 0 || fstat(c->fd, &c->st) < 0)
		return fail(-errno, err, errlen, "%s: %s", c->path, strerror(errno));
	if (!S_ISREG(c->st.st_mode))
		return fail(-EINVAL, err, errlen, "%s is no regular file", c->path);
	rc = pass_open(c, err, errlen);
	if (rc)
		return rc;
	type = pcap_datalink(c->pcap);
	if (type == DLT_EN10MB)
		return 0;
	name = pcap_datalink_val_to_name(type);
	return fail(-EINVAL, err, errlen, "%s: a capture of %s, not of Ethernet", c->path,
		    name ? name : "an unknown kind of link");
}

/* ---- writing ---- */

static void write_failed(struct capture *c)
{
	log_warn("net=pcap: %s: %s; the rest is lost", c->path, strerror(errno));
	c->failed = true;
	__fpurge(c->file);
	/* Half a record would spoil the file for its readers. */
	if (S_ISREG(c->st.st_mode) && ftruncate(fileno(c->file), c->good) < 0)
		log_warn("net=pcap: %s: %s", c->path, strerror(errno));
}

/* One write, or very few, of whole records: whoever is killed leaves a file that can be read. */
static void write_flush(struct capture *c)
{
	if (c->failed || !c->pending)
		return;
	if (pcap_dump_flush(c->dumper) || ferror(c->file)) {
		write_failed(c);
		return;
	}
	c->good += (off_t)c->pending;
	c->pending = 0;
}

static void write_frame(struct capture *c, const struct ring_frame *f)
{
	struct pcap_pkthdr h = {.caplen = f->len, .len = f->wire_len};

	if (c->failed)
		return;
	if (c->pending + RECORD + f->len >= FILE_SIZE)
		write_flush(c);
	h.ts.tv_sec = (time_t)(f->ns / SECOND);
	h.ts.tv_usec = (suseconds_t)(f->ns % SECOND);
	pcap_dump((u_char *)c->dumper, &h, f->data);
	c->pending += RECORD + f->len;
}

static void *write_run(void *arg)
{
	struct capture *c = arg;
	struct ring_frame *f;
	bool more = true;

	while (more) {
		while ((f = ring_front(&c->ring))) {
			write_frame(c, f);
			ring_pop(&c->ring);
		}
		write_flush(c);
		more = wait_bell(c, &c->ring.take, ring_take_sleep(&c->ring));
	}
	/* What came between the last look and the order to stop. */
	for (; (f = ring_front(&c->ring)); ring_pop(&c->ring))
		write_frame(c, f);
	write_flush(c);
	return NULL;
}

static int write_open(struct capture *c, char *err, size_t errlen)
{
	/* O_NONBLOCK: a FIFO that nobody reads is an error, not a wait. */
	int fd = open(c->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);

	if (fd < 0 || fstat(fd, &c->st) < 0 || !(c->file = fdopen(fd, "w"))) {
		int rc = -errno;

		fail(rc, err, errlen, "%s: %s", c->path, rc == -ENXIO ? "nobody reads this FIFO" : strerror(-rc));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (!S_ISREG(c->st.st_mode) && !S_ISFIFO(c->st.st_mode))
		return fail(-EINVAL, err, errlen, "%s is neither a regular file nor a FIFO", c->path);
	fcntl(fd, F_SETFL, O_WRONLY);
	return 0;
}

/* Only now is anything of the file's old content lost. */
static int write_begin(struct capture *c, char *err, size_t errlen)
{
	FILE *f = c->file;

	if (S_ISREG(c->st.st_mode) && ftruncate(fileno(f), 0) < 0)
		return fail(-errno, err, errlen, "%s: %s", c->path, strerror(errno));
	c->buf = malloc(FILE_SIZE);
	if (!c->buf)
		return fail(-ENOMEM, err, errlen, "%s: out of memory", c->path);
	setvbuf(f, c->buf, _IOFBF, FILE_SIZE);
	c->pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, NET_FRAME_MAX, PCAP_TSTAMP_PRECISION_NANO);
	if (!c->pcap)
		return fail(-ENOMEM, err, errlen, "%s: out of memory", c->path);
	c->dumper = pcap_dump_fopen(c->pcap, f);
	if (!c->dumper || pcap_dump_flush(c->dumper))
		return fail(-EIO, err, errlen, "%s: %s", c->path, strerror(errno));
	c->good = ftello(f);
	return 0;
}

/* ---- life ---- */

static void capture_free(struct capture *c)
{
	if (c->dumper)
		pcap_dump_close(c->dumper);
	else if (c->file)
		fclose(c->file);
	pass_close(c);
	if (c->fd >= 0)
		close(c->fd);
	ring_fini(&c->ring);
	free(c->buf);
	free(c->path);
	free(c);
}

static struct capture *capture_new(const char *path, bool reads)
{
	struct capture *c = aligned_alloc(_Alignof(struct capture), sizeof(*c));

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->path = strdup(path);
	if (!ring_init(&c->ring, RING_SIZE, reads, !reads) && c->path)
		return c;
	capture_free(c);
	return NULL;
}

static int capture_start(struct capture *c, void *(*run)(void *), char *err, size_t errlen)
{
	int rc = thread_start(&c->thread, run, c);

	return rc ? fail(rc, err, errlen, "%s: no thread: %s", c->path, strerror(-rc)) : 0;
}

int capture_read(const char *path, uint64_t times, struct capture **out, char *err, size_t errlen)
{
	struct capture *c = capture_new(path, true);
	int rc;

	if (!c)
		return fail(-ENOMEM, err, errlen, "%s: out of memory", path);
	c->times = times;
	rc = read_open(c, err, errlen);
	if (!rc)
		rc = capture_start(c, read_run, err, errlen);
	if (rc)
		capture_free(c);
	else
		*out = c;
	return rc;
}

int capture_write(const char *path, const struct capture *source, struct capture **out, char *err, size_t errlen)
{
	struct capture *c = capture_new(path, false);
	int rc;

	if (!c)
		return fail(-ENOMEM, err, errlen, "%s: out of memory", path);
	rc = write_open(c, err, errlen);
	if (!rc && source && c->st.st_dev == source->st.st_dev && c->st.st_ino == source->st.st_ino)
		rc = fail(-EINVAL, err, errlen, "%s cannot be read and written at once", path);
	if (!rc)
		rc = write_begin(c, err, errlen);
	if (!rc)
		rc = capture_start(c, write_run, err, errlen);
	if (rc)
		capture_free(c);
	else
		*out = c;
	return rc;
}

void capture_close(struct capture *c)
{
	struct timespec until;

	if (!c)
		return;
	atomic_store(&c->stop, true);
	ring_bell(&c->ring.put);
	ring_bell(&c->ring.take);
	/* Not pthread_clockjoin_np: ThreadSanitizer does not know it for a join. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	if (pthread_timedjoin_np(c->thread, NULL, &until)) {
		/* It hangs at the file, and all that it uses is left to it. */
		log_warn("net=pcap: %s: not all was written in time", c->path);
		pthread_detach(c->thread);
		return;
	}
	capture_free(c);
}

struct ring *capture_ring(struct capture *c)
{
	return &c->ring;
}
