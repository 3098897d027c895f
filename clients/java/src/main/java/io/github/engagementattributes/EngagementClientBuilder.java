package io.github.engagementattributes;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Builds an {@link EngagementClient}. An account id is required, everything else has a default. */
public final class EngagementClientBuilder {
  private final String target;
  private @Nullable String accountId;
  private @Nullable ChannelCredentials credentials;
  private TlsChannelCredentials.@Nullable Builder tls;
  private @Nullable Path certificateFile;
  private @Nullable Path keyFile;
  private Tokens tokens = Tokens.fixed(null);
  private boolean hasToken;
  private boolean allowsPlaintextToken;
  private Duration timeout = Duration.ofSeconds(30);

  EngagementClientBuilder(String target) {
    this.target = Objects.requireNonNull(target, "target");
  }

  /**
   * Sets the brand's account.
   *
   * @param value 1 to 64 letters, digits, {@code -} and {@code _}
   * @return this
   */
  public EngagementClientBuilder accountId(String value) {
    accountId = value;
    return this;
  }

  /**
   * Encrypts the connection and verifies the server against the system's roots. By default the
   * connection is in plain text.
   *
   * @return this
   */
  public EngagementClientBuilder tls() {
    tls = TlsChannelCredentials.newBuilder();
    return this;
  }

  /**
   * Encrypts the connection and verifies the server against a certificate authority.
   *
   * @param caFile certificates in PEM, read immediately
   * @return this
   * @throws IOException if the file cannot be read
   */
  public EngagementClientBuilder tls(Path caFile) throws IOException {
    tls = TlsChannelCredentials.newBuilder().trustManager(caFile.toFile());
    return this;
  }

  /**
   * Shows a certificate to servers that ask for one, over TLS. The files may be replaced at any
   * time: they are read again every ten seconds, and new connections use the last good pair.
   *
   * @param certificate a certificate in PEM, with those between it and its authority
   * @param key its key in PEM, of the form PKCS #8 ({@code BEGIN PRIVATE KEY})
   * @return this
   */
  public EngagementClientBuilder clientCertificate(Path certificate, Path key) {
    certificateFile = Objects.requireNonNull(certificate, "certificate");
    keyFile = Objects.requireNonNull(key, "key");
    return this;
  }

  /**
   * Sets any gRPC credentials, instead of those of the methods above.
   *
   * @param value credentials of the connection
   * @return this
   */
  public EngagementClientBuilder credentials(ChannelCredentials value) {
    credentials = Objects.requireNonNull(value, "credentials");
    return this;
  }

  /**
   * Sends {@code authorization: Bearer …} with every call.
   *
   * @param value the token alone
   * @return this
   */
  public EngagementClientBuilder token(String value) {
    tokens = Tokens.fixed(Objects.requireNonNull(value, "token"));
    hasToken = true;
    return this;
  }

  /**
   * Sends a token of this source with every call. It is asked before a call or a stream, unless its
   * last answer is good for 30 seconds more, and once more after TOKEN_EXPIRED.
   *
   * @param value answers with a token and, if it knows that, the time of its expiry
   * @return this
   */
  public EngagementClientBuilder tokenSource(TokenSource value) {
    tokens = Tokens.of(Objects.requireNonNull(value, "tokenSource"));
    hasToken = true;
    return this;
  }

  /**
   * Lets the token leave this machine in plain text, for networks that encrypt by themselves.
   *
   * @return this
   */
  public EngagementClientBuilder allowPlaintextToken() {
    allowsPlaintextToken = true;
    return this;
  }

  /**
   * Sets the deadline of unary calls, including retries and waits; 30 seconds by default.
   *
   * @param value for calls that do not set their own
   * @return this
   */
  public EngagementClientBuilder timeout(Duration value) {
    timeout = Objects.requireNonNull(value, "timeout");
    return this;
  }

  /**
   * Builds the client, which connects with its first call.
   *
   * @return a client that the caller must close
   * @throws IllegalStateException if a token would go over the network in plain text
   * @throws UncheckedIOException if the certificate of the client cannot be read
   */
  public EngagementClient build() {
    String account = Objects.requireNonNull(accountId, "accountId");
    boolean isPlain =
        credentials == null
            ? tls == null && certificateFile == null
            : credentials instanceof InsecureChannelCredentials;
    if (hasToken && isPlain && !allowsPlaintextToken && !Targets.isThisMachine(target)) {
      throw new IllegalStateException(
          "a token for "
              + target
              + " would go over the network in plain text; use tls(), or allowPlaintextToken() if"
              + " the network itself encrypts");
    }
    ClientCertificate certificate = isPlain || credentials != null ? null : certificate();
    CallDefaults defaults = new CallDefaults(account, tokens, timeout);
    return new EngagementClient(
        account,
        new Connection(
            target, channelCredentials(certificate), certificate, defaults, tokens, timeout));
  }

  private @Nullable ClientCertificate certificate() {
    if (certificateFile == null || keyFile == null) {
      return null;
    }
    try {
      return new ClientCertificate(certificateFile, keyFile);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private ChannelCredentials channelCredentials(@Nullable ClientCertificate certificate) {
    if (credentials != null) {
      return credentials;
    }
    if (tls == null && certificate == null) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder builder = tls == null ? TlsChannelCredentials.newBuilder() : tls;
    return certificate == null
        ? builder.build()
        : builder.keyManager(certificate.keyManager()).build();
  }
}
