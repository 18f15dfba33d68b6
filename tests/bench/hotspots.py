#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Where the instructions of rows of tests/bench/linux.py go: by part, by symbol, and how many of the dear kinds there are.

    tests/bench/hotspots.py cero mprotect_64 page_fault          the last batches of those rows, in that place
    tests/bench/hotspots.py xen net_tcp_send_4m --top 60
"""

import argparse
import bisect
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import linux
from build import compile_all
from paths import BUILD, HYPERVISOR
from progress import Failure

KERNEL = BUILD / "pv-guest-kernel" / "cero-kernel"  # the one with symbols
PROGRAM = BUILD / "dom0" / "cero-dom0"
PLUGIN = BUILD / "tests" / "bench" / "profile" / "profile.so"
# first address, name; Cero and Xen share the ABI's range
PARTS = [(0, "user space"), (0xFFFF800000000000, "hypervisor"), (0xFFFF880000000000, "kernel's direct map or modules"),
         (0xFFFFFFFF80000000, "Cero's PV kernel"), (0xFFFFFFFF81000000, "Linux"), (0xFFFFFFFFC0000000, "Linux' modules")]


def symbols(bench, place):
    """Sorted (address, name); Xen's package has none."""
    texts = []
    if bench is not None:  # there is a Linux
        linux_symbols = bench.tree.parent / "kallsyms"
        if not linux_symbols.exists():
            linux_symbols.write_text(bench.boot("bare", True, groups="symbols"))
        texts = [linux_symbols.read_text()]
    if place.startswith("cero"):
        for path in (HYPERVISOR, KERNEL, PROGRAM):
            texts.append(subprocess.run(["nm", "-C", str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout)
    found = {}
    for text in texts:
        for address, name in re.findall(r"^([0-9a-f]{16}) [TtWwVv] (.+)$", text, re.MULTILINE):
            found.setdefault(int(address, 16), re.sub(r"\(.*", "", name).strip() or name)
    return sorted(found.items())


def part_of(address):
    return PARTS[bisect.bisect_right([start for start, _ in PARTS], address) - 1][1]


def window(row, figures):
    """Numbers of the ticks() calls around the row's last batch."""
    last = figures[f"{row} calls"]
    if row == "page_fault":  # timed together with munmap_page
        last -= 1
    return last - 1, last


def read_runs(path):
    """{address: (runs, kind)} of one window."""
    runs = {}
    for line in path.read_text().splitlines():
        address, count, kind = line.split()
        runs[int(address, 16)] = (int(count), kind)
    return runs


def profile(bench, place, rows):
    """{row: (figure, operations in the batch, {address: (runs, kind)})}"""
    compile_all(targets=[PLUGIN.relative_to(BUILD).as_posix()])
    figures = bench.run(place, True)
    for row in rows:
        if f"{row} calls" not in figures:
            raise Failure(f"{row}: no such row in {place}; there are: {', '.join(n for n in figures if ' ' not in n)}")
    rows = sorted(rows, key=lambda row: window(row, figures))
    out = bench.scratch / "profile"
    windows = ",".join("window={}-{}".format(*window(row, figures)) for row in rows)
    bench.run(place, True, ["-plugin", f"{PLUGIN},{windows},out={out}"])
    found = {}
    for number, row in enumerate(rows):
        runs = read_runs(Path(f"{out}{number}"))
        total = sum(count for count, _ in runs.values())
        found[row] = figures[row], max(round(total / figures[row]), 1), runs
    return found


def kinds(bench, place, rows):
    """{row: {kind: count per operation}}: hypercalls, returns to a guest, and what else hardware finds dear."""
    found = {}
    for row, (_, operations, runs) in profile(bench, place, rows).items():
        counts = Counter()
        for address, (count, kind) in runs.items():
            if kind == "syscall":
                kind = "hypercalls" if part_of(address) != "user space" else "system calls"
            elif kind in ("iret", "sysret"):
                kind = "returns"
            counts[kind] += count / operations
        found[row] = counts
    return found


def report(row, figure, operations, runs, names, top):
    addresses = [address for address, _ in names]
    by_part, by_symbol, by_kind = Counter(), Counter(), Counter()
    for address, (count, kind) in runs.items():
        part = part_of(address)
        by_part[part] += count
        place = bisect.bisect_right(addresses, address) - 1
        named = part != "Linux' modules" and part != "kernel's direct map or modules" and place >= 0 and address - addresses[place] < 1 << 16
        by_symbol[f"{part}: {names[place][1]}" if named else part] += count
        if kind != "-":
            by_kind[f"{kind} in {part}"] += count
    total = sum(by_part.values())
    print(f"=== {row}: {figure:,} instructions in the best batch; here {total / operations:,.0f} each of {operations}")
    for title, counts in (("part", by_part), ("kind", by_kind), ("symbol", by_symbol)):
        print(f"--- by {title}")
        for name, count in counts.most_common(top):
            print(f"{count / operations:14,.1f}  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", choices=linux.PLACES)
    parser.add_argument("row", nargs="+")
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--limit", type=float, default=900, help="seconds for one boot (default 900)")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="cero-bench-") as scratch:
            bench = linux.Bench(scratch, arguments.limit)
            compile_all(targets=[KERNEL.relative_to(BUILD).as_posix()])
            names = symbols(bench, arguments.place)
            for row, (figure, operations, runs) in profile(bench, arguments.place, arguments.row).items():
                report(row, figure, operations, runs, names, arguments.top)
    except Failure as error:
        sys.exit(f"hotspots.py: {error}")


if __name__ == "__main__":
    main()
