package io.github.engagementattributes;

import java.util.List;
import java.util.Map;

/** Which calls gRPC itself retries, and when. */
final class ServiceConfig {
  /** The service config in gRPC's JSON form; numbers are doubles there. */
  static final Map<String, Object> RETRIES =
      Map.of(
          "methodConfig",
          List.of(
              // An empty name matches every method.
              Map.of(
                  "name",
                  List.of(Map.of()),
                  "retryPolicy",
                  Map.of(
                      "maxAttempts",
                      5.0,
                      "initialBackoff",
                      "0.1s",
                      "maxBackoff",
                      "2s",
                      "backoffMultiplier",
                      2.0,
                      "retryableStatusCodes",
                      List.of("UNAVAILABLE"))),
              // These resume by themselves. If gRPC retried them as well, it would copy an
              // upload's messages to a retry buffer, and a subscription's waits would go unnoticed.
              Map.of(
                  "name",
                  List.of(
                      Map.of("service", "engagement.v1.IngestService", "method", "UploadEvents"),
                      Map.of(
                          "service", "engagement.v1.EventService", "method", "SubscribeEvents")))));

  private ServiceConfig() {}
}
