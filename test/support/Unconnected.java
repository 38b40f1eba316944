import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;

/** A socket without a network: there is nothing to read, and what is written goes to a method. */
abstract class Unconnected extends Socket {
    abstract void write(byte[] bytes, int offset, int length) throws IOException;

    @Override
    public InputStream getInputStream() {
        return InputStream.nullInputStream();
    }

    @Override
    public OutputStream getOutputStream() {
        return new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                write(new byte[] {(byte) b}, 0, 1);
            }

            @Override
            public void write(byte[] bytes, int offset, int length) throws IOException {
                Unconnected.this.write(bytes, offset, length);
            }
        };
    }
}
