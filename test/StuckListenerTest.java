import static org.junit.jupiter.api.Assertions.*;

import java.net.SocketException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@SuppressWarnings("try") // a stuck client is only there
@DisplayName("A listener that takes nothing costs the others nothing, and is evicted")
class StuckListenerTest {
    private static final String LARGE = "x".repeat(256 * 1024);

    /** A client that is admitted and then never reads. */
    private static RawClient stuck(TestServer server) throws Exception {
        RawClient client = new RawClient(server.port(), 4096);
        assertEquals(101, RawClient.status(client.upgrade("/")));
        return client;
    }

    @Test
    void othersGetEverythingWhileManyAreStuck() throws Exception {
        // Neither rule evicts anybody here, so the others get their messages past the stuck ones.
        try (TestServer server = new TestServer("--max-lag=1000000000", "--write-timeout=1000")) {
            List<RawClient> stuck = new ArrayList<>(), good = new ArrayList<>();
            for (int i = 0; i < 40; i++) {
                stuck.add(stuck(server));
                if (i % 2 == 0)
                    good.add(RawClient.admitted(server.port(), "/"));
            }
            for (int i = 0; i < 30; i++) {
                String message = i + LARGE;
                assertEquals(200, server.post(message));
                for (RawClient client : good)
                    assertEquals(message, client.text());
            }
            server.awaitListeners(60);
            for (RawClient client : good)
                client.close();
            server.awaitListeners(40);
            for (RawClient client : stuck)
                client.close();
            server.awaitListeners(0);
        }
    }

    @Test
    void aListenerTooFarBehindIsEvictedAndTheLogSaysWhy() throws Exception {
        try (TestServer server = new TestServer("--max-lag=2097152", "--write-timeout=1000");
             RawClient stuck = stuck(server); RawClient good = RawClient.admitted(server.port(), "/")) {
            server.awaitListeners(2);
            int posted = 0;
            for (; server.server.broadcaster.size() == 2 && posted < 200; posted++) {
                server.post(LARGE);
                good.text();
            }
            String line = server.awaitLog("--max-lag");
            assertTrue(line.matches("\\S+ dropped 127[.]0[.]0[.]1:\\d+: it is \\d+ bytes behind \\(--max-lag\\), now 1"),
                line);
            server.awaitListeners(1);
            assertReset(stuck);
            server.post("still there");
            assertEquals("still there", good.text());
        }
    }

    @Test
    void aListenerThatTakesNothingForTheWriteTimeoutIsEvictedAndTheLogSaysWhy() throws Exception {
        try (TestServer server = new TestServer("--max-lag=1000000000", "--write-timeout=0.3");
             RawClient stuck = stuck(server); RawClient good = RawClient.admitted(server.port(), "/")) {
            for (int i = 0; i < 20; i++) {
                server.post(LARGE);
                good.text();
            }
            String line = server.awaitLog("--write-timeout");
            assertTrue(line.matches("\\S+ dropped \\S+:\\d+: one write stood for 300 ms \\(--write-timeout\\), now 1"),
                line);
            server.awaitListeners(1);
            assertReset(stuck);
        }
    }

    /** What it has not taken is not waited for, and its end cannot be taken for one in order. */
    private static void assertReset(RawClient stuck) {
        assertThrows(SocketException.class, () -> stuck.in.readAllBytes());
    }

    @Test
    @DisplayName("nor is a listener spared that pings and takes nothing, so that a pong blocks")
    void aListenerThatBlocksAPongIsEvictedWhileTheFeedGoesOn() throws Exception {
        try (TestServer server = new TestServer("--max-lag=1000000000", "--write-timeout=0.3");
             RawClient stuck = stuck(server)) {
            server.awaitListeners(1);
            NanoStreamWs.Listener listener = server.server.broadcaster.listeners().getFirst();
            listener.socket.setSendBufferSize(4096); // so that it is soon full
            for (int i = 0; i < 600; i++)
                stuck.send(RawClient.frame(0x89, new byte[125]));
            AtomicInteger held = new AtomicInteger(); // looks in a row: it is no pong that goes out
            TestServer.await("a pong that blocks", () ->
                (listener.writeLock.isLocked() ? held.incrementAndGet() : held.getAndSet(0)) > 50);
            assertEquals(0, listener.lag());
            try (RawClient good = RawClient.admitted(server.port(), "/")) {
                server.awaitListeners(2);
                long end = System.nanoTime() + 20_000_000_000L;
                for (int i = 0; server.server.broadcaster.size() == 2; i++) {
                    assertTrue(System.nanoTime() < end, "it is still there");
                    assertEquals(200, server.post("message " + i));
                    assertEquals("message " + i, good.text());
                }
                server.awaitLog(": one write stood for 300 ms (--write-timeout), now 1");
                assertReset(stuck);
            }
        }
    }

    @Test
    void aListenerThatReadsOnAfterBeingStuckHasLostNothing() throws Exception {
        try (TestServer server = new TestServer("--max-lag=1000000000", "--write-timeout=1000");
             RawClient slow = stuck(server); RawClient good = RawClient.admitted(server.port(), "/")) {
            for (int i = 0; i < 40; i++) {
                server.post(i + LARGE);
                good.text();
            }
            for (int i = 0; i < 40; i++)
                assertEquals(i + LARGE, slow.text());
            // Its lane takes it back, or another goes on for it: either way it gets what comes.
            for (int i = 0; i < 100; i++) {
                server.post("more " + i);
                assertEquals("more " + i, slow.text());
                assertEquals("more " + i, good.text());
            }
        }
    }

    @Test
    @Tag("slow")
    void memoryDoesNotGrowWithTheNumberOfTheStuck() throws Exception {
        long few = heapWithStuck(2), many = heapWithStuck(60);
        // 58 more, each more than 10 MB behind: one copy each would be 600 MB
        assertTrue(many - few < 20_000_000, "heap with 2 stuck " + few + ", with 60 " + many);
    }

    private static long heapWithStuck(int count) throws Exception {
        try (TestServer server = new TestServer("--max-lag=1000000000", "--write-timeout=1000");
             RawClient good = RawClient.admitted(server.port(), "/")) {
            List<RawClient> stuck = new ArrayList<>();
            for (int i = 0; i < count; i++)
                stuck.add(stuck(server));
            for (int i = 0; i < 60; i++) {
                server.post(LARGE);
                good.text();
            }
            System.gc();
            long heap = Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
            for (RawClient client : stuck)
                client.close();
            server.awaitListeners(1);
            return heap;
        }
    }
}
