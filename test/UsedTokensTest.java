// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.*;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;

@DisplayName("Used tokens: a token works once")
class UsedTokensTest {
    private static final Instant START = Instant.ofEpochSecond(2_000_000_000);

    private volatile Instant now = START;
    private NanoStreamWs.UsedTokenTable used = new NanoStreamWs.UsedTokenTable(() -> now, Duration.ZERO);

    /** A token known by the number, which expires so many seconds after the start. */
    private static NanoStreamWs.Claims token(int number, double expires) {
        return new NanoStreamWs.Claims(new String(ByteBuffer.allocate(32).putInt(28, number).array(), ISO_8859_1),
            START.getEpochSecond() + expires);
    }

    private void turn(double seconds) {
        now = START.plusMillis(Math.round(seconds * 1000));
    }

    /** What becomes of a claim: null if it is granted. */
    private NanoStreamWs.Rejection claim(NanoStreamWs.Claims claims) {
        try {
            used.claim(claims);
            return null;
        } catch (NanoStreamWs.Refusal refusal) {
            return refusal.why;
        }
    }

    @Test
    void grantsTheFirstClaimAndNoOther() {
        assertNull(claim(token(1, 10)));
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(1, 10)));
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(1, 10)));
        assertEquals(1, used.expiries.size());
    }

    @Test
    void knowsATokenByItsMacAlone() {
        assertNull(claim(token(1, 10)));
        assertNull(claim(token(2, 10)));
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(1, 99)));
        assertEquals(2, used.expiries.size());
    }

    @Test
    void sweepForgetsWhatHasExpiredAndNothingElse() {
        assertNull(claim(token(1, 10)));
        assertNull(claim(token(2, 20)));
        assertNull(claim(token(3, 20.5)));
        used.sweep();
        assertEquals(3, used.expiries.size());
        turn(9.999);
        used.sweep();
        assertEquals(3, used.expiries.size());
        turn(10);
        used.sweep();
        assertEquals(2, used.expiries.size());
        turn(20);
        used.sweep();
        assertEquals(1, used.expiries.size());
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(3, 20.5)));
        turn(20.5);
        used.sweep();
        assertEquals(0, used.expiries.size());
    }

    @Test
    void refusesATokenThatExpiredBetweenItsVerificationAndItsClaim() {
        assertNull(claim(token(1, 10)));
        turn(10);
        used.sweep();
        assertEquals(NanoStreamWs.Rejection.TOKEN_EXPIRED, claim(token(1,
            10))); // used, swept, and still not good again
        assertEquals(NanoStreamWs.Rejection.TOKEN_EXPIRED, claim(token(2, 9)));
        used.sweep();
        assertEquals(0, used.expiries.size());
    }

    @Test
    @DisplayName("a clock that is set back makes no forgotten token good again")
    void refusesATokenThatWasForgottenBeforeTheClockWasSetBack() {
        assertNull(claim(token(1, 10)));
        turn(11);
        used.sweep();
        assertEquals(0, used.expiries.size());
        turn(-6);
        assertEquals(NanoStreamWs.Rejection.TOKEN_EXPIRED, claim(token(1, 10)));
        assertNull(claim(token(2, 12)));
    }

    @Test
    void grantsATokenUntilTheMomentItExpires() {
        turn(9.999);
        assertNull(claim(token(1, 10)));
        assertNull(claim(token(2, 10.5)));
        turn(10.499);
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(2, 10.5)));
        assertNull(claim(token(3, 10.5)));
    }

    @Test
    void keepsATokenForTheLeewayToo() {
        used = new NanoStreamWs.UsedTokenTable(() -> now, Duration.ofMillis(2_500));
        assertNull(claim(token(1, 10)));
        turn(12.499);
        used.sweep();
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(1, 10)));
        assertNull(claim(token(2, 10)));
        turn(12.5);
        assertEquals(NanoStreamWs.Rejection.TOKEN_EXPIRED, claim(token(3, 10)));
        used.sweep();
        assertEquals(0, used.expiries.size());
    }

    @Test
    void admitsNobodyWhenThereIsNoRoomToRememberAToken() {
        for (int i = 0; i < NanoStreamWs.Limits.MAX_USED_TOKENS; i++)
            assertNull(claim(token(i, i == 0 ? 5 : 10)));
        assertEquals(NanoStreamWs.Rejection.USED_TOKENS_FULL, claim(token(-1, 10)));
        assertEquals(NanoStreamWs.Limits.MAX_USED_TOKENS, used.expiries.size());
        turn(5);
        used.sweep();
        assertNull(claim(token(-1, 10)));
        assertEquals(NanoStreamWs.Rejection.USED_TOKENS_FULL, claim(token(-2, 10)));
    }

    @Test
    void oneOfManyAtOnceWins() throws Exception {
        int threads = 64, tokens = 20_000; // so many that some of them are claimed at the very same time
        CyclicBarrier start = new CyclicBarrier(threads);
        List<Future<Integer>> wins = new ArrayList<>();
        try (var executor = Executors.newFixedThreadPool(threads)) {
            for (int i = 0; i < threads; i++)
                wins.add(executor.submit(() -> {
                    start.await();
                    int won = 0;
                    for (int number = 0; number < tokens; number++) {
                        NanoStreamWs.Rejection why = claim(token(number, 10));
                        assertTrue(why == null || why == NanoStreamWs.Rejection.TOKEN_USED);
                        won += why == null ? 1 : 0;
                    }
                    return won;
                }));
        }
        int sum = 0;
        for (Future<Integer> won : wins)
            sum += won.get();
        assertEquals(tokens, sum);
        assertEquals(tokens, used.expiries.size());
    }

    @Nested
    @DisplayName("at the server")
    class AtTheServer extends GuardedServer {
        @Test
        @DisplayName("the documented token is admitted, once")
        void admitsTheDocumentedTokenOnce() throws Exception {
            assertEquals(101, knock("/?t=" + TestServer.DOCUMENTED_TOKEN));
            assertUnauthorized("Token has already been used", "/?t=" + TestServer.DOCUMENTED_TOKEN);
        }

        @Test
        @DisplayName("a refusal for any other reason does not use the token up")
        void keepsATokenThatWasRefused() throws Exception {
            String token = TestToken.fresh(server), secret = "--secret=" + TestServer.SECRET;
            try (TestServer strict = new TestServer(secret, "--origin=example.com", "--max-listeners=1")) {
                strict.now = server.now;
                assertEquals(403, knock(strict, "/?t=" + token, "Origin: https://evil.example"));
                String ok = "Origin: https://example.com";
                for (String broken : List.of("Sec-WebSocket-Key: AAAA", "Sec-WebSocket-Version: 8", "Host: other"))
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
                int status = knock(strict, "/?t=" + token, ok);
                for (int i = 0; i < 1_000 && status == 503; i++) // its place is free a moment after that
                    status = knock(strict, "/?t=" + token, ok);
                assertEquals(101, status);
                TestServer.await("it has left", () -> strict.log().split(" left ", -1).length == 3);
                assertEquals(401, knock(strict, "/?t=" + token, ok));
            }
        }

        @Test
        @DisplayName("a connection with a used token is one of those that wait, of which there is a bounded number")
        void countsAReplayUntilItHasEnded() throws Exception {
            String path = "/?t=" + TestToken.fresh(server);
            assertEquals(101, knock(server, path));
            try (RawClient replay = new RawClient(server.port())) {
                assertEquals(401, RawClient.status(replay.upgrade(path)));
                assertEquals(1, server.server.door.acceptor().open().size());
            }
            TestServer.await("it has ended", () -> server.server.door.acceptor().open().isEmpty());
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
        @DisplayName("a page does not use up a token")
        void usesUpNoToken() throws Exception {
            String token = TestToken.fresh(server);
            assertEquals(200, RawClient.status(RawClient.lastAnswer(server.port(),
                "GET /?t=" + token + " HTTP/1.1\r\nHost: localhost\r\n\r\n")));
            RawClient.admitted(server.port(), "/?t=" + token).close();
        }
    }
}
