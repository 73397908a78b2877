#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Trees of bridges as lspci and sysfs show them, groups as Linux forms them, and programs that use them."""
import os
import sys

import tap
from client import NVME, PINFOLD, call, disk, equal, has, needs, path

HERE = os.path.dirname(os.path.abspath(__file__))


def devices(*specs):
    disk("disk.img")
    out = []
    for s in specs:
        kind, *rest = s.split(",")
        out += ["-d", ",".join([kind] + (["path=" + path("disk.img")] if kind == "nvme" else []) + rest)]
    return out


def run(specs, *program, status=0, options=()):
    env = dict(os.environ, PYTHONPATH=HERE)
    return call(PINFOLD, "run", *devices(*specs), *options, "--", *program, status=status, env=env)


def python(specs, text, status=0):
    return run(specs, sys.executable, "-c", "from vfiodev import *\n" + text, status=status)[0]


GROUPS = """
import os
top = "/sys/kernel/iommu_groups"
for g in sorted(os.listdir(top), key=int):
    print(" ".join(sorted(n[5:] for n in os.listdir(f"{top}/{g}/devices"))))
"""


def groups(*specs):
    """The functions of each group."""
    return [set(l.split()) for l in python(specs, GROUPS).splitlines()]


SWITCH = ("pcie-root-port", "pcie-upstream", "pcie-downstream", "pcie-downstream", "nvme", "ioat")


def test_lspci():
    needs("lspci")
    out, _ = run(SWITCH, "lspci", "-tv")
    has(out, "[0000:00]---01.0-[01-04]----00.0-[02-04]--+-00.0-[03]----00.0  Red Hat", "-01.0-[04]----00.0  Intel")
    out, _ = run(SWITCH, "lspci", "-vv")
    equal(out.count("Kernel driver in use: pcieport"), 4)
    equal(out.count("Kernel driver in use: vfio-pci"), 2)
    has(out, "Root Port (Slot+)", "Upstream Port", "Downstream Port (Slot+)", "Access Control Services",
        "ACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+", "DLActive+", "secondary=01, subordinate=04")


def test_sysfs():
    out, _ = run(SWITCH, "sh", "-c", "cd /sys/bus/pci/devices/0000:03:00.0 && pwd -P && cd -P .. && "
                 "cat secondary_bus_number class /sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio0/uevent && "
                 "readlink -f driver")
    equal(out.splitlines(), [
        "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0", "3", "0x060400", "MAJOR=248",
        "MINOR=0", "DEVNAME=vfio/devices/vfio0", "/sys/bus/pci/drivers/pcieport"])


def test_groups_with_acs():
    equal(groups(*SWITCH), [{"00:01.0"}, {"01:00.0"}, {"02:00.0"}, {"02:01.0"}, {"03:00.0"}, {"04:00.0"}])


def test_groups_without_acs():
    """As the path to each is open from the port without ACS on."""
    equal(groups("pcie-root-port,acs=off", *SWITCH[1:]),
          [{"00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0"}])
    equal(groups("pcie-root-port", "nvme", "pcie-root-port,acs=off", "ioat"),
          [{"00:01.0"}, {"01:00.0"}, {"00:02.0", "02:00.0"}])
    equal(groups(*SWITCH[:2], "pcie-downstream,acs=off", "pcie-downstream,acs=off", *SWITCH[4:]),
          [{"00:01.0"}, {"01:00.0"}, {"02:00.0", "02:01.0", "03:00.0", "04:00.0"}])
    equal(groups(*SWITCH[:2], "pcie-downstream,acs=off", *SWITCH[3:]),
          [{"00:01.0"}, {"01:00.0"}, {"02:00.0", "03:00.0"}, {"02:01.0"}, {"04:00.0"}])


def test_groups_of_several_functions():
    equal(groups("pcie-root-port", "nvme,addr=01:00.0", "ioat,addr=01:00.1"), [{"00:01.0"}, {"01:00.0", "01:00.1"}])
    equal(groups("pcie-root-port", "nvme,addr=01:00.0,acs=on", "ioat,addr=01:00.1,acs=on"),
          [{"00:01.0"}, {"01:00.0"}, {"01:00.1"}])
    equal(groups("nvme,group=5", "ioat", "ioat,group=5"), [{"02:00.0"}, {"01:00.0", "03:00.0"}])


def test_multifunction_bit():
    out = python(("nvme,addr=01:00.0", "ioat,addr=01:00.1", "ioat"), """
for a in ("01:00.0", "01:00.1", "02:00.0"):
    print(open(f"/sys/bus/pci/devices/0000:{a}/config", "rb").read()[0xe])
""")
    equal(out.split(), ["128", "128", "0"])


