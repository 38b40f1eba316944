import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("The process: command line, exit status, signals, descriptors")
class ProcessTest {
    private static final Path SOURCE = Path.of("NanoStreamWs.java");
    private static final String[] FREE = {"--host=127.0.0.1", "--port=0", "--feed=http://127.0.0.1:0/"};

    private static ServerProcess started(List<String> command) throws IOException {
        return new ServerProcess(new ProcessBuilder(command), line -> { });
    }

    private static void post(RawClient publisher, String message) throws IOException {
        publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + message.length() + "\r\n\r\n" + message);
        assertEquals(200, RawClient.status(publisher.answer()));
    }

    @Test
    void startsFromTheSourceFileAlone(@TempDir Path folder) throws Exception {
        Path file = Files.copy(Path.of("NanoStreamWs.java"), folder.resolve("NanoStreamWs.java"));
        List<String> command = new ArrayList<>(List.of(ServerProcess.JAVA, file.toString(), "--secret", "my_secret"));
        command.addAll(List.of(FREE));
        try (ServerProcess server = started(command)) {
            try (RawClient client = RawClient.admitted(server.port(), "/?t=" + TestServer.DOCUMENTED_TOKEN);
                 RawClient publisher = new RawClient(server.feedPort())) {
                post(publisher, "hello");
                assertEquals("hello", client.text());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"TERM", "INT"})
    void aSignalEndsItWhenEverythingIsDelivered(String signal) throws Exception {
        try (ServerProcess server = ServerProcess.of(FREE); RawClient publisher = new RawClient(server.feedPort())) {
            List<RawClient> clients = new ArrayList<>();
            for (int i = 0; i < 20; i++)
                clients.add(RawClient.admitted(server.port(), "/"));
            for (int i = 0; i < 500; i++)
                post(publisher, "message " + i);
            String kill = "kill -" + signal + " " + server.process.pid();
            assertEquals(0, new ProcessBuilder("sh", "-c", kill).start().waitFor());
            for (RawClient client : clients) {
                for (int i = 0; i < 500; i++)
                    assertEquals("message " + i, client.text());
                RawClient.Frame close = client.frame();
                assertTrue(close.isClose());
                assertEquals(1001, close.code());
                client.send(RawClient.frame(0x88, close.payload()));
                assertTrue(client.atEnd());
                client.close();
            }
            assertEquals(0, server.exit());
            server.await("stop done");
        }
    }

    /** A process whose standard error is blocked, see Blocked. */
    private static Process blocked(String... args) throws IOException {
        List<String> command = new ArrayList<>(ServerProcess.command("-XX:TieredStopAtLevel=1"));
        command.set(command.size() - 1, "Blocked");
        command.addAll(List.of(args));
        Process process = new ProcessBuilder(command).start();
        TestServer.await("standard error", () -> {
            try {
                return process.getErrorStream().available() > 0;
            } catch (IOException e) {
                return false;
            }
        });
        process.getOutputStream().write('\n');
        process.getOutputStream().flush();
        return process;
    }

    private static int exit(Process process) throws InterruptedException {
        assertTrue(process.waitFor(20, TimeUnit.SECONDS), "still running");
        return process.exitValue();
    }

    @Test
    @DisplayName("a fault after which it would only seem to run ends it with 1, although standard error is blocked")
    void endsAfterAFatalFaultThoughStandardErrorIsBlocked() throws Exception {
        List<List<String>> faults = List.of(List.of("memory"), List.of("linkage"), List.of("untold"), List.of("other"),
            List.of("walker", FREE[0], FREE[1], FREE[2]));
        Map<String, Process> processes = new LinkedHashMap<>();
        try {
            for (List<String> fault : faults)
                processes.put(fault.getFirst(), blocked(fault.toArray(String[]::new)));
            Map<String, Integer> statuses = new LinkedHashMap<>();
            for (String fault : processes.keySet())
                statuses.put(fault, exit(processes.get(fault)));
            assertEquals(Map.of("memory", 1, "linkage", 1, "untold", 1, "walker", 1, "other", Blocked.GOES_ON),
                statuses);
        } finally {
            processes.values().forEach(Process::destroyForcibly);
        }
    }

    @ParameterizedTest
    @DisplayName("a signal ends it while it starts, or writes a new secret, although standard error is blocked")
    @CsvSource({"bind, 1", "serve, 0"}) // it is no failure once it has started
    void aSignalEndsItThoughStandardErrorIsBlocked(String where, int status) throws Exception {
        Process server = blocked(where, FREE[0], FREE[1], FREE[2], "--secret");
        try {
            assertTrue(server.getInputStream().read() > 0, "it stands there");
            server.toHandle().destroy();
            assertEquals(status, exit(server));
        } finally {
            server.destroyForcibly();
        }
    }

    @Test
    @DisplayName("a signal that comes with the first line of the log ends it, which is not yet all of the start")
    void aSignalEndsItWithItsFirstLine() throws Exception {
        List<String> command = ServerProcess.command("", FREE);
        command.addAll(Collections.nCopies(100, FREE[2])); // its start takes longer
        CompletableFuture<String> started = new CompletableFuture<>();
        try (ServerProcess server = new ServerProcess(new ProcessBuilder(command), started::complete)) {
            started.get(20, TimeUnit.SECONDS); // the first line
            server.terminate();
            int status = server.exit();
            assertTrue(status == 0 || status == 1, "status " + status); // 1 where it had not started to serve
        }
    }

    @Test
    void aStuckListenerDelaysTheEndByTheDrainTimeOnly() throws Exception {
        try (ServerProcess server = ServerProcess.of(FREE[0], FREE[1], FREE[2], "--drain=0.5");
             RawClient publisher = new RawClient(server.feedPort());
             RawClient stuck = new RawClient(server.port(), 4096)) {
            stuck.upgrade("/");
            for (int i = 0; i < 6; i++)
                post(publisher, "x".repeat(1_000_000));
            server.terminate();
            assertEquals(0, server.exit());
            server.await("dropped 127.0.0.1:\\d+: it was still there when --drain was over");
            server.await("stop done; 1 listener");
        }
    }

    @Test
    void bareSecretPrintsWhatOneNeedsToConnect() throws Exception {
        try (ServerProcess server = ServerProcess.of(FREE[0], FREE[1], FREE[2], "--secret")) {
            String secret = server.await("^secret (\\S+)$"), token = server.await("^token +(\\S+)$");
            String page = server.await("^page +(\\S+)$");
            assertTrue(secret.length() >= 43, secret); // 32 bytes
            assertTrue(page.startsWith("http://127.0.0.1:" + server.port() + "/#"), page);
            for (String admitting : List.of(token, page.substring(page.indexOf('#') + 1))) {
                RawClient.admitted(server.port(), "/?t=" + admitting).close();
                try (RawClient again = new RawClient(server.port())) {
                    assertEquals(401, RawClient.status(again.upgrade("/?t=" + admitting)));
                }
            }
            try (ServerProcess tool = ServerProcess.of("--token", "60", "--secret", secret)) {
                RawClient.admitted(server.port(), "/?t=" + tool.output().strip()).close();
            }
            long times = server.lines().stream().filter(line -> line.contains(secret)).count();
            assertEquals(1, times, "the secret is printed once");
        }
    }

    @Test
    @Tag("slow")
    @DisplayName("what is printed at the start, and by --token, meets what the server asks of a token")
    void printsTokensThatMeetItsOwnTerms() throws Exception {
        String[] terms = {"--audience=https://stream.example", "--issuer=joe", "--issued-after-start"};
        try (ServerProcess server = ServerProcess.of(FREE[0], FREE[1], FREE[2], "--secret", "--leeway=100", terms[0],
                terms[1], terms[2])) {
            String secret = server.await("^secret (\\S+)$"), token = server.await("^token +(\\S+)$");
            String page = server.await("^page +(\\S+)$");
            for (String admitting : List.of(token, page.substring(page.indexOf('#') + 1)))
                RawClient.admitted(server.port(), "/?t=" + admitting).close();
            try (ServerProcess tool = ServerProcess.of("--token", "--secret=" + secret, terms[0], terms[1], terms[2]);
                 RawClient early = new RawClient(server.port())) {
                String printed = tool.output().strip();
                assertEquals(401, RawClient.status(early.upgrade("/?t=" + printed)));
                server.await("Token was invalid: issued before this server's start .*, or within --leeway of it$");
                try (ServerProcess other = ServerProcess.of(FREE[0], FREE[1], FREE[2], "--secret=" + secret, terms[0],
                        terms[1])) {
                    RawClient.admitted(other.port(), "/?t=" + printed).close();
                }
            }
        }
    }

    /** A token for the secret of the documentation, issued now, in whole seconds or exactly. */
    private static String issuedNow(boolean exactly) {
        Instant now = Instant.now();
        String iat = now.getEpochSecond() + (exactly ? String.format(Locale.ROOT, ".%09d", now.getNano()) : "");
        long exp = now.getEpochSecond() + 60;
        return TestToken.of("{\"iat\":" + iat + ",\"exp\":" + exp + ",\"jti\":\"" + UUID.randomUUID() + "\"}");
    }

    @Test
    @Tag("slow")
    @DisplayName("--issued-after-start: what was admitted before kill -9 is not admitted by the next process")
    void admitsNoTokenASecondTimeAfterItWasKilled() throws Exception {
        String secret = "--secret=" + TestServer.SECRET, option = "--issued-after-start";
        Queue<String> admitted = new ConcurrentLinkedQueue<>(), unknown = new ConcurrentLinkedQueue<>();
        int port;
        try (ServerProcess first = ServerProcess.of(FREE[0], FREE[1], FREE[2], secret, option);
             ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
            port = first.port();
            for (int i = 0; i < 4; i++) {
                boolean exactly = i > 0; // the others wait for the second after the start
                clients.execute(() -> {
                    while (first.process.isAlive())
                        knock(port, issuedNow(exactly), admitted, unknown);
                });
            }
            TestServer.await("200 are admitted", () -> admitted.size() >= 200);
            first.process.destroyForcibly(); // SIGKILL, while clients come
        }
        try (ServerProcess second = ServerProcess.of(FREE[0], "--port=" + port, FREE[2], secret, option)) {
            assertEquals(port, second.port());
            Queue<String> again = new ConcurrentLinkedQueue<>(), none = new ConcurrentLinkedQueue<>();
            for (Queue<String> tokens : List.of(admitted, unknown))
                for (String token : tokens)
                    knock(port, token, again, none);
            assertEquals(List.of(), List.copyOf(again), "of " + admitted.size());
            assertEquals(List.of(), List.copyOf(none), "each was answered");
            knock(port, issuedNow(true), again, none);
            assertEquals(1, again.size(), "one that is signed now");
        }
    }

    /** Asks to be admitted with a token. */
    private static void knock(int port, String token, Queue<String> admitted, Queue<String> unknown) {
        try (RawClient client = new RawClient(port)) {
            String head = client.upgrade("/?t=" + token);
            if (head.startsWith("HTTP/1.1 101 "))
                admitted.add(token);
        } catch (IOException e) {
            unknown.add(token);
        }
    }

    @Test
    void standardInputIsAFeedAndItsEndEndsTheServer() throws Exception {
        try (ServerProcess server = ServerProcess.of(FREE[0], FREE[1], "--feed", "-");
             RawClient client = RawClient.admitted(server.port(), "/")) {
            try (var input = server.process.outputWriter(UTF_8)) {
                input.write("one\n\ntwo ü\r\nthree");
            }
            for (String expected : List.of("one", "two ü", "three"))
                assertEquals(expected, client.text());
            RawClient.Frame close = client.frame();
            assertEquals(1001, close.code());
            client.send(RawClient.frame(0x88, close.payload()));
            assertEquals(0, server.exit());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"--prot=1", "--port=x", "--port=65536", "--ping", "--feed=ftp://x/", "--origin=http://x/y",
        "--token", "--secret=", "8080", "--max-lag=1", "--issued-after-start", "--audience=a"})
    void aWrongCommandLineIsOneLineAndStatusTwo(String argument) throws Exception {
        try (ServerProcess server = ServerProcess.of(argument)) {
            assertEquals(2, server.exit());
            assertEquals("", server.output());
            assertEquals(1, server.lines().size(), server.lines().toString());
            assertTrue(server.lines().getFirst().startsWith("NanoStreamWs: "), server.lines().toString());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"-Xmx32m", "-Xmx16m"})
    @DisplayName("a server that would have room for nobody does not start")
    void doesNotStartWithoutRoomForAListener(String heap) throws Exception {
        try (ServerProcess server = ServerProcess.watched(heap, line -> { })) {
            assertEquals(1, server.exit());
            String line = "NanoStreamWs: no room for a listener: raise -Xmx to 48m or more, or ulimit -n";
            assertEquals(List.of(line), server.lines());
        }
    }

    @Test
    void aFailureIsOneLineAndStatusOne() throws Exception {
        try (ServerSocket taken = new ServerSocket(0);
             ServerProcess server = ServerProcess.of("--feed=http://127.0.0.1:0/", "--port=" + taken.getLocalPort());
             ServerProcess file = ServerProcess.of("--secret-file=/no/such/file");
             ServerProcess host = ServerProcess.of("--host=no.such.host.invalid")) {
            assertEquals(1, server.exit());
            server.await("^NanoStreamWs: cannot listen on 0.0.0.0:\\d+: Address already in use");
            assertEquals(1, file.exit());
            file.await("^NanoStreamWs: cannot read /no/such/file [(]No such file or directory[)]$");
            assertEquals(1, host.exit());
            host.await("^NanoStreamWs: cannot listen on no.such.host.invalid:8080: no.such.host.invalid: .*not known$");
            for (ServerProcess each : List.of(server, file, host))
                assertFalse(each.lines().stream().anyMatch(line -> line.startsWith("\tat ")), each.lines().toString());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"--help", "--version"})
    void whatWasAskedForGoesToStandardOutput(String argument) throws Exception {
        try (ServerProcess server = ServerProcess.of(argument)) {
            assertTrue(server.output().startsWith("NanoStreamWs " + NanoStreamWs.VERSION));
            assertEquals(0, server.exit());
            assertEquals(List.of(), server.lines());
        }
    }

    @Test
    @DisplayName("descriptors do not run out: silent connections and listeners leave some for all the others")
    void leavesDescriptorsForEveryKindOfConnection() throws Exception {
        String command = "ulimit -n 240; exec " + String.join(" ", ServerProcess.command("", FREE));
        try (ServerProcess server = started(List.of("bash", "-c", command))) {
            List<RawClient> crowd = new ArrayList<>();
            for (int i = 0; i < 100; i++) // 30 a port are kept, and as many again that have posted something
                for (int port : List.of(server.port(), server.feedPort()))
                    crowd.add(new RawClient(port));
            server.await("full .* is closed for room");
            List<Integer> statuses = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                RawClient client = new RawClient(server.port());
                statuses.add(RawClient.status(client.upgrade("/")));
                crowd.add(client);
            }
            int most = 240 - 3 * 30 - 64;
            assertEquals(List.of(101, 503), statuses.stream().distinct().toList());
            assertEquals(most, statuses.indexOf(503));
            server.await("refused .*: No room for another listener: the most is " + most
                + " \\(--max-listeners, ulimit -n, -Xmx\\)");
            try (RawClient publisher = new RawClient(server.feedPort());
                 RawClient monitor = new RawClient(server.port())) {
                post(publisher, "to all");
                monitor.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
                assertEquals(200, RawClient.status(monitor.answer()));
            }
            for (RawClient client : crowd)
                client.close();
            assertEquals(0, server.lines().stream().filter(line -> line.contains("accept fails")).count());
        }
    }

    private static void limitDescriptors(ServerProcess server, int most) throws Exception {
        String pid = String.valueOf(server.process.pid());
        int status = new ProcessBuilder("prlimit", "--pid", pid, "--nofile=" + most + ":").start().waitFor();
        assertEquals(0, status);
    }

    @Test
    void withoutDescriptorsItServesOnMakesRoomSaysSoOnceAndAcceptsAgainLater() throws Exception {
        try (ServerProcess server = started(ServerProcess.command("", FREE));
             RawClient publisher = new RawClient(server.feedPort());
             RawClient early = RawClient.admitted(server.port(), "/");
             RawClient silent = new RawClient(server.port())) {
            post(publisher, "before"); // so that the connection is accepted
            assertEquals("before", early.text());
            limitDescriptors(server, 8);
            try (RawClient late = new RawClient(server.port())) {
                late.send(RawClient.handshake("/"));
                server.await("accept fails on port " + server.port() + " .*LimitNOFILE");
                assertTrue(silent.isGone());
                for (int i = 0; i < 20; i++) {
                    post(publisher, "meanwhile " + i);
                    assertEquals("meanwhile " + i, early.text());
                }
                limitDescriptors(server, 1_000);
                assertEquals(101, RawClient.status(late.head()));
            }
            server.await("accept works again on port " + server.port() + '$');
            assertEquals(1, server.lines().stream().filter(line -> line.contains("accept fails")).count());
        }
    }

    @Test
    @DisplayName("with the least heap that the README names, unfinished heads that are larger than it keep nobody out")
    void outlivesUnfinishedHeadsWithASmallHeap() throws Exception {
        List<String> command = ServerProcess.command("-Xmx48m -XX:+UseSerialGC -XX:TieredStopAtLevel=1", FREE);
        try (ServerProcess server = started(command); RawClient publisher = new RawClient(server.feedPort());
             RawClient early = RawClient.admitted(server.port(), "/")) {
            int room = Integer.parseInt(server.await("listeners connect to \\S+, (\\d+) at most"));
            assertTrue(room > 1_000 && room <= 2_048, room + " listeners, 8 KiB each beyond 32 MiB");
            post(publisher, "before");
            assertEquals("before", early.text());
            byte[] head = ("GET / HTTP/1.1\r\nHost: h\r\nCookie: " + "x".repeat(16_000)).getBytes(UTF_8);
            List<RawClient> crowd = new ArrayList<>();
            for (int i = 0; i < 4_000; i++) {
                RawClient client = new RawClient(server.port());
                client.send(head);
                crowd.add(client);
            }
            post(publisher, "after");
            assertEquals("after", early.text());
            RawClient.admitted(server.port(), "/").close();
            for (RawClient client : crowd)
                client.close();
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {11, 15, 16, 17, 20})
    @DisplayName("the first line that a compiler of an older Java complains about says which Java it takes")
    void anOlderCompilerPrintsWhichJavaItTakes(int release) throws Exception {
        List<String> options = List.of("--release", String.valueOf(release), "-proc:none");
        DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, UTF_8)) {
            assertFalse(compiler.getTask(null, files, found, options, null, files.getJavaFileObjects(SOURCE)).call());
        }
        Diagnostic<?> first = found.getDiagnostics().stream()
            .filter(each -> each.getKind() == Diagnostic.Kind.ERROR).findFirst().orElseThrow();
        String line = Files.readAllLines(SOURCE).get((int) first.getLineNumber() - 1);
        assertTrue(line.endsWith(" it takes a JDK of 21 or newer"), first.toString());
    }

    /** A server whose command line a shell completes: with a redirection, say. */
    private static ServerProcess shell(String before, String arguments, String after) throws IOException {
        String command = before + " exec " + String.join(" ", ServerProcess.command("")) + ' ' + arguments + ' ' + after;
        return new ServerProcess(new ProcessBuilder("bash", "-c", command), line -> { });
    }

    @Test
    @DisplayName("standard input that the parent closed is not a feed: another file would be read in its place")
    void refusesAClosedStandardInput() throws Exception {
        try (ServerProcess server = shell("", "--port=0 --host=127.0.0.1 --feed -", "<&-")) {
            assertEquals(1, server.exit());
            assertEquals(List.of("NanoStreamWs: --feed - wants standard input: it is closed"), server.lines());
        }
    }

    @Test
    void endsWithStatusOneWhenItsOnlyFeedFails() throws Exception {
        try (ServerProcess server = shell("", "--port=0 --host=127.0.0.1 --feed -", "</tmp")) {
            assertEquals(1, server.exit());
            server.await(" feed - has failed: Is a directory$");
        }
    }

    @Test
    void endsWithStatusOneWhenATokenCannotBeWritten() throws Exception {
        try (ServerProcess server = shell("", "--token --secret x", ">/dev/full")) {
            assertEquals(1, server.exit());
            assertEquals(List.of("NanoStreamWs: the token could not be written"), server.lines());
        }
    }

    @Test
    @DisplayName("a secret that the locale cannot decode is refused: everybody could guess what is left of it")
    void refusesASecretThatTheLocaleCannotDecode() throws Exception {
        for (String before : List.of("LC_ALL=C", "NANO_STREAM_SECRET=$'\\xd0\\xba' LC_ALL=C"))
            try (ServerProcess server = shell(before, String.join(" ", FREE),
                    before.startsWith("LC") ? "--secret $'\\xd0\\xba'" : "--secret")) {
                assertEquals(2, server.exit());
                server.await("^NanoStreamWs: --secret has a character that the locale cannot decode");
            }
    }

    @Test
    @DisplayName("a token is the same in a locale that has digits of its own")
    void makesTokensInEveryLocale() throws Exception {
        List<String> command = ServerProcess.command("-Duser.language=ar -Duser.country=EG", "--token", "--secret=s");
        try (ServerProcess tool = new ServerProcess(new ProcessBuilder(command), line -> { });
             ServerProcess server = ServerProcess.of(FREE[0], FREE[1], FREE[2], "--secret=s")) {
            RawClient.admitted(server.port(), "/?t=" + tool.output().strip()).close();
        }
    }

    @Test
    @Tag("slow")
    @DisplayName("class files beside the source that have the name of anything it uses are not loaded")
    void runsNoClassFileOfTheFolderWhereItStarts(@TempDir Path folder) throws Exception {
        Path source = Files.copy(Path.of("NanoStreamWs.java"), folder.resolve("NanoStreamWs.java"));
        Set<String> names = new SourceText(Files.readString(source)).capitalizedNames();
        assertTrue(names.containsAll(List.of("Queue", "HexFormat", "Character", "String", "Override")), names::toString);
        List<String> command = new ArrayList<>(List.of(ServerProcess.JDK.resolve("javac").toString(), "-d", "."));
        for (String name : names) {
            Files.writeString(folder.resolve(name + ".java"), "class " + name
                + " { static { java.lang.System.err.println(\"planted " + name + "\"); } }");
            command.add(name + ".java");
        }
        assertEquals(0, new ProcessBuilder(command).directory(folder.toFile()).inheritIO().start().waitFor());
        for (String name : names)
            Files.delete(folder.resolve(name + ".java"));
        ProcessBuilder start = new ProcessBuilder(ServerProcess.JAVA, "NanoStreamWs.java", "--secret=my_secret", FREE[0],
            FREE[1], FREE[2]).directory(folder.toFile());
        try (ServerProcess server = new ServerProcess(start, line -> { });
             RawClient client = RawClient.admitted(server.port(), "/?t=" + TestServer.DOCUMENTED_TOKEN);
             RawClient publisher = new RawClient(server.feedPort())) {
            post(publisher, "hello");
            assertEquals("hello", client.text());
            assertFalse(server.lines().stream().anyMatch(line -> line.contains("planted")), server.lines().toString());
        }
    }
}
