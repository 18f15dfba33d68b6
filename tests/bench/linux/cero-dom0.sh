#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the place of dom0's network script: the switch's own address, one guest; its console's log at the end.
ifconfig lo 127.0.0.1 up
for port in xenbr0 eth0; do
    ifconfig $port 10.9.0.1 netmask 255.255.255.0 up 2>/dev/null && break
done
(
    exec >/dev/console 2>&1
    /bench/program serve &
    sleep 3
    before=$(/bench/program ticks)
    cero create -q /bench/guest.cfg || echo "bench failed: cero create"
    after=$(/bench/program ticks)
    while cero list bench >/dev/null 2>&1; do sleep 2; done
    echo "bench create $before"
    echo "bench created $after"
    grep '^bench' /var/log/cero/console/bench.log
    poweroff -f
) &
exit 0
