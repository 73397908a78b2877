/* SPDX-License-Identifier: BSD-3-Clause */
/* fork, vfork, posix_spawn, clone, threads and descriptors. */
#include "say.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static volatile sig_atomic_t hits;
static unsigned char *page;

static void count(int sig)
{
	(void)sig;
	hits++;
}

static void prepare(void)
{
	page = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(page, 7, 4 * PAGE);
	pin(page, 2 * PAGE);
}

static void wait_for(const char *what, pid_t pid)
{
	int st = 0;
	pid_t got;

	if (pid < 0) {
		say_ret(what, pid);
		return;
	}
	do
		got = waitpid(pid, &st, __WALL);
	while (got < 0 && errno == EINTR);
	say_status(what, got == pid ? st : -1);
}

static int child_main(void *arg)
{
	struct stat st;

	page[0]++;
	say("child %s: page %d %d, stat %d", (char *)arg, page[0], page[PAGE * 3], stat("/dev/null", &st));
	return 5;
}

static void clones(void)
{
	static const struct {
		char *what;
		int flags;
	} how[] = {
	    {"plain", SIGCHLD},
	    {"with files", SIGCHLD | CLONE_FILES},
	    {"with fs", SIGCHLD | CLONE_FS},
	    {"with memory", SIGCHLD | CLONE_VM},
	    {"with memory and files", SIGCHLD | CLONE_VM | CLONE_FILES},
	    {"vfork", SIGCHLD | CLONE_VM | CLONE_VFORK},
	    {"vfork without memory", SIGCHLD | CLONE_VFORK},
	    {"no signal", 0},
	    {"bad flags", CLONE_SIGHAND | SIGCHLD},
	};
	char *stack = malloc(65536);

	prepare();
	for (size_t i = 0; i < COUNT(how); i++) {
		wait_for(how[i].what, clone(child_main, stack + 65536, how[i].flags, how[i].what));
		say("parent: %d %d", page[0], page[3 * PAGE]);
	}
	pid_t ptid = 0, pid;
	pid = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, &ptid, &ptid, 0);
	if (!pid)
		_exit(3);
	say("parent tid: %d", ptid == pid);
	wait_for("raw clone", pid);
	say_ret("clone3", syscall(SYS_clone3, NULL, 0) == -1 ? 0 : 1);
}

static void forks(void)
{
	pid_t pid;

	prepare();
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 3; i++) {
			pid = fork();
			if (!pid) {
				page[0] += i + 1;
				_exit(page[0]);
			}
			wait_for("grandchild", pid);
		}
		_exit(page[0]);
	}
	wait_for("child", pid);
	pid = vfork();
	if (!pid) {
		page[0] = 99;
		_exit(1);
	}
	wait_for("vfork", pid);
	say("page %d", page[0]);
	pid = syscall(SYS_fork);
	if (!pid)
		_exit(page[0]);
	wait_for("raw fork", pid);
	/* A parent that does not care. */
	signal(SIGCHLD, SIG_IGN);
	pid = fork();
	if (!pid)
		_exit(0);
	say_ret("wait", waitpid(pid, NULL, 0));
}

/* What the child of a spawn does to itself is nobody else's. */
static void spawns(void)
{
	char *args[] = {"sh", "-c", "kill -SEGV $$; exit 3", NULL},
	     *closed[] = {"sh", "-c", "cd /proc/self/fd; echo *", NULL};
	struct sigaction sa = {.sa_handler = count};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t all;
	pid_t pid;

	prepare();
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	posix_spawnattr_init(&at);
	sigfillset(&all);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF);
	say_ret("spawn", posix_spawnp(&pid, "sh", NULL, &at, args, environ));
	wait_for("spawned", pid);
	raise(SIGSEGV);
	raise(SIGBUS);
	say("own handlers: %d", hits);
	say_ret("no such program", posix_spawn(&pid, "/nonexistent", NULL, NULL, args, environ));
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addchdir_np(&fa, "/sys/bus");
	posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	hits = posix_spawnp(&pid, "sh", &fa, &at, closed, environ);
	wait_for("spawned", pid);
	say_ret("with actions", hits);
	say_ret("popen", system("exit 4") >> 8);
	pin(page + 3 * PAGE, PAGE);
	say("page %d", page[0]);
}

static volatile int stop;

static void *noise(void *arg)
{
	struct sigaction sa = {.sa_handler = count};
	struct stat st;

	/* What it pins stays pinned, and an ordinary user may pin 8 MiB. */
	for (unsigned int n = 0; !stop; n++) {
		void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		sigaction(SIGSEGV, &sa, NULL);
		stat("/sys/bus", &st);
		if (arg && n < 1024)
			pin(p, PAGE);
		munmap(p, PAGE);
	}
	return NULL;
}

