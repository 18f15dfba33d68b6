#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel, one ramdisk and one program in three places on the same QEMU line: bare, on Xen 4.17 under a Linux dom0, on Cero.

Everything is rebuilt from the distribution's packages (kept in .cache/bench) and from this tree; the tables replace their section of
docs/performance.md. `--only bare,xen,...` prints those places' figures alone.
"""

import argparse
import gzip
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _packages as packages  # noqa: E402  (also makes tools/lib importable)
from _operations import LOADER, qemu_line  # noqa: E402
from build import compile_all  # noqa: E402
from paths import BUILD, HYPERVISOR, INITRAMFS, KERNEL, ROOT  # noqa: E402
from progress import Failure  # noqa: E402

HERE = Path(__file__).resolve().parent / "linux"
PROGRAM = BUILD / "tests" / "bench" / "linux" / "linux-bench"
HEADING = "## Debian's Linux as a guest"
PLACES = ("bare", "xen", "cero", "xen first", "cero first")
INSIDE = "cpu+ram+loop"  # rows that need no other domain

# words, row of bare, row of a guest
ROWS = [
    ("empty system call", "null_syscall", "null_syscall"),
    ("read 1 byte of /dev/zero", "read_zero", "read_zero"),
    ("anonymous page fault", "page_fault", "page_fault"),
    ("munmap, per page", "munmap_page", "munmap_page"),
    ("mprotect of 64 pages, there and back", "mprotect_64", "mprotect_64"),
    ("mmap + munmap of 1 MiB, untouched", "mmap_munmap_1m", "mmap_munmap_1m"),
    ("mmap + touch + munmap of 1 MiB", "mmap_touch_munmap_1m", "mmap_touch_munmap_1m"),
    ("fork + exit + wait", "fork_exit", "fork_exit"),
    ("fork + exec + wait", "fork_exec", "fork_exec"),
    ("pipe round trip (two switches)", "pipe_round_trip", "pipe_round_trip"),
    ("4 KiB from a RAM disk inside, O_DIRECT", "ram_read_4k", "ram_read_4k"),
    ("UDP round trip on the loopback", "loop_udp_round_trip", "loop_udp_round_trip"),
    ("TCP round trip on the loopback", "loop_tcp_round_trip", "loop_tcp_round_trip"),
    ("disk: 64 KiB sequential read", "ram_read_64k", "block_read_64k"),
    ("disk: 64 KiB sequential write", "ram_write_64k", "block_write_64k"),
    ("disk: 4 KiB random read", "ram_read_4k", "block_read_4k"),
    ("disk: 4 KiB random write", "ram_write_4k", "block_write_4k"),
    ("UDP round trip to dom0", "loop_udp_round_trip", "net_udp_round_trip"),
    ("TCP round trip to dom0", "loop_tcp_round_trip", "net_tcp_round_trip"),
    ("4 MiB over TCP, sent to dom0", "loop_tcp_send_4m", "net_tcp_send_4m"),
    ("4 MiB over TCP, received from dom0", "loop_tcp_receive_4m", "net_tcp_receive_4m"),
    ("`create` until it returns", None, "create_returns"),
    ("`create` to the guest's init", None, "create_to_init"),
]


class Bench:
    """The files of all places, and their runs."""

    def __init__(self, scratch, limit):
        self.scratch, self.limit = Path(scratch), limit
        self.tree = packages.fetch()
        compile_all(targets=[path.relative_to(BUILD).as_posix() for path in (HYPERVISOR, KERNEL, INITRAMFS, PROGRAM, LOADER)])
        self.kernel = self.tree / "vmlinux"
        self.guest = self.scratch / "guest.img"
        packages.make_guest_ramdisk(self.tree, PROGRAM, self.guest)

    def dom0_files(self, disk, interface, more):
        config = (HERE / "guest.cfg").read_text()
        for name, value in (("GROUPS", INSIDE + "+block+net"), ("DISK", disk), ("VIF", interface), ("MORE", more)):
            config = config.replace(f"@{name}@", value)
        return {"/bench/guest.cfg": (config.encode(), 0o644), "/bench/program": (PROGRAM.read_bytes(), 0o755),
                "/bench/vmlinux": (self.kernel.read_bytes(), 0o644), "/bench/guest.img": (self.guest.read_bytes(), 0o644)}

    def boot_line(self, place, groups=INSIDE):
        inside = f"quiet bench={groups}"
        if place == "bare":
            image = next((self.tree / "boot").glob("vmlinuz-*"))
            return ["-kernel", image, "-initrd", self.guest, "-append", f"console=ttyS0 nokaslr {inside}"]
        if place.startswith("xen"):
            xen = self.scratch / "xen"
            xen.write_bytes(gzip.decompress(next((self.tree / "boot").glob("xen-*-amd64.gz")).read_bytes()))
            line = ["-kernel", xen, "-append", "console=com1 com1=115200,8n1 dom0_mem=512M,max:512M loglvl=error", "-initrd"]
            if place == "xen first":
                return [*line, f"{self.kernel} console=hvc0 {inside},{self.guest}"]
            files = self.dom0_files('"script=/bench/hotplug,vdev=xvda,access=rw,target=/dev/ram0"',
                                    '"mac=00:16:3e:00:00:09,bridge=xenbr0,script=/bench/hotplug"',
                                    'tsc_mode = "native"')
            files["/init"] = ((HERE / "xen-dom0.sh").read_bytes(), 0o755)
            files["/bench/hotplug"] = ((HERE / "xen-hotplug.sh").read_bytes(), 0o755)
            ramdisk = self.scratch / "xen-dom0.img"
            packages.make_xen_dom0_ramdisk(self.tree, files, ramdisk)
            return [*line, f"{self.kernel} console=hvc0 quiet,{ramdisk}"]
        line = ["-kernel", LOADER, "-initrd"]
        if place == "cero first":
            return [*line, f"{HYPERVISOR} dom0_mem=512M,{self.kernel} console=hvc0 {inside},{self.guest}"]
        files = self.dom0_files('"phy:/dev/ram0,xvda,w"', '"mac=00:16:3e:00:00:09,bridge=xenbr0"', "")
        files["/etc/cero/network"] = ((HERE / "cero-dom0.sh").read_bytes(), 0o755)
        ramdisk = self.scratch / "cero-dom0.img"
        packages.make_cero_dom0_ramdisk(INITRAMFS, files, ramdisk)
        return [*line, f"{HYPERVISOR} dom0_mem=512M,{KERNEL} ram_disk=32,{ramdisk}"]

    def boot(self, place, counted, more=(), groups=INSIDE):
        """The whole output of one boot that came to its end."""
        line = [*qemu_line(counted), *map(str, self.boot_line(place, groups)), *more]
        try:
            done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  check=False, timeout=self.limit)
            text = done.stdout.decode(errors="replace").replace("\r", "")
        except subprocess.TimeoutExpired as error:
            text = (error.stdout or b"").decode(errors="replace").replace("\r", "")
            raise Failure(f"{place}: not at its end after {self.limit} s; the console's end:\n{text[-2000:]}") from error
        if "bench failed" in text or not re.search(r"^bench end$", text, re.MULTILINE):
            raise Failure(f"{place}: the program did not come to its end; the console's end:\n{text[-2000:]}")
        return text

    def run(self, place, counted, more=()):
        """{row: figure} of one boot, and under "ROW calls" how often the program had read the clock by then."""
        print(f"measuring: {place}{'' if counted else ', by the host clock'}", file=sys.stderr, flush=True)
        text = self.boot(place, counted, more)
        figures = {}
        for name, value, calls in re.findall(r"^bench (\w+) (\d+)(?: \((\d+)\))?$", text, re.MULTILINE):
            figures[name] = int(value)
            if calls:
                figures[f"{name} calls"] = int(calls)
        if "create" in figures:
            figures["create_returns"] = figures["created"] - figures["create"]
            figures["create_to_init"] = figures["init"] - figures["create"]
        return figures


def rows_of(figures):
    """(words, bare or None, {place: figure}) for each row that both guests have."""
    for words, bare, guest in ROWS:
        values = {place: figures[place].get(guest) for place in PLACES if place != "bare"}
        if values["xen"] is not None and values["cero"] is not None:
            yield words, figures["bare"].get(bare), values


def counted_table(figures):
    lines = ["| operation | bare | Xen | Cero | Cero, first domain | Xen / bare | Cero / bare | Cero / Xen | half of Xen's overhead |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for words, bare, values in rows_of(figures):
        xen, cero, first = values["xen"], values["cero"], values["cero first"]
        over = f"{xen / bare:.2f} | {cero / bare:.2f}" if bare else "|"
        half = f"{(bare + xen) // 2:,}" if bare else ""
        if bare and cero > (bare + xen) // 2:
            half += " missed"
        lines.append(f"| {words} | {f'{bare:,}' if bare else ''} | {xen:,} | {cero:,} | {f'{first:,}' if first else ''} | {over} | "
                     f"{cero / xen:.2f} | {half} |")
    return lines


def ratio_table(figures):
    lines = ["| operation | Xen / bare | Cero / bare | Cero / Xen |", "|---|---:|---:|---:|"]
    for words, bare, values in rows_of(figures):
        over = f"{values['xen'] / bare:.2f} | {values['cero'] / bare:.2f}" if bare else "|"
        lines.append(f"| {words} | {over} | {values['cero'] / values['xen']:.2f} |")
    return lines


KINDS = (("hypercalls", "hypercalls"), ("returns", "returns to a guest"), ("cr3", "CR3 loads"), ("invlpg", "`invlpg`"), ("wrmsr", "`wrmsr`"))


def kinds_table(xen, cero):
    lines = ["| operation | " + " | ".join(f"{words}: Xen | Cero" for _, words in KINDS) + " |",
             "|---|" + "---:|---:|" * len(KINDS)]
    for words, _, row in ROWS:
        if row in xen and row in cero:
            pairs = (f"{xen[row][kind]:,.1f} | {cero[row][kind]:,.1f}" for kind, _ in KINDS)
            lines.append(f"| {words} | {' | '.join(pairs)} |")
    return lines


def section(counted, by_clock, xen_kinds, cero_kinds):
    versions = f"linux-image {packages.version_of(packages.image_package())}, Xen {packages.version_of('xen-utils-4.17')}"
    return "\n".join([
        HEADING, "",
        "Made by `tests/bench/linux.py`: Debian's kernel, one ramdisk and one static program (`tests/bench/linux/`) in three places on",
        f"the same QEMU line ({versions}).",
        "Instructions per operation, everything included (hypervisor, dom0, guest), the best of 8 to 51 batches; one CPU, a guest of",
        "256 MiB. Disk and network end in dom0: its RAM disk, its own address on the bridge or switch; the dom0 on Xen is the same",
        "Linux. In the column \"bare\" the disk is a RAM disk of the same kernel and the network its loopback: nothing could be cheaper.",
        "Xen's guest has `tsc_mode=\"native\"`: this QEMU has no invariant TSC, so by default Xen would emulate rdtsc, which Debian's kernel",
        "executes in every system call (2,244 for an empty one). Times of `create` hold idle waits too, as an instruction per nanosecond.", "",
        *counted_table(counted), "",
        "The same in plain TCG, by the host's clock, all in one run: only the ratios mean something, and a CR3 load costs TCG far more than",
        "it costs a CPU.", "",
        *ratio_table(by_clock), "",
        "What hardware finds dearer than an instruction, per operation of the last batch, hypervisor and all domains together, counted by a",
        "QEMU plugin (`tests/bench/hotspots.py`, which also tells by symbol where a row's instructions go).", "",
        *kinds_table(xen_kinds, cero_kinds), "", (HERE / "reasons.md").read_text()])


def replace_section(path, text):
    old = path.read_text() if path.exists() else "# Performance\n"
    start = old.find(HEADING)
    if start < 0:
        path.write_text(old.rstrip("\n") + "\n\n" + text)
        return
    end = old.find("\n## ", start)
    path.write_text(old[:start] + text + (old[end:] if end >= 0 else ""))


def measure_all(limit):
    with tempfile.TemporaryDirectory(prefix="cero-bench-") as scratch:
        bench = Bench(scratch, limit)
        counted = {place: bench.run(place, True) for place in PLACES}
        by_clock = {place: bench.run(place, False) for place in PLACES}
        import hotspots  # which needs this module itself
        rows = [row for _, _, row in ROWS if f"{row} calls" in counted["xen"]]
        return section(counted, by_clock, hotspots.kinds(bench, "xen", rows), hotspots.kinds(bench, "cero", rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one boot (default 600)")
    parser.add_argument("--only", help=f"print these places' figures and write nothing; of: {', '.join(PLACES)}")
    parser.add_argument("--by-clock", action="store_true", help="with --only: plain TCG")
    arguments = parser.parse_args()
    places = arguments.only.split(",") if arguments.only else []
    for place in places:
        if place not in PLACES:
            parser.error(f"--only {place}: no such place; choose from {', '.join(PLACES)}")
    try:
        if places:
            with tempfile.TemporaryDirectory(prefix="cero-bench-") as scratch:
                bench = Bench(scratch, arguments.limit)
                for place in places:
                    for name, value in bench.run(place, not arguments.by_clock).items():
                        if not name.endswith(" calls"):
                            print(f"{place}: {name} {value:,}")
            return
        text = measure_all(arguments.limit)
    except Failure as error:
        sys.exit(f"linux.py: {error}")
    replace_section(arguments.output, text)
    print(text)


if __name__ == "__main__":
    main()
