#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Command lines: what is accepted, what the broker is told, and how a mistake is answered."""
import os
import signal
import socket
import subprocess
import tempfile

import tap
from run_test import PINFOLD, WORK, env, equal, has, log_path, read, run


def usage(*args):
    """A usage error: status 2, and a hint in two lines."""
    r = run(*args)
    equal(r.returncode, 2, r.stderr)
    equal(r.stderr.count("\n"), 2, r.stderr)
    assert "Try `pinfold help" in r.stderr, r.stderr
    equal(r.stdout, "")
    return r.stderr


def test_no_verb():
    r = run()
    equal(r.returncode, 2)
    has(r.stderr, "pinfold run", "pinfold serve")


def test_unknown_verb():
    has(usage("rnu"), 'did you mean "run"?')
    has(usage("serv"), 'did you mean "serve"?')
    has(usage("qemu-img"), "pinfold run [OPTION]... qemu-img")


def test_help_and_version():
    for args in (["help"], ["--help"], ["-h"]):
        r = run(*args)
        equal((r.returncode, r.stderr), (0, ""))
        has(r.stdout, "pinfold run")
    for args in (["help", "run"], ["run", "--help"], ["run", "-h"]):
        has(run(*args).stdout, "Usage: pinfold run", "--connect", "--memlock")
    has(run("serve", "--help").stdout, "--socket PATH")
    for args in (["version"], ["--version"], ["-V"]):
        r = run(*args)
        equal((r.returncode, r.stdout.split()[0]), (0, "pinfold"))
    has(usage("help", "rum"), 'did you mean "run"?')
    has(usage("help", "dma-unmaped"), 'did you mean "dma-unmapped"?')


def test_device_help():
    equal(run("run", "-d", "help").stdout, "stub device types\n")
    equal(run("serve", "-d", "help").stdout, "stub device types\n")
    equal(run("run", "-d", "stub,help").stdout, "stub keys\n")
    has(usage("run", "-d", "other,help"), "no such type")


def test_unknown_option():
    has(usage("run", "--sumary", "true"), "did you mean --summary?")
    has(usage("run", "--memlok=5", "true"), "did you mean --memlock?")
    has(usage("run", "--socket", "x", "true"), "there is no option --socket")
    has(usage("serve", "--connect", "x"), "there is no option --connect")
    has(usage("run", "-x", "true"), "there is no option -x")
    has(usage("run", "--zzzzzzzz", "true"), "there is no option --zzzzzzzz")
    has(usage("run", "--" + "z" * 500, "true"), "there is no option --zzz")


def test_missing_value():
    has(usage("run", "-d"), "-d needs a value")
    has(usage("run", "--connect"), "--connect needs a value")
    has(usage("run", "--summary=yes", "true"), "--summary takes no value")


def test_missing_program():
    has(usage("run"), "PROGRAM is missing")
    has(usage("run", "-d", "x", "--"), "PROGRAM is missing")


def test_options_end_at_the_program():
    r = run("run", "echo", "--summary", "-d", "x", "--", "-v")
    equal((r.stdout, r.stderr), ("--summary -d x -- -v\n", ""))
    equal(run("run", "--", "echo", "--").stdout, "--\n")


def test_broker_is_told():
    log = log_path()
    equal(run("run", "-d", "a,path=x,,y", "--device=b", "-d", "c", "--strict", "--host-devices", "--iommufd-test",
              "--memlock", "64M", "-v", "true", env=env(STUB_LOG=log)).returncode, 0)
    lines = read(log).splitlines()
    equal(lines[0], "new memlock=67108864 strict=1 host=1 test=1 summary=0 verbose=1")
    equal(lines[1:4], ["device a,path=x,,y", "device b", "device c"])


def test_faults_and_orders():
    log = log_path()
    r = run("run", "--fault", "a,p=1", "--fault=b", "--iommu=x", "--control", "where", "sh", "-c",
            "echo $PINFOLD_CONTROL", env=env(STUB_LOG=log, PINFOLD_CONTROL="of somebody else"))
    equal((r.returncode, r.stdout), (0, "@stub-control\n"))
    equal(read(log).splitlines()[1:5], ["fault a,p=1", "fault b", "iommu x", "control where"])
    equal(run("run", "--fault", "help").stdout, "stub faults\n")
    has(usage("run", "--fault"), "--fault needs a value")
    equal(run("run", "--iommu=help").stdout, "stub IOMMUs\n")
    has(usage("run", "--connect", "x", "--fault", "a", "true"), "belong to `pinfold serve`")
    has(usage("ctl"), "ORDER is missing")
    has(usage("ctl", "unbnd", "x"), 'did you mean "unbind"?')
    has(usage("ctl", "--conect", "x", "list"), "did you mean --connect?")
    has(usage("ctl", "--control"), "--control needs a value")
    has(usage("ctl", "--control", "x", "--connect", "x", "list"), "together")
    has(usage("ctl", "--connect", "@x", "list"), "no broker takes orders")
    has(usage("ctl", "list"), "which broker?")
    has(run("ctl", "--help").stdout, "Usage: pinfold ctl", "link-down", "--control PATH")


