/* SPDX-License-Identifier: BSD-3-Clause */
/* Masks, handlers and stacks of signals, and what a fault does. */
#include "say.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>

static volatile sig_atomic_t hits;
static sigjmp_buf jump;

static void count(int sig)
{
	(void)sig;
	hits++;
}

/* SIGSEGV, SIGBUS and SIGSYS are left out: Pinfold never really blocks them (documented). */
static void say_mask(const char *what, const sigset_t *s)
{
	char line[256] = "";

	for (int sig = 1; sig < 65; sig++)
		if (sig != SIGSEGV && sig != SIGBUS && sig != SIGSYS && sigismember(s, sig) == 1)
			sprintf(line + strlen(line), " %d", sig);
	say("%s:%s", what, line);
}

static void say_current_mask(const char *what)
{
	sigset_t s;

	pthread_sigmask(SIG_SETMASK, NULL, &s);
	say_mask(what, &s);
}

static void masks(void)
{
	sigset_t s, old;

	sigfillset(&s);
	say_ret("block all", sigprocmask(SIG_BLOCK, &s, &old));
	say_mask("before", &old);
	say_current_mask("after");
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGSEGV);
	say_ret("unblock", sigprocmask(SIG_UNBLOCK, &s, NULL));
	say_current_mask("after unblock");
	say_ret("set", sigprocmask(SIG_SETMASK, &s, &old));
	say_mask("before set", &old);
	say_current_mask("after set");
	say_ret("bad how", syscall(SYS_rt_sigprocmask, 77, &s, NULL, 8));
	say_ret("bad how without set", syscall(SYS_rt_sigprocmask, 77, NULL, &old, 8));
	say_ret("bad size", syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, NULL, 4));
	say_ret("bad set", syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)16, NULL, 8));
	say_ret("bad old", syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, (void *)16, 8));
	say_current_mask("at the end");
}

static void say_action(const char *what, int sig)
{
	struct sigaction sa;

	if (say_ret(what, sigaction(sig, NULL, &sa)))
		return;
	say("%d: handler %s flags %#x", sig,
	    sa.sa_handler == SIG_DFL   ? "default"
	    : sa.sa_handler == SIG_IGN ? "ignore"
	    : sa.sa_handler == count   ? "count"
				       : "other",
	    sa.sa_flags);
	for (int i = 1; i < 65; i++)
		if (sigismember(&sa.sa_mask, i) == 1)
			say("  mask %d", i);
}

static void actions(void)
{
	static const int sigs[] = {SIGUSR1, SIGSEGV, SIGBUS, SIGSYS, SIGKILL, 32, 64, 65, 0, -1};
	struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESTART | SA_NODEFER};

	sigfillset(&sa.sa_mask);
	sigdelset(&sa.sa_mask, SIGTERM);
	for (size_t i = 0; i < COUNT(sigs); i++) {
		say_action("get", sigs[i]);
		say_ret("set", sigaction(sigs[i], &sa, NULL));
		say_action("get again", sigs[i]);
	}
	say_ret("bad size", syscall(SYS_rt_sigaction, SIGSEGV, NULL, NULL, 4));
	say_ret("bad act", syscall(SYS_rt_sigaction, SIGSEGV, (void *)16, NULL, 8));
	say_ret("bad old", syscall(SYS_rt_sigaction, SIGSEGV, NULL, (void *)16, 8));
	sa.sa_handler = SIG_IGN;
	sa.sa_flags = 0;
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < 4; i++) {
		say_ret("ignore", sigaction(sigs[i], &sa, NULL));
		say_action("ignored", sigs[i]);
	}
	raise(SIGSEGV);
	raise(SIGSYS);
	say("raised what is ignored");
}

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	hits++;
	say("handler: %d code %d", sig, si->si_code);
	say_current_mask("mask in handler");
	siglongjmp(jump, 1);
}

static void faults(void)
{
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	char *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *ro = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("empty", 0);
	char *past = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	pin(data, PAGE);
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	if (!sigsetjmp(jump, 1))
		*(volatile char *)none;
	if (!sigsetjmp(jump, 1))
		*(volatile char *)ro = 1;
	if (!sigsetjmp(jump, 1))
		*(volatile char *)past = 1;
	if (!sigsetjmp(jump, 1))
		((void (*)(void))data)();
	if (!sigsetjmp(jump, 1))
		*(volatile char *)0x8000000000000000;
	if (!sigsetjmp(jump, 1))
		raise(SIGSEGV);
	say_current_mask("afterwards");
	/* Many, each left by a jump: nothing of ours may pile up. */
	say("hits %d", hits);
}

