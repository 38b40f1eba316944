// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("slow")
@DisplayName("Redis: several servers share used tokens and the stream")
@Timeout(60)
class RedisTest {
    /** Nothing is late, and whoever fails tries again at once. */
    private static final NanoStreamWs.RedisTimes PATIENT = new NanoStreamWs.RedisTimes(20_000, 2, 10, 20_000, 20_000);
    private static final Instant START = Instant.ofEpochSecond(2_000_000_000);
    private static final String UP = " is up", DOWN = " is down, and is tried again: ";
    private static final String UNEXPECTED = "an unexpected reply";

    private static NanoStreamWs.RedisTimes late(int timeout) {
        return new NanoStreamWs.RedisTimes(timeout, 2, 10, 20_000, 20_000);
    }

    private FakeRedis fake;
    private Shared shared;

    @BeforeEach
    void listen() throws Exception {
        fake = new FakeRedis();
    }

    /** Whatever happened: nothing is left of it. */
    @AfterEach
    void close() throws Exception {
        if (shared != null)
            shared.close();
        fake.close();
    }

    /** What a server has of the part, without its ports. */
    private static final class Shared implements AutoCloseable {
        final ByteArrayOutputStream log = new ByteArrayOutputStream();
        final NanoStreamWs.EventLog events =
            new NanoStreamWs.EventLog(new PrintStream(log, true, UTF_8), InstantSource.system());
        final ConcurrentLinkedQueue<Long> seen = new ConcurrentLinkedQueue<>();
        final HeldSocket listener = HeldSocket.free();
        final NanoStreamWs.Broadcaster broadcaster = new NanoStreamWs.Broadcaster(1 << 23, Duration.ofSeconds(10),
            () -> START, (opcode, when, from) -> seen.add(when));
        final NanoStreamWs.UsedTokenTable own;
        final NanoStreamWs.Redis redis;

        Shared(String url, Map<String, String> environment, NanoStreamWs.RedisTimes times, Duration leeway)
                throws Exception {
            var address = NanoStreamWs.RedisAddress.of(new URI(url), environment);
            own = new NanoStreamWs.UsedTokenTable(() -> START, leeway);
            redis = new NanoStreamWs.Redis(new NanoStreamWs.RedisAddress(address.uri(), address.port(), address.auth(),
                times), own, leeway, broadcaster, events);
            broadcaster.add(listener.listener(broadcaster.plain));
            redis.start();
        }

        /** Waits until it is up, and has been answered all that it says by itself. */
        Shared awaitUp() {
            TestServer.await("it is up", () -> redis.ailment() == null && redis.requests.pending.isEmpty());
            return this;
        }

        String log() {
            return log.toString(UTF_8);
        }

        List<String> lines(String part) {
            return log().lines().filter(line -> line.contains(part)).toList();
        }

        String awaitLog(String part) {
            TestServer.await(part, () -> log().contains(part));
            return lines(part).getFirst();
        }

        /** What becomes of a claim: null if it is granted. */
        NanoStreamWs.Refusal claim(NanoStreamWs.Claims claims) {
            try {
                redis.claim(claims);
                return null;
            } catch (NanoStreamWs.Refusal refusal) {
                return refusal;
            }
        }

        /** What becomes of a message: null if it is taken. */
        NanoStreamWs.Refusal publish(NanoStreamWs.Message message) {
            try {
                assertTrue(redis.publish(message));
                return null;
            } catch (NanoStreamWs.Refusal refusal) {
                return refusal;
            }
        }

        NanoStreamWs.Refusal publish(String text) {
            return publish(seen -> text.getBytes(UTF_8));
        }

        void awaitTexts(String... texts) {
            TestServer.await(List.of(texts) + ", not " + texts(), () -> texts().equals(List.of(texts)));
        }

        List<String> texts() {
            try {
                return listener.texts();
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        }

        @Override
        public void close() {
            redis.close();
            TestServer.await("requests end", () -> !redis.requests.thread.isAlive());
            TestServer.await("the channel ends", () -> !redis.channel.thread.isAlive());
            assertTrue(redis.requests.pending.isEmpty());
            events.close();
        }
    }

    private Shared shared(NanoStreamWs.RedisTimes times) throws Exception {
        shared = new Shared(fake.url(), Map.of(), times, Duration.ZERO);
        return shared;
    }

    private Shared up() throws Exception {
        return shared(PATIENT).awaitUp();
    }

    /** A token known by the number, which expires so many seconds after the start. */
    private static NanoStreamWs.Claims token(int number, double expires) {
        return new NanoStreamWs.Claims(new String(ByteBuffer.allocate(32).putInt(28, number).array(), ISO_8859_1),
            START.getEpochSecond() + expires);
    }

    private static NanoStreamWs.Claims token(int number) {
        return token(number, 10);
    }

    private static String hex(int number) {
        return "%064x".formatted(number);
    }

    private static void assertUnasked(NanoStreamWs.Refusal refusal, String why) {
        assertNotNull(refusal, "it was granted");
        assertEquals(NanoStreamWs.Rejection.NOT_SHARED, refusal.why);
        assertTrue(refusal.getMessage().contains(": Redis: " + why), refusal.getMessage());
    }

