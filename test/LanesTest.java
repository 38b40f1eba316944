import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

@DisplayName("Lanes: which thread writes to a listener, and what happens when a write blocks")
class LanesTest {
    private static final byte[] MESSAGE = RawClient.bytes(0x81, 2, 'h', 'i');

    private final NanoStreamWs.StreamLog stream = new NanoStreamWs.StreamLog();
    private ServerSocket acceptor;
    private RawClient client;
    private Socket socket; // the server's end of the client's connection

    @BeforeEach
    void connect() throws IOException {
        acceptor = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        client = new RawClient(acceptor.getLocalPort());
        socket = acceptor.accept();
    }

    @AfterEach
    void disconnect() throws IOException {
        client.close();
        socket.close();
        acceptor.close();
    }

    private NanoStreamWs.Listener listener() throws IOException {
        return new NanoStreamWs.Listener(socket, new byte[0], HeldSocket.now(stream), TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER);
    }

    /** A listener that is always behind, and to which nothing is written. */
    private class Behind extends NanoStreamWs.Listener {
        final List<Boolean> straggled = new ArrayList<>(); // at each call of catchUp

        Behind() throws IOException {
            super(LanesTest.this.socket, new byte[0], HeldSocket.now(LanesTest.this.stream), TestServer.PLAIN,
                NanoStreamWs.Bounds.LISTENER);
        }

        @Override
        long lag() {
            return 1;
        }

        @Override
        boolean catchUp() {
            straggled.add(straggling);
            return true;
        }
    }

    @Nested
    @DisplayName("A listener")
    class OneListener {
        @Test
        void getsItsLaneWokenWhereAPongKeptItFromTheLog() throws Exception {
            NanoStreamWs.Listener listener = listener();
            boolean[] woken = {false};
            listener.wake = () -> woken[0] = true;
            listener.send(NanoStreamWs.Opcode.PONG, false, new byte[0]);
            assertFalse(woken[0], "it is behind nothing");
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE);
            listener.send(NanoStreamWs.Opcode.PONG, false, new byte[0]);
            assertTrue(woken[0], "it has not got the message");
        }

