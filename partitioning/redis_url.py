"""Redis URLs that name more than one server: those of sentinels, and those of a Cluster."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

Address = tuple[str, int]

SERVER_SCHEMES = ("redis", "rediss", "unix")
SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
SCHEMES = (*SERVER_SCHEMES, *SENTINEL_SCHEMES, *CLUSTER_SCHEMES)

_DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


def text_of(address: Address) -> str:
    """Return ``host:port``, with an IPv6 host in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class ManyHosts:
    """What a ``redis+sentinel://`` or ``redis+cluster://`` URL says.

    ``hosts`` are the sentinels, or the nodes of a Cluster to begin with; ``service`` is empty for a Cluster.
    """

    hosts: tuple[Address, ...]
    service: str
    _scheme: str
    _user: str
    _database: int
    _query: str
    _sentinel_user: str

    @classmethod
    def parse(cls, url: str) -> ManyHosts:
        """Read a URL. Raises ValueError, naming what is wrong with it but no password."""
        parts = urlsplit(url)
        scheme, _, kind = parts.scheme.partition("+")
        if kind not in _DEFAULT_PORTS:
            raise ValueError(f"{parts.scheme}:// names one server at most")
        user, _, hosts = parts.netloc.rpartition("@")
        service, database = _sentinel_path(parts.path) if kind == "sentinel" else _cluster_path(parts.path)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        secrets = {name: options.pop(name) for name in _SENTINEL_OPTIONS if name in options and kind == "sentinel"}
        for name in options:
            if not name.startswith("ssl_") and name != "client_name":
                raise ValueError(f"unknown option {name!r}")
        return cls(
            tuple(_address(host, _DEFAULT_PORTS[kind]) for host in hosts.split(",")),
            service,
            scheme,
            user and f"{user}@",
            database,
            urlencode(options),
            urlencode({name.removeprefix("sentinel_"): value for name, value in secrets.items()}),
        )

    def server(self, address: Address) -> str:
        """Return the URL of one Redis server."""
        path = f"/{self._database}" if self._database else ""
        return f"{self._scheme}://{self._user}{text_of(address)}{path}{self._query and '?' + self._query}"

    def sentinel(self, address: Address) -> str:
        """Return the URL of one sentinel."""
        query = "&".join(filter(None, (self._query, self._sentinel_user)))
        return f"{self._scheme}://{text_of(address)}{query and '?' + query}"


def _address(text: str, default_port: int) -> Address:
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host:
        raise ValueError("a host is missing")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is no port")
    return host, int(port or default_port)


def _sentinel_path(path: str) -> tuple[str, int]:
    service, _, database = path.removeprefix("/").partition("/")
    if not service:
        raise ValueError("the name of the service is missing after the sentinels: /mymaster")
    if database and not database.isdecimal():
        raise ValueError(f"{database!r} is no number of a database")
    return unquote(service), int(database or 0)


def _cluster_path(path: str) -> tuple[str, int]:
    if path not in ("", "/", "/0"):
        raise ValueError("a Redis Cluster has only database 0")
    return "", 0
