# SPDX-License-Identifier: BSD-2-Clause
"""Makes disk images: empty ones of a size, and the demo disk with its partitions."""

import re
import subprocess
from pathlib import Path

from progress import Failure

MIB = 1 << 20
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

# The demo disk: one GPT partition per line, (name, size in MiB). Each carries an empty ext2 file system.
DEMO_PARTITIONS = [("demo1", 64), ("demo2", 64), ("data", 256)]


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not match:
        raise Failure(f"{text}: not a size; write a number with K, M, G or T, as in 512M")
    return int(match.group(1)) * UNITS[match.group(2).upper()]


def make_empty(path, size):
    with open(path, "wb") as image:
        image.truncate(size)


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise Failure(f"{command[0]} failed with status {result.returncode}: {result.stdout.strip()}")


def make_demo_disk(path):
    """GPT with ext2 partitions; identities are fixed so that two machines make the same disk."""
    partial = Path(f"{path}.part")
    total = sum(size for _, size in DEMO_PARTITIONS)
    make_empty(partial, (total + 4) * MIB)
    script = "label: gpt\nlabel-id: 0CE20000-0000-4000-8000-000000000000\n"
    start = MIB
    for index, (name, size) in enumerate(DEMO_PARTITIONS, start=1):
        script += (f"start={start // 512}, size={size * MIB // 512}, type=linux, name={name}, "
                   f"uuid=0CE20000-0000-4000-8000-{index:012d}\n")
        start += size * MIB
    result = subprocess.run(["sfdisk", "-q", str(partial)], input=script, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        raise Failure(f"sfdisk failed with status {result.returncode}: {result.stdout.strip()}")
    start = MIB
    for index, (name, size) in enumerate(DEMO_PARTITIONS, start=1):
        run(["mke2fs", "-q", "-F", "-t", "ext2", "-b", "4096", "-L", name,
             "-U", f"0ce20000-0000-4000-8000-{index:012d}", "-E",
             f"offset={start},hash_seed=0ce20000-0000-4000-8000-{index:012d}", str(partial), f"{size}M"])
        start += size * MIB
    partial.replace(path)


def extract_partition(path, index, output):
    """Copies partition `index` (from 1) of the demo layout out of a disk image, for a check on the host."""
    offset = MIB + sum(size for _, size in DEMO_PARTITIONS[: index - 1]) * MIB
    length = DEMO_PARTITIONS[index - 1][1] * MIB
    with open(path, "rb") as image, open(output, "wb") as out:
        image.seek(offset)
        while length > 0:
            piece = image.read(min(length, MIB))
            out.write(piece)
            length -= len(piece)
