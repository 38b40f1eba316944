import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/** A WebSocket server made of bytes, such as a Nano node has, or any other. It knows RFC 6455 by itself, and says what
 * the test has it say. */
final class FakeNode implements AutoCloseable {
    private static final String GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 §1.3
    private static final int PATIENCE = 20; // seconds

    private final ServerSocket door;
    volatile boolean answersPings = true; // of its next sessions

    FakeNode() throws IOException {
        this(0);
    }

    FakeNode(int port) throws IOException {
        this(new ServerSocket(port, 50, InetAddress.getLoopbackAddress()));
    }

    /** @param door where it accepts connections, one with TLS for example */
    FakeNode(ServerSocket door) throws IOException {
        this.door = door;
        door.setSoTimeout(PATIENCE * 1000);
    }

    int port() {
        return door.getLocalPort();
    }

    /** The next connection, once it has sent its first text. (The JDK's client can become deaf where one speaks before
     * that: to what comes in the packet of the handshake's answer, or close behind it.) */
    Session accept() throws Exception {
        Session session = next();
        session.open();
        return session;
    }

    /** The next connection, once it has been told that it has subscribed. */
    Session subscribed() throws Exception {
        Session session = accept();
        session.send("{\"ack\":\"subscribe\",\"time\":\"1564935350664\"}");
        return session;
    }

    /** The next connection, which has sent its handshake and waits. One that ends before that is passed over: the
     * client of JDK 21 begins another one while it is given up. */
    Session next() throws IOException {
        try {
            Session session = new Session(door.accept());
            session.answersPings = answersPings;
            return session;
        } catch (EOFException e) {
            return next();
        }
    }

    /** Answers the next connection in its own words, and ends it. */
    void answer(String text) throws IOException {
        try (Session session = next()) {
            session.write(text);
        }
    }

    private static String accepted(String key) throws GeneralSecurityException {
        byte[] hash = MessageDigest.getInstance("SHA-1").digest((key + GUID).getBytes(ISO_8859_1));
        return Base64.getEncoder().encodeToString(hash);
    }

    @Override
    public void close() throws IOException {
        door.close();
    }

    /** A connection. A thread of its own reads it, and answers pings. */
    static final class Session implements AutoCloseable {
        final String head; // of the request
        String greeting;
        final Socket socket;
        private final DataInputStream in;
        private final OutputStream out;
        private final BlockingQueue<RawClient.Frame> frames = new LinkedBlockingQueue<>();
        private final ReentrantLock sending = new ReentrantLock();
        volatile boolean answersPings = true;
        volatile int pings;

        private Session(Socket socket) throws IOException {
            this.socket = socket;
            socket.setSoTimeout(PATIENCE * 1000);
            in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
            out = socket.getOutputStream();
            StringBuilder read = new StringBuilder();
            while (!read.toString().endsWith("\r\n\r\n"))
                read.append((char) in.readUnsignedByte());
            head = read.toString();
        }

        /** Answers the handshake, and waits for the first text. */
        void open() throws Exception {
            write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: " + accepted(RawClient.field(head, "Sec-WebSocket-Key")) + "\r\n\r\n");
            listen();
            greeting = frame().text();
        }

        void listen() {
            Thread.ofVirtual().start(() -> {
                try {
                    while (true)
                        take(read());
                } catch (IOException e) {
                    frames.add(new RawClient.Frame(0, new byte[0])); // the end
                }
            });
        }

        /** Reads a frame, and checks what RFC 6455 asks of a client's. */
        private RawClient.Frame read() throws IOException {
            int first = in.readUnsignedByte(), second = in.readUnsignedByte();
            if ((second & 0x80) == 0)
                throw new AssertionError("a client's frame is not masked");
            int length = second & 0x7F;
            if (length == 127)
                throw new AssertionError("a client of a feed has nothing to say that is so long");
            byte[] mask = new byte[4], payload = new byte[length == 126 ? in.readUnsignedShort() : length];
            in.readFully(mask);
            in.readFully(payload);
            for (int i = 0; i < payload.length; i++)
                payload[i] ^= mask[i % 4];
            return new RawClient.Frame(first, payload);
        }

        private void take(RawClient.Frame frame) throws IOException {
            if (frame.firstByte() != 0x89) {
                frames.add(frame);
                return;
            }
            pings++;
            if (answersPings)
                send(0x8A, frame.payload());
        }

        /** The next frame that is no ping; one with 0 at the end of the connection. */
        RawClient.Frame frame() throws InterruptedException {
            RawClient.Frame frame = frames.poll(PATIENCE, TimeUnit.SECONDS);
            if (frame == null)
                throw new AssertionError("nothing came for " + PATIENCE + " s");
            return frame;
        }

        void write(String bytes) throws IOException {
            out.write(bytes.getBytes(ISO_8859_1));
        }

        void send(String text) throws IOException {
            send(0x81, text.getBytes(UTF_8));
        }

        /** Sends a frame, which has no mask. */
        void send(int firstByte, byte... payload) throws IOException {
            int length = payload.length;
            byte[] header = length < 126 ? RawClient.bytes(firstByte, length)
                : length < 65536 ? RawClient.bytes(firstByte, 126, length >> 8, length)
                : RawClient.bytes(firstByte, 127, 0, 0, 0, 0, length >> 24, length >> 16, length >> 8, length);
            sending.lock(); // synchronized would hold a processor of JDK 21 while the write blocks
            try {
                out.write(RawClient.concat(header, payload));
            } finally {
                sending.unlock();
            }
        }

        /** Sends a text in fragments of so many bytes. */
        void sendInFragments(String text, int size) throws IOException {
            byte[] bytes = text.getBytes(UTF_8);
            for (int at = 0; at < bytes.length; at += size) {
                int end = Math.min(at + size, bytes.length);
                int first = (at == 0 ? 1 : 0) | (end == bytes.length ? 0x80 : 0);
                send(first, Arrays.copyOfRange(bytes, at, end));
            }
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }
}
