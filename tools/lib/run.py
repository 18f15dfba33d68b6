# SPDX-License-Identifier: BSD-2-Clause
"""tools/run: boots Cero in QEMU."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from build import IMAGES, boot_image, ensure_demo_disk, prepare
from console import Console, Ended, Timeout
from linux_disk import ensure_linux_disk, make_module_ramdisk
from progress import Failure, say
from qemu import Disk, Machine, parse_forward

DESCRIPTION = """\
Builds what is missing and boots Cero through GRUB in QEMU. The machine's serial console is this terminal.
On a fresh Debian 12 everything that is needed is installed and fetched first (this asks for root by sudo).

Keys: Ctrl-A x ends the machine, Ctrl-A c switches to QEMU's monitor and back, Ctrl-A Ctrl-A sends Ctrl-A.
      Ctrl-] leaves a guest's console inside dom0 (`cero console NAME`)."""

EPILOG = """\
examples:
  tools/run                                      dom0's shell, two demo guests
  tools/run --cpus 4 --memory 4G
  tools/run --forward 8080:10.0.2.16:80          the host's port 8080 leads to a guest's port 80
  echo 'cero list' | tools/run --batch -         one command, its output, its status
  tools/run --linux                              then: cero create debian.cfg && cero console debian
  tools/run --linux --forward 2222:10.0.2.18:22  then: ssh -i .cache/debian/ssh_key -p 2222 root@localhost
  tools/run --gdb                                then: gdb build/cero -ex 'target remote :1234'
  tools/run --kernel my-kernel --no-disk         another PV kernel as the first domain

exit status: that of QEMU; with --batch that of the first command that fails, 124 when a time limit passed,
125 when the machine ended before the commands did; 2 for a mistake in the options or a failed build."""


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="tools/run", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--batch", metavar="FILE|-", help="run these dom0 shell commands (sh -e), print only their output, power off")
    add("--timeout", type=float, default=600, metavar="SECONDS", help="limit of --batch, boot included (600)")
    add("--cpus", type=int, default=2, metavar="N", help="CPUs of the machine (2)")
    add("--memory", metavar="SIZE", help="memory of the machine, as in 256M or 8G (1G; 2G with --linux)")
    add("--linux", nargs="?", const="disk", choices=("disk", "module"),
        help="attach a Debian 12 guest's disk, made once by tools/debian-image; its kernel and ramdisk lie on the disk "
             "(/guests/debian.cfg in dom0) or, with `module`, also in dom0's boot module (/boot/debian/debian.cfg)")
    add("--disk", action="append", default=[], metavar="FILE[,SIZE][,ro]",
        help="one more virtio disk; made, sparse, with SIZE if there is no such file; may be repeated")
    add("--no-disk", action="store_true", help="leave out the demo disk build/demo-disk.img")
    add("--snapshot", action="store_true", help="forget every write to the disks at the end")
    add("--forward", action="append", default=[], metavar="[udp:]HOSTPORT:[ADDRESS:]PORT",
        help="lead a port of the host to a port of dom0 or of a guest's address; may be repeated")
    add("--no-network", action="store_true", help="leave out the network interface")
    add("--gdb", nargs="?", const="tcp::1234", default="", metavar="DEVICE", help="debugger stub (tcp::1234)")
    add("--gdb-wait", action="store_true", help="with --gdb: do not start before the debugger says so")
    add("--log", default="", metavar="FILE", help="also write the console's output to FILE")
    add("--icount", action="store_true", help="count instructions: one per nanosecond of the machine's time (1 CPU)")
    add("--hypervisor", type=Path, metavar="FILE", help="boot this one in place of build/cero")
    add("--kernel", type=Path, metavar="FILE", help="first domain's kernel; comes without ramdisk unless --ramdisk")
    add("--ramdisk", type=Path, metavar="FILE", help="first domain's initial ramdisk")
    add("--hypervisor-options", default="", metavar="TEXT", help="words for the hypervisor's command line")
    add("--kernel-options", default="", metavar="TEXT", help="words for the first domain's command line")
    add("--no-build", action="store_true", help="boot what is there")
    add("--print", action="store_true", dest="print_only", help="print QEMU's command line in place of running it")
    add("qemu", nargs="*", metavar="-- WORD", help="more words for QEMU's command line")
    return parser.parse_args(arguments)


def make_machine(options):
    from disk import parse_size

    memory = parse_size(options.memory or ("2G" if options.linux else "1G")) >> 20
    if memory < 32:
        raise Failure(f"--memory {options.memory}: a machine needs at least 32M")
    if options.cpus < 1:
        raise Failure(f"--cpus {options.cpus}: a machine needs at least one")
    machine = Machine(iso=Path(), cpus=1 if options.icount else options.cpus, memory_mib=memory)
    if not options.no_disk:
        machine.disks.append(Disk(ensure_demo_disk()))
    if options.linux:
        if options.no_disk:
            raise Failure("--linux expects its disk behind the demo disk: leave out --no-disk")
        machine.disks.append(Disk(ensure_linux_disk()))
    machine.disks += [Disk.parse(text) for text in options.disk]
    machine.forwards = [parse_forward(text) for text in options.forward]
    machine.network = not options.no_network
    machine.snapshot = options.snapshot
    machine.gdb = options.gdb
    machine.log = options.log
    machine.icount = options.icount
    machine.extra = list(options.qemu) + (["-S"] if options.gdb_wait else [])
    return machine


def run_batch(machine, script, limit):
    """Runs the script in dom0's shell; returns the status for the caller's exit."""
    deadline = time.monotonic() + limit

    def left():
        return max(deadline - time.monotonic(), 1)

    def show(piece):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    try:
        with Console(machine.command(interactive=False)) as console:
            console.wait_shell(left())
            console.put_file("/tmp/.batch", script, left())
            status, _ = console.run("sh -e /tmp/.batch </dev/null", left(), show)
            console.send("poweroff -f || poweroff\n")
            try:
                console.wait_end(15)
            except Timeout:
                pass
            return status
    except Timeout as error:
        say(f"time limit: {error}")
        return 124
    except Ended as error:
        say(str(error))
        return 125


def main():
    options = parse_arguments(sys.argv[1:])
    temporary = None
    try:
        script = None
        if options.batch:
            script = sys.stdin.buffer.read() if options.batch == "-" else Path(options.batch).read_bytes()
        if not options.no_build:
            prepare(targets=IMAGES)
        machine = make_machine(options)
        if options.linux == "module":
            if options.kernel or options.ramdisk:
                raise Failure("--linux module brings a ramdisk for Cero's own kernel: leave out --kernel, --ramdisk")
            options.ramdisk = make_module_ramdisk()
        machine.iso, is_temporary = boot_image(options.hypervisor, options.kernel, options.ramdisk,
                                               options.hypervisor_options, options.kernel_options)
        temporary = machine.iso if is_temporary else None
        if options.print_only:
            temporary = None  # The command line that is printed needs it.
            print(machine.shell_line(interactive=script is None))
            return 0
        if script is not None:
            return run_batch(machine, script, options.timeout)
        if sys.stdin.isatty():
            say("Ctrl-A x ends the machine")
        return subprocess.run(machine.command(interactive=True), check=False).returncode
    except (Failure, OSError) as error:
        say(error)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        if temporary:
            os.unlink(temporary)


if __name__ == "__main__":
    sys.exit(main())
