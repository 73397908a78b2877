#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Virtual functions: what sysfs shows of them, the token that their users share with the physical function's, and DPDK's
testpmd, unmodified, on two of them. The kernel's answers are those of Linux 6.12 (vfio_pci_core_match and below).
"""
import os
import re
import sys

import tap
from client import PINFOLD, call, equal, finish, has, needs, path, start

# Each line: what is opened, and the errno, or "ok". Descriptors stay open until it ends, unless it says "close".
OPENER = r"""
import errno, fcntl, os, struct, sys
GET_API_VERSION, SET_IOMMU, GROUP_SET_CONTAINER, GET_DEVICE_FD, FEATURE = (0x3b64 + n for n in (0, 2, 4, 6, 17))
container = os.open("/dev/vfio/vfio", os.O_RDWR)
groups, held = {}, []
for line in sys.stdin:
    word, _, name = line.strip().partition(" ")
    bdf = name.split(" ")[0]
    try:
        if word == "close":
            os.close(held.pop())
            answer = "ok"
        elif word == "set":
            uuid = bytes.fromhex(name.replace("-", ""))
            fcntl.ioctl(held[-1], FEATURE, bytearray(struct.pack("=II", 8 + len(uuid), 2 << 16) + uuid))
            answer = "ok"
        else:
            n = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{bdf}/iommu_group"))
            if n not in groups:
                groups[n] = os.open(f"/dev/vfio/{n}", os.O_RDWR)
                fcntl.ioctl(groups[n], GROUP_SET_CONTAINER, struct.pack("i", container))
                if len(groups) == 1:
                    fcntl.ioctl(container, SET_IOMMU, 3)
            held.append(fcntl.ioctl(groups[n], GET_DEVICE_FD, bytearray(name.encode() + b"\0")))
            answer = "ok"
    except OSError as e:
        answer = errno.errorcode[e.errno]
    print(answer, flush=True)
"""
PF, VF0, VF1 = "0000:01:00.0", "0000:01:10.0", "0000:01:10.2"
A, B = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3", "14d63f20-8445-11ea-8900-1f9ce7d5650d"


def dialogue(device, *steps):
    """(what, the answer that is wanted) ..."""
    p = start(PINFOLD, "run", "-d", device, "--", sys.executable, "-c", OPENER, stdin=-1)
    p.stdin.write("".join(what + "\n" for what, _ in steps))
    p.stdin.close()
    p.stdin = None
    out, _ = finish(p)
    equal(list(zip((what for what, _ in steps), out.split())), list(steps))


def test_token_with_a_driver_of_the_hosts():
    dialogue("igb,vfs=2,driver=igb", (f"open {VF0}", "ok"), (f"open {VF1} vf_token={A}", "EINVAL"),
             (f"open {VF1} ", "ok"), (f"set {A}", "ENOTTY"))


def test_token():
    """The physical function's user names one when it opens it, if no virtual one is in use; later he has to know it."""
    dialogue("igb,vfs=2", (f"open {VF0}", "EACCES"), (f"open {VF0} vf_token={A}", "EACCES"),
             (f"open {PF} vf_token={A}", "ok"), (f"open {VF0}", "EACCES"), (f"open {VF0} vf_token={B}", "EACCES"),
             (f"open {VF0}  vf_token={A.upper()} ", "ok"), (f"open {PF}", "EACCES"),
             (f"open {PF} vf_token={B}", "EACCES"), (f"open {PF} vf_token={A}", "ok"), (f"set {B}", "ok"),
             (f"open {VF1} vf_token={A}", "EACCES"),
             (f"open {VF1} vf_token={B}", "ok"), ("close", "ok"), ("close", "ok"), ("close", "ok"),
             (f"open {PF}", "ok"), (f"open {VF1} vf_token={B}", "ok"))


def test_token_that_is_none():
    dialogue("igb,vfs=1", (f"open {PF} vf_token={A[:-1]}", "EINVAL"),
             (f"open {PF} vf_token={A.replace('-', '_')}", "EINVAL"),
             (f"open {PF} vf_token={A} vf_token={A}", "EINVAL"), (f"open {PF} token={A}", "EINVAL"),
             (f"open {PF} vf_token=g{A[1:]}", "EINVAL"), (f"open {PF}", "ok"),
             ("set 00112233", "EINVAL"), (f"set {A}", "ok"))
    dialogue("igb", (f"open {PF} vf_token={A}", "EINVAL"), (f"open {PF}", "ok"), (f"set {A}", "ENOTTY"))


