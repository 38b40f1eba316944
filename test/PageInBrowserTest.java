// SPDX-License-Identifier: MIT
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("slow")
@DisplayName("The page, in a browser")
class PageInBrowserTest {
    private static final String ACCOUNT = "nano_1ipx847tk8o46pwxt5qjdbncjqcbwcc1rrmqnkztrfjy5k7z4imsrata9est";
    private static final String NANO = "0".repeat(30); // behind a number: so many, in raw
    private static final String REFUSED =
        "Not admitted: the token was used or has expired, or the server is full. The log of the server says why.";
    private static Browser browser;

    private TestServer server;

    @BeforeAll
    static void open(@TempDir Path folder) throws Exception {
        browser = Browser.open(folder);
    }

    @AfterAll
    static void leave() throws Exception {
        if (browser != null)
            browser.close();
    }

    @AfterEach
    void stop() {
        server.close();
        assertFalse(server.log().contains("eyJ"), "no token in the log");
    }

    private void start(String... options) throws Exception {
        server = new TestServer(options);
    }

    private String url() {
        return "http://127.0.0.1:" + server.port() + '/';
    }

    /** The page of an open server, connected. */
    private void connect() throws Exception {
        browser.open(url());
        browser.awaitState("Connected");
    }

    /** The page of a server that wants a token, connected. */
    private void connectByToken() throws Exception {
        browser.open(url() + '#' + TestToken.fresh(server));
        browser.awaitState("Connected");
    }

    private void post(String message) throws Exception {
        assertEquals(200, server.post(message));
    }

    /** Posts what a node posts of a block. @param subtype or null, as with a legacy block */
    private void postBlock(String type, String subtype, String raw) throws Exception {
        post("{\"account\":\"" + ACCOUNT + "\",\"block\":{\"type\":\"" + type + "\",\"account\":\"" + ACCOUNT
            + "\"},\"amount\":\"" + raw + '"' + (subtype == null ? "" : ",\"subtype\":\"" + subtype + '"')
            + (subtype != null && subtype.equals("send") ? ",\"is_send\":\"true\"}" : "}"));
    }

    /** Messages that the history has and that the page begins with, so that it counts each one that follows. */
    private void postHistory() {
        for (int i = 0; i < 60; i++) {
            byte[] message = ("past " + i).getBytes(UTF_8);
            server.server.broadcaster.publish(seen -> message);
        }
    }

    /** The rows that are shown, each its cells with a bar between, the time left out. */
    private static List<String> rows() {
        String rows = browser.eval("""
            Array.from(document.querySelectorAll('tbody tr'),
              (row) => Array.from(row.cells).slice(1).map((cell) => cell.textContent).join('|')).join('\\n')""");
        return rows.isEmpty() ? List.of() : rows.lines().toList();
    }

    private static void awaitRows(int count) {
        browser.await("document.querySelectorAll('tbody tr td:nth-child(2)').length === " + count);
    }

    @Test
    @DisplayName("an open server's stream is there without a question, the newest first, and the console is empty")
    void showsBlocks() throws Exception {
        start();
        connect();
        postBlock("state", "send", "1234" + NANO);
        postBlock("state", "receive", "1");
        postBlock("state", "change", "0");
        postBlock("state", "epoch", "0");
        postBlock("open", null, "1000001" + NANO.substring(6));
        postBlock("state", "send", "1500000" + NANO.substring(6));
        awaitRows(6);
        post("any text"); // has no figures, which stay as the last block had them
        awaitRows(7);
        String account = "nano_1ip...9est";
        assertEquals(List.of("any text", "send|1.5|" + account, "open|1.000001|" + account, "epoch|0|" + account,
            "change|0|" + account, "receive|< 0.000001|" + account, "send|1,234|" + account), rows());
        String time = browser.textOf("tr:has(.kind) .time");
        assertTrue(time.matches("\\d\\d:\\d\\d:\\d\\d"), time);
        assertEquals("1", browser.textOf("#tps"));
        assertEquals("", browser.console());
    }

    @Test
    @DisplayName("whatever text comes is shown; what is long is cut, and by characters; no JSON stops the page")
    void showsTexts() throws Exception {
        start();
        connect();
        post("short");
        post("\uD83D\uDE00".repeat(700)); // each two units of UTF-16
        post("[1]");
        post("{\"seen\":{\"valueOf\":1,\"toString\":1},\"is_send\":true,\"amount\":{\"valueOf\":1,\"toString\":1},"
            + "\"account\":[],\"subtype\":{\"toString\":1},\"tps\":\"5\",\"tpm\":[1]}");
        awaitRows(4);
        assertEquals("send|0|", rows().getFirst(), "what is not flat is as if it were not there");
        assertEquals(List.of("[1]", "\uD83D\uDE00".repeat(500) + "...", "short"), rows().subList(1, 4));
        assertEquals("", browser.console());
    }

