# SPDX-License-Identifier: BSD-2-Clause
"""A machine with a Debian guest for the stages: dom0's shell and the guest's on one console, ssh, disks, logs."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tools" / "lib"), str(ROOT / "tests" / "e2e")]
import _linux  # noqa: E402
from _machine import Rig, check, free_port  # noqa: E402
from console import Timeout  # noqa: E402
from debian_image import DEBIAN, PASSWORD, ensure_debian  # noqa: E402
from disk import MIB, make_empty, run  # noqa: E402
from linux_disk import GUEST_ADDRESS, GUESTS_MIB, make_linux_disk  # noqa: E402
from qemu import Disk, parse_forward  # noqa: E402

PROGRAMS = Path(__file__).resolve().parent / "programs"
SCRATCH_MIB = 2048
# What no log may show unless a stage says so.
COMPLAINTS = re.compile(r"BUG:|WARNING:|Oops|Call Trace|unchecked MSR|rcu.*(stall|detected)|hung_task|blocked for more"
                        r"|I/O error|soft lockup|EXT4-fs error|segfault|Kernel panic|page allocation failure")
# Of Cero's log; "guest" lines about what a kernel tried and was refused are information.
CERO_COMPLAINTS = re.compile(r"panic|assert|BUG|crash|page fault|unexpected", re.IGNORECASE)
SLOW = float(os.environ.get("CERO_SLOW", "1"))  # stretches every limit on a busy machine


def build_programs(directory):
    """programs/NAME.c -> static executables; a first line with `// flags: WORDS` adds compiler flags."""
    for source in sorted(PROGRAMS.glob("*.c")):
        match = re.search(r"^// flags: (.*)$", source.read_text(), re.MULTILINE)
        words = match.group(1).split() if match else ["-static", "-pthread"]
        run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(directory / source.stem), str(source), *words])


class LinuxMachine:
    """Context manager. `dom0(command)` and `run(command)` (in the guest) switch the console by themselves.

    dom0 sees vda = demo disk, vdb = linux disk, vdc = scratch, vdd = programs, vde = linux disk of a second guest.
    The guest sees xvda = its root, xvdb = scratch (2 GiB, empty), xvdc = programs (read-only, on /tests)."""

    def __init__(self, vcpus, cpus=2, memory_mib=3072, second=False):
        self.vcpus, self.cpus = vcpus, cpus
        self.ssh_port = free_port()
        self.ports = {22: self.ssh_port, 5201: free_port()}  # port of the guest -> port of this host
        forwards = [parse_forward(f"{host}:{GUEST_ADDRESS}:{guest}") for guest, host in self.ports.items()]
        self.rig = Rig(cpus=cpus, memory_mib=memory_mib, forwards=forwards, boot_limit=240 * SLOW)
        ensure_debian()
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        self.linux_disk = self.rig.scratch / "linux.img"
        make_linux_disk(self.linux_disk)
        self.scratch_disk = self.rig.scratch / "scratch.img"
        make_empty(self.scratch_disk, SCRATCH_MIB * MIB)
        disks = [self.linux_disk, self.scratch_disk, self._program_disk()]
        if second:
            disks.append(self.rig.scratch / "second.img")
            make_linux_disk(disks[-1])
        self.rig.machine.disks += [Disk(path) for path in disks]
        self.attached = False     # is the console the guest's?
        self.seen = set()         # complaints that were told
        self.settings = ()        # of the running guest
        self.prompts = {}         # login prompts that a guest had shown before it was started

    def _program_disk(self):
        tree = self.rig.scratch / "programs"
        tree.mkdir()
        build_programs(tree)
        _linux.build_programs(tree)
        image = self.rig.scratch / "programs.img"
        make_empty(image, 64 * MIB)
        run(["mke2fs", "-q", "-F", "-t", "ext2", "-L", "tests", "-d", str(tree), str(image)])
        return image

    def __enter__(self):
        self.rig.__enter__()
        try:
            self.rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= self.rig.names(), 90 * SLOW)
            self.wait_demo_addresses()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.rig.__exit__()

    def wait_demo_addresses(self):
        """The guest's address is the one behind theirs."""
        for address in ("10.0.2.16", "10.0.2.17"):
            self.rig.wait_for(f"{address}, a demo guest's", lambda address=address: " 0% packet loss" in self.rig.dom0(
                f"ping -c 1 -W 2 {address}", status=None), 60 * SLOW, 1)

    # dom0 and guest

    def dom0(self, command, timeout=60, status=0):
        self.detach()
        return self.rig.dom0(command, timeout * SLOW, status)

    def run(self, command, timeout=60, status=0):
        """In the guest, as root; its output."""
        self.attach()
        return self.rig.dom0(command, timeout * SLOW, status)

    def expect_login(self, name="debian"):
        """Before what makes a guest boot: wait_login() waits for one prompt more than there are now."""
        self.prompts[name] = self.count_prompts(name)

    def count_prompts(self, name):
        """A console's log goes on over the domains of a name."""
        log = f"/var/log/cero/console/{name}.log"
        self.detach()
        # The hypervisor's own lines share the serial line with what is read here.
        words = self.rig.dom0(f"echo \"prompts=$(cat {log} {log}.0 2>/dev/null | grep -ac 'debian login: ')\"")
        return int(re.search(r"prompts=(\d+)", words).group(1))

    def create(self, *settings, name="debian"):
        self.expect_login(name)
        words = [f"vcpus={self.vcpus}", *settings]
        if not any(word.lstrip("'").startswith("disk=") for word in settings):
            words.append("'disk=[\"phy:/dev/vdb2,xvda,w\",\"phy:/dev/vdc,xvdb,w\",\"phy:/dev/vdd,xvdc,r\"]'")
        self.dom0(f"cero create debian.cfg name={name} {' '.join(words)}", 120)

    def start(self, *settings):
        """Creates the guest and logs in."""
        self.settings = settings
        self.create(*settings)
        self.wait_login()

    def wait_login(self, name="debian", limit=300):
        deadline = time.monotonic() + limit * SLOW
        while self.count_prompts(name) <= self.prompts[name]:
            check(name in self.rig.names(), f"{name} ended before its login prompt came")
            if time.monotonic() > deadline:
                self.rig.dom0(f"tail -n 40 /var/log/cero/console/{name}.log; cero vcpu-list {name}")
                raise Timeout(f"no login prompt of {name} within {limit * SLOW:.0f} s")
            time.sleep(3)

    def attach(self, name="debian"):
        if self.attached:
            return
        console = self.rig.console
        console.buffer = b""
        console.send(f"cero console --replay 0 {name}\n")
        console.drain(1)
        deadline = time.monotonic() + 90 * SLOW
        while True:
            console.send("\n")
            try:
                found = console.expect(rb"login: *\Z|[#$] (\x1b\[[0-9;?]*[a-z])*\Z", 15 * SLOW)
            except Timeout:
                if time.monotonic() > deadline:
                    raise
                continue
            if b"login" in found.group():
                console.send("root\n")
                console.expect("Password: *", 60 * SLOW)
                console.send(f"{PASSWORD}\n")
                console.expect(rb"[#$] (\x1b\[[0-9;?]*[a-z])*\Z", 60 * SLOW)
            break
        self.attached = True
        console.send("\n")
        console.wait_shell(60 * SLOW)
        # Kernel messages would fall between what is read here; they are read from dmesg.
        self.rig.console.run("bind 'set enable-bracketed-paste off'; export TERM=dumb PAGER=cat SYSTEMD_COLORS=0; "
                             "dmesg -n 1; mountpoint -q /tests || { mkdir -p /tests; mount -r /dev/xvdc /tests; }",
                             60 * SLOW)

    def detach(self):
        if not self.attached:
            return
        console = self.rig.console
        console.drain(0.2)
        console.send("\x1d")
        console.drain(0.3)
        console.send("\n")
        console.wait_shell(30 * SLOW)
        self.attached = False

    def leave_console(self, limit=120):
        """After a command that ends the guest: `cero console` ends with it."""
        self.rig.console.expect(r"^dom0:[^\n]*# ", limit * SLOW)  # not the guest's own prompt
        self.attached = False
        self.rig.console.send("\n")
        self.rig.console.wait_shell(30 * SLOW)

    def is_running(self, name="debian"):
        self.detach()
        return name in self.rig.names()

    def wait_gone(self, name="debian", limit=120):
        self.rig.wait_for(f"the end of {name}", lambda: not self.is_running(name), limit * SLOW, 2)

    def destroy(self, name="debian"):
        if self.is_running(name):
            self.dom0(f"cero destroy {name}", 60)

    def boot_id(self):
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()

    def ssh(self, command, timeout=120, status=0, words=()):
        """From the host, through the forwarded port; (standard output)."""
        line = ["ssh", "-i", str(DEBIAN / "ssh_key"), "-p", str(self.ssh_port), "-o", "StrictHostKeyChecking=no", "-o",
                "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o",
                "LogLevel=ERROR", *words, "root@127.0.0.1", command]
        result = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, errors="replace", timeout=timeout * SLOW, check=False)
        print(f"ssh$ {command}\n{result.stdout}", flush=True)
        check(status is None or result.returncode == status,
              f"`{command}` by ssh ended with status {result.returncode}:\n{result.stdout}")
        return result.stdout

    # Disks, on the host

    def fsck_scratch(self):
        """e2fsck -fn of the whole scratch disk, whose writes the guest has flushed."""
        copy = self.rig.scratch / "scratch-copy.img"
        run(["cp", "--sparse=always", str(self.scratch_disk), str(copy)])
        try:
            return run_fsck(copy)
        finally:
            copy.unlink()

    def fsck_root(self):
        copy = self.rig.scratch / "root-copy.img"
        run(["dd", f"if={self.linux_disk}", f"of={copy}", "bs=1M", f"skip={1 + GUESTS_MIB}", "count=4096",
             "conv=sparse", "status=none"])
        try:
            return run_fsck(copy)
        finally:
            copy.unlink()

    # Logs

    def complaints(self, allowed=()):
        """Lines in the guest's kernel log, new since the last call, and in Cero's, that tell of trouble."""
        lines = without_kernels_own(self.run("dmesg", 60).splitlines())
        bad = [line for line in lines if COMPLAINTS.search(line) and line not in self.seen]
        self.seen.update(bad)
        bad += [line for line in self.dom0("cero dmesg -c", 60).splitlines() if CERO_COMPLAINTS.search(line)]
        return [line for line in bad if not any(re.search(word, line) for word in allowed)]


def without_kernels_own(lines):
    """Without the warnings that Linux' PV port brings along, each from "cut here" to "end trace".

    unmap_page_range() clears the entry of a page that compaction is moving by pte_clear(), which the port queues until the
    end of lazy MMU mode, and looks at once whether it is clear (6.1, zap_install_uffd_wp_if_needed). Harmless."""
    kept, block = [], None
    for line in lines:
        if "[ cut here ]" in line:
            kept += block or []
            block = []
        if block is None:
            kept.append(line)
            continue
        block.append(line)
        if "[ end trace" in line:
            if not any(re.search(r"WARNING: .* include/linux/mm_inline\.h:\d+ unmap_page_range", word) for word in block):
                kept += block
            block = None
    return kept + (block or [])


def run_fsck(image):
    result = subprocess.run(["e2fsck", "-fn", str(image)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False)
    print(result.stdout)
    check(result.returncode == 0, f"e2fsck found the file system not clean (status {result.returncode})")
    return result.stdout.strip().splitlines()[-1]
