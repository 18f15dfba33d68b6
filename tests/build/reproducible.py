# SPDX-License-Identifier: BSD-2-Clause
"""The image is bit-reproducible: a second build, in another directory and later, gives the same bytes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("CERO_BUILD", ROOT / "build"))
SECOND = ROOT / "build-again"

if not (BUILD / "cero.iso").exists():
    sys.exit(f"{BUILD}/cero.iso is not there")
shutil.rmtree(SECOND, ignore_errors=True)
environment = {**os.environ, "CCACHE_DISABLE": "1"}
subprocess.run(["meson", "setup", str(SECOND), str(ROOT)], env=environment, check=True, stdout=subprocess.DEVNULL)
subprocess.run(["ninja", "-C", str(SECOND), "cero.iso"], env=environment, check=True)
different = []
for name in ("cero.iso", "dom0.img"):
    if (BUILD / name).read_bytes() != (SECOND / name).read_bytes():
        different.append(name)
print("differ: " + " ".join(different) if different else "the same bytes")
if not different:
    shutil.rmtree(SECOND)
sys.exit(1 if different else 0)