static void dies(void)
{
	static const char *const how[] = {"null",    "abort",	  "raise SIGSEGV", "raise SIGSYS", "code in data",
					  "ignored", "resethand", "blocked",	   "kill"};
	char *data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	pin(data, PAGE);
	for (size_t i = 0; i < COUNT(how); i++) {
		int st;
		pid_t pid = fork();

		if (!pid) {
			struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESETHAND};
			sigset_t s;

			switch (i) {
			case 0:
				*(volatile int *)0 = 1;
				break;
			case 1:
				abort();
			case 2:
				raise(SIGSEGV);
				break;
			case 3:
				raise(SIGSYS);
				break;
			case 4:
				((void (*)(void))data)();
				break;
			case 5:
				signal(SIGSEGV, SIG_IGN);
				*(volatile int *)0 = 1;
				break;
			case 6:
				sigaction(SIGSEGV, &sa, NULL);
				*(volatile int *)0 = 1;
				break;
			case 7:
				sigfillset(&s);
				sigprocmask(SIG_SETMASK, &s, NULL);
				*(volatile int *)0 = 1;
				break;
			default:
				kill(getpid(), SIGBUS);
			}
			_exit(42);
		}
		waitpid(pid, &st, 0);
		st &= ~0x80; /* whether a core was dumped is the limit's business */
		say_status(how[i], st);
	}
}

static void *altstack_thread(void *arg)
{
	static __thread char stack[65536];
	stack_t ss = {.ss_sp = stack, .ss_size = (size_t)arg}, old;
	struct stat st;

	say_ret("sigaltstack", sigaltstack(&ss, NULL));
	raise(SIGUSR1);
	for (int i = 0; i < 100; i++)
		if (stat("/dev/null", &st) || stat("/sys/bus", &st))
			say("stat failed");
	say_ret("get", sigaltstack(NULL, &old));
	say("same %d size %zu flags %d", old.ss_sp == stack, old.ss_size, old.ss_flags);
	return NULL;
}

static void on_alt(int sig)
{
	stack_t ss;
	struct stat st;

	(void)sig;
	sigaltstack(NULL, &ss);
	say("on it: %d", ss.ss_flags);
	say_ret("stat", stat("/dev/null", &st));
	say_ret("change it", sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
}

static void altstack(void)
{
	struct sigaction sa = {.sa_handler = on_alt, .sa_flags = SA_ONSTACK};
	pthread_t t;

	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&t, NULL, altstack_thread, (void *)65536UL);
	pthread_join(t, NULL);
	/* The least that this processor's registers and a handler fit in. */
	pthread_create(&t, NULL, altstack_thread, (void *)(sysconf(_SC_SIGSTKSZ)));
	pthread_join(t, NULL);
}

static void in_handler(int sig)
{
	hits++;
	if (sig == SIGALRM)
		kill(getpid(), SIGUSR1);
}

/* SIGUSR1 is blocked but for the time of the call, and comes in that time. */
static void waits(void)
{
	struct sigaction sa = {.sa_handler = in_handler};
	struct timespec ts = {5, 0};
	struct timeval now = {0, 1000};
	sigset_t blocked, open;
	fd_set fds;
	int p[2], ep = epoll_create1(0);
	struct epoll_event ev;
	struct pollfd pf;

	if (pipe(p))
		return;
	sigaction(SIGUSR1, &sa, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &open);
	sigaddset(&open, SIGSEGV);
	pf = (struct pollfd){.fd = p[0], .events = POLLIN};
	FD_ZERO(&fds);
	FD_SET(p[0], &fds);
	epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev);

	kill(getpid(), SIGUSR1);
	say("hits before %d", hits);
	say_ret("sigsuspend", sigsuspend(&open));
	kill(getpid(), SIGUSR1);
	say_ret("ppoll", ppoll(&pf, 1, &ts, &open));
	kill(getpid(), SIGUSR1);
	say_ret("pselect", pselect(p[0] + 1, &fds, NULL, NULL, &ts, &open));
	kill(getpid(), SIGUSR1);
	say_ret("epoll_pwait", epoll_pwait(ep, &ev, 1, 5000, &open));
	say("hits %d", hits);
	say_current_mask("after");
	if (write(p[1], "x", 1) != 1)
		return;
	FD_SET(p[0], &fds);
	say_ret("ppoll ready", ppoll(&pf, 1, &ts, &open));
	say_ret("pselect ready", pselect(p[0] + 1, &fds, NULL, NULL, &ts, &open));
	say_ret("select ready", select(p[0] + 1, &fds, NULL, NULL, &now));
	say_ret("ppoll, bad mask", syscall(SYS_ppoll, &pf, 1, &ts, (void *)16, 8));
	say_ret("ppoll, bad size", syscall(SYS_ppoll, &pf, 1, &ts, &open, 4));
	say_ret("pselect, bad mask", syscall(SYS_pselect6, p[0] + 1, &fds, NULL, NULL, &ts, (void *)16));
	say_ret("sigsuspend, bad size", syscall(SYS_rt_sigsuspend, &open, 4));
	say("hits %d", hits);
}

