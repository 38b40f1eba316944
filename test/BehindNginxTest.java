import static org.junit.jupiter.api.Assertions.*;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
@DisplayName("Behind nginx, as the README has it")
class BehindNginxTest extends BehindAProxy {
    @BeforeAll
    static void start(@TempDir Path folder) throws Exception {
        String program = ProxyInFront.program("nginx");
        server = server(0);
        int port = ProxyInFront.freePort();
        String snippet = ProxyInFront.snippet("nginx");
        snippet = ProxyInFront.with(snippet, "listen 443 ssl", "listen 127.0.0.1:" + port + " ssl");
        snippet = ProxyInFront.with(snippet, "/etc/ssl/stream.example.com.pem", folder.resolve("cert.pem"));
        snippet = ProxyInFront.with(snippet, "/etc/ssl/private/stream.example.com.key", folder.resolve("key.pem"));
        snippet = ProxyInFront.with(snippet, "/var/log/nginx", folder);
        snippet = ProxyInFront.with(snippet, "127.0.0.1:8080", "127.0.0.1:" + server.port());
        snippet = ProxyInFront.with(snippet, "proxy_read_timeout 90s", "proxy_read_timeout 900ms"); // 3 x --ping
        List<String> command = ProxyInFront.nginx(program, folder, 64, snippet);
        proxy = new ProxyInFront(folder, port, ProxyInFront.certified(folder), command);
    }

    @Test
    @DisplayName("its access log has the request without the query, where the token is")
    void logsWithoutTheQuery() throws Exception {
        assertEquals(404, proxy.get("/stream/here?t=token").statusCode());
        TestServer.await("the line", () -> proxy.log().contains("\"GET /stream/here\" 404 "));
        assertFalse(proxy.log().contains("t=token"), proxy.log());
    }

    @Test
    @DisplayName("an idle listener outlives proxy_read_timeout by the server's pings")
    void keepsAnIdleListener() throws Exception {
        ProxyInFront.Client client = admitted();
        for (int i = 0; i < 5; i++) // one and a half times the timeout
            assertEquals("ping", client.next(true));
        assertEquals(200, server.post("still here"));
        assertEquals("text still here", client.next(false));
    }

    private static Set<Long> workers() {
        return proxy.process.children().map(ProcessHandle::pid).collect(Collectors.toSet());
    }

    @Test
    @DisplayName("when nginx is reloaded, listeners stay, and others get in; the old worker goes with its last listener")
    void keepsListenersThroughAReload() throws Exception {
        ProxyInFront.Client client = admitted();
        Set<Long> before = workers();
        String reload = "kill -HUP " + proxy.process.pid();
        assertEquals(0, new ProcessBuilder("sh", "-c", reload).start().waitFor());
        TestServer.await("a new worker", () -> !before.containsAll(workers()));
        ProxyInFront.Client later = admitted();
        assertEquals(200, server.post("to both"));
        assertEquals("text to both", client.next(false));
        assertEquals("text to both", later.next(false));
        assertTrue(workers().containsAll(before), "the old worker is there for the listener");
        client.leave();
        later.leave(); // it may have been early, and have come to the old one
        TestServer.await("the old worker is gone", () -> workers().stream().noneMatch(before::contains));
    }
}
