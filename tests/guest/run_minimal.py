#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boots the kernel of docs/porting.md as the first domain: it prints, takes timer events, and powers the machine off."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
import image  # noqa: E402
from console import Console  # noqa: E402
from paths import BUILD, HYPERVISOR  # noqa: E402
from qemu import Machine  # noqa: E402

with tempfile.TemporaryDirectory(prefix="cero-minimal-") as scratch:
    iso = Path(scratch) / "minimal.iso"
    image.make_iso(iso, HYPERVISOR, BUILD / "tests" / "guest" / "guest-minimal")
    machine = Machine(iso=iso, cpus=1, memory_mib=256, network=False)
    with Console(machine.command(interactive=False)) as console:
        for line in ("minimal: hello", "pages of memory", "timer event 1", "timer event 2", "timer event 3\r?\n",
                     "no store; powering off"):
            console.expect(line, 60)
        status = console.wait_end(20)
        print(console.tail())
        sys.exit(0 if status == 0 else f"QEMU ended with status {status}")
