# SPDX-License-Identifier: BSD-2-Clause
"""CPU state of Debian's kernel as a guest: registers, faults, debugging, segments, 32-bit programs (AMD and Intel), clocks,
wake-ups, steal time, vCPUs that go and come; two guests at once on fewer CPUs than vCPUs."""
# limit: 900

import re
import shlex
import tempfile
from pathlib import Path

from _linux import build_programs, linux_elf, make_guest_disk
from _linux_steps import check_log, mount_guest_disk, start_guest
from _machine import Rig, check, main

import image
from console import Console
from initramfs import Archive, read_manifest
from paths import HYPERVISOR
from qemu import CPU_MODEL, Disk, Machine

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin; mkdir /tmp
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
echo linux guest is up
exec setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'
"""
COMPAT_INIT = """#!/bin/busybox sh
/bin/compat; echo compat ends with status $?
/bin/busybox poweroff -f
"""
PAUSE_SECONDS = 3
# Two vCPUs that wake each other give up after 5 s: a wake-up that is lost takes longer than this, whatever the host does.
WAKEUPS = "wakeups {} 4500"
PACE_LIMIT_NS = 50_000_000
READING_NS = 5_000_000


def configuration(name, vcpus):
    return (f'name = "{name}"\nkernel = "/mnt/vmlinuz"\nramdisk = "/mnt/initrd"\nextra = "console=hvc0 vsyscall=xonly"\n'
            f"memory = 256\nvcpus = {vcpus}\n")


def clock_pair(output):
    return tuple(int(word) for word in re.search(r"pair (\d+) (\d+) (\d+)", output).groups())


def clock_offset(rig, first):
    """ns that the guest's wall clock is ahead of dom0's, brought to one instant by the TSC, which all CPUs share."""
    with rig.guest("one"):
        guest = clock_pair(rig.run("clock pair"))
    second = clock_pair(rig.dom0("/mnt/clock pair"))
    ns_per_tick = (second[0] - first[0]) / (second[2] - first[2])
    difference = guest[0] - (second[0] + (guest[2] - second[2]) * ns_per_tick)
    print(f"the guest's wall clock is {difference / 1e6:.3f} ms ahead of dom0's")
    return difference


def check_wall_clock_at_boot(rig, first):
    """The wall clock that Linux started with is that of the moment in which it read it.

    Until its clocksources are up Linux counts ticks, and loses those that come late while it waits for a CPU: its clock
    then lags, on any hypervisor. Its log's clock is TSC time plus a constant that the kernel names ("Marking stable").
    So the wall clock's value at TSC time 0 can be told; what is above the true one is ticks lost before it was read."""
    with rig.guest("one"):
        numbers = re.search(r"boot (\d+) (\d+) (\d+) (\d+)", rig.run("clock boot"))
        real, since_boot, log, tsc = (int(word) for word in numbers.groups())
        lines = rig.run("dmesg | grep -e 'Console:' -e 'sched_clock: Marking'")
    read_by = float(re.search(r"\[ *([\d.]+)\] Console: ", lines).group(1)) * 1e9
    log -= int(re.search(r"Marking stable .*->\(-?\d+, (-?\d+)\)", lines).group(1))
    second = clock_pair(rig.dom0("/mnt/clock pair"))
    ns_per_tick = (second[0] - first[0]) / (second[2] - first[2])
    dom0 = second[0] + (tsc - second[2]) * ns_per_tick
    ahead = (real - since_boot) - (dom0 - log)
    print(f"at the start {ahead / 1e6:.3f} ms ahead, read {read_by / 1e6:.3f} ms after it at the latest; "
          f"since then {(log - since_boot - ahead) / 1e6:.3f} ms of ticks were lost")
    check(-READING_NS < ahead < read_by + READING_NS, "the guest's wall clock was wrong at boot")


def steal_ticks(rig):
    return int(rig.run("grep '^cpu ' /proc/stat").split()[8])


