/* SPDX-License-Identifier: BSD-3-Clause */
/* A device specification, "TYPE[,KEY=VALUE]...", parsed but not acted upon. */
#ifndef PINFOLD_DEVICES_SPEC_H
#define PINFOLD_DEVICES_SPEC_H

#include "devices/device.h"

struct device_spec {
	char *text; /* what the values' strings point into */
	const struct device_type *type;
	struct device_value *values; /* as many as the type has options */
	struct device_value *nested; /* the one of OPT_NESTED, once it is given; its text is own */
	struct device_place place;
	const char *romfile; /* NULL: none */
};

/* Keys that every device has. Ends with key NULL. */
extern const struct device_option device_common_options[];

/* 0, -EINVAL with one line in err, -ENOMEM. On failure *s needs no device_spec_free. */
int device_spec_parse(struct device_spec *s, const char *text, char *err, size_t errlen);
void device_spec_free(struct device_spec *s);

/* Writes to err that there is no type of that name, and which was meant. -EINVAL. */
int device_type_unknown(const char *name, char *err, size_t errlen);

#endif
