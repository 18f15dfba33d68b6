# SPDX-License-Identifier: BSD-2-Clause
"""What follows the end of a domain: rename-restart, cores that fit and that do not, the watchdog; cores read by gdb."""
# limit: 900

import json
import os
import re
import subprocess
from pathlib import Path

from _kernels import dying
from _machine import Rig, check, extract_partition, main, wait_demo_guests

ROOT = Path(__file__).resolve().parent.parent.parent
SYMBOLS = Path(os.environ.get("CERO_BUILD", ROOT / "build")) / "pv-guest-kernel" / "cero-kernel"
CORES = "/data/cores"
DATA_PARTITION = 3
DAEMON_LOG = "/var/log/cero/cero-domaind.log"


def domains(rig):
    """By name. The hypervisor's lines about a crash may stand between those of a command, so it may take two."""
    for attempt in range(5):
        try:
            return {entry["name"]: entry for entry in json.loads(rig.dom0("cero list --json"))}
        except ValueError:
            if attempt == 4:
                raise
    return {}


def create(rig, *settings):
    """demo1 with these settings; its number when its shell answers (its watches are set then)."""
    words = " ".join(f"'{word}'" for word in settings)
    rig.dom0(f"cero create /etc/cero/auto/demo1.cfg {words}", 90)
    with rig.guest("demo1"):
        rig.run("echo up")
    return domains(rig)["demo1"]["domid"]


def crash(rig, domain):
    rig.dom0(f"cero store write /local/domain/{domain}/control/sysrq c")


def wait_restarted(rig, old):
    def is_new():
        entry = domains(rig).get("demo1")
        return entry is not None and entry["domid"] != old
    rig.wait_for("demo1 started again", is_new, 60)
    with rig.guest("demo1"):
        rig.run("echo up again")
    return domains(rig)["demo1"]["domid"]


def wait_gone(rig):
    rig.wait_for("the end of demo1", lambda: "demo1" not in domains(rig), 60)


def files(rig, directory):
    return rig.dom0(f"ls {directory} 2>/dev/null || true").split()


def check_rename(rig):
    old = create(rig, 'on_crash="rename-restart"')
    crash(rig, old)
    new = wait_restarted(rig, old)
    entry = domains(rig)[f"demo1-{old}"]
    check(entry["domid"] == old and entry["shutdown_reason"] == "crash", f"the old domain is {entry}")
    check(not rig.dom0(f"cero block-list {old} --json").strip("[] \n"), "the old domain has kept its disk")
    rig.dom0("cero check")
    for domain in (old, new):
        rig.dom0(f"cero destroy {domain}")


def check_cores(rig):
    """Both actions; returns the name of a core of a crashed kernel."""
    first = create(rig, 'on_crash="coredump-destroy"', f'coredump_dir="{CORES}"')
    crash(rig, first)
    wait_gone(rig)
    cores = files(rig, CORES)
    check(len(cores) == 1 and cores[0].endswith(f"-demo1.{first}.core"), f"cores of one crash: {cores}")
    second = create(rig, 'on_crash="coredump-restart"', f'coredump_dir="{CORES}"')
    crash(rig, second)
    third = wait_restarted(rig, second)
    more = [name for name in files(rig, CORES) if name not in cores]
    check(len(more) == 1 and more[0].endswith(f"-demo1.{second}.core"), f"cores of the second crash: {more}")
    rig.dom0(f"rm {CORES}/{more[0]}; cero destroy {third}")
    return cores[0]


def check_full_disk(rig):
    """No room: one message, nothing half written, and the rest of the action is done."""
    rig.dom0("dd if=/dev/zero of=/data/fill bs=1M 2>/dev/null; sync; df /data", 120)
    told = rig.dom0("cero dump-core demo2 /data/running.core 2>&1", 60, status=1)
    check("MiB are free there" in told, f"no clear message: {told}")
    before = files(rig, "-R /data")
    domain = create(rig, 'on_crash="coredump-destroy"', f'coredump_dir="{CORES}"')
    crash(rig, domain)
    wait_gone(rig)
    rig.dom0(f"grep -q 'no core: {CORES}/.*MiB are free there' {DAEMON_LOG}")
    check(files(rig, "-R /data") == before, "something was left on the full disk")
    rig.dom0("rm /data/fill; cero check")
    # In memory: half of what is free, which demo2 with 48 MiB fits into and 200 MiB do not.
    rig.dom0("cero dump-core demo2 /tmp/demo2.core && rm /tmp/demo2.core", 60)
    rig.dom0("cero create /etc/cero/auto/demo1.cfg memory=200", 90)
    told = rig.dom0("cero dump-core demo1 /tmp/demo1.core 2>&1; echo status $?", 60)
    check("memory may be used" in told and "status 1" in told, f"no clear message: {told}")
    check(not [name for name in files(rig, "/tmp") if "core" in name], "something was left in /tmp")
    rig.dom0("cero destroy demo1")


