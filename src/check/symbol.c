/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process looks names up (lookup.h), and this asks it. It is forked when there is next to nothing in this one, has
 * nothing open but the socket to it, and forks the one that does the work, which ends itself when a question takes too
 * long; then another one takes its place, and the file that was asked about is not asked about again.
 */
#include "check/symbol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "check/lookup.h"
#include "check/text.h"

#define MODULES_MAX 4096
#define PATH_LEN    4096
#define REPLY_MAX   65536
#define TEXT_MAX    4096 /* of a name */
#define FRAMES_MAX  64	 /* that are inlined into each other */
#define ANSWER_S    5	 /* for one question, the file's first too */
#define PATIENCE_MS 8000 /* then not even the end of it has been heard of */
#define DEATHS_MAX  16
#define MEMORY_MAX  (8ull << 30)
#define CACHE	    2048

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct question {
	uint32_t seq, module, pid;
	uint64_t addr;
	char path[PATH_LEN];
};

struct frame {
	uint64_t offset;
	int32_t line;
	uint16_t function_len, file_len; /* with their ends; these follow */
	uint8_t inlined;
};

struct reply {
	uint32_t seq;
	uint32_t died;
	uint32_t n;
	uint64_t cpu_ns;
	size_t len;
	_Alignas(8) char data[REPLY_MAX];
};

struct known {
	struct place at;
	uint32_t n;
	size_t len;
	char *data;
};

struct symbols {
	struct modules *modules;
	pid_t keeper;
	int sock; /* -1: there is nobody to ask */
	uint32_t seq;
	unsigned int deaths;
	_Atomic uint64_t cpu_ns;
	bool bad[MODULES_MAX]; /* files that were somebody's end */
	struct question question;
	struct reply reply;
	struct known known[CACHE];
};

/* ---- the other process ---- */

static uint64_t cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void add_frame(void *ctx, const struct symbol *sym)
{
	struct frame f = {.offset = sym->offset,
			  .line = sym->line,
			  .function_len = strnlen(sym->function, TEXT_MAX) + 1,
			  .file_len = strnlen(sym->file, TEXT_MAX) + 1,
			  .inlined = sym->inlined};
	struct reply *r = ctx;
	char *to = r->data + r->len;

	if (r->n == FRAMES_MAX || sizeof(f) + f.function_len + f.file_len > REPLY_MAX - r->len)
		return;
	memcpy(to, &f, sizeof(f));
	to += sizeof(f);
	memcpy(to, sym->function, f.function_len - 1);
	to[f.function_len - 1] = 0;
	to += f.function_len;
	memcpy(to, sym->file, f.file_len - 1);
	to[f.file_len - 1] = 0;
	r->len += sizeof(f) + f.function_len + f.file_len;
	r->n++;
}

static bool question_get(int sock, struct question *q, int *fd)
{
	struct iovec iov = {q, sizeof(*q)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*fd = -1;
	if (cm && cm->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	return n > 0;
}

static void alarm_in(unsigned int seconds)
{
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_sec = seconds}, NULL);
}

/* *busy: the question that is being answered. Does not return. */
static void answer_all(int sock, volatile uint32_t *busy)
{
	static struct question q;
	static struct reply r;
	struct lookup *l = lookup_new();
	int fd;

	while (l && question_get(sock, &q, &fd)) {
		*busy = q.seq;
		alarm_in(ANSWER_S);
		r.seq = q.seq;
		r.n = 0;
		r.len = 0;
		r.cpu_ns = cpu_now();
		q.path[PATH_LEN - 1] = 0;
		if (q.module)
			lookup_each(l, q.module, q.path, fd, q.addr, add_frame, &r);
		else
			lookup_generated(q.pid, q.addr, add_frame, &r);
		alarm_in(0);
		r.cpu_ns = cpu_now() - r.cpu_ns;
		if (send(sock, &r, offsetof(struct reply, data) + r.len, MSG_NOSIGNAL) < 0)
			break;
		*busy = 0;
	}
	_exit(0);
}

/* What a file does to the process that reads it is nobody's fault whose terminal or core directory it could fill. */
static void be_alone(int *sock, pid_t parent)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGALRM, SIGABRT, SIGFPE, SIGILL};
	struct rlimit none = {0}, memory = {MEMORY_MAX, MEMORY_MAX};
	sigset_t all;
	int null;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	prctl(PR_SET_NAME, "pinfold-symbols");
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	setrlimit(RLIMIT_CORE, &none);
	if (!SANITIZED) /* whose shadow is bigger than that */
		setrlimit(RLIMIT_AS, &memory);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (*sock != 3)
		dup2(*sock, 3);
	*sock = 3;
	close_range(4, ~0u, 0);
}

/* Keeps one at work. */
static void keep(int sock, pid_t parent)
{
	volatile uint32_t *busy = mmap(NULL, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	be_alone(&sock, parent);
	if (busy == MAP_FAILED)
		_exit(1);
	for (unsigned int n = 0; n <= DEATHS_MAX; n++) {
		static struct reply died = {.died = true};
		pid_t self = getpid(), pid = fork();
		int status;

		if (!pid) {
			be_alone(&sock, self);
			answer_all(sock, busy);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && !WEXITSTATUS(status)))
			break;
		died.seq = *busy;
		*busy = 0;
		send(sock, &died, offsetof(struct reply, data), MSG_NOSIGNAL);
	}
	_exit(0);
}

/* ---- who asks ---- */

struct symbols *symbols_new(void)
{
	struct symbols *s = calloc(1, sizeof(*s));
	pid_t self = getpid();
	int sv[2];

