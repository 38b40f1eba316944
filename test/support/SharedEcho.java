import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** An echo server for all tests of a class, and what they send to it and expect of it, as conformance suites do. */
abstract class SharedEcho {
    static final int FIN = 0x80, RSV1 = 0x40, MORE = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
    static final int KIB = 1024, MIB = 1024 * KIB;
    static final byte[] NOTHING = {}, HELLO = "Hello".getBytes(UTF_8);

    static EchoServer echo;

    @BeforeAll
    static void startEcho() throws Exception {
        echo = new EchoServer(0);
    }

    @AfterAll
    static void stopEcho() throws Exception {
        echo.close();
    }

    static RawClient open(boolean deflate) throws IOException {
        String[] fields = deflate ? new String[] {"Sec-WebSocket-Extensions: permessage-deflate"} : new String[0];
        RawClient client = RawClient.admitted(echo.port(), "/", fields);
        client.socket.setSoTimeout(5_000);
        return client;
    }

    static byte[] frame(int first, byte[] bytes, int from, int to) {
        return RawClient.frame(first, bytes, from, to);
    }

    static byte[] frame(int first, byte[] payload) {
        return RawClient.frame(first, payload);
    }

    static byte[] frame(int first, String payload) {
        return RawClient.frame(first, payload);
    }

    /** A message in fragments of a size, the last of which may be smaller; RSV1 is on the first only. */
    static byte[] fragments(int first, byte[] payload, int size) {
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
    static byte[] split(int first, byte[] payload, int at) {
        return RawClient.concat(frame(first, payload, 0, at), frame(FIN | MORE, payload, at, payload.length));
    }

    /** Sends in TCP pieces of a size; 0 is all at once. */
    static void send(RawClient client, byte[] bytes, int piece) throws IOException {
        if (piece == 0)
            client.send(bytes);
        else
            for (int i = 0; i < bytes.length; i += piece)
                client.out.write(bytes, i, Math.min(piece, bytes.length - i));
    }

    static byte[] payload(int type, int length) {
        byte[] payload = new byte[length];
        for (int i = 0; i < length; i++)
            payload[i] = (byte) (type == TEXT ? 'a' + i % 26 : i * 7 + (i >> 8));
        return payload;
    }

    static byte[] utf8(int length) {
        byte[] unit = "κόσμε\ud83d\ude00\uffff~".getBytes(UTF_8), text = new byte[length]; // unit has 18 bytes
        Arrays.fill(text, (byte) '.');
        for (int at = 0; at + unit.length <= length; at += unit.length)
            System.arraycopy(unit, 0, text, at, unit.length);
        return text;
    }

    static byte[] random(int length) {
        byte[] bytes = new byte[length];
        new Random(length).nextBytes(bytes);
        return bytes;
    }

    static String hex(byte[] bytes) {
        StringBuilder hex = new StringBuilder();
        for (int i = 0; i < Math.min(40, bytes.length); i++)
            hex.append(String.format("%02x ", bytes[i]));
        return hex + (bytes.length > 40 ? "... " + bytes.length + " bytes" : "");
    }

    static byte[] bytes(String hex) {
        String[] parts = hex.isEmpty() ? new String[0] : hex.split(" ");
        byte[] bytes = new byte[parts.length];
        for (int i = 0; i < parts.length; i++)
            bytes[i] = (byte) Integer.parseInt(parts[i], 16);
        return bytes;
    }

    /** The next frame is one uncompressed. */
    static void assertFrame(RawClient client, int type, byte[] payload) throws IOException {
        RawClient.Frame frame = client.frame();
        assertEquals(Integer.toHexString(FIN | type), Integer.toHexString(frame.firstByte()),
            () -> "first byte; payload " + hex(frame.payload()));
        if (!Arrays.equals(payload, frame.payload())) // quicker than assertArrayEquals
            assertEquals(hex(payload), hex(frame.payload()));
    }

    static void assertFrame(RawClient client, int type, String payload) throws IOException {
        assertFrame(client, type, payload.getBytes(UTF_8));
    }

    /** The next message, which may be compressed, and then inflates by itself. @return whether it was compressed */
    static boolean assertMessage(RawClient client, int type, byte[] payload) throws Exception {
        RawClient.Frame frame = client.frame();
        boolean compressed = (frame.firstByte() & RSV1) != 0;
        assertEquals(Integer.toHexString(FIN | type), Integer.toHexString(frame.firstByte() & ~RSV1),
            () -> "first byte; payload " + hex(frame.payload()));
        byte[] got = compressed ? RawClient.inflated(frame.payload()) : frame.payload();
        if (!Arrays.equals(payload, got))
            assertEquals(hex(payload), hex(got), "compressed: " + compressed);
        return compressed;
    }

    /** The server ends the connection with a code, sends nothing more, and ends in order. */
    static void assertFails(RawClient client, int code) throws IOException {
        RawClient.Frame frame = client.frame();
        assertEquals(Integer.toHexString(FIN | CLOSE), Integer.toHexString(frame.firstByte()),
            () -> "first byte; payload " + hex(frame.payload()));
        assertEquals(code, frame.code());
        String reason = new String(frame.payload(), 2, frame.payload().length - 2, UTF_8);
        assertArrayEquals(RawClient.closing(code, reason.getBytes(UTF_8)), frame.payload(), "the reason is UTF-8");
        assertTrue(client.atEnd(), "something came after the close frame");
    }

    /** The connection is well, and nothing came that was not asked for: a close is answered next. */
    static void assertClosesWell(RawClient client) throws IOException {
        client.send(frame(FIN | CLOSE, RawClient.closing(1000)));
        assertFrame(client, CLOSE, RawClient.closing(1000));
        assertTrue(client.atEnd(), "something came after the close frame");
    }
}
