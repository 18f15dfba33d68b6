# SPDX-License-Identifier: BSD-2-Clause
"""The QEMU command line of a Cero machine, out of a description."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from disk import make_empty, parse_size
from progress import Failure

# -smap: QEMU 7.2 takes a ring-3 iretq frame for a supervisor access. -monitor: MWAIT idling misses wake-ups.
CPU_MODEL = "max,-smap,-monitor"


@dataclass
class Machine:
    iso: Path
    cpus: int = 2
    memory_mib: int = 1024
    disks: list = field(default_factory=list)      # of Disk
    forwards: list = field(default_factory=list)   # of "tcp::HOST-ADDRESS:PORT"
    network: bool = True
    gdb: str = ""
    monitor: str = ""
    log: str = ""
    snapshot: bool = False
    icount: bool = False
    cpu_model: str = CPU_MODEL
    extra: list = field(default_factory=list)

    def processors(self):
        """QEMU before 8.1 leaves memory barriers out of the code of a machine that can have one CPU only; virtio needs
        them, as the devices run in another thread (docs/testing.md). A CPU that is not there yet brings them back."""
        return "1,maxcpus=2" if self.cpus == 1 and not self.icount else str(self.cpus)

    def command(self, interactive):
        if self.icount:
            accelerator = ["-accel", "tcg", "-icount", "shift=0,sleep=off", "-seed", "1",
                           "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
        else:
            accelerator = ["-accel", "tcg,thread=multi"]
        line = ["qemu-system-x86_64", "-machine", "pc", "-cpu", self.cpu_model, *accelerator,
                "-smp", self.processors(), "-m", f"{self.memory_mib}M", "-nodefaults", "-vga", "none",
                "-display", "none", "-no-reboot", "-boot", "d", "-cdrom", str(self.iso)]
        console = "stdio,id=console,signal=off"
        if interactive:
            console += ",mux=on"
        if self.log:
            console += f",logfile={self.log},logappend=off"
        line += ["-chardev", console, "-serial", "chardev:console"]
        if interactive:
            line += ["-mon", "chardev=console,mode=readline"]
        if self.monitor:
            line += ["-monitor", f"unix:{self.monitor},server=on,wait=off"]
        for index, disk in enumerate(self.disks):
            line += ["-drive", disk.drive(index), "-device",
                     f"virtio-blk-pci,drive=disk{index},disable-legacy=on,serial=cero{index}"]
        if self.network:
            user = "user,id=net0" + "".join(f",hostfwd={forward}" for forward in self.forwards)
            line += ["-netdev", user, "-device",
                     "virtio-net-pci,netdev=net0,mac=52:54:00:ce:20:00,disable-legacy=on,romfile="]
        if self.snapshot:
            line.append("-snapshot")
        if self.gdb:
            line += ["-gdb", self.gdb]
        line += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        return line + self.extra

    def shell_line(self, interactive=True):
        return shlex.join(self.command(interactive))


@dataclass
class Disk:
    path: Path
    read_only: bool = False

    @staticmethod
    def parse(text):
        """FILE[,SIZE][,ro]: the file is made, sparse, when it is not there and SIZE is given."""
        name, *options = text.split(",")
        disk, size = Disk(Path(name)), None
        for option in options:
            if option == "ro":
                disk.read_only = True
            else:
                size = parse_size(option)
        if not disk.path.exists():
            if size is None:
                raise Failure(f"{name}: no such disk image; give a size to have it made, as in --disk {name},1G")
            make_empty(disk.path, size)
        return disk

    def drive(self, index):
        only = ",readonly=on" if self.read_only else ""
        escaped = str(self.path).replace(",", ",,")
        return f"file={escaped},format=raw,if=none,id=disk{index}{only}"


def parse_forward(text):
    """[udp:]HOSTPORT:[ADDRESS:]PORT -> QEMU's hostfwd. The address is dom0's when it is left out."""
    protocol, rest = "tcp", text
    for name in ("tcp", "udp"):
        if text.startswith(name + ":"):
            protocol, rest = name, text[len(name) + 1:]
    parts = rest.split(":")
    if len(parts) == 2:
        parts.insert(1, "10.0.2.15")
    if len(parts) != 3 or not parts[0].isdigit() or not parts[2].isdigit():
        raise Failure(f"{text}: not a forwarded port; write [udp:]HOSTPORT:[ADDRESS:]PORT, as in 8080:10.0.2.16:80")
    return f"{protocol}::{parts[0]}-{parts[1]}:{parts[2]}"