def test_sysfs():
    out, _ = call(PINFOLD, "run", "-d", "igb,vfs=2,driver=igb", "--", "sh", "-c", f"""
        cd /sys/bus/pci/devices
        for f in sriov_totalvfs sriov_numvfs sriov_offset sriov_stride sriov_vf_device ari_enabled; do
            echo $f $(cat {PF}/$f)
        done
        for f in vendor device class; do echo $f $(cat {VF1}/$f); done
        for l in {PF}/virtfn0 {PF}/virtfn1 {VF0}/physfn {VF1}/physfn; do echo $l $(basename $(readlink -f $l)); done
        for d in {PF} {VF0} {VF1}; do echo group $(basename $(readlink $d/iommu_group)); done
        for d in {PF} {VF0}; do echo driver $(basename $(readlink $d/driver)); done
        [ -e {PF}/physfn ] || [ -e {VF0}/sriov_numvfs ] || echo none""")
    equal(out.split("\n")[:-1], [
        "sriov_totalvfs 8", "sriov_numvfs 2", "sriov_offset 128", "sriov_stride 2", "sriov_vf_device 10ca",
        "ari_enabled 1",
        "vendor 0x8086", "device 0x10ca", "class 0x020000",
        f"{PF}/virtfn0 {VF0}", f"{PF}/virtfn1 {VF1}", f"{VF0}/physfn {PF}", f"{VF1}/physfn {PF}",
        "group 1", "group 2", "group 3", "driver igb", "driver vfio-pci", "none"])


def test_groups():
    """Below a switch whose ports do not keep peers apart there is one group; where they do, one of each function."""
    tree = ("-d", "pcie-root-port", "-d", "igb,vfs=2,driver=igb")
    show = ("sh", "-c", "cd /sys/bus/pci/devices; for d in *; do echo $d $(basename $(readlink $d/iommu_group)); done")
    out, _ = call(PINFOLD, "run", *tree, "--", *show)
    equal(len(set(line.split()[1] for line in out.splitlines())), 4, out)
    out, _ = call(PINFOLD, "run", "-d", "pcie-root-port,acs=off", *tree[2:], "--", *show)
    equal(len(set(line.split()[1] for line in out.splitlines())), 1, out)


def testpmd(device, *eal, program):
    needs("dpdk-testpmd")
    home = path("home")
    os.makedirs(home, exist_ok=True)
    p = start(PINFOLD, "run", "-d", device, "--", "dpdk-testpmd", "--no-huge", "-m", "128", "--no-telemetry",
              "--iova-mode=va", *eal, "--", "-i", "--total-num-mbufs=8192", stdin=-1,
              env={**os.environ, "HOME": home, "XDG_RUNTIME_DIR": home, "RUNTIME_DIRECTORY": home})
    p.stdin.write("\n".join((*program, "quit", "")))
    return finish(p)


def test_testpmd():
    """Two of them send to each other: nothing is lost on the way, once both have stopped."""
    out, err = testpmd("igb,vfs=2,driver=igb,mac=02:00:00:00:10:00", program=(
        "set fwd mac", "set eth-peer 0 02:00:00:00:10:02", "set eth-peer 1 02:00:00:00:10:01", "start tx_first",
        "show port info 0", "stop", "show port stats all"))
    has(out + err, "Probe PCI driver: net_e1000_igb_vf (8086:10ca) device: 0000:01:10.0", "Port 0: 02:00:00:00:10:01",
        "Port 1: 02:00:00:00:10:02", "Link status: up")
    sent = re.findall(r"TX-packets: (\d+) +TX-errors: 0 ", out)
    got = re.findall(r"RX-packets: (\d+) +RX-missed: 0 ", out)
    equal(len(sent), 2, out)
    equal(got, sent[::-1], out)
    assert min(map(int, sent)) >= 32, out
    assert "fault addr" not in err, err


def test_testpmd_beside_the_card():
    out, err = testpmd("igb,vfs=1", f"--vfio-vf-token={B}", program=("show port summary all",))
    has(out + err, "net_e1000_igb (8086:10c9)", "net_e1000_igb_vf (8086:10ca)", "Number of available ports: 2")
    out, err = testpmd("igb,vfs=1", program=("show port summary all",))
    has(out + err, "Number of available ports: 1")


if __name__ == "__main__":
    tap.main(globals())
