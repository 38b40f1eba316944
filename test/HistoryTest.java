// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.lang.ref.WeakReference;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.net.Socket;
import java.net.SocketException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("History: what a listener missed, and then the stream, without a gap or a double")
class HistoryTest {
    private static final String OFFER = "Sec-WebSocket-Extensions: permessage-deflate";
    private static final int MIB = 1024 * 1024;

    /** Broadcasts a message; returns when it was seen, as a client writes it. */
    private static String publish(TestServer server, String text) {
        long[] at = new long[1];
        server.server.broadcaster.publish(seen -> {
            at[0] = seen;
            return text.getBytes(UTF_8);
        });
        return seconds(at[0]);
    }

    private static String seconds(long micros) {
        return BigDecimal.valueOf(micros, 6).toPlainString();
    }

    private static void ping(TestServer server) {
        server.server.broadcaster.send(NanoStreamWs.Opcode.PING, seen -> new byte[0]);
    }

    private static String[] offer(boolean deflate) {
        return deflate ? new String[] {OFFER} : new String[0];
    }

    private static RawClient joined(TestServer server, String query, String... fields) throws Exception {
        return RawClient.admitted(server.port(), "/?" + query, fields);
    }

    /** The next frame has to be a message, compressed or not. */
    private static String message(RawClient client) throws Exception {
        RawClient.Frame frame = client.frame();
        if (frame.firstByte() == 0xC1)
            return new String(RawClient.inflated(frame.payload()), UTF_8);
        assertTrue(frame.isText(), "expected a message, got " + Integer.toHexString(frame.firstByte()));
        return frame.text();
    }

    /** What a listener gets, up to a message that is published now, or once it is there. */
    private static List<String> until(String end, RawClient client) throws Exception {
        List<String> all = new ArrayList<>();
        String message = message(client);
        while (!message.equals(end)) {
            all.add(message);
            message = message(client);
        }
        return all;
    }

    /** The history that a query gets: it ends where the stream goes on, with a message that is published then. */
    private static String history(TestServer server, String query, String... fields) throws Exception {
        try (RawClient client = joined(server, query, fields)) {
            String live = "live at " + publish(server, "now");
            publish(server, live);
            List<String> all = until(live, client);
            assertEquals("now", all.removeLast());
            return String.join(" ", all);
        }
    }

    private static void assertNext(String expected, RawClient client) throws Exception {
        String message = message(client);
        if (!message.equals(expected)) // assertEquals would print all of a large one
            fail("expected " + cut(expected) + ", got " + cut(message));
    }

    private static String cut(String text) {
        return text.length() < 40 ? text : text.substring(0, 40) + "... of " + text.length();
    }

    @Nested
    @DisplayName("Where it begins")
    class Beginning {
        /** A server that saw a, b and c at 1000, 1001 and 1002.000007 s. */
        private TestServer three(String... args) throws Exception {
            TestServer server = new TestServer(args);
            server.now = Instant.ofEpochSecond(1000);
            assertEquals("1000.000000", publish(server, "a"));
            server.now = Instant.ofEpochSecond(1001);
            publish(server, "b");
            server.now = Instant.ofEpochSecond(1002, 7_000);
            assertEquals("1002.000007", publish(server, "c"));
            return server;
        }

        @ParameterizedTest
        @CsvSource(textBlock = """
            last=0,                               ''
            last=1,                               c
            last=2,                               b c
            last=3,                               a b c
            last=4,                               a b c
            last=999999999999999999,              a b c
            since=0,                              a b c
            since=999.999999,                     a b c
            since=1000,                           a b c
            since=1000.000001,                    b c
            since=1001.0,                         b c
            since=1001.000001,                    c
            since=1002,                           c
            since=1002.000007,                    c
            since=1002.0000074999,                c
            since=1002.00000660000000000,         c
            since=1002.000008,                    ''
            since=1002.0000075,                   ''
            since=999999999999.999999,            ''
            x=1,                                  ''
            last%3d=1&%6cast=%32,                 b c
            """)
        @DisplayName("is the message with this number from the end, or seen then, or the first after it")
        void isTheMessageThatWasAskedFor(String query, String history) throws Exception {
            try (TestServer server = three()) {
                assertEquals(history, history(server, query), "plain");
            }
            try (TestServer server = three()) {
                assertEquals(history, history(server, query, OFFER), "compressed");
            }
        }

        @Test
        @DisplayName("is the block whose seen a client read into a double, a microsecond after the one before")
        void isTheBlockThatAClientRemembers() throws Exception {
            try (TestServer server = new TestServer(); RawClient client = joined(server, "")) {
                List<String> blocks = new ArrayList<>();
                for (int i = 0; i < 5; i++) {
                    assertEquals(200, server.post("{\"hash\":\"" + i + "\",\"block\":{\"type\":\"state\"}}"));
                    blocks.add(message(client));
                }
                for (int i = 0; i < 5; i++) {
                    Matcher seen = Pattern.compile("\"seen\":([0-9.]+)").matcher(blocks.get(i));
                    assertTrue(seen.find(), blocks.get(i));
                    double remembered = Double.parseDouble(seen.group(1));
                    String since = "since=" + BigDecimal.valueOf(remembered).toPlainString(); // as JavaScript writes it
                    String exactly = "since=" + new BigDecimal(remembered).setScale(12, RoundingMode.DOWN);
                    for (String query : List.of(since, exactly))
                        try (RawClient again = joined(server, query)) {
                            assertEquals(blocks.get(i), message(again), query);
                        }
                }
            }
        }

