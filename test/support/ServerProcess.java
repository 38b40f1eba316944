import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The server in a process of its own: its log, its ports, and what it has of memory and descriptors. */
final class ServerProcess implements AutoCloseable {
    static final Path JDK = Path.of(System.getProperty("java.home"), "bin");
    static final String JAVA = JDK.resolve("java").toString();
    private static final Path CLASSES = Path.of(".build", "classes");
    private static final Pattern LISTENERS_PORT = Pattern.compile("listeners connect to wss?://\\S+:(\\d+)/");
    private static final Pattern FEED_PORT = Pattern.compile("feed takes POSTs to http://\\S+:(\\d+)/");
    private static final int KEPT_LINES = 10_000; // the first ones: a soak's log grows for hours
    private static final int PATIENCE = 20; // seconds

    final Process process;
    private final List<String> lines = new ArrayList<>(); // guarded by this
    private boolean logHasEnded; // guarded by this
    private final Consumer<String> onLine;
    private final Thread reader = Thread.ofPlatform().daemon().unstarted(this::readLog);

    /** Starts a command. Its standard error is the log, each line of which goes to onLine as well, in one thread. */
    ServerProcess(ProcessBuilder command, Consumer<String> onLine) throws IOException {
        this.onLine = onLine;
        command.environment().remove("NANO_STREAM_SECRET");
        process = command.start();
        reader.start();
    }

    /** A server whose standard output can be read. */
    static ServerProcess of(String... args) throws IOException {
        return new ServerProcess(new ProcessBuilder(command("", args)), line -> { });
    }

    /** A server that a tool watches, on free ports of the loopback address; its standard output is the tool's.
     * @param jvm options of the JVM, with spaces between */
    static ServerProcess watched(String jvm, Consumer<String> onLine, String... args) throws IOException {
        List<String> command = command(jvm, "--host=127.0.0.1", "--port=0", "--feed=http://127.0.0.1:0/");
        command.addAll(List.of(args));
        return new ServerProcess(new ProcessBuilder(command).redirectOutput(ProcessBuilder.Redirect.INHERIT), onLine);
    }

    /** The command line that starts the server from the classes of the tests. */
    static List<String> command(String jvm, String... args) {
        List<String> command = new ArrayList<>(List.of(JAVA));
        command.addAll(Stream.of(jvm.split("\\s+")).filter(option -> !option.isEmpty()).toList());
        command.addAll(List.of("-cp", CLASSES.toString(), "NanoStreamWs"));
        command.addAll(List.of(args));
        return command;
    }

    private void readLog() {
        try (BufferedReader log = process.errorReader(UTF_8)) {
            log.lines().forEach(this::take);
        } catch (IOException | UncheckedIOException e) {
            // then it ends here
        } finally {
            synchronized (this) {
                logHasEnded = true;
                notifyAll();
            }
        }
    }

    private void take(String line) {
        onLine.accept(line);
        synchronized (this) {
            if (lines.size() < KEPT_LINES)
                lines.add(line);
            notifyAll();
        }
    }

    /** The log so far. */
    synchronized List<String> lines() {
        return List.copyOf(lines);
    }

    /** Waits for a line in which the pattern is found, and returns the pattern's first group, or the whole line. */
    String await(String pattern) {
        return await(Pattern.compile(pattern));
    }

    private synchronized String await(Pattern pattern) {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        String found = find(pattern);
        while (found == null) {
            long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
            if (logHasEnded || left <= 0)
                throw new AssertionError((logHasEnded ? "ended without" : "waited " + PATIENCE + " s for")
                    + " a line with " + pattern + "; the log has: " + lines);
            try {
                wait(left);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            found = find(pattern);
        }
        return found;
    }

    private String find(Pattern pattern) {
        for (String line : lines) {
            Matcher matcher = pattern.matcher(line);
            if (matcher.find())
                return matcher.groupCount() == 0 ? line : matcher.group(1);
        }
        return null;
    }

    int port() {
        return Integer.parseInt(await(LISTENERS_PORT));
    }

    int feedPort() {
        return Integer.parseInt(await(FEED_PORT));
    }

    /** What it wrote to standard output, up to its end. */
    String output() throws IOException {
        return new String(process.getInputStream().readAllBytes(), UTF_8);
    }

    /** A number of /proc/PID/status, of kB where it is memory; -1 on a system without. */
    long status(String name) {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/" + process.pid() + "/status")))
                if (line.startsWith(name + ':'))
                    return Long.parseLong(line.replaceAll("\\D", ""));
        } catch (IOException e) {
            // another system
        }
        return -1;
    }

    /** How many are open; -1 on a system without /proc. */
    long descriptors() {
        try (Stream<Path> open = Files.list(Path.of("/proc/" + process.pid() + "/fd"))) {
            return open.count();
        } catch (IOException e) {
            return -1;
        }
    }

    /** Sends SIGTERM. (Process.destroy would close the server's standard error too.) */
    void terminate() {
        process.toHandle().destroy();
    }

    /** Waits for the end of the process and of its log; returns the exit status. */
    int exit() throws InterruptedException {
        if (!process.waitFor(PATIENCE, TimeUnit.SECONDS))
            throw new AssertionError("still running");
        reader.join();
        return process.exitValue();
    }

    /** Ends it, in order if it ends in time. */
    void end() {
        terminate();
        try {
            process.waitFor(PATIENCE / 2, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            // then at once
        }
        close();
    }

    @Override
    public void close() {
        process.destroyForcibly().onExit().join();
    }
}
