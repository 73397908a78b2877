#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd, unmodified, with its igb driver on the emulated card. The checker has nothing to say of it."""
import re
import signal
import time

import tap
from client import DEVICE, PINFOLD, call, equal, eventually, has, needs, path
from dpdk import CLEAN, users
from frames import HERE, TCP, Peer, ether, frames_of, numbered, payload, pcap, tcp, transport, whole
from testpmd import Broker, Testpmd

needs("dpdk-testpmd")
OTHER = "0000:02:00.0"
CHECKED = ("--summary", "--check=all", "--error-exitcode=99")
BIG = {"mbufs": 16384, "memory": 192}
SECONDS = 0.3


def pair(name):
    return [f"igb,net=pair:{name}"] * 2


def clean(said):
    has(said, CLEAN, "Bye...")
    equal(set(re.findall(r"(\d+) faults", said)), {"0"}, said)
    assert "pinfold: warning" not in said, said


def queues(t, n, more=()):
    t.do("port stop all", f"port config all rxq {n}", f"port config all txq {n}", *more, "port start all")


def settle(t, ports=(0, 1)):
    """Counters that no longer change, of all ports."""
    last = None
    while True:
        now = [t.stats(p) for p in ports]
        if now == last:
            return now
        last = now


def equal_ends(a, b):
    """Both ends of a cable have counted the same, and neither lost anything."""
    for one, other in ((a, b), (b, a)):
        equal(one["RX-packets"] + one["RX-missed"], other["TX-packets"], f"{a} {b}")
        if not one["RX-missed"]:
            equal(one["RX-bytes"], other["TX-bytes"], f"{a} {b}")
        equal([one["RX-errors"], one["TX-errors"]], [0, 0], f"{a} {b}")


def forward(t, mode, seconds=SECONDS):
    """A burst goes round and round between the two ports; what each counted."""
    t.do("clear port stats all", f"set fwd {mode}", "start tx_first 2" if mode != "flowgen" else "start")
    time.sleep(seconds)
    t.wait_for("RX-packets", 100, 0)
    t.wait_for("RX-packets", 100, 1)
    t.do("stop")

    def quiet():
        """What was on its way has arrived."""
        one, other = settle(t)
        return (one, other) if all(x["RX-packets"] + x["RX-missed"] == y["TX-packets"]
                                   for x, y in ((one, other), (other, one))) else None
    a, b = eventually(quiet, lambda: settle(t))
    equal_ends(a, b)
    # As many go round as a ring holds; only what is made anew all the time can be too much.
    if mode != "flowgen":
        equal([a["RX-missed"], b["RX-missed"]], [0, 0], f"{a} {b}")


def test_forwarding():
    """Every mode with 1, 2 and 4 queues; the ends' counters agree."""
    for user in users():
        with Testpmd(*pair("forward"), options=CHECKED, user=user, **BIG) as t:
            for n in (1, 2, 4):
                queues(t, n)
                # What is left in the rings testpmd throws away when it starts; flowgen leaves more than they hold.
                for mode in ("io", "mac", "csum") + (("macswap", "5tswap", "flowgen") if n == 4 else ()):
                    forward(t, mode)
            clean(t.finish())


def send_and_receive(one, two, n, seconds=0):
    """From one process to another. What the receiver is too slow for, it has missed; nothing else is lost."""
    for t in (one, two):
        queues(t, n)
        t.do("clear port stats all")
    two.do("set fwd rxonly", "start")
    one.do("set fwd txonly", "start")
    time.sleep(seconds)
    two.wait_for("RX-packets", 4000)
    one.do("stop")

    def all_there():
        """What was put into the last ring has been taken out of the first: all count the same, queue by queue."""
        got, sent = two.stats(), one.stats()["TX-packets"]
        said = two.do("show fwd stats all")
        shares = [int(x) for x in re.findall(r"RX Port= 0/Queue= *\d+.*\n\s*RX-packets: (\d+)", said)]
        same = got["RX-packets"] + got["RX-missed"] == sent and (n == 1 or sum(shares) == got["RX-packets"])
        return (got, shares) if same else None
    got, shares = eventually(all_there, lambda: f"{two.stats()} {one.stats()} {two.said}")
    equal(got["RX-errors"], 0, got)
    if n > 1:
        equal(len([x for x in shares if x]), n)
        # Addresses are at random: no queue gets nearly all of it.
        assert max(shares) < got["RX-packets"] * 0.8, shares
    two.do("stop")


def test_sending_and_receiving():
    """One process sends, another one receives; the hash of its headers chooses a frame's queue."""
    with Broker(*pair("two"), options=CHECKED) as broker:
        flows = ("--txonly-multi-flow", "--rss-udp")
        with Testpmd(DEVICE, connect=broker.socket, args=flows, **BIG) as one, \
                Testpmd(OTHER, connect=broker.socket, args=flows, **BIG) as two:
            for n in (1, 2, 4):
                send_and_receive(one, two, n)
    equal(broker.process.returncode, 0, broker.err)
    has(broker.err, CLEAN)


