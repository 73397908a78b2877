#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""guest_long.py [TEST]...: guests of every shape, and what their owners do to them. `make check-guest` runs it."""
import os
import signal
import subprocess

import tap
from client import MIB, PINFOLD, Serve, call, contents, equal, finish, has, nvme, path, start
from guest import (QEMU, VIOMMU, Guest, check, ext4, mount, needs_guest, sum_of, summary_is_clean, vfio, write_file)

RAM = 256
BACKED = f"q35,memory-backend=ram"
CONTROL = path("control")


def work(g, mib=4):
    """A file written, read back and checked."""
    mount(g)
    digest = write_file(g, "/mnt/file", mib)
    equal(sum_of(g, "/mnt/file"), digest)
    g.sh("umount /mnt")


def works(*devices, **kw):
    ext4("disk.img")
    with Guest(*(devices or vfio()), options=("--summary",), **kw) as g:
        work(g)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


# ---- memory ----
def backed(backend, **kw):
    works("-object", f"{backend},id=ram,size={RAM}M", *vfio(), memory=f"{RAM}M", machine=BACKED, **kw)


def test_shared_memfd():
    backed("memory-backend-memfd,share=on")


def test_private_memfd():
    backed("memory-backend-memfd,share=off")


def test_shared_file():
    name = f"/dev/shm/pinfold-guest-{os.getpid()}"
    try:
        backed(f"memory-backend-file,share=on,mem-path={name}")
    finally:
        os.unlink(name)


def test_private_file():
    backed(f"memory-backend-file,share=off,mem-path={path('ram')}")


def test_shared_anonymous():
    backed("memory-backend-ram,share=on")


def test_preallocated():
    backed("memory-backend-ram,prealloc=on")


def test_locked():
    if os.getuid():
        raise tap.Skip("only root may lock that much")
    works("-overcommit", "mem-lock=on", *vfio())


