#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""compare.py PINFOLD PROGRAM [ARG]...: runs PROGRAM bare, under Pinfold, under Pinfold with the memory that it names
pinned for DMA, and so without privileges; each of its cases must say the same every time."""
import difflib
import os
import re
import subprocess
import sys
import tempfile


def cases(text):
    parts = re.split(r"^== (.*)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def unprivileged():
    """What root has and an ordinary user has not, whoever runs this."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def run(cmd, pinned, cwd):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PINFOLD")}
    env.update({"SAY_PINNED": "1"} if pinned else {})
    r = subprocess.run(cmd, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    return cases(r.stdout.decode(errors="replace"))


def main():
    pinfold, program = os.path.abspath(sys.argv[1]), [os.path.abspath(sys.argv[2])] + sys.argv[3:]
    with tempfile.TemporaryDirectory() as work:
        disk = os.path.join(work, "disk.img")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        under = [pinfold, "run", "-d", f"nvme,path={disk}", "--"]
        os.mkdir(os.path.join(work, "a"))
        bare = run(program, False, os.path.join(work, "a"))
        n = bad = 0
        for mode, pinned, how in (("under Pinfold", False, []), ("with pinned memory", True, []),
                                  ("with pinned memory, without privileges", True, unprivileged())):
            got = run(how + under + program, pinned, os.path.join(work, "a"))
            for name, want in bare.items():
                n += 1
                same = got.get(name) == want
                bad += not same
                print(f"{'ok' if same else 'not ok'} {n} - {name} {mode}")
                if not same:
                    for line in difflib.unified_diff(want.splitlines(), got.get(name, "").splitlines(), "bare", mode,
                                                     lineterm="", n=1):
                        print("# " + line)
        print(f"1..{n}")
        sys.exit(bad > 0 or n == 0)


main()