def test_memlock_sizes():
    good = {"4096": 4096, "8K": 8192, "1GiB": 2**30, "0x10000": 65536, "2t": 2**41, "15E": 15 * 2**60,
            "unlimited": 2**64 - 1}
    bad = ["0", "4095", "1k", "-1", "", " 8K", "8X", "8KB", "99999999999999999999", "16E"]
    for text, value in list(good.items()) + [(text, None) for text in bad]:
        log = log_path()
        r = run("run", "--memlock", text, "true", env=env(STUB_LOG=log))
        if value is None:
            equal(r.returncode, 2, text)
            has(r.stderr, "not a size")
        else:
            equal(r.returncode, 0, text)
            has(read(log), f"memlock={value} ")


def serve(*args, stub=""):
    path = os.path.join(tempfile.mkdtemp(dir=WORK.name), "s")
    p = subprocess.Popen([PINFOLD, "serve", "--socket", path, *args], env=env(STUB=stub), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    return p, path


def test_serve_until_told_to_stop():
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        p, path = serve("-d", "x", "--summary")
        equal(p.stdout.readline(), f"pinfold: 1 device ready at {path}\n")
        p.send_signal(sig)
        out, err = p.communicate(timeout=60)
        equal((p.returncode, out, err), (0, "", "pinfold: stub summary\n"))
        assert not os.path.exists(path)


def test_serve_mistakes():
    has(usage("serve"), "--socket PATH is missing")
    has(usage("serve", "--socket", "x", "prog"), 'unexpected "prog"')
    has(usage("serve", "--socket", "/no/such/dir/x"), "No such file")
    p, _ = serve(stub="fail")
    equal(p.communicate(timeout=60)[1], "pinfold: the stub was told to refuse\n")
    equal(p.returncode, 125)
    p, _ = serve(stub="error-end")
    p.stdout.readline()
    p.terminate()
    has(p.communicate(timeout=60)[1], "the broker stopped: Input/output error")
    equal(p.returncode, 125)


def test_connect():
    p, path = serve()
    p.stdout.readline()
    r = run("run", "--connect", os.path.basename(path), "sh", "-c", "cd /; echo $PINFOLD_SOCKET; exit 8",
            cwd=os.path.dirname(path))
    equal((r.returncode, r.stdout, r.stderr), (8, os.path.realpath(path) + "\n", ""))
    p.terminate()
    p.communicate()


def test_connect_to_nothing():
    path = os.path.join(WORK.name, "nothing")
    r = run("run", "--connect", path, "true")
    equal(r.returncode, 125)
    has(r.stderr, "No such file", f"pinfold serve --socket {path}")
    equal(r.stderr.count("\n"), 1)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(path)
    r = run("run", "--connect", path, "true")
    equal(r.returncode, 125)
    has(r.stderr, "Connection refused")
    s.close()
    r = run("run", "--connect", "@pinfold-no-such-name", "true")
    equal(r.returncode, 125)
    r = run("run", "--connect", "@" + "x" * 200, "true")
    equal(r.returncode, 125)
    has(r.stderr, "at most 107 bytes")


def test_connect_to_a_stranger():
    path = os.path.join(WORK.name, "stranger")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(path)
    s.listen()
    p = subprocess.Popen([PINFOLD, "run", "--connect", path, "true"], env=env(), stderr=subprocess.PIPE, text=True)
    c, _ = s.accept()
    c.send(b"220 mail.example.org")
    c.close()
    has(p.communicate(timeout=60)[1], "is no broker")
    equal(p.returncode, 125)
    s.close()


def test_connect_to_another_version():
    p, path = serve(stub="version")
    p.stdout.readline()
    r = run("run", "--connect", path, "true")
    equal(r.returncode, 125)
    has(r.stderr, "another version")
    p.terminate()
    p.communicate()


def test_connect_with_options_of_serve():
    for option in (["-d", "x"], ["--summary"], ["--strict"], ["--iommufd-test"], ["--iommu", "vtd"],
                   ["--host-devices"], ["--memlock", "1M"]):
        has(usage("run", "--connect", "x", *option, "true"), "belong to `pinfold serve`")


if __name__ == "__main__":
    tap.main({k: v for k, v in globals().items() if getattr(v, "__module__", "__main__") == "__main__"})
