#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every source file names its licence in its first lines, leaves nothing to do later, and ends its lines cleanly."""
import os
import re
import sys

FOLDERS = ("src", "tests", "fuzz", "bench", "scripts", "completion", ".ci")
CODE = (".c", ".h", ".S", ".py", ".sh", ".bash")
# Spelt so that this file passes.
LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")


def files(root):
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            if "__pycache__" in folder or os.path.join("fuzz", "seeds") in folder:
                continue
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith(CODE) or (os.access(path, os.X_OK) and "." not in name) or name == "meson.build":
                    yield path
    yield os.path.join(root, "Makefile")
    yield os.path.join(root, "pinfold")


def complaints(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    lines = text.splitlines()
    if not path.endswith("meson.build") and not any("SPDX-License-Identifier: BSD-3-Clause" in l for l in lines[:3]):
        yield f"{path}:1: no SPDX line"
    if text and not text.endswith("\n"):
        yield f"{path}:{len(lines)}: no newline at the end"
    for n, line in enumerate(lines, 1):
        if LATER.search(line):
            yield f"{path}:{n}: something is left to do"
        if line != line.rstrip():
            yield f"{path}:{n}: blanks at the end"
        if len(line.expandtabs(8)) > 120 and path.endswith((".c", ".h", ".py")):
            yield f"{path}:{n}: longer than 120 columns"


def main():
    found = [c for path in sorted(files(sys.argv[1])) for c in complaints(path)]
    for line in found:
        print(line)
    print(f"style: {len(found)} complaints")
    return 1 if found else 0


sys.exit(main())
