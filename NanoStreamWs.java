// SPDX-License-Identifier: MIT

/*
 * NanoStreamWs: broadcasts a feed over WebSockets to listeners that a token admits.
 *
 *     java NanoStreamWs.java --secret my_secret        JDK 21 or newer, nothing else
 *     java NanoStreamWs.java --help
 *
 * What it does. Messages come in by HTTP POST (the block callbacks of a Nano node, or any text) or on standard
 * input, and go out, each as one text frame (RFC 6455), to every listener. A listener is passive: what it sends is
 * checked and dropped. It is admitted by a JSON Web Token (HS256) that expires and works once.
 *
 * Trust boundary. Whoever reaches the listeners' port is hostile until a token is verified, and can still be slow,
 * silent or wrong after that. Whoever reaches the feed's port may publish; it is on loopback by default, and what a
 * browser sends there is refused. A secret, a token or a query never gets into a log line; a secret that is made at
 * the start is printed once, beside them.
 *
 * The one idea. The stream is a log of ready-encoded frames and a listener is a cursor into it. A server's frames
 * are unmasked (RFC 6455 §5.1), so the bytes for one are the bytes for all: each message is encoded once (and once
 * more, compressed, while somebody can have it so), and a listener that falls behind costs no memory of its own.
 *
 * Threads. One virtual thread for each connection reads it, and one for each port accepts. LANES virtual threads
 * write: each walks its share of the listeners and sends every one what its cursor has not passed; a listener that
 * was too slow for that has a thread of its own for a while. Two platform threads keep time: they relieve a lane that
 * a blocked write holds up, evict who stays stuck, ping, and sweep used tokens. One writes the log lines.
 *
 * Each section uses only what stands above it, so it can be read from top to bottom:
 *
 *      1  Limits                every number, with its unit and its reason
 *      2  Vocabulary            opcodes, close codes, the reasons for a refusal
 *      3  Log lines             one line an event, bounded, never in the way
 *      4  Settings              the command line
 *      5  JSON                  RFC 8259
 *      6  HTTP                  RFC 9112, 9110: a request's head and body, the answer
 *      7  Origin                RFC 6454
 *      8  Token                 RFC 7515, 7519, 8725
 *      9  Used tokens           a token works once
 *     10  Opening handshake     RFC 6455 §4.2, RFC 7692 §7.1
 *     11  Framing               RFC 6455 §5, RFC 7692 §7.2
 *     12  Stream log            segments of frames
 *     13  Listener              RFC 6455 §5.5, §7: reading, pong, close
 *     14  Lanes                 who writes, and what happens when a write blocks
 *     15  Feed                  Nano blocks, POST, standard input
 *     16  Page and health       what a browser gets that does not upgrade
 *     17  Server                accepting, admitting, heartbeat, shutting down
 *     18  main
 */

import java.io.*;
import java.math.*;
import java.net.*;
import java.nio.*;
import java.nio.charset.*;
import java.nio.file.*;
import java.security.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.concurrent.locks.*;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.zip.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

/** The server in one file; the head above says how it is laid out. */
@SuppressWarnings("serial") // no exception is ever serialized
public final class NanoStreamWs {
    static final String VERSION = "1.0.0";

    // ---- 1. Limits ----------------------------------------------------------------------------------------------
    // Every bound of the server. What is checked against one is checked before memory is given to it.

    /** Bounds, with unit and reason; what an operator may want to change is an option instead (see Settings). */
    static final class Limits {
        static final int MAX_TOKEN = 8 * 1024;          // characters; it is parsed before anybody is known
        static final int MAX_HEAD = 2 * MAX_TOKEN;      // bytes of a request head: a token, and a browser's cookies
        static final int MAX_FIELDS = 100;              // header fields of a request; browsers send some twenty
        static final int HEAD_TIMEOUT = 10_000;         // ms for a whole head: a byte a second does not help
        static final int BODY_TIMEOUT = 30_000;         // ms for the body of a POST
        static final int FEED_IDLE = 3_600_000;         // ms between two POSTs on one connection
        static final int MAX_MESSAGE = 1024 * 1024;     // bytes of one message of the feed; a Nano block has some 1,000
        static final int MAX_JSON_DEPTH = 64;           // the parser recurses; a callback has three levels
        static final int MAX_CONTROL_PAYLOAD = 125;     // bytes, RFC 6455 §5.5
        static final int MAX_FRAME_HEADER = 2 + 8 + 4;  // bytes: two, a 64-bit length, a masking key, §5.2
        /** Bytes of a listener's read buffer, once there is more to read than a frame's header: a control frame. */
        static final int READ_BUFFER = MAX_FRAME_HEADER + MAX_CONTROL_PAYLOAD;
        static final int MAX_CLIENT_MESSAGE = 64 * 1024; // bytes of a message from a listener; it is dropped anyway
        static final int MAX_FRAGMENTS = 1024;          // of such a message: empty ones would be free otherwise
        static final int MIN_DEFLATED = 64;             // bytes of a message; compressing a smaller one gains nothing
        static final int PACE = 32, PACE_PAUSE = 5;     // reads, frames and KiB inflated until a listener waits; ms
        static final int MAX_PACES = 200;               // such waits without a calm second between; then it is a flood
        static final int MAX_USED_TOKENS = 500_000;     // some 150 bytes each; beyond it nobody is admitted
        static final int SEGMENT = 64 * 1024;           // bytes of a segment of the log, and of a write; or one frame
        static final int WINDOW = 256 * 1024;           // bytes of lag at which POSTs are answered: delay for speed
        static final int WINDOW_PAUSE = 1;              // ms until the lanes are looked at again otherwise
        static final int LANES = 16;                    // threads that write; a blocked write holds up its lane
        static final int LOOK = 20;                     // ms between two looks at the lanes; one blocked costs two
        static final int MAX_RELIEF = 1024;             // threads that one look gives to a lane, at most
        static final int STRAGGLER_PAUSE = 50;          // ms between two rounds for one that blocked its lane,
        static final int STRAGGLER_ROUNDS = 20;         // and how many rounds without blocking bring it back
        static final int LINGER = 1_000;                // ms for a connection to end once everything is said,
        static final int MAX_LINGER_BYTES = 256 * 1024; // and bytes that are read meanwhile
        static final int BACKLOG = 4096;                // connections that wait for accept; the kernel may cut it
        static final int MAX_PENDING = 4096;            // connections of a port, listeners aside; then the oldest ends
        static final int ACCEPT_PAUSE = 100;            // ms after accept failed, usually for want of a descriptor
        static final int LOG_BURST = 100, LOG_RATE = 5; // log lines of a kind: so many at once, and so many a second
        static final int LOG_QUEUE = 4096;              // log lines that wait; if standard error blocks, more are lost
        static final int MAX_QUOTED = 100;              // characters of a client's own text in a log line
    }

    // ---- 2. Vocabulary (RFC 6455 §5.2, §7.4) --------------------------------------------------------------------
    // The words of the protocol, every reason for which a request is refused, and the three ways to fail.

    /** A frame's opcode (RFC 6455 §5.2). */
    enum Opcode {
        CONTINUATION(0x0), TEXT(0x1), BINARY(0x2), CLOSE(0x8), PING(0x9), PONG(0xA);

        final int bits;

        Opcode(int bits) { this.bits = bits; }

        static Opcode of(int nibble) throws ProtocolException {
            for (Opcode opcode : values())
                if (opcode.bits == nibble) return opcode;
            // §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
            throw new ProtocolException(CloseCode.PROTOCOL_ERROR, "reserved opcode");
        }

        boolean isControl() { return (bits & 0b1000) != 0; }
    }

    /** The close codes that this server sends (RFC 6455 §7.4.1), and those that it takes. */
    static final class CloseCode {
        static final int GOING_AWAY = 1001, PROTOCOL_ERROR = 1002, INVALID_PAYLOAD = 1007;
        static final int POLICY_VIOLATION = 1008, MESSAGE_TOO_BIG = 1009;

        /** Whether a peer may send the code. §7.4: 0-999 are unused; 1004 is reserved; 1005, 1006 and 1015 "MUST NOT be
         * set as a status code in a Close control frame"; 1012-1014 are in IANA's registry; 1016-2999 are reserved. */
        static boolean mayBeReceived(int code) {
            return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999;
        }
    }

    /** What a peer did against RFC 6455: it fails the connection with the code (§7.1.7). */
    static final class ProtocolException extends Exception {
        final int code;

        /** The reason goes onto the wire: a constant, never what the peer sent, at most 123 bytes (§5.5). */
        ProtocolException(int code, String reason) {
            super(reason, null, false, false);
            this.code = code;
        }
    }

    /** Why a request is refused: the status line that the client sees, and the text that only the log has. */
    enum Rejection {
        NO_TOKEN("401 Unauthorized", "No token supplied"),
        TOKEN_INVALID("401 Unauthorized", "Token was invalid"),
        TOKEN_WITHOUT_EXPIRATION("401 Unauthorized", "Token has no expiration"),
        TOKEN_EXPIRED("401 Unauthorized", "Token has expired"),
        TOKEN_USED("401 Unauthorized", "Token has already been used"),
        ORIGIN("403 Forbidden", "Origin is not allowed"),
        BROWSER("403 Forbidden", "The feed takes nothing from browsers"),
        MALFORMED("400 Bad Request", "Request is malformed"),
        BAD_MESSAGE("400 Bad Request", "Message cannot be broadcast"),
        WEBSOCKET_VERSION("426 Upgrade Required", "WebSocket version is not 13"),
        NOT_FOUND("404 Not Found", "No such path"),
        METHOD("405 Method Not Allowed", "Method is not GET or HEAD"),
        FEED_METHOD("405 Method Not Allowed", "Method is not POST"),
        TOO_SLOW("408 Request Timeout", "Request took too long"),
        LENGTH_REQUIRED("411 Length Required", "Content-Length is missing"),
        MESSAGE_TOO_LARGE("413 Content Too Large", "Message is too large"),
        EXPECTATION("417 Expectation Failed", "Expectation cannot be met"),
        HEAD_TOO_LARGE("431 Request Header Fields Too Large", "Request head is too large"),
        TRANSFER_ENCODING("501 Not Implemented", "Transfer-Encoding is not supported"),
        HTTP_VERSION("505 HTTP Version Not Supported", "HTTP version is not supported"),
        FULL("503 Service Unavailable", "No room for another listener"),
        USED_TOKENS_FULL("503 Service Unavailable", "No room to remember another token"),
        DRAINING("503 Service Unavailable", "Server is shutting down");

        final String status, text;

        Rejection(String status, String text) { this.status = status; this.text = text; }
    }

    /** A refused request. The detail is for the log; what a client sent stands in it only by {@link Log#quote}. */
    static final class Refusal extends Exception {
        final Rejection why;

        Refusal(Rejection why, String detail) {
            super(why.text + (detail.isEmpty() ? "" : ": " + detail), null, false, false);
            this.why = why;
        }
    }

    /** A command line that is wrong: one line that says what, and how it would be right. Exit status 2. */
    static final class UsageException extends Exception {
        UsageException(String message) { super(message, null, false, false); }
    }

    // ---- 3. Log lines -------------------------------------------------------------------------------------------
    // One line an event: time, kind, what happened. A full disk, a blocked pipe or a flood of events costs log lines,
    // never the stream: a thread of its own writes them, and what is too much is counted.

    /** The log. Only {@link #close} blocks. */
    static final class Log implements AutoCloseable {
        private static final String END = "";
        private final PrintStream out;
        private final InstantSource clock;
        private final BlockingQueue<String> lines = new ArrayBlockingQueue<>(Limits.LOG_QUEUE);
        private final Map<String, AtomicInteger> allowances = new ConcurrentHashMap<>(); // below 0: lines left out
        private final Thread writer = Thread.ofPlatform().daemon().name("log").start(this::write);

        Log(PrintStream out, InstantSource clock) { this.out = out; this.clock = clock; }

        /** Logs an event. The kind is its first word, and each kind has an allowance of its own. */
        void event(String kind, String text) {
            if (allowances.computeIfAbsent(kind, k -> new AtomicInteger(Limits.LOG_BURST)).getAndDecrement() > 0)
                offer(kind, text);
        }

        /** Tells what was left out, and renews the allowances. Called once a second. */
        void tick() {
            allowances.forEach((kind, allowance) -> {
                int left = allowance.getAndUpdate(n -> Math.min(Limits.LOG_BURST, Math.max(0, n) + Limits.LOG_RATE));
                if (left < 0)
                    offer(kind, -left + " more lines of this kind were left out");
            });
        }

        private void offer(String kind, String text) {
            lines.offer(DateTimeFormatter.ISO_INSTANT.format(clock.instant().truncatedTo(ChronoUnit.MILLIS)) + ' '
                + kind + ' ' + text); // false if the queue is full: see LOG_QUEUE
        }

        private void write() {
            try {
                for (String line = lines.take(); line != END; line = lines.take())
                    out.println(line);
            } catch (InterruptedException e) { // nobody interrupts this thread
            }
        }

        /** A client's own text, made safe for a log line: printable ASCII, in quotes, cut. */
        static String quote(String text) {
            StringBuilder quoted = new StringBuilder("\"");
            for (int i = 0; i < Math.min(text.length(), Limits.MAX_QUOTED); i++) {
                char c = text.charAt(i);
                if (c == '"' || c == '\\')
                    quoted.append('\\');
                quoted.append(c >= ' ' && c < 0x7F ? String.valueOf(c) : String.format("\\u%04x", (int) c));
            }
            return quoted.append(text.length() > Limits.MAX_QUOTED ? "\"..." : "\"").toString();
        }

