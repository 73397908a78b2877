#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
DPDK's testpmd, unmodified, has the network card compute checksums, cut segments, insert and strip tags and spread
packets. They come from a capture by DPDK's own driver for such, go out through the card, whose cable leads back to it,
are checked by the card, and end in another capture, which is checked here.
"""
import os
import re
import struct
import threading

import tap
from client import PINFOLD, equal, eventually, finish, has, needs, path, start

needs("dpdk-testpmd")
V4 = b"\x0a\0\0\1", b"\x0a\0\0\2"
V6 = b"\xfe\x80" + bytes(13) + b"\1", b"\xfe\x80" + bytes(13) + b"\2"
TCP, UDP = 6, 17
ACK, PSH, FIN = 0x10, 8, 1


# ---- packets ----

def inet_sum(data):
    data += bytes(len(data) % 2)
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def pseudo(addrs, proto, length):
    return b"".join(addrs) + struct.pack("!II", length, proto)


def packet(addrs, proto, port, size):
    data = bytes(i * 7 + port & 0xff for i in range(size))
    if proto == TCP:
        seg = struct.pack("!HHIIHHHH", port, 80, 0xfffffff0, 7, 5 << 12 | ACK | PSH | FIN, 0x4000, 0, 0) + data
        at = 16
    else:
        seg = struct.pack("!HHHH", port, 53, 8 + size, 0) + data
        at = 6
    s = inet_sum(pseudo(addrs, proto, len(seg)) + seg)
    seg = seg[:at] + struct.pack("!H", s) + seg[at + 2:]
    ether = bytes.fromhex("025046000002025046000001")
    if len(addrs[0]) == 16:
        return ether + struct.pack("!HIHBB", 0x86dd, 0x60000000, len(seg), proto, 64) + b"".join(addrs) + seg
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(seg), 0x1234, 0x4000, 64, proto, 0) + b"".join(addrs)
    return ether + b"\x08\0" + ip[:10] + struct.pack("!H", inet_sum(ip)) + ip[12:] + seg


def capture_write(name, packets):
    with open(path(name), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for p in packets:
            p = p.ljust(60, b"\0")
            f.write(struct.pack("<IIII", 0, 0, len(p), len(p)) + p)


def capture_read(name):
    with open(path(name), "rb") as f:
        data = f.read()
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


class Seen:
    """A packet as it came out, its sums found good."""
    def __init__(self, p):
        self.tag = struct.unpack_from("!H", p, 14)[0] if p[12:14] == b"\x81\0" else None
        at = 14 if self.tag is None else 18
        kind = p[at - 2:at]
        if kind == b"\x08\0":
            length, self.ident, self.proto = *struct.unpack_from("!HH", p, at + 2), p[at + 9]
            equal(inet_sum(p[at:at + 20]), 0, "IPv4's sum")
            addrs, seg = (p[at + 12:at + 20],), p[at + 20:at + length]
        else:
            equal(kind, b"\x86\xdd")
            length, self.ident, self.proto = struct.unpack_from("!H", p, at + 4)[0], None, p[at + 6]
            addrs, seg = (p[at + 8:at + 40],), p[at + 40:at + 40 + length]
        equal(inet_sum(pseudo(addrs, self.proto, len(seg)) + seg), 0, "the transport's sum")
        self.port = struct.unpack_from("!H", seg)[0]
        self.seq = struct.unpack_from("!I", seg, 4)[0]
        self.flags = seg[13] if self.proto == TCP else 0
        self.data = seg[20 if self.proto == TCP else 8:]


# ---- testpmd ----

def read_all(fd, into):
    """Until the last writer is gone, which a terminal tells by an error."""
    try:
        while True:
            into.append(os.read(fd, 65536).decode("ascii", "replace").replace("\r", ""))
    except OSError:
        pass


def testpmd(packets, wanted, setup, queues=1):
    """Port 0 is the card, port 1 the captures. Its output, and what came out, once the card has got so many frames."""
    home = path("home")
    os.makedirs(home, exist_ok=True)
    capture_write("in.pcap", packets)
    ins = ",".join(f"rx_pcap={path('in.pcap')}" for _ in range(queues))
    outs = ",".join(f"tx_pcap={path(f'out{i}.pcap')}" for i in range(queues))
    term, tty = os.openpty()  # so that it writes line by line
    p = start(PINFOLD, "run", "-d", "igb,net=loopback", "--", "dpdk-testpmd", "--no-huge", "-m", "128",
              "--no-telemetry", "--iova-mode=va", "--vdev", f"net_pcap0,{ins},{outs}", "--", "-i", "--no-flush-rx",
              "--total-num-mbufs=8192", f"--rxq={queues}", f"--txq={queues}", stdin=-1, stdout=tty, stderr=tty,
              env={**os.environ, "HOME": home, "XDG_RUNTIME_DIR": home, "RUNTIME_DIRECTORY": home})
    os.close(tty)
    said = []
    reader = threading.Thread(target=read_all, args=(term, said))
    reader.start()
    try:
        p.stdin.write("\n".join((*setup, "set verbose 1", "start")) + "\n")
        p.stdin.flush()
        frames = len(packets) * queues + wanted  # each is a line when it comes in, from either side
        eventually(lambda: p.poll() is not None or "".join(said).count("  src=") >= frames, lambda: "".join(said))
        p.stdin.write("stop\nquit\n")
        finish(p)
    finally:
        p.kill()
        reader.join()
        os.close(term)
    return "".join(said), [s for i in range(queues) for s in map(Seen, capture_read(f"out{i}.pcap"))]


SIZES = 0, 1, 10, 99, 1400
ALL = [packet(addrs, proto, 1000 * proto + size, size) for size in SIZES for addrs in (V4, V6) for proto in (TCP, UDP)]
HARDWARE = ("set fwd csum", "port stop 0", "csum set ip hw 0", "csum set tcp hw 0", "csum set udp hw 0")
GOOD = "RTE_MBUF_F_RX_L4_CKSUM_GOOD RTE_MBUF_F_RX_IP_CKSUM_GOOD"


def test_checksums():
    out, seen = testpmd(ALL, len(ALL), (*HARDWARE, "port start 0"))
    equal(len(seen), len(ALL))
    equal(out.count("ol_flags: " + GOOD), len(ALL))
    for s, size in zip(seen, (size for size in SIZES for _ in range(4))):
        equal(s.data, bytes(i * 7 + s.port & 0xff for i in range(size)))
    for kind in "IPV4 L4_TCP", "IPV4 L4_UDP", "IPV6 L4_TCP", "IPV6 L4_UDP":
        equal(out.count(f"hw ptype: L2_ETHER L3_{kind}"), len(SIZES))


def test_segments():
    big = [packet(addrs, TCP, 5000 + n, 9000) for n in range(4) for addrs in (V4, V6)]
    out, seen = testpmd(big, 72, (*HARDWARE, "tso set 1000 0", "port start 0"))
    equal(len(seen), 72)
    equal(out.count("ol_flags: " + GOOD), 72)
    for n, s in enumerate(seen):
        i = n % 9
        equal((s.port, s.seq), (5000 + n // 18, (0xfffffff0 + 1000 * i) % 2**32))
        equal(s.flags, ACK | PSH | FIN if i == 8 else ACK)
        equal(s.data, bytes(k * 7 + s.port & 0xff for k in range(1000 * i, 1000 * i + 1000)))
        if n // 9 % 2 == 0:
            equal(s.ident, 0x1234 + i)


def test_tags():
    insert = "set fwd mac", "port stop 0", "tx_vlan set 0 55"
    out, seen = testpmd(ALL, len(ALL), (*insert, "port start 0"))
    equal([s.tag for s in seen], [55] * len(ALL))
    out, seen = testpmd(ALL, len(ALL), (*insert, "vlan set strip on 0", "port start 0"))
    equal([s.tag for s in seen], [None] * len(ALL))
    equal(out.count("VLAN tci=0x37"), len(ALL))
    equal(out.count("RX_VLAN_STRIPPED"), len(ALL))


def test_scaling():
    """The table that testpmd sets up spreads by the hash's last two bits."""
    out, seen = testpmd(ALL, 4 * len(ALL), ("port config all rss all",), queues=4)
    equal(len(seen), 4 * len(ALL))
    places = re.findall(r"RSS hash=0x([0-9a-f]+) - RSS queue=0x([0-9a-f]+).* Receive queue=0x([0-9a-f]+)", out)
    equal(len(places), 4 * len(ALL))
    for value, queue, got in places:
        equal(int(value, 16) % 4, int(queue, 16))
        equal(queue, got)
    equal({queue for _, queue, _ in places}, {"0", "1", "2", "3"})
    has(out, "RTE_MBUF_F_RX_RSS_HASH")


if __name__ == "__main__":
    tap.main(globals())
