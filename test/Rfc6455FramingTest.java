import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6455 §5 Data framing")
class Rfc6455FramingTest extends SharedServer {
    private static final int MOST = NanoStreamWs.Limits.MAX_CLIENT_MESSAGE;
    private static final byte[] MASK = {1, 2, 3, 4};

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
            for (byte[] wrong : new byte[][] {RawClient.bytes(0x81, 0), RawClient.frame(0x81, RawClient.bytes(0xFF)),
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

    @Nested
    @DisplayName("by the echo server")
    class Echo extends SharedEcho {
        @ParameterizedTest
        @DisplayName("§5.2: text and binary of every length encoding, whole, chopped, byte by byte")
        @ValueSource(ints = {0, 1, 125, 126, 127, 128, 65535, 65536})
        void sendsBackEveryLengthEncoding(int length) throws Exception {
            try (RawClient client = open(false)) {
                for (int type : new int[] {TEXT, BINARY})
                    for (int piece : length <= 128 ? new int[] {0, 997, 1} : new int[] {0, 997}) {
                        send(client, frame(FIN | type, payload(type, length)), piece);
                        assertFrame(client, type, payload(type, length));
                    }
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("§5.5: a control frame of 126 bytes or in fragments is 1002")
        @ValueSource(ints = {PING, PONG, CLOSE})
        void refusesLongAndFragmentedControlFrames(int opcode) throws Exception {
            for (byte[] wrong : List.of(frame(FIN | opcode, new byte[126]), frame(opcode, RawClient.closing(1000))))
                try (RawClient client = open(false)) {
                    client.send(RawClient.concat(frame(FIN | PING, "before"), wrong, frame(FIN | PING, "after")));
                    assertFrame(client, PONG, "before");
                    assertFails(client, 1002);
                }
        }

        @ParameterizedTest(name = "{0} KiB, opcode {1}, fragments of {2}, TCP pieces of {3}")
        @DisplayName("large messages")
        @CsvSource({
            "1024, 1, 0, 0", "1024, 2, 0, 1300", "1024, 1, 64, 0", "1024, 2, 64, 1300", "1024, 1, 4096, 1300",
            "4096, 1, 0, 1300", "4096, 2, 64, 0", "4096, 1, 4096, 0", "4096, 2, 65536, 1300",
            "16384, 1, 0, 0", "16384, 2, 0, 1300", "16384, 1, 65536, 0", "16384, 2, 4096, 0"})
        void sendsBackLargeMessages(int kib, int type, int size, int piece) throws Exception {
            byte[] message = type == TEXT ? utf8(kib * KIB) : random(kib * KIB);
            try (RawClient client = open(false)) {
                send(client, fragments(type, message, size == 0 ? message.length : size), piece);
                assertFrame(client, type, message);
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("§10.4: larger than 64 MiB, as announced: 1009, and nothing is waited for")
        void refusesWhatIsAnnouncedTooLarge() throws Exception {
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

        @Nested
        @DisplayName("§5.2: reserved bits and opcodes are 1002; what was whole before is echoed, nothing behind")
        class Reserved {
            private void fails(boolean deflate, byte[] wrong, String what) throws Exception {
                for (int piece : new int[] {0, 1})
                    try (RawClient client = open(deflate)) {
                        send(client, RawClient.concat(frame(FIN | TEXT, "before"), wrong, frame(FIN | PING, "after"),
                            frame(FIN | TEXT, "after")), piece);
                        assertMessage(client, TEXT, "before".getBytes(UTF_8));
                        assertFails(client, 1002);
                    } catch (AssertionError | IOException e) {
                        throw new AssertionError(what + ", in pieces of " + piece + ": " + e.getMessage(), e);
                    }
            }

            @ParameterizedTest(name = "{0}, deflate {1}")
            @CsvSource({"1, false", "2, false", "3, false", "4, false", "5, false", "6, false", "7, false",
                "1, true", "2, true", "3, true", "4, true", "5, true", "6, true", "7, true"})
            void failForReservedBits(int bits, boolean deflate) throws Exception {
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
            void failForReservedOpcodes(int opcode) throws Exception {
                for (boolean deflate : new boolean[] {false, true}) {
                    for (byte[] payload : new byte[][] {NOTHING, HELLO}) {
                        fails(deflate, frame(FIN | opcode, payload), "with FIN");
                        fails(deflate, frame(opcode, payload), "without FIN");
                        fails(deflate, frame(FIN | RSV1 | opcode, payload), "with RSV1");
                        fails(deflate, RawClient.concat(frame(TEXT, "x"), frame(FIN | opcode, payload)),
                            "in a message");
                    }
                }
            }
        }

        @Nested
        @DisplayName("§5.4 Fragmentation")
        class Fragmentation {
            @ParameterizedTest(name = "{0} bytes each")
            @ValueSource(ints = {1, 2, 3, 7, 50, 99, 100})
            void sendsBackAMessageInFragments(int size) throws Exception {
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
            void takesEmptyFragments() throws Exception {
                try (RawClient client = open(false)) {
                    for (String parts : List.of("||", "|abc|", "abc||", "||abc", "a||c", "|b|", "|||||||||",
                            "a||||||||z"))
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
            void answersControlFramesBetweenAtOnce(int piece) throws Exception {
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
            void refusesMessagesThatMix(String what, byte[] sent) throws Exception {
                for (int piece : new int[] {0, 1})
                    try (RawClient client = open(false)) {
                        send(client, RawClient.concat(sent, frame(FIN | MORE, "after"), frame(FIN | TEXT, "after")),
                            piece);
                        assertFrame(client, TEXT, "before");
                        assertFails(client, 1002);
                    }
            }

            @ParameterizedTest
            @DisplayName("65,536 fragments of a message of 64 KiB")
            @ValueSource(ints = {TEXT, BINARY})
            void takesManyFragments(int type) throws Exception {
                try (RawClient client = open(false)) {
                    byte[] sent = fragments(type, payload(type, 65536), 1);
                    assertEquals(65536 * 7, sent.length);
                    client.send(sent);
                    assertFrame(client, type, payload(type, 65536));
                    assertClosesWell(client);
                }
            }
        }
    }
}
