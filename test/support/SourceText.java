import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The source text of a class with parts and sections, taken apart as far as its layers and density can be
 * judged by it. Each check returns what is wrong. Comments and what stands in strings name nothing. */
final class SourceText {
    private static final Pattern TOKEN = Pattern.compile("""
        "{3}(?:[^"\\\\]++|\\\\[\\s\\S]|"(?!""))*+"{3}\
        |"(?:\\\\.|[^"\\\\\\n])*+"|'(?:\\\\.|[^'\\\\\\n])*+'\
        |//[^\\n]*+|/\\*[\\s\\S]*?\\*/\
        |[A-Za-z_$][\\w$]*+|\\d[\\w.]*+\
        |>>>=|<<=|>>=|->|::|\\+\\+|--|&&|\\|\\||[-+*/%&|^!=<>]=|\\S""");
    private static final Pattern PART = Pattern.compile("// ={4,} Part (I{1,3})\\. .*");
    private static final Pattern SECTION = Pattern.compile("// -{4,} (\\d+)\\. ([^-(]*).*");
    private static final int[] LAST_OF_PART = {0, 14, 27, 30}; // sections: 1 to 14, 15 to 27, 28 to 30
    private static final int[] TOKENS_OF_PART = {40_400, 15_600, 19_900, 3_500}; // at most; the first: of all
    private static final double TOKENS_OF_LINES = 9.5; // at most, the mean of a section
    private static final int TOKENS_OF_LINE = 24, COLUMNS = 110; // at most
    private static final List<String> FACTS = List.of("Off unless", "Touches", "Implements", "When it fails");

    /** A piece of the text between two banners; part and number are 0 before the first. */
    private record Section(int part, int number, String name, int line, List<String> comments) {
        @Override
        public String toString() {
            return number + " " + name;
        }
    }

    /** A word, a number, a string or a sign that is code. */
    private record Token(String text, int line, Section section) {
        boolean isName() {
            return Character.isJavaIdentifierStart(text.charAt(0));
        }
    }

    /** A name that is declared: a type, or a member of one. */
    private record Member(Section section, boolean method) { }

    /** A type, with the level of its body: how many braces and parentheses are open there. */
    private static final class Type {
        final String name;
        final Type outer; // or null
        final Section section;
        final boolean local; // to a method
        final Map<String, Type> types = new HashMap<>();
        final Map<String, Member> members = new HashMap<>();
        int level;

        Type(String name, Type outer, Section section, boolean local) {
            this.name = name;
            this.outer = outer;
            this.section = section;
            this.local = local;
        }

        String binaryName() {
            return outer == null ? name : outer.binaryName() + '$' + name;
        }
    }

    /** A section's use of a name that is declared in another. */
    private record Use(Token name, Section declared) {
        @Override
        public String toString() {
            return "line " + name.line + ", section " + name.section + ": names " + name.text + " of section "
                + declared;
        }
    }

    private final String[] lines;
    private final List<Integer> parts = new ArrayList<>();
    private final List<Section> sections = new ArrayList<>();
    private final List<Token> code = new ArrayList<>();
    private final List<Type> types = new ArrayList<>(); // the first is the outer class
    private final List<Type> scopes = new ArrayList<>(); // of each token: the innermost type, or null

    SourceText(String text) {
        lines = text.split("\n", -1);
        scan(text);
        declare();
    }

    /** Divides the text into sections, and these into tokens. */
    private void scan(String text) {
        Section section = new Section(0, 0, "head", 0, new ArrayList<>());
        Matcher token = TOKEN.matcher(text);
        int line = 1;
        int counted = 0;
        while (token.find()) {
            String between = text.substring(counted, token.start());
            line += (int) between.chars().filter(c -> c == '\n').count();
            counted = token.start();
            String found = token.group();
            boolean lineComment = found.startsWith("//");
            boolean isCode = !lineComment && !found.startsWith("/*");
            if (isCode)
                code.add(new Token(found, line, section));
            else if (lineComment && lines[line - 1].strip().equals(found))
                section = comment(found, line, section);
        }
    }

