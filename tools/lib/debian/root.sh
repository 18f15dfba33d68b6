#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Makes a Debian root file system and its disk image. Runs as root in a mount namespace of its own, called by debian.py,
# which sets: SUITE MIRROR KEYRING INCLUDE PACKAGES OFFLINE FILES SCRATCH OUTPUT OWNER SIZE_MIB PUBLIC_KEY PASSWORD
set -eu
mount --make-rprivate /
root=$SCRATCH/root

in_root() {
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}

bootstrap() {
    debootstrap --arch=amd64 --variant=minbase --keyring="$KEYRING" ${INCLUDE:+--include="$INCLUDE"} \
        "$SUITE" "$root" "$MIRROR"
    mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
    # This machine's ways to the distribution, for as long as packages are installed.
    : > "$root/etc/apt/sources.list"
    cp "$SCRATCH/build.sources" "$root/etc/apt/sources.list.d/build.sources"
    cp "$SCRATCH/build.conf" "$root/etc/apt/apt.conf.d/99build"
    [ ! -d "$SCRATCH/keys" ] || cp -r "$SCRATCH/keys/." "$root/"
    for name in resolv.conf hosts; do
        [ ! -e "/etc/$name" ] || cp -L "/etc/$name" "$root/etc/$name"
    done
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d" # no service starts here
    chmod 755 "$root/usr/sbin/policy-rc.d"
}

install_packages() {
    # Before the kernel comes: its ramdisk is made once, with what a guest and a QEMU machine need.
    mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/systemd/network"
    ln -s /dev/null "$root/etc/systemd/network/99-default.link" # the interface stays eth0, in the ramdisk too
    cp "$FILES/initramfs.conf" "$root/etc/initramfs-tools/conf.d/cero"
    cp "$FILES/initramfs-modules" "$root/etc/initramfs-tools/modules"
    in_root apt-get -q update
    # Packages to try apt with inside the guest, where no mirror may be in reach.
    mkdir -p "$root/opt/packages"
    # shellcheck disable=SC2086
    in_root sh -c "cd /opt/packages && apt-get -q -o APT::Sandbox::User=root download $OFFLINE"
    in_root apt-get -q -y dist-upgrade --no-install-recommends
    # Last: systemd-resolved takes /etc/resolv.conf over.
    # shellcheck disable=SC2086
    in_root apt-get -q -y -o Dpkg::Options::=--force-confold install --no-install-recommends $PACKAGES
}

configure() {
    echo debian > "$root/etc/hostname"
    printf '127.0.0.1 localhost debian\n::1 localhost ip6-localhost\n' > "$root/etc/hosts"
    echo 'LABEL=debian-root / ext4 defaults 0 1' > "$root/etc/fstab"
    echo "root:$PASSWORD" | in_root chpasswd
    mkdir -p "$root/boot/grub" "$root/root/.ssh"
    chmod 700 "$root/root/.ssh"
    cp "$PUBLIC_KEY" "$root/root/.ssh/authorized_keys"
    chmod 600 "$root/root/.ssh/authorized_keys"
    cp "$FILES/grub.cfg" "$root/boot/grub/grub.cfg"
    cp "$FILES/eth0.network" "$root/etc/systemd/network/20-wired.network"
    cp "$FILES/vcpus.rules" "$root/etc/udev/rules.d/90-vcpus.rules"
    in_root systemctl -q enable systemd-networkd systemd-resolved
    in_root systemctl -q mask systemd-networkd-wait-online.service # a disk-only guest has nothing to wait for
    in_root systemctl -q disable apt-daily.timer apt-daily-upgrade.timer
    # One key of the host suffices; a machine under emulation takes long for the others.
    rm -f "$root"/etc/ssh/ssh_host_*
    in_root ssh-keygen -q -t ed25519 -N '' -C debian -f /etc/ssh/ssh_host_ed25519_key
}

# Nothing of this machine stays inside: no mirror, proxy, name, log, list.
clean() {
    in_root apt-get clean
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/log/apt "$root"/var/log/*.log "$root"/var/cache/apt/*.bin \
        "$root"/tmp/* "$root"/var/tmp/*
    rm -f "$root/etc/apt/sources.list.d/build.sources" "$root/etc/apt/apt.conf.d/99build" "$root/usr/sbin/policy-rc.d" \
        "$root/etc/resolv.conf"
    cp "$FILES/sources.list" "$root/etc/apt/sources.list"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    : > "$root/etc/machine-id" # made at the first boot
    rm -f "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
    while mountpoint -q "$root/proc"; do umount "$root/proc"; done
    while mountpoint -q "$root/sys"; do umount "$root/sys"; done
    rm -f "$root"/etc/apt/apt.conf.d/*proxy*
}

bootstrap
install_packages
configure
clean
cp "$root"/boot/vmlinuz-* "$OUTPUT/vmlinuz"
cp "$root"/boot/initrd.img-* "$OUTPUT/initrd"
in_root dpkg-query -W -f '${Package} ${Version}\n' > "$OUTPUT/versions.txt"
rm -f "$OUTPUT/root.img"
mke2fs -q -t ext4 -b 4096 -L debian-root -d "$root" "$OUTPUT/root.img" "${SIZE_MIB}M"
chown "$OWNER" "$OUTPUT/vmlinuz" "$OUTPUT/initrd" "$OUTPUT/versions.txt" "$OUTPUT/root.img"
chmod 644 "$OUTPUT/vmlinuz" "$OUTPUT/initrd"
