// SPDX-License-Identifier: MIT

/*
 * NanoStreamWs: broadcasts a feed over WebSockets to listeners that a token admits.
 *
 *     java NanoStreamWs.java --secret          JDK 21 or newer, nothing else
 *     java NanoStreamWs.java --help
 *
 * What it does. Messages come in by HTTP POST (the block callbacks of a Nano node, or any text), on standard
 * input, or by a WebSocket that this server connects to. Each goes out as one text frame (RFC 6455), over TLS
 * if that is asked for, to every listener. A listener is passive: what it sends is checked and dropped. It is
 * admitted by a JSON Web Token (HS256) that expires and works once, and can ask for the last messages first.
 * Several servers can share used tokens and messages by a Redis.
 *
 * Trust boundary. Everybody who reaches the listeners' port is hostile until a token is verified, and can
 * still be slow, silent or wrong after that; with TLS it is the JDK's code that reads what they send first.
 * Everybody who reaches the feed's port may publish, and see the figures of the server; it is on loopback by
 * default, and what a browser posts there is refused. A server that is a feed may publish; the JDK reads what
 * it sends. Redis is believed: whoever writes there can publish, and can make a used token work at another
 * server. A proxy is believed, if --proxy has it, who its client is, for the log alone.
 * A secret, a token or a query never gets into a log line, nor does a private key or a password; a secret
 * that is made at the start is printed once, beside them.
 *
 * The one idea. The stream is a log of ready-encoded frames, and a listener is a cursor into it. A server's
 * frames are unmasked (RFC 6455 §5.1), so the bytes for one are the bytes for all. Each message is encoded
 * once, and once more, compressed, while a listener wants it so. A listener that falls behind costs no memory
 * of its own.
 *
 * Threads. Each connection has a virtual thread that reads it, and each port one that accepts. Sixteen
 * virtual threads write, one for each lane: it walks its share of the listeners and sends each what its
 * cursor has not passed. A listener that was too slow for that, or that is sent what it missed, has a thread
 * of its own for a while. Two platform threads keep time: they relieve a lane that a blocked write holds up,
 * evict a listener that stays stuck or does not finish a message, ping, sweep used tokens, look whether a
 * lane stands still, and read the certificate again. One platform thread writes the log lines, another reads
 * standard input if that is a feed. A WebSocket that is a feed has a virtual thread, beside those of the JDK,
 * and Redis has two: one gets answers, and one appends each message to the log. A connection's thread writes
 * as well: the answer to the handshake and what came into the log meanwhile, then, between two frames of the
 * log, a pong or the answer to a close frame; with TLS, what its protocol asks for, between two records.
 *
 * How to read it. One evening: Part I, then the section Server. A section uses only names from above it, Part
 * I names nothing of Part II, and no section of Part II names another. A section of Part II can be skipped by
 * a reader who does not use it; its banner says how it is turned on, what it touches, and what happens when
 * it fails. A field that is private is changed by its own type alone.
 *
 *     Part I. Core: who gets in, and what is sent
 *          1  Limits                every number of the core, with its unit and its reason
 *          2  Vocabulary            opcodes, close codes, the reasons for a refusal
 *          3  Events                a line in the log and a counter
 *          4  JSON                  RFC 8259
 *          5  HTTP                  RFC 9112, 9110: a request's head, the answer
 *          6  Requests              RFC 9112: reading them, in bounds of bytes and time
 *          7  Token                 RFC 7515, 7519, 8725
 *          8  Used tokens           a token works once
 *          9  Opening handshake     RFC 6455 §4.2, RFC 7692 §7.1
 *         10  Framing               RFC 6455 §5, RFC 7692 §7.2
 *         11  Stream log            segments of frames
 *         12  Listener              RFC 6455 §5.5, §7: reading, pong, close
 *         13  Lanes                 which thread writes, and what happens when a write blocks
 *         14  Door                  accepting and admitting
 *     Part II. Parts: each can be skipped
 *         15  POST                  the feed that a Nano node posts to
 *         16  Nano blocks           what listeners get of a node's callback
 *         17  History               what a listener can have that it missed
 *         18  Page                  what a browser shows
 *         19  Health and metrics    what a monitor asks for
 *         20  TLS                   listeners connect by wss://
 *         21  Other feeds           lines of standard input, the texts of a WebSocket server
 *         22  Redis                 several servers share used tokens and the stream
 *         23  Issuer                secrets and tokens for the operator, and what more a token has to say
 *         24  Origins               RFC 6454: which pages may connect
 *         25  Rehearsal             everything is used once before the first connection is accepted
 *         26  Options               the words of the command line
 *         27  Proxies               who a client is that comes by a proxy
 *     Part III. Assembly: what knows both
 *         28  Settings              what the options ask for
 *         29  Server                wiring, timers, drain
 *         30  main
 */


import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.AutoCloseable;
import java.lang.Boolean;
import java.lang.CharSequence;
import java.lang.Character;
import java.lang.Double;
import java.lang.Error;
import java.lang.Exception;
import java.lang.IllegalArgumentException;
import java.lang.IllegalStateException;
import java.lang.IndexOutOfBoundsException;
import java.lang.Integer;
import java.lang.InterruptedException;
import java.lang.LinkageError;
import java.lang.Long;
import java.lang.Math;
import java.lang.Number;
import java.lang.Object;
import java.lang.OutOfMemoryError;
import java.lang.Override;
import java.lang.ProcessHandle;
import java.lang.Runnable;
import java.lang.Runtime;
import java.lang.RuntimeException;
import java.lang.String;
import java.lang.StringBuilder;
import java.lang.SuppressWarnings;
import java.lang.System;
import java.lang.Thread;
import java.lang.Throwable;
import java.lang.UnsupportedOperationException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.net.ConnectException;
import java.net.CookieHandler;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketImpl;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.KeyStoreException;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Deque;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.DoubleAccumulator;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntConsumer;
import java.util.function.LongConsumer;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

/** The server in one file; the head above says how it is laid out. */
@SuppressWarnings("serial") // no exception is ever serialized
public final class NanoStreamWs {
    static final String VERSION = "1.0.0";

    // ==== Part I. Core =====================================================================================
    // What decides who gets in and what is sent: everything that a listener meets with the default options,
    // except what a Nano node's callback is made into (16), and the messages that it missed (17).

    // ---- 1. Limits ----------------------------------------------------------------------------------------
    // The bounds of the core. What an operator may want to change is an option instead: see Settings.

    /** Bounds, each with its unit and its reason. */
    static class Limits {
        // What there is:
        static final long HEAP = Runtime.getRuntime().maxMemory(); // bytes
        static final int DESCRIPTORS = descriptors();   // open files and sockets of the process, ulimit -n

        // A request:
        static final int MAX_TOKEN = 8 * 1024;          // characters; parsed before the client is known
        static final long MAX_EXPIRES = 253_402_300_800L; // Unix time: the year 10000
        static final int MAX_HEAD = 2 * MAX_TOKEN;      // bytes of a head: a token, and a browser's cookies
        static final int MAX_FIELDS = 100;              // header fields; browsers send some twenty
        static final int HEAD_TIMEOUT = 10_000;         // ms for a whole head: a byte a second does not help
        static final int BODY_TIMEOUT = 30_000;         // ms for the body of a POST
        static final int LINGER = 1_000;                // ms for a connection to end after the last answer
        static final int MAX_LINGER_BYTES = 256 * 1024; // bytes that are read meanwhile

        // A message of the feed:
        static final int MAX_MESSAGE = 1024 * 1024;     // bytes; a Nano block has some 1,000
        static final int MAX_JSON_DEPTH = 64;           // the parser recurses; a callback has three levels

        // What a listener sends:
        static final int MAX_CONTROL_PAYLOAD = 125;     // bytes, RFC 6455 §5.5
        static final int MAX_FRAME_HEADER = 2 + 8 + 4;  // bytes: two, a 64-bit length, a masking key, §5.2
        /** Bytes of its read buffer, once there is more to read than a frame's header: a control frame. */
        static final int READ_BUFFER = MAX_FRAME_HEADER + MAX_CONTROL_PAYLOAD;
        static final int MAX_CLIENT_MESSAGE = 64 * 1024; // bytes of a message; it is dropped anyway
        static final int MAX_FRAGMENTS = 1024;          // of a message: empty ones would be free otherwise
        static final int MESSAGE_TIMEOUT = 30;          // s for the rest of a message
        static final int CONTEXT = 32 * 1024;           // bytes that a compressed message can refer back to
        /** Listeners with a compressed message under way, or the context of the last: up to 75 KiB each. */
        static final int MAX_CONTEXTS = (int) Math.min(HEAP >> 20, 1024);
        static final int PACE = 32;                     // reads, frames or KiB inflated without a pause
        static final int PACE_PAUSE = 5;                // ms of a listener's pause, or after accept failed
        static final int MAX_WAITS = 200;               // waits, less the seconds without; more is a flood

        // Used tokens, the log of the stream, the lanes:
        static final long MAX_USED_TOKENS = Math.min(500_000, HEAP >> 9); // 150 bytes each; no more are taken
        static final int SEGMENT = 64 * 1024;           // bytes of a segment, so of a write; or one frame
        static final int WINDOW = 256 * 1024;           // bytes that lanes may lag when a POST is answered
        static final int LANES = 16;                    // threads that write; a blocked one holds up its lane
        static final int LOOK = 20;                     // ms between two looks at a lane
        static final int MAX_RELIEF = 1024;             // threads that one look gives to a lane, at most
        static final int STRAGGLER_PAUSE = 50;          // ms between two rounds for one that blocked its lane
        static final int STRAGGLER_ROUNDS = 20;         // rounds without blocking that bring it back

        // A port:
        static final int BACKLOG = 4096;                // connections that wait for accept
        static final int MAX_PENDING = Math.min(4096, DESCRIPTORS / 8); // connections, listeners aside
        /** Bytes of all requests of a port that have not been answered. As text and frames they stand in
         * memory some four times, and there may be several ports. */
        static final int MAX_UNANSWERED = (int) Math.min(HEAP / 16, 64 * MAX_MESSAGE);

        // Listeners: what is left by the JVM and by other connections, two kinds of them on the port of one
        // feed (with more, accept may fail, and makes room); and 8 KiB for each, beside 32 MiB for the rest.
        static final int MAX_LISTENERS =
            (int) Math.min(DESCRIPTORS - 64 - 3 * MAX_PENDING, HEAP / 8192 - 4096);

        // The log:
        static final int LOG_BURST = 100;               // lines of one event at once
        static final int LOG_RATE = 5;                  // lines of one event a second after that
        static final int LOG_QUEUE = 4096;              // lines that wait for a blocked standard error
        static final int MAX_QUOTED = 100;              // characters of a client's own text in a line

        /** The Java runtime has raised it as far as it may. Without a /proc it is what macOS has. */
        static int descriptors() {
            try {
                String limits = Files.readString(Path.of("/proc/self/limits"));
                return Integer.parseInt(limits.replaceAll("(?s).*Max open files +(\\d+) .*", "$1"));
            } catch (IOException | IllegalArgumentException e) { // no /proc, or no limit
                return 10_240;
            }
        }
    }

    // ---- 2. Vocabulary (RFC 6455 §5.2, §7.4) --------------------------------------------------------------
    // The words of the protocol, every reason for which a request is refused, and the two ways to fail.

    /** A frame's opcode (RFC 6455 §5.2). */
    enum Opcode {
        CONTINUATION(0x0), TEXT(0x1), BINARY(0x2), // data
        CLOSE(0x8), PING(0x9), PONG(0xA); // control

        final int bits;

        Opcode(int bits) { this.bits = bits; }

        static Opcode of(int nibble) throws ProtocolException {
            for (Opcode opcode : values())
                if (opcode.bits == nibble) return opcode;
            // §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
            // Connection_."
            throw new ProtocolException(CloseCode.PROTOCOL_ERROR, "reserved opcode");
        }

        boolean isControl() { return (bits & 0b1000) != 0; }
    }

    /** The close codes that this server sends (RFC 6455 §7.4.1), and those that it takes. */
    static class CloseCode {
        static final int GOING_AWAY = 1001, PROTOCOL_ERROR = 1002;
        static final int INVALID_PAYLOAD = 1007, POLICY_VIOLATION = 1008, MESSAGE_TOO_BIG = 1009;

        /** Whether a peer may send the code. §7.4: 0-999 are unused; 1004 is reserved; 1005, 1006 and 1015
         * "MUST NOT be set as a status code in a Close control frame"; 1012-1014 are in IANA's registry;
         * 1016-2999 are reserved. */
        static boolean mayBeReceived(int code) {
            return code >= 1000 && code <= 1003
                || code >= 1007 && code <= 1014
                || code >= 3000 && code <= 4999;
        }
    }

    /** What a peer did against RFC 6455: it fails the connection with the code (§7.1.7). */
    static class ProtocolException extends IOException {
        final int code;

        /** The reason goes onto the wire: a constant, never what the peer sent, at most 123 bytes (§5.5). */
        ProtocolException(int code, String reason) {
            super(reason);
            this.code = code;
        }
    }

    /** Header fields of answers, each with its CRLF. */
    static class Fields {
        static final String CLOSE = "Connection: close\r\n";
        /** For an answer that no cache may keep, and whose type no browser may guess. */
        static final String UNCACHED =
            CLOSE + "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
        static final String CHALLENGE = "WWW-Authenticate: Bearer\r\n"; // RFC 6750 §3
        static final String RETRY = "Retry-After: 5\r\n";
        /** RFC 6455 §4.4, RFC 9110 §7.8. */
        static final String UPGRADE =
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    }

    /** Why a request is refused: the status line that the client sees, and the text that only the log has. */
    enum Rejection {
        NO_TOKEN("401 Unauthorized", "No token supplied", Fields.CHALLENGE),
        TOKEN_INVALID("401 Unauthorized", "Token was invalid", Fields.CHALLENGE),
        TOKEN_WITHOUT_EXPIRATION("401 Unauthorized", "Token has no expiration", Fields.CHALLENGE),
        TOKEN_EXPIRED("401 Unauthorized", "Token has expired", Fields.CHALLENGE),
        TOKEN_USED("401 Unauthorized", "Token has already been used", Fields.CHALLENGE),
        ORIGIN("403 Forbidden", "Origin is not allowed"),
        BROWSER("403 Forbidden", "The feed takes nothing from browsers"),
        MALFORMED("400 Bad Request", "Request is malformed"),
        BAD_MESSAGE("400 Bad Request", "Message cannot be broadcast"),
        WEBSOCKET_VERSION("426 Upgrade Required", "WebSocket version is not 13", Fields.UPGRADE),
        NOT_FOUND("404 Not Found", "No such path"),
        FEED_PATH("404 Not Found", "No such path; the target of the publisher has to be the path of --feed"),
        METHOD("405 Method Not Allowed",
            "Method is not GET or HEAD; a message is posted to the port of --feed", "Allow: GET, HEAD\r\n"),
        FEED_METHOD("405 Method Not Allowed", "Method is not POST; listeners connect to the port of --port",
            "Allow: POST\r\n"),
        NOT_TLS("400 Bad Request", "It does not speak TLS; this port has wss:// and https:// alone"),
        TLS("400 Bad Request", "TLS handshake failed"),
        TOO_SLOW("408 Request Timeout", "Request took too long"),
        LENGTH_REQUIRED("411 Length Required", "Content-Length is missing"),
        MESSAGE_TOO_LARGE("413 Content Too Large", "Message is too large"),
        EXPECTATION("417 Expectation Failed", "Expectation cannot be met"),
        HEAD_TOO_LARGE("431 Request Header Fields Too Large", "Request head is too large"),
        TRANSFER_ENCODING("501 Not Implemented", "Transfer-Encoding is not supported"),
        HTTP_VERSION("505 HTTP Version Not Supported", "HTTP version is not supported"),
        FULL("503 Service Unavailable", "No room for another listener", Fields.RETRY),
        USED_TOKENS_FULL("503 Service Unavailable", "No room to remember another token", Fields.RETRY),
        NOT_SHARED("503 Service Unavailable", "The other servers cannot be asked or told", Fields.RETRY),
        DRAINING("503 Service Unavailable", "Server is shutting down", Fields.RETRY);

        final String status;
        final String text;
        final String fields;

        Rejection(String status, String text, String... fields) {
            this.status = status;
            this.text = text;
            this.fields = String.join("", fields);
        }

        /** Its name for the counters. */
        String reason() { return name().toLowerCase(Locale.ROOT); }
    }

    /** A refused request. The detail is for the log; what a client sent stands in it only quoted. */
    static class Refusal extends Exception {
        final Rejection why;

        /** @param detail none, or one */
        Refusal(Rejection why, String... detail) {
            super(why.text + (detail.length == 0 ? "" : ": " + detail[0]),
                null, false, false);
            this.why = why;
        }

        static Refusal tooLarge() {
            return new Refusal(Rejection.MESSAGE_TOO_LARGE, "the most is " + Limits.MAX_MESSAGE + " bytes");
        }
    }

    // ---- 3. Events ----------------------------------------------------------------------------------------
    // An event is a line in the log and a counter. A full disk, a blocked pipe or a flood of events costs log
    // lines, never the stream: a thread of its own writes them, each event has an allowance, and what goes
    // beyond the allowance is counted. What a full queue refuses is lost.

    /** What can happen. Its name is the second word of its log lines. */
    enum Event {
        START, WARNING, ADMITTED, REFUSED, LEFT, DROPPED, FEED, ACCEPT, FULL, SHARED, FAULT, STOP
    }

    /** The log: one line an event, with the time and what happened. Only {@link #close} blocks. */
    static class EventLog implements AutoCloseable {
        /** How often an event happened, by its reason, and how many more lines it may have now; below 0:
         * lines left out. */
        static class Tally {
            final Map<String, LongAdder> counts = new ConcurrentHashMap<>();
            final AtomicInteger allowance = new AtomicInteger(Limits.LOG_BURST);
        }

        static final String END = ""; // compared by identity, and no line is empty
        final PrintStream out;
        final InstantSource clock;
        final BlockingQueue<String> lines = new ArrayBlockingQueue<>(Limits.LOG_QUEUE);
        final Map<Event, Tally> tallies = new EnumMap<>(Event.class);
        final Thread writer;

        EventLog(PrintStream out, InstantSource clock) {
            this.out = out;
            this.clock = clock;
            for (Event event : Event.values())
                tallies.put(event, new Tally());
            writer = Thread.ofPlatform().daemon().name("log").start(this::write);
        }

        /** An event that has no reasons. */
        void add(Event event, String text) { add(event, "", text); }

        /** Counts an event, and logs it unless there were too many.
         * @param reason one of a few, all of them names that stand in this file */
        void add(Event event, String reason, String text) {
            Tally tally = tallies.get(event);
            tally.counts.computeIfAbsent(reason, r -> new LongAdder()).increment();
            int allowed = tally.allowance.getAndDecrement();
            if (allowed > 0)
                offer(event, text);
        }

        /** @param whose what the line begins with */
        void refused(Event event, String whose, Refusal refusal) {
            add(event, refusal.why.reason(), whose + ": " + refusal.getMessage());
        }

        /** Logs what is a fault of this server, with its stack trace in the same line. One after which it
         * would only seem to run ends the process, whatever happens on the way. */
        void fault(Throwable e) {
            boolean fatal = e instanceof OutOfMemoryError || e instanceof LinkageError;
            try {
                String trace = Arrays.toString(e.getStackTrace());
                add(Event.FAULT, quote(e.toString()) + " at " + trace);
                if (fatal)
                    close();
            } finally {
                if (fatal)
                    Runtime.getRuntime().halt(1);
            }
        }

        /** Logs how many lines were left out, and renews the allowances. Called once a second. */
        void tick() {
            tallies.forEach((event, tally) -> {
                int allowed = tally.allowance.getAndUpdate(n ->
                    Math.min(Limits.LOG_BURST, Math.max(0, n) + Limits.LOG_RATE));
                if (allowed < 0)
                    offer(event, -allowed + " more lines of this kind were left out");
            });
        }

        void offer(Event event, String text) {
            Instant now = clock.instant().truncatedTo(ChronoUnit.MILLIS);
            String time = DateTimeFormatter.ISO_INSTANT.format(now);
            // False if the queue is full: see LOG_QUEUE.
            lines.offer(time + ' '
                + event.name().toLowerCase(Locale.ROOT) + ' ' + text);
        }

        void write() {
            try {
                String line = lines.take();
                while (line != END) {
                    out.println(line);
                    line = lines.take();
                }
            } catch (InterruptedException e) { // this thread is never interrupted
            }
        }

        /** A client's own text, made safe for a log line: printable ASCII, in quotes, cut. */
        static String quote(String text) {
            StringBuilder quoted = new StringBuilder("\"");
            int length = Math.min(text.length(), Limits.MAX_QUOTED);
            for (int i = 0; i < length; i++) {
                char c = text.charAt(i);
                if (c == '"' || c == '\\')
                    quoted.append('\\').append(c);
                else if (c >= ' ' && c < 0x7F)
                    quoted.append(c);
                else
                    quoted.append(String.format("\\u%04x", (int) c));
            }
            return quoted.append(text.length() > length ? "\"..." : "\"").toString();
        }

