import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Pattern;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@SuppressWarnings("try") // an attacker is only there
@DisplayName("Under attack: bounds hold, and the others are served")
class UnderAttackTest {
    private static void serves(TestServer server, RawClient client, String message) throws Exception {
        assertEquals(200, server.post(message));
        assertEquals(message, client.text());
    }

    private static void close(List<RawClient> clients) throws IOException {
        for (RawClient client : clients)
            client.close();
    }

    @Test
    void twoThousandSlowRequestsKeepNobodyOut() throws Exception {
        List<RawClient> slow = new ArrayList<>();
        try (TestServer server = new TestServer()) {
            for (int i = 0; i < 2_000; i++) {
                RawClient client = new RawClient(server.port());
                client.send("G"); // and then a byte now and then
                slow.add(client);
            }
            for (int i = 0; i < 20; i++) {
                for (int j = i; j < slow.size(); j += 20)
                    slow.get(j).send("E");
                try (RawClient good = RawClient.admitted(server.port(), "/")) {
                    serves(server, good, "message " + i);
                }
            }
            close(slow);
        }
    }

    /** Sends a frame, and waits until the server has read it. */
    private static void sendAndWait(RawClient client, byte[] frame) throws Exception {
        client.send(frame);
        client.send(RawClient.frame(0x89, "read?"));
        assertEquals("read?", client.frame().text());
    }

    @Test
    @DisplayName("a listener that does not finish a message is dropped, however often it sends a piece of it")
    void anUnfinishedMessageHasADeadline() throws Exception {
        try (TestServer server = new TestServer();
             RawClient slow = RawClient.admitted(server.port(), "/", "Sec-WebSocket-Extensions: permessage-deflate");
             RawClient good = RawClient.admitted(server.port(), "/")) {
            NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
            slow.send(RawClient.frame(0x41, Arrays.copyOf(RawClient.deflated(new byte[1000], 9), 3)));
            for (int second = 0; second < NanoStreamWs.Limits.MESSAGE_TIMEOUT - 10; second++) {
                sendAndWait(slow, RawClient.frame(0x00, ""));
                sendAndWait(good, RawClient.frame(0x01, "one after the other, and each is under way for a second"));
                broadcaster.endUnfinished(); // the timer calls it as well, a few times meanwhile
                good.send(RawClient.frame(0x80, ""));
            }
            server.awaitListeners(2);
            sendAndWait(good, RawClient.frame(0x01, "another one"));
            for (int second = 0; second < 12; second++)
                broadcaster.endUnfinished();
            String line = server.awaitLog("was not finished");
            assertTrue(line.endsWith(": its message was not finished in 30 s, now 1"), line);
            assertTrue(slow.isGone());
            serves(server, good, "hello");
        }
    }

    @Test
    @DisplayName("a message under way is given its seconds and no more; the next one has them anew")
    void countsTheSecondsOfAMessage() throws Exception {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        all.writeBytes(RawClient.frame(0x01, "begun"));
        all.writeBytes(RawClient.frame(0x89, ""));
        all.writeBytes(RawClient.frame(0x80, "finished"));
        all.writeBytes(RawClient.frame(0x89, ""));
        all.writeBytes(RawClient.frame(0x01, "begun"));
        all.writeBytes(RawClient.frame(0x89, ""));
        NanoStreamWs.FrameReader reader = new NanoStreamWs.FrameReader(new ByteArrayInputStream(all.toByteArray()),
            new byte[0], TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER, (type, bytes, offset, length, last) -> { });
        int most = NanoStreamWs.Limits.MESSAGE_TIMEOUT;
        reader.next();
        for (int second = 0; second < most; second++)
            assertFalse(reader.isUnfinished());
        reader.next();
        for (int second = 0; second < 2 * most; second++)
            assertFalse(reader.isUnfinished(), "nothing is under way");
        reader.next();
        for (int second = 0; second < most; second++)
            assertFalse(reader.isUnfinished());
        assertTrue(reader.isUnfinished());
    }

