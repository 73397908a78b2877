# SPDX-License-Identifier: BSD-3-Clause
"""A VFIO device in a program under pinfold, as little as the tests need: ioctls, registers, eventfds."""
import array
import ctypes
import fcntl
import mmap
import os
import struct
import sys

TYPE = ord(";") << 8
GET_STATUS, SET_CONTAINER = TYPE + 103, TYPE + 104
GET_DEVICE_FD, REGION_INFO, SET_IRQS, RESET, HOT_RESET_INFO, HOT_RESET = (TYPE + n for n in (106, 108, 110, 111, 112,
                                                                                               113))
SET_IOMMU = TYPE + 102
TYPE1V2 = 3
BAR0, CONFIG = 0, 7
MSIX, ERR, REQ = 2, 3, 4


def group_of(address):
    return int(os.path.basename(os.path.realpath(f"/sys/bus/pci/devices/{address}/iommu_group")))


def errno_of(call, *args):
    """0, or the errno of the exception that the call raises."""
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return 0


class Group:
    def __init__(self, number, container=None):
        self.fd = os.open(f"/dev/vfio/{number}", os.O_RDWR)
        self.container = os.open("/dev/vfio/vfio", os.O_RDWR) if container is None else container
        self.fresh = container is None

    def attach(self):
        fcntl.ioctl(self.fd, SET_CONTAINER, struct.pack("i", self.container))
        if self.fresh:
            fcntl.ioctl(self.container, SET_IOMMU, TYPE1V2)
        return self

    def flags(self):
        status = array.array("I", [8, 0])
        fcntl.ioctl(self.fd, GET_STATUS, status)
        return status[1]

    def device(self, address):
        return Device(fcntl.ioctl(self.fd, GET_DEVICE_FD, bytearray(address.encode() + b"\0")))

    def close(self):
        os.close(self.fd)
        if self.fresh:
            os.close(self.container)


class Device:
    def __init__(self, fd):
        self.fd = fd
        self.bar = None
        self.reg = None

    def region(self, index):
        got = fcntl.ioctl(self.fd, REGION_INFO, struct.pack("IIIIQQ", 32, 0, index, 0, 0, 0))
        return struct.unpack("IIIIQQ", got)[4:]

    def config(self, at, n=4):
        return int.from_bytes(os.pread(self.fd, n, self.region(CONFIG)[1] + at), "little")

    def map(self):
        size, offset = self.region(BAR0)
        self.bar = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        self.reg = (ctypes.c_uint32 * (size // 4)).from_buffer(self.bar)
        return self.reg

    def read(self, at, n=4):
        return int.from_bytes(os.pread(self.fd, n, self.region(BAR0)[1] + at), "little")

    def listen(self, index, vector=0):
        fd = os.eventfd(0)
        fcntl.ioctl(self.fd, SET_IRQS, struct.pack("5Ii", 24, 0x24, index, vector, 1, fd))
        return fd

    def close(self):
        self.reg = None
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        os.close(self.fd)


def say(word):
    """To the test outside."""
    print(word, flush=True)


def hear():
    """The next line from the test outside."""
    return sys.stdin.readline().strip()
