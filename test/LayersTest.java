import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Layers: what a section of the source may name, how dense it is, and what is not loaded")
class LayersTest {
    /** A text that is as it should be. */
    private static final String GOOD = """
        import java.util.Map;

        final class Sample {
            static final String VERSION = "1";

            // ==== Part I. Core ================================================
            // What everybody reads.

            // ---- 1. Limits ---------------------------------------------------
            /** Not a use: {@link Server}, Page. */
            static final class Limits {
                static final int MOST = 1;
            }

            // ---- 7. Token (RFC 7519) -----------------------------------------
            // Says who may listen.

            record Token(String text) {
                private record Entry(String name) { }

                static String quote(Map<String, String> all) {
                    for (Map.Entry<String, String> one : all.entrySet()) // no Entry of ours, and no Server
                        System.out.println("Server \\" Page" + 'P' + one + VERSION + Limits.MOST);
                    return \"""
                        Page \\\""" "" Server
                        \""";
                }
            }

            // ==== Part II. Parts ==============================================

            // ---- 16. Page ----------------------------------------------------
            // A page that shows the stream.
            // Off unless --page is given.
            // Touches nothing.
            // Implements Token,
            // as a word.
            // When it fails the browser is told.

            static final class Page {
                enum State { OPEN }

                private interface Entry { }

                static int serve(Token token) {
                    return token.text.length();
                }

                static int twice(Token token) {
                    return 2 * serve(token); // its own
                }
            }

            // ---- 19. Health --------------------------------------------------
            // Off unless --health is given.
            // Touches nothing.
            // Implements nothing.
            // When it fails nobody is told.
            interface Health { }

            // ==== Part III. Assembly ==========================================

            // ---- 28. Server --------------------------------------------------
            static final class Server {
                final Map<Health, Page.Entry> all = Map.of();
            }

            // ---- 29. main ----------------------------------------------------
            static final int OTHER = 1, LATER = 2;

            public static void main(String[] args) {
                serve(new Server());
            }

            private static void serve(Server server) {
                Page.serve(new Token(VERSION));
            }
        }
        """;

    private static SourceText good() {
        return new SourceText(GOOD);
    }

    /** The good text with a change, which has to be one. */
    private static SourceText changed(String from, String to) {
        assertTrue(GOOD.contains(from), from);
        return new SourceText(GOOD.replace(from, to));
    }

    private static SourceText source() throws IOException {
        return new SourceText(Files.readString(Path.of("NanoStreamWs.java")));
    }

    /** What is wrong with a text. */
    private enum Check {
        MISPLACED(SourceText::misplaced),
        FROM_BELOW(SourceText::usesFromBelow),
        OUT_OF_THE_CORE(SourceText::usesOutOfTheCore),
        AMONG_THE_PARTS(SourceText::usesAmongTheParts),
        WITHOUT_FACTS(SourceText::withoutFacts),
        TOO_DENSE(SourceText::tooDense),
        ON_DEMAND(SourceText::importsOnDemand);

        final Function<SourceText, List<String>> function;

        Check(Function<SourceText, List<String>> function) {
            this.function = function;
        }

        String of(SourceText text) {
            return String.join("\n", function.apply(text));
        }
    }

    @Test
    @DisplayName("sections are in ascending order, each in its part")
    void everySectionIsInItsPlace() throws IOException {
        assertEquals("", Check.MISPLACED.of(source()));
    }

    @Test
    @DisplayName("no section names what is declared below it")
    void everySectionNeedsOnlyWhatIsAboveIt() throws IOException {
        assertEquals("", Check.FROM_BELOW.of(source()));
    }

    @Test
    @DisplayName("part I names nothing of part II or III")
    void theCoreNeedsNoPart() throws IOException {
        assertEquals("", Check.OUT_OF_THE_CORE.of(source()));
    }

