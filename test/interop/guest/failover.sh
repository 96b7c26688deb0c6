# A Linux host with two paths to one subsystem, while the other side changes what paths are good for, closes a port and
# takes it back, and changes the namespace; fio verifies every block all the while. Further argument: the second port.
# "ask WHAT" has the machine outside do something and waits until it is done.
SECOND=$3
set -- "$1" "$2"
. /story/lib.sh

ask() {
  local answer
  echo "@ask $*"
  read -r -t 60 answer
  [ "$answer" = done ] || fail "$*" "no answer: '$answer'"
}

modprobe nvme-tcp
options=(--keep-alive-tmo=8 --reconnect-delay=1 --ctrl-loss-tmo=600)
must "connect the first path" fabric_connect "${options[@]}"
FABRIC=("${FABRIC[@]/#$PORT/$SECOND}")
must "connect the second path" fabric_connect "${options[@]}"

# controller_on PORT, e.g. nvme0; state_on PORT; ana_on PORT
controller_on() {
  local dir
  for dir in /sys/class/nvme/nvme*; do grep -q "trsvcid=$1" "$dir/address" 2> /dev/null && basename "$dir" && return; done
  return 1
}
state_on() { [ "$(cat "/sys/class/nvme/$(controller_on "$1")/state" 2> /dev/null)" = "$2" ]; }
ana_on() { [ "$(cat "/sys/class/nvme/$(controller_on "$1")"/nvme*c*n*/ana_state 2> /dev/null | head -n 1)" = "$2" ]; }

soon 30 disk || { fail "namespace 1 appears"; finish; }
D=/dev/$(disk)
for port in "$PORT" "$SECOND"; do step "path $port is live" soon 30 state_on "$port" live; done
equal "heads" "$(ls -d /sys/class/nvme-subsystem/*/nvme*n* | grep -cE 'nvme[0-9]+n[0-9]+$')" 1
step "path $PORT is optimized" soon 10 ana_on "$PORT" optimized
step "path $SECOND is non-optimized" soon 10 ana_on "$SECOND" non-optimized
step "list-subsys" nvme list-subsys "$D" -o json
for policy in numa round-robin; do
  echo $policy > /sys/class/nvme-subsystem/nvme-subsys0/iopolicy
  step "reads under $policy" fio --name=r --filename="$D" --direct=1 --ioengine=libaio --iodepth=8 --rw=randread --bs=4k \
    --io_size=1M --size=16M --output-format=terse
done

fio --name=through --filename="$D" --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bsrange=4k-64k --blockalign=4k \
  --size=24M --time_based=1 --runtime="${RUNTIME:-100}" --rate_iops=30 --verify=crc32c --verify_backlog=64 --verify_fatal=1 \
  --output-format=terse > /tmp/fio.out 2>&1 &
fio=$!
writes() { awk '{ print $5 }' "/sys/block/${D#/dev/}/stat"; }
# going_on WHAT: writes end while that holds.
going_on() {
  local before
  before=$(writes)
  more() { [ "$(writes)" -gt "$before" ]; }
  step "writes go on: $1" soon 30 more
}
sleep 2
ask ana 1 inaccessible
step "path $PORT is inaccessible" soon 15 ana_on "$PORT" inaccessible
going_on "one path inaccessible, one non-optimized"
ask ana 2 optimized
step "path $SECOND is optimized" soon 15 ana_on "$SECOND" optimized
ask ana 1 change
step "path $PORT is in change" soon 15 ana_on "$PORT" change
going_on "one path in change"
ask ana 1 optimized
step "path $PORT is optimized again" soon 15 ana_on "$PORT" optimized
ask ana 2 persistent-loss
step "path $SECOND is lost for good" soon 15 ana_on "$SECOND" persistent-loss
going_on "one path persistently lost"
ask ana 2 non-optimized
step "path $SECOND is back" soon 15 ana_on "$SECOND" non-optimized
ask flap 1 20
step "path $PORT is optimized after flapping" soon 15 ana_on "$PORT" optimized
going_on "after flapping"

ask close 1
step "path $PORT is seen as lost" soon 40 state_on "$PORT" connecting
going_on "one port closed"
ask open 1
step "path $PORT is live again" soon 40 state_on "$PORT" live
silence() {
  nft add table ip silence
  nft add chain ip silence out '{ type filter hook output priority 0; }'
  nft add chain ip silence in '{ type filter hook input priority 0; }'
  nft add rule ip silence out ip daddr 10.0.2.2 tcp dport "$1" drop
  nft add rule ip silence in ip saddr 10.0.2.2 tcp sport "$1" drop
}
step "packets of path $PORT are dropped without a word" silence "$PORT"
step "path $PORT is seen as lost" soon 60 state_on "$PORT" connecting
going_on "one path silent"
step "packets pass again" nft delete table ip silence
step "path $PORT is live again" soon 60 state_on "$PORT" live
ask drop 2
step "path $SECOND is live again" soon 40 state_on "$SECOND" live
going_on "after dropped connections"

ask resize 48
bytes_are() { [ "$(blockdev --getsize64 "$D")" = $(($1 * 1024 * 1024)) ]; }
step "the disk has grown" soon 20 bytes_are 48
wait $fio
equal "exit status of fio" $? 0
tail -n 3 /tmp/fio.out | cut -c 1-160 | sed 's/^/# /'
ask readonly 1
is_readonly() { [ "$(blockdev --getro "$D")" = "$1" ]; }
step "the disk is read-only" soon 20 is_readonly 1
ask readonly 0
step "the disk is writable again" soon 20 is_readonly 0
ask remove
gone() { ! disk; }
step "the disk goes" soon 20 gone
ask add
step "the disk comes back" soon 20 disk
D=/dev/$(disk)
step "read from it" dd if="$D" of=/dev/null bs=64k count=4 iflag=direct
detach
EXPECTED_MESSAGES='nvme[0-9]+: .*(ctrl error|failed nvme_keep_alive|starting error recovery|Connect command failed|failed to connect socket|Failed reconnect|reading|queue .* no R2T|I/O tag .* timeout)|block nvme[0-9]+c[0-9]+n[0-9]+: no usable path|nvme[0-9]+c[0-9]+n[0-9]+: I/O Cmd.*(ANA|Asymmetric)|I/O error, dev nvme[0-9]+c'
finish
