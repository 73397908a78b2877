#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs of every kind under pinfold: what they run on, how they start others, what they do to themselves."""
import os
import re
import signal
import subprocess
import sys

import tap
from client import DEVICE, PINFOLD, call, disk, equal, finish, has, needs, nvme, path, run, start

PROBE = os.environ["PROBE"]
HERE = os.path.dirname(os.path.abspath(__file__))
DEVICES = "/sys/bus/pci/devices"
BAR_MMAP_DONE = "work: done\n"
disk("disk.img")


def does(what, program=PROBE, times=1, **kw):
    """The probe's case, which ends by saying so."""
    out, err = run(program, what, **kw)
    equal(out, BAR_MMAP_DONE * (times - 1) + f"{what}: done\n" if what != "work" else BAR_MMAP_DONE, err)


def variant(name):
    program = os.environ.get("PROBE_" + name.upper())
    if not program:
        raise tap.Skip(f"no {name} build")
    return program


def every_case(program):
    for what in ("work", "blocked", "handlers", "interrupted", "threads", "close-all", "duplicates", "send-away",
                 "fork-and-go-on"):
        does(what, program)
    equal(run(program, "keep-through-exec")[0], "adopt: done\n")
    for what in ("vfork-exec", "spawn", "shells"):
        out, _ = run(program, what)
        has(out, f"{what}: done\n")


def test_all_signals_blocked():
    does("blocked")


def test_own_fault_handlers():
    does("handlers")


def test_interrupted_by_a_timer():
    does("interrupted")


def test_fault_without_a_handler():
    run(PROBE, "die", status=-signal.SIGSEGV)


def test_many_threads():
    does("threads")


def test_close_every_descriptor():
    does("close-all")


def test_duplicates():
    does("duplicates")


def test_device_sent_to_another_process():
    does("send-away")


def test_device_kept_through_exec():
    equal(run(PROBE, "keep-through-exec")[0], "adopt: done\n")


def test_fork_and_go_on():
    does("fork-and-go-on")


def test_vfork():
    equal(run(PROBE, "vfork-exec")[0], BAR_MMAP_DONE * 3 + "vfork-exec: done\n")


def test_posix_spawn():
    equal(run(PROBE, "spawn")[0], BAR_MMAP_DONE * 3 + "spawn: done\n")


def test_system_and_popen():
    out, _ = run(PROBE, "shells")
    equal(out, BAR_MMAP_DONE * 3 + "shells: done\n")


def test_static():
    every_case(variant("static"))


def test_static_pie():
    every_case(variant("static_pie"))


def test_address_sanitizer():
    every_case(variant("asan"))


def test_address_sanitizer_of_clang():
    every_case(variant("clang_asan"))


def test_thread_sanitizer():
    for what in ("work", "blocked", "handlers", "close-all"):
        does(what, variant("tsan"))


def test_sanitizer_reports_the_programs_own_fault():
    _, err = run(variant("asan"), "die", status=None)
    has(err, "AddressSanitizer: SEGV on unknown address 0x000000000010", "in die")


def test_python():
    out, _ = run(sys.executable, os.path.join(HERE, "vfio_client.py"))
    has(out, "Pinfold NVMe\ndone\n")


def test_python_with_subprocesses():
    code = f"""
import subprocess, os, concurrent.futures
assert subprocess.run([{PROBE!r}, "work"], capture_output=True).stdout == b"work: done\\n"
assert subprocess.run([{PROBE!r}, "work"], capture_output=True, close_fds=False).returncode == 0
assert subprocess.run([{PROBE!r}, "work"], env={{}}, start_new_session=True, stdout=subprocess.DEVNULL).returncode == 0
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    names = list(pool.map(lambda n: subprocess.run(["ls", "{DEVICES}"], capture_output=True, text=True).stdout,
                          range(40)))
assert set(names) == {{"{DEVICE}\\n"}}, names
print("fine")
"""
    equal(run(sys.executable, "-c", code)[0], "fine\n")


