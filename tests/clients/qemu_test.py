#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""qemu-io and qemu-img, unmodified, on the emulated controller."""
import hashlib
import os
import random

import tap
from client import DEVICE, NVME, call, contents, disk, equal, has, needs, path, run

SECTOR = 512
MIB = 1 << 20
needs("qemu-io", "qemu-img")


def qemu_io(*commands, target=NVME, options=(), **kw):
    args = [word for c in commands for word in ("-c", c)]
    return run("qemu-io", "-f", "raw", *options, *args, target, **kw)


def random_file(name, size):
    with open(path(name), "wb") as f:
        f.write(random.Random(name).randbytes(size))
    return path(name)


def digest(name):
    return hashlib.sha256(contents(name)).hexdigest()


class Patterns:
    """Writes and reads of patterns in one qemu-io, beside a model of what the disk then holds."""

    def __init__(self, size):
        disk("disk.img", size)
        self.model = bytearray(size)
        self.commands = []
        self.reads = 0

    def write(self, offset, length, pattern, flags=""):
        self.commands.append(f"write {flags} -P {pattern} {offset} {length}")
        self.model[offset:offset + length] = bytes([pattern]) * length
        self.read(offset, length, pattern)

    def read(self, offset, length, pattern):
        self.commands.append(f"read -P {pattern} {offset} {length}")
        self.reads += 1

    def check(self):
        out, _ = qemu_io(*self.commands)
        assert "Pattern verification failed" not in out, out
        equal(out.count("\nread ") + out.startswith("read "), self.reads)
        assert contents("disk.img") == self.model, "the file differs from what was written"


def test_every_sector_of_two_pages():
    p = Patterns(MIB)
    for n, offset in enumerate(range(0, 16 * SECTOR, SECTOR)):
        p.write(offset, SECTOR, n + 1)
    p.check()


def test_odd_multiples_at_odd_places():
    p = Patterns(MIB)
    for n, (offset, length) in enumerate((o, l) for o in (0, 1, 3, 7) for l in (1, 3, 5, 7, 9, 15, 17, 33)):
        p.write(offset * SECTOR, length * SECTOR, n + 1)
    p.check()


