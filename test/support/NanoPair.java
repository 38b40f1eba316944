import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A block as a Nano node reports it, and what listeners get of it.
 * @param confirmation the message of the node's WebSocket, or null where no node can send such a block
 * @param flat what listeners get, up to seen, tps and tpm
 * @param before the members that the original stream had otherwise, as an object, or null where it sent nothing */
record NanoPair(String name, String callback, String confirmation, String flat, String before) {
    /** All the pairs of nano-blocks.txt, whose head says how they are written. */
    static List<NanoPair> all() throws IOException {
        String text = Files.readString(Path.of("test", "support", "nano-blocks.txt"));
        String joined = text.replaceAll("(?m)^#.*\n", "").replace("\\\n", "");
        return Arrays.stream(joined.split("(?<=\n)== ")).skip(1).map(NanoPair::read).toList();
    }

    private static NanoPair read(String pair) {
        String[] parts = pair.split("(?<=\n)-- ");
        Map<String, String> texts = new HashMap<>();
        for (String part : parts) {
            String[] nameAndText = part.split("\n", 2);
            texts.put(nameAndText[0], nameAndText[1]);
        }
        return new NanoPair(parts[0].strip(), texts.get("callback"), texts.get("confirmation"),
            texts.get("flat").strip(), texts.getOrDefault("before", "{}").strip());
    }

    @Override
    public String toString() {
        return name; // in the report of a test
    }
}