    @Test
    @DisplayName("no section of part II names another one's types")
    void noPartNeedsAnother() throws IOException {
        assertEquals("", Check.AMONG_THE_PARTS.of(source()));
    }

    @Test
    @DisplayName("each banner in part II has its four facts")
    void everyPartHasItsFacts() throws IOException {
        assertEquals("", Check.WITHOUT_FACTS.of(source()));
    }

    @Test
    @DisplayName("no section is too dense, no line too long, no part too large")
    void nothingIsTooDense() throws IOException {
        assertEquals("", Check.TOO_DENSE.of(source()));
    }

    @Test
    @DisplayName("imports name single types")
    void importsNameSingleTypes() throws IOException {
        assertEquals("", Check.ON_DEMAND.of(source()));
    }

    @Test
    @DisplayName("a good text passes all checks")
    void aGoodTextPasses() {
        for (Check check : Check.values())
            assertEquals("", check.of(good()), check.name());
    }

    /** A check, what it says, and a change of the good text that has it say so. */
    private static Arguments bad(Check check, String says, String from, String to) {
        return Arguments.of(check, says, from, to);
    }

    static Stream<Arguments> badTexts() {
        String before = "    static final int MOST = ";
        return Stream.of(
            bad(Check.MISPLACED, "expected parts 1, 2, 3, got \\[1, 3]\nsection 16 Page is in part 1\n.*",
                "// ==== Part II. ", "// == Part II. "),
            bad(Check.MISPLACED, "expected parts 1, 2, 3, got \\[1, 2, 3, 2, 3]",
                "// ==== Part II. Parts", "// ==== Part II. A\n// ==== Part III. B\n// ==== Part II. Parts"),
            bad(Check.MISPLACED, "expected .*, got \\[2, 3]\nsection 1 Limits is in part 0\nsection 7 .*",
                "// ==== Part I. Core", "int i; // ==== Part I. Core"),
            bad(Check.MISPLACED, "part 3 has no section", "// ---- 2", "// -- 2"),
            bad(Check.MISPLACED, "section 7 Token comes after 8", "1. Limits", "8. Limits"),
            bad(Check.MISPLACED, "section 7 Token comes after 7", "1. Limits", "7. Limits"),
            bad(Check.MISPLACED, "section 16 Limits is in part 1\nsection 7 Token comes after 16",
                "1. Limits", "16. Limits"),
            bad(Check.MISPLACED, "section 28 Health is in part 2\nsection 28 Server comes after 28",
                "19. Health", "28. Health"),
            bad(Check.FROM_BELOW, "line 12, section 1 Limits: names Token of section 7 Token",
                before, "    Token token;\n" + before),
            bad(Check.FROM_BELOW, "line 12, section 1 Limits: names Token of section 7 Token",
                before, "    java.util.List<? super Token[]> tokens;\n" + before),
            bad(Check.FROM_BELOW, ".* names Token of .*\n.* names Entry of section 7 Token",
                before, "    Token.Entry entry;\n" + before),
            bad(Check.FROM_BELOW, ".*: names serve of section 29 main", before,
                "    int i = serve(null);\n" + before),
            bad(Check.FROM_BELOW, ".*: names serve of section 29 main", before,
                "    Runnable run = Sample::serve;\n" + before),
            bad(Check.FROM_BELOW, ".*: names LATER of section 29 main", before,
                "    int i = -LATER;\n" + before),
            bad(Check.FROM_BELOW, "line 1, section 0 head: names Server of section 28 Server",
                "import", "import static Sample.Server;\nimport"),
            bad(Check.OUT_OF_THE_CORE, ".* names Page of section 16 Page\n.* names State of section 16 Page",
                before, "    Page.State state;\n" + before),
            bad(Check.OUT_OF_THE_CORE, "line .*, section 7 Token: names Server of section 28 Server",
                "private record Entry(String name)", "private record Entry(Server name)"),
            bad(Check.AMONG_THE_PARTS, "line .*, section 19 Health: names Page of section 16 Page",
                "interface Health", "interface Health extends Page"),
            bad(Check.AMONG_THE_PARTS, "line .*, section 16 Page: names Health of section 19 Health",
                "enum State { OPEN }", "enum State { OPEN; Health health; }"),
            bad(Check.WITHOUT_FACTS, "section 19 Health: expected \\[.*], got \\[Off .*, Touches, When .*]",
                "// Implements nothing.", "// It is a word."),
            bad(Check.WITHOUT_FACTS, "section 19 Health: .* got \\[Off unless, Implements, Touches, .*]",
                "// Touches nothing.\n    // Implements nothing.",
                "// Implements nothing.\n    // Touches nothing."),
            bad(Check.WITHOUT_FACTS, "section 16 Page: .* got \\[]",
                "// A page that shows the stream.", "\n    // A page that shows the stream."),
            bad(Check.WITHOUT_FACTS, "section 16 Page: .* got \\[.*, Touches, Implements, Implements, .*]",
                "// as a word", "// Implements more"),
            bad(Check.TOO_DENSE, "section 1 Limits: [\\d.]+ tokens a line", before + "1;",
                ("    int " + "a, ".repeat(10) + "b;\n").repeat(9)),
            bad(Check.TOO_DENSE, ".*\nline 12: 25 tokens", before + "1;",
                "    int " + "a, ".repeat(11) + "b;"),
            bad(Check.TOO_DENSE, "line 12: 111 columns", before + "1;",
                before + "1;" + " ".repeat(73) + "// \u00fc"),
            bad(Check.TOO_DENSE, "line 3: 111 columns", "\n\nfinal class", "\n\n//" + "-".repeat(109) + "\nfinal class"),
            bad(Check.TOO_DENSE, "line 25: 111 columns", "                Page", " ".repeat(92) + "Page"),
            bad(Check.TOO_DENSE, "part 1: 156\\d\\d tokens", before + "1;", "    int a;\n".repeat(5_200)),
            bad(Check.TOO_DENSE, "part 2: 199\\d\\d tokens", "enum State",
                "int a;\n".repeat(6_620) + "enum State"),
            bad(Check.TOO_DENSE, "part 3: 35\\d\\d tokens", "serve(new Server());", "int a;\n".repeat(1_160)),
            bad(Check.TOO_DENSE, "all: 404\\d\\d tokens", "static final String VERSION",
                "int a;\n".repeat(13_420) + "static final String VERSION"),
            bad(Check.ON_DEMAND, "line 1", "import java.util.Map;", "import java.util.*;"),
            bad(Check.ON_DEMAND, "line 2", "import java.util.Map;", "\nimport static java.util.Map.*;"));
    }