        /** Writes what is waiting, for a second at most. */
        @Override
        public void close() {
            try {
                if (lines.offer(END, 500, TimeUnit.MILLISECONDS))
                    writer.join(500);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    // ---- 4. JSON (RFC 8259) -------------------------------------------------------------------------------
    // Strict, since it judges tokens: a name may stand in an object once, strings are Unicode, numbers keep
    // their digits, depth is bounded.

    /** A JSON value. Members are in the order of the text; a number is kept as it was written. */
    sealed interface Json { // an error in this line: the compiler is too old, it takes a JDK of 21 or newer
        record Obj(Map<String, Json> members) implements Json { }
        record Arr(List<Json> elements) implements Json { }
        record Str(String value) implements Json { }
        record Num(String text) implements Json { }
        /** true, false or null. */
        record Word(String text) implements Json { }

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

        /** A recursive descent over the grammar of RFC 8259. */
        final class Parser {
            static final int END = -1;
            static final String SPACES = " \t\n\r";
            static final Pattern NUMBER =
                Pattern.compile("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?");
            static final Pattern HEX = Pattern.compile("[0-9A-Fa-f]{4}");
            static final String ESCAPES = "\"\\/bfnrt";
            static final String ESCAPED = "\"\\/\b\f\n\r\t"; // what each of them stands for
            final String text;
            private int at;
            // Kept from value to value:
            final StringBuilder value = new StringBuilder();
            final Matcher number;

            Parser(String text) {
                this.text = text;
                this.number = NUMBER.matcher(text);
            }

            Json value(int depth) throws JsonException {
                if (depth > Limits.MAX_JSON_DEPTH) // §9 allows a limit
                    throw expected("at most " + Limits.MAX_JSON_DEPTH + " levels");
                return switch (peek()) {
                    case '{' -> object(depth);
                    case '[' -> array(depth);
                    case '"' -> new Str(string());
                    case 't' -> word("true");
                    case 'f' -> word("false");
                    case 'n' -> word("null");
                    default -> number();
                };
            }

            Obj object(int depth) throws JsonException {
                Map<String, Json> members = new LinkedHashMap<>();
                take('{');
                while (peek() != '}') {
                    if (!members.isEmpty())
                        take(',');
                    if (peek() != '"') throw expected("a name in quotes");
                    String name = string();
                    take(':');
                    Json former = members.put(name, value(depth + 1));
                    // §4: names "SHOULD be unique"; RFC 7519 §4 allows to reject a token otherwise
                    if (former != null) throw expected("every name once");
                }
                take('}');
                return new Obj(members);
            }

            Arr array(int depth) throws JsonException {
                List<Json> elements = new ArrayList<>();
                take('[');
                while (peek() != ']') {
                    if (!elements.isEmpty())
                        take(',');
                    elements.add(value(depth + 1));
                }
                take(']');
                return new Arr(elements);
            }

            Word word(String word) throws JsonException {
                if (!text.startsWith(word, at)) throw expected("a value");
                at += word.length();
                return new Word(word);
            }

            String string() throws JsonException {
                at++; // the quote
                int from = at;
                while (here() != '"' && here() != '\\' && here() >= ' ')
                    at++;
                value.setLength(0);
                value.append(text, from, at); // all of it, as a rule
                while (here() != '"')
                    value.append(character());
                boolean escaped = value.length() < at - from; // an escape is longer than its character
                at++;
                // §8.2: a lone surrogate has no UTF-8, so what would be sent on is not what was written
                if (escaped && !UTF_8.newEncoder().canEncode(value)) throw expected("surrogates in pairs");
                return value.toString();
            }

            /** A character of a string, or what an escape stands for. */
            char character() throws JsonException {
                int c = here();
                if (c == END) throw expected("a quote at the end of the string");
                if (c < ' ') throw expected("no control character in a string");
                at++;
                return c == '\\' ? escape() : (char) c;
            }

            char escape() throws JsonException {
                int which = ESCAPES.indexOf(here());
                if (which >= 0) {
                    at++;
                    return ESCAPED.charAt(which);
                }
                if (here() != 'u') throw expected("an escape");
                int from = at + 1;
                at = Math.min(from + 4, text.length());
                String digits = text.substring(from, at);
                if (!HEX.matcher(digits).matches()) throw expected("four hexadecimal digits");
                return (char) HexFormat.fromHexDigits(digits);
            }

            /** §6: [ minus ] int [ frac ] [ exp ], and no leading zeros. */
            Num number() throws JsonException {
                number.region(at, text.length());
                if (!number.lookingAt()) throw expected("a value");
                at = number.end();
                return new Num(number.group());
            }

            void take(char c) throws JsonException {
                if (peek() != c) throw expected("'" + c + "'");
                at++;
            }

            /** The next character that is no space. */
            int peek() {
                while (here() <= ' ' && SPACES.indexOf(here()) >= 0)
                    at++;
                return here();
            }

            int here() {
                if (at == text.length()) return END;
                return text.charAt(at);
            }

            JsonException expected(String what) {
                return new JsonException("expected " + what + " at character " + at);
            }
        }
    }

    // ---- 5. HTTP (RFC 9112, RFC 9110) ---------------------------------------------------------------------
    // Just enough of HTTP/1.1 for an upgrade, a POST and a page, and nothing lenient: what two parsers could
    // read in two ways is refused.

    /** A request's head: the path decoded, the query as it came or "", field names in lower case. */
    record Request(String method, String path, String query, boolean http11,
            Map<String, List<String>> fields) {
        boolean has(String name) { return fields.containsKey(name); }

        /** Whether it only asks for something. */
        boolean isRead() {
            boolean get = method.equals("GET");
            return get || method.equals("HEAD");
        }

        /** The value of a field that may be there once, or null. */
        String field(String name) throws Refusal {
            List<String> values = fields.getOrDefault(name, List.of());
            if (values.size() > 1)
                throw Http.malformed("more than one " + name);
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
    static class Http {
        /** RFC 9110 §5.6.7: IMF-fixdate. */
        static final DateTimeFormatter DATE =
            DateTimeFormatter.ofPattern("EEE, dd MMM yyyy HH:mm:ss 'GMT'", Locale.US)
                .withZone(ZoneOffset.UTC);
        static final String TOKEN_SIGNS = "!#$%&'*+-.^_`|~"; // RFC 9110 §5.6.2
        static final String TARGET_SIGNS = "/!\"$%&'()*+,-.:;<=>?@[\\]^_`{|}~"; // visible, but no #
        /** RFC 9110 §7.2: uri-host [ ":" port ]. A Nano node sends an IPv6 address without brackets. */
        static final String HOST_SIGNS = "_.:%~!$&'()*+,;=[]-";
        static final Pattern VERSION = Pattern.compile("HTTP/[0-9]\\.[0-9]");
        /** What stands before the path in absolute-form (RFC 9112 §3.2.2). */
        static final Pattern AUTHORITY = Pattern.compile("^(?i:https?|wss?)://[^/?#]+/?");

        /** RFC 9112 §2.1: start-line CRLF *( field-line CRLF ) CRLF, here without the last two CRLF. */
        static Request parse(String head) throws Refusal {
            // 1. §2.2: a bare CR or LF, like any other control character but a tab, is no part of a message
            String[] lines = head.split("\r\n", -1);
            if (lines.length - 1 > Limits.MAX_FIELDS)
                throw new Refusal(Rejection.HEAD_TOO_LARGE, "more than " + Limits.MAX_FIELDS + " fields");
            for (String line : lines)
                if (hasControl(line)) throw malformed("control character in the head");
            // 2. §3: request-line = method SP request-target SP HTTP-version
            String[] words = lines[0].split(" ", -1);
            if (words.length != 3 || !isToken(words[0])
                    || !VERSION.matcher(words[2]).matches())
                throw malformed("expected method, target and HTTP version, one space between");
            String version = words[2];
            if (!version.startsWith("HTTP/1."))
                throw new Refusal(Rejection.HTTP_VERSION, version);
            boolean http11 = !version.equals("HTTP/1.0"); // RFC 9110 §2.5: HTTP/1.2 is read as HTTP/1.1
            // 3. §5: the fields
            Map<String, List<String>> fields = new HashMap<>();
            for (int i = 1; i < lines.length; i++)
                addField(lines[i], fields);
            // 4. §3.2.1: origin-form; §3.2.2: "a server MUST accept the absolute-form"
            String form = AUTHORITY.matcher(words[1]).replaceFirst("/");
            if (words[0].equals("POST") && !form.startsWith("/"))
                form = '/' + form; // a Nano node sends its callback_target as it is, even an empty one
            if (!form.startsWith("/") || !all(form, TARGET_SIGNS))
                throw malformed("expected a path");
            String[] target = form.split("\\?", 2);
            String path = percentDecode(target[0]);
            String query = target.length == 1 ? "" : target[1];
            // 5. §3.2: one Host, which HTTP/1.0 can do without
            Request request = new Request(words[0], path, query, http11, fields);
            String host = request.field("host");
            boolean valid = host == null ? !http11 : all(host, HOST_SIGNS);
            if (!valid)
                throw malformed("expected a Host field, with a host and a port");
            return request;
        }

        /** §5: field-line = field-name ":" OWS field-value OWS. A space before the name is obs-fold (§5.2),
         * and one before the colon smuggles (§5.1): with either, the name is no token. */
        static void addField(String line, Map<String, List<String>> fields) throws Refusal {
            String[] parts = line.split(":", 2);
            if (parts.length != 2 || !isToken(parts[0]))
                throw malformed("expected a field name and a colon");
            String name = parts[0].toLowerCase(Locale.ROOT);
            List<String> values = fields.computeIfAbsent(name, n -> new ArrayList<>(1));
            values.add(parts[1].strip());
        }

        static boolean hasControl(String line) {
            for (int i = 0; i < line.length(); i++) {
                char c = line.charAt(i);
                if (c < ' ' && c != '\t' || c == 0x7F) return true;
            }
            return false;
        }

        static boolean isToken(String word) {
            return !word.isEmpty() && all(word, TOKEN_SIGNS);
        }

        /** Whether all characters are ASCII letters, digits or one of the signs. */
        static boolean all(String text, String signs) {
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                boolean alphanumeric = c < 0x7F && Character.isLetterOrDigit(c);
                if (!alphanumeric && signs.indexOf(c) < 0)
                    return false;
            }
            return true;
        }

        /** RFC 3986 §2.1. What it stands for has to be UTF-8. */
        static String percentDecode(String text) throws Refusal {
            if (text.indexOf('%') < 0) return text;
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try {
                for (int at = 0; at < text.length(); at++) {
                    int b = text.charAt(at);
                    if (b == '%') {
                        b = HexFormat.fromHexDigits(text, at + 1, at + 3);
                        at += 2;
                    }
                    bytes.write(b);
                }
                return utf8(bytes.toByteArray());
            } catch (IllegalArgumentException | IndexOutOfBoundsException | CharacterCodingException e) {
                throw malformed("expected UTF-8, and two hexadecimal digits after each %");
            }
        }

        /** Decodes strictly: nothing is replaced. */
        static String utf8(byte[] bytes) throws CharacterCodingException {
            CharsetDecoder decoder = UTF_8.newDecoder(); // it reports faults
            return decoder.decode(ByteBuffer.wrap(bytes)).toString();
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

        /** An answer. The extra fields end in CRLF each; the body is ASCII. */
        static byte[] response(String status, String fields, String type, String body, Instant now) {
            String head = "HTTP/1.1 " + status + "\r\n"
                + "Date: " + DATE.format(now) + "\r\n"
                + fields
                + "Content-Type: " + type + "\r\n"
                + "Content-Length: " + body.length() + "\r\n\r\n";
            return (head + body).getBytes(ISO_8859_1);
        }

        /** The answer to a refused request: its body says no more than the status. */
        static byte[] refusal(Rejection why, String fields, Instant now) {
            return response(why.status, fields + why.fields, "text/plain", why.status + '\n', now);
        }

        /** An answer without its body: what HEAD gets (RFC 9110 §9.3.2). */
        static byte[] headOf(byte[] answer) {
            int body = new String(answer, ISO_8859_1).indexOf("\r\n\r\n") + 4;
            return Arrays.copyOf(answer, body);
        }

        /** Ends a connection so that the peer gets what was written: half-close, read what still comes,
         * close. Closing with something unread would reset the connection, and the reset can overtake the
         * answer (RFC 9112 §9.6). */
        static void lingeringClose(Socket socket) {
            try (socket) {
                socket.shutdownOutput();
                InputStream in = socket.getInputStream();
                byte[] dropped = new byte[1024];
                int budget = Limits.MAX_LINGER_BYTES;
                long deadline = System.nanoTime() + Limits.LINGER * 1_000_000L;
                while (budget > 0) {
                    long left = (deadline - System.nanoTime()) / 1_000_000;
                    if (left <= 0) return;
                    socket.setSoTimeout((int) left);
                    int n = in.read(dropped);
                    if (n < 0) return;
                    budget -= n;
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

    // ---- 6. Requests (RFC 9112) ---------------------------------------------------------------------------
    // Reads requests from a connection. What may be read is bounded in bytes and in time before it is read.

    /** Reads the requests of one connection, one after the other. Used by one thread. */
    static class RequestReader {
        static final int END = 4; // bytes: CRLF after the last line, and once more
        final Socket socket;
        final OutputStream out;
        final IntConsumer grown;
        private byte[] buffer = new byte[1024];
        private int start, end; // what was read and not yet taken
        private boolean isHead; // the request that was read last, in order or not
        private int bodyLength; // of it so far

        /** @param out is flushed before a read that may block, so that answers can be gathered until then
         * @param grown told by how many bytes the request grows beyond its first KiB; below 0: it shrinks */
        RequestReader(Socket socket, OutputStream out, IntConsumer grown) {
            this.socket = socket;
            this.out = out;
            this.grown = grown;
        }

        /** Reads a head, within HEAD_TIMEOUT of its first byte.
         * @param idle ms until that byte, and at most for the whole head
         * @throws EOFException if the peer closes before its end, or sends no first byte in that time */
        Request head(int idle) throws IOException, Refusal {
            isHead = false;
            grown.accept(-bodyLength);
            bodyLength = 0;
            long idleEnd = deadline(idle);
            try {
                need(1, idleEnd);
            } catch (Refusal e) { // it was idle for too long, and has asked for nothing
                throw new EOFException();
            }
            long deadline = Math.min(idleEnd, deadline(Limits.HEAD_TIMEOUT));
            skipEmptyLines(deadline);
            int length = 0; // of what was looked at
            boolean whole = false;
            while (!whole) {
                if (length >= Limits.MAX_HEAD)
                    throw new Refusal(Rejection.HEAD_TOO_LARGE, "more than " + Limits.MAX_HEAD + " bytes");
                need(length + 1, deadline);
                int to = start + length + 1;
                byte b = buffer[to - 1];
                if (b == '\n' && (length == 0 || buffer[to - 2] != '\r')) // refused now, not at the timeout
                    throw Http.malformed("expected CRLF after each line of the head");
                if (b >= 0 && b < ' ' && "\r\n\t".indexOf(b) < 0)
                    throw Http.malformed("control character in the head; is it TLS? (--tls-cert)");
                length++;
                if (length == 5)
                    isHead = new String(buffer, start, length, ISO_8859_1).equals("HEAD ");
                whole = b == '\n' && length >= END && buffer[to - 3] == '\n'; // each has its CR
            }
            String head = new String(buffer, start, length - END, ISO_8859_1);
            start += length;
            return Http.parse(head);
        }

        /** Reads a body of so many bytes, which the caller has found to be few enough. */
        byte[] body(int length) throws IOException, Refusal {
            long deadline = deadline(Limits.BODY_TIMEOUT);
            // It grows with what arrives, not with what is announced.
            ByteArrayOutputStream read = new ByteArrayOutputStream();
            while (bodyLength < length) {
                need(1, deadline);
                int n = Math.min(end - start, length - bodyLength);
                grown.accept(n);
                bodyLength += n;
                read.write(buffer, start, n);
                start += n;
            }
            return read.toByteArray();
        }

        /** What goes out of an answer to the request that was read last. */
        byte[] answer(byte[] answer) { return isHead ? Http.headOf(answer) : answer; }

        /** What the peer sent behind the last request. */
        byte[] rest() { return Arrays.copyOfRange(buffer, start, end); }

        static long deadline(int millis) { return System.nanoTime() + millis * 1_000_000L; }

        /** RFC 9112 §2.2: a server "SHOULD ignore at least one empty line (CRLF)" before a request. */
        void skipEmptyLines(long deadline) throws IOException, Refusal {
            for (int skipped = 0; skipped < Limits.MAX_HEAD; skipped += 2) { // more: a malformed head
                need(1, deadline);
                if (buffer[start] != '\r') return;
                need(2, deadline);
                if (buffer[start + 1] != '\n') return;
                start += 2;
            }
        }

        /** Reads until so many bytes are buffered. */
        void need(int bytes, long deadline) throws IOException, Refusal {
            while (end - start < bytes)
                if (!fill(deadline)) throw new EOFException();
        }

        /** Reads more, and moves what is buffered to the front. False at the end of the stream. */
        boolean fill(long deadline) throws IOException, Refusal {
            if (end == buffer.length && end < Limits.MAX_HEAD) { // more comes than expected
                grown.accept(buffer.length);
                buffer = Arrays.copyOf(buffer, 2 * buffer.length);
            }
            System.arraycopy(buffer, start, buffer, 0, end - start);
            end -= start;
            start = 0;
            out.flush();
            long left = deadline - System.nanoTime();
            if (left <= 0) throw new Refusal(Rejection.TOO_SLOW); // also if there is always one byte more
            socket.setSoTimeout((int) (left / 1_000_000) + 1);
            try {
                int n = socket.getInputStream().read(buffer, end, buffer.length - end);
                end += Math.max(0, n);
                return n >= 0;
            } catch (SocketTimeoutException e) {
                throw new Refusal(Rejection.TOO_SLOW);
            }
        }
    }

    // ---- 7. Token (RFC 7515, 7519, 8725) ------------------------------------------------------------------
    // A JSON Web Token with HS256, and nothing else: the token chooses neither its algorithm nor its key.

    /** base64url without padding (RFC 4648 §5, RFC 7515 §2). Bytes have one spelling; no other is taken. */
    static class Base64Url {
        static final String ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        static final byte[] VALUES = new byte[128]; // by character; -1 where it stands for nothing

        static {
            for (int c = 0; c < VALUES.length; c++)
                VALUES[c] = (byte) ALPHABET.indexOf(c);
        }

        /** The bytes that the text stands for, or null where it is not the one spelling of them. */
        static byte[] decode(String text) {
            byte[] bytes = new byte[text.length() * 6 / 8];
            int bits = 0, count = 0, at = 0; // the last count of the bits are not yet written
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                if (c >= VALUES.length || VALUES[c] < 0)
                    return null;
                bits = bits << 6 | VALUES[c];
                count += 6;
                if (count >= 8) {
                    count -= 8;
                    bytes[at] = (byte) (bits >> count);
                    at++;
                }
            }
            // One character left over stands for no byte, and bits left over have to be 0: otherwise they
            // could be anything, and one signature would have several spellings (RFC 4648 §3.5).
            int leftOver = bits & ((1 << count) - 1);
            if (count >= 6 || leftOver != 0)
                return null;
            return bytes;
        }
    }

    /** What a verified token says: its signature, a character for each byte, and its exp in Unix time. */
    record Claims(String mac, double expires) { }

    /** What a token has to say beside its times. */
    interface Conditions { void check(Map<String, Json> payload) throws Refusal; }

    /** Verifies tokens. There is one algorithm on purpose, and another would be a new version of this file
     * (RFC 8725 §3.2). A secret is meant for tokens of this server alone (§3.12): what it signs is from
     * the issuer, and for any listener, so sub is not asked for, nor iss unless by --issuer (§3.8). */
    static class Jwt {
        /** Returns the claims of a token that is good now, or throws why it is not. It may be a used one. */
        static Claims verify(
                String token,
                List<byte[]> secrets,
                Conditions conditions,
                Instant now,
                Duration leeway) throws Refusal {
            // 1. RFC 7515 §7.1: three segments, none of them empty
            if (token.length() > Limits.MAX_TOKEN)
                throw invalid("longer than " + Limits.MAX_TOKEN + " characters");
            String[] segments = token.split("\\.", -1);
            if (segments.length != 3)
                throw invalid("expected three segments, got " + segments.length);
            // 2. RFC 7515 §4.1.1: the algorithm is ours to say (RFC 8725 §3.1), the header may only agree
            Map<String, Json> header = object(segments[0], "header");
            if (!new Json.Str("HS256").equals(header.get("alg")))
                throw invalid("expected alg HS256");
            // §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by
            // the recipient, then the JWS is invalid." None is; and b64 (RFC 7797) would change what is
            // signed.
            if (header.containsKey("crit") || header.containsKey("b64"))
                throw invalid("header has crit or b64");
            // 3. RFC 7515 §5.2: the signature, before anything of the payload is looked at
            byte[] mac = Base64Url.decode(segments[2]);
            String signingInput = segments[0] + '.' + segments[1];
            boolean signed = mac != null && isSigned(signingInput, mac, secrets);
            if (!signed)
                throw invalid("signature does not match");
            // 4. A nested token (RFC 7519 §7.2 8.) has no JSON object as its payload, so it is refused here,
            // whatever its cty says.
            Map<String, Json> payload = object(segments[1], "payload");
            if (!payload.containsKey("exp"))
                throw new Refusal(Rejection.TOKEN_WITHOUT_EXPIRATION);
            double expires = numericDate(payload, "exp");
            if (expires > Limits.MAX_EXPIRES)
                throw invalid("exp is after the year 9999; is it in milliseconds?");
            double time = unixTime(now);
            double skew = leeway.toMillis() / 1e3;
            // §4.1.4: "the current date/time MUST be before the expiration date/time"
            if (time >= expires + skew)
                throw new Refusal(Rejection.TOKEN_EXPIRED, (long) (time - expires) + " s ago");
            // §4.1.5: "the current date/time MUST be after or equal to the not-before date/time"
            double notBefore = payload.containsKey("nbf") ? numericDate(payload, "nbf") : 0;
            if (time < notBefore - skew)
                throw invalid("not valid yet");
            conditions.check(payload);
            return new Claims(new String(mac, ISO_8859_1), expires);
        }

        /** The condition where no option asks for others. §4.1.3: a recipient that is not in a token's
         * audience must reject it, and this server has no name that could be in it. */
        static void checkNoAudience(Map<String, Json> payload) throws Refusal {
            if (payload.containsKey("aud"))
                throw invalid("it is for an audience (aud)");
        }

        static boolean isSigned(String signingInput, byte[] mac, List<byte[]> secrets) {
            // isEqual, not equals: the time must not depend on the content; |=, and no return
            // within the loop: nor on which secret it is.
            boolean signed = false;
            for (byte[] secret : secrets)
                signed |= MessageDigest.isEqual(mac(secret, signingInput), mac);
            return signed;
        }

        /** In seconds. */
        static double unixTime(Instant instant) {
            double fraction = instant.getNano() / 1e9;
            return instant.getEpochSecond() + fraction;
        }

        /** RFC 7515 §A.1: the signature of HS256. */
        static byte[] mac(byte[] secret, String signingInput) {
            try {
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(new SecretKeySpec(secret, "HmacSHA256"));
                return mac.doFinal(signingInput.getBytes(ISO_8859_1));
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e); // every Java platform has HmacSHA256
            }
        }

        static Map<String, Json> object(String segment, String what) throws Refusal {
            byte[] bytes = Base64Url.decode(segment);
            try {
                Json json = bytes == null ? null : Json.parse(Http.utf8(bytes));
                if (json instanceof Json.Obj(var members)) // an error here: it takes a JDK of 21 or newer
                    return members;
            } catch (CharacterCodingException | Json.JsonException e) {
                // said below, like every other fault of it
            }
            throw invalid(what + " is no JSON object in base64url");
        }

        /** RFC 7519 §2: NumericDate, seconds since 1970, "non-integer values can be represented". */
        static double numericDate(Map<String, Json> payload, String name) throws Refusal {
            if (payload.get(name) instanceof Json.Num(var text)) {
                double value = Double.parseDouble(text);
                if (Double.isFinite(value)) // unlike 1e400
                    return value;
            }
            throw invalid(name + " is not a finite number");
        }

        static Refusal invalid(String detail) { return new Refusal(Rejection.TOKEN_INVALID, detail); }
    }

    // ---- 8. Used tokens -----------------------------------------------------------------------------------
    // A token works once. Only verified tokens get in here, and each stays until it has expired: the table
    // cannot be filled by a client that has no secret.

    /** Makes a token work once. */
    interface UsedTokens {
        /** Takes a token for the caller, the only one ever to get it. It may block for a moment. Where it
         * cannot be known whether the token was used, it is refused. */
        void claim(Claims claims) throws Refusal;
    }

    /** The tokens that were used and have not expired yet, with their expiry. */
    static class UsedTokenTable implements UsedTokens {
        final ConcurrentHashMap<String, Double> expiries = new ConcurrentHashMap<>();
        final InstantSource clock;
        final double leeway; // seconds
        /** The latest time that was seen. If the clock is set back, what was forgotten by it stays
         * expired. */
        final DoubleAccumulator latest = new DoubleAccumulator(Math::max, 0);

        UsedTokenTable(InstantSource clock, Duration leeway) {
            this.clock = clock;
            this.leeway = leeway.toMillis() / 1e3;
        }

        /** One atomic operation decides. */
        @Override
        public void claim(Claims claims) throws Refusal {
            // Some that come at once may exceed the limit together, which does no harm.
            if (expiries.mappingCount() >= Limits.MAX_USED_TOKENS)
                throw new Refusal(Rejection.USED_TOKENS_FULL, "let them expire sooner (exp)");
            Double earlier = expiries.putIfAbsent(claims.mac, claims.expires);
            if (earlier != null) throw new Refusal(Rejection.TOKEN_USED);
            if (hasExpired(claims.expires)) // since it was verified: it may have been used before, and swept
                throw new Refusal(Rejection.TOKEN_EXPIRED, "just now");
        }

        /** Forgets what has expired. Called by the scheduled executor. */
        void sweep() { expiries.values().removeIf(this::hasExpired); }

        boolean hasExpired(double expires) {
            latest.accumulate(Jwt.unixTime(clock.instant()));
            return latest.get() >= expires + leeway;
        }
    }

    // ---- 9. Opening handshake (RFC 6455 §4.2, RFC 7692 §7.1) ----------------------------------------------
    // Judges a request to upgrade. It changes nothing: the token is claimed later, at the door.

    /** A handshake in order: two fields of its answer, and the token's claims, or null if none is needed. */
    record Accepted(String accept, String extensions, Claims claims) {
        /** The answer that admits (§4.2.2 5.). No frame goes out before it. */
        byte[] response() {
            String head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: " + accept + "\r\n";
            if (deflate()) // else the field is left out, it may not be empty
                head += "Sec-WebSocket-Extensions: " + extensions + "\r\n";
            return (head + "\r\n").getBytes(ISO_8859_1);
        }

        boolean deflate() { return !extensions.isEmpty(); }

        /** Whether a compressed message of the client may refer to those before it (RFC 7692 §7.1.1.2). */
        boolean takesContextOver() { return deflate() && !extensions.contains(Offer.NO_CONTEXT); }
    }

    /** An extension that a client offers (RFC 6455 §9.1): parameters by name, as name or name=value.
     * @param unique whether no parameter stands there twice */
    record Offer(String extension, Map<String, String> parameters, boolean unique) {
        static final String NO_CONTEXT = "client_no_context_takeover";
        /** The parameters of permessage-deflate (RFC 7692 §7.1) that can be had. */
        static final Pattern ACCEPTABLE = Pattern.compile("server_no_context_takeover"
            + "|" + NO_CONTEXT
            + "|client_max_window_bits(?:=(?:[89]|1[0-5]))?"
            + "|server_max_window_bits=15"); // the JDK's Deflater has no smaller window
        static final Pattern QUOTED = Pattern.compile("^\"(\\S*)\"$");

        /** Reads Sec-WebSocket-Extensions. What is no list of extensions fails (RFC 6455 §9.1). */
        static List<Offer> parse(String field) throws Refusal {
            List<Offer> offers = new ArrayList<>();
            for (String element : field.split(","))
                if (!element.isBlank()) // RFC 9110 §5.6.1.2: an empty element of a list is ignored
                    offers.add(parseOne(element));
            return offers;
        }

        /** extension = token *( ";" token [ "=" ( token | quoted-string ) ] ) */
        static Offer parseOne(String text) throws Refusal {
            String[] parts = text.split(";", -1);
            Map<String, String> parameters = new HashMap<>();
            boolean unique = true;
            for (int i = 1; i < parts.length; i++) {
                String[] pair = parts[i].split("=", 2);
                String name = token(pair[0]);
                String parameter = name;
                if (pair.length == 2) { // what is quoted has to be a token too
                    String value = QUOTED.matcher(pair[1].strip()).replaceFirst("$1");
                    parameter += '=' + token(value);
                }
                String former = parameters.put(name, parameter);
                if (former != null)
                    unique = false;
            }
            return new Offer(token(parts[0]), parameters, unique);
        }

        static String token(String text) throws Refusal {
            String token = text.strip();
            if (!Http.isToken(token))
                throw Http.malformed("Sec-WebSocket-Extensions is no list of extensions");
            return token;
        }

        /** Whether it is a permessage-deflate that this server has. Others are declined (RFC 7692 §7.1). */
        boolean isAcceptable() {
            if (!unique || !extension.equals("permessage-deflate")) return false;
            for (String parameter : parameters.values())
                if (!ACCEPTABLE.matcher(parameter).matches()) return false;
            return true;
        }

        /** The answer to it. The server takes no context over, so that all can get the same bytes, and says
         * so unasked (RFC 7692 §7.1.1.1). Nothing else is answered that was not offered: some clients take
         * that for a fault. */
        String response() {
            String response = extension + "; server_no_context_takeover";
            for (String name : List.of(NO_CONTEXT, "server_max_window_bits"))
                if (parameters.containsKey(name))
                    response += "; " + parameters.get(name);
            return response;
        }
    }

    /** The server's side of the opening handshake. */
    record Handshake(
            Predicate<String> origins, // whether one with this Origin field, or null for none, is admitted
            List<byte[]> secrets, // none: a client needs no token
            Conditions conditions,
            Duration leeway,
            boolean deflate) {
        static final String GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // §1.3
        static final Pattern KEY = Pattern.compile("[A-Za-z0-9+/]{22}=="); // 16 bytes in base64
        static final Pattern BEARER = Pattern.compile("(?is)bearer +(.*)"); // s: . is any character

        /** Whether a request is meant as a handshake. With a key it is: a proxy may have eaten Upgrade. */
        static boolean isMeant(Request request) {
            return request.http11() && request.lists("upgrade", "websocket") // RFC 9110 §7.8
                || request.has("sec-websocket-key");
        }

        /** Judges a handshake by the steps of §4.2.1; last the origin, then the token. */
        Accepted judge(Request request, Instant now) throws Refusal {
            // 1. "An HTTP/1.1 or higher GET request"
            if (!request.method().equals("GET") || !request.http11())
                throw Http.malformed("a handshake is a GET of HTTP/1.1 (nginx: proxy_http_version 1.1)");
            if (hasBody(request))
                throw Http.malformed("a handshake has no body"); // it would be read as frames
            // 2. Host: every request was asked for one. 3. and 4.: Upgrade and Connection
            if (!request.lists("upgrade", "websocket")
                    || !request.lists("connection", "upgrade"))
                throw Http.malformed("no Upgrade: websocket with Connection: Upgrade; "
                    + "a proxy has to pass both on");
            // 6. before 5., so that a client of another version learns which one is spoken here (§4.4)
            String version = request.field("sec-websocket-version");
            if (version == null) throw new Refusal(Rejection.WEBSOCKET_VERSION, "none");
            if (!version.equals("13"))
                throw new Refusal(Rejection.WEBSOCKET_VERSION, EventLog.quote(version));
            // 5. "a base64-encoded value that, when decoded, is 16 bytes in length"
            String key = request.field("sec-websocket-key");
            if (key == null || !KEY.matcher(key).matches())
                throw Http.malformed("Sec-WebSocket-Key is not 16 bytes in base64");
            // 8. subprotocols: none is taken, so the field is not sent. 9. extensions: a
            // malformed offer is refused with --no-deflate too
            List<String> offers = request.fields().getOrDefault("sec-websocket-extensions", List.of());
            String extensions = negotiate(offers);
            // 7. origin
            String origin = request.field("origin");
            if (!origins.test(origin))
                throw new Refusal(Rejection.ORIGIN, origin == null ? "none was sent" : "it is not listed");
            Claims claims = null;
            if (!secrets.isEmpty())
                claims = Jwt.verify(token(request), secrets, conditions, now, leeway);
            return new Accepted(acceptValue(key), deflate ? extensions : "", claims);
        }

        static boolean hasBody(Request request) throws Refusal {
            String length = request.field("content-length");
            return length != null && !length.matches("0+")
                || request.has("transfer-encoding")
                || request.has("expect");
        }

        /** Answers the offers of Sec-WebSocket-Extensions: the first that can be had is taken. */
        static String negotiate(List<String> values) throws Refusal {
            List<Offer> offers = Offer.parse(String.join(",", values)); // all, before one is taken
            for (Offer offer : offers)
                if (offer.isAcceptable()) return offer.response();
            return "";
        }

        /** The token: in the query as t, or in a field as a bearer token (RFC 6750 §2.1). */
        static String token(Request request) throws Refusal {
            String query = request.parameter("t");
            String authorization = request.field("authorization");
            Matcher bearer = BEARER.matcher(authorization == null ? "" : authorization);
            String token = bearer.matches() ? bearer.group(1) : query;
            if (query != null && !query.equals(token)) throw Http.malformed("two different tokens");
            if (token == null || token.isEmpty()) throw new Refusal(Rejection.NO_TOKEN);
            return token;
        }

        /** §4.2.2 5.4.: base64 of SHA-1 of the key and the GUID. */
        static String acceptValue(String key) {
            return Base64.getEncoder().encodeToString(Http.hash("SHA-1", key + GUID));
        }
    }

    // ---- 10. Framing (RFC 6455 §5, RFC 7692 §7.2) ---------------------------------------------------------
    // The encoder of our frames, which are never masked, and the reader of a listener's, which always are.

    /** Encodes frames: FIN set, no mask. */
    static class Frame {
        /** A frame with the shortest of the three length encodings (§5.2). */
        static byte[] of(Opcode opcode, boolean compressed, byte[] payload) {
            ByteBuffer frame = ByteBuffer.allocate(Limits.MAX_FRAME_HEADER + payload.length);
            int rsv1 = compressed ? 0b0100_0000 : 0; // RFC 7692 §6
            frame.put((byte) (0b1000_0000 | rsv1 | opcode.bits));
            if (payload.length < 126)
                frame.put((byte) payload.length);
            else if (payload.length < 65536)
                frame.put((byte) 126).putShort((short) payload.length);
            else
                frame.put((byte) 127).putLong(payload.length);
            frame.put(payload);
            return Arrays.copyOf(frame.array(), frame.position());
        }

        /** Compresses a message by itself (RFC 7692 §7.2.1), also where that makes it some bytes larger:
         * there are clients that do not expect one that is not compressed among others that are. */
        static byte[] compress(Deflater deflater, byte[] message) {
            byte[] compressed = new byte[message.length + message.length / 1000 + 64]; // enough for any
            deflater.reset();
            deflater.setInput(message);
            int length = deflater.deflate(compressed, 0, compressed.length, Deflater.SYNC_FLUSH);
            return Arrays.copyOf(compressed, length - 4); // §7.2.1: without 00 00 FF FF, which end a flush
        }

        /** The payload of a close frame (§5.5.1): the code, and the reason, which is ASCII here. */
        static byte[] closePayload(int code, String reason) {
            return ByteBuffer.allocate(2 + reason.length())
                .putShort((short) code)
                .put(reason.getBytes(UTF_8))
                .array();
        }
    }

    /** A control frame that was received, unmasked. */
    record ControlFrame(Opcode opcode, byte[] payload) { }

    /** Whether bytes that come in pieces are UTF-8 (RFC 3629). It fails at the first that cannot be. */
    static class Utf8Check {
        final CharsetDecoder decoder = UTF_8.newDecoder(); // reports what is malformed
        final CharBuffer decoded = CharBuffer.allocate(256); // not looked at
        private ByteBuffer begun = ByteBuffer.allocate(0); // up to three bytes of a character

        void add(byte[] bytes, int offset, int length, boolean last) throws ProtocolException {
            ByteBuffer input = ByteBuffer.allocate(begun.remaining() + length);
            input.put(begun).put(bytes, offset, length).flip();
            CoderResult result;
            do
                result = decoder.decode(input, decoded.clear(), last);
            while (result.isOverflow());
            // The decoder would wait for the third byte of a surrogate (ED A0 to ED BF), which has no UTF-8.
            int two = input.remaining() == 2 ? input.getShort(input.position()) : 0;
            boolean surrogate = (two & 0xFFE0) == 0xEDA0;
            if (surrogate || result.isError()) // §8.1
                throw new ProtocolException(CloseCode.INVALID_PAYLOAD, "text is not UTF-8");
            begun = input;
        }
    }

    /** Gets the data of messages, piece by piece; the last piece may be empty. */
    interface Sink {
        void data(Opcode type, byte[] bytes, int offset, int length, boolean last) throws IOException;
    }

    /** Bytes of a reader's buffer, bytes and fragments of a message; compression contexts of all readers;
     * whether a flood is slowed down. */
    record Bounds(int buffer, int message, int fragments, Semaphore contexts, boolean paced) {
        static final Bounds LISTENER = new Bounds(Limits.READ_BUFFER, Limits.MAX_CLIENT_MESSAGE,
            Limits.MAX_FRAGMENTS, new Semaphore(Limits.MAX_CONTEXTS), true);
    }

    /** Reads a client's frames and checks them against §5. Control frames are returned; data goes to the
     * sink, checked and inflated. Used by one thread. */
    static class FrameReader {
        /** The tail that the sender has cut off (RFC 7692 §7.2.2), and a final block: its end shows that the
         * message was whole. */
        static final byte[] END = "\0\0\u00FF\u00FF\1\0\0\u00FF\u00FF".getBytes(ISO_8859_1);
        final InputStream in;
        final boolean deflate; // permessage-deflate was agreed on
        final boolean takesContextOver;
        final Bounds bounds;
        final Sink sink;
        private byte[] buffer;
        private int start, end; // what was read and not yet taken
        volatile long lastRead = System.nanoTime(); // when something last came

        // The message under way (§5.4):
        private volatile Opcode type;   // TEXT, BINARY, or null between two
        private volatile int seconds;   // that it has been under way, see isUnfinished
        private Utf8Check utf8;         // of a text
        private Inflater inflater;      // of a compressed message
        private int announced;          // bytes, by the frames' headers so far
        private int fragments;
        private int inflated;           // bytes

        // From the first compressed message on, and after it only if it is taken over. There is a permit of
        // bounds.contexts for it:
        private byte[] context;         // the end of it is the end of what was inflated
        private int kept;               // bytes of that

        // See pace:
        private int work;               // reads, frames and KiB inflated
        private int waits;              // less the seconds without one
        private long lastWait = System.nanoTime();

        /** @param rest what was read beyond the request's head */
        FrameReader(InputStream in, byte[] rest, Accepted accepted, Bounds bounds, Sink sink) {
            this.in = in;
            this.deflate = accepted.deflate();
            this.takesContextOver = accepted.takesContextOver();
            this.bounds = bounds;
            this.sink = sink;
            // No more than a header: it may stay idle.
            this.buffer = Arrays.copyOf(rest, Math.max(rest.length, Limits.MAX_FRAME_HEADER));
            end = rest.length;
        }

        /** Reads up to the end of the next control frame: §5.2, Base Framing Protocol, bit by bit. */
        ControlFrame next() throws IOException {
            while (true) {
                need(2);
                int b0 = buffer[start], b1 = buffer[start + 1];
                start += 2;
                // 1. FIN and opcode
                boolean fin = (b0 & 0b1000_0000) != 0;
                Opcode opcode = Opcode.of(b0 & 0b0000_1111);
                // 2. RSV1 to RSV3: "MUST be 0 unless an extension is negotiated"
                int rsv = b0 & 0b0111_0000;
                boolean data = opcode == Opcode.TEXT || opcode == Opcode.BINARY;
                boolean compressed = rsv == 0b0100_0000 && deflate && data; // RFC 7692 §6: in the first frame
                if (rsv != 0 && !compressed) throw error("reserved bits must be 0");
                // 3. §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
                if ((b1 & 0b1000_0000) == 0) throw error("frame is not masked");
                // 4. payload length
                long length = payloadLength(b1 & 0b0111_1111);
                // 5. §5.5: control frames have at most 125 bytes and are not fragmented
                if (opcode.isControl() && (length > Limits.MAX_CONTROL_PAYLOAD || !fin))
                    throw error("control frame is too long or fragmented");
                if (!opcode.isControl())
                    begin(opcode, length, compressed);
                // 6. masking key. 7. payload
                int maskingKey = (int) take(4);
                pace();
                if (opcode.isControl())
                    return new ControlFrame(opcode, payload((int) length, maskingKey));
                readData((int) length, maskingKey, fin);
            }
        }

        /** §5.2: "the minimal number of bytes MUST be used", "the most significant bit MUST be 0". */
        long payloadLength(int sevenBits) throws IOException {
            if (sevenBits < 126) return sevenBits;
            int least = sevenBits == 126 ? 126 : 65536;
            long length = take(sevenBits == 126 ? 2 : 8);
            if (length < least) // also where the most significant bit makes it negative
                throw error("length is not encoded minimally");
            return length;
        }

        /** §5.4: a message begins with TEXT or BINARY, and goes on with CONTINUATION until FIN. */
        void begin(Opcode opcode, long length, boolean compressed) throws ProtocolException {
            boolean continues = opcode == Opcode.CONTINUATION;
            if (continues && type == null) throw error("nothing to continue");
            if (!continues && type != null) throw error("expected a continuation");
            if (!continues) {
                seconds = 0; // before the type is set: see isUnfinished
                type = opcode;
                utf8 = opcode == Opcode.TEXT ? new Utf8Check() : null;
                announced = 0;
                fragments = 0;
                inflated = 0;
                if (compressed)
                    beginInflating();
            }
            fragments++;
            if (length > bounds.message - announced || fragments > bounds.fragments) throw tooBig();
            announced += (int) length;
        }

        void beginInflating() throws ProtocolException {
            if (context == null) {
                if (!bounds.contexts.tryAcquire())
                    throw new ProtocolException(CloseCode.POLICY_VIOLATION,
                        "too many compressed messages of all listeners");
                context = new byte[takesContextOver ? Limits.CONTEXT : 0];
            }
            inflater = new Inflater(true);
            inflater.setDictionary(context, context.length - kept, kept);
        }

        /** Whether the message under way takes too long. Asked once a second: it is counted, not measured, so
         * that a pause of the server itself is not taken for one of the peer. */
        boolean isUnfinished() {
            if (type != null)
                seconds++;
            return seconds > Limits.MESSAGE_TIMEOUT;
        }

        /** A control frame's payload. */
        byte[] payload(int length, int maskingKey) throws IOException {
            need(length);
            unmask(length, maskingKey, 0);
            start += length;
            return Arrays.copyOfRange(buffer, start - length, start);
        }

        /** Reads a data frame's payload piece by piece. */
        void readData(int length, int maskingKey, boolean fin) throws IOException {
            int at = 0;
            do {
                if (at < length)
                    need(1);
                int piece = Math.min(end - start, length - at);
                unmask(piece, maskingKey, at);
                at += piece;
                boolean last = fin && at == length;
                if (inflater == null)
                    deliver(buffer, start, piece, last);
                else
                    inflate(buffer, start, piece, last);
                start += piece;
            } while (at < length);
            if (fin) {
                type = null;
                utf8 = null;
                release(takesContextOver);
            }
        }

        void deliver(byte[] bytes, int offset, int length, boolean last) throws IOException {
            if (utf8 != null)
                utf8.add(bytes, offset, length, last);
            sink.data(type, bytes, offset, length, last);
        }

        /** RFC 7692 §7.2.2: the tail that the sender has cut off goes behind the message's last piece. */
        void inflate(byte[] bytes, int offset, int length, boolean last) throws IOException {
            byte[] output = new byte[Math.max(1024, bounds.buffer)];
            try {
                inflater.setInput(bytes, offset, length);
                inflateInput(output);
                while (inflater.getRemaining() > 0) { // §7.2.3.4: it has stopped behind a final block
                    int rest = inflater.getRemaining();
                    inflater.reset();
                    inflater.setInput(bytes, offset + length - rest, rest);
                    inflateInput(output);
                }
                if (last && announced > 0 && !inflater.finished()) {
                    int before = inflated;
                    inflater.setInput(END);
                    inflateInput(output);
                    if (!inflater.finished() || inflated > before) // the tail was taken for data
                        throw new DataFormatException();
                }
            } catch (DataFormatException e) {
                throw new ProtocolException(CloseCode.INVALID_PAYLOAD, "compressed data is invalid");
            }
            if (last)
                deliver(output, 0, 0, true);
        }

        /** Inflates what the inflater was given, and delivers it. */
        void inflateInput(byte[] output) throws DataFormatException, IOException {
            while (true) {
                pace(); // a few bytes can stand for many
                int n = inflater.inflate(output);
                if (n == 0) return;
                inflated += n;
                if (inflated > bounds.message) throw tooBig(); // before anything of it is kept
                deliver(output, 0, n, false);
                if (takesContextOver)
                    remember(output, n);
            }
        }

        /** Takes what was inflated, at most CONTEXT bytes at once, into the context. */
        void remember(byte[] output, int length) {
            int before = Limits.CONTEXT - length;
            System.arraycopy(context, length, context, 0, before);
            System.arraycopy(output, 0, context, before, length);
            kept = Math.min(kept + length, Limits.CONTEXT);
        }

        /** Frees the memory of the inflater, which is not the collector's, and the context unless it is kept
         * for the next message. */
        void release(boolean keepContext) {
            if (inflater != null)
                inflater.end();
            inflater = null;
            if (context == null || keepContext) return;
            context = null;
            bounds.contexts.release();
        }

        /** §5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-j", j = i MOD 4; i from at. */
        void unmask(int length, int maskingKey, int at) {
            for (int i = 0; i < length; i++) {
                int j = (at + i) & 3;
                buffer[start + i] ^= (byte) (maskingKey >>> 24 - 8 * j);
            }
        }

        /** An integer of so many bytes in network byte order. */
        long take(int bytes) throws IOException {
            need(bytes);
            long value = 0;
            for (int i = 0; i < bytes; i++)
                value = value << 8 | buffer[start + i] & 0xFF;
            start += bytes;
            return value;
        }

        /** Reads until so many bytes, at most those of a control frame, are buffered. */
        void need(int bytes) throws IOException {
            if (buffer.length < bytes)
                buffer = Arrays.copyOf(buffer, bounds.buffer);
            if (buffer.length - start < bytes) {
                end -= start;
                System.arraycopy(buffer, start, buffer, 0, end);
                start = 0;
            }
            // Not in a method of its own, which would be a frame more on each idle stack.
            while (end - start < bytes) {
                int n = in.read(buffer, end, buffer.length - end);
                if (n < 0) throw new EOFException();
                end += n;
                lastRead = System.nanoTime();
                if (end == buffer.length && end < bounds.buffer) // it was filled: more comes
                    buffer = Arrays.copyOf(buffer, bounds.buffer);
                pace();
            }
        }

        /** Counts a read, a frame, or a KiB inflated. A virtual thread is not preempted, so a listener that
         * sends without pause would keep a processor from the others: it is slowed down, and
         * fails if it goes on. */
        void pace() throws ProtocolException {
            if (!bounds.paced) return;
            work++;
            if (work % Limits.PACE != 0) return;
            long now = System.nanoTime();
            long calm = (now - lastWait) / 1_000_000_000L; // each second without a wait makes up for one
            waits = (int) Math.max(0, waits - calm) + 1;
            lastWait = now;
            if (waits > Limits.MAX_WAITS)
                throw new ProtocolException(CloseCode.POLICY_VIOLATION, "listeners have nothing to say");
            LockSupport.parkNanos(Limits.PACE_PAUSE * 1_000_000L);
        }

        static ProtocolException error(String reason) {
            return new ProtocolException(CloseCode.PROTOCOL_ERROR, reason);
        }

        static ProtocolException tooBig() {
            return new ProtocolException(CloseCode.MESSAGE_TOO_BIG, "message is too big");
        }
    }

    // ---- 11. Stream log -----------------------------------------------------------------------------------
    // What goes to every listener, as the bytes on the wire: messages, pings, at the end the close frame.
    //
    //      Segment                        Segment, the tail
    //      base            limit          base            limit
    //      | frame | frame |  - next ->   | frame | frame |  room  |
    //              ^                              ^       ^
    //              a cursor that is behind        |       the end of the log: a cursor that has caught up
    //                                             another cursor
    //
    // A frame is put behind the limit, then the limit moves over it. So a cursor always rests between two
    // frames, and what it has before it never changes. Nothing points backwards: the collector frees a
    // segment when the last cursor has left it.

    /** A piece of the log. What is below the limit never changes, and the limit moves by whole frames. */
    static class Segment {
        final long base;        // offset in the log of bytes[0]
        final byte[] bytes;
        /** The limit, and above its 32 bits how many messages are below it. Written by append, after the
         * bytes. */
        volatile long mark;
        volatile Segment next;  // written by append, after the last change of the mark

        Segment(long base, int size) {
            this.base = base;
            this.bytes = new byte[size];
        }

        int limit() { return limit(mark); }

        static long mark(int messages, int limit) { return (long) messages << 32 | limit; }

        static int limit(long mark) { return (int) mark; }

        static int messages(long mark) { return (int) (mark >>> 32); }
    }

    /** A place between two frames of a log. */
    record Cursor(StreamLog log, Segment segment, long mark) {
        long offset() { return segment.base + Segment.limit(mark); }
    }

    /** The log. Offsets are absolute: bytes since it began. */
    static class StreamLog {
        /** Where frames are appended, and cursors begin. */
        volatile Segment tail = new Segment(0, Limits.SEGMENT);
        private volatile long closedAt = Long.MAX_VALUE; // the offset behind the close frame
        // What listeners were sent of it:
        final LongAdder bytesSent = new LongAdder();
        final LongAdder messagesSent = new LongAdder();

        /** Appends a frame. Called by one thread at a time. @return where it begins */
        Cursor append(Opcode opcode, byte[] frame) {
            Segment from = tail;
            boolean fits = frame.length <= from.bytes.length - from.limit();
            int size = Math.max(frame.length, Limits.SEGMENT);
            Segment to = fits ? from : new Segment(end(), size);
            Cursor cursor = new Cursor(this, to, to.mark);
            System.arraycopy(frame, 0, to.bytes, to.limit(), frame.length);
            if (opcode == Opcode.CLOSE) // before it can be seen: who sends it sees that nothing follows
                closedAt = end() + frame.length;
            to.mark += Segment.mark(opcode == Opcode.TEXT ? 1 : 0, frame.length);
            if (!fits) {
                // next before tail: when the end of the log shows the frame, a cursor at the end of the
                // segment before already finds its way to it.
                from.next = to;
                tail = to;
            }
            return cursor;
        }

        /** A cursor behind the last frame. */
        Cursor now() {
            Segment last = tail;
            return new Cursor(this, last, last.mark);
        }

        /** The offset behind the last frame. */
        long end() {
            Segment last = tail;
            return last.base + last.limit();
        }

        /** Whether a cursor at this offset has passed the close frame. */
        boolean isClosedAt(long offset) { return offset >= closedAt; }
    }

    /** What a listener has asked for of the past: pieces of the plain log. */
    interface Past {
        /** Where it begins, or null if there is nothing. Called under appending, see Broadcaster. */
        Cursor from();

        /** Where the next piece begins, at this place of a segment's bytes or behind it; at most the end. */
        int begin(byte[] frames, int at, int end);

        /** The mark where a piece ends. @param mark that of its beginning */
        long end(byte[] frames, long mark, int end);
    }

    /** Where the past ends for a listener: at live, in the plain log. It goes on at next, in its own log,
     * which is the same place among the messages. */
    record Seam(Past past, Cursor live, Cursor next) { }

    /** Where a listener begins.
     * @param seam null if that is not in the past */
    record Start(Cursor from, Seam seam) { }

    // ---- 12. Listener (RFC 6455 §5.5, §7) -----------------------------------------------------------------
    // One connection after its opening handshake. It is written to by the thread that holds its write lock,
    // always whole frames, and read by one thread, which also ends it.

    /** Why the server ended a listener: a name for the counters, a text for the log. */
    record Drop(String reason, String text) { }

    /** A listener. Not final: the tests have one that sends back what it gets. */
    static class Listener implements Sink {
        final Socket socket;
        final OutputStream out;
        final FrameReader reader;
        final boolean deflate;              // it is one of the compressed log, or will be
        final ReentrantLock writeLock = new ReentrantLock(true); // fair: see catchUp

        // The cursor, which rests between two frames. It moves under writeLock only.
        volatile StreamLog stream;  // null while it changes: see moveTo
        private Segment segment;
        volatile long offset;       // in the log
        private int messages;       // of the segment, before the cursor
        private Seam seam;          // while it is sent the past; then null, for it keeps the log

        volatile boolean ended;     // nothing goes out any more: a close frame did (§5.5.1), or it was reset
        volatile Drop dropped;      // why the server ended it, or null
        volatile boolean straggling; // its lane passes it over: see Lane

        Runnable wake = () -> { };  // tells its lane that there is more to send; set before it is read

        // heartbeat only:
        long heard;                 // lastRead at the last ping
        int unanswered;             // pings

        /** @param rest what was read beyond the request's head */
        Listener(Socket socket, byte[] rest, Start start, Accepted accepted, Bounds bounds)
                throws IOException {
            this.socket = socket;
            this.out = socket.getOutputStream();
            this.reader = new FrameReader(socket.getInputStream(), rest, accepted, bounds, this);
            this.deflate = accepted.deflate();
            moveTo(start.from);
            seam = start.seam;
            straggling = seam != null; // its lane does not wait for what it is sent of the past
        }

        private void moveTo(Cursor cursor) {
            stream = null; // so lag sees the old log with the old offset, or the new one with the new
            segment = cursor.segment;
            messages = Segment.messages(cursor.mark);
            offset = cursor.offset();
            stream = cursor.log;
        }

        /** Bytes of the log that it has not been sent and still has to be. */
        long lag() {
            StreamLog log = stream;
            if (ended || log == null) return 0;
            long lag = log.end() - offset;
            return log == stream ? lag : 0; // else the offset may be that of another log
        }

        /** Writes what the log has and the listener has not. A thread that keeps it from this, since it holds
         * the write lock for another frame, wakes the lane after that.
         * @return false if another thread is writing, which then does this or wakes the lane */
        boolean catchUp() {
            boolean wrote = false;
            while (lag() > 0) {
                if (wrote)
                    writeLock.lock(); // a pong or the answer to a close frame that waits goes first (§5.5.2)
                else if (!writeLock.tryLock()) // its holder looks at the lag after it unlocks
                    return false;
                wrote = true;
                try {
                    writeSegment();
                } catch (IOException e) {
                    reset(null);
                } finally {
                    writeLock.unlock();
                }
                // It has a thread of its own, which lets the lanes go first. After a yield this one would be
                // the first again: a carrier prefers it to what another thread wakes.
                if (straggling)
                    LockSupport.parkNanos(1);
            }
            return true;
        }

        /** Writes the rest of a segment by one write, and moves the cursor behind it. */
        void writeSegment() throws IOException {
            if (lag() <= 0) return; // another thread was faster, or it has ended
            Segment next = segment.next; // read before the mark, which is final if there is a next
            if (next != null && offset == next.base) {
                segment = next;
                messages = 0;
            }
            int from = (int) (offset - segment.base);
            long mark = segment.mark;
            if (seam != null) {
                long live = seam.live.offset() - segment.base;
                int end = (int) Math.min(Segment.limit(mark), live);
                from = seam.past.begin(segment.bytes, from, end);
                mark = seam.past.end(segment.bytes, Segment.mark(messages, from), end);
            }
            int limit = Segment.limit(mark);
            out.write(segment.bytes, from, limit - from);
            stream.bytesSent.add(limit - from);
            stream.messagesSent.add(Segment.messages(mark) - messages);
            messages = Segment.messages(mark);
            offset = segment.base + limit;
            if (seam != null && offset >= seam.live.offset()) {
                moveTo(seam.next);
                seam = null;
            }
            if (stream.isClosedAt(offset))
                ended = true;
        }

        /** A listener has nothing to say: what it sends was checked and counted, and is dropped. */
        @Override
        public void data(Opcode type, byte[] bytes, int offset, int length, boolean last) { }

        /** Reads until the connection ends, and ends it. @return how the listener left, for the log */
        String read() {
            try {
                while (true) {
                    ControlFrame frame = reader.next();
                    if (frame.opcode() == Opcode.CLOSE) return answerClose(frame.payload());
                    if (frame.opcode() == Opcode.PING)
                        send(Opcode.PONG, false, frame.payload()); // §5.5.3: "identical Application data"
                    // §5.5.3: a pong wants no answer; that it came is what the heartbeat looks for
                }
            } catch (ProtocolException e) { // §7.1.7: send the code, process nothing more, close
                dropped = new Drop("protocol_" + e.code, e.code + " " + e.getMessage());
                send(Opcode.CLOSE, false, Frame.closePayload(e.code, e.getMessage()));
                Http.lingeringClose(socket);
            } catch (IOException e) {
                reset(null);
            } finally {
                reader.release(false);
            }
            return "without a close frame";
        }

        /** §5.5.1: a close frame came. It is answered with its own code, and the connection ends (§7.1.1). */
        String answerClose(byte[] payload) throws ProtocolException {
            int code = 1005; // §7.1.5: what a close frame without a code counts as
            if (payload.length > 1)
                code = ByteBuffer.wrap(payload).getShort() & 0xFFFF;
            // One byte is no code either: it counts as 1005 too, which may not be received.
            boolean allowed = payload.length == 0 || CloseCode.mayBeReceived(code);
            if (!allowed) throw new ProtocolException(CloseCode.PROTOCOL_ERROR, "close code is not allowed");
            if (payload.length > 2)
                new Utf8Check().add(payload, 2, payload.length - 2, true);
            byte[] answer = Arrays.copyOf(payload, Math.min(2, payload.length)); // the code alone
            send(Opcode.CLOSE, false, answer);
            Http.lingeringClose(socket);
            return "with " + code;
        }

        /** Sends a frame between two frames of the log, unless the close frame went out already: nothing
         * follows it (§5.5.1), so a ping that comes later gets no pong. If it blocks, the listener is watched
         * from the next frame of the log on; until then this thread stands, and nothing else. */
        void send(Opcode opcode, boolean compressed, byte[] payload) {
            writeLock.lock();
            try {
                if (!ended)
                    out.write(Frame.of(opcode, compressed, payload));
                if (opcode == Opcode.CLOSE) {
                    ended = true;
                    segment = null; // it may linger, and would keep the log
                    seam = null;
                }
            } catch (IOException e) {
                reset(null);
            } finally {
                writeLock.unlock();
            }
            if (lag() > 0)
                wake.run(); // the log is the lane's affair: this thread has to read
        }

        void drop(String reason, String text) { reset(new Drop(reason, text)); }

        /** Resets the connection, the only way to end one that takes nothing; its reader then finds that out.
         * @param why the reason, or null if the connection was broken already */
        void reset(Drop why) {
            // Before the socket is closed: its reader, which then fails, logs this. Of two reasons that come
            // at once, either will do.
            if (dropped == null)
                dropped = why;
            try {
                socket.setSoLinger(true, 0); // do not wait for what it has not taken
            } catch (IOException e) { // closed already
            }
            Http.closeQuietly(socket);
            ended = true;
        }
    }

    // ---- 13. Lanes ----------------------------------------------------------------------------------------
    // Waking one thread for each listener and message would cost more than the write. So listeners are spread
    // over a few lanes, and a lane's walker, one virtual thread, sends each of them what is missing.
    //
    // A write to a full socket blocks. The lane is looked at every LOOK ms; one that is blocked then gets
    // another walker, which passes over the blocked listener, since its write lock is held. Where many block
    // at once, the number of walkers that a look starts doubles with each look, so that it takes logarithmic
    // time to get past all of them. The walker that was blocked stays with its listener for a while: a
    // listener that could not keep up once most likely will not the next time.

    /** Evicts listeners that stay stuck: of those that a sweep left to another thread, see Walker. */
    static class Watchdog {
        /** Where a listener that is behind stands, and since when. */
        record Watch(long offset, long since) { }

        final Map<Listener, Watch> watched = new ConcurrentHashMap<>();
        final long maxLag;          // bytes
        final long writeTimeout;    // ns
        /** In ns, look by look: a pause of the server itself is none of a listener's. */
        private volatile long time;

        Watchdog(long maxLag, Duration writeTimeout) {
            this.maxLag = maxLag;
            this.writeTimeout = writeTimeout.toNanos();
        }

        /** A sweep has left the listener to another thread, which may be blocked. It is watched until it has
         * caught up; if it falls behind again, the next sweep watches it again. */
        void watch(Listener listener) {
            watched.putIfAbsent(listener, new Watch(listener.offset, time));
        }

        /** Evicts the listeners that are too far behind, or took nothing for too long. Called every LOOK
         * ms. */
        void look() {
            time += Limits.LOOK * 1_000_000L;
            watched.forEach(this::lookAt);
        }

        void lookAt(Listener listener, Watch watch) {
            long lag = listener.lag();
            long offset = listener.offset;
            if (lag <= 0)
                watched.remove(listener);
            else if (lag > maxLag)
                listener.drop("max_lag", "it is " + lag + " bytes behind (--max-lag)");
            else if (offset != watch.offset)
                watched.put(listener, new Watch(offset, time));
            else if (time - watch.since > writeTimeout)
                listener.drop("write_timeout",
                    "one write stood for " + writeTimeout / 1_000_000 + " ms (--write-timeout)");
            // It may have fallen behind since its lag was read, and a sweep have found it watched still.
            if (lag <= 0 && listener.lag() > 0)
                watch(listener);
        }
    }

    /** Some of the listeners, and the threads that write to them. */
    static class Lane {
        final StreamLog stream;
        final Watchdog watchdog;
        final CopyOnWriteArrayList<Listener> listeners = new CopyOnWriteArrayList<>();
        volatile Walker walker = new Walker(true); // the one in charge; replaced by look
        volatile long swept; // the log's end when the walker in charge began the last sweep that it finished

        // look only:
        private int lookedAt;       // the walker's steps at the last look
        private int relief = 1;     // how many walkers the next look starts, if need be

        /** @param stream tells whether there is something to do */
        Lane(StreamLog stream, Watchdog watchdog) {
            this.stream = stream;
            this.watchdog = watchdog;
        }

        /** There is more to send. If the walker is replaced meanwhile, the old one is unparked in vain, which
         * does no harm: the new one begins with a sweep. */
        void wake() { LockSupport.unpark(walker.thread); }

        /** Takes a listener in, whose cursor may be behind already. */
        void add(Listener listener) {
            listener.wake = this::wake;
            listeners.add(listener);
            // The listener is added, then the log's end is read; send appends, then asks whether the lane is
            // empty. So one of the two sees the other's, and wakes the walker. An empty lane is behind, since
            // it is not woken, and publishers wait for this one from now on.
            if (swept < stream.end())
                wake();
            if (listener.lag() > 0) // if the write of the next line blocks, no sweep may ever come by
                watchdog.watch(listener);
            if (!listener.straggling)
                listener.catchUp();
        }

        /** Walks the lane: the one in charge goes on for ever, one that only relieves it sweeps once. */
        final class Walker implements Runnable {
            final boolean inCharge;
            final Thread thread = Thread.ofVirtual().name("walker").unstarted(this);
            /** The listener that it is writing to. One of two sets it back to null: the walker, which then
             * goes on, or look, which has then relieved it. */
            final AtomicReference<Listener> at = new AtomicReference<>();
            volatile int steps; // listeners written to; only the walker adds

            Walker(boolean inCharge) { this.inCharge = inCharge; }

            @Override
            public void run() {
                Listener blocked = inCharge ? walk() : sweep();
                if (blocked != null)
                    stayWith(blocked);
            }

            /** Sweeps whenever there is more. @return the listener at which it was relieved */
            Listener walk() {
                while (true) {
                    long end = stream.end(); // before the sweep: what comes during it is for the next one
                    Listener blocked = sweep();
                    if (blocked != null) return blocked;
                    swept = end; // by the one in charge alone, so it never goes back
                    // No wake-up is lost: after the next line it makes park return. Before, a park in a write
                    // may have used it up, but what it stood for is in the log, and this line sees it.
                    if (stream.end() == end)
                        LockSupport.park(this);
                    else
                        Thread.yield(); // a virtual thread is not preempted, and others have work too
                }
            }

            /** Brings every listener up to date. In a method of its own: what stands in the frame of one that
             * is parked is not collected, and a listener there would keep the log.
             * @return the listener at which it was relieved, or null */
            Listener sweep() {
                for (Listener listener : listeners) {
                    if (listener.lag() <= 0) continue;
                    at.set(listener);
                    steps++;
                    // A straggler is passed over. Its thread clears the flag and then looks at its lag once
                    // more, so what is passed over here is seen there.
                    boolean written = !listener.straggling && listener.catchUp();
                    if (!written)
                        watchdog.watch(listener);
                    boolean relieved = !at.compareAndSet(listener, null);
                    if (relieved) return listener;
                }
                return null;
            }

            /** Relieved while it wrote: goes on for that listener alone until it keeps up. */
            void stayWith(Listener listener) {
                // Another stays with it, and looks at its lag at the end. If two come at once both stay,
                // which does no harm.
                if (listener.straggling) return;
                listener.straggling = true;
                int calm = 0; // rounds in which it caught up without blocking
                while (calm < Limits.STRAGGLER_ROUNDS && !listener.ended) {
                    LockSupport.parkNanos(Limits.STRAGGLER_PAUSE * 1_000_000L);
                    long before = System.nanoTime();
                    boolean caughtUp = listener.catchUp();
                    boolean blocked = System.nanoTime() - before >= Limits.LOOK * 1_000_000L;
                    calm = caughtUp && !blocked ? calm + 1 : 0;
                }
                listener.straggling = false;
                listener.catchUp(); // after that: see sweep
            }
        }

        /** Relieves the walker if it has been in one write since the last look. Called every LOOK ms. */
        void look() {
            Walker looked = walker;
            Listener blocked = looked.at.get();
            int steps = looked.steps;
            // It is WAITING while a write blocks, and RUNNABLE while it only lacks a processor. One that has
            // just relieved another and waits has most likely met the next blocked listener: no need to ask
            // whether it moved.
            boolean stands = blocked != null
                && looked.thread.getState() == Thread.State.WAITING
                && (steps == lookedAt || relief > 1);
            lookedAt = steps;
            boolean relieved = stands && looked.at.compareAndSet(blocked, null); // unless it just got past
            if (!relieved) {
                relief = 1;
                return;
            }
            walker = new Walker(true);
            walker.thread.start();
            for (int i = 1; i < relief; i++)
                new Walker(false).thread.start();
            relief = Math.min(2 * relief, Limits.MAX_RELIEF);
        }
    }

    /** A message that is to be broadcast. It may say when it was seen. */
    interface Message {
        /** What goes out. @param seen microseconds of Unix time, more than those of the message before */
        byte[] at(long seen);
    }

    /** One that says when it was seen, in seconds.
     * @param behind what stands behind that. It is asked for once, when the message is broadcast */
    record SeenMessage(byte[] before, Supplier<String> behind) implements Message {
        @Override
        public byte[] at(long seen) {
            String end = BigDecimal.valueOf(seen, 6) + behind.get();
            return ByteBuffer.allocate(before.length + end.length())
                .put(before)
                .put(end.getBytes(ISO_8859_1))
                .array();
        }
    }

    /** Where messages go: to the listeners of this server, or of several. */
    interface Broadcast {
        /** Returns when so much is delivered that a publisher which waits for that cannot outrun it.
         * @return false, with nothing broadcast, if the stream has been closed */
        boolean publish(Message message) throws Refusal;
    }

    /** Turns a message into what listeners get, or null for nothing. Most stay as they are. */
    interface Translation { Message translate(byte[] message, String text) throws Refusal; }

    /** Is told of each frame of the plain log where it begins, under appending. */
    interface Keeper {
        void keep(Opcode opcode, long seen, Cursor from);

        /** What was kept so far is no history of what comes. */
        default void forgetAll() { }
    }

    /** The log, the lanes, and the listeners in them. */
    static class Broadcaster implements Broadcast {
        final StreamLog plain = new StreamLog();
        final StreamLog compressed = new StreamLog(); // the same frames, the messages compressed
        final Watchdog watchdog;
        final InstantSource clock;
        final Keeper keeper;
        final List<Lane> lanes = new ArrayList<>();

        final ReentrantLock appending = new ReentrantLock();
        // Under appending:
        final Deflater deflater = new Deflater(Deflater.DEFAULT_COMPRESSION, true);
        private int compressedListeners; // of the compressed log, which is written while there are any
        private long lastSeen;           // microseconds of Unix time

        /** A listener may be maxLag bytes behind, and one write to it may stand for writeTimeout. */
        Broadcaster(long maxLag, Duration writeTimeout, InstantSource clock, Keeper keeper) {
            this.clock = clock;
            this.keeper = keeper;
            watchdog = new Watchdog(maxLag, writeTimeout);
            for (int i = 0; i < Limits.LANES; i++)
                lanes.add(new Lane(plain, watchdog));
            lanes.forEach(lane -> lane.walker.thread.start());
        }

        /** Broadcasts a message, and returns when the lanes are within WINDOW of it. */
        @Override
        public boolean publish(Message message) { return publish(message, 0); }

        /** The same with the time when the message was seen, in microseconds of Unix time, or 0: now. */
        boolean publish(Message message, long seen) {
            boolean open = send(Opcode.TEXT, message, seen);
            if (!open) return false;
            long end = plain.end(); // what others publish meanwhile is their affair
            while (lag(end) > Limits.WINDOW)
                LockSupport.parkNanos(1_000_000); // 1 ms
            return true;
        }

        /** Sends a frame to every listener, in its place among the messages. The close frame is the last.
         * @return false, with nothing sent, if the stream has been closed */
        boolean send(Opcode opcode, Message message) { return send(opcode, message, 0); }

        boolean send(Opcode opcode, Message message, long seen) {
            appending.lock();
            try {
                if (plain.isClosedAt(plain.end())) return false;
                long now = ChronoUnit.MICROS.between(Instant.EPOCH, clock.instant());
                if (opcode == Opcode.TEXT) // a ping is not seen: its time may be ahead of what others count
                    lastSeen = Math.max(lastSeen + 1, seen == 0 ? now : seen);
                byte[] payload = message.at(lastSeen);
                if (compressedListeners > 0)
                    appendCompressed(opcode, payload); // before the plain log: its end wakes the lanes
                Cursor from = plain.append(opcode, Frame.of(opcode, false, payload));
                keeper.keep(opcode, lastSeen, from);
            } finally {
                appending.unlock();
            }
            for (Lane lane : lanes)
                if (!lane.listeners.isEmpty()) // asked after the append: see Lane.add
                    lane.wake();
            return true;
        }

        /** Messages are missing here: whoever asks for one before them learns of a gap. */
        void skip() {
            appending.lock();
            keeper.forgetAll();
            appending.unlock();
        }

        void appendCompressed(Opcode opcode, byte[] payload) {
            boolean text = opcode == Opcode.TEXT; // a control frame is not compressed (RFC 7692 §5)
            byte[] sent = text ? Frame.compress(deflater, payload) : payload;
            compressed.append(opcode, Frame.of(opcode, text, sent));
        }

        /** A listener is to be, and takes its cursor: from there on its log has everything. leave undoes it.
         * @param past what it asked for of the messages before, or null */
        Start join(boolean deflate, Past past) {
            appending.lock();
            try {
                if (deflate)
                    compressedListeners++;
                Cursor live = plain.now();
                Cursor next = deflate ? compressed.now() : live;
                Cursor from = past == null ? null : past.from();
                if (from == null) return new Start(next, null);
                return new Start(from, new Seam(past, live, next));
            } finally {
                appending.unlock();
            }
        }

        /** A listener has gone, or did not come to be. */
        void leave(boolean deflate) {
            if (!deflate) return;
            appending.lock();
            compressedListeners--;
            appending.unlock();
        }

        /** Takes a listener in. */
        void add(Listener listener) {
            boolean behind = listener.straggling; // asked before it can be cleared
            laneOf(listener).add(listener);
            if (behind)
                Thread.ofVirtual().start(() -> bringUpToDate(listener));
        }

        /** Sends a listener what it asked for of the past. Its lane passes it over until then. */
        void bringUpToDate(Listener listener) {
            while (!listener.catchUp())
                LockSupport.parkNanos(1_000_000); // another thread writes to it, a pong most likely
            listener.straggling = false;
            listener.catchUp(); // after that: see Walker.sweep
        }

        /** The listener has gone. */
        void remove(Listener listener) {
            laneOf(listener).listeners.remove(listener);
            leave(listener.deflate);
        }

        int size() {
            int size = 0;
            for (Lane lane : lanes)
                size += lane.listeners.size();
            return size;
        }

        /** Any lane is as good, as long as it is the same one at the end. */
        Lane laneOf(Listener listener) {
            int hash = System.identityHashCode(listener);
            return lanes.get(hash % Limits.LANES);
        }

        List<Listener> listeners() {
            List<Listener> all = new ArrayList<>();
            for (Lane lane : lanes)
                all.addAll(lane.listeners);
            return all;
        }

        /** Drops a listener that has caught up and left two pings unanswered, and asks the others for a sign
         * of life (§5.5.2). Pings are counted, not time: while the server itself stood still nobody was
         * silent. */
        void heartbeat() {
            for (Listener listener : listeners()) {
                long heard = listener.reader.lastRead;
                if (heard != listener.heard)
                    listener.unanswered = 0;
                else if (listener.lag() <= 0)
                    listener.unanswered++;
                listener.heard = heard;
                if (listener.unanswered > 1)
                    listener.drop("silent", "it left two pings unanswered (--ping)");
            }
            if (size() > 0)
                send(Opcode.PING, seen -> new byte[0]);
        }

        /** Drops the listeners that do not finish a message. Called once a second. */
        void endUnfinished() {
            for (Listener listener : listeners())
                if (listener.reader.isUnfinished())
                    listener.drop("unfinished",
                        "its message was not finished in " + Limits.MESSAGE_TIMEOUT + " s");
        }

        /** Relieves the lanes that stand, and evicts the listeners that are stuck. Called every LOOK ms. */
        void look() {
            lanes.forEach(Lane::look);
            watchdog.look();
        }

        /** Bytes that the slowest lane is behind an offset. */
        long lag(long end) {
            long slowest = end;
            for (Lane lane : lanes)
                if (!lane.listeners.isEmpty())
                    slowest = Math.min(slowest, lane.swept);
            return end - slowest;
        }
    }

    // ---- 14. Door -----------------------------------------------------------------------------------------
    // Where a connection comes in, and where it is decided whether it becomes a listener: see admit. TLS
    // (RFC 6455 §10.6) is a part, or a proxy in front has it.

    /** Accepts the connections of one port, and gives each a virtual thread. If too many are open, or they
     * hold too much, the oldest of them is closed; a listener is released, and does not count. */
    static class Acceptor {
        /** What is done with a connection. It is closed if that throws. */
        interface Handler { void handle(Connection connection) throws IOException; }

        /** A connection that was accepted. */
        class Connection {
            final Socket socket;
            final AtomicInteger bytes = new AtomicInteger(); // of its request, see Limits.MAX_UNANSWERED

            Connection(Socket socket) { this.socket = socket; }

            /** Its request takes so many bytes more, or less. */
            void grow(int more) {
                bytes.addAndGet(more);
                if (unanswered.addAndGet(more) > Limits.MAX_UNANSWERED)
                    endOldest(1);
            }

            void free() { unanswered.addAndGet(-bytes.getAndSet(0)); }
        }

        final ServerSocket server;
        final EventLog events;
        // The open connections, in each queue the oldest first. For room those go first that brought nothing.
        final Queue<Connection> unproven = new LinkedBlockingQueue<>(Limits.MAX_PENDING);
        final Queue<Connection> proven = new LinkedBlockingQueue<>(Limits.MAX_PENDING);
        final AtomicInteger unanswered = new AtomicInteger(); // bytes of all their requests

        /** Binds the port. @throws IOException if it cannot be had; the message says which and why */
        Acceptor(String host, int port, EventLog events) throws IOException {
            this.events = events;
            try {
                server = new ServerSocket(port, Limits.BACKLOG, InetAddress.getByName(host));
            } catch (IOException e) {
                throw new IOException("cannot listen on " + host + ':' + port + ": " + e.getMessage());
            }
        }

        void start(Handler handler) {
            Thread.ofVirtual().name("accept").start(() -> accept(handler));
        }

        /** The connection has brought something. */
        void prove(Connection connection) {
            if (unproven.contains(connection)) // it is in one of the two at any time: see drain
                add(connection, proven);
            unproven.remove(connection);
        }

        List<Connection> open() {
            List<Connection> open = new ArrayList<>(unproven); // first: see prove
            open.addAll(proven);
            return open;
        }

        /** Accepts nothing more, and ends the connections on which no request was read; a request that was
         * read is still answered. @return whether none is left */
        boolean drain() {
            Http.closeQuietly(server);
            List<Connection> open = open();
            for (Connection each : open)
                Http.closeQuietly(each.socket::shutdownInput); // half of it: its reader gets the end
            return open.isEmpty();
        }

        void close() {
            Http.closeQuietly(server);
            open().forEach(connection -> Http.closeQuietly(connection.socket));
        }

        void accept(Handler handler) {
            boolean failing = false;
            while (true) {
                try {
                    begin(server.accept(), handler);
                    if (failing)
                        events.add(Event.ACCEPT, "works again on port " + server.getLocalPort());
                    failing = false;
                    Thread.yield(); // while connections wait, accept does not park
                } catch (IOException e) {
                    if (server.isClosed()) return;
                    if (!failing)
                        events.add(Event.ACCEPT, "fails on port " + server.getLocalPort()
                            + " and is tried again: " + e.getMessage()
                            + ". Too many open files? Raise ulimit -n or LimitNOFILE=");
                    failing = true;
                    endOldest(0);
                    LockSupport.parkNanos(Limits.PACE_PAUSE * 1_000_000L);
                }
            }
        }

        void begin(Socket socket, Handler handler) {
            Connection connection = new Connection(socket);
            add(connection, unproven);
            Thread.ofVirtual().start(() -> handle(connection, handler));
        }

        void add(Connection connection, Queue<Connection> queue) {
            while (!queue.offer(connection)) // full, most likely of silent ones
                end(queue.peek());
        }

        /** Ends the oldest connection that holds so many bytes: where they are too many, to end another one
         * would free none. */
        void endOldest(int least) {
            for (Connection connection : open())
                if (connection.bytes.get() >= least) {
                    end(connection);
                    return;
                }
        }

        void end(Connection oldest) {
            if (oldest == null) return; // it has ended by itself
            unproven.remove(oldest);
            proven.remove(oldest);
            events.add(Event.FULL, Http.remote(oldest.socket)
                + " is closed for room: too many connections wait (ulimit -n), or bytes of requests (-Xmx)");
            Http.closeQuietly(oldest.socket);
            oldest.free(); // now, not when its thread ends: others would have to go meanwhile
        }

        void handle(Connection connection, Handler handler) {
            Socket socket = connection.socket;
            try {
                socket.setTcpNoDelay(true);
                handler.handle(connection);
            } catch (IOException e) { // it went away, asked for nothing, or was closed for room: no answer
                Http.closeQuietly(socket);
            } catch (RuntimeException | Error e) { // ends this connection and no other
                events.fault(e);
                Http.closeQuietly(socket);
            } finally {
                unproven.remove(connection);
                proven.remove(connection);
                connection.free();
            }
        }
    }

    /** What answers the plain requests for a path. */
    interface Route { byte[] answer(Instant now); }

    /** What a connection is spoken over: TCP, or TLS over it. */
    interface Transport {
        /** The socket to read and write: the connection's, or one over it. Its close and its reset are those
         * of the connection's. */
        Socket open(Acceptor.Connection connection, EventLog events) throws IOException;
    }

    /** Who a client is, behind a proxy. */
    interface Clients {
        /** What the log calls it. */
        String name(Socket socket, Request request);
    }

    /** What can be had of the past. */
    interface History {
        /** What a request asks for, or null. */
        Past of(Request request) throws Refusal;
    }

    /** Where a feed publishes to. */
    interface Outlet {
        /** Returns when the message is taken: when as much is delivered that no more than WINDOW is left. */
        void publish(byte[] message) throws Refusal;
    }

    /** How a feed is.
     * @param up whether messages can come
     * @param words what /healthz says of it, in ASCII and for everybody to read, or ""
     * @param connections how many it has made
     * @param missed ms without one, if it needs one */
    record FeedState(boolean up, String words, long connections, long missed) { }

    /** A feed. */
    interface Source {
        /** What log lines and figures call it: no secret. */
        String name();

        FeedState state();

        /** Begins to take messages. */
        void start();

        /** Takes nothing more, and ends what is idle. Called until everything taken is answered.
         * @return whether it is */
        boolean drain();

        void close();
    }

    /** A connection with a handshake in order.
     * @param rest what was read behind it
     * @param client see Clients
     * @param peer the client and its origin */
    record Candidate(
            Acceptor.Connection connection,
            Socket socket,
            byte[] rest,
            String client,
            String peer) { }

    /** The listeners' port: a handshake that is in order makes a listener of a connection, a plain request
     * gets an answer. */
    record Door(
            Acceptor acceptor, // its open connections are those that are no listeners
            Transport transport,
            Clients clients,
            Handshake handshake,
            History history,
            UsedTokens usedTokens,
            Broadcaster broadcaster,
            Map<String, Route> routes, // by path
            int maxListeners,
            InstantSource clock, // the time that tokens are judged by
            EventLog events,
            AtomicInteger places, // taken by listeners, each until its last log line is on its way
            AtomicBoolean draining // once it is set, a handshake gets 503
    ) {
        void start() { acceptor.start(this::receive); }

        void receive(Acceptor.Connection connection) throws IOException {
            Socket socket = transport.open(connection, events);
            OutputStream out = socket.getOutputStream();
            RequestReader reader = new RequestReader(socket, out, connection::grow);
            String peer = Http.remote(socket);
            byte[] answer;
            try {
                Request request = reader.head(Limits.HEAD_TIMEOUT);
                String client = clients.name(socket, request);
                String origin = request.field("origin");
                peer = client + (origin == null ? " without origin" : " origin " + EventLog.quote(origin));
                if (Handshake.isMeant(request)) {
                    Accepted accepted = handshake.judge(request, clock.instant());
                    Past past = history.of(request);
                    Candidate candidate =
                        new Candidate(connection, socket, reader.rest(), client, peer);
                    admit(candidate, accepted, past);
                    return;
                }
                answer = answer(request);
            } catch (Refusal refusal) {
                events.refused(Event.REFUSED, peer, refusal);
                answer = Http.refusal(refusal.why, Fields.CLOSE, clock.instant());
            }
            out.write(reader.answer(answer));
            Http.lingeringClose(socket);
        }

        byte[] answer(Request request) throws Refusal {
            Route route = routes.get(request.path());
            if (route == null) throw new Refusal(Rejection.NOT_FOUND);
            if (!request.isRead())
                throw new Refusal(Rejection.METHOD, EventLog.quote(request.method()));
            return route.answer(clock.instant());
        }

        /** Admits a listener whose handshake is in order, or refuses it. The token is claimed last: what else
         * can refuse the listener does not use it up. */
        void admit(Candidate candidate, Accepted accepted, Past past) throws IOException, Refusal {
            Socket socket = candidate.socket;
            if (candidate.rest.length > Limits.READ_BUFFER) // it would stay with one that takes nothing
                throw Http.malformed("frames before the answer"); // §4.1: the client "MUST wait"
            boolean admitted = false;
            // 1. the cursor, before the answer: a client that has seen that misses no message
            Start start = broadcaster.join(accepted.deflate(), past);
            try {
                // 2. a place
                int taken = places.incrementAndGet();
                if (taken > maxListeners)
                    throw new Refusal(Rejection.FULL, "the most is " + maxListeners
                        + " (--max-listeners, ulimit -n, -Xmx)");
                Listener listener = new Listener(socket, candidate.rest, start, accepted, Bounds.LISTENER);
                // 3. not while draining. Drain sets the flag, then appends the close frame and counts the
                // places; here it is asked after the place and the cursor are taken. So a listener that gets
                // past this line gets the close frame, and is waited for.
                if (draining.get()) throw new Refusal(Rejection.DRAINING);
                // 4. the token
                if (accepted.claims() != null)
                    usedTokens.claim(accepted.claims());
                // 5. The connection is this thread's now, and not closed any more to make room. That comes
                // after the token: a connection that is refused still lingers, and has to count as long.
                if (!acceptor.unproven.remove(candidate.connection))
                    throw new IOException("closed to make room");
                socket.getOutputStream().write(accepted.response());
                socket.setSoTimeout(0);
                broadcaster.add(listener);
                admitted = true;
                events.add(Event.ADMITTED, candidate.peer + ", now " + broadcaster.size());
                // A fresh thread: the stack of this one would stay with every idle connection.
                Thread.ofVirtual().start(reading(listener, candidate.client));
            } finally {
                if (!admitted) {
                    broadcaster.leave(accepted.deflate());
                    places.decrementAndGet();
                }
            }
        }

        /** Reads a listener until it goes. Returned, not called: that saves a frame on each idle stack.
         * @param client see Clients */
        Runnable reading(Listener listener, String client) {
            return () -> {
                String how = null;
                try {
                    how = listener.read();
                } catch (RuntimeException | Error e) { // ends this connection and no other
                    events.fault(e);
                    listener.drop("fault", "a fault of the server");
                }
                broadcaster.remove(listener);
                Drop dropped = listener.dropped;
                String now = ", now " + broadcaster.size();
                if (dropped == null)
                    events.add(Event.LEFT, client + ' ' + how + now);
                else
                    events.add(Event.DROPPED, dropped.reason, client + ": " + dropped.text + now);
                places.decrementAndGet(); // last: the end of the process waits for it
            };
        }
    }

    // ==== Part II. Parts ===================================================================================
    // Each can be skipped by a reader who does not use it. A part names nothing of another part: what it
    // plugs into is declared in Part I.

    // ---- 15. POST -----------------------------------------------------------------------------------------
    // Messages that are posted by HTTP.
    //
    // Off unless: never off, but --feed can name other feeds only.
    // Touches: the feed's port, on loopback by default.
    // Implements: Outlet, Source (14).
    // When it fails: the publisher gets the status of the refusal, and the log has the reason.

    /** Checks the messages of a feed, and broadcasts what the translation makes of them.
     * @param taken told of each that was broadcast how many bytes it had */
    record Publisher(Broadcast broadcast, Translation translation, IntConsumer taken) implements Outlet {
        /** Broadcasts one message; returns when it is in the log and the lanes have got near it. */
        @Override
        public void publish(byte[] message) throws Refusal {
            if (message.length == 0) throw new Refusal(Rejection.BAD_MESSAGE, "it is empty");
            String text;
            try {
                text = Http.utf8(message); // RFC 6455 §5.6: the payload of a text frame is UTF-8
            } catch (CharacterCodingException e) {
                throw new Refusal(Rejection.BAD_MESSAGE, "it is not UTF-8");
            }
            Message translated = translation.translate(message, text);
            if (translated == null) return;
            boolean open = broadcast.publish(translated);
            if (!open) throw new Refusal(Rejection.DRAINING);
            taken.accept(message.length);
        }
    }

    /** Takes messages by POST, one after the other on each connection. */
    record PostFeed(
            String name, // its host as it was written, and its port
            Acceptor acceptor,
            String path, // the only one that is taken, decoded; / takes any
            Publisher publisher,
            Map<String, Route> routes, // what a GET gets, by path
            LongConsumer waited, // told how long a publisher waited for its answer, in ns
            InstantSource clock,
            EventLog events) implements Source {
        static final int IDLE = 3_600_000; // ms between two POSTs on one connection
        static final byte[] CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n".getBytes(ISO_8859_1);

        @Override
        public FeedState state() { return new FeedState(true, "", 0, 0); }

        @Override
        public void start() {
            acceptor.start(this::takeAll);
            boolean anyPath = path.equals("/");
            String more = anyPath ? "" : "... (that path alone, maybe a secret, so it is not shown)";
            events.add(Event.START, "feed takes POSTs to http://" + name + '/' + more);
            boolean loopback = acceptor.server.getInetAddress().isLoopbackAddress();
            if (anyPath && !loopback)
                events.add(Event.WARNING, "every client that reaches " + name + " can publish: use a "
                    + "loopback address, or a path that cannot be guessed");
        }

        @Override
        public boolean drain() { return acceptor.drain(); }

        @Override
        public void close() { acceptor.close(); }

        void takeAll(Acceptor.Connection connection) throws IOException {
            Socket socket = connection.socket;
            OutputStream out = new BufferedOutputStream(socket.getOutputStream(), 1024);
            RequestReader reader = new RequestReader(socket, out, connection::grow);
            int idle = Limits.HEAD_TIMEOUT; // a connection on which nothing was posted may not stay
            int taken = 0;
            while (idle > 0) {
                idle = takeOne(connection, reader, out, idle);
                taken++;
                // While requests wait, the reader does not park. More often would cost: the more messages a
                // lane finds, the fewer writes it makes of them.
                if (taken % 256 == 0)
                    Thread.yield();
            }
            out.flush();
            Http.lingeringClose(socket);
        }

        /** Takes one request and answers it.
         * @return ms within which the next has to begin, or 0 if none can follow */
        int takeOne(Acceptor.Connection connection, RequestReader reader, OutputStream out, int idle)
                throws IOException {
            boolean open = false; // unless the whole request has been read
            Rejection refused = null;
            try {
                Request request = reader.head(idle);
                Route route = routes.get(request.path());
                if (route != null && request.isRead()) {
                    byte[] answer = route.answer(clock.instant());
                    out.write(reader.answer(answer));
                    return 0;
                }
                int length = judge(request);
                if (request.has("expect") && request.http11())
                    out.write(CONTINUE); // RFC 9110 §10.1.1; flushed before the body is waited for
                byte[] message = reader.body(length);
                open = request.http11() && !request.lists("connection", "close"); // RFC 9112 §9.3
                publish(message);
                if (idle < IDLE)
                    acceptor.prove(connection);
                idle = IDLE;
            } catch (Refusal refusal) {
                events.refused(Event.FEED, Http.remote(connection.socket) + " refused", refusal);
                refused = refusal.why;
            }
            String fields = open ? "" : Fields.CLOSE;
            Instant now = clock.instant();
            byte[] answer = refused == null
                ? Http.response("200 OK", fields, "text/plain", "ok", now)
                : Http.refusal(refused, fields, now);
            out.write(reader.answer(answer));
            return open ? idle : 0;
        }

        void publish(byte[] message) throws Refusal {
            long before = System.nanoTime();
            publisher.publish(message);
            waited.accept(System.nanoTime() - before);
        }

        /** Judges a POST by its head. @return how many bytes of body there are to read */
        int judge(Request request) throws Refusal {
            // CSRF: any page can make a browser post to localhost, but cannot keep it from saying so.
            if (request.has("origin") || request.has("sec-fetch-site"))
                throw new Refusal(Rejection.BROWSER, "it sent an Origin or a Sec-Fetch-Site field");
            byte[] got = request.path().getBytes(UTF_8);
            // isEqual, not equals: a path may serve as a secret
            boolean found = path.equals("/") || MessageDigest.isEqual(path.getBytes(UTF_8), got);
            if (!found) throw new Refusal(Rejection.FEED_PATH);
            if (!request.method().equals("POST"))
                throw new Refusal(Rejection.FEED_METHOD, EventLog.quote(request.method()));
            if (request.has("transfer-encoding")) throw new Refusal(Rejection.TRANSFER_ENCODING);
            int length = contentLength(request.field("content-length"));
            String expect = request.field("expect");
            if (expect != null && !expect.equalsIgnoreCase("100-continue"))
                throw new Refusal(Rejection.EXPECTATION, EventLog.quote(expect));
            return length;
        }

        static int contentLength(String field) throws Refusal {
            if (field == null) throw new Refusal(Rejection.LENGTH_REQUIRED);
            if (!field.matches("[0-9]+")) throw Http.malformed("Content-Length is no number");
            long length = field.length() > 18 ? Long.MAX_VALUE : Long.parseLong(field);
            if (length > Limits.MAX_MESSAGE) throw Refusal.tooLarge();
            return (int) length;
        }
    }

    // ---- 16. Nano blocks ----------------------------------------------------------------------------------
    // A Nano node's callback is made into the flat object that listeners of this stream have always got. A
    // confirmation of its WebSocket becomes the one that the callback of the same block gives.
    //
    // Off unless: never off, but a message that is neither passes unchanged.
    // Touches: nothing; it keeps counts of the last ten minutes.
    // Implements: Translation (13).
    // When it fails: a callback that cannot be read is not broadcast, and the log says why. A POST gets 400.

    /** Blocks a second, over the whole seconds since the first block. */
    static class Rate {
        /** The means over the last minute and the last ten; 1 before the first second is over. */
        record Means(double minute, double tenMinutes) { }

        final int[] counts = new int[601]; // of second s at s % 601: ten minutes, and the second under way
        private long first = -1, last; // seconds
        final ReentrantLock lock = new ReentrantLock();

        /** Returns the means, then counts a block. @param now seconds from some beginning on */
        Means count(long now) {
            lock.lock();
            try {
                if (first < 0) {
                    first = now;
                    last = now;
                }
                advance(now);
                Means means = new Means(mean(60), mean(600));
                counts[index(last)]++;
                return means;
            } finally {
                lock.unlock();
            }
        }

        /** Empties the counts of the seconds that have begun. */
        void advance(long now) {
            long from = Math.max(last + 1, now - counts.length + 1);
            for (long second = from; second <= now; second++)
                counts[index(second)] = 0;
            last = Math.max(last, now);
        }

        double mean(int window) {
            long seconds = Math.min(window, last - first);
            if (seconds == 0) return 1;
            long sum = 0;
            for (long second = last - seconds; second < last; second++)
                sum += counts[index(second)];
            return (double) sum / seconds;
        }

        int index(long second) { return (int) (second % counts.length); }
    }

    /** Writes JSON without spaces, and with no other escapes than are needed. */
    static class JsonWriter {
        static final String ESCAPED = "\"\\\b\t\n\f\r";
        static final String ESCAPES = "\"\\btnfr";

        /** Appends the value. */
        static void write(Json json, StringBuilder out) {
            switch (json) {
                case Json.Obj(var members) -> writeObject(members, out);
                case Json.Arr(var elements) -> writeArray(elements, out);
                case Json.Str(var value) -> writeString(value, out);
                case Json.Num(var text) -> out.append(text);
                case Json.Word(var text) -> out.append(text);
            }
        }

        static void writeObject(Map<String, Json> members, StringBuilder out) {
            String before = "";
            out.append('{');
            for (var member : members.entrySet()) {
                out.append(before);
                writeString(member.getKey(), out);
                out.append(':');
                write(member.getValue(), out);
                before = ",";
            }
            out.append('}');
        }

        static void writeArray(List<Json> elements, StringBuilder out) {
            String before = "";
            out.append('[');
            for (Json element : elements) {
                out.append(before);
                write(element, out);
                before = ",";
            }
            out.append(']');
        }

        static void writeString(String value, StringBuilder out) {
            out.append('"');
            for (int i = 0; i < value.length(); i++) {
                char c = value.charAt(i);
                int which = ESCAPED.indexOf(c);
                if (which >= 0) // by two characters, so that no text gets larger than the one that was parsed
                    out.append('\\').append(ESCAPES.charAt(which));
                else if (c < ' ') // §7: "the control characters (U+0000 through U+001F)" must be escaped
                    out.append("\\u").append(HexFormat.of().toHexDigits(c));
                else
                    out.append(c);
            }
            out.append('"');
        }
    }

    /** Makes a Nano node's callback into what listeners get of it. */
    static class NanoBlocks implements Translation {
        static final int NANO_DIGITS = 30;      // 1 NANO is 10^30 raw
        static final int SHOWN_DIGITS = 15;     // decimals of NANO that are kept
        static final int RAW_BITS = 128;
        static final int MAX_END = 128;         // bytes of seen, tps and tpm
        static final List<String> AT_ITS_END = List.of("seen", "tps", "tpm");
        static final Pattern DECIMAL = Pattern.compile("[0-9]{1,39}");
        static final Pattern HEX = Pattern.compile("[0-9A-Fa-f]{1,32}");
        final long start = System.nanoTime();
        final Rate rate = new Rate();

        @Override
        public Message translate(byte[] message, String text) throws Refusal {
            Json json = parsed(text);
            return isCallback(json) ? flat(json) : seen -> message;
        }

        /** What listeners get of a callback. */
        Message flat(Json callback) throws Refusal {
            byte[] begun;
            try {
                begun = begin(callback);
            } catch (Json.JsonException e) {
                throw new Refusal(Rejection.BAD_MESSAGE, "its block cannot be read: " + e.getMessage());
            }
            if (begun.length > Limits.MAX_MESSAGE - MAX_END) throw Refusal.tooLarge();
            return new SeenMessage(begun, this::end);
        }

        /** The end of a flat object that is broadcast now. */
        String end() {
            long second = (System.nanoTime() - start) / 1_000_000_000; // the clock may be set meanwhile
            return end(rate.count(second));
        }

        static String end(Rate.Means means) {
            return ",\"tps\":" + means.minute + ",\"tpm\":" + 60 * means.tenMinutes + '}';
        }

        static Json parsed(String text) {
            if (!text.stripLeading().startsWith("{")) return null;
            try {
                return Json.parse(text);
            } catch (Json.JsonException e) { // some other text
                return null;
            }
        }

        /** Whether a JSON value is a callback: an object whose block is a string or an object. */
        static boolean isCallback(Json json) {
            if (!(json instanceof Json.Obj(var members))) return false;
            Json block = members.get("block");
            return block instanceof Json.Str || block instanceof Json.Obj;
        }

        /** The flat object up to when it was seen: the callback's members without block, the block's, which
         * win, and is_send.
         * @throws Json.JsonException if the block is no JSON object, or an amount no number of raw */
        static byte[] begin(Json callback) throws Json.JsonException {
            Map<String, Json> merged = new LinkedHashMap<>(members(callback));
            Json block = merged.remove("block");
            if (block instanceof Json.Str(var text))
                block = Json.parse(text);
            merged.putAll(members(block));
            Map<String, Json> flat = new LinkedHashMap<>();
            for (var member : merged.entrySet()) {
                String name = member.getKey();
                if (name.equals("amount") || name.equals("balance"))
                    putAmount(flat, name, raw(name, merged));
                else
                    flat.putIfAbsent(name, member.getValue()); // an amount_raw may be there, which is ours
            }
            boolean isSend = isTrue(merged.get("is_send"));
            flat.put("is_send", new Json.Word(Boolean.toString(isSend)));
            AT_ITS_END.forEach(flat::remove);
            StringBuilder out = new StringBuilder(1024);
            JsonWriter.write(new Json.Obj(flat), out);
            out.setLength(out.length() - 1); // the brace: more members follow
            out.append(",\"seen\":");
            return out.toString().getBytes(UTF_8);
        }

        static Map<String, Json> members(Json json) throws Json.JsonException {
            if (json instanceof Json.Obj(var members)) return members;
            throw new Json.JsonException("expected a JSON object");
        }

        static boolean is(String text, Json value) {
            return new Json.Str(text).equals(value);
        }

        static boolean isTrue(Json value) {
            return is("true", value) || new Json.Word("true").equals(value);
        }

        /** An amount in NANO, and in raw with all its digits. */
        static void putAmount(Map<String, Json> flat, String name, BigInteger raw) {
            BigDecimal nano = new BigDecimal(raw, NANO_DIGITS).setScale(SHOWN_DIGITS, RoundingMode.DOWN);
            flat.put(name, new Json.Num(nano.stripTrailingZeros().toPlainString()));
            flat.put(name + "_raw", new Json.Num(raw.toString()));
        }

        /** An amount in raw, an unsigned 128-bit number. The node writes strings; plain digits will do as
         * well. The balance of a legacy send block is hexadecimal. */
        static BigInteger raw(String name, Map<String, Json> block) throws Json.JsonException {
            boolean hex = name.equals("balance") && is("send", block.get("type"));
            String digits = digits(block.get(name));
            Pattern form = hex ? HEX : DECIMAL;
            if (form.matcher(digits).matches()) {
                BigInteger raw = new BigInteger(digits, hex ? 16 : 10);
                if (raw.bitLength() <= RAW_BITS) return raw;
            }
            throw new Json.JsonException("expected a number of raw in " + name);
        }

        static String digits(Json value) {
            return switch (value) {
                case Json.Str(var text) -> text;
                case Json.Num(var text) -> text;
                default -> "";
            };
        }
    }

    /** What a server says to which a feed has connected. One that acknowledges the subscription before it
     * says anything else is a Nano node, and its confirmations are all that is broadcast. Of any other server
     * every text is: one that only looks like an acknowledgement, of a publisher, must not silence it. */
    static class NanoNode implements Translation {
        final NanoBlocks blocks;
        final String subscription;
        private volatile boolean acknowledged;
        private volatile boolean other; // it is no node

        /** @param accounts whose blocks it is to send, or none: all. They need no escape in JSON */
        NanoNode(NanoBlocks blocks, List<String> accounts) {
            this.blocks = blocks;
            String filter = accounts.isEmpty() ? ""
                : ",\"accounts\":[\"" + String.join("\",\"", accounts) + "\"]";
            // active: those that a node posts. While it catches up it confirms others.
            subscription = "{\"action\":\"subscribe\",\"topic\":\"confirmation\",\"ack\":true,"
                + "\"options\":{\"confirmation_type\":\"active\"" + filter + "}}";
        }

        /** The text that a new connection begins with. */
        String subscribe() {
            acknowledged = false; // another server may answer at the address
            other = false;
            return subscription;
        }

        boolean isAcknowledged() { return acknowledged; }

        @Override
        public Message translate(byte[] message, String text) throws Refusal {
            Json json = NanoBlocks.parsed(text);
            Map<String, Json> members = members(json);
            Map<String, Json> confirmed = members(members.get("message"));
            boolean hasBlock = confirmed.get("block") instanceof Json.Obj;
            if (hasBlock && NanoBlocks.is("confirmation", members.get("topic")))
                return blocks.flat(callback(confirmed)); // the first may be ahead of the acknowledgement
            if (!other && NanoBlocks.is("subscribe", members.get("ack")))
                acknowledged = true;
            other = !acknowledged;
            if (other) return seen -> message;
            if (json == null)
                throw new Refusal(Rejection.BAD_MESSAGE, "a Nano node sent it, but it is no JSON object");
            return null;
        }

        /** An object's members; anything else has none. */
        static Map<String, Json> members(Json json) {
            return json instanceof Json.Obj(var members) ? members : Map.of();
        }

        /** What the node would post of a block that it has confirmed. */
        static Json callback(Map<String, Json> confirmed) {
            Map<String, Json> block = new LinkedHashMap<>(members(confirmed.get("block")));
            Map<String, Json> callback = new LinkedHashMap<>();
            for (String name : List.of("account", "hash", "amount"))
                callback.put(name, confirmed.get(name));
            if (NanoBlocks.is("send", block.get("subtype")))
                callback.put("is_send", new Json.Word("true"));
            callback.put("subtype", block.remove("subtype")); // a legacy block has none
            callback.values().removeIf(Objects::isNull);
            block.remove("linked_account");
            callback.put("block", new Json.Obj(block));
            return new Json.Obj(callback);
        }
    }

    // ---- 17. History --------------------------------------------------------------------------------------
    // What a listener can have that it missed: ?last=N begins N messages earlier, ?since=T with the message
    // that was seen at T, or else with the first after it. A message that is kept is a cursor that nobody
    // moves.
    //
    // Off unless: never off, but --history 0 keeps nothing.
    // Touches: nothing; the plain log stays in memory from the oldest message that is kept.
    // Implements: Past (11), Keeper (13), History (14).
    // When it fails: a listener that asks for what cannot be meant gets 400, and the log says why.

    /** Keeps the last messages. */
    static class Recorder implements Keeper, History {
        static final int MOST = 100_000; // messages, of which each takes some 60 bytes here

        /** A message. */
        record Kept(long seen, Cursor from) { }

        final long bytes;   // of the log, from the oldest that is kept to its end, at most
        // Used under Broadcaster.appending:
        final Kept[] ring;  // message n stands at n % length; one more than may be kept has room
        private long oldest, end; // numbers: of the oldest that is kept, and of the next one

        /** @param messages kept at most */
        Recorder(int messages, long bytes) {
            this.bytes = bytes;
            ring = new Kept[messages + 1];
        }

        @Override
        public void keep(Opcode opcode, long seen, Cursor from) {
            if (opcode == Opcode.TEXT) {
                ring[place(end)] = new Kept(seen, from);
                end++;
            }
            while (oldest < end && isTooMuch())
                forgetOldest();
        }

        boolean isTooMuch() {
            Cursor from = ring[place(oldest)].from;
            long size = from.log().end() - from.offset();
            return size() == ring.length || size > bytes;
        }

        void forgetOldest() {
            ring[place(oldest)] = null; // it would keep its segment
            oldest++;
        }

        @Override
        public void forgetAll() {
            while (oldest < end)
                forgetOldest();
        }

        int size() { return (int) (end - oldest); }

        int place(long number) { return (int) (number % ring.length); }

        /** The first of so many of the last messages that was not seen earlier, or null. Found by halves: it
         * is asked before a token is claimed, so for tokens that are refused as well, and the feed waits. */
        Cursor find(long count, long seen) {
            long low = Math.max(oldest, end - count);
            long high = end; // where all were seen earlier
            while (low < high) {
                long middle = (low + high) / 2;
                if (ring[place(middle)].seen < seen)
                    low = middle + 1;
                else
                    high = middle;
            }
            return low == end ? null : ring[place(low)].from;
        }

        @Override
        public Past of(Request request) throws Refusal {
            String last = request.parameter("last");
            String since = request.parameter("since");
            if (last != null && since != null) throw Http.malformed("last and since at once");
            if (last != null) return new Asked(this, number(last), 0);
            if (since != null) return new Asked(this, Long.MAX_VALUE, micros(since));
            return null;
        }

        static long number(String text) throws Refusal {
            if (!text.matches("[0-9]{1,18}")) throw Http.malformed("expected a whole number as last");
            return Long.parseLong(text);
        }

        /** Rounded: a client that has read seen into a double may write more decimals than it had. */
        static long micros(String text) throws Refusal {
            if (!text.matches("[0-9]{1,12}(\\.[0-9]{1,18})?")) // milliseconds would be too long
                throw Http.malformed("expected seconds of Unix time as since");
            BigDecimal micros = new BigDecimal(text).movePointRight(6);
            return micros.setScale(0, RoundingMode.HALF_UP).longValueExact();
        }
    }

    /** What a listener asks for: so many of the last messages at most, and none that was seen earlier.
     * @param seen microseconds of Unix time */
    record Asked(Recorder recorder, long count, long seen) implements Past {
        @Override
        public Cursor from() { return recorder.find(count, seen); }

        /** Passes over pings: to answer all of them at once would look like a flood. */
        @Override
        public int begin(byte[] frames, int at, int end) {
            int begin = at;
            while (begin < end && !isMessage(frames, begin))
                begin += length(frames, begin);
            return begin;
        }

        @Override
        public long end(byte[] frames, long mark, int end) {
            long last = mark;
            int at = Segment.limit(mark);
            while (at < end && isMessage(frames, at)) {
                last += Segment.mark(1, length(frames, at));
                at = Segment.limit(last);
            }
            return last;
        }

        static boolean isMessage(byte[] frames, int at) {
            return (frames[at] & 0b0000_1111) == Opcode.TEXT.bits;
        }

        /** Bytes of the frame that begins there, which has no mask (RFC 6455 §5.2). */
        static int length(byte[] frames, int at) {
            ByteBuffer frame = ByteBuffer.wrap(frames).position(at + 1);
            int sevenBits = frame.get();
            if (sevenBits < 126) return 2 + sevenBits;
            if (sevenBits == 126) return 2 + 2 + (frame.getShort() & 0xFFFF);
            return 2 + 8 + (int) frame.getLong();
        }
    }

    // ---- 18. Page -----------------------------------------------------------------------------------------
    // A page that shows the stream, for a browser that opens the listeners' address.
    //
    // Off unless: never off; used when / is asked for, once by the rehearsal.
    // Touches: nothing.
    // Implements: Route (14), by a lambda in Server.
    // When it fails: the browser shows why; listeners and feeds do not notice.

    /** The viewer. */
    static class Page {
        /** Dark where the system is. Nothing moves by itself but what comes. What is empty is not shown:
         * figures that the feed does not have, and columns as long as there are no blocks; nor is the form,
         * unless a token would help. */
        static final String STYLE = """
            :root { --back: #f3f5f8; --card: #fff; --text: #16202b; --soft: #566372; --line: #dde3ea;
              --blue: #1763cf; --green: #15803d; --amber: #b45309; --red: #be123c; --violet: #7c3aed;
              color-scheme: light dark; background: var(--back); color: var(--text);
              font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums }
            @media (prefers-color-scheme: dark) { :root {
              --back: #0c1117; --card: #151c25; --text: #e7edf4; --soft: #9aa8b7; --line: #2a3440;
              --blue: #74b3ff; --green: #4ade80; --amber: #fbbf24; --red: #fb7185; --violet: #c4b5fd } }
            body { max-width: 60rem; margin: auto; padding: 1rem .5rem; overflow-wrap: anywhere }
            form, section { margin: 1rem 0; padding: .75rem; border-radius: .75rem; background: var(--card) }
            h1, h2, p, dl { margin: 0 0 .75rem; font-size: 1rem } h1 { font-size: 1.5rem }
            dt, th, section p, .time { color: var(--soft) } dt, th, section p { font-size: .875em }
            #state::before, .kind::before { content: ""; display: inline-block; width: .6em; height: .6em;
              margin-right: .5em; border-radius: 50%; background: var(--dot, var(--soft)) }
            .good, [data-kind=receive] { --dot: var(--green) } .busy, [data-kind=send] { --dot: var(--amber) }
            .bad { --dot: var(--red) } [data-kind=change] { --dot: var(--violet) }
            input, button { padding: .25rem .75rem; border: 1px solid var(--soft); border-radius: .5rem;
              background: none; color: var(--blue); font: inherit }
            .row { display: flex; justify-content: space-between; align-items: baseline; min-height: 2.75rem }
            dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .5rem }
            dd { margin: 0; overflow: hidden; font-size: 1.75rem; line-height: 1.3 }
            svg { display: block; width: 100%; height: 7rem; border-bottom: 1px solid var(--line) }
            path { fill: #74b3ff40; stroke: var(--blue); vector-effect: non-scaling-stroke }
            table { width: 100%; table-layout: fixed; border-spacing: 0; font-size: clamp(.75rem, 2vw, 1rem) }
            th, td { padding: .35em .5em .35em 0; border-top: 1px solid var(--line); overflow: hidden;
              text-align: left; vertical-align: top; font-weight: normal }
            .time { width: 18.5% } th:nth-child(2) { width: 20% } th:nth-child(3) { width: 24% }
            td button { padding: 0; border: 0; font: .85em monospace; text-align: left }
            div:has(dd:empty), table:not(:has(.kind)) thead, p:not(.bad) + form { display: none }
            """;
        /** Tells the connection's state in words. A screen reader speaks each text that is set there, so the
         * same is not set twice. The page connects beneath its own path, where a proxy may have a prefix. A
         * browser does not say why a handshake failed, but /healthz says a part of it: that no feed is up is
         * no reason, and that there is no room is not said there. Without a token, or with one that cannot
         * have been used, the page tries again, later and later, and by chance, so that not all pages do in
         * the same moment. */
        static final String CONNECTION = """
            const find = (id) => document.getElementById(id);
            const show = (id, text) => { find(id).textContent = text; };
            const token = location.hash.slice(1);
            let tries = 0;
            function say(mood, text) {
              if (find('state').textContent !== text) show('state', text);
              find('state').className = mood;
            }
            function connect() {
              const address = location.origin.replace('http', 'ws') + location.pathname + '?last=' + ROWS;
              const socket = new WebSocket(address + (token && '&t=' + encodeURIComponent(token)));
              socket.onopen = begin;
              socket.onmessage = take;
              socket.onclose = explain;
            }
            function lost({ code, reason }) {
              const words = { 1001: 'The server is shutting down.', 1006: 'The connection was lost.' };
              const why = words[code] ?? `The server ended the connection: ${code} ${reason}.`;
              if (token) say('bad', why + ' To connect again takes a new token.');
              else again(why);
            }
            async function explain() {
              const health = await fetch('healthz', { signal: AbortSignal.timeout(5000) }).catch(() => null);
              const up = health?.ok || /^no feed is up(; ws.*)?$/.test(await health?.text().catch(() => ''));
              const refused = (why) => say('bad', `Not admitted: ${why}. The log of the server says why.`);
              if (!health) again('The server cannot be reached.');
              else if (!up) again('The server takes no listeners at the moment.');
              else if (token) refused('the token was used or has expired, or the server is full');
              else if (tries > 0) again('The server does not admit this page any more.');
              else refused('this server wants a token, or is full');
            }
            function again(why) {
              say('busy', why + ' Trying again.');
              setTimeout(connect, 1000 * Math.min(30, 2 ** tries++) * Math.random());
            }
            """;
        /** Takes messages, of which as many wait to be drawn as there are rows, and counts them. Each
         * connection begins with the history, so what an earlier one has shown goes when that comes. Nothing
         * tells where the history ends: the first messages, if they come within a second, are taken for it,
         * and are not counted. {@code held} is the count at which the list was paused, or -1. */
        static final String STREAM = """
            const ROWS = 50, SECONDS = 120;
            let counts = new Array(SECONDS + 1).fill(0), second = 0, total = 0;
            let recent = [], past = {}, held = -1, frame = 0;
            function begin({ target }) {
              target.onclose = lost;
              recent = [];
              past = { most: ROWS, until: performance.now() + 1000 };
              say('good', 'Connected');
            }
            function take({ data }) {
              const live = performance.now() > past.until || past.most-- <= 0;
              tick();
              counts[SECONDS] += live;
              total += live;
              recent.push({ data, time: live ? Date.now() / 1000 : 0 });
              if (recent.length > ROWS) recent.shift();
              tries = 0;
              frame ||= requestAnimationFrame(draw);
            }
            function tick() {
              for (const now = Math.floor(performance.now() / 1000); second < now; second++)
                counts = [...counts.slice(1), 0];
            }
            """;
        /** Draws what came since, once a frame at most, for which a browser does not call while the page is
         * hidden. A message is hostile: it is set as text alone, and nested values are dropped, since one
         * with a toString of its own would throw where a text is expected. */
        static final String DRAWING = """
            const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 6 });
            function blockOf(text) {
              const flat = (name, value) => name && typeof value === 'object' ? undefined : value;
              try { return JSON.parse(text.length < 20000 ? text : 0, flat); } catch { return null; }
            }
            function row({ data, time }) {
              const line = document.createElement('tr'), block = blockOf(data);
              const add = (className, textContent) =>
                Object.assign(line.insertCell(), { className, textContent });
              const seen = block?.seen ?? time;
              add('time', seen ? new Date(1000 * seen).toLocaleTimeString('en-GB') : '');
              if (typeof block?.is_send !== 'boolean') {
                add('text', data.slice(0, 2000).replace(/^(.{500}).+/su, '$1...')).colSpan = 3;
                return line;
              }
              const kind = String(block.subtype ?? (block.is_send ? 'send' : block.type)).slice(0, 20);
              const amount = block.amount ?? 0;
              add('kind', kind).dataset.kind = kind;
              add('amount', block.amount_raw > 0 && amount < 1e-6 ? '< 0.000001' : numbers.format(amount));
              const button = add('account', '').appendChild(document.createElement('button'));
              button.title = block.account ?? '';
              button.textContent = button.title.replace(/^(.{8}).+(.{4})$/su, '$1...$2');
              button.onclick = copy;
              return line;
            }
            function copy({ target }) {
              target.textContent = target.title;
              navigator.clipboard?.writeText(target.title).then(() => target.append(' copied'), () => {});
            }
            function draw() {
              frame = 0;
              const { tps, tpm } = blockOf(recent.at(-1)?.data) ?? {};
              if (tps >= 0) show('tps', numbers.format(Math.round(10 * tps) / 10));
              if (tpm >= 0) show('tpm', numbers.format(Math.round(tpm)));
              show('total', numbers.format(total));
              show('pause', held < 0 ? 'Pause' : `Go on (${total - held} came meanwhile)`);
              if (held >= 0 || recent.length === 0) return;
              const rows = find('rows');
              if (!past.shown) rows.replaceChildren();
              past.shown = true;
              rows.prepend(...recent.map(row).reverse());
              while (rows.rows.length > ROWS) rows.deleteRow(-1);
              recent = [];
            }
            function chart() {
              tick();
              const known = counts.slice(Math.max(0, SECONDS - second), SECONDS);
              const most = Math.max(...known, 0), first = SECONDS - known.length;
              const points = known.map((count, i) => `${first + i} ${100 - 95 * count / (most || 1)}`);
              find('curve').setAttribute('d', `M${first} 103 ${points.join(' ')} V103`);
              show('now', numbers.format(known.at(-1) ?? 0));
              show('most', `The last 2 minutes, at most ${numbers.format(most)} a second`);
            }
            """;
        /** The token stands behind the #, which a browser does not send. It leaves the address before it is
         * used. Another one goes the same way, by a new link or by the form: the page begins anew with it. */
        static final String START = """
            find('pause').onclick = () => { held = held < 0 ? total : -1; draw(); };
            find('ask').onsubmit = () => { location.hash = find('token').value.trim().split(/[#=]/).pop(); };
            onhashchange = () => location.reload();
            setInterval(() => document.hidden || chart(), 1000);
            history.replaceState(null, '', location.pathname);
            say('busy', 'Connecting');
            connect();
            """;
        static final String SCRIPT = CONNECTION + STREAM + DRAWING + START;
        static final String HTML = """
            <!doctype html>
            <html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>NanoStreamWs</title><link rel="icon" href="data:,"><style>%s</style>
            <main><h1>NanoStreamWs</h1>
              <p id="state" role="status">This page needs JavaScript.</p>
              <form id="ask" method="dialog">
                <p><label for="token">A token, or the link that has one:</label>
                <input id="token" autocomplete="off" required> <button>Connect</button>
                <p>A token works once, and not for long. The server prints a link at its start, and whoever
                  runs it makes more: <code>java NanoStreamWs.java --secret SECRET --token 60</code>
              </form>
              <section aria-labelledby="pace">
                <h2 id="pace">Messages a second</h2>
                <dl><div><dt>now<dd id="now">0</div> <div><dt>since opening<dd id="total">0</div>
                  <div><dt>blocks a second (tps)<dd id="tps"></div>
                  <div><dt>blocks a minute (tpm)<dd id="tpm"></div></dl>
                <svg role="img" aria-labelledby="most" viewBox=".5 0 118 100" preserveAspectRatio="none">
                  <path id="curve" /></svg>
                <div class="row"><p id="most"></p> <p>now</div>
              </section>
              <section aria-labelledby="newest">
                <div class="row"><h2 id="newest">Newest first</h2> <button id="pause">Pause</button></div>
                <table aria-labelledby="newest"><thead><tr><th class="time">Time<th>Kind<th>NANO<th>Account
                  <tbody id="rows"><tr><td colspan="4">What is posted to the feed is shown here at once.
                </table></section></main>
            <script>%s</script>
            """.formatted(STYLE, SCRIPT);
        /** The page has its own script and style and no other, and connects to this server alone. */
        static final String FIELDS = Fields.UNCACHED + "Referrer-Policy: no-referrer\r\n"
            + "Content-Security-Policy: default-src 'none'; script-src " + source(SCRIPT)
            + "; style-src " + source(STYLE) + "; img-src data:; connect-src 'self'; base-uri 'none'; "
            + "frame-ancestors 'none'; form-action 'none'\r\n";

        /** A source of the policy: the text with this hash. */
        static String source(String text) {
            byte[] hash = Http.hash("SHA-256", text);
            return "'sha256-" + Base64.getEncoder().encodeToString(hash) + '\'';
        }

        static byte[] answer(Instant now) {
            return Http.response("200 OK", FIELDS, "text/html; charset=utf-8", HTML, now);
        }

        /** Where a browser on this machine opens it. */
        static String address(String host, int port, boolean tls) {
            String name = host
                .replaceFirst("^(0\\.0\\.0\\.0|::)$", "localhost")
                .replaceFirst("^[^\\[].*:.*$", "[$0]"); // RFC 3986 §3.2.2
            String scheme = tls ? "https://" : "http://";
            return scheme + name + ':' + port + '/';
        }
    }

    // ---- 19. Health and metrics ---------------------------------------------------------------------------
    // What a monitor or a load balancer asks for: whether the server is well, and figures for Prometheus.
    //
    // Off unless: never off, but the metrics are on the ports of feeds alone.
    // Touches: /proc/self, where there is one.
    // Implements: Route (14), by Server.
    // When it fails: the monitor sees it; listeners and feeds do not notice.

    /** Whether the server is well. */
    static class Health {
        final List<Source> feeds; // filled before the start
        /** Each says what is wrong, in ASCII and for everybody to read, or null. Filled before the start. */
        final List<Supplier<String>> checks = new ArrayList<>();

        Health(List<Source> feeds) { this.feeds = feeds; }

        List<String> ailments() {
            List<String> ailments = new ArrayList<>();
            if (feeds.stream().noneMatch(feed -> feed.state().up))
                ailments.add("no feed is up");
            for (Supplier<String> check : checks) {
                String ailment = check.get();
                if (ailment != null)
                    ailments.add(ailment);
            }
            return ailments;
        }

        byte[] answer(Instant now) {
            List<String> words = ailments();
            boolean well = words.isEmpty();
            String status = well ? "200 OK" : "503 Service Unavailable";
            if (well)
                words.add("ok");
            for (Source feed : feeds)
                words.add(feed.state().words);
            words.removeIf(String::isEmpty);
            String body = String.join("; ", words);
            return Http.response(status, Fields.UNCACHED, "text/plain", body, now);
        }
    }

    /** Finds lanes that stand still although none is stuck: a blocked one is relieved and goes on. */
    static class Pulse {
        final Broadcaster broadcaster;
        final Duration writeTimeout;
        // At the last look:
        private long end;
        private long slowest; // offset
        /** How often in a row it was the same. Looks are counted, not time: while the server itself stood
         * still no lane was ill. */
        private volatile int looks;

        Pulse(Broadcaster broadcaster, Duration writeTimeout) {
            this.broadcaster = broadcaster;
            this.writeTimeout = writeTimeout;
        }

        /** Called once a second. */
        void look() {
            long endBefore = end;
            long slowestBefore = slowest;
            end = broadcaster.plain.end();
            slowest = end - broadcaster.lag(end);
            boolean stands = slowest == slowestBefore && slowest < endBefore;
            looks = stands ? looks + 1 : 0;
        }

        String ailment() {
            boolean ill = Duration.ofSeconds(looks).compareTo(writeTimeout) > 0;
            return ill ? "a lane stands still" : null;
        }
    }

    /** How long publishers waited for their answers. */
    static class Waits implements LongConsumer {
        /** Of the buckets, in microseconds: 0.1 ms to 10 s. */
        static final int[] BOUNDS = {
            100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000,
            50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000};
        final List<LongAdder> counts = new ArrayList<>();
        final LongAdder sum = new LongAdder(); // ns

        Waits() {
            while (counts.size() <= BOUNDS.length) // the last bucket has no bound
                counts.add(new LongAdder());
        }

        @Override
        public void accept(long nanos) {
            int bucket = 0;
            while (bucket < BOUNDS.length && nanos > BOUNDS[bucket] * 1000L)
                bucket++;
            counts.get(bucket).increment();
            sum.add(nanos);
        }

        /** How many did not wait longer than a bound, by bounds in seconds; at last all. */
        Map<String, Long> buckets() {
            Map<String, Long> buckets = new LinkedHashMap<>();
            long count = 0;
            for (int i = 0; i <= BOUNDS.length; i++) {
                String bound = i == BOUNDS.length ? "+Inf" : Metrics.decimal(BOUNDS[i], 6);
                count += counts.get(i).sum();
                buckets.put(bound, count);
            }
            return buckets;
        }
    }

    /** Figures of the server, in Prometheus' text format 0.0.4. Events are counted where they are logged, so
     * a line and its counter agree. */
    static class Metrics {
        static final String TYPE = "text/plain; version=0.0.4; charset=utf-8";
        /** The reasons for events, beside those for refusals. */
        static final Map<Event, List<String>> REASONS = Map.of(
            Event.DROPPED, List.of(
                "max_lag", "write_timeout", "silent", "unfinished", "drain", "fault",
                "protocol_1002", "protocol_1007", "protocol_1008", "protocol_1009"),
            Event.FEED, List.of(
                "ended", "failed",
                "connected", "unreachable", "lost", "unacknowledged", "binary"));
        static final String CPU = """
            # HELP process_cpu_seconds_total Processor time.
            # TYPE process_cpu_seconds_total counter
            process_cpu_seconds_total %s
            """;
        final Door door;
        final UsedTokenTable usedTokens;
        final Health health;
        final Instant started;
        final Waits waits = new Waits();
        // Of the feeds, by their names:
        final Map<String, LongAdder> messages = new ConcurrentHashMap<>();
        final Map<String, LongAdder> bytes = new ConcurrentHashMap<>();
        final Map<String, Instant> last = new ConcurrentHashMap<>(); // when the last message was taken
        /** Lines of parts that are not always there. Filled before the start. */
        final List<Supplier<String>> more = new ArrayList<>();

        Metrics(Door door, UsedTokenTable usedTokens, Health health) {
            this.door = door;
            this.usedTokens = usedTokens;
            this.health = health;
            started = door.clock.instant();
            // From 0 on: one that is first seen at 1 has not risen, as Prometheus sees it.
            for (Rejection why : Rejection.values()) {
                begin(counts(Event.REFUSED), why.reason());
                begin(counts(Event.FEED), why.reason());
            }
            for (Event event : REASONS.keySet())
                for (String reason : REASONS.get(event))
                    begin(counts(event), reason);
        }

        static void begin(Map<String, LongAdder> counts, String name) {
            counts.putIfAbsent(name, new LongAdder());
        }

        Map<String, LongAdder> counts(Event event) {
            return door.events.tallies.get(event).counts;
        }

        long total(Event event) {
            long total = 0;
            for (LongAdder count : counts(event).values())
                total += count.sum();
            return total;
        }

        /** What the rehearsal was sent does not count. */
        void forget() {
            for (StreamLog log : List.of(door.broadcaster.plain, door.broadcaster.compressed)) {
                log.messagesSent.reset();
                log.bytesSent.reset();
            }
        }

        /** A feed's name, or if there is another of that name, one with a number. */
        String unique(String name) {
            boolean taken = messages.containsKey(name);
            return taken ? name + " (" + (messages.size() + 1) + ')' : name;
        }

        /** A feed, whose name is no secret. @return is told the bytes of each message that it has brought */
        IntConsumer feed(String name) {
            begin(messages, name);
            begin(bytes, name);
            last.put(name, started);
            return length -> {
                messages.get(name).increment();
                bytes.get(name).add(length);
                last.put(name, door.clock.instant());
            };
        }

        byte[] answer(Instant now) {
            Path self = Path.of("/proc/self");
            String text = server() + listeners() + feeds() + stream() + process(self);
            for (Supplier<String> figures : more)
                text += figures.get();
            return Http.response("200 OK", Fields.UNCACHED, TYPE, text, now);
        }

        String server() {
            Runtime runtime = Runtime.getRuntime();
            long committed = runtime.totalMemory();
            return """
                # HELP nanostream_healthy 0 while /healthz has something to say about it, else 1.
                # TYPE nanostream_healthy gauge
                nanostream_healthy %s
                # HELP nanostream_faults_total Faults of the server.
                # TYPE nanostream_faults_total counter
                nanostream_faults_total %s
                # HELP nanostream_warnings_total Warnings.
                # TYPE nanostream_warnings_total counter
                nanostream_warnings_total %s
                # HELP nanostream_closed_for_room_total Connections that were no listeners, closed for room.
                # TYPE nanostream_closed_for_room_total counter
                nanostream_closed_for_room_total %s
                # HELP nanostream_heap_used_bytes Heap in use.
                # TYPE nanostream_heap_used_bytes gauge
                nanostream_heap_used_bytes %s
                # HELP nanostream_heap_committed_bytes Heap that the system has given.
                # TYPE nanostream_heap_committed_bytes gauge
                nanostream_heap_committed_bytes %s
                # HELP nanostream_heap_max_bytes Heap that there can be (-Xmx).
                # TYPE nanostream_heap_max_bytes gauge
                nanostream_heap_max_bytes %s
                """.formatted(
                    health.ailments().isEmpty() ? 1 : 0,
                    total(Event.FAULT),
                    total(Event.WARNING),
                    total(Event.FULL),
                    committed - runtime.freeMemory(),
                    committed,
                    Limits.HEAP);
        }

        String listeners() {
            return """
                # HELP nanostream_listeners Listeners.
                # TYPE nanostream_listeners gauge
                nanostream_listeners %s
                # HELP nanostream_listeners_max Listeners that there can be.
                # TYPE nanostream_listeners_max gauge
                nanostream_listeners_max %s
                # HELP nanostream_listeners_admitted_total Listeners that came in.
                # TYPE nanostream_listeners_admitted_total counter
                nanostream_listeners_admitted_total %s
                # HELP nanostream_listeners_left_total Listeners that went.
                # TYPE nanostream_listeners_left_total counter
                nanostream_listeners_left_total %s
                # HELP nanostream_listeners_dropped_total Listeners whose connection the server ended.
                # TYPE nanostream_listeners_dropped_total counter
                %s
                # HELP nanostream_requests_refused_total Requests at the listeners' port that were refused.
                # TYPE nanostream_requests_refused_total counter
                %s
                # HELP nanostream_used_tokens Used tokens that have not expired, and are remembered.
                # TYPE nanostream_used_tokens gauge
                nanostream_used_tokens %s
                # HELP nanostream_used_tokens_max Used tokens that can be remembered.
                # TYPE nanostream_used_tokens_max gauge
                nanostream_used_tokens_max %s
                """.formatted(
                    door.broadcaster.size(),
                    door.maxListeners,
                    total(Event.ADMITTED),
                    total(Event.LEFT),
                    samples("nanostream_listeners_dropped_total{reason=", counts(Event.DROPPED)),
                    samples("nanostream_requests_refused_total{reason=", counts(Event.REFUSED)),
                    usedTokens.expiries.size(),
                    Limits.MAX_USED_TOKENS);
        }

        /** The last message has its time, and not the time since: what reads it has a clock of its own, and a
         * figure that is no longer computed then grows old. */
        String feeds() {
            Map<String, Long> buckets = waits.buckets(); // read once: their sum is that of the last
            return """
                # HELP nanostream_feed_up 1 while messages can come, else 0.
                # TYPE nanostream_feed_up gauge
                %s
                # HELP nanostream_feed_connections_total Connections that the feed has made.
                # TYPE nanostream_feed_connections_total counter
                %s
                # HELP nanostream_feed_missed_seconds_total Time without the connection that the feed needs.
                # TYPE nanostream_feed_missed_seconds_total counter
                %s
                # HELP nanostream_feed_messages_total Messages that were taken.
                # TYPE nanostream_feed_messages_total counter
                %s
                # HELP nanostream_feed_bytes_total Bytes of the messages that were taken.
                # TYPE nanostream_feed_bytes_total counter
                %s
                # HELP nanostream_feed_last_message_timestamp_seconds Of the last one; if none, the start.
                # TYPE nanostream_feed_last_message_timestamp_seconds gauge
                %s
                # HELP nanostream_feed_events_total What was refused, or what happened to a feed.
                # TYPE nanostream_feed_events_total counter
                %s
                # HELP nanostream_post_wait_seconds How long a message that was posted waited.
                # TYPE nanostream_post_wait_seconds histogram
                %s
                nanostream_post_wait_seconds_sum %s
                nanostream_post_wait_seconds_count %s
                """.formatted(
                    samples("nanostream_feed_up{feed=", each(state -> state.up ? 1 : 0)),
                    samples("nanostream_feed_connections_total{feed=", each(FeedState::connections)),
                    samples("nanostream_feed_missed_seconds_total{feed=",
                        each(state -> decimal(state.missed, 3))),
                    samples("nanostream_feed_messages_total{feed=", messages),
                    samples("nanostream_feed_bytes_total{feed=", bytes),
                    samples("nanostream_feed_last_message_timestamp_seconds{feed=", last),
                    samples("nanostream_feed_events_total{reason=", counts(Event.FEED)),
                    samples("nanostream_post_wait_seconds_bucket{le=", buckets),
                    decimal(waits.sum.sum(), 9),
                    buckets.get("+Inf"));
        }

        /** A figure of each feed, by its name. */
        Map<String, Object> each(Function<FeedState, Object> figure) {
            Map<String, Object> figures = new LinkedHashMap<>();
            for (Source feed : health.feeds)
                figures.put(feed.name(), figure.apply(feed.state()));
            return figures;
        }

        String stream() {
            Broadcaster broadcaster = door.broadcaster;
            StreamLog plain = broadcaster.plain;
            StreamLog compressed = broadcaster.compressed;
            long lag = 0;
            for (Listener listener : broadcaster.listeners())
                lag = Math.max(lag, listener.lag());
            return """
                # HELP nanostream_sent_messages_total Messages that were sent, counted for each listener.
                # TYPE nanostream_sent_messages_total counter
                %s
                # HELP nanostream_sent_bytes_total Bytes of messages and pings that were sent.
                # TYPE nanostream_sent_bytes_total counter
                %s
                # HELP nanostream_slowest_lane_lag_bytes Bytes that the slowest lane has still to send.
                # TYPE nanostream_slowest_lane_lag_bytes gauge
                nanostream_slowest_lane_lag_bytes %s
                # HELP nanostream_slowest_listener_lag_bytes Bytes that the slowest listener has still to get.
                # TYPE nanostream_slowest_listener_lag_bytes gauge
                nanostream_slowest_listener_lag_bytes %s
                """.formatted(
                    samples("nanostream_sent_messages_total{log=",
                        Map.of("plain", plain.messagesSent, "compressed", compressed.messagesSent)),
                    samples("nanostream_sent_bytes_total{log=",
                        Map.of("plain", plain.bytesSent, "compressed", compressed.bytesSent)),
                    broadcaster.lag(plain.end()),
                    lag);
        }

        /** By the names that Prometheus' own libraries give them. What only java.management knows, such as
         * collections, is left out: it takes 25 ms of the start.
         * @param self what /proc has about this process */
        String process(Path self) {
            String start = """
                # HELP process_start_time_seconds Unix time of the start.
                # TYPE process_start_time_seconds gauge
                process_start_time_seconds %s
                # HELP process_max_fds Descriptors that can be open.
                # TYPE process_max_fds gauge
                process_max_fds %s
                """.formatted(value(started), Limits.DESCRIPTORS);
            try {
                String stat = Files.readString(self.resolve("stat"));
                String status = Files.readString(self.resolve("status"));
                String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" "); // from the third on
                long ticks = Long.parseLong(fields[11]) + Long.parseLong(fields[12]); // of 10 ms
                return start + CPU.formatted(decimal(ticks, 2)) + """
                    # HELP process_virtual_memory_bytes Virtual memory.
                    # TYPE process_virtual_memory_bytes gauge
                    process_virtual_memory_bytes %s
                    # HELP process_resident_memory_bytes Resident memory.
                    # TYPE process_resident_memory_bytes gauge
                    process_resident_memory_bytes %s
                    # HELP process_open_fds Descriptors that are open.
                    # TYPE process_open_fds gauge
                    process_open_fds %s
                    """.formatted(
                        memory("VmSize", status),
                        memory("VmRSS", status),
                        entries(self.resolve("fd")));
            } catch (NoSuchFileException e) { // no /proc
                Optional<Duration> cpu = ProcessHandle.current().info().totalCpuDuration();
                if (cpu.isEmpty()) return start;
                long millis = cpu.get().toMillis();
                return start + CPU.formatted(decimal(millis, 3));
            } catch (IOException | IllegalArgumentException e) { // no descriptor, or another sort of /proc
                return start;
            }
        }

        /** Bytes. */
        static long memory(String name, String status) {
            String kilobytes = status.replaceAll("(?s).*" + name + ":\\s+(\\d+) kB.*", "$1");
            return Long.parseLong(kilobytes) * 1024;
        }

        static long entries(Path descriptors) throws IOException {
            long size = Files.size(descriptors); // how many, from Linux 6.2 on; to count 10,000 takes 10 ms
            if (size > 0) return size;
            try (Stream<Path> entries = Files.list(descriptors)) {
                return entries.count();
            }
        }

        /** Lines of samples. @param begin the name and that of the label, as in {@code name{label=} */
        static String samples(String begin, Map<String, ?> values) {
            List<String> lines = new ArrayList<>();
            for (String label : values.keySet()) {
                Object value = value(values.get(label));
                lines.add(begin + '"' + escape(label) + "\"} " + value);
            }
            return String.join("\n", lines);
        }

        static Object value(Object value) {
            return value instanceof Instant time ? decimal(time.toEpochMilli(), 3) : value;
        }

        /** The value of a label, in ASCII, as the body of an answer is. */
        static String escape(String value) {
            return value.replaceAll("[\\\\\"]", "\\\\$0").replaceAll("[^ -~]", "?");
        }

        /** A number with so many decimals, such as seconds that are counted in milliseconds. */
        static String decimal(long unscaled, int decimals) {
            return BigDecimal.valueOf(unscaled, decimals).stripTrailingZeros().toPlainString();
        }
    }

    // ---- 20. TLS (RFC 8446, 5246, 7301) -------------------------------------------------------------------
    // Listeners connect by wss://. What is on the wire is made by the JDK (SSLEngine). Here are the files,
    // and a socket that the rest of the server uses like one without TLS.
    //
    // Off unless: --tls-cert is given.
    // Touches: the files of --tls-cert and --tls-key, which are read again every ten seconds; connections of
    // the listeners' port.
    // Implements: Transport (14).
    // When it fails: at the start the process ends, and a line says why. Later the log says so once, and the
    // files that were read before stay in use. A client whose handshake fails is in the log.

    /** The server's side of TLS over a connection. Close and reset are those of the connection: they do not
     * wait for a close_notify. It is read by one thread. */
    static class TlsSocket extends Socket {
        static final int HEADER = 5;                // bytes (RFC 8446 §5.1): type, version, length
        static final int MAX_RECORD = 18 * 1024;    // bytes of a record's content (RFC 5246 §6.2.3)
        static final byte ALERT = 21;               // the type of a record
        static final int FIRST_ALERT = 42;
        /** What alerts about a certificate are called (RFC 8446 §6), by their numbers. */
        static final String[] ALERTS = """
            bad_certificate unsupported_certificate certificate_revoked certificate_expired \
            certificate_unknown illegal_parameter unknown_ca""".split(" ");
        /** Bytes of records in a row that bring nothing, after the handshake; a key update has some 30. The
         * engine keeps the beginning of a longer message of TLS itself, up to 32 KiB, for the rest. */
        static final int MAX_EMPTY = 4 * 1024;
        static final ByteBuffer NOTHING = ByteBuffer.allocate(0);
        /** Buffers for records on their way out. There are more while more threads write. */
        static final Queue<ByteBuffer> RECORDS = new ArrayBlockingQueue<>(4 * Limits.LANES);
        final Socket connection;
        final OutputStream wire;
        final SSLEngine engine;
        final ReentrantLock writing = new ReentrantLock(); // records go out in the order they were made in
        final InputStream in = new Input();
        final OutputStream out = new Output();
        // The reading thread's:
        private byte[] record = new byte[HEADER]; // the one under way, once its length is known all of it
        private int filled;                 // bytes of it that were read
        private int records;                // that were read
        private int empty;                  // bytes of the last ones, if they brought nothing
        private ByteBuffer plain = NOTHING; // what was decrypted and not yet read
        private long deadline;              // of a read, in System.nanoTime(), or 0

        /** @param first the byte that was read of the connection */
        TlsSocket(Socket connection, SSLEngine engine, int first) throws IOException {
            super((SocketImpl) null); // it has none of its own
            this.connection = connection;
            this.wire = connection.getOutputStream();
            this.engine = engine;
            record[0] = (byte) first;
            filled = 1;
        }

        void handshake() throws IOException {
            engine.beginHandshake();
            HandshakeStatus status = engine.getHandshakeStatus();
            while (status != HandshakeStatus.NOT_HANDSHAKING) {
                switch (status) {
                    case NEED_TASK -> engine.getDelegatedTask().run();
                    case NEED_WRAP -> flush();
                    default -> receive();
                }
                status = engine.getHandshakeStatus();
            }
            empty = 0;
        }

        /** Sends what the engine has to say: its part of a handshake, an answer to a key update, an alert. */
        void flush() throws IOException {
            while (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP)
                send(NOTHING);
        }

        /** Writes some bytes as records, and what the engine has to say before them. */
        void send(ByteBuffer bytes) throws IOException {
            writing.lock();
            ByteBuffer pooled = RECORDS.poll();
            ByteBuffer made = pooled == null ? ByteBuffer.allocate(HEADER + MAX_RECORD) : pooled;
            try {
                do {
                    Status status = engine.wrap(bytes, made.clear()).getStatus();
                    boolean mayMakeNone = status == Status.OK && !bytes.hasRemaining();
                    // It makes none if another thread has sent the answer to a key update.
                    if (made.position() == 0 && !mayMakeNone) throw new SocketException("closed");
                    wire.write(made.array(), 0, made.position());
                } while (bytes.hasRemaining());
            } finally {
                RECORDS.offer(made);
                writing.unlock();
            }
        }

        /** Reads a record and decrypts it. After a timeout it goes on where it was.
         * @throws EOFException at the end, with a close_notify or without: a frame says what an end means */
        void receive() throws IOException {
            records++;
            // Empty ones without pause would hold a processor: a virtual thread is not preempted.
            if (records % Limits.PACE == 0)
                LockSupport.parkNanos(Limits.PACE_PAUSE * 1_000_000L);
            fill();
            int length = ByteBuffer.wrap(record).getChar(3); // 16 bits without a sign
            if (length > MAX_RECORD) throw new SSLException("record is too large");
            record = Arrays.copyOf(record, HEADER + length);
            fill();
            ByteBuffer decrypted = ByteBuffer.allocate(record.length);
            Status status = decrypt(decrypted);
            plain = decrypted.flip();
            empty = plain.hasRemaining() ? 0 : empty + length;
            record = new byte[HEADER];
            filled = 0;
            if (status != Status.OK) throw new EOFException();
        }

        /** A client that does not trust the certificate may have no keys yet, and send its alert as it is. In
         * version 1.3 the engine takes that for a broken record, and does not say what it was. */
        Status decrypt(ByteBuffer decrypted) throws IOException {
            try {
                return engine.unwrap(ByteBuffer.wrap(record), decrypted).getStatus();
            } catch (SSLException e) {
                if (record[0] != ALERT || record.length != HEADER + 2) throw e;
                int alert = record[HEADER + 1] - FIRST_ALERT;
                if (alert < 0 || alert >= ALERTS.length) throw e;
                throw new SSLException("Received fatal alert: " + ALERTS[alert]);
            }
        }

        /** Reads until the record is full. */
        void fill() throws IOException {
            while (filled < record.length) {
                if (deadline != 0) {
                    long left = (deadline - System.nanoTime()) / 1_000_000;
                    if (left <= 0) throw new SocketTimeoutException();
                    connection.setSoTimeout((int) left);
                }
                int n = connection.getInputStream().read(record, filled, record.length - filled);
                if (n < 0) throw new EOFException();
                filled += n;
            }
        }

        @Override
        public InputStream getInputStream() { return in; }

        @Override
        public OutputStream getOutputStream() { return out; }

        /** For a whole read: a client that sends a record byte by byte gets no more time. */
        @Override
        public void setSoTimeout(int millis) throws SocketException {
            deadline = millis == 0 ? 0 : RequestReader.deadline(millis);
            connection.setSoTimeout(millis);
        }

        @Override
        public void setSoLinger(boolean on, int seconds) throws SocketException {
            connection.setSoLinger(on, seconds);
        }

        @Override
        public SocketAddress getRemoteSocketAddress() { return connection.getRemoteSocketAddress(); }

        @Override
        public InetAddress getInetAddress() { return connection.getInetAddress(); }

        /** Sends a close_notify, then the end of the stream. */
        @Override
        public void shutdownOutput() throws IOException {
            engine.closeOutbound();
            flush();
            connection.shutdownOutput();
        }

        @Override
        public void close() throws IOException { connection.close(); }

        class Input extends InputStream {
            @Override
            public int read() { throw new UnsupportedOperationException(); } // nobody reads single bytes

            /** Reads what is left of a record, or of the next one. That may have nothing for the reader: then
             * 0 is returned, so that it counts and slows down a peer that sends only such. */
            @Override
            public int read(byte[] bytes, int offset, int length) throws IOException {
                if (!plain.hasRemaining()) {
                    receive();
                    flush();
                    // A renegotiation (RFC 5246 §7.4.1.1) is work for nothing, at a client's wish.
                    if (engine.getHandshakeStatus() == HandshakeStatus.NEED_TASK)
                        throw new SSLException("renegotiation is refused");
                    if (empty > MAX_EMPTY) throw new SSLException("too much that brings nothing");
                }
                int n = Math.min(length, plain.remaining());
                plain.get(bytes, offset, n);
                if (!plain.hasRemaining())
                    plain = NOTHING; // it may stay idle
                return n;
            }
        }

        class Output extends OutputStream {
            @Override
            public void write(int b) { throw new UnsupportedOperationException(); } // nor writes them

            @Override
            public void write(byte[] bytes, int offset, int length) throws IOException {
                send(ByteBuffer.wrap(bytes, offset, length));
            }
        }
    }

    /** A certificate with those that lead to it, and what connections are made with.
     * @param begins when the certificate does
     * @param expires when it ends */
    record Identity(SSLContext context, Instant begins, Instant expires) {
        static final int SESSIONS = 1000; // of TLS 1.2, some KiB each; clients keep those of 1.3
        static final int MAX_FILE = 1024 * 1024; // bytes; a chain has some 10,000
        /** RFC 7468: label and content. Text between two blocks is passed over. One that is cut off is one,
         * so that it is found to be broken. */
        static final Pattern BLOCK =
            Pattern.compile("(?s)-----BEGIN ([A-Z0-9 ]+)-----(.*?)(-----|\\z)");

        /** @param files what the two files have
         * @throws IOException if they do not do; it says which, and why */
        static Identity of(byte[][] files, String certFile, String keyFile) throws IOException {
            List<X509Certificate> chain = chain(files[0], certFile);
            PublicKey publicKey = chain.getFirst().getPublicKey();
            PrivateKey key = key(files[1], keyFile, publicKey.getAlgorithm());
            String why = "";
            try {
                Instant begin = chain.getFirst().getNotBefore().toInstant();
                Instant end = chain.getFirst().getNotAfter().toInstant();
                if (belongs(key, publicKey))
                    return new Identity(context(chain, key), begin, end);
            } catch (KeyStoreException e) {
                throw new IOException(certFile + " has no chain of certificates: each has to be followed by "
                    + "that of its issuer, and none may be there twice");
            } catch (GeneralSecurityException e) { // they differ in size, or the JDK does not have the curve
                why = ", or none that can be used: " + e.getMessage();
            }
            throw new IOException(keyFile + " is not the key of the first certificate in " + certFile + why);
        }

        static byte[] bytes(String file) throws IOException {
            try (InputStream in = new FileInputStream(file)) {
                byte[] bytes = in.readNBytes(MAX_FILE + 1);
                if (bytes.length > MAX_FILE)
                    throw new IOException(file + " (It has more than " + MAX_FILE + " bytes)");
                return bytes;
            } catch (IOException e) {
                throw new IOException("cannot read " + e.getMessage()); // which names the file
            }
        }

        /** The blocks of a PEM file whose labels end so. */
        static List<MatchResult> blocks(byte[] pem, String label) {
            String text = new String(pem, ISO_8859_1);
            Stream<MatchResult> all = BLOCK.matcher(text).results();
            return all.filter(block -> block.group(1).endsWith(label)).toList();
        }

        static byte[] der(MatchResult block) {
            return Base64.getMimeDecoder().decode(block.group(2));
        }

        /** The certificates of a file, the server's first. */
        static List<X509Certificate> chain(byte[] pem, String file) throws IOException {
            List<X509Certificate> chain = new ArrayList<>();
            try {
                CertificateFactory factory = CertificateFactory.getInstance("X.509");
                for (MatchResult block : blocks(pem, "CERTIFICATE")) {
                    InputStream der = new ByteArrayInputStream(der(block));
                    chain.add((X509Certificate) factory.generateCertificate(der));
                }
            } catch (CertificateException | IllegalArgumentException e) {
                throw new IOException(file + " has a certificate that cannot be read");
            }
            if (chain.isEmpty()) throw new IOException(file + " has no certificate in PEM form");
            return chain;
        }

        /** The key of a file, in the one form that the JDK reads: PKCS#8 (RFC 5958), not encrypted. */
        static PrivateKey key(byte[] pem, String file, String algorithm) throws IOException {
            List<MatchResult> keys = blocks(pem, "PRIVATE KEY");
            if (keys.isEmpty()) throw new IOException(file + " has no private key in PEM form");
            String label = keys.getFirst().group(1);
            if (!label.equals("PRIVATE KEY"))
                throw new IOException(file + " has an " + label + "; convert it: "
                    + "openssl pkcs8 -topk8 -nocrypt -in " + file + " -out " + file + ".pkcs8");
            try {
                KeyFactory factory = KeyFactory.getInstance(algorithm);
                return factory.generatePrivate(new PKCS8EncodedKeySpec(der(keys.getFirst())));
            } catch (GeneralSecurityException | IllegalArgumentException e) {
                throw new IOException(file + " has no " + algorithm + " key, as the certificate wants");
            }
        }

        /** Whether what the one key signs is verified by the other. */
        static boolean belongs(PrivateKey key, PublicKey publicKey) throws GeneralSecurityException {
            Signature signature = Signature.getInstance(switch (key.getAlgorithm()) {
                case "RSA" -> "SHA256withRSA";
                case "EC" -> "SHA256withECDSA";
                default -> key.getAlgorithm();
            });
            signature.initSign(key);
            byte[] signed = signature.sign();
            signature.initVerify(publicKey);
            return signature.verify(signed);
        }

        /** It has the certificate also as the only one that it trusts: for the rehearsal's visitors. */
        static SSLContext context(List<X509Certificate> chain, PrivateKey key)
                throws GeneralSecurityException, IOException {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            char[] password = new char[0];
            store.setKeyEntry("key", key, password, chain.toArray(Certificate[]::new));
            store.setCertificateEntry("trusted", chain.getFirst());
            KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
            keys.init(store, password);
            TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
            context.getServerSessionContext().setSessionCacheSize(SESSIONS);
            return context;
        }
    }

    /** Opens connections with TLS, and keeps the files in view. */
    static class Tls implements Transport {
        static final int FIRST = 22;        // the first byte of TLS: a record of the type handshake
        /** Bytes that count for a connection until it is a listener. In memory are 19 KiB for half a
         * handshake, 60 for the longest: see MAX_UNANSWERED, where a byte stands for four. */
        static final int BYTES = 16 * 1024;
        /** A listener takes 9 KiB, and 18 more for a record under way. */
        static final int MAX_LISTENERS =
            (int) Math.min(Limits.MAX_LISTENERS, Limits.HEAP / 32768 - 1024);
        static final String[] PROTOCOL = {"http/1.1"}; // RFC 7301 §3.2: without it in common an alert follows
        static final Duration WARNING = Duration.ofDays(14); // before the certificate expires
        static final Duration REPEATED = Duration.ofDays(1);
        final String certFile, keyFile;
        final InstantSource clock;
        final EventLog events;
        volatile Identity identity;
        // look only:
        private byte[][] files;             // what the identity was made of
        private String problem = "";        // of the last look
        private Instant nextWarning;

        private int visits;                 // of the rehearsal

        /** @throws IOException if the files do not do; it says which, and why */
        Tls(String certFile, String keyFile, InstantSource clock, EventLog events) throws IOException {
            this.certFile = certFile;
            this.keyFile = keyFile;
            this.clock = clock;
            this.events = events;
            renew();
        }

        @Override
        public Socket open(Acceptor.Connection connection, EventLog log) throws IOException {
            Socket socket = connection.socket;
            socket.setSoTimeout(Limits.HEAD_TIMEOUT);
            int first = socket.getInputStream().read();
            if (first < 0) throw new EOFException();
            if (first != FIRST) {
                byte[] answer = Http.refusal(Rejection.NOT_TLS, Fields.CLOSE, clock.instant());
                socket.getOutputStream().write(answer);
                throw refused(socket, log, new Refusal(Rejection.NOT_TLS));
            }
            connection.grow(BYTES);
            SSLEngine engine = identity.context.createSSLEngine();
            engine.setUseClientMode(false);
            SSLParameters parameters = engine.getSSLParameters();
            parameters.setApplicationProtocols(PROTOCOL);
            engine.setSSLParameters(parameters);
            TlsSocket tls = new TlsSocket(socket, engine, first);
            try {
                tls.setSoTimeout(Limits.HEAD_TIMEOUT);
                tls.handshake();
                return tls;
            } catch (SSLException e) {
                Http.closeQuietly(tls::flush); // an alert; the client may have gone
                String detail = EventLog.quote(e.getMessage());
                throw refused(socket, log, new Refusal(Rejection.TLS, detail));
            } catch (SocketTimeoutException e) {
                throw refused(socket, log, new Refusal(Rejection.TOO_SLOW, "the TLS handshake"));
            }
        }

        /** Ends a connection. @return what its thread ends by */
        static IOException refused(Socket socket, EventLog log, Refusal refusal) {
            log.refused(Event.REFUSED, Http.remote(socket), refusal);
            Http.lingeringClose(socket);
            return new EOFException();
        }

        /** Uses the files if they are others than at the last look, or says that they do again. Called every
         * ten seconds. */
        void look() {
            try {
                if (renew() || !problem.isEmpty())
                    events.add(Event.START, certFile + " is in use, valid until " + identity.expires);
                problem = "";
            } catch (IOException e) {
                if (!e.getMessage().equals(problem))
                    events.add(Event.WARNING, e.getMessage() + "; what was read before stays in use");
                problem = e.getMessage();
            }
            warn();
        }

        boolean renew() throws IOException {
            byte[][] now = {Identity.bytes(certFile), Identity.bytes(keyFile)};
            if (Arrays.deepEquals(now, files)) return false;
            identity = Identity.of(now, certFile, keyFile);
            files = now;
            nextWarning = Instant.MIN;
            return true;
        }

        /** Says once a day what is wrong with the certificate's time, if anything is. */
        void warn() {
            Instant now = clock.instant();
            String ailment = ailment(now);
            if (ailment == null || now.isBefore(nextWarning)) return;
            nextWarning = now.plus(REPEATED);
            String next = problem.isEmpty()
                ? "a new one is taken from the same files without a restart"
                : "the files that are there now do not do: " + problem;
            events.add(Event.WARNING, certFile + " has a certificate that " + ailment + "; " + next);
        }

        /** What is wrong, or soon will be, or null. */
        String ailment(Instant now) {
            Instant expires = identity.expires;
            if (now.isBefore(identity.begins))
                return "is not valid before " + identity.begins + ", so clients refuse it, unless this "
                    + "machine's clock is slow";
            if (now.isAfter(expires)) return "has expired at " + expires + ", so clients refuse it";
            boolean soon = !now.isBefore(expires.minus(WARNING));
            return soon ? "is valid until " + expires : null;
        }

        /** For the metrics. */
        String figures() {
            return """
                # HELP nanostream_certificate_expiry_timestamp_seconds When the certificate expires.
                # TYPE nanostream_certificate_expiry_timestamp_seconds gauge
                nanostream_certificate_expiry_timestamp_seconds %s
                """.formatted(identity.expires.getEpochSecond());
        }

        /** A visitor's end of a connection, for the rehearsal: the two versions in turn. It trusts the
         * server's own certificate. */
        SSLSocket visit(Socket socket) throws IOException {
            SSLSocketFactory factory = identity.context.getSocketFactory();
            SSLSocket visitor =
                (SSLSocket) factory.createSocket(socket, "localhost", socket.getPort(), true);
            visits++;
            String version = visits % 2 == 0 ? "TLSv1.3" : "TLSv1.2";
            visitor.setEnabledProtocols(new String[] {version});
            visitor.startHandshake();
            return visitor;
        }
    }

    // ---- 21. Other feeds (RFC 6455) -----------------------------------------------------------------------
    // Lines of standard input, and the texts of a WebSocket server, whose protocol is spoken by the JDK
    // (java.net.http).
    //
    // Off unless: --feed - or a --feed with ws:// or wss:// is given.
    // Touches: standard input, which a platform thread reads; connections to the servers, and the JDK's
    // threads for them.
    // Implements: Source (14).
    // When it fails: the log says so. If lines end and there is no other feed, the server ends. A server that
    // is lost is tried again for ever; what it sends meanwhile is missed, and the log says for how long.

    /** Where a feed's messages go if nobody waits for an answer: a refusal is told to the log alone. */
    record Intake(String name, Outlet outlet, EventLog events) {
        void take(byte[] message) {
            try {
                if (message.length > Limits.MAX_MESSAGE) throw Refusal.tooLarge();
                outlet.publish(message);
            } catch (Refusal refusal) {
                events.refused(Event.FEED, name + " refused", refusal);
            }
        }
    }

    /** Takes the lines of an input, a message each, until it ends. */
    static class LineFeed implements Source {
        final InputStream source;
        final Intake intake;
        final EventLog events;
        final Consumer<Boolean> atEnd;
        private volatile boolean ended;

        /** @param atEnd told when the input has ended, and whether by a failure */
        LineFeed(InputStream source, Intake intake, Consumer<Boolean> atEnd) {
            this.source = source;
            this.intake = intake;
            this.atEnd = atEnd;
            events = intake.events;
        }

        @Override
        public String name() { return intake.name; }

        @Override
        public FeedState state() { return new FeedState(!ended, "", 0, 0); }

        @Override
        public void start() {
            events.add(Event.START, "feed - takes lines from standard input");
            // A platform thread, since reading standard input would pin a virtual one.
            Thread.ofPlatform().daemon().name("stdin").start(this::run);
        }

        /** Nothing interrupts a read of standard input. What it still brings is refused by the log. */
        @Override
        public boolean drain() { return true; }

        @Override
        public void close() { }

        void run() {
            boolean failed = false;
            try {
                readLines();
                events.add(Event.FEED, "ended", "- has ended");
            } catch (IOException e) {
                failed = true;
                events.add(Event.FEED, "failed", "- has failed: " + e.getMessage());
            }
            ended = true;
            atEnd.accept(failed);
        }

        /** Whether the parent has closed standard input. Its descriptor is then the first file that the Java
         * runtime opened, one of its own, whose bytes would be broadcast. Known where there is a /proc. */
        static boolean isStandardInputClosed() {
            Path descriptor = Path.of("/proc/self/fd/0");
            if (!Files.exists(descriptor.getParent())) return false;
            try {
                Path home = Path.of(System.getProperty("java.home")).toRealPath();
                return descriptor.toRealPath().startsWith(home);
            } catch (IOException e) { // a pipe or a socket has no real path
                return false;
            }
        }

        /** Takes lines until the input ends. What cannot be broadcast is logged and left out. */
        void readLines() throws IOException {
            InputStream in = new BufferedInputStream(source, Limits.SEGMENT);
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            int b = in.read();
            while (b >= 0) {
                if (b == '\n')
                    end(line);
                else if (line.size() <= Limits.MAX_MESSAGE + 1)
                    line.write(b); // up to a CR, and one byte more, by which a line is known to be too long
                b = in.read();
            }
            end(line); // the last one may have no line end
        }

        /** Publishes a line, and empties it. */
        void end(ByteArrayOutputStream line) {
            byte[] message = line.toByteArray();
            line.reset();
            boolean cr = message.length > 0 && message[message.length - 1] == '\r';
            if (cr)
                message = Arrays.copyOf(message, message.length - 1);
            if (message.length > 0) // an empty line is no message
                intake.take(message);
        }
    }

    /** Takes the texts of a WebSocket server, a message each. */
    static class WebSocketFeed implements Source {
        static final int LONGEST = 60;  // s between two tries
        static final int ANSWER = 5;    // s for the answer to the greeting, and to pings until the first pong
        static final int OPENING = 10;  // s for the opening handshake
        static final Duration PING = Duration.ofSeconds(30);    // between two, if listeners get none

        /** The server.
         * @param greeting makes the text that each connection begins with
         * @param answered whether the server has answered that */
        record Peer(URI address, Supplier<String> greeting, BooleanSupplier answered) { }

        /** A time with a connection or without. One object: a figure that was read amid a change would fall
         * again, and a counter that falls looks like a new start.
         * @param missed ms without one, before that */
        record Stretch(boolean up, Instant since, long connections, long missed) { }

        final Intake intake;
        final EventLog events;
        final Peer peer;
        final Duration ping;
        final Duration second; // 1 s, or less in a test
        final InstantSource clock;
        final Thread thread = Thread.ofVirtual().name("feed").unstarted(this::run);
        private volatile boolean draining;
        volatile HttpClient client; // of this try or the last one; null before the first
        private volatile Stretch stretch; // changed by the feed's thread alone

        WebSocketFeed(Intake intake, Peer peer, Duration ping, Duration second, InstantSource clock) {
            this.intake = intake;
            this.peer = peer;
            this.ping = ping.isZero() ? PING : ping;
            this.second = second;
            this.clock = clock;
            events = intake.events;
            stretch = new Stretch(false, clock.instant(), 0, 0);
        }

        @Override
        public String name() { return intake.name; }

        @Override
        public FeedState state() {
            Stretch now = stretch;
            long millis = millis(now);
            String words = name() + (now.up ? " has been" : " has not been") + " connected for "
                + millis / 1000 + " s";
            long missed = now.up ? now.missed : now.missed + millis;
            return new FeedState(now.up, words, now.connections, missed);
        }

        /** Keeps no cookies, but is told of an answer's fields before its body. Where that is no upgrade, the
         * JDK reads all of the body into memory: one without a small length is not let come. */
        static class Guard extends CookieHandler {
            @Override
            public Map<String, List<String>> get(
                    URI uri,
                    Map<String, List<String>> fields) {
                return Map.of();
            }

            @Override
            public void put(URI uri, Map<String, List<String>> fields) throws IOException {
                String length = fields.getOrDefault("Content-Length", List.of("")).getFirst();
                boolean small = length.matches("[0-9]{1,5}");
                if (!small && !fields.containsKey("Upgrade"))
                    throw new IOException("its answer is no upgrade");
            }
        }

        static HttpClient client() {
            return HttpClient.newBuilder()
                .executor(Thread::startVirtualThread)
                .cookieHandler(new Guard())
                .build();
        }

        /** How long it has lasted. */
        long millis(Stretch stretch) {
            long millis = stretch.since.until(clock.instant(), ChronoUnit.MILLIS);
            return Math.max(millis, 0); // the clock may be set back
        }

        @Override
        public void start() {
            events.add(Event.START, "feed connects to " + name());
            thread.start();
        }

        /** The server is told, but its answer is not waited for. */
        @Override
        public boolean drain() {
            if (!draining) {
                draining = true;
                thread.interrupt();
            }
            return !thread.isAlive();
        }

        @Override
        public void close() {
            if (client != null)
                client.shutdownNow();
        }

        /** Connects again and again. Many servers may have lost the same one, so they wait for a random part
         * of the time between two tries. */
        void run() {
            try {
                int most = 1;
                while (true) {
                    boolean lasted = attend();
                    // A server that does not read can hold a lost connection open, and one that refuses can
                    // go on answering.
                    client.shutdownNow();
                    if (lasted)
                        most = 1;
                    double part = (1 + Math.random()) / 2;
                    Thread.sleep((long) (second.toMillis() * most * part));
                    most = Math.min(2 * most, LONGEST);
                }
            } catch (InterruptedException e) { // see drain
            }
        }

        /** Connects, and stays until that is over. @return whether it has lasted for a moment */
        boolean attend() throws InterruptedException {
            client = client();
            Link link = new Link();
            String greeting = peer.greeting.get(); // before the first text can come
            WebSocket socket;
            try {
                socket = client.newWebSocketBuilder()
                    .buildAsync(peer.address, link)
                    .orTimeout(OPENING, TimeUnit.SECONDS) // a refusal's body may have no end
                    .get();
            } catch (ExecutionException e) {
                String why = why(e.getCause());
                events.add(Event.FEED, "unreachable", name() + " cannot be reached: " + why);
                return false;
            }
            long without = millis(stretch);
            long connections = stretch.connections + 1;
            long missed = stretch.missed + without;
            stretch = new Stretch(true, clock.instant(), connections, missed);
            String seconds = without / 1000 + " s";
            events.add(Event.FEED, "connected", name() + " is connected; " + seconds + " were missed");
            try {
                socket.sendText(greeting, true);
                String end = link.hold(socket);
                events.add(Event.FEED, "lost", name() + " is lost: " + end);
            } catch (InterruptedException e) {
                socket.sendClose(CloseCode.GOING_AWAY, "")
                    .exceptionally(gone -> socket)
                    .join();
                throw e;
            } finally {
                stretch = new Stretch(false, link.heard, connections, missed);
            }
            return link.lasted;
        }

        /** Why there is no connection, and what to look at. */
        static String why(Throwable e) {
            if (root(e) instanceof UnresolvedAddressException)
                return "its host has no address; look at the name, and at the DNS";
            if (e instanceof TimeoutException)
                return "its answer is not there in " + OPENING + " s; look at a firewall, and "
                    + "whether it speaks WebSocket";
            if (e instanceof ConnectException)
                return "nobody accepts the connection; look at the address, and whether the server runs";
            String text = text(e);
            if (e instanceof WebSocketHandshakeException)
                return text + "; look at the path, and at whom the server admits";
            if (e instanceof SSLException)
                return text + "; look at the certificate, and whether it is wss://";
            return text + "; look at the port, for a firewall, and whether it is ws:// or wss://";
        }

        static String text(Throwable e) {
            return EventLog.quote("" + root(e).getMessage()); // which may be null
        }

        static Throwable root(Throwable e) {
            Throwable cause = e.getCause();
            return cause == null ? e : root(cause);
        }

        /** A connection. The JDK calls one of its methods after the other. */
        class Link implements WebSocket.Listener {
            final StringBuilder text = new StringBuilder();
            final BlockingQueue<String> ends = new LinkedBlockingQueue<>(); // why it is over
            private boolean lasted; // for ANSWER at least
            private volatile int signs; // of life
            private volatile Instant heard; // the last of them
            private volatile boolean asked = true; // for more, as onOpen does
            private volatile boolean hears; // a pong has come
            private boolean binary; // messages come, which is told once

            @Override
            public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
                asked = false; // while the lanes are behind: the silence is ours then
                int room = Limits.MAX_MESSAGE + 1 - text.length(); // by one more it is known to be too long
                text.append(part, 0, Math.min(room, part.length()));
                if (last)
                    end();
                return goOn(socket);
            }

            /** Publishes a text, and empties it. */
            void end() {
                byte[] message = text.toString().getBytes(UTF_8);
                text.setLength(0);
                try {
                    if (!draining)
                        intake.take(message);
                } catch (RuntimeException | Error e) { // ends nothing
                    events.fault(e);
                }
            }

            @Override
            public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean last) {
                if (!binary)
                    events.add(Event.FEED, "binary", name() + " sends binary messages; only texts go out");
                binary = true;
                return goOn(socket);
            }

            @Override
            public CompletionStage<?> onPing(WebSocket socket, ByteBuffer message) {
                return goOn(socket); // the JDK answers
            }

            @Override
            public CompletionStage<?> onPong(WebSocket socket, ByteBuffer message) {
                hears = true;
                return goOn(socket);
            }

            CompletionStage<?> goOn(WebSocket socket) {
                heard = clock.instant();
                signs++;
                asked = true;
                socket.request(1);
                return null; // what it gave can be used again
            }

            @Override
            public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
                heard = clock.instant();
                ends.add("the server closed it with " + code + ' ' + EventLog.quote(reason));
                return null; // and the JDK answers
            }

            @Override
            public void onError(WebSocket socket, Throwable e) {
                ends.add(text(e));
            }

            /** Waits until it is over, with pings to see that: a text close behind the handshake, or before
             * an end without a close frame, can leave the JDK deaf. So the first pong is asked for more
             * often. Pings are counted, not time: while this process itself stood still the server was not
             * silent.
             * @return why it is over */
            String hold(WebSocket socket) throws InterruptedException {
                heard = clock.instant(); // the handshake was one, and the time before it is missed already
                Duration time = second.multipliedBy(ANSWER);
                int unanswered = 0;
                while (unanswered < 2) {
                    int before = signs;
                    socket.sendPing(ByteBuffer.allocate(0));
                    String end = ends.poll(time.toNanos(), TimeUnit.NANOSECONDS);
                    if (end != null) return end;
                    boolean silent = asked && signs == before;
                    unanswered = silent ? unanswered + 1 : 0;
                    if (!lasted && !peer.answered.getAsBoolean())
                        events.add(Event.FEED, "unacknowledged", name() + " does not acknowledge a "
                            + "subscription as a Nano node does; its texts are broadcast as they are");
                    lasted = true;
                    if (hears)
                        time = ping;
                }
                socket.abort();
                return "it left two pings unanswered (--ping)";
            }
        }
    }

    // ---- 22. Redis ----------------------------------------------------------------------------------------
    // Several servers share used tokens and the stream by Redis or Valkey, in its protocol RESP2. A token is
    // claimed there. A message is given its time and its number there, and goes to all servers by a channel,
    // this one too: so both are the same everywhere, and so is the order.
    //
    // Off unless: --redis is given.
    // Touches: two connections to Redis, with a virtual thread for each, and the JDK's thread for delays.
    // Implements: UsedTokens (8), Broadcast (13).
    // When it fails: tokens and messages are refused with 503, /healthz says so, and the log says why.
    // Listeners stay.

    /** How long Redis is waited for, in ms.
     * @param timeout to connect, and for an answer
     * @param pause until the next attempt to connect; then twice as long each time
     * @param mostPause so long at most; a connection that lasts longer begins anew with pause
     * @param probe silence of the channel until a PING; as long again, and it is dead
     * @param report until it is told again how far this server is */
    record RedisTimes(int timeout, int pause, int mostPause, int probe, int report) {
        static final RedisTimes USUAL = new RedisTimes(1_000, 100, 5_000, 5_000, 1_000);
    }

    /** Where Redis is.
     * @param auth the words of AUTH, which stands alone if there is no password */
    record RedisAddress(URI uri, int port, List<String> auth, RedisTimes times) {
        static final int PORT = 6379;

        /** @param environment has the password if the URI has none */
        static RedisAddress of(URI uri, Map<String, String> environment) {
            String info = Objects.requireNonNullElse(uri.getUserInfo(), "");
            String[] words = ("AUTH:" + info).split(":", 3); // user and password can be empty, this missing
            List<String> auth = new ArrayList<>(List.of(words));
            if (auth.size() == 2 || auth.getLast().isEmpty())
                auth.add(environment.getOrDefault("NANO_STREAM_REDIS_PASSWORD", ""));
            auth.removeIf(String::isEmpty);
            int port = uri.getPort() < 0 ? PORT : uri.getPort();
            return new RedisAddress(uri, port, auth, RedisTimes.USUAL);
        }

        /** Connects a socket. @return that, or the one of TLS over it */
        Socket connect(Socket tcp) throws IOException {
            InetSocketAddress address = new InetSocketAddress(uri.getHost(), port);
            if (address.isUnresolved()) throw new IOException("its host is unknown");
            tcp.connect(address, times.timeout);
            tcp.setTcpNoDelay(true);
            tcp.setSoTimeout(times.timeout);
            return uri.getScheme().equals("rediss") ? overTls(tcp) : tcp;
        }

        /** TLS, by the certificates that the JDK trusts. They have to be for the host. */
        Socket overTls(Socket tcp) throws IOException {
            SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
            SSLSocket socket = (SSLSocket) factory.createSocket(tcp, uri.getHost(), port, true);
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            try {
                socket.startHandshake();
            } catch (SSLException | SocketTimeoutException e) { // it may repeat what a certificate says
                throw new IOException("TLS failed: " + EventLog.quote(String.valueOf(e.getMessage())));
            }
            return socket;
        }

        @Override
        public String toString() { return uri.getHost() + ':' + port; }
    }

    /** An error that Redis answered. Its message is made for a log line. */
    static class RedisException extends IOException {
        static final String CLUSTER = ": Redis Cluster is not supported: name a single Redis";
        static final String REPLICA = ": it is a replica: name the primary";
        static final Map<String, String> ADVICE = Map.of(
            "NOAUTH", ": it wants a password, in the URL or in NANO_STREAM_REDIS_PASSWORD",
            "WRONGPASS", ": the user or the password is wrong",
            "NOPERM", ": the README lists what the user has to be allowed",
            "DENIED", ": give it a password, as the README has it",
            "MOVED", CLUSTER,
            "CROSSSLOT", CLUSTER,
            "CLUSTERDOWN", CLUSTER,
            "LOADING", ": it reads its data, and is ready by itself",
            "READONLY", REPLICA,
            "OOM", ": its memory is full (maxmemory)");

        /** Behind a comma, Redis repeats what it was sent, a password as well: that is not told. */
        RedisException(String text) {
            super(EventLog.quote(text.replaceFirst(",.*", "")) + advice(text));
        }

        static String advice(String text) {
            // Up to Redis 7.0 the lack of a right has no code of its own in a script.
            boolean inScript = text.startsWith("ERR The user executing the script can't ");
            String code = inScript ? "NOPERM" : text.split(" ", 2)[0];
            return ADVICE.getOrDefault(code, "");
        }

        /** Whether what it is connected to is no primary any more. */
        boolean isReplica() { return getMessage().endsWith(REPLICA); }
    }

    /** One connection to Redis. One thread at a time writes, and one reads. */
    static class RespConnection implements Closeable {
        static final int MAX_LINE = 4096;   // bytes; some errors are whole instructions
        static final int MAX_BULK = 4 * Limits.MAX_MESSAGE; // bytes: what a message may be translated to
        static final int MAX_ELEMENTS = 3;  // of an array: what it is, its channel, a message
        final Socket tcp = new Socket();    // there from the start: see close
        volatile IOException reason;        // why it was given up, or null
        InputStream in;
        OutputStream out;

        void open(RedisAddress address) throws IOException {
            Socket socket = address.connect(tcp);
            in = new BufferedInputStream(socket.getInputStream());
            out = new BufferedOutputStream(socket.getOutputStream());
            if (address.auth.size() > 1)
                expect("OK", address.auth.toArray());
            expect("PONG", "PING");
        }

        void expect(String expected, Object... words) throws IOException {
            Object reply = ask(words);
            if (reply instanceof RedisException error) throw error;
            if (!expected.equals(reply)) throw noRedis();
        }

        /** A request and its reply, where no other is under way. */
        Object ask(Object... words) throws IOException {
            send(words);
            return read();
        }

        void send(Object... words) throws IOException {
            write(words);
            out.flush();
        }

        /** Writes a request, an array of bulk strings. It is not flushed. */
        void write(Object... words) throws IOException {
            writeText("*" + words.length + "\r\n");
            for (Object word : words) {
                byte[] bytes = bytes(word);
                writeText("$" + bytes.length + "\r\n");
                out.write(bytes);
                writeText("\r\n");
            }
        }

        static byte[] bytes(Object word) {
            return word instanceof byte[] bytes ? bytes : word.toString().getBytes(UTF_8);
        }

        void writeText(String text) throws IOException { out.write(text.getBytes(ISO_8859_1)); }

        /** Waits for a reply to begin. @return whether none did in time */
        boolean isSilent() throws IOException {
            in.mark(1);
            try {
                in.read();
            } catch (SocketTimeoutException e) {
                return true;
            }
            in.reset();
            return false;
        }

        /** A reply: a String, a Long, a byte[] or null, a List of these, or a RedisException. */
        Object read() throws IOException {
            int type = next();
            if (type != '*') return element(type);
            long size = number(MAX_ELEMENTS);
            List<Object> elements = new ArrayList<>();
            while (elements.size() < size)
                elements.add(element(next()));
            return elements;
        }

        Object element(int type) throws IOException {
            return switch (type) {
                case '+' -> line();
                case '-' -> new RedisException(line());
                case ':' -> number(Long.MAX_VALUE);
                case '$' -> bulk((int) number(MAX_BULK));
                default -> throw noRedis();
            };
        }

        byte[] bulk(int length) throws IOException {
            if (length < 0) return null;
            byte[] bytes = in.readNBytes(length);
            if (!line().isEmpty()) throw noRedis();
            return bytes;
        }

        /** A number, or -1 for what is not there. */
        long number(long most) throws IOException {
            String line = line();
            if (!line.matches("-1|[0-9]{1,18}")) throw noRedis();
            long number = Long.parseLong(line);
            if (number > most)
                throw new IOException("its reply is too large: " + number + ", not " + most);
            return number;
        }

        /** The rest of a line, without its CRLF. */
        String line() throws IOException {
            StringBuilder line = new StringBuilder();
            int b = next();
            while (b != '\r' && b != '\n' && line.length() < MAX_LINE) {
                line.append((char) b);
                b = next();
            }
            if (b != '\r' || next() != '\n') throw noRedis();
            return line.toString();
        }

        int next() throws IOException {
            int b = in.read();
            if (b < 0) throw new EOFException("it closed the connection");
            return b;
        }

        static IOException noRedis() { return new IOException("what answers is no Redis"); }

        void giveUp(IOException why) {
            reason = why;
            close();
        }

        /** Ends what others do with it, also what connects. TLS is not closed: that would wait for a write
         * that blocks. */
        @Override
        public void close() { Http.closeQuietly(tcp); }
    }

    /** Keeps a connection to Redis up, for as long as the server runs. */
    abstract static class RedisLink {
        static final IOException LATE = new IOException("no answer within a second"); // see RedisTimes.USUAL
        static final IOException LOST = new IOException("it is not connected");
        final RedisAddress address;
        final String name; // for the log
        final EventLog events;
        final Thread thread = Thread.ofVirtual().name("redis").unstarted(this::run);
        private volatile boolean closed;
        // Changed by thread:
        volatile boolean isUp;
        volatile RespConnection last = new RespConnection(); // any other may end it
        // thread only:
        private int pause;          // ms
        private long since;         // ns: when it went up or down; 0 until it was up
        String trouble = "";

        /** @param what it is for */
        RedisLink(RedisAddress address, String what, EventLog events) {
            this.address = address;
            this.events = events;
            name = "Redis " + address + " for " + what;
            pause = address.times.pause;
        }

        /** Serves a connection until it fails, and says when it is up. */
        abstract void serve(RespConnection connection) throws IOException;

        void run() {
            while (!closed) {
                RespConnection connection = new RespConnection();
                last = connection;
                try (connection) {
                    if (closed) return; // asked after last was set: see close
                    connection.open(address);
                    serve(connection);
                } catch (IOException e) {
                    IOException why = e instanceof SocketTimeoutException ? LATE : e;
                    if (connection.reason != null)
                        why = connection.reason;
                    failed(String.valueOf(why.getMessage())); // it may be null
                }
                // not all at once
                LockSupport.parkNanos(1_000_000L * ThreadLocalRandom.current().nextInt(pause / 2, pause));
                pause = Math.min(2 * pause, address.times.mostPause);
            }
        }

        void up() {
            long seconds = (System.nanoTime() - since) / 1_000_000_000;
            String again = since == 0 ? "" : " again, after " + seconds + " s";
            since = System.nanoTime();
            isUp = true;
            events.add(Event.SHARED, name + " is up" + again);
        }

        /** Logs each thing that goes wrong once, not each attempt. */
        void failed(String why) {
            boolean told = !isUp && trouble.equals(why);
            if (isUp) {
                long lasted = (System.nanoTime() - since) / 1_000_000; // ms
                if (lasted > address.times.mostPause)
                    pause = address.times.pause;
                since = System.nanoTime();
            }
            isUp = false;
            trouble = why;
            if (!told && !closed)
                events.add(Event.SHARED, name + " is down, and is tried again: " + why);
        }

        void close() {
            closed = true;
            last.close();
            LockSupport.unpark(thread);
        }
    }

    /** The requests of many threads, which go out one behind the other, and are answered in that order. */
    static class RedisRequests extends RedisLink {
        static final long REMEMBERED = 10_000_000_000L; // ns for which it is not well after an error
        final ReentrantLock writing = new ReentrantLock();
        /** Added to under writing. Few: when the oldest is late, the connection is given up. */
        final Queue<CompletableFuture<Object>> pending = new ConcurrentLinkedQueue<>();
        private RespConnection open; // under writing; or null
        private volatile long wellFrom = System.nanoTime(); // so far: see REMEMBERED
        RedisLink channel; // set before the start: it has to be subscribed where messages are published

        RedisRequests(RedisAddress address, EventLog events) {
            super(address, "requests", events);
        }

        /** Asks. @return the reply, which is no error */
        Object ask(Object... words) throws Refusal {
            Object reply = send(words).join();
            if (reply instanceof RedisException error && !error.isReplica()) // a replica is given up
                wellFrom = System.nanoTime() + REMEMBERED;
            if (reply instanceof IOException e) throw refusal(e.getMessage());
            return reply;
        }

        static Refusal refusal(String why) { return new Refusal(Rejection.NOT_SHARED, "Redis: " + why); }

        /** Sends a request. @return the reply, in time, or an IOException */
        CompletableFuture<Object> send(Object... words) {
            CompletableFuture<Object> reply = new CompletableFuture<>();
            reply.completeOnTimeout(LATE, address.times.timeout, TimeUnit.MILLISECONDS)
                .thenAccept(this::giveUpIfLate);
            writing.lock(); // not for long: a write that blocks ends when its own reply is late
            try {
                if (open == null) throw LOST;
                pending.add(reply);
                open.write(words);
                if (!writing.hasQueuedThreads()) // else the next one flushes
                    open.out.flush();
            } catch (IOException e) {
                reply.complete(LOST);
            } finally {
                writing.unlock();
            }
            return reply;
        }

        void giveUpIfLate(Object reply) {
            if (reply == LATE)
                last.giveUp(LATE);
        }

        /** A reply that is none to this request: those behind it may be others' as well. */
        Refusal unexpected() {
            last.giveUp(RespConnection.noRedis());
            return refusal("an unexpected reply");
        }

        @Override
        void serve(RespConnection connection) throws IOException {
            if (connection.ask("INFO") instanceof byte[] info)
                judge(new String(info, ISO_8859_1));
            if (trouble.endsWith(RedisException.REPLICA)) // another one took over, maybe, and the first lives
                channel.last.giveUp(LOST);
            switchTo(connection);
            up();
            try {
                answer(connection);
            } finally {
                connection.close(); // first: a write that blocks holds the lock
                switchTo(null);
            }
        }

        void switchTo(RespConnection connection) {
            writing.lock();
            open = connection;
            pending.forEach(reply -> reply.complete(LOST));
            pending.clear();
            writing.unlock();
        }

        void answer(RespConnection connection) throws IOException {
            while (true) {
                if (connection.isSilent()) {
                    send("PING");
                    continue;
                }
                Object reply = connection.read();
                CompletableFuture<Object> oldest = pending.poll();
                if (oldest == null) throw RespConnection.noRedis();
                oldest.complete(reply);
                if (reply instanceof RedisException error && error.isReplica()) throw error;
            }
        }

        /** Refuses a Redis that cannot do, and warns of one that may forget a used token. One that does not
         * say how it is set is believed. */
        void judge(String info) throws IOException {
            if (info.contains("redis_mode:cluster"))
                throw new RedisException("MOVED");
            if (info.contains("role:slave"))
                throw new RedisException("READONLY");
            if (info.contains("aof_enabled:0"))
                events.add(Event.WARNING, name + " forgets used tokens when it ends: set appendonly yes");
            if (info.matches("(?s).*maxmemory_policy:(?!noeviction).*"))
                events.add(Event.WARNING, name + " forgets used tokens when its memory is full: set "
                    + "maxmemory-policy noeviction");
        }
    }

    /** What the servers share. */
    static class Redis implements UsedTokens, Broadcast {
        /** ms that a used token is kept longer: the clocks of the servers may differ. */
        static final int MARGIN = 60_000;
        static final long MAX_BEHIND = 4 * 1024 * 1024; // bytes that a server may be behind; Redis keeps them
        static final int PAUSE = 20;                    // ms until a message is tried again that waits for it
        /** Reads a number. What is none is 0: else it would stand in the way for ever. */
        static final String COUNT = """
            local function count(text)
              local n = tonumber(text)
              return n and n >= 0 and n <= 2^52 and n or 0
            end
            """;
        /** The number of the last message. */
        static final String NUMBER = COUNT + """
            return count(redis.call('HMGET', KEYS[1], 'number')[1])
            """;
        /** Publishes a message, unless a server is too far behind: see REPORT. Its time is that of Redis, and
         * increases, also where Redis does not know any more what this server has got. */
        static final String PUBLISH = COUNT + """
            local state, servers = KEYS[1], KEYS[2]
            local channel, before, behind, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
            local time = redis.call('TIME')
            local last = redis.call('HMGET', state, 'seen', 'number', 'bytes')
            local known = math.max(count(last[1]), count(ARGV[5]))
            local seen = math.max(time[1] * 1000000 + time[2], known + 1)
            local number = count(last[2]) + 1
            local bytes = count(last[3]) + #before + #behind + 100 -- what Redis keeps beside them
            local all = redis.call('HGETALL', servers)
            for i = 1, #all, 2 do
              local at, when = string.match(all[i + 1], '^(%d+) (%d+)$')
              if not at or math.abs(time[1] - when) > 5 then
                redis.call('HDEL', servers, all[i]) -- it has gone, or the clock was set back: it reports anew
              elseif bytes - at > most then
                return 0
              end
            end
            local text = string.format('%.0f', seen)
            redis.call('HSET', state, 'seen', text,
              'number', string.format('%.0f', number), 'bytes', string.format('%.0f', bytes))
            local message = before
            if behind ~= '' then
              message = before .. string.sub(text, 1, -7) .. '.' .. string.sub(text, -6) .. behind
            end
            redis.call('PUBLISH', channel, string.format('%s %.0f %.0f ', text, number, bytes) .. message)
            return number
            """;
        /** Tells how far a server is, and when it was there. */
        static final String REPORT = """
            local time = redis.call('TIME')
            redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. time[1])
            redis.call('EXPIRE', KEYS[1], 60)
            """;
        final String prefix;
        final String server = Long.toHexString(new SecureRandom().nextLong());
        final UsedTokens own;
        final Duration leeway;
        final Broadcaster broadcaster;
        final RedisRequests requests;
        final Channel channel;

        /** @param own those that were used at this server */
        Redis(
                RedisAddress address,
                UsedTokens own,
                Duration leeway,
                Broadcaster broadcaster,
                EventLog events) {
            this.own = own;
            this.leeway = leeway;
            this.broadcaster = broadcaster;
            prefix = address.uri.getPath().replaceFirst("^/?$", "/nano-stream").substring(1);
            requests = new RedisRequests(address, events);
            channel = new Channel(address, events);
            requests.channel = channel;
        }

        void start() {
            requests.thread.start();
            channel.thread.start();
        }

        /** The others do not wait for this server any more, until it tells anew how far it is. */
        CompletableFuture<Object> takeBack() { return requests.send("HDEL", prefix + ":servers", server); }

        @Override
        public void claim(Claims claims) throws Refusal {
            String mac = HexFormat.of().formatHex(claims.mac().getBytes(ISO_8859_1));
            // So long, and not until then: the time of Redis is asked for nothing that decides who gets in.
            double left = claims.expires() - Jwt.unixTime(broadcaster.clock.instant()); // seconds
            long millis = (long) (1000 * left) + leeway.toMillis() + MARGIN;
            Object reply = requests.ask("SET", prefix + ":used:" + mac, 1, "NX", "PX", millis);
            if (reply == null) throw new Refusal(Rejection.TOKEN_USED);
            if (!reply.equals("OK")) throw requests.unexpected();
            own.claim(claims); // what was used here stays used, even if Redis has forgotten it
        }

        /** Publishes to all servers. It returns when this one has broadcast it, or the channel is down. */
        @Override
        public boolean publish(Message message) throws Refusal {
            byte[] before;
            String behind = "";
            if (message instanceof SeenMessage object) {
                before = object.before();
                behind = object.behind().get();
            } else {
                before = message.at(0);
            }
            long end = System.nanoTime() + requests.address.times.timeout * 1_000_000L;
            long number = publish(before, behind);
            while (number == 0) {
                if (System.nanoTime() > end)
                    throw RedisRequests.refusal("a server is " + MAX_BEHIND + " bytes behind");
                LockSupport.parkNanos(PAUSE * 1_000_000L);
                number = publish(before, behind);
            }
            while (channel.isUp && channel.number < number && System.nanoTime() < end)
                LockSupport.parkNanos(100_000); // 0.1 ms
            return true;
        }

        /** @return the message's number, or 0 if a server is too far behind */
        long publish(byte[] before, String behind) throws Refusal {
            Object reply = requests.ask(
                "EVAL", PUBLISH,
                2, prefix + ":state", prefix + ":servers",
                prefix + ":feed", before, behind, MAX_BEHIND, channel.seen);
            if (reply instanceof Long number) return number;
            throw requests.unexpected();
        }

        String ailment() {
            if (!requests.isUp || !channel.isUp) return "Redis is down";
            if (System.nanoTime() < requests.wellFrom) return "Redis refuses requests";
            return null;
        }

        /** For the metrics. */
        String figures() {
            return """
                # HELP nanostream_redis_up 1 while the connection is up.
                # TYPE nanostream_redis_up gauge
                nanostream_redis_up{connection="requests"} %s
                nanostream_redis_up{connection="channel"} %s
                # HELP nanostream_redis_messages_total Messages that came by the channel.
                # TYPE nanostream_redis_messages_total counter
                nanostream_redis_messages_total %s
                # HELP nanostream_redis_lost_messages_total Messages that did not come by the channel.
                # TYPE nanostream_redis_lost_messages_total counter
                nanostream_redis_lost_messages_total %s
                """.formatted(
                    requests.isUp ? 1 : 0,
                    channel.isUp ? 1 : 0,
                    channel.messages.sum(),
                    channel.lost.sum());
        }

        void close() {
            channel.close(); // first: it reports
            takeBack().join();
            requests.close();
        }

        /** The channel by which messages come to every server. */
        class Channel extends RedisLink {
            /** When it was seen, its number, the bytes of all messages up to its end, and the message. */
            static final Pattern MESSAGE =
                Pattern.compile("([0-9]{1,16}) ([0-9]{1,16}) ([0-9]{1,16}) (.+)", Pattern.DOTALL);
            static final int REPORT_BYTES = 256 * 1024;     // bytes until it is told how far this server is
            final LongAdder messages = new LongAdder();
            final LongAdder lost = new LongAdder();
            volatile long number = -1; // of the last message that was broadcast; -1: none is known
            volatile long seen;   // when it was seen
            // thread only:
            private long known = -1;    // the number when it subscribed; -1: not known
            private long reported;      // bytes
            private long reportedAt;    // ns

            Channel(RedisAddress address, EventLog events) { super(address, "the channel", events); }

            @Override
            void serve(RespConnection connection) throws IOException {
                if (number < 0)
                    number = known; // nothing came since then, or was lost
                Object reply = connection.ask("EVAL", NUMBER, 1, prefix + ":state");
                known = reply instanceof Long last ? last : number; // it may be forbidden to ask for it
                if (number >= 0) {
                    count(known + 1);
                    number = known;
                }
                connection.tcp.setSoTimeout(address.times.probe);
                connection.send("SUBSCRIBE", prefix + ":feed");
                boolean probed = false;
                while (true) {
                    boolean silent = connection.isSilent();
                    if (silent && probed) throw LATE;
                    if (silent)
                        connection.send("PING"); // a subscriber is answered by an array
                    else
                        take(connection.read());
                    probed = silent;
                }
            }

            /** Takes what comes: that it is subscribed, a message, or the answer to a PING. */
            void take(Object reply) throws IOException {
                if (reply instanceof IOException e) throw e;
                if (!(reply instanceof List<?> elements)) throw RespConnection.noRedis();
                if (elements.size() < 3) return;
                if (elements.getLast() instanceof byte[] payload) {
                    deliver(payload);
                    return;
                }
                takeBack(); // what it has missed does not come any more: nobody shall wait for that
                up();
            }

            void deliver(byte[] payload) {
                Matcher parts = MESSAGE.matcher(text(payload));
                if (!parts.matches()) { // whoever reaches Redis can publish anything
                    events.add(Event.SHARED, name + " has brought what no server published; it is left out");
                    return;
                }
                long next = Long.parseLong(parts.group(2));
                int head = parts.start(4); // of digits and blanks: a character is a byte
                byte[] message = Arrays.copyOfRange(payload, head, payload.length);
                count(next);
                seen = Long.parseLong(parts.group(1));
                broadcaster.publish(when -> message, seen);
                messages.increment();
                number = next;
                report(Long.parseLong(parts.group(3)));
            }

            /** What is no text becomes none. */
            static String text(byte[] payload) {
                try {
                    return Http.utf8(payload);
                } catch (CharacterCodingException e) {
                    return "";
                }
            }

            /** Numbers are without a gap, unless something was lost. */
            void count(long next) {
                long missing = number < 0 ? 0 : next - number - 1;
                if (missing > 0) {
                    lost.add(missing);
                    broadcaster.skip();
                    events.add(Event.SHARED, name + ": " + missing + " messages were lost");
                }
                if (missing < 0)
                    events.add(Event.WARNING,
                        name + " counts anew: Redis has lost its data, used tokens too");
            }

            void report(long bytes) {
                long now = System.nanoTime();
                long since = (now - reportedAt) / 1_000_000; // ms
                if (bytes - reported < REPORT_BYTES && since < address.times.report) return;
                requests.send("EVAL", REPORT, 1, prefix + ":servers", server, bytes);
                reported = bytes;
                reportedAt = now;
            }
        }
    }

    // ---- 23. Issuer (RFC 7515, 7519) ----------------------------------------------------------------------
    // Makes secrets and tokens, reads secrets, and has what --audience, --issuer and --issued-after-start ask
    // of a token.
    //
    // Off unless: a secret is given, by whatever option; Terms, unless one of those three is given as well.
    // Touches: the system's source of random numbers, the file of --secret-file.
    // Implements: Conditions (7); Settings, Server and main ask the rest.
    // When it fails: the command ends, and a line says why. A token that does not meet the terms gets 401.

    /** What the options ask of a token (RFC 7519 §4.1) beside exp and nbf.
     * @param claims aud and iss, where a token has to have them
     * @param start after which it has to be issued, or null */
    record Terms(
            Map<String, String> claims,
            Instant start,
            InstantSource clock,
            Duration leeway) implements Conditions {
        @Override
        public void check(Map<String, Json> payload) throws Refusal {
            String audience = claims.get("aud");
            if (audience == null)
                Jwt.checkNoAudience(payload);
            else if (!isFor(audience, payload.get("aud")))
                throw Jwt.invalid("it is not for the --audience (aud)");
            String issuer = claims.get("iss");
            boolean isOurs = new Json.Str(issuer).equals(payload.get("iss")); // §4.1.1: case-sensitive
            if (issuer != null && !isOurs)
                throw Jwt.invalid("it is not of the --issuer (iss)");
            if (start != null)
                checkIssued(payload);
        }

        /** §4.1.3: "an array of case-sensitive strings", or one such string. */
        static boolean isFor(String audience, Json aud) {
            if (aud instanceof Json.Arr(var elements)) {
                boolean strings = elements.stream().allMatch(Json.Str.class::isInstance);
                return strings && elements.contains(new Json.Str(audience));
            }
            return new Json.Str(audience).equals(aud);
        }

        /** No token works twice by this, although a process takes with it which ones were used. An earlier
         * process admitted none that was issued after the time it was judged, plus the leeway. This one
         * admits none that was issued before the start, plus the leeway. The start is read when this process
         * has the port, which the earlier one had until it had judged the last token that it admitted. So
         * the earlier bound is not above this one, and not after rounding either, since both are rounded
         * alike; and a token at the bound itself is refused here.
         *
         * A token with an iat in whole seconds counts from the beginning of its second. One that is signed in
         * the second of the start is refused.
         *
         * It takes the system's clock, not set back from one process to the next; both with this option, the
         * later one with no smaller leeway. Two servers that run at the same time, on two ports, each admit
         * a token once. */
        void checkIssued(Map<String, Json> payload) throws Refusal {
            if (!payload.containsKey("iat"))
                throw Jwt.invalid("it has no iat, which --issued-after-start needs");
            double issued = Jwt.numericDate(payload, "iat"); // §4.1.6
            double skew = leeway.toMillis() / 1e3;
            // Else it would wait for the next process, and work there again.
            double latest = Jwt.unixTime(clock.instant()) + skew;
            if (issued > latest)
                throw Jwt.invalid("issued in the future (iat)");
            double earliest = Jwt.unixTime(start) + skew;
            if (issued <= earliest)
                throw Jwt.invalid("issued before this server's start (iat), or within --leeway of it");
        }
    }

    /** Makes secrets and tokens: for --token, for the link that a bare --secret prints, and for the
     * rehearsal. Reads the file of --secret-file. */
    static class Issuer {
        static final SecureRandom RANDOM = new SecureRandom();

        /** A new token, valid for the time given, and unlike every other by its jti.
         * @param claims more of them, by name */
        static String sign(byte[] secret, Map<String, String> claims, Instant now, Duration valid) {
            long micros = ChronoUnit.MICROS.between(Instant.EPOCH, now);
            BigDecimal iat = BigDecimal.valueOf(micros, 6); // in whole seconds it could be before the start
            BigDecimal exp = BigDecimal.valueOf(now.plus(valid).toEpochMilli(), 3);
            StringBuilder asked = new StringBuilder();
            claims.forEach((name, value) ->
                asked.append("\"" + name + "\":\"" + escape(value) + "\","));
            String header = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
            String payload = "{" + asked
                + "\"iat\":" + iat + ",\"exp\":" + exp + ",\"jti\":\"" + random(16) + "\"}";
            String signingInput = segment(header) + '.' + segment(payload);
            byte[] mac = Jwt.mac(secret, signingInput);
            return signingInput + '.' + encode(mac);
        }

        /** What stands for a text in a JSON string (RFC 8259 §7). */
        static StringBuilder escape(String text) {
            StringBuilder escaped = new StringBuilder();
            for (char c : text.toCharArray()) {
                boolean special = c < ' ' || c == '"' || c == '\\';
                escaped.append(special ? String.format("\\u%04x", (int) c) : c);
            }
            return escaped;
        }

        /** base64url, without padding. */
        static String encode(byte[] bytes) {
            StringBuilder text = new StringBuilder();
            int bits = 0, count = 0; // what is not yet written, and how many bits of it
            for (byte b : bytes) {
                bits = bits << 8 | b & 0xFF;
                count += 8;
                while (count >= 6) {
                    count -= 6;
                    int sextet = bits >> count & 0b11_1111;
                    text.append(Base64Url.ALPHABET.charAt(sextet));
                }
            }
            if (count > 0) {
                int sextet = bits << 6 - count & 0b11_1111;
                text.append(Base64Url.ALPHABET.charAt(sextet));
            }
            return text.toString();
        }

        /** Warns of each secret that is too short. It is used all the same. */
        static void warn(List<byte[]> secrets, EventLog events) {
            for (byte[] secret : secrets)
                if (secret.length < 32)
                    events.add(Event.WARNING, "a secret has " + secret.length + " bytes; HS256 wants 32 or "
                        + "more (RFC 7518, section 3.2), and --secret alone makes one");
        }

        /** What is printed of a secret that was just made.
         * @param sign makes a token that is valid for an hour
         * @param listed whether the page's origin is admitted */
        static String introduction(
                String secret,
                Function<byte[], String> sign,
                String page,
                boolean listed) {
            byte[] key = secret.getBytes(UTF_8);
            String link = page + '#' + sign.apply(key);
            String none = "(its origin is not in the list of --origin: open a page of one that is)";
            return """

                secret %s
                token  %s
                page   %s

                NANO_STREAM_SECRET is not set, so this secret is new with every start; it makes tokens.
                Open the page to see the stream. Each token admits one listener, within the hour.
                """.formatted(secret, sign.apply(key), listed ? link : none);
        }

        static String segment(String json) { return encode(json.getBytes(UTF_8)); }

        /** A secret from a file. A byte order mark, and blanks around the line, are not part of it. */
        static String readSecret(String file) throws IOException {
            try (InputStream in = new FileInputStream(file)) {
                String text = Http.utf8(in.readAllBytes()).replaceFirst("^\uFEFF", "");
                String secret = text.lines().findFirst().orElse("").strip();
                if (secret.isEmpty()) throw new IOException(file + ": its first line is empty");
                return secret;
            } catch (CharacterCodingException e) {
                throw new IOException("cannot read " + file + ": it is not UTF-8");
            } catch (IOException e) {
                throw new IOException("cannot read " + e.getMessage()); // which names the file
            }
        }

        /** So many random bytes, as text. A secret wants 32 of them (RFC 7518 §3.2). */
        static String random(int bytes) {
            byte[] random = new byte[bytes];
            RANDOM.nextBytes(random);
            return encode(random);
        }
    }

    // ---- 24. Origins (RFC 6454) ---------------------------------------------------------------------------
    // Which pages may connect. It protects the users of browsers (RFC 6455 §10.2); other clients send what
    // they like, so what keeps them out is the token.
    //
    // Off unless: --origin is given.
    // Touches: nothing.
    // Implements: the question that Handshake (9) asks of an origin.
    // When it fails: a client from a page that is not listed gets 403, and the log says so.

    /** An origin, or what an entry of a list asks of one: a null scheme and ANY_PORT stand for any. */
    record Origin(String scheme, boolean subdomains, String host, int port) {
        static final int ANY_PORT = -1;
        static final Map<String, Integer> PORTS = Map.of("http", 80, "https", 443); // RFC 6454 §4 5.
        static final List<String> OPAQUE = List.of("null", "file://"); // as an app's web view sends them
        static final Pattern FORM = Pattern.compile(
            "(?!wss?:/)(?:([a-z][a-z0-9+.-]*)://)?(\\*\\.(?!\\[))?([a-z0-9_.-]+|\\[[0-9a-f:.]+])"
                + "(?::([0-9]{1,5}))?");

        /** RFC 6454 §7.1: [ scheme "://" ] [ "*." ] host [ ":" port ], or null. No page has ws or wss. */
        static Origin parse(String text) {
            if (OPAQUE.contains(text))
                return new Origin(text, false, "", ANY_PORT);
            Matcher match = FORM.matcher(text.toLowerCase(Locale.ROOT));
            if (!match.matches())
                return null;
            String scheme = match.group(1);
            boolean subdomains = match.group(2) != null;
            String digits = match.group(4);
            int port = PORTS.getOrDefault(String.valueOf(scheme), ANY_PORT); // a Map.of is not asked for null
            if (digits != null)
                port = Integer.parseInt(digits);
            if (port > 65535)
                return null;
            return new Origin(scheme, subdomains, match.group(3), port);
        }

        /** Whether a list admits a client with this Origin field, or null for none. */
        static boolean isAdmitted(List<Origin> allowed, String field) {
            if (field == null)
                return false;
            Origin origin = parse(field);
            // What is no origin has no scheme. "null" (§7.3: one that must not be told) is one of its own.
            if (origin == null || origin.scheme == null || origin.subdomains)
                return false;
            return allowed.stream().anyMatch(entry -> entry.admits(origin));
        }

        /** Whether this entry of a list admits an origin. */
        boolean admits(Origin origin) {
            if (scheme != null && !scheme.equals(origin.scheme))
                return false;
            if (port != ANY_PORT && port != origin.port)
                return false;
            if (subdomains)
                return origin.host.endsWith('.' + host);
            return origin.host.equals(host);
        }
    }

    // ---- 25. Rehearsal ------------------------------------------------------------------------------------
    // Everything that a connection can need is used once before the first one is accepted: classes and files
    // of the JDK take descriptors, and later there may be none left.
    //
    // Off unless: never off, but it is over before the first connection is accepted.
    // Touches: connections of the process to itself, over loopback.
    // Implements: nothing; Server runs it.
    // When it fails: the log says why, and the server starts all the same.

    /** Visitors of all kinds. Each has a connection of this process to itself, says at once all that it has
     * to say, and reads to the end. The audience, two listeners, stays until they have.
     * @param door the one to come, but with a secret, used tokens and a log of its own */
    record Rehearsal(Door door, Acceptor.Handler feed, Supplier<String> token, Visitors visitors) {
        /** How a visitor speaks to the door. */
        interface Visitors {
            /** The socket to speak by: the one that is connected, or one over it. */
            Socket over(Socket socket) throws IOException;
        }

        static final Visitors TCP = socket -> socket;
        static final int TIME = 2_000; // ms, at most, for a visitor
        static final int BACKLOG = 50; // strangers may come to the port as well
        static final String HEAD = " HTTP/1.1\r\nHost: localhost\r\n";
        static final String UPGRADE = HEAD + """
            Connection: Upgrade\r
            Upgrade: websocket\r
            Sec-WebSocket-Version: 13\r
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
            """;
        static final String OFFER =
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        static final String POST = "POST /" + HEAD + """
            Connection: close\r
            Content-Length: 30\r
            \r
            {"block":"{\\"amount\\":\\"1\\"}"}""";
        // Frames of a listener, with the masking key 0, and one that is malformed, since it has no key:
        static final String PING = "\u0089\u0080\0\0\0\0";
        static final String TEXT = "\u0081\u0085\0\0\0\0Hello";
        /** RFC 7692 §7.2.3.1: Hello, compressed. */
        static final String COMPRESSED = "\u00C1\u0087\0\0\0\0\u00F2H\u00CD\u00C9\u00C9\7\0";
        static final String CLOSE = "\u0088\u0082\0\0\0\0\3\u00E8";
        static final String MALFORMED = "\u0088\0";
        /** A message that no TLS handshake has. */
        static final String TLS = "\u0016\3\1\0\4\u0063\0\0\0";

        /** @param feed takes POSTs, and logs into what it is given
         * @param sign makes a token that is signed with a secret */
        static void run(
                Door real,
                Function<EventLog, Acceptor.Handler> feed,
                Function<byte[], String> sign,
                Visitors visitors) {
            PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
            try (EventLog silent = new EventLog(nowhere, real.clock)) {
                of(real, feed.apply(silent), sign, visitors, silent).run();
            } catch (IOException e) {
                real.events.add(Event.WARNING, "the rehearsal failed (" + e.getMessage()
                    + "); the server works all the same");
            }
        }

        static Rehearsal of(
                Door real,
                Acceptor.Handler feed,
                Function<byte[], String> sign,
                Visitors visitors,
                EventLog silent) {
            byte[] secret = new byte[32];
            new SecureRandom().nextBytes(secret);
            Handshake original = real.handshake;
            boolean admitsAll = original.secrets.isEmpty();
            List<byte[]> secrets = admitsAll ? List.of() : List.of(secret);
            Predicate<String> origins = origin -> {
                original.origins.test("https://localhost"); // used as for a page, whatever it says:
                return true; // a list would turn the visitors away
            };
            Handshake handshake = new Handshake(
                origins,
                secrets,
                original.conditions,
                original.leeway,
                original.deflate);
            UsedTokens usedTokens = new UsedTokenTable(real.clock, original.leeway);
            Door door = new Door(
                real.acceptor,
                real.transport,
                real.clients,
                handshake,
                real.history,
                usedTokens,
                real.broadcaster,
                real.routes,
                Integer.MAX_VALUE,
                real.clock,
                silent,
                new AtomicInteger(),
                new AtomicBoolean());
            Supplier<String> token = () -> admitsAll ? "" : "&t=" + sign.apply(secret);
            return new Rehearsal(door, feed, token, visitors);
        }

        void run() throws IOException {
            Thread.startVirtualThread(Thread::yield); // with nothing else to run: JDK 21 has a class for it
            try (ServerSocket loop = new ServerSocket(0, BACKLOG, InetAddress.getLoopbackAddress())) {
                loop.setSoTimeout(TIME);
                List<Socket> audience = List.of(
                    enter(loop, listener("", "", "")),
                    enter(loop, listener("", OFFER, "")));
                try {
                    play(loop);
                    writeInVain(loop);
                    audience.getFirst().setSoLinger(true, 0); // it goes by a reset, the other one in order
                } finally {
                    audience.forEach(Http::closeQuietly);
                }
            }
            long end = System.nanoTime() + TIME * 1_000_000L;
            while (isAnybodyLeft() && System.nanoTime() < end)
                LockSupport.parkNanos(1_000_000);
        }

        /** A connection is open until it is a listener, which has got its place before: one of the two shows
         * it, if they are asked in this order. */
        boolean isAnybodyLeft() {
            return !door.acceptor.open().isEmpty() || door.places.get() > 0;
        }

        void play(ServerSocket loop) throws IOException {
            read(enter(loop, feed, TCP, POST)); // first: there are visitors that ask for what was before
            List<Socket> visitors = List.of(
                enter(loop, "GET /" + HEAD + "\r\n"),
                enter(loop, "GET /healthz" + HEAD + "\r\n"),
                enter(loop, listener("last=1", OFFER, PING + COMPRESSED + CLOSE)),
                enter(loop, listener("since=0.5", "", PING + TEXT + MALFORMED)),
                enter(loop, "GET /?t=not.a.token" + UPGRADE + "\r\n" + CLOSE),
                enter(loop, door::receive, TCP, "GET /" + HEAD + "\r\n"), // also where TLS is expected
                enter(loop, door::receive, TCP, TLS),
                enter(loop, feed, TCP, "GET /metrics" + HEAD + "\r\n"),
                enter(loop, feed, TCP, POST.replace('{', '-'))); // as long, and any text
            visitors.forEach(Rehearsal::read);
            door.broadcaster.listeners().forEach(door.broadcaster.watchdog::watch);
            door.broadcaster.look();
        }

        String listener(String query, String fields, String frames) {
            return "GET /?" + query + token.get() + UPGRADE + fields + "\r\n" + frames;
        }

        /** A visitor of the door. */
        Socket enter(ServerSocket loop, String text) throws IOException {
            return enter(loop, door::receive, visitors, text);
        }

        /** A new connection, whose other end is handled as if it had been accepted. */
        Socket enter(ServerSocket loop, Acceptor.Handler handler, Visitors by, String text)
                throws IOException {
            Socket visitor = new Socket();
            visitor.setSoTimeout(TIME);
            visitor.connect(loop.getLocalSocketAddress(), TIME);
            SocketAddress own = visitor.getLocalSocketAddress();
            Socket socket = loop.accept();
            while (!socket.getRemoteSocketAddress().equals(own)) {
                Http.closeQuietly(socket); // a stranger: this door does not ask for a real token
                socket = loop.accept();
            }
            door.acceptor.begin(socket, handler);
            Socket spoken = by.over(visitor);
            spoken.getOutputStream().write(text.getBytes(ISO_8859_1));
            return spoken;
        }

        /** Writes to a connection that its peer has reset. */
        static void writeInVain(ServerSocket loop) {
            try (Socket visitor = new Socket(loop.getInetAddress(), loop.getLocalPort())) {
                Socket gone = loop.accept();
                gone.setSoLinger(true, 0);
                gone.close();
                visitor.getOutputStream().write(0);
            } catch (IOException e) { // it has to fail
            }
        }

        static void read(Socket visitor) {
            try (visitor) {
                visitor.getInputStream().readAllBytes();
            } catch (IOException e) { // it is over
            }
        }
    }

    // ---- 26. Options --------------------------------------------------------------------------------------
    // The words of a command line, and what is wrong with them, in one line.
    //
    // Off unless: never off, but it is over before anything else begins.
    // Touches: nothing.
    // Implements: nothing; Settings reads by it.
    // When it fails: the process ends with status 2, and the line says how it would be right.

    /** A command line that is wrong: one line that says what, and how it would be right. Exit status 2. */
    static class UsageException extends Exception {
        UsageException(String message) { super(message, null, false, false); }
    }

    /** An option and its value, or null for one that stands alone. */
    record Option(String name, String value) {
        /** Those that take no value. */
        static final Set<String> FLAGS = Set.of("no-deflate", "issued-after-start");
        /** The arguments of nano-stream-ws (port=8081 host=... jwt_secret=... origin_whitelist=...). */
        static final Map<String, String> ORIGINAL =
            Map.of("port", "port", "host", "host", "jwt_secret", "secret", "origin_whitelist", "origin");

        static List<Option> parse(String[] args) throws UsageException {
            Deque<String> words = new ArrayDeque<>(List.of(args));
            List<Option> options = new ArrayList<>();
            while (!words.isEmpty())
                options.add(take(words));
            return options;
        }

        /** Takes an option and its value: what follows =, or the next word unless that is an option. */
        static Option take(Deque<String> words) throws UsageException {
            String word = words.pop();
            String name = name(word);
            int equals = word.indexOf('=');
            boolean flag = FLAGS.contains(name);
            if (flag && equals >= 0)
                throw new UsageException("--" + name + " takes no value");
            if (equals >= 0) return new Option(name, word.substring(equals + 1));
            String next = words.peek();
            boolean bare = flag || next == null || isOption(next);
            String value = bare ? null : words.pop();
            return new Option(name, value);
        }

        static boolean isOption(String word) {
            return originalName(word) != null || word.startsWith("--");
        }

        /** The name of an option in the form of nano-stream-ws, name=value, or null. */
        static String originalName(String word) {
            int equals = word.indexOf('=');
            return equals < 0 ? null : ORIGINAL.get(word.substring(0, equals));
        }

        static String name(String word) throws UsageException {
            String part = word.split("=", 2)[0];
            String name = part.startsWith("--") ? part.substring(2) : originalName(word);
            if (name == null)
                throw new UsageException(
                    "unexpected argument " + EventLog.quote(part) + "; --help lists the options");
            return name;
        }

        boolean isBare() { return value == null; }

        /** The value, which there has to be. */
        String text() throws UsageException {
            if (value == null || value.isEmpty())
                throw new UsageException("--" + name + " wants a value, as in --" + name + "=VALUE");
            if (!value.equals(value.strip()))
                throw new UsageException("--" + name + " begins or ends with a blank or a line end");
            // One that the locale cannot decode stands for many: in a secret, everybody could guess it.
            if (value.indexOf('\uFFFD') >= 0)
                throw new UsageException("--" + name + " has a character that the locale cannot decode; "
                    + "try LC_ALL=C.UTF-8, or --secret-file for a secret");
            return value;
        }

        UsageException wants(String what) {
            return new UsageException("--" + name + " wants " + what + ", got " + EventLog.quote(value));
        }

        long number(long least, long most) throws UsageException {
            if (text().matches("[0-9]{1,18}")) {
                long number = Long.parseLong(value);
                if (number >= least && number <= most) return number;
            }
            String to = most >= Integer.MAX_VALUE ? " or more" : " to " + most;
            throw wants("a whole number, " + least + to);
        }

        Duration seconds() throws UsageException {
            if (text().matches("[0-9]{1,9}(\\.[0-9]{1,3})?"))
                return Duration.ofMillis(new BigDecimal(value).movePointRight(3).longValueExact());
            throw wants("seconds, as in 10 or 0.5");
        }

        Duration positive() throws UsageException {
            Duration duration = seconds();
            if (duration.isZero()) throw wants("more than 0 seconds");
            return duration;
        }

        /** Where a Redis is. What is wrong is not repeated: a password may stand there. */
        URI redis() throws UsageException {
            URI uri = uri(text(), "rediss?://[^/?#]+(/[0-9A-Za-z_.:-]*)?");
            if (uri == null)
                throw new UsageException("--redis wants redis://[[USER]:PASSWORD@]HOST[:PORT][/PREFIX] or "
                    + "rediss://... (without a _ in the HOST); in a password %40 stands for @, and so on");
            return uri;
        }

        /** A URI of this form with a host, whose port, if it has one, there can be; else null. */
        static URI uri(String text, String form) {
            if (!text.matches(form)) return null;
            try {
                URI uri = new URI(text).parseServerAuthority();
                int port = uri.getPort(); // -1: that of the scheme
                return port == 0 || port > 65535 ? null : uri;
            } catch (URISyntaxException e) {
                return null;
            }
        }

        /** The elements of a list with commas.
         * @param parse what a text stands for, or null
         * @param what they are, and how they are written */
        <T> List<T> list(Function<String, T> parse, String what) throws UsageException {
            List<T> list = new ArrayList<>();
            for (String text : text().split(",", -1)) {
                Option part = new Option(name, text.strip());
                T element = parse.apply(part.value);
                if (element == null) throw part.wants(what);
                list.add(element);
            }
            return list;
        }
    }

    /** Where messages come from: a host as it was written, a port, and a decoded path; or a WebSocket server.
     * Standard input has the host "-".
     * @param server null if it is none
     * @param accounts whose blocks a Nano node is to send; none: all */
    record Feed(
            String host,
            int port,
            String path,
            URI server,
            List<String> accounts) {
        static final Pattern FORM = Pattern.compile(
            "http://([0-9A-Za-z_.-]+|\\[[0-9A-Fa-f:.]+])(?::([0-9]{1,5})?)?(/[!-\"$->@-~]*)?");
        static final String SERVER = "wss?://[^/?#@]+([/?][!-\"$-~]*)?";
        static final Pattern ACCOUNTS = Pattern.compile("(?<=[?&])accounts=([^&]*)&?");

        /** A feed. What is wrong is not repeated: the path may be a secret. */
        static Feed parse(String text) throws UsageException {
            if (text.equals("-"))
                return new Feed("-", 0, "", null, List.of());
            Matcher match = FORM.matcher(text);
            if (!match.matches()) return ofServer(text);
            String digits = Objects.requireNonNullElse(match.group(2), "80");
            int port = Integer.parseInt(digits);
            if (port > 65535) throw wrong();
            String path = Objects.requireNonNullElse(match.group(3), "/");
            try {
                String decoded = Http.percentDecode(path);
                return new Feed(match.group(1), port, decoded, null, List.of());
            } catch (Refusal e) {
                throw wrong();
            }
        }

        /** The accounts are for the subscription, and taken out of the URL. */
        static Feed ofServer(String text) throws UsageException {
            Matcher match = ACCOUNTS.matcher(text);
            List<String> accounts = new ArrayList<>();
            while (match.find()) {
                String list = match.group(1);
                if (!list.matches("\\w+(,\\w+)*"))
                    throw new UsageException("--feed wants accounts with commas between, as in "
                        + "ws://[::1]:7078/?accounts=nano_1abc,nano_3def");
                accounts.addAll(List.of(list.split(",")));
            }
            String address = match.replaceAll("").replaceFirst("[?&]$", "");
            URI server = Option.uri(address, SERVER);
            if (server == null) throw wrong();
            return new Feed(server.getAuthority(), 0, "", server, accounts);
        }

        /** That it is not this server: what listeners get would come back, and go out to them again for ever.
         * @param to where listeners connect, if that is every address */
        void checkNoLoop(String to, int port) throws UsageException {
            String own = "(localhost|127[0-9.]+|\\[::1]):" + port;
            if (to.equals("0.0.0.0") && host.matches(own))
                throw new UsageException("--feed wants another server's port than this one's own (--port)");
        }

        static UsageException wrong() {
            return new UsageException("--feed wants http://HOST:PORT/PATH, or ws://HOST:PORT/PATH or "
                + "wss://HOST:PORT/PATH (without a _ in the HOST), or -");
        }

        boolean isStandardInput() { return host.equals("-"); }

        /** What log lines and figures call a server: without its path. */
        String name() { return server.getScheme() + "://" + host; }
    }

    // ---- 27. Proxies (RFC 9110 §5.3) ----------------------------------------------------------------------
    // Who a client is that comes by a proxy: what the log calls it.
    //
    // Off unless: --proxy is given.
    // Touches: nothing; no name is looked up.
    // Implements: Clients (14).
    // When it fails: the log has the proxy's address, or in quotes what it wrote; the client does not notice.

    /** Believes X-Forwarded-For as far as proxies have written it. A request that is refused before its head
     * was read has the proxy's address: there is no other yet. */
    record Proxies(List<InetAddress> trusted) implements Clients {
        /** The rightmost address that is no proxy's. Each proxy appends the one that connected to it, so
         * whatever stands left of that can be made up. Where all are proxies, it is the leftmost. */
        @Override
        public String name(Socket socket, Request request) {
            List<String> fields = request.fields().getOrDefault("x-forwarded-for", List.of());
            String[] hops = String.join(",", fields).split(","); // several fields are one list
            InetAddress hop = socket.getInetAddress();
            String name = Http.remote(socket);
            for (int i = hops.length - 1; i >= 0; i--) {
                String text = hops[i].strip();
                if (!trusted.contains(hop)) break;
                if (text.isEmpty()) continue; // RFC 9110 §5.6.1.2
                hop = address(text.replaceFirst("^([0-9.]+|\\[.*]):[0-9]{1,5}$", "$1")); // without a port
                name = hop == null ? EventLog.quote(text) : hop.getHostAddress();
            }
            return name;
        }

        /** The address that a text is, or null: "unknown", "_hidden" and "unix:" are none. */
        static InetAddress address(String text) {
            String bare = text.replaceFirst("^\\[(.*)]$", "$1");
            String literal = bare.replaceFirst("^[0-9.]+$", "::ffff:$0"); // the same address, as one of IPv6
            if (!literal.matches("[0-9A-Fa-f]*+:[0-9A-Fa-f:.]*+")) return null;
            try {
                // A text with a colon, in brackets, is parsed. It is never looked up as a name.
                InetAddress address = InetAddress.getByName('[' + literal + ']');
                return address.isAnyLocalAddress() ? null : address; // 0.0.0.0 is nobody's
            } catch (IOException e) {
                return null;
            }
        }
    }

    // ==== Part III. Assembly ===============================================================================
    // The only place that knows both the core and the parts.

    // ---- 28. Settings -------------------------------------------------------------------------------------
    // The command line, parsed once.

    /** What the command line asked for: a field an option, with its default. Set by the constructor only. */
    static class Settings {
        static final String HELP = """
            NanoStreamWs %s: broadcasts a feed over WebSockets to listeners that a token admits.

              java NanoStreamWs.java [--name value | --name=value]...

              --host HOST, --port N    where listeners connect (0.0.0.0, 8080); port 0 takes a free one
              --secret [S]             admit only bearers of a token signed with S; may be repeated, any will
                                       do. Bare: from the environment (NANO_STREAM_SECRET), else a new one is
                                       made and printed. No --secret: all are admitted
              --secret-file FILE       the same, from the file's first line
              --token [SECONDS]        print a token for the secret, valid that long (10), and exit
              --audience A, --issuer I what a token's aud has to have in it, and what its iss has to be (no
                                       aud, any iss)
              --issued-after-start     a token's iat has to be later than the start: none works twice, even
                                       if the server is restarted
              --leeway SECONDS         clock skew allowed for a token's exp, nbf and iat (0)
              --origin LIST            admit only pages of these origins (all): example.com, *.example.com,
                                       https://example.com:8443; comma-separated
              --feed URL               where messages come from (http://127.0.0.1:3000/); may be repeated.
                                       http://HOST:PORT/PATH: POSTs to it; -: standard input, a line a
                                       message; ws://HOST:PORT/PATH, wss://...: a Nano node's WebSocket
                                       (?accounts=A,B: the blocks of these), or any server's texts
              --history N              messages kept for a listener that asks for them (1000), 0: none; at
                                       most half of --max-lag in bytes
              --redis URL              share used tokens and the stream with other servers by Redis:
                                       redis://[[USER]:PASSWORD@]HOST[:PORT][/PREFIX], with TLS rediss://; the
                                       password may be in the environment (NANO_STREAM_REDIS_PASSWORD)
              --proxy ADDR[,ADDR]      proxies whose X-Forwarded-For is believed: the log names the client
                                       then, and not the proxy (none)
              --ping SECONDS           between two pings (30); a listener that is silent for two is dropped;
                                       0: no ping
              --tls-cert FILE, --tls-key FILE
                                       listeners connect by wss://: PEM files, read again when they change
              --max-listeners N        at the same time (as many as ulimit -n and -Xmx allow)
              --max-lag BYTES          a listener that is further behind is dropped (8388608)
              --write-timeout SECONDS  a listener is dropped if one write to it blocks for so long (10)
              --drain SECONDS          at a shutdown, the time to deliver what is left (5)
              --no-deflate             do not compress for listeners that can have it (permessage-deflate)
              --help, --version
            """.formatted(VERSION);
        static final String ORIGINS =
            "example.com, *.example.com or https://example.com:8443, comma-separated";
        static final String PROXIES = "addresses, comma-separated, as in 127.0.0.1,::1";

        String host = "0.0.0.0";
        int port = 8080;
        final List<byte[]> secrets = new ArrayList<>();
        String newSecret;               // one that is to be printed, or null
        Duration token;                 // for which a token is to be printed, or null: serve
        final Map<String, String> claims = new LinkedHashMap<>(); // aud and iss, if they are asked for
        boolean issuedAfterStart;
        Duration leeway = Duration.ZERO;
        final List<Origin> origins = new ArrayList<>();
        final List<Feed> feeds = new ArrayList<>();
        String tlsCert, tlsKey;         // files, or both null
        int history = 1000;             // messages
        final List<InetAddress> proxies = new ArrayList<>();
        URI redis;                      // or null
        Duration ping = Duration.ofSeconds(30);
        int maxListeners = Integer.MAX_VALUE;
        long maxLag = 8 * 1024 * 1024;  // bytes
        Duration writeTimeout = Duration.ofSeconds(10);
        Duration drain = Duration.ofSeconds(5);
        boolean deflate = true;

        final Map<String, String> environment;
        final Supplier<String> makeSecret;

        /** @param makeSecret called for a bare --secret where the environment has none */
        Settings(String[] args, Map<String, String> environment, Supplier<String> makeSecret)
                throws UsageException, IOException {
            this.environment = environment;
            this.makeSecret = makeSecret;
            for (Option option : Option.parse(args))
                set(option);
            if (feeds.isEmpty())
                feeds.add(Feed.parse("http://127.0.0.1:3000/"));
            check();
        }

        /** What is wrong with options together. */
        void check() throws UsageException {
            if (!ping.isZero() && ping.toMillis() < 100) // the pongs would look like a flood
                throw new UsageException("--ping wants 0 for none, or 0.1 seconds or more");
            if (feeds.stream().filter(Feed::isStandardInput).count() > 1)
                throw new UsageException("--feed - can be given once: there is one standard input");
            for (Feed feed : feeds)
                feed.checkNoLoop(host, port);
            if ((tlsCert == null) != (tlsKey == null))
                throw new UsageException("--tls-cert wants --tls-key as well, and the other way round");
            if (token != null && (secrets.isEmpty() || newSecret != null))
                throw new UsageException("--token wants the server's secret: --secret S, --secret-file FILE, "
                    + "or --secret with NANO_STREAM_SECRET set");
            if (hasTerms() && secrets.isEmpty())
                throw new UsageException("--audience, --issuer and --issued-after-start want a --secret: "
                    + "without one no token is looked at");
        }

        /** Whether a token has to meet more than the core asks of it. */
        boolean hasTerms() { return issuedAfterStart || !claims.isEmpty(); }

        /** Whether a client with this Origin field, or null for none, is admitted. */
        boolean admits(String origin) { return origins.isEmpty() || Origin.isAdmitted(origins, origin); }

        void set(Option option) throws UsageException, IOException {
            switch (option.name()) {
                case "host" -> host = option.text();
                case "port" -> port = (int) option.number(0, 65535);
                case "secret" -> addSecret(option.isBare() ? bareSecret() : option.value());
                case "secret-file" -> addSecret(Issuer.readSecret(option.text()));
                case "token" -> token = option.isBare() ? Duration.ofSeconds(10) : option.positive();
                case "audience" -> claims.put("aud", option.text());
                case "issuer" -> claims.put("iss", option.text());
                case "issued-after-start" -> issuedAfterStart = true;
                case "leeway" -> leeway = option.seconds();
                case "origin" ->
                    origins.addAll(option.list(Origin::parse, ORIGINS));
                case "feed" -> feeds.add(Feed.parse(option.text()));
                case "tls-cert" -> tlsCert = option.text();
                case "tls-key" -> tlsKey = option.text();
                case "history" -> history = (int) option.number(0, Recorder.MOST);
                case "proxy" ->
                    proxies.addAll(option.list(Proxies::address, PROXIES));
                case "redis" -> redis = option.redis();
                case "ping" -> ping = option.seconds();
                case "max-listeners" -> maxListeners = (int) option.number(1, Integer.MAX_VALUE);
                case "max-lag" -> maxLag = option.number(2 * Limits.MAX_MESSAGE, Long.MAX_VALUE);
                case "write-timeout" -> writeTimeout = option.positive();
                case "drain" -> drain = option.seconds();
                case "no-deflate" -> deflate = false;
                default ->
                    throw new UsageException(
                        "unknown option " + EventLog.quote("--" + option.name()) + "; --help lists them");
            }
        }

        void addSecret(String secret) throws UsageException {
            String text = new Option("secret", secret).text();
            secrets.add(text.getBytes(UTF_8));
        }

        String bareSecret() {
            String secret = environment.getOrDefault("NANO_STREAM_SECRET", "");
            if (!secret.isEmpty()) return secret;
            if (newSecret == null) // a second bare --secret means the same one
                newSecret = makeSecret.get();
            return newSecret;
        }
    }

    // ---- 29. Server ---------------------------------------------------------------------------------------
    // Puts the core and the parts together, keeps time, and shuts down.

    /** The server: wiring and timers. */
    static class Server implements AutoCloseable {
        final Settings settings;
        final InstantSource clock;
        final EventLog events;
        final ThreadFactory threads = Thread.ofPlatform().daemon().name("timer").factory();
        final ScheduledExecutorService timer = Executors.newScheduledThreadPool(2, threads);
        final Recorder recorder;
        final Broadcaster broadcaster;
        final UsedTokenTable usedTokens;
        final NanoBlocks blocks = new NanoBlocks();
        final List<Source> feeds = new ArrayList<>();
        final Health health = new Health(feeds);
        final Pulse pulse;
        Metrics metrics;
        final ReentrantLock closing = new ReentrantLock();
        final CountDownLatch closed = new CountDownLatch(1);
        Door door;
        Tls tls; // or null
        Redis redis; // or null
        volatile int status = 1; // the process will exit with it; 0 once it has started

        /** @param clock the time that tokens are judged by */
        Server(Settings settings, InstantSource clock, EventLog events) {
            this.settings = settings;
            this.clock = clock;
            this.events = events;
            recorder = new Recorder(settings.history, settings.maxLag / 2);
            broadcaster = new Broadcaster(settings.maxLag, settings.writeTimeout, clock, recorder);
            usedTokens = new UsedTokenTable(clock, settings.leeway);
            pulse = new Pulse(broadcaster, settings.writeTimeout);
            health.checks.add(pulse::ailment);
        }

        /** Binds the ports. @throws IOException if something cannot be had; it says what and why */
        void bind() throws IOException {
            Acceptor acceptor = new Acceptor(settings.host, settings.port, events);
            if (settings.tlsCert != null)
                tls = new Tls(settings.tlsCert, settings.tlsKey, clock, events);
            Transport tcp = (connection, log) -> connection.socket;
            Transport transport = tls == null ? tcp : tls;
            Instant start = clock.instant(); // not before the port is ours: see Terms
            Handshake handshake = new Handshake(
                settings::admits,
                settings.secrets,
                conditions(start),
                settings.leeway,
                settings.deflate);
            Clients clients = settings.proxies.isEmpty()
                ? (socket, request) -> Http.remote(socket)
                : new Proxies(settings.proxies);
            int room = tls == null ? Limits.MAX_LISTENERS : Tls.MAX_LISTENERS;
            int maxListeners = Math.min(settings.maxListeners, room);
            if (maxListeners < 1)
                throw new IOException("no room for a listener: raise -Xmx to 48m or more, or ulimit -n");
            if (settings.redis != null)
                redis = redis();
            door = new Door(
                acceptor,
                transport,
                clients,
                handshake,
                recorder,
                redis == null ? usedTokens : redis,
                broadcaster,
                Map.of("/", Page::answer, "/healthz", health::answer),
                maxListeners,
                clock,
                events,
                new AtomicInteger(),
                new AtomicBoolean());
            health.checks.add(() -> door.draining.get() ? "draining" : null);
            metrics = new Metrics(door, usedTokens, health);
            if (tls != null)
                metrics.more.add(tls::figures);
            if (redis != null) {
                metrics.more.add(redis::figures);
                health.checks.add(redis::ailment);
            }
            for (Feed feed : settings.feeds)
                feeds.add(feed(feed));
        }

        Redis redis() {
            RedisAddress address = RedisAddress.of(settings.redis, settings.environment);
            return new Redis(address, usedTokens, settings.leeway, broadcaster, events);
        }

        Conditions conditions(Instant start) {
            if (!settings.hasTerms()) return Jwt::checkNoAudience;
            Instant from = settings.issuedAfterStart ? start : null;
            return new Terms(settings.claims, from, clock, settings.leeway);
        }

        /** A token that is admitted already now, within the leeway of the start, and for an hour. Its iat is
         * the latest that is believed. */
        String token(byte[] secret) {
            Instant latest = clock.instant().plus(settings.leeway);
            return Issuer.sign(secret, settings.claims, latest, Duration.ofHours(1));
        }

        /** Plays the rehearsal, with Nano blocks of its own: tps and tpm do not count its block, nor do the
         * metrics, and it is no history. */
        void rehearse() {
            // Before all time: the clock of Redis, by which messages may be seen, may be slower than ours.
            Broadcast early = message -> broadcaster.publish(message, 1);
            Publisher publisher = new Publisher(early, new NanoBlocks(), bytes -> { });
            LongConsumer waited = new Waits();
            Function<EventLog, Acceptor.Handler> feed = log ->
                postFeed("", door.acceptor, "/", publisher, waited, log)::takeAll;
            Rehearsal.Visitors visitors = tls == null ? Rehearsal.TCP : tls::visit;
            Rehearsal.run(door, feed, this::token, visitors);
            metrics.forget();
            recorder.forgetAll(); // no feed has begun
        }

        /** Starts to accept. */
        void start() {
            events.add(Event.START, "NanoStreamWs " + VERSION + " on Java " + Runtime.version());
            every(Duration.ofMillis(Limits.LOOK), broadcaster::look);
            every(Duration.ofSeconds(1), usedTokens::sweep);
            every(Duration.ofSeconds(1), broadcaster::endUnfinished);
            every(Duration.ofSeconds(1), events::tick);
            every(Duration.ofSeconds(1), pulse::look);
            if (!settings.ping.isZero())
                every(settings.ping, broadcaster::heartbeat);
            if (tls != null) {
                tls.warn();
                every(Duration.ofSeconds(10), tls::look);
            }
            if (redis != null)
                redis.start();
            status = 0;
            door.start();
            String address = page().replaceFirst("http", "ws");
            events.add(Event.START,
                "listeners connect to " + address + ", " + door.maxListeners + " at most");
            feeds.forEach(Source::start);
            warn();
        }

        /** Repeats a task. What it throws is a fault of ours, and must not end the repetition. */
        void every(Duration period, Runnable task) {
            Runnable guarded = () -> {
                try {
                    task.run();
                } catch (RuntimeException | Error e) {
                    events.fault(e);
                }
            };
            long nanos = period.toNanos();
            timer.scheduleWithFixedDelay(guarded, nanos, nanos, TimeUnit.NANOSECONDS);
        }

        Source feed(Feed feed) throws IOException {
            if (feed.server != null) return webSocketFeed(feed);
            if (!feed.isStandardInput()) {
                Acceptor acceptor = new Acceptor(feed.host, feed.port, events);
                String name = feed.host + ':' + acceptor.server.getLocalPort(); // its path may be a secret
                Publisher publisher = publisher(name, blocks);
                return postFeed(name, acceptor, feed.path, publisher, metrics.waits, events);
            }
            if (LineFeed.isStandardInputClosed())
                throw new IOException("--feed - wants standard input: it is closed");
            Intake intake = new Intake("-", publisher("-", blocks), events);
            return new LineFeed(System.in, intake, this::lineFeedEnded);
        }

        Source webSocketFeed(Feed feed) {
            NanoNode node = new NanoNode(blocks, feed.accounts);
            String name = metrics.unique(feed.name());
            Intake intake = new Intake(name, publisher(name, node), events);
            WebSocketFeed.Peer peer =
                new WebSocketFeed.Peer(feed.server, node::subscribe, node::isAcknowledged);
            return new WebSocketFeed(intake, peer, settings.ping, Duration.ofSeconds(1), clock);
        }

        Publisher publisher(String name, Translation translation) {
            Broadcast broadcast = redis == null ? broadcaster : redis;
            return new Publisher(broadcast, translation, metrics.feed(name));
        }

        PostFeed postFeed(
                String name,
                Acceptor acceptor,
                String path,
                Publisher publisher,
                LongConsumer waited,
                EventLog log) {
            Map<String, Route> routes = Map.of(
                "/healthz", health::answer,
                "/metrics", metrics::answer);
            return new PostFeed(name, acceptor, path, publisher, routes, waited, clock, log);
        }

        void lineFeedEnded(boolean failed) {
            if (settings.feeds.size() > 1) return; // the others go on
            status = failed ? 1 : 0;
            close();
        }

        void warn() {
            boolean forgotten = settings.environment.containsKey("NANO_STREAM_SECRET");
            if (settings.secrets.isEmpty())
                events.add(Event.WARNING, "without --secret every client that connects is admitted"
                    + (forgotten ? ", although NANO_STREAM_SECRET is set" : ""));
            else
                Issuer.warn(settings.secrets, events);
        }

        /** The port where listeners connect. */
        int port() { return door.acceptor.server.getLocalPort(); }

        String page() {
            return Page.address(settings.host, port(), tls != null);
        }

        /** Shuts down, see Drain. A second caller waits for the first one's end. */
        @Override
        public void close() {
            closing.lock();
            try {
                if (closed.getCount() > 0)
                    new Drain(door, feeds, broadcaster, events, settings.drain).run();
                timer.shutdownNow();
                if (redis != null)
                    redis.close();
                closed.countDown();
            } finally {
                closing.unlock();
            }
        }
    }

    /** The end: takes nothing more from the feeds, delivers what was taken, then the close frame 1001; waits
     * for the listeners to go, for so long at most. Until then a handshake gets 503. */
    record Drain(Door door, List<Source> feeds, Broadcaster broadcaster, EventLog events, Duration most) {
        void run() {
            long deadline = System.nanoTime() + most.toNanos();
            events.add(Event.STOP, "draining " + broadcaster.size() + " listeners, at most " + most.toMillis()
                + " ms (--drain)");
            // 1. no listener comes in, no message is taken. The flag is set before step 2: see Door.admit
            door.draining.set(true);
            feeds.forEach(Source::drain);
            // 2. the close frame, behind everything that was taken
            byte[] goodbye = Frame.closePayload(CloseCode.GOING_AWAY, "server is shutting down");
            broadcaster.send(Opcode.CLOSE, seen -> goodbye);
            // 3. listeners answer it and go, publishers get their answers
            while (!isDone() && System.nanoTime() < deadline)
                LockSupport.parkNanos(1_000_000);
            // 4. the rest is reset, and has a moment for its log lines
            List<Listener> late = broadcaster.listeners();
            late.forEach(listener -> listener.drop("drain", "it was still there when --drain was over"));
            long end = System.nanoTime() + Limits.LINGER * 1_000_000L;
            while (door.places.get() > 0 && System.nanoTime() < end)
                LockSupport.parkNanos(1_000_000);
            door.acceptor.close();
            feeds.forEach(Source::close);
            events.tick();
            String left = late.isEmpty() ? "" : "; " + late.size() + " listeners were still there";
            events.add(Event.STOP, "done" + left);
        }

        boolean isDone() {
            boolean done = door.places.get() == 0;
            for (Source feed : feeds)
                if (!feed.drain())
                    done = false; // no return here: each is asked, since that ends what is idle
            return done;
        }
    }

    // ---- 30. main -----------------------------------------------------------------------------------------

    /** Exit status: 0; 1 when something failed; 2 for a command line that is wrong. */
    public static void main(String[] args) throws Exception {
        if (List.of(args).contains("--help")) {
            System.out.print(Settings.HELP);
            return;
        }
        if (List.of(args).contains("--version")) {
            System.out.println("NanoStreamWs " + VERSION);
            return;
        }
        try {
            Supplier<String> makeSecret = () -> Issuer.random(32);
            Settings settings = new Settings(args, System.getenv(), makeSecret);
            if (settings.token != null)
                printToken(settings);
            else
                serve(settings);
        } catch (UsageException e) {
            System.err.println("NanoStreamWs: " + e.getMessage());
            System.exit(2);
        } catch (IOException e) {
            System.err.println("NanoStreamWs: " + e.getMessage());
            System.exit(1);
        }
    }

    static void printToken(Settings settings) throws IOException {
        byte[] secret = settings.secrets.getFirst();
        String token = Issuer.sign(secret, settings.claims, Instant.now(), settings.token);
        System.out.println(token);
        if (System.out.checkError()) throw new IOException("the token could not be written");
    }

    static void serve(Settings settings) throws Exception {
        EventLog events = new EventLog(System.err, InstantSource.system());
        // A lane without its walker would be half a server.
        Thread.setDefaultUncaughtExceptionHandler((thread, e) -> {
            try {
                events.fault(e);
                events.close();
            } finally {
                Runtime.getRuntime().halt(1);
            }
        });
        Server server = new Server(settings, InstantSource.system(), events);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (server.status == 0) // else it has not started, or has been closed
                server.close();
            events.close();
            Runtime.getRuntime().halt(server.status); // a shutdown that was asked for is no failure: not 143
        }));
        server.bind();
        server.rehearse();
        server.start();
        if (settings.newSecret != null) {
            String page = server.page();
            String origin = page.substring(0, page.length() - 1);
            boolean listed = settings.admits(origin);
            // By the log, which keeps the order of its lines, and does not block.
            String text = Issuer.introduction(settings.newSecret, server::token, page, listed);
            events.lines.add(text);
        }
        server.closed.await();
        System.exit(0);
    }
}
