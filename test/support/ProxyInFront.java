import static org.junit.jupiter.api.Assertions.*;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** A proxy with TLS in a process of its own, configured as the README has it, and clients that come by it. */
final class ProxyInFront implements AutoCloseable {
    /** Where a client of the proxy connects from, so that it is not taken for the proxy. */
    static final String CLIENT = "127.0.0.2";
    private static final char[] PASSWORD = "changeit".toCharArray();

    /** A client of the proxy: what happens to it, one text an event. */
    static final class Client implements WebSocket.Listener {
        private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
        private WebSocket socket;

        void leave() {
            socket.abort();
        }

        /** The next event, a ping only if one is expected. */
        String next(boolean ping) throws InterruptedException {
            String event = events.poll(20, TimeUnit.SECONDS);
            assertNotNull(event, "nothing happened for 20 s");
            return event.equals("ping") && !ping ? next(false) : event;
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
            events.add("text " + data);
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPing(WebSocket socket, ByteBuffer message) {
            events.add("ping");
            socket.request(1);
            return null; // which has the client answer
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

    final Path folder;
    final Process process;
    final int port;
    final HttpClient http;

    /** @param folder for its files
     * @param port where it is going to listen
     * @param command what starts it; it ends with the process */
    ProxyInFront(Path folder, int port, HttpClient http, List<String> command) throws IOException {
        this.folder = folder;
        this.port = port;
        this.http = http;
        Path output = folder.resolve("output.txt");
        process = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true)
            .redirectOutput(output.toFile()).start();
        TestServer.await("the proxy listens", () -> isListening(output));
    }

    private boolean isListening(Path output) {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return socket.isConnected();
        } catch (IOException e) {
            assertTrue(process.isAlive(), () -> "it has ended, see " + read(output));
            return false;
        }
    }

    /** The path of a program; the test is skipped if there is none. */
    static String program(String name) {
        String path = System.getenv("PATH") + ":/usr/sbin:/usr/local/sbin";
        Path found = Stream.of(path.split(":")).map(folder -> Path.of(folder, name)).filter(Files::isExecutable)
            .findFirst().orElse(null);
        assumeTrue(found != null, "there is no " + name);
        return found.toString();
    }

    /** What the README has in its block of a language. */
    static String snippet(String language) throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        Matcher block = Pattern.compile("(?s)```" + language + "\n(.*?)```").matcher(readme);
        assertTrue(block.find(), "the README has a block of " + language);
        return block.group(1);
    }

    /** The text with one piece replaced, which has to be there. */
    static String with(String text, String piece, Object replacement) {
        assertTrue(text.contains(piece), piece);
        return text.replace(piece, replacement.toString());
    }

    /** What starts an nginx of one worker.
     * @param folder for its files
     * @param connections of the worker, two of them for a listener
     * @param http what it is configured with */
    static List<String> nginx(String program, Path folder, int connections, String http) throws IOException {
        String temporary = "client_body proxy fastcgi uwsgi scgi".replaceAll("\\w+", "$0_temp_path " + folder + "/$0;");
        Path file = Files.writeString(folder.resolve("nginx.conf"), """
            daemon off;
            error_log start.log;
            worker_processes 1;
            user %s;
            pid nginx.pid;
            events { worker_connections %d; }
            http {
            %s
            %s
            }
            """.formatted(System.getProperty("user.name"), connections, temporary, http));
        return List.of(program, "-p", folder.toString(), "-c", file.toString());
    }

    static int freePort() throws IOException {
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return free.getLocalPort();
        }
    }

    /** Makes a certificate for 127.0.0.1, as cert.pem and key.pem, and a client that trusts it. */
    static HttpClient certified(Path folder) throws Exception {
        Path file = folder.resolve("keys.p12");
        List<String> keytool = List.of(ServerProcess.JDK.resolve("keytool").toString(), "-J-XX:TieredStopAtLevel=1",
            "-genkeypair", "-keyalg", "EC", "-alias", "a", "-dname", "CN=test", "-ext", "san=ip:127.0.0.1",
            "-keystore", file.toString(), "-storepass", new String(PASSWORD));
        assertEquals(0, new ProcessBuilder(keytool).redirectErrorStream(true)
            .redirectOutput(folder.resolve("keytool.txt").toFile()).start().waitFor());
        KeyStore keys = KeyStore.getInstance("PKCS12"), trusted = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(file)) {
            keys.load(in, PASSWORD);
        }
        Files.writeString(folder.resolve("cert.pem"), pem("CERTIFICATE", keys.getCertificate("a").getEncoded()));
        Files.writeString(folder.resolve("key.pem"), pem("PRIVATE KEY", keys.getKey("a", PASSWORD).getEncoded()));
        trusted.load(null, null);
        trusted.setCertificateEntry("a", keys.getCertificate("a"));
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return HttpClient.newBuilder().sslContext(context).localAddress(InetAddress.getByName(CLIENT)).build();
    }

    private static String pem(String what, byte[] bytes) {
        return "-----BEGIN " + what + "-----\n" + Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(bytes)
            + "\n-----END " + what + "-----\n";
    }

    HttpResponse<String> get(String path) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://127.0.0.1:" + port + path)).build();
        return http.send(request, HttpResponse.BodyHandlers.ofString());
    }

    /** A client that is admitted. It says that it came for another. */
    Client admitted(String path) {
        Client client = new Client();
        client.socket = http.newWebSocketBuilder().header("X-Forwarded-For", "203.0.113.9")
            .buildAsync(URI.create("wss://127.0.0.1:" + port + path), client).join();
        return client;
    }

    static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return e.toString();
        }
    }

    /** All that it has logged. */
    String log() {
        try (Stream<Path> files = Files.list(folder)) {
            return String.join("", files.filter(file -> file.toString().matches(".*\\.(log|txt)"))
                .map(ProxyInFront::read).toList());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        http.shutdownNow();
        process.destroy();
        try {
            process.onExit().get(10, TimeUnit.SECONDS);
        } catch (Exception e) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly().onExit().join();
        }
    }
}
