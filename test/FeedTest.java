import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.InputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Feed: POST and standard input")
class FeedTest extends SharedServer {
    private static final int MOST = NanoStreamWs.Limits.MAX_MESSAGE;

    private static byte[] request(byte[] body, String... fields) {
        String head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + body.length + "\r\n";
        for (String field : fields)
            head += field + "\r\n";
        return RawClient.concat((head + "\r\n").getBytes(ISO_8859_1), body);
    }

    private static byte[] request(String body, String... fields) {
        return request(body.getBytes(UTF_8), fields);
    }

    private static RawClient feed() throws Exception {
        return new RawClient(server.feedPort());
    }

    /** A refusal that says no more than the status, with which the connection ends; the listeners get nothing. */
    private static String assertRefused(int status, byte[] request) throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/"); RawClient feed = feed()) {
            feed.send(request);
            String answer = feed.answer();
            assertEquals(status, RawClient.status(answer), answer);
            assertEquals(answer.substring(9, answer.indexOf('\r')) + '\n', RawClient.body(answer));
            assertEquals("close", RawClient.field(answer, "Connection"));
            assertTrue(feed.atEnd(), "in order");
            assertEquals(200, server.post("the next"));
            assertEquals("the next", listener.text());
            return answer;
        }
    }

    private static String assertRefused(int status, String request) throws Exception {
        return assertRefused(status, request.getBytes(ISO_8859_1));
    }

    @ParameterizedTest
    @DisplayName("a message is one unfragmented text frame, whatever its length")
    @ValueSource(ints = {1, 2, 125, 126, 127, 65535, 65536, 1048575, 1048576})
    void broadcastsAMessage(int length) throws Exception {
        byte[] message = new byte[length];
        for (int i = 0; i < length; i++)
            message[i] = (byte) ('a' + i % 23);
        try (RawClient one = RawClient.admitted(server.port(), "/");
             RawClient two = RawClient.admitted(server.port(), "/");
             RawClient feed = feed()) {
            feed.send(request(message));
            assertOk(feed);
            for (RawClient listener : new RawClient[] {one, two}) {
                RawClient.Frame frame = listener.frame();
                assertEquals(0x81, frame.firstByte());
                assertArrayEquals(message, frame.payload());
            }
        }
    }

    @Test
    void takesAPostOneByteAtATime() throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/"); RawClient feed = feed()) {
            feed.sendSlowly(request("slowly, κόσμε"));
            assertOk(feed);
            assertEquals("slowly, κόσμε", listener.text());
        }
    }

    @Test
    @DisplayName("what went out is in the order of the answers")
    void keepsTheOrder() throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/")) {
            for (int i = 0; i < 50; i++)
                try (RawClient feed = feed()) {
                    feed.send(request("message " + i));
                    assertOk(feed);
                }
            for (int i = 0; i < 50; i++)
                assertEquals("message " + i, listener.text());
        }
    }

    @ParameterizedTest
    @DisplayName("a head that is refused")
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
        411 | POST | no length                    | X: y
        411 | POST | another length               | X-Content-Length: 3
        501 | POST | chunked                      | Transfer-Encoding: chunked
        501 | POST | chunked, and a length        | Content-Length: 3; Transfer-Encoding: chunked
        501 | POST | identity                     | Transfer-Encoding: identity; Content-Length: 3
        413 | POST | a byte too many, announced   | Content-Length: 1048577
        413 | POST | too many, with zeros before  | Content-Length: 0001048577
        413 | POST | far too many, announced      | Content-Length: 999999999999999999
        413 | POST | more than a long, announced  | Content-Length: 99999999999999999999
        413 | POST | too many, and waits          | Content-Length: 1048577; Expect: 100-continue
        400 | POST | two lengths                  | Content-Length: 3; Content-Length: 4
        400 | POST | two lengths, the same        | Content-Length: 3; Content-Length: 3
        400 | POST | two lengths in one           | Content-Length: 3, 3
        400 | POST | signed length                | Content-Length: +3
        400 | POST | negative length              | Content-Length: -1
        400 | POST | hexadecimal length           | Content-Length: 0x3
        400 | POST | no number                    | Content-Length: three
        400 | POST | two Hosts                    | Host: a; Content-Length: 3
        417 | POST | another expectation          | Content-Length: 3; Expect: 200-ok
        403 | POST | a browser's, by its origin   | Content-Length: 3; Origin: http://localhost
        403 | POST | by its origin null           | Content-Length: 3; Origin: null
        403 | POST | by the site it came from     | Content-Length: 3; Sec-Fetch-Site: same-origin
        403 | GET  | a browser's GET              | Sec-Fetch-Site: none
        405 | GET  | a GET                        | X: y
        405 | PUT  | a PUT                        | Content-Length: 3
        405 | OPTIONS | asks what is allowed      | X: y
        405 | GET  | a handshake                  | Upgrade: websocket; Connection: Upgrade; Sec-WebSocket-Version: 13
        """)
    void refusesAHead(int status, String method, String what, String fields) throws Exception {
        String answer = assertRefused(status, method + " / HTTP/1.1\r\nHost: localhost\r\n"
            + fields.replace("; ", "\r\n") + "\r\n\r\n");
        assertEquals(status == 405 ? "POST" : null, RawClient.field(answer, "Allow"));
        assertNull(RawClient.field(answer, "Access-Control-Allow-Origin"));
    }

    static List<byte[]> badMessages() {
        return List.of(new byte[0], RawClient.bytes(0xFF), RawClient.bytes('a', 0xC3),
            RawClient.bytes(0xED, 0xA0, 0x80), RawClient.bytes(0xC0, 0x80),
            "{\"block\":\"{not json\"}".getBytes(UTF_8), "{\"block\":\"[1]\"}".getBytes(UTF_8),
            "{\"block\":\"\"}".getBytes(UTF_8), "{\"block\":{\"amount\":\"1.5\"}}".getBytes(UTF_8),
            "{\"block\":\"{}\",\"amount\":\"-1\"}".getBytes(UTF_8));
    }

    @ParameterizedTest
    @org.junit.jupiter.params.provider.MethodSource("badMessages")
    @DisplayName("a message that cannot be broadcast is 400, and the connection stays open for the next")
    void refusesABadMessage(byte[] message) throws Exception {
        try (TestServer own = new TestServer(); RawClient listener = RawClient.admitted(own.port(), "/");
             RawClient feed = new RawClient(own.feedPort())) {
            feed.send(request(message));
            String answer = feed.answer();
            assertEquals("HTTP/1.1 400 Bad Request", answer.lines().findFirst().orElseThrow());
            assertTrue(answer.endsWith("\r\n\r\n400 Bad Request\n"), answer);
            String line = own.awaitLog("127.0.0.1:" + feed.socket.getLocalPort() + " refused: ");
            assertTrue(line.contains("Message cannot be broadcast: "), line);
            feed.send(request("the next"));
            assertOk(feed);
            assertEquals("the next", listener.text());
        }
    }

    @Test
    @DisplayName("a feed with a path takes POSTs there only")
    void takesItsPathOnly() throws Exception {
        try (TestServer own = new TestServer("--feed=http://127.0.0.1:0/hidden%20place/path");
             RawClient listener = RawClient.admitted(own.port(), "/")) {
            for (String path : new String[] {"/", "/hidden%20place", "/hidden%20place/path/", "/HIDDEN%20place/path",
                "/?/hidden%20place/path"})
                try (RawClient feed = new RawClient(own.feedPort())) {
                    feed.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
                    assertEquals(404, RawClient.status(feed.answer()), path);
                    assertTrue(feed.atEnd());
                }
            for (String path : new String[] {"/hidden%20place/path", "/hidden%20place/path?x",
                "/%68idden%20place/path"})
                try (RawClient feed = new RawClient(own.feedPort())) {
                    feed.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
                    assertOk(feed);
                    assertEquals("x", listener.text());
                }
            own.awaitLog("No such path");
            assertFalse(own.log().contains("hidden%20place") || own.log().contains("hidden place"),
                "it is not shown: " + own.log());
        }
    }

    @ParameterizedTest
    @DisplayName("a feed without a path takes POSTs anywhere")
    @ValueSource(strings = {"/", "/callback", "/a/b?c=d"})
    void takesAnyPathWithoutOne(String path) throws Exception {
        try (RawClient feed = feed()) {
            feed.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
            assertOk(feed);
        }
    }

    @Test
    @DisplayName("RFC 9110 §10.1.1: a client that expects 100-continue gets it before the body")
    void sendsContinueBeforeTheBody() throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/"); RawClient feed = feed()) {
            for (String expect : new String[] {"100-continue", "100-Continue"}) {
                feed.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: " + expect + "\r\n\r\n");
                assertEquals("HTTP/1.1 100 Continue\r\n\r\n", feed.head());
                feed.send("hello");
                assertOk(feed);
                assertEquals("hello", listener.text());
            }
        }
    }

    @Test
    @DisplayName("RFC 9110 §10.1.1: a server \"MUST ignore\" that expectation in an HTTP/1.0 request")
    void doesNotContinueForHttp10() throws Exception {
        try (RawClient feed = feed()) {
            feed.send("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
            assertOk(feed);
            assertTrue(feed.atEnd());
        }
    }

    @Test
    @DisplayName("RFC 9112 §9.3: the connection persists, until a request says close")
    void keepsTheConnection() throws Exception {
        try (RawClient feed = feed()) {
            for (int i = 0; i < 5; i++) {
                feed.send(request("message " + i, "Connection: keep-alive"));
                assertOk(feed);
            }
            feed.send(request("the last", "Connection: Close"));
            String answer = feed.answer();
            assertEquals(200, RawClient.status(answer));
            assertEquals("close", RawClient.field(answer, "Connection"));
            assertTrue(feed.atEnd());
        }
    }

    @Test
    @DisplayName("RFC 9112 §9.3.2: 50 POSTs in one packet are answered in order")
    void answersPipelinedPostsInOrder() throws Exception {
        ByteArrayOutputStream packet = new ByteArrayOutputStream();
        for (int i = 0; i < 50; i++)
            packet.writeBytes(request(i % 7 == 3 ? "" : "message " + i));
        try (RawClient listener = RawClient.admitted(server.port(), "/"); RawClient feed = feed()) {
            feed.send(packet.toByteArray());
            for (int i = 0; i < 50; i++)
                assertEquals(i % 7 == 3 ? 400 : 200, RawClient.status(feed.answer()), "answer " + i);
            for (int i = 0; i < 50; i++)
                if (i % 7 != 3)
                    assertEquals("message " + i, listener.text());
        }
    }

    @Test
    @DisplayName("callbacks and texts on two open connections in turn are all answered, and broadcast in that order")
    void answersTwoConnectionsInTurn() throws Exception {
        try (TestServer own = new TestServer(); RawClient listener = RawClient.admitted(own.port(), "/");
             RawClient one = new RawClient(own.feedPort()); RawClient two = new RawClient(own.feedPort())) {
            for (int i = 0; i < 3; i++)
                for (RawClient feed : List.of(one, two))
                    for (String hash : List.of("A" + i, "B" + i)) {
                        feed.send(request("{\"block\":{\"hash\":\"" + hash + "\"}}"));
                        assertOk(feed);
                        String flat = listener.text();
                        assertTrue(flat.startsWith("{\"hash\":\"" + hash + "\","), flat);
                        feed.send(request("text " + hash));
                        assertOk(feed);
                        assertEquals("text " + hash, listener.text());
                    }
        }
    }

    @Test
    @DisplayName("a POST behind one that waits while a shutdown begins is 503 and not broadcast; what was taken is 200")
    void refusesAPostWhileItDrains() throws Exception {
        HeldSocket held = new HeldSocket();
        String large = "x".repeat(300_000); // more than a lane may lag
        try (TestServer own = new TestServer(); RawClient one = new RawClient(own.feedPort());
             RawClient two = new RawClient(own.feedPort())) {
            own.server.timer.shutdownNow(); // nobody relieves the lane that is held up
            NanoStreamWs.StreamLog log = own.server.broadcaster.plain;
            own.server.broadcaster.lanes.getFirst().add(held.listener(log));
            one.send(request(large));
            TestServer.await("the large one is in the log", () -> log.end() > large.length());
            long end = log.end();
            two.send(RawClient.concat(request("taken"), request("refused"))); // in one packet, so read at once
            TestServer.await("another is in the log", () -> log.end() > end);
            CompletableFuture<Void> closing = CompletableFuture.runAsync(own.server::close);
            TestServer.await("the log is closed", () -> log.isClosedAt(log.end()));
            held.letGo();
            assertOk(one);
            assertOk(two);
            String answer = two.answer();
            assertEquals("HTTP/1.1 503 Service Unavailable", answer.lines().findFirst().orElseThrow());
            assertTrue(Integer.parseInt(RawClient.field(answer, "Retry-After")) > 0);
            assertTrue(two.atEnd());
            closing.get(20, TimeUnit.SECONDS);
            assertEquals(List.of(large, "taken"), held.texts());
            assertEquals(3, held.frames().size(), "nothing follows the close frame");
            assertTrue(held.frames().getLast().isClose());
            own.awaitLog("feed 127.0.0.1:" + two.socket.getLocalPort() + " refused: Server is shutting down");
        } finally {
            held.letGo();
        }
    }

    @ParameterizedTest
    @DisplayName("RFC 9110 §8.6: a length is a decimal number, whatever zeros stand before it")
    @ValueSource(strings = {"10", "010", "00000010", "000000000000000010"})
    void takesALengthByItsValue(String length) throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/"); RawClient feed = feed()) {
            feed.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + "\r\n\r\nten bytes!");
            assertOk(feed);
            assertEquals("ten bytes!", listener.text());
            feed.send(request("the next"));
            assertOk(feed);
            assertEquals("the next", listener.text());
        }
    }

    @Test
    @DisplayName("RFC 9112 §9.3: HTTP/1.0 ends with the answer")
    void endsAfterHttp10() throws Exception {
        try (RawClient feed = feed()) {
            feed.send("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
            String answer = feed.answer();
            assertEquals(200, RawClient.status(answer));
            assertEquals("close", RawClient.field(answer, "Connection"));
            assertTrue(feed.atEnd());
        }
    }

    @Test
    @DisplayName("a POST that is cut off is no message")
    void dropsAPostThatIsCutOff() throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/")) {
            try (RawClient feed = feed()) {
                feed.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
                feed.socket.shutdownOutput();
                TestServer.await("the end, in order or not", () -> hasEnded(feed));
            }
            assertEquals(200, server.post("the next"));
            assertEquals("the next", listener.text());
        }
    }

    private static boolean hasEnded(RawClient client) {
        try {
            return client.atEnd();
        } catch (java.io.IOException e) {
            return true;
        }
    }

    @ParameterizedTest
    @DisplayName("what is no callback goes out byte for byte")
    @ValueSource(strings = {" {\"a\" :1 ,\t\"b\": [ ] }\r\n ", "{}", "{\"block\":5}",
        "{\"block\":null,\"amount\":\"1\"}", "[{\"block\":\"{}\"}]", "{\"block\":\"{}\"",
        "{\"a\":1,\"a\":2,\"block\":\"{}\"}", "{\"a\":\"\\ud83d\",\"block\":\"{}\"}", "{\"block\":\"{\\ude00}\"}",
        "{\"block\":\"{}\"} x", "{\"a\\u0062\":1.50e+2}", "true", "just text", " ", "\n", "κόσμε 😀 \u0000 \uffff"})
    void broadcastsOthersByteForByte(String message) throws Exception {
        try (RawClient listener = RawClient.admitted(server.port(), "/"); RawClient feed = feed()) {
            feed.send(request(message));
            assertOk(feed);
            RawClient.Frame frame = listener.frame();
            assertEquals(0x81, frame.firstByte());
            assertArrayEquals(message.getBytes(UTF_8), frame.payload());
        }
    }

    @Test
    @DisplayName("a callback goes out as one flat object, as recorded, with a time of its own")
    void flattensCallbacks() throws Exception {
        try (TestServer own = new TestServer(); RawClient listener = RawClient.admitted(own.port(), "/")) {
            Instant seen = own.now;
            for (NanoPair pair : NanoPair.all()) {
                assertEquals(200, own.post(pair.callback()), pair.name());
                String flat = listener.text().replaceFirst(",\"tps\":[0-9.]+,\"tpm\":[0-9.]+}$", " and the rates");
                assertEquals(pair.flat() + ",\"seen\":" + seen(seen) + " and the rates", flat, pair.name());
                seen = seen.plus(1, ChronoUnit.MICROS);
            }
        }
    }

    private static BigDecimal seen(Instant now) {
        return BigDecimal.valueOf(ChronoUnit.MICROS.between(Instant.EPOCH, now), 6);
    }

    /** What {@code readLines} broadcasts of an input, and what it logs. */
    private record Lines(List<String> messages, String log) {
        static Lines of(InputStream input) throws Exception {
            ByteArrayOutputStream log = new ByteArrayOutputStream(), frames = new ByteArrayOutputStream();
            NanoStreamWs.Broadcaster broadcaster = HeldSocket.unattended(MOST, Duration.ofSeconds(1));
            NanoStreamWs.Segment first = broadcaster.plain.tail;
            NanoStreamWs.Publisher publisher =
                new NanoStreamWs.Publisher(broadcaster, new NanoStreamWs.NanoBlocks(), bytes -> { });
            try (var events = new NanoStreamWs.EventLog(new PrintStream(log, true, UTF_8), InstantSource.system())) {
                NanoStreamWs.Intake intake = new NanoStreamWs.Intake("-", publisher, events);
                new NanoStreamWs.LineFeed(input, intake, failed -> { }).readLines();
            }
            for (NanoStreamWs.Segment segment = first; segment != null; segment = segment.next)
                frames.write(segment.bytes, 0, segment.limit());
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(frames.toByteArray()));
            List<String> messages = new ArrayList<>();
            while (in.available() > 0)
                messages.add(RawClient.frame(in).text());
            return new Lines(messages, log.toString(UTF_8));
        }

        static Lines of(String input) throws Exception {
            return of(new ByteArrayInputStream(input.getBytes(UTF_8)));
        }
    }

    @Test
    @DisplayName("-: a line is a message; CRLF, empty lines, and a last line without an end")
    void readsLines() throws Exception {
        assertEquals(List.of("one", "two", " three ", "κόσμε", "a\rb", "last"),
            Lines.of("one\ntwo\r\n\n\r\n three \nκόσμε\na\rb\nlast").messages());
        assertEquals(List.of("one"), Lines.of("one\n").messages());
        assertEquals(List.of(), Lines.of("").messages());
        assertEquals(List.of(), Lines.of("\n\r\n\n").messages());
    }

    @Test
    @DisplayName("-: NUL is a character like another; one CR belongs to a line's end; empty lines are not even refused")
    void readsLinesOfControlCharacters() throws Exception {
        Lines lines = Lines.of("\0\n\n\0a\0\r\n\r\n\r\r\nb\r\r\n\r\0\n\n\0\0");
        assertEquals(List.of("\0", "\0a\0", "\r", "b\r", "\r\0", "\0\0"), lines.messages());
        assertEquals("", lines.log());
        assertEquals(List.of("a"), Lines.of("a\r").messages());
        assertEquals(List.of(), Lines.of("\r").messages());
    }

    @Test
    @DisplayName("-: bytes that come one at a time make the same lines")
    void readsLinesOneByteAtATime() throws Exception {
        InputStream slow = new java.io.FilterInputStream(new ByteArrayInputStream("one\r\ntwo".getBytes(UTF_8))) {
            @Override
            public int read(byte[] bytes, int offset, int length) throws java.io.IOException {
                return super.read(bytes, offset, Math.min(length, 1));
            }
        };
        assertEquals(List.of("one", "two"), Lines.of(slow).messages());
    }

    @Test
    @DisplayName("-: a line over the limit is left out, with a log line; the longest is not")
    void leavesOutALineThatIsTooLong() throws Exception {
        String longest = "x".repeat(MOST);
        Lines lines = Lines.of("one\n" + longest + "y\n" + longest + "\n" + longest.repeat(3) + "\ntwo\n");
        assertEquals(List.of("one", longest, "two"), lines.messages());
        assertEquals(2, lines.log().lines().filter(line -> line.contains("- refused: Message is too large")).count(),
            lines.log());
    }

    @Test
    @DisplayName("-: such a line is left out also where there is a CR at the limit")
    void leavesOutALineThatIsTooLongBehindACr() throws Exception {
        Lines lines = Lines.of("x".repeat(MOST) + "\rrest\ntwo\n");
        assertEquals(List.of("two"), lines.messages().stream().map(message -> abbreviated(message)).toList());
        assertTrue(lines.log().contains("- refused: Message is too large"), lines.log());
    }

    private static String abbreviated(String message) {
        return message.length() < 20 ? message : message.substring(0, 20) + "... of " + message.length();
    }

    @Test
    @DisplayName("-: the end of a line is no part of its length")
    void doesNotCountTheEndOfALine() throws Exception {
        String longest = "x".repeat(MOST);
        assertEquals(List.of(longest, "two"), Lines.of(longest + "\r\ntwo\r\n").messages());
    }

    @ParameterizedTest
    @DisplayName("-: the longest line, and one byte more, before every kind of end")
    @ValueSource(strings = {"\n", "\r\n", "\r", ""})
    void readsTheLongestLineBeforeEveryEnd(String end) throws Exception {
        String longest = "x".repeat(MOST);
        Lines lines = Lines.of("one\n" + longest + end);
        assertEquals(List.of("one", longest), lines.messages());
        assertEquals("", lines.log());
        for (String more : List.of("y", "\r", "yy", "yyy")) {
            boolean isEnd = more.equals("\r") && !end.startsWith("\r"); // then it makes a CRLF, or the last CR
            Lines longer = Lines.of("one\n" + longest + more + end);
            assertEquals(isEnd ? 2 : 1, longer.messages().size(), abbreviated(longer.messages().getLast()));
            assertEquals(!isEnd, longer.log().endsWith(
                " feed - refused: Message is too large: the most is 1048576 bytes\n"), longer.log());
        }
    }

    @Test
    @DisplayName("-: a line that cannot be broadcast is left out, with a log line")
    void leavesOutABadLine() throws Exception {
        Lines lines = Lines.of(new ByteArrayInputStream(RawClient.bytes('a', '\n', 0xFF, '\n', 'b')));
        assertEquals(List.of("a", "b"), lines.messages());
        assertTrue(lines.log().contains("- refused: Message cannot be broadcast: it is not UTF-8"), lines.log());
    }

    @Test
    @DisplayName("--feed -: standard input is broadcast, and the server shuts down where it ends")
    void broadcastsStandardInput() throws Exception {
        InputStream before = System.in;
        PipedOutputStream lines = new PipedOutputStream();
        System.setIn(new PipedInputStream(lines));
        try (TestServer own = new TestServer("--feed=-"); RawClient listener = RawClient.admitted(own.port(), "/")) {
            lines.write("one\ntwo".getBytes(UTF_8));
            lines.flush();
            assertEquals("one", listener.text());
            lines.close();
            assertEquals("two", listener.text());
            assertEquals(1001, listener.frame().code());
            own.awaitLog("- has ended");
        } finally {
            System.setIn(before);
        }
    }
}
