/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The report for machines, which doc/report.schema.json describes, and the one for people: a page that holds the same,
 * and what happened when, and needs nothing else. Belongs on the worker.
 */
#ifndef PINFOLD_CHECK_REPORT_H
#define PINFOLD_CHECK_REPORT_H

#include <stdio.h>

struct check;

/* 0, or -errno: it could not be written, or there is no memory. */
int report_write(const struct check *c, FILE *out);
int report_write_page(const struct check *c, FILE *out);

#endif
