import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.ConnectException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.channels.UnresolvedAddressException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import javax.net.ssl.SSLHandshakeException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Feed: a WebSocket")
class WebSocketFeedTest {
    private static final int MOST = NanoStreamWs.Limits.MAX_MESSAGE;
    private static final Duration LONG = Duration.ofMinutes(1), SHORT = Duration.ofMillis(50);
    private static final String ACKNOWLEDGEMENT = "{\"ack\":\"subscribe\",\"time\":\"1564935350664\"}";
    /** A confirmation as a node writes it, with slashes escaped, and an amount that no double can hold. */
    private static final String CONFIRMATION = """
        {
            "topic": "confirmation",
            "time": "1564935350664",
            "message": {
                "account": "nano_1",
                "amount": "15621963968634827029081574961",
                "hash": "0E",
                "confirmation_type": "active_quorum",
                "block": {
                    "type": "state",
                    "work": "c9\\/50",
                    "subtype": "send"
                }
            }
        }
        """;
    private static final String FLAT = "{\"account\":\"nano_1\",\"hash\":\"0E\",\"amount\":0.015621963968634,"
        + "\"amount_raw\":15621963968634827029081574961,\"is_send\":true,\"subtype\":\"send\",\"type\":\"state\","
        + "\"work\":\"c9/50\",";

    private final ByteArrayOutputStream log = new ByteArrayOutputStream();
    private final BlockingQueue<String> broadcast = new LinkedBlockingQueue<>();
    private volatile Instant now = Instant.now();
    private volatile InstantSource clock = () -> now;
    private NanoStreamWs.EventLog events;
    private FakeNode node;
    private NanoStreamWs.WebSocketFeed feed; // of one test; started by it

    @BeforeEach
    void start() throws Exception {
        events = new NanoStreamWs.EventLog(new PrintStream(log, true, UTF_8), () -> now);
        node = new FakeNode();
    }

    @AfterEach
    void stop() throws Exception {
        if (feed != null) {
            feed.drain();
            feed.close();
            TestServer.await("its thread is over", feed::drain);
            TestServer.await("nor is the JDK's left", feed.client::isTerminated);
        }
        node.close();
        events.close();
        assertFalse(log().contains("hidden"), log()); // the path and the query of each feed here
        assertFalse(log().contains(" fault "), log());
    }

    private String log() {
        return log.toString(UTF_8);
    }

