// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@DisplayName("rediss://: Redis over TLS, whose certificate has to be trusted, and for its host")
@Tag("slow")
@Timeout(60)
class RedisTlsTest {
    private static final String DOWN = " for requests is down, and is tried again: ";
    private static final char[] PASSWORD = "changeit".toCharArray();

    private final TestCertificate certificate = TestCertificate.of("EC");
    @TempDir
    private Path folder;
    private String trusting;

    @BeforeEach
    void writeTrustStore() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setCertificateEntry("redis", certificate.certificate());
        Path file = folder.resolve("trusted.p12");
        try (var out = Files.newOutputStream(file)) {
            store.store(out, PASSWORD);
        }
        trusting = "-Djavax.net.ssl.trustStore=" + file + " -Djavax.net.ssl.trustStorePassword=changeit";
    }

    private FakeRedis redis(String address) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        Certificate[] chain = {certificate.certificate()};
        store.setKeyEntry("redis", certificate.keys().getPrivate(), PASSWORD, chain);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, PASSWORD);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        return new FakeRedis(context.getServerSocketFactory()
            .createServerSocket(0, 50, InetAddress.getByName(address)));
    }

    private static ServerProcess server(String jvm, String host, FakeRedis redis) throws Exception {
        String url = "rediss://:pass-word@" + host + ':' + redis.port();
        ServerProcess server = ServerProcess.watched(jvm, line -> { }, "--redis=" + url);
        server.port();
        return server;
    }

    private static int post(ServerProcess server, byte[] message) throws Exception {
        try (RawClient publisher = new RawClient(server.feedPort())) {
            publisher.send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + message.length
                + "\r\n\r\n");
            publisher.send(message);
            return RawClient.status(publisher.answer());
        }
    }

    private static void end(ServerProcess server) throws Exception {
        server.terminate();
        assertEquals(0, server.exit());
        assertFalse(String.join("\n", server.lines()).contains("pass-word"), "no password in the log");
    }

    @Test
    void sharesOverTlsAndStaysInSilence() throws Exception {
        try (FakeRedis redis = redis("127.0.0.1"); ServerProcess server = server(trusting, "localhost", redis)) {
            server.await("localhost:\\d+ for requests is up$");
            server.await("localhost:\\d+ for the channel is up$");
            assertEquals(List.of("AUTH", "pass-word"), redis.requests("AUTH").getFirst().words());
            try (RawClient listener = RawClient.admitted(server.port(), "/")) {
                redis.await("PING", 5); // there were seconds in which nothing came
                assertEquals(200, post(server, "hello".getBytes(UTF_8)));
                assertEquals("hello", listener.text());
                for (char c : FakeRedis.message("5000001 2 1 in records").toCharArray())
                    redis.send("" + c);
                assertEquals("in records", listener.text());
            }
            end(server);
            assertFalse(String.join("\n", server.lines()).contains(DOWN), server.lines().toString());
        }
    }

    @Test
    void refusesACertificateForAnotherHost() throws Exception {
        try (FakeRedis redis = redis("127.0.0.2"); ServerProcess server = server(trusting, "127.0.0.2", redis)) {
            String line = server.await(DOWN + ".*");
            assertTrue(line.contains("127.0.0.2:" + redis.port() + DOWN + "TLS failed: "), line);
            assertTrue(line.contains("No subject alternative names matching IP address 127.0.0.2 found"), line);
            end(server);
            assertEquals(0, redis.requests.size(), "nothing is sent to it");
        }
    }

    @Test
    void refusesACertificateThatIsNotTrusted() throws Exception {
        try (FakeRedis redis = redis("127.0.0.1"); ServerProcess server = server("", "localhost", redis)) {
            String line = server.await(DOWN + ".*");
            assertTrue(line.contains("TLS failed: ") && line.contains("PKIX path building failed"), line);
            end(server);
            assertEquals(0, redis.requests.size(), "nothing is sent to it");
        }
    }

    @Test
    void tellsOneThatSpeaksNoTls() throws Exception {
        try (FakeRedis redis = new FakeRedis()) {
            redis.greeting = "-ERR no TLS\r\n";
            try (ServerProcess server = server(trusting, "localhost", redis)) {
                server.await(DOWN + "TLS failed: \"Unsupported or unrecognized SSL message\"$");
                end(server);
            }
        }
    }

    @Test
    @DisplayName("one that waits for more has no TLS, as a rule: the line names what did not come about")
    void tellsOneThatIsSilent() throws Exception {
        try (ServerSocket silent = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
             ServerProcess server = ServerProcess.watched(trusting, line -> { },
                 "--redis=rediss://localhost:" + silent.getLocalPort())) {
            server.await(DOWN + "TLS failed: \"Read timed out\"$");
            end(server);
        }
    }

    @Test
    @DisplayName("a write that blocks is ended from outside, which the close of TLS could not")
    void isNotKeptByABlockedWrite() throws Exception {
        try (FakeRedis redis = redis("127.0.0.1"); ServerProcess server = server(trusting, "localhost", redis);
             ExecutorService publishers = Executors.newVirtualThreadPerTaskExecutor()) {
            server.await("for requests is up$");
            server.await("for the channel is up$");
            redis.deaf = true;
            byte[] message = "x".repeat(NanoStreamWs.Limits.MAX_MESSAGE).getBytes(UTF_8);
            List<Future<Integer>> posts = new ArrayList<>();
            for (int i = 0; i < 20; i++)
                posts.add(publishers.submit(() -> post(server, message)));
            for (Future<Integer> post : posts)
                assertEquals(503, post.get());
            server.await(DOWN + "no answer within a second$");
            redis.deaf = false;
            server.await("for requests is up again");
            TestServer.await("it takes messages", () -> taken(server));
            redis.deaf = true; // its end waits for nothing
            end(server);
        }
    }

    private static boolean taken(ServerProcess server) {
        try {
            return post(server, "hello".getBytes(UTF_8)) == 200;
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }
}
