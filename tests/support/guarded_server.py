"""A small server that asks for a token, over TLS if it is told so, and tells each caller who they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import trustme
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from engagement import v1


class GuardedServer:
    """Knows some tokens; `reasons` says why it refuses others."""

    def __init__(self, *, tokens: Sequence[str] = (), reasons: dict[str, str] | None = None) -> None:
        self.tokens = {*tokens}
        self.reasons = reasons or {}
        self.callers: list[str] = []
        """The names in the certificates of callers, call by call; empty for those without one."""

    @contextmanager
    def start(self, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
        """The address of the running server."""
        server = grpc.server(ThreadPoolExecutor(1))
        info: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self._tell, response_serializer=v1.GetServerInfoResponse.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("engagement.v1.ServerService", {"GetServerInfo": info}),)
        )
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("localhost:0", credentials)
        server.start()
        try:
            yield f"{'127.0.0.1' if credentials is None else 'localhost'}:{port}"
        finally:
            server.stop(None).wait()

    def _tell(self, _: object, context: grpc.ServicerContext) -> v1.GetServerInfoResponse:
        names: list[bytes] = [*context.auth_context().get("x509_subject_alternative_name", ())]
        self.callers.append(b"".join(names).decode())
        shown = dict(context.invocation_metadata()).get("authorization")
        token = str(shown).removeprefix("Bearer ") if shown is not None else None
        if token not in self.tokens:
            reason = "TOKEN_MISSING" if token is None else self.reasons.get(token, "TOKEN_INVALID")
            status = _status(reason)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(_code(reason), status.message)
        return v1.GetServerInfoResponse(version="guarded")


def _code(reason: str) -> grpc.StatusCode:
    is_denial = reason.startswith(("SCOPE", "ACCOUNT"))
    return grpc.StatusCode.PERMISSION_DENIED if is_denial else grpc.StatusCode.UNAUTHENTICATED


def _status(reason: str) -> status_pb2.Status:
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain="engagement.v1", metadata={"scopes": "read"})
    )
    return status_pb2.Status(code=_code(reason).value[0], message="as the test says", details=[detail])


def server_credentials(
    authority: trustme.CA, *, asks_for_certificate: bool = False
) -> grpc.ServerCredentials:
    """TLS for `localhost`, if asked for only for clients with a certificate of the same authority."""
    certificate = authority.issue_cert("localhost")
    return grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())],
        root_certificates=authority.cert_pem.bytes() if asks_for_certificate else None,
        require_client_auth=asks_for_certificate,
    )