def check_watchdog(rig):
    """As long as user space asks for more time nothing happens; when it stops, on_watchdog is obeyed."""
    old = create(rig, 'on_watchdog="restart"', 'on_crash="preserve"')
    with rig.guest("demo1"):
        rig.run("watchdog -F -T 3 -t 1 /dev/watchdog & sleep 7")
        rig.run("kill -STOP %1")
    new = wait_restarted(rig, old)
    rig.dom0(f"cero destroy {new}")
    last = create(rig, 'on_watchdog="destroy"', 'on_crash="preserve"')
    with rig.guest("demo1"):
        # With the letter V the watchdog ends with its file; without it, it stays.
        rig.run("(exec 3>/dev/watchdog; echo V >&3) && watchdog -F -T 2 -t 1 /dev/watchdog & sleep 4")
        rig.run("kill -KILL %1")
    wait_gone(rig)
    check(rig.dom0("cero list | grep -c demo1 || true").strip() == "0", f"domain {last} is still there")


def destroy_brief(rig):
    """Whether there were any; the daemon may be faster, or start another one meanwhile."""
    return rig.dom0("for n in $(cero list | awk '/^brief/ { print $2 }'); do echo $n; cero destroy $n 2>/dev/null || true; done", 60)


def check_last_words(rig):
    """What a guest wrote in its last moment is in its log, even when the console service comes late to it."""
    for action in ("destroy", "rename-restart"):
        name = f"brief-{action}"
        config = f"name = \"{name}\"\nkernel = \"/tmp/dying\"\nmemory = 16\non_crash = \"{action}\"\n"
        rig.console.put_file("/tmp/dying", dying(b"these were my last words\r\n"))
        rig.console.put_file("/tmp/brief.cfg", config.encode())
        # The service sleeps until the guest has crashed: seen in the list, or gone from it already.
        rig.dom0("service=$(pidof cero-consoled); kill -STOP $service; cero create /tmp/brief.cfg; "
                 f"while cero list {name} 2>/dev/null | tail -n 1 | grep -qv ' ....c. '; do :; done; "
                 "kill -CONT $service", 60)
        rig.wait_for(f"the end of {name}", lambda name=name: name not in domains(rig), 60)
        check("last words" in rig.dom0(f"cat /var/log/cero/console/{name}.log || true"), f"{name}'s last words are lost")
        rig.wait_for("the end of its restarts", lambda: not destroy_brief(rig), 60)


def wait_idle(rig, name):
    rig.wait_for(f"{name} idle", lambda: domains(rig)[name]["state"].startswith("-b-"), 30, 0.2)


def check_running_and_paused(rig):
    wait_idle(rig, "demo2")
    rig.dom0("cero dump-core demo2 /data/running.core", 60)
    with rig.guest("demo2"):
        rig.run("echo runs on")
    wait_idle(rig, "demo2")
    rig.dom0("cero pause demo2 && cero dump-core demo2 /data/paused.core", 60)
    check("p" in domains(rig)["demo2"]["state"], "dump-core let a paused domain run")
    rig.dom0("cero unpause demo2")
    with rig.guest("demo2"):
        rig.run("echo runs again")


def backtrace(core):
    result = subprocess.run(["gdb", "-q", "-batch", "-nx", "-ex", f"core-file {core}", "-ex", "bt", str(SYMBOLS)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    print(result.stdout)
    return result.stdout


def check_backtraces(rig, crashed):
    """gdb with the kernel's symbols: where it panicked, and where an idle one waits."""
    partition = rig.scratch / "data.img"
    extract_partition(rig.disk, DATA_PARTITION, partition)
    for name, functions in ((f"cores/{crashed}", ("kernel::panic", "sysrq_fired")), ("running.core", ("idle",)),
                            ("paused.core", ("idle",))):
        core = rig.scratch / "core"
        subprocess.run(["debugfs", "-R", f"dump /{name} {core}", str(partition)], check=True, timeout=120,
                       stderr=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
        seen = backtrace(core)
        for function in functions:
            check(re.search(rf"#\d+ .*{re.escape(function)}", seen), f"{name}: {function} is not in gdb's backtrace")


def check_console_is_free(rig):
    """The services speak in their files, so that whoever reads a command's output here reads nothing else."""
    rig.dom0(f"grep -q 'is started again as domain' {DAEMON_LOG}")
    spoken = re.findall(rb"cero-(?:store|consoled|domaind): [^\r\n]*", rig.console.history)
    check(not spoken, f"services on the console: {spoken}")


def body():
    with Rig() as rig:
        wait_demo_guests(rig, 60)
        with rig.guest("demo2"):
            rig.run("echo up")
        rig.dom0("cero destroy demo1")
        check_last_words(rig)
        check_watchdog(rig)
        check_rename(rig)
        crashed = check_cores(rig)
        check_full_disk(rig)
        check_running_and_paused(rig)
        rig.dom0("cero check; sync")
        check_console_is_free(rig)
        rig.power_off()
        check_backtraces(rig, crashed)


main(body)
