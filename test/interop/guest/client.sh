# A Linux host goes through everything that an administrator does with a namespace: discovery, connect, identify, logs,
# a file system, single commands with their errors, controller reset, disconnect.
. /story/lib.sh

modprobe nvme-tcp
step "discovery" nvme discover "${FABRIC[@]}" -o json
equal "discovery entries of the subsystem" "$(jq "[.records[] | select(.subnqn == \"$SUBNQN\")] | length" /tmp/out)" 1
refused "connect to a subsystem that does not exist" nvme connect "${FABRIC[@]}" -n "$SUBNQN.none"
attach
size=$(blockdev --getsize64 "$D") bs=$(blockdev --getss "$D")
echo "# $D $size bytes in blocks of $bs, $(cat /sys/class/nvme/"${C#/dev/}"/queue_count) queues"

step "list" nvme list -o json
equal "disk shown by list" "$(grep -o "$D" /tmp/out | head -n 1)" "$D"
step "list-subsys" nvme list-subsys
step "id-ctrl" nvme id-ctrl "$C" -o json
cp /tmp/out /tmp/id-ctrl
equal "subnqn of id-ctrl" "$(jq -r .subnqn /tmp/id-ctrl)" "$SUBNQN"
step "id-ns" nvme id-ns "$D" -o json
equal "nsze times block size" "$(($(jq .nsze /tmp/out) * bs))" "$size"
step "ns-descs" nvme ns-descs "$D"
step "list-ns" nvme list-ns "$C"
for log in smart-log error-log effects-log ana-log fw-log; do step "$log" nvme $log "$C"; done
for fid in 0x06 0x07 0x0b 0x0f; do step "get-feature $fid" nvme get-feature "$C" -f $fid; done
for offset in 0x0 0x8 0x14 0x1c; do step "get-property $offset" nvme get-property "$C" -O $offset; done
refused "read beyond the end" nvme read "$D" -s $((size / bs)) -c 0 -z "$bs" -d /tmp/x
refused "unknown log page" nvme get-log "$C" -i 0xee -l 512
refused "unknown feature" nvme get-feature "$C" -f 0xbb

step "mkfs.ext4" mkfs.ext4 -q -F "$D"
must "mount" mount "$D" /mnt
head -c 12M /dev/urandom > /tmp/data
sum=$(sha256sum < /tmp/data)
cp /tmp/data /mnt/data
for i in $(seq 30); do head -c $((i * 1013)) /tmp/data > "/mnt/small$i"; done
step "fstrim" fstrim /mnt
step "umount" umount /mnt
drop_caches
step "e2fsck" e2fsck -fn "$D"
must "mount again" mount "$D" /mnt
equal "contents after remount" "$(sha256sum < /mnt/data)" "$sum"
different=0
for i in $(seq 30); do head -c $((i * 1013)) /tmp/data | cmp -s - "/mnt/small$i" || different=$((different + 1)); done
equal "small files that differ" $different 0
step "umount again" umount /mnt

bytes=$((8 * bs))
head -c $bytes /dev/urandom > /tmp/written
step "write command" nvme write "$D" -s 2000 -c 7 -z $bytes -d /tmp/written
step "write command with FUA" nvme write "$D" -s 2008 -c 7 -z $bytes -d /tmp/written --force-unit-access
step "flush command" nvme flush "$D"
step "read command" nvme read "$D" -s 2000 -c 7 -z $bytes -d /tmp/read
step "read back what was written" cmp /tmp/written /tmp/read
step "write-zeroes command" nvme write-zeroes "$D" -s 2000 -c 3
step "read zeroes" nvme read "$D" -s 2000 -c 3 -z $((4 * bs)) -d /tmp/read
step "zeroes are zeroes" cmp -n $((4 * bs)) /tmp/read /dev/zero
step "dsm command" nvme dsm "$D" -s 2008 -b 8 -d
step "blkdiscard" blkdiscard -f -o 0 -l 1M "$D"
refused "unknown opcode" nvme io-passthru "$D" --opcode=0xc0 --namespace-id=1

must "reset" nvme reset "$C"
step "live after reset" soon 30 is_live
step "read after reset" dd if="$D" of=/dev/null bs=64k count=16 iflag=direct
detach
EXPECTED_MESSAGES='I/O Cmd.*(LBA Out of Range|Invalid (Command )?Opcode)|I/O error, dev nvme.* op 0x0|critical .* error'
finish