        @Test
        void isTheOldestThatIsKeptForWhatIsOlder() throws Exception {
            try (TestServer server = three("--history=2")) {
                assertEquals("b c", history(server, "since=1000")); // a client that has a sees that there is a gap
                publish(server, "d");
                publish(server, "e");
                assertEquals("d e", history(server, "last=9"));
            }
        }

        @Test
        void isNowIfNothingIsKept() throws Exception {
            try (TestServer server = three("--history=0")) {
                assertEquals("", history(server, "last=9"));
                assertEquals("", history(server, "since=0"));
            }
        }

        @Test
        void isTheThousandthMessageByDefault() throws Exception {
            try (TestServer server = new TestServer()) {
                for (int i = 0; i < 1_001; i++)
                    publish(server, "m" + i);
                try (RawClient client = joined(server, "last=9999")) {
                    for (int i = 1; i < 1_001; i++)
                        assertEquals("m" + i, message(client));
                }
            }
        }

        @Test
        @DisplayName("a message that comes after the request was read, and before its cursor is taken, is not lost")
        void isAskedWhenTheCursorIsTaken() throws Exception {
            try (TestServer server = new TestServer()) {
                NanoStreamWs.Request request = NanoStreamWs.Http.parse("GET /?since=0 HTTP/1.1\r\nHost: h");
                NanoStreamWs.Past past = server.server.recorder.of(request);
                NanoStreamWs.Cursor before = server.server.broadcaster.plain.now();
                publish(server, "meanwhile");
                NanoStreamWs.Start start = server.server.broadcaster.join(false, past);
                assertEquals(before.offset(), start.from().offset());
                assertEquals(server.server.broadcaster.plain.end(), start.seam().live().offset());
            }
        }

        @Test
        @DisplayName("nothing of the rehearsal is history")
        void isBehindTheRehearsal() throws Exception {
            try (TestServer server = new TestServer()) {
                server.server.rehearse();
                assertTrue(server.server.broadcaster.plain.end() > 0, "there was a message");
                assertEquals("", history(server, "last=9"));
            }
        }

        @Test
        @DisplayName("a message may have been seen before the rehearsal, by another clock that is slower")
        void hasNoTimeOfTheRehearsal() throws Exception {
            try (TestServer server = new TestServer()) {
                server.server.rehearse();
                long earlier = 1_000_000; // a second after 1970
                server.server.broadcaster.publish(seen -> {
                    assertEquals(earlier, seen);
                    return "earlier".getBytes(UTF_8);
                }, earlier);
                assertEquals("earlier", history(server, "since=1"));
            }
        }
    }

    @Nested
    @DisplayName("How much is kept")
    class Keeping {
        private static final int HALF = 1024; // bytes, of --max-lag

        private final NanoStreamWs.StreamLog log = new NanoStreamWs.StreamLog();
        private final NanoStreamWs.Recorder recorder = new NanoStreamWs.Recorder(5, HALF);

        private int kept(NanoStreamWs.Opcode opcode, int bytes) {
            recorder.keep(opcode, 1, log.append(opcode, new byte[bytes]));
            return recorder.size();
        }

        @Test
        void isNoMoreThanHalfOfMaxLag() {
            assertEquals(1, kept(NanoStreamWs.Opcode.TEXT, HALF / 2));
            assertEquals(2, kept(NanoStreamWs.Opcode.TEXT, HALF / 2));
            assertEquals(2, kept(NanoStreamWs.Opcode.TEXT, 1), "the first one went");
            assertEquals(1, kept(NanoStreamWs.Opcode.TEXT, HALF));
            assertEquals(0, kept(NanoStreamWs.Opcode.TEXT, HALF + 1), "that one alone is too much");
            assertEquals(1, kept(NanoStreamWs.Opcode.TEXT, HALF));
        }

        @Test
        @DisplayName("no more than that either where there are pings only, for days")
        void countsPings() {
            kept(NanoStreamWs.Opcode.TEXT, HALF - 4);
            assertEquals(1, kept(NanoStreamWs.Opcode.PING, 2));
            assertEquals(1, kept(NanoStreamWs.Opcode.PING, 2));
            assertEquals(0, kept(NanoStreamWs.Opcode.PING, 2));
        }

        @Test
        void isNoMoreThanSoManyMessages() {
            for (int i = 1; i < 20; i++)
                assertEquals(Math.min(i, 5), kept(NanoStreamWs.Opcode.TEXT, 1));
        }

