"""Policies: what their members may do. Nothing is allowed that no policy allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from router_client.topics import contains, matches

LEVELS = ("none", "read", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one principal may do; None bounds nothing. Of several policies the most generous holds."""

    publish_per_s: float | None = None
    """Events a second, over the whole cluster."""
    requests_per_s: float | None = None
    """Requests other than publishing, and operations other than publishing and settling, over the whole cluster."""
    connections: int | None = None
    """Connections at a time, over the whole cluster."""
    subscriptions: int | None = None
    """Durable subscriptions that it has made and that are there."""
    event_bytes: int | None = None
    """Bytes of one encoded event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy. Topics are patterns; a member is a principal's name, in which ``*`` stands for any text."""

    name: str
    publish: tuple[str, ...] = ()
    """Events of these topics may be published."""
    subscribe: tuple[str, ...] = ()
    """Subscriptions within these topics may be made, changed, deleted and consumed, and live tails opened."""
    events: tuple[str, ...] = ()
    """Stored events of these topics may be read, with their deliveries, and replayed to subscriptions one has."""
    dead_letters: tuple[str, ...] = ()
    """Dead letters of these topics may be read, replayed and purged."""
    manage: str = "none"
    """``read``: look at nodes, partitions and metrics; ``write``: change them, and keys and policies."""
    members: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def has_member(self, principal: str) -> bool:
        """Tell whether a principal is a member by its name."""
        return any(fnmatchcase(principal, each) for each in self.members)


EVERYTHING = (">",)

BUILT_IN = (
    Policy(
        name="admin",
        publish=EVERYTHING,
        subscribe=EVERYTHING,
        events=EVERYTHING,
        dead_letters=EVERYTHING,
        manage="write",
    ),
    Policy(name="operator", events=EVERYTHING, dead_letters=EVERYTHING, manage="write"),
    Policy(name="observer", manage="read"),
    Policy(name="publisher", publish=EVERYTHING),
    Policy(name="subscriber", subscribe=EVERYTHING),
    Policy(name="reader", events=EVERYTHING),
)
"""Policies that are always there, and that nobody can change. They have no members: keys and tokens name them."""


class Grants:
    """What several policies allow together."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies = tuple(policies)

    def may_publish(self, topic: str) -> bool:
        """Tell whether events of a topic may be published."""
        return any(matches(each, topic) for policy in self._policies for each in policy.publish)

    def may_subscribe(self, pattern: str) -> bool:
        """Tell whether a pattern lies inside what may be subscribed to: inside one pattern, not a union of several."""
        return any(contains(each, pattern) for policy in self._policies for each in policy.subscribe)

    def may_read_events(self, pattern: str) -> bool:
        """Tell whether all stored events of a pattern may be read."""
        return any(contains(each, pattern) for policy in self._policies for each in policy.events)

    def may_handle_letters(self, pattern: str) -> bool:
        """Tell whether all dead letters of a pattern may be read, replayed and purged."""
        return any(contains(each, pattern) for policy in self._policies for each in policy.dead_letters)

    def may_manage(self, level: str) -> bool:
        """Tell whether the cluster may be looked at (``read``) or changed (``write``)."""
        return any(LEVELS.index(policy.manage) >= LEVELS.index(level) for policy in self._policies)


UNRESTRICTED = Grants(policy for policy in BUILT_IN if policy.name == "admin")
