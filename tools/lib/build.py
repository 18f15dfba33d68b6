# SPDX-License-Identifier: BSD-2-Clause
"""Configures and builds the tree, and makes the files that a machine boots from."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import image
from disk import make_demo_disk
from host import ensure_packages, ensure_sources
from paths import BUILD, CACHE, DEMO_DISK, HYPERVISOR, INITRAMFS, ISO, KERNEL, ROOT
from progress import Failure, run_step, say


@contextlib.contextmanager
def alone(directory):
    """One process at a time makes things in `directory`; the others wait and then find them made."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def configure(directory=BUILD, environment=None, options=()):
    """meson setup, when the directory is not configured yet."""
    if (directory / "build.ninja").exists():
        return
    CACHE.mkdir(exist_ok=True)
    log = CACHE / f"configure-{directory.name}.log"
    log.unlink(missing_ok=True)
    run_step("configuring", ["meson", "setup", *options, str(directory), str(ROOT)], log,
             env={**os.environ, **(environment or {})})


def compile_all(directory=BUILD, targets=()):
    """ninja; quiet when there is nothing to do, its last lines on standard error while it works."""
    log = directory / "build.log"
    dry = subprocess.run(["ninja", "-C", str(directory), "-n", *targets], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False)
    if dry.returncode == 0 and "no work to do" in dry.stdout:
        return
    if sys.stderr.isatty():
        status = subprocess.run(["ninja", "-C", str(directory), *targets], stdin=subprocess.DEVNULL,
                                stdout=sys.stderr, check=False).returncode
        if status != 0:
            raise Failure("the build failed")
        return
    log.unlink(missing_ok=True)
    run_step("building", ["ninja", "-C", str(directory), *targets], log)


# What a machine boots from; tests and benchmarks are built only for those who run them.
IMAGES = tuple(path.name for path in (HYPERVISOR, KERNEL, INITRAMFS, ISO))


def prepare(groups=("build", "run"), targets=()):
    """From a bare machine to a built tree, or to the given targets of it."""
    with alone(CACHE):
        ensure_packages(groups)
        ensure_sources()
        configure()
        compile_all(targets=targets)


def ensure_demo_disk():
    if DEMO_DISK.exists():
        return DEMO_DISK
    with alone(CACHE):
        if not DEMO_DISK.exists():
            if not shutil.which("sfdisk") or not shutil.which("mke2fs"):
                os.environ["PATH"] += ":/usr/sbin:/sbin"
            say(f"making the demo disk {DEMO_DISK}")
            make_demo_disk(DEMO_DISK)
    return DEMO_DISK


def boot_image(hypervisor=None, kernel=None, ramdisk=None, hypervisor_options="", kernel_options=""):
    """The ISO to boot: the built one, or a temporary one when anything differs. Returns (path, is temporary)."""
    custom = hypervisor or kernel or ramdisk or hypervisor_options or kernel_options
    if not custom:
        if not ISO.exists():
            raise Failure(f"{ISO} was not built: remove {BUILD} and start again, or see docs/boot.md")
        return ISO, False
    if ramdisk is None and kernel is None:
        ramdisk = INITRAMFS
    for path in filter(None, (hypervisor, kernel, ramdisk)):
        if not Path(path).is_file():
            raise Failure(f"{path}: no such file")
    handle, name = tempfile.mkstemp(prefix="cero-", suffix=".iso")
    os.close(handle)
    try:
        image.make_iso(Path(name), hypervisor or HYPERVISOR, kernel or KERNEL, ramdisk,
                       hypervisor_options, kernel_options)
    except subprocess.CalledProcessError as error:
        os.unlink(name)
        raise Failure(f"grub-mkrescue failed:\n{error.output}") from error
    return Path(name), True