    @Nested
    @DisplayName("The connection")
    class Connecting {
        private List<String> auth() {
            return fake.requests("AUTH").stream().map(FakeRedis.Request::text).distinct().toList();
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', nullValues = "none", textBlock = """
                                         | none     | none
                                         | pass-env | pass-env
            :pass-url@                   | none     | pass-url
            :pass-url@                   | pass-env | pass-url
            user:pass-url@               | pass-env | user pass-url
            user@                        | pass-env | user pass-env
            user:@                       | pass-env | user pass-env
            :@                           | none     | none
            :@                           | pass-env | pass-env
            us%65r:pass%3A%40%2F%25+url@ | none     | user pass:@/%+url
            :pass:url@                   | none     | pass:url
            """)
        void authenticates(String info, String environment, String words) throws Exception {
            String url = "redis://" + (info == null ? "" : info) + "127.0.0.1:" + fake.port();
            shared = new Shared(url, environment == null ? Map.of() : Map.of("NANO_STREAM_REDIS_PASSWORD", environment),
                PATIENT, Duration.ZERO).awaitUp();
            if (words == null)
                assertEquals(List.of(), auth());
            else
                assertEquals(List.of(FakeRedis.request(("AUTH " + words).split(" "))), auth());
            assertEquals(words == null ? 0 : 2, fake.requests("AUTH").size(), "on each connection");
            close();
            assertFalse(shared.log().contains("pass"), shared.log());
            assertFalse(shared.log().contains("user"), shared.log());
        }

        @Test
        @DisplayName("a password is in no line, whatever is answered")
        void tellsNoPassword() throws Exception {
            fake.answers.put("AUTH", words -> "-ERR unknown command 'AUTH', with args beginning with: '"
                + words.get(1) + "' '" + words.get(2) + "' \r\n");
            shared = new Shared("redis://user-name:pass-word@127.0.0.1:" + fake.port(), Map.of(), PATIENT,
                Duration.ZERO);
            shared.awaitLog("for requests is down, and is tried again: \"ERR unknown command 'AUTH'\"");
            shared.awaitLog("for the channel is down, and is tried again: \"ERR unknown command 'AUTH'\"");
            fake.await("AUTH", 6);
            close();
            assertFalse(shared.log().contains("pass-word"), shared.log());
            assertFalse(shared.log().contains("user-name"), shared.log());
            assertEquals(2, shared.lines(DOWN).size(), shared.log());
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            NOAUTH Authentication required.              | it wants a password, in the URL or in NANO_STREAM_REDIS_
            WRONGPASS invalid username-password pair     | the user or the password is wrong
            NOPERM this user has no permissions          | the README lists what the user has to be allowed
            LOADING Redis is loading the dataset         | it reads its data, and is ready by itself
            MOVED 3999 127.0.0.1:6381                    | Redis Cluster is not supported: name a single Redis
            CLUSTERDOWN Hash slot not served             | Redis Cluster is not supported: name a single Redis
            READONLY You can't write against a replica.  | it is a replica: name the primary
            OOM command not allowed                      | its memory is full (maxmemory)
            ERR max number of clients reached            | "ERR max number of clients reached"
            MASTERDOWN Link with MASTER is down          | "MASTERDOWN Link with MASTER is down"
            """)
        void tellsErrorsApart(String error, String advice) throws Exception {
            fake.answer("PING", '-' + error + "\r\n");
            shared(PATIENT);
            fake.await("PING", 8);
            String line = shared.awaitLog("for requests" + DOWN);
            assertTrue(line.contains(DOWN + '"' + error + '"'), line);
            assertTrue(line.contains(advice), line);
            assertEquals("Redis is down", shared.redis.ailment());
            assertEquals(1, shared.lines("for requests" + DOWN).size(), "a line for each trouble, not each attempt");
            assertEquals(0, shared.lines(UP).size());
            fake.answers.clear();
            shared.awaitUp();
            shared.awaitLog("for requests is up");
            assertEquals(1, shared.lines("for requests is up").size());
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            HTTP/1.1 400 Bad Request~~                  | what answers is no Redis
            SSH-2.0-OpenSSH_9.2p1~                      | what answers is no Redis
            +OK POP3 ready~                             | what answers is no Redis
            +PONG                                       | no answer within a second
            +OK~                                        | what answers is no Redis
            :1~                                         | what answers is no Redis
            $-1~                                        | what answers is no Redis
            *1~$4~PING~                                 | what answers is no Redis
            -ERR max number of clients reached~         | "ERR max number of clients reached"
            $5000000~                                   | its reply is too large: 5000000, not 4194304
            """)
        void knowsWhatIsNoRedis(String greeting, String why) throws Exception {
            fake.greeting = greeting.replace("~", "\r\n");
            fake.answer("PING", FakeRedis.SILENCE);
            shared(late(why.startsWith("no answer") ? 30 : 20_000));
            shared.awaitLog("for requests" + DOWN + why);
            shared.awaitLog("for the channel" + DOWN + why);
            TestServer.await("attempts", () -> fake.accepted.size() >= 6);
            assertEquals(2, shared.lines(DOWN).size(), shared.log());
            assertUnasked(shared.claim(token(1)), "it is not connected");
        }

        @Test
        void knowsOneThatOnlySaysTheSameAgain() throws Exception {
            fake.answers.put("AUTH", words -> FakeRedis.request(words.toArray(String[]::new)));
            shared = new Shared("redis://:pass-word@127.0.0.1:" + fake.port(), Map.of(), PATIENT, Duration.ZERO);
            shared.awaitLog("for requests" + DOWN + "what answers is no Redis");
        }

        @Test
        void knowsOneThatIsSilent() throws Exception {
            fake.deaf = true;
            shared(late(30));
            shared.awaitLog("for requests" + DOWN + "no answer within a second");
            TestServer.await("attempts", () -> fake.accepted.size() >= 6);
            assertEquals(2, shared.lines(DOWN).size(), shared.log());
        }

        @Test
        void knowsOneThatClosesAtOnce() throws Exception {
            fake.answers.put("PING", words -> {
                fake.cut();
                return FakeRedis.SILENCE;
            });
            shared(PATIENT);
            String line = shared.awaitLog("for requests" + DOWN);
            assertTrue(line.matches(".*(it closed the connection|Connection reset|Broken pipe)"), line);
        }

        @Test
        void knowsOneThatRefuses() throws Exception {
            int port = fake.port();
            fake.close();
            shared(PATIENT);
            shared.awaitLog("Redis 127.0.0.1:" + port + " for requests" + DOWN + "Connection refused");
            shared.awaitLog("Redis 127.0.0.1:" + port + " for the channel" + DOWN + "Connection refused");
            fake = new FakeRedis(new ServerSocket(port, 50, InetAddress.getLoopbackAddress()));
            shared.awaitUp();
            assertEquals(2, shared.lines("Connection refused").size(), shared.log());
        }

        @Test
        void knowsAnUnknownHost() throws Exception {
            shared = new Shared("redis://no-host.invalid", Map.of(), PATIENT, Duration.ZERO);
            shared.awaitLog("Redis no-host.invalid:6379 for requests" + DOWN + "its host is unknown");
        }

        @Test
        @DisplayName("tells when it is up again, and how often it was down")
        void tellsThatItIsUpAgain() throws Exception {
            up();
            shared.awaitLog("for requests is up");
            for (int times = 1; times <= 3; times++) {
                int before = times;
                fake.cut();
                TestServer.await("up again", () -> shared.lines(" is up again, after ").size() == 2 * before);
                assertEquals(2 * times, shared.lines(DOWN).size());
            }
            for (String line : shared.lines(" is up again"))
                assertTrue(line.matches(".* is up again, after [0-9]+ s"), line);
            shared.awaitUp();
            assertNull(shared.claim(token(1)));
        }

        @Test
        @DisplayName("backs off from one that fails as soon as it is up")
        void backsOff() throws Exception {
            shared(new NanoStreamWs.RedisTimes(20_000, 20, 20_000, 20_000, 20_000));
            long start = System.nanoTime();
            for (int times = 0; times < 4; times++) {
                TestServer.await("it is up", () -> shared.redis.requests.isUp);
                fake.cut();
                TestServer.await("it is down", () -> !shared.redis.requests.isUp);
            }
            TestServer.await("it is up", () -> shared.redis.requests.isUp);
            long millis = (System.nanoTime() - start) / 1_000_000;
            assertTrue(millis >= 10 + 20 + 40 + 80, "at least half of each pause: " + millis);
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            aof_enabled:0                | forgets used tokens when it ends: set appendonly yes
            maxmemory_policy:allkeys-lru | forgets used tokens when its memory is full: set maxmemory-policy noevict
            """)
        void warnsOfOneThatForgets(String info, String warning) throws Exception {
            fake.answer("INFO", FakeRedis.bulk(info + "\r\n"));
            up();
            shared.awaitLog(" for requests " + warning);
            assertEquals(1, shared.lines(" warning ").size(), shared.log());
        }

