// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@DisplayName("Log lines: one line an event, bounded, and safe to read")
class LogTest {
    private static final int BURST = NanoStreamWs.Limits.LOG_BURST, RATE = NanoStreamWs.Limits.LOG_RATE;
    private static final int QUOTED = NanoStreamWs.Limits.MAX_QUOTED;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private Instant now = Instant.parse("2026-01-02T03:04:05.006789Z");
    private final NanoStreamWs.EventLog log =
        new NanoStreamWs.EventLog(new PrintStream(out, true, UTF_8), () -> now);

    /** Closes the log, which writes what is waiting. */
    private List<String> lines() {
        log.close();
        return out.toString(UTF_8).lines().toList();
    }

    private void events(NanoStreamWs.Event event, int count) {
        for (int i = 0; i < count; i++)
            log.add(event, event.name().toLowerCase(Locale.ROOT) + i);
    }

    static List<List<String>> quotations() {
        return List.of(
            List.of("", "\"\""),
            List.of("plain text ~!#", "\"plain text ~!#\""),
            List.of("a\"b", "\"a\\\"b\""),
            List.of("a\\b", "\"a\\\\b\""),
            List.of("a\\u000ab", "\"a\\\\u000ab\""), // not to be taken for a line break
            List.of("a\nb\rc\td\0e\u001b[31m", "\"a\\u000ab\\u000dc\\u0009d\\u0000e\\u001b[31m\""),
            List.of("\u007f\u0080\u0085\u009b", "\"\\u007f\\u0080\\u0085\\u009b\""),
            List.of("\u00e9\u2028\u202e\uffff", "\"\\u00e9\\u2028\\u202e\\uffff\""),
            List.of("\ud83d\ude00\ud800", "\"\\ud83d\\ude00\\ud800\""),
            List.of("x".repeat(QUOTED), '"' + "x".repeat(QUOTED) + '"'),
            List.of("x".repeat(QUOTED + 1), '"' + "x".repeat(QUOTED) + "\"..."),
            List.of("\n".repeat(1_000_000), '"' + "\\u000a".repeat(QUOTED) + "\"..."));
    }

    @ParameterizedTest
    @MethodSource("quotations")
    void quotesWhatAClientSent(List<String> quotation) {
        assertEquals(quotation.get(1), NanoStreamWs.EventLog.quote(quotation.get(0)));
    }

    @Test
    void quotesEveryCharacterAsPrintableAscii() {
        for (int c = 0; c <= 0xFFFF; c++) {
            String quoted = NanoStreamWs.EventLog.quote(String.valueOf((char) c));
            assertTrue(quoted.chars().allMatch(q -> q >= ' ' && q < 0x7F), () -> quoted);
        }
    }

    @Test
    void writesOneLineAnEventInOrderWithTimeAndKind() {
        log.add(NanoStreamWs.Event.ADMITTED, "1.2.3.4:5");
        now = now.plusSeconds(1);
        log.add(NanoStreamWs.Event.FEED, "is here");
        assertEquals(List.of("2026-01-02T03:04:05.006Z admitted 1.2.3.4:5",
            "2026-01-02T03:04:06.006Z feed is here"), lines());
    }

    @Test
    void closeWritesWhatIsWaiting() {
        for (NanoStreamWs.Event event : NanoStreamWs.Event.values())
            events(event, BURST);
        assertEquals(NanoStreamWs.Event.values().length * BURST, lines().size());
    }

    @Test
    void leavesOutWhatIsTooMuchOfAKindAndTellsHowMuch() {
        events(NanoStreamWs.Event.REFUSED, BURST + 7);
        events(NanoStreamWs.Event.LEFT, 3); // another event has an allowance of its own
        log.tick();
        List<String> lines = lines();
        assertEquals(BURST + 3 + 1, lines.size());
        assertTrue(lines.get(BURST - 1).endsWith(" refused refused" + (BURST - 1)), lines.get(BURST - 1));
        assertTrue(lines.get(BURST + 2).endsWith(" left left2"), lines.get(BURST + 2));
        assertTrue(lines.getLast().matches(".* refused 7 .*left out"), lines.getLast());
    }

    @Test
    void countsWhatHappenedWhetherItIsLoggedOrNot() {
        events(NanoStreamWs.Event.REFUSED, BURST + 7);
        events(NanoStreamWs.Event.LEFT, 3);
        log.tick();
        assertEquals(BURST + 7, TestServer.count(log, NanoStreamWs.Event.REFUSED));
        assertEquals(3, TestServer.count(log, NanoStreamWs.Event.LEFT));
        assertEquals(0, TestServer.count(log, NanoStreamWs.Event.DROPPED));
    }

