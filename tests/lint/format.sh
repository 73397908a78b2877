#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# format.sh ROOT: every C file is as clang-format leaves it. Another version than 14 has other opinions.
cd "$1" || exit 1
if ! clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
	echo "clang-format 14 is not here"
	exit 77
fi
find src tests fuzz bench -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
