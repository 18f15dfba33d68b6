#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# init of the Linux dom0 on Xen: services, a RAM disk, a bridge, one guest; its console's log at the end.
/bin/busybox --install -s /bin
export PATH=/bin XENSTORED_ROOTDIR=/var/lib/xenstored
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts
for module in /modules/*.ko; do
    case $module in *brd.ko) insmod $module rd_nr=1 rd_size=32768;; *) insmod $module;; esac
done
mount -t xenfs xenfs /proc/xen
mkdir -p /var/lib/xenstored
xenstored --pid-file /var/run/xenstored.pid
n=0; until xenstore-read -s / >/dev/null 2>&1 || [ $n -ge 50 ]; do sleep 0.1; n=$((n+1)); done
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen/console
brctl addbr xenbr0
ifconfig xenbr0 10.9.0.1 netmask 255.255.255.0 up
/bench/program serve &
sleep 1
before=$(/bench/program ticks)
xl create -q /bench/guest.cfg || echo "bench failed: xl create"
after=$(/bench/program ticks)
while [ -n "$(xenstore-read /local/domain/1/domid 2>/dev/null)" ]; do sleep 2; done
echo "bench create $before"
echo "bench created $after"
grep '^bench' /var/log/xen/console/*
/bench/power-off 2>/dev/null
poweroff -f
