// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.*;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("Used tokens: a token works once")
class UsedTokensTest {
    private static final Instant START = Instant.ofEpochSecond(2_000_000_000);

    private volatile Instant now = START;
    private NanoStreamWs.UsedTokens used = new NanoStreamWs.UsedTokens(() -> now, Duration.ZERO);

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
        assertEquals(1, used.size());
    }

    @Test
    void knowsATokenByItsMacAlone() {
        assertNull(claim(token(1, 10)));
        assertNull(claim(token(2, 10)));
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(1, 99)));
        assertEquals(2, used.size());
    }

    @Test
    void sweepForgetsWhatHasExpiredAndNothingElse() {
        assertNull(claim(token(1, 10)));
        assertNull(claim(token(2, 20)));
        assertNull(claim(token(3, 20.5)));
        used.sweep();
        assertEquals(3, used.size());
        turn(9.999);
        used.sweep();
        assertEquals(3, used.size());
        turn(10);
        used.sweep();
        assertEquals(2, used.size());
        turn(20);
        used.sweep();
        assertEquals(1, used.size());
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(3, 20.5)));
        turn(20.5);
        used.sweep();
        assertEquals(0, used.size());
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
        assertEquals(0, used.size());
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
        used = new NanoStreamWs.UsedTokens(() -> now, Duration.ofMillis(2_500));
        assertNull(claim(token(1, 10)));
        turn(12.499);
        used.sweep();
        assertEquals(NanoStreamWs.Rejection.TOKEN_USED, claim(token(1, 10)));
        assertNull(claim(token(2, 10)));
        turn(12.5);
        assertEquals(NanoStreamWs.Rejection.TOKEN_EXPIRED, claim(token(3, 10)));
        used.sweep();
        assertEquals(0, used.size());
    }

    @Test
    void admitsNobodyWhenThereIsNoRoomToRememberAToken() {
        for (int i = 0; i < NanoStreamWs.Limits.MAX_USED_TOKENS; i++)
            assertNull(claim(token(i, i == 0 ? 5 : 10)));
        assertEquals(NanoStreamWs.Rejection.USED_TOKENS_FULL, claim(token(-1, 10)));
        assertEquals(NanoStreamWs.Limits.MAX_USED_TOKENS, used.size());
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
        assertEquals(tokens, used.size());
    }
}
