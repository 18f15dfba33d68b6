# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of Linux guests do alike: start one, put its disk, network and processes to work, read its log."""

from _machine import check, wait_demo_guests

# For make_guest_disk(): a guest with a disk and a network. The number of its vCPUs is the test's.
CONFIG = """name = "debian"
kernel = "/mnt/vmlinuz"
ramdisk = "/mnt/initrd"
extra = "console=hvc0"
memory = 256
disk = [ "phy:/dev/vda2,xvda,w" ]
vif = [ "mac=00:16:3e:00:00:09,bridge=xenbr0" ]
"""


def mount_guest_disk(rig, destroyed=("demo1", "demo2")):
    """What make_guest_disk() made becomes /mnt of dom0; the demo guests that are in the way go."""
    wait_demo_guests(rig, 60)
    for name in destroyed:
        rig.dom0(f"cero destroy {name}")
    rig.dom0("mkdir -p /mnt && mount /dev/vdb /mnt")


def wait_guest(rig, name, limit=180):
    """Until a guest's first process says that it is up; what is known when it does not."""
    log = f"/var/log/cero/console/{name}.log"
    try:
        rig.wait_for(name, lambda: "is up" in rig.dom0(f"grep 'linux guest' {log}", status=None), limit, 3)
    except AssertionError:
        rig.dom0(f"cero list; tail -c 3000 {log}; cero dmesg | tail -n 30", status=None)
        raise


def start_guest(rig, name, words, limit=180):
    """`cero create` with these words, which must name the guest `name`."""
    rig.dom0(f"cero create {words}", 180)
    wait_guest(rig, name, limit)


def put_to_work(rig, vcpus):
    """In the guest's console: its processors, its disk past the cache, its network, many processes."""
    check(rig.run("grep -c ^processor /proc/cpuinfo").strip() == str(vcpus), "it does not see its vCPUs")
    rig.run("dd if=/dev/urandom of=/x bs=64k count=64 2>/dev/null && dd if=/x of=/dev/xvda bs=64k && sync "
            "&& echo 3 > /proc/sys/vm/drop_caches && dd if=/dev/xvda bs=64k count=64 | cmp - /x", 60)
    rig.run("ping -c 2 10.0.2.2", 60)
    rig.run("for i in 1 2 3 4; do (n=0; while [ $n -lt 40 ]; do /bin/true; n=$((n+1)); done) & done; wait", 120)


def check_log(rig, *more):
    """In the guest's console: its kernel complains of nothing. `more`: what else would be a complaint here."""
    pattern = "|".join(("BUG:", "WARNING:", "Oops", *more))
    check(rig.run(f"dmesg | grep -iE '{pattern}' || true").strip() == "", "its kernel complains")


def shut_down(rig, name):
    rig.dom0(f"cero shutdown --wait --timeout 60 {name}", 90)
    check(name not in rig.names(), "the guest is still there")
    rig.dom0("cero check")
