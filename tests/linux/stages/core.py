# SPDX-License-Identifier: BSD-2-Clause
"""A program that crashes leaves a core dump inside the guest, and gdb finds its way in it."""

from machine import check

TITLE = "a user-space crash yields a core dump"
ORDER = 60
ALLOWED = (r"crash\[\d+\]: segfault",)


def run(linux, short):
    linux.run("rm -rf /var/tmp/core && mkdir /var/tmp/core && cd /var/tmp/core && echo core > /proc/sys/kernel/core_pattern")
    linux.run("(ulimit -c unlimited; /tests/crash)", 60, status=139)
    trace = linux.run("gdb -q -batch -ex bt -ex 'print marker' /tests/crash core 2>&1", 180)
    for word in ("inner", "outer", "main", "= 20260", "SIGSEGV"):
        check(word in trace, f"gdb does not tell of {word}: {trace}")
    size = linux.run("stat -c %s core").strip()
    linux.run("cd / && rm -rf /var/tmp/core")
    return f"core of {int(size) >> 10} KiB; gdb shows the stack and a variable"
