/* SPDX-License-Identifier: BSD-3-Clause */
/* pinfold run: a broker, and a program that lives with it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/program.h"
#include "cli/supervise.h"

/* Descriptors 0 to 2 that we were started without: filled for us, closed again for the program. */
static void reserve_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int check_usage(const struct verb *v, const struct args *a)
{
	if (!a->program[0])
		return usage_error(v, "PROGRAM is missing");
	if (a->connect && (a->broker.ndevices || a->broker.summary || a->broker.memlock || a->broker.strict ||
			   a->broker.np2p || a->broker.iommu || a->broker.host_devices || a->broker.iommufd_test ||
			   a->broker.nfaults || a->broker.control || a->check_given))
		return usage_error(v, "with --connect, devices and other options belong to `pinfold serve`");
	return 0;
}

/* Everything up to the running program. 0 or the exit status, after a message. */
static int start(const struct verb *v, struct supervisor *s, const struct args *a)
{
	char boundary[PATH_MAX], address[PATH_MAX], control[PATH_MAX] = "", err[PATH_MAX + 256] = "";
	struct program *program;
	int ret;

	if (launch_find_boundary(boundary, sizeof(boundary), err, sizeof(err))) {
		log_error("%s", err);
		return EXIT_PINFOLD;
	}
	ret = program_new(a->program, boundary, &program, err, sizeof(err));
	if (ret) {
		log_error("%s", err);
		return ret == -ENOEXEC ? EXIT_CANNOT_RUN : EXIT_PINFOLD;
	}
	if (a->connect) {
		ret = launch_check_broker(a->connect, address, sizeof(address), err, sizeof(err)) ? EXIT_PINFOLD : 0;
		launch_control_beside(address, control, sizeof(control));
	} else {
		ret = supervisor_start_broker(s, &a->broker, address, sizeof(address), control, sizeof(control));
		if (ret)
			strcpy(err, address);
	}
	if (!ret && launch_environment(boundary, address, control)) {
		strcpy(err, strerror(ENOMEM));
		ret = EXIT_PINFOLD;
	}
	if (!ret)
		ret = supervisor_start_program(s, program_argv(program), err, sizeof(err));
	program_free(program);
	if (ret == EXIT_USAGE)
		return usage_error(v, "%s", err);
	if (ret)
		log_error("%s", err);
	return ret;
}

int cli_run(const struct verb *v, int argc, char **argv)
{
	struct supervisor s;
	struct args a;
	int ret;

	ret = args_parse(v, argc, argv, &a);
	if (!ret && !a.done)
		ret = check_usage(v, &a);
	if (ret || a.done) {
		args_free(&a);
		return ret;
	}
	if (a.broker.verbose)
		log_set_level(LOG_INFO);
	reserve_standard_fds();
	supervisor_init(&s);
	s.findings_status = a.check.exit_code;
	ret = start(v, &s, &a);
	args_free(&a);
	if (!ret)
		supervisor_wait_program(&s);
	supervisor_end_broker(&s);
	if (!ret)
		supervisor_exit(&s);
	return ret;
}
