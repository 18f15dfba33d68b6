# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own Linux kernel as a test subject: fetched with apt-get into the cache, its ELF file taken out."""

import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
from paths import CACHE  # noqa: E402
from progress import Failure  # noqa: E402


def image_package(meta="linux-image-amd64"):
    """The package that a meta package stands for."""
    output = subprocess.run(["apt-cache", "depends", meta], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            check=False).stdout
    match = re.search(r"Depends: (linux-image-\S+-amd64)", output)
    if not match:
        raise Failure(f"apt-cache knows no {meta}: run `apt-get update`")
    return match.group(1)


def extract_elf(image):
    """The ELF file inside a bzImage that is compressed with xz."""
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1F1] + 1) * 512 + offset
    payload = image[start:start + length]
    if payload[:6] != b"\xfd7zXZ\0":
        raise Failure("the kernel's payload is not compressed with xz")
    return lzma.decompress(payload[:-4])  # the last four bytes are the size


MODULES = ("xen-blkfront.ko", "xen-netfront.ko")


def fetch_pv_grub():
    """GRUB's own PV build, a boot loader that runs as a guest's kernel."""
    target = CACHE / "linux" / "grub-x86_64-xen.bin"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cero-grub-") as scratch:
        print("fetching grub-xen-host", flush=True)
        try:
            subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "grub-xen-host"], cwd=scratch,
                           check=True, stdout=subprocess.DEVNULL)
        except subprocess.CalledProcessError as error:
            raise Failure("apt-get cannot fetch the package grub-xen-host: run `apt-get update`") from error
        subprocess.run(["dpkg-deb", "-x", str(next(Path(scratch).glob("*.deb"))), f"{scratch}/tree"], check=True)
        partial = target.with_name(f"{target.name}.part-{os.getpid()}")  # two tests may fetch at once
        shutil.copyfile(next(Path(scratch, "tree").rglob(target.name)), partial)
        partial.rename(target)
    return target


def fetch_linux(meta="linux-image-amd64", directory="linux"):
    """The directory with a kernel of Debian's: vmlinuz as packaged, the front ends' modules."""
    target = CACHE / directory
    if all((target / name).exists() for name in ("vmlinuz", *MODULES)):
        return target
    package = image_package(meta)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cero-linux-") as scratch:
        print(f"fetching {package}", flush=True)
        try:
            subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", package], cwd=scratch, check=True,
                           stdout=subprocess.DEVNULL)
        except subprocess.CalledProcessError as error:
            raise Failure(f"apt-get cannot fetch the package {package}: run `apt-get update`") from error
        archive = next(Path(scratch).glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(archive), f"{scratch}/tree"], check=True)
        found = {"vmlinuz": next(Path(scratch, "tree", "boot").glob("vmlinuz-*")).read_bytes()}
        for module in MODULES:
            path = next(Path(scratch, "tree").rglob(f"{module}*"))
            found[module] = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        for name, content in found.items():
            put(target / name, content)
    return target


def put(target, content):
    """Writes a file of the cache at once: two tests may fetch it at the same time."""
    partial = target.with_name(f"{target.name}.part-{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(target)


def linux_elf():
    """Path of an uncompressed Linux kernel."""
    target = fetch_linux() / "vmlinux"
    if not target.exists():
        put(target, extract_elf(target.with_name("vmlinuz").read_bytes()))
    return target


def place(target, what):
    """Writes a text, or copies a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, Path):
        shutil.copy(what, target)
    else:
        target.write_text(what)


def make_guest_disk(scratch, init, files=(), config="", name="linux.img", content_files=(), linux=None):
    """An ext2 image with Debian's kernel, a ramdisk of busybox, the front ends and `init`, and the configuration debian.cfg.

    `files`: (path in the ramdisk, text or Path, mode) each; `content_files`: (name for dom0, text or Path) each;
    `linux`: another kernel's directory, of fetch_linux()."""
    linux = linux or fetch_linux()
    tree, content = Path(scratch) / "ramdisk", Path(scratch) / "content"
    for directory in ("bin", "sbin", "proc", "sys", "dev"):
        (tree / directory).mkdir(parents=True)
    content.mkdir()
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    for module in MODULES:
        shutil.copy(linux / module, tree)
    for path, text, mode in (("init", init, 0o755), *files):
        place(tree / path, text)
        (tree / path).chmod(mode)
    shutil.copy(linux / "vmlinuz", content / "vmlinuz")
    for path, text in (("debian.cfg", config), *content_files):
        place(content / path, text)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with open(content / "initrd", "wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=file, check=True)
    image = Path(scratch) / name
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-d", str(content), str(image)], check=True,
                   env={**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    return image


PROGRAMS = Path(__file__).resolve().parent.parent / "linux" / "programs"


def build_programs(directory):
    """The static programs of tests/linux/programs; name: path. `compat` is a 32-bit one."""
    built = {}
    for source in sorted(PROGRAMS.glob("*.cpp")):
        target = directory / source.stem
        sources = [str(source)] + ([str(PROGRAMS / "hold.S")] if source.stem == "registers" else [])
        subprocess.run(["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-no-pie", "-fno-pie",
                        *(["-m32"] if source.stem == "compat" else []), "-o", str(target), *sources], check=True)
        subprocess.run(["strip", "-g", str(target)], check=True)
        built[source.stem] = target
    return built