        @ParameterizedTest
        @ValueSource(strings = {"-NOPERM no info\r\n", "$0\r\n\r\n", "$-1\r\n", ":1\r\n"})
        void believesOneThatDoesNotSayHowItIsSet(String reply) throws Exception {
            fake.answer("INFO", reply);
            up();
            assertEquals(0, shared.lines(" warning ").size(), shared.log());
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            role:slave         | it is a replica: name the primary
            redis_mode:cluster | Redis Cluster is not supported: name a single Redis
            """)
        void refusesOneThatCannotBeWrittenTo(String info, String why) throws Exception {
            fake.answer("INFO", FakeRedis.bulk(info + "\r\n"));
            shared(PATIENT);
            String line = shared.awaitLog("for requests" + DOWN);
            assertTrue(line.endsWith(why), line);
            fake.await("INFO", 4);
            assertEquals(1, shared.lines("for requests" + DOWN).size());
            assertUnasked(shared.claim(token(1)), "it is not connected");
        }

        @Test
        @DisplayName("behind a replica that it had to leave, the channel is subscribed anew as well: it may be there still")
        void leavesAReplicaWithBoth() throws Exception {
            up();
            fake.answer("INFO", FakeRedis.bulk("role:slave\r\n"));
            fake.answer("SET", "-READONLY no\r\n");
            assertUnasked(shared.claim(token(1)), "\"READONLY no\"");
            fake.await("INFO", 3);
            assertTrue(shared.redis.channel.isUp, "messages may come until another one has taken over");
            fake.answers.clear();
            fake.await("SUBSCRIBE", 2);
            shared.awaitUp();
            assertNull(shared.claim(token(2)));
            assertNull(shared.publish("a"));
            shared.awaitTexts("a");
        }

        @Test
        @DisplayName("a PING asks in silence whether it is there")
        void probes() throws Exception {
            shared(late(400)).awaitUp();
            int before = fake.requests("PING").size();
            fake.await("PING", before + 2);
            assertEquals(0, shared.lines(DOWN).size(), shared.log());
            fake.answer("PING", FakeRedis.SILENCE);
            shared.awaitLog("for requests" + DOWN + "no answer within a second");
        }

        @Test
        void closesWhileItConnects() throws Exception {
            fake.deaf = true;
            shared(PATIENT);
            TestServer.await("it asks", () -> fake.open.size() == 2);
            close(); // long before anything is late
        }
    }

    @Nested
    @DisplayName("A token works once among all servers")
    class Claiming {
        @Test
        @DisplayName("claims by SET prefix:used:MAC 1 NX PX, for a minute more than until exp and leeway")
        void asksExactly() throws Exception {
            shared = new Shared(fake.url() + "/the.prefix", Map.of(), PATIENT, Duration.ofMillis(2_500)).awaitUp();
            assertNull(shared.claim(token(0xABCDEF, 10.25)));
            assertEquals(List.of("*6\r\n$3\r\nSET\r\n$80\r\nthe.prefix:used:" + hex(0xABCDEF)
                + "\r\n$1\r\n1\r\n$2\r\nNX\r\n$2\r\nPX\r\n$5\r\n72750\r\n"),
                fake.requests("SET").stream().map(FakeRedis.Request::text).toList());
        }

        @Test
        void knowsABinaryMac() throws Exception {
            up();
            byte[] mac = new byte[32];
            for (int i = 0; i < mac.length; i++)
                mac[i] = (byte) (i * 37 - 5);
            assertNull(shared.claim(new NanoStreamWs.Claims(new String(mac, ISO_8859_1), 253_402_300_799.0)));
            List<String> words = fake.requests("SET").getFirst().words();
            assertEquals("nano-stream:used:" + HexFormat.of().formatHex(mac), words.get(1));
            assertEquals("251402300859000", words.get(5));
        }

        @Test
        void grantsATokenOnce() throws Exception {
            up();
            assertNull(shared.claim(token(1)));
            assertNull(shared.claim(token(2)));
            assertEquals(NanoStreamWs.Rejection.TOKEN_USED, shared.claim(token(1)).why);
            try (Shared other = new Shared(fake.url(), Map.of(), PATIENT, Duration.ZERO).awaitUp()) {
                assertEquals(NanoStreamWs.Rejection.TOKEN_USED, other.claim(token(2)).why);
                assertNull(other.claim(token(3)));
            }
            assertEquals(NanoStreamWs.Rejection.TOKEN_USED, shared.claim(token(3)).why);
        }

        @Test
        @DisplayName("what was used here stays used, even if Redis has forgotten it")
        void remembersItsOwn() throws Exception {
            up();
            fake.answer("SET", FakeRedis.OK);
            assertNull(shared.claim(token(1)));
            assertEquals(NanoStreamWs.Rejection.TOKEN_USED, shared.claim(token(1)).why);
            assertNull(shared.claim(token(2)));
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            -ERR no~               | "ERR no"
            -OK~                   | "OK"
            -NOPERM no~            | "NOPERM no": the README lists what the user has to be allowed
            -MOVED 1 10.0.0.1:1~   | "MOVED 1 10.0.0.1:1": Redis Cluster is not supported: name a single Redis
            -OOM no~               | "OOM no": its memory is full (maxmemory)
            :1~                    | an unexpected reply
            :0~                    | an unexpected reply
            +ok~                   | an unexpected reply
            +QUEUED~               | an unexpected reply
            +~                     | an unexpected reply
            $2~OK~                 | an unexpected reply
            $0~~                   | an unexpected reply
            *1~+OK~                | an unexpected reply
            *-1~                   | an unexpected reply
            *0~                    | an unexpected reply
            """)
        void grantsNothingButForOk(String reply, String why) throws Exception {
            up();
            fake.answer("SET", reply.replace("~", "\r\n"));
            assertUnasked(shared.claim(token(1)), why);
            assertEquals(0, shared.own.expiries.size());
            if (!why.equals(UNEXPECTED))
                assertEquals("Redis refuses requests", shared.redis.ailment());
            fake.answers.clear();
            if (why.equals(UNEXPECTED)) { // it might be another one's
                shared.awaitLog("for requests" + DOWN + "what answers is no Redis");
                shared.awaitUp();
            }
            assertNull(shared.claim(token(1)));
            assertEquals(why.equals(UNEXPECTED) ? 3 : 2, fake.accepted.size(), "connections");
        }

