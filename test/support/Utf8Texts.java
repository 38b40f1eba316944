import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Texts that are UTF-8 and texts that are not, and where (RFC 3629). */
final class Utf8Texts {
    /** A value in so many bytes, of 2 to 6, by the pattern of RFC 2279, whether that is allowed or not. */
    private static byte[] encode(long value, int length) {
        byte[] encoded = new byte[length];
        for (int i = length - 1; i > 0; i--, value >>= 6)
            encoded[i] = (byte) (0x80 | value & 0x3F);
        encoded[0] = (byte) (0xFF00 >> length | value);
        return encoded;
    }

    /**
     * RFC 3629 §4, by its table: the index of the first byte that cannot be, the length if the end came too early,
     * or -1 where all is well.
     */
    static int firstWrong(byte[] text) {
        int left = 0, low = 0x80, high = 0xBF;
        for (int i = 0; i < text.length; i++) {
            int b = text[i] & 0xFF;
            if (left > 0) {
                if (b < low || b > high)
                    return i;
                left--;
                low = 0x80;
                high = 0xBF;
            } else if (b > 0x7F) {
                if (b < 0xC2 || b > 0xF4)
                    return i;
                left = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
                low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
                high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
            }
        }
        return left > 0 ? text.length : -1;
    }

    static List<byte[]> valid() {
        List<byte[]> list = new ArrayList<>();
        for (int point : new int[] {0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xCFFF, 0xD000, 0xD7FF, 0xE000,
                0xFDD0, 0xFDEF, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000,
                0x10FFFF})
            list.add(Character.toString(point).getBytes(UTF_8));
        for (int plane = 1; plane <= 16; plane++)
            list.add((Character.toString(plane << 16 | 0xFFFE) + Character.toString(plane << 16 | 0xFFFF))
                .getBytes(UTF_8));
        list.add("Hello-µ@ßöäüàá-UTF-8!!".getBytes(UTF_8));
        list.add("κόσμε".getBytes(UTF_8));
        list.add("\ud83d\ude00a\ud83d\ude00é\ud83d\ude00€".getBytes(UTF_8));
        return list;
    }

    static List<byte[]> invalid() {
        Map<String, byte[]> wrong = new LinkedHashMap<>();
        List<byte[]> list = new ArrayList<>();
        for (int length = 2; length <= 6; length++) {
            int shift = length == 2 ? 7 : 5 * length - 4; // values from 2^shift on need so many bytes
            list.add(encode(0, length)); // overlong: the first, a slash, the last
            list.add(encode('/', length));
            list.add(encode((1L << shift) - 1, length));
        }
        list.add(encode(0x1FFFFF, 4)); // beyond: the last of 4 bytes, the first and the last of 5 and 6
        list.add(encode(0x200000, 5));
        list.add(encode(0x3FFFFFF, 5));
        list.add(encode(0x4000000, 6));
        list.add(encode(0x7FFFFFFF, 6));
        for (int point : new int[] {0x110000, 0x13FFFF, 0x140000})
            list.add(encode(point, 4));
        for (int point : new int[] {0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF}) {
            list.add(encode(point, 3));
            if (point < 0xDC00)
                for (int second : new int[] {0xDC00, 0xDFFF})
                    list.add(RawClient.concat(encode(point, 3), encode(second, 3)));
        }
        for (String continuations : List.of("80", "bf", "80 bf", "80 bf 80", "80 bf 80 bf 80 bf", "81 20", "a0"))
            list.add(SharedEcho.bytes(continuations));
        for (int start = 0xC0; start <= 0xFF; start++) // lonely
            list.add(RawClient.bytes(start, ' '));
        for (byte[] whole : new byte[][] {encode(0x80, 2), encode(0x7FF, 2), encode(0x800, 3), encode(0xFFFF, 3),
                encode(0x10000, 4), encode(0x10FFFF, 4)})
            for (int length = 1; length < whole.length; length++) { // truncated, and then another character
                list.add(RawClient.concat(Arrays.copyOf(whole, length), "Hello".getBytes(UTF_8)));
                list.add(RawClient.concat(Arrays.copyOf(whole, length), whole));
            }
        list.add(SharedEcho.bytes("fe fe ff ff"));
        for (byte[] each : list)
            wrong.put(SharedEcho.hex(each), each);
        return new ArrayList<>(wrong.values());
    }

    private Utf8Texts() { }
}