        @Test
        @DisplayName("where to begin is found as quickly among the most that can be kept: the feed waits for it")
        void isFoundQuickly() {
            int most = NanoStreamWs.Recorder.MOST;
            long few = nanosToFind(100), many = nanosToFind(most); // the first warms up
            few = nanosToFind(100);
            assertTrue(many < 50 * few + 20_000_000, few + " ns among 100, " + many + " among " + most);
        }

        /** How long it takes to find the oldest and the one in the middle, a thousand times. */
        private static long nanosToFind(int messages) {
            NanoStreamWs.StreamLog log = new NanoStreamWs.StreamLog();
            NanoStreamWs.Recorder recorder = new NanoStreamWs.Recorder(messages, Long.MAX_VALUE);
            for (int i = 1; i <= messages + messages / 3; i++)
                recorder.keep(NanoStreamWs.Opcode.TEXT, i, log.append(NanoStreamWs.Opcode.TEXT, new byte[1]));
            int oldest = 1 + messages / 3;
            NanoStreamWs.Past last = new NanoStreamWs.Asked(recorder, messages, 0);
            NanoStreamWs.Past since = new NanoStreamWs.Asked(recorder, Long.MAX_VALUE, oldest + messages / 2);
            long before = System.nanoTime();
            for (int i = 0; i < 1000; i++) {
                assertEquals(oldest - 1, last.from().offset());
                assertEquals(oldest - 1 + messages / 2, since.from().offset());
            }
            return System.nanoTime() - before;
        }

        @Test
        void isHalfOfTheMaxLagOfTheServer() throws Exception {
            try (TestServer server = new TestServer("--max-lag=" + 4 * MIB)) {
                String large = "x".repeat(MIB - 10); // with its frame's header a MiB
                publish(server, "a");
                publish(server, large);
                publish(server, large);
                try (RawClient client = joined(server, "last=9")) {
                    assertNext(large, client);
                    assertNext(large, client);
                    publish(server, "b");
                    assertNext("b", client);
                }
                try (RawClient client = joined(server, "last=9")) {
                    assertNext(large, client);
                    assertNext("b", client);
                }
            }
        }

        @Test
        void countsThePingsOfTheServer() throws Exception {
            try (TestServer server = new TestServer("--max-lag=" + 2 * MIB)) {
                publish(server, "x".repeat(MIB - 10 - 2));
                ping(server);
                assertEquals(1, server.server.recorder.size());
                ping(server);
                assertEquals(0, server.server.recorder.size());
            }
        }

        @Test
        @DisplayName("a segment is freed when its last message is forgotten, and no idle listener keeps it")
        void freesSegments() throws Exception {
            try (TestServer server = new TestServer("--history=2")) {
                WeakReference<NanoStreamWs.Segment> first =
                    new WeakReference<>(server.server.broadcaster.plain.tail);
                publish(server, "a");
                publish(server, "x".repeat(NanoStreamWs.Limits.SEGMENT));
                try (RawClient plain = joined(server, "last=2"); RawClient deflate = joined(server, "last=2", OFFER)) {
                    assertEquals("a", message(plain));
                    assertEquals("a", message(deflate));
                    message(plain);
                    message(deflate);
                    System.gc();
                    assertNotNull(first.get(), "it is kept");
                    server.server.recorder.forgetAll(); // nothing is sent, so that the listeners stay idle
                    TestServer.await("the segment is collected", () -> {
                        System.gc();
                        return first.get() == null;
                    });
                    server.awaitListeners(2);
                    publish(server, "b");
                    assertEquals("b", message(plain));
                    assertEquals("b", message(deflate));
                }
            }
        }

        @Test
        void freesTheSegmentsOfMessagesThatWereForgotten() throws Exception {
            try (TestServer server = new TestServer("--history=2")) {
                WeakReference<NanoStreamWs.Segment> first =
                    new WeakReference<>(server.server.broadcaster.plain.tail);
                publish(server, "a");
                for (int i = 0; i < 3; i++)
                    publish(server, "x".repeat(NanoStreamWs.Limits.SEGMENT));
                TestServer.await("the segment is collected", () -> {
                    System.gc();
                    return first.get() == null;
                });
            }
        }
    }

    @Nested
    @DisplayName("A request that cannot be meant")
    class Refused extends GuardedServer {
        @ParameterizedTest
        @ValueSource(strings = {"last=", "last", "last=-1", "last=+1", "last=1.0", "last=1e2", "last=x", "last=%201",
            "last=1234567890123456789", "last=\u0661", "since=", "since=-1", "since=1e9", "since=.5", "since=1.",
            "since=1,5", "since=now", "since=1795448508653", "since=1.1234567890123456789", "since=NaN",
            "last=1&since=1", "since=&last=1", "last=1&last=1", "since=1&since=2", "last=%zz"})
        @DisplayName("gets 400, a line in the log, and keeps its token")
        void getsBadRequestAndKeepsItsToken(String query) throws Exception {
            String token = "t=" + TestToken.fresh(server);
            assertEquals(400, knock("/?" + token + '&' + query.replace("\u0661", "%D9%A1")));
            assertEquals(400, knock("/?" + query.replace("\u0661", "%D9%A1") + '&' + token));
            String line = server.awaitLog("Request is malformed: ");
            assertTrue(line.matches(".*: (expected a whole number as last|expected seconds of Unix time as since"
                + "|last and since at once|more than one (last|since) in the query|expected UTF-8, and two .*)"), line);
            assertEquals(101, knock("/?" + token + "&since=0.5"));
            assertEquals(401, knock("/?" + token + "&since=0.5"));
        }