    private void awaitLog(String text) {
        try {
            TestServer.await("the log has " + text, () -> log().contains(text));
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + "; it has:\n" + log());
        }
    }

    private String name() {
        return "ws://127.0.0.1:" + node.port();
    }

    /** Starts a feed of the node, in whose seconds there are 20 to a real one. */
    private NanoStreamWs.WebSocketFeed feed(Duration ping) {
        return feed(ping, message -> broadcast.add(new String(message.at(1_250_000), UTF_8)));
    }

    private NanoStreamWs.WebSocketFeed feed(Duration ping, NanoStreamWs.Broadcast to) {
        NanoStreamWs.NanoNode nano = new NanoStreamWs.NanoNode(new NanoStreamWs.NanoBlocks(), List.of());
        NanoStreamWs.Publisher publisher = new NanoStreamWs.Publisher(to, nano, bytes -> { });
        NanoStreamWs.WebSocketFeed.Peer peer = new NanoStreamWs.WebSocketFeed.Peer(
            URI.create(name() + "/hidden?t=hidden"), nano::subscribe, nano::isAcknowledged);
        feed = new NanoStreamWs.WebSocketFeed(new NanoStreamWs.Intake(name(), publisher, events), peer, ping, SHORT,
            clock);
        feed.start();
        return feed;
    }

    private String next() throws InterruptedException {
        String text = broadcast.poll(20, TimeUnit.SECONDS);
        assertNotNull(text, () -> "nothing was broadcast; the log has:\n" + log());
        return text;
    }

    @Test
    @DisplayName("a Nano node's confirmations are broadcast as the flat object of the callback, and nothing else of it")
    void broadcastsConfirmations() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.accept()) {
            assertTrue(session.head.startsWith("GET /hidden?t=hidden HTTP/1.1\r\n"), session.head);
            assertEquals("{\"action\":\"subscribe\",\"topic\":\"confirmation\",\"ack\":true,"
                + "\"options\":{\"confirmation_type\":\"active\"}}", session.greeting);
            session.send(ACKNOWLEDGEMENT);
            session.send(CONFIRMATION);
            session.send("{\"ack\":\"pong\",\"time\":\"1\"}");
            session.sendInFragments(CONFIRMATION.replace("0E", "κόσμε"), 7);
            session.send("{\"topic\":\"new_topic\",\"message\":{\"block\":{}}}");
            session.send("garbage {");
            session.send(CONFIRMATION.replace("\"15621963968634827029081574961\"", "\"1.5\""));
            session.send(CONFIRMATION.replace("0E", "the last"));
            for (String hash : List.of("0E", "κόσμε", "the last"))
                assertTrue(next().startsWith(FLAT.replace("0E", hash)));
            assertTrue(broadcast.isEmpty());
            awaitLog(name() + " refused: Message cannot be broadcast: a Nano node sent it, but it is no JSON object");
            awaitLog(name() + " refused: Message cannot be broadcast: its block cannot be read: expected a number");
        }
    }

    @Test
    @DisplayName("of any other server each text is broadcast byte for byte, and the log says that it is none")
    void broadcastsTheTextsOfAnother() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.accept()) {
            List<String> texts = List.of("hello", " {\"a\" : 1.50e+2}", "{\"block\":\"{}\",\"amount\":\"1\"}", "garbage {",
                "κόσμε 😀 \u0000 \uffff", "x".repeat(70_000));
            for (String text : texts) {
                session.send(text);
                assertEquals(text, next());
                session.sendInFragments(text, text.length() / 3 + 1);
                assertEquals(text, next());
            }
            session.sendInFragments("κόσμε 😀", 1); // cut within characters
            assertEquals("κόσμε 😀", next());
            awaitLog(name() + " does not acknowledge a subscription as a Nano node does; its texts are broadcast as they are");
            session.send("later");
            assertEquals("later", next());
        }
    }

    @Test
    @DisplayName("an empty text is left out with a line in the log, and so are the binary messages of a connection")
    void leavesOutWhatIsNoText() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.accept()) {
            session.send("");
            for (int i = 0; i < 3; i++)
                session.send(0x82, new byte[100_000]);
            session.send("text");
            assertEquals("text", next());
            awaitLog(name() + " refused: Message cannot be broadcast: it is empty");
            awaitLog(name() + " sends binary messages; only texts go out");
            assertEquals(1, log().split("binary", -1).length - 1, log());
        }
    }

    @Test
    @DisplayName("a message of 1 MiB is taken; one byte more is refused with a line in the log, and the next is taken")
    void refusesAMessageThatIsTooLarge() throws Exception {
        feed(LONG);
        String longest = "€".repeat(MOST / 3) + "x"; // 3 bytes, 1 char each
        try (FakeNode.Session session = node.accept()) {
            for (String more : List.of("", "y", "y".repeat(2 * MOST))) {
                session.sendInFragments(longest + more, 300_000);
                session.send("next");
                if (more.isEmpty())
                    assertEquals(longest, next());
                assertEquals("next", next());
            }
            session.send("x".repeat(MOST));
            assertEquals(MOST, next().length());
            session.send("x".repeat(MOST + 1));
            session.send("the end");
            assertEquals("the end", next());
            String line = name() + " refused: Message is too large: the most is 1048576 bytes";
            TestServer.await("three lines", () -> log().split(line, -1).length == 4);
        }
    }

    @Test
    @DisplayName("while the lanes are behind, the server is not asked for more: it is held back, and is not silent")
    void holdsBackAServerThatIsFaster() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        Duration ping = Duration.ofMillis(200); // a busy machine may need some to go on, behind the pause
        feed(ping, message -> {
            broadcast.add(new String(message.at(0), UTF_8));
            try {
                return go.await(20, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        });
        try (FakeNode.Session session = node.accept()) {
            int size = 100_000, count = 400; // more than the buffers of both ends and the JDK hold
            CountDownLatch sent = new CountDownLatch(count);
            Thread.ofVirtual().start(() -> {
                try {
                    for (int i = 0; i < count; i++) {
                        session.send((char) ('a' + i % 26) + "x".repeat(size));
                        sent.countDown();
                    }
                } catch (IOException e) {
                    // the test fails
                }
            });
            TestServer.await("the first is being broadcast", () -> broadcast.size() == 1);
            TestServer.await("some pings have been sent meanwhile", () -> sent.getCount() < count
                && log().contains("does not acknowledge"));
            long left = sent.getCount();
            assertFalse(sent.await(3 * ping.toMillis(), TimeUnit.MILLISECONDS), "it is held back");
            assertTrue(left > count / 4, "what has gone into buffers is bounded: " + left);
            assertEquals(1, broadcast.size());
            assertTrue(feed.state().up(), "what is not read is not its silence");
            go.countDown();
            for (int i = 0; i < count; i++)
                assertEquals((char) ('a' + i % 26), next().charAt(0));
            assertFalse(log().contains("lost"), log());
        }
    }

    @Test
    @DisplayName("a ping of the server is answered, and keeps a connection on which nothing else comes")
    void answersPings() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.accept()) {
            session.send(0x89, "are you there".getBytes(UTF_8));
            RawClient.Frame pong = session.frame();
            assertEquals(0x8A, pong.firstByte());
            assertEquals("are you there", pong.text());
        }
    }

    @Test
    @DisplayName("a server that answers pings, and says nothing else, stays connected")
    void keepsAQuietServer() throws Exception {
        feed(Duration.ofMillis(200)); // a busy machine may need some for a pong
        try (FakeNode.Session session = node.subscribed()) {
            TestServer.await("four pings", () -> session.pings >= 4);
            session.send(CONFIRMATION);
            assertTrue(next().startsWith(FLAT));
            assertEquals(1, feed.state().connections());
        }
    }

    @Test
    @DisplayName("one that leaves two pings unanswered is dead, is lost since its last sign of life, and is tried again")
    void noticesASilentDeath() throws Exception {
        feed(SHORT);
        try (FakeNode.Session session = node.subscribed()) {
            session.answersPings = false;
            session.send(CONFIRMATION);
            next();
            TestServer.await("the first ping behind that text", () -> session.pings == 2);
            now = now.plusSeconds(60);
            awaitLog(name() + " is lost: it left two pings unanswered (--ping)");
            assertTrue(session.pings <= 3, "no more than that: " + session.pings);
            try (FakeNode.Session again = node.subscribed()) {
                again.send(CONFIRMATION);
                assertTrue(next().startsWith(FLAT));
                awaitLog(name() + " is connected; 60 s were missed");
                assertEquals(60_000, feed.state().missed());
                assertEquals(2, feed.state().connections());
            }
        }
    }

    @Test
    @DisplayName("an answer that is no upgrade and may have no end is not read")
    void readsNoEndlessRefusal() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.next()) {
            session.write("HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n");
            String chunk = "10000\r\n" + "x".repeat(0x10000) + "\r\n";
            assertThrows(IOException.class, () -> {
                for (int i = 0; i < 1024; i++)
                    session.write(chunk);
            });
        }
        awaitLog(name() + " cannot be reached: \"its answer is no upgrade\"; look at");
    }

    @Test
    @DisplayName("one that has not answered the first ping is dead long before the next would be due")
    void asksForTheFirstPongMoreOften() throws Exception {
        node.answersPings = false;
        feed(Duration.ofHours(1));
        try (FakeNode.Session session = node.accept()) {
            session.send(CONFIRMATION);
            awaitLog(name() + " is lost: it left two pings unanswered (--ping)");
        }
        node.subscribed().close();
    }

    @Test
    @DisplayName("the time that a handshake takes is missed once, also where the server dies without a sign of life")
    void countsAHandshakeOnce() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.next()) {
            session.answersPings = false;
            now = now.plusSeconds(8);
            session.open();
            awaitLog(name() + " is connected; 8 s were missed");
            session.socket.setSoLinger(true, 0);
        }
        awaitLog(name() + " is lost: ");
        awaitUp(false);
        assertEquals(8_000, feed.state().missed());
    }

    @Test
    @DisplayName("one that closes is tried again; the log has its code, and how many seconds were missed")
    void connectsAgain() throws Exception {
        feed(LONG);
        awaitUp(false);
        try (FakeNode.Session session = node.subscribed()) {
            awaitLog(name() + " is connected; 0 s were missed");
            awaitUp(true);
            now = now.plusSeconds(5);
            assertEquals(name() + " has been connected for 5 s", feed.state().words());
            session.send(0x88, RawClient.closing(1001, "bye\n\"".getBytes(UTF_8)));
            awaitLog(name() + " is lost: the server closed it with 1001 \"bye\\u000a\\\"\"");
            assertEquals(1001, session.frame().code(), "it answers");
        }
        awaitUp(false);
        now = now.plusSeconds(7);
        assertEquals(7_000, feed.state().missed());
        assertEquals(name() + " has not been connected for 7 s", feed.state().words());
        try (FakeNode.Session session = node.accept()) {
            assertTrue(session.greeting.contains("subscribe"), "it subscribes anew");
            awaitLog(name() + " is connected; 7 s were missed");
            session.send("no node any more");
            assertEquals("no node any more", next());
            assertEquals(2, feed.state().connections());
            assertEquals(7_000, feed.state().missed());
        }
    }

    @Test
    @DisplayName("what was missed never falls, even if it is read while the connection comes")
    void missedNeverFalls() throws Exception {
        AtomicLong most = new AtomicLong();
        AtomicBoolean asks = new AtomicBoolean();
        clock = () -> { // which is asked amid the change
            if (feed != null && asks.compareAndSet(false, true)) {
                most.accumulateAndGet(feed.state().missed(), Math::max);
                asks.set(false);
            }
            return now;
        };
        feed(LONG);
        FakeNode.Session first = node.next();
        now = now.plusSeconds(60);
        first.close();
        node.subscribed().close();
        awaitLog(name() + " is connected; 60 s were missed");
        assertEquals(60_000, most.get());
    }

    private void awaitUp(boolean up) {
        TestServer.await(up ? "up" : "not up", () -> feed.state().up() == up);
    }

    @Test
    @DisplayName("a server that is not there is tried for ever, and comes back")
    void waitsForAServer() throws Exception {
        int port = node.port();
        node.close();
        feed(LONG);
        String line = name() + " cannot be reached: nobody accepts the connection; look at the address";
        TestServer.await("three tries", () -> log().split(line, -1).length > 3);
        now = now.plusSeconds(90);
        node = new FakeNode(port);
        try (FakeNode.Session session = node.subscribed()) {
            session.send(CONFIRMATION);
            assertTrue(next().startsWith(FLAT));
            awaitLog(name() + " is connected; 90 s were missed");
        }
    }

    @ParameterizedTest
    @DisplayName("one that is no WebSocket server: a line says what it answered, and it is tried again")
    @ValueSource(strings = {"HTTP/1.1 403 Forbidden", "HTTP/1.1 404 Not Found", "HTTP/1.1 302 Found\r\nLocation: /hidden",
        "HTTP/1.1 503 Service Unavailable", "HTTP/1.1 200 OK"})
    void saysWhatWasAnswered(String answer) throws Exception {
        feed(LONG);
        node.answer(answer + "\r\nContent-Length: 0\r\n\r\n");
        awaitLog(name() + " cannot be reached: \"Unexpected HTTP response status code " + answer.substring(9, 12)
            + "\"; look at the path, and at whom the server admits");
        node.accept().close();
    }

    @ParameterizedTest
    @DisplayName("nor is a line of the log more than that where the answer is no HTTP")
    @ValueSource(strings = {"\0garbage\r\n\r\n", "HTTP/1.1 101 \r\n\r\n", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n"
        + "Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", "HTTP/1.1 200 \u001b[31mred\r\n\r\n"})
    void survivesAnAnswerThatIsNone(String answer) throws Exception {
        feed(LONG);
        node.answer(answer);
        awaitLog(name() + " cannot be reached: \"");
        awaitLog("\"; look at the p"); // the port, or the path
        node.accept().close();
        events.close();
        assertTrue(log().lines().allMatch(line -> line.matches("\\S+ (start|feed) [ -~]+")), log());
    }

    @Test
    @Tag("slow")
    @DisplayName("one that ends the connection without an answer is asked again by the JDK at once, which waits for it")
    void survivesNoAnswer() throws Exception {
        feed(LONG);
        node.next().close();
        awaitLog(name() + " cannot be reached: its answer is not there in 10 s");
        node.accept().close();
    }

    @Test
    @Tag("slow")
    @DisplayName("one that accepts and does not answer the handshake is given up after some time")
    void givesUpASilentHandshake() throws Exception {
        feed(LONG);
        try (FakeNode.Session silent = node.next()) {
            awaitLog(name() + " cannot be reached: its answer is not there in 10 s");
            node.accept().close();
            assertFalse(silent.socket.isClosed());
        }
    }

    @ParameterizedTest
    @Tag("slow")
    @DisplayName("nor is one waited for whose refusal has a body without an end; the connection is ended")
    @CsvSource(textBlock = """
        200 OK, Content-Type: text/event-stream, '"its answer is no upgrade"'
        401 Unauthorized, Content-Length: 100, its answer is not there in 10 s
        """)
    void givesUpARefusalWithoutAnEnd(String status, String field, String why) throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.next()) {
            session.write("HTTP/1.1 " + status + "\r\n" + field + "\r\n\r\ndata: x\n\n");
            awaitLog(name() + " cannot be reached: " + why);
            session.listen();
            assertEquals(0, session.frame().firstByte(), "the end");
            node.accept().close();
        }
    }

    @Test
    @DisplayName("a handshake whose answer is too much for the JDK leaves no connection open")
    void endsAHandshakeThatFails() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.next()) {
            session.write("HTTP/1.1 101 x\r\n" + "x: y\r\n".repeat(70_000)); // more than the JDK takes
            awaitLog(" cannot be reached: ");
            session.listen();
            assertEquals(0, session.frame().firstByte(), "the end");
        }
    }

    @Test
    @DisplayName("RFC 6455 §8.1, §5.5: what breaks the protocol ends the connection, and it is tried again")
    void losesAServerThatBreaksTheProtocol() throws Exception {
        feed(LONG);
        for (byte[] frame : List.of(RawClient.bytes(0x81, 1, 0xFF), RawClient.bytes(0x83, 0), RawClient.bytes(0x81, 0x80)))
            try (FakeNode.Session session = node.accept()) {
                session.socket.getOutputStream().write(frame);
                TestServer.await("it is lost", () -> log().contains(" is lost: "));
            }
        node.accept().close();
        assertTrue(broadcast.isEmpty());
    }

    @Test
    @DisplayName("a connection that breaks without a close frame is lost as well")
    void losesAConnectionThatBreaks() throws Exception {
        feed(SHORT); // by its pings, where the JDK does not tell
        try (FakeNode.Session session = node.accept()) {
            session.socket.setSoLinger(true, 0);
        }
        awaitLog(name() + " is lost: ");
        try (FakeNode.Session session = node.accept()) {
            session.socket.shutdownOutput();
            TestServer.await("lost again", () -> log().split(" is lost: ", -1).length > 2);
        }
        node.accept().close();
    }

    @Test
    @DisplayName("what comes after a failure is another message")
    void doesNotJoinMessagesOfTwoConnections() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.accept()) {
            session.send(0x01, "half of ".getBytes(UTF_8));
            session.send(0x88);
            awaitLog(name() + " is lost: the server closed it with 1005 \"\"");
        }
        try (FakeNode.Session session = node.accept()) {
            session.send("another");
            assertEquals("another", next());
        }
    }

    @Test
    @DisplayName("drain closes the connection in order with 1001, and takes nothing more")
    void closesInOrder() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.subscribed()) {
            awaitUp(true);
            TestServer.await("drained, though the server does not answer", feed::drain);
            RawClient.Frame close = session.frame();
            assertTrue(close.isClose());
            assertEquals(1001, close.code());
            session.send(CONFIRMATION);
            session.send(0x88, RawClient.closing(1001));
            assertEquals(0, session.frame().firstByte(), "the end: it has read all of that");
            assertTrue(broadcast.isEmpty());
        }
    }

    @Test
    @DisplayName("drain ends a feed that waits for the next try, and one whose handshake is not answered")
    void drainsWithoutAConnection() throws Exception {
        feed(LONG);
        try (FakeNode.Session silent = node.next()) {
            TestServer.await("drained", feed::drain);
            feed.close();
            assertFalse(silent.socket.isClosed());
        }
        node.close();
        feed(LONG);
        awaitLog("nobody accepts");
        TestServer.await("drained", feed::drain);
    }

    @Test
    @DisplayName("it waits for 1, 2, 4 seconds and so on, and for no less than half of that")
    void waitsLongerEachTime() throws Exception {
        feed(LONG);
        long answered = 0;
        for (long least = 0; least <= 2 * SHORT.toNanos(); least = Math.max(2 * least, SHORT.toNanos() / 2))
            try (FakeNode.Session session = node.next()) {
                long waited = System.nanoTime() - answered;
                assertTrue(waited >= least, waited + " of " + least);
                answered = System.nanoTime();
                session.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
            }
    }

    @Test
    @DisplayName("what is wrong is said with what to look at")
    void saysWhatToLookAt() {
        ConnectException unresolved = new ConnectException();
        unresolved.initCause(new UnresolvedAddressException());
        assertEquals("its host has no address; look at the name, and at the DNS",
            NanoStreamWs.WebSocketFeed.why(unresolved));
        assertEquals("nobody accepts the connection; look at the address, and whether the server runs",
            NanoStreamWs.WebSocketFeed.why(new ConnectException()));
        assertEquals("\"No name matching x\\u000a found\"; look at the certificate, and whether it is wss://",
            NanoStreamWs.WebSocketFeed.why(new SSLHandshakeException("No name matching x\n found")));
        assertEquals("\"EOF reached\"; look at the port, for a firewall, and whether it is ws:// or wss://",
            NanoStreamWs.WebSocketFeed.why(new IOException(new IOException("EOF reached"))));
        assertEquals("\"null\"", NanoStreamWs.WebSocketFeed.text(new IOException()));
    }

    @Test
    @Tag("slow")
    @DisplayName("wss: the server's certificate has to be trusted, and to have the name of the URL")
    void checksTheCertificate(@TempDir Path folder) throws Exception {
        TestCertificate certificate = TestCertificate.of("EC"); // for localhost and 127.0.0.1
        String trusting = certificate.trustStore(folder);
        try (ServerSocket door = certificate.serving().getServerSocketFactory().createServerSocket(0, 50)) {
            Thread.ofVirtual().start(() -> handshakes(door));
            String url = "--feed=wss://localhost:" + door.getLocalPort() + "/hidden?t=hidden";
            try (ServerProcess server = ServerProcess.watched("", line -> { }, url)) {
                server.await(" cannot be reached: \"unable to find valid certification path.*look at the certificate");
            }
            String other = url.replace("localhost", "127.0.0.2");
            try (ServerProcess server = ServerProcess.watched(trusting, line -> { }, other)) {
                server.await(" cannot be reached: \"No subject alternative .*127.0.0.2.*look at the certificate");
            }
        }
        ServerSocket door = certificate.serving().getServerSocketFactory().createServerSocket(0, 50);
        try (FakeNode secure = new FakeNode(door)) {
            String url = "--feed=wss://localhost:" + secure.port() + "/hidden?t=hidden";
            try (ServerProcess server = ServerProcess.watched(trusting, line -> { }, url);
                 FakeNode.Session session = secure.accept();
                 RawClient listener = RawClient.admitted(server.port(), "/")) {
                assertTrue(session.head.startsWith("GET /hidden?t=hidden HTTP/1.1\r\n"), session.head);
                server.await("wss://localhost:" + secure.port() + " is connected; ");
                session.send("x".repeat(MOST));
                assertEquals(MOST, listener.text().length());
                server.terminate();
                assertEquals(1001, session.frame().code());
                assertEquals(0, server.exit());
                assertFalse(server.lines().toString().contains("hidden"), () -> server.lines().toString());
            }
        }
    }

    /** Does its part of handshakes that the client ends, until the door is closed. */
    private static void handshakes(ServerSocket door) {
        while (!door.isClosed())
            try (Socket socket = door.accept()) {
                socket.getInputStream().read();
            } catch (IOException e) {
                // as is meant
            }
    }

    @Test
    @DisplayName("messages keep their order")
    void keepsTheOrder() throws Exception {
        feed(LONG);
        try (FakeNode.Session session = node.accept()) {
            for (int i = 0; i < 1000; i++)
                session.send("message " + i);
            assertEquals(IntStream.range(0, 1000).mapToObj(i -> "message " + i).toList(),
                IntStream.range(0, 1000).mapToObj(i -> nextUnchecked()).toList());
        }
    }

    private String nextUnchecked() {
        try {
            return next();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
