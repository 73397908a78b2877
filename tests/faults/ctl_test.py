#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Orders to a broker at work: unbinding and who waits for it, and peers that do not behave."""
import array
import os
import random
import signal
import socket
import sys

import tap
from client import DEVICE, NVME, PINFOLD, Serve, disk, equal, eventually, finish, has, needs, path, run, start

HERE = os.path.dirname(os.path.abspath(__file__))
SECOND = "0000:02:00.0"
HOLD = f"""
from vfiodev import *
g = Group(group_of("{DEVICE}")).attach()
d = g.device("{DEVICE}")
say("open")
hear()
d.close()
say("closed")
hear()
"""


def serve():
    disk("disk.img")
    disk("second.img")
    return Serve("-d", "nvme,path=" + path("second.img"))


def ctl(s, *order, status=0):
    out, err = finish(start(PINFOLD, "ctl", "--connect", s.socket, *order), status)
    return out + err


def program(s, text):
    env = dict(os.environ, PYTHONPATH=HERE)
    return s.start(sys.executable, "-c", text, stdin=-1, env=env)


def tell(p):
    p.stdin.write("go\n")
    p.stdin.flush()


def peer(s):
    p = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    p.connect(s.socket + ".ctl")
    return p


def alive(s):
    has(ctl(s, "list"), DEVICE)


def test_list_and_status():
    with serve() as s:
        lines = ctl(s, "list").splitlines()
        equal([l.split() for l in lines[1:]], [[DEVICE, "nvme", "1", "free"], [SECOND, "nvme", "2", "free"]])
        equal(len(ctl(s, "status").splitlines()), 1)
        equal(ctl(s, "inject", "corrupt,p=0.5,seed=3"), "fault 1\n")
        equal(ctl(s, "inject", f"delay,dev={SECOND},for=1ms"), "fault 2\n")
        lines = ctl(s, "status").splitlines()[1:]
        equal([l.split() for l in lines], [["1", DEVICE, "0", "0", "corrupt,p=0.5,seed=3,times=always"],
                                           ["1", SECOND, "0", "0", "corrupt,p=0.5,seed=3,times=always"],
                                           ["2", SECOND, "0", "0", "delay,for=1ms"]])
        ctl(s, "clear", "1")
        equal(len(ctl(s, "status").splitlines()), 2)
        ctl(s, "clear", "all")
        equal(len(ctl(s, "status").splitlines()), 1)


def test_where_the_broker_is_found():
    disk("disk.img")
    out, _ = run(PINFOLD, "ctl", "list")
    has(out, DEVICE)
    with serve() as s:
        has(s.run(PINFOLD, "ctl", "list")[0], SECOND)
        where = s.socket + ".ctl"
        equal(os.stat(where).st_mode & 0o777, 0o600)
    assert not os.path.exists(where)
    env = {k: v for k, v in os.environ.items() if k != "PINFOLD_CONTROL"}
    _, err = finish(start(PINFOLD, "ctl", "list", env=env), 2)
    has(err, "--connect")
    _, err = finish(start(PINFOLD, "ctl", "--control", path("nowhere"), "list"), 125)
    has(err, "nowhere")


def test_mistakes():
    with serve() as s:
        for order, words in ((["lst"], 'did you mean "list"'), (["inject"], "missing"), (["list", "x"], "unexpected"),
                             (["inject", "corupt"], "did you mean 'corrupt'"), (["clear", "9"], "no fault '9'"),
                             (["unbind", "there"], "not a PCI address"), (["unbind", "09:00.0"], "no device"),
                             (["insert", DEVICE], "no device"), ([], "ORDER is missing"),
                             (["inject", "x" * 2000], "longer")):
            err = ctl(s, *order, status=2)
            has(err, words, "Try `pinfold help ctl`.")
        has(ctl(s, "bind", DEVICE, status=1), "busy")


def test_unbind_and_bind():
    with serve() as s:
        see = ("sh", "-c", f"ls /dev/vfio /dev/vfio/devices; ls /sys/bus/pci/devices/{DEVICE}/driver || true")
        ctl(s, "unbind", DEVICE)
        out, _ = s.run(*see)
        equal(out.split(), ["/dev/vfio:", "2", "devices", "vfio", "/dev/vfio/devices:", "vfio1"])
        has(ctl(s, "list"), f"{DEVICE}  nvme            1  unbound")
        has(ctl(s, "unbind", DEVICE, status=1), "No such device")
        ctl(s, "bind", DEVICE)
        out, _ = s.run(*see)
        has(out, "vfio0", "\n1\n", "bind")
        needs("qemu-io")
        s.run("qemu-io", "-f", "raw", "-c", "read 0 4k", NVME)


