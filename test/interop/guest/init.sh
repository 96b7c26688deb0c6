# Second process of the guest, on its disk: makes the usual places, the network, and runs one story on the second
# serial port. /story/environment holds its variables, /story/command its command line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C TERM=dumb
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /dev/shm /root && mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
modprobe -a virtio_net configfs
mount -t configfs configfs /sys/kernel/config
ip link set lo up
ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0 && ip route add default via 10.0.2.2
stty -F /dev/ttyS1 raw -echo
cd /root
set -a
. /story/environment
set +a
(
  sleep "$GUEST_SECONDS"
  echo o > /proc/sysrq-trigger
) &
setsid bash /story/command < /dev/ttyS1 > /dev/ttyS1 2>&1
status=$?
sync
echo "@exit $status" > /dev/ttyS1
stty -F /dev/ttyS1 sane # waits until everything is written
echo o > /proc/sysrq-trigger
sleep 60
