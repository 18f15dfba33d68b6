# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark kernel: its operations, a run of it, the table; and QEMU's line for every counted benchmark."""

import gzip
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
from console import Console  # noqa: E402
from paths import BUILD  # noqa: E402
from qemu import CPU_MODEL  # noqa: E402

KERNEL = BUILD / "tests" / "bench" / "bench-pv"
LOADER = BUILD / "tests" / "bench" / "loader" / "loader"

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
    ("vcpu_round_trip", "event to a second vCPU on the same CPU and back, by poll (two switches)", 10799, 3600),
]


def qemu_line(counted=True, memory_mib=1024):
    """Counted and not, the lines differ in nothing but how time passes."""
    time = ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm"] if counted else []
    return ["qemu-system-x86_64", "-machine", "pc", "-cpu", CPU_MODEL, "-accel", "tcg", *time, "-seed", "1", "-smp", "1",
            "-m", f"{memory_mib}M", "-nodefaults", "-vga", "none", "-display", "none", "-no-reboot", "-serial", "stdio"]


def measure(hypervisor, timeout):
    """Returns {name: instructions}; raises Timeout or Ended."""
    options = "dom0_max_vcpus=2"
    with tempfile.TemporaryDirectory(prefix="cero-bench-") as scratch:
        line = ["-kernel", str(LOADER), "-initrd", f"{hypervisor} {options},{KERNEL}"]
        if hypervisor.suffix == ".gz":
            other = Path(scratch) / "hypervisor"
            other.write_bytes(gzip.decompress(hypervisor.read_bytes()))
            line = ["-kernel", str(other), "-append", f"console=com1 com1=115200,8n1 dom0_mem=128M {options}", "-initrd", str(KERNEL)]
        with Console([*qemu_line(), *line]) as console:
            console.expect(rb"^verdict bench: SUCCESS", timeout)
            text = console.history.decode(errors="replace")
    return {name: int(ticks) for name, ticks in re.findall(r"^bench (\w+) (\d+)", text, re.MULTILINE)}


def table(figures, of_xen=None):
    """Xen's figures are those of an earlier run when this one has none."""
    lines = ["| operation | Cero | Xen 4.17 | ratio | aim |", "|---|---:|---:|---:|---:|"]
    for name, words, xen, aim in OPERATIONS:
        if name in figures:
            value, xen = figures[name], (of_xen or {}).get(name, xen)
            lines.append(f"| {words} | {value:,} | {xen:,} | {value / xen:.2f} | {aim:,} |")
    return "\n".join(lines) + "\n"
