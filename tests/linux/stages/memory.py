# SPDX-License-Identifier: BSD-2-Clause
"""Guests of different sizes: what Linux sees agrees with what was given, and all of it holds data."""

import json
import re

from machine import check

TITLE = "memory of 256 MiB, 1 GiB and 4 GiB, seen, filled, verified"
ORDER = 42
SELF = True
MEMORY = 6144      # of the machine
RESERVE_MIB = 32   # systemd's programs page in and out of it; with 11 MiB the kernel's OOM killer took the test at last
LOST_MIB = 1      # Linux leaves a PC's hole below 1 MiB


def run(linux, short):
    words = []
    for mib in (256, 1024, 4096):
        linux.start(f"memory={mib}", f"maxmem={mib}")
        (entry,) = json.loads(linux.dom0("cero list --json debian"))
        check(entry["memory_mib"] == mib, f"cero list says {entry['memory_mib']} MiB, {mib} were configured")
        line = linux.run("dmesg | grep Memory:")
        seen = int(re.search(r"Memory: \d+K/(\d+)K available", line).group(1)) / 1024
        check(mib - LOST_MIB <= seen <= mib, f"the kernel counts {seen} MiB of {mib}")
        for _ in range(1 if short else 5):
            filled = linux.run(f"/tests/memory {RESERVE_MIB}", 600)
        words.append(re.search(r"memory: (\d+ MiB of \d+)", filled).group(1))
        bad = linux.complaints()
        check(not bad, "the logs complain:\n" + "\n".join(bad))
        linux.destroy()
        linux.dom0("cero check")
    return "filled and verified: " + ", ".join(words)
