# SPDX-License-Identifier: BSD-2-Clause
"""A kernel written by somebody else, Debian's Linux, is the first domain: console, user space, power off."""
# limit: 900

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from _linux import linux_elf
from _machine import check, main

import image
from console import Console
from paths import HYPERVISOR
from qemu import Machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
from initramfs import Archive, read_manifest  # noqa: E402

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo user space of a foreign kernel
/bin/busybox uname -s
/bin/busybox cat /proc/interrupts
/bin/busybox poweroff -f
"""
MANIFEST = """
node /dev/console 600 c 5 1
dir /proc 755
file /bin/busybox /bin/busybox 755
file /init {init} 755
"""


@contextmanager
def foreign_image():
    """The path of an ISO that boots Debian's kernel as the first domain."""
    with tempfile.TemporaryDirectory(prefix="cero-foreign-") as name:
        scratch = Path(name)
        (scratch / "init").write_text(INIT)
        archive = Archive()
        read_manifest(archive, MANIFEST.format(init=scratch / "init"), Path("/"), {}, "manifest", False)
        (scratch / "initrd").write_bytes(archive.to_bytes())
        image.make_iso(scratch / "linux.iso", HYPERVISOR, linux_elf(), scratch / "initrd", "", "console=hvc0")
        yield scratch / "linux.iso"


def boot_foreign(iso, cpus, memory_mib):
    machine = Machine(iso=iso, cpus=cpus, memory_mib=memory_mib, network=False)
    with Console(machine.command(interactive=False)) as console:
        console.expect("user space of a foreign kernel", 150)
        console.expect("Linux", 20)
        console.expect("xen-percpu", 20)
        status = console.wait_end(60)
        print(console.tail(25))
        check(status == 0, f"QEMU ended with status {status}")


def body():
    with foreign_image() as iso:
        for cpus in (1, 2):
            boot_foreign(iso, cpus, 1024)


if __name__ == "__main__":
    main(body)
