#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes the assembly of the hypervisor's own symbol table from the first link (for backtraces)."""

import subprocess
import sys

nm, elf, output = sys.argv[1:]
start = 0
functions = {}
for line in subprocess.run([nm, "-C", elf], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
    address, kind, name = line.split(" ", 2)
    if name == "image_text_start":
        start = int(address, 16)
    elif kind in "tTwW" and not name.startswith("."):
        functions.setdefault(int(address, 16), name.split("(")[0].replace("cero::", ""))
rows = [(address - start, name) for address, name in sorted(functions.items()) if address >= start]
names = bytearray()
with open(output, "w", encoding="ascii") as file:
    file.write('.section .symbols, "a"\n.balign 8\n.globl symbol_count, symbol_table, symbol_names\n'
               f"symbol_count: .long {len(rows)}\nsymbol_table:\n")
    for offset, name in rows:
        file.write(f".long {offset}, {len(names)}\n")
        names += name.encode("ascii", "replace") + b"\0"
    file.write("symbol_names:\n")
    for _, name in rows:
        file.write(f'.asciz "{name}"\n')
    file.write('.section .note.GNU-stack, "", @progbits\n')
