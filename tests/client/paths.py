#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a program sees of /sys and /dev, by every way to name a file. Runs beside one NVMe function at 0000:01:00.0;
argument "host": the machine's own devices are visible too."""
import ctypes
import glob
import os
import stat
import subprocess
import sys
import tempfile

BDF = "0000:01:00.0"
PCI = "/sys/bus/pci"
DEV = "/sys/devices/pci0000:01/" + BDF
host = "host" in sys.argv
n = 0
bad = 0


def check(name, got, want=True):
    global n, bad
    n += 1
    ok = got == want
    bad += not ok
    print(f"{'ok' if ok else 'not ok'} {n} - {name}")
    if not ok:
        print(f"# got {got!r}\n# not {want!r}")


def attempt(f, *args, **kw):
    try:
        return f(*args, **kw)
    except OSError as e:
        return type(e).__name__ + f" {e.errno}"


def text(path, **kw):
    fd = os.open(path, os.O_RDONLY, **kw)
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def sh(cmd, **kw):
    r = subprocess.run(["sh", "-c", cmd], capture_output=True, text=True, **kw)
    return r.stdout.strip() + r.stderr.strip()


VENDOR = "0x1b36\n"
names = sorted(os.listdir(PCI + "/devices"))
check("ours is listed", BDF in names)
if not host:
    check("nothing else is", names, [BDF])
    check("drivers", os.listdir(PCI + "/drivers"), ["pcieport", "vfio-pci"])
    check("groups", len(os.listdir("/sys/kernel/iommu_groups")), 1)

# One file by many names.
for name in (f"{PCI}/devices/{BDF}/vendor", f"/{PCI}//devices/./{BDF}/vendor",
             f"/sys/../sys/bus/pci/devices/{BDF}/vendor", f"{DEV}/vendor", f"{DEV}/driver/{BDF}/vendor",
             f"{DEV}/power/../vendor", f"{DEV}/subsystem/devices/{BDF}/vendor",
             f"/proc/self/root{DEV}/vendor", f"/proc/{os.getpid()}/root{DEV}/vendor"):
    check("open " + name.replace(str(os.getpid()), "PID"), attempt(text, name), VENDOR)
for base, rel in (("/", f"sys/bus/pci/devices/{BDF}/vendor"), ("/sys", f"bus/pci/devices/{BDF}/vendor"),
                  (f"{PCI}/devices", f"{BDF}/vendor"), (f"{PCI}/devices/{BDF}", "vendor"),
                  (f"{PCI}/devices/{BDF}", f"../{BDF}/vendor"), ("/sys/class", f"../bus/pci/devices/{BDF}/vendor"),
                  ("/usr/lib", f"../../sys/bus/pci/devices/{BDF}/vendor"), ("/dev/shm", f"../../{DEV}/vendor")):
    fd = os.open(base, os.O_PATH | os.O_DIRECTORY)
    check(f"openat from {base}", attempt(text, rel, dir_fd=fd), VENDOR)
    check(f"through /proc/self/fd from {base}", attempt(text, f"/proc/self/fd/{fd}/{rel}"), VENDOR)
    os.close(fd)
    os.chdir(base)
    check(f"after chdir to {base}", attempt(text, rel), VENDOR)
    check(f"/proc/self/cwd in {base}", attempt(text, "/proc/self/cwd/" + rel), VENDOR)
    check(f"a child in {base}", sh(f"cat {rel}"), VENDOR.strip())

# Where one is, and how to get out.
os.chdir(f"{PCI}/devices/{BDF}")
check("getcwd", os.getcwd(), DEV)
check("pwd -P", sh("exec /bin/pwd -P"), DEV)
check("readlink /proc/self/cwd", os.readlink("/proc/self/cwd"), DEV)
check("realpath .", os.path.realpath("."), DEV)
check("readlink -f", sh("readlink -f driver"), f"{PCI}/drivers/vfio-pci")
os.chdir("../../..")
check("three up", os.getcwd(), "/sys")
check("and it is the real one", os.path.isdir("class") and os.path.isdir("kernel"))
os.chdir(f"{PCI}/devices")
check("down, up and out", attempt(os.listdir, "../../../../proc/self/fd") != [])
check("an absolute path from there", os.path.exists("/etc/passwd"))
check("a relative path from there", os.path.exists("../../../../etc/passwd"))
check("cat */vendor", VENDOR.strip() in sh("cat */vendor").splitlines())
check("glob", f"{PCI}/devices/{BDF}/vendor" in glob.glob(PCI + "/devices/*/vendor"))

