# SPDX-License-Identifier: BSD-2-Clause
"""Debian's blkfront on our block back end: rings, queues, data, discard, barriers of the file system, errors, hot plug."""
# limit: 400

from pathlib import Path

from _disks import BAD_SECTOR, MIB, Discarding, Failing, sparse
from _linux import make_guest_disk
from _linux_steps import check_log, mount_guest_disk, start_guest
from _machine import Rig, check, main
from qemu import Disk

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mkdir /tmp; mount -t tmpfs tmp /tmp
dmesg -n 1
insmod /xen-blkfront.ko max_ring_page_order=1
n=0; while [ ! -b /dev/xvdb -a $n -lt 30 ]; do sleep 1; n=$((n+1)); done
echo linux guest is up
exec setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'
"""
# Writes different data to every stripe of a disk at once, reads it back past the cache, compares. $1 disk, $2 MiB per stripe.
STRIPES = """#!/bin/sh
# One stripe: fill a file with what nobody else has, write it, read it back with O_DIRECT.
stripe() {
    dd if=/dev/urandom of=/tmp/s$2 bs=1M count=$3 2>/dev/null
    dd if=/tmp/s$2 of=$1 bs=$4 seek=$(($2 * $3 * 1024 * 1024 / $4)) oflag=direct conv=notrunc 2>/dev/null || echo write $2 failed
    dd if=$1 bs=$4 skip=$(($2 * $3 * 1024 * 1024 / $4)) count=$(($3 * 1024 * 1024 / $4)) iflag=direct 2>/dev/null | cmp - /tmp/s$2 \
        || echo stripe $2 differs
    rm /tmp/s$2
}
for i in 0 1 2 3 4 5 6 7; do stripe $1 $i $2 $((4096 << i % 7)) & done
wait
"""
CONFIG = """name = "debian"
kernel = "/mnt/vmlinuz"
ramdisk = "/mnt/initrd"
extra = "console=hvc0"
memory = 256
vcpus = 4
disk = [ "phy:/dev/vdc,xvda,w", "phy:/dev/vdd,xvdb,r" ]
"""

def add_disks(rig):
    """vdb: the guest's files; vdc: 5 GiB that discard; vdd: 16 MiB of a pattern; vde: fails; vdf: blocks of 4 KiB."""
    scratch = Path(rig.scratch)
    pattern = bytes(range(256)) * 4096 * 16
    (scratch / "pattern.img").write_bytes(pattern)
    large = sparse(scratch / "blocks4k.img", 64)
    rig.machine.disks += [Disk(make_guest_disk(scratch, INIT, (("stripes", STRIPES, 0o755),), CONFIG)),
                          Discarding(sparse(scratch / "data.img", 5120)), Disk(scratch / "pattern.img"),
                          Failing(sparse(scratch / "failing.img", 64))]
    rig.machine.extra += ["-drive", f"file={large},format=raw,if=none,id=large", "-device",
                          "virtio-blk-pci,drive=large,disable-legacy=on,logical_block_size=4096,physical_block_size=4096"]
    return scratch / "data.img"


def check_negotiation(rig):
    domain = rig.dom0("cero list debian | tail -n 1").split()[1]
    front = f"/local/domain/{domain}/device/vbd/51712"
    check(rig.dom0(f"cero store read {front}/multi-queue-num-queues").strip() == "4", "not four queues")
    check(rig.dom0(f"cero store read {front}/ring-page-order").strip() == "1", "not two pages per ring")
    check("ring-ref1" in rig.dom0(f"cero store ls {front}/queue-3"), "the last queue lacks its second page")


def check_data(rig):
    check(rig.run("ls /sys/block/xvda/mq | wc -l").strip() == "4", "Linux has not four queues on xvda")
    check(rig.run("/stripes /dev/xvda 4", 180).strip() == "", "data was not read as written")
    busy = rig.run("for q in /sys/block/xvda/mq/*; do cat $q/cpu_list; done")
    check(len(set(busy.split())) == 4, "the queues are not spread over the CPUs")
    rig.run("dd if=/dev/zero of=/dev/xvda bs=4k count=16 conv=fsync 2>&1", 60)


def check_read_only(rig):
    check(rig.run("cat /sys/block/xvdb/ro").strip() == "1", "xvdb is not read-only")
    rig.run("dd if=/dev/zero of=/dev/xvdb bs=4k count=1 2>/dev/null", status=1)
    sums = rig.run("md5sum < /dev/xvdb; "
                   "awk 'BEGIN { for (i = 0; i < 256; i++) printf \"\\\\x%02x\", i }' > /tmp/line; "
                   "n=0; printf \"$(cat /tmp/line)\" > /tmp/p; while [ $n -lt 16 ]; do cat /tmp/p /tmp/p > /tmp/q; mv /tmp/q /tmp/p; "
                   "n=$((n+1)); done; md5sum < /tmp/p; rm /tmp/p", 60).split()
    check(sums[0] == sums[2], f"the read-only disk's content is not the host's: {sums}")


