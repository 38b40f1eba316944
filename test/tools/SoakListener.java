import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** A listener that checks what it gets. Used by one thread. */
final class SoakListener implements AutoCloseable {
    final RawClient client;
    final List<Long> next = new ArrayList<>();      // which message may be next; one of them once it is known
    final Queue<String> pings = new ArrayDeque<>(); // that are not answered yet
    boolean answers = true;                         // pings
    int code;                                       // of the close frame
    private final Soak soak;
    private final boolean deflate;
    private final Inflater inflater = new Inflater(true);
    private final byte[] payload = new byte[Soak.MAX_MESSAGE + 64], inflated = new byte[Soak.MAX_MESSAGE + 64];

    /** @param receiveBuffer bytes, or 0 for the system's own choice */
    SoakListener(Soak soak, String token, boolean deflate, int receiveBuffer) throws IOException {
        this.soak = soak;
        this.deflate = deflate;
        client = new RawClient(soak.server.port(), receiveBuffer);
        client.socket.setSoTimeout(Soak.PATIENCE);
        long from = soak.answered;
        String head = client.upgrade("/?t=" + token,
            deflate ? new String[] {"Sec-WebSocket-Extensions: permessage-deflate"} : new String[0]);
        for (long k = from, to = soak.begun; k <= to; k++) // it has what is posted from here on, and may have these
            next.add(k);
        soak.listeners.incrementAndGet();
        soak.joined.increment();
        Soak.Check.KEPT.must(RawClient.status(head) == 101 && head.contains("permessage-deflate") == deflate, head);
    }

    /** Reads a frame and judges it. @return its opcode */
    int frame() throws IOException {
        int first = client.in.readUnsignedByte(), second = client.in.readUnsignedByte();
        long length = second == 126 ? client.in.readUnsignedShort() : second == 127 ? client.in.readLong() : second;
        boolean compressed = deflate && first == 0xC1;
        if (!compressed && (first & 0xF0) != 0x80 || length < 0 || length > Soak.MAX_MESSAGE + 8)
            throw Soak.Check.CONTENT.fail(String.format("a frame begins with %02x %02x, at %s", first, second, next));
        client.in.readFully(payload, 0, (int) length);
        byte[] control = Arrays.copyOf(payload, (int) Math.min(length, 125));
        switch (first & 0x0F) {
            case 0x1 -> {
                if (compressed)
                    message(inflated, inflate((int) length));
                else
                    message(payload, (int) length);
            }
            case 0x8 -> code = length < 2 ? 1005 : (control[0] & 0xFF) << 8 | control[1] & 0xFF;
            case 0x9 -> {
                if (answers)
                    client.send(RawClient.frame(0x8A, control));
            }
            case 0xA -> Soak.Check.PONGS.must(new String(control, UTF_8).equals(pings.poll()), "another payload");
            default -> throw Soak.Check.CONTENT.fail("a frame begins with " + Integer.toHexString(first));
        }
        return first & 0x0F;
    }

    private void message(byte[] message, int length) throws Soak.Failed {
        CRC32 crc = new CRC32();
        crc.update(message, 0, length);
        long sum = (long) length << 32 | crc.getValue(), behind = soak.begun - Soak.RING;
        String expected = next.toString();
        next.removeIf(k -> k >= soak.begun || k > behind && soak.sums[(int) (k % Soak.RING)] != sum);
        Soak.Check.CONTENT.must(!next.isEmpty(), "expected message " + expected + ", got " + length + " other bytes");
        next.replaceAll(k -> k + 1);
    }

    private int inflate(int length) throws Soak.Failed {
        System.arraycopy(new byte[] {0, 0, -1, -1}, 0, payload, length, 4); // RFC 7692 §7.2.2
        inflater.reset(); // as the server takes no context over
        inflater.setInput(payload, 0, length + 4);
        try {
            int total = 0;
            for (int n; (n = inflater.inflate(inflated, total, inflated.length - total)) > 0; )
                total += n;
            return total;
        } catch (DataFormatException e) {
            throw Soak.Check.CONTENT.fail("expected message " + next + ": " + e);
        }
    }

    void ping(String payload) throws IOException {
        pings.add(payload);
        client.send(RawClient.frame(0x89, payload));
    }

    /** Reads until then (System.nanoTime), or until all is over. */
    void read(long end) throws IOException {
        while (System.nanoTime() < end && !soak.over)
            frame();
    }

    /** Closes the connection in order. */
    void leave() throws IOException {
        answers = false; // nothing goes behind a close frame
        client.send(RawClient.frame(0x88, RawClient.closing(1000)));
        try {
            while (frame() != 0x8) { }
            Soak.Check.CLOSED.must(code == 1000 && client.atEnd(), "code " + code + ", or something followed it");
        } catch (Soak.Failed e) {
            throw e;
        } catch (IOException e) {
            throw Soak.Check.CLOSED.fail("code " + code + ", " + e);
        }
    }

    @Override
    public void close() throws IOException {
        soak.listeners.decrementAndGet();
        inflater.end();
        client.close();
    }
}
