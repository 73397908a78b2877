#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# kernel.sh PROGRAM [CASE]...: runs cases on a real kernel in a virtual machine, if the tools for that lie in
# $PINFOLD_ORACLE: so that what they expect of Pinfold stays what Linux does.
oracle=${PINFOLD_ORACLE:-$(dirname "$0")/../../../shared/oracle}
program=$1
shift

skip() {
	echo "1..0 # SKIP $1"
	exit 0
}

[ -x "$oracle/run-guest.sh" ] || skip "no real kernel at hand"
for tool in qemu-system-x86_64 cpio; do
	command -v $tool >/dev/null || skip "no $tool to run a real kernel with"
done
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cp "$program" "$work/bin/vfio_client"
# QEMU's emulated IOMMU writes a line for each fault that a case provokes.
"$oracle/run-guest.sh" -t 150 "$work" \
	"vfio-bind 0000:00:04.0 >/dev/null; exec /bin/vfio_client -b 0000:00:04.0 $*" 2>"$work/err"
status=$?
grep -v '^qemu-system' "$work/err" >&2
exit $status
