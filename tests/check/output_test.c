/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "check/output.h"

static char dir[] = "/tmp/pinfold-output-XXXXXX";

static const char *path(const char *name)
{
	static char buf[128];

	snprintf(buf, sizeof(buf), "%s/%s", dir, name);
	return buf;
}

static void write_text(const char *to, const char *text, int err)
{
	FILE *out = output_open(to);

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(output_close(to, out, err), err);
}

static void assert_content(const char *of, const char *text)
{
	char buf[64] = "";
	FILE *f = fopen(of, "r");

	assert_non_null(f);
	assert_int_equal(fread(buf, 1, sizeof(buf) - 1, f), strlen(text));
	fclose(f);
	assert_string_equal(buf, text);
}

static void what_is_there_stays_until_it_is_whole(void **state)
{
	char file[128];

	strcpy(file, path("report"));
	assert_int_equal(output_check(file), 0);
	assert_int_equal(access(file, F_OK), -1);
	write_text(file, "one", 0);
	assert_content(file, "one");
	write_text(file, "two", -ENOSPC);
	assert_content(file, "one");
	assert_int_equal(output_check(file), 0);
	write_text(file, "three", 0);
	assert_content(file, "three");
	assert_int_equal(access(path("report.part"), F_OK), -1);
}

static void what_cannot_be_written_is_known(void **state)
{
	char file[128];

	assert_int_equal(output_check("/nowhere/report"), -ENOENT);
	assert_int_equal(output_check("/dev/null/report"), -ENOTDIR);
	assert_int_equal(output_check("/proc/report"), -ENOENT);
	assert_int_equal(output_check(dir), -EISDIR);
	strcpy(file, path("file"));
	memset(file + strlen(file), 'x', 8);
	assert_int_equal(output_check(path("a/b")), -ENOENT);
}

/* A device is written to, and nothing takes its place. */
static void devices_stay(void **state)
{
	struct stat before, after;
	FILE *out;

	assert_int_equal(stat("/dev/full", &before), 0);
	assert_int_equal(output_check("/dev/full"), 0);
	out = output_open("/dev/full");
	assert_non_null(out);
	fputs("text", out);
	assert_int_equal(output_close("/dev/full", out, 0), -ENOSPC);
	assert_int_equal(stat("/dev/full", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_true(S_ISCHR(after.st_mode));
}

/* Through a link the file that it names is written, and the link stays what it is. */
static void links_stay(void **state)
{
	char link[128];

	strcpy(link, path("link"));
	assert_int_equal(symlink("target", link), 0);
	write_text(path("target"), "old", 0);
	write_text(link, "new", 0);
	assert_content(path("target"), "new");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_there_stays_until_it_is_whole),
	    cmocka_unit_test(what_cannot_be_written_is_known),
	    cmocka_unit_test(devices_stay),
	    cmocka_unit_test(links_stay),
	};
	char command[64];
	int ret;

	if (!mkdtemp(dir))
		return 1;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) || ret;
}
