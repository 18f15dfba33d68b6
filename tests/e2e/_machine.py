# SPDX-License-Identifier: BSD-2-Clause
"""A booted machine for a test: its own copy of the demo disk, its console, and words for what tests do with it."""

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "lib"))
from build import boot_image, ensure_demo_disk  # noqa: E402
from console import Console, Ended, Timeout  # noqa: E402
from disk import extract_partition  # noqa: E402
from paths import ISO  # noqa: E402
from qemu import Disk, Machine  # noqa: E402


class Rig:
    """Boots on entry, ends QEMU on exit. `dom0()` runs a command there; `guest()` attaches to a console."""

    def __init__(self, cpus=2, memory_mib=1024, forwards=(), boot_limit=180, disks=True, network=True):
        self.scratch = Path(tempfile.mkdtemp(prefix="cero-e2e-"))
        self.disk = self.scratch / "disk.img"
        self.boot_limit = boot_limit
        self.machine = Machine(iso=ISO, cpus=cpus, memory_mib=memory_mib, forwards=list(forwards), network=network)
        if disks:
            subprocess.run(["cp", "--sparse=always", str(ensure_demo_disk()), str(self.disk)], check=True)
            self.machine.disks = [Disk(self.disk)]
        self.console = None

    def __enter__(self):
        started = time.monotonic()
        self.console = Console(self.machine.command(interactive=False))
        try:
            self.console.wait_shell(self.boot_limit)
        except (Timeout, Ended):
            self.__exit__()
            raise
        print(f"dom0's shell after {time.monotonic() - started:.1f} s", flush=True)
        return self

    def __exit__(self, *_):
        if self.console:
            self.console.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def dom0(self, command, timeout=60, status=0):
        """Runs a command in the current shell; its output. The status must be as expected (None: any)."""
        actual, output = self.console.run(command, timeout)
        print(f"$ {command}\n{output}", end="" if output.endswith("\n") else "\n", flush=True)
        if status is not None and actual != status:
            raise AssertionError(f"`{command}` ended with status {actual}, expected {status}:\n{output}")
        return output

    run = dom0  # the same inside a guest's console

    @contextmanager
    def guest(self, name, timeout=60):
        """Inside the block, `run()` talks to the guest's shell."""
        deadline = time.monotonic() + timeout
        self.console.buffer = b""
        self.console.send(f"cero console {name}\n")
        while True:
            self.console.drain(0.5)
            self.console.send("\n")
            try:
                self.console.wait_shell(8)
                break
            except Timeout:
                if time.monotonic() > deadline:
                    raise
        print(f"--- console of {name}", flush=True)
        try:
            yield self
        finally:
            self.console.drain(0.2)
            self.console.send("\x1d")
            self.console.drain(0.3)
            self.console.send("\n")
            self.console.wait_shell(30)
            print("--- dom0", flush=True)

    def wait_for(self, what, condition, limit=60, pause=1.0):
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {limit} s")
            time.sleep(pause)

    def names(self):
        lines = self.dom0("cero list").splitlines()[1:]
        return {line.split()[0] for line in lines if line.strip()}

    def power_off(self):
        self.console.send("poweroff -f || poweroff\n")
        status = self.console.wait_end(60)
        assert status == 0, f"QEMU ended with status {status}"

    def check_file_system(self, partition):
        """e2fsck -f on a partition of the machine's disk, which must be off or have synced it."""
        copy = self.scratch / "partition.img"
        extract_partition(self.disk, partition, copy)
        result = subprocess.run(["e2fsck", "-fn", str(copy)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, check=False, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
        print(result.stdout)
        assert result.returncode == 0, f"e2fsck found the file system not clean (status {result.returncode})"


CONFIG = {name: f"/etc/cero/auto/{name}.cfg" for name in ("demo1", "demo2")}


def wait_demo_guests(rig, limit=90):
    rig.wait_for("both demo guests", lambda: set(CONFIG) <= rig.names(), limit)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(body):
    """Runs a test; prints what failed, console's end included."""
    try:
        body()
    except (AssertionError, Timeout, Ended, subprocess.CalledProcessError) as error:
        sys.exit(f"FAILED: {error}")
    print("passed")
