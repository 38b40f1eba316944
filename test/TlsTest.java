import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@SuppressWarnings("try") // a client is only there
@DisplayName("TLS (RFC 8446, 5246, 7301): listeners connect by wss://")
class TlsTest {
    private static final String DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate";

    @TempDir
    Path folder;

    /** A connection whose TLS handshake is to come. It checks that the certificate is one for its host. */
    static SSLSocket connect(int port, SSLContext context, String... versions) throws IOException {
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        if (versions.length > 0)
            parameters.setProtocols(versions);
        socket.setSSLParameters(parameters);
        return socket;
    }

    static RawClient client(TestServer server, TestCertificate trusted, String... versions) throws IOException {
        return new RawClient(connect(server.port(), trusted.trusting(), versions));
    }

    static RawClient admitted(TestServer server, TestCertificate trusted, String... versions) throws IOException {
        RawClient client = client(server, trusted, versions);
        assertEquals(101, RawClient.status(client.upgrade("/")));
        return client;
    }

    /** Puts what happens into a queue, one text an event. */
    private static final class Listener implements WebSocket.Listener {
        private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
        private final StringBuilder text = new StringBuilder();

        String next() throws InterruptedException {
            return events.poll(20, TimeUnit.SECONDS);
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
            text.append(data);
            if (last) {
                events.add("text " + text);
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer message) {
            events.add("pong " + UTF_8.decode(message));
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            events.add("close " + code);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            events.add("error " + error);
        }
    }

    @ParameterizedTest(name = "{0} with {1}")
    @CsvSource({"RSA, TLSv1.3", "RSA, TLSv1.2", "EC, TLSv1.3", "EC, TLSv1.2", "Ed25519, TLSv1.3", "Ed25519, TLSv1.2"})
    @DisplayName("serves any key in either version")
    void servesAnyKeyInEitherVersion(String algorithm, String version) throws Exception {
        TestCertificate own = TestCertificate.of(algorithm);
        String large = "0123456789".repeat(20_000);
        try (TestServer server = new TestServer(own.in(folder))) {
            try (RawClient page = client(server, own, version)) {
                page.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
                assertTrue(page.answer().startsWith("HTTP/1.1 200 OK\r\n"));
                assertEquals(version, ((SSLSocket) page.socket).getSession().getProtocol());
                assertTrue(page.atEnd(), "a close_notify, then the end");
            }
            try (RawClient plain = admitted(server, own, version);
                 RawClient deflated = client(server, own, version)) {
                String head = deflated.upgrade("/", DEFLATE);
                assertTrue(RawClient.field(head, "Sec-WebSocket-Extensions").startsWith("permessage-deflate"), head);
                for (String message : new String[] {"hello", large}) {
                    assertEquals(200, server.post(message));
                    assertEquals(message, plain.text());
                    assertEquals(message, new String(RawClient.inflated(deflated.frame().payload()), UTF_8));
                }
                plain.send(RawClient.frame(0x89, "are you there"));
                assertEquals("are you there", plain.frame().text());
                plain.send(RawClient.frame(0x88, RawClient.closing(4000)));
                assertEquals(4000, plain.frame().code());
                assertTrue(plain.atEnd(), "a close_notify, then the end");
            }
            server.awaitListeners(0);
            independentClient(server, own, version, large);
        }
    }

    private static void independentClient(TestServer server, TestCertificate own, String version, String large)
            throws Exception {
        SSLParameters parameters = own.trusting().getDefaultSSLParameters();
        parameters.setProtocols(new String[] {version});
        try (HttpClient client = HttpClient.newBuilder().sslContext(own.trusting()).sslParameters(parameters).build()) {
            String address = "127.0.0.1:" + server.port();
            HttpResponse<String> health = client.send(
                HttpRequest.newBuilder(URI.create("https://" + address + "/healthz")).build(),
                HttpResponse.BodyHandlers.ofString());
            assertEquals("ok", health.body());
            assertEquals(version, health.sslSession().orElseThrow().getProtocol());
            Listener listener = new Listener();
            WebSocket socket =
                client.newWebSocketBuilder().buildAsync(URI.create("wss://" + address + "/"), listener).join();
            assertEquals(200, server.post(large));
            assertEquals("text " + large, listener.next());
            socket.sendPing(ByteBuffer.wrap("you".getBytes(UTF_8))).join();
            assertEquals("pong you", listener.next());
            socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();
            assertEquals("close 1000", listener.next());
            server.awaitListeners(0);
        }
    }

