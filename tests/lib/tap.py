# SPDX-License-Identifier: BSD-3-Clause
"""A test script's functions named test_*, run one by one, reported in the Test Anything Protocol."""
import signal
import sys
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; the message says why."""


def main(functions):
    tests = [f for name, f in functions.items() if name.startswith("test_") and f]
    wanted = sys.argv[1:]
    tests = [f for f in tests if not wanted or f.__name__[5:] in wanted]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    # What nohup or a shell's background job had ignored would stay so in every program under test.
    for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(sig) == signal.SIG_IGN:
            signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
    for n, test in enumerate(tests, 1):
        name = test.__name__[5:]
        try:
            test()
            print(f"ok {n} - {name}", flush=True)
        except Skip as why:
            print(f"ok {n} - {name} # SKIP {why}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {n} - {name}", flush=True)
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
    sys.exit(1 if failed else 0)
