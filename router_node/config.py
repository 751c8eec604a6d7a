"""The settings of a node: one typed tree, from a TOML file and ``ER_*`` environment variables, checked at start."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import tomllib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from partitioning.limits import Limits
from partitioning.redis_url import SCHEMES, SERVER_SCHEMES, ManyHosts
from router_client.errors import InvalidInput
from router_client.kafka.url import KafkaUrl
from router_node.kafka.bridge_settings import MAX_BRIDGES, KafkaBridge, Outlets, check_bridges
from router_node.routing.filter_language import compile_filter
from router_node.security.algorithms import ALGORITHMS

PREFIX = "ER_"
NOT_SETTINGS = {"ER_CONFIG", "ER_URL", "ER_TOKEN", "ER_TOKEN_FILE", "ER_CA", "ER_CERT", "ER_KEY"}
LISTS = (
    "global_filters",
    "jwt_algorithms",
    "jwt_networks",
    "kafka_bridges",
    "kafka_destinations",
    "trusted_proxies",
    "webhook_networks",
)
_SECRET_OPTION = re.compile(r"(password=)[^&]*")
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ConfigError(Exception):
    """Settings that cannot be used; ``faults`` lists every one found, each naming its key."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def _default_node_id() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


class Settings(BaseModel):
    """Everything a node is told. The name of a variable is ``ER_`` and the field's name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redis_url: str | None = Field(default=None, description="Redis URL; without one the node is embedded")
    database_url: str = Field(default="sqlite:///event-router.sqlite", description="postgresql:// or sqlite:/// URL")
    listen: str = Field(default="127.0.0.1:8080", description="host:port to serve HTTP and WebSocket on")
    advertise: str | None = Field(
        default=None, description="where clients reach this node (host:port or an http(s):// URL); by default `listen`"
    )
    reuse_port: bool = Field(default=False, description="share the port with other nodes of this machine")
    workers: int = Field(default=1, ge=1, le=64, description="nodes that `serve` runs, sharing the port")
    node_id: str = Field(default_factory=_default_node_id, min_length=1, max_length=128, pattern=r"^[^\s]+$")
    cluster: str = Field(default="default", description="prefix of all keys, so that several clusters share a Redis")
    partitions: int = Field(default=64, ge=1, le=1024, description="used by the first start of a cluster only")
    lease_ms: int = Field(default=3000, ge=200, le=60_000, description="how long a silent node keeps its partitions")
    backlog_limit: int = Field(default=100_000, ge=1, description="unsettled events per partition, then 429")
    replicas: int = Field(default=1, ge=1, le=10, description="Redis replicas that confirm ack=replicated")
    dedup_window_s: float = Field(default=120.0, ge=1, le=86_400, description="how long an event id is remembered")
    max_event_bytes: int = Field(default=256 * 1024, ge=1024, le=256 * 1024, description="largest encoded event")
    tls_cert: str | None = Field(default=None, description="PEM file of the node's certificate, with its chain")
    tls_key: str | None = Field(default=None, description="PEM file of its key")
    tls_client_ca: str | None = Field(default=None, description="PEM file of who signs clients' certificates")
    tls_client_auth: str = Field(
        default="none", pattern="^(none|optional|required)$", description="whether clients must show a certificate"
    )
    client_cert_header: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="header that names clients' certificates"
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="networks of the load balancers whose client_cert_header is believed"
    )
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1024, description="largest HTTP body")
    webhook_networks: tuple[str, ...] = Field(
        default=(), description="private networks that webhooks may be in, and be reached by http://"
    )
    kafka_url: str | None = Field(default=None, description="kafka:// URL of the brokers that bridges consume from")
    kafka_bridges: tuple[KafkaBridge, ...] = Field(
        default=(), max_length=MAX_BRIDGES, description="Kafka topics whose records are published as events"
    )
    kafka_destinations: tuple[str, ...] = Field(
        default=(), description="kafka:// URLs, with ?topics=, that subscriptions may send to"
    )
    persist: str = Field(
        default="all", pattern="^(all|none)$", description="which events are stored; the same on every node"
    )
    delivery_log: str = Field(
        default="all", pattern="^(all|failures|off)$", description="which attempts to deliver are logged"
    )
    delivery_log_days: float = Field(default=7, gt=0, le=3650, description="how long logged attempts are kept")
    security: str | None = Field(
        default=None, pattern="^(on|off)$", description="whether clients must show who they are; on with a Redis URL"
    )
    audit_log_days: float = Field(default=90, gt=0, le=3650, description="how long the audit log is kept")
    jwt_keys: str | None = Field(default=None, description="path or https:// URL of the JWKS that signs tokens")
    jwt_issuer: str | None = Field(default=None, min_length=1, description="whose tokens are taken (iss)")
    jwt_audience: str | None = Field(default=None, min_length=1, description="for whom they must be (aud)")
    jwt_algorithms: tuple[str, ...] = Field(default=("RS256", "ES256", "EdDSA"), min_length=1)
    jwt_policies_claim: str = Field(default="roles", min_length=1, description="claim that names policies")
    jwt_leeway_s: int = Field(default=30, ge=0, le=300, description="how far clocks may differ")
    jwt_refresh_s: float = Field(default=300, ge=1, le=86_400, description="how often the JWKS is read anew")
    jwt_networks: tuple[str, ...] = Field(default=(), description="private networks that the JWKS may be fetched from")
    certificate_name: str = Field(
        default="subject", pattern="^(subject|uri)$", description="what of a client certificate is the principal's name"
    )
    global_filters: tuple[dict[str, Any], ...] = Field(default=(), description="events failing one are not routed")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    log_format: str = Field(default="json", pattern="^(json|console)$")

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if value is not None:
            scheme = urlsplit(value).scheme
            if scheme not in SCHEMES:
                raise ValueError(f"must start with one of {', '.join(f'{each}://' for each in SCHEMES)}")
            if scheme not in SERVER_SCHEMES:
                ManyHosts.parse(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("postgresql", "postgres", "sqlite"):
            raise ValueError("must start with postgresql:// or sqlite:///")
        return value

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be host:port, for example 0.0.0.0:8080")
        return value

    @field_validator("advertise")
    @classmethod
    def _advertise(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value if "://" in value else f"http://{value}")
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
                raise ValueError("must be host:port or an http:// or https:// URL")
        return value

    @field_validator("cluster")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _CLUSTER.fullmatch(value):
            raise ValueError("1 to 64 letters, digits, dashes and underscores")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(value) - set(ALGORITHMS)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))} is none of {', '.join(ALGORITHMS)}")
        return value

    @field_validator("jwt_keys")
    @classmethod
    def _jwks(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and not value.startswith("https://"):
            raise ValueError("a path, or a URL that starts with https://")
        return value

    @model_validator(mode="after")
    def _tokens(self) -> Self:
        if self.jwt_keys is not None and (self.jwt_issuer is None or self.jwt_audience is None):
            raise ValueError("jwt_keys needs jwt_issuer and jwt_audience: whose tokens are taken, and for whom")
        return self

    @model_validator(mode="after")
    def _certificates(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key come together")
        if self.tls_client_auth != "none" and (self.tls_client_ca is None or self.tls_cert is None):
            raise ValueError("tls_client_auth needs tls_client_ca, tls_cert and tls_key")
        if (self.client_cert_header is None) == bool(self.trusted_proxies):
            raise ValueError("client_cert_header and trusted_proxies come together: nobody else is believed")
        return self

    @field_validator("webhook_networks", "jwt_networks", "trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each, strict=False)
        return value

    @field_validator("kafka_url")
    @classmethod
    def _kafka(cls, value: str | None) -> str | None:
        if value is not None:
            _parsed(lambda: KafkaUrl.parse(value, name="kafka_url"))
        return value

    @field_validator("kafka_destinations")
    @classmethod
    def _outlets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _parsed(lambda: Outlets(value))
        return value

    @field_validator("kafka_bridges")
    @classmethod
    def _bridges(cls, value: tuple[KafkaBridge, ...], info: ValidationInfo) -> tuple[KafkaBridge, ...]:
        if value and info.data.get("kafka_url") is None:
            raise ValueError("need kafka_url (ER_KAFKA_URL), the brokers to consume from")
        check_bridges(value, info.data.get("cluster", ""))
        return value

    @field_validator("global_filters")
    @classmethod
    def _filters(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for index, spec in enumerate(value):
            try:
                compile_filter(spec, f"global_filters[{index}]")
            except InvalidInput as error:
                raise ValueError(str(error)) from error
        return value

    @property
    def secured(self) -> bool:
        """Clients must show who they are: as ``security`` says, else wherever there is a cluster."""
        return self.security == "on" or (self.security is None and self.redis_url is not None)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port to listen on; port 0 takes a free one."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def advertised(self) -> str:
        """Where clients reach this node: as told, else where it listens; if that is everywhere, the machine's name."""
        host, port = self.address
        listen = f"{socket.gethostname()}:{port}" if host in _ANY_ADDRESS else self.listen
        return self.advertise or (f"https://{listen}" if self.tls_cert is not None else listen)

    @property
    def limits(self) -> Limits:
        """What this node holds publishers to, in the words of who publishes without a node."""
        return Limits(
            backlog=self.backlog_limit,
            dedup_ms=int(self.dedup_window_s * 1000),
            event_bytes=self.max_event_bytes,
            replicas=self.replicas,
            lease_ms=self.lease_ms,
        )

    def redacted(self) -> dict[str, Any]:
        """Return the settings with passwords replaced, fit for logs."""
        values = self.model_dump()
        for key in ("redis_url", "database_url", "kafka_url", "jwt_keys"):
            values[key] = redact(values[key])
        values["kafka_destinations"] = tuple(map(redact, self.kafka_destinations))
        return values

    def given(self) -> dict[str, Any]:
        """Return those settings that were given, redacted: what a node is told beyond the defaults."""
        return {name: value for name, value in self.redacted().items() if name in self.model_fields_set}