/* Registers that carry arguments are the program's own again after the call. */
static void registers(void)
{
	struct timespec ts = {0, 0};
	sigset_t open;
	const char *nowhere = "/nonexistent/program";
	char *args[] = {NULL};

	sigemptyset(&open);
	register long r10 __asm__("r10") = (long)&open;
	register long r8 __asm__("r8") = 8;
	register long r9 __asm__("r9") = 0x1234;
	long ret = SYS_ppoll, a = 0, b = 0, c = (long)&ts;

	__asm__ volatile("syscall"
			 : "+a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
			 :
			 : "rcx", "r11", "memory");
	say("ret %ld: %d %d %d %d %d %d", ret, a == 0, b == 0, c == (long)&ts, r10 == (long)&open, r8 == 8,
	    r9 == 0x1234);
	ret = SYS_execve, a = (long)nowhere, b = (long)args, c = (long)args;
	__asm__ volatile("syscall" : "+a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10) : : "rcx", "r11", "memory");
	say("ret %ld: %d %d %d", ret, a == (long)nowhere, b == (long)args, c == (long)args);
}

static void *busy(void *arg)
{
	struct stat st;

	for (int i = 0; i < 20000; i++)
		if (stat("/dev/null", &st))
			say("stat failed");
	__atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Signals that arrive at every place, while handlers make trapped calls of their own. */
static void on_storm(int sig)
{
	struct stat st;

	(void)sig;
	hits++;
	if (stat("/dev/zero", &st))
		say("stat failed in a handler");
}

static void storm(void)
{
	struct sigaction sa = {.sa_handler = on_storm, .sa_flags = SA_RESTART};
	int done = 0;
	pthread_t t;

	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&t, NULL, busy, &done);
	for (int i = 0; i < 3000 && !__atomic_load_n(&done, __ATOMIC_SEQ_CST); i++)
		pthread_kill(t, SIGUSR1);
	pthread_join(t, NULL);
	say("storm over: %d", hits > 0);
}

static void on_jump(int sig)
{
	(void)sig;
	siglongjmp(jump, 1);
}

/* A handler that never returns, again and again, out of a call that was let through. */
static void jumps(void)
{
	struct sigaction sa = {.sa_handler = on_jump};
	sigset_t none;
	struct timespec ts = {5, 0};
	volatile int n = 0;

	sigemptyset(&none);
	sigaction(SIGALRM, &sa, NULL);
	while (n < 200) {
		if (!sigsetjmp(jump, 1)) {
			ualarm(500, 0);
			ppoll(NULL, 0, &ts, &none);
		} else {
			n++;
		}
	}
	say("jumped %d times", n);
	say_current_mask("mask");
}

static void cleanup(void *arg)
{
	say("cleaned up: %d", *(int *)arg);
}

static void *cancelled(void *arg)
{
	sigset_t none;
	int n = 7;

	(void)arg;
	sigemptyset(&none);
	pthread_cleanup_push(cleanup, &n);
	ppoll(NULL, 0, NULL, &none);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel(void)
{
	pthread_t t;
	void *ret;

	pthread_create(&t, NULL, cancelled, NULL);
	usleep(20000);
	pthread_cancel(t);
	pthread_join(t, &ret);
	say("cancelled: %d", ret == PTHREAD_CANCELED);
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
	    {"masks", masks}, {"actions", actions},	{"faults", faults}, {"dies", dies},   {"altstack", altstack},
	    {"waits", waits}, {"registers", registers}, {"storm", storm},   {"jumps", jumps}, {"cancel", cancel},
	};

	return say_main(argc, argv, cases, COUNT(cases));
}
