#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pinfold run: the program's exit status, signals, descriptors and environment; the broker's life beside it."""
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import tap

PINFOLD = os.environ["PINFOLD"]
BOUNDARY = os.environ["PINFOLD_BOUNDARY"]
# The same tests run with stubs in place of the broker and the boundary, and with the real ones.
STUB = "PINFOLD_REAL" not in os.environ
WORK = tempfile.TemporaryDirectory(prefix="pinfold-cli-")


def env(**more):
    e = dict(os.environ)
    e.pop("LD_PRELOAD", None)
    e.update({k: str(v) for k, v in more.items()})
    return e


def run(*args, stub="", **kw):
    """Runs pinfold with args to its end."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([PINFOLD, *args], env=kw.pop("env", env(STUB=stub)), capture_output=True, text=True,
                          timeout=60, check=False, **kw)


def eventually(what, why="condition"):
    """Waits until what() is true; far longer than it ever takes."""
    for _ in range(3000):
        value = what()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"never came true: {why}")


def equal(got, wanted, text=""):
    assert got == wanted, f"got {got!r}, wanted {wanted!r} {text}"


def has(text, *parts):
    for p in parts:
        assert p in text, f"{p!r} is not in {text!r}"


def log_path():
    fd, path = tempfile.mkstemp(dir=WORK.name)
    os.close(fd)
    return path


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def stub_only(test):
    """Not collected when the real thing runs."""
    return test if STUB else None


def script(text, shebang="#!/bin/sh"):
    path = log_path()
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{shebang}\n{text}\n")
    os.chmod(path, 0o755)
    return path


class Running:
    """A pinfold whose program has said that it is ready, by its process id on the first line."""

    def __init__(self, code, *options, **kw):
        self.log = log_path()
        self.p = subprocess.Popen([PINFOLD, "run", *options, "--", sys.executable, "-u", "-c",
                                   "import os, signal, sys, time\n" + code],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=env(STUB_LOG=self.log, STUB=kw.pop("stub", "")), **kw)
        self.program = int(self.p.stdout.readline())

    def broker(self):
        """The other child."""
        children = read(f"/proc/{self.p.pid}/task/{self.p.pid}/children").split()
        return int([c for c in children if int(c) != self.program][0])

    def broker_ended_well(self):
        return not STUB or read(self.log).endswith("free\n")

    def end(self):
        out, err = self.p.communicate(timeout=60)
        return self.p.returncode, out, err


COUNT_SIGNALS = """
count = {}
def note(n, frame):
    count[n] = count.get(n, 0) + 1
for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGWINCH):
    signal.signal(n, note)
print(os.getpid())
while signal.SIGTERM not in count:
    time.sleep(0.01)
