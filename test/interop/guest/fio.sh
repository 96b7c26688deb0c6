# A Linux host writes random blocks of several sizes with fio, which verifies every one, also over a second association.
# By the environment: SIZE, DEPTH, and QUEUES, the number of queues that there must be.
. /story/lib.sh

attach
run_fio() {
  fio --name=verify --filename="$D" --direct=1 --ioengine=libaio --iodepth="${DEPTH:-16}" --size="${SIZE:-10M}" \
    --verify=crc32c --verify_fatal=1 --randseed=20261 --allrandrepeat=1 --output-format=terse "$@"
}
step "random 4 KiB writes" run_fio --rw=randwrite --bs=4k --io_size="${SMALL:-2M}"
step "random writes of 4 to 128 KiB" run_fio --rw=randwrite --bsrange=4k-128k --blockalign=4k
step "sequential writes of 1 MiB" run_fio --rw=write --bs=1M
step "several jobs at once" run_fio --rw=randrw --bs=8k --io_size=1M --size=3M --numjobs=3 --offset_increment=3M
[ -z "${QUEUES:-}" ] || equal "queues, the admin queue included" "$(cat "/sys/class/nvme/${C#/dev/}/queue_count")" "$QUEUES"
detach
attach
step "verify over a new association" run_fio --rw=write --bs=1M --offset=9M --size=1M --verify_only=1
step "writes with flushes" run_fio --rw=randwrite --bs=16k --fsync=16 --io_size=2M
detach
finish
