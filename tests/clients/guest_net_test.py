#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
A Linux guest that drives the emulated network cards with the kernel's own igb driver, through QEMU's vfio-pci. One
guest has all the cards, each for one test; at the end the checker has found nothing, with every class on.
"""
import contextlib
import ctypes
import fcntl
import hashlib
import os
import socket
import struct

import tap
from client import PATIENCE, PINFOLD, equal, has
from guest import IMAGE, Guest, needs_guest, summary_is_clean
from testpmd import Broker, Testpmd

NET = os.path.join(IMAGE, "net")
CHECKED = ("--summary", "--check=all", "--error-exitcode=99")
TAP = "pinfold-tap"
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)

# The guest's are at 01 to 05; those of testpmd, at the other ends of the third's and the fourth's cables, at 06 and 07.
CABLES = ["pair:direct", "pair:direct", "pair:left", "pair:right", f"tap:{TAP}", "pair:left", "pair:right"]
TESTPMD = ("0000:06:00.0", "0000:07:00.0")


def mac(n):
    return f"02:00:00:00:00:{n:02x}"


@contextlib.contextmanager
def network():
    """A network namespace of this thread's, if tap interfaces can be made in it."""
    with open("/proc/thread-self/ns/net", "rb") as old:
        alone = not libc.unshare(CLONE_NEWNET)
        try:
            with open("/dev/net/tun", "r+b", buffering=0) as tun:
                # TUNSETIFF with IFF_TAP and IFF_NO_PI
                fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH14x", TAP.encode(), 0x1002))
            possible = alone
        except OSError:
            possible = False
        try:
            yield possible
        finally:
            assert not alone or not libc.setns(old.fileno(), CLONE_NEWNET)


def interface_up(address, mtu):
    """The host's end of the guest's fifth cable. SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU, SIOCSIFFLAGS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for request, value in ((0x8916, address), (0x891c, "255.255.255.0")):
            fcntl.ioctl(s, request, struct.pack("16sHH4s8x", TAP.encode(), socket.AF_INET, 0, socket.inet_aton(value)))
        fcntl.ioctl(s, 0x8922, struct.pack("16si12x", TAP.encode(), mtu))
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", TAP.encode(), 0x43))


def there(command):
    """In the guest's other network namespace: what goes there from a card has been on its cable."""
    return "nsenter -t $(cat /ns) -n " + command


class Machine:
    """The guest and its broker."""

    def start(self, stack):
        self.stack = stack
        self.has_tap = stack.enter_context(network())
        cables = [c if self.has_tap else c.replace(f"tap:{TAP}", "null") for c in CABLES]
        self.broker = stack.enter_context(
            Broker(*[f"igb,mac={mac(n)},net={net}" for n, net in enumerate(cables, 1)], options=CHECKED))
        cards = [w for n in range(1, 6) for w in ("-device", f"vfio-pci,host=0000:{n:02x}:00.0,id=card{n}")]
        self.guest = stack.enter_context(
            Guest(*cards, image=NET, command=[PINFOLD, "run", "--connect", self.broker.socket, "--"]))
        self.guest.wait_for("[ -e /sys/class/net/eth4 ]")
        equal(self.guest.sh("cat /sys/class/net/eth*/address"), "\n".join(map(mac, range(1, 6))))
        self.guest.sh("unshare -n sleep 100000 & echo $! >/ns")
        self.guest.wait_for("[ $(readlink /proc/$(cat /ns)/ns/net) != $(readlink /proc/1/ns/net) ]")
        self.guest.sh("mkfifo /idle; dd if=/dev/urandom of=/file bs=1M count=4 2>/dev/null")
        self.digest = self.guest.sh("sha256sum </file").split()[0]

    def up(self, n, address):
        self.guest.sh(f"ip addr add {address}/24 dev eth{n}; ip link set eth{n} up")

    def up_there(self, n, address):
        self.guest.sh(f"ip link set eth{n} netns $(cat /ns); " + there(f"ip addr add {address}/24 dev eth{n}; ") +
                      there(f"ip link set eth{n} up"))

    def answers(self, address, *sizes):
        """It may take a while until the link is up and the first one goes through; then all do."""
        self.guest.wait_for(f"ping -c 1 -W 1 {address}")
        for size in sizes:
            has(self.guest.sh(f"ping -A -c 20 -s {size} -W 20 {address}"), "20 packets received")

    def listen(self, port, where=str):
        """nc hangs up when its input ends: this one's does not."""
        self.guest.sh(where(f"nc -l -p {port} <>/idle >/got & echo $! >/nc"))
        self.guest.wait_for(where("netstat -ltn") + f" | grep -q :{port}")

    def got(self):
        """What has come there, when nc has hung up."""
        self.guest.wait_for("[ ! -e /proc/$(cat /nc)/fd/1 ]")
        return self.guest.sh("sha256sum </got").split()[0]


