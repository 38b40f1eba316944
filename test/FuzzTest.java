// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import com.sun.management.ThreadMXBean;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.LockSupport;
import java.util.random.RandomGenerator;
import java.util.stream.Stream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** With -Dfuzz.seed=n the first input of each target is made from n; -Dfuzz.seconds=n is the time of all targets. */
@DisplayName("Fuzz: whatever comes in, nothing but the intended exceptions comes out, and memory stays bounded")
class FuzzTest {
    private static final double SECONDS = Double.parseDouble(System.getProperty("fuzz.seconds", "2"));
    private static final int PATIENCE = 20; // seconds for one input
    private static final int SHOWN = 1_000; // characters of an input in a message
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    /** What is fed. An input is a text; where bytes are meant, each character is one. */
    private abstract static class Target {
        final String name;
        final int rounds; // with the fixed seed

        Target(String name, int rounds) {
            this.name = name;
            this.rounds = rounds;
        }

        abstract String make(RandomGenerator random);

        /** Throws if the server does with the input what it must not. */
        abstract void check(String input, RandomGenerator random) throws Exception;

        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Target> targets() {
        return Stream.of(new Frames(), new Heads(), new Connections(), new Texts(), new Tokens(),
            new Records());
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("targets")
    @DisplayName("the same inputs every time")
    void holdsForTheSameInputs(Target target) throws Exception {
        fuzz(target, 1, target.rounds, Long.MAX_VALUE);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("targets")
    @DisplayName("new inputs, for a while")
    void holdsForNewInputs(Target target) throws Exception {
        Long seed = Long.getLong("fuzz.seed");
        long nanos = (long) (SECONDS * 1e9 / targets().count());
        fuzz(target, seed != null ? seed : System.nanoTime(), Long.MAX_VALUE, nanos);
    }

    // ---- The engine ----

    /** Inputs from one seed after the other, in a thread of their own, so that one that never ends is told as well. */
    private static void fuzz(Target target, long first, long rounds, long nanos) throws Exception {
        long begin = System.nanoTime();
        var worker = new Thread("fuzz") {
            volatile long round;
            volatile String input = "";
            volatile Throwable thrown;

            @Override
            public void run() {
                try {
                    do {
                        RandomGenerator random = new SplittableRandom(first + round);
                        input = target.make(random);
                        target.check(input, random);
                    } while (++round < rounds && System.nanoTime() - begin < nanos);
                } catch (Throwable t) { // a StackOverflowError, say
                    thrown = t;
                }
            }

            void fail(String what) {
                AssertionError error = new AssertionError("%s, make fuzz SEED=%d, %s\ninput: %s"
                    .formatted(target, first + round, what, escaped(input)));
                if (thrown == null)
                    error.setStackTrace(getStackTrace());
                else
                    error.initCause(thrown);
                throw error;
            }
        };
        worker.setDaemon(true);
        worker.start();
        for (long seen = -1; worker.isAlive(); worker.join(PATIENCE * 1_000)) {
            if (worker.round == seen)
                worker.fail("no end after " + PATIENCE + " s");
            seen = worker.round;
        }
        if (worker.thrown != null)
            worker.fail(worker.thrown.toString());
        System.out.printf("fuzz: %s, %d inputs from seed %d on%n", target, worker.round, first);
    }

    private static String escaped(String input) {
        StringBuilder text = new StringBuilder();
        for (char c : input.substring(0, Math.min(SHOWN, input.length())).toCharArray())
            text.append(c == '\\' ? "\\\\" : c >= ' ' && c < 0x7F ? "" + c : "\\u%04x".formatted((int) c));
        return input.length() <= SHOWN ? text.toString() : text + "... (" + input.length() + " characters)";
    }

    /** Asserts what a call allocates. It is made again if it was too much: loading a class costs once. */
    private static <T> T within(long most, Callable<T> call) throws Exception {
        long used = 0;
        for (int attempt = 0; attempt < 3; attempt++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            T result = call.call();
            used = THREADS.getCurrentThreadAllocatedBytes() - before;
            if (used <= most)
                return result;
        }
        return fail("allocated " + used + " bytes, more than " + most);
    }

    private static boolean oneIn(int n, RandomGenerator random) {
        return random.nextInt(n) == 0;
    }

    @SafeVarargs
    private static <T> T any(RandomGenerator random, T... choices) {
        return choices[random.nextInt(choices.length)];
    }

    /** Mostly short. */
    private static int length(RandomGenerator random, int most) {
        return random.nextInt(1 + random.nextInt(1 + random.nextInt(1 + most)));
    }

    private static String latin(byte[] bytes) {
        return new String(bytes, ISO_8859_1);
    }

    private static String noise(RandomGenerator random, int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return latin(bytes);
    }

    /** So many random pieces. */
    private static String pieces(RandomGenerator random, int count, String... of) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < count; i++)
            text.append(any(random, of));
        return text.toString();
    }

