/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/word.h"
#include "check/class.h"
#include "devices/device.h"
#include "devices/fault.h"

enum {
	OPTION_CONNECT = 256,
	OPTION_SOCKET,
	OPTION_SUMMARY,
	OPTION_MEMLOCK,
	OPTION_STRICT,
	OPTION_P2P,
	OPTION_IOMMU,
	OPTION_HOST_DEVICES,
	OPTION_IOMMUFD_TEST,
	OPTION_FAULT,
	OPTION_CONTROL,
	OPTION_CHECK,
	OPTION_REPORT,
	OPTION_SUPPRESSIONS,
	OPTION_FIRST,
	OPTION_TRACE,
	OPTION_STACK_DEPTH,
	OPTION_ERROR_EXITCODE,
};

/* clang-format off */
#define OPTIONS_OF_BOTH \
	{"device", required_argument, NULL, 'd'}, \
	{"fault", required_argument, NULL, OPTION_FAULT}, \
	{"control", required_argument, NULL, OPTION_CONTROL}, \
	{"summary", no_argument, NULL, OPTION_SUMMARY}, \
	{"memlock", required_argument, NULL, OPTION_MEMLOCK}, \
	{"strict", no_argument, NULL, OPTION_STRICT}, \
	{"p2p", required_argument, NULL, OPTION_P2P}, \
	{"iommu", required_argument, NULL, OPTION_IOMMU}, \
	{"host-devices", no_argument, NULL, OPTION_HOST_DEVICES}, \
	{"iommufd-test", no_argument, NULL, OPTION_IOMMUFD_TEST}, \
	{"check", optional_argument, NULL, OPTION_CHECK}, \
	{"report", required_argument, NULL, OPTION_REPORT}, \
	{"suppressions", required_argument, NULL, OPTION_SUPPRESSIONS}, \
	{"trace", required_argument, NULL, OPTION_TRACE}, \
	{"first", no_argument, NULL, OPTION_FIRST}, \
	{"stack-depth", required_argument, NULL, OPTION_STACK_DEPTH}, \
	{"error-exitcode", required_argument, NULL, OPTION_ERROR_EXITCODE}, \
	{"verbose", no_argument, NULL, 'v'}, \
	{"help", no_argument, NULL, 'h'}, \
	{0}
/* clang-format on */

static const struct option run_options[] = {{"connect", required_argument, NULL, OPTION_CONNECT}, OPTIONS_OF_BOTH};
static const struct option serve_options[] = {{"socket", required_argument, NULL, OPTION_SOCKET}, OPTIONS_OF_BOTH};

int size_parse(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTPE";
	unsigned long long n;
	const char *unit;
	unsigned int shift = 0;
	char *end;

	/* strtoull would take a sign and leading blanks. */
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno)
		return -EINVAL;
	if (*end) {
		unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!unit || (end[1] && strcmp(end + 1, "iB")))
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (shift && n > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = (uint64_t)n << shift;
	return 0;
}

static int option_unknown(const struct verb *v, const struct option *known, const char *given)
{
	const char *names[ARRAY_SIZE(run_options) + 1] = {NULL};
	char word[64];
	const char *near;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(given + 2, "="), given + 2);
	for (size_t i = 0; known[i].name; i++)
		names[i] = known[i].name;
	near = word_nearest(word, names);
	if (near)
		return usage_error(v, "there is no option --%s; did you mean --%s?", word, near);
	return usage_error(v, "there is no option --%s", word);
}

/* getopt_long returned '?' or ':'. */
static int option_error(const struct verb *v, const struct option *known, int c, char **argv)
{
	const char *given = argv[optind - 1];

	if (c == ':' && optopt < 256 && strncmp(given, "--", 2))
		return usage_error(v, "option -%c needs a value", optopt);
	if (c == ':')
		return usage_error(v, "option %s needs a value", given);
	if (!optopt)
		return option_unknown(v, known, given);
	for (size_t i = 0; known[i].name; i++)
		if (known[i].val == optopt && !strncmp(given, "--", 2))
			return usage_error(v, "option --%s takes no value", known[i].name);
	return usage_error(v, "there is no option -%c", optopt);
}

static bool device_wants_help(const char *spec)
{
	const char *comma = strrchr(spec, ',');

	return !strcmp(spec, "help") || !strcmp(spec, "?") || (comma && !strcmp(comma, ",help"));
}

static int option_device(const struct verb *v, const char *spec, struct args *a)
{
	char err[512] = "";

	if (!device_wants_help(spec)) {
		a->devices[a->broker.ndevices++] = spec;
		return 0;
	}
	if (device_help(!strcmp(spec, "?") ? "help" : spec, err, sizeof(err)))
		return usage_error(v, "-d %s: %s", spec, err);
	a->done = true;
	return 0;
}

static int option_fault(const struct verb *v, const char *spec, struct args *a)
{
	char text[8192];

	if (strcmp(spec, "help")) {
		a->faults[a->broker.nfaults++] = spec;
		return 0;
	}
	fault_help(text, sizeof(text));
	fputs(text, stdout);
	a->done = true;
	return 0;
}

