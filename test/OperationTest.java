import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.Map;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
@DisplayName("Operation: what the README has an operator do")
class OperationTest {
    private static final String JAVA = "/usr/bin/java", SECRET = "/etc/nano-stream-ws/secret";
    private static final String FREE = "--host 127.0.0.1 --port 0 --feed http://127.0.0.1:0/";

    @TempDir
    private Path folder;

    /** The unit with the java that there is. */
    private static String unit() throws IOException {
        return Readme.block("ini", "[Unit]").replace(JAVA + ' ', ServerProcess.JAVA + ' ');
    }

    private static String value(String name) throws IOException {
        var lines = unit().lines().filter(line -> line.startsWith(name + '=')).toList();
        assertEquals(1, lines.size(), name);
        return lines.getFirst().substring(name.length() + 1);
    }

    /** A command that a shell starts in the folder. */
    private ProcessBuilder shell(String command) {
        return new ProcessBuilder("bash", "-c", command).directory(folder.toFile());
    }

    /** What the unit starts. Words are what a shell makes of them, which here is what systemd does. */
    private ServerProcess started(String options) throws IOException {
        Files.copy(Path.of("NanoStreamWs.java"), folder.resolve("NanoStreamWs.java"));
        ProcessBuilder command = shell("exec " + value("ExecStart"));
        command.environment().put("CREDENTIALS_DIRECTORY", folder.toString());
        command.environment().put("OPTIONS", options);
        return new ServerProcess(command, line -> { });
    }

    /** Makes a secret as the README does. */
    private String secret() throws Exception {
        Path file = folder.resolve("secret");
        assertEquals(0, shell(Readme.command("base64 >" + SECRET).replace(SECRET, file.toString())).start().waitFor());
        assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
        return Files.readString(file).strip();
    }

    @Test
    @DisplayName("systemd takes the unit as it stands, and finds little that the server could do to the machine")
    void systemdTakesTheUnit() throws Exception {
        Path file = Files.writeString(folder.resolve("nano-stream-ws.service"), unit());
        assumeTrue(shell("command -v systemd-analyze").start().waitFor() == 0, "there is no systemd-analyze");
        for (String command : new String[] {"verify --man=no ", "security --offline=true --threshold=15 "}) {
            Process process = shell("systemd-analyze " + command + file + " 2>&1").start();
            String said = new String(process.getInputStream().readAllBytes(), UTF_8);
            assertEquals(0, process.waitFor(), said);
            assertTrue(!command.startsWith("verify") || said.isEmpty(), said);
        }
    }

    @Test
    @DisplayName("the unit's command line starts the file with the secret and the options, and a signal ends it with 0")
    void startsByTheLineOfTheUnit() throws Exception {
        String secret = secret();
        assertTrue(secret.length() >= 43, "32 bytes");
        try (ServerProcess server = started(FREE)) {
            String claims = "{\"exp\":" + Instant.now().plusSeconds(60).getEpochSecond() + "}";
            String token = TestToken.of(TestToken.HEADER, claims, secret, "HmacSHA256");
            RawClient.admitted(server.port(), "/?t=" + token).close();
            assertEquals(401, GuardedServer.knock(server.port(), "/?t=" + TestServer.DOCUMENTED_TOKEN));
            assertTrue(server.feedPort() > 0);
            server.terminate();
            assertEquals(0, server.exit());
        }
    }

    @Test
    @DisplayName("without options nothing is unset, of which systemd would write a line at each start")
    void hasAValueForWhatItNames() throws Exception {
        assertTrue(value("ExecStart").endsWith(" $OPTIONS"));
        assertEquals("OPTIONS=", value("Environment"), "a file of the same name counts more");
    }

    @Test
    @DisplayName("a wrong option ends it with the status after which systemd does not start it again")
    void isNotStartedAgainWithAWrongOption() throws Exception {
        secret();
        try (ServerProcess server = started(FREE + " --orgin example.com")) {
            assertEquals(Integer.parseInt(value("RestartPreventExitStatus")), server.exit());
            server.await("unknown option");
        }
        assertEquals("on-failure", value("Restart"));
    }

    @Test
    @DisplayName("what certbot renews is copied to where the group can read it, unless it is for another name")
    void certificatesAreCopied() throws Exception {
        Path place = Files.createDirectory(folder.resolve("tls"));
        Path hook = Files.writeString(folder.resolve("hook"), Readme.block("sh", "RENEWED_LINEAGE")
            .replace("-g nano-stream-ws-tls", "-g \"$(id -g)\"").replace("/etc/nano-stream-ws/tls", place.toString()));
        for (String name : new String[] {"stream.example.com", "example.com"}) {
            Path lineage = Files.createDirectories(folder.resolve("live").resolve(name));
            for (String file : new String[] {"privkey.pem", "fullchain.pem"})
                Files.writeString(lineage.resolve(file), file + " of " + name);
            assertEquals(0, shell("RENEWED_LINEAGE=" + lineage + " sh " + hook).start().waitFor());
        }
        for (String file : new String[] {"privkey.pem", "fullchain.pem"}) {
            assertEquals(file + " of stream.example.com", Files.readString(place.resolve(file)));
            var mode = Files.getPosixFilePermissions(place.resolve(file));
            assertEquals("rw-r-----", PosixFilePermissions.toString(mode));
        }
    }

    @Test
    @DisplayName("there is time for the default of --drain, and for three seconds")
    void hasTimeToDrain() throws Exception {
        long drain = new NanoStreamWs.Settings(new String[0], Map.of(), () -> "").drain.toSeconds();
        assertTrue(Long.parseLong(value("TimeoutStopSec")) > drain + 3);
    }
}
