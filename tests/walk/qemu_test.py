#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""qemu_test.py DUMP ARCH: the walkers against the processors of QEMU.

Random tables are put into the memory of a machine that never runs; its registers are set through the gdb stub so that
it translates with them, and its monitor (gva2gpa) and our walker translate the same addresses. Needs QEMU for ARCH.
"""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

X86, ARM, RISCV, S390 = range(4)
HUGE, NAPOT = 8, 512
PRIV = 8
RAM_MIB = 3200


class Machine:
    def __init__(self, command, folder):
        gdb, qmp = os.path.join(folder, "gdb"), os.path.join(folder, "qmp")
        self.qemu = subprocess.Popen(
            command + ["-m", f"{RAM_MIB}M", "-S", "-display", "none", "-nodefaults",
                       "-qmp", f"unix:{qmp},server=on,wait=off", "-gdb", "chardev:g",
                       "-chardev", f"socket,path={gdb},server=on,wait=off,id=g"])
        self.gdb = self.connect(gdb)
        self.qmp = self.connect(qmp).makefile("rw")
        self.qmp.readline()
        self.command("qmp_capabilities")
        self.packet("qSupported:xmlRegisters=i386")
        self.numbers = self.registers()

    def connect(self, path):
        while self.qemu.poll() is None:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError:
                s.close()
                time.sleep(0.05)
        raise SystemExit("QEMU ended early")

    def packet(self, text):
        self.gdb.sendall(f"${text}#{sum(text.encode()) & 255:02x}".encode())
        got = b""
        while not re.search(rb"\$[^#]*#..", got, re.S):
            more = self.gdb.recv(65536)
            if not more:
                raise SystemExit("the gdb stub hung up")
            got += more
        self.gdb.sendall(b"+")
        return re.search(rb"\$([^#]*)#", got, re.S)[1].decode("latin1")

    def xml(self, name):
        text = ""
        while True:
            part = self.packet(f"qXfer:features:read:{name}:{len(text):x},ff0")
            text += part[1:]
            if part[0] != "m":
                return text

    def registers(self):
        numbers, n = {}, 0
        for name in re.findall(r'href="([^"]+)"', self.xml("target.xml")):
            text = re.sub(r"<!--.*?-->", "", self.xml(name), flags=re.S)
            for attributes in re.findall(r"<reg ([^>]*)>", text):
                fixed = re.search(r'regnum="(\d+)"', attributes)
                n = int(fixed[1]) if fixed else n
                numbers[re.search(r'name="([^"]+)"', attributes)[1]] = n
                n += 1
        return numbers

    def set(self, name, value, order="little"):
        answer = self.packet(f"P{self.numbers[name]:x}={value.to_bytes(8, order).hex()}")
        assert answer == "OK", (name, answer)

    def command(self, name, **arguments):
        self.qmp.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline())
            if "return" in answer:
                return answer["return"]

    def translate(self, iova):
        answer = self.command("human-monitor-command", **{"command-line": f"gva2gpa {iova:#x}"})
        found = re.search(r"gpa: (0x[0-9a-f]+|0)", answer)
        return int(found[1], 16) if found else None

    def end(self):
        self.qemu.kill()
        self.qemu.wait()


def x86_set(m, root, config):
    m.set("cr4", 0x20 | (0x1000 if config[1] == 57 else 0))  # PAE, LA57
    m.set("efer", 0xD00)  # LME, LMA, NXE
    m.set("cr3", root)
    m.set("cr0", 0x80010011)  # PG, WP, PE


def riscv_set(m, root, config):
    m.set("satp", {39: 8, 48: 9, 57: 10}[config[1]] << 60 | root >> 12)
    m.set("priv", 0)


def s390_set(m, root, config):
    m.set("pswm", 0x0400000180000000, "big")  # DAT, 64-bit addresses
    m.set("cr1", root | {31: 0, 42: 1, 53: 2, 64: 3}[config[1]] << 2 | 3, "big")


def arm_set(m, root, config):
    """System registers can only be set by the processor: three instructions, stepped through."""
    size = {32: 0, 36: 1, 40: 2, 42: 3, 44: 4, 48: 5, 52: 6}[config[2]]
    granule = {12: 0, 14: 2, 16: 1}[config[3]]
    code = (0xD5182000, 0xD5182041, 0xD5181002, 0x14000000)  # msr ttbr0_el1, x0; tcr_el1, x1; sctlr_el1, x2; b .
    m.packet("M50000000,10:" + struct.pack("<4I", *code).hex())
    m.set("x0", root)
    m.set("x1", (64 - config[1]) | granule << 14 | 1 << 23 | size << 32)
    m.set("x2", 0x30D00801)
    m.set("pc", 0x50000000)
    for _ in range(3):
        m.packet("vCont;s:p1.1")


# format, input bits, output bits, granule, flags, access
MACHINES = {
    "x86_64": (["-M", "pc", "-cpu", "max"], x86_set, [
        (X86, 48, 52, 12, HUGE, PRIV), (X86, 57, 52, 12, HUGE, PRIV)]),
    "aarch64": (["-M", "virt", "-cpu", "max"], arm_set, [
        (ARM, 48, 48, 12, 0, PRIV), (ARM, 39, 40, 12, 0, PRIV), (ARM, 47, 42, 14, 0, PRIV), (ARM, 48, 48, 16, 0, PRIV),
        (ARM, 52, 52, 16, 0, PRIV), (ARM, 31, 36, 12, 0, PRIV)]),
    "riscv64": (["-M", "virt", "-bios", "none", "-cpu", "rv64,pmp=false,svnapot=true"], riscv_set, [
        (RISCV, 39, 56, 12, NAPOT, 0), (RISCV, 48, 56, 12, NAPOT, 0), (RISCV, 57, 56, 12, NAPOT, 0)]),
    # Without frames of 1 MiB: its TCG has no EDAT.
    "s390x": (["-M", "s390-ccw-virtio", "-cpu", "max", "-accel", "tcg"], s390_set, [
        (S390, 31, 32, 12, 0, 0), (S390, 42, 32, 12, 0, 0), (S390, 53, 32, 12, 0, 0), (S390, 64, 32, 12, 0, 0)]),
}


def differences(dump, arch, config, seed, folder):
    options, registers_set, _ = MACHINES[arch]
    tables = os.path.join(folder, "tables")
    numbers = [str(n) for n in (*config[:5], seed, config[5])]
    lines = subprocess.run([dump, *numbers, tables], check=True, capture_output=True, text=True).stdout.split("\n")
    root, base = lines[0].split()
    m = Machine([f"qemu-system-{arch}", *options, "-device", f"loader,file={tables},addr={base},force-raw=on"], folder)
    try:
        registers_set(m, int(root, 16), config)
        mapped = 0
        for line in filter(None, lines[1:]):
            iova, ours = line.split()
            ours = None if ours == "-" else int(ours, 16)
            theirs = m.translate(int(iova, 16))
            # s390 processors also refuse frames that are not there.
            if arch == "s390x" and ours is not None and ours >= RAM_MIB << 20:
                ours = None
            mapped += ours is not None
            if ours != theirs:
                yield f"{arch} {config} seed {seed}: {iova} is {theirs} to QEMU, {ours} to us"
        if mapped < 50:
            yield f"{arch} {config} seed {seed}: only {mapped} addresses were mapped"
    finally:
        m.end()


def main():
    dump, arch = sys.argv[1:]
    if not shutil.which(f"qemu-system-{arch}"):
        print(f"no qemu-system-{arch} here")
        sys.exit(77)
    found = []
    for seed, config in enumerate(MACHINES[arch][2]):
        with tempfile.TemporaryDirectory() as folder:
            found += differences(dump, arch, config, seed, folder)
    print("\n".join(found[:20]))
    print(f"{arch}: {len(MACHINES[arch][2])} configurations, {len(found)} differences")
    sys.exit(1 if found else 0)


main()
