# SPDX-License-Identifier: BSD-2-Clause
"""The host fetches 10 MiB from a guest's web server over a forwarded port with curl; the checksum is equal."""
# limit: 600

import hashlib
import re
import subprocess
import time

from _machine import Rig, check, free_port, main, wait_demo_guests

# QEMU's network gives addresses in the order in which guests ask: either may be demo1's.
ADDRESSES = ("10.0.2.16", "10.0.2.17")


def choose_ports():
    """A free port of the host for each address; what to give to a Rig is `forwards(ports)`."""
    return {address: free_port() for address in ADDRESSES}


def forwards(ports):
    return [f"tcp:127.0.0.1:{port}-{address}:80" for address, port in ports.items()]


def fetch(rig, ports):
    with rig.guest("demo1"):
        rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
        address = re.search(r"10\.0\.2\.1[67]", rig.run("ifconfig eth0")).group()
        rig.run("dd if=/dev/urandom of=/data/ten bs=1024k count=10 && ln -sf /data/ten /www/ten", 120)
        wanted = rig.run("md5sum /data/ten", 60).split()[0]
    started = time.monotonic()
    data = subprocess.run(["curl", "-sS", "--fail", "--max-time", "180", f"http://127.0.0.1:{ports[address]}/ten"],
                          stdout=subprocess.PIPE, check=True).stdout
    print(f"{len(data)} bytes in {time.monotonic() - started:.1f} s")
    check(len(data) == 10 << 20, f"{len(data)} bytes in place of 10 MiB")
    check(hashlib.md5(data).hexdigest() == wanted, "the checksum differs")


def body():
    ports = choose_ports()
    with Rig(forwards=forwards(ports)) as rig:
        wait_demo_guests(rig)
        fetch(rig, ports)
        rig.power_off()


if __name__ == "__main__":
    main(body)