    @Test
    @DisplayName("texts alone have no columns and no figures of blocks; a server without a history will do")
    void needsNoColumnsForTexts() throws Exception {
        start("--history=0");
        connect();
        post("text");
        awaitRows(1);
        assertEquals("none", browser.eval("getComputedStyle(document.querySelector('thead')).display"));
        assertEquals("none", browser.eval("getComputedStyle(document.querySelector('#tps').parentNode).display"));
    }

    @Test
    @DisplayName("begins with the last 50 of the history, and counts none of them")
    void fillsFromHistory() throws Exception {
        start();
        postHistory();
        connect();
        awaitRows(50);
        assertEquals(List.of("past 59", "past 58", "past 57"), rows().subList(0, 3));
        assertEquals("0", browser.textOf("#total"));
        post("one more");
        awaitTop("one more");
        assertEquals(List.of("one more", "past 59", "past 58"), rows().subList(0, 3));
        assertEquals("1", browser.textOf("#total"));
    }

    /** Waits until the newest message that is shown is this text. */
    private static void awaitTop(String text) {
        browser.await("document.querySelector('tbody tr').cells[1]?.textContent === '" + text + '\'');
    }

    @Test
    @DisplayName("keeps the newest 50")
    void keepsTheNewest() throws Exception {
        start();
        connect();
        for (int i = 0; i < 4; i++)
            postHistory();
        post("last");
        awaitTop("last");
        assertEquals(50, rows().size());
        assertEquals("past 11", rows().getLast());
    }

    @Test
    @DisplayName("a link admits once; then the page says that a token works once, and takes another")
    void refusesTheSecondUse() throws Exception {
        start("--secret=" + TestServer.SECRET);
        String link = url() + '#' + TestToken.fresh(server);
        browser.open(link);
        browser.awaitState("Connected");
        assertEquals(url(), browser.eval("location.href"), "the token is not in the address any more");
        assertFalse(browser.eval("document.body.innerHTML").contains("eyJ"));
        assertFalse(displayed("#ask"));
        assertEquals("", browser.console());
        browser.open(link);
        browser.awaitState(REFUSED);
        assertTrue(displayed("#ask"));
        assertEquals(url(), browser.eval("location.href"));
        browser.type("#token", url() + '#' + TestToken.fresh(server) + '\n');
        browser.awaitState("Connected");
        assertEquals(url(), browser.eval("location.href"));
        server.awaitListeners(1);
    }

    private static boolean displayed(String selector) {
        return browser.eval("document.querySelector('" + selector + "').checkVisibility()").equals("true");
    }

    @Test
    @DisplayName("without a token it asks for one, if the server does not do without; a link in the same tab will do")
    void asksForAToken() throws Exception {
        start("--secret=" + TestServer.SECRET);
        browser.open(url());
        browser.awaitState("Not admitted: this server wants a token, or is full. The log of the server says why.");
        assertTrue(displayed("#ask"));
        browser.run("location.hash = '" + TestToken.fresh(server) + '\'');
        browser.awaitState("Connected");
        assertEquals(1, server.count(NanoStreamWs.Event.ADMITTED));
    }

    @Test
    @DisplayName("a token that was lost with its connection does not work again: the page says so, and why it ended")
    void saysWhyItEnded() throws Exception {
        start("--secret=" + TestServer.SECRET);
        connectByToken();
        server.close();
        browser.awaitState("The server is shutting down. To connect again takes a new token.");
        assertTrue(displayed("#ask"));
    }

    /** What a browser was told of the page's state, one text after the other. */
    private static void recordStates() {
        browser.run("""
            const state = document.getElementById('state');
            window.states = [];
            new MutationObserver(() => states.push(state.textContent)).observe(state, { childList: true });""");
    }

    @Test
    @DisplayName("an open server's page comes back by itself, says so once, and shows nothing twice")
    void connectsAgain() throws Exception {
        start();
        int port = server.port();
        connect();
        post("before");
        awaitRows(1);
        recordStates();
        server.close();
        browser.run("Math.random = () => 0.1"); // of the longest wait
        browser.await("tries > 3");
        browser.awaitState("The server cannot be reached. Trying again.");
        assertEquals(List.of("before"), rows(), "what was there stays for the while");
        start("--port=" + port);
        post("meanwhile");
        browser.awaitState("Connected");
        post("after");
        awaitRows(2);
        assertEquals(List.of("after", "meanwhile"), rows());
        assertEquals("The server is shutting down. Trying again.\nThe server cannot be reached. Trying again.\n"
            + "Connected", browser.eval("states.join('\\n')"));
    }

