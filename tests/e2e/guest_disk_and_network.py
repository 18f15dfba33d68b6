# SPDX-License-Identifier: BSD-2-Clause
"""In a guest: ping and wget to the host; a file that outlives destroy and create; a clean file system afterwards."""
# limit: 600

import functools
import hashlib
import http.server
import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from _machine import CONFIG, Rig, check, main, wait_demo_guests


@contextmanager
def web_server(content):
    """A web server on the host with `content` under /file; its port."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "file").write_bytes(content)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_address[1]
            server.shutdown()


def reach_host(rig):
    """ping and wget to the host from demo1."""
    content = os.urandom(300_000)
    with web_server(content) as port, rig.guest("demo1"):
        rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
        rig.run("ping -c 3 10.0.2.2", 60)
        rig.run(f"wget -q -O /tmp/file http://10.0.2.2:{port}/file", 60)
        check(hashlib.md5(content).hexdigest() in rig.run("md5sum /tmp/file"), "wget fetched something else")
        rig.run("rm /tmp/file")


def keep_file(rig):
    """A file on demo1's disk is the same after destroy and create."""
    with rig.guest("demo1"):
        rig.run("dd if=/dev/urandom of=/data/kept bs=64k count=64 && sync", 120)
        before = rig.run("md5sum /data/kept").split()[0]
    rig.dom0("cero destroy demo1")
    check("demo1" not in rig.names(), "demo1 is still there")
    rig.dom0(f"cero create {CONFIG['demo1']}", 90)
    with rig.guest("demo1"):
        after = rig.run("md5sum /data/kept", 60).split()[0]
        check(before == after, f"the file has changed: {before} before, {after} after")


def check_clean(rig):
    """Shuts demo1 down; e2fsck on the host finds its file system clean."""
    rig.dom0("cero shutdown --wait demo1", 90)
    rig.dom0("sync")
    rig.check_file_system(1)


def body():
    with Rig() as rig:
        wait_demo_guests(rig)
        reach_host(rig)
        keep_file(rig)
        check_clean(rig)
        rig.power_off()
        rig.check_file_system(1)


if __name__ == "__main__":
    main(body)
