// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 9112 Requests: nothing that two parsers could read in two ways")
class Rfc9112RequestTest {
    private static final int MAX_HEAD = NanoStreamWs.Limits.MAX_HEAD;

    private static NanoStreamWs.Request parse(String... lines) throws NanoStreamWs.Refusal {
        return NanoStreamWs.Http.parse(String.join("\r\n", lines));
    }

    private static void refused(NanoStreamWs.Rejection why, Executable executable) {
        NanoStreamWs.Refusal refusal = assertThrows(NanoStreamWs.Refusal.class, executable);
        assertEquals(why, refusal.why, refusal::getMessage);
        assertTrue(refusal.getMessage().chars().allMatch(c -> c >= ' ' && c < 0x7F), refusal::getMessage);
    }

    private static void malformed(String... lines) {
        refused(NanoStreamWs.Rejection.MALFORMED, () -> parse(lines));
    }

    private static String[] fields(int count) {
        return Stream.concat(Stream.of("GET / HTTP/1.1", "Host: h"), Stream.generate(() -> "A: b").limit(count - 1L))
            .toArray(String[]::new);
    }

    @Nested
    @DisplayName("§3 Request line")
    class RequestLine {
        @Test
        void hasAMethodATargetAndAVersion() throws Exception {
            NanoStreamWs.Request request = parse("PATCH /a%20b/c?d=%20e&f HTTP/1.1", "Host: h");
            assertEquals("PATCH", request.method());
            assertEquals("/a b/c", request.path());
            assertEquals("d=%20e&f", request.query());
            assertTrue(request.http11());
        }

        @ParameterizedTest
        @ValueSource(strings = {"", " ", "GET", "GET /", "GET / ", "GET  / HTTP/1.1", "GET /  HTTP/1.1",
            " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/ HTTP/1.1", "GET /\tHTTP/1.1", "GET / x HTTP/1.1",
            "GET / HTTP/1.1 x", "/ HTTP/1.1", "GET HTTP/1.1", " / HTTP/1.1"})
        @DisplayName("one space between the three, and none elsewhere")
        void refusesAnyOtherSpace(String line) {
            malformed(line, "Host: h");
        }

        @ParameterizedTest
        @ValueSource(strings = {"GE(T", "G\u00c9T", "GET:", "\"GET\"", "GET,", "G/T", "{GET}"})
        @DisplayName("§3.1: a method is a token")
        void refusesMethodsThatAreNoToken(String method) {
            malformed(method + " / HTTP/1.1", "Host: h");
        }

        @ParameterizedTest
        @ValueSource(strings = {"http/1.1", "HTTP/1", "HTTP/1.", "HTTP/11", "HTTP/1.10", "HTTP/01.1", "HTTP1.1",
            "HTTPS/1.1", "HTTP/a.b", "HTTP/1,1", "ICY"})
        @DisplayName("§2.3: a version is HTTP, a slash, a digit, a point and a digit")
        void refusesMalformedVersions(String version) {
            malformed("GET / " + version, "Host: h");
        }

        @ParameterizedTest
        @ValueSource(strings = {"HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"})
        @DisplayName("§2.3: another major version is not spoken")
        void refusesOtherVersions(String version) {
            refused(NanoStreamWs.Rejection.HTTP_VERSION, () -> parse("GET / " + version, "Host: h"));
        }

        @ParameterizedTest
        @CsvSource(textBlock = """
            /,                      /,        ''
            /?,                     /,        ''
            /a?b?c=/d,              /a,       b?c=/d
            //h/a,                  //h/a,    ''
            /a/../b,                /a/../b,  ''
            http://h/,              /,        ''
            http://h/a?b=c,         /a,       b=c
            HTTP://h:80/a,          /a,       ''
            http://[::1]:80/a,      /a,       ''
            http://h,               /,        ''
            http://h?a=b,           /,        a=b
            https://h/a?b,          /a,       b
            ws://h:80/a,            /a,       ''
            WSS://h,                /,        ''
            """)
        @DisplayName("§3.2.1: origin-form; §3.2.2: \"a server MUST accept the absolute-form\", whose path may be empty")
        void takesOriginFormAndAbsoluteForm(String target, String path, String query) throws Exception {
            NanoStreamWs.Request request = parse("GET " + target + " HTTP/1.1", "Host: h");
            assertEquals(path, request.path());
            assertEquals(query, request.query());
        }

