/* SPDX-License-Identifier: BSD-3-Clause */
/* The report for machines: doc/report.schema.json says what is in it. Belongs on the worker. */
#ifndef PINFOLD_CHECK_REPORT_H
#define PINFOLD_CHECK_REPORT_H

#include <stdio.h>

struct check;

/* 0, or -errno: it could not be written, or there is no memory. */
int report_write(const struct check *c, FILE *out);

#endif
