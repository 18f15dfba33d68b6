# SPDX-License-Identifier: BSD-2-Clause
"""CPU shares follow the weights within 5 %; guests answer while others burn the CPU."""
# limit: 600
# alone: it measures shares of time

import time

from _machine import CONFIG, Rig, check, main, wait_demo_guests

BURNERS = ("demo1", "demo2")


def cpu_seconds(rig):
    """Name -> seconds of CPU that a domain has used, by cero list's last column."""
    lines = rig.dom0("cero list").splitlines()[1:]
    return {line.split()[0]: float(line.split()[-1]) for line in lines if line.strip()}


def burn(rig, name):
    with rig.guest(name):
        rig.run("(while :; do :; done) &")


def check_answer(rig, name):
    started = time.monotonic()
    with rig.guest(name):
        check("I answer" in rig.run("echo I answer"), f"{name} does not answer")
    print(f"{name} answered within {time.monotonic() - started:.1f} s")


def check_share(rig, weights, seconds):
    for name, weight in zip(BURNERS, weights):
        rig.dom0(f"cero sched -d {name} -w {weight}")
    time.sleep(2)
    readings = [cpu_seconds(rig)]
    for _ in range(4):  # what goes on in between is for whom the check fails
        time.sleep(seconds / 4)
        readings.append(cpu_seconds(rig))
    used = [readings[-1][name] - readings[0][name] for name in BURNERS]
    share = used[0] / sum(used)
    wanted = weights[0] / sum(weights)
    print(f"weights {weights}: {used[0]:.1f} s and {used[1]:.1f} s, share {share:.3f}, wanted {wanted:.3f}")
    check(abs(share - wanted) <= 0.05, f"demo1's share is {share:.3f} in place of {wanted:.3f}")


def share_cpu(rig, pairs, seconds):
    """Three guests on CPU 0: one burns and the others answer; then two, by weights. demo3 is gone afterwards."""
    rig.dom0(f"sed -e 's/demo1/demo3/' -e '/^disk/d' -e '/^vif/d' {CONFIG['demo1']} > /tmp/demo3.cfg")
    rig.dom0("cero create /tmp/demo3.cfg memory=24", 60)  # so that three fit into a small machine
    for name in (*BURNERS, "demo3"):
        rig.dom0(f"cero vcpu-pin {name} all 0")  # where there are more CPUs than burners, weights would say nothing
    burn(rig, "demo1")
    for name in ("demo2", "demo3"):
        check_answer(rig, name)
    burn(rig, "demo2")
    for weights in pairs:
        check_share(rig, weights, seconds)
    check_answer(rig, "demo3")
    rig.dom0("cero destroy demo3")


def body():
    with Rig(cpus=1) as rig:
        wait_demo_guests(rig)
        share_cpu(rig, ((256, 256), (256, 512)), 20)
        rig.power_off()


if __name__ == "__main__":
    main(body)