        @ParameterizedTest
        @ValueSource(strings = {"a", "*", "h:80", "?a", "ftp://h/", "http:/a", "http:///a", "/a#b", "/\u00e9",
            "http://h/#b"})
        void refusesOtherTargets(String target) {
            malformed("GET " + target + " HTTP/1.1", "Host: h");
        }
    }

    @Nested
    @DisplayName("§5 Fields")
    class Fields {
        @Test
        void haveNamesInAnyCaseAndKeepTheOrderOfTheirValues() throws Exception {
            NanoStreamWs.Request request = parse("GET / HTTP/1.1", "hOsT:h", "X-A: 1", "x-b:\t two words \t", "x-A:3",
                "E:", "F: :a:");
            assertEquals(Map.of("host", List.of("h"), "x-a", List.of("1", "3"), "x-b", List.of("two words"), "e",
                List.of(""),
                "f", List.of(":a:")), request.fields());
            assertTrue(request.fields().containsKey("x-a"));
            assertFalse(request.fields().containsKey("x-c"));
        }

        @Test
        void takesEveryCharacterOfATokenInANameAndBytesAboveAsciiInAValue() throws Exception {
            NanoStreamWs.Request request = parse("GET / HTTP/1.1", "Host: h",
                "aZ09!#$%&'*+-.^_`|~: \u00e9\u00ff \t(\"\\)");
            assertEquals("\u00e9\u00ff \t(\"\\)", request.field("az09!#$%&'*+-.^_`|~"));
        }

        @ParameterizedTest
        @ValueSource(strings = {"A : b", "A\t: b", " A: b", "\tA: b", " folded", "\tfolded", "A", "", ":", ": b",
            "A b: c", "(A): b", "\u00c9: b", "A@: b", "A/B: c", "\"A\": b", "[A]: b"})
        @DisplayName("§5.1: no space before the colon; §5.2: no folding; a name is a token")
        void refusesMalformedFieldLines(String line) {
            malformed("GET / HTTP/1.1", "Host: h", line);
            malformed("GET / HTTP/1.1", line, "Host: h");
        }

        @Test
        @DisplayName("§2.2: no bare CR or LF, no NUL, no other control character, anywhere in the head")
        void refusesControlCharacters() throws Exception {
            for (char c = 0; c <= 0x7F; c = c == 0x1F ? 0x7F : (char) (c + 1)) {
                if (c != '\t')
                    malformed("GET / HTTP/1.1", "Host: h", "A: b" + c + "c");
                malformed("GET / HTTP/1.1", "Host: h", "A" + c + ": b");
                malformed("GET /" + c + " HTTP/1.1", "Host: h");
                malformed("G" + c + "T / HTTP/1.1", "Host: h");
            }
            malformed("GET / HTTP/1.1\nHost: h");
            malformed("GET / HTTP/1.1\rHost: h");
            malformed("GET / HTTP/1.1", "Host: h\nContent-Length: 5");
            malformed("GET / HTTP/1.1", "Host: h\r");
            malformed("GET / HTTP/1.1", "Host: h\r\r\nA: b");
            malformed("GET / HTTP/1.1", "Host: h", "A: b\n");
        }

        @Test
        void areBoundedInNumber() throws Exception {
            int most = NanoStreamWs.Limits.MAX_FIELDS;
            assertEquals(most - 1, parse(fields(most)).fields().get("a").size());
            refused(NanoStreamWs.Rejection.HEAD_TOO_LARGE, () -> parse(fields(most + 1)));
        }

        @Test
        void thatMayBeThereOnceAreRefusedWhenThereTwice() throws Exception {
            NanoStreamWs.Request request = parse("GET / HTTP/1.1", "Host: h", "A: 1", "a: 1", "B: 2");
            refused(NanoStreamWs.Rejection.MALFORMED, () -> request.field("a"));
            assertEquals("2", request.field("b"));
            assertNull(request.field("c"));
        }