    /** Changes a text in one place or several; the words are put in at times. */
    private static String mutate(String input, RandomGenerator random, String... words) {
        StringBuilder text = new StringBuilder(input);
        for (int i = length(random, 8); i >= 0; i--) {
            int at = random.nextInt(text.length() + 1), to = Math.min(text.length(), at + 1 + length(random, 20));
            switch (at == text.length() ? 5 : random.nextInt(7)) {
                case 0 -> text.setCharAt(at, (char) (text.charAt(at) ^ 1 << random.nextInt(8)));
                case 1 -> text.setCharAt(at, (char) random.nextInt(256));
                case 2 -> text.delete(at, to);
                case 3 -> text.insert(random.nextInt(text.length() + 1), text.substring(at, to));
                case 4 -> text.replace(at, to, any(random, words));
                case 5 -> text.insert(at, oneIn(2, random) ? any(random, words) : noise(random, 1 + length(random, 9)));
                default -> text.setLength(oneIn(4, random) ? at : text.length());
            }
        }
        return text.toString();
    }

    /** A stream that gives its bytes in pieces. It fails a reader that asks for nothing, or on and on after the end. */
    private static final class Pieces extends InputStream {
        private final byte[] bytes;
        private final RandomGenerator random;
        private final int most;
        private int at, ends;

        Pieces(byte[] bytes, int from, long seed) {
            this.bytes = bytes;
            this.at = from;
            this.random = new SplittableRandom(seed);
            this.most = any(random, 1, 2, 10, 200, 100_000);
        }

        @Override
        public int read() {
            throw new AssertionError("read() is not expected");
        }

        @Override
        public int read(byte[] to, int offset, int length) {
            LockSupport.unpark(Thread.currentThread()); // nothing here is paced
            assertTrue(length > 0 && ends < 100, "reads nothing");
            if (at == bytes.length)
                ends++;
            int n = Math.min(bytes.length - at, Math.min(length, 1 + random.nextInt(most)));
            System.arraycopy(bytes, at, to, offset, n);
            at += n;
            return n == 0 ? -1 : n;
        }
    }

    // ---- 1. Frames ----

    private static final class Frames extends Target {
        private static final int END = -1;
        private List<String> sent; // the control frames of a valid sequence, or null

        Frames() {
            super("frames", 8_000);
        }

        /** Those of a listener, except that none has to wait. */
        private static final NanoStreamWs.Bounds BOUNDS = new NanoStreamWs.Bounds(NanoStreamWs.Limits.READ_BUFFER,
            NanoStreamWs.Limits.MAX_CLIENT_MESSAGE, NanoStreamWs.Limits.MAX_FRAGMENTS, new Semaphore(0), false);

        /** A reader, and how it gets its bytes: the first few as the rest behind a head. */
        private static NanoStreamWs.FrameReader reader(byte[] bytes, int rest, long seed) {
            return new NanoStreamWs.FrameReader(new Pieces(bytes, rest, seed), Arrays.copyOf(bytes, rest),
                TestServer.PLAIN, BOUNDS, (type, data, offset, length, last) -> { });
        }

        @Override
        String make(RandomGenerator random) {
            sent = null;
            if (oneIn(8, random))
                return noise(random, length(random, 300));
            String sequence = sequence(random);
            if (oneIn(3, random))
                return sequence;
            sent = null;
            if (oneIn(3, random))
                return sequence + brokenText(random);
            return mutate(sequence, random, "\u0081\u0080", "\u0001\u0081", "\u0088\u0082", "\u0089\u00fe\0\u007e",
                "\u0082\u00ff\0\0\0\0\0\1\0\0", "\u0082\u00fe\u00ff\u00ff", "\u0080\u00ff\u007f\u00ff\u00ff\u00ff",
                "\u0081\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff", "\u00ed\u00a0", "\u00f4\u0090");
        }

        private String sequence(RandomGenerator random) {
            sent = new ArrayList<>();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            for (int message = length(random, 12); message >= 0; message--) {
                controls(random, out);
                boolean text = oneIn(2, random);
                byte[] payload = payload(random, text);
                int fragments = oneIn(2, random) ? 1 : 1 + random.nextInt(8);
                if (oneIn(200, random))
                    fragments = NanoStreamWs.Limits.MAX_FRAGMENTS;
                for (int i = 1, at = 0; i <= fragments; i++) {
                    int to = i == fragments ? payload.length : at + random.nextInt(1 + payload.length - at);
                    int first = (i == fragments ? 0x80 : 0) | (i > 1 ? 0 : text ? 1 : 2);
                    frame(random, out, first, Arrays.copyOfRange(payload, at, to));
                    at = to;
                    controls(random, out);
                }
            }
            return latin(out.toByteArray());
        }

