// SPDX-License-Identifier: MIT
import static org.junit.jupiter.api.Assertions.*;

import java.net.URI;
import java.util.Map;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("--redis: where a Redis is")
class RedisOptionTest {
    private NanoStreamWs.Settings parse(String value) throws Exception {
        return new NanoStreamWs.Settings(new String[] {"--redis", value}, Map.of(), () -> "made");
    }

    @ParameterizedTest
    @ValueSource(strings = {"redis://localhost", "redis://localhost/", "redis://h:1", "redis://h:65535/p",
        "rediss://h", "redis://:pass-word@h", "redis://user:pass-word@h/a.b:c_d-1", "redis://[::1]:6379",
        "redis://10.0.0.1", "redis://user@h", "redis://:p%40ss%2Fword@h"})
    void takes(String url) throws Exception {
        assertEquals(new URI(url), parse(url).redis);
    }

    @ParameterizedTest
    @ValueSource(strings = {"localhost", "localhost:6379", "redis:", "redis:h", "redis:/h", "redis://",
        "redis:///p", "//:pass-word@h", "//h", "http://:pass-word@h", "unix:///tmp/redis", "redis+tls://h",
        "REDIS://h",
        "redis://:pass-word@h:0", "redis://:pass-word@h:65536", "redis://:pass-word@h:99999999999", "redis://h:x",
        "redis://:pass-word@h/p?db=1", "redis://:pass-word@h?db=1", "redis://:pass-word@h#f",
        "redis://:pass-word@h/a/b", "redis://:pass-word@h/a b", "redis://:pass-word@h/{a}", "redis://:pass/word@h",
        "redis://:pass-word@", "redis://:pass-word@h,i", "redis://:pass-word@h_i", "redis://:%zz@h",
        "redis://:pass-word@h\n"})
    @DisplayName("is refused in a line that repeats no password")
    void refuses(String url) {
        String message = assertThrows(NanoStreamWs.UsageException.class, () -> parse(url)).getMessage();
        assertTrue(message.startsWith("--redis wants redis://[[USER]:PASSWORD@]HOST[:PORT][/PREFIX] or ")
            || message.startsWith("--redis begins or ends with a blank"), message);
        assertFalse(message.contains("pass-word"), message);
        assertTrue(message.contains("a blank") || message.contains("without a _ in the HOST"), message);
    }

    @Test
    void wantsAValue() {
        for (String[] args : new String[][] {{"--redis"}, {"--redis="}, {"--redis", "--no-deflate"}})
            assertTrue(assertThrows(NanoStreamWs.UsageException.class,
                () -> new NanoStreamWs.Settings(args, Map.of(), () -> "made")).getMessage()
                .startsWith("--redis wants a value"));
    }
}
