# SPDX-License-Identifier: BSD-2-Clause
"""tools/test: builds, then runs every test there is, and says how many passed and failed."""

import argparse
import contextlib
import fnmatch
import os
import queue
import signal
import subprocess
import sys
import threading
import time

from build import prepare
from paths import BUILD
from progress import Failure, say
from suite import collect

DESCRIPTION = """\
Builds what is missing and runs the tests: all of them, or those whose name matches one of the patterns
(`tools/test lint.format 'unit.*' guest.mmu_update`). The last line is `N passed, N failed`; the exit status is
0 when none failed, 1 when some did, 2 when the tests could not be started.

By commands of their own, because they take long: `tests/e2e/matrix.py` (each size of the machine in full; e2e.matrix.*
runs it with --short) and `tests/linux/run.py` (Debian as a guest). Both know --help."""


processes = set()  # processes of tests; each leads a group of its own, which QEMU belongs to


def stop_running():
    """Nothing of a test outlives the one who started it."""
    for process in list(processes):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_one(test, log_directory):
    """Runs one test in its time limit; returns (passed, seconds, log path)."""
    log_path = log_directory / f"{test.name}.log"
    started = time.monotonic()
    with open(log_path, "wb") as log:
        process = subprocess.Popen(test.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   cwd=test.directory, env={**os.environ, **test.environment},
                                   start_new_session=True)
        processes.add(process)
        try:
            status = process.wait(test.limit)
            passed = status == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.write(f"\nstopped after its time limit of {test.limit} s\n".encode())
            passed = False
        finally:
            processes.discard(process)
    return passed, time.monotonic() - started, log_path


def run_all(tests, jobs, log_directory, verbose):
    """Runs tests of weight w on w of the `jobs` slots; exclusive ones (weight = jobs) run alone."""
    waiting = sorted(tests, key=lambda test: (-test.priority, -test.limit))
    results, events, free = {}, queue.Queue(), jobs
    running = 0
    while waiting or running:
        for test in list(waiting):
            weight = min(test.weight, jobs)
            if weight <= free:
                waiting.remove(test)
                free -= weight
                running += 1

                def work(test=test, weight=weight):
                    try:
                        outcome = run_one(test, log_directory)
                    except Exception as error:  # The runner must count it, whatever it was.
                        path = log_directory / f"{test.name}.log"
                        path.write_text(f"could not be run: {error}\n")
                        outcome = (False, 0.0, path)
                    events.put((test, weight, outcome))

                threading.Thread(target=work, daemon=True).start()
        test, weight, (passed, seconds, path) = events.get()
        free += weight
        running -= 1
        results[test.name] = passed
        word = "ok    " if passed else "FAILED"
        print(f"[{len(results)}/{len(tests)}] {word} {test.name} ({seconds:.1f} s)", flush=True)
        if not passed or verbose:
            lines = path.read_text(errors="replace").splitlines()
            shown = lines if verbose else lines[-40:]
            print("\n".join(f"    {line}" for line in shown))
            print(f"    log: {path}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="test, or pattern with * and ?")
    parser.add_argument("--list", action="store_true", help="name the tests and end")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="how many at a time")
    parser.add_argument("--verbose", action="store_true", help="show the output of those that pass, too")
    options = parser.parse_args()
    try:
        prepare(("build", "run", "test"))
        tests = collect()
    except Failure as error:
        say(error)
        print("0 passed, 1 failed")
        return 2
    if options.names:
        chosen = [test for test in tests
                  if any(fnmatch.fnmatch(test.name, p) or test.name.startswith(p + ".") for p in options.names)]
        for pattern in options.names:
            if not any(fnmatch.fnmatch(t.name, pattern) or t.name.startswith(pattern + ".") for t in chosen):
                say(f"{pattern}: no such test; `tools/test --list` names them")
                return 2
        tests = chosen
    if options.list:
        print("\n".join(sorted(test.name for test in tests)))
        return 0
    log_directory = BUILD / "test-logs"
    log_directory.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = run_all(tests, max(options.jobs, 1), log_directory, options.verbose)
    except KeyboardInterrupt:
        stop_running()
        say("interrupted; the tests that were running have been stopped")
        return 130
    failed = sorted(name for name, passed in results.items() if not passed)
    if failed:
        print("failed: " + " ".join(failed))
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
