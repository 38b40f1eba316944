// SPDX-License-Identifier: MIT
import static org.junit.jupiter.api.Assertions.*;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 6454 Origin: which pages are admitted")
class Rfc6454OriginTest {
    private static boolean admits(String list, String origin) throws Exception {
        List<NanoStreamWs.Origin> allowed = Stream.of(list.split(" ")).map(NanoStreamWs.Origin::parse).toList();
        return NanoStreamWs.Origin.isAdmitted(allowed, origin);
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        http://example.com
        https://example.com
        https://example.com:8443
        http://example.com:80
        HTTPS://Example.COM
        moz-extension://example.com
        """)
    void admitsAListedHostOnAnySchemeAndPort(String origin) throws Exception {
        assertTrue(admits("example.com", origin));
        assertTrue(admits("EXAMPLE.com", origin));
        assertTrue(admits("other.test example.com", origin));
        assertFalse(admits("other.test", origin));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        https://www.example.com
        https://*.example.com
        https://evilexample.com
        https://example.com.evil.test
        https://example.co
        https://example.comm
        https://xample.com
        https://exampleXcom
        https://evil.test/example.com
        https://evil.test?example.com
        https://evil.test#example.com
        https://example.com@evil.test
        https://evil.test@example.com
        https://evil.test:example.com
        """)
    void refusesHostsThatOnlyLookLikeAListedOne(String origin) throws Exception {
        assertFalse(admits("example.com", origin));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        https://www.example.com,          true
        http://a.b.example.com:8080,      true
        https://WWW.EXAMPLE.COM,          true
        https://example.com,              false
        https://evilexample.com,          false
        https://www.example.com.evil.test, false
        https://wwwXexample.com,          false
        https://*.example.com,            false
        """)
    void admitsSubdomainsOfAStarButNotTheDomainItself(String origin, boolean admitted) throws Exception {
        assertEquals(admitted, admits("*.example.com", origin));
        assertEquals(admitted, admits("*.EXAMPLE.com", origin));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        https://example.com:8443,   https://example.com:8443,     true
        https://example.com:8443,   https://EXAMPLE.com:8443,     true
        https://example.com:8443,   https://example.com,          false
        https://example.com:8443,   https://example.com:443,      false
        https://example.com:8443,   http://example.com:8443,      false
        https://example.com:8443,   https://www.example.com:8443, false
        https://example.com,        https://example.com,          true
        https://example.com,        https://example.com:443,      true
        https://example.com:443,    https://example.com,          true
        https://example.com,        https://example.com:8443,     false
        https://example.com,        http://example.com,           false
        https://example.com,        http://example.com:443,       false
        http://example.com,         http://example.com:80,        true
        http://example.com:80,      http://example.com,           true
        http://example.com,         http://example.com:443,       false
        http://example.com,         https://example.com,          false
        HTTPS://Example.com,        https://example.com,          true
        example.com:8443,           https://example.com:8443,     true
        example.com:8443,           http://example.com:8443,      true
        example.com:8443,           https://example.com,          false
        example.com:443,            https://example.com,          true
        https://*.example.com,      https://www.example.com,      true
        https://*.example.com,      http://www.example.com,       false
        https://*.example.com:8443, https://www.example.com:8443, true
        https://*.example.com:8443, https://www.example.com,      false
        """)
    @DisplayName("§4, §5: scheme, host and port are compared, and a default port may be left out")
    void comparesWhatAnEntryNames(String entry, String origin, boolean admitted) throws Exception {
        assertEquals(admitted, admits(entry, origin));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        localhost,          http://localhost:3000,  true
        127.0.0.1,          http://127.0.0.1:8080,  true
        127.0.0.1,          http://127.0.0.10,      false
        [::1],              http://[::1],           true
        [::1],              https://[::1]:8443,     true
        [::1],              http://[::2],           false
        [2001:DB8::a],      https://[2001:db8::A],  true
        https://[::1]:8443, https://[::1]:8443,     true
        https://[::1]:8443, https://[::1],          false
        my_host,            http://my_host,         true
        """)
    void takesAddressesAndBareNamesForHosts(String entry, String origin, boolean admitted) throws Exception {
        assertEquals(admitted, admits(entry, origin));
    }

    @ParameterizedTest
    @ValueSource(strings = {"null", "NULL", "", " ", "example.com", "example.com:443", "//example.com",
        "https:example.com", "https:/example.com", "https://", "https://example.com/", "https://example.com/path",
        "https://example.com ", " https://example.com", "https://example.com https://example.com",
        "https://example.com,https://example.com", "https://example.com:", "https://example.com:x",
        "https://example.com:443:443", "https://example.com\n", "1://example.com", "https://ex ample.com",
        "https://[::1", "https://\u00e9xample.com", "*", "https://*"})
    @DisplayName("§7.3: where there is a list, \"null\" and what is no origin is refused")
    void refusesWhatIsNoOriginWhereThereIsAList(String origin) throws Exception {
        assertFalse(admits("example.com *.example.com [::1]", origin));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        null,    null,             true
        null,    NULL,             false
        null,    http://null,      false
        null,    null://,          false
        null,    file://,          false
        null,    https://a.test,   false
        file://, file://,          true
        file://, null,             false
        file://, file:///,         false
        file://, file://a.test,    false
        """)
    @DisplayName("null and file://, which an app's web view sends, are admitted where they are listed")
    void admitsOpaqueOriginsThatAreListed(String entry, String origin, boolean admitted) throws Exception {
        assertEquals(admitted, admits(entry, origin));
        assertEquals(admitted, admits("example.com " + entry, origin));
    }

