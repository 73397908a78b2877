# SPDX-License-Identifier: BSD-3-Clause
"""What the tests with DPDK's programs share: its environment, users, and huge pages where the machine has some."""
import os
import re
import tempfile

import tap
from client import PINFOLD, WORK, call, path

NOBODY = 65534
# Without huge pages DPDK's memory is one file in memory, mapped for DMA in one piece.
SMALL = ("--no-huge", "-m", "64", "--iova-mode=va")
CLEAN = "still mapped: nothing; still pinned: nothing"


def users():
    """Whoever runs these tests, and an ordinary user if that is root."""
    return [None] if os.geteuid() else [None, NOBODY]


def huge_pages_free():
    with open("/proc/meminfo", encoding="ascii") as f:
        free = re.search(r"HugePages_Free:\s+(\d+)", f.read())
    return int(free.group(1)) if free else 0


def needs_huge_pages(n=48):
    if huge_pages_free() < n:
        raise tap.Skip(f"fewer than {n} huge pages are free")


def huge_pages_are_gone(text):
    """They are everybody's: others may have taken them since they were counted."""
    if re.search("Cannot init memory|Not enough memory available|mmap\\(\\) failed: Cannot allocate memory", text):
        raise tap.Skip("the free huge pages went to somebody else")


def huge_folder():
    """Words before a command that has a hugetlbfs at the folder which is returned, too."""
    huge = path("huge")
    os.makedirs(huge, exist_ok=True)
    mount = ["unshare", "-m", "sh", "-c", f"mount -t hugetlbfs -o mode=1777 none {huge} && exec \"$@\"", "sh"]
    if call(*mount, "true", status=None)[1]:
        raise tap.Skip("no hugetlbfs can be mounted")
    return mount, huge


def env(**more):
    """DPDK keeps its sockets and locks in a directory of the user's."""
    home = path("home")
    os.makedirs(home, exist_ok=True)
    os.chmod(home, 0o777)
    runtime = tempfile.mkdtemp(prefix="runtime-", dir=WORK.name)
    os.chmod(runtime, 0o777)
    return {**os.environ, "HOME": home, "XDG_RUNTIME_DIR": runtime, "RUNTIME_DIRECTORY": runtime, **more}


def pinfold(*args, program, devices=("ioat",), user=None, before=(), **kw):
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    for d in devices:
        args += ("-d", d)
    return (*before, *words, PINFOLD, "run", *args, "--", *program), kw
