#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest that drives the emulated network cards with the kernel's own igb driver, through QEMU's vfio-pci."""
import os

import tap
from client import DEVICE, PINFOLD, equal, has
from guest import IMAGE, Guest, needs_guest, summary_is_clean
from testpmd import Broker, Testpmd

NET = os.path.join(IMAGE, "net")
OTHER = "0000:02:00.0"
CHECKED = ("--summary", "--check=all", "--error-exitcode=99")


def pair(name):
    return [w for mac in (1, 2) for w in ("-d", f"igb,mac=02:00:00:00:00:0{mac},net=pair:{name}")]


def card(host, n):
    return ["-device", f"vfio-pci,host={host},id=card{n}"]


def look_for_drivers():
    if not os.path.exists(os.path.join(NET, "modules", "igb.ko")):
        raise tap.Skip(f"no igb.ko in {NET}: scripts/guest-image makes it")


def nothing_found(said):
    summary_is_clean(said)
    assert "finding" not in said and "fault addr" not in said, said


def test_two_cards():
    """
    A cable between two cards of one guest, the second of which is in a network namespace of its own: what goes from one
    to the other has passed both, with segments and checksums made by the card. Links go down and up, drivers too.
    """
    look_for_drivers()
    with Guest(*card(DEVICE, 1), *card(OTHER, 2), disks=(), options=(*CHECKED, *pair("guest")), image=NET) as g:
        g.wait_for("[ -e /sys/class/net/eth1 ]")
        equal(g.sh("cat /sys/class/net/eth*/address"), "02:00:00:00:00:01\n02:00:00:00:00:02")
        g.sh("unshare -n sleep 100000 & echo $! >/ns; sleep 1; ip link set eth1 netns $(cat /ns)")
        there = "nsenter -t $(cat /ns) -n "
        g.sh(f"ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up; {there} ip addr add 10.0.0.2/24 dev eth1; "
             f"{there} ip link set eth1 up; {there} ip link set lo up")
        g.wait_for("[ $(cat /sys/class/net/eth0/carrier) = 1 ]")
        g.wait_for("ping -c 1 -W 1 10.0.0.2")
        has(g.sh("ping -c 5 -s 1400 -W 20 10.0.0.2"), "5 packets received")

        # A pipe whose end never comes: nc hangs up when its input ends.
        g.sh("mkfifo /idle; dd if=/dev/urandom of=/file bs=1M count=8 2>/dev/null")
        digest = g.sh("sha256sum </file")
        for way, (server, client, address) in enumerate(((there, "", "10.0.0.2"), ("", there, "10.0.0.1"))):
            g.sh(f"{server} nc -l -p 500{way} <>/idle >/got & sleep 1; {client} nc {address} 500{way} </file; wait $!")
            equal(g.sh("sha256sum </got"), digest)

        for _ in range(3):
            g.sh("ip link set eth0 down")
            g.sh(there + "sh -c 'n=0; until [ $(cat /sys/class/net/eth1/carrier) = 0 ] || ! ip link show eth1 | "
                 "grep -q LOWER_UP; do sleep 0.1; n=$((n+1)); [ $n -lt 3000 ] || exit 1; done'")
            g.sh("ip link set eth0 up")
            g.wait_for("ping -c 1 -W 1 10.0.0.2")
        # Fewer segments than bytes / 1460 have been asked of it, and more have gone.
        counts = g.sh("grep eth0 /proc/net/dev").split()
        assert int(counts[1]) > 8 << 20 and int(counts[9]) > 8 << 20, counts
        equal([counts[3], counts[11]], ["0", "0"], str(counts))
        pci = g.sh("basename $(readlink -f /sys/class/net/eth0/device)")
        for _ in range(2):
            g.sh(f"echo {pci} >/sys/bus/pci/drivers/igb/unbind; echo 1 >/sys/bus/pci/devices/{pci}/reset; "
                 f"echo {pci} >/sys/bus/pci/drivers/igb/bind")
            g.wait_for("[ -e /sys/class/net/eth0 ]")
            g.sh("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up")
            g.wait_for("ping -c 1 -W 1 10.0.0.2")
        equal(g.sh("dmesg | grep -ciE 'igb.*(hang|fail|error)|WARNING'", status=None), "0", g.sh("dmesg | tail -40"))
        said = g.finish()
    nothing_found(said)


def test_testpmd_answers():
    """The guest's kernel at one end of the cable, DPDK's driver at the other."""
    look_for_drivers()
    devices = [d for d in pair("mixed") if d != "-d"]
    with Broker(*devices, options=CHECKED) as broker:
        with Testpmd(OTHER, connect=broker.socket) as t, \
                Guest(*card(DEVICE, 1), image=NET, command=[PINFOLD, "run", "--connect", broker.socket, "--"]) as g:
            t.do("set fwd icmpecho", "start")
            g.wait_for("[ -e /sys/class/net/eth0 ]")
            g.sh("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up")
            g.wait_for("ping -c 1 -W 1 10.0.0.2")
            for size in (0, 100, 1472):
                has(g.sh(f"ping -c 5 -s {size} -W 20 10.0.0.2"), "5 packets received")
            has(g.sh("ping -f -c 200 -W 20 10.0.0.2 2>&1 || ping -A -c 200 -W 20 10.0.0.2"), "200 packets received")
            g.finish()
    equal(broker.process.returncode, 0, broker.err)
    nothing_found(broker.err)


if __name__ == "__main__":
    needs_guest()
    tap.main(globals())