def cpu_state(rig):
    with rig.guest("one"):
        check(rig.run("grep -c ^processor /proc/cpuinfo").strip() == "4", "it does not see four CPUs")
        rig.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
        together = rig.run("segments & segments & segments & segments & wait", 120)  # more than there are CPUs
        check(together.count("segments: ok") == 4, "segments, four at once")
        for program in ("faults", "debug", "segments", "compat", "clock check", "counters", WAKEUPS.format(10)):
            rig.run(program, 180)
    with rig.guest("two"):
        rig.run("segments", 60)
        rig.send_background("registers 30 4")
    with rig.guest("one"):
        before = steal_ticks(rig)
        rig.run("registers 15 6", 120)
        stolen = steal_ticks(rig) - before
        print(f"{stolen} ticks stolen")
        check(stolen > 100, "five busy vCPUs on two CPUs, and nothing is stolen")
    with rig.guest("two"):
        rig.background_ends(120)


def hotplug(rig):
    rounds = "n=0; while [ $n -lt 12 ]; do for c in 1 2 3; do echo 0 > $d$c/online || exit 1; done; " \
             "for c in 3 1 2; do echo 1 > $d$c/online || exit 1; done; n=$((n+1)); done"
    with rig.guest("one"):
        rig.send_background("registers 20 6")
        rig.run(f"d=/sys/devices/system/cpu/cpu; {rounds}", 180)
        check(rig.run("cat /sys/devices/system/cpu/online").strip() == "0-3", "not all vCPUs are back")
        rig.background_ends(120)
        rig.run(WAKEUPS.format(5), 60)


class StateRig(Rig):
    def send_background(self, command):
        self.run(f"({command} > /tmp/background 2>&1; echo $? > /tmp/status) &")

    def background_ends(self, limit):
        self.run(f"n=0; while [ ! -s /tmp/status -a $n -lt {limit} ]; do sleep 1; n=$((n+1)); done; cat /tmp/background; "
                 "s=$(cat /tmp/status); rm -f /tmp/status; [ \"$s\" = 0 ]", limit + 30)


def guests(programs):
    rig = StateRig(cpus=2, memory_mib=1280, network=False)
    files = [(f"bin/{name}", path, 0o755) for name, path in programs.items()]
    files.append(("sbin/poweroff", "#!/bin/sh\nexec poweroff -f\n", 0o755))  # what the kernel runs on a request
    content = (("one.cfg", configuration("one", 4)), ("two.cfg", configuration("two", 1)), ("clock", programs["clock"]))
    rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, files, content_files=content)))
    with rig:
        mount_guest_disk(rig)
        first = clock_pair(rig.dom0("/mnt/clock pair"))
        for name in ("one", "two"):
            start_guest(rig, name, f"/mnt/{name}.cfg", 240)
        offset = clock_offset(rig, first)
        check_wall_clock_at_boot(rig, first)
        cpu_state(rig)
        rig.dom0(f"cero pause one && sleep {PAUSE_SECONDS} && cero unpause one")
        hotplug(rig)
        check(abs(clock_offset(rig, first) - offset) < PACE_LIMIT_NS, "the guest's clock does not keep pace with dom0's")
        for name in ("one", "two"):
            with rig.guest(name):
                check_log(rig, "unchecked MSR", "stalls on", "lockup")
        rig.dom0("cero shutdown --wait --timeout 60 one", 90)
        rig.power_off()


def compat_on_intel(program):
    """The other way for 32-bit system calls: SYSENTER, in a first domain."""
    with tempfile.TemporaryDirectory(prefix="cero-compat-") as name:
        scratch = Path(name)
        (scratch / "init").write_text(COMPAT_INIT)
        archive = Archive()
        read_manifest(archive, f"node /dev/console 600 c 5 1\nfile /bin/busybox /bin/busybox 755\n"
                      f"file /init {scratch / 'init'} 755\nfile /bin/compat {shlex.quote(str(program))} 755\n", Path("/"), {},
                      "manifest", False)
        (scratch / "initrd").write_bytes(archive.to_bytes())
        image.make_iso(scratch / "linux.iso", HYPERVISOR, linux_elf(), scratch / "initrd", "", "console=hvc0")
        machine = Machine(iso=scratch / "linux.iso", cpus=2, memory_mib=1024, network=False,
                          cpu_model=f"{CPU_MODEL},vendor=GenuineIntel")
        with Console(machine.command(interactive=False)) as console:
            console.expect("__kernel_vsyscall uses sysenter", 180)
            console.expect("compat ends with status 0", 120)
            check(console.wait_end(60) == 0, "QEMU's status")


def body():
    with tempfile.TemporaryDirectory(prefix="cero-programs-") as name:
        programs = build_programs(Path(name))
        guests(programs)
        compat_on_intel(programs["compat"])


main(body)
