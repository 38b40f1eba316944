import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@SuppressWarnings("try") // a client is only there
@Tag("slow")
@DisplayName("TLS (RFC 8446, 5246, 7301): listeners connect by wss://")
class TlsTest {
    private static final String DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate";
    /** A key of a curve that the JDK does not have, secp256k1, and a certificate for it. */
    private static final String KOBLITZ_KEY = "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQg3Lxoogr7eQt8UEhfWQC9s9gMkm95Dow/9eKN1a+VuBKhRANC"
        + "AAQov9VLxiKbwthKoxAHKopPZtMoypYHPt495wNaHb+r22s4PxfCbSq4dRre4ApyHfasOg35HzQPf8ONo4Y3UpY+",
        KOBLITZ = "MIIBbDCCARKgAwIBAgIUaw7ejE5Axhvrlxbh3moqmXVurLEwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAgFw0yNjEx"
        + "MjUyMTE5MDVaGA8yMTI2MTEwMTIxMTkwNVowDDEKMAgGA1UEAwwBYTBWMBAGByqGSM49AgEGBSuBBAAKA0IABCi/1UvG"
        + "IpvC2EqjEAcqik9m0yjKlgc+3j3nA1odv6vbazg/F8JtKrh1Gt7gCnId9qw6DfkfNA9/w42jhjdSlj6jUzBRMB0GA1Ud"
        + "DgQWBBRjwwnNPnXuXy5BzQSM+xsd/3ufjDAfBgNVHSMEGDAWgBRjwwnNPnXuXy5BzQSM+xsd/3ufjDAPBgNVHRMBAf8E"
        + "BTADAQH/MAoGCCqGSM49BAMCA0gAMEUCID02esYDuYrcdX/q07cyJl8ZsPqeAe9/yPbO340z34ahAiEAydc7kv3XseDV"
        + "9c7BUJcJWvVAaacj4OgSLjl3mc23VdE=";

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
            Events listener = new Events();
            WebSocket socket =
                client.newWebSocketBuilder().buildAsync(URI.create("wss://" + address + "/"), listener).join();
            assertEquals(200, server.post(large));
            assertEquals("text " + large, listener.next());
            socket.sendPing(ByteBuffer.wrap("you".getBytes(UTF_8))).join();
            assertEquals("pong you", listener.next());
            socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();
            assertEquals("close 1000 ", listener.next());
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
        String another = "key.pem is not the key of the first certificate in cert.pem";
        assertEquals(another, refusal(chain, TestCertificate.of("EC").key()));
        for (String sized : new String[] {refusal(chain, TestCertificate.key("EC", 384)),
                refusal(rsa.pem(), TestCertificate.key("RSA", 1024))})
            assertTrue(sized.startsWith(another), sized);
        assertEquals(another, refusal(rsa.pem(), TestCertificate.of("RSA").key()));
        assertEquals(another, refusal(TestCertificate.of("Ed25519").pem(), TestCertificate.of("Ed25519").key()));
        TestCertificate root = TestCertificate.root(), between = root.signed(true), leaf = between.signed(false);
        for (String mixed : new String[] {leaf.pem() + root.pem() + between.pem(), leaf.pem() + leaf.pem(),
                leaf.pem() + chain})
            assertEquals("cert.pem has no chain of certificates: each has to be followed by that of its issuer, and "
                + "none may be there twice", refusal(mixed, leaf.key()));
        byte[] koblitz = Base64.getDecoder().decode(KOBLITZ), koblitzKey = Base64.getDecoder().decode(KOBLITZ_KEY);
        String useless =
            refusal(TestCertificate.pem("CERTIFICATE", koblitz), TestCertificate.pem("PRIVATE KEY", koblitzKey));
        assertTrue(useless.startsWith(another + ", or none that can be used: "), useless);
        assertTrue(useless.contains("secp256k1"), useless);
        assertEquals("cannot read none (No such file or directory)", refusalOf("none", "key.pem"));
        assertEquals("cannot read none (No such file or directory)", refusalOf("cert.pem", "none"));
        assertEquals("cannot read " + folder + " (Is a directory)", refusalOf("cert.pem", ""));
        String most = chain + "\n".repeat(NanoStreamWs.Identity.MAX_FILE - chain.length());
        assertEquals(another, refusal(most, TestCertificate.of("EC").key()));
        assertEquals("cannot read cert.pem (It has more than 1048576 bytes)", refusal(most + '\n', key));
    }

    /** A hello as a client's engine makes it: records. */
    private static byte[] hello(TestCertificate own, String version) throws SSLException {
        SSLEngine engine = own.trusting().createSSLEngine();
        engine.setUseClientMode(true);
        engine.setEnabledProtocols(new String[] {version});
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
                client.send(hello(own, "TLSv1.2"));
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

    @ParameterizedTest
    @ValueSource(strings = {"TLSv1.3", "TLSv1.2"})
    @DisplayName("no byte of an answer comes in plain after a hello")
    void saysNothingInPlain(String version) throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder))) {
            for (String request : new String[] {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET /none HTTP/1.1\r\n\r\n",
                    "no HTTP\r\n\r\n", RawClient.handshake("/").replace("13", "12")}) {
                TlsWire wire = new TlsWire(server.port());
                try (RawClient client = new RawClient(wire.over(own.trusting(), version))) {
                    client.send(request);
                    assertTrue(client.answer().startsWith("HTTP/1.1 "));
                    assertTrue(client.atEnd());
                }
                assertTrue(wire.endsWithAlert(), "a close_notify is last");
                assertNothingIsPlain(wire);
            }
            TlsWire wire = new TlsWire(server.port());
            try (RawClient client = new RawClient(wire.over(own.trusting(), version))) {
                client.upgrade("/");
                assertIsWell(server, client, "hello");
                client.send(RawClient.frame(0x08, "")); // a fault
                assertEquals(1002, client.frame().code());
                assertTrue(client.atEnd());
            }
            assertTrue(wire.endsWithAlert(), "a close_notify is last");
            assertNothingIsPlain(wire);
            for (String broken : new String[] {"\u0016GET / HTTP/1.1\r\n\r\n", "\u0016\3\1\0\4\u0063\0\0\0"})
                assertFalse(RawClient.lastAnswer(server.port(), broken).contains("HTTP"));
        }
    }

    private static void assertNothingIsPlain(TlsWire wire) {
        assertTrue(wire.records().size() > 3, "records alone");
        assertFalse(new String(wire.received(), ISO_8859_1).matches("(?s).*(HTTP/1|hello).*"));
    }

    @Test
    @DisplayName("whoever speaks no TLS, whatever the first byte, gets a 400 in plain text and a line in the log")
    void tellsAPlainClientThatThisIsATlsPort() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        String plain = ": It does not speak TLS; this port has wss:// and https:// alone";
        try (TestServer server = new TestServer(own.in(folder))) {
            String request = RawClient.handshake("/?t=" + TestServer.DOCUMENTED_TOKEN);
            for (String text : new String[] {request, "GET / HTTP/1.1\r\n\r\n" + "x".repeat(10_000)}) {
                String answer = RawClient.lastAnswer(server.port(), text);
                assertTrue(answer.startsWith("HTTP/1.1 400 Bad Request\r\n"), answer);
                assertEquals("400 Bad Request\n", RawClient.body(answer));
            }
            for (int first = 0; first < 256; first++)
                if (first != 22)
                    assertTrue(RawClient.lastAnswer(server.port(), "" + (char) first).startsWith("HTTP/1.1 400 "));
            assertTrue(server.awaitLog("refused").matches("\\S+ refused 127[.]0[.]0[.]1:\\d+" + plain));
            TestServer.await("all have gone", () -> server.server.door.acceptor().open().isEmpty());
            assertEquals(257, server.count(NanoStreamWs.Event.REFUSED));
            assertFalse(server.log().contains("eyJ"), "no token in the log");
        }
    }

    @Test
    @DisplayName("a hello on a plain port ends at once, and the log asks whether it is TLS")
    void endsAHelloOnAPlainPort() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer();
             SSLSocket socket = connect(server.port(), own.trusting())) {
            assertThrows(SSLException.class, socket::startHandshake);
            server.awaitLog("is it TLS? (--tls-cert)");
        }
    }

    @Test
    @DisplayName("a client that does not trust the certificate is in the log, with what it says of it")
    void logsAHandshakeThatFails() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder))) {
            for (String version : new String[] {"TLSv1.3", "TLSv1.2"})
                try (SSLSocket socket = connect(server.port(), TestCertificate.root().trusting(), version)) {
                    assertThrows(SSLException.class, socket::startHandshake);
                }
            String line = server.awaitLog("TLS handshake failed");
            assertTrue(line.contains("certificate_unknown"), line);
            TestServer.await("both", () -> server.count(NanoStreamWs.Event.REFUSED) == 2);
            for (String version : new String[] {"TLSv1.3", "TLSv1.2"})
                try (Socket openssl = new Socket("127.0.0.1", server.port())) { // it sends the alert as it is
                    openssl.getOutputStream().write(hello(own, version));
                    assertEquals(22, openssl.getInputStream().read(), "a hello");
                    openssl.getOutputStream().write(RawClient.bytes(21, 3, 3, 0, 2, 2, 48));
                    openssl.shutdownOutput();
                    String said = ": TLS handshake failed: \"Received fatal alert: unknown_ca\"";
                    int times = version.equals("TLSv1.3") ? 2 : 3;
                    TestServer.await(version, () -> server.log().split(Pattern.quote(said), -1).length == times);
                }
            try (RawClient large = new RawClient(server.port())) {
                large.send(RawClient.bytes(22, 3, 1, 0x48, 1)); // 18 KiB and a byte
                assertTrue(large.isGone());
                server.awaitLog("record is too large");
            }
        }
    }

    /** The server's end of a connection over TLS, and its client. */
    private record Ends(NanoStreamWs.TlsSocket server, TlsWire wire, SSLSocket client) implements AutoCloseable {
        /** They have not shaken hands. */
        static Ends of(TestCertificate own, Path folder) throws Exception {
            own.in(folder);
            var tls = new NanoStreamWs.Tls(folder.resolve("cert.pem").toString(), folder.resolve("key.pem").toString(),
                Instant::now, null);
            SSLEngine engine = tls.identity.context().createSSLEngine();
            engine.setUseClientMode(false);
            try (ServerSocket loop = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
                TlsWire wire = new TlsWire(loop.getLocalPort());
                SSLSocket client = wire.over(own.trusting());
                Socket accepted = loop.accept();
                Thread.ofVirtual().start(() -> {
                    try {
                        client.startHandshake();
                    } catch (IOException e) {
                        // the server has ended it
                    }
                });
                int first = accepted.getInputStream().read();
                return new Ends(new NanoStreamWs.TlsSocket(accepted, engine, first), wire, client);
            }
        }

        @Override
        public void close() throws IOException {
            server.close();
            wire.close();
        }
    }

    @Test
    @DisplayName("a handshake has a deadline, and bytes that come one by one do not put it off")
    void aHandshakeHasADeadline() throws Exception {
        try (ServerSocket loop = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"));
             TlsWire wire = new TlsWire(loop.getLocalPort()); Socket accepted = loop.accept()) {
            TestCertificate own = TestCertificate.of("EC");
            SSLEngine engine = own.trusting().createSSLEngine();
            engine.setUseClientMode(false);
            wire.pause = 10_000_000;
            byte[] hello = hello(own, "TLSv1.2");
            Thread.ofVirtual().start(() -> {
                try {
                    wire.getOutputStream().write(hello);
                } catch (IOException e) {
                    // the test is over
                }
            });
            NanoStreamWs.TlsSocket socket =
                new NanoStreamWs.TlsSocket(accepted, engine, accepted.getInputStream().read());
            socket.setSoTimeout(200);
            assertThrows(SocketTimeoutException.class, socket::handshake);
            assertTrue(wire.drops < hello.length, "it was still sending");
            assertTrue(accepted.getSoTimeout() < 200, "the last byte was waited for no longer than was left");
        }
    }

    @Test
    @DisplayName("nor do those of a record with a head; an answer to it is still read, and then there is none")
    void aHeadInARecordHasADeadline() throws Exception {
        try (Ends ends = Ends.of(TestCertificate.of("EC"), folder)) {
            ends.server.handshake();
            ends.wire.pause = 10_000_000;
            byte[] head = RawClient.handshake("/").getBytes(ISO_8859_1);
            Thread sender = Thread.ofVirtual().start(() -> {
                try {
                    ends.client.getOutputStream().write(head);
                } catch (IOException e) {
                    // the test is over
                }
            });
            var reader = new NanoStreamWs.RequestReader(ends.server, ends.server.out, n -> { });
            assertThrows(EOFException.class, () -> reader.head(200), "no byte of a head has come");
            assertTrue(ends.wire.drops < head.length, "it was still sending");
            ends.wire.pause = 1;
            ends.server.setSoTimeout(0);
            sender.join();
            byte[] read = new byte[1000];
            int n = ends.server.in.read(read, 0, read.length); // it goes on in the middle of the record
            assertEquals(RawClient.handshake("/"), new String(read, 0, n, ISO_8859_1));
        }
    }

    @Test
    @DisplayName("a listener has no deadline")
    void aListenerHasNoDeadline() throws Exception {
        try (Ends ends = Ends.of(TestCertificate.of("EC"), folder)) {
            ends.server.setSoTimeout(5_000);
            ends.server.handshake();
            ends.server.setSoTimeout(50);
            ends.server.setSoTimeout(0);
            FutureTask<Integer> read = new FutureTask<>(() -> ends.server.in.read(new byte[9], 0, 9));
            Thread.ofVirtual().start(read);
            assertThrows(TimeoutException.class, () -> read.get(150, TimeUnit.MILLISECONDS));
            ends.client.getOutputStream().write(new byte[2]);
            assertEquals(2, read.get(20, TimeUnit.SECONDS));
            assertEquals(0, ends.server.connection.getSoTimeout());
        }
    }

    @Test
    @DisplayName("a connection counts from its first byte until it is a listener or gone")
    void countsUntilItIsAListener() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder))) {
            var unanswered = server.server.door.acceptor().unanswered;
            try (RawClient silent = new RawClient(server.port()); RawClient begun = new RawClient(server.port())) {
                begun.send(RawClient.bytes(22));
                TestServer.await("one counts", () -> unanswered.get() == NanoStreamWs.Tls.BYTES);
                try (SSLSocket done = connect(server.port(), own.trusting())) {
                    done.startHandshake();
                    assertEquals(2 * NanoStreamWs.Tls.BYTES, unanswered.get());
                }
                TestServer.await("it has gone", () -> unanswered.get() == NanoStreamWs.Tls.BYTES);
            }
            TestServer.await("all have gone", () -> server.server.door.acceptor().open().isEmpty());
            assertEquals(0, server.count(NanoStreamWs.Event.FAULT), server.log());
            try (RawClient listener = admitted(server, own)) {
                TestServer.await("none counts", () -> unanswered.get() == 0);
                assertIsWell(server, listener, "hello");
            }
        }
    }

    @Test
    @DisplayName("the heap bounds the listeners: each may hold what a record takes in either direction")
    void theHeapBoundsTheListeners() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (ServerProcess server = ServerProcess.watched("-Xmx48m", line -> { }, own.in(folder))) {
            int most = Integer.parseInt(server.await("wss://\\S+ (\\d+) at most$"));
            assertTrue(most > 0 && most < 48 * 1024 / 32, most + " at most");
            assertTrue(most * 27L < 16 * 1024, "KiB; the rest is needed for the rest");
        }
    }

    @Test
    @DisplayName("a listener that ends in the middle of something, or sends garbage, takes nobody along")
    void endsInTheMiddle() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        byte[] garbage = "\u0017\3\3\0\u0020garbage".repeat(9).getBytes(ISO_8859_1);
        try (TestServer server = new TestServer(own.in(folder)); RawClient good = admitted(server, own)) {
            for (String version : new String[] {"TLSv1.3", "TLSv1.2"})
                for (int how = 0; how < 5; how++) {
                    TlsWire wire = new TlsWire(server.port());
                    try (RawClient client = new RawClient(wire.over(own.trusting(), version))) {
                        client.upgrade("/");
                        server.awaitListeners(2);
                        client.send(new byte[] {(byte) 0x81}); // half a frame's header
                        switch (how) {
                            case 0 -> client.socket.shutdownOutput(); // with a close_notify
                            case 3 -> wire.shutdownOutput(); // without one
                            case 1 -> wire.getOutputStream().write(garbage);
                            case 2 -> wire.getOutputStream().write(RawClient.bytes(23, 3, 3, 0x48, 1)); // too large
                            default -> {
                                wire.getOutputStream().write(RawClient.bytes(23, 3, 3, 1, 0, 7));
                                wire.setSoLinger(true, 0);
                                wire.close();
                            }
                        }
                        server.awaitListeners(1);
                    }
                }
            assertIsWell(server, good, "meanwhile");
            assertEquals(0, server.count(NanoStreamWs.Event.FAULT), server.log());
        }
    }

    @Test
    @DisplayName("a key update is a read of nothing, which counts: a flood of such ends as one of frames does")
    void aKeyUpdateIsAReadOfNothing() throws Exception {
        try (Ends ends = Ends.of(TestCertificate.of("EC"), folder)) {
            ends.server.handshake();
            Thread updating = Thread.ofPlatform().start(() -> {
                try {
                    ends.client.startHandshake();
                    ends.client.getOutputStream().write(new byte[2]);
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
            assertEquals(0, ends.server.in.read(new byte[9], 0, 9));
            assertEquals(2, ends.server.in.read(new byte[9], 0, 9));
            updating.join();
        }
        InputStream nothing = new InputStream() {
            @Override
            public int read() {
                throw new AssertionError("read() is not expected");
            }

            @Override
            public int read(byte[] bytes, int offset, int length) {
                LockSupport.unpark(Thread.currentThread()); // so no pause is one
                return 0;
            }
        };
        NanoStreamWs.FrameReader reader = new NanoStreamWs.FrameReader(nothing, new byte[0], TestServer.PLAIN,
            NanoStreamWs.Bounds.LISTENER, (type, bytes, offset, length, last) -> { });
        assertEquals(1008, assertThrows(NanoStreamWs.ProtocolException.class, reader::next).code);
    }

    @Test
    @DisplayName("what brings nothing has a bound in bytes: the engine may keep all of it, as the beginning of a message")
    void whatBringsNothingHasABound() throws Exception {
        try (Ends ends = Ends.of(TestCertificate.of("EC"), folder)) {
            ends.server.handshake();
            int few = NanoStreamWs.TlsSocket.MAX_EMPTY / 64, many = NanoStreamWs.TlsSocket.MAX_EMPTY / 16;
            Thread updating = Thread.ofVirtual().start(() -> {
                try {
                    for (int i = 0; i < 3 * few + many; i++) {
                        ends.client.startHandshake(); // a key update: 22 to 38 bytes
                        if (i < 3 * few && i % few == 0)
                            ends.client.getOutputStream().write(new byte[1]);
                    }
                } catch (IOException e) {
                    // the server has ended it
                }
            });
            byte[] read = new byte[9];
            for (int brought = 0; brought < 3; )
                brought += ends.server.in.read(read, 0, 9);
            assertThrows(SSLException.class, () -> {
                for (int i = 0; i < many; i++)
                    assertEquals(0, ends.server.in.read(read, 0, 9));
            });
            ends.close();
            updating.join();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"TLSv1.3", "TLSv1.2"})
    @DisplayName("an answer is not lost although the client sends on")
    void anAnswerLingers(String version) throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder)); RawClient client = client(server, own, version)) {
            client.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" + "x".repeat(100_000));
            assertTrue(client.answer().endsWith("\r\n\r\nok"));
            assertTrue(client.atEnd());
        }
    }

    @Test
    @DisplayName("messages, pongs and the answers to key updates leave whole and in order, whichever thread writes")
    void writesWholeFramesInOrder() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder));
             RawClient client = admitted(server, own, "TLSv1.3")) {
            int pings = 300;
            Thread pinging = Thread.ofPlatform().start(() -> {
                try {
                    for (int i = 0; i < pings; i++) {
                        client.send(RawClient.frame(0x89, "ping " + i));
                        if (i % 10 == 0)
                            ((SSLSocket) client.socket).startHandshake(); // a key update
                    }
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
            List<String> messages = new ArrayList<>();
            for (int i = 0; i < 150; i++)
                messages.add(i + "x".repeat(1 << i % 15));
            messages.add("y".repeat(1 << 20));
            Thread posting = Thread.ofPlatform().start(() -> {
                try {
                    for (String message : messages)
                        server.post(message);
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
            int texts = 0, pongs = 0;
            while (texts < messages.size() || pongs < pings) {
                RawClient.Frame frame = client.frame();
                if (frame.isText())
                    assertEquals(messages.get(texts++), frame.text());
                else
                    assertEquals("ping " + pongs++, frame.text());
            }
            posting.join();
            pinging.join();
        }
    }

    @Test
    @DisplayName("where the server asks for key updates nothing is lost in either direction")
    void asksForKeyUpdates() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        Path properties = Files.writeString(folder.resolve("java.security"),
            "jdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate 2^12\n");
        String jvm = "-Djava.security.properties=" + properties + " -Djavax.net.debug=ssl:handshake";
        try (ServerProcess server = ServerProcess.watched(jvm, line -> { }, own.in(folder))) {
            SSLSocket socket = connect(server.port(), own.trusting(), "TLSv1.3");
            socket.setEnabledCipherSuites(new String[] {"TLS_AES_128_GCM_SHA256"});
            try (RawClient client = new RawClient(socket); RawClient publisher = new RawClient(server.feedPort())) {
                client.upgrade("/");
                for (int i = 0; i < 100; i++) {
                    String message = i + "x".repeat(300);
                    publisher.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + message.length() + "\r\n\r\n"
                        + message);
                    assertEquals(200, RawClient.status(publisher.answer()));
                    assertEquals(message, client.text());
                    client.send(RawClient.frame(0x89, "x".repeat(100) + i));
                    assertEquals("x".repeat(100) + i, client.frame().text());
                }
            }
            server.await("Produced KeyUpdate");
            server.await("Consuming KeyUpdate");
        }
    }

    @ParameterizedTest(name = "its pings are answered: {0}")
    @ValueSource(booleans = {true, false})
    @DisplayName("a listener that takes nothing is dropped in time, with a reset, and nobody else waits")
    void dropsAListenerThatTakesNothing(boolean pings) throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        List<String> args = new ArrayList<>(List.of("--max-lag=1000000000", "--write-timeout=0.3"));
        args.addAll(List.of(own.in(folder)));
        try (TestServer server = new TestServer(args.toArray(String[]::new)); RawClient good = admitted(server, own)) {
            TlsWire wire = new TlsWire(server.port(), 4096);
            try (RawClient stuck = new RawClient(wire.over(own.trusting()))) {
                stuck.upgrade("/");
                server.awaitListeners(2);
                for (int i = 0; i < 20; i++) {
                    if (pings)
                        stuck.send(RawClient.frame(0x89, "a pong waits as well"));
                    String message = i + "x".repeat(256 * 1024);
                    assertEquals(200, server.post(message));
                    assertEquals(message, good.text());
                }
                String line = server.awaitLog("--write-timeout");
                assertTrue(line.endsWith(": one write stood for 300 ms (--write-timeout), now 1"), line);
                assertThrows(SocketException.class, () -> wire.getInputStream().readAllBytes(), "a reset");
            }
            assertIsWell(server, good, "afterwards");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"TLSv1.3", "TLSv1.2"})
    @DisplayName("at a shutdown a listener gets what was posted, 1001, and a close_notify behind it")
    void saysGoodbye(String version) throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        try (TestServer server = new TestServer(own.in(folder))) {
            TlsWire wire = new TlsWire(server.port());
            try (RawClient client = new RawClient(wire.over(own.trusting(), version))) {
                client.upgrade("/");
                for (int i = 0; i < 50; i++)
                    assertEquals(200, server.post("x".repeat(10_000) + i));
                Thread closing = Thread.ofPlatform().start(server::close);
                for (int i = 0; i < 50; i++)
                    assertEquals("x".repeat(10_000) + i, client.text());
                RawClient.Frame close = client.frame();
                assertEquals(1001, close.code());
                client.send(RawClient.frame(0x88, close.payload()));
                assertTrue(client.atEnd());
                closing.join();
            }
            assertTrue(wire.endsWithAlert(), "nothing was cut off");
        }
    }

    @Test
    @DisplayName("new files are taken for new connections; what does not do is said once, and the old ones stay")
    void takesNewFiles() throws Exception {
        TestCertificate old = TestCertificate.of("EC"), renewed = TestCertificate.of("Ed25519");
        String warning = " warning ", stays = "; what was read before stays in use";
        Path certificate = folder.resolve("cert.pem"), key = folder.resolve("key.pem");
        try (TestServer server = new TestServer(old.in(folder)); RawClient listener = admitted(server, old)) {
            server.server.timer.shutdownNow(); // it looks as well, in the midst of a change perhaps
            long before = server.count(NanoStreamWs.Event.WARNING), starts = server.count(NanoStreamWs.Event.START);
            String half = renewed.pem().substring(0, 300);
            String[][] bad = {
                {half, old.key(), certificate + " has a certificate that cannot be read"},
                {renewed.pem(), old.key(), key + " has no EdDSA key, as the certificate wants"},
                {old.pem(), TestCertificate.key("EC", 256),
                    key + " is not the key of the first certificate in " + certificate},
                {null, old.key(), "cannot read " + certificate + " (No such file or directory)"}};
            for (String[] files : bad) {
                Files.deleteIfExists(certificate);
                if (files[0] != null)
                    Files.writeString(certificate, files[0]);
                Files.writeString(key, files[1]);
                for (int i = 0; i < 3; i++)
                    server.server.tls.look();
                server.awaitLog(warning + files[2] + stays);
                before++;
                assertEquals(before, server.count(NanoStreamWs.Event.WARNING), server.log());
                admitted(server, old).close();
            }
            old.in(folder);
            server.server.tls.look();
            server.server.tls.look();
            server.awaitLog(" start " + certificate + " is in use, valid until "
                + old.certificate().getNotAfter().toInstant());
            assertEquals(starts + 1, server.count(NanoStreamWs.Event.START), "as they were: once, after a warning");
            Files.delete(certificate);
            server.server.tls.look(); // warned of once more where they do not do again
            before++;
            assertEquals(before, server.count(NanoStreamWs.Event.WARNING), server.log());
            renewed.in(folder);
            server.server.tls.look();
            server.server.tls.look();
            server.awaitLog(" start " + certificate + " is in use, valid until "
                + renewed.certificate().getNotAfter().toInstant());
            assertEquals(starts + 2, server.count(NanoStreamWs.Event.START));
            assertEquals(before, server.count(NanoStreamWs.Event.WARNING), server.log());
            admitted(server, renewed).close();
            assertThrows(SSLException.class, () -> admitted(server, old));
            assertIsWell(server, listener, "with the old one");
        }
    }

    @Test
    @DisplayName("a certificate that soon expires, or has, is said at the start and once a day, until it is renewed")
    void saysWhenItExpires() throws Exception {
        Instant end = Instant.now().truncatedTo(ChronoUnit.SECONDS).plus(Duration.ofDays(20));
        TestCertificate own = TestCertificate.until(end);
        try (TestServer server = new TestServer(own.in(folder))) {
            long before = server.count(NanoStreamWs.Event.WARNING);
            for (int hour = 0; hour < 30 * 24; hour++) {
                server.now = end.minus(Duration.ofDays(20)).plus(Duration.ofHours(hour));
                server.server.tls.look();
            }
            assertEquals(before + 24, server.count(NanoStreamWs.Event.WARNING)); // of 30 days the last 24
            String line = server.awaitLog("valid until");
            assertTrue(line.endsWith(" warning " + folder.resolve("cert.pem") + " has a certificate that is valid "
                + "until " + end + "; a new one is taken from the same files without a restart"), line);
            own.renewed(server.now.plus(Duration.ofDays(10))).in(folder);
            server.server.tls.look();
            assertEquals(before + 25, server.count(NanoStreamWs.Event.WARNING), "at once: it is another one");
        }
        TestCertificate expired = TestCertificate.until(Instant.now().minus(Duration.ofDays(1)));
        try (TestServer server = new TestServer(expired.in(folder))) {
            assertEquals(2, server.count(NanoStreamWs.Event.WARNING), "at once; the other one is of --secret");
            server.awaitLog(" has a certificate that has expired at "
                + expired.certificate().getNotAfter().toInstant() + ", so clients refuse it; a new one is taken ");
        }
    }

    @Test
    @DisplayName("a certificate that is not valid yet is said, with what a slow clock has to do with it, until it is")
    void saysWhenItIsNotValidYet() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        Instant begin = own.certificate().getNotBefore().toInstant();
        try (TestServer server = new TestServer(own.in(folder))) {
            long before = server.count(NanoStreamWs.Event.WARNING);
            server.now = begin.minusSeconds(1);
            server.server.tls.look();
            server.server.tls.look();
            server.awaitLog(" warning " + folder.resolve("cert.pem") + " has a certificate that is not valid before "
                + begin + ", so clients refuse it, unless this machine's clock is slow; ");
            server.now = begin.plus(Duration.ofDays(2));
            server.server.tls.look();
            assertEquals(before + 1, server.count(NanoStreamWs.Event.WARNING), server.log());
        }
    }

    @Test
    @DisplayName("while the files do not do, the warning that the certificate expires says why no new one is taken")
    void saysWhyNoNewOneIsTaken() throws Exception {
        Instant end = Instant.now().truncatedTo(ChronoUnit.SECONDS).plus(Duration.ofDays(20));
        try (TestServer server = new TestServer(TestCertificate.until(end).in(folder))) {
            Path key = folder.resolve("key.pem");
            Files.delete(key);
            server.server.tls.look();
            server.now = end.minus(Duration.ofDays(10));
            server.server.tls.look();
            server.awaitLog(" has a certificate that is valid until " + end + "; the files that are there now do not "
                + "do: cannot read " + key + " (No such file or directory)");
        }
    }

    @Test
    @Tag("slow") // they are looked at every ten seconds
    @DisplayName("renewed files are found by the server itself, within a minute")
    void looksAtTheFilesByItself() throws Exception {
        try (TestServer server = new TestServer(TestCertificate.of("EC").in(folder))) {
            TestCertificate renewed = TestCertificate.of("EC");
            renewed.in(folder);
            server.awaitLog(" is in use, valid until ");
            admitted(server, renewed).close();
        }
    }

    @Test
    @DisplayName("the metrics say when the certificate in use expires; without TLS there is no such figure")
    void tellsWhenTheCertificateInUseExpires() throws Exception {
        String figure = "nanostream_certificate_expiry_timestamp_seconds";
        TestCertificate own = TestCertificate.of("EC");
        Instant later = own.certificate().getNotAfter().toInstant().plusSeconds(1);
        try (TestServer server = new TestServer(own.in(folder)); TestServer plain = new TestServer()) {
            assertEquals(later.getEpochSecond() - 1, metrics(server).get(figure));
            own.renewed(later).in(folder);
            server.server.tls.look();
            assertEquals(later.getEpochSecond(), metrics(server).get(figure));
            assertFalse(metrics(plain).families.containsKey(figure));
        }
    }

    private static Exposition metrics(TestServer server) throws IOException {
        return Exposition.of(server.feedPort());
    }

    @Test
    @DisplayName("the client of a proxy that speaks TLS to the server is the one that X-Forwarded-For names")
    void namesTheClientOfAProxy() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        List<String> args = new ArrayList<>(List.of("--proxy=127.0.0.1"));
        args.addAll(List.of(own.in(folder)));
        try (TestServer server = new TestServer(args.toArray(String[]::new)); RawClient client = client(server, own)) {
            assertEquals(101, RawClient.status(client.upgrade("/", "X-Forwarded-For: 203.0.113.7")));
            server.awaitLog(" admitted 203.0.113.7 without origin, now 1");
        }
    }

    @Test
    @DisplayName("files that do not do end the process: one line, no stack trace, exit status 1; one option alone, 2")
    void endsTheProcessForFilesThatDoNotDo() throws Exception {
        String[] files = TestCertificate.files(folder, "none", "none");
        try (ServerProcess server = ServerProcess.of("--host=127.0.0.1", "--port=0", files[0], files[1]);
             ServerProcess alone = ServerProcess.of("--tls-cert=x");
             ServerProcess other = ServerProcess.of("--tls-key=x")) {
            assertEquals(1, server.exit());
            assertEquals(List.of("NanoStreamWs: " + folder.resolve("cert.pem") + " has no certificate in PEM form"),
                server.lines());
            assertEquals(2, alone.exit());
            assertEquals(2, other.exit());
            assertEquals(List.of("NanoStreamWs: --tls-cert wants --tls-key as well, and the other way round"),
                alone.lines());
        }
    }

    @Test
    @DisplayName("--secret with TLS prints an https link, whose token admits by wss")
    void printsAnHttpsLink() throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        String[] files = own.in(folder);
        try (ServerProcess server = ServerProcess.of("--host=127.0.0.1", "--port=0", "--feed=http://127.0.0.1:0/",
                "--secret", files[0], files[1])) {
            String page = server.await("^page +(\\S+)$");
            assertTrue(page.startsWith("https://127.0.0.1:" + server.port() + "/#"), page);
            try (RawClient client = new RawClient(connect(server.port(), own.trusting()))) {
                String token = page.substring(page.indexOf('#') + 1);
                assertEquals(101, RawClient.status(client.upgrade("/?t=" + token)));
            }
        }
    }
}
