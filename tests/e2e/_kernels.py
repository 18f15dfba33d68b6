# SPDX-License-Identifier: BSD-2-Clause
"""Small files that look like kernels, sound or with one fault, made byte by byte."""

import gzip
import lzma
import struct

PAGE = 4096
VIRT_BASE = 0xFFFFFFFF80000000
NOTE_ENTRY, NOTE_VIRT_BASE, NOTE_XEN_VERSION, NOTE_PHYS32_ENTRY = 1, 3, 5, 18


def note(kind, value):
    data = value if isinstance(value, bytes) else struct.pack("<Q", value)
    return struct.pack("<III", 4, len(data), kind) + b"Xen\0" + data + b"\0" * (-len(data) % 4)


PV_NOTES = note(NOTE_XEN_VERSION, b"xen-3.0\0") + note(NOTE_VIRT_BASE, VIRT_BASE) + note(NOTE_ENTRY, VIRT_BASE)
PVH_NOTES = note(NOTE_PHYS32_ENTRY, struct.pack("<I", 0x100000))


def elf(notes=b"", code=b"\xf4" * 64):
    """A 64-bit kernel of one page, with these notes."""
    count = 2 if notes else 1
    at = 64 + 56 * count
    header = b"\x7fELF" + bytes([2, 1, 1]) + b"\0" * 9
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, VIRT_BASE, 64, 0, 0, 64, 56, count, 0, 0, 0)
    load_at = PAGE
    parts = struct.pack("<IIQQQQQQ", 1, 5, load_at, VIRT_BASE, 0, len(code), PAGE, PAGE)
    if notes:
        parts += struct.pack("<IIQQQQQQ", 4, 4, at, 0, 0, len(notes), len(notes), 4)
    return (header + parts + notes).ljust(load_at, b"\0") + code


def bzimage(payload):
    """As Linux packs a kernel: setup sectors, then the payload, where the header says."""
    setup = bytearray(2 * 512)
    setup[0x1F1] = 1                                            # setup sectors behind the first
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x20C)
    struct.pack_into("<II", setup, 0x248, 0, len(payload))      # payload offset and length
    return bytes(setup) + payload


def flipped(data, at):
    """One bit is wrong."""
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


PACKED = gzip.compress(elf(PV_NOTES), mtime=0)
PACKED_XZ = lzma.compress(elf(PV_NOTES), check=lzma.CHECK_CRC32)
