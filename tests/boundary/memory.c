/* SPDX-License-Identifier: BSD-3-Clause */
/* What memory holds after everything that may be done to a mapping; with pinned memory, done to adopted pages. */
#include "say.h"

#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static sigjmp_buf jump;

static void on_fault(int sig)
{
	siglongjmp(jump, sig);
}

static void catch_faults(void)
{
	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
}

/* The first byte of each page, or what touching it gives. */
static void say_pages(const char *what, const void *p, size_t n)
{
	char line[512] = "";

	for (volatile size_t i = 0; i < n; i++) {
		int sig = sigsetjmp(jump, 1);

		if (sig)
			sprintf(line + strlen(line), " %s", sigabbrev_np(sig));
		else
			sprintf(line + strlen(line), " %02x", *(volatile const unsigned char *)((char *)p + i * PAGE));
	}
	say("%s:%s", what, line);
}

static void say_writable(const char *what, void *p)
{
	int sig = sigsetjmp(jump, 1);

	if (!sig)
		*(volatile char *)p += 0;
	say("%s: %s", what, sig ? sigabbrev_np(sig) : "writable");
}

static char *get(size_t n)
{
	char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < n; i++)
		memset(p + i * PAGE, 0x10 + i, PAGE);
	catch_faults();
	return p;
}

static void say_moved(const char *what, void *p, void *old)
{
	if (p == MAP_FAILED)
		say("%s: %s", what, strerrorname_np(errno));
	else
		say("%s: %s", what, p == old ? "in place" : "moved");
}

static void unmap(void)
{
	char *p = get(8);

	pin(p + 2 * PAGE, 4 * PAGE);
	say_pages("all", p, 8);
	say_ret("munmap", munmap(p + 3 * PAGE, 2 * PAGE));
	say_pages("after", p, 8);
	say_ret("again", munmap(p + 3 * PAGE, 2 * PAGE));
	say_ret("misaligned", munmap(p + 1, PAGE));
	say_ret("nothing", munmap(p, 0));
	say_ret("one byte", munmap(p, 1));
	say_ret("the end of everything", munmap((void *)-PAGE, 2 * PAGE));
	say_pages("after", p, 8);
	say_ret("all", munmap(p, 8 * PAGE));
	say_pages("after", p, 8);
}

