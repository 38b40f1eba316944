// SPDX-License-Identifier: MIT
import static org.junit.jupiter.api.Assertions.*;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 8259 JSON, strictly")
class Rfc8259JsonTest {
    private static final int DEPTH = NanoStreamWs.Limits.MAX_JSON_DEPTH;

    private static NanoStreamWs.Json parse(String text) throws Exception {
        return NanoStreamWs.Json.parse(text);
    }

    private static String write(NanoStreamWs.Json value) {
        StringBuilder out = new StringBuilder();
        NanoStreamWs.JsonWriter.write(value, out);
        return out.toString();
    }

    private static String string(String text) throws Exception {
        return assertInstanceOf(NanoStreamWs.Json.Str.class, parse(text)).value();
    }

    private static String refused(String text) {
        return assertThrows(NanoStreamWs.Json.JsonException.class, () -> parse(text), text).getMessage();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        null                            | null
        true                            | true
        false                           | false
        "text"                          | "text"
        -12.5                           | -12.5
        {}                              | {}
        []                              | []
        { }                             | {}
        [ ]                             | []
        [ 1 , "2" , [ ] , { } , null ]  | [1,"2",[],{},null]
        {"b":1, "a":{"c":[true,false]}} | {"b":1,"a":{"c":[true,false]}}
        {"":0}                          | {"":0}
        """)
    @DisplayName("§2, §3: any value is a text; it is written without spaces, members in the order of the text")
    void readsAndWritesEveryKindOfValue(String text, String written) throws Exception {
        assertEquals(written, write(parse(text)));
    }

    @Test
    @DisplayName("§2: space, tab, line feed and carriage return may stand around every token")
    void skipsTheFourKindsOfSpace() throws Exception {
        String ws = " \t\n\r";
        String text = String.join(ws, "", "{", "\"a\"", ":", "[", "1", ",", "null", "]", ",", "\"b\"", ":", "{", "}",
            "}", "");
        assertEquals("{\"a\":[1,null],\"b\":{}}", write(parse(text)));
    }

    @ParameterizedTest
    @ValueSource(chars = {'\u000B', '\f', '\b', '\0', '\u0085', '\u00A0', '\u2003', '\u2028', '\u3000', '\uFEFF'})
    @DisplayName("§2, §8.1: no other character is space, nor is a byte order mark")
    void refusesOtherSpace(char space) {
        refused(space + "1");
        refused("1" + space);
        refused("[1," + space + "2]");
        refused("{" + space + "}");
        refused("{\"a\"" + space + ":1}");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "\n", "null null", "null,", "{}{}", "{}x", "[]]", "{}}", "1 2", "\"a\"\"b\"",
        "null\0", "[1],", "//\n1", "1//", "/**/1", "#1"})
    @DisplayName("§2: one value, and nothing behind it")
    void refusesNothingAndMoreThanOneValue(String text) {
        refused(text);
    }

    @ParameterizedTest
    @ValueSource(strings = {"True", "TRUE", "NULL", "nul", "nulll", "tru", "truefalse", "falsey", "undefined", "t", "f",
        "n", "yes", "[truefalse]", "{\"a\":nullnull}"})
    @DisplayName("§3: \"The literal names MUST be lowercase. No other literal names are allowed.\"")
    void refusesOtherLiterals(String text) {
        refused(text);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{", "}", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,\"a\":1}",
        "{\"a\" 1}", "{\"a\",1}", "{\"a\"::1}", "{a:1}", "{1:1}", "{null:1}", "{'a':1}", "{\"a\":1 \"b\":2}",
        "{\"a\":1;\"b\":2}", "{\"a\":1]", "{\"a\":1,,\"b\":2}", "{:1}", "{[]:1}"})
    @DisplayName("§4: an object's grammar")
    void refusesMalformedObjects(String text) {
        refused(text);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{\"/\":1,\"\\/\":2}",
        "{\"a\":null,\"a\":null}", "{\"\":1,\"\":2}", "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}",
        "[{\"\\ud83d\\ude00\":1,\"\ud83d\ude00\":2}]"})
    @DisplayName("§4: a name stands once in an object, however it is escaped")
    void refusesDuplicateNames(String text) {
        refused(text);
    }

    @Test
    @DisplayName("§4: names of other objects, or in another case, are other names")
    void takesANameOnceInEachObject() throws Exception {
        String text = "{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]},\"A\":3}";
        assertEquals(text, write(parse(text)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"[", "]", "[,]", "[1,]", "[,1]", "[1 2]", "[1,,2]", "[1", "[1,", "[1}", "[1;2]",
        "[\"a\":1]", "[[]", "[1]2"})
    @DisplayName("§5: an array's grammar")
    void refusesMalformedArrays(String text) {
        refused(text);
    }

    @ParameterizedTest
    @ValueSource(strings = {"0", "-0", "-0.0", "7", "10", "-1", "1.0", "1.50", "0.1", "1E5", "1e5", "1e+5", "1e-5",
        "0e0", "0E-00", "1e05", "1e400", "-1e400", "1e-400", "340282366920938463463374607431768211455",
        "0.1000000000000000055511151231257827"})
    @DisplayName("§6: a number keeps its digits, whatever its size")
    void keepsNumbersAsTheyWereWritten(String text) throws Exception {
        assertEquals(new NanoStreamWs.Json.Num(text), parse(text));
        assertEquals(text, write(parse(text)));
        assertEquals("[" + text + "]", write(parse("[ " + text + " ]")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"01", "00", "-01", "-00", "+1", ".5", "-.5", "1.", "-", "--1", "1e", "1e+", "1E-", "1.e1",
        "e1", "0x10", "1f", "NaN", "Infinity", "-Infinity", "1_000", "1,5", "1.5.5", "1e5.5", "1e5e5", "1 .5", "- 1",
        "\uFF11", "\u0663", "1\u0663"})
    @DisplayName("§6: a number's grammar: no leading zeros, no bare point, no other digits")
    void refusesMalformedNumbers(String text) {
        refused(text);
        refused("[" + text.replace(',', ';') + "]");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        \\"          | 0022
        \\\\         | 005C
        \\/          | 002F
        \\b          | 0008
        \\f          | 000C
        \\n          | 000A
        \\r          | 000D
        \\t          | 0009
        \\u0000      | 0000
        \\u0041      | 0041
        \\u00e9      | 00E9
        \\u00E9      | 00E9
        \\uaBcD      | ABCD
        \\uFFFF      | FFFF
        \\ud83d\\uDE00 | D83D DE00
        \\udbff\\udfff | DBFF DFFF
        """)
    @DisplayName("§7: every escape, alone and among other characters")
    void unescapes(String escape, String utf16) throws Exception {
        StringBuilder value = new StringBuilder();
        for (String unit : utf16.split(" "))
            value.append((char) Integer.parseInt(unit, 16));
        assertEquals(value.toString(), string('"' + escape + '"'));
        assertEquals("a" + value + "\u00e9" + value + "\ud83d\ude00", string("\"a" + escape + "\u00e9" + escape
            + "\ud83d\ude00\""));
        assertEquals("{\"k\":1}", write(parse("{\"\\u006b\":1}")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"", "\"a", "\"\\", "\"\\\"", "\"a\\\"", "'a'", "\"\\a\"", "\"\\x41\"", "\"\\'\"",
        "\"\\0\"", "\"\\N\"", "\"\\U0041\"", "\"\\u\"", "\"\\u1\"", "\"\\u123\"", "\"\\u12G4\"", "\"\\u+123\"",
        "\"\\u-123\"", "\"\\u 123\"", "\"\\u004\uFF11\"", "\"\\u00", "\"\\\n\"", "\"\\ \"", "a\""})
    @DisplayName("§7: no other escape, and a quotation mark at the end")
    void refusesMalformedStrings(String text) {
        refused(text);
        refused("{" + text + ":1}");
    }

    @Test
    @DisplayName("§7: \"the control characters (U+0000 through U+001F)\" must be escaped, and no others")
    void refusesRawControlCharacters() throws Exception {
        for (char c = 0; c < ' '; c++) {
            refused("\"" + c + "\"");
            refused("\"a" + c);
            refused("\"\\n" + c + "\""); // behind an escape, where another loop reads
            refused("{\"" + c + "\":1}");
        }
        String others = " \u007f\u0080\u009f\u2028\u2029\ufeff\ufffd\uffff";
        assertEquals(others, string('"' + others + '"'));
        assertEquals('\n' + others, string("\"\\n" + others + '"'));
    }

    @ParameterizedTest
    @ValueSource(strings = {"\\ud800", "\\udc00", "\\udfff", "a\\udbff", "\\ud800a", "\\ud800\\n", "\\ud800\\u0041",
        "\\ud800\\ud800", "\\udc00\\ud800", "\\ud83d\\ude00\\ude00", "\\ud83d \\ude00"})
    @DisplayName("§8.2: an unpaired surrogate is refused, in a value and in a name")
    void refusesLoneSurrogates(String escaped) {
        refused('"' + escaped + '"');
        refused("{\"" + escaped + "\":1}");
    }

    @Test
    @DisplayName("§9: values may stand in MAX_JSON_DEPTH arrays and objects, and in no more")
    void limitsTheDepth() throws Exception {
        for (String[] pair : new String[][] {{"[", "]"}, {"{\"a\":", "}"}}) {
            String deepest = pair[0].repeat(DEPTH) + "1" + pair[1].repeat(DEPTH);
            assertEquals(deepest, write(parse(deepest)));
            refused(pair[0] + deepest + pair[1]);
            refused(pair[0].repeat(1_000_000)); // no StackOverflowError
        }
        String wide = "[" + "[],".repeat(10 * DEPTH) + "{}]"; // depth is not how many there are
        assertEquals(wide, write(parse(wide)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        [1,x]         | 3
        {"a" 1}       | 5
        nul           | 0
        [1] 2         | 4
        """)
    void saysAtWhichCharacterATextIsWrong(String text, int at) {
        String message = refused(text);
        assertTrue(message.startsWith("expected ") && message.endsWith(" at character " + at), message);
    }

    @Test
    @DisplayName("§7: only what has to be escaped is written as an escape")
    void writesFewEscapes() throws Exception {
        assertEquals("\"A/\u00e9\u2028\u007f\ud83d\ude00'<&\"",
            write(parse("\"\\u0041\\/\\u00e9\\u2028\\u007f\\ud83d\\ude00'<&\"")));
        assertEquals("{\"\\\"\":\"\\\\\"}", write(parse("{\"\\u0022\":\"\\u005C\"}")));
        for (char c = 0; c < ' '; c++) {
            String written = write(new NanoStreamWs.Json.Str("a" + c));
            assertTrue(written.startsWith("\"a\\") && written.chars().allMatch(w -> w >= ' '), written);
            assertEquals("a" + c, string(written));
        }
    }

    @Test
    void readsBackWhateverItWrites() throws Exception {
        Random random = new Random(1);
        for (int i = 0; i < 2_000; i++) {
            NanoStreamWs.Json value = random(random, 0);
            assertEquals(value, parse(write(value)));
        }
    }

    @Test
    void refusesDamagedTextsWithAJsonExceptionAndNothingElse() {
        Random random = new Random(2);
        String alphabet = "{}[]\",:\\ud8bntrue0-+.e \n";
        for (int i = 0; i < 20_000; i++) {
            StringBuilder text = new StringBuilder(write(random(random, 0)));
            for (int hits = 1 + random.nextInt(3); hits > 0 && !text.isEmpty(); hits--) {
                int at = random.nextInt(text.length());
                text.replace(at, at + random.nextInt(2),
                    alphabet.substring(random.nextInt(alphabet.length())).substring(0, 1));
                text.setLength(random.nextInt(4) == 0 ? at : text.length());
            }
            try {
                NanoStreamWs.Json value = parse(text.toString());
                assertEquals(value, parse(write(value)));
            } catch (NanoStreamWs.Json.JsonException expected) {
                // as it should be
            } catch (Exception e) {
                fail(text.toString(), e);
            }
        }
    }

    private static NanoStreamWs.Json random(Random random, int depth) {
        int kind = random.nextInt(depth < 4 ? 7 : 5);
        if (kind < 5)
            return switch (kind) {
                case 0 -> new NanoStreamWs.Json.Word("null");
                case 1 -> new NanoStreamWs.Json.Word(String.valueOf(random.nextBoolean()));
                case 2 -> new NanoStreamWs.Json.Num(Double.toString(random.nextGaussian() * 1e9));
                case 3 -> new NanoStreamWs.Json.Num(Long.toString(random.nextLong()));
                default -> new NanoStreamWs.Json.Str(randomText(random));
            };
        List<NanoStreamWs.Json> elements = new ArrayList<>();
        Map<String, NanoStreamWs.Json> members = new LinkedHashMap<>();
        for (int n = random.nextInt(4); n > 0; n--) {
            elements.add(random(random, depth + 1));
            members.put(randomText(random), elements.getLast());
        }
        return kind == 5 ? new NanoStreamWs.Json.Arr(elements) : new NanoStreamWs.Json.Obj(members);
    }

    private static String randomText(Random random) {
        int[] points = random.ints(random.nextInt(6), 0, 0x300).toArray();
        for (int i = 0; i < points.length; i++)
            points[i] = random.nextInt(8) == 0 ? 0x1F600 + points[i] : points[i];
        return new String(points, 0, points.length);
    }
}
