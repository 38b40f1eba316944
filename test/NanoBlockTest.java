// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Nano blocks: a node's callback, and the flat object that listeners get")
class NanoBlockTest {
    private static final Instant SEEN = Instant.ofEpochMilli(1_700_000_000_123L);
    private static final String TAIL = "\"seen\":1700000000.123000,\"tps\":1.0,\"tpm\":60.0}";

    private static String flatten(String callback) throws Exception {
        NanoStreamWs.Json json = NanoStreamWs.Json.parse(callback);
        assertTrue(NanoStreamWs.NanoBlocks.isCallback(json));
        return flatten(json, SEEN, 0, new NanoStreamWs.Rate());
    }

    private static String flatten(NanoStreamWs.Json callback, Instant seen, long second, NanoStreamWs.Rate rate)
            throws Exception {
        byte[] begun = NanoStreamWs.NanoBlocks.begin(callback);
        long micros = ChronoUnit.MICROS.between(Instant.EPOCH, seen);
        String end = NanoStreamWs.NanoBlocks.end(rate.count(second));
        return new String(new NanoStreamWs.SeenMessage(begun, () -> end).at(micros), UTF_8);
    }

    /** A member of a flattened callback, as it is written; null where there is none. */
    private static String member(String name, String callback) throws Exception {
        var members = members(flatten(callback));
        StringBuilder out = new StringBuilder();
        if (members.containsKey(name))
            NanoStreamWs.JsonWriter.write(members.get(name), out);
        return members.containsKey(name) ? out.toString() : null;
    }

    /** What a server makes of a callback that is its first message. */
    private static String broadcast(String callback) throws Exception {
        long micros = ChronoUnit.MICROS.between(Instant.EPOCH, SEEN);
        NanoStreamWs.NanoBlocks blocks = new NanoStreamWs.NanoBlocks();
        return new String(blocks.translate(callback.getBytes(UTF_8), callback).at(micros), UTF_8);
    }

    private static Map<String, NanoStreamWs.Json> members(NanoStreamWs.Json json) {
        return assertInstanceOf(NanoStreamWs.Json.Obj.class, json).members();
    }

    private static Map<String, NanoStreamWs.Json> members(String text) throws Exception {
        return members(NanoStreamWs.Json.parse(text));
    }

    private static void refused(String callback) {
        assertThrows(NanoStreamWs.Json.JsonException.class, () -> flatten(callback), callback);
    }

    @Nested
    @DisplayName("The flat object")
    class Flat {
        @ParameterizedTest
        @MethodSource("NanoPair#all")
        void isAsRecorded(NanoPair pair) throws Exception {
            assertEquals(pair.flat() + ',' + TAIL, broadcast(pair.callback()));
        }

        static List<NanoPair> confirmed() throws Exception {
            return NanoPair.all().stream().filter(pair -> pair.confirmation() != null).toList();
        }

        @ParameterizedTest
        @MethodSource("confirmed")
        @DisplayName("what is recorded of a confirmation says the same as the callback")
        void isThatOfTheConfirmation(NanoPair pair) throws Exception {
            var message = new HashMap<>(members(members(pair.confirmation()).get("message")));
            boolean isSend = new NanoStreamWs.Json.Str("send").equals(members(message.get("block")).get("subtype"));
            message.keySet().retainAll(Set.of("account", "hash", "amount", "block"));
            message.put("is_send", new NanoStreamWs.Json.Word(String.valueOf(isSend)));
            byte[] flat = NanoStreamWs.NanoBlocks.begin(new NanoStreamWs.Json.Obj(message));
            assertEquals(members(pair.flat() + ",\"seen\":0}"), members(new String(flat, UTF_8) + "0}"));
        }

