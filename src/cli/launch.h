/* SPDX-License-Identifier: BSD-3-Clause */
/* What has to be true before the program can be started: the boundary library found, the environment set, a standing
 * broker there. */
#ifndef PINFOLD_CLI_LAUNCH_H
#define PINFOLD_CLI_LAUNCH_H

#include <stddef.h>

/* The absolute path of the boundary library. 0, or -ENOENT/-EINVAL with one line in err. */
int launch_find_boundary(char *path, size_t size, char *err, size_t errlen);

/* Changes our own environment, which the program inherits. 0 or -ENOMEM. */
int launch_environment(const char *boundary, const char *address, const char *control);

/*
 * A standing broker's address for ENV_SOCKET, after asking it whether it is one. 0, or -errno with one line in err.
 */
int launch_check_broker(const char *path, char *address, size_t size, char *err, size_t errlen);

/* Where a standing broker takes orders, given what programs connect to; "" if that has no room. */
void launch_control_beside(const char *address, char *control, size_t size);

#endif
