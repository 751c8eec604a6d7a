"""Whether a client may use a subscription that is there, asked when it begins and as long as it lasts."""

from __future__ import annotations

from collections.abc import Sequence

from router_client.errors import EventRouterError, Forbidden, NotFound, Unauthenticated
from router_client.spec import SubscriptionSpec
from router_node.contract import Engine
from router_node.security.gate import Access
from router_node.security.permission import check_topics, may_consume, refusal, unknown_subscription


def own_subscription(engine: Engine, access: Access, name: str) -> str:
    """Return the name of a subscription that may be consumed and changed.

    Raises NotFound, also for one that is not there for who asks, and Unauthenticated once the credential is over.
    """
    if not may_consume(access, engine.topics(name)):
        raise unknown_subscription(name)
    return name


def check_open(engine: Engine, access: Access, spec: SubscriptionSpec) -> None:
    """Raise Forbidden unless a subscription may be opened so: all its topics, and those it has if it is there."""
    check_topics(access, spec.topics)
    try:
        topics = engine.topics(spec.name)
    except NotFound:
        return
    if not may_consume(access, topics):
        raise refusal(access, f"consume subscription {spec.name}", "name")


def no_longer(engine: Engine, access: Access, name: str) -> EventRouterError | None:
    """Return why a subscription that is being consumed may be so no longer; None while it may."""
    try:
        topics = engine.topics(name)
    except NotFound:
        return None  # its consumer is being told already
    return no_longer_within(access, topics)


def no_longer_within(access: Access, topics: Sequence[str]) -> EventRouterError | None:
    """Return why events of these patterns may be consumed no longer; None while they may."""
    try:
        if may_consume(access, topics):
            return None
    except Unauthenticated as error:
        return error
    return Forbidden(f"{access.principal.name} may not subscribe to {', '.join(topics)} any more", field="topics")
