#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Flows with queues of their own, two VLAN tags, the EEPROM and the clock, as DPDK's driver uses them."""
import os
import re
import struct

import tap
from client import equal, eventually, finish, has, needs, start
from dpdk import env, pinfold
from frames import HERE, THERE, Peer, ether, numbered, tcp, udp
from testpmd import Testpmd

needs("dpdk-testpmd")
CHECKED = ("--summary", "--check=all", "--error-exitcode=99")
TIME = os.environ.get("DPDK_TIME")
UDP = udp(b"x" * 20)
OTHER = udp(b"x" * 20, dport=10)
SYN, ACK = tcp(b"", flags=2), tcp(b"", flags=0x10)
LOCAL = ether(b"", kind=0x88b5)


def queues(t, frames, peer):
    """The queue of each frame."""
    t.do("stop", "set verbose 1", "start")
    out = []
    for f in frames:
        peer.exchange([f])
        out.append(int(re.search(r"port 0/queue (\d+): received 1 packets", t.until("Receive queue=")).group(1)))
        # The rest of the line.
        t.until("\n")
    t.do("stop", "set verbose 0", "start")
    return out


def test_flows():
    frames = [ether(UDP), ether(OTHER), LOCAL, ether(SYN), ether(ACK)]
    with Peer() as peer, Testpmd("igb,mac=02:00:00:00:00:01,net=" + peer.net, options=CHECKED,
                                 args=("--rxq=4", "--txq=4", "--disable-rss")) as t:
        peer.connect()
        t.do("set fwd rxonly", "start")
        equal(queues(t, frames, peer), [0, 0, 0, 0, 0])
        for n, (pattern, queue) in enumerate((
                ("eth / ipv4 src is 10.0.0.1 dst is 10.0.0.2 proto is 17 / udp src is 1024 dst is 9", 3),
                ("eth type is 0x88b5", 2),
                ("eth / ipv4 / tcp flags spec 0x02 flags mask 0x02", 1))):
            has(t.do(f"flow create 0 ingress pattern {pattern} / end actions queue index {queue} / end"),
                f"Flow rule #{n} created")
        equal(queues(t, frames, peer), [3, 0, 2, 1, 0])
        t.do("flow destroy 0 rule 0")
        equal(queues(t, frames, peer), [0, 0, 2, 1, 0])
        # testpmd takes them back before it stops the port.
        t.do("stop", "port stop 0", "port start 0", "start")
        equal(queues(t, frames, peer), [0, 0, 0, 0, 0])
        has(t.finish(), " 0 faults")


def test_two_tags():
    data = numbered(1)[12:]

    def tagged(outer, inner):
        return HERE + THERE + struct.pack("!HHHH", 0x8100, outer, 0x8100, inner) + data

    with Peer() as peer, Testpmd("igb,mac=02:00:00:00:00:01,net=" + peer.net, options=CHECKED) as t:
        peer.connect()
        t.do("vlan set extend on 0", "vlan set strip on 0", "vlan set filter on 0", "rx_vlan add 6 0", "set fwd io",
             "start")
        # The inner one is looked at and taken out.
        equal(peer.exchange([tagged(6, 5), tagged(5, 6)], 1), [HERE + THERE + struct.pack("!HH", 0x8100, 5) + data])
        has(t.finish(), " 0 faults")


def test_eeprom():
    with Testpmd("igb,mac=02:00:00:00:12:34", options=CHECKED) as t:
        has(t.do("show port 0 eeprom"), "02 00 00 00 12 34")


def test_time():
    """Messages that set clocks are stamped."""
    if not TIME:
        raise tap.Skip("no headers of DPDK's")
    sync = HERE + THERE + b"\x88\xf7\0\2" + bytes(43)
    with Peer() as peer:
        words = (TIME, "--no-huge", "-m", "64", "--iova-mode=va", "--no-telemetry")
        command, _ = pinfold("--memlock", "256M", *CHECKED, program=words,
                             devices=["igb,mac=02:00:00:00:00:01,net=" + peer.net])
        process = start(*command, env=env())
        peer.connect()
        eventually(lambda: process.stdout.readline().startswith("passed"), "it has started")
        times = [process.stdout.readline()]
        # A stamp is kept until it has been read.
        for frame, what in ((sync + b"\0", "stamp"), (LOCAL, "no stamp"), (sync + b"\0", "stamp"),
                            (sync + b"\xff", "stamp")):
            peer.exchange([frame])
            has(process.stdout.readline(), what)
            times.append(process.stdout.readline())
        _, err = finish(process)
    times = [int(t.split()[1]) for t in times]
    equal(times, sorted(times))
    assert times[0] >= 1000 * 10**9, times
    has(err, " 0 faults")


if __name__ == "__main__":
    tap.main(globals())
