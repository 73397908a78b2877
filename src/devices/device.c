/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "devices/option.h"
#include "devices/spec.h"
#include "pci/pci.h"

const struct device_type *device_type_find(const char *name)
{
	for (const struct device_type *const *t = device_types; *t; t++)
		if (!strcmp((*t)->name, name))
			return *t;
	return NULL;
}

/* -EINVAL with a line in err, -ENOMEM. */
static int rom_load(struct pci_func *f, const char *path, char *err, size_t errlen)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret = -EINVAL;
	uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		snprintf(err, errlen, "romfile %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)PCI_ROM_MAX) {
		snprintf(err, errlen, "romfile %s: not a file of up to 16 MiB", path);
	} else {
		data = malloc(st.st_size + 1);
		ret = data ? 0 : -ENOMEM;
		if (data && read(fd, data, st.st_size) != st.st_size)
			ret = -EINVAL;
		if (!ret)
			ret = pci_add_rom(f, data, st.st_size);
		if (ret)
			snprintf(err, errlen, "romfile %s: %s", path,
				 ret == -EINVAL ? "not an expansion ROM (55 aa, PCIR), or not for such a device"
						: strerror(-ret));
	}
	free(data);
	if (fd >= 0)
		close(fd);
	return ret;
}

int device_create(const struct device_env *env, const char *spec, struct pci_func **f, struct device_place *place,
		  char *err, size_t errlen)
{
	struct device_spec s;
	int rc;

	rc = device_spec_parse(&s, spec, err, errlen);
	if (rc)
		return rc;
	rc = s.type->create(env, s.values, f, err, errlen);
	if (!rc && s.romfile) {
		rc = rom_load(*f, s.romfile, err, errlen);
		if (rc)
			(*f)->ops->destroy(*f);
	}
	if (!rc)
		*place = s.place;
	device_spec_free(&s);
	return rc;
}

/* ---- help ---- */

static const char *const kind_names[] = {
    [OPT_STRING] = "TEXT", [OPT_SIZE] = "SIZE", [OPT_UINT] = "N", [OPT_BOOL] = "on|off", [OPT_NESTED] = "KIND[:...]",
};

static int key_width(const struct device_option *o)
{
	int width = 0;

	for (; o->key; o++)
		width = MAX(width, (int)(strlen(o->key) + 1 + strlen(kind_names[o->kind])));
	return width;
}

static int default_width(const struct device_option *o)
{
	int width = strlen("required");

	for (; o->key; o++)
		if (o->def)
			width = MAX(width, (int)strlen(o->def));
	return width;
}

static void range_print(const struct device_option *o)
{
	char min[32], max[32];

	if ((o->kind != OPT_UINT && o->kind != OPT_SIZE) || !o->max || (!o->min && o->max >= INT_MAX))
		return;
	option_format(o, o->min, min, sizeof(min));
	option_format(o, o->max, max, sizeof(max));
	printf(" (%s to %s)", min, max);
}

static void options_print(const struct device_option *o, int keys, int defs)
{
	char key[80];

	for (; o->key; o++) {
		snprintf(key, sizeof(key), "%s=%s", o->key, kind_names[o->kind]);
		printf("  %-*s  %-*s  %s", keys, key, defs, o->required ? "required" : o->def ? o->def : "-", o->help);
		range_print(o);
		putchar('\n');
	}
}

static void more_print(const struct device_option *o)
{
	char buf[4096];

	for (; o->key; o++) {
		if (!o->more)
			continue;
		o->more(buf, sizeof(buf));
		printf("\n%s", buf);
	}
}

static void type_help(const struct device_type *t)
{
	int keys = MAX(key_width(t->options), key_width(device_common_options));
	int defs = default_width(t->options);

	printf("%s: %s\n\n", t->name, t->summary);
	printf("  %-*s  %-*s  %s\n", keys, "OPTION", defs, "DEFAULT", "MEANING");
	options_print(t->options, keys, defs);
	options_print(device_common_options, keys, defs);
	more_print(t->options);
	printf("\nUse: -d %s,OPTION=VALUE,... (a comma in a value is written twice)\n", t->name);
}

static void types_help(void)
{
	int width = 0;

	for (const struct device_type *const *t = device_types; *t; t++)
		width = MAX(width, (int)strlen((*t)->name));
	printf("Device types:\n");
	for (const struct device_type *const *t = device_types; *t; t++)
		printf("  %-*s  %s\n", width, (*t)->name, (*t)->summary);
	printf("\n-d TYPE,help lists the options of one.\n");
}

int device_help(const char *spec, char *err, size_t errlen)
{
	size_t n = strcspn(spec, ",");
	const struct device_type *t;
	char name[64];

	if (!strcmp(spec, "help")) {
		types_help();
		return 0;
	}
	if (strcmp(spec + n, ",help")) {
		snprintf(err, errlen, "no help on '%s'; there are -d help and -d TYPE,help", spec);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name)), spec);
	t = device_type_find(name);
	if (!t)
		return device_type_unknown(name, err, errlen);
	type_help(t);
	return 0;
}
