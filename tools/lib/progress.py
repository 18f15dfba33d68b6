# SPDX-License-Identifier: BSD-2-Clause
"""What the tools say while they work: short lines on standard error, long steps with elapsed time."""

import subprocess
import sys
import threading
import time


class Failure(Exception):
    """A step failed for a reason the user can act on; `str()` is the message, object and remedy included."""


def say(text):
    print(f"cero: {text}", file=sys.stderr, flush=True)


def run_step(title, command, log_path, **kwargs):
    """Runs a command with its output in a log file; on a terminal shows the time that goes by.

    Raises Failure with the tail of the log if the command fails.
    """
    started = time.monotonic()
    done = threading.Event()

    def tick():
        while not done.wait(1.0):
            elapsed = int(time.monotonic() - started)
            print(f"\rcero: {title} ... {elapsed} s", end="", file=sys.stderr, flush=True)

    if sys.stderr.isatty():
        threading.Thread(target=tick, daemon=True).start()
    else:
        say(f"{title} ...")
    with open(log_path, "ab") as log:
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False, **kwargs
        ).returncode
    done.set()
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
        say(f"{title}: {time.monotonic() - started:.0f} s")
    if status != 0:
        with open(log_path, "r", errors="replace") as log:
            tail = "".join(log.readlines()[-30:])
        raise Failure(f"{title} failed with status {status}; the end of {log_path}:\n{tail}")
