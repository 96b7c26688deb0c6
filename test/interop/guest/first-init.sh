#!/bin/busybox sh
# First process of the guest, in the archive that the kernel unpacks: finds the disk and goes on from it.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
while read -r name; do $b insmod "/modules/$name.ko"; done < /modules/order
if ! $b mount -t ext4 /dev/vda /new; then
  echo "first-init: no disk"
  $b poweroff -f
fi
$b cp -r /story /new/
for dir in dev proc sys; do $b mount --move /$dir /new/$dir; done
exec $b switch_root /new /bin/bash /story/init.sh
