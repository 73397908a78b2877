#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""testpmd_long.py [TEST]...: what testpmd_test.py does, for longer. `make check-net` runs it; SECONDS (60) for each."""
import os

import tap
from client import DEVICE, equal, has, needs
from dpdk import CLEAN
from testpmd import Broker, Testpmd
from testpmd_test import BIG, CHECKED, OTHER, clean, forward, pair, queues, restart, send_and_receive, \
    test_the_other_is_killed

needs("dpdk-testpmd")
SECONDS = float(os.environ.get("SECONDS", "60"))
QUEUES = (1, 2, 4)


def forwarding(mode):
    with Testpmd(*pair("forward"), options=CHECKED, **BIG) as t:
        for n in QUEUES:
            queues(t, n)
            forward(t, mode, SECONDS)
        clean(t.finish())


def test_io():
    forwarding("io")


def test_mac():
    forwarding("mac")


def test_csum():
    forwarding("csum")


def test_flowgen():
    forwarding("flowgen")


def test_txonly_and_rxonly():
    flows = ("--txonly-multi-flow", "--rss-udp")
    with Broker(*pair("two"), options=CHECKED) as broker:
        with Testpmd(DEVICE, connect=broker.socket, args=flows, **BIG) as one, \
                Testpmd(OTHER, connect=broker.socket, args=flows, **BIG) as two:
            for n in QUEUES:
                send_and_receive(one, two, n, SECONDS)
    equal(broker.process.returncode, 0, broker.err)
    has(broker.err, CLEAN)


def test_a_thousand_restarts():
    restart(1000)


def test_killed_again_and_again():
    for _ in range(5):
        test_the_other_is_killed()


if __name__ == "__main__":
    tap.main({name: f for name, f in globals().items() if name != "test_the_other_is_killed"})
