"""Watches the files of a certificate, and keeps the last good one whatever becomes of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from engagement_server.errors import ConfigurationError
from engagement_server.supervision import call_all
from engagement_server.transport.certificate import Certificate, check_certificate, read_pem
from engagement_server.transport.served_certificate import ServedCertificate

if TYPE_CHECKING:
    import ssl

    from engagement_server.transport.served_certificate import CertificatePaths, Pem

POLL_SECONDS: Final = 2.0
"""Mounted secrets change by swapping links, which notifications of the system miss."""
REMINDER_SECONDS: Final = 60.0
_FIRST_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)


class CertificateFiles:
    """A certificate that is served, and replaced when its files change."""

    def __init__(self, paths: CertificatePaths, first: Certificate) -> None:
        self._paths = paths
        self._certificate = first
        self._looked_at: Pem | None = first.pem
        """What the files held when they were found good; None if that was not the last time."""
        self._fault = ""
        self._reported, self._reported_at = "", 0.0
        self._asked = asyncio.Event()
        self._callbacks: list[Callable[[Pem], None]] = []
        self.served = ServedCertificate(first.pem)
        """What new connections get."""

    @classmethod
    def open(cls, paths: CertificatePaths) -> Self:
        """Reads the files. Raises ConfigurationError if they cannot be served."""
        for _ in range(_FIRST_ATTEMPTS):
            certificate = check_certificate(read_pem(paths), paths)
            if certificate is not None:
                files = cls(paths, certificate)
                files._report()
                return files
        raise ConfigurationError(f"--tls-cert {paths.chain} changes all the time; start again once it stays")

    @property
    def context(self) -> ssl.SSLContext:
        """For servers that use the standard library: the present one."""
        return self._certificate.context

    @property
    def expires_at(self) -> float:
        """When what is served expires, in seconds of the epoch."""
        return self._certificate.expires_at

    @property
    def problem(self) -> str:
        """What is wrong with the files, or with what is served; empty if nothing is."""
        if self._fault:
            return f"{self._fault}; the last good certificate is served"
        if self.expires_at <= time.time():
            return f"the certificate in {self._paths.chain} has expired at {_text(self.expires_at)}"
        return ""

    def subscribe(self, callback: Callable[[Pem], None]) -> None:
        """Registers `callback`, which gets each further certificate."""
        self._callbacks.append(callback)

    def reload(self) -> None:
        """Asks for the files to be looked at now."""
        self._asked.set()

    async def watch(self) -> None:
        """Looks at the files regularly, and whenever it is asked to."""
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                is_asked = False
            else:
                self._asked.clear()
                is_asked = True
            certificate = await asyncio.to_thread(self._read)
            if certificate is not None:
                self._replace(certificate)
            elif is_asked and not self._fault:
                _log.info("the certificate in %s has not changed", self._paths.chain)
            self._report()

    def _read(self) -> Certificate | None:
        """A new certificate, if there is one that can be served."""
        try:
            pem = read_pem(self._paths)
            if pem == self._looked_at:
                return None
            self._looked_at = None
            certificate = check_certificate(pem, self._paths)
        except ConfigurationError as error:
            self._fault, self._looked_at = str(error), None
            return None
        if certificate is None:  # replaced meanwhile; the next look sees what by
            return None
        self._fault = ""
        self._looked_at = pem
        return None if pem == self._certificate.pem else certificate

    def _replace(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self.served.pem = certificate.pem
        call_all("certificates", self._callbacks, certificate.pem)
        _log.info("new connections get another certificate, valid until %s", _text(certificate.expires_at))

    def _report(self) -> None:
        """Logs what is wrong when it changes, and again after a while."""
        problem, now = self.problem, time.monotonic()
        is_due = problem != self._reported or now >= self._reported_at + REMINDER_SECONDS
        if problem and is_due:
            _log.log(logging.ERROR if self._fault else logging.WARNING, "%s", problem)
            self._reported_at = now
        self._reported = problem


def _text(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
