# SPDX-License-Identifier: BSD-2-Clause
"""iperf3 both ways with the outside, as client and, through the forwarded port, as server: no second without data."""

import subprocess

from machine import check, free_port

TITLE = "iperf3 both ways with the outside, without a stall"
ORDER = 35

PORT = 5201
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


def run(linux, short):
    seconds = 5 if short else 60
    linux.run(f"cat > /tmp/meter <<'END'\n{METER}END\ntrue")
    return f"{seconds} s each, MiB/s: " + ", ".join(with_outside(linux, seconds))
