"""What a client's standing allows of what it asks, and how it is refused.

What a client may not see is refused as if it were not there, in the same words: a name that is taken says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from router_client.errors import Forbidden, NotFound
from router_node.security.gate import Access


def refusal(access: Access, action: str, field: str | None = None) -> Forbidden:
    """Return the refusal of an action, such as ``subscribe to orders.>``."""
    return Forbidden(f"{access.principal.name} may not {action}: no policy allows it", field=field)


def check_topics(access: Access, topics: Iterable[str], field: str = "topics") -> None:
    """Raise Forbidden unless each pattern may be subscribed to."""
    grants = access.grants
    for index, topic in enumerate(topics):
        if not grants.may_subscribe(topic):
            raise refusal(access, f"subscribe to {topic}", f"{field}[{index}]")


def check_events(access: Access, pattern: str | None, field: str = "type") -> None:
    """Raise Forbidden unless all stored events of a pattern may be read; without one it is all there are."""
    if not access.grants.may_read_events(pattern or ">"):
        raise refusal(access, f"read stored events of {pattern or '> (name a type)'}", field)


def check_letters(access: Access, pattern: str | None, field: str = "type") -> None:
    """Raise Forbidden unless all dead letters of a pattern may be handled; without one it is all there are."""
    if not access.grants.may_handle_letters(pattern or ">"):
        raise refusal(access, f"handle dead letters of {pattern or '> (name a type)'}", field)


def check_manage(access: Access, level: str) -> None:
    """Raise Forbidden unless the cluster may be looked at (``read``) or changed (``write``)."""
    if not access.grants.may_manage(level):
        raise refusal(access, "look at the cluster" if level == "read" else "change the cluster")


def may_consume(access: Access, topics: Iterable[str]) -> bool:
    """Tell whether a subscription with these topics may be consumed and changed."""
    grants = access.grants
    return all(map(grants.may_subscribe, topics))


def may_see(access: Access, topics: Iterable[str]) -> bool:
    """Tell whether a subscription with these topics may be looked at: by who may consume it, or looks after all."""
    return may_consume(access, topics) or access.grants.may_manage("read")


def may_replay(access: Access, topics: Iterable[str], pattern: str | None) -> bool:
    """Tell whether stored events may be replayed to a subscription with these topics, which gets no others."""
    grants = access.grants
    return (pattern is not None and grants.may_read_events(pattern)) or all(map(grants.may_read_events, topics))


def unknown_event(event_id: str) -> NotFound:
    """Return what is said of a stored event that is not there, or not there for who asks."""
    return NotFound(f"no event with id {event_id} is stored (yet)", field="id")


def unknown_letter(letter_id: str) -> NotFound:
    """Return what is said of a dead letter that is not there, or not there for who asks."""
    return NotFound(f"no dead letter {letter_id}", field="id")


def unknown_subscription(name: str) -> NotFound:
    """Return what is said of a subscription that is not there, or not there for who asks."""
    return NotFound(f"no subscription named {name}; create it with PUT /v1/subscriptions/{name}", field="name")
