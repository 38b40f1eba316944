import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.CountDownLatch;

/** A listener's socket without a network: a write stands while it is held, then what is written is kept. */
final class HeldSocket extends Unconnected {
    final ConcurrentLinkedDeque<Thread> writers = new ConcurrentLinkedDeque<>(); // one for each write
    private volatile CountDownLatch go = new CountDownLatch(1);
    private volatile boolean closed;
    private final ByteArrayOutputStream written = new ByteArrayOutputStream();

    /** One whose writes do not stand. */
    static HeldSocket free() {
        HeldSocket socket = new HeldSocket();
        socket.letGo();
        return socket;
    }

    /** A broadcaster whose lanes nobody looks at: a blocked one is not relieved, and nobody is evicted. */
    static NanoStreamWs.Broadcaster unattended() {
        return unattended(1 << 23, Duration.ofSeconds(10));
    }

    static NanoStreamWs.Broadcaster unattended(long maxLag, Duration writeTimeout) {
        return new NanoStreamWs.Broadcaster(maxLag, writeTimeout, InstantSource.system(), (opcode, seen, from) -> { });
    }

    /** A listener begins at the end of a log. */
    static NanoStreamWs.Start now(NanoStreamWs.StreamLog log) {
        return new NanoStreamWs.Start(log.now(), null);
    }

    /** A listener with this socket, whose cursor is at the log's end. */
    NanoStreamWs.Listener listener(NanoStreamWs.StreamLog log) throws IOException {
        return new NanoStreamWs.Listener(this, new byte[0], now(log), TestServer.PLAIN, NanoStreamWs.Bounds.LISTENER);
    }

    void letGo() {
        go.countDown();
    }

    void hold() {
        go = new CountDownLatch(1);
    }

    @Override
    public void setSoLinger(boolean on, int linger) {
        // there is no connection
    }

    /** A write that stands, and each one after it, fails. */
    @Override
    public void close() {
        closed = true;
        letGo();
    }

    /** The frames that were written. */
    List<RawClient.Frame> frames() throws IOException {
        List<RawClient.Frame> frames = new ArrayList<>();
        byte[] bytes;
        synchronized (written) {
            bytes = written.toByteArray();
        }
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
        while (in.available() > 0)
            frames.add(RawClient.frame(in));
        return frames;
    }

    /** The texts among them. */
    List<String> texts() throws IOException {
        return frames().stream().filter(RawClient.Frame::isText).map(RawClient.Frame::text).toList();
    }

    @Override
    void write(byte[] bytes, int offset, int length) throws IOException {
        writers.add(Thread.currentThread());
        try {
            go.await();
        } catch (InterruptedException e) {
            throw new InterruptedIOException();
        }
        if (closed)
            throw new IOException("closed");
        synchronized (written) {
            written.write(bytes, offset, length);
        }
    }
}
