#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Mistakes of classes that have several: each is found, as what it is, where it is made, and nothing else is."""
import os
import re
import subprocess
import tempfile

import tap

PINFOLD, VARIANTS, ROOT = os.environ["PINFOLD"], os.environ["VARIANTS"], os.environ["ROOT"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-variants-")
DISK = os.path.join(WORK.name, "disk.img")
PATIENCE = 300

# {what the program is told: (class, words of the finding, the mark in the program if it is not that name)}
EXPECTED = {
    "where-heap": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, heap\)", "where"),
    "where-stack": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, stack\)", "where"),
    "where-anonymous": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, anonymous\)", "where"),
    "where-shared": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, anonymous\)", "where"),
    "where-memfd": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, memfd:ring\)", "where"),
    "where-file": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, file pinfold-where-\w+\)", "where"),
    "where-odd": ("unmap-mismatch", r"\(va 0x[0-9a-f]+, memfd:\?\[2Jring\)", "where"),
    "space-other": ("dma-after-owner-change",
                    r"\[DMA Read\].*SQ1 SQE: meant for ioas 1, went to what is there in ioas 2"),
    "space-same": None,
    "space-reset": None,
    "config-identity": ("config-invalid", "offset 0x0, write of 2 bytes: the register is read-only"),
    "config-sizing": ("config-invalid", "a BAR as it was left by sizing"),
    "config-overlap": ("config-invalid", "two BARs at the same addresses"),
    "config-power": ("config-invalid", "does not have this power state"),
    "config-range": ("mmio-out-of-range", "configuration space ends at 0x1000"),
    "config-right": None,
    "mmio-reserved": ("mmio-out-of-range", "offset 0x200, write of 4 bytes: there is no register"),
    "mmio-narrow-read": ("mmio-width", "offset 0x14, read of 2 bytes"),
    "mmio-across": ("mmio-width", "offset 0x16, read of 2 bytes"),
    "mmio-table": ("mmio-read-only-write", "the MSI-X table is VFIO's"),
    "nvme-move-queues": ("device-protocol", "offset 0x24, write of 4 bytes: an admin queue was moved"),
    "nvme-page-size": ("device-protocol", "page size, command set or arbitration of an enabled controller"),
    "nvme-bad-enable": ("device-protocol", "enabled with a configuration that CAP does not offer"),
    "nvme-off": ("device-protocol", "a doorbell of a controller that is not enabled"),
    "nvme-tail-past": ("device-protocol", "a submission queue's tail went outside the queue"),
    "nvme-head-past": ("device-protocol", "a completion queue's head went past what was completed"),
    "nvme-same-cid": ("device-protocol", "a command has the identifier of one that is still under way"),
    "nvme-no-room": ("device-protocol", "nobody had made room in their completion queue"),
    "nvme-unheard": ("irq-lost", r"raised vector 1, and nobody has read its eventfd, nor taken the 1 answer that it "
                     r"told of \(completion queue 1\)", None),
    "nvme-unheard-closed": ("irq-lost", r"raised vector 1, and nobody has read its eventfd", None),
    "nvme-looked": None,
    "nvme-full-closed": ("device-protocol", "nobody had made room in their completion queue", None),
    "pin-storm": ("irq-storm", "5000 times .* unmasked each time without looking at the device"),
    "ioat-control": ("device-protocol", "control bits that there are not", "ioat-go"),
    "ioat-length": ("device-protocol", "length is 0", "ioat-go"),
    "ioat-chain": ("device-protocol", "CHAINADDR is not a multiple of 64", "ioat-go"),
    "ioat-no-chain": ("device-protocol", "a channel that has no chain", "ioat-go"),
    "ioat-completion": ("device-protocol", "CHANCMP is not a multiple of 8", "ioat-go"),
    "ioat-command": ("device-protocol", "a command that there is not"),
    "ioat-status": ("mmio-read-only-write", "the register is read-only"),
    "ioat-channel": ("mmio-out-of-range", "there is no register"),
    "ioat-old": ("dma-after-reset", "completion: not mapped"),
    "igb-reuse": ("device-protocol", "TX queue 0 descriptor 0: the tail went past descriptors that had not been"),
    "igb-reuse-rx": ("device-protocol", "RX queue 0 descriptor 0: the tail went past descriptors that had not been"),
    "igb-tail": ("device-protocol", "TX queue 0 descriptor 8: a tail outside its ring"),
    "igb-change": ("device-protocol", "TX queue 0 descriptor 0: a descriptor was changed before it had been written"),
    "igb-change-rx": ("device-protocol", "RX queue 0 descriptor 1: a descriptor was changed before it had been"),
    "igb-unmapped": ("dma-use-after-unmap", r"\[DMA Read\].*, TX queue 0 descriptor 0 data: not mapped", "igb-unmap"),
    "igb-unmapped-rx": ("dma-use-after-unmap", r"\[DMA Write\].*, RX queue 0 descriptor 0 data: not", "igb-unmap"),
    "igb-old": ("dma-after-reset", r"(?s)TX queue 0 descriptor 0 fetch: not mapped.*the card, through CTRL\.RST, was"),
    "igb-right": None,
}


def run(name):
    with open(DISK, "wb") as f:
        f.truncate(1 << 20)
    device = {"ioat": "ioat", "igb": "igb,net=loopback"}.get(name.split("-")[0], f"nvme,path={DISK},cmb-size=64K")
    p = subprocess.run([PINFOLD, "run", "--check=all,-map-leak", "-d", device, "--", VARIANTS, name],
                       capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert p.returncode == 0, f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
    return p.stderr


def line_of(mark):
    with open(os.path.join(ROOT, "tests", "check", "variants.c"), encoding="utf-8") as f:
        return next(n for n, line in enumerate(f, 1) if f"/* {mark} */" in line)


def one(name):
    err = run(name)
    found = re.findall(r"^==\d+== pinfold: ([\w-]+):", err, re.M)
    if not EXPECTED[name]:
        assert not found, err
        return
    kind, words, mark = (*EXPECTED[name], name)[:3]
    assert set(found) == {kind}, err
    assert re.search(words, err), f"{words!r} is not in\n{err}"
    assert mark is None or re.search(rf"#\d+ \w+ variants\.c:{line_of(mark)}\n", err), f"line {line_of(mark)}\n{err}"


def each(name):
    test = lambda: one(name)
    test.__name__ = "test_" + name.replace("-", "_")
    return test


if __name__ == "__main__":
    tap.main({t.__name__: t for t in map(each, EXPECTED)})
