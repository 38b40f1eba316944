import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.security.MessageDigest;
import java.util.Base64;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Page and health: requests that are no upgrade")
class PageTest {
    private static TestServer server;

    @BeforeAll
    static void start() throws Exception {
        server = new TestServer("--secret", TestServer.SECRET);
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    /** The whole answer; the connection ends behind it. */
    private static String request(String line, String... fields) throws Exception {
        return RawClient.lastAnswer(server.port(),
            line + "\r\nHost: localhost\r\n" + String.join("", fields) + "\r\n");
    }

    @ParameterizedTest
    @ValueSource(strings = {"/", "/?x=1", "http://localhost/"})
    @DisplayName("/ is HTML, whoever asks")
    void answersWithThePage(String target) throws Exception {
        String answer = request("GET " + target + " HTTP/1.1", "Connection: keep-alive\r\n");
        assertTrue(answer.startsWith("HTTP/1.1 200 OK\r\n"), answer);
        assertEquals("text/html; charset=utf-8", RawClient.field(answer, "Content-Type"));
        assertEquals("close", RawClient.field(answer, "Connection"));
        assertEquals(String.valueOf(RawClient.body(answer).length()), RawClient.field(answer, "Content-Length"));
        assertEquals("nosniff", RawClient.field(answer, "X-Content-Type-Options"));
        assertEquals("no-referrer", RawClient.field(answer, "Referrer-Policy"));
        assertTrue(RawClient.body(answer).startsWith("<!doctype html>"), answer);
    }

    /** The one element of the page with the name: what stands in it. */
    private static String content(String page, String name) {
        String[] parts = page.split("</?" + name + ">", -1);
        assertEquals(3, parts.length, name);
        return parts[1];
    }

    private static String source(String text) throws Exception {
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(text.getBytes(UTF_8));
        return "'sha256-" + Base64.getEncoder().encodeToString(hash) + '\'';
    }

    @Test
    @DisplayName("the command that it names makes a token for as long as it takes a person to paste it")
    void namesACommandForAToken() throws Exception {
        String page = request("GET / HTTP/1.1");
        assertTrue(page.contains("<code>java NanoStreamWs.java --secret SECRET --token 60</code>"), page);
    }

    @Test
    @DisplayName("CSP: the page's own script and style, each by its hash, and no other source; forms go nowhere")
    void allowsItsOwnScriptAndStyleOnly() throws Exception {
        String answer = request("GET / HTTP/1.1"), page = RawClient.body(answer);
        assertEquals("default-src 'none'; script-src " + source(content(page, "script"))
            + "; style-src " + source(content(page, "style")) + "; img-src data:; connect-src 'self'; "
            + "base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
            RawClient.field(answer, "Content-Security-Policy"));
        assertFalse(page.matches("(?s).*<[^>]*\\s(on[a-z]+|style)=.*"),
            "no handler or style in an attribute, which the policy would stop");
    }

    @Test
    @DisplayName("it refers to nothing outside, sets text alone, and moves nothing for who wants less motion")
    void isSelfContained() throws Exception {
        String page = RawClient.body(request("GET / HTTP/1.1"));
        assertFalse(page.matches("(?s).*(//[a-z]|src=|href=\"(?!data:)|@import|url\\().*"), page);
        assertFalse(page.matches("(?s).*(innerHTML|outerHTML|insertAdjacent|document\\.write|eval\\().*"), page);
        assertFalse(page.matches("(?s).*(animat|transition|@keyframes).*"), page);
    }

    @Test
    @DisplayName("it is the same at every request, and has 170 lines at most")
    void isSmall() throws Exception {
        String page = RawClient.body(request("GET / HTTP/1.1"));
        assertEquals(page, RawClient.body(request("GET /?x HTTP/1.1")));
        long lines = page.lines().count() - 2; // those of the end of style and of script are none of the file
        assertTrue(lines <= 170, lines + " lines");
    }

    @Test
    @DisplayName("what it refers to is relative to where it is: a proxy may have a prefix before it")
    void connectsBeneathItsOwnPath() throws Exception {
        String answer = request("GET / HTTP/1.1");
        String script = answer.substring(answer.indexOf("<script>") + 8, answer.indexOf("</script>"));
        assertTrue(script.contains("location.pathname"), script);
        assertFalse(script.contains("'/"), script);
    }

    @Test
    @DisplayName("RFC 9110 §7.8: an Upgrade in a request of HTTP/1.0 is ignored")
    void ignoresAnUpgradeOfHttp10() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
            assertEquals(200, RawClient.status(client.answer()));
        }
    }

    @Test
    void answersHttp10WithoutAHost() throws Exception {
        try (RawClient client = new RawClient(server.port())) {
            client.send("GET / HTTP/1.0\r\n\r\n");
            assertEquals(200, RawClient.status(client.answer()));
            assertTrue(client.atEnd());
        }
    }

    @Test
    void saysThatItIsWell() throws Exception {
        String answer = request("GET /healthz HTTP/1.1");
        assertEquals(200, RawClient.status(answer));
        assertEquals("ok", RawClient.body(answer));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        GET /index.html,    404
        GET //,             404
        GET /%2e,           404
        GET /healthz/x,     404
        GET /favicon.ico,   404
        POST /x,            404
        POST /,             405
        PUT /,              405
        OPTIONS /,          405
        DELETE /healthz,    405
        get /,              405
        """)
    @DisplayName("other paths are 404, other methods 405 with Allow")
    void refusesOthers(String request, int status) throws Exception {
        String answer = request(request + " HTTP/1.1");
        assertEquals(status, RawClient.status(answer));
        assertEquals(status == 405 ? "GET, HEAD" : null, RawClient.field(answer, "Allow"));
        assertEquals("close", RawClient.field(answer, "Connection"));
        assertEquals(answer.lines().findFirst().orElseThrow(), "HTTP/1.1 " + RawClient.body(answer).strip(),
            "no more than the status");
    }

    @Test
    @DisplayName("RFC 9110 §15.6.6: another major version of HTTP is 505")
    void refusesAnotherVersionOfHttp() throws Exception {
        assertEquals(505, RawClient.status(request("GET / HTTP/2.0")));
    }
}
