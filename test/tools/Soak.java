import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

/**
 * A server in a process of its own, under full load for minutes: a feed without pause, listeners that stay and check
 * every byte, and others that come and go in every way there is. When all have gone, the server has to be back where
 * it was before, in memory, threads and descriptors. `make soak MINUTES=10` runs it; the last line counts the checks.
 */
final class Soak {
    private static final int STAYERS = 30;
    private static final int COMERS = 120;                  // at a time; a quarter of them are no listeners just then
    static final int MAX_MESSAGE = 200_000;                 // bytes; most are far smaller
    static final int RING = 1 << 17;                        // messages that a listener may be behind and be checked
    private static final double WARM_UP = 4;                // seconds
    private static final double TOKEN_LIFE = 4;             // seconds
    private static final int PING = 3;                      // seconds; a listener silent for two of them is dropped
    private static final double STAY = 4_000;               // ms that a comer stays, at most
    static final int PATIENCE = 15_000;                     // ms for what has to come
    /** Bytes: the compressed log's last segment has 64 KiB or a large message; pools and tables vary, too. */
    private static final int HEAP_SLACK = MAX_MESSAGE + 256 * 1024;
    private static final int THREAD_SLACK = 4;              // the JVM's own, which come and go

    /** What is checked. Each is looked at many times, and fails if it fails once, or was never looked at. */
    enum Check {
        CONTENT("every message came whole and in its place, none twice, none left out"),
        STAYED("each listener that stayed got every message up to the last"),
        KEPT("no client that kept to the rules was refused, dropped or left waiting"),
        CLOSED("a close frame was answered, and nothing followed it"),
        PONGS("pings were answered"),
        REFUSED("a token that was missing, wrong or used got 401"),
        HALF("half a handshake got 408"),
        SILENT("a silent listener was dropped, not before two pings"),
        STUCK("a listener that read nothing was dropped"),
        POSTS("every POST was answered with 200"),
        LOG("the log has every listener as admitted, and as left or dropped"),
        FAULTS("the log tells of no fault"),
        DESCRIPTORS("no descriptor is left open"),
        LISTENERS("no listener is left in memory"),
        TOKENS("no used token is left in memory"),
        HEAP("no memory is lost"),
        VIRTUAL_THREADS("no virtual thread is left"),
        THREADS("no platform thread is left"),
        COMPRESSION("nothing is compressed when no listener can have it"),
        FAREWELL("a SIGTERM brought what was posted, and then 1001"),
        STATUS("after a SIGTERM the exit status is 0");

        final String text;
        final LongAdder passed = new LongAdder(), failed = new LongAdder();
        private String why; // it failed first
        boolean skipped;

        Check(String text) { this.text = text; }

        /** Counts a look. */
        void that(boolean good, String otherwise) {
            if (good)
                passed.increment();
            else
                fail(otherwise);
        }

        /** Counts a look, which ends what the caller is doing if it fails. */
        void must(boolean good, String otherwise) throws Failed {
            that(good, otherwise);
            if (!good)
                throw new Failed();
        }

        synchronized Failed fail(String reason) {
            if (why == null)
                System.out.println("first failure of: " + text + ": " + reason); // now, as the end may be hours away
            why = why == null ? reason : why;
            failed.increment();
            return new Failed();
        }

        synchronized boolean report() {
            if (why == null && passed.sum() == 0 && !skipped) {
                why = "it was never looked at";
                failed.increment();
            }
            System.out.println(skipped ? "skip   " + text + ": there is no /proc"
                : why == null ? String.format("ok     %s (%,d)", text, passed.sum())
                : String.format("FAILED %s: %s (%,d of %,d)", text, why, failed.sum(), failed.sum() + passed.sum()));
            return why == null;
        }
    }

    /** A check has failed, and knows why. */
    static final class Failed extends IOException {
        private static final long serialVersionUID = 1;
    }

    /** What a comer does, in how many of a hundred cases. */
    private enum Kind {
        CLEAN(30), BROKEN(25), CHATTY(10), SILENT(4), STUCK(4), REFUSED(20), HALF(7);

        final int share;
        final LongAdder begun = new LongAdder();

        Kind(int share) { this.share = share; }

        static Kind of(int percent) {
            for (Kind kind : values())
                if ((percent -= kind.share) < 0)
                    return kind;
            throw new AssertionError("the shares are not a hundred");
        }
    }