        @ParameterizedTest
        @CsvSource(delimiter = '|', textBlock = """
            upgrade                     | true
            Upgrade                     | true
            UPGRADE                     | true
            keep-alive, Upgrade         | true
            Upgrade,keep-alive          | true
            a,, Upgrade ,b              | true
            upgraded                    | false
            no-upgrade                  | false
            up grade                    | false
            keep-alive;Upgrade          | false
            "Upgrade"                   | false
            ,                           | false
            """)
        @DisplayName("RFC 9110 §5.6.1: a list has a token, in any case, between commas")
        void listTokens(String value, boolean found) throws Exception {
            assertEquals(found, parse("GET / HTTP/1.1", "Host: h", "Connection: " + value).lists("connection",
                "upgrade"));
            assertEquals(found, parse("GET / HTTP/1.1", "Host: h", "Connection: x", "Connection: " + value)
                .lists("connection", "upgrade"));
            assertFalse(parse("GET / HTTP/1.1", "Host: h").lists("connection", "upgrade"));
        }
    }

    @Nested
    @DisplayName("§3.2 Host")
    class Host extends SharedServer {
        @ParameterizedTest
        @ValueSource(strings = {"", "h", "h:80", "example.com", "my_host:8080", "127.0.0.1", "[::1]", "[::1]:8080",
            "::ffff:127.0.0.1", "xn--bcher-kva.example", "a%20b", "h:"})
        @DisplayName("a host and a port, or nothing; an IPv6 address without brackets too, since a Nano node sends one")
        void isTaken(String host) throws Exception {
            assertEquals(host, parse("POST / HTTP/1.1", "Host: " + host).field("host"));
            assertEquals(host, parse("POST / HTTP/1.0", "Host: " + host).field("host"));
        }

        @ParameterizedTest
        @ValueSource(strings = {"a b", "a/b", "u@h", "a, b", "h?", "h#", "h\\", "<h>", "h\u00e9", "\"h\"", "http://h"})
        void isRefusedWhereItIsNoHost(String host) {
            malformed("GET / HTTP/1.1", "Host: " + host);
            malformed("GET / HTTP/1.0", "Host: " + host);
        }

        @Test
        @DisplayName("\"any HTTP/1.1 request message that lacks a Host header field\", or has two: 400")
        void isThereOnce() {
            malformed("GET / HTTP/1.1");
            malformed("GET / HTTP/1.1", "A: b");
            malformed("GET / HTTP/1.1", "Host: h", "Host: h");
            malformed("GET / HTTP/1.1", "Host: h", "hOST: i");
            malformed("GET / HTTP/1.0", "Host: h", "Host: i");
        }

        @Test
        void mayBeMissingInHttp10() throws Exception {
            NanoStreamWs.Request request = parse("GET /a?b HTTP/1.0");
            assertFalse(request.http11());
            assertEquals("/a", request.path());
            assertEquals("b", request.query());
        }

        @ParameterizedTest
        @DisplayName("a Nano node's Host, an IPv6 address without brackets, is taken")
        @ValueSource(strings = {"::ffff:127.0.0.1", "::1", "[::1]:17076", "localhost:17076", ""})
        void takesTheHostOfANanoNode(String host) throws Exception {
            try (RawClient feed = new RawClient(server.feedPort())) {
                feed.send("POST / HTTP/1.1\r\nHost: " + host
                    + "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
                assertOk(feed);
            }
        }
    }

    @Nested
    @DisplayName("A Nano node's callback_target is the target as it is")
    class CallbackTarget {
        @ParameterizedTest
        @CsvSource(textBlock = """
            '',                  /
            cb,                  /cb
            cb/x?y,              /cb/x
            *,                   /*
            a:1,                 /a:1
            http://h/cb,         /cb
            /cb,                 /cb
            """)
        @DisplayName("of a POST one without a slash is taken as if it had one, even an empty one")
        void mayHaveNoSlash(String target, String path) throws Exception {
            assertEquals(path, parse("POST " + target + " HTTP/1.1", "Host: h").path());
            try (TestServer own = new TestServer("--feed=http://127.0.0.1:0" + path);
                 RawClient feed = new RawClient(own.feedPort())) {
                feed.send("POST " + target + " HTTP/1.1\r\nHost: ::ffff:127.0.0.1\r\nContent-Length: 2\r\n\r\n{}");
                assertEquals(200, RawClient.status(feed.answer()));
            }
        }

        @ParameterizedTest
        @ValueSource(strings = {"", "cb", "*", "a:1", "ftp://h/"})
        @DisplayName("of other methods it is malformed")
        void hasASlashElsewhere(String target) {
            for (String method : List.of("GET", "HEAD", "OPTIONS", "CONNECT", "post"))
                malformed(method + ' ' + target + " HTTP/1.1", "Host: h");
        }
    }

