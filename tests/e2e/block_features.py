# SPDX-License-Identifier: BSD-2-Clause
"""Our own front end with a backend that offers everything, persistent grants too, or as little as an old one."""
# limit: 400

from _disks import BAD_SECTOR, Failing, sparse
from _machine import Rig, check, main

CONFIG = "$(ls /etc/cero/*/demo1.cfg /etc/cero/demo1.cfg 2>/dev/null | head -n 1)"
# What old backends do not know: only barriers make data durable, one page of ring, eleven segments.
MODERN = ("feature-flush-cache", "feature-max-indirect-segments", "max-ring-page-order", "multi-queue-max-queues",
          "feature-persistent", "feature-discard")


def start(rig, disk, removed=()):
    """Creates demo1; without the given keys in its disk's backend directory. Returns (front, back) directories."""
    rig.dom0(f"cero create -p {CONFIG} 'disk=[\"{disk}\",\"phy:/dev/vdb,xvdb,w\"]'", 90)
    domain = rig.dom0("cero list demo1 | tail -n 1").split()[1]
    back = f"/local/domain/0/backend/vbd/{domain}/51712"
    for key in removed:
        rig.dom0(f"cero store rm {back}/{key}", status=None)
    rig.dom0("cero unpause demo1")
    return f"/local/domain/{domain}/device/vbd/51712", back


def use(rig, name):
    """Writes a file of the given name and one that every round reads."""
    with rig.guest("demo1", 120):
        rig.run("test ! -e /data/sums || md5sum -c /data/sums", 60)
        rig.run(f"dd if=/dev/urandom of=/data/{name} bs=64k count=48 && sync && md5sum /data/* > /tmp/sums; "
                "grep -v sums /tmp/sums > /data/sums; sync", 120)
        return rig.run("dmesg | grep xvda")


def check_errors(rig):
    """What the disk cannot do is told to the program, past the cache and through it."""
    bad = BAD_SECTOR // 8
    with rig.guest("demo1", 120):
        for good in (bad - 8, bad + 8):
            rig.run(f"dd if=/dev/zero of=/dev/xvdb bs=4k seek={good} count=1 conv=notrunc oflag=direct")
            rig.run(f"dd if=/dev/xvdb of=/dev/null bs=4k skip={good} count=1 iflag=direct")
        rig.run(f"dd if=/dev/xvdb of=/dev/null bs=4k skip={bad} count=1 iflag=direct", status=1)
        rig.run(f"dd if=/dev/zero of=/dev/xvdb bs=4k seek={bad} count=1 conv=notrunc oflag=direct", status=1)
        rig.run(f"dd if=/dev/zero of=/dev/xvdb bs=64k seek={bad // 16} count=1 conv=notrunc oflag=direct", status=1)
        rig.run(f"dd if=/dev/zero of=/dev/xvdb bs=4k seek={bad} count=1 conv=notrunc,fsync", status=1)


def body():
    rig = Rig(network=False)
    rig.machine.disks.append(Failing(sparse(rig.scratch / "failing.img", 64)))
    with rig:
        rig.wait_for("demo1", lambda: "demo1" in rig.names(), 60)
        rig.dom0("cero destroy demo1; cero destroy demo2")

        front, _ = start(rig, "phy:/dev/vda1,xvda,w")
        check_errors(rig)
        check("persistent" not in use(rig, "usual"), "persistent grants although nobody asked for them")
        check(rig.dom0(f"cero store read {front}/ring-page-order").strip() == "1", "not two pages of ring")
        rig.dom0("cero destroy demo1")

        start(rig, "phy:/dev/vda1,xvda,w,persistent-grants")
        check("persistent grants" in use(rig, "persistent"), "no persistent grants although both ends know them")
        rig.dom0("cero destroy demo1")

        front, back = start(rig, "phy:/dev/vda1,xvda,w", MODERN)
        use(rig, "old")
        check("ring-page-order" not in rig.dom0(f"cero store ls {front}"), "two pages of ring with a backend of one")
        check("feature-flush-cache" not in rig.dom0(f"cero store ls {back}"), "the backend offers flushes: nothing was tested")
        rig.dom0("cero shutdown --wait demo1", 90)
        rig.dom0("cero check")
        rig.dom0("sync")
        rig.power_off()
        rig.check_file_system(1)


main(body)
