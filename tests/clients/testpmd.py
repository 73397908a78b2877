# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd at its prompt, on emulated network cards."""
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

from client import PATIENCE, PINFOLD, finish, path, start, tail
from dpdk import env, pinfold

PROMPT = "testpmd> "


class Testpmd:
    """
    with Testpmd("igb,net=...", ...) as t: at its prompt. eal are more words for DPDK, args for testpmd itself, options
    for pinfold. With connect, a standing broker's socket, devices are PCI addresses.
    """

    def __init__(self, *devices, eal=(), args=(), options=(), connect=None, memory=128, mbufs=4096, user=None,
                 variables=()):
        self.said, self.mark, self.quit = "", 0, False
        words = ["dpdk-testpmd", "--no-huge", "-m", str(memory), "--iova-mode=va", "--no-telemetry", *eal]
        if connect:
            options = ("--connect", connect)
            words += [w for d in devices for w in ("-a", d)]
            devices = ()
        else:
            options = ("--memlock", "1G", *options)
        words += ["--", "-i", f"--total-num-mbufs={mbufs}", *args]
        command, _ = pinfold(*options, program=words, devices=devices, user=user)
        # On a terminal: elsewhere what it prints comes when its buffer is full.
        self.terminal, end = pty.openpty()
        mode = termios.tcgetattr(end)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
        termios.tcsetattr(end, termios.TCSANOW, mode)
        self.process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=env(**dict(variables)),
                                        start_new_session=True)
        os.close(end)

    def __enter__(self):
        try:
            self.prompt()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.end()
        elif not self.quit:
            self.finish()

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)

    def read(self, limit):
        """More of what it says, if it comes in limit seconds; False at the end."""
        if select.select([self.terminal], [], [], limit)[0]:
            more = b""
            with contextlib.suppress(OSError):
                more = os.read(self.terminal, 1 << 16)
            self.said += more.decode(errors="replace").replace("\r", "")
            return more != b""
        return True

    def until(self, text):
        """All since the last mark, until text comes."""
        limit = time.monotonic() + PATIENCE
        while text not in self.said[self.mark:]:
            assert self.read(1), f"ended: {tail(self.said)}"
            assert time.monotonic() < limit, f"no {text!r}: {tail(self.said)}"
        end = self.said.index(text, self.mark) + len(text)
        out, self.mark = self.said[self.mark:end], end
        return out

    def prompt(self):
        return self.until(PROMPT)

    def send(self, line):
        os.write(self.terminal, (line + "\n").encode())

    def do(self, *lines):
        """What it answers to them."""
        out = ""
        for line in lines:
            self.send(line)
            out += self.prompt()
        return out

    def pid(self):
        """testpmd's own process."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                    if comm.read().startswith("dpdk-testpmd"):
                        return int(pid)
        raise AssertionError("no testpmd below pinfold")

    def signal(self, sig):
        os.kill(self.pid(), sig)

    def finish(self, status=0):
        """Leaves; all that was said, pinfold's words included."""
        self.quit = True
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.send("quit")
        while self.read(PATIENCE):
            pass
        self.process.wait(PATIENCE)
        os.close(self.terminal)
        assert status is None or self.process.returncode == status, f"{self.process.returncode}: {tail(self.said)}"
        return self.said

    def kill(self):
        """As nobody expects it."""
        self.signal(signal.SIGKILL)
        return self.finish(status=None)

    def stats(self, port=0):
        return {name: int(value) for name, value in
                re.findall(r"([RT]X-[a-z]+|RX-nombuf): +(\d+)", self.do(f"show port stats {port}"))}

    def xstats(self, port=0):
        return {name: int(value) for name, value in
                re.findall(r"^([a-z0-9_]+): (\d+)$", self.do(f"show port xstats {port}"), re.M)}

    def wait_for(self, what, value, port=0):
        """Until a counter has come to value."""
        limit = time.monotonic() + PATIENCE
        while True:
            stats = self.stats(port)
            if stats[what] >= value:
                return stats
            assert time.monotonic() < limit, f"{what} of port {port} stays below {value}: {stats}"
            time.sleep(0.05)


class Broker:
    """with Broker(device, ...): a standing one; .socket is where."""

    def __init__(self, *devices, options=()):
        self.socket = path(f"net-{time.monotonic_ns()}")
        options = ("--memlock", "1G", *options)
        self.process = start(PINFOLD, "serve", "--socket", self.socket, *options,
                             *[w for d in devices for w in ("-d", d)])
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.err = finish(self.process, None)[1]
