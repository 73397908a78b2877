/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults on purpose as a person writes them: "KIND[,KEY=VALUE]...". */
#ifndef PINFOLD_DEVICES_FAULT_H
#define PINFOLD_DEVICES_FAULT_H

#include <stddef.h>

#include "pci/inject.h"

/* 0; -EINVAL with one line in err, which names the nearest kind or key; -ENOMEM. */
int fault_parse(const char *text, struct inject_spec *s, char *err, size_t errlen);
/* The same, in as few words as say it. */
void fault_format(const struct inject_spec *s, char *buf, size_t len);
/* Kinds and keys, for a person. Returns the length, as snprintf does. */
size_t fault_help(char *buf, size_t len);

#endif
