import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Checks test/tools/requirements.txt, whose head says what stands in it, against NanoStreamWs.java and the
 * tests, and prints it as a table. Run in the repository's root; exit status 1 where something is wrong. */
public final class Audit {
    private static final Pattern GROUP = Pattern.compile("RFC (\\d+) \\S.*");
    private static final Pattern HEAD =
        Pattern.compile("(\\d[\\d.]*-\\d+) (MUST NOT|MUST|must not|must) (\\S.*)");
    private static final Pattern CLAUSE = Pattern.compile("RFC (\\d+) §([\\d.]*\\d)");
    /** Strings and comments: a test in one of them is none. */
    private static final Pattern NO_CODE = Pattern.compile("\"\"\"[\\s\\S]*?\"\"\"|\"(?:\\\\.|[^\"\\\\\n])*\""
        + "|'(?:\\\\.|[^'\\\\\n])*'|//[^\n]*|/\\*[\\s\\S]*?\\*/");
    private static final Pattern ARGUMENTS =
        Pattern.compile("(@[\\w.]+)\\s*\\((?:[^()]|\\([^()]*\\))*\\)");
    private static final String TEST = "@(Test|ParameterizedTest|RepeatedTest|TestFactory)\\b";
    private static final String DISABLED = "@Disabled\\b";
    private static final String METHOD = "[^;{}]*\\s%s\\s*\\([^;{}]*\\{";
    private static final String CLASS = "[^;{}(]*\\bclass\\b";

    /** A requirement; its line's anchor and why the server deviates, or null; what is wrong with all that. */
    private static final class Requirement {
        final String rfc, id, level, text;
        final List<String> tests = new ArrayList<>(), wrong = new ArrayList<>();
        String anchor, deviation;
        int line; // or 0

        Requirement(String rfc, Matcher head) {
            this.rfc = rfc;
            id = head.group(1);
            level = head.group(2);
            text = head.group(3);
        }

        /** A text that is ordered as the requirements of an RFC are: 4.2, 4.10 is 004.002, 004.010. */
        String key() {
            return id.replaceAll("\\d+", "00$0").replaceAll("0+(\\d{3})", "$1");
        }
    }

    private final List<String> groups = new ArrayList<>();
    private final List<Requirement> requirements = new ArrayList<>();
    private final List<String> source;
    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private final List<String> wrong = new ArrayList<>(); // with the list as a whole

    private Audit() throws IOException {
        source = Files.readAllLines(Path.of("NanoStreamWs.java"));
        for (String line : Files.readAllLines(Path.of("test/tools/requirements.txt")))
            if (!line.isBlank() && !line.startsWith("#"))
                read(line);
    }

    private void read(String line) {
        Matcher group = GROUP.matcher(line);
        Matcher head = HEAD.matcher(line);
        Requirement last = requirements.isEmpty() ? null : requirements.getLast();
        if (group.matches())
            groups.add(group.group(1));
        else if (head.matches() && !groups.isEmpty())
            requirements.add(new Requirement(groups.getLast(), head));
        else if (last != null && line.startsWith("  > "))
            last.anchor = line.substring(4);
        else if (last != null && line.startsWith("  = "))
            last.tests.addAll(List.of(line.substring(4).split(" ")));
        else if (last != null && line.startsWith("  ! "))
            last.deviation = line.substring(4);
        else
            wrong.add("the list has a line that is none of its kinds: " + line);
    }

    private void checkLine(Requirement requirement) {
        if (requirement.anchor == null || requirement.anchor.equals("-")) {
            requirement.wrong.add("no line");
            return;
        }
        int found = 0;
        for (int i = 0; i < source.size(); i++)
            if (source.get(i).contains(requirement.anchor)) {
                requirement.line = i + 1;
                found++;
            }
        if (found != 1) {
            requirement.wrong.add(found + " lines have: " + requirement.anchor);
            requirement.line = 0;
        }
    }

    private static void checkTests(Requirement requirement) throws IOException {
        requirement.tests.remove("-");
        if (requirement.tests.isEmpty())
            requirement.wrong.add("no test");
        for (String test : requirement.tests) {
            String[] names = test.split("\\."); // class and method
            Path file = Path.of("test", names[0] + ".java");
            String code = Files.exists(file) ? code(Files.readString(file)) : "";
            String method = METHOD.formatted(names.length == 2 ? names[1] : "-");
            if (!has(code, TEST + method))
                requirement.wrong.add("no such test: " + test);
            if (has(code, DISABLED + method) || has(code, DISABLED + CLASS))
                requirement.wrong.add("disabled: " + test);
        }
    }

    private static String code(String text) {
        return ARGUMENTS.matcher(NO_CODE.matcher(text).replaceAll(" ")).replaceAll("$1 ");
    }

    private static boolean has(String code, String pattern) {
        return Pattern.compile(pattern).matcher(code).find();
    }

    private void print(Requirement requirement) {
        String line = requirement.line == 0 ? "-" : "" + requirement.line;
        out.printf("RFC %s §%-11s %-8s line %-5s %s%n",
            requirement.rfc, requirement.id, requirement.level, line, requirement.text);
        out.println("    " + String.join(" ", requirement.tests));
        if (requirement.deviation != null)
            out.println("    DEVIATES: " + requirement.deviation);
    }

    /** The clauses that a comment cites with their RFC, without a requirement in them or their sections. */
    private Set<String> unlisted() {
        Set<String> listed = new TreeSet<>();
        for (Requirement requirement : requirements) {
            String section = requirement.id;
            while (!section.isEmpty()) {
                section = section.replaceAll("[-.]?\\d+$", "");
                listed.add("RFC " + requirement.rfc + " §" + section);
            }
        }
        Set<String> cited = new TreeSet<>();
        Matcher clause = CLAUSE.matcher(String.join("\n", source));
        while (clause.find())
            if (groups.contains(clause.group(1)))
                cited.add(clause.group());
        cited.removeAll(listed);
        return cited;
    }

    private boolean run() throws IOException {
        for (String group : groups)
            if (requirements.stream().noneMatch(requirement -> requirement.rfc.equals(group)))
                wrong.add("RFC " + group + " has no requirements");
        if (groups.isEmpty())
            wrong.add("the list is empty");
        Requirement before = null;
        for (Requirement requirement : requirements) {
            checkLine(requirement);
            checkTests(requirement);
            if (before != null && before.rfc.equals(requirement.rfc)
                    && before.key().compareTo(requirement.key()) >= 0)
                requirement.wrong.add("it does not come after " + before.id);
            before = requirement;
            print(requirement);
        }
        out.println("\ncited in a comment, but not listed: " + String.join(", ", unlisted()));
        wrong.forEach(out::println);
        int passed = 0;
        for (Requirement requirement : requirements) {
            for (String what : requirement.wrong)
                out.println("RFC " + requirement.rfc + " §" + requirement.id + ": " + what);
            if (requirement.wrong.isEmpty())
                passed++;
        }
        int failed = requirements.size() - passed + wrong.size();
        out.println(passed + " passed, " + failed + " failed");
        return failed == 0;
    }

    public static void main(String[] args) throws IOException {
        System.exit(new Audit().run() ? 0 : 1);
    }
}