    @Nested
    @DisplayName("RFC 3986 §2.1 Percent-encoding")
    class PercentEncoding {
        @ParameterizedTest
        @CsvSource(textBlock = """
            '',             ''
            plain+text,     plain+text
            %41%62c,        Abc
            %2B%2b,         ++
            %25,            %
            %2541,          %41
            %C3%A9,         \u00e9
            a%E2%82%ACb,    a\u20acb
            %f0%9f%98%80,   \ud83d\ude00
            """)
        void standsForBytesOfUtf8(String encoded, String plain) throws Exception {
            assertEquals(plain, NanoStreamWs.Http.percentDecode(encoded));
            assertEquals('/' + plain, parse("GET /" + encoded + " HTTP/1.1", "Host: h").path());
        }

        @ParameterizedTest
        @ValueSource(strings = {"%", "a%", "%4", "%zz", "%4g", "%g4", "%%41", "%+1", "%-1", "%0x", "%u0041", "%41%",
            "%41%4", "%ff", "%C3", "%C3a", "%A9", "%C0%80", "%ED%A0%80", "%F4%90%80%80", "%E2%82"})
        @DisplayName("two hexadecimal digits after each %, and what they stand for is UTF-8")
        void refusesAllElse(String encoded) {
            refused(NanoStreamWs.Rejection.MALFORMED, () -> NanoStreamWs.Http.percentDecode(encoded));
            malformed("GET /" + encoded + " HTTP/1.1", "Host: h");
        }

        @ParameterizedTest
        @CsvSource(nullValues = "none", textBlock = """
            '',             none
            a=b,            none
            t=a.b-c_d,      a.b-c_d
            a=b&t=c,        c
            t=c&a=b&c,      c
            t,              ''
            t=,             ''
            t=a=b,          a=b
            t=a+b,          a+b
            t=%61%2B%26,    a+&
            %74=a,          a
            T=a,            none
            tt=a,           none
            a=t,            none
            &&t=a&,         a
            t=a?t=b,        a?t=b
            a=%zz&t=b,      b
            """)
        void findsAParameterOfTheQuery(String query, String value) throws Exception {
            assertEquals(value, parse("GET /?" + query + " HTTP/1.1", "Host: h").parameter("t"));
        }

        @ParameterizedTest
        @ValueSource(strings = {"t=a&t=a", "t=a&t=b", "t&t", "t=a&%74=b", "t=a&b=c&t=", "t=%zz", "t=%", "t=%ff"})
        void refusesAParameterTwiceOrBadlyEncoded(String query) throws Exception {
            NanoStreamWs.Request request = parse("GET /?" + query + " HTTP/1.1", "Host: h");
            refused(NanoStreamWs.Rejection.MALFORMED, () -> request.parameter("t"));
        }
    }

    @Nested
    @DisplayName("Reading requests from a connection")
    class Reading {
        private static final int IDLE = 60_000; // ms; no test waits so long
        private static final String HEAD = "GET /a?b=c HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";

        static List<Integer> lengths() {
            return List.of(0, 1, 65535, 65536, 65537, 100_000, NanoStreamWs.Limits.MAX_MESSAGE);
        }

        /** A connection over loopback; the peer's end is the test's. */
        private static final class Connection implements AutoCloseable {
            final Socket peer, socket;

            Connection() throws IOException {
                try (ServerSocket listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                    peer = new Socket(listener.getInetAddress(), listener.getLocalPort());
                    socket = listener.accept();
                    peer.setTcpNoDelay(true);
                }
            }

            NanoStreamWs.RequestReader reader() throws IOException {
                return reader(OutputStream.nullOutputStream());
            }

            NanoStreamWs.RequestReader reader(OutputStream out) {
                return new NanoStreamWs.RequestReader(socket, out, bytes -> { });
            }

            /** Sends from another thread, since the sockets' buffers may be less than this is. */
            Connection send(byte[]... parts) {
                Thread.ofVirtual().start(() -> {
                    try {
                        for (byte[] part : parts)
                            peer.getOutputStream().write(part);
                    } catch (IOException e) {
                        // the test is over, and says why
                    }
                });
                return this;
            }

            Connection send(String text) throws IOException {
                peer.getOutputStream().write(text.getBytes(ISO_8859_1));
                return this;
            }

            @Override
            public void close() throws IOException {
                peer.close();
                socket.close();
            }
        }

        /** Sends its bytes one by one: each when the reader is about to wait for more. */
        private static final class OneByOne extends OutputStream {
            private final byte[] bytes;
            private final Connection connection;
            private int sent;

