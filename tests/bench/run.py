#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the benchmark kernel under QEMU's instruction counting and prints the table: instructions per operation.

`--hypervisor FILE --hypervisor-options TEXT` measures another hypervisor of the same ABI on the same QEMU line.
`--output FILE` writes the table as Markdown; tests/bench/report.py makes docs/performance.md of everything.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
import image  # noqa: E402
from console import Console, Ended, Timeout  # noqa: E402
from paths import BUILD, HYPERVISOR  # noqa: E402
from qemu import Machine  # noqa: E402

# name, words for the table, Xen 4.17's figure from this same kernel, our aim (a third of it, in round numbers).
OPERATIONS = [
    ("hypercall_empty", "empty hypercall (`xen_version`)", 275, 90),
    ("hypercall_unknown", "unknown hypercall, -ENOSYS", 240, 80),
    ("multicall_16", "multicall of 16 empty calls", 3518, 1000),
    ("yield", "yield", 2022, 600),
    ("set_timer", "set timer, far ahead", 573, 190),
    ("stack_switch", "stack_switch", 250, 80),
    ("event_pending", "event to oneself: sent and pending", 491, 130),
    ("event_delivered", "event to oneself: delivered and returned from", 976, 300),
    ("mmu_update_frame", "one entry, `mmu_update`: other frame", 1115, 370),
    ("mmu_update_ro_rw", "one entry, `mmu_update`: read-only to writable", 1072, 350),
    ("mmu_update_32", "32 entries in one `mmu_update`", 23386, 7000),
    ("va_mapping", "`update_va_mapping`: no flush", 938, 310),
    ("va_mapping_one", "`update_va_mapping`: flush of one page", 1004, 330),
    ("va_mapping_all", "`update_va_mapping`: flush of all", 1013, 330),
    ("emulated_mov", "emulated store to a live table: mov", 1824, 600),
    ("emulated_xchg", "emulated store to a live table: xchg", 1960, 600),
    ("flush_one", "flush one page (mmuext)", 491, 160),
    ("flush_all", "flush all (mmuext)", 505, 160),
    ("baseptr_same", "base pointer: same table", 620, 200),
    ("baseptr_other", "base pointer: other table", 1061, 350),
    ("pin_unpin_top", "pin + unpin: top level", 19436, 6000),
    ("pin_unpin_leaf", "pin + unpin: empty leaf", 18873, 6000),
    ("pin_unpin_full_leaf", "pin + unpin: leaf with 512 entries", 132539, 20000),
    ("fault_iret_hypercall", "page fault bounced, back by iret hypercall", 732, 240),
    ("fault_iretq", "page fault bounced, back by native iretq", 422, 140),
    ("int3", "int3 bounced", 669, 230),
    ("ud2", "ud2 bounced", 732, 240),
    ("iret_hypercall", "iret hypercall", 323, 110),
    ("user_syscall", "guest user system call, to the guest kernel and back", 702, 230),
    ("user_fault", "guest user page fault, to the guest kernel and back", 857, 290),
    ("rdmsr", "emulated rdmsr", 1174, 400),
    ("mov_from_cr0", "emulated mov from cr0", 1300, 430),
    ("forced_cpuid", "forced-emulation cpuid", 448, 150),
    ("grant_map_unmap", "grant map + unmap", 2782, 900),
    ("grant_copy_4096", "grant copy 4 KiB", 2152, 900),
    ("grant_copy_64", "grant copy 64 B", 1648, 500),
]


def measure(hypervisor, options, timeout):
    """Returns {name: instructions}; raises Timeout or Ended."""
    with tempfile.TemporaryDirectory(prefix="cero-bench-") as scratch:
        iso = Path(scratch) / "bench.iso"
        image.make_iso(iso, hypervisor, BUILD / "tests" / "bench" / "bench-pv", None, options)
        machine = Machine(iso=iso, cpus=1, memory_mib=512, network=False, icount=True)
        with Console(machine.command(interactive=False)) as console:
            console.expect(rb"^verdict bench: SUCCESS", timeout)
            text = console.history.decode(errors="replace")
    return {name: int(ticks) for name, ticks in re.findall(r"^bench (\w+) (\d+)", text, re.MULTILINE)}


def table(figures):
    lines = ["| operation | Cero | Xen 4.17 | ratio | aim |", "|---|---:|---:|---:|---:|"]
    for name, words, xen, aim in OPERATIONS:
        if name in figures:
            value = figures[name]
            lines.append(f"| {words} | {value:,} | {xen:,} | {value / xen:.2f} | {aim:,} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hypervisor", type=Path, default=HYPERVISOR)
    parser.add_argument("--hypervisor-options", default="")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    try:
        figures = measure(arguments.hypervisor, arguments.hypervisor_options, arguments.timeout)
    except (Timeout, Ended) as error:
        sys.exit(f"the benchmark did not end: {error}")
    text = table(figures)
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
