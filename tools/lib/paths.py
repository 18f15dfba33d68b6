# SPDX-License-Identifier: BSD-2-Clause
"""Where things are: the tree, the build directory, the cache of downloaded sources."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIB = ROOT / "tools" / "lib"
CACHE = ROOT / ".cache"
SOURCES = CACHE / "sources"
BUILD = Path(os.environ.get("CERO_BUILD", ROOT / "build"))

HYPERVISOR = BUILD / "cero"
KERNEL = BUILD / "cero-kernel"
INITRAMFS = BUILD / "dom0.img"
ISO = BUILD / "cero.iso"
DEMO_DISK = BUILD / "demo-disk.img"