    @Test
    void tellsNothingWhereNothingWasLeftOut() {
        events(NanoStreamWs.Event.REFUSED, BURST);
        log.tick();
        log.tick();
        assertEquals(BURST, lines().size());
    }

    @Test
    void tickRenewsTheAllowanceAtTheRate() {
        events(NanoStreamWs.Event.REFUSED, BURST + 1);
        log.tick(); // tells of 1
        events(NanoStreamWs.Event.REFUSED, RATE + 2);
        log.tick(); // tells of 2
        log.tick();
        events(NanoStreamWs.Event.REFUSED, 2 * RATE + 3);
        log.tick(); // tells of 3
        List<String> lines = lines();
        assertEquals(BURST + 1 + RATE + 1 + 2 * RATE + 1, lines.size());
        assertEquals(List.of("1", "2", "3"), lines.stream().filter(line -> line.endsWith("left out"))
            .map(line -> line.split(" ")[2]).toList());
    }

    @Test
    void theAllowanceNeverExceedsTheBurst() {
        events(NanoStreamWs.Event.REFUSED, 1);
        for (int i = 0; i < 10 * BURST; i++)
            log.tick();
        events(NanoStreamWs.Event.REFUSED, 2 * BURST);
        assertEquals(1 + BURST, lines().size());
    }

    @Test
    @DisplayName("of a kind a hundred lines are written at once, and five a second after that")
    void hasTheAllowanceOfTheDocumentation() {
        assertEquals(100, BURST);
        assertEquals(5, RATE);
    }

    /** A client's request, the status that it gets, and the line that the log has of it. */
    private record Case(String request, int status, String line) {
        static Case of(String target, int status, String line, String... fields) {
            String[] all = Arrays.copyOf(fields, fields.length + 1);
            all[fields.length] = "Origin: https://example.com";
            return new Case(RawClient.handshake(target, all), status, "origin \"https://example.com\": " + line);
        }

        /** @param port of the listeners or of the feed; word what stands before the address */
        void check(TestServer server, int port, String word, String before) throws Exception {
            try (RawClient client = new RawClient(port)) {
                client.send(request);
                assertEquals(status, RawClient.status(client.head()), line);
                String address = "127.0.0.1:" + client.socket.getLocalPort();
                assertEquals(word + ' ' + address + before + line, event(server.awaitLog(address)));
            }
        }
    }

    /** A line without its time. */
    private static String event(String line) {
        assertTrue(line.matches("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d([.]\\d{3})?Z .*"), line);
        return line.split(" ", 2)[1];
    }

    @Nested
    @DisplayName("that the README explains")
    class Explained extends GuardedServer {
        private String token(String claims) {
            return "/?t=" + TestToken.of("{\"exp\":" + server.now.plusSeconds(60).getEpochSecond() + claims + "}");
        }

