import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.stream.Stream;
import java.util.zip.Deflater;
import java.util.zip.Inflater;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 7692 permessage-deflate: compressed once for all that can have it")
class Rfc7692DeflateTest {
    private static final String OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    private static final String BLOCK = "{\"account\":\"nano_1ipx847tk8o46pwxt5qjdbncjqcbwcc1rrmqnkztrfjy5k7z4\",".repeat(9);

    private static String text(RawClient.Frame compressed) throws Exception {
        return new String(RawClient.inflated(compressed.payload()), UTF_8);
    }

    private static byte[] deflated(byte[] message) {
        return RawClient.deflated(message, 9);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', nullValues = "none", textBlock = """
        permessage-deflate                                                 | yes
        permessage-deflate; client_max_window_bits                         | yes
        permessage-deflate; client_max_window_bits=8                       | yes
        permessage-deflate;client_max_window_bits="15"                     | yes
        permessage-deflate; server_no_context_takeover                     | yes
        permessage-deflate; client_no_context_takeover                     | no context
        permessage-deflate; server_max_window_bits=15; client_no_context_takeover | no context, 15
        permessage-deflate; server_max_window_bits=15                      | 15
        permessage-deflate; server_max_window_bits=10                      | none
        permessage-deflate; server_max_window_bits                         | none
        permessage-deflate; client_max_window_bits=16                      | none
        permessage-deflate; client_max_window_bits=08                      | none
        permessage-deflate; server_no_context_takeover=1                   | none
        permessage-deflate; server_no_context_takeover; server_no_context_takeover | none
        permessage-deflate; unknown                                        | none
        x-webkit-deflate-frame                                             | none
        Permessage-Deflate                                                 | none
        permessage-deflate; server_max_window_bits=8, permessage-deflate   | yes
        permessage-deflate; server_max_window_bits=15, permessage-deflate  | 15
        bbf-usp-protocol; a=1; b="2", , permessage-deflate                 | yes
        """)
    @DisplayName("§7: the first offer that can be had is taken, the others are declined")
    void negotiates(String offers, String answer) throws Exception {
        String expected = answer == null ? "" : "permessage-deflate; server_no_context_takeover"
            + (answer.contains("no context") ? "; client_no_context_takeover" : "")
            + (answer.contains("15") ? "; server_max_window_bits=15" : "");
        assertEquals(expected, NanoStreamWs.Handshake.negotiate(List.of(offers)));
        try (TestServer server = new TestServer(); RawClient client = new RawClient(server.port())) {
            String head = client.upgrade("/", "Sec-WebSocket-Extensions: " + offers);
            assertTrue(head.startsWith("HTTP/1.1 101 "), head);
            assertEquals(answer != null, head.contains("\r\nSec-WebSocket-Extensions: " + expected + "\r\n"), head);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"permessage-deflate;", ";", "permessage-deflate; =1", "permessage-deflate; a=", "a b",
        "permessage-deflate=1", "permessage-deflate; a=\"b", "permessage-deflate; a=\"\"", "\"permessage-deflate\"",
        "permessage-deflate; server_max_window_bits=\" 15\"", "permessage-deflate; server_max_window_bits=\"15 \""})
    @DisplayName("RFC 6455 §9.1: what is no list of extensions fails the handshake")
    void refusesWhatIsNoList(String offers) throws Exception {
        try (TestServer server = new TestServer(); RawClient client = new RawClient(server.port())) {
            assertEquals(400, RawClient.status(client.upgrade("/", "Sec-WebSocket-Extensions: " + offers)));
        }
    }

    @Test
    void compressesForTheListenersThatAgreedAndForNoOther() throws Exception {
        try (TestServer server = new TestServer(); RawClient plain = RawClient.admitted(server.port(), "/");
             RawClient deflating = RawClient.admitted(server.port(), "/", OFFER)) {
            for (int i = 0; i < 20; i++) {
                String message = i + BLOCK;
                server.post(message);
                assertEquals(message, plain.text());
                RawClient.Frame frame = deflating.frame();
                assertEquals(0xC1, frame.firstByte());
                assertEquals(message, text(frame));
                assertTrue(frame.payload().length < message.length() / 2);
            }
        }
    }

    @Test
    @DisplayName("every message goes compressed, also one that gets larger: some clients expect no other among them")
    void compressesEveryMessage() throws Exception {
        StringBuilder noise = new StringBuilder(); // UTF-8 characters of two bytes, in a random order
        new Random(1).ints(50_000, 0x80, 0x800).forEach(noise::appendCodePoint);
        try (TestServer server = new TestServer();
             RawClient deflating = RawClient.admitted(server.port(), "/", OFFER)) {
            for (String message : List.of("x", "x".repeat(63), noise.substring(0, 80), noise.toString())) {
                server.post(message);
                RawClient.Frame frame = deflating.frame();
                assertEquals(0xC1, frame.firstByte());
                assertEquals(message, text(frame));
                byte[] payload = frame.payload();
                boolean tail = payload.length >= 4 && ByteBuffer.wrap(payload).getInt(payload.length - 4) == 0xFFFF;
                assertFalse(tail, "§7.2.1: 00 00 ff ff is removed from its end");
                int length = message.getBytes(UTF_8).length;
                assertTrue(frame.payload().length <= length + length / 1000 + 16, frame.payload().length + " bytes");
            }
        }
    }

    @Test
    void heartbeatAndCloseStandUncompressedAmongTheMessages() throws Exception {
        try (TestServer server = new TestServer("--ping=0.1");
             RawClient deflating = RawClient.admitted(server.port(), "/", OFFER)) {
            assertEquals(0x89, deflating.frame().firstByte());
            deflating.send(RawClient.frame(0x8A, ""));
            server.post(BLOCK);
            RawClient.Frame frame = deflating.frame();
            while (frame.firstByte() == 0x89)
                frame = deflating.frame();
            assertEquals(BLOCK, text(frame));
            Thread closer = Thread.ofVirtual().start(server.server::close);
            do
                frame = deflating.frame();
            while (frame.firstByte() == 0x89);
            assertEquals(1001, frame.code());
            deflating.send(RawClient.frame(0x88, frame.payload()));
            closer.join();
        }
    }

    @Test
    void aListenerThatHasSeenTheAnswerToItsHandshakeMissesNoMessage() throws Exception {
        try (TestServer server = new TestServer()) {
            for (int i = 0; i < 60; i++) {
                try (RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
                    server.post(i + BLOCK);
                    assertEquals(i + BLOCK, text(client.frame()));
                }
            }
        }
    }

    @Test
    void theSecondLogIsWrittenOnlyWhileSomebodyReadsIt() throws Exception {
        NanoStreamWs.Broadcaster broadcaster = HeldSocket.unattended();
        broadcaster.publish(seen -> BLOCK.getBytes(UTF_8));
        assertEquals(0, broadcaster.compressed.end());
        broadcaster.join(true, null);
        broadcaster.publish(seen -> BLOCK.getBytes(UTF_8));
        long end = broadcaster.compressed.end();
        assertTrue(end > 0 && end < BLOCK.length() / 2, end + " bytes");
        broadcaster.leave(true);
        broadcaster.publish(seen -> BLOCK.getBytes(UTF_8));
        assertEquals(end, broadcaster.compressed.end());
    }

    @Test
    @DisplayName("plain listeners that leave take nothing from the others; with the last of these the log stands")
    void theSecondLogIsWrittenUntilTheLastOfItsListenersLeaves() throws Exception {
        try (TestServer server = new TestServer(); RawClient first = RawClient.admitted(server.port(), "/", OFFER);
             RawClient last = RawClient.admitted(server.port(), "/", OFFER)) {
            NanoStreamWs.StreamLog compressed = server.server.broadcaster.compressed;
            for (int i = 0; i < 3; i++) // more than there are others
                RawClient.admitted(server.port(), "/").close();
            awaitLeft(server, 3);
            server.post("both " + BLOCK);
            assertTrue(compressed.end() > 0, "it is written");
            assertEquals("both " + BLOCK, text(first.frame()));
            assertEquals("both " + BLOCK, text(last.frame()));
            first.socket.close();
            awaitLeft(server, 4);
            server.post("one " + BLOCK);
            assertEquals("one " + BLOCK, text(last.frame()));
            last.socket.close();
            awaitLeft(server, 5);
            long end = compressed.end();
            server.post("nobody " + BLOCK);
            assertEquals(end, compressed.end());
        }
    }

    private static void awaitLeft(TestServer server, int count) {
        TestServer.await(count + " have left", () ->
            server.count(NanoStreamWs.Event.LEFT) == count);
    }

    @Test
    void theSecondLogIsNotWrittenForAListenerThatWasRefused() throws Exception {
        try (TestServer server = new TestServer("--max-listeners=1"); RawClient refused = new RawClient(server.port());
             RawClient inside = RawClient.admitted(server.port(), "/")) {
            assertEquals(503, RawClient.status(refused.upgrade("/", OFFER)));
            server.post(BLOCK);
            assertEquals(BLOCK, inside.text());
            assertEquals(0, server.server.broadcaster.compressed.end());
        }
    }

    @Test
    @DisplayName("RFC 6455 §9.1: what is no list of extensions fails the handshake with --no-deflate, too")
    void refusesWhatIsNoListWithoutDeflate() throws Exception {
        try (TestServer server = new TestServer("--no-deflate"); RawClient client = new RawClient(server.port())) {
            assertEquals(400, RawClient.status(client.upgrade("/", "Sec-WebSocket-Extensions: permessage-deflate;")));
        }
    }

    @Test
    void noDeflateTurnsItOff() throws Exception {
        try (TestServer server = new TestServer("--no-deflate"); RawClient client = new RawClient(server.port())) {
            assertFalse(client.upgrade("/", OFFER).toLowerCase().contains("extensions"));
            server.post(BLOCK);
            assertEquals(BLOCK, client.text());
            client.send(RawClient.frame(0xC1, deflated("hello".getBytes(UTF_8))));
            assertEquals(1002, client.frame().code());
        }
    }

    @Test
    void whatAListenerSendsCompressedIsCheckedAndDropped() throws Exception {
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            client.send(RawClient.frame(0xC1, deflated(BLOCK.getBytes(UTF_8))));
            server.post("still there");
            assertEquals("still there", text(client.frame()));
            client.send(RawClient.frame(0xC1, deflated(new byte[] {(byte) 0xC3, 0x28})));
            assertEquals(1007, client.frame().code());
        }
    }

    /** The code with which the connection ends if a client sends frames and then closes with 1000. */
    private static int endOf(TestServer server, byte[]... frames) throws Exception {
        try (RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            client.send(RawClient.concat(RawClient.concat(frames), RawClient.frame(0x88, RawClient.closing(1000))));
            return client.frame().code();
        }
    }

    static Stream<Arguments> messages() {
        StringBuilder digits = new StringBuilder();
        new Random(1).ints(100, 0, 10).forEach(digits::append);
        return Stream.of(Arguments.of("a stored block", 0, "stored", 0), Arguments.of("fixed codes", 1, BLOCK, 9),
            Arguments.of("codes of its own", 2, digits.toString(), 9));
    }

    @ParameterizedTest(name = "of {0}")
    @MethodSource("messages")
    @DisplayName("§7.2.2: a message that is cut at any byte of it is 1007, a whole one is not")
    void refusesAMessageThatIsNotWhole(String what, int codes, String message, int level) throws Exception {
        byte[] whole = RawClient.deflated(message.getBytes(UTF_8), level);
        assertEquals(codes, whole[0] >> 1 & 3, "of the three types of blocks (RFC 1951 §3.2.3)");
        int first = level == 0 ? 2 : 1; // 00 alone is an empty message (§7.2.3.6)
        try (TestServer server = new TestServer()) {
            for (int type : new int[] {1, 2})
                for (int length = first; length <= whole.length; length++) {
                    byte[] cut = Arrays.copyOf(whole, length);
                    int expected = length == whole.length ? 1000 : 1007;
                    String which = length + " of " + whole.length + " bytes, opcode " + type;
                    assertEquals(expected, endOf(server, RawClient.frame(0xC0 | type, cut)), which);
                    byte[] begun = RawClient.frame(0x40 | type, cut), nothing = RawClient.frame(0x80, "");
                    assertEquals(expected, endOf(server, begun, nothing), which + ", and an empty fragment");
                }
        }
    }

    @ParameterizedTest(name = "{0} missing")
    @CsvSource({"0, 1000", "1, 1007", "2, 1007", "3, 1007", "4, 1007", "5, 1007", "9, 1007", "10, 1007"})
    @DisplayName("§7.2.2: what takes the place of the tail is not taken for a stored block's last bytes")
    void takesNoTailForData(int missing, int code) throws Exception {
        byte[] whole = {0, 10, 0, (byte) ~10, -1, 's', 't', 'o', 'r', 'e', 'd', ' ', 't', 'e', 'n', 0};
        int length = missing == 0 ? whole.length : whole.length - 1 - missing; // the last byte begins an empty block
        try (TestServer server = new TestServer()) {
            assertEquals(code, endOf(server, RawClient.frame(0xC2, Arrays.copyOf(whole, length))));
        }
    }

    /** The inflater of the message that the only listener has under way. */
    private static Inflater underWay(TestServer server) throws ReflectiveOperationException {
        server.awaitListeners(1);
        NanoStreamWs.FrameReader reader = server.server.broadcaster.listeners().getFirst().reader;
        Field field = NanoStreamWs.FrameReader.class.getDeclaredField("inflater");
        field.setAccessible(true);
        Inflater[] found = {null};
        TestServer.await("a compressed message is under way", () -> {
            try {
                found[0] = (Inflater) field.get(reader);
                return found[0] != null;
            } catch (IllegalAccessException e) {
                throw new AssertionError(e);
            }
        });
        return found[0];
    }

    /** An inflater's memory is freed by its end, after which it throws what depends on the JDK. */
    private static void assertEnded(Inflater inflater) {
        assertThrows(RuntimeException.class, inflater::getBytesRead);
    }

    @Test
    void freesTheInflaterAtTheEndOfEachMessage() throws Exception {
        byte[] compressed = deflated(BLOCK.getBytes(UTF_8));
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            for (int from : new int[] {5, compressed.length}) { // the last fragment may be empty
                client.send(RawClient.frame(0x41, compressed, 0, from));
                Inflater inflater = underWay(server);
                client.send(RawClient.frame(0x89, "between"));
                assertEquals("between", client.frame().text());
                assertTrue(inflater.getBytesRead() > 0, "it is not ended before");
                client.send(RawClient.frame(0x80, compressed, from, compressed.length));
                client.send(RawClient.frame(0x89, "after"));
                assertEquals("after", client.frame().text());
                assertEnded(inflater);
            }
        }
    }

    static Stream<Arguments> endings() {
        return Stream.of(
            Arguments.of("the end of the stream", RawClient.bytes()),
            Arguments.of("the end of the stream within a frame", RawClient.bytes(0x80, 0x85, 1, 2, 3, 4, 5)),
            Arguments.of("a close frame", RawClient.frame(0x88, RawClient.closing(1000))),
            Arguments.of("a close frame that is wrong", RawClient.frame(0x88, RawClient.closing(1005))),
            Arguments.of("a protocol error", RawClient.frame(0x81, "within a message")),
            Arguments.of("data that is invalid", RawClient.frame(0x00, RawClient.bytes(0xFF, 0xFF))),
            Arguments.of("a message that is cut", RawClient.frame(0x80, "")),
            Arguments.of("text that is not UTF-8", RawClient.frame(0x00, deflated(new byte[] {-1}))));
    }

    @ParameterizedTest(name = "after {0}")
    @MethodSource("endings")
    @DisplayName("frees the inflater of a message that does not end")
    void freesTheInflater(String what, byte[] sent) throws Exception {
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            // An empty stored block that is whole, so that what comes may be the beginning of another.
            client.send(RawClient.frame(0x41, RawClient.bytes(0, 0, 0, 0xFF, 0xFF)));
            Inflater inflater = underWay(server);
            client.send(sent);
            client.socket.shutdownOutput();
            server.awaitListeners(0);
            assertEnded(inflater);
        }
    }

    @Test
    void freesTheInflaterOfAListenerThatIsReset() throws Exception {
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            client.send(RawClient.frame(0x41, ""));
            Inflater inflater = underWay(server);
            server.server.broadcaster.listeners().getFirst().drop("test", "by the test");
            server.awaitListeners(0);
            assertEnded(inflater);
        }
    }

    @Test
    void aBombIsRefusedBeforeItIsUnpacked() throws Exception {
        byte[] bomb = deflated(new byte[20_000_000]);
        assertTrue(bomb.length < NanoStreamWs.Limits.MAX_CLIENT_MESSAGE, bomb.length + " bytes");
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            client.send(RawClient.frame(0xC2, bomb));
            assertEquals(1009, client.frame().code());
        }
    }

    @Test
    @DisplayName("§7.2.3.4: a final block that ends within the tail, at the start of the read buffer, ends the message")
    void takesAFinalBlockThatEndsInTheTail() throws Exception {
        byte[] stored = new byte[132]; // 126 bytes in a stored block, then the beginning of a final one
        stored[1] = 126;
        stored[3] = (byte) 0x81;
        stored[4] = -1;
        java.util.Arrays.fill(stored, 5, 131, (byte) 'x');
        stored[131] = 3;
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            byte[] frame = RawClient.frame(0xC2, stored); // one byte more than the buffer
            client.send(java.util.Arrays.copyOf(frame, NanoStreamWs.Limits.READ_BUFFER));
            client.send(java.util.Arrays.copyOfRange(frame, NanoStreamWs.Limits.READ_BUFFER, frame.length));
            server.post("still there");
            assertEquals("still there", text(client.frame()));
            assertFalse(server.log().contains("fault"), server.log());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0xC0, 0xC9, 0xCA, 0xC8, 0xA1, 0x91, 0xE1})
    @DisplayName("§6.1: RSV1 stands on the first frame of a message and on no control frame; RSV2, RSV3 nowhere")
    void refusesReservedBits(int firstByte) throws Exception {
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            if (firstByte == 0xC0)
                client.send(RawClient.frame(0x41, deflated("ab".getBytes(UTF_8))));
            client.send(RawClient.frame(firstByte, new byte[0]));
            assertEquals(1002, client.frame().code());
        }
    }

    /** The messages one after the other, compressed with the context of those before. */
    private static List<byte[]> withContext(List<byte[]> messages) {
        Deflater deflater = new Deflater(9, true);
        List<byte[]> frames = new ArrayList<>();
        for (byte[] message : messages) {
            byte[] buffer = new byte[message.length + message.length / 100 + 64];
            deflater.setInput(message);
            int length = deflater.deflate(buffer, 0, buffer.length, Deflater.SYNC_FLUSH);
            boolean empty = message.length == 0; // §7.2.3.6: one byte, 00
            frames.add(RawClient.frame(0xC2, empty ? new byte[1] : Arrays.copyOf(buffer, length - 4)));
        }
        deflater.end();
        return frames;
    }

    private static NanoStreamWs.FrameReader reader(NanoStreamWs.Accepted accepted, Semaphore contexts,
            byte[]... frames) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (byte[] frame : frames)
            all.writeBytes(frame);
        return new NanoStreamWs.FrameReader(new ByteArrayInputStream(all.toByteArray()), new byte[0], accepted,
            new NanoStreamWs.Bounds(200, 100_000, 10, contexts, false), (type, bytes, offset, length, last) -> { });
    }

    private static int failure(NanoStreamWs.FrameReader reader) {
        return assertThrows(NanoStreamWs.ProtocolException.class, reader::next).code;
    }

    @Test
    @DisplayName("§7.1.1.2: where no context is taken over, a message that refers to the one before is 1007")
    void keepsNoContextThatWasGivenUp() {
        byte[] message = new byte[1000];
        new Random(1).nextBytes(message);
        byte[][] frames = withContext(List.of(message, message)).toArray(byte[][]::new);
        assertEquals(1007, failure(reader(TestServer.DEFLATE, new Semaphore(1), frames)));
        assertThrows(EOFException.class, reader(TestServer.CONTEXT, new Semaphore(1), frames)::next);
    }

    @Test
    @DisplayName("a listener gives back what it had of that bound, in whatever way it goes")
    void givesItsContextBack() throws Exception {
        Semaphore contexts = NanoStreamWs.Bounds.LISTENER.contexts();
        int before = contexts.availablePermits();
        byte[] whole = RawClient.frame(0xC2, deflated(new byte[100]));
        byte[] begun = RawClient.frame(0x42, Arrays.copyOf(deflated(new byte[100]), 1));
        List<byte[]> ends = List.of(RawClient.frame(0x88, ""), RawClient.frame(0x83, ""), new byte[] {(byte) 0x81});
        try (TestServer server = new TestServer()) {
            for (String offer : List.of("", "; client_no_context_takeover"))
                for (byte[] message : List.of(whole, begun, RawClient.concat(whole, begun)))
                    for (byte[] end : ends)
                        try (RawClient client = RawClient.admitted(server.port(), "/",
                                "Sec-WebSocket-Extensions: permessage-deflate" + offer)) {
                            client.send(message);
                            client.send(end);
                        }
            server.awaitListeners(0);
        }
        TestServer.await("as many as before", () -> contexts.availablePermits() == before);
    }

    @Test
    @DisplayName("compressed messages under way, and contexts that are kept, have a bound in all")
    void boundsTheContexts() {
        Semaphore contexts = new Semaphore(2);
        byte[] whole = RawClient.frame(0xC2, deflated(new byte[100]));
        byte[] begun = RawClient.frame(0x42, Arrays.copyOf(deflated(new byte[100]), 1));
        NanoStreamWs.FrameReader unfinished = reader(TestServer.DEFLATE, contexts, begun);
        assertThrows(EOFException.class, unfinished::next);
        NanoStreamWs.FrameReader finished = reader(TestServer.DEFLATE, contexts, whole, whole);
        assertThrows(EOFException.class, finished::next);
        assertEquals(1, contexts.availablePermits(), "one is under way");
        NanoStreamWs.FrameReader kept = reader(TestServer.CONTEXT, contexts, whole, whole);
        assertThrows(EOFException.class, kept::next);
        assertEquals(0, contexts.availablePermits(), "one is kept as well");
        assertEquals(1008, failure(reader(TestServer.DEFLATE, contexts, whole)));
        assertThrows(EOFException.class, reader(TestServer.PLAIN, contexts, RawClient.frame(0x82, "plain"))::next);
        unfinished.release(false);
        kept.release(false);
        kept.release(false);
        assertEquals(2, contexts.availablePermits());
    }

    @Nested
    @DisplayName("by the echo server")
    class Echo extends SharedEcho {
        private static final String AGREED = "permessage-deflate; server_no_context_takeover",
            NO_CONTEXT = AGREED + "; client_no_context_takeover", BITS = "; server_max_window_bits=15", NONE = "none";
        private static final String FIELD = "Sec-WebSocket-Extensions: ";

        private static byte[] deflate(byte[] message, int level) {
            return RawClient.deflated(message, level);
        }

        /** §7.2.3.4: with BFINAL=1 in the last block, and an empty one behind it. */
        private static byte[] deflateFinal(byte[] message) {
            Deflater deflater = new Deflater(Deflater.DEFAULT_COMPRESSION, true);
            deflater.setInput(message);
            deflater.finish();
            byte[] buffer = new byte[message.length + message.length / 100 + 64];
            int length = deflater.deflate(buffer);
            assertTrue(deflater.finished());
            deflater.end();
            return Arrays.copyOf(buffer, length + 1);
        }

        static Stream<Arguments> offers() {
            List<Arguments> offers = new ArrayList<>(List.of(
                Arguments.of(List.of(), NONE),
                Arguments.of(List.of("permessage-deflate"), AGREED),
                Arguments.of(List.of(" permessage-deflate "), AGREED),
                Arguments.of(List.of("permessage-deflate; client_no_context_takeover"), NO_CONTEXT),
                Arguments.of(List.of("permessage-deflate;server_no_context_takeover"), AGREED),
                Arguments.of(List.of("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
                    NO_CONTEXT),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits"), AGREED),
                Arguments.of(List.of("permessage-deflate ; client_max_window_bits = 15"), AGREED),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits=\"10\""), AGREED),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=15"), AGREED + BITS),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=\"15\""), AGREED + BITS),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits; server_max_window_bits=15; "
                    + "server_no_context_takeover; client_no_context_takeover"), NO_CONTEXT + BITS),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits"), NONE),
                Arguments.of(List.of("permessage-deflate; unknown"), NONE),
                Arguments.of(List.of("permessage-deflate; unknown=1"), NONE),
                Arguments.of(List.of("permessage-deflate; permessage-deflate"), NONE),
                Arguments.of(List.of("permessage-deflate; client_no_context_takeover; client_no_context_takeover"),
                    NONE),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits; client_max_window_bits=15"), NONE),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=15; server_max_window_bits=15"),
                    NONE),
                Arguments.of(List.of("permessage-deflate; client_no_context_takeover=1"), NONE),
                Arguments.of(List.of("permessage-deflate; server_no_context_takeover=true"), NONE),
                Arguments.of(List.of("x-webkit-deflate-frame"), NONE),
                Arguments.of(List.of("permessage-bzip2; x=1"), NONE),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=10, permessage-deflate"), AGREED),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=10; client_max_window_bits, "
                    + "permessage-deflate; server_max_window_bits=15, permessage-deflate"), AGREED + BITS),
                Arguments.of(List.of("permessage-deflate, permessage-deflate; server_max_window_bits=15"), AGREED),
                Arguments.of(List.of("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=8"),
                    NONE),
                Arguments.of(List.of("permessage-bzip2", "permessage-deflate; client_max_window_bits"), AGREED),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=9",
                    "permessage-deflate; server_max_window_bits=15"), AGREED + BITS),
                Arguments.of(List.of("", "permessage-deflate"), AGREED),
                Arguments.of(List.of("permessage-deflate; unknown", "permessage-foo, permessage-bar"), NONE)));
            for (int bits = 8; bits <= 15; bits++)
                offers.add(Arguments.of(List.of("permessage-deflate; client_max_window_bits=" + bits), AGREED));
            for (String bits : List.of("0", "7", "8", "9", "10", "11", "12", "13", "14", "16", "015", "1a", "-15"))
                offers.add(Arguments.of(List.of("permessage-deflate; server_max_window_bits=" + bits), NONE));
            for (String bits : List.of("0", "7", "16", "08", "015", "x", "-8"))
                offers.add(Arguments.of(List.of("permessage-deflate; client_max_window_bits=" + bits), NONE));
            return offers.stream();
        }

        @Test
        @DisplayName("§7.1.1.2: a client that did not give its context up may refer to all of the messages before")
        void inflatesWithTheContextOfTheMessagesBefore() throws Exception {
            Random random = new Random(7);
            List<byte[]> messages = new ArrayList<>();
            byte[] block = new byte[30_000];
            random.nextBytes(block);
            for (int i = 0; i < 4; i++) { // each refers back over nearly the whole window, and across several messages
                messages.add(Arrays.copyOfRange(block, 0, 15_000));
                messages.add(new byte[0]);
                messages.add(Arrays.copyOfRange(block, 15_000, 30_000));
            }
            byte[] large = new byte[1_000_000];
            for (int i = 0; i < large.length; i++)
                large[i] = block[i % block.length];
            messages.add(large);
            messages.add(block);
            List<byte[]> frames = withContext(messages);
            assertTrue(frames.get(3).length < 1_000, "it refers back");
            try (RawClient client = RawClient.admitted(echo.port(), "/", FIELD + "permessage-deflate")) {
                for (int i = 0; i < messages.size(); i++) {
                    client.send(frames.get(i));
                    assertArrayEquals(messages.get(i), RawClient.inflated(client.frame().payload()), "message " + i);
                }
            }
        }

        @ParameterizedTest(name = "{0}")
        @DisplayName("offers, and the answer")
        @MethodSource("offers")
        void takesTheFirstOfferThatCanBeHad(List<String> offers, String answer) throws Exception {
            try (RawClient client = new RawClient(echo.port())) {
                String head = client.upgrade("/", offers.stream().map(FIELD::concat).toArray(String[]::new));
                assertEquals(101, RawClient.status(head));
                assertEquals(answer.equals(NONE) ? null : answer, RawClient.field(head, "Sec-WebSocket-Extensions"));
                byte[] text = payload(TEXT, 1000);
                client.send(frame(FIN | TEXT, text));
                assertEquals(!answer.equals(NONE), assertMessage(client, TEXT, text), "compressed");
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("what is no list of extensions: 400")
        @ValueSource(strings = {"permessage-deflate; =1", "permessage-deflate;", "permessage deflate", "; x=1",
            "permessage-deflate; client_max_window_bits=", "permessage-deflate; client_max_window_bits=\"\""})
        void refusesWhatIsNoListOfExtensions(String offer) throws Exception {
            try (RawClient client = new RawClient(echo.port())) {
                assertEquals(400, RawClient.status(client.upgrade("/", FIELD + offer)));
            }
        }

        @ParameterizedTest
        @DisplayName("messages of so many bytes: compressible and random, of levels 0, 1, 9 and final, whole and not")
        @ValueSource(ints = {0, 1, 2, 5, 8, 16, 64, 125, 126, 127, 128, 256, 1024, 4096, 8192, 16384, 32768, 65535,
            65536, 65537, 131072})
        void sendsBackMessages(int length) throws Exception {
            byte[] zeros = new byte[length];
            try (RawClient client = open(true)) {
                for (byte[] message : List.of(payload(TEXT, length), random(length), zeros, utf8(length))) {
                    int type = Utf8Texts.firstWrong(message) < 0 ? TEXT : BINARY;
                    for (byte[] compressed : List.of(deflate(message, 0), deflate(message, 1), deflate(message, 9),
                            deflateFinal(message))) {
                        client.send(frame(FIN | RSV1 | type, compressed));
                        boolean answered = assertMessage(client, type, message);
                        assertTrue(answered, "the answer is compressed, however short it is");
                        int size = Math.max(1, compressed.length / 5);
                        client.send(fragments(RSV1 | type, compressed, size));
                        assertMessage(client, type, message);
                    }
                    client.send(frame(FIN | type, message)); // §6: each may be sent as it is
                    assertMessage(client, type, message);
                    client.send(fragments(type, message, Math.max(1, length / 3)));
                    assertMessage(client, type, message);
                }
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("a byte a fragment, a byte a TCP piece, with pings and empty fragments between")
        @ValueSource(ints = {0, 1})
        void takesMessagesInBytes(int piece) throws Exception {
            byte[] message = utf8(500);
            try (RawClient client = open(true)) {
                for (byte[] compressed : List.of(deflate(message, 9), deflate(message, 0), deflateFinal(message))) {
                    send(client, fragments(RSV1 | TEXT, compressed, 1), piece);
                    assertMessage(client, TEXT, message);
                    for (int i = 0; i < compressed.length; i++)
                        send(client, RawClient.concat(frame(i == 0 ? RSV1 | TEXT : MORE, compressed, i, i + 1),
                            frame(FIN | PING, "ping"), frame(MORE, "")), piece);
                    for (int i = 0; i < compressed.length; i++)
                        assertFrame(client, PONG, "ping");
                    send(client, frame(FIN | MORE, ""), piece);
                    assertMessage(client, TEXT, message);
                }
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("§7.2.3: the examples, whole and split at every byte")
        void takesTheExamples() throws Exception {
            try (RawClient client = open(true)) {
                for (String[] example : new String[][] {
                        {"f2 48 cd c9 c9 07 00", "Hello"}, // §7.2.3.1
                        {"00 05 00 fa ff 48 65 6c 6c 6f 00", "Hello"}, // §7.2.3.3
                        {"f3 48 cd c9 c9 07 00 00", "Hello"}, // §7.2.3.4
                        {"f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "Hello"}, // §7.2.3.5
                        {"00", ""}, {"02 00", ""}, {"", ""}, {"03 00 00", ""}, // §7.2.3.6, and other empty ones
                        {"f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", "HelloHello"}, // two final blocks
                        {"f3 48 cd c9 c9 07 00 f2 48 cd c9 c9 07 00", "HelloHello"},
                        {"00 00 00 ff ff 00 00 00 ff ff f2 48 cd c9 c9 07 00", "Hello"}}) {
                    byte[] compressed = bytes(example[0]), message = example[1].getBytes(UTF_8);
                    for (int at = -1; at <= compressed.length; at++)
                        try {
                            client.send(at < 0 ? frame(FIN | RSV1 | TEXT, compressed)
                                : split(RSV1 | TEXT, compressed, at));
                            assertMessage(client, TEXT, message);
                        } catch (AssertionError | IOException e) {
                            throw new AssertionError(example[0] + " split at " + at + ": " + e.getMessage(), e);
                        }
                    client.send(fragments(RSV1 | TEXT, compressed, 1));
                    assertMessage(client, TEXT, message);
                }
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("§7.2.3.2, §7.1.1: no context from the message before, in either direction")
        void takesNoContextOver() throws Exception {
            byte[] message = random(2000), hello = bytes("f2 48 cd c9 c9 07 00");
            for (int i = 0; i < message.length; i++)
                message[i] = (byte) ('a' + (message[i] & 15)); // to be compressed, but much better with the one before
            try (RawClient client = RawClient.admitted(echo.port(), "/", FIELD
                    + "permessage-deflate; client_no_context_takeover")) {
                int[] lengths = new int[5];
                for (int i = 0; i < lengths.length; i++) {
                    client.send(frame(FIN | RSV1 | TEXT, deflate(message, 9)));
                    RawClient.Frame answer = client.frame();
                    assertEquals(FIN | RSV1 | TEXT, answer.firstByte());
                    assertArrayEquals(message, RawClient.inflated(answer.payload()));
                    lengths[i] = answer.payload().length;
                    assertEquals(lengths[0], lengths[i]);
                }
                client.send(frame(FIN | RSV1 | TEXT, hello));
                assertMessage(client, TEXT, HELLO);
                client.send(frame(FIN | RSV1 | TEXT, bytes("f2 00 11 00 00"))); // five bytes back in the one before
                assertFails(client, 1007);
            }
        }

        @Test
        @DisplayName("§7.2.3.2: the example of a message that is compressed with the context of the one before")
        void inflatesTheExampleOfASharedWindow() throws Exception {
            try (RawClient client = open(true)) {
                client.send(frame(FIN | RSV1 | TEXT, bytes("f2 48 cd c9 c9 07 00")));
                assertMessage(client, TEXT, HELLO);
                client.send(frame(FIN | RSV1 | TEXT, bytes("f2 00 11 00 00")));
                assertMessage(client, TEXT, HELLO);
            }
        }

        @Test
        @DisplayName("§7.2.2: a message may refer back by 32,768 bytes, whole and in fragments")
        void takesAWindowOf32768Bytes() throws Exception {
            byte[] start = random(32 * KIB), message = Arrays.copyOf(start, start.length + 3);
            System.arraycopy(start, 0, message, start.length, 3);
            byte[] stored = RawClient.concat(bytes("00 00 80 ff 7f"), start);
            byte[] compressed = RawClient.concat(stored, bytes("02 de ff 0f 00")); // and 3 bytes from 32,768 back
            try (RawClient client = open(true)) {
                for (int size : new int[] {compressed.length, 4096, 1000}) {
                    client.send(fragments(RSV1 | BINARY, compressed, size));
                    assertMessage(client, BINARY, message);
                }
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("many at once are answered in order")
        void answersManyAtOnceInOrder() throws Exception {
            ByteArrayOutputStream sent = new ByteArrayOutputStream();
            for (int i = 0; i < 300; i++)
                sent.writeBytes(i % 3 == 0 ? frame(FIN | TEXT, payload(TEXT, i))
                    : frame(FIN | RSV1 | TEXT, deflate(payload(TEXT, i), i % 10)));
            try (RawClient client = open(true)) {
                client.send(sent.toByteArray());
                for (int i = 0; i < 300; i++)
                    assertMessage(client, TEXT, payload(TEXT, i));
                assertClosesWell(client);
            }
        }

        @ParameterizedTest(name = "{0}")
        @DisplayName("compressed data that cannot be: 1007, before the message ends")
        @ValueSource(strings = {"ff", "07", "06 00", "00 05 00 00 00", "00 05 00 fb ff 48", "f2 00 11 00 00",
            "f3 48 cd c9 c9 07 00 ff", "04 c0 ff ff ff ff ff ff ff ff ff", "fd ff ff ff ff ff"})
        void refusesDataThatCannotBe(String compressed) throws Exception {
            for (int type : new int[] {TEXT, BINARY})
                for (int fin : new int[] {0, FIN})
                    try (RawClient client = open(true)) {
                        client.send(RawClient.concat(frame(FIN | TEXT, "before"),
                            frame(fin | RSV1 | type, bytes(compressed))));
                        assertMessage(client, TEXT, "before".getBytes(UTF_8));
                        assertFails(client, 1007);
                    }
        }

        @Test
        @DisplayName("compressed text that is not UTF-8: 1007; at the first byte that cannot be, before the end")
        void refusesTextThatIsNotUtf8() throws Exception {
            for (byte[] wrong : Utf8Texts.invalid())
                for (boolean whole : new boolean[] {true, false})
                    try (RawClient client = open(true)) {
                        byte[] begun = Arrays.copyOf(wrong, Math.min(wrong.length, Utf8Texts.firstWrong(wrong) + 1));
                        byte[] text = whole || Utf8Texts.firstWrong(wrong) == wrong.length
                            ? RawClient.concat(wrong, HELLO) : begun;
                        client.socket.setSoTimeout(1_000);
                        client.send(frame((whole ? FIN : 0) | RSV1 | TEXT,
                            whole ? deflate(text, 9) : RawClient.concat(deflate(text, 9), bytes("00 00 ff ff"))));
                        assertFails(client, 1007);
                    } catch (AssertionError | IOException e) {
                        throw new AssertionError(hex(wrong) + ", whole " + whole + ": " + e, e);
                    }
            for (String cut : List.of("c3", "e2 82", "ed", "f0 9f 98"))
                try (RawClient client = open(true)) {
                    client.send(frame(FIN | RSV1 | TEXT, deflate(bytes(cut), 9)));
                    assertFails(client, 1007);
                }
        }

        @Test
        @DisplayName("what a compressed binary message has may be anything")
        void takesAnyBinary() throws Exception {
            try (RawClient client = open(true)) {
                for (byte[] wrong : Utf8Texts.invalid()) {
                    client.send(frame(FIN | RSV1 | BINARY, deflate(wrong, 9)));
                    assertMessage(client, BINARY, wrong);
                }
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("100 MiB of zeros: 1009, whole, and before the message ends")
        @ValueSource(ints = {0, FIN})
        void refusesABomb(int fin) throws Exception {
            byte[] one = RawClient.concat(deflate(new byte[MIB], 9), bytes("00 00 ff ff"));
            ByteArrayOutputStream bomb = new ByteArrayOutputStream();
            for (int i = 0; i < 100; i++)
                bomb.writeBytes(one);
            try (RawClient client = open(true)) {
                client.send(frame(fin | RSV1 | BINARY, bomb.toByteArray()));
                assertFails(client, 1009);
            }
        }

        @Test
        @DisplayName("large: 1 MiB and 16 MiB")
        void sendsBackLargeMessages() throws Exception {
            byte[] text = utf8(16 * MIB), binary = random(MIB);
            try (RawClient client = open(true)) {
                client.send(fragments(RSV1 | TEXT, deflate(text, 1), 4096));
                assertTrue(assertMessage(client, TEXT, text));
                send(client, fragments(RSV1 | BINARY, deflate(binary, 1), 64 * KIB), 1300);
                assertTrue(assertMessage(client, BINARY, binary), "also where it is larger");
                assertClosesWell(client);
            }
        }

        /** A message, or 1007: what is no whole block behind a final one may be passed over or not. */
        private void assertMessageOr1007(RawClient client, byte[] message) throws Exception {
            RawClient.Frame frame = client.frame();
            if (frame.isClose())
                assertEquals(1007, frame.code());
            else
                assertEquals(hex(message), hex((frame.firstByte() & RSV1) != 0 ? RawClient.inflated(frame.payload())
                    : frame.payload()));
        }

        @Test
        @DisplayName("a final block that ends within the tail does not have the message's end read once more")
        void readsAFinalBlockThatEndsInTheTailOnce() throws Exception {
            byte[] compressed = bytes("00 01 00 fe ff 73 73 04"); // stored "s"; final, of fixed codes, "A", 00 cut off
            try (RawClient client = open(true)) {
                client.send(frame(FIN | RSV1 | BINARY, compressed));
                assertMessageOr1007(client, "sA".getBytes(UTF_8));
            }
        }

        @Test
        @DisplayName("nor what is before it, wherever it stands in the server's buffer")
        void readsAFinalBlockAtTheBufferEndOnce() throws Exception {
            for (int more = 0; more <= 4; more++) {
                int stored = 64 * KIB + more - 8 - 5 - 1; // so that 64 KiB and so many bytes more are sent
                byte[] message = payload(TEXT, stored);
                byte[] compressed = RawClient.concat(RawClient.bytes(0, stored, stored >> 8, ~stored, ~stored >> 8),
                    message, bytes("03")); // a final empty block, its second byte cut off
                try (RawClient client = open(true)) {
                    byte[] sent = frame(FIN | RSV1 | BINARY, compressed);
                    assertEquals(64 * KIB + more, sent.length);
                    client.send(sent);
                    assertMessageOr1007(client, message);
                } catch (AssertionError | IOException e) {
                    throw new AssertionError(more + " bytes more than 64 KiB: " + e, e);
                }
            }
        }

        @Test
        @DisplayName("RSV1 without the extension, on a continuation, on a control frame: 1002")
        void refusesRsv1WhereItDoesNotBelong() throws Exception {
            byte[] hello = bytes("f2 48 cd c9 c9 07 00");
            try (RawClient client = open(false)) {
                client.send(frame(FIN | RSV1 | TEXT, hello));
                assertFails(client, 1002);
            }
            for (byte[] sent : List.of(
                    RawClient.concat(frame(RSV1 | TEXT, hello, 0, 3), frame(FIN | RSV1, hello, 3, 7)),
                    RawClient.concat(frame(TEXT, "Hel"), frame(FIN | RSV1, "lo")),
                    frame(FIN | RSV1 | PING, ""), frame(FIN | RSV1 | PONG, hello),
                    frame(FIN | RSV1 | CLOSE, RawClient.closing(1000))))
                try (RawClient client = open(true)) {
                    client.send(sent);
                    assertFails(client, 1002);
                }
        }
    }
}
