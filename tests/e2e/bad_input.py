# SPDX-License-Identifier: BSD-2-Clause
"""Bad input to `cero`: one clear message, a status that is not 0, nothing left behind."""
# limit: 700

import gzip
import re

from _kernels import PACKED, PACKED_XZ, PV_NOTES, PVH_NOTES, bzimage, elf, flipped
from _machine import Rig, check, main, wait_demo_guests

GOOD = 'name = "bad"\nkernel = "/boot/cero-kernel"\nramdisk = "/boot/guest.img"\nmemory = 32\n'

KERNEL = GOOD.replace("/boot/cero-kernel", "/tmp/k")

# What to put in place first (a command, or the bytes of /tmp/k), the configuration, words that the message must have.
CASES = [
    ("unknown key", "", GOOD + "colour = 3\n", ["colour", ":5"]),
    ("value of a wrong kind", "", GOOD.replace("32", '"many"'), ["memory"]),
    ("syntax error", "", GOOD + "disk = [ \n", ["bad.cfg"]),
    ("no kernel there", "", GOOD.replace("cero-kernel", "nothing"), ["/boot/nothing"]),
    ("kernel that is not one", "dd if=/dev/urandom of=/tmp/k bs=1k count=64", GOOD.replace("/boot/cero-kernel", "/tmp/k"),
     ["/tmp/k"]),
    ("truncated kernel", "dd if=/boot/cero-kernel of=/tmp/k bs=1k count=40", GOOD.replace("/boot/cero-kernel", "/tmp/k"),
     ["/tmp/k"]),
    ("no ramdisk there", "", GOOD.replace("guest.img", "nothing"), ["/boot/nothing"]),
    ("too little memory", "", GOOD.replace("32", "1"), ["memory"]),
    ("more memory than there is", "", GOOD.replace("32", "5000"), ["memory"]),
    ("more memory than any machine has", "", GOOD.replace("32", "900000"), ["it needs 900000 MiB of memory", "are free"]),
    ("ramdisk larger than the memory", "dd if=/dev/zero of=/tmp/r bs=1M count=48",
     GOOD.replace("/boot/guest.img", "/tmp/r"), ["the ramdisk (48 MiB)", "memory"]),
    ("32-bit kernel", "(printf '\\177ELF\\001'; dd if=/boot/cero-kernel bs=1 skip=5 count=4091) >/tmp/k",
     GOOD.replace("/boot/cero-kernel", "/tmp/k"), ["/tmp/k", "32-bit"]),
    ("kernel without Xen's notes", elf(), KERNEL, ["/tmp/k", "no Xen ELF notes", "PV"]),
    ("kernel for PVH only", elf(PVH_NOTES), KERNEL, ["/tmp/k", "PVH"]),
    ("kernel for another processor", elf(PV_NOTES)[:18] + b"\xb7" + elf(PV_NOTES)[19:], KERNEL, ["/tmp/k", "not for x86-64"]),
    ("bzImage with a bit wrong", bzimage(flipped(PACKED, len(PACKED) // 2)), KERNEL, ["/tmp/k", "gzip", "corrupt"]),
    ("bzImage with a bit wrong, xz", bzimage(flipped(PACKED_XZ, len(PACKED_XZ) // 2)), KERNEL, ["/tmp/k", "xz", "corrupt"]),
    ("bzImage cut short", bzimage(PACKED)[:-40], KERNEL, ["/tmp/k", "payload", "outside the file"]),
    ("bzImage of a kernel without notes", bzimage(gzip.compress(elf())), KERNEL, ["/tmp/k", "no Xen ELF notes"]),
    ("bzImage of nothing", bzimage(b""), KERNEL, ["/tmp/k"]),
    ("missing partition", "", GOOD + 'disk = [ "phy:/dev/vda77,xvda,w" ]\n', ["/dev/vda77"]),
    ("missing root disk image", "", GOOD + 'disk = [ "file:/guests/nothing.img,xvda,w" ]\n', ["disk", "bad.cfg"]),
    ("name in use", "", GOOD.replace('"bad"', '"demo1"'), ["demo1"]),
    ("missing disk", "", GOOD + 'disk = [ "phy:/dev/nothing,xvda,w" ]\n', ["/dev/nothing"]),
    ("two writers on one disk", "", GOOD + 'disk = [ "phy:/dev/vda1,xvda,w" ]\n', ["vda1"]),
]


def free_memory(rig):
    return re.search(r"free_memory\s*:\s*(\d+)", rig.dom0("cero info")).group(1)


def body():
    with Rig() as rig:
        wait_demo_guests(rig, 60)
        names = rig.names()
        before = free_memory(rig)
        problems = []
        for title, preparation, config, words in CASES:
            print(f"=== {title}", flush=True)
            if isinstance(preparation, bytes):
                rig.console.put_file("/tmp/k", preparation)
            elif preparation:
                rig.dom0(preparation + " 2>/dev/null")
            rig.console.put_file("/tmp/bad.cfg", config.encode())
            status, output = rig.console.run("cero create /tmp/bad.cfg", 90)
            print(f"status {status}\n{output}", flush=True)
            if status == 0:
                problems.append(f"{title}: succeeded")
                rig.dom0("cero destroy bad", status=None)
            for word in words:
                if word not in output:
                    problems.append(f"{title}: the message does not name {word}: {output.strip()}")
            if rig.names() != names:
                problems.append(f"{title}: left a domain behind")
        rig.dom0("cero check", status=None)
        after = free_memory(rig)
        if before != after:
            problems.append(f"free memory was {before}, is {after}")
        # A command of another tool, a slip, and nonsense.
        for verb, remedy in (("setmem", 'Here it is "cero mem-set".'), ("lsit", 'Did you mean "cero list"?'), ("xyzzy", '"cero help" lists')):
            status, output = rig.console.run(f"cero {verb} demo1", 30)
            check(status == 2 and f'unknown command "{verb}"' in output and remedy in output, f"cero {verb}: {status}, {output}")
        # Garbage on the console must not hurt.
        rig.console.send(bytes(range(1, 3)) + b"\x15" + bytes(range(128, 256)) + b"\x15\n")
        rig.console.wait_shell(30)
        check(rig.names() == names, "garbage on the console changed the domains")
        check(not problems, "\n".join(problems))
        rig.power_off()


main(body)