def test_python_multiprocessing():
    code = f"""
import multiprocessing, os
def see(n):
    return os.listdir("{DEVICES}")
if __name__ == "__main__":
    for how in ("fork", "forkserver", "spawn"):
        with multiprocessing.get_context(how).Pool(3) as pool:
            assert pool.map(see, range(9)) == [["{DEVICE}"]] * 9, how
    print("fine")
"""
    with open(path("pool.py"), "w", encoding="utf-8") as f:
        f.write(code)
    equal(run(sys.executable, path("pool.py"))[0], "fine\n")


def test_bash():
    out, err = run("bash", "-c", f"""
set -e -o pipefail
cd {DEVICES}
cat */vendor */device | tr -d '\\n' | sed s/0x/-/g; echo
for d in *; do [ -e $d/driver ] && [[ $(readlink -f $d/driver) = /sys/bus/pci/drivers/vfio-pci ]] && echo "$d"; done
diff <(ls {DEVICES}) <(cd /sys/bus/pci/devices && printf '%s\\n' *)
read -r class <{DEVICE}/class; echo $class
x=$(ls | (while read n; do (echo "($n)"); done)); echo $x
echo {DEVICES}/*:*
({PROBE!r} work | cat) & wait $!
coproc {PROBE!r} hold
read line <&${{COPROC[0]}}; echo "$line"; echo >&${{COPROC[1]}}; read line <&${{COPROC[0]}}; echo "$line"; wait
""")
    equal(out.splitlines(), ["-1b36-0010", DEVICE, "0x010802", f"({DEVICE})", f"{DEVICES}/{DEVICE}", "work: done",
                             "holding", "hold: done"], err)


def test_tree_of_programs():
    """bash, python, sh, and then C; static ones between."""
    needs("bash", "busybox")
    code = f"import os, sys; sys.exit(os.system('sh -c \"busybox sh -c \\'{PROBE} work\\'\"'))"
    equal(run("bash", "-c", f"(exec {sys.executable} -c \"$0\") | cat", code)[0], BAR_MMAP_DONE)


def test_empty_environment():
    equal(run("env", "-i", PROBE, "work")[0], BAR_MMAP_DONE)
    equal(run("env", "-i", "/bin/sh", "-c", f"/usr/bin/env -i {PROBE} work; exec /usr/bin/env -i {PROBE} work")[0],
          BAR_MMAP_DONE * 2)
    equal(run("env", "-i", variant("static"), "work")[0], BAR_MMAP_DONE)
    equal(run("env", "-i", variant("asan"), "work")[0], BAR_MMAP_DONE)
    equal(run("env", "-u", "LD_PRELOAD", "LD_PRELOAD=", PROBE, "work")[0], BAR_MMAP_DONE)


def test_busybox():
    needs("busybox")
    equal(run("busybox", "cat", f"{DEVICES}/{DEVICE}/vendor")[0], "0x1b36\n")
    out, err = run("busybox", "sh", "-c", f"cd {DEVICES} && cat */vendor | tr a-z A-Z; ls -l | wc -l; "
                   f"test -c /dev/vfio/vfio && echo yes; busybox find -L {DEVICES}/ -maxdepth 2 -name class; "
                   f"env -i busybox ls {DEVICES}; {PROBE} work")
    equal(out.splitlines(), ["0X1B36", "2", "yes", f"{DEVICES}/{DEVICE}/class", DEVICE, "work: done"], err)


def test_scripts():
    for shebang, text in (("/bin/sh", f"ls {DEVICES}"), ("/usr/bin/env -S bash -e", f"ls {DEVICES}"),
                          (shebang_busybox(), f"ls {DEVICES}"),
                          (f"{sys.executable} -u", f"import os; print(*os.listdir('{DEVICES}'))")):
        with open(path("script"), "w", encoding="utf-8") as f:
            f.write(f"#!{shebang}\n{text}\n")
        os.chmod(path("script"), 0o755)
        equal(run(path("script"))[0], DEVICE + "\n", shebang)
        equal(run("sh", "-c", path("script"))[0], DEVICE + "\n", shebang)