time.sleep(0.2)
print(sorted((int(n), c) for n, c in count.items()))
sys.exit(9)
"""


def exists(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def test_exit_status_is_the_programs():
    for status in (0, 1, 2, 77, 125, 255):
        equal(run("run", "sh", "-c", f"exit {status}").returncode, status)


def test_death_by_signal_is_passed_on():
    for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGINT, signal.SIGPIPE):
        equal(run("run", "sh", "-c", f"kill -{int(sig)} $$").returncode, -sig)


def test_no_core_of_our_own():
    with tempfile.TemporaryDirectory(dir=WORK.name) as d:
        run("run", "sh", "-c", "ulimit -c 0; kill -SEGV $$", cwd=d,
            preexec_fn=lambda: __import__("resource").setrlimit(4, __import__("resource").getrlimit(4)))
        equal(os.listdir(d), [])


def test_program_that_cannot_run():
    r = run("run", "no-such-program")
    equal((r.returncode, r.stderr), (127, "pinfold: cannot run no-such-program: No such file or directory\n"))
    equal(run("run", "/no/such/program").returncode, 127)
    r = run("run", "/etc/passwd")
    equal((r.returncode, r.stderr), (126, "pinfold: cannot run /etc/passwd: Permission denied\n"))


@stub_only
def test_static_program_goes_through_the_loader():
    static = "/bin/busybox"
    if not os.path.exists(static):
        raise tap.Skip("no busybox-static")
    # A loader that shows what it was given, beside a copy of the boundary library.
    there = tempfile.mkdtemp(dir=WORK.name)
    copy = shutil.copy(BOUNDARY, there)
    loader = os.path.join(there, "pinfold-loader")
    os.symlink(script('echo "$0 $*"'), loader)
    inner = script("", f"#!{static} sh -e  ")
    outer = script("", f"#! {inner}")
    for argv, wanted in (([static, "ls", "-l"], f"{static} {static} ls -l"),
                         (["busybox", "ls"], "/usr/bin/busybox busybox ls"),
                         ([inner, "a b"], f"{static} {static} sh -e {inner} a b"),
                         ([outer, "c"], f"{static} {static} sh -e {inner} {outer} c")):
        r = run("run", *argv, env=env(PINFOLD_BOUNDARY=copy, PATH="/usr/bin:/bin"))
        equal((r.stdout, r.stderr, r.returncode), (f"{loader} {wanted}\n", "", 0))
    # Not executable, hence not for the loader either.
    plain = shutil.copy(static, there)
    os.chmod(plain, 0o644)
    equal(run("run", plain, env=env(PINFOLD_BOUNDARY=copy)).returncode, 126)
    os.unlink(loader)
    r = run("run", inner, env=env(PINFOLD_BOUNDARY=copy))
    equal(r.returncode, 126)
    has(r.stderr, "linked statically", f"{loader}, which could load it, is not there")
    equal(r.stderr.count("\n"), 1)


def test_other_processor_is_refused():
    path = log_path()
    with open(path, "wb") as f:
        f.write(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00" + bytes(100))
    os.chmod(path, 0o755)
    r = run("run", path)
    equal(r.returncode, 126)
    has(r.stderr, "not a 64-bit x86 program")


def test_loader_as_program():
    equal(run("run", "/lib64/ld-linux-x86-64.so.2", "/bin/true").returncode, 0)


def test_script_without_interpreter_line():
    path = log_path()
    with open(path, "w", encoding="utf-8") as f:
        f.write("exit 3\n")
    os.chmod(path, 0o755)
    equal(run("run", path).returncode, 3)


@stub_only
def test_broker_failures():
    r = run("run", "true", stub="fail")
    equal((r.returncode, r.stderr), (125, "pinfold: the stub was told to refuse\n"))
    r = run("run", "true", stub="invalid")
    equal((r.returncode, r.stderr), (2, "pinfold run: the stub was told to refuse\nTry `pinfold help run`.\n"))
    r = run("run", "true", stub="crash")
    equal(r.returncode, 125)
    has(r.stderr, "before it was ready", "signal 9")
    r = run("run", "true", stub="error-end")
    equal(r.returncode, 125)


@stub_only
def test_broker_that_dies_early():
    r = run("run", "sh", "-c", "sleep 0.3", stub="die")
    equal(r.returncode, 125)
    has(r.stderr, "the broker ended before the program: killed by signal 9")
    equal(run("run", "sh", "-c", "sleep 0.3; exit 5", stub="die").returncode, 5)


def test_boundary_must_be_there():
    r = run("run", "true", env=env(PINFOLD_BOUNDARY="/no/such/library.so"))
    equal(r.returncode, 125)
    has(r.stderr, "PINFOLD_BOUNDARY=/no/such/library.so: No such file")
    blank = os.path.join(WORK.name, "a blank.so")
    with open(blank, "w", encoding="utf-8"):
        pass
    r = run("run", "true", env=env(PINFOLD_BOUNDARY=blank))
    equal(r.returncode, 125)
    has(r.stderr, "blank or a colon")


# A library that is not there is ignored by the loader; one that is there would bother an instrumented pinfold.
SHOW_ENV = 'echo "$PINFOLD_SOCKET|$LD_PRELOAD|$ASAN_OPTIONS"'


@stub_only
def test_environment():
    equal(run("run", "sh", "-c", SHOW_ENV).stdout, f"@stub|{BOUNDARY}|verify_asan_link_order=0\n")
    e = env(LD_PRELOAD="no-such.so", ASAN_OPTIONS="detect_leaks=0")
    equal(run("run", "sh", "-c", SHOW_ENV, env=e).stdout,
          f"@stub|{BOUNDARY}:no-such.so|detect_leaks=0:verify_asan_link_order=0\n")
    e = env(LD_PRELOAD=f"no-such.so {BOUNDARY}", ASAN_OPTIONS="verify_asan_link_order=0")
    equal(run("run", "sh", "-c", SHOW_ENV, env=e).stdout,
          f"@stub|no-such.so {BOUNDARY}|verify_asan_link_order=0\n")


def test_preloaded_indeed():
    has(run("run", "cat", "/proc/self/maps").stdout, BOUNDARY)


def test_no_descriptor_leaks():
    log = log_path()
    r, w = os.pipe()
    os.set_inheritable(w, True)
    got = subprocess.run([PINFOLD, "run", "sh", "-c", f"ls /proc/$$/fd; test -e /proc/$$/fd/{w}"],
                         env=env(STUB_LOG=log), capture_output=True, text=True, check=False, pass_fds=[w])
    equal(got.returncode, 0, got.stderr)
    equal(got.stdout.split(), ["0", "1", "2", str(w)])
    assert "leaked" not in read(log), read(log)
    os.close(r)
    os.close(w)


def test_closed_standard_descriptors_stay_closed():
    code = "import os; os.write(2, b' '.join(b'%d' % fd for fd in range(3) if os.path.exists(f'/proc/self/fd/{fd}')))"
    got = subprocess.run(["sh", "-c", '"$0" run "$1" -c "$2" <&- >&-', PINFOLD, sys.executable, code], env=env(),
                         stderr=subprocess.PIPE, text=True, check=False)
    equal(got.stderr, "2")


def test_input_and_output_are_the_programs():
    r = subprocess.run([PINFOLD, "run", "--", "tr", "a-z", "A-Z"], input="stray\n", env=env(), capture_output=True,
                       text=True, check=False)
    equal((r.stdout, r.stderr, r.returncode), ("STRAY\n", "", 0))


def test_output_closes_when_the_program_closes_it():
    p = subprocess.Popen([PINFOLD, "run", "sh", "-c", "exec >&-; read line"], env=env(), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    equal(p.stdout.read(), b"")
    assert p.poll() is None
    p.stdin.close()
    p.wait(timeout=60)
    p.stdout.close()


def test_signals_are_forwarded_once():
    r = Running(COUNT_SIGNALS)
    r.p.send_signal(signal.SIGUSR1)
    r.p.send_signal(signal.SIGWINCH)
    r.p.send_signal(signal.SIGTERM)
    status, out, _ = r.end()
    equal((status, out), (9, str(sorted([(int(signal.SIGUSR1), 1), (int(signal.SIGWINCH), 1),
                                         (int(signal.SIGTERM), 1)])) + "\n"))


def test_signal_to_own_group_does_not_come_back():
    r = Running("""