        @Test
        void givesUpAConnectionThatCannotBeWrittenToAnyMore() throws Exception {
            up();
            fake.answer("SET", "-READONLY You can't write against a read only replica.\r\n");
            fake.answer("INFO", FakeRedis.bulk("role:slave"));
            assertUnasked(shared.claim(token(1)), "\"READONLY You can't write against a read only replica.\": it is a");
            shared.awaitLog("for requests" + DOWN + "\"READONLY");
            assertEquals("Redis is down", shared.redis.ailment());
            fake.answers.clear();
            shared.awaitUp();
            assertNull(shared.claim(token(1)));
        }

        @Test
        @DisplayName("many are under way on one connection before the first is answered")
        void isPipelined() throws Exception {
            int count = 500;
            up();
            fake.answer("SET", FakeRedis.SILENCE);
            List<CompletableFuture<NanoStreamWs.Refusal>> claims = IntStream.range(0, count)
                .mapToObj(number -> concurrently(() -> shared.claim(token(number)))).toList();
            List<FakeRedis.Request> asked = fake.await("SET", count);
            assertEquals(1, asked.stream().map(FakeRedis.Request::from).distinct().count());
            assertTrue(claims.stream().noneMatch(CompletableFuture::isDone));
            StringBuilder replies = new StringBuilder();
            for (int i = 0; i < count; i++) // every third one had been used
                replies.append(i % 3 == 0 ? FakeRedis.NONE : FakeRedis.OK);
            FakeRedis.send(asked.getFirst().from(), replies.toString());
            for (int i = 0; i < count; i++) {
                int number = Integer.parseInt(asked.get(i).words().get(1).replaceAll(".*:", ""), 16);
                NanoStreamWs.Refusal refusal = claims.get(number).get();
                assertEquals(i % 3 == 0, refusal != null);
                assertTrue(refusal == null || refusal.why == NanoStreamWs.Rejection.TOKEN_USED);
            }
        }

        private static <T> CompletableFuture<T> concurrently(Supplier<T> task) {
            CompletableFuture<T> result = new CompletableFuture<>();
            Thread.startVirtualThread(() -> result.complete(task.get()));
            return result;
        }

        @Test
        @DisplayName("a late OK admits nobody: the connection is given up, and nobody gets another one's reply")
        void givesUpWhatIsLate() throws Exception {
            shared(late(500)).awaitUp();
            fake.deaf = true;
            assertUnasked(shared.claim(token(1)), "no answer within a second");
            Socket old = fake.await("SET", 1).getFirst().from(); // a busy machine may not have read it yet
            shared.awaitLog("for requests" + DOWN + "no answer within a second");
            assertEquals(0, shared.own.expiries.size());
            fake.deaf = false; // it answers that now
            TestServer.await("it has", () -> !fake.open.contains(old));
            shared.awaitUp();
            fake.answer("SET", FakeRedis.NONE);
            assertEquals(NanoStreamWs.Rejection.TOKEN_USED, shared.claim(token(2)).why);
            assertNotSame(old, fake.requests("SET").getLast().from());
        }

        @Test
        @DisplayName("one that answers each time just too little is late as well")
        void isNotKeptByADrip() throws Exception {
            shared(late(300)).awaitUp();
            fake.answers.put("SET", words -> "$1000\r\n");
            CompletableFuture<NanoStreamWs.Refusal> claim = concurrently(() -> shared.claim(token(1)));
            Socket connection = fake.await("SET", 1).getFirst().from();
            Thread drip = Thread.startVirtualThread(() -> {
                try {
                    while (!claim.isDone()) {
                        FakeRedis.send(connection, "x");
                        Thread.sleep(20);
                    }
                } catch (IOException | InterruptedException e) {
                    // it is over
                }
            });
            assertUnasked(claim.get(), "no answer within a second");
            drip.join();
            shared.awaitLog("for requests" + DOWN + "no answer within a second");
        }

