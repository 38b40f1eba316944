import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.time.InstantSource;
import java.util.Arrays;
import java.util.concurrent.locks.LockSupport;

/** A process that has to end although its standard error is blocked. The one that starts it does not read that. */
@SuppressWarnings("serial") // no exception is ever serialized
final class Blocked {
    /** The status if it goes on. */
    static final int GOES_ON = 3;

    /** A fatal fault of which not even a line can be made. */
    private static final class Untold extends OutOfMemoryError {
        @Override
        public String toString() {
            throw new OutOfMemoryError("once more");
        }
    }

    /** An exception of which not even a line can be made. */
    private static final class UntoldException extends RuntimeException {
        @Override
        public String toString() {
            throw new IllegalStateException("once more");
        }
    }

    /** @param args what happens: memory, linkage, untold or other for a fault; walker for an uncaught exception in one,
     * bind for a start that gets no port, or serve; with the server's arguments behind these three */
    public static void main(String[] args) throws Exception {
        // More than a pipe holds: this keeps the stream's lock for ever.
        Thread.ofPlatform().daemon().start(() -> System.err.print("x".repeat(1 << 20)));
        System.in.read(); // the other side has seen that it has begun
        String[] rest = Arrays.copyOfRange(args, 1, args.length);
        try {
            switch (args[0]) {
                case "memory" -> fault(new OutOfMemoryError("of a test"));
                case "linkage" -> fault(new NoClassDefFoundError("of a test"));
                case "untold" -> fault(new Untold());
                case "other" -> fault(new IllegalStateException("of a test"));
                case "walker" -> walk(rest);
                case "bind" -> bind(rest);
                default -> serve(rest);
            }
        } catch (Throwable e) {
            // it should not have come here
        }
        Runtime.getRuntime().halt(GOES_ON);
    }

    private static void fault(Throwable fault) {
        new NanoStreamWs.EventLog(System.err, InstantSource.system()).fault(fault);
    }

    /** Starts the server, and a lane in which a walker fails. */
    private static void walk(String[] args) throws Exception {
        Thread.ofPlatform().daemon().start(() -> serve(args));
        TestServer.await("the server", () -> Thread.getDefaultUncaughtExceptionHandler() != null);
        NanoStreamWs.StreamLog log = new NanoStreamWs.StreamLog();
        NanoStreamWs.Lane lane = new NanoStreamWs.Lane(log, new NanoStreamWs.Watchdog(1, Duration.ofSeconds(1)));
        try (ServerSocket listening = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
             Socket socket = new Socket(listening.getInetAddress(), listening.getLocalPort())) {
            NanoStreamWs.Bounds bounds = NanoStreamWs.Bounds.LISTENER;
            lane.listeners.add(new NanoStreamWs.Listener(socket, new byte[0], HeldSocket.now(log), TestServer.PLAIN, bounds) {
                @Override
                long lag() {
                    throw new UntoldException();
                }
            });
            lane.walker.thread.start();
            Thread.sleep(Duration.ofSeconds(10)); // the process ends meanwhile
        }
    }

    /** Starts the server, which never gets its first port. */
    @SuppressWarnings("deprecation") // no other way makes a start stand
    private static void bind(String[] args) throws Exception {
        ServerSocket.setSocketFactory(() -> {
            System.out.println("it starts");
            while (true)
                LockSupport.park();
        });
        NanoStreamWs.main(args);
    }

    /** Starts the server, and tells when the start is over while the log stands in a write. */
    private static void serve(String[] args) {
        Thread main = Thread.currentThread();
        Thread.ofPlatform().daemon().start(() -> {
            while (!stands(main, "java.util.concurrent.CountDownLatch.await") || !logStands())
                LockSupport.parkNanos(1_000_000);
            System.out.println("the log stands in a write");
        });
        try {
            NanoStreamWs.main(args);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static boolean logStands() {
        return Thread.getAllStackTraces().keySet().stream()
            .anyMatch(thread -> thread.getName().equals("log") && stands(thread, "java.io.PrintStream.println"));
    }

    private static boolean stands(Thread thread, String method) {
        return Arrays.stream(thread.getStackTrace())
            .anyMatch(at -> method.equals(at.getClassName() + '.' + at.getMethodName()));
    }
}