        @Test
        void learnsNothingWithoutAToken() throws Exception {
            assertEquals(401, knock("/?last=x"));
            assertEquals(401, knock("/?last=1"));
            server.awaitLog("No token supplied");
        }

        @Test
        void isWellWithATokenInItsHeadToo() throws Exception {
            publish(server, "a");
            String field = "Authorization: Bearer " + TestToken.fresh(server);
            assertEquals("a", history(server, "last=1", field));
        }

        @Test
        void keepsItsTokenWhereThereIsNoRoom() throws Exception {
            try (TestServer full = new TestServer("--secret", TestServer.SECRET, "--max-listeners=1")) {
                publish(full, "a");
                String target = "t=" + TestToken.fresh(full) + "&last=1";
                try (RawClient first = joined(full, "t=" + TestToken.fresh(full))) {
                    assertEquals(503, knock(full, "/?" + target, OFFER));
                    publish(full, "b");
                    assertEquals("b", message(first));
                }
                full.awaitListeners(0);
                TestServer.await("its place is free", () -> full.server.door.places().get() == 0);
                assertEquals("b", history(full, target));
            }
        }
    }

    @Nested
    @DisplayName("What is sent")
    class Sending {
        @ParameterizedTest
        @ValueSource(booleans = {false, true})
        @DisplayName("pings between the messages are left out, those after the listener joined are not")
        void leavesOldPingsOut(boolean deflate) throws Exception {
            try (TestServer server = new TestServer()) {
                List<String> texts = List.of("a", "b".repeat(125), "c".repeat(126), "d".repeat(127), "e".repeat(65535),
                    "f".repeat(65536), "g", "h".repeat(MIB), "i");
                ping(server);
                for (String text : texts) {
                    publish(server, text);
                    for (int i = 0; i < text.length() % 4; i++)
                        ping(server);
                }
                try (RawClient client = joined(server, "last=9", offer(deflate))) {
                    ping(server);
                    for (String text : texts)
                        assertNext(text, client);
                    assertEquals(0x89, client.frame().firstByte());
                    publish(server, "live");
                    assertNext("live", client);
                }
            }
        }

        @Test
        @DisplayName("pings alone fill segments behind the last message, and are passed over")
        void passesOverSegmentsOfPings() throws Exception {
            try (TestServer server = new TestServer()) {
                publish(server, "a");
                for (int i = 0; i < NanoStreamWs.Limits.SEGMENT; i++) // two bytes each
                    ping(server);
                assertEquals("a", history(server, "last=1"));
            }
        }

        @Test
        void comesPlainAndThenCompressed() throws Exception {
            try (TestServer server = new TestServer()) {
                publish(server, "a");
                publish(server, "b");
                try (RawClient client = joined(server, "last=2", OFFER)) {
                    assertEquals("a", client.frame().text());
                    assertEquals("b", client.frame().text());
                    publish(server, "c");
                    RawClient.Frame live = client.frame();
                    assertEquals(0xC1, live.firstByte());
                    assertEquals("c", new String(RawClient.inflated(live.payload()), UTF_8));
                }
            }
        }

        @ParameterizedTest
        @ValueSource(booleans = {false, true})
        void isCounted(boolean deflate) throws Exception {
            try (TestServer server = new TestServer()) {
                NanoStreamWs.StreamLog plain = server.server.broadcaster.plain;
                NanoStreamWs.StreamLog own = deflate ? server.server.broadcaster.compressed : plain;
                for (String text : List.of("old", "a", "b".repeat(NanoStreamWs.Limits.SEGMENT), "c")) {
                    publish(server, text);
                    ping(server);
                }
                try (RawClient client = joined(server, "last=3", offer(deflate))) {
                    for (int i = 0; i < 3; i++)
                        message(client);
                    long sent = 2 * 3 + 10 + NanoStreamWs.Limits.SEGMENT; // bytes
                    TestServer.await("what was sent", () -> plain.bytesSent.sum() == sent);
                    assertEquals(3, plain.messagesSent.sum());
                    publish(server, "d");
                    message(client);
                    TestServer.await("one more is sent", () -> plain.messagesSent.sum() + own.messagesSent.sum()
                        == (deflate ? 3 + 1 : 2 * (3 + 1)));
                }
            }
        }

