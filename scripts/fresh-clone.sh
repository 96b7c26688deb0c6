#!/usr/bin/env bash
# Does what somebody does who has just cloned the repository, with the Node of the machine, however old:
#   npm test, npm start until it is ready, Ctrl-C; then the same after an install without scripts.
# usage: scripts/fresh-clone.sh [PATTERN…]   (test files to run; default: a quick choice; "all" for everything)
# PORT=4455 scripts/fresh-clone.sh … when something else has the usual one.
# Not part of `npm test`: it installs everything anew.
set -eu -o pipefail
origin=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/nvbraid-fresh.XXXXXX")
trap 'rm -rf "$work"' EXIT
# the machine's own Node, not the one that an npm script of this clone has put in front
PATH=$(echo "$PATH" | tr : '\n' | grep -v node_modules | paste -sd :)
unset npm_execpath npm_node_execpath NODE NODE_OPTIONS

say() { echo "fresh-clone: $*"; }
fail() {
  say "FAILED: $*"
  exit 1
}

git clone -q "$origin" "$work/clone"
cd "$work/clone"
say "node $(node --version), npm $(npm --version), commit $(git rev-parse --short HEAD)"

case ${1:-} in
  all) npm test < /dev/null ;;
  '') npm test -- test/rules test/preflight packages/wire < /dev/null ;;
  *) npm test -- "$@" < /dev/null ;;
esac || fail "npm test"
say "npm test passes"

npm start ${PORT:+-- -s "$PORT"} < /dev/null > "$work/start.log" 2>&1 &
start=$!
for _ in $(seq 600); do
  grep -q 'nvme connect' "$work/start.log" && break
  kill -0 $start 2> /dev/null || break
  sleep 0.1
done
grep -q 'nvme connect' "$work/start.log" || { cat "$work/start.log"; fail "npm start prints no nvme connect line"; }
sleep 3
kill -INT $start # npm hands it on
status=0
wait $start || status=$?
tail -n 15 "$work/start.log"
[ $status -eq 0 ] || fail "npm start ended with $status after Ctrl-C"
say "npm start serves, and stops on Ctrl-C"

npx --no-install nvbraid --version || fail "npx nvbraid in the clone"

rm -rf node_modules
npm ci --ignore-scripts --no-audit --no-fund > /dev/null 2>&1
status=0
npm start < /dev/null > "$work/start.log" 2>&1 || status=$?
if node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)'; then
  say "this Node runs the sources itself: the preflight has nothing to say"
else
  [ $status -ne 0 ] && grep -q 'is too old' "$work/start.log" || { cat "$work/start.log"; fail "the preflight is silent"; }
  say "preflight: $(grep 'is too old' "$work/start.log")"
fi
say "all is well"
