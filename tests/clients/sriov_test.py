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
from client import PINFOLD, call, equal, eventually, finish, has, needs, path, start
from dpdk import CLEAN
from testpmd import Broker, Testpmd

CHECKED = ("--summary", "--check=all", "--error-exitcode=99")

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
    dialogue("ioat", (f"open {PF} vf_token={A}", "EINVAL"), (f"open {PF}", "ok"), (f"set {A}", "ENOTTY"))


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


# Writes to files of sysfs, and says what came of it; "show" lists functions, groups' nodes and devices' own nodes.
WRITER = r"""
import errno, os, sys
def show():
    return " ".join(",".join(sorted(os.listdir(d))) for d in ("/sys/bus/pci/devices", "/dev/vfio", "/dev/vfio/devices"))
for line in sys.stdin:
    name, _, text = line.rstrip("\n").partition(" ")
    answer = "ok"
    try:
        if name == "show":
            answer = show()
        elif name == "read":
            with open(f"/sys/bus/pci/devices/{text}") as f:
                answer = f.read().strip()
        else:
            fd = os.open(f"/sys/bus/pci/devices/{name}", os.O_WRONLY | os.O_TRUNC)
            try:
                n = os.write(fd, text.encode())
                answer = "ok" if n == len(text) else str(n)
            finally:
                os.close(fd)
    except OSError as e:
        answer = errno.errorcode[e.errno]
    print(answer, flush=True)
"""
NUMVFS = f"{PF}/sriov_numvfs"


def writes(device, *steps):
    p = start(PINFOLD, "run", "-d", device, "--", sys.executable, "-c", WRITER, stdin=-1)
    out, _ = finish_with(p, "".join(what + "\n" for what, _ in steps))
    equal(list(zip((what for what, _ in steps), out.splitlines())), list(steps))


def finish_with(p, text):
    p.stdin.write(text)
    p.stdin.close()
    p.stdin = None
    return finish(p)


def test_numvfs():
    """Linux's answers (drivers/pci/iov.c), in their order."""
    writes("igb",
           (f"read {NUMVFS}", "0"), (f"{NUMVFS} 9", "ERANGE"), (f"{NUMVFS} x", "EINVAL"), (f"{NUMVFS} 1 ", "EINVAL"),
           (f"{NUMVFS} -1", "EINVAL"), (f"{NUMVFS} 65536", "EINVAL"), (f"{NUMVFS} 0", "ok"), (f"{NUMVFS} 0x2", "ok"),
           (f"read {NUMVFS}", "2"), (f"{NUMVFS} 2", "ok"), (f"{NUMVFS} 3", "EBUSY"), (f"{NUMVFS} 12", "ERANGE"),
           ("show", f"{PF},{VF0},{VF1} 1,2,3,devices,vfio vfio0,vfio1,vfio2"), (f"{NUMVFS} 0", "ok"),
           ("show", f"{PF} 1,devices,vfio vfio0"), (f"read {NUMVFS}", "0"), (f"{NUMVFS} 010", "ok"),
           (f"read {NUMVFS}", "8"), (f"{NUMVFS} 0", "ok"),
           (f"{PF}/sriov_drivers_autoprobe 2", "EINVAL"), (f"{PF}/sriov_drivers_autoprobe n", "ok"),
           (f"read {PF}/sriov_drivers_autoprobe", "0"), (f"{NUMVFS} 1", "ok"),
           ("show", f"{PF},{VF0} 1,devices,vfio vfio0"), (f"read {VF0}/driver/uevent", "ENOENT"),
           (f"{PF}/sriov_totalvfs 1", "EACCES"))


def test_numvfs_and_the_driver():
    writes("igb,driver=igb", (f"{NUMVFS} 8", "EPERM"), (f"{NUMVFS} 7", "ok"), (f"read {NUMVFS}", "7"))
    writes("igb,driver=none", (f"{NUMVFS} 9", "ERANGE"), (f"{NUMVFS} 1", "ENOENT"), (f"{NUMVFS} 0", "ok"))
    writes("igb,driver=e1000", (f"{NUMVFS} 1", "ENOENT"))
    writes("igb,vfs=1", (f"{NUMVFS} 2", "EBUSY"), (f"{NUMVFS} 0", "ok"), (f"{NUMVFS} 2", "ok"),
           (f"read {NUMVFS}", "2"))


