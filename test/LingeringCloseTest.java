import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("RFC 9112 §9.6: a connection that ends is read on for a while, which has an end too")
class LingeringCloseTest {
    private static final long LINGER = NanoStreamWs.Limits.LINGER;
    private static final int MOST = NanoStreamWs.Limits.MAX_LINGER_BYTES;

    @Test
    @DisplayName("its time, for a peer that says nothing and for one that sends a byte now and then")
    void endsAfterItsTime() throws Exception {
        try (TestServer server = new TestServer(); RawClient silent = new RawClient(server.port());
             RawClient slow = new RawClient(server.port())) {
            long start = System.nanoTime();
            for (RawClient client : List.of(silent, slow)) {
                client.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
                assertEquals(404, RawClient.status(client.answer()));
                assertTrue(client.atEnd(), "half-closed");
            }
            TestServer.await("the end", () -> {
                sends(slow);
                return server.server.door.acceptor().open().isEmpty();
            });
            long millis = (System.nanoTime() - start) / 1_000_000;
            assertTrue(millis >= LINGER * 9 / 10 && millis < LINGER * 8, millis + " ms");
            for (RawClient client : List.of(silent, slow))
                TestServer.await("a reset of what still comes", () -> !sends(client));
        }
    }

    /** Sends a byte. @return false if the connection is closed */
    private static boolean sends(RawClient client) {
        try {
            client.send("x");
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    @Test
    @DisplayName("it ends before that for a peer that sends much, but not before the answer had time to arrive")
    void endsAfterItsBytes() throws Exception {
        int buffer = 64 * 1024; // of each side, so that little of what is sent is not read
        try (ServerSocket listening = new ServerSocket()) {
            listening.setReceiveBufferSize(buffer);
            listening.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
            try (Socket peer = new Socket()) {
                peer.setSendBufferSize(buffer);
                peer.connect(listening.getLocalSocketAddress());
                Socket socket = listening.accept();
                Thread closing = Thread.ofVirtual().start(() -> NanoStreamWs.Http.lingeringClose(socket));
                int sent = 0;
                try {
                    for (; sent < 100 * MOST; sent += 1024)
                        peer.getOutputStream().write(new byte[1024]);
                } catch (IOException e) {
                    // ended, as it should be
                }
                assertTrue(sent >= MOST && sent < 4 * MOST, sent + " bytes");
                closing.join();
                assertTrue(socket.isClosed());
            }
        }
    }
}
