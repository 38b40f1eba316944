import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.EOFException;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.math.BigDecimal;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongSupplier;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * Measures a broadcast on this machine: starts the server in a process of its own, connects listeners to it, posts
 * messages, checks that every listener gets each of them once, in order and unchanged, and prints what that took.
 * `make bench BENCH="--listeners 10000 --rate 10"` runs it. One thread posts, another reads all the listeners; they
 * share no code with the server. Exit status: 0; 1 if something is lost or cannot be had; 2 for wrong use.
 */
final class Bench {
    private static final int HANDSHAKES = 100;          // under way at once
    private static final int READ_BUFFER = 256 * 1024;  // bytes, or twice a message
    private static final int TEXTS = 64;                // different messages, which are used in turn
    private static final int NUMBER = 7, STAMP = 13;    // digits: of a message, and ns since EPOCH; that is 10,000 s
    private static final int MIN_JSON = 100;            // bytes of a message that looks like a Nano block
    private static final long PATIENCE = 10_000_000_000L; // ns without any progress
    private static final Set<String> USUAL = Set.of("start", "warning", "admitted", "left", "stop"); // lines of a log
    private static final long EPOCH = System.nanoTime();

    private static volatile boolean over; // what ends now was meant to

    // The command line.
    private int listeners = 500, rate = 100, size = 700, messages = 2_000, warmup = 400, depth = 1;
    private boolean deflate;
    private String jvm = "";

    private final byte[][] requests = new byte[TEXTS][]; // whole POSTs, but for the digits of number and stamp
    private int bodyAt, stampAt;                         // where the body begins, and in it the digits
    private ServerProcess server;

    public static void main(String[] args) throws Exception {
        Locale.setDefault(Locale.ROOT);
        Bench bench = new Bench();
        try {
            bench.parse(args);
        } catch (IllegalArgumentException e) {
            System.err.println("Bench: " + e.getMessage());
            System.exit(2);
        }
        try {
            System.exit(bench.run() ? 0 : 1);
        } catch (IOException | AssertionError e) {
            fail(e.getMessage());
        }
    }

    private static void fail(String why) {
        if (!over)
            System.err.println("Bench: " + why);
        System.exit(1); // ends the server, too
    }

    private void parse(String[] args) {
        for (int i = 0; i < args.length; i++) {
            String[] option = args[i].split("=", 2);
            String name = option[0], value = option.length == 2 ? option[1]
                : name.equals("--deflate") || i + 1 == args.length ? "" : args[++i];
            switch (name) {
                case "--listeners" -> listeners = number(name, value, 1, 1_000_000);
                case "--rate" -> rate = number(name, value, 0, 1_000_000);      // messages/s; 0: as fast as answered
                case "--size" -> size = number(name, value, NUMBER + STAMP, 1024 * 1024); // bytes; the server's limit
                case "--messages" -> messages = number(name, value, 1, 1_000_000);
                case "--warmup" -> warmup = number(name, value, 0, 1_000_000);  // messages
                case "--depth" -> depth = number(name, value, 1, 1_000);        // POSTs under way with --rate 0
                case "--deflate" -> deflate = number(name, value.isEmpty() ? "1" : value, 0, 1) == 1;
                case "--jvm" -> jvm = value.strip();                            // options of the server's JVM
                default -> throw new IllegalArgumentException("unknown option " + name + "; there are --listeners N, "
                    + "--rate R, --size BYTES, --messages M, --warmup W, --depth D, --deflate, --jvm OPTIONS");
            }
        }
        if (rate > 0 && Math.max(warmup, messages) / rate > 3600)
            throw new IllegalArgumentException("that takes more than an hour");
    }

    private static int number(String name, String value, int least, int most) {
        if (value.matches("[0-9]{1,7}") && Integer.parseInt(value) >= least && Integer.parseInt(value) <= most)
            return Integer.parseInt(value);
        throw new IllegalArgumentException(name + " wants a number from " + least + " to " + most + ", got '" + value
            + "'");
    }

