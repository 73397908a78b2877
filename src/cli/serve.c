/* SPDX-License-Identifier: BSD-3-Clause */
/* pinfold serve: a standing broker in the foreground. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/args.h"
#include "cli/cli.h"

/* A descriptor that becomes readable when somebody wants us to end. -1 and errno on failure. */
static int stop_fd_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve(const struct verb *v, const struct args *a)
{
	const struct broker_options *o = &a->broker;
	uint64_t findings;
	struct broker *b;
	char err[512] = "";
	int stop, ret;

	stop = stop_fd_open();
	if (stop < 0) {
		log_error("signalfd: %s", strerror(errno));
		return EXIT_PINFOLD;
	}
	b = broker_new(o, err, sizeof(err));
	if (!b) {
		ret = errno == EINVAL ? usage_error(v, "%s", err) : EXIT_PINFOLD;
		if (ret == EXIT_PINFOLD)
			log_error("%s", err);
		close(stop);
		return ret;
	}
	printf("pinfold: %zu device%s ready at %s\n", o->ndevices, o->ndevices == 1 ? "" : "s", o->socket);
	fflush(stdout);
	ret = broker_serve(b, stop);
	if (ret)
		log_error("the broker stopped: %s", strerror(-ret));
	findings = broker_free(b);
	close(stop);
	if (ret)
		return EXIT_PINFOLD;
	return findings ? (int)a->check.exit_code : 0;
}

int cli_serve(const struct verb *v, int argc, char **argv)
{
	struct args a;
	int ret;

	ret = args_parse(v, argc, argv, &a);
	if (!ret && !a.done) {
		if (a.program[0])
			ret = usage_error(v, "unexpected \"%s\": a program is started with `pinfold run --connect`",
					  a.program[0]);
		else if (!a.broker.socket)
			ret = usage_error(v, "--socket PATH is missing");
		else
			ret = serve(v, &a);
	}
	args_free(&a);
	return ret;
}
