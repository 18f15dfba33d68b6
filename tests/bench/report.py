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
import _packages as packages  # noqa: E402
import linux  # noqa: E402
import _operations as operations  # noqa: E402
import startup  # noqa: E402
from build import compile_all  # noqa: E402
from paths import BUILD, HYPERVISOR, ISO, ROOT  # noqa: E402


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
        hypervisor_kib = int(re.search(r"(\d+) KiB for the hypervisor", text).group(1))
        rows.append(("hypervisor's clock to dom0's prompt, services and both demo guests started, idle time included",
                     stamp(rig, "prompt"), 500_000_000))
        rig.wait_for("both guests", lambda: {"demo1", "demo2"} <= rig.names(), 120)
        rig.dom0("sleep 2")
        config = rig.dom0("ls /etc/cero/*/demo1.cfg /etc/cero/demo1.cfg 2>/dev/null | head -n 1").strip()
        rig.dom0("cero destroy demo1")
        rig.dom0("sleep 1")
        free_before = number(rig, "cero info", r"free_pages\s*:\s*(\d+)")
        rig.dom0(f"cero create {config}", 200)
        rig.wait_for("demo1", lambda: "demo1" in rig.names(), 60)
        rig.dom0("sleep 5")
        free_after = number(rig, "cero info", r"free_pages\s*:\s*(\d+)")
        domain_id = number(rig, "cero list demo1 | tail -n 1", r"demo1\s+(\d+)")
        pages = number(rig, "cero check", rf"domain {domain_id} pages\s*:\s*(\d+)")
        overhead_kib = (free_before - free_after - pages) * 4
    return rows, hypervisor_kib, overhead_kib


def startup_figures():
    figures = startup.measure(600)
    return [
        ("Multiboot2 entry to dom0's first instruction", figures["dom0"], 30_000_000),
        ("Multiboot2 entry to dom0's prompt", figures["dom0 prompt"], 500_000_000),
        ("`cero create` to the guest's first instruction", figures["guest"], 10_000_000),
        ("`cero create`, until it returns", figures["create"], None),
        ("`cero create` to the guest's prompt", figures["guest prompt"], None),
    ]


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
        rows += network_throughput(rig)
    return rows


def network_throughput(rig):
    """Over HTTP between the guest and dom0, whose addresses stand for a network of their own."""
    rig.dom0("ifconfig xenbr0 10.9.0.1 netmask 255.255.255.0 up 2>/dev/null || ifconfig eth0 10.9.0.1 netmask 255.255.255.0 up")
    rig.dom0("mkdir -p /tmp/www && dd if=/dev/zero of=/tmp/www/file bs=64k count=512 2>/dev/null && httpd -p 8081 -h /tmp/www")
    rows = []
    with rig.guest("demo1", 120):
        rig.run("killall udhcpc; ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up", status=None)
        started = time.monotonic()
        rig.run("wget -q -O /dev/null http://10.9.0.1:8081/file", 300)
        rows.append(("guest receives from dom0 over TCP", 32 / (time.monotonic() - started)))
        rig.run("cp /dev/null /www/file && dd if=/dev/zero of=/www/file bs=64k count=256 2>/dev/null", 60)
    started = time.monotonic()
    rig.dom0("wget -q -O /dev/null http://10.9.0.2/file", 300)
    rows.append(("guest sends to dom0 over TCP", 16 / (time.monotonic() - started)))
    return rows


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "performance.md"
    tree = packages.fetch()
    compile_all(targets=[path.relative_to(BUILD).as_posix() for path in (HYPERVISOR, ISO, operations.KERNEL, operations.LOADER)])
    figures = operations.measure(HYPERVISOR, 300)
    of_xen = operations.measure(next((tree / "boot").glob("xen-*-amd64.gz")), 300)
    rows, hypervisor_kib, overhead_kib = machine_figures()
    rows = startup_figures() + rows
    speeds = throughput()
    version = subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.split()[3]
    lines = [
        "# Performance", "",
        "Made by `tests/bench/report.py`; the first table alone by `meson test -C build --benchmark` or `tests/bench/run.py`.", "",
        f"QEMU {version}, `-accel tcg -icount shift=0,sleep=off -smp 1`: one nanosecond of the machine's time is one executed",
        "instruction, so figures repeat to the digit. Instructions are not time: they leave out cache and TLB misses and the cost of",
        "switching address spaces. Xen is Debian's Xen 4.17 under the same kernel on the same QEMU line, in the same run.", "",
        "## Instructions per operation", "",
        "First domain, one vCPU, smallest of 51 batches. The aims are about a third of Xen's figures.", "",
        operations.table(figures, of_xen),
        (Path(__file__).resolve().parent / "pv" / "reasons.md").read_text(),
        "## The machine", "",
        "2 GiB, one CPU. Instructions of hypervisor and all domains together; those from the Multiboot2 entry and of `cero create` are counted by",
        "a QEMU plugin (`tests/bench/startup.py`), the best of three guests, without the demo guests and without idle time.", "",
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
