import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.SocketTimeoutException;
import java.util.Arrays;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6455 §5.5.2, §5.5.3 Ping and pong")
class Rfc6455PingPongTest extends SharedServer {
    @Test
    @DisplayName("§5.5.3: a pong has the ping's payload, of 0 to 125 bytes")
    void answersPings() throws Exception {
        try (RawClient client = admitted()) {
            for (int length = 0; length <= 125; length++) {
                byte[] payload = new byte[length];
                Arrays.fill(payload, (byte) (255 - length));
                client.send(RawClient.frame(0x89, payload));
                RawClient.Frame pong = client.frame();
                assertEquals(0x8A, pong.firstByte());
                assertArrayEquals(payload, pong.payload());
            }
            client.sendSlowly(RawClient.frame(0x89, new byte[125]));
            assertArrayEquals(new byte[125], client.frame().payload());
        }
    }

    @Test
    @DisplayName("§5.5.3: many pings in one packet are answered in order, each once")
    void answersManyPings() throws Exception {
        try (RawClient client = admitted()) {
            byte[][] pings = new byte[500][];
            for (int i = 0; i < pings.length; i++)
                pings[i] = RawClient.frame(0x89, "ping " + i);
            client.send(RawClient.concat(pings));
            for (int i = 0; i < pings.length; i++)
                assertEquals("ping " + i, client.frame().text());
            assertIsWell(client, "after");
        }
    }

    @ParameterizedTest
    @DisplayName("§5.5.3: an unsolicited pong wants no answer")
    @ValueSource(ints = {0, 5, 125})
    void ignoresAnUnsolicitedPong(int length) throws Exception {
        try (RawClient client = admitted()) {
            client.send(RawClient.frame(0x8A, new byte[length]));
            assertIsWell(client, "pong");
        }
    }

    @Nested
    @DisplayName("§5.5.2: the server's own pings (--ping)")
    class Heartbeat {
        private static final long INTERVAL = 200_000_000; // nanoseconds

        @ParameterizedTest
        @DisplayName("a listener that sends anything within two intervals stays")
        @ValueSource(ints = {0x8A, 0x89, 0x81})
        void keepsAListenerThatAnswers(int firstByte) throws Exception {
            try (TestServer server = new TestServer("--ping=0.2");
                 RawClient client = RawClient.admitted(server.port(), "/")) {
                long start = System.nanoTime();
                for (int pings = 0; pings < 5; ) { // two without an answer would be too many
                    RawClient.Frame frame = client.frame();
                    if (frame.firstByte() == 0x8A)
                        continue; // the answer to a ping of ours
                    assertEquals(0x89, frame.firstByte());
                    assertTrue(frame.payload().length <= 125);
                    client.send(RawClient.frame(firstByte, frame.payload()));
                    pings++;
                }
                assertTrue(System.nanoTime() - start > 3 * INTERVAL, "pings come no more often than asked for");
                assertEquals(1, server.server.broadcaster.size());
                assertEquals(200, server.post("still there"));
                RawClient.Frame frame = client.frame();
                while (!frame.isText())
                    frame = client.frame();
                assertEquals("still there", frame.text());
            }
        }

        @Test
        @DisplayName("a listener that is silent for two intervals is dropped, and the log says why; others stay")
        void dropsASilentListener() throws Exception {
            try (TestServer server = new TestServer("--ping=0.2");
                 RawClient lively = RawClient.admitted(server.port(), "/")) {
                long start = System.nanoTime();
                try (RawClient silent = RawClient.admitted(server.port(), "/")) {
                    int pings = 0;
                    try {
                        for (; pings < 10; pings++) {
                            assertEquals(0x89, silent.frame().firstByte());
                            assertEquals(0x89, lively.frame().firstByte());
                            lively.send(RawClient.frame(0x8A, ""));
                        }
                        fail("it was not dropped");
                    } catch (SocketTimeoutException e) {
                        fail("it was neither pinged nor dropped");
                    } catch (IOException e) {
                        assertTrue(System.nanoTime() - start >= 2 * INTERVAL, "not before two intervals are over");
                        assertTrue(pings >= 1, "it was asked before");
                    }
                    String line = server.awaitLog("dropped 127.0.0.1:" + silent.socket.getLocalPort());
                    assertTrue(line.contains("it left two pings unanswered (--ping)"), line);
                }
                server.awaitListeners(1);
            }
        }

