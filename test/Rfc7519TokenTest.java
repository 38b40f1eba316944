// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 7519 Tokens (with RFC 7515, RFC 7518 and RFC 8725)")
class Rfc7519TokenTest {
    private static final String SECRET = "my_secret", HEADER = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    private static final Instant NOW = Instant.ofEpochSecond(2_000_000_000);
    private static final String PAYLOAD = "{\"exp\":2000000010}";
    private static final String ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    private static String base64Url(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    private static String base64Url(String text) {
        return base64Url(text.getBytes(UTF_8));
    }

    private static byte[] mac(String algorithm, String signingInput, String secret) {
        try {
            Mac mac = Mac.getInstance(algorithm);
            mac.init(new SecretKeySpec(secret.getBytes(UTF_8), algorithm));
            return mac.doFinal(signingInput.getBytes(ISO_8859_1));
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    /** Signs two segments, whatever they are. */
    private static String sign(String header, String payload) {
        return sign(header, payload, SECRET);
    }

    private static String sign(String header, String payload, String secret) {
        String signingInput = header + '.' + payload;
        return signingInput + '.' + base64Url(mac("HmacSHA256", signingInput, secret));
    }

    private static String mint(String header, String payload) {
        return sign(base64Url(header), base64Url(payload));
    }

    /** What becomes of a token: "accepted", or why not. */
    private static String verdict(String token, Instant now, Duration leeway, String... secrets) {
        return verdict(token, NanoStreamWs.Jwt::checkNoAudience, now, leeway, secrets);
    }

    private static String verdict(String token, NanoStreamWs.Conditions conditions, Instant now, Duration leeway,
            String... secrets) {
        try {
            NanoStreamWs.Jwt.verify(token, Stream.of(secrets).map(s -> s.getBytes(UTF_8)).toList(), conditions, now,
                leeway);
            return "accepted";
        } catch (NanoStreamWs.Refusal refusal) {
            for (String segment : token.split("\\."))
                assertFalse(segment.length() > 3 && refusal.getMessage().contains(segment),
                    "the log would have the token");
            return refusal.why.name();
        }
    }

    private static String verdict(String token) {
        return verdict(token, NOW, Duration.ZERO, SECRET);
    }

    private static void invalid(String token) {
        assertEquals("TOKEN_INVALID", verdict(token), token);
    }

    @Test
    void acceptsTheTokenOfTheDocumentationUntil2066() throws Exception {
        NanoStreamWs.Claims claims = NanoStreamWs.Jwt.verify(TestServer.DOCUMENTED_TOKEN,
            List.of(TestServer.SECRET.getBytes(UTF_8)), NanoStreamWs.Jwt::checkNoAudience, Instant.parse("2066-01-01T00:00:00Z"), Duration.ZERO);
        assertEquals(3_050_675_868.0, claims.expires());
        String[] segments = TestServer.DOCUMENTED_TOKEN.split("\\.");
        assertEquals(new String(mac("HmacSHA256", segments[0] + '.' + segments[1], TestServer.SECRET), ISO_8859_1),
            claims.mac());
        assertEquals("TOKEN_EXPIRED", verdict(TestServer.DOCUMENTED_TOKEN, Instant.parse("2067-01-01T00:00:00Z"),
            Duration.ZERO, SECRET));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        {"alg":"HS256"}                             | accepted
        {"alg":"HS256","typ":"JWT"}                 | accepted
        {"typ":"anything","alg":"HS256","kid":"1"}  | accepted
        { "alg" : "HS\\u0032\\u0035\\u0036" }       | accepted
        {"alg":"none"}                              | TOKEN_INVALID
        {"alg":"None"}                              | TOKEN_INVALID
        {"alg":""}                                  | TOKEN_INVALID
        {"alg":"HS384"}                             | TOKEN_INVALID
        {"alg":"HS512"}                             | TOKEN_INVALID
        {"alg":"RS256"}                             | TOKEN_INVALID
        {"alg":"hs256"}                             | TOKEN_INVALID
        {"alg":"HS256 "}                            | TOKEN_INVALID
        {"Alg":"HS256"}                             | TOKEN_INVALID
        {"typ":"JWT"}                               | TOKEN_INVALID
        {}                                          | TOKEN_INVALID
        {"alg":256}                                 | TOKEN_INVALID
        {"alg":null}                                | TOKEN_INVALID
        {"alg":true}                                | TOKEN_INVALID
        {"alg":["HS256"]}                           | TOKEN_INVALID
        {"alg":{"alg":"HS256"}}                     | TOKEN_INVALID
        ["alg","HS256"]                             | TOKEN_INVALID
        "HS256"                                     | TOKEN_INVALID
        null                                        | TOKEN_INVALID
        alg=HS256                                   | TOKEN_INVALID
        {"alg":"HS256"                              | TOKEN_INVALID
        {"alg":"HS256"}{}                           | TOKEN_INVALID
        {"alg":"HS256","alg":"HS256"}               | TOKEN_INVALID
        {"alg":"none","alg":"HS256"}                | TOKEN_INVALID
        {"alg":"HS256","\\u0061lg":"none"}          | TOKEN_INVALID
        {"alg":"HS256","x":1,"x":2}                 | TOKEN_INVALID
        {"alg":"HS256","crit":["exp"],"exp":1}      | TOKEN_INVALID
        {"alg":"HS256","crit":[]}                   | TOKEN_INVALID
        {"alg":"HS256","crit":null}                 | TOKEN_INVALID
        {"alg":"HS256","\\u0063rit":["b64"]}        | TOKEN_INVALID
        {"alg":"HS256","b64":true}                  | TOKEN_INVALID
        {"alg":"HS256","b64":false}                 | TOKEN_INVALID
        """)
    @DisplayName("RFC 7515 §4.1: alg is HS256 and nothing else; no crit, no b64 (RFC 7797), no name twice")
    void judgesTheHeader(String header, String verdict) {
        assertEquals(verdict, verdict(mint(header, PAYLOAD)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        "typ":"at+jwt"
        "typ":"JOSE"
        "typ":1
        "cty":"JWT"
        "cty":"text/plain"
        "cty":null
        "kid":"another"
        "kid":1
        """)
    @DisplayName("RFC 7515 §4.1.4, §4.1.9, §4.1.10: kid, typ and cty are not looked at: all kinds of token are one")
    void looksAtNoOtherParameter(String parameter) {
        assertEquals("accepted", verdict(mint("{\"alg\":\"HS256\"," + parameter + "}", PAYLOAD)));
    }

    @ParameterizedTest
    @DisplayName("RFC 7519 §7.2, RFC 8725 §3.3: a token within a token is refused, with cty JWT and without")
    @CsvSource(delimiter = '|', textBlock = """
        {"alg":"HS256"}
        {"alg":"HS256","cty":"JWT"}
        {"alg":"HS256","cty":"jwt"}
        {"alg":"HS256","cty":"Jwt"}
        {"alg":"HS256","cty":"application/jwt"}
        """)
    void refusesANestedToken(String header) {
        String inner = mint(HEADER, PAYLOAD);
        assertEquals("accepted", verdict(inner));
        invalid(mint(header, inner));
        invalid(mint(header, '"' + inner + '"'));
        invalid(mint(header, mint(header, inner)));
    }

    @Test
    @DisplayName("RFC 7515 §4.1.2 to §4.1.6, §8: a key that the header has or names is not used; nothing is fetched")
    void takesNoKeyFromTheHeader() throws Exception {
        String key = "the key of whoever made the token";
        InetAddress loopback = InetAddress.getLoopbackAddress();
        try (ServerSocket keys = new ServerSocket(0, 50, loopback)) {
            CompletableFuture<Integer> first = CompletableFuture.supplyAsync(() -> portOfTheFirstClient(keys));
            String host = "://127.0.0.1:" + keys.getLocalPort();
            String jku = ",\"jku\":\"http" + host + "/keys\"", x5u = ",\"x5u\":\"http" + host + "/chain\"";
            String jwk = ",\"jwk\":{\"kty\":\"oct\",\"k\":\"" + base64Url(key) + "\"}";
            String x5c = ",\"x5c\":[\"" + Base64.getEncoder().encodeToString(key.getBytes(UTF_8)) + "\"]";
            String jkuByTls = jku.replace("http", "https"), x5uByTls = x5u.replace("http", "https");
            for (String named : List.of(jku, jkuByTls, jwk, x5u, x5uByTls, x5c, jku + jwk + x5u + x5c)) {
                String header = base64Url("{\"alg\":\"HS256\"" + named + "}"), payload = base64Url(PAYLOAD);
                assertEquals("accepted", verdict(sign(header, payload)), named);
                invalid(sign(header, payload, key));
            }
            try (Socket own = new Socket(loopback, keys.getLocalPort())) { // behind whatever came before
                assertEquals(own.getLocalPort(), first.get(20, TimeUnit.SECONDS), "a connection came before");
            }
        }
    }

    /** The port of the first client that connects, whose connection is then closed. */
    private static int portOfTheFirstClient(ServerSocket server) {
        try (Socket client = server.accept()) {
            return client.getPort();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    @DisplayName("RFC 8725 §2.1: a token that is signed as its alg says, but not with HS256, is refused")
    void refusesOtherAlgorithmsSignedAsTheySay() {
        String payload = base64Url(PAYLOAD);
        for (String bits : List.of("384", "512")) {
            String signingInput = base64Url("{\"alg\":\"HS" + bits + "\"}") + '.' + payload;
            invalid(signingInput + '.' + base64Url(mac("HmacSHA" + bits, signingInput, SECRET)));
            String asHs256 = base64Url(HEADER) + '.' + payload;
            byte[] mac = mac("HmacSHA" + bits, asHs256, SECRET);
            invalid(asHs256 + '.' + base64Url(mac));
            invalid(asHs256 + '.' + base64Url(Arrays.copyOf(mac, 32)));
        }
        invalid(base64Url("{\"alg\":\"none\"}") + '.' + payload + '.');
        invalid(base64Url("{\"alg\":\"none\"}") + '.' + payload + ".AA");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        {"exp":2000000001}                          | accepted
        {"exp":2000000000.001}                      | accepted
        {"exp":2000000000.5}                        | accepted
        {"exp":2.000000001e9}                       | accepted
        {"exp":20000000010E-1}                      | accepted
        {"exp":253402300799.9}                      | accepted
        {"exp":253402300800}                        | accepted
        {"exp":253402300801}                        | TOKEN_INVALID
        {"exp":2000000001000}                       | TOKEN_INVALID
        {"exp":1e300}                               | TOKEN_INVALID
        {"\\u0065xp":2000000001}                    | accepted
        {"exp":2000000001,"iat":1,"jti":"x","a":{}} | accepted
        {"exp":2000000000}                          | TOKEN_EXPIRED
        {"exp":2000000000.0}                        | TOKEN_EXPIRED
        {"exp":1999999999.999}                      | TOKEN_EXPIRED
        {"exp":0}                                   | TOKEN_EXPIRED
        {"exp":-0}                                  | TOKEN_EXPIRED
        {"exp":-2000000001}                         | TOKEN_EXPIRED
        {"exp":1e-400}                              | TOKEN_EXPIRED
        {"exp":-1e300}                              | TOKEN_EXPIRED
        {}                                          | TOKEN_WITHOUT_EXPIRATION
        {"iat":1}                                   | TOKEN_WITHOUT_EXPIRATION
        {"EXP":2000000001}                          | TOKEN_WITHOUT_EXPIRATION
        {"a":{"exp":2000000001}}                    | TOKEN_WITHOUT_EXPIRATION
        {"exp":"2000000001"}                        | TOKEN_INVALID
        {"exp":null}                                | TOKEN_INVALID
        {"exp":true}                                | TOKEN_INVALID
        {"exp":[2000000001]}                        | TOKEN_INVALID
        {"exp":{}}                                  | TOKEN_INVALID
        {"exp":1e400}                               | TOKEN_INVALID
        {"exp":-1e400}                              | TOKEN_INVALID
        {"exp":NaN}                                 | TOKEN_INVALID
        {"exp":Infinity}                            | TOKEN_INVALID
        {"exp":02000000001}                         | TOKEN_INVALID
        {"exp":2000000001,"exp":2000000001}         | TOKEN_INVALID
        {"exp":1,"\\u0065xp":2000000001}            | TOKEN_INVALID
        {"exp":2000000001,"a":1,"a":1}              | TOKEN_INVALID
        {"exp":2000000001,"a":{"b":1,"b":1}}        | TOKEN_INVALID
        {"exp":2000000001}x                         | TOKEN_INVALID
        {"exp":2000000001                           | TOKEN_INVALID
        {"exp":2000000001,"a":"\\ud800"}            | TOKEN_INVALID
        [2000000001]                                | TOKEN_INVALID
        2000000001                                  | TOKEN_INVALID
        null                                        | TOKEN_INVALID
        """)
    @DisplayName("§4.1.4: exp is a number, and \"the current date/time MUST be before\" it")
    void judgesTheExpiration(String payload, String verdict) {
        assertEquals(verdict, verdict(mint(HEADER, payload)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"others\"", "[\"a\",\"b\"]", "[]", "null"})
    @DisplayName("§4.1.3: a token for an audience is for another, since the server has no name")
    void refusesATokenForAnAudience(String audience) {
        assertEquals("TOKEN_INVALID", verdict(mint(HEADER, "{\"exp\":2000000001,\"aud\":" + audience + "}")));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        {"exp":2000000001,"iss":"joe"}
        {"exp":2000000001,"iss":"https://issuer.example"}
        {"exp":2000000001,"iss":null}
        {"exp":2000000001,"sub":"nobody"}
        {"exp":2000000001,"sub":""}
        {"exp":2000000001,"sub":1}
        {"exp":2000000001,"iss":"a","sub":"b"}
        """)
    @DisplayName("RFC 8725 §3.8: iss and sub are not looked at: whoever has the secret is the issuer")
    void takesAnyIssuerAndAnySubject(String payload) {
        assertEquals("accepted", verdict(mint(HEADER, payload)));
    }

    /** What becomes of a payload with these members. */
    private static String verdict(Map<String, String> claims, String members) {
        return verdict(mint(HEADER, "{" + members + "\"exp\":2000000010}"),
            new NanoStreamWs.Terms(claims, null, InstantSource.fixed(NOW), Duration.ZERO), NOW, Duration.ZERO, SECRET);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        "the stream"                    | accepted
        "the\\u0020stream"              | accepted
        ["the stream"]                  | accepted
        ["others","the stream"]         | accepted
        ["the stream","the stream",""]  | accepted
        "The stream"                    | TOKEN_INVALID
        "the stream "                   | TOKEN_INVALID
        "the"                           | TOKEN_INVALID
        ""                              | TOKEN_INVALID
        "*"                             | TOKEN_INVALID
        "others,the stream"             | TOKEN_INVALID
        ["the","stream"]                | TOKEN_INVALID
        ["THE STREAM"]                  | TOKEN_INVALID
        []                              | TOKEN_INVALID
        [["the stream"]]                | TOKEN_INVALID
        ["the stream",1]                | TOKEN_INVALID
        [null,"the stream"]             | TOKEN_INVALID
        {"the stream":"the stream"}     | TOKEN_INVALID
        1                               | TOKEN_INVALID
        true                            | TOKEN_INVALID
        null                            | TOKEN_INVALID
        """)
    @DisplayName("§4.1.3: with an audience, aud is that string or an array of strings that has it")
    void judgesTheAudience(String aud, String verdict) {
        Map<String, String> claims = Map.of("aud", "the stream");
        assertEquals(verdict, verdict(claims, "\"aud\":" + aud + ","));
        assertEquals("TOKEN_INVALID", verdict(claims, "\"aud\":" + aud + ",\"aud\":\"the stream\","));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        "https://issuer.example"        | accepted
        "https:\\/\\/issuer.example"    | accepted
        "https://ISSUER.example"        | TOKEN_INVALID
        "https://issuer.example/"       | TOKEN_INVALID
        "issuer.example"                | TOKEN_INVALID
        ["https://issuer.example"]      | TOKEN_INVALID
        ""                              | TOKEN_INVALID
        1                               | TOKEN_INVALID
        null                            | TOKEN_INVALID
        """)
    @DisplayName("§4.1.1: with an issuer, iss is exactly that string")
    void judgesTheIssuer(String iss, String verdict) {
        assertEquals(verdict, verdict(Map.of("iss", "https://issuer.example"), "\"iss\":" + iss + ","));
    }

    @Test
    @DisplayName("§4.1.1, §4.1.3: what is asked for has to be there, and a token for others is never taken")
    void asksForAudienceAndIssuerTogetherOrAlone() {
        Map<String, String> aud = Map.of("aud", "a"), iss = Map.of("iss", "i"), both = Map.of("aud", "a", "iss", "i");
        String hasBoth = "\"aud\":\"a\",\"iss\":\"i\",", hasAud = "\"aud\":\"a\",", hasIss = "\"iss\":\"i\",";
        assertEquals("accepted", verdict(both, hasBoth));
        assertEquals("TOKEN_INVALID", verdict(both, hasAud));
        assertEquals("TOKEN_INVALID", verdict(both, hasIss));
        assertEquals("accepted", verdict(aud, hasAud));
        assertEquals("accepted", verdict(aud, hasBoth));
        assertEquals("TOKEN_INVALID", verdict(aud, ""));
        assertEquals("accepted", verdict(iss, hasIss));
        assertEquals("TOKEN_INVALID", verdict(iss, hasBoth), "it is for an audience, and the server has no name");
        assertEquals("TOKEN_INVALID", verdict(iss, ""));
        assertEquals("TOKEN_INVALID", verdict(iss, "\"aud\":\"i\",\"iss\":\"a\","));
        assertEquals("TOKEN_INVALID", verdict(both, "\"aud\":\"i\",\"iss\":\"a\","));
    }

    /** What becomes of a token with this iat at a server that was started with --issued-after-start. */
    private static String issued(String iat, Instant start, Instant now, Duration leeway) {
        NanoStreamWs.Terms terms = new NanoStreamWs.Terms(Map.of(), start, InstantSource.fixed(now), leeway);
        return verdict(mint(HEADER, "{" + iat + "\"exp\":2000009999}"), terms, now, leeway, SECRET);
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        0,   1999999990,        TOKEN_INVALID
        0,   1999999989.999999, TOKEN_INVALID
        0,   1999999990.000001, accepted
        0,   1999999991,        accepted
        0,   2000000000,        accepted
        0,   2000000000.000001, TOKEN_INVALID
        0,   2000000001,        TOKEN_INVALID
        2.5, 1999999990.001,    TOKEN_INVALID
        2.5, 1999999992.5,      TOKEN_INVALID
        2.5, 1999999992.500001, accepted
        2.5, 2000000002.5,      accepted
        2.5, 2000000002.500001, TOKEN_INVALID
        0,   0,                 TOKEN_INVALID
        0,   -1,                TOKEN_INVALID
        0,   2000000000000,     TOKEN_INVALID
        0,   1e400,             TOKEN_INVALID
        0,   -1e400,            TOKEN_INVALID
        0,   '"1999999995"',    TOKEN_INVALID
        0,   [1999999995],      TOKEN_INVALID
        0,   null,              TOKEN_INVALID
        """)
    @DisplayName("§4.1.6: with --issued-after-start, iat is a number after the start, not in the future, with leeway")
    void judgesWhenATokenWasIssued(double leeway, String iat, String verdict) {
        Duration allowed = Duration.ofMillis((long) (1000 * leeway));
        assertEquals(verdict, issued("\"iat\":" + iat + ",", NOW.minusSeconds(10), NOW, allowed));
        assertEquals("TOKEN_INVALID", issued("", NOW.minusSeconds(10), NOW, allowed));
    }

    @Test
    @DisplayName("what a process can have admitted, the next one does not, whatever the fractions of a second")
    void admitsNothingThatAnEarlierProcessCanHaveAdmitted() {
        Random random = new Random(1);
        int admitted = 0;
        for (int i = 0; i < 5_000; i++) {
            Duration leeway = Duration.ofMillis(random.nextInt(3) * random.nextInt(2_000));
            Instant judged = NOW.plusNanos(random.nextInt(1_000_000_000));
            Instant start = judged.plusNanos(random.nextInt(2) * random.nextInt(1_000)); // often in the same instant
            // about the latest time that the first one believes
            Instant latest = judged.plus(leeway).plusNanos(random.nextInt(-500, 500));
            BigDecimal iat = BigDecimal.valueOf(latest.getNano(), 9).add(BigDecimal.valueOf(latest.getEpochSecond()));
            String member = "\"iat\":" + iat.setScale(random.nextInt(10), RoundingMode.HALF_UP) + ',';
            if (!issued(member, NOW.minusSeconds(10), judged, leeway).equals("accepted")) continue;
            admitted++;
            Instant later = start.plusSeconds(60);
            assertEquals("TOKEN_INVALID", issued(member, start, later, leeway), member + start + leeway);
        }
        assertTrue(admitted > 1_000, admitted + " admitted");
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        2000000000,             accepted
        1999999999,             accepted
        0,                      accepted
        -1,                     accepted
        1999999999.999,         accepted
        2000000000.001,         TOKEN_INVALID
        2000000001,             TOKEN_INVALID
        2000000005.5,           TOKEN_INVALID
        1e300,                  TOKEN_INVALID
        1e400,                  TOKEN_INVALID
        -1e400,                 TOKEN_INVALID
        '"1999999999"',         TOKEN_INVALID
        null,                   TOKEN_INVALID
        false,                  TOKEN_INVALID
        [],                     TOKEN_INVALID
        """)
    @DisplayName("§4.1.5: nbf, if there, is a number and not in the future")
    void judgesNotBefore(String nbf, String verdict) {
        assertEquals(verdict, verdict(mint(HEADER, "{\"nbf\":" + nbf + ",\"exp\":2000000010}")));
        assertEquals("TOKEN_INVALID", verdict(mint(HEADER, "{\"nbf\":" + nbf + ",\"exp\":2000000010,\"nbf\":0}")));
    }

    @ParameterizedTest
    @CsvSource(textBlock = """
        0,   2000000000,     0,              TOKEN_EXPIRED
        1,   2000000000,     0,              accepted
        1,   1999999999.001, 0,              accepted
        1,   1999999999,     0,              TOKEN_EXPIRED
        0.5, 1999999999.6,   0,              accepted
        0.5, 1999999999.5,   0,              TOKEN_EXPIRED
        1,   2000000010,     2000000001,     accepted
        1,   2000000010,     2000000001.001, TOKEN_INVALID
        0.5, 2000000010,     2000000000.5,   accepted
        0.5, 2000000010,     2000000001,     TOKEN_INVALID
        """)
    @DisplayName("§4.1.4, §4.1.5: \"some small leeway\" to both sides, and no more than was given")
    void allowsForTheLeeway(double leeway, String exp, String nbf, String verdict) {
        assertEquals(verdict, verdict(mint(HEADER, "{\"exp\":" + exp + ",\"nbf\":" + nbf + "}"), NOW,
            Duration.ofMillis((long) (1000 * leeway)), SECRET));
    }

    @Test
    void judgesByTheClockToTheMillisecond() {
        String token = mint(HEADER, "{\"exp\":2000000000.5}");
        assertEquals("accepted", verdict(token, NOW.plusMillis(499), Duration.ZERO, SECRET));
        assertEquals("TOKEN_EXPIRED", verdict(token, NOW.plusMillis(500), Duration.ZERO, SECRET));
    }

    @Test
    void tellsNothingOfAPayloadThatIsNotSigned() {
        for (String payload : List.of("{}", "{\"exp\":1}", "{\"exp\":2000000010}", "no JSON")) {
            String token = mint(HEADER, payload);
            assertEquals("TOKEN_INVALID", verdict(token, NOW, Duration.ZERO, "another"), payload);
        }
    }

    @Test
    @DisplayName("RFC 7515 §7.1: three segments, none of them empty")
    void refusesAnyOtherNumberOfSegments() {
        String h = base64Url(HEADER), p = base64Url(PAYLOAD), token = sign(h, p),
            s = token.substring(token.lastIndexOf('.') + 1);
        for (String text : List.of("", ".", "..", "...", h, h + '.' + p, h + '.' + s, token + '.', '.' + token, token
            + '.' + s,
            token + "..", h + ".." + s, '.' + p + '.' + s, h + '.' + p + '.', h + '.' + p + ".." + s, "..", h + "..",
                ".." + s))
            invalid(text);
        invalid(sign("", p));
        invalid(sign(h, ""));
        invalid(sign("", ""));
        invalid(sign(h + '.' + p, ""));
        invalid(sign(h, p + ".x"));
    }

    @Test
    @DisplayName("RFC 7515 §2: base64url without padding, line breaks or characters of base64, even when signed")
    void refusesOtherEncodings() {
        String h = base64Url(HEADER + " "), p = base64Url("{\"exp\":2000000010,\"a\":\"\u00fb\u00ff?>~\"}"), s = sign(h,
            p).split("\\.")[2];
        assertEquals("accepted", verdict(sign(h, p)));
        for (String junk : List.of("=", "==", " ", "\n", "\r\n", "+", "/", "\0", "%", "\u00e9", "\u0100")) {
            invalid(sign(h + junk, p));
            invalid(sign(junk + h, p));
            invalid(sign(h, p + junk));
            invalid(sign(h, p.substring(0, 8) + junk + p.substring(8)));
            invalid(h + '.' + p + '.' + s + junk);
            invalid(h + '.' + p + '.' + junk + s);
        }
        byte[] payload = "{\"exp\":2000000010,\"a\":\"??>>~~\"}".getBytes(UTF_8);
        String standard = Base64.getEncoder().withoutPadding().encodeToString(payload);
        assertTrue(standard.matches(".*[+/].*"));
        invalid(sign(h, standard));
        assertEquals("accepted", verdict(sign(h, standard.replace('+', '-').replace('/', '_'))));
    }

    @Test
    @DisplayName("RFC 4648 §3.5: the bits left over in a segment's last character are 0, even when they are signed")
    void refusesOtherSpellingsOfASegment() {
        for (String spaces : List.of("", " ", "  ")) {
            String h = base64Url(HEADER + spaces), p = base64Url(PAYLOAD + spaces);
            assertEquals("accepted", verdict(sign(h, p)));
            for (String other : spellings(h))
                invalid(sign(other, p));
            for (String other : spellings(p))
                invalid(sign(h, other));
        }
    }

    /** The other texts that a lenient decoder takes for the same bytes. */
    private static List<String> spellings(String segment) {
        byte[] bytes = Base64.getUrlDecoder().decode(segment);
        String start = segment.substring(0, segment.length() - 1);
        List<String> others = ALPHABET.chars().mapToObj(c -> start + (char) c).filter(text -> !text.equals(segment))
            .filter(text -> Arrays.equals(bytes, Base64.getUrlDecoder().decode(text))).toList();
        assertEquals(List.of(0, 0, 15, 3).get(segment.length() % 4), others.size());
        return others;
    }

    @Test
    void refusesEveryOtherSpellingOfTheSignature() {
        String token = mint(HEADER, PAYLOAD), signature = token.substring(token.lastIndexOf('.') + 1);
        List<String> others = spellings(signature);
        assertEquals(3, others.size());
        for (String other : others)
            invalid(token.substring(0, token.length() - signature.length()) + other);
    }

    @Test
    void refusesOtherSignatures() {
        String token = mint(HEADER, PAYLOAD), signingInput = token.substring(0, token.lastIndexOf('.') + 1);
        byte[] mac = Base64.getUrlDecoder().decode(token.substring(signingInput.length()));
        assertEquals("accepted", verdict(signingInput + base64Url(mac)));
        for (int length : new int[] {0, 1, 16, 31, 33, 64})
            invalid(signingInput + base64Url(Arrays.copyOf(mac, length)));
        invalid(signingInput + base64Url(new byte[32]));
        invalid(signingInput + base64Url(mac("HmacSHA256", signingInput, SECRET))); // of one point too many
        for (int bit = 0; bit < 256; bit++) {
            byte[] other = mac.clone();
            other[bit / 8] ^= (byte) (1 << bit % 8);
            invalid(signingInput + base64Url(other));
        }
        assertEquals("TOKEN_INVALID", verdict(token, NOW, Duration.ZERO, "My_secret"));
        assertEquals("TOKEN_INVALID", verdict(token, NOW, Duration.ZERO));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"exp\":2000000010}", "{\"exp\":2000000010} ", "{\"exp\":2000000010}  "})
    void refusesEveryChangeOfOneCharacter(String payload) {
        String token = mint(HEADER, payload);
        assertEquals("accepted", verdict(token));
        for (int i = 0; i <= token.length(); i++) {
            String before = token.substring(0, i), after = token.substring(i);
            for (char c : (ALPHABET + ".=+/ \0\u00e9").toCharArray()) {
                if (!after.isEmpty() && after.charAt(0) != c)
                    invalid(before + c + after.substring(1));
                invalid(before + c + after);
            }
            if (!after.isEmpty()) {
                invalid(before + after.substring(1));
                invalid(before);
            }
        }
    }

    @Test
    void acceptsAnyOfSeveralSecrets() {
        String token = mint(HEADER, PAYLOAD);
        assertEquals("accepted", verdict(token, NOW, Duration.ZERO, SECRET, "new", "newer"));
        assertEquals("accepted", verdict(token, NOW, Duration.ZERO, "new", SECRET, "newer"));
        assertEquals("accepted", verdict(token, NOW, Duration.ZERO, "new", "newer", SECRET));
        assertEquals("accepted", verdict(token, NOW, Duration.ZERO, SECRET, SECRET));
        assertEquals("TOKEN_INVALID", verdict(token, NOW, Duration.ZERO, "new", "newer"));
    }

    @Test
    @DisplayName("RFC 8725 §3.7: header and payload are UTF-8")
    void refusesWhatIsNotUtf8() throws Exception {
        String payload = "{\"exp\":2000000010,\"a\":\"%\"}";
        for (byte[] bad : new byte[][] {{(byte) 0xFF}, {(byte) 0xC3}, {(byte) 0xC0, (byte) 0x80}, {(byte) 0xED,
            (byte) 0xA0, (byte) 0x80},
            {(byte) 0xF4, (byte) 0x90, (byte) 0x80, (byte) 0x80}}) {
            invalid(sign(base64Url(HEADER), base64Url(splice(payload, bad))));
            invalid(sign(base64Url(splice("{\"alg\":\"HS256\",\"a\":\"%\"}", bad)), base64Url(PAYLOAD)));
        }
        assertEquals("accepted", verdict(sign(base64Url(HEADER), base64Url(splice(payload,
            "\u00e9\ud83d\ude00".getBytes(UTF_8))))));
        invalid(mint(HEADER, '\ufeff' + PAYLOAD));
    }

    private static byte[] splice(String text, byte[] inPlaceOfPercent) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        bytes.write(text.substring(0, text.indexOf('%')).getBytes(UTF_8));
        bytes.write(inPlaceOfPercent);
        bytes.write(text.substring(text.indexOf('%') + 1).getBytes(UTF_8));
        return bytes.toByteArray();
    }

    @Test
    void isBoundedInLengthAndDepth() {
        int longest = 0;
        for (int spaces = 5_900; spaces < 6_200; spaces++) {
            String token = mint(HEADER, PAYLOAD + " ".repeat(spaces));
            boolean fits = token.length() <= NanoStreamWs.Limits.MAX_TOKEN;
            assertEquals(fits ? "accepted" : "TOKEN_INVALID", verdict(token), () -> "of " + token.length()
                + " characters");
            longest = Math.max(longest, fits ? token.length() : 0);
        }
        assertTrue(longest > NanoStreamWs.Limits.MAX_TOKEN - 3);
        invalid("a".repeat(10_000_000));
        invalid(mint(HEADER, "{\"exp\":2000000010,\"a\":" + "[".repeat(100) + "]".repeat(100) + "}"));
        invalid(mint(HEADER, "{\"exp\":2000000010,\"a\":" + "[".repeat(5_000)));
    }

    @Test
    void signsWhatOthersVerify() throws Exception {
        Instant now = NOW.plusMillis(250);
        String token = NanoStreamWs.Issuer.sign(SECRET.getBytes(UTF_8), Map.of(), now, Duration.ofMillis(10_500));
        String[] segments = token.split("\\.");
        assertEquals(3, segments.length);
        assertEquals(token, sign(segments[0], segments[1]));
        assertEquals(HEADER, new String(Base64.getUrlDecoder().decode(segments[0]), UTF_8));
        String payload = new String(Base64.getUrlDecoder().decode(segments[1]), UTF_8);
        String claimed = "\\{\"iat\":2000000000.250000,\"exp\":2000000010.750,\"jti\":\"[\\w-]{22}\"}";
        assertTrue(payload.matches(claimed), payload);

        NanoStreamWs.Claims claims = NanoStreamWs.Jwt.verify(token, List.of(SECRET.getBytes(UTF_8)), NanoStreamWs.Jwt::checkNoAudience, now,
            Duration.ZERO);
        assertEquals(2_000_000_010.75, claims.expires());
        assertEquals("accepted", verdict(token, now.plusMillis(10_499), Duration.ZERO, SECRET));
        assertEquals("TOKEN_EXPIRED", verdict(token, now.plusMillis(10_500), Duration.ZERO, SECRET));
        assertEquals("TOKEN_INVALID", verdict(token, now, Duration.ZERO, "another"));
    }

    @Test
    @DisplayName("§4.1.1, §4.1.3: a token that is made has the audience and the issuer that are asked for")
    void signsForTheAudienceAndAsTheIssuer() {
        Map<String, String> claims = new LinkedHashMap<>();
        claims.put("aud", "the \"stream\"\\\n/\u00e9\ud83d\ude00");
        claims.put("iss", "https://issuer.example");
        String token = NanoStreamWs.Issuer.sign(SECRET.getBytes(UTF_8), claims, NOW, Duration.ofSeconds(10));
        String payload = new String(Base64.getUrlDecoder().decode(token.split("\\.")[1]), UTF_8);
        assertTrue(payload.startsWith("{\"aud\":\"the \\u0022stream\\u0022\\u005c\\u000a/\u00e9\ud83d\ude00\","
            + "\"iss\":\"https://issuer.example\",\"iat\":2000000000.000000,"
            + "\"exp\":2000000010.000,\"jti\":\""), payload);
        NanoStreamWs.Terms terms = new NanoStreamWs.Terms(claims, NOW.minusNanos(1_000), InstantSource.fixed(NOW),
            Duration.ZERO);
        assertEquals("accepted", verdict(token, terms, NOW, Duration.ZERO, SECRET));
        invalid(token); // without an audience
    }

    @Test
    void signsNoTwoAlike() {
        assertEquals(1_000, Stream.generate(() -> NanoStreamWs.Issuer.sign(SECRET.getBytes(UTF_8), Map.of(), NOW,
            Duration.ofSeconds(10)))
            .limit(1_000).distinct().count());
    }

    @Nested
    @DisplayName("at the server")
    class AtTheServer extends GuardedServer {
        @Test
        @DisplayName("a token works until just before it expires, and a fraction of a second counts")
        void admitsUntilItExpires() throws Exception {
            server.now = Instant.ofEpochSecond(2_000_000_000L, 499_000_000);
            assertEquals(101, knock("/?t=" + TestToken.of("{\"exp\":2000000000.5}")));
            server.now = server.now.plusMillis(1);
            assertEquals(401, knock("/?t=" + TestToken.of("{\"exp\":2000000000.5,\"jti\":1}")));
        }

        @Test
        @DisplayName("RFC 7518 §3.2, RFC 8725 §3.5: a secret of less than 32 bytes is warned of once, and used")
        void warnsOfAShortSecret() throws Exception {
            String[] secrets = {"s".repeat(31), "S".repeat(32), "\u00e9".repeat(16)}; // the last has 32 bytes too
            try (TestServer three = new TestServer("--secret=" + secrets[0], "--secret=" + secrets[1],
                    "--secret=" + secrets[2])) {
                String payload = "{\"exp\":" + (three.now.getEpochSecond() + 60) + "}";
                for (String secret : secrets) {
                    String token = TestToken.of(TestToken.HEADER, payload, secret, "HmacSHA256");
                    assertEquals(101, knock(three, "/?t=" + token));
                }
                three.awaitLog(" admitted "); // what was logged at the start stands before it
                List<String> warnings = three.log().lines().filter(line -> line.contains(" warning ")).toList();
                assertEquals(1, warnings.size(), warnings.toString());
                assertTrue(warnings.getFirst().contains("a secret has 31 bytes; HS256 wants 32 or more"),
                    warnings.getFirst());
                assertFalse(three.log().contains(secrets[0]), "no secret in the log");
            }
        }

        private static String issued(Instant iat) {
            return "/?t=" + TestToken.of("{\"iat\":" + BigDecimal.valueOf(iat.toEpochMilli(), 3)
                + ",\"exp\":2000000099,\"jti\":\"" + UUID.randomUUID() + "\"}");
        }

        @Test
        @DisplayName("--issued-after-start: a token from before the port was bound is refused, and the log says why")
        void readsTheTimeOfTheStartWhenThePortIsBound() throws Exception {
            Instant before = NOW.minusMillis(500);
            int port;
            try (ServerSocket free = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
                port = free.getLocalPort();
            }
            InstantSource clock = () -> isFree(port) ? before : NOW.plusMillis(1);
            ByteArrayOutputStream log = new ByteArrayOutputStream();
            try (NanoStreamWs.EventLog events = new NanoStreamWs.EventLog(new PrintStream(log, true), clock);
                 NanoStreamWs.Server late = new NanoStreamWs.Server(new NanoStreamWs.Settings(new String[] {
                     "--host=127.0.0.1", "--port=" + port, "--feed=http://127.0.0.1:0/", "--drain=0",
                     "--secret=" + TestServer.SECRET, "--issued-after-start"}, Map.of(), () -> ""), clock, events)) {
                late.bind();
                late.start();
                for (Instant iat : List.of(before.plusMillis(1), NOW, NOW.plusMillis(1), NOW.plusMillis(2)))
                    try (RawClient client = new RawClient(port)) {
                        assertEquals(401, RawClient.status(client.upgrade(issued(iat))));
                    }
                TestServer.await("four lines", () -> log.toString(UTF_8).split("Token was invalid", -1).length == 5);
            }
            String said = log.toString(UTF_8);
            assertEquals(3, said.lines().filter(line -> line.endsWith(" without origin: Token was invalid: "
                + "issued before this server's start (iat), or within --leeway of it")).count(), said);
            assertEquals(1, said.lines().filter(line -> line.endsWith("issued in the future (iat)")).count(), said);
        }

        private static boolean isFree(int port) {
            try (ServerSocket own = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
                return own.isBound();
            } catch (IOException e) {
                return false;
            }
        }

        @Test
        @DisplayName("--audience, --issuer: the log says which of them a token does not meet, and not what it has")
        void saysWhichTermATokenDoesNotMeet() throws Exception {
            try (TestServer named = new TestServer("--secret=" + TestServer.SECRET, "--audience=a", "--issuer=i",
                    "--issued-after-start")) {
                named.now = named.now.plusSeconds(60);
                String times = ",\"exp\":" + (named.now.getEpochSecond() + 60) + "}";
                String iat = ",\"iat\":" + named.now.getEpochSecond();
                assertEquals(101, knock(named, "/?t=" + TestToken.of("{\"aud\":\"a\",\"iss\":\"i\"" + iat + times)));
                for (String payload : List.of("{\"aud\":\"eve\",\"iss\":\"i\"" + iat,
                        "{\"aud\":\"a\",\"iss\":\"eve\"" + iat,
                        "{\"aud\":\"a\",\"iss\":\"i\"", "{\"aud\":\"a\",\"iss\":\"i\",\"iat\":\"eve\""))
                    assertEquals(401, knock(named, "/?t=" + TestToken.of(payload + times)));
                named.awaitLog("Token was invalid: it is not for the --audience (aud)");
                named.awaitLog("Token was invalid: it is not of the --issuer (iss)");
                named.awaitLog("Token was invalid: it has no iat, which --issued-after-start needs");
                named.awaitLog("Token was invalid: iat is not a finite number");
                assertFalse(named.log().contains("eve"), named.log());
            }
        }

        @Test
        @DisplayName("of several secrets any will do, and a token works once whichever it is")
        void takesAnyOfTheSecrets() throws Exception {
            try (TestServer two = new TestServer("--secret=one", "--secret=two")) {
                String payload = "{\"exp\":" + (two.now.getEpochSecond() + 60) + "}";
                for (String secret : new String[] {"one", "two"}) {
                    String token = TestToken.of(TestToken.HEADER, payload, secret, "HmacSHA256");
                    assertEquals(101, knock(two, "/?t=" + token));
                    assertEquals(401, knock(two, "/?t=" + token));
                }
                assertEquals(401, knock(two, "/?t=" + TestToken.of(payload)));
            }
        }
    }
}
