# SPDX-License-Identifier: BSD-3-Clause
"""A virtual machine of QEMU's whose disks are the emulated controllers, through vfio-pci."""
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time

import tap
from client import PATIENCE, PINFOLD, WORK, equal, has, nvme, path, start, tail

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE = os.environ.get("PINFOLD_GUEST") or os.path.join(ROOT, "build", "guest")
QEMU = "qemu-system-x86_64"
VIOMMU = ["-device", "intel-iommu,intremap=on,caching-mode=on"]
# Of an ordinary user too.
SBIN = os.environ["PATH"] + ":/usr/sbin:/sbin"


def needs_guest():
    """Ends the test as skipped where there is no machine to be had."""
    try:
        look_for_guest()
    except tap.Skip as why:
        print(f"1..0 # SKIP {why}")
        sys.exit(0)


def look_for_guest():
    for program in (QEMU, "mkfs.ext4", "e2fsck", "debugfs"):
        if not shutil.which(program, path=SBIN):
            raise tap.Skip(f"no {program}")
    for name in ("vmlinuz", "initramfs.gz"):
        if not os.path.exists(os.path.join(IMAGE, name)):
            raise tap.Skip(f"no {name} in {IMAGE}: scripts/guest-image makes it")


def tool(*args, status=0):
    """A program of e2fsprogs; its standard output as bytes."""
    done = subprocess.run(args, env={**os.environ, "PATH": SBIN}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=PATIENCE)
    assert done.returncode == status, f"{args}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout


def ext4(name, size=64 << 20):
    """A new image with an empty file system; its path."""
    with open(path(name), "wb") as f:
        f.truncate(size)
    tool("mkfs.ext4", "-q", "-F", path(name))
    os.chmod(path(name), 0o666)
    return path(name)


def check(name):
    """The host finds no fault with the file system."""
    tool("e2fsck", "-fn", path(name))


def file_in(name, file):
    """What the file system of image name holds at file."""
    return tool("debugfs", "-R", f"cat {file}", path(name))


def vfio(n=1, **kw):
    """Arguments for the nth controller, behind a port of its own from which it can be unplugged."""
    more = "".join(f",{k}={v}" for k, v in kw.items())
    return ["-device", f"pcie-root-port,id=port{n},chassis={n},slot={n}",
            "-device", f"vfio-pci,host=0000:{n:02x}:00.0,bus=port{n},id=disk{n}{more}"]


class Stream:
    """A connection that is waited on for as long as the machine lives."""

    def __init__(self, machine, name):
        self.machine, self.socket, self.buffer = machine, socket.socket(socket.AF_UNIX), b""
        while True:
            with contextlib.suppress(OSError):
                self.socket.connect(name)
                return
            machine.alive()
            time.sleep(0.02)

    def line(self):
        limit = time.monotonic() + PATIENCE
        while b"\n" not in self.buffer:
            if select.select([self.socket], [], [], 1)[0]:
                more = b""
                with contextlib.suppress(ConnectionResetError):
                    more = self.socket.recv(1 << 16)
                if not more:
                    self.machine.alive(limit=10)
                self.buffer += more
            self.machine.alive()
            if time.monotonic() > limit:
                raise AssertionError(f"no answer: {self.machine.story()}")
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace")

    def send(self, text):
        self.socket.sendall(text.encode())


def kernel(image):
    """Unpacked, if it is there, so that the guest need not do it."""
    unpacked = os.path.join(image, "vmlinux")
    return unpacked if os.path.exists(unpacked) else os.path.join(image, "vmlinuz")


