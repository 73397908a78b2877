#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The command with its real broker and boundary: what people type."""
import os
import pty
import resource
import select
import shutil
import subprocess
import tempfile

import tap
from run_test import BOUNDARY, PINFOLD, WORK, env, equal, eventually, exists, has, run, state

DISK = os.path.join(WORK.name, "disk.img")
with open(DISK, "wb") as disk:
    disk.truncate(16 << 20)
NVME = f"nvme,path={DISK}"


def see(*args, device=NVME):
    r = run("run", "-d", device, "--", *args)
    equal(r.returncode, 0, r.stderr)
    return r.stdout


def test_only_our_devices():
    equal(see("ls", "/sys/bus/pci/devices"), "0000:01:00.0\n")
    equal(run("run", "ls", "/sys/bus/pci/devices").stdout, "")
    equal(see("sh", "-c", "cd /sys/bus/pci/devices && cat */class"), "0x010802\n")


def test_static_program():
    if not shutil.which("busybox"):
        raise tap.Skip("no busybox-static")
    equal(see("busybox", "ls", "/sys/bus/pci/devices"), "0000:01:00.0\n")
    equal(see("sh", "-c", "busybox ls /sys/bus/pci/devices"), "0000:01:00.0\n")


def test_device_help():
    has(run("run", "-d", "help").stdout, "nvme")
    has(run("run", "-d", "nvme,help").stdout, "path=", "addr=", "group=")
    r = run("run", "-d", "nmve,help")
    equal(r.returncode, 2)
    has(r.stderr, "nvme")


def test_device_mistakes():
    for device, words in (("nvm,path=x", "did you mean 'nvme'"), (f"nvme,pth={DISK}", "did you mean 'path'"),
                          ("nvme", "path"), (f"{NVME},queues=lots", "queues"), (f"{NVME},addr=nowhere", "addr")):
        r = run("run", "-d", device, "true")
        equal(r.returncode, 2, device + r.stderr)
        has(r.stderr, words, "Try `pinfold help run`.")
        equal(r.stderr.count("\n"), 2, r.stderr)


def test_paths_of_images():
    where = os.path.join(WORK.name, "a b,c:d")
    os.mkdir(where)
    image = os.path.join(where, "disk.img")
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    show = ["cat", "/sys/bus/pci/devices/0000:01:00.0/class"]
    equal(see(*show, device=f"nvme,path={image.replace(',', ',,')}"), "0x010802\n")
    equal(run("run", "-d", "nvme,path=disk.img", "--", *show, cwd=where).stdout, "0x010802\n")
    r = run("run", "-d", f"nvme,path={image}", "true")
    equal(r.returncode, 2)
    has(r.stderr, "a comma in a value is written twice")


def test_odd_surroundings():
    look = ["/bin/ls", "/sys/bus/pci/devices"]
    ours = ("0000:01:00.0\n", "", 0)
    removed = tempfile.mkdtemp(dir=WORK.name)
    places = {
        "without an environment": {"env": {"PINFOLD_BOUNDARY": BOUNDARY}},
        "where nothing can be written": {"cwd": "/proc"},
        "with places that are not there": {"env": env(TMPDIR="/no/such", XDG_RUNTIME_DIR="/no/such", HOME="/no/such")},
        "in a removed directory": {"cwd": removed, "preexec_fn": lambda: os.rmdir(removed)},
    }
    for name, how in places.items():
        r = run("run", "-d", NVME, *look, **how)
        equal((r.stdout, r.stderr, r.returncode), ours, name)


def test_few_descriptors():
    """It works, or it is said; and never are the machine's own devices shown instead."""
    for most in range(8, 40):
        r = run("run", "-d", NVME, "/bin/ls", "/sys/bus/pci/devices",
                preexec_fn=lambda n=most: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)))
        if r.returncode:
            equal(r.stdout, "", r.stderr)
            assert r.stderr, most
            assert "memory" not in r.stderr, r.stderr
        else:
            equal(r.stdout, "0000:01:00.0\n", f"with {most} descriptors")


def test_without_its_broker_nothing_is_shown():
    r = subprocess.run(["cat", "/sys/bus/pci/devices/0000:00:00.0/class", "/proc/self/comm"], check=False, text=True,
                       env=env(LD_PRELOAD=BOUNDARY, PINFOLD_SOCKET="@no-such-broker"), capture_output=True)
    equal((r.stdout, r.returncode), ("cat\n", 1))
    has(r.stderr, "Input/output error")


