# SPDX-License-Identifier: BSD-2-Clause
"""vCPUs taken off line and on line from inside, again and again, while all of them are busy."""

from machine import check

TITLE = "vCPUs off line and on line under load"
ORDER = 50
VCPUS = (2, 4)


def run(linux, short):
    rounds = 10 if short else 100
    others = " ".join(str(n) for n in range(1, linux.vcpus))
    linux.run(f"(/tests/registers {20 if short else 180} 8 > /tmp/registers.log 2>&1; echo $? > /tmp/registers.status) &")
    linux.run(f"n=0; while [ $n -lt {rounds} ]; do for s in 0 1; do for c in {others}; do "
              "echo $s > /sys/devices/system/cpu/cpu$c/online || exit 1; done; done; n=$((n+1)); done", 60 + rounds * 20)
    linux.run("while [ ! -s /tmp/registers.status ]; do sleep 1; done", 400)
    check(linux.run("cat /tmp/registers.status").strip() == "0", linux.run("cat /tmp/registers.log"))
    check(linux.run("nproc").strip() == str(linux.vcpus), "a vCPU is missing at the end")
    linux.run("/tests/wakeups 5 4500", 60)
    return f"{rounds} rounds"
