import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.time.Duration;
import java.util.Random;
import java.util.zip.Inflater;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 7692 permessage-deflate: compressed once for all who can have it")
class Rfc7692DeflateTest {
    private static final String OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    private static final String BLOCK = "{\"account\":\"nano_1ipx847tk8o46pwxt5qjdbncjqcbwcc1rrmqnkztrfjy5k7z4\",".repeat(9);

    /** The message of a compressed frame. */
    private static String inflated(RawClient.Frame frame) throws Exception {
        Inflater inflater = new Inflater(true); // a new one for each: no context is taken over
        ByteArrayOutputStream input = new ByteArrayOutputStream(), output = new ByteArrayOutputStream();
        input.writeBytes(frame.payload());
        input.writeBytes(new byte[] {0, 0, -1, -1});
        inflater.setInput(input.toByteArray());
        byte[] buffer = new byte[8192];
        for (int n; (n = inflater.inflate(buffer)) > 0; )
            output.write(buffer, 0, n);
        assertEquals(0, inflater.getRemaining());
        inflater.end();
        return output.toString(UTF_8);
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
        permessage-deflate; client_no_context_takeover                     | yes
        permessage-deflate; server_max_window_bits=15                      | 15
        permessage-deflate; server_max_window_bits=10                      | none
        permessage-deflate; server_max_window_bits                         | none
        permessage-deflate; client_max_window_bits=16                      | none
        permessage-deflate; client_max_window_bits=08                      | none
        permessage-deflate; server_no_context_takeover=1                   | none
        permessage-deflate; server_no_context_takeover; server_no_context_takeover | none
        permessage-deflate; unknown                                        | none
        x-webkit-deflate-frame                                             | none
        permessage-deflate; server_max_window_bits=8, permessage-deflate   | yes
        permessage-deflate; server_max_window_bits=15, permessage-deflate  | 15
        bbf-usp-protocol; a=1; b="2", , permessage-deflate                 | yes
        """)
    @DisplayName("§7: the first offer that can be had is taken, the others are declined")
    void negotiates(String offers, String answer) throws Exception {
        String expected = answer == null ? "" : "permessage-deflate; server_no_context_takeover; "
            + "client_no_context_takeover" + (answer.equals("15") ? "; server_max_window_bits=15" : "");
        assertEquals(expected, NanoStreamWs.Handshake.negotiate(offers));
        try (TestServer server = new TestServer(); RawClient client = new RawClient(server.port())) {
            String head = client.upgrade("/", "Sec-WebSocket-Extensions: " + offers);
            assertTrue(head.startsWith("HTTP/1.1 101 "), head);
            assertEquals(answer != null, head.contains("\r\nSec-WebSocket-Extensions: " + expected + "\r\n"), head);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"permessage-deflate;", ";", "permessage-deflate; =1", "permessage-deflate; a=", "a b",
        "permessage-deflate=1", "permessage-deflate; a=\"b", "permessage-deflate; a=\"\"", "\"permessage-deflate\""})
    @DisplayName("RFC 6455 §9.1: what is no list of extensions fails the handshake")
    void refusesWhatIsNoList(String offers) throws Exception {
        try (TestServer server = new TestServer(); RawClient client = new RawClient(server.port())) {
            assertEquals(400, RawClient.status(client.upgrade("/", "Sec-WebSocket-Extensions: " + offers)));
        }
    }

    @Test
    void compressesForThoseWhoAgreedAndForNobodyElse() throws Exception {
        try (TestServer server = new TestServer(); RawClient plain = RawClient.admitted(server.port(), "/");
             RawClient deflating = RawClient.admitted(server.port(), "/", OFFER)) {
            for (int i = 0; i < 20; i++) {
                String message = i + BLOCK;
                server.post(message);
                assertEquals(message, plain.text());
                RawClient.Frame frame = deflating.frame();
                assertEquals(0xC1, frame.firstByte());
                assertEquals(message, inflated(frame));
                assertTrue(frame.payload().length < message.length() / 2);
            }
        }
    }

    @Test
    void whatWouldNotGetSmallerGoesUncompressed() throws Exception {
        try (TestServer server = new TestServer();
             RawClient deflating = RawClient.admitted(server.port(), "/", OFFER)) {
            for (String message : new String[] {"x", "x".repeat(NanoStreamWs.Limits.MIN_DEFLATED - 1)}) {
                server.post(message);
                assertEquals(message, deflating.text());
            }
            server.post("x".repeat(NanoStreamWs.Limits.MIN_DEFLATED));
            assertEquals(0xC1, deflating.frame().firstByte());
            StringBuilder noise = new StringBuilder(); // every UTF-8 character of two bytes, in a random order of 80
            new Random(1).ints(80, 0x80, 0x800).forEach(noise::appendCodePoint);
            server.post(noise.toString());
            RawClient.Frame frame = deflating.frame();
            assertEquals(noise.toString(), frame.isText() ? frame.text() : inflated(frame));
            assertTrue(frame.payload().length <= noise.toString().getBytes(UTF_8).length);
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
            assertEquals(BLOCK, inflated(frame));
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
    void whoHasSeenTheAnswerToItsHandshakeMissesNoMessage() throws Exception {
        try (TestServer server = new TestServer()) {
            for (int i = 0; i < 60; i++) {
                try (RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
                    server.post(i + BLOCK);
                    assertEquals(i + BLOCK, inflated(client.frame()));
                }
            }
        }
    }

    @Test
    void theSecondLogIsWrittenOnlyWhileSomebodyReadsIt() throws Exception {
        NanoStreamWs.Broadcaster broadcaster = new NanoStreamWs.Broadcaster(1 << 23, Duration.ofSeconds(10));
        broadcaster.publish(BLOCK.getBytes(UTF_8));
        assertEquals(0, broadcaster.compressed.end());
        broadcaster.logFor(true, 1);
        broadcaster.publish(BLOCK.getBytes(UTF_8));
        long end = broadcaster.compressed.end();
        assertTrue(end > 0 && end < BLOCK.length() / 2, end + " bytes");
        broadcaster.logFor(true, -1);
        broadcaster.publish(BLOCK.getBytes(UTF_8));
        assertEquals(end, broadcaster.compressed.end());
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
            assertEquals("still there", client.text());
            client.send(RawClient.frame(0xC1, deflated(new byte[] {(byte) 0xC3, 0x28})));
            assertEquals(1007, client.frame().code());
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
            assertEquals("still there", client.text());
            assertFalse(server.log().contains("fault"), server.log());
        }
    }

    @Test
    @DisplayName("a flood is measured by what it inflates to, not by what is sent")
    void stopsWhoHasMuchInflated() {
        byte[] frame = RawClient.frame(0xC2, deflated(new byte[NanoStreamWs.Limits.MAX_CLIENT_MESSAGE]));
        ByteArrayOutputStream flood = new ByteArrayOutputStream();
        for (int i = 0; i < 2_000; i++)
            flood.writeBytes(frame);
        int[] messages = {0};
        NanoStreamWs.FrameReader reader = new NanoStreamWs.FrameReader(new ByteArrayInputStream(flood.toByteArray()),
            new byte[0], true, NanoStreamWs.Bounds.LISTENER, (type, bytes, offset, length, last) -> {
                if (last)
                    messages[0]++;
            });
        NanoStreamWs.ProtocolException end = assertThrows(NanoStreamWs.ProtocolException.class, () -> {
            while (true)
                reader.next();
        });
        assertEquals(1008, end.code);
        // 64 KiB each, of 32 a pause, and 200 pauses
        assertTrue(messages[0] > 0 && messages[0] <= 100, messages[0] + " messages");
    }

    @ParameterizedTest
    @ValueSource(ints = {0xC0, 0xC9, 0xCA, 0xC8, 0xA1, 0x91, 0xE1})
    @DisplayName("§6: RSV1 stands on the first frame of a message and on no control frame; RSV2, RSV3 nowhere")
    void refusesReservedBits(int firstByte) throws Exception {
        try (TestServer server = new TestServer(); RawClient client = RawClient.admitted(server.port(), "/", OFFER)) {
            if (firstByte == 0xC0)
                client.send(RawClient.frame(0x41, deflated("ab".getBytes(UTF_8))));
            client.send(RawClient.frame(firstByte, new byte[0]));
            assertEquals(1002, client.frame().code());
        }
    }
}
