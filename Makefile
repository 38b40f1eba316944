# NanoStreamWs needs a JDK of 21 or newer, which a recipe looks for when it needs it, and the tests Maven, which fetches
# JUnit. `make help` lists it all.
NO_JDK  := no JDK of 21 or newer was found: Debian 13 and Ubuntu 22.04 or newer have one (apt install \
  openjdk-21-jdk-headless); for Debian 12 unpack one from https://adoptium.net under /usr/lib/jvm or set JAVA_HOME to it
JDK      = $(or $(shell test/tools/jdk.sh),$(error $(NO_JDK)))
JAVA     = $(JDK)/bin/java
JAVAC    = $(JDK)/bin/javac --release 21 -encoding UTF-8 -Xlint:all -Werror
TOOL     = $(JAVA) -cp .build/classes
ARGS    ?= --secret
JVM     ?= -XX:+UseSerialGC $(if $(findstring --tls-cert,$(ARGS)),-Xmn16m,-XX:TieredStopAtLevel=1 -Xmn6m)
URL     ?= ws://127.0.0.1:8080/
PORT    ?= 9001
SECONDS ?= 60
MINUTES ?= 10
BENCH   ?=
FEED    ?= http://127.0.0.1:3000/
BARE    ?= .build/bare
JUNIT   := .build/junit-platform-console-standalone-1.13.4.jar
SHA256  := 3fdfc37e29744a9a67dd5365e81467e26fbde0b7aa204e6f8bbe79eeaa7ae892

.PHONY: run help build demo cluster listen test test-slow fuzz soak echo bench bench-stuck bench-attack audit \
  check-bare clean

run: build # the server, with a new secret and a link that shows the stream; other options: ARGS="--secret --port 8081"
	@exec $(JAVA) $(JVM) -jar .build/nano-stream-ws.jar $(ARGS)

help: # this list
	@awk -F ': [^#]*# ' '/^[a-z-]+: .*# / { printf "%-13s %s\n", $$1, $$2 }' Makefile

build: .build/nano-stream-ws.jar # the classes that `make run` starts: java -jar .build/nano-stream-ws.jar

demo: # the server on this machine alone, open to all, and blocks as of a Nano node, which its page shows
	@exec test/tools/demo.sh $(JAVA) $(FEED) $(PORTS)

cluster: PORT := 8080
cluster: build # three servers that share a Redis, behind nginx, and such blocks; another port: make cluster PORT=8090
	@exec test/tools/cluster.sh $(PORT) $(JAVA) $(JVM) -jar .build/nano-stream-ws.jar

listen: # prints what a listener gets: make listen URL=ws://127.0.0.1:8080/
	@exec $(JAVA) test/tools/Listen.java $(URL)

test: .build/tests # all tests but the slow ones
	@test/tools/run.sh $(JAVA) $(JUNIT) --exclude-tag=slow

test-slow: .build/tests # those that take their time, or another program: nginx, Caddy, node, Chromium, Redis, systemd
	@test/tools/run.sh $(JAVA) $(JUNIT) --include-tag=slow

fuzz: .build/tests # new inputs for SECONDS=60; with SEED=n, beginning with the one that is made from n
	@JUNIT_JVM="-Dfuzz.seconds=$(SECONDS) $(SEED:%=-Dfuzz.seed=%)" \
	  test/tools/run.sh $(JAVA) $(JUNIT) --include-classname=FuzzTest
	@grep '^fuzz: ' .build/report.txt

soak: .build/tests # full load for MINUTES=10, and then whether anything is left of it; SEED=n as it was printed
	@$(TOOL) Soak --minutes $(MINUTES) --jvm "$(JVM)" $(SEED:%=--seed %)

echo: .build/tests # sends every message back, for conformance suites: make echo PORT=9001
	@exec $(TOOL) EchoServer $(PORT)

bench: .build/tests # what a broadcast costs on this machine: make bench BENCH="--listeners 10000 --rate 10"
	@$(TOOL) Bench --jvm "$(JVM)" $(BENCH)

bench-stuck: .build/tests # what listeners that stop reading cost the others
	@$(TOOL) StuckBench

bench-attack: .build/tests # what attacks cost the others
	@$(TOOL) AttackBench

audit: # every MUST of the RFCs that concerns a server, with its line in the file and its tests
	@$(JAVA) test/tools/Audit.java

check-bare: $(JUNIT) # the one file and the tests on a fresh Debian 13 in the folder BARE=.build/bare; as root
	@test/tools/check-bare.sh $(JDK) $(JUNIT) $(BARE)

clean: # removes all that was built
	@rm -rf .build

.build/nano-stream-ws.jar: NanoStreamWs.java # one file that stays open: no class is missing when descriptors run out
	@rm -rf .build/server && mkdir -p .build/server
	@$(JAVAC) -d .build/server NanoStreamWs.java
	@$(JDK)/bin/jar --create --file $@ --main-class NanoStreamWs -C .build/server .

.build/tests: NanoStreamWs.java $(wildcard test/*.java test/*/*.java) $(JUNIT)
	@rm -rf .build/classes && mkdir -p .build/classes
	@$(JAVAC) -d .build/classes -cp $(JUNIT) NanoStreamWs.java test/*.java test/*/*.java
	@touch $@

$(JUNIT):
	@test/tools/junit.sh $(JDK) $@ $(SHA256)