            OneByOne(Connection connection, byte[] bytes) {
                this.connection = connection;
                this.bytes = bytes;
            }

            @Override
            public void write(int b) {
                fail("a reader writes nothing");
            }

            @Override
            public void flush() throws IOException {
                if (sent < bytes.length)
                    connection.peer.getOutputStream().write(bytes[sent++]);
            }
        }

        private static byte[] random(int length) {
            byte[] bytes = new byte[length];
            new Random(length).nextBytes(bytes);
            return bytes;
        }

        private static byte[] post(String path, byte[] body) throws IOException {
            ByteArrayOutputStream request = new ByteArrayOutputStream();
            request.write(("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + body.length
                + "\r\n\r\n").getBytes(UTF_8));
            request.write(body);
            return request.toByteArray();
        }

        /** A head, with the empty line at its end, of so many bytes. */
        private static String headOf(int bytes) {
            return HEAD.substring(0, HEAD.length() - 4) + "x".repeat(bytes - HEAD.length()) + "\r\n\r\n";
        }

        @Test
        void takesAHeadAndABodyFedOneByteAtATime() throws Exception {
            byte[] body = random(300);
            byte[] request = post("/one", body);
            byte[] both = new byte[2 * request.length];
            System.arraycopy(request, 0, both, 0, request.length);
            System.arraycopy(request, 0, both, request.length, request.length);
            try (Connection connection = new Connection()) {
                OneByOne feeder = new OneByOne(connection, both);
                NanoStreamWs.RequestReader reader = connection.reader(feeder);
                for (int i = 1; i <= 2; i++) {
                    assertEquals("/one", reader.head(IDLE).path());
                    assertArrayEquals(body, reader.body(body.length));
                    assertEquals(i * request.length, feeder.sent); // not a byte more was waited for
                }
            }
        }

        @ParameterizedTest
        @MethodSource("lengths")
        void takesPipelinedPostsOneAfterTheOther(int length) throws Exception {
            byte[] first = random(length), second = first.clone();
            if (length > 0)
                second[length - 1]++;
            try (Connection connection = new Connection().send(post("/first", first), post("/second", second))) {
                NanoStreamWs.RequestReader reader = connection.reader();
                assertEquals("/first", reader.head(IDLE).path());
                assertArrayEquals(first, reader.body(length));
                assertEquals("/second", reader.head(IDLE).path());
                assertArrayEquals(second, reader.body(length));
                connection.peer.shutdownOutput();
                assertThrows(EOFException.class, () -> reader.head(IDLE));
            }
        }

        @Test
        void keepsWhatCameBehindARequest() throws Exception {
            try (Connection connection = new Connection().send(HEAD + "\r\n\0rest")) {
                NanoStreamWs.RequestReader reader = connection.reader();
                assertEquals(List.of("b"), reader.head(IDLE).fields().get("a"));
                assertEquals("\r\n\0rest", new String(reader.rest(), ISO_8859_1));
            }
        }

        @ParameterizedTest
        @ValueSource(ints = {1, 2, 3, 1000})
        @DisplayName("§2.2: \"SHOULD ignore at least one empty line (CRLF) received prior to the request-line\"")
        void ignoresEmptyLinesBeforeARequest(int count) throws Exception {
            try (Connection connection = new Connection().send("\r\n".repeat(count) + HEAD + "\r\n".repeat(count)
                + HEAD)) {
                NanoStreamWs.RequestReader reader = connection.reader();
                assertEquals("/a", reader.head(IDLE).path());
                assertEquals("b=c", reader.head(IDLE).query());
                assertEquals(0, reader.rest().length);
            }
        }

        @ParameterizedTest
        @ValueSource(strings = {"\r\n", "\r\n\r\n"})
        void ignoresEmptyLinesThatComeByteByByte(String empty) throws Exception {
            try (Connection connection = new Connection()) {
                NanoStreamWs.RequestReader reader =
                    connection.reader(new OneByOne(connection, (empty + HEAD).getBytes(ISO_8859_1)));
                assertEquals("/a", reader.head(IDLE).path());
            }
        }

