#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Every kind of memory that DPDK maps for DMA: without huge pages and with them, in files and in memory, growing and
shrinking, of one process and of two, at its virtual and at its physical addresses. The copy engine reaches all of it.
"""
import os

import tap
from client import call, equal, has, needs
from dpdk import CLEAN, SMALL, env, huge_folder, huge_pages_are_gone, needs_huge_pages, pinfold, users

needs("dpdk-test")
PROGRAM = os.environ.get("DPDK_MEMORY")
KINDS = ("private", "private, huge pages", "shared, anonymous", "shared, huge pages")


def memory(*eal, does, status=0, options=(), **kw):
    """What the program, and pinfold, say."""
    if not PROGRAM:
        raise tap.Skip("no headers of DPDK's")
    words, kw = pinfold("--memlock", "256M", "--summary", *options, program=(PROGRAM, *eal, "--", *does), **kw)
    out, err = call(*words, status=None, env=env(), **kw)
    return said(out, err, does, status, words)


def said(out, err, does, status, words):
    if "--no-huge" not in words:
        huge_pages_are_gone(out + err)
    if "stale" not in does:
        has(err, CLEAN)
        has(err, " 0 faults")
    for verb in does:
        has(out, f"{verb}: ")
    # What was to be had of these has been used.
    for verb in {"external", "heap"} & set(does):
        for kind in KINDS:
            has(out, f"{verb}: {kind}\n" if f"{kind}: there is none" not in out else kind)
    if status is not None:
        has(err, "ioat")
    return out, err


def test_no_huge():
    for user in users():
        memory(*SMALL, does=["external"], user=user)
    memory(*SMALL, "--legacy-mem", "--single-file-segments", does=["external"])


def test_no_huge_at_physical_addresses():
    """DPDK knows none of pages that may move, says so, and uses virtual ones."""
    for user in users():
        _, err = memory("--no-huge", "-m", "64", "--iova-mode=pa", does=["external"], user=user)
        has(err, "Physical addresses are unavailable, selecting IOVA as VA mode.")


def test_in_memory():
    """Its heap grows and shrinks by huge pages, each of which is mapped for DMA when it comes, and unmapped."""
    needs_huge_pages()
    for user in users():
        for more in ((), ("--single-file-segments", "--match-allocations")):
            out, _ = memory("--in-memory", "--iova-mode=va", *more, does=["grow", "external", "heap"], user=user)
            has(out, "grow: from 2 MiB to 36 MiB and back to 2 MiB")


def test_huge_pages_go_back():
    """Far more in the end than there are: none is kept for later."""
    needs_huge_pages()
    memory("--in-memory", "--iova-mode=va", does=["grow"] * 3)


def test_physical_addresses():
    """Where they may be known: the IOMMU takes them for IOVAs, as Linux's does."""
    needs_huge_pages()
    out, err = memory("--in-memory", "--iova-mode=pa", does=["grow", "external", "heap"])
    if "Selected IOVA mode 'VA'" in out + err:
        has(out + err, "Physical addresses are unavailable, selecting IOVA as VA mode.")
        raise tap.Skip("physical addresses are not to be had here")
    has(out + err, "Selected IOVA mode 'PA'")


def test_files_of_huge_pages():
    needs_huge_pages()
    mount, huge = huge_folder()
    for n, user in enumerate(users()):
        for more in (("--huge-unlink",), ("--single-file-segments",)):
            memory("--huge-dir", huge, f"--file-prefix=u{n}", "--iova-mode=va", *more, does=["grow", "heap"], user=user,
                   before=mount)
        memory("--huge-dir", huge, f"--file-prefix=u{n}", "--iova-mode=va", "--legacy-mem", "-m", "64",
               does=["external"], user=user, before=mount)


TWO = """
cd "$1"; shift; does=$1; shift
rm -f in; mkfifo in; : >primary
"$DPDK_MEMORY" "$@" -- wait <in >primary 2>&1 &
exec 3>in
n=0; until grep -q ready primary || ! kill -0 $!; do sleep 0.1; n=$((n + 1)); [ $n -lt 2000 ] || exit 9; done
# One after the other; each finds the copy engine and its memory as the primary process has them.
for again in 1 2; do
	"$DPDK_MEMORY" "$@" --proc-type=secondary -- $does || echo "failed: $?"
done
exec 3>&-; wait; cat primary >&2
"""


def two_processes(*eal, does, **kw):
    variables = env()
    runtime = variables["RUNTIME_DIRECTORY"]
    program = ("sh", "-c", TWO, "sh", runtime, " ".join(does), *eal)
    words, kw = pinfold("--memlock", "256M", "--summary", program=program, **kw)
    out, err = call(*words, status=None, env=variables, **kw)
    out, err = said(out, err, does, None, words)
    for verb in does:
        equal(out.count(f"{verb}: "), 2 if verb == "grow" else 2 * len(KINDS), out)
    assert "failed" not in out, out + err


def test_two_processes():
    """The second gets the descriptors of group and container from the first, whose mappings serve both."""
    needs_huge_pages()
    if not PROGRAM:
        raise tap.Skip("no headers of DPDK's")
    mount, huge = huge_folder()
    for n, user in enumerate(users()):
        two_processes("--huge-dir", huge, f"--file-prefix=two{n}", "--iova-mode=va", does=["grow"], user=user,
                      before=mount)
    for more in (("--iova-mode=va", "--single-file-segments"), ("--iova-mode=pa",)):
        two_processes("--huge-dir", huge, "--file-prefix=two", *more, does=["grow"], before=mount)
    two_processes("--huge-dir", huge, "--file-prefix=two", "--iova-mode=va", "--legacy-mem", "-m", "64",
                  does=["external"], before=mount)


ALONE = """
cd "$1"; mkfifo in
dpdk-test --no-huge -m 64 <in >primary 2>&1 &
exec 3>in
n=0; until grep -q 'RTE>>' primary; do sleep 0.1; n=$((n + 1)); [ $n -lt 2000 ] || exit 9; done
dpdk-test --no-huge --proc-type=secondary
echo quit >&3; exec 3>&-; wait
"""


def test_no_second_process_without_huge_pages():
    """Not with DPDK 22.11, which says so; the first one goes on."""
    for user in users():
        variables = env()
        words, kw = pinfold(program=("sh", "-c", ALONE, "sh", variables["RUNTIME_DIRECTORY"]), user=user)
        out, err = call(*words, status=None, env=variables, **kw)
        has(out + err, "hugepage_data", "Cannot init memory")


def test_memory_that_was_given_back():
    """The checker knows where it was unmapped: within rte_free()."""
    needs_huge_pages()
    out, err = memory("--in-memory", "--iova-mode=va", does=["grow", "stale"], options=("--check",))
    has(out, "stale: refused")
    has(err, "dma-use-after-unmap: [DMA Read] 0000:01:00.0 fault addr ", "unmapped ", "stale dpdk_memory.c:",
        "pinfold: 1 finding")


if __name__ == "__main__":
    tap.main(globals())
