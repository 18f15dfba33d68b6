# SPDX-License-Identifier: BSD-2-Clause
"""Debian's packages for the Linux benchmark, unpacked in the cache, and the ramdisks made of them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from _linux import extract_elf, image_package  # noqa: E402  (also makes tools/lib importable)
from initramfs import Archive  # noqa: E402
from paths import CACHE  # noqa: E402
from progress import Failure  # noqa: E402

UNPACKED = CACHE / "bench"
XEN = ("xen-hypervisor-4.17-amd64", "xen-utils-4.17", "xen-utils-common", "xenstore-utils")
# In the order in which they are given; what they depend on goes before them by itself.
GUEST_MODULES = ("brd", "virtio_pci", "virtio_blk", "xen-blkfront", "xen-netfront")
DOM0_MODULES = ("xen-evtchn", "xen-gntdev", "xen-privcmd", "xenfs", "brd", "xen-blkback", "xen-netback", "bridge")
XEN_PROGRAMS = ("xl", "xenstored", "xenconsoled", "xen-init-dom0")
STORE_PROGRAMS = ("xenstore-read", "xenstore-write", "xenstore")


def fetch():
    """The tree of all packages, fetched once per version that apt offers."""
    packages = (image_package(), *XEN)
    stamp = UNPACKED / "packages"
    tree = UNPACKED / "root"
    if stamp.exists() and stamp.read_text().split()[0] == packages[0] and (tree / "vmlinux").exists():
        return tree
    print(f"fetching {' '.join(packages)}", flush=True)
    shutil.rmtree(UNPACKED, ignore_errors=True)
    tree.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="cero-bench-") as scratch:
        result = subprocess.run(
            ["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages, *library_packages()], cwd=scratch,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900)
        if result.returncode != 0:
            raise Failure(f"apt-get download failed: {result.stdout.strip()[-600:]}\nrun `apt-get update` and try again")
        archives = sorted(Path(scratch).glob("*.deb"))
        for archive in archives:
            subprocess.run(["dpkg-deb", "-x", str(archive), str(tree)], check=True)
        names = [archive.name.split("_")[:2] for archive in archives]
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    (tree / "vmlinux").write_bytes(extract_elf(kernel.read_bytes()))
    stamp.write_text("\n".join([packages[0], *(f"{name} {version}" for name, version in names)]) + "\n")
    return tree


def library_packages():
    """The packages that the Xen tools' libraries are in, as far as they are not part of every Debian system."""
    output = subprocess.run(
        ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
         "--no-replaces", "--no-enhances", "xen-utils-4.17", "xenstore-utils"],
        stdout=subprocess.PIPE, text=True, check=False).stdout
    wanted = re.compile(r"^(libxen\w+[\d.]+|libyajl2|libc6|libgcc-s1|libncurses6|libtinfo6|libuuid1|zlib1g|libbz2-1.0|liblzma5|libzstd1|libfdt1|liblzo2-2)$", re.M)
    return sorted({match.group(1) for match in wanted.finditer(output)})


def version_of(package):
    match = re.search(rf"^{re.escape(package)} (\S+)", (UNPACKED / "packages").read_text(), re.MULTILINE)
    return match.group(1) if match else "?"


def module_files(tree, names):
    """Paths of modules and of all they depend on, those first."""
    known = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    order = []

    def add(name):
        name = name.replace("-", "_")
        if name not in known:
            raise Failure(f"{name}: the kernel package has no such module")
        if known[name] in order:
            return
        needs = re.search(rb"depends=([^\0]*)\0", known[name].read_bytes())
        for need in needs.group(1).decode().split(",") if needs else ():
            if need:
                add(need)
        order.append(known[name])

    for name in names:
        add(name)
    return order


def add_modules(archive, tree, names):
    for number, path in enumerate(module_files(tree, names)):
        archive.add(f"/modules/{number:02}-{path.name}", 0o100644, path.read_bytes())


