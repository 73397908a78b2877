/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation fails in its turn: while the controller is made, and while it works. Linked with --wrap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "devices/device.h"
#include "host.h"

static unsigned int fail_at; /* the fail_at-th allocation from now on returns NULL; 0: none does */
static bool failed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
char *__wrap_strdup(const char *s);

static bool fails(void)
{
	if (!fail_at || --fail_at)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t a, size_t n)
{
	return fails() ? NULL : __real_aligned_alloc(a, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static void creation_fails_cleanly(void **state)
{
	struct host h;
	char spec[160], err[256];
	unsigned int n = 0;

	host_open(&h, "");
	snprintf(spec, sizeof(spec), "nvme,path=%s:%s", h.path, h.path);
	for (failed = true; failed; n++) {
		struct device_env env = {.loop = h.m.loop, .evs = &h.m.evs};
		struct device_place place;
		struct pci_func *f;
		int rc;

		failed = false;
		err[0] = '\0';
		fail_at = n + 1;
		rc = device_create(&env, spec, &f, &place, err, sizeof(err));
		fail_at = 0;
		/* Without its doorbell page as memory a controller is slower, and no more. */
		assert_int_equal(rc, failed && (rc || f->bar[0].live) ? -ENOMEM : 0);
		if (rc)
			assert_true(err[0]);
		else
			f->ops->destroy(f);
	}
	assert_true(n > 6);
	host_close(&h);
}

/* A command whose memory cannot be had fails with Internal Error, and the next one works. */
static void commands_fail_cleanly(void **state)
{
	for (unsigned int n = 1; n < 8; n++) {
		struct nvme_cmd cmd;
		uint64_t buf;
		struct host h;
		uint16_t status;

		host_open(&h, "");
		host_enable(&h, 16, 0);
		host_io_queue(&h, 1, 16);
		buf = host_alloc(&h, 2 * MACHINE_PAGE, MACHINE_PAGE);
		cmd = rw_cmd(NVME_IO_WRITE, 0, 16, buf, buf + MACHINE_PAGE);
		cmd.cdw12 |= BIT(30);
		memset(host_ptr(&h, buf), 0x42, 2 * MACHINE_PAGE);
		failed = false;
		fail_at = n;
		status = host_cmd(&h, 1, &cmd, NULL);
		fail_at = 0;
		/* io_uring that cannot be set up is no failure: threads do it. */
		if (failed)
			assert_true(status == NVME_INTERNAL_ERROR || status == NVME_OK);
		else
			assert_int_equal(status, NVME_OK);
		if (n <= 2)
			assert_int_equal(status, NVME_INTERNAL_ERROR);
		assert_int_equal(host_cmd(&h, 1, &cmd, NULL), NVME_OK);
		host_close(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(creation_fails_cleanly),
	    cmocka_unit_test(commands_fail_cleanly),
	};

	return cmocka_run_group_tests_name("nvme-alloc", tests, NULL, NULL);
}
