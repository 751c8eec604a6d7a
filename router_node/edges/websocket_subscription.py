"""One subscription that is open on a WebSocket connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from router_client.errors import EventRouterError
from router_node.contract import Attachment, Delivery
from router_node.edges.websocket_outbox import Lot, Outbox


class OpenSubscription:
    """The consumer of one subscription on this connection.

    Delivery ids get a random prefix on their way out: they are unique within a subscription only, and one that comes
    back from an earlier connection or another subscription must find nothing here.
    """

    def __init__(self, name: str, outbox: Outbox, ended: Callable[[OpenSubscription, EventRouterError], None]) -> None:
        self.key = secrets.token_hex(4)
        self.lot = Lot(name, f"{self.key}.")
        self.attachment: Attachment | None = None
        self._outbox = outbox
        self._ended = ended

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self.lot.add(deliveries)
        self._outbox.put_lot(self.lot)

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self._ended(self, error)

    def close(self) -> None:
        """Let go of the subscription; what was delivered and not settled goes to another consumer."""
        self.lot.clear()
        if self.attachment is not None:
            self.attachment.detach(requeue=True)
