#!/bin/sh
# check-bare.sh JDK JUNIT FOLDER: whether the one file runs on a fresh Debian 13, and whether the tests pass there. Makes
# that Debian in the folder, with the JDK of Debian and nothing else, or takes the one that it made there before.
# The last line counts.
if [ "$NAMESPACE" != own ]; then
  missing=
  for program in debootstrap unshare mount chroot; do
    command -v $program >/dev/null || missing="$missing $program (apt install debootstrap mount util-linux);"
  done
  if [ "$(id -u)" != 0 ]; then
    missing="$missing root (sudo make check-bare);"
  elif [ -z "$missing" ] && ! unshare --mount --pid --fork true 2>/dev/null; then
    missing=" a machine where root may mount, as in most containers it may not;"
  fi
  if [ -n "$missing" ]; then
    echo "make check-bare needs${missing%;}" >&2
    exit 1
  fi
  # What is mounted and what is started in namespaces of their own goes with the last of this, however it ends.
  NAMESPACE=own exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
  exit 1
fi
jdk=$1 junit=$2 bare=$3
out=.build/bare.txt got=.build/bare-got.txt
patience=30
. test/tools/checks.sh

trap 'exit 1' HUP INT TERM

fail() {
  [ ! -e "$out" ] || tail -n 20 "$out"
  echo "check-bare.sh: $1" >&2
  exit 1
}

make_debian() {
  if [ -e "$bare" ] && [ ! -e "$bare/.begun" ] && [ -n "$(ls -A "$bare")" ]; then
    fail "$bare is there already, and this has not made it"
  fi
  rm -rf --one-file-system "$bare"
  mkdir -p "$bare"
  touch "$bare/.begun"
  echo "making a Debian 13 in $bare"
  debootstrap --variant=minbase trixie "$bare" http://deb.debian.org/debian >"$out" 2>&1 </dev/null ||
    fail "debootstrap failed; it needs the network, and a file system with devices"
}

bare() { # COMMAND...: runs it in there, as a user who may do nothing, and replaces this shell
  exec chroot --userspec=nobody:nogroup "$bare" env -i PATH=/usr/bin:/bin HOME=/tmp LC_ALL=C.UTF-8 "$@"
}

mkdir -p .build
rm -f "$out" "$got"
[ -e "$bare/.complete" ] || make_debian
mount -t proc proc "$bare/proc" || fail "mount failed"
if [ ! -e "$bare/.complete" ]; then
  echo "installing default-jdk-headless in it"
  chroot "$bare" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends default-jdk-headless \
    >"$out" 2>&1 </dev/null || fail "apt-get failed; it needs the network"
  touch "$bare/.complete"
fi
chroot "$bare" java -version 2>&1 | head -n 1

place=/opt/nano-stream-ws
mkdir -p "$bare$place"
cp NanoStreamWs.java "$bare$place"
: >"$out" >"$got"
token=$(bare java $place/NanoStreamWs.java --secret my_secret --token 60)
(bare java $place/NanoStreamWs.java --secret my_secret --host 127.0.0.1 --port 0 --feed http://127.0.0.1:0/) \
  >"$out" 2>&1 &
server=$!
check "the file alone starts" await 'start feed takes POSTs' "$out"
check "its user is not root" [ "$(stat -c %U /proc/$server)" = nobody ]
port=$(sed -n 's|.* listeners connect to ws://.*:\([0-9]*\)/.*|\1|p' "$out")
feed=$(sed -n 's|.* feed takes POSTs to http://.*:\([0-9]*\)/$|\1|p' "$out")
timeout 60 "$jdk/bin/java" test/tools/Listen.java "ws://127.0.0.1:$port/?t=$token" >"$got" 2>&1 &
listener=$!
check "a listener from outside is admitted with a token that was made in there" await ' admitted ' "$out"
# A minimal Debian has no curl, but bash is in every one.
posted=$(bare bash -c "exec 3<>/dev/tcp/127.0.0.1/$feed
  printf 'POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello' >&3
  head -n 1 <&3")
check "a message is taken" [ "$(echo "$posted" | tr -d '\r')" = "HTTP/1.1 200 OK" ]
check "the listener gets it" await '^hello$' "$got"
kill $server
wait $server
check "a signal ends the server with 0" [ $? = 0 ]
wait $listener
check "the listener is told that the server ends" grep -q '^closed with 1001' "$got"

from_a_jar() { # the commands of the README
  (bare bash -ec "rm -rf /tmp/once; mkdir /tmp/once; cd /tmp/once; cp $place/NanoStreamWs.java .
    javac -d classes NanoStreamWs.java
    jar --create --file nano-stream-ws.jar --main-class NanoStreamWs -C classes .
    java -jar nano-stream-ws.jar --version") >"$out" 2>&1
}
check "it can be compiled once" from_a_jar

tree=/srv/nano-stream-ws
rm -rf "$bare$tree"
mkdir -p "$bare$tree/.build"
cp -R NanoStreamWs.java README.md Makefile test .ci "$bare$tree"
cp "$junit" "$bare$tree/.build"
chown -R nobody:nogroup "$bare$tree"
compiles() {
  (bare bash -c "cd $tree && javac --release 21 -encoding UTF-8 -Xlint:all -Werror -d .build/classes -cp $junit \
    NanoStreamWs.java test/*.java test/*/*.java") >"$out" 2>&1
}
check "its JDK compiles file and tests without a warning" compiles
(bare bash -c "cd $tree && timeout 540 test/tools/run.sh java $junit") >"$got" 2>&1
tests=$?
count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$got" | tail -n 1)
[ "$tests" = 0 ] || cat "$got"
echo "the tests in there: ${count:-none ran}"
set -- ${count:-0 passed, 1 failed}
passed=$((passed + $1)) failed=$((failed + $3))
[ "$tests" = 0 ] || [ "$3" != 0 ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