        @Test
        void takesAHeadOfTheMostBytes() throws Exception {
            for (int bytes : new int[] {1023, 1024, 1025, 2048, MAX_HEAD - 1, MAX_HEAD})
                try (Connection connection = new Connection().send(headOf(bytes) + headOf(bytes))) {
                    NanoStreamWs.RequestReader reader = connection.reader();
                    assertEquals(1 + bytes - HEAD.length(), reader.head(IDLE).field("a").length());
                    assertEquals(1 + bytes - HEAD.length(), reader.head(IDLE).field("a").length());
                }
        }

        @Test
        void refusesALargerHeadWithoutWaitingForItsEnd() throws Exception {
            for (String head : List.of(headOf(MAX_HEAD + 1), headOf(MAX_HEAD + 1).substring(0, MAX_HEAD), "\r\n"
                + headOf(MAX_HEAD + 1)))
                try (Connection connection = new Connection().send(head)) {
                    NanoStreamWs.RequestReader reader = connection.reader();
                    assertTimeoutPreemptively(Duration.ofSeconds(5),
                        () -> refused(NanoStreamWs.Rejection.HEAD_TOO_LARGE, () -> reader.head(IDLE)));
                }
        }

        @ParameterizedTest
        @ValueSource(strings = {"\u0016\u0003\u0001", "\0",
            "\u0016\u0003\u0001\u0002\0\u0001\0\u0001\u00fc\u0003\u0003", "GET / HTTP/1.1\r\nHost: h\0",
            "\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: h\n", "GET / HTTP/1.1\r\n\n"})
        @DisplayName("TLS, other control characters and a bare LF are refused at once, before the end of such a head")
        void refusesTlsAtOnce(String bytes) throws Exception {
            try (Connection connection = new Connection().send(bytes)) {
                NanoStreamWs.RequestReader reader = connection.reader();
                assertTimeoutPreemptively(Duration.ofSeconds(5),
                    () -> refused(NanoStreamWs.Rejection.MALFORMED, () -> reader.head(IDLE)));
            }
        }

        @Test
        void isNothingWhenThePeerClosesOrStaysIdle() throws Exception {
            try (Connection connection = new Connection()) {
                NanoStreamWs.RequestReader reader = connection.reader();
                assertThrows(EOFException.class, () -> reader.head(1));
                connection.send(HEAD);
                assertNotNull(reader.head(IDLE));
                connection.peer.shutdownOutput();
                assertThrows(EOFException.class, () -> reader.head(IDLE));
            }
        }

        @Test
        void endsWithThePeerInTheMiddleOfARequest() throws Exception {
            for (String part : List.of("G", HEAD.substring(0, HEAD.length() - 1)))
                try (Connection connection = new Connection().send(part)) {
                    connection.peer.shutdownOutput();
                    assertThrows(EOFException.class, () -> connection.reader().head(IDLE));
                }
            try (Connection connection = new Connection().send(HEAD + "12")) {
                connection.peer.shutdownOutput();
                NanoStreamWs.RequestReader reader = connection.reader();
                reader.head(IDLE);
                assertThrows(EOFException.class, () -> reader.body(3));
            }
        }

        @Test
        void refusesAHeadThatDoesNotEndInTime() throws Exception {
            try (Connection connection = new Connection().send("GET / HTTP/1.1\r\nHost: h\r\n")) {
                refused(NanoStreamWs.Rejection.TOO_SLOW, () -> connection.reader().head(100));
            }
        }

        @Test
        @DisplayName("empty lines before a request are ignored up to the bound of a head")
        void refusesAnEndlessRowOfEmptyLines() throws Exception {
            try (Connection connection = new Connection().send("\r\n".repeat(MAX_HEAD / 2 + 2))) {
                refused(NanoStreamWs.Rejection.MALFORMED, () -> connection.reader().head(IDLE));
            }
        }

        @Test
        @DisplayName("The deadline holds for a peer that never pauses, too")
        void refusesAPeerThatAlwaysHasOneByteMore() throws Exception {
            try (Connection connection = new Connection()) {
                OutputStream feeder = new OutputStream() {
                    @Override
                    public void write(int b) {
                        fail("a reader writes nothing");
                    }

                    @Override
                    public void flush() throws IOException { // so that no read ever waits
                        connection.send("a");
                        LockSupport.parkNanos(1_000_000); // too few in that time for a head that is too large
                    }
                };
                NanoStreamWs.RequestReader reader = connection.reader(feeder);
                assertTimeoutPreemptively(Duration.ofSeconds(3),
                    () -> refused(NanoStreamWs.Rejection.TOO_SLOW, () -> reader.head(500)));
            }
        }
    }
}
