/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as `--fault` argument: refused with a line of its own, or parsed to what parses again from its own words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "devices/fault.h"

const struct device_type *const device_types[] = {NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 32), err[96] = "", words[512];
	struct inject_spec s, again;
	int rc;

	if (!text)
		return 0;
	/* Most inputs get past the kind at once. */
	text[0] = 0;
	if (size && data[0] & 3) {
		strcpy(text, inject_kind_names[data[0] % INJECT_KINDS]);
		strcat(text, ",");
	}
	rc = strlen(text);
	memcpy(text + rc, data, size);
	text[rc + size] = 0;
	rc = fault_parse(text, &s, err, sizeof(err));
	free(text);
	if (rc && (rc != -EINVAL || !err[0] || !memchr(err, 0, sizeof(err))))
		abort();
	if (rc)
		return 0;
	if (s.kind >= INJECT_KINDS || s.field >= INJECT_FIELDS || !s.times || s.queue < -1 || s.vector < -1)
		abort();
	fault_format(&s, words, sizeof(words));
	if (strlen(words) + 1 == sizeof(words))
		return 0;
	if (fault_parse(words, &again, err, sizeof(err)))
		abort();
	if (again.kind != s.kind || again.after != s.after || again.at != s.at || again.lasting != s.lasting ||
	    again.times != s.times || again.seed != s.seed || again.queue != s.queue)
		abort();
	return 0;
}
