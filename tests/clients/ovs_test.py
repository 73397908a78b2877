#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Open vSwitch, Debian's own, forwards between two emulated cards with its DPDK data path."""
import os
import signal
import subprocess
import time

import tap
from client import DEVICE, PATIENCE, PINFOLD, call, equal, eventually, has, needs, path
from dpdk import CLEAN, env, huge_pages_are_gone, needs_huge_pages
from frames import HERE, THERE, Peer, numbered
from testpmd import Broker

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
OTHER = "0000:02:00.0"
CHECKED = ("--summary", "--check=all", "--error-exitcode=99")


class Switch:
    """with Switch(socket) as s: a bridge between port 0, whose cable ends in peer 0, and port 1, likewise."""

    def __init__(self, socket):
        self.socket, self.database, self.daemon = socket, None, None
        self.at = "unix:" + path("db.sock")
        self.env = env(OVS_RUNDIR=path("home"), OVS_LOGDIR=path("home"))

    def __enter__(self):
        try:
            self.start_database()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        for process in (self.daemon, self.database):
            if process and process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)

    def start_database(self):
        call("ovsdb-tool", "create", path("conf.db"), SCHEMA, env=self.env)
        self.database = subprocess.Popen(
            ["ovsdb-server", path("conf.db"), "--remote=p" + self.at, "--unixctl=" + path("db.ctl"),
             "--log-file=" + path("db.log")], env=self.env, stderr=subprocess.DEVNULL)
        eventually(lambda: os.path.exists(path("db.sock")), lambda: "no database")
        self.set("--no-wait", "init")
        self.set("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                 "other_config:dpdk-extra=-m 64 --socket-limit 96 --iova-mode=va --no-telemetry",
                 f"other_config:pmd-cpu-mask={1 << max(os.sched_getaffinity(0)):x}")

    def start(self):
        with open(path("switch.err"), "wb") as err:
            self.daemon = subprocess.Popen([PINFOLD, "run", "--connect", self.socket, "--", VSWITCHD, self.at,
                                            "--unixctl=" + path("switch.ctl"), "--log-file=" + path("switch.log")],
                                           env=self.env, stderr=err)

    def said(self):
        with open(path("switch.err"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def set(self, *words):
        """Returns when it has been done."""
        out, err = call("ovs-vsctl", "--db=" + self.at, f"--timeout={PATIENCE}", *words, env=self.env, status=None)
        if self.daemon and self.daemon.poll() is not None:
            huge_pages_are_gone(self.said())
            raise AssertionError(self.said()[-2000:])
        equal(err, "")
        return out

    def ports(self):
        self.set("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                 "other_config:disable-in-band=true")
        for n, device in enumerate((DEVICE, OTHER)):
            self.set("add-port", "br0", f"p{n}", "--", "set", "Interface", f"p{n}", "type=dpdk",
                     f"options:dpdk-devargs={device}", "options:n_rxq=1")

    def up(self):
        for n in (0, 1):
            eventually(lambda n=n: "up" in self.set("get", "Interface", f"p{n}", "link_state"),
                       lambda n=n: self.set("list", "Interface", f"p{n}"))

    def pid(self):
        with open(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children", encoding="ascii") as f:
            return int(f.read().split()[0])


def ours(frames):
    """Without what the switch and its host say by themselves."""
    return [f for f in frames if f[6:12] in (HERE, THERE)]


def across(peers, frames, to=1, queues=1):
    """From one end to the other: every frame, whole, and in order if they come in by one queue."""
    got = []
    limit = time.monotonic() + PATIENCE
    for at in range(0, len(frames), 64):
        some = frames[at:at + 64]
        peers[1 - to].exchange(some)
        while len(got) < at + len(some):
            assert time.monotonic() < limit, f"{len(got)} of {len(frames)}"
            got += ours(peers[to].exchange([], until=bool))
    assert got == frames if queues == 1 else sorted(got) == sorted(frames), f"{len(got)} of {len(frames)}"


def test_switch():
    needs(VSWITCHD, "ovsdb-server", "ovs-vsctl")
    needs_huge_pages()
    there = [numbered(n, 60 + n * 13 % 1455) for n in range(1500)]
    back = [numbered(n, 60 + n * 17 % 1455, dst=THERE, src=HERE) for n in range(1500)]
    with Peer() as one, Peer() as two, Broker(f"igb,net={one.net}", f"igb,net={two.net}", options=CHECKED) as broker, \
            Switch(broker.socket) as s:
        s.ports()
        peers = (one, two)
        for peer in peers:
            peer.connect()
        s.up()
        across(peers, there)
        across(peers, back, to=0)
        # The port is stopped, set up anew, and started.
        s.set("set", "Interface", "p1", "options:n_rxq=2")
        s.up()
        across(peers, back, to=0, queues=2)
        # An access port: the tag is taken off here, and put on there.
        s.set("set", "Port", "p1", "tag=5")
        two.exchange([back[0]])
        tagged = eventually(lambda: ours(one.exchange([], until=bool)), lambda: s.said())
        equal(tagged[0][12:16].hex(), "81000005")
        s.set("clear", "Port", "p1", "tag")
        # It dies, and the next one finds cards that work.
        os.kill(s.pid(), signal.SIGKILL)
        s.daemon.wait(PATIENCE)
        s.start()
        s.set("set", "Interface", "p1", "options:n_rxq=1")
        s.up()
        across(peers, there)
        counted = s.set("get", "Interface", "p1", "statistics")
        has(counted, "tx_dropped=0", "tx_errors=0", "rx_errors=0")
    equal(broker.process.returncode, 0, broker.err)
    has(broker.err, CLEAN)


tap.main(globals())