class Guest:
    """with Guest(...) as g: a machine that has booted. options are pinfold's; devices QEMU's."""
    count = 0

    def __init__(self, *devices, disks=("disk.img",), options=(), memory="256M", cpus=1, machine="q35",
                 accel="tcg,thread=multi", append="", wrap=(), command=None, boot=True, image=IMAGE, **kw):
        Guest.count += 1
        # Whoever runs QEMU makes its sockets here.
        folder = path("guests")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o777)
        self.base = os.path.join(folder, str(Guest.count))
        self.console, self.said, self.boot = self.base + ".console", self.base + ".err", boot
        chardev = "socket,server=on,wait=off,path=" + self.base
        if command is None:
            command = [PINFOLD, "run", "--check=all", *[w for d in disks for w in ("-d", nvme(d))], *options, "--"]
        with open(self.said, "wb") as err:
            self.process = start(
                *wrap, *command, QEMU, "-accel", accel, "-cpu", "max", "-machine", machine, "-smp", str(cpus),
                "-m", memory, "-nodefaults", "-no-user-config", "-display", "none",
                "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
                "-chardev", f"{chardev}.sh,id=sh", "-serial", "chardev:sh",
                "-chardev", f"{chardev}.qmp,id=qmp", "-qmp", "chardev:qmp",
                "-kernel", kernel(image), "-initrd", os.path.join(image, "initramfs.gz"),
                "-append", "console=ttyS0 panic=-1 no_timer_check tsc=reliable random.trust_cpu=on quiet " + append,
                *devices, stdout=err, stderr=err, cwd=WORK.name, **kw)
        self.pid = self.process.pid

    def __enter__(self):
        try:
            self.shell = Stream(self, self.base + ".sh")
            self.qmp = Stream(self, self.base + ".qmp")
            self.qmp.line()
            self.do("qmp_capabilities")
            if self.boot:
                self.wait_ready()
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def qemu(self):
        """Its process, which pinfold runs."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                    if comm.read().startswith("qemu-system"):
                        return int(pid)
        raise AssertionError("no QEMU below pinfold")

    def story(self):
        def end(name):
            try:
                with open(name, encoding="utf-8", errors="replace") as f:
                    return tail(f.read())
            except OSError:
                return ""
        return f"\nconsole: {end(self.console)}\nqemu: {end(self.said)}"

    def errors(self):
        with open(self.said, encoding="utf-8", errors="replace") as f:
            return f.read()

    def alive(self, limit=0):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(limit)
        assert self.process.returncode is None, f"QEMU ended with {self.process.returncode}{self.story()}"

    def wait_ready(self):
        while self.shell.line() != "@@ready":
            pass

    def sh(self, command, status=0):
        """What a line of shell prints in the guest."""
        self.shell.send(command + "\n")
        lines = []
        while not (line := self.shell.line()).startswith("@@"):
            lines.append(line)
        out = "\n".join(lines)
        assert status is None or int(line[2:]) == status, f"{command}: {line[2:]}\n{out}{self.story()}"
        return out

    def do(self, command, **arguments):
        """A QMP command's answer. Events that come meanwhile are kept."""
        self.qmp.send(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        while True:
            answer = json.loads(self.qmp.line())
            if "event" in answer:
                self.events.append(answer)
            else:
                assert "return" in answer, f"{command}: {answer}{self.story()}"
                return answer["return"]

    @property
    def events(self):
        return self.__dict__.setdefault("_events", [])

    def event(self, name, **data):
        """Waits for it."""
        while True:
            for e in self.events:
                if e["event"] == name and data.items() <= e.get("data", {}).items():
                    self.events.remove(e)
                    return e
            answer = json.loads(self.qmp.line())
            assert "event" in answer, answer
            self.events.append(answer)

    def monitor(self, line):
        return self.do("human-monitor-command", **{"command-line": line})

    def pci_of(self, disk):
        """The guest's address of a block device's controller."""
        return self.sh(f"basename $(readlink -f /sys/block/{disk}/device/device)")

    def wait_for(self, what):
        """Until a shell condition holds in the guest."""
        self.sh(f"n=0; until {what}; do sleep 0.1; n=$((n+1)); [ $n -lt 3000 ] || exit 1; done")

    def unplug(self, n=1):
        self.do("device_del", id=f"disk{n}")
        self.event("DEVICE_DELETED", device=f"disk{n}")

    def plug(self, n=1):
        self.do("device_add", driver="vfio-pci", host=f"0000:{n:02x}:00.0", bus=f"port{n}", id=f"disk{n}")

    def finish(self):
        """Switches it off; what QEMU and pinfold said."""
        self.shell.send("sync; poweroff -f\n")
        self.process.wait(PATIENCE)
        equal(self.process.returncode, 0, self.story())
        return self.errors()


def mount(g, disk="nvme0n1", at="/mnt"):
    g.wait_for(f"[ -b /dev/{disk} ]")
    g.sh(f"mount -t ext4 /dev/{disk} {at}")


def write_file(g, name, mib):
    """Random bytes; their checksum."""
    g.sh(f"dd if=/dev/urandom of={name} bs=1M count={mib} conv=fsync 2>/dev/null")
    return g.sh(f"sha256sum <{name}").split()[0]


def sum_of(g, name):
    """As the device has it, not the guest's cache."""
    g.sh("echo 3 >/proc/sys/vm/drop_caches")
    return g.sh(f"sha256sum <{name}").split()[0]


def summary_is_clean(text):
    has(text, "still mapped: nothing; still pinned: nothing")
    assert " 0 faults" in text, text
    assert " finding" not in text, text  # a guest's drivers do nothing that the checker could mind
