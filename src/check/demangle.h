/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PINFOLD_CHECK_DEMANGLE_H
#define PINFOLD_CHECK_DEMANGLE_H

/*
 * What a person calls the function that a linker knows by this name: "driver::queue::free(int)". NULL if it has no
 * other name, or none that is known; otherwise the caller's to free. Belongs on the worker.
 */
char *demangle(const char *name);

#endif
