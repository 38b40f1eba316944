import static org.junit.jupiter.api.Assertions.*;

import java.net.http.HttpResponse;
import java.net.http.WebSocketHandshakeException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** A server behind a proxy, and what holds behind each; classes run one after the other. */
abstract class BehindAProxy {
    static TestServer server; // null where there is no such proxy
    static ProxyInFront proxy;
    private static final List<ProxyInFront.Client> clients = new ArrayList<>();

    static TestServer server(int port) throws Exception {
        return new TestServer("--port=" + port, "--secret=" + TestServer.SECRET, "--proxy=127.0.0.1", "--ping=0.3");
    }

    /** A listener that comes by the proxy, and stays until the end of the test. */
    static ProxyInFront.Client admitted() {
        ProxyInFront.Client client = proxy.admitted("/stream/?t=" + TestToken.fresh(server));
        clients.add(client);
        return client;
    }

    @AfterEach
    void leave() {
        clients.forEach(ProxyInFront.Client::leave);
        clients.clear();
    }

    @AfterAll
    static void stop() throws Exception {
        if (server != null)
            server.close();
        server = null;
        if (proxy == null) return;
        proxy.close();
        String log = proxy.log();
        proxy = null;
        assertFalse(log.contains("t="), log);
        assertFalse(log.contains("eyJ"), log);
    }

    @Test
    @DisplayName("the page is beneath the prefix, and so is what it connects to; wss:// brings the stream")
    void servesBeneathThePrefix() throws Exception {
        HttpResponse<String> page = proxy.get("/stream/");
        assertEquals(200, page.statusCode());
        assertTrue(page.body().contains("location.pathname"), page.body());
        assertNotEquals(page.body(), proxy.get("/").body());
        assertEquals("ok", proxy.get("/stream/healthz").body());
        ProxyInFront.Client client = admitted();
        assertEquals(200, server.post("hello"));
        assertEquals("text hello", client.next(false));
    }

    @Test
    @DisplayName("--proxy: the log names the client, whatever it says itself")
    void logsTheClientsAddress() throws Exception {
        admitted();
        String line = server.awaitLog(" admitted ");
        assertTrue(line.contains(" admitted " + ProxyInFront.CLIENT + " without origin"), line);
        assertFalse(server.log().contains("203.0.113.9"), server.log());
    }

    @Test
    @DisplayName("when the server is started again, listeners are closed with 1001, and get in again")
    void outlivesARestartOfTheServer() throws Exception {
        ProxyInFront.Client client = admitted();
        int port = server.port();
        server.close();
        assertEquals("close 1001", client.next(false));
        CompletionException refused = assertThrows(CompletionException.class, BehindAProxy::admitted);
        assertEquals(502, ((WebSocketHandshakeException) refused.getCause()).getResponse().statusCode());
        server = server(port);
        ProxyInFront.Client again = admitted();
        assertEquals(200, server.post("again"));
        assertEquals("text again", again.next(false));
    }
}
