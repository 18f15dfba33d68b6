# SPDX-License-Identifier: BSD-2-Clause
"""Streams both ways with the outside, another Debian, dom0 and a guest of our kernel: no second without data.

iperf3 where both ends are Linux or the outside; dom0 and our kernel's guest run tests/linux/programs/stream.cpp, which
compares every byte."""

import re
import subprocess

from machine import check, free_port

TITLE = "iperf3 and streams both ways: outside, Linux, dom0, our kernel; no stall"
ORDER = 35
SECOND = True

PORT = 5201
STREAM_PORT = 5300
# Bytes that the interface moved in each second: a sender counts what it puts into buffers. $1: rx or tx, $2: seconds
METER = """name=$(ip route | sed -n "s/^default.* dev \\([^ ]*\\).*/\\1/p" | head -n 1)
at() { cat /sys/class/net/$name/statistics/$1_bytes; }
sleep 1; before=$(at $1)
for i in $(seq $2); do sleep 1; now=$(at $1); echo $((now - before)); before=$now; done
"""


def server(port):
    """Starts it, and waits until it listens."""
    return (f"iperf3 -s -D -p {port}; for i in $(seq 100); do ss -ltn | grep -q ':{port} ' && break; sleep 0.2; done; "
            f"ss -ltn | grep ':{port} '")


def judge(what, output, seconds):
    """The meter's lines -> MiB/s, in words."""
    moved = [int(line) for line in output.split() if line.isdigit()]
    check(len(moved) == seconds, f"{what}: {len(moved)} seconds of {seconds}: {output}")
    check(min(moved) > 1 << 16, f"{what}: stood still; bytes by second: {moved}")
    words = f"{what} {sum(moved) / len(moved) / (1 << 20):.1f}"
    print(words)
    return words


def client(address, port, seconds, words=""):
    """Until it is stopped: on a busy machine the meter's seconds are long."""
    return f"iperf3 -c {address} -p {port} -t {4 * seconds + 60} {words}"


def stream(linux, what, counter, seconds, command):
    """`command` in the guest, under the meter."""
    output = linux.run(f"bash -c '{command} > /tmp/report 2>&1 & client=$!; bash /tmp/meter {counter} {seconds}; "
                       "kill $client; wait $client; tail -n 3 /tmp/report >&2; true'", 4 * seconds + 90)
    return judge(what, "\n".join(line for line in output.splitlines() if line.isdigit()), seconds)


def with_outside(linux, seconds):
    """The server on the host for the first two; the guest's server, through the forwarded port, for the others."""
    words, port = [], free_port()
    for name, counter, flag in (("to the outside", "tx", ""), ("from the outside", "rx", "-R")):
        with subprocess.Popen(["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port)],
                              stdout=subprocess.DEVNULL) as listener:
            try:
                words.append(stream(linux, name, counter, seconds, client("10.0.2.2", port, seconds, flag)))
            finally:
                listener.terminate()
    for name, counter, flag in (("to the guest's server", "rx", ""), ("from the guest's server", "tx", "-R")):
        # A server that lost its client may refuse the next one for a moment.
        linux.run("pkill -x iperf3; while pgrep -x iperf3; do sleep 0.2; done; " + server(PORT))
        line = client("127.0.0.1", linux.ports[PORT], seconds, flag).split()
        with subprocess.Popen(line, stdout=subprocess.DEVNULL) as host:
            try:
                words.append(judge(name, linux.run(f"bash /tmp/meter {counter} {seconds}", 4 * seconds + 60),
                                   seconds))
                check(host.poll() is None, f"{name}: the client ended by itself")
            finally:
                host.terminate()
    return words


def start_second(linux):
    """Another Debian on the second disk, its server up; its address."""
    linux.create("memory=384", "'vif=[\"mac=00:16:3e:00:00:11,bridge=xenbr0\"]'",
                 "'disk=[\"phy:/dev/vde2,xvda,w\",\"phy:/dev/vdd,xvdc,r\"]'", name="second")
    linux.wait_login("second")
    linux.attach("second")
    address = re.search(r"inet (10\.0\.2\.\d+)", linux.run("ip -4 -o addr show dev eth0")).group(1)
    linux.run(server(PORT))
    linux.detach()
    return address


def with_linux(linux, seconds):
    address = start_second(linux)
    try:
        words = [stream(linux, name, counter, seconds, client(address, PORT, seconds, flag)) for name, counter, flag in
                 (("to Linux", "tx", ""), ("from Linux", "rx", "-R"))]
        linux.attach("second")
        bad = linux.complaints()
        check(not bad, "the logs complain:\n" + "\n".join(bad))
    finally:
        linux.destroy("second")
    return words


SOURCE = "({0}stream source {1} > /tmp/source.log 2>&1 &); for i in 1 2 3 4 5 6 7 8 9; do grep -q open /tmp/source.log && break; " \
         "sleep 1; done; grep open /tmp/source.log"


def sink(run, where, address, seconds, what):
    return judge(what, run(f"{where}stream sink {address} {STREAM_PORT} {seconds}", 4 * seconds + 60), seconds)


def with_ours(linux, seconds):
    """A stream's receiver asks for it: first the guest, then the other end. Between dom0 and our guest, too."""
    linux.run(SOURCE.format("/tests/", STREAM_PORT))
    own = re.search(r"inet (10\.0\.2\.\d+)", linux.run("ip -4 -o addr show dev eth0")).group(1)
    linux.dom0("mkdir -p /tests; [ -x /tests/stream ] || mount -o ro /dev/vdd /tests")
    dom0 = re.search(r"10\.0\.2\.\d+", linux.dom0("ifconfig xenbr0")).group()
    linux.dom0(SOURCE.format("/tests/", STREAM_PORT))
    words = [sink(linux.run, "/tests/", dom0, seconds, "from dom0"), sink(linux.dom0, "/tests/", own, seconds, "to dom0")]
    linux.dom0("httpd -p 8081 -h /tests")
    with linux.rig.guest("demo1") as rig:
        demo = re.search(r"10\.0\.2\.\d+", rig.run("ifconfig eth0")).group()
        rig.run(f"wget -q -O /tmp/stream http://{dom0}:8081/stream && chmod +x /tmp/stream", 60)
        rig.run(SOURCE.format("/tmp/", STREAM_PORT))
        words.append(sink(rig.run, "/tmp/", own, seconds, "to our kernel"))
    words.append(sink(linux.run, "/tests/", demo, seconds, "from our kernel"))
    return words


def run(linux, short):
    seconds = 5 if short else 60
    linux.run(f"cat > /tmp/meter <<'END'\n{METER}END\ntrue")
    ends = with_ours(linux, seconds) + with_linux(linux, seconds) + with_outside(linux, seconds)
    return f"{seconds} s each, MiB/s: " + ", ".join(ends)
