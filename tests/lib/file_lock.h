/* SPDX-License-Identifier: BSD-3-Clause */
/* A client that holds a file's lock inside the kernel: its write() waits for a source that does not arrive. */
#ifndef PINFOLD_TESTS_LIB_FILE_LOCK_H
#define PINFOLD_TESTS_LIB_FILE_LOCK_H

#include <stdbool.h>

/* A write of 16 bytes to the file's beginning, by a thread, has begun; fd may be closed. False, and says so: there is
 * no userfaultfd to be had here. */
bool file_lock_hold(int fd);
void file_lock_release(void); /* the write ends */

#endif