        /** A listener of a broadcaster that sends nothing by itself, with what it was sent. */
        private record Quiet(HeldSocket socket, NanoStreamWs.Listener listener) { }

        private static NanoStreamWs.Start start(TestServer server, boolean deflate) throws Exception {
            NanoStreamWs.Past past =
                server.server.recorder.of(NanoStreamWs.Http.parse("GET /?since=0 HTTP/1.1\r\nHost: h"));
            return server.server.broadcaster.join(deflate, past);
        }

        private static Quiet quiet(TestServer server, boolean deflate) throws Exception {
            NanoStreamWs.Start start = start(server, deflate);
            NanoStreamWs.Accepted accepted = deflate ? TestServer.DEFLATE : TestServer.PLAIN;
            HeldSocket socket = HeldSocket.free();
            return new Quiet(socket, new NanoStreamWs.Listener(socket, new byte[0], start, accepted,
                NanoStreamWs.Bounds.LISTENER));
        }

        private static String sent(Quiet quiet) throws Exception {
            List<String> texts = new ArrayList<>();
            for (RawClient.Frame frame : quiet.socket.frames())
                texts.add(frame.firstByte() == 0x89 ? "ping" : frame.firstByte() == 0x88 ? "close"
                    : frame.isText() ? frame.text() : '~' + new String(RawClient.inflated(frame.payload()), UTF_8));
            return String.join(" ", texts);
        }

        @Test
        @DisplayName("what comes after the cursor is taken is the stream's, also if nothing was sent yet")
        void goesOnWhereTheCursorWasTaken() throws Exception {
            try (TestServer server = new TestServer()) {
                publish(server, "a");
                ping(server);
                publish(server, "b");
                Quiet plain = quiet(server, false), deflate = quiet(server, true);
                ping(server);
                publish(server, "c");
                for (Quiet each : List.of(plain, deflate)) {
                    assertTrue(each.listener.straggling, "its lane does not wait");
                    assertTrue(each.listener.lag() > 0);
                    each.listener.writeSegment();
                    assertTrue(each.listener.lag() > 0);
                    assertEquals("a", sent(each));
                    each.listener.writeSegment();
                    assertEquals("a b", sent(each));
                    assertTrue(each.listener.catchUp());
                    assertEquals(0, each.listener.lag());
                }
                assertEquals("a b ping c", sent(plain));
                assertEquals("a b ping ~c", sent(deflate));
                server.server.broadcaster.send(NanoStreamWs.Opcode.CLOSE, seen -> RawClient.closing(1001));
                plain.listener.catchUp();
                deflate.listener.catchUp();
                assertEquals("a b ping c close", sent(plain));
                assertEquals("a b ping ~c close", sent(deflate));
                assertTrue(plain.listener.ended && deflate.listener.ended);
            }
        }

        @Test
        @DisplayName("all messages between two pings go out by one write")
        void goesOutInAsFewWritesAsThereArePieces() throws Exception {
            try (TestServer server = new TestServer()) {
                for (String texts : List.of("a b c", "d e")) {
                    for (String text : texts.split(" "))
                        publish(server, text);
                    for (int i = 0; i < 3; i++)
                        ping(server);
                }
                publish(server, "f");
                Quiet quiet = quiet(server, false);
                quiet.listener.catchUp();
                assertEquals("a b c d e f", sent(quiet));
                assertEquals(3, quiet.socket.writers.size());
            }
        }

        @Test
        @DisplayName("listeners that go in the middle of the past leave nothing behind")
        void leavesNothingBehind() throws Exception {
            try (TestServer server = new TestServer()) {
                for (int i = 0; i < 60; i++)
                    publish(server, "x".repeat(NanoStreamWs.Limits.SEGMENT));
                for (int i = 0; i < 50; i++)
                    try (RawClient client = joined(server, "since=0", offer(i % 2 == 0))) {
                        if (i % 3 > 0)
                            client.in.readByte();
                        if (i % 5 == 0)
                            client.send(RawClient.frame(0x88, RawClient.closing(1000)));
                    }
                TestServer.await("all have gone", () -> server.server.door.places().get() == 0);
                long end = server.server.broadcaster.compressed.end();
                publish(server, "nobody wants it compressed");
                assertEquals(end, server.server.broadcaster.compressed.end());
                assertEquals(0, server.server.broadcaster.size());
                assertEquals(0, server.count(NanoStreamWs.Event.FAULT));
            }
        }

        @Test
        @DisplayName("a listener without a past, or with an empty one, is its lane's from the beginning")
        void isOfItsLaneAtOnceWithoutAPast() throws Exception {
            try (TestServer server = new TestServer()) {
                Quiet empty = quiet(server, true);
                assertFalse(empty.listener.straggling);
                publish(server, "a");
                empty.listener.catchUp();
                assertEquals("~a", sent(empty));
            }
        }

