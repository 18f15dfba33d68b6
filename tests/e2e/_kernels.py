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


def dying(message):
    """A kernel that puts a message into its console ring, tells nobody, and crashes (SCHEDOP_shutdown)."""
    m2p, ring_out, ring_out_producer = 0xFFFF800000000000, 0x400, 0xC0C

    def move_rdx(value):
        return b"\x48\xba" + struct.pack("<Q", value)

    head = b"\x48\x8b\x46\x48"                                # rax = start_info's machine frame of the ring
    head += move_rdx(m2p) + b"\x48\x8b\x04\xc2"               # rax = m2p[rax]
    head += b"\x48\xc1\xe0\x0c" + move_rdx(VIRT_BASE) + b"\x48\x01\xd0"  # rax = its virtual address
    tail = b"\x48\x8d\xb8" + struct.pack("<I", ring_out)      # rdi = the ring's output
    tail += b"\xb9" + struct.pack("<I", len(message)) + b"\xf3\xa4"         # copied there
    tail += b"\xc7\x80" + struct.pack("<II", ring_out_producer, len(message))
    tail += b"\xb8" + struct.pack("<I", 29) + b"\xbf" + struct.pack("<I", 2)  # sched_op, shutdown
    end = b"\x0f\x05\xf4"                                     # syscall
    lea = 7                                                   # bytes of "lea rsi, [rip + n]"
    data_at = len(head) + lea + len(tail) + lea + len(end)
    reason_at = data_at + len(message)

    def lea_rsi(at, target):
        return b"\x48\x8d\x35" + struct.pack("<i", target - at - lea)

    code = head + lea_rsi(len(head), data_at) + tail
    code += lea_rsi(len(code), reason_at) + end
    return elf(PV_NOTES, code + message + struct.pack("<I", 3))  # SHUTDOWN_crash


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
