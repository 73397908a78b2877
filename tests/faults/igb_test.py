#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the network card: what DPDK's testpmd sees of them, and that it goes on."""
import tap
from client import DEVICE, PINFOLD, equal, eventually, finish, has, needs, path, start
from frames import Peer, numbered
from testpmd import Testpmd

needs("dpdk-testpmd")
FRAMES = [numbered(n) for n in range(8)]
controls = iter(range(100))


class Port:
    """testpmd that forwards what a peer sends, with faults, and orders for them."""

    def __init__(self, *faults, mode="io"):
        self.control = path(f"igb-{next(controls)}")
        self.peer = Peer()
        options = ["--summary", "--control", self.control]
        for f in faults:
            options += ["--fault", f]
        self.t = Testpmd("igb,mac=02:00:00:00:00:01,net=" + self.peer.net, options=options)
        self.mode = mode

    def __enter__(self):
        self.peer.__enter__()
        self.t.__enter__()
        self.peer.connect()
        self.t.do(f"set fwd {self.mode}", "start")
        return self

    def __exit__(self, *exc):
        self.t.__exit__(*exc)
        self.peer.__exit__(*exc)

    def ctl(self, *order):
        out, err = finish(start(PINFOLD, "ctl", "--control", self.control, *order))
        return out + err

    def struck(self, n=1):
        """How often the nth fault has struck."""
        return int(self.ctl("status").splitlines()[n].split()[3])

    def link(self, state):
        eventually(lambda: f"Link status: {state}" in self.t.do("show port info 0"), lambda: self.t.said)


def test_link():
    with Port() as p:
        p.link("up")
        p.ctl("link-down", DEVICE)
        p.link("down")
        p.ctl("link-up", DEVICE)
        p.link("up")
        has(p.t.said, "Port 0: link state change event")
        p.ctl("inject", "link-down,for=300ms")
        p.link("down")
        p.link("up")
        # The driver that does not hear of it goes on to think that it is up.
        p.ctl("inject", "lost-irq")
        p.ctl("link-down", DEVICE)
        eventually(lambda: p.struck(2) == 1, "it is lost")
        has(p.t.do("show port info 0"), "Link status: up")


def test_stuck_queues():
    with Port("stuck-queue,queue=0,after=3") as p:
        equal(p.peer.exchange(FRAMES[:4], 3), FRAMES[:3])
        eventually(lambda: p.struck() == 1, "it is stuck")
        p.ctl("clear", "1")
        # The fourth one may have waited for too long.
        equal(p.peer.exchange(FRAMES[4:], until=lambda got: FRAMES[7] in got)[-4:], FRAMES[4:])
        p.ctl("inject", "stuck-queue,queue=16,after=1")
        equal(p.peer.exchange(FRAMES[:3], 1), FRAMES[:1])
        eventually(lambda: p.struck() == 1, "it is stuck")
        # What was received waits for being sent.
        p.ctl("clear", "all")
        equal(p.peer.exchange([], 2), FRAMES[1:3])


def test_delay_and_loss():
    with Port("delay,queue=0,after=1,for=50ms,times=3", "delay,queue=16,after=2,for=50ms,times=3") as p:
        equal(p.peer.exchange(FRAMES, 8), FRAMES)
        equal([p.struck(1), p.struck(2)], [3, 3])
        p.ctl("inject", "lost-frame,queue=0,after=1")
        p.ctl("inject", "lost-frame,queue=16,after=3")
        equal(p.peer.exchange(FRAMES, 6), [FRAMES[n] for n in (0, 2, 3, 5, 6, 7)])


def test_wrong_address():
    with Port("wrong-dma,queue=0,after=1,addr=0x100000", "wrong-dma,queue=16,after=3,addr=0x200000") as p:
        got = p.peer.exchange(FRAMES, 7)
        # The second one was not put where it belonged, and the fourth one could not be read.
        equal([f for f in got if f in FRAMES], [FRAMES[n] for n in (0, 2, 4, 5, 6, 7)])
        said = p.t.finish()
        has(said, "0x100000", "0x200000", "RX queue 0", "TX queue 0", "2 faults")


def test_corrupt():
    with Port("corrupt,queue=0,after=1,seed=3", mode="rxonly") as p:
        p.t.do("set verbose 1")
        p.peer.exchange(FRAMES[:3])
        p.t.until("CKSUM_BAD")
        p.peer.exchange(FRAMES[3:])
        p.t.do("set verbose 0")
        p.t.wait_for("RX-packets", 8, 0)
        equal(p.struck(), 1)


def test_reset_and_removal():
    with Port() as p:
        equal(p.peer.exchange(FRAMES, 8), FRAMES)
        p.ctl("reset", DEVICE)
        p.t.do("stop", "port stop 0", "port start 0", "start")
        p.link("up")
        equal(p.peer.exchange(FRAMES[-1:], 1), FRAMES[-1:])
        p.ctl("remove", DEVICE)
        eventually(lambda: "removed" in p.ctl("list"), "it is removed")
        p.t.do("show port stats 0", "stop")
        # The driver waits for what is not there, for a long time.
        p.t.kill()


if __name__ == "__main__":
    tap.main(globals())
