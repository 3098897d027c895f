package io.github.engagementattributes;

import io.grpc.BindableService;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import java.io.IOException;

/** A server of the contract that behaves as the real one would only in rare moments. */
final class ForeignServer implements AutoCloseable {
  private final Server server;

  ForeignServer(BindableService service, ServerInterceptor... interceptors) throws IOException {
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(ServerInterceptors.intercept(service, interceptors))
            .build()
            .start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  EngagementClient connect() {
    return EngagementClient.builder(address()).accountId("foreign").build();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
