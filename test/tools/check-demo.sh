#!/bin/sh
# check-demo.sh: whether `make demo` starts, and `make listen` then prints blocks. The last line counts.
port=18080 feed=http://127.0.0.1:13000/
out=.build/demo.txt got=.build/demo-got.txt

await() { # LEAST PATTERN FILE: waits half a minute for so many lines
  for _ in $(seq 60); do
    [ "$(grep -c "$2" "$3")" -ge "$1" ] && return
    sleep 0.5
  done
  return 1
}

mkdir -p .build
: >"$out" >"$got"
# timeout passes a signal on to everything that it started.
timeout 80 make demo PORTS="--port $port --feed $feed" FEED=$feed >"$out" 2>&1 &
demo=$!
await 1 'The stream is running' "$out"
timeout 40 make listen URL=ws://127.0.0.1:$port/ >"$got" 2>&1 &
listener=$!
await 3 '^{"account":"nano_.*"tpm":' "$got"
status=$?
kill "$demo"
wait "$demo" "$listener" 2>/dev/null
if [ $status != 0 ]; then
  cat "$out" "$got"
  echo "0 passed, 1 failed"
  exit 1
fi
echo "1 passed, 0 failed"