        /** Writes what is waiting, for two seconds at most. */
        @Override
        public void close() {
            try {
                if (lines.offer(END, 1, TimeUnit.SECONDS))
                    writer.join(1_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    // ---- 4. Settings --------------------------------------------------------------------------------------------
    // The command line, parsed once. What is wrong with it is said in one line.

    /** What the command line asked for: a field an option, with its default. Nothing changes it afterwards. */
    static final class Settings {
        static final String HELP = """
            NanoStreamWs %s: broadcasts a feed over WebSockets to listeners that a token admits.

              java NanoStreamWs.java [--name value | --name=value]...

              --host HOST, --port N    where listeners connect; port 0 takes a free one    (0.0.0.0, 8080)
              --secret [S]             admit only bearers of a token signed with S; may be repeated, any will do.
                                       Bare: from the environment (NANO_STREAM_SECRET), else a new one is made and
                                       printed                                             (all are admitted)
              --secret-file FILE       the same, from the file's first line
              --token [SECONDS]        print a token for the secret, valid that long (10), and exit
              --leeway SECONDS         clock skew allowed for a token's exp and nbf        (0)
              --origin LIST            admit only pages of these origins: example.com, *.example.com,
                                       https://example.com:8443; comma-separated           (all are admitted)
              --feed URL               where messages come from; may be repeated           (http://127.0.0.1:3000/)
                                       http://HOST:PORT/PATH: POSTs to it; -: standard input, a line a message
              --ping SECONDS           between two pings; who is silent for two is dropped; 0: no ping    (30)
              --max-listeners N        at the same time                                    (no limit)
              --max-lag BYTES          a listener that is further behind is dropped        (8388608)
              --write-timeout SECONDS  a listener at whom one write stands for so long is dropped  (10)
              --drain SECONDS          longest time to deliver what is left at a shutdown  (5)
              --no-deflate             do not compress for listeners that can have it (permessage-deflate)
              --help, --version
            """.formatted(VERSION);
        /** The arguments of nano-stream-ws (port=8081 host=... jwt_secret=... origin_whitelist=...). */
        private static final Map<String, String> ORIGINAL =
            Map.of("port", "port", "host", "host", "jwt_secret", "secret", "origin_whitelist", "origin");

        String host = "0.0.0.0";
        int port = 8080;
        final List<byte[]> secrets = new ArrayList<>();
        String newSecret;               // one that is to be printed, or null
        Duration token;                 // for which a token is to be printed, or null: serve
        Duration leeway = Duration.ZERO;
        final List<String> origins = new ArrayList<>();
        final List<URI> feeds = new ArrayList<>();
        Duration ping = Duration.ofSeconds(30);
        int maxListeners = Integer.MAX_VALUE;
        long maxLag = 8 * 1024 * 1024;  // bytes
        Duration writeTimeout = Duration.ofSeconds(10);
        Duration drain = Duration.ofSeconds(5);
        boolean deflate = true;

        /** @param makeSecret called for a bare --secret where the environment has none */
        Settings(String[] args, Map<String, String> environment, Supplier<String> makeSecret)
                throws UsageException, IOException {
            for (int i = 0; i < args.length; i++) {
                int equals = args[i].indexOf('=');
                String word = equals < 0 ? args[i] : args[i].substring(0, equals);
                String name = word.startsWith("--") ? word.substring(2) : equals < 0 ? null : ORIGINAL.get(word);
                if (name == null)
                    throw new UsageException("unexpected argument " + Log.quote(word) + "; --help lists the options");
                String value = equals < 0 ? null : args[i].substring(equals + 1);
                if (value == null && name.equals("no-deflate")) value = "yes";
                if (value == null && i + 1 < args.length && !args[i + 1].startsWith("--"))
                    value = args[++i];
                if (value == null && name.equals("secret")) {
                    value = environment.getOrDefault("NANO_STREAM_SECRET", "");
                    if (value.isEmpty())
                        value = newSecret = makeSecret.get();
                }
                if (value == null && name.equals("token"))
                    value = "10";
                set(name, value == null ? "" : value);
            }
            if (feeds.isEmpty())
                set("feed", "http://127.0.0.1:3000/");
            if (writeTimeout.isZero()) throw new UsageException("--write-timeout wants more than 0 seconds");
            if (token != null && (secrets.isEmpty() || newSecret != null))
                throw new UsageException("--token wants the server's secret: --secret S, --secret-file FILE, or "
                    + "--secret with NANO_STREAM_SECRET set");
        }

        private void set(String name, String value) throws UsageException, IOException {
            switch (name) {
                case "host" -> host = value;
                case "port" -> port = (int) number(name, value, 0, 65535);
                case "secret" -> secrets.add(value.getBytes(UTF_8));
                case "secret-file" -> secrets.add(value.isEmpty() ? new byte[0] : firstLine(value));
                case "token" -> token = seconds(name, value);
                case "leeway" -> leeway = seconds(name, value);
                case "origin" -> Arrays.stream(value.split(",", -1)).map(String::strip).forEach(origins::add);
                case "feed" -> feeds.add(feed(value));
                case "ping" -> ping = seconds(name, value);
                case "max-listeners" -> maxListeners = (int) number(name, value, 1, Integer.MAX_VALUE);
                case "max-lag" -> maxLag = number(name, value, 2 * Limits.MAX_MESSAGE, Long.MAX_VALUE);
                case "write-timeout" -> writeTimeout = seconds(name, value);
                case "drain" -> drain = seconds(name, value);
                case "no-deflate" -> deflate = false;
                default -> throw new UsageException("unknown option " + Log.quote("--" + name) + "; --help lists them");
            }
            if (value.isEmpty() || name.startsWith("secret") && secrets.getLast().length == 0)
                throw new UsageException("--" + name + " wants a value, as in --" + name + "=VALUE");
        }

        private static byte[] firstLine(String file) throws IOException {
            try {
                return Files.readString(Path.of(file)).lines().findFirst().orElse("").getBytes(UTF_8);
            } catch (InvalidPathException | IOException e) {
                throw new IOException("cannot read " + file + ": " + (e instanceof NoSuchFileException ? "no such file"
                    : e instanceof CharacterCodingException ? "it is not UTF-8" : e.getMessage()));
            }
        }

        private static long number(String name, String value, long least, long most) throws UsageException {
            if (value.matches("[0-9]{1,18}") && Long.parseLong(value) >= least && Long.parseLong(value) <= most)
                return Long.parseLong(value);
            throw new UsageException("--" + name + " wants a whole number from " + least
                + (most >= Integer.MAX_VALUE ? "" : " to " + most) + ", got " + Log.quote(value));
        }

        private static Duration seconds(String name, String value) throws UsageException {
            if (value.matches("[0-9]{1,9}(\\.[0-9]{1,3})?"))
                return Duration.ofMillis(new BigDecimal(value).movePointRight(3).longValueExact());
            throw new UsageException("--" + name + " wants seconds, as in 10 or 0.5, got " + Log.quote(value));
        }

        private static URI feed(String value) throws UsageException {
            try {
                URI uri = new URI(value);
                String plain = "http://" + uri.getRawAuthority() + uri.getRawPath(); // no user, query or fragment
                if (value.equals("-") || value.equals(plain) && uri.getHost() != null && uri.getRawUserInfo() == null
                        && uri.getPort() <= 65535)
                    return uri;
            } catch (URISyntaxException e) { // said below, like any other fault of it
            }
            throw new UsageException("--feed wants http://HOST:PORT/PATH or -, got " + Log.quote(value));
        }
    }

    // ---- 5. JSON (RFC 8259) -------------------------------------------------------------------------------------
    // Strict, since it judges tokens: a name may stand in an object once, strings are Unicode, numbers keep their
    // digits, depth is bounded.

    /** A JSON value. Members are in the order of the text; a number is kept as it was written, so no digit is lost. */
    sealed interface Json {
        record Obj(Map<String, Json> members) implements Json { }
        record Arr(List<Json> elements) implements Json { }
        record Str(String value) implements Json { }
        record Num(String text) implements Json { }
        record Bool(boolean value) implements Json { }
        record Null() implements Json { }

        /** What is wrong with a text, and at which character. */
        final class JsonException extends Exception {
            JsonException(String message) { super(message, null, false, false); }
        }

        static Json parse(String text) throws JsonException {
            Parser parser = new Parser(text);
            Json value = parser.value(0);
            if (parser.peek() != Parser.END) throw parser.expected("the end of the text");
            return value;
        }

        /** Appends the value without spaces, and with no other escapes than are needed. */
        default void write(StringBuilder out) {
            switch (this) {
                case Obj(var members) -> {
                    char before = '{';
                    for (var member : members.entrySet()) {
                        writeString(member.getKey(), out.append(before));
                        member.getValue().write(out.append(':'));
                        before = ',';
                    }
                    out.append(members.isEmpty() ? "{}" : "}");
                }
                case Arr(var elements) -> {
                    out.append('[');
                    for (int i = 0; i < elements.size(); i++)
                        elements.get(i).write(i == 0 ? out : out.append(','));
                    out.append(']');
                }
                case Str(var value) -> writeString(value, out);
                case Num(var text) -> out.append(text);
                case Bool(var value) -> out.append(value);
                case Null() -> out.append("null");
            }
        }

        private static void writeString(String value, StringBuilder out) {
            out.append('"');
            for (int i = 0; i < value.length(); i++) {
                char c = value.charAt(i);
                if (c == '"' || c == '\\')
                    out.append('\\').append(c);
                else if (c < ' ') // §7: "the control characters (U+0000 through U+001F)" must be escaped
                    out.append(c == '\n' ? "\\n" : "\\u" + HexFormat.of().toHexDigits(c));
                else
                    out.append(c);
            }
            out.append('"');
        }

        /** A recursive descent over the grammar of RFC 8259. */
        final class Parser {
            private static final int END = -1;
            private final String text;
            private int at;

            private Parser(String text) { this.text = text; }

            private Json value(int depth) throws JsonException {
                if (depth > Limits.MAX_JSON_DEPTH) // §9 allows a limit
                    throw expected("at most " + Limits.MAX_JSON_DEPTH + " levels");
                switch (peek()) {
                    case '{' -> {
                        Map<String, Json> members = new LinkedHashMap<>();
                        for (boolean first = true; next('}', first); first = false) {
                            if (peek() != '"') throw expected("a name in quotes");
                            String name = string();
                            take(':');
                            // §4: names "SHOULD be unique", and RFC 7519 §4 lets a token with two of a name be rejected
                            if (members.put(name, value(depth + 1)) != null) throw expected("every name once");
                        }
                        return new Obj(members);
                    }
                    case '[' -> {
                        List<Json> elements = new ArrayList<>();
                        for (boolean first = true; next(']', first); first = false)
                            elements.add(value(depth + 1));
                        return new Arr(elements);
                    }
                    case '"' -> { return new Str(string()); }
                    default -> {
                        return text.startsWith("true", at) ? word(4, new Bool(true))
                            : text.startsWith("false", at) ? word(5, new Bool(false))
                            : text.startsWith("null", at) ? word(4, new Null()) : number();
                    }
                }
            }

            private Json word(int length, Json value) {
                at += length;
                return value;
            }

            /** Whether an object or array, just begun or after an element, goes on; takes what stands between. */
            private boolean next(char end, boolean first) throws JsonException {
                if (first)
                    at++; // the opening bracket
                if (peek() == end) {
                    at++;
                    return false;
                }
                if (!first)
                    take(',');
                return true;
            }

            private String string() throws JsonException {
                int from = ++at;
                while (here() != '"' && here() != '\\' && here() >= ' ')
                    at++;
                if (here() == '"')
                    return text.substring(from, at++); // the usual case: nothing escaped
                StringBuilder value = new StringBuilder().append(text, from, at);
                for (; here() != '"'; at++) {
                    if (here() < ' ') throw expected("no control character in a string");
                    value.append(here() == '\\' ? escape() : (char) here());
                }
                at++;
                // §8.2: a lone surrogate has no UTF-8, so what would be sent on is not what was written
                if (!UTF_8.newEncoder().canEncode(value)) throw expected("surrogates in pairs");
                return value.toString();
            }

            /** The character that an escape stands for; leaves at on the escape's last one. */
            private char escape() throws JsonException {
                at++;
                int which = "\"\\/bfnrt".indexOf(here());
                if (which >= 0) return "\"\\/\b\f\n\r\t".charAt(which);
                for (int i = 1; i <= 4; i++)
                    if (here() != 'u' || at + i >= text.length() || !HexFormat.isHexDigit(text.charAt(at + i)))
                        throw expected("an escape");
                at += 4;
                return (char) HexFormat.fromHexDigits(text, at - 3, at + 1);
            }

            /** §6: [ minus ] int [ frac ] [ exp ], and no leading zeros. */
            private Num number() throws JsonException {
                int from = at;
                at += here() == '-' ? 1 : 0;
                if (here() == '0')
                    at++;
                else
                    digits();
                if (here() == '.') {
                    at++;
                    digits();
                }
                if (here() == 'e' || here() == 'E') {
                    at++;
                    at += here() == '+' || here() == '-' ? 1 : 0;
                    digits();
                }
                return new Num(text.substring(from, at));
            }

            private void digits() throws JsonException {
                if (here() < '0' || here() > '9') throw expected("a value");
                while (here() >= '0' && here() <= '9')
                    at++;
            }

            private void take(char c) throws JsonException {
                if (peek() != c) throw expected("'" + c + "'");
                at++;
            }

            /** The next character that is no space. */
            private int peek() {
                while (here() == ' ' || here() == '\t' || here() == '\n' || here() == '\r')
                    at++;
                return here();
            }

            private int here() { return at < text.length() ? text.charAt(at) : END; }

            private JsonException expected(String what) {
                return new JsonException("expected " + what + " at character " + at);
            }
        }
    }

    // ---- 6. HTTP (RFC 9112, RFC 9110) ---------------------------------------------------------------------------
    // Just enough of HTTP/1.1 for an upgrade, a POST and a page, and nothing lenient: what two parsers could read in
    // two ways is refused.

    /** A request's head: path decoded, query as it came or "", names in lower case, values of a name in their order. */
    record Request(String method, String path, String query, boolean http11, Map<String, List<String>> fields) {
        /** The value of a field that may be there once, or null. */
        String field(String name) throws Refusal {
            List<String> values = fields.getOrDefault(name, List.of());
            if (values.size() > 1) throw Http.malformed("more than one " + name);
            return values.isEmpty() ? null : values.getFirst();
        }

        /** Whether a comma-separated field has the token, in any case. */
        boolean lists(String name, String token) {
            for (String value : fields.getOrDefault(name, List.of()))
                for (String element : value.split(","))
                    if (element.strip().equalsIgnoreCase(token)) return true;
            return false;
        }

        /** The decoded value of a parameter of the query, which may be there once, or null. */
        String parameter(String name) throws Refusal {
            String found = null;
            for (String pair : query.split("&")) {
                String[] parts = pair.split("=", 2);
                if (!Http.percentDecode(parts[0]).equals(name)) continue;
                if (found != null) throw Http.malformed("more than one " + name + " in the query");
                found = parts.length == 1 ? "" : Http.percentDecode(parts[1]);
            }
            return found;
        }
    }

    /** The rules and texts of HTTP that have no state. */
    static final class Http {
        /** RFC 9110 §5.6.7: IMF-fixdate. */
        private static final DateTimeFormatter DATE =
            DateTimeFormatter.ofPattern("EEE, dd MMM yyyy HH:mm:ss 'GMT'", Locale.US).withZone(ZoneOffset.UTC);
        private static final Pattern VERSION = Pattern.compile("HTTP/[0-9]\\.[0-9]");

        /** RFC 9112 §2.1: start-line CRLF *( field-line CRLF ), here without the last CRLF and the empty line. */
        static Request parse(String head) throws Refusal {
            // 1. §2.2: a bare CR or LF, like any other control character but a tab, is no part of a message
            String[] lines = (head + '\r').split("\n", -1);
            if (lines.length - 1 > Limits.MAX_FIELDS)
                throw new Refusal(Rejection.HEAD_TOO_LARGE, "more than " + Limits.MAX_FIELDS + " fields");
            for (int i = 0; i < lines.length; i++) {
                int end = lines[i].length() - 1;
                if (end < 0 || lines[i].charAt(end) != '\r' || !all(lines[i] = lines[i].substring(0, end), c ->
                        c >= ' ' && c != 0x7F || c == '\t'))
                    throw malformed("control character in the head");
            }
            // 2. §3: request-line = method SP request-target SP HTTP-version
            String[] words = lines[0].split(" ", -1);
            if (words.length != 3 || !isToken(words[0]) || !VERSION.matcher(words[2]).matches())
                throw malformed("expected method, target and HTTP version, one space between");
            if (!words[2].startsWith("HTTP/1.")) throw new Refusal(Rejection.HTTP_VERSION, words[2]);
            boolean http11 = !words[2].equals("HTTP/1.0"); // RFC 9110 §2.5: a higher minor version is read as ours
            // 3. §5: field-line = field-name ":" OWS field-value OWS. A space before the name is obs-fold (§5.2), one
            // before the colon smuggles (§5.1): with neither is the name a token.
            Map<String, List<String>> fields = new HashMap<>();
            for (int i = 1; i < lines.length; i++) {
                String[] parts = lines[i].split(":", 2);
                if (parts.length != 2 || !isToken(parts[0])) throw malformed("expected a field name and a colon");
                String name = parts[0].toLowerCase(Locale.ROOT);
                fields.computeIfAbsent(name, n -> new ArrayList<>(1)).add(parts[1].strip());
            }
            // 4. §3.2.1: origin-form; §3.2.2: "a server MUST accept the absolute-form"
            String target = words[1].startsWith("/") ? words[1] : words[1].replaceFirst("^(?i:http)://[^/?#]+/?", "/");
            if (!target.startsWith("/") || !all(target, c -> c > ' ' && c < 0x7F && c != '#'))
                throw malformed("expected a path");
            String[] parts = target.split("\\?", 2);
            String query = parts.length == 1 ? "" : parts[1];
            Request request = new Request(words[0], percentDecode(parts[0]), query, http11, fields);
            // 5. §3.2: one Host. A Nano node sends an IPv6 address without brackets, which is let pass.
            String host = request.field("host");
            if (http11 && host == null || host != null && !all(host, c -> isAlphanumeric(c)
                    || "_.:%~!$&'()*+,;=[]-".indexOf(c) >= 0))
                throw malformed("expected a Host field, with a host and a port");
            return request;
        }

        /** RFC 9110 §5.6.2. */
        private static boolean isToken(String word) {
            return !word.isEmpty() && all(word, c -> isAlphanumeric(c) || "!#$%&'*+-.^_`|~".indexOf(c) >= 0);
        }

        private static boolean isAlphanumeric(int c) { return c < 0x7F && Character.isLetterOrDigit(c); }

        private static boolean all(String text, IntPredicate isAllowed) {
            for (int i = 0; i < text.length(); i++)
                if (!isAllowed.test(text.charAt(i))) return false;
            return true;
        }

        /** RFC 3986 §2.1. What it stands for has to be UTF-8. */
        static String percentDecode(String text) throws Refusal {
            if (text.indexOf('%') < 0) return text;
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try {
                for (int i = 0; i < text.length(); i += text.charAt(i) == '%' ? 3 : 1)
                    bytes.write(text.charAt(i) == '%' ? HexFormat.fromHexDigits(text, i + 1, i + 3) : text.charAt(i));
                return utf8(bytes.toByteArray());
            } catch (IllegalArgumentException | IndexOutOfBoundsException | CharacterCodingException e) {
                throw malformed("expected UTF-8, and two hexadecimal digits after each %");
            }
        }

        /** Decodes strictly: nothing is replaced. */
        static String utf8(byte[] bytes) throws CharacterCodingException {
            return UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString(); // a new decoder reports faults
        }

        /** The hash of an ASCII text. */
        static byte[] hash(String algorithm, String text) {
            try {
                return MessageDigest.getInstance(algorithm).digest(text.getBytes(ISO_8859_1));
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e); // every Java platform has SHA-1 and SHA-256
            }
        }

        static Refusal malformed(String detail) { return new Refusal(Rejection.MALFORMED, detail); }

        /** An answer. The extra fields end in CRLF each. */
        static byte[] response(String status, String fields, String type, String body, Instant now) {
            return ("HTTP/1.1 " + status + "\r\nDate: " + DATE.format(now) + "\r\n" + fields + "Content-Type: " + type
                + "\r\nContent-Length: " + body.length() + "\r\n\r\n" + body).getBytes(ISO_8859_1); // bodies are ASCII
        }

        /** What of an answer goes out: RFC 9110 §9.3.2, HEAD gets the same head, and no body. */
        static byte[] answerTo(Request request, byte[] answer) {
            if (request == null || !request.method().equals("HEAD")) return answer;
            return Arrays.copyOf(answer, new String(answer, ISO_8859_1).indexOf("\r\n\r\n") + 4);
        }

        /** The answer to a refused request: its body says no more than the status. */
        static byte[] refusal(Rejection why, String fields, Instant now) {
            return response(why.status, fields + switch (why.status.substring(0, 3)) {
                case "401" -> "WWW-Authenticate: Bearer\r\n"; // RFC 6750 §3
                case "405" -> "Allow: " + (why == Rejection.FEED_METHOD ? "POST" : "GET, HEAD") + "\r\n";
                // RFC 6455 §4.4, RFC 9110 §7.8
                case "426" -> "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
                case "503" -> "Retry-After: 5\r\n";
                default -> "";
            }, "text/plain", why.status + '\n', now);
        }

        /** Ends a connection so that the peer gets what was written: half-close, read what still comes, close. Closing
         * with something unread would reset the connection, and the reset can overtake the answer (RFC 9112 §9.6). */
        static void lingeringClose(Socket socket) {
            try (socket) {
                socket.shutdownOutput();
                byte[] dropped = new byte[1024];
                long end = System.nanoTime() + Limits.LINGER * 1_000_000L, left = Limits.LINGER;
                for (int total = 0, n = 0; n >= 0 && left > 0 && total < Limits.MAX_LINGER_BYTES; total += n) {
                    socket.setSoTimeout((int) left);
                    n = socket.getInputStream().read(dropped);
                    left = (end - System.nanoTime()) / 1_000_000;
                }
            } catch (IOException e) { // gone already, or silent for so long: closed either way
            }
        }

        static void closeQuietly(Closeable socket) {
            try {
                socket.close();
            } catch (IOException e) { // closed already
            }
        }

        /** What log lines call a peer: its address and port. */
        static String remote(Socket socket) {
            return socket.getRemoteSocketAddress().toString().substring(1); // without the / before it
        }
    }

    /** Reads the requests of one connection, one after the other. Used by one thread. */
    static final class RequestReader {
        private static final byte[] END = {'\r', '\n', '\r', '\n'};
        private final Socket socket;
        private final OutputStream out;
        private byte[] buffer = new byte[1024];
        private int start, end; // what was read and not yet taken

        /** @param out is flushed before a read that may block, so that answers can be gathered until then */
        RequestReader(Socket socket, OutputStream out) { this.socket = socket; this.out = out; }

        /** Reads a head, within HEAD_TIMEOUT of its first byte, or so many milliseconds in all if that is less; null if
         * the peer closes, or stays idle for that long, before the first byte. */
        Request head(int idle) throws IOException, Refusal {
            long deadline = deadline(idle);
            try {
                if (start == end && !fill(deadline)) return null;
            } catch (Refusal e) {
                return null;
            }
            deadline = Math.min(deadline, deadline(Limits.HEAD_TIMEOUT));
            for (int at = 0; ; at++) { // from start
                if (at == 2 && buffer[start] == '\r' && buffer[start + 1] == '\n') {
                    start += 2; // RFC 9112 §2.2: "SHOULD ignore at least one empty line (CRLF) received prior"
                    at = 0;
                }
                if (at >= Limits.MAX_HEAD)
                    throw new Refusal(Rejection.HEAD_TOO_LARGE, "more than " + Limits.MAX_HEAD + " bytes");
                if (start + at == end && !fill(deadline)) throw new EOFException();
                byte b = buffer[start + at];
                if (b >= 0 && b < ' ' && b != '\r' && b != '\n' && b != '\t')
                    throw Http.malformed("control character in the head; is it TLS?"); // now, not at the deadline
                if (b == '\n' && at >= 3 && Arrays.equals(buffer, start + at - 3, start + at + 1, END, 0, 4)) {
                    String head = new String(buffer, start, at - 3, ISO_8859_1);
                    start += at + 1;
                    return Http.parse(head);
                }
            }
        }

        /** Reads a body of so many bytes, which the caller has found to be few enough. */
        byte[] body(int length) throws IOException, Refusal {
            long deadline = deadline(Limits.BODY_TIMEOUT);
            ByteArrayOutputStream body = new ByteArrayOutputStream(); // grows with what arrives, not what is announced
            for (int n; body.size() < length; start += n) {
                if (start == end && !fill(deadline)) throw new EOFException();
                n = Math.min(end - start, length - body.size());
                body.write(buffer, start, n);
            }
            return body.toByteArray();
        }

        /** What the peer sent behind the last request. */
        byte[] rest() { return Arrays.copyOfRange(buffer, start, end); }

        private static long deadline(int millis) { return System.nanoTime() + millis * 1_000_000L; }

        /** Reads more, and moves what is buffered to the front. False at the end of the stream. */
        private boolean fill(long deadline) throws IOException, Refusal {
            if (end == buffer.length && buffer.length < Limits.MAX_HEAD) // it was filled: more comes than expected
                buffer = Arrays.copyOf(buffer, 2 * buffer.length);
            System.arraycopy(buffer, start, buffer, 0, end - start);
            end -= start;
            start = 0;
            out.flush();
            try {
                long left = deadline - System.nanoTime();
                if (left <= 0) // also for who always has a byte more
                    throw new SocketTimeoutException();
                socket.setSoTimeout((int) (left / 1_000_000) + 1);
                int n = socket.getInputStream().read(buffer, end, buffer.length - end);
                end += Math.max(0, n);
                return n >= 0;
            } catch (SocketTimeoutException e) {
                throw new Refusal(Rejection.TOO_SLOW, "");
            }
        }
    }

    // ---- 7. Origin (RFC 6454) -----------------------------------------------------------------------------------
    // Which pages may connect. It protects the users of browsers (RFC 6455 §10.2); other clients send what they like,
    // so what keeps them out is the token.

    /** The origins that are admitted; an empty list admits everybody, with an origin or without. */
    record OriginPolicy(List<Entry> allowed) {
        /** An origin, or what an entry of the list asks of one: a null scheme and port -1 stand for any. */
        private record Entry(String scheme, boolean subdomains, String host, int port) {
            private static final Pattern FORM = Pattern.compile(
                "(?:([a-z][a-z0-9+.-]*)://)?(\\*\\.)?([a-z0-9_.-]+|\\[[0-9a-f:.]+])(?::([0-9]{1,5}))?");

            /** RFC 6454 §7.1: [ scheme "://" ] [ "*." ] host [ ":" port ], or null. A scheme implies its own port. */
            static Entry parse(String text) {
                var match = FORM.matcher(text.toLowerCase(Locale.ROOT));
                if (!match.matches()) return null;
                String scheme = match.group(1), port = match.group(4);
                return new Entry(scheme, match.group(2) != null, match.group(3), port != null ? Integer.parseInt(port)
                    : "http".equals(scheme) ? 80 : "https".equals(scheme) ? 443 : -1);
            }

            boolean admits(Entry origin) {
                return (scheme == null || scheme.equals(origin.scheme)) && (port < 0 || port == origin.port)
                    && (subdomains ? origin.host.endsWith('.' + host) : origin.host.equals(host));
            }
        }

        static OriginPolicy of(List<String> list) throws UsageException {
            List<Entry> allowed = new ArrayList<>();
            for (String text : list) {
                Entry entry = Entry.parse(text);
                if (entry == null)
                    throw new UsageException("--origin wants example.com, *.example.com or https://example.com:8443, "
                        + "comma-separated, got " + Log.quote(text));
                allowed.add(entry);
            }
            return new OriginPolicy(allowed);
        }

        /** @param origin the Origin field, or null where there was none */
        boolean admits(String origin) {
            Entry from = origin == null ? null : Entry.parse(origin);
            // "null" (§7.3: an origin that must not be told) has no scheme, like everything else that is no origin
            return allowed.isEmpty() || from != null && from.scheme != null && !from.subdomains
                && allowed.stream().anyMatch(entry -> entry.admits(from));
        }
    }

    // ---- 8. Token (RFC 7515, 7519, 8725) ------------------------------------------------------------------------
    // A JSON Web Token with HS256, and nothing else: neither algorithm nor key is chosen by what the token says.

    /** base64url without padding (RFC 4648 §5, RFC 7515 §2): bytes have one spelling, and no other is taken. */
    static final class Base64Url {
        private static final String ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        private static final byte[] VALUES = new byte[128]; // by character; -1 where it stands for nothing
        static { for (int c = 0; c < VALUES.length; c++) VALUES[c] = (byte) ALPHABET.indexOf(c); }
        static String encode(byte[] bytes) {
            StringBuilder text = new StringBuilder();
            int bits = 0, count = 0; // what is not yet written, and how many bits of it
            for (byte b : bytes) {
                bits = bits << 8 | b & 0xFF;
                for (count += 8; count >= 6; count -= 6)
                    text.append(ALPHABET.charAt(bits >> count - 6 & 0b11_1111));
            }
            if (count > 0)
                text.append(ALPHABET.charAt(bits << 6 - count & 0b11_1111));
            return text.toString();
        }

        /** The bytes that the text stands for, or null where it is not what encode makes of them. */
        static byte[] decode(String text) {
            byte[] bytes = new byte[text.length() * 6 / 8];
            int bits = 0, count = 0, at = 0;
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                if (c >= VALUES.length || VALUES[c] < 0) return null;
                bits = bits << 6 | VALUES[c];
                if ((count += 6) >= 8)
                    bytes[at++] = (byte) (bits >> (count -= 8));
            }
            // One character left over stands for no byte, and bits left over have to be 0: otherwise they could be
            // anything, and one signature would have several spellings (RFC 4648 §3.5).
            return count >= 6 || (bits & (1 << count) - 1) != 0 ? null : bytes;
        }
    }

    /** What a verified token says. @param mac its signature, a character for each byte; expires Unix time in seconds */
    record Claims(String mac, double expires) { }

    /** Verifies and signs tokens. */
    static final class Jwt {
        private static final SecureRandom RANDOM = new SecureRandom();
        /** Whether a token is good now; why not, by a Refusal. Whether it was used before is not asked here. */
        static Claims verify(String token, List<byte[]> secrets, Instant now, Duration leeway) throws Refusal {
            // 1. RFC 7515 §7.1: three segments, none of them empty
            if (token.length() > Limits.MAX_TOKEN) throw invalid("longer than " + Limits.MAX_TOKEN + " characters");
            String[] segments = token.split("\\.", -1);
            if (segments.length != 3) throw invalid("expected three segments, got " + segments.length);
            // 2. RFC 7515 §4.1.1: the algorithm is ours to say (RFC 8725 §3.1), the header may only agree
            Map<String, Json> header = object(segments[0], "header");
            if (!(header.get("alg") instanceof Json.Str(var alg)) || !alg.equals("HS256"))
                throw invalid("expected alg HS256");
            // §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
            // recipient, then the JWS is invalid." None is; and b64 (RFC 7797) would change what is signed.
            if (header.containsKey("crit") || header.containsKey("b64")) throw invalid("header has crit or b64");
            // 3. RFC 7515 §5.2: the signature, before anything of the payload is looked at
            byte[] mac = Objects.requireNonNullElse(Base64Url.decode(segments[2]), new byte[0]);
            boolean signed = false;
            for (byte[] secret : secrets)
                // isEqual, not equals: the time must not depend on the content; |=, not ||: nor on which secret it is
                signed |= MessageDigest.isEqual(mac(secret, segments[0] + '.' + segments[1]), mac);
            if (!signed) throw invalid("signature does not match");
            // 4. RFC 7519 §4.1.4: "the current date/time MUST be before the expiration date/time"; §4.1.5: nbf
            Map<String, Json> payload = object(segments[1], "payload");
            if (!payload.containsKey("exp")) throw new Refusal(Rejection.TOKEN_WITHOUT_EXPIRATION, "");
            double expires = numericDate(payload, "exp"), seconds = seconds(now), skew = leeway.toMillis() / 1e3;
            if (seconds >= expires + skew)
                throw new Refusal(Rejection.TOKEN_EXPIRED, (long) (seconds - expires) + " s ago");
            if (payload.containsKey("nbf") && seconds < numericDate(payload, "nbf") - skew)
                throw invalid("not valid yet");
            // §4.1.3: who is not in a token's audience must reject it, and this server has no name that could be in it
            if (payload.containsKey("aud")) throw invalid("it is for an audience (aud)");
            return new Claims(new String(mac, ISO_8859_1), expires);
        }

        /** A new token, valid for the time given, and unlike every other by its jti. */
        static String sign(byte[] secret, Instant now, Duration valid) {
            String exp = BigDecimal.valueOf(now.plus(valid).toEpochMilli(), 3).toString();
            String payload = "{\"iat\":%d,\"exp\":%s,\"jti\":\"%s\"}".formatted(now.getEpochSecond(), exp, random(16));
            String signingInput = Base64Url.encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}".getBytes(UTF_8)) + '.'
                + Base64Url.encode(payload.getBytes(UTF_8));
            return signingInput + '.' + Base64Url.encode(mac(secret, signingInput));
        }

        /** So many random bytes, as text. A secret wants 32 of them (RFC 7518 §3.2). */
        static String random(int bytes) {
            byte[] random = new byte[bytes];
            RANDOM.nextBytes(random);
            return Base64Url.encode(random);
        }

        static double seconds(Instant instant) { return instant.getEpochSecond() + instant.getNano() / 1e9; }

        private static byte[] mac(byte[] secret, String signingInput) {
            try {
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(new SecretKeySpec(secret, "HmacSHA256"));
                return mac.doFinal(signingInput.getBytes(ISO_8859_1));
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e); // every Java platform has HmacSHA256
            }
        }

