#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the benchmark kernel under QEMU's instruction counting and prints the table: instructions per operation.

Both hypervisors are started by QEMU's -kernel (Cero through tests/bench/loader), since GRUB's reads of a CD shift everything behind them.
`--hypervisor FILE` measures another one of the same ABI that Multiboot 1 can start, as Debian's xen-4.17-amd64.gz.
`--output FILE` writes the table as Markdown; tests/bench/report.py makes docs/performance.md of everything.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _operations as operations  # noqa: E402  (also makes tools/lib importable)
from console import Ended, Timeout  # noqa: E402
from paths import HYPERVISOR  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hypervisor", type=Path, default=HYPERVISOR)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    try:
        figures = operations.measure(arguments.hypervisor, arguments.timeout)
    except (Timeout, Ended) as error:
        sys.exit(f"the benchmark did not end: {error}")
    text = operations.table(figures)
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
