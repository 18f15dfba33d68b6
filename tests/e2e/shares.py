# SPDX-License-Identifier: BSD-2-Clause
"""CPU shares follow the weights within 5 %; guests answer while others burn the CPU."""
# limit: 600
# alone: it measures shares of time

import time

from _machine import Rig, check, main


def cpu_seconds(rig):
    """Name -> seconds of CPU that a domain has used, by cero list's last column."""
    lines = rig.dom0("cero list").splitlines()[1:]
    return {line.split()[0]: float(line.split()[-1]) for line in lines if line.strip()}


def body():
    with Rig(cpus=1) as rig:
        rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= rig.names(), 60)
        config = rig.dom0("ls /etc/cero/*/demo1.cfg /etc/cero/demo1.cfg 2>/dev/null | head -n 1").strip()
        rig.dom0(f"sed -e 's/demo1/demo3/' -e '/^disk/d' -e '/^vif/d' {config} > /tmp/demo3.cfg")
        rig.dom0("cero create /tmp/demo3.cfg", 60)
        for name in ("demo1", "demo2"):
            with rig.guest(name):
                rig.run("(while :; do :; done) &")
        for weights in ((256, 256), (256, 512)):
            for name, weight in zip(("demo1", "demo2"), weights):
                rig.dom0(f"cero sched -d {name} -w {weight}")
            time.sleep(2)
            before = cpu_seconds(rig)
            time.sleep(20)
            after = cpu_seconds(rig)
            used = [after[name] - before[name] for name in ("demo1", "demo2")]
            share = used[0] / sum(used)
            wanted = weights[0] / sum(weights)
            print(f"weights {weights}: {used[0]:.1f} s and {used[1]:.1f} s, share {share:.3f}, wanted {wanted:.3f}")
            check(abs(share - wanted) <= 0.05, f"demo1's share is {share:.3f} in place of {wanted:.3f}")
        started = time.monotonic()
        with rig.guest("demo3"):
            rig.run("echo I answer")
        print(f"demo3 answered within {time.monotonic() - started:.1f} s")
        rig.power_off()


main(body)
