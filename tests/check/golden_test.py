#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each class of finding has a page in the manual. What the page shows is a program with that mistake, and what the
checker really says of it: this class at this function and line, and nothing else. `golden_test.py --update [CLASS]...`
writes both into the pages; read what it has written."""
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile

import tap

PINFOLD, GOLDEN, ROOT = os.environ["PINFOLD"], os.environ["GOLDEN"], os.environ["ROOT"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-golden-")
PATIENCE = 300
BLOCK = re.compile(r"^(\.Bd -literal -offset indent\n)(.*?)(\.Ed)$", re.M | re.S)


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def page_path(name):
    return os.path.join(ROOT, "doc", "check", f"pinfold-{name}.7")


def page(name):
    return read("doc", "check", f"pinfold-{name}.7")


def classes():
    """{name: what it means}, as the table in the source has them."""
    table = read("src", "check", "class.h").replace("\\\n", "\n")
    return dict(re.findall(r'^\s*CLASS\(\w+, "([\w-]+)", \w+,\s*"([^"]*)"\)', table, re.M))


def blocks(name):
    """The program and what is found."""
    return [unquoted(b) for _, b, _ in BLOCK.findall(page(name))]


def quoted(text):
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e"), flags=re.M)


def unquoted(text):
    return re.sub(r"^\\&", "", text, flags=re.M).replace("\\e", "\\")


def program(name):
    """Its source from after the includes, with line numbers."""
    lines = read("tests", "check", "golden", f"{name}.c").rstrip("\n").split("\n")
    first = max(n for n, line in enumerate(lines) if line.startswith("#include")) + 2
    return "".join(f"{n:3}  {line.expandtabs(4)}".rstrip() + "\n" for n, line in enumerate(lines[first:], first + 1))


def frames(text, name):
    """Other people's code in a stack differs from machine to machine."""
    return "".join(line for line in text.splitlines(True) if not re.match(r" +#\d", line) or f" {name}.c:" in line)


def steady(text, name):
    """What differs from run to run, made the same."""
    addresses, pids = {}, {}

    def address(m):
        return addresses.setdefault(m.group(), f"0x7f0000{len(addresses) + 1:x}00000")

    def pid(m):
        return m.group(1) + pids.setdefault(m.group(2), str(812 + len(pids)))

    text = re.sub(r"\b0x[1-9a-f][0-9a-f]{10,11}\b", address, frames(text, name))
    text = re.sub(r"(==|\bthread |\bprocess )(\d+)\b", pid, text)
    text = re.sub(r"\b\d+(\.\d)? (us|ms|s) earlier", "40 us earlier", text)
    # The findings, without the count of them at the end.
    return "".join(re.findall(r"^.*SUMMARY: [^\n]*\n", text, re.M | re.S))


def command_of(name):
    return blocks(name)[1].split("\n", 1)[0].removeprefix("$ ")


def command_argv(name):
    """What the page shows as the command, to be run here."""
    disk = os.path.join(WORK.name, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    words = {"pinfold": PINFOLD, f"./{name}": os.path.join(GOLDEN, name)}
    return [words.get(w, w.replace("disk.img", disk)) for w in shlex.split(command_of(name))]


def run(name):
    """The findings of the golden program under the command that the page shows."""
    p = subprocess.run(command_argv(name), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                       check=False)
    assert p.returncode == 0, f"{command_of(name)}: status {p.returncode}\n{p.stdout}\n{p.stderr}"
    return steady(p.stderr, name)


def right(name):
    """The two blocks of the page, as they ought to be."""
    return [program(name), f"$ {command_of(name)}\n" + run(name)]


def golden(name):
    have, want = blocks(name), right(name)
    assert have == want, "the page differs from what is found (golden_test.py --update)\n" + "".join(
        difflib.unified_diff("".join(have).splitlines(True), "".join(want).splitlines(True), "page", "found"))
    found = re.findall(r"^==\d+== pinfold: ([\w-]+):", have[1], re.M)
    assert name in found, found


def update(names):
    for name in names or classes():
        new = [quoted(b) for b in right(name)]
        text = BLOCK.sub(lambda m, left=new: m.group(1) + left.pop(0) + m.group(3), page(name))
        with open(page_path(name), "w", encoding="utf-8") as f:
            f.write(text)


def test_each_class_has_a_page():
    pages = {p.removeprefix("pinfold-").removesuffix(".7") for p in os.listdir(os.path.join(ROOT, "doc", "check"))
             if p.endswith(".7")}
    assert pages == set(classes()), f"without a page: {set(classes()) - pages}; of no class: {pages - set(classes())}"
    overview = read("doc", "pinfold.1")
    for name, meaning in classes().items():
        text = page(name)
        assert f".Nd {meaning}\n" in text and f".Dt PINFOLD-{name.upper()} 7\n" in text, name
        assert [s for s in re.findall(r"^\.Sh (.*)", text, re.M)] == \
            ["NAME", "DESCRIPTION", "EXAMPLES", "HOW TO FIX IT", "SEE ALSO"], name
        assert f".It Xr pinfold-{name} 7\n" in overview, f"{name} is not in pinfold(1)"


def test_help_lists_the_classes():
    out = subprocess.run([PINFOLD, "run", "--check=help"], capture_output=True, text=True, check=True).stdout
    assert dict(re.findall(r"^  ([\w-]+) +(.*)$", out, re.M)) == classes(), out


def test_help_shows_the_page():
    for name in classes():
        out = subprocess.run([PINFOLD, "help", name], capture_output=True, text=True, check=True).stdout
        for part in ("NAME\n", "HOW TO FIX IT\n", f"SUMMARY: {name}"):
            assert part in out, f"{part!r} is not in\n{out}"
        assert out.isascii() and "\b" not in out


def each(name):
    test = lambda: golden(name)
    test.__name__ = "test_" + name.replace("-", "_")
    return test


if __name__ == "__main__":
    if sys.argv[1:2] == ["--update"]:
        update(sys.argv[2:])
    else:
        tap.main({**globals(), **{t.__name__: t for t in map(each, classes())}})
