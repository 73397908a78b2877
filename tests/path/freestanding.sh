#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# freestanding.sh ARCHIVE: it needs no symbol of anybody's.
undefined=$(nm -u "$1" | grep ' U ')
[ -z "$undefined" ] && exit 0
echo "$1 refers to:"
echo "$undefined"
exit 1
