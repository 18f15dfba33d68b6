# SPDX-License-Identifier: BSD-2-Clause
"""C and C++ are laid out as .clang-format says."""

import subprocess

from _tree import ROOT, files, finish

paths = [str(path) for path in files(".c", ".h", ".cpp", ".hpp")]
problems = []
for start in range(0, len(paths), 50):
    result = subprocess.run(["clang-format", "--dry-run", "--Werror", *paths[start:start + 50]], cwd=ROOT,
                            stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        seen = {line.split(":")[0] for line in result.stderr.splitlines() if "clang-format-violations" in line}
        problems += [f"{name}: run `clang-format -i` on it" for name in sorted(seen)] or [result.stderr]
finish(problems, "layout")
