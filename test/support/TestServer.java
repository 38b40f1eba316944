import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.BooleanSupplier;

/** A server on free ports of the loopback address, with a clock and a log that a test can see and turn. */
final class TestServer implements AutoCloseable {
    /** The secret of the documentation, and its token, which is valid until 2066. */
    static final String SECRET = "my_secret";
    static final String DOCUMENTED_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        + "eyJpYXQiOjE1MjUzMzc5MjksImV4cCI6MzA1MDY3NTg2OH0.tfqls3_fV6RQnOfx4-PMed_E2XCttNFr0uppm_nclsw";
    /** Handshakes that were in order: without compression, with it, and such that the client keeps its context. */
    static final NanoStreamWs.Accepted PLAIN = new NanoStreamWs.Accepted("", "", null),
        CONTEXT = new NanoStreamWs.Accepted("", "permessage-deflate; server_no_context_takeover", null),
        DEFLATE = new NanoStreamWs.Accepted("", CONTEXT.extensions() + "; client_no_context_takeover", null);
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    final NanoStreamWs.Server server;
    volatile Instant now = Instant.now();
    private final ByteArrayOutputStream log = new ByteArrayOutputStream();
    private final NanoStreamWs.EventLog events;

    /** @param args the command line, behind free ports; none waits long at its end */
    TestServer(String... args) throws Exception {
        List<String> all = new ArrayList<>(List.of("--host=127.0.0.1", "--port=0", "--drain=2"));
        all.addAll(List.of(args));
        if (!String.join(" ", args).contains("--feed"))
            all.add("--feed=http://127.0.0.1:0/");
        InstantSource clock = () -> now;
        events = new NanoStreamWs.EventLog(new PrintStream(log, true, UTF_8), clock);
        server = new NanoStreamWs.Server(new NanoStreamWs.Settings(all.toArray(String[]::new), Map.of(), () -> "made"),
            clock, events);
        server.bind();
        server.start();
    }

    int port() {
        return server.port();
    }

    int feedPort() {
        return ((NanoStreamWs.PostFeed) server.feeds.getFirst()).acceptor().server.getLocalPort();
    }

    /** Posts a message; returns the status. */
    int post(String message) throws Exception {
        return post(message.getBytes(UTF_8));
    }

    /** Posts a message as a Nano node does, on a connection of its own. */
    int post(byte[] message) throws Exception {
        try (RawClient publisher = new RawClient(feedPort())) {
            publisher.send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: "
                + message.length + "\r\n\r\n");
            publisher.send(message);
            return RawClient.status(publisher.answer());
        }
    }

    /** How often an event happened, for whatever reason. */
    long count(NanoStreamWs.Event event) {
        return count(events, event);
    }

    static long count(NanoStreamWs.EventLog events, NanoStreamWs.Event event) {
        return events.tallies.get(event).counts.values().stream().mapToLong(LongAdder::sum).sum();
    }

    /** The log so far. */
    String log() {
        return log.toString(UTF_8);
    }

    /** Waits until the log has the text, and returns the line that has it. */
    String awaitLog(String text) {
        try {
            await("the log has " + text, () -> log().contains(text));
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + "; it has:\n" + log());
        }
        return log().lines().filter(line -> line.contains(text)).findFirst().orElseThrow();
    }

    void awaitListeners(int count) {
        await(count + " listeners", () -> server.broadcaster.size() == count);
    }

    static void await(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end)
                throw new AssertionError("waited " + PATIENCE.toSeconds() + " s for: " + what);
            try {
                Thread.sleep(1);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    @Override
    public void close() {
        server.close();
        events.close();
    }
}
