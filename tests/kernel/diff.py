#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares what Pinfold and a real Linux kernel answer to random sequences of IOMMUFD calls.

diff.py live [-n SEQUENCES] [-s FIRST]  both at once; the kernel runs in the guest of PINFOLD_ORACLE (../shared/oracle)
diff.py recorded                        Pinfold against the answers in answers.xz
diff.py record [-n SEQUENCES]           writes answers.xz from the real kernel
diff.py repeat [-n SEQUENCES]           the kernel against itself after another boot: the generator is deterministic
diff.py counts [-n SEQUENCES]           how often the kernel gave which answer to which call

A sequence that differs is reduced to the calls that matter. Differences that tests/kernel/differences lists, with their
reasons, are allowed. BUILD (build) is the build directory, PINFOLD the command to test. The last line is a count.
"""
import argparse
import collections
import concurrent.futures
import functools
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
ORACLE = os.environ.get("PINFOLD_ORACLE", os.path.join(ROOT, "../shared/oracle"))
CALLS = os.environ.get("IOMMUFD_CALLS", os.path.join(BUILD, "tests/kernel/iommufd_calls"))
ANSWERS = os.path.join(HERE, "answers.xz")
CHUNK = 200  # sequences per run of Pinfold
LENGTH = 50
CAP_SYS_RESOURCE = 24
REPORTED = 5  # differences that are reduced and shown

Rule = collections.namedtuple("Rule", "call earlier kernel ours")
Job = collections.namedtuple("Job", "seed calls skips")


def job_line(job):
    return f"{job.seed} {job.calls} {','.join(map(str, sorted(job.skips))) or '-'}\n"


def oracle(arguments, stdin=""):
    """One boot of the real kernel."""
    with tempfile.TemporaryDirectory() as overlay:
        shutil.copy(CALLS, os.path.join(overlay, "calls"))
        with open(os.path.join(overlay, "jobs"), "w", encoding="utf-8") as f:
            f.write(stdin)
        run = subprocess.run([os.path.join(ORACLE, "run-guest.sh"), "-n", "-t", "1800", overlay,
                              f"/calls {arguments} </jobs"], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"diff: the real kernel's guest failed ({run.returncode}): {run.stderr[-2000:]}")
    return run.stdout


@functools.cache
def privileged():
    """Some sequences want CAP_SYS_RESOURCE: what the user has not got, root of a namespace of his own has."""
    with open("/proc/self/status", encoding="utf-8") as f:
        if int(re.search(r"CapEff:\s+(\w+)", f.read())[1], 16) & 1 << CAP_SYS_RESOURCE:
            return []
    unshare = ["unshare", "--user", "--map-root-user"]
    try:
        return unshare if not subprocess.run(unshare + ["true"], capture_output=True, check=False).returncode else []
    except FileNotFoundError:
        return []


def pinfold(arguments, stdin=""):
    """What was said before a crash or a hang counts too: the rest is missed later."""
    command = privileged() + os.environ.get("PINFOLD", os.path.join(ROOT, "pinfold")).split()
    try:
        run = subprocess.run(command + ["run", "--iommufd-test", "--", CALLS] + arguments.split(), input=stdin,
                             capture_output=True, text=True, check=False, timeout=120)
        out, err = run.stdout, run.stderr
    except subprocess.TimeoutExpired as e:
        out, err = ((e.stdout or b"").decode(), "timeout")
    if not out:
        sys.exit(f"diff: nothing ran under {' '.join(command)}: {err[-2000:]}")
    return out


def digests(text):
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2:
            found[int(words[0])] = words[1]
    return found


def kernel_digests(first, last):
    return digests(oracle(f"-q {first} {last}"))


def pinfold_digests(first, last):
    found = {}
    while first <= last:
        end = min(first + CHUNK - 1, last)
        found.update(digests(pinfold(f"-q {first} {end}")))
        first = end + 1
    return found


def by_job(text):
    """The lines of each job of a run with -j."""
    lists = []
    for line in text.splitlines():
        if line.startswith("job "):
            lists.append([])
        elif lists:
            lists[-1].append(line)
    return lists


def both(jobs):
    """The lines of the kernel and of Pinfold, for each job."""
    stdin = "".join(map(job_line, jobs))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        theirs = pool.submit(oracle, "-j", stdin)
        ours = []
        for job in jobs:
            answered = by_job(pinfold("-j", job_line(job)))
            ours.append(answered[0] if answered else [])
    return list(zip(by_job(theirs.result()), ours))


def allowed_differences():
    rules = []
    with open(os.path.join(HERE, "differences"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                call, kernel, ours, _reason = (word.strip() for word in line.split(" | ", 3))
                call, _, earlier = call.partition(" after ")
                rules.append(Rule(*(re.compile(word) if word else None for word in (call, earlier, kernel, ours))))
    return rules


def split(line):
    """ "7.3 MAP(1, 2) = 0 [8]=1" is ("7.3", "MAP", "MAP(1, 2)", "= 0 [8]=1")."""
    found = re.match(r"(\S+) ((\w+)\(.*?\)(?: [a-z-]+)?) (.*)$", line)
    return (found[1], found[3], found[2], found[4]) if found else (line.split(" ")[0], "end", "end", line)


def rule_for(theirs, ours, at, rules):
    """The rule that allows line at to differ, or None."""
    _, name, call, want = split(theirs[at])
    got = split(ours[at])[3] if at < len(ours) else ""
    earlier = [word for line in theirs[:at] for word in split(line)[1:3]]
    for rule in rules:
        if not (rule.call.fullmatch(name) or rule.call.fullmatch(call)):
            continue
        if rule.earlier and not any(map(rule.earlier.fullmatch, earlier)):
            continue
        if rule.kernel.fullmatch(want) and rule.ours.fullmatch(got):
            return rule
    return None


def first_difference(theirs, ours, rules):
    """The place of the first line that differs and must not, or None."""
    for at, line in enumerate(theirs):
        if at < len(ours) and line == ours[at]:
            continue
        rule = rule_for(theirs, ours, at, rules)
        if not rule:
            return at
        if rule.earlier:
            return None
    return None


def is_last_different(job, pair, rules):
    theirs, ours = pair
    at = first_difference(theirs, ours, rules)
    return at is not None and split(theirs[at])[0] == f"{job.seed}.{job.calls - 1}"


def reduce(job, rules):
    """Drops calls, in halves and then one by one, as long as the last one is answered differently."""
    size = job.calls // 2
    while size:
        left = [i for i in range(job.calls - 1) if i not in job.skips]
        tries = [Job(job.seed, job.calls, job.skips | set(left[i:i + size])) for i in range(0, len(left), size)]
        good = [t for t, pair in zip(tries, both(tries)) if is_last_different(t, pair, rules)] if tries else []
        if len(good) > 1:
            together = Job(job.seed, job.calls, frozenset().union(*(t.skips for t in good)))
            if is_last_different(together, both([together])[0], rules):
                good = [together]
        if good:
            job = Job(job.seed, job.calls, frozenset(good[0].skips))
            if size > 1:
                continue
            if len(good) > 1:
                continue
        size //= 2
    return job


def report(job, pair, rules):
    """Shows a sequence, side by side where the answers differ. Returns a key for differences of the same kind."""
    theirs, ours = pair
    at = first_difference(theirs, ours, rules)
    number = split(theirs[at])[0].split(".")[1]
    if number != "end":
        job = reduce(Job(job.seed, int(number) + 1, frozenset()), rules)
        theirs, ours = both([job])[0]
        at = first_difference(theirs, ours, rules)
    print(f"# seed {job.seed}: iommufd_calls -j <<< '{job_line(job).strip()}'")
    for line in theirs[:at]:
        print(f"    {line}")
    print(f"    {split(theirs[at])[0]} {split(theirs[at])[2]}")
    print(f"        Linux    {split(theirs[at])[3]}")
    print(f"        Pinfold  {split(ours[at])[3] if at < len(ours) else 'nothing: it hung or died'}", flush=True)


def live(first, count):
    rules = allowed_differences()
    done, wrong, allowed, shown = 0, 0, 0, 0
    for start in range(first, first + count, 2500):
        end = min(start + 2500, first + count) - 1
        with concurrent.futures.ThreadPoolExecutor() as pool:
            kernel_side, our_side = pool.submit(kernel_digests, start, end), pool.submit(pinfold_digests, start, end)
            theirs, ours = kernel_side.result(), our_side.result()
        jobs = [Job(seed, LENGTH, frozenset()) for seed in range(start, end + 1) if theirs[seed] != ours.get(seed)]
        done += end + 1 - start
        for at in range(0, len(jobs), 200):
            some = jobs[at:at + 200]
            for job, pair in zip(some, both(some)):
                if first_difference(*pair, rules) is None:
                    allowed += 1
                    continue
                wrong += 1
                if shown < REPORTED:
                    report(job, pair, rules)
                    shown += 1
        print(f"# {done} sequences, {wrong} differ", flush=True)
    print(f"{done - wrong} of {done} sequences of {LENGTH} calls are answered as Linux answers them"
          f" ({allowed} of them with allowed differences)")
    return 1 if wrong or not done else 0


def by_seed(text):
    sequences = collections.OrderedDict()
    for line in text.splitlines():
        sequences.setdefault(line.split(".")[0], []).append(line)
    return sequences


def recorded():
    rules = allowed_differences()
    with lzma.open(ANSWERS, "rt", encoding="utf-8") as f:
        sequences = by_seed(f.read())
    seeds = list(map(int, sequences))
    ours = by_seed(pinfold("-j", "".join(job_line(Job(seed, LENGTH, frozenset())) for seed in seeds)))
    wrong, skipped = 0, 0
    for seed, theirs in sequences.items():
        mine = ours.get(seed, [])
        if mine and mine[0].endswith("needs more privileges"):
            skipped += 1
            continue
        if [split(line)[2] for line in mine[:2]] != [split(line)[2] for line in theirs[:2]] and mine:
            sys.exit("diff: the generator has changed since answers.xz was recorded")
        at = first_difference(theirs, mine, rules)
        if at is None:
            continue
        wrong += 1
        if wrong <= REPORTED:
            print("\n".join(f"    {line}" for line in theirs[:at]))
            print(f"    {split(theirs[at])[0]} {split(theirs[at])[2]}\n        Linux    {split(theirs[at])[3]}")
            print(f"        Pinfold  {split(mine[at])[3] if at < len(mine) else 'nothing: it hung or died'}")
    asked = len(sequences) - skipped
    print(f"{asked - wrong} of {asked} recorded sequences are answered as Linux answers them"
          f" ({skipped} skipped: they need CAP_SYS_RESOURCE or 6 MB of RLIMIT_MEMLOCK)")
    return 1 if wrong or not asked else 0


def record(count):
    with open(os.path.join(HERE, "seeds"), encoding="utf-8") as f:
        seeds = list(range(1, count + 1)) + [int(line.split()[0]) for line in f if line[0] != "#"]
    text = oracle("-j", "".join(job_line(Job(seed, LENGTH, frozenset())) for seed in seeds))
    text = "".join(line + "\n" for line in text.splitlines() if not line.startswith("job "))
    with lzma.open(ANSWERS, "wb", preset=9) as f:
        f.write(text.encode())
    print(f"{len(seeds)} sequences recorded, {os.path.getsize(ANSWERS)} bytes")
    return 0


def repeat(first, count):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        one, two = (pool.submit(kernel_digests, first, first + count - 1) for _ in range(2))
        differ = [seed for seed in one.result() if one.result()[seed] != two.result().get(seed)]
    print(f"{count - len(differ)} of {count} sequences are answered alike by two boots", *differ[:10])
    return 1 if differ else 0


def counts(first, count):
    table = collections.defaultdict(collections.Counter)
    for line in oracle(f"{first} {first + count - 1}").splitlines():
        _, call, _, answer = split(line)
        found = re.match(r"= (E\w+)", answer)
        table[call][found[1] if found else "ok"] += 1
    for call, answers in sorted(table.items()):
        print(f"{call:16}", " ".join(f"{name} {n}" for name, n in answers.most_common()))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["live", "recorded", "record", "repeat", "counts"])
    parser.add_argument("-n", type=int, default=None, metavar="SEQUENCES")
    parser.add_argument("-s", type=int, default=1, metavar="FIRST")
    args = parser.parse_args()
    if args.what != "recorded" and not os.access(os.path.join(ORACLE, "run-guest.sh"), os.X_OK):
        print(f"there is no real kernel in {ORACLE} (PINFOLD_ORACLE)")
        return 77
    if args.what == "live":
        return live(args.s, args.n or 10000)
    if args.what == "recorded":
        return recorded()
    if args.what == "record":
        return record(args.n or 240)
    return (repeat if args.what == "repeat" else counts)(args.s, args.n or 1000)


sys.exit(main())
