# checks.sh: what the scripts share that check something and count it. A script reads it by `.`, after it has said where
# its programs write to (out, got), and for how many seconds it waits (patience).
passed=0 failed=0

await() { # PATTERN FILE [LEAST]: waits for so many lines, for one if nothing is said
  for _ in $(seq $((2 * patience))); do
    [ "$(grep -c "$1" "$2")" -ge "${3:-1}" ] && return
    sleep 0.5
  done
  return 1
}

count() { # STATUS WHAT
  if [ "$1" = 0 ]; then
    passed=$((passed + 1))
    echo "ok     $2"
  else
    failed=$((failed + 1))
    echo "FAILED $2"
    tail -n 20 "$out" "$got"
  fi
}

check() { # WHAT COMMAND...
  what=$1
  shift
  "$@"
  count $? "$what"
}