static void fixed(void)
{
	char *p = get(8);

	pin(p + 2 * PAGE, 4 * PAGE);
	say_moved("fixed",
		  mmap(p + 4 * PAGE, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
		  p + 4 * PAGE);
	say_pages("after", p, 8);
	say_moved("noreplace",
		  mmap(p + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
		  p + 3 * PAGE);
	say_moved("bad descriptor", mmap(p + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0), p);
	say_moved("misaligned", mmap(p + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), p);
	say_pages("after", p, 8);
	say_moved(
	    "large offset",
	    mmap(p + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, open("/proc/self/exe", O_RDONLY), 1L << 41),
	    p + 2 * PAGE);
	say_pages("after", p, 8);
}

static void protect(void)
{
	char *p = get(6);

	pin(p + 1 * PAGE, 4 * PAGE);
	say_ret("read only", mprotect(p, 3 * PAGE, PROT_READ));
	say_writable("0", p);
	say_writable("1", p + PAGE);
	say_writable("3", p + 3 * PAGE);
	say_ret("none", mprotect(p + 2 * PAGE, 2 * PAGE, PROT_NONE));
	say_pages("after", p, 6);
	say_ret("all", mprotect(p, 6 * PAGE, PROT_READ | PROT_WRITE));
	say_pages("after", p, 6);
	say_writable("2", p + 2 * PAGE);
	say_ret("mlock", mlock(p, 6 * PAGE));
	say_ret("munlock", munlock(p, 6 * PAGE));
	say_ret("code", mprotect(p + PAGE, PAGE, PROT_READ | PROT_EXEC));
	say_pages("after", p, 6);
}

static void remap(void)
{
	static const struct {
		const char *what;
		int from, n, to, flags;
	} moves[] = {
	    {"shrink", 0, 6, 4, 0},
	    {"grow in place", 0, 6, 8, 0},
	    {"grow", 0, 6, 8, MREMAP_MAYMOVE},
	    {"grow the pinned part", 2, 2, 4, MREMAP_MAYMOVE},
	    {"grow where there is no room", 2, 2, 4, 0},
	    {"grow what is pinned at its end", 1, 3, 9, MREMAP_MAYMOVE},
	    {"same", 2, 2, 2, MREMAP_MAYMOVE},
	    {"move", 0, 6, 6, MREMAP_MAYMOVE | MREMAP_FIXED},
	    {"move and shrink", 1, 4, 2, MREMAP_MAYMOVE | MREMAP_FIXED},
	    {"move and grow", 0, 6, 8, MREMAP_MAYMOVE | MREMAP_FIXED},
	    {"move half pinned", 1, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED},
	    {"fixed without maymove", 0, 2, 2, MREMAP_FIXED},
	    {"leave", 2, 2, 2, MREMAP_MAYMOVE | MREMAP_DONTUNMAP},
	    {"leave, other size", 2, 2, 3, MREMAP_MAYMOVE | MREMAP_DONTUNMAP},
	    {"old size 0", 2, 0, 2, MREMAP_MAYMOVE},
	    {"new size 0", 2, 2, 0, MREMAP_MAYMOVE},
	    {"unknown flag", 2, 2, 2, 64},
	};

	for (size_t i = 0; i < COUNT(moves); i++) {
		char *area = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p, *q,
		     *to = area + 32 * PAGE;

		p = mmap(area, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		catch_faults();
		for (int k = 0; k < 6; k++)
			memset(p + k * PAGE, 0x10 + k, PAGE);
		pin(p + 2 * PAGE, 2 * PAGE);
		munmap(area + 6 * PAGE, 4 * PAGE);
		q = mremap(p + moves[i].from * PAGE, moves[i].n * PAGE, moves[i].to * PAGE, moves[i].flags, to);
		/* A program sees one mapping, whatever we have made of it; Linux before 6.17 sees it too. */
		say_moved(moves[i].what, q, p + moves[i].from * PAGE);
		if (q == MAP_FAILED) {
			say_pages("  old", p, 6);
			continue;
		}
		say_pages("  new", q, moves[i].to);
		if (moves[i].to)
			say_writable("  its end", q + (moves[i].to - 1) * PAGE);
		say_pages("  old", p, 6);
	}
	char *p = get(4);
	pin(p, 4 * PAGE);
	say_moved("overlap", mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE), p);
	say_moved("misaligned", mremap(p + 1, PAGE, PAGE, MREMAP_MAYMOVE), p);
	say_moved("misaligned target", mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * PAGE + 1), p);
	munmap(p + PAGE, PAGE);
	say_moved("over a hole", mremap(p, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), p);
	say_pages("after", p, 4);
}

static void advise(void)
{
	static const struct {
		const char *what;
		int advice;
	} a[] = {
	    {"dontneed", MADV_DONTNEED},
	    {"dontneed_locked", 24},
	    {"remove", MADV_REMOVE},
	    {"willneed", MADV_WILLNEED},
	    {"populate", 23},
	    {"cold", 20},
	    {"unknown", 12345},
	    {"dontfork", MADV_DONTFORK},
	    {"dofork", MADV_DOFORK},
	    {"hugepage", MADV_HUGEPAGE},
	};

	for (size_t i = 0; i < COUNT(a); i++) {
		char *p = get(6);

		pin(p + 2 * PAGE, 2 * PAGE);
		say_ret(a[i].what, madvise(p + PAGE, 2 * PAGE, a[i].advice));
		say_pages("  after", p, 6);
		say_ret("  misaligned", madvise(p + 1, PAGE, a[i].advice));
		say_ret("  nothing", madvise(p, 0, a[i].advice));
		munmap(p + 3 * PAGE, PAGE);
		say_ret("  over a hole", madvise(p, 6 * PAGE, a[i].advice));
		say_pages("  after", p, 6);
		say_ret("  nothing there", madvise(p + 3 * PAGE, PAGE, a[i].advice));
	}
	char *p = get(4);
	pin(p, 4 * PAGE);
	say_ret("free", madvise(p, 4 * PAGE, MADV_FREE));
	memset(p, 0x77, 4 * PAGE);
	say_pages("written again", p, 4);
}

static void heap_break(void)
{
	char *p = sbrk(0), *q;

	catch_faults();
	p = (char *)(((uintptr_t)p + PAGE - 1) & ~(PAGE - 1));
	say("up %d", brk(p + 8 * PAGE));
	for (int i = 0; i < 8; i++)
		memset(p + i * PAGE, 0x20 + i, PAGE);
	pin(p + 2 * PAGE, 4 * PAGE);
	say_pages("heap", p, 8);
	say("down %d", brk(p + 4 * PAGE));
	say_pages("heap", p, 8);
	say("up %d", brk(p + 8 * PAGE));
	say_pages("heap", p, 8);
	say_writable("end", p + 7 * PAGE);
	say("down %d", brk(p));
	say_pages("heap", p, 8);
	say("up %d", brk(p + 4 * PAGE));
	say_pages("heap", p, 4);
	q = sbrk(0);
	say("break %d", q == p + 4 * PAGE);
}

static unsigned char data_pages[4 * 4096] __attribute__((aligned(4096))) = {1, 2, 3};
static unsigned char bss_pages[4 * 4096] __attribute__((aligned(4096)));

static int depth(int n)
{
	volatile char room[4096];

	room[0] = n;
	return n ? depth(n - 1) + room[0] - (n & 0xff) + (room[0] < 0 ? 256 : 0) * 0 : 0;
}

static void image(void)
{
	char stack[8 * 4096];
	char *p = (char *)(((uintptr_t)stack + PAGE - 1) & ~(PAGE - 1));

	catch_faults();
	memset(p, 0x5a, 4 * PAGE);
	memset(bss_pages, 0x6b, sizeof(bss_pages));
	pin(data_pages, sizeof(data_pages));
	pin(bss_pages + PAGE, PAGE);
	pin(p, 4 * PAGE);
	say_pages("stack", p, 4);
	say_pages("data", data_pages, 4);
	say_pages("bss", bss_pages, 4);
	data_pages[0] = 9;
	say("data %d %d %d", data_pages[0], data_pages[1], data_pages[2]);
	depth(600);
	say("recursed");
	say_pages("stack", p, 4);
}

/* The lowest page of the stack there is; then deep down. */
static void stack_below(void)
{
	char *low = alloca(64);

	low = (char *)((uintptr_t)low & ~(PAGE - 1)) - 20 * PAGE;
	memset(low, 1, PAGE);
	pin(low, PAGE);
	depth(1000);
	say("recursed");
}

static void *on_thread(void *arg)
{
	char here[3 * 4096];
	char *p = (char *)(((uintptr_t)here + PAGE - 1) & ~(PAGE - 1));

	(void)arg;
	memset(p, 0x33, PAGE);
	pin(p, PAGE);
	return NULL;
}

/* A thread's end discards the part of its stack that it did not leave. */
static void threads(void)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 256 * 1024);
	for (int i = 0; i < 20; i++) {
		pthread_create(&t, &a, on_thread, NULL);
		pthread_join(t, NULL);
	}
	say("threads came and went");
}

