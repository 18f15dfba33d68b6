#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boots a test kernel as the first domain through GRUB in QEMU, and judges it by its verdict line.

Status: 0 SUCCESS, 3 SKIP, 1 FAILURE or ERROR, 4 no verdict (a crash, or the time limit passed).
`--hypervisor FILE --hypervisor-options TEXT` runs it on another hypervisor of the same ABI, to test the test.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
import image  # noqa: E402
from console import Console, Ended, Timeout  # noqa: E402
from paths import BUILD, HYPERVISOR  # noqa: E402
from qemu import Machine  # noqa: E402

STATUS = {"SUCCESS": 0, "SKIP": 3, "ERROR": 1, "FAILURE": 1}


def run(name, arguments):
    kernel = BUILD / "tests" / "guest" / f"guest-{name}"
    with tempfile.TemporaryDirectory(prefix="cero-guest-") as scratch:
        iso = Path(scratch) / "test.iso"
        image.make_iso(iso, arguments.hypervisor, kernel, None, arguments.hypervisor_options,
                       arguments.kernel_options)
        machine = Machine(iso=iso, cpus=arguments.cpus, memory_mib=arguments.memory, network=False,
                          icount=arguments.icount)
        started = time.monotonic()
        with Console(machine.command(interactive=False)) as console:
            try:
                match = console.expect(rf"^verdict {re.escape(name)}: (\w+)\r?\n", arguments.timeout)
                verdict = match.group(1).decode()
            except (Timeout, Ended) as error:
                verdict = "CRASH" if isinstance(error, Ended) else "TIMEOUT"
            text = console.history.decode(errors="replace").replace("\r", "")
        if arguments.quiet:
            # From the test's first line on: without the hypervisor's own.
            start = text.find(f"test {name}")
            text = text[start:] if start >= 0 else text
        print(text.rstrip())
        print(f"{name}: {verdict} after {time.monotonic() - started:.1f} s")
        return STATUS.get(verdict, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--hypervisor", type=Path, default=HYPERVISOR)
    parser.add_argument("--hypervisor-options", default="")
    parser.add_argument("--kernel-options", default="")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--icount", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="leave out what the hypervisor prints before the test")
    parser.add_argument("--skip-is-success", action="store_true")
    arguments = parser.parse_args()
    statuses = [run(name, arguments) for name in arguments.names]
    worst = max(0 if status == 3 and arguments.skip_is_success else status for status in statuses)
    sys.exit(worst)


if __name__ == "__main__":
    main()
