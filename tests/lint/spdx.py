# SPDX-License-Identifier: BSD-2-Clause
"""Every source file begins with its licence: MIT under hypercall-abi/, BSD-2-Clause elsewhere."""

from _tree import CODE, ROOT, files, finish

WANTED = CODE | {".py", ".sh", ".build", ".ld", ".lds"}
problems = []
for path in files():
    if path.suffix not in WANTED and path.name != "meson.build":
        head = (ROOT / path).open("rb").read(2)
        if head != b"#!":
            continue
    licence = "MIT" if path.parts[0] == "hypercall-abi" else "BSD-2-Clause"
    first = (ROOT / path).read_text(errors="replace").splitlines()[:2]
    if not any(f"SPDX-License-Identifier: {licence}" in line for line in first):
        problems.append(f"{path}: the first or second line is not `SPDX-License-Identifier: {licence}`")
finish(problems, "licence lines")