        @Test
        @DisplayName("one that answers far too slowly is given up, and what waits does not pile up")
        void isNotKeptByATrickle() throws Exception {
            shared(late(300)).awaitUp();
            fake.answers.put("SET", words -> { // one in a while, and far fewer than come
                try {
                    Thread.sleep(50);
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
                return FakeRedis.OK;
            });
            List<CompletableFuture<NanoStreamWs.Refusal>> claims = IntStream.range(0, 100)
                .mapToObj(number -> concurrently(() -> shared.claim(token(number)))).toList();
            for (CompletableFuture<NanoStreamWs.Refusal> claim : claims)
                claim.get();
            shared.awaitLog("for requests" + DOWN + "no answer within a second");
            TestServer.await("nothing waits", shared.redis.requests.pending::isEmpty);
        }

        @Test
        @DisplayName("a write that blocks holds nobody up for longer, and does not keep the server from its end")
        void isNotKeptByABlockedWrite() throws Exception {
            shared(late(300)).awaitUp();
            fake.deaf = true;
            String text = "x".repeat(NanoStreamWs.Limits.MAX_MESSAGE);
            List<CompletableFuture<NanoStreamWs.Refusal>> messages = IntStream.range(0, 20)
                .mapToObj(number -> concurrently(() -> shared.publish(text))).toList();
            for (CompletableFuture<NanoStreamWs.Refusal> message : messages)
                assertNotNull(message.get());
            assertNotNull(shared.claim(token(1)));
            shared.awaitLog("for requests" + DOWN + "no answer within a second");
        }

        @Test
        @DisplayName("nor does a write that blocks when what answers is no Redis any more")
        void isNotKeptByABlockedWriteThatIsAnswered() throws Exception {
            up();
            fake.deaf = true;
            String text = "x".repeat(NanoStreamWs.Limits.MAX_MESSAGE);
            List<CompletableFuture<NanoStreamWs.Refusal>> messages = IntStream.range(0, 20)
                .mapToObj(number -> concurrently(() -> shared.publish(text))).toList();
            TestServer.await("all wait, one of them in its write", () -> shared.redis.requests.writing.getQueueLength()
                + shared.redis.requests.pending.size() == messages.size());
            FakeRedis.send(fake.requests("INFO").getFirst().from(), "nonsense\r\n");
            for (CompletableFuture<NanoStreamWs.Refusal> message : messages)
                assertUnasked(message.get(), "it is not connected");
        }

        @Test
        void takesNoReplyThatNobodyAskedFor() throws Exception {
            up();
            assertNull(shared.claim(token(1)));
            Socket connection = fake.requests("SET").getFirst().from();
            FakeRedis.send(connection, FakeRedis.OK);
            shared.awaitLog("for requests" + DOWN + "what answers is no Redis");
            fake.answer("SET", FakeRedis.NONE);
            TestServer.await("it is up again", () -> shared.redis.ailment() == null);
            assertEquals(NanoStreamWs.Rejection.TOKEN_USED, shared.claim(token(2)).why);
        }

        @Test
        void refusesAllThatIsUnderWayWhenTheConnectionEnds() throws Exception {
            up();
            fake.answer("SET", FakeRedis.SILENCE);
            List<CompletableFuture<NanoStreamWs.Refusal>> claims = IntStream.range(0, 50)
                .mapToObj(number -> concurrently(() -> shared.claim(token(number)))).toList();
            fake.await("SET", 50);
            fake.cut();
            for (CompletableFuture<NanoStreamWs.Refusal> claim : claims)
                assertUnasked(claim.get(), "it is not connected");
            assertEquals(0, shared.own.expiries.size());
        }

        @Test
        @DisplayName("while connections come and go, no token is granted twice")
        void grantsATokenOnceInAllTroubles() throws Exception {
            up();
            AtomicInteger[] granted = new AtomicInteger[300];
            for (int i = 0; i < granted.length; i++)
                granted[i] = new AtomicInteger();
            try (Shared other = new Shared(fake.url(), Map.of(), PATIENT, Duration.ZERO).awaitUp()) {
                List<Thread> threads = new ArrayList<>();
                for (int round = 0; round < 2; round++)
                    for (Shared each : List.of(shared, other))
                        threads.add(Thread.startVirtualThread(() -> {
                            for (int i = 0; i < granted.length; i++)
                                if (each.claim(token(i)) == null)
                                    granted[i].incrementAndGet();
                        }));
                for (int cuts = 0; cuts < 5; cuts++) {
                    Thread.sleep(2);
                    fake.cut();
                }
                for (Thread thread : threads)
                    thread.join();
            }
            for (AtomicInteger each : granted)
                assertTrue(each.get() <= 1);
        }
    }

    @Nested
    @DisplayName("A message goes to all servers")
    class Publishing {
        /** The words of each message's request. */
        private List<List<String>> published() {
            return fake.requests("EVAL").stream().map(FakeRedis.Request::words)
                .filter(words -> words.get(1).equals(NanoStreamWs.Redis.PUBLISH)).toList();
        }

        @Test
        void asksExactly() throws Exception {
            up();
            assertNull(shared.publish("h\u00e9llo \ud83d\ude80"));
            List<String> words = published().getFirst();
            assertEquals(List.of("EVAL", NanoStreamWs.Redis.PUBLISH, "2", "nano-stream:state", "nano-stream:servers",
                "nano-stream:feed", "h\u00c3\u00a9llo \u00f0\u009f\u009a\u0080", "", "4194304", "0"), words);
            shared.awaitTexts("h\u00e9llo \ud83d\ude80");
            assertNull(shared.publish("b"));
            assertEquals("1000000001", published().getLast().getLast(), "the last was seen then");
        }

        @Test
        @DisplayName("an object that says when it was seen is told by Redis")
        void letsRedisSayWhenItWasSeen() throws Exception {
            up();
            byte[] before = "{\"a\":1,\"seen\":".getBytes(UTF_8);
            assertNull(shared.publish(new NanoStreamWs.SeenMessage(before, () -> ",\"tps\":2}")));
            List<String> words = published().getFirst();
            assertEquals("{\"a\":1,\"seen\":", words.get(6));
            assertEquals(",\"tps\":2}", words.get(7));
            shared.awaitTexts("{\"a\":1,\"seen\":1000.000001,\"tps\":2}");
            assertEquals(List.of(1_000_000_001L), List.copyOf(shared.seen));
        }