    @Test
    void refusesAMissingOriginWhereThereIsAList() throws Exception {
        assertFalse(admits("example.com", null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"https://example.com", "null", "", "garbage", "https://example.com/path"})
    void admitsEverybodyWhereThereIsNoList(String origin) throws Exception {
        NanoStreamWs.Settings settings = new NanoStreamWs.Settings(new String[0], Map.of(), () -> "made");
        assertTrue(settings.admits(origin));
        assertTrue(settings.admits(null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "*", "*.", "*example.com", "www.*.com", "example.com/", "https://example.com/",
        "https://", "://example.com", "https:example.com", "exa mple.com", "example.com:", "example.com:x",
        "example.com:123456", "example.com:65536", "*.[::1]",
        "ws://example.com", "wss://example.com:443", "WSS://a", "::1", "[::1",
        "user@example.com", "https://*", "example.com example.org", "example.com?",
        "\u00e9xample.com", "ex\nample.com"})
    void refusesAListThatNamesSomethingElse(String entry) {
        assertNull(NanoStreamWs.Origin.parse(entry));
        String[] args = {"--origin=example.com," + entry};
        String message = assertThrows(NanoStreamWs.UsageException.class,
            () -> new NanoStreamWs.Settings(args, Map.of(), () -> "made")).getMessage();
        assertTrue(message.contains("--origin") && message.chars().allMatch(c -> c >= ' ' && c < 0x7F), message);
    }

    @Test
    void anOriginIsOneHost() {
        assertNull(NanoStreamWs.Origin.parse("example.com,example.org"));
    }

    @Test
    @DisplayName("RFC 6455 §4.2.2: an origin that is not listed is 403, and the log says so")
    void refusesAnOriginThatIsNotListed() throws Exception {
        try (TestServer listed = new TestServer("--origin=example.com,https://a.example:8443")) {
            for (String origin : new String[] {"Origin: https://evil.example", "Origin: null",
                    "Origin: https://a.example", "Origin: https://example.com.evil.example",
                    "X-Origin: https://example.com"})
                try (RawClient client = new RawClient(listed.port())) {
                    client.send(RawClient.handshake("/", origin));
                    SharedServer.assertRefused(client, "403 Forbidden");
                    String line = listed.awaitLog("127.0.0.1:" + client.socket.getLocalPort());
                    assertTrue(line.contains("Origin is not allowed"), line);
                    if (origin.startsWith("Origin"))
                        assertTrue(line.contains(origin.substring(8)), line);
                }
            for (String origin : new String[] {"https://example.com", "http://EXAMPLE.com:81",
                    "https://a.example:8443"})
                RawClient.admitted(listed.port(), "/", "Origin: " + origin).close();
        }
    }
}