def _parsed(parse: Callable[[], object]) -> None:
    """Have a fault of input be a fault of settings."""
    try:
        parse()
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def redact(url: str | None) -> str | None:
    """Return ``url`` with its password, if any, replaced by ``***``."""
    if url is None:
        return None
    parts = urlsplit(url)
    query = _SECRET_OPTION.sub(r"\1***", parts.query)
    if parts.password is None:
        return urlunsplit(parts._replace(query=query)) if query != parts.query else url
    user = parts.username or ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}", query=query))


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Read the file (``path`` or ``ER_CONFIG``), then the environment, then ``overrides``; the later wins.

    Raises ConfigError listing all faults at once, unknown names among them.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    where = path or (Path(os.environ["ER_CONFIG"]) if os.environ.get("ER_CONFIG") else None)
    if where is not None:
        try:
            values.update(tomllib.loads(where.read_text()))
        except OSError as error:
            faults.append(f"{where}: cannot be read: {error.strerror}")
        except tomllib.TOMLDecodeError as error:
            faults.append(f"{where}: not TOML: {error}")
    values.update(_from_environment())
    values.update({key: value for key, value in overrides.items() if value is not None})
    try:
        settings = Settings(**values)
    except ValidationError as error:
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"])
            where_at = f"{name} ({PREFIX}{name.upper()}): " if name else ""
            faults.append(where_at + fault["msg"].removeprefix("Value error, "))
    if faults:
        raise ConfigError(faults)
    return settings


def _from_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and not name.startswith("ER_TEST_") and value:
            key = name.removeprefix(PREFIX).lower()
            found[key] = _parse_list(value) if key in LISTS else value
    return found


def _parse_list(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        try:
            return json.loads(value)
        except ValueError:
            return value