/* The child's own calls work whatever the parent's other threads were doing. */
static void fork_among_threads(void)
{
	pthread_t t[3];
	int bad = 0;

	prepare();
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, noise, i == 0 ? &t[0] : NULL);
	for (int i = 0; i < 150; i++) {
		struct sigaction sa = {.sa_handler = count};
		struct stat s;
		pid_t pid = fork();
		int st;

		if (!pid) {
			alarm(300);
			sigaction(SIGSEGV, &sa, NULL);
			raise(SIGSEGV);
			if (i % 8 == 0 && pinning())
				close(open("/dev/vfio/vfio", O_RDWR));
			_exit(stat("/dev/null", &s) || hits != 1 || page[0] != 7 ? 1 : 0);
		}
		waitpid(pid, &st, 0);
		bad += st != 0;
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	say("children that went wrong: %d", bad);
}

/* One byte through a pipe: the other side has come to where it sends it. */
static int gate[2];

static void gate_open(void)
{
	if (write(gate[1], "", 1) != 1)
		abort();
}

static void gate_wait(void)
{
	char c;

	while (read(gate[0], &c, 1) < 0 && errno == EINTR)
		;
}

static volatile sig_atomic_t child_code, child_status, queued;

static void note(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	if (sig == SIGCHLD) {
		child_code = si->si_code;
		child_status = si->si_status;
	} else {
		queued = si->si_value.sival_int;
	}
	hits++;
}

static void signals_between(void)
{
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
	siginfo_t si = {0};
	sigset_t s, old;
	pid_t pid;
	int st;

	prepare();
	if (pipe(gate))
		abort();
	sigaction(SIGCHLD, &sa, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	pid = fork();
	if (!pid) {
		gate_open();
		for (;;)
			pause();
	}
	gate_wait();
	sigfillset(&s);
	sigprocmask(SIG_BLOCK, &s, &old);
	kill(pid, SIGSTOP);
	say_ret("stopped", waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st));
	kill(pid, SIGCONT);
	say_ret("continued", waitpid(pid, &st, WCONTINUED) == pid && WIFCONTINUED(st));
	kill(pid, SIGTERM);
	say_ret("looked at", waitid(P_PID, pid, &si, WEXITED | WNOWAIT));
	say("code %d, status %d", si.si_code, si.si_status);
	sigsuspend(&old);
	say("SIGCHLD: %d, code %d, status %d", hits > 0, child_code, child_status);
	sigprocmask(SIG_SETMASK, &old, NULL);
	wait_for("terminated", pid);
	hits = 0;
	pid = fork();
	if (!pid) {
		sigqueue(getppid(), SIGRTMIN, (union sigval){.sival_int = 77});
		_exit(0);
	}
	wait_for("queued", pid);
	say("value %d", queued);
	say_ret("nobody left", wait(NULL));
	for (int sig = 1; sig < 32; sig++) {
		if (sig == SIGCHLD || sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
			continue;
		pid = fork();
		if (!pid) {
			signal(sig, SIG_DFL);
			kill(getpid(), sig);
			_exit(0);
		}
		wait_for("kills", pid);
	}
}

static void faults(void)
{
	static int zero;

	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			if (i == 0)
				*(volatile int *)8 = 1;
			else if (i == 1)
				__asm__ volatile("ud2");
			else if (i == 2)
				__asm__ volatile("int3");
			else if (i == 3)
				__asm__ volatile("idivl %0" : : "m"(zero), "a"(1), "d"(0));
			else
				abort();
			_exit(0);
		}
		wait_for("fault", pid);
	}
}

/* Children that outlive, and parents that go. */
static void relations(void)
{
	pid_t pid, self = getpid();
	int st;

	prepare();
	if (pipe(gate))
		abort();
	pid = fork();
	if (!pid) {
		say("session %d, group %d", setsid() == getpid(), getpgrp() == getpid());
		say_ret("again", setsid());
		_exit(getppid() == self ? 4 : 5);
	}
	wait_for("setsid", pid);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid) {
			struct stat s;

			gate_wait();
			page[0]++;
			say("orphan: page %d, %d, %d", page[0], stat("/sys/bus/pci", &s) == 7, getppid() == self);
			_exit(6);
		}
		_exit(1);
	}
	wait_for("parent", pid);
	gate_open();
	say_ret("orphan", wait(&st) > 0);
	say_status("orphan", st);
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGUSR2);
			gate_open();
			for (;;)
				pause();
		}
		gate_wait();
		_exit(1);
	}
	wait_for("parent", pid);
	wait(&st);
	say_status("after its parent", st);
	pid = fork();
	if (!pid) {
		st = daemon(1, 1);
		gate_wait();
		say_ret("daemon", st);
		say("daemon: page %d, session %d", page[0], getsid(0) != self);
		_exit(7);
	}
	waitpid(pid, &st, 0);
	say_status("its parent", st);
	gate_open();
	wait(&st);
	say_status("daemon", st);
}