count = 0
def note(n, frame):
    global count
    count += 1
signal.signal(signal.SIGUSR1, note)
print(os.getpid())
os.kill(0, signal.SIGUSR1)
time.sleep(0.3)
sys.exit(count)
""", start_new_session=True)
    equal(r.end()[0], 1)


def test_fatal_signal_ends_both():
    r = Running("print(os.getpid())\ntime.sleep(1000)")
    broker = r.broker()
    r.p.send_signal(signal.SIGTERM)
    equal(r.end()[0], -signal.SIGTERM)
    assert not exists(r.program) and not exists(broker)
    assert r.broker_ended_well()


def test_broker_is_deaf_and_apart():
    r = Running(COUNT_SIGNALS)
    broker = r.broker()
    equal(os.getsid(broker), broker)
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE):
        os.kill(broker, sig)
    time.sleep(0.1)
    assert exists(broker) and state(broker) != "T"
    r.p.send_signal(signal.SIGTERM)
    equal(r.end()[0], 9)


def test_killed_pinfold_takes_all_along():
    r = Running("print(os.getpid())\ntime.sleep(1000)")
    broker = r.broker()
    r.p.kill()
    r.end()
    eventually(lambda: not exists(r.program), "the program is gone")
    eventually(lambda: not exists(broker), "the broker is gone")
    assert r.broker_ended_well()


@stub_only
def test_broker_that_hangs_can_be_interrupted():
    r = Running("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())", stub="hang")
    # A signal that comes before pinfold knows of the program's end is still meant for the program.
    eventually(lambda: r.p.send_signal(signal.SIGTERM) or r.p.poll() is not None)
    equal(r.end()[0], 125)


def test_stop_from_elsewhere_is_the_programs_own():
    r = Running(COUNT_SIGNALS, start_new_session=True)
    os.kill(r.program, signal.SIGSTOP)
    eventually(lambda: state(r.program) == "T")
    time.sleep(0.1)
    equal(state(r.p.pid), "S")
    os.kill(r.program, signal.SIGCONT)
    r.p.send_signal(signal.SIGTERM)
    equal(r.end()[0], 9)


def test_parents_ignored_sigchld():
    r = run("run", "sh", "-c", "exit 6", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    equal(r.returncode, 6)
    # 0x10000 is SIGCHLD's bit.
    r = run("run", "grep", "SigIgn", "/proc/self/status",
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    equal(int(r.stdout.split()[1], 16) & 0x10000, 0x10000)


@stub_only
def test_program_finds_the_mask_it_would_have():
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    show = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]
    bare = subprocess.run(show, preexec_fn=block, capture_output=True, text=True, check=False)
    equal(run("run", *show, preexec_fn=block).stdout, bare.stdout)


def test_stranger_children():
    r = subprocess.run(["sh", "-c", 'sleep 0.1 & exec "$0" run sh -c "sleep 0.3; exit 4"', PINFOLD], env=env(),
                       check=False, timeout=60)
    equal(r.returncode, 4)


class Terminal:
    """A session on a terminal of its own, with a little shell that puts pinfold into the foreground and reports stops
    and ends on a pipe."""

    def __init__(self, code):
        self.log = log_path()
        events, child_events = os.pipe()
        pid, self.tty = pty.fork()
        if pid == 0:
            os.environ["STUB_LOG"] = self.log
            job = os.fork()
            if job == 0:
                os.setpgid(0, 0)
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
                os.tcsetpgrp(0, os.getpid())
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTTOU])
                os.close(child_events)
                os.execv(PINFOLD, [PINFOLD, "run", "--summary", sys.executable, "-u", "-c",
                                   "import os, signal, sys, time\n" + code])
            os.write(child_events, f"job {job}\n".encode())
            while True:
                _, status = os.waitpid(job, os.WUNTRACED)
                if os.WIFSTOPPED(status):
                    os.write(child_events, f"stopped {os.WSTOPSIG(status)}\n".encode())
                    continue
                os.write(child_events, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())
                # Whoever closes the terminal first takes unread output along.
                time.sleep(0.2)
                os._exit(0)
        os.close(child_events)
        self.pid, self.seen = pid, ""
        self.events = os.fdopen(events)
        self.job = int(self.events.readline().split()[1])

    def read_until(self, text):
        while text not in self.seen:
            self.seen += os.read(self.tty, 4096).decode()

    def type(self, keys):
        os.write(self.tty, keys)

    def event(self):
        return self.events.readline().strip()

    def close(self):
        os.waitpid(self.pid, 0)
        os.close(self.tty)
        self.events.close()


def test_ctrl_c_reaches_the_program_once():
    t = Terminal("""
