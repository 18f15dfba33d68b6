# SPDX-License-Identifier: BSD-2-Clause
"""SSH from the host through a forwarded port: a command, and data both ways by checksum."""

import hashlib
import subprocess

from machine import DEBIAN, SLOW, check

TITLE = "ssh from the host through a forwarded port"
ORDER = 30


def run(linux, short):
    check(linux.ssh("hostname", 180).strip() == "debian", "another host answers")
    size = (1 if short else 16) << 20
    data = hashlib.shake_256(b"cero").digest(size)
    line = ["ssh", "-i", str(DEBIAN / "ssh_key"), "-p", str(linux.ssh_port), "-o", "StrictHostKeyChecking=no", "-o",
            "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1", "tee /tmp/data; sha256sum /tmp/data >&2"]
    result = subprocess.run(line, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300 * SLOW,
                            check=False)
    check(result.returncode == 0, f"ssh ended with status {result.returncode}: {result.stderr.decode()}")
    check(hashlib.sha256(data).hexdigest() in result.stderr.decode(), "the guest received other data")
    check(result.stdout == data, "the host received other data")
    return f"{size >> 20} MiB to the guest and back, equal"
