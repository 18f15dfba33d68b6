# SPDX-License-Identifier: BSD-2-Clause
"""clang-tidy, as .clang-tidy says, over a part of the tree that keeps within a minute or two: the shared vocabulary and
the code that judges guests' requests."""

import os
import subprocess
import sys

from _tree import ROOT, finish

FILES = ["lib/src/format.cpp", "lib/arch/x86_64/string.cpp", "hypervisor/core/event/event.cpp",
         "hypervisor/core/paging/page_type.cpp"]
DATABASE = ROOT / "build-clang"  # clang's own flags; build.clang uses it too, and runs alone

if not (DATABASE / "compile_commands.json").exists():
    environment = {**os.environ, "CC": "clang", "CXX": "clang++"}
    configured = subprocess.run(["meson", "setup", str(DATABASE), str(ROOT)], env=environment, check=False,
                                stdout=subprocess.DEVNULL)
    if configured.returncode != 0:
        sys.exit("meson cannot configure build-clang")
present = [name for name in FILES if (ROOT / name).exists()]
result = subprocess.run(["clang-tidy", "--quiet", "-p", str(DATABASE), *present], cwd=ROOT, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True, check=False)
problems = [line for line in result.stdout.splitlines() if ": error:" in line or ": warning:" in line]
if result.returncode != 0 and not problems:
    problems = [result.stderr]
finish(problems, f"clang-tidy of {len(present)} files")
