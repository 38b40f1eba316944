import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.*;

import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Nano blocks: what the WebSocket of a node says")
class NanoNodeTest {
    private static final String ACKNOWLEDGEMENT = "{\"ack\":\"subscribe\",\"time\":\"1564935350664\",\"id\":\"1\"}";
    private static final String SUBSCRIPTION = "{\"action\":\"subscribe\",\"topic\":\"confirmation\",\"ack\":true,"
        + "\"options\":{\"confirmation_type\":\"active\"";

    private final NanoStreamWs.NanoNode node = node();

    private static NanoStreamWs.NanoNode node(String... accounts) {
        return new NanoStreamWs.NanoNode(new NanoStreamWs.NanoBlocks(), List.of(accounts));
    }

    /** What listeners get of a text, or null. */
    private static String said(NanoStreamWs.Translation translation, String text) throws NanoStreamWs.Refusal {
        NanoStreamWs.Message message = translation.translate(text.getBytes(UTF_8), text);
        return message == null ? null : new String(message.at(1_250_000), UTF_8);
    }

    static List<NanoPair> pairs() throws IOException {
        return NanoPair.all().stream().filter(pair -> pair.confirmation() != null).toList();
    }

    @ParameterizedTest
    @MethodSource("pairs")
    @DisplayName("a confirmation gives byte for byte the flat object of the block's callback")
    void flattensAsTheCallback(NanoPair pair) throws Exception {
        String end = ",\"seen\":1.250000,\"tps\":1.0,\"tpm\":60.0}";
        assertEquals(pair.flat() + end, said(new NanoStreamWs.NanoBlocks(), pair.callback()));
        assertEquals(pair.flat() + end, said(node, pair.confirmation()));
    }

    @Test
    @DisplayName("what the callback has not is left out: linked_account, in some versions of the node")
    void leavesOutTheLinkedAccount() throws Exception {
        NanoPair pair = pairs().getFirst();
        String linked = pair.confirmation().replace("\"type\": \"state\"",
            "\"linked_account\": \"nano_1\", \"type\": \"state\"");
        assertNotEquals(linked, pair.confirmation());
        assertTrue(said(node, linked).startsWith(pair.flat() + ','));
    }

    @Test
    void subscribesToConfirmationsOfTheKindThatANodePosts() {
        assertEquals(SUBSCRIPTION + "}}", node.subscribe());
        assertEquals(SUBSCRIPTION + ",\"accounts\":[\"nano_1a\"]}}", node("nano_1a").subscribe());
        assertEquals(SUBSCRIPTION + ",\"accounts\":[\"nano_1a\",\"nano_3b\"]}}",
            node("nano_1a", "nano_3b").subscribe());
    }

    @ParameterizedTest
    @ValueSource(strings = {ACKNOWLEDGEMENT, "{\"ack\":\"pong\"}", "{\"topic\":\"vote\",\"message\":{\"block\":{}}}",
        "{\"topic\":\"confirmation\",\"message\":{\"account\":\"nano_1\"}}", "{\"topic\":\"confirmation\"}", "{}",
        "{\"block\":\"{}\"}", "{\"topic\":\"confirmation\",\"message\":{\"block\":\"{}\"}}"})
    @DisplayName("of a server that has acknowledged, confirmations alone are broadcast")
    void broadcastsConfirmationsAlone(String text) throws Exception {
        node.subscribe();
        assertNull(said(node, ACKNOWLEDGEMENT));
        assertTrue(node.isAcknowledged());
        assertNull(said(node, text));
        assertTrue(said(node, pairs().getFirst().confirmation()).startsWith(pairs().getFirst().flat()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"garbage", "{\"topic\":\"confirmation\",", "[]", "\"text\"", "{\"a\":1,\"a\":2}", " "})
    @DisplayName("garbage of a server that has acknowledged is refused, so the log has it")
    void refusesGarbage(String text) throws Exception {
        said(node, ACKNOWLEDGEMENT);
        NanoStreamWs.Refusal refusal = assertThrows(NanoStreamWs.Refusal.class, () -> said(node, text));
        assertEquals("Message cannot be broadcast: a Nano node sent it, but it is no JSON object",
            refusal.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"garbage", " {\"ack\" : \"pong\"}", "{\"block\":\"{}\",\"amount\":\"1\"}", "{}", "[1]",
        "κόσμε", "{\"topic\":\"confirmation\",\"message\":{}}", "{\"ack\":\"subscribed\"}",
        "{\"ack\":[\"subscribe\"]}"})
    @DisplayName("of one that has not, every text is broadcast byte for byte")
    void broadcastsEveryTextOfAnother(String text) throws Exception {
        assertEquals(text, said(node, text));
        assertFalse(node.isAcknowledged());
    }

    @Test
    @DisplayName("each connection is acknowledged anew: another server may answer at the address")
    void forgetsTheAcknowledgement() throws Exception {
        said(node, ACKNOWLEDGEMENT);
        node.subscribe();
        assertFalse(node.isAcknowledged());
        assertEquals("text", said(node, "text"));
    }

    @Test
    @DisplayName("one that has said anything else is no node: what looks like an acknowledgement is a text as well")
    void isNotSilencedByAText() throws Exception {
        for (String text : List.of("text", ACKNOWLEDGEMENT, "{\"amount\":1}"))
            assertEquals(text, said(node, text));
        assertFalse(node.isAcknowledged());
        node.subscribe();
        assertNull(said(node, ACKNOWLEDGEMENT));
        assertTrue(node.isAcknowledged());
    }

    @Test
    @DisplayName("a confirmation may come before the acknowledgement")
    void takesAConfirmationBefore() throws Exception {
        assertTrue(said(node, pairs().getFirst().confirmation()).startsWith(pairs().getFirst().flat()));
        assertNull(said(node, ACKNOWLEDGEMENT));
        assertNull(said(node, "{\"topic\":\"vote\"}"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"amount\":\"-1\"}", "{\"balance\":\"1.5\"}", "{\"balance\":[]}"})
    @DisplayName("a confirmation whose block cannot be read is refused")
    void refusesABadBlock(String block) {
        String text = "{\"topic\":\"confirmation\",\"message\":{\"block\":" + block + "}}";
        NanoStreamWs.Refusal refusal = assertThrows(NanoStreamWs.Refusal.class, () -> said(node, text));
        assertEquals(NanoStreamWs.Rejection.BAD_MESSAGE, refusal.why);
        assertTrue(refusal.getMessage().contains("its block cannot be read: expected a number of raw"),
            refusal.getMessage());
    }
}
