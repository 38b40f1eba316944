import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.*;

import java.security.MessageDigest;
import java.util.Base64;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6455 §4.2 Opening handshake")
class Rfc6455OpeningHandshakeTest extends SharedServer {
    private static final String HOST = "Host: localhost", VERSION = "Sec-WebSocket-Version: 13",
        UPGRADE = "Upgrade: websocket", CONNECTION = "Connection: Upgrade",
        KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    private static String request(String line, String... fields) {
        return line + "\r\n" + String.join("\r\n", fields) + "\r\n\r\n";
    }

    private static String get(String... fields) {
        return request("GET / HTTP/1.1", fields);
    }

    private static void assertAdmits(TestServer server, String request) throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send(request);
            assertEquals(101, RawClient.status(client.head()));
            client.send(RawClient.frame(0x89, "hello"));
            assertEquals("hello", client.frame().text());
        }
    }

    @Test
    @DisplayName("§1.3: the sample key and its accept value")
    void answersTheSampleKey() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            String head = client.upgrade("/");
            assertEquals("HTTP/1.1 101 Switching Protocols", head.lines().findFirst().orElseThrow());
            assertEquals("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", RawClient.field(head, "Sec-WebSocket-Accept"));
            assertEquals("websocket", RawClient.field(head, "Upgrade"));
            assertEquals("Upgrade", RawClient.field(head, "Connection"));
        }
    }

    @Test
    @DisplayName("§4.2.2: the accept value is base64 of SHA-1 of the key and the GUID")
    void answersAnyKey() throws Exception {
        for (byte fill : new byte[] {0, 1, 0x7F, -1}) {
            byte[] nonce = new byte[16];
            java.util.Arrays.fill(nonce, fill);
            String key = Base64.getEncoder().encodeToString(nonce);
            byte[] hash = MessageDigest.getInstance("SHA-1")
                .digest((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").getBytes(ISO_8859_1));
            try (RawClient client = new RawClient(server.port())) {
                client.send(get(HOST, UPGRADE, CONNECTION, "Sec-WebSocket-Key: " + key, VERSION));
                assertEquals(Base64.getEncoder().encodeToString(hash),
                    RawClient.field(client.head(), "Sec-WebSocket-Accept"));
            }
        }
    }

    @Test
    @DisplayName("§4.2.1 5.: a key whose last character has bits to spare is taken, as base64 decoders take it")
    void takesAKeyWithBitsToSpare() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send(get(HOST, UPGRADE, CONNECTION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", VERSION));
            assertEquals(101, RawClient.status(client.head()));
        }
    }

    @ParameterizedTest
    @DisplayName("§4.2.1: fields in any case, and in lists")
    @CsvSource(delimiter = '|', textBlock = """
        Upgrade: WebSocket           | Connection: upgrade
        Upgrade: WEBSOCKET           | Connection: UPGRADE
        UPGRADE: websocket           | CONNECTION: Upgrade
        upgrade:websocket            | connection:keep-alive, Upgrade
        Upgrade: h2c, websocket      | Connection: keep-alive,upgrade
        Upgrade: websocket           | Connection: Upgrade , keep-alive
        """)
    void takesFieldsInAnyCaseAndInLists(String upgrade, String connection) throws Exception {
        assertAdmits(server, get(HOST, upgrade, connection, KEY, VERSION));
        assertAdmits(server, get("hOsT: localhost", upgrade, connection, KEY.replace("Sec-WebSocket", "sec-websocket"),
            VERSION.replace("Sec-WebSocket", "SEC-WEBSOCKET")));
    }

    @Test
    @DisplayName("§4.2.1: a body that is announced with a length of 0 is none")
    void takesAContentLengthOfNothing() throws Exception {
        assertAdmits(server, get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "Content-Length: 0"));
    }

    @Test
    @DisplayName("RFC 9110 §7.8: Upgrade in a request of HTTP/1.0 is ignored")
    void ignoresUpgradeOfHttp10() throws Exception {
        String request = request("GET / HTTP/1.0", HOST, UPGRADE, CONNECTION, VERSION);
        assertEquals(200, RawClient.status(RawClient.lastAnswer(server.port(), request)), "it is no handshake");
    }

    @Test
    void takesConnectionInTwoFields() throws Exception {
        assertAdmits(server, get(HOST, UPGRADE, "Connection: keep-alive", CONNECTION, KEY, VERSION));
    }

    @ParameterizedTest
    @ValueSource(strings = {"/", "/any/path", "/?x=1", "/%C3%A4?t=", "http://localhost/absolute?x",
        "https://localhost/absolute"})
    void takesAnyPath(String target) throws Exception {
        assertAdmits(server, request("GET " + target + " HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION));
    }

    static Stream<Arguments> malformed() {
        return Stream.of(
            Arguments.of("no key", get(HOST, UPGRADE, CONNECTION, VERSION)),
            Arguments.of("empty key", get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key:")),
            Arguments.of("key of 15 bytes",
                get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA")),
            Arguments.of("key of 17 bytes",
                get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=")),
            Arguments.of("key of 18 bytes",
                get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA")),
            Arguments.of("key without padding",
                get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ")),
            Arguments.of("key in base64url",
                get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: _-hlIHNhbXBsZSBub25jZQ==")),
            Arguments.of("key that is no base64",
                get(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25 ZQ==")),
            Arguments.of("key twice", get(HOST, UPGRADE, CONNECTION, KEY, KEY, VERSION)),
            Arguments.of("a body", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "Content-Length: 5")),
            Arguments.of("a chunked body", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "Transfer-Encoding: chunked")),
            Arguments.of("a wish to continue", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "Expect: 100-continue")),
            Arguments.of("version twice", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, VERSION)),
            Arguments.of("origin twice",
                get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "Origin: http://a", "Origin: http://b")),
            Arguments.of("POST", request("POST / HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("method in small letters", request("get / HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("HTTP/1.0", request("GET / HTTP/1.0", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("no version of HTTP", request("GET /", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("two spaces", request("GET  / HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("no path", request("GET nowhere HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("fragment", request("GET /#a HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("broken percent-encoding",
                request("GET /%zz HTTP/1.1", HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("no Host", get(UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("two Hosts", get(HOST, HOST, UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("bad Host", get("Host: a b", UPGRADE, CONNECTION, KEY, VERSION)),
            Arguments.of("no Upgrade, but a key", get(HOST, CONNECTION, KEY, VERSION)),
            Arguments.of("another Upgrade, but a key", get(HOST, "Upgrade: h2c", CONNECTION, KEY, VERSION)),
            Arguments.of("no Connection", get(HOST, UPGRADE, KEY, VERSION)),
            Arguments.of("another Connection", get(HOST, UPGRADE, "Connection: keep-alive", KEY, VERSION)),
            Arguments.of("Connection with a longer word", get(HOST, UPGRADE, "Connection: Upgrades", KEY, VERSION)),
            Arguments.of("space before a colon", get(HOST, "Upgrade : websocket", CONNECTION, KEY, VERSION)),
            Arguments.of("folded field", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "X: a", " b")),
            Arguments.of("field without a colon", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "X")),
            Arguments.of("bare LF", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "X: a\nY: b")),
            Arguments.of("bare CR", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "X: a\rY: b")),
            Arguments.of("NUL", get(HOST, UPGRADE, CONNECTION, KEY, VERSION, "X: a\0b")));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("malformed")
    @DisplayName("§4.2.1: malformed is 400")
    void refusesMalformed(String what, String request) throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send(request);
            assertRefused(client, "400 Bad Request");
        }
    }

    @ParameterizedTest
    @DisplayName("§4.4: another version is 426 with the one that is spoken")
    @ValueSource(strings = {"Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 0", "Sec-WebSocket-Version: 14",
        "Sec-WebSocket-Version: 013", "Sec-WebSocket-Version: 13, 8", "Sec-WebSocket-Version:", "X-Version: 13"})
    void refusesAnotherVersion(String version) throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send(get(HOST, UPGRADE, CONNECTION, KEY, version));
            String answer = assertRefused(client, "426 Upgrade Required");
            assertEquals("13", RawClient.field(answer, "Sec-WebSocket-Version"));
            assertEquals("websocket", RawClient.field(answer, "Upgrade"), "RFC 9110 §15.5.22");
        }
    }

    @Test
    @DisplayName("RFC 9110 §7.8: an answer with Upgrade names it in Connection")
    void namesUpgradeInConnection() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send(get(HOST, UPGRADE, CONNECTION, KEY));
            String answer = assertRefused(client, "426 Upgrade Required");
            assertTrue(RawClient.field(answer, "Connection").toLowerCase().contains("upgrade"), answer);
        }
    }

    @Test
    @DisplayName("§4.2.2: no subprotocol and no extension is answered where none is taken")
    void takesNoSubprotocolAndNoExtension() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            String head = client.upgrade("/", "Sec-WebSocket-Protocol: chat, superchat",
                "Sec-WebSocket-Extensions: x-webkit-deflate-frame");
            assertEquals(101, RawClient.status(head));
            assertNull(RawClient.field(head, "Sec-WebSocket-Protocol"));
            assertNull(RawClient.field(head, "Sec-WebSocket-Extensions"));
        }
    }

    @ParameterizedTest
    @DisplayName("§4.2.1: Sec-WebSocket-Protocol is not read, since none is taken: a malformed one is passed over")
    @ValueSource(strings = {"Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: a b", "Sec-WebSocket-Protocol:",
        "Sec-WebSocket-Protocol: ,;\"\\"})
    void takesNoSubprotocolHoweverItIsWritten(String field) throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            String head = client.upgrade("/", field);
            assertEquals(101, RawClient.status(head));
            assertNull(RawClient.field(head, "Sec-WebSocket-Protocol"));
        }
    }

    @Test
    void takesTheHandshakeOneByteAtATime() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.sendSlowly(RawClient.handshake("/").getBytes(ISO_8859_1));
            assertEquals(101, RawClient.status(client.head()));
        }
    }

    @Test
    @DisplayName("frames in the same packet as the handshake are read, whole or cut anywhere")
    void readsFramesBehindTheHead() throws Exception {
        byte[] ping = RawClient.frame(0x89, "first"), large = RawClient.frame(0x82, new byte[1000]);
        byte[] frames = RawClient.concat(ping, large, RawClient.frame(0x89, "second"));
        byte[] head = RawClient.handshake("/").getBytes(ISO_8859_1);
        for (int cut : new int[] {0, 1, 2, 5, ping.length, ping.length + 3, NanoStreamWs.Limits.READ_BUFFER})
            try (RawClient client = new RawClient(server.port())) {
                client.send(RawClient.concat(head, java.util.Arrays.copyOf(frames, cut)));
                assertEquals(101, RawClient.status(client.head()));
                client.send(java.util.Arrays.copyOfRange(frames, cut, frames.length));
                assertEquals("first", client.frame().text());
                assertEquals("second", client.frame().text());
            }
    }

    @Test
    void answersACloseBehindTheHead() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send(RawClient.concat(RawClient.handshake("/").getBytes(ISO_8859_1),
                RawClient.frame(0x88, RawClient.closing(1000))));
            assertEquals(101, RawClient.status(client.head()));
            assertEquals(1000, client.frame().code());
            assertTrue(client.atEnd());
        }
    }

    @Test
    @DisplayName("a client that goes away in the middle of its handshake costs no place")
    void forgetsAClientThatGoesAway() throws Exception {
        try (TestServer one = new TestServer("--max-listeners=1")) {
            String request = RawClient.handshake("/");
            for (int length : new int[] {0, 1, 20, request.length() - 1})
                try (RawClient client = new RawClient(one.port())) {
                    client.send(request.substring(0, length));
                }
            assertAdmits(one, request);
        }
    }
}
