#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the copy engine: what a program that copies with it sees."""
import tap
from client import equal, eventually, has
from fault_test import Program

COPY = """
import ctypes, mmap, os, struct, time
g = Group(1).attach()
d = g.device("0000:01:00.0")
memory = mmap.mmap(-1, 16 * 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(g.container, TYPE + 113, struct.pack("IIQQQ", 32, 3, address, 0x10000, 16 * 4096))
os.pwrite(d.fd, b"\\x06\\x00", d.region(CONFIG)[1] + 4)
reg = d.map()
def put64(at, v):
    reg[at // 4], reg[at // 4 + 1] = v & 0xffffffff, v >> 32
CHAN = 0x80
reg[CHAN // 4 + 1] = 0x20
put64(CHAN + 0x18, 0x11000)
for n in range(8):
    memory[n * 64:n * 64 + 64] = struct.pack("<IIQQQ32x", 4096, 8, 0x12000, 0x13000 + 4096 * n, 0x10000 + 64 * (n + 1))
put64(CHAN + 0x10, 0x10000)
memory[0x2000:0x3000] = b"x" * 4096
def ring(n):
    d.bar[CHAN + 6:CHAN + 8] = struct.pack("H", n)
def status():
    return struct.unpack("Q", memory[0x1000:0x1008])[0]
def wait(n):
    while reg[CHAN // 4 + 2] & ~63 != 0x10000 + 64 * (n - 1):
        time.sleep(0.001)
def copied(n):
    return memory[0x3000 + 4096 * n:0x4000 + 4096 * n] == b"x" * 4096
"""


def program(text, *faults):
    options = [word for f in faults for word in ("--fault", f)]
    return Program(COPY + text, *options, device=["-d", "ioat"])


def test_without_a_fault():
    p = program("ring(2); wait(2); say(f'{copied(0)} {copied(1)} {copied(2)} {status():x}')")
    equal(p.says(), "True True False 10041")
    _, err = p.end()
    assert "injected" not in err, err


def test_corrupt():
    for field, wrong in (("status", lambda v: v & ~7 == 0x10000 and v & 7 != 1), ("id", lambda v: v & 7 == 1)):
        p = program("ring(1); wait(1); say(f'{copied(0)} {status()}')", f"corrupt,field={field},seed=5")
        ok, v = p.says().split()
        equal(ok, "True")
        assert int(v) != 0x10001 and wrong(int(v)), hex(int(v))
        p.end()


def test_wrong_dma():
    p = program("ring(2)\nwhile reg[CHAN // 4 + 2] & 7 != 3:\n    pass\nsay(f'{copied(0)} {copied(1)} "
                "{reg[CHAN // 4 + 10]:x}')", "wrong-dma,after=1,addr=0x7000000")
    equal(p.says(), "True False 200")
    _, err = p.end()
    has(err, "0x7000000", "wrong-dma, queue 0")


def test_stuck_and_taken_back():
    p = program("ring(3)\nsay('rung')\nwait(3)\nsay(copied(2))", "stuck-queue,after=1")
    equal(p.says(), "rung")
    eventually(lambda: p.ctl("status").splitlines()[1].split()[3] == "1", "it is stuck")
    p.ctl("clear", "1")
    equal(p.says(), "True")
    p.end()


def test_delay():
    p = program("t = time.monotonic()\nring(2)\nwait(2)\nsay(time.monotonic() - t >= 0.2)", "delay,after=1,for=200ms")
    equal(p.says(), "True")
    p.end()


def test_surprise_removal():
    p = program("say(reg[2])\nring(8)\nhear()\nsay(f'{reg[2]:x} {status() >> 48}')")
    p.says()
    p.ctl("remove", "0000:01:00.0")
    eventually(lambda: "removed" in p.ctl("list"), "it is removed")
    p.hears("go")
    equal(p.says(), "ffffffff 0")
    p.end()


if __name__ == "__main__":
    tap.main(globals())