    @Test
    @DisplayName("a connection that breaks is told as lost; what comes again is not shown twice")
    void saysThatAConnectionWasLost() throws Exception {
        start();
        try (Relay relay = new Relay()) {
            relay.mend(server.port());
            browser.open("http://127.0.0.1:" + relay.port() + '/');
            browser.awaitState("Connected");
            post("one");
            awaitRows(1);
            recordStates();
            relay.cut();
            browser.await("states.includes('The connection was lost. Trying again.')");
            post("two");
            relay.mend(server.port());
            browser.awaitState("Connected");
            awaitRows(2);
            assertEquals(List.of("two", "one"), rows());
        }
    }

    @Test
    @DisplayName("a server that is not well is told apart from one that does not admit; the token is kept for it")
    void waitsForAServerThatIsNotWell() throws Exception {
        start("--secret=" + TestServer.SECRET, "--max-listeners=1");
        server.server.health.checks.add(() -> "ill");
        RawClient other = RawClient.admitted(server.port(), "/?t=" + TestToken.fresh(server));
        browser.open(url() + '#' + TestToken.fresh(server));
        browser.awaitState("The server takes no listeners at the moment. Trying again.");
        assertFalse(displayed("#ask"));
        other.close();
        browser.awaitState("Connected");
    }

    @Test
    @DisplayName("that no feed is up keeps nobody out: a refusal meanwhile is one of the token")
    void admitsWhileNoFeedIsUp() throws Exception {
        start("--secret=" + TestServer.SECRET, "--feed=ws://127.0.0.1:1/", "--feed=wss://127.0.0.1:2/");
        assertEquals(List.of("no feed is up"), server.server.health.ailments());
        String link = url() + '#' + TestToken.fresh(server);
        browser.open(link);
        browser.awaitState("Connected");
        browser.open(link);
        browser.awaitState(REFUSED);
        assertTrue(displayed("#ask"));
    }

    @Test
    @DisplayName("there may be no room: a page without a token is told so as well")
    void saysThatItMayBeFull() throws Exception {
        start("--max-listeners=1");
        RawClient.admitted(server.port(), "/");
        browser.open(url());
        browser.awaitState("Not admitted: this server wants a token, or is full. The log of the server says why.");
    }

    @Test
    @DisplayName("markup stays text, wherever it stands: no element comes of it, and no script runs")
    void showsMarkupAsText() throws Exception {
        String markup = "<img src=x onerror=alert(1)><script>alert(2)</script>";
        start();
        connect();
        post(markup);
        post("""
            {"is_send":false,"seen":"%1$s","subtype":"%1$s","account":"%1$s","amount":"%1$s","tps":"%1$s"}"""
            .formatted(markup));
        awaitRows(2);
        assertEquals(markup, rows().getLast());
        assertTrue(rows().getFirst().startsWith("<img src=x onerror=a|"), rows().getFirst());
        assertEquals("0", browser.eval("document.querySelectorAll('img, main script').length"));
        assertEquals(markup, browser.eval("document.querySelector('td button').title"));
        assertEquals("", browser.console());
    }

    @Test
    @DisplayName("a pause stops the list, not the count, and says how many came; the keyboard ends it")
    void pauses() throws Exception {
        start();
        postHistory();
        connect();
        awaitRows(50);
        browser.click("#pause");
        browser.click("#pause");
        assertEquals("past 59", rows().getFirst(), "nothing came, nothing goes");
        browser.click("#pause");
        post("one");
        post("two");
        browser.await("document.getElementById('pause').textContent === 'Go on (2 came meanwhile)'");
        assertEquals("past 59", rows().getFirst());
        assertEquals("2", browser.textOf("#total"));
        browser.type("#pause", "\uE007"); // Enter
        assertEquals(List.of("two", "one", "past 59"), rows().subList(0, 3));
        assertEquals("Pause", browser.textOf("#pause"));
    }

