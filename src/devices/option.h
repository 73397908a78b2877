/* SPDX-License-Identifier: BSD-3-Clause */
/* One KEY=VALUE of a device specification: values and their ranges. */
#ifndef PINFOLD_DEVICES_OPTION_H
#define PINFOLD_DEVICES_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_option;
struct device_value;

/* Parses s as o's kind demands. v->str = s. On failure -EINVAL with the reason in why ("'x' is not a size ..."). */
int option_parse(const struct device_option *o, const char *s, struct device_value *v, char *why, size_t len);

/* "[DDDD:]BB:DD.F", hexadecimal; bdf = bus << 8 | dev << 3 | fn. False: something else. */
bool option_parse_addr(const char *s, int *domain, int *bdf);

/* "512M" for sizes, digits for the rest. */
void option_format(const struct device_option *o, uint64_t num, char *buf, size_t len);

#endif
