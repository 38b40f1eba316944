import static java.nio.charset.StandardCharsets.UTF_8;

import java.security.GeneralSecurityException;
import java.time.Instant;
import java.util.Base64;
import java.util.UUID;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Tokens, made without the server's code. */
final class TestToken {
    static final String HEADER = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

    /** A token that is unlike every other, for the secret of the documentation. */
    static String expiring(Instant exp) {
        return of("{\"exp\":" + exp.getEpochSecond() + ",\"jti\":\"" + UUID.randomUUID() + "\"}");
    }

    /** One that is good for a minute. */
    static String fresh(TestServer server) {
        return expiring(server.now.plusSeconds(60));
    }

    static String of(String payload) {
        return of(HEADER, payload, TestServer.SECRET, "HmacSHA256");
    }

    static String of(String header, String payload, String secret, String algorithm) {
        try {
            Base64.Encoder base64 = Base64.getUrlEncoder().withoutPadding();
            String signed = base64.encodeToString(header.getBytes(UTF_8)) + '.'
                + base64.encodeToString(payload.getBytes(UTF_8));
            Mac mac = Mac.getInstance(algorithm);
            mac.init(new SecretKeySpec(secret.getBytes(UTF_8), algorithm));
            return signed + '.' + base64.encodeToString(mac.doFinal(signed.getBytes(UTF_8)));
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);
        }
    }

    private TestToken() { }
}
