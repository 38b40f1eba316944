// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Settings: the command line")
class SettingsTest {
    private static NanoStreamWs.Settings parse(String... args) throws Exception {
        return parse(Map.of(), args);
    }

    private static NanoStreamWs.Settings parse(Map<String, String> environment, String... args) throws Exception {
        return new NanoStreamWs.Settings(args, environment, () -> "made");
    }

    private static List<String> secrets(NanoStreamWs.Settings settings) {
        return settings.secrets.stream().map(secret -> new String(secret, UTF_8)).toList();
    }

    /** The message of a wrong command line: one line that names what is wrong. */
    private static String wrong(String named, String... args) {
        String message = assertThrows(NanoStreamWs.UsageException.class, () -> parse(args),
            Arrays.toString(args)).getMessage();
        assertTrue(message.contains(named), message);
        assertTrue(message.chars().allMatch(c -> c >= ' ' && c < 0x7F), message);
        return message;
    }

    /** The feeds as one would write them. */
    private static List<String> feeds(NanoStreamWs.Settings settings) {
        return settings.feeds.stream().map(feed -> feed.isStandardInput() ? "-"
            : feed.server() != null ? feed.server() + (feed.accounts().isEmpty() ? "" : " of " + feed.accounts())
            : "http://" + feed.host() + ":" + feed.port() + feed.path()).toList();
    }

    /** The origins as one would write them. */
    private static List<String> origins(NanoStreamWs.Settings settings) {
        return settings.origins.stream().map(origin -> (origin.scheme() == null ? "" : origin.scheme() + "://")
            + (origin.subdomains() ? "*." : "") + origin.host()
            + (origin.port() == NanoStreamWs.Origin.ANY_PORT ? "" : ":" + origin.port())).map(text ->
                text.replaceFirst("^(null|file://)://$", "$1")).toList();
    }

    private static String value(NanoStreamWs.Settings settings, String option) {
        return switch (option) {
            case "host" -> settings.host;
            case "port" -> String.valueOf(settings.port);
            case "secret" -> String.join(" ", secrets(settings));
            case "token" -> String.valueOf(settings.token);
            case "audience" -> String.valueOf(settings.claims.get("aud"));
            case "issuer" -> String.valueOf(settings.claims.get("iss"));
            case "leeway" -> settings.leeway.toString();
            case "origin" -> String.join(" ", origins(settings));
            case "feed" -> String.join(" ", feeds(settings));
            case "history" -> String.valueOf(settings.history);
            case "proxy" -> String.join(" ", settings.proxies.stream().map(InetAddress::getHostAddress).toList());
            case "ping" -> settings.ping.toString();
            case "max-listeners" -> String.valueOf(settings.maxListeners);
            case "max-lag" -> String.valueOf(settings.maxLag);
            case "write-timeout" -> settings.writeTimeout.toString();
            case "drain" -> settings.drain.toString();
            default -> throw new AssertionError(option);
        };
    }

