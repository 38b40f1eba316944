import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Proxies: what the log calls a client that comes by one")
class ProxiesTest {
    private static TestServer server;

    @BeforeAll
    static void start() throws Exception {
        server = new TestServer("--proxy=::ffff:127.0.0.1,10.0.0.1", "--proxy=fd00::1");
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    /** What the log calls the client of a request that is refused, since its path, which marks it, is not there. */
    private static String name(TestServer server, String... fields) throws Exception {
        String method = "M" + Long.toHexString(new Random().nextLong()).toUpperCase();
        List<String> lines = new ArrayList<>(List.of(method + " / HTTP/1.1", "Host: localhost"));
        lines.addAll(List.of(fields));
        String answer = RawClient.lastAnswer(server.port(), String.join("\r\n", lines) + "\r\n\r\n");
        assertEquals(405, RawClient.status(answer));
        String line = server.awaitLog(method);
        return line.replaceFirst("^\\S+ refused (.*) without origin: Method is not .*$", "$1");
    }

    private static String forwarded(String... values) throws Exception {
        return name(server, Stream.of(values).map(value -> "X-Forwarded-For: " + value).toArray(String[]::new));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        203.0.113.7                             | 203.0.113.7
        203.0.113.7:4711                        | 203.0.113.7
        2001:db8::7                             | 2001:db8:0:0:0:0:0:7
        2001:DB8::7                             | 2001:db8:0:0:0:0:0:7
        [2001:db8::7]                           | 2001:db8:0:0:0:0:0:7
        [2001:db8::7]:4711                      | 2001:db8:0:0:0:0:0:7
        2001:db8::7:4711                        | 2001:db8:0:0:0:0:7:4711
        ::ffff:203.0.113.7                      | 203.0.113.7
        [::ffff:cb00:7107]:1                    | 203.0.113.7
        192.0.2.1, 203.0.113.7                  | 203.0.113.7
        192.0.2.1,203.0.113.7, 10.0.0.1         | 203.0.113.7
        203.0.113.7, ::ffff:10.0.0.1            | 203.0.113.7
        203.0.113.7, 10.0.0.1:80, [fd00:0::1]:1 | 203.0.113.7
        203.0.113.7, 127.0.0.1                  | 203.0.113.7
        10.0.0.1                                | 10.0.0.1
        10.0.0.1, fd00::1                       | 10.0.0.1
        203.0.113.7, 10.0.0.2                   | 10.0.0.2
        203.0.113.7, , ,10.0.0.1 ,,             | 203.0.113.7
        ,203.0.113.7                            | 203.0.113.7
        """)
    @DisplayName("it is the rightmost address that is no proxy's; where all are proxies, the leftmost")
    void namesTheRightmostThatIsNoProxy(String value, String name) throws Exception {
        assertEquals(name, forwarded(value));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        unknown                                 | "unknown"
        _hidden                                 | "_hidden"
        unix:                                   | "unix:"
        203.0.113.7, unknown                    | "unknown"
        203.0.113.7, unix:, 10.0.0.1            | "unix:"
        localhost                               | "localhost"
        localhost:80                            | "localhost:80"
        203.0.113.256                           | "203.0.113.256"
        203.0.113                               | "203.0.113"
        203.0.113.7.1                           | "203.0.113.7.1"
        203.0.113.7:123456                      | "203.0.113.7:123456"
        203.0.113.7:                            | "203.0.113.7:"
        203.0.113.7 203.0.113.8                 | "203.0.113.7 203.0.113.8"
        [[::1]]                                 | "[[::1]]"
        []                                      | "[]"
        .1:2                                    | ".1:2"
        [::1                                    | "[::1"
        ::1]                                    | "::1]"
        fe80::1%lo                              | "fe80::1%lo"
        1:2:3                                   | "1:2:3"
        for="[2001:db8::7]"                     | "for=\\"[2001:db8::7]\\""
        dead                                    | "dead"
        2130706433                              | "2130706433"
        """)
    @DisplayName("what is no address stands in quotes, and nothing left of it counts")
    void quotesWhatIsNoAddress(String value, String name) throws Exception {
        assertEquals(name, forwarded(value));
    }

    @Test
    @DisplayName("no name is looked up, not even one of hexadecimal digits")
    void looksUpNoName(@TempDir Path folder) throws Exception {
        List<String> names = List.of("localhost", "dead", "abc.de", "1dea.", "0x7f.1", "7.7", "dead.beef", "proxy");
        StringBuilder hosts = new StringBuilder(); // the Java runtime looks names up in this file alone
        names.forEach(name -> hosts.append("10.9.8.7 ").append(name).append('\n'));
        Path file = Files.writeString(folder.resolve("hosts"), hosts);
        try (ServerProcess own = ServerProcess.watched("-Djdk.net.hosts.file=" + file, line -> { }, "--host=127.0.0.1",
                "--proxy=127.0.0.1")) {
            for (String name : names) {
                String request = "M / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + name + "\r\n\r\n";
                assertEquals(405, RawClient.status(RawClient.lastAnswer(own.port(), request)));
                own.await(" refused \"" + name + "\" without origin: Method ");
            }
            try (ServerProcess wrong = started("-Djdk.net.hosts.file=" + file, "--proxy=dead");
                 ServerProcess right = started("-Djdk.net.hosts.file=" + file, "--host=proxy", "--port=0",
                     "--feed=http://127.0.0.1:0/")) {
                assertEquals(2, wrong.exit());
                assertEquals(1, right.exit());
                right.await("cannot listen on proxy:0: (?!proxy).*"); // that name was found, in the file
            }
        }
    }

    private static ServerProcess started(String jvm, String... args) throws IOException {
        return new ServerProcess(new ProcessBuilder(ServerProcess.command(jvm, args)), line -> { });
    }

    @Test
    void escapesAndCutsWhatIsNoAddress() throws Exception {
        assertEquals("\"[31m\\\\\\u00c3\\u00a9\"", forwarded("[31m\\\u00c3\u00a9")); // bytes, as they came
        assertEquals('"' + "x".repeat(100) + "\"...", forwarded("x".repeat(5_000)));
        assertEquals('"' + "[".repeat(100) + "\"...", forwarded("[".repeat(15_000)));
        assertEquals('"' + ":".repeat(100) + "\"...", forwarded(":".repeat(15_000)));
        assertEquals('"' + "1.".repeat(50) + "\"...", forwarded("1.".repeat(7_000)));
    }

    @Test
    @DisplayName("RFC 9110 §5.3: several fields are one list, in their order")
    void takesSeveralFieldsAsOneList() throws Exception {
        assertEquals("203.0.113.7", forwarded("192.0.2.1", "203.0.113.7"));
        assertEquals("203.0.113.7", forwarded("192.0.2.1, 203.0.113.7", "fd00::1, 10.0.0.1", "10.0.0.1"));
        assertEquals("203.0.113.7", forwarded("203.0.113.7", "", " ,"));
    }

    @Test
    @DisplayName("without the field, or with an empty one, it is the proxy, with its port")
    void namesTheProxyWhereThereIsNothingElse() throws Exception {
        for (String[] none : new String[][] {{}, {""}, {" , ,"}, {"", ""}})
            assertTrue(forwarded(none).matches("127\\.0\\.0\\.1:\\d+"), String.join(";", none));
        assertTrue(name(server, "Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7").startsWith("127.0.0.1:"));
    }

    @Test
    @DisplayName("from a client that is no proxy the field is ignored")
    void ignoresTheFieldOfOthers() throws Exception {
        for (String option : List.of("--proxy=10.0.0.1,127.0.0.2,::1", "--ping=30"))
            try (TestServer other = new TestServer(option)) {
                String name = name(other, "X-Forwarded-For: 203.0.113.7");
                assertTrue(name.matches("127\\.0\\.0\\.1:\\d+"), name);
            }
    }

    @Test
    @DisplayName("so it is called when it is admitted, leaves, is dropped or refused; before its head is read, the proxy is")
    void namesTheClientInEveryLine() throws Exception {
        String field = "X-Forwarded-For: 198.51.100.";
        try (RawClient left = RawClient.admitted(server.port(), "/", field + 1);
             RawClient dropped = RawClient.admitted(server.port(), "/", field + 2, "Origin: https://page.example");
             RawClient refused = new RawClient(server.port()); RawClient early = new RawClient(server.port())) {
            left.send(RawClient.frame(0x88, RawClient.closing(1000)));
            dropped.send(RawClient.frame(0x83, "reserved"));
            refused.upgrade("/", field + 3, "Sec-WebSocket-Version: 13");
            early.send("no HTTP\r\n" + field + "4\r\n\r\n");
            assertEquals(400, RawClient.status(early.answer()));
            server.awaitLog(" admitted 198.51.100.1 without origin, now ");
            server.awaitLog(" left 198.51.100.1 ");
            server.awaitLog(" admitted 198.51.100.2 origin \"https://page.example\", now ");
            server.awaitLog(" dropped 198.51.100.2: ");
            server.awaitLog(" refused 198.51.100.3 without origin: Request is malformed");
            server.awaitLog(" refused 127.0.0.1:" + early.socket.getLocalPort() + ": Request is malformed");
            assertFalse(server.log().contains("198.51.100.4"), server.log());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"0123456789.:", "0123456789abcdefABCDEF:.[]", "::ffff:1.[]%", "0x7f.1 ,_\u00e9\u0661"})
    @DisplayName("whatever stands there is an address or none")
    void neverFails(String alphabet) {
        Random random = new Random(1);
        for (int i = 0; i < 20_000; i++) {
            StringBuilder text = new StringBuilder();
            for (int length = random.nextInt(20); length > 0; length--)
                text.append(alphabet.charAt(random.nextInt(alphabet.length())));
            assertDoesNotThrow(() -> NanoStreamWs.Proxies.address(text.toString()), text::toString);
        }
    }
}
