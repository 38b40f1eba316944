import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6455 §5 Data framing")
class Rfc6455FramingTest extends SharedServer {
    private static final int MOST = NanoStreamWs.Limits.MAX_CLIENT_MESSAGE;
    private static final byte[] MASK = {1, 2, 3, 4};

    private static RawClient admitted() throws Exception {
        return RawClient.admitted(server.port(), "/");
    }

    /** The server ends the connection with a code and a reason; nothing else comes, and the end is in order. */
    private static void assertFails(RawClient client, int code, String reason) throws Exception {
        RawClient.Frame frame = client.frame();
        assertTrue(frame.isClose(), "expected a close frame, got " + Integer.toHexString(frame.firstByte()));
        assertEquals(code + " " + reason, frame.code() + " " + frame.text().substring(2));
        assertTrue(client.atEnd());
    }

    /** The connection is well: a ping is answered next, and a message of the feed comes. */
    private static void assertIsWell(RawClient client, String mark) throws Exception {
        client.send(RawClient.frame(0x89, mark));
        RawClient.Frame pong = client.frame();
        assertEquals(0x8A, pong.firstByte(), "expected a pong, got " + pong);
        assertEquals(mark, pong.text());
        assertEquals(200, server.post("message " + mark));
        assertEquals("message " + mark, client.text());
    }

    /** A frame's first two bytes, more of its header, and a masking key. */
    private static byte[] header(int... bytes) {
        return RawClient.concat(RawClient.bytes(bytes), MASK);
    }

    private static Arguments wrong(String what, String reason, byte[]... parts) {
        return Arguments.of(what, reason, RawClient.concat(parts));
    }

