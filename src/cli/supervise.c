/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/cli.h"

/* The first byte of what the broker says when it has started; the rest is text. */
/* The broker's exit status when its checker has found something. */
#define BROKER_FINDINGS 3

enum { BROKER_READY = 'R', BROKER_USAGE = 'U', BROKER_FAILED = 'F' };

void supervisor_init(struct supervisor *s)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t all;

	*s = (struct supervisor){.control = -1};
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &s->mask);
	/* Ignored, SIGCHLD would reap our children for us, unseen. */
	sigaction(SIGCHLD, &dfl, &s->on_child);
	sigaction(SIGPIPE, &dfl, &s->on_pipe);
}

/* ---- the broker ---- */

static void close_all_but(int a, int b)
{
	int low = MIN(a, b), high = MAX(a, b);

	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

/* Standard input would be taken from the program; what the broker prints goes to standard error alone. */
static void broker_detach(void)
{
	static const int deaf[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGTSTP,
				   SIGTTIN, SIGTTOU, SIGPIPE, SIGUSR1, SIGUSR2};
	struct rlimit files;
	sigset_t none;
	int null;

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(deaf); i++)
		signal(deaf[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "pinfold-broker");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		close(null);
	}
	dup2(STDERR_FILENO, STDOUT_FILENO);
	/* Every descriptor of every client has its other end in the broker. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static void broker_say(int fd, char kind, const char *text)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%c%s", kind, text);

	n = MIN(n, (int)sizeof(line) - 1);
	if (write(fd, line, n) != n)
		log_error("%s", text);
}

static _Noreturn void broker_main(const struct broker_options *o, int ready, int stop)
{
	struct broker *b;
	char err[512] = "", addresses[512];
	struct program_end end;
	uint64_t findings;
	int ret;

	close_all_but(ready, stop);
	broker_detach();
	b = broker_new(o, err, sizeof(err));
	if (!b) {
		broker_say(ready, errno == EINVAL ? BROKER_USAGE : BROKER_FAILED, err);
		exit(EXIT_FAILURE);
	}
	/* An abstract name has no line break, and a path that has one is not for programs to find. */
	snprintf(addresses, sizeof(addresses), "%s\n%s", broker_address(b), broker_control(b));
	broker_say(ready, BROKER_READY, addresses);
	close(ready);
	ret = broker_serve(b, stop);
	if (ret)
		log_error("the broker stopped: %s", strerror(-ret));
	/* Of a supervisor that was killed there are no last words. */
	if (read(stop, &end, sizeof(end)) == sizeof(end))
		broker_program_ended(b, end.pid, end.status);
	findings = broker_free(b);
	exit(ret ? EXIT_FAILURE : findings ? BROKER_FINDINGS : EXIT_SUCCESS);
}

/* Reads until the other end closes; text is cut where size ends. Returns the first byte, 0 if there was none. */
static int broker_hear(int fd, char *text, size_t size)
{
	char kind = 0;
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, &kind, 1)) < 0 && errno == EINTR)
		;
	if (n != 1)
		kind = 0;
	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) != 0) {
		if (n > 0)
			len += n;
		else if (errno != EINTR)
			break;
	}
	text[len] = 0;
	return kind;
}

