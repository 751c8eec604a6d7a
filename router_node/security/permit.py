"""What the events of one publish must keep to: it goes with them to where their topics are known."""

from __future__ import annotations

from typing import NamedTuple

from router_client.errors import Forbidden, TooLarge
from router_node.security.gate import OPEN, Access
from router_node.security.policy import Grants


class Permit(NamedTuple):
    """The topics a publisher may use, and the bytes that one of its encoded events may have (None: as many as any)."""

    grants: Grants
    event_bytes: int | None

    def check(self, topic: str, size: int) -> None:
        """Raise Forbidden for an event of a topic that is not the publisher's, TooLarge for one of too many bytes."""
        if not self.grants.may_publish(topic):
            raise Forbidden(f"you may not publish {topic}: no policy of yours allows it", field="type")
        if self.event_bytes is not None and size > self.event_bytes:
            raise TooLarge(f"{size} bytes; your limit is {self.event_bytes}", field="event")


def permit_of(access: Access) -> Permit | None:
    """Return what a publish must keep to now; None where there is nothing, as security is off.

    Raises Unauthenticated once the credential is over.
    """
    return None if access is OPEN else Permit(access.grants, access.limits.event_bytes)
