/* SPDX-License-Identifier: BSD-2-Clause */
/* The empty symbol table of the first link; symbols.py makes the real one. */
        .section .symbols, "a"
        .globl  symbol_count, symbol_table, symbol_names
symbol_count:
symbol_table:
symbol_names:
        .long   0
        .section .note.GNU-stack, "", @progbits
