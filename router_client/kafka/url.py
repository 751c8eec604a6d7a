"""Where Kafka's brokers are and how to speak with them: ``kafka://[user:password@]host:port,.../?option=value``."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from router_client.errors import InvalidInput

SCHEME = "kafka"
DEFAULT_PORT = 9092
MAX_BROKERS = 20
SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
CONNECTION_OPTIONS = frozenset({"security", "mechanism", "ca", "cert", "key", "session_timeout_s"})
SESSION_TIMEOUT_S = 10.0
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True)
class KafkaUrl:
    """A cluster of brokers, checked by :meth:`parse`; ``brokers`` are host:port, ``options`` those of the query."""

    brokers: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str, *, more: Collection[str] = (), name: str = "url") -> KafkaUrl:
        """Read a URL; ``more`` are options beside those of the connection.

        Raises InvalidInput whose field is ``name``, with the option at fault behind it.
        """
        parts = urlsplit(url)
        if parts.scheme != SCHEME:
            raise InvalidInput("must start with kafka://", field=name)
        if parts.path not in ("", "/") or parts.fragment:
            raise InvalidInput("kafka://host:port,host:port/?option=value has neither path nor fragment", field=name)
        login, at, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for key in options:
            if key not in CONNECTION_OPTIONS and key not in more:
                known = ", ".join(sorted({*CONNECTION_OPTIONS, *more}))
                raise InvalidInput(f"unknown option; one of {known}", field=f"{name}.{key}")
        found = cls(
            check_brokers(hosts, name), unquote(user) if at else None, unquote(password) if at else None, options
        )
        found._check(name)
        return found

    @property
    def security(self) -> str:
        """The protocol: as said, else SASL_SSL when there is a user, else PLAINTEXT."""
        return self.options.get("security", "PLAINTEXT" if self.user is None else "SASL_SSL").upper()

    @property
    def session_timeout_s(self) -> float:
        """How long a group keeps the partitions of a member that is silent."""
        return float(self.options.get("session_timeout_s", SESSION_TIMEOUT_S))

    @cached_property
    def connection(self) -> dict[str, Any]:
        """What aiokafka's clients take. Reads certificates; raises OSError when it cannot."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": "event-router",
            "security_protocol": self.security,
        }
        if self.security.startswith("SASL"):
            arguments["sasl_mechanism"] = self.options.get("mechanism", "SCRAM-SHA-512").upper()
            arguments["sasl_plain_username"], arguments["sasl_plain_password"] = self.user, self.password
        if self.security.endswith("SSL"):
            arguments["ssl_context"] = context = ssl.create_default_context(cafile=self.options.get("ca"))
            if "cert" in self.options:
                context.load_cert_chain(self.options["cert"], self.options.get("key"))
        return arguments

    def _check(self, name: str) -> None:
        if self.security not in SECURITY:
            raise InvalidInput(f"one of {', '.join(SECURITY)}", field=f"{name}.security")
        if self.options.get("mechanism", MECHANISMS[0]).upper() not in MECHANISMS:
            raise InvalidInput(f"one of {', '.join(MECHANISMS)}", field=f"{name}.mechanism")
        if self.security.startswith("SASL") != (self.user is not None):
            raise InvalidInput("user and password belong to SASL_PLAINTEXT and SASL_SSL", field=f"{name}.security")
        try:
            sensible = 0.1 <= self.session_timeout_s <= 1800
        except ValueError:
            sensible = False
        if not sensible:
            raise InvalidInput("a number of seconds from 0.1 to 1800", field=f"{name}.session_timeout_s")


def check_brokers(text: str, name: str) -> tuple[str, ...]:
    """Read ``host:port,host:port`` and return each as host:port, in order. Raises InvalidInput naming ``name``."""
    brokers: list[str] = []
    for each in text.split(","):
        match = _BROKER.fullmatch(each)
        if match is None or int(match[2] or DEFAULT_PORT) not in range(1, 65536):
            raise InvalidInput("brokers are host:port, separated by commas", field=name)
        brokers.append(f"{match[1].lower()}:{match[2] or DEFAULT_PORT}")
    if len(brokers) > MAX_BROKERS:
        raise InvalidInput(f"at most {MAX_BROKERS} brokers", field=name)
    return tuple(brokers)


def check_kafka_topic(value: object, name: str) -> str:
    """Return a topic's name as Kafka allows it. Raises InvalidInput naming ``name``."""
    if not isinstance(value, str) or not _TOPIC.fullmatch(value):
        raise InvalidInput("a Kafka topic: 1 to 249 letters, digits, dots, dashes and underscores", field=name)
    return value
