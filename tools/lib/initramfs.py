#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes a bit-reproducible initial ramdisk (cpio "newc", optionally gzip) from a manifest; needs no root.

Manifest lines, in any order (parents are created when they are not named):
    dir  PATH MODE
    file PATH SOURCE MODE       SOURCE relative to --base, or absolute; @NAME@ is replaced by --define NAME=VALUE
    link PATH TARGET
    node PATH MODE c|b MAJOR MINOR
    tree PATH SOURCE            every file below SOURCE, with its permission bits
All files belong to root and carry the time of SOURCE_DATE_EPOCH (0 if unset).
"""

import argparse
import gzip
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

TIME = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def stripped(data):
    """An executable without its symbols; anything else as it is."""
    if data[:4] != b"\x7fELF":
        return data
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        subprocess.run(["strip", "-s", file.name], check=True)
        return Path(file.name).read_bytes()


class Archive:
    """Collects entries by path, then writes them sorted, so that input order does not matter."""

    def __init__(self):
        self.entries = {}

    def add(self, path, mode, data=b"", device=(0, 0)):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.entries[path] = (mode, data, device)

    def add_tree(self, path, source):
        for item in sorted(source.rglob("*")):
            name = f"{path.strip('/')}/{item.relative_to(source)}"
            if item.is_symlink():
                self.add(name, stat.S_IFLNK | 0o777, os.readlink(item).encode())
            elif item.is_dir():
                self.add(name, stat.S_IFDIR | 0o755)
            else:
                executable = item.stat().st_mode & 0o111
                self.add(name, stat.S_IFREG | (0o755 if executable else 0o644), item.read_bytes())

    def to_bytes(self):
        out = bytearray()
        for number, path in enumerate(sorted(self.entries), start=1):
            mode, data, device = self.entries[path]
            self._append(out, number, path, mode, data, device)
        self._append(out, 0, "TRAILER!!!", 0, b"", (0, 0))
        out += b"\0" * (-len(out) % 512)
        return bytes(out)

    @staticmethod
    def _append(out, inode, path, mode, data, device):
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        time = TIME if inode else 0
        fields = (inode, mode, 0, 0, links, time, len(data), 0, 0, device[0], device[1], len(name), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4)
        out += data
        out += b"\0" * (-len(out) % 4)


def read_manifest(archive, text, base, defines, where, strip):
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.split("#")[0]
        for key, value in defines.items():
            line = line.replace(f"@{key}@", value)
        words = line.split()
        if not words:
            continue
        try:
            kind, path, rest = words[0], words[1], words[2:]
            if kind == "dir":
                archive.add(path, stat.S_IFDIR | int(rest[0], 8))
            elif kind == "file":
                data = (base / rest[0]).read_bytes()
                archive.add(path, stat.S_IFREG | int(rest[1], 8), stripped(data) if strip else data)
            elif kind == "link":
                archive.add(path, stat.S_IFLNK | 0o777, rest[0].encode())
            elif kind == "node":
                kind_bits = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}[rest[1]]
                archive.add(path, kind_bits | int(rest[0], 8), device=(int(rest[2]), int(rest[3])))
            elif kind == "tree":
                archive.add_tree(path, base / rest[0])
            else:
                raise ValueError(f"unknown kind {kind}")
        except (IndexError, KeyError, ValueError, OSError) as error:
            sys.exit(f"{where}:{number}: {line.strip()}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("."), help="where relative sources are looked for")
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--strip", action="store_true", help="leave symbols out of the executables named by `file`")
    parser.add_argument("manifest", type=Path, nargs="+")
    arguments = parser.parse_args()
    defines = dict(item.split("=", 1) for item in arguments.define)
    archive = Archive()
    for manifest in arguments.manifest:
        read_manifest(archive, manifest.read_text(), arguments.base, defines, manifest, arguments.strip)
    data = archive.to_bytes()
    if arguments.gzip:
        data = gzip.compress(data, 9, mtime=0)
    arguments.output.write_bytes(data)


if __name__ == "__main__":
    main()
