"""The subscriptions that are open on one WebSocket connection."""

from __future__ import annotations

from router_client import wire
from router_client.errors import Conflict, EventRouterError, NotFound, TooLarge
from router_node.contract import Engine
from router_node.edges.conduct import Client, Fault
from router_node.edges.limits import Limits
from router_node.edges.settling import by_subscription
from router_node.edges.standing import check_open, no_longer
from router_node.edges.websocket_outbox import Outbox
from router_node.edges.websocket_subscription import OpenSubscription
from router_node.security.gate import Access

MAX_NAMED = 20


class OpenSubscriptions:
    """Opens them, and handles what the client says of them; answers go to the connection's ``outbox``."""

    def __init__(self, engine: Engine, limits: Limits, outbox: Outbox, client: Client) -> None:
        self._engine = engine
        self._limits = limits
        self._outbox = outbox
        self._client = client
        self._by_name: dict[str, OpenSubscription] = {}
        self._by_key: dict[str, OpenSubscription] = {}

    async def open(self, frame: wire.Subscribe, access: Access) -> None:
        """Open one. Raises Conflict, TooLarge, Forbidden and what the engine raises."""
        name = frame.spec.name
        if name in self._by_name:
            raise Conflict("open on this connection already", field="name")
        if len(self._by_name) >= self._limits.max_subscriptions_per_connection:
            raise TooLarge(f"at most {self._limits.max_subscriptions_per_connection} on a connection", field="name")
        check_open(self._engine, access, frame.spec)
        subscription = OpenSubscription(name, self._outbox, self._ended)
        self._by_name[name] = self._by_key[subscription.key] = subscription
        try:
            subscription.attachment = await self._engine.open(frame.spec, subscription, frame.credit, access)
        except BaseException:
            self._forget(subscription)
            raise
        self._outbox.put(wire.subscribed(frame.ref, name))
        subscription.lot.held = False
        self._outbox.put_lot(subscription.lot)

    def look(self, access: Access) -> None:
        """End those that may be consumed no longer."""
        for subscription in list(self._by_name.values()):
            if subscription.attachment is not None:
                error = no_longer(self._engine, access, subscription.attachment.name)
                if error is not None:
                    subscription.close()
                    self._ended(subscription, error)

    def close(self) -> None:
        """Let go of all; what was delivered and not settled goes to other consumers."""
        for subscription in list(self._by_name.values()):
            subscription.close()

    def unsubscribe(self, frame: wire.Unsubscribe) -> None:
        """Let go of one. Raises NotFound."""
        subscription = self._named(frame.name)
        subscription.close()
        self._forget(subscription)
        self._outbox.put(wire.unsubscribed(frame.ref, frame.name))

    def credit(self, name: str, more: int) -> None:
        """Allow one more deliveries. Raises NotFound."""
        attachment = self._named(name).attachment
        if attachment is not None:
            attachment.add_credit(more)

    def settle(self, frame: wire.Settle) -> None:
        """Settle deliveries of this connection, and name in an answer those that are not. Raises NotFound."""
        parts, unknown = by_subscription(frame, self._by_key)
        for key, part in parts.items():
            attachment = self._by_key[key].attachment
            if attachment is not None:
                unknown += [f"{key}.{own_id}" for own_id in attachment.settle(part)]
        if unknown:
            self._report_unknown(frame.ref, unknown)
        for name, more in frame.credit.items():
            self.credit(name, more)

    def _report_unknown(self, ref: wire.Ref | None, unknown: list[str]) -> None:
        named = ", ".join(unknown[:MAX_NAMED]) + (", ..." if len(unknown) > MAX_NAMED else "")
        self._client.did(Fault.UNKNOWN_DELIVERIES, named, len(unknown))
        error = NotFound(f"{len(unknown)} not in flight on this connection: {named}", field="delivery_id")
        self._outbox.put(wire.error(error, ref=ref, unknown=unknown))

    def _ended(self, subscription: OpenSubscription, error: EventRouterError) -> None:
        subscription.lot.clear()
        self._forget(subscription)
        self._outbox.put(wire.error(error, name=subscription.lot.name))

    def _forget(self, subscription: OpenSubscription) -> None:
        if self._by_name.get(subscription.lot.name) is subscription:
            del self._by_name[subscription.lot.name]
        self._by_key.pop(subscription.key, None)

    def _named(self, name: str) -> OpenSubscription:
        subscription = self._by_name.get(name)
        if subscription is None:
            raise NotFound(f"no subscription {name} is open on this connection", field="name")
        return subscription