def test_numvfs_from_a_shell():
    """A descriptor that a shell opens, a program inherits, or a library duplicates."""
    out, _ = call(PINFOLD, "run", "-d", "igb", "--", "bash", "-c", f"""
        cd /sys/bus/pci/devices/{PF}
        echo 2 > sriov_numvfs && echo $? $(cat sriov_numvfs) $(readlink virtfn0 virtfn1)
        (echo 3 > sriov_numvfs) 2>/dev/null; echo $?
        env printf 0 > sriov_numvfs && echo $? $(cat sriov_numvfs) $(readlink virtfn0 virtfn1)
        echo 1 | tee sriov_numvfs && cat sriov_numvfs""")
    equal(out.split("\n")[:-1], [f"0 2 ../{VF0} ../{VF1}", "1", "0 0", "1", "1"])


# Holds a virtual function until it is asked to let go.
HOLDER = r"""
import fcntl, os, struct, sys
BIND, SET_IRQS = 0x3b64 + 18, 0x3b64 + 10
iommufd = os.open("/dev/iommu", os.O_RDWR)
fd = os.open("/dev/vfio/devices/vfio1", os.O_RDWR)
fcntl.ioctl(fd, BIND, bytearray(struct.pack("=IIiI", 16, 0, iommufd, 0)))
asked = os.eventfd(0)
fcntl.ioctl(fd, SET_IRQS, struct.pack("=IIIIIi", 24, 1 << 2 | 1 << 5, 4, 0, 1, asked))
print("bound", flush=True)
os.eventfd_read(asked)
print("asked", os.path.exists("/sys/bus/pci/devices/0000:01:10.0"), flush=True)
sys.stdin.readline()
print("lets go", flush=True)
os.close(fd)
sys.stdin.readline()
print(os.path.exists("/sys/bus/pci/devices/0000:01:10.0"), flush=True)
"""


def at(broker, *program, **kw):
    return start(PINFOLD, "run", "--connect", broker.socket, "--", *program, **kw)


def test_numvfs_in_use():
    """Whoever writes 0 waits until the function's owner has been asked for it and has let it go."""
    with Broker("igb,vfs=2") as broker:
        holder = at(broker, sys.executable, "-c", HOLDER, stdin=-1)
        equal(holder.stdout.readline(), "bound\n")
        writer = at(broker, sys.executable, "-c", WRITER, stdin=-1)
        writer.stdin.write(f"{NUMVFS} 0\nread {NUMVFS}\nshow\n")
        writer.stdin.flush()
        equal(holder.stdout.readline(), "asked True\n")
        out, _ = finish_with(at(broker, sys.executable, "-c", WRITER, stdin=-1), f"read {NUMVFS}\n")
        equal(out, "2\n")  # they are there while one is
        holder.stdin.write("\n")
        holder.stdin.flush()
        equal(holder.stdout.readline(), "lets go\n")
        out, _ = finish_with(writer, "")
        equal(out, f"ok\n0\n{PF} 1,devices,vfio vfio0\n")
        out, _ = finish_with(holder, "\n")
        equal(out, "False\n")


def test_numvfs_and_a_dead_writer():
    """What it has begun goes on without it, and another one may wait for that."""
    with Broker("igb,vfs=1") as broker:
        holder = at(broker, sys.executable, "-c", HOLDER, stdin=-1)
        equal(holder.stdout.readline(), "bound\n")
        writer = at(broker, sys.executable, "-c", WRITER, stdin=-1)
        writer.stdin.write(f"{NUMVFS} 0\n")
        writer.stdin.flush()
        equal(holder.stdout.readline(), "asked True\n")
        writer.kill()
        writer.wait()
        writer.stdin.close()
        holder.stdin.write("\n")
        holder.stdin.flush()
        equal(holder.stdout.readline(), "lets go\n")
        out, _ = finish_with(at(broker, sys.executable, "-c", WRITER, stdin=-1), f"{NUMVFS} 2\nread {NUMVFS}\n")
        equal(out, "ok\n2\n")
        finish_with(holder, "\n")


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


