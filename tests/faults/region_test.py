#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A controller with a hole in what can be mapped of BAR 0 and a region of its own, seen by a program under pinfold."""
import errno
import fcntl
import mmap
import os
import struct
import sys

import tap
import vfiodev
from client import PINFOLD, call, disk, path

CAP_SPARSE, CAP_TYPE = 1, 2
PAGE = 4096


def region(d, index):
    got = bytearray(struct.pack("IIIIQQ", 256, 0, index, 0, 0, 0) + bytes(224))
    fcntl.ioctl(d.fd, vfiodev.REGION_INFO, got)
    argsz, flags, _, at, size, offset = struct.unpack_from("IIIIQQ", got)
    return flags, size, offset, got[at:] if at else None


def seen():
    """What a program sees: run under pinfold."""
    d = vfiodev.Group(vfiodev.group_of("0000:01:00.0")).attach().device("0000:01:00.0")
    flags, size, offset, cap = region(d, 0)
    ident, version, _, n = struct.unpack_from("HHII", cap)
    assert (flags & 0xf, ident, version) == (0xf, CAP_SPARSE, 1), (flags, cap)
    areas = [struct.unpack_from("QQ", cap, 16 + 16 * i) for i in range(n)]
    mappable = {page for start, length in areas for page in range(start, start + length, PAGE)}
    assert 0 < len(mappable) < size // PAGE, areas
    for page in range(0, size, PAGE):
        def attempt(page=page):
            mmap.mmap(d.fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset + page).close()
        assert vfiodev.errno_of(attempt) == (0 if page in mappable else errno.EINVAL), page
    first = mmap.mmap(d.fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)
    assert struct.unpack_from("I", first, 8)[0] == 0x10400
    flags, size, offset, cap = region(d, 9)
    ident, _, _, kind, subtype = struct.unpack_from("HHIII", cap)
    assert (flags & 7, ident, kind, subtype, size) == (1, CAP_TYPE, 0x80001b36, 2, 512), (flags, cap)
    log = os.pread(d.fd, 4096, offset)
    assert len(log) == 512 and 250 < struct.unpack_from("H", log, 1)[0] < 400 and log[3] == 100, log
    assert vfiodev.errno_of(os.pwrite, d.fd, b"x", offset) == errno.EINVAL


def test_a_program_sees_areas_and_a_region():
    disk("disk.img")
    device = f"nvme,path={path('disk.img')},sparse=on,log-region=on"
    call(PINFOLD, "run", "-d", device, "--", sys.executable, __file__, "seen")


if __name__ == "__main__":
    if sys.argv[1:] == ["seen"]:
        seen()
    else:
        tap.main(globals())
