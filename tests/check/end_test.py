#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How runs end: programs that die, reports that cannot be written, brokers that are killed; and what is said then."""
import json
import os
import re
import signal
import stat
import subprocess
import tempfile
import time

import tap

PINFOLD, DYING, ROOT = os.environ["PINFOLD"], os.environ["DYING"], os.environ["ROOT"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-end-")
PATIENCE = 300


def path(*name):
    return os.path.join(WORK.name, *name)


def command(*options, program):
    with open(path("disk.img"), "wb") as f:
        f.truncate(1 << 20)
    return [PINFOLD, "run", "-d", f"nvme,path={path('disk.img')}", *options, "--", *program]


def run(*options, program, status=0):
    p = subprocess.run(command(*options, program=program), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                       timeout=PATIENCE, check=False)
    assert p.returncode == status, f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
    return p.stdout, p.stderr


def report(name="report.json"):
    with open(path(name), encoding="utf-8") as f:
        return json.load(f)


def line_here():
    with open(os.path.join(ROOT, "tests/check/dying.c"), encoding="utf-8") as f:
        return next(n for n, line in enumerate(f, 1) if "/* here */" in line)


def crash(way, status, *more):
    """The one crash that a report has, and the text."""
    out, err = run(f"--report={path('report.json')}", program=[DYING, way, *more], status=status)
    crashes = report()["crashes"]
    assert len(crashes) == 1, crashes
    assert report()["left_mapped"], report()
    return crashes[0], out, err


def is_null_write(c):
    assert c["signal"] == "SIGSEGV" and c["address"] == "0x1230", c
    assert ("null_write", line_here()) == (c["stack"][0].get("function"), c["stack"][0].get("line")), c


def test_a_fault():
    c, _, err = crash("fault", -signal.SIGSEGV)
    is_null_write(c)
    assert "exit_status" not in report()
    assert err == "", err
    # Beside findings it is said, too.
    c, _, err = crash("fault", -signal.SIGSEGV, "finding")
    assert re.search(rf"pinfold: process {c['process']} died of SIGSEGV at address 0x1230, in thread "
                     rf"{c['thread']} \(main\) here:\n +#0 null_write dying.c:{line_here()}\n", err), err
    assert err.endswith("pinfold: 1 finding\n  dma-unmapped: 1\n"), err


def test_a_fault_in_a_thread():
    c, _, _ = crash("thread", -signal.SIGSEGV)
    is_null_write(c)
    assert c["thread"] != c["process"] and "thread_main" in [f.get("function") for f in c["stack"]], c


def test_a_fault_in_a_child():
    c, out, _ = crash("child", 0)
    is_null_write(c)
    assert c["process"] == int(out) and report()["exit_status"] == 0, (c, out)


def test_a_fault_that_is_handled():
    run(f"--report={path('report.json')}", program=[DYING, "handled"], status=7)
    assert report()["crashes"] == [] and report()["exit_status"] == 7, report()


def test_other_signals():
    for way, sig in (("abort", "SIGABRT"), ("kill", "SIGKILL")):
        c, _, err = crash(way, -getattr(signal, sig), "finding")
        assert c["signal"] == sig and "stack" not in c, c
        assert f"pinfold: process {c['process']} died of {sig}\n" in err, err


def waiting(*options, **kw):
    """A run whose program waits for a signal, and the program."""
    p = subprocess.Popen(command(*options, program=[DYING, "wait", "finding"]), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    return p, int(p.stdout.readline())


def test_interrupt():
    """As from a terminal: to all of the process group."""
    p, _ = waiting(f"--report={path('report.json')}", start_new_session=True)
    os.killpg(p.pid, signal.SIGINT)
    _, err = p.communicate(timeout=PATIENCE)
    assert p.returncode == -signal.SIGINT, err
    assert [c["signal"] for c in report()["crashes"]] == ["SIGINT"], report()
    assert [f["class"] for f in report()["findings"]] == ["dma-unmapped"] and report()["left_mapped"], report()


def test_kill_of_pinfold_itself():
    """Nobody is there to wait for the report, but it is written."""
    p, _ = waiting(f"--report={path('late.json')}")
    os.kill(p.pid, signal.SIGKILL)
    p.wait(PATIENCE)
    for _ in range(PATIENCE * 10):
        if os.path.exists(path("late.json")):
            break
        time.sleep(0.1)
    assert [f["class"] for f in report("late.json")["findings"]] == ["dma-unmapped"]
    p.stdout.close()
    p.stderr.close()


def broker_of(p):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        if name == "pinfold-broker" and int(rest.split()[1]) == p.pid:
            return int(pid)
    raise AssertionError("there is no broker")


def test_kill_of_the_broker():
    """There is no report then, and no half of one; what was there before stays."""
    with open(path("before.json"), "w", encoding="utf-8") as f:
        f.write("before")
    p, pid = waiting(f"--report={path('before.json')}")
    os.kill(broker_of(p), signal.SIGKILL)
    line = p.stderr.readline()
    while line and "the broker ended before the program" not in line:
        line = p.stderr.readline()
    assert "killed by signal 9" in line, line
    os.kill(pid, signal.SIGTERM)
    p.communicate(timeout=PATIENCE)
    with open(path("before.json"), encoding="utf-8") as f:
        assert f.read() == "before"
    assert not [n for n in os.listdir(WORK.name) if n.endswith(".part")]


def test_outputs_that_cannot_be_written():
    """It is said before the program starts."""
    os.makedirs(path("closed"), exist_ok=True)
    os.makedirs(path("directory"), exist_ok=True)
    cases = [("/nowhere/r", "No such file or directory"), ("/dev/null/r", "Not a directory"),
             (path("directory"), "Is a directory")]
    if os.geteuid():
        os.chmod(path("closed"), 0o555)
        cases.append((path("closed", "r"), "Permission denied"))
    for option in ("report", "trace"):
        for where, why in cases:
            out, err = run(f"--{option}={where}", program=["echo", "started"], status=2)
            assert f"--{option} {where}: {why}\n" in err and not out, (out, err)


def test_a_full_disk():
    mode = os.stat("/dev/full").st_mode
    _, err = run("--report=/dev/full", program=[DYING, "not", "finding"])
    assert "pinfold: report /dev/full: No space left on device\n" in err, err
    assert "pinfold: 1 finding\n" in err, err
    _, err = run("--trace=/dev/full", program=[DYING, "not"])
    assert "pinfold: trace /dev/full: No space left on device\n" in err, err
    assert stat.S_ISCHR(mode) and os.stat("/dev/full").st_mode == mode


def test_to_standard_output():
    out, _ = run("--report=/dev/stderr", program=["echo", "hello"])
    assert out == "hello\n"
    assert os.path.exists("/dev/stderr") and not os.path.isfile("/dev/stderr.part")


def test_silence():
    """Nothing was found: nothing is said."""
    assert run(program=["true"])[1] == ""
    assert run("--check=all", program=["sh", "-c", "exit 3"], status=3)[1] == ""


def test_summary():
    _, err = run("--summary", program=[DYING, "not"])
    assert err.startswith("pinfold: summary\n") and "finding" not in err, err
    assert re.search(r"^  the checker took \d+\.\d ms of the broker's \d+\.\d ms, \d+\.\d ms beside it, and .*\n"
                     r"  left mapped until its descriptor was closed: .*iB\n"
                     r"    .*iB in \d+ mappings, made at vfio\.c:\d+ in dma_map\n", err, re.M), err
    _, err = run("--summary", "--memlock=64M", program=[DYING, "not"])
    assert re.search(r"; pinned at most .*iB of 64 MiB allowed$", err, re.M), err
    _, err = run("--summary", "--check=none", program=[DYING, "not"])
    assert "checker" not in err and "left mapped" not in err, err


if __name__ == "__main__":
    tap.main(globals())
