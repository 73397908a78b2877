/* SPDX-License-Identifier: BSD-3-Clause */
/* pinfold ctl: one order to a broker at work, and its answer. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "base/word.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "proto/ctl.h"

static const struct option options[] = {
    {"connect", required_argument, NULL, 'c'},
    {"control", required_argument, NULL, 'C'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const struct order {
	const char *name;
	bool arg;
	bool fault; /* "inject NAME,dev=ARG" in full */
} orders[] = {
    {"list", false, false},  {"status", false, false},	{"inject", true, false}, {"clear", true, false},
    {"unbind", true, false}, {"bind", true, false},	{"insert", true, false}, {"remove", true, true},
    {"reset", true, true},   {"link-down", true, true}, {"link-up", true, true},
};

static const struct order *order_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (!strcmp(name, orders[i].name))
			return &orders[i];
	return NULL;
}

static int order_unknown(const struct verb *v, const char *name)
{
	const char *names[ARRAY_SIZE(orders) + 1] = {NULL}, *near;

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		names[i] = orders[i].name;
	near = word_nearest(name, names);
	if (near)
		return usage_error(v, "there is no order \"%s\"; did you mean \"%s\"?", name, near);
	return usage_error(v, "there is no order \"%s\"", name);
}

/* The order's text. 0 or the exit status. */
static int order_write(const struct verb *v, char **argv, char text[CTL_ORDER_MAX + 1])
{
	const struct order *o = argv[0] ? order_find(argv[0]) : NULL;
	int n;

	if (!argv[0])
		return usage_error(v, "ORDER is missing");
	if (!o)
		return order_unknown(v, argv[0]);
	if (o->arg && !argv[1])
		return usage_error(v, "%s: its argument is missing", o->name);
	if (argv[1] && argv[1 + o->arg])
		return usage_error(v, "unexpected \"%s\"", argv[1 + o->arg]);
	if (o->fault)
		n = snprintf(text, CTL_ORDER_MAX + 1, "inject %s,dev=%s", o->name, argv[1]);
	else
		n = snprintf(text, CTL_ORDER_MAX + 1, "%s%s%s", o->name, o->arg ? " " : "", o->arg ? argv[1] : "");
	if (n > CTL_ORDER_MAX)
		return usage_error(v, "%s: its argument is longer than %d characters", o->name, CTL_ORDER_MAX / 2);
	return 0;
}

static int connect_to(const char *address)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(address);
	int fd;

	if (len > CTL_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, address, len);
	if (*address == '@')
		sun.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun,
			       offsetof(struct sockaddr_un, sun_path) + len + (*address == '@' ? 0 : 1))) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

static int exchange(const struct verb *v, int fd, const char *order, bool quiet)
{
	static char answer[CTL_ANSWER_MAX + 1];
	ssize_t n = send(fd, order, strlen(order), MSG_NOSIGNAL);

	while (n > 0 && (n = recv(fd, answer, CTL_ANSWER_MAX, 0)) < 0 && errno == EINTR)
		;
	if (n <= 0) {
		log_error("ctl: the broker did not answer%s%s", n ? ": " : "", n ? strerror(errno) : "");
		return EXIT_PINFOLD;
	}
	answer[n] = 0;
	if (answer[0] == CTL_OK) {
		if (!quiet)
			fputs(answer + 1, stdout);
		return 0;
	}
	answer[strcspn(answer, "\n")] = 0;
	if (answer[0] == CTL_USAGE)
		return usage_error(v, "%s", answer + 1);
	log_error("ctl: %s", answer + 1);
	return EXIT_FAILURE;
}

static int option_error(const struct verb *v, int c, char **argv)
{
	const char *names[ARRAY_SIZE(options)] = {NULL}, *given = argv[optind - 1], *near;

	if (c == ':')
		return usage_error(v, "option %s needs a value", given);
	for (size_t i = 0; options[i].name; i++)
		names[i] = options[i].name;
	near = strncmp(given, "--", 2) ? NULL : word_nearest(given + 2, names);
	if (near)
		return usage_error(v, "there is no option %s; did you mean --%s?", given, near);
	return usage_error(v, "there is no option %s", given);
}

int cli_ctl(const struct verb *v, int argc, char **argv)
{
	char address[CTL_PATH_MAX + 64] = "", order[CTL_ORDER_MAX + 1];
	const char *given = NULL, *own = getenv(ENV_CONTROL);
	int c, fd, ret;

	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) >= 0) {
		if (c == 'h')
			return cli_help(v, 2, (char *[]){(char *)"help", (char *)v->name, NULL});
		if (c != 'c' && c != 'C')
			return option_error(v, c, argv);
		if (given)
			return usage_error(v, "--connect and --control are given together, or twice");
		given = optarg;
		if (c == 'c')
			launch_control_beside(optarg, address, sizeof(address));
		else
			snprintf(address, sizeof(address), "%s", optarg);
		if (!*address)
			return usage_error(v, "%s: no broker takes orders there", optarg);
	}
	ret = order_write(v, argv + optind, order);
	if (ret)
		return ret;
	if (!given && own)
		snprintf(address, sizeof(address), "%s", own);
	if (!*address)
		return usage_error(v, "which broker? --connect PATH, or --control PATH");
	fd = connect_to(address);
	if (fd < 0) {
		log_error("ctl: no broker takes orders at %s: %s", address, strerror(errno));
		return EXIT_PINFOLD;
	}
	/* What happens at once needs no number to take it back by. */
	ret = exchange(v, fd, order, order_find(argv[optind])->fault);
	close(fd);
	return ret;
}
