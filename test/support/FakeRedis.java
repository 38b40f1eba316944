import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Function;

/** What a server takes for a Redis. It answers as the test says, and where that says nothing as a Redis does that has
 * one set of used tokens, one channel, and no server that is behind. Its texts have a character for each byte. */
final class FakeRedis implements AutoCloseable {
    static final String OK = "+OK\r\n", NONE = "$-1\r\n", SILENCE = "";
    static final String INFO = "role:master\r\nredis_mode:standalone\r\naof_enabled:1\r\n"
        + "maxmemory_policy:noeviction\r\n";

    /** A request: its words, and the text that they came in. */
    record Request(Socket from, List<String> words, String text) { }

    /** What requests of this name are answered with, from their words. */
    final Map<String, Function<List<String>, String>> answers = new ConcurrentHashMap<>();
    /** What is sent to a connection when it comes. */
    volatile String greeting = SILENCE;
    volatile boolean deaf; // it answers nothing, and reads no more than one request
    final Queue<Request> requests = new ConcurrentLinkedQueue<>();
    final Set<Socket> open = ConcurrentHashMap.newKeySet(), subscribers = ConcurrentHashMap.newKeySet();
    final ConcurrentLinkedQueue<Thread> accepted = new ConcurrentLinkedQueue<>(); // one for each connection
    private final ServerSocket door;
    private final Set<String> used = ConcurrentHashMap.newKeySet();
    private long number; // of the last message; under this

    FakeRedis() throws IOException {
        this(new ServerSocket(0, 50, InetAddress.getLoopbackAddress()));
    }

    FakeRedis(ServerSocket door) {
        this.door = door;
        Thread.ofVirtual().start(this::accept);
    }

    int port() {
        return door.getLocalPort();
    }

    String url() {
        return "redis://127.0.0.1:" + port();
    }

    static String bulk(String text) {
        return "$" + text.length() + "\r\n" + text + "\r\n";
    }

    static String message(String payload) {
        return "*3\r\n" + bulk("message") + bulk("nano-stream:feed") + bulk(payload);
    }

    /** The text of a request. */
    static String request(String... words) {
        StringBuilder text = new StringBuilder("*" + words.length + "\r\n");
        for (String word : words)
            text.append(bulk(word));
        return text.toString();
    }

    /** Answers requests of a name with the same each time. */
    void answer(String name, String reply) {
        answers.put(name, words -> reply);
    }

    /** The requests of a name so far. */
    List<Request> requests(String name) {
        return requests.stream().filter(request -> request.words().getFirst().equals(name)).toList();
    }

    /** Waits for so many requests of a name. */
    List<Request> await(String name, int count) {
        TestServer.await(count + " of " + name, () -> requests(name).size() >= count);
        return requests(name);
    }

    /** Sends a text to all subscribers, as it is. One that has just gone concerns nobody who publishes. */
    synchronized void send(String text) {
        for (Socket subscriber : subscribers)
            try {
                send(subscriber, text);
            } catch (IOException e) {
                end(subscriber);
            }
    }

    static void send(Socket to, String text) throws IOException {
        to.getOutputStream().write(text.getBytes(ISO_8859_1));
    }

    /** Ends all connections. */
    void cut() {
        open.forEach(FakeRedis::end);
    }

    private static void end(Socket socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // it is closed
        }
    }

    private void accept() {
        try {
            while (true) {
                Socket socket = door.accept();
                accepted.add(Thread.ofVirtual().start(() -> serve(socket)));
            }
        } catch (IOException e) {
            // it is closed
        }
    }

    private void serve(Socket socket) {
        open.add(socket);
        try (socket) {
            OutputStream out = socket.getOutputStream();
            out.write(greeting.getBytes(ISO_8859_1));
            InputStream in = new BufferedInputStream(socket.getInputStream());
            while (true) {
                Request request = read(socket, in);
                requests.add(request);
                while (deaf)
                    Thread.sleep(1);
                String reply = answer(request);
                out.write(reply.getBytes(ISO_8859_1));
            }
        } catch (IOException | InterruptedException e) {
            // its end
        } finally {
            subscribers.remove(socket);
            open.remove(socket);
        }
    }

    private String answer(Request request) {
        List<String> words = request.words();
        String name = words.getFirst();
        boolean subscribes = name.equals("SUBSCRIBE");
        if (subscribes)
            subscribers.add(request.from());
        Function<List<String>, String> told = answers.get(name);
        if (told != null) return told.apply(words);
        return switch (name) {
            case "AUTH" -> OK;
            case "PING" -> subscribers.contains(request.from()) ? request("pong", "") : "+PONG\r\n";
            case "INFO" -> bulk(INFO);
            case "SUBSCRIBE" -> "*3\r\n" + bulk("subscribe") + bulk(words.get(1)) + ":1\r\n";
            case "SET" -> used.add(words.get(1)) ? OK : NONE;
            case "EVAL" -> words.get(1).contains("PUBLISH") ? publish(words) : NONE;
            default -> ":1\r\n";
        };
    }

    /** What the script does. The first message was seen at 1000.000001, and has the number 1. */
    synchronized String publish(List<String> words) {
        number++;
        String before = words.get(6), behind = words.get(7), seen = "" + (1_000_000_000 + number);
        String message = behind.isEmpty() ? before : before + seen.substring(0, 4) + '.' + seen.substring(4) + behind;
        send(message(seen + ' ' + number + ' ' + 100 * number + ' ' + message));
        return ":" + number + "\r\n";
    }

    /** Reads an array of bulk strings, and takes nothing else. */
    private static Request read(Socket socket, InputStream in) throws IOException {
        StringBuilder text = new StringBuilder();
        List<String> words = new ArrayList<>();
        int count = number('*', in, text);
        while (words.size() < count) {
            int length = number('$', in, text);
            String word = take(length + 2, in, text);
            if (!word.endsWith("\r\n")) throw new IOException("no end of " + word);
            words.add(word.substring(0, length));
        }
        return new Request(socket, words, text.toString());
    }

    private static int number(char type, InputStream in, StringBuilder text) throws IOException {
        StringBuilder line = new StringBuilder();
        while (line.length() < 2 || !line.substring(line.length() - 2).equals("\r\n"))
            line.append(take(1, in, text));
        if (!line.toString().matches("[" + type + "]\\d+\r\n")) throw new IOException("no request: " + line);
        return Integer.parseInt(line.substring(1, line.length() - 2));
    }

    private static String take(int length, InputStream in, StringBuilder text) throws IOException {
        String taken = new String(in.readNBytes(length), ISO_8859_1);
        if (taken.length() < length) throw new EOFException();
        text.append(taken);
        return taken;
    }

    @Override
    public void close() throws IOException {
        door.close();
        cut();
    }
}
