/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/shadow.h"
#include "func.h"
#include "pci/pci.h"

int main(int argc, char **argv)
{
	struct pci_func f, g;
	struct shadow *s;
	int ret;
	char c;

	func_make(&f, 0x0100, 1);
	func_make(&g, 0x0a1d, 2);
	ret = shadow_new(argc > 1 && !strcmp(argv[1], "--host"), &s);
	if (ret || shadow_add(s, &f) || shadow_add(s, &g))
		return 1;
	puts(shadow_root(s));
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	shadow_free(s);
	pci_func_fini(&f);
	pci_func_fini(&g);
	return 0;
}
