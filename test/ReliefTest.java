import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A lane gets past the listeners that block it, and what that takes is given back")
class ReliefTest {
    private final NanoStreamWs.StreamLog log = new NanoStreamWs.StreamLog();
    private final NanoStreamWs.Lane lane =
        new NanoStreamWs.Lane(log, new NanoStreamWs.Watchdog(Long.MAX_VALUE, Duration.ofDays(1)));
    private final Set<Thread> walkers = ConcurrentHashMap.newKeySet(); // that came by a listener
    private final List<Gated> all = new ArrayList<>();
    private int reliefs; // looks that have relieved the walker

    /** A listener whose writes can be made to stand, and which notes the walkers that come by. */
    private final class Gated extends NanoStreamWs.Listener {
        final HeldSocket gate;
        final AtomicInteger looks = new AtomicInteger(); // at its lag

        Gated(HeldSocket gate) throws IOException {
            super(gate, new byte[0], HeldSocket.now(log), TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER);
            this.gate = gate;
        }

        @Override
        long lag() {
            looks.incrementAndGet();
            if (Thread.currentThread().getName().equals("walker"))
                walkers.add(Thread.currentThread());
            return super.lag();
        }

        void shut() {
            gate.hold();
        }

        void open() {
            gate.letGo();
        }
    }

    private Gated listener() throws IOException {
        Gated listener = new Gated(HeldSocket.free());
        lane.add(listener);
        all.add(listener);
        return listener;
    }

    private List<Gated> stuck(int count) throws IOException {
        List<Gated> stuck = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            stuck.add(listener());
            stuck.getLast().shut();
        }
        return stuck;
    }

    /** Sends a message, and waits until the walker in charge has brought it to everybody, or stands. */
    private void send(String message) {
        byte[] payload = message.getBytes(UTF_8);
        awaitWalker(); // one that is not yet parked would be woken once too often, and stand a little later
        log.append(NanoStreamWs.Opcode.TEXT, NanoStreamWs.Frame.of(NanoStreamWs.Opcode.TEXT, false, payload));
        lane.wake();
        awaitWalker();
    }

    private void look() {
        NanoStreamWs.Lane.Walker before = lane.walker;
        lane.look();
        if (lane.walker != before)
            reliefs++;
        awaitWalker();
    }

    private void awaitWalker() {
        TestServer.await("the walker is parked, at a listener or at the end", () -> {
            NanoStreamWs.Lane.Walker walker = lane.walker;
            NanoStreamWs.Listener at = walker.at.get();
            boolean waits = walker.thread.getState() == Thread.State.WAITING;
            boolean stood = waits && at == walker.at.get(); // it was there when it was seen to wait
            return stood && (at != null || lane.swept == log.end());
        });
    }

    private static void awaitMessages(Gated listener) {
        TestServer.await("all messages", () -> listener.lag() == 0);
    }

    private long alive() {
        return walkers.stream().filter(Thread::isAlive).count();
    }

    @AfterEach
    void end() {
        all.forEach(listener -> listener.reset(null));
        TestServer.await("all threads but the one in charge have ended", () -> alive() <= 1);
        assertTrue(lane.walker.thread.isAlive());
    }

    @Test
    @DisplayName("hundreds that block cost the others a few looks, and each of the hundreds one thread")
    void getsPastHundredsInAFewLooks() throws Exception {
        int count = 300;
        stuck(count);
        Gated good = listener(); // it comes last
        lane.walker.thread.start();
        send("hello");
        int looks = 0;
        for (; lane.swept < log.end() && looks < count; looks++)
            look();
        assertEquals(0, good.lag());
        assertTrue(looks <= 20, looks + " looks"); // each starts twice as many walkers as the one before
        TestServer.await("a thread for each that blocks and one in charge", () -> alive() == count + 1);
    }

    @Test
    @DisplayName("once nothing blocks, the next that does is given time for a look again, and one walker")
    void startsAnewWithOneWalker() throws Exception {
        int count = 10;
        stuck(count);
        Gated good = listener();
        lane.walker.thread.start();
        send("one");
        while (lane.swept < log.end())
            look();
        look(); // which sees that nothing blocks
        int started = 1 << reliefs; // one at first; each look starts twice as many as the one before
        TestServer.await("all have come by", () -> walkers.size() == started);
        TestServer.await("the others have ended", () -> alive() == count + 1);
        Set<Thread> before = new HashSet<>(walkers);
        NanoStreamWs.Lane.Walker walker = lane.walker;
        good.shut();
        send("two");
        look();
        assertSame(walker, lane.walker, "it has just moved");
        look();
        assertNotSame(walker, lane.walker);
        TestServer.await("a walker more", () -> walkers.contains(lane.walker.thread));
        before.add(lane.walker.thread);
        assertEquals(before, walkers);
    }

    @Test
    @DisplayName("a listener that has blocked its lane is passed over until it has kept up for a while")
    void passesOverAStraggler() throws Exception {
        Gated slow = stuck(1).getFirst(), good = listener();
        NanoStreamWs.Lane.Walker first = lane.walker;
        first.thread.start();
        send("one");
        look();
        look();
        assertNotSame(first, lane.walker);
        awaitMessages(good);
        long start = System.nanoTime();
        slow.open();
        TestServer.await("a straggler", () -> slow.straggling);
        for (int i = 0; i < 4; i++) {
            send("more");
            assertEquals(0, good.lag());
            awaitMessages(slow);
        }
        assertTrue(slow.straggling, "after a few rounds");
        assertEquals(Set.of(first.thread), Set.copyOf(slow.gate.writers), "the lane has not written to it");
        TestServer.await("its thread has ended", () -> !first.thread.isAlive());
        long millis = (System.nanoTime() - start) / 1_000_000;
        long least = NanoStreamWs.Limits.STRAGGLER_ROUNDS * NanoStreamWs.Limits.STRAGGLER_PAUSE;
        assertTrue(millis >= least, millis + " ms");
        assertFalse(slow.straggling);
        send("last");
        assertEquals(0, slow.lag());
        assertSame(lane.walker.thread, slow.gate.writers.getLast());
    }

    /** Stays with a listener in a thread that is interrupted, and so makes no pause. */
    private Thread stayWith(Gated listener) {
        NanoStreamWs.Lane.Walker walker = lane.new Walker(false);
        return Thread.ofVirtual().start(() -> {
            Thread.currentThread().interrupt();
            walker.stayWith(listener);
        });
    }

    @Test
    @DisplayName("a round in which another thread writes to the straggler is not calm: it may be blocked")
    void isNotCalmWhileAnotherThreadWrites() throws Exception {
        Gated slow = listener();
        lane.walker.thread.start();
        slow.writeLock.lock();
        send("waits");
        Thread staying = stayWith(slow);
        TestServer.await("more rounds than a straggler has",
            () -> slow.looks.get() > 50 * NanoStreamWs.Limits.STRAGGLER_ROUNDS);
        assertTrue(staying.isAlive() && slow.straggling);
        slow.writeLock.unlock();
        staying.join();
        assertFalse(slow.straggling);
        assertEquals(0, slow.lag());
    }

    @Test
    @DisplayName("one thread stays with a straggler, and the flag is its own")
    void hasOneThreadThatStays() throws Exception {
        Gated slow = listener();
        lane.walker.thread.start();
        slow.straggling = true; // another thread stays with it
        stayWith(slow).join();
        assertTrue(slow.straggling);
    }
}
