#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Dependencies point down only: what each folder of src/ includes must be in a layer below its own."""
import os
import re
import sys

# What a layer may include, beside itself. ARCHITECTURE.md has the picture.
GROUND = {"base", "proto"}
BELOW = {
    "base": set(),
    "proto": {"base"},
    "mm": GROUND,
    "iommu": GROUND | {"mm"},
    "pci": GROUND | {"mm", "iommu"},
    "net": GROUND,
    "devices": GROUND | {"mm", "iommu", "pci", "net"},
    "uapi": GROUND | {"mm", "iommu", "pci", "devices"},
    "iommufd": GROUND | {"mm", "iommu", "pci", "devices", "uapi"},
    "vfio": GROUND | {"mm", "iommu", "pci", "devices", "uapi", "iommufd"},
    "decode": GROUND,
    "check": GROUND | {"mm", "iommu", "pci"},
    "boundary": GROUND,
    "loader": GROUND,
    "broker": GROUND | {"mm", "iommu", "pci", "devices", "uapi", "vfio", "iommufd", "decode", "check"},
    "cli": GROUND | {"devices", "broker", "check"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
FOREIGN = re.compile(r"^\s*#\s*include\s*<([^>]+)>")
# The boundary library runs inside somebody else's process, within a system call: nothing of libc may be called there.
LIBRARY_REFUSES = {"stdio.h", "stdlib.h", "pthread.h", "malloc.h", "dlfcn.h"}
NOT_IN_THE_LIBRARY = {"loader.c"}


def complaints(root):
    src = os.path.join(root, "src")
    for folder, _, names in os.walk(src):
        layer = os.path.relpath(folder, src).split(os.sep)[0]
        for name in sorted(names):
            if not name.endswith((".c", ".h", ".S")):
                continue
            path = os.path.join(folder, name)
            if layer not in BELOW:
                yield f"{path}:1: the folder {layer} has no place in tests/lint/layers.py"
                continue
            with open(path, encoding="utf-8") as f:
                for n, line in enumerate(f, 1):
                    m = INCLUDE.match(line)
                    if m:
                        target = m.group(1).split("/")[0] if "/" in m.group(1) else layer
                        if target != layer and target not in BELOW[layer]:
                            yield f'{path}:{n}: {layer} must not include "{m.group(1)}"'
                    m = FOREIGN.match(line)
                    if m and layer == "boundary" and name not in NOT_IN_THE_LIBRARY and m.group(1) in LIBRARY_REFUSES:
                        yield f"{path}:{n}: the boundary library must not include <{m.group(1)}>"


def main():
    root = sys.argv[1]
    found = list(complaints(root))
    for line in found:
        print(line)
    print(f"layers: {len(found)} complaints")
    return 1 if found else 0


sys.exit(main())
