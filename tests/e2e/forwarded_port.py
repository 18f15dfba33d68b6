# SPDX-License-Identifier: BSD-2-Clause
"""The host fetches 10 MiB from a guest's web server over a forwarded port; the checksum is equal."""
# limit: 600

import hashlib
import re
import time
import urllib.request

from _machine import Rig, check, free_port, main


def body():
    # QEMU's network gives addresses in the order in which guests ask: either may be demo1's.
    ports = {f"10.0.2.{last}": free_port() for last in (16, 17)}
    with Rig(forwards=[f"tcp:127.0.0.1:{port}-{address}:80" for address, port in ports.items()]) as rig:
        rig.wait_for("demo1", lambda: "demo1" in rig.names(), 60)
        with rig.guest("demo1"):
            rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
            address = re.search(r"10\.0\.2\.1[67]", rig.run("ifconfig eth0")).group()
            rig.run("dd if=/dev/urandom of=/data/ten bs=1024k count=10 && ln -sf /data/ten /www/ten", 120)
            wanted = rig.run("md5sum /data/ten", 60).split()[0]
        started = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[address]}/ten", timeout=180) as response:
            data = response.read()
        print(f"{len(data)} bytes in {time.monotonic() - started:.1f} s")
        check(len(data) == 10 << 20, f"{len(data)} bytes in place of 10 MiB")
        check(hashlib.md5(data).hexdigest() == wanted, "the checksum differs")
        rig.power_off()


main(body)
