#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What befalls programs, disks and brokers: kills at any moment, files that are cut, gone or full."""
import os
import resource
import subprocess

import tap
from client import DEVICE, MIB, NVME, PINFOLD, Serve, call, disk, equal, eventually, has, needs, nvme, path, run

PROBE = os.environ["PROBE"]
KILLS = 500
FEW = 8

# Runs within one pinfold: a killer that is a client too. Each second program is killed at its work, the others wherever
# they are by then.
KILLER = f"""
import errno, os, random, subprocess, sys, time
rng, reached = random.Random(7), 0
for n in range(int(sys.argv[1])):
    p = subprocess.Popen([{PROBE!r}, "storm"], stdout=subprocess.PIPE)
    if n % 2 == 0:
        assert p.stdout.readline() == b"storm\\n"
    time.sleep(rng.random() * 0.03)
    p.kill()
    reached += p.wait() == -9 and n % 2 == 0
    # Its last children close what they share with it in their own time.
    while True:
        try:
            os.close(os.open("/dev/vfio/1", os.O_RDWR))
            break
        except OSError as e:
            assert e.errno == errno.EBUSY, e
            time.sleep(0.001)
print(reached)
"""


def test_kill_at_random_moments():
    disk("disk.img")
    with Serve("--summary") as s:
        s.run("python3", "-c", KILLER, "20")
        fds, maps, kib = len(s.descriptors()), s.mappings(), s.resident()
        reached = int(s.run("python3", "-c", KILLER, str(KILLS))[0])
        equal(reached, KILLS / 2)
        # A few come and go with what a device is doing; what is lost with a kill would be hundreds.
        eventually(lambda: len(s.descriptors()) <= fds + FEW, lambda: f"{fds} before, now {s.descriptors()}")
        eventually(lambda: s.mappings() <= maps + FEW, lambda: f"{maps} mappings before, {s.mappings()} now")
        # A sanitizer keeps freed memory for a while, and looks for leaks itself.
        assert os.environ["SANITIZE"] != "none" or s.resident() < kib + 8192, \
            f"the broker grew from {kib} to {s.resident()} KiB"
        equal(s.run(PROBE, "work")[0], "work: done\n")
    has(s.err, "still mapped: nothing; still pinned: nothing")


def test_second_opener_is_refused():
    disk("disk.img")
    with Serve() as s:
        first = s.start(PROBE, "hold", stdin=subprocess.PIPE)
        equal(first.stdout.readline(), "holding\n")
        has(s.run(PROBE, "open-group")[0], "Device or resource busy\n")
        equal(first.communicate("\n")[0], "hold: done\n")
        has(s.run(PROBE, "open-group")[0], "opened\n")


def test_summary_counts_programs_that_used_a_device():
    disk("disk.img")
    with Serve("--summary") as s:
        s.run("ls", "/sys/bus/pci/devices")
        s.run("sh", "-c", f"{PROBE} work; true")
        s.run("true")
    has(s.err, "programs that used a device: 1\n")


def script(*lines):
    return "\n".join(("q() { qemu-io -f raw \"$@\" " + NVME + "; echo \"status $?\"; }",) + lines)


def statuses(out):
    return [int(line.split()[1]) for line in out.splitlines() if line.startswith("status")]


def test_truncated_disk():
    needs("qemu-io")
    disk("disk.img", 16 * MIB)
    out, err = run("bash", "-c", script(
        "q -c 'write -P 1 0 1M'", f"truncate -s 0 {path('disk.img')}",
        "q -c 'read -P 1 0 64k'", "q -c 'write -P 2 0 64k'", "q -c 'read 1M 64k'",
        f"truncate -s 16M {path('disk.img')}", "q -c 'read -P 2 0 64k' -c 'read -P 0 1M 64k'"))
    equal(statuses(out), [0, 1, 0, 1, 0], out + err)
    equal(out.count("read failed: Input/output error"), 2, out + err)


