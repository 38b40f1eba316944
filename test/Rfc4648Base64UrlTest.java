import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.*;

import java.util.Base64;
import java.util.Random;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("RFC 4648 §5 base64url, without padding")
class Rfc4648Base64UrlTest {
    @ParameterizedTest
    @CsvSource(textBlock = """
        '',       ''
        f,        Zg
        fo,       Zm8
        foo,      Zm9v
        foob,     Zm9vYg
        fooba,    Zm9vYmE
        foobar,   Zm9vYmFy
        """)
    @DisplayName("§10: the test vectors")
    void testVectors(String plain, String encoded) {
        assertEquals(encoded, NanoStreamWs.Issuer.encode(plain.getBytes(ISO_8859_1)));
        assertArrayEquals(plain.getBytes(ISO_8859_1), NanoStreamWs.Base64Url.decode(encoded));
    }

    @Test
    void agreesWithTheJdk() {
        Random random = new Random(1);
        for (int length = 0; length < 200; length++) {
            byte[] bytes = new byte[length];
            random.nextBytes(bytes);
            String expected = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
            assertEquals(expected, NanoStreamWs.Issuer.encode(bytes));
            assertArrayEquals(bytes, NanoStreamWs.Base64Url.decode(expected));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"Zg==", "Zg=", "Zh", "Zm9", "Zm8A=", "A", "AAAAA",
        "Zm+v", "Zm/v", "Zm9v ", " Zm9v", "Zm\n9v", "Zm9\u007F", "Zm9\u0080", "Zm9v\u0100", "é"})
    @DisplayName("§3.5: one spelling only; no padding, space, bits left over, or characters of base64")
    void refusesEveryOtherSpelling(String text) {
        assertNull(NanoStreamWs.Base64Url.decode(text));
    }
}
