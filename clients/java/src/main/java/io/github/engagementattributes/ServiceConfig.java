package io.github.engagementattributes;

import java.util.List;
import java.util.Map;

/** Which calls gRPC itself makes again, and when. */
final class ServiceConfig {
  /** The service config in gRPC's JSON form; numbers are doubles there. */
  static final Map<String, Object> RETRIES =
      Map.of(
          "methodConfig",
          List.of(
              // An empty name stands for every method.
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
              // These resume by themselves. Retried by gRPC as well, an upload's messages would be
              // copied into a retry buffer, and a subscription would wait unseen.
              Map.of(
                  "name",
                  List.of(
                      Map.of("service", "engagement.v1.IngestService", "method", "UploadEvents"),
                      Map.of(
                          "service", "engagement.v1.EventService", "method", "SubscribeEvents")))));

  private ServiceConfig() {}
}
