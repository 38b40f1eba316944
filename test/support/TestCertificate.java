import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** An X.509 certificate (RFC 5280) for localhost, made here as DER, with its key.
 * @param issuer who has signed it, or null: itself */
record TestCertificate(KeyPair keys, X509Certificate certificate, TestCertificate issuer) {
    private static final Duration YEAR = Duration.ofDays(365);
    private static final int SEQUENCE = 0x30, SET = 0x31; // tags
    private static final String ANSWERS_FOR = "30 1A 06 03 55 1D 11 04 13 30 11" // subjectAltName
        + "82 09 6C 6F 63 61 6C 68 6F 73 74 87 04 7F 00 00 01"; // localhost, 127.0.0.1
    private static final String MAY_SIGN = "30 0F 06 03 55 1D 13 01 01 FF 04 05 30 03 01 01 FF"; // basicConstraints

    /** One that has signed itself, with a key of the algorithm: RSA, EC or Ed25519. */
    static TestCertificate of(String algorithm) {
        return made(pair(algorithm), null, false, Instant.now().minus(YEAR), Instant.now().plus(YEAR));
    }

    /** One that has signed itself, and ends then. */
    static TestCertificate until(Instant end) {
        return made(pair("EC"), null, false, end.minus(YEAR), end);
    }

    /** One that clients trust, and that signs others. */
    static TestCertificate root() {
        return made(pair("EC"), null, true, Instant.now().minus(YEAR), Instant.now().plus(YEAR));
    }

    /** Another one for the same key. */
    TestCertificate renewed(Instant end) {
        return made(keys, null, false, end.minus(YEAR), end);
    }

    /** Signs a certificate. @param signs whether that may sign others */
    TestCertificate signed(boolean signs) {
        return made(pair("EC"), this, signs, Instant.now().minus(YEAR), Instant.now().plus(YEAR));
    }

    private static KeyPair pair(String algorithm) {
        return pair(algorithm, algorithm.equals("RSA") ? 2048 : algorithm.equals("EC") ? 256 : 255);
    }

