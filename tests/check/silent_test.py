#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
No false alarms: real programs that do nothing wrong, with every class on. Guests and their drivers are in the clients'
tests, with every class on as well.
"""
import os
import shutil
import subprocess
import tempfile

import tap
from testpmd import Testpmd

PINFOLD, PROBE = os.environ["PINFOLD"], os.environ["PROBE"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-silent-")
NVME = "nvme://0000:01:00.0/1"
PATIENCE = 300


def path(name):
    return os.path.join(WORK.name, name)


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise tap.Skip(f"no {program}")


def silent(*program, device=None):
    with open(path("disk.img"), "wb") as f:
        f.truncate(64 << 20)
    p = subprocess.run([PINFOLD, "run", "--check=all", "-d", device or f"nvme,path={path('disk.img')}", "--", *program],
                       capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert p.returncode == 0, f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
    assert "pinfold" not in p.stderr, p.stderr
    return p.stdout


def test_qemu_img():
    needs("qemu-img", "qemu-io")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path("src.qcow2"), "64M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 9M", path("src.qcow2")], check=True, capture_output=True)
    silent("qemu-img", "convert", "-n", "-O", "raw", path("src.qcow2"), NVME)
    for depth in ("1", "16", "64"):
        for write in ([], ["-w"]):
            silent("qemu-img", "bench", "-f", "raw", "-c", "2000", "-d", depth, *write, NVME)
    silent("qemu-img", "bench", "-f", "raw", "-c", "500", "-d", "4", "-s", "65536", "-S", "512", "-t", "none", NVME)


def test_qemu_io():
    needs("qemu-io")
    out = silent("qemu-io", "-f", "raw", "-d", "unmap", "-c", "write -P 1 0 64k", "-c", "read -P 1 512 63k", "-c",
                 "discard 0 1M", "-c", "write -z 2M 1M", "-c", "flush", NVME)
    assert "failed" not in out, out


def test_lspci():
    needs("lspci")
    silent("lspci", "-vvv")


def test_a_driver():
    for work in ("work", "threads", "spawn", "fork-and-go-on", "duplicates"):
        silent(PROBE, work)


def test_dpdk():
    needs("dpdk-test")
    silent("sh", "-c", "echo dmadev_autotest | dpdk-test --no-huge -m 64 --no-telemetry 2>&1 | grep 'Test OK'",
           device="ioat")


def test_testpmd():
    """A network card's driver, which starts, stops, resets, sets up anew, and leaves, in the midst of traffic too."""
    needs("dpdk-testpmd")
    for cards in (("igb,net=pair:silent",) * 2, ("igb,vfs=2,driver=igb",), ("igb,net=loopback", "igb")):
        with Testpmd(*cards, options=("--check=all",), mbufs=8192) as t:
            for queues in (1, 2) if "vfs" not in cards[0] else (1,):
                t.do("port stop all", f"port config all rxq {queues}", f"port config all txq {queues}",
                     "port start all", "start tx_first", "show port xstats all", "set promisc all off",
                     "port config mtu 0 1400", "stop", "port stop all", "port reset all", "port start all",
                     "set link-down port 0", "set link-up port 0", "start tx_first", "port stop 0")
                t.do("stop", "port stop all", "port start all", "start tx_first")
            said = t.finish()
        assert "Bye..." in said and "pinfold: " not in said, said


if __name__ == "__main__":
    tap.main(globals())
