# SPDX-License-Identifier: BSD-2-Clause
"""Time that a vCPU wanted to run and could not is in the guest's top."""

import re

from machine import check

TITLE = "steal time: four busy vCPUs on two CPUs"
ORDER = 45
VCPUS = (4,)
CPUS = 2


def run(linux, short):
    linux.run("for n in 1 2 3 4; do timeout 600 sh -c 'while :; do :; done' & done", 30)
    lines = [line for line in linux.run("top -b -d 10 -n 2", 120).splitlines() if line.startswith("%Cpu")]
    stolen = float(re.search(r"([\d.]+) st", lines[-1]).group(1))
    linux.run("kill $(jobs -p); wait", 60, None)
    check(stolen > 30, f"top shows {stolen} % stolen, half of the time was: {lines[-1]}")
    return f"{stolen} % st"
