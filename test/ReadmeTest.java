// SPDX-License-Identifier: MIT
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("README: it explains what an operator can meet")
class ReadmeTest {
    private final String readme;

    ReadmeTest() throws IOException {
        readme = Readme.read();
    }

    private static List<String> found(String pattern, String text) {
        return Pattern.compile(pattern).matcher(text).results().map(MatchResult::group).toList();
    }

    @Test
    @DisplayName("each reason for a refusal has a row, with its status")
    void explainsRefusals() {
        for (NanoStreamWs.Rejection why : NanoStreamWs.Rejection.values()) {
            String begins = "`" + why.text.split(";")[0], status = why.status.substring(0, 3);
            boolean explained = readme.lines().anyMatch(line -> line.startsWith("| ") && line.contains(begins)
                && (line.contains(status) || why == NanoStreamWs.Rejection.TLS)); // which nobody gets to see
            assertTrue(explained, begins + " " + status);
        }
    }

    @Test
    @DisplayName("each word of the log has a row, with what to do")
    void explainsWordsOfTheLog() {
        for (NanoStreamWs.Event event : NanoStreamWs.Event.values()) {
            String row = "\n| `" + event.name().toLowerCase(Locale.ROOT) + "` | ";
            assertTrue(readme.contains(row), row);
        }
    }

    @Test
    @DisplayName("each figure has a row: its name, or the end of it behind a row's other names")
    void explainsFigures() throws IOException {
        String source = Files.readString(Path.of("NanoStreamWs.java"));
        List<String> figures = found("(?<=# TYPE )nanostream_(?!heap)\\w+", source);
        assertTrue(figures.size() > 20, figures.toString());
        for (String figure : figures) {
            boolean ends = found("(?<=`…)_\\w+(?=`)", readme).stream().anyMatch(figure::endsWith);
            assertTrue(ends || found("(?<=\\| |, )`" + figure + "[`{]", readme).size() > 0, figure);
        }
        assertTrue(readme.contains("`nanostream_heap_…_bytes`"));
    }

    @Test
    @DisplayName("each option of --help has a row, and there is no other")
    void explainsOptions() {
        String rows = String.join("\n", found("(?m)^\\| `--.*$", readme));
        var options = new TreeSet<>(found("(?<=\\| `|, `)--[a-z-]+", rows));
        var helped = new TreeSet<>(found("(?m)(?<=^  |, )--[a-z-]+", NanoStreamWs.Settings.HELP));
        assertEquals(helped, options);
    }
}
