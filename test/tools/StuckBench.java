import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.LongAccumulator;

/**
 * Measures what listeners that stop reading cost the others: the longest time from a POST to its arrival at a listener
 * that reads, in milliseconds, with none stuck and with some. Prints a line a run. `make bench-stuck` runs it.
 */
final class StuckBench {
    private static final int RUNS = 5;

    public static void main(String[] args) throws Exception {
        run(100, 0, 200, 20_000, 10); // warms up; not printed
        System.out.println("100 listeners, 20 kB every 10 ms for 3 s: longest delivery, ms");
        for (int i = 0; i < RUNS; i++)
            System.out.printf("  none stuck %5.1f     1 more that gets stuck %5.1f%n",
                run(100, 0, 300, 20_000, 10), run(100, 1, 300, 20_000, 10));
        System.out.println("200 listeners, one message of 512 KiB: longest delivery, ms");
        for (int i = 0; i < RUNS; i++)
            System.out.printf("  none stuck %5.1f     200 more that get stuck at it %5.1f%n",
                run(200, 0, 1, 512 * 1024, 0), run(200, 200, 1, 512 * 1024, 0));
    }

    /** The longest of all deliveries. */
    private static double run(int reading, int stuck, int messages, int bytes, int pauseMillis) throws Exception {
        LongAccumulator longest = new LongAccumulator(Long::max, 0);
        List<RawClient> clients = new ArrayList<>();
        try (TestServer server = new TestServer("--max-lag=1000000000");
             ExecutorService readers = Executors.newVirtualThreadPerTaskExecutor()) {
            CountDownLatch done = new CountDownLatch(reading);
            for (int i = 0; i < reading + stuck; i++) {
                boolean reads = stuck == 0 || i % (1 + reading / stuck) != 0; // the stuck ones stand before the others
                RawClient client = new RawClient(server.port(), reads ? 0 : 4096);
                client.upgrade("/");
                clients.add(client);
                if (!reads)
                    continue;
                readers.submit(() -> {
                    for (int m = 0; m < messages; m++) {
                        String text = client.text();
                        longest.accumulate(System.nanoTime() - Long.parseLong(text, 0, text.indexOf(' '), 10));
                    }
                    done.countDown();
                    return null;
                });
            }
            server.awaitListeners(reading + stuck);
            String padding = " " + "x".repeat(bytes);
            for (int m = 0; m < messages; m++) {
                server.post(System.nanoTime() + padding);
                Thread.sleep(pauseMillis);
            }
            done.await();
            for (RawClient client : clients)
                client.close();
        }
        return longest.get() / 1e6;
    }
}