def test_contents():
    """Every byte of frames of every length, there and back, through 1, 2 and 4 queues."""
    frames = [numbered(n, 60 + n * 13 % 1455) for n in range(2000)]
    with Peer() as peer, Testpmd(f"igb,net={peer.net}", options=CHECKED, **BIG) as t:
        for n in (1, 2, 4):
            queues(t, n)
            if n == 1:
                peer.connect()
            t.do("set fwd io", "start")
            got = peer.exchange(frames, len(frames))
            equal(sorted(got), sorted(frames))
            if n == 1:
                assert got == frames, "out of order"
            t.do("stop")
        clean(t.finish())


def mac_forwarding(peer, t):
    """The addresses are changed, and nothing else."""
    frames = [numbered(n, 200) for n in range(500)]
    t.do("set eth-peer 0 02:00:00:00:00:07", "set fwd mac", "start")
    got = peer.exchange(frames, len(frames))
    for f, g in zip(frames, got):
        equal(g.hex(), (bytes.fromhex("020000000007") + HERE + f[12:]).hex())
    t.do("stop")


def too_long(peer, t):
    """Longer than the card is set to receive: counted, and nothing else."""
    t.do("set fwd io", "start")
    got = peer.exchange([numbered(0, 4000), numbered(1, 100)], 1)
    equal(got, [numbered(1, 100)])
    equal(t.xstats()["rx_oversize_errors"], 1)
    t.do("stop")


def vlan(peer, t):
    """A tag is taken off, kept, put on, and asked for."""
    tagged, plain = numbered(1, 100, vlan=0x2005), numbered(1, 100)
    other = numbered(2, 100, vlan=0x0006)
    t.do("set fwd io", "start")
    equal(peer.exchange([tagged], 1), [tagged])

    t.do("stop", "vlan set strip on 0", "start")
    equal(peer.exchange([tagged, plain], 2), [plain, plain])
    t.do("stop", "set fwd rxonly", "set verbose 1", "start")
    peer.exchange([tagged], 0)
    has(t.until("VLAN tci=0x2005"), "src=")
    t.do("stop", "set verbose 0", "vlan set strip off 0", "vlan set filter on 0", "rx_vlan add 5 0", "set fwd io",
         "start")
    equal(peer.exchange([other, tagged], 1), [tagged])
    t.do("stop", "vlan set filter off 0", "port stop 0", "set fwd mac", "set eth-peer 0 02:00:00:00:00:01",
         "tx_vlan set 0 5", "port start 0", "start")
    equal([f[12:] for f in peer.exchange([plain], 1)], [numbered(1, 100, vlan=5)[12:]])
    t.do("stop", "port stop 0", "tx_vlan reset 0", "port start 0")


def checksums(peer, t):
    """Computed by the card; and those of what arrives, right or wrong, are seen."""
    t.do("port stop 0", "csum set ip hw 0", "csum set udp hw 0", "csum set tcp hw 0", "port start 0", "set fwd csum",
         "start")
    frames = [numbered(n, 64 + n % 1000) for n in range(200)]
    frames += [ether(tcp(payload(n, 20 + n * 3), seq=n)) for n in range(200, 400)]
    for frame in peer.exchange(frames, len(frames)):
        protocol, data = transport(frame)
        whole(data[20:] if protocol == TCP else data[8:])
    bad_udp, bad_ip = bytearray(numbered(1)), bytearray(numbered(2))
    bad_udp[41] ^= 0x55
    bad_ip[25] ^= 0x55
    before = t.do("show fwd stats all")
    assert "Bad-ipcsum: 0" in before or "Bad-ipcsum" not in before, before
    # What comes out has been given right ones.
    for frame in peer.exchange([bytes(bad_udp), bytes(bad_ip)], 2):
        transport(frame)
    out = t.do("stop")
    has(out, "Bad-ipcsum: 1", "Bad-l4csum: 1")


def test_frame_by_frame():
    """What one card, and one testpmd, makes of what it is sent."""
    with Peer() as peer, \
            Testpmd("igb,mac=02:00:00:00:00:01,net=" + peer.net, args=("--enable-rx-cksum",), options=CHECKED) as t:
        peer.connect()
        for part in (mac_forwarding, too_long, vlan, checksums):
            part(peer, t)
        clean(t.finish())


def test_jumbo():
    """Frames of nine thousand bytes, in one buffer and in several."""
    frames = [numbered(n, 1400 + n * 89 % 7600) for n in range(300)]
    for size in ("2176", "9728"):
        with Peer() as peer, \
                Testpmd("igb,net=" + peer.net, options=CHECKED, mbufs=2048, memory=192,
                        args=(f"--mbuf-size={size}", "--max-pkt-len=9216", "--tx-offloads=0x8000")) as t:
            peer.connect()
            t.do("set fwd io", "start")
            got = peer.exchange(frames, len(frames))
            assert got == frames, f"{len(got)}"
            stats = settle(t, (0,))[0]
            equal([stats[x] for x in ("RX-packets", "TX-packets", "RX-errors")], [len(frames), len(frames), 0])
            clean(t.finish())


