#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A long run: memory is bounded however long it goes on, and what comes of it can still be looked at. FLOOD_ROUNDS says
how long a phase is: 100000 make more than ten million events in all (`make check-flood`)."""
import os
import re
import subprocess
import tempfile

import browser
import tap

PINFOLD, GOLDEN, SANITIZE = os.environ["PINFOLD"], os.environ["GOLDEN"], os.environ.get("SANITIZE", "none")
ROUNDS = int(os.environ.get("FLOOD_ROUNDS", "1000"))
PHASES = 4
EVENTS = 26  # of a round: map, unmap, pins, and of each read two doorbells and three transfers
GROWTH_MAX = 12 << 20  # after the first phase
PAGE_MAX = 12 << 20
WORK = tempfile.TemporaryDirectory(prefix="pinfold-scale-")


def path(*name):
    return os.path.join(WORK.name, *name)


def broker_of(p):
    """Started first, it is the child that is not the program."""
    with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="utf-8") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                if comm.read() == "pinfold-broker\n":
                    return pid
    raise AssertionError("there is no broker")


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) << 10


def flood(*options):
    """(what the broker had in memory after each phase, what was said)"""
    with open(path("disk.img"), "wb") as f:
        f.truncate(1 << 20)
    p = subprocess.Popen([PINFOLD, "run", "-d", f"nvme,path={path('disk.img')}", "--summary", *options, "--",
                          os.path.join(GOLDEN, "flood"), str(ROUNDS), str(PHASES)], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    had = []
    for _ in range(PHASES):
        assert p.stdout.readline(), p.communicate()[1]
        had.append(resident(broker_of(p)))
        p.stdin.write("go on\n")
        p.stdin.flush()
    _, err = p.communicate()
    assert p.returncode == 0, err
    print("# resident, MiB: " + " ".join(f"{h / (1 << 20):.1f}" for h in had))
    return had, err


def test_memory_and_page_are_bounded():
    had, err = flood("--check=all", f"--report={path('flood.html')}", "--trace=/dev/null")
    print(f"# about {ROUNDS * PHASES * EVENTS} events; " + re.search("the checker took.*", err).group())
    if SANITIZE == "none":  # a sanitizer keeps what was freed
        assert max(had) - had[0] < GROWTH_MAX, had
    assert int(re.search(r"DMA mappings made: (\d+),", err).group(1)) >= ROUNDS * PHASES, err
    assert "pinfold: 4 findings\n  dma-unmapped: 4\n" in err, err
    size = os.path.getsize(path("flood.html"))
    print(f"# the page has {size >> 10} KiB")
    assert size < PAGE_MAX, size
    b = browser.opened(path("flood.html"))
    try:
        text = b.run("return document.body.innerText")
        for part in ("4 findings", "dma-unmapped", "0000:01:00.0", "DMA reads"):
            assert part in text, f"{part!r} is not in {text[:2000]}"
        assert b.run("return +document.getElementById('map').dataset.drawn") > 100
        if os.environ.get("SCREENSHOT"):
            b.screenshot(os.environ["SCREENSHOT"])
    finally:
        b.close()


if __name__ == "__main__":
    tap.main(globals())
