# SPDX-License-Identifier: BSD-2-Clause
"""Tests that start together in a fresh tree all get the demo disk whole: one makes it, the others wait."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = 4
PROGRAM = f"""
import hashlib, sys
sys.path.insert(0, {str(ROOT / "tools" / "lib")!r})
from build import ensure_demo_disk
print(hashlib.sha256(ensure_demo_disk().read_bytes()).hexdigest())
"""

with tempfile.TemporaryDirectory(prefix="cero-disk-") as directory:
    environment = {**os.environ, "CERO_BUILD": directory}
    makers = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(PROCESSES)]
    answers = [(*maker.communicate(), maker.returncode) for maker in makers]
    made = hashlib.sha256((Path(directory) / "demo-disk.img").read_bytes()).hexdigest()
    failures = [err for out, err, status in answers if status != 0 or out.strip() != made]
    makers_told = sum(err.count("making the demo disk") for _, err, _ in answers)
    left = [path.name for path in Path(directory).iterdir() if path.name != "demo-disk.img"]
for failure in failures:
    print(failure)
print(f"{PROCESSES} processes, {len(failures)} failed, made {makers_told} times, left beside it: {left or 'nothing'}")
sys.exit(1 if failures or makers_told != 1 or left else 0)
