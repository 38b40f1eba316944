import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Metrics in Prometheus' text format 0.0.4, read by its rules and no more leniently. */
final class Exposition {
    /** What begins with its HELP and its TYPE: the samples by their names and labels, as they stand there. */
    record Family(String type, String help, Map<String, Double> samples) { }

    private static final Pattern HELP = Pattern.compile("# HELP (\\S+) (\\S.*)");
    private static final Pattern TYPE = Pattern.compile("# TYPE (\\S+) (counter|gauge|histogram)");
    private static final String NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
    private static final String LABEL = "[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\\\n]|\\\\[\\\\\"n])*\"";
    private static final Pattern SAMPLE =
        Pattern.compile("(" + NAME + ")(\\{" + LABEL + "(?:," + LABEL + ")*})? (\\S+)");
    private static final Pattern BOUND = Pattern.compile("\\{le=\"(\\S+)\"}");

    final Map<String, Family> families = new LinkedHashMap<>();

    /** What the port of a feed answers. */
    static Exposition of(int feedPort) throws IOException {
        String request = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
        return new Exposition(RawClient.body(RawClient.lastAnswer(feedPort, request)));
    }

    /** @throws IllegalArgumentException if the text is not in the format */
    Exposition(String text) {
        check(text.endsWith("\n"), "no line feed at the end");
        String[] lines = text.split("\n");
        String name = null;
        for (int i = 0; i < lines.length; i++) {
            String line = lines[i];
            Matcher help = HELP.matcher(line);
            Matcher sample = SAMPLE.matcher(line);
            if (help.matches()) {
                name = help.group(1);
                check(name.matches(NAME), "no name: " + line);
                Matcher type = TYPE.matcher(i + 1 < lines.length ? lines[i + 1] : "");
                check(type.matches() && type.group(1).equals(name), "no TYPE behind " + line);
                Family before = families.put(name,
                    new Family(type.group(2), help.group(2), new LinkedHashMap<>()));
                check(before == null, "twice: " + line);
                i++;
            } else {
                check(name != null && sample.matches(), "no sample: " + line);
                check(belongs(sample.group(1), name, families.get(name).type()), "not of " + name + ": " + line);
                String labels = sample.group(2) == null ? "" : sample.group(2);
                Double before = families.get(name).samples().put(sample.group(1) + labels, number(sample.group(3)));
                check(before == null, "twice: " + line);
            }
        }
        families.forEach(Exposition::check);
    }

    private static boolean belongs(String sample, String name, String type) {
        return type.equals("histogram") ? sample.matches(name + "_(bucket|sum|count)") : sample.equals(name);
    }

    private static void check(String name, Family family) {
        check(!family.samples().isEmpty(), "no sample of " + name);
        check(family.type().equals("counter") == name.endsWith("_total"), family.type() + ' ' + name);
        if (!family.type().equals("gauge"))
            family.samples().forEach((sample, value) -> check(value >= 0, "below 0: " + sample));
        if (family.type().equals("histogram"))
            checkHistogram(name, family.samples());
    }

    /** Its buckets are in order, none counts less than the one before, and the last counts all. */
    private static void checkHistogram(String name, Map<String, Double> samples) {
        List<Double> bounds = new ArrayList<>(), counts = new ArrayList<>();
        samples.forEach((sample, value) -> {
            if (sample.startsWith(name + "_bucket")) {
                Matcher bound = BOUND.matcher(sample.substring(name.length() + "_bucket".length()));
                check(bound.matches(), "no bound: " + sample);
                bounds.add(number(bound.group(1)));
                counts.add(value);
            }
        });
        check(!bounds.isEmpty() && bounds.getLast() == Double.POSITIVE_INFINITY, "the last bound of " + name);
        for (int i = 1; i < bounds.size(); i++)
            check(bounds.get(i) > bounds.get(i - 1) && counts.get(i) >= counts.get(i - 1),
                "bucket " + i + " of " + name);
        check(counts.getLast().equals(samples.get(name + "_count")), "the count of " + name);
        check(samples.containsKey(name + "_sum"), "the sum of " + name);
    }

    private static double number(String text) {
        if (text.equals("+Inf")) return Double.POSITIVE_INFINITY;
        check(text.matches("[+-]?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?"), "no number: " + text);
        return Double.parseDouble(text);
    }

    private static void check(boolean condition, String otherwise) {
        if (!condition) throw new IllegalArgumentException(otherwise);
    }

    /** The value of a sample, such as {@code a_total} or {@code a_total{reason="b"}}. */
    double get(String sample) {
        for (Family family : families.values())
            if (family.samples().containsKey(sample))
                return family.samples().get(sample);
        throw new AssertionError("no " + sample + " in " + families);
    }

    /** The samples of a family, which there has to be. */
    Map<String, Double> samples(String family) {
        if (!families.containsKey(family)) throw new AssertionError("no " + family);
        return families.get(family).samples();
    }

    /** The sum of a family's samples. */
    double sum(String family) {
        return samples(family).values().stream().mapToDouble(Double::doubleValue).sum();
    }
}