        @Test
        void isOfItsLaneOnceItHasCaughtUp() throws Exception {
            try (TestServer server = new TestServer()) {
                publish(server, "a");
                try (RawClient client = joined(server, "last=1")) {
                    assertEquals("a", message(client));
                    NanoStreamWs.Listener listener = server.server.broadcaster.listeners().getFirst();
                    TestServer.await("it is no straggler", () -> !listener.straggling);
                    publish(server, "b");
                    assertEquals("b", message(client));
                    assertFalse(listener.straggling);
                }
            }
        }

        @Test
        @DisplayName("what its lane passes over at the very end of the past is not lost")
        void looksOnceMoreWhenItsLaneHasItBack() throws Exception {
            try (TestServer server = new TestServer()) {
                publish(server, "a");
                NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
                HeldSocket socket = HeldSocket.free();
                NanoStreamWs.Listener listener = new NanoStreamWs.Listener(socket, new byte[0], start(server, false),
                        TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER) {
                    private boolean passedOver;

                    @Override
                    boolean catchUp() {
                        boolean caughtUp = super.catchUp();
                        if (!passedOver) {
                            passedOver = true;
                            publish(server, "b");
                            TestServer.await("it is passed over", () -> broadcaster.watchdog.watched.containsKey(this)
                                && broadcaster.lag(broadcaster.plain.end()) == 0);
                        }
                        return caughtUp;
                    }
                };
                broadcaster.add(listener);
                TestServer.await("all is sent", () -> listener.lag() == 0 && !listener.straggling);
                assertEquals(List.of("a", "b"), socket.texts());
            }
        }

        @Test
        @DisplayName("while many are sent the past, one after the other, the lanes get their turn")
        void letsTheLanesGoFirst() throws Exception {
            try (TestServer server = new TestServer()) {
                NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
                for (int i = 0; i < 60; i++)
                    publish(server, "x".repeat(NanoStreamWs.Limits.SEGMENT)); // each is a write
                AtomicBoolean begun = new AtomicBoolean(), published = new AtomicBoolean(), over = new AtomicBoolean();
                List<NanoStreamWs.Listener> many = new ArrayList<>();
                for (int i = 0; i < 20; i++)
                    many.add(listener(start(server, false), () -> {
                        begun.set(true);
                        long end = System.nanoTime() + 200_000; // so long it takes at least
                        while (!published.get() || System.nanoTime() < end && !over.get())
                            Thread.onSpinWait();
                    }));
                int[] readyFirst = new int[1];
                NanoStreamWs.Start now = broadcaster.join(false, null);
                broadcaster.add(listener(now, () -> {
                    readyFirst[0] = (int) many.stream().filter(each -> !each.straggling).count();
                    over.set(true);
                }));
                many.forEach(broadcaster::add);
                TestServer.await("one is written to", begun::get);
                broadcaster.send(NanoStreamWs.Opcode.TEXT, seen -> new byte[1]);
                published.set(true);
                TestServer.await("the live message is sent", over::get);
                assertTrue(readyFirst[0] < many.size() / 2, readyFirst[0] + " were ready before");
                TestServer.await("all is sent", () -> many.stream().noneMatch(each -> each.straggling));
            }
        }

        /** A listener for which something is done at each write, instead of it. */
        private static NanoStreamWs.Listener listener(NanoStreamWs.Start start, Runnable write)
                throws Exception {
            Socket socket = new Unconnected() {
                @Override
                void write(byte[] bytes, int offset, int length) {
                    write.run();
                }
            };
            return new NanoStreamWs.Listener(socket, new byte[0], start, TestServer.PLAIN,
                NanoStreamWs.Bounds.LISTENER);
        }

        @Test
        @DisplayName("a listener that closes in the middle of the past, and lingers, keeps no segment")
        void keepsNoSegmentOnceItIsClosed() throws Exception {
            try (TestServer server = new TestServer()) {
                WeakReference<NanoStreamWs.Segment> first =
                    new WeakReference<>(server.server.broadcaster.plain.tail);
                publish(server, "a");
                Quiet quiet = quiet(server, false);
                quiet.listener.send(NanoStreamWs.Opcode.CLOSE, false, RawClient.closing(1000));
                quiet.listener.catchUp();
                assertEquals("close", sent(quiet));
                publish(server, "x".repeat(NanoStreamWs.Limits.SEGMENT));
                server.server.recorder.forgetAll();
                TestServer.await("the segment is collected", () -> {
                    System.gc();
                    return first.get() == null;
                });
                assertTrue(quiet.listener.ended); // which was there all the time
            }
        }