# Links and modes.
check("readlink", os.readlink(f"{PCI}/devices/{BDF}"), f"../../../devices/pci0000:01/{BDF}")
check("lstat sees the link", stat.S_ISLNK(os.lstat(f"{PCI}/devices/{BDF}").st_mode))
check("with a slash, the directory", stat.S_ISDIR(os.lstat(f"{PCI}/devices/{BDF}/").st_mode))
check("O_NOFOLLOW", attempt(os.open, f"{PCI}/devices/{BDF}", os.O_RDONLY | os.O_NOFOLLOW), "OSError 40")
check("a file is no directory", attempt(os.stat, f"{DEV}/vendor/"), "NotADirectoryError 20")
check("nor has it a parent", attempt(os.stat, f"{DEV}/vendor/.."), "NotADirectoryError 20")
check("what is missing", attempt(os.stat, f"{DEV}/missing"), "FileNotFoundError 2")
check("a missing way", attempt(os.stat, f"{DEV}/missing/../vendor"), "FileNotFoundError 2")
check("nothing is created", attempt(os.open, f"{DEV}/new", os.O_CREAT | os.O_WRONLY), "PermissionError 13")
check("resource0 is not given out", attempt(os.open, f"{DEV}/resource0", os.O_RDWR), "PermissionError 1")
check("vendor is not writable", attempt(os.open, f"{DEV}/vendor", os.O_WRONLY), "PermissionError 13")
check("access", os.access(f"{DEV}/vendor", os.R_OK) and not os.access(f"{DEV}/missing", os.F_OK))
check("/dev/vfio/vfio is a device", stat.S_ISCHR(os.stat("/dev/vfio/vfio").st_mode))
group = os.path.basename(os.readlink(f"{DEV}/iommu_group"))
check("so is the group", stat.S_ISCHR(os.stat("/dev/vfio/" + group).st_mode))
check("/dev/vfio", sorted(os.listdir("/dev/vfio")), sorted([group, "devices", "vfio"]))
check("a group that is not", attempt(os.open, "/dev/vfio/4711", os.O_RDWR), "FileNotFoundError 2")
check("config has 4096 bytes", len(open(f"{DEV}/config", "rb").read()), 4096)
check("listxattr", isinstance(attempt(os.listxattr, f"{PCI}/devices/{BDF}/vendor"), list))
check("getxattr", attempt(os.getxattr, f"{DEV}/vendor", "user.none") in ("OSError 61", "OSError 95"))

# Whole walks.
seen = [os.path.join(p, f) for p, d, fs in os.walk(PCI) for f in fs + d]
check("os.walk stays inside", all(p.startswith(PCI + "/") for p in seen) and f"{PCI}/devices/{BDF}" in seen)
if not host:
    check("find -L finds one", sh(f"find -L {PCI}/devices -maxdepth 2 -name vendor"), f"{PCI}/devices/{BDF}/vendor")
    check("ls -l", sh(f"ls -l {PCI}/devices | wc -l"), "2")
check("scandir", sorted(e.name for e in os.scandir(PCI)),
      ["devices", "drivers", "drivers_autoprobe", "drivers_probe", "rescan", "resource_alignment", "slots", "uevent"])

