import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Rejections: what a refused client is told, and what the log says")
class RejectionTest extends GuardedServer {
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
    @ValueSource(ints = {-100_000, -1, 0})
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
    @DisplayName("--max-listeners: 503 with Retry-After; the token stays good, and a place becomes free again")
    void refusesWhereThereIsNoRoom() throws Exception {
        try (TestServer full = new TestServer("--max-listeners=2", "--secret=" + TestServer.SECRET)) {
            List<RawClient> inside = new ArrayList<>();
            for (int i = 0; i < 2; i++)
                inside.add(RawClient.admitted(full.port(), "/?t=" + TestToken.fresh(full)));
            String token = TestToken.fresh(full);
            for (int i = 0; i < 3; i++) // a refusal takes no place
                try (RawClient client = new RawClient(full.port())) {
                    client.send(RawClient.handshake("/?t=" + token));
                    String answer = SharedServer.assertRefused(client, "503 Service Unavailable");
                    assertTrue(Integer.parseInt(RawClient.field(answer, "Retry-After")) > 0);
                }
            inside.removeFirst().close();
            full.awaitListeners(1);
            TestServer.await("a place", () -> isAdmitted(full, token, inside));
            try (RawClient client = new RawClient(full.port())) {
                assertEquals(503, RawClient.status(client.upgrade("/?t=" + TestToken.fresh(full))), "full again");
            }
            for (RawClient client : inside)
                client.close();
        }
    }

    private static boolean isAdmitted(TestServer server, String token, List<RawClient> inside) {
        try {
            inside.add(RawClient.admitted(server.port(), "/?t=" + token));
            return true;
        } catch (IOException e) {
            assertTrue(e.getMessage().contains(" 503 "), e.getMessage());
            return false;
        }
    }

    @Test
    @DisplayName("a refused client that goes on sending still gets the answer, and no reset")
    void refusesInOrder() throws Exception {
        String withoutKey = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\n\r\n";
        try (TestServer open = new TestServer(); RawClient client = new RawClient(open.port())) {
            client.send(RawClient.concat(withoutKey.getBytes(UTF_8), new byte[10_000]));
            SharedServer.assertRefused(client, "400 Bad Request");
            for (int i = 0; i < 100; i++)
                client.send(new byte[1_000]);
        }
    }

    @Test
    @DisplayName("a head that is too large is 431")
    void refusesALargeHead() throws Exception {
        List<String> requests = new ArrayList<>();
        requests.add(RawClient.handshake("/?t=" + "a".repeat(NanoStreamWs.Limits.MAX_HEAD)));
        requests.add(RawClient.handshake("/", "X: " + "a".repeat(NanoStreamWs.Limits.MAX_HEAD)));
        requests.add(RawClient.handshake("/", "X: a\r\n".repeat(NanoStreamWs.Limits.MAX_FIELDS).strip()));
        try (TestServer open = new TestServer()) {
            for (String request : requests)
                try (RawClient client = new RawClient(open.port())) {
                    client.send(request);
                    SharedServer.assertRefused(client, "431 Request Header Fields Too Large");
                }
        }
    }
}
