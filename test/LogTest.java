// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@DisplayName("Log lines: one line an event, bounded, and safe to read")
class LogTest {
    private static final int BURST = NanoStreamWs.Limits.LOG_BURST, RATE = NanoStreamWs.Limits.LOG_RATE;
    private static final int QUOTED = NanoStreamWs.Limits.MAX_QUOTED;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private Instant now = Instant.parse("2026-01-02T03:04:05.006789Z");
    private final NanoStreamWs.EventLog log =
        new NanoStreamWs.EventLog(new PrintStream(out, true, UTF_8), () -> now);

    /** Closes the log, which writes what is waiting. */
    private List<String> lines() {
        log.close();
        return out.toString(UTF_8).lines().toList();
    }

    private void events(NanoStreamWs.Event event, int count) {
        for (int i = 0; i < count; i++)
            log.add(event, event.word + i);
    }

    static List<List<String>> quotations() {
        return List.of(
            List.of("", "\"\""),
            List.of("plain text ~!#", "\"plain text ~!#\""),
            List.of("a\"b", "\"a\\\"b\""),
            List.of("a\\b", "\"a\\\\b\""),
            List.of("a\\u000ab", "\"a\\\\u000ab\""), // not to be taken for a line break
            List.of("a\nb\rc\td\0e\u001b[31m", "\"a\\u000ab\\u000dc\\u0009d\\u0000e\\u001b[31m\""),
            List.of("\u007f\u0080\u0085\u009b", "\"\\u007f\\u0080\\u0085\\u009b\""),
            List.of("\u00e9\u2028\u202e\uffff", "\"\\u00e9\\u2028\\u202e\\uffff\""),
            List.of("\ud83d\ude00\ud800", "\"\\ud83d\\ude00\\ud800\""),
            List.of("x".repeat(QUOTED), '"' + "x".repeat(QUOTED) + '"'),
            List.of("x".repeat(QUOTED + 1), '"' + "x".repeat(QUOTED) + "\"..."),
            List.of("\n".repeat(1_000_000), '"' + "\\u000a".repeat(QUOTED) + "\"..."));
    }

    @ParameterizedTest
    @MethodSource("quotations")
    void quotesWhatAClientSent(List<String> quotation) {
        assertEquals(quotation.get(1), NanoStreamWs.EventLog.quote(quotation.get(0)));
    }

    @Test
    void quotesEveryCharacterAsPrintableAscii() {
        for (int c = 0; c <= 0xFFFF; c++) {
            String quoted = NanoStreamWs.EventLog.quote(String.valueOf((char) c));
            assertTrue(quoted.chars().allMatch(q -> q >= ' ' && q < 0x7F), () -> quoted);
        }
    }

    @Test
    void writesOneLineAnEventInOrderWithTimeAndKind() {
        log.add(NanoStreamWs.Event.ADMITTED, "1.2.3.4:5");
        now = now.plusSeconds(1);
        log.add(NanoStreamWs.Event.FEED, "is here");
        assertEquals(List.of("2026-01-02T03:04:05.006Z admitted 1.2.3.4:5",
            "2026-01-02T03:04:06.006Z feed is here"), lines());
    }

    @Test
    void closeWritesWhatIsWaiting() {
        for (NanoStreamWs.Event event : NanoStreamWs.Event.values())
            events(event, BURST);
        assertEquals(NanoStreamWs.Event.values().length * BURST, lines().size());
    }

    @Test
    void leavesOutWhatIsTooMuchOfAKindAndTellsHowMuch() {
        events(NanoStreamWs.Event.REFUSED, BURST + 7);
        events(NanoStreamWs.Event.LEFT, 3); // another event has an allowance of its own
        log.tick();
        List<String> lines = lines();
        assertEquals(BURST + 3 + 1, lines.size());
        assertTrue(lines.get(BURST - 1).endsWith(" refused refused" + (BURST - 1)), lines.get(BURST - 1));
        assertTrue(lines.get(BURST + 2).endsWith(" left left2"), lines.get(BURST + 2));
        assertTrue(lines.getLast().matches(".* refused 7 .*left out"), lines.getLast());
    }

    @Test
    void countsWhatHappenedWhetherItIsLoggedOrNot() {
        events(NanoStreamWs.Event.REFUSED, BURST + 7);
        events(NanoStreamWs.Event.LEFT, 3);
        log.tick();
        assertEquals(BURST + 7, log.tallies.get(NanoStreamWs.Event.REFUSED).count.sum());
        assertEquals(3, log.tallies.get(NanoStreamWs.Event.LEFT).count.sum());
        assertEquals(0, log.tallies.get(NanoStreamWs.Event.DROPPED).count.sum());
    }

    @Test
    void tellsNothingWhereNothingWasLeftOut() {
        events(NanoStreamWs.Event.REFUSED, BURST);
        log.tick();
        log.tick();
        assertEquals(BURST, lines().size());
    }

    @Test
    void tickRenewsTheAllowanceAtTheRate() {
        events(NanoStreamWs.Event.REFUSED, BURST + 1);
        log.tick(); // tells of 1
        events(NanoStreamWs.Event.REFUSED, RATE + 2);
        log.tick(); // tells of 2
        log.tick();
        events(NanoStreamWs.Event.REFUSED, 2 * RATE + 3);
        log.tick(); // tells of 3
        List<String> lines = lines();
        assertEquals(BURST + 1 + RATE + 1 + 2 * RATE + 1, lines.size());
        assertEquals(List.of("1", "2", "3"), lines.stream().filter(line -> line.endsWith("left out"))
            .map(line -> line.split(" ")[2]).toList());
    }

    @Test
    void theAllowanceNeverExceedsTheBurst() {
        events(NanoStreamWs.Event.REFUSED, 1);
        for (int i = 0; i < 10 * BURST; i++)
            log.tick();
        events(NanoStreamWs.Event.REFUSED, 2 * BURST);
        assertEquals(1 + BURST, lines().size());
    }

    @Nested
    @DisplayName("of a server")
    class OfAServer extends GuardedServer {
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
                    client.send(RawClient.handshake("/", "Origin: https://a" + c + "forged: line"));
                    assertEquals(400, RawClient.status(client.answer()), "character " + (int) c);
                    server.awaitLog("127.0.0.1:" + client.socket.getLocalPort());
                }
            server.close();
            assertFalse(server.log().contains("forged"), server.log());
            server.log().lines().filter(line -> line.contains("127.0.0.1:")).forEach(line ->
                assertTrue(line.chars().allMatch(c -> c >= ' ' && c < 0x7F), line));
            assertFalse(server.log().chars().anyMatch(c -> c < ' ' && c != '\n'), server.log());
        }
    }
}
