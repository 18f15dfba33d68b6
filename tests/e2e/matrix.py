#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The machine with 1, 2 and 4 CPUs, with 256 MiB and with 8 GiB: in each cell all that a session does.

Demo guests with a shell in their consoles; ping and wget to the host; a file that outlives destroy and create, on a
clean file system; 10 MiB to the host over a forwarded port; CPU shares by weight among three guests, which answer;
cycles of create and destroy without a leak; a foreign kernel as the first domain."""
# limit: 900
# cells: 1x256 2x256 4x256 1x8192 2x8192 4x8192 --short

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _machine import CONFIG, Rig, main
from create_destroy import cycles
from first_session import look_around
from foreign_kernel import boot_foreign, foreign_image
from forwarded_port import choose_ports, fetch, forwards
from guest_disk_and_network import check_clean, keep_file, reach_host
from shares import share_cpu

from build import prepare

CELLS = tuple(f"{cpus}x{memory}" for memory in (256, 8192) for cpus in (1, 2, 4))


def session(rig, ports, short):
    look_around(rig)
    rig.dom0("cero vcpu-list")
    reach_host(rig)
    keep_file(rig)
    fetch(rig, ports)
    check_clean(rig)
    rig.dom0(f"cero create {CONFIG['demo1']}", 90)
    share_cpu(rig, ((256, 256),) if short else ((256, 256), (256, 512)), 20)
    for name in CONFIG:
        rig.dom0(f"cero destroy {name}")
    rig.dom0(f"cero create {CONFIG['demo2']}", 90)
    cycles(rig, int(os.environ.get("CERO_CYCLES", "2" if short else "20")))
    rig.power_off()


def run_cell(cell, short):
    cpus, memory = map(int, cell.split("x"))
    started = time.monotonic()
    print(f"=== {cpus} CPUs, {memory} MiB", flush=True)
    ports = choose_ports()
    with Rig(cpus=cpus, memory_mib=memory, forwards=forwards(ports)) as rig:
        session(rig, ports, short)
    with foreign_image() as iso:
        boot_foreign(iso, cpus, memory)
    print(f"=== {cell}: passed after {time.monotonic() - started:.0f} s", flush=True)


def body():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CPUSxMIB", default=CELLS,
                        help=f"cells to run ({' '.join(CELLS)}); others than these work too")
    parser.add_argument("--short", action="store_true",
                        help="as tools/test does: 2 cycles, equal weights only; without it 20 cycles (CERO_CYCLES)")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    if "CERO_BUILD" not in os.environ:  # tools/test sets it, and has built everything
        prepare(("build", "run", "test"))
    for cell in options.cells:
        run_cell(cell, options.short)


if __name__ == "__main__":
    main(body)
