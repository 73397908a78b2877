#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own programs, unmodified: dmadev_autotest and testpmd, with its I/OAT driver on the emulated copy engine."""
import os
import re

import tap
from client import DEVICE, PINFOLD, WORK, call, has, needs, start, finish
from dpdk import NOBODY, SMALL, env, huge_folder, huge_pages_are_gone, needs_huge_pages, pinfold

needs("dpdk-test", "dpdk-testpmd")


def autotest(*eal, args=(), **kw):
    """What dmadev_autotest says, without its counters."""
    words, kw = pinfold(*args, program=("dpdk-test", *eal), **kw)
    out, err = call(*words, env=env(DPDK_TEST="dmadev_autotest"), status=None, **kw)
    lines = [line for line in re.split(r"[\r\n]+", out) if not line.startswith("Ops submitted")]
    return "\n".join(lines), err


def passed(out, instance=0, device=DEVICE):
    has(out, f"Test dmadev instance {instance} [{device}]", f"DMA Dev {instance}: Running copy Tests",
        f"DMA Dev {instance}: Running burst capacity Tests", f"DMA Dev {instance}: Running fill Tests", "Test OK")


def test_dmadev_autotest():
    """As an ordinary user; the next one runs as whoever runs these tests."""
    out, err = autotest(*SMALL, user=None if os.geteuid() else NOBODY, args=("--memlock", "128M"))
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


PRIMARY_AND_SECONDARY = """
cd "$1"; mkfifo in
dpdk-test $EAL -m 64 <in >primary 2>&1 &
exec 3>in
n=0; until grep -q 'RTE>>' primary; do sleep 0.1; n=$((n + 1)); [ $n -lt 2000 ] || exit 9; done
DPDK_TEST=dmadev_autotest dpdk-test --proc-type=secondary $EAL
echo quit >&3; exec 3>&-; wait; cat primary >&2
"""


def with_two_processes():
    """Its output, or None where hugetlbfs cannot be mounted."""
    try:
        mount, huge = huge_folder()
    except tap.Skip:
        return None
    words, _ = pinfold(program=("sh", "-c", PRIMARY_AND_SECONDARY, "sh", WORK.name), before=mount)
    out, err = call(*words, status=None, env=env(EAL=f"--huge-dir {huge} --file-prefix two --iova-mode=va"))
    return out.replace("\r", "\n"), err


def test_huge_pages():
    """
    In two processes if that can be: the first one lends the other its group's descriptor, and both map the registers at
    one address.

    At its end DPDK complains of DMA remapping of an unexpected size, as on Linux: it maps all pages in one piece,
    unmaps them one by one, and a container of type1 unmaps the whole with the first.
    """
    needs_huge_pages()
    out, err = with_two_processes() or autotest("--in-memory", "--iova-mode=va", "-m", "64")
    huge_pages_are_gone(out + err)
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