        /** A text whose last character may be none, or is not all there, and neither may be the frame. */
        private static String brokenText(RandomGenerator random) {
            byte[] last = any(random, "\u00ed\u00a0\u0080", "\u00ed\u00bf", "\u00e0\u009f\u00bf", "\u00f0\u008f\u00bf",
                "\u00f4\u0090\u0080", "\u00f0\u009f\u0098\u0080", "\u00e2\u0082\u00ac", "\u00c1", "\u00ff", "\u00c3(")
                .getBytes(ISO_8859_1);
            byte[] text = RawClient.concat(payload(random, true), Arrays.copyOf(last, random.nextInt(last.length + 1)));
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            frame(random, out, any(random, 0x81, 0x01), RawClient.concat(text, new byte[random.nextInt(3)]));
            return latin(Arrays.copyOf(out.toByteArray(), out.size() - length(random, 5)));
        }

        private static byte[] payload(RandomGenerator random, boolean text) {
            int length = oneIn(300, random) ? NanoStreamWs.Limits.MAX_CLIENT_MESSAGE - random.nextInt(2)
                : oneIn(20, random) ? 124 + random.nextInt(4) : length(random, 400);
            if (!text)
                return noise(random, length).getBytes(ISO_8859_1);
            StringBuilder characters = new StringBuilder();
            int left = length;
            while (left > 0) {
                int most = any(random, 0x80, 0x800, 0x10000, 0x110000), c = random.nextInt(most);
                int bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                if (bytes <= left && (c < 0xD800 || c > 0xDFFF)) {
                    characters.appendCodePoint(c);
                    left -= bytes;
                }
            }
            return characters.toString().getBytes(UTF_8);
        }

        private void controls(RandomGenerator random, ByteArrayOutputStream out) {
            for (int i = length(random, 3); i > 0; i--) {
                int opcode = any(random, 0x8, 0x9, 0xA);
                byte[] payload = noise(random, oneIn(9, random) ? 125 : length(random, 125)).getBytes(ISO_8859_1);
                frame(random, out, 0x80 | opcode, payload);
                sent.add(control(opcode, payload));
            }
        }

        /** A frame, with a masking key of its own. */
        private static void frame(RandomGenerator random, ByteArrayOutputStream out, int first, byte[] payload) {
            byte[] plain = RawClient.frame(first, payload), key = new byte[4];
            int header = plain.length - payload.length;
            random.nextBytes(key);
            out.write(plain, 0, header - 4);
            out.writeBytes(key);
            for (int i = 0; i < payload.length; i++)
                out.write(payload[i] ^ key[i % 4]);
        }

        private static String control(int opcode, byte[] payload) {
            return Integer.toHexString(opcode) + ' ' + HexFormat.of().formatHex(payload);
        }

        @Override
        void check(String input, RandomGenerator random) throws Exception {
            byte[] bytes = input.getBytes(ISO_8859_1);
            List<String> expected = new ArrayList<>();
            int code = reference(ByteBuffer.wrap(bytes), expected);
            if (sent != null) {
                assertEquals(END, code);
                assertEquals(sent, expected, "the reference is wrong");
            }
            for (int i = 0; i < 2; i++) {
                int rest = oneIn(2, random) ? 0 : length(random, bytes.length);
                long seed = random.nextLong();
                List<NanoStreamWs.ControlFrame> controls = new ArrayList<>();
                // A text of no bytes takes 6, and the decoder that waits for it some 900
                int end = within(192L * bytes.length + 8 * 1024, () -> read(bytes, rest, seed, controls));
                assertEquals(expected, controls.stream().map(f -> control(f.opcode().bits, f.payload())).toList());
                assertEquals(code, end, "close code, or -1 for the end of the stream");
            }
        }

        private static int read(byte[] bytes, int rest, long seed, List<NanoStreamWs.ControlFrame> controls)
                throws IOException {
            controls.clear();
            NanoStreamWs.FrameReader reader = reader(bytes, rest, seed);
            try {
                while (true) {
                    LockSupport.unpark(Thread.currentThread()); // nor here
                    controls.add(reader.next());
                }
            } catch (NanoStreamWs.ProtocolException e) {
                return e.code;
            } catch (EOFException e) {
                return END;
            }
        }

