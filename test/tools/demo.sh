#!/bin/sh
# demo.sh JAVA FEED OPTIONS...: the server on this machine alone, with the options, and a feed that posts to FEED.
# The feed waits for this server: another one that has the port would broadcast its made-up blocks. Both end together.
java=$1 url=$2
shift 2
mkdir -p .build
log=.build/demo-server.txt
"$java" NanoStreamWs.java --host 127.0.0.1 "$@" 2>"$log" &
server=$!
tail -n +1 -f --pid=$server "$log" >&2 &
shown=$!
trap 'kill $server $feed 2>/dev/null; wait $server; exit 0' INT TERM
until grep -q 'feed takes POSTs' "$log"; do
  if ! kill -0 $server 2>/dev/null; then
    wait $shown
    echo "make demo: the server did not start, so nothing is posted" >&2
    exit 1
  fi
  sleep 0.1
done
"$java" test/tools/DemoFeed.java "$url" &
feed=$!
wait $feed # which goes on for good, unless the server cannot be reached
kill $server 2>/dev/null
wait $server