    @ParameterizedTest
    @CsvSource(nullValues = "none", textBlock = """
        host,          0.0.0.0
        port,          8080
        secret,        ''
        token,         null
        audience,      null
        issuer,        null
        leeway,        PT0S
        origin,        ''
        feed,          http://127.0.0.1:3000/
        history,       1000
        proxy,         ''
        ping,          PT30S
        max-listeners, 2147483647
        max-lag,       8388608
        write-timeout, PT10S
        drain,         PT5S
        """)
    void haveDefaults(String option, String value) throws Exception {
        assertEquals(value, value(parse(), option));
        assertNull(parse().newSecret);
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        host,          127.0.0.1,                127.0.0.1
        host,          ::1,                      ::1
        port,          0,                        0
        port,          65535,                    65535
        secret,        a=b c,                    a=b c
        secret,        -x,                       -x
        secret,        'ключ',                   'ключ'
        token,         60,                       PT1M
        token,         0.5,                      PT0.5S
        audience,      https://stream.example/x, https://stream.example/x
        audience,      'the übertragung',        'the übertragung'
        issuer,        joe,                      joe
        issuer,        urn:a=b,                  urn:a=b
        issuer,        '"a\\\tb"',               '"a\\\tb"'
        leeway,        1.25,                     PT1.25S
        leeway,        3600,                     PT1H
        origin,        example.com,              example.com
        origin,        'a.test, *.b.test,https://c.test:8443', a.test *.b.test https://c.test:8443
        feed,          http://[::1]:3001/a/b,    http://[::1]:3001/a/b
        feed,          http://localhost:0/,      http://localhost:0/
        feed,          http://h:65535/,          http://h:65535/
        feed,          -,                        -
        feed,          http://nano_feed:3000/,   http://nano_feed:3000/
        feed,          http://h,                 http://h:80/
        feed,          http://h:/x%20y,          http://h:80/x y
        feed,          ws://[::1]:7078,          ws://[::1]:7078
        feed,          wss://a-b.example/x%20y,  wss://a-b.example/x%20y
        feed,          ws://127.0.0.1:1/?t=a.b-c&u, ws://127.0.0.1:1/?t=a.b-c&u
        feed,          'ws://h:65535?accounts=nano_1a,xrb_3b', 'ws://h:65535 of [nano_1a, xrb_3b]'
        feed,          ws://h/p?accounts=nano_1&t=2, ws://h/p?t=2 of [nano_1]
        feed,          ws://h/p?t=2&accounts=nano_1, ws://h/p?t=2 of [nano_1]
        feed,          ws://h/?accounts=n1&t=2&accounts=n2&u=3, 'ws://h/?t=2&u=3 of [n1, n2]'
        feed,          ws://h/?my_accounts=n1,   ws://h/?my_accounts=n1
        history,       0,                        0
        history,       100000,                   100000
        proxy,         10.0.0.1,                 10.0.0.1
        proxy,         '127.0.0.1, ::1,[fd00::2]', 127.0.0.1 0:0:0:0:0:0:0:1 fd00:0:0:0:0:0:0:2
        proxy,         ::ffff:10.0.0.1,          10.0.0.1
        ping,          0.1,                      PT0.1S
        origin,        'null,file://',           null file://
        ping,          0,                        PT0S
        max-listeners, 1,                        1
        max-listeners, 2147483647,               2147483647
        max-lag,       2097152,                  2097152
        max-lag,       999999999999,             999999999999
        write-timeout, 2.5,                      PT2.5S
        drain,         0,                        PT0S
        """)
    void takeEveryOptionInBothForms(String option, String text, String value) throws Exception {
        boolean wantsSecret = List.of("token", "audience", "issuer").contains(option);
        String[] others = wantsSecret ? new String[] {"--secret=s"} : new String[0];
        for (String[] form : new String[][] {{"--" + option, text}, {"--" + option + "=" + text}}) {
            assertEquals(value, value(parse(concat(form, others)), option));
            assertEquals(value, value(parse(concat(others, form)), option));
            assertEquals("1.2.3.4", parse(concat(concat(form, others), "--host",
                "1.2.3.4")).host); // what follows is not swallowed
        }
    }

    private static String[] concat(String[] first, String... second) {
        String[] all = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, all, first.length, second.length);
        return all;
    }

    @Test
    void collectWhatMayBeRepeatedAndTakeTheLastOfTheRest() throws Exception {
        NanoStreamWs.Settings settings = parse("--port=1", "--secret=a", "--origin=a.test,b.test", "--feed=-", "--port",
            "2",
            "--secret", "b", "--origin", "c.test", "--feed", "http://h:1/");
        assertEquals(2, settings.port);
        assertEquals(List.of("a", "b"), secrets(settings));
        assertEquals(List.of("a.test", "b.test", "c.test"), origins(settings));
        assertEquals(List.of("-", "http://h:1/"), feeds(settings));
        assertEquals("1.1.1.1 1.1.1.2", value(parse("--proxy=1.1.1.1", "--proxy", "1.1.1.2"), "proxy"));
    }

    @Test
    void understandTheArgumentsOfTheOriginal() throws Exception {
        NanoStreamWs.Settings settings = parse("port=8081", "host=127.0.0.1", "jwt_secret=my=secret",
            "origin_whitelist=a.test,b.test");
        assertEquals(8081, settings.port);
        assertEquals("127.0.0.1", settings.host);
        assertEquals(List.of("my=secret"), secrets(settings));
        assertEquals(List.of("a.test", "b.test"), origins(settings));
        assertEquals(1, parse("port=8081", "--port=1").port);
    }

    @Test
    void makeASecretForABareOne() throws Exception {
        for (String[] args : new String[][] {{"--secret"}, {"--secret", "--port=1"}, {"--port=1", "--secret"}}) {
            NanoStreamWs.Settings settings = parse(args);
            assertEquals(List.of("made"), secrets(settings));
            assertEquals("made", settings.newSecret);
            assertEquals(args.length == 1 ? 8080 : 1, settings.port);
        }
        assertEquals("made", parse(Map.of("NANO_STREAM_SECRET", ""), "--secret").newSecret);
    }

    @Test
    void takeABareSecretFromTheEnvironment() throws Exception {
        Map<String, String> environment = Map.of("NANO_STREAM_SECRET", "from outside");
        for (String[] args : new String[][] {{"--secret"}, {"--secret", "--port=1"}}) {
            NanoStreamWs.Settings settings = parse(environment, args);
            assertEquals(List.of("from outside"), secrets(settings));
            assertNull(settings.newSecret);
        }
        assertEquals(List.of("given"), secrets(parse(environment, "--secret=given")));
        assertEquals(List.of("given", "from outside"), secrets(parse(environment, "--secret=given", "--secret")));
        assertEquals(List.of(), secrets(parse(environment))); // the environment alone asks for nothing
    }

    @Test
    void takeASecretThatLooksLikeAnOptionByItsEqualsSign() throws Exception {
        assertEquals(List.of("--port=1"), secrets(parse("--secret=--port=1")));
        assertEquals(List.of("="), secrets(parse("--secret==")));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        s3cret,                 s3cret
        s3cret\\n,              s3cret
        s3cret\\r\\n,           s3cret
        s3cret\\nsecond\\n,     s3cret
        s3cret\\r\\nsecond,     s3cret
        ' a b= \\n',            'a b='
        'ключ\\n',              'ключ'
        """)
    void takeTheFirstLineOfASecretFile(String text, String secret, @TempDir Path folder) throws Exception {
        Path file = Files.writeString(folder.resolve("secret"), text.translateEscapes());
        assertEquals(List.of(secret), secrets(parse("--secret-file", file.toString())));
        assertEquals(List.of("a", secret), secrets(parse("--secret=a", "--secret-file=" + file)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "\n", "\r\n", "\nsecond\n"})
    void refuseASecretFileWithoutASecret(String text, @TempDir Path folder) throws Exception {
        Path file = Files.writeString(folder.resolve("secret"), text);
        String message = assertThrows(IOException.class, () -> parse("--secret-file=" + file)).getMessage();
        assertEquals("cannot read " + file + ": its first line is empty", message);
    }

    @Test
    @DisplayName("a secret file that cannot be read is a failure, not wrong use")
    void failWhereThereIsNoSecretFile(@TempDir Path folder) {
        assertThrows(IOException.class, () -> parse("--secret-file", folder.resolve("missing").toString()));
        assertThrows(IOException.class, () -> parse("--secret-file", folder.toString()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"host", "port", "secret-file", "audience", "issuer", "leeway", "origin", "feed", "history",
        "proxy", "ping", "tls-cert", "tls-key", "max-listeners", "max-lag", "write-timeout", "drain"})
    void refuseAnOptionWithoutItsValue(String option) {
        wrong("--" + option, "--" + option);
        wrong("--" + option, "--" + option + "=");
        wrong("--" + option, "--" + option, "");
        wrong("--" + option, "--" + option, "--secret=s");
    }

    @Test
    @DisplayName("a secret of the environment that the locale could not decode, or with a line end, is refused")
    void refuseASecretOfTheEnvironmentThatIsNotWhatWasMeant() {
        for (String secret : List.of("\uFFFD\uFFFD", "s\n", " s"))
            assertThrows(NanoStreamWs.UsageException.class,
                () -> parse(Map.of("NANO_STREAM_SECRET", secret), "--secret"), secret);
    }

    @Test
    @DisplayName("a byte order mark, blanks and line ends around the secret of a file are not part of it")
    void takeTheSecretOfAFileWithoutWhatSurroundsIt(@TempDir Path folder) throws Exception {
        for (String text : List.of("a b", "\uFEFFa b", " a b \t", "a b\r\nnext", "\uFEFF a b\n")) {
            Path file = Files.writeString(folder.resolve("secret"), text);
            assertEquals(List.of("a b"), secrets(parse("--secret-file", file.toString())), text);
        }
    }

    @Test
    void refuseAValueOfNoDeflate() {
        wrong("--no-deflate", "--no-deflate=false");
        wrong("--no-deflate", "--no-deflate=");
    }

    @Test
    @DisplayName("what is asked of a token can never work where none is looked at")
    void refuseTermsForTokensWithoutASecret() throws Exception {
        for (String option : List.of("--audience=a", "--issuer=i", "--issued-after-start")) {
            wrong("want a --secret", option);
            assertTrue(parse(option, "--secret=s").hasTerms());
            assertTrue(parse("--secret", option).hasTerms());
            assertEquals(option.equals("--issued-after-start"), parse("--secret", option).issuedAfterStart);
        }
        assertFalse(parse("--secret=s", "--leeway=5").hasTerms());
        wrong("--issued-after-start takes no value", "--secret=s", "--issued-after-start=1");
        wrong("--issued-after-start takes no value", "--secret=s", "--issued-after-start=");
        assertEquals(1, parse("--secret=s", "--issued-after-start", "--port=1").port);
        wrong("unexpected argument", "--secret=s", "--issued-after-start", "1");
    }

    @Test
    void refuseASecondStandardInput() {
        wrong("--feed -", "--feed=-", "--feed=-");
    }

    @Test
    @DisplayName("a feed of the server's own port would send each message for ever")
    void refuseAFeedOfItsOwn() throws Exception {
        for (String own : List.of("localhost:81", "127.0.0.1:81/x?y", "127.9.8.7:81", "[::1]:81/")) {
            wrong("another server's port", "--port=81", "--feed=-", "--feed=ws://" + own);
            assertEquals(1, parse("--port=8", "--feed=ws://" + own).feeds.size());
            assertEquals(1, parse("--host=192.0.2.1", "--port=81", "--feed=ws://" + own).feeds.size());
        }
        wrong("another server's port", "--feed=ws://localhost:8080");
    }

    @Test
    @DisplayName("two bare --secret are one: the one that is made is printed")
    void takeABareSecretOnce() throws Exception {
        int[] made = {0};
        NanoStreamWs.Settings settings =
            new NanoStreamWs.Settings(new String[] {"--secret", "--secret"}, Map.of(), () -> "made " + ++made[0]);
        assertEquals("made 1", settings.newSecret);
        assertEquals(Set.of("made 1"), Set.copyOf(secrets(settings)));
    }

    @Test
    @DisplayName("a bare --secret before an argument of the old form takes no value from it")
    void takeNoValueFromTheNextOption() throws Exception {
        NanoStreamWs.Settings settings = parse("--secret", "port=9000");
        assertEquals(9000, settings.port);
        assertEquals("made", settings.newSecret);
    }

    @Test
    void refuseAnEmptySecret() {
        wrong("--secret", "--secret=");
        wrong("--secret", "--secret", "");
        wrong("--secret", "jwt_secret=");
        wrong("--token", "--token=", "--secret=s");
    }

    @Test
    @DisplayName("a write timeout of 0 would drop whoever is being written to")
    void refuseAWriteTimeoutOfNothing() {
        wrong("--write-timeout", "--write-timeout=0");
        wrong("--token", "--secret=s", "--token=0");
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        port,          -1
        port,          65536
        port,          99999999999999999999
        port,          8080x
        port,          0x50
        port,          +1
        port,          ' 80'
        port,          '1\n2'
        port,          \u0663
        token,         abc
        token,         -1
        audience,      ' a'
        audience,      'a\uFFFD'
        issuer,        'i\n'
        leeway,        -1
        leeway,        1e3
        leeway,        1.
        leeway,        .5
        leeway,        1.2345
        leeway,        9999999999
        proxy,         localhost
        proxy,         10.0.0
        proxy,         10.0.0.256
        proxy,         10.0.0.1:80
        proxy,         10.0.0.0/8
        proxy,         '10.0.0.1 10.0.0.2'
        proxy,         '10.0.0.1,'
        proxy,         ','
        proxy,         '10.0.0.1\nx'
        proxy,         0.0.0.0
        proxy,         ::
        proxy,         '[::1'
        proxy,         ::1]
        proxy,         '[::1]:80'
        proxy,         fe80::1%lo
        proxy,         ::g
        proxy,         ':::'
        proxy,         unix:
        proxy,         '*'
        ping,          5s
        ping,          'a\r\nb'
        ping,          0.099
        secret,        ' s'
        secret,        's\n'
        secret,        's\uFFFD'
        feed,          'http://h/\uFFFD'
        history,       -1
        history,       100001
        history,       all
        max-listeners, 0
        max-listeners, -1
        max-listeners, 2147483648
        max-lag,       0
        max-lag,       2097151
        max-lag,       99999999999999999999
        write-timeout, soon
        drain,         NaN
        feed,          ftp://h/
        feed,          h:3000
        feed,          /path
        feed,          http:///path
        feed,          http://
        feed,          http://h:65536/
        feed,          http://h:x/
        feed,          http://u:p@h/
        feed,          http://h/?q
        feed,          http://h/#f
        feed,          http://h/%zz
        feed,          'http://h/a b'
        feed,          'http://h/\n'
        feed,          ws://
        feed,          ws:///p
        feed,          ws:h
        feed,          WS://h/
        feed,          wsss://h/
        feed,          ws://h:0/
        feed,          ws://h:65536/
        feed,          ws://h:99999999999/
        feed,          ws://h:x/
        feed,          ws://u:p@h/
        feed,          ws://u@h/
        feed,          ws://h/#f
        feed,          ws://h/%zz
        feed,          'ws://h/a b'
        feed,          'ws://h/\n'
        feed,          ws://h/{}
        feed,          ws://h/\u00fc
        feed,          ws://\u00fc/
        feed,          ws://nano_node:7078/
        feed,          ws://[::g]/
        feed,          ws://[::1/
        feed,          ws://999.1.1.1/
        feed,          ws://h/?accounts=
        feed,          'ws://h/?accounts=n1,'
        feed,          'ws://h/?accounts=n1,,n2'
        feed,          'ws://h/?accounts=n1, n2'
        feed,          ws://h/?accounts=n-1
        feed,          ws://h/?accounts=n%31
        feed,          'ws://h/?accounts=n"'
        feed,          ws://h/?accounts=n1&accounts=
        feed,          ws://h/?accounts=\u00fc
        feed,          --
        """)
    void refuseWrongValues(String option, String value) {
        wrong("--" + option, "--secret=s", "--" + option + "=" + value);
    }

    @Test
    @DisplayName("what is wrong with a feed is said without its path and its query, and how it would be right")
    void doNotRepeatTheSecretOfAFeed() {
        for (String url : List.of("ws://h/hidden#f", "ws://h_h/?t=hidden", "http://h/hidden?x"))
            assertFalse(wrong("ws://HOST:PORT/PATH", "--feed=" + url).contains("hidden"));
        assertFalse(wrong("?accounts=nano_1abc,nano_3def", "--feed=ws://h/?accounts=hidden,").contains("hidden"));
    }

    @ParameterizedTest
    @ValueSource(strings = {",", ",,", " ", " , ", "a.test,,b.test", ",a.test"})
    @DisplayName("an empty list, or entry, of origins is wrong: it must never come to admit everybody")
    void refuseEmptyOrigins(String list) {
        for (String[] args : new String[][] {{"--origin=" + list}, {"--origin", list}, {"origin_whitelist=" + list}}) {
            wrong("--origin", args);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"--bogus", "--bogus=1", "--Port=1", "--secrets=a", "--", "--=", "--=1", "--jwt_secret=a",
        "--origin_whitelist=a", "---port=1", "bogus", "bogus=1", "secret=a", "-p", "-", "8080", "PORT=1", "port", "",
        "=", "=1", "--bo\ngus=1", "bo\r\ngus", "\u00e9\u001b[31m"})
    void refuseUnknownArguments(String argument) {
        wrong("--help", argument);
        wrong("--help", "--port=1", argument, "--host=h");
    }

    @Test
    void neverRepeatASecretInAMessage() {
        for (String[] args : new String[][] {{"--secrets=hunter2"}, {"secret=hunter2"}, {"--secret=hunter2",
            "--port=x"}})
            assertFalse(wrong("-", args).contains("hunter2"));
    }

    @Test
    void printATokenForTenSecondsOrAsLongAsIsSaid() throws Exception {
        assertEquals(Duration.ofSeconds(10), parse("--secret=s", "--token").token);
        assertEquals(Duration.ofSeconds(10), parse("--token", "--secret=s").token);
        assertEquals(Duration.ofSeconds(60), parse("--token", "60", "--secret=s").token);
        assertEquals(Duration.ofSeconds(10), parse(Map.of("NANO_STREAM_SECRET", "s"), "--token", "--secret").token);
    }

    @Test
    void printNoTokenForASecretThatNoServerHas(@TempDir Path folder) throws Exception {
        wrong("--token", "--token");
        wrong("--token", "--token=60");
        wrong("--token", "--token", "--secret");
        Path file = Files.writeString(folder.resolve("secret"), "s\n");
        assertEquals(List.of("s"), secrets(parse("--token", "--secret-file=" + file)));
    }
}
