# SPDX-License-Identifier: BSD-2-Clause
"""Page tables under load: many processes, many mappings, moved and protected, fork storms; frames agree after it."""

import re

from machine import check

TITLE = "hundreds of processes with thousands of mappings, fork storms"
ORDER = 70
MEMORY = 5120
SETTINGS = ("memory=3072", "maxmem=3072")  # all children at once, with copies of all they may write: 2.1 GiB


def run(linux, short):
    processes, mappings, rounds = (80, 500, 1) if short else (200, 1200, 3)  # a page each: 160 MiB, 940 MiB
    output = linux.run(f"ulimit -u 8192; /tests/mappings {processes} {mappings} {rounds}", 600 if short else 2400)
    told = re.search(rf"{processes} processes with {mappings} mappings each, \d+ MiB of page tables", output)
    check(told, f"not all had their mappings: {output}")
    linux.run("stress-ng --fork 16 --vfork 8 --mmap 8 --mmap-bytes 5% --mremap 8 --mremap-bytes 5% --mprotect 8 --verify "
              f"--timeout {10 if short else 60}s --metrics-brief 2>&1", 600)
    bad = linux.complaints()
    check(not bad, "the logs complain:\n" + "\n".join(bad))
    linux.dom0("cero check")
    linux.destroy()
    linux.dom0("cero check")
    return f"{told.group()}, {rounds} rounds; cero check: consistent"