def test_host_devices():
    own = set(os.listdir("/sys/bus/pci/devices")) if os.path.isdir("/sys/bus/pci/devices") else set()
    seen = run("run", "--host-devices", "-d", f"{NVME},addr=ab:00.0", "ls", "/sys/bus/pci/devices").stdout.split()
    equal(set(seen), own | {"0000:ab:00.0"})


class Shell:
    """An interactive bash on a terminal of its own."""

    def __init__(self):
        self.pid, self.tty = pty.fork()
        self.seen, self.past = "", ""
        if self.pid == 0:
            os.environ.update(PS1="> ", TERM="dumb", PATH="/usr/local/bin:/usr/bin:/bin")
            os.execv(PINFOLD, [PINFOLD, "run", "-d", NVME, "--", "bash", "--norc", "--noprofile", "--noediting", "-i"])

    def read_until(self, text):
        while text not in self.seen:
            assert select.select([self.tty], [], [], 60)[0], f"{text!r} never came after {self.past!r}, {self.seen!r}"
            self.seen += os.read(self.tty, 4096).decode()
        before, self.seen = self.seen.split(text, 1)
        self.past += before + text

    def type(self, keys):
        os.write(self.tty, keys)

    def end(self):
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.tty)
        return os.waitstatus_to_exitcode(status)


def test_interactive_shell():
    sh = Shell()
    sh.read_until("> ")
    sh.type(b"ls /sys/bus/pci/devices\n")
    sh.read_until("\n0000:01:00.0")
    sh.read_until("> ")
    sh.type(b"cat\n")
    sh.read_until("cat")
    sh.type(b"to cat\n")
    sh.read_until("to cat")  # as typed
    sh.read_until("to cat")  # as said
    sh.type(b"\x1a")
    sh.read_until("Stopped")
    sh.read_until("> ")
    sh.type(b"jobs; fg\n")
    sh.read_until("Stopped")
    sh.read_until("\ncat")  # has the terminal again
    sh.type(b"and again\n")
    sh.read_until("and again")
    sh.read_until("and again")
    sh.type(b"\x03")
    sh.read_until("> ")
    sh.type(b"echo status $?\n")
    sh.read_until("status 130")
    sh.type(b"sleep 1000 & kill %1; wait %1; echo status $?\n")
    sh.read_until("status 143")
    sh.type(b"exit 7\n")
    equal(sh.end(), 7)


def test_places_of_devices():
    r = run("run", "-d", f"{NVME},addr=05:00.0,group=7", "-d", NVME, "--", "sh", "-c",
            "ls /sys/bus/pci/devices; basename $(readlink /sys/bus/pci/devices/0000:05:00.0/iommu_group);"
            "ls -d /dev/vfio/[0-9]*")
    equal(r.stdout, "0000:01:00.0\n0000:05:00.0\n7\n/dev/vfio/1\n/dev/vfio/7\n", r.stderr)


def test_summary():
    r = run("run", "--summary", "-d", NVME, "true")
    equal(r.returncode, 0)
    has(r.stderr, "summary", "still mapped: nothing")
    equal(run("run", "-d", NVME, "true").stderr, "")


def test_tree_is_removed():
    before = shadow_trees()
    for args in (["true"], ["sh", "-c", "kill -9 $$"], ["/no/such/program"]):
        run("run", "-d", NVME, "--", *args)
    equal(shadow_trees(), before)