        /** RFC 6455 §5 once more, of bytes that are all there. */
        private static int reference(ByteBuffer in, List<String> controls) {
            boolean open = false, text = false;
            int size = 0, fragments = 0, left = 0, low = 0x80, high = 0xBF; // bytes of a character, and the next one's
            try {
                while (true) {
                    int first = in.get() & 0xFF, second = in.get() & 0xFF, opcode = first & 15;
                    if ((first & 0x70) != 0 || opcode > 2 && opcode < 8 || opcode > 10 || second < 0x80)
                        return 1002;
                    long length = second & 0x7F;
                    if (length == 126 && (length = in.getShort() & 0xFFFF) < 126)
                        return 1002;
                    if (second == 0xFF && (length = in.getLong()) < 0x10000)
                        return 1002;
                    if (opcode >= 8 ? length > 125 || first < 0x80 : open != (opcode == 0))
                        return 1002;
                    if (opcode == 1 || opcode == 2) {
                        text = opcode == 1;
                        size = fragments = 0;
                    }
                    if (opcode < 8) {
                        open = first < 0x80;
                        if (length > 65536 - size || ++fragments > 1024)
                            return 1009;
                        size += (int) length;
                    }
                    int key = in.getInt();
                    byte[] payload = new byte[opcode < 8 ? 0 : (int) length];
                    for (int i = 0; i < length; i++) {
                        int b = in.get() & 0xFF ^ key >>> 24 & 0xFF;
                        key = Integer.rotateLeft(key, 8);
                        if (opcode >= 8) {
                            payload[i] = (byte) b;
                        } else if (text && left > 0) { // Unicode, table 3-7
                            if (b < low || b > high)
                                return 1007;
                            left--;
                            low = 0x80;
                            high = 0xBF;
                        } else if (text && b >= 0x80) {
                            if (b < 0xC2 || b > 0xF4)
                                return 1007;
                            left = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
                            low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
                            high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
                        }
                    }
                    if (opcode >= 8)
                        controls.add(control(opcode, payload));
                    else if (text && !open && left > 0)
                        return 1007;
                }
            } catch (BufferUnderflowException e) {
                return END;
            }
        }
    }

    // ---- 2. Heads ----

    private static class Heads extends Target {
        static final String[] WORDS = {"\r\n", "\r", "\n", "\0", "\t", " ", ":", "/", "?", "#", "&", "=", "%", "%2",
            "%2f", "%00", "%c3%a9", "%ff", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http://h", "http://", "Host:",
            "Host: a", "Host: [::1]:80", "\r\nHost: b", "\r\n\r\n", "\r\n a", "Content-Length: 5", "token=a", "\u007f",
            "\u0085", "\u00a0", "\u00e9", "*", "GET", "POST /", ", ", "Upgrade, websocket"};

        Heads() {
            this("heads", 5_000);
        }

        Heads(String name, int rounds) {
            super(name, rounds);
        }

        @Override
        String make(RandomGenerator random) {
            return switch (random.nextInt(8)) {
                case 0 -> noise(random, length(random, 1_000));
                case 1 -> pieces(random, length(random, 200), WORDS);
                case 2 -> head(random);
                default -> mutate(head(random), random, WORDS);
            };
        }

        static String head(RandomGenerator random) {
            StringBuilder head = new StringBuilder(any(random, "GET", "HEAD", "POST", "M-!")).append(' ')
                .append(any(random, "/", "http://h/", "http://h:80", "/a/b%20c", "//", "/%c3%a9"))
                .append(any(random, "", "?", "?token=a.b.c", "?a=b&token=%2e&c", "?&=&=%"))
                .append(any(random, " HTTP/1.1", " HTTP/1.0", " HTTP/1.7")).append("\r\nHost: ")
                .append(any(random, "localhost", "", "a:80", "[::1]:7090", "::1"));
            for (int i = oneIn(50, random) ? 95 + random.nextInt(10) : length(random, 20); i > 0; i--)
                head.append("\r\n").append(any(random, "Upgrade: websocket", "Connection: keep-alive, Upgrade", "a:b",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Cookie: a=\"b\";c", "X:\t\u00e9 ", "Empty:",
                    "Content-Length: 5", "Expect: 100-continue"));
            if (oneIn(30, random))
                head.append("\r\nLong: ").append("x".repeat(random.nextInt(2 * NanoStreamWs.Limits.MAX_HEAD)));
            return head.toString();
        }

        /** What is most for its length is short fields of many names, some 130 bytes for each of theirs. */
        static long most(int length) {
            return 192L * length + 12 * 1024;
        }

        @Override
        void check(String input, RandomGenerator random) throws Exception {
            within(most(input.length()), () -> {
                try {
                    NanoStreamWs.Request request = NanoStreamWs.Http.parse(input);
                    ask(request);
                    return request;
                } catch (NanoStreamWs.Refusal refusal) {
                    return refusal;
                }
            });
            try {
                accepted(input, NanoStreamWs.Http.parse(input));
            } catch (NanoStreamWs.Refusal refusal) {
                assertTrue(refusal.getMessage().matches("[ -~]+"), refusal::getMessage);
            }
        }

