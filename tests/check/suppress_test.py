#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A finding of each class can be left out by its class and the function that its last line names."""
import os
import re
import subprocess

import tap
from golden_test import GOLDEN, PATIENCE, PINFOLD, WORK, blocks, classes, command_argv

KNOWN = os.path.join(WORK.name, "known")


def status(name, *lines):
    """Of a golden program's run with these suppressions: 42 if anything was found."""
    with open(KNOWN, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    argv = command_argv(name)
    argv[2:2] = [f"--suppressions={KNOWN}", "--error-exitcode=42"]
    p = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert p.returncode in (0, 42), f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
    assert (p.returncode == 42) == (f"SUMMARY: {name}" in p.stderr), p.stderr
    return p.returncode


def suppressed(name):
    found = re.findall(r"^SUMMARY: ([\w-]+) .* in (\w+)$", blocks(name)[1], re.M)
    assert status(name, *(f"{kind}:{function}" for kind, function in found)) == 0, found
    if name == "dma-unmapped":
        assert status(name, *(f"{kind}:{function}_" for kind, function in found), "dma-p*:*") == 42


def each(name):
    test = lambda: suppressed(name)
    test.__name__ = "test_" + name.replace("-", "_")
    return test


if __name__ == "__main__":
    tap.main({t.__name__: t for t in map(each, classes())})