	if (!s)
		return NULL;
	s->sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return s;
	s->keeper = fork();
	if (!s->keeper) {
		close(sv[0]);
		keep(sv[1], self);
	}
	close(sv[1]);
	if (s->keeper < 0)
		close(sv[0]);
	else
		s->sock = sv[0];
	return s;
}

void symbols_use(struct symbols *s, struct modules *m)
{
	s->modules = m;
}

static void nobody_left(struct symbols *s)
{
	if (s->sock >= 0)
		close(s->sock);
	s->sock = -1;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	nobody_left(s);
	if (s->keeper > 0) {
		kill(s->keeper, SIGKILL);
		waitpid(s->keeper, NULL, 0);
	}
	for (size_t i = 0; i < CACHE; i++)
		free(s->known[i].data);
	free(s);
}

uint64_t symbols_cpu_ns(const struct symbols *s)
{
	return s->cpu_ns;
}

static bool question_put(struct symbols *s, const struct place *p, int fd)
{
	struct question *q = &s->question;
	struct iovec iov = {q, offsetof(struct question, path)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	const char *path = module_path(s->modules, p->module);

	q->seq = ++s->seq ?: ++s->seq;
	q->module = p->module;
	q->pid = p->pid;
	q->addr = p->addr;
	snprintf(q->path, sizeof(q->path), "%s", path);
	iov.iov_len += strlen(q->path) + 1;
	if (fd >= 0) {
		m.msg_control = control.buf;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	}
	return sendmsg(s->sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

/* Of that question: an earlier one's may come after its time. */
static bool reply_get(struct symbols *s)
{
	struct pollfd p = {.fd = s->sock, .events = POLLIN};

	for (;;) {
		ssize_t n = poll(&p, 1, PATIENCE_MS);

		if (n < 0 && errno == EINTR)
			continue;
		n = n > 0 ? recv(s->sock, &s->reply, sizeof(s->reply), MSG_DONTWAIT) : -1;
		if (n < (ssize_t)offsetof(struct reply, data))
			return false;
		s->reply.len = n - offsetof(struct reply, data);
		if (s->reply.seq == s->seq)
			return true;
	}
}

static void ask(struct symbols *s, const struct place *p)
{
	int fd = p->module ? module_fd(s->modules, p->module) : -1;
	bool done = question_put(s, p, fd) && reply_get(s);

	if (fd >= 0)
		close(fd);
	if (!done) {
		s->reply.n = 0;
		nobody_left(s);
		return;
	}
	s->cpu_ns += s->reply.cpu_ns;
	if (!s->reply.died)
		return;
	s->reply.n = 0;
	s->bad[p->module] = true;
	if (++s->deaths > DEATHS_MAX)
		nobody_left(s);
}

/* Frames as they came; what does not fit its length ends them: the process that sent them has read hostile files. */
static unsigned int tell(char *data, size_t len, uint32_t n, const char *module,
			 void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	struct frame f;
	size_t at = 0;
	uint32_t i;

	for (i = 0; i < n && len - at >= sizeof(f); i++) {
		struct symbol sym;

		memcpy(&f, data + at, sizeof(f));
		at += sizeof(f);
		if (!f.function_len || !f.file_len || (size_t)f.function_len + f.file_len > len - at ||
		    data[at + f.function_len - 1] || data[at + f.function_len + f.file_len - 1])
			break;
		text_make_readable(data + at);
		text_make_readable(data + at + f.function_len);
		sym = (struct symbol){.function = data + at,
				      .file = data + at + f.function_len,
				      .line = f.line,
				      .inlined = f.inlined,
				      .module = module,
				      .offset = f.offset};
		at += f.function_len + f.file_len;
		if (each)
			each(ctx, &sym);
	}
	return i;
}

static struct known *known_at(struct symbols *s, const struct place *p)
{
	uint64_t h = (p->addr ^ (uint64_t)p->module << 40 ^ (uint64_t)p->pid << 20) * 0x9e3779b97f4a7c15ull;

	return &s->known[(h >> 32) % CACHE];
}

static void known_set(struct known *k, const struct place *p, const struct reply *r, uint32_t n)
{
	char *data = malloc(r->len + 1);

	if (!data)
		return;
	memcpy(data, r->data, r->len);
	free(k->data);
	*k = (struct known){.at = *p, .n = n, .len = r->len, .data = data};
}

static bool find(struct symbols *s, const struct place *p, const char *module,
		 void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	struct known *k = known_at(s, p);
	uint32_t n;

	if (p->module && k->data && k->at.module == p->module && k->at.addr == p->addr)
		return tell(k->data, k->len, k->n, module, each, ctx) > 0;
	if (s->sock < 0 || p->module >= MODULES_MAX || s->bad[p->module])
		return false;
	ask(s, p);
	n = tell(s->reply.data, s->reply.len, s->reply.n, module, NULL, NULL);
	if (p->module && n)
		known_set(k, p, &s->reply, n);
	return tell(s->reply.data, s->reply.len, n, module, each, ctx) > 0;
}

void symbols_each(struct symbols *s, const struct place *p, void (*each)(void *ctx, const struct symbol *s), void *ctx)
{
	struct symbol sym = {
	    .function = "", .file = "", .module = module_path(s->modules, p->module), .offset = p->addr};

	if (!p->module && p->addr == PLACE_SIGNAL)
		sym = (struct symbol){.function = "<signal handler called>", .file = "", .module = "", .marker = true};
	else if (find(s, p, sym.module, each, ctx))
		return;
	each(ctx, &sym);
}

const char *symbols_module(struct symbols *s, const struct place *p)
{
	return module_path(s->modules, p->module);
}
