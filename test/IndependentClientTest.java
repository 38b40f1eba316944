import static org.junit.jupiter.api.Assertions.*;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("An independent client (java.net.http.WebSocket)")
class IndependentClientTest {
    private TestServer server;
    private HttpClient client;

    @BeforeEach
    void start() throws Exception {
        server = new TestServer("--secret", TestServer.SECRET);
        client = HttpClient.newHttpClient();
    }

    @AfterEach
    void stop() {
        server.close();
        client.shutdownNow();
        client.close();
    }

    private WebSocket connect(String query, Events listener, String... headers) {
        WebSocket.Builder builder = client.newWebSocketBuilder();
        for (int i = 0; i < headers.length; i += 2)
            builder.header(headers[i], headers[i + 1]);
        return builder.buildAsync(URI.create("ws://127.0.0.1:" + server.port() + "/" + query), listener).join();
    }

    @Test
    @DisplayName("connects with a token, gets messages, pings and closes")
    void listens() throws Exception {
        Events listener = new Events();
        WebSocket socket = connect("?t=" + TestToken.fresh(server), listener);
        assertEquals("", socket.getSubprotocol());
        for (String message : new String[] {"hello", "κόσμε 😀", "x".repeat(125), "x".repeat(126), "x".repeat(65536),
                "0123456789abcdef".repeat(65536), "the end"}) {
            assertEquals(200, server.post(message));
            assertEquals("text " + message, listener.next());
        }
        socket.sendPing(ByteBuffer.wrap("are you there".getBytes())).join();
        assertEquals("pong are you there", listener.next());
        socket.sendText("whatever", true).join(); // is dropped
        socket.sendClose(4000, "bye").join();
        assertEquals("close 4000 ", listener.next());
        server.awaitListeners(0);
        server.awaitLog(" with 4000");
    }

    @Test
    void sendsItsTokenInAField() throws Exception {
        Events listener = new Events();
        WebSocket socket = connect("", listener, "Authorization", "Bearer " + TestToken.fresh(server));
        assertEquals(200, server.post("hello"));
        assertEquals("text hello", listener.next());
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();
        assertEquals("close 1000 ", listener.next());
    }

    @Test
    void isRefusedTheSecondTime() {
        String query = "?t=" + TestToken.fresh(server);
        connect(query, new Events()).abort();
        CompletionException refused = assertThrows(CompletionException.class, () -> connect(query, new Events()));
        var why = assertInstanceOf(WebSocketHandshakeException.class, refused.getCause());
        assertEquals(401, why.getResponse().statusCode());
    }

    @Test
    @DisplayName("is told of a shutdown, and answers")
    void isToldOfAShutdown() throws Exception {
        Events listener = new Events();
        connect("?t=" + TestToken.fresh(server), listener);
        assertEquals(200, server.post("the last"));
        server.server.close();
        assertEquals("text the last", listener.next());
        assertEquals("close 1001 server is shutting down", listener.next());
        server.awaitLog(" with 1001");
    }
}