    @ParameterizedTest(name = "{0}: {1}")
    @MethodSource("badTexts")
    @DisplayName("a bad text does not")
    void aBadTextDoesNot(Check check, String says, String from, String to) {
        String said = check.of(changed(from, to));
        assertTrue(said.matches("(?s)" + says), said);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        // Server, in a comment
        /* Server, in a comment */
        String a = "Server \\" Server \\\\" + "Server";
        char a = '\\'', b = '"', c = 'S'; // " Server
        String a = "// Server"; String b = "/* Server";
        String a = "x"; /* " */ String b = "Server";
        Map.Entry<String, String> entry; Map.Server other;
        Object server = this.Server, b = server().Server, c = server[0].main;
        int main = 1, serve = main + this.serve(1) + x.serve(1);
        """)
    @DisplayName("nor is anything else taken for a use")
    void nothingElseIsAUse(String line) {
        String before = "    static final int MOST = ";
        assertEquals("", Check.FROM_BELOW.of(changed(before, line + '\n' + before)));
    }

    @Test
    @DisplayName("the names of a part's classes are those that the virtual machine has")
    void knowsTheBinaryNames() {
        assertEquals(List.of("Sample$Limits", "Sample$Token", "Sample$Token$Entry"), good().binaryNames(1));
        assertEquals(List.of("Sample$Page", "Sample$Page$State", "Sample$Page$Entry", "Sample$Health"),
            good().binaryNames(2));
    }

    /** What has the virtual machine log the classes that it loads. Without C2: when that compiles a method, it loads
     * the classes of its signature, sooner or later as the machine is idle or not, and from a file that is open. */
    private static String logging(Path log) {
        return "-XX:TieredStopAtLevel=1 -Xlog:class+load:file=" + log;
    }

    private static final Pattern LOADED = Pattern.compile("] (\\S+) source:");

    /** The classes that a log of the virtual machine has, in their order. */
    private static List<String> loaded(Path log) throws IOException {
        return LOADED.matcher(Files.readString(log)).results().map(line -> line.group(1)).toList();
    }

    /** Waits until the number of loaded classes stays the same for a moment, and returns it. */
    private static int settled(Path log) throws Exception {
        int before = -1;
        for (int now = loaded(log).size(); now != before; now = loaded(log).size()) {
            before = now;
            Thread.sleep(100);
        }
        return before;
    }

    /** What was loaded after so many. Not what the virtual machine loads for itself, after so many calls of a method
     * handle or when it compiles: that has been in memory from the start, and needs no file. */
    private static List<String> late(List<String> all, int before) {
        List<String> late = new ArrayList<>(all.subList(before, all.size()));
        late.removeIf(name -> Stream.of("java.lang.invoke.", "java.lang.foreign.", "jdk.internal.foreign.")
            .anyMatch(name::startsWith));
        return late;
    }

    /** How much is loaded once the timers have ticked, which have classes of their own: a second after the start. */
    private static int ticked(Path log) throws Exception {
        String walked = "java.util.EnumMap$EntryIterator"; // the log's timer walks its tallies
        TestServer.await("the timers have ticked", () -> has(log, walked));
        return settled(log);
    }

    private static boolean has(Path log, String name) {
        try {
            return loaded(log).contains(name);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"--leeway=0", "--origin=https://example.com",
        "--audience=a --issuer=i --issued-after-start --leeway=9 --proxy=127.0.0.1"})
    @DisplayName("nothing that a connection can need is loaded after the first was accepted")
    void loadsEverythingBeforeTheFirstConnection(String options, @TempDir Path folder) throws Exception {
        Path log = folder.resolve("classes.txt");
        String[] arguments = ("--secret=" + TestServer.SECRET + ' ' + options).split(" ");
        String forwarded = "X-Forwarded-For: 10.0.0.1:80, [fd00::7]:80", origin = "Origin: https://example.com";
        try (ServerProcess server =
                ServerProcess.watched(logging(log), line -> { }, arguments)) {
            int port = server.port(), feed = server.feedPort();
            String last = "java.util.concurrent.locks.AbstractQueuedSynchronizer$SharedNode"; // main waits
            TestServer.await("the start is over", () -> has(log, last));
            int before = ticked(log);
            String deflate = "Sec-WebSocket-Extensions: permessage-deflate";
            Instant latest = Instant.now().plusSeconds(9);
            String claims = "\"exp\":" + (latest.getEpochSecond() + 60);
            if (options.contains("--audience"))
                claims += ",\"aud\":\"a\",\"iss\":\"i\",\"iat\":" + BigDecimal.valueOf(latest.toEpochMilli(), 3);
            String path = "/?t=" + TestToken.of('{' + claims + '}');
            assertTrue(RawClient.lastAnswer(port, RawClient.handshake(path + 'x', origin)).startsWith("HTTP/1.1 401 "));
            try (RawClient client = RawClient.admitted(port, path, deflate, origin, forwarded);
                 RawClient publisher = new RawClient(feed)) {
                server.await("admitted \\S+ origin \\S+, now 1$"); // nobody is left of the rehearsal
                assertTrue(RawClient.lastAnswer(port, RawClient.handshake(path, origin)).startsWith("HTTP/1.1 401 "));
                assertTrue(RawClient.lastAnswer(port, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").startsWith("HTTP/1.1 200 "));
                assertTrue(RawClient.lastAnswer(port, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").endsWith("ok"));
                for (int scrape = 0; scrape < 2; scrape++)
                    assertTrue(RawClient.lastAnswer(feed, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").endsWith("\n"));
                client.send(RawClient.frame(0x89, "ping"));
                assertEquals("ping", client.frame().text());
                client.send(RawClient.frame(0xC1, RawClient.deflated("text".getBytes(UTF_8), 9)));
                String block = "{\"amount\":\"1\",\"block\":\"{\\\"type\\\":\\\"state\\\"}\"}";
                publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + block.length() + "\r\n\r\n" + block);
                assertEquals(200, RawClient.status(publisher.answer()));
                assertTrue(new String(RawClient.inflated(client.frame().payload()), UTF_8).contains("amount_raw"));
                for (String query : List.of("&last=9", "&since=1.25")) {
                    String target = "/?t=" + TestToken.of('{' + claims + ",\"jti\":\"" + query + "\"}") + query;
                    assertTrue(RawClient.lastAnswer(port, RawClient.handshake(target + 'x', origin))
                        .startsWith("HTTP/1.1 400 "));
                    try (RawClient late = RawClient.admitted(port, target, deflate, origin)) {
                        assertTrue(late.text().contains("amount_raw"), "it is the first that is kept");
                    }
                }
                for (int i = 0; i < 300; i++) // of so many at once, the publisher's thread lets others go first
                    publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n0");
                for (int i = 0; i < 300; i++)
                    assertEquals(200, RawClient.status(publisher.answer()));
                for (int i = 0; i < 300; i++)
                    client.frame();
                client.send(RawClient.frame(0x88, new byte[] {3, (byte) 232}));
                assertEquals(1000, client.frame().code());
            }
            assertTrue(RawClient.lastAnswer(port, "no HTTP\r\n\r\n").startsWith("HTTP/1.1 400 "));
            List<String> all = loaded(log);
            assertTrue(all.subList(0, before).contains("NanoStreamWs$Listener"), "the log has what was loaded");
            assertEquals(List.of(), late(all, before), () -> String.join("\n", server.lines()));
        }
    }

    @Test
    @Tag("slow")
    @DisplayName("nor with TLS; the rehearsal leaves no line in the log")
    void loadsEverythingBeforeTheFirstConnectionWithTls(@TempDir Path folder) throws Exception {
        Path log = folder.resolve("classes.txt");
        TestCertificate own = TestCertificate.of("EC"), other = TestCertificate.root();
        String block = "{\"block\":\"{\\\"type\\\":\\\"state\\\"}\"}";
        try (ServerProcess server =
                ServerProcess.watched(logging(log), line -> { }, own.in(folder))) {
            int port = server.port(), feed = server.feedPort();
            int before = ticked(log);
            for (String version : List.of("TLSv1.3", "TLSv1.2"))
                try (RawClient client = new RawClient(TlsTest.connect(port, own.trusting(), version));
                     RawClient page = new RawClient(TlsTest.connect(port, own.trusting(), version));
                     SSLSocket distrusting = TlsTest.connect(port, other.trusting(), version);
                     RawClient publisher = new RawClient(feed)) {
                    assertThrows(SSLException.class, distrusting::startHandshake);
                    page.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
                    assertTrue(page.answer().endsWith("ok"));
                    assertEquals(101, RawClient.status(client.upgrade("/")));
                    client.send(RawClient.frame(0x89, "ping"));
                    assertEquals("ping", client.frame().text());
                    publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + block.length() + "\r\n\r\n"
                        + block);
                    assertEquals(200, RawClient.status(publisher.answer()));
                    assertTrue(client.text().contains("state"));
                    client.send(RawClient.frame(0x88, new byte[] {3, (byte) 232}));
                    assertEquals(1000, client.frame().code());
                }
            assertTrue(RawClient.lastAnswer(port, "GET / HTTP/1.1\r\n\r\n").startsWith("HTTP/1.1 400 "));
            server.await("refused .* does not speak TLS");
            List<String> all = loaded(log);
            assertTrue(all.subList(0, before).contains("NanoStreamWs$TlsSocket"), "the log has what was loaded");
            assertEquals(List.of(), late(all, before), () -> String.join("\n", server.lines()));
            List<String> lines = server.lines();
            assertTrue(lines.getFirst().contains(" start NanoStreamWs "), lines.getFirst());
            long refused = lines.stream().filter(line -> line.contains(" refused ")).count();
            assertEquals(3, refused, "those of this test: " + lines);
        }
    }

    @Test
    @DisplayName("a server with default options loads no class of a part that is off to broadcast a text")
    void loadsNoPartThatIsOff(@TempDir Path folder) throws Exception {
        Path log = folder.resolve("classes.txt");
        try (ServerProcess server = ServerProcess.watched(logging(log), line -> { })) {
            try (RawClient client = RawClient.admitted(server.port(), "/");
                 RawClient publisher = new RawClient(server.feedPort())) {
                publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
                assertEquals(200, RawClient.status(publisher.answer()));
                assertEquals("hello", client.text());
            }
            List<String> loaded = new ArrayList<>(loaded(log));
            assertTrue(loaded.contains("NanoStreamWs$Listener"), "the log has what is loaded: " + loaded);
            List<String> parts = source().binaryNamesOfPartsThatAreOff();
            assertTrue(parts.contains("NanoStreamWs$LineFeed"), "standard input is off: " + parts);
            assertTrue(parts.contains("NanoStreamWs$RedisLink"), "Redis is off: " + parts);
            assertTrue(source().binaryNames(2).contains("NanoStreamWs$NanoBlocks"), "Nano blocks are a part");
            assertFalse(parts.contains("NanoStreamWs$NanoBlocks"), "Nano blocks are never off");
            assertTrue(parts.contains("NanoStreamWs$WebSocketFeed"), "so are servers to connect to: " + parts);
            loaded.removeIf(name -> !name.startsWith("java.net.http.")
                && parts.stream().noneMatch(part -> (name + '$').startsWith(part + '$')));
            assertEquals(List.of(), loaded);
        }
    }

    @Test
    @DisplayName("with a WebSocket as a feed, listeners and publishers need nothing of what it takes")
    void loadsNothingOfAFeedForListeners(@TempDir Path folder) throws Exception {
        Path log = folder.resolve("classes.txt");
        try (FakeNode node = new FakeNode();
             ServerProcess server = ServerProcess.watched(logging(log), line -> { },
                 "--feed=ws://127.0.0.1:" + node.port());
             FakeNode.Session session = node.accept()) {
            server.await("ws://127.0.0.1:" + node.port() + " is connected");
            session.send("before anybody listens");
            int port = server.port(), feed = server.feedPort();
            TestServer.await("it is taken", () -> has(log, "java.net.http.WebSocket$Listener"));
            int before = ticked(log);
            try (RawClient client = RawClient.admitted(port, "/?last=1"); RawClient publisher = new RawClient(feed)) {
                assertEquals("before anybody listens", client.text());
                publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
                assertEquals(200, RawClient.status(publisher.answer()));
                assertEquals("hello", client.text());
                String health = RawClient.lastAnswer(port, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
                assertTrue(health.contains("\r\n\r\nok; ws://"), health);
                session.send("from the server");
                assertEquals("from the server", client.text());
            }
            assertEquals(List.of(), late(loaded(log), before), () -> String.join("\n", server.lines()));
        }
    }
}
