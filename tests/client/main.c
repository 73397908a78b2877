/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio_client [-l] [-b BDF] [CASE]...: runs the cases (all of them by default), each in a process of its own, and
 * prints TAP. -l lists them.
 */
#include "client.h"

#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

const char *bdf = "0000:01:00.0";

static unsigned int number, failures;

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void skip_case(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(77);
}

static void case_run(const struct client_case *c)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(900); /* a case that hangs ends the run with a failure, not without one */
		c->run();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	number++;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		printf("ok %u - %s # SKIP\n", number, c->name);
		return;
	}
	if (status)
		failures++;
	if (WIFSIGNALED(status))
		printf("# signal %d\n", WTERMSIG(status));
	printf("%sok %u - %s: %s\n", status ? "not " : "", number, c->name, c->what);
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return !argc;
}

int main(int argc, char **argv)
{
	bool list = false;
	int opt;

	while ((opt = getopt(argc, argv, "lb:")) != -1) {
		if (opt == 'l')
			list = true;
		else if (opt == 'b')
			bdf = optarg;
		else
			return 2;
	}
	for (size_t t = 0; client_tables[t]; t++) {
		for (const struct client_case *c = client_tables[t]; c->name; c++) {
			if (list)
				printf("%-24s %s\n", c->name, c->what);
			else if (wanted(c->name, argc - optind, argv + optind))
				case_run(c);
		}
	}
	if (list)
		return 0;
	printf("1..%u\n", number);
	if (!number)
		fprintf(stderr, "vfio_client: no such case\n");
	return failures || !number;
}
