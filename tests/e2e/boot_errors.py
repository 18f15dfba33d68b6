# SPDX-License-Identifier: BSD-2-Clause
"""A boot entry that cannot work: the hypervisor, or the first domain's kernel, names object and cause, and stops."""
# limit: 300

import os
import tempfile
from pathlib import Path

from _machine import check, main
from console import Console, Ended, Timeout
from image import make_iso
from paths import HYPERVISOR, INITRAMFS, KERNEL
from qemu import Machine

# Name, how to make (kernel, ramdisk) in a folder, hypervisor's options, words that must appear.
CASES = [
    ("no module at all", lambda at: (None, None), "", r"no kernel was given.*nothing to run"),
    ("kernel of random bytes", lambda at: (garbage(at / "k"), INITRAMFS), "", r"the kernel \(first module\).*not a 64-bit ELF"),
    ("truncated kernel", lambda at: (head(KERNEL, at / "k", 8192), INITRAMFS), "", r"the kernel \(first module\).*truncated"),
    ("too little memory", lambda at: (KERNEL, INITRAMFS), "dom0_mem=2M", r"do not fit into 2 MiB; raise dom0_mem"),
    ("ramdisk of random bytes", lambda at: (KERNEL, garbage(at / "r")), "", r"initramfs: no cpio header"),
    ("unknown option", lambda at: (KERNEL, INITRAMFS), "colour=3", r"option .colour=3. is not known"),
]


def garbage(path):
    path.write_bytes(os.urandom(65536))
    return path


def head(source, path, size):
    path.write_bytes(Path(source).read_bytes()[:size])
    return path


def body():
    problems = []
    for title, make, options, words in CASES:
        print(f"=== {title}", flush=True)
        with tempfile.TemporaryDirectory(prefix="cero-e2e-") as scratch:
            kernel, ramdisk = make(Path(scratch))
            iso = Path(scratch) / "boot.iso"
            make_iso(iso, HYPERVISOR, kernel, ramdisk, options)
            with Console(Machine(iso=iso, cpus=1, memory_mib=512, network=False).command(interactive=False)) as console:
                try:
                    console.expect(words, 40)
                except (Timeout, Ended):
                    problems.append(f"{title}: nothing that matches {words}")
                print(console.history.decode(errors="replace").replace("\r", "")[-600:], flush=True)
    check(not problems, "\n".join(problems))


main(body)