static void *leave(void *arg)
{
	if (arg)
		_exit(9);
	syscall(SYS_exit, 0);
	return NULL;
}

static void *forker(void *arg)
{
	pid_t pid = fork();

	if (!pid) {
		page[0]++;
		_exit(page[0]);
	}
	wait_for(arg, pid);
	pid = vfork();
	if (!pid)
		_exit(12);
	wait_for(arg, pid);
	return NULL;
}

static void thread_ends(void)
{
	pthread_t t;
	pid_t pid;

	prepare();
	pthread_create(&t, NULL, forker, "from a thread");
	pthread_join(t, NULL);
	pid = fork();
	if (!pid) {
		pthread_create(&t, NULL, leave, gate);
		pause();
	}
	wait_for("a thread ends all", pid);
	pid = fork();
	if (!pid) {
		pthread_create(&t, NULL, leave, NULL);
		pthread_join(t, NULL);
		pthread_create(&t, NULL, forker, "after the first thread");
		syscall(SYS_exit, 3);
	}
	wait_for("the first thread ends first", pid);
}

static void descriptors(void)
{
	int fd, p[2];

	prepare();
	for (fd = 3; fd < 1100; fd++)
		close(fd);
	say_ret("close what is closed", close(950));
	say_ret("close -1", close(-1));
	for (fd = 890; fd < 980; fd++)
		if (dup2(1, fd) != fd)
			say("dup2 to %d: %s", fd, strerrorname_np(errno));
	for (fd = 890; fd < 980; fd++)
		if (fcntl(fd, F_GETFD) != 0)
			say("%d is not there", fd);
	say_ret("dup2, bad", dup2(500, 920));
	say_ret("dup3, same", dup3(920, 920, 0));
	say_ret("dup2, same", dup2(920, 920));
	say_ret("close_range", close_range(3, ~0U, 0));
	say_ret("close_range, backwards", close_range(9, 3, 0));
	say_ret("close_range, bad flags", close_range(3, ~0U, 64));
	say_ret("close_range, cloexec", close_range(3, ~0U, 4));
	say_ret("pipe", pipe(p));
	say("%d %d", p[0], p[1]);
	unpin_all();
	prepare();
	say("page %d", page[0]);
}

static void *many(void *arg)
{
	struct stat st;
	char cwd[256];

	for (int i = 0; i < 200; i++)
		if (stat("/sys/bus/usb", &st) == 77 || !getcwd(cwd, sizeof(cwd)))
			say("wrong");
	return arg;
}

/* More threads than the boundary has of anything. */
static void crowd(void)
{
	pthread_t t[150];

	for (size_t i = 0; i < COUNT(t); i++)
		pthread_create(&t[i], NULL, many, NULL);
	for (size_t i = 0; i < COUNT(t); i++)
		pthread_join(t[i], NULL);
	say("all came back");
}

static void *caller(void *arg)
{
	char path[64], text[64];
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool opens = ((size_t)arg & 1) || !pinning();

	for (int i = 0; i < 30; i++) {
		int fd = opens ? open(pinning() ? "/dev/vfio/vfio" : "/dev/null", O_RDWR | O_CLOEXEC) : -1;

		sprintf(path, "/proc/self/fd/%d", opens ? fd : 1);
		if (readlink(path, text, sizeof(text)) <= 0)
			say("wrong: %d", errno);
		if (opens)
			close(fd);
		else
			pin_and_unpin(p, 1 + (size_t)arg);
	}
	return NULL;
}

/* Calls that need all that the boundary has, from more threads than it has of anything. */
static void crowd_of_calls(void)
{
	pthread_t t[150];

	prepare();
	for (size_t i = 0; i < COUNT(t); i++)
		pthread_create(&t[i], NULL, caller, (void *)i);
	for (size_t i = 0; i < COUNT(t); i++)
		pthread_join(t[i], NULL);
	say("all came back");
}

static void *opener(void *arg)
{
	struct stat st;

	gate_wait();
	for (int i = 0; i < 100; i++) {
		struct sigaction sa = {.sa_handler = count};

		sigaction(SIGUSR1, &sa, NULL);
		munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
		stat("/sys/bus/pci", &st);
	}
	if (write(*(int *)arg, "", 1) != 1)
		abort();
	return NULL;
}

