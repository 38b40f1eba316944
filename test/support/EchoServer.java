// SPDX-License-Identifier: MIT

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.zip.Deflater;

/**
 * Sends every message back, so that any conformance suite for WebSockets can be pointed at the handshake, the framing,
 * the compression and the closing of NanoStreamWs, which are used as they are: `make echo PORT=9001`.
 */
final class EchoServer implements AutoCloseable {
    private static final int MAX_MESSAGE = 64 * 1024 * 1024; // bytes
    private static final NanoStreamWs.Bounds BOUNDS =
        new NanoStreamWs.Bounds(NanoStreamWs.Limits.CONTEXT, MAX_MESSAGE, Integer.MAX_VALUE, new Semaphore(1000),
            false);

    private final ServerSocket server;
    private final NanoStreamWs.Handshake handshake =
        new NanoStreamWs.Handshake(origin -> true, List.of(), NanoStreamWs.Jwt::checkNoAudience, Duration.ZERO, true);

    /** @param port on the loopback address; 0 takes a free one */
    EchoServer(int port) throws IOException {
        server = new ServerSocket(port, 1024, InetAddress.getLoopbackAddress());
        Thread.ofVirtual().start(this::accept);
    }

    public static void main(String[] args) throws Exception {
        EchoServer echo = new EchoServer(args.length > 0 ? Integer.parseInt(args[0]) : 9001);
        System.out.println("echoes on ws://127.0.0.1:" + echo.port() + "/");
        Thread.currentThread().join();
    }

    int port() {
        return server.getLocalPort();
    }

    private void accept() {
        while (!server.isClosed()) {
            try {
                Socket socket = server.accept();
                Thread.ofVirtual().start(() -> serve(socket));
            } catch (IOException e) {
                // closed
            }
        }
    }

    private void serve(Socket socket) {
        try {
            socket.setTcpNoDelay(true);
            OutputStream out = socket.getOutputStream();
            NanoStreamWs.RequestReader reader = new NanoStreamWs.RequestReader(socket, out, bytes -> { });
            try {
                NanoStreamWs.Request request = reader.head(NanoStreamWs.Limits.HEAD_TIMEOUT);
                NanoStreamWs.Accepted accepted = handshake.judge(request, Instant.now());
                out.write(accepted.response());
                socket.setSoTimeout(0);
                new Echo(socket, reader.rest(), accepted).read();
            } catch (NanoStreamWs.Refusal refusal) {
                out.write(NanoStreamWs.Http.refusal(refusal.why, "Connection: close\r\n", Instant.now()));
                NanoStreamWs.Http.lingeringClose(socket);
            }
        } catch (IOException e) {
            NanoStreamWs.Http.closeQuietly(socket);
        }
    }

    @Override
    public void close() throws IOException {
        server.close();
    }

    /** A listener with a stream of its own, in which nothing ever stands, that sends back what it gets. */
    private static final class Echo extends NanoStreamWs.Listener {
        private final Deflater deflater; // null where the extension was not agreed on
        private ByteArrayOutputStream message = new ByteArrayOutputStream();

        Echo(Socket socket, byte[] rest, NanoStreamWs.Accepted accepted) throws IOException {
            super(socket, rest, HeldSocket.now(new NanoStreamWs.StreamLog()), accepted, BOUNDS);
            deflater = accepted.deflate() ? new Deflater(Deflater.DEFAULT_COMPRESSION, true) : null;
        }

        @Override
        public void data(NanoStreamWs.Opcode type, byte[] bytes, int offset, int length, boolean last) {
            message.write(bytes, offset, length);
            if (!last)
                return;
            byte[] whole = message.toByteArray();
            message = new ByteArrayOutputStream();
            boolean compressed = deflater != null;
            send(type, compressed, compressed ? NanoStreamWs.Frame.compress(deflater, whole) : whole);
        }
    }
}
