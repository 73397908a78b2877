#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# migrate_test.sh PINFOLD VMM: a guest moves from one run to another, on a copy of its disk, and from one client of a
# standing broker to the next.
pinfold=$1
vmm=$2
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
fails=0

report() { # NUMBER STATUS NAME LOG
	sed 's/^/# /' "$4"
	[ "$2" = 0 ] && echo "ok $1 - $3" && return
	echo "not ok $1 - $3"
	fails=1
}

mkdir "$work/a" "$work/b"
truncate -s 1M "$work/disk.img"
"$pinfold" run --summary -d nvme,path="$work/disk.img",cmb-size=512K -- "$vmm" save "$work/a" >"$work/log" 2>&1
status=$?
report 1 $status "saved while it works" "$work/log"
grep -q 'still mapped: nothing; still pinned: nothing' "$work/log"
report 2 $? "nothing is left behind" /dev/null
cp "$work/disk.img" "$work/moved.img"
truncate -s 0 "$work/disk.img" # nobody looks back
"$pinfold" run -d nvme,path="$work/moved.img",cmb-size=512K -- "$vmm" resume "$work/a" >"$work/log" 2>&1
report 3 $? "resumed in another run" "$work/log"

truncate -s 1M "$work/served.img"
"$pinfold" serve --socket "$work/socket" -d nvme,path="$work/served.img",cmb-size=512K >/dev/null &
server=$!
n=0
while [ ! -S "$work/socket" ] && [ $n -lt 300 ]; do
	sleep 0.1
	n=$((n + 1))
done
"$pinfold" run --connect "$work/socket" -- "$vmm" save "$work/b" >"$work/log" 2>&1
report 4 $? "saved by a client of a standing broker" "$work/log"
"$pinfold" run --connect "$work/socket" -- "$vmm" resume "$work/b" >"$work/log" 2>&1
report 5 $? "resumed by another client" "$work/log"
kill $server
wait $server 2>/dev/null
echo 1..5
exit $fails
