#!/bin/sh
# check-cluster.sh: whether `make cluster` prints links that work once, listeners of different servers get the same
# blocks, and all that it started ends with it. The last line counts.
port=18083
out=.build/cluster.txt got=.build/cluster-got.txt other=.build/cluster-other.txt
patience=30
. test/tools/checks.sh

mkdir -p .build
: >"$out" >"$got" >"$other"
# timeout passes a signal on to everything that it started.
timeout 80 make cluster PORT=$port >"$out" 2>&1 &
cluster=$!
check "make cluster prints links" await "^page   http://127.0.0.1:$port/#." "$out" 3
await '^The servers' "$out"
link() { # NUMBER: what `make listen` wants
  sed -n 's|^page   http\(.*\)/#|ws\1/?t=|p' "$out" | sed -n "$1p"
}
timeout 60 make listen URL="$(link 1)" >"$got" 2>&1 &
listener=$!
check "make listen prints the demo's blocks" await '^{"account":"nano_.*"tpm":' "$got" 3
timeout 60 make listen URL="$(link 2)" >"$other" 2>&1 &
second=$!
await '^{"account":"nano_.*"tpm":' "$other"
same() {
  block=$(grep -m 1 '^{"account"' "$other")
  for _ in $(seq 20); do
    [ -n "$block" ] && grep -qxF "$block" "$got" && return
    sleep 0.5
  done
  return 1
}
check "a listener of another server gets the same" same
spread() {
  [ "$(grep -l ' admitted ' .build/cluster/server?.txt | wc -l)" = 2 ]
}
check "they are at two servers" spread
timeout 20 make listen URL="$(link 1)" >.build/cluster-again.txt 2>&1
check "a link works once" grep -q 'the server answered 401' .build/cluster-again.txt
kill "$cluster"
wait "$cluster" "$listener" "$second" 2>/dev/null
redis=$(sed -n 's/.*pid=\([0-9]*\), just started.*/\1/p' .build/cluster/redis.txt)
gone() {
  for _ in $(seq 20); do
    kill -0 "$redis" 2>/dev/null || return 0
    sleep 0.5
  done
  return 1
}
check "its Redis ends with it" gone
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