    /** Runs it all, and prints the report. @return whether every message reached everybody */
    private boolean run() throws IOException, InterruptedException {
        String head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + size + "\r\n\r\n";
        Random random = new Random(1);
        for (int i = 0; i < TEXTS; i++)
            requests[i] = (head + text(random)).getBytes(ISO_8859_1);
        bodyAt = head.length();
        stampAt = text(random).indexOf("0");

        long begin = System.nanoTime();
        server = ServerProcess.watched(jvm, Bench::tell, "--secret=" + TestServer.SECRET);
        Runtime.getRuntime().addShutdownHook(new Thread(this::end));
        try (RawClient first = new RawClient(server.port())) {
            first.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            first.answer();
        }
        double startMillis = (System.nanoTime() - begin) / 1e6;
        Thread.sleep(1_000);

        Readers readers = new Readers();
        long rss = memory("VmRSS"), cpu = cpu(server.process.toHandle());
        begin = System.nanoTime();
        Thread.ofPlatform().daemon().start(readers);
        if (!await(() -> readers.admitted, listeners))
            throw new IOException("only " + readers.admitted + " of " + listeners + " listeners were admitted");
        double handshakes = listeners * 1e9 / (readers.lastAdmitted - begin);
        double handshakeCpu = (double) (cpu(server.process.toHandle()) - cpu) / listeners;
        Thread.sleep(1_000);
        long idle = memory("VmRSS");

        Publisher publisher = new Publisher();
        long warm = (long) listeners * warmup, all = warm + (long) listeners * messages;
        publisher.post(warmup);
        await(() -> readers.deliveries, warm);
        cpu = cpu(server.process.toHandle());
        long ownCpu = cpu(ProcessHandle.current());
        publisher.post(messages);
        await(() -> readers.deliveries, all);
        cpu = cpu(server.process.toHandle()) - cpu;
        ownCpu = cpu(ProcessHandle.current()) - ownCpu;

        Histogram latency = readers.latency;
        long lost = all - readers.deliveries, got = Math.max(1, latency.total);
        long planned = rate == 0 ? 0 : messages * 1_000_000_000L / rate; // ns; the last message's share is in it
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.printf("%d processors, %.1f GiB, %s %s %s, Java %s; the server's JVM options: %s%n%n",
            os.getAvailableProcessors(), os.getTotalMemorySize() / Math.pow(2, 30), os.getName(), os.getVersion(),
            os.getArch(), Runtime.version(), jvm.isEmpty() ? "none" : jvm);
        row("listeners", "%,d", listeners);
        row("message", "%,d bytes; on the wire %,.0f%s, without TCP and IP", size, (double) readers.wireBytes / got,
            deflate ? " (permessage-deflate)" : "");
        row("offered", rate == 0 ? "as fast as answered, %2$d under way"
            : "%,d messages/s; the latest POST was %3$.1f ms behind schedule", rate, depth, publisher.late / 1e6);
        row("posts", "%,.1f /s", messages * 1e9 / Math.max(planned, publisher.end - publisher.begin));
        row("deliveries", "%,.0f /s", got * 1e9 / Math.max(planned, readers.lastDelivery - publisher.begin));
        row("lost", "%,d of %,d, with the warm-up", lost, all);
        row("latency, ms", "p50 %.2f   p90 %.2f   p99 %.2f   p99.9 %.2f   max %.2f", latency.quantile(0.5),
            latency.quantile(0.9), latency.quantile(0.99), latency.quantile(0.999), latency.max / 1e6);
        row("server's CPU", "%.2f microseconds a delivery: %.2f s, by a clock with steps of 0.01 s",
            (double) cpu / got, cpu / 1e6);
        row("this program's CPU", "%.2f microseconds a delivery", (double) ownCpu / got);
        row("handshakes", "%,.0f /s; %.0f microseconds of the server's CPU each", handshakes, handshakeCpu);
        row("server's start", "%.0f ms until a request was answered", startMillis);
        row("server's memory", rss < 0 ? "not known on this system" : "%.1f MiB, with idle listeners %.1f, which is "
            + "%,.0f bytes each; at most %.1f", rss / 1048576.0, idle / 1048576.0, (double) (idle - rss) / listeners,
            memory("VmHWM") / 1048576.0);
        latency.print();
        System.out.println("""

            A latency is from just before the POST is written until the listener has read the whole message. One thread
            reads all listeners in turn, on the processors that the server runs on too: its work is part of the
            latency, and so is the publisher's. Handshakes meet a server that has just started: its compiler's work is
            in their CPU, and heap that they touch for the first time in the bytes of a listener. Both tell with few
            listeners.""");
        if (lost == 0 && readers.unexpected == 0 && readers.disconnected == 0)
            return true;
        System.err.printf("Bench: %,d deliveries lost, %,d messages out of turn, %,d listeners disconnected%n", lost,
            readers.unexpected, readers.disconnected);
        return false;
    }

