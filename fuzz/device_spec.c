/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as `-d` argument: parsed or refused with a line of its own; never create() with values out of range. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"

enum { PATH, SIZE, QUEUES, READONLY };

static const struct device_option options[] = {
    [PATH] = {.key = "path", .kind = OPT_STRING, .required = true, .help = ""},
    [SIZE] = {.key = "size", .kind = OPT_SIZE, .help = "", .min = 512, .max = 1ULL << 43},
    [QUEUES] = {.key = "queues", .kind = OPT_UINT, .def = "8", .help = "", .min = 1, .max = 64},
    [READONLY] = {.key = "readonly", .kind = OPT_BOOL, .def = "off", .help = ""},
    {},
};

static int create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		  size_t errlen)
{
	if (!v[PATH].str || !v[PATH].str[0] || v[QUEUES].num < 1 || v[QUEUES].num > 64 || v[READONLY].num > 1)
		abort();
	if (v[SIZE].str && (v[SIZE].num < 512 || v[SIZE].num > 1ULL << 43))
		abort();
	return 0;
}

static const struct device_type disk = {.name = "disk", .summary = "", .options = options, .create = create};
const struct device_type *const device_types[] = {&disk, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct device_env env = {};
	struct device_place place;
	struct pci_func *f = NULL;
	char *spec = malloc(size + 6), err[64];
	int rc;

	if (!spec)
		return 0;
	/* Half of the inputs get past the type at once. */
	memcpy(spec, "disk,", 5);
	memcpy(spec + 5, data, size);
	spec[size + 5] = '\0';
	err[0] = '\0';
	rc = device_create(&env, size & 1 ? spec : spec + 5, &f, &place, err, sizeof(err));
	if (rc && (rc != -EINVAL || !err[0] || !memchr(err, '\0', sizeof(err))))
		abort();
	if (!rc &&
	    (place.bdf < -1 || place.bdf > 0xffff || place.group < -1 || place.domain < 0 || place.domain > 0xffff))
		abort();
	free(spec);
	return 0;
}
