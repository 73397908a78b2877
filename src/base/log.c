/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"

static enum log_level log_max = LOG_WARN;

void log_set_level(enum log_level level)
{
	log_max = level;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const word[] = {"", "warning: ", "", "debug: "};
	char buf[1024];
	va_list ap;
	int n, m;

	if (level > log_max)
		return;
	n = snprintf(buf, sizeof(buf), "pinfold: %s", word[level]);
	va_start(ap, fmt);
	m = vsnprintf(buf + n, sizeof(buf) - n - 1, fmt, ap);
	va_end(ap);
	n = MIN(n + m, (int)sizeof(buf) - 2);
	buf[n++] = '\n';
	/* One write, so that lines of several processes do not mix. */
	if (write(STDERR_FILENO, buf, n) < 0)
		return;
}