    /** A comment that has a line for itself. @return the section that goes on behind it */
    private Section comment(String comment, int line, Section section) {
        Matcher part = PART.matcher(comment);
        Matcher banner = SECTION.matcher(comment);
        if (part.matches()) {
            parts.add(part.group(1).length());
        } else if (banner.matches()) {
            int last = parts.isEmpty() ? 0 : parts.getLast();
            int number = Integer.parseInt(banner.group(1));
            sections.add(new Section(last, number, banner.group(2).strip(), line, new ArrayList<>()));
            return sections.getLast();
        } else if (line == section.line + section.comments.size() + 1) { // right under the banner
            section.comments.add(comment.substring(2).strip());
        }
        return section;
    }

    /** Finds the types and their members, and the scope of each token. */
    private void declare() {
        Type scope = null;
        Type announced = null; // its name was there, its body was not
        boolean initializer = false; // behind the = of a field
        int level = 0;
        for (int i = 0; i < code.size(); i++) {
            Token token = code.get(i);
            boolean inBody = scope != null && level == scope.level;
            scopes.add(scope);
            if (declaresType(i)) {
                announced = new Type(token.text, scope, token.section, scope != null && !inBody);
                types.add(announced);
                if (scope != null)
                    scope.types.putIfAbsent(token.text, announced);
            } else if (inBody && announced == null && declaresMember(i, initializer)) {
                boolean method = text(i + 1).equals("(");
                scope.members.putIfAbsent(token.text, new Member(token.section, method));
            }
            if (inBody && is(i, ";", "{", "}", "="))
                initializer = token.text.equals("=");
            switch (token.text) {
                case "(" -> level++;
                case ")" -> level--;
                case "{" -> {
                    level++;
                    if (announced != null && scope == announced.outer) {
                        announced.level = level;
                        scope = announced;
                        announced = null;
                    }
                }
                case "}" -> {
                    if (inBody)
                        scope = scope.outer;
                    level--;
                }
                default -> { }
            }
        }
    }

    private String text(int i) {
        return i < 0 || i >= code.size() ? "" : code.get(i).text;
    }

    private boolean is(int i, String... texts) {
        return List.of(texts).contains(text(i));
    }

    private boolean declaresType(int i) {
        boolean isRecord = is(i - 1, "record") && is(i + 1, "(", "<");
        boolean isType = isRecord || is(i - 1, "class", "interface", "enum");
        return isType && code.get(i).isName() && !is(i - 2, "."); // not Some.class
    }

    /** A name behind a type, and before what can follow a field's or a method's. */
    private boolean declaresMember(int i, boolean initializer) {
        boolean behindType = !initializer && text(i - 1).matches("[\\w$]+|>|]");
        boolean begins = behindType || is(i - 1, ","); // int a = 1, b = 2;
        boolean ends = is(i + 1, "(", "=", ";", ",");
        return code.get(i).isName() && begins && ends;
    }

    /** The section that declares the name at i, as Java looks it up; null if the name is not declared. */
    private Section declared(int i) {
        Section found = null;
        if (is(i - 1, ".", "::")) { // Map.Entry is no type of ours, whatever we call Entry
            for (Type type : types)
                if (found == null && type.name.equals(text(i - 2)))
                    found = member(type, i);
            return found;
        }
        Type scope = scopes.get(i);
        while (scope != null && found == null) {
            found = scope.name.equals(text(i)) ? scope.section : member(scope, i);
            scope = scope.outer;
        }
        return found;
    }

    private Section member(Type type, int i) {
        Type nested = type.types.get(text(i));
        if (nested != null)
            return nested.section;
        Member member = type.members.get(text(i));
        boolean method = is(i + 1, "(") || is(i - 1, "::");
        return member == null || member.method != method ? null : member.section;
    }

    private List<String> uses(Predicate<Use> forbidden) {
        List<String> uses = new ArrayList<>();
        for (int i = 0; i < code.size(); i++) {
            Section declared = code.get(i).isName() ? declared(i) : null;
            if (declared == null || declared == code.get(i).section)
                continue;
            Use use = new Use(code.get(i), declared);
            if (forbidden.test(use))
                uses.add(use.toString());
        }
        return uses;
    }

    /** There are three parts, and sections in ascending order, each in its part. */
    List<String> misplaced() {
        List<String> wrong = new ArrayList<>();
        if (!parts.equals(List.of(1, 2, 3)))
            wrong.add("expected parts 1, 2, 3, got " + parts);
        int before = 0;
        for (Section section : sections) {
            int part = section.part;
            int number = section.number;
            if (number <= before)
                wrong.add("section " + section + " comes after " + before);
            boolean fits = part > 0 && number > LAST_OF_PART[part - 1] && number <= LAST_OF_PART[part];
            if (!fits)
                wrong.add("section " + section + " is in part " + part);
            before = number;
        }
        for (int part : parts)
            if (sections.stream().noneMatch(section -> section.part == part))
                wrong.add("part " + part + " has no section");
        return wrong;
    }