        /** What the server asks of a request. */
        static void ask(NanoStreamWs.Request request) throws NanoStreamWs.Refusal {
            request.lists("connection", "upgrade");
            request.field("content-length");
            request.parameter("token");
        }

        static void accepted(String head, NanoStreamWs.Request request) {
            assertTrue(request.method().matches("[!#$%&'*+.^_`|~0-9A-Za-z-]+"), "method");
            assertTrue(request.path().startsWith("/"), "path");
            assertTrue(head.contains("%") || request.path().matches("[!-~&&[^?#]]+"), "path");
            assertTrue(request.query().matches("[!-~&&[^#]]*"), "query");
            int hosts = request.fields().getOrDefault("host", List.of()).size(), count = 0;
            assertTrue(hosts == 1 || hosts == 0 && !request.http11(), "one Host");
            for (var field : request.fields().entrySet()) {
                assertTrue(field.getKey().matches("[!#$%&'*+.^_`|~0-9a-z-]+"), "field name");
                for (String value : field.getValue()) {
                    assertTrue(value.matches("([!-~\\x80-\\xff]([ \t!-~\\x80-\\xff]*[!-~\\x80-\\xff])?)?"), "value");
                    count++;
                }
            }
            assertEquals(head.split("\r\n", -1).length, 1 + count, "every line is a field");
            assertTrue(count <= NanoStreamWs.Limits.MAX_FIELDS, "few fields");
        }
    }

    // ---- 3. Connections: heads and bodies, over a stream ----

    private static final class Connections extends Heads {
        private int heads; // of a valid sequence; or -1

        Connections() {
            super("connections", 2_000);
        }

        /** A socket that has a stream of its own; only this much of it is used. */
        private static Socket inMemory(byte[] bytes, long seed) {
            Pieces pieces = new Pieces(bytes, 0, seed);
            return new Socket() {
                @Override
                public InputStream getInputStream() {
                    return pieces;
                }

                @Override
                public synchronized void setSoTimeout(int millis) {
                    assertTrue(millis > 0, "would wait without end");
                }
            };
        }

        @Override
        String make(RandomGenerator random) {
            heads = -1;
            if (oneIn(6, random))
                return super.make(random);
            StringBuilder requests = new StringBuilder();
            int count = 0;
            boolean valid = oneIn(3, random);
            for (; count < 3 || oneIn(2, random); count++)
                requests.append(any(random, "", "", "\r\n", "\r\n\r\n"))
                    .append(valid ? "GET / HTTP/1.1\r\nHost: h" + "\r\na:b".repeat(length(random, 90)) : head(random))
                    .append("\r\n\r\n").append(oneIn(3, random) ? "12345" : "");
            if (valid && !requests.toString().contains("12345")) {
                heads = count;
                return requests.toString();
            }
            return mutate(requests.toString(), random, WORDS);
        }

        @Override
        void check(String input, RandomGenerator random) throws Exception {
            byte[] bytes = input.getBytes(ISO_8859_1);
            int body = heads >= 0 ? 0 : any(random, 0, 0, 1, 5, NanoStreamWs.Limits.MAX_MESSAGE);
            List<Object> first = null;
            for (int i = oneIn(50, random) ? 0 : 1; i < 3; i++) {
                long seed = random.nextLong();
                List<Object> all = new ArrayList<>();
                if (i > 0)
                    within(most(bytes.length), () -> readAll(inMemory(bytes, seed), body, all));
                else
                    within(most(bytes.length), () -> overLoopback(bytes, body, all));
                if (first != null)
                    assertEquals(first, all, "it depends on the pieces");
                first = all;
            }
            if (heads >= 0)
                assertEquals(heads + 1, first.size(), first::toString);
        }

        private static Object overLoopback(byte[] bytes, int body, List<Object> all) throws IOException {
            try (ServerSocket listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
                    Socket peer = new Socket(listener.getInetAddress(), listener.getLocalPort());
                    Socket socket = listener.accept()) {
                Thread.ofVirtual().start(() -> {
                    try {
                        peer.getOutputStream().write(bytes);
                        peer.shutdownOutput();
                    } catch (IOException e) {
                        // refused before all was read
                    }
                });
                return readAll(socket, body, all);
            }
        }

        /** Reads requests, with a body each, until the end or a refusal, which is the last of them. */
        private static Object readAll(Socket socket, int body, List<Object> all) throws IOException {
            all.clear();
            var reader = new NanoStreamWs.RequestReader(socket, OutputStream.nullOutputStream(), bytes -> { });
            try {
                while (true) {
                    NanoStreamWs.Request request = reader.head(10_000);
                    all.add(request);
                    ask(request);
                    if (body > 0)
                        all.add(reader.body(body).length);
                }
            } catch (NanoStreamWs.Refusal refusal) {
                return all.add(refusal.why);
            } catch (EOFException e) {
                return all.add("end");
            }
        }
    }