    @Test
    @DisplayName("other clients that come into the rehearsal are closed, and it goes on")
    void nobodyElseGetsIntoTheRehearsal() throws Exception {
        try (TestServer server = new TestServer();
             ServerSocket loop = new ServerSocket(0, 9, InetAddress.getLoopbackAddress());
             RawClient stranger = new RawClient(loop.getLocalPort());
             RawClient another = new RawClient(loop.getLocalPort())) {
            NanoStreamWs.Door door = server.server.door;
            NanoStreamWs.Rehearsal rehearsal =
                new NanoStreamWs.Rehearsal(door, null, () -> "", NanoStreamWs.Rehearsal.TCP);
            stranger.send(RawClient.handshake("/"));
            String request = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
            try (Socket visitor = rehearsal.enter(loop, request)) {
                assertTrue(new String(visitor.getInputStream().readAllBytes(), UTF_8).endsWith("ok"));
            }
            assertTrue(stranger.isGone());
            assertTrue(another.isGone());
            assertEquals(0, server.server.broadcaster.size());
        }
    }

    @Test
    @DisplayName("unfinished bodies have a bound in all: beyond it connections end that have posted nothing")
    void manyUnfinishedBodiesTakeNoMoreThanTheirBound() throws Exception {
        int bound = NanoStreamWs.Limits.MAX_UNANSWERED;
        byte[] head = ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + NanoStreamWs.Limits.MAX_MESSAGE + "\r\n\r\n")
            .getBytes(UTF_8);
        byte[] body = new byte[NanoStreamWs.Limits.MAX_MESSAGE - 1];
        List<RawClient> crowd = new ArrayList<>();
        try (TestServer server = new TestServer(); RawClient publisher = new RawClient(server.feedPort());
             RawClient silent = new RawClient(server.feedPort())) { // older than the others, and it holds nothing
            posts(publisher);
            var acceptor = ((NanoStreamWs.PostFeed) server.server.feeds.getFirst()).acceptor();
            for (int i = 0; i < bound / body.length + 10; i++) {
                RawClient client = new RawClient(server.feedPort());
                client.send(head);
                try {
                    client.send(body);
                } catch (IOException e) {
                    // it was the oldest already
                }
                crowd.add(client);
                int bytes = acceptor.unanswered.get();
                assertTrue(bytes <= bound + 2 * body.length, bytes + " bytes");
            }
            server.awaitLog("is closed for room");
            posts(publisher);
            long closed = server.log().lines().filter(line -> line.contains(" is closed for room")).count();
            assertTrue(closed <= 20, closed + " were closed for ten"); // two that grow at once end one each
            close(crowd);
            TestServer.await("nothing is kept", () -> acceptor.unanswered.get() == 0);
            posts(publisher);
            posts(silent);
        }
    }

    private static void posts(RawClient publisher) throws Exception {
        publisher.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        assertEquals(200, RawClient.status(publisher.answer()));
    }

    @Test
    @DisplayName("for room on the feed's port those go first that have posted nothing, refused requests included")
    void aPublisherIsNotClosedForRoom() throws Exception {
        List<RawClient> silent = new ArrayList<>();
        try (TestServer server = new TestServer(); RawClient publisher = new RawClient(server.feedPort());
             RawClient lost = new RawClient(server.feedPort())) {
            posts(publisher);
            lost.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
            assertEquals(400, RawClient.status(lost.answer()));
            for (int i = 0; i < NanoStreamWs.Limits.MAX_PENDING + 10; i++)
                silent.add(new RawClient(server.feedPort()));
            server.awaitLog("is closed for room");
            assertTrue(lost.isGone());
            posts(publisher);
            close(silent);
        }
    }

    @Test
    void beyondTheMostPendingTheOldestEndsAndTheLogSaysSo() throws Exception {
        List<RawClient> silent = new ArrayList<>();
        try (TestServer server = new TestServer()) {
            for (int i = 0; i < NanoStreamWs.Limits.MAX_PENDING + 10; i++)
                silent.add(new RawClient(server.port()));
            server.awaitLog("is closed for room");
            assertTrue(silent.getFirst().isGone());
            try (RawClient good = RawClient.admitted(server.port(), "/")) {
                serves(server, good, "hello");
            }
            close(silent);
        }
    }

    @Test
    void aFloodOfPingsEndsWithAPolicyViolationAndDelaysNobody() throws Exception {
        flood(RawClient.frame(0x89, ""), 1_000);
    }

    @Test
    void aFloodOfDataEndsWithAPolicyViolationAndDelaysNobody() throws Exception {
        flood(RawClient.frame(0x82, new byte[1_000]), 100);
    }

    @Test
    void aFloodOfWhatInflatesToMuchEndsWithAPolicyViolationAndDelaysNobody() throws Exception {
        byte[] bytes = RawClient.deflated("a".repeat(NanoStreamWs.Limits.MAX_CLIENT_MESSAGE).getBytes(UTF_8), 9);
        // The head is long, so that much is read with it.
        flood(RawClient.frame(0xC1, bytes), 500, "X: " + "x".repeat(8_000),
            "Sec-WebSocket-Extensions: permessage-deflate");
    }

    @Test
    void aFloodOfEmptyFragmentsEndsAtTheirMostNumber() throws Exception {
        try (TestServer server = new TestServer(); RawClient flooding = RawClient.admitted(server.port(), "/")) {
            flooding.send(RawClient.frame(0x01, ""));
            for (int i = 0; i < NanoStreamWs.Limits.MAX_FRAGMENTS; i++)
                flooding.send(RawClient.frame(0x00, ""));
            assertEquals(1009, flooding.frame().code());
        }
    }

    /** Sends frames without pause, reading what comes back, until the server ends it; others are served meanwhile. */
    private static void flood(byte[] frame, int atOnce, String... fields) throws Exception {
        try (TestServer server = new TestServer(); RawClient good = RawClient.admitted(server.port(), "/");
             RawClient flooding = RawClient.admitted(server.port(), "/", fields)) {
            byte[] frames = new byte[frame.length * atOnce];
            for (int i = 0; i < frames.length; i++)
                frames[i] = frame[i % frame.length];
            Thread sender = Thread.ofVirtual().start(() -> {
                try {
                    while (true)
                        flooding.send(frames);
                } catch (IOException e) {
                    // ended, as it should be
                }
            });
            Thread reader = Thread.ofVirtual().start(() -> {
                try {
                    while (!flooding.frame().isClose()) { /* pongs */ }
                } catch (IOException e) {
                    // the end can come as a reset: the flood goes on
                }
            });
            server.awaitListeners(2);
            for (int i = 0; server.server.broadcaster.size() == 2; i++)
                serves(server, good, "meanwhile " + i);
            String line = server.awaitLog("dropped");
            assertTrue(line.contains(": 1008 listeners have nothing to say"), line);
            serves(server, good, "afterwards");
            sender.join();
            reader.join();
        }
    }

    @Test
    void aFloodOfRefusalsIsCountedInTheLog() throws Exception {
        try (TestServer server = new TestServer("--secret=my_secret")) {
            int refused = 3 * NanoStreamWs.Limits.LOG_BURST;
            for (int i = 0; i < refused; i++)
                try (RawClient client = new RawClient(server.port())) {
                    assertEquals(401, RawClient.status(client.upgrade("/?t=x.y.z")));
                }
            server.awaitLog("refused"); // the count is told within a second
            TestServer.await("a count", () -> server.log().contains("more lines of this kind were left out"));
            long lines = server.log().lines().filter(line -> line.contains("Token was invalid")).count();
            assertTrue(lines >= NanoStreamWs.Limits.LOG_BURST && lines < refused, lines + " lines");
        }
    }

    @Test
    @Tag("slow")
    @DisplayName("a flood does not begin anew because it paused for a second")
    void aFloodThatPausesIsStoppedToo() {
        byte[] burst = repeated(RawClient.frame(0x89, ""), 32 * 150); // some 150 waits, of which 200 are allowed
        InputStream pause = new InputStream() {
            @Override
            public int read() throws IOException {
                try {
                    Thread.sleep(1_100);
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
                return -1; // what stands behind it goes on
            }
        };
        InputStream flood = new SequenceInputStream(Collections.enumeration(
            List.of(new ByteArrayInputStream(burst), pause, new ByteArrayInputStream(burst))));
        NanoStreamWs.FrameReader reader = new NanoStreamWs.FrameReader(flood, new byte[0], TestServer.PLAIN,
            NanoStreamWs.Bounds.LISTENER, (type, bytes, offset, length, last) -> { });
        NanoStreamWs.ProtocolException end = assertThrows(NanoStreamWs.ProtocolException.class, () -> {
            while (true)
                reader.next();
        });
        assertEquals(1008, end.code);
    }

    /** Reads frames until the reader fails them, without the pauses: a thread that is interrupted has none.
     * @return how many control frames came before */
    private static int untilStopped(InputStream in, byte[] rest, NanoStreamWs.Sink sink) throws IOException {
        NanoStreamWs.FrameReader reader =
            new NanoStreamWs.FrameReader(in, rest, TestServer.DEFLATE, NanoStreamWs.Bounds.LISTENER, sink);
        int frames = 0;
        Thread.currentThread().interrupt();
        try {
            while (true) {
                reader.next();
                frames++;
            }
        } catch (NanoStreamWs.ProtocolException e) {
            assertEquals(1008, e.code, e.getMessage());
        } finally {
            Thread.interrupted();
            reader.release(false);
        }
        return frames;
    }

    /** A stream that ends at once. */
    private static InputStream nothing() {
        return InputStream.nullInputStream();
    }

    private static byte[] repeated(byte[] frame, int times) {
        byte[][] all = new byte[times][];
        Arrays.fill(all, frame);
        return RawClient.concat(all);
    }

    // What a flood is: 32 reads, frames or KiB inflated, and that 200 times, are let through. The numbers stand
    // here once more, since these tests would follow those of the server wherever they went.
    private static final int FLOOD = 32 * (200 + 1);

    @Test
    @DisplayName("a flood of frames is stopped at its 6,432nd, however few reads they come in")
    void countsFrames() throws Exception {
        byte[] pings = repeated(RawClient.frame(0x89, ""), 2 * FLOOD);
        assertEquals(FLOOD - 1, untilStopped(nothing(), pings, (type, bytes, offset, length, last) -> { }));
    }

    @Test
    @DisplayName("a flood of reads is stopped as early, however few frames they make")
    void countsReads() throws Exception {
        byte[] message = RawClient.frame(0x82, new byte[2 * FLOOD]);
        AtomicInteger reads = new AtomicInteger();
        InputStream bytewise = new ByteArrayInputStream(message) {
            @Override
            public int read(byte[] buffer, int offset, int length) {
                reads.incrementAndGet();
                return super.read(buffer, offset, 1);
            }
        };
        untilStopped(bytewise, new byte[0], (type, bytes, offset, length, last) -> { });
        assertEquals(FLOOD - 1, reads.get(), "and one frame");
    }

    @Test
    @DisplayName("a flood of KiB inflated is stopped as early, however few reads and frames they come in")
    void countsWhatIsInflated() throws Exception {
        byte[] large = new byte[NanoStreamWs.Limits.MAX_CLIENT_MESSAGE];
        byte[] messages = repeated(RawClient.frame(0xC2, RawClient.deflated(large, 9)), 1_000);
        AtomicInteger inflated = new AtomicInteger();
        untilStopped(nothing(), messages, (type, bytes, offset, length, last) -> inflated.addAndGet(length));
        int kib = inflated.get() / 1024; // some more were counted: frames, and asking whether there is more
        assertTrue(kib <= FLOOD && kib > FLOOD * 9 / 10, kib + " KiB");
    }

    @Test
    @DisplayName("a listener that sends without pause is slowed down: by 5 ms for each 32 frames")
    void paces() throws Exception {
        int pauses = 20;
        byte[] pings = repeated(RawClient.frame(0x89, ""), 32 * pauses);
        AtomicLong nanos = new AtomicLong();
        Thread reader = Thread.ofVirtual().start(() -> { // as in the server
            NanoStreamWs.FrameReader frames = new NanoStreamWs.FrameReader(nothing(), pings, TestServer.PLAIN,
                NanoStreamWs.Bounds.LISTENER, (type, bytes, offset, length, last) -> { });
            long start = System.nanoTime();
            assertThrows(EOFException.class, () -> {
                while (true)
                    frames.next();
            });
            nanos.set(System.nanoTime() - start);
        });
        reader.join();
        assertTrue(nanos.get() >= pauses * 5_000_000L, nanos + " ns");
    }

    private static Field field(String name) throws ReflectiveOperationException {
        Field field = NanoStreamWs.FrameReader.class.getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }

    /** A reader that has waited so often, and for the last time so many seconds ago, and then waits so often. */
    private static int waits(int before, int seconds, int more) throws Exception {
        NanoStreamWs.FrameReader reader = new NanoStreamWs.FrameReader(InputStream.nullInputStream(), new byte[0],
            TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER, (type, bytes, offset, length, last) -> { });
        field("waits").setInt(reader, before);
        field("lastWait").setLong(reader, System.nanoTime() - seconds * 1_000_000_000L - 100_000_000L);
        for (int i = 0; i < more * NanoStreamWs.Limits.PACE; i++)
            reader.pace();
        return field("waits").getInt(reader);
    }

    @Test
    @DisplayName("each second without a wait makes up for one wait, once, and for none to come")
    void forgivesAListenerThatIsCalm() throws Exception {
        int most = NanoStreamWs.Limits.MAX_WAITS;
        assertEquals(most, waits(most - 1, 0, 1));
        assertEquals(1008, assertThrows(NanoStreamWs.ProtocolException.class, () -> waits(most, 0, 1)).code);
        assertEquals(most, waits(most, 1, 1));
        assertEquals(most - 99, waits(most, 100, 1));
        assertEquals(1, waits(most, 86_400, 1));
        int waits = waits(100, 50, 5); // a busy machine may add a second to them
        assertTrue(waits > 50 && waits <= 55, waits + " waits");
    }

    @Test
    @DisplayName("RFC 6455 §4.1: a client waits for the answer; more behind its head than a control frame is refused")
    void refusesMuchBehindTheHead() throws Exception {
        byte[] ping = RawClient.frame(0x89, new byte[NanoStreamWs.Limits.MAX_CONTROL_PAYLOAD]);
        try (TestServer server = new TestServer(); RawClient hasty = new RawClient(server.port());
             RawClient worse = new RawClient(server.port())) {
            byte[] head = RawClient.handshake("/").getBytes(UTF_8);
            hasty.send(RawClient.concat(head, Arrays.copyOf(ping, NanoStreamWs.Limits.READ_BUFFER)));
            assertEquals(101, RawClient.status(hasty.head()));
            assertEquals(0x8A, hasty.frame().firstByte());
            worse.send(RawClient.concat(head, ping, ping));
            assertEquals(400, RawClient.status(worse.head()));
            server.awaitLog("Request is malformed: frames before the answer");
        }
    }
    /** A text that counts how often one of its characters is looked at. */
    private static final class Counted implements CharSequence {
        private final String text;
        private int looks;

        Counted(String text) {
            this.text = text;
        }

        @Override
        public char charAt(int index) {
            looks++;
            return text.charAt(index);
        }

        @Override
        public int length() {
            return text.length();
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return text.subSequence(start, end);
        }
    }

    private static Map<String, Pattern> patterns(Class<?> type) throws ReflectiveOperationException {
        Map<String, Pattern> found = new TreeMap<>();
        for (Field field : type.getDeclaredFields())
            if (field.getType() == Pattern.class && Modifier.isStatic(field.getModifiers())) {
                field.setAccessible(true);
                found.put(type.getSimpleName() + '.' + field.getName(), (Pattern) field.get(null));
            }
        for (Class<?> inner : type.getDeclaredClasses())
            found.putAll(patterns(inner));
        return found;
    }

    @Test
    @DisplayName("no regular expression looks at a character more than a few times, whatever the text")
    void noPatternBacktracksFar() throws Exception {
        Map<String, Pattern> patterns = patterns(NanoStreamWs.class);
        assertTrue(patterns.containsKey("Handshake.BEARER"), patterns.keySet().toString());
        patterns.put("test", Pattern.compile(" +(.*)")); // one that does
        int length = 300;
        Set<String> slow = new TreeSet<>();
        patterns.forEach((name, pattern) -> {
            for (String begin : List.of("", "bearer ", "\"", "http://", "a://", "*.", "-", "1.", "1e", "client_max_"))
                for (String body : List.of(" ", "a", "0", ".", "-", ":", "/", "\"", "*", "[", "f", "\t", "a.", "0 "))
                    for (String end : List.of("", "\u0085", "\n", " ", "\"", ":", "/", "]", "\0", "\u2028")) {
                        Counted text = new Counted(begin + body.repeat(length / body.length()) + end);
                        pattern.matcher(text).matches();
                        pattern.matcher(text).lookingAt();
                        if (pattern.pattern().startsWith("^"))
                            pattern.matcher(text).find(); // the others are not asked that
                        if (text.looks > 20 * text.length())
                            slow.add(name);
                    }
        });
        assertEquals(Set.of("test"), slow);
    }
}
