#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each kind of fault, seen by programs: what they notice, that they notice nothing without it, and that they go on."""
import os
import re
import subprocess
import sys

import tap
from client import DEVICE, NVME, PINFOLD, disk, equal, eventually, finish, has, needs, path, run, start

HERE = os.path.dirname(os.path.abspath(__file__))
INJECTED = re.compile(r"fault injected: (.*)")


def qemu_io(*commands, faults=(), **kw):
    needs("qemu-io")
    args = [word for c in commands for word in ("-c", c)]
    options = [word for f in faults for word in ("--fault", f)]
    return run("qemu-io", "-f", "raw", *args, NVME, options=options, **kw)


def failures(out):
    """Which of the commands' answers were errors, in order."""
    lines = [l for l in out.splitlines() if "ops;" not in l]
    return [n for n, l in enumerate(lines) if "failed" in l]


class Program:
    """A Python program under pinfold that says and hears lines, and orders to its broker."""

    def __init__(self, text, *options, device=None):
        self.control = path("control")
        source = "from vfiodev import *\nfrom select import select\n" + text
        device = device or ["-d", "nvme,path=" + path("disk.img")]
        env = dict(os.environ, PYTHONPATH=HERE)
        self.process = start(PINFOLD, "run", *device, "--control", self.control, *options, "--", sys.executable, "-c",
                             source, stdin=subprocess.PIPE, env=env)

    def hears(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def says(self):
        return self.process.stdout.readline().strip()

    def ctl(self, *order, status=0):
        out, err = finish(start(PINFOLD, "ctl", "--control", self.control, *order), status)
        return out + err

    def end(self, status=0):
        return finish(self.process, status)


OPEN = f"""
g = Group(group_of("{DEVICE}")).attach()
d = g.device("{DEVICE}")
"""


def test_without_a_fault():
    disk("disk.img")
    out, err = qemu_io(*["write -P 1 0 4k"] * 4, *["read -P 1 0 4k"] * 4)
    equal(failures(out), [])
    assert "injected" not in err


def test_corrupt_completion():
    disk("disk.img")
    out, err = qemu_io(*["write -P 1 0 4k"] * 8, faults=["corrupt,after=2,times=2"], status=None)
    equal(failures(out), [2, 3])
    equal(len(INJECTED.findall(err)), 2)
    has(err, "corrupt, queue 1 command", "status")


def test_wrong_dma_is_a_fault_and_an_error():
    disk("disk.img")
    out, err = qemu_io("write -P 1 0 4k", "write -P 2 4k 4k", "write -P 3 8k 4k",
                       faults=["wrong-dma,after=1,addr=0x6660000"], status=None)
    equal(failures(out), [1])
    has(err, "0x6660000", "wrong-dma", "[DMA Read]")
    with open(path("disk.img"), "rb") as f:
        content = f.read(12288)
    equal((content[0], content[4096], content[8192]), (1, 0, 3))


def test_wrong_dma_goes_where_it_says():
    """One bit wrong, and a device that can reach it: the data lands in the wrong place, and no error tells."""
    text = """
import ctypes, mmap, struct, time, os, fcntl
memory = mmap.mmap(-1, 8 * 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(g.container, TYPE + 113, struct.pack("IIQQQ", 32, 3, address, 0x10000, 8 * 4096))
os.pwrite(d.fd, b"\\x06\\x00", d.region(CONFIG)[1] + 4)
reg = d.map()
def ready(want):
    while reg[0x1c // 4] & 1 != want:
        time.sleep(0.001)
reg[0x14 // 4] = 0
ready(0)
reg[0x24 // 4] = 7 << 16 | 7
for at, iova in ((0x28, 0x10000), (0x30, 0x11000)):
    reg[at // 4] = iova
    reg[at // 4 + 1] = 0
reg[0x14 // 4] = 4 << 20 | 6 << 16 | 1
ready(1)
memory[0:64] = struct.pack("BBHIQQQQ6I", 6, 0, 7, 0, 0, 0, 0x12000, 0, 1, 0, 0, 0, 0, 0)
reg[0x1000 // 4] = 1
while not memory[4096 + 14] & 1:
    time.sleep(0.001)
say(f"{memory[2 * 4096:3 * 4096] == bytes(4096)} {memory[5 * 4096:6 * 4096] == bytes(4096)}")
"""
    disk("disk.img")
    p = Program(OPEN + text, "--fault", "wrong-dma,queue=0,addr=0x15000")
    equal(p.says(), "True False")
    p.end()


def test_probability_and_seed():
    disk("disk.img")

    def strikes(seed):
        writes = ["write 0 4k"] * 300
        out, err = qemu_io(*writes, faults=[f"corrupt,p=0.02,seed={seed}"], status=None)
        hits = failures(out)
        assert hits and len(hits) < 60, hits
        return hits

    first = strikes(7)
    equal(strikes(7), first)
    assert strikes(8) != first


def test_delay():
    disk("disk.img")
    out, err = qemu_io("write -P 1 0 4k", "read -P 1 0 4k", faults=["delay,for=300ms"])
    equal(failures(out), [])
    has(err, "delay, queue 1")
    # Its own clock, which began before the command did and ended after its completion.
    seconds = [float(m.group(1)) for m in re.finditer(r"ops; (\d+\.\d+) sec", out)]
    assert max(seconds) >= 0.29, out


def test_lost_interrupt_and_stuck_queue():
    """The program hangs in its read until the fault is taken back or its time is over."""
    disk("disk.img")
    out, err = qemu_io("write -P 1 0 4k", "read -P 1 0 4k", faults=["stuck-queue,after=1,for=200ms"])
    equal(failures(out), [])
    has(err, "stuck-queue, queue 1")
    needs("qemu-io")
    control = path("control-stuck")
    p = start(PINFOLD, "run", "-d", "nvme,path=" + path("disk.img"), "--control", control, "--fault", "stuck-queue",
              "--", "qemu-io", "-f", "raw", "-c", "read -P 1 0 4k", NVME)
    status = eventually(lambda: [l for l in call_ctl(control, "status").splitlines() if "stuck-queue" in l and
                                 l.split()[3] == "1"], "the queue is stuck")
    assert p.poll() is None, status
    call_ctl(control, "clear", "all")
    out, _ = finish(p)
    equal(failures(out), [])


def call_ctl(control, *order):
    p = start(PINFOLD, "ctl", "--control", control, *order)
    out, _ = p.communicate()
    return out


def test_lost_interrupt():
    text = """
import ctypes, mmap, struct, time, os, fcntl
memory = mmap.mmap(-1, 8 * 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(g.container, TYPE + 113, struct.pack("IIQQQ", 32, 3, address, 0x10000, 8 * 4096))
os.pwrite(d.fd, b"\\x06\\x00", d.region(CONFIG)[1] + 4)
vector = d.listen(MSIX)
reg = d.map()
def ready(want):
    while reg[0x1c // 4] & 1 != want:
        time.sleep(0.001)
reg[0x14 // 4] = 0
ready(0)
reg[0x24 // 4] = 7 << 16 | 7
for at, iova in ((0x28, 0x10000), (0x30, 0x11000)):
    reg[at // 4] = iova
    reg[at // 4 + 1] = 0
reg[0x14 // 4] = 4 << 20 | 6 << 16 | 1
ready(1)
def identify(n):
    memory[n * 64:n * 64 + 64] = struct.pack("BBHIQQQQ6I", 6, 0, n, 0, 0, 0, 0x12000, 0, 1, 0, 0, 0, 0, 0)
    reg[0x1000 // 4] = n + 1
    while not memory[4096 + 16 * n + 14] & 1:
        time.sleep(0.001)
identify(0)
# The next one's interrupt comes; what is counted is one, because that of the first never does.
identify(1)
select([vector], [], [])
say(os.eventfd_read(vector))
"""
    disk("disk.img")
    p = Program(OPEN + text, "--fault", "lost-irq,vector=0")
    equal(p.says(), "1")
    _, err = p.end()
    has(err, "lost-irq, vector 0")
    p = Program(OPEN + text)
    equal(p.says(), "2")
    p.end()


def test_reset_from_outside():
    disk("disk.img")
    text = """
import time
reg = d.map()
reg[0x24 // 4] = 7 << 16 | 7
say(reg[0x24 // 4])
hear()
say(reg[0x24 // 4])
say(d.config(4, 2) & 2)
"""
    p = Program(OPEN + text)
    equal(p.says(), str(7 << 16 | 7))
    p.ctl("reset", DEVICE)
    eventually(lambda: "1  reset" in p.ctl("status"), "it has struck")
    p.hears("go")
    equal(p.says(), "0")
    equal(p.says(), "2")
    p.end()


def test_link_down_and_up():
    disk("disk.img")
    text = """
import os
reg = d.map()
version = reg[2]
err = d.listen(ERR)
say("ready")
assert select([err], [], [])[0]
say(f"{reg[2]:x} {d.read(8):x} {d.config(0x4, 2) & ~0x400:x} {errno_of(fcntl.ioctl, d.fd, RESET)}")
sysfs = "/sys/bus/pci/devices/" + os.listdir("/sys/bus/pci/devices")[0]
say(open(sysfs + "/config", "rb").read(4).hex())
hear()
say(f"{reg[2] == version} {d.config(0x4, 2) & 2} {errno_of(fcntl.ioctl, d.fd, RESET)}")
"""
    p = Program(OPEN + text)
    equal(p.says(), "ready")
    p.ctl("link-down", DEVICE)
    equal(p.says(), "ffffffff ffffffff fbff 25")
    equal(p.says(), "ffffffff")
    has(p.ctl("list"), "link down")
    p.ctl("link-up", DEVICE)
    eventually(lambda: "link down" not in p.ctl("list"), "the link is up")
    p.hears("go")
    equal(p.says(), "True 2 0")
    p.end()


def test_surprise_removal():
    disk("disk.img")
    text = f"""
import os
import time
reg = d.map()
version = reg[2]
req = d.listen(REQ)
node = "/sys/bus/pci/devices/{DEVICE}"
cdev = "/dev/vfio/devices/vfio0"
say("ready")
assert select([req], [], [])[0]
config = open(node + "/config", "rb").read(4).hex()
say(f"{{reg[2]:x}} {{d.read(8):x}} {{config}} {{os.path.exists(node)}}")
say(errno_of(g.device, "{DEVICE}"))
say(errno_of(os.open, cdev, os.O_RDWR))
os.close(d.fd)
# A mapping holds the device as a descriptor does.
say(f"{{reg[2]:x}} {{os.path.exists(node)}}")
del reg
d.reg = None
d.bar.close()
# The broker hears of a close in its own time.
for _ in range(3000):
    if os.path.exists(node):
        time.sleep(0.01)
say(f"{{os.path.exists(node)}} {{os.listdir('/sys/kernel/iommu_groups')}} {{os.listdir('/dev/vfio/devices')}}")
say(f"{{os.path.exists('/dev/vfio/1')}} {{errno_of(g.flags)}}")
"""
    for order in (("remove", DEVICE), ("inject", f"remove,dev={DEVICE},at=50ms")):
        p = Program(OPEN + text)
        equal(p.says(), "ready")
        p.ctl(*order)
        equal(p.says(), "ffffffff ffffffff ffffffff True")
        equal(p.says(), "19")
        equal(p.says(), "2")
        equal(p.says(), "ffffffff True")
        equal(p.says(), "False [] []")
        equal(p.says(), "False 19")
        p.end()


def test_a_disk_that_is_pulled_out():
    """qemu-io's own driver: what is under way fails or hangs, and the next program finds nothing."""
    disk("disk.img")
    p = Program("""
import os
say("ready")
hear()
say(os.listdir("/sys/bus/pci/devices"))
hear()
say(os.listdir("/sys/bus/pci/devices"))
g = Group(group_of("0000:01:00.0")).attach()
say(g.device("0000:01:00.0").config(0))
""")
    equal(p.says(), "ready")
    p.ctl("remove", DEVICE)
    eventually(lambda: "removed" in p.ctl("list"), "it is removed")
    has(p.ctl("reset", DEVICE, status=2), "no device")
    p.hears("go")
    equal(p.says(), "[]")
    p.ctl("insert", DEVICE)
    p.hears("go")
    equal(p.says(), f"['{DEVICE}']")
    equal(p.says(), str(0x00101b36))
    p.end()


def test_mistakes():
    disk("disk.img")
    for fault, words in (("corupt", "did you mean 'corrupt'?"), ("corrupt,aftr=1", "did you mean 'after'?"),
                         ("corrupt,p=2", "probability"), ("corrupt,at=soon", "not a time"),
                         ("corrupt,vector=1", "vector"), ("remove,dev=09:00.0", "no device at 0000:09:00.0"),
                         ("corrupt,after", "needs a value"), ("corrupt,p=0.1,p=0.2", "twice"),
                         ("", "there are remove"), ("delay,for=0", "not a time"), ("corrupt,field=phase", "status")):
        _, err = run("true", options=("--fault", fault), status=2)
        has(err, words, "Try `pinfold help run`.")
        equal(err.count("\n"), 2)
    out, _ = run("true", options=("--fault", "help"))
    has(out, "stuck-queue", "seed", "occasions")


if __name__ == "__main__":
    tap.main(globals())
