#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
One measurement of DPDK's testpmd, io forwarding: net_bench.py WHAT SIZE IN_FLIGHT SECONDS. Prints packets per second of
the lcores that forward, received; and for ours accesses to registers, and packets, of the whole run.

WHAT: loopback (a card that is its own peer), pair (two cards, a cable); of DPDK's own: null (net_null, which copies),
ring (net_ring: pointers, nothing is copied), vhost (net_vhost in one testpmd, virtio-user in another, which forward to
each other), vhost-pair (both in one).
"""
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PINFOLD = os.environ.get("PINFOLD", os.path.join(ROOT, "pinfold"))
WARM = 0.5
PROMPT = b"testpmd> "
BURST = 32


class Pmd:
    """An interactive testpmd with one forwarding lcore. Where two of them forward, each has a CPU."""

    def __init__(self, home, name, eal, before=(), lcores=(0, 1), burst=BURST):
        env = {**os.environ, "XDG_RUNTIME_DIR": home, "RUNTIME_DIRECTORY": home}
        last = os.cpu_count() - 1
        cpus = [min(n, last) for n in lcores]
        # All the other threads are asleep while packets are forwarded.
        where = [f"--lcores=0@{cpus[0]},1@{cpus[1]}", "--main-lcore=0"]
        argv = [*before, "dpdk-testpmd", *where, "--no-huge", "-m", "128", "--no-telemetry", f"--file-prefix={name}",
                "--iova-mode=va", *eal, "--", "-i", "--nb-cores=1", "--total-num-mbufs=8192", f"--burst={burst}"]
        # pylint: disable=consider-using-with
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  cwd=home, env=env)
        self.out = b""
        while PROMPT not in self.out:
            more = os.read(self.p.stdout.fileno(), 1 << 16)
            if not more:
                sys.exit(f"{' '.join(argv)}: {self.out.decode(errors='replace')}")
            self.out += more

    def say(self, line):
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()

    def end(self):
        """All that it said; it is stopped before its ports are, so that its counters are."""
        self.say("stop")
        out = self.p.communicate(b"quit\n", timeout=60)[0]
        return (self.out + out).decode(errors="replace")


def measure(pmd, size, in_flight, seconds):
    """Its Rx-pps of all ports, of which testpmd takes the time itself."""
    pmd.say(f"set txpkts {size}")
    if in_flight:
        pmd.say(f"start tx_first {max(1, in_flight // BURST)}")
    else:
        pmd.say("start")
    time.sleep(WARM)
    pmd.say("show port stats all")
    time.sleep(seconds)
    pmd.say("show port stats all")
    time.sleep(0.1)
    out = pmd.end()
    pps = [int(n) for n in re.findall(r"Rx-pps: +(\d+)", out)]
    return sum(pps[len(pps) // 2 :]), out


def main():
    what, size, in_flight, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    burst = min(BURST, in_flight) if in_flight else BURST
    alone = ["--no-pci", "--single-file-segments"]
    with tempfile.TemporaryDirectory() as home:
        peer = None
        if what in ("loopback", "pair"):
            net = ["-d", "igb,net=loopback"] if what == "loopback" else ["-d", "igb,net=pair:bench"] * 2
            pmd = Pmd(home, "a", [], [PINFOLD, "run", "--summary", *net, "--"], burst=burst)
        elif what == "null":
            pmd = Pmd(home, "a", [*alone, "--vdev", f"net_null0,size={size},copy=1"], burst=burst)
        elif what == "ring":
            pmd = Pmd(home, "a", [*alone, "--vdev", "net_ring0"], burst=burst)
        elif what == "vhost-pair":
            vdevs = ["--vdev", "net_vhost0,iface=s", "--vdev", "net_virtio_user0,path=s"]
            pmd = Pmd(home, "a", [*alone, *vdevs], burst=burst)
            time.sleep(1)  # until the two have found each other
        else:
            peer = Pmd(home, "a", [*alone, "--vdev", "net_vhost0,iface=s"], lcores=(0, 1), burst=burst)
            pmd = Pmd(home, "b", [*alone, "--vdev", "net_virtio_user0,path=s"], lcores=(1, 0), burst=burst)
            peer.say("start")
        pps, out = measure(pmd, size, in_flight, seconds)
        if peer:
            peer.end()
    print(f"pps {pps}")
    accesses = re.search(r"register accesses: (\d+)", out)
    forwarded = re.findall(r"RX-packets: (\d+) +RX-dropped: \d+ +RX-total", out)
    if accesses and forwarded:
        print(f"accesses {accesses[1]}\npackets {forwarded[-1]}")


main()