    private static void row(String name, String format, Object... values) {
        System.out.printf("%-20s%s%n", name, format.formatted(values));
    }

    /** Waits until a count is reached; false if it stands still. */
    private static boolean await(LongSupplier count, long target) throws InterruptedException {
        long last = -1, moved = 0;
        for (long now; (now = count.getAsLong()) < target; Thread.sleep(1)) {
            if (now != last)
                moved = System.nanoTime();
            else if (System.nanoTime() - moved > PATIENCE)
                return false;
            last = now;
        }
        return true;
    }

    /** CPU time of a process until now, user and system, in µs with steps of 10 ms; 0 where it is not to be had. */
    private static long cpu(ProcessHandle process) {
        return process.info().totalCpuDuration().orElse(Duration.ZERO).toNanos() / 1_000;
    }

    /** A message with zeros for number and stamp; it looks like a Nano block, or several, and compresses like one. */
    private String text(Random random) {
        String zeros = "0".repeat(NUMBER + STAMP);
        if (size < MIN_JSON)
            return zeros + "x".repeat(size - zeros.length());
        String[] names = {"account", "hash", "representative", "previous", "link_as_account", "signature"};
        StringBuilder text = new StringBuilder("{\"stamp\":\"" + zeros + '"');
        for (int i = 0; text.length() < size - 2; i++) {
            String alphabet = i % 2 == 0 ? "13456789abcdefghijkmnopqrstuwxyz" : "0123456789ABCDEF";
            text.append(",\"").append(names[i % names.length]).append(i < names.length ? "" : i).append("\":\"");
            // A field has 64 characters; the last one takes what is left, where another would not fit.
            for (int rest = Math.max(1, size - 2 - text.length()), n = rest < 160 ? rest : 64; n > 0; n--)
                text.append(alphabet.charAt(random.nextInt(alphabet.length())));
            text.append('"');
        }
        return text.append('}').toString();
    }

    /** Tells a line of the server's log on if it is of no usual kind. */
    private static void tell(String line) {
        String[] words = line.split(" ", 3);
        if (!over && (words.length < 3 || !USUAL.contains(words[1])))
            System.err.println("server: " + line);
    }

    /** The server ends with this program, by Ctrl-C too. */
    private void end() {
        over = true;
        server.end();
    }

    /** A line of /proc/PID/status, VmRSS say, in bytes; negative on a system without. */
    private long memory(String name) {
        return 1024 * server.status(name);
    }

    /** The source: one connection, on which POSTs may follow each other without waiting for the answers. */
    private final class Publisher {
        private final RawClient feed = new RawClient(server.feedPort());
        private int sent, answered;
        long begin, end, late; // ns: the first POST, the last answer, how far a POST was behind schedule at most

        Publisher() throws IOException { }

