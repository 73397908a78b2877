#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What stacks say: names and lines, for programs and code of every kind that there is."""
import os
import re
import shutil
import subprocess
import tempfile

import tap

PINFOLD, FRAMES, ROOT = os.environ["PINFOLD"], os.environ["FRAMES"], os.environ["ROOT"]
PLUGINS = os.environ["PLUGINS"].split(":")
WORK = tempfile.TemporaryDirectory(prefix="pinfold-symbols-")
PATIENCE = 300


def path(*name):
    return os.path.join(WORK.name, *name)


def run(way, *args, program=FRAMES, env=None):
    """(stdout, stderr) of a run."""
    with open(path("disk.img"), "wb") as f:
        f.truncate(1 << 20)
    p = subprocess.run([PINFOLD, "run", "--check=unmap-mismatch", "-d", f"nvme,path={path('disk.img')}", "--", program,
                        way, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                       check=False, env={**os.environ, **(env or {})})
    assert p.returncode == 0, f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
    return p.stdout, p.stderr


def stacks(err):
    """[[frame, ...]] of a run, a frame without its number."""
    return [re.findall(r"^ +#\d+ (.*)\n", part, re.M) for part in
            re.findall(r"pinfold: unmap-mismatch:.*\n((?:^ +#\d.*\n)*)", err, re.M)]


def stack(way, *args, **kw):
    out, err = run(way, *args, **kw)
    got = stacks(err)
    assert len(got) == 1, err
    return out, got[0], err


def line_of(mark):
    with open(os.path.join(ROOT, "tests/check/symbols/frames.c"), encoding="utf-8") as f:
        return next(n for n, line in enumerate(f, 1) if f"/* {mark} */" in line)


def in_order(frames, *wanted):
    """These patterns match frames, one after the other, perhaps with others in between."""
    left = iter(frames)
    for w in wanted:
        assert any(re.search(w, f) for f in left), f"{w!r} is not in its place in\n" + "\n".join(frames)


HERE = rf"^unmap_nothing frames\.c:{line_of('here')}$"


def copy(name="frames"):
    shutil.copy2(FRAMES, path(name))
    return path(name)


def tool(*argv):
    subprocess.run(argv, check=True, timeout=PATIENCE)


def test_a_program():
    """Position independent, as compilers make them."""
    in_order(stack("plainly")[1], HERE, r"^plainly frames\.c:\d+$", r"^main frames\.c:\d+$")


def test_inlined():
    in_order(stack("inlined")[1], HERE, rf"^within frames\.c:{line_of('inlined here')} \(inlined\)$",
             rf"^inlined frames\.c:{line_of('into this')}$", "^main ")


def test_signal_handlers():
    in_order(stack("signal")[1], HERE, "^on_signal frames", "^<signal handler called>$", "^interrupted frames",
             "^from_signal frames", "^main ")


def test_signal_handler_with_a_stack_of_its_own():
    frames = stack("signal-stack")[1]
    in_order(frames, HERE, "^on_signal frames", "^<signal handler called>$")
    assert "<signal" not in frames[-1], frames


def test_threads_have_names():
    _, frames, err = stack("thread")
    in_order(frames, HERE, "^thread_main frames")
    assert re.search(r"in thread \d+ \(queue-7\) here:", err), err
    assert re.search(r"in thread (\d+) \(main\) here:", stack("plainly")[2])


def test_children():
    out, frames, err = stack("child")
    in_order(frames, HERE, "^from_child frames", "^main ")
    assert f"=={out.split()[1]}== pinfold: unmap-mismatch" in err, (out, err)


def test_deeper_than_before():
    """Of a stack no more is copied than was needed until now, twice; what that is too little for is made good."""
    got = stacks(run("deeper")[1])
    assert len(got) == 3, got
    in_order(got[0], HERE, "^many frames", "^deeper frames", "^main ")
    in_order(got[1], HERE, "^deep frames")
    assert not any("main" in f for f in got[1]), got[1]
    in_order(got[2], HERE, "^deep frames", "^deep_again frames", "^deeper frames", "^main ")


def test_generated_code():
    out, frames, _ = stack("generated")
    os.unlink(out.strip())
    in_order(frames, HERE, r"^LazyCompile:~unmap queue\.js:42 \(generated code\+0xf\)$", "^generated frames", "^main ")


def test_cxx():
    in_order(stack("mangled")[1], HERE, r"^driver::queue::free\(int\) frames\.c:\d+$", "^mangled frames")
    program = copy("frames-cxx")
    tool("strip", "-g", program)
    in_order(stack("mangled", program=program)[1], "unmap_nothing", r"^driver::queue::free\(int\) \(.*/frames-cxx\+0x")


def test_stripped():
    """Without any names there is the place in the file, which addr2line can be asked about."""
    program = copy("frames-stripped")
    tool("strip", program)
    _, frames, err = stack("plainly", program=program)
    own = [f for f in frames if "frames-stripped" in f]
    assert len(own) >= 3 and all(re.fullmatch(r"\(.*/frames-stripped\+0x[0-9a-f]+\)", f) for f in own), frames
    m = re.search(r"SUMMARY: unmap-mismatch \(frames-stripped\+(0x[0-9a-f]+)\)", err)
    at = subprocess.run(["addr2line", "-f", "-e", FRAMES, m.group(1)], capture_output=True, text=True,
                        check=True).stdout
    assert at.startswith("unmap_nothing\n") and at.strip().endswith(f"frames.c:{line_of('here')}"), at


def separated(directory):
    """A stripped copy, and its debug information."""
    os.makedirs(path(directory), exist_ok=True)
    program, debug = os.path.join(path(directory), "prog"), os.path.join(path(directory), "prog.debug")
    shutil.copy2(FRAMES, program)
    tool("objcopy", "--only-keep-debug", program, debug)
    tool("strip", program)
    return program, debug


def test_debug_link():
    for where in (".", ".debug"):
        program, debug = separated("link" + where)
        tool("objcopy", f"--add-gnu-debuglink={debug}", program)
        os.makedirs(path("link" + where, where), exist_ok=True)
        os.rename(debug, path("link" + where, where, "prog.debug"))
        in_order(stack("plainly", program=program)[1], HERE, "^plainly frames", "^main ")


def test_debug_link_to_another_build():
    """Wrong lines would be worse than none."""
    program, debug = separated("other")
    tool("objcopy", f"--add-gnu-debuglink={debug}", program)
    tool("objcopy", "--only-keep-debug", PLUGINS[0], debug)
    assert not [f for f in stack("plainly", program=program)[1] if "frames.c" in f or "plugin.c" in f]


def test_build_id():
    program, debug = separated("id")
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    m = re.search(r"Build ID: ([0-9a-f]+)", notes)
    if not m:
        raise tap.Skip("the compiler gives no build id")
    store = path("store", ".build-id", m.group(1)[:2])
    os.makedirs(store)
    os.rename(debug, os.path.join(store, m.group(1)[2:] + ".debug"))
    assert "frames.c" not in "".join(stack("plainly", program=program)[1])
    frames = stack("plainly", program=program, env={"PINFOLD_DEBUG_PATH": path("store")})[1]
    in_order(frames, HERE, "^plainly frames", "^main ")


def test_deleted_and_replaced():
    for other in (None, "/bin/true"):
        program = copy("frames-" + os.path.basename(other or "gone"))
        args = []
        if other:
            shutil.copy2(other, path("other"))
            args = [path("other")]
        in_order(stack("replaced", *args, program=program)[1], HERE, "^replaced frames", "^main ")


def test_libraries_that_were_unloaded():
    """Most likely the second is where the first was."""
    _, err = run("unloaded", *PLUGINS, PLUGINS[0])
    got = stacks(err)
    assert len(got) == 2, err
    for frames, name in zip(got, ("one", "two")):
        in_order(frames, HERE, rf"^plugin_{name} plugin\.c:\d+", r"^plugin_call plugin\.c:\d+", "^call_in ")


if __name__ == "__main__":
    tap.main(globals())
