/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs, and the two that only talk: help and version. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "base/word.h"
#include "check/class.h"
#include "cli/args.h"
#include "cli/cli.h"

#define BROKER_OPTIONS                                                                                                 \
	"  -d, --device TYPE[,KEY=VALUE]...\n"                                                                         \
	"                      add an emulated device; may be given several times\n"                                   \
	"                      -d help lists the types, -d TYPE,help the keys of one\n"                                \
	"      --fault KIND[,KEY=VALUE]...\n"                                                                          \
	"                      let something go wrong: --fault help lists kinds and keys\n"                            \
	"      --control PATH  where `pinfold ctl --control PATH` finds the broker\n"                                  \
	"      --summary       say what happened when it ends: maps, pins, DMA, faults\n"                              \
	"      --memlock SIZE  bytes that each client may pin (as in 64M), or unlimited;\n"                            \
	"                      without it the client's RLIMIT_MEMLOCK counts, as in Linux\n"                           \
	"      --strict        refuse the unsafe legacy paths that Linux only warns about\n"                           \
	"      --iommu KIND    what stands before the devices: vtd (the default) or smmuv3;\n"                         \
	"                      --iommu=help says more\n"                                                               \
	"      --p2p INITIATOR:TARGET\n"                                                                               \
	"                      let a device reach another one's memory; addresses, or all\n"                           \
	"      --check=CLASS[,...]\n"                                                                                  \
	"                      what to look for of whom made a device's DMA go astray: classes of\n"                   \
	"                      findings, all, default (without the option), none; -CLASS leaves one out;\n"            \
	"                      --check=help lists them\n"                                                              \
	"      --report FILE   what was found: JSON, or a page to look at if it ends in .html\n"                       \
	"      --trace FILE    everything that happens, for Perfetto or chrome://tracing\n"                            \
	"      --suppressions FILE\n"                                                                                  \
	"                      lines CLASS:FUNCTION: findings to leave out; * and ? match anything\n"                  \
	"      --first         stop the program at the first finding, for a debugger\n"                                \
	"      --stack-depth N frames of each stack (16)\n"                                                            \
	"      --error-exitcode N\n"                                                                                   \
	"                      exit with N if --check found something\n"                                               \
	"      --host-devices  show the machine's own PCI devices beside the emulated ones\n"                          \
	"      --iommufd-test  answer the ioctl of Linux's own iommufd tests, with mock devices\n"                     \
	"  -v, --verbose       say more\n"                                                                             \
	"  -h, --help          this text\n"

const struct verb verbs[] = {
    {"run", "[-d TYPE[,KEY=VALUE]...]... [OPTION]... [--] PROGRAM [ARG]...",
     "run a program that sees emulated PCI devices",
     BROKER_OPTIONS "      --connect PATH  use the broker of `pinfold serve --socket PATH`; no -d then\n"
		    "\n"
		    "The exit status is the program's own. 125: Pinfold failed; 126: PROGRAM cannot be\n"
		    "executed; 127: PROGRAM was not found; 2: wrong usage.\n",
     cli_run},
    {"serve", "--socket PATH [-d TYPE[,KEY=VALUE]...]... [OPTION]...",
     "keep devices for many programs, until SIGINT or SIGTERM",
     "      --socket PATH   where programs find it: pinfold run --connect PATH\n" BROKER_OPTIONS, cli_serve},
    {"ctl", "[--connect PATH | --control PATH] ORDER [ARG]",
     "give orders to a broker at work: faults, functions that come and go",
     "Orders:\n"
     "  list                what devices there are, and who has them\n"
     "  status              what faults there are, and how often each struck\n"
     "  inject KIND[,KEY=VALUE]...\n"
     "                      one fault more, as --fault has it\n"
     "  clear ID | all      take a fault back\n"
     "  remove | reset | link-down | link-up ADDRESS\n"
     "                      the fault of that name, at once\n"
     "  unbind ADDRESS      take the function from vfio-pci: asks its owner, and waits for him\n"
     "  bind ADDRESS        give it back\n"
     "  insert ADDRESS      put a removed function into its slot again\n"
     "\n"
     "Options:\n"
     "      --connect PATH  the broker of `pinfold serve --socket PATH`\n"
     "      --control PATH  the one that was given --control PATH\n"
     "  -h, --help          this text\n"
     "\n"
     "Without either it is the broker that the program itself runs under, $PINFOLD_CONTROL.\n",
     cli_ctl},
    {"help", "[VERB | CLASS]", "explain a verb, or a class of what --check finds", "", cli_help},
    {"version", "", "print the version", "", cli_version},
    {0},
};

const struct verb *verb_find(const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static void help_overview(FILE *to)
{
	fputs("Usage:\n", to);
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(to, "  pinfold %s%s%s\n      %s\n", v->name, *v->usage ? " " : "", v->usage, v->summary);
	fputs("\nExample:\n"
	      "  truncate -s 1G disk.img\n"
	      "  pinfold run -d nvme,path=disk.img -- qemu-img info nvme://0000:01:00.0/1\n",
	      to);
}

int verb_unknown(const char *name)
{
	const char *names[ARRAY_SIZE(verbs)] = {NULL};
	const char *near;

	if (!*name) {
		help_overview(stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; verbs[i].name; i++)
		names[i] = verbs[i].name;
	near = word_nearest(name, names);
	if (near)
		fprintf(stderr, "pinfold: there is no verb \"%s\"; did you mean \"%s\"?\n", name, near);
	else
		fprintf(stderr, "pinfold: there is no verb \"%s\"; to run a program: pinfold run [OPTION]... %s\n",
			name, name);
	fputs("Try `pinfold help`.\n", stderr);
	return EXIT_USAGE;
}

static int topic_unknown(const struct verb *self, const char *name)
{
	struct word_search near;

	word_search(&near, name);
	for (const struct verb *v = verbs; v->name; v++)
		word_consider(&near, v->name);
	for (unsigned int c = 0; c < CLASS_COUNT; c++)
		word_consider(&near, class_name(c));
	if (!word_found(&near))
		return usage_error(self, "\"%s\" is neither a verb nor a class of findings", name);
	return usage_error(self, "\"%s\" is neither a verb nor a class of findings; did you mean \"%s\"?", name,
			   word_found(&near));
}

int cli_help(const struct verb *self, int argc, char **argv)
{
	const struct verb *v;
	enum check_class class;

	if (argc < 2) {
		help_overview(stdout);
		return 0;
	}
	class = class_find(argv[1]);
	if (class < CLASS_COUNT && class_manual[class]) {
		fputs(class_manual[class], stdout);
		return 0;
	}
	v = verb_find(argv[1]);
	if (!v)
		return topic_unknown(self, argv[1]);
	printf("Usage: pinfold %s%s%s\n%c%s.\n", v->name, *v->usage ? " " : "", v->usage, v->summary[0] - 'a' + 'A',
	       v->summary + 1);
	if (*v->details)
		printf("\n%s", v->details);
	return 0;
}

int cli_version(const struct verb *v, int argc, char **argv)
{
	puts("pinfold " PINFOLD_VERSION);
	return 0;
}

int usage_error(const struct verb *v, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "pinfold %s: %s\nTry `pinfold help %s`.\n", v->name, text, v->name);
	return EXIT_USAGE;
}
