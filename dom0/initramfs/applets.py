#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes the manifest of a busybox' applets: one link per name, so that nothing is installed while booting."""

import subprocess
import sys


def main():
    busybox, output = sys.argv[1:]
    listing = subprocess.run([busybox, "--list-full"], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = sorted(name for name in listing.split() if name not in ("linuxrc", "bin/busybox"))
    with open(output, "w", encoding="ascii") as file:
        file.writelines(f"link /{name} /bin/busybox\n" for name in names)


if __name__ == "__main__":
    main()