def check_discard(rig, image):
    before = image.stat().st_blocks * 512
    check(before >= 30 * MIB, "the stripes have not arrived in the host's file")
    check(int(rig.run("cat /sys/block/xvda/queue/discard_max_bytes")) > 0, "Linux does not see that the disk discards")
    rig.run("blkdiscard -o 1048576 -l 16777216 /dev/xvda", 60)
    rig.run("dd if=/dev/xvda bs=1M skip=1 count=16 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c | grep -qx 0", 60)
    rig.wait_for("16 MiB given back to the host", lambda: image.stat().st_blocks * 512 <= before - 15 * MIB, 20)
    # More than the disk takes at once (2 GiB): done in parts.
    rig.run("blkdiscard /dev/xvda", 60)
    rig.wait_for("all given back", lambda: image.stat().st_blocks * 512 < 4 * MIB, 20)


def check_hot_plug(rig):
    with rig.guest("debian"):
        rig.run("exec 9< /dev/xvdb")  # stays open: what is unplugged beside it must not matter
    for name, extra in (("xvdc", ""), ("xvdd", ",persistent-grants"), ("xvdc", "")):
        rig.dom0(f"cero block-attach debian phy:/dev/vdf,{name},w{extra}")
        with rig.guest("debian"):
            rig.run(f"n=0; while [ ! -b /dev/{name} -a $n -lt 20 ]; do sleep 1; n=$((n+1)); done; test -b /dev/{name}", 40)
            if extra:
                rig.run(f"dmesg | grep '{name}.*persistent grants: enabled'")
            check(rig.run(f"cat /sys/block/{name}/queue/logical_block_size").strip() == "4096", "its blocks are not 4 KiB")
            check(rig.run(f"/stripes /dev/{name} 1", 120).strip() == "", "data was not read as written")
            if extra:
                rig.run(f"exec 8< /dev/{name}")  # Linux lets a disk go that is open: its user gets nothing more
        rig.dom0(f"cero block-detach debian {name}", 60)
        with rig.guest("debian"):
            rig.run(f"test ! -e /dev/{name}")
            if extra:
                check(rig.run("dd bs=4k count=1 <&8 2>/dev/null | wc -c").strip() == "0", "a disk that is gone can be read")
                rig.run("exec 8<&-")
        check("vdf" not in rig.dom0("cero block-list debian"), "the disk is still listed")


def check_errors(rig):
    rig.dom0("cero block-attach debian phy:/dev/vde,xvde,w")
    with rig.guest("debian"):
        rig.run("n=0; while [ ! -b /dev/xvde -a $n -lt 20 ]; do sleep 1; n=$((n+1)); done", 40)
        rig.run("dd if=/dev/xvde of=/dev/null bs=1M count=16 iflag=direct")
        report = rig.run(f"dd if=/dev/xvde of=/dev/null bs=4k skip={BAD_SECTOR // 8} count=1 iflag=direct 2>&1", status=1)
        check("I/O error" in report or "Input/output error" in report, f"the disk's error did not arrive: {report}")
        rig.run("dd if=/dev/xvde of=/dev/null bs=1M skip=24 count=16 iflag=direct")
    rig.dom0("cero block-detach debian xvde", 60)


def body():
    rig = Rig(cpus=2, memory_mib=1024, network=False)
    image = add_disks(rig)
    with rig:
        mount_guest_disk(rig)
        start_guest(rig, "debian", "/mnt/debian.cfg")
        check_negotiation(rig)
        with rig.guest("debian"):
            check_data(rig)
            check_read_only(rig)
            check_discard(rig, image)
        check_hot_plug(rig)
        check_errors(rig)
        with rig.guest("debian"):
            check_log(rig, "blkfront.*(bad|error|disabled for use)")
            rig.run("for i in 0 1 2 3; do dd if=/dev/zero of=/dev/xvda bs=64k seek=$((i * 1000)) oflag=direct 2>/dev/null & done; "
                    "sleep 1")
        rig.dom0("cero destroy debian")  # in the middle of writing
        rig.dom0("cero check")
        check("/dev/vdc" not in rig.dom0("cero block-list"), "its disk is still in use")
        rig.power_off()


main(body)