        private static Map<String, Json> object(String segment, String what) throws Refusal {
            byte[] bytes = Base64Url.decode(segment);
            try {
                if (bytes != null && Json.parse(Http.utf8(bytes)) instanceof Json.Obj(var members)) return members;
            } catch (CharacterCodingException | Json.JsonException e) {
                // said below, like every other fault of it
            }
            throw invalid(what + " is no JSON object in base64url");
        }

        /** RFC 7519 §2: NumericDate, seconds since 1970, "non-integer values can be represented". */
        private static double numericDate(Map<String, Json> payload, String name) throws Refusal {
            double value = payload.get(name) instanceof Json.Num(var text) ? Double.parseDouble(text) : Double.NaN;
            if (!Double.isFinite(value)) // a string, say, or 1e400
                throw invalid(name + " is not a finite number");
            return value;
        }

        private static Refusal invalid(String detail) { return new Refusal(Rejection.TOKEN_INVALID, detail); }
    }

    // ---- 9. Used tokens -----------------------------------------------------------------------------------------
    // A token works once. Only verified tokens get in here, and each stays until it has expired: the table cannot be
    // filled by who has no secret.

    /** The tokens that were used and have not expired yet, with their expiry. */
    static final class UsedTokens {
        private final ConcurrentHashMap<String, Double> expiries = new ConcurrentHashMap<>();
        private final InstantSource clock;
        private final double leeway; // seconds
        UsedTokens(InstantSource clock, Duration leeway) { this.clock = clock; this.leeway = leeway.toMillis() / 1e3; }

