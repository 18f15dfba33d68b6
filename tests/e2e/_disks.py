# SPDX-License-Identifier: BSD-2-Clause
"""Disks of QEMU's that do more than ordinary ones."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
from qemu import Disk  # noqa: E402

MIB = 1 << 20
BAD_SECTOR = 40960  # 20 MiB


@dataclass
class Discarding(Disk):
    """What the guest discards is a hole in the file."""

    def drive(self, index):
        return super().drive(index) + ",discard=unmap"


@dataclass
class Failing(Disk):
    """Reads and writes of BAD_SECTOR fail, as with a worn-out disk."""

    def drive(self, index):
        errors = "".join(f"file.inject-error.{number}.event={event},file.inject-error.{number}.sector={BAD_SECTOR},"
                         f"file.inject-error.{number}.errno=5," for number, event in enumerate(("read_aio", "write_aio")))
        return (f"driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={self.path},{errors}"
                f"if=none,id=disk{index}")


def sparse(path, mebibytes):
    with open(path, "wb") as file:
        file.truncate(mebibytes * MIB)
    return path