        @Test
        @DisplayName("returns when Redis has taken it, and this server has broadcast it")
        void returnsWhenItIsBroadcast() throws Exception {
            up();
            for (int i = 0; i < 20; i++) {
                assertNull(shared.publish("message " + i));
                assertEquals(i + 1, shared.seen.size());
            }
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            -NOPERM no~  | "NOPERM no": the README lists what the user has to be allowed
            -OOM no~     | "OOM no": its memory is full (maxmemory)
            -CROSSSLOT a~| "CROSSSLOT a": Redis Cluster is not supported: name a single Redis
            +OK~         | an unexpected reply
            $-1~         | an unexpected reply
            *1~:1~       | an unexpected reply
            """)
        void refusesWhatRedisHasNotTaken(String reply, String why) throws Exception {
            up();
            fake.answer("EVAL", reply.replace("~", "\r\n"));
            assertUnasked(shared.publish("a"), why);
            assertEquals(List.of(), shared.texts());
            if (!why.equals(UNEXPECTED))
                assertEquals("Redis refuses requests", shared.redis.ailment());
        }

        @Test
        @Tag("slow")
        @DisplayName("what Redis has refused is told to a monitor for 10 seconds, and then it is well")
        void isWellAgainSomeTimeAfterARefusal() throws Exception {
            up();
            fake.answer("EVAL", "-OOM no\r\n");
            assertUnasked(shared.publish("a"), "\"OOM no\": its memory is full (maxmemory)");
            fake.answers.clear();
            assertNull(shared.publish("b"));
            assertEquals("Redis refuses requests", shared.redis.ailment());
            shared.awaitUp();
        }

        @Test
        void refusesWhatIsLate() throws Exception {
            shared(late(300)).awaitUp();
            fake.deaf = true;
            assertUnasked(shared.publish("a"), "no answer within a second");
        }

        @Test
        @DisplayName("is held back while a server is too far behind, then refused")
        void holdsBack() throws Exception {
            up();
            AtomicInteger asked = new AtomicInteger();
            fake.answers.put("EVAL", words -> {
                if (words.get(1).equals(NanoStreamWs.Redis.REPORT)) return FakeRedis.NONE;
                return asked.incrementAndGet() < 4 ? ":0\r\n" : fake.publish(words);
            });
            long start = System.nanoTime();
            assertNull(shared.publish("a"));
            assertEquals(4, asked.get());
            assertTrue(System.nanoTime() - start >= 3 * NanoStreamWs.Redis.PAUSE * 1_000_000L);
        }

        @Test
        void refusesWhatWasHeldBackForTooLong() throws Exception {
            shared(late(400)).awaitUp();
            fake.answer("EVAL", ":0\r\n");
            assertUnasked(shared.publish("b"), "a server is 4194304 bytes behind");
            assertEquals(0, shared.lines(DOWN).size(), "it is well");
        }

        @Test
        void doesNotWaitForAChannelThatIsDown() throws Exception {
            up();
            fake.answer("SUBSCRIBE", FakeRedis.SILENCE);
            fake.subscribers.forEach(socket -> {
                try {
                    socket.close();
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
            TestServer.await("the channel is down", () -> !shared.redis.channel.isUp);
            long start = System.nanoTime();
            assertNull(shared.publish("a"));
            assertTrue(System.nanoTime() - start < 10_000_000_000L, "it would have waited for 20 s");
            assertEquals("Redis is down", shared.redis.ailment());
        }
    }

    @Nested
    @DisplayName("The channel")
    class Channel {
        private String utf8(String text) {
            return new String(text.getBytes(UTF_8), ISO_8859_1);
        }

        private void send(String... payloads) {
            for (String payload : payloads)
                fake.send(FakeRedis.message(payload));
        }

        @Test
        void subscribes() throws Exception {
            up();
            assertEquals(List.of(FakeRedis.request("SUBSCRIBE", "nano-stream:feed")),
                fake.requests("SUBSCRIBE").stream().map(FakeRedis.Request::text).toList());
        }

        @Test
        @DisplayName("brings messages byte for byte, in its order, seen when Redis says")
        void bringsMessages() throws Exception {
            up();
            String text = " a  b\r\n\t\0h\u00e9llo \ud83d\ude80\ufeff 1 2 3 ";
            send("5000001 1 1 " + utf8(text), "5000002 2 2 \ufeff".replace("\ufeff", utf8("\ufeff")),
                "9000000 3 3 1 2 3 x", "9000000 4 4 same", "7 5 5 earlier");
            shared.awaitTexts(text, "\ufeff", "1 2 3 x", "same", "earlier");
            assertEquals(List.of(5_000_001L, 5_000_002L, 9_000_000L, 9_000_001L, 9_000_002L), List.copyOf(shared.seen));
            assertEquals(0, shared.lines("lost").size());
        }

        @Test
        void takesAMessageInPieces() throws Exception {
            up();
            for (char c : FakeRedis.message("5000001 1 1 in pieces").toCharArray())
                fake.send("" + c);
            shared.awaitTexts("in pieces");
        }

        @Test
        void takesTheLargestMessage() throws Exception {
            up();
            String text = "x".repeat(NanoStreamWs.Limits.MAX_MESSAGE);
            send("9999999999999999 9999999999999999 9999999999999999 " + text);
            TestServer.await("the message", () -> shared.seen.size() == 1);
            assertEquals(0, shared.lines(DOWN).size());
        }

        @ParameterizedTest
        @ValueSource(strings = {"", "hello", "1", "1 2 3", "1 2 3 ", "1 2 x", "a 2 3 x", "-1 2 3 x", " 1 2 3 x",
            "1  2 3 x", "12345678901234567 1 1 x", "1 2 3 \u00ff", "1 2 3 \u00c0\u0080", "1 2 3 \u00ed\u00a0\u0080"})
        @DisplayName("whoever reaches Redis can publish anything: it is left out, and not told")
        void leavesOutWhatNoServerPublished(String payload) throws Exception {
            up();
            send(payload, "5000001 1 1 good");
            shared.awaitTexts("good");
            String line = shared.awaitLog("for the channel has brought what no server published; it is left out");
            assertTrue(line.endsWith("left out"));
            assertEquals(0, shared.lines(DOWN).size());
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            -ERR no~                                | "ERR no"
            -NOPERM no~                             | the README lists what the user has to be allowed
            +OK~                                    | what answers is no Redis
            :1~                                     | what answers is no Redis
            $1~a~                                   | what answers is no Redis
            $-1~                                    | what answers is no Redis
            nonsense~                               | what answers is no Redis
            *3~$7~message~$1~a~$5000000~            | its reply is too large: 5000000, not 4194304
            """)
        void isGivenUpForWhatIsNoMessage(String text, String why) throws Exception {
            up();
            fake.send(text.replace("~", "\r\n"));
            String line = shared.awaitLog("for the channel" + DOWN);
            assertTrue(line.contains(why), line);
            TestServer.await("it is up again", () -> shared.redis.ailment() == null);
        }

        @Test
        void tellsThatItMayNotSubscribe() throws Exception {
            fake.answer("SUBSCRIBE", "-NOPERM No permissions to access a channel\r\n");
            shared(PATIENT);
            shared.awaitLog("for the channel" + DOWN + "\"NOPERM No permissions to access a channel\": the README");
            shared.awaitLog("for requests is up");
            fake.await("SUBSCRIBE", 4);
            assertEquals(1, shared.lines(DOWN).size());
            assertEquals("Redis is down", shared.redis.ailment());
        }

        @Test
        @DisplayName("counts what was lost by its numbers, also while it was down")
        void countsWhatWasLost() throws Exception {
            up();
            send("5000001 41 1 a", "5000002 42 1 b", "5000003 45 1 c");
            shared.awaitTexts("a", "b", "c");
            shared.awaitLog("for the channel: 2 messages were lost");
            fake.cut();
            fake.await("SUBSCRIBE", 2);
            shared.awaitLog("for the channel is up again");
            send("5000009 50 1 d", "5000010 51 1 e");
            shared.awaitTexts("a", "b", "c", "d", "e");
            shared.awaitLog("for the channel: 4 messages were lost");
            TestServer.await("they are counted", () -> shared.redis.channel.messages.sum() == 5);
            Exposition figures = new Exposition(shared.redis.figures());
            assertEquals(6, figures.get("nanostream_redis_lost_messages_total"));
            assertEquals(5, figures.get("nanostream_redis_messages_total"));
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            :0~         | 5
            :4~         | 1
            $-1~        | 0
            *0~         | 0
            -NOPERM no~ | 0
            """)
        @DisplayName("counts what was lost before the first that came, unless that was lost before the start")
        void countsWhatWasLostBeforeTheFirst(String reply, int lost) throws Exception {
            fake.answer("EVAL", reply.replace("~", "\r\n"));
            up();
            assertEquals(List.of("EVAL", NanoStreamWs.Redis.NUMBER, "1", "nano-stream:state"),
                fake.requests("EVAL").getFirst().words());
            fake.cut();
            fake.await("SUBSCRIBE", 2);
            shared.awaitLog("for the channel is up again");
            send("5000001 6 1 a", "5000002 7 1 b");
            shared.awaitTexts("a", "b");
            assertEquals(lost, shared.redis.channel.lost.sum());
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            :42~         | 0 | 0
            :45~         | 3 | 0
            :7~          | 0 | 1
            -NOPERM no~  | 0 | 0
            """)
        @DisplayName("counts what was lost as soon as it is there again, and not with the next message")
        void countsAtOnce(String reply, int lost, int anew) throws Exception {
            up();
            send("5000001 42 1 a");
            shared.awaitTexts("a");
            fake.answer("EVAL", reply.replace("~", "\r\n"));
            fake.cut();
            shared.awaitLog("for the channel is up again");
            assertEquals(lost, shared.redis.channel.lost.sum());
            assertEquals(anew, shared.lines("counts anew").size(), shared.log());
        }

