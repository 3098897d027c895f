package io.github.engagementattributes;

import io.grpc.util.AdvancedTlsX509KeyManager;
import java.io.IOException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;
import javax.net.ssl.KeyManager;

/** The certificate of a client, read again from its files while the client runs. */
final class ClientCertificate implements AutoCloseable {
  private static final long PERIOD_SECONDS = 10;
  private static final Logger LOG = Logger.getLogger(ClientCertificate.class.getName());

  private final Path certificateFile;
  private final Path keyFile;
  private final AdvancedTlsX509KeyManager keyManager;
  private final Future<?> readings;
  private final ScheduledExecutorService reading =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            Thread thread = new Thread(task, "engagement-certificate");
            thread.setDaemon(true);
            return thread;
          });

  ClientCertificate(Path certificateFile, Path keyFile) throws IOException {
    this.certificateFile = certificateFile;
    this.keyFile = keyFile;
    try {
      keyManager = new AdvancedTlsX509KeyManager();
      read();
    } catch (GeneralSecurityException error) {
      reading.shutdownNow();
      throw new IOException("the certificate and its key cannot be used", error);
    }
    readings =
        reading.scheduleWithFixedDelay(
            this::readAgain, PERIOD_SECONDS, PERIOD_SECONDS, TimeUnit.SECONDS);
  }

  /** Uses the pair of the latest reading for each new connection. */
  KeyManager keyManager() {
    return keyManager;
  }

  private void read() throws IOException, GeneralSecurityException {
    keyManager.updateIdentityCredentials(certificateFile.toFile(), keyFile.toFile());
  }

  private void readAgain() {
    try {
      read();
    } catch (IOException | GeneralSecurityException | RuntimeException error) {
      // The files may be half replaced; until they match, the last good pair stays.
      LOG.log(Level.WARNING, "the certificate cannot be read again", error);
    }
  }

  @Override
  public void close() {
    readings.cancel(true);
    reading.shutdownNow();
  }
}
