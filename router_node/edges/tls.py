"""The node's own TLS: its certificate, whose clients' certificates it takes, and new ones without a restart."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import NamedTuple

import structlog

LOOK_S = 5.0

_ASKED = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

log = structlog.get_logger(__name__)


class Files(NamedTuple):
    """PEM files: the certificate with its chain, its key, and who signs clients' certificates (None: nobody)."""

    cert: Path
    key: Path
    client_ca: Path | None
    client_auth: str


class Tls:
    """The TLS of a listening socket. Connections that are open go on with what they began with."""

    def __init__(self, files: Files) -> None:
        """Raises OSError (ssl.SSLError is one) for files that cannot be used."""
        self._files = files
        self._seen = _ages(files)
        self.context = _Newest(ssl.PROTOCOL_TLS_SERVER)
        self.context.newest = _context(files)

    async def keep_up(self) -> None:
        """Take up files that change, until cancelled. A pair that does not fit together, yet, is passed over."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take up files that have changed since the last look."""
        try:
            ages = _ages(self._files)
            if ages == self._seen:
                return
            self.context.newest = _context(self._files)
        except OSError as error:
            log.warning("new TLS files cannot be used; going on with those before", error=str(error))
            return
        self._seen = ages
        log.info("new TLS files are in use", cert=str(self._files.cert))


class _Newest(ssl.SSLContext):
    """What a socket listens with: each connection that begins is handed to the ``newest`` context.

    Certificates can be added to a context and not taken out of it, and its tickets resume sessions unverified, so what
    is read anew is another one.
    """

    newest: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin the TLS of one connection."""
        return self.newest.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(files.cert, files.key)
    context.verify_mode = _ASKED[files.client_auth]
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
    return context


def _ages(files: Files) -> list[tuple[int, int]]:
    named = [each for each in (files.cert, files.key, files.client_ca) if each is not None]
    return [(each.stat().st_mtime_ns, each.stat().st_ino) for each in named]