    @Test
    @DisplayName("an account is whole in its title; a click shows it whole, and copies it")
    void copiesAnAccount() throws Exception {
        start();
        connect();
        postBlock("state", "send", "1");
        awaitRows(1);
        assertEquals(ACCOUNT, browser.eval("document.querySelector('td button').title"));
        browser.chromium("Browser.grantPermissions",
            "{\"permissions\":[\"clipboardReadWrite\",\"clipboardSanitizedWrite\"]}");
        browser.click("td button");
        browser.await("document.querySelector('td button').textContent === '" + ACCOUNT + " copied'");
        assertEquals(ACCOUNT, browser.eval("navigator.clipboard.readText()"));
    }

    @Test
    @DisplayName("a hidden page counts on and draws nothing, and is up to date when it is seen again")
    void drawsNothingWhileHidden() throws Exception {
        start();
        postHistory();
        connect();
        awaitRows(50);
        browser.hide();
        browser.await("document.hidden");
        for (int i = 0; i < 5; i++)
            postHistory();
        post("last");
        browser.await("total === 301");
        assertEquals("0", browser.textOf("#total"));
        assertEquals("past 59", rows().getFirst());
        assertEquals("50", browser.eval("recent.length"), "what waits is bounded");
        browser.show();
        browser.await("document.getElementById('total').textContent === '301'");
        awaitTop("last");
    }

    /** Publishes 1,000 blocks a second, evenly, until the time is over or it is told to stop.
     * @return how many there were */
    private int publish(int seconds, BooleanSupplier stop) {
        String block = "{\"account\":\"" + ACCOUNT + "\",\"amount\":%d,\"amount_raw\":1,\"is_send\":true,"
            + "\"subtype\":\"send\",\"seen\":1795448508.65,\"tps\":1.0,\"tpm\":60.0}";
        long begin = System.nanoTime();
        int published = 0;
        while (published < 1_000 * seconds && !stop.getAsBoolean()) {
            byte[] message = block.formatted(published).getBytes(UTF_8);
            server.server.broadcaster.publish(seen -> message);
            published++;
            LockSupport.parkNanos(begin + published * 1_000_000L - System.nanoTime());
        }
        return published;
    }

    @Test
    @DisplayName("1,000 messages a second: each is counted, and the frames come within 50 ms")
    void isSmoothAtAThousandASecond() throws Exception {
        start();
        postHistory();
        connect();
        awaitRows(50);
        AtomicBoolean enough = new AtomicBoolean();
        CompletableFuture<Integer> published = CompletableFuture.supplyAsync(() -> publish(20, enough::get));
        try {
            browser.await("total > 1000");
            browser.run("""
                let before = 0;
                window.smooth = 0; // frames in a row
                requestAnimationFrame(function count(now) {
                  smooth = now - before < 50 ? smooth + 1 : 0;
                  before = now;
                  if (smooth < 20) requestAnimationFrame(count);
                });""");
            browser.await("smooth === 20"); // what else the machine does makes some come later
        } finally {
            enough.set(true);
        }
        int count = published.get();
        browser.await("total === " + count);
        browser.await("document.getElementById('total').textContent === numbers.format(total)");
        assertEquals(count + "", browser.eval("counts.reduce((sum, count) => sum + count)"));
        browser.await("document.querySelector('.amount').textContent === numbers.format(total - 1)");
    }

    @Test
    @DisplayName("behind a proxy's prefix, it connects and asks for the health beneath that prefix")
    void connectsBeneathAPrefix() throws Exception {
        start("--max-listeners=1");
        server.server.health.checks.add(() -> "ill");
        RawClient other = RawClient.admitted(server.port(), "/");
        try (Relay relay = new Relay("/stream")) {
            relay.mend(server.port());
            browser.open("http://127.0.0.1:" + relay.port() + "/stream/");
            browser.awaitState("The server takes no listeners at the moment.");
            other.close();
            browser.awaitState("Connected");
            post("hello");
            awaitRows(1);
        }
    }

    @Test
    @DisplayName("of a server with TLS it connects by wss")
    void connectsByTls(@TempDir Path folder) throws Exception {
        TestCertificate own = TestCertificate.of("EC");
        start(TestCertificate.files(folder, own.pem(), own.key()));
        browser.open(url().replace("http:", "https:"));
        browser.awaitState("Connected");
        post("hello");
        awaitRows(1);
    }

    /** What assistive technology is told: a role and a name each. */
    private static List<String> accessible() throws Exception {
        var tree = Browser.elements(Browser.member(browser.chromium("Accessibility.getFullAXTree", "{}"), "nodes"));
        return tree.stream().map(node -> value(node, "role") + ' ' + value(node, "name")).toList();
    }

