# SPDX-License-Identifier: BSD-2-Clause
"""The hypervisor stays small: at most 12,000 lines that are neither blank nor comment (architecture, D3)."""

import re

from _tree import CODE, ROOT, files, finish

LIMIT = 12_000


def code_lines(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL)
    lines = (re.sub(r"//.*|^\s*#\s.*(?<!\S)$", "", line) for line in text.splitlines())
    return sum(1 for line in lines if line.strip())


counts = {path: code_lines((ROOT / path).read_text()) for path in files(*CODE, ".ld", under="hypervisor")}
total = sum(counts.values())
for path, count in sorted(counts.items(), key=lambda item: -item[1])[:10]:
    print(f"{count:6} {path}")
print(f"{total:6} in {len(counts)} files of hypervisor/, of {LIMIT} allowed")
finish([f"hypervisor/ has {total} lines of code, {total - LIMIT} too many"] if total > LIMIT else [], "size")