# Links of the program's own.
with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    os.mkdir("sub")
    for target, link in ((f"{PCI}/devices/{BDF}", "dev"), ("../dev", "sub/up"), ("dev", "twice"), (PCI, "pci"),
                         ("/sys", "sys"), (f"{DEV}/vendor", "file"), ("/dev/vfio", "vfio"), ("/dev/vfio/vfio", "node"),
                         ("/etc", "etc"),
                         ("loop", "loop"), (f"{DEV}/missing", "dangling"), (f"/proc/self/root{DEV}", "root")):
        os.symlink(target, link)
    for name in ("dev/vendor", "sub/up/vendor", "twice/vendor", f"pci/devices/{BDF}/vendor", "/usr/.." + work + "/file",
                 f"sys/bus/pci/devices/{BDF}/vendor", "file", work + "/dev/vendor", work + "/sub/../sub/up/vendor",
                 "./sub/../twice/vendor", "root/vendor",
                 f"sub/up/driver/{BDF}/vendor"):
        check("open " + name.replace(work, "WORK"), attempt(text, name), VENDOR)
        check("stat " + name.replace(work, "WORK"), attempt(lambda: stat.S_ISREG(os.stat(name).st_mode)))
        check("access " + name.replace(work, "WORK"), os.access(name, os.R_OK))
    fd = os.open("dev", os.O_RDONLY | os.O_DIRECTORY)
    check("openat from a link", attempt(text, "vendor", dir_fd=fd), VENDOR)
    check("and up from there", attempt(text, f"../{BDF}/vendor", dir_fd=fd), VENDOR)
    os.close(fd)
    fd = os.open("sub", os.O_PATH | os.O_DIRECTORY)
    check("openat to a link", attempt(text, "up/vendor", dir_fd=fd), VENDOR)
    os.close(fd)
    check("listdir", sorted(os.listdir("pci/devices")), names)
    check("a child", sh("cat dev/vendor; cd twice; /bin/pwd; cat vendor").split(),
          [VENDOR.strip(), DEV, VENDOR.strip()])
    check("lstat", stat.S_ISLNK(os.lstat("dev").st_mode))
    check("lstat with a slash", stat.S_ISDIR(os.lstat("dev/").st_mode))
    check("readlink", os.readlink("dev"), f"{PCI}/devices/{BDF}")
    check("realpath", os.path.realpath("sub/up"), DEV)
    check("O_NOFOLLOW", attempt(os.open, "dev", os.O_RDONLY | os.O_NOFOLLOW), "OSError 40")
    check("the node is a device", stat.S_ISCHR(os.stat("node").st_mode))
    for name in ("node", "vfio/vfio", work + "/node"):
        fd = attempt(os.open, name, os.O_RDWR)
        check("the node by " + name.replace(work, "WORK"), os.readlink(f"/proc/self/fd/{fd}"), "/dev/vfio/vfio")
        os.close(fd)
    check("loop", attempt(os.stat, "loop"), "OSError 40")
    check("open loop", attempt(os.open, "loop", os.O_RDONLY), "OSError 40")
    check("dangling", attempt(os.stat, "dangling"), "FileNotFoundError 2")
    check("open dangling", attempt(os.open, "dangling", os.O_RDONLY), "FileNotFoundError 2")
    check("below a file", attempt(os.open, "file/x", os.O_RDONLY), "NotADirectoryError 20")
    check("nothing is created", attempt(os.open, "dev/new", os.O_CREAT | os.O_WRONLY), "PermissionError 13")
    check("elsewhere", os.path.exists("etc/passwd") and attempt(text, "etc/passwd") == attempt(text, "/etc/passwd"))
    fd = os.open("sub/new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640)
    check("a file of its own", os.fstat(fd).st_ino, os.stat(work + "/sub/new").st_ino)
    os.close(fd)
    os.unlink("dev")
    os.mkdir("dev")
    check("no link any more", attempt(text, "sub/up/vendor"), "FileNotFoundError 2")
    os.rmdir("dev")
    os.symlink("pci/devices/" + BDF, "dev")
    check("a link again", attempt(text, "sub/up/vendor"), VENDOR)
    os.chdir("dev")
    check("chdir through a link", os.getcwd(), DEV)
    check("and read there", attempt(text, "vendor"), VENDOR)
    os.chdir("/")

# Nothing of ours can be changed, by a name of any form: not the broker's tree, and not what the machine has in its
# place.
os.chdir(PCI + "/devices")
here = os.open(".", os.O_RDONLY)
denied = "PermissionError 1"
for name in (BDF, f"{PCI}/devices/{BDF}", f"{BDF}/vendor", f"{DEV}/vendor", "/dev/vfio/vfio"):
    check(f"unlink {name}", attempt(os.unlink, name), denied)
    check(f"rename {name} onto itself", attempt(os.rename, name, name), denied)
    check(f"chmod {name}", attempt(os.chmod, name, 0o666), denied)
    check(f"chown {name}", attempt(os.lchown, name, os.getuid(), -1), denied)
    check(f"utime {name}", attempt(os.utime, name), denied)
    check(f"setxattr {name}", attempt(os.setxattr, name, "user.x", b"1"), denied)
for name in ("new", f"{PCI}/new", f"{DEV}/new", "/dev/vfio/new"):
    check(f"mkdir {name}", attempt(os.mkdir, name), denied)
    check(f"symlink {name}", attempt(os.symlink, "x", name), denied)
    check(f"link {name}", attempt(os.link, __file__, name), denied)
    check(f"mknod {name}", attempt(os.mkfifo, name), denied)
check("unlink by a descriptor", attempt(os.unlink, BDF, dir_fd=here), denied)
check("mkdir by a descriptor", attempt(os.mkdir, "new", dir_fd=here), denied)
check("rmdir /dev/vfio", attempt(os.rmdir, "/dev/vfio"), denied)
check("truncate", attempt(os.truncate, f"{BDF}/vendor", 0), denied)
check("nothing has changed", sorted(os.listdir()), names)
os.close(here)
os.chdir("/")

# The rest of /sys is the machine's.
check("/sys/class/net", sorted(os.listdir("/sys/class/net")), sorted(sh("ls /sys/class/net").split()))
for link in glob.glob("/sys/class/net/*/device"):
    check(f"{link}/vendor", attempt(text, link + "/vendor").startswith("0x"))
if host:
    for name in names:
        real = os.path.realpath(f"{PCI}/devices/{name}")
        check(f"the host's {name}", attempt(text, f"{PCI}/devices/{name}/vendor").startswith("0x"))
        check("by its real name", attempt(text, real + "/vendor").startswith("0x"))
    for name in os.listdir(PCI + "/drivers"):
        check(f"driver {name}", "bind" in attempt(os.listdir, f"{PCI}/drivers/{name}") or
              "uevent" in attempt(os.listdir, f"{PCI}/drivers/{name}"))
        os.chdir(f"{PCI}/drivers/{name}")
        check("and back", attempt(text, f"../../devices/{BDF}/vendor"), VENDOR)

print(f"1..{n}")
sys.exit(bad > 0)
