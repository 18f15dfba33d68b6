# SPDX-License-Identifier: BSD-2-Clause
"""A disk is unplugged and plugged while the root disk is busy; verified, filled, unplugged, checked on the host."""

from machine import check

TITLE = "disks plugged and unplugged while others work"
ORDER = 60

FIO = ("fio --name=plug --filename=/dev/xvdb --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bsrange=4k-128k "
       "--size={size}M --verify=crc32c --verify_fatal=1 --do_verify=1 --output=/tmp/fio.txt; grep -a 'err=' /tmp/fio.txt")


def plug_and_use(linux, options, mebibytes):
    linux.dom0(f"cero block-attach debian phy:/dev/vdc,xvdb,w{options}", 60)
    linux.run("for i in $(seq 60); do test -b /dev/xvdb && break; sleep 1; done; test -b /dev/xvdb", 90)
    kept = linux.run("dmesg | grep -a 'xvdb.*persistent grants: enabled' | wc -l").strip()
    check(options == "" or kept != "0", "Linux does not use persistent grants")
    result = linux.run(FIO.format(size=mebibytes), 1800)
    check("err= 0" in result, f"fio: {result}")
    linux.run("mkfs.ext4 -q -F /dev/xvdb && mkdir -p /plug && mount /dev/xvdb /plug", 180)
    linux.run("cp -a /usr/bin /plug/ && sync && (cd /usr/bin && find . -type f -print0 | xargs -0 sha1sum) > /tmp/sums", 900)
    linux.run("umount /plug && mount /dev/xvdb /plug && (cd /plug/bin && sha1sum -c --quiet /tmp/sums) && umount /plug", 900)
    linux.dom0("cero block-detach debian xvdb", 60)
    linux.run("test ! -e /dev/xvdb")
    return linux.fsck_scratch()


def run(linux, short):
    linux.run("umount /dev/xvdb 2>/dev/null; true")
    linux.dom0("cero block-detach debian xvdb", 60)
    linux.run("(while :; do dd if=/dev/xvda of=/dev/null bs=64k count=4096 iflag=direct; done >/dev/null 2>&1 & "
              "echo $! > /tmp/busy)")
    try:
        words = [plug_and_use(linux, options, 16 if short else 256) for options in ("", ",persistent-grants", "")]
    finally:
        linux.run("kill $(cat /tmp/busy); true")
    linux.dom0("cero block-attach debian phy:/dev/vdc,xvdb,w", 60)
    linux.run("for i in $(seq 60); do test -b /dev/xvdb && break; sleep 1; done; test -b /dev/xvdb", 90)
    return f"three times, once with persistent grants; e2fsck: {words[-1]}"