    private static KeyPair pair(String algorithm, int size) {
        try {
            KeyPairGenerator generator = KeyPairGenerator.getInstance(algorithm);
            generator.initialize(size);
            return generator.generateKeyPair();
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);
        }
    }

    private static TestCertificate made(KeyPair keys, TestCertificate issuer, boolean signs, Instant from,
            Instant to) {
        try {
            byte[] serial = new BigInteger(100, new SecureRandom()).setBit(99).toByteArray();
            byte[] name = name("CN " + new BigInteger(serial));
            KeyPair signer = issuer == null ? keys : issuer.keys;
            byte[] issuerName = issuer == null ? name : issuer.certificate.getSubjectX500Principal().getEncoded();
            byte[] algorithm = algorithm(signer);
            byte[] extensions = hex(signs ? MAY_SIGN : ANSWERS_FOR);
            byte[] signed = der(SEQUENCE, der(0xA0, der(2, (byte) 2)), der(2, serial), algorithm, issuerName,
                der(SEQUENCE, time(from), time(to)), name, keys.getPublic().getEncoded(),
                der(0xA3, der(SEQUENCE, extensions)));
            Signature signature = Signature.getInstance(signatureName(signer));
            signature.initSign(signer.getPrivate());
            signature.update(signed);
            byte[] whole = der(SEQUENCE, signed, algorithm, der(3, new byte[1], signature.sign()));
            var read = CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(whole));
            return new TestCertificate(keys, (X509Certificate) read, issuer);
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);
        }
    }

    private static String signatureName(KeyPair signer) {
        return switch (signer.getPrivate().getAlgorithm()) {
            case "RSA" -> "SHA256withRSA";
            case "EC" -> "SHA256withECDSA";
            default -> "Ed25519";
        };
    }

    /** The AlgorithmIdentifier of a signature. */
    private static byte[] algorithm(KeyPair signer) {
        return hex(switch (signer.getPrivate().getAlgorithm()) {
            case "RSA" -> "30 0D 06 09 2A 86 48 86 F7 0D 01 01 0B 05 00"; // sha256WithRSAEncryption
            case "EC" -> "30 0A 06 08 2A 86 48 CE 3D 04 03 02"; // ecdsa-with-SHA256
            default -> "30 05 06 03 2B 65 70"; // id-Ed25519
        });
    }

    private static byte[] name(String text) {
        return der(SEQUENCE, der(SET, der(SEQUENCE, hex("06 03 55 04 03"), der(12, text.getBytes(ISO_8859_1)))));
    }

    /** A UTCTime, which has two digits of a year from 1950 to 2049. */
    private static byte[] time(Instant instant) {
        String text = DateTimeFormatter.ofPattern("yyMMddHHmmss'Z'").format(instant.atOffset(ZoneOffset.UTC));
        return der(23, text.getBytes(ISO_8859_1));
    }

    private static byte[] hex(String text) {
        return HexFormat.of().parseHex(text.replace(" ", ""));
    }

    /** An element: tag, length, content. */
    private static byte[] der(int tag, byte... content) {
        return der(tag, new byte[][] {content});
    }

    private static byte[] der(int tag, byte[]... parts) {
        ByteArrayOutputStream content = new ByteArrayOutputStream(), element = new ByteArrayOutputStream();
        for (byte[] part : parts)
            content.writeBytes(part);
        element.write(tag);
        int length = content.size();
        if (length > 127) // then that many bytes of it follow
            element.write(length > 255 ? 0x82 : 0x81);
        if (length > 255)
            element.write(length >> 8);
        element.write(length);
        element.writeBytes(content.toByteArray());
        return element.toByteArray();
    }

    static String pem(String label, byte[] der) {
        String lines = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
        return "-----BEGIN " + label + "-----\n" + lines + "\n-----END " + label + "-----\n";
    }

    /** The certificate as a file has it. */
    String pem() {
        try {
            return pem("CERTIFICATE", certificate.getEncoded());
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);
        }
    }

    /** Its key as a file has it. */
    String key() {
        return key(keys);
    }

    /** A key of so many bits that no certificate has. */
    static String key(String algorithm, int size) {
        return key(pair(algorithm, size));
    }

    private static String key(KeyPair pair) {
        return pem("PRIVATE KEY", pair.getPrivate().getEncoded());
    }

    /** Writes it with those that have signed it, except the one that clients have, and its key.
     * @return the options of a server that uses the files */
    String[] in(Path folder) {
        StringBuilder chain = new StringBuilder(pem());
        for (TestCertificate next = issuer; next != null && next.issuer != null; next = next.issuer)
            chain.append(next.pem());
        return files(folder, chain.toString(), key());
    }

    /** Writes the two files. */
    static String[] files(Path folder, String chain, String key) {
        try {
            Files.writeString(folder.resolve("cert.pem"), chain);
            Files.writeString(folder.resolve("key.pem"), key);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return new String[] {"--tls-cert=" + folder.resolve("cert.pem"), "--tls-key=" + folder.resolve("key.pem")};
    }

    /** What a server accepts connections with that has this one. */
    SSLContext serving() {
        try {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            store.setKeyEntry("own", keys.getPrivate(), new char[0], new X509Certificate[] {certificate});
            KeyManagerFactory manager = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            manager.init(store, new char[0]);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(manager.getKeyManagers(), null, null);
            return context;
        } catch (GeneralSecurityException | IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Writes a store of certificates that has this one, and returns the JVM's options that have it trust that alone. */
    String trustStore(Path folder) {
        Path file = folder.resolve("trusted");
        try (OutputStream out = Files.newOutputStream(file)) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            store.setCertificateEntry("trusted", certificate);
            store.store(out, "password".toCharArray());
            return "-Djavax.net.ssl.trustStore=" + file + " -Djavax.net.ssl.trustStorePassword=password";
        } catch (GeneralSecurityException | IOException e) {
            throw new AssertionError(e);
        }
    }

    /** What a client connects with that trusts this one alone. */
    SSLContext trusting() {
        try {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            store.setCertificateEntry("trusted", certificate);
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust.getTrustManagers(), null);
            return context;
        } catch (GeneralSecurityException | IOException e) {
            throw new AssertionError(e);
        }
    }
}
