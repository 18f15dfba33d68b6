# SPDX-License-Identifier: BSD-2-Clause
"""Registers, faults, ptrace, gdb, segments, 32-bit programs, performance counters refused, clocks, wake-ups (tests/linux/programs)."""

from machine import check

TITLE = "CPU state: registers kept apart, signals, gdb, 32-bit programs, clocks, wake-ups"
ORDER = 40
ALLOWED = ("segfault", "traps:")
# Pairs that wake each other give up after 5 s: above this limit a wake-up was lost.
WAKEUP_LIMIT_MS = 4500

GDB = ("gdb -q -batch -ex 'break step' -ex run -ex 'watch *(int*)&counter' -ex c -ex c -ex 'hbreak last' -ex 'delete 1' "
       "-ex 'delete 2' -ex c -ex stepi -ex 'info registers rip' -ex c /tests/watched")


def run(linux, short):
    for program in ("faults", "debug", "segments", "compat", "clock check", "counters"):
        linux.run(f"/tests/{program}", 240)
    seconds = 10 if short else 120
    linux.run(f"/tests/registers {seconds} 8", seconds + 120)
    wakeups = linux.run(f"/tests/wakeups {seconds} {WAKEUP_LIMIT_MS}", seconds + 60)
    session = linux.run(GDB, 240)
    for text in ("Hardware watchpoint 2: *(int*)&counter", "Old value = 0", "New value = 1", "Hardware assisted breakpoint 3",
                 "the last function", "exited normally"):
        check(text in session, f"gdb does not say {text!r}")
    return wakeups.split("wakeups: ")[1].splitlines()[0]
