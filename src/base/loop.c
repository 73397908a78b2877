/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/util.h"

#define NS_PER_SEC	 1000000000ULL
#define NS_PER_MS	 1000000ULL
#define SPIN_MAX_DEFAULT 100000 /* ns; some two or three wake-ups across cores */
#define SPIN_MIN	 2000	/* ns; less than this is not worth a look at the clock */
#define FD_CHECK_BUSY	 16	/* rounds between looks at epoll, a system call, while pollers find work */
#define FD_CHECK_SPIN	 64	/* and while they do not */
#define CLOCK_CHECK_SPIN 8	/* rounds between looks at the clock, which cost as much as the poll */
#define EVENTS_MAX	 64

struct loop {
	int epfd;
	bool stop;
	bool no_pwait2; /* the kernel or a filter refuses epoll_pwait2: timeouts in whole milliseconds */
	unsigned int rounds;
	uint64_t spin, spin_max; /* ns; spin is what the next idle moment may cost */
	struct list timers;	 /* by deadline */
	struct list polls;
	struct list *poll_next; /* the cursor of the running walk, so that any poller may be deleted in it */
	struct list work;
	struct list work_running;
	struct epoll_event ev[EVENTS_MAX]; /* the batch being dispatched; loop_fd_del clears what it removes */
	int ev_n;
};

static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

uint64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* With one CPU the other side cannot run while we spin. */
static uint64_t spin_max_default(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1)
		return 0;
	return SPIN_MAX_DEFAULT;
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		int err = errno;

		free(l);
		errno = err;
		return NULL;
	}
	list_init(&l->timers);
	list_init(&l->polls);
	list_init(&l->work);
	list_init(&l->work_running);
	l->spin_max = spin_max_default();
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->epfd);
	free(l);
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

void loop_set_spin_max(struct loop *l, uint64_t ns)
{
	l->spin_max = ns;
	l->spin = MIN(l->spin, ns);
}

/* ---- sources ---- */
int loop_fd_add(struct loop *l, struct loop_fd *w)
{
	struct epoll_event ev = {.events = w->events, .data.ptr = w};

	return epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0 ? -errno : 0;
}

void loop_fd_del(struct loop *l, struct loop_fd *w)
{
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = 0; i < l->ev_n; i++)
		if (l->ev[i].data.ptr == w)
			l->ev[i].data.ptr = NULL;
}

void loop_timer_init(struct loop_timer *t, void (*expired)(struct loop_timer *t))
{
	list_init(&t->node);
	t->deadline = 0;
	t->expired = expired;
}

void loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t delay_ns)
{
	uint64_t deadline;
	struct list *pos;

	loop_timer_cancel(l, t);
	if (add_overflows(loop_now(), delay_ns, &deadline))
		deadline = UINT64_MAX;
	/* Timers of one kind share a delay, so the right place is mostly at the end. */
	for (pos = l->timers.prev; pos != &l->timers; pos = pos->prev)
		if (list_entry(pos, struct loop_timer, node)->deadline <= deadline)
			break;
	t->deadline = deadline;
	list_add(pos, &t->node);
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	if (!t->deadline)
		return;
	list_del(&t->node);
	t->deadline = 0;
}

void loop_poll_add(struct loop *l, struct loop_poll *p)
{
	list_add_tail(&l->polls, &p->node);
}

void loop_poll_del(struct loop *l, struct loop_poll *p)
{
	if (l->poll_next == &p->node)
		l->poll_next = p->node.next;
	list_del(&p->node);
}

void loop_work_queue(struct loop *l, struct loop_work *w)
{
	if (list_empty(&w->node))
		list_add_tail(&l->work, &w->node);
}

void loop_work_cancel(struct loop *l, struct loop_work *w)
{
	list_del(&w->node);
}

/* ---- one round ---- */
static bool run_polls(struct loop *l)
{
	struct list *pos;
	bool did = false;

	for (pos = l->polls.next; pos != &l->polls; pos = l->poll_next) {
		struct loop_poll *p = list_entry(pos, struct loop_poll, node);

		l->poll_next = pos->next;
		did |= p->poll(p);
	}
	l->poll_next = NULL;
	return did;
}

/* What work queues in its turn runs in the next round. */
static bool run_work(struct loop *l)
{
	bool did = false;

	if (list_empty(&l->work))
		return false;
	list_add_tail(&l->work, &l->work_running);
	list_del(&l->work);
	while (!list_empty(&l->work_running)) {
		struct loop_work *w = list_first(&l->work_running, struct loop_work, node);

		list_del(&w->node);
		w->run(w);
		did = true;
	}
	return did;
}