        @Test
        void warnsWhenNumbersBeginAnew() throws Exception {
            up();
            send("5000001 41 1 a", "5000002 1 1 b", "5000003 2 1 c");
            shared.awaitTexts("a", "b", "c");
            shared.awaitLog(" warning Redis 127.0.0.1:" + fake.port()
                + " for the channel counts anew: Redis has lost its data, used tokens too");
            assertEquals(1, shared.lines("counts anew").size());
            assertEquals(1, shared.lines("lost").size(), "that line alone");
        }

        private NanoStreamWs.RedisTimes probing() {
            return new NanoStreamWs.RedisTimes(20_000, 2, 10, 400, 20_000);
        }

        private List<FakeRedis.Request> probes() {
            return fake.requests("PING").stream()
                .filter(request -> fake.subscribers.contains(request.from())).toList();
        }

        @Test
        @DisplayName("is asked by PING whether it lives when it is silent")
        void isProbed() throws Exception {
            shared(probing()).awaitUp();
            TestServer.await("it is asked", () -> probes().size() >= 3); // one was before it subscribed
            send("5000001 1 1 a");
            shared.awaitTexts("a");
            assertEquals(0, shared.lines(DOWN).size(), shared.log());
        }

        @Test
        @DisplayName("one that is dead is given up, and subscribed anew")
        void knowsThatItIsDead() throws Exception {
            shared(probing());
            fake.answers.put("PING", words -> fake.subscribers.isEmpty() ? "+PONG\r\n" : FakeRedis.SILENCE);
            shared.awaitLog("for the channel" + DOWN + "no answer within a second");
            fake.answers.clear();
            fake.await("SUBSCRIBE", 2);
            shared.awaitUp();
            send("5000001 1 1 a");
            shared.awaitTexts("a");
        }

        @Test
        void isUpOnlyWhenItIsSubscribed() throws Exception {
            fake.answer("SUBSCRIBE", FakeRedis.SILENCE);
            shared(PATIENT);
            shared.awaitLog("for requests is up");
            fake.await("SUBSCRIBE", 1);
            assertEquals("Redis is down", shared.redis.ailment());
            String figure = "nanostream_redis_up{connection=\"channel\"}";
            assertEquals(0.0, new Exposition(shared.redis.figures()).get(figure));
            fake.send("*3\r\n" + FakeRedis.bulk("subscribe") + FakeRedis.bulk("nano-stream:feed") + ":1\r\n");
            shared.awaitUp();
            assertEquals(1.0, new Exposition(shared.redis.figures()).get(figure));
        }

        private List<List<String>> reports() {
            return fake.requests("EVAL").stream().map(FakeRedis.Request::words)
                .filter(words -> words.get(1).equals(NanoStreamWs.Redis.REPORT))
                .map(words -> words.subList(2, words.size())).toList();
        }

        @Test
        @DisplayName("tells how far this server is, but not with every message, and takes that back where it begins and ends")
        void reportsHowFarItIs() throws Exception {
            up();
            send("5000001 1 1000 a", "5000002 2 200000 b", "5000003 3 263143 c", "5000004 4 263144 d",
                "5000005 5 300000 e");
            shared.awaitTexts("a", "b", "c", "d", "e");
            TestServer.await("reports", () -> reports().size() == 2);
            String server = shared.redis.server;
            assertEquals(List.of(List.of("1", "nano-stream:servers", server, "1000"),
                List.of("1", "nano-stream:servers", server, "263144")), reports());
            int before = fake.requests("HDEL").size(); // 0 if the requests came up later than the channel
            close();
            List<String> takenBack = List.of("HDEL", "nano-stream:servers", server);
            assertEquals(Collections.nCopies(before + 1, takenBack),
                fake.requests("HDEL").stream().map(FakeRedis.Request::words).toList());
        }
    }

    @Nested
    @DisplayName("A server with --redis")
    class WithServer {
        private TestServer server(String... more) throws Exception {
            List<String> args = new ArrayList<>(List.of("--redis=" + fake.url(), "--secret", TestServer.SECRET));
            args.addAll(List.of(more));
            TestServer server = new TestServer(args.toArray(String[]::new));
            TestServer.await("Redis is up", () -> server.server.redis.ailment() == null);
            return server;
        }

        private String knock(TestServer server, String token) throws Exception {
            try (RawClient client = new RawClient(server.port())) {
                client.send(RawClient.handshake("/?t=" + token));
                return client.answer();
            }
        }

        @Test
        @DisplayName("refuses a listener with 503 and Retry-After where Redis is in error, and gives back its place")
        void refusesWithRetryAfter() throws Exception {
            try (TestServer server = server("--max-listeners=1")) {
                fake.answer("SET", "-NOPERM no\r\n");
                for (int i = 0; i < 3; i++) {
                    String answer = knock(server, TestToken.fresh(server));
                    assertTrue(answer.startsWith("HTTP/1.1 503 Service Unavailable\r\n"), answer);
                    assertEquals("5", RawClient.field(answer, "Retry-After"));
                    assertEquals("503 Service Unavailable\n", RawClient.body(answer));
                }
                server.awaitLog("without origin: The other servers cannot be asked or told: Redis: \"NOPERM no\": ");
                TestServer.await("no place is taken", () -> server.server.door.places().get() == 0);
                fake.answers.clear();
                String token = TestToken.fresh(server);
                try (RawClient client = RawClient.admitted(server.port(), "/?t=" + token)) {
                    fake.answer("SET", FakeRedis.NONE);
                    server.awaitListeners(1);
                    assertEquals(200, server.post("hello"));
                    assertEquals("hello", client.text());
                }
                server.awaitListeners(0);
                TestServer.await("no place is taken", () -> server.server.door.places().get() == 0);
                String answer = knock(server, TestToken.fresh(server));
                assertTrue(answer.startsWith("HTTP/1.1 401 Unauthorized\r\n"), answer);
                server.awaitLog("Token has already been used");
            }
        }

