#!/bin/sh
# cluster.sh PORT JAVA OPTIONS...: three servers behind nginx, on this machine alone, that share a Redis, and a feed
# that posts to the first. nginx listens on PORT, Redis on the next port. All end together. What they log is in
# .build/cluster.
port=$1
shift
redis_port=$((port + 1))
PATH=$PATH:/usr/sbin
for program in redis-server nginx; do
  command -v $program >/dev/null && continue
  echo "make cluster needs $program: Debian and Ubuntu have it (apt install redis-server nginx-light)" >&2
  exit 1
done
folder=$PWD/.build/cluster
rm -rf "$folder"
mkdir -p "$folder"
pids=

end() { # STATUS
  trap '' INT TERM
  kill $pids 2>/dev/null
  wait
  exit "$1"
}
trap 'end 0' INT TERM

start() { # NAME COMMAND...: in the background, its output in a file
  name=$1
  shift
  : >"$folder/$name.txt"
  "$@" >"$folder/$name.txt" 2>&1 </dev/null &
  pids="$pids $!"
}

await() { # COMMAND...: waits until the command succeeds, which asks whether the last that was started runs
  until "$@"; do
    if ! kill -0 $! 2>/dev/null; then
      tail -n 3 "$folder/$name.txt" >&2
      echo "make cluster: $name did not start. Are the ports $port and $redis_port free? PORT= says others" >&2
      end 1
    fi
    sleep 0.1
  done
}

has_said() { # TEXT
  grep -q "$1" "$folder/$name.txt"
}

start redis redis-server --bind 127.0.0.1 --port $redis_port --dir "$folder" --save '' \
  --appendonly yes --appendfsync always --maxmemory-policy noeviction
await has_said 'Ready to accept connections'
NANO_STREAM_SECRET=$(head -c 32 /dev/urandom | base64)
export NANO_STREAM_SECRET
upstream=
for i in 1 2 3; do
  start server$i "$@" --secret --host 127.0.0.1 --port 0 --feed http://127.0.0.1:0/ --proxy 127.0.0.1 \
    --redis redis://127.0.0.1:$redis_port
  await has_said 'feed takes POSTs'
  server=$(sed -n 's|.*listeners connect to ws://\(.*\)/,.*|\1|p' "$folder/server$i.txt")
  upstream="$upstream server $server;"
done
cat >"$folder/nginx.conf" <<EOF
daemon off;
pid nginx.pid;
error_log nginx-error.txt;
events { worker_connections 4096; }
http {
  access_log off; # the token stands in the query
  $(for path in client_body proxy fastcgi uwsgi scgi; do echo "${path}_temp_path $path;"; done)
  upstream stream {$upstream }
  server {
    listen 127.0.0.1:$port;
    location / {
      proxy_pass http://stream;
      proxy_http_version 1.1;
      proxy_set_header Upgrade \$http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header Host \$host;
      proxy_set_header X-Forwarded-For \$remote_addr;
      proxy_read_timeout 90s;
    }
  }
}
EOF
start nginx nginx -p "$folder" -c "$folder/nginx.conf"
await [ -s "$folder/nginx.pid" ]

feed=$(sed -n 's|.*feed takes POSTs to ||p' "$folder/server1.txt")
echo
echo "Three servers, which share Redis on port $redis_port, behind nginx on port $port. Open these pages:"
echo
for i in 1 2 3; do
  echo "page   http://127.0.0.1:$port/#$("$@" --secret --token 3600)"
done
cat <<EOF

Each link works once, at whichever server nginx picks, and all pages show the same, with the demo's blocks:
each is posted to the first server alone. So can you: curl --data-binary hello $feed
The servers' logs are in .build/cluster. Ctrl-C ends all.
EOF
others=$pids
while :; do # the feed ends where Redis is away, for instance; its id may then be another program's
  pids=$others
  start feed "$(command -v "$1")" test/tools/DemoFeed.java "$feed"
  wait $!
  sleep 1
done
