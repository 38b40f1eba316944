import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Health and metrics")
@SuppressWarnings("try") // a client is only there
class MetricsTest {
    private static final String HOST = " HTTP/1.1\r\nHost: localhost\r\n", END = "\r\n";
    private static final String ADMITTED = "nanostream_listeners_admitted_total";
    private static final String DROPPED = "nanostream_listeners_dropped_total";
    private static final String REFUSED = "nanostream_requests_refused_total";
    private static final String FEED_EVENTS = "nanostream_feed_events_total";
    private static final String WAIT = "nanostream_post_wait_seconds";

    private static String get(int port, String path) throws IOException {
        return RawClient.lastAnswer(port, "GET " + path + HOST + END);
    }

    /** The metrics as they are answered, checked. */
    private static Exposition scrape(TestServer server) throws IOException {
        String answer = get(server.feedPort(), "/metrics");
        assertEquals(200, RawClient.status(answer));
        return new Exposition(RawClient.body(answer));
    }

    /** The metrics without a connection. */
    private static Exposition metrics(TestServer server) {
        return new Exposition(RawClient.body(new String(server.server.metrics.answer(server.now), UTF_8)));
    }

    private static void await(TestServer server, String sample, double value) {
        TestServer.await(sample + " is " + value, () -> metrics(server).get(sample) == value);
    }

    private static String reason(String name, String reason) {
        return name + "{reason=\"" + reason + "\"}";
    }

    /** What has risen since, by its name without what all have in common. */
    private static Map<String, Integer> risen(Exposition before, Exposition after, String family) {
        Map<String, Integer> risen = new TreeMap<>();
        after.samples(family).forEach((sample, value) -> {
            int by = (int) (value - before.get(sample));
            if (by != 0)
                risen.put(sample.replaceAll(".*\"(.*)\".*", "$1"), by);
        });
        return risen;
    }

    /** A listener in a lane that nothing can be asked about: the sweep that comes to it stands. */
    private static final class Hanging extends NanoStreamWs.Listener {
        final CountDownLatch go = new CountDownLatch(1);

        Hanging(NanoStreamWs.StreamLog log) throws IOException {
            super(HeldSocket.free(), new byte[0], HeldSocket.now(log), TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER);
        }

        @Override
        long lag() {
            if (Thread.currentThread().getName().equals("walker"))
                try {
                    go.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            return super.lag();
        }
    }

    @Nested
    @DisplayName("/healthz")
    class Health {
        private static final String STANDS = "a lane stands still";

        private static void assertWell(TestServer server, boolean well, String body) throws IOException {
            for (int port : new int[] {server.port(), server.feedPort()}) {
                String answer = get(port, "/healthz");
                assertEquals(well ? 200 : 503, RawClient.status(answer), answer);
                assertEquals(body, RawClient.body(answer));
                assertEquals("text/plain", RawClient.field(answer, "Content-Type"));
                assertEquals("no-store", RawClient.field(answer, "Cache-Control"));
                assertEquals("close", RawClient.field(answer, "Connection"));
            }
            assertEquals(well ? 1 : 0, metrics(server).get("nanostream_healthy"));
        }

        @Test
        @DisplayName("is ok on both ports, and needs no secret path")
        void isOk() throws Exception {
            try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/secret")) {
                assertWell(server, true, "ok");
            }
        }

        @Test
        void saysThatTheServerIsDraining() throws Exception {
            try (TestServer server = new TestServer()) {
                server.server.door.draining().set(true);
                assertWell(server, false, "draining");
            }
        }

        @Test
        @DisplayName("says that a lane stands still, whatever the reason, until it goes on")
        void saysThatALaneStandsStill() throws Exception {
            try (TestServer server = new TestServer("--write-timeout=1.5")) {
                NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
                Hanging hanging = new Hanging(broadcaster.plain);
                NanoStreamWs.Lane lane = broadcaster.laneOf(hanging);
                lane.listeners.add(hanging);
                assertWell(server, true, "ok");
                assertEquals(200, server.post("x"));
                assertEquals(3, metrics(server).get("nanostream_slowest_lane_lag_bytes"), "a header and a byte");
                server.server.pulse.look();
                assertWell(server, true, "ok");
                server.server.pulse.look();
                server.server.pulse.look();
                assertWell(server, false, STANDS);
                server.server.health.checks.add(() -> "of a test");
                assertWell(server, false, STANDS + "; of a test");
                server.server.health.checks.removeLast();
                hanging.go.countDown();
                TestServer.await("it goes on", () -> lane.swept == broadcaster.plain.end());
                server.server.pulse.look();
                assertWell(server, true, "ok");
                assertEquals(0, metrics(server).get("nanostream_slowest_lane_lag_bytes"));
            }
        }