        /** Posts so many, and returns when all are answered. With a rate each has its time, and waits for no answer. */
        void post(int count) throws IOException {
            begin = System.nanoTime();
            late = 0;
            for (int i = 0; i < count; i++) {
                while (rate == 0 ? sent - answered >= depth : feed.in.available() > 0)
                    answer();
                if (rate > 0) {
                    long due = begin + i * 1_000_000_000L / rate, now;
                    while ((now = System.nanoTime()) < due)
                        LockSupport.parkNanos(due - now);
                    late = Math.max(late, now - due);
                }
                byte[] request = requests[sent % TEXTS];
                digits(request, bodyAt + stampAt, NUMBER, sent++);
                digits(request, bodyAt + stampAt + NUMBER, STAMP, System.nanoTime() - EPOCH);
                feed.send(request);
            }
            while (answered < sent)
                answer();
            end = System.nanoTime();
        }

        private static void digits(byte[] to, int at, int width, long value) {
            for (int i = width - 1; i >= 0; i--, value /= 10)
                to[at + i] = (byte) ('0' + value % 10);
        }

        private void answer() throws IOException {
            String answer = feed.answer();
            if (RawClient.status(answer) != 200)
                throw new IOException("the feed answered " + answer.lines().findFirst().orElseThrow());
            answered++;
        }
    }

    /** One listener. Its bytes pass in read and write alone: TLS would stand there. */
    private static final class Listener {
        private static final byte[] NOTHING = { };
        final int id;
        final SocketChannel channel;
        boolean admitted;
        int due;                // number of the message that comes next
        byte[] rest = NOTHING;  // what has come of a frame, or of the answer to the handshake, that is not all there

        Listener(int id, int port) throws IOException {
            this.id = id;
            channel = SocketChannel.open(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true).configureBlocking(false);
        }

        void read(ByteBuffer to) throws IOException {
            if (channel.read(to) < 0)
                throw new EOFException("the server has ended the connection");
        }

        void write(byte[] bytes) throws IOException {
            if (channel.write(ByteBuffer.wrap(bytes)) < bytes.length) // a few hundred: there always is room
                throw new IOException("the socket takes no more");
        }
    }

    /**
     * Connects all listeners and reads them, by one thread. A server's frames are not masked, and here a compressed
     * message stands for itself (no context takeover), so a message is the same bytes for everybody. The first copy of
     * each is decoded, by an Inflater if need be, and compared with what was posted; every other copy is compared with
     * the first, byte by byte as it came. That is as strict, and costs next to nothing.
     */
    private final class Readers implements Runnable {
        private final Selector selector = Selector.open();
        private final ByteBuffer buffer = ByteBuffer.allocateDirect(Math.max(READ_BUFFER, 2 * size));
        private final Inflater inflater = new Inflater(true);
        private final int total = warmup + messages;
        private final ByteBuffer[] payloads = new ByteBuffer[total]; // by number: the first copy, until all have it
        private final long[] stamps = new long[total];
        private final int[] copies = new int[total];
        private final byte[][] handshakes = new byte[listeners][]; // made beforehand: tokens are not the server's work
        private int opened;
        private long count;
        // What the other thread looks at, after one of the volatile ones, which are written last.
        final Histogram latency = new Histogram();
        long lastAdmitted, lastDelivery, wireBytes;
        volatile int admitted, disconnected, unexpected;
        volatile long deliveries;

        Readers() throws IOException {
            String extensions = deflate ? "Sec-WebSocket-Extensions: permessage-deflate" : "Accept: */*";
            for (int i = 0; i < listeners; i++)
                handshakes[i] = RawClient.handshake("/?t=" + TestToken.expiring(Instant.now().plusSeconds(300)),
                    extensions).getBytes(ISO_8859_1);
        }

        @Override
        public void run() {
            try {
                while (true) {
                    while (opened < listeners && opened - admitted < HANDSHAKES)
                        open();
                    selector.select(this::read);
                    deliveries = count;
                }
            } catch (IOException e) {
                fail("connection " + (opened + 1) + " of " + listeners + ": " + e.getMessage() + "; ulimit -n "
                    + (listeners + 200) + " lets a process have enough, or take fewer --listeners");
            }
        }

        private void open() throws IOException {
            Listener listener = new Listener(opened, server.port());
            listener.channel.register(selector, SelectionKey.OP_READ, listener);
            listener.write(handshakes[opened++]);
        }

