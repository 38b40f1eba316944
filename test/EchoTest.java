import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.Stream;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Echo: RFC 6455 and RFC 7692, as conformance suites check them")
class EchoTest {
    private static final int FIN = 0x80, RSV1 = 0x40, MORE = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
    private static final int KIB = 1024, MIB = 1024 * KIB;
    private static final String OFFER = "Sec-WebSocket-Extensions: permessage-deflate";
    private static final String AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    private static final byte[] NOTHING = {}, HELLO = "Hello".getBytes(UTF_8);

    private static EchoServer server;

    @BeforeAll
    static void start() throws Exception {
        server = new EchoServer(0);
    }

    @AfterAll
    static void stop() throws Exception {
        server.close();
    }

    // ---- the client ----

    private static RawClient open(boolean deflate) throws IOException {
        RawClient client = deflate ? RawClient.admitted(server.port(), "/", OFFER)
            : RawClient.admitted(server.port(), "/");
        client.socket.setSoTimeout(5_000);
        return client;
    }

    /** A masked frame of a part of the bytes; RawClient's is too slow for megabytes. */
    private static byte[] frame(int first, byte[] bytes, int from, int to) {
        int length = to - from, extended = length < 126 ? 0 : length < 65536 ? 2 : 8, at = 0;
        byte[] frame = new byte[2 + extended + 4 + length], mask = {(byte) 0xA5, 0x00, (byte) 0xFF, 0x5C};
        frame[at++] = (byte) first;
        frame[at++] = (byte) (0x80 | (extended == 0 ? length : extended == 2 ? 126 : 127));
        for (int i = extended - 1; i >= 0; i--)
            frame[at++] = (byte) ((long) length >> 8 * i);
        for (int i = 0; i < 4; i++)
            frame[at++] = mask[i];
        for (int i = 0; i < length; i++)
            frame[at++] = (byte) (bytes[from + i] ^ mask[i & 3]);
        return frame;
    }

    private static byte[] frame(int first, byte[] payload) {
        return frame(first, payload, 0, payload.length);
    }

    private static byte[] frame(int first, String payload) {
        return frame(first, payload.getBytes(UTF_8));
    }

    /** A message in fragments of a size, the last of which may be smaller; RSV1 is on the first only. */
    private static byte[] fragments(int first, byte[] payload, int size) {
        ByteArrayOutputStream sent = new ByteArrayOutputStream(payload.length + 64);
        int from = 0;
        do {
            int to = Math.min(payload.length, from + size);
            sent.writeBytes(frame((to == payload.length ? FIN : 0) | (from == 0 ? first : MORE), payload, from, to));
            from = to;
        } while (from < payload.length);
        return sent.toByteArray();
    }

    /** A message in two fragments. */
    private static byte[] split(int first, byte[] payload, int at) {
        return RawClient.concat(frame(first, payload, 0, at), frame(FIN | MORE, payload, at, payload.length));
    }

    /** Sends in TCP pieces of a size; 0 is all at once. */
    private static void send(RawClient client, byte[] bytes, int piece) throws IOException {
        if (piece == 0)
            client.send(bytes);
        else
            for (int i = 0; i < bytes.length; i += piece)
                client.out.write(bytes, i, Math.min(piece, bytes.length - i));
    }

    private static byte[] payload(int type, int length) {
        byte[] payload = new byte[length];
        for (int i = 0; i < length; i++)
            payload[i] = (byte) (type == TEXT ? 'a' + i % 26 : i * 7 + (i >> 8));
        return payload;
    }

    private static byte[] utf8(int length) {
        byte[] unit = "κόσμε\ud83d\ude00\uffff~".getBytes(UTF_8), text = new byte[length]; // unit has 18 bytes
        Arrays.fill(text, (byte) '.');
        for (int at = 0; at + unit.length <= length; at += unit.length)
            System.arraycopy(unit, 0, text, at, unit.length);
        return text;
    }

    private static byte[] random(int length) {
        byte[] bytes = new byte[length];
        new Random(length).nextBytes(bytes);
        return bytes;
    }

    private static String hex(byte[] bytes) {
        StringBuilder hex = new StringBuilder();
        for (int i = 0; i < Math.min(40, bytes.length); i++)
            hex.append(String.format("%02x ", bytes[i]));
        return hex + (bytes.length > 40 ? "... " + bytes.length + " bytes" : "");
    }

    private static byte[] bytes(String hex) {
        String[] parts = hex.isEmpty() ? new String[0] : hex.split(" ");
        byte[] bytes = new byte[parts.length];
        for (int i = 0; i < parts.length; i++)
            bytes[i] = (byte) Integer.parseInt(parts[i], 16);
        return bytes;
    }

    // ---- what is expected ----

    /** The next frame is one uncompressed. */
    private static void assertFrame(RawClient client, int type, byte[] payload) throws IOException {
        RawClient.Frame frame = client.frame();
        assertEquals(Integer.toHexString(FIN | type), Integer.toHexString(frame.firstByte()),
            () -> "first byte; payload " + hex(frame.payload()));
        if (!Arrays.equals(payload, frame.payload())) // quicker than assertArrayEquals
            assertEquals(hex(payload), hex(frame.payload()));
    }

