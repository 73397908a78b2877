/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frames WAY [FILE]...: asks for an unmap of nothing, whose finding begins with its stack, in a way that is not easily
 * named. What the stack shall show is in symbols_test.py; "here" marks the line of the call.
 */
#include "../golden/golden.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALT_STACK 65536

static int done;

/* Calls are not the last thing that a function does: it would not be in the stack. */
static void unmap_nothing(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA, .size = PAGE};

	done += ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u); /* here */
	done++;
}

static void plainly(char **argv)
{
	unmap_nothing();
	done++;
}

static inline __attribute__((always_inline)) void within(void)
{
	unmap_nothing(); /* inlined here */
	done++;
}

static void inlined(char **argv)
{
	within(); /* into this */
	done++;
}

static void on_signal(int sig)
{
	unmap_nothing();
	done++;
}

static void interrupted(void)
{
	raise(SIGUSR1);
	done++;
}

static void from_signal(char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &sa, NULL);
	interrupted();
	done++;
}

static void from_signal_stack(char **argv)
{
	stack_t ss = {.ss_sp = malloc(ALT_STACK), .ss_size = ALT_STACK};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	interrupted();
	done++;
}

static void *thread_main(void *arg)
{
	pthread_setname_np(pthread_self(), "queue-7");
	unmap_nothing();
	done++;
	return NULL;
}

static void from_thread(char **argv)
{
	pthread_t t;

	expect_eq(pthread_create(&t, NULL, thread_main, NULL), 0);
	pthread_join(t, NULL);
}

static void from_child(char **argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		unmap_nothing();
		_exit(0);
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
	printf("child %d\n", pid);
}

static void many(void)
{
	for (unsigned int i = 0; i < 200; i++)
		unmap_nothing();
	done++;
}

/* So much of the stack that what had been enough is not. */
static void deep(void)
{
	volatile char room[8000];

	room[0] = 1;
	unmap_nothing();
	done += room[0];
}

static void deep_once(void)
{
	deep();
	done++;
}

static void deep_again(void)
{
	deep();
	done++;
}

static void deeper(char **argv)
{
	many();
	deep_once();
	deep_again();
}

/* push %rbp; mov %rsp,%rbp; movabs $fn,%rax; call *%rax; pop %rbp; ret */
static void generated(char **argv)
{
	uint8_t code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xd0, 0x5d, 0xc3};
	uint8_t *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t fn = (uintptr_t)unmap_nothing;
	void (*call)(void) = (void (*)(void))(uintptr_t)(at + 256);
	char path[64];
	FILE *map;

	memcpy(code + 6, &fn, sizeof(fn));
	memcpy(at + 256, code, sizeof(code));
	expect_eq(mprotect(at, PAGE, PROT_READ | PROT_EXEC), 0);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	map = fopen(path, "w");
	expect(map != NULL);
	fprintf(map, "%lx 80 Interpreter:before\n%lx %zx LazyCompile:~unmap queue.js:42\n", (long)at, (long)at + 256,
		sizeof(code));
	fclose(map);
	printf("%s\n", path);
	fflush(stdout);
	if (*argv)
		expect(fopen(*argv, "r") != NULL); /* until somebody opens the other end */
	call();
	done++;
}

/* As a C++ compiler names driver::queue::free(int). */
void cxx(void) __asm__("_ZN6driver5queue4freeEi");

void cxx(void)
{
	unmap_nothing();
	done++;
}

static void mangled(char **argv)
{
	cxx();
	done++;
}

/* The program's own file makes room for another of its name. */
static void replaced(char **argv)
{
	char old[4096];
	ssize_t n = readlink("/proc/self/exe", old, sizeof(old) - 1);

	expect(n > 0);
	old[n] = 0;
	expect_eq(unlink(old), 0);
	if (*argv)
		expect_eq(rename(*argv, old), 0);
	unmap_nothing();
	done++;
}

static void call_in(const char *path)
{
	void *lib = dlopen(path, RTLD_NOW);
	void (*fn)(void (*)(void)) = lib ? (void (*)(void (*)(void)))dlsym(lib, "plugin_call") : NULL;

	if (!fn)
		fail("%s", dlerror());
	fn(unmap_nothing);
	printf("%p\n", (void *)fn);
	dlclose(lib);
}

/* One library after the other, the second where the first was if it can be had. */
static void unloaded(char **argv)
{
	for (; *argv; argv++)
		call_in(*argv);
}

static const struct {
	const char *name;
	void (*run)(char **argv);
} ways[] = {
    {"plainly", plainly},    {"inlined", inlined},   {"signal", from_signal},  {"signal-stack", from_signal_stack},
    {"thread", from_thread}, {"child", from_child},  {"generated", generated}, {"mangled", mangled},
    {"deeper", deeper},	     {"replaced", replaced}, {"unloaded", unloaded},
};

int main(int argc, char **argv)
{
	alarm(240);
	for (size_t i = 0; i < COUNT(ways) && argc > 1; i++) {
		if (strcmp(argv[1], ways[i].name))
			continue;
		device_open(VFIO_TYPE1v2_IOMMU);
		/* What the unmap may have meant. */
		expect_eq(dma_map(pages_alloc(PAGE), 2 * DATA_IOVA, PAGE, MAP_RW), 0);
		ways[i].run(argv + 2);
		return 0;
	}
	return 2;
}
