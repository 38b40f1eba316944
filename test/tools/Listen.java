// SPDX-License-Identifier: MIT

import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;

/** Prints what a listener gets, a message a line. Usage: java test/tools/Listen.java [ws://127.0.0.1:8080/] */
final class Listen implements WebSocket.Listener {
    private final StringBuilder message = new StringBuilder();
    private final CountDownLatch closed = new CountDownLatch(1);

    public static void main(String[] args) throws InterruptedException {
        String url = args.length > 0 ? args[0] : "ws://127.0.0.1:8080/";
        Listen listener = new Listen();
        try {
            HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), listener).join();
        } catch (IllegalArgumentException e) {
            System.err.println("expected an address such as ws://127.0.0.1:8080/, got " + url);
            System.exit(2);
        } catch (CompletionException e) {
            System.err.println("not connected: " + reason(e.getCause()));
            System.exit(1);
        }
        listener.closed.await();
    }

    private static String reason(Throwable e) {
        if (e instanceof WebSocketHandshakeException refused && refused.getResponse() != null)
            return "the server answered " + refused.getResponse().statusCode()
                + "; with --secret it wants a token, as in ws://127.0.0.1:8080/?t=TOKEN";
        return e instanceof ConnectException ? "no server is there" : e.toString();
    }

    @Override
    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
        message.append(part);
        if (last) {
            System.out.println(message);
            message.setLength(0);
        }
        socket.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        System.err.println("closed with " + code + " " + reason);
        closed.countDown();
        return null;
    }

    @Override
    public void onError(WebSocket socket, Throwable error) {
        System.err.println("connection lost: " + error.getMessage());
        closed.countDown();
    }
}
