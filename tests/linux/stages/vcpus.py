# SPDX-License-Identifier: BSD-2-Clause
"""vCPUs come and go while the guest computes; where they run; the time that others took is seen as stolen."""

import json

from machine import check

TITLE = "vCPU hot plug inside and by cero, pinning, steal time"
ORDER = 30
SELF = True
MOST = 4


def online(linux):
    return linux.run("nproc").strip()


def vcpus(linux):
    return [vcpu for vcpu in json.loads(linux.dom0("cero vcpu-list --json debian")) if vcpu["name"] == "debian"]


def stolen(linux):
    """Ticks of /proc/stat's first line: (stolen, all)."""
    words = [int(word) for word in linux.run("head -1 /proc/stat").split()[1:9]]
    return words[7], sum(words)


def hot_plug(linux, rounds):
    burners = "for i in 1 2 3 4; do (while [ ! -e /tmp/stop ]; do :; done) & done"
    linux.run(f"rm -f /tmp/stop; {burners}")
    for _ in range(rounds):
        for count in (1, MOST, 2, 3, linux.vcpus):
            linux.dom0(f"cero vcpu-set -i -w --timeout 120 debian {count}", 150)
            check(online(linux) == str(count), f"nproc differs from the {count} vCPUs that were set")
    linux.run("touch /tmp/stop; wait", 60)
    for _ in range(rounds):
        linux.dom0(f"cero vcpu-set -i -w --timeout 120 debian {MOST}", 150)
        for word, count in (("0", MOST - 1), ("1", MOST)):
            linux.run(f"echo {word} > /sys/devices/system/cpu/cpu2/online")
            check(online(linux) == str(count), "the CPU that was switched inside is not counted")
        check(sum(vcpu["online"] for vcpu in vcpus(linux)) == MOST, "vcpu-list differs from the guest")


def pinning(linux):
    linux.dom0("cero vcpu-pin debian all 0")
    check(all(vcpu["hard_affinity"] == "0" for vcpu in vcpus(linux)), "vcpu-list does not show the affinity")
    before = stolen(linux)
    linux.run("timeout 6 sh -c 'while :; do :; done' & timeout 6 sh -c 'while :; do :; done' & "
              "timeout 6 sh -c 'while :; do :; done'; wait", 60)
    after = stolen(linux)
    check(all(vcpu["cpu"] == 0 for vcpu in vcpus(linux)), "a vCPU ran where it must not")
    share = (after[0] - before[0]) / (after[1] - before[1])
    check(share > 0.2, f"three loops on one CPU: only {share:.0%} of the time shows up as stolen")
    top = linux.run("top -b -n 1 | sed -n 3p")
    check(" st" in top, f"top shows no stolen time: {top}")
    linux.dom0("cero vcpu-pin debian all all")
    check(all(vcpu["hard_affinity"] == "all" for vcpu in vcpus(linux)), "the affinity is not undone")
    return share


def run(linux, short):
    linux.start(f"maxvcpus={MOST}")
    check(online(linux) == str(linux.vcpus), "another number of vCPUs than configured")
    rounds = 1 if short else 20
    hot_plug(linux, rounds)
    share = pinning(linux)
    answer = linux.dom0(f"cero vcpu-set -i debian {MOST + 1}", status=2)
    check(f"1 to {MOST} are possible" in answer, f"no clear message: {answer}")
    linux.destroy()
    return f"{rounds} rounds of 1, 4, 2, 3 and back under load; pinned to one CPU: {share:.0%} stolen"
