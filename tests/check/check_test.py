#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the checker does with findings: reports, traces, suppressions, exit statuses. The findings themselves are
golden_test.py's."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import tap

PINFOLD, GOLDEN, ROOT = os.environ["PINFOLD"], os.environ["GOLDEN"], os.environ["ROOT"]
SCHEMA = os.path.join(ROOT, "doc", "report.schema.json")
WORK = tempfile.TemporaryDirectory(prefix="pinfold-check-")
DISK = os.path.join(WORK.name, "disk.img")
PATIENCE = 300


def run(*options, program, status=0):
    with open(DISK, "wb") as f:
        f.truncate(1 << 20)
    p = subprocess.run([PINFOLD, "run", "-d", f"nvme,path={DISK}", *options, "--", *program], capture_output=True,
                       text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert p.returncode == status, f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
    return p.stderr


def golden(name):
    return os.path.join(GOLDEN, name)


def frame(name, function, statement):
    """Where in a golden program a function makes the call that has this in it."""
    with open(os.path.join(ROOT, "tests", "check", "golden", f"{name}.c"), encoding="utf-8") as f:
        return function, next(n for n, line in enumerate(f, 1) if statement in line)


def findings(err):
    """[(class, text)] of a run."""
    parts = re.split(r"^(==\d+== pinfold: )", err, flags=re.M)
    return [(p.split(":")[0], p) for p in parts[2::2]]


def valid(value, schema, root):
    """As much of JSON Schema as the report's needs."""
    if "$ref" in schema:
        return valid(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}
    assert isinstance(value, kinds[schema["type"]]) if "type" in schema else True, (value, schema)
    assert value == schema.get("const", value) and value in schema.get("enum", [value]), (value, schema)
    assert "pattern" not in schema or re.search(schema["pattern"], value), (value, schema)
    assert "minimum" not in schema or value >= schema["minimum"], (value, schema)
    if isinstance(value, list):
        assert len(value) >= schema.get("minItems", 0), (value, schema)
        for item in value:
            valid(item, schema["items"], root)
    if isinstance(value, dict):
        assert set(schema.get("required", [])) <= set(value), (value, schema)
        for key, item in value.items():
            assert key in schema["properties"], f"{key} is not in the schema"
            valid(item, schema["properties"][key], root)


def test_report_fits_its_schema():
    with open(SCHEMA, encoding="utf-8") as f:
        schema = json.load(f)
    path = os.path.join(WORK.name, "report.json")
    for name in ("dma-use-after-unmap", "dma-permission", "device-protocol", "map-overlap-ignored", "crash"):
        run(f"--report={path}", program=[golden(name)], status=-11 if name == "crash" else 0)
        with open(path, encoding="utf-8") as f:
            report = json.load(f)
        assert report["findings"]
        valid(report, schema, schema)
        assert name != "dma-use-after-unmap" or report["findings"][0]["memory"] == "anonymous", report


def test_report():
    path = os.path.join(WORK.name, "report.json")
    run(f"--report={path}", program=[golden("dma-use-after-unmap")])
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    assert report["version"] == 1 and len(report["findings"]) == 1 and not report["left_mapped"], report
    f = report["findings"][0]
    assert (f["class"], f["count"], f["device"], f["access"], f["iova"], f["length"]) == \
        ("dma-use-after-unmap", 1, "0000:01:00.0", "write", "0x1000000", "0x1000"), f
    parts = {p["role"]: p for p in f["parts"]}
    for role, function in (("mapped", "buffer_map"), ("unmapped", "buffer_unmap")):
        frames = [(x.get("function"), x.get("line")) for x in parts[role]["stack"]]
        assert frame("dma-use-after-unmap", function, f"VFIO_IOMMU_{role[:-3].upper()}_DMA") in frames, frames
    assert f["parts"][f["blame"]]["role"] == "unmapped", f


def test_report_says_what_was_left_mapped():
    path = os.path.join(WORK.name, "report.json")
    run(f"--report={path}", program=[golden("crash")], status=-11)
    with open(path, encoding="utf-8") as f:
        left = json.load(f)["left_mapped"]
    assert len(left) == 1 and left[0]["mappings"] == 1 and left[0]["bytes"] == 5 * 4096, left
    frames = [(x.get("function"), x.get("line")) for x in left[0]["stack"]]
    assert frame("crash", "main", "driver_start()") in frames, left


def test_suppressions():
    path = os.path.join(WORK.name, "known")

    def with_lines(*lines, **kw):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        return run("--check", f"--suppressions={path}", "--error-exitcode=42",
                   program=[golden("dma-use-after-unmap")], **kw)

    assert "dma-use-after-unmap" not in with_lines("# known since 2019", "dma-*:buffer_unm?p # ticket 7")
    assert "SUMMARY: dma-use-after-unmap" in with_lines("dma-use-after-unmap:buffer_umap", "dma-unmapped:*", status=42)
    for bad in ("dma-unmapped", ":x", "dma-unmapped:", "nonsense:x"):
        assert f"--suppressions {path}: line 2 is not CLASS:FUNCTION" in with_lines("", bad, status=2)
    err = run("--check", "--suppressions=/nowhere/x", program=["true"], status=2)
    assert "--suppressions /nowhere/x: No such file or directory" in err, err


def test_trace():
    path = os.path.join(WORK.name, "trace.json")
    run(f"--trace={path}", program=[golden("dma-use-after-unmap")])
    with open(path, encoding="utf-8") as f:
        events = json.load(f)
    names = [e["name"] for e in events]
    for name in ("comes", "/dev/vfio/vfio", "map", "unmap", "register read", "register write", "DMA read", "DMA write",
                 "DMA fault", "goes"):
        assert name in names, f"{name} is not in {set(names)}"
    times = [e["ts"] for e in events if "ts" in e]
    assert times == sorted(times)
    fault = next(e for e in events if e["name"] == "DMA fault")
    assert fault["tid"] == "01:00.0" and fault["args"]["addr"] == "0x1000000", fault


def test_first():
    """The program is stopped at its first finding, and goes on when it is let."""
    with open(DISK, "wb") as f:
        f.truncate(1 << 20)
    p = subprocess.Popen([PINFOLD, "run", "-d", f"nvme,path={DISK}", "--first", "--", golden("dma-unmapped")],
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    pid = next(int(l.split()[2]) for l in p.stderr if " is stopped: gdb -p " in l)
    for _ in range(PATIENCE * 100):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            if f.read().rsplit(")", 1)[1].split()[0] == "T":
                break
        time.sleep(0.01)
    else:
        raise AssertionError("it goes on")
    os.kill(pid, signal.SIGCONT)
    assert p.wait(PATIENCE) == 0
    p.stderr.close()


def test_first_in_a_debugger():
    """It takes over where the program is when the finding is made."""
    if not shutil.which("gdb"):
        raise tap.Skip("no gdb")
    with open(DISK, "wb") as f:
        f.truncate(1 << 20)
    gdb = ["gdb", "-q", "-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex",
           "handle SIGSYS SIGSEGV SIGBUS nostop noprint pass", "-ex", "run", "-ex", "backtrace", "-ex", "continue",
           "--args"]
    p = subprocess.run([PINFOLD, "run", "-d", f"nvme,path={DISK}", "--first", "--", *gdb, golden("dma-unmapped")],
                       capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    if "Could not trace the inferior process" in p.stderr or "ptrace: Operation not permitted" in p.stderr:
        raise tap.Skip("no ptrace here")
    text = p.stdout + p.stderr
    assert "received signal SIGTRAP" in p.stdout, text
    # It may be on its way back from the store, from a signal handler that gdb does not see through.
    assert re.search(r"^#\d+ .* main \(.*dma-unmapped\.c:\d+$|^#\d+ .*/boundary/\w+\.c:\d+$", p.stdout, re.M), text
    assert "exited normally" in p.stdout, text
    assert "SUMMARY: dma-unmapped" in p.stderr and "is stopped" not in p.stderr, text


def test_exit_status():
    run("--check", "--error-exitcode=42", program=[golden("dma-unmapped")], status=42)
    run("--check", "--error-exitcode=42", program=["true"], status=0)
    run("--check", program=["sh", "-c", "exit 7"], status=7)


def test_class_lists():
    assert not findings(run("--check=none", program=[golden("dma-unmapped")]))
    assert not findings(run("--check=-dma-unmapped", program=[golden("dma-unmapped")]))
    assert len(findings(run("--check=dma-unmapped,dma-permission", program=[golden("dma-unmapped")]))) == 1
    err = run("--check=dma-unmaped", program=["true"], status=2)
    assert 'there is no class "dma-unmaped"; did you mean dma-unmapped?' in err, err


if __name__ == "__main__":
    tap.main(globals())