    interface Task {
        void run() throws Exception;
    }

    private final SoakWatch watch;
    final ServerProcess server;
    private final long seed;
    private final RawClient publisher;
    private final byte[] text = new byte[1 << 20];          // messages are pieces of it
    final long[] sums = new long[RING];                     // of message k at k % RING; written before begun
    volatile long begun, answered;                          // messages whose POST is on its way, was answered
    private volatile long last;                             // the number of the last message, once that is known
    volatile boolean over, ending;                          // comers are to go; the next message is the last
    private volatile long lastToken;                        // System.nanoTime when the newest one was made
    final AtomicInteger listeners = new AtomicInteger();
    final LongAdder joined = new LongAdder();               // listeners that were admitted
    private final LongAdder bytes = new LongAdder();        // of messages

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>(Map.of("--minutes", "10", "--jvm", ""));
        for (int i = 0; i + 1 < args.length; i += 2)
            options.put(args[i], args[i + 1]);
        long seed = Long.parseLong(options.getOrDefault("--seed", "" + System.nanoTime() % 1_000_000));
        System.out.println("soak: MINUTES=" + options.get("--minutes") + " SEED=" + seed);
        SoakWatch watch = new SoakWatch(options.get("--jvm"), "--ping=" + PING, "--write-timeout=3");
        Runtime.getRuntime().addShutdownHook(new Thread(watch.server::end));
        attempt("the soak", () -> new Soak(watch, seed).run(60 * Double.parseDouble(options.get("--minutes"))));
        Map<Boolean, Long> count = Stream.of(Check.values())
            .collect(Collectors.partitioningBy(Check::report, Collectors.summingLong(c -> c.skipped ? 0 : 1)));
        System.out.println(count.get(true) + " passed, " + count.get(false) + " failed");
        System.exit(count.get(false) == 0 ? 0 : 1);
    }

    private Soak(SoakWatch watch, long seed) throws Exception {
        this.watch = watch;
        this.server = watch.server;
        this.seed = seed;
        this.publisher = new RawClient(server.feedPort());
        SplittableRandom random = new SplittableRandom(seed);
        StringBuilder characters = new StringBuilder();
        while (characters.length() < text.length) // of one to four bytes, and no { that would begin a block
            characters.appendCodePoint(random.nextInt(8) > 0 ? random.nextInt(' ', '{')
                : random.nextInt(8) > 0 ? random.nextInt(0xA0, 0xD800) : random.nextInt(0x10000, 0x110000));
        System.arraycopy(characters.toString().getBytes(UTF_8), 0, text, 0, text.length);
    }

    private void run(double seconds) throws Exception {
        load(WARM_UP, false); // so that what the first ones bring into memory is there: classes, pools, tables
        SoakWatch.Snapshot before = settled(null);
        Check.LISTENERS.that(before.listeners() == 0, before.listeners() + " after the warm-up");
        long descriptors = server.descriptors(), threads = server.status("Threads"), rss = server.status("VmRSS");
        load(seconds, true);

        await(() -> watch.admitted() == joined.sum() && watch.gone() == joined.sum());
        Check.LOG.that(watch.admitted() == joined.sum() && watch.gone() == joined.sum(),
            joined + " were admitted; the log has " + watch.admitted() + ", and " + watch.gone() + " as gone");
        await(() -> server.descriptors() <= descriptors); // before a collection, which closes those that are lost
        Check.DESCRIPTORS.skipped = Check.THREADS.skipped = descriptors < 0;
        Check.DESCRIPTORS.that(server.descriptors() <= descriptors, server.descriptors() + ", were " + descriptors);
        SoakWatch.Snapshot after = settled(before);
        Check.LISTENERS.that(after.listeners() == 0, "" + after.listeners());
        Check.TOKENS.that(after.tokens() <= before.tokens(), after.tokens() + ", were " + before.tokens());
        Check.VIRTUAL_THREADS.that(after.virtualThreads() <= before.virtualThreads(),
            after.virtualThreads() + ", were " + before.virtualThreads());
        Check.HEAP.that(after.heap() <= before.heap() + HEAP_SLACK, String.format("%,d bytes, were %,d; most are %s",
            after.heap(), before.heap(), after.growthSince(before)));
        Check.THREADS.that(server.status("Threads") <= threads + THREAD_SLACK,
            server.status("Threads") + ", were " + threads);
        System.out.printf("heap %,d bytes, was %,d; resident %,d kB, was %,d; threads %d, were %d; descriptors %d%n",
            after.heap(), before.heap(), server.status("VmRSS"), rss, server.status("Threads"), threads, descriptors);

        // A large message stays in memory as the last segment of a log, and of the other one if that is written too.
        post(1_000_000, new SplittableRandom(seed));
        long grown = watch.snapshot().heap() - after.heap();
        Check.COMPRESSION.that(grown < 1_100_000, "a message of 1,000,000 bytes takes " + grown);
        farewell();
    }

    /** Takes everything through a shutdown: listeners, messages, a signal. */
    private void farewell() throws Exception {
        List<SoakListener> late = new ArrayList<>();
        for (int i = 0; i < 6; i++)
            late.add(new SoakListener(this, token(), i % 2 == 0, 0));
        SplittableRandom random = new SplittableRandom(seed);
        for (int i = 0; i < 20; i++)
            post(random.nextInt(1, 20_000), random);
        server.terminate();
        for (SoakListener listener : late) {
            while (listener.frame() != 0x8) { }
            Check.FAREWELL.that(listener.code == 1001 && listener.next.contains(begun),
                "code " + listener.code + " at " + listener.next + " of " + begun);
            listener.client.send(RawClient.frame(0x88, RawClient.closing(1001)));
            Check.CLOSED.that(listener.client.atEnd(), "something followed the last close frame");
            listener.close();
        }
        boolean ended = server.process.waitFor(PATIENCE, TimeUnit.MILLISECONDS);
        Check.STATUS.that(ended && server.process.exitValue() == 0, ended ? "it is another" : "it did not exit");
        if (ended)
            server.exit(); // then every line of the log is counted
        Check.FAULTS.passed.increment();
    }

    // ---- The load ---------------------------------------------------------------------------------------------------

    /** Everything at once for so many seconds; returns when all are gone.
     * @param complete whether one of each kind is seen through however short the time is */
    private void load(double seconds, boolean complete) throws Exception {
        over = ending = false;
        last = Long.MAX_VALUE;
        Thread feed = start("the publisher", () -> publish(new SplittableRandom(seed + begun)));
        List<Thread> staying = new ArrayList<>(), coming = new ArrayList<>();
        for (int i = 0; i < STAYERS; i++) {
            boolean deflate = i % 2 == 0;
            staying.add(start("one that stays", () -> stay(deflate)));
        }
        for (int i = 0; i < COMERS; i++) {
            int number = i;
            SplittableRandom random = new SplittableRandom(seed * COMERS + i);
            coming.add(start("a comer", () -> {
                Kind kind = number < Kind.values().length ? Kind.values()[number] : Kind.of(random.nextInt(100));
                for (boolean first = complete && number < Kind.values().length; !over; first = false) {
                    come(kind, random, first);
                    kind = Kind.of(random.nextInt(100));
                }
            }));
        }
        long began = System.nanoTime(), shown = 0;
        for (double now = 0; now < seconds && !over; now = (System.nanoTime() - began) / 1e9) {
            if (complete && (long) now / 10 > shown) {
                shown = (long) now / 10;
                progress((long) now);
            }
            Thread.sleep(100);
        }
        over = true;
        join(coming);
        ending = true;
        join(staying);
        join(List.of(feed));
        if (complete)
            progress(Math.round((System.nanoTime() - began) / 1e9));
    }

    private void progress(long seconds) {
        System.out.printf("%4d s: %d listeners, %,d messages, %,d MB; %,d deliveries, %,d joined;%s; dropped %d + %d%n",
            seconds, listeners.get(), answered, bytes.sum() / 1_000_000, Check.CONTENT.passed.sum(), joined.sum(),
            Stream.of(Kind.values()).map(kind -> " " + kind.name().toLowerCase() + " " + kind.begun)
                .collect(Collectors.joining()), Check.SILENT.passed.sum(), Check.STUCK.passed.sum());
    }

    private void join(List<Thread> threads) throws InterruptedException {
        long end = System.nanoTime() + 3 * PATIENCE * 1_000_000L;
        for (Thread thread : threads)
            Check.KEPT.that(thread.join(Duration.ofNanos(Math.max(1, end - System.nanoTime()))), "one still waits");
    }

    private Thread start(String name, Task task) {
        return Thread.ofVirtual().start(() -> attempt(name, task));
    }

    static void attempt(String name, Task task) {
        try {
            task.run();
        } catch (Failed e) { // its check knows
        } catch (Exception | AssertionError e) {
            Check.KEPT.fail(name + ": " + e);
        }
    }

    private void publish(SplittableRandom random) throws Exception {
        try {
            for (boolean more = true; more; ) {
                more = !ending;
                if (!more)
                    last = begun;
                post((int) Math.pow(MAX_MESSAGE, random.nextDouble()), random);
            }
        } finally {
            over = true; // if this failed, there is nothing to soak in
        }
    }

    /** Posts a piece of the text of about this length, and waits for the answer. Called by one thread at a time. */
    private void post(int length, SplittableRandom random) throws IOException {
        int start = boundary(random.nextInt(text.length - length - 8)), end = boundary(start + length);
        CRC32 crc = new CRC32();
        crc.update(text, start, end - start);
        sums[(int) (begun % RING)] = (long) (end - start) << 32 | crc.getValue();
        begun++;
        String head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + (end - start) + "\r\n\r\n";
        publisher.send(RawClient.concat(head.getBytes(UTF_8), Arrays.copyOfRange(text, start, end)));
        int status = RawClient.status(publisher.answer());
        Check.POSTS.must(status == 200, "" + status);
        bytes.add(end - start);
        answered = begun;
    }

    /** The next place that is between two characters. */
    private int boundary(int at) {
        while ((text[at] & 0xC0) == 0x80)
            at++;
        return at;
    }

    private String token() {
        lastToken = System.nanoTime();
        return token(SoakWatch.SECRET);
    }

    private static String token(String secret) {
        double exp = System.currentTimeMillis() / 1e3 + TOKEN_LIFE;
        String claims = String.format(Locale.ROOT, "{\"exp\":%.3f,\"jti\":\"%s\"}", exp, UUID.randomUUID());
        return TestToken.of(TestToken.HEADER, claims, secret, "HmacSHA256");
    }

    private void stay(boolean deflate) throws IOException {
        try (SoakListener listener = new SoakListener(this, token(), deflate, 0)) {
            while (!listener.next.contains(last + 1))
                listener.frame();
            Check.STAYED.passed.increment();
            listener.leave();
        }
    }

    /** @param first whether it is seen through although all is over */
    private void come(Kind kind, SplittableRandom random, boolean first) {
        long end = System.nanoTime() + (long) (1e6 * Math.pow(STAY, random.nextDouble()));
        boolean deflate = random.nextBoolean();
        kind.begun.increment();
        attempt("one of " + kind, () -> {
            switch (kind) {
                case CLEAN, BROKEN -> {
                    try (SoakListener listener = new SoakListener(this, token(), deflate, 0)) {
                        listener.read(end);
                        if (kind == Kind.CLEAN)
                            listener.leave();
                        else if (random.nextBoolean())
                            listener.client.socket.setSoLinger(true, 0); // it ends with a reset
                    }
                }
                case CHATTY -> chat(deflate, end, random);
                case SILENT -> silent(deflate, first);
                case STUCK -> stuck(deflate, first);
                case REFUSED -> refused(random.nextInt(3));
                case HALF -> half(end, random, first);
            }
        });
    }

    /** Pings, pongs and texts, some of them compressed, some never finished: five a second. */
    private void chat(boolean deflate, long end, SplittableRandom random) throws IOException {
        try (SoakListener listener = new SoakListener(this, token(), deflate, 0)) {
            String said = "hello";
            while (System.nanoTime() < end && !over) {
                said = "said at " + System.nanoTime();
                switch (random.nextInt(3)) {
                    case 0 -> listener.ping(said);
                    case 1 -> listener.client.send(RawClient.frame(0x8A, said));
                    default -> listener.client.send(deflate ? RawClient.frame(0xC1, deflated(said))
                        : RawClient.frame(0x81, said));
                }
                listener.read(Math.min(end, System.nanoTime() + 200_000_000));
            }
            if (random.nextBoolean())
                listener.client.send(deflate ? RawClient.frame(0x41, deflated(said)) : RawClient.frame(0x01, said));
            listener.leave();
            Check.PONGS.must(listener.pings.isEmpty(), "no answer to " + listener.pings.peek());
        }
    }

    private static byte[] deflated(String message) {
        return RawClient.deflated(message.getBytes(UTF_8), Deflater.DEFAULT_COMPRESSION);
    }

    /** Reads, and answers no ping. */
    private void silent(boolean deflate, boolean first) throws IOException {
        long began = System.nanoTime();
        try (SoakListener listener = new SoakListener(this, token(), deflate, 0)) {
            listener.answers = false;
            try {
                while (!over || first) {
                    listener.frame();
                    if (millisSince(began) > 2 * PATIENCE)
                        throw Check.SILENT.fail("still there");
                }
            } catch (Failed | SocketTimeoutException e) {
                throw e;
            } catch (IOException e) {
                Check.SILENT.must(millisSince(began) >= 2_000 * PING, "after " + millisSince(began) + " ms: " + e);
            }
        }
    }

    /** Reads nothing, and shows by pongs that it is there, so that it is not dropped for being silent. */
    private void stuck(boolean deflate, boolean first) throws Exception {
        long began = System.nanoTime();
        try (SoakListener listener = new SoakListener(this, token(), deflate, 4096)) {
            while (!over || first) {
                try {
                    listener.client.send(RawClient.frame(0x8A, ""));
                } catch (IOException e) {
                    Check.STUCK.passed.increment();
                    return;
                }
                if (millisSince(began) > 2 * PATIENCE)
                    throw Check.STUCK.fail("still there");
                Thread.sleep(200);
            }
        }
    }

    private void refused(int how) throws IOException {
        String token = how == 0 ? token() : token("a secret that the server does not have");
        try (SoakListener listener = how == 0 ? new SoakListener(this, token, false, 0) : null;
             RawClient client = new RawClient(server.port())) {
            int status = RawClient.status(client.upgrade(how == 2 ? "/" : "/?t=" + token,
                "Sec-WebSocket-Extensions: permessage-deflate")); // which the refusal has to undo
            Check.REFUSED.must(status == 401, "" + status);
            if (listener != null)
                listener.leave();
        }
    }

    /** Sends a part of a handshake, and nothing more. */
    private void half(long end, SplittableRandom random, boolean first) throws IOException {
        boolean waits = first || random.nextBoolean();
        try (RawClient client = new RawClient(server.port())) {
            String head = RawClient.handshake("/?t=" + token());
            client.send(head.substring(0, random.nextInt(1, head.length() - 2)));
            client.socket.setSoTimeout(100);
            for (int b = 0; b == 0 && (first || !over) && (waits || System.nanoTime() < end); ) {
                try {
                    b = client.in.read();
                } catch (SocketTimeoutException e) {
                    continue;
                }
                client.socket.setSoTimeout(PATIENCE);
                String answer = (char) b + client.answer();
                Check.HALF.must(RawClient.status(answer) == 408 && client.atEnd(), answer);
            }
        }
    }

    private static long millisSince(long began) { return (System.nanoTime() - began) / 1_000_000; }

    private static void await(BooleanSupplier condition) throws InterruptedException {
        for (long began = System.nanoTime(); !condition.getAsBoolean() && millisSince(began) < 10_000; )
            Thread.sleep(20);
    }

    /** Waits until no listener is left in memory and, if there is one to compare with, it is as small as that. */
    private SoakWatch.Snapshot settled(SoakWatch.Snapshot before) throws Exception {
        SplittableRandom random = new SplittableRandom(seed);
        for (int i = 0; i < 100; i++) // to no listener: a log with one still in it would keep them all
            post(MAX_MESSAGE, random);
        long swept = lastToken + (long) ((TOKEN_LIFE + 1.2) * 1e9); // there is a sweep every second
        while (System.nanoTime() < swept)
            Thread.sleep(20);
        for (long began = System.nanoTime(); ; Thread.sleep(500)) {
            SoakWatch.Snapshot now = watch.snapshot();
            boolean small = before == null || now.tokens() <= before.tokens()
                && now.virtualThreads() <= before.virtualThreads() && now.heap() <= before.heap() + HEAP_SLACK;
            if (small && now.listeners() == 0 || millisSince(began) > 5_000)
                return now;
        }
    }
}