static int wait_there(void *arg)
{
	char c;

	alarm(300);
	gate_open();
	return read(*(int *)arg, &c, 1) == 1 ? 5 : 6;
}

/* A child that has its own memory, and for which one thread waits, while it waits for another. */
static void vfork_with_threads(void)
{
	char *stack = malloc(65536);
	pthread_t t;
	int p[2];

	prepare();
	if (pipe(gate) || pipe(p))
		abort();
	pthread_create(&t, NULL, opener, &p[1]);
	wait_for("child", clone(wait_there, stack + 65536, SIGCHLD | CLONE_VFORK, &p[0]));
	pthread_join(t, NULL);
}

static int woken[2];

static void wake(int sig)
{
	count(sig);
	if (write(woken[1], "", 1) != 1)
		abort();
}

static void cleaned(void *arg)
{
	say("cleanup: %s", (char *)arg);
}

static void *blocked(void *arg)
{
	struct timespec ts = {60, 0};
	sigset_t s;

	sigfillset(&s);
	pthread_cleanup_push(cleaned, arg);
	gate_open();
	if (!strcmp(arg, "open"))
		open("fifo", O_RDONLY);
	else if (!strcmp(arg, "ppoll"))
		ppoll(NULL, 0, &ts, &s);
	else if (!strcmp(arg, "sigsuspend"))
		sigsuspend(&s);
	else
		nanosleep(&ts, NULL);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancellation(void)
{
	static char *how[] = {"open", "ppoll", "sigsuspend", "nanosleep"};

	prepare();
	mkfifo("fifo", 0600);
	if (pipe(gate))
		abort();
	for (size_t i = 0; i < COUNT(how); i++) {
		pthread_t t;
		void *ret;

		pthread_create(&t, NULL, blocked, how[i]);
		gate_wait();
		usleep(20000);
		pthread_cancel(t);
		pthread_join(t, &ret);
		say("%s: cancelled %d", how[i], ret == PTHREAD_CANCELED);
	}
	/* Interrupted by a handler that does not restart, and by one that does. */
	for (int i = 0; i < 2; i++) {
		struct sigaction sa = {.sa_handler = wake, .sa_flags = i ? SA_RESTART : 0};
		char c;
		pid_t pid;

		if (pipe(woken))
			abort();
		sigaction(SIGALRM, &sa, NULL);
		pid = fork();
		if (!pid) {
			/* The first signals may come before what they are to interrupt. */
			for (int n = 0; n < 5; n++)
				if (read(woken[0], &c, 1) != 1)
					abort();
			open("fifo", O_WRONLY);
			_exit(0);
		}
		ualarm(20000, 20000);
		say_ret("open", open("fifo", O_RDONLY) < 0 ? -1 : 0);
		ualarm(0, 0);
		if (!i) {
			if (write(woken[1], "again", 5) != 5)
				abort();
			close(open("fifo", O_RDONLY));
		}
		wait_for("writer", pid);
	}
	say("signals: %d", hits > 1);
}

/* Numbers that are taken while others fork. */
static void *taker(void *arg)
{
	while (!stop)
		for (int fd = 895; fd < 970; fd++)
			if (dup2(1, fd) != fd)
				say("dup2 to %d: %s", fd, strerrorname_np(errno));
	return arg;
}

static void fork_among_descriptors(void)
{
	pthread_t t;
	int bad = 0;

	prepare();
	for (int fd = 895; fd < 970; fd++)
		dup2(1, fd);
	pthread_create(&t, NULL, taker, NULL);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();
		int st;

		if (!pid) {
			int missing = 0;

			for (int fd = 895; fd < 970; fd++)
				missing += fcntl(fd, F_GETFD) < 0;
			_exit(missing);
		}
		waitpid(pid, &st, 0);
		bad += st != 0;
	}
	stop = 1;
	pthread_join(t, NULL);
	say("children that miss one: %d", bad);
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
	    {"clones", clones},
	    {"forks", forks},
	    {"spawns", spawns},
	    {"fork among threads", fork_among_threads},
	    {"descriptors", descriptors},
	    {"crowd", crowd},
	    {"signals between", signals_between},
	    {"faults", faults},
	    {"relations", relations},
	    {"thread ends", thread_ends},
	    {"crowd of calls", crowd_of_calls},
	    {"vfork with threads", vfork_with_threads},
	    {"cancellation", cancellation},
	    {"fork among descriptors", fork_among_descriptors},
	};

	return say_main(argc, argv, cases, COUNT(cases));
}
