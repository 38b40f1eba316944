// SPDX-License-Identifier: MIT
import static org.junit.jupiter.api.Assertions.*;

import java.lang.ref.WeakReference;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("Stream log: where it is closed, and what keeps it")
class StreamLogTest {
    private final NanoStreamWs.StreamLog log = new NanoStreamWs.StreamLog();

    @Test
    void isNowhereClosedBeforeItsCloseFrame() {
        assertFalse(log.isClosedAt(0));
        log.append(NanoStreamWs.Opcode.TEXT, new byte[100]);
        assertFalse(log.isClosedAt(0));
        assertFalse(log.isClosedAt(log.end()));
        assertFalse(log.isClosedAt(Long.MAX_VALUE - 1));
    }

    @ParameterizedTest(name = "behind {0} bytes")
    @DisplayName("it is closed behind the close frame, and not before it, in a segment with room or in a new one")
    @ValueSource(ints = {0, 1, NanoStreamWs.Limits.SEGMENT - 20, NanoStreamWs.Limits.SEGMENT - 19,
        NanoStreamWs.Limits.SEGMENT, NanoStreamWs.Limits.SEGMENT + 1})
    void isClosedBehindTheCloseFrame(int before) {
        log.append(NanoStreamWs.Opcode.TEXT, new byte[before]);
        log.append(NanoStreamWs.Opcode.CLOSE, new byte[20]);
        assertEquals(before + 20, log.end());
        assertFalse(log.isClosedAt(0));
        assertFalse(log.isClosedAt(before));
        assertFalse(log.isClosedAt(before + 19));
        assertTrue(log.isClosedAt(before + 20));
    }

    @Test
    @DisplayName("a listener that has sent its close frame and lingers keeps no segment")
    void isNotKeptByAListenerThatHasClosed() throws Exception {
        NanoStreamWs.Listener listener = HeldSocket.free().listener(log);
        WeakReference<NanoStreamWs.Segment> first = new WeakReference<>(log.tail);
        listener.send(NanoStreamWs.Opcode.CLOSE, false, RawClient.closing(1000));
        log.append(NanoStreamWs.Opcode.TEXT, new byte[NanoStreamWs.Limits.SEGMENT + 1]);
        assertNotSame(first.get(), log.tail);
        TestServer.await("the first segment is collected", () -> {
            System.gc();
            return first.get() == null;
        });
        assertTrue(listener.ended); // which was there all the time
    }
}
