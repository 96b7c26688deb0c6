# A Linux host mounts an ext4 file system that was made outside, writes it with fio --verify=crc32c, and checks it.
. /story/lib.sh

attach
step "e2fsck before" e2fsck -fn "$D"
must "mount" mount "$D" /mnt
step "the file from outside" grep -q "made by mkfs.ext4 -d" /mnt/hello
step "fio on the file system" fio --name=file --directory=/mnt --size=8M --rw=randwrite --bsrange=4k-64k --ioengine=libaio \
  --direct=1 --iodepth=8 --verify=crc32c --verify_fatal=1 --end_fsync=1 --output-format=terse
step "fio through the page cache" fio --name=cached --directory=/mnt --size=6M --rw=write --bs=64k --verify=crc32c \
  --verify_fatal=1 --end_fsync=1 --output-format=terse
echo "left by the guest" > /mnt/reply
step "umount" umount /mnt
step "e2fsck after" e2fsck -fn "$D"
detach
finish
