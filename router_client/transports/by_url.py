"""From a URL to its transport. Other packages offer more through the entry point group ``event_router.transports``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast
from urllib.parse import urlsplit

from partitioning.redis_url import SCHEMES
from router_client.errors import InvalidInput
from router_client.options import ClientOptions
from router_client.transports.port import Transport

GROUP = "event_router.transports"

# By name, so that a client imports only the library its own transport needs.
_BUILT_IN = {
    "ws": "router_client.transports.websocket:WebSocketTransport",
    "wss": "router_client.transports.websocket:WebSocketTransport",
    "http": "router_client.transports.http:HttpTransport",
    "https": "router_client.transports.http:HttpTransport",
    **dict.fromkeys(SCHEMES, "router_client.transports.redis:RedisTransport"),
}

Factory = Callable[[str, ClientOptions], Transport]


def transport_for(url: str, options: ClientOptions) -> Transport:
    """Return the transport for the scheme of ``url``, not started yet.

    Raises InvalidInput for a URL without a scheme or with one that nothing offers.
    """
    scheme = urlsplit(url).scheme
    factory = _factory(scheme)
    if factory is None:
        offered = sorted({*_BUILT_IN, *(found.name for found in entry_points(group=GROUP))})
        raise InvalidInput(f"begins with one of {', '.join(offered)} and ://, not {scheme or 'nothing'}", field="url")
    return factory(url, options)


def _factory(scheme: str) -> Factory | None:
    if scheme in _BUILT_IN:
        module, _, name = _BUILT_IN[scheme].partition(":")
        return cast(Factory, getattr(import_module(module), name))
    for found in entry_points(group=GROUP, name=scheme):
        return cast(Factory, found.load())
    return None
