#!/bin/sh
# demo.sh JAVA FEED OPTIONS...: the server on this machine alone, with the options, and a feed that posts to FEED.
# Both end with it.
java=$1 url=$2
shift 2
"$java" NanoStreamWs.java --host 127.0.0.1 "$@" &
server=$!
"$java" test/tools/DemoFeed.java "$url" &
feed=$!
trap 'kill $server $feed 2>/dev/null; wait $server; exit 0' INT TERM
wait $feed # which goes on for good, unless the server cannot be reached
kill $server 2>/dev/null
wait $server
