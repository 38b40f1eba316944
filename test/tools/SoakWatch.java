import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Watches the server of a soak: counts the lines of its log, and looks at what lives in its heap. */
final class SoakWatch {
    static final String SECRET = "a secret of 32 bytes and more, for the soak";

    /** What lives in the server's heap after a full collection: instances and bytes by class, bytes in all. */
    record Snapshot(Map<String, long[]> classes, long heap) {
        private long[] of(String name) { return classes.getOrDefault(name, new long[2]); }

        long listeners() { return of("NanoStreamWs$Listener")[0] + of("NanoStreamWs$FrameReader")[0]; }

        long virtualThreads() { return of("java.lang.VirtualThread")[0]; }

        /** The table of used tokens has their expiries, which hardly anything else is made of. */
        long tokens() { return of("java.lang.Double")[0]; }

        String growthSince(Snapshot before) {
            return classes.keySet().stream()
                .sorted(Comparator.comparingLong(name -> before.of(name)[1] - of(name)[1])).limit(6)
                .map(name -> String.format("%s %+,d bytes", name, of(name)[1] - before.of(name)[1]))
                .collect(Collectors.joining(", "));
        }
    }

    private static final Pattern LEFT_OUT = Pattern.compile("(\\d+) more lines of this kind were left out");
    private static final Pattern CLASS = Pattern.compile(" *\\d+: +(\\d+) +(\\d+) +(\\S+).*|Total +\\d+ +(\\d+)");
    private final Map<String, LongAdder> lines = new ConcurrentHashMap<>(); // of the log, by kind
    final ServerProcess server;

    /** @param jvm options of the JVM, with spaces between */
    SoakWatch(String jvm, String... args) throws IOException {
        List<String> all = new ArrayList<>(List.of("--secret=" + SECRET));
        all.addAll(List.of(args));
        server = ServerProcess.watched(jvm, this::count, all.toArray(String[]::new));
    }

    /** Counts a line of the log by its kind, and tells it on if it is of a kind that ought not to be there. */
    private void count(String line) {
        String[] words = line.split(" ", 3); // time, kind, what happened
        String kind = words.length < 3 || !words[0].endsWith("Z") ? "?" : words[1];
        Matcher leftOut = LEFT_OUT.matcher(line);
        long count = leftOut.find() ? Long.parseLong(leftOut.group(1)) : 1;
        lines.computeIfAbsent(kind, k -> new LongAdder()).add(count);
        if (kind.equals("fault"))
            Soak.Check.FAULTS.fail(line);
        if (List.of("fault", "warning", "accept", "full", "?").contains(kind))
            System.out.println("the server: " + line);
    }

    private long counted(String kind) { return lines.containsKey(kind) ? lines.get(kind).sum() : 0; }

    long admitted() { return counted("admitted"); }

    long gone() { return counted("left") + counted("dropped"); }

    /** Collects what is garbage, all of it, and looks at what is left. */
    Snapshot snapshot() throws IOException {
        Map<String, long[]> classes = new HashMap<>();
        long heap = 0;
        Process tool = new ProcessBuilder(ServerProcess.JDK.resolve("jcmd").toString(), "" + server.process.pid(),
            "GC.class_histogram").redirectErrorStream(true).start();
        try (BufferedReader output = tool.inputReader(UTF_8)) {
            for (String line; (line = output.readLine()) != null; ) {
                Matcher found = CLASS.matcher(line);
                if (found.matches() && found.group(4) != null)
                    heap = Long.parseLong(found.group(4));
                else if (found.matches())
                    classes.put(found.group(3),
                        new long[] {Long.parseLong(found.group(1)), Long.parseLong(found.group(2))});
            }
        }
        if (heap == 0)
            throw new IOException("jcmd does not tell what is in the heap");
        for (String name : classes.keySet()) // what a collection left in the place of garbage
            heap -= name.contains("jdk.internal.vm.Filler") ? classes.get(name)[1] : 0;
        return new Snapshot(classes, heap);
    }
}
