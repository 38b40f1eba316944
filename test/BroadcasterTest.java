// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("Lanes: publishers wait for the slowest, and no listener that is behind goes unwatched")
class BroadcasterTest {
    private static final int WINDOW = 256 * 1024; // bytes
    private static final byte[] LARGE = "x".repeat(64 * 1024).getBytes(UTF_8);
    private static final int FRAME = LARGE.length + 10; // bytes

    private final NanoStreamWs.Broadcaster broadcaster = HeldSocket.unattended();

    @Test
    @DisplayName("while a lane is held up, messages are taken up to the window, and the next is not answered")
    void takesMessagesWithinTheWindowOnly() throws Exception {
        HeldSocket held = new HeldSocket();
        broadcaster.lanes.getFirst().add(held.listener(broadcaster.plain));
        AtomicInteger answered = new AtomicInteger();
        Thread publisher = Thread.ofPlatform().daemon().start(() -> {
            for (int i = 0; i < 20; i++) {
                broadcaster.publish(seen -> LARGE);
                answered.incrementAndGet();
            }
        });
        TestServer.await("the publisher waits", () -> publisher.getState() == Thread.State.TIMED_WAITING
            || !publisher.isAlive());
        int within = WINDOW / FRAME;
        assertEquals(within, answered.get());
        assertEquals((within + 1) * FRAME, broadcaster.plain.end());
        held.letGo();
        publisher.join(20_000);
        assertEquals(20, answered.get());
        TestServer.await("everything is sent", () -> broadcaster.lag(broadcaster.plain.end()) == 0);
        assertEquals(Collections.nCopies(20, new String(LARGE, UTF_8)), held.texts());
    }

    @Test
    @DisplayName("an empty lane sleeps while messages go by; a listener that joins it makes no publisher wait for ever")
    void wakesAnEmptyLaneThatAListenerJoins() throws Exception {
        HeldSocket held = new HeldSocket();
        broadcaster.lanes.get(0).add(held.listener(broadcaster.plain));
        NanoStreamWs.Lane empty = broadcaster.lanes.get(1);
        TestServer.await("the empty lane sleeps", () -> empty.walker.thread.getState() == Thread.State.WAITING);
        Thread publisher = Thread.ofPlatform().daemon().start(() -> broadcaster.publish(seen -> new byte[2 * WINDOW]));
        TestServer.await("the publisher waits", () -> publisher.getState() == Thread.State.TIMED_WAITING);
        empty.add(HeldSocket.free().listener(broadcaster.plain));
        held.letGo();
        publisher.join(20_000);
        assertFalse(publisher.isAlive(), "the publisher waits still");
    }

    @Test
    @DisplayName("a listener that a sweep passes over, since its lock is held, is watched until it has caught up")
    void watchesAListenerThatAnotherThreadWritesTo() throws Exception {
        HeldSocket socket = HeldSocket.free();
        NanoStreamWs.Listener listener = socket.listener(broadcaster.plain);
        broadcaster.lanes.getFirst().add(listener);
        listener.writeLock.lock();
        try {
            broadcaster.send(NanoStreamWs.Opcode.TEXT, seen -> new byte[1]);
            TestServer.await("it is watched", () -> broadcaster.watchdog.watched.containsKey(listener));
            broadcaster.watchdog.look();
            assertTrue(broadcaster.watchdog.watched.containsKey(listener), "it is behind still");
            assertEquals(List.of(), socket.frames());
        } finally {
            listener.writeLock.unlock();
        }
        TestServer.await("it is written to, and forgotten", () -> {
            listener.catchUp();
            broadcaster.watchdog.look();
            return !broadcaster.watchdog.watched.containsKey(listener);
        });
        assertEquals(1, socket.frames().size());
    }

    @Test
    @DisplayName("a straggler, which a sweep passes over although nobody holds its lock, is watched too")
    void watchesAStraggler() throws Exception {
        HeldSocket socket = HeldSocket.free();
        NanoStreamWs.Listener straggler = socket.listener(broadcaster.plain);
        straggler.straggling = true;
        broadcaster.lanes.getFirst().add(straggler);
        broadcaster.send(NanoStreamWs.Opcode.TEXT, seen -> new byte[1]);
        TestServer.await("it is watched", () -> broadcaster.watchdog.watched.containsKey(straggler));
        assertEquals(List.of(), socket.frames());
    }

    /** A listener that has the lags given, one at each question, then none. */
    private static final class Lagging extends NanoStreamWs.Listener {
        final List<Long> lags = Collections.synchronizedList(new ArrayList<>());

        Lagging(Long... lags) throws IOException {
            super(HeldSocket.free(), new byte[0], HeldSocket.now(new NanoStreamWs.StreamLog()), TestServer.PLAIN,
                NanoStreamWs.Bounds.LISTENER);
            this.lags.addAll(List.of(lags));
        }

        @Override
        long lag() {
            return lags.isEmpty() ? 0 : lags.removeFirst();
        }
    }

    @Test
    @DisplayName("a listener that has caught up, and is behind again before it is forgotten, stays watched")
    void watchesAListenerThatFallsBehindWhileItIsForgotten() throws Exception {
        assertTrue(staysWatched(new Lagging(0L, 1L)), "nobody else would watch it");
        assertFalse(staysWatched(new Lagging(0L, 0L)));
        assertTrue(staysWatched(new Lagging(1L, 1L)));
    }

    /** Whether a watchdog that has it alone watches it still after a look. */
    private static boolean staysWatched(Lagging listener) {
        NanoStreamWs.Watchdog watchdog = new NanoStreamWs.Watchdog(1 << 23, Duration.ofSeconds(10));
        watchdog.watch(listener);
        watchdog.look();
        return watchdog.watched.containsKey(listener);
    }
}
