#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# docker_sandbox_test SANDBOX PROBE [UID]: runs the probe under the sandbox (as UID, if given), as TAP.
# Without root only the filter can be tested, with no_new_privs.
set -u

sandbox=$1 probe=$2 uid=${3:-}

if [ "$(id -u)" != 0 ]; then
	[ -z "$uid" ] || { echo "1..0 # SKIP needs root to become another user"; exit 0; }
	exec "$sandbox" -- "$probe"
fi

# Where the other user can reach it, whatever the modes of the build directory.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir" && cp "$probe" "$dir/probe" || exit 99

# The probe must be able to fail: without the sandbox it does.
if "$dir/probe" >"$dir/out" 2>&1; then
	echo "Bail out! the probe passes outside the sandbox"
	exit 1
fi

# Docker's fourteen, as far as the caller has them; no_new_privs stays off if the caller has CAP_SYS_ADMIN (bit 21).
held=0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
nnp=$((1 - (held >> 21 & 1)))

if [ -n "$uid" ]; then
	"$sandbox" --uid "$uid" -- "$dir/probe" 0 "$nnp"
else
	"$sandbox" -- "$dir/probe" "$(printf %x $((held & 0xa80425fb)))" "$nnp"
fi
