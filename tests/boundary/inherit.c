/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared memory whose file the process cannot show: what it has from the one that forked it can be mapped for DMA. */
#include "say.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static unsigned char *share(size_t pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void wait_for(const char *what, pid_t pid)
{
	int st = 0;

	say_status(what, waitpid(pid, &st, __WALL) == pid ? st : -1);
}

static void child_uses_it(void)
{
	unsigned char *p = share(4);
	pid_t pid;

	p[0] = 1;
	pid = fork();
	if (!pid) {
		pin(p, 4 * PAGE);
		p[PAGE] = p[0] + 1;
		_exit(p[0]);
	}
	wait_for("child", pid);
	say("written: %d", p[PAGE]);
	/* What the parent has shown itself, and closed the file of. */
	pin(p + 2 * PAGE, PAGE);
	unpin_all();
	pid = fork();
	if (!pid) {
		pin(p + 2 * PAGE, 2 * PAGE);
		_exit(p[PAGE]);
	}
	wait_for("child", pid);
}

/* Every generation adds some, and uses all. */
static void generation(unsigned char **page, int n)
{
	pid_t pid;

	page[n] = share(1);
	page[n][0] = n;
	pid = n < 4 ? fork() : 0;
	if (pid) {
		wait_for("child", pid);
		return;
	}
	if (n < 4)
		generation(page, n + 1);
	for (int i = 0; i <= n; i++) {
		pin(page[i], PAGE);
		page[i][1]++;
	}
	unpin_all();
	if (n < 4)
		_exit(page[0][1]);
}

static void generations(void)
{
	unsigned char *page[5];

	generation(page, 0);
	say("used: %d", page[0][1]);
}

static int clone_main(void *arg)
{
	unsigned char *p = arg;

	pin(p, PAGE);
	unpin_all(); /* the parent may share its descriptors */
	return ++p[0];
}

static void other_forks(void)
{
	static const int flags[] = {SIGCHLD, SIGCHLD | CLONE_FILES, SIGCHLD | CLONE_FS, SIGCHLD | CLONE_VFORK,
				    SIGCHLD | CLONE_PARENT_SETTID};
	char *stack = malloc(65536);
	unsigned char *p = share(1);
	pid_t pid;

	for (size_t i = 0; i < COUNT(flags); i++)
		wait_for("clone", clone(clone_main, stack + 65536, flags[i], p, &pid, NULL, NULL));
	pid = syscall(SYS_fork);
	if (!pid)
		_exit(clone_main(p));
	wait_for("raw fork", pid);
	pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	if (!pid)
		_exit(clone_main(p));
	wait_for("raw clone", pid);
}

/* One at a time may have the group. */
static int turn[2];

static void *forker(void *arg)
{
	unsigned char *p = share(2);
	pid_t pid;
	char c;
	int st;

	for (int i = 0; i < 4; i++) {
		pid = fork();
		if (!pid) {
			if (read(turn[0], &c, 1) != 1)
				_exit(98);
			pin(p, PAGE);
			p[PAGE]++;
			_exit(0);
		}
		if (waitpid(pid, &st, 0) != pid || st)
			p[PAGE] = 99;
		/* Only now is the group free. */
		if (write(turn[1], "", 1) != 1)
			abort();
	}
	*(int *)arg = p[PAGE];
	munmap(p, 2 * PAGE);
	return NULL;
}

static void threads_fork_at_once(void)
{
	int used[8] = {0}, sum = 0;
	pthread_t t[COUNT(used)];

	if (pipe(turn) || write(turn[1], "", 1) != 1)
		abort();
	for (size_t i = 0; i < COUNT(t); i++)
		pthread_create(&t[i], NULL, forker, &used[i]);
	for (size_t i = 0; i < COUNT(t); i++) {
		pthread_join(t[i], NULL);
		sum += used[i];
	}
	say("used: %d", sum);
}