def test_across_pages():
    p = Patterns(MIB)
    for n, (offset, length) in enumerate(((3584, 1024), (3584, 4608), (4095 // SECTOR * SECTOR, 8704), (7680, 12800),
                                          (512, 65536), (65024, 1024), (130560, 131584))):
        p.write(offset, length, 100 + n)
    p.check()


def test_several_mebibytes():
    p = Patterns(32 * MIB)
    p.write(0, 3 * MIB, 0x11)
    p.write(5 * MIB + SECTOR, 4 * MIB + 3 * SECTOR, 0x22)
    p.write(16 * MIB - SECTOR, 8 * MIB, 0x33)
    p.write(32 * MIB - 2 * MIB, 2 * MIB, 0x44)
    p.check()


def test_random_patterns():
    rng = random.Random(1)
    p = Patterns(4 * MIB)
    for _ in range(150):
        offset = rng.randrange(0, 4 * MIB // SECTOR)
        length = min(rng.randrange(1, 700), 4 * MIB // SECTOR - offset)
        p.write(offset * SECTOR, length * SECTOR, rng.randrange(256), rng.choice(("", "-f", "-q")))
    p.check()


def test_bytes_that_are_no_sector():
    """qemu reads the rest of the sector, and writes the whole."""
    p = Patterns(MIB)
    p.write(1, 1, 1)
    p.write(4095, 2, 2)
    p.write(10001, 7777, 3)
    p.check()


def test_vectors():
    disk("disk.img", MIB)
    out, _ = qemu_io("writev -P 0x77 4096 512 1024 4096 8192 512", "readv -P 0x77 4096 512 1024 4096 8192 512")
    assert "failed" not in out, out
    equal(contents("disk.img", 4096, 14336), b"\x77" * 14336)
    equal(contents("disk.img", 0, 4096), bytes(4096))


def test_concurrent_requests():
    disk("disk.img", 8 * MIB)
    commands = [f"aio_write -q -P {n + 1} {n * 64}k 64k" for n in range(100)] + ["aio_flush"]
    commands += [f"aio_read -q -P {n + 1} {n * 64}k 64k" for n in range(100)] + ["aio_flush"]
    out, err = qemu_io(*commands)
    assert "ailed" not in out + err, out + err
    for n in range(100):
        equal(set(contents("disk.img", n << 16, 1 << 16)), {n + 1})


def test_wrong_pattern_is_noticed():
    """So that the other tests can fail."""
    disk("disk.img", MIB)
    out, _ = qemu_io("write -P 1 0 4k", "read -P 2 0 4k", status=1)
    has(out, "Pattern verification failed")


def test_convert_there_and_back():
    random_file("random.raw", 24 * MIB)
    call("qemu-img", "convert", "-f", "raw", "-O", "qcow2", path("random.raw"), path("there.qcow2"))
    disk("disk.img", 24 * MIB)
    run("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", path("there.qcow2"), NVME)
    equal(digest("disk.img"), digest("random.raw"))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", NVME, path("back.qcow2"))
    call("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path("back.qcow2"), path("back.raw"))
    equal(digest("back.raw"), digest("random.raw"))


def test_convert_options():
    """Out of order, with many coroutines, past the cache, and with holes."""
    random_file("random.raw", 8 * MIB)
    os.truncate(path("random.raw"), 16 * MIB)
    for options in (("-W", "-m", "16"), ("-t", "none", "-T", "none"), ("-S", "0"), ("-W", "-t", "none", "-m", "8")):
        disk("disk.img", 16 * MIB)
        run("qemu-img", "convert", "-n", *options, "-f", "raw", "-O", "raw", path("random.raw"), NVME)
        equal(digest("disk.img"), digest("random.raw"), options)


def test_compare():
    random_file("random.raw", 8 * MIB)
    random_file("disk.img", 8 * MIB)
    out, _ = run("qemu-img", "compare", "-f", "raw", "-F", "raw", path("random.raw"), NVME, status=1)
    has(out, "mismatch")
    with open(path("disk.img"), "r+b") as f:
        f.write(contents("random.raw"))
    has(run("qemu-img", "compare", "-f", "raw", "-F", "raw", path("random.raw"), NVME)[0], "Images are identical")
    with open(path("disk.img"), "r+b") as f:
        f.seek(5 * MIB + 4097)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ 1]))
    out, _ = run("qemu-img", "compare", "-f", "raw", "-F", "raw", path("random.raw"), NVME, status=1)
    has(out, f"offset {5 * MIB + 4096}")


def test_info():
    disk("disk.img", 24 * MIB)
    out, _ = run("qemu-img", "info", "-f", "raw", NVME)
    has(out, "24 MiB (25165824 bytes)")


def bench(*options):
    out, _ = run("qemu-img", "bench", "-f", "raw", "-s", "4096", *options, NVME)
    has(out, "Run completed in ")


def bench_reads_and_writes(depth):
    for mode in ((), ("-t", "none")):
        disk("disk.img")
        bench("-c", "4000", "-d", depth, *mode)
        bench("-c", "4000", "-d", depth, "-w", "--pattern=165", *mode)
        equal(contents("disk.img", 0, 4000 * 4096) == b"\xa5" * 4000 * 4096, True, mode)


def test_bench_depth_1():
    bench_reads_and_writes("1")


def test_bench_depth_16():
    bench_reads_and_writes("16")


def test_bench_depth_64():
    bench_reads_and_writes("64")


def test_bench_with_flushes_and_strides():
    disk("disk.img")
    bench("-c", "1000", "-d", "16", "-w", "--flush-interval=32")
    bench("-c", "1000", "-d", "16", "-w", "--flush-interval=32", "--no-drain")
    bench("-c", "1000", "-d", "16", "-S", "12800", "-o", "512")


def test_big_requests():
    disk("disk.img")
    for size in ("65536", "524288", "1048576"):
        out, _ = run("qemu-img", "bench", "-f", "raw", "-s", size, "-c", "100", "-d", "8", "-w", "--pattern=90", NVME)
        has(out, "Run completed in ")
        equal(set(contents("disk.img", 0, 8 * int(size))), {90})


def test_namespace_queues_are_enough():
    """A depth that no single queue of qemu's holds."""
    disk("disk.img")
    bench("-c", "4000", "-d", "256")


def test_discard():
    random_file("disk.img", 8 * MIB)
    before = os.stat(path("disk.img")).st_blocks
    out, _ = qemu_io("discard 1M 4M", "read -P 0 1M 4M", options=("-d", "unmap"))
    assert "failed" not in out, out
    has(out, "discard 4194304/4194304 bytes at offset 1048576")
    equal(contents("disk.img", MIB, 4 * MIB), bytes(4 * MIB))
    equal(os.stat(path("disk.img")).st_blocks, before - 4 * MIB // 512)
    equal(set(contents("disk.img", 0, MIB)) & set(contents("disk.img", 5 * MIB)), set(range(256)))


def test_write_zeroes():
    random_file("disk.img", 8 * MIB)
    was = bytearray(contents("disk.img"))
    out, _ = qemu_io("write -z 512 1536", "write -z 1M 1M", "read -P 0 512 1536", "read -P 0 1M 1M")
    assert "failed" not in out, out
    was[512:2048] = bytes(1536)
    was[MIB:2 * MIB] = bytes(MIB)
    assert contents("disk.img") == was
    out, _ = qemu_io("write -z -u 4M 2M", "read -P 0 4M 2M", options=("-d", "unmap"))
    assert "failed" not in out, out
    was[4 * MIB:6 * MIB] = bytes(2 * MIB)
    assert contents("disk.img") == was


def test_flush():
    disk("disk.img", MIB)
    out, err = qemu_io("write -P 9 0 64k", "flush", "write -f -P 10 64k 64k", "flush")
    assert "failed" not in out + err, out + err
    equal(contents("disk.img", 0, 1 << 17), b"\x09" * (1 << 16) + b"\x0a" * (1 << 16))


def test_beyond_the_end():
    disk("disk.img", MIB)
    out, err = qemu_io("write -P 9 1M 512", status=1)
    has(out + err, "write failed")
    equal(os.stat(path("disk.img")).st_size, MIB)


def test_two_namespaces():
    disk("one.img", 2 * MIB)
    disk("two.img", 4 * MIB)
    both = ("one.img", "two.img")
    second = f"nvme://{DEVICE}/2"
    qemu_io("write -P 1 0 1M", disks=both)
    qemu_io("write -P 2 2M 1M", target=second, disks=both)
    equal(contents("one.img"), b"\1" * MIB + bytes(MIB))
    equal(contents("two.img"), bytes(2 * MIB) + b"\2" * MIB + bytes(MIB))
    out, err = qemu_io("read 0 512", target=f"nvme://{DEVICE}/3", disks=both, status=1)
    has(out + err, "namespace")


def test_namespace_to_namespace():
    """Two controllers in one program."""
    random_file("one.img", 4 * MIB)
    disk("two.img", 4 * MIB)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", NVME, "nvme://0000:02:00.0/1", disks=("one.img",),
        options=("-d", f"nvme,path={path('two.img')}"))
    equal(digest("one.img"), digest("two.img"))


def test_blocks_of_4096():
    disk("disk.img", MIB)
    device = ("-d", f"nvme,blocksize=4096,path={path('disk.img')}")
    out, _ = run("qemu-io", "-f", "raw", "-c", "write -P 5 4k 12k", "-c", "write -P 6 512 512", "-c", "read -P 5 8k 8k",
                 NVME, disks=(), options=device)
    assert "failed" not in out, out
    equal(contents("disk.img", 0, 16384), bytes(512) + b"\6" * 512 + bytes(3072) + b"\5" * 12288)


def test_memory_of_its_own():
    """A driver that knows nothing of a controller memory buffer or a persistent region goes on without."""
    disk("disk.img", 4 * MIB)
    device = ("-d", f"nvme,cmb-size=64M,pmr-path={path('pmr.bin')},pmr-size=1M,path={path('disk.img')}")
    out, _ = run("qemu-io", "-f", "raw", "-c", "write -P 5 4k 1M", "-c", "read -P 5 4k 1M", NVME, disks=(),
                 options=device)
    assert "failed" not in out, out
    equal(contents("disk.img", 4096, MIB), b"\5" * MIB)
    run("qemu-img", "bench", "-q", "-c", "1000", "-d", "16", "-f", "raw", "-t", "none", NVME, disks=(), options=device)


def test_block_device_options():
    """The same driver by its option syntax, and under a filter node."""
    disk("disk.img", MIB)
    image = f"driver=raw,file.driver=nvme,file.device={DEVICE},file.namespace=1"
    run("qemu-io", "--image-opts", "-c", "write -P 3 0 4k", image)
    image = f"driver=raw,file.driver=blkdebug,file.image.driver=nvme,file.image.device={DEVICE},file.image.namespace=1"
    out, _ = run("qemu-io", "--image-opts", "-c", "read -P 3 0 4k", image)
    assert "failed" not in out, out


def test_qcow2_on_the_disk():
    """The image format itself lives on the device, metadata and all."""
    disk("disk.img", 32 * MIB)
    random_file("random.raw", 8 * MIB)
    image = f"driver=qcow2,file.driver=nvme,file.device={DEVICE},file.namespace=1"
    call("qemu-img", "create", "-q", "-f", "qcow2", path("empty.qcow2"), "8M")
    with open(path("disk.img"), "r+b") as f:
        f.write(contents("empty.qcow2"))
    run("qemu-img", "convert", "-n", "--target-image-opts", "-f", "raw", path("random.raw"), image)
    run("qemu-img", "compare", "--image-opts", f"driver=raw,file.filename={path('random.raw')}", image)
    run("qemu-img", "check", "--image-opts", image)


def test_open_and_close():
    disk("disk.img", MIB)
    commands = [word for n in range(200) for word in ("-c", f"open -o driver=raw,file.driver=nvme,file.device={DEVICE},"
                f"file.namespace=1", "-c", f"write -q -P {n % 256} {n % 64 * 512} 512",
                "-c", f"read -q -P {n % 256} {n % 64 * 512} 512", "-c", "close")]
    out, err = run("qemu-io", *commands)
    assert "ailed" not in out + err, out + err
    equal([contents("disk.img", n % 64 * 512, 1)[0] for n in range(136, 200)], list(range(136, 200)))


if __name__ == "__main__":
    tap.main(globals())
