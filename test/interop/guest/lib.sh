# For the stories, which source it: steps that print "ok - NAME" or "not ok - NAME: why", the association under test, and
# the kernel's own opinion at the end. Arguments of a client story: PORT SUBNQN [further options of nvme connect].

PORT=${1:-4420} SUBNQN=${2:-nqn.2026-01.io.nvbraid:interop}
shift $(($# < 2 ? $# : 2))
CONNECT_OPTIONS=("$@")
HOSTID=5d3c8f0a-7a51-4d86-9a0b-6c3d1d2e4f10
FABRIC=(-t tcp -a 10.0.2.2 -s "$PORT" --hostnqn "nqn.2014-08.org.nvmexpress:uuid:$HOSTID" --hostid "$HOSTID")
failures=0
# Kernel messages that a story provokes on purpose (extended regular expression).
EXPECTED_MESSAGES='^$'

pass() { echo "ok - $1"; }
fail() {
  echo "not ok - $1${2:+: $2}"
  failures=$((failures + 1))
  return 1
}

# step NAME COMMAND…: the command succeeds. Its output is kept in /tmp/out.
step() {
  local name=$1
  shift
  if "$@" > /tmp/out 2>&1; then pass "$name"; else fail "$name" "status $?, $(tail -n 2 /tmp/out | tr '\n' ' ')"; fi
}

# refused NAME COMMAND…: the command fails, and in an orderly way.
refused() {
  local name=$1
  shift
  if "$@" > /tmp/out 2>&1; then fail "$name" "it was accepted"; else pass "$name ($(tail -n 1 /tmp/out | cut -c 1-90))"; fi
}

equal() { if [ "$2" = "$3" ]; then pass "$1: $2"; else fail "$1" "'$2' instead of '$3'"; fi; }

# soon SECONDS COMMAND…: tries until it succeeds.
soon() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

# Like step, but nothing after it makes sense when it fails.
must() { step "$@" || finish; }

finish() {
  local faults='WARNING|BUG:|Oops|Call Trace|blocked for more than|[Ii]/[Oo] [Ee]rror|EXT4-fs (error|warning)|UBSAN|timeout|unusual'
  dmesg | grep -E "nvme|block|EXT4|$faults" | grep -E "$faults" | grep -vE "$EXPECTED_MESSAGES" > /tmp/faults
  if [ -s /tmp/faults ]; then
    fail "kernel log is clean" "$(head -n 3 /tmp/faults | tr '\n' '|')"
  else
    pass "kernel log is clean"
  fi
  [ $failures -eq 0 ] || dmesg | grep -i nvme | tail -n 25 | sed 's/^/# /'
  echo "# $(uname -r), $failures failures, $(cut -d ' ' -f 1 /proc/uptime) s after boot"
  exit $((failures > 0))
}

fabric_connect() { nvme connect "${FABRIC[@]}" -n "$SUBNQN" "${CONNECT_OPTIONS[@]}" "$@"; }

# The controller of the association, e.g. nvme0.
controller() {
  local dir
  for dir in /sys/class/nvme/nvme*; do
    [ "$(cat "$dir/subsysnqn" 2> /dev/null)" = "$SUBNQN" ] && basename "$dir" && return
  done
  return 1
}

# The disk of namespace 1, e.g. nvme0n1: with native multipath its head, which hangs below the subsystem.
disk() {
  local nsid
  for nsid in /sys/class/nvme-subsystem/*/nvme*n*/nsid /sys/class/nvme/nvme*/nvme*n*/nsid; do
    [ -r "$nsid" ] && [ "$(cat "$nsid")" = 1 ] || continue
    [ -b "/dev/$(basename "$(dirname "$nsid")")" ] && basename "$(dirname "$nsid")" && return
  done
  return 1
}

is_live() { [ "$(cat "/sys/class/nvme/$(controller)/state")" = live ]; }

# Loads the host driver, connects, and sets C and D to the device files of controller and disk.
attach() {
  modprobe nvme-tcp
  must "connect" fabric_connect
  soon 30 disk || { fail "namespace 1 appears"; finish; }
  C=/dev/$(controller) D=/dev/$(disk)
  step "controller is live" soon 30 is_live
}

detach() {
  step "disconnect" nvme disconnect -n "$SUBNQN"
  step "no controller is left" soon 10 no_controller
}
no_controller() { ! controller; }

drop_caches() { echo 3 > /proc/sys/vm/drop_caches; }
