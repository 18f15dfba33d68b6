# SPDX-License-Identifier: BSD-2-Clause
"""Debian's netfront on our network back end: queues, offloads, streams with dom0, guests and the outside, MTU, hot plug."""
# limit: 500

import functools
import hashlib
import http.server
import os
import re
import threading
import urllib.request
from pathlib import Path

from _linux import make_guest_disk
from _linux_steps import check_log, mount_guest_disk, wait_guest
from _machine import Rig, check, free_port, main
from qemu import Disk

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mkdir /tmp; mount -t tmpfs tmp /tmp
dmesg -n 1
for word in $(cat /proc/cmdline); do case $word in net=*) address=${word#net=};; queues=*) queues=${word#queues=};; esac; done
insmod /xen-netfront.ko max_queues=$queues
ifconfig lo 127.0.0.1 up
n=0; while [ ! -e /sys/class/net/eth0 -a $n -lt 30 ]; do sleep 1; n=$((n+1)); done
ifconfig eth0 $address netmask 255.255.255.0 up
route add default gw 10.0.2.2
mkdir /tmp/www; dd if=/dev/urandom of=/tmp/www/file bs=1M count=8 2>/dev/null
httpd -h /tmp/www
echo linux guest is up
exec setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'
"""
# Fetches $1; prints its checksum and the mean length of the packets received meanwhile.
FETCH = """#!/bin/sh
at() { cat /sys/class/net/eth0/statistics/$1; }
packets=$(at rx_packets); bytes=$(at rx_bytes)
wget -q -O /tmp/got $1 || exit 1
echo $(md5sum < /tmp/got | cut -c 1-32) $((($(at rx_bytes) - bytes) / ($(at rx_packets) - packets)))
rm /tmp/got
"""
CONFIG = """name = "{name}"
kernel = "/mnt/vmlinuz"
ramdisk = "/mnt/initrd"
extra = "console=hvc0 net={address} queues={queues}"
memory = 192
vcpus = {vcpus}
vif = [ "mac={mac},bridge=xenbr0" ]
"""
FIRST, SECOND = "10.0.2.30", "10.0.2.31"
SEGMENTS = 4000  # bytes per packet on average: only with segmentation offload


def write_configs(rig):
    for name, address, queues, vcpus, mac in (("first", FIRST, 8, 4, "00:16:3e:00:00:09"),
                                              ("second", SECOND, 1, 1, "00:16:3e:00:00:0a")):
        text = CONFIG.format(name=name, address=address, queues=queues, vcpus=vcpus, mac=mac)
        rig.dom0(f"cat > /tmp/{name}.cfg <<'END'\n{text}END\ntrue")


def fetch(rig, url, wanted, what, segments=True):
    """The prompt is a guest's: fetches and compares."""
    total, mean = rig.run(f"/fetch {url}", 120).split()
    check(total == wanted, f"{what}: other bytes arrived than were sent")
    print(f"{what}: {mean} bytes per packet")
    check(not segments or int(mean) > SEGMENTS, f"{what}: {mean} bytes per packet, so segmentation offload is not in use")


def fetch_plain(rig, url, wanted, what):
    """As above, in dom0 or a guest of our own kernel."""
    got = rig.run(f"wget -q -O /tmp/got {url} && md5sum /tmp/got && rm /tmp/got", 120).split()[0]
    check(got == wanted, f"{what}: other bytes arrived than were sent")


def check_negotiation(rig):
    domain = rig.dom0("cero list first | tail -n 1").split()[1]
    front = f"/local/domain/{domain}/device/vif/0"
    check(rig.dom0(f"cero store read {front}/multi-queue-num-queues").strip() == "4", "not four queues")
    check("event-channel-tx" in rig.dom0(f"cero store ls {front}/queue-3"), "the last queue has not an event channel per ring")
    domain = rig.dom0("cero list second | tail -n 1").split()[1]
    check("queue-0" not in rig.dom0(f"cero store ls /local/domain/{domain}/device/vif/0"), "the second guest has not one queue")
    with rig.guest("first"):
        check(rig.run("ls -d /sys/class/net/eth0/queues/tx-* | wc -l").strip() == "4", "Linux has not four queues")


def check_streams(rig, own, files):
    """Each pair in both directions; `own`: address of a guest of our kernel, `files`: checksums by place."""
    fetch_plain(rig, f"http://{FIRST}/file", files["first"], "Linux to dom0")
    with rig.guest("first"):
        dom0 = files["dom0 address"]
        fetch(rig, f"http://{dom0}:8080/file", files["dom0"], "dom0 to Linux")
        fetch(rig, f"http://{SECOND}/file", files["second"], "Linux to Linux")
        fetch(rig, f"http://{own}:8080/file", files["own"], "our kernel to Linux")
        fetch(rig, f"http://10.0.2.2:{files['port']}/file", files["outside"], "the outside to Linux", segments=False)
        rig.run(f"ping -c 2 -s 8000 {SECOND}", 30)
        rig.run(f"ping -c 2 -s 8000 {dom0}", 30)
    with rig.guest("second"):
        fetch(rig, f"http://{FIRST}/file", files["first"], "Linux to Linux, other direction")
    with rig.guest("demo1"):
        fetch_plain(rig, f"http://{FIRST}/file", files["first"], "Linux to our kernel")


def check_parallel(rig, files):
    """Many flows at once, both directions: no byte lost, and more than one queue at work."""
    with rig.guest("first"):
        got = rig.run(f"for i in 1 2 3 4 5 6 7 8; do wget -q -O - http://{SECOND}/file | md5sum & done; wait", 180)
        check(got.count(files["second"]) == 8, "parallel streams: other bytes arrived than were sent")
        lines = [line for line in rig.run("cat /proc/interrupts").splitlines() if re.search(r"-q\d-rx", line)]
        busy = [line for line in lines if sum(int(word) for word in line.split()[1:5]) > 50]
        check(len(lines) == 4 and len(busy) >= 2, f"the flows are not spread over the queues: {lines}")


def check_version_6(rig, files):
    """Segments and checksums of IPv6, which our own kernel does not speak: from Linux to Linux."""
    for name, address in (("first", "fd00::30"), ("second", "fd00::31")):
        with rig.guest(name):
            rig.run(f"ip -6 address add {address}/64 dev eth0; httpd -p '[::]:81' -h /tmp/www")
    with rig.guest("first"):
        rig.run("n=0; until ping6 -c 1 -W 1 fd00::31 >/dev/null; do n=$((n+1)); test $n -lt 20 || break; done; ping6 -c 2 -s 4000 fd00::31", 60)
        fetch(rig, "'http://[fd00::31]:81/file'", files["second"], "Linux to Linux, IPv6")


def check_outside(rig, files, port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/file", timeout=120) as response:
        check(hashlib.md5(response.read()).hexdigest() == files["first"], "Linux to the outside: other bytes arrived than were sent")


def check_mtu(rig, files):
    with rig.guest("first"):
        rig.run("ip link set eth0 mtu 1280")
        fetch(rig, f"http://{SECOND}/file", files["second"], "with an MTU of 1280")
        rig.run("ip link set eth0 mtu 1500")


def check_hot_plug(rig):
    for last in ("11", "12", "11"):
        mac = f"00:16:3e:00:00:{last}"
        rig.dom0(f"cero network-attach first mac={mac} bridge=xenbr0", 60)
        with rig.guest("first"):
            rig.run("n=0; while [ ! -e /sys/class/net/eth1 -a $n -lt 20 ]; do sleep 1; n=$((n+1)); done; test -e /sys/class/net/eth1", 40)
            check(rig.run("cat /sys/class/net/eth1/address").strip() == mac, "eth1 has another address than asked for")
            rig.run(f"ifconfig eth1 10.0.2.{int(last) + 50} netmask 255.255.255.0 up; ping -c 2 -I eth1 {SECOND}", 30)
        rig.dom0(f"cero network-detach first {mac}", 60)
        with rig.guest("first"):
            rig.run("n=0; while [ -e /sys/class/net/eth1 -a $n -lt 20 ]; do sleep 1; n=$((n+1)); done; test ! -e /sys/class/net/eth1", 40)


def serve_outside(directory):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def prepare_files(rig):
    """A file of 8 MiB in each place; the checksums."""
    content = os.urandom(8 << 20)
    outside = Path(rig.scratch) / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(content)
    files = {"outside": hashlib.md5(content).hexdigest(), "port": serve_outside(outside)}
    make = "mkdir -p /tmp/www && dd if=/dev/urandom of=/tmp/www/file bs=64k count=128 && httpd -p 8080 -h /tmp/www"
    rig.dom0(make, 60)
    files["dom0"] = rig.dom0("md5sum /tmp/www/file").split()[0]
    files["dom0 address"] = re.search(r"10\.0\.2\.\d+", rig.dom0("ifconfig xenbr0")).group()
    for name in ("first", "second"):
        with rig.guest(name):
            files[name] = rig.run("md5sum /tmp/www/file", 60).split()[0]
    with rig.guest("demo1"):
        rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
        own = re.search(r"10\.0\.2\.\d+", rig.run("ifconfig eth0")).group()
        rig.run(make, 60)
        files["own"] = rig.run("md5sum /tmp/www/file").split()[0]
    return own, files


def body():
    port = free_port()
    rig = Rig(cpus=2, memory_mib=1280, forwards=[f"tcp:127.0.0.1:{port}-{FIRST}:80"])
    rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, (("fetch", FETCH, 0o755),))))
    with rig:
        mount_guest_disk(rig, ["demo2"])
        write_configs(rig)
        for name in ("first", "second"):
            rig.dom0(f"cero create /tmp/{name}.cfg", 180)
        for name in ("first", "second"):
            wait_guest(rig, name)
        check_negotiation(rig)
        own, files = prepare_files(rig)
        check_streams(rig, own, files)
        check_version_6(rig, files)
        check_outside(rig, files, port)
        check_parallel(rig, files)
        check_mtu(rig, files)
        check_hot_plug(rig)
        for name in ("first", "second"):
            with rig.guest(name):
                check_log(rig, "eth[01].*(bad|error|exceed|disabled)")
            rig.dom0(f"cero destroy {name}")
        rig.dom0("cero check")
        rig.power_off()


main(body)