        /** Takes a token for the caller, who is the only one ever to get it: one atomic operation decides. */
        void claim(Claims claims) throws Refusal {
            if (expiries.mappingCount() >= Limits.MAX_USED_TOKENS)
                throw new Refusal(Rejection.USED_TOKENS_FULL, "let them expire sooner (exp)");
            if (expiries.putIfAbsent(claims.mac, claims.expires) != null) throw new Refusal(Rejection.TOKEN_USED, "");
            if (hasExpired(claims.expires)) // since it was verified: it may have been used, and swept
                throw new Refusal(Rejection.TOKEN_EXPIRED, "just now");
        }

        /** Forgets what has expired. Called by the scheduled executor. */
        void sweep() { expiries.values().removeIf(this::hasExpired); }

        int size() { return expiries.size(); }

        private boolean hasExpired(double expires) { return Jwt.seconds(clock.instant()) >= expires + leeway; }
    }

    // ---- 10. Opening handshake (RFC 6455 §4.2, RFC 7692 §7.1) ---------------------------------------------------
    // Judges a request to upgrade. It changes nothing: the token is claimed later, when the listener has a place.

    /** A handshake in order: the values of Sec-WebSocket-Accept and -Extensions; claims if a token is asked for. */
    record Accepted(String accept, String extensions, Claims claims) { }

    /** The server's side of the opening handshake. */
    record Handshake(OriginPolicy origins, List<byte[]> secrets, Duration leeway, boolean deflate) {
        private static final String GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // §1.3
        private static final Pattern KEY = Pattern.compile("[A-Za-z0-9+/]{21}[AQgw]=="); // 16 bytes in base64
        /** Whether a request is to be a handshake. One with a key is, even without Upgrade: a proxy ate that. */
        static boolean isMeant(Request request) {
            return request.lists("upgrade", "websocket") || request.fields().containsKey("sec-websocket-key");
        }

        /** Judges a handshake by §4.2.1, in its order. */
        Accepted judge(Request request, Instant now) throws Refusal {
            // 1. "An HTTP/1.1 or higher GET request"
            if (!request.method().equals("GET") || !request.http11())
                throw Http.malformed("a handshake is a GET of HTTP/1.1");
            if (request.fields().containsKey("transfer-encoding") || request.fields().containsKey("expect")
                    || !"0".equals(Objects.requireNonNullElse(request.field("content-length"), "0")))
                throw Http.malformed("a handshake has no body"); // it would be read as frames
            // 2. Host: every request was asked for one. 3. and 4.: Upgrade and Connection
            if (!request.lists("upgrade", "websocket") || !request.lists("connection", "upgrade"))
                throw Http.malformed("no Upgrade: websocket with Connection: Upgrade; a proxy has to pass both on");
            // 6. before 5., so that a client of another version learns which one is spoken here (§4.4)
            String version = request.field("sec-websocket-version");
            if (!"13".equals(version))
                throw new Refusal(Rejection.WEBSOCKET_VERSION, version == null ? "none" : Log.quote(version));
            // 5. "a base64-encoded value that, when decoded, is 16 bytes in length"
            String key = request.field("sec-websocket-key");
            if (key == null || !KEY.matcher(key).matches())
                throw Http.malformed("Sec-WebSocket-Key is not 16 bytes in base64");
            // 8. subprotocols: none is taken, so the field is not sent. 9. extensions
            String offers = String.join(",", request.fields().getOrDefault("sec-websocket-extensions", List.of()));
            String extensions = negotiate(offers);
            // 7. origin
            String origin = request.field("origin");
            if (!origins.admits(origin)) throw new Refusal(Rejection.ORIGIN, origin == null ? "none was sent" : "");
            return new Accepted(acceptValue(key), deflate ? extensions : "",
                secrets.isEmpty() ? null : Jwt.verify(token(request), secrets, now, leeway));
        }

        /** Answers the offers of Sec-WebSocket-Extensions: the first permessage-deflate that can be had is taken, what
         * cannot be had is declined (RFC 7692 §7.1), and only what is no list of extensions fails (RFC 6455 §9.1). */
        static String negotiate(String offers) throws Refusal {
            String taken = "";
            for (String offer : offers.isEmpty() ? new String[0] : offers.split(",")) {
                Set<String> names = new HashSet<>();
                boolean acceptable = true;
                for (String part : offer.isBlank() ? new String[0] : offer.split(";", -1)) {
                    int equals = part.indexOf('=');
                    String name = (equals < 0 ? part : part.substring(0, equals)).strip();
                    String value = equals < 0 ? "" : part.substring(equals + 1).strip();
                    if (value.length() > 2 && value.startsWith("\"") && value.endsWith("\""))
                        value = value.substring(1, value.length() - 1); // what is quoted has to be a token too
                    if (!Http.isToken(name) || equals >= 0 && (names.isEmpty() || !Http.isToken(value)))
                        throw Http.malformed("Sec-WebSocket-Extensions is no list of extensions");
                    acceptable &= names.isEmpty() ? name.equals("permessage-deflate") : switch (name) {
                        case "server_no_context_takeover", "client_no_context_takeover" -> value.isEmpty();
                        case "client_max_window_bits" -> value.isEmpty() || value.matches("[89]|1[0-5]");
                        case "server_max_window_bits" -> value.equals("15"); // the JDK's Deflater has no smaller window
                        default -> false;
                    };
                    acceptable &= names.add(name); // §7.1: nor with a parameter twice
                }
                if (acceptable && taken.isEmpty() && !names.isEmpty())
                    taken = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
                        + (names.contains("server_max_window_bits") ? "; server_max_window_bits=15" : "");
            }
            return taken;
        }

        /** The token: in the query as t, or as a bearer token (RFC 6750 §2.1) from who can set fields. */
        private static String token(Request request) throws Refusal {
            String token = request.parameter("t"), authorization = request.field("authorization");
            if (authorization != null && authorization.regionMatches(true, 0, "Bearer ", 0, 7)) {
                String bearer = authorization.substring(7).strip();
                if (token != null && !token.equals(bearer)) throw Http.malformed("two different tokens");
                token = bearer;
            }
            if (token == null || token.isEmpty()) throw new Refusal(Rejection.NO_TOKEN, "");
            return token;
        }