    static Stream<Arguments> protocolErrors() {
        String unmasked = "frame is not masked", reserved = "reserved bits must be 0", opcode = "reserved opcode",
            control = "control frame is too long or fragmented", minimal = "length is not encoded minimally";
        return Stream.of(
            wrong("§5.1 text without a mask", unmasked, RawClient.bytes(0x81, 2, 'h', 'i')),
            wrong("§5.1 empty text without a mask", unmasked, RawClient.bytes(0x81, 0)),
            wrong("§5.1 ping without a mask", unmasked, RawClient.bytes(0x89, 0)),
            wrong("§5.1 close without a mask", unmasked, RawClient.bytes(0x88, 2, 3, 0xE8)),
            wrong("§5.2 RSV1", reserved, RawClient.frame(0xC1, "a")),
            wrong("§5.2 RSV2", reserved, RawClient.frame(0xA1, "a")),
            wrong("§5.2 RSV3", reserved, RawClient.frame(0x91, "a")),
            wrong("§5.2 RSV1 of a ping", reserved, RawClient.frame(0xC9, "a")),
            wrong("§5.2 RSV1 of a continuation", reserved, RawClient.frame(0x01, "a"), RawClient.frame(0xC0, "b")),
            wrong("§5.2 opcode 3", opcode, RawClient.frame(0x83, "")),
            wrong("§5.2 opcode 4", opcode, RawClient.frame(0x84, "a")),
            wrong("§5.2 opcode 5", opcode, RawClient.frame(0x85, "a")),
            wrong("§5.2 opcode 6", opcode, RawClient.frame(0x86, "a")),
            wrong("§5.2 opcode 7", opcode, RawClient.frame(0x07, "a")),
            wrong("§5.2 opcode B", opcode, RawClient.frame(0x8B, "")),
            wrong("§5.2 opcode C", opcode, RawClient.frame(0x8C, "a")),
            wrong("§5.2 opcode D", opcode, RawClient.frame(0x8D, "a")),
            wrong("§5.2 opcode E", opcode, RawClient.frame(0x8E, "a")),
            wrong("§5.2 opcode F", opcode, RawClient.frame(0x8F, "a")),
            wrong("§5.5 fragmented ping", control, RawClient.frame(0x09, "a")),
            wrong("§5.5 fragmented pong", control, RawClient.frame(0x0A, "a")),
            wrong("§5.5 fragmented close", control, RawClient.frame(0x08, RawClient.closing(1000))),
            wrong("§5.5 ping of 126 bytes", control, RawClient.frame(0x89, new byte[126])),
            wrong("§5.5 pong of 126 bytes, announced", control, header(0x8A, 0xFE, 0, 126)),
            wrong("§5.5 close of 126 bytes, announced", control, header(0x88, 0xFE, 0, 126)),
            wrong("§5.5 ping of 65536 bytes, announced", control, header(0x89, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0)),
            wrong("§5.2 0 in 16 bits", minimal, header(0x82, 0xFE, 0, 0)),
            wrong("§5.2 125 in 16 bits", minimal, header(0x82, 0xFE, 0, 125)),
            wrong("§5.2 125 in 16 bits, for a ping", minimal, header(0x89, 0xFE, 0, 125)),
            wrong("§5.2 0 in 64 bits", minimal, header(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0)),
            wrong("§5.2 126 in 64 bits", minimal, header(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 126)),
            wrong("§5.2 65535 in 64 bits", minimal, header(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255)),
            wrong("§5.2 64 bits with the top bit", minimal, header(0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0)),
            wrong("§5.2 64 bits, all set", minimal, header(0x81, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255)),
            wrong("§5.4 continuation of nothing", "nothing to continue", RawClient.frame(0x80, "a")),
            wrong("§5.4 beginning of a continuation of nothing", "nothing to continue", RawClient.frame(0x00, "")),
            wrong("§5.4 continuation after a whole message", "nothing to continue",
                RawClient.frame(0x01, "a"), RawClient.frame(0x80, "b"), RawClient.frame(0x80, "c")),
            wrong("§5.4 text within a text", "expected a continuation", RawClient.frame(0x01, "a"),
                RawClient.frame(0x81, "b")),
            wrong("§5.4 binary within a text", "expected a continuation", RawClient.frame(0x01, "a"),
                RawClient.frame(0x02, "b")),
            wrong("§5.4 text within a binary", "expected a continuation", RawClient.frame(0x02, ""),
                RawClient.frame(0x81, "")));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("protocolErrors")
    @DisplayName("1002")
    void failsWithProtocolError(String what, String reason, byte[] sent) throws Exception {
        try (RawClient client = admitted()) {
            client.send(RawClient.concat(sent, RawClient.frame(0x89, "after"))); // §7.1.7: nothing more is processed
            assertFails(client, 1002, reason);
        }
        try (RawClient client = admitted()) {
            client.sendSlowly(sent);
            assertFails(client, 1002, reason);
        }
    }

    private static byte[] latin(String bytes) {
        return bytes.getBytes(ISO_8859_1);
    }

    @ParameterizedTest
    @DisplayName("§8.1: text that is not UTF-8 is 1007, whole and split at every byte")
    @ValueSource(strings = {"\u0080", "a\u00bf", "\u00c0\u0080", "\u00c1\u00bf", "ab\u00e0\u0080\u0080",
        "\u00ed\u00a0\u0080x", "\u00f0\u0080\u0080\u0080", "\u00f4\u0090\u0080\u0080", "\u00f5\u0080\u0080\u0080",
        "a\u00ff", "\u00fe", "\u00c3(", "\u00e2\u0082(", "\u00f0\u009f\u0098(", "ok\u00c3", "ok\u00e2\u0082",
        "ok\u00f0\u009f\u0098", "\u00ce\u00ba\u00e1\u00bd\u00b9\u00cf\u0083\u00ed\u00a0\u0080"})
    void failsForInvalidText(String text) throws Exception {
        byte[] bytes = latin(text);
        for (int cut = -1; cut <= bytes.length; cut++)
            try (RawClient client = admitted()) {
                if (cut < 0)
                    client.send(RawClient.frame(0x81, bytes));
                else
                    client.send(RawClient.concat(RawClient.frame(0x01, Arrays.copyOf(bytes, cut)),
                        RawClient.frame(0x80, Arrays.copyOfRange(bytes, cut, bytes.length))));
                assertFails(client, 1007, "text is not UTF-8");
            }
    }

    @ParameterizedTest
    @DisplayName("§8.1: it fails at the first byte that cannot be, before the end of the frame")
    @ValueSource(strings = {"\u0080", "abc\u00ff", "\u00c0", "\u00c1", "\u00c3(", "\u00e0\u0080", "\u00e0\u009f",
        "\u00e2\u0082(", "\u00ed\u00a0", "\u00ed\u00bf", "\u00f0\u0080", "\u00f0\u008f", "\u00f0\u009f\u0098(",
        "\u00f4\u0090", "\u00f5"})
    void failsAtTheFirstInvalidByte(String text) throws Exception {
        byte[] whole = RawClient.frame(0x81, latin(text + " ".repeat(100 - text.length())));
        byte[] begun = Arrays.copyOf(whole, 6 + text.length());
        try (RawClient client = admitted()) {
            client.socket.setSoTimeout(2_000);
            client.send(begun);
            assertFails(client, 1007, "text is not UTF-8");
        }
        try (RawClient client = admitted()) {
            client.socket.setSoTimeout(2_000);
            client.send(RawClient.frame(0x01, "first")); // no FIN
            client.sendSlowly(RawClient.frame(0x00, latin(text)));
            assertFails(client, 1007, "text is not UTF-8");
        }
    }

    @Test
    @DisplayName("§8.1: characters may be split over fragments at every byte")
    void takesCharactersSplitAnywhere() throws Exception {
        byte[] text = "κόσμε \u0000 \u007f \u0080 \u07ff \u0800 \ud7ff \ue000 \uffff 😀 \udbff\udfff".getBytes(UTF_8);
        try (RawClient client = admitted()) {
            for (int cut = 0; cut <= text.length; cut++) {
                client.send(RawClient.frame(0x01, Arrays.copyOf(text, cut)));
                client.send(RawClient.frame(0x00, new byte[0]));
                client.send(RawClient.frame(0x80, Arrays.copyOfRange(text, cut, text.length)));
            }
            for (int i = 0; i < text.length; i++)
                client.send(RawClient.frame(i == 0 ? 0x01 : 0x00, new byte[] {text[i]}));
            client.send(RawClient.frame(0x80, ""));
            assertIsWell(client, "split");
        }
    }

    @Test
    @DisplayName("what is no UTF-8 may be in binary")
    void takesAnyBytesInBinary() throws Exception {
        try (RawClient client = admitted()) {
            client.send(RawClient.frame(0x82, latin("\u00ff\u00c0")));
            client.send(RawClient.concat(RawClient.frame(0x02, latin("\u00ff")),
                RawClient.frame(0x80, latin("\u00c0"))));
            assertIsWell(client, "binary");
        }
    }

    static Stream<Arguments> tooBig() {
        byte[] half = RawClient.frame(0x02, new byte[MOST / 2]);
        byte[] empty = RawClient.frame(0x00, "");
        byte[][] fragments = new byte[NanoStreamWs.Limits.MAX_FRAGMENTS + 1][];
        Arrays.fill(fragments, empty);
        fragments[0] = RawClient.frame(0x01, "");
        return Stream.of(
            Arguments.of("one byte more, announced",
                header(0x81, 0xFF, 0, 0, 0, 0, 0, (MOST + 1) >> 16, (MOST + 1) >> 8, MOST + 1)),
            Arguments.of("4 GiB, announced", header(0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0)),
            Arguments.of("2^63 - 1, announced", header(0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255)),
            Arguments.of("a byte more in a last fragment, announced",
                RawClient.concat(half, RawClient.frame(0x00, new byte[MOST / 2]), header(0x80, 0x81))),
            Arguments.of("2^63 - 1 more, announced",
                RawClient.concat(half, header(0x80, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255))),
            Arguments.of("a fragment too many", RawClient.concat(fragments)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("tooBig")
    @DisplayName("§10.4: too big is 1009, and nothing is waited for")
    void failsForTooBig(String what, byte[] sent) throws Exception {
        try (RawClient client = admitted()) {
            client.send(sent);
            assertFails(client, 1009, "message is too big");
        }
    }

    @Test
    void takesAsManyFragmentsAsAllowedAgainAndAgain() throws Exception {
        int most = NanoStreamWs.Limits.MAX_FRAGMENTS;
        try (RawClient client = admitted()) {
            for (int message = 0; message < 3; message++)
                for (int i = 1; i <= most; i++)
                    client.send(RawClient.frame((i == most ? 0x80 : 0) | (i == 1 ? 2 : 0), ""));
            assertIsWell(client, "fragments");
        }
    }

    @ParameterizedTest
    @DisplayName("§5.2: data of every length encoding is dropped, and the connection stays well")
    @ValueSource(ints = {0, 1, 125, 126, 127, 65535, 65536})
    void dropsData(int length) throws Exception {
        assertEquals(65536, MOST, "the lengths here go up to the limit");
        byte[] payload = new byte[length];
        for (int i = 0; i < length; i++)
            payload[i] = (byte) ('a' + i % 26);
        try (RawClient client = admitted()) {
            for (int type : new int[] {0x81, 0x82}) {
                client.send(RawClient.frame(type, payload));
                assertIsWell(client, "whole " + type);
            }
            client.sendSlowly(RawClient.frame(0x81, payload));
            assertIsWell(client, "slow");
        }
    }

    @ParameterizedTest
    @DisplayName("§5.4: so is a fragmented message, with pings between")
    @ValueSource(ints = {0, 1, 125, 126, 127, 65535, 65536})
    void dropsFragmentedDataWithPingsBetween(int length) throws Exception {
        byte[] payload = new byte[length], third = Arrays.copyOf(payload, length / 3);
        byte[] sent = RawClient.concat(RawClient.frame(0x01, third), RawClient.frame(0x89, "one"),
            RawClient.frame(0x00, third), RawClient.frame(0x8A, "unasked"), RawClient.frame(0x89, "two"),
            RawClient.frame(0x80, Arrays.copyOf(payload, length - 2 * third.length)));
        try (RawClient client = admitted()) {
            for (boolean slowly : new boolean[] {false, true}) {
                if (slowly)
                    client.sendSlowly(sent);
                else
                    client.send(sent);
                assertEquals("one", client.frame().text());
                assertEquals("two", client.frame().text());
                assertIsWell(client, "three");
            }
        }
    }

    @Test
    @DisplayName("§5.5.3: a pong has the ping's payload, of 0 to 125 bytes")
    void answersPings() throws Exception {
        try (RawClient client = admitted()) {
            for (int length = 0; length <= 125; length++) {
                byte[] payload = new byte[length];
                Arrays.fill(payload, (byte) (255 - length));
                client.send(RawClient.frame(0x89, payload));
                RawClient.Frame pong = client.frame();
                assertEquals(0x8A, pong.firstByte());
                assertArrayEquals(payload, pong.payload());
            }
            client.sendSlowly(RawClient.frame(0x89, new byte[125]));
            assertArrayEquals(new byte[125], client.frame().payload());
        }
    }

    @Test
    @DisplayName("§5.5.3: many pings in one packet are answered in order, each once")
    void answersManyPings() throws Exception {
        try (RawClient client = admitted()) {
            byte[][] pings = new byte[500][];
            for (int i = 0; i < pings.length; i++)
                pings[i] = RawClient.frame(0x89, "ping " + i);
            client.send(RawClient.concat(pings));
            for (int i = 0; i < pings.length; i++)
                assertEquals("ping " + i, client.frame().text());
            assertIsWell(client, "after");
        }
    }

    @ParameterizedTest
    @DisplayName("§5.5.3: an unsolicited pong wants no answer")
    @ValueSource(ints = {0, 5, 125})
    void ignoresAnUnsolicitedPong(int length) throws Exception {
        try (RawClient client = admitted()) {
            client.send(RawClient.frame(0x8A, new byte[length]));
            assertIsWell(client, "pong");
        }
    }

    @Test
    @DisplayName("§5.3: any masking key will do, and 0 as well")
    void unmasksWithAnyKey() throws Exception {
        try (RawClient client = admitted()) {
            client.send(RawClient.bytes(0x89, 0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'));
            assertEquals("hello", client.frame().text());
            client.send(RawClient.bytes(0x89, 0x81, 0xFF, 0xFF, 0xFF, 0xFF, 'x' ^ 0xFF));
            assertEquals("x", client.frame().text());
        }
    }

    @Test
    @DisplayName("a listener that fails does not affect another")
    void failsOneListenerOnly() throws Exception {
        try (RawClient bystander = admitted()) {
            for (byte[] wrong : new byte[][] {RawClient.bytes(0x81, 0), RawClient.frame(0x81, latin("\u00ff")),
                    header(0x82, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0)})
                try (RawClient client = admitted()) {
                    client.send(wrong);
                    assertTrue(client.frame().isClose());
                    assertEquals(200, server.post("meanwhile"));
                    assertEquals("meanwhile", bystander.text());
                    assertTrue(client.atEnd(), "§5.5.1: nothing after the close frame");
                }
            assertIsWell(bystander, "still there");
        }
    }

    @Test
    @DisplayName("the log says why, with the code, and nothing that was sent")
    void logsTheReason() throws Exception {
        try (TestServer own = new TestServer(); RawClient client = RawClient.admitted(own.port(), "/")) {
            client.send(RawClient.concat(RawClient.frame(0x01, "confidential"), RawClient.frame(0x81, "confidential")));
            assertFails(client, 1002, "expected a continuation");
            client.socket.close();
            String line = own.awaitLog("dropped 127.0.0.1:");
            assertTrue(line.contains("1002 expected a continuation"), line);
            own.awaitListeners(0);
            assertFalse(own.log().contains("confidential"));
        }
    }
}
