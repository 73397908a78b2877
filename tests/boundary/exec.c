/* SPDX-License-Identifier: BSD-3-Clause */
/* execve in all its forms. The program runs itself ("show") to say what has arrived. */
#include "say.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;
static char self[4096];

/* What Pinfold adds is expected to be there under Pinfold alone. */
static bool added(const char *e)
{
	return !strncmp(e, "PINFOLD_", 8) || !strncmp(e, "ASAN_OPTIONS=", 13) || !strncmp(e, "SAY_", 4) ||
	       !strncmp(e, "_=", 2);
}

/* Of the preloads the last counts; Pinfold's stands in front of it. */
static const char *own_preload(const char *value)
{
	size_t n = strcspn(value, ":");

	return memmem(value, n, "/libpinfold-boundary.so", 23) ? value + n + (value[n] == ':') : value;
}

static int show(int argc, char **argv)
{
	unsigned long sum = 0, n = 0;
	const char *preload = "";
	sigset_t s;
	struct stat st;

	for (int i = 0; i < argc; i++)
		say("arg %d: %s", i, i ? argv[i] : "");
	for (char **e = environ; *e; e++) {
		if (added(*e))
			continue;
		if (!strncmp(*e, "LD_PRELOAD=", 11)) {
			preload = own_preload(*e + 11);
			continue;
		}
		n++;
		for (const char *p = *e; *p; p++)
			sum = sum * 31 + *p;
	}
	say("environment: %lu, %lx, preload %s", n, sum, preload);
	sigprocmask(0, NULL, &s);
	say("USR1 blocked %d, SEGV ignored %d, HUP ignored %d", sigismember(&s, SIGUSR1),
	    signal(SIGSEGV, SIG_DFL) == SIG_IGN, signal(SIGHUP, SIG_DFL) == SIG_IGN);
	if (getenv("SAY_UNDER"))
		say("sees devices: %d", stat("/dev/vfio/vfio", &st) == 0);
	return 6;
}

static void wait_for(const char *what, pid_t pid)
{
	int st = 0;

	if (pid < 0)
		say_ret(what, pid);
	else
		say_status(what, waitpid(pid, &st, 0) == pid ? st : -1);
}

/* In a child: by vfork, or by fork. */
#define IN_CHILD(what, call)                                                                                           \
	do {                                                                                                           \
		pid_t pid_ = fork();                                                                                   \
		if (!pid_) {                                                                                           \
			call;                                                                                          \
			say("%s failed: %s", what, strerrorname_np(errno));                                            \
			_exit(1);                                                                                      \
		}                                                                                                      \
		wait_for(what, pid_);                                                                                  \
		pid_ = vfork();                                                                                        \
		if (!pid_) {                                                                                           \
			call;                                                                                          \
			_exit(errno == ENOENT ? 11 : errno == EACCES ? 12 : errno == ENOEXEC ? 13 : 14);               \
		}                                                                                                      \
		wait_for(what " by vfork", pid_);                                                                      \
	} while (0)

static char *args[] = {"me", "show", "one", "two words", "", NULL};

static void environments(void)
{
	static char *empty[] = {NULL}, *own[] = {"LD_PRELOAD=/nonexistent.so", "A=1", NULL},
		    *twice[] = {"LD_PRELOAD=", "LD_PRELOAD=/nonexistent2.so", "=odd", "noequals", NULL},
		    *like[] = {"LD_PRELOAD=libpinfold-boundary.so.other", "PINFOLD=1", NULL};
	static char *many[10001], entry[10000][16], *large[3];

	IN_CHILD("empty", execve(self, args, empty));
	IN_CHILD("NULL", execve(self, args, NULL));
	IN_CHILD("a preload of its own", execve(self, args, own));
	IN_CHILD("two", execve(self, args, twice));
	IN_CHILD("looks like ours", execve(self, args, like));
	for (int i = 0; i < 10000; i++) {
		sprintf(entry[i], "V%d=%d", i, i * 7);
		many[i] = entry[i];
	}
	IN_CHILD("10000", execve(self, args, many));
	large[0] = malloc(100000);
	memset(large[0], 'x', 99999);
	large[0][99999] = 0;
	memcpy(large[0], "X=", 2);
	large[1] = "LAST=1";
	IN_CHILD("a large one", execve(self, args, large));
	IN_CHILD("bad pointer", execve(self, args, (char **)16));
}

/* A string that ends where memory ends. */
static void edges(void)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *e[3] = {0};

	munmap(p + 2 * PAGE, PAGE);
	e[0] = p + 2 * PAGE - 6;
	strcpy(e[0], "A=end");
	IN_CHILD("at the end", execve(self, args, e));
	e[0] = p + PAGE - 100;
	memset(e[0], 'b', PAGE + 99);
	e[0][PAGE + 99] = 0;
	e[0][1] = '=';
	IN_CHILD("across a page", execve(self, args, e));
	e[1] = p + 2 * PAGE - 4;
	memset(e[1], 'c', 4);
	IN_CHILD("not ended", execve(self, args, e));
	strcpy(p + 2 * PAGE - 5, "/abc");
	IN_CHILD("path at the end", execve(p + 2 * PAGE - 5, args, environ));
}

