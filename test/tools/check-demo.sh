#!/bin/sh
# check-demo.sh: whether `make demo` starts, and `make listen` then prints blocks; and whether it posts nothing where
# another server has the feed's port. The last line counts.
port=18080 other=18082 feed=http://127.0.0.1:13000/
out=.build/demo.txt got=.build/demo-got.txt
patience=30
. test/tools/checks.sh

serve() { # SECONDS COMMAND...: starts it, and a listener once it has said that it runs
  : >"$out" >"$got"
  # timeout passes a signal on to everything that it started.
  timeout "$@" >"$out" 2>&1 &
  server=$!
  await 'The stream is running\|feed takes POSTs' "$out"
  timeout 100 make listen URL=ws://127.0.0.1:$port/ >"$got" 2>&1 &
  listener=$!
}

end() {
  kill "$server"
  wait "$server" "$listener" 2>/dev/null
}

mkdir -p .build
serve 100 make demo PORTS="--port $port --feed $feed" FEED=$feed
await '^{"account":"nano_.*"tpm":' "$got" 3
status=$?
end
count $status "make demo starts, and make listen prints its blocks"

serve 100 make run ARGS="--host 127.0.0.1 --port $port --feed $feed"
await ' admitted ' "$out"
admitted=$?
timeout 60 make demo PORTS="--port $other --feed $feed" FEED=$feed >.build/demo-second.txt 2>&1
second=$?
end # what was posted has been sent then
[ $admitted = 0 ] && [ $second != 0 ] && [ $second != 124 ] && ! grep -q nano_ "$got"
count $? "make demo ends where another server has the feed's port, and posts nothing"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