        @Test
        void readsTheHexadecimalBalanceOfALegacySend() throws Exception {
            assertEquals("340282366920938463463374607431768211455",
                member("balance_raw", "{\"block\":{\"type\":\"send\",\"balance\":\"" + "fF".repeat(16) + "\"}}"));
            assertEquals("16", member("balance_raw", "{\"block\":{\"type\":\"send\",\"balance\":\"10\"}}"));
            assertEquals("10", member("balance_raw",
                "{\"block\":{\"type\":\"state\",\"balance\":\"10\"},\"subtype\":\"send\"}"));
            refused("{\"block\":{\"type\":\"state\",\"balance\":\"FF\"}}");
            refused("{\"block\":{\"type\":\"send\",\"balance\":\"" + "0".repeat(33) + "\"}}");
            refused("{\"block\":{\"type\":\"send\",\"balance\":\"0x10\"}}");
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            "is_send":true,                 | true
            "is_send":"true",               | true
            "is_send":false,                | false
            "is_send":"false",              | false
            "is_send":"TRUE",               | false
            "is_send":"",                   | false
            "is_send":1,                    | false
            "is_send":null,                 | false
            "subtype":"send",               | false
            """)
        void alwaysSaysWhetherItIsASend(String members, boolean isSend) throws Exception {
            assertEquals(String.valueOf(isSend), member("is_send", "{" + members + "\"block\":{\"type\":\"state\"}}"));
            assertEquals(String.valueOf(isSend), member("is_send", "{" + members + "\"block\":\"{}\"}"));
        }

        @Test
        void saysWhenTheBlockWasSeenWithDecimals() throws Exception {
            NanoStreamWs.Json callback = NanoStreamWs.Json.parse("{\"block\":{\"seen\":1,\"tps\":2,\"tpm\":3}}");
            for (String time : List.of("1700000000.000000", "1700000000.120000", "1700000000.999999"))
                assertEquals("{\"is_send\":false,\"seen\":" + time + ",\"tps\":1.0,\"tpm\":60.0}",
                    flatten(callback, Instant.ofEpochSecond(0, Long.parseLong(time.replace(".", "")) * 1000), 0,
                        new NanoStreamWs.Rate()));
        }

        @Test
        void saysTheRate() throws Exception {
            NanoStreamWs.Rate rate = new NanoStreamWs.Rate();
            NanoStreamWs.Json callback = NanoStreamWs.Json.parse("{\"block\":{}}");
            for (int i = 0; i < 5; i++)
                flatten(callback, SEEN, 0, rate);
            String flat = flatten(callback, SEEN, 2, rate);
            assertTrue(flat.endsWith(",\"tps\":2.5,\"tpm\":150.0}"), flat);
        }

        @Test
        @DisplayName("a clock that is set back for an hour leaves the rate as it is")
        void countsByNoClockThatCanBeSet() throws Exception {
            NanoStreamWs.Rate rate = new NanoStreamWs.Rate();
            NanoStreamWs.Json callback = NanoStreamWs.Json.parse("{\"block\":{}}");
            for (int second = 0; second < 10; second++)
                flatten(callback, SEEN.minusSeconds(3600L * second), second, rate);
            assertTrue(flatten(callback, SEEN, 10, rate).endsWith(",\"tps\":1.0,\"tpm\":60.0}"));
        }

        @Test
        @DisplayName("a callback of control characters goes out no larger than it came, and none larger than a message "
            + "may be")
        void doesNotGrow() throws Exception {
            String controls = "\\b\\f\\n\\r\\t\\\"\\\\".repeat(1_000);
            String flat = flatten("{\"block\":{\"a\":\"" + controls + "\"}}");
            assertTrue(flat.contains("\"a\":\"" + controls + '"'));
            int most = NanoStreamWs.Limits.MAX_MESSAGE;
            NanoStreamWs.NanoBlocks blocks = new NanoStreamWs.NanoBlocks();
            String before = "{\"block\":{\"amount\":\"1\",\"a\":\"", after = "\"}}";
            String large = before + "x".repeat(most - before.length() - after.length()) + after;
            NanoStreamWs.Refusal refusal = assertThrows(NanoStreamWs.Refusal.class,
                () -> blocks.translate(large.getBytes(UTF_8), large));
            assertEquals(NanoStreamWs.Rejection.MESSAGE_TOO_LARGE, refusal.why);
        }

        @Test
        @DisplayName("spaces in names and strings stay; a character is escaped where it has to be, and no other")
        void keepsTheCharactersOfAString() throws Exception {
            String members = "\"a\":\" two  words \",\" b c \":\" \",\"d\":[\"\u007f \u2028\ud83d\ude00/\"],"
                + "\"e\":\"\\u0000 \\u001f\"";
            assertEquals("{" + members + ",\"is_send\":false," + TAIL, flatten("{\"block\":{" + members + "}}"));
        }

        @Test
        void countsNoBlockThatIsRefused() throws Exception {
            NanoStreamWs.Rate rate = new NanoStreamWs.Rate();
            NanoStreamWs.Json bad = NanoStreamWs.Json.parse("{\"amount\":\"x\",\"block\":{}}");
            assertThrows(NanoStreamWs.Json.JsonException.class, () -> flatten(bad, SEEN, 0, rate));
            assertEquals(1, rate.count(10).minute());
        }
    }

    @Nested
    @Tag("slow")
    @DisplayName("A client in JavaScript, in node")
    class JavaScript {
        /** Says whether a client's JSON.parse sees what it saw of the original stream, whose rule this has. A line is a
         * pair: its name, the callback, what is sent of it, and what was otherwise, each in base64. */
        private static final String SAME_AS_BEFORE = """
            const {deepStrictEqual} = require('node:assert');
            const inNano = (raw) => /^[0-9]+$/.test(raw)
              ? parseFloat(raw.padStart(31, '0').replace(/([0-9]{15})[0-9]{15}$/, '.$1')) : NaN;
            const withRaw = (members, name) => members[name]
              ? {...members, [name]: inNano(members[name]), [name + '_raw']: parseInt(members[name])} : members;
            const original = (callback) => {
              const {block, ...rest} = JSON.parse(callback);
              const all = {...withRaw(rest, 'amount'), ...withRaw(JSON.parse(block), 'balance')};
              return JSON.parse(JSON.stringify({...all, is_send: all.is_send === 'true'}));
            };
            const orNull = (callback) => { try { return original(callback); } catch (e) { return null; } };
            let same = 0;
            for (const line of require('node:fs').readFileSync(0, 'ascii').match(/.+/g)) {
              const texts = line.split(' ').map((word) => Buffer.from(word, 'base64').toString());
              const [name, callback, sent, otherwise] = texts;
              const {seen, tps, tpm, ...now} = JSON.parse(sent);
              const differences = JSON.parse(otherwise);
              try {
                deepStrictEqual(orNull(callback), differences && {...now, ...differences});
                same++;
              } catch (e) {
                console.log(name, e.message);
              }
            }
            console.log(same, 'are the same');
            """;

        @Test
        @DisplayName("JSON.parse makes of each what it made of the original stream: the same members, the same doubles")
        void seesWhatItAlwaysSaw(@TempDir Path folder) throws Exception {
            List<NanoPair> pairs = new ArrayList<>(NanoPair.all());
            Random random = new Random(1);
            for (int i = 0; i < 1_000; i++) {
                String raw = new BigInteger(random.nextInt(129), random).toString();
                String callback = "{\"amount\":\"" + raw + "\",\"block\":\"{\\\"balance\\\":\\\"" + raw + "\\\"}\"}";
                pairs.add(new NanoPair(raw, callback, null, null, "{}"));
            }
            List<String> lines = new ArrayList<>();
            for (NanoPair pair : pairs)
                lines.add(Stream.of(pair.name(), pair.callback(), flatten(pair.callback()), pair.before())
                    .map(text -> Base64.getEncoder().encodeToString(text.getBytes(UTF_8)))
                    .collect(Collectors.joining(" ")));
            assertEquals(pairs.size() + " are the same\n", inNode(SAME_AS_BEFORE, Files.write(folder.resolve("pairs"),
                lines)));
        }

        /** What a script in node prints of an input. */
        private static String inNode(String script, Path input) throws IOException {
            ProcessBuilder command = new ProcessBuilder("node", "-e", script);
            try {
                Process node = command.redirectInput(input.toFile()).redirectErrorStream(true).start();
                return new String(node.getInputStream().readAllBytes(), UTF_8);
            } catch (IOException e) {
                return abort("there is no node");
            }
        }
    }

    @Nested
    @DisplayName("Amounts: NANO, truncated to 15 decimals, beside raw with all its digits")
    class Amounts {
        @ParameterizedTest
        @CsvSource(textBlock = """
            0,                                          0
            1,                                          0
            999999999999999,                            0
            1000000000000000,                           0.000000000000001
            1999999999999999,                           0.000000000000001
            9999999999999999999999999999999,            9.999999999999999
            100000000000000000000000000000,             0.1
            123456789012345678901234567890,             0.123456789012345
            1000000000000000000000000000000,            1
            1500000000000000000000000000000,            1.5
            100000000000000000000000000000000,          100
            133248297920938463463374607431768211455,    133248297.920938463463374
            340282366920938463463374607431768211455,    340282366.920938463463374
            """)
        void areTruncated(String raw, String nano) throws Exception {
            for (String name : List.of("amount", "balance"))
                for (String value : List.of(raw, '"' + raw + '"')) { // a JSON number will do as well
                    String callback = "{\"block\":{\"type\":\"state\",\"" + name + "\":" + value + "}}";
                    assertEquals(nano, member(name, callback));
                    assertEquals(raw, member(name + "_raw", callback));
                    assertTrue(flatten(callback).startsWith("{\"type\":\"state\",\"" + name + "\":" + nano + ",\""
                        + name + "_raw\":"
                        + raw + ","));
                }
        }

        @ParameterizedTest
        @ValueSource(strings = {"\"\"", "\" 1\"", "\"1 \"", "\"-1\"", "\"+1\"", "-1", "1.0", "\"1.5\"", "1e30",
            "\"1e30\"", "\"x\"", "\"0x1\"", "\"FF\"", "\"1,000\"", "\"\u0661\"", "null", "true", "[]", "{}", "[1]",
            "340282366920938463463374607431768211456", "\"340282366920938463463374607431768211456\"",
            "\"9999999999999999999999999999999999999999\"", "\"10000000000000000000000000000000000000000\""})
        @DisplayName("An amount is an unsigned integer of 128 bits")
        void areRefusedOtherwise(String value) {
            for (String name : List.of("amount", "balance")) {
                refused("{\"" + name + "\":" + value + ",\"block\":{}}");
                refused("{\"block\":{\"" + name + "\":" + value + "}}");
            }
        }
    }

    @Nested
    @DisplayName("What is a callback")
    class Callback {
        @ParameterizedTest
        @ValueSource(strings = {"{\"block\":{}}", "{\"block\":\"\"}", "{\"block\":\"text\"}",
            "{\"a\":1,\"block\":{\"b\":2}}"})
        void isAnObjectWithABlock(String text) throws Exception {
            assertTrue(NanoStreamWs.NanoBlocks.isCallback(NanoStreamWs.Json.parse(text)));
        }

        @ParameterizedTest
        @ValueSource(strings = {"{}", "{\"a\":1}", "{\"block\":1}", "{\"block\":null}", "{\"block\":true}",
            "{\"block\":[]}", "{\"Block\":{}}", "[]", "[{\"block\":{}}]", "\"block\"", "1", "null", "true",
            "{\"a\":{\"block\":{}}}"})
        void isNothingElse(String text) throws Exception {
            assertFalse(NanoStreamWs.NanoBlocks.isCallback(NanoStreamWs.Json.parse(text)));
            assertFalse(NanoStreamWs.NanoBlocks.isCallback(null));
        }

        @ParameterizedTest
        @ValueSource(strings = {"", " ", "text", "{", "{}x", "[]", "[{}]", "1", "null", "true", "\\\"{}\\\"",
            "{\\\"a\\\":1,\\\"a\\\":2}", "{\\\"a\\\":\\\"\\n\\\"}", "{\\\"a\\\":\\\"\\\\ud83d\\\"}",
            "{\\\"a\\\":\\\"\\\\ude00\\\\ud83d\\\"}"})
        void isRefusedWhereItsBlockIsNoObjectInJson(String block) {
            refused("{\"hash\":\"H\",\"block\":\"" + block + "\"}");
        }
    }

    @Nested
    @DisplayName("Rate: means over whole seconds")
    class Rates {
        private static final long START = 1_700_000_000;

        private final NanoStreamWs.Rate rate = new NanoStreamWs.Rate();

        /** Counts so many blocks in a second; returns what the first of them is told. */
        private NanoStreamWs.Rate.Means count(long second, int blocks) {
            NanoStreamWs.Rate.Means first = rate.count(START + second);
            for (int i = 1; i < blocks; i++)
                assertEquals(first, rate.count(START + second)); // the second under way is not in it
            return first;
        }

        private static void means(double minute, double tenMinutes, NanoStreamWs.Rate.Means means) {
            assertEquals(minute, means.minute(), 1e-12);
            assertEquals(tenMinutes, means.tenMinutes(), 1e-12);
        }

        @Test
        void isOneBeforeTheFirstSecondIsOver() {
            means(1, 1, count(0, 100));
        }

        @Test
        void isTheMeanOverTheSecondsSeenSoFar() {
            count(0, 6);
            means(6, 6, count(1, 2));
            means(4, 4, count(2, 1));
            means(2.25, 2.25, count(4, 1)); // none in second 3
            means(1, 1, count(10, 1));
        }

        @Test
        void isOverTheLastMinuteAndTheLastTenMinutes() {
            count(0, 120);
            for (int second = 1; second < 60; second++)
                count(second, 1);
            means(179 / 60.0, 179 / 60.0, count(60, 1));
            means(1, 180 / 61.0, count(61, 1)); // the 120 have left the minute
            for (int second = 62; second < 600; second++)
                count(second, 1);
            means(1, 719 / 600.0, count(600, 1));
            means(1, 1, count(601, 1)); // and now the ten minutes
        }

        @ParameterizedTest
        @CsvSource(textBlock = """
            59,   0.11864406779661017, 0.11864406779661017
            60,   0.11666666666666667, 0.11666666666666667
            61,   0,                   0.11475409836065574
            599,  0,                   0.011686143572621035
            600,  0,                   0.011666666666666667
            601,  0,                   0
            602,  0,                   0
            1201, 0,                   0
            1202, 0,                   0
            100000000, 0,              0
            """)
        void countsNothingOfAGap(long gap, double minute, double tenMinutes) {
            count(0, 7);
            means(minute, tenMinutes, count(gap, 600));
            means(gap == 59 ? 607 / 60.0 : 10, (600 + (gap < 600 ? 7 : 0)) / (double) Math.min(600, gap + 1), count(gap
                + 1, 1));
        }

        @Test
        void takesAStepBackOfTheClockForNoStep() {
            count(0, 4);
            means(4, 4, count(1, 3));
            means(4, 4, count(0, 2));
            means(4, 4, count(-100_000, 1)); // all in second 1
            means(5, 5, count(2, 1));
            means(11 / 3.0, 11 / 3.0, count(3, 1));
        }

        @Test
        void agreesWithCountingAnew() {
            java.util.Random random = new java.util.Random(1);
            Map<Long, Integer> counts = new java.util.HashMap<>();
            for (long now = 0; now < 5_000; now += random.nextInt(4) * (random.nextInt(100) == 0 ? 200 : 1)) {
                means(now == 0 ? 1 : mean(counts, now, 60), now == 0 ? 1 : mean(counts, now, 600), rate.count(START
                    + now));
                counts.merge(now, 1, Integer::sum);
            }
        }

        private static double mean(Map<Long, Integer> counts, long now, int window) {
            long from = Math.max(0, now - window), sum = 0;
            for (long second = from; second < now; second++)
                sum += counts.getOrDefault(second, 0);
            return (double) sum / (now - from);
        }
    }
}
