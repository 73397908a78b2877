#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs whose files mean harm to who reads them: the broker goes on, and says what it can."""
import os
import random
import re
import signal
import struct
import subprocess
import tempfile
import threading
import time

import tap

PINFOLD, FRAMES = os.environ["PINFOLD"], os.environ["FRAMES"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-hostile-")
PATIENCE = 300
ROUNDS = 8


def path(name):
    return os.path.join(WORK.name, name)


def start(program, *args, **kw):
    with open(path("disk.img"), "wb") as f:
        f.truncate(1 << 20)
    return subprocess.Popen([PINFOLD, "run", "--check=unmap-mismatch", "-d", f"nvme,path={path('disk.img')}", "--",
                             program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, **kw)


def end(p):
    out, err = p.communicate(timeout=PATIENCE)
    assert p.returncode == 0, f"status {p.returncode}\n{out}\n{err}"
    assert len(re.findall(r"^==\d+== pinfold: unmap-mismatch:", err, re.M)) == 1, err
    assert "SUMMARY: unmap-mismatch" in err, err
    return err


def sections(data):
    """{name: (offset, size)} of an ELF file."""
    shoff, = struct.unpack_from("<Q", data, 0x28)
    shentsize, shnum, shstrndx = struct.unpack_from("<HHH", data, 0x3a)
    heads = [struct.unpack_from("<IIQQQQ", data, shoff + i * shentsize) for i in range(shnum)]
    names = heads[shstrndx][4]
    return {data[names + h[0]:data.index(b"\0", names + h[0])].decode(): (h[4], h[5]) for h in heads}


def changed(name, change):
    """A copy of the program with its bytes changed, but for what is loaded."""
    with open(FRAMES, "rb") as f:
        data = bytearray(f.read())
    change(data)
    with open(path(name), "wb") as f:
        f.write(data)
    os.chmod(path(name), 0o755)
    return path(name)


def test_debug_information_at_random():
    """Whatever the libraries make of it."""
    for seed in range(ROUNDS):
        rand = random.Random(seed)

        def change(data, rand=rand):
            where = sections(data)
            for s in (".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".symtab", ".debug_aranges"):
                if s in where:
                    off, size = where[s]
                    for _ in range(rand.choice((3, 30, 300))):
                        data[off + rand.randrange(size)] = rand.choice((0, 1, 0x7f, 0x80, 0xff, rand.randrange(256)))

        end(start(changed("random", change), "plainly"))


def test_section_headers_at_random():
    for seed in range(ROUNDS):
        rand = random.Random(seed)

        def change(data, rand=rand):
            shoff, = struct.unpack_from("<Q", data, 0x28)
            for _ in range(rand.choice((1, 4, 16))):
                at = rand.randrange(shoff, len(data) - 8)
                struct.pack_into("<Q", data, at, rand.choice((0, 2**64 - 1, 2**63, 2**32, rand.randrange(2**64))))

        end(start(changed("heads", change), "plainly"))


def test_unwind_tables_at_random():
    """These the broker itself reads. They are loaded, but nothing of the program uses them."""
    for seed in range(ROUNDS):
        rand = random.Random(seed)

        def change(data, rand=rand):
            for s in (".eh_frame", ".eh_frame_hdr"):
                off, size = sections(data)[s]
                for _ in range(rand.choice((3, 30, 300))):
                    data[off + rand.randrange(size)] = rand.choice((0, 0x7f, 0x80, 0xff, rand.randrange(256)))

        end(start(changed("tables", change), "plainly"))


def status(pid):
    """(name, parent) of a process; of one that is gone, even if nobody has taken note of that, nothing."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            head, tail = f.read().rsplit(")", 1)
    except OSError:
        return "", 0
    state, ppid = tail.split()[:2]
    return ("", 0) if state in "ZX" else (head.split("(", 1)[1], int(ppid))


def descends(pid, ancestor):
    while pid > 1:
        if pid == ancestor:
            return True
        pid = status(pid)[1]
    return False


def look_ups(run):
    """The processes of a run that look names up: the one that keeps, and the one that works."""
    found = [int(p) for p in os.listdir("/proc") if p.isdigit() and status(p)[0] == "pinfold-symbols"]
    found = [p for p in found if descends(p, run)]
    return sorted(found, key=lambda p: status(p)[1] in found)


def waiting(ends):
    """A run whose program waits before its mistake, and what lets it go on; once its look-ups are there."""
    gate = path("gate")
    if os.path.exists(gate):
        os.unlink(gate)
    os.mkfifo(gate)
    p = start("/bin/sh", "-c", f"read x < {gate}; exec {FRAMES} plainly")
    while len(look_ups(p.pid)) < 2:
        assert p.poll() is None, p.communicate()
        time.sleep(0.01)
    ends(look_ups(p.pid))
    with open(gate, "w", encoding="utf-8") as f:
        f.write("\n")
    return end(p)


def test_one_that_died_has_a_successor():
    def kill(pids):
        keeper, worker = pids
        os.kill(worker, signal.SIGKILL)
        while not [p for p in look_ups(keeper) if p not in pids]:
            time.sleep(0.01)

    assert "plainly frames.c:" in waiting(kill)


def test_without_any_there_are_no_names():
    def kill(pids):
        os.kill(pids[0], signal.SIGKILL)
        while any(status(p)[0] for p in pids):
            time.sleep(0.01)

    err = waiting(kill)
    assert "frames.c:" not in err and re.search(r"#0 \(.*/libc\S*\+0x|#0 \(.*frames\+0x", err), err


def test_one_that_does_not_answer():
    """A file at which it hangs: then it is ended, or not waited for any longer."""
    err = waiting(lambda pids: os.kill(pids[1], signal.SIGSTOP))
    assert "frames.c:" not in err, err


def test_nothing_is_left():
    p = start(FRAMES, "plainly")
    end(p)
    until = time.monotonic() + PATIENCE
    while look_ups(p.pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not look_ups(p.pid)


def perf_map(make):
    """Of a program that generates code and waits for what it calls its map to be there."""
    def change(name):
        os.unlink(name)
        make(name)

    p = start(FRAMES, "generated", path("gate2"))
    name = p.stdout.readline().strip()
    change(name)
    with open(path("gate2"), "w", encoding="utf-8") as f:
        f.write("\n")
    try:
        return end(p)
    finally:
        os.unlink(name)


def test_maps_of_generated_code():
    def endless(name):
        os.symlink("/dev/zero", name)

    def one_line(name):
        with open(name, "wb") as f:
            f.truncate(200 << 20)

    for make in (os.mkfifo, endless, one_line):
        if os.path.exists(path("gate2")):
            os.unlink(path("gate2"))
        os.mkfifo(path("gate2"))
        assert "(generated code+0x" in perf_map(make)


if __name__ == "__main__":
    tap.main(globals())