static const char *status_text(int status, char *buf, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(buf, size, "killed by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "exit status %d", WEXITSTATUS(status));
	return buf;
}

/* "ADDRESS\nCONTROL" taken apart; the latter absolute, because the program may change its directory. */
static void addresses_split(char *text, char *control, size_t size)
{
	char *line = strchr(text, '\n'), *real;

	if (!line)
		return;
	*line++ = 0;
	real = *line && *line != '@' ? realpath(line, NULL) : NULL;
	snprintf(control, size, "%s", real ?: line);
	free(real);
}

int supervisor_start_broker(struct supervisor *s, const struct broker_options *o, char *text, size_t size,
			    char *control_text, size_t control_size)
{
	int ready[2], control[2], kind, status;
	char why[64];

	if (pipe2(ready, O_CLOEXEC)) {
		snprintf(text, size, "no pipe: %s", strerror(errno));
		return EXIT_PINFOLD;
	}
	if (pipe2(control, O_CLOEXEC)) {
		snprintf(text, size, "no pipe: %s", strerror(errno));
		close(ready[0]);
		close(ready[1]);
		return EXIT_PINFOLD;
	}
	s->broker = fork();
	if (!s->broker)
		broker_main(o, ready[1], control[0]);
	close(ready[1]);
	close(control[0]);
	s->control = control[1];
	if (s->broker < 0) {
		snprintf(text, size, "cannot start the broker: %s", strerror(errno));
		s->broker = 0;
		close(ready[0]);
		return EXIT_PINFOLD;
	}
	kind = broker_hear(ready[0], text, size);
	close(ready[0]);
	if (kind == BROKER_READY) {
		addresses_split(text, control_text, control_size);
		return 0;
	}
	while (waitpid(s->broker, &status, 0) < 0 && errno == EINTR)
		;
	s->broker = 0;
	if (!kind)
		snprintf(text, size, "the broker ended before it was ready: %s", status_text(status, why, sizeof(why)));
	return kind == BROKER_USAGE ? EXIT_USAGE : EXIT_PINFOLD;
}

/* ---- the program ---- */

static _Noreturn void program_main(struct supervisor *s, char *const argv[], int report, pid_t parent)
{
	int err;

	sigaction(SIGCHLD, &s->on_child, NULL);
	sigaction(SIGPIPE, &s->on_pipe, NULL);
	/* Without us its broker is gone, and with it every device. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_PINFOLD);
	/* The loader ignores LD_PRELOAD in a program that gains privileges, which would then drive the real machine. */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	execvp(argv[0], argv);
	err = errno;
	if (write(report, &err, sizeof(err)) != sizeof(err))
		err = EIO;
	_exit(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* From here on we only hold on to what is needed: a pipe that the program closes shall be closed. */
static void supervisor_let_go(const struct supervisor *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (s->control >= 0)
		close_all_but(s->control, s->control);
	else
		close_range(3, ~0U, 0);
}

int supervisor_start_program(struct supervisor *s, char *const argv[], char *err, size_t size)
{
	pid_t parent = getpid();
	int report[2], error = 0, status;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC)) {
		snprintf(err, size, "no pipe: %s", strerror(errno));
		return EXIT_PINFOLD;
	}
	s->program = fork();
	if (!s->program)
		program_main(s, argv, report[1], parent);
	if (s->program < 0) {
		snprintf(err, size, "cannot start a process: %s", strerror(errno));
		s->program = 0;
		close(report[0]);
		close(report[1]);
		return EXIT_PINFOLD;
	}
	close(report[1]);
	while ((n = read(report[0], &error, sizeof(error))) < 0 && errno == EINTR)
		;
	close(report[0]);
	if (n != sizeof(error)) {
		supervisor_let_go(s);
		return 0;
	}
	while (waitpid(s->program, &status, 0) < 0 && errno == EINTR)
		;
	s->program = 0;
	snprintf(err, size, "cannot run %s: %s", argv[0], strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

/* ---- waiting ---- */

static bool in_foreground(void)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	bool yes = tty >= 0 && tcgetpgrp(tty) == getpgrp();

	if (tty >= 0)
		close(tty);
	return yes;
}

/*
 * The program has stopped. A shell that waits for us shall see that we have, so stop in the same way and go on when it
 * continues us. A SIGSTOP from elsewhere (a test, a checkpointer) is the program's own business, unless we have the
 * terminal, as with `suspend` in an inner shell.
 */
static void stop_along(int sig)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL}, old;
	sigset_t one;

	if (sig == SIGSTOP) {
		if (in_foreground())
			raise(SIGSTOP);
		return;
	}
	if (sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU)
		return;
	sigemptyset(&one);
	sigaddset(&one, sig);
	sigaction(sig, &dfl, &old);
	/* Raised while blocked: the terminal's own may be pending too, and one SIGCONT must do away with both. */
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	sigprocmask(SIG_BLOCK, &one, NULL);
	sigaction(sig, &old, NULL);
}

static void supervisor_reap(struct supervisor *s)
{
	char why[64];
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid == s->program && WIFSTOPPED(status)) {
			stop_along(WSTOPSIG(status));
		} else if (pid == s->program) {
			s->end = (struct program_end){s->program, status};
			s->program = 0;
			s->program_status = status;
		} else if (pid == s->broker && !WIFSTOPPED(status)) {
			s->broker = 0;
			s->findings = WIFEXITED(status) && WEXITSTATUS(status) == BROKER_FINDINGS;
			s->broker_failed = (status != 0 && !s->findings) || s->program;
			if (s->broker_failed)
				log_error("the broker ended%s: %s", s->program ? " before the program" : "",
					  status_text(status, why, sizeof(why)));
		}
	}
}

/*
 * What the terminal sends reaches the program directly, as a member of the process group; what a process sends to us is
 * meant for the program. What the program itself sends to its group it has had already.
 */
static void supervisor_forward(const struct supervisor *s, const siginfo_t *si)
{
	bool from_process = si->si_code == SI_USER || si->si_code == SI_QUEUE || si->si_code == SI_TKILL;

	if (s->program && from_process && si->si_pid != s->program)
		kill(s->program, si->si_signo);
}

void supervisor_wait_program(struct supervisor *s)
{
	siginfo_t si;
	sigset_t all;

	sigfillset(&all);
	while (s->program) {
		if (sigwaitinfo(&all, &si) < 0)
			continue;
		if (si.si_signo == SIGCHLD)
			supervisor_reap(s);
		else
			supervisor_forward(s, &si);
	}
}

void supervisor_end_broker(struct supervisor *s)
{
	siginfo_t si;
	sigset_t set;

	if (s->control >= 0) {
		/* A broker that has died hears nothing; SIGPIPE is blocked. */
		if (s->end.pid && write(s->control, &s->end, sizeof(s->end)) < 0)
			log_debug("the broker is not there to be told: %s", strerror(errno));
		close(s->control);
	}
	s->control = -1;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGHUP);
	for (supervisor_reap(s); s->broker; supervisor_reap(s))
		if (sigwaitinfo(&set, &si) > 0 && si.si_signo != SIGCHLD)
			kill(s->broker, SIGKILL);
}

_Noreturn void supervisor_exit(struct supervisor *s)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	int sig = WTERMSIG(s->program_status);
	sigset_t one;

	if (s->findings && s->findings_status)
		exit(s->findings_status);
	if (WIFEXITED(s->program_status)) {
		if (!WEXITSTATUS(s->program_status) && s->broker_failed)
			exit(EXIT_PINFOLD);
		exit(WEXITSTATUS(s->program_status));
	}
	/* The program has left its core; ours would overwrite it. */
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	prctl(PR_SET_DUMPABLE, 0);
	sigaction(sig, &dfl, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	raise(sig);
	_exit(128 + sig);
}
