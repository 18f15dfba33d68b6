# SPDX-License-Identifier: BSD-2-Clause
"""In a guest: ping and wget to the host; a file that outlives destroy and create; a clean file system afterwards."""
# limit: 600

import functools
import hashlib
import http.server
import os
import tempfile
import threading
from pathlib import Path

from _machine import Rig, check, main


def body():
    with tempfile.TemporaryDirectory() as directory:
        content = os.urandom(300_000)
        (Path(directory) / "file").write_bytes(content)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with Rig() as rig:
            rig.wait_for("demo1", lambda: "demo1" in rig.names(), 60)
            with rig.guest("demo1"):
                rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
                rig.run("ping -c 3 10.0.2.2", 60)
                rig.run(f"wget -q -O /tmp/file http://10.0.2.2:{port}/file", 60)
                sums = rig.run("md5sum /tmp/file")
                check(hashlib.md5(content).hexdigest() in sums, "wget fetched something else")
                rig.run("dd if=/dev/urandom of=/data/kept bs=64k count=64 && sync", 120)
                before = rig.run("md5sum /data/kept").split()[0]
            rig.dom0("cero destroy demo1")
            check("demo1" not in rig.names(), "demo1 is still there")
            rig.dom0("cero create $(ls /etc/cero/*/demo1.cfg /etc/cero/demo1.cfg 2>/dev/null | head -n 1)", 90)
            with rig.guest("demo1"):
                after = rig.run("md5sum /data/kept", 60).split()[0]
                check(before == after, f"the file has changed: {before} before, {after} after")
            rig.dom0("cero shutdown --wait demo1 || cero shutdown -w demo1", 90)
            rig.dom0("sync")
            rig.power_off()
            rig.check_file_system(1)


main(body)
