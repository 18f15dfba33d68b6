# SPDX-License-Identifier: BSD-2-Clause
"""What the lint scripts share: the files of the tree, and how a script ends."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = {".c", ".h", ".cpp", ".hpp", ".S"}


def files(*suffixes, under=""):
    """Paths (relative to the root) of tracked and of new files with one of the suffixes."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", under or "."],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout
    for name in sorted(set(filter(None, listing.split("\0")))):
        path = Path(name)
        if (ROOT / path).is_file() and (not suffixes or path.suffix in suffixes):
            yield path


def finish(problems, what):
    """Ends the script: prints each problem, and fails when there is one."""
    for problem in problems:
        print(problem)
    print(f"{what}: {len(problems)} problems" if problems else f"{what}: clean")
    sys.exit(1 if problems else 0)