        private void read(SelectionKey key) {
            Listener listener = (Listener) key.attachment();
            try {
                buffer.clear().put(listener.rest);
                listener.read(buffer);
                long now = System.nanoTime(); // of all that this read completes
                buffer.flip();
                if (listener.admitted || isAnswered(listener))
                    while (isTaken(listener, now)) { }
                listener.rest = buffer.hasRemaining() ? new byte[buffer.remaining()] : Listener.NOTHING;
                buffer.get(listener.rest);
            } catch (IOException e) {
                if (!listener.admitted)
                    fail("listener " + listener.id + " was not admitted: " + e.getMessage());
                if (!over && disconnected++ < 5)
                    System.err.println("Bench: listener " + listener.id + ": " + e.getMessage());
                try {
                    listener.channel.close();
                } catch (IOException again) {
                    // gone is gone
                }
            }
        }

        /** Takes the answer to the handshake; false if it is not all there. */
        private boolean isAnswered(Listener listener) throws IOException {
            String answer = ISO_8859_1.decode(buffer.duplicate()).toString();
            int end = answer.indexOf("\r\n\r\n");
            if (end < 0)
                return false;
            if (!answer.startsWith("HTTP/1.1 101 ") || !answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") // RFC's key
                    || deflate && !answer.contains("server_no_context_takeover"))
                throw new IOException(answer.lines().findFirst().orElseThrow());
            buffer.position(end + 4);
            listener.admitted = true;
            lastAdmitted = System.nanoTime();
            admitted++;
            return true;
        }

        /** Takes a frame (RFC 6455 §5.2); false if it is not all there. */
        private boolean isTaken(Listener listener, long now) throws IOException {
            int start = buffer.position(), limit = buffer.limit(), there = limit - start;
            int second = there < 2 ? 0 : buffer.get(start + 1); // without mask: the length, or how it is given
            int header = second == 127 ? 10 : second == 126 ? 4 : 2;
            if (there < header)
                return false;
            long length = second == 127 ? buffer.getLong(start + 2)
                : second == 126 ? Short.toUnsignedInt(buffer.getShort(start + 2)) : second;
            if (length < 0 || length > buffer.capacity() - header)
                throw new IOException("got a frame of length " + length);
            if (there < header + length)
                return false;
            int first = Byte.toUnsignedInt(buffer.get(start)), end = start + header + (int) length;
            buffer.limit(end).position(start + header); // the payload
            switch (first) {
                case 0x81, 0xC1 -> message(listener, now, first == 0xC1, end - start);
                case 0x89 -> { // a ping
                    byte[] payload = new byte[(int) length];
                    buffer.get(payload);
                    listener.write(RawClient.frame(0x8A, payload));
                }
                case 0x88 -> throw new IOException("closed with " + (length < 2 ? "no code" : (int) buffer.getChar()));
                default -> throw new IOException("got a frame that begins with " + first);
            }
            buffer.limit(limit).position(end);
            return true;
        }

        private void message(Listener listener, long now, boolean deflated, int frameBytes) throws IOException {
            int number = listener.due;
            if (number == total || !buffer.equals(payloads[number])) { // the first copy, or not what is due
                number = decode(deflated);
                if (number != listener.due && unexpected++ < 5)
                    System.err.println("Bench: listener " + listener.id + ": message " + number + " where "
                        + listener.due + " was due");
                if (number < listener.due)
                    return;
            }
            listener.due = number + 1; // those left out are missing in the count
            if (++copies[number] == listeners)
                payloads[number] = null;
            count++;
            if (number >= warmup) {
                latency.add(now - stamps[number]);
                wireBytes += frameBytes;
                lastDelivery = now;
            }
        }

