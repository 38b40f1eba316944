// SPDX-License-Identifier: MIT

import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Chromium without a window, by WebDriver (W3C) and what chromedriver adds to it. */
final class Browser implements AutoCloseable {
    private static final Pattern PORT = Pattern.compile("started successfully on port (\\d+)");
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    /** As root it does without its sandbox, in a container without much of /dev/shm; it asks nobody for anything. */
    private static final String OPTIONS = """
        {"capabilities":{"alwaysMatch":{
          "acceptInsecureCerts":true,
          "goog:loggingPrefs":{"browser":"ALL"},
          "goog:chromeOptions":{"binary":"%s","args":["--headless=new","--no-sandbox","--disable-dev-shm-usage",
            "--disable-gpu","--no-proxy-server","--disable-background-networking","--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1","--window-size=1100,1000"]}}}}""";

    private final Process driver;
    private final Thread reader; // what the driver prints must not fill its pipe
    private final HttpClient http = HttpClient.newHttpClient();
    private final String base; // of all commands: the driver, then the session as well

    private Browser(String chromium, String chromedriver, Path folder) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(chromedriver, "--port=0").redirectErrorStream(true);
        builder.environment().put("TMPDIR", folder.toString());
        driver = builder.start();
        Runtime.getRuntime().addShutdownHook(new Thread(this::endProcesses)); // also when a run of the tests is ended
        BufferedReader output = driver.inputReader();
        int port = port(output);
        reader = Thread.startVirtualThread(() -> output.lines().forEach(line -> { }));
        String sessions = "http://127.0.0.1:" + port + "/session";
        try {
            base = sessions + '/' + text(member(command("POST", sessions, OPTIONS.formatted(chromium)), "sessionId"));
        } catch (Exception | Error e) {
            end();
            throw e;
        }
    }

    /** The test is skipped where there is no Chromium, or nothing that drives it.
     * @param folder for their files, of which they leave some behind */
    static Browser open(Path folder) throws Exception {
        return new Browser(ProxyInFront.program("chromium"), ProxyInFront.program("chromedriver"), folder);
    }

    private static int port(BufferedReader output) throws IOException {
        for (String line = output.readLine(); line != null; line = output.readLine()) {
            Matcher matcher = PORT.matcher(line);
            if (matcher.find())
                return Integer.parseInt(matcher.group(1));
        }
        throw new IOException("chromedriver has ended");
    }

    private NanoStreamWs.Json command(String method, String url, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(PATIENCE)
            .method(method, HttpRequest.BodyPublishers.ofString(body)).build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200)
            throw new AssertionError(method + ' ' + body + ": " + answer.body());
        return member(NanoStreamWs.Json.parse(answer.body()), "value");
    }

    private NanoStreamWs.Json post(String command, String body) throws Exception {
        return command("POST", base + command, body);
    }

    static NanoStreamWs.Json member(NanoStreamWs.Json json, String name) {
        return ((NanoStreamWs.Json.Obj) json).members().get(name);
    }

    static List<NanoStreamWs.Json> elements(NanoStreamWs.Json json) {
        return ((NanoStreamWs.Json.Arr) json).elements();
    }

    /** A string's value, and any other as it is written. */
    static String text(NanoStreamWs.Json json) {
        if (json instanceof NanoStreamWs.Json.Str(var value)) return value;
        StringBuilder out = new StringBuilder();
        NanoStreamWs.JsonWriter.write(json, out);
        return out.toString();
    }

    private static String quoted(String text) {
        return text(new NanoStreamWs.Json.Arr(List.of(new NanoStreamWs.Json.Str(text)))).replaceAll("^\\[|]$", "");
    }

    /** Leaves a page, and forgets what its console had; then another is loaded, even if only its fragment differs. */
    void open(String url) throws Exception {
        post("/url", "{\"url\":\"about:blank\"}");
        console();
        post("/url", "{\"url\":" + quoted(url) + '}');
    }

    /** What an expression of JavaScript is in the page, as text. */
    String eval(String expression) {
        return run("return " + expression);
    }

    /** Runs JavaScript in the page; what it returns, as text. A promise is waited for. */
    String run(String script) {
        try {
            return text(post("/execute/sync", "{\"script\":" + quoted(script) + ",\"args\":[]}"));
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new AssertionError(script, e);
        }
    }

    /** The text of the first element that a selector of CSS finds. */
    String textOf(String selector) {
        return eval("document.querySelector(" + quoted(selector) + ")?.textContent ?? ''");
    }

    /** Waits until an expression of JavaScript is true in the page. */
    void await(String expression) {
        try {
            TestServer.await(expression, () -> eval("Boolean(" + expression + ")").equals("true"));
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + "; the page has: " + eval("document.body.innerText"), e);
        }
    }

    /** Waits until the page's state begins so. */
    void awaitState(String text) {
        await("document.getElementById('state').textContent.startsWith(" + quoted(text) + ')');
    }

    /** The page is not to be seen any more, as behind another tab. */
    void hide() throws Exception {
        post("/window/minimize", "{}");
    }

    void show() throws Exception {
        post("/window/rect", "{\"width\":1100,\"height\":1000}");
    }

    /** Clicks as a user does: what lies over an element would take the click. */
    void click(String selector) throws Exception {
        post("/element/" + element(selector) + "/click", "{}");
    }

    void type(String selector, String text) throws Exception {
        post("/element/" + element(selector) + "/value", "{\"text\":" + quoted(text) + '}');
    }

    private String element(String selector) throws Exception {
        var found = post("/element", "{\"using\":\"css selector\",\"value\":" + quoted(selector) + '}');
        return text(((NanoStreamWs.Json.Obj) found).members().values().iterator().next());
    }

    /** What the console had since this was asked last: a line each. */
    String console() throws Exception {
        return elements(post("/se/log", "{\"type\":\"browser\"}")).stream()
            .map(entry -> text(member(entry, "message"))).collect(Collectors.joining("\n"));
    }

    /** A command of Chromium's own protocol. @param parameters a JSON object */
    NanoStreamWs.Json chromium(String command, String parameters) throws Exception {
        return post("/goog/cdp/execute", "{\"cmd\":" + quoted(command) + ",\"params\":" + parameters + '}');
    }

    /** The system's setting, light or dark. */
    void scheme(String scheme) throws Exception {
        chromium("Emulation.setEmulatedMedia",
            "{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":" + quoted(scheme) + "}]}");
    }

    /** The size of the window in pixels of CSS. */
    void size(int width, int height) throws Exception {
        chromium("Emulation.setDeviceMetricsOverride", """
            {"width":%d,"height":%d,"deviceScaleFactor":1,"mobile":%b}""".formatted(width, height, width < 600));
    }

    void screenshot(Path file) throws Exception {
        String picture = text(command("GET", base + "/screenshot"));
        Files.write(file, Base64.getDecoder().decode(picture));
    }

    private NanoStreamWs.Json command(String method, String url) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(PATIENCE)
            .method(method, HttpRequest.BodyPublishers.noBody()).build();
        return member(NanoStreamWs.Json.parse(
            http.send(request, HttpResponse.BodyHandlers.ofString()).body()), "value");
    }

    @Override
    public void close() {
        try {
            command("DELETE", base); // ends Chromium in order
        } catch (Exception e) {
            // then without
        }
        end();
    }

    private void end() {
        endProcesses();
        http.close();
    }

    private void endProcesses() {
        Stream.concat(driver.descendants(), Stream.of(driver.toHandle())).toList().forEach(process -> {
            process.destroyForcibly();
            process.onExit().join();
        });
    }
}