def make_guest_ramdisk(tree, program, output):
    """What runs in all three places."""
    archive = Archive()
    archive.add("/dev/console", 0o020600, device=(5, 1))
    for directory in ("sys", "proc"):
        archive.add(directory, 0o040755)
    archive.add("/init", 0o100755, program.read_bytes())
    add_modules(archive, tree, GUEST_MODULES)
    output.write_bytes(archive.to_bytes())


def shared_libraries(tree, files, more):
    """Sonames that ELF files need, transitively, found in the tree of packages or on this machine."""
    found, todo = {}, list(files)
    places = [tree / "usr/lib/x86_64-linux-gnu", tree / "lib/x86_64-linux-gnu", Path("/lib/x86_64-linux-gnu"),
              Path("/usr/lib/x86_64-linux-gnu")]
    sonames = list(more)
    while todo or sonames:
        if todo:
            needs = subprocess.run(["readelf", "-d", str(todo.pop())], stdout=subprocess.PIPE, text=True, check=True)
            sonames += re.findall(r"NEEDED.*\[(\S+)\]", needs.stdout)
            continue
        soname = sonames.pop()
        if soname in found:
            continue
        path = next((place / soname for place in places if (place / soname).exists()), None)
        if path is None:
            raise Failure(f"{soname}: no package of the benchmark brings this library")
        found[soname] = path.resolve()
        todo.append(found[soname])
    return found


def make_xen_dom0_ramdisk(tree, files, output):
    """A Linux dom0: busybox, Xen's tools with their libraries, and `files` (path -> (bytes, mode))."""
    archive = Archive()
    archive.add("/dev/console", 0o020600, device=(5, 1))
    for directory in ("proc", "sys", "run", "tmp", "etc", "var/lib/xen", "var/log/xen/console", "var/run/xen",
                      "var/run/xenstored", "var/lock"):
        archive.add(directory, 0o040755)
    archive.add("/bin/busybox", 0o100755, Path("/bin/busybox").read_bytes())
    archive.add("/bin/sh", 0o120777, b"busybox")
    programs = {name: tree / "usr/lib/xen-4.17/bin" / name for name in XEN_PROGRAMS}
    programs |= {name: tree / "usr/bin" / name for name in STORE_PROGRAMS}
    for name, path in programs.items():
        if path.is_symlink():
            archive.add(f"/bin/{name}", 0o120777, os.path.basename(os.readlink(path)).encode())
        else:
            archive.add(f"/bin/{name}", 0o100755, path.read_bytes())
    real = [path for path in programs.values() if not path.is_symlink()]
    # libgcc_s: glibc loads it when a thread ends.
    for soname, path in shared_libraries(tree, real, ("libgcc_s.so.1",)).items():
        archive.add(f"/lib/x86_64-linux-gnu/{soname}", 0o100755, path.read_bytes())
    loader = next(path for path in (tree / "lib64/ld-linux-x86-64.so.2", Path("/lib64/ld-linux-x86-64.so.2"))
                  if path.exists())
    archive.add("/lib64/ld-linux-x86-64.so.2", 0o100755, loader.resolve().read_bytes())
    for path, (data, mode) in files.items():
        archive.add(path, 0o100000 | mode, data)
    add_modules(archive, tree, DOM0_MODULES)
    output.write_bytes(archive.to_bytes())


def change_ramdisk(image, files, output, without="/"):
    """A ramdisk of ours without the files below `without`, and with `files`."""
    archive = Archive()
    data, at = image.read_bytes(), 0
    while True:
        field = [int(data[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110:at + 110 + field[11] - 1].decode()
        body = (at + 110 + field[11] + 3) & ~3
        if name == "TRAILER!!!":
            break
        if not name.startswith(without):
            archive.entries[name] = (field[1], data[body:body + field[6]], (field[9], field[10]))
        at = (body + field[6] + 3) & ~3
    for path, (content, mode) in files.items():
        archive.add(path, 0o100000 | mode, content)
    output.write_bytes(archive.to_bytes())


def make_cero_dom0_ramdisk(image, files, output):
    """Our dom0's ramdisk without the demo guests, and with `files`."""
    change_ramdisk(image, files, output, "etc/cero/auto/")
