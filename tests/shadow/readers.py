#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that read sysfs, pointed at a tree: argv[1] prints its root and keeps it until its input ends."""
import os
import shutil
import subprocess
import sys

results = []


def check(name, ok, note=""):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - {name}")
    if not ok and note:
        print("\n".join("# " + line for line in str(note).splitlines()))


def skip(name, reason):
    results.append(True)
    print(f"ok {len(results)} - {name} # SKIP {reason}")


hold = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
root = hold.stdout.readline().strip()
pci = root + "/sys/bus/pci"

# The tree as os.walk sees it, links to directories not entered.
seen = {}
for path, dirs, files in os.walk(root):
    for name in files:
        full = os.path.join(path, name)
        mode = os.lstat(full).st_mode & 0o777
        if mode & 0o400 and not name.startswith("."):
            with open(full, "rb") as f:
                seen[full[len(root):]] = f.read(1 << 16)
check("os.walk reads every readable file", len(seen) > 60, seen.keys())
texts = {k: v for k, v in seen.items() if k.startswith("/sys") and v and
         not k.endswith("/config") and "/resource" not in k}
check("every attribute ends with a newline", all(v.endswith(b"\n") for v in texts.values()),
      [k for k, v in texts.items() if not v.endswith(b"\n")])
check("os.listdir shows both functions",
      sorted(os.listdir(pci + "/devices")) == ["0000:01:00.0", "0000:0a:03.5"])

# What the kernel writes for a real function of this machine has the same shape.
host = "/sys/bus/pci/devices"
real = sorted(os.listdir(host)) if os.path.isdir(host) else []
if real:
    ours = pci + "/devices/0000:01:00.0/"
    wrong = []
    for name in ("vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision", "modalias",
                 "local_cpus", "local_cpulist", "numa_node", "enable", "msi_bus", "ari_enabled"):
        try:
            a, b = open(f"{host}/{real[-1]}/{name}").read(), open(ours + name).read()
        except FileNotFoundError:
            continue
        shape = lambda s: "".join("x" if c in "0123456789abcdefABCDEF" else c for c in s)
        same = a == b if name.startswith("local_") else (
            shape(a) == shape(b) if name != "numa_node" else a.endswith("\n"))
        if not same:
            wrong.append(f"{name}: {a!r} {b!r}")
        ma, mb = (os.stat(p + name).st_mode for p in (f"{host}/{real[-1]}/", ours))
        if ma != mb:
            wrong.append(f"{name}: mode {ma:o} {mb:o}")
    check("attributes have the shape and mode of the machine's own", not wrong, "\n".join(wrong))
else:
    skip("attributes have the shape and mode of the machine's own", "no PCI here")

if shutil.which("lspci"):
    def lspci(*args):
        return subprocess.run(["lspci", "-O", f"sysfs.path={pci}", *args], capture_output=True, text=True)
    r = lspci("-D", "-n")
    check("lspci lists both functions", r.returncode == 0 and not r.stderr and r.stdout.splitlines() == [
        "0000:01:00.0 0108: 1b36:0010 (rev 02)", "0000:0a:03.5 0108: 1b36:0010 (rev 02)"], r.stdout + r.stderr)
    r = lspci("-nnk", "-s", "01:00.0")
    check("lspci -k names the driver", "Kernel driver in use: vfio-pci" in r.stdout and
          "Subsystem: " in r.stdout and "[1af4:1100]" in r.stdout, r.stdout + r.stderr)
    r = lspci("-vv", "-s", "01:00.0")
    for want in ("IOMMU group: 1", "[size=16K]", "[size=4K]", "Power Management version 3", "MSI-X: Enable- Count=4",
                 "LnkCap:\tPort #0, Speed 8GT/s, Width x4"):
        check(f"lspci -vv shows {want!r}", want in r.stdout, r.stdout + r.stderr)
    r = lspci("-xxxx", "-s", "01:00.0")
    check("lspci -xxxx shows 4096 bytes", len([l for l in r.stdout.splitlines() if l[3:5] == ": "
                                              or l[2:4] == ": "]) == 256, r.stdout[:500] + r.stderr)
else:
    skip("lspci", "pciutils is not installed")

# A broker that ends takes its tree along.
hold.stdin.close()
check("the holder ends well", hold.wait() == 0)
check("nothing is left", not os.path.exists(root))
print(f"1..{len(results)}")
sys.exit(0 if all(results) else 1)
