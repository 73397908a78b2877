#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest that drives the emulated controllers through QEMU's vfio-pci."""
import hashlib

import tap
from client import PINFOLD, Serve, equal, has, nvme
from guest import (VIOMMU, Guest, check, ext4, file_in, mount, needs_guest, sum_of, summary_is_clean, vfio,
                   write_file)


def test_disk_of_a_guest():
    """A file system on it, I/O, resets, a driver that comes and goes, and the device itself too."""
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",)) as g:
        mount(g)
        digest = write_file(g, "/mnt/file", 8)
        equal(sum_of(g, "/mnt/file"), digest)
        pci = g.pci_of("nvme0n1")

        # Reset while a reader is busy: what was under way is tried again.
        g.sh("(for i in 1 2 3; do echo 3 >/proc/sys/vm/drop_caches; sha256sum </mnt/file; done >/sums) &")
        g.sh(f"echo 1 >/sys/bus/pci/devices/{pci}/reset")
        g.sh(f"echo 1 >/sys/bus/pci/devices/{pci}/reset")
        g.wait_for("[ $(wc -l </sums) = 3 ]")
        equal(set(g.sh("cat /sums").replace("-", "").split()), {digest})
        g.sh("umount /mnt")

        for _ in range(2):
            g.sh(f"echo {pci} >/sys/bus/pci/drivers/nvme/unbind")
            equal(g.sh("ls /sys/class/nvme"), "")
            g.sh(f"echo {pci} >/sys/bus/pci/drivers/nvme/bind")
            mount(g)
            equal(sum_of(g, "/mnt/file"), digest)
            g.sh("umount /mnt")

        for _ in range(2):
            g.unplug()
            g.wait_for("[ ! -e /sys/class/nvme/nvme0 ]")
            g.plug()
            mount(g)
            equal(sum_of(g, "/mnt/file"), digest)
            g.sh("umount /mnt")
        said = g.finish()
    check("disk.img")
    equal(hashlib.sha256(file_in("disk.img", "file")).hexdigest(), digest)
    summary_is_clean(said)


def test_behind_an_iommu_of_the_guest():
    """The guest maps and unmaps for each request; two processors, two disks, and a reboot."""
    ext4("one.img")
    ext4("two.img")
    with Guest(*VIOMMU, *vfio(1), *vfio(2), disks=("one.img", "two.img"), options=("--summary",), cpus=2,
               machine="q35,kernel-irqchip=split", append="intel_iommu=on iommu.strict=1") as g:
        digests = []
        for turn in range(2):
            if turn:
                g.do("system_reset")
                g.wait_ready()
            g.sh("mkdir -p /a /b")
            mount(g, "nvme0n1", "/a")
            mount(g, "nvme1n1", "/b")
            if turn:
                equal(sum_of(g, "/a/file"), digests[0])
                equal(sum_of(g, "/b/file"), digests[1])
            digests = [write_file(g, "/a/file", 2), write_file(g, "/b/file", 2)]
            g.sh("(cp /a/file /b/copy; sync) & (cp /b/file /a/copy; sync) & wait")
            equal(sum_of(g, "/b/copy"), digests[0])
            equal(sum_of(g, "/a/copy"), digests[1])
            g.sh("umount /a; umount /b")
        said = g.finish()
    check("one.img")
    check("two.img")
    equal(hashlib.sha256(file_in("two.img", "copy")).hexdigest(), digests[0])
    summary_is_clean(said)


def test_interrupt_pin():
    """QEMU unmaps the BAR while the line is up, and takes each access to it for the end of the interrupt."""
    ext4("disk.img")
    with Guest(*vfio(), options=("--summary",), append="pci=nomsi") as g:
        mount(g)
        has(g.sh("grep nvme /proc/interrupts"), "IO-APIC")
        digest = write_file(g, "/mnt/file", 2)
        g.sh(f"echo 1 >/sys/bus/pci/devices/{g.pci_of('nvme0n1')}/reset")
        equal(sum_of(g, "/mnt/file"), digest)
        said = g.finish()
    check("disk.img")
    summary_is_clean(said)


def test_sleep():
    """
    The guest suspends to RAM, which takes the controllers to D3hot, and wakes up: configuration and BARs are as they
    were, those of memory too (the second one's queues lie in it), and work goes on.
    """
    ext4("disk.img")
    ext4("buffer.img")
    with Serve("--summary", "--check=all", "-d", nvme("buffer.img") + ",cmb-size=1M") as s:
        def states():
            return s.run("cat", *(f"/sys/bus/pci/devices/0000:0{n}:00.0/power_state" for n in (1, 2)))[0].split()
        with Guest(*vfio(1), *vfio(2), command=[PINFOLD, "run", "--connect", s.socket, "--"]) as g:
            g.sh("mkdir -p /a /b")
            mount(g, "nvme0n1", "/a")
            mount(g, "nvme1n1", "/b")
            digests = [write_file(g, "/a/file", 2), write_file(g, "/b/file", 2)]
            equal(states(), ["D0", "D0"])
            g.sh("(while cp /a/file /b/copy && sync && [ ! -e /stop ]; do :; done) & echo $! >/copier")
            g.shell.send("echo mem >/sys/power/state\n")
            g.event("SUSPEND")
            equal(states(), ["D3hot", "D3hot"])
            g.do("system_wakeup")
            g.event("WAKEUP")
            equal(g.shell.line(), "@@0")
            g.sh("touch /stop")
            g.wait_for("! kill -0 $(cat /copier)")
            equal([sum_of(g, "/a/file"), sum_of(g, "/b/file"), sum_of(g, "/b/copy")], [*digests, digests[0]])
            g.sh("umount /b; umount /a")
            # After that this machine neither switches itself off nor sleeps, whatever devices it has.
            g.do("quit")
            g.process.wait()
    check("disk.img")
    check("buffer.img")
    equal(hashlib.sha256(file_in("buffer.img", "file")).hexdigest(), digests[1])
    summary_is_clean(s.err)


if __name__ == "__main__":
    needs_guest()
    tap.main(globals())