        @Test
        @DisplayName("pings are counted, not time: a listener stays until it has left two unanswered")
        void countsPingsAndNotTime() throws Exception {
            try (TestServer server = new TestServer("--ping=0");
                 RawClient silent = RawClient.admitted(server.port(), "/")) {
                NanoStreamWs.Broadcaster broadcaster = server.server.broadcaster;
                server.awaitListeners(1);
                NanoStreamWs.Listener listener = broadcaster.listeners().getFirst();
                for (int ping = 0; ping < 2; ping++) {
                    broadcaster.heartbeat();
                    assertEquals(0x89, silent.frame().firstByte());
                    TestServer.await("it has caught up", () -> listener.lag() <= 0);
                }
                assertEquals(1, broadcaster.size());
                broadcaster.heartbeat();
                server.awaitLog("it left two pings unanswered (--ping)");
            }
        }

        @Test
        @DisplayName("a listener that is behind is not silent: it may not have got the ping")
        void keepsAListenerThatIsBehind() throws Exception {
            try (TestServer server = new TestServer("--ping=0", "--max-lag=100000000", "--write-timeout=60");
                 RawClient slow = new RawClient(server.port(), 4096)) {
                slow.upgrade("/");
                server.awaitListeners(1);
                NanoStreamWs.Listener listener = server.server.broadcaster.listeners().getFirst();
                while (listener.lag() <= 0)
                    server.post("x".repeat(1_000_000));
                for (int ping = 0; ping < 10; ping++)
                    server.server.broadcaster.heartbeat();
                assertFalse(listener.ended, server.log());
            }
        }

        @Test
        @DisplayName("§5.5.2: a listener with a backlog gets its pong after the frames under way, not behind the backlog")
        void answersAPingBeforeTheBacklog() throws Exception {
            int messages = 60;
            try (TestServer server = new TestServer("--max-lag=100000000", "--write-timeout=60");
                 RawClient slow = new RawClient(server.port(), 4096)) {
                slow.upgrade("/");
                server.awaitListeners(1);
                for (int i = 0; i < messages; i++)
                    server.post("x".repeat(1_000_000));
                for (int ping = 0; ping < 5; ping++) {
                    slow.send(RawClient.frame(0x89, "now"));
                    int before = 0;
                    while (slow.frame().isText())
                        before++;
                    assertTrue(before < 10, before + " messages came before the pong");
                }
            }
        }

        @Test
        @DisplayName("--ping 0: none is sent, and no listener is dropped")
        void sendsNoneWhereNoneIsAskedFor() throws Exception {
            try (TestServer server = new TestServer("--ping=0");
                 RawClient client = RawClient.admitted(server.port(), "/")) {
                client.socket.setSoTimeout(600);
                assertThrows(SocketTimeoutException.class, client::frame);
                assertEquals(1, server.server.broadcaster.size());
            }
        }
    }

    @Nested
    @DisplayName("by the echo server")
    class Echo extends SharedEcho {
        @ParameterizedTest
        @DisplayName("before, between and after")
        @ValueSource(ints = {0, 997, 1})
        void answersPingsAroundMessages(int piece) throws Exception {
            byte[] most = random(125);
            try (RawClient client = open(false)) {
                send(client, RawClient.concat(frame(FIN | PING, NOTHING), frame(FIN | TEXT, "one"),
                    frame(FIN | PING, most), frame(FIN | BINARY, most), frame(FIN | PING, "end")), piece);
                assertFrame(client, PONG, NOTHING);
                assertFrame(client, TEXT, "one");
                assertFrame(client, PONG, most);
                assertFrame(client, BINARY, most);
                assertFrame(client, PONG, "end");
                assertClosesWell(client);
            }
        }

        @ParameterizedTest
        @DisplayName("10 at once are answered in order")
        @ValueSource(ints = {0, 7, 1})
        void answersTenAtOnceInOrder(int piece) throws Exception {
            byte[] sent = NOTHING;
            for (int i = 0; i < 10; i++)
                sent = RawClient.concat(sent, frame(FIN | PING, "payload-" + i));
            try (RawClient client = open(false)) {
                send(client, sent, piece);
                for (int i = 0; i < 10; i++)
                    assertFrame(client, PONG, "payload-" + i);
                assertClosesWell(client);
            }
        }

        @Test
        @DisplayName("unsolicited pongs get no answer, with a payload or without, before a ping or behind")
        void ignoresUnsolicitedPongs() throws Exception {
            try (RawClient client = open(false)) {
                client.send(RawClient.concat(frame(FIN | PONG, NOTHING), frame(FIN | PONG, "unasked"),
                    frame(FIN | PONG, random(125)), frame(FIN | PING, "ping"), frame(FIN | PONG, "ping")));
                assertFrame(client, PONG, "ping");
                assertClosesWell(client);
            }
        }
    }
}
