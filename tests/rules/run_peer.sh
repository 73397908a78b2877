#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run_peer.sh PINFOLD PROGRAM OPTION EXPECT CASE...: the cases with two controllers, the second with a memory buffer.
# OPTION is the broker's (or none). EXPECT, words: faults (the first has some, and they are counted), taint (said once,
# and in the summary), clean (neither). With INITIATOR=ioat the first is a copy engine.
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
truncate -s 1M "$work/a.img" "$work/b.img"
pinfold=$1
program=$2
option=$3
expect=$4
shift 4
[ "$option" = none ] && option=
type=${INITIATOR:-nvme}
first=$type
[ "$type" = nvme ] && first=nvme,path="$work/a.img"
# shellcheck disable=SC2086 # several words
"$pinfold" run --summary --iommufd-test $option -d "$first" -d nvme,path="$work/b.img",cmb-size=1M \
	-- "$program" "$@" 2>"$work/err"
status=$?
cat "$work/err" >&2
[ $status = 0 ] || exit $status
bail() {
	echo "Bail out! $1"
	exit 1
}
grep -q 'still mapped: nothing; still pinned: nothing' "$work/err" || bail 'something is left'
case $expect in
*faults*)
	grep -Eq "0000:01:00.0 $type: .* [1-9][0-9]* faults" "$work/err" || bail 'no fault was counted'
	grep -q 'memory of a device that has been revoked' "$work/err" || bail 'no fault was reported as what it was'
	grep -Eq 'device memory: [1-9][0-9]* mappings revoked' "$work/err" || bail 'no revocation was counted'
	;;
esac
taints=$(grep -c 'TAINTED' "$work/err")
case $expect in
*taint*) [ "$taints" = 2 ] || bail "TAINTED is said $taints times, not once and in the summary" ;;
*) [ "$taints" = 0 ] || bail 'tainted' ;;
esac
case $expect in
*refused*) grep -q 'refused: 0000:01:00.0 may not reach the memory of 0000:02:00.0' "$work/err" || bail 'refused in silence' ;;
esac
exit 0