static void write_file(const char *name, const char *text, int mode)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0700);

	if (write(fd, text, strlen(text)) < 0)
		abort();
	fchmod(fd, mode);
	close(fd);
}

static void errors(void)
{
	static char *none[] = {NULL};

	write_file("empty", "", 0755);
	write_file("text", "echo text", 0755);
	write_file("plain", "#!/bin/sh\n", 0644);
	write_file("script", "#!/bin/sh\necho script \"$@\"\n", 0755);
	write_file("missing", "#!/nonexistent/sh\n", 0755);
	write_file("options", "#!/bin/sh -e  \necho options \"$@\"; false; echo not here\n", 0755);
	write_file("nothing", "#!\n", 0755);
	write_file("elf", "\177ELF", 0755);
	mkdir("dir", 0755);
	mkfifo("fifo", 0755);
	symlink("script", "link");
	symlink("loop", "loop");
	IN_CHILD("empty", execve("empty", args, environ));
	IN_CHILD("text", execve("text", args, environ));
	IN_CHILD("text by execvp", execvp("./text", args));
	IN_CHILD("plain", execve("plain", args, environ));
	IN_CHILD("script", execve("script", args, environ));
	IN_CHILD("missing", execve("missing", args, environ));
	IN_CHILD("options", execve("options", args, environ));
	IN_CHILD("nothing", execve("nothing", args, environ));
	IN_CHILD("elf", execve("elf", args, environ));
	IN_CHILD("directory", execve("dir", args, environ));
	IN_CHILD("fifo", execve("fifo", args, environ));
	IN_CHILD("link", execve("link", args, environ));
	IN_CHILD("loop", execve("loop", args, environ));
	IN_CHILD("slash", execve("script/", args, environ));
	IN_CHILD("no name", execve("", args, environ));
	IN_CHILD("NULL name", execve(NULL, args, environ));
	IN_CHILD("nonexistent", execve("nonexistent", args, environ));
	IN_CHILD("no arguments", execve("/bin/true", none, environ));
	IN_CHILD("NULL arguments", execve("/bin/true", NULL, environ));
	IN_CHILD("bad arguments", execve("/bin/true", (char **)16, environ));
}

static void at(void)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY), fd = open(self, O_RDONLY | O_CLOEXEC),
	    bb = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
	static char *echo[] = {"echo", "from busybox", NULL};

	write_file("script", "#!/bin/sh\necho script \"$@\"\n", 0755);
	symlink(self, "self");
	symlink("/bin/busybox", "bb");
	IN_CHILD("execveat", syscall(SYS_execveat, dir, "self", args, environ, 0));
	IN_CHILD("cwd", syscall(SYS_execveat, AT_FDCWD, "self", args, environ, 0));
	IN_CHILD("nofollow", syscall(SYS_execveat, dir, "self", args, environ, AT_SYMLINK_NOFOLLOW));
	IN_CHILD("bad flags", syscall(SYS_execveat, dir, "self", args, environ, 1));
	IN_CHILD("bad descriptor", syscall(SYS_execveat, 1234, "self", args, environ, 0));
	IN_CHILD("empty path", syscall(SYS_execveat, fd, "", args, environ, AT_EMPTY_PATH));
	IN_CHILD("empty path, no flag", syscall(SYS_execveat, fd, "", args, environ, 0));
	IN_CHILD("fexecve", fexecve(fd, args, environ));
	IN_CHILD("static", execve("bb", echo, environ));
	IN_CHILD("static, empty environment", execve("/bin/busybox", echo, (char *[]){NULL}));
	IN_CHILD("static at", syscall(SYS_execveat, dir, "bb", echo, environ, 0));
	IN_CHILD("static, nofollow", syscall(SYS_execveat, dir, "bb", echo, environ, AT_SYMLINK_NOFOLLOW));
	IN_CHILD("static fexecve", fexecve(bb, echo, environ));
	IN_CHILD("static memory", ({
			 int m = memfd_create("bb", 0), n;
			 char buf[4096];
			 lseek(bb, 0, SEEK_SET);
			 while ((n = read(bb, buf, sizeof(buf))) > 0)
				 if (write(m, buf, n) != n)
					 abort();
			 fexecve(m, echo, environ);
		 }));
	IN_CHILD("script", syscall(SYS_execveat, dir, "script", args, environ, 0));
}

static void static_scripts(void)
{
	static char *none[] = {NULL}, *run[] = {"x", "a b", "", NULL};

	write_file("s1", "#!/bin/busybox sh\necho one \"$#\" \"$@\"\n", 0755);
	write_file("s2", "#! /bin/busybox   echo -e two three  \n", 0755);
	write_file("s3", "#!/bin/busybox echo", 0755);
	IN_CHILD("script", execve("s1", run, environ));
	IN_CHILD("argument with blanks", execve("s2", run, environ));
	IN_CHILD("no end of line", execve("./s3", run, environ));
	IN_CHILD("no arguments", execve("s3", none, environ));
	say_status("applets", system("busybox sh -c 'busybox echo hello | busybox cat; busybox sh -c \"exit 9\"'"));
}

