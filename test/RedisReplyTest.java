// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RESP2: what a reply is")
class RedisReplyTest {
    private NanoStreamWs.RespConnection reading(InputStream in) {
        NanoStreamWs.RespConnection connection = new NanoStreamWs.RespConnection();
        connection.in = in;
        return connection;
    }

    private InputStream stream(String text) {
        return new ByteArrayInputStream(text.getBytes(ISO_8859_1));
    }

    /** A stream that has no more than a byte at a time. */
    private InputStream slowly(String text) {
        InputStream all = stream(text);
        return new InputStream() {
            @Override
            public int read() throws IOException {
                return all.read();
            }

            @Override
            public int read(byte[] bytes, int offset, int length) throws IOException {
                return all.read(bytes, offset, Math.min(length, 1));
            }
        };
    }

    /** A reply in words, which is the same one byte at a time. */
    private String read(String text) throws IOException {
        String word = word(reading(stream(text)).read());
        assertEquals(word, word(reading(slowly(text)).read()));
        return word;
    }

    private String word(Object reply) {
        return switch (reply) {
            case null -> "none";
            case byte[] bytes -> "bytes " + new String(bytes, ISO_8859_1);
            case List<?> all -> all.stream().map(this::word).toList().toString();
            case NanoStreamWs.RedisException error -> "error " + error.getMessage();
            default -> reply.getClass().getSimpleName() + " " + reply;
        };
    }

    private String failure(String text) {
        return assertThrows(IOException.class, () -> reading(stream(text)).read()).getMessage();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        +OK~                           | String OK
        +~                             | 'String '
        -ERR no~                       | error "ERR no"
        -~                             | error ""
        :0~                            | Long 0
        :-1~                           | Long -1
        :999999999999999999~           | Long 999999999999999999
        $5~hello~                      | bytes hello
        $0~~                           | 'bytes '
        $2~~~                          | 'bytes ~'
        $-1~                           | none
        *0~                            | []
        *-1~                           | []
        *3~$1~a~:1~$-1~                | [bytes a, Long 1, none]
        *2~+a~-ERR b~                  | [String a, error "ERR b"]
        """)
    void readsEachType(String text, String word) throws IOException {
        assertEquals(word.replace("~", "\r\n"), read(text.replace("~", "\r\n")));
    }

    @Test
    void leavesWhatComesNext() throws IOException {
        NanoStreamWs.RespConnection connection = reading(stream("$1\r\na\r\n*1\r\n:1\r\n+b\r\n"));
        assertEquals("bytes a", word(connection.read()));
        assertEquals("[Long 1]", word(connection.read()));
        assertEquals("b", connection.read());
    }

    @Test
    void takesALongMessage() throws IOException {
        String text = "x".repeat(NanoStreamWs.RespConnection.MAX_BULK);
        byte[] bytes = (byte[]) reading(stream(FakeRedis.bulk(text))).read();
        assertEquals(text.length(), bytes.length);
        assertTrue(NanoStreamWs.RespConnection.MAX_BULK > 3 * NanoStreamWs.Limits.MAX_MESSAGE, "a tab is \\u0009");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        $4194305~           | its reply is too large: 4194305, not 4194304
        $999999999999999999~| its reply is too large: 999999999999999999, not 4194304
        *4~                 | its reply is too large: 4, not 3
        *999999999~         | its reply is too large: 999999999, not 3
        """)
    void refusesWhatIsTooLargeBeforeItReadsIt(String text, String why) {
        assertEquals(why, failure(text.replace("~", "\r\n")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"$-2~", "*-2~", "$1a~", "$~", "$+1~", "$ 1~", "$1 ~", ":~", ":1.5~", ":--1~",
        "$9999999999999999999~", ":99999999999999999999999999~", "$1~ab~", "$1~a\n", "*1~*1~:1~", "*1~*0~",
        "+OK\n", "+O\rK~", "+\r\r\n", "$1\na\n", "\r\n", "\n", "\0\0\0\0", "%1~", "_~", ">1~", "~+OK~", "OK~",
        "HTTP/1.1 400 Bad Request~", "SSH-2.0-OpenSSH_9.2~", "220 mail.example ESMTP~", "\25\3\3\0\2\2\50"})
    void refusesWhatIsNoReply(String text) {
        assertEquals("what answers is no Redis", failure(text.replace("~", "\r\n")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"+", "-", ":", "$", "*"})
    void refusesALineWithoutEnd(String type) {
        assertEquals("what answers is no Redis", failure(type + "1".repeat(100_000)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"+OK~", "-ERR no~", ":1~", "$5~hello~", "$-1~", "*3~$1~a~:1~$-1~"})
    void tellsWhereTheConnectionEnds(String text) {
        String whole = text.replace("~", "\r\n");
        for (int length = 0; length < whole.length(); length++)
            assertEquals("it closed the connection", failure(whole.substring(0, length)));
    }

    @Test
    @DisplayName("a Redis in protected mode refuses with a page of text, and is known as one all the same")
    void readsALongError() throws IOException {
        String refusal = "-DENIED Redis is running in protected mode because protected mode is enabled and no password "
            + "is set for the default user. In this mode connections are only accepted from the loopback interface. "
            + "If you want to connect from external computers to Redis you may ".repeat(15) + "\r\n";
        assertEquals("error \"DENIED Redis is running in protected mode because protected mode is enabled and no "
            + "password is set f\"...: give it a password, as the README has it", read(refusal));
    }

    @Test
    @DisplayName("an error's text is quoted and cut, and not told from where it may repeat a request")
    void quotesErrors() throws IOException {
        assertEquals("error \"ERR \\u001b\\\"\\u00ff\"", read("-ERR \33\"\u00ff\r\n"));
        assertEquals("error \"ERR unknown command 'AUTH'\"",
            read("-ERR unknown command 'AUTH', with args beginning with: 'pass-word' \r\n"));
        assertEquals("error \"ERR " + "x".repeat(96) + "\"...", read("-ERR " + "x".repeat(400) + "\r\n"));
    }
}