static int option_iommu(const char *kind, struct args *a)
{
	char text[1024];

	if (strcmp(kind, "help")) {
		a->broker.iommu = kind;
		return 0;
	}
	broker_iommu_help(text, sizeof(text));
	fputs(text, stdout);
	a->done = true;
	return 0;
}

static int option_memlock(const struct verb *v, const char *text, uint64_t *bytes)
{
	if (!strcmp(text, "unlimited")) {
		*bytes = UINT64_MAX;
		return 0;
	}
	/* 0 means "as the client's own limit says" in broker_options, and nothing could be mapped under it. */
	if (size_parse(text, bytes) || *bytes < PF_PAGE_SIZE)
		return usage_error(v, "--memlock %s: not a size (4096 or more, as in 64M) and not \"unlimited\"", text);
	return 0;
}

static int option_check(const struct verb *v, const char *list, struct args *a)
{
	char err[160] = "";

	if (list && !strcmp(list, "help")) {
		for (unsigned int i = 0; i < CLASS_COUNT; i++)
			printf("  %-24s%s\n", class_name(i), class_text(i));
		puts("`pinfold help CLASS` says more.");
		a->done = true;
		return 0;
	}
	a->check_given = true;
	if (list && class_set_parse(list, &a->check.classes, err, sizeof(err)))
		return usage_error(v, "--check=%s: %s", list, err);
	return 0;
}

static int option_number(const struct verb *v, const char *name, unsigned int low, unsigned int high, unsigned int *n)
{
	char *end;
	unsigned long value = strtoul(optarg, &end, 10);

	if (*optarg < '0' || *optarg > '9' || *end || value < low || value > high)
		return usage_error(v, "--%s %s: not a number from %u to %u", name, optarg, low, high);
	*n = value;
	return 0;
}

static int option_apply(const struct verb *v, int c, struct args *a)
{
	switch (c) {
	case 'd':
		return option_device(v, optarg, a);
	case 'h':
		a->done = true;
		return cli_help(v, 2, (char *[]){(char *)"help", (char *)v->name, NULL});
	case 'v':
		a->broker.verbose = true;
		return 0;
	case OPTION_FAULT:
		return option_fault(v, optarg, a);
	case OPTION_CONTROL:
		a->broker.control = optarg;
		return 0;
	case OPTION_CONNECT:
		a->connect = optarg;
		return 0;
	case OPTION_SOCKET:
		a->broker.socket = optarg;
		return 0;
	case OPTION_SUMMARY:
		a->broker.summary = true;
		return 0;
	case OPTION_MEMLOCK:
		return option_memlock(v, optarg, &a->broker.memlock);
	case OPTION_STRICT:
		a->broker.strict = true;
		return 0;
	case OPTION_P2P:
		a->p2p[a->broker.np2p++] = optarg;
		return 0;
	case OPTION_IOMMU:
		return option_iommu(optarg, a);
	case OPTION_HOST_DEVICES:
		a->broker.host_devices = true;
		return 0;
	case OPTION_IOMMUFD_TEST:
		a->broker.iommufd_test = true;
		return 0;
	case OPTION_CHECK:
		return option_check(v, optarg, a);
	case OPTION_REPORT:
		a->check.report = optarg;
		a->check_given = true;
		return 0;
	case OPTION_SUPPRESSIONS:
		a->check.suppressions = optarg;
		a->check_given = true;
		return 0;
	case OPTION_TRACE:
		a->check.trace = optarg;
		a->check_given = true;
		return 0;
	case OPTION_FIRST:
		a->check.first = a->check_given = true;
		return 0;
	case OPTION_STACK_DEPTH:
		a->check_given = true;
		return option_number(v, "stack-depth", 1, 64, &a->check.depth);
	case OPTION_ERROR_EXITCODE:
		a->check_given = true;
		return option_number(v, "error-exitcode", 1, 255, &a->check.exit_code);
	}
	return usage_error(v, "option %d is not handled", c);
}

int args_parse(const struct verb *v, int argc, char **argv, struct args *a)
{
	const struct option *known = strcmp(v->name, "serve") ? run_options : serve_options;
	int c, err;

	*a = (struct args){.devices = calloc(argc + 1, sizeof(*a->devices)),
			   .p2p = calloc(argc + 1, sizeof(*a->p2p)),
			   .faults = calloc(argc + 1, sizeof(*a->faults))};
	if (!a->devices || !a->p2p || !a->faults) {
		fprintf(stderr, "pinfold: out of memory\n");
		return EXIT_PINFOLD;
	}
	a->broker.devices = a->devices;
	a->broker.faults = a->faults;
	a->broker.p2p = a->p2p;
	a->check.classes = class_set_default();
	opterr = 0;
	optind = 0;
	for (;;) {
		c = getopt_long(argc, argv, "+:d:vh", known, NULL);
		if (c < 0)
			break;
		err = c == '?' || c == ':' ? option_error(v, known, c, argv) : option_apply(v, c, a);
		if (err || a->done)
			return err;
	}
	/* A report without classes still has what happened when. */
	if (a->check.classes || a->check.report || a->check.trace)
		a->broker.check = &a->check;
	a->program = argv + optind;
	return 0;
}

void args_free(struct args *a)
{
	free(a->devices);
	free(a->p2p);
	free(a->faults);
	a->devices = a->p2p = a->faults = NULL;
}
