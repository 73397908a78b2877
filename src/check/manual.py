#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""manual.py MANDOC OUT PAGE...: the classes' manual pages as text, in a C array, for `pinfold help CLASS`."""
import os
import re
import subprocess
import sys

HEAD = """/* SPDX-License-Identifier: BSD-3-Clause */
/* Made by manual.py. */
#include "check/class.h"

const char *const class_manual[CLASS_COUNT] = {
"""


def text_of(mandoc, page):
    out = subprocess.run([mandoc, "-T", "ascii", "-O", "width=90", page], check=True, capture_output=True,
                         text=True).stdout
    out = re.sub(".\b", "", out)  # bold and underlined are typed twice
    return out.split("\n", 1)[1].rsplit("\n", 2)[0].strip("\n") + "\n"  # without the line at the top and the one below


def quoted(text):
    return "\n".join('\t"' + line.replace("\\", "\\\\").replace('"', '\\"') + '\\n"' for line in text.splitlines())


def main(mandoc, out, *pages):
    with open(out, "w", encoding="ascii") as f:
        f.write(HEAD)
        for page in pages:
            name = os.path.basename(page).split(".")[0].removeprefix("pinfold-")
            f.write(f"[CLASS_{name.upper().replace('-', '_')}] =\n{quoted(text_of(mandoc, page))},\n")
        f.write("};\n")


main(*sys.argv[1:])
