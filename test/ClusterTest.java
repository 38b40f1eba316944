import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.io.InputStream;
import java.math.BigDecimal;
import java.net.InetAddress;
import java.net.Socket;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("slow")
@DisplayName("A cluster: servers that share used tokens and the stream by a redis-server")
class ClusterTest {
    private static final String LOST = "nanostream_redis_lost_messages_total";
    private static final String CAME = "nanostream_redis_messages_total";
    private static final int MIB = 1024 * 1024;
    private static final Pattern SEEN = Pattern.compile("\"seen\":([0-9.]+)");

    @TempDir
    private Path folder;
    private final List<AutoCloseable> all = new ArrayList<>(); // ended in the reverse order
    private final List<TestServer> servers = new ArrayList<>();
    private RedisServer redis;

    @BeforeEach
    void start() throws Exception {
        redis = new RedisServer(folder);
        all.add(redis);
    }

    @AfterEach
    void stop() throws Exception {
        AssertionError failed = null;
        for (AutoCloseable each : all.reversed()) {
            try {
                each.close();
            } catch (Exception | AssertionError e) { // the rest has to end as well
                failed = new AssertionError(e);
            }
        }
        if (failed != null) throw failed;
    }

    /** A listener that keeps what it gets. */
    private static final class Taker implements AutoCloseable {
        final List<String> texts = Collections.synchronizedList(new ArrayList<>());
        private final RawClient client;
        volatile boolean isThere = true;

        Taker(RawClient client) {
            this.client = client;
            Thread.ofVirtual().start(this::take);
        }

        private void take() {
            try (client) {
                while (true)
                    texts.add(client.text());
            } catch (IOException e) {
                isThere = false;
            }
        }

        void await(String text) {
            TestServer.await("a listener gets " + text, () -> texts.contains(text));
        }

        void await(int count) {
            TestServer.await("a listener has " + count + " messages", () -> texts.size() >= count);
        }

        @Override
        public void close() throws IOException {
            client.close();
        }
    }

    /** Posts messages that nobody else posts, one after the other, until it is told to end. */
    private static final class Load {
        private static final AtomicInteger loads = new AtomicInteger();
        final Set<String> taken = ConcurrentHashMap.newKeySet(); // those that were answered with 200
        final AtomicInteger refused = new AtomicInteger();       // so many were answered with 503
        private final AtomicBoolean ends = new AtomicBoolean();
        private final FutureTask<Void> task;
        private volatile boolean isCut; // by the server
        private volatile boolean isToBeCut;

        /** @param bytes of a message, some more */
        Load(int feedPort, int bytes) {
            String name = "load " + loads.incrementAndGet() + ' ' + "x".repeat(bytes) + ' ';
            task = new FutureTask<>(() -> {
                try (RawClient publisher = new RawClient(feedPort)) {
                    for (int i = 0; !ends.get(); i++)
                        post(publisher, name + i);
                } catch (IOException e) {
                    isCut = true;
                }
                return null;
            });
            Thread.ofVirtual().start(task);
        }

        private void post(RawClient publisher, String message) throws IOException {
            int status = ClusterTest.post(publisher, message);
            if (status == 200) {
                taken.add(message);
                return;
            }
            assertEquals(503, status);
            refused.incrementAndGet();
            LockSupport.parkNanos(10_000_000); // 10 ms
        }

        void awaitMore(int count) {
            int least = taken.size() + count;
            TestServer.await(count + " more messages are taken", () -> taken.size() >= least);
        }

        void awaitRefused() {
            TestServer.await("a publisher is told 503", () -> refused.get() > 0);
        }

        /** Ends it with the message under way. */
        void end() throws Exception {
            if (!isToBeCut)
                ends.set(true);
            task.get(20, TimeUnit.SECONDS);
            assertEquals(isToBeCut, isCut);
        }
    }

