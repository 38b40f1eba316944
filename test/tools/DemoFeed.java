// SPDX-License-Identifier: MIT

import java.io.IOException;
import java.math.BigInteger;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;

/**
 * Posts what a Nano node posts to its callback: several blocks a second of a small made-up ledger, in which sends are
 * received, balances add up, and each block names the one before it on its account's chain. Signatures, work and the
 * checksums of accounts are random characters.
 *
 * <p>java test/tools/DemoFeed.java [URL [BLOCKS]]; http://127.0.0.1:3000/ and no end by default.
 */
final class DemoFeed {
    private static final BigInteger NANO = BigInteger.TEN.pow(30); // raw
    private static final int BLOCKS_PER_SECOND = 4;
    private static final int SECONDS_TO_WAIT = 30; // for the server
    private static final String ACCOUNT_ALPHABET = "13456789abcdefghijkmnopqrstuwxyz", HEX = "0123456789ABCDEF";

    private static final Random random = new Random();

    /** An account: its chain's last block, what it has, and who votes for it. */
    private static final class Account {
        final String name = newName();
        String frontier = text(HEX, 64), representative = newName();
        BigInteger balance = amount(5_000);

        private static String newName() {
            return "nano_" + (random.nextBoolean() ? "1" : "3") + text(ACCOUNT_ALPHABET, 59);
        }
    }

    /** A send that has not been received yet. */
    private record Receivable(Account from, Account to, String hash, BigInteger amount) { }

    private final List<Account> accounts = new ArrayList<>();
    private final Deque<Receivable> receivables = new ArrayDeque<>();

    DemoFeed() {
        for (int i = 0; i < 40; i++)
            accounts.add(new Account());
    }

    public static void main(String[] args) throws InterruptedException {
        try {
            post(args);
        } catch (IOException e) {
            System.err.println("DemoFeed: " + e.getMessage());
            System.exit(1);
        }
    }

    private static void post(String[] args) throws IOException, InterruptedException {
        URI url = URI.create(args.length > 0 ? args[0] : "http://127.0.0.1:3000/");
        long blocks = args.length > 1 ? Long.parseLong(args[1]) : Long.MAX_VALUE;
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        DemoFeed feed = new DemoFeed();
        for (long i = 0; i < blocks; i++) {
            HttpRequest request = HttpRequest.newBuilder(url).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(feed.next())).build();
            int status = post(client, request, i == 0 ? SECONDS_TO_WAIT : 0);
            if (status != 200)
                throw new IOException("the server answered " + status);
            if (i == 0)
                System.out.println("""

                    The stream is running. Open http://127.0.0.1:8080/ in a browser, or run `make listen` in another
                    terminal. Ctrl-C ends it.
                    """);
            // Blocks come independently of each other, so the pauses are exponentially distributed.
            Thread.sleep((long) (-Math.log(1 - random.nextDouble()) * 1000 / BLOCKS_PER_SECOND));
        }
    }

    private static int post(HttpClient client, HttpRequest request, int seconds)
            throws IOException, InterruptedException {
        for (long end = System.nanoTime() + seconds * 1_000_000_000L; ; Thread.sleep(50)) {
            try {
                return client.send(request, HttpResponse.BodyHandlers.discarding()).statusCode();
            } catch (ConnectException e) {
                if (System.nanoTime() >= end)
                    throw new IOException("nobody listens on " + request.uri(), e);
            }
        }
    }

    /** The body of the next callback. */
    String next() {
        if (receivables.size() > 5 || !receivables.isEmpty() && random.nextInt(5) < 2) {
            Receivable receivable = receivables.removeFirst();
            Account to = receivable.to;
            to.balance = to.balance.add(receivable.amount);
            return callback(to, "receive", receivable.hash, receivable.from.name, receivable.amount);
        }
        Account from = accounts.get(random.nextInt(accounts.size()));
        BigInteger amount = amount(200);
        if (random.nextInt(12) == 0 || from.balance.compareTo(amount) < 0) {
            from.representative = accounts.get(random.nextInt(accounts.size())).name;
            return callback(from, "change", "0".repeat(64), "nano_" + "1".repeat(52) + "hifc8npp", BigInteger.ZERO);
        }
        Account to = accounts.get(random.nextInt(accounts.size()));
        from.balance = from.balance.subtract(amount);
        String body = callback(from, "send", text(HEX, 64), to.name, amount);
        receivables.addLast(new Receivable(from, to, from.frontier, amount));
        return body;
    }

    /** The callback of a node, with the block in it as text, and its line breaks escaped as the node does. */
    private static String callback(Account account, String subtype, String link, String linkAsAccount,
                                   BigInteger amount) {
        String hash = text(HEX, 64);
        String block = """
            {
                "type": "state",
                "account": "%s",
                "previous": "%s",
                "representative": "%s",
                "balance": "%s",
                "link": "%s",
                "link_as_account": "%s",
                "signature": "%s",
                "work": "%s"
            }
            """.formatted(account.name, account.frontier, account.representative, account.balance, link, linkAsAccount,
                text(HEX, 128), text(HEX, 16).toLowerCase());
        account.frontier = hash;
        return """
            {
                "account": "%s",
                "hash": "%s",
                "block": "%s",
                "amount": "%s",%s
                "subtype": "%s"
            }
            """.formatted(account.name, hash, block.replace("\"", "\\\"").replace("\n", "\\n"), amount,
                subtype.equals("send") ? "\n    \"is_send\": \"true\"," : "", subtype);
    }

    /** Up to so many NANO; small amounts are far more frequent than large ones, and some are round. */
    private static BigInteger amount(int most) {
        double nano = most * Math.pow(10, -6 * random.nextDouble());
        BigInteger raw = BigInteger.valueOf((long) (nano * 1e6) + 1).multiply(BigInteger.TEN.pow(24));
        return random.nextInt(3) == 0 ? raw.add(new BigInteger(79, random))
            : raw.min(NANO.multiply(BigInteger.valueOf(most)));
    }

    private static String text(String alphabet, int length) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++)
            text.append(alphabet.charAt(random.nextInt(alphabet.length())));
        return text.toString();
    }
}
