#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Cables between programs that have a broker each: testpmd plays a capture into one, another testpmd sends it back, and
what is recorded then is the capture, frame by frame.
"""
import contextlib
import os
import subprocess

import tap
from client import contents, equal, eventually, finish, has, needs, path, start
from frames import HERE, frames_of, numbered, pcap
from testpmd import Testpmd

needs("dpdk-testpmd")
FRAMES = [numbered(n, 64 + n * 13 % 1400) for n in range(500)]
# A sender without room tries again, so that nothing is lost on the way.
PATIENT = "set fwd io retry", "set burst tx delay 100 retry 100000"


def runtime():
    """A directory of the user's, where brokers meet; not the one that Testpmd makes for DPDK."""
    name = path("meeting")
    os.makedirs(name, exist_ok=True)
    return {"XDG_RUNTIME_DIR": name}


def is_up(t, port):
    return "Link status: up" in t.do(f"show port info {port}")


def near(cable, name):
    """With the capture at port 0, and the cable at port 1."""
    with open(path("in.pcap"), "wb") as f:
        f.write(pcap(FRAMES))
    captures = f"igb,mac={HERE.hex(':')},net=pcap:in={path('in.pcap')},out={path(name)}"
    # The card plays as soon as it is up: before testpmd wants all frames, and before it is told to start.
    return Testpmd(captures, f"igb,net={cable}", args=("--no-flush-rx",), variables=runtime())


def far(cable):
    return Testpmd(f"igb,net={cable}", args=("--no-flush-rx",), variables=runtime())


def meet(a, b):
    eventually(lambda: is_up(a, 1) and is_up(b, 0), lambda: "no link")


def there_and_back(a, b, name, order=list):
    meet(a, b)
    b.do(*PATIENT, "start")
    a.do(*PATIENT, "start")
    a.wait_for("TX-packets", len(FRAMES), 0)
    for t in (a, b):
        t.finish()
    equal(order(frames_of(contents(name))) == order(FRAMES), True, "what came back is not what was sent")


def test_pair_of_two_brokers():
    with near("pair:two", "pair.pcap") as a, far("pair:two") as b:
        there_and_back(a, b, "pair.pcap")
    equal(os.listdir(path("meeting/pinfold-net")), [])


def test_socket_of_two_brokers():
    cable = f"socket:{path('cable')}"
    with near(cable, "socket.pcap") as a, far(cable) as b:
        there_and_back(a, b, "socket.pcap")
    equal(os.path.exists(path("cable")), False)


@contextlib.contextmanager
def hub(*names):
    """QEMU, as a hub between sockets."""
    words = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
    for n, name in enumerate(names):
        words += ["-netdev", f"stream,id=s{n},server=off,addr.type=unix,addr.path={name}",
                  "-netdev", f"hubport,id=h{n},hubid=0,netdev=s{n}"]
    p = start(*words)
    try:
        yield
    finally:
        p.terminate()
        finish(p, None)


def test_sockets_of_qemu():
    needs("qemu-system-x86_64")
    if "stream" not in subprocess.run(["qemu-system-x86_64", "-netdev", "help"], capture_output=True, text=True,
                                      check=False).stdout:
        raise tap.Skip("this QEMU has no -netdev stream")
    one, two = path("one"), path("two")
    with near(f"socket:{one}", "qemu.pcap") as a, far(f"socket:{two}") as b, hub(one, two):
        # In QEMU 7.2's hub a frame that had to wait for room may be overtaken.
        there_and_back(a, b, "qemu.pcap", sorted)


def test_killed_peer():
    """The other one sees its link go, goes on, and takes up with whoever comes next."""
    with near("pair:killed", "killed.pcap") as a:
        with far("pair:killed") as b:
            meet(a, b)
            b.kill()
        eventually(lambda: not is_up(a, 1), lambda: "the link stays up")
        with far("pair:killed") as b:
            there_and_back(a, b, "killed.pcap")


def test_third_is_refused():
    with far("pair:full") as a, far("pair:full") as b:
        eventually(lambda: is_up(a, 0) and is_up(b, 0), lambda: "no link")
        with far("pair:full") as c:
            eventually(lambda: "there are two already" in c.said or c.do("show port info 0") is None, lambda: c.said)
            equal(is_up(c, 0), False)
        equal([is_up(a, 0), is_up(b, 0)], [True, True])


def test_capture_that_is_none():
    p = start(os.environ["PINFOLD"], "run", "-d", f"igb,net=pcap:in={__file__}", "--", "true")
    has(finish(p, 2)[1], "net=pcap: ", "unknown file format")


if __name__ == "__main__":
    tap.main(globals())
