import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Measures what attacks cost the others: the longest of 200 handshakes, and of 200 deliveries to a listener from the
 * POST on, in milliseconds, while something hostile goes on. `make bench-attack` runs it.
 */
final class AttackBench {
    private interface Attack {
        /** Starts it; what it returns is closed at the end. */
        List<RawClient> start(TestServer server) throws Exception;
    }

    private static volatile boolean over;

    public static void main(String[] args) throws Exception {
        run(null, server -> List.of());
        run("nothing", server -> List.of());
        run("2,000 connections that send a byte a second", AttackBench::slow);
        run("a flood of pings by 4 listeners", server -> flood(server, RawClient.frame(0x89, ""), 1_000));
        run("a flood of data by 4 listeners", server -> flood(server, RawClient.frame(0x82, new byte[60_000]), 10));
        run("a flood of refused tokens by 4 clients", AttackBench::refused);
    }

    private static void run(String name, Attack attack) throws Exception {
        over = false;
        try (TestServer server = new TestServer("--secret=my_secret")) {
            List<RawClient> attackers = attack.start(server);
            long handshake = 0, delivery = 0;
            try (RawClient listener = RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server))) {
                for (int i = 0; i < 200; i++) {
                    long before = System.nanoTime();
                    RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server)).close();
                    handshake = Math.max(handshake, System.nanoTime() - before);
                    before = System.nanoTime();
                    server.post("message " + i);
                    listener.text();
                    delivery = Math.max(delivery, System.nanoTime() - before);
                    Thread.sleep(10);
                }
            }
            over = true;
            for (RawClient attacker : attackers)
                attacker.close();
            if (name != null)
                System.out.printf("%-45s handshake %6.1f   delivery %6.1f%n", name, handshake / 1e6, delivery / 1e6);
        }
    }

    private static List<RawClient> slow(TestServer server) throws IOException {
        List<RawClient> clients = new ArrayList<>();
        for (int i = 0; i < 2_000; i++)
            clients.add(new RawClient(server.port()));
        repeat(1, () -> {
            for (RawClient client : clients)
                client.send("G");
            Thread.sleep(1_000);
        });
        return clients;
    }

    /** Listeners that send without pause, and come again when they are dropped. */
    private static List<RawClient> flood(TestServer server, byte[] frame, int atOnce) {
        byte[] frames = new byte[frame.length * atOnce];
        for (int i = 0; i < frames.length; i++)
            frames[i] = frame[i % frame.length];
        repeat(4, () -> {
            try (RawClient client = RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server))) {
                Thread.ofVirtual().start(() -> drain(client));
                while (!over)
                    client.send(frames);
            }
        });
        return List.of();
    }

    private static List<RawClient> refused(TestServer server) {
        AtomicLong number = new AtomicLong();
        repeat(4, () -> {
            try (RawClient client = new RawClient(server.port())) {
                client.upgrade("/?t=" + TestToken.fresh(server) + number.incrementAndGet());
            }
        });
        return List.of();
    }

    private interface Step {
        void take() throws Exception;
    }

    private static void repeat(int threads, Step step) {
        for (int i = 0; i < threads; i++)
            Thread.ofPlatform().daemon().start(() -> {
                while (!over) {
                    try {
                        step.take();
                    } catch (Exception e) {
                        // dropped: again
                    }
                }
            });
    }

    private static void drain(RawClient client) {
        try {
            while (true)
                client.frame();
        } catch (IOException e) {
            // the end
        }
    }
}