def test_one_owner_of_a_group():
    """Rule B4, and a container with a group of two functions."""
    out = python(("pcie-root-port", "nvme,addr=01:00.0", "ioat,addr=01:00.1"), """
n = group_of("0000:01:00.1")
g = Group(n).attach()
print(g.flags(), errno_of(Group, n))
for a in ("0000:01:00.0", "0000:01:00.1"):
    print(hex(g.device(a).config(0)))
print(errno_of(g.device, "0000:00:01.0"))
""")
    equal(out.split(), ["3", "16", "0x101b36", "0x20218086", "19"])


def test_viability():
    out = python(("nvme,addr=01:00.0", "ioat,addr=01:00.1,driver=ioatdma", "ioat,addr=02:00.0",
                  "ioat,addr=02:00.1,driver=none"), """
import os
g = Group(1)
print(g.flags(), errno_of(g.attach), os.path.basename(os.readlink("/sys/bus/pci/devices/0000:01:00.1/driver")))
h = Group(2)
print(h.flags(), errno_of(h.attach), errno_of(h.device, "0000:02:00.1"), sorted(os.listdir("/dev/vfio/devices")))
print(os.path.exists("/sys/bus/pci/devices/0000:02:00.1/driver"))
""")
    equal(out.splitlines(), ["0 16 ioatdma", "1 0 19 ['vfio0', 'vfio1']", "False"])


def test_hot_reset():
    """All functions of the bus behind the port, and only with the groups of all."""
    out = python(("pcie-root-port", "nvme,addr=01:00.0,acs=on", "ioat,addr=01:00.1,acs=on", "ioat"), """
a, b = Group(group_of("0000:01:00.0")).attach(), Group(group_of("0000:01:00.1")).attach()
d = a.device("0000:01:00.0")
info = bytearray(struct.pack("3I", 12 + 24, 0, 0) + bytes(24))
fcntl.ioctl(d.fd, HOT_RESET_INFO, info)
print(struct.unpack("3I", info[:12])[2], [struct.unpack("IHBB", info[i:i + 8]) for i in (12, 20)])
reg = d.map()
reg[9] = 0x70007
def reset(*groups):
    return errno_of(fcntl.ioctl, d.fd, HOT_RESET, struct.pack(f"3I{len(groups)}i", 12 + 4 * len(groups), 0,
                                                              len(groups), *(g.fd for g in groups)))
print(reset(a), hex(reg[9]))
print(reset(a, b), reg[9], d.config(4, 2) & 2)
""")
    equal(out.splitlines(), ["2 [(2, 0, 1, 0), (3, 0, 1, 1)]", "22 0x70007", "0 0 2"])


def test_disk_behind_a_switch():
    needs("qemu-io")
    target = NVME.replace("01:00.0", "03:00.0")
    out, _ = run(SWITCH, "qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", "-c", "read -P 7 0 64k", target)
    equal(out.count("ops;"), 2)


def test_link_of_the_port():
    out, _ = run(("pcie-root-port", "nvme"), "sh", "-c",
                 f"cat /sys/bus/pci/devices/0000:00:01.0/current_link_width; {PINFOLD} ctl link-down 0000:01:00.0 && "
                 f"until {PINFOLD} ctl list | grep -q 'link down'; do :; done; "
                 "cat /sys/bus/pci/devices/0000:00:01.0/current_link_width; "
                 "lspci -vv -s 00:01.0 2>/dev/null | grep -o 'DLActive[+-]\\|PresDet[+-] Inter'")
    equal(out.split("\n")[:3], ["4", "1", "DLActive-"])
    has(out, "PresDet+ Inter")


def test_mistakes():
    for specs, words in ((("pcie-upstream",), "pcie-root-port"), (("pcie-downstream",), "pcie-upstream"),
                         (("nvme,addr=01:00.1",), "function 0"), (("pcie-root-port", "nvme,addr=01:01.0"), "device 0"),
                         (("pcie-root-port,bus=5", "pcie-root-port,bus=5"), "bus 05"),
                         (("pcie-root-port,bus=1", "pcie-upstream,bus=4", "pcie-downstream,bus=9", "nvme,addr=06:00.0"),
                          "01 to 09"),
                         (("pcie-root-port", "pcie-upstream", "nvme,addr=02:00.0"), "inside a switch"),
                         (("nvme,driver=",), "driver"), (("nvme,acs=maybe",), "acs"),
                         (("nvme", "nvme,addr=01:00.0"), "address")):
        _, err = run(specs, "true", status=2)
        has(err, words, "Try `pinfold help run`.")


if __name__ == "__main__":
    tap.main(globals())