        @Test
    @Tag("slow")
        @DisplayName("is looked after once a second by the server itself")
        void isLookedAfter() throws Exception {
            try (TestServer server = new TestServer("--write-timeout=0.5")) {
                Hanging hanging = new Hanging(server.server.broadcaster.plain);
                server.server.broadcaster.laneOf(hanging).listeners.add(hanging);
                server.post("x");
                TestServer.await("it is seen", () -> metrics(server).get("nanostream_healthy") == 0);
                hanging.go.countDown();
            }
        }

        @Test
        @DisplayName("has nothing to say about a listener that is stuck, which its lane goes past")
        void passesOverAListenerThatIsStuck() throws Exception {
            try (TestServer server = new TestServer("--write-timeout=1000")) {
                HeldSocket held = new HeldSocket();
                NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
                NanoStreamWs.Listener stuck = held.listener(broadcaster.plain);
                NanoStreamWs.Lane lane = broadcaster.laneOf(stuck);
                lane.listeners.add(stuck);
                NanoStreamWs.Pulse pulse = new NanoStreamWs.Pulse(broadcaster, Duration.ofMillis(1));
                for (int i = 0; i < 3; i++) {
                    server.post("x");
                    TestServer.await("the lane goes past", () -> lane.swept == broadcaster.plain.end());
                    pulse.look();
                    assertNull(pulse.ailment());
                }
                assertEquals(9, metrics(server).get("nanostream_slowest_listener_lag_bytes"));
                assertEquals(0, metrics(server).get("nanostream_slowest_lane_lag_bytes"));
                held.letGo();
                await(server, "nanostream_slowest_listener_lag_bytes", 0);
            }
        }

        @Test
        @DisplayName("counts looks, so that a pause of the server is no illness, and only what was there at the last")
        void countsLooks() throws Exception {
            NanoStreamWs.Broadcaster broadcaster = HeldSocket.unattended();
            NanoStreamWs.Pulse pulse = new NanoStreamWs.Pulse(broadcaster, Duration.ofSeconds(2));
            NanoStreamWs.Message message = seen -> new byte[1];
            pulse.look();
            broadcaster.send(NanoStreamWs.Opcode.TEXT, message); // an empty lane sweeps nothing
            pulse.look();
            pulse.look();
            pulse.look();
            pulse.look();
            assertNull(pulse.ailment(), "no lane has listeners");
            HeldSocket held = new HeldSocket();
            NanoStreamWs.Listener listener = held.listener(broadcaster.plain);
            NanoStreamWs.Lane lane = broadcaster.laneOf(listener);
            broadcaster.add(listener);
            TestServer.await("it has swept", () -> lane.swept == broadcaster.plain.end());
            for (int i = 0; i < 4; i++)
                pulse.look();
            assertNull(pulse.ailment(), "there is nothing to send");
            broadcaster.send(NanoStreamWs.Opcode.TEXT, message);
            for (int look = 0; look < 3; look++) { // at the first it may just have come
                pulse.look();
                assertNull(pulse.ailment(), "after look " + look);
            }
            pulse.look();
            assertEquals(STANDS, pulse.ailment(), "it has stood for more than 2 s");
            for (int look = 0; look < 4; look++) {
                broadcaster.send(NanoStreamWs.Opcode.TEXT, message);
                lane.swept++; // as if its walker had got on a bit
                pulse.look();
                assertNull(pulse.ailment(), "it is behind, but it moves");
            }
            held.letGo();
            TestServer.await("it has swept", () -> lane.swept == broadcaster.plain.end());
            pulse.look();
            assertNull(pulse.ailment());
        }
    }

    @Nested
    @DisplayName("/metrics")
    class Format {
        @Test
        @DisplayName("is text in the format 0.0.4, in ASCII, for whoever asks now, and the connection ends")
        void isInTheFormat() throws Exception {
            try (TestServer server = new TestServer()) {
                String answer = get(server.feedPort(), "/metrics"), body = RawClient.body(answer);
                assertEquals("HTTP/1.1 200 OK", answer.lines().findFirst().orElseThrow());
                assertEquals("text/plain; version=0.0.4; charset=utf-8", RawClient.field(answer, "Content-Type"));
                assertEquals("close", RawClient.field(answer, "Connection"));
                assertEquals("no-store", RawClient.field(answer, "Cache-Control"));
                assertEquals("nosniff", RawClient.field(answer, "X-Content-Type-Options"));
                assertEquals(body.length(), Integer.parseInt(RawClient.field(answer, "Content-Length")));
                assertTrue(body.chars().allMatch(c -> c == '\n' || c >= ' ' && c < 0x7F), "ASCII");
                for (String name : new Exposition(body).families.keySet())
                    assertTrue(name.matches("(nanostream|process)_[a-z_]+"), name);
            }
        }

