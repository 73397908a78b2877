#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# install.sh BUILDDIR: what is installed under DESTDIR is complete, and runs from there.
set -eu
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
prefix=$(meson introspect "$build" --buildoptions |
	python3 -c 'import json, sys; print({o["name"]: o["value"] for o in json.load(sys.stdin)}["prefix"])')

DESTDIR=$root meson install -C "$build" --no-rebuild --quiet >"$work/log" 2>&1 || {
	cat "$work/log"
	exit 1
}

n=0
check() {
	what=$1
	n=$((n + 1))
	shift
	if "$@" >"$work/out" 2>&1; then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what"
		sed 's/^/# /' "$work/out"
	fi
}

# Exactly one file of that name lies below the prefix.
there() {
	[ "$(find "$root$prefix" -path "*/$1" | wc -l)" = 1 ]
}

echo 1..18
pinfold=$root$prefix/bin/pinfold
for f in bin/pinfold lib*/pinfold/libpinfold-boundary.so lib*/pinfold/pinfold-loader \
	lib*/libpinfold-engine.a lib*/pkgconfig/pinfold.pc \
	include/pinfold/iommu/iommu.h include/pinfold/mm/mm.h include/pinfold/base/event.h \
	man/man1/pinfold.1 bash-completion/completions/pinfold; do
	check "$f is there" there "$f"
done
check "the version" "$pinfold" version
check "the device types" "$pinfold" run -d help

# By the installed library, not that of the build tree.
boundary_used() {
	env -u PINFOLD_BOUNDARY "$pinfold" run -- cat /proc/self/maps >"$work/maps" || return
	grep -q "$root$prefix/.*/libpinfold-boundary.so" "$work/maps"
}
check "the installed boundary library is used" boundary_used

sees_disk() {
	truncate -s 1M "$work/disk.img"
	env -u PINFOLD_BOUNDARY "$pinfold" run -d nvme,path="$work/disk.img" -- cat /sys/bus/pci/devices/0000:01:00.0/class |
		grep -qx 0x010802
}
check "a program sees the disk" sees_disk

static_too() {
	env -u PINFOLD_BOUNDARY "$pinfold" run -d nvme,path="$work/disk.img" -- busybox ls /sys/bus/pci/devices |
		grep -qx 0000:01:00.0
}
if command -v busybox >/dev/null; then
	check "a static program sees it too" static_too
else
	n=$((n + 1))
	echo "ok $n - a static program sees it too # SKIP no busybox"
fi

moved() {
	mv "$root$prefix" "$work/elsewhere"
	env -u PINFOLD_BOUNDARY "$work/elsewhere/bin/pinfold" run -- true
	status=$?
	mv "$work/elsewhere" "$root$prefix"
	return $status
}
check "the tree can be moved" moved

cat >"$work/engine.c" <<'END'
#include "base/event.h"
#include "iommu/ioas.h"
#include "mm/mm.h"

int main(void)
{
	struct events evs;
	struct ioas *io;
	uint64_t bytes;

	events_init(&evs);
	io = ioas_new(&evs);
	if (!io || ioas_unmap(io, 0, UINT64_MAX, &bytes))
		return 1;
	ioas_free(io);
	return 0;
}
END
pc=$(dirname "$(find "$root" -name pinfold.pc)")
compiles() {
	# shellcheck disable=SC2046 # words
	${CC:-cc} -Wall -Werror -std=gnu17 -o "$work/engine" "$work/engine.c" \
		$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$root$prefix" --cflags --libs pinfold) $SANITIZE
}
case $(meson introspect "$build" --buildoptions) in
*'"value": "address,undefined"'*) SANITIZE=-fsanitize=address,undefined ;;
*'"value": "thread"'*) SANITIZE=-fsanitize=thread ;;
*) SANITIZE= ;;
esac
check "a program compiles against the engine" compiles
check "and runs" "$work/engine"
