"""The way in: what a request or connection shows is read here, put to the gate, and what is refused is counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import cast

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from router_client.errors import EventRouterError, Forbidden, RateLimited, Unauthenticated
from router_node.edges.certificates import CERTIFICATE, Proxies, read_header
from router_node.edges.conduct import Conduct, Fault
from router_node.security.gate import NOBODY, OPEN, Access, Gate, OpenGate
from router_node.security.principal import Certificate, Credentials

ACCESS = "event_router.access"
"""The name under which a client's Access stands in the ASGI scope of its request."""

OPEN_TO_ALL = (
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/docs/docs.css",
    "/docs/docs.js",
)
"""What probes ask, and what says how to ask, which is the same on every node of a version."""
MAX_TOKEN_BYTES = 16 * 1024
REMEMBERED = 10_000
"""Publishers of which is remembered what they showed; then it starts anew."""

Pay = Callable[[Access], Awaitable[None]]


def access_of(request: Request) -> Access:
    """Return the standing of whose request it is."""
    access: Access = request.scope[ACCESS]
    return access


class Door:
    """Lets requests and connections in. ``pay`` takes a request off what its principal may ask for a second."""

    def __init__(self, gate: Gate, conduct: Conduct, proxies: Proxies | None, pay: Pay) -> None:
        self._gate = gate
        self._conduct = conduct
        self._proxies = proxies
        self._pay = pay
        self.open = isinstance(gate, OpenGate)
        self._remembered: dict[bytes, Access] = {}

    def before(self, app: ASGIApp) -> ASGIApp:
        """Return an application that hands ``app`` whoever is let in."""
        return _everybody(app) if self.open else _Known(self, app)

    async def admit(self, credentials: Credentials) -> Access:
        """Return the standing of who shows these. Raises Unauthenticated and Unavailable."""
        return await self._gate.admit(credentials)

    async def request(self, scope: Scope) -> Access:
        """Return the standing of whose HTTP request it is. Raises as :meth:`admit`, and RateLimited."""
        credentials = self.shown(scope)
        if scope["path"] in OPEN_TO_ALL:
            return await self._perhaps(credentials)
        access = await self._gate.admit(credentials)
        if scope["path"] == "/v1/events" and scope["method"] == "POST":
            if credentials.token is not None and credentials.certificate is None:
                self._remember(scope, access)
        else:
            await self._pay(access)  # publishing pays by the event
        return access

    def remembered(self, head: Iterable[tuple[bytes, bytes]]) -> Access | None:
        """Return the standing of who has published by ASGI with the same header; None where that is not all there is.

        It knows itself when its credential is over, and then is remembered no longer.
        """
        shown = None
        for name, value in head:
            if name == b"authorization":
                if shown is not None:
                    return None
                shown = value
            elif self._proxies is not None and name == self._proxies.header:
                return None
        access = self._remembered.get(shown) if shown is not None else None
        if access is None:
            return None
        try:
            _ = access.grants
        except Unauthenticated:
            del self._remembered[cast(bytes, shown)]
            return None
        return access

    def _remember(self, scope: Scope, access: Access) -> None:
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[next(value for name, value in scope["headers"] if name == b"authorization")] = access

    def shown(self, scope: Scope) -> Credentials:
        """Return what came with a request or an upgrade. Raises Unauthenticated for what cannot be read."""
        token: str | None = None
        forwarded: list[bytes] = []
        header = self._proxies.header if self._proxies is not None else None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if token is not None:
                    raise Unauthenticated("Authorization is given more than once", field="authorization")
                token = _bearer(value)
            elif name == header:
                forwarded.append(value)
        client = scope.get("client")
        peer = client[0] if client else ""
        return Credentials(token, self._forwarded(forwarded, peer) or scope.get(CERTIFICATE), peer)

    def refused(self, error: BaseException) -> None:
        """Count a refusal by its reason."""
        for kind, fault in _FAULTS.items():
            if isinstance(error, kind):
                self._conduct.passing(fault, str(error))

    async def _perhaps(self, credentials: Credentials) -> Access:
        if credentials.token is None and credentials.certificate is None:
            return NOBODY
        try:
            return await self._gate.admit(credentials)
        except EventRouterError:
            return NOBODY  # the answer is the same for everybody, but for its details

    def _forwarded(self, values: list[bytes], peer: str) -> Certificate | None:
        if not values or self._proxies is None:
            return None
        if not self._proxies.trust(peer):
            self._conduct.passing(Fault.CERTIFICATES_IGNORED, f"of {peer}, which is no trusted proxy")
            return None
        try:
            (value,) = values
            return read_header(value) if value else None
        except ValueError as error:
            name = self._proxies.header.decode()
            raise Unauthenticated("the certificate that the proxy sent cannot be read", field=name) from error


_FAULTS: dict[type[EventRouterError], Fault] = {
    Unauthenticated: Fault.UNAUTHENTICATED,
    Forbidden: Fault.FORBIDDEN,
    RateLimited: Fault.RATE_LIMITED,
}


class _Known:
    """ASGI middleware: only who is known gets further."""

    def __init__(self, door: Door, app: ASGIApp) -> None:
        self._door = door
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            scope[ACCESS] = await self._door.request(scope)
            await self._app(scope, receive, send)
        except EventRouterError as error:
            self._door.refused(error)
            raise


def _everybody(app: ASGIApp) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ACCESS] = OPEN
        await app(scope, receive, send)

    return serve


def _bearer(value: bytes) -> str:
    kind, _, token = value.partition(b" ")
    if kind.lower() != b"bearer" or not token.strip() or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise Unauthenticated("send Authorization: Bearer <API key or token>", field="authorization")
    return token.strip().decode("ascii")
