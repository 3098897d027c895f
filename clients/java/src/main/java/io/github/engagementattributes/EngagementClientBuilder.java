package io.github.engagementattributes;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Builds an {@link EngagementClient}. An account id is required, everything else has a default. */
public final class EngagementClientBuilder {
  private final String target;
  private @Nullable String accountId;
  private ChannelCredentials credentials = InsecureChannelCredentials.create();
  private @Nullable String token;
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
   * connection, including the token, is in plain text.
   *
   * @return this
   */
  public EngagementClientBuilder tls() {
    return credentials(TlsChannelCredentials.create());
  }

  /**
   * Encrypts the connection and verifies the server against a certificate authority.
   *
   * @param caFile certificates in PEM, read immediately
   * @return this
   * @throws IOException if the file cannot be read
   */
  public EngagementClientBuilder tls(Path caFile) throws IOException {
    return credentials(TlsChannelCredentials.newBuilder().trustManager(caFile.toFile()).build());
  }

  /**
   * Sets any gRPC credentials, for mutual TLS for example.
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
    token = value;
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
   */
  public EngagementClient build() {
    Objects.requireNonNull(accountId, "accountId");
    return new EngagementClient(accountId, new Connection(target, credentials, token, timeout));
  }
}