        @Test
        void sayWhyAListenerIsRefused() throws Exception {
            String used = token(",\"jti\":\"used\""), good = token(""), origin = "Origin: https://example.com";
            String payload = "{\"exp\":" + server.now.plusSeconds(60).getEpochSecond() + "}";
            assertEquals(101, knock(used));
            List<Case> cases = List.of(
                Case.of("/", 401, "No token supplied"),
                Case.of("/?t=" + TestToken.of(TestToken.HEADER, payload, "another", "HmacSHA256"), 401,
                    "Token was invalid: signature does not match"),
                Case.of("/?t=" + TestToken.of("{\"alg\":\"HS512\"}", payload, TestServer.SECRET, "HmacSHA512"), 401,
                    "Token was invalid: expected alg HS256"),
                Case.of(token(",\"nbf\":" + server.now.plusSeconds(30).getEpochSecond()), 401,
                    "Token was invalid: not valid yet"),
                Case.of(token(",\"aud\":\"me\""), 401, "Token was invalid: it is for an audience (aud)"),
                Case.of("/?t=" + TestToken.of("{}"), 401, "Token has no expiration"),
                Case.of("/?t=" + TestToken.expiring(server.now.minusSeconds(12)), 401, "Token has expired: 12 s ago"),
                Case.of(used, 401, "Token has already been used"),
                Case.of(good, 400, "Request is malformed: two different tokens", "Authorization: Bearer x"),
                new Case("GET " + good + " HTTP/1.1\r\nHost: h\r\n" + origin
                    + "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 400,
                    "origin \"https://example.com\": Request is malformed: "
                        + "no Upgrade: websocket with Connection: Upgrade; a proxy has to pass both on"),
                new Case(RawClient.handshake(good, origin).replace("HTTP/1.1", "HTTP/1.0"), 400,
                    "origin \"https://example.com\": Request is malformed: "
                        + "a handshake is a GET of HTTP/1.1 (nginx: proxy_http_version 1.1)"),
                new Case(RawClient.handshake(good, origin).replace("Version: 13", "Version: 8"), 426,
                    "origin \"https://example.com\": WebSocket version is not 13: \"8\""),
                new Case("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405,
                    "without origin: Method is not GET or HEAD; a message is posted to the port of --feed: \"POST\""));
            for (Case each : cases)
                each.check(server, server.port(), "refused", " ");
            for (Case each : List.of(
                    new Case("\u0016\u0003\u0001", 400,
                        "Request is malformed: control character in the head; is it TLS? (--tls-cert)"),
                    new Case("GET /?" + "a".repeat(16 * 1024) + " HTTP/1.1\r\n", 431,
                        "Request head is too large: more than 16384 bytes"),
                    new Case("GET / HTTP/1.1\r\nHost: h\r\n" + "X: y\r\n".repeat(100) + "\r\n", 431,
                        "Request head is too large: more than 100 fields")))
                each.check(server, server.port(), "refused", ": ");
        }

        @Test
        void sayThatThereIsNoRoomOrNoAdmittance() throws Exception {
            for (int i = 0; i < 500_000; i++)
                server.server.usedTokens.expiries.put(String.valueOf(i), 1e12);
            Case.of(token(""), 503, "No room to remember another token: let them expire sooner (exp)")
                .check(server, server.port(), "refused", " ");
            try (TestServer one = new TestServer("--max-listeners=1", "--origin=example.com")) {
                new Case(RawClient.handshake("/"), 403, "without origin: Origin is not allowed: none was sent")
                    .check(one, one.port(), "refused", " ");
                new Case(RawClient.handshake("/", "Origin: null"), 403,
                    "origin \"null\": Origin is not allowed: it is not listed").check(one, one.port(), "refused", " ");
                try (RawClient inside = RawClient.admitted(one.port(), "/", "Origin: https://example.com")) {
                    one.awaitListeners(1);
                    Case.of("/", 503, "No room for another listener: the most is 1 (--max-listeners, ulimit -n, -Xmx)")
                        .check(one, one.port(), "refused", " ");
                    one.server.door.draining().set(true); // places are asked for before that
                    inside.send(RawClient.frame(0x88, ""));
                    assertTrue(inside.frame().isClose());
                }
                TestServer.await("a place", () -> one.server.door.places().get() == 0);
                Case.of("/", 503, "Server is shutting down").check(one, one.port(), "refused", " ");
            }
        }

        @Test
        void sayWhyNobodyGetsAnything() throws Exception {
            String post = "POST /here HTTP/1.1\r\nHost: h\r\n", length = "Content-Length: 1\r\n\r\n";
            try (TestServer own = new TestServer("--feed=http://127.0.0.1:0/here")) {
                for (Case each : List.of(
                        new Case(post.replace("here", "") + length + "x", 404,
                            "No such path; the target of the publisher has to be the path of --feed"),
                        new Case(post.replace("POST", "GET") + "\r\n", 405,
                            "Method is not POST; listeners connect to the port of --port: \"GET\""),
                        new Case(post + "Content-Length: 0\r\n\r\n", 400, "Message cannot be broadcast: it is empty"),
                        new Case(post + length + "\u00ff", 400, "Message cannot be broadcast: it is not UTF-8"),
                        new Case(post + "Content-Length: 12\r\n\r\n{\"block\":\"\"}", 400,
                            "Message cannot be broadcast: its block cannot be read: "
                                + "expected a value at character 0"),
                        new Case(post + "\r\n", 411, "Content-Length is missing"),
                        new Case(post + "Transfer-Encoding: chunked\r\n\r\n", 501,
                            "Transfer-Encoding is not supported"),
                        new Case(post + "Content-Length: 1048577\r\n\r\n", 413,
                            "Message is too large: the most is 1048576 bytes"),
                        new Case(post + "Origin: null\r\n" + length + "x", 403, "The feed takes nothing from browsers: "
                            + "it sent an Origin or a Sec-Fetch-Site field")))
                    each.check(own, own.feedPort(), "feed", " refused: ");
            }
        }

