import static org.junit.jupiter.api.Assertions.*;

import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("RFC 6750 §2 Where a token stands: in a field or in the query")
class Rfc6750BearerTokenTest extends GuardedServer {
    @Test
    @DisplayName("§2.1: Authorization: Bearer, in any case")
    void takesABearerToken() throws Exception {
        assertEquals(101, knock("/", "Authorization: Bearer " + TestToken.fresh(server)));
        assertEquals(101, knock("/any?x=y", "authorization: bearer " + TestToken.fresh(server)));
    }

    @Test
    @DisplayName("§2.1: 1*SP between Bearer and the token; another scheme, or none, is no bearer token")
    void takesABearerTokenBehindSpacesOnly() throws Exception {
        String token = TestToken.fresh(server);
        for (String field : new String[] {"Bearer" + token, "Bearer\t" + token, "Basic " + token, "Bearers " + token,
                "X Bearer " + token, token})
            assertEquals(401, knock("/", "Authorization: " + field));
        server.awaitLog("No token supplied");
        assertEquals(101, knock("/", "Authorization: Bearer   " + token));
        assertEquals(101, knock("/?t=" + TestToken.fresh(server), "Authorization: Basic dXNlcjpwYXNz"));
    }

    @Test
    void takesTheSameTokenInBothPlaces() throws Exception {
        String token = TestToken.fresh(server);
        assertEquals(101, knock("/?t=" + token, "Authorization: Bearer " + token));
        assertEquals(401, knock("/", "Authorization: Bearer " + token), "it is the same token");
    }

    @Test
    @DisplayName("what leaves open which token is meant is 400, and uses none up")
    void refusesTwoTokens() throws Exception {
        String one = TestToken.fresh(server), two = TestToken.fresh(server);
        assertEquals(400, knock("/?t=" + one, "Authorization: Bearer " + two));
        assertEquals(400, knock("/?t=", "Authorization: Bearer " + two));
        assertEquals(400, knock("/?t=" + one + "&t=" + two));
        assertEquals(400, knock("/?t=" + one + "&t=" + one));
        assertEquals(400, knock("/?t=" + one + "&%74=" + one));
        assertEquals(400, knock("/", "Authorization: Bearer " + one, "Authorization: Bearer " + one));
        assertEquals(101, knock("/?t=" + one));
        assertEquals(101, knock("/?t=" + two));
    }

    @Test
    @DisplayName("a bearer token is whatever stands behind the spaces, a line terminator of another alphabet too")
    void takesNoOtherCharacterForTheEndOfTheToken() throws Exception {
        String token = TestToken.fresh(server);
        assertEquals(400, knock("/?t=" + token, "Authorization: Bearer x\u0085"));
        assertEquals(401, knock("/", "Authorization: Bearer x\u0085"));
        server.awaitLog("Token was invalid: expected three segments, got 1");
        assertEquals(101, knock("/?t=" + token));
    }

    @Test
    void takesATokenAmongOtherParameters() throws Exception {
        assertEquals(101, knock("/a/b?x=1&t=" + TestToken.fresh(server) + "&y"));
    }
}
