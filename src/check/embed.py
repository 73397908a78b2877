#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""embed.py OUT NAME FILE: a file's text as a C string."""
import json
import sys

OUT, NAME, FILE = sys.argv[1:]
with open(FILE, encoding="ascii") as f:
    lines = f.readlines()
with open(OUT, "w", encoding="ascii") as f:
    f.write(f"extern const char {NAME}[];\nconst char {NAME}[] =\n")
    # Of what JSON escapes, C understands the same.
    f.writelines(f"    {json.dumps(line)}\n" for line in lines)
    f.write(";\n")