    /** What names something that is declared in a section below it. */
    List<String> usesFromBelow() {
        return uses(use -> sections.indexOf(use.declared) > sections.indexOf(use.name.section));
    }

    /** What in part I names something of another part. */
    List<String> usesOutOfTheCore() {
        return uses(use -> use.name.section.part == 1 && use.declared.part > 1);
    }

    /** What in part II names something of another section of it. */
    List<String> usesAmongTheParts() {
        return uses(use -> use.name.section.part == 2 && use.declared.part == 2);
    }

    /** Sections of part II that do not have the four facts under their banner, each on a line of its own. */
    List<String> withoutFacts() {
        List<String> wrong = new ArrayList<>();
        for (Section section : sections) {
            List<String> found = new ArrayList<>();
            for (String comment : section.comments)
                FACTS.stream().filter(fact -> comment.matches(fact + "\\b.*")).forEach(found::add);
            if (section.part == 2 && !found.equals(FACTS))
                wrong.add("section " + section + ": expected " + FACTS + ", got " + found);
        }
        return wrong;
    }

    /** What is denser, wider or longer than it should be. A text block is one token of the line that it begins
     * in. */
    List<String> tooDense() {
        Map<Integer, Integer> ofLine = new TreeMap<>();
        Map<Section, Integer> ofSection = new HashMap<>();
        Map<Section, Set<Integer>> linesOf = new LinkedHashMap<>();
        int[] ofPart = new int[TOKENS_OF_PART.length];
        for (Token token : code) {
            ofLine.merge(token.line, 1, Integer::sum);
            ofSection.merge(token.section, 1, Integer::sum);
            linesOf.computeIfAbsent(token.section, section -> new HashSet<>()).add(token.line);
            ofPart[token.section.part]++;
        }
        ofPart[0] = code.size();
        List<String> wrong = new ArrayList<>();
        for (Section section : linesOf.keySet()) {
            double mean = (double) ofSection.get(section) / linesOf.get(section).size();
            if (section.part > 0 && mean > TOKENS_OF_LINES)
                wrong.add("section " + section + ": " + mean + " tokens a line");
        }
        ofLine.forEach((line, tokens) -> {
            if (tokens > TOKENS_OF_LINE)
                wrong.add("line " + line + ": " + tokens + " tokens");
        });
        for (int i = 0; i < lines.length; i++) {
            int columns = (int) lines[i].codePoints().count();
            if (columns > COLUMNS)
                wrong.add("line " + (i + 1) + ": " + columns + " columns");
        }
        for (int part = 0; part < ofPart.length; part++) {
            String name = part == 0 ? "all" : "part " + part;
            if (ofPart[part] > TOKENS_OF_PART[part])
                wrong.add(name + ": " + ofPart[part] + " tokens");
        }
        return wrong;
    }

    /** The names in the code that begin with a capital letter, those of the types that it declares aside. */
    Set<String> capitalizedNames() {
        Set<String> names = new TreeSet<>();
        for (Token token : code)
            if (Character.isUpperCase(token.text.charAt(0)))
                names.add(token.text);
        types.forEach(type -> names.remove(type.name));
        return names;
    }

    /** Imports of all that a package or a type has. */
    List<String> importsOnDemand() {
        List<String> wrong = new ArrayList<>();
        for (int i = 0; i < code.size(); i++)
            if (is(i, ".") && is(i + 1, "*") && is(i + 2, ";"))
                wrong.add("line " + code.get(i).line);
        return wrong;
    }

    /** The binary names of a part's types, but for those within methods. */
    List<String> binaryNames(int part) {
        return binaryNames(section -> section.part == part);
    }

    /** The names of the classes of those parts that are off until they are asked for. */
    List<String> binaryNamesOfPartsThatAreOff() {
        return binaryNames(section -> section.part == 2
            && section.comments.stream().noneMatch(comment -> comment.startsWith("Off unless: never off")));
    }

    private List<String> binaryNames(Predicate<Section> which) {
        List<String> names = new ArrayList<>();
        for (Type type : types)
            if (which.test(type.section) && !type.local)
                names.add(type.binaryName());
        return names;
    }
}
