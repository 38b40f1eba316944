import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
@DisplayName("Connecting again: the README's page, as it stands, in node")
class ReconnectTest {
    /** What a browser and the page's author bring along. Waits are told, as if the dice always fell in the middle, and
     * are a hundredth as long. */
    private static final String AROUND = """
        const [site, stream] = process.argv.slice(2);
        const show = (block) => console.error('show ' + block.hash);
        const showGap = () => console.error('gap');
        const fetch = (path, options) => globalThis.fetch(site + path, options);
        class WebSocket extends globalThis.WebSocket {
          constructor(url) { super(url.replace('wss://stream.example.com/', stream)); }
        }
        const setTimeout = (task, ms) => {
          console.error('wait ' + ms);
          globalThis.setTimeout(task, ms / 100);
        };
        Math.random = () => 0.5;
        """;
    private static final String SECRET = "--secret=" + TestServer.SECRET;

    @TempDir
    private Path folder;
    private final List<AutoCloseable> all = new ArrayList<>();
    private Relay relay;
    private HttpServer site;
    private volatile boolean makesTokens = true;

    @BeforeEach
    void start() throws Exception {
        relay = new Relay();
        site = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        site.createContext("/stream-token", this::answer);
        site.start();
    }

    @AfterEach
    void stop() throws Exception {
        for (AutoCloseable each : all.reversed())
            each.close();
        relay.close();
        site.stop(0);
    }

    private void answer(HttpExchange exchange) throws IOException {
        byte[] token = TestToken.expiring(Instant.now().plusSeconds(60)).getBytes(UTF_8);
        exchange.sendResponseHeaders(makesTokens ? 200 : 500, token.length);
        exchange.getResponseBody().write(token);
        exchange.close();
    }

    /** Whether a node with these options has a WebSocket: as it is from 22 on, with an option from 20.10 on. */
    private static boolean hasWebSocket(String... options) {
        List<String> command = new ArrayList<>(List.of("node"));
        command.addAll(List.of(options));
        command.addAll(List.of("-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"));
        try {
            return new ProcessBuilder(command).start().waitFor() == 0;
        } catch (IOException | InterruptedException e) {
            return false; // there is no node
        }
    }

    /** The page, with its listener let through to the server. */
    private ServerProcess page(TestServer server) throws IOException {
        relay.mend(server.port());
        List<String> command = new ArrayList<>(List.of("node"));
        if (!hasWebSocket()) {
            assumeTrue(hasWebSocket("--experimental-websocket"), "there is no node of 20.10 or newer");
            command.add("--experimental-websocket");
        }
        String html = Readme.block("html", "showGap");
        String script = html.substring(html.indexOf('>') + 1, html.indexOf("</script>"));
        command.add(Files.writeString(folder.resolve("page.mjs"), AROUND + script).toString());
        command.add("http://127.0.0.1:" + site.getAddress().getPort());
        command.add("ws://127.0.0.1:" + relay.port() + "/");
        ServerProcess page = new ServerProcess(new ProcessBuilder(command), line -> { });
        all.add(page);
        return page;
    }

    /** The page once it has shown the blocks from 1 on. */
    private ServerProcess page(TestServer server, int shown) throws Exception {
        ServerProcess page = page(server);
        server.awaitListeners(1);
        post(server, 1, shown);
        page.await("show " + shown + "$");
        return page;
    }

    private TestServer server(String... options) throws Exception {
        List<String> arguments = new ArrayList<>(List.of(options));
        arguments.add(SECRET);
        TestServer server = new TestServer(arguments.toArray(String[]::new));
        all.add(server);
        return server;
    }

    private static void post(TestServer server, int from, int to) throws Exception {
        for (int i = from; i <= to; i++)
            assertEquals(200, server.post("{\"hash\":\"" + i + "\",\"block\":\"{\\\"type\\\":\\\"state\\\"}\"}"));
    }

    /** What was shown so far, and where it was said that some may be missing. */
    private static List<String> shown(ServerProcess page) {
        return page.lines().stream().filter(line -> line.startsWith("show ") || line.equals("gap")).toList();
    }

    private static List<String> blocks(int from, int to) {
        return IntStream.rangeClosed(from, to).mapToObj(i -> "show " + i).toList();
    }

    private static List<String> concat(List<String> first, String then, List<String> last) {
        List<String> all = new ArrayList<>(first);
        all.add(then);
        all.addAll(last);
        return all;
    }

    @Test
    @DisplayName("a connection that breaks: no block is missing and none comes twice")
    void goesOnWhereItWas() throws Exception {
        TestServer server = server();
        ServerProcess page = page(server);
        server.awaitListeners(1);
        post(server, 1, 10);
        for (int i = 10; i <= 50; i += 10) {
            page.await("show " + i + "$");
            relay.cut();
            server.awaitListeners(0);
            post(server, i + 1, i + 5);
            relay.mend(server.port());
            post(server, i + 6, i + 10);
        }
        page.await("show 60$");
        assertEquals(blocks(1, 60), shown(page));
    }

