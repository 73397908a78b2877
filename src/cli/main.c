/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	const struct verb *v;

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	v = verb_find(name);
	if (!v)
		return verb_unknown(name);
	return v->run(v, argc - 1, argv + 1);
}
