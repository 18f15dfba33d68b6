# SPDX-License-Identifier: BSD-2-Clause
"""Who may include whom (architecture, "Layout"), and where assembly may stand."""

import re

from _tree import CODE, ROOT, files, finish

# Directory -> what its includes may not name. Own headers and system headers are free.
FORBIDDEN = {
    "hypercall-abi": (r"^cero/(lib|driver)/|^kernel/|^core/|^arch/",),
    "lib": (r"^kernel/|^cero/driver/|^core/|^arch/",),
    "hypervisor": (r"^kernel/|^cero/driver/",),
    "pv-guest-kernel": (r"^hypervisor/|^core/(domain|frame|grant|sched|hypercall)/",),
    "drivers": (r"^hypervisor/|^core/(domain|frame|grant|sched|hypercall)/",),
    "dom0": (r"^kernel/|^hypervisor/|^cero/driver/",),
}
ABI_ALLOWED = re.compile(r"^(cero/abi/|io/|stdint\.h$|stddef\.h$|[a-z_]+\.h$)")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
# A statement, not a linkage name: asm( or asm volatile(. An empty one is a compiler barrier.
ASM = re.compile(r"(?<![\w.])(__asm__|asm)\s*(volatile|__volatile__|goto)?\s*\((?!\s*\"\")")

problems = []
for path in files(*CODE):
    text = (ROOT / path).read_text(errors="replace")
    top = path.parts[0]
    for name in INCLUDE.findall(text):
        for pattern in FORBIDDEN.get(top, ()):
            if re.search(pattern, name):
                problems.append(f"{path}: may not include {name}")
        if top == "hypercall-abi" and "include" in path.parts and not ABI_ALLOWED.match(name):
            problems.append(f"{path}: a public header includes {name}")
    if top != "tests" and "arch" not in path.parts and (path.suffix == ".S" or ASM.search(text)):
        problems.append(f"{path}: assembly outside an architecture folder")
finish(problems, "layers")
