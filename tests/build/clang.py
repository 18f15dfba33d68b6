# SPDX-License-Identifier: BSD-2-Clause
"""The whole tree builds with clang, without a warning (warnings are errors), in a directory of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DIRECTORY = ROOT / "build-clang"

environment = {**os.environ, "CC": "clang", "CXX": "clang++"}
if not (DIRECTORY / "build.ninja").exists():
    status = subprocess.run(["meson", "setup", str(DIRECTORY), str(ROOT)], env=environment, check=False).returncode
    if status != 0:
        sys.exit(status)
sys.exit(subprocess.run(["ninja", "-C", str(DIRECTORY), "-k", "0"], check=False).returncode)
