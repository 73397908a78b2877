# SPDX-License-Identifier: BSD-3-Clause
"""What the clients' tests share: disks, brokers, and programs that run under pinfold."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

import tap

PINFOLD = os.environ["PINFOLD"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-clients-")
os.chmod(WORK.name, 0o755)
DEVICE = "0000:01:00.0"
NVME = f"nvme://{DEVICE}/1"
# Far longer than anything takes: it ends what hangs.
PATIENCE = 300
MIB = 1 << 20


def equal(got, wanted, text=""):
    assert got == wanted, f"got {got!r}, wanted {wanted!r} {text}"


def has(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is not in {text!r}"


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise tap.Skip(f"no {program}")


def eventually(what, why):
    """Waits until what() is true; why() says what is the matter if it never is."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        value = what()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(why())


def path(name):
    return os.path.join(WORK.name, name)


def disk(name, size=64 << 20):
    """A new file of zeroes."""
    with open(path(name), "wb") as f:
        f.truncate(size)
    return path(name)


def contents(name, offset=0, length=-1):
    with open(path(name), "rb") as f:
        f.seek(offset)
        return f.read(length)


def start(*args, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen(args, text=True, **kw)


def finish(process, status=0):
    """Its output, once it has ended with status."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert status is None or process.returncode == status, \
        f"{process.args}: status {process.returncode}\nstdout: {tail(out)}\nstderr: {tail(err)}"
    return out, err


def tail(text):
    return text if not text or len(text) < 3000 else "..." + text[-3000:]


def call(*args, status=0, **kw):
    return finish(start(*args, **kw), status)


def run(*program, disks=("disk.img",), options=(), status=0, **kw):
    """pinfold run with one controller on disks (or with what options say); standard output and error."""
    device = ["-d", nvme(*disks)] if disks else []
    return call(PINFOLD, "run", *device, *options, "--", *program, status=status, **kw)


def nvme(*disks):
    return "nvme,path=" + ":".join(path(d) for d in disks)


class Serve:
    """pinfold serve, for programs of the with statement's body."""

    def __init__(self, *options, disks=("disk.img",)):
        self.socket = path(f"serve-{time.monotonic_ns()}")
        self.process = start(PINFOLD, "serve", "--socket", self.socket, "-d", nvme(*disks), *options)
        self.process.stdout.readline()
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.err = finish(self.process, 0 if kind is None else None)[1]

    def run(self, *program, **kw):
        return run(*program, disks=(), options=("--connect", self.socket), **kw)

    def start(self, *program, **kw):
        return start(PINFOLD, "run", "--connect", self.socket, "--", *program, **kw)

    def descriptors(self):
        return sorted(os.readlink(f"/proc/{self.pid}/fd/{n}") for n in os.listdir(f"/proc/{self.pid}/fd"))

    def mappings(self):
        """Those of files: what the C library and a sanitizer keep for themselves comes and goes as they like."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as f:
            return sum("/" in line for line in f)

    def resident(self):
        """In KiB."""
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as f:
            return int(f.read().split("VmRSS:")[1].split()[0])
