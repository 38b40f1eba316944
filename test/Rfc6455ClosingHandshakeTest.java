import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6455 §7 Closing the connection")
class Rfc6455ClosingHandshakeTest extends SharedServer {
    /** What the server answers to a close frame, sent at once and byte by byte; nothing follows it. */
    private static RawClient.Frame answerTo(byte[] payload) throws Exception {
        RawClient.Frame answer = null;
        for (boolean slowly : new boolean[] {false, true})
            try (RawClient client = RawClient.admitted(server.port(), "/")) {
                if (slowly)
                    client.sendSlowly(RawClient.frame(0x88, payload));
                else
                    client.send(RawClient.frame(0x88, payload));
                RawClient.Frame frame = client.frame();
                assertTrue(frame.isClose());
                assertTrue(client.atEnd(), "§7.1.1: the server closes, in order");
                if (answer != null)
                    assertArrayEquals(answer.payload(), frame.payload());
                answer = frame;
            }
        return answer;
    }

    @Test
    @DisplayName("§5.5.1: a close without a body is answered with one")
    void answersACloseWithoutABody() throws Exception {
        assertEquals(0, answerTo(new byte[0]).payload().length);
    }

    @ParameterizedTest
    @DisplayName("§5.5.1, §7.4: a code that may be sent is echoed")
    @ValueSource(ints = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
        3000, 3999, 4000, 4999})
    void echoesACode(int code) throws Exception {
        assertArrayEquals(RawClient.closing(code), answerTo(RawClient.closing(code)).payload());
        assertEquals(code, answerTo(RawClient.closing(code, "good bye, κόσμε".getBytes(UTF_8))).code());
    }

    @Test
    @DisplayName("§7.1.1: what comes behind a close is read and dropped, no reset overtakes the answer")
    void endsInOrderWhateverComesBehindAClose() throws Exception {
        try (RawClient client = RawClient.admitted(server.port(), "/")) {
            client.send(RawClient.frame(0x88, RawClient.closing(1000)));
            client.sendSlowly(new byte[1_000]); // which a reset would end
            assertEquals(1000, client.frame().code());
            assertTrue(client.atEnd());
        }
    }

    @Test
    void takesTheLongestReason() throws Exception {
        assertEquals(1000, answerTo(RawClient.closing(1000, "r".repeat(123).getBytes(UTF_8))).code());
    }

    @ParameterizedTest
    @DisplayName("§7.4: a code that must not be sent is 1002")
    @ValueSource(ints = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535})
    void refusesACode(int code) throws Exception {
        assertEquals("1002 close code is not allowed", described(answerTo(RawClient.closing(code))));
        assertEquals(1002, answerTo(RawClient.closing(code, (byte) 'x')).code());
    }

    private static String described(RawClient.Frame close) {
        return close.code() + " " + close.text().substring(2);
    }

    @Test
    @DisplayName("§5.5.1: a body of one byte is 1002")
    void refusesABodyOfOneByte() throws Exception {
        assertEquals(1002, answerTo(new byte[] {3}).code());
    }

    @ParameterizedTest
    @DisplayName("§8.1: a reason that is not UTF-8 is 1007")
    @ValueSource(strings = {"\u00ff", "ok\u00c3", "\u00e2\u0082", "\u00ed\u00a0\u0080", "\u00c0\u0080"})
    void refusesAReasonThatIsNotUtf8(String reason) throws Exception {
        byte[] bytes = reason.getBytes(java.nio.charset.StandardCharsets.ISO_8859_1);
        assertEquals("1007 text is not UTF-8", described(answerTo(RawClient.closing(1000, bytes))));
    }

    @Test
    @DisplayName("§5.5: a close between fragments is answered")
    void answersACloseBetweenFragments() throws Exception {
        try (RawClient client = RawClient.admitted(server.port(), "/")) {
            client.send(RawClient.concat(RawClient.frame(0x01, "begun"),
                RawClient.frame(0x88, RawClient.closing(1000))));
            assertEquals(1000, client.frame().code());
            assertTrue(client.atEnd());
        }
    }

    @Test
    @DisplayName("§5.5.1: nothing follows the close frame, whatever comes from the feed or from the client")
    void sendsNothingAfterTheCloseFrame() throws Exception {
        try (RawClient bystander = RawClient.admitted(server.port(), "/");
             RawClient client = RawClient.admitted(server.port(), "/")) {
            client.send(RawClient.concat(RawClient.frame(0x88, RawClient.closing(1000)), RawClient.frame(0x89, "ping"),
                RawClient.frame(0x88, RawClient.closing(1001))));
            for (int i = 0; i < 10; i++)
                assertEquals(200, server.post("message " + i));
            for (int i = 0; i < 10; i++)
                assertEquals("message " + i, bystander.text());
            RawClient.Frame frame = client.frame();
            while (frame.isText()) // it may have come before the close
                frame = client.frame();
            assertEquals(1000, frame.code());
            assertTrue(client.atEnd());
        }
    }

    @ParameterizedTest
    @DisplayName("a listener that goes away without a close frame is noticed")
    @ValueSource(strings = {"close", "reset", "half-close", "in a frame"})
    void noticesAListenerThatGoesAway(String how) throws Exception {
        try (TestServer own = new TestServer(); RawClient client = RawClient.admitted(own.port(), "/")) {
            own.awaitListeners(1);
            if (how.equals("reset"))
                client.socket.setSoLinger(true, 0);
            if (how.equals("in a frame"))
                client.send(RawClient.bytes(0x81, 0x85, 1, 2));
            if (how.equals("half-close"))
                client.socket.shutdownOutput();
            else
                client.socket.close();
            own.awaitListeners(0);
            own.awaitLog(" left 127.0.0.1:" + client.socket.getLocalPort() + " without a close frame, now 0");
        }
    }

    @Test
    @DisplayName("the log says with which code a listener left")
    void logsTheCode() throws Exception {
        try (TestServer own = new TestServer()) {
            for (byte[] payload : new byte[][] {RawClient.closing(4321), {}})
                try (RawClient client = RawClient.admitted(own.port(), "/")) {
                    client.send(RawClient.frame(0x88, payload));
                    assertTrue(client.frame().isClose());
                }
            own.awaitLog(" with 4321");
            own.awaitLog(" with 1005");
        }
    }

    private static CompletableFuture<Void> closing(TestServer server) {
        return CompletableFuture.runAsync(server.server::close);
    }

    @Test
    @DisplayName("§7.4.1: a shutdown delivers what was posted, then 1001, and is over when the listeners have answered")
    void shutsDown() throws Exception {
        try (TestServer own = new TestServer("--drain=15");
             RawClient first = RawClient.admitted(own.port(), "/");
             RawClient second = RawClient.admitted(own.port(), "/")) {
            String large = "x".repeat(1024 * 1024);
            for (String message : new String[] {"one", large, "two"})
                assertEquals(200, own.post(message));
            long start = System.nanoTime();
            CompletableFuture<Void> closing = closing(own);
            for (RawClient client : new RawClient[] {first, second}) {
                assertEquals("one", client.text());
                assertEquals(large, client.text());
                assertEquals("two", client.text());
                RawClient.Frame close = client.frame();
                assertTrue(close.isClose());
                assertEquals("1001 server is shutting down", described(close));
                client.send(RawClient.concat(RawClient.frame(0x89, "too late"),
                    RawClient.frame(0x88, RawClient.closing(1001))));
                assertTrue(client.atEnd(), "neither a pong nor a second close frame");
                client.close();
            }
            closing.get(20, TimeUnit.SECONDS);
            assertTrue(System.nanoTime() - start < 5_000_000_000L, "it did not wait for --drain to be over");
            assertEquals(0, own.server.broadcaster.size());
        }
    }

    @Test
    @DisplayName("--drain: a shutdown does not wait longer for a listener that does not answer")
    void doesNotWaitForAListenerThatDoesNotAnswer() throws Exception {
        try (TestServer own = new TestServer("--drain=0.5"); RawClient silent = RawClient.admitted(own.port(), "/")) {
            own.awaitListeners(1);
            long start = System.nanoTime();
            CompletableFuture<Void> closing = closing(own);
            assertEquals(1001, silent.frame().code());
            closing.get(20, TimeUnit.SECONDS);
            long millis = (System.nanoTime() - start) / 1_000_000;
            assertTrue(millis >= 450 && millis < 5_000, millis + " ms");
            assertThrows(IOException.class, silent::frame);
            own.awaitListeners(0);
        }
    }

    @Test
    @DisplayName("while it drains, a handshake gets 503 and /healthz says so; nothing is taken from the feed")
    void refusesWhileItDrains() throws Exception {
        try (TestServer own = new TestServer("--drain=15", "--secret=" + TestServer.SECRET);
             RawClient inside = RawClient.admitted(own.port(), "/?t=" + TestToken.fresh(own))) {
            CompletableFuture<Void> closing = closing(own);
            assertEquals(1001, inside.frame().code());
            try (RawClient late = new RawClient(own.port())) {
                late.send(RawClient.handshake("/?t=" + TestToken.fresh(own)));
                String answer = late.answer();
                assertEquals("HTTP/1.1 503 Service Unavailable", answer.lines().findFirst().orElseThrow());
                assertTrue(Integer.parseInt(RawClient.field(answer, "Retry-After")) > 0);
                assertTrue(late.atEnd());
            }
            try (RawClient health = new RawClient(own.port())) {
                health.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
                assertEquals(503, RawClient.status(health.answer()));
            }
            int port = own.port(), feedPort = own.feedPort();
            TestServer.await("the feed's port is closed", () -> isRefused(feedPort));
            assertFalse(closing.isDone());
            inside.send(RawClient.frame(0x88, RawClient.closing(1001)));
            assertTrue(inside.atEnd());
            inside.socket.close();
            closing.get(20, TimeUnit.SECONDS);
            TestServer.await("the port is closed", () -> isRefused(port));
        }
    }

    private static boolean isRefused(int port) {
        try {
            new RawClient(port).close();
            return false;
        } catch (IOException e) {
            return true;
        }
    }

    @Test
    @DisplayName("a client that is admitted while a shutdown begins gets 1001 as well, not 101 and then just the end")
    void tellsAClientThatIsJustBeingAdmitted() throws Exception {
        for (int round = 0; round < 30; round++) {
            List<RawClient> clients = new ArrayList<>();
            try (TestServer own = new TestServer("--drain=15")) {
                for (int i = 0; i < 8; i++)
                    clients.add(new RawClient(own.port()));
                for (RawClient client : clients)
                    client.send(RawClient.handshake("/"));
                assertEquals(101, RawClient.status(clients.getFirst().head()));
                CompletableFuture<Void> closing = closing(own);
                for (RawClient client : clients) {
                    if (client != clients.getFirst() && !isAdmitted(client))
                        continue;
                    assertEquals(1001, assertDoesNotThrow(() -> client.frame(), "round " + round).code());
                    client.send(RawClient.frame(0x88, RawClient.closing(1001)));
                    client.socket.close();
                }
                closing.get(20, TimeUnit.SECONDS);
            } finally {
                for (RawClient client : clients)
                    client.close();
            }
        }
    }

    /** Whether the answer is 101, and not 503 or the end. */
    private static boolean isAdmitted(RawClient client) {
        try {
            return RawClient.status(client.head()) == 101;
        } catch (IOException e) {
            return false;
        }
    }

    @Test
    void shutsDownAtOnceWithNobodyThere() throws Exception {
        try (TestServer own = new TestServer("--drain=15")) {
            assertEquals(200, own.post("to no listener")); // leaves a connection to the feed open
            long start = System.nanoTime();
            own.server.close();
            assertTrue(System.nanoTime() - start < 5_000_000_000L);
        }
    }

    @Nested
    @DisplayName("by the echo server")
    class Echo extends SharedEcho {
        @Test
        @DisplayName("codes: answered with the same, or 1002 where none may send it")
        void answersCodesThatMayBeSentAndNoOthers() throws Exception {
            TreeSet<Integer> codes = new TreeSet<>(List.of(0, 1, 999, 1100, 1999, 2000, 2998, 2999, 3000, 3001, 3999,
                4000, 4998, 4999, 5000, 5001, 32767, 32768, 65534, 65535));
            for (int code = 1000; code <= 1020; code++)
                codes.add(code);
            for (int code = 0; code <= 4999; code += 17)
                codes.add(code);
            for (int code : codes) {
                boolean allowed = code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014
                    || code >= 3000 && code <= 4999;
                for (String reason : new String[] {"", "reason: κόσμε"})
                    try (RawClient client = open(false)) {
                        client.send(frame(FIN | CLOSE, RawClient.closing(code, reason.getBytes(UTF_8))));
                        if (allowed) {
                            RawClient.Frame answer = client.frame();
                            assertTrue(answer.isClose());
                            assertEquals(code, answer.code());
                            assertTrue(client.atEnd());
                        } else {
                            assertFails(client, 1002);
                        }
                    } catch (AssertionError | IOException e) {
                        throw new AssertionError("code " + code + ": " + e.getMessage(), e);
                    }
            }
        }

        @Test
        @DisplayName("without a code it is answered without one")
        void answersWithoutACode() throws Exception {
            for (int piece : new int[] {0, 1})
                try (RawClient client = open(false)) {
                    send(client, frame(FIN | CLOSE, NOTHING), piece);
                    assertFrame(client, CLOSE, NOTHING);
                    assertTrue(client.atEnd());
                }
        }

        @ParameterizedTest
        @DisplayName("a body of 1 byte: 1002")
        @ValueSource(ints = {0, 3, 'x', 255})
        void refusesABodyOfOneByte(int value) throws Exception {
            try (RawClient client = open(false)) {
                client.send(frame(FIN | CLOSE, RawClient.bytes(value)));
                assertFails(client, 1002);
            }
        }

        @ParameterizedTest
        @DisplayName("a reason of so many bytes")
        @ValueSource(ints = {1, 122, 123, 124})
        void takesReasonsUpToTheLongest(int length) throws Exception {
            byte[] body = RawClient.closing(1000, utf8(length));
            try (RawClient client = open(false)) {
                client.send(frame(FIN | CLOSE, body));
                if (length > 123) {
                    assertFails(client, 1002);
                } else {
                    RawClient.Frame answer = client.frame();
                    assertTrue(answer.isClose());
                    assertEquals(1000, answer.code());
                    assertTrue(client.atEnd());
                }
            }
        }

        @Test
        @DisplayName("a reason that is not UTF-8: 1007")
        void refusesAReasonThatIsNotUtf8() throws Exception {
            List<byte[]> wrong = Utf8Texts.invalid();
            wrong.addAll(List.of(bytes("c3"), bytes("e2 82"), bytes("f0 9f 98"), bytes("ed a0")));
            for (byte[] reason : wrong)
                try (RawClient client = open(false)) {
                    client.send(frame(FIN | CLOSE, RawClient.closing(1000, reason)));
                    assertFails(client, 1007);
                } catch (AssertionError | IOException e) {
                    throw new AssertionError(hex(reason) + ": " + e.getMessage(), e);
                }
        }

        @ParameterizedTest
        @DisplayName("what comes after it is ignored: data, pings, another close, what would be wrong")
        @ValueSource(ints = {0, 1})
        void ignoresWhatComesAfterwards(int piece) throws Exception {
            for (byte[] more : List.of(frame(FIN | TEXT, "after"), frame(FIN | PING, "after"),
                    frame(FIN | CLOSE, RawClient.closing(1001)), frame(FIN | CLOSE, NOTHING), frame(0xFF, "after"),
                    RawClient.bytes(0x81, 0), frame(FIN | TEXT, random(60_000))))
                try (RawClient client = open(false)) {
                    byte[] sent = RawClient.concat(frame(FIN | TEXT, "before"),
                        frame(FIN | CLOSE, RawClient.closing(3333)), more.length > 1000 && piece > 0 ? NOTHING : more);
                    send(client, sent, piece);
                    assertFrame(client, TEXT, "before");
                    assertFrame(client, CLOSE, RawClient.closing(3333));
                    assertTrue(client.atEnd());
                }
        }

        @ParameterizedTest
        @DisplayName("in a fragmented message: answered, and the message is dropped")
        @ValueSource(ints = {TEXT, BINARY})
        void answersInAFragmentedMessage(int type) throws Exception {
            for (boolean deflate : new boolean[] {false, true})
                try (RawClient client = open(deflate)) {
                    client.send(RawClient.concat(
                        deflate ? frame(RSV1 | type, bytes("f2 48 cd")) : frame(type, "Hel"),
                        frame(FIN | CLOSE, RawClient.closing(1000)), frame(FIN | MORE, "end")));
                    assertFrame(client, CLOSE, RawClient.closing(1000));
                    assertTrue(client.atEnd());
                }
        }

        @Test
        @DisplayName("the connection that the client ends without it ends")
        void endsWithAClientThatGoesWithout() throws Exception {
            for (byte[] sent : List.of(NOTHING, RawClient.bytes(0x81), frame(TEXT, "begun"),
                    Arrays.copyOf(frame(FIN | TEXT, new byte[200]), 100)))
                try (RawClient client = open(false)) {
                    client.send(sent);
                    client.socket.shutdownOutput();
                    assertTrue(client.isGone());
                }
        }
    }
}
