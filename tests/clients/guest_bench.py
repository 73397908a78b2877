#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""guest_bench.py pinfold | qemu: a guest whose disk is Pinfold's, or the one that QEMU itself emulates. Prints a line
NAME VALUE each for the seconds from launch to the first sector read, and for reads past the guest's cache: MB/s in
pieces of 128 KiB, and pieces of 4 KiB a second."""
import sys
import time

from client import disk, path
from guest import Guest, needs_guest, vfio

BYTES = 32 << 20
SMALL = 3000


def seconds(g, command):
    begin = time.monotonic()
    g.sh(command)
    return time.monotonic() - begin


def main():
    needs_guest()
    with open(disk("disk.img", BYTES), "r+b") as f:
        f.write(bytes(range(256)) * (BYTES // 256))
    devices, kw = vfio(), {}
    if sys.argv[1:] == ["qemu"]:
        devices = ["-drive", f"if=none,id=disk,format=raw,file={path('disk.img')}", "-device",
                   "nvme,drive=disk,serial=1"]
        kw["command"] = []
    begin = time.monotonic()
    with Guest(*devices, **kw) as g:
        g.wait_for("[ -b /dev/nvme0n1 ]")
        g.sh("dd if=/dev/nvme0n1 of=/dev/null bs=512 count=1 iflag=direct 2>/dev/null")
        print("boot", time.monotonic() - begin)
        read = "dd if=/dev/nvme0n1 of=/dev/null iflag=direct 2>/dev/null"
        g.sh(f"{read} bs=128k")
        print("read_128k", 4 * BYTES / 1e6 / seconds(g, f"for i in 1 2 3 4; do {read} bs=128k; done"))
        print("read_4k", SMALL / seconds(g, f"{read} bs=4k count={SMALL}"))
        g.finish()


main()
