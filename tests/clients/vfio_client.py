#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A VFIO program in nothing but Python: ioctls, a mapped BAR, DMA of an admin command, an interrupt."""
import array
import ctypes
import fcntl
import mmap
import os
import select
import struct
import time

DEVICE = "0000:01:00.0"
TYPE = ord(";") << 8
(GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, GROUP_SET_CONTAINER) = range(TYPE + 100, TYPE + 105)
GROUP_GET_DEVICE_FD, DEVICE_GET_INFO, REGION_INFO, IRQ_INFO, SET_IRQS = range(TYPE + 106, TYPE + 111)
IOMMU_MAP_DMA, IOMMU_UNMAP_DMA = TYPE + 113, TYPE + 114
TYPE1V2 = 3
BAR0, CONFIG = 0, 7
MSIX = 2

group_number = os.path.basename(os.path.realpath(f"/sys/bus/pci/devices/{DEVICE}/iommu_group"))
container = os.open("/dev/vfio/vfio", os.O_RDWR)
assert fcntl.ioctl(container, GET_API_VERSION) == 0
assert fcntl.ioctl(container, CHECK_EXTENSION, TYPE1V2) == 1
group = os.open(f"/dev/vfio/{group_number}", os.O_RDWR)
status = array.array("I", [8, 0])
fcntl.ioctl(group, GROUP_GET_STATUS, status)
assert status[1] & 1, "viable"
fcntl.ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", container))
fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
device = fcntl.ioctl(group, GROUP_GET_DEVICE_FD, bytearray(DEVICE.encode() + b"\0"))

info = fcntl.ioctl(device, DEVICE_GET_INFO, struct.pack("6I", 24, *[0] * 5))
_, flags, regions, irqs, _, _ = struct.unpack("6I", info)
assert flags & 3 == 3 and regions == 9 and irqs == 5, (flags, regions, irqs)


def region(index):
    got = fcntl.ioctl(device, REGION_INFO, struct.pack("IIIIQQ", 32, 0, index, 0, 0, 0))
    _, region_flags, _, _, size, offset = struct.unpack("IIIIQQ", got)
    return region_flags, size, offset


_, _, config = region(CONFIG)
with open(f"/sys/bus/pci/devices/{DEVICE}/config", "rb") as f:
    assert f.read(4) == os.pread(device, 4, config)
command = struct.unpack("H", os.pread(device, 2, config + 4))[0]
os.pwrite(device, struct.pack("H", command | 6), config + 4)

flags, size, offset = region(BAR0)
assert flags & 4 and size >= 8192
bar = mmap.mmap(device, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
assert struct.unpack("Q", bar[0:8])[0] == struct.unpack("Q", os.pread(device, 8, offset))[0]
regs = ctypes.c_uint32 * (size // 4)
reg = regs.from_buffer(bar)

memory = mmap.mmap(-1, 3 * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
IOVA = 0x10000
fcntl.ioctl(container, IOMMU_MAP_DMA, struct.pack("IIQQQ", 32, 3, address, IOVA, 3 * 4096))

vector = os.eventfd(0)
fcntl.ioctl(device, SET_IRQS, struct.pack("5Ii", 24, 0x24, MSIX, 0, 1, vector))


def ready(want):
    end = time.monotonic() + 60
    while reg[0x1c // 4] & 1 != want:
        assert time.monotonic() < end
        time.sleep(0.001)


reg[0x14 // 4] = 0
ready(0)
reg[0x24 // 4] = 7 << 16 | 7
for at, iova in ((0x28, IOVA), (0x30, IOVA + 4096)):
    reg[at // 4] = iova
    reg[at // 4 + 1] = 0
reg[0x14 // 4] = 4 << 20 | 6 << 16 | 1
ready(1)
# Identify controller, to the third page.
memory[0:64] = struct.pack("BBHIQQQQ6I", 6, 0, 7, 0, 0, 0, IOVA + 8192, 0, 1, 0, 0, 0, 0, 0)
reg[0x1000 // 4] = 1
assert select.select([vector], [], [], 60)[0], "no interrupt"
assert os.eventfd_read(vector) == 1
assert struct.unpack("H", memory[4096 + 12:4096 + 14])[0] == 7
assert struct.unpack("H", memory[4096 + 14:4096 + 16])[0] == 1
print(memory[8192 + 4:8192 + 24].decode().strip(), memory[8192 + 24:8192 + 64].decode().strip())
reg[0x14 // 4] = 0
ready(0)
unmap = fcntl.ioctl(container, IOMMU_UNMAP_DMA, struct.pack("IIQQ", 24, 0, IOVA, 3 * 4096))
assert struct.unpack("IIQQ", unmap)[3] == 3 * 4096
del reg
print("done")
