#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# handover_test.sh PINFOLD PROGRAM: rule D3, a run for each way.
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
fails=0
n=0
for way in exec pass; do
	n=$((n + 1))
	truncate -s 1M "$work/$way.img"
	if "$1" run --summary -d nvme,path="$work/$way.img" -- "$2" $way >"$work/log" 2>&1 &&
		grep -q 'still mapped: nothing; still pinned: nothing' "$work/log" &&
		grep -q ', 0 faults' "$work/log"; then
		result=ok
	else
		result='not ok'
		fails=1
	fi
	sed 's/^/# /' "$work/log"
	echo "$result $n - rule D3, handed over by $way"
done
echo 1..$n
exit $fails
