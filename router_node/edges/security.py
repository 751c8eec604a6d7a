"""What the edges ask of who comes, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from partitioning.keys import Keys
from partitioning.redis_commands import Commands
from router_node.config import Settings
from router_node.edges.certificates import Proxies
from router_node.security.gate import Gate, OpenGate
from router_node.security.rates import Rates
from router_node.security.seats import Seats
from router_node.security.shared_counts import SharedSeats, SharedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The gate, what bounds those whom it lets in, and the load balancers that may name a certificate."""

    gate: Gate = field(default_factory=OpenGate)
    rates: Rates = field(default_factory=Rates)
    seats: Seats = field(default_factory=Seats)
    proxies: Proxies | None = None


def shared_by_all(
    security: Security, commands: Commands, keys: Keys, node_id: str, nodes: Callable[[], int]
) -> Security:
    """Return the same with what bounds clients counted over the whole cluster; ``nodes`` tells how many there are."""
    rates = Rates(SharedTokens(commands, keys), nodes)
    return replace(security, rates=rates, seats=Seats(SharedSeats(commands, keys, node_id), nodes))


def security_of(settings: Settings, gate: Gate) -> Security:
    """Return what settings say, for a node that is alone."""
    header, networks = settings.client_cert_header, settings.trusted_proxies
    return Security(gate=gate, proxies=Proxies(header, networks) if header is not None else None)