    // ---- 4. JSON ----

    private static final class Texts extends Target {
        private static final String[] WORDS = {"{", "}", "[", "]", "[[", "{\"a\":", ",", ":", "\"", "\\", "\\u",
            "\\ud83d", "\\ude00", "\\u0041", "\\n", "\\\"", "0", "-", ".", "e", "E+", "01", "1e999", "true", "false",
            "null", "nul", " ", "\t", "\n", "\r", "\0", "\u001f", "\u007f", "\u00e9", "\ud83d\ude00", "\uffff",
            "\ufeff", "\"\":", "\"a\":", "{}", "[]", "{\"a\":1,\"a\":2}"};
        private boolean valid;

        Texts() {
            super("JSON", 8_000);
        }

        @Override
        String make(RandomGenerator random) {
            valid = false;
            String text = switch (random.nextInt(oneIn(20, random) ? 10 : 8)) {
                case 0 -> noise(random, length(random, 200));
                case 1 -> pieces(random, length(random, 400), WORDS);
                case 2, 3 -> {
                    valid = true;
                    yield value(random, 0);
                }
                case 8 -> pieces(random, length(random, 100_000), any(random, "[", "{\"a\":", "[[1],"));
                case 9 -> '[' + (any(random, WORDS) + ',').repeat(length(random, 5_000)) + "0]";
                default -> mutate(value(random, 0), random, WORDS);
            };
            return new String(text.getBytes(UTF_8), UTF_8); // Unicode, as everything that the server parses
        }

        private static String value(RandomGenerator random, int depth) {
            String space = oneIn(4, random) ? pieces(random, 2, " ", "\t", "\n", "\r") : "";
            int count = depth == NanoStreamWs.Limits.MAX_JSON_DEPTH ? 0 : length(random, depth < 3 ? 20 : 4);
            StringBuilder text = new StringBuilder(space);
            switch (random.nextInt(depth == 0 ? 2 : 7)) {
                case 0 -> {
                    text.append('{');
                    for (int i = 0; i < count; i++)
                        text.append(i == 0 ? "" : ",").append(space).append('"').append(i).append(string(random))
                            .append('"').append(space).append(':').append(value(random, depth + 1));
                    text.append('}');
                }
                case 1 -> {
                    text.append('[');
                    for (int i = 0; i < count; i++)
                        text.append(i == 0 ? "" : ",").append(value(random, depth + 1));
                    text.append(']');
                }
                case 2, 3 -> text.append('"').append(string(random)).append('"');
                case 4, 5 -> text.append(any(random, "", "-"))
                    .append(any(random, "0", "1", "907", "123456789012345678901")).append(any(random, "", ".0", ".25"))
                    .append(any(random, "", "e0", "E+10", "e-999"));
                default -> text.append(any(random, "true", "false", "null"));
            }
            return text.append(space).toString();
        }

        private static String string(RandomGenerator random) {
            return pieces(random, length(random, 10), "a", "b c", "\\u0041", "\\ud83d\\ude00", "\\n", "\\\"", "\\\\",
                "/", "\\/", "\u00e9", "\ud83d\ude00", "\uffff", "\\u0000", "\u007f");
        }

        @Override
        void check(String input, RandomGenerator random) throws Exception {
            // A number or an array of one digit takes some 45 bytes for each of theirs, an escape some 1,200
            long most = 64L * input.length() + 2_048 * input.chars().filter(c -> c == '\\').count() + 8 * 1024;
            NanoStreamWs.Json value = within(most, () -> parse(input));
            if (value == null) {
                assertFalse(valid, "refused, but valid");
                return;
            }
            assertTrue(depth(value) <= NanoStreamWs.Limits.MAX_JSON_DEPTH, "depth");
            String written = within(most, () -> write(value));
            assertTrue(UTF_8.newEncoder().canEncode(written), "no Unicode");
            assertEquals(value, parse(written));
            assertEquals(written, write(parse(written)));
        }

        private static NanoStreamWs.Json parse(String text) {
            try {
                return NanoStreamWs.Json.parse(text);
            } catch (NanoStreamWs.Json.JsonException e) {
                return null;
            }
        }

        private static String write(NanoStreamWs.Json value) {
            StringBuilder out = new StringBuilder();
            NanoStreamWs.JsonWriter.write(value, out);
            return out.toString();
        }

        private static int depth(NanoStreamWs.Json value) {
            return switch (value) {
                case NanoStreamWs.Json.Obj(var members) ->
                    members.values().stream().mapToInt(v -> 1 + depth(v)).max().orElse(0);
                case NanoStreamWs.Json.Arr(var elements) ->
                    elements.stream().mapToInt(v -> 1 + depth(v)).max().orElse(0);
                default -> 0;
            };
        }
    }

