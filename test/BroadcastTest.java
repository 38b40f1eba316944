import static org.junit.jupiter.api.Assertions.*;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Broadcast: everybody gets everything, in order, once")
class BroadcastTest {
    private static final int LISTENERS = 300, MESSAGES = 10_000;

    @Test
    @Tag("slow")
    void threeHundredListenersGetTenThousandMessagesPostedAsFastAsTheyAreAnswered() throws Exception {
        try (TestServer server = new TestServer();
             ExecutorService readers = Executors.newVirtualThreadPerTaskExecutor();
             RawClient publisher = new RawClient(server.feedPort())) {
            List<RawClient> clients = new ArrayList<>();
            List<Future<Integer>> received = new ArrayList<>();
            for (int i = 0; i < LISTENERS; i++) {
                RawClient client = RawClient.admitted(server.port(), "/");
                clients.add(client);
                received.add(readers.submit(() -> {
                    int next = 0;
                    for (; next < MESSAGES; next++)
                        assertEquals(message(next), client.text());
                    return next;
                }));
            }
            for (int i = 0; i < MESSAGES; i++) {
                String message = message(i);
                publisher.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + message.length() + "\r\n\r\n"
                    + message);
                assertEquals(200, RawClient.status(publisher.answer()));
            }
            for (Future<Integer> count : received)
                assertEquals(MESSAGES, count.get());
            // Nothing more comes than what was posted: the next frame is the close.
            server.server.close();
            for (RawClient client : clients) {
                assertTrue(client.frame().isClose());
                client.close();
            }
        }
    }

    private static String message(int i) {
        return "message " + i + " " + "x".repeat(i % 300); // over both short length encodings
    }

    @ParameterizedTest(name = "while {0} others listen")
    @ValueSource(ints = {0, 1})
    void aListenerThatHasSeenTheAnswerToItsHandshakeMissesNoMessage(int others) throws Exception {
        try (TestServer server = new TestServer()) {
            List<RawClient> staying = new ArrayList<>();
            for (int i = 0; i < others; i++)
                staying.add(RawClient.admitted(server.port(), "/"));
            for (int i = 0; i < 100; i++) {
                try (RawClient client = RawClient.admitted(server.port(), "/")) {
                    assertEquals(200, server.post("message " + i));
                    assertEquals("message " + i, client.text());
                }
            }
            for (RawClient client : staying)
                client.close();
        }
    }

    @Test
    void everyPublisherIsHeardAndItsOrderIsKept() throws Exception {
        try (TestServer server = new TestServer();
             ExecutorService publishers = Executors.newVirtualThreadPerTaskExecutor();
             RawClient client = RawClient.admitted(server.port(), "/")) {
            List<Future<?>> posting = new ArrayList<>();
            for (int p = 0; p < 8; p++) {
                String name = p + " ";
                posting.add(publishers.submit(() -> {
                    for (int i = 0; i < 100; i++)
                        assertEquals(200, server.post(name + i));
                    return null;
                }));
            }
            int[] next = new int[8];
            for (int i = 0; i < 800; i++) {
                String[] message = client.text().split(" ");
                assertEquals(next[Integer.parseInt(message[0])]++, Integer.parseInt(message[1]));
            }
            for (Future<?> each : posting)
                each.get();
        }
    }
}
