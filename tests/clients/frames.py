# SPDX-License-Identifier: BSD-3-Clause
"""Ethernet frames whose contents can be checked, and a program at the end of a card's cable."""
import contextlib
import select
import socket
import struct
import time
import zlib

from client import PATIENCE, path

IPV4, IPV6, VLAN = 0x0800, 0x86dd, 0x8100
TCP, UDP = 6, 17
WINDOW = 48 << 10
HERE, THERE = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def ones(data):
    """The Internet checksum (RFC 1071) over data."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def payload(n, length):
    """length bytes that say which they are, and whether they are whole."""
    body = struct.pack("!I", n) + bytes((n * 31 + i * 7) & 0xff for i in range(max(length - 8, 0)))
    return body + struct.pack("!I", zlib.crc32(body))


def whole(data):
    """The number of a payload; raises if it is not as it was sent."""
    assert zlib.crc32(data[:-4]) == struct.unpack("!I", data[-4:])[0], f"damaged: {data[:16].hex()}"
    return struct.unpack("!I", data[:4])[0]


def ipv4(data, protocol=UDP, src=0x0a000001, dst=0x0a000002, ident=0):
    head = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(data), ident, 0, 64, protocol, 0, src, dst)
    return head[:10] + struct.pack("!H", ones(head)) + head[12:] + data


def pseudo(protocol, length, src, dst):
    return struct.pack("!IIBBH", src, dst, 0, protocol, length)


def udp(data, sport=1024, dport=9, src=0x0a000001, dst=0x0a000002):
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    check = ones(pseudo(UDP, 8 + len(data), src, dst) + head + data) or 0xffff
    return ipv4(head[:6] + struct.pack("!H", check) + data, UDP, src, dst)


def tcp(data, seq=0, sport=1024, dport=9, src=0x0a000001, dst=0x0a000002, flags=0x18):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 0xffff, 0, 0)
    check = ones(pseudo(TCP, 20 + len(data), src, dst) + head + data)
    return ipv4(head[:16] + struct.pack("!H", check) + head[18:] + data, TCP, src, dst)


def ether(data, kind=IPV4, dst=HERE, src=THERE, vlan=None):
    tag = struct.pack("!HH", VLAN, vlan) if vlan is not None else b""
    return (dst + src + tag + struct.pack("!H", kind) + data).ljust(60, b"\0")


def numbered(n, length=64, **kw):
    """The nth frame of a test, of at least length bytes."""
    return ether(udp(payload(n, max(length - 42, 18)), sport=1024 + n % 1000), **kw)


def transport(frame):
    """(protocol, header and data of it) of an IPv4 frame without a tag; all checksums are right."""
    assert frame[12:14] == struct.pack("!H", IPV4), frame[:18].hex()
    packet = frame[14:]
    length, protocol = struct.unpack("!H", packet[2:4])[0], packet[9]
    src, dst = struct.unpack("!II", packet[12:20])
    assert ones(packet[:20]) == 0, f"IP checksum: {packet[:20].hex()}"
    data = packet[20:length]
    assert ones(pseudo(protocol, len(data), src, dst) + data) == 0, f"checksum: {frame[:64].hex()}"
    return protocol, data


def pcap(frames):
    """A capture file's bytes (nanoseconds since nothing in particular)."""
    out = [struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 1 << 18, 1)]
    for n, frame in enumerate(frames):
        out += [struct.pack("<IIII", n // 1000, n % 1000, len(frame), len(frame)), frame]
    return b"".join(out)


def frames_of(capture):
    """The frames in a capture file's bytes, whoever wrote them."""
    order = "<" if capture[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, frames = 24, []
    while at < len(capture):
        length = struct.unpack(order + "I", capture[at + 8:at + 12])[0]
        frames.append(capture[at + 16:at + 16 + length])
        at += 16 + length
    return frames


class Peer:
    """The other end of net=socket:PATH: with Peer() as p, a card of p.net, and frames."""
    count = 0

    def __init__(self):
        Peer.count += 1
        self.name = path(f"peer-{Peer.count}")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.name)
        self.listener.listen()
        self.net = f"socket:{self.name}"
        self.socket, self.buffer = None, b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        with contextlib.suppress(AttributeError):
            self.socket.close()
        self.listener.close()

    def connect(self):
        """Until the card is up for the first time; it keeps the connection when it goes down."""
        self.listener.settimeout(PATIENCE)
        self.socket, self.buffer = self.listener.accept()[0], b""
        self.socket.setblocking(False)

    def take(self):
        """The frames that are in the buffer."""
        frames, at = [], 0
        while len(self.buffer) - at >= 4:
            length = struct.unpack("!I", self.buffer[at:at + 4])[0]
            if len(self.buffer) - at < 4 + length:
                break
            frames.append(self.buffer[at + 4:at + 4 + length])
            at += 4 + length
        self.buffer = self.buffer[at:]
        return frames

    def exchange(self, frames, want=0, until=None):
        """
        Sends frames, and returns what comes until want have come, or until(them). No more is under way than fits into
        the socket's buffers, or a card that answers would lose what we are too slow to take.
        """
        out, ahead, sizes, back = b"", 0, [4 + len(f) for f in frames], 0
        got, limit = [], time.monotonic() + PATIENCE
        at = 0
        while out or at < len(frames) or (len(got) < want if until is None else not until(got)):
            while at < len(frames) and (not want or ahead - back < WINDOW):
                out += struct.pack("!I", len(frames[at])) + frames[at]
                ahead += sizes[at]
                at += 1
            readable, writable, _ = select.select([self.socket], [self.socket] if out else [], [], 1)
            if writable:
                out = out[self.socket.send(out[:1 << 16]):]
            if readable:
                more = self.socket.recv(1 << 16)
                assert more, "the card hung up"
                self.buffer += more
                new = self.take()
                back += sum(4 + len(f) for f in new)
                got += new
            assert time.monotonic() < limit, f"{len(got)} frames came of {want}"
        return got