def shebang_busybox():
    needs("busybox")
    return call("sh", "-c", "command -v busybox")[0].strip() + " sh"


def test_gdb():
    needs("gdb")
    handle = "handle SIGSYS SIGSEGV SIGBUS nostop noprint pass"
    out, err = run("gdb", "--batch", "-ex", handle, "-ex", "run", "--args", PROBE, "work")
    has(out, BAR_MMAP_DONE, "exited normally")
    out, err = run("gdb", "--batch", "-ex", handle, "-ex", "break nvme_stop", "-ex", "run", "-ex", "bt", "-ex",
                   "print nvme_cap() & 0xffff", "-ex", "print config_read(0, 2)", "-ex", "finish", "-ex", "continue",
                   "--args", PROBE, "work")
    has(out, "in device_stop ()", "$1 = ", f"$2 = {0x1b36}", BAR_MMAP_DONE, "exited normally")
    assert re.search(r"\$1 = [1-9]", out), out
    assert "SIG" not in out, out
    out, err = run("gdb", "--batch", "-ex", handle, "-ex", "run", "--args", PROBE, "handlers")
    has(out, "handlers: done", "exited normally")


def test_gdb_attaches():
    needs("gdb")
    program = start(PINFOLD, "run", "-d", nvme("disk.img"), "--", PROBE, "hold", stdin=subprocess.PIPE)
    equal(program.stdout.readline(), "holding\n")
    with open(f"/proc/{program.pid}/task/{program.pid}/children", encoding="utf-8") as f:
        pids = [p for p in f.read().split() if os.path.realpath(f"/proc/{p}/exe") == os.path.realpath(PROBE)]
    equal(len(pids), 1)
    out, err = call("gdb", "--batch", "-p", pids[0], "-ex", "handle SIGSYS SIGSEGV SIGBUS nostop noprint pass",
                    "-ex", "print nvme_cap() & 0xffff", "-ex", "bt", "-ex", "detach")
    assert re.search(r"\$1 = [1-9]", out), out + err
    program.stdin.write("\n")
    equal(finish(program)[0], "hold: done\n")


def test_strace():
    needs("strace")
    trace = path("trace")
    out, _ = run("strace", "-f", "-o", trace, PROBE, "work")
    equal(out, BAR_MMAP_DONE)
    has(open(trace, encoding="utf-8").read(), "SYS_SECCOMP", "exited with 0")
    out, _ = run("strace", "-f", "-o", trace, PROBE, "spawn")
    has(out, "spawn: done")
    out, _ = run("strace", "-f", "-o", trace, "-e", "inject=getppid:error=EPERM", "sh", "-c", f"{PROBE} fork-and-go-on")
    equal(out, "fork-and-go-on: done\n")


def test_strace_outside():
    needs("strace")
    # A sanitizer's search for leaks needs to trace, too.
    options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    out, _ = call("env", f"ASAN_OPTIONS={options}", "strace", "-f", "-o", path("trace"), PINFOLD, "run", "-d",
                  nvme("disk.img"), "--", PROBE, "work")
    equal(out, BAR_MMAP_DONE)


def test_limits():
    """Few descriptors, a small stack."""
    equal(run("sh", "-c", f"ulimit -n 40; ulimit -s 256; exec {PROBE} work")[0], BAR_MMAP_DONE)


def test_exit_status_and_signals():
    run("sh", "-c", "exit 37", status=37)
    run("sh", "-c", "kill -TERM $$", status=-signal.SIGTERM)
    run("/no/such/program", status=127)
    out, err = run("qemu-io", "-f", "raw", "-c", "read 0 512", "nvme://0000:09:00.0/1", status=1)
    has(err, "09:00.0")


if __name__ == "__main__":
    tap.main(globals())
