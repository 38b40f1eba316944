import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A redis-server in a process of its own, set up as the README has it, on a free port of the loopback address. */
final class RedisServer implements AutoCloseable {
    /** Of the README's user, as a server's --redis has them. */
    static final String USER = "nano-stream:PASSWORD";
    /** The password of the user that may do everything. */
    static final String ADMIN = "ANOTHER-PASSWORD";

    final int port = ProxyInFront.freePort();
    private final Path folder;
    private final String program = ProxyInFront.program("redis-server");
    private final String client = ProxyInFront.program("redis-cli");
    private Process process;

    /** A test without a redis-server is skipped.
     * @param folder for its files */
    RedisServer(Path folder) throws IOException {
        this(folder, configuration());
    }

    RedisServer(Path folder, String configuration) throws IOException {
        this.folder = folder;
        // Of two lines the last one counts. A busy disk is not waited for: what was written outlives a SIGKILL.
        String own = configuration + """
            bind 127.0.0.1
            port %d
            dir %s
            save ""
            appendfsync no
            """.formatted(port, folder);
        Files.writeString(folder.resolve("redis.conf"), own);
        start();
    }

    /** What the README has at the end of redis.conf. */
    static String configuration() throws IOException {
        return Readme.block("conf", "appendonly");
    }

    /** Starts it, with what it has kept. */
    void start() throws IOException {
        process = new ProcessBuilder(program, "redis.conf").directory(folder.toFile()).redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(folder.resolve("redis.log").toFile())).start();
        TestServer.await("Redis answers", () -> {
            if (!process.isAlive())
                throw new AssertionError(ProxyInFront.read(folder.resolve("redis.log")));
            return ask("PING").equals("PONG");
        });
    }

    /** Ends it by SIGKILL. */
    void kill() {
        process.destroyForcibly().onExit().join();
    }

    /** Stops it by SIGSTOP. Its connections stay. */
    void pause() throws Exception {
        signal(process, "STOP");
    }

    void resume() throws Exception {
        signal(process, "CONT");
    }

    static void signal(Process process, String signal) throws Exception {
        String kill = "kill -" + signal + " " + process.pid();
        if (new ProcessBuilder("sh", "-c", kill).start().waitFor() != 0)
            throw new AssertionError(kill);
    }

    /** What an administrator is answered. */
    String ask(String... words) {
        List<String> command = new ArrayList<>(List.of(client, "-p", "" + port, "--no-auth-warning", "-a", ADMIN));
        command.addAll(List.of(words));
        try {
            Process asking = new ProcessBuilder(command).redirectErrorStream(true).start();
            return new String(asking.getInputStream().readAllBytes(), UTF_8).strip();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** The largest output buffer of a client, in bytes. */
    long largestBuffer() {
        return ask("CLIENT", "LIST").lines()
            .mapToLong(line -> Long.parseLong(line.replaceFirst(".* omem=(\\d+) .*", "$1"))).max().orElseThrow();
    }

    /** The number of the last message. */
    long number() {
        return Long.parseLong(ask("HGET", "nano-stream:state", "number"));
    }

    @Override
    public void close() {
        kill();
    }
}
