import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** A client made of bytes: it knows HTTP and RFC 6455 by itself, and shares no code with the server. */
final class RawClient implements AutoCloseable {
    /** A frame as it came. */
    record Frame(int firstByte, byte[] payload) {
        boolean isText() {
            return firstByte == 0x81;
        }

        boolean isClose() {
            return firstByte == 0x88;
        }

        String text() {
            return new String(payload, UTF_8);
        }

        /** The code of a close frame. */
        int code() {
            return (payload[0] & 0xFF) << 8 | payload[1] & 0xFF;
        }
    }

    final Socket socket;
    final DataInputStream in;
    final OutputStream out;

    RawClient(int port) throws IOException {
        this(port, 0);
    }

    /** @param receiveBuffer bytes, or 0 for the system's own choice */
    RawClient(int port, int receiveBuffer) throws IOException {
        this(connected(port, receiveBuffer));
    }

    private static Socket connected(int port, int receiveBuffer) throws IOException {
        Socket socket = new Socket();
        if (receiveBuffer > 0)
            socket.setReceiveBufferSize(receiveBuffer);
        socket.connect(new InetSocketAddress("127.0.0.1", port));
        socket.setTcpNoDelay(true);
        return socket;
    }

    /** A client on a socket that is connected, one with TLS for example. */
    RawClient(Socket socket) throws IOException {
        this.socket = socket;
        socket.setSoTimeout(20_000);
        in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), 65536));
        out = socket.getOutputStream();
    }

    /** A client that is admitted. */
    static RawClient admitted(int port, String target, String... fields) throws IOException {
        RawClient client = new RawClient(port);
        String head = client.upgrade(target, fields);
        if (!head.startsWith("HTTP/1.1 101 "))
            throw new IOException("not admitted: " + head);
        return client;
    }

    /** The request of a handshake, with more fields, each as {@code Name: value}. */
    static String handshake(String target, String... fields) {
        StringBuilder request = new StringBuilder("GET " + target
            + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            + "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n");
        for (String field : fields)
            request.append(field).append("\r\n");
        return request.append("\r\n").toString();
    }

    /** Sends a handshake; returns the head of the answer. */
    String upgrade(String target, String... fields) throws IOException {
        send(handshake(target, fields));
        return head();
    }

    void send(String text) throws IOException {
        out.write(text.getBytes(ISO_8859_1));
    }

    void send(byte[] bytes) throws IOException {
        out.write(bytes);
    }

    /** Sends one byte at a time. */
    void sendSlowly(byte[] bytes) throws IOException {
        for (byte b : bytes)
            out.write(b);
    }

    /** Reads the head of an answer, with its empty line. */
    String head() throws IOException {
        StringBuilder head = new StringBuilder();
        while (head.length() < 4 || !head.substring(head.length() - 4).equals("\r\n\r\n"))
            head.append((char) in.readUnsignedByte());
        return head.toString();
    }

    /** Reads an answer, with the body that its Content-Length announces. */
    String answer() throws IOException {
        String head = head();
        for (String line : head.split("\r\n"))
            if (line.toLowerCase().startsWith("content-length:"))
                return head + new String(in.readNBytes(Integer.parseInt(line.substring(15).strip())), ISO_8859_1);
        return head;
    }

    /** The status of an answer's head. */
    static int status(String head) {
        return Integer.parseInt(head.substring(9, 12));
    }

    /** What follows the head of an answer. */
    static String body(String answer) {
        return answer.substring(answer.indexOf("\r\n\r\n") + 4);
    }

    /** A field of an answer's head, several of one name with a comma between; null where there is none. */
    static String field(String head, String name) {
        String found = null;
        for (String line : head.split("\r\n\r\n", 2)[0].split("\r\n"))
            if (line.toLowerCase().startsWith(name.toLowerCase() + ':'))
                found = (found == null ? "" : found + ", ") + line.substring(name.length() + 1).strip();
        return found;
    }

    /** A masked frame. */
    static byte[] frame(int firstByte, byte[] payload) {
        return frame(firstByte, payload, 0, payload.length);
    }

    /** A masked frame of a part of the bytes. */
    static byte[] frame(int firstByte, byte[] bytes, int from, int to) {
        int length = to - from;
        int extended = length < 126 ? 0 : length < 65536 ? 2 : 8; // bytes
        ByteBuffer frame = ByteBuffer.allocate(2 + extended + 4 + length);
        frame.put((byte) firstByte);
        if (extended == 0)
            frame.put((byte) (0x80 | length));
        else if (extended == 2)
            frame.put((byte) (0x80 | 126)).putShort((short) length);
        else
            frame.put((byte) (0x80 | 127)).putLong(length);
        byte[] mask = {0x37, (byte) 0xfa, 0x21, 0x3d}; // of the RFC's example (§5.7)
        frame.put(mask);
        for (int i = 0; i < length; i++)
            frame.put((byte) (bytes[from + i] ^ mask[i % 4]));
        return frame.array();
    }

    static byte[] frame(int firstByte, String payload) {
        return frame(firstByte, payload.getBytes(UTF_8));
    }

    /** A message compressed by itself, without its tail (RFC 7692 §7.2.1). */
    static byte[] deflated(byte[] message, int level) {
        Deflater deflater = new Deflater(level, true);
        deflater.setInput(message);
        byte[] buffer = new byte[message.length + message.length / 100 + 64];
        int length = deflater.deflate(buffer, 0, buffer.length, Deflater.SYNC_FLUSH);
        deflater.end();
        if (!Arrays.equals(buffer, length - 4, length, new byte[] {0, 0, -1, -1}, 0, 4))
            throw new AssertionError("no tail of 00 00 ff ff");
        return Arrays.copyOf(buffer, length - 4);
    }

    /** The message of a compressed frame, which stands for itself: no context is taken over (RFC 7692 §7.2.2). */
    static byte[] inflated(byte[] payload) throws DataFormatException {
        Inflater inflater = new Inflater(true);
        inflater.setInput(concat(payload, bytes(0, 0, 0xFF, 0xFF)));
        ByteArrayOutputStream message = new ByteArrayOutputStream();
        byte[] buffer = new byte[65536];
        for (int n = inflater.inflate(buffer); n > 0; n = inflater.inflate(buffer))
            message.write(buffer, 0, n);
        if (inflater.getRemaining() != 0)
            throw new AssertionError("there are bytes that no block has: " + inflater.getRemaining());
        inflater.end();
        return message.toByteArray();
    }

    /** The payload of a close frame. */
    static byte[] closing(int code, byte... reason) {
        ByteArrayOutputStream payload = new ByteArrayOutputStream();
        payload.write(code >> 8);
        payload.write(code);
        payload.writeBytes(reason);
        return payload.toByteArray();
    }

    /** Bytes, such as a frame's header, that are easier to read as ints. */
    static byte[] bytes(int... values) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int value : values)
            bytes.write(value);
        return bytes.toByteArray();
    }

    static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        for (byte[] part : parts)
            whole.writeBytes(part);
        return whole.toByteArray();
    }

    /** Reads a frame, and checks what RFC 6455 asks of a server's. */
    Frame frame() throws IOException {
        return frame(in);
    }

    static Frame frame(DataInputStream in) throws IOException {
        int first = in.readUnsignedByte(), second = in.readUnsignedByte();
        if ((second & 0x80) != 0)
            throw new IOException("a server's frame is masked");
        long length = second == 126 ? in.readUnsignedShort() : second == 127 ? in.readLong() : second;
        if (second == 126 && length < 126 || second == 127 && length < 65536)
            throw new IOException("length is not minimal");
        return new Frame(first, in.readNBytes((int) length));
    }

    /** Reads the next text frame's payload; pings are passed over. */
    String text() throws IOException {
        while (true) {
            Frame frame = frame();
            if (frame.isText())
                return frame.text();
            if (frame.firstByte() != 0x89)
                throw new IOException("expected a text frame, got " + Integer.toHexString(frame.firstByte()));
        }
    }

    /** Sends a request; returns the whole answer, behind which the connection ends. */
    static String lastAnswer(int port, String request) throws IOException {
        try (RawClient client = new RawClient(port)) {
            client.send(request);
            return new String(client.in.readAllBytes(), UTF_8);
        }
    }

    /** Whether the server has ended the connection in order: nothing more comes, and no reset. */
    boolean atEnd() throws IOException {
        try {
            in.readByte();
            return false;
        } catch (EOFException e) {
            return true;
        }
    }

    /** Waits until the connection is gone, in order or by a reset. */
    boolean isGone() {
        try {
            in.readByte();
            return false;
        } catch (SocketTimeoutException e) {
            return false;
        } catch (IOException e) {
            return true;
        }
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
