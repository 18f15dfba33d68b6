# SPDX-License-Identifier: BSD-2-Clause
"""The disk of `tools/run --linux`: a partition of guests that dom0 mounts, and the Debian guest's root."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from debian_image import ensure_debian
from disk import MIB, make_empty, run
from paths import BUILD, INITRAMFS, ROOT
from progress import Failure, say

LINUX_DISK = BUILD / "linux-disk.img"
MODULE_RAMDISK = BUILD / "linux-module.img"
GUESTS_MIB = 64
GUEST_CONFIG = ROOT / "tools" / "lib" / "debian" / "debian.cfg"
# The address that QEMU's DHCP server gives to the first guest behind dom0 and the two demo guests.
GUEST_ADDRESS = "10.0.2.18"


def config_text(directory, root_device):
    return GUEST_CONFIG.read_text().replace("@directory@", directory).replace("@root@", root_device)


def copy_sparse(source, target, offset):
    """Copies the parts of `source` that hold data into `target`, `offset` bytes behind its start."""
    with open(source, "rb") as image, open(target, "r+b") as out:
        size, position = image.seek(0, os.SEEK_END), 0
        while position < size:
            try:
                begin = os.lseek(image.fileno(), position, os.SEEK_DATA)
            except OSError:
                return  # nothing but holes up to the end
            position = os.lseek(image.fileno(), begin, os.SEEK_HOLE)
            image.seek(begin)
            out.seek(offset + begin)
            left = position - begin
            while left:
                piece = image.read(min(left, MIB))
                out.write(piece)
                left -= len(piece)


def guests_tree(debian, directory, where, root_device):
    """Kernel, ramdisk, configuration, as dom0 finds them under `where`."""
    for name in ("vmlinuz", "initrd"):
        shutil.copyfile(debian / name, directory / name)
    (directory / "debian.cfg").write_text(config_text(where, root_device))


def make_linux_disk(path, root_device="/dev/vdb2"):
    """GPT: the file system "guests" (ext2, kernel, ramdisk, configuration), then a copy of Debian's root."""
    debian = ensure_debian()
    partial = Path(f"{path}.part")
    root_mib = (debian / "root.img").stat().st_size // MIB
    make_empty(partial, (1 + GUESTS_MIB + root_mib + 1) * MIB)
    sectors = MIB // 512
    script = (f"label: gpt\nstart={sectors}, size={GUESTS_MIB * sectors}, type=linux, name=guests\n"
              f"start={(1 + GUESTS_MIB) * sectors}, size={root_mib * sectors}, type=linux, name=debian-root\n")
    result = subprocess.run(["sfdisk", "-q", str(partial)], input=script, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        raise Failure(f"sfdisk failed with status {result.returncode}: {result.stdout.strip()}")
    with tempfile.TemporaryDirectory(prefix="cero-guests-") as scratch:
        guests_tree(debian, Path(scratch), "/guests", root_device)
        run(["mke2fs", "-q", "-F", "-t", "ext2", "-b", "4096", "-L", "guests", "-d", scratch, "-E", f"offset={MIB}",
             str(partial), f"{GUESTS_MIB}M"])
    copy_sparse(debian / "root.img", partial, (1 + GUESTS_MIB) * MIB)
    shutil.copyfile(debian / "recipe", f"{path}.recipe")
    partial.replace(path)


def ensure_linux_disk():
    """The disk with what its guest has written on it; an older recipe is pointed out, never overwritten."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    debian = ensure_debian()
    if not LINUX_DISK.exists():
        say(f"making the Linux disk {LINUX_DISK}")
        make_linux_disk(LINUX_DISK)
    elif Path(f"{LINUX_DISK}.recipe").read_text() != (debian / "recipe").read_text():
        say(f"{LINUX_DISK} was made by an older recipe: remove it to have it made anew, without what its guest wrote")
    return LINUX_DISK


def make_module_ramdisk():
    """dom0's ramdisk with kernel, ramdisk and configuration of the guest behind it: one module of the boot entry."""
    debian = ensure_debian()
    with tempfile.TemporaryDirectory(prefix="cero-guests-") as scratch:
        guests_tree(debian, Path(scratch), "/boot/debian", "/dev/vdb2")
        manifest = Path(scratch) / "manifest"
        manifest.write_text("".join(f"file /boot/debian/{name} {scratch}/{name} 0644\n"
                                    for name in ("vmlinuz", "initrd", "debian.cfg")))
        extra = Path(scratch) / "guests.img"
        run(["python3", str(ROOT / "tools" / "lib" / "initramfs.py"), "--output", str(extra), str(manifest)])
        MODULE_RAMDISK.write_bytes(INITRAMFS.read_bytes() + extra.read_bytes())
    return MODULE_RAMDISK
