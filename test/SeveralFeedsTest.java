import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("Several feeds at once, each with its state")
class SeveralFeedsTest {
    private FakeNode node, other;

    @BeforeEach
    void start() throws Exception {
        node = new FakeNode();
        other = new FakeNode();
    }

    @AfterEach
    void stop() throws Exception {
        node.close();
        other.close();
    }

    private static String name(FakeNode node) {
        return "ws://127.0.0.1:" + node.port();
    }

    private static String get(int port, String path) throws IOException {
        return RawClient.lastAnswer(port, "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
    }

    /** Waits for an answer of /healthz: its status, and the body. */
    private static void awaitHealth(int port, int status, String body) {
        String expected = status + " " + body;
        StringBuilder last = new StringBuilder();
        try {
            TestServer.await("/healthz", () -> {
                try {
                    String answer = get(port, "/healthz");
                    last.replace(0, last.length(), RawClient.status(answer) + " " + RawClient.body(answer));
                    return last.toString().equals(expected);
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
        } catch (AssertionError e) {
            assertEquals(expected, last.toString());
        }
    }

    private static Exposition metrics(TestServer server) throws IOException {
        return Exposition.of(server.feedPort());
    }

    @Test
    @DisplayName("POSTs and two nodes: listeners get all; /healthz and the figures tell which is up")
    void tellsWhichIsUp() throws Exception {
        try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/", "--feed=" + name(node)
                + "/p?accounts=nano_1a,nano_3b&t=hidden", "--feed=" + name(other) + "/hidden");
             RawClient listener = RawClient.admitted(server.port(), "/");
             FakeNode.Session one = node.subscribed()) {
            assertTrue(one.head.startsWith("GET /p?t=hidden HTTP/1.1\r\n"), one.head);
            assertTrue(one.greeting.contains("\"accounts\":[\"nano_1a\",\"nano_3b\"]"), one.greeting);
            try (FakeNode.Session two = other.accept()) {
                assertFalse(two.greeting.contains("accounts"), two.greeting);
                awaitHealth(server.port(), 200, "ok; " + name(node) + " has been connected for 0 s; " + name(other)
                    + " has been connected for 0 s");
                two.send("text");
                assertEquals("text", listener.text());
                one.send("{\"topic\":\"confirmation\",\"message\":{\"hash\":\"A\",\"block\":{\"type\":\"state\"}}}");
                String flat = listener.text();
                assertTrue(flat.startsWith("{\"hash\":\"A\",\"type\":\"state\",\"is_send\":false,\"seen\":"), flat);
                assertEquals(200, server.post("{\"hash\":\"A\",\"block\":{\"type\":\"state\"}}"));
                assertEquals(flat.replaceFirst(",\"seen.*", ""), listener.text().replaceFirst(",\"seen.*", ""));
                two.send(0x88, RawClient.closing(1000));
                server.awaitLog(name(other) + " is lost: the server closed it with 1000 \"\"");
            }
            server.now = server.now.plusMillis(61_500);
            awaitHealth(server.feedPort(), 200, "ok; " + name(node) + " has been connected for 61 s; " + name(other)
                + " has not been connected for 61 s");
            Exposition figures = metrics(server);
            String posts = "127.0.0.1:" + server.feedPort();
            for (String feed : List.of(posts, name(node), name(other))) {
                assertEquals(1, figures.get("nanostream_feed_messages_total{feed=\"" + feed + "\"}"), feed);
                assertEquals(feed.equals(name(other)) ? 0 : 1, figures.get("nanostream_feed_up{feed=\"" + feed + "\"}"));
                assertEquals(feed.equals(posts) ? 0 : 1,
                    figures.get("nanostream_feed_connections_total{feed=\"" + feed + "\"}"));
                assertEquals(feed.equals(name(other)) ? 61.5 : 0,
                    figures.get("nanostream_feed_missed_seconds_total{feed=\"" + feed + "\"}"), 0.001);
            }
            assertEquals(2, figures.get("nanostream_feed_events_total{reason=\"connected\"}"));
            assertEquals(1, figures.get("nanostream_feed_events_total{reason=\"lost\"}"));
            assertEquals(0, figures.get("nanostream_feed_events_total{reason=\"unreachable\"}"));
            assertEquals(1, figures.get("nanostream_healthy"));
            assertFalse(server.log().contains("hidden"), server.log());
        }
    }

    @Test
    @DisplayName("where there are none but servers, and none is up, /healthz is 503")
    void isNotWellWithoutAFeed() throws Exception {
        String[] feeds = Stream.of(node, other).map(each -> "--feed=" + name(each)).toArray(String[]::new);
        try (TestServer server = new TestServer(feeds)) {
            String none = "no feed is up; " + name(node) + " has not been connected for 0 s; " + name(other)
                + " has not been connected for 0 s";
            awaitHealth(server.port(), 503, none);
            try (FakeNode.Session session = other.accept()) {
                awaitHealth(server.port(), 200, "ok;" + none.substring(none.indexOf(';') + 1)
                    .replace(name(other) + " has not", name(other) + " has"));
                session.send(0x88);
                awaitHealth(server.port(), 503, none);
            }
            assertEquals(404, RawClient.status(get(server.port(), "/metrics")));
        }
    }

    @Test
    @DisplayName("two of one host and port are told apart by a number")
    void tellsTwoOfOneServerApart() throws Exception {
        try (TestServer server = new TestServer("--feed=http://127.0.0.1:0/", "--feed=" + name(node) + "/a",
                "--feed=" + name(node) + "/b");
             FakeNode.Session one = node.accept();
             FakeNode.Session two = node.accept()) {
            FakeNode.Session second = one.head.startsWith("GET /b ") ? one : two;
            second.send("text");
            String sample = "nanostream_feed_messages_total{feed=\"%s\"}";
            TestServer.await("it is counted", () -> {
                try {
                    return metrics(server).get(sample.formatted(name(node) + " (3)")) == 1;
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
            assertEquals(0, metrics(server).get(sample.formatted(name(node))));
            awaitHealth(server.port(), 200, "ok; " + name(node) + " has been connected for 0 s; " + name(node)
                + " (3) has been connected for 0 s");
            server.awaitLog("feed connects to " + name(node) + " (3)");
        }
    }

    @Test
    @DisplayName("a server whose feed is another: texts byte for byte, and flat objects as they are")
    void takesWhatAnotherServerSends() throws Exception {
        try (TestServer first = new TestServer();
             TestServer second = new TestServer("--feed=ws://127.0.0.1:" + first.port() + "/");
             RawClient before = RawClient.admitted(first.port(), "/");
             RawClient behind = RawClient.admitted(second.port(), "/")) {
            first.awaitListeners(2);
            List<String> texts = List.of("text", "{\"ack\":\"subscribe\"}",
                "{\"amount\":\"1\",\"block\":\"{\\\"type\\\":\\\"state\\\"}\"}",
                " {\"a\":1.50} ", "κόσμε 😀 \u0000", "x".repeat(1 << 20));
            for (String text : texts) {
                assertEquals(200, first.post(text));
                byte[] sent = before.frame().payload();
                RawClient.Frame frame = behind.frame();
                assertTrue(frame.isText());
                assertArrayEquals(sent, frame.payload());
            }
            second.server.close();
            first.awaitLog(" with 1001, now 1"); // in order
        }
    }

    @Test
    @DisplayName("a shutdown tells the servers, and does not wait for their answer")
    void tellsTheServersOfAShutdown() throws Exception {
        try (FakeNode.Session session = connected()) {
            RawClient.Frame frame = session.frame();
            assertTrue(frame.isClose());
            assertEquals(1001, frame.code());
        }
    }

    /** A connection of a server that has been shut down, with a --drain in which the test would be too slow. */
    private FakeNode.Session connected() throws Exception {
        try (TestServer server = new TestServer("--feed=" + name(node), "--drain=600")) {
            FakeNode.Session session = node.subscribed();
            server.awaitLog("is connected");
            return session;
        }
    }
}
