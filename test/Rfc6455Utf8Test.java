import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6455 §8.1 Text is UTF-8 (RFC 3629)")
class Rfc6455Utf8Test extends SharedServer {
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

    @Nested
    @DisplayName("by the echo server")
    class Echo extends SharedEcho {
        @Test
        @DisplayName("valid: whole, split at every byte, a byte a fragment, byte by byte")
        void sendsBackWhatIsValid() throws Exception {
            try (RawClient client = open(false)) {
                for (byte[] text : Utf8Texts.valid()) {
                    assertEquals(-1, Utf8Texts.firstWrong(text), hex(text));
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
        void failsForWhatIsInvalid() throws Exception {
            for (byte[] wrong : Utf8Texts.invalid()) {
                byte[] text = RawClient.concat("κ".getBytes(UTF_8), wrong, bytes("21"));
                assertNotEquals(-1, Utf8Texts.firstWrong(text), hex(text));
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
        void failsAtTheFirstByteThatCannotBe() throws Exception {
            for (byte[] wrong : Utf8Texts.invalid()) {
                byte[] text = RawClient.concat(wrong, "!".repeat(100).getBytes(UTF_8));
                int upTo = Utf8Texts.firstWrong(text) + 1;
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
        void failsForACharacterThatTheEndCuts() throws Exception {
            for (byte[] whole : Utf8Texts.valid())
                for (int length = 1; length < whole.length; length++) {
                    byte[] text = Arrays.copyOf(whole, length);
                    if (Utf8Texts.firstWrong(text) != length)
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
}