M = Machine()


def both_ways(here, far):
    """What one end sends, segments and checksums made by the card, is what the other one gets."""
    M.listen(5000, there)
    M.guest.sh(f"nc {far} 5000 </file")
    equal(M.got(), M.digest)
    M.listen(5001)
    M.guest.sh(there(f"nc {here} 5001 </file"))
    equal(M.got(), M.digest)


def test_two_cards():
    """A cable from one card to another. Links go down and up, drivers too."""
    g = M.guest
    M.up(0, "10.0.0.1")
    M.up_there(1, "10.0.0.2")
    M.answers("10.0.0.2", 1400)
    both_ways("10.0.0.1", "10.0.0.2")
    for _ in range(3):
        g.sh("ip link set eth0 down")
        g.wait_for(there("sh -c '[ $(cat /sys/class/net/eth1/carrier) = 0 ] || ! ip link show eth1 | "
                         "grep -q LOWER_UP'"))
        g.sh("ip link set eth0 up")
        M.answers("10.0.0.2")
    counts = g.sh("grep eth0 /proc/net/dev").split()
    assert int(counts[1]) > 4 << 20 and int(counts[9]) > 4 << 20, counts
    equal([counts[3], counts[11]], ["0", "0"], str(counts))
    pci = g.sh("basename $(readlink -f /sys/class/net/eth0/device)")
    for _ in range(2):
        g.sh(f"echo {pci} >/sys/bus/pci/drivers/igb/unbind; echo 1 >/sys/bus/pci/devices/{pci}/reset; "
             f"echo {pci} >/sys/bus/pci/drivers/igb/bind")
        g.wait_for("[ -e /sys/class/net/eth0 ]")
        M.up(0, "10.0.0.1")
        M.answers("10.0.0.2")


def test_testpmd_between():
    """DPDK's driver at the other ends: it passes on what one card sends to another, and answers by itself."""
    M.up(2, "10.0.1.1")
    M.up_there(3, "10.0.1.2")
    with Testpmd(*TESTPMD, connect=M.broker.socket, mbufs=8192) as t:
        t.do("set fwd io", "start")
        M.answers("10.0.1.2", 0, 1472)
        both_ways("10.0.1.1", "10.0.1.2")
        t.do("stop", "set fwd icmpecho", "start")
        M.answers("10.0.1.77", 0, 100, 1472)
        has(M.guest.sh("ping -A -c 200 -W 20 10.0.1.77"), "200 packets received")
        t.do("stop")


def test_tap():
    """The host's own network at the other end."""
    if not M.has_tap:
        raise tap.Skip("no permission for a network namespace and a tap interface")
    interface_up("10.0.2.1", 1500)
    M.up(4, "10.0.2.2")
    M.answers("10.0.2.1", 0, 1472)
    data, digest = os.urandom(4 << 20), hashlib.sha256()
    with socket.create_server(("10.0.2.1", 5002)) as server:
        server.settimeout(PATIENCE)
        M.guest.shell.send("nc 10.0.2.1 5002 </file\n")
        peer = server.accept()[0]
        peer.settimeout(PATIENCE)
        with peer:
            while more := peer.recv(1 << 16):
                digest.update(more)
        equal(M.guest.shell.line(), "@@0")
    equal(digest.hexdigest(), M.digest)
    M.listen(5003)
    with socket.create_connection(("10.0.2.2", 5003), PATIENCE) as s:
        s.sendall(data)
    equal(M.got(), hashlib.sha256(data).hexdigest())


def test_nothing_found():
    g = M.guest
    # A host that is slow lets the driver suspect that the card hangs.
    equal(g.sh("dmesg | grep -ciE 'igb.*(fail|error)|WARNING'", status=None), "0", g.sh("dmesg | tail -40"))
    g.finish()
    M.stack.close()
    equal(M.broker.process.returncode, 0, M.broker.err)
    summary_is_clean(M.broker.err)
    assert "fault addr" not in M.broker.err, M.broker.err


def main():
    needs_guest()
    if not os.path.exists(os.path.join(NET, "modules", "igb.ko")):
        print(f"1..0 # SKIP no igb.ko in {NET}: scripts/guest-image makes it")
        return
    with contextlib.ExitStack() as stack:
        M.start(stack)
        tap.main(globals())


if __name__ == "__main__":
    main()
