import static org.junit.jupiter.api.Assertions.*;

import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 9110 §9.3.2 HEAD")
class Rfc9110HeadTest extends SharedServer {
    /** The whole answer; the connection ends behind it. */
    private static String request(String method, String path) throws Exception {
        return RawClient.lastAnswer(server.port(), method + ' ' + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }

    @ParameterizedTest
    @ValueSource(strings = {"/", "/healthz"})
    @DisplayName("it has the head of a GET, and no body")
    void isAnsweredWithTheHeadOfAGet(String path) throws Exception {
        String get = request("GET", path), head = request("HEAD", path);
        assertEquals(get.substring(0, get.length() - RawClient.body(get).length()), head);
        assertFalse(RawClient.body(get).isEmpty());
    }

    @ParameterizedTest
    @ValueSource(strings = {"/nothing", "/healthz/"})
    @DisplayName("nor has a refusal")
    void isRefusedWithoutABody(String path) throws Exception {
        String answer = request("HEAD", path);
        assertEquals(404, RawClient.status(answer));
        assertEquals("", RawClient.body(answer));
    }

    @ParameterizedTest
    @ValueSource(strings = {"HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "HEAD  / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\n", "HEAD / HTTP/1.1\r\nHost: h\0", "\r\nHEAD / HTTP/2.0\r\nHost: h\r\n\r\n"})
    @DisplayName("nor has the refusal of a malformed one, by either port")
    void isRefusedWithoutABodyWhereItIsMalformed(String head) throws Exception {
        for (int port : new int[] {server.port(), server.feedPort()}) {
            String answer = RawClient.lastAnswer(port, head);
            assertTrue(RawClient.status(answer) >= 400, answer);
            assertEquals("", RawClient.body(answer));
        }
    }

    @Test
    @DisplayName("the next request on the connection has a body again")
    void isForgottenWithTheNextRequest() throws Exception {
        try (RawClient feed = new RawClient(server.feedPort())) {
            feed.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nxGEAD");
            assertEquals("ok", RawClient.body(feed.answer()));
            feed.send(" / HTTP/1.1\r\n\r\n");
            assertEquals("400 Bad Request\n", RawClient.body(feed.answer()));
        }
    }

    @Test
    @DisplayName("nor has the refusal of the feed")
    void isRefusedByTheFeedWithoutABody() throws Exception {
        try (RawClient feed = new RawClient(server.feedPort())) {
            feed.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assertEquals(405, RawClient.status(feed.head()));
            assertTrue(feed.atEnd());
        }
    }
}
