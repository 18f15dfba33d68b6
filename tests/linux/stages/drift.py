# SPDX-License-Identifier: BSD-2-Clause
"""The guest's clocks keep pace with dom0's: under load, and over a pause."""

import re

from machine import check

TITLE = "clocks keep pace with dom0's under load and over a pause"
ORDER = 55
LIMIT_MS = 50


def pair(text):
    return tuple(int(word) for word in re.search(r"pair (\d+) (\d+) (\d+)", text).groups())


def run(linux, short):
    linux.dom0("mkdir -p /tests; [ -x /tests/clock ] || mount -o ro /dev/vdd /tests")
    first = pair(linux.dom0("/tests/clock pair"))

    def offset():
        """ms that the guest's clock is ahead; both readings are brought to one instant by the TSC."""
        guest = pair(linux.run("/tests/clock pair"))
        now = pair(linux.dom0("/tests/clock pair"))
        tick = (now[0] - first[0]) / (now[2] - first[2])
        return (guest[0] - now[0] - (guest[2] - now[2]) * tick) / 1e6

    linux.dom0("sleep 5")  # a rate needs a distance
    linux.run("systemctl stop systemd-timesyncd chrony ntpsec 2>/dev/null", 60, None)
    begin = offset()
    seconds = 30 if short else 600
    linux.run(f"/tests/registers {seconds} 8", seconds + 120)
    loaded = offset()
    linux.dom0("cero pause debian && sleep 5 && cero unpause debian", 60)
    paused = offset()
    words = f"{loaded - begin:+.3f} ms in {seconds} s of load, {paused - loaded:+.3f} ms over a pause of 5 s"
    check(abs(loaded - begin) < LIMIT_MS and abs(paused - begin) < LIMIT_MS, words)
    return words + f"; {begin:+.0f} ms at first"