def test_huge_pages():
    huge = "/proc/sys/vm/nr_hugepages"
    with open(huge, encoding="ascii") as f:
        before = f.read()
    try:
        with open(huge, "w", encoding="ascii") as f:
            f.write(str(int(before) + RAM // 2))
        with open("/proc/meminfo", encoding="ascii") as f:
            free = int(f.read().split("HugePages_Free:")[1].split()[0])
        if free < RAM // 2:
            raise tap.Skip(f"only {free} huge pages")
        for share in ("on", "off"):
            backed(f"memory-backend-memfd,hugetlb=on,hugetlbsize=2M,share={share}")
    except PermissionError as why:
        raise tap.Skip("only root may reserve huge pages") from why
    finally:
        if not os.getuid():
            with open(huge, "w", encoding="ascii") as f:
                f.write(before)


def test_four_gibibytes():
    """Below and above the hole under 4 GiB."""
    works(memory="4G")


def test_memory_that_is_plugged():
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",), memory="256M,slots=4,maxmem=2G") as g:
        for n in range(3):
            g.do("object-add", **{"qom-type": "memory-backend-ram", "id": f"ram{n}", "size": 128 * MIB})
            g.do("device_add", driver="pc-dimm", id=f"dimm{n}", memdev=f"ram{n}")
        g.sh("for f in /sys/devices/system/memory/memory*/state; do echo online >$f 2>/dev/null; done; true")
        work(g, 8)
        said = g.finish()
    summary_is_clean(said)


def test_device_for_a_guest_at_work():
    """The guest's whole memory becomes the device's to reach while two processors write to it."""
    ext4("disk.img")
    copies = "1 2 3 4 5 6"
    with Guest("-device", "pcie-root-port,id=port1,chassis=1,slot=1", options=("--summary",), cpus=2,
               memory="1G") as g:
        g.sh("mkdir /r; mount -t tmpfs r /r")
        digest = write_file(g, "/r/file", 32)
        for _ in range(3):
            g.sh(f"(for i in {copies}; do cp /r/file /r/$i; done; for i in {copies}; do sha256sum </r/$i; done "
                 ">/sums; mv /sums /done) &")
            g.plug()
            mount(g)
            g.sh("cp /r/file /mnt/file; sync")
            equal(sum_of(g, "/mnt/file"), digest)
            g.sh("umount /mnt")
            g.wait_for("[ -e /done ]")
            equal(set(g.sh("cat /done; rm /done").replace("-", "").split()), {digest})
            g.unplug()
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


# ---- machines ----
def test_old_machine():
    """i440fx: conventional PCI, no ports."""
    works("-device", "vfio-pci,host=0000:01:00.0", machine="pc")


def test_by_path_in_sysfs():
    works("-device", "vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:01:00.0")


def test_four_processors():
    works(cpus=4)


def test_processors_in_one_thread():
    works(cpus=2, accel="tcg,thread=single")


def test_without_mappings():
    works(*vfio(**{"x-no-mmap": "on"}))


def test_moved_vector_table():
    works(*vfio(**{"x-msix-relocation": "bar2"}))


def test_sandbox():
    """As libvirt starts QEMU: with a filter of its own."""
    works("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", *vfio())


def test_firmware_boots_from_the_disk():
    """SeaBIOS's own driver reads the first sector, which writes to the serial port."""
    text = b"booted from the disk\n\0"
    # cli; cld; ds = 0; si = text; dx = COM1; each byte until 0: out; halt
    code = bytes.fromhex("fafc31c08ed8be1f7cbaf803ac84c07403eeebf8f4ebfd").ljust(0x1f, b"\x90") + text
    with open(path("disk.img"), "wb") as f:
        f.write(code.ljust(510, b"\0") + b"\x55\xaa")
        f.truncate(MIB)
    process = start(PINFOLD, "run", "-d", nvme("disk.img"), "--", QEMU, "-accel", "tcg", "-machine", "q35", "-m", "128",
                    "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-device",
                    "vfio-pci,host=0000:01:00.0,bootindex=1", stderr=subprocess.DEVNULL)
    try:
        has(process.stdout.readline(), "booted from the disk")
    finally:
        process.terminate()
        finish(process, status=None)


# ---- what happens to them ----
def test_stopped_and_continued():
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",)) as g:
        g.sh("(while :; do dd if=/dev/nvme0n1 of=/dev/null bs=64k count=100 iflag=direct 2>/dev/null; done) &")
        for _ in range(20):
            g.do("stop")
            g.do("cont")
        work(g)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


def test_rebooted_at_work():
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",)) as g:
        for _ in range(4):
            g.wait_for("[ -b /dev/nvme0n1 ]")
            g.sh("dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct 2>/dev/null &")
            g.do("system_reset")
            g.wait_ready()
        work(g)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


def test_every_reset_of_the_guest():
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",)) as g:
        mount(g)
        pci = "/sys/bus/pci/devices/" + g.pci_of("nvme0n1")
        g.sh("umount /mnt")
        for method in ("flr", "pm"):
            has(g.sh(f"cat {pci}/reset_method"), method)
            g.sh(f"echo {method} >{pci}/reset_method")
            for _ in range(5):
                g.sh("dd if=/dev/nvme0n1 of=/dev/null bs=64k count=50 iflag=direct 2>/dev/null &")
                g.sh(f"echo 1 >{pci}/reset")
                work(g, 1)
            g.sh(f"echo default >{pci}/reset_method")
        for _ in range(3):
            g.sh(f"echo 1 >{pci}/remove")
            g.sh("echo 1 >/sys/bus/pci/rescan")
            work(g, 1)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


def test_unplugged_at_work_behind_an_iommu():
    ext4("disk.img")
    with Guest(*VIOMMU, *vfio(), options=("--summary",), cpus=2, append="intel_iommu=on iommu.strict=1") as g:
        for _ in range(3):
            work(g)
            g.sh("dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct 2>/dev/null &")
            g.unplug()
            g.wait_for("[ ! -e /sys/class/nvme/nvme0 ]")
            g.plug()
        work(g)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


def test_asked_back():
    """The host unbinds the function: QEMU is asked for it and takes it away from the guest, which lets go."""
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary", "--control", CONTROL)) as g:
        for _ in range(2):
            work(g)
            unbind = start(PINFOLD, "ctl", "--control", CONTROL, "unbind", "0000:01:00.0")
            g.event("DEVICE_DELETED", device="disk1")
            finish(unbind)
            call(PINFOLD, "ctl", "--control", CONTROL, "bind", "0000:01:00.0")
            g.plug()
        work(g)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


def test_killed_at_work():
    """The next machine on the same broker finds the device free, and what had been made safe."""
    ext4("disk.img")
    with Serve("--summary") as s:
        connect = [PINFOLD, "run", "--connect", s.socket, "--"]
        with Guest(*vfio(), command=connect) as g:
            mount(g)
            digest = write_file(g, "/mnt/kept", 4)
            g.sh("(while :; do dd if=/dev/urandom of=/mnt/lost bs=1M count=8 conv=fsync 2>/dev/null; done) &")
            os.kill(g.qemu(), signal.SIGKILL)
            g.process.wait()
        with Guest(*vfio(), command=connect) as g:
            mount(g)
            equal(sum_of(g, "/mnt/kept"), digest)
            g.finish()
    check("disk.img")
    summary_is_clean(s.err)


def test_ordinary_user():
    """Within the limit that Linux, too, would put on it."""
    wrap = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"] if not os.getuid() else []
    ext4("disk.img")
    kw = {"wrap": wrap, "options": ("--summary", "--memlock", "1G")}
    with Guest(*vfio(), **kw) as g:
        work(g)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)
    kw["options"] = ("--memlock", "64M")
    try:
        with Guest(*vfio(), **kw, boot=False) as g:
            g.process.wait()
            raise AssertionError("started")
    except AssertionError as why:
        has(str(why), "Cannot allocate memory")


def test_dumps():
    """QEMU reads the guest's memory, and that of the device's BAR is left out."""
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",), machine="q35,dump-guest-core=off") as g:
        work(g)
        g.do("dump-guest-memory", paging=False, protocol=f"file:{path('dump')}")
        equal(contents("dump", 0, 4), b"\x7fELF")
        assert os.stat(path("dump")).st_size > RAM * MIB
        work(g)
        said = g.finish()
    summary_is_clean(said)


if __name__ == "__main__":
    needs_guest()
    tap.main(globals())
