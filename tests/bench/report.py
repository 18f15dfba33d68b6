#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures everything and writes docs/performance.md. One argument may name a file to write in its place.

All under QEMU's instruction counting: a nanosecond of the machine's time is one executed instruction.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from _machine import Rig  # noqa: E402  (also makes tools/lib importable)

sys.path.insert(0, str(Path(__file__).resolve().parent))
import linux  # noqa: E402
import run as operations  # noqa: E402
from paths import HYPERVISOR, ROOT  # noqa: E402


def log_times(text):
    """The stamps of the hypervisor's log, as instructions, by the text behind them."""
    return [(int(float(stamp) * 1e9), words) for stamp, words in re.findall(r"\[ *(\d+\.\d+)\] ([^\r\n]*)", text)]


def stamp(rig, word):
    """Instructions executed so far, by dom0's clock."""
    rig.dom0(f"echo {word} > /dev/kmsg")
    line = [line for line in rig.dom0("dmesg | tail -n 4").splitlines() if word in line][-1]
    return int(float(re.search(r"\[ *(\d+\.\d+)\]", line).group(1)) * 1e9)


def number(rig, command, pattern):
    return int(re.search(pattern, rig.dom0(command)).group(1))


def machine_figures():
    rows = []
    rig = Rig(cpus=1, memory_mib=2048, boot_limit=400)
    rig.machine.icount = True
    with rig:
        text = rig.console.history.decode(errors="replace")
        for at, words in log_times(text):
            if "Cero PV kernel, first domain" in words:
                rows.append(("hypervisor's clock to the first domain's first line", at, 30_000_000))
                break
        hypervisor_kib = int(re.search(r"(\d+) KiB for the hypervisor", text).group(1))
        rows.append(("hypervisor's clock to dom0's prompt, services and demo guests started", stamp(rig, "prompt"),
                     500_000_000))
        rig.wait_for("both guests", lambda: {"demo1", "demo2"} <= rig.names(), 120)
        rig.dom0("sleep 2")
        config = rig.dom0("ls /etc/cero/*/demo1.cfg /etc/cero/demo1.cfg 2>/dev/null | head -n 1").strip()
        rig.dom0("cero destroy demo1")
        rig.dom0("sleep 1")
        free_before = number(rig, "cero info", r"free_pages\s*:\s*(\d+)")
        returned, first_line = [], []
        for attempt in range(5):
            if attempt > 0:
                rig.dom0("cero destroy demo1; sleep 1")
            started = stamp(rig, f"creating{attempt}")
            rig.dom0(f"cero create {config}", 200)
            returned.append(stamp(rig, f"created{attempt}") - started)
            with rig.guest("demo1", 200):
                first_line.append(log_times(rig.run("dmesg", 60))[0][0] - started)
        rows.append(("`cero create` to the guest kernel's first line, best of 5", min(first_line), 10_000_000))
        rows.append(("`cero create`, until it returns, best of 5", min(returned), None))
        free_after = number(rig, "cero info", r"free_pages\s*:\s*(\d+)")
        domain_id = number(rig, "cero list demo1 | tail -n 1", r"demo1\s+(\d+)")
        pages = number(rig, "cero check", rf"domain {domain_id} pages\s*:\s*(\d+)")
        overhead_kib = (free_before - free_after - pages) * 4
    return rows, hypervisor_kib, overhead_kib


def throughput():
    """MiB per second by the host's clock, without instruction counting: depends on the host and its load."""
    rows = []
    with Rig(cpus=2, memory_mib=1024) as rig:
        rig.wait_for("demo1", lambda: "demo1" in rig.names(), 120)
        with rig.guest("demo1", 120):
            for what, command in (
                ("guest reads its disk, 64 KiB at a time", "dd if=/dev/xvda of=/dev/null bs=64k count=512"),
                ("guest writes a file, then sync", "dd if=/dev/zero of=/data/out bs=64k count=512; sync"),
            ):
                started = time.monotonic()
                rig.run(command, 200)
                rows.append((what, 32 / (time.monotonic() - started)))
    return rows


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "performance.md"
    figures = operations.measure(HYPERVISOR, "", 300)
    rows, hypervisor_kib, overhead_kib = machine_figures()
    speeds = throughput()
    version = subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.split()[3]
    lines = [
        "# Performance", "",
        "Made by `tests/bench/report.py`; the first table alone by `meson test -C build --benchmark` or `tests/bench/run.py`.", "",
        f"QEMU {version}, `-accel tcg -icount shift=0,sleep=off -smp 1`: one nanosecond of the machine's time is one executed",
        "instruction, so figures repeat to the digit. Instructions are not time: they leave out cache and TLB misses and the cost of",
        "switching address spaces. Xen's figures are those of Debian's Xen 4.17 under the same kernel on the same QEMU line.", "",
        "## Instructions per operation", "",
        "First domain, one vCPU, smallest of 51 batches. The aims are about a third of Xen's figures.", "",
        operations.table(figures),
        "## The machine", "",
        "2 GiB, one CPU, two demo guests. Instructions of hypervisor and all domains together.", "",
        "| what | instructions | aim |", "|---|---:|---:|",
    ]
    lines += [f"| {what} | {value:,} | {f'{aim:,}' if aim else ''} |" for what, value, aim in rows]
    lines += [
        "", "## Memory", "", "| what | KiB | aim |", "|---|---:|---:|",
        f"| the hypervisor, of a 2 GiB machine | {hypervisor_kib:,} | 12,288 |",
        f"| for an idle domain of 48 MiB with a disk and a network interface | {overhead_kib:,} | 64 |", "",
        "## Throughput", "",
        "Plain TCG with two CPUs, by the clock of the host that wrote this page: for comparison within one run only.", "",
        "| what | MiB/s |", "|---|---:|",
    ]
    lines += [f"| {what} | {speed:.0f} |" for what, speed in speeds] + ["", linux.measure_all(600)]
    output.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
