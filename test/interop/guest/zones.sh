# A Linux host uses a zoned namespace: its own block layer, blkzone, and nvme-cli's zns commands. Namespace 1 has zones of
# ZONE_MIB MiB, of which ZONE_CAP_MIB can be written.
. /story/lib.sh

attach
zone=$((${ZONE_MIB:-4} * 1024 * 1024)) cap=$((${ZONE_CAP_MIB:-4} * 1024 * 1024))
bs=$(blockdev --getss "$D") queue=/sys/block/${D#/dev/}/queue
blocks=$((zone / bs))
equal "zoned model" "$(cat "$queue/zoned")" host-managed
equal "zone size of the block layer" "$(($(cat "$queue/chunk_sectors") * 512))" $zone
zones=$(cat "$queue/nr_zones")
echo "# $zones zones, append limit $(cat "$queue/zone_append_max_bytes") bytes, open $(cat "$queue/max_open_zones"), active $(cat "$queue/max_active_zones")"
step "zns id-ctrl" nvme zns id-ctrl "$C" -o json
step "zns id-ns" nvme zns id-ns "$D" -o json
step "zns report-zones" nvme zns report-zones "$D" -o json
cp /tmp/out /tmp/report
equal "zones of the report" "$(jq .nr_zones /tmp/report)" "$zones"
step "blkzone report" blkzone report "$D"
equal "empty zones" "$(grep -c '(em)' /tmp/out)" "$zones"

state() { blkzone report -o $(($1 * zone / 512)) -c 1 "$D" | grep -o '([a-z][a-z])' | head -n 1; }
pointer() { nvme zns report-zones "$D" -s $(($1 * blocks)) -d 1 -o json | jq ".zone_list[0].wp"; }
step "sequential writes" dd if=/dev/urandom of=/tmp/data bs=64k count=4
step "write at the write pointer" dd if=/tmp/data of="$D" bs=64k count=4 oflag=direct
equal "state of zone 0" "$(state 0)" "(oi)"
equal "write pointer of zone 0" "$(pointer 0)" $((256 * 1024 / bs))
step "read back" dd if="$D" of=/tmp/read bs=64k count=4 iflag=direct
step "what was read" cmp /tmp/data /tmp/read
refused "write elsewhere" dd if=/tmp/data of="$D" bs=64k count=1 seek=16 oflag=direct
refused "write at the write pointer of an empty zone, one block late" nvme write "$D" -s $((blocks + 1)) -c 0 -z "$bs" -d /tmp/data

head -c "$bs" /tmp/data > /tmp/block
step "zone append" nvme zns zone-append "$D" -s $blocks -z "$bs" -d /tmp/block
step "zone append again" nvme zns zone-append "$D" -s $blocks -z "$bs" -d /tmp/block
equal "write pointer of zone 1" "$(pointer 1)" $((blocks + 2))
step "read the second block" nvme read "$D" -s $((blocks + 1)) -c 0 -z "$bs" -d /tmp/second
step "it is what was appended" cmp /tmp/block /tmp/second
step "close-zone" nvme zns close-zone "$D" -s $blocks
equal "state of zone 1" "$(state 1)" "(cl)"
step "open-zone" nvme zns open-zone "$D" -s $blocks
equal "state of zone 1" "$(state 1)" "(oe)"
step "finish-zone" nvme zns finish-zone "$D" -s $blocks
equal "state of zone 1" "$(state 1)" "(fu)"
refused "append to a full zone" nvme zns zone-append "$D" -s $blocks -z "$bs" -d /tmp/block
step "reset-zone" nvme zns reset-zone "$D" -s $blocks
equal "state of zone 1" "$(state 1)" "(em)"
step "fio fills zones and verifies" fio --name=z --filename="$D" --zonemode=zbd --direct=1 --ioengine=libaio --iodepth=4 \
  --rw=write --bs=64k --size=$((2 * zone)) --offset=$((2 * zone)) --verify=crc32c --verify_fatal=1 --output-format=terse
equal "state of zone 2" "$(state 2)" "(fu)"
step "blkzone reset of all" blkzone reset "$D"
equal "state of zone 2 after the reset" "$(state 2)" "(em)"
[ "$cap" = "$zone" ] || equal "capacity" "$(jq ".zone_list[0].cap" /tmp/report)" $((cap / bs))
detach
EXPECTED_MESSAGES='I/O Cmd.*(Zone|Invalid)|critical (target|zone) error|I/O error, dev nvme|zone .*error'
finish