        @Test
        @Tag("slow")
        @DisplayName("refuses a listener after a second where Redis is silent, and nobody else waits for it")
        void refusesWhatIsLate() throws Exception {
            try (TestServer server = server(); RawClient client = new RawClient(server.port());
                 RawClient listener = RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server))) {
                fake.deaf = true;
                String token = TestToken.fresh(server);
                long start = System.nanoTime();
                client.send(RawClient.handshake("/?t=" + token));
                listener.send(RawClient.frame(0x89, "meanwhile"));
                assertEquals("meanwhile", listener.frame().text());
                String answer = client.answer();
                assertTrue(answer.startsWith("HTTP/1.1 503 "), answer);
                assertEquals("5", RawClient.field(answer, "Retry-After"));
                assertTrue(System.nanoTime() - start >= 990_000_000L);
                assertTrue(server.server.door.places().get() == 1, "its place is free");
                fake.deaf = false;
                server.awaitLog("for requests is up again");
                // It was taken all the same: the first one to ask did not get in, and no other one does.
                assertTrue(knock(server, token).startsWith("HTTP/1.1 401 "));
                assertTrue(knock(server, TestToken.fresh(server)).startsWith("HTTP/1.1 101 "));
            }
        }

        @Test
        @DisplayName("a listener that is refused leaves nothing in the log of compressed frames")
        void givesBackTheCursor() throws Exception {
            try (TestServer server = server()) {
                fake.answer("SET", "-ERR no\r\n");
                try (RawClient client = new RawClient(server.port())) {
                    client.send(RawClient.handshake("/?t=" + TestToken.fresh(server),
                        "Sec-WebSocket-Extensions: permessage-deflate"));
                    assertTrue(client.answer().startsWith("HTTP/1.1 503 "));
                }
                long before = server.server.broadcaster.compressed.end();
                assertEquals(200, server.post("a"));
                assertEquals(before, server.server.broadcaster.compressed.end());
            }
        }

        @Test
        void refusesAPostThatRedisDoesNotTake() throws Exception {
            try (TestServer server = server();
                 RawClient listener = RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server))) {
                fake.answer("EVAL", "-ERR no\r\n");
                try (RawClient publisher = new RawClient(server.feedPort())) {
                    publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
                    String answer = publisher.answer();
                    assertTrue(answer.startsWith("HTTP/1.1 503 "), answer);
                    assertEquals("5", RawClient.field(answer, "Retry-After"));
                    fake.answers.clear();
                    publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nb");
                    assertTrue(publisher.answer().startsWith("HTTP/1.1 200 "));
                }
                assertEquals("b", listener.text());
            }
        }

        @Test
        @DisplayName("what listeners get and what since finds is the same at each")
        void sharesTheStream() throws Exception {
            try (TestServer one = server("--history=10"); TestServer two = server("--history=10");
                 RawClient first = RawClient.admitted(one.port(), "/?t=" + TestToken.fresh(one));
                 RawClient second = RawClient.admitted(two.port(), "/?t=" + TestToken.fresh(two))) {
                String block = "{\"amount\":\"1\",\"block\":\"{\\\"type\\\":\\\"state\\\"}\"}";
                assertEquals(200, one.post(block));
                assertEquals(200, two.post(block));
                assertEquals(200, one.post("text"));
                List<String> texts = List.of(first.text(), first.text(), first.text());
                assertEquals(texts, List.of(second.text(), second.text(), second.text()));
                assertTrue(texts.get(0).contains("\"seen\":1000.000001,"), texts.get(0));
                assertTrue(texts.get(1).contains("\"seen\":1000.000002,"), texts.get(1));
                for (TestServer each : List.of(one, two)) {
                    String target = "/?since=1000.000002&t=" + TestToken.fresh(each);
                    try (RawClient late = RawClient.admitted(each.port(), target)) {
                        assertEquals(texts.get(1), late.text());
                    }
                }
            }
        }

        @Test
        @DisplayName("what stands before a loss is no history any more: a client that asks for it learns of the gap")
        void forgetsWhatStandsBeforeALoss() throws Exception {
            try (TestServer server = server()) {
                fake.send(FakeRedis.message("5000001 1 1 a") + FakeRedis.message("5000002 2 1 b"));
                fake.send(FakeRedis.message("5000005 5 1 e") + FakeRedis.message("5000006 6 1 f"));
                server.awaitLog("for the channel: 2 messages were lost");
                String target = "/?since=5.000002&t=" + TestToken.fresh(server);
                try (RawClient client = RawClient.admitted(server.port(), target)) {
                    assertEquals("e", client.text());
                }
            }
        }

        @Test
        @DisplayName("says by healthz and metrics whether Redis is there, and keeps its listeners")
        void tellsHowItIs() throws Exception {
            try (TestServer server = server();
                 RawClient listener = RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server))) {
                String ask = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
                assertTrue(RawClient.lastAnswer(server.port(), ask).startsWith("HTTP/1.1 200 "));
                fake.close();
                TestServer.await("it is down", () -> server.server.redis.ailment() != null);
                String answer = RawClient.lastAnswer(server.port(), ask);
                assertTrue(answer.startsWith("HTTP/1.1 503 ") && answer.contains("Redis is down"), answer);
                Exposition figures = Exposition.of(server.feedPort());
                assertEquals(2, figures.samples("nanostream_redis_up").size());
                assertTrue(knock(server, TestToken.fresh(server)).startsWith("HTTP/1.1 503 "));
                assertEquals(503, server.post("a"));
                assertEquals(1, server.server.broadcaster.size());
                listener.send(RawClient.frame(0x89, "still here"));
                assertEquals("still here", listener.frame().text());
            }
        }

        @Test
        @DisplayName("leaves no thread and no connection behind, and no password in its log")
        void leavesNothingBehind() throws Exception {
            String url = "--redis=redis://user-name:pass-word@127.0.0.1:" + fake.port() + "/p";
            TestServer server = new TestServer(url);
            TestServer.await("Redis is up", () -> server.server.redis.ailment() == null);
            assertEquals(200, server.post("a"));
            server.close();
            TestServer.await("requests end", () -> !server.server.redis.requests.thread.isAlive());
            TestServer.await("the channel ends", () -> !server.server.redis.channel.thread.isAlive());
            TestServer.await("no connection", fake.open::isEmpty);
            assertEquals("p:servers", fake.requests("HDEL").getFirst().words().get(1));
            assertFalse(server.log().contains("pass-word"), server.log());
            assertFalse(server.log().contains("user-name"), server.log());
        }
    }
}
