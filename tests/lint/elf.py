# SPDX-License-Identifier: BSD-2-Clause
"""The linked images: no segment both writable and executable, nothing undefined, no static constructors that nobody
runs, no floating point or vector instruction in the hypervisor, and a header that Multiboot2 loaders accept."""

import os
import re
import subprocess
from pathlib import Path

from _tree import ROOT, finish

BUILD = Path(os.environ.get("CERO_BUILD", ROOT / "build"))
# Instructions that save and restore the state as a whole are the only ones that may name it.
VECTOR = re.compile(r"%(xmm|ymm|zmm|mm|st)\d*\b")


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def check_image(path, is_hypervisor):
    problems = []
    for line in output("readelf", "-lW", str(path)).splitlines():
        match = re.match(r"\s+LOAD\s+(\S+\s+){5}([R W E]{3})\s", line)
        if match and "W" in match.group(2) and "E" in match.group(2):
            problems.append(f"{path.name}: a segment is writable and executable: {line.strip()}")
    undefined = [line.split()[-1] for line in output("nm", "-u", str(path)).splitlines()]
    problems += [f"{path.name}: {name} is undefined" for name in undefined]
    if is_hypervisor:
        sections = output("readelf", "-SW", str(path))
        match = re.search(r"\.init_array\s+\S+\s+\S+\s+\S+\s+(\S+)", sections)
        if match and int(match.group(1), 16) != 0:
            problems.append(f"{path.name}: has static constructors (.init_array)")
        function = "?"
        for line in output("objdump", "-d", "--no-show-raw-insn", str(path)).splitlines():
            if line.endswith(">:"):
                function = line.split("<")[1][:-2]
            elif VECTOR.search(line):
                problems.append(f"{path.name}: {function}: {line.strip()}")
        status = subprocess.run(["grub-file", "--is-x86-multiboot2", str(path)], check=False).returncode
        if status != 0:
            problems.append(f"{path.name}: grub-file does not take it for a Multiboot2 image")
    return problems


all_problems, seen = [], 0
for file_name, hypervisor in (("cero", True), ("cero-kernel", False)):
    image = BUILD / file_name
    if image.exists():
        seen += 1
        all_problems += check_image(image, hypervisor)
finish(all_problems, f"{seen} images")