        private static final String MOST = ", " + NanoStreamWs.Limits.MAX_LISTENERS + " at most";

        @Test
        void sayWhereToConnectWhenItStarts() throws Exception {
            assertEquals(List.of("start NanoStreamWs 1.0.0 on Java " + Runtime.version(),
                "start listeners connect to ws://127.0.0.1:" + server.port() + "/" + MOST,
                "start feed takes POSTs to http://127.0.0.1:" + server.feedPort() + "/"), starts(server));
            try (TestServer few = new TestServer("--max-listeners=7")) {
                assertTrue(starts(few).get(1).endsWith("/, 7 at most"));
            }
            try (TestServer own = new TestServer("--host=0.0.0.0", "--feed=http://127.0.0.1:0/here")) {
                assertEquals(List.of("start listeners connect to ws://localhost:" + own.port() + "/" + MOST,
                    "start feed takes POSTs to http://127.0.0.1:" + own.feedPort()
                        + "/... (that path alone, maybe a secret, so it is not shown)"), starts(own).subList(1, 3));
            }
        }

        private static List<String> starts(TestServer server) {
            server.awaitLog(" start feed takes POSTs");
            return server.log().lines().map(LogTest::event).filter(line -> line.startsWith("start ")).toList();
        }

        @Test
        void sayWhyAListenerIsDropped() throws Exception {
            try (TestServer own = new TestServer("--ping=0"); RawClient silent = RawClient.admitted(own.port(), "/");
                 RawClient wrong = RawClient.admitted(own.port(), "/")) {
                own.awaitListeners(2);
                wrong.send(RawClient.frame(0x83, ""));
                assertEquals(1002, wrong.frame().code());
                wrong.socket.close();
                assertEquals("dropped 127.0.0.1:" + wrong.socket.getLocalPort() + ": 1002 reserved opcode, now 1",
                    event(own.awaitLog(" dropped ")));
                NanoStreamWs.Listener listener = own.server.broadcaster.listeners().getFirst();
                for (int ping = 0; ping < 3; ping++) {
                    TestServer.await("it has caught up", () -> listener.lag() <= 0);
                    own.server.broadcaster.heartbeat();
                }
                assertEquals("dropped 127.0.0.1:" + silent.socket.getLocalPort()
                    + ": it left two pings unanswered (--ping), now 0", event(own.awaitLog("--ping")));
            }
        }
    }

    @Nested
    @DisplayName("of a server")
    class OfAServer extends GuardedServer {
        @Test
        @DisplayName("an origin is escaped and cut in the log")
        void escapesAndCutsAnOrigin() throws Exception {
            try (RawClient client = new RawClient(server.port())) {
                String origin = "https://a\"b\\c\td\u00e9\u0085" + "x".repeat(5_000) + "tail";
                client.send(RawClient.handshake("/", "Origin: " + origin));
                assertEquals(401, RawClient.status(client.answer()));
                String line = server.awaitLog("127.0.0.1:" + client.socket.getLocalPort());
                assertTrue(line.contains("https://a\\\"b\\\\c\\u0009d\\u00e9\\u0085xxx"), line);
                assertTrue(line.chars().allMatch(c -> c >= ' ' && c < 0x7F), line);
                assertFalse(line.contains("tail"), line);
                assertTrue(line.length() < 300, line);
                assertTrue(line.endsWith(": No token supplied"), line);
            }
        }

        @Test
        @DisplayName("control characters, which would forge a line, are malformed, and do not get into the log")
        void refusesControlCharacters() throws Exception {
            for (char c : new char[] {0, '\n', '\r', 0x1B, 0x7F})
                try (RawClient client = new RawClient(server.port())) {
                    client.send(RawClient.handshake("/", "Origin: https://a" + c + "forged: line"));
                    assertEquals(400, RawClient.status(client.answer()), "character " + (int) c);
                    server.awaitLog("127.0.0.1:" + client.socket.getLocalPort());
                }
            server.close();
            assertFalse(server.log().contains("forged"), server.log());
            server.log().lines().filter(line -> line.contains("127.0.0.1:")).forEach(line ->
                assertTrue(line.chars().allMatch(c -> c >= ' ' && c < 0x7F), line));
            assertFalse(server.log().chars().anyMatch(c -> c < ' ' && c != '\n'), server.log());
        }
    }
}