    private static int post(RawClient publisher, String message) throws IOException {
        publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + message.length() + "\r\n\r\n" + message);
        return RawClient.status(publisher.answer());
    }

    private TestServer server(String... options) throws Exception {
        return server(redis.port, options);
    }

    private TestServer server(int redisPort, String... options) throws Exception {
        List<String> arguments = new ArrayList<>(List.of(options));
        arguments.add("--redis=" + url(redisPort));
        TestServer server = new TestServer(arguments.toArray(String[]::new));
        servers.add(server);
        all.add(server);
        server.awaitLog("for requests is up");
        server.awaitLog("for the channel is up");
        return server;
    }

    private static String url(int port) {
        return "redis://" + RedisServer.USER + "@127.0.0.1:" + port;
    }

    private void three(String... options) throws Exception {
        for (int i = 0; i < 3; i++)
            server(options);
    }

    private Taker taker(TestServer server) throws Exception {
        return taker(server.port(), "/?t=" + TestToken.fresh(server));
    }

    private Taker taker(int port, String target) throws Exception {
        Taker taker = new Taker(RawClient.admitted(port, target));
        all.add(taker);
        return taker;
    }

    /** So many listeners of each server. */
    private List<Taker> takers(int each) throws Exception {
        List<Taker> takers = new ArrayList<>();
        for (TestServer server : servers)
            for (int i = 0; i < each; i++)
                takers.add(taker(server));
        for (TestServer server : servers)
            server.awaitListeners(each);
        return takers;
    }

    private Load load(TestServer server) {
        return load(server, 10);
    }

    private Load load(TestServer server, int bytes) {
        Load load = new Load(server.feedPort(), bytes);
        all.add(load::end);
        return load;
    }

    private static double figure(int feedPort, String name) throws Exception {
        return Exposition.of(feedPort).get(name);
    }

    private static int health(TestServer server) {
        try {
            String request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            return RawClient.status(RawClient.lastAnswer(server.feedPort(), request));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** The log says so last of the connection. */
    private static void awaitLast(TestServer server, String connection, String state) {
        TestServer.await("the connection for " + connection + ' ' + state, () -> server.log().lines()
            .filter(line -> line.contains("for " + connection + " is ")).toList().getLast().contains(state));
    }

    private void awaitRedis(String state) {
        for (TestServer server : servers) {
            awaitLast(server, "requests", state);
            awaitLast(server, "the channel", state);
        }
    }

    /** Each has each message once, and all have those that two of them have in the same order. */
    private static void assertSameOrder(List<Taker> takers) {
        Map<String, Integer> first = new HashMap<>();
        for (String text : takers.getFirst().texts)
            assertNull(first.put(text, first.size()), text);
        for (Taker taker : takers) {
            assertEquals(taker.texts.size(), new HashSet<>(taker.texts).size(), "none comes twice");
            List<Integer> places = taker.texts.stream().filter(first::containsKey).map(first::get).toList();
            assertEquals(places.stream().sorted().toList(), places);
        }
    }

    @Test
    @DisplayName("a token that is presented 64 times over all servers at once is admitted exactly once")
    void admitsATokenOnce() throws Exception {
        three("--secret=" + TestServer.SECRET);
        for (int round = 0; round < 5; round++) {
            String target = "/?t=" + TestToken.fresh(servers.getFirst());
            List<RawClient> clients = new ArrayList<>();
            for (int i = 0; i < 64; i++)
                clients.add(new RawClient(servers.get(i % 3).port()));
            all.addAll(clients);
            List<Integer> statuses = atOnce(clients, client -> RawClient.status(client.upgrade(target)));
            assertEquals(1, Collections.frequency(statuses, 101), statuses.toString());
            assertEquals(63, Collections.frequency(statuses, 401), statuses.toString());
        }
        for (TestServer server : servers)
            server.awaitLog(": Token has already been used");
    }

    /** What is asked of a client, or of a server. */
    private interface Question<T> {
        int ask(T whom) throws Exception;
    }

    /** Asks all in the same moment. */
    private static <T> List<Integer> atOnce(List<T> all, Question<T> question) throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        List<FutureTask<Integer>> tasks = all.stream().map(each -> new FutureTask<>(() -> {
            go.await();
            return question.ask(each);
        })).toList();
        tasks.forEach(Thread.ofVirtual()::start);
        go.countDown();
        List<Integer> answers = new ArrayList<>();
        for (Future<Integer> task : tasks)
            answers.add(task.get());
        return answers;
    }

    @Test
    @DisplayName("20,000 messages that are posted to all servers reach every listener once, in the same order")
    void broadcastsToAll() throws Exception {
        three("--secret=" + TestServer.SECRET);
        List<Taker> takers = takers(2);
        int publishers = 16, each = 20_000 / publishers;
        List<Integer> numbers = IntStream.range(0, publishers).boxed().toList();
        List<Integer> taken = atOnce(numbers, i -> {
            int ok = 0;
            try (RawClient publisher = new RawClient(servers.get(i % 3).feedPort())) {
                for (int message = 0; message < each; message++)
                    ok += post(publisher, i + " " + message) == 200 ? 1 : 0;
            }
            return ok;
        });
        assertEquals(Collections.nCopies(publishers, each), taken, "all are taken");
        for (Taker taker : takers)
            taker.await(20_000);
        List<String> texts = takers.getFirst().texts;
        assertEquals(20_000, new HashSet<>(texts).size());
        for (Taker taker : takers)
            assertEquals(texts, taker.texts);
        for (int i = 0; i < publishers; i++) {
            String name = i + " ";
            List<String> of = texts.stream().filter(text -> text.startsWith(name)).toList();
            assertEquals(IntStream.range(0, each).mapToObj(message -> name + message).toList(), of);
        }
        for (TestServer server : servers)
            assertEquals(0, figure(server.feedPort(), LOST));
    }

    @Test
    @DisplayName("without Redis nobody is admitted and nothing taken: 503; a token is good when it is there again")
    void refusesWithoutRedis() throws Exception {
        TestServer server = server("--secret=" + TestServer.SECRET);
        Taker taker = taker(server);
        String token = "/?t=" + TestToken.fresh(server);
        redis.kill();
        try (RawClient client = new RawClient(server.port())) {
            String head = client.upgrade(token);
            assertEquals(503, RawClient.status(head));
            assertNotNull(RawClient.field(head, "Retry-After"), head);
        }
        assertEquals(503, server.post("lost"));
        server.awaitLog(": The other servers cannot be asked or told: Redis: ");
        TestServer.await("it is not well", () -> health(server) == 503);
        redis.start();
        awaitRedis("is up again");
        assertEquals(200, health(server));
        assertEquals(101, GuardedServer.knock(server, token));
        assertEquals(401, GuardedServer.knock(server, token));
        assertEquals(200, server.post("here"));
        taker.await("here");
        assertEquals(List.of("here"), taker.texts);
    }

    /** Tokens that are presented to two servers at once, over and over. */
    private final class Crowd {
        final Map<String, Integer> admitted = new ConcurrentHashMap<>(); // how often, by target
        private final AtomicBoolean ends = new AtomicBoolean();
        private final FutureTask<Void> task = new FutureTask<>(this::come);

        Crowd() {
            Thread.ofVirtual().start(task);
        }

        private Void come() throws Exception {
            while (!ends.get()) {
                present("/?t=" + TestToken.fresh(servers.getFirst()));
                LockSupport.parkNanos(10_000_000); // 10 ms: others have to get on as well
            }
            return null;
        }

        private void present(String target) throws Exception {
            List<TestServer> two = new ArrayList<>(servers);
            two.remove(ThreadLocalRandom.current().nextInt(3));
            List<Integer> statuses = atOnce(two, server -> GuardedServer.knock(server, target));
            for (int status : statuses)
                assertTrue(List.of(101, 401, 503).contains(status), statuses.toString());
            admitted.merge(target, Collections.frequency(statuses, 101), Integer::sum);
        }

        void end() throws Exception {
            ends.set(true);
            task.get(20, TimeUnit.SECONDS);
        }

        /** Presents all once more. None was admitted twice. */
        void assertOnce() throws Exception {
            end();
            for (String target : List.copyOf(admitted.keySet()))
                present(target);
            admitted.forEach((target, times) -> assertTrue(times <= 1, times + " times"));
            assertTrue(admitted.containsValue(1), "some were admitted");
        }
    }

    private Crowd crowd() {
        Crowd crowd = new Crowd();
        all.add(crowd::end);
        return crowd;
    }

    /** Three servers, each with a listener and a publisher, and clients that come with tokens. */
    private final class Busy {
        final List<Taker> takers;
        final List<Load> loads;
        final Crowd crowd;

        Busy() throws Exception {
            three("--secret=" + TestServer.SECRET);
            takers = takers(1);
            loads = servers.stream().map(ClusterTest.this::load).toList();
            crowd = crowd();
            loads.getFirst().awaitMore(200);
        }

        /** Messages are taken again, and nobody was admitted twice. All listeners are still there, and what they did
         * not get has been counted. */
        void assertOutlived() throws Exception {
            for (Load load : loads)
                load.awaitMore(200);
            crowd.assertOnce();
            for (Load load : loads)
                load.end();
            assertEquals(200, servers.getFirst().post("the end"));
            for (Taker taker : takers) {
                taker.await("the end");
                assertTrue(taker.isThere);
            }
            assertSameOrder(takers);
            int taken = loads.stream().mapToInt(load -> load.taken.size()).sum();
            assertTrue(redis.number() > taken, "Redis knows of all that it took");
            for (int i = 0; i < servers.size(); i++) {
                int feed = servers.get(i).feedPort();
                assertEquals(takers.get(i).texts.size(), figure(feed, CAME));
                assertEquals(redis.number(), figure(feed, CAME) + figure(feed, LOST), servers.get(i).log());
            }
        }
    }

    @Test
    @DisplayName("when Redis is killed under load and started again, nobody is admitted twice, listeners stay, the "
        + "stream goes on, and what was lost is counted")
    void outlivesAKilledRedis() throws Exception {
        Busy busy = new Busy();
        redis.kill();
        busy.loads.forEach(Load::awaitRefused);
        awaitRedis("is down");
        redis.start();
        awaitRedis("is up again");
        busy.assertOutlived();
    }

    @Test
    @DisplayName("while Redis stands still for 5 s, nobody is admitted and nothing taken; then all goes on")
    void outlivesAPausedRedis() throws Exception {
        Busy busy = new Busy();
        redis.pause();
        long end = System.nanoTime() + 5_000_000_000L;
        busy.loads.forEach(Load::awaitRefused);
        for (TestServer server : servers)
            TestServer.await("it is not well", () -> health(server) == 503);
        while (System.nanoTime() < end) {
            for (TestServer server : servers) {
                assertEquals(503, GuardedServer.knock(server, "/?t=" + TestToken.fresh(server)));
                assertEquals(503, server.post("not now " + System.nanoTime()));
            }
            LockSupport.parkNanos(20_000_000); // 20 ms
        }
        redis.resume();
        busy.assertOutlived();
    }

    @Test
    @DisplayName("what a server misses while it is cut off is counted and logged")
    void countsWhatIsLost() throws Exception {
        TestServer there = server();
        try (Relay relay = new Relay()) {
            relay.mend(redis.port);
            TestServer cutOff = server(relay.port());
            List<Taker> takers = takers(1);
            assertEquals(200, there.post("before"));
            for (Taker taker : takers)
                taker.await("before");
            relay.cut();
            awaitLast(cutOff, "the channel", "is down");
            for (int i = 0; i < 10; i++)
                assertEquals(200, there.post("missed " + i));
            relay.mend(redis.port);
            awaitRedis("is up");
            assertEquals(200, there.post("behind"));
            for (Taker taker : takers)
                taker.await("behind");
            assertEquals(12, takers.getFirst().texts.size());
            assertEquals(List.of("before", "behind"), takers.getLast().texts);
            cutOff.awaitLog("for the channel: 10 messages were lost");
            assertEquals(10, figure(cutOff.feedPort(), LOST));
            assertEquals(0, figure(there.feedPort(), LOST));
        }
    }

    @Test
    @DisplayName("when Redis has lost its data, the log says so, the stream goes on, and a server knows whom it admitted")
    void warnsWhenRedisHasLostItsData() throws Exception {
        TestServer server = server("--secret=" + TestServer.SECRET);
        String token = "/?t=" + TestToken.fresh(server);
        Taker taker = taker(server.port(), token);
        for (int i = 0; i < 3; i++)
            assertEquals(200, server.post("before " + i));
        assertEquals("OK", redis.ask("FLUSHALL"));
        assertEquals(200, server.post("behind"));
        taker.await("behind");
        assertEquals(List.of("before 0", "before 1", "before 2", "behind"), taker.texts);
        server.awaitLog("counts anew: Redis has lost its data, used tokens too");
        assertEquals(401, GuardedServer.knock(server, token));
    }

    @Test
    @DisplayName("what a server misses before it has got any is counted, too")
    void countsWhatIsLostBeforeTheFirst() throws Exception {
        TestServer there = server();
        try (Relay relay = new Relay()) {
            relay.mend(redis.port);
            TestServer cutOff = server(relay.port());
            Taker taker = taker(cutOff);
            relay.cut();
            awaitLast(cutOff, "the channel", "is down");
            for (int i = 0; i < 10; i++)
                assertEquals(200, there.post("missed " + i));
            relay.mend(redis.port);
            awaitRedis("is up");
            assertEquals(200, there.post("behind"));
            taker.await("behind");
            cutOff.awaitLog("for the channel: 10 messages were lost");
            assertEquals(10, figure(cutOff.feedPort(), LOST));
        }
    }

    @ParameterizedTest
    @DisplayName("what somebody else has written into the keys, or a clock that was set back, stops no message")
    @ValueSource(strings = {
        "state number -5", "state number inf", "state number nan", "state number 1e17", "state seen inf",
        "state seen 9007199254740992", "state seen 1e300", "state bytes inf", "state number x",
        "servers other rubbish", "servers other 5", "servers other ", "servers other 0 99999999999"})
    void goesOnWhateverIsInTheKeys(String field) throws Exception {
        TestServer server = server();
        Taker taker = taker(server.port(), "/");
        redis.ask("HSET", "nano-stream:state", "bytes", "9000000"); // so much as nobody may be behind
        String[] words = field.split(" ", 3);
        redis.ask("HSET", "nano-stream:" + words[0], words[1], words[2]);
        for (int i = 0; i < 3; i++)
            assertEquals(200, server.post(callback(i)), field);
        taker.await(3);
        assertIncreasing(seen(taker));
        assertEquals(3, redis.number());
    }

    @Test
    @DisplayName("seen increases, also behind a Redis that has lost its data, or whose clock is slower than that before")
    void increasesBehindALoss() throws Exception {
        three();
        Taker taker = taker(servers.getFirst().port(), "/");
        redis.ask("HSET", "nano-stream:state", "seen", "3000000000000000"); // by the clock before
        assertEquals(200, servers.get(1).post(callback(1)));
        taker.await(1);
        assertEquals("OK", redis.ask("FLUSHALL"));
        assertEquals(200, servers.get(1).post(callback(2)));
        taker.await(2);
        assertEquals(200, servers.get(2).post(callback(3)));
        taker.await(3);
        assertIncreasing(seen(taker));
    }

    private ServerProcess process() throws Exception {
        ServerProcess process = ServerProcess.of("--host=127.0.0.1", "--port=0", "--feed=http://127.0.0.1:0/",
            "--redis=" + url(redis.port));
        all.add(process);
        process.await("for requests is up");
        process.await("for the channel is up");
        return process;
    }

    /** A server in this process and one that can be stopped; both have broadcast something. */
    private List<Taker> andOneThatStops(ServerProcess other) throws Exception {
        TestServer server = server();
        List<Taker> takers = List.of(taker(server), taker(other.port(), "/"));
        other.await(" admitted ");
        assertEquals(200, server.post("before"));
        for (Taker taker : takers)
            taker.await("before");
        TestServer.await("both have reported", () -> redis.ask("HLEN", "nano-stream:servers").equals("2"));
        return takers;
    }

    @Test
    @DisplayName("a publisher that outruns the slowest server is told 503, Redis keeps little, and nothing is lost")
    void holdsAPublisherBack() throws Exception {
        ServerProcess other = process();
        List<Taker> takers = andOneThatStops(other);
        RedisServer.signal(other.process, "STOP");
        int bytes = 64 * 1024;
        List<Load> loads = Stream.generate(() -> load(servers.getFirst(), bytes)).limit(4).toList();
        loads.forEach(Load::awaitRefused);
        long buffered = redis.largestBuffer();
        long published = redis.number() * bytes;
        RedisServer.signal(other.process, "CONT");
        assertTrue(buffered < 5 * MIB, buffered + " bytes");
        assertTrue(published < 5 * MIB, published + " bytes");
        servers.getFirst().awaitLog(": Redis: a server is 4194304 bytes behind");
        for (Load load : loads) {
            load.awaitMore(50);
            load.end();
        }
        assertEquals(200, servers.getFirst().post("the end"));
        for (Taker taker : takers)
            taker.await("the end");
        assertEquals(takers.getFirst().texts, takers.getLast().texts);
        for (Load load : loads)
            assertTrue(takers.getLast().texts.containsAll(load.taken));
        assertEquals(0, figure(other.feedPort(), LOST));
    }

    private static String readTo(InputStream in, String end) throws IOException {
        StringBuilder text = new StringBuilder();
        while (text.indexOf(end) < 0)
            text.append((char) in.read());
        return text.toString();
    }

    @Test
    @DisplayName("a small message counts as what Redis keeps of it for a server that is behind")
    void countsWhatRedisKeeps() throws Exception {
        TestServer server = server();
        try (Socket subscriber = new Socket(InetAddress.getLoopbackAddress(), redis.port)) {
            String request = "AUTH " + RedisServer.ADMIN + "\r\nSUBSCRIBE nano-stream:feed\r\n";
            subscriber.getOutputStream().write(request.getBytes(UTF_8));
            InputStream in = subscriber.getInputStream();
            readTo(in, "\r\n:1\r\n"); // it is subscribed
            assertEquals(200, server.post("x"));
            String kept = readTo(in, " x\r\n");
            int counted = Integer.parseInt(redis.ask("HGET", "nano-stream:state", "bytes"));
            assertTrue(counted >= kept.length(), counted + " are counted of " + kept.length());
            assertTrue(counted < 2 * kept.length(), counted + " are counted of " + kept.length());
        }
    }

    @Test
    @DisplayName("after 5 s nobody waits any more for a server that stands still; Redis gives it up before it keeps "
        + "much, and what it lost is counted")
    void goesOnWithoutAServerThatStandsStill() throws Exception {
        ServerProcess other = process();
        List<Taker> takers = andOneThatStops(other);
        RedisServer.signal(other.process, "STOP");
        List<Load> loads = Stream.generate(() -> load(servers.getFirst(), 64 * 1024)).limit(4).toList();
        loads.forEach(Load::awaitRefused);
        long most = 0;
        while (!redis.ask("PUBSUB", "NUMSUB", "nano-stream:feed").endsWith("1"))
            most = Math.max(most, redis.largestBuffer());
        for (Load load : loads)
            load.end();
        assertTrue(most < 33 * MIB, most + " bytes");
        RedisServer.signal(other.process, "CONT");
        other.await("for the channel is up again");
        assertEquals(200, servers.getFirst().post("the end"));
        for (Taker taker : takers)
            taker.await("the end");
        other.await("for the channel: \\d+ messages were lost");
        double lost = figure(other.feedPort(), LOST);
        assertTrue(lost > 0);
        assertEquals(takers.getFirst().texts.size(), takers.getLast().texts.size() + lost);
        assertSameOrder(takers);
    }

    @Test
    @DisplayName("behind nginx, as the README has it, the page and a thousand listeners work")
    void worksBehindNginx() throws Exception {
        String program = ProxyInFront.program("nginx");
        three("--secret=" + TestServer.SECRET, "--proxy=127.0.0.1");
        int port = ProxyInFront.freePort();
        Path own = Files.createDirectory(folder.resolve("nginx"));
        try (ProxyInFront nginx = new ProxyInFront(own, port, HttpClient.newHttpClient(), nginx(program, own, port))) {
            String page = RawClient.lastAnswer(port, "GET /stream/ HTTP/1.0\r\n\r\n");
            assertTrue(page.contains("location.pathname"), page);
            List<RawClient> clients = new ArrayList<>();
            all.add(() -> clients.forEach(ClusterTest::close));
            for (int i = 0; i < 1_000; i++) {
                String token = TestToken.fresh(servers.getFirst());
                clients.add(RawClient.admitted(port, "/stream/?t=" + token));
            }
            for (TestServer server : servers)
                assertTrue(server.server.broadcaster.size() > 300, "it has its share");
            for (TestServer server : servers)
                assertEquals(200, server.post("hello from " + server.port()));
            for (RawClient client : clients)
                for (TestServer server : servers)
                    assertEquals("hello from " + server.port(), client.text());
            servers.getFirst().close(); // nginx asks the next one
            for (int i = 0; i < 6; i++)
                clients.add(RawClient.admitted(port, "/stream/?t=" + TestToken.fresh(servers.getFirst())));
            assertFalse(nginx.log().contains("t="), nginx.log());
        }
    }

    private static void close(RawClient client) {
        try {
            client.close();
        } catch (IOException e) {
            // it is closed
        }
    }

    /** What the README has for several servers, without TLS, which is another test's. */
    private List<String> nginx(String program, Path folder, int port) throws IOException {
        String upstream = Readme.block("nginx", "upstream");
        for (int i = 0; i < 3; i++)
            upstream = ProxyInFront.with(upstream, "10.0.0." + (i + 1) + ":8080", "127.0.0.1:" + servers.get(i).port());
        String snippet = ProxyInFront.snippet("nginx").replaceAll("ssl_.*;", "");
        snippet = ProxyInFront.with(snippet, "listen 443 ssl", "listen 127.0.0.1:" + port);
        snippet = ProxyInFront.with(snippet, "/var/log/nginx", folder);
        String pass = Readme.command("http://stream/");
        snippet = ProxyInFront.with(snippet, "proxy_pass http://127.0.0.1:8080/;", pass);
        return ProxyInFront.nginx(program, folder, 4_096, upstream + snippet);
    }

    @ParameterizedTest
    @DisplayName("the README's user can do what is needed, and the log says what one cannot do that has less")
    @ValueSource(strings = {"", "+ping", "+set", "+eval", "+subscribe", "+publish", "+time", "+hset", "+hmget",
        "+hgetall", "+hdel", "~nano-stream:*", "&nano-stream:feed"}) // without +info and +expire all works
    void needsEachRight(String without) throws Exception {
        String configuration = RedisServer.configuration();
        if (!without.isEmpty())
            configuration = ProxyInFront.with(configuration, " " + without + " ", " ");
        try (RedisServer guarded = new RedisServer(Files.createDirectory(folder.resolve("guarded")), configuration);
             TestServer server = new TestServer("--secret=" + TestServer.SECRET, "--redis=" + url(guarded.port))) {
            TestServer.await("it has tried", () -> server.log().lines()
                .filter(line -> line.contains("for requests is ") || line.contains("for the channel is ")).count() > 1);
            assertEquals("1", guarded.ask("HSET", "nano-stream:servers", "one that has gone", "0 1"));
            int admitted = GuardedServer.knock(server, "/?t=" + TestToken.fresh(server));
            int taken = server.post("hello");
            if (without.isEmpty())
                assertEquals("101 200", admitted + " " + taken);
            else
                server.awaitLog("what the user has to be allowed");
        }
    }

    @Test
    @DisplayName("servers with another prefix share the Redis, and nothing else")
    void keepsPrefixesApart() throws Exception {
        String secret = "--secret=" + TestServer.SECRET;
        TestServer server = server(secret);
        String other = "redis://:" + RedisServer.ADMIN + "@127.0.0.1:" + redis.port + "/other";
        try (TestServer stranger = new TestServer(secret, "--redis=" + other)) {
            stranger.awaitLog("for requests is up");
            stranger.awaitLog("for the channel is up");
            String token = "/?t=" + TestToken.fresh(server);
            List<Taker> takers = List.of(taker(server.port(), token), taker(stranger.port(), token));
            assertEquals(200, server.post("here"));
            assertEquals(200, stranger.post("there"));
            takers.getFirst().await("here");
            takers.getLast().await("there");
            assertEquals(List.of("here"), takers.getFirst().texts);
            assertEquals(List.of("there"), takers.getLast().texts);
        }
    }

    /** When the blocks that a listener got were seen. */
    private static List<BigDecimal> seen(Taker taker) {
        return taker.texts.stream().flatMap(text -> SEEN.matcher(text).results())
            .map(result -> new BigDecimal(result.group(1))).toList();
    }

    private static void assertIncreasing(List<BigDecimal> numbers) {
        assertEquals(List.copyOf(new TreeSet<>(numbers)), numbers);
    }

    /** What a Nano node posts. */
    private static String callback(int number) {
        return "{\"account\":\"nano_1\",\"hash\":\"" + number + "\",\"block\":\"{\\\"type\\\":\\\"state\\\"}\"}";
    }

    @Test
    @DisplayName("?since= with a seen of one server goes on at every other, without a gap or a double")
    void goesOnAtAnotherServer() throws Exception {
        three();
        Taker taker = taker(servers.getFirst());
        for (int i = 0; i < 6; i++)
            assertEquals(200, servers.get(i % 3).post(callback(i)));
        taker.await(6);
        List<String> texts = List.copyOf(taker.texts);
        Matcher seen = SEEN.matcher(texts.get(3));
        assertTrue(seen.find(), texts.get(3));
        String target = "/?since=" + seen.group(1);
        List<Taker> again = new ArrayList<>();
        for (TestServer server : servers)
            again.add(taker(server.port(), target));
        TestServer late = server(); // it has not seen the message, and so the listener learns of its gap
        Taker atLate = taker(late.port(), target);
        late.awaitListeners(1);
        assertEquals(200, servers.getFirst().post("live"));
        for (Taker each : again) {
            each.await("live");
            assertEquals(List.of(texts.get(3), texts.get(4), texts.get(5), "live"), each.texts);
        }
        atLate.await("live");
        assertEquals(List.of("live"), atLate.texts);
    }

    @Test
    @DisplayName("when a server is drained under load, nothing that was taken is lost at the others")
    void losesNothingWhenAServerIsDrained() throws Exception {
        three();
        List<Taker> takers = takers(1);
        List<Load> loads = servers.stream().map(this::load).toList();
        for (Load load : loads)
            load.awaitMore(100);
        loads.get(1).isToBeCut = true;
        servers.get(1).close();
        loads.getFirst().awaitMore(100);
        for (Load load : loads)
            load.end();
        assertEquals(200, servers.getFirst().post("the end"));
        List<String> texts = takers.getFirst().texts;
        takers.getFirst().await("the end");
        takers.getLast().await("the end");
        assertEquals(texts, takers.getLast().texts);
        assertSameOrder(takers);
        for (Load load : loads)
            assertTrue(texts.containsAll(load.taken));
        List<String> drained = takers.get(1).texts;
        assertEquals(texts.subList(0, drained.size()), drained);
    }

    @Test
    @DisplayName("a server that is added under load has the stream from then on, and knows which tokens were used")
    void takesAnotherServerIn() throws Exception {
        three("--secret=" + TestServer.SECRET);
        Taker first = taker(servers.getFirst());
        String used = "/?t=" + TestToken.fresh(servers.getFirst());
        assertEquals(101, GuardedServer.knock(servers.getFirst(), used));
        List<Load> loads = servers.stream().map(this::load).toList();
        loads.getFirst().awaitMore(100);
        TestServer added = server("--secret=" + TestServer.SECRET);
        assertEquals(401, GuardedServer.knock(added, used));
        Taker taker = taker(added);
        Load itsOwn = load(added);
        itsOwn.awaitMore(100);
        for (Load load : loads)
            load.end();
        itsOwn.end();
        assertEquals(200, added.post("the end"));
        first.await("the end");
        taker.await("the end");
        int all = first.texts.size();
        assertEquals(first.texts.subList(all - taker.texts.size(), all), taker.texts);
        assertTrue(taker.texts.size() > 100);
        assertEquals(0, figure(added.feedPort(), LOST));
    }
}