        @Test
        @DisplayName("while a pong goes out its past waits, and comes then")
        void waitsForAPong() throws Exception {
            try (TestServer server = new TestServer()) {
                publish(server, "a");
                HeldSocket socket = HeldSocket.free();
                AtomicInteger tried = new AtomicInteger();
                NanoStreamWs.Listener listener = new NanoStreamWs.Listener(socket, new byte[0], start(server, true),
                        TestServer.DEFLATE, NanoStreamWs.Bounds.LISTENER) {
                    @Override
                    boolean catchUp() {
                        tried.incrementAndGet();
                        return super.catchUp();
                    }
                };
                listener.writeLock.lock();
                try {
                    server.server.broadcaster.add(listener);
                    publish(server, "b");
                    TestServer.await("it is watched", () ->
                        server.server.broadcaster.watchdog.watched.containsKey(listener));
                    TestServer.await("it is tried again", () -> tried.get() > 3);
                    assertTrue(listener.straggling);
                    assertEquals(List.of(), socket.frames());
                } finally {
                    listener.writeLock.unlock();
                }
                TestServer.await("all is sent", () -> listener.lag() == 0 && !listener.straggling);
                assertEquals("a ~b", sent(new Quiet(socket, listener)));
            }
        }
    }

    @Nested
    @DisplayName("A listener that is slow while it is sent the past")
    class Slow {
        private static final String LARGE = "x".repeat(64 * 1024);
        private static final int KEPT = 60; // of them, within half of --max-lag

        private static TestServer full(String... args) throws Exception {
            TestServer server = new TestServer(args);
            for (int i = 0; i < KEPT; i++)
                publish(server, i + LARGE);
            return server;
        }

        /** A client that has joined, and has not read. The buffers of both ends are small. */
        private static RawClient slow(TestServer server) throws Exception {
            RawClient client = new RawClient(server.port(), 4096);
            assertEquals(101, RawClient.status(client.upgrade("/?since=0")));
            server.awaitLog("admitted"); // its connection's thread does not wait either
            return client;
        }

        private static void readsThePast(RawClient client) throws Exception {
            for (int i = 0; i < KEPT; i++)
                assertNext(i + LARGE, client);
        }

        @Test
        void slowsNobodyElseAndLosesNothing() throws Exception {
            try (TestServer server = full("--write-timeout=1000"); RawClient slow = slow(server);
                 RawClient good = joined(server, "")) {
                for (int i = 0; i < 20; i++) {
                    publish(server, i + "live" + LARGE);
                    assertNext(i + "live" + LARGE, good);
                }
                slow.send(RawClient.frame(0x89, "well?"));
                assertNext("0" + LARGE, slow); // in one of the first buffers
                int next = 1;
                boolean answered = false; // the ping, between two frames
                while (next < KEPT + 20 || !answered) {
                    RawClient.Frame frame = slow.frame();
                    if (frame.isText()) {
                        String expected = next < KEPT ? next + LARGE : next - KEPT + "live" + LARGE;
                        assertTrue(frame.text().equals(expected), "expected message " + next);
                        next++;
                    } else {
                        assertEquals(0x8A, frame.firstByte());
                        assertEquals("well?", frame.text());
                        answered = true;
                    }
                }
                assertEquals(KEPT + 20, next);
                assertEquals(0, server.count(NanoStreamWs.Event.DROPPED));
            }
        }

        @Test
        void isDroppedWhereOneWriteStandsForTheTimeout() throws Exception {
            try (TestServer server = full("--write-timeout=0.3")) {
                NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
                broadcaster.lanes.forEach(NanoStreamWs.Lane::wake);
                TestServer.await("no lane will come by", () ->
                    broadcaster.lanes.stream().allMatch(lane -> lane.swept == broadcaster.plain.end()));
                RawClient slow = slow(server);
                server.awaitLog("one write stood for 300 ms (--write-timeout)");
                assertThrows(SocketException.class, () -> slow.in.readAllBytes());
                slow.close();
            }
        }

        @Test
        void isNotDroppedWhileItReadsOn() throws Exception {
            try (TestServer server = full("--write-timeout=0.5"); RawClient slow = slow(server)) {
                for (int i = 0; i < KEPT; i++) {
                    assertNext(i + LARGE, slow);
                    if (i % 10 == 0)
                        Thread.sleep(100); // what is slow here is the client
                }
                publish(server, "live");
                assertEquals("live", message(slow));
                assertEquals(0, server.count(NanoStreamWs.Event.DROPPED));
            }
        }

        @Test
        void isDroppedWhereItFallsTooFarBehind() throws Exception {
            try (TestServer server = full("--write-timeout=1000"); RawClient slow = slow(server);
                 RawClient good = joined(server, "")) {
                server.awaitListeners(2);
                int more = 0; // messages until it is dropped
                while (server.count(NanoStreamWs.Event.DROPPED) == 0) {
                    publish(server, LARGE);
                    message(good);
                    more++;
                }
                server.awaitLog("bytes behind (--max-lag)");
                int least = 8 * MIB / LARGE.length() - KEPT - 1;
                assertTrue(more >= least, "dropped after " + more + " messages, expected " + least);
                assertThrows(SocketException.class, () -> slow.in.readAllBytes());
            }
        }