/* The parent does not wait to see what becomes of its child. */
static void parent_has_gone(void)
{
	unsigned char *p = share(2);
	int gate[2], st;
	pid_t pid;
	char c;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < 20; i++) {
		if (pipe(gate))
			abort();
		pid = fork();
		if (!pid) {
			unsigned char *own = share(1);

			own[0] = 5;
			if (fork())
				_exit(1);
			if (read(gate[0], &c, 1) != 1)
				_exit(98);
			pin(p, PAGE);
			pin(own, PAGE);
			p[0] += own[0];
			_exit(0);
		}
		waitpid(pid, &st, 0);
		if (write(gate[1], "", 1) != 1)
			abort();
		wait(&st);
		if (st)
			say_status("orphan", st);
		close(gate[0]);
		close(gate[1]);
	}
	say("used: %d", p[0]);
}

static void parent_lets_go(void)
{
	unsigned char *p = share(4), *q = share(2), *twice;
	int gate[2];
	pid_t pid;
	char c;

	if (pipe(gate))
		abort();
	madvise(q, PAGE, MADV_DONTFORK);
	twice = mremap(p, 0, 4 * PAGE, MREMAP_MAYMOVE);
	pid = fork();
	if (!pid) {
		if (read(gate[0], &c, 1) != 1)
			_exit(98);
		pin(p, 2 * PAGE);
		munmap(p, 4 * PAGE);
		pin(twice + 2 * PAGE, 2 * PAGE);
		pin(q + PAGE, PAGE);
		_exit(twice[0]);
	}
	p[0] = 7;
	munmap(p, 4 * PAGE);
	munmap(twice, 4 * PAGE);
	munmap(q, 2 * PAGE);
	if (write(gate[1], "", 1) != 1)
		abort();
	wait_for("child", pid);
}

/* Private memory that was moved is the child's own; shared memory is not. */
static void private_and_shared(void)
{
	unsigned char *mine = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *ours = share(2);
	pid_t pid;

	mine[0] = ours[0] = 1;
	pin(mine, PAGE);
	pin(ours, PAGE);
	unpin_all();
	pid = fork();
	if (!pid) {
		mine[0] = ours[0] = 2;
		pin(mine, 2 * PAGE);
		pin(ours, 2 * PAGE);
		_exit(mine[0] + ours[0]);
	}
	wait_for("child", pid);
	say("private %d, shared %d", mine[0], ours[0]);
}

/* The file that is mapped at p. */
static unsigned long file_at(void *p)
{
	unsigned long start, end, ino = 0, found = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &start, &end, &ino) == 3 && start <= (uintptr_t)p &&
		    end > (uintptr_t)p)
			found = ino;
	if (f)
		fclose(f);
	return found;
}

/* Beside memory that nobody can show: what a device holds is not moved again. */
static void stays_where_it_is(void)
{
	unsigned char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("nobody", 0);
	unsigned long before;

	if (ftruncate(fd, PAGE))
		abort();
	p[0] = p[2 * PAGE] = 1;
	pin(p, PAGE);
	before = file_at(p);
	mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
	try_pin(p, 2 * PAGE);
	try_pin(p, 3 * PAGE);
	say("moved: %d", file_at(p) != before);
}

static void after_exec(void)
{
	unsigned char *p = share(1);
	pid_t pid = vfork();

	if (!pid) {
		execl("/bin/sh", "sh", "-c", "exit 6", (char *)NULL);
		_exit(1);
	}
	wait_for("vfork", pid);
	pid = fork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
		_exit(1);
	}
	wait_for("fork", pid);
	pin(p, PAGE);
	say("page %d", p[0]);
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
	    {"child uses it", child_uses_it},
	    {"generations", generations},
	    {"other forks", other_forks},
	    {"threads fork at once", threads_fork_at_once},
	    {"parent has gone", parent_has_gone},
	    {"parent lets go", parent_lets_go},
	    {"private and shared", private_and_shared},
	    {"stays where it is", stays_where_it_is},
	    {"after exec", after_exec},
	};

	return say_main(argc, argv, cases, COUNT(cases));
}
