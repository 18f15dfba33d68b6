# SPDX-License-Identifier: BSD-2-Clause
"""The first process of a Linux guest with a disk and a network: brings both up, then a shell on the console."""

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
insmod /xen-blkfront.ko; insmod /xen-netfront.ko
n=0; while [ ! -b /dev/xvda -a $n -lt 30 ]; do sleep 1; n=$((n+1)); done
ip link set eth0 up
udhcpc -i eth0 -n -q -s /udhcpc.sh
echo linux guest is up
exec setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'
"""
DHCP = """#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet
route add default gw $router
"""
FILES = (("udhcpc.sh", DHCP, 0o755),
         ("sbin/poweroff", "#!/bin/sh\nexec poweroff -f\n", 0o755))  # what the kernel runs on a request
