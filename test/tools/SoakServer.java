import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The server of a soak, in a process of its own: its log, and what it holds of memory, threads and descriptors. */
final class SoakServer {
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

    private static final Path HOME = Path.of(System.getProperty("java.home"), "bin");
    private static final Pattern PORT = Pattern.compile("(listeners connect|feed takes POSTs) to \\S+:(\\d+)/");
    private static final Pattern LEFT_OUT = Pattern.compile("(\\d+) more lines of this kind were left out");
    private static final Pattern CLASS = Pattern.compile(" *\\d+: +(\\d+) +(\\d+) +(\\S+).*|Total +\\d+ +(\\d+)");
    final Process process;
    final Thread reader = Thread.ofPlatform().daemon().unstarted(() -> Soak.attempt("the log", this::readLog));
    final CompletableFuture<Integer> port = new CompletableFuture<>(), feedPort = new CompletableFuture<>();
    private final Map<String, LongAdder> lines = new ConcurrentHashMap<>(); // of the log, by kind

    /** @param jvm options of the JVM, with spaces between */
    SoakServer(String jvm, String... args) throws IOException {
        List<String> command = new ArrayList<>(List.of(HOME.resolve("java").toString()));
        command.addAll(Stream.of(jvm.split(" ")).filter(option -> !option.isEmpty()).toList());
        command.addAll(List.of("-cp", ".build/classes", "NanoStreamWs", "--host=127.0.0.1", "--port=0",
            "--feed=http://127.0.0.1:0/", "--secret=" + SECRET));
        command.addAll(List.of(args));
        process = new ProcessBuilder(command).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        reader.start();
    }

    private void readLog() throws IOException {
        try (BufferedReader log = process.errorReader(UTF_8)) {
            for (String line; (line = log.readLine()) != null; ) {
                String[] words = line.split(" ", 3); // time, kind, what happened
                String kind = words.length < 3 || !words[0].endsWith("Z") ? "?" : words[1];
                Matcher leftOut = LEFT_OUT.matcher(line), found = PORT.matcher(line);
                lines.computeIfAbsent(kind, k -> new LongAdder())
                    .add(leftOut.find() ? Long.parseLong(leftOut.group(1)) : 1);
                if (found.find())
                    (found.group(1).startsWith("feed") ? feedPort : port).complete(Integer.valueOf(found.group(2)));
                if (kind.equals("fault"))
                    Soak.Check.FAULTS.fail(line);
                if (List.of("fault", "warning", "accept", "full", "?").contains(kind))
                    System.out.println("the server: " + line);
            }
        }
    }

    private long count(String kind) { return lines.containsKey(kind) ? lines.get(kind).sum() : 0; }

    long admitted() { return count("admitted"); }

    long gone() { return count("left") + count("dropped"); }

    /** Collects what is garbage, all of it, and looks at what is left. */
    Snapshot snapshot() throws IOException {
        Map<String, long[]> classes = new HashMap<>();
        long heap = 0;
        Process tool = new ProcessBuilder(HOME.resolve("jcmd").toString(), "" + process.pid(), "GC.class_histogram")
            .redirectErrorStream(true).start();
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

    /** How many are open; -1 where there is no /proc. */
    long descriptors() {
        try (Stream<Path> open = Files.list(Path.of("/proc/" + process.pid() + "/fd"))) {
            return open.count();
        } catch (IOException e) {
            return -1;
        }
    }

    /** A number of /proc/PID/status, of kB where it is memory; -1 where there is none. */
    long status(String name) throws IOException {
        Path status = Path.of("/proc/" + process.pid() + "/status");
        for (String line : Files.exists(status) ? Files.readAllLines(status) : List.<String>of())
            if (line.startsWith(name + ":"))
                return Long.parseLong(line.replaceAll("\\D", ""));
        return -1;
    }
}
