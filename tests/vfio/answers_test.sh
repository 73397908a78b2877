#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# answers_test.sh pinfold|kernel ANSWERS EXPECTED: what the program `answers` is told, against what Linux 6.12 tells it.
#   pinfold  under $PINFOLD, with an NVMe disk
#   kernel   on a real kernel in a virtual machine, if the tools for that lie in $PINFOLD_ORACLE: so that EXPECTED stays
#            true. Its output replaces EXPECTED when $PINFOLD_ORACLE_UPDATE is set.
set -u

mode=$1 answers=$2 expected=$3
oracle=${PINFOLD_ORACLE:-$(dirname "$expected")/../../../shared/oracle}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

case $mode in
pinfold)
	truncate -s 64M "$work/disk"
	"$PINFOLD" run -d nvme,path="$work/disk" -- "$answers" 0000:01:00.0 >"$work/got" || exit 1
	;;
kernel)
	if [ ! -x "$oracle/run-guest.sh" ]; then
		echo "no real kernel at hand"
		exit 77
	fi
	for tool in qemu-system-x86_64 cpio; do
		if ! command -v $tool >/dev/null; then
			echo "no $tool to run a real kernel with"
			exit 77
		fi
	done
	mkdir -p "$work/overlay/bin"
	cp "$answers" "$work/overlay/bin/answers"
	"$oracle/run-guest.sh" -t 120 "$work/overlay" \
		'vfio-bind 0000:00:04.0 >/dev/null; /bin/answers 0000:00:04.0' >"$work/got" || exit 1
	if [ -n "${PINFOLD_ORACLE_UPDATE:-}" ]; then
		cp "$work/got" "$expected"
	fi
	;;
esac
diff -u "$expected" "$work/got"
