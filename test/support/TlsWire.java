import java.io.ByteArrayOutputStream;
import java.io.FilterInputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;

/** A connection under a client's TLS: it keeps what the server sent, and can send byte by byte. */
final class TlsWire extends Socket {
    /** A record of TLS as it came. */
    record Record(int type, int length) { }

    private final ByteArrayOutputStream received = new ByteArrayOutputStream();
    volatile long pause; // ns behind each byte that is sent; 0: whole records
    volatile int drops;  // bytes that were sent so

    TlsWire(int port) throws IOException {
        this(port, 0);
    }

    /** @param receiveBuffer bytes, or 0 for the system's own choice */
    TlsWire(int port, int receiveBuffer) throws IOException {
        if (receiveBuffer > 0)
            setReceiveBufferSize(receiveBuffer);
        connect(new InetSocketAddress("127.0.0.1", port));
        setTcpNoDelay(true);
    }

    /** The client's TLS over it, whose handshake is to come. */
    SSLSocket over(SSLContext context, String... versions) throws IOException {
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(this, "127.0.0.1", getPort(), true);
        if (versions.length > 0)
            socket.setEnabledProtocols(versions);
        return socket;
    }

    byte[] received() {
        synchronized (received) {
            return received.toByteArray();
        }
    }

    /** The records that have come, the last one as far as it has. */
    List<Record> records() {
        byte[] bytes = received();
        List<Record> records = new ArrayList<>();
        for (int at = 0; at + 5 <= bytes.length; ) {
            int length = (bytes[at + 3] & 0xFF) << 8 | bytes[at + 4] & 0xFF;
            if (bytes[at + 1] != 3)
                throw new AssertionError("this is no record: " + new String(bytes, at, bytes.length - at));
            records.add(new Record(bytes[at], length));
            at += 5 + length;
        }
        return records;
    }

    /** Whether the last record is an alert. In TLS 1.3 it looks like data, and has its length; the JDK pads it. */
    boolean endsWithAlert() {
        Record last = records().getLast();
        return last.type == 21 || last.type == 23 && (last.length == 2 + 1 + 16 || last.length == 2 + 1 + 16 + 16);
    }

    @Override
    public InputStream getInputStream() throws IOException {
        return new FilterInputStream(super.getInputStream()) {
            @Override
            public int read(byte[] bytes, int offset, int length) throws IOException {
                int n = super.read(bytes, offset, length);
                synchronized (received) {
                    received.write(bytes, offset, Math.max(0, n));
                }
                return n;
            }
        };
    }

    @Override
    public OutputStream getOutputStream() throws IOException {
        return new FilterOutputStream(super.getOutputStream()) {
            @Override
            public void write(byte[] bytes, int offset, int length) throws IOException {
                if (pause == 0)
                    out.write(bytes, offset, length);
                else
                    for (int i = 0; i < length; i++) {
                        out.write(bytes[offset + i]);
                        drops++; // one thread writes
                        LockSupport.parkNanos(pause);
                    }
            }
        };
    }
}