    private static NanoStreamWs.TlsSocket only(TestServer server) {
        server.awaitListeners(1);
        return (NanoStreamWs.TlsSocket) server.server.broadcaster.listeners().getFirst().socket;
    }

    @Test
    @DisplayName("a key update that another thread has answered already is not answered once more")
    void answersAKeyUpdateOnce() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder));
             RawClient client = admitted(server, own, "TLSv1.3")) {
            NanoStreamWs.TlsSocket socket = only(server);
            socket.writing.lock();
            try {
                ((SSLSocket) client.socket).startHandshake(); // in TLS 1.3 it asks for a key update
                TestServer.await("the reading thread has read it", socket.writing::hasQueuedThreads);
                socket.send(ByteBuffer.wrap(new byte[] {(byte) 0x81, 1, 'x'})); // as a lane does
            } finally {
                socket.writing.unlock();
            }
            assertEquals("x", client.text());
            assertIsWell(server, client, "after the update");
        }
    }

    /** A ping is answered next, and a message of the feed comes. */
    private static void assertIsWell(TestServer server, RawClient client, String mark) throws Exception {
        client.send(RawClient.frame(0x89, mark));
        assertEquals(mark, client.frame().text());
        assertEquals(200, server.post("message " + mark));
        assertEquals("message " + mark, client.text());
    }

    @Test
    @DisplayName("a renegotiation of TLS 1.2 ends the connection: it would be work at a client's wish")
    void refusesARenegotiation() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder));
             RawClient client = admitted(server, own, "TLSv1.2");
             RawClient good = admitted(server, own, "TLSv1.2")) {
            server.awaitListeners(2);
            ((SSLSocket) client.socket).startHandshake(); // it sends a hello, and waits for no answer
            server.awaitListeners(1);
            assertTrue(client.isGone());
            assertIsWell(server, good, "meanwhile");
        }
    }

    @Test
    @DisplayName("a client that trusts only the root accepts the chain of the file, whatever text is between")
    void sendsTheChain() throws Exception {
        TestCertificate root = TestCertificate.root(), between = root.signed(true), leaf = between.signed(false);
        String chain = "0 text\nsubject=CN = a\n" + leaf.pem() + "\n0 text -- more\n" + between.pem() + "the end\n";
        try (TestServer server = new TestServer(TestCertificate.files(folder, chain, leaf.key()));
             RawClient client = admitted(server, root)) {
            assertIsWell(server, client, "trusted");
        }
    }

    @Test
    @DisplayName("the same file can have the certificate and its key")
    void takesCertificateAndKeyFromOneFile() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        String both = own.key() + own.pem();
        try (TestServer server = new TestServer(TestCertificate.files(folder, both, both));
             RawClient client = admitted(server, own)) {
            assertIsWell(server, client, "trusted");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"TLSv1.3", "TLSv1.2"})
    @DisplayName("RFC 7301: http/1.1 of an offer is chosen, an offer without it gets an alert, none is needed")
    void choosesHttp11(String version) throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder))) {
            for (String[] offer : new String[][] {{"h2", "http/1.1"}, {"http/1.1"}, {}})
                try (SSLSocket socket = offering(server, own, version, offer)) {
                    socket.startHandshake();
                    assertEquals(offer.length == 0 ? "" : "http/1.1", socket.getApplicationProtocol());
                }
            try (SSLSocket socket = offering(server, own, version, "h2")) {
                SSLException alert = assertThrows(SSLException.class, socket::startHandshake);
                assertTrue(alert.getMessage().contains("no_application_protocol"), alert.getMessage());
            }
            String line = server.awaitLog("refused");
            assertTrue(line.matches("\\S+ refused 127[.]0[.]0[.]1:\\d+: TLS handshake failed: \".*\""), line);
        }
    }

    private static SSLSocket offering(TestServer server, TestCertificate own, String version, String... protocols)
            throws IOException {
        SSLSocket socket = connect(server.port(), own.trusting(), version);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setApplicationProtocols(protocols);
        socket.setSSLParameters(parameters);
        return socket;
    }

    /** What is said of two files that do not do; FOLDER stands for their folder. */
    private String refusal(String chain, String key) {
        TestCertificate.files(folder, chain, key);
        return refusalOf("cert.pem", "key.pem");
    }

    private String refusalOf(String certificateFile, String keyFile) {
        IOException refusal = assertThrows(IOException.class, () -> new NanoStreamWs.Tls(
            folder.resolve(certificateFile).toString(), folder.resolve(keyFile).toString(), Instant::now, null));
        return refusal.getMessage().replace(folder.toString() + '/', "");
    }

    @Test
    @DisplayName("files that do not do: the message says which one, and why")
    void saysWhichFileDoesNotDo() throws Exception {
        TestCertificate own = TestCertificate.of("EC"), rsa = TestCertificate.of("RSA");
        String chain = own.pem(), key = own.key();
        String half = chain.substring(0, chain.length() / 2), halfKey = key.substring(0, key.length() / 2);
        for (String none : new String[] {"", "no PEM", key})
            assertEquals("cert.pem has no certificate in PEM form", refusal(none, key));
        for (String broken : new String[] {half, chain + half, chain.replace("MII", "MIIA"),
                TestCertificate.pem("CERTIFICATE", new byte[0]), TestCertificate.pem("CERTIFICATE", new byte[99])})
            assertEquals("cert.pem has a certificate that cannot be read", refusal(broken, key));
        for (String none : new String[] {"", "no PEM", chain})
            assertEquals("key.pem has no private key in PEM form", refusal(chain, none));
        for (String other : new String[] {halfKey, rsa.key(), TestCertificate.of("Ed25519").key(),
                TestCertificate.pem("PRIVATE KEY", new byte[0]), TestCertificate.pem("PRIVATE KEY", new byte[99])})
            assertEquals("key.pem has no EC key, as the certificate wants", refusal(chain, other));
        assertEquals("key.pem has no RSA key, as the certificate wants", refusal(rsa.pem(), key));
        for (String label : new String[] {"RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"})
            for (String head : new String[] {"", "Proc-Type: 4,ENCRYPTED\n\n"}) {
                String older = TestCertificate.pem("EC PARAMETERS", new byte[10])
                    + TestCertificate.pem(label, new byte[99]).replaceFirst("\n", "\n" + head);
                assertEquals("key.pem has an " + label + "; convert it: openssl pkcs8 -topk8 -nocrypt -in key.pem "
                    + "-out key.pem.pkcs8", refusal(chain, older));
            }
        String another = "key.pem is not the key of the certificate in cert.pem";
        assertEquals(another, refusal(chain, TestCertificate.of("EC").key()));
        assertEquals(another, refusal(chain, TestCertificate.key("EC", 384)));
        assertEquals(another, refusal(rsa.pem(), TestCertificate.of("RSA").key()));
        assertEquals(another, refusal(rsa.pem(), TestCertificate.key("RSA", 1024)));
        assertEquals(another, refusal(TestCertificate.of("Ed25519").pem(), TestCertificate.of("Ed25519").key()));
        assertEquals("cannot read none (No such file or directory)", refusalOf("none", "key.pem"));
        assertEquals("cannot read none (No such file or directory)", refusalOf("cert.pem", "none"));
        assertEquals("cannot read " + folder + " (Is a directory)", refusalOf("cert.pem", ""));
    }

    /** A hello of TLS 1.2 as a client's engine makes it: records. */
    private static byte[] hello(TestCertificate own) throws SSLException {
        SSLEngine engine = own.trusting().createSSLEngine();
        engine.setUseClientMode(true);
        engine.setEnabledProtocols(new String[] {"TLSv1.2"});
        ByteBuffer hello = ByteBuffer.allocate(40_000);
        engine.wrap(ByteBuffer.allocate(0), hello);
        return Arrays.copyOf(hello.array(), hello.position());
    }

    @Test
    @DisplayName("records without content, sent without pause during the handshake, keep nobody out")
    void emptyRecordsHoldNoProcessor() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        byte[] warning = RawClient.bytes(21, 3, 3, 0, 2, 1, 90); // user_canceled: only a warning
        byte[] warnings = new byte[warning.length * 5_000];
        for (int i = 0; i < warnings.length; i++)
            warnings[i] = warning[i % warning.length];
        int count = Runtime.getRuntime().availableProcessors() + 1;
        List<RawClient> flooding = new ArrayList<>();
        try (TestServer server = new TestServer(own.in(folder))) {
            for (int i = 0; i < count; i++) {
                RawClient client = new RawClient(server.port());
                flooding.add(client);
                client.send(hello(own));
                assertEquals(22, client.in.readByte(), "the server's part of the handshake");
                Thread.ofPlatform().daemon().start(() -> {
                    try {
                        while (true)
                            client.send(warnings);
                    } catch (IOException e) {
                        // the test is over
                    }
                });
            }
            try (RawClient good = admitted(server, own)) {
                assertIsWell(server, good, "meanwhile");
            }
            TestServer.await("the good one has gone", () -> server.server.door.acceptor().open().size() <= count);
            assertEquals(count, server.server.door.acceptor().open().size(), "they are still at it");
            for (RawClient client : flooding)
                client.close();
        }
    }
}