def shadow_trees():
    places = [os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", "/tmp"]
    return sorted(os.path.join(p, n) for p in places if p and os.path.isdir(p)
                  for n in os.listdir(p) if n.startswith("pinfold-shadow") or n.startswith("pinfold."))


class Serving:
    def __init__(self, *args):
        self.path = os.path.join(tempfile.mkdtemp(dir=WORK.name), "socket")
        self.p = subprocess.Popen([PINFOLD, "serve", "--socket", self.path, *args], env=env(), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.ready = self.p.stdout.readline()

    def end(self):
        self.p.terminate()
        out, err = self.p.communicate(timeout=60)
        equal((self.p.returncode, out), (0, ""), err)
        assert not os.path.exists(self.path)
        return err


def test_serve_several_programs():
    s = Serving("-d", NVME, "-d", NVME, "--summary")
    equal(s.ready, f"pinfold: 2 devices ready at {s.path}\n")
    equal(os.stat(s.path).st_mode & 0o777, 0o600)
    programs = [subprocess.Popen([PINFOLD, "run", "--connect", s.path, "sh", "-c",
                                  "read go; ls /sys/bus/pci/devices"],
                                 env=env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(4)]
    for p in programs:
        equal(p.communicate("go\n", timeout=60)[0], "0000:01:00.0\n0000:02:00.0\n")
        equal(p.returncode, 0)
    has(s.end(), "summary")


def test_serve_survives_its_programs():
    s = Serving("-d", NVME)
    for _ in range(5):
        p = subprocess.Popen([PINFOLD, "run", "--connect", s.path, "sh", "-c",
                              "exec 3<>/dev/vfio/1; echo open; read never"],
                             env=env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        equal(p.stdout.readline(), "open\n")
        p.kill()
        p.communicate()
    # The group is free again as soon as its last descriptor is closed, which exit does in its own time.
    eventually(lambda: run("run", "--connect", s.path, "sh", "-c", "exec 3<>/dev/vfio/1").returncode == 0)
    s.end()


def test_one_owner_of_a_group():
    s = Serving("-d", NVME)
    p = subprocess.Popen([PINFOLD, "run", "--connect", s.path, "sh", "-c", "exec 3<>/dev/vfio/1; echo open; read end"],
                         env=env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    equal(p.stdout.readline(), "open\n")
    r = run("run", "--connect", s.path, "sh", "-c", "exec 3<>/dev/vfio/1")
    assert r.returncode != 0
    has(r.stderr, "busy")
    p.communicate("\n", timeout=60)
    s.end()


def test_broker_killed_under_a_program():
    s = Serving("-d", NVME)
    p = subprocess.Popen([PINFOLD, "run", "--connect", s.path, "sh", "-c",
                          "ls /sys/bus/pci/devices; read go; ls /dev/vfio; exec 3<>/dev/vfio/1"],
                         env=env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    equal(p.stdout.readline(), "0000:01:00.0\n")
    s.p.kill()
    s.p.communicate()
    # It fails, and neither hangs nor opens the machine's own.
    p.communicate("go\n", timeout=60)
    assert p.returncode > 0, p.returncode


def test_run_within_run():
    other = os.path.join(WORK.name, "other.img")
    with open(other, "wb") as f:
        f.truncate(1 << 20)
    equal(see("sh", "-c", f'"{PINFOLD}" run -d nvme,path={other},addr=09:00.0 ls /sys/bus/pci/devices;'
              "ls /sys/bus/pci/devices"), "0000:09:00.0\n0000:01:00.0\n")


def test_idle_costs_nothing():
    """An hour of CPU time would show as such; a broker that spins, as the whole second."""
    p = subprocess.Popen([PINFOLD, "run", "-d", NVME, "--", "sh", "-c", "exec 3<>/dev/vfio/1; read end"], env=env(),
                         stdin=subprocess.PIPE)
    eventually(lambda: len(children(p.pid)) == 2 and all(state(c) == "S" for c in children(p.pid)))
    before = ticks(p.pid)
    subprocess.run(["sleep", "1"], check=True)
    used = ticks(p.pid) - before
    p.communicate(b"\n", timeout=60)
    assert used < 10, f"{used} ticks in a second"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        return [int(c) for c in f.read().split()]


def ticks(pid):
    total = 0
    for p in [pid] + children(pid):
        with open(f"/proc/{p}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total


def test_nothing_left_after_kills():
    """kill -9 of pinfold itself: the program and the broker go too."""
    for _ in range(10):
        p = subprocess.Popen([PINFOLD, "run", "-d", NVME, "--", "sh", "-c", "echo up; read never"], env=env(),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        equal(p.stdout.readline(), "up\n")
        kids = children(p.pid)
        equal(len(kids), 2)
        p.kill()
        p.communicate()
        for k in kids:
            eventually(lambda k=k: not exists(k), f"{k} is gone")


if __name__ == "__main__":
    tap.main({k: v for k, v in globals().items() if getattr(v, "__module__", "__main__") == "__main__"})
