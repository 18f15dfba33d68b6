# SPDX-License-Identifier: BSD-2-Clause
"""The guest makes a file system, fills it, checks what it wrote, unmounts; the host checks the disk."""

from machine import check

TITLE = "mkfs, fill, unmount; e2fsck on the host"
ORDER = 50


def run(linux, short):
    linux.run("mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/xvdb " + ("128M" if short else ""), 240)
    linux.run("mkdir -p /fill && mount /dev/xvdb /fill")
    linux.run("cp -a /etc /usr/bin /fill/ 2>/dev/null; cp -a /usr/lib/x86_64-linux-gnu /fill/ 2>/dev/null; true", 1200)
    # Up to the last block: dd ends with "No space left on device".
    message = linux.run("LC_ALL=C dd if=/dev/urandom of=/fill/rest bs=1M 2>&1", 1200, status=1)
    check("No space left" in message, f"dd ended otherwise: {message}")
    linux.run("cd /fill && find . -xdev -type f -print0 | xargs -0 sha256sum > /root/sums; cd /; sync", 1200)
    linux.run("umount /fill && echo 3 > /proc/sys/vm/drop_caches && mount /dev/xvdb /fill", 240)
    linux.run("cd /fill && sha256sum --quiet -c /root/sums && cd /", 1200)
    files = linux.run("wc -l < /root/sums").strip()
    used = linux.run("df --output=used -m /fill | tail -1").strip()
    linux.run("umount /fill", 240)
    linux.fsck_scratch()
    return f"{files} files, {used} MiB, equal after a remount; e2fsck on the host: clean"
