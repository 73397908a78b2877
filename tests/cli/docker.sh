#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# docker.sh BUILDDIR SANDBOX TEST [UID]: installs the tree where anybody can read it, and runs tests/cli/TEST under
# Docker's default profile, as UID if that is given.
set -eu
build=$1 sandbox=$2 test=$3 uid=${4:-}
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "$uid" ] && [ "$(id -u)" != 0 ]; then
	echo "1..0 # SKIP needs root to become another user"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet >"$work/log" 2>&1 || {
	cat "$work/log"
	exit 1
}
cp -r "$here" "$work/cli"
cp -r "$here/../lib" "$work/lib"
cp "$sandbox" "$work/sandbox"
mkdir -m 1777 "$work/tmp"
chmod -R a+rX "$work"

PINFOLD=$(find "$work/root" -path '*/bin/pinfold')
PINFOLD_BOUNDARY=$(find "$work/root" -name libpinfold-boundary.so)
export PINFOLD PINFOLD_BOUNDARY PINFOLD_REAL=1 PYTHONPATH="$work/lib" PYTHONDONTWRITEBYTECODE=1 TMPDIR="$work/tmp"
export PATH=/usr/local/bin:/usr/bin:/bin
unset XDG_RUNTIME_DIR
cd "$work/tmp"
# Not exec: the trap is to run.
"$work/sandbox" ${uid:+--uid "$uid"} -- python3 "$work/cli/$test"
