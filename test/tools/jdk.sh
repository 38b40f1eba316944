#!/bin/sh
# Prints the home of a JDK of 21 or newer: JAVA_HOME, else the java on the PATH, else the newest under /usr/lib/jvm.
version() { # of the JDK at this home, or 0
  [ -x "$1/bin/javac" ] && sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release" 2>/dev/null | grep . || echo 0
}
java=$(readlink -f "$(command -v java)")
for home in "$JAVA_HOME" "${java%/bin/java}" $(
  for home in /usr/lib/jvm/*; do echo "$(version "$home") $home"; done | sort -rn | cut -d ' ' -f 2
); do
  if [ "$(version "$home")" -ge 21 ]; then
    echo "$home"
    exit
  fi
done
