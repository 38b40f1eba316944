import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@SuppressWarnings("try") // an attacker is only there
@DisplayName("Under attack: bounds hold, and the others are served")
class UnderAttackTest {
    private static void serves(TestServer server, RawClient client, String message) throws Exception {
        assertEquals(200, server.post(message));
        assertEquals(message, client.text());
    }

    private static void close(List<RawClient> clients) throws IOException {
        for (RawClient client : clients)
            client.close();
    }

    @Test
    void twoThousandSlowRequestsKeepNobodyOut() throws Exception {
        List<RawClient> slow = new ArrayList<>();
        try (TestServer server = new TestServer()) {
            for (int i = 0; i < 2_000; i++) {
                RawClient client = new RawClient(server.port());
                client.send("G"); // and then a byte now and then
                slow.add(client);
            }
            for (int i = 0; i < 20; i++) {
                for (int j = i; j < slow.size(); j += 20)
                    slow.get(j).send("E");
                try (RawClient good = RawClient.admitted(server.port(), "/")) {
                    serves(server, good, "message " + i);
                }
            }
            close(slow);
        }
    }

    @Test
    void beyondTheMostPendingTheOldestEndsAndTheLogSaysSo() throws Exception {
        List<RawClient> silent = new ArrayList<>();
        try (TestServer server = new TestServer()) {
            for (int i = 0; i < NanoStreamWs.Limits.MAX_PENDING + 10; i++)
                silent.add(new RawClient(server.port()));
            server.awaitLog("is closed: too many others wait as well");
            assertTrue(silent.getFirst().isGone());
            try (RawClient good = RawClient.admitted(server.port(), "/")) {
                serves(server, good, "hello");
            }
            close(silent);
        }
    }

    @Test
    void aFloodOfPingsEndsWithAPolicyViolationAndDelaysNobody() throws Exception {
        flood(RawClient.frame(0x89, ""), 1_000);
    }

    @Test
    void aFloodOfDataEndsWithAPolicyViolationAndDelaysNobody() throws Exception {
        flood(RawClient.frame(0x82, new byte[1_000]), 100);
    }

    @Test
    void aFloodOfWhatInflatesToMuchEndsWithAPolicyViolationAndDelaysNobody() throws Exception {
        byte[] bytes = RawClient.deflated("a".repeat(NanoStreamWs.Limits.MAX_CLIENT_MESSAGE).getBytes(UTF_8), 9);
        // The head is long, so that much is read with it.
        flood(RawClient.frame(0xC1, bytes), 500, "X: " + "x".repeat(8_000),
            "Sec-WebSocket-Extensions: permessage-deflate");
    }

    @Test
    void aFloodOfEmptyFragmentsEndsAtTheirMostNumber() throws Exception {
        try (TestServer server = new TestServer(); RawClient flooding = RawClient.admitted(server.port(), "/")) {
            flooding.send(RawClient.frame(0x01, ""));
            for (int i = 0; i < NanoStreamWs.Limits.MAX_FRAGMENTS; i++)
                flooding.send(RawClient.frame(0x00, ""));
            assertEquals(1009, flooding.frame().code());
        }
    }

    /** Sends frames without pause, reading what comes back, until the server ends it; others are served meanwhile. */
    private static void flood(byte[] frame, int atOnce, String... fields) throws Exception {
        try (TestServer server = new TestServer(); RawClient good = RawClient.admitted(server.port(), "/");
             RawClient flooding = RawClient.admitted(server.port(), "/", fields)) {
            byte[] frames = new byte[frame.length * atOnce];
            for (int i = 0; i < frames.length; i++)
                frames[i] = frame[i % frame.length];
            Thread sender = Thread.ofVirtual().start(() -> {
                try {
                    while (true)
                        flooding.send(frames);
                } catch (IOException e) {
                    // ended, as it should be
                }
            });
            Thread reader = Thread.ofVirtual().start(() -> {
                try {
                    while (!flooding.frame().isClose()) { /* pongs */ }
                } catch (IOException e) {
                    // the end can come as a reset: the flood goes on
                }
            });
            server.awaitListeners(2);
            for (int i = 0; server.server.listeners() == 2; i++)
                serves(server, good, "meanwhile " + i);
            String line = server.awaitLog("dropped");
            assertTrue(line.contains(": 1008 listeners have nothing to say"), line);
            serves(server, good, "afterwards");
            sender.join();
            reader.join();
        }
    }

    @Test
    void aFloodOfRefusalsIsCountedInTheLog() throws Exception {
        try (TestServer server = new TestServer("--secret=my_secret")) {
            int refused = 3 * NanoStreamWs.Limits.LOG_BURST;
            for (int i = 0; i < refused; i++)
                try (RawClient client = new RawClient(server.port())) {
                    assertEquals(401, RawClient.status(client.upgrade("/?t=x.y.z")));
                }
            server.awaitLog("refused"); // the count is told within a second
            TestServer.await("a count", () -> server.log().contains("more lines of this kind were left out"));
            long lines = server.log().lines().filter(line -> line.contains("Token was invalid")).count();
            assertTrue(lines >= NanoStreamWs.Limits.LOG_BURST && lines < refused, lines + " lines");
        }
    }
}
