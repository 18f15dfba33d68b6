/* SPDX-License-Identifier: BSD-2-Clause */
/* Included: accesses to guest memory. GUEST_ACCESS 0 opens it (stac), 1 closes it (clac): three-byte nops until
 * apply_patch_sites() finds SMAP. MAY_FAULT: a fault at the label continues at the fixup. */
.macro GUEST_ACCESS kind
771:    .byte   0x0f, 0x1f, 0x00
        .pushsection .patch_sites, "a"
        .long   771b - ., \kind
        .popsection
.endm
.macro MAY_FAULT fixup, labels:vararg
        .pushsection .extable, "a"
        .irp label, \labels
        .long   \label - ., \fixup - .
        .endr
        .popsection
.endm