        @Test
        @DisplayName("HEAD gets its head, however many characters the figures have by then")
        void answersHead() throws Exception {
            try (TestServer server = new TestServer()) {
                String head = RawClient.lastAnswer(server.feedPort(), "HEAD /metrics" + HOST + END);
                assertEquals(200, RawClient.status(head));
                assertEquals("", RawClient.body(head));
                assertTrue(Integer.parseInt(RawClient.field(head, "Content-Length")) > 1000, head);
            }
        }

        @ParameterizedTest
        @ValueSource(strings = {"Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"})
        @DisplayName("may be asked for by a browser, which is told nothing that lets a page of another site read it")
        void answersABrowser(String field) throws Exception {
            try (TestServer server = new TestServer()) {
                String request = "GET /metrics" + HOST + field + "\r\n\r\n";
                String answer = RawClient.lastAnswer(server.feedPort(), request);
                assertEquals(200, RawClient.status(answer));
                assertFalse(answer.toLowerCase().contains("access-control-"), answer);
            }
        }

        @ParameterizedTest
        @CsvSource(textBlock = """
            POST,    /metrics,  404
            PUT,     /metrics,  404
            OPTIONS, /metrics,  404
            GET,     /metrics/, 404
            GET,     /secret,   405
            """)
        @DisplayName("and /healthz are all that can be asked for without the secret path of a feed")
        void needsNoSecretPath(String method, String path, int status) throws Exception {
            try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/secret")) {
                String answer = RawClient.lastAnswer(server.feedPort(),
                    method + ' ' + path + HOST + "Content-Length: 1\r\n\r\nx");
                assertEquals(status, RawClient.status(answer));
                String metrics = get(server.feedPort(), "/metrics");
                assertEquals(200, RawClient.status(metrics));
                assertFalse(metrics.contains("secret"), metrics);
            }
        }

        @Test
        void isNotOnTheListenersPort() throws Exception {
            try (TestServer server = new TestServer()) {
                assertEquals(404, RawClient.status(get(server.port(), "/metrics")));
                assertEquals(1, scrape(server).get(reason(REFUSED, "not_found")));
            }
        }

        @Test
        @DisplayName("takes no lock that a publisher needs")
        void takesNoLock() throws Exception {
            try (TestServer server = new TestServer(); RawClient listener = RawClient.admitted(server.port(), "/")) {
                server.server.broadcaster.appending.lock();
                try {
                    assertEquals(1, scrape(server).get("nanostream_listeners"));
                } finally {
                    server.server.broadcaster.appending.unlock();
                }
            }
        }

        @Test
        @DisplayName("escapes the value of a label, in which there is nothing but ASCII")
        void escapesLabels() {
            String text = NanoStreamWs.Metrics.samples("x{y=", Map.of("a\"b\\c\nd\u00e9 $1~", 7));
            assertEquals("x{y=\"a\\\"b\\\\c?d? $1~\"} 7", text);
        }

        @Test
        @DisplayName("has what other parts add")
        void hasWhatPartsAdd() throws Exception {
            try (TestServer server = new TestServer()) {
                for (String name : List.of("one", "two"))
                    server.server.metrics.more.add(() -> "# HELP " + name + " Of a test.\n# TYPE " + name
                        + " gauge\n" + name + " 1e3\n");
                assertEquals(2000, scrape(server).get("one") + scrape(server).get("two"));
            }
        }