def test_vanished_disk():
    """The file lives on without its name, as for any program that has it open."""
    needs("qemu-io")
    disk("disk.img", 16 * MIB)
    out, err = run("bash", "-c", script("q -c 'write -P 1 0 1M'", f"rm {path('disk.img')}",
                                        "q -c 'read -P 1 0 1M' -c 'write -P 2 2M 64k' -c 'read -P 2 2M 64k' -c flush"))
    equal(statuses(out), [0, 0], out + err)
    _, err = run("true", status=2)
    has(err, path("disk.img"), "No such file or directory")


def test_missing_disk():
    for name, why in (("none.img", "No such file or directory"), ("", "Is a directory"),
                      ("disk.img/x", "Not a directory")):
        disk("disk.img", MIB)
        _, err = run("true", disks=(name,), status=2)
        has(err, "cannot open", why, "Try `pinfold help run`")
        _, err = call(PINFOLD, "serve", "--socket", path("s"), "-d", nvme(name), status=2)
        has(err, why, "Try `pinfold help serve`")


def test_full_disk():
    """What cannot be written fails, and all else goes on."""
    needs("qemu-io")
    disk("disk.img", 64 * MIB)
    limited = subprocess.Popen(
        [PINFOLD, "run", "-d", nvme("disk.img"), "--", "bash", "-c", script(
            "q -c 'write -P 1 0 1M'", "q -c 'write -P 2 47M 2M'", "q -c 'write -P 2 60M 64k'",
            "q -c 'read -P 1 0 1M' -c 'write -P 3 1M 1M' -c 'read -P 3 1M 1M' -c 'flush'")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (48 * MIB, 48 * MIB)))
    out, err = limited.communicate(timeout=300)
    equal(limited.returncode, 0, err)
    equal(statuses(out), [0, 1, 1, 0], out + err)
    equal(out.count("write failed"), 2, out + err)


def test_full_file_system():
    needs("qemu-io", "unshare")
    tmpfs = path("tmpfs")
    os.makedirs(tmpfs, exist_ok=True)
    mount = f"mount -t tmpfs -o size=2m none {tmpfs}"
    unshare = next((u for u in (["unshare", "-m"], ["unshare", "-rm"])
                    if subprocess.run(u + ["sh", "-c", mount], check=False, capture_output=True).returncode == 0), None)
    if not unshare:
        return  # the limit above is as much as can be had here
    inner = script("q -c 'write -P 1 0 1M'", "q -c 'write -P 2 1M 4M'",
                   "q -d unmap -c 'read -P 1 0 1M' -c 'discard 1M 4M' -c 'write -P 3 1M 64k' -c 'read -P 3 1M 64k'")
    out, err = call(*unshare, "sh", "-c", f"{mount} && truncate -s 16M {tmpfs}/d && exec \"$@\"", "sh", PINFOLD, "run",
                    "-d", f"nvme,path={tmpfs}/d", "--", "bash", "-c", inner)
    equal(statuses(out), [0, 1, 0], out + err)
    has(out, "write failed")


def cpu_of(*program):
    """Seconds of processor time, the broker's included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*program)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_idle_costs_nothing():
    disk("disk.img", MIB)
    used = cpu_of("sleep", "10") - cpu_of("sleep", "0")
    assert used < 0.05, f"{used:.3f} s of processor time in 10 s of sleep"


def test_lspci():
    needs("lspci")
    disk("disk.img", MIB)
    out, _ = run("lspci", "-nnk")
    has(out, "01:00.0 ", "[0108]", "[1b36:0010]", "Kernel driver in use: vfio-pci")
    out, _ = run("lspci", "-vv")
    equal(sum(not line[:1].isspace() for line in out.splitlines() if line), 1, out)
    has(out, "Non-Volatile memory controller", "IOMMU group: 1", "Region 0: Memory at", "64-bit", "[size=16K]",
        "Power Management version 3", "Express (v2) Endpoint", "MSI-X: Enable- Count=65", "Vector table: BAR=0",
        "Kernel driver in use: vfio-pci")
    for bad in ("unknown", "<access denied>", "!!!"):
        assert bad not in out, out
    equal(len([x for x in run("lspci", "-xxxx", "-s", DEVICE)[0].splitlines() if x[3:5] == ": " or x[2:4] == ": "]),
          4096 // 16)


if __name__ == "__main__":
    tap.main(globals())
