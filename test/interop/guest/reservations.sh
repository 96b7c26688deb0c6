# Two hosts of one namespace, A and B, without native multipath so that each has a disk of its own: reservations.
. /story/lib.sh

modprobe nvme-core multipath=N
modprobe nvme-tcp
other=7e1f0d4c-1111-4222-8333-9a9a9a9a9a9a
A=(-t tcp -a 10.0.2.2 -s "$PORT" -n "$SUBNQN" --hostnqn "nqn.2014-08.org.nvmexpress:uuid:$HOSTID" --hostid "$HOSTID")
B=(-t tcp -a 10.0.2.2 -s "$PORT" -n "$SUBNQN" --hostnqn "nqn.2014-08.org.nvmexpress:uuid:$other" --hostid "$other")
must "host A connects" nvme connect "${A[@]}"
soon 20 test -b /dev/nvme0n1 || { fail "the disk of A appears"; finish; }
must "host B connects" nvme connect "${B[@]}"
soon 20 test -b /dev/nvme1n1 || { fail "the disk of B appears"; finish; }
a=/dev/nvme0n1 b=/dev/nvme1n1
bs=$(blockdev --getss $a)
head -c "$bs" /dev/urandom > /tmp/block
writes() { nvme write "$1" -s "${2:-8}" -c 0 -z "$bs" -d /tmp/block; }
reads() { nvme read "$1" -s "${2:-8}" -c 0 -z "$bs" -d /tmp/read; }
conflict() {
  local name=$1
  shift
  if "$@" > /tmp/out 2>&1; then fail "$name" "it was accepted"
  elif grep -qi conflict /tmp/out; then pass "$name: conflict"
  else fail "$name" "$(tail -n 1 /tmp/out)"; fi
}
report() { nvme resv-report "$1" --eds -o json > /tmp/report; }

step "id-ns" nvme id-ns $a -o json
[ "$(jq .rescap /tmp/out)" -gt 0 ] && pass "RESCAP tells of reservations" || fail "RESCAP tells of reservations"
step "A registers" nvme resv-register $a --nrkey=0xa1 --rrega=0
step "B registers" nvme resv-register $b --nrkey=0xb2 --rrega=0
step "report" report $a
equal "registrants" "$(jq .regctl /tmp/report)" 2
equal "reservation type" "$(jq .rtype /tmp/report)" 0

step "A acquires Write Exclusive" nvme resv-acquire $a --crkey=0xa1 --rtype=1 --racqa=0
step "A writes" writes $a
conflict "B writes" writes $b
step "B reads" reads $b
conflict "B acquires" nvme resv-acquire $b --crkey=0xb2 --rtype=1 --racqa=0
step "report again" report $b
equal "reservation type" "$(jq .rtype /tmp/report)" 1
step "A releases" nvme resv-release $a --crkey=0xa1 --rtype=1 --rrela=0
step "B writes" writes $b

step "A acquires Exclusive Access" nvme resv-acquire $a --crkey=0xa1 --rtype=2 --racqa=0
conflict "B reads" reads $b
step "B preempts A" nvme resv-acquire $b --crkey=0xb2 --prkey=0xa1 --rtype=2 --racqa=1
step "B writes" writes $b
conflict "A writes" writes $a
step "notification of A" nvme resv-notif-log /dev/nvme0 -o json
step "report after the preemption" report $b
equal "registrants" "$(jq .regctl /tmp/report)" 1
conflict "A releases what it has no more" nvme resv-release $a --crkey=0xa1 --rtype=2 --rrela=0
step "B clears" nvme resv-release $b --crkey=0xb2 --rtype=0 --rrela=1
step "A writes" writes $a
step "report of nobody" report $a
equal "registrants" "$(jq .regctl /tmp/report)" 0

step "A registers for power loss" nvme resv-register $a --nrkey=0xa3 --rrega=0 --cptpl=3
step "A acquires for all registrants" nvme resv-acquire $a --crkey=0xa3 --rtype=6 --racqa=0
conflict "B reads" reads $b
step "B joins" nvme resv-register $b --nrkey=0xb4 --rrega=0
step "B writes" writes $b
step "A leaves" nvme resv-register $a --crkey=0xa3 --rrega=1
step "report of the last one" report $b
equal "registrants" "$(jq .regctl /tmp/report)" 1
equal "reservation type" "$(jq .rtype /tmp/report)" 6
equal "persist through power loss" "$(jq .ptpls /tmp/report)" 1
step "B clears" nvme resv-release $b --crkey=0xb4 --rtype=6 --rrela=1
step "disconnect" nvme disconnect -n "$SUBNQN"
EXPECTED_MESSAGES='I/O Cmd.*(Reservation Conflict|Invalid)|reservation conflict error|critical (nexus|target) error|I/O error, dev nvme|multipath=N|Please enable multipath|duplicate|multiple controllers|found shared namespace'
finish
