"""Policies: what their members may do. Nothing is allowed that no policy allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache

from router_client.topics import contains, matches

LEVELS = ("none", "read", "write")
REMEMBERED = 1_000
"""Answers that one set of grants remembers for each right; then it starts anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one principal may do; None bounds nothing.

    Of several policies that bound the same thing the most generous holds; one that does not speak of it frees nobody.
    """

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
        return any(_fits(_parts(each), principal) for each in self.members)


@lru_cache(maxsize=10_000)
def _parts(member: str) -> tuple[str, ...]:
    return tuple(member.split("*"))


def _fits(parts: Sequence[str], text: str) -> bool:
    """Tell whether a text is these parts with anything between them. It looks at each character once."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in parts[1:-1]:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


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
    """What several policies allow together. Answers are remembered, as the same few questions come again and again."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = tuple(policies)
        """The policies themselves, for whoever asks why."""
        self._publish: dict[str, bool] = {}
        self._subscribe: dict[str, bool] = {}
        self._events: dict[str, bool] = {}
        self._letters: dict[str, bool] = {}
        self._level = max((LEVELS.index(policy.manage) for policy in self.policies), default=0)

    def may_publish(self, topic: str) -> bool:
        """Tell whether events of a topic may be published."""
        return self._known(self._publish, topic, "publish", matches)

    def may_subscribe(self, pattern: str) -> bool:
        """Tell whether a pattern lies inside what may be subscribed to: inside one pattern, not a union of several."""
        return self._known(self._subscribe, pattern, "subscribe", contains)

    def may_read_events(self, pattern: str) -> bool:
        """Tell whether all stored events of a pattern may be read."""
        return self._known(self._events, pattern, "events", contains)

    def may_handle_letters(self, pattern: str) -> bool:
        """Tell whether all dead letters of a pattern may be read, replayed and purged."""
        return self._known(self._letters, pattern, "dead_letters", contains)

    def may_manage(self, level: str) -> bool:
        """Tell whether the cluster may be looked at (``read``) or changed (``write``)."""
        return self._level >= LEVELS.index(level)

    def cover(self, policy: Policy) -> bool:
        """Tell whether these allow all that a policy does: nobody gives away what they do not have.

        Limits are left out: whoever may make keys may make many.
        """
        return self.may_manage(policy.manage) and all(
            may(each)
            for may, patterns in (
                (self._may_publish_all, policy.publish),
                (self.may_subscribe, policy.subscribe),
                (self.may_read_events, policy.events),
                (self.may_handle_letters, policy.dead_letters),
            )
            for each in patterns
        )

    def _may_publish_all(self, pattern: str) -> bool:
        return any(contains(each, pattern) for policy in self.policies for each in policy.publish)

    def _known(self, known: dict[str, bool], asked: str, right: str, fits: Callable[[str, str], bool]) -> bool:
        answer = known.get(asked)
        if answer is None:
            answer = any(fits(each, asked) for policy in self.policies for each in getattr(policy, right))
            if len(known) >= REMEMBERED:
                known.clear()
            known[asked] = answer
        return answer


def limits_of(policies: Iterable[Policy]) -> Limits:
    """Return what bounds the members of several policies; see Limits."""
    everyones = [policy.limits for policy in policies]
    bounds = {each.name: [getattr(limits, each.name) for limits in everyones] for each in fields(Limits)}
    return Limits(**{name: max((v for v in values if v is not None), default=None) for name, values in bounds.items()})


UNRESTRICTED = Grants(policy for policy in BUILT_IN if policy.name == "admin")
