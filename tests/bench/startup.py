#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Instructions from the Multiboot2 entry to dom0's first one and to its prompt, and from `cero create` to a guest's.

Counted by a QEMU plugin, idle time left out; a 2 GiB machine, one CPU, no demo guests. `--profile` tells where those go.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import _packages as packages
import linux
import hotspots
from build import compile_all
from paths import BUILD, HYPERVISOR, INITRAMFS, KERNEL
from progress import Failure

GUEST_RAMDISK = BUILD / "dom0" / "initramfs" / "guest.img"
TICK, PROMPT = 0x34, 0x36  # marks of the program


def entry_of(path):
    header = subprocess.run(["readelf", "-h", str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(header.split("Entry point address:")[1].split()[0], 16)


def boot_line(scratch):
    program = (linux.PROGRAM.read_bytes(), 0o755)
    shell_profile = linux.ROOT / "dom0" / "initramfs" / "files" / "profile"
    marked = ((shell_profile.read_text() + "/bench/program prompt\n").encode(), 0o644)
    guest = scratch / "own.img"
    packages.change_ramdisk(GUEST_RAMDISK, {"/bench/program": program, "/etc/profile": marked}, guest)
    files = {"/bench/program": program, "/bench/own.img": (guest.read_bytes(), 0o644), "/etc/profile": marked,
             "/bench/own.cfg": ((linux.HERE / "own.cfg").read_bytes(), 0o644),
             "/etc/cero/network": ((linux.HERE / "startup-dom0.sh").read_bytes(), 0o755)}
    ramdisk = scratch / "dom0.img"
    packages.make_cero_dom0_ramdisk(INITRAMFS, files, ramdisk)
    return [*linux.qemu_line(memory_mib=2048), "-kernel", str(linux.LOADER), "-initrd", f"{HYPERVISOR},{KERNEL} ram_disk=32,{ramdisk}"]


def run(line, scratch, limit, windows=()):
    """[(mark, instructions until then)] of one boot."""
    out = scratch / "startup"
    options = "".join(f",window={first}-{last}" for first, last in windows)
    marks = "".join(f",mark={entry_of(path):x}" for path in (HYPERVISOR, KERNEL))
    try:
        done = subprocess.run([*line, "-plugin", f"{hotspots.PLUGIN}{options}{marks},out={out}"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"not at its end after {limit} s; the console's end:\n{(error.stdout or b'').decode()[-2000:]}") from error
    text = done.stdout.decode(errors="replace").replace("\r", "")
    if "bench failed" in text or "bench end" not in text:
        raise Failure(f"the guests did not come to their end; the console's end:\n{text[-2000:]}")
    return [(int(mark, 16), int(count)) for mark, count in
            (words.split() for words in Path(f"{out}marks").read_text().splitlines())]


def next_of(marks, wanted, start):
    """Index of the next such mark."""
    for index in range(start, len(marks)):
        if marks[index][0] == wanted:
            return index
    raise Failure("a mark is missing: the machine did not do what the script wants")


def spans(marks):
    """{words: [(first mark, last mark)]}, by index."""
    kernel = entry_of(KERNEL)
    start = next_of(marks, entry_of(HYPERVISOR), 0)
    first = next_of(marks, kernel, start)
    found = {"dom0": [(start, first)], "dom0 prompt": [(start, next_of(marks, PROMPT, first))],
             "guest": [], "guest prompt": [], "create": []}
    at = next_of(marks, TICK, first)
    for _ in range(3):
        guest = next_of(marks, kernel, at)
        returned = next_of(marks, TICK, at + 1)
        prompt = next_of(marks, PROMPT, guest)
        found["guest"].append((at, guest))
        found["create"].append((at, returned))
        found["guest prompt"].append((at, prompt))
        at = next((index for index in range(max(returned, prompt) + 1, len(marks)) if marks[index][0] == TICK), at)
    return found


def measure(limit, show=()):
    """{span: instructions, the best}; prints profiles of the spans in `show`."""
    with tempfile.TemporaryDirectory(prefix="cero-bench-") as name:
        scratch = Path(name)
        targets = (HYPERVISOR, KERNEL, INITRAMFS, GUEST_RAMDISK, linux.PROGRAM, linux.LOADER, hotspots.PLUGIN, hotspots.KERNEL)
        compile_all(targets=[path.relative_to(BUILD).as_posix() for path in targets])
        line = boot_line(scratch)
        marks = run(line, scratch, limit)
        found = spans(marks)
        best = {span: min(pairs, key=lambda pair: marks[pair[1]][1] - marks[pair[0]][1]) for span, pairs in found.items()}
        figures = {span: marks[last][1] - marks[first][1] for span, (first, last) in best.items()}
        for span in show:
            first, last = best[span]
            run(line, scratch, limit, [(first + 1, last + 1)])  # the plugin counts from one
            runs = hotspots.read_runs(Path(f"{scratch}/startup0"))
            hotspots.report(span, figures[span], 1, runs, hotspots.symbols(None, "cero own"), 60)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=600, help="seconds for one boot (default 600)")
    parser.add_argument("--profile", choices=("dom0", "dom0 prompt", "guest", "guest prompt", "create"), action="append", default=[])
    arguments = parser.parse_args()
    try:
        for span, count in measure(arguments.limit, arguments.profile).items():
            print(f"{span}: {count:,}")
    except Failure as error:
        sys.exit(f"startup.py: {error}")


if __name__ == "__main__":
    main()