        /** §4.2.2 5.4.: base64 of SHA-1 of the key and the GUID. */
        static String acceptValue(String key) {
            return Base64.getEncoder().encodeToString(Http.hash("SHA-1", key + GUID));
        }

        /** The answer that admits (§4.2.2 5.). No frame goes out before it. */
        static byte[] response(Accepted accepted) {
            String extensions = accepted.extensions;
            return ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: " + accepted.accept + "\r\n"
                + (extensions.isEmpty() ? "" : "Sec-WebSocket-Extensions: " + extensions + "\r\n")
                + "\r\n").getBytes(ISO_8859_1);
        }
    }

    // ---- 11. Framing (RFC 6455 §5, RFC 7692 §7.2) ---------------------------------------------------------------
    // The encoder of our frames, which are never masked, and the reader of a listener's, which always are.

    /** Encodes frames: FIN set, no mask. */
    static final class Frame {
        private static final byte[] TAIL = {0, 0, (byte) 0xFF, (byte) 0xFF}; // RFC 7692 §7.2.1
        static byte[] of(Opcode opcode, boolean compressed, byte[] payload) {
            ByteBuffer frame = ByteBuffer.allocate(length(payload));
            put(frame, opcode, compressed, payload);
            return frame.array();
        }

        /** Bytes of the frame with this payload. */
        static int length(byte[] payload) {
            return (payload.length < 126 ? 2 : payload.length < 65536 ? 4 : 10) + payload.length;
        }

        /** Puts a frame into a buffer, with the shortest of the three length encodings (§5.2). */
        static void put(ByteBuffer to, Opcode opcode, boolean compressed, byte[] payload) {
            to.put((byte) (0b1000_0000 | (compressed ? 0b0100_0000 : 0) | opcode.bits)); // RFC 7692 §6: RSV1
            if (payload.length < 126)
                to.put((byte) payload.length);
            else if (payload.length < 65536)
                to.put((byte) 126).putShort((short) payload.length);
            else
                to.put((byte) 127).putLong(payload.length);
            to.put(payload);
        }

        /** Compresses a message by itself (RFC 7692 §7.2.1); null if that does not make it smaller. */
        static byte[] compress(Deflater deflater, byte[] message) {
            byte[] compressed = new byte[message.length];
            deflater.reset();
            deflater.setInput(message);
            int length = deflater.deflate(compressed, 0, compressed.length, Deflater.SYNC_FLUSH);
            return length == compressed.length ? null : Arrays.copyOf(compressed, length - TAIL.length);
        }

        /** The payload of a close frame (§5.5.1): the code, and the reason, which is ASCII here. */
        static byte[] closePayload(int code, String reason) {
            ByteBuffer payload = ByteBuffer.allocate(2 + reason.length());
            return payload.putShort((short) code).put(reason.getBytes(UTF_8)).array();
        }
    }

    /** A control frame that was received, unmasked. */
    record ControlFrame(Opcode opcode, byte[] payload) { }

    /** Whether bytes that come in pieces are UTF-8 (RFC 3629): it says so at the first byte that cannot be. */
    static final class Utf8Check {
        private final CharsetDecoder decoder = UTF_8.newDecoder(); // reports what is malformed
        private final CharBuffer decoded = CharBuffer.allocate(256); // not looked at
        private ByteBuffer begun = ByteBuffer.allocate(0); // up to three bytes of a character
        void add(byte[] bytes, int offset, int length, boolean last) throws ProtocolException {
            ByteBuffer input = ByteBuffer.allocate(begun.remaining() + length);
            input.put(begun).put(bytes, offset, length).flip();
            CoderResult result;
            do {
                result = decoder.decode(input, decoded.clear(), last);
                if (result.isError()) // §8.1
                    throw new ProtocolException(CloseCode.INVALID_PAYLOAD, "text is not UTF-8");
            } while (result.isOverflow());
            // The decoder waits for the third byte of a surrogate (ED A0 to ED BF), which has no UTF-8 whatever comes.
            if (input.remaining() == 2 && (input.getShort(input.position()) & 0xFFE0) == 0xEDA0)
                throw new ProtocolException(CloseCode.INVALID_PAYLOAD, "text is not UTF-8");
            begun = input;
        }
    }

    /** Who gets the data of messages, piece by piece; the last piece may be empty. */
    interface Sink { void data(Opcode type, byte[] bytes, int offset, int length, boolean last) throws IOException; }

    /** What a reader takes: bytes of its buffer and of a message, fragments of one; whether floods are stopped. */
    record Bounds(int buffer, int message, int fragments, boolean paced) {
        static final Bounds LISTENER =
            new Bounds(Limits.READ_BUFFER, Limits.MAX_CLIENT_MESSAGE, Limits.MAX_FRAGMENTS, true);
    }

    /** Reads a client's frames and checks them against §5. Control frames are returned; data goes to the sink, checked
     * and inflated. Used by one thread. */
    static final class FrameReader {
        private final InputStream in;
        private byte[] buffer;
        private final boolean deflate; // permessage-deflate was agreed on
        private final Bounds bounds;
        private final Sink sink;
        private int start, end; // what was read and not yet taken
        private volatile long lastRead = System.nanoTime(); // when something last came
        // The message under way (§5.4):
        private Opcode message; // TEXT, BINARY, or null between two
        private Utf8Check utf8; // of a text
        private Inflater inflater; // of a compressed message
        private int length, fragments, inflated;
        private int work, paces; // see pace
        private long paced;

        /** @param rest what was read beyond the request's head */
        FrameReader(InputStream in, byte[] rest, boolean deflate, Bounds bounds, Sink sink) {
            this.in = in;
            this.buffer = Arrays.copyOf(rest, Math.max(rest.length, Limits.MAX_FRAME_HEADER)); // it may stay idle
            this.end = rest.length;
            this.deflate = deflate;
            this.bounds = bounds;
            this.sink = sink;
        }

        /** Reads up to the end of the next control frame: §5.2, Base Framing Protocol, bit by bit. */
        ControlFrame next() throws IOException, ProtocolException {
            while (true) {
                need(2);
                int b0 = buffer[start++], b1 = buffer[start++];
                // 1. FIN and opcode
                boolean fin = (b0 & 0b1000_0000) != 0;
                Opcode opcode = Opcode.of(b0 & 0b0000_1111);
                // 2. RSV1 to RSV3: "MUST be 0 unless an extension is negotiated"; RFC 7692 §6: RSV1 begins a message
                int rsv = b0 & 0b0111_0000;
                if (rsv != 0 && (rsv != 0b0100_0000 || !deflate || opcode.isControl() || opcode == Opcode.CONTINUATION))
                    throw error("reserved bits must be 0");
                // 3. §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
                if ((b1 & 0b1000_0000) == 0) throw error("frame is not masked");
                // 4. payload length: "the minimal number of bytes MUST be used", "the most significant bit MUST be 0"
                int announced = b1 & 0b0111_1111;
                long payload = announced == 126 ? take(2) : announced == 127 ? take(8) : announced;
                if (announced == 126 && payload < 126 || announced == 127 && payload < 65536) // or below 0
                    throw error("length is not encoded minimally");
                // 5. §5.5: control frames have at most 125 bytes and are not fragmented; §5.4: messages do not mix
                if (opcode.isControl() && (payload > Limits.MAX_CONTROL_PAYLOAD || !fin))
                    throw error("control frame is too long or fragmented");
                if (!opcode.isControl())
                    begin(opcode, payload, rsv != 0);
                // 6. masking key. 7. payload
                int maskingKey = (int) take(4);
                pace();
                if (!opcode.isControl()) {
                    read((int) payload, maskingKey, fin);
                    continue;
                }
                need((int) payload);
                unmask((int) payload, maskingKey, 0);
                start += (int) payload;
                return new ControlFrame(opcode, Arrays.copyOfRange(buffer, start - (int) payload, start));
            }
        }

        /** §5.4: a message begins with TEXT or BINARY and goes on with CONTINUATION. What is announced is bounded. */
        private void begin(Opcode opcode, long payload, boolean compressed) throws ProtocolException {
            if ((opcode == Opcode.CONTINUATION) != (message != null))
                throw error(message == null ? "nothing to continue" : "expected a continuation");
            if (message == null) {
                message = opcode;
                utf8 = opcode == Opcode.TEXT ? new Utf8Check() : null;
                inflater = compressed ? new Inflater(true) : null;
                length = fragments = inflated = 0;
            }
            if (payload > bounds.message - length || ++fragments > bounds.fragments)
                throw new ProtocolException(CloseCode.MESSAGE_TOO_BIG, "message is too big");
            length += (int) payload;
        }

        /** Reads a data frame's payload piece by piece. */
        private void read(int payload, int maskingKey, boolean fin) throws IOException, ProtocolException {
            int at = 0;
            do {
                need(at < payload ? 1 : 0);
                int piece = Math.min(end - start, payload - at);
                unmask(piece, maskingKey, at);
                at += piece;
                if (inflater == null)
                    deliver(buffer, start, piece, fin && at == payload);
                else
                    inflate(buffer, start, piece, fin && at == payload);
                start += piece;
            } while (at < payload);
            if (fin) {
                message = null;
                utf8 = null;
                release();
            }
        }

        private void deliver(byte[] bytes, int offset, int length, boolean last) throws IOException, ProtocolException {
            if (utf8 != null)
                utf8.add(bytes, offset, length, last);
            sink.data(message, bytes, offset, length, last);
        }

        /** RFC 7692 §7.2.2: the tail that the sender has cut off goes behind the message's last piece. */
        private void inflate(byte[] bytes, int offset, int length, boolean last) throws IOException, ProtocolException {
            byte[] output = new byte[Math.max(1024, bounds.buffer)];
            try {
                inflater.setInput(bytes, offset, length);
                for (boolean more = true, tail = last; more; ) {
                    pace(); // a few bytes can stand for many
                    int n = inflater.inflate(output), rest = inflater.getRemaining();
                    if ((inflated += n) > bounds.message) // before anything of it is kept
                        throw new ProtocolException(CloseCode.MESSAGE_TOO_BIG, "message is too big");
                    if (n > 0) {
                        deliver(output, 0, n, false);
                    } else if (inflater.finished() && rest > 0 && tail == last) { // §7.2.3.4: more follows
                        inflater.reset();
                        inflater.setInput(bytes, offset + length - rest, rest);
                    } else if (more = tail && !inflater.finished()) {
                        inflater.setInput(Frame.TAIL);
                        tail = false;
                    }
                }
                if (last)
                    deliver(output, 0, 0, true);
            } catch (DataFormatException e) {
                throw new ProtocolException(CloseCode.INVALID_PAYLOAD, "compressed data is invalid");
            }
        }

        /** Frees the memory of the inflater, which is not the collector's. */
        void release() {
            if (inflater != null)
                inflater.end();
            inflater = null;
        }

        /** §5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-j", j = i MOD 4, from i = at. */
        private void unmask(int length, int maskingKey, int at) {
            for (int i = 0; i < length; i++)
                buffer[start + i] ^= (byte) (maskingKey >>> 24 - ((at + i) & 3) * 8);
        }

        /** An integer of so many bytes in network byte order. */
        private long take(int bytes) throws IOException, ProtocolException {
            need(bytes);
            long value = 0;
            for (int i = 0; i < bytes; i++)
                value = value << 8 | buffer[start++] & 0xFF;
            return value;
        }

        /** Reads until so many bytes, at most those of a control frame, are buffered. */
        private void need(int bytes) throws IOException, ProtocolException {
            if (buffer.length < bytes)
                buffer = Arrays.copyOf(buffer, bounds.buffer);
            if (buffer.length - start < bytes) {
                System.arraycopy(buffer, start, buffer, 0, end -= start);
                start = 0;
            }
            while (end - start < bytes) {
                int n = in.read(buffer, end, Math.min(bounds.buffer, buffer.length - end)); // a rest may be longer
                if (n < 0) throw new EOFException();
                end += n;
                if (end == buffer.length && end < bounds.buffer) // it was filled: more comes
                    buffer = Arrays.copyOf(buffer, bounds.buffer);
                lastRead = System.nanoTime();
                pace();
            }
        }

        /** Counts a read, a frame, or a KiB inflated. A virtual thread is not preempted, so who sends without pause
         * would keep a processor from the others: he is made to wait, and fails when he goes on for long. */
        private void pace() throws ProtocolException {
            if (!bounds.paced || ++work % Limits.PACE != 0) return;
            long now = System.nanoTime();
            paces = now - paced < 1_000_000_000L ? paces + 1 : 1;
            paced = now;
            if (paces > Limits.MAX_PACES)
                throw new ProtocolException(CloseCode.POLICY_VIOLATION, "listeners have nothing to say");
            LockSupport.parkNanos(Limits.PACE_PAUSE * 1_000_000L);
        }

        private static ProtocolException error(String reason) {
            return new ProtocolException(CloseCode.PROTOCOL_ERROR, reason);
        }
    }

    // ---- 12. Stream log -----------------------------------------------------------------------------------------
    // What goes to everybody, as the bytes that go onto the wire: messages, pings, at the end the close frame. It is
    // append-only; the collector frees a segment when the last cursor has left it.

    /** A piece of the log. What is below the limit never changes, and the limit moves by whole frames. */
    static final class Segment {
        final long base; // offset in the log of bytes[0]
        final byte[] bytes;
        volatile int limit;     // written by append, after the bytes
        volatile Segment next;  // written by append, after the last change of limit

        Segment(long base, int size) { this.base = base; this.bytes = new byte[size]; }
    }

    /** The log. Offsets are absolute: bytes since it began. */
    static final class StreamLog {
        volatile Segment tail = new Segment(0, Limits.SEGMENT); // where frames are appended, and cursors begin
        private volatile long closedAt = Long.MAX_VALUE; // the offset behind the close frame

        /** Appends a frame, the close frame last of all. Called by one thread at a time. */
        void append(Opcode opcode, boolean compressed, byte[] payload) {
            int length = Frame.length(payload);
            Segment last = tail, to = last;
            if (length > last.bytes.length - last.limit)
                to = new Segment(end(), Math.max(length, Limits.SEGMENT));
            Frame.put(ByteBuffer.wrap(to.bytes, to.limit, length), opcode, compressed, payload);
            if (opcode == Opcode.CLOSE) // before the frame can be seen: who has sent it all knows that it was all
                closedAt = end() + length;
            to.limit += length;
            if (to != last) {
                tail = to;
                last.next = to;
            }
        }

        /** The offset behind the last frame. */
        long end() {
            Segment last = tail;
            return last.base + last.limit;
        }

        /** Whether a cursor at this offset has passed the close frame. */
        boolean isClosedAt(long offset) { return offset >= closedAt; }
    }

    // ---- 13. Listener (RFC 6455 §5.5, §7) -----------------------------------------------------------------------
    // One connection after its opening handshake. It is written by whoever holds its write lock, always whole frames,
    // and read by one thread, which also ends it.

    /** A listener. */
    static class Listener implements Sink {
        /** An offset that is never behind: nothing follows a close frame (§5.5.1), or a reset. */
        static final long ENDED = Long.MAX_VALUE;
        private final Socket socket;
        private final OutputStream out;
        private final FrameReader reader;
        private final StreamLog log;
        private final ReentrantLock writeLock = new ReentrantLock();
        // The cursor, which rests between two frames; moved under writeLock:
        private Segment segment;
        private volatile long offset;           // in the log; or ENDED, which anybody may set
        private volatile String dropped;        // why the server ended it, or null
        volatile boolean straggling;            // its lane passes it over: see Lane

        /** Takes the cursor, so that who then sees the answer to his handshake misses no message.
         * @param rest what was read beyond the request's head */
        Listener(Socket socket, byte[] rest, StreamLog log, boolean deflate, Bounds bounds) throws IOException {
            this.socket = socket;
            this.out = socket.getOutputStream();
            this.reader = new FrameReader(socket.getInputStream(), rest, deflate, bounds, this);
            this.log = log;
            this.segment = log.tail;
            this.offset = segment.base + segment.limit;
        }

        /** Bytes of the log that it has not been sent; 0 or less when there are none. */
        long lag() { return log.end() - offset; }

        /** Writes what the log has and the listener has not. Called when there is more, and by everybody who has held
         * the write lock and so kept others from it. @return false if somebody else is writing, who then does this */
        boolean catchUp() {
            while (lag() > 0) {
                if (!writeLock.tryLock()) return false;
                try {
                    writeSegment();
                } catch (IOException e) {
                    reset(null);
                } finally {
                    writeLock.unlock();
                }
            }
            return true;
        }

        /** Writes what the log has up to the end of a segment, by one write, and moves the cursor behind it. */
        private void writeSegment() throws IOException {
            long from = offset;
            if (log.end() <= from) return; // somebody else was faster, or it has ended
            Segment next = segment.next; // read before the limit, which is final if there is a next
            if (next != null && from == next.base)
                segment = next;
            int position = (int) (from - segment.base), limit = segment.limit;
            out.write(segment.bytes, position, limit - position);
            // This can undo a reset's ENDED; the next write then finds the socket closed, and resets once more.
            offset = log.isClosedAt(segment.base + limit) ? ENDED : segment.base + limit;
        }

        /** A listener has nothing to say: what it sends was checked and counted, and is dropped. */
        @Override
        public void data(Opcode type, byte[] bytes, int offset, int length, boolean last) { }

        /** Reads until the connection ends, and ends it. @return how the listener left, for the log */
        String read() {
            try {
                while (true) {
                    ControlFrame frame = reader.next();
                    if (frame.opcode() == Opcode.CLOSE) return close(frame.payload());
                    if (frame.opcode() == Opcode.PING)
                        send(Opcode.PONG, false, frame.payload()); // §5.5.3: "identical Application data"
                    // §5.5.3: a pong wants no answer; that it came is what the heartbeat looks for
                }
            } catch (ProtocolException e) { // §7.1.7: send the code, process nothing more, close
                dropped = e.code + " " + e.getMessage();
                send(Opcode.CLOSE, false, Frame.closePayload(e.code, e.getMessage()));
                Http.lingeringClose(socket);
            } catch (IOException e) {
                reset(null);
            } finally {
                reader.release();
            }
            return "without a close frame";
        }

        /** §5.5.1: a close frame came. It is answered with its own code, and the connection ends (§7.1.1). */
        private String close(byte[] payload) throws ProtocolException {
            int code = payload.length < 2 ? 1005 : ByteBuffer.wrap(payload).getShort() & 0xFFFF; // §7.1.5: 1005 is none
            if (payload.length == 1 || payload.length > 1 && !CloseCode.mayBeReceived(code))
                throw new ProtocolException(CloseCode.PROTOCOL_ERROR, "close code is not allowed");
            if (payload.length > 2)
                new Utf8Check().add(payload, 2, payload.length - 2, true);
            send(Opcode.CLOSE, false, Arrays.copyOf(payload, Math.min(2, payload.length)));
            Http.lingeringClose(socket);
            return "with " + code;
        }

        /** Sends a frame between two frames of the log, unless the close frame went out already. */
        void send(Opcode opcode, boolean compressed, byte[] payload) {
            writeLock.lock(); // for as long as a listener may be stuck
            try {
                if (offset != ENDED)
                    out.write(Frame.of(opcode, compressed, payload));
                if (opcode == Opcode.CLOSE)
                    offset = ENDED;
            } catch (IOException e) {
                reset(null);
            } finally {
                writeLock.unlock();
            }
            catchUp();
        }

        /** Resets the connection, the only way to end one that takes nothing; its reader then finds that out.
         * @param why the reason, or null if the connection was broken already */
        void reset(String why) {
            if (dropped == null)
                dropped = why;
            try {
                socket.setSoLinger(true, 0); // do not wait for what it has not taken
            } catch (IOException e) { // closed already
            }
            Http.closeQuietly(socket);
            offset = ENDED;
        }
    }

    // ---- 14. Lanes ----------------------------------------------------------------------------------------------
    // Waking one thread for each listener and message would cost more than the write. So listeners are spread over a
    // few lanes, and a lane's walker, one virtual thread, sends each of them what is missing.
    //
    // A write to a full socket blocks. The watchdog then starts another walker for the lane, which passes over the
    // blocked listener, since its write lock is held. Where many block at once, the number of walkers that a look
    // starts doubles with each look, so that it takes logarithmic time to get past all of them. The walker that was
    // blocked stays with its listener for a while: who cannot keep up once will not the next time.

    /** Some of the listeners, and who writes to them. */
    static final class Lane {
        private final Broadcaster broadcaster;
        private final CopyOnWriteArrayList<Listener> listeners = new CopyOnWriteArrayList<>();
        private volatile Walker walker = new Walker(true); // the one in charge; replaced by the watchdog
        private volatile long swept;    // all listeners that are not stuck have got the log up to here
        private long lookedAt;          // watchdog only: the walker's steps at the last look
        private int relief = 1;         // watchdog only: how many walkers the next look starts, if need be

        Lane(Broadcaster broadcaster) { this.broadcaster = broadcaster; }

        /** Walks the lane. The one in charge goes on for ever; one that only relieves it does so once. */
        final class Walker implements Runnable {
            private final boolean inCharge;
            private final Thread thread = Thread.ofVirtual().name("walker").unstarted(this);
            /** Whom it is writing to; null between two writes, and once the watchdog has relieved it. */
            private final AtomicReference<Listener> at = new AtomicReference<>();
            private final AtomicLong steps = new AtomicLong();

            Walker(boolean inCharge) { this.inCharge = inCharge; }

            @Override
            public void run() {
                Listener blocked;
                while (true) {
                    long end = broadcaster.log.end(); // before the sweep: what comes during it is for the next one
                    if ((blocked = sweep()) != null || !inCharge) break;
                    swept = end; // by the one in charge alone, so it never goes back
                    if (broadcaster.log.end() == end)
                        LockSupport.park(this); // a wake-up since the line above is not lost: it makes this return
                    else
                        Thread.yield(); // a virtual thread is not preempted, and others have work too
                }
                if (blocked != null)
                    stayWith(blocked);
            }

            /** Brings everybody up to date. In a method of its own: what stands in the frame of one that is parked is
             * not collected, and a listener there would keep the log. @return at whom it was relieved, or null */
            private Listener sweep() {
                for (Listener listener : listeners) {
                    if (listener.straggling || listener.lag() <= 0) continue;
                    at.set(listener);
                    steps.lazySet(steps.getPlain() + 1);
                    if (!listener.catchUp())
                        broadcaster.watch(listener);
                    if (!at.compareAndSet(listener, null)) return listener;
                }
                return null;
            }

            /** Relieved while it wrote: goes on for that listener alone, until he has kept up for some rounds. */
            private void stayWith(Listener listener) {
                listener.straggling = true;
                for (int calm = 0; calm < Limits.STRAGGLER_ROUNDS && listener.offset != Listener.ENDED; ) {
                    LockSupport.parkNanos(Limits.STRAGGLER_PAUSE * 1_000_000L);
                    long before = System.nanoTime();
                    broadcaster.watch(listener);
                    listener.catchUp();
                    calm = System.nanoTime() - before < Limits.LOOK * 1_000_000L ? calm + 1 : 0;
                }
                listener.straggling = false;
                listener.catchUp();
            }
        }

        /** Watchdog only: relieves the walker if it has been in one write since the last look. */
        private void look() {
            Walker looked = walker;
            Listener blocked = looked.at.get();
            long steps = looked.steps.get();
            // One that has just relieved another, and is in a write already, has most likely met the next one blocked.
            boolean moved = blocked == null || steps != lookedAt && relief == 1;
            lookedAt = steps;
            // One that waits is blocked in a write; one that has only to wait for a processor is RUNNABLE.
            if (moved || looked.thread.getState() != Thread.State.WAITING || !looked.at.compareAndSet(blocked, null)) {
                relief = 1;
                return;
            }
            broadcaster.watch(blocked);
            walker = new Walker(true);
            walker.thread.start();
            for (int i = 1; i < relief; i++)
                new Walker(false).thread.start();
            relief = Math.min(2 * relief, Limits.MAX_RELIEF);
        }
    }

    /** The log, the lanes, and the listeners in them. */
    static final class Broadcaster {
        /** A listener that somebody could not write to: where it stood, and since when (System.nanoTime). */
        private record Watch(long offset, long since) { }
        final StreamLog log = new StreamLog();
        final StreamLog compressed = new StreamLog(); // the same frames, the larger messages compressed
        private final Deflater deflater = new Deflater(Deflater.DEFAULT_COMPRESSION, true); // under appending
        private final ReentrantLock appending = new ReentrantLock();
        private int inflating; // listeners of the compressed log, which is written when there are any; under appending
        private final List<Lane> lanes = new ArrayList<>();
        private final Map<Listener, Watch> watched = new ConcurrentHashMap<>();
        private final long maxLag, writeTimeout; // bytes, nanoseconds

        Broadcaster(long maxLag, Duration writeTimeout) {
            this.maxLag = maxLag;
            this.writeTimeout = writeTimeout.toNanos();
            for (int i = 0; i < Limits.LANES; i++)
                lanes.add(new Lane(this));
            lanes.forEach(lane -> lane.walker.thread.start());
        }

        /** Broadcasts a message, and returns when the lanes are within WINDOW of it, so that a publisher who waits for
         * that cannot outrun the server. @return false, with nothing broadcast, if the stream has been closed */
        boolean publish(byte[] message) {
            if (!send(Opcode.TEXT, message)) return false;
            for (long end = log.end(); lag(end) > Limits.WINDOW; ) // what others publish meanwhile is their affair
                LockSupport.parkNanos(Limits.WINDOW_PAUSE * 1_000_000L);
            return true;
        }

        /** Sends a frame to everybody, in its place among the messages. The close frame is the last. */
        boolean send(Opcode opcode, byte[] payload) {
            appending.lock();
            try {
                if (log.isClosedAt(log.end())) return false;
                if (inflating > 0) { // before the other log, by whose end the lanes tell what is to be done
                    byte[] smaller = opcode == Opcode.TEXT && payload.length >= Limits.MIN_DEFLATED
                        ? Frame.compress(deflater, payload) : null;
                    compressed.append(opcode, smaller != null, smaller != null ? smaller : payload);
                }
                log.append(opcode, false, payload);
            } finally {
                appending.unlock();
            }
            for (Lane lane : lanes)
                if (!lane.listeners.isEmpty())
                    LockSupport.unpark(lane.walker.thread);
            return true;
        }

        /** The log for a listener to be, which has everything from now on. Undone by remove, or by a change of -1. */
        StreamLog logFor(boolean deflate, int change) {
            if (!deflate) return log;
            appending.lock();
            inflating += change;
            appending.unlock();
            return compressed;
        }

        /** Takes a listener in, whose cursor may be behind already. */
        void add(Listener listener) {
            Lane lane = laneOf(listener);
            lane.listeners.add(listener);
            if (lane.swept < log.end()) // which a lane without listeners does not keep up, and publishers wait for
                LockSupport.unpark(lane.walker.thread);
            if (listener.lag() > 0) // since before the walker could see it
                watch(listener);
            listener.catchUp();
        }

        void remove(Listener listener) {
            laneOf(listener).listeners.remove(listener);
            watched.remove(listener);
            logFor(listener.log == compressed, -1);
        }

        int size() { return lanes.stream().mapToInt(lane -> lane.listeners.size()).sum(); }

        /** Any lane is as good, as long as it is the same one at the end. */
        private Lane laneOf(Listener listener) { return lanes.get(System.identityHashCode(listener) % Limits.LANES); }

        List<Listener> listeners() { return lanes.stream().flatMap(lane -> lane.listeners.stream()).toList(); }

        /** Drops who is silent for two intervals, and asks the others for a sign of life (§5.5.2). */
        void heartbeat(Duration interval) {
            long now = System.nanoTime();
            for (Listener listener : listeners())
                if (now - listener.reader.lastRead > 2 * interval.toNanos())
                    listener.reset("nothing was heard from it for two intervals (--ping)");
            if (size() > 0)
                send(Opcode.PING, new byte[0]);
        }

        /** Watchdog: relieves the lanes that stand; evicts who is too far behind, or took nothing for too long. */
        void look() {
            lanes.forEach(Lane::look);
            long now = System.nanoTime();
            watched.forEach((listener, watch) -> {
                long lag = listener.lag(), offset = listener.offset;
                if (lag <= 0)
                    watched.remove(listener);
                else if (lag > maxLag)
                    listener.reset("it is " + lag + " bytes behind (--max-lag)");
                else if (offset != watch.offset)
                    watched.put(listener, new Watch(offset, now));
                else if (now - watch.since > writeTimeout)
                    listener.reset("one write stood for " + writeTimeout / 1_000_000 + " ms (--write-timeout)");
            });
        }

        /** Somebody else is writing to the listener, and may be blocked: it is watched until it has caught up. */
        private void watch(Listener listener) {
            if (!watched.containsKey(listener))
                watched.put(listener, new Watch(listener.offset, System.nanoTime()));
        }

        /** Bytes that the slowest lane is behind an offset. */
        private long lag(long end) {
            long slowest = end;
            for (Lane lane : lanes)
                if (!lane.listeners.isEmpty())
                    slowest = Math.min(slowest, lane.swept);
            return end - slowest;
        }
    }

    // ---- 15. Feed -----------------------------------------------------------------------------------------------
    // Where messages come from. A Nano node's callback is made into the flat object that listeners of this stream have
    // always got; everything else goes out byte for byte.

    /** Blocks a second, over the whole seconds since the first block. */
    static final class Rate {
        private final int[] counts = new int[601]; // of second s at s % 601: ten minutes, and the second under way
        private long first = -1, last; // seconds
        private final ReentrantLock lock = new ReentrantLock();

        /** The means over the last minute and the last ten; 1 before the first second is over. */
        record Means(double minute, double tenMinutes) { }
        /** Counts a block, after telling the means. @param now Unix time in seconds; a step back counts as no step */
        Means count(long now) {
            lock.lock();
            try {
                if (first < 0)
                    first = last = now;
                for (last = Math.max(last, now - counts.length); last < now; )
                    counts[(int) (++last % counts.length)] = 0;
                Means means = new Means(mean(60), mean(600));
                counts[(int) (last % counts.length)]++;
                return means;
            } finally {
                lock.unlock();
            }
        }

        private double mean(int window) {
            long seconds = Math.min(window, last - first), sum = 0;
            for (long second = last - seconds; second < last; second++)
                sum += counts[(int) (second % counts.length)];
            return seconds == 0 ? 1 : (double) sum / seconds;
        }
    }

    /** A Nano node's callback, and what listeners get of it. */
    static final class NanoBlock {
        private static final int NANO_DIGITS = 30;      // 1 NANO is 10^30 raw
        private static final int SHOWN_DIGITS = 15;     // decimals of NANO that are kept
        private static final Pattern DECIMAL = Pattern.compile("[0-9]{1,39}");
        private static final Pattern HEX = Pattern.compile("[0-9A-Fa-f]{1,32}");

        /** Whether a JSON value is a callback: an object whose block is a string or an object. */
        static boolean isCallback(Json json) {
            return json instanceof Json.Obj(var members)
                && (members.get("block") instanceof Json.Str || members.get("block") instanceof Json.Obj);
        }

        /** The flat object: the callback's members without block, the block's, which win, and is_send, seen, tps, tpm.
         * @throws Json.JsonException if the block is no JSON object, or an amount no number of raw */
        static String flatten(Json callback, Instant seen, Rate rate) throws Json.JsonException {
            Map<String, Json> merged = new LinkedHashMap<>(((Json.Obj) callback).members());
            Json block = merged.remove("block");
            if (!((block instanceof Json.Str(var text) ? Json.parse(text) : block) instanceof Json.Obj(var members)))
                throw new Json.JsonException("expected a JSON object");
            merged.putAll(members);
            Map<String, Json> flat = new LinkedHashMap<>();
            boolean legacySend = new Json.Str("send").equals(merged.get("type"));
            for (var member : merged.entrySet()) {
                String name = member.getKey();
                if (name.equals("amount") || name.equals("balance")) {
                    BigInteger raw = raw(name, member.getValue(), legacySend && name.equals("balance") ? 16 : 10);
                    BigDecimal nano = new BigDecimal(raw, NANO_DIGITS).setScale(SHOWN_DIGITS, RoundingMode.DOWN);
                    flat.put(name, new Json.Num(nano.stripTrailingZeros().toPlainString()));
                    flat.put(name + "_raw", new Json.Num(raw.toString()));
                } else {
                    flat.put(name, member.getValue());
                }
            }
            boolean isSend = List.of(new Json.Str("true"), new Json.Bool(true)).contains(
                merged.getOrDefault("is_send", new Json.Null()));
            flat.put("is_send", new Json.Bool(isSend));
            Rate.Means means = rate.count(seen.getEpochSecond());
            flat.put("seen", new Json.Num(BigDecimal.valueOf(seen.toEpochMilli(), 3).toString()));
            flat.put("tps", new Json.Num(Double.toString(means.minute)));
            flat.put("tpm", new Json.Num(Double.toString(60 * means.tenMinutes)));
            StringBuilder out = new StringBuilder(1024);
            new Json.Obj(flat).write(out);
            return out.toString();
        }

        /** An amount in raw, an unsigned 128-bit number. The node writes strings; plain digits will do as well. */
        private static BigInteger raw(String name, Json value, int radix) throws Json.JsonException {
            String digits = value instanceof Json.Str(var text) ? text : value instanceof Json.Num(var num) ? num : "";
            boolean valid = (radix == 16 ? HEX : DECIMAL).matcher(digits).matches();
            if (!valid || new BigInteger(digits, radix).bitLength() > 128)
                throw new Json.JsonException("expected a number of raw in " + name);
            return new BigInteger(digits, radix);
        }
    }

    /** Takes messages and broadcasts them. */
    record Feed(Broadcaster broadcaster, InstantSource clock, Log events, Rate rate) {
        /** Broadcasts one message; returns when it is in the log and the lanes have got near it. */
        void publish(byte[] message) throws Refusal {
            if (message.length == 0) throw new Refusal(Rejection.BAD_MESSAGE, "it is empty");
            if (!broadcaster.publish(translate(message))) throw new Refusal(Rejection.DRAINING, "");
        }

        private byte[] translate(byte[] message) throws Refusal {
            Json json = null;
            try {
                String text = Http.utf8(message); // RFC 6455 §5.6: the payload of a text frame is UTF-8
                if (text.stripLeading().startsWith("{"))
                    json = Json.parse(text);
            } catch (CharacterCodingException e) {
                throw new Refusal(Rejection.BAD_MESSAGE, "it is not UTF-8");
            } catch (Json.JsonException e) { // some other text
            }
            if (!NanoBlock.isCallback(json)) return message;
            try {
                return NanoBlock.flatten(json, clock.instant(), rate).getBytes(UTF_8);
            } catch (Json.JsonException e) {
                throw new Refusal(Rejection.BAD_MESSAGE, "its block cannot be read: " + e.getMessage());
            }
        }

        /** Takes POSTs on one connection, one after the other. @param path the only one that is taken; / for any */
        void serve(Socket socket, String path) throws IOException {
            OutputStream out = new BufferedOutputStream(socket.getOutputStream(), 1024);
            RequestReader reader = new RequestReader(socket, out);
            int idle = Limits.HEAD_TIMEOUT;
            boolean open = true;
            while (open) {
                Request request = null;
                Rejection refused = null;
                try {
                    open = false; // unless the whole request has been read
                    request = reader.head(idle);
                    idle = Limits.FEED_IDLE; // from the second one on: who has posted nothing may not stay
                    if (request == null) break;
                    byte[] message = reader.body(contentLength(request, path, out));
                    open = request.http11() && !request.lists("connection", "close"); // RFC 9112 §9.3
                    publish(message);
                } catch (Refusal refusal) {
                    events.event("feed", Http.remote(socket) + " refused: " + refusal.getMessage());
                    refused = refusal.why;
                }
                String connection = open ? "" : "Connection: close\r\n";
                Instant now = clock.instant();
                out.write(Http.answerTo(request, refused != null ? Http.refusal(refused, connection, now)
                    : Http.response("200 OK", connection, "text/plain", "ok", now)));
            }
            out.flush();
            Http.lingeringClose(socket);
        }

        /** Judges a POST by its head. @return how many bytes of body there are to read */
        private static int contentLength(Request request, String path, OutputStream out) throws IOException, Refusal {
            // Any page can make a browser post to localhost; it cannot keep the browser from saying so (CSRF).
            if (request.fields().containsKey("origin") || request.fields().containsKey("sec-fetch-site"))
                throw new Refusal(Rejection.BROWSER, "it sent an Origin or a Sec-Fetch-Site field");
            // isEqual, not equals: a path may serve as a secret
            if (!path.equals("/") && !MessageDigest.isEqual(path.getBytes(UTF_8), request.path().getBytes(UTF_8)))
                throw new Refusal(Rejection.NOT_FOUND, "");
            if (!request.method().equals("POST")) throw new Refusal(Rejection.FEED_METHOD, Log.quote(request.method()));
            if (request.fields().containsKey("transfer-encoding")) throw new Refusal(Rejection.TRANSFER_ENCODING, "");
            String length = request.field("content-length"), expect = request.field("expect");
            if (length == null) throw new Refusal(Rejection.LENGTH_REQUIRED, "");
            if (!length.matches("[0-9]+")) throw Http.malformed("Content-Length is no number");
            if (length.length() > 18 || Long.parseLong(length) > Limits.MAX_MESSAGE)
                throw new Refusal(Rejection.MESSAGE_TOO_LARGE, "the most is " + Limits.MAX_MESSAGE + " bytes");
            if (expect != null && !expect.equalsIgnoreCase("100-continue"))
                throw new Refusal(Rejection.EXPECTATION, Log.quote(expect));
            if (expect != null && request.http11()) // RFC 9110 §10.1.1; flushed before the body is waited for
                out.write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(ISO_8859_1));
            return Integer.parseInt(length);
        }

        /** Takes lines, a message each, until the input ends. What cannot be broadcast is logged and left out. */
        void readLines(InputStream source) throws IOException {
            InputStream in = new BufferedInputStream(source, Limits.SEGMENT);
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            for (int b = 0; b >= 0; line.reset()) {
                while ((b = in.read()) >= 0 && b != '\n')
                    if (line.size() <= Limits.MAX_MESSAGE + 1) // a CR, and one byte more to know a line too long
                        line.write(b);
                byte[] message = line.toByteArray();
                if (message.length > 0 && message[message.length - 1] == '\r')
                    message = Arrays.copyOf(message, message.length - 1);
                try {
                    if (message.length > Limits.MAX_MESSAGE)
                        throw new Refusal(Rejection.MESSAGE_TOO_LARGE, "the most is " + Limits.MAX_MESSAGE + " bytes");
                    if (message.length > 0) // an empty line is no message
                        publish(message);
                } catch (Refusal refusal) {
                    events.event("feed", "- refused: " + refusal.getMessage());
                }
            }
        }
    }

    // ---- 16. Page and health ------------------------------------------------------------------------------------
    // What a request gets that is no handshake: a page that shows the stream, and whether the server is well.

    /** The viewer, and the answers to plain requests. */
    static final class Page {
        /** The token stands behind the #, which a browser sends to nobody, and is taken away once it is used. */
        private static final String SCRIPT = """
            const show = (id, text) => document.getElementById(id).textContent = text;
            const token = encodeURIComponent(location.hash.slice(1)), lines = [];
            const socket = new WebSocket(location.origin.replace('http', 'ws') + (token ? '/?t=' + token : '/'));
            socket.onopen = () => { history.replaceState(null, '', '/'); show('state', 'connected'); };
            socket.onmessage = (event) => {
              lines.unshift(event.data);
              lines.length = Math.min(lines.length, 100);
              show('stream', lines.join('\\n'));
            };
            socket.onclose = (event) => show('state', event.code !== 1006 ? 'closed with ' + event.code
              : 'not admitted, or lost: a token works once and not for long; the log of the server says why');
            """;
        private static final String HTML = """
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <link rel="icon" href="data:,">
            <title>NanoStreamWs</title>
            <style>body { font: 14px monospace } pre { white-space: pre-wrap; overflow-wrap: anywhere }</style>
            <p id="state">connecting</p>
            <pre id="stream"></pre>
            <script>%s</script>
            """.formatted(SCRIPT);
        /** The page runs its own script and no other, and connects to nobody but this server. */
        private static final String FIELDS = "Connection: close\r\nCache-Control: no-store\r\n"
            + "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
            + "Content-Security-Policy: default-src 'none'; script-src 'sha256-"
            + Base64.getEncoder().encodeToString(Http.hash("SHA-256", SCRIPT)) + "'; style-src 'unsafe-inline'; "
            + "img-src data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'\r\n";

        static byte[] answer(Request request, boolean draining, Instant now) throws Refusal {
            boolean root = request.path().equals("/");
            if (!root && !request.path().equals("/healthz")) throw new Refusal(Rejection.NOT_FOUND, "");
            if (!request.method().equals("GET") && !request.method().equals("HEAD"))
                throw new Refusal(Rejection.METHOD, Log.quote(request.method()));
            return Http.response(!root && draining ? Rejection.DRAINING.status : "200 OK", FIELDS,
                root ? "text/html; charset=utf-8" : "text/plain", root ? HTML : draining ? "draining" : "ok", now);
        }
    }

    // ---- 17. Server ---------------------------------------------------------------------------------------------
    // Ties it together: binds the ports, accepts, admits, keeps time, shuts down.

    /** The server. */
    static final class Server implements AutoCloseable {
        /** What is done with a connection, on a virtual thread of its own. */
        private interface Handler { void serve(Socket socket) throws IOException; }

        private final Settings settings;
        private final InstantSource clock;
        private final Log events;
        private final Broadcaster broadcaster;
        private final Feed feed;
        private final Handshake handshake;
        private final UsedTokens usedTokens;
        private final ScheduledExecutorService timer =
            Executors.newScheduledThreadPool(2, Thread.ofPlatform().daemon().name("timer").factory());
        private final AtomicInteger places = new AtomicInteger(); // taken by listeners
        private final Queue<Socket> pending = new LinkedBlockingQueue<>(Limits.MAX_PENDING); // not listeners yet
        private final Queue<Socket> posting = new LinkedBlockingQueue<>(Limits.MAX_PENDING); // the feed's
        private final List<ServerSocket> feedSockets = new ArrayList<>();
        private final ReentrantLock closing = new ReentrantLock();
        private final CountDownLatch closed = new CountDownLatch(1);
        private volatile boolean draining;
        private ServerSocket listenerSocket;

        /** @param clock the time that tokens are judged by */
        Server(Settings settings, InstantSource clock, Log events) throws UsageException {
            this.settings = settings;
            this.clock = clock;
            this.events = events;
            this.broadcaster = new Broadcaster(settings.maxLag, settings.writeTimeout);
            this.feed = new Feed(broadcaster, clock, events, new Rate());
            this.handshake = new Handshake(OriginPolicy.of(settings.origins), settings.secrets, settings.leeway,
                settings.deflate);
            this.usedTokens = new UsedTokens(clock, settings.leeway);
        }

        /** Binds the ports and starts. @throws IOException if a port cannot be had; the message says which and why */
        void start() throws IOException {
            events.event("start", "NanoStreamWs " + VERSION + " on Java " + Runtime.version());
            listenerSocket = bind(settings.host, settings.port);
            for (URI feed : settings.feeds)
                feedSockets.add(feed.getScheme() == null ? null
                    : bind(feed.getHost(), feed.getPort() < 0 ? 80 : feed.getPort()));
            every(Duration.ofMillis(Limits.LOOK), broadcaster::look);
            every(Duration.ofSeconds(1), usedTokens::sweep);
            every(Duration.ofSeconds(1), events::tick);
            if (!settings.ping.isZero())
                every(settings.ping, () -> broadcaster.heartbeat(settings.ping));
            accept(listenerSocket, pending, this::serveListener);
            events.event("start", "listeners connect to " + page().replace("http", "ws"));
            for (int i = 0; i < feedSockets.size(); i++)
                startFeed(settings.feeds.get(i), feedSockets.get(i));
            if (settings.secrets.isEmpty())
                events.event("warning", "without --secret everybody who connects is admitted");
            for (byte[] secret : settings.secrets)
                if (secret.length < 32)
                    events.event("warning", "a secret has " + secret.length + " bytes; HS256 wants 32 or more "
                        + "(RFC 7518, section 3.2), and --secret alone makes one");
        }

        private void startFeed(URI uri, ServerSocket socket) {
            if (socket == null) {
                Thread.ofPlatform().daemon().name("stdin").start(this::readStandardInput);
                events.event("start", "feed - takes lines from standard input");
                return;
            }
            String path = uri.getPath().isEmpty() ? "/" : uri.getPath();
            String place = uri.getHost() + ':' + socket.getLocalPort();
            accept(socket, posting, connection -> feed.serve(connection, path));
            events.event("start", "feed takes POSTs to http://" + place + (path.equals("/") ? "/"
                : "/... (that path alone, which may be a secret and is not shown)"));
            if (!socket.getInetAddress().isLoopbackAddress() && path.equals("/"))
                events.event("warning", "whoever reaches " + place + " can publish: use a loopback address, or a path "
                    + "that nobody guesses");
        }

        /** The port where listeners connect. */
        int port() { return listenerSocket.getLocalPort(); }

        /** The port of the feed with this number on the command line. */
        int feedPort(int number) { return feedSockets.get(number).getLocalPort(); }

        /** Listeners that are admitted now. */
        int listeners() { return broadcaster.size(); }

        /** Where a browser on this machine opens the page. */
        String page() {
            String host = Set.of("0.0.0.0", "::").contains(settings.host) ? "localhost" : settings.host;
            return "http://" + (host.matches("[^\\[].*:.*") ? '[' + host + ']' : host) + ':' + port() + '/';
        }

        private static ServerSocket bind(String host, int port) throws IOException {
            ServerSocket socket = new ServerSocket();
            try {
                socket.bind(new InetSocketAddress(InetAddress.getByName(host), port), Limits.BACKLOG);
                return socket;
            } catch (IOException e) {
                throw new IOException("cannot listen on " + host + ':' + port + ": "
                    + (e instanceof UnknownHostException ? "no such host" : e.getMessage()));
            }
        }

        /** Repeats a task. What it throws is a fault of ours, and must not end the repetition. */
        private void every(Duration period, Runnable task) {
            timer.scheduleWithFixedDelay(() -> {
                try {
                    task.run();
                } catch (RuntimeException | Error e) {
                    fault(e);
                }
            }, period.toNanos(), period.toNanos(), TimeUnit.NANOSECONDS);
        }

        private void fault(Throwable e) {
            events.event("fault", Log.quote(e.toString()) + " at " + Arrays.toString(e.getStackTrace()));
        }

        /** Accepts connections until the socket is closed, and gives each a virtual thread. */
        private void accept(ServerSocket server, Queue<Socket> open, Handler handler) {
            Thread.ofVirtual().name("accept").start(() -> {
                long accepted = 1; // since it failed last
                while (!server.isClosed()) {
                    try {
                        Socket socket = server.accept();
                        for (Socket oldest; !open.offer(socket); ) // full, most likely of those that say nothing
                            if ((oldest = open.poll()) != null) {
                                events.event("full", Http.remote(oldest) + " is closed: too many others wait as well");
                                Http.closeQuietly(oldest);
                            }
                        Thread.ofVirtual().start(() -> serve(socket, open, handler));
                        if (++accepted % Limits.PACE == 0)
                            Thread.yield(); // while connections wait, accept does not park
                    } catch (IOException e) {
                        if (accepted > 0 && !server.isClosed())
                            events.event("accept", "fails on port " + server.getLocalPort() + " and is tried again: "
                                + e.getMessage() + ". Too many open files? Raise the limit: ulimit -n, LimitNOFILE=");
                        accepted = 0;
                        LockSupport.parkNanos(Limits.ACCEPT_PAUSE * 1_000_000L);
                    }
                }
            });
        }

        private void serve(Socket socket, Queue<Socket> open, Handler handler) {
            try {
                socket.setTcpNoDelay(true);
                handler.serve(socket);
            } catch (IOException e) {
                Http.closeQuietly(socket); // the peer went away: there is nobody to tell
            } catch (RuntimeException | Error e) {
                fault(e);
                Http.closeQuietly(socket);
            } finally {
                open.remove(socket);
            }
        }

        /** One connection to the listeners' port: a handshake, or a plain request. */
        private void serveListener(Socket socket) throws IOException {
            OutputStream out = socket.getOutputStream();
            RequestReader reader = new RequestReader(socket, out);
            String peer = Http.remote(socket);
            Request request = null;
            byte[] answer;
            try {
                request = reader.head(Limits.HEAD_TIMEOUT);
                if (request == null) {
                    socket.close();
                    return;
                }
                String origin = request.field("origin");
                peer += origin == null ? " without origin" : " origin " + Log.quote(origin);
                if (Handshake.isMeant(request)) {
                    admit(socket, reader.rest(), handshake.judge(request, clock.instant()), peer);
                    return;
                }
                answer = Page.answer(request, draining, clock.instant());
            } catch (Refusal refusal) {
                events.event("refused", peer + ": " + refusal.getMessage());
                answer = Http.refusal(refusal.why, "Connection: close\r\n", clock.instant());
            }
            out.write(Http.answerTo(request, answer));
            Http.lingeringClose(socket);
        }

        /** Admits a listener whose handshake is in order. What else can refuse it comes before the token is used. */
        private void admit(Socket socket, byte[] rest, Accepted handshake, String peer) throws IOException, Refusal {
            boolean admitted = false, deflate = !handshake.extensions.isEmpty();
            StreamLog log = broadcaster.logFor(deflate, 1);
            try {
                if (places.incrementAndGet() > settings.maxListeners)
                    throw new Refusal(Rejection.FULL, "there are " + settings.maxListeners + " (--max-listeners)");
                Listener listener = new Listener(socket, rest, log, deflate, Bounds.LISTENER);
                if (draining) // asked behind the cursor: who gets past this gets the close frame too
                    throw new Refusal(Rejection.DRAINING, "");
                if (!pending.remove(socket)) throw new IOException("closed to make room"); // it is this thread's now
                if (handshake.claims != null)
                    usedTokens.claim(handshake.claims);
                socket.getOutputStream().write(Handshake.response(handshake));
                socket.setSoTimeout(0);
                broadcaster.add(listener);
                admitted = true;
                events.event("admitted", peer + ", now " + broadcaster.size());
                // A fresh thread: the stack of this one would stay with every idle connection.
                Thread.ofVirtual().start(reader(listener));
            } finally {
                if (!admitted) {
                    broadcaster.logFor(deflate, -1);
                    places.decrementAndGet();
                }
            }
        }

        /** Reads a listener until it goes. Returned, not done: a method more would be a frame on each idle stack. */
        private Runnable reader(Listener listener) {
            return () -> {
                String how = null;
                try {
                    how = listener.read();
                } catch (RuntimeException | Error e) { // ends this connection and no other
                    fault(e);
                    listener.reset("a fault of the server");
                }
                String dropped = listener.dropped;
                broadcaster.remove(listener);
                events.event(dropped == null ? "left" : "dropped", Http.remote(listener.socket)
                    + (dropped == null ? " " + how : ": " + dropped) + ", now " + broadcaster.size());
                places.decrementAndGet(); // last: the end of the process waits for it
            };
        }

        private void readStandardInput() {
            try {
                feed.readLines(System.in);
                events.event("feed", "- has ended");
            } catch (IOException e) {
                events.event("feed", "- has failed: " + e.getMessage());
            }
            if (settings.feeds.size() == 1) // nothing can come any more
                close();
        }

        /** Shuts down: takes nothing more from the feed, delivers what was taken, then the close frame 1001; waits for
         * the listeners to go, as long as --drain allows. Until then a handshake gets 503. */
        @Override
        public void close() {
            closing.lock(); // a second caller waits for the first one's end
            try {
                if (closed.getCount() > 0)
                    drain();
                closed.countDown();
            } finally {
                closing.unlock();
            }
        }

        private void drain() {
            long deadline = System.nanoTime() + settings.drain.toNanos();
            events.event("stop", "draining " + broadcaster.size() + " listeners, at most " + settings.drain.toMillis()
                + " ms (--drain)");
            draining = true;
            feedSockets.stream().filter(Objects::nonNull).forEach(Http::closeQuietly);
            broadcaster.send(Opcode.CLOSE, Frame.closePayload(CloseCode.GOING_AWAY, "server is shutting down"));
            while ((places.get() > 0 || !posting.isEmpty()) && System.nanoTime() < deadline) {
                for (Socket socket : posting)
                    Http.closeQuietly(socket::shutdownInput); // what is being answered still is; what is idle ends
                LockSupport.parkNanos(1_000_000);
            }
            List<Listener> late = broadcaster.listeners();
            late.forEach(listener -> listener.reset("it was still there when --drain was over"));
            for (int i = 0; i < Limits.LINGER && places.get() > 0; i++)
                LockSupport.parkNanos(1_000_000); // for their log lines
            Http.closeQuietly(listenerSocket);
            pending.forEach(Http::closeQuietly);
            posting.forEach(Http::closeQuietly);
            timer.shutdownNow();
            events.tick();
            events.event("stop", "done" + (late.isEmpty() ? "" : "; " + late.size() + " listeners were still there"));
        }
    }

    // ---- 18. main -----------------------------------------------------------------------------------------------

    /** Exit status: 0; 1 when something failed; 2 for a command line that is wrong. */
    public static void main(String[] args) throws Exception {
        if (List.of(args).contains("--help") || List.of(args).contains("--version")) {
            System.out.print(List.of(args).contains("--help") ? Settings.HELP : "NanoStreamWs " + VERSION + "\n");
            return;
        }
        try {
            Settings settings = new Settings(args, System.getenv(), () -> Jwt.random(32));
            if (settings.token != null)
                System.out.println(Jwt.sign(settings.secrets.getFirst(), Instant.now(), settings.token));
            else
                serve(settings);
        } catch (UsageException | IOException e) {
            System.err.println("NanoStreamWs: " + e.getMessage());
            System.exit(e instanceof UsageException ? 2 : 1);
        }
    }

    private static void serve(Settings settings) throws Exception {
        Log events = new Log(System.err, InstantSource.system());
        Server server = new Server(settings, InstantSource.system(), events);
        server.start();
        if (settings.newSecret != null) {
            byte[] secret = settings.newSecret.getBytes(UTF_8);
            Supplier<String> token = () -> Jwt.sign(secret, Instant.now(), Duration.ofHours(1));
            System.err.printf("%nsecret %s%ntoken  %s%npage   %s#%s%n%nThe secret makes tokens, and is a new one with "
                + "every start. Each token admits one listener, within the hour.%n%n", settings.newSecret, token.get(),
                server.page(), token.get());
        }
        Thread.setDefaultUncaughtExceptionHandler((thread, e) -> { // a lane without its walker would be half a server
            System.err.println("NanoStreamWs: " + thread.getName() + " failed: " + e);
            Runtime.getRuntime().halt(1);
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.close();
            events.close();
            Runtime.getRuntime().halt(0); // a shutdown that was asked for is no failure, so not 143
        }));
        server.closed.await();
        System.exit(0);
    }
}
