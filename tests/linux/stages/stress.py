# SPDX-License-Identifier: BSD-2-Clause
"""stress-ng with verification: each stressor in turn, then all of them together."""

import re

from machine import check

TITLE = "stress-ng --verify, each in turn, then together"
ORDER = 80
SETTINGS = ("memory=1024",)

STRESSORS = ("cpu", "vm", "fork", "mmap", "mremap", "pthread", "switch", "signal", "timer", "futex", "sysbadaddr", "hdd",
             "dir", "dentry", "fallocate", "rename", "seek", "iomix")
EXTRA = {"vm": "--vm-bytes 20%", "mmap": "--mmap-bytes 10%", "mremap": "--mremap-bytes 10%", "hdd": "--hdd-bytes 64m",
         "fallocate": "--fallocate-bytes 64m", "seek": "--seek-size 16m", "iomix": "--iomix-bytes 32m"}
ALLOWED = ("segfault at", "traps: stress-ng", "general protection fault.*stress-ng")  # a stressor's own provocations


def verify(linux, words, seconds):
    output = linux.run(f"cd /var/tmp && stress-ng {words} --timeout {seconds}s --verify --metrics-brief 2>&1",
                       seconds * 3 + 240)
    bad = [line for line in output.splitlines() if re.search(r"stress-ng: (fail|error):", line)]
    check(not bad, "\n".join(bad))
    counts = re.search(r"passed: (\d+)", output)
    failed = re.search(r"failed: (\d+)", output)
    check("successful run completed" in output, f"stress-ng does not say that it succeeded: {output[-400:]}")
    check(failed is None or failed.group(1) == "0", f"stress-ng counts failures: {output[-400:]}")
    return counts


def run(linux, short):
    each = 4 if short else 60
    for stressor in STRESSORS:
        verify(linux, f"--{stressor} {linux.vcpus} {EXTRA.get(stressor, '')}", each)
    together = 30 if short else 600
    words = " ".join(f"--{stressor} 1 {EXTRA.get(stressor, '')}" for stressor in STRESSORS)
    verify(linux, words.replace("20%", "10%"), together)
    return f"{len(STRESSORS)} stressors, {each} s each, {together} s together, 0 failures"