static bool run_timers(struct loop *l)
{
	uint64_t now;
	bool did = false;

	if (list_empty(&l->timers))
		return false;
	now = loop_now();
	while (!list_empty(&l->timers)) {
		struct loop_timer *t = list_first(&l->timers, struct loop_timer, node);

		if (t->deadline > now)
			break;
		list_del(&t->node);
		t->deadline = 0;
		t->expired(t);
		did = true;
	}
	return did;
}

static bool dispatch_fds(struct loop *l, int n)
{
	if (n <= 0)
		return false;
	l->ev_n = n;
	for (int i = 0; i < n; i++) {
		struct loop_fd *w = l->ev[i].data.ptr;

		if (w)
			w->ready(w, l->ev[i].events);
	}
	l->ev_n = 0;
	return true;
}

/* Descriptors and timers can wait for a few rounds; what is polled cannot. */
static bool run_round(struct loop *l, bool all)
{
	bool did;

	did = run_polls(l);
	did |= run_work(l);
	if (all) {
		did |= run_timers(l);
		did |= dispatch_fds(l, epoll_wait(l->epfd, l->ev, EVENTS_MAX, 0));
	}
	return did;
}

/* ---- spinning and sleeping ---- */
static void spin_decay(struct loop *l)
{
	l->spin /= 4;
	if (l->spin < SPIN_MIN)
		l->spin = 0;
}

/* Asks on for l->spin ns; true if something turned up. */
static bool loop_spin(struct loop *l)
{
	unsigned int n = 0;
	uint64_t until;

	if (!l->spin)
		return false;
	until = loop_now() + l->spin;
	do {
		cpu_pause();
		if (run_round(l, ++n % FD_CHECK_SPIN == 0)) {
			l->spin = l->spin_max;
			return true;
		}
	} while (!l->stop && (n % CLOCK_CHECK_SPIN || loop_now() < until));
	return false;
}

/* Until the first timer; UINT64_MAX: no timer. */
static uint64_t timer_delay(const struct loop *l)
{
	uint64_t now, deadline;

	if (list_empty(&l->timers))
		return UINT64_MAX;
	now = loop_now();
	deadline = list_first(&l->timers, struct loop_timer, node)->deadline;
	return deadline > now ? deadline - now : 0;
}

static int wait_fds(struct loop *l, uint64_t delay)
{
	struct timespec ts = {.tv_sec = delay / NS_PER_SEC, .tv_nsec = delay % NS_PER_SEC};
	int n;

	lock_assert_none();
	if (delay == UINT64_MAX)
		return epoll_wait(l->epfd, l->ev, EVENTS_MAX, -1);
	if (!l->no_pwait2) {
		n = epoll_pwait2(l->epfd, l->ev, EVENTS_MAX, &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		l->no_pwait2 = true;
	}
	delay = (delay + NS_PER_MS - 1) / NS_PER_MS;
	return epoll_wait(l->epfd, l->ev, EVENTS_MAX, (int)MIN(delay, (uint64_t)INT32_MAX));
}

/*
 * Every poller whose prepare_sleep was called is cancelled, also the one that said no.
 *
 * What the next idle moment may cost follows from how long this one was, counted from its beginning, idle_since: if
 * spinning to the limit would have saved the sleep, that much; if not, less each time. A program that computes for long
 * between two requests costs a few failed spins, and then none.
 */
static bool loop_sleep(struct loop *l, uint64_t idle_since)
{
	struct loop_poll *p;
	struct list *pos;
	bool sleep = true, did;
	int n = 0;

	for (pos = l->polls.next; pos != &l->polls && sleep; pos = pos->next) {
		p = list_entry(pos, struct loop_poll, node);
		sleep = !p->prepare_sleep || p->prepare_sleep(p);
	}
	sleep &= !l->stop && list_empty(&l->work);
	if (sleep) {
		n = wait_fds(l, timer_delay(l));
		if (n > 0 && loop_now() - idle_since < l->spin_max)
			l->spin = l->spin_max;
		else
			spin_decay(l);
	}
	while (pos != l->polls.next) {
		pos = pos->prev;
		p = list_entry(pos, struct loop_poll, node);
		if (p->cancel_sleep)
			p->cancel_sleep(p);
	}
	did = dispatch_fds(l, n);
	did |= run_timers(l);
	return did || !sleep;
}

bool loop_step(struct loop *l, bool may_sleep)
{
	uint64_t idle_since;

	if (run_round(l, !may_sleep || ++l->rounds % FD_CHECK_BUSY == 0))
		return true;
	if (!may_sleep || l->stop)
		return false;
	idle_since = loop_now();
	if (loop_spin(l))
		return true;
	if (l->stop || !list_empty(&l->work))
		return false;
	return loop_sleep(l, idle_since);
}

int loop_run(struct loop *l)
{
	while (!l->stop)
		loop_step(l, true);
	l->stop = false;
	return 0;
}
