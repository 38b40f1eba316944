#!/bin/sh
# newcomer.sh: does what the README has a newcomer do first, and checks what can be seen. The last line counts.
port=18081 feed=http://127.0.0.1:13001/
out=.build/newcomer.txt got=.build/newcomer-got.txt
patience=60
. test/tools/checks.sh

mkdir -p .build
: >"$out" >"$got"
# timeout passes a signal on to everything that it started.
timeout 100 env -i HOME="$HOME" PATH="$PATH" ${JAVA_HOME:+JAVA_HOME="$JAVA_HOME"} \
  make run ARGS="--secret --port $port --feed $feed" >"$out" 2>&1 &
server=$!
check "make run prints a link" await "^page   http://localhost:$port/#." "$out"
token=$(sed -n "s|^page   http://localhost:$port/#||p" "$out")
timeout 60 make listen URL="ws://127.0.0.1:$port/?t=$token" >"$got" 2>&1 &
listener=$!
check "a listener is admitted with the link's token" await " admitted " "$out"
check "curl posts a message" curl -sSf -o .build/newcomer-answer.txt --data-binary hello "$feed"
check "the message is there" await '^hello$' "$got"
kill "$server"
wait "$server" "$listener" 2>/dev/null
check "the listener is told that the server ends" await '^closed with 1001' "$got"
[ "$failed" = 0 ] || cat "$out" "$got"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
