#!/bin/sh
# run.sh JAVA JUNIT OPTIONS...: runs the tests in .build/classes; the last line counts them, those before it say what
# was missing. JUNIT_JVM has JVM options. Fails if one failed, or none ran.
java=$1 junit=$2
shift 2
"$java" $JUNIT_JVM -jar "$junit" execute --disable-banner --disable-ansi-colors --class-path .build/classes \
  --scan-class-path --details=tree "$@" >.build/report.txt 2>&1
status=$?
count() { sed -n "s/^\[ *\([0-9]*\) tests $1 *\]$/\1/p" .build/report.txt; }
passed=$(count successful) failed=$(count failed)
if [ "$status" != 0 ] || [ "${passed:-0}" = 0 ]; then
  cat .build/report.txt
  [ "$status" != 0 ] || status=1
fi
sed -n 's/.*Assumption failed: //p' .build/report.txt | sort | uniq -c | sed 's/^ *\([0-9]*\)/\1 skipped:/'
echo "${passed:-0} passed, ${failed:-0} failed"
exit $status