    private static void assertFrame(RawClient client, int type, String payload) throws IOException {
        assertFrame(client, type, payload.getBytes(UTF_8));
    }

    /** The next message, which may be compressed, and then inflates by itself. @return whether it was compressed */
    private static boolean assertMessage(RawClient client, int type, byte[] payload) throws Exception {
        RawClient.Frame frame = client.frame();
        boolean compressed = (frame.firstByte() & RSV1) != 0;
        assertEquals(Integer.toHexString(FIN | type), Integer.toHexString(frame.firstByte() & ~RSV1),
            () -> "first byte; payload " + hex(frame.payload()));
        byte[] got = compressed ? inflate(frame.payload()) : frame.payload();
        if (!Arrays.equals(payload, got))
            assertEquals(hex(payload), hex(got), "compressed: " + compressed);
        return compressed;
    }

    /** The server ends the connection with a code, sends nothing more, and ends in order. */
    private static void assertFails(RawClient client, int code) throws IOException {
        RawClient.Frame frame = client.frame();
        assertEquals(Integer.toHexString(FIN | CLOSE), Integer.toHexString(frame.firstByte()),
            () -> "first byte; payload " + hex(frame.payload()));
        assertEquals(code, frame.code());
        String reason = new String(frame.payload(), 2, frame.payload().length - 2, UTF_8);
        assertArrayEquals(RawClient.closing(code, reason.getBytes(UTF_8)), frame.payload(), "the reason is UTF-8");
        assertTrue(client.atEnd(), "something came after the close frame");
    }

    /** The connection is well, and nothing came that was not asked for: a close is answered next. */
    private static void assertClosesWell(RawClient client) throws IOException {
        client.send(frame(FIN | CLOSE, RawClient.closing(1000)));
        assertFrame(client, CLOSE, RawClient.closing(1000));
        assertTrue(client.atEnd(), "something came after the close frame");
    }

    // ---- RFC 7692, by java.util.zip alone ----

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

    /** §7.2.2: what a message without a context is. */
    private static byte[] inflate(byte[] payload) throws DataFormatException {
        Inflater inflater = new Inflater(true);
        inflater.setInput(RawClient.concat(payload, bytes("00 00 ff ff")));
        ByteArrayOutputStream message = new ByteArrayOutputStream();
        byte[] buffer = new byte[65536];
        for (int n; (n = inflater.inflate(buffer)) > 0; )
            message.write(buffer, 0, n);
        assertEquals(0, inflater.getRemaining(), "bytes that no block has");
        inflater.end();
        return message.toByteArray();
    }

    // ---- 1 ----

    @ParameterizedTest
    @DisplayName("1 Framing: text and binary of every length encoding, whole, chopped, byte by byte")
    @ValueSource(ints = {0, 1, 125, 126, 127, 128, 65535, 65536})
    void framing(int length) throws Exception {
        try (RawClient client = open(false)) {
            for (int type : new int[] {TEXT, BINARY})
                for (int piece : length <= 128 ? new int[] {0, 997, 1} : new int[] {0, 997}) {
                    send(client, frame(FIN | type, payload(type, length)), piece);
                    assertFrame(client, type, payload(type, length));
                }
            assertClosesWell(client);
        }
    }

    // ---- 2 ----