    @Test
    @DisplayName("a connection that breaks again and again under load: the same")
    void goesOnUnderLoad() throws Exception {
        TestServer server = server("--history=100000");
        ServerProcess page = page(server, 1); // a page that has seen none cannot tell where it was
        Thread cutter = Thread.ofVirtual().start(() -> {
            try {
                for (int i = 0; i < 10; i++) {
                    Thread.sleep(20);
                    relay.cut();
                    relay.mend(server.port());
                }
            } catch (InterruptedException e) {
                // the test is over
            }
        });
        int posted = 1;
        while (cutter.isAlive())
            post(server, ++posted, posted);
        post(server, posted + 1, posted + 1);
        page.await("show " + (posted + 1) + "$");
        assertEquals(blocks(1, posted + 1), shown(page));
    }

    @Test
    @DisplayName("nothing new: the last block comes again, and is not shown again")
    void doesNotShowTheLastOneAgain() throws Exception {
        TestServer server = server();
        ServerProcess page = page(server, 1);
        relay.cut();
        server.awaitListeners(0);
        relay.mend(server.port());
        server.awaitListeners(1);
        post(server, 2, 2);
        page.await("show 2$");
        assertEquals(blocks(1, 2), shown(page));
    }

    /** A server that gets its blocks from a Redis of its own. */
    private TestServer server(FakeRedis redis) throws Exception {
        all.add(redis);
        TestServer server = server("--redis=" + redis.url());
        server.awaitLog("for requests is up");
        server.awaitLog("for the channel is up");
        return server;
    }

    private static void bring(FakeRedis redis, int from, int to) throws Exception {
        for (int i = from; i <= to; i++)
            redis.send(FakeRedis.message("500000%1$d %1$d 1 {\"hash\":\"%1$d\",\"seen\":5.00000%1$d}".formatted(i)));
    }

    @Test
    @DisplayName("another server that is behind: what it sends again is not shown again, and is no gap")
    void passesOverWhatItHas() throws Exception {
        FakeRedis redis = new FakeRedis(), slow = new FakeRedis();
        TestServer server = server(redis), behind = server(slow);
        ServerProcess page = page(server);
        server.awaitListeners(1);
        bring(redis, 1, 5);
        page.await("show 5$");
        relay.cut();
        relay.mend(behind.port());
        behind.awaitListeners(1);
        bring(slow, 3, 7);
        page.await("show 7$");
        assertEquals(blocks(1, 7), shown(page));
    }

    @Test
    @DisplayName("a restart: what was posted after it comes, and the page says that some may be missing")
    void saysThatThereIsAGapAfterARestart() throws Exception {
        TestServer before = server();
        ServerProcess page = page(before, 5);
        relay.mend(0);
        before.close();
        TestServer after = server();
        post(after, 8, 12);
        relay.mend(after.port());
        page.await("show 12$");
        post(after, 13, 14);
        page.await("show 14$");
        assertEquals(concat(blocks(1, 5), "gap", blocks(8, 14)), shown(page));
    }

    @Test
    @DisplayName("away for longer than the history is: the same")
    void saysThatThereIsAGapInTheHistory() throws Exception {
        TestServer server = server("--history=3");
        ServerProcess page = page(server, 5);
        relay.cut();
        server.awaitListeners(0);
        post(server, 6, 20);
        relay.mend(server.port());
        page.await("show 20$");
        assertEquals(concat(blocks(1, 5), "gap", blocks(18, 20)), shown(page));
    }

    @Test
    @DisplayName("waits a random part of 1, 2, 4 and up to 30 s, and of 1 s again after a block")
    void waitsLongerWithEachTry() throws Exception {
        TestServer server = server();
        ServerProcess page = page(server);
        server.awaitListeners(1);
        makesTokens = false;
        relay.cut();
        page.await("no token: 500");
        page.await("wait 8000$");
        makesTokens = true; // the network is still down
        page.await("wait 15000$");
        TestServer.await("it waits no longer than that", () -> waits(page).size() >= 7);
        relay.mend(server.port());
        server.awaitListeners(1);
        post(server, 1, 1);
        page.await("show 1$");
        relay.cut();
        TestServer.await("another try", () -> page.lines().getLast().startsWith("wait"));
        List<String> waits = waits(page);
        assertEquals(List.of("500", "1000", "2000", "4000", "8000", "15000", "15000"), waits.subList(0, 7));
        int shown = page.lines().indexOf("show 1");
        assertEquals("wait 500", page.lines().subList(shown + 1, page.lines().size()).stream()
            .filter(line -> line.startsWith("wait")).findFirst().orElseThrow());
    }

    private static List<String> waits(ServerProcess page) {
        return page.lines().stream().filter(line -> line.startsWith("wait ")).map(line -> line.substring(5)).toList();
    }
}
