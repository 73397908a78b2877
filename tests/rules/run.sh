#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run.sh PINFOLD PROGRAM CASE...: runs the cases beside a fresh disk and a device that asks for pages, with the test
# interface, and the IOMMU that $IOMMU names. The broker must have nothing to say at the end but that nothing is left.
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
truncate -s 1M "$work/disk.img"
pinfold=$1
shift
"$pinfold" run ${IOMMU:+--iommu="$IOMMU"} --summary --iommufd-test -d nvme,path="$work/disk.img" -d ats -- "$@" 2>"$work/err"
status=$?
cat "$work/err" >&2
[ $status = 0 ] || exit $status
grep -q 'still mapped: nothing; still pinned: nothing' "$work/err" && exit 0
echo 'Bail out! something is left'
exit 1