        /** Compares a message with what was posted, and keeps it if it is the first copy. Returns its number. */
        private int decode(boolean deflated) throws IOException {
            int length = buffer.remaining(), bytes = Math.min(length, size + 1); // a byte too many is seen
            byte[] payload = new byte[length + 4], text = new byte[size + 1];
            buffer.get(payload, 0, length);
            if (deflated) {
                payload[length + 2] = payload[length + 3] = (byte) 0xFF; // RFC 7692 §7.2.2: 00 00 FF FF is put back
                inflater.reset();
                inflater.setInput(payload);
                try {
                    bytes = inflater.inflate(text);
                } catch (DataFormatException e) {
                    throw new IOException("got a message that cannot be inflated", e);
                }
            } else {
                System.arraycopy(payload, 0, text, 0, bytes);
            }
            String digits = new String(text, stampAt, NUMBER + STAMP, ISO_8859_1);
            int number = digits.matches("[0-9]+") ? Integer.parseInt(digits, 0, NUMBER, 10) : total;
            byte[] request = requests[number % TEXTS]; // its digits are of a later message by now, perhaps
            int at = bodyAt + stampAt, behind = stampAt + digits.length();
            if (number >= total || bytes != size || !Arrays.equals(text, 0, stampAt, request, bodyAt, at)
                    || !Arrays.equals(text, behind, size, request, bodyAt + behind, request.length))
                throw new IOException("got a message that nobody posted");
            if (copies[number] == 0) {
                payloads[number] = ByteBuffer.wrap(payload, 0, length);
                stamps[number] = EPOCH + Long.parseLong(digits, NUMBER, digits.length(), 10);
            }
            return number;
        }
    }

    /** Counts of nanoseconds in buckets, 64 for each power of two, so that what it tells is off by 1.6 % at most. */
    private static final class Histogram {
        private final long[] counts = new long[64 * 58];
        long total, max;

        void add(long nanos) {
            int shift = Math.max(0, 57 - Long.numberOfLeadingZeros(nanos)); // leaves seven bits, the first of them set
            counts[64 * shift + (int) (nanos >> shift)]++;
            total++;
            max = Math.max(max, nanos);
        }

        /** The least value of a bucket. */
        private static long least(int bucket) {
            return bucket < 128 ? bucket : (64L + bucket % 64) << bucket / 64 - 1;
        }

        /** What so large a share of the values does not exceed, in ms. */
        double quantile(double share) {
            long rest = (long) Math.ceil(share * total);
            int bucket = 0;
            while (bucket < counts.length - 1 && (rest -= counts[bucket]) > 0)
                bucket++;
            return Math.min(least(bucket + 1), max) / 1e6;
        }

        /** A row with a bar for each step, from the first that occurs to the last. */
        void print() {
            int bucket = 0;
            while (bucket < counts.length - 1 && counts[bucket] == 0)
                bucket++;
            long range = max / Math.max(1, least(bucket)); // the finest steps that make no more than 16 rows of it
            int[] steps = range < 30 ? new int[] {100, 125, 150, 200, 250, 300, 400, 500, 600, 800}
                : range < 800 ? new int[] {100, 150, 250, 400, 600} : new int[] {100, 200, 500};
            record Row(long from, long to, long count) { }
            List<Row> rows = new ArrayList<>();
            long most = 1, sum = 0, from = 0;
            for (int i = 0; sum < total; i++) {
                long to = steps[i % steps.length] * (long) Math.pow(10, i / steps.length), count = 0; // ns
                for (; bucket < counts.length && least(bucket) < to; bucket++)
                    count += counts[bucket];
                if (sum + count > 0)
                    rows.add(new Row(from, to, count));
                sum += count;
                most = Math.max(most, count);
                from = to;
            }
            System.out.printf("%n%17s  %13s %60s  %10s%n", "latency, ms", "deliveries", "share", "up to here");
            sum = 0;
            for (Row row : rows)
                System.out.printf("%7s - %7s  %,13d  %-50s  %6.2f%%  %9.3f%%%n", millis(row.from), millis(row.to),
                    row.count, "#".repeat((int) (50 * row.count / most)), 100.0 * row.count / total,
                    100.0 * (sum += row.count) / total);
        }

        private static String millis(long nanos) {
            return BigDecimal.valueOf(nanos, 6).stripTrailingZeros().toPlainString();
        }
    }
}
