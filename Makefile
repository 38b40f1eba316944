# NanoStreamWs needs a JDK of 21 or newer, and the tests Maven, which fetches JUnit.
JDK    := $(shell test/tools/jdk.sh)
ifeq ($(JDK),)
  $(error No JDK of 21 or newer: set JAVA_HOME, or install one, with apt install default-jdk-headless for example)
endif
JAVA   := $(JDK)/bin/java
JAVAC  := $(JDK)/bin/javac --release 21 -encoding UTF-8 -Xlint:all -Werror
JVM    ?= -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmn6m
ARGS   ?= --secret my_secret
URL    ?= ws://127.0.0.1:8080/
PORT   ?= 9001
SECONDS ?= 60
MINUTES ?= 10
BENCH  ?=
FEED   ?= http://127.0.0.1:3000/
JUNIT  := .build/junit-platform-console-standalone-1.13.4.jar
SHA256 := 3fdfc37e29744a9a67dd5365e81467e26fbde0b7aa204e6f8bbe79eeaa7ae892

.PHONY: run build demo listen test fuzz soak echo bench bench-stuck bench-attack clean

run: build # the server, with the secret of the README's examples; with one of your own: make run ARGS=--secret
	@exec $(JAVA) $(JVM) -cp .build/server NanoStreamWs $(ARGS)

build: .build/server/NanoStreamWs.class # for a start in a fifth of a second: java -cp .build/server NanoStreamWs

.build/server/NanoStreamWs.class: NanoStreamWs.java
	@rm -rf .build/server && mkdir -p .build/server
	@$(JAVAC) -d .build/server NanoStreamWs.java

demo: # the server on this machine alone, open to all, and blocks such as a Nano node posts
	@$(JAVA) NanoStreamWs.java --host 127.0.0.1 $(PORTS) & server=$$!; \
	  trap 'kill $$server $$feed 2>/dev/null; wait $$server; exit 0' INT TERM; \
	  $(JAVA) test/tools/DemoFeed.java $(FEED) & feed=$$!; wait $$feed; kill $$server 2>/dev/null; wait $$server

listen: # prints what a listener gets
	@exec $(JAVA) test/tools/Listen.java $(URL)

test: .build/tests
	@test/tools/run.sh $(JAVA) $(JUNIT)

fuzz: .build/tests # new inputs for so many seconds; with SEED=n, beginning with the one that is made from n
	@JUNIT_JVM="-Dfuzz.seconds=$(SECONDS) $(SEED:%=-Dfuzz.seed=%)" \
	  test/tools/run.sh $(JAVA) $(JUNIT) --include-classname=FuzzTest
	@grep '^fuzz: ' .build/report.txt

soak: .build/tests # full load for so many minutes, and then whether anything is left of it; SEED=n as it was printed
	@$(JAVA) -cp .build/classes Soak --minutes $(MINUTES) --jvm "$(JVM)" $(SEED:%=--seed %)

echo: .build/tests # sends every message back, for conformance suites: make echo PORT=9001
	@exec $(JAVA) -cp .build/classes EchoServer $(PORT)

bench: .build/tests # what a broadcast costs on this machine: make bench BENCH="--listeners 10000 --rate 10"
	@$(JAVA) -cp .build/classes Bench --jvm "$(JVM)" $(BENCH)

bench-stuck: .build/tests # what listeners that stop reading cost the others
	@$(JAVA) -cp .build/classes StuckBench

bench-attack: .build/tests # what attacks cost the others
	@$(JAVA) -cp .build/classes AttackBench

.build/tests: NanoStreamWs.java $(wildcard test/*.java test/*/*.java) $(JUNIT)
	@rm -rf .build/classes && mkdir -p .build/classes
	$(JAVAC) -d .build/classes -cp $(JUNIT) NanoStreamWs.java test/*.java test/*/*.java
	@touch $@

$(JUNIT):
	@mkdir -p .build
	mvn -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -DoutputDirectory=.build \
	  -Dartifact=org.junit.platform:junit-platform-console-standalone:1.13.4
	@echo "$(SHA256)  $@" | sha256sum -c --quiet || { rm -f $@; exit 1; }

clean:
	rm -rf .build
