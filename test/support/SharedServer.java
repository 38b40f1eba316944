import static org.junit.jupiter.api.Assertions.*;

import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** A server for all tests of a class, and what they expect of it; classes run one after the other. */
abstract class SharedServer {
    static TestServer server;

    @BeforeAll
    static void start() throws Exception {
        server = new TestServer();
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    static RawClient admitted() throws Exception {
        return RawClient.admitted(server.port(), "/");
    }

    /** The server ends the connection with a code and a reason; nothing else comes, and the end is in order. */
    static void assertFails(RawClient client, int code, String reason) throws Exception {
        RawClient.Frame frame = client.frame();
        assertTrue(frame.isClose(), "expected a close frame, got " + Integer.toHexString(frame.firstByte()));
        assertEquals(code + " " + reason, frame.code() + " " + frame.text().substring(2));
        assertTrue(client.atEnd());
    }

    /** The connection is well: a ping is answered next, and a message of the feed comes. */
    static void assertIsWell(RawClient client, String mark) throws Exception {
        client.send(RawClient.frame(0x89, mark));
        RawClient.Frame pong = client.frame();
        assertEquals(0x8A, pong.firstByte(), "expected a pong, got " + pong);
        assertEquals(mark, pong.text());
        assertEquals(200, server.post("message " + mark));
        assertEquals("message " + mark, client.text());
    }

    /** A refusal: the exact status, a body that repeats it, and the end of the connection. Returns the answer. */
    static String assertRefused(RawClient client, String status) throws Exception {
        String answer = client.answer(), head = answer.substring(0, answer.indexOf("\r\n\r\n"));
        assertEquals("HTTP/1.1 " + status, head.lines().findFirst().orElseThrow());
        assertEquals(status + '\n', RawClient.body(answer), "the body says no more than the status");
        assertTrue(List.of(RawClient.field(answer, "Connection").toLowerCase().split(", *")).contains("close"), head);
        assertNull(RawClient.field(answer, "Sec-WebSocket-Accept"));
        assertTrue(client.atEnd(), "the connection ends in order");
        return answer;
    }

    /** A POST was taken. */
    static void assertOk(RawClient feed) throws Exception {
        String answer = feed.answer();
        assertEquals("HTTP/1.1 200 OK", answer.lines().findFirst().orElseThrow());
        assertEquals("ok", RawClient.body(answer));
    }
}
