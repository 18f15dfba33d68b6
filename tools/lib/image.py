#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes a bootable ISO with GRUB: the hypervisor, a first domain's kernel, and its initial ramdisk.

The image is a function of its inputs alone: times, the volume's identity and the module list are fixed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# All that the boot entry needs; a full GRUB would add several megabytes.
GRUB_MODULES = "multiboot2 multiboot normal echo serial terminal iso9660 biosdisk part_msdos gzio xzio test"
GRUB_DIRECTORY = "/usr/lib/grub/i386-pc"
EPOCH = "1767225600"  # 2026-01-01 00:00:00 UTC: the time of everything in the image
VOLUME_DATE = "2026010100000000"


def grub_entry(hypervisor_options, kernel_options, has_kernel, has_ramdisk, names):
    lines = [
        "set timeout=0", "set default=0",
        'menuentry "Cero" {',
        f"    multiboot2 /boot/{names[0]} {hypervisor_options}",
    ]
    if has_kernel:
        lines.append(f"    module2 /boot/{names[1]} {kernel_options}")
    if has_ramdisk:
        lines.append(f"    module2 /boot/{names[2]}")
    lines += ["    boot", "}", ""]
    return "\n".join(line.rstrip() for line in lines)


def copy_without_debug(source, target):
    """Debug information stays in the build directory; symbols go along, for backtraces.

    A file without any is copied as it is: objcopy drops the segments of some foreign kernels."""
    if b"\0.debug_info\0" in Path(source).read_bytes():
        stripped = subprocess.run(["objcopy", "--strip-debug", str(source), str(target)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if stripped.returncode == 0:
            return
    shutil.copyfile(source, target)


def make_iso(output, hypervisor, kernel, ramdisk=None, hypervisor_options="", kernel_options=""):
    """Raises CalledProcessError with grub-mkrescue's words in `.output` on failure. A kernel of None leaves its module
    out of the boot entry (to see what the hypervisor says)."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "LC_ALL": "C", "TZ": "UTC"}
    with tempfile.TemporaryDirectory(prefix="cero-iso-") as scratch_name:
        boot = Path(scratch_name) / "boot"
        (boot / "grub").mkdir(parents=True)
        names = []
        for source, fallback in ((hypervisor, "cero"), (kernel, "cero-kernel"), (ramdisk, "dom0.img")):
            if source is None:
                names.append(fallback)
                continue
            name = fallback + (".gz" if str(source).endswith(".gz") and fallback == "cero" else "")
            copy_without_debug(source, boot / name)
            names.append(name)
        (boot / "grub" / "grub.cfg").write_text(
            grub_entry(hypervisor_options, kernel_options, kernel is not None, ramdisk is not None, names)
        )
        for path in [boot.parent, *boot.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (int(EPOCH), int(EPOCH)))
        partial = Path(f"{output}.part")
        subprocess.run(
            ["grub-mkrescue", "-d", GRUB_DIRECTORY, f"--install-modules={GRUB_MODULES}", "--fonts=",
             "--locales=", "--themes=", "--compress=no", "-o", str(partial), scratch_name, "--",
             "-volid", "CERO", "-volume_date", "all_file_dates", f"={EPOCH}",
             "-volume_date", "uuid", VOLUME_DATE],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
        )
        partial.replace(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--hypervisor", type=Path, required=True)
    parser.add_argument("--kernel", type=Path, required=True)
    parser.add_argument("--ramdisk", type=Path)
    parser.add_argument("--hypervisor-options", default="")
    parser.add_argument("--kernel-options", default="")
    parser.add_argument("--max-mib", type=int, help="refuse a larger image")
    arguments = parser.parse_args()
    try:
        make_iso(arguments.output, arguments.hypervisor, arguments.kernel, arguments.ramdisk,
                 arguments.hypervisor_options, arguments.kernel_options)
    except subprocess.CalledProcessError as error:
        sys.exit(f"grub-mkrescue failed with status {error.returncode}:\n{error.output}")
    size = arguments.output.stat().st_size
    if arguments.max_mib and size > arguments.max_mib << 20:
        sys.exit(f"{arguments.output}: {size} bytes are more than the {arguments.max_mib} MiB that are allowed")


if __name__ == "__main__":
    main()