static void grows_down(void)
{
	char *p, *top;

	pin(get(1), PAGE); /* what is mapped for that would stand in the way */
	p = mmap(NULL, 600 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	top = p + 599 * PAGE;
	munmap(p, 600 * PAGE);
	catch_faults();
	top = mmap(top, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE,
		   -1, 0);
	*top = 1;
	pin(top, PAGE);
	for (int i = 1; i < 100; i++)
		top[-(long)PAGE * i] = i;
	say_pages("grown", top - 5 * PAGE, 6);
}

/* What a child sees is its own; what a parent shares stays shared. */
static void forks(void)
{
	char *p = get(6), *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int st;
	pid_t pid;

	pin(p + PAGE, 4 * PAGE);
	pin(shared, PAGE);
	mprotect(p + 2 * PAGE, PAGE, PROT_NONE);
	mprotect(p + 3 * PAGE, PAGE, PROT_READ);
	madvise(p + 4 * PAGE, PAGE, MADV_DONTFORK);
	*shared = 1;
	pid = fork();
	if (!pid) {
		say_pages("child", p, 6);
		say_writable("3", p + 3 * PAGE);
		mprotect(p + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE);
		say_pages("child, all readable", p, 6);
		memset(p, 0xcc, 4 * PAGE);
		*shared = 2;
		_exit(0);
	}
	waitpid(pid, &st, 0);
	say_status("child", st);
	mprotect(p + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE);
	say_pages("parent", p, 6);
	say("shared %d", *shared);
	/* A child of a child, and the first child's own changes. */
	pid = fork();
	if (!pid) {
		memset(p, 0x44, 2 * PAGE);
		pid = fork();
		if (!pid) {
			say_pages("grandchild", p, 4);
			_exit(0);
		}
		waitpid(pid, &st, 0);
		say_pages("child", p, 4);
		_exit(0);
	}
	waitpid(pid, &st, 0);
	say_pages("parent", p, 4);
}

static void shared_memory(void)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *q, *r;

	catch_faults();
	for (int i = 0; i < 4; i++)
		p[i * PAGE] = i + 1;
	pin(p, 4 * PAGE);
	say_pages("shared", p, 4);
	q = mremap(p, 0, 4 * PAGE, MREMAP_MAYMOVE);
	say_moved("twice", q, p);
	q[0] = 0x55;
	say_pages("shared", p, 4);
	r = mremap(p, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
	say_pages("grown", r, 6);
	say_ret("dontneed", madvise(r, 4 * PAGE, MADV_DONTNEED));
	say_pages("after", r, 4);
	say_ret("remove", madvise(r, PAGE, MADV_REMOVE));
	say_pages("after", q, 4);
	say_ret("unmap", munmap(r + PAGE, PAGE));
	say_pages("after", r, 4);
	say_moved("length 0", mmap(NULL, 0, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0), p);
	say_moved("too long", mmap(NULL, 1UL << 62, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0), p);
}

static void private_file(void)
{
	int fd = memfd_create("file", 0);
	char page[4096], *p;

	catch_faults();
	memset(page, 'f', sizeof(page));
	for (int i = 0; i < 4; i++)
		if (write(fd, page, sizeof(page)) != sizeof(page))
			return;
	p = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	p[0] = 'p';
	pin(p, 2 * PAGE);
	memset(page, 'g', sizeof(page));
	say_ret("write", pwrite(fd, page, 1, 3 * PAGE));
	say_pages("private", p, 6);
	say_ret("dontneed", madvise(p + 2 * PAGE, 2 * PAGE, MADV_DONTNEED));
	say_pages("private", p, 6);
}

static volatile int stop;

static void *writer(void *arg)
{
	volatile long *p = arg;

	while (!stop)
		for (int i = 0; i < 8; i++)
			p[i * 512]++;
	return NULL;
}

/* Memory is pinned, discarded and forked while others write to it. */
static void races(void)
{
	char *p = get(8);
	pthread_t t[2];
	int st, bad = 0;

	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, writer, p + 8 * i);
	for (int i = 0; i < 40; i++) {
		pid_t pid;

		if (i % 4 == 0)
			pin(p, 8 * PAGE);
		if (i % 4 == 2)
			madvise(p, 8 * PAGE, MADV_DONTNEED);
		pid = fork();
		if (!pid) {
			char *q = malloc(100000);

			memset(q, 1, 100000);
			memset(p, 2, 8 * PAGE);
			_exit(p[5 * PAGE] == 2 ? 0 : 1);
		}
		waitpid(pid, &st, 0);
		bad += st != 0;
	}
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	say("children that went wrong: %d", bad);
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
	    {"unmap", unmap},
	    {"fixed", fixed},
	    {"protect", protect},
	    {"remap", remap},
	    {"advise", advise},
	    {"break", heap_break},
	    {"image", image},
	    {"stack below", stack_below},
	    {"threads", threads},
	    {"grows down", grows_down},
	    {"forks", forks},
	    {"shared", shared_memory},
	    {"private file", private_file},
	    {"races", races},
	};

	return say_main(argc, argv, cases, COUNT(cases));
}