def test_unbind_waits_for_the_owner_alone():
    """Rules B4 and C1: the owner does not answer, being stopped, and nobody else notices."""
    needs("qemu-io")
    with serve() as s:
        owner = program(s, HOLD)
        equal(owner.stdout.readline(), "open\n")
        eventually(lambda: "in use" in ctl(s, "list"), "it is in use")
        os.kill(owner.pid, signal.SIGSTOP)
        waiting = start(PINFOLD, "ctl", "--connect", s.socket, "unbind", DEVICE)
        eventually(lambda: "leaving" in ctl(s, "list"), "the order has arrived")
        other = start(PINFOLD, "ctl", "--connect", s.socket, "unbind", DEVICE)
        out, _ = s.run("qemu-io", "-f", "raw", "-c", "write -P 5 0 1M", "-c", "read -P 5 0 1M",
                       NVME.replace("01:00", "02:00"))
        equal(out.count("ops;"), 2)
        equal(s.run("sh", "-c", f"cat /sys/bus/pci/devices/{DEVICE}/class")[0], "0x010802\n")
        assert waiting.poll() is None and other.poll() is None
        # Who waits may give up; the function leaves all the same.
        other.terminate()
        other.communicate()
        os.kill(owner.pid, signal.SIGCONT)
        tell(owner)
        equal(owner.stdout.readline(), "closed\n")
        finish(waiting)
        has(ctl(s, "list"), "unbound")
        tell(owner)
        finish(owner)


def test_owner_that_dies():
    with serve() as s:
        owner = program(s, HOLD)
        equal(owner.stdout.readline(), "open\n")
        waiting = start(PINFOLD, "ctl", "--connect", s.socket, "unbind", DEVICE)
        eventually(lambda: "leaving" in ctl(s, "list"), "the order has arrived")
        owner.kill()
        owner.communicate()
        finish(waiting)
        has(ctl(s, "list"), "unbound")


# ---- peers that do not behave ----

def ask(p, text):
    p.send(text)
    return p.recv(65536)


def test_garbage():
    rng = random.Random(4)
    words = [b"list", b"status", b"inject", b"clear", b"unbind", b"bind", b"insert", b"remove", b" ", b",", b"=", b"p",
             b"corrupt", b"0.5", b"all", b"\0", b"%n%s", b"\xff" * 40, b"9" * 30, b"dev=0000:09:00.0", b"-"]
    with serve() as s:
        p = peer(s)
        for _ in range(3000):
            answer = ask(p, b"".join(rng.choices(words, k=rng.randrange(1, 7))))
            assert answer[:1] in (b"O", b"U", b"F"), answer
        for text in (b"x" * 100000, b"inject " + b"a" * 1024, b"list\0", b"inject corrupt," + b"p=1," * 200):
            equal(ask(p, text)[:1], b"U")
        equal(ask(p, b"list")[:1], b"O")
        alive(s)


def count(s):
    """Of the broker's descriptors, which come and go while they are counted."""
    return len(os.listdir(f"/proc/{s.pid}/fd"))


def test_descriptors_are_closed():
    with serve() as s:
        p = peer(s)
        ask(p, b"list")
        before = count(s)
        for _ in range(50):
            fds = array.array("i", [0] * 100)
            p.sendmsg([b"list"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            equal(p.recv(65536)[:1], b"O")
        eventually(lambda: count(s) <= before, "all descriptors are closed")


def test_peers_that_do_not_read():
    with serve() as s:
        for _ in range(40):
            p = peer(s)
            p.setblocking(False)
            try:
                for _ in range(2000):
                    p.send(b"status")
            except OSError:
                pass
            alive(s)


def test_too_many_peers():
    with serve() as s:
        idle = [peer(s) for _ in range(200)]
        alive(s)
        # The last ones have their place; the first had to go.
        equal(ask(idle[-1], b"list")[:1], b"O")
        equal(idle[0].recv(100), b"")


def test_other_users_are_sent_away():
    if os.geteuid():
        raise tap.Skip("not root")
    disk("disk.img")
    text = ("import os, socket\n"
            "where = os.environ['PINFOLD_CONTROL']\n"
            "p = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
            "os.setuid(1000)\n"
            "p.connect('\\0' + where[1:])\n"
            "try:\n    p.send(b'list')\nexcept BrokenPipeError:\n    pass\n"
            "try:\n    print(p.recv(100))\nexcept ConnectionResetError:\n    print(b'')\n")
    out, _ = run(sys.executable, "-c", text)
    equal(out, "b''\n")


if __name__ == "__main__":
    tap.main(globals())