    @Nested
    @DisplayName("2 Pings and pongs")
    class PingsAndPongs {
        @ParameterizedTest
        @DisplayName("before, between and after")
        @ValueSource(ints = {0, 997, 1})
        void aroundMessages(int piece) throws Exception {
            byte[] most = random(125);
            try (RawClient client = open(false)) {
                send(client, RawClient.concat(frame(FIN | PING, NOTHING), frame(FIN | TEXT, "one"),
                    frame(FIN | PING, most), frame(FIN | BINARY, most), frame(FIN | PING, "end")), piece);
                assertFrame(client, PONG, NOTHING);
                assertFrame(client, TEXT, "one");
                assertFrame(client, PONG, most);
                assertFrame(client, BINARY, most);
                assertFrame(client, PONG, "end");
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("10 at once are answered in order")
        @ValueSource(ints = {0, 7, 1})
        void tenAtOnce(int piece) throws Exception {
            byte[] sent = NOTHING;
            for (int i = 0; i < 10; i++)
                sent = RawClient.concat(sent, frame(FIN | PING, "payload-" + i));
            try (RawClient client = open(false)) {
                send(client, sent, piece);
                for (int i = 0; i < 10; i++)
                    assertFrame(client, PONG, "payload-" + i);
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("unsolicited pongs get no answer, with a payload or without, before a ping or behind")
        void unsolicited() throws Exception {
            try (RawClient client = open(false)) {
                client.send(RawClient.concat(frame(FIN | PONG, NOTHING), frame(FIN | PONG, "unasked"),
                    frame(FIN | PONG, random(125)), frame(FIN | PING, "ping"), frame(FIN | PONG, "ping")));
                assertFrame(client, PONG, "ping");
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("of 126 bytes or in fragments: 1002")
        @ValueSource(ints = {PING, PONG, CLOSE})
        void tooLong(int opcode) throws Exception {
            for (byte[] wrong : List.of(frame(FIN | opcode, new byte[126]), frame(opcode, RawClient.closing(1000))))
                try (RawClient client = open(false)) {
                    client.send(RawClient.concat(frame(FIN | PING, "before"), wrong, frame(FIN | PING, "after")));
                    assertFrame(client, PONG, "before");
                    assertFails(client, 1002);
                }
        }
    }

    // ---- 3 ----

    @Nested
    @DisplayName("3 Reserved bits and opcodes: 1002; what was whole before is echoed, nothing behind")
    class Reserved {
        private void fails(boolean deflate, byte[] wrong, String what) throws Exception {
            for (int piece : new int[] {0, 1})
                try (RawClient client = open(deflate)) {
                    send(client, RawClient.concat(frame(FIN | TEXT, "before"), wrong, frame(FIN | PING, "after"),
                        frame(FIN | TEXT, "after")), piece);
                    assertFrame(client, TEXT, "before");
                    assertFails(client, 1002);
                } catch (AssertionError | IOException e) {
                    throw new AssertionError(what + ", in pieces of " + piece + ": " + e.getMessage(), e);
                }
        }

        @ParameterizedTest(name = "{0}, deflate {1}")
        @CsvSource({"1, false", "2, false", "3, false", "4, false", "5, false", "6, false", "7, false",
            "1, true", "2, true", "3, true", "4, true", "5, true", "6, true", "7, true"})
        void bits(int bits, boolean deflate) throws Exception {
            for (int opcode : new int[] {TEXT, BINARY, CLOSE, PING, PONG}) {
                boolean control = opcode >= CLOSE;
                if (deflate && bits == 4 && !control)
                    continue; // RSV1, which is agreed on
                byte[] payload = opcode == CLOSE ? RawClient.closing(1000) : HELLO;
                fails(deflate, frame(FIN | bits << 4 | opcode, payload), "opcode " + opcode);
                fails(deflate, frame(FIN | bits << 4 | opcode, NOTHING), "empty, opcode " + opcode);
                if (!control)
                    fails(deflate, frame(bits << 4 | opcode, payload), "first fragment, opcode " + opcode);
            }
            byte[] begun = frame(TEXT, "fragment");
            fails(deflate, RawClient.concat(begun, frame(FIN | bits << 4, HELLO)), "continuation");
            fails(deflate, RawClient.concat(begun, frame(bits << 4, HELLO)), "continuation without FIN");
            fails(deflate, RawClient.concat(begun, frame(FIN | bits << 4 | PING, HELLO)), "ping between");
        }

        @ParameterizedTest
        @ValueSource(ints = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15})
        void opcodes(int opcode) throws Exception {
            for (boolean deflate : new boolean[] {false, true}) {
                for (byte[] payload : new byte[][] {NOTHING, HELLO}) {
                    fails(deflate, frame(FIN | opcode, payload), "with FIN");
                    fails(deflate, frame(opcode, payload), "without FIN");
                    fails(deflate, frame(FIN | RSV1 | opcode, payload), "with RSV1");
                    fails(deflate, RawClient.concat(frame(TEXT, "x"), frame(FIN | opcode, payload)), "in a message");
                }
            }
        }
    }

    // ---- 4 ----

    @Nested
    @DisplayName("4 Fragmentation")
    class Fragmentation {
        @ParameterizedTest(name = "{0} bytes each")
        @ValueSource(ints = {1, 2, 3, 7, 50, 99, 100})
        void twoThreeMany(int size) throws Exception {
            try (RawClient client = open(false)) {
                for (int type : new int[] {TEXT, BINARY})
                    for (int piece : new int[] {0, 1}) {
                        send(client, fragments(type, payload(type, 100), size), piece);
                        assertFrame(client, type, payload(type, 100));
                    }
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("empty fragments: all, the first, the middle one, the last")
        void empty() throws Exception {
            try (RawClient client = open(false)) {
                for (String parts : List.of("||", "|abc|", "abc||", "||abc", "a||c", "|b|", "|||||||||", "a||||||||z"))
                    for (int type : new int[] {TEXT, BINARY}) {
                        String[] each = parts.split("\\|", -1);
                        for (int i = 0; i < each.length; i++)
                            client.send(frame((i == 0 ? type : MORE) | (i == each.length - 1 ? FIN : 0), each[i]));
                        assertFrame(client, type, parts.replace("|", ""));
                    }
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("control frames between are answered at once, before the message")
        @ValueSource(ints = {0, 1})
        void controlBetween(int piece) throws Exception {
            byte[] sent = frame(TEXT, "fragment1");
            for (int i = 0; i < 10; i++)
                sent = RawClient.concat(sent, frame(FIN | PING, "ping " + i), frame(FIN | PONG, "unasked"),
                    frame(MORE, ", " + i));
            try (RawClient client = open(false)) {
                for (String end : List.of("", ", end")) {
                    send(client, sent, piece);
                    for (int i = 0; i < 10; i++)
                        assertFrame(client, PONG, "ping " + i);
                    send(client, frame(FIN | MORE, end), piece);
                    assertFrame(client, TEXT, "fragment1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" + end);
                }
                assertClosesWell(client);
            }
        }

        static Stream<Arguments> mixed() {
            byte[] before = frame(FIN | TEXT, "before"), begun = frame(TEXT, "begun");
            List<Arguments> cases = new ArrayList<>();
            for (int fin : new int[] {0, FIN}) {
                for (byte[] payload : new byte[][] {NOTHING, HELLO}) {
                    String how = (fin == 0 ? " without FIN, " : " with FIN, ") + payload.length + " bytes";
                    cases.add(Arguments.of("continuation without start," + how,
                        RawClient.concat(before, frame(fin | MORE, payload))));
                    cases.add(Arguments.of("text in a text," + how,
                        RawClient.concat(before, begun, frame(fin | TEXT, payload))));
                    cases.add(Arguments.of("binary in a text," + how,
                        RawClient.concat(before, begun, frame(MORE, "x"), frame(fin | BINARY, payload))));
                    cases.add(Arguments.of("text in a binary, behind a ping," + how, RawClient.concat(before,
                        frame(BINARY, ""), frame(FIN | PONG, "x"), frame(fin | TEXT, payload))));
                }
            }
            return cases.stream();
        }

        @ParameterizedTest(name = "{0}: 1002")
        @MethodSource("mixed")
        void mixing(String what, byte[] sent) throws Exception {
            for (int piece : new int[] {0, 1})
                try (RawClient client = open(false)) {
                    send(client, RawClient.concat(sent, frame(FIN | MORE, "after"), frame(FIN | TEXT, "after")), piece);
                    assertFrame(client, TEXT, "before");
                    assertFails(client, 1002);
                }
        }

        @ParameterizedTest
        @DisplayName("65,536 fragments of a message of 64 KiB")
        @ValueSource(ints = {TEXT, BINARY})
        void oneByteEach(int type) throws Exception {
            try (RawClient client = open(false)) {
                byte[] sent = fragments(type, payload(type, 65536), 1);
                assertEquals(65536 * 7, sent.length);
                client.send(sent);
                assertFrame(client, type, payload(type, 65536));
                assertClosesWell(client);
            }
        }
    }

    // ---- 5 ----

    @Nested
    @DisplayName("5 UTF-8")
    class Utf8 {
        /** A value in so many bytes, of 2 to 6, by the pattern of RFC 2279, whether that is allowed or not. */
        private static byte[] encode(long value, int length) {
            byte[] encoded = new byte[length];
            for (int i = length - 1; i > 0; i--, value >>= 6)
                encoded[i] = (byte) (0x80 | value & 0x3F);
            encoded[0] = (byte) (0xFF00 >> length | value);
            return encoded;
        }

        /**
         * RFC 3629 §4, by its table: the index of the first byte that cannot be, the length if the end came too early,
         * or -1 where all is well.
         */
        private static int firstWrong(byte[] text) {
            int left = 0, low = 0x80, high = 0xBF;
            for (int i = 0; i < text.length; i++) {
                int b = text[i] & 0xFF;
                if (left > 0) {
                    if (b < low || b > high)
                        return i;
                    left--;
                    low = 0x80;
                    high = 0xBF;
                } else if (b > 0x7F) {
                    if (b < 0xC2 || b > 0xF4)
                        return i;
                    left = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
                    low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
                    high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
                }
            }
            return left > 0 ? text.length : -1;
        }

        static List<byte[]> valid() {
            List<byte[]> list = new ArrayList<>();
            for (int point : new int[] {0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xCFFF, 0xD000, 0xD7FF, 0xE000,
                    0xFDD0, 0xFDEF, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000,
                    0x10FFFF})
                list.add(Character.toString(point).getBytes(UTF_8));
            for (int plane = 1; plane <= 16; plane++)
                list.add((Character.toString(plane << 16 | 0xFFFE) + Character.toString(plane << 16 | 0xFFFF))
                    .getBytes(UTF_8));
            list.add("Hello-µ@ßöäüàá-UTF-8!!".getBytes(UTF_8));
            list.add("κόσμε".getBytes(UTF_8));
            list.add("\ud83d\ude00a\ud83d\ude00é\ud83d\ude00€".getBytes(UTF_8));
            return list;
        }

        static List<byte[]> invalid() {
            Map<String, byte[]> wrong = new LinkedHashMap<>();
            List<byte[]> list = new ArrayList<>();
            for (int length = 2; length <= 6; length++) {
                int shift = length == 2 ? 7 : 5 * length - 4; // values from 2^shift on need so many bytes
                list.add(encode(0, length)); // overlong: the first, a slash, the last
                list.add(encode('/', length));
                list.add(encode((1L << shift) - 1, length));
            }
            list.add(encode(0x1FFFFF, 4)); // beyond: the last of 4 bytes, the first and the last of 5 and 6
            list.add(encode(0x200000, 5));
            list.add(encode(0x3FFFFFF, 5));
            list.add(encode(0x4000000, 6));
            list.add(encode(0x7FFFFFFF, 6));
            for (int point : new int[] {0x110000, 0x13FFFF, 0x140000})
                list.add(encode(point, 4));
            for (int point : new int[] {0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF}) {
                list.add(encode(point, 3));
                if (point < 0xDC00)
                    for (int second : new int[] {0xDC00, 0xDFFF})
                        list.add(RawClient.concat(encode(point, 3), encode(second, 3)));
            }
            for (String continuations : List.of("80", "bf", "80 bf", "80 bf 80", "80 bf 80 bf 80 bf", "81 20", "a0"))
                list.add(bytes(continuations));
            for (int start = 0xC0; start <= 0xFF; start++) // lonely
                list.add(RawClient.bytes(start, ' '));
            for (byte[] whole : new byte[][] {encode(0x80, 2), encode(0x7FF, 2), encode(0x800, 3), encode(0xFFFF, 3),
                    encode(0x10000, 4), encode(0x10FFFF, 4)})
                for (int length = 1; length < whole.length; length++) { // truncated, and then another character
                    list.add(RawClient.concat(Arrays.copyOf(whole, length), HELLO));
                    list.add(RawClient.concat(Arrays.copyOf(whole, length), whole));
                }
            list.add(bytes("fe fe ff ff"));
            for (byte[] each : list)
                wrong.put(hex(each), each);
            return new ArrayList<>(wrong.values());
        }

        @Test
        @DisplayName("valid: whole, split at every byte, a byte a fragment, byte by byte")
        void takesValid() throws Exception {
            try (RawClient client = open(false)) {
                for (byte[] text : valid()) {
                    assertEquals(-1, firstWrong(text), hex(text));
                    client.send(frame(FIN | TEXT, text));
                    assertFrame(client, TEXT, text);
                    for (int at = 0; at <= text.length; at++) {
                        client.send(split(TEXT, text, at));
                        assertFrame(client, TEXT, text);
                    }
                    client.send(fragments(TEXT, text, 1));
                    assertFrame(client, TEXT, text);
                    send(client, frame(FIN | TEXT, text), 1);
                    assertFrame(client, TEXT, text);
                }
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("invalid: 1007, whole and split at every byte")
        void failsInvalid() throws Exception {
            for (byte[] wrong : invalid()) {
                byte[] text = RawClient.concat("κ".getBytes(UTF_8), wrong, bytes("21"));
                assertNotEquals(-1, firstWrong(text), hex(text));
                for (int at = -1; at <= text.length; at++)
                    try (RawClient client = open(false)) {
                        client.send(RawClient.concat(frame(FIN | TEXT, "before"),
                            at < 0 ? frame(FIN | TEXT, text) : split(TEXT, text, at), frame(FIN | TEXT, "after")));
                        assertFrame(client, TEXT, "before");
                        assertFails(client, 1007);
                    } catch (AssertionError | IOException e) {
                        throw new AssertionError(hex(text) + "split at " + at + ": " + e.getMessage(), e);
                    }
            }
        }

        @Test
        @DisplayName("invalid: 1007 at the first byte that cannot be, before the end of frame or message")
        void failsFast() throws Exception {
            for (byte[] wrong : invalid()) {
                byte[] text = RawClient.concat(wrong, "!".repeat(100).getBytes(UTF_8));
                int upTo = firstWrong(text) + 1;
                byte[] whole = frame(FIN | TEXT, text), begun = Arrays.copyOf(text, upTo);
                byte[] bytewise = fragments(TEXT, begun, 1);
                for (byte[] sent : List.of(Arrays.copyOf(whole, 6 + upTo), frame(TEXT, begun), bytewise))
                    try (RawClient client = open(false)) {
                        client.socket.setSoTimeout(1_000);
                        client.send(sent);
                        assertFails(client, 1007);
                    } catch (AssertionError | IOException e) {
                        throw new AssertionError(hex(begun) + "sent as " + hex(sent) + ": " + e, e);
                    }
            }
        }

        @Test
        @DisplayName("a character that the end of the message cuts: 1007 then, and not before")
        void failsAtTheEnd() throws Exception {
            for (byte[] whole : valid())
                for (int length = 1; length < whole.length; length++) {
                    byte[] text = Arrays.copyOf(whole, length);
                    if (firstWrong(text) != length)
                        continue; // the cut is between two characters
                    for (byte[] sent : List.of(frame(FIN | TEXT, text),
                            RawClient.concat(frame(TEXT, text), frame(FIN | PING, "well"), frame(FIN | MORE, ""))))
                        try (RawClient client = open(false)) {
                            client.send(sent);
                            if (sent.length > 6 + length)
                                assertFrame(client, PONG, "well");
                            assertFails(client, 1007);
                        } catch (AssertionError | IOException e) {
                            throw new AssertionError(hex(text) + ": " + e.getMessage(), e);
                        }
                }
        }
    }

    // ---- 6 ----

    @Nested
    @DisplayName("6 Closing")
    class Closing {
        @Test
        @DisplayName("codes: answered with the same, or 1002 where none may send it")
        void codes() throws Exception {
            TreeSet<Integer> codes = new TreeSet<>(List.of(0, 1, 999, 1100, 1999, 2000, 2998, 2999, 3000, 3001, 3999,
                4000, 4998, 4999, 5000, 5001, 32767, 32768, 65534, 65535));
            for (int code = 1000; code <= 1020; code++)
                codes.add(code);
            for (int code = 0; code <= 4999; code += 17)
                codes.add(code);
            for (int code : codes) {
                boolean allowed = code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014
                    || code >= 3000 && code <= 4999;
                for (String reason : new String[] {"", "reason: κόσμε"})
                    try (RawClient client = open(false)) {
                        client.send(frame(FIN | CLOSE, RawClient.closing(code, reason.getBytes(UTF_8))));
                        if (allowed) {
                            RawClient.Frame answer = client.frame();
                            assertTrue(answer.isClose());
                            assertEquals(code, answer.code());
                            assertTrue(client.atEnd());
                        } else {
                            assertFails(client, 1002);
                        }
                    } catch (AssertionError | IOException e) {
                        throw new AssertionError("code " + code + ": " + e.getMessage(), e);
                    }
            }
        }

        @Test
        @DisplayName("without a code it is answered without one")
        void withoutCode() throws Exception {
            for (int piece : new int[] {0, 1})
                try (RawClient client = open(false)) {
                    send(client, frame(FIN | CLOSE, NOTHING), piece);
                    assertFrame(client, CLOSE, NOTHING);
                    assertTrue(client.atEnd());
                }
        }

        @ParameterizedTest
        @DisplayName("a body of 1 byte: 1002")
        @ValueSource(ints = {0, 3, 'x', 255})
        void oneByte(int value) throws Exception {
            try (RawClient client = open(false)) {
                client.send(frame(FIN | CLOSE, RawClient.bytes(value)));
                assertFails(client, 1002);
            }
        }

        @ParameterizedTest
        @DisplayName("a reason of so many bytes")
        @ValueSource(ints = {1, 122, 123, 124})
        void reasons(int length) throws Exception {
            byte[] body = RawClient.closing(1000, utf8(length));
            try (RawClient client = open(false)) {
                client.send(frame(FIN | CLOSE, body));
                if (length > 123) {
                    assertFails(client, 1002);
                } else {
                    RawClient.Frame answer = client.frame();
                    assertTrue(answer.isClose());
                    assertEquals(1000, answer.code());
                    assertTrue(client.atEnd());
                }
            }
        }

        @Test
        @DisplayName("a reason that is not UTF-8: 1007")
        void invalidReason() throws Exception {
            List<byte[]> wrong = Utf8.invalid();
            wrong.addAll(List.of(bytes("c3"), bytes("e2 82"), bytes("f0 9f 98"), bytes("ed a0")));
            for (byte[] reason : wrong)
                try (RawClient client = open(false)) {
                    client.send(frame(FIN | CLOSE, RawClient.closing(1000, reason)));
                    assertFails(client, 1007);
                } catch (AssertionError | IOException e) {
                    throw new AssertionError(hex(reason) + ": " + e.getMessage(), e);
                }
        }

        @ParameterizedTest
        @DisplayName("what comes after it is ignored: data, pings, another close, what would be wrong")
        @ValueSource(ints = {0, 1})
        void after(int piece) throws Exception {
            for (byte[] more : List.of(frame(FIN | TEXT, "after"), frame(FIN | PING, "after"),
                    frame(FIN | CLOSE, RawClient.closing(1001)), frame(FIN | CLOSE, NOTHING), frame(0xFF, "after"),
                    RawClient.bytes(0x81, 0), frame(FIN | TEXT, random(60_000))))
                try (RawClient client = open(false)) {
                    byte[] sent = RawClient.concat(frame(FIN | TEXT, "before"),
                        frame(FIN | CLOSE, RawClient.closing(3333)), more.length > 1000 && piece > 0 ? NOTHING : more);
                    send(client, sent, piece);
                    assertFrame(client, TEXT, "before");
                    assertFrame(client, CLOSE, RawClient.closing(3333));
                    assertTrue(client.atEnd());
                }
        }

        @ParameterizedTest
        @DisplayName("in a fragmented message: answered, and the message is dropped")
        @ValueSource(ints = {TEXT, BINARY})
        void inMessage(int type) throws Exception {
            for (boolean deflate : new boolean[] {false, true})
                try (RawClient client = open(deflate)) {
                    client.send(RawClient.concat(
                        deflate ? frame(RSV1 | type, bytes("f2 48 cd")) : frame(type, "Hel"),
                        frame(FIN | CLOSE, RawClient.closing(1000)), frame(FIN | MORE, "end")));
                    assertFrame(client, CLOSE, RawClient.closing(1000));
                    assertTrue(client.atEnd());
                }
        }

        @Test
        @DisplayName("the connection that the client ends without it ends")
        void abrupt() throws Exception {
            for (byte[] sent : List.of(NOTHING, RawClient.bytes(0x81), frame(TEXT, "begun"),
                    Arrays.copyOf(frame(FIN | TEXT, new byte[200]), 100)))
                try (RawClient client = open(false)) {
                    client.send(sent);
                    client.socket.shutdownOutput();
                    assertTrue(client.isGone());
                }
        }
    }

    // ---- 7 ----

    @ParameterizedTest(name = "{0} KiB, opcode {1}, fragments of {2}, TCP pieces of {3}")
    @DisplayName("7 Large messages")
    @CsvSource({
        "1024, 1, 0, 0", "1024, 2, 0, 1300", "1024, 1, 64, 0", "1024, 2, 64, 1300", "1024, 1, 4096, 1300",
        "4096, 1, 0, 1300", "4096, 2, 64, 0", "4096, 1, 4096, 0", "4096, 2, 65536, 1300",
        "16384, 1, 0, 0", "16384, 2, 0, 1300", "16384, 1, 65536, 0", "16384, 2, 4096, 0"})
    void large(int kib, int type, int size, int piece) throws Exception {
        byte[] message = type == TEXT ? utf8(kib * KIB) : random(kib * KIB);
        try (RawClient client = open(false)) {
            send(client, fragments(type, message, size == 0 ? message.length : size), piece);
            assertFrame(client, type, message);
            assertClosesWell(client);
        }
    }

    @Test
    @DisplayName("7 Larger than 64 MiB, as announced: 1009, and nothing is waited for")
    void tooLarge() throws Exception {
        byte[] mask = {1, 2, 3, 4};
        for (byte[] length : List.of(bytes("00 00 00 00 04 00 00 01"), bytes("00 00 00 01 00 00 00 00"),
                bytes("7f ff ff ff ff ff ff ff")))
            for (byte[] before : List.of(NOTHING, frame(BINARY, "begun")))
                try (RawClient client = open(false)) {
                    client.send(RawClient.concat(before,
                        RawClient.bytes(before.length == 0 ? FIN | BINARY : FIN | MORE, 0xFF), length, mask));
                    assertFails(client, 1009);
                }
    }

    // ---- 8 ----

    @Nested
    @DisplayName("8 permessage-deflate")
    class Deflate {
        private static final String NONE = "none", BITS = AGREED + "; server_max_window_bits=15";
        private static final String FIELD = "Sec-WebSocket-Extensions: ";

        static Stream<Arguments> offers() {
            List<Arguments> offers = new ArrayList<>(List.of(
                Arguments.of(List.of(), NONE),
                Arguments.of(List.of("permessage-deflate"), AGREED),
                Arguments.of(List.of(" permessage-deflate "), AGREED),
                Arguments.of(List.of("permessage-deflate; client_no_context_takeover"), AGREED),
                Arguments.of(List.of("permessage-deflate;server_no_context_takeover"), AGREED),
                Arguments.of(List.of("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
                    AGREED),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits"), AGREED),
                Arguments.of(List.of("permessage-deflate ; client_max_window_bits = 15"), AGREED),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits=\"10\""), AGREED),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=15"), BITS),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=\"15\""), BITS),
                Arguments.of(List.of("permessage-deflate; client_max_window_bits; server_max_window_bits=15; "
                    + "server_no_context_takeover; client_no_context_takeover"), BITS),
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
                    + "permessage-deflate; server_max_window_bits=15, permessage-deflate"), BITS),
                Arguments.of(List.of("permessage-deflate, permessage-deflate; server_max_window_bits=15"), AGREED),
                Arguments.of(List.of("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=8"),
                    NONE),
                Arguments.of(List.of("permessage-bzip2", "permessage-deflate; client_max_window_bits"), AGREED),
                Arguments.of(List.of("permessage-deflate; server_max_window_bits=9",
                    "permessage-deflate; server_max_window_bits=15"), BITS),
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

        @ParameterizedTest(name = "{0}")
        @DisplayName("offers, and the answer")
        @MethodSource("offers")
        void negotiation(List<String> offers, String answer) throws Exception {
            try (RawClient client = new RawClient(server.port())) {
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
        void malformed(String offer) throws Exception {
            try (RawClient client = new RawClient(server.port())) {
                assertEquals(400, RawClient.status(client.upgrade("/", FIELD + offer)));
            }
        }

        @ParameterizedTest
        @DisplayName("messages of so many bytes: compressible and random, of levels 0, 1, 9 and final, whole and not")
        @ValueSource(ints = {0, 1, 2, 5, 8, 16, 64, 125, 126, 127, 128, 256, 1024, 4096, 8192, 16384, 32768, 65535,
            65536, 65537, 131072})
        void messages(int length) throws Exception {
            byte[] zeros = new byte[length];
            try (RawClient client = open(true)) {
                for (byte[] message : List.of(payload(TEXT, length), random(length), zeros, utf8(length))) {
                    int type = Utf8.firstWrong(message) < 0 ? TEXT : BINARY;
                    for (byte[] compressed : List.of(deflate(message, 0), deflate(message, 1), deflate(message, 9),
                            deflateFinal(message))) {
                        client.send(frame(FIN | RSV1 | type, compressed));
                        boolean answered = assertMessage(client, type, message);
                        if (length >= 128 && type == TEXT)
                            assertTrue(answered, "the answer is compressed");
                        if (length == 0)
                            assertFalse(answered, "nothing can be smaller");
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
        void chopped(int piece) throws Exception {
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
        void examples() throws Exception {
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
        void noContext() throws Exception {
            byte[] message = random(2000), hello = bytes("f2 48 cd c9 c9 07 00");
            for (int i = 0; i < message.length; i++)
                message[i] = (byte) ('a' + (message[i] & 15)); // to be compressed, but much better with the one before
            try (RawClient client = open(true)) {
                int[] lengths = new int[5];
                for (int i = 0; i < lengths.length; i++) {
                    client.send(frame(FIN | RSV1 | TEXT, deflate(message, 9)));
                    RawClient.Frame answer = client.frame();
                    assertEquals(FIN | RSV1 | TEXT, answer.firstByte());
                    assertArrayEquals(message, inflate(answer.payload()));
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
        @DisplayName("many at once are answered in order")
        void manyAtOnce() throws Exception {
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
        void garbage(String compressed) throws Exception {
            for (int type : new int[] {TEXT, BINARY})
                for (int fin : new int[] {0, FIN})
                    try (RawClient client = open(true)) {
                        client.send(RawClient.concat(frame(FIN | TEXT, "before"),
                            frame(fin | RSV1 | type, bytes(compressed))));
                        assertFrame(client, TEXT, "before");
                        assertFails(client, 1007);
                    }
        }

        @Test
        @DisplayName("compressed text that is not UTF-8: 1007; at the first byte that cannot be, before the end")
        void invalidText() throws Exception {
            for (byte[] wrong : Utf8.invalid())
                for (boolean whole : new boolean[] {true, false})
                    try (RawClient client = open(true)) {
                        byte[] begun = Arrays.copyOf(wrong, Math.min(wrong.length, Utf8.firstWrong(wrong) + 1));
                        byte[] text = whole || Utf8.firstWrong(wrong) == wrong.length
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
        void anyBinary() throws Exception {
            try (RawClient client = open(true)) {
                for (byte[] wrong : Utf8.invalid()) {
                    client.send(frame(FIN | RSV1 | BINARY, deflate(wrong, 9)));
                    assertMessage(client, BINARY, wrong);
                }
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("100 MiB of zeros: 1009, whole, and before the message ends")
        @ValueSource(ints = {0, FIN})
        void bomb(int fin) throws Exception {
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
        void largeCompressed() throws Exception {
            byte[] text = utf8(16 * MIB), binary = random(MIB);
            try (RawClient client = open(true)) {
                client.send(fragments(RSV1 | TEXT, deflate(text, 1), 4096));
                assertTrue(assertMessage(client, TEXT, text));
                send(client, fragments(RSV1 | BINARY, deflate(binary, 1), 64 * KIB), 1300);
                assertFalse(assertMessage(client, BINARY, binary), "it would not be smaller");
                assertClosesWell(client);
            }
        }

        /** A message, or 1007: what is no whole block behind a final one may be passed over or not. */
        private void assertMessageOr1007(RawClient client, byte[] message) throws Exception {
            RawClient.Frame frame = client.frame();
            if (frame.isClose())
                assertEquals(1007, frame.code());
            else
                assertEquals(hex(message), hex((frame.firstByte() & RSV1) != 0 ? inflate(frame.payload())
                    : frame.payload()));
        }

        @Test
        @DisplayName("a final block that ends within the tail does not have the message's end read once more")
        void finalBlockEndsInTail() throws Exception {
            byte[] compressed = bytes("00 01 00 fe ff 73 73 04"); // stored "s"; final, of fixed codes, "A", 00 cut off
            try (RawClient client = open(true)) {
                client.send(frame(FIN | RSV1 | BINARY, compressed));
                assertMessageOr1007(client, "sA".getBytes(UTF_8));
            }
        }

        @Test
        @DisplayName("nor what is before it, wherever it stands in the server's buffer")
        void finalBlockEndsInTailAtBoundary() throws Exception {
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
        void rsv1() throws Exception {
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
