#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Memory that is mapped for DMA and lost, in every way that is told apart: each is found, with its class and the place
where it was lost; and what only looks like it is not."""
import os
import re
import subprocess
import tempfile

import tap

PINFOLD, SOURCE = os.environ["PINFOLD"], os.environ["SOURCE"]
PROGRAM, PROGRAM_ASAN, PROGRAM_CLANG = (os.environ.get(n) for n in ("MEMORY", "MEMORY_ASAN", "MEMORY_CLANG_ASAN"))
WORK = tempfile.TemporaryDirectory(prefix="pinfold-memory-")
PATIENCE = 300


def run(case, *args, program=PROGRAM, options=()):
    """[(class, text)] that is found."""
    disk = os.path.join(WORK.name, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    # The run ends when nobody can write there any more, a child that goes on alone neither.
    command = f"set -o pipefail; {program} {case} {' '.join(args)} | cat"
    argv = [PINFOLD, "run", "--check=all", *options, "-d", f"nvme,path={disk}", "--", "bash", "-c", command]
    p = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert p.returncode == 0, f"{case}: status {p.returncode}\n{p.stdout}\n{p.stderr}"
    parts = re.split(r"^(==\d+== pinfold: )", p.stderr, flags=re.M)
    return [(t.split(":")[0], t) for t in parts[2::2]]


def line_of(case, statement):
    """The first line with this in it, in the function."""
    with open(SOURCE, encoding="utf-8") as f:
        lines = f.read().split("\n")
    start = lines.index(f"static void {case}(void)")
    return next(n for n, line in enumerate(lines[start:], start + 1) if statement in line)


def finds(name, case, statement, *words, **kw):
    """One kind of finding, whose place is this statement of the case's."""
    found = run(case, **kw)
    assert found and {c for c, _ in found} == {name}, f"{case}: {found}"
    line = line_of(case, statement)
    for _, text in found:
        assert f"SUMMARY: {name} memory.c:{line} in {case}\n" in text, f"{case}: line {line} is not blamed in\n{text}"
        for word in words:
            assert word in text, f"{case}: {word!r} is not in\n{text}"
    return found


def silent(*cases, **kw):
    for case in cases:
        found = run(case, **kw)
        assert not found, f"{case}: {found[0][1]}"


def asan():
    for program in (PROGRAM_ASAN, PROGRAM_CLANG):
        if program:
            yield program


def test_freed():
    text = finds("dma-to-freed-memory", "unmapped_half", "munmap")[0][1]
    assert "addr 0x1001000 (4096 bytes)" in text, text
    assert "0x1001000 is 4096 bytes inside the 8192-byte mapping" in text, text
    assert re.search(r"SQ1 CID \d+ PRP1", text), text
    finds("dma-to-freed-memory", "made_inaccessible", "mmap")
    finds("dma-to-freed-memory", "shrunk", "mremap")
    finds("dma-to-freed-memory", "heap_shrunk", "sbrk(-grow)")
    finds("dma-to-freed-memory", "shared_unmapped", "munmap")
    finds("dma-to-freed-memory", "moved_and_unmapped", "munmap")


def test_not_freed():
    silent("unmapped_beside", "freed_before", "file_unmapped", "shared_twice", "shared_with_child", "moved")


def test_stale():
    finds("dma-stale-page", "replaced", "MAP_FIXED")
    finds("dma-stale-page", "moved_over", "mremap")
    finds("dma-stale-page", "cut_and_grown", "ftruncate(file, 0)")
    finds("dma-stale-page", "cut", "ftruncate(file, PAGE)")
    finds("dma-stale-page", "punched", "fallocate")
    finds("dma-stale-page", "removed", "MADV_REMOVE")


def test_not_stale():
    silent("replaced_in_vain", "advised")


def test_heap():
    for program in asan():
        text = finds("dma-to-freed-memory", "heap_freed", "free(small)", "the program freed it", program=program)[0][1]
        allocated = re.search(r"allocated by thread T0 here:\n((?: +#\d.*\n)*)", text)
        assert f"heap_freed memory.c:{line_of('heap_freed', 'aligned_alloc')}\n" in allocated.group(1), text
        finds("dma-to-freed-memory", "heap_resized", "realloc", program=program)


def test_heap_in_order():
    for program in asan():
        # Without a quarantine the same memory is handed out again at once.
        silent("heap_kept", "unmapped_beside", "freed_before", "child_waits", program=program)
        os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
        try:
            silent("heap_recycled", program=program)
        finally:
            del os.environ["ASAN_OPTIONS"]


def test_fork():
    text = finds("fork-hazard", "child_drives", "fork()", "set it off")[0][1]
    assert f"nvme_ring" in text, text
    finds("fork-hazard", "daemonized", "fork()", "has ended", "goes on with the device")


def test_forks_that_do_no_harm():
    silent("child_waits")


def test_limit():
    found = run("refused_and_gave_up", options=["--memlock=256K"])
    assert [c for c, _ in found] == ["pin-near-limit"], found
    assert "1024 KiB more than the 20 KiB that are pinned exceed the limit of 256 KiB" in found[0][1], found
    silent("refused", options=["--memlock=256K"])
    silent("refused_and_gave_up", options=["--memlock=unlimited"])


if __name__ == "__main__":
    tap.main(globals())