    private static String value(NanoStreamWs.Json node, String name) {
        NanoStreamWs.Json property = Browser.member(node, name);
        return property == null ? "" : Browser.text(Browser.member(property, "value"));
    }

    @Test
    @DisplayName("the accessibility tree has the state, the parts by their names, figures, chart, table and buttons")
    void isAccessible() throws Exception {
        start("--secret=" + TestServer.SECRET);
        connectByToken();
        postBlock("state", "send", "1" + NANO);
        awaitRows(1);
        browser.await("document.getElementById('most').textContent");
        List<String> tree = accessible();
        for (String part : List.of("main ", "heading NanoStreamWs", "status ", "StaticText Connected",
                "region Messages a second", "term blocks a second (tps)", "image " + browser.textOf("#most"),
                "region Newest first", "button Pause", "table Newest first", "columnheader Time",
                "columnheader Account", "cell send", "button nano_1ip...9est"))
            assertTrue(tree.contains(part), part + " in " + tree);
        assertEquals(1, tree.stream().filter(part -> part.startsWith("status ")).count(), "one live region, the state");
        assertFalse(tree.contains("button Connect"), "no form while it is not needed");
        server.close();
        browser.awaitState("The server is shutting down.");
        tree = accessible();
        assertTrue(tree.contains("textbox A token, or the link that has one:"), tree.toString());
        assertTrue(tree.contains("button Connect"), tree.toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"light", "dark"})
    @DisplayName("text has the contrast of WCAG 2.2 AA, 4.5:1; the dots, which words explain, have 3:1")
    void hasContrast(String scheme) throws Exception {
        start("--secret=" + TestServer.SECRET);
        browser.scheme(scheme);
        connectByToken();
        for (String subtype : List.of("send", "receive", "change", "epoch"))
            postBlock("state", subtype, "1" + NANO);
        awaitRows(4);
        String lowest = browser.run(CONTRAST);
        server.close();
        browser.awaitState("The server is shutting down.");
        assertEquals("\n", lowest + '\n' + browser.run(CONTRAST));
    }

    /** Finds what has too little contrast. */
    private static final String CONTRAST = """
        const channels = (color) => color.match(/[\\d.]+/g).map(Number);
        const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const luminance = (color) => {
          const [red, green, blue] = channels(color).map((channel) => linear(channel / 255));
          return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const contrast = (one, other) => {
          const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
          return (high + 0.05) / (low + 0.05);
        };
        const isClear = (color) => channels(color)[3] === 0;
        const behind = (element) => {
          const color = getComputedStyle(element).backgroundColor;
          return isClear(color) ? behind(element.parentElement) : color;
        };
        const low = [];
        for (const element of document.querySelectorAll('body *')) {
          if (!element.checkVisibility() || element.closest('script, style')) continue;
          const hasText = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
          const dot = getComputedStyle(element, '::before');
          const text = contrast(getComputedStyle(element).color, behind(element));
          if (hasText && text < 4.5) low.push(`${element.outerHTML}: ${text}`);
          if (dot.content === '""' && contrast(dot.backgroundColor, behind(element)) < 3)
            low.push(`the dot of ${element.outerHTML}`);
        }
        return low.join();""";

    private static final String TOO_WIDE =
        "document.documentElement.scrollWidth - document.documentElement.clientWidth";

    @ParameterizedTest
    @CsvSource(textBlock = """
        wide,   1100, 1000, light
        wide,   1100, 1000, dark
        narrow,  360,  740, light
        narrow,  360,  740, dark
        """)
    @DisplayName("nothing is wider than the window, also not on a phone; pictures for a person are in .build")
    void fits(String name, int width, int height, String scheme) throws Exception {
        start();
        browser.scheme(scheme);
        browser.size(width, height);
        connect();
        DemoFeed feed = new DemoFeed();
        for (int i = 0; i < 50; i++)
            post(feed.next());
        awaitRows(50);
        browser.await("document.getElementById('most').textContent");
        browser.screenshot(Path.of(".build", "page-" + name + '-' + scheme + ".png"));
        assertEquals("0", browser.eval(TOO_WIDE));
        assertEquals("true", browser.eval("Array.from(find('rows').rows).every((row) => row.offsetHeight "
            + "< 2 * parseFloat(getComputedStyle(row).lineHeight))"), "each row is one line");
        post("w".repeat(400) + "\u0644".repeat(400));
        awaitTop("w".repeat(400) + "\u0644".repeat(100) + "...");
        browser.click("td button");
        assertEquals("0", browser.eval(TOO_WIDE), "whatever comes");
    }
}
