# A Linux host, whose NVMe speaks TCP only, meets ports of Multipath TCP: it reads of them in the discovery log, is refused where
# plain TCP is not taken, and is served where it is. Further arguments: a port of MPTCP, and one that takes plain TCP as well.
STRICT=$3 OPEN=$4
set -- "$1" "$2"
. /story/lib.sh

modprobe nvme-tcp
echo "# net.mptcp.enabled of the guest: $(cat /proc/sys/net/mptcp/enabled 2> /dev/null || echo 'no MPTCP')"
records() { jq -c "[.records[] | select(.subnqn == \"$SUBNQN\") | $1] | sort" /tmp/out; }

step "discovery of ports of two transports" nvme discover "${FABRIC[@]}" -o json
equal "services" "$(records .trsvcid)" "$(printf '["%s"]' "$(printf '%s\n' "$PORT" "$STRICT" "$OPEN" | sort | paste -sd, | sed 's/,/","/g')")"
jq -c '.records[] | [.trtype, .trsvcid]' /tmp/out | sed 's/^/# /'
equal "records of tcp" "$(records 'select(.trtype == "tcp") | .trsvcid')" "[\"$PORT\"]"
equal "records that this nvme-cli has no name for" "$(records 'select(.trtype | test("unrec|mptcp")) | .trsvcid' | jq length)" 2
step "discovery as text" nvme discover "${FABRIC[@]}"
equal "trtypes as text" "$(grep -c '^trtype: *tcp$' /tmp/out) $(grep -cE '^trtype: *(unrec|mptcp)' /tmp/out)" "2 2"

refused "the kernel has no transport mptcp" nvme connect "${FABRIC[@]/#tcp/mptcp}" -n "$SUBNQN"
at() { FABRIC=("${FABRIC[@]/#$PORT/$1}") PORT=$1; }
first=$PORT
at "$STRICT"
refused "plain TCP at a port of MPTCP" fabric_connect
refused "discovery by plain TCP at a port of MPTCP" nvme discover "${FABRIC[@]}"
step "no controller is left" no_controller

at "$OPEN"
step "discovery at the port that takes both" nvme discover "${FABRIC[@]}" -o json
attach
equal "transport" "$(cat "/sys/class/nvme/${C#/dev/}/transport")" tcp
at "$first"
must "a port of TCP is a second path" fabric_connect
equal "heads" "$(ls -d /sys/class/nvme-subsystem/*/nvme*n* | grep -cE 'nvme[0-9]+n[0-9]+$')" 1
echo round-robin > /sys/class/nvme-subsystem/nvme-subsys0/iopolicy
step "fio verifies over both" fio --name=v --filename="$D" --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k --size=512k \
  --verify=crc32c --do_verify=1 --verify_fatal=1 --output-format=terse
detach

finish
