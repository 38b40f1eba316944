import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

@DisplayName("Rejections: the five of a token, what uses it up, and what the log says")
class RejectionTest {
    private static final String ORIGIN = "https://page.example";

    private TestServer server;

    @BeforeEach
    void start() throws Exception {
        server = new TestServer("--secret", TestServer.SECRET);
    }

    @AfterEach
    void stop() {
        server.close();
        assertFalse(server.log().contains(TestServer.SECRET), "no secret in the log");
        assertFalse(server.log().contains("t="), "no query in the log");
        assertFalse(server.log().contains("eyJ"), "no token in the log");
    }

    /** The status of a handshake; a client that is admitted leaves again. */
    private int knock(String target, String... fields) throws Exception {
        return knock(server, target, fields);
    }

    private static int knock(TestServer server, String target, String... fields) throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            return RawClient.status(client.upgrade(target, fields));
        }
    }

    /** A handshake that gets 401, and one line in the log. */
    private void assertUnauthorized(String text, String target, String... fields) throws Exception {
        List<String> all = new ArrayList<>(List.of(fields));
        all.add("Origin: " + ORIGIN);
        int port;
        try (RawClient client = new RawClient(server.port())) {
            port = client.socket.getLocalPort();
            client.send(RawClient.handshake(target, all.toArray(String[]::new)));
            String answer = client.answer();
            assertEquals("HTTP/1.1 401 Unauthorized", answer.lines().findFirst().orElseThrow());
            assertEquals("Bearer", RawClient.field(answer, "WWW-Authenticate"));
            assertEquals("401 Unauthorized\n", answer.substring(answer.indexOf("\r\n\r\n") + 4));
            assertTrue(client.atEnd());
        }
        String address = "127.0.0.1:" + port;
        String line = server.awaitLog(address);
        assertTrue(line.contains(ORIGIN), line);
        assertTrue(line.matches(".*: " + text + "(: .*)?"), line);
        server.close(); // with it the log is complete
        assertEquals(1, server.log().lines().filter(l -> l.contains(address)).count(), server.log());
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void noTokenSupplied(String target, String field) throws Exception {
        assertUnauthorized("No token supplied", target, field);
    }

    static Stream<Arguments> noTokenSupplied() {
        return Stream.of(Arguments.of("/", "X: y"), Arguments.of("/?t=", "X: y"), Arguments.of("/?t", "X: y"),
            Arguments.of("/?T=abc&x=1", "X: y"), Arguments.of("/", "Authorization: Basic YTpi"),
            Arguments.of("/", "Authorization: Bearer "));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void tokenWasInvalid(String what, Function<Long, String> token) throws Exception {
        assertUnauthorized("Token was invalid", "/?t=" + token.apply(server.now.getEpochSecond()));
    }

    private static Arguments invalid(String what, Function<Long, String> token) {
        return Arguments.of(what, token);
    }

    private static String good(long now) {
        return "{\"exp\":" + (now + 60) + "}";
    }

    private static String unsigned(String text) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(text.getBytes(UTF_8));
    }

    static Stream<Arguments> tokenWasInvalid() {
        String h = TestToken.HEADER, s = TestServer.SECRET, hs256 = "HmacSHA256";
        return Stream.of(
            invalid("no token at all", now -> "abc"),
            invalid("two segments", now -> TestToken.of(good(now)).replaceFirst("\\.[^.]*$", "")),
            invalid("four segments", now -> TestToken.of(good(now)) + ".a"),
            invalid("empty signature", now -> TestToken.of(good(now)).replaceFirst("[^.]*$", "")),
            invalid("another secret", now -> TestToken.of(h, good(now), s + "x", hs256)),
            invalid("alg none", now -> unsigned("{\"alg\":\"none\"}") + '.' + unsigned(good(now)) + '.'),
            invalid("alg none, signed", now -> TestToken.of("{\"alg\":\"none\"}", good(now), s, hs256)),
            invalid("alg HS512", now -> TestToken.of("{\"alg\":\"HS512\"}", good(now), s, "HmacSHA512")),
            invalid("alg in small letters", now -> TestToken.of("{\"alg\":\"hs256\"}", good(now), s, hs256)),
            invalid("no alg", now -> TestToken.of("{\"typ\":\"JWT\"}", good(now), s, hs256)),
            invalid("crit", now -> TestToken.of("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", good(now), s, hs256)),
            invalid("b64", now -> TestToken.of("{\"alg\":\"HS256\",\"b64\":true}", good(now), s, hs256)),
            invalid("alg twice", now -> TestToken.of("{\"alg\":\"HS256\",\"\\u0061lg\":\"HS256\"}",
                good(now), s, hs256)),
            invalid("header that is no object", now -> TestToken.of("[]", good(now), s, hs256)),
            invalid("payload that is no object", now -> TestToken.of("1")),
            invalid("payload that is no JSON", now -> TestToken.of(good(now) + '}')),
            invalid("exp twice", now -> TestToken.of("{\"exp\":1,\"exp\":" + (now + 60) + "}")),
            invalid("exp in quotes", now -> TestToken.of("{\"exp\":\"" + (now + 60) + "\"}")),
            invalid("exp null", now -> TestToken.of("{\"exp\":null}")),
            invalid("exp without end", now -> TestToken.of("{\"exp\":1e999}")),
            invalid("nbf in the future", now -> TestToken.of("{\"exp\":" + (now + 60) + ",\"nbf\":" + (now + 5) + "}")),
            invalid("nbf in quotes", now -> TestToken.of("{\"exp\":" + (now + 60) + ",\"nbf\":\"1\"}")),
            invalid("padding", now -> TestToken.of(good(now)) + "="),
            invalid("space behind", now -> TestToken.of(good(now)) + "%20"),
            invalid("another spelling of the same bytes", now -> respelt(TestToken.of(good(now)))));
    }

    /** The last character of 32 bytes in base64url has two bits that stand for nothing. */
    private static String respelt(String token) {
        String alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        int last = alphabet.indexOf(token.charAt(token.length() - 1));
        return token.substring(0, token.length() - 1) + alphabet.charAt(last + 1);
    }

    @Test
    void tokenHasNoExpiration() throws Exception {
        assertUnauthorized("Token has no expiration", "/?t=" + TestToken.of("{\"iat\":1}"));
    }

    @ParameterizedTest
    @org.junit.jupiter.params.provider.ValueSource(ints = {-100_000, -1, 0})
    void tokenHasExpired(int seconds) throws Exception {
        assertUnauthorized("Token has expired", "/?t=" + TestToken.expiring(server.now.plusSeconds(seconds)));
    }

    @Test
    void tokenHasAlreadyBeenUsed() throws Exception {
        String token = TestToken.fresh(server);
        assertEquals(101, knock("/?t=" + token));
        server.awaitListeners(0);
        assertUnauthorized("Token has already been used", "/?t=" + token);
    }

    @Test
    @DisplayName("the documented token is admitted, once")
    void admitsTheDocumentedTokenOnce() throws Exception {
        assertEquals(101, knock("/?t=" + TestServer.DOCUMENTED_TOKEN));
        assertUnauthorized("Token has already been used", "/?t=" + TestServer.DOCUMENTED_TOKEN);
    }

    @Test
    @DisplayName("a token works until just before it expires, and a fraction of a second counts")
    void admitsUntilItExpires() throws Exception {
        server.now = java.time.Instant.ofEpochSecond(2_000_000_000L, 499_000_000);
        assertEquals(101, knock("/?t=" + TestToken.of("{\"exp\":2000000000.5}")));
        server.now = server.now.plusMillis(1);
        assertEquals(401, knock("/?t=" + TestToken.of("{\"exp\":2000000000.5,\"jti\":1}")));
    }

    @Test
    @DisplayName("RFC 6750 §2.1: Authorization: Bearer, in any case")
    void takesABearerToken() throws Exception {
        assertEquals(101, knock("/", "Authorization: Bearer " + TestToken.fresh(server)));
        assertEquals(101, knock("/any?x=y", "authorization: bearer " + TestToken.fresh(server)));
    }

    @Test
    void takesTheSameTokenInBothPlaces() throws Exception {
        String token = TestToken.fresh(server);
        assertEquals(101, knock("/?t=" + token, "Authorization: Bearer " + token));
        assertEquals(401, knock("/", "Authorization: Bearer " + token), "it is the same token");
    }

    @Test
    @DisplayName("what leaves open which token is meant is 400, and uses none up")
    void refusesTwoTokens() throws Exception {
        String one = TestToken.fresh(server), two = TestToken.fresh(server);
        assertEquals(400, knock("/?t=" + one, "Authorization: Bearer " + two));
        assertEquals(400, knock("/?t=", "Authorization: Bearer " + two));
        assertEquals(400, knock("/?t=" + one + "&t=" + two));
        assertEquals(400, knock("/?t=" + one + "&t=" + one));
        assertEquals(400, knock("/?t=" + one + "&%74=" + one));
        assertEquals(400, knock("/", "Authorization: Bearer " + one, "Authorization: Bearer " + one));
        assertEquals(101, knock("/?t=" + one));
        assertEquals(101, knock("/?t=" + two));
    }

    @Test
    void takesATokenAmongOtherParameters() throws Exception {
        assertEquals(101, knock("/a/b?x=1&t=" + TestToken.fresh(server) + "&y"));
    }

    @Test
    @DisplayName("a refusal for any other reason does not use the token up")
    void keepsATokenThatWasRefused() throws Exception {
        String token = TestToken.fresh(server), secret = "--secret=" + TestServer.SECRET;
        try (TestServer strict = new TestServer(secret, "--origin=example.com", "--max-listeners=1")) {
            strict.now = server.now;
            assertEquals(403, knock(strict, "/?t=" + token, "Origin: https://evil.example"));
            String ok = "Origin: https://example.com";
            for (String broken : new String[] {"Sec-WebSocket-Key: AAAA", "Sec-WebSocket-Version: 8", "Host: other"})
                assertEquals(400, knock(strict, "/?t=" + token, ok, broken));
            try (RawClient client = new RawClient(strict.port())) {
                client.send("GET /?t=" + token + " HTTP/1.1\r\nHost: a\r\n" + ok + "\r\n\r\n");
                assertEquals(200, RawClient.status(client.answer()), "the page, for which no token is needed");
            }
            try (RawClient inside = RawClient.admitted(strict.port(), "/?t=" + TestToken.fresh(strict), ok)) {
                assertEquals(503, knock(strict, "/?t=" + token, ok));
                inside.send(RawClient.frame(0x88, RawClient.closing(1000)));
                assertTrue(inside.frame().isClose());
            }
            strict.awaitLog("left");
            assertEquals(101, knock(strict, "/?t=" + token, ok));
            TestServer.await("it has left", () -> strict.log().split(" left ", -1).length == 3);
            assertEquals(401, knock(strict, "/?t=" + token, ok));
        }
    }

    @RepeatedTest(10)
    @DisplayName("64 connections with one token at the same moment: one is admitted")
    void admitsOneOfMany() throws Exception {
        int many = 64;
        String request = RawClient.handshake("/?t=" + TestToken.fresh(server));
        List<RawClient> clients = new ArrayList<>();
        CountDownLatch ready = new CountDownLatch(many), go = new CountDownLatch(1);
        try (ExecutorService threads = Executors.newFixedThreadPool(many)) {
            for (int i = 0; i < many; i++) {
                clients.add(new RawClient(server.port()));
                clients.getLast().send(request.substring(0, request.length() - 1)); // all but the last byte
            }
            List<Future<Integer>> answers = new ArrayList<>();
            for (RawClient client : clients) {
                Callable<Integer> knock = () -> {
                    ready.countDown();
                    go.await();
                    client.send("\n");
                    return RawClient.status(client.head());
                };
                answers.add(threads.submit(knock));
            }
            ready.await();
            go.countDown();
            List<Integer> statuses = new ArrayList<>();
            for (Future<Integer> answer : answers)
                statuses.add(answer.get());
            assertEquals(1, Collections.frequency(statuses, 101), statuses.toString());
            assertEquals(many - 1, Collections.frequency(statuses, 401), statuses.toString());
            server.awaitListeners(1);
        } finally {
            for (RawClient client : clients)
                client.close();
        }
    }

    @Test
    @DisplayName("an origin is escaped and cut in the log")
    void escapesAndCutsAnOrigin() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            String origin = "https://a\"b\\c\td\u00e9\u0085" + "x".repeat(5_000) + "tail";
            client.send(RawClient.handshake("/", "Origin: " + origin));
            assertEquals(401, RawClient.status(client.answer()));
            String line = server.awaitLog("127.0.0.1:" + client.socket.getLocalPort());
            assertTrue(line.contains("https://a\\\"b\\\\c\\u0009d\\u00e9\\u0085xxx"), line);
            assertTrue(line.chars().allMatch(c -> c >= ' ' && c < 0x7F), line);
            assertFalse(line.contains("tail"), line);
            assertTrue(line.length() < 300, line);
            assertTrue(line.endsWith(": No token supplied"), line);
        }
    }

    @Test
    @DisplayName("control characters, which would forge a line, are malformed, and do not get into the log")
    void refusesControlCharacters() throws Exception {
        for (char c : new char[] {0, '\n', '\r', 0x1B, 0x7F})
            try (RawClient client = new RawClient(server.port())) {
                client.send(RawClient.handshake("/", "Origin: https://a" + c + "forged: line").getBytes(ISO_8859_1));
                assertEquals(400, RawClient.status(client.answer()), "character " + (int) c);
                server.awaitLog("127.0.0.1:" + client.socket.getLocalPort());
            }
        server.close();
        assertFalse(server.log().contains("forged"), server.log());
        server.log().lines().filter(line -> line.contains("127.0.0.1:")).forEach(line ->
            assertTrue(line.chars().allMatch(c -> c >= ' ' && c < 0x7F), line));
        assertFalse(server.log().chars().anyMatch(c -> c < ' ' && c != '\n'), server.log());
    }

    @Test
    @DisplayName("without --secret everybody is admitted, and the log warns of it once")
    void admitsEverybodyWithoutASecret() throws Exception {
        try (TestServer open = new TestServer()) {
            assertEquals(101, knock(open, "/"));
            assertEquals(101, knock(open, "/?t=abc"));
            open.awaitLog("without --secret");
            open.awaitLog("admitted"); // which came after it
            assertEquals(1, open.log().lines().filter(line -> line.contains("without --secret")).count());
        }
    }

    @Test
    @DisplayName("of several secrets any will do, and a token works once whichever it is")
    void takesAnyOfTheSecrets() throws Exception {
        try (TestServer two = new TestServer("--secret=one", "--secret=two")) {
            String payload = "{\"exp\":" + (two.now.getEpochSecond() + 60) + "}";
            for (String secret : new String[] {"one", "two"}) {
                String token = TestToken.of(TestToken.HEADER, payload, secret, "HmacSHA256");
                assertEquals(101, knock(two, "/?t=" + token));
                assertEquals(401, knock(two, "/?t=" + token));
            }
            assertEquals(401, knock(two, "/?t=" + TestToken.of(payload)));
        }
    }
}