        @Test
        void isWrittenNothingOnceAnotherThreadHasCaughtUp() throws Exception {
            NanoStreamWs.Listener listener = listener();
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE);
            assertTrue(listener.catchUp());
            listener.writeSegment();
            listener.send(NanoStreamWs.Opcode.CLOSE, false, RawClient.closing(1000));
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE);
            listener.writeSegment();
            assertEquals("hi", client.frame().text());
            assertEquals(1000, client.frame().code());
            socket.shutdownOutput();
            assertTrue(client.atEnd());
        }

        @Test
        void isResetAndNotJustClosed() throws Exception {
            NanoStreamWs.Listener listener = listener();
            listener.drop("test", "by the test");
            assertThrows(SocketException.class, client.in::readByte, "the end in order would be an EOFException");
            assertEquals("by the test", listener.dropped.text());
            listener.drop("test", "for another reason");
            assertEquals("by the test", listener.dropped.text());
        }
    }

    @Nested
    @DisplayName("The watchdog")
    class Watching {
        private static final int LOOKS = 1_000 / NanoStreamWs.Limits.LOOK; // of the timeout

        private final NanoStreamWs.Watchdog watchdog = new NanoStreamWs.Watchdog(10, Duration.ofSeconds(1));

        private void look(int times) {
            for (int i = 0; i < times; i++)
                watchdog.look();
        }

        private NanoStreamWs.Listener behind(int bytes) throws IOException {
            NanoStreamWs.Listener listener = listener();
            stream.append(NanoStreamWs.Opcode.TEXT, new byte[bytes]);
            return listener;
        }

        @Test
        void evictsBeyondTheMostLag() throws Exception {
            NanoStreamWs.Listener listener = behind(10);
            watchdog.watch(listener);
            watchdog.look();
            assertNull(listener.dropped);
            stream.append(NanoStreamWs.Opcode.TEXT, new byte[1]);
            watchdog.look();
            assertEquals("it is 11 bytes behind (--max-lag)", listener.dropped.text());
        }

        @Test
        @DisplayName("the timeout is counted look by look: a pause of the server is none of the listener's")
        void evictsAListenerThatTookNothingForTheTimeout() throws Exception {
            NanoStreamWs.Listener listener = behind(1);
            look(3);
            watchdog.watch(listener);
            look(LOOKS);
            assertNull(listener.dropped);
            look(1);
            assertEquals("one write stood for 1000 ms (--write-timeout)", listener.dropped.text());
        }

        @Test
        void isNotPutOffByFurtherSweeps() throws Exception {
            NanoStreamWs.Listener listener = behind(1);
            for (int i = 0; i <= LOOKS; i++) {
                watchdog.watch(listener); // as each sweep does while messages come
                look(1);
            }
            assertNotNull(listener.dropped);
        }

        @Test
        void beginsAnewWhereSomethingWasTaken() throws Exception {
            NanoStreamWs.Listener listener = behind(5);
            watchdog.watched.put(listener, new NanoStreamWs.Watchdog.Watch(listener.offset - 1, 0));
            look(LOOKS + 1);
            assertNull(listener.dropped);
            assertEquals(listener.offset, watchdog.watched.get(listener).offset());
            look(LOOKS);
            assertNotNull(listener.dropped);
        }

        @Test
        void forgetsListenersThatHaveCaughtUpOrEnded() throws Exception {
            NanoStreamWs.Listener listener = behind(5);
            watchdog.watch(listener);
            watchdog.look();
            assertEquals(1, watchdog.watched.size());
            listener.catchUp();
            watchdog.look();
            assertEquals(0, watchdog.watched.size());
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE);
            watchdog.watch(listener);
            listener.reset(null);
            watchdog.look();
            assertEquals(0, watchdog.watched.size());
        }
    }

    @Nested
    @DisplayName("A lane")
    class OneLane {
        private final NanoStreamWs.Watchdog watchdog = new NanoStreamWs.Watchdog(1 << 20, Duration.ofHours(1));
        private final NanoStreamWs.Lane lane = new NanoStreamWs.Lane(stream, watchdog);
        private final CountDownLatch released = new CountDownLatch(1);

        @AfterEach
        void release() {
            released.countDown();
        }

        @Test
        void sendsAListenerWhatCameBeforeItWasAdded() throws Exception {
            NanoStreamWs.Listener listener = listener();
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE);
            lane.add(listener); // its walker has not been started
            assertEquals("hi", client.frame().text());
        }

        @Test
        void watchesAListenerThatIsBehindWhenItIsAdded() throws Exception {
            NanoStreamWs.Listener listener = new Behind();
            lane.add(listener);
            assertTrue(watchdog.watched.containsKey(listener), "its first write may block");
        }

        @Test
        void isNoLongerBehindWhenAListenerWasAdded() throws Exception {
            lane.walker.thread.start();
            TestServer.await("its walker waits", () -> lane.walker.thread.getState() == Thread.State.WAITING);
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE); // which wakes no empty lane
            lane.add(listener());
            TestServer.await("publishers need not wait for it", () -> lane.swept == stream.end());
        }

        @Test
        void sweepsOnceMoreForWhatCameDuringASweep() throws Exception {
            long[] swept = {-1}; // when the second sweep begins
            lane.listeners.add(new Behind() {
                @Override
                boolean catchUp() {
                    if (straggled.isEmpty())
                        stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE); // and wakes nobody
                    else
                        swept[0] = lane.swept;
                    return super.catchUp();
                }
            });
            lane.walker.thread.start();
            TestServer.await("it was swept twice", () -> stream.end() > 0 && lane.swept == stream.end());
            assertEquals(0, swept[0], "what came during the first sweep was not sent by it");
        }

        @Test
        void handsAStragglerBackAndLooksAtItOnceMore() throws Exception {
            Behind listener = new Behind();
            listener.ended = true;
            lane.new Walker(false).stayWith(listener);
            assertFalse(listener.straggling);
            assertEquals(List.of(false), listener.straggled, "after a sweep may have passed over it");
        }

        private static void pause(int millis) {
            long end = System.nanoTime() + millis * 1_000_000L;
            while (System.nanoTime() < end)
                LockSupport.parkNanos(end - System.nanoTime());
        }

        @Test
        void passesOverAStraggler() throws Exception {
            Behind listener = new Behind();
            lane.listeners.add(listener);
            listener.straggling = true;
            assertNull(lane.walker.sweep());
            assertEquals(List.of(), listener.straggled);
            assertTrue(watchdog.watched.containsKey(listener));
            listener.straggling = false;
            assertNull(lane.walker.sweep());
            assertEquals(List.of(false), listener.straggled);
        }

        /** A listener whose first writer blocks until it is released, and to which no other can write. */
        private class Blocking extends Behind {
            private final AtomicInteger writers;
            private final CountDownLatch latch;
            private final AtomicBoolean written = new AtomicBoolean();

            Blocking(AtomicInteger writers, CountDownLatch latch) throws IOException {
                this.writers = writers;
                this.latch = latch;
            }

            @Override
            boolean catchUp() {
                if (!written.compareAndSet(false, true))
                    return false;
                writers.incrementAndGet();
                try {
                    latch.await();
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
                ended = true;
                return true;
            }
        }

        private boolean stands() {
            NanoStreamWs.Lane.Walker walker = lane.walker;
            return walker.at.get() != null && walker.thread.getState() == Thread.State.WAITING;
        }

        @Test
        @DisplayName("gets twice as many walkers with each look while they block, so it is soon past all who are stuck")
        void doublesItsRelief() throws Exception {
            AtomicInteger writers = new AtomicInteger();
            for (int i = 0; i < 100; i++)
                lane.listeners.add(new Blocking(writers, released));
            lane.walker.thread.start();
            stream.append(NanoStreamWs.Opcode.TEXT, MESSAGE);
            TestServer.await("its walker is blocked", () -> writers.get() == 1 && stands());
            NanoStreamWs.Lane.Walker first = lane.walker;
            lane.look();
            assertSame(first, lane.walker, "it moved since the last look");
            for (int blocked = 2; blocked <= 64; blocked *= 2) {
                lane.look();
                int expected = blocked;
                TestServer.await(expected + " are blocked", () -> writers.get() == expected && stands());
            }
            lane.look();
            TestServer.await("all are blocked", () -> writers.get() == 100);
        }

        @Test
        void relievesNoWalkerThatLacksAProcessorOnly() throws Exception {
            AtomicBoolean writing = new AtomicBoolean();
            lane.listeners.add(new Behind() {
                @Override
                boolean catchUp() {
                    writing.set(true);
                    while (released.getCount() > 0)
                        Thread.onSpinWait();
                    ended = true;
                    return true;
                }
            });
            NanoStreamWs.Lane.Walker first = lane.walker;
            first.thread.start();
            TestServer.await("it writes", writing::get);
            for (int i = 0; i < 5; i++)
                lane.look();
            assertSame(first, lane.walker);
        }
    }

    @Nested
    @DisplayName("The broadcaster")
    class Broadcasting {
        private static final int WINDOW = NanoStreamWs.Limits.WINDOW;

        private final NanoStreamWs.Broadcaster broadcaster =
            HeldSocket.unattended(1 << 20, Duration.ofHours(1));

        private static boolean rests(NanoStreamWs.Lane lane) {
            return lane.walker.thread.getState() == Thread.State.WAITING && lane.walker.at.get() == null;
        }

        @BeforeEach
        void awaitWalkers() {
            TestServer.await("all walkers wait", () -> broadcaster.lanes.stream().allMatch(Broadcasting::rests));
        }

        @Test
        void isAsFarBehindAsTheSlowestOfTheLanesThatHaveListeners() throws Exception {
            for (int i = 0; i < 3; i++)
                broadcaster.lanes.get(i).listeners.add(new Behind());
            for (int slowest = 0; slowest < 3; slowest++) {
                for (int i = 0; i < 3; i++)
                    broadcaster.lanes.get(i).swept = i == slowest ? 10 : 15 + i;
                assertEquals(10, broadcaster.lag(20));
            }
            assertEquals(0, broadcaster.lag(10));
        }

        @Test
        void letsAPublisherWaitUntilTheLanesAreWithinTheWindow() throws Exception {
            CountDownLatch released = new CountDownLatch(1);
            broadcaster.lanes.getFirst().listeners.add(new Behind() {
                @Override
                boolean catchUp() {
                    try {
                        released.await();
                    } catch (InterruptedException e) {
                        throw new AssertionError(e);
                    }
                    return super.catchUp();
                }
            });
            long[] lag = {-1};
            Thread publisher = Thread.ofPlatform().start(() -> {
                broadcaster.publish(seen -> new byte[WINDOW + 1]);
                lag[0] = broadcaster.lag(broadcaster.plain.end());
            });
            TestServer.await("it waits, or is done", () -> publisher.getState() == Thread.State.TIMED_WAITING
                || publisher.getState() == Thread.State.TERMINATED);
            released.countDown();
            publisher.join();
            assertTrue(lag[0] >= 0 && lag[0] <= WINDOW, "the lanes were " + lag[0] + " bytes behind");
        }

        @Test
        void sendsNothingBehindTheCloseFrame() {
            assertTrue(broadcaster.send(NanoStreamWs.Opcode.CLOSE, seen -> RawClient.closing(1001)));
            long end = broadcaster.plain.end();
            assertFalse(broadcaster.publish(seen -> MESSAGE));
            assertFalse(broadcaster.send(NanoStreamWs.Opcode.PING, seen -> new byte[0]));
            assertEquals(end, broadcaster.plain.end());
        }

        @Test
        void asksNobodyForASignOfLifeWhereNobodyListens() {
            broadcaster.heartbeat();
            assertEquals(0, broadcaster.plain.end());
        }

        @Test
        void compressesNothingAnyMoreWhenTheLastThatWantedItHasGone() throws Exception {
            NanoStreamWs.Start start = broadcaster.join(true, null);
            NanoStreamWs.Listener listener =
                new NanoStreamWs.Listener(socket, new byte[0], start, TestServer.DEFLATE, NanoStreamWs.Bounds.LISTENER);
            broadcaster.laneOf(listener).add(listener);
            broadcaster.publish(seen -> MESSAGE);
            long end = broadcaster.compressed.end();
            assertTrue(end > 0);
            broadcaster.remove(listener);
            assertEquals(0, broadcaster.size());
            broadcaster.publish(seen -> MESSAGE);
            assertEquals(end, broadcaster.compressed.end());
        }
    }
}
