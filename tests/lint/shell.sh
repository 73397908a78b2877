#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# shell.sh ROOT: every shell script parses, and shellcheck finds nothing where it is installed.
cd "$1" || exit 1
scripts=$(grep -lE '^#!(/bin/sh|/bin/bash|/usr/bin/env bash)' pinfold .ci/run scripts/* tests/*/* bench/* 2>/dev/null)
for s in $scripts completion/pinfold.bash; do
	bash -n "$s" || exit 1
done
if ! command -v shellcheck >/dev/null; then
	echo "shellcheck is not here; the scripts parse"
	exit 0
fi
# shellcheck disable=SC2086 # a list of words
shellcheck $scripts && shellcheck -s bash completion/pinfold.bash
