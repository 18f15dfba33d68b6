#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# What Xen's toolstack runs for a device: the disk's numbers, or the interface's place in the bridge, into XenStore.
case $XENBUS_PATH in
*/vbd/*)
    [ "$1" = add ] || exit 0
    device=$(xenstore-read "$XENBUS_PATH/params")
    xenstore-write "$XENBUS_PATH/physical-device" "$(stat -L -c '%t:%T' "$device")" \
        "$XENBUS_PATH/physical-device-path" "$device";;
*/vif/*)
    case $1 in online|add) ;; *) exit 0;; esac
    brctl addif xenbr0 "$vif" 2>/dev/null
    ifconfig "$vif" 0.0.0.0 up;;
esac
xenstore-write "$XENBUS_PATH/hotplug-status" connected
