# A Linux host goes through the commands, log pages, features and structures that a file system never asks for: with
# nvme-cli, on namespace 1 (blocks of 512 bytes) of a subsystem with several namespaces.
. /story/lib.sh

attach
bs=$(blockdev --getss "$D") size=$(blockdev --getsize64 "$D")
json() { jq -r "$1" /tmp/out; }
# status_is NAME WORDS COMMAND…: the command fails, and its words name the status.
status_is() {
  local name=$1 words=$2
  shift 2
  if "$@" > /tmp/out 2>&1; then fail "$name" "it was accepted"
  elif grep -qi -- "$words" /tmp/out; then pass "$name: $words"
  else fail "$name" "'$words' is not in: $(tail -n 2 /tmp/out | tr '\n' ' ')"; fi
}

echo "# structures"
step "id-ctrl" nvme id-ctrl "$C" -o json
cp /tmp/out /tmp/id-ctrl
oncs=$(jq .oncs /tmp/id-ctrl)
for bit in "1 compare" "2 write-uncor" "4 dsm" "8 write-zeroes" "32 reservations" "64 timestamp" "128 verify" "256 copy"; do
  set -- $bit
  equal "ONCS has $2" $((oncs & $1)) "$1"
done
equal "FUSES has Compare and Write" $(($(jq .fuses /tmp/id-ctrl) & 1)) 1
equal "CTRATT has TBKAS" $(($(jq .ctratt /tmp/id-ctrl) & 64)) 64
step "id-ctrl for people" nvme id-ctrl "$C" -H
step "id-ns" nvme id-ns "$D" -o json
step "nvm-id-ctrl" nvme nvm-id-ctrl "$C"
step "nvm-id-ns" nvme nvm-id-ns "$D"
step "cmdset-ind-id-ns" nvme cmdset-ind-id-ns "$D"
step "id-iocs" nvme id-iocs "$C"
step "list-ns" nvme list-ns "$C" -o json
step "list-ns with all that are allocated" nvme list-ns "$C" --all -o json
step "list-ctrl" nvme list-ctrl "$C" -o json
equal "controllers" "$(json '.ctrl_list | length')" 1
step "controllers of the namespace" nvme list-ctrl "$C" -n 1 -o json
step "ns-descs" nvme ns-descs "$D"

echo "# log pages"
step "supported-log-pages" nvme supported-log-pages "$C"
for lid in 0 1 2 3 4 5 12 18 19 128; do
  step "log page $lid" nvme get-log "$C" --log-id=$lid --log-len=512
done
step "changed-ns-list-log" nvme changed-ns-list-log "$C"
step "fid-support-effects-log" nvme fid-support-effects-log "$C"
step "mi-cmd-support-effects-log" nvme mi-cmd-support-effects-log "$C"
step "resv-notif-log" nvme resv-notif-log "$C"
step "smart-log" nvme smart-log "$C" -o json
step "effects-log" nvme effects-log "$C" -o json
step "ana-log with groups only" nvme ana-log "$C" --groups
refused "log page at an offset beyond its end" nvme get-log "$C" --log-id=2 --log-len=512 --lpo=1048576

echo "# features"
for fid in 0x01 0x02 0x04 0x06 0x07 0x0a 0x0b 0x0e 0x0f 0x16; do
  step "get-feature $fid" nvme get-feature "$C" -f $fid
  for select in 1 2 3; do step "get-feature $fid, select $select" nvme get-feature "$C" -f $fid -s $select; done
done
for fid in 0x05 0x82 0x83 0x84; do step "get-feature $fid" nvme get-feature "$C" -f $fid -n 1; done
printf '\x00\x10\x20\x30\x40\x00\x00\x00' > /tmp/stamp
step "set the timestamp" nvme set-feature "$C" -f 0x0e --data-len=8 --data=/tmp/stamp
step "switch the write cache off" nvme set-feature "$C" -f 0x06 --value=0
step "get-feature write cache" nvme get-feature "$C" -f 0x06
grep -qE ':(0x)?0+$' /tmp/out && pass "the write cache is off" || fail "the write cache is off" "$(cat /tmp/out)"
step "write through" dd if=/dev/zero of="$D" bs=64k count=2 oflag=direct
step "switch the write cache on" nvme set-feature "$C" -f 0x06 --value=1
refused "a feature that cannot be changed" nvme set-feature "$C" -f 0x01 --value=1
step "write protect" nvme set-feature "$C" -f 0x84 -n 1 --value=1
head -c "$bs" /dev/urandom > /tmp/block
status_is "write to a protected namespace" "write protected" nvme write "$D" -s 16 -c 0 -z "$bs" -d /tmp/block
step "no write protect" nvme set-feature "$C" -f 0x84 -n 1 --value=0

echo "# compare, verify, copy"
head -c $((8 * bs)) /dev/urandom > /tmp/eight
step "write" nvme write "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/eight
step "compare with what was written" nvme compare "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/eight
head -c $((8 * bs)) /dev/zero > /tmp/zeroes
status_is "compare with something else" "compare" nvme compare "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/zeroes
step "verify" nvme verify "$D" -s 1024 -c 7
step "copy" nvme copy "$D" --sdlba=4096 --slbs=1024 --blocks=7
step "read the copy" nvme read "$D" -s 4096 -c 7 -z $((8 * bs)) -d /tmp/read
step "the copy is what was copied" cmp /tmp/eight /tmp/read
step "copy of two ranges" nvme copy "$D" --sdlba=5000 --slbs=1024,1028 --blocks=3,3
step "read the second copy" nvme read "$D" -s 5000 -c 7 -z $((8 * bs)) -d /tmp/read
step "the ranges stand one behind the other" cmp /tmp/eight /tmp/read
refused "copy from beyond the end" nvme copy "$D" --sdlba=0 --slbs=$((size / bs)) --blocks=7

echo "# blocks that cannot be read"
step "write-uncor" nvme write-uncor "$D" -s 1026 -c 1
status_is "read of a marked block" "read error" nvme read "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/read
status_is "verify of a marked block" "read error" nvme verify "$D" -s 1024 -c 7
step "a write makes them readable again" nvme write "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/eight
step "read after the write" nvme read "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/read
step "read back" cmp /tmp/eight /tmp/read
step "error-log" nvme error-log "$C" -o json
equal "the error log has entries" "$(json '[.errors[] | select(.error_count > 0)] | length > 0')" true
step "get-lba-status" nvme get-lba-status "$D" -n 1 --start-lba=0 --max-dw=64 --action=17 --range-len=0 --timeout=5000

echo "# zeroes"
step "write-zeroes" nvme write-zeroes "$D" -s 1024 -c 3
step "write-zeroes that gives space back" nvme write-zeroes "$D" -s 1028 -c 3 --deac
step "read zeroes" nvme read "$D" -s 1024 -c 7 -z $((8 * bs)) -d /tmp/read
step "they are zeroes" cmp /tmp/zeroes /tmp/read
step "dsm with two ranges" nvme dsm "$D" --slbs=1024,4096 --blocks=8,8 --ad

detach
EXPECTED_MESSAGES='I/O Cmd.*(Unrecovered Read Error|Compare Failure|Write Protected|LBA Out of Range|Invalid)|critical (medium|target) error|I/O error, dev nvme'
finish
