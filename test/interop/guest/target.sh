# A Linux kernel target for our host: one subsystem with a memory disk (namespace 1) and a file (namespace 2) on port 4420.
# Serves until a line comes in.
. /story/lib.sh

modprobe -a nvmet nvmet-tcp
must "memory disk" modprobe brd rd_nr=1 rd_size=$((64 * 1024))
truncate -s 32M /root/file
tree=/sys/kernel/config/nvmet subsystem=/sys/kernel/config/nvmet/subsystems/$SUBNQN
mkdir "$subsystem"
echo 1 > "$subsystem/attr_allow_any_host"
echo NVBRAIDINTEROP > "$subsystem/attr_serial"
backing=(none /dev/ram0 /root/file)
for nsid in 1 2; do
  mkdir "$subsystem/namespaces/$nsid"
  echo -n "${backing[nsid]}" > "$subsystem/namespaces/$nsid/device_path"
  [ $nsid = 2 ] && echo 1 > "$subsystem/namespaces/$nsid/buffered_io"
  echo 1 > "$subsystem/namespaces/$nsid/enable"
done
mkdir $tree/ports/1
echo tcp > $tree/ports/1/addr_trtype
echo ipv4 > $tree/ports/1/addr_adrfam
echo 0.0.0.0 > $tree/ports/1/addr_traddr
echo 4420 > $tree/ports/1/addr_trsvcid
must "the port listens" ln -s "$subsystem" "$tree/ports/1/subsystems/$SUBNQN"
echo READY
read -r _
dmesg | grep -i nvmet | tail -n 4 | sed 's/^/# /'
finish