        @Test
        @DisplayName("gets all of it, and then 1001, while the server drains")
        void getsEverythingWhileTheServerDrains() throws Exception {
            try (TestServer server = full("--drain=20"); RawClient slow = slow(server)) {
                Thread closing = Thread.ofPlatform().start(server::close);
                TestServer.await("it drains", () -> server.server.door.draining().get());
                assertEquals(1, server.server.broadcaster.size(), server::log);
                readsThePast(slow);
                RawClient.Frame end = slow.frame();
                assertTrue(end.isClose());
                assertEquals(1001, end.code());
                slow.send(RawClient.frame(0x88, RawClient.closing(1001)));
                slow.socket.shutdownOutput(); // else the server would linger
                closing.join(20_000);
                assertFalse(closing.isAlive());
                server.awaitLog("stop done");
            }
        }
    }

    @Nested
    @DisplayName("At the seam, under full load")
    class Seam {
        private static final int JOINERS = 8, JOINS = 4; // of each
        private static final int KEPT = 3_000, AHEAD = 2_000; // messages
        private static final int MOST = 4_000_000; // messages, far more than there will be
        private static final Pattern NUMBERED = Pattern.compile("\\d#(\\d+)#x*");

        private final AtomicLongArray seen = new AtomicLongArray(MOST);
        private final AtomicIntegerArray asked = new AtomicIntegerArray(JOINERS); // the message that it needs next
        private volatile int published;

        /** A message of 1 byte to 1 MiB, the same for the same number. */
        private static String text(int number) {
            int size = number % 1000 == 500 ? MIB
                : number % 100 == 7 ? 65_530 + number / 100 % 10
                : number % 10 == 3 ? 120 + number / 10 % 10
                : number % 3 == 0 ? 1 : 9;
            String text = number % 10 + "#" + number + '#';
            return text.length() >= size ? text.substring(0, size) : text + "x".repeat(size - text.length());
        }

        /** Publishes without pause, no further ahead of a joiner than is surely kept for it. */
        private void publish(TestServer server, List<Future<Void>> joiners) {
            while (joiners.stream().anyMatch(joiner -> !joiner.isDone())) {
                int number = published;
                int slowest = IntStream.range(0, JOINERS).map(asked::get).min().orElseThrow();
                if (number - slowest > AHEAD) {
                    Thread.onSpinWait();
                    continue;
                }
                byte[] text = text(number).getBytes(UTF_8);
                server.server.broadcaster.publish(at -> {
                    seen.set(number, at);
                    return text;
                });
                published = number + 1;
            }
        }

        private Void join(TestServer server, int joiner) throws Exception {
            for (int i = 0; i < JOINS; i++) {
                int first = ask(joiner);
                boolean byTime = i % 3 > 0;
                String query = byTime ? "since=" + seconds(seen.get(first)) : "last=" + AHEAD / 2;
                try (RawClient client = joined(server, query, offer((joiner + i) % 2 == 0))) {
                    int live = published + 1; // the seam is not behind this one
                    List<String> begun = new ArrayList<>();
                    int number = numberOf(begun, client);
                    if (byTime)
                        assertEquals(first, number);
                    else
                        assertTrue(number <= Math.max(0, live - AHEAD / 2), number + " of " + live);
                    for (String message : begun) {
                        assertEquals(cut(text(number)), cut(message));
                        number++;
                    }
                    while (number < live + 200) {
                        asked.set(joiner, number);
                        assertNext(text(number), client);
                        number++;
                    }
                } finally {
                    asked.set(joiner, Integer.MAX_VALUE);
                }
            }
            return null;
        }

        /** Asks for one of the last messages, and keeps the publisher from leaving it behind. */
        private int ask(int joiner) {
            TestServer.await("messages", () -> {
                int before = published;
                asked.set(joiner, before - AHEAD / 2);
                return before > 0 && published - before < AHEAD / 2; // else it may have come too late
            });
            int newest = published;
            return newest - 1 - ThreadLocalRandom.current().nextInt(Math.min(newest, AHEAD / 2));
        }

        /** The number of the first message: a small one does not say it. Takes messages until one does. */
        private static int numberOf(List<String> begun, RawClient client) throws Exception {
            Matcher number;
            do {
                begun.add(message(client));
                number = NUMBERED.matcher(begun.getLast());
            } while (!number.matches());
            return Integer.parseInt(number.group(1)) - begun.size() + 1;
        }

        @Test
        @DisplayName("each message comes once and in order, of 1 byte to 1 MiB, plain and compressed")
        void eachMessageComesOnceAndInOrder() throws Exception {
            for (int i = 0; i < JOINERS; i++)
                asked.set(i, Integer.MAX_VALUE);
            try (TestServer server = new TestServer("--history=" + KEPT, "--max-lag=" + 64 * MIB,
                    "--write-timeout=1000");
                 ExecutorService threads = Executors.newCachedThreadPool()) {
                List<Future<Void>> joiners = new ArrayList<>();
                for (int i = 0; i < JOINERS; i++) {
                    int joiner = i;
                    Callable<Void> join = () -> join(server, joiner);
                    joiners.add(threads.submit(join));
                }
                publish(server, joiners);
                for (Future<Void> joiner : joiners)
                    joiner.get(20, TimeUnit.SECONDS);
            }
        }
    }
}