def test_segmentation():
    """The card cuts a packet, and each piece is one that a receiver takes."""
    body = bytes((i * 7 + i // 251) & 0xff for i in range(8000))
    with Peer() as peer, \
            Testpmd("igb,net=" + peer.net, options=CHECKED, mbufs=2048, memory=192,
                    args=("--mbuf-size=9728", "--max-pkt-len=9216", "--enable-rx-cksum")) as t:
        t.do("port stop 0", "csum set ip hw 0", "csum set tcp hw 0", "tso set 800 0", "port start 0")
        peer.connect()
        t.do("set fwd csum", "start")
        for again in range(20):
            got = peer.exchange([ether(tcp(body, seq=5000 + again))], 10)
            seq = 5000 + again
            for n, frame in enumerate(got):
                protocol, data = transport(frame)
                equal(protocol, TCP)
                equal(int.from_bytes(data[4:8], "big"), seq)
                equal(data[20:], body[n * 800:(n + 1) * 800])
                # PSH with the last one alone.
                equal(data[13], 0x18 if n == 9 else 0x10)
                seq += 800
        clean(t.finish())


def test_link():
    """One end goes down, and the other one hears of it."""
    with Testpmd(*pair("link"), options=CHECKED) as t:
        forward(t, "io")
        for _ in range(3):
            t.do("set link-down port 0")
            eventually(lambda: "Link status: down" in t.do("show port info 1"), lambda: t.said)
            t.do("set link-up port 0")
            eventually(lambda: t.do("show port info all").count("Link status: up") == 2, lambda: t.said)
            forward(t, "io")
        heard = "Port 1: link state change event"
        eventually(lambda: heard in t.said or t.do("show port info 1") is None, lambda: t.said)
        clean(t.finish())


def restart(rounds):
    with Testpmd(*pair("restart"), options=CHECKED) as t:
        for n in range(rounds):
            if n % 5 == 4:
                t.do("port stop all", "port reset all", "port start all")
            else:
                t.do("port stop all", "port start all")
            if n % 5 == 0:
                forward(t, "io", seconds=0)
        # In the midst of it: descriptors are under way when a queue is disabled.
        for n in range(max(rounds // 10, 2)):
            t.do("set fwd io", "start tx_first 2", "stop", "port stop 0", "port start 0")
        forward(t, "io")
        clean(t.finish())


def test_restart():
    restart(10)


def test_the_other_is_killed():
    """One process of a cable dies, another is stopped; who is left goes on, and with whoever comes next."""
    with Broker(*pair("killed"), options=("--summary",)) as broker:
        with Testpmd(DEVICE, connect=broker.socket) as one:
            one.do("set fwd txonly", "start")
            for _ in range(2):
                with Testpmd(OTHER, connect=broker.socket) as two:
                    two.do("set fwd rxonly", "start")
                    two.wait_for("RX-packets", 1000)
                    two.kill()
            with Testpmd(OTHER, connect=broker.socket) as two:
                two.do("set fwd rxonly", "start")
                two.wait_for("RX-packets", 1000)
                two.signal(signal.SIGSTOP)
                # Nobody waits for it: what it has no room for is lost.
                sent = one.stats()["TX-packets"]
                one.wait_for("TX-packets", sent + 5000)
                two.signal(signal.SIGCONT)
                got = two.stats()["RX-packets"]
                two.wait_for("RX-packets", got + 1000)
            one.do("stop")
    has(broker.err, CLEAN)


def test_capabilities():
    """What drivers and people look for."""
    needs("lspci")
    out, _ = call(PINFOLD, "run", "-d", "igb,net=null", "--", "lspci", "-vvv", "-s", DEVICE)
    has(out, "82576 Gigabit Network Connection", "Power Management version 3",
        "MSI: Enable- Count=1/1 Maskable+ 64bit+", "MSI-X: Enable- Count=10", "Vector table: BAR=3 offset=00000000",
        "PBA: BAR=3 offset=00002000", "Express (v2) Endpoint", "FLReset+", "Device Serial Number",
        "Kernel driver in use: vfio-pci")


def test_captures():
    """From one file through the card, the driver, and the card into another one: the same bytes."""
    frames = [numbered(n, 60 + n * 17 % 1455) for n in range(3000)]
    for n in (1, 2, 4):
        with open(path("in.pcap"), "wb") as f:
            f.write(pcap(frames))
        # It begins with the link: for this address, and before testpmd is told to go on.
        device = f"igb,mac=02:00:00:00:00:01,net=pcap:in={path('in.pcap')},out={path('out.pcap')}"
        with Testpmd(device, options=CHECKED, args=(f"--rxq={n}", f"--txq={n}", "--no-flush-rx"), **BIG) as t:
            # Without this, testpmd drops what its rings have no room for.
            t.do("set fwd io retry", "set burst tx delay 100 retry 1000000", "start")
            t.wait_for("TX-packets", len(frames))
            equal(t.stats()["RX-missed"], 0)
            clean(t.finish())
        with open(path("out.pcap"), "rb") as f:
            got = frames_of(f.read())
        equal(len(got), len(frames))
        assert (got if n == 1 else sorted(got)) == (frames if n == 1 else sorted(frames)), n


if __name__ == "__main__":
    tap.main(globals())