    // ---- 5. Tokens ----

    private static final class Tokens extends Target {
        private static final Instant NOW = Instant.ofEpochSecond(2_000_000_000);
        private static final byte[] SECRET = "my_secret".getBytes(UTF_8);
        private static final String[] WORDS = {".", "..", "=", "==", "+", "/", "-", "_", "A", "AA", "%", " ", "\n",
            "\r\n", "\0", "\u00e9", "\u0100", "\uff0e", "eyJhbGciOiJub25lIn0", "e30"};
        private String minted;  // the only token that is good
        private boolean signed; // the signature is good, whatever it is of

        Tokens() {
            super("tokens", 1_500);
        }

        private static String encode(String text) {
            return Base64.getUrlEncoder().withoutPadding().encodeToString(text.getBytes(UTF_8));
        }

        private static String sign(String signingInput) {
            try {
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(new SecretKeySpec(SECRET, "HmacSHA256"));
                byte[] bytes = mac.doFinal(signingInput.getBytes(ISO_8859_1));
                return signingInput + '.' + Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        }

        @Override
        String make(RandomGenerator random) {
            String header = any(random, "{\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
            String payload = "{\"exp\":2000000010,\"jti\":\"" + random.nextInt(1_000_000_000) + "\"}";
            header += " ".repeat(random.nextInt(3));
            minted = sign(encode(header) + '.' + encode(payload));
            signed = false;
            return switch (random.nextInt(8)) {
                case 0 -> minted;
                case 1 -> noise(random, length(random, 300));
                case 2 -> pieces(random, length(random, 300), WORDS);
                case 3 -> {
                    signed = true;
                    yield sign(mutate(encode(header) + '.' + encode(payload), random, WORDS));
                }
                case 4 -> {
                    signed = true;
                    yield sign(encode(mutate(header, random, Texts.WORDS)) + '.'
                        + encode(mutate(payload, random, Texts.WORDS)));
                }
                case 5 -> respelled(random);
                default -> mutate(minted, random, WORDS);
            };
        }

        /** The same bytes in every segment, for a lenient reader. */
        private String respelled(RandomGenerator random) {
            String[] segments = minted.split("\\.");
            int which = oneIn(2, random) ? 2 : random.nextInt(3);
            String segment = segments[which], start = segment.substring(0, segment.length() - 1);
            segments[which] = switch (random.nextInt(4)) {
                case 0, 1 -> start + (char) (segment.charAt(segment.length() - 1) + 1); // bits left over
                case 2 -> segment + any(random, "=", "==", "A", "\n", " ");
                default -> {
                    int at = random.nextInt(segment.length());
                    yield segment.contains("-") || segment.contains("_") ? segment.replace('-', '+').replace('_', '/')
                        : segment.substring(0, at) + any(random, "\r\n", " ", "=") + segment.substring(at);
                }
            };
            return String.join(".", segments);
        }

        @Override
        void check(String input, RandomGenerator random) throws Exception {
            boolean good = accepted(input);
            if (signed && good)
                for (String segment : input.split("\\."))
                    assertEquals(segment, Base64.getUrlEncoder().withoutPadding()
                        .encodeToString(Base64.getUrlDecoder().decode(segment)), "has another spelling");
            else
                assertEquals(input.equals(minted), good, "accepted");
            if (input.equals(minted))
                for (int i = 0; i < input.length(); i++) {
                    char c = (char) random.nextInt(256);
                    String other = input.substring(0, i) + c + input.substring(i + 1);
                    if (c != input.charAt(i))
                        assertFalse(accepted(other), () -> "accepted: " + escaped(other));
                }
        }

        private static boolean accepted(String token) throws Exception {
            // The two MACs take some 5,000 bytes, and a header of escapes 150 for each of its own
            return within(256L * token.length() + 16 * 1024, () -> {
                try {
                    NanoStreamWs.Jwt.verify(token, List.of("other".getBytes(UTF_8), SECRET),
                        NanoStreamWs.Jwt::checkNoAudience, NOW, Duration.ZERO);
                    return true;
                } catch (NanoStreamWs.Refusal refusal) {
                    assertTrue(refusal.getMessage().matches("[ -~]+"), refusal::getMessage);
                    return false;
                }
            });
        }
    }

    // ---- 6. Records of TLS ----

    private static final class Records extends Target {
        private static final TestCertificate OWN = TestCertificate.of("EC");
        private static final SSLContext SERVER = identity(), CLIENT = OWN.trusting();

        Records() {
            super("records", 40);
        }

        private static SSLContext identity() {
            try {
                byte[][] files = {OWN.pem().getBytes(UTF_8), OWN.key().getBytes(UTF_8)};
                return NanoStreamWs.Identity.of(files, "cert.pem", "key.pem").context();
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        }

        /** What a client sends once it has shaken hands. */
        @Override
        String make(RandomGenerator random) {
            return noise(random, length(random, 60_000));
        }

        @Override
        void check(String input, RandomGenerator random) throws Exception {
            int change = oneIn(2, random) ? Integer.MAX_VALUE : length(random, 2_000 + input.length());
            Peer peer = new Peer(input.getBytes(ISO_8859_1), change, random);
            SSLEngine engine = SERVER.createSSLEngine();
            engine.setUseClientMode(false);
            byte[] first = new byte[1];
            assertEquals(1, peer.getInputStream().read(first));
            var socket = new NanoStreamWs.TlsSocket(peer, engine, first[0]);
            ByteArrayOutputStream read = new ByteArrayOutputStream();
            try {
                socket.handshake();
                byte[] bytes = new byte[1 + random.nextInt(20_000)];
                for (int n = 0; n >= 0; n = socket.in.read(bytes, 0, bytes.length))
                    read.write(bytes, 0, n);
            } catch (IOException e) {
                // the end of what was sent, or the change in it
            }
            String got = latin(read.toByteArray());
            assertTrue(input.startsWith(got), "something else was read");
            assertTrue(peer.changed || got.equals(input), "nothing was changed, and not all was read");
        }

        /** A client, which sends in pieces, and the connection to it, which changes one byte. */
        private static final class Peer extends Socket {
            private final SSLEngine engine = CLIENT.createSSLEngine("localhost", 443);
            private final ByteBuffer message;
            private final RandomGenerator random;
            private final ByteBuffer toServer = ByteBuffer.allocate(200_000), toClient = ByteBuffer.allocate(200_000);
            private int change; // bytes before the one that is changed
            boolean changed;

            Peer(byte[] message, int change, RandomGenerator random) throws IOException {
                this.message = ByteBuffer.wrap(message);
                this.change = change;
                this.random = random;
                engine.setUseClientMode(true);
                engine.setEnabledProtocols(new String[] {any(random, "TLSv1.2", "TLSv1.3")});
                engine.beginHandshake();
                toServer.flip();
            }

            /** Lets the client take what has come, and say what it has to. */
            private void turn() throws IOException {
                toServer.clear();
                toClient.flip();
                boolean goesOn = true;
                while (goesOn)
                    goesOn = step();
                toClient.compact();
                toServer.flip();
            }

            private boolean step() throws IOException {
                switch (engine.getHandshakeStatus()) {
                    case NEED_TASK -> engine.getDelegatedTask().run();
                    case NEED_WRAP -> {
                        return engine.wrap(ByteBuffer.allocate(0), toServer).bytesProduced() > 0;
                    }
                    case NEED_UNWRAP -> {
                        return engine.unwrap(toClient, ByteBuffer.allocate(20_000)).bytesConsumed() > 0;
                    }
                    default -> {
                        if (toClient.hasRemaining())
                            return engine.unwrap(toClient, ByteBuffer.allocate(20_000)).bytesConsumed() > 0;
                        if (!message.hasRemaining() || toServer.position() > 20_000)
                            return false;
                        wrapPiece();
                    }
                }
                return true;
            }

            /** A record of its own for a part of the message. */
            private void wrapPiece() throws IOException {
                int length = 1 + random.nextInt(Math.min(message.remaining(), any(random, 1, 100, 20_000)));
                ByteBuffer piece = message.slice(message.position(), length);
                engine.wrap(piece, toServer);
                message.position(message.position() + piece.position());
            }

            @Override
            public void setSoTimeout(int millis) {
                // there is no connection
            }

            @Override
            public InputStream getInputStream() {
                return new InputStream() {
                    @Override
                    public int read() {
                        throw new AssertionError("read() is not expected");
                    }

                    @Override
                    public int read(byte[] to, int offset, int length) throws IOException {
                        LockSupport.unpark(Thread.currentThread()); // nothing here is paced
                        if (!toServer.hasRemaining())
                            turn();
                        if (!toServer.hasRemaining())
                            return -1;
                        int n = Math.min(toServer.remaining(), 1 + random.nextInt(length));
                        toServer.get(to, offset, n);
                        if (change >= 0 && change < n) {
                            to[offset + change] ^= (byte) (1 << random.nextInt(8));
                            changed = true;
                        }
                        change -= n;
                        return n;
                    }
                };
            }

            @Override
            public OutputStream getOutputStream() {
                return new OutputStream() {
                    @Override
                    public void write(int b) {
                        throw new AssertionError("write(b) is not expected");
                    }

                    @Override
                    public void write(byte[] bytes, int offset, int length) {
                        toClient.put(bytes, offset, length);
                    }
                };
            }
        }
    }
}
