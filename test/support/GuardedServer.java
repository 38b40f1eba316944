import static org.junit.jupiter.api.Assertions.*;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** A server for each test that admits by tokens; at its end its log is looked through for what must not be there. */
abstract class GuardedServer {
    private static final String ORIGIN = "https://page.example";

    TestServer server;

    @BeforeEach
    void start() throws Exception {
        server = new TestServer("--secret", TestServer.SECRET);
    }

    @AfterEach
    void stop() {
        server.close();
        assertFalse(server.log().contains(TestServer.SECRET), "no secret in the log");
        assertFalse(server.log().contains("t="), "no query in the log");
        assertFalse(server.log().contains("eyJ"), "no token in the log");
    }

    /** The status of a handshake; a client that is admitted leaves again. */
    int knock(String target, String... fields) throws Exception {
        return knock(server, target, fields);
    }

    static int knock(TestServer server, String target, String... fields) throws Exception {
        return knock(server.port(), target, fields);
    }

    static int knock(int port, String target, String... fields) throws Exception {
        try (RawClient client = new RawClient(port)) {
            return RawClient.status(client.upgrade(target, fields));
        }
    }

    /** A handshake that gets 401, and one line in the log. */
    void assertUnauthorized(String text, String target, String... fields) throws Exception {
        List<String> all = new ArrayList<>(List.of(fields));
        all.add("Origin: " + ORIGIN);
        int port;
        try (RawClient client = new RawClient(server.port())) {
            port = client.socket.getLocalPort();
            client.send(RawClient.handshake(target, all.toArray(String[]::new)));
            String answer = client.answer();
            assertEquals("HTTP/1.1 401 Unauthorized", answer.lines().findFirst().orElseThrow());
            assertEquals("Bearer", RawClient.field(answer, "WWW-Authenticate"));
            assertEquals("401 Unauthorized\n", RawClient.body(answer));
            assertTrue(client.atEnd());
        }
        String address = "127.0.0.1:" + port;
        String line = server.awaitLog(address);
        assertTrue(line.contains(ORIGIN), line);
        assertTrue(line.matches(".*: " + text + "(: .*)?"), line);
        server.close(); // with it the log is complete
        assertEquals(1, server.log().lines().filter(l -> l.contains(address)).count(), server.log());
    }
}