/* What the next image inherits. */
static void inherited(void)
{
	struct sigaction sa = {.sa_handler = SIG_IGN};
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	sigaction(SIGHUP, &sa, NULL);
	IN_CHILD("mask", execve(self, args, environ));
	sigaction(SIGSEGV, &sa, NULL);
	IN_CHILD("ignored", execve(self, args, environ));
	IN_CHILD("failed", execve("/nonexistent", args, environ));
	IN_CHILD("fails, then works", ({
			 execve("/nonexistent", args, environ);
			 execve(self, args, environ);
		 }));
	/* Nothing of the boundary's may run out. */
	for (int i = 0; i < 200; i++) {
		static char *none[] = {NULL}, *quiet[] = {"true", NULL};
		pid_t pid = vfork();
		int st;

		if (!pid) {
			execve("/bin/true", quiet, none);
			_exit(1);
		}
		waitpid(pid, &st, 0);
		if (st)
			say("%d: status %d", i, st);
	}
	say("200 more");
}

/* What is too much, is so with and without. */
static void limits(void)
{
	static char *huge[3], *wide[600001], *many[30001];
	char *string = malloc(200000), *half = malloc(100000);

	memset(string, 'x', 200000);
	string[131072] = 0; /* MAX_ARG_STRLEN with its end is one less */
	huge[0] = string;
	IN_CHILD("a string too long", execve(self, args, huge));
	string[131071] = 0;
	IN_CHILD("the longest string", execve(self, args, huge));
	memset(half, 'y', 99999);
	half[99999] = 0;
	for (int i = 0; i < 30; i++)
		many[i] = half;
	IN_CHILD("too many bytes", execve(self, args, many));
	for (int i = 0; i < 600000; i++)
		wide[i] = "A=1";
	IN_CHILD("too many entries", execve(self, args, wide));
	for (int i = 0; i < 30000; i++)
		many[i] = i ? "a" : "true";
	many[30000] = NULL;
	IN_CHILD("many arguments", execve("/bin/true", many, environ));
	IN_CHILD("many arguments, static", execve("/bin/busybox", many, environ));
	IN_CHILD("and still", execve(self, args, environ));
}

static void descriptors(void)
{
	static char *list[] = {"sh", "-c", "cd /proc/self/fd; echo ? ??; echo written >&7", NULL};
	int p[2];
	char buf[64];
	FILE *f;

	for (int fd = 3; fd < 30; fd++)
		close(fd);
	if (pipe2(p, O_CLOEXEC) || dup3(p[1], 7, 0) != 7 || dup3(p[1], 9, O_CLOEXEC) != 9)
		abort();
	IN_CHILD("list", execve("/bin/sh", list, environ));
	say_ret("read", read(p[0], buf, sizeof(buf)));
	IN_CHILD("failed", execve("/nonexistent", list, environ));
	say_ret("still there", fcntl(9, F_GETFD));
	f = popen("read a b; echo $b $a; exit 3", "r");
	say("popen: %s", f && fgets(buf, sizeof(buf), f) ? buf : "nothing");
	say_status("pclose", pclose(f));
	f = popen("cat; exit 4", "w");
	fputs("to cat\n", f);
	say_status("pclose", pclose(f));
	say_status("system", system("kill -TERM $$"));
	say_status("system", system("exec busybox sh -c 'exit 8'"));
	say_status("no such command", system("/nonexistent 2>/dev/null"));
}

static _Atomic int started;

static void *busy(void *arg)
{
	struct stat st;

	for (started++;;) {
		void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		stat("/sys/bus/pci", &st);
		if (arg && pinning())
			pin(p, PAGE);
		munmap(p, PAGE);
	}
	return NULL;
}

static void *replace(void *arg)
{
	(void)arg;
	execve(self, args, environ);
	say("failed: %d", errno);
	return NULL;
}

/* The other threads end wherever they are; the process number stays. */
static void from_thread(void)
{
	for (int i = 0; i < 20; i++) {
		pthread_t t[4];
		pid_t pid = fork();

		if (!pid) {
			alarm(300);
			for (int k = 0; k < 3; k++)
				pthread_create(&t[k], NULL, busy, k ? NULL : t);
			while (started < 3)
				usleep(100);
			usleep(i * 200);
			pthread_create(&t[3], NULL, replace, NULL);
			pause();
		}
		wait_for("thread", pid);
	}
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
	    {"environments", environments},
	    {"edges", edges},
	    {"errors", errors},
	    {"at", at},
	    {"static scripts", static_scripts},
	    {"inherited", inherited},
	    {"limits", limits},
	    {"descriptors", descriptors},
	    {"from thread", from_thread},
	};

	if (argc > 1 && !strcmp(argv[1], "show"))
		return show(argc, argv);
	if (!realpath("/proc/self/exe", self))
		return 1;
	return say_main(argc, argv, cases, COUNT(cases));
}
