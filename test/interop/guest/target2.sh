# A Linux kernel target of two ports for our host: one subsystem with a memory disk (namespace 1) on ports 4420 and 4421. The
# machine outside says on standard input what is to happen, a line each that begins with a number, which "done" or
# "failed" repeats:
#   unlink PORTID, link PORTID: takes the subsystem off the port, puts it back
#   ana PORTID STATE: state of group 1 on the port
#   stop
. /story/lib.sh

modprobe -a nvmet nvmet-tcp
must "memory disk" modprobe brd rd_nr=1 rd_size=$((32 * 1024))
tree=/sys/kernel/config/nvmet subsystem=/sys/kernel/config/nvmet/subsystems/$SUBNQN
mkdir "$subsystem"
echo 1 > "$subsystem/attr_allow_any_host"
echo NVBRAIDINTEROP > "$subsystem/attr_serial"
mkdir "$subsystem/namespaces/1"
echo -n /dev/ram0 > "$subsystem/namespaces/1/device_path"
echo 1 > "$subsystem/namespaces/1/enable"
for portid in 1 2; do
  port=$tree/ports/$portid
  mkdir $port
  echo tcp > $port/addr_trtype
  echo ipv4 > $port/addr_adrfam
  echo 0.0.0.0 > $port/addr_traddr
  echo $((4419 + portid)) > $port/addr_trsvcid
  must "port $portid listens" ln -s "$subsystem" "$port/subsystems/$SUBNQN"
done
set_ana() { echo "$2" > "$tree/ports/$1/ana_groups/1/ana_state"; }
echo READY
while read -r number what portid state; do
  case $what in
    unlink) step "unlink $portid" rm "$tree/ports/$portid/subsystems/$SUBNQN" ;;
    # The port may still be closing.
    link) step "link $portid" soon 20 ln -s "$subsystem" "$tree/ports/$portid/subsystems/$SUBNQN" ;;
    ana) step "ana $portid $state" set_ana "$portid" "$state" ;;
    *) break ;;
  esac && echo "done $number" || echo "failed $number"
done
dmesg | grep -i nvmet | tail -n 6 | sed 's/^/# /'
finish
