import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Stands between clients and a server, and breaks their connections, as a network does. */
final class Relay implements AutoCloseable {
    private final ServerSocket door = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final Set<Socket> open = ConcurrentHashMap.newKeySet();
    private final byte[] prefix;
    private volatile int target; // the server's port; 0: nobody gets through

    Relay() throws IOException {
        this("");
    }

    /** One that cuts a prefix off the target of the request that a connection begins with, as a proxy does. */
    Relay(String prefix) throws IOException {
        this.prefix = ("GET " + prefix).getBytes(ISO_8859_1);
        Thread.ofVirtual().start(this::accept);
    }

    int port() {
        return door.getLocalPort();
    }

    /** Lets clients through to a server from now on. */
    void mend(int port) {
        target = port;
    }

    /** Resets all connections, and those to come. */
    void cut() {
        target = 0;
        open.forEach(Relay::reset);
    }

    private void accept() {
        try {
            while (true) {
                Socket client = door.accept();
                Thread.ofVirtual().start(() -> connect(client));
            }
        } catch (IOException e) {
            // it is closed
        }
    }

    private void connect(Socket client) {
        try (client; Socket server = new Socket()) {
            open.add(client);
            int port = target; // after the addition, so that cut resets it or this sees the 0
            if (port == 0) {
                reset(client);
                return;
            }
            server.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
            if (prefix.length > 4) {
                byte[] begin = client.getInputStream().readNBytes(prefix.length);
                if (!Arrays.equals(begin, prefix)) return;
                server.getOutputStream().write(prefix, 0, 4);
            }
            Thread.ofVirtual().start(() -> pump(client, server));
            pump(server, client);
        } catch (IOException e) {
            // the server is not there
        } finally {
            open.remove(client);
        }
    }

    private static void pump(Socket from, Socket to) {
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            in.transferTo(out);
        } catch (IOException e) {
            // it has been cut
        }
        reset(from);
        reset(to);
    }

    private static void reset(Socket socket) {
        try {
            socket.setSoLinger(true, 0);
            socket.close();
        } catch (IOException e) {
            // it is closed already
        }
    }

    @Override
    public void close() throws IOException {
        door.close();
        cut();
    }
}