count = 0
def note(n, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, note)
print("ready")
while not count:
    time.sleep(0.01)
time.sleep(0.2)
sys.exit(10 + count)
""")
    t.read_until("ready")
    t.type(b"\x03")
    equal(t.event(), "ended 11")
    t.read_until("summary")
    t.close()


def test_ctrl_z_stops_pinfold_too():
    t = Terminal("""
print("ready")
sys.stdin.readline()
sys.exit(12)
""")
    t.read_until("ready")
    t.type(b"\x1a")
    equal(t.event(), f"stopped {int(signal.SIGTSTP)}")
    eventually(lambda: state(t.job) == "T")
    os.kill(-t.job, signal.SIGCONT)
    eventually(lambda: state(t.job) == "S")
    t.type(b"go\n")
    equal(t.event(), "ended 12")
    t.close()


def test_ctrl_backslash_kills():
    t = Terminal('print("ready")\ntime.sleep(1000)')
    t.read_until("ready")
    t.type(b"\x1c")
    equal(t.event(), f"ended {-signal.SIGQUIT}")
    t.close()


def test_stop_of_a_foreground_program_by_itself():
    t = Terminal("""
os.kill(os.getpid(), signal.SIGSTOP)
sys.exit(13)
""")
    equal(t.event(), f"stopped {int(signal.SIGSTOP)}")
    # As a shell does that knows pinfold's process alone.
    os.kill(t.job, signal.SIGCONT)
    equal(t.event(), "ended 13")
    t.close()


if __name__ == "__main__":
    tap.main(globals())
