# SPDX-License-Identifier: BSD-2-Clause
"""The machine with 1, 2 and 4 CPUs, with 256 MiB and with 8 GiB: both demo guests run and reach the network."""
# limit: 900

from _machine import Rig, main


def body():
    for cpus, memory in ((1, 1024), (2, 256), (4, 1024), (2, 8192)):
        print(f"=== {cpus} CPUs, {memory} MiB", flush=True)
        with Rig(cpus=cpus, memory_mib=memory) as rig:
            rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= rig.names(), 90)
            rig.dom0("cero vcpu-list")
            with rig.guest("demo2"):
                rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
                rig.run("ping -c 2 10.0.2.2", 60)
                rig.run("echo text > /data/text && sync && cat /data/text")
            rig.power_off()


main(body)
