#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own programs, unmodified: dmadev_autotest and testpmd, with its I/OAT driver on the emulated copy engine."""
import os
import re

import tap
from client import DEVICE, PINFOLD, WORK, call, equal, has, needs, path, start, finish

needs("dpdk-test", "dpdk-testpmd")
NOBODY = 65534
# Without huge pages DPDK's memory is ordinary private memory, mapped for DMA in one piece.
SMALL = ("--no-huge", "-m", "64", "--iova-mode=va")


def huge_pages_free():
    with open("/proc/meminfo", encoding="ascii") as f:
        free = re.search(r"HugePages_Free:\s+(\d+)", f.read())
    return int(free.group(1)) if free else 0


def env(**more):
    """DPDK keeps its sockets and locks in a directory of the user's."""
    home = path("home")
    os.makedirs(home, exist_ok=True)
    os.chmod(home, 0o777)
    runtime = path(f"runtime-{len(os.listdir(WORK.name))}")
    os.mkdir(runtime)
    os.chmod(runtime, 0o777)
    return {**os.environ, "HOME": home, "XDG_RUNTIME_DIR": runtime, "RUNTIME_DIRECTORY": runtime, **more}


def pinfold(*args, program, devices=("ioat",), user=None, **kw):
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    for d in devices:
        args += ("-d", d)
    return (*words, PINFOLD, "run", *args, "--", *program), kw


def autotest(*eal, args=(), **kw):
    """What dmadev_autotest says, without its counters. It exits with status 0 whatever happens."""
    words, kw = pinfold(*args, program=("dpdk-test", *eal), **kw)
    out, err = call(*words, env=env(DPDK_TEST="dmadev_autotest"), **kw)
    lines = [line for line in re.split(r"[\r\n]+", out) if not line.startswith("Ops submitted")]
    return "\n".join(lines), err


def passed(out, instance=0, device=DEVICE):
    has(out, f"Test dmadev instance {instance} [{device}]", f"DMA Dev {instance}: Running copy Tests",
        f"DMA Dev {instance}: Running burst capacity Tests", f"DMA Dev {instance}: Running fill Tests", "Test OK")


def test_dmadev_autotest():
    out, err = autotest(*SMALL)
    passed(out)
    assert "fault addr" not in err, err


def test_dmadev_autotest_with_errors():
    """
    The driver believes of later models alone that they report errors. It starts the rest of a chain before it looks at
    the error, and loses a completion if it is interrupted for too long in between: hence more than one attempt.
    """
    for _ in range(3):
        out, err = autotest(*SMALL, devices=("ioat,model=icx",))
        has(err, "[DMA Read] 0000:01:00.0 fault addr 0x0 (1024 bytes), CH0 DESC ", "source: not mapped")
        if "Test OK" in out:
            break
    passed(out)
    has(out, "Running error handling Tests (errors expected)")


def test_as_an_ordinary_user():
    if os.geteuid():
        raise tap.Skip("not root: the other tests are run as an ordinary user")
    out, _ = autotest(*SMALL, user=NOBODY, args=("--memlock", "128M"))
    passed(out)


def test_huge_pages():
    if huge_pages_free() < 48:
        raise tap.Skip("fewer than 48 huge pages are free")
    out, err = autotest("--in-memory", "--iova-mode=va")
    passed(out)
    assert "fault addr" not in err, err


def test_more_than_may_be_locked():
    """DPDK maps all of its memory at once; the limit is the user's to raise."""
    out, err = autotest(*SMALL, args=("--memlock", "16M"))
    has(out + err, "Cannot set up DMA remapping, error 12 (Cannot allocate memory)")
    assert f"[{DEVICE}]" not in out, out


def test_testpmd():
    """Nothing that it could use, and the engine beside it."""
    words, _ = pinfold(program=("dpdk-testpmd", "--no-huge", "-m", "256", "--iova-mode=va", "--", "-i",
                                "--total-num-mbufs=4096"))
    p = start(*words, env=env(), stdin=-1)
    p.stdin.write("show device info all\nquit\n")
    out, err = finish(p)
    has(out + err, "Probe PCI driver: dmadev_ioat (8086:2021) device: 0000:01:00.0",
        "testpmd: No probed ethernet devices", "Bye...")


def test_devbind():
    needs("dpdk-devbind.py", "lspci")
    out, _ = call(PINFOLD, "run", "-d", "ioat", "-d", "ioat,model=icx", "--", "dpdk-devbind.py", "--status-dev", "dma")
    bound = re.findall(r"^(\S+) .*drv=(\S+)", out, re.M)
    assert (DEVICE, "vfio-pci") in bound and ("0000:02:00.0", "vfio-pci") in bound, out


if __name__ == "__main__":
    tap.main(globals())