def queue_counts(t, what):
    """What each queue has received or sent, as testpmd's forward statistics have it."""
    return [int(n) for n in re.findall(rf"/Queue= \d -> .*\n.*{what}-packets: (\d+)", t.do("show fwd stats all"))]


def test_testpmd_with_two_queues():
    """Both pairs of a function carry frames: what differs in its addresses is spread over them."""
    needs("dpdk-testpmd")
    both = ("--rxq=2", "--txq=2")
    with Broker("igb,vfs=2,driver=igb,mac=02:00:00:00:10:00", options=CHECKED) as broker:
        with Testpmd(VF0, connect=broker.socket, eal=("--file-prefix=vf0",), mbufs=8192, args=(
                *both, "--forward-mode=txonly", "--txonly-multi-flow", "--eth-peer=0,02:00:00:00:10:02")) as first, \
             Testpmd(VF1, connect=broker.socket, eal=("--file-prefix=vf1",), mbufs=8192, args=(
                *both, "--forward-mode=rxonly")) as second:
            has(first.do("show port info 0"), "Max possible RX queues: 2", "Max possible TX queues: 2")
            second.do("start")
            first.do("start")
            eventually(lambda: min(queue_counts(second, "RX") or [0]) > 100,
                       lambda: second.do("show fwd stats all"))
            first.do("stop")
            sent = first.stats()["TX-packets"]
            assert sent > 200, sent
            eventually(lambda: second.stats()["RX-packets"] + second.stats()["RX-missed"] <= sent,
                       lambda: second.do("show port stats 0"))
            second.do("stop")
    checked(broker)


def checked(broker):
    has(broker.err, CLEAN)
    equal(set(re.findall(r"(\d+) faults", broker.err)), {"0"}, broker.err)


def test_testpmd_as_host():
    """
    The card's driver is testpmd's, which gives the functions their addresses; two other processes have the functions,
    and send to each other by way of the card's switch.
    """
    needs("dpdk-testpmd")
    token = (f"--vfio-vf-token={A}",)
    with Broker("igb,vfs=2,mac=02:00:00:00:10:00", options=CHECKED) as broker:
        with Testpmd(PF, connect=broker.socket, eal=(*token, "--file-prefix=pf")) as host, \
             Testpmd(VF0, connect=broker.socket, eal=(*token, "--file-prefix=vf0")) as first, \
             Testpmd(VF1, connect=broker.socket, eal=(*token, "--file-prefix=vf1")) as second:
            address = [re.search(r"MAC address: (\S+)", t.do("show port info 0")).group(1) for t in (first, second)]
            assert not any(a.startswith("02:00:00:00:10") for a in address), address
            first.do(f"set eth-peer 0 {address[1]}", "set fwd mac")
            second.do(f"set eth-peer 0 {address[0]}", "set fwd mac", "start")
            first.do("start tx_first 4")
            for t in (first, second):
                t.wait_for("RX-packets", 1000)
            # The card is started anew under them: they hear nothing until they have asked again.
            host.do("port stop 0", "port start 0")
            for t in (first, second):
                t.do("stop", "port stop 0", "port start 0")
            before = first.stats()["RX-packets"]
            second.do("start")
            first.do("start tx_first 4")
            first.wait_for("RX-packets", before + 1000)
            # One resets its function; the other one and the card go on.
            second.do("stop", "port stop 0", "port reset 0", "port start 0", "start")
            before = second.stats()["RX-packets"]
            first.do("stop", "start tx_first 4")
            second.wait_for("RX-packets", before + 1)
    checked(broker)


def test_testpmd_beside_the_card():
    out, err = testpmd("igb,vfs=1", f"--vfio-vf-token={B}", program=("show port summary all",))
    has(out + err, "net_e1000_igb (8086:10c9)", "net_e1000_igb_vf (8086:10ca)", "Number of available ports: 2")
    out, err = testpmd("igb,vfs=1", program=("show port summary all",))
    has(out + err, "Number of available ports: 1")


if __name__ == "__main__":
    tap.main(globals())
