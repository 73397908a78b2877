#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run.sh PINFOLD PROGRAM TEST: runs one test beside a fresh disk. The broker must have nothing to say at the end but
# that nothing is left.
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
truncate -s 1M "$work/disk.img"
"$1" run --summary -d nvme,path="$work/disk.img" -- "$2" "$3" 2>"$work/err"
status=$?
cat "$work/err" >&2
[ $status = 0 ] || exit $status
grep -q 'still mapped: nothing; still pinned: nothing' "$work/err"
