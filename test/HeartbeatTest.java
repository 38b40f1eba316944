import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.SocketTimeoutException;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Heartbeat (--ping, RFC 6455 §5.5.2)")
class HeartbeatTest {
    private static final long INTERVAL = 200_000_000; // nanoseconds

    @ParameterizedTest
    @DisplayName("who sends anything within two intervals stays")
    @ValueSource(ints = {0x8A, 0x89, 0x81})
    void keepsWhoAnswers(int firstByte) throws Exception {
        try (TestServer server = new TestServer("--ping=0.2");
             RawClient client = RawClient.admitted(server.port(), "/")) {
            long start = System.nanoTime();
            for (int pings = 0; pings < 7; ) {
                RawClient.Frame frame = client.frame();
                if (frame.firstByte() == 0x8A)
                    continue; // the answer to a ping of ours
                assertEquals(0x89, frame.firstByte());
                assertTrue(frame.payload().length <= 125);
                client.send(RawClient.frame(firstByte, frame.payload()));
                pings++;
            }
            assertTrue(System.nanoTime() - start > 5 * INTERVAL, "pings come no more often than asked for");
            assertEquals(1, server.server.listeners());
            assertEquals(200, server.post("still there"));
            RawClient.Frame frame = client.frame();
            while (!frame.isText())
                frame = client.frame();
            assertEquals("still there", frame.text());
        }
    }

    @Test
    @DisplayName("who is silent for two intervals is dropped, and the log says why; the others stay")
    void dropsWhoIsSilent() throws Exception {
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
                assertTrue(line.contains("nothing was heard from it for two intervals (--ping)"), line);
            }
            server.awaitListeners(1);
        }
    }

    @Test
    @DisplayName("--ping 0: none is sent, and nobody is dropped")
    void sendsNoneWhereNoneIsAskedFor() throws Exception {
        try (TestServer server = new TestServer("--ping=0");
             RawClient client = RawClient.admitted(server.port(), "/")) {
            client.socket.setSoTimeout(600);
            assertThrows(SocketTimeoutException.class, client::frame);
            assertEquals(1, server.server.listeners());
        }
    }
}