        @Test
        void countsNothingOfTheRehearsal() throws Exception {
            try (TestServer server = new TestServer()) {
                server.server.rehearse();
                Exposition after = scrape(server);
                for (String name : after.families.keySet())
                    if (name.startsWith("nanostream_") && name.endsWith("_total"))
                        assertEquals(name.contains("warnings") ? 1 : 0, after.sum(name), name);
                assertEquals(0, after.get(WAIT + "_count"));
                assertEquals(0, after.get("nanostream_used_tokens"));
                NanoStreamWs.NanoBlocks blocks = server.server.blocks;
                assertEquals(0, Arrays.stream(blocks.rate.counts).sum(), "nor do tps and tpm");
            }
        }
    }

    @Nested
    @DisplayName("The figure of")
    class Figure {
        @Test
        void listeners() throws Exception {
            try (TestServer server = new TestServer("--max-listeners=3")) {
                Exposition before = scrape(server);
                assertEquals(0, before.get("nanostream_listeners"));
                assertEquals(3, before.get("nanostream_listeners_max"));
                try (RawClient one = RawClient.admitted(server.port(), "/");
                     RawClient two = RawClient.admitted(server.port(), "/");
                     RawClient three = RawClient.admitted(server.port(), "/")) {
                    server.awaitListeners(3);
                    await(server, ADMITTED, 3);
                    three.send(RawClient.frame(0x88, RawClient.closing(1000)));
                    assertEquals(1000, three.frame().code());
                    three.socket.close();
                    await(server, "nanostream_listeners_left_total", 1);
                    Exposition after = scrape(server);
                    assertEquals(2, after.get("nanostream_listeners"));
                    assertEquals(3, after.get(ADMITTED));
                    assertEquals(0, after.sum(DROPPED));
                }
            }
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            no_token                 | GET / HTTP/1.1;HANDSHAKE
            token_invalid            | GET /?t=x HTTP/1.1;HANDSHAKE
            token_used               | GET /?t=USED HTTP/1.1;HANDSHAKE
            token_expired            | GET /?t=EXPIRED HTTP/1.1;HANDSHAKE
            token_without_expiration | GET /?t=ENDLESS HTTP/1.1;HANDSHAKE
            full                     | GET /?t=FRESH HTTP/1.1;HANDSHAKE
            origin                   | GET / HTTP/1.1;HANDSHAKE;Origin: https://b
            websocket_version        | GET / HTTP/1.1;Connection: Upgrade;Upgrade: websocket
            malformed                | GET
            not_found                | GET /x HTTP/1.1
            method                   | POST / HTTP/1.1
            head_too_large           | GET / HTTP/1.1;MANY
            http_version             | GET / HTTP/2.0
            """)
        @DisplayName("requests that were refused, by reason")
        void refusals(String reason, String request) throws Exception {
            String secret = "--secret=" + TestServer.SECRET;
            try (TestServer server = new TestServer(secret, "--origin=https://a", "--max-listeners=1")) {
                String used = TestToken.fresh(server), origin = "Origin: https://a";
                try (RawClient inside = RawClient.admitted(server.port(), "/?t=" + used, origin)) {
                    server.awaitListeners(1);
                    if (!reason.equals("full")) {
                        inside.socket.close();
                        server.awaitListeners(0);
                        TestServer.await("its place", () -> server.server.door.places().get() == 0);
                    }
                    String handshake = RawClient.handshake("/").split("\r\n", 3)[2].strip();
                    if (!request.contains("Origin"))
                        handshake += "\r\n" + origin;
                    String sent = request.replace("USED", used).replace("FRESH", TestToken.fresh(server))
                        .replace("EXPIRED", TestToken.expiring(server.now.minusSeconds(9)))
                        .replace("ENDLESS", TestToken.of("{}"))
                        .replace("MANY", "x:\r\n".repeat(101).strip())
                        .replace("HANDSHAKE", handshake).replace(";", "\r\n")
                        .replaceFirst("\r\n|$", "\r\nHost: h\r\n").strip();
                    Exposition before = metrics(server);
                    assertTrue(RawClient.status(RawClient.lastAnswer(server.port(), sent + "\r\n\r\n")) >= 400);
                    assertEquals(Map.of(reason, 1), risen(before, metrics(server), REFUSED));
                    assertEquals(Map.of(), risen(before, metrics(server), FEED_EVENTS));
                    assertEquals(1, metrics(server).get(ADMITTED));
                }
            }
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            bad_message       | POST /p HTTP/1.1;Content-Length: 0
            browser           | POST /p HTTP/1.1;Content-Length: 0;Origin: https://a
            feed_path         | POST / HTTP/1.1;Content-Length: 0
            feed_method       | GET /p HTTP/1.1
            length_required   | POST /p HTTP/1.1
            message_too_large | POST /p HTTP/1.1;Content-Length: 9999999
            expectation       | POST /p HTTP/1.1;Content-Length: 0;Expect: x
            transfer_encoding | POST /p HTTP/1.1;Transfer-Encoding: chunked
            malformed         | POST /p HTTP/1.1;Content-Length: x
            """)
        @DisplayName("what the feed refused, by reason")
        void feedRefusals(String reason, String request) throws Exception {
            try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/p")) {
                Exposition before = metrics(server);
                String sent = request.replace(";", "\r\n") + "\r\nHost: h\r\nConnection: close\r\n\r\n";
                assertTrue(RawClient.status(RawClient.lastAnswer(server.feedPort(), sent)) >= 400);
                assertEquals(Map.of(reason, 1), risen(before, metrics(server), FEED_EVENTS));
                assertEquals(Map.of(), risen(before, metrics(server), REFUSED));
                assertEquals(0, metrics(server).get(WAIT + "_count"));
                assertEquals(0, metrics(server).sum("nanostream_feed_messages_total"));
            }
        }

        /** How a listener can be dropped. */
        private void assertDropped(String reason, Consumer<TestServer> how, byte... sent) throws Exception {
            try (TestServer server = new TestServer("--ping=0", "--max-lag=2097152");
                 RawClient client = RawClient.admitted(server.port(), "/")) {
                server.awaitListeners(1);
                Exposition before = metrics(server);
                client.send(sent);
                if (sent.length > 0) { // else it lingers
                    assertTrue(client.frame().isClose());
                    client.socket.close();
                }
                how.accept(server);
                await(server, reason(DROPPED, reason), 1);
                assertEquals(Map.of(reason, 1), risen(before, metrics(server), DROPPED));
                assertEquals(0, metrics(server).get("nanostream_listeners_left_total"));
            }
        }

        @Test
        @DisplayName("listeners that were dropped, by reason")
        void drops() throws Exception {
            assertDropped("protocol_1002", server -> { }, RawClient.frame(0x83, ""));
            assertDropped("protocol_1007", server -> { }, RawClient.frame(0x81, RawClient.bytes(0xFF)));
            assertDropped("protocol_1009", server -> { }, RawClient.bytes(0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1));
            assertDropped("silent", server -> {
                NanoStreamWs.Listener listener = server.server.broadcaster.listeners().getFirst();
                for (int ping = 0; ping < 3; ping++) {
                    TestServer.await("it has caught up", () -> listener.lag() <= 0);
                    server.server.broadcaster.heartbeat();
                }
            });
            assertDropped("max_lag", server -> {
                byte[] large = new byte[1_000_000];
                Arrays.fill(large, (byte) 'x');
                for (int i = 0; i < 200 && server.server.broadcaster.size() > 0; i++)
                    assertDoesNotThrow(() -> server.post(large));
            });
        }

        @Test
        @DisplayName("messages and their bytes, by feed, without its path, and when the last was taken")
        void messages() throws Exception {
            String last = "nanostream_feed_last_message_timestamp_seconds{feed=\"%s\"}";
            try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/", "--feed=http://localhost:0/p")) {
                String name = "127.0.0.1:" + server.feedPort();
                NanoStreamWs.PostFeed second = (NanoStreamWs.PostFeed) server.server.feeds.get(1);
                String other = "localhost:" + second.acceptor().server.getLocalPort();
                double started = server.now.toEpochMilli() / 1e3;
                assertEquals(started, scrape(server).get(last.formatted(name)), 0.0001, "none yet: the start");
                server.now = server.now.plusSeconds(60);
                assertEquals(200, server.post("hello"));
                assertEquals(200, server.post("\u00e9"));
                assertEquals(400, server.post(""));
                Exposition after = scrape(server);
                assertEquals(Map.of("nanostream_feed_messages_total{feed=\"" + name + "\"}", 2.0,
                    "nanostream_feed_messages_total{feed=\"" + other + "\"}", 0.0),
                    after.samples("nanostream_feed_messages_total"));
                assertEquals(Map.of("nanostream_feed_bytes_total{feed=\"" + name + "\"}", 7.0,
                    "nanostream_feed_bytes_total{feed=\"" + other + "\"}", 0.0),
                    after.samples("nanostream_feed_bytes_total"));
                assertEquals(started + 60, after.get(last.formatted(name)), 0.0001);
                assertEquals(started, after.get(last.formatted(other)), 0.0001);
                assertEquals(2, after.get(WAIT + "_count"));
                assertEquals(2, after.sum("nanostream_feed_up"), "a feed that waits for others is always up");
                assertEquals(0, after.sum("nanostream_feed_connections_total"));
                assertEquals(0, after.sum("nanostream_feed_missed_seconds_total"));
            }
        }

        @Test
        @DisplayName("lines of standard input, whose feed is -, and its end")
        void lines() throws Exception {
            InputStream before = System.in;
            System.setIn(new ByteArrayInputStream("one\ntwo\n\u00ff".getBytes(UTF_8)));
            try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/", "--feed=-")) {
                await(server, "nanostream_feed_up{feed=\"-\"}", 0);
                assertEquals(1, metrics(server).get(reason(FEED_EVENTS, "ended")));
                assertEquals("ok", RawClient.body(get(server.port(), "/healthz")), "there is another feed");
                assertEquals(3, metrics(server).get("nanostream_feed_messages_total{feed=\"-\"}"));
                assertEquals(8, metrics(server).get("nanostream_feed_bytes_total{feed=\"-\"}"));
                assertEquals(0, metrics(server).get(WAIT + "_count"), "nobody waits for an answer");
            } finally {
                System.setIn(before);
            }
        }

        @Test
        @DisplayName("a standard input that fails")
        void failure() throws Exception {
            InputStream before = System.in;
            System.setIn(new InputStream() {
                @Override
                public int read() throws IOException {
                    throw new IOException("of a test");
                }
            });
            try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/", "--feed=-")) {
                await(server, reason(FEED_EVENTS, "failed"), 1);
            } finally {
                System.setIn(before);
            }
        }

        @Test
        @DisplayName("what listeners were sent, by log")
        void deliveries() throws Exception {
            String deflate = "Sec-WebSocket-Extensions: permessage-deflate";
            try (TestServer server = new TestServer("--ping=0"); RawClient one = RawClient.admitted(server.port(), "/");
                 RawClient two = RawClient.admitted(server.port(), "/");
                 RawClient three = RawClient.admitted(server.port(), "/", deflate)) {
                server.awaitListeners(3);
                int compressed = 0;
                for (String message : List.of("one", "three", "seventeen")) {
                    server.post(message);
                    assertEquals(message, one.text());
                    assertEquals(message, two.text());
                    compressed += 2 + three.frame().payload().length;
                }
                await(server, "nanostream_sent_messages_total{log=\"plain\"}", 6);
                await(server, "nanostream_sent_messages_total{log=\"compressed\"}", 3);
                Exposition after = scrape(server);
                assertEquals(2 * (3 + 5 + 9 + 3 * 2), after.get("nanostream_sent_bytes_total{log=\"plain\"}"));
                assertEquals(compressed, after.get("nanostream_sent_bytes_total{log=\"compressed\"}"));
            }
        }

        @Test
        void usedTokens() throws Exception {
            try (TestServer server = new TestServer("--secret=" + TestServer.SECRET)) {
                for (int i = 0; i < 3; i++)
                    RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server)).close();
                assertEquals(401, GuardedServer.knock(server, "/?t=x"));
                assertEquals(3, scrape(server).get("nanostream_used_tokens"));
                assertEquals(NanoStreamWs.Limits.MAX_USED_TOKENS, scrape(server).get("nanostream_used_tokens_max"));
                server.now = server.now.plusSeconds(61);
                server.server.usedTokens.sweep();
                assertEquals(0, scrape(server).get("nanostream_used_tokens"));
            }
        }

        @Test
        @DisplayName("how long a POST waited: as many as were taken, each in its bucket and in all above it")
        void waits() throws Exception {
            try (TestServer server = new TestServer()) {
                NanoStreamWs.Waits waits = server.server.metrics.waits;
                List<String> bounds = List.of("0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
                    "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf");
                double sum = 0;
                for (int i = 0; i < bounds.size(); i++) {
                    long nanos = i == 16 ? 10_000_000_001L : Math.round(Double.parseDouble(bounds.get(i)) * 1e9);
                    waits.accept(nanos); // a bound is in its own bucket
                    sum += nanos / 1e9;
                    Exposition now = metrics(server);
                    for (int j = 0; j < bounds.size(); j++)
                        assertEquals(Math.min(i, j) + 1, now.get(WAIT + "_bucket{le=\"" + bounds.get(j) + "\"}"),
                            bounds.get(i) + " in " + bounds.get(j));
                    assertEquals(i + 1, now.get(WAIT + "_count"));
                    assertEquals(sum, now.get(WAIT + "_sum"), 1e-9);
                }
                assertEquals(bounds.size() + 2, metrics(server).samples(WAIT).size());
                long before = System.nanoTime();
                assertEquals(200, server.post("x"));
                double took = (System.nanoTime() - before) / 1e9;
                assertEquals(18, metrics(server).get(WAIT + "_count"));
                double waited = metrics(server).get(WAIT + "_sum") - sum;
                assertTrue(waited > 0 && waited <= took, waited + " of " + took + " s");
            }
        }

        @Test
        @DisplayName("events is that of the log's lines, and both are there from the start")
        void events() throws Exception {
            Map<String, List<String>> families = Map.of("admitted", List.of(ADMITTED),
                "left", List.of("nanostream_listeners_left_total"), "dropped", List.of(DROPPED),
                "refused", List.of(REFUSED), "feed", List.of(FEED_EVENTS), "fault", List.of("nanostream_faults_total"),
                "warning", List.of("nanostream_warnings_total"), "full", List.of("nanostream_closed_for_room_total"));
            try (TestServer server = new TestServer()) {
                Exposition first = scrape(server);
                families.values().forEach(names -> names.forEach(name -> assertFalse(first.samples(name).isEmpty())));
                for (int i = 0; i < 3; i++)
                    RawClient.admitted(server.port(), "/").close();
                try (RawClient wrong = RawClient.admitted(server.port(), "/");
                     RawClient polite = RawClient.admitted(server.port(), "/");
                     RawClient idle = new RawClient(server.port())) {
                    wrong.send(RawClient.frame(0x83, ""));
                    assertEquals(1002, wrong.frame().code());
                    polite.send(RawClient.frame(0x88, ""));
                    polite.frame();
                    get(server.port(), "/nothing");
                    get(server.feedPort(), "/");
                    server.post("");
                    TestServer.await("the idle one", () -> server.server.door.acceptor().unproven.size() > 0);
                    server.server.door.acceptor().endOldest(0);
                    server.server.events.fault(new IllegalStateException("of a test"));
                    server.server.events.add(NanoStreamWs.Event.WARNING, "of_a_test", "with a reason");
                }
                server.awaitListeners(0);
                TestServer.await("all have left", () -> server.server.door.places().get() == 0);
                Exposition after = metrics(server);
                server.close();
                families.forEach((word, names) -> {
                    long lines = server.log().lines().filter(line -> line.split(" ")[1].equals(word)).count();
                    assertTrue(lines > 0, word);
                    assertEquals(lines, names.stream().mapToDouble(after::sum).sum(), word + "\n" + server.log());
                });
            }
        }

        @Test
        @DisplayName("every reason is there before it is needed")
        void reasons() throws Exception {
            String source = Files.readString(Path.of("NanoStreamWs.java"));
            TreeSet<String> drops = new TreeSet<>(), codes = new TreeSet<>(), feed = new TreeSet<>();
            Pattern.compile("drop\\(\"(\\w+)\"").matcher(source).results().forEach(drop -> drops.add(drop.group(1)));
            Pattern.compile("new ProtocolException\\(CloseCode.(\\w+)").matcher(source).results()
                .forEach(code -> codes.add(code.group(1)));
            Pattern.compile("Event.FEED, \"(\\w+)\"").matcher(source).results().forEach(end -> feed.add(end.group(1)));
            for (String code : codes)
                drops.add("protocol_" + NanoStreamWs.CloseCode.class.getDeclaredField(code).getInt(null));
            assertTrue(drops.size() > 8 && feed.size() > 1, drops + " " + feed);
            TreeSet<String> rejections = new TreeSet<>();
            for (NanoStreamWs.Rejection why : NanoStreamWs.Rejection.values())
                rejections.add(why.reason());
            feed.addAll(rejections);
            try (TestServer server = new TestServer()) {
                Exposition first = scrape(server);
                assertEquals(drops, labels(first, DROPPED));
                assertEquals(rejections, labels(first, REFUSED));
                assertEquals(feed, labels(first, FEED_EVENTS));
                assertEquals(0, first.sum(DROPPED) + first.sum(REFUSED) + first.sum(FEED_EVENTS));
            }
        }

        private static TreeSet<String> labels(Exposition metrics, String family) {
            TreeSet<String> labels = new TreeSet<>();
            metrics.samples(family).keySet().forEach(sample -> labels.add(sample.replaceAll(".*\"(.*)\".*", "$1")));
            return labels;
        }

        @Test
        @DisplayName("what never goes down does not, while everything goes on")
        void countersNeverGoDown() throws Exception {
            try (TestServer server = new TestServer(); RawClient publisher = new RawClient(server.feedPort());
                 RawClient listener = RawClient.admitted(server.port(), "/")) {
                Thread reading = Thread.ofVirtual().start(() -> {
                    while (!listener.isGone());
                });
                Exposition before = scrape(server);
                for (int i = 0; i < 30; i++) {
                    for (int j = 0; j < 10; j++)
                        publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
                    Exposition after = scrape(server); // while they are taken
                    Exposition last = before;
                    after.families.forEach((name, family) -> {
                        if (!family.type().equals("gauge"))
                            family.samples().forEach((sample, value) ->
                                assertTrue(value >= last.get(sample), sample));
                    });
                    before = after;
                    for (int j = 0; j < 10; j++)
                        assertEquals(200, RawClient.status(publisher.answer()));
                }
                assertEquals(300, metrics(server).sum("nanostream_feed_messages_total"));
                listener.socket.close();
                reading.join();
            }
        }

        @Test
        @DisplayName("the heap is that of this virtual machine")
        void heap() throws Exception {
            try (TestServer server = new TestServer()) {
                Exposition now = scrape(server);
                double used = now.get("nanostream_heap_used_bytes");
                double committed = now.get("nanostream_heap_committed_bytes");
                double most = now.get("nanostream_heap_max_bytes");
                assertTrue(used > 1_000_000 && used <= committed && committed <= most, now.families.toString());
                assertEquals(Runtime.getRuntime().maxMemory(), most);
            }
        }

        private static final String STAT = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 1234 5678 0 0 20 0 9 0 99 8888 77 1";
        private static final String STATUS =
            "Name:\tx\nVmPeak:\t 9 kB\nVmSize:\t   8 kB\nVmRSS:\t\t7 kB\nRssAnon:\t6 kB\n";

        @Test
        @DisplayName("the process is what /proc says")
        void process(@TempDir Path self) throws Exception {
            try (TestServer server = new TestServer()) {
                Files.writeString(self.resolve("stat"), STAT);
                Files.writeString(self.resolve("status"), STATUS);
                Files.createDirectory(self.resolve("fd"));
                Exposition now = new Exposition(server.server.metrics.process(self));
                assertEquals(69.12, now.get("process_cpu_seconds_total"));
                assertEquals(8192, now.get("process_virtual_memory_bytes"));
                assertEquals(7168, now.get("process_resident_memory_bytes"));
                assertEquals(Files.size(self.resolve("fd")), now.get("process_open_fds"), "as if it were /proc");
                assertEquals(NanoStreamWs.Limits.DESCRIPTORS, now.get("process_max_fds"));
                assertEquals(server.now.toEpochMilli() / 1e3, now.get("process_start_time_seconds"), 0.0001);
            }
        }

        @Test
        @DisplayName("the process is what the system says, without a /proc or with another sort of it")
        void processWithoutProc(@TempDir Path self) throws Exception {
            try (TestServer server = new TestServer()) {
                Exposition none = new Exposition(server.server.metrics.process(self));
                assertEquals(List.of("process_start_time_seconds", "process_max_fds", "process_cpu_seconds_total"),
                    List.copyOf(none.families.keySet()));
                double cpu = ProcessHandle.current().info().totalCpuDuration().orElseThrow().toMillis() / 1e3;
                double told = none.get("process_cpu_seconds_total");
                assertTrue(told > cpu / 2 && told <= cpu, told + " s of " + cpu);
                Files.writeString(self.resolve("stat"), STAT);
                Files.writeString(self.resolve("status"), "Name:\tx\n");
                Exposition other = new Exposition(server.server.metrics.process(self));
                assertEquals(List.of("process_start_time_seconds", "process_max_fds"),
                    List.copyOf(other.families.keySet()));
            }
        }

        @Test
        @DisplayName("open descriptors are counted where the kernel does not say how many there are")
        void descriptors(@TempDir Path folder) throws Exception {
            Path sized = folder.resolve("sized");
            Files.write(sized, new byte[17]);
            assertEquals(17, NanoStreamWs.Metrics.entries(sized));
            Path unsized = Path.of("/sys/kernel"); // what is made up when it is read has no size
            assumeTrue(Files.exists(unsized) && Files.size(unsized) == 0);
            try (Stream<Path> entries = Files.list(unsized)) {
                assertEquals(entries.count(), NanoStreamWs.Metrics.entries(unsized));
            }
        }

        @Test
        @DisplayName("this process, where there is a /proc")
        void thisProcess() throws Exception {
            assumeTrue(Files.exists(Path.of("/proc/self/stat")));
            try (TestServer server = new TestServer()) {
                Exposition before = scrape(server);
                List<ServerSocket> more = new ArrayList<>();
                for (int i = 0; i < 5; i++)
                    more.add(new ServerSocket(0));
                long open = Path.of("/proc/self/fd").toFile().list().length;
                double counted = scrape(server).get("process_open_fds");
                assertEquals(open, counted, 5, "and the scrape's own");
                for (ServerSocket socket : more)
                    socket.close();
                double cpu = ProcessHandle.current().info().totalCpuDuration().orElseThrow().toMillis() / 1e3;
                assertEquals(cpu, before.get("process_cpu_seconds_total"), 1);
                double resident = before.get("process_resident_memory_bytes");
                assertTrue(resident > 10e6 && resident < before.get("process_virtual_memory_bytes"));
            }
        }
    }

    @Nested
    @DisplayName("The reader of this test takes no text that")
    class Reader {
        @ParameterizedTest
        @ValueSource(strings = {"", "a 1\n", "# HELP a b\n# TYPE a gauge\n", "# HELP a b\n# TYPE a gauge\na 1",
            "# TYPE a gauge\na 1\n", "# HELP a b\na 1\n", "# HELP a b\n# TYPE b gauge\na 1\n",
            "# HELP a b\n# TYPE a gauge\na 1\na 2\n", "# HELP a b\n# TYPE a gauge\nb 1\n",
            "# HELP a b\n# TYPE a gauge\na{b=c} 1\n", "# HELP a b\n# TYPE a gauge\na{b=\"\"\"} 1\n",
            "# HELP a b\n# TYPE a gauge\na{b=\"\\x\"} 1\n", "# HELP a b\n# TYPE a gauge\na x\n",
            "# HELP a b\n# TYPE a gauge\n\na 1\n", "# HELP a b\n# TYPE a counter\na 1\n",
            "# HELP a_total b\n# TYPE a_total gauge\na_total 1\n",
            "# HELP a_total b\n# TYPE a_total counter\na_total -1\n",
            "# HELP a b\n# TYPE a gauge\na 1\n# HELP a b\n# TYPE a gauge\na 1\n",
            "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
            "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
            "# HELP a b\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
            "# HELP a b\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\n"})
        @DisplayName("is not in the format")
        void refuses(String text) {
            assertThrows(IllegalArgumentException.class, () -> new Exposition(text));
        }
    }
}
