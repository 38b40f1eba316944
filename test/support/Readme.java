import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What README.md shows, so that it can be tried as it stands. */
final class Readme {
    /** The one block of code in this language that has the text. */
    static String block(String language, String text) throws IOException {
        String[] parts = read().split("\n```" + language + "\n", -1);
        String found = null;
        for (int i = 1; i < parts.length; i++) {
            String block = parts[i].substring(0, parts[i].indexOf("\n```\n") + 1);
            if (found != null && block.contains(text))
                throw new AssertionError("README.md has two blocks of " + language + " with " + text);
            if (block.contains(text))
                found = block;
        }
        if (found == null)
            throw new AssertionError("README.md has no block of " + language + " with " + text);
        return found;
    }

    /** The one indented line that has the text: a command. */
    static String command(String text) throws IOException {
        var lines = read().lines().filter(line -> line.startsWith("    ") && line.contains(text)).toList();
        if (lines.size() != 1)
            throw new AssertionError("README.md has " + lines.size() + " commands with " + text);
        return lines.getFirst().strip();
    }

    static String read() throws IOException {
        return Files.readString(Path.of("README.md"));
    }

    private Readme() { }
}
