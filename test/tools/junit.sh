#!/bin/sh
# junit.sh JDK JAR SHA256: has Maven fetch JUnit's console launcher, JAR in the folder it names, and checks what came.
jdk=$1 jar=$2 sum=$3
if ! command -v mvn >/dev/null; then
  echo "no mvn was found, which fetches JUnit for the tests:" \
    "Debian 12, Debian 13 and Ubuntu have it (apt install maven)" >&2
  exit 1
fi
command -v java >/dev/null || export JAVA_HOME="$jdk" # where mvn has none of its own
version=${jar##*-}
mkdir -p "${jar%/*}"
# What Maven says is told if it fails; even if it is quiet, it may print signs that only a terminal understands.
if ! said=$(mvn -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -DoutputDirectory="${jar%/*}" \
  -Dartifact=org.junit.platform:junit-platform-console-standalone:"${version%.jar}" 2>&1); then
  echo "$said" >&2
  exit 1
fi
if ! echo "$sum  $jar" | sha256sum -c --quiet; then
  rm -f "$jar"
  exit 1
fi
