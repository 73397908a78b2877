/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommufd_calls [-q] [-n CALLS] FIRST [LAST]: performs the sequences of these seeds on /dev/iommu and says what each
 * call was answered; with -q one digest for each sequence.
 * iommufd_calls [-q] -j: takes lines "SEED CALLS SKIP,SKIP..." from standard input instead, "-" for no skips.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perform.h"

struct sink {
	uint64_t seed, digest;
	bool quiet;
};

static void sink_line(void *arg, const char *line)
{
	struct sink *s = arg;

	if (!s->quiet)
		printf("%lu.%s\n", s->seed, line);
	for (; *line; line++)
		s->digest = (s->digest ^ (uint8_t)*line) * 0x100000001b3;
}

static void sequence(uint64_t seed, unsigned int calls, const bool *skip, bool quiet)
{
	static struct plan p;
	struct sink s = {.seed = seed, .digest = 0xcbf29ce484222325, .quiet = quiet};

	plan_make(&p, seed, calls);
	perform(&p, skip, sink_line, &s);
	if (quiet)
		printf("%lu %016lx\n", seed, s.digest);
	fflush(stdout);
}

static int jobs(bool quiet)
{
	char line[4096];

	while (fgets(line, sizeof(line), stdin)) {
		bool skip[PLAN_CALLS] = {};
		unsigned long seed, calls;
		char *at = line;

		seed = strtoul(at, &at, 10);
		calls = strtoul(at, &at, 10);
		while (*at == ' ' || *at == ',') {
			unsigned long i = strtoul(at + 1, &at, 10);

			if (*at == '-')
				break;
			if (i < PLAN_CALLS)
				skip[i] = true;
		}
		if (!quiet)
			printf("job %s", line);
		sequence(seed, calls, skip, quiet);
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool quiet = false, from_stdin = false;
	unsigned int calls = 50;
	uint64_t first, last;
	int c;

	while ((c = getopt(argc, argv, "qjn:")) != -1) {
		if (c == 'q')
			quiet = true;
		else if (c == 'j')
			from_stdin = true;
		else if (c == 'n')
			calls = atoi(optarg);
		else
			return 2;
	}
	perform_setup();
	if (from_stdin)
		return jobs(quiet);
	if (optind >= argc) {
		fprintf(stderr, "usage: %s [-q] [-n CALLS] FIRST [LAST], or -j\n", argv[0]);
		return 2;
	}
	first = strtoull(argv[optind], NULL, 0);
	last = optind + 1 < argc ? strtoull(argv[optind + 1], NULL, 0) : first;
	for (uint64_t seed = first; seed <= last; seed++)
		sequence(seed, calls, NULL, quiet);
	return 0;
}
