#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# man.sh ROOT: mandoc finds nothing wrong with the manual pages.
cd "$1" || exit 1
command -v mandoc >/dev/null || { echo "mandoc is not here"; exit 77; }
mandoc -T lint -W warning doc/*.[1-9] doc/check/*.[1-9]
